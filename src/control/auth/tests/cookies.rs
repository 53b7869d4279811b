//! Cookies and login tokens: what they open, for whom, how long.

use super::*;
use crate::model::LinkTarget;

#[test]
fn a_remembered_device_is_believed_for_its_account_until_it_is_ended() {
    let (world, _) = with_second_factor();
    let mut carol = world.user("carol", SiteRights::empty());
    carol.password = quick();
    let factors = Factors {
        user: carol.id.clone(),
        ..(*world.hub.store.factors(&id("bob")).unwrap()).clone()
    };
    world.hub.store.put(carol).later();
    world.hub.store.put(factors).later();
    let key = CookieKey::new(&secret()).unwrap();
    let bob = || world.hub.store.user(&id("bob")).unwrap();
    let rules = crate::config::FactorRules::default();
    let remembered = remember(&key, &rules, &bob(), world.hub.now()).unwrap();
    let by_token = |who: &str, cookie: &str| {
        let [name, token] = [who, &format!("cookie={cookie}")]
            .map(|text| data_encoding::BASE64.encode(text.as_bytes()));
        admit(&world, &upgrade(Some(&format!("{name},eA==,{token}")))).is_ok()
    };
    let by_cookie = |cookie: &str| {
        let cookies =
            format!("a=b; twofactor={}; c=d", cookie.replace('@', "%40").replace('=', "%3D"));
        let with = Upgrade { cookies: Some(&cookies), ..upgrade(Some("Ym9i,eA==")) };
        admit(&world, &with).is_ok()
    };
    assert!(by_token("bob", &remembered) && by_cookie(&remembered));
    assert!(!by_token("carol", &remembered), "somebody else's device");
    let other = cookie(&world, json!({"userid": "user//bob", "domainid": ""}), 0);
    assert!(!by_token("bob", &other), "a login cookie is no device");
    let query = format!("auth={remembered}");
    assert!(admit(&world, &Upgrade { query: &query, ..upgrade(None) }).is_err(), "nor a login");
    assert!(by_token("bob", &cookie(&world, json!({"userid": "user//bob", "expire": 60}), 3000)));
    assert!(!by_token("bob", &cookie(&world, json!({"userid": "user//bob", "expire": 60}), 3700)));
    world
        .hub
        .store
        .put(User { valid_from: Some(Millis(world.hub.now().0 + 1)), ..(*bob()).clone() })
        .later();
    while world.hub.now() <= bob().valid_from.unwrap() {}
    assert!(!by_token("bob", &remembered) && !by_cookie(&remembered), "logged out everywhere");
    let again = remember(&key, &rules, &bob(), world.hub.now()).unwrap();
    assert!(by_token("bob", &again));
}

/// A login token of bob's with password `secret`.
fn token(world: &World, name: &str, expires: Option<Millis>) {
    let token = LoginToken {
        token_user: format!("~t:{name}"),
        user: id("bob"),
        name: name.to_owned(),
        password: password::keep_random("secret"),
        created: Millis(0),
        expires,
    };
    world.hub.store.put(token).later();
}

#[test]
fn a_login_token_opens_the_door_without_a_second_factor_while_it_lives() {
    let (world, _) = with_second_factor();
    let now = world.hub.now().0;
    token(&world, "Good", None);
    token(&world, "soon", Some(Millis(now + 600_000)));
    token(&world, "gone", Some(Millis(now - 1)));
    let with = |name: &str, password: &str| {
        let query = format!("user=~t%3A{name}&pass={password}");
        admit(&world, &Upgrade { query: &query, ..upgrade(None) })
    };
    let login = with("Good", "secret").unwrap();
    assert_eq!((&login.user, login.method), (&id("bob"), Method::LoginToken));
    assert_eq!(login.token.as_deref(), Some("~t:Good"));
    assert!(with("soon", "secret").is_ok());
    for (name, password) in [("Good", "Secret"), ("good", "secret"), ("gone", "secret"), ("", "")] {
        assert_eq!(with(name, password), Err(Refusal::Query), "{name} {password}");
    }
    world
        .hub
        .store
        .put(User {
            site: SiteRights::NO_TOOLS,
            ..(*world.hub.store.user(&id("bob")).unwrap()).clone()
        })
        .later();
    assert_eq!(with("Good", "secret"), Err(Refusal::NoTools));
    world
        .hub
        .store
        .put(User {
            site: SiteRights::LOCKED,
            ..(*world.hub.store.user(&id("bob")).unwrap()).clone()
        })
        .later();
    assert_eq!(with("Good", "secret"), Err(Refusal::Query));
}

#[test]
fn login_tokens_are_for_whom_the_domain_says() {
    let (world, _) = with_second_factor();
    token(&world, "t", None);
    let good = |rules: TokenRules| {
        world.hub.set_config(config(|c| {
            c.settings.max_invalid_login = None;
            c.domains.entry(DomainId::default()).or_default().login_tokens = rules;
        }));
        let query = "user=~t:t&pass=secret";
        admit(&world, &Upgrade { query, ..upgrade(None) }).is_ok()
    };
    let only = |id: &str| TokenRules::Only(vec![id.to_owned()]);
    assert!(good(TokenRules::Everybody));
    assert!(!good(TokenRules::Nobody));
    assert!(good(only("user//bob")) && !good(only("user//admin")));
    let team = UserGroupId::new(DomainId::default(), Key48([5; 48]));
    world.link("bob", LinkTarget::UserGroup(team.clone()), crate::model::Rights::EDIT_GROUP);
    assert!(good(only(&team.to_string())));
}

#[test]
fn an_imported_login_token_works_and_is_cheap_from_then_on() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../tests/vectors/control-password.json"))
            .unwrap();
    let entry = &vectors["pbkdf2"][3];
    let text = |name: &str| entry[name].as_str().unwrap().to_owned();
    let (world, _) = with_second_factor();
    let token_user = text("id").trim_start_matches("logintoken-").to_owned();
    let imported = LoginToken {
        token_user: token_user.clone(),
        user: id("bob"),
        name: "atok".into(),
        password: PasswordHash::Pbkdf2 { salt: text("salt"), hash: text("hash") },
        created: Millis(0),
        expires: None,
    };
    world.hub.store.put(imported).later();
    let parts =
        [&token_user, &text("password")].map(|t| data_encoding::BASE64.encode(t.as_bytes()));
    for _ in 0..2 {
        assert!(admit(&world, &upgrade(Some(&parts.join(",")))).is_ok());
        let kept = world.hub.store.login_token(&token_user).unwrap();
        assert!(matches!(kept.password, PasswordHash::Random(_)));
    }
}

#[test]
fn nothing_of_one_tenant_opens_another() {
    let (world, secret) = with_second_factor();
    let other = DomainId::new("cust2").unwrap();
    world.hub.set_config(config(|c| {
        c.settings.max_invalid_login = None;
        c.domains.entry(other.clone()).or_default();
    }));
    // The same name, another person.
    let theirs = UserId::new(other.clone(), "bob").unwrap();
    world
        .hub
        .store
        .put(User::new(theirs.clone(), "bob", password::hash("theirs"), Millis(0)))
        .later();
    token(&world, "t", None);
    let there = Upgrade { domain: &other, ..upgrade(None) };
    let auth = |fields: Value| format!("auth={}", cookie(&world, fields, 0));
    for query in [
        "user=bob&pass=x".to_owned(),
        format!("user=bob&pass=x&token={}", code(&world, &secret, 0)),
        "user=~t:t&pass=secret".to_owned(),
        "user=user//bob&pass=x".to_owned(),
        auth(json!({"userid": "user//bob", "domainid": ""})),
        auth(json!({"userid": "user//bob", "domainid": "cust2"})),
        auth(json!({"u": "user//bob", "a": 3})),
    ] {
        assert!(admit(&world, &Upgrade { query: &query, ..there }).is_err(), "{query}");
    }
    let query = auth(json!({"userid": "user/cust2/bob", "domainid": "cust2"}));
    assert_eq!(admit(&world, &Upgrade { query: &query, ..there }).unwrap().user, theirs);
    assert!(admit(&world, &Upgrade { query: &query, ..upgrade(None) }).is_err(), "nor back");
    let query = "user=bob&pass=theirs";
    assert!(admit(&world, &Upgrade { query, ..there }).is_ok());
    assert!(admit(&world, &Upgrade { query, ..upgrade(None) }).is_err());
}

#[test]
fn cookies_made_before_everything_was_ended_are_void_to_the_millisecond() {
    let world = World::new();
    let now = world.hub.now();
    let ended = Millis(now.0 - now.0 % 1000 - 5_500);
    let admin = world.hub.store.user(&id("admin")).unwrap();
    world.hub.store.put(User { valid_from: Some(ended), ..(*admin).clone() }).later();
    let second = now.seconds().0 - ended.seconds().0;
    for (age, ms, good) in [
        (second + 1, None, false),
        (second, None, true),
        (second, Some(499), false),
        (second, Some(500), true),
        (second - 1, None, true),
    ] {
        let mut fields = json!({"userid": "user//admin", "domainid": ""});
        if let Some(ms) = ms {
            fields["ms"] = ms.into();
        }
        let query = format!("auth={}", cookie(&world, fields, age));
        let outcome = admit(&world, &Upgrade { query: &query, ..upgrade(None) });
        assert_eq!(outcome.is_ok(), good, "{age} {ms:?}");
    }
}

#[test]
fn an_end_dated_by_a_clock_gone_wrong_is_put_right_by_the_password() {
    let world = World::new();
    let far = Millis(world.hub.now().0 + 1_000_000_000_000);
    let admin = world.hub.store.user(&id("admin")).unwrap();
    world.hub.store.put(User { valid_from: Some(far), ..(*admin).clone() }).later();
    let query = format!("auth={}", cookie(&world, json!({"u": "user//admin", "a": 3}), 0));
    let by_cookie = || admit(&world, &Upgrade { query: &query, ..upgrade(None) });
    assert!(by_cookie().is_err());
    assert!(admit(&world, &upgrade(Some(ADMIN_AUTH))).is_ok());
    let from = world.hub.store.user(&id("admin")).unwrap().valid_from.unwrap();
    assert!(from <= world.hub.now());
}

#[test]
fn cookies_are_bound_to_their_address_as_the_configuration_says() {
    let world = World::new();
    let made_for = |ip: &str| cookie(&world, json!({"u": "user//admin", "a": 3, "ip": ip}), 0);
    for (check, same, near, far) in [
        (CookieIp::None, true, true, true),
        (CookieIp::Lax, true, true, false),
        (CookieIp::Strict, true, false, false),
    ] {
        world.hub.set_config(config(|c| {
            c.settings.cookie_ip = check;
            c.settings.max_invalid_login = None;
        }));
        for (ip, good) in [("127.0.0.1", same), ("127.0.0.2", near), ("8.8.8.8", far)] {
            let query = format!("auth={}", made_for(ip));
            let outcome = admit(&world, &Upgrade { query: &query, ..upgrade(None) });
            assert_eq!(outcome.is_ok(), good, "{check:?} {ip}");
        }
    }
}
