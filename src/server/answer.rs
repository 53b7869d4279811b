//! Answers to HTTP requests, and what every one of them carries.

use std::io;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode, Uri};

use crate::config::Framing;

/// What goes back. Everything runs on one thread, so a body need not be `Send`.
pub type Body = Pin<Box<dyn hyper::body::Body<Data = Bytes, Error = io::Error>>>;

/// A short plain-text answer.
pub fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(body.as_bytes())).map_err(|e| match e {});
    let mut response = Response::<Body>::new(Box::pin(body));
    *response.status_mut() = status;
    harden(&mut response);
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// 200 with a text that was made for this answer.
#[cfg(feature = "acme")]
pub fn owned_text(body: String) -> Response<Body> {
    let mut response = text(StatusCode::OK, "");
    *response.body_mut() = Box::pin(Full::new(Bytes::from(body)).map_err(|e| match e {}));
    no_store(&mut response);
    response
}

/// Sends somebody elsewhere.
pub fn redirect(status: StatusCode, location: &str) -> Response<Body> {
    let Ok(location) = HeaderValue::try_from(location) else {
        return text(StatusCode::BAD_REQUEST, "malformed request");
    };
    let mut response = text(status, "");
    response.headers_mut().insert(header::LOCATION, location);
    no_store(&mut response);
    response
}

/// Nobody on the way keeps this.
pub fn no_store(response: &mut Response<Body>) {
    let value = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, value);
}

/// Lets other pages show this one in a frame, as `allowFraming` says.
pub fn allow_framing(response: &mut Response<Body>, framing: &Framing) {
    let ancestors = match framing {
        Framing::Nobody => return,
        Framing::Anybody => "*".to_owned(),
        Framing::Only(origins) => format!("'self' {}", origins.join(" ")),
    };
    let headers = response.headers_mut();
    let Some(policy) = headers.get(header::CONTENT_SECURITY_POLICY) else { return };
    let policy = policy.to_str().unwrap_or_default();
    let policy = policy.replace("frame-ancestors 'none'", &format!("frame-ancestors {ancestors}"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        // It knows one origin only, or none.
        headers.remove(header::X_FRAME_OPTIONS);
    }
}

/// Headers every answer carries: nothing is sniffed, framed, scripted or told to other sites. (A page
/// that keeps its name from this very server would have its forms come as from nowhere.)
pub fn harden(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The first value of a query parameter.
pub fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
