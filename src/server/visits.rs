//! The pages for people without an account: `/sharing` for guests of a device, `/messenger` for
//! chats. Each is a static page, and a POST with what its address says that answers in JSON.
//!
//! `GET /sharing?c=LINK` · `POST /sharing {c[,p]}`: what is shared, and with `p` a cookie for one
//! session of that protocol. `GET /messenger?id=ID[&c=TOKEN]` · `POST /messenger {id[,c]}`: whom one
//! talks to, and what goes into the address of the relay; without a token for who is logged in.

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::control::auth::param;
use crate::control::guests::Closed;
use crate::control::{chats, login};
use crate::web;

use super::answer::{Body, text};
use super::app::App;
use super::asked::Asked;
use super::{body, page};

/// Longest question in bytes: a cookie, an id.
const BODY_MAX: usize = 8 * 1024;

/// What the page of a guest asks.
#[derive(Deserialize)]
struct Guest {
    /// The cookie of the link.
    c: String,
    /// Number of the protocol that a session is to be begun with.
    p: Option<u16>,
}

/// `/sharing`.
pub async fn sharing(app: &App, asked: Asked, request: Request<Incoming>) -> Response<Body> {
    let guests = &app.control.guests;
    match *request.method() {
        Method::GET | Method::HEAD => {
            let link = param(&asked.query, "c").unwrap_or_default();
            let status = match guests.open(&asked.domain, &link) {
                Ok(_) => StatusCode::OK,
                // As MeshCentral; the page says why.
                Err(_) => StatusCode::NOT_FOUND,
            };
            page::visitors(web::guest_page(), status, request.headers())
        }
        Method::POST => {
            let Guest { c, p } = match question(app, &asked, request).await {
                Ok(guest) => guest,
                Err(status) => return page::say(status, &Closed::Gone.document()),
            };
            let visit = match guests.open(&asked.domain, &c) {
                Ok(visit) => visit,
                Err(closed) => return page::say(StatusCode::NOT_FOUND, &closed.document()),
            };
            let mut document = guests.document(&visit);
            if let Some(protocol) = p {
                let Some(cookie) = guests.cookie(&visit, protocol, asked.remote.ip()) else {
                    return page::say(StatusCode::FORBIDDEN, &json!({"closed": "protocol"}));
                };
                document.insert("cookie".into(), cookie.into());
            }
            page::say(StatusCode::OK, &Value::Object(document))
        }
        _ => text(StatusCode::METHOD_NOT_ALLOWED, "GET or POST"),
    }
}

/// What the page of a chat asks.
#[derive(Deserialize)]
struct Talker {
    /// The id of the chat.
    id: String,
    /// The token of the person at the device.
    c: Option<String>,
}

/// `/messenger`.
pub async fn messenger(app: &App, asked: Asked, request: Request<Incoming>) -> Response<Body> {
    match *request.method() {
        Method::GET | Method::HEAD => {
            page::visitors(web::chat_page(), StatusCode::OK, request.headers())
        }
        Method::POST => {
            let gone = || page::say(StatusCode::NOT_FOUND, &json!({"closed": "gone"}));
            let Talker { id, c } = match question(app, &asked, request).await {
                Ok(talker) => talker,
                Err(status) => return page::say(status, &json!({"closed": "gone"})),
            };
            let control = &app.control;
            let joined = match c {
                Some(token) => chats::at_device(control, &asked.domain, &id, &token),
                None => match control.gate.admit(&asked.upgrade()).await {
                    Ok(login) => chats::of_account(control, &login, &id),
                    Err(_) => {
                        let closed = json!({"closed": "login"});
                        return page::say(StatusCode::UNAUTHORIZED, &closed);
                    }
                },
            };
            joined.map_or_else(gone, |document| page::say(StatusCode::OK, &document))
        }
        _ => text(StatusCode::METHOD_NOT_ALLOWED, "GET or POST"),
    }
}

/// What a page of ours asks, in JSON.
async fn question<T: DeserializeOwned>(
    app: &App,
    asked: &Asked,
    request: Request<Incoming>,
) -> Result<T, StatusCode> {
    if !login::is_own(&app.control, &asked.upgrade(), asked.fetch_site.as_deref()) {
        return Err(StatusCode::FORBIDDEN);
    }
    let body = body::read(request.into_body(), BODY_MAX).await?;
    serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)
}
