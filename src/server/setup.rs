//! The pages on which people make accounts: the first one, with the code from the console, and
//! their own where the configuration allows it.
//!
//! Plain HTML without script, for programs built without the web page; that page sends the same
//! forms and asks for JSON.

use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use bytes::Bytes;
use futures_lite::future::or;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::json;

use crate::control::setup::{self, SetupError};
use crate::model::DomainId;

use super::answer::{Body, harden};
use super::app::App;
use super::page;

/// Longest form taken, in bytes.
const FORM_MAX: usize = 4096;
/// Time for the form to arrive.
const FORM_TIME: Duration = Duration::from_secs(15);

/// The page at `/`.
pub fn page(app: &App, domain: &DomainId) -> Response<Body> {
    if setup::setup_code(&app.hub).is_some() {
        return form(StatusCode::OK, FIRST, "");
    }
    if app.hub.config().domain(domain).new_accounts {
        return form(StatusCode::OK, OWN, "");
    }
    html(
        StatusCode::OK,
        "<p>meshboard is running. Manage it with <code>meshctrl</code> or \
         <code>meshboard --help</code>.</p>",
    )
}

/// Which account a form makes.
#[derive(Clone, Copy)]
pub struct Form {
    path: &'static str,
    text: &'static str,
    with_code: bool,
}

/// The first account of the server.
pub const FIRST: Form = Form {
    path: "setup",
    text: "This server has no account yet. The setup code is on its console, in its journal, and \
           in the output of <code>meshboard status</code>.",
    with_code: true,
};

/// An account of one's own.
pub const OWN: Form =
    Form { path: "register", text: "You may make an account here.", with_code: false };

/// Answers a form.
pub async fn submit(
    app: Rc<App>,
    domain: DomainId,
    request: Request<Incoming>,
    asked: Form,
) -> Response<Body> {
    let json = accepts_json(&request);
    let form = |status, asked, message: &str| match json {
        true => page::say(status, &json!({"message": message})),
        false => form(status, asked, message),
    };
    // Another site must not send this form for its visitor.
    if !is_same_origin(&request) {
        return form(StatusCode::FORBIDDEN, asked, "The form came from another site.");
    }
    let body = async { Limited::new(request.into_body(), FORM_MAX).collect().await.ok() };
    let late = async {
        Timer::after(FORM_TIME).await;
        None
    };
    let Some(body) = or(body, late).await else {
        return form(StatusCode::BAD_REQUEST, asked, "The form is too long or incomplete.");
    };
    let body = body.to_bytes();
    let field = |name: &str| {
        let mut pairs = form_urlencoded::parse(&body);
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let (name, password) = (field("name"), field("password"));
    let (hub, passwords) = (&app.hub, &app.passwords);
    let made = if asked.with_code {
        setup::first_account(hub, passwords, &field("code"), &name, &password).await
    } else {
        setup::register(hub, passwords, &domain, &name, &password).await
    };
    match made {
        Ok(_) if json => page::say(StatusCode::OK, &json!({"message": "the account is made"})),
        Ok(_) => {
            html(StatusCode::OK, "<p>Your account is made. Log in with <code>meshctrl</code>.</p>")
        }
        Err(error @ (SetupError::Done | SetupError::Closed)) if !json => {
            html(StatusCode::GONE, &format!("<p>{error}</p>"))
        }
        Err(error) => form(StatusCode::BAD_REQUEST, asked, &error.to_string()),
    }
}

fn accepts_json(request: &Request<Incoming>) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/json"))
}

/// True without `Origin` (no browser) or if it names the host that was asked.
fn is_same_origin(request: &Request<Incoming>) -> bool {
    let text = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin.strip_prefix("https://") == Some(host),
        (Some(_), None) => false,
    }
}

fn form(status: StatusCode, Form { path, text, with_code }: Form, message: &str) -> Response<Body> {
    let code = match with_code {
        true => {
            "<p><label>Setup code<br><input name=\"code\" required autocomplete=\"off\"></label></p>"
        }
        false => "",
    };
    // The messages are our own words, without markup. The path is relative: the page may be that
    // of a domain below `/`.
    html(
        status,
        &format!(
            "<p>{text}</p><p><strong>{message}</strong></p>\
             <form method=\"post\" action=\"{path}\">{code}\
             <p><label>User name<br><input name=\"name\" required></label></p>\
             <p><label>Password<br><input name=\"password\" type=\"password\" required></label></p>\
             <p><button>Make the account</button></p></form>"
        ),
    )
}

fn html(status: StatusCode, content: &str) -> Response<Body> {
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>meshboard</title>\
         <body><h1>meshboard</h1>{content}</body></html>"
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
