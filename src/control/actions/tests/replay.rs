//! Requests captured on a live MeshCentral, replayed here: answers and events must be the same.

use std::collections::BTreeSet;

use super::*;
use crate::config::{Config, Reach};
use crate::model::record::Invite;
use crate::model::{AgentFacts, DomainId, LastSeen, SiteRights, User, UserGroup, UserId};
use crate::store::PowerChange;

const VECTORS: &str = include_str!("../../../../tests/vectors/control-actions.json");

/// Names and ids of the captured server.
const LAB: &str = "mesh//KEa5PS6UFGlervZrNp8tnm$n$jmK9iRkn$iKGUv4dA80KcD8aJrcMzeQy5t5FaAx";
const AMT: &str = "mesh//NaQxh0NxjrlOi8p3zpPOFtgWJo5SNFOZNWLkkyd1mfRPK1rhHSC3sw0GDqrzREs6";
const LAB2: &str = "mesh//7RubVPWDkG$ik09btiuhHu@isqfGVM1duwsROdnblQE2s3dKYBIoPzL8zJpnvYbf";
const TEAM: &str = "ugrp//UKXoHZ3NVGOo987M9LYnK1Q@y@Fc2ytvijmjC1I4gjFC22lD6U8eolYRarOIgW1E";
const VM: &str = "node//$k4Fob78V3GRRa0jnORXOyEe@qH8LSWTl7X6xFSSJdBEpAOyZqeV8MprX5a07c0i";

/// The captures replayed, in this order; each is the first of its name.
const LABELS: [&str; 85] = [
    "meshes",
    "nodes",
    "nodes one",
    "nodes bad mesh",
    "lastconnect",
    "lastconnects",
    "getsysinfo",
    "powertimeline",
    "msg bad node",
    "msg no nodeid",
    "runcommands noreply",
    "runcommands reply",
    "runcommands no responseid",
    "toast no msg",
    "poweraction amt wake",
    "changedevice",
    "changedevice back",
    "setDeviceEvent",
    "intersession",
    "adddeviceuser",
    "adddeviceuser remove",
    "adddeviceuser bad rights",
    "changeDeviceMesh same",
    "urlargs",
    "print",
    "ping",
    "pong",
    "removedevices missing",
    "files msg tunnel bad",
    "tunnel ok",
    "usergroups",
    "setNotes node",
    "getNotes node",
    "previousLogins user",
    "interuser disabled",
    "changemeshnotify",
    "changeusernotify",
    "changeusernotify off",
    "changelang",
    "changelang reset",
    "notifyuser",
    "userbroadcast",
    "userWebState",
    "createusergroup",
    "addusertousergroup",
    "editusergroup",
    "removeuserfromusergroup",
    "createInviteLink",
    "createInviteLink bad",
    "emailuser",
    "smsuser",
    "adduserbatch",
    "deleteuser",
    "createmesh",
    "edituser lock bob",
    "edituser unlock bob",
    "bob users",
    "bob editmesh",
    "bob deletemesh",
    "bob changedevice",
    "bob removedevices",
    "bob addmeshuser",
    "bob edituser",
    "bob adduser",
    "bob deleteuser",
    "bob getnetworkinfo",
    "bob meshes",
    "bob runcommands",
    "bob createusergroup",
    "bob createmesh",
    "addlocaldevice err",
    "addamtdevice wan",
    "scanamtdevice wan",
    "getmqttlogin",
    "sendmqttmsg",
    "plugins",
    "traceinfo",
    "traceinfo off",
    "serverconsole bad",
    "serverstats stop",
    "serverclearerrorlog",
    "bob deviceShares",
    "bob createDeviceShareLink",
    "bob serverstats",
    "bob files",
];

/// The captured server as it was.
fn captured() -> World {
    let mut config = Config::default();
    config.settings.reach = Reach::Wan;
    let world = World::with(config);
    let store = &world.hub.store;
    let groups = [(AMT, "amtgrp", GroupKind::Amt), (LAB, "lab", GroupKind::Agent)];
    for (id, name, kind) in groups.into_iter().chain([(LAB2, "lab2", GroupKind::Agent)]) {
        let id: GroupId = id.parse().unwrap();
        let mut group = Group::new(id.clone(), name, kind, Millis(1));
        group.creator = Some(user("admin"));
        if name == "lab" {
            group.desc = "New desc".into();
            group.consent = 7;
            let codes = vec!["code1".into(), "code2".into()];
            group.invite = Some(Invite { codes, flags: 2, agents: 0 });
        }
        store.put(group).later();
        world.link("admin", LinkTarget::Group(id), Rights::FULL);
    }
    for name in ["bob", "carol"] {
        world.user(name, SiteRights::empty());
    }
    let bob = User {
        email: Some("bob2@x.y".into()),
        real_name: Some("Bobby".into()),
        ..(*store.user(&user("bob")).unwrap()).clone()
    };
    store.put(bob).later();
    let rights = Rights::from_bits_retain(1_196_120);
    world.link("bob", LinkTarget::Group(LAB.parse().unwrap()), rights);
    let admin = User {
        email: Some("a@b.c".into()),
        email_verified: true,
        ..(*store.user(&user("admin")).unwrap()).clone()
    };
    store.put(admin).later();
    store
        .put(UserGroup {
            id: TEAM.parse().unwrap(),
            name: "ug1".into(),
            desc: "User group one".into(),
            links: vec![],
            consent: 0,
            flags: 0,
        })
        .later();
    let vm: NodeId = VM.parse().unwrap();
    world.connect(&vm, Millis(1_795_324_766_064));
    store
        .put(Device {
            icon: 2,
            agent: Some(AgentFacts {
                id: 6,
                caps: 30,
                core: Some("Nov 21 2022, 2189501291".into()),
                root: Some(true),
                ..AgentFacts::default()
            }),
            ip: Some("127.0.0.1".into()),
            os: Some("Debian GNU/Linux 12 (bookworm)".into()),
            consent: 1,
            desc: Some("lib desc".into()),
            tags: vec!["a".into(), "b".into()],
            ..Device::new(vm.clone(), LAB.parse().unwrap(), "vm", Millis(1_795_324_620_850))
        })
        .later();
    let seen = Millis(1_795_324_766_064);
    store.set_last_seen(&vm, LastSeen { time: seen, addr: "127.0.0.1:46419".into() });
    store.record_power(&vm, PowerChange { time: Millis(1_795_324_620_850), power: 1 });
    world
}

fn user(name: &str) -> UserId {
    UserId::new(DomainId::default(), name).unwrap()
}

/// What is left of a frame when times, random ids, settings of another day and what MeshCentral
/// leaves out when it is zero are taken away.
fn essence(value: &Value) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .filter(|(name, value)| {
                const ASIDE: [&str; 8] = [
                    "time",
                    "access",
                    "login",
                    "passchange",
                    "creation",
                    "otpkeys",
                    "notify",
                    "cookie",
                ];
                // In events about user groups MeshCentral puts the domain where nobody looks.
                const DOMAINS: [&str; 3] = ["domain", "ugrpdomain", "addUserDomain"];
                let is_aside = ASIDE.contains(&name.as_str())
                    || (name.as_str() == "id" && value.is_number())
                    || (object.contains_key("ugrpid") && DOMAINS.contains(&name.as_str()));
                let is_nothing = matches!(name.as_str(), "siteadmin" | "emailVerified" | "links")
                    && (**value == 0 || **value == false || **value == json!({}));
                let is_empty = name.as_str() == "desc" && **value == "";
                !(is_aside || is_nothing || is_empty)
            })
            // A slip of the pen in one event.
            .map(|(name, value)| (known(name).replace("msgArgv", "msgArgs"), essence(value)))
            .collect(),
        Value::Array(list) => {
            let mut list: Vec<_> = list.iter().map(essence).collect();
            list.sort_by_key(|item| item["_id"].to_string());
            Value::Array(list)
        }
        Value::String(text) => known(text).into(),
        other => other.clone(),
    }
}

/// A text, unless it is the id of a group, or a link, that was made by chance.
fn known(text: &str) -> String {
    if let Some((page, _)) = text.split_once("?c=") {
        return page.to_owned();
    }
    let is_new = ["mesh//", "ugrp//"].iter().any(|kind| text.starts_with(kind))
        && ![LAB, LAB2, AMT, TEAM].contains(&text);
    if is_new { text[..6].to_owned() + "new" } else { text.to_owned() }
}

/// Frames that a client got because of its request, without those that came from the agent.
fn frames(frames: &[Value]) -> BTreeSet<String> {
    let from_agent = |frame: &&Value| {
        let event = &frame["event"]["action"];
        (frame["action"] == "msg" && frame.get("type").is_some_and(|kind| kind != "notify"))
            || event == "agentlog"
            || event == "wssessioncount"
    };
    frames.iter().filter(|f| !from_agent(f)).map(|f| essence(f).to_string()).collect()
}

#[test]
fn captured_requests_get_the_captured_answers_and_events() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let captures = vectors["captures"].as_array().unwrap();
    let world = captured();
    for label in LABELS {
        let capture = captures.iter().find(|capture| capture["label"] == label).unwrap();
        let session = world.session(if label.starts_with("bob ") { "bob" } else { "admin" });
        let bob = world.session("bob");
        let mut got = ask(&session, &capture["request"]);
        got.extend(heard(&session));
        let expected = capture["reply_frames"].as_array().unwrap();
        assert_eq!(frames(&got), frames(expected), "{label}");
        // What another account heard, where that was captured. One that was locked a moment ago
        // hears nothing more here.
        let is_locked = label == "edituser lock bob";
        if let Some(expected) = capture["user_bob"].as_array().filter(|_| !is_locked) {
            assert_eq!(frames(&heard(&bob)), frames(expected), "{label}, at bob's");
        }
    }
}
