use super::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use futures_lite::future::{block_on, poll_fn, poll_once};
use proptest::prelude::*;

use crate::config::Config;
use crate::hub::{Mailbox, SessionLink};
use crate::model::{
    AgentFacts, DomainId, Group, GroupId, GroupKind, Key48, LinkTarget, NodeId, PasswordHash,
    Target, User,
};
use crate::store::Store;

/// A hub with one device in one group, its connected agent, and a reader of its reports.
struct House {
    hub: Rc<Hub>,
    reports: Reports,
    node: NodeId,
    group: GroupId,
}

fn house() -> House {
    let hub = Hub::new(Store::in_memory(), Config::default(), Millis(0));
    let domain = DomainId::default();
    let group = GroupId::new(domain.clone(), Key48([1; 48]));
    let node = NodeId::new(domain, Key48([2; 48]));
    hub.store.put(Group::new(group.clone(), "lab", GroupKind::Agent, Millis(0))).later();
    let mut device = Device::new(node.clone(), group.clone(), "pc", Millis(0));
    device.agent = Some(AgentFacts { id: 6, caps: 0x18, ..AgentFacts::default() });
    hub.store.put(device).later();
    let link = Rc::new(AgentLink {
        node: node.clone(),
        agent_id: 6,
        remote: ([127, 0, 0, 1], 9).into(),
        since: Millis(0),
        sessions: RefCell::default(),
        mailbox: Mailbox::new(1000),
    });
    hub.agent_connected(link.clone());
    let reports = Reports::new(hub.clone(), link, 0x118);
    House { hub, reports, node, group }
}

impl House {
    fn report(&mut self, json: Value) -> Option<Answer> {
        self.reports.receive(json.to_string().as_bytes())
    }

    fn device(&self) -> Rc<Device> {
        self.hub.store.device(&self.node).unwrap()
    }

    /// Logs `name` in, with rights on the group if `rights` are given.
    fn login(&self, name: &str, rights: Option<Rights>) -> Rc<SessionLink> {
        let id = UserId::new(DomainId::default(), name).unwrap();
        let mut user = User::new(id.clone(), name, PasswordHash::None, Millis(0));
        user.set_link(LinkTarget::Group(self.group.clone()), rights);
        self.hub.store.put(user).later();
        let mut nonce = [0; 20];
        nonce[..name.len().min(20)].copy_from_slice(name.as_bytes());
        let link = Rc::new(SessionLink {
            id: SessionId { user: id, nonce },
            remote: "127.0.0.1:4000".parse().unwrap(),
            since: Cell::default(),
            subscriptions: RefCell::new(BTreeSet::from([Target::Group(self.group.clone())])),
            missed: Cell::new(false),
            mailbox: Mailbox::new(100_000),
        });
        self.hub.session_started(link.clone());
        link
    }
}

/// Everything in a session's mailbox, as JSON.
fn received(session: &SessionLink) -> Vec<Value> {
    let mut all = Vec::new();
    while let Some(Some(message)) = block_on(poll_once(poll_fn(|cx| session.mailbox.poll_next(cx))))
    {
        all.push(match message {
            SessionMessage::Text(text) => serde_json::from_str(&text).unwrap(),
            SessionMessage::Event(event) => serde_json::from_str(&event.text).unwrap(),
            other => panic!("{other:?}"),
        });
    }
    all
}

fn actions(session: &SessionLink) -> Vec<String> {
    let name = |v: Value| match v["event"]["action"].as_str() {
        Some(action) => action.to_owned(),
        None => v["action"].as_str().unwrap().to_owned(),
    };
    received(session).into_iter().map(name).collect()
}

#[test]
fn every_captured_report_is_understood() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/agent-json.json");
    let v: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut house = house();
    let admin = house.login("admin", Some(Rights::FULL));
    for message in v["messages"].as_array().unwrap() {
        if message["from"] == "agent" {
            house.reports.receive(message["json"].as_str().unwrap().as_bytes());
        }
    }
    let device = house.device();
    assert_eq!(device.os.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
    let agent = device.agent.as_ref().unwrap();
    assert_eq!(agent.core.as_deref(), Some("Nov 21 2022, 2189501291"));
    assert_eq!((agent.caps, agent.root), (0x18 | 7, Some(true)));
    let network = block_on(house.hub.store.detail(&house.node, DetailKind::Network)).unwrap();
    let network: Value = serde_json::from_slice(&network.json).unwrap();
    assert_eq!(network["eth0"][0]["mac"], "02:FC:00:00:00:01");
    let seen = actions(&admin);
    for expected in ["changenode", "devicesessions", "agentlog", "msg", "ifchange"] {
        assert!(seen.iter().any(|a| a == expected), "{expected} in {seen:?}");
    }
}

#[test]
fn the_same_report_twice_writes_and_tells_once() {
    let mut house = house();
    let admin = house.login("admin", Some(Rights::FULL));
    let info = json!({"action": "coreinfo", "value": "core 1", "osdesc": "Debian",
        "users": ["a"], "lastbootuptime": 1_700_000_000_123u64, "av": [{"product": "x"}]});
    for _ in 0..2 {
        assert_eq!(house.report(info.clone()), Some(Answer::CoreRuns));
    }
    assert_eq!(actions(&admin), ["changenode"]);
    let system = json!({"action": "sysinfo", "data": {"hash": "h1", "hardware": {}}});
    for _ in 0..2 {
        house.report(system.clone());
    }
    assert_eq!(actions(&admin), ["sysinfohash"]);
    assert_eq!(house.reports.greeting()[0], json!({"action": "sysinfo", "hash": "h1"}));
    assert_eq!(
        house.report(json!({"action": "sysinfocheck"})),
        Some(Answer::Reply(json!({"action": "sysinfo", "hash": "h1"})))
    );
}

#[test]
fn a_message_reaches_only_those_with_rights_on_the_device() {
    let mut house = house();
    let (admin, bob, eve) = (
        house.login("admin", Some(Rights::FULL)),
        house.login("bob", Some(Rights::CHAT)),
        house.login("eve", None),
    );
    let console = |extra: Value| {
        let mut message = json!({"action": "msg", "type": "console", "value": "hi"});
        message.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        message
    };
    for (to, expected) in [
        (json!({}), [1, 1, 0]),
        (json!({"sessionid": admin.id.to_string()}), [1, 0, 0]),
        (json!({"sessionid": eve.id.to_string()}), [0, 0, 0]),
        (json!({"sessionid": "user//nobody/x"}), [0, 0, 0]),
        (json!({"userid": "user//bob"}), [0, 1, 0]),
        (json!({"userid": "user//eve"}), [0, 0, 0]),
    ] {
        house.report(console(to.clone()));
        let got = [&admin, &bob, &eve].map(|s| received(s));
        assert_eq!(got.each_ref().map(Vec::len), expected, "{to}");
        if let Some(message) = got.iter().flatten().next() {
            assert_eq!(message["nodeid"], house.node.to_string());
            assert_eq!(message.get("sessionid"), None);
        }
    }
}

#[test]
fn a_core_that_repeats_itself_is_cut_off() {
    let mut house = house();
    let admin = house.login("admin", Some(Rights::FULL));
    let line = |text: &str| json!({"action": "msg", "type": "console", "value": text});
    for _ in 0..100 {
        house.report(line("same"));
    }
    assert_eq!(received(&admin).len(), CONSOLE_REPEATS as usize);
    house.report(line("other"));
    assert_eq!(received(&admin).len(), 1);
}

#[test]
fn hostile_texts_are_tamed_and_oversized_members_dropped() {
    let mut house = house();
    house.report(json!({
        "action": "coreinfo", "value": "c\u{1b}ore".repeat(100), "osdesc": "x".repeat(10_000),
        "users": vec!["u\n".repeat(500); 1000], "caps": u64::MAX, "root": "yes",
        "av": vec!["y"; 10_000], "lastbootuptime": -5e300,
        "intelamt": {"ver": "16", "user": "admin", "pass": "P@ssw0rd"},
    }));
    let device = house.device();
    let core = device.agent.as_ref().unwrap().core.as_ref().unwrap();
    assert!(core.len() <= 128 && !core.contains('\u{1b}'));
    assert_eq!(device.os.as_ref().unwrap().len(), 255);
    assert_eq!((device.users.len(), device.users[0].len()), (USERS_MAX, 255));
    assert_eq!(device.extra, [("intelamt".to_owned(), r#"{"ver":"16"}"#.to_owned())]);
}

#[test]
fn sessions_are_shown_and_cleared() {
    let mut house = house();
    let admin = house.login("admin", Some(Rights::FULL));
    let kvm = |value: Value| json!({"action": "sessions", "type": "kvm", "value": value});
    house.report(kvm(json!({"user//admin": 1})));
    house.report(kvm(json!({"user//admin": 1})));
    house.report(json!({"action": "sessions", "type": "nonsense", "value": {"a": 1}}));
    let events = received(&admin);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["event"]["sessions"], json!({"kvm": {"user//admin": 1}}));
    house.report(kvm(json!({})));
    assert_eq!(received(&admin)[0]["event"]["sessions"], json!({}));
    assert!(house.reports.link.sessions.borrow().is_empty());
}

#[test]
fn consent_dialogs_get_a_picture_of_users_with_rights_only() {
    let mut house = house();
    house.login("admin", Some(Rights::FULL));
    house.login("eve", None);
    let ask = |user: &str| json!({"action": "getUserImage", "userid": user, "promise": 7});
    let Some(Answer::Reply(reply)) = house.report(ask("user//admin")) else { panic!() };
    assert_eq!((&reply["name"], &reply["promise"]), (&json!("admin"), &json!(7)));
    assert!(reply["image"].as_str().unwrap().starts_with("data:image/png;base64,"));
    assert_eq!(house.report(ask("user//eve")), None);
}

#[test]
fn a_log_entry_names_only_an_account_that_could_have_done_it() {
    let mut house = house();
    let admin = house.login("admin", Some(Rights::FULL));
    house.login("eve", None);
    for (user, actor) in [("user//admin", true), ("user//eve", false), ("x", false)] {
        house.report(json!({"action": "log", "msg": "did it", "msgid": 3,
            "msgArgs": ["a", {"b": 1}], "userid": user}));
        let event = &received(&admin)[0]["event"];
        assert_eq!(event.get("userid").is_some(), actor, "{user}");
        assert_eq!(event["msgArgs"], json!(["a", null]));
    }
}

#[test]
fn who_asked_for_a_page_hears_whether_it_was_opened_and_nobody_gets_its_token() {
    let mut house = house();
    let (admin, bob) =
        (house.login("admin", Some(Rights::FULL)), house.login("bob", Some(Rights::CHAT)));
    let url = "https://board/messenger?id=meshmessenger/node%2F%2Fx/user%2F%2Fbob&c=secret";
    house.report(json!({"action": "openUrl", "url": url, "success": false,
        "sessionid": bob.id.to_string()}));
    house.report(json!({"action": "openUrl", "url": url, "success": true}));
    assert_eq!(received(&admin).len(), 0);
    let told = received(&bob);
    let node = house.node.to_string();
    let expected = json!({"action": "msg", "type": "openUrl", "success": false, "nodeid": node});
    assert_eq!(told, [expected]);
    house.report(json!({"action": "log", "msgid": 20, "msg": format!("Opening: {url}"),
        "msgArgs": [url]}));
    let text = Value::from(received(&admin)).to_string();
    assert!(text.contains("user%2F%2Fbob") && !text.contains("secret"), "{text}");
}

proptest! {
    #[test]
    fn nothing_an_agent_says_panics(
        action in prop::sample::select(vec!["coreinfo", "netinfo", "sysinfo", "smbios", "log",
            "lmsinfo", "sessions", "battery", "msg", "getUserImage", "ping", "openUrl"]),
        name in prop::sample::select(vec!["value", "data", "netif2", "msg", "type", "userid",
            "sessionid", "caps", "users", "msgArgs", "hash", "success"]),
        value in prop_oneof![
            any::<f64>().prop_map(Value::from), ".{0,40}".prop_map(Value::from),
            Just(Value::Null), Just(json!([])), Just(json!({"hash": 5})), Just(json!([[[]]])),
        ],
    ) {
        let mut house = house();
        house.report(json!({"action": action, "type": "console", name: value}));
    }
}
