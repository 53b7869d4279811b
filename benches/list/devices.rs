//! Devices as a control session lists them: some connected, some with running sessions, some of
//! them of a group the user does not see.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use futures_lite::future::block_on;
use meshboard::config::Config;
use meshboard::control::auth::{Login, Method};
use meshboard::control::session::Session;
use meshboard::control::{Control, CookieKeys, ServerFacts};
use meshboard::hub::{AGENT_MAILBOX, AgentLink, Hub, Mailbox};
use meshboard::identity::password::Passwords;
use meshboard::model::{
    AgentFacts, Device, DomainId, Group, GroupId, GroupKind, Key48, LinkTarget, Millis, NodeId,
    PasswordHash, Rights, SiteRights, User, UserId,
};
use meshboard::relay;
use meshboard::store::Store;
use serde_json::json;

/// Groups the devices are in; one more than the user sees.
const GROUPS: usize = 11;
/// Accounts that have rights on a group.
const ACCOUNTS: usize = 5;

/// A server whose user asks for all devices.
pub(crate) struct List {
    session: Session,
}

impl List {
    /// With that many devices visible to the user, and a tenth more that are not.
    ///
    /// # Panics
    /// Without random numbers.
    pub(crate) fn of(devices: usize) -> Self {
        let hub = Hub::new(Store::in_memory(), Config::default(), Millis(0));
        let groups: Vec<_> = (0..GROUPS).map(|n| group(&hub, n)).collect();
        for n in 0..ACCOUNTS {
            account(&hub, &format!("user{n}"), &groups[..GROUPS - 1]);
        }
        for n in 0..devices * GROUPS / (GROUPS - 1) {
            device(&hub, n, &groups[n % GROUPS]);
        }
        let keys = CookieKeys::of(&hub.store).expect("there are random numbers");
        let facts = ServerFacts {
            name: None,
            port: 443,
            redirect_port: 0,
            mps_port: 0,
            mps_name: None,
            root: None,
            tls_hash: Key48::ZERO,
            agent_cert_hash: Key48::ZERO,
            cert_expires: None,
            proof: None,
        };
        let relay =
            relay::Room::new(hub.clone(), keys.login.clone(), facts.tls_hash, Rc::default());
        let control = Control::new(hub, Passwords::default(), keys, relay, facts);
        let remote: SocketAddr = ([127, 0, 0, 1], 4000).into();
        let user = UserId::new(DomainId::default(), "user0").expect("a valid name");
        let login = Login {
            user,
            remote,
            method: Method::Password,
            token: None,
            at: Millis(1),
            host: "localhost".into(),
            origin: None,
        };
        let session = Session::open(&control, login).expect("the account is there");
        Self { session }
    }

    /// Asks for the list; the length of its text in bytes.
    ///
    /// # Panics
    /// If there is not one answer.
    pub(crate) fn ask(&self) -> usize {
        let request = br#"{"action":"nodes","responseid":"meshctrl"}"#;
        let outcome = block_on(self.session.request(request));
        assert_eq!(outcome.texts.len(), 1);
        outcome.texts[0].len()
    }
}

fn key(n: usize) -> Key48 {
    let mut key = [0x5a; 48];
    key[..8].copy_from_slice(&(n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Key48(key)
}

fn group(hub: &Hub, n: usize) -> GroupId {
    let id = GroupId::new(DomainId::default(), key(n + 1_000_000));
    let group = Group::new(id.clone(), &format!("group {n}"), GroupKind::Agent, Millis(1));
    hub.store.put(group).later();
    id
}

fn account(hub: &Hub, name: &str, groups: &[GroupId]) {
    let id = UserId::new(DomainId::default(), name).expect("a valid name");
    let mut user = User::new(id, name, PasswordHash::None, Millis(0));
    user.site = SiteRights::empty();
    for group in groups {
        user.set_link(LinkTarget::Group(group.clone()), Some(Rights::REMOTE_CONTROL));
    }
    hub.store.put(user).later();
}

/// As a Linux agent makes itself known; two of three are connected, one of ten has a session.
fn device(hub: &Hub, n: usize, group: &GroupId) {
    let id = NodeId::new(DomainId::default(), key(n));
    let device = Device {
        agent: Some(AgentFacts {
            id: 6,
            caps: 30,
            core: Some("Nov 21 2022, 2189501291".into()),
            root: Some(true),
            ..AgentFacts::default()
        }),
        ip: Some(format!("10.0.{}.{}", n / 250, n % 250)),
        os: Some("Debian GNU/Linux 12 (bookworm)".into()),
        tags: vec!["office".into(), "floor 2".into()],
        users: vec!["ann".into()],
        last_boot: Some(Millis(1_795_324_620_000)),
        extra: vec![("av".into(), r#"[{"product":"x","enabled":true}]"#.into())],
        ..Device::new(
            id.clone(),
            group.clone(),
            &format!("machine-{n:04}"),
            Millis(1_795_324_620_850),
        )
    };
    hub.store.put(device).later();
    if n % 3 < 2 {
        let sessions = match n % 10 {
            0 => BTreeMap::from([("kvm".to_owned(), json!({"user//user1": 1}))]),
            _ => BTreeMap::new(),
        };
        hub.agent_connected(Rc::new(AgentLink {
            node: id,
            agent_id: 6,
            remote: ([10, 0, 0, 9], 5000).into(),
            since: Millis(1_795_324_766_064),
            sessions: RefCell::new(sessions),
            mailbox: Mailbox::new(AGENT_MAILBOX),
        }));
    }
}
