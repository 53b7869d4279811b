//! Serving the web pages: what `web` embeds becomes answers, and `welcome` tells whom they meet.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use crate::control::setup;
use crate::model::DomainId;
use crate::web::{self, Encoding, File};

use super::answer::{Body, harden, text};
use super::app::App;
use super::setup as plain;

/// For ever: a file's name changes with its content.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// Asked for each time, answered with 304 while it is the same.
const REVALIDATED: &str = "no-cache";

/// `GET /`: the page, or the plain one of a program built without it.
pub fn front(app: &App, domain: &DomainId, headers: &HeaderMap) -> Response<Body> {
    match web::page() {
        Some(page) => document(page, headers),
        None => plain::page(app, domain),
    }
}

/// The page of guests or of a chat, for people without an account.
pub fn visitors(
    page: Option<&'static File>,
    status: StatusCode,
    headers: &HeaderMap,
) -> Response<Body> {
    let Some(page) = page else {
        return text(StatusCode::NOT_FOUND, "this server was built without pages");
    };
    let mut response = document(page, headers);
    if response.status() == StatusCode::OK {
        *response.status_mut() = status;
    }
    response
}

fn document(page: &File, headers: &HeaderMap) -> Response<Body> {
    let mut response = file(page, headers, REVALIDATED);
    let policy = web::policy(said(headers, header::HOST));
    set(&mut response, header::CONTENT_SECURITY_POLICY, &policy);
    response
}

/// `GET /assets/…`.
pub fn asset(path: &str, headers: &HeaderMap) -> Response<Body> {
    match web::asset(path) {
        Some(asset) => file(asset, headers, IMMUTABLE),
        None => text(StatusCode::NOT_FOUND, "not found"),
    }
}

/// `GET /welcome`: what the page has to know before anybody is logged in. Nothing that is not
/// everybody's to know.
pub fn welcome(app: &App, domain: &DomainId) -> Response<Body> {
    let config = app.hub.config();
    let settings = config.domain(domain);
    let setup = setup::setup_code(&app.hub).is_some();
    let body = json!({
        "setup": setup,
        "register": settings.new_accounts && !setup,
        "title": settings.title.as_deref().unwrap_or_default(),
        "subtitle": settings.title2.as_deref().unwrap_or_default(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    say(StatusCode::OK, &body)
}

/// JSON for the page, kept by nobody.
pub fn say(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = respond(status, Bytes::from(body.to_string()));
    set(&mut response, header::CONTENT_TYPE, "application/json");
    set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

fn file(file: &File, headers: &HeaderMap, caching: &'static str) -> Response<Body> {
    let known = file.is_known(said(headers, header::IF_NONE_MATCH));
    let encoding = Encoding::accepted(said(headers, header::ACCEPT_ENCODING));
    let mut response = match known {
        true => respond(StatusCode::NOT_MODIFIED, Bytes::new()),
        false => respond(
            StatusCode::OK,
            match file.body(encoding) {
                std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                std::borrow::Cow::Owned(bytes) => bytes.into(),
            },
        ),
    };
    if !known {
        set(&mut response, header::CONTENT_TYPE, file.kind());
        if let Some(word) = encoding.word() {
            set(&mut response, header::CONTENT_ENCODING, word);
        }
    }
    set(&mut response, header::ETAG, &format!("W/{}", file.etag));
    set(&mut response, header::VARY, "accept-encoding");
    set(&mut response, header::CACHE_CONTROL, caching);
    response
}

fn respond(status: StatusCode, body: Bytes) -> Response<Body> {
    let body = Full::new(body).map_err(|e| match e {});
    let mut response = Response::<Body>::new(Box::pin(body));
    *response.status_mut() = status;
    harden(&mut response);
    response
}

/// Whether a request wants JSON rather than a page.
pub fn accepts_json(headers: &HeaderMap) -> bool {
    said(headers, header::ACCEPT).is_some_and(|accept| accept.contains("application/json"))
}

fn said(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    // Our own words, and a host checked for its letters.
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}
