//! Requests captured on a live MeshCentral, replayed here: answers and events must be the same.

use std::collections::BTreeSet;

use super::*;
use crate::config::{Config, Reach};
use crate::model::record::Invite;
use crate::model::{AgentFacts, DomainId, LastSeen, SiteRights, User, UserId};
use crate::store::PowerChange;

const VECTORS: &str = include_str!("../../../../tests/vectors/control-actions.json");

/// Names and ids of the captured server.
const LAB: &str = "mesh//KEa5PS6UFGlervZrNp8tnm$n$jmK9iRkn$iKGUv4dA80KcD8aJrcMzeQy5t5FaAx";
const AMT: &str = "mesh//NaQxh0NxjrlOi8p3zpPOFtgWJo5SNFOZNWLkkyd1mfRPK1rhHSC3sw0GDqrzREs6";
const LAB2: &str = "mesh//7RubVPWDkG$ik09btiuhHu@isqfGVM1duwsROdnblQE2s3dKYBIoPzL8zJpnvYbf";
const VM: &str = "node//$k4Fob78V3GRRa0jnORXOyEe@qH8LSWTl7X6xFSSJdBEpAOyZqeV8MprX5a07c0i";

/// The captures replayed, in this order; each is the first of its name.
const LABELS: [&str; 46] = [
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
    "bob createmesh",
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
                let is_aside =
                    ["time", "access", "login", "passchange", "creation", "otpkeys", "notify"]
                        .contains(&name.as_str());
                let is_nothing = matches!(name.as_str(), "siteadmin" | "emailVerified" | "links")
                    && (**value == 0 || **value == false || **value == json!({}));
                let is_empty = name.as_str() == "desc" && **value == "";
                !(is_aside || is_nothing || is_empty)
            })
            .map(|(name, value)| (known(name), essence(value)))
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

/// A text, unless it is the id of a group that was made by chance.
fn known(text: &str) -> String {
    let is_new = text.starts_with("mesh//") && ![LAB, LAB2, AMT].contains(&text);
    if is_new { "mesh//new".to_owned() } else { text.to_owned() }
}

/// Frames that a client got because of its request, without those that came from the agent.
fn frames(frames: &[Value]) -> BTreeSet<String> {
    let from_agent = |frame: &&Value| {
        let event = &frame["event"]["action"];
        (frame["action"] == "msg" && frame.get("type").is_some())
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
        let mut got = ask(&session, &capture["request"]);
        got.extend(heard(&session));
        let expected = capture["reply_frames"].as_array().unwrap();
        assert_eq!(frames(&got), frames(expected), "{label}");
    }
}
