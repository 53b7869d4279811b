//! What both servers do alike, so that links and frames made for one work with the other.

use super::common::StockServer;
use super::common::authenticator::{Authenticator, Page};
use super::*;

fn config() -> Value {
    json!({
        "settings": {"allowLoginToken": true},
        "domains": {"cust2": {}, "keyed": {"loginKey": "sesame"}},
    })
}

/// Whether the control channel greets this browser.
fn is_greeted(browser: &Browser) -> bool {
    greeting(open(browser)).0 == "serverinfo"
}

fn links_folders_and_keys(server: &impl Server) {
    let mut browser = Browser::new(server.port());
    assert!(!is_greeted(&browser));
    let answer = browser.get(&format!("/?login={}&hide=31", link(server)));
    assert!(matches!(answer.status, 200 | 303), "{answer:?}");
    assert!(is_greeted(&browser), "a login link is accepted");

    let mut browser = Browser::new(server.port());
    browser.get(&format!("/?user={ADMIN}&pass={PASSWORD}"));
    assert!(is_greeted(&browser), "name and password in the query");

    let mut browser = Browser::new(server.port());
    let fields = [("action", "login"), ("username", ADMIN), ("password", PASSWORD)];
    assert!(matches!(browser.submit("/", &fields).status, 200 | 303));
    assert!(is_greeted(&browser), "a form");
    browser.get("/logout");
    assert!(!is_greeted(&browser), "logged out");

    let folder = browser.get("/cust2");
    assert_eq!((folder.status, folder.header("location")), (302, "/cust2/"));
    assert_eq!(browser.get("/keyed/").status, 404);
    assert_eq!(browser.get("/keyed/?key=wrong").status, 404);
    assert_eq!(browser.get("/keyed/?key=sesame").status, 200);
}

/// The ceremony of MeshCentral's pages, with the answers a browser gives.
fn security_keys(server: &impl Server, challenge_of: impl Fn(&mut Browser) -> (String, Value)) {
    let mut browser = Browser::new(server.port());
    let fields = [("action", "login"), ("username", ADMIN), ("password", PASSWORD)];
    browser.submit("/", &fields);
    let (site, mut key) = (Page::of(&browser.origin()), Authenticator::p256());
    let mut page = open(&browser);
    let start = json!({"action": "webauthn-startregister", "name": "blue"});
    let start = ask(&mut page, &start, "webauthn-startregister");
    assert_eq!(start["keyname"], "blue");
    let request = &start["request"];
    assert_eq!(request["pubKeyCredParams"][0], json!({"type": "public-key", "alg": -7}));
    let made = key.create(&site, request["challenge"].as_str().expect("a challenge"));
    let finish = json!({"action": "webauthn-endregister", "response": {"response": made}});
    let done = ask(&mut page, &finish, "otp-hkey-setup-response");
    assert_eq!(done["result"], true, "{done}");

    let mut browser = Browser::new(server.port());
    let (challenge, mut fields) = challenge_of(&mut browser);
    assert!(!is_greeted(&browser), "the password is not enough");
    // The form has both fields; MeshCentral looks at one to know the step.
    fields["token"] = "".into();
    fields["hwtoken"] = key.get(&site, &challenge, b"").into();
    let fields = fields.as_object().expect("an object");
    let fields: Vec<_> =
        fields.iter().map(|(name, text)| (&**name, text.as_str().expect("a text"))).collect();
    browser.submit("/", &fields);
    assert!(is_greeted(&browser), "the key is");
}

#[test]
fn meshcentral_follows_links_and_asks_for_keys() {
    links_folders_and_keys(&StockServer::start_with(&config()));
}

#[test]
fn meshboard_follows_links_and_asks_for_keys() {
    links_folders_and_keys(&server(&config()));
}

#[test]
fn meshcentral_takes_the_security_key() {
    security_keys(&StockServer::start(), |browser| {
        let fields = [("action", "login"), ("username", ADMIN), ("password", PASSWORD)];
        let page = browser.submit("/", &fields).body;
        let hkey = page.split("decodeURIComponent('").find_map(|rest| {
            let text = rest.split('\'').next()?;
            let form = format!("c={text}");
            let (_, text) = form_urlencoded::parse(form.as_bytes()).next()?;
            serde_json::from_str::<Value>(&text).ok().filter(|v| v["type"] == "webAuthn")
        });
        let hkey = hkey.expect("the page has the challenge");
        let state = page
            .split("name=hwstate")
            .nth(1)
            .and_then(|rest| rest.split("value=\"").nth(1)?.split('"').next());
        let challenge = hkey["challenge"].as_str().expect("a challenge").to_owned();
        let mut fields = json!({"action": "tokenlogin"});
        if let Some(state) = state {
            fields["hwstate"] = state.into();
        }
        (challenge, fields)
    });
}

#[test]
fn meshboard_takes_the_security_key() {
    security_keys(&server(&json!({})), |browser| {
        let asked = log_in(browser).json();
        let challenge = asked["hkey"]["challenge"].as_str().expect("a challenge").to_owned();
        (challenge, json!({"action": "tokenlogin", "hwstate": asked["hwstate"]}))
    });
}
