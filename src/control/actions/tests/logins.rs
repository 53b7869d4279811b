//! How accounts are logged in to: passwords, second factors, login tokens, and what ends with them.

use super::*;
use crate::config::Config;
use crate::control::auth::{Login as LoggedIn, Upgrade};
use crate::control::testing::{ADMIN_AUTH, texts, upgrade};
use crate::identity::password;
use crate::identity::totp;
use crate::model::access::{BackupCode, SecurityKey};
use crate::model::{DomainId, Factors, PasswordHash, User, UserId};
use futures_lite::future::block_on;

fn id(name: &str) -> UserId {
    UserId::new(DomainId::default(), name).unwrap()
}

fn user(world: &World, name: &str) -> Rc<User> {
    world.hub.store.user(&id(name)).unwrap()
}

fn config(change: impl FnOnce(&mut crate::config::Domain)) -> Config {
    let mut config = Config::default();
    change(config.domains.entry(DomainId::default()).or_default());
    config
}

fn admit(world: &World, header: &str) -> Option<LoggedIn> {
    block_on(world.control.gate.admit(&upgrade(Some(header)))).ok()
}

/// `x-meshauth` of a name and a password.
fn header(name: &str, password: &str) -> String {
    [name, password].map(|text| data_encoding::BASE64.encode(text.as_bytes())).join(",")
}

/// A session by `?auth=`.
fn by_cookie(world: &World, cookie: &str) -> Option<Session> {
    let query = format!("auth={cookie}");
    let upgrade = Upgrade { query: &query, ..upgrade(None) };
    let login = block_on(world.control.gate.admit(&upgrade)).ok()?;
    Some(Session::open(&world.control, login).unwrap())
}

fn is_over(session: &Session) -> bool {
    block_on(session.request(br#"{"action":"ping"}"#)).end
}

fn cookie(session: &Session) -> String {
    let answer = ask(session, &json!({"action": "authcookie"})).remove(0);
    answer["cookie"].as_str().unwrap().to_owned()
}

/// The number of the notice that was the answer.
fn notice(answers: &[Value]) -> u64 {
    let [answer] = answers else { panic!("one answer: {answers:?}") };
    assert_eq!((&answer["action"], &answer["type"]), (&json!("msg"), &json!("notify")));
    answer["msgid"].as_u64().unwrap()
}

/// The numbers of the events about accounts.
fn told(session: &Session) -> Vec<u64> {
    events(session).iter().filter_map(|event| event["msgid"].as_u64()).collect()
}

#[test]
fn a_change_of_password_ends_every_other_way_in() {
    let (world, _) = lab();
    let (one, two) = (world.session("admin"), world.session("admin"));
    let before = cookie(&two);
    let change = |old: &str, new: &str| {
        ask(&one, &json!({"action": "changepassword", "oldpass": old, "newpass": new}))
    };
    let captured =
        ask(&one, &json!({"action": "changepassword", "oldpass": "nope", "newpass": "y"}));
    assert_eq!(
        (&captured[0]["value"], &captured[0]["titleid"], &captured[0]["tag"]),
        (&json!("Current password not correct."), &json!(4), &json!("ServerNotify"))
    );
    assert_eq!(notice(&change("nope", "y")), 21);
    assert_eq!(notice(&change("Adm1n!pass", "Adm1n!pass")), 17);
    assert!(change("Adm1n!pass", "").is_empty());
    heard(&one);
    assert_eq!(notice(&change("Adm1n!pass", "N3w!passw")), 20);
    assert_eq!(told(&one), [74]);
    assert!(!is_over(&one), "the one who asked goes on");
    assert!(is_over(&two));
    assert_eq!(
        heard(&two).pop(),
        Some(json!({"action": "stopped", "msg": "Administrator forced disconnection"}))
    );
    assert!(by_cookie(&world, &before).is_none());
    assert!(by_cookie(&world, &cookie(&one)).is_some(), "made after");
    assert!(admit(&world, ADMIN_AUTH).is_none());
    assert!(admit(&world, &header("admin", "N3w!passw")).is_some());
}

#[test]
fn a_new_password_keeps_the_rules() {
    let (world, _) = lab();
    world.hub.set_config(config(|domain| {
        domain.passwords.min = 4;
        domain.passwords.old_ban = 1;
        domain.passwords.ban_common = true;
        domain.passwords.hint = true;
    }));
    let session = world.session("admin");
    let change = |old: &str, new: &str| {
        let request =
            json!({"action": "changepassword", "oldpass": old, "newpass": new, "hint": "h"});
        notice(&ask(&session, &request))
    };
    assert_eq!(change("Adm1n!pass", "xyz"), 19);
    assert_eq!(change("Adm1n!pass", "password1"), 18);
    assert_eq!(change("Adm1n!pass", "first!"), 20);
    assert_eq!(change("first!", "Adm1n!pass"), 17, "the one before");
    assert_eq!(change("first!", "second!"), 20);
    assert_eq!(change("second!", "Adm1n!pass"), 20, "forgotten by now");
    let factors = world.hub.store.factors(&id("admin")).unwrap();
    assert_eq!(factors.past_passwords.len(), 1);
    assert_eq!(factors.password_hint.as_deref(), Some("h"));
}

#[test]
fn a_session_is_no_place_to_guess_the_old_password() {
    let (world, _) = lab();
    let session = world.session("admin");
    let guess = |old: &str| {
        notice(&ask(&session, &json!({"action": "changepassword", "oldpass": old, "newpass": "y"})))
    };
    for n in 0..10 {
        assert_eq!(guess("nope"), 21, "{n}");
    }
    assert_eq!(guess("Adm1n!pass"), 19);
}

#[test]
fn an_administrator_sets_the_credentials_of_others() {
    let (world, _) = lab();
    let factors = Factors {
        backup_codes: vec![BackupCode { number: 1, used: false }],
        ..Factors::new(id("carol"))
    };
    world.hub.store.put(factors).later();
    world.user("manager", SiteRights::MANAGE_USERS);
    let (manager, carol) = (world.session("manager"), world.session("carol"));
    heard(&manager);
    let set = |name: &str, pass: &str, remove: Value| {
        let request = json!({"action": "changeuserpass", "userid": format!("user//{name}"),
            "pass": pass, "removeMultiFactor": remove, "resetNextLogin": true});
        assert!(ask(&manager, &request).is_empty(), "never answered");
        told(&manager)
    };
    assert!(set("carol", "N3w!passw", Value::Null).is_empty(), "must say what becomes of factors");
    assert!(set("admin", "N3w!passw", json!(false)).is_empty(), "above the manager");
    assert_eq!(set("carol", "", json!(false)), [75]);
    assert!(!is_over(&carol), "nothing was taken from her");
    assert_eq!(user(&world, "carol").password_changed, None);
    assert_eq!(set("carol", "N3w!passw", json!(false)), [75]);
    assert!(is_over(&carol));
    assert_eq!(
        password::verify(&user(&world, "carol").password, "N3w!passw"),
        password::Verdict::Right
    );
    let again = world.session("carol");
    assert_eq!(set("carol", "", json!(true)), [75]);
    assert!(is_over(&again), "a factor was taken away");
    assert!(world.hub.store.factors(&id("carol")).unwrap().backup_codes.is_empty());
    let realms = |name: &str, realms: &[&str]| {
        let realms = realms.iter().map(|realm| (*realm).to_owned()).collect();
        world.hub.store.put(User { realms, ..User::clone(&user(&world, name)) }).later();
    };
    realms("manager", &["north"]);
    assert!(set("carol", "other", json!(false)).is_empty(), "not in the manager's realm");
    realms("carol", &["south", "north"]);
    assert_eq!(set("carol", "other", json!(false)), [75]);
}

#[test]
fn logging_out_everywhere_leaves_the_one_who_asked() {
    let (world, _) = lab();
    let (one, two, bob) = (world.session("admin"), world.session("admin"), world.session("bob"));
    let before = cookie(&one);
    let answer = ask(&one, &json!({"action": "logoutall", "responseid": "R"}));
    assert_eq!(answer, [json!({"action": "logoutall", "responseid": "R", "result": "ok"})]);
    assert!(!is_over(&one) && is_over(&two) && !is_over(&bob));
    assert!(by_cookie(&world, &before).is_none());
    assert!(!is_over(&world.session("admin")), "a new login is good");
}

#[test]
fn a_lock_ends_sessions_at_once() {
    let (world, _) = lab();
    let (admin, bob) = (world.session("admin"), world.session("bob"));
    ask(&admin, &json!({"action": "edituser", "userid": "user//bob", "siteadmin": 32}));
    let last = heard(&bob).pop();
    assert_eq!(
        last,
        Some(json!({"action": "stopped", "msg": "Administrator forced disconnection"}))
    );
    assert!(is_over(&bob));
}

#[test]
fn an_app_is_set_up_used_and_removed() {
    let (world, _) = lab();
    let (bob, admin) = (world.session("bob"), world.session("admin"));
    heard(&admin);
    let request = ask(&bob, &json!({"action": "otpauth-request"})).remove(0);
    let secret = request["secret"].as_str().unwrap();
    assert_eq!(
        request["url"],
        format!(
            "otpauth://totp/127.0.0.1:bob?secret={secret}&period=30&digits=6&algorithm=SHA1\
             &issuer=127.0.0.1"
        )
    );
    let set_up = |token: &str| {
        ask(&bob, &json!({"action": "otpauth-setup", "secret": secret, "token": token}))
    };
    assert_eq!(set_up("000000"), [json!({"action": "otpauth-setup", "success": false})]);
    assert!(told(&admin).is_empty());
    let key = totp::parse_secret(secret).unwrap();
    let now = totp::step(world.hub.now().seconds());
    let good = format!("{:06}", totp::code(&key, now));
    assert_eq!(set_up(&good), [json!({"action": "otpauth-setup", "success": true})]);
    let event = events(&admin).remove(0);
    assert_eq!(
        (&event["msgid"], &event["msg"]),
        (&json!(90), &json!("Added authentication application"))
    );
    assert_eq!((&event["account"]["otpsecret"], &event["etype"]), (&json!(1), &json!("user")));
    assert!(!event.to_string().contains(secret));
    assert_eq!(world.hub.account_document(&user(&world, "bob"))["otpsecret"], 1);

    let other = world.session("bob");
    let clear = || ask(&bob, &json!({"action": "otpauth-clear"}));
    assert_eq!(clear(), [json!({"action": "otpauth-clear", "success": true})]);
    assert_eq!(told(&admin), [91]);
    assert!(is_over(&other) && !is_over(&bob), "who lost a factor is logged out elsewhere");
    assert_eq!(clear(), [json!({"action": "otpauth-clear", "success": false})]);
}

/// Gives `name` a security key, so that a second factor is needed.
fn with_key(world: &World, name: &str) {
    let key = SecurityKey {
        index: 7,
        name: "blue".into(),
        credential: vec![1],
        public_key: vec![2],
        counter: 0,
    };
    let factors = Factors { security_keys: vec![key], ..Factors::new(id(name)) };
    world.hub.store.put(factors).later();
}

#[test]
fn backup_codes_are_made_shown_and_cleared_beside_another_factor() {
    let (world, _) = lab();
    let (bob, admin) = (world.session("bob"), world.session("admin"));
    heard(&admin);
    let codes = |sub: u32| ask(&bob, &json!({"action": "otpauth-getpasswords", "subaction": sub}));
    assert!(codes(1).is_empty(), "alone they are nothing");
    with_key(&world, "bob");
    assert_eq!(codes(0), [json!({"action": "otpauth-getpasswords", "passwords": null})]);
    let made = codes(1).remove(0);
    assert_eq!(made["passwords"].as_array().unwrap().len(), 10);
    assert!(made["passwords"][0]["p"].is_u64() && made["passwords"][0]["u"] == true);
    assert_eq!(codes(0), [made]);
    assert_eq!(world.hub.account_document(&user(&world, "bob"))["otpkeys"], 1);
    assert_eq!(codes(2).remove(0)["passwords"], Value::Null);
    assert_eq!(told(&admin), [92, 93]);
    world.hub.set_config(config(|domain| domain.factors.backup_codes = false));
    assert!(codes(1).is_empty());
}

#[test]
fn security_keys_are_listed_and_removed() {
    let (world, _) = lab();
    with_key(&world, "bob");
    let (bob, admin) = (world.session("bob"), world.session("admin"));
    heard(&admin);
    let list = || ask(&bob, &json!({"action": "otp-hkey-get"})).remove(0)["keys"].clone();
    assert_eq!(list(), json!([{"i": 7, "name": "blue", "type": 3}]));
    assert!(ask(&bob, &json!({"action": "otp-hkey-remove", "index": 8})).is_empty());
    assert!(told(&admin).is_empty());
    assert!(ask(&bob, &json!({"action": "otp-hkey-remove", "index": 7})).is_empty());
    assert_eq!(told(&admin), [94]);
    assert_eq!(list(), json!([]));
}

#[test]
fn factors_that_are_locked_do_not_change() {
    let (world, _) = lab();
    with_key(&world, "bob");
    let bob = world.session("bob");
    let request = |action: &str| ask(&bob, &json!({"action": action, "index": 7, "subaction": 1}));
    let err = |number: u32| vec![json!({"action": "otpauth-request", "err": number})];
    let silent = ["otpauth-setup", "otpauth-clear", "otp-hkey-remove", "otpauth-getpasswords"];
    let before = world.hub.store.factors(&id("bob"));
    world.hub.set_config(config(|domain| domain.factors.locked = true));
    assert_eq!(request("otpauth-request"), err(1));
    for action in silent.into_iter().chain(["otp-hkey-get"]) {
        assert!(request(action).is_empty(), "{action}");
    }
    world.hub.set_config(config(|domain| domain.factors.app = false));
    assert_eq!(request("otpauth-request"), err(4));
    world.hub.set_config(Config::default());
    world
        .hub
        .store
        .put(User { site: SiteRights::LOCK_SETTINGS, ..User::clone(&user(&world, "bob")) })
        .later();
    assert_eq!(request("otpauth-request"), err(5));
    for action in ["otpauth-setup", "otpauth-clear", "otp-hkey-remove"] {
        assert!(request(action).is_empty(), "{action}");
    }
    assert_eq!(request("otpauth-getpasswords")[0]["passwords"], Value::Null, "shown, not made");
    assert_eq!(world.hub.store.factors(&id("bob")), before);
}

#[test]
fn what_needs_somebody_to_send_a_code_answers_that_nobody_does() {
    let (world, _) = lab();
    let bob = world.session("bob");
    let mut user = User::clone(&user(&world, "bob"));
    user.phone = Some("123".into());
    world.hub.store.put(user).later();
    for (request, answer) in [
        (
            json!({"action": "otpemail", "enabled": true}),
            Some(json!({"action": "otpemail", "success": false, "enabled": false})),
        ),
        (json!({"action": "otpemail", "enabled": false}), None),
        (
            json!({"action": "otp-hkey-yubikey-add", "name": "k", "otp": "c"}),
            Some(json!({"action": "otp-hkey-yubikey-add", "result": false, "name": "k"})),
        ),
        (json!({"action": "otpduo", "enabled": false}), None),
        (json!({"action": "otpdev-clear"}), None),
        (json!({"action": "verifyPhone", "phone": "1"}), None),
        (json!({"action": "confirmPhone", "code": "1", "cookie": "x"}), None),
        (json!({"action": "removePhone"}), None),
    ] {
        assert_eq!(ask(&bob, &request).pop(), answer, "{request}");
    }
    assert_eq!(self::user(&world, "bob").phone, None);
}

#[test]
fn a_device_is_remembered_as_long_as_the_domain_says() {
    let (world, _) = lab();
    let bob = world.session("bob");
    let answer = ask(&bob, &json!({"action": "twoFactorCookie"})).remove(0);
    assert!(answer["cookie"].is_string());
    assert!(by_cookie(&world, answer["cookie"].as_str().unwrap()).is_none(), "it is no login");
    world.hub.set_config(config(|domain| domain.factors.remember_days = 0));
    assert!(ask(&bob, &json!({"action": "twoFactorCookie"})).is_empty());
}

fn create(session: &Session, name: &str, expire: Value) -> Value {
    let request =
        json!({"action": "createLoginToken", "name": name, "expire": expire, "responseid": "e"});
    ask(session, &request).pop().unwrap()
}

#[test]
fn login_tokens_are_made_listed_and_taken_back() {
    let (world, _) = lab();
    let session = world.session("admin");
    let error = |name: &str, expire: Value| create(&session, name, expire)["result"].clone();
    assert_eq!(error("", json!(0)), "Invalid name");
    assert_eq!(error(&"x".repeat(101), json!(0)), "Invalid name");
    for expire in [Value::Null, json!(-1), json!("1"), json!(1e300)] {
        assert_eq!(error("x", expire), "Invalid expire value");
    }
    let made = create(&session, "tok1", json!(60));
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    assert_eq!((text("name").as_str(), made.get("responseid")), ("tok1", None));
    assert_eq!((text("tokenUser").len(), text("tokenPass").len()), (19, 20));
    assert!(!text("tokenUser").contains(['+', '/']) && !text("tokenPass").contains(['+', '/']));
    let life = made["expire"].as_u64().unwrap() - made["created"].as_u64().unwrap();
    assert_eq!(life, 3_600_000);
    let event = events(&session).pop().unwrap();
    assert_eq!((&event["action"], &event["msgid"]), (&json!("loginTokenAdded"), &json!(115)));
    assert!(event["newToken"].get("tokenPass").is_none());
    assert_eq!(create(&session, "tok2", json!(0))["expire"], 0);

    let login = admit(&world, &header(&text("tokenUser"), &text("tokenPass"))).unwrap();
    let by_token = Session::open(&world.control, login).unwrap();
    heard(&session);
    let list = |remove: Value| {
        let answer = ask(&session, &json!({"action": "loginTokens", "remove": remove})).remove(0);
        let names = answer["loginTokens"].as_array().unwrap().clone();
        let names = names.iter().map(|token| token["name"].as_str().unwrap().to_owned());
        // Two of one millisecond come in any order.
        names.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(list(Value::Null), ["tok1", "tok2"]);
    assert!(!is_over(&by_token));
    assert_eq!(list(json!([text("tokenUser")])), ["tok2"]);
    let event = events(&session).pop().unwrap();
    assert_eq!(event["action"], "loginTokenChanged");
    assert_eq!(event["removed"], json!([text("tokenUser")]));
    assert!(is_over(&by_token), "its token is gone");
    assert!(admit(&world, &header(&text("tokenUser"), &text("tokenPass"))).is_none());
    let bob = world.session("bob");
    let second = list(Value::Null);
    ask(&bob, &json!({"action": "loginTokens", "remove": [text("tokenUser")]}));
    assert_eq!(list(Value::Null), second, "nobody else's");
    world.hub.set_config(config(|domain| domain.login_tokens = crate::config::TokenRules::Nobody));
    assert_eq!(error("x", json!(0)), "Not supported");
}

/// What a session that came by a login token may not do, here or in other rooms' entries.
const NOT_BY_TOKEN: [&str; 26] = [
    "changepassword",
    "changeuserpass",
    "logoutall",
    "createLoginToken",
    "loginTokens",
    "twoFactorCookie",
    "otpauth-request",
    "otpauth-setup",
    "otpauth-clear",
    "otpauth-getpasswords",
    "otp-hkey-get",
    "otp-hkey-remove",
    "otp-hkey-yubikey-add",
    "otpemail",
    "otpduo",
    "otpdev-set",
    "otpdev-clear",
    "webauthn-startregister",
    "webauthn-endregister",
    "serverconsole",
    "serverupdate",
    "serverversion",
    "serverBackup",
    "changeemail",
    "changelang",
    "updateUserImage",
];

#[test]
fn a_login_token_changes_nothing_about_logging_in_whichever_way_it_came() {
    for name in NOT_BY_TOKEN {
        assert!(find(name).is_none_or(|action| !action.by_token), "{name}");
    }
    let (world, _) = lab();
    let made = create(&world.session("admin"), "t", json!(0));
    let text = |name: &str| made[name].as_str().unwrap();
    let login = admit(&world, &header(text("tokenUser"), text("tokenPass"))).unwrap();
    let direct = Session::open(&world.control, login).unwrap();
    let greeting = texts(direct.greeting()).remove(0);
    let features = greeting["serverinfo"]["features2"].as_u64().unwrap();
    assert_eq!(features & 0x180, 0x180);
    let indirect = by_cookie(&world, &cookie(&direct)).unwrap();
    let again = by_cookie(&world, &cookie(&indirect)).unwrap();
    let before = (user(&world, "admin"), world.hub.store.factors(&id("admin")));
    for session in [&direct, &indirect, &again] {
        assert_eq!(create(session, "x", json!(0))["result"], "Access denied");
        let request = ask(session, &json!({"action": "otpauth-request"}));
        assert_eq!(request, [json!({"action": "otpauth-request", "err": 3})]);
        for action in ACTIONS.iter().filter(|action| !action.by_token) {
            for case in super::cases::cases(action.name) {
                let mut request = case.request;
                request["responseid"] = Value::Null;
                let answers = ask(session, &request);
                let silent = answers.is_empty() || action.name == "otpauth-request";
                assert!(silent, "{}: {answers:?}", action.name);
            }
        }
        assert_eq!(ask(session, &json!({"action": "meshes"})).len(), 1, "the rest it may");
    }
    assert_eq!((user(&world, "admin"), world.hub.store.factors(&id("admin"))), before);
    assert_eq!(world.hub.store.login_tokens(&id("admin")).len(), 1);
    // Whoever made it takes it back, and all that came of it ends.
    let remove = json!({"action": "loginTokens", "remove": [text("tokenUser")]});
    ask(&world.session("admin"), &remove);
    assert!([&direct, &indirect, &again].into_iter().all(is_over));
}

#[test]
fn a_password_that_cannot_be_hashed_changes_nothing() {
    let (world, _) = lab();
    world
        .hub
        .store
        .put(User { password: PasswordHash::None, ..User::clone(&user(&world, "bob")) })
        .later();
    let bob = world.session("bob");
    let request = json!({"action": "changepassword", "oldpass": "x", "newpass": "y"});
    assert_eq!(notice(&ask(&bob, &request)), 21, "an account without a password has no old one");
}
