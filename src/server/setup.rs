//! The pages on which people make accounts: the first one, with the code from the console, and
//! their own where the configuration allows it.
//!
//! Plain HTML without script.

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};

use crate::control::setup::{self, SetupError};
use crate::model::DomainId;

use super::answer::Body;
use super::app::App;
use super::form::{Form, FormError, html};

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
    domain: DomainId,
    request: Request<Incoming>,
    asked: Account,
) -> Response<Body> {
    let fields = match Form::read(request).await {
        Ok(fields) => fields,
        Err(FormError::Foreign) => {
            return form(StatusCode::FORBIDDEN, asked, "The form came from another site.");
        }
        Err(FormError::Broken) => {
            let message = "The form is too long or incomplete.";
            return form(StatusCode::BAD_REQUEST, asked, message);
        }
    };
    let field = |name: &str| fields.field(name);
    let (name, password) = (field("name"), field("password"));
    let (hub, passwords) = (&app.hub, &app.passwords);
    let made = if asked.with_code {
        setup::first_account(hub, passwords, &field("code"), &name, &password).await
    } else {
        setup::register(hub, passwords, &domain, &name, &password).await
    };
    match made {
        Ok(_) => {
            html(StatusCode::OK, "<p>Your account is made. Log in with <code>meshctrl</code>.</p>")
        }
        Err(error @ (SetupError::Done | SetupError::Closed)) => {
            html(StatusCode::GONE, &format!("<p>{error}</p>"))
        }
        Err(error) => form(StatusCode::BAD_REQUEST, asked, &error.to_string()),
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
