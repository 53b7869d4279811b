//! Frames of every released version, byte for byte.
//!
//! `tests/golden/v1/` was written once by `MESHBOARD_WRITE_GOLDEN=1 cargo test golden`. A record
//! that changes gets a new version and a new file; these stay, and go on being decoded.

use super::*;
use crate::model::{AgentFacts, LinkTarget, Rights, Seconds, SiteRights, UserGroup, UserGroupId};
use crate::store::codec::*;
use crate::store::frame;

fn sample_node() -> NodeId {
    NodeId::new(domain(), Key48(std::array::from_fn(|i| i as u8)))
}

fn sample_user() -> User {
    let mut user = user("Admin");
    user.name = "Admin".into();
    user.site = SiteRights::from_bits_retain(0xFFFF_FFFF);
    user.set_link(LinkTarget::Group(group()), Some(Rights::REMOTE_CONTROL | Rights::CHAT));
    user.set_link(LinkTarget::Device(sample_node()), Some(Rights::WAKE));
    let friends = UserGroupId::new(domain(), Key48([3; 48]));
    user.set_link(LinkTarget::UserGroup(friends), Some(Rights::empty()));
    user.remove_rights = Rights::UNINSTALL;
    user.email = Some("admin@example.org".into());
    user.email_verified = true;
    user.real_name = Some("Ada".into());
    user.consent = 64;
    user.password_changed = None;
    user.login = Some(Seconds(1_790_000_123));
    user
}

fn sample_group() -> Group {
    let mut group = Group::new(group(), "Büro", GroupKind::Agent, WALL);
    group.desc = "first floor".into();
    (group.flags, group.consent, group.expire_devices) = (Group::SYNC_NAME, 7, 90);
    group.creator = Some(user("admin").id);
    group.deleted = Some(Millis(WALL.0 + 1));
    let codes = vec!["welcome".into(), "hello".into()];
    group.invite = Some(crate::model::record::Invite { codes, flags: 2, agents: 0xFF });
    group
}

fn sample_device() -> Device {
    let mut device = Device::new(sample_node(), group(), "pc", WALL);
    device.host_name = "pc.local".into();
    device.icon = 3;
    let core = Some("Nov 7 2023".into());
    let (root, tag) = (Some(true), Some("desk 4".into()));
    device.agent = Some(AgentFacts { id: 6, version: 0, caps: 31, core, root, tag });
    device.ip = Some("192.168.1.9".into());
    device.host = Some("pc.example.org".into());
    device.os = Some("Debian 13".into());
    device.desc = Some("under the desk".into());
    device.tags = vec!["red".into(), "blue".into()];
    device.consent = 1;
    device.users = vec!["ada".into()];
    device.local_users = vec!["PC\\ada".into()];
    device.last_boot = Some(Millis(WALL.0 - 5));
    device.extra = vec![("av".into(), "[]".into())];
    device.ports = vec![("rdpport".into(), 3390)];
    device
}

fn sample_event() -> Event {
    Event::new("changenode", domain())
        .kind(EventKind::Node)
        .actor(&user("admin").id)
        .node(&sample_node())
        .to(Target::All)
        .to(Target::Group(group()))
        .with("msg", "Changed device \"pc\"")
        .with("msgArgs", vec!["pc"])
}

fn check_bytes(name: &str, bytes: &[u8]) {
    let path = format!("{}/tests/golden/v1/{name}.bin", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("MESHBOARD_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(golden, bytes, "{name} is not written as it was: make a new version of it");
}

fn check<T: Stored + PartialEq + std::fmt::Debug>(name: &str, sample: T) {
    let mut bytes = Vec::new();
    append(&mut bytes, &sample).unwrap();
    check_bytes(name, &bytes);
    let frame = frame::parse(&bytes).unwrap().unwrap();
    assert_eq!((frame.kind, frame.version), (T::KIND as u16, 1));
    assert_eq!(T::decode(1, frame.payload), Some(sample));
}

#[test]
fn records_are_written_and_read_as_in_version_1() {
    check("user", sample_user());
    check("group", sample_group());
    check("device", sample_device());
    let mut friends = UserGroup {
        id: UserGroupId::new(domain(), Key48([3; 48])),
        name: "Friends".into(),
        desc: "of the house".into(),
        links: sample_user().links,
        consent: 2,
    };
    friends.links.pop();
    check("user_group", friends);
    check("secret", secret("LoginCookieEncryptionKey", &[0xAB; 80]));
    check("snapshot_end", SnapshotEnd);
    check("details_gone", DetailsGone { node: sample_node() });
}

#[test]
fn other_frames_are_written_and_read_as_in_version_1() {
    for (name, key) in [
        ("remove_user", RecordKey::User(user("admin").id)),
        ("remove_group", RecordKey::Group(group())),
        ("remove_device", RecordKey::Device(sample_node())),
        ("remove_user_group", RecordKey::UserGroup(UserGroupId::new(domain(), Key48([3; 48])))),
        ("remove_secret", RecordKey::Secret("x".into())),
    ] {
        check(name, key);
    }
    let addrs = ["10.0.0.7:50123", "[2001:db8::1]:443", "somewhere"];
    let seen = addrs.map(|addr| LastSeen { time: WALL, addr: addr.into() });
    let seen = seen.iter().map(|seen| SeenForm::new(&sample_node(), seen)).collect();
    check("seen", SeenBatch { floor: Millis(WALL.0 + 9), seen });
    let change = PowerChange { time: WALL, power: 6 };
    check("power", PowerForm::new(&sample_node(), change));
    for (kind, tag) in DetailKind::ALL.into_iter().zip([None, Some("2F".into()), None]) {
        let print = Fingerprint { len: 70_000, crc: 0xDEAD_BEEF };
        let name = format!("detail_{kind:?}").to_lowercase();
        check(&name, DetailHead { node: sample_node(), kind, time: WALL, tag, print });
    }
}

#[test]
fn page_of_events_is_written_and_read_as_in_version_1() {
    let mut bytes = Vec::new();
    let targets = sample_event().to(Target::AllUsers).to(Target::AccountManagers);
    let targets = targets.to(Target::UserGroup(UserGroupId::new(domain(), Key48([3; 48]))));
    let events = [sample_event(), targets.to(Target::Device(sample_node()))];
    frame::append(&mut bytes, Kind::Events as u16, 1, |out| {
        events.iter().for_each(|event| EventForm::write(WALL, event, out));
    })
    .unwrap();
    check_bytes("events", &bytes);
    let frame = frame::parse(&bytes).unwrap().unwrap();
    let found: Vec<_> = super::super::entries::<EventForm<'static>>(1, frame.payload)
        .filter_map(|form| form.read(|_| true))
        .map(|past| (past.time, past.event))
        .collect();
    assert_eq!(found, events.map(|event| (WALL, event)));
}
