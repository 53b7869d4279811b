//! The pages on which people make accounts: the first one, with the code from the console, and
//! their own where the configuration allows it.
//!
//! Plain HTML without script, for programs built without the web page; that page sends the same
//! forms and asks for JSON, `{"message":…}`.

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde_json::json;

use crate::control::login::{self, Outcome};
use crate::control::setup::{self, SetupError};
use crate::model::DomainId;

use super::answer::Body;
use super::app::App;
use super::asked::Asked;
use super::form::{Form, FormError, html};
use super::page::{self, accepts_json};
use super::session;

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
pub struct Account {
    path: &'static str,
    text: &'static str,
    with_code: bool,
}

/// The first account of the server.
pub const FIRST: Account = Account {
    path: "setup",
    text: "This server has no account yet. The setup code is on its console, in its journal, and \
           in the output of <code>meshboard status</code>.",
    with_code: true,
};

/// An account of one's own.
pub const OWN: Account =
    Account { path: "register", text: "You may make an account here.", with_code: false };

/// Answers a form.
pub async fn submit(
    app: Rc<App>,
    asked: Asked,
    request: Request<Incoming>,
    wanted: Account,
) -> Response<Body> {
    let json = accepts_json(request.headers());
    let tell = |status, message: &str| page::say(status, &json!({"message": message}));
    let form = |status, wanted, message: &str| match json {
        true => tell(status, message),
        false => form(status, wanted, message),
    };
    let fields = match Form::read(&app, &asked, request).await {
        Ok(fields) => fields,
        Err(FormError::Foreign) => {
            return form(StatusCode::FORBIDDEN, wanted, "The form came from another site.");
        }
        Err(FormError::Broken) => {
            let message = "The form is too long or incomplete.";
            return form(StatusCode::BAD_REQUEST, wanted, message);
        }
    };
    let field = |name: &str| fields.field(name);
    let (name, password) = (field("name"), field("password"));
    let (hub, passwords) = (&app.hub, &app.passwords);
    let made = if wanted.with_code {
        setup::first_account(hub, passwords, &field("code"), &name, &password).await
    } else {
        setup::register(hub, passwords, &asked.domain, &name, &password).await
    };
    match made {
        Ok(id) => {
            let made = "<p>Your account is made. Log in with <code>meshctrl</code>.</p>";
            let mut response = match json {
                true => tell(StatusCode::OK, "the account is made"),
                false => html(StatusCode::OK, made),
            };
            let user = app.hub.store.user(&id).filter(|user| user.id.domain == asked.domain);
            let welcome = user.map(|user| login::welcome(&app.control, &asked.upgrade(), user));
            if let Some(Outcome::In { cookies, .. }) = welcome {
                session::set_cookies(&mut response, &cookies);
            }
            response
        }
        Err(error @ (SetupError::Done | SetupError::Closed)) if json => {
            tell(StatusCode::GONE, &error.to_string())
        }
        Err(error @ (SetupError::Done | SetupError::Closed)) => {
            html(StatusCode::GONE, &format!("<p>{error}</p>"))
        }
        Err(error) => form(StatusCode::BAD_REQUEST, wanted, &error.to_string()),
    }
}

fn form(
    status: StatusCode,
    Account { path, text, with_code }: Account,
    message: &str,
) -> Response<Body> {
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
