//! The steps of a login, in the right order and in every wrong one.

use std::time::Duration;

use super::*;
use crate::config::{Config, Domain, LoginLimit};
use crate::control::session::Session;
use crate::control::testing::{World, ask, heard, upgrade};
use crate::identity::totp;
use crate::identity::webauthn::authenticator::{Authenticator, Page};
use crate::model::{DomainId, Factors, Millis, PasswordHash, SiteRights, Totp, UserId};
use futures_lite::future::block_on;

const ORIGIN: &str = "https://127.0.0.1:15443";
const PASSWORD: &str = "Adm1n!pass";

fn own_page(cookies: Option<&str>) -> Upgrade<'_> {
    Upgrade { origin: Some(ORIGIN), cookies, agent: Some("Browser/1"), ..upgrade(None) }
}

fn form<const N: usize>(fields: [(&str, &str); N]) -> Form {
    Form::new(fields.map(|(name, text)| (name, text.to_owned())))
}

fn try_in<const N: usize>(world: &World, fields: [(&str, &str); N]) -> Outcome {
    block_on(log_in(&world.control, &own_page(None), &form(fields)))
}

/// The `Cookie` header of somebody who was let in.
fn cookies(outcome: &Outcome) -> String {
    let Outcome::In { cookies, .. } = outcome else { panic!("{outcome:?}") };
    let pairs = cookies.iter().map(|cookie| cookie.split(';').next().unwrap());
    pairs.collect::<Vec<_>>().join("; ")
}

fn word(outcome: &Outcome) -> String {
    outcome.json()["result"].as_str().unwrap().to_owned()
}

fn admin_id() -> UserId {
    UserId::new(DomainId::default(), "admin").unwrap()
}

/// Gives the administrator an authenticator app.
fn with_app(world: &World) -> Vec<u8> {
    let secret = totp::fresh_secret().unwrap();
    let totp = Some(Totp { secret: secret.clone(), last_step: 0 });
    world.hub.store.put(Factors { totp, ..Factors::new(admin_id()) }).later();
    secret
}

fn code(world: &World, secret: &[u8]) -> String {
    format!("{:06}", totp::code(secret, totp::step(world.hub.now().seconds())))
}

/// A WebSocket of a browser.
fn open(world: &World, cookies: &str) -> Session {
    world.enter(&own_page(Some(cookies))).unwrap()
}

#[test]
fn a_password_opens_a_session_and_a_wrong_one_does_not() {
    let world = World::new();
    world.user("locked", SiteRights::LOCKED);
    let watcher = world.session("admin");
    for (name, password, expected, status) in [
        ("admin", "wrong", "noauth", 401),
        ("nobody", PASSWORD, "noauth", 401),
        ("a b", PASSWORD, "noauth", 401),
        ("admin", "", "noauth", 401),
    ] {
        let outcome = try_in(&world, [("username", name), ("password", password)]);
        let Outcome::Refused { cause, ref next } = outcome else { panic!("{name}") };
        assert_eq!((cause.word(), cause.status()), (expected, status), "{name}");
        assert!(next.is_empty());
    }
    heard(&watcher);
    let outcome = try_in(&world, [("username", "ADMIN"), ("password", PASSWORD)]);
    assert_eq!(outcome.json(), json!({"result": "ok", "user": "user//admin"}));
    let event = heard(&watcher).remove(0);
    assert_eq!(event["event"]["action"], "login");
    assert_eq!(event["event"]["msgArgs"], json!(["127.0.0.1", "Browser/1", ""]));
    let session = open(&world, &cookies(&outcome));
    assert_eq!(session.greeting().texts.len(), 2);
}

#[test]
fn what_is_missing_is_malformed() {
    let world = World::new();
    assert_eq!(word(&try_in(&world, [])), "badrequest");
    assert_eq!(word(&try_in(&world, [("token", "123456")])), "badrequest");
    assert_eq!(word(&try_in(&world, [("hwstate", "x"), ("token", "1")])), "expired");
    assert_eq!(word(&try_in(&world, [("hwtoken", "**timeout**")])), "expired");
}

#[test]
fn a_second_factor_is_asked_for_and_needs_no_password_again() {
    let world = World::new();
    let secret = with_app(&world);
    let first = try_in(&world, [("username", "admin"), ("password", PASSWORD)]);
    let asked = first.json();
    assert_eq!(asked["result"], "tokenrequired");
    assert_eq!(asked["ways"], json!(["app"]));
    assert_eq!(asked["twoFactorCookieDays"], 30);
    assert!(asked.get("hkey").is_none());
    let state = asked["hwstate"].as_str().unwrap();

    let wrong = try_in(&world, [("hwstate", state), ("token", "000000")]);
    assert_eq!(word(&wrong), "wrongtoken");
    let code = code(&world, &secret);
    let right = try_in(&world, [("hwstate", state), ("token", &code)]);
    assert_eq!(word(&right), "ok");
    assert!(!cookies(&right).contains("twofactor"), "nobody asked to be remembered");
    let again = try_in(&world, [("hwstate", state), ("token", &code)]);
    assert_eq!(word(&again), "wrongtoken", "a code works once");
}

#[test]
fn all_at_once_works_and_the_device_is_remembered_if_wanted() {
    let world = World::new();
    let secret = with_app(&world);
    let code = code(&world, &secret);
    let outcome = try_in(
        &world,
        [("username", "admin"), ("password", PASSWORD), ("token", &code), ("remembertoken", "on")],
    );
    let cookies = cookies(&outcome);
    let remembered = cookies.split("; ").find(|c| c.starts_with("twofactor=")).unwrap();
    let page = own_page(Some(remembered));
    let fields = form([("username", "admin"), ("password", PASSWORD), ("remembertoken", "on")]);
    let outcome = block_on(log_in(&world.control, &page, &fields));
    let Outcome::In { cookies, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(cookies.len(), 1, "no second factor, nothing to remember");
}

#[test]
fn a_proof_is_good_for_its_step_account_and_password() {
    let mut config = Config::default();
    config.domains.insert(DomainId::new("cust2").unwrap(), Domain::default());
    let world = World::with(config);
    let secret = with_app(&world);
    let user = world.hub.store.user(&admin_id()).unwrap();
    let key = &world.control.keys.steps;
    let proof = |step| proof::make(key, &world.hub, step, &user).unwrap();
    let (factor, password) = (proof(Step::Factor), proof(Step::Password));
    let code = code(&world, &secret);
    let change = |state: &str| {
        let fields = form([("hwstate", state), ("password", PASSWORD), ("rpassword1", "N3w!")]);
        word(&block_on(change_password(&world.control, &own_page(None), &fields)))
    };
    assert_eq!(change(&factor), "expired", "without the second factor");
    let outcome = try_in(&world, [("hwstate", &password), ("token", &code)]);
    assert_eq!(word(&outcome), "expired", "of the other step");
    // A cookie of another kind, sealed with the key that tools have.
    let other = crate::control::auth::remember(
        &world.control.keys.login,
        &crate::config::FactorRules::default(),
        &user,
        world.hub.now(),
    );
    assert_eq!(change(&other.unwrap()), "expired");
    let elsewhere = DomainId::new("cust2").unwrap();
    let page = Upgrade { domain: &elsewhere, ..own_page(None) };
    let fields = form([("hwstate", &factor), ("token", &code)]);
    assert_eq!(word(&block_on(log_in(&world.control, &page, &fields))), "expired");

    let changed = User { password: PasswordHash::None, ..(*user).clone() };
    world.hub.store.put(changed).later();
    let outcome = try_in(&world, [("hwstate", &factor), ("token", &code)]);
    assert_eq!(word(&outcome), "expired", "the password is another one");
}

#[test]
fn a_forced_change_takes_place_before_the_session() {
    let mut config = Config::default();
    config.domains.get_mut(&DomainId::default()).unwrap().passwords.min = 8;
    let world = World::with(config);
    let user = world.hub.store.user(&admin_id()).unwrap();
    world.hub.store.put(User { password_changed: None, ..(*user).clone() }).later();
    let first = try_in(&world, [("username", "admin"), ("password", PASSWORD)]).json();
    assert_eq!(first["result"], "passwordchange");
    let state = first["hwstate"].as_str().unwrap();
    let change = |old: &str, new: &str, again: &str| {
        let fields = form([
            ("hwstate", state),
            ("password", old),
            ("rpassword1", new),
            ("rpassword2", again),
        ]);
        block_on(change_password(&world.control, &own_page(None), &fields))
    };
    for (old, new, again, expected) in [
        (PASSWORD, "N3w!passw", "other", "badrequest"),
        ("wrong", "N3w!passw", "N3w!passw", "noauth"),
        (PASSWORD, "short", "short", "badpassword"),
        (PASSWORD, PASSWORD, PASSWORD, "usedpassword"),
    ] {
        assert_eq!(word(&change(old, new, again)), expected, "{old} {new}");
    }
    let outcome = change(PASSWORD, "N3w!passw", "N3w!passw");
    assert_eq!(word(&outcome), "ok");
    open(&world, &cookies(&outcome));
    assert_eq!(word(&change("N3w!passw", "N3w!passw2", "N3w!passw2")), "expired", "once");
    for (password, expected) in [(PASSWORD, "noauth"), ("N3w!passw", "ok")] {
        let outcome = try_in(&world, [("username", "admin"), ("password", password)]);
        assert_eq!(word(&outcome), expected);
    }
}

#[test]
fn a_security_key_is_registered_and_logs_in() {
    let world = World::new();
    let (page, mut key) = (Page::of(ORIGIN), Authenticator::p256());
    let first = try_in(&world, [("username", "admin"), ("password", PASSWORD)]);
    let session = open(&world, &cookies(&first));

    let start = ask(&session, &json!({"action": "webauthn-startregister", "name": "blue"}));
    assert_eq!(start[0]["keyname"], "blue");
    let made = key.create(&page, start[0]["request"]["challenge"].as_str().unwrap());
    let finish = json!({"action": "webauthn-endregister", "response": {"response": made}});
    let answer = ask(&session, &finish);
    assert_eq!((&answer[0]["result"], &answer[0]["name"]), (&json!(true), &json!("blue")));
    let events = heard(&session);
    let event = &events.iter().find(|e| e["event"]["msgid"] == 95).unwrap()["event"];
    assert_eq!(event["account"]["otphkeys"], 1);
    let again = ask(&session, &finish);
    assert_eq!(again[0]["result"], false, "the challenge was answered");

    let asked = try_in(&world, [("username", "admin"), ("password", PASSWORD)]).json();
    assert_eq!((&asked["result"], &asked["ways"]), (&json!("tokenrequired"), &json!(["key"])));
    let (challenge, state) = (&asked["hkey"]["challenge"], asked["hwstate"].as_str().unwrap());
    let challenge = challenge.as_str().unwrap();
    let elsewhere = key.get(&Page::of("https://evil.example"), challenge, b"");
    let outcome = try_in(&world, [("hwstate", state), ("hwtoken", &elsewhere)]);
    assert_eq!(word(&outcome), "wrongtoken", "signed for another page");
    let here = key.get(&page, challenge, b"");
    let outcome = try_in(&world, [("hwstate", state), ("hwtoken", &here)]);
    assert_eq!(word(&outcome), "wrongtoken", "the challenge is used up");
    let challenge = outcome.json()["hkey"]["challenge"].as_str().unwrap().to_owned();
    let good = key.get(&page, &challenge, b"");
    let outcome = try_in(&world, [("hwstate", state), ("hwtoken", &good)]);
    assert_eq!(word(&outcome), "ok");
    let outcome = try_in(&world, [("hwstate", state), ("hwtoken", &good)]);
    assert_eq!(word(&outcome), "wrongtoken", "replayed");

    // The control channel takes it as a token, too: the challenge comes from the form.
    let challenge = outcome.json()["hkey"]["challenge"].as_str().unwrap().to_owned();
    let token = key.get(&page, &challenge, b"");
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("user", "admin")
        .append_pair("pass", PASSWORD)
        .append_pair("token", &token)
        .finish();
    assert!(world.enter(&Upgrade { query: &query, ..own_page(None) }).is_ok());
}

#[test]
fn keys_are_registered_by_pages_and_within_limits_only() {
    let world = World::new();
    let (page, key) = (Page::of(ORIGIN), Authenticator::p256());
    let program = world.session("admin");
    let start = json!({"action": "webauthn-startregister", "name": "blue"});
    let challenge = ask(&program, &start)[0]["request"]["challenge"].as_str().unwrap().to_owned();
    let finish = |challenge: &str| {
        let made = key.create(&page, challenge);
        json!({"action": "webauthn-endregister", "response": {"response": made}})
    };
    let answer = ask(&program, &finish(&challenge));
    assert_eq!(
        (&answer[0]["result"], &answer[0]["error"]),
        (&json!(false), &json!("the page is not of this server"))
    );
    let first = try_in(&world, [("username", "admin"), ("password", PASSWORD)]);
    let session = open(&world, &cookies(&first));
    for (name, good) in [("", false), (&*"x".repeat(65), false), ("x", true)] {
        let start = json!({"action": "webauthn-startregister", "name": name});
        assert_eq!(!ask(&session, &start).is_empty(), good, "{name}");
    }
    let challenge = |session: &Session| {
        ask(session, &start)[0]["request"]["challenge"].as_str().unwrap().to_owned()
    };
    let (one, two) = (challenge(&session), challenge(&session));
    assert_eq!(ask(&session, &finish(&one))[0]["result"], true);
    let twice = ask(&session, &finish(&two));
    assert_eq!(twice[0]["error"], "the security key is registered already");
    let mut config = Config::default();
    config.domains.get_mut(&DomainId::default()).unwrap().factors.max_keys = Some(1);
    world.hub.set_config(config.clone());
    assert!(ask(&session, &start).is_empty(), "no more keys than there may be");
    let factors = &mut config.domains.get_mut(&DomainId::default()).unwrap().factors;
    (factors.max_keys, factors.locked) = (None, true);
    world.hub.set_config(config);
    assert!(ask(&session, &start).is_empty(), "locked");
}

#[test]
fn a_login_ends_the_session_this_browser_had() {
    let world = World::new();
    world.user("bob", SiteRights::empty());
    let first = cookies(&try_in(&world, [("username", "admin"), ("password", PASSWORD)]));
    let websocket = open(&world, &first);
    let fields = form([("username", "admin"), ("password", PASSWORD)]);
    let outcome = block_on(log_in(&world.control, &own_page(Some(&first)), &fields));
    let second = cookies(&outcome);
    assert_ne!(first, second);
    assert!(world.enter(&own_page(Some(&first))).is_err());
    assert!(websocket.look().end);
    open(&world, &second);
    let wrong = form([("username", "admin"), ("password", "wrong")]);
    block_on(log_in(&world.control, &own_page(Some(&second)), &wrong));
    open(&world, &second);
}

#[test]
fn logging_out_ends_the_session_and_tells_the_browser() {
    let world = World::new();
    let watcher = world.session("admin");
    let cookies = cookies(&try_in(&world, [("username", "admin"), ("password", PASSWORD)]));
    heard(&watcher);
    let forget = log_out(&world.control, &own_page(Some(&cookies)));
    assert!(forget.starts_with("__Host-session=;") && forget.ends_with("Max-Age=0"), "{forget}");
    assert_eq!(heard(&watcher)[0]["event"]["action"], "logout");
    assert!(world.enter(&own_page(Some(&cookies))).is_err());
    log_out(&world.control, &own_page(Some(&cookies)));
    assert!(heard(&watcher).is_empty(), "only once");
}

/// The cookie of a login link, made `age` seconds ago.
fn link(world: &World, fields: Value, age: u64) -> String {
    let Value::Object(fields) = fields else { panic!("object") };
    let now = world.hub.now().seconds();
    let made = crate::model::Seconds(now.0.saturating_sub(age));
    world.control.keys.login.seal(fields, made).unwrap()
}

#[test]
fn a_login_link_works_once_and_nowhere_else_afterwards() {
    let world = World::new();
    let page = own_page(None);
    let cookie = link(&world, json!({"u": "user//admin", "a": 3}), 0);
    let query = format!("auth={cookie}");
    let by_program = || world.enter(&Upgrade { query: &query, ..upgrade(None) });
    assert!(by_program().is_ok(), "programs use the same kind");
    let outcome = follow_link(&world.control, &page, &cookie);
    let session = cookies(&outcome);
    open(&world, &session);
    assert_eq!(by_program().err(), Some(Refusal::NoAuth), "used");
    let thief = Upgrade { remote: "192.0.2.1:5".parse().unwrap(), ..page };
    assert_eq!(word(&follow_link(&world.control, &thief, &cookie)), "expired");
    let reload = follow_link(&world.control, &own_page(Some(&session)), &cookie);
    let Outcome::In { cookies, .. } = reload else { panic!("{reload:?}") };
    assert_eq!(cookies, [""; 0], "who is in stays in");
}

#[test]
fn only_links_of_this_tenant_and_process_are_followed() {
    let world = World::new();
    world.user("locked", SiteRights::LOCKED);
    for (fields, age) in [
        (json!({"userid": "user//admin", "domainid": ""}), 0),
        (json!({"u": "user//admin", "a": 4}), 0),
        (json!({"u": "user/cust2/admin", "a": 3}), 0),
        (json!({"u": "user//nobody", "a": 3}), 0),
        (json!({"u": "user//locked", "a": 3}), 0),
        (json!({"u": "user//admin", "a": 3, "t": "~t:gone"}), 0),
        (json!({"u": "user//admin", "a": 3}), 3700),
        (json!({"u": "user//admin", "a": 3}), 600),
    ] {
        let cookie = link(&world, fields.clone(), age);
        let outcome = follow_link(&world.control, &own_page(None), &cookie);
        assert_eq!(word(&outcome), "noauth", "{fields} {age}");
    }
    let for_ever = link(&world, json!({"u": "user//admin", "a": 3, "expire": 0}), 0);
    let outcome = follow_link(&world.control, &own_page(None), &for_ever);
    assert_eq!(word(&outcome), "expired", "it could not be remembered for ever");
}

#[test]
fn guessing_bars_links_and_steps_too() {
    let mut config = Config::default();
    let limit = LoginLimit { time: Duration::from_secs(600), count: 3, cool_off: None };
    config.settings.max_invalid_login = Some(limit);
    let world = World::with(config);
    let good = link(&world, json!({"u": "user//admin", "a": 3}), 0);
    for _ in 0..2 {
        try_in(&world, [("username", "admin"), ("password", "wrong")]);
    }
    assert_eq!(word(&follow_link(&world.control, &own_page(None), "AAAA")), "noauth");
    assert_eq!(word(&follow_link(&world.control, &own_page(None), &good)), "banned");
    let outcome = try_in(&world, [("username", "admin"), ("password", PASSWORD)]);
    assert_eq!(word(&outcome), "banned");
    let outcome = try_in(&world, [("hwstate", "x"), ("token", "1")]);
    assert_eq!(word(&outcome), "expired");
}

#[test]
fn only_our_own_pages_and_programs_change_anything() {
    let world = World::new();
    for (origin, site, own) in [
        (None, None, true),
        (Some(ORIGIN), None, true),
        (Some(ORIGIN), Some("same-origin"), true),
        (None, Some("same-origin"), true),
        (None, Some("none"), true),
        (None, Some("same-site"), false),
        (None, Some("cross-site"), false),
        (Some("null"), Some("same-origin"), true),
        (Some("null"), Some("cross-site"), false),
        (Some("null"), None, false),
        (Some("https://evil.example"), Some("same-origin"), false),
        (Some("https://evil.example"), None, false),
        (Some("http://127.0.0.1:15443"), None, false),
        (Some("https://127.0.0.1"), None, false),
        (Some(""), None, false),
    ] {
        let asked = Upgrade { origin, ..upgrade(None) };
        assert_eq!(is_own(&world.control, &asked, site), own, "{origin:?} {site:?}");
    }
}

#[test]
fn sessions_are_listed_and_ended_by_their_owner_only() {
    let world = World::new();
    world.user("bob", SiteRights::empty());
    let log_in = || cookies(&try_in(&world, [("username", "admin"), ("password", PASSWORD)]));
    let (here, there) = (log_in(), log_in());
    let (session, other) = (open(&world, &here), open(&world, &there));
    let listed = ask(&session, &json!({"action": "websessions"})).remove(0);
    let listed = listed["sessions"].as_array().unwrap().clone();
    let current: Vec<_> = listed.iter().map(|s| s["current"].as_bool().unwrap()).collect();
    assert_eq!(current, [true, false]);
    assert_eq!((&listed[0]["ip"], &listed[0]["agent"]), (&json!("127.0.0.1"), &json!("Browser/1")));
    assert!(!here.contains(&listed[1].to_string()), "no secret is told");
    let end = json!({"action": "endwebsession", "id": listed[1]["id"], "responseid": "R"});
    assert_eq!(ask(&world.session("bob"), &end)[0]["result"], "Invalid id");
    assert!(!other.look().end);
    assert_eq!(ask(&session, &end)[0]["result"], "ok");
    assert!(other.look().end);
    assert_eq!(ask(&session, &end)[0]["result"], "Invalid id");
    assert!(
        ask(&world.session("bob"), &json!({"action": "websessions"}))[0]["sessions"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_session_by_login_token_keeps_the_limits_of_its_token() {
    let world = World::new();
    let token = crate::model::LoginToken {
        token_user: "~t:abc".into(),
        user: admin_id(),
        name: "script".into(),
        password: crate::identity::password::keep_random("secret"),
        created: Millis(0),
        expires: None,
    };
    world.hub.store.put(token).later();
    let outcome = try_in(&world, [("username", "~t:abc"), ("password", "secret")]);
    let session = open(&world, &cookies(&outcome));
    assert!(ask(&session, &json!({"action": "websessions"})).is_empty());
    assert!(ask(&session, &json!({"action": "webauthn-startregister", "name": "x"})).is_empty());
    world.hub.store.remove(crate::store::RecordKey::LoginToken("~t:abc".into())).later();
    assert!(session.look().end);
}
