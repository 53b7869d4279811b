//! Who is let in and who is not, and in which words.

use super::*;
use crate::config::{Config, LoginLimit};
use crate::control::testing::{ADMIN_AUTH, World, upgrade};
use crate::identity::password;
use crate::model::{PasswordHash, Seconds};
use futures_lite::future::block_on;
use serde_json::{Value, json};
use std::time::Duration;

const VECTORS: &str = include_str!("../../../tests/vectors/control-auth.json");

fn admit(world: &World, upgrade: &Upgrade<'_>) -> Result<Login, Refusal> {
    block_on(world.control.gate.admit(upgrade))
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

#[test]
fn clients_are_let_in_or_refused_in_the_words_of_meshcentral() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let world = World::new();
    let mut seen = 0;
    for case in vectors["cases"].as_array().unwrap() {
        let label = case["label"].as_str().unwrap();
        let Some(path) = case["path"].as_str() else { continue };
        let query = match path.strip_prefix("/control.ashx") {
            Some(rest) => rest.trim_start_matches('?'),
            None => continue,
        };
        // Their cookies have expired long ago, and their other accounts are not here.
        const WANTED: [&str; 10] = [
            "noauth",
            "bad password header",
            "header 1 field",
            "header 4 fields",
            "good header",
            "good header username case",
            "bad query user/pass",
            "good query user/pass",
            "garbage auth cookie",
            "bad auth cookie + good header",
        ];
        if !WANTED.contains(&label) {
            continue;
        }
        let first = &case["frames"][0];
        let meshauth = case["headers"]["x-meshauth"].as_str();
        let outcome = admit(&world, &Upgrade { query, meshauth, ..upgrade(None) });
        match outcome {
            Ok(login) => {
                assert_eq!(first["action"], "serverinfo", "{label}");
                assert_eq!(login.user.name(), "admin", "{label}");
            }
            Err(refusal) => {
                let frame: Value = serde_json::from_str(&refusal.frame()).unwrap();
                assert_eq!(frame, *first, "{label}");
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 10);
}

#[test]
fn blanks_around_the_commas_of_the_header_are_allowed() {
    let world = World::new();
    let header = ADMIN_AUTH.replace(',', " , ");
    assert!(admit(&world, &upgrade(Some(&header))).is_ok());
}

#[test]
fn a_locked_account_and_an_unknown_one_fail_like_a_wrong_password() {
    let world = World::new();
    let mut locked = world.user("locked", SiteRights::LOCKED);
    locked.password = password::hash("x");
    world.hub.store.put(locked).later();
    for query in ["user=locked&pass=x", "user=nobody&pass=x", "user=a%20b&pass=x"] {
        let outcome = admit(&world, &Upgrade { query, ..upgrade(None) });
        assert_eq!(outcome, Err(Refusal::Query), "{query}");
    }
}

#[test]
fn an_account_without_tools_is_told_so_after_its_password_only() {
    let world = World::new();
    let mut user = world.user("web", SiteRights::NO_TOOLS);
    user.password = password::hash("x");
    world.hub.store.put(user).later();
    let with = |query| admit(&world, &Upgrade { query, ..upgrade(None) });
    assert_eq!(with("user=web&pass=x"), Err(Refusal::NoTools));
    assert_eq!(with("user=web&pass=y"), Err(Refusal::Query));
}

#[test]
fn an_imported_password_is_kept_in_the_new_form_after_its_first_use() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tests/vectors/control-password.json")).unwrap();
    let entry = &vectors["pbkdf2"][1];
    let text = |name: &str| entry[name].as_str().unwrap().to_owned();
    let world = World::new();
    let mut user = world.user("bob", SiteRights::empty());
    user.password = PasswordHash::Pbkdf2 { salt: text("salt"), hash: text("hash") };
    world.hub.store.put(user.clone()).later();
    let query = "user=Bob&pass=B0b!passw";
    for _ in 0..2 {
        assert!(admit(&world, &Upgrade { query, ..upgrade(None) }).is_ok());
        let kept = world.hub.store.user(&user.id).unwrap();
        assert!(matches!(kept.password, PasswordHash::Argon2(_)));
    }
}

/// A cookie with `fields`, made `age` seconds ago with the world's key.
fn cookie(world: &World, fields: Value, age: u64) -> String {
    let Value::Object(fields) = fields else { panic!("object") };
    let secret = crate::model::Secret { name: String::new(), bytes: (0..80).collect() };
    let now = Seconds(world.hub.now().seconds().0 - age);
    CookieKey::new(&secret).unwrap().seal(fields, now).unwrap()
}

#[test]
fn a_cookie_of_the_login_key_opens_the_door_for_its_account_domain_and_place() {
    let world = World::new();
    world.user("locked", SiteRights::LOCKED);
    world.user("web", SiteRights::NO_TOOLS);
    for (fields, age, good) in [
        (json!({"userid": "user//admin", "domainid": ""}), 0, true),
        (json!({"userid": "user//admin", "domainid": ""}), 3700, false),
        (json!({"userid": "user//admin", "domainid": "", "expire": 0}), 9_999_999, true),
        (json!({"u": "user//admin", "a": 3}), 0, true),
        (json!({"u": "user//admin", "a": 4}), 0, false),
        (json!({"userid": "user//web", "domainid": ""}), 0, true),
        (json!({"userid": "user//admin", "domainid": "other"}), 0, false),
        (json!({"userid": "user/other/admin", "domainid": ""}), 0, false),
        (json!({"userid": "user//nobody", "domainid": ""}), 0, false),
        (json!({"userid": "user//locked", "domainid": ""}), 0, false),
        (json!({"userid": "user//admin", "domainid": "", "ip": "10.0.0.1"}), 0, true),
        (json!({"userid": "user//admin", "domainid": "", "ip": "8.8.8.8"}), 0, false),
        (json!({"userid": "user//admin", "domainid": "", "ip": 7}), 0, false),
        (json!({"ruserid": "user//admin", "x": "y"}), 0, false),
    ] {
        let text = cookie(&world, fields.clone(), age);
        // Clients send it both ways.
        let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        for query in [format!("auth={text}"), format!("auth={encoded}")] {
            let outcome = admit(&world, &Upgrade { query: &query, ..upgrade(None) });
            let expected = if good { Ok(Method::Cookie) } else { Err(Refusal::NoAuth) };
            assert_eq!(outcome.map(|login| login.method), expected, "{fields}");
        }
        world.hub.set_config(config(|c| c.settings.max_invalid_login = None));
    }
}

#[test]
fn guessing_is_barred_for_the_network_and_counts_cookies_too() {
    let limit = LoginLimit { time: Duration::from_secs(600), count: 3, cool_off: None };
    let world = World::with(config(|c| c.settings.max_invalid_login = Some(limit)));
    let attempt = |meshauth, query| admit(&world, &Upgrade { query, ..upgrade(meshauth) });
    assert_eq!(attempt(Some("YWRtaW4=,eA=="), ""), Err(Refusal::Header));
    assert_eq!(attempt(None, "auth=AAAA"), Err(Refusal::NoAuth));
    assert_eq!(attempt(None, ""), Err(Refusal::NoAuth), "no credentials, no attempt");
    assert!(attempt(Some(ADMIN_AUTH), "").is_ok());
    assert_eq!(attempt(None, "user=x&pass=y"), Err(Refusal::Query));
    assert_eq!(attempt(Some(ADMIN_AUTH), ""), Err(Refusal::Banned));
    let elsewhere = Upgrade { remote: "192.0.2.7:1".parse().unwrap(), ..upgrade(Some(ADMIN_AUTH)) };
    assert!(admit(&world, &elsewhere).is_ok());
}

#[test]
fn a_domain_with_login_keys_wants_one_of_them_first() {
    let world = World::with(config(|c| {
        c.domains.entry(DomainId::default()).or_default().login_keys = vec!["sesame".into()];
    }));
    for (query, good) in [("", false), ("key=other", false), ("key=sesame", true)] {
        let outcome = admit(&world, &Upgrade { query, ..upgrade(Some(ADMIN_AUTH)) });
        assert_eq!(outcome.is_ok(), good, "{query}");
        assert!(good || outcome == Err(Refusal::NoKey));
    }
}

#[test]
fn a_page_from_elsewhere_is_refused_whatever_it_knows() {
    let world = World::with(config(|c| {
        let domain = c.domains.entry(DomainId::default()).or_default();
        domain.allowed_origins = vec!["panel.example".into(), "http://old.example:8080".into()];
    }));
    for (origin, good) in [
        ("https://127.0.0.1:15443", true),
        ("HTTPS://127.0.0.1:15443", true),
        ("http://127.0.0.1:15443", false),
        ("https://127.0.0.1", false),
        ("https://127.0.0.1:15444", false),
        ("https://evil.example", false),
        ("https://panel.example", true),
        ("https://panel.example:443", true),
        ("https://panel.example:8443", false),
        ("http://panel.example", false),
        ("http://old.example:8080", true),
        ("https://old.example:8080", false),
        ("null", false),
        ("", false),
    ] {
        let page = Upgrade { origin: Some(origin), ..upgrade(Some(ADMIN_AUTH)) };
        let outcome = admit(&world, &page);
        assert_eq!(outcome.is_ok(), good, "{origin}");
        assert!(good || outcome == Err(Refusal::InvalidOrigin), "{origin}");
    }
}
