//! Small HTML pages without script, and the forms people send from them.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};

use crate::control::login;
use crate::web;

use super::answer::{Body, harden};
use super::app::App;
use super::asked::Asked;
use super::body;

/// Longest form taken, in bytes.
const FORM_MAX: usize = 4096;

/// The fields of a form.
pub struct Form(Bytes);

/// Why there is no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormError {
    /// It came from a page of another site.
    Foreign,
    /// It is too long, or did not arrive in time.
    Broken,
}

impl Form {
    /// Reads a form that was sent from a page of this server.
    pub async fn read(
        app: &App,
        asked: &Asked,
        request: Request<Incoming>,
    ) -> Result<Self, FormError> {
        // Another site must not send this form for its visitor.
        if !login::is_own(&app.control, &asked.upgrade(), asked.fetch_site.as_deref()) {
            return Err(FormError::Foreign);
        }
        let body = body::read(request.into_body(), FORM_MAX).await;
        body.map(Self).map_err(|_| FormError::Broken)
    }

    /// The first field of that name; empty if there is none.
    pub fn field(&self, name: &str) -> String {
        let mut pairs = form_urlencoded::parse(&self.0);
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    }
}

/// A page with this content, which is markup, in the look of the web page if there is one.
pub fn html(status: StatusCode, content: &str) -> Response<Body> {
    let style = web::style().map(|path| format!("<link rel=\"stylesheet\" href=\"{path}\">"));
    let style = style.unwrap_or_default();
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>meshboard</title>{style}</head>\
         <body><main class=\"plain\"><h1>meshboard</h1>{content}</main></body></html>"
    );
    let body = Full::new(Bytes::from(page)).map_err(|e| match e {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    harden(&mut response);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A text as it stands between tags or in a quoted attribute.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
