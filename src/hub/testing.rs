//! A small world for the tests of several rooms: accounts, groups, devices and connected agents.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::LazyLock;

use futures_lite::future::{block_on, poll_fn, poll_once};

use crate::config::Config;
use crate::identity::cookie::{CookieKey, LOGIN_KEY};
use crate::identity::password;
use crate::model::{
    AgentFacts, Device, DomainId, Group, GroupId, GroupKind, Key48, LinkTarget, Millis, NodeId,
    PasswordHash, Rights, Secret, SiteRights, User, UserId,
};
use crate::store::Store;

use super::{AGENT_MAILBOX, AgentCommand, AgentLink, Hub, Mailbox};

/// A server in memory, without anybody to talk to.
pub(crate) struct World {
    pub(crate) hub: Rc<Hub>,
    /// The key of the test vectors.
    pub(crate) key: CookieKey,
}

pub(crate) fn group_id(n: u8) -> GroupId {
    GroupId::new(DomainId::default(), Key48([n; 48]))
}

pub(crate) fn node_id(n: u8) -> NodeId {
    NodeId::new(DomainId::default(), Key48([n; 48]))
}

pub(crate) fn user_id(name: &str) -> UserId {
    UserId::new(DomainId::default(), name).unwrap()
}

impl World {
    /// Account `admin` (`Adm1n!pass`, full administrator, no links) and the key of the vectors.
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        static ADMIN: LazyLock<PasswordHash> = LazyLock::new(|| password::hash("Adm1n!pass"));
        let hub = Hub::new(Store::in_memory(), config, Millis(0));
        let secret = Secret { name: LOGIN_KEY.into(), bytes: (0..80).collect() };
        let world = Self { hub, key: CookieKey::new(&secret).unwrap() };
        let mut admin = world.user("admin", SiteRights::FULL);
        admin.password = ADMIN.clone();
        world.hub.store.put(admin).later();
        world
    }

    pub(crate) fn domain(&self) -> DomainId {
        DomainId::default()
    }

    /// A new account.
    pub(crate) fn user(&self, name: &str, site: SiteRights) -> User {
        let user = User { site, ..User::new(user_id(name), name, PasswordHash::None, Millis(0)) };
        self.hub.store.put(user.clone()).later();
        user
    }

    /// Gives an account a right, or takes it.
    pub(crate) fn set_link(&self, name: &str, target: LinkTarget, rights: Option<Rights>) {
        let mut user = (*self.hub.store.user(&user_id(name)).unwrap()).clone();
        user.set_link(target, rights);
        self.hub.store.put(user).later();
    }

    /// A group of agents.
    pub(crate) fn group(&self, n: u8, name: &str) -> GroupId {
        let id = group_id(n);
        let group = Group::new(id.clone(), name, GroupKind::Agent, Millis(1000));
        self.hub.store.put(group).later();
        id
    }

    /// A Linux device with a connected agent.
    pub(crate) fn device(&self, n: u8, group: &GroupId, name: &str) -> Rc<AgentLink> {
        let device = Device {
            agent: Some(AgentFacts { id: 6, caps: 30, ..AgentFacts::default() }),
            ..Device::new(node_id(n), group.clone(), name, Millis(2000))
        };
        self.hub.store.put(device).later();
        self.connect(&node_id(n), Millis(3000))
    }

    /// Connects a Linux agent.
    pub(crate) fn connect(&self, node: &NodeId, since: Millis) -> Rc<AgentLink> {
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
}

/// What was put into an agent's mailbox.
pub(crate) fn commands(agent: &AgentLink) -> Vec<AgentCommand> {
    let mut all = Vec::new();
    let next = || block_on(poll_once(poll_fn(|cx| agent.mailbox.poll_next(cx))));
    while let Some(Some(command)) = next() {
        all.push(command);
    }
    all
}
