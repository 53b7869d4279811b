//! What is written can be read again, by the import that reads live databases.

use std::collections::BTreeMap;
use std::fs;

use futures_lite::future::block_on;
use proptest::prelude::*;

use super::super::Import;
use super::super::nedb::{Documents, Keys, unescaped};
use super::*;
use crate::model::record::Invite;
use crate::model::{
    AgentFacts, AmtAccess, AmtPolicy, BackupCode, Ban, DomainId, Factors, Group, GroupId,
    GroupKind, Key48, LastSeen, Link, LoginToken, NodeId, PasswordHash, Rights, Seconds, Secret,
    SecurityKey, Share, SiteRights, Totp, User, UserGroup, UserGroupId,
};

const NOW: Millis = Millis(1_795_324_620_850);

fn exported(store: &Store) -> (Vec<u8>, Exported) {
    let mut text = Vec::new();
    let report = block_on(export(store, NOW, &mut text)).unwrap();
    (text, report)
}

/// A store with what an import reads from `text`.
fn imported(text: &[u8]) -> Store {
    let (source, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = source.path().join("export.json");
    fs::write(&file, text).unwrap();
    let store = Store::in_memory();
    let (source, data) = (source.path(), data.path());
    let import = Import { source, export: Some(&file), data, dry_run: false };
    let report = block_on(import.run(&store)).unwrap();
    assert!(report.remarks.is_empty(), "all of it is understood: {report}");
    store
}

fn domain() -> DomainId {
    DomainId::new("shop").unwrap()
}

fn user(name: &str) -> User {
    let hash = PasswordHash::Pbkdf2 { salt: format!("salt of {name}"), hash: "hash".into() };
    let mut user = User::new(UserId::new(domain(), name).unwrap(), name, hash, NOW);
    user.password_changed = None;
    user
}

// `$` and `%` in names are what escaping is about: 0xFF makes slashes, which are dollars in ids.
fn group_id() -> GroupId {
    GroupId::new(domain(), Key48([0xFF; 48]))
}

fn user_group_id() -> UserGroupId {
    UserGroupId::new(domain(), Key48([3; 48]))
}

fn node() -> NodeId {
    NodeId::new(domain(), Key48([0xFE; 48]))
}

fn link(to: LinkTarget, rights: Rights) -> Link {
    Link { to, rights, notify: 6 }
}

/// One of each record, with every field set, as far as MeshCentral has a place for it.
fn everything() -> Vec<Record> {
    let mut ann = user("ann.b%c");
    ann.site = SiteRights::from_bits_retain(0xFFFF_FFFF);
    ann.links = vec![
        Link { to: LinkTarget::Group(group_id()), rights: Rights::FULL, notify: 0 },
        link(LinkTarget::Device(node()), Rights::from_bits_retain(264)),
        link(LinkTarget::UserGroup(user_group_id()), Rights::from_bits_retain(1)),
    ];
    ann.remove_rights = Rights::WAKE;
    ann.email = Some("ann@example.org".into());
    ann.email_verified = true;
    ann.real_name = Some("Ann B. \u{1}".into());
    (ann.consent, ann.flags, ann.quota) = (7, 2, Some(1000));
    (ann.created, ann.login) = (Seconds(5), Some(Seconds(9)));
    (ann.phone, ann.language) = (Some("+1".into()), Some("de".into()));
    ann.realms = vec!["north".into()];
    ann.messaging = Some("ntfy:ann".into());
    ann.notify = vec![(LinkTarget::Group(group_id()), 2)];
    let factors = Factors {
        totp: Some(Totp { secret: b"Hello!\xDE\xAD\xBE\xEF".into(), last_step: 0 }),
        backup_codes: vec![
            BackupCode { number: 285_594, used: false },
            BackupCode { number: 1, used: true },
        ],
        security_keys: vec![SecurityKey {
            index: 7,
            name: "blue".into(),
            credential: vec![1; 40],
            public_key: [vec![4], vec![9; 64]].concat(),
            counter: 3,
        }],
        past_passwords: vec![PasswordHash::Pbkdf2 { salt: "s".into(), hash: "h".into() }],
        password_hint: Some("dog".into()),
        ..Factors::new(ann.id.clone())
    };
    let mut group = Group::new(group_id(), "Office", GroupKind::Agent, NOW);
    (group.desc, group.flags, group.consent) = ("third floor".into(), 3, 8);
    (group.expire_devices, group.creator) = (30, Some(ann.id.clone()));
    (group.deleted, group.relay) = (Some(NOW), Some(node()));
    group.invite = Some(Invite { codes: vec!["c".into()], flags: 2, agents: 5 });
    let policy = AmtPolicy {
        group: group_id(),
        kind: 3,
        password: Some("P@ssw0rd".into()),
        bad_password: 1,
        cira: 2,
        client_mode: 1,
    };
    let mut device = Device::new(node(), group_id(), "pc", NOW);
    device.host_name = "PC-7".into();
    device.icon = 4;
    device.agent = Some(AgentFacts {
        id: 6,
        version: 1,
        caps: 31,
        core: Some("Nov 21".into()),
        root: Some(true),
        tag: Some("t".into()),
    });
    (device.ip, device.host) = (Some("10.0.0.7".into()), Some("10.0.0.8".into()));
    (device.os, device.desc) = (Some("Debian".into()), Some("under the desk".into()));
    (device.tags, device.consent) = (vec!["red".into()], 1);
    (device.users, device.local_users) = (vec!["root".into()], vec!["root".into()]);
    device.last_boot = Some(NOW);
    device.ports = vec![("rdpport".into(), 3390), ("sshport".into(), 22)];
    device.extra = vec![("av".into(), r#"[{"name":"x"}]"#.into())];
    device.extra.push(("intelamt".into(), r#"{"tls":1,"ver":"15.0.1"}"#.into()));
    let access = AmtAccess::new(node(), "admin", "P", true);
    let share = Share {
        public_id: "abcd+fghijkl".into(),
        node: node(),
        user: ann.id.clone(),
        guest_name: "guest".into(),
        protocols: 2,
        consent: 4,
        port: Some(80),
        url: "https://example.org/sharing?c=x".into(),
        start: Some(NOW),
        expires: Some(Millis(NOW.0 + 1)),
        duration: Some(60),
        recurring: Some(1),
        view_only: true,
    };
    let token = LoginToken {
        token_user: "~t:abc".into(),
        user: ann.id.clone(),
        name: "script".into(),
        password: PasswordHash::Pbkdf2 { salt: "s".into(), hash: "h".into() },
        created: NOW,
        expires: None,
    };
    let team = UserGroup {
        id: user_group_id(),
        name: "Team".into(),
        desc: "all".into(),
        links: vec![Link { notify: 0, ..link(LinkTarget::Group(group_id()), Rights::WAKE) }],
        consent: 3,
        flags: 2,
    };
    let note = |id: String| Document { id, text: "a \"note\"\n".into() };
    vec![
        note(Document::note(&node().to_string())).into(),
        note(Document::private_note(&ann.id)).into(),
        note(Document::web_state(&ann.id)).into(),
        note(Document::image(&ann.id)).into(),
        ann.into(),
        user("bob").into(),
        factors.into(),
        group.into(),
        policy.into(),
        device.into(),
        access.into(),
        share.into(),
        token.into(),
        team.into(),
        Secret { name: LOGIN_KEY.into(), bytes: vec![7; 80] }.into(),
        Secret { name: INVITATION_KEY.into(), bytes: vec![8; 80] }.into(),
    ]
}

fn store_with(records: Vec<Record>) -> Store {
    let store = Store::in_memory();
    records.into_iter().for_each(|record| store.put(record).later());
    store
}

#[test]
fn every_field_of_every_record_comes_back() {
    let store = store_with(everything());
    store.set_last_seen(&node(), LastSeen { time: NOW, addr: "10.0.0.7:50123".into() });
    let network = br#"{"netif2":{"eth0.7":[{"mac":"02:FC:00:00:00:01"}]}}"#;
    store.set_detail(&node(), DetailKind::Network, network, None, NOW);
    let hardware = br#"{"hardware":{"cpu":"x"},"hash":"h"}"#;
    store.set_detail(&node(), DetailKind::System, hardware, Some("h"), NOW);

    let (text, report) = exported(&store);
    assert!(report.remarks.is_empty() && report.new_passwords.is_empty(), "{report}");
    let again = imported(&text);
    // As text, because a snapshot that differs is of no help.
    let all = |store: &Store| store.records().iter().map(|r| format!("{r:?}")).collect::<Vec<_>>();
    assert_eq!(all(&again), all(&store));
    // Passwords are not in that text; each store seals them differently.
    assert!(again.records() == store.records());
    for kind in [DetailKind::Network, DetailKind::System] {
        let json = |store: &Store| {
            let detail = block_on(store.detail(&node(), kind)).unwrap();
            (serde_json::from_slice::<Value>(&detail.json).unwrap(), detail.time, detail.tag)
        };
        assert_eq!(json(&again), json(&store));
    }
}

/// Members of the captured documents that do not go back, because they are not kept.
const NOT_KEPT: [(&str, &[&str]); 4] = [
    ("user", &["access"]),
    ("deviceshare", &["port"]), // null
    ("mesh", &["links"]),       // of a deleted group, whose accounts have no link any more
    ("lastconnect", &["cause"]),
];

#[test]
fn what_came_from_meshcentral_goes_back_as_it_was() {
    let vectors = include_str!("../../../tests/vectors/control-nedb.json");
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    let lines = vectors["mainLines"].as_array().unwrap().iter().filter_map(Value::as_str);
    let mut before = BTreeMap::new();
    for line in lines {
        let Ok(mut document) = serde_json::from_str::<Value>(line) else { continue };
        let Some(id) = document["_id"].as_str().map(str::to_owned) else { continue };
        // As `--dbexport` writes dates.
        if let Some(ms) = document["deleted"]["$$date"].as_u64() {
            document["deleted"] = Millis(ms).iso().into();
        }
        before.insert(id, document);
    }
    before.retain(|id, document| {
        let own = ["DatabaseIdentifier", "SchemaVersion", "dbconfig"].contains(&id.as_str());
        document["$$deleted"].is_null() && !own
    });

    let (source, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let documents: Vec<_> = before.values().collect();
    let file = source.path().join("export.json");
    fs::write(&file, serde_json::to_string(&documents).unwrap()).unwrap();
    let store = Store::in_memory();
    let (source, data) = (source.path(), data.path());
    let import = Import { source, export: Some(&file), data, dry_run: false };
    block_on(import.run(&store)).unwrap();
    let (text, report) = exported(&store);
    assert!(report.remarks.is_empty() && report.new_passwords.is_empty(), "{report}");

    let after: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let ids: Vec<_> = after.iter().filter_map(|document| document["_id"].as_str()).collect();
    assert_eq!(ids.len(), before.len(), "{ids:?}");
    for document in &after {
        let id = document["_id"].as_str().unwrap();
        let kind = document["type"].as_str().unwrap_or_default();
        let not_kept = NOT_KEPT.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, m)| m);
        for (name, value) in before[id].as_object().unwrap() {
            let is_time_of_key = name == "time" && id.ends_with("EncryptionKey");
            if !not_kept.contains(&name.as_str()) && !is_time_of_key {
                assert_eq!(document[name], *value, "{name} of {id}");
            }
        }
    }
}

#[test]
fn what_meshcentral_has_no_place_for_is_named() {
    let argon = PasswordHash::Argon2("$argon2id$x".into());
    let ours = |name: &str, hash: &PasswordHash| User { password: hash.clone(), ..user(name) };
    let token = LoginToken {
        token_user: "~t:ours".into(),
        user: user("ann").id,
        name: String::new(),
        password: PasswordHash::Random([7; 48]),
        created: NOW,
        expires: None,
    };
    let mut factors = Factors::new(user("ann").id);
    // Ed25519, in COSE.
    let key =
        [&[0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20][..], &[9; 32]].concat();
    factors.security_keys.push(SecurityKey {
        index: 1,
        name: "green".into(),
        credential: vec![1],
        public_key: key,
        counter: 0,
    });
    let store = store_with(vec![
        ours("ann", &argon).into(),
        ours("bob", &PasswordHash::None).into(),
        user("eve").into(),
        factors.into(),
        token.into(),
        Ban { network: "192.0.2.0/24".into(), until: NOW }.into(),
        Secret { name: "our own".into(), bytes: vec![1] }.into(),
        Group::new(group_id(), "Office", GroupKind::Agent, NOW).into(),
        Device::new(node(), group_id(), "pc", NOW).into(),
    ]);
    store.set_detail(&node(), DetailKind::System, br#"{"hardware":{"a.b":1}}"#, None, NOW);
    store.set_detail(&node(), DetailKind::Network, b"[]", None, NOW);

    let (text, report) = exported(&store);
    let names: Vec<_> = report.new_passwords.iter().map(UserId::name).collect();
    assert_eq!(names, ["ann", "bob"]);
    let shown = report.to_string();
    for part in ["user/shop/ann, user/shop/bob", "~t:ours", "192.0.2.0/24", "security key"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(report.remarks.len(), 5, "{shown}");
    let documents: Vec<Value> = serde_json::from_slice(&text).unwrap();
    assert_eq!(documents.len(), 5);
    // Nobody logs in with what an account without a password has there.
    let ann = documents.iter().find(|document| document["_id"] == "user/shop/ann").unwrap();
    let bob = documents.iter().find(|document| document["_id"] == "user/shop/bob").unwrap();
    assert_eq!(ann["hash"].as_str().unwrap().len(), 172);
    assert!(ann["hash"] != bob["hash"] && ann["salt"] != ann["hash"]);
    assert!(!shown.contains("our own") && !String::from_utf8(text).unwrap().contains("argon2"));
}

#[test]
fn what_an_agent_calls_things_does_not_keep_its_device_from_going_along() {
    let mut device = Device::new(node(), group_id(), "pc", NOW);
    device.extra = vec![("av".into(), r#"{"a.b":1}"#.into()), ("wsc".into(), "{}".into())];
    device.extra.push(("intelamt".into(), r#"{"$x":1}"#.into()));
    let access = AmtAccess::new(node(), "admin", "P", true);
    let group = Group::new(group_id(), "Office", GroupKind::Agent, NOW);
    let store = store_with(vec![group.into(), device.into(), access.into()]);
    let (text, _) = exported(&store);
    let documents: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let device = documents.iter().find(|document| document["type"] == "node").unwrap();
    assert!(device["av"].is_null() && device["wsc"].is_object());
    assert_eq!(device["intelamt"]["pass"], "P");
    assert!(device["intelamt"]["$x"].is_null());
}

#[test]
fn an_empty_server_is_an_empty_array() {
    let (text, report) = exported(&Store::in_memory());
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&text).unwrap(), Vec::<Value>::new());
    assert!(report.counts.is_empty());
    let mut documents = Documents::of(Keys::default());
    assert_eq!(documents.add_export(&text), Some(()));
}

proptest! {
    #[test]
    fn escaped_names_are_fit_for_nedb_and_come_back(name in ".*") {
        let escaped = escaped(&name);
        prop_assert!(!escaped.contains(['.', '$', ',']));
        prop_assert_eq!(unescaped(&escaped), name);
    }
}
