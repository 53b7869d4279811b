//! Browsers at the door of the real server: logging in step by step, what a session is good for, and
//! everything that must not open or keep one.

// A program has no outside; `pub` says what a module offers to the others.
#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../hostile/peer.rs"]
mod peer;

mod login;
mod sessions;
mod sites;
mod stock;

use serde_json::{Value, json};

use common::browser::{Answer, Browser};
use common::{ADMIN, Meshboard, PASSWORD, Server};
use peer::{Raw, frame};

/// A server with the administrator's account and more in its `config.json`.
fn server(more: &Value) -> Meshboard {
    let server = Meshboard::start_with(more);
    server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
    server
}

fn log_in(browser: &mut Browser) -> Answer {
    browser.post("/login", &json!({"username": ADMIN, "password": PASSWORD}))
}

/// A browser that is logged in.
fn logged_in(port: u16) -> Browser {
    let mut browser = Browser::new(port);
    assert_eq!(log_in(&mut browser).result(), (200, "ok".to_owned()));
    browser
}

/// The control channel as a page of `origin` opens it.
fn open_at(browser: &Browser, path: &str, origin: Option<&str>) -> Raw {
    let origin = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
    let headers = browser.cookie_header(path) + &origin;
    Raw::open_from(browser.from, browser.port(), path, &headers)
}

fn open(browser: &Browser) -> Raw {
    open_at(browser, "/control.ashx", Some(&browser.origin()))
}

fn next(page: &mut Raw) -> Value {
    let Some((1, text)) = page.next() else { panic!("no message") };
    serde_json::from_slice(&text).expect("the server speaks JSON")
}

/// `action` and `cause` of the first message.
fn greeting(mut page: Raw) -> (String, String) {
    let message = next(&mut page);
    let member = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
    (member("action"), member("cause"))
}

fn is_let_in(page: Raw) -> bool {
    match greeting(page) {
        (action, _) if action == "serverinfo" => true,
        (action, cause) => {
            assert_eq!((&*action, &*cause), ("close", "noauth"));
            false
        }
    }
}

/// A page that has been greeted.
fn greeted(browser: &Browser) -> Raw {
    let mut page = open(browser);
    assert_eq!(next(&mut page)["action"], "serverinfo");
    assert_eq!(next(&mut page)["action"], "userinfo");
    page
}

/// Asks, and waits for the answer of that name.
fn ask(page: &mut Raw, request: &Value, answer: &str) -> Value {
    page.send(&frame(1, true, request.to_string().as_bytes()));
    loop {
        let message = next(page);
        if message["action"] == answer {
            return message;
        }
    }
}

/// The cookie of a login link, as the administrator's client gets it.
fn link(server: &impl Server) -> String {
    let pair = [ADMIN, PASSWORD].map(|text| data_encoding::BASE64.encode(text.as_bytes()));
    let headers = format!("x-meshauth: {},{}\r\n", pair[0], pair[1]);
    let mut client = Raw::open(server.port(), "/control.ashx", &headers);
    let answer = ask(&mut client, &json!({"action": "logincookie"}), "logincookie");
    let cookie = answer["cookie"].as_str().expect("a cookie");
    form_urlencoded::byte_serialize(cookie.as_bytes()).collect()
}
