//! Every action of the table: against users who lack the right, for those who have it, in search of
//! secrets, and across domains.

use std::collections::BTreeSet;

use super::cases::{Case, Effect, Needs, all, deprive, entitle, house, link_all};
use super::*;
use crate::control::testing::journal;
use crate::model::{
    AmtAccess, AmtPolicy, BackupCode, Document, DomainId, Factors, LoginToken, PasswordHash,
    Secret, SecurityKey, Share, Totp, User, UserId,
};

/// Everything kept: records and history.
fn kept(world: &World) -> (Vec<u8>, String) {
    let query = crate::store::EventQuery { limit: 1000, ..Default::default() };
    let events = futures_lite::future::block_on(world.hub.store.events(query));
    (world.hub.store.snapshot(), format!("{events:?}"))
}

/// Whether an answer says no, or nothing.
fn refuses(answer: &Value) -> bool {
    let result = answer["result"].as_str().unwrap_or_default();
    let says_no = !result.is_empty() && !result.eq_ignore_ascii_case("ok");
    says_no || answer["events"] == json!([]) || answer["err"].is_u64()
}

/// The name a refusal comes under: for some actions clients know another.
fn refused_as(request: &Value) -> Value {
    let action = request["action"].as_str().and_then(find);
    match action.map(|action| action.refusal) {
        Some(Refusal::SaysAs(name, ..)) => name.into(),
        _ => request["action"].clone(),
    }
}

fn refused(world: &World, agent: &crate::hub::AgentLink, who: &str, case: &Case) {
    let label = format!("{who}: {}", case.request);
    let (session, admin) = (world.session(who), world.session("admin"));
    heard(&session);
    let before = kept(world);
    for answer in ask(&session, &case.request) {
        assert!(refuses(&answer), "{label} {answer}");
        assert_eq!(answer["action"], refused_as(&case.request), "{label}");
    }
    assert!(kept(world) == before, "{label} changed something");
    assert!(commands(agent).is_empty(), "{label} reached the agent");
    assert_eq!(heard(&admin), Vec::<Value>::new(), "{label} told somebody");
    assert_eq!(heard(&session), Vec::<Value>::new(), "{label} told the user");
}

#[test]
fn who_lacks_just_the_right_is_refused_without_effect_or_event() {
    for case in all() {
        let (world, agent) = house();
        for name in deprive(&world, &case.needs) {
            refused(&world, &agent, &name, &case);
        }
    }
}

#[test]
fn who_has_no_right_at_all_is_refused_without_effect_or_event() {
    for case in all().filter(|case| !matches!(case.needs, Needs::Nothing | Needs::Free(_))) {
        let (world, agent) = house();
        refused(&world, &agent, "bob", &case);
    }
}

#[test]
fn who_has_just_the_right_is_served_and_what_changes_is_in_the_journal() {
    for case in all() {
        let (world, agent) = house();
        entitle(&world, "grace", &case.needs);
        let (phone, messaging) = (Some("1".into()), Some("x:y".into()));
        let password = own_password();
        let grace = User { phone, messaging, password, ..(*world.account("grace")).clone() };
        world.hub.store.put(factors_of(&grace)).later();
        world.hub.store.put(grace).later();
        let others = ["admin", "carol", "bob"].map(|name| world.session(name));
        let grace = world.session("grace");
        heard(&grace);
        others.iter().for_each(|other| drop(heard(other)));
        let before = kept(&world);
        journal();
        let answers = ask(&grace, &case.request);
        let label = &case.request;
        let lines = journal();
        let audited = lines.iter().any(|line| line.contains("user//grace from 127.0.0.1 "));
        let refused = lines.iter().any(|line| line.contains("has no right"));
        assert!(!refused, "{label}: {lines:?}");
        match case.effect {
            Effect::Reads => assert!(!answers.is_empty(), "{label}"),
            Effect::Changes => {
                assert!(kept(&world).0 != before.0, "{label} changed nothing");
                assert!(audited, "{label} is not in the journal: {lines:?}");
            }
            Effect::Reaches => {
                let is_heard = others.iter().any(|other| !heard(other).is_empty());
                let has_reached = is_heard | !commands(&agent).is_empty();
                assert!(has_reached, "{label} reached nobody");
                assert!(audited, "{label} is not in the journal: {lines:?}");
            }
            Effect::Private => {}
        }
        if matches!(case.effect, Effect::Reads) {
            assert!(kept(&world) == before, "{label} changed something");
        }
        for answer in answers.iter().filter(|_| case.effect != Effect::Reads) {
            let result = answer["result"].as_str().unwrap_or("ok").to_lowercase();
            let is_good = ["ok", "added", "used", "unsupported feature"]
                .iter()
                .any(|word| result.starts_with(word));
            assert!(is_good, "{label}: {answer}");
        }
    }
}

/// `Own!passw`, hashed once.
fn own_password() -> PasswordHash {
    static HASH: std::sync::LazyLock<PasswordHash> =
        std::sync::LazyLock::new(|| crate::identity::password::hash("Own!passw"));
    HASH.clone()
}

/// An authenticator app and a security key.
fn factors_of(user: &User) -> Factors {
    let (name, credential, public_key) = ("key".into(), vec![1], vec![2]);
    let key = SecurityKey { index: 7, name, credential, public_key, counter: 0 };
    Factors {
        totp: Some(Totp { secret: vec![3; 20], last_step: 0 }),
        security_keys: vec![key],
        ..Factors::new(user.id.clone())
    }
}

#[test]
fn what_a_user_cannot_see_does_not_exist() {
    let (world, agent) = lab();
    let bob = world.session("bob");
    for case in all().filter(|case| !matches!(case.needs, Needs::Nothing | Needs::Free(_))) {
        let real = ask(&bob, &case.request);
        let invent = |text: String| {
            [(group_id(1), group_id(99)), (group_id(3), group_id(99))]
                .iter()
                .fold(text, |text, (from, to)| text.replace(&from.to_string(), &to.to_string()))
                .replace(&node_id(2).to_string(), &node_id(99).to_string())
                .replace("carol", "nobody")
        };
        let request = serde_json::from_str(&invent(case.request.to_string())).unwrap();
        let invented = Value::from(ask(&bob, &request)).to_string();
        assert_eq!(invent(Value::from(real).to_string()), invented, "{}", case.request);
    }
    assert!(commands(&agent).is_empty());
    assert_eq!(
        ask(&bob, &json!({"action": "meshes"})),
        [json!({"action": "meshes", "meshes": []})]
    );
    assert_eq!(ask(&bob, &json!({"action": "nodes"})), [json!({"action": "nodes", "nodes": {}})]);
}

/// A word that stands in every secret, and forms in which bytes of it might be shown.
const MARK: &str = "MARKED4SECRET";
const MARKED_NUMBER: u32 = 48_151_623;

/// Puts a secret wherever one may be kept. They are carol's, the devices' and the server's.
fn plant(world: &World) {
    let store = &world.hub.store;
    let bytes = || MARK.repeat(4).into_bytes();
    let secret = |name: &str| format!("{MARK}-{name}");
    let mut carol = (*world.account("carol")).clone();
    carol.password = PasswordHash::Argon2(secret("hash"));
    store.put(carol.clone()).later();
    let salt = secret("salt");
    let admin = PasswordHash::Pbkdf2 { salt, hash: secret("pbkdf2") };
    store.put(User { password: admin, ..(*world.account("admin")).clone() }).later();
    let key = SecurityKey {
        index: 1,
        name: "key".into(),
        credential: bytes(),
        public_key: bytes(),
        counter: 1,
    };
    store
        .put(Factors {
            totp: Some(Totp { secret: bytes(), last_step: 0 }),
            backup_codes: vec![BackupCode { number: MARKED_NUMBER, used: false }],
            security_keys: vec![key],
            past_passwords: vec![PasswordHash::Argon2(secret("past"))],
            password_hint: Some(secret("hint")),
            ..Factors::new(carol.id.clone())
        })
        .later();
    store
        .put(LoginToken {
            token_user: "~t:aaaaaaaaaaaaaaaa".into(),
            user: carol.id.clone(),
            name: "cron".into(),
            password: PasswordHash::Argon2(secret("token")),
            created: Millis(1),
            expires: None,
        })
        .later();
    store
        .put(Share {
            public_id: "abcdefghijkl".into(),
            node: node_id(2),
            user: carol.id.clone(),
            guest_name: "Guest".into(),
            protocols: 1,
            consent: 0,
            port: None,
            url: secret("url"),
            start: None,
            expires: None,
            duration: None,
            recurring: None,
            view_only: false,
        })
        .later();
    for id in [Document::private_note(&carol.id), Document::web_state(&carol.id)] {
        store.put(Document { id, text: secret("document") }).later();
    }
    store.put(AmtAccess::new(node_id(2), "admin", &secret("amt"), true)).later();
    let policy = AmtPolicy {
        group: group_id(1),
        kind: 2,
        password: Some(secret("policy")),
        bad_password: 0,
        cira: 0,
        client_mode: 0,
    };
    store.put(policy).later();
    for name in ["LoginCookieEncryptionKey", "SetupCode", "SessionKey"] {
        store.put(Secret { name: name.into(), bytes: bytes() }).later();
    }
    let mut device = (*store.device(&node_id(2)).unwrap()).clone();
    let amt = json!({"user": "admin", "pass": secret("pass"), "mpspass": secret("mpspass")});
    device.extra = vec![
        ("intelamt".into(), amt.to_string()),
        ("ssh".into(), json!({"user//carol": {"p": secret("ssh")}}).to_string()),
        ("rdp".into(), json!({"user//carol": {"p": secret("rdp")}}).to_string()),
        ("pmt".into(), json!(secret("pmt")).to_string()),
    ];
    store.put(device).later();
}

/// The forms in which a secret might be shown.
fn marks() -> Vec<String> {
    let bytes = MARK.repeat(4);
    let bytes = bytes.as_bytes();
    // Base64 of the middle: whatever stands before it, one of three forms is in it.
    let base64 = |skip: usize| data_encoding::BASE64.encode(&bytes[skip..skip + 30]);
    let mut marks: Vec<_> = (0..3).map(base64).collect();
    marks.extend([
        MARK.to_owned(),
        MARKED_NUMBER.to_string(),
        data_encoding::HEXLOWER.encode(&bytes[..26]),
        data_encoding::HEXUPPER.encode(&bytes[..26]),
        data_encoding::BASE32_NOPAD.encode(&bytes[..40]),
    ]);
    marks
}

#[test]
fn no_action_returns_another_persons_secrets() {
    let marks = marks();
    let check = |who: &str, case: &Case, frames: &[Value]| {
        let text = Value::from(frames.to_vec()).to_string();
        let found = marks.iter().find(|mark| text.contains(mark.as_str()));
        assert_eq!(found, None, "{who}: {} {text}", case.request);
    };
    for case in all() {
        let (world, _agent) = house();
        plant(&world);
        entitle(&world, "grace", &case.needs);
        link_all(&world, "bob", Rights::FULL);
        let sessions = ["admin", "bob", "grace"].map(|name| (name, world.session(name)));
        for (who, session) in &sessions {
            let greeting: Vec<Value> = session
                .greeting()
                .texts
                .iter()
                .map(|text| serde_json::from_str(text).unwrap())
                .collect();
            check(who, &case, &greeting);
            let mut request = case.request.clone();
            request["nodeinfo"] = true.into();
            check(who, &case, &ask(session, &request));
            for (listener, session) in &sessions {
                check(listener, &case, &heard(session));
            }
        }
    }
    // The marks are what would be found.
    assert!(marks.iter().any(|mark| format!("\"{MARK}\"").contains(mark.as_str())));
}

/// A domain `b` whose ids differ from those of the default domain by nothing but the domain.
fn neighbour(world: &World) -> DomainId {
    let b = DomainId::new("b").unwrap();
    let store = &world.hub.store;
    let group = |n| GroupId::new(b.clone(), crate::model::Key48([n; 48]));
    for (n, name) in [(1, "lab"), (3, "other")] {
        store.put(Group::new(group(n), name, GroupKind::Agent, Millis(1))).later();
    }
    let node = NodeId::new(b.clone(), crate::model::Key48([2; 48]));
    store.put(Device::new(node.clone(), group(1), "vm", Millis(2))).later();
    let team = UserGroupId::new(b.clone(), crate::model::Key48([5; 48]));
    let (name, desc) = ("team".to_owned(), String::new());
    store
        .put(UserGroup { id: team.clone(), name, desc, links: vec![], consent: 0, flags: 0 })
        .later();
    for (name, site) in [("admin", SiteRights::FULL), ("carol", SiteRights::empty())] {
        let id = UserId::new(b.clone(), name).unwrap();
        let mut user = User { site, ..User::new(id, name, PasswordHash::None, Millis(0)) };
        user.set_link(LinkTarget::Group(group(1)), Some(Rights::FULL));
        user.set_link(LinkTarget::UserGroup(team.clone()), Some(Rights::EDIT_GROUP));
        store.put(user).later();
    }
    world.connect(&node, Millis(3));
    b
}

/// The records of a domain.
fn of_domain(world: &World, domain: &DomainId) -> String {
    let store = &world.hub.store;
    let note = |id: &str| store.document(&Document::note(id));
    format!(
        "{:?} {:?} {:?} {:?} {:?}",
        store.users(domain),
        store.groups(domain),
        store.devices(domain),
        store.user_groups(domain),
        [note("user/b/carol"), note(&store.devices(domain)[0].id.to_string())],
    )
}

#[test]
fn no_id_crosses_a_domain() {
    for case in all() {
        let (world, _agent) = house();
        let b = neighbour(&world);
        link_all(&world, "admin", Rights::FULL);
        let theirs = world.session_of(UserId::new(b.clone(), "admin").unwrap());
        let node = NodeId::new(b.clone(), crate::model::Key48([2; 48]));
        let agent = world.hub.agent(&node).unwrap();
        let ours = world.session("admin");
        heard(&ours);
        let crossing = case.request.to_string().replace("//", "/b/");
        let crossing: Value = serde_json::from_str(&crossing).unwrap();
        let (before, all_before) = (of_domain(&world, &b), kept(&world));
        // The request as it is, which is about our own domain, and with ids of the other.
        for request in [&crossing, &case.request] {
            let label = request.to_string();
            let answers = ask(&ours, request);
            assert_eq!(of_domain(&world, &b), before, "{label} changed another domain");
            assert!(commands(&agent).is_empty(), "{label} reached another domain's agent");
            assert_eq!(heard(&theirs), Vec::<Value>::new(), "{label} told another domain");
            if *request == crossing && crossing != case.request {
                let names_own = label.contains("puser/");
                assert!(names_own || kept(&world) == all_before, "{label} changed something");
                let shown = Value::from(answers).to_string().replace(&label, "");
                let is_echo = shown.contains("\"noinfo\":true");
                let is_foreign = shown.contains("/b/") && !is_echo && !names_own;
                assert!(!is_foreign, "{label} shows another domain: {shown}");
            }
        }
    }
}

#[test]
fn the_table_has_no_name_twice() {
    let names: BTreeSet<_> = super::super::all().map(|action| action.name).collect();
    assert_eq!(names.len(), super::super::all().count());
}

#[test]
fn who_is_restricted_does_not_do_what_the_restriction_is_about() {
    let restricted = super::super::all().filter_map(|action| match action.need {
        Need::DeviceUnless(_, restriction, _) => Some((action.name, restriction)),
        _ => None,
    });
    for (name, restriction) in restricted {
        for case in super::cases::cases(name) {
            let (world, agent) = house();
            entitle(&world, "mallory", &case.needs);
            let Needs::Each(rights) = &case.needs else { panic!("{name} needs rights") };
            let all = rights.iter().fold(restriction, |all, right| all | *right);
            link_all(&world, "mallory", all);
            refused(&world, &agent, "mallory", &case);
        }
    }
}

#[test]
fn unknown_actions_are_ignored_and_counted() {
    let (world, _) = lab();
    let admin = world.session("admin");
    assert!(ask(&admin, &json!({"action": "nosuchaction", "responseid": "R"})).is_empty());
    assert!(ask(&admin, &json!({"action": 7})).is_empty());
    assert_eq!(world.hub.metrics.unknown_actions.load(std::sync::atomic::Ordering::Relaxed), 1);
}
