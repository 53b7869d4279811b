//! A small world for the tests of this room: accounts, groups, devices and connected agents.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::LazyLock;

use futures_lite::future::{block_on, poll_fn, poll_once};
use serde_json::Value;

use crate::config::Config;
use crate::hub::{AGENT_MAILBOX, AgentCommand, AgentLink, Hub, Mailbox, SessionMessage};
use crate::identity::cookie::{CookieKey, LOGIN_KEY};
use crate::identity::password::{self, Passwords};
use crate::model::{
    AgentFacts, Device, DomainId, Group, GroupId, GroupKind, Key48, LinkTarget, Millis, NodeId,
    PasswordHash, Rights, Secret, SiteRights, User, UserGroup, UserGroupId, UserId,
};
use crate::store::Store;

use super::auth::{Login, Method, Refusal, Upgrade};
use super::session::{Outcome, Session};
use super::{Control, CookieKeys, ServerFacts};

/// `x-meshauth` of the full administrator.
pub(super) const ADMIN_AUTH: &str = "YWRtaW4=,QWRtMW4hcGFzcw==";

pub(super) static DOMAIN: LazyLock<DomainId> = LazyLock::new(DomainId::default);

/// A server in memory.
pub(super) struct World {
    pub(super) hub: Rc<Hub>,
    pub(super) control: Rc<Control>,
}

/// An upgrade from 127.0.0.1 with that header.
pub(super) fn upgrade(meshauth: Option<&str>) -> Upgrade<'_> {
    Upgrade {
        domain: &DOMAIN,
        remote: "127.0.0.1:4000".parse().unwrap(),
        scheme: "https",
        host: Some("127.0.0.1:15443"),
        origin: None,
        query: "",
        meshauth,
        cookies: None,
        agent: None,
    }
}

pub(super) fn group_id(n: u8) -> GroupId {
    GroupId::new(DomainId::default(), Key48([n; 48]))
}

pub(super) fn node_id(n: u8) -> NodeId {
    NodeId::new(DomainId::default(), Key48([n; 48]))
}

/// The journal of this thread, instead of stderr.
struct Journal;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl log::Log for Journal {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// The lines written to the journal on this thread since it was last asked.
pub(super) fn journal() -> Vec<String> {
    LINES.take()
}

impl World {
    /// Account `admin` (`Adm1n!pass`, full administrator, no links) and the key of the vectors.
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        static ADMIN: LazyLock<PasswordHash> = LazyLock::new(|| password::hash("Adm1n!pass"));
        if log::set_logger(&Journal).is_ok() {
            log::set_max_level(log::LevelFilter::Info);
        }
        let hub = Hub::new(Store::in_memory(), config, Millis(0));
        let key = |bytes: std::ops::Range<u8>| {
            let secret = Secret { name: LOGIN_KEY.into(), bytes: bytes.collect() };
            CookieKey::new(&secret).unwrap()
        };
        let keys = CookieKeys { login: key(0..80), invitation: key(80..160), steps: key(160..240) };
        let facts = ServerFacts {
            name: None,
            port: 15443,
            redirect_port: 0,
            mps_port: 0,
            tls_hash: Key48([7; 48]),
            agent_cert_hash: Key48([8; 48]),
            cert_expires: Some(2_524_521_600_000),
            proof: None,
        };
        let control = Control::new(hub.clone(), Passwords::default(), keys, facts);
        let world = Self { hub, control };
        let mut admin = world.user("admin", SiteRights::FULL);
        admin.password = ADMIN.clone();
        world.hub.store.put(admin).later();
        world
    }

    pub(super) fn domain(&self) -> DomainId {
        DomainId::default()
    }

    /// A new account.
    pub(super) fn user(&self, name: &str, site: SiteRights) -> User {
        let id = UserId::new(self.domain(), name).unwrap();
        let user = User { site, ..User::new(id, name, PasswordHash::None, Millis(0)) };
        self.hub.store.put(user.clone()).later();
        user
    }

    /// Gives an account a right.
    pub(super) fn link(&self, name: &str, target: LinkTarget, rights: Rights) {
        let id = UserId::new(self.domain(), name).unwrap();
        let mut user = (*self.hub.store.user(&id).unwrap()).clone();
        user.set_link(target, Some(rights));
        self.hub.store.put(user).later();
        super::notify::account_changed(&self.hub, &id);
    }

    /// A group of agents.
    pub(super) fn group(&self, n: u8, name: &str) -> GroupId {
        let id = group_id(n);
        let group = Group::new(id.clone(), name, GroupKind::Agent, Millis(1000));
        self.hub.store.put(group).later();
        id
    }

    /// A Linux device with a connected agent.
    pub(super) fn device(&self, n: u8, group: &GroupId, name: &str) -> Rc<AgentLink> {
        let device = Device {
            agent: Some(AgentFacts { id: 6, caps: 30, ..AgentFacts::default() }),
            ..Device::new(node_id(n), group.clone(), name, Millis(2000))
        };
        self.hub.store.put(device).later();
        self.connect(&node_id(n), Millis(3000))
    }

    /// Connects a Linux agent.
    pub(super) fn connect(&self, node: &NodeId, since: Millis) -> Rc<AgentLink> {
        let link = Rc::new(AgentLink {
            node: node.clone(),
            agent_id: 6,
            remote: "10.0.0.9:5000".parse().unwrap(),
            since,
            sessions: RefCell::default(),
            mailbox: Mailbox::new(AGENT_MAILBOX),
        });
        self.hub.agent_connected(link.clone());
        link
    }

    /// A user group without rights.
    pub(super) fn user_group(&self, n: u8, name: &str) -> UserGroupId {
        let id = UserGroupId::new(self.domain(), Key48([n; 48]));
        let (name, desc) = (name.to_owned(), String::new());
        let group =
            UserGroup { id: id.clone(), name, desc, links: Vec::new(), consent: 0, flags: 0 };
        self.hub.store.put(group).later();
        id
    }

    /// An account as it is now.
    pub(super) fn account(&self, name: &str) -> Rc<User> {
        self.hub.store.user(&UserId::new(self.domain(), name).unwrap()).unwrap()
    }

    /// Lets a client in whose upgrade says this.
    pub(super) fn enter(&self, upgrade: &Upgrade<'_>) -> Result<Session, Refusal> {
        let login = block_on(self.control.gate.admit(upgrade))?;
        let session = Session::open(&self.control, login).unwrap();
        heard(&session);
        Ok(session)
    }

    /// Logs an account in.
    pub(super) fn session(&self, name: &str) -> Session {
        self.session_of(UserId::new(self.domain(), name).unwrap())
    }

    /// Logs an account of any domain in.
    pub(super) fn session_of(&self, user: UserId) -> Session {
        let remote: SocketAddr = "127.0.0.1:4001".parse().unwrap();
        let (token, at) = (None, self.hub.now());
        let host = "127.0.0.1".into();
        let login = Login { user, remote, method: Method::Password, token, at, host, origin: None };
        let session = Session::open(&self.control, login).unwrap();
        heard(&session);
        session
    }
}

/// Asks, and returns the answers.
pub(super) fn ask(session: &Session, request: &Value) -> Vec<Value> {
    texts(block_on(session.request(request.to_string().as_bytes())))
}

/// Everything the hub has put into the session's mailbox, as the client would see it.
pub(super) fn heard(session: &Session) -> Vec<Value> {
    let mailbox = &session.link().mailbox;
    let mut all = Vec::new();
    while let Some(Some(message)) = block_on(poll_once(poll_fn(|cx| mailbox.poll_next(cx)))) {
        let is_stop = matches!(message, SessionMessage::Stop(_));
        all.extend(texts(session.receive(message)));
        if is_stop {
            break;
        }
    }
    all
}

/// What was put into an agent's mailbox.
pub(super) fn commands(agent: &AgentLink) -> Vec<AgentCommand> {
    let mut all = Vec::new();
    let next = || block_on(poll_once(poll_fn(|cx| agent.mailbox.poll_next(cx))));
    while let Some(Some(command)) = next() {
        all.push(command);
    }
    all
}

pub(super) fn texts(outcome: Outcome) -> Vec<Value> {
    outcome.texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}
