//! Frames of every released version, byte for byte.
//!
//! `tests/golden/v<version>/` was written once by `MESHBOARD_WRITE_GOLDEN=1 cargo test golden`. A
//! record that changes gets a new version and a new file; these stay, and go on being decoded.

use super::*;
use crate::model::{
    AgentFacts, AmtAccess, AmtPolicy, BackupCode, Ban, Document, Factors, LinkTarget, LoginToken,
    PasswordHash, Rights, Seconds, SecurityKey, Share, SiteRights, Totp, UserGroup, UserGroupId,
};
use crate::store::amt::{AmtAccessForm, AmtPolicyForm};
use crate::store::codec::*;
use crate::store::frame;
use crate::store::vault::Vault;

fn sample_node() -> NodeId {
    NodeId::new(domain(), Key48(std::array::from_fn(|i| i as u8)))
}

/// As version 1 knew an account.
fn sample_user_v1() -> User {
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

/// As version 2 knew it.
fn sample_user_v2() -> User {
    User {
        quota: Some(1 << 33),
        phone: Some("+49 30 1234".into()),
        language: Some("de".into()),
        flags: 2,
        realms: vec!["north".into()],
        valid_from: Some(Millis(WALL.0 + 7)),
        ..sample_user_v1()
    }
}

fn sample_user() -> User {
    User {
        messaging: Some("telegram:@ada".into()),
        notify: vec![(LinkTarget::Group(group()), 6), (LinkTarget::Device(sample_node()), 8)],
        ..sample_user_v2()
    }
}

/// As version 1 knew a device group.
fn sample_group_v1() -> Group {
    let mut group = Group::new(group(), "Büro", GroupKind::Agent, WALL);
    group.desc = "first floor".into();
    (group.flags, group.consent, group.expire_devices) = (Group::SYNC_NAME, 7, 90);
    group.creator = Some(user("admin").id);
    group.deleted = Some(Millis(WALL.0 + 1));
    let codes = vec!["welcome".into(), "hello".into()];
    group.invite = Some(crate::model::record::Invite { codes, flags: 2, agents: 0xFF });
    group
}

fn sample_group() -> Group {
    Group { relay: Some(sample_node()), ..sample_group_v1() }
}

/// As version 1 knew a user group.
fn sample_user_group_v1() -> UserGroup {
    let mut links = sample_user_v1().links;
    links.pop();
    UserGroup {
        id: UserGroupId::new(domain(), Key48([3; 48])),
        name: "Friends".into(),
        desc: "of the house".into(),
        links,
        consent: 2,
        flags: 0,
    }
}

fn sample_factors() -> Factors {
    Factors {
        user: user("admin").id,
        totp: Some(Totp { secret: vec![1, 2, 3, 4, 5], last_step: 59_843_000 }),
        backup_codes: vec![
            BackupCode { number: 12_345_678, used: true },
            BackupCode { number: 7, used: false },
        ],
        security_keys: vec![SecurityKey {
            index: 1,
            name: "blue".into(),
            credential: vec![9; 32],
            public_key: vec![4; 65],
            counter: 17,
        }],
        past_passwords: vec![PasswordHash::Argon2("$argon2id$…".into())],
        password_hint: Some("the usual".into()),
    }
}

fn sample_token() -> LoginToken {
    LoginToken {
        token_user: "~t:abcdefghijklmnop".into(),
        user: user("admin").id,
        name: "cron".into(),
        password: PasswordHash::Random([0xA5; 48]),
        created: WALL,
        expires: Some(Millis(WALL.0 + 60_000)),
    }
}

fn sample_share() -> Share {
    Share {
        public_id: "abcd+fghijkl".into(),
        node: sample_node(),
        user: user("admin").id,
        guest_name: "Guest".into(),
        protocols: 9,
        consent: 8,
        port: Some(8080),
        url: "https://example.org/sharing?c=x".into(),
        start: Some(WALL),
        expires: None,
        duration: Some(30),
        recurring: Some(2),
        view_only: true,
    }
}

fn sample_amt_access_v1() -> AmtAccess {
    AmtAccess::new(sample_node(), "admin", "P@ssw0rd", true)
}

fn sample_amt_access_v2() -> AmtAccess {
    AmtAccess { pin: Some([0xA5; 32]), ..sample_amt_access_v1() }
}

fn sample_amt_policy() -> AmtPolicy {
    let password = Some("P@ssw0rd".into());
    let (kind, bad_password, cira, client_mode) = (3, 1, 2, 0);
    AmtPolicy { group: group(), kind, password, bad_password, cira, client_mode }
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

fn golden(name: &str, version: u8) -> Vec<u8> {
    let path = golden_path(name, version);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn golden_path(name: &str, version: u8) -> String {
    format!("{}/tests/golden/v{version}/{name}.bin", env!("CARGO_MANIFEST_DIR"))
}

fn check_bytes(name: &str, version: u8, bytes: &[u8]) {
    if std::env::var_os("MESHBOARD_WRITE_GOLDEN").is_some() {
        std::fs::write(golden_path(name, version), bytes).unwrap();
    }
    let golden = golden(name, version);
    assert_eq!(golden, bytes, "{name} is not written as it was: make a new version of it");
}

fn check<T: Stored + PartialEq + std::fmt::Debug>(name: &str, sample: T) {
    check_version(name, 1, sample);
}

fn check_version<T: Stored + PartialEq + std::fmt::Debug>(name: &str, version: u8, sample: T) {
    let mut bytes = Vec::new();
    append(&mut bytes, &sample).unwrap();
    check_bytes(name, version, &bytes);
    assert_eq!(T::VERSION, version);
    check_old(name, version, sample);
}

/// What was written by `version` is read as `sample` now.
fn check_old<T: Stored + PartialEq + std::fmt::Debug>(name: &str, version: u8, sample: T) {
    let bytes = golden(name, version);
    let frame = frame::parse(&bytes).unwrap().unwrap();
    assert_eq!((frame.kind, frame.version), (T::KIND as u16, version));
    assert_eq!(T::decode(version, frame.payload), Some(sample));
}

#[test]
fn records_are_written_and_read_as_in_version_1() {
    check("device", sample_device());
    check("secret", secret("LoginCookieEncryptionKey", &[0xAB; 80]));
    check("snapshot_end", SnapshotEnd);
    check("details_gone", DetailsGone { node: sample_node() });
    check("factors", sample_factors());
    check("login_token", sample_token());
    check("share", sample_share());
    check("document", Document { id: "ntnode//x".into(), text: "under the desk".into() });
    check("ban", Ban { network: "192.0.2.0/24".into(), until: WALL });
}

#[test]
fn changed_records_are_written_and_read_as_in_version_2() {
    check_version("group", 2, sample_group());
    check_version("user_group", 2, UserGroup { flags: 2, ..sample_user_group_v1() });
    let vault = Vault::of(&[7; 32]);
    check_version("amt_policy", 2, AmtPolicyForm::seal(&sample_amt_policy(), &vault).unwrap());
}

#[test]
fn changed_records_are_written_and_read_as_in_version_3() {
    check_version("user", 3, sample_user());
    let access = AmtAccess { pending: Some("N3w!pass".into()), ..sample_amt_access_v2() };
    let vault = Vault::of(&[7; 32]);
    check_version("amt_access", 3, AmtAccessForm::seal(&access, &vault).unwrap());
}

#[test]
fn records_of_older_versions_are_read() {
    check_old("user", 2, sample_user_v2());
    check_old("user", 1, sample_user_v1());
    check_old("group", 1, sample_group_v1());
    check_old("user_group", 1, sample_user_group_v1());
}

#[test]
fn passwords_of_older_versions_are_read_and_sealed_when_written_again() {
    let vault = Vault::of(&[7; 32]);
    let frame = golden("amt_access", 1);
    let frame = frame::parse(&frame).unwrap().unwrap();
    let form = AmtAccessForm::decode(1, frame.payload).unwrap();
    assert_eq!(form.open(&vault), Some(sample_amt_access_v1()));
    let frame = golden("amt_access", 2);
    let frame = frame::parse(&frame).unwrap().unwrap();
    let form = AmtAccessForm::decode(2, frame.payload).unwrap();
    assert_eq!(form.open(&vault), Some(sample_amt_access_v2()));
    let frame = golden("amt_policy", 1);
    let frame = frame::parse(&frame).unwrap().unwrap();
    let form = AmtPolicyForm::decode(1, frame.payload).unwrap();
    assert_eq!(form.open(&vault), Some(sample_amt_policy()));
    for (name, version) in [("amt_access", 2), ("amt_access", 3), ("amt_policy", 2)] {
        let written = golden(name, version);
        let shows = |text: &[u8]| written.windows(8).any(|part| part == text);
        assert!(!shows(b"P@ssw0rd") && !shows(b"N3w!pass"), "{name}");
    }
}

#[test]
fn passwords_sealed_with_another_key_come_back_with_it() {
    let disk = FakeDisk::new();
    let access = sample_amt_access_v1();
    let reopen = |disk: &Arc<FakeDisk>, key: u8| {
        let disk: Arc<dyn Disk> = disk.clone();
        let now = || Now { mono: Duration::ZERO, wall: WALL };
        Store::on(disk, Vault::of(&[key; 32]), Options::default(), |_| Box::new(now)).unwrap()
    };
    let (store, _) = reopen(&disk, 1);
    drive(&store, store.put(access.clone())).unwrap();
    let (lost, report) = reopen(&disk.killed(), 2);
    assert_eq!((lost.amt_access(&access.node), report.carried), (None, 1));
    let (found, _) = reopen(&disk.killed(), 1);
    assert_eq!(found.amt_access(&access.node).as_deref(), Some(&access));
    let state = disk.content("state").unwrap();
    assert!(!state.windows(8).any(|part| part == b"P@ssw0rd"));
}

#[test]
fn other_frames_are_written_and_read_as_in_version_1() {
    for (name, key) in [
        ("remove_user", RecordKey::User(user("admin").id)),
        ("remove_group", RecordKey::Group(group())),
        ("remove_device", RecordKey::Device(sample_node())),
        ("remove_user_group", RecordKey::UserGroup(UserGroupId::new(domain(), Key48([3; 48])))),
        ("remove_secret", RecordKey::Secret("x".into())),
        ("remove_factors", RecordKey::Factors(user("admin").id)),
        ("remove_login_token", RecordKey::LoginToken("~t:x".into())),
        ("remove_share", RecordKey::Share("abcd+fghijkl".into())),
        ("remove_document", RecordKey::Document("ntnode//x".into())),
        ("remove_ban", RecordKey::Ban("192.0.2.0/24".into())),
        ("remove_amt_access", RecordKey::AmtAccess(sample_node())),
        ("remove_amt_policy", RecordKey::AmtPolicy(group())),
    ] {
        check(name, key);
    }
    let addrs = ["10.0.0.7:50123", "[2001:db8::1]:443", "somewhere"];
    let seen = addrs.map(|addr| LastSeen { time: WALL, addr: addr.into() });
    let seen = seen.iter().map(|seen| SeenForm::new(&sample_node(), seen)).collect();
    check("seen", SeenBatch { floor: Millis(WALL.0 + 9), seen });
    let change = PowerChange { time: WALL, power: 6 };
    check("power", PowerForm::new(&sample_node(), change));
    for (kind, tag) in DetailKind::ALL.into_iter().zip([None, Some("2F".into()), None, None]) {
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
    check_bytes("events", 1, &bytes);
    let frame = frame::parse(&bytes).unwrap().unwrap();
    let found: Vec<_> = super::super::entries::<EventForm<'static>>(1, frame.payload)
        .filter_map(|form| form.read(|_| true))
        .map(|past| (past.time, past.event))
        .collect();
    assert_eq!(found, events.map(|event| (WALL, event)));
}

#[test]
fn the_key_of_a_folder_is_made_once_and_a_damaged_one_is_not_replaced() {
    let disk = FakeDisk::new();
    let sealed = Vault::load_or_make(&*disk).seal("a", "secret").unwrap();
    let again = Vault::load_or_make(&*disk.unplugged(1));
    assert_eq!(again.open("a", &sealed).as_deref(), Some("secret"));
    let damaged = FakeDisk::with("amt.key", b"half a key");
    assert!(Vault::load_or_make(&*damaged).seal("a", "secret").is_none());
    assert_eq!(damaged.content("amt.key").unwrap(), b"half a key");
}
