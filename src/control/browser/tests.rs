//! How cookies look, and what ends the session they stand for.

use super::*;
use crate::config::Domain;
use crate::control::auth::{Refusal, Upgrade};
use crate::control::session::Session;
use crate::control::testing::{World, ask, heard, upgrade};
use crate::model::{LoginToken, Millis, PasswordHash, UserId};
use crate::store::RecordKey;
use serde_json::json;

const ORIGIN: &str = "https://127.0.0.1:15443";

fn admin(world: &World) -> User {
    let id = UserId::new(world.domain(), "admin").unwrap();
    (*world.hub.store.user(&id).unwrap()).clone()
}

/// Opens a session and returns its `Cookie` header.
fn open(world: &World, user: &User, token: Option<&Rc<str>>) -> (Rc<str>, String) {
    let remote = "127.0.0.1".parse().unwrap();
    let opening = Opening { user, token, remote, agent: None, since: Millis(0) };
    let opened = world.control.browser.open(&opening).unwrap();
    let site = CookieSite::of(&world.hub.config(), &user.id.domain);
    (opened.id, format!("a=b; {}={}; c=d", site.session_name(), opened.cookie))
}

/// Lets the session have been opened a millisecond ago.
fn backdate(session: &Session) {
    let since = &session.link().since;
    since.set(Millis(since.get().0 - 1));
}

fn page(cookies: &str) -> Upgrade<'_> {
    Upgrade { origin: Some(ORIGIN), cookies: Some(cookies), ..upgrade(None) }
}

#[test]
fn cookies_are_for_this_tenant_and_no_script() {
    let id = |text: &str| DomainId::new(text).unwrap();
    let mut config = Config::default();
    config.domains.insert(id("cust2"), Domain::default());
    let dns = Some("three.example".to_owned());
    config.domains.insert(id("cust3"), Domain { dns, ..Domain::default() });
    config.domains.insert(id("a;b"), Domain::default());
    let session = |config: &Config, domain: &str| CookieSite::of(config, &id(domain)).session("v");
    for (domain, cookie) in [
        ("", "__Host-session=v; Path=/; Secure; HttpOnly; SameSite=Strict"),
        ("cust2", "__Secure-session=v; Path=/cust2/; Secure; HttpOnly; SameSite=Strict"),
        ("cust3", "__Host-session=v; Path=/; Secure; HttpOnly; SameSite=Strict"),
        ("a;b", "__Secure-session=v; Path=/a%3Bb/; Secure; HttpOnly; SameSite=Strict"),
    ] {
        assert_eq!(session(&config, domain), cookie);
    }
    let site = CookieSite::of(&config, &id(""));
    assert_eq!(
        site.no_session(),
        "__Host-session=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"
    );
    config.settings.browser.same_site = SameSite::None;
    config.settings.browser.session_time = Some(Duration::from_secs(60));
    assert_eq!(
        session(&config, ""),
        "__Host-session=v; Path=/; Secure; HttpOnly; SameSite=None; Max-Age=2592000"
    );
    assert_eq!(
        CookieSite::of(&config, &id("")).remembered("a@b=", 2),
        "twofactor=a%40b%3D; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=172800",
        "other sites never need it"
    );
}

#[test]
fn a_cookie_opens_the_control_channel_for_our_own_pages_only() {
    let mut config = Config::default();
    let domain = config.domains.get_mut(&DomainId::default()).unwrap();
    domain.allowed_origins = vec!["https://panel.example".into()];
    let world = World::with(config.clone());
    let (_, cookies) = open(&world, &admin(&world), None);
    let entered = |world: &World, origin: Option<&str>| {
        world.enter(&Upgrade { origin, ..page(&cookies) }).err()
    };
    for (origin, refusal) in [
        (Some(ORIGIN), None),
        (Some("https://panel.example"), None),
        (None, Some(Refusal::NoAuth)),
        (Some("https://evil.example"), Some(Refusal::InvalidOrigin)),
        (Some("https://127.0.0.1"), Some(Refusal::InvalidOrigin)),
        (Some("http://127.0.0.1:15443"), Some(Refusal::InvalidOrigin)),
        (Some("null"), Some(Refusal::InvalidOrigin)),
    ] {
        assert_eq!(entered(&world, origin), refusal, "{origin:?}");
    }
    let domain = config.domains.get_mut(&DomainId::default()).unwrap();
    domain.allowed_origins.push("*".into());
    world.hub.set_config(config);
    let anybody = entered(&world, Some("https://evil.example"));
    assert_eq!(anybody, Some(Refusal::NoAuth), "any page may connect, none with our cookie");
}

#[test]
fn what_is_only_read_may_be_asked_for_by_a_link() {
    let world = World::new();
    let (_, cookies) = open(&world, &admin(&world), None);
    let read = |asked: &Upgrade<'_>| {
        futures_lite::future::block_on(world.control.gate.admit_reader(asked)).err()
    };
    let link = Upgrade { cookies: Some(&cookies), ..upgrade(None) };
    assert_eq!(read(&link), None);
    assert_eq!(read(&page(&cookies)), None, "by a script of ours");
    let foreign = Upgrade { origin: Some("https://evil.example"), ..link };
    assert_eq!(read(&foreign), Some(Refusal::InvalidOrigin));
    let stranger = Upgrade { cookies: None, ..link };
    assert_eq!(read(&stranger), Some(Refusal::NoAuth));
    let mut config = Config::default();
    let domain = config.domains.get_mut(&DomainId::default()).unwrap();
    domain.login_keys = vec!["sesame".into()];
    world.hub.set_config(config);
    assert_eq!(read(&link), Some(Refusal::NoKey));
    assert_eq!(read(&Upgrade { query: "key=sesame", ..link }), None);
}

#[test]
fn a_session_of_another_tenant_fails() {
    let mut config = Config::default();
    let other = DomainId::new("cust2").unwrap();
    config.domains.insert(other.clone(), Domain::default());
    let world = World::with(config);
    let admin = admin(&world);
    let namesake = UserId::new(other.clone(), "admin").unwrap();
    let namesake = User::new(namesake, "admin", PasswordHash::None, Millis(0));
    world.hub.store.put(namesake.clone()).later();
    let (_, own) = open(&world, &admin, None);
    let (_, foreign) = open(&world, &namesake, None);
    let browser = &world.control.browser;
    let value = |header: &str| header.split(['=', ';']).nth(3).unwrap().to_owned();
    for (cookies, domain, good) in [
        (own.clone(), &world.domain(), true),
        (foreign.clone(), &other, true),
        (own.clone(), &other, false),
        (foreign.clone(), &world.domain(), false),
        (format!("__Secure-session={}", value(&own)), &other, false),
        (format!("__Host-session={}", value(&foreign)), &world.domain(), false),
    ] {
        assert_eq!(browser.enter(domain, Some(&cookies)).is_some(), good, "{cookies}");
    }
}

#[test]
fn a_session_ends_with_what_it_stands_on() {
    type Change = fn(&World, &User);
    let changes: [(&str, Change); 5] = [
        ("the account is removed", |world, user| {
            world.hub.store.remove(RecordKey::User(user.id.clone())).later();
        }),
        ("the account is locked", |world, user| {
            let site = SiteRights::LOCKED;
            world.hub.store.put(User { site, ..user.clone() }).later();
        }),
        ("the account ended everything", |world, user| {
            let valid_from = Some(world.hub.now());
            world.hub.store.put(User { valid_from, ..user.clone() }).later();
        }),
        ("the login token is removed", |world, _| {
            world.hub.store.remove(RecordKey::LoginToken("~t:x".into())).later();
        }),
        ("the login token has run out", |world, user| {
            world.hub.store.put(token(user, Some(Millis(1)))).later();
        }),
    ];
    fn token(user: &User, expires: Option<Millis>) -> LoginToken {
        LoginToken {
            token_user: "~t:x".into(),
            user: user.id.clone(),
            name: "x".into(),
            password: PasswordHash::None,
            created: Millis(0),
            expires,
        }
    }
    for (what, change) in changes {
        let world = World::new();
        let user = world.user("bob", SiteRights::empty());
        world.hub.store.put(token(&user, None)).later();
        let (_, cookies) = open(&world, &user, Some(&"~t:x".into()));
        let session = world.enter(&page(&cookies)).unwrap();
        backdate(&session);
        assert!(!session.look().end, "{what}: not yet");
        change(&world, &user);
        assert_eq!(world.enter(&page(&cookies)).err(), Some(Refusal::NoAuth), "{what}");
        let over = session.look();
        assert!(over.end && over.texts[0].contains("expired-1"), "{what}: {over:?}");
    }
}

#[test]
fn the_session_that_ends_all_others_goes_on_after_a_reload() {
    let world = World::new();
    let user = admin(&world);
    let (own, other) = (open(&world, &user, None).1, open(&world, &user, None).1);
    let (here, there) = (world.enter(&page(&own)).unwrap(), world.enter(&page(&other)).unwrap());
    [&here, &there].into_iter().for_each(backdate);
    ask(&here, &json!({"action": "logoutall"}));
    heard(&here);
    assert!(!here.look().end);
    assert!(there.look().end);
    assert!(world.enter(&page(&own)).is_ok());
    assert!(world.enter(&page(&other)).is_err());
}

#[test]
fn a_session_that_is_ended_takes_its_websockets_along_and_no_others() {
    let world = World::new();
    let user = admin(&world);
    let ((id, own), (_, other)) = (open(&world, &user, None), open(&world, &user, None));
    let gone = world.enter(&page(&own)).unwrap();
    let stays = world.enter(&page(&other)).unwrap();
    let by_password = world.session("admin");
    heard(&gone);
    assert!(world.control.browser.end(&id).is_some());
    assert!(world.control.browser.end(&id).is_none());
    let last = heard(&gone);
    assert_eq!(last.last().unwrap()["cause"], "expired");
    for session in [stays, by_password] {
        heard(&session);
        assert!(!session.look().end);
    }
}

thread_local! {
    /// How far the clock of these tests is ahead.
    static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Lets minutes pass for the sessions of `world`.
fn pass(world: &World, minutes: u64) {
    world.control.browser.clock.set(|| Instant::now() + AHEAD.get());
    AHEAD.set(AHEAD.get() + Duration::from_secs(60 * minutes));
}

fn with_idle_timeout(minutes: Option<u64>) -> (World, String) {
    AHEAD.set(Duration::ZERO);
    let mut config = Config::default();
    let domain = config.domains.get_mut(&DomainId::default()).unwrap();
    domain.idle_timeout = minutes.map(|minutes| Duration::from_secs(60 * minutes));
    config.settings.browser.session_time = Some(Duration::from_secs(60 * 60));
    let world = World::with(config);
    let cookies = open(&world, &admin(&world), None).1;
    (world, cookies)
}

#[test]
fn somebody_who_does_nothing_is_logged_out_and_the_page_is_told() {
    let (world, cookies) = with_idle_timeout(Some(10));
    let page = world.enter(&page(&cookies)).unwrap();
    let greeting = page.greeting().texts.remove(0);
    assert!(greeting.contains(r#""timeout":600000"#), "{greeting}");
    for _ in 0..3 {
        pass(&world, 9);
        assert!(!page.look().end);
        ask(&page, &json!({"action": "meshes"}));
    }
    for _ in 0..3 {
        pass(&world, 3);
        assert!(!page.look().end);
        for action in ["ping", "pong", "authcookie"] {
            ask(&page, &json!({"action": action}));
        }
    }
    pass(&world, 1);
    let over = page.look();
    assert!(over.end && over.texts[0].contains("expired-1"), "{over:?}");
    let late = futures_lite::future::block_on(page.request(br#"{"action":"meshes"}"#));
    assert!(late.end && !late.texts[0].contains("meshes"), "{late:?}");
    assert!(world.enter(&self::page(&cookies)).is_err());
}

#[test]
fn without_that_limit_an_open_page_keeps_its_session() {
    let (world, cookies) = with_idle_timeout(None);
    let open = world.enter(&page(&cookies)).unwrap();
    for _ in 0..4 {
        pass(&world, 45);
        assert!(!open.look().end);
    }
    drop(open);
    pass(&world, 59);
    drop(world.enter(&page(&cookies)).unwrap());
    pass(&world, 60);
    assert!(world.enter(&page(&cookies)).is_err(), "nobody had a page open");
}
