//! Who is let in and who is not, and in which words.

mod cookies;

use super::*;
use crate::config::{Config, CookieIp, LoginLimit};
use crate::control::testing::{ADMIN_AUTH, World, upgrade};
use crate::identity::password;
use crate::identity::totp;
use crate::model::{
    BackupCode, Ban, Factors, Key48, LoginToken, PasswordHash, Seconds, Totp, UserGroupId,
};
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

/// The login key of the world.
fn secret() -> crate::model::Secret {
    crate::model::Secret { name: String::new(), bytes: (0..80).collect() }
}

/// A cookie with `fields`, made `age` seconds ago with the world's key.
fn cookie(world: &World, fields: Value, age: u64) -> String {
    let Value::Object(fields) = fields else { panic!("object") };
    let now = Seconds(world.hub.now().seconds().0 - age);
    CookieKey::new(&secret()).unwrap().seal(fields, now).unwrap()
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
        (json!({"userid": "user//admin"}), 0, false),
        (json!({"userid": "user//admin", "domainid": "", "nodeid": "node//x"}), 0, false),
        (json!({"userid": "user//admin", "domainid": "", "t": "~t:gone"}), 0, false),
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

/// A world in which bob (password `x`) has an authenticator app and a backup code.
fn with_second_factor() -> (World, Vec<u8>) {
    let world = World::new();
    let mut bob = world.user("bob", SiteRights::empty());
    bob.password = quick();
    let secret = totp::fresh_secret().unwrap();
    let factors = Factors {
        totp: Some(Totp { secret: secret.clone(), last_step: 0 }),
        backup_codes: vec![BackupCode { number: 74_045_227, used: false }],
        ..Factors::new(bob.id.clone())
    };
    world.hub.store.put(bob).later();
    world.hub.store.put(factors).later();
    (world, secret)
}

/// The hash of `x`, made once.
fn quick() -> PasswordHash {
    static HASH: std::sync::LazyLock<PasswordHash> =
        std::sync::LazyLock::new(|| password::hash("x"));
    HASH.clone()
}

fn frame(refusal: Refusal) -> Value {
    serde_json::from_str(&refusal.frame()).unwrap()
}

fn id(name: &str) -> UserId {
    UserId::new(DomainId::default(), name).unwrap()
}

/// The code of the step `offset` steps from now.
fn code(world: &World, secret: &[u8], offset: i64) -> String {
    let step = totp::step(world.hub.now().seconds()).saturating_add_signed(offset);
    format!("{:06}", totp::code(secret, step))
}

/// bob's name and password with a token, in a header.
fn header(token: &str) -> String {
    format!("Ym9i,eA==,{}", data_encoding::BASE64.encode(token.as_bytes()))
}

#[test]
fn a_second_factor_is_asked_for_in_the_words_of_meshcentral() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let asked = |label: &str| {
        let mut cases = vectors["cases"].as_array().unwrap().iter();
        cases.find(|case| case["label"] == label).unwrap()["frames"][0].clone()
    };
    let (world, secret) = with_second_factor();
    let try_header = |header: &str| admit(&world, &upgrade(Some(header)));
    let refused = |header: &str| frame(try_header(header).unwrap_err());
    assert_eq!(refused("Ym9i,eA=="), asked("2fa no token"));
    assert_eq!(refused(&header("000000")), asked("2fa bad token"));
    assert_eq!(refused(&header("**email**")), asked("2fa email token"));
    assert_eq!(try_header("Ym9i,eQ=="), Err(Refusal::Header), "a wrong password is just that");
    let good = code(&world, &secret, 0);
    assert_eq!(try_header(&header(&good)).unwrap().user, id("bob"));
    assert_eq!(refused(&header(&good)), asked("2fa bad token"), "replayed");
    assert_eq!(refused(&header(&code(&world, &secret, -3))), asked("2fa token -90s"));
    assert!(try_header(&header("74045227")).is_ok());
    assert_eq!(refused(&header("74045227")), asked("2fa backup code reuse"));
    let query = format!("user=bob&pass=x&token={}", code(&world, &secret, 1));
    assert!(admit(&world, &Upgrade { query: &query, ..upgrade(None) }).is_ok());
    let query = "user=bob&pass=x";
    let refusal = admit(&world, &Upgrade { query, ..upgrade(None) }).unwrap_err();
    assert_eq!(frame(refusal), asked("2fa query no token"));
}

#[test]
fn no_second_factor_is_asked_for_where_it_is_not_wanted() {
    let (world, _) = with_second_factor();
    let plain = || admit(&world, &upgrade(Some("Ym9i,eA=="))).is_ok();
    assert!(!plain());
    world.hub.set_config(config(|c| c.settings.no_second_factor = true));
    assert!(plain());
    world.hub.set_config(config(|c| {
        let domain = c.domains.entry(DomainId::default()).or_default();
        domain.factors.skip = vec!["127.0.0.0/8".parse().unwrap()];
    }));
    assert!(plain());
    let elsewhere =
        Upgrade { remote: "192.0.2.7:1".parse().unwrap(), ..upgrade(Some("Ym9i,eA==")) };
    assert!(matches!(admit(&world, &elsewhere), Err(Refusal::TokenRequired(_))));
}

#[test]
fn failures_are_told_to_those_who_manage_accounts_and_unknown_names_to_nobody() {
    let (world, _) = with_second_factor();
    let mut locked = world.user("locked", SiteRights::LOCKED);
    locked.password = quick();
    world.hub.store.put(locked).later();
    let admin = world.session("admin");
    for header in ["Ym9i,eQ==", &header("000000"), "bG9ja2Vk,eA==", "bm9ib2R5,eA=="] {
        let with = Upgrade { agent: Some("curl/8\u{1b}[0m"), ..upgrade(Some(header)) };
        assert!(admit(&world, &with).is_err());
    }
    let told = crate::control::testing::heard(&admin);
    let told: Vec<_> = told
        .iter()
        .map(|frame| &frame["event"])
        .map(|event| (event["username"].as_str().unwrap(), event["msgid"].as_u64().unwrap()))
        .collect();
    assert_eq!(told, [("bob", 110), ("bob", 108), ("locked", 109)]);
}

#[test]
fn guessing_second_factors_bars_as_guessing_passwords_does() {
    let limit = LoginLimit { time: Duration::from_secs(600), count: 3, cool_off: None };
    let (world, secret) = with_second_factor();
    world.hub.set_config(config(|c| c.settings.max_invalid_2fa = Some(limit)));
    for _ in 0..3 {
        let refusal = admit(&world, &upgrade(Some(&header("000000")))).unwrap_err();
        assert!(matches!(refusal, Refusal::WrongToken(_)));
    }
    let good = header(&code(&world, &secret, 0));
    assert_eq!(admit(&world, &upgrade(Some(&good))), Err(Refusal::Banned));
    // From everywhere else no more than that, either.
    let elsewhere = Upgrade { remote: "192.0.2.7:1".parse().unwrap(), ..upgrade(Some(&good)) };
    assert_eq!(admit(&world, &elsewhere), Err(Refusal::Banned));
    world.hub.set_config(config(|c| c.settings.max_invalid_2fa = None));
    assert!(admit(&world, &elsewhere).is_ok(), "switched off");
}

#[test]
fn a_ban_survives_a_restart_and_an_unset_clock_makes_none_eternal() {
    let world = World::new();
    let attempt = |world: &World, meshauth| admit(world, &upgrade(Some(meshauth)));
    for _ in 0..10 {
        assert_eq!(attempt(&world, "YWRtaW4=,eA=="), Err(Refusal::Header));
    }
    assert_eq!(attempt(&world, ADMIN_AUTH), Err(Refusal::Banned));
    let kept = world.hub.store.bans();
    assert_eq!(kept[0].network, "127.0.0.0/24");
    // What a restart finds: the same store, a fresh door.
    let key = CookieKey::new(&secret()).unwrap();
    let gate = || {
        let browser = world.control.browser.clone();
        Gate::new(world.hub.clone(), Passwords::default(), key.clone(), browser)
    };
    let barred = |gate: &Gate| gate.may_try("127.0.0.9".parse().unwrap()).is_err();
    assert!(barred(&gate()));
    // A ban that was written when the clock was right, read by a board in 1970.
    let ban = |until: Millis| Ban { network: "127.0.0.0/24".into(), until };
    world.hub.store.put(ban(Millis(world.hub.now().0 + 1_000_000_000_000))).later();
    let restarted = gate();
    assert!(barred(&restarted));
    let limiter = restarted.limiter.borrow();
    let later = Instant::now() + Duration::from_secs(601);
    assert!(!limiter.is_barred("127.0.0.9".parse().unwrap(), later));
    world.hub.store.put(ban(Millis(1))).later();
    assert!(!barred(&gate()), "it is over");
    assert!(world.hub.store.bans().is_empty(), "and forgotten");
}

#[test]
fn browsers_are_told_that_the_password_is_old_and_programs_are_let_in() {
    let (world, _) = with_second_factor();
    world.hub.store.remove(crate::store::RecordKey::Factors(id("bob"))).later();
    let remote = "127.0.0.1:1".parse().unwrap();
    let domain = DomainId::default();
    let attempt = Attempt {
        domain: &domain,
        remote,
        agent: None,
        name: "Bob",
        password: "x",
        token: None,
        remembered: None,
        origin: None,
    };
    let expired = |changed: Option<Seconds>| {
        let bob = world.hub.store.user(&id("bob")).unwrap();
        world.hub.store.put(User { password_changed: changed, ..(*bob).clone() }).later();
        assert!(admit(&world, &upgrade(Some("Ym9i,eA=="))).is_ok());
        let signed_in = block_on(world.control.gate.sign_in(&attempt)).unwrap();
        signed_in.with_valid_password() == Err(Refusal::PasswordExpired)
    };
    let day = 86_400;
    let ago = |days: u64| Some(Seconds(world.hub.now().seconds().0 - days * day));
    assert!(expired(None) && !expired(ago(100)));
    world.hub.set_config(config(|c| {
        let domain = c.domains.entry(DomainId::default()).or_default();
        domain.passwords.reset = Some(Duration::from_secs(90 * day));
    }));
    assert!(expired(ago(100)) && !expired(ago(80)));
}
