//! Logging in and out over HTTP: the endpoints without pages, for the web page and for scripts.
//!
//! Thin: a request becomes a [`Form`], the control room decides ([`login`]), its outcome becomes
//! JSON for who sent or accepts JSON, and a redirection for forms. `docs/web-sessions.md` tells the
//! shapes.

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};

use crate::control::auth::{Refusal, param};
use crate::control::browser::CookieSite;
use crate::control::login::{self, BODY_MAX, Cause, Form, Outcome};

use super::answer::{self, Body, text};
use super::app::App;
use super::asked::Asked;
use super::{body, page};

/// Which door is knocked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `POST /`: `action` tells.
    Root,
    /// `POST /login`, `POST /tokenlogin`.
    Login,
    /// `POST /password`.
    Password,
    /// `POST /logout`.
    Logout,
}

/// Answers a POST.
pub async fn post(
    app: Rc<App>,
    asked: Asked,
    request: Request<Incoming>,
    door: Door,
) -> Response<Body> {
    let Some(kind) = Kind::of(&request) else {
        return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "neither a form nor JSON");
    };
    let json = kind == Kind::Json || page::accepts_json(request.headers());
    let (control, upgrade) = (&app.control, asked.upgrade());
    // Another site must not log its visitor in or out.
    if !login::is_own(control, &upgrade, asked.fetch_site.as_deref()) {
        let refused = Outcome::refused(Cause::Door(Refusal::InvalidOrigin));
        return write(&app, &asked, &refused, true);
    }
    let body = match body::read(request.into_body(), BODY_MAX).await {
        Ok(body) => body,
        Err(status) => return text(status, "the body is too long or incomplete"),
    };
    let form = match kind {
        Kind::Json if body.is_empty() => Some(Form::default()),
        Kind::Json => Form::from_json(&body),
        Kind::Form => Some(Form::from_urlencoded(&body)),
    };
    let Some(form) = form else {
        return write(&app, &asked, &Outcome::refused(Cause::Malformed), json);
    };
    let door = match (door, form.get("action")) {
        (Door::Root, None | Some("login" | "tokenlogin")) => Door::Login,
        (Door::Root, Some("resetpassword")) => Door::Password,
        (Door::Root, Some(_)) => return text(StatusCode::NOT_FOUND, "not found"),
        (door, _) => door,
    };
    let outcome = match door {
        Door::Root | Door::Login => login::log_in(control, &upgrade, &form).await,
        Door::Password => login::change_password(control, &upgrade, &form).await,
        Door::Logout => return log_out(&app, &asked, json),
    };
    write(&app, &asked, &outcome, json)
}

/// `GET /logout`, for links. The browser says whose page the link is on; on another site's it only
/// leads to the front page.
pub fn get_logout(app: &App, asked: &Asked) -> Response<Body> {
    match login::is_own(&app.control, &asked.upgrade(), asked.fetch_site.as_deref()) {
        true => log_out(app, asked, false),
        false => to_front(app, asked, None),
    }
}

fn log_out(app: &App, asked: &Asked, json: bool) -> Response<Body> {
    let forget = login::log_out(&app.control, &asked.upgrade());
    let mut response = if json {
        page::say(StatusCode::OK, &serde_json::json!({"result": "ok"}))
    } else {
        to_front(app, asked, None)
    };
    set_cookies(&mut response, &[forget]);
    response
}

/// `GET /` with credentials in its query: a login link, or a name and a password. `None` without.
pub async fn enter(app: &App, asked: &Asked) -> Option<Response<Body>> {
    let (control, upgrade) = (&app.control, asked.upgrade());
    let outcome = if let Some(cookie) = param(&asked.query, "login") {
        login::follow_link(control, &upgrade, &cookie)
    } else {
        let (name, password) = (param(&asked.query, "user")?, param(&asked.query, "pass")?);
        // A page elsewhere must not log its visitor in to an account of its choice.
        if !login::is_own(control, &upgrade, asked.fetch_site.as_deref()) {
            return Some(to_front(app, asked, None));
        }
        let token = param(&asked.query, "token").unwrap_or_default();
        let form = Form::new([("username", name), ("password", password), ("token", token)]);
        login::log_in(control, &upgrade, &form).await
    };
    Some(write(app, asked, &outcome, false))
}

/// `302 /domain/` for `/domain`, so that what is relative to it leads below it.
pub fn to_folder(app: &App, asked: &Asked) -> Response<Body> {
    let path = CookieSite::of(&app.hub.config(), &asked.domain).path;
    let location = match asked.query.is_empty() {
        true => path,
        false => format!("{path}?{}", asked.query),
    };
    answer::redirect(StatusCode::FOUND, &location)
}

/// Writes an outcome down.
fn write(app: &App, asked: &Asked, outcome: &Outcome, json: bool) -> Response<Body> {
    let (status, cookies) = match outcome {
        Outcome::In { cookies, .. } => (200, &**cookies),
        Outcome::Refused { cause, .. } => (cause.status(), &[][..]),
    };
    let mut response = match outcome {
        _ if json => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::UNAUTHORIZED);
            page::say(status, &outcome.json())
        }
        Outcome::In { .. } => to_front(app, asked, None),
        Outcome::Refused { cause, .. } => to_front(app, asked, Some(cause.word())),
    };
    if status == 503 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    set_cookies(&mut response, cookies);
    response
}

/// `303` to the front page, with the query that came, but without credentials: they must not stay
/// in the browser's history, nor be sent on as a referrer.
fn to_front(app: &App, asked: &Asked, failed: Option<&str>) -> Response<Body> {
    const CREDENTIALS: [&str; 5] = ["login", "user", "pass", "token", FAILED];
    /// How the page learns why a login failed.
    const FAILED: &str = "login-failed";
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(asked.query.as_bytes()) {
        if !CREDENTIALS.contains(&&*name) {
            query.append_pair(&name, &value);
        }
    }
    if let Some(cause) = failed {
        query.append_pair(FAILED, cause);
    }
    let (path, query) = (CookieSite::of(&app.hub.config(), &asked.domain).path, query.finish());
    let location = if query.is_empty() { path } else { format!("{path}?{query}") };
    answer::redirect(StatusCode::SEE_OTHER, &location)
}

/// Adds `Set-Cookie` headers.
pub fn set_cookies(response: &mut Response<Body>, cookies: &[String]) {
    for cookie in cookies {
        // Names, paths and values are all made of plain letters here.
        if let Ok(value) = HeaderValue::try_from(cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    answer::no_store(response);
}

/// In which form a body comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Form,
    Json,
}

impl Kind {
    /// By `Content-Type`. A body without one is a form; a page cannot send one of another type than
    /// these to another site without being asked for permission.
    fn of(request: &Request<Incoming>) -> Option<Self> {
        let Some(kind) = request.headers().get(header::CONTENT_TYPE) else {
            return Some(Self::Form);
        };
        let kind = kind.to_str().ok()?;
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/json") {
            Some(Self::Json)
        } else {
            kind.eq_ignore_ascii_case("application/x-www-form-urlencoded").then_some(Self::Form)
        }
    }
}
