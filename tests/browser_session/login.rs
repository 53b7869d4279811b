//! The steps of a login, and the other ways in.

use std::time::{SystemTime, UNIX_EPOCH};

use meshboard::identity::totp;
use meshboard::model::Seconds;
use serde_json::json;

use super::common::authenticator::{Authenticator, Page};
use super::common::browser::Browser;
use super::common::{ADMIN, Meshboard, PASSWORD, Server};
use super::peer::{Raw, frame};
use super::*;

#[test]
fn a_browser_logs_in_with_json_or_a_form_and_opens_the_control_channel() {
    let server = server(&json!({}));
    let mut browser = Browser::new(server.port());
    let wrong = browser.post("/login", &json!({"username": ADMIN, "password": "wrong"}));
    assert_eq!(wrong.result(), (401, "noauth".to_owned()));
    assert!(wrong.cookies().is_empty() && !is_let_in(open(&browser)));

    let right = log_in(&mut browser);
    assert_eq!(right.json(), json!({"result": "ok", "user": format!("user//{ADMIN}")}));
    assert_eq!(right.header("cache-control"), "no-store");
    let cookies = right.cookies();
    assert_eq!(cookies.len(), 1);
    let (value, attributes) = cookies[0].split_once("; ").unwrap();
    assert!(value.starts_with("__Host-session=") && value.len() > 50);
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Strict");
    assert!(is_let_in(open(&browser)));

    for (target, action) in [("/login", ""), ("/", "login"), ("/?key=x&gotonode=n", "login")] {
        let mut browser = Browser::new(server.port());
        let wrong = [("action", action), ("username", ADMIN), ("password", "wrong")];
        let answer = browser.submit(target, &wrong);
        assert_eq!(answer.status, 303, "{target}");
        assert!(answer.header("location").ends_with("login-failed=noauth"), "{answer:?}");
        let right = [("action", action), ("username", ADMIN), ("password", PASSWORD)];
        let answer = browser.submit(target, &right);
        assert_eq!(answer.status, 303, "{target}");
        let kept = target.trim_start_matches("/login");
        let kept = if kept.is_empty() { "/" } else { kept };
        assert_eq!(answer.header("location"), kept);
        assert!(is_let_in(open(&browser)), "{target}");
    }
}

#[test]
fn bodies_are_forms_or_json_short_and_whole() {
    let server = server(&json!({}));
    let mut browser = Browser::new(server.port());
    let json = "Content-Type: application/json\r\n";
    let long = format!(r#"{{"username":"{}"}}"#, "x".repeat(20_000));
    let deep = "[".repeat(10_000);
    for (headers, body, status) in [
        (json, "", 400),
        (json, "{", 400),
        (json, "[]", 400),
        (json, &*deep, 400),
        (json, r#"{"username":5}"#, 401),
        (json, &*long, 413),
        ("Content-Type: text/plain\r\n", r#"{"username":"a"}"#, 415),
        ("Content-Type: multipart/form-data; boundary=x\r\n", "--x--", 415),
        ("", "username=a&password=b", 303),
    ] {
        let answer = browser.request("POST", "/login", headers, body);
        assert_eq!(answer.status, status, "{headers} {}", &body[..body.len().min(40)]);
        assert!(answer.cookies().is_empty());
    }
    assert_eq!(browser.request("POST", "/", json, r#"{"action":"deleteaccount"}"#).status, 404);
    assert_eq!(browser.request("PUT", "/login", json, "{}").status, 404);
}

/// The code of an authenticator app, now.
fn code(secret: &[u8]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    format!("{:06}", totp::code(secret, totp::step(Seconds(now))))
}

#[test]
fn a_second_factor_is_a_step_of_its_own_and_a_device_can_be_remembered() {
    let server = server(&json!({}));
    let mut browser = logged_in(server.port());
    let mut page = greeted(&browser);
    let request = ask(&mut page, &json!({"action": "otpauth-request"}), "otpauth-request");
    let text = request["secret"].as_str().expect("a secret").to_owned();
    let secret = totp::parse_secret(&text).expect("base32");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    // An older code of the window, so that the present one is still unused.
    let older = totp::code(&secret, totp::step(Seconds(now)) - 1);
    let setup = json!({"action": "otpauth-setup", "secret": text, "token": format!("{older:06}")});
    assert_eq!(ask(&mut page, &setup, "otpauth-setup")["success"], true);

    browser.jar.clear();
    let asked = log_in(&mut browser);
    assert_eq!(asked.result(), (401, "tokenrequired".to_owned()));
    assert_eq!(asked.json()["ways"], json!(["app"]));
    let state = asked.json()["hwstate"].clone();
    let wrong = browser.post("/tokenlogin", &json!({"hwstate": state, "token": "000000"}));
    assert_eq!(wrong.result(), (401, "wrongtoken".to_owned()));
    let nonsense = browser.post("/tokenlogin", &json!({"hwstate": "AAAA", "token": "000000"}));
    assert_eq!(nonsense.result(), (401, "expired".to_owned()));
    let token = json!({"hwstate": state, "token": code(&secret), "remembertoken": "on"});
    let right = browser.post("/tokenlogin", &token);
    assert_eq!(right.result(), (200, "ok".to_owned()));
    assert_eq!(right.cookies().len(), 2);
    assert!(right.cookies()[0].starts_with("twofactor="), "{right:?}");
    assert!(right.cookies()[0].ends_with("HttpOnly; SameSite=Strict; Max-Age=2592000"));
    assert!(is_let_in(open(&browser)));
    let again = Browser::new(server.port()).post("/tokenlogin", &token);
    assert_eq!(again.result(), (401, "wrongtoken".to_owned()), "a code works once");

    browser.jar.retain(|(name, ..)| name == "twofactor");
    assert_eq!(log_in(&mut browser).result(), (200, "ok".to_owned()), "remembered");
    browser.jar.clear();
    assert_eq!(log_in(&mut browser).result(), (401, "tokenrequired".to_owned()));
}

#[test]
fn a_security_key_is_registered_and_needed_from_then_on() {
    let server = server(&json!({}));
    let mut browser = logged_in(server.port());
    let (site, mut key) = (Page::of(&browser.origin()), Authenticator::p256());
    let mut page = greeted(&browser);
    let start = json!({"action": "webauthn-startregister", "name": "blue"});
    let start = ask(&mut page, &start, "webauthn-startregister");
    let made = key.create(&site, start["request"]["challenge"].as_str().expect("a challenge"));
    let finish = json!({"action": "webauthn-endregister", "response": {"response": made}});
    assert_eq!(ask(&mut page, &finish, "otp-hkey-setup-response")["result"], true);

    browser.jar.clear();
    let asked = log_in(&mut browser).json();
    assert_eq!((&asked["result"], &asked["ways"]), (&json!("tokenrequired"), &json!(["key"])));
    let challenge = asked["hkey"]["challenge"].as_str().expect("a challenge");
    let answer = json!({"hwstate": asked["hwstate"], "hwtoken": key.get(&site, challenge, b"")});
    assert_eq!(browser.post("/tokenlogin", &answer).result(), (200, "ok".to_owned()));
    assert!(is_let_in(open(&browser)));
    let replayed = browser.post("/tokenlogin", &answer);
    assert_eq!(replayed.result(), (401, "wrongtoken".to_owned()));
}

#[test]
fn an_old_password_must_be_changed_before_there_is_a_session() {
    let server = server(&json!({"domains": {"": {"passwordRequirements": {"min": 8}}}}));
    server.command(&["user", "add", "bob", "--password", "B0b!passw"]);
    let mut page = greeted(&logged_in(server.port()));
    let reset = json!({"action": "changeuserpass", "userid": "user//bob", "pass": "B0b!passw",
        "hint": "", "resetNextLogin": true, "removeMultiFactor": false});
    page.send(&frame(1, true, reset.to_string().as_bytes()));
    loop {
        let message = next(&mut page);
        if message["event"]["msgid"] == 75 {
            break;
        }
    }
    let mut browser = Browser::new(server.port());
    let first = browser.post("/login", &json!({"username": "bob", "password": "B0b!passw"}));
    assert_eq!(first.result(), (403, "passwordchange".to_owned()));
    assert!(first.cookies().is_empty());
    let change = |browser: &mut Browser, old: &str, new: &str| {
        let state = &first.json()["hwstate"];
        let body = json!({"hwstate": state, "password": old, "rpassword1": new, "rpassword2": new});
        browser.post("/password", &body).result()
    };
    assert_eq!(change(&mut browser, "wrong", "N3w!passw"), (401, "noauth".to_owned()));
    assert_eq!(change(&mut browser, "B0b!passw", "short"), (400, "badpassword".to_owned()));
    let same = change(&mut browser, "B0b!passw", "B0b!passw");
    assert_eq!(same, (400, "usedpassword".to_owned()));
    assert_eq!(change(&mut browser, "B0b!passw", "N3w!passw"), (200, "ok".to_owned()));
    assert!(is_let_in(open(&browser)));
    assert_eq!(change(&mut browser, "N3w!passw", "N3w!passw2"), (401, "expired".to_owned()));
    let old = browser.post("/login", &json!({"username": "bob", "password": "B0b!passw"}));
    assert_eq!(old.result(), (401, "noauth".to_owned()));
}

#[test]
fn guessing_bars_the_guesser_and_leaves_the_owner_alone() {
    let limit = json!({"settings": {"maxInvalidLogin": {"time": 10, "count": 5}}});
    let server = server(&limit);
    let mut guesser = Browser::new(server.port());
    guesser.from = [127, 6, 6, 6].into();
    let results: Vec<_> = (0..7)
        .map(|guess| {
            let guess = json!({"username": "nobody", "password": format!("guess {guess}")});
            guesser.post("/login", &guess).result()
        })
        .collect();
    assert_eq!(results[0], (401, "noauth".to_owned()));
    assert_eq!(results[6], (429, "banned".to_owned()));
    assert_eq!(log_in(&mut guesser).result(), (429, "banned".to_owned()));
    assert_eq!(guesser.get("/?login=AAAA").header("location"), "/?login-failed=banned");
    logged_in(server.port());
}

#[test]
fn a_login_link_works_once_and_leaves_no_trace_in_the_address() {
    let server = server(&json!({"settings": {"allowLoginToken": true}}));
    let cookie = link(&server);
    let target = format!("/?login={cookie}&gotonode=abc&viewmode=11&hide=31");
    let mut frame = Browser::new(server.port());
    let answer = frame.get(&target);
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/?gotonode=abc&viewmode=11&hide=31")
    );
    assert!(is_let_in(open(&frame)));
    let reload = frame.get(&target);
    assert_eq!((reload.status, reload.cookies().len()), (303, 0), "who is in stays in");
    let mut thief = Browser::new(server.port());
    thief.from = [127, 6, 6, 6].into();
    let answer = thief.get(&target);
    assert!(answer.header("location").ends_with("&login-failed=expired"), "{answer:?}");
    assert!(answer.cookies().is_empty() && !is_let_in(open(&thief)));
    let by_program = Raw::open(server.port(), &format!("/control.ashx?auth={cookie}"), "");
    assert_eq!(greeting(by_program).1, "noauth");
}

#[test]
fn the_first_account_is_logged_in_at_once() {
    let server = Meshboard::start_empty();
    let line = server.wait_for_log("Setup code: ");
    let code = line.split("Setup code: ").nth(1).and_then(|rest| rest.split('.').next());
    let fields =
        [("code", code.expect("the log tells it")), ("name", ADMIN), ("password", PASSWORD)];
    let mut browser = Browser::new(server.port());
    assert_eq!(browser.submit("/setup", &fields).status, 200);
    assert!(is_let_in(open(&browser)));
}
