//! Where the rooms meet: who is connected, who listens, what happened.
//!
//! Protocol rooms do not know each other. An agent room registers its connection here, a control
//! room finds it here and puts a message into its mailbox; both publish events here.

pub mod amt_facts;
pub mod amt_home;
pub mod amt_login;
pub mod amt_merge;
pub mod amt_script;
mod amt_tunnels;
mod connection;
pub mod documents;
pub mod fronts;
pub mod held;
pub mod journal;
pub mod machine;
mod mailbox;
mod metrics;
mod people;
#[cfg(test)]
pub(crate) mod testing;
pub mod troubles;
mod tunnels;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::config::Config;
use crate::model::{
    Clock, Connectivity, Device, DomainId, Event, EventKind, Group, GroupKind, LinkTarget, Millis,
    NodeId, Rights, SessionId, Target, User, UserId, order, rights::Subject,
};
use crate::store::Store;

use documents::{GroupDocument, KnownAccount, NodeDocument};
use fronts::Fronts;
use held::Held;

pub use amt_tunnels::{AmtTunnel, ByteStream, Carrier, Opening, Said, TunnelKind};
pub use mailbox::{Full, Mailbox, Weight};
pub use metrics::{Metrics, Refused};
pub use tunnels::{Registered, TunnelLink, TunnelMessage, TunnelPurpose, Tunnels};

/// What another room asks of a connected agent.
#[derive(Clone, Debug)]
pub enum AgentCommand {
    /// Send this JSON text to the agent's core.
    Json(Rc<str>),
    /// Replace the core for this connection.
    Core(CoreMode),
    /// Look after the computer's Intel AMT, if the group wants anything of it.
    Activate,
    /// End the connection (the device was removed or moved away).
    Disconnect,
}

/// Which core an agent runs (`uploadagentcore`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreMode {
    /// The one for its architecture.
    Default,
    /// None.
    Clear,
    /// The recovery core.
    Recovery,
    /// The tiny core.
    Tiny,
}

impl Weight for AgentCommand {
    fn weight(&self) -> usize {
        match self {
            Self::Json(text) => text.len() + 32,
            Self::Core(_) | Self::Activate | Self::Disconnect => 32,
        }
    }
}

/// A connected, authenticated agent.
pub struct AgentLink {
    /// The device.
    pub node: NodeId,
    /// Kind of agent (architecture).
    pub agent_id: u32,
    /// Where it connected from, `address:port`.
    pub remote: std::net::SocketAddr,
    /// When.
    pub since: Millis,
    /// Sessions running on the device, by kind: as the agent reported them (`kvm`, `terminal`, …),
    /// and who shares its desktop here (`multidesk`). See [`Hub::set_sessions`].
    pub sessions: RefCell<BTreeMap<String, Value>>,
    /// Its mailbox.
    pub mailbox: Mailbox<AgentCommand>,
}

/// What a user's session receives.
#[derive(Clone, Debug)]
pub enum SessionMessage {
    /// Send this JSON text.
    Text(Rc<str>),
    /// An event the session is subscribed to; the session applies its filters.
    Event(Rc<Published>),
    /// Say why (`{"action":"stopped","msg":…}`) and end the session.
    Stop(Rc<str>),
    /// The account or its links changed: recompute rights and subscriptions.
    AccountChanged,
}

impl Weight for SessionMessage {
    fn weight(&self) -> usize {
        match self {
            Self::Text(text) | Self::Stop(text) => text.len() + 32,
            Self::Event(event) => event.text.len() + 32,
            Self::AccountChanged => 32,
        }
    }
}

/// An event on its way to sessions, serialized once.
#[derive(Debug)]
pub struct Published {
    /// When it happened.
    pub time: Millis,
    /// The event.
    pub event: Event,
    /// `{"action":"event","event":{…}}`.
    pub text: String,
}

/// A user's control session.
pub struct SessionLink {
    /// Who, and which login.
    pub id: SessionId,
    /// Where the client is, `address:port`.
    pub remote: std::net::SocketAddr,
    /// From when on its account vouches for it: its login, or the last time this very session ended
    /// all others.
    pub since: Cell<Millis>,
    /// What it is subscribed to.
    pub subscriptions: RefCell<BTreeSet<Target>>,
    /// Set when an event had to be dropped because the client reads too slowly.
    pub missed: Cell<bool>,
    /// Its mailbox.
    pub mailbox: Mailbox<SessionMessage>,
}

/// Budget of an agent's mailbox in bytes.
pub const AGENT_MAILBOX: usize = 1 << 20;
/// Longest list of sessions of one kind on a device, in bytes of JSON.
const SESSIONS_MAX: usize = 4 * 1024;
/// Budget of a session's mailbox in bytes.
pub const SESSION_MAILBOX: usize = 4 << 20;

type AmtWatcher = Rc<dyn Fn(&Rc<AmtTunnel>)>;

/// The shared state of one running server.
pub struct Hub {
    /// The records.
    pub store: Store,
    /// Counters.
    pub metrics: std::sync::Arc<Metrics>,
    /// Sessions through the relay.
    pub tunnels: Rc<Tunnels>,
    /// Agents that are not let in.
    pub held: Rc<Held>,
    /// Certificates of proxies in front of the server.
    pub fronts: Fronts,
    config: RefCell<Rc<Config>>,
    clock: Clock,
    started: Instant,
    agents: RefCell<BTreeMap<NodeId, Rc<AgentLink>>>,
    sessions: RefCell<BTreeMap<SessionId, Rc<SessionLink>>>,
    amt_tunnels: RefCell<amt_tunnels::AmtTunnels>,
    /// States of power that firmware has told, of devices it is connected of.
    amt_power: RefCell<BTreeMap<NodeId, u8>>,
    /// Devices whose Intel AMT answers on the local network.
    amt_on_lan: RefCell<std::collections::BTreeSet<NodeId>>,
    amt_watchers: RefCell<Vec<AmtWatcher>>,
    amt_home: amt_home::Home,
    /// What became of the last connections of Intel AMT computers.
    pub amt_journal: RefCell<journal::Journal>,
}

impl Hub {
    /// A hub over `store`; `floor` is the last wall time known from disk.
    pub fn new(store: Store, config: Config, floor: Millis) -> Rc<Self> {
        let started = Instant::now();
        let tunnels = Rc::<Tunnels>::default();
        let watching = tunnels.clone();
        store.watch_rights(move || watching.recheck());
        Rc::new(Self {
            store,
            metrics: std::sync::Arc::default(),
            tunnels,
            held: Rc::default(),
            fronts: Fronts::default(),
            config: RefCell::new(Rc::new(config)),
            clock: Clock::new(floor, started.elapsed()),
            started,
            agents: RefCell::default(),
            sessions: RefCell::default(),
            amt_tunnels: RefCell::default(),
            amt_power: RefCell::default(),
            amt_on_lan: RefCell::default(),
            amt_watchers: RefCell::default(),
            amt_home: amt_home::Home::default(),
            amt_journal: RefCell::default(),
        })
    }

    /// The configuration in force.
    pub fn config(&self) -> Rc<Config> {
        self.config.borrow().clone()
    }

    /// Puts another configuration in force (SIGHUP).
    pub fn set_config(&self, config: Config) {
        *self.config.borrow_mut() = Rc::new(config);
        self.tunnels.recheck();
    }

    /// The wall time to use everywhere.
    pub fn now(&self) -> Millis {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.clock.now(Millis(wall.as_millis() as u64), self.started.elapsed())
    }

    /// What `user` may do with `device`; empty means: it is invisible.
    pub fn rights_on_device(&self, user: &User, device: &Device) -> Rights {
        self.rights(user, Subject::Device(device))
    }

    /// What `user` may do with `subject`; empty means: it is invisible.
    pub fn rights(&self, user: &User, subject: Subject<'_>) -> Rights {
        self.store.rights(user, self.manages_all(user), subject)
    }

    /// Tells every subscribed session and, if the event is to be kept, history.
    pub fn publish(&self, event: Event) {
        let time = self.now();
        if event.keep {
            self.store.record_event(time, &event);
        }
        let wants = |session: &&Rc<SessionLink>| {
            let subscriptions = session.subscriptions.borrow();
            self.hears(&session.id.user, &event)
                && event.targets.iter().any(|t| subscriptions.contains(t))
        };
        let listeners: Vec<_> = self.sessions.borrow().values().filter(wants).cloned().collect();
        if listeners.is_empty() {
            return;
        }
        let text = format!(r#"{{"action":"event","event":{}}}"#, event.to_json(time));
        let published = Rc::new(Published { time, event, text });
        for session in listeners {
            if session.mailbox.push(SessionMessage::Event(published.clone())).is_err() {
                session.missed.set(true);
            }
        }
    }

    /// Targets of an event about `device`: itself, its group, everyone who sees all, and the user
    /// groups linked to either.
    pub fn device_targets(&self, device: &Device) -> Vec<Target> {
        let mut targets = vec![
            Target::Device(device.id.clone()),
            Target::All,
            Target::Group(device.group.clone()),
        ];
        for group in self.store.user_groups(&device.id.domain) {
            let linked = group.links.iter().any(|l| match &l.to {
                LinkTarget::Group(id) => *id == device.group,
                LinkTarget::Device(id) => *id == device.id,
                LinkTarget::UserGroup(_) => false,
            });
            if linked {
                targets.push(Target::UserGroup(group.id.clone()));
            }
        }
        targets
    }

    /// Tells those with rights on a connected device what sessions of a kind run on it, if that has
    /// changed; `None` for none. What is longer than [`SESSIONS_MAX`] in JSON is not kept.
    pub fn set_sessions(&self, link: &AgentLink, kind: &str, value: Option<Value>) {
        if value.as_ref().is_some_and(|value| value.to_string().len() > SESSIONS_MAX) {
            return;
        }
        let old = match value.clone() {
            Some(value) => link.sessions.borrow_mut().insert(kind.to_owned(), value),
            None => link.sessions.borrow_mut().remove(kind),
        };
        if old == value {
            return;
        }
        let Some(device) = self.store.device(&link.node) else { return };
        let sessions: Map<_, _> = order::gather(link.sessions.borrow().clone());
        let mut event = Event::new("devicesessions", device.id.domain.clone())
            .kind(EventKind::Node)
            .node(&device.id)
            .with("sessions", sessions)
            .transient();
        event.targets = self.device_targets(&device);
        self.publish(event);
    }

    /// A device as clients see it in events: with its group, without its connection.
    pub fn device_document(&self, device: &Device) -> Value {
        self.node_document(device, None)
    }

    /// A device with how it is connected now.
    pub fn connected_device_document(&self, device: &Device) -> Value {
        self.node_document(device, Some(self.connectivity(&device.id)))
    }

    fn node_document(&self, device: &Device, state: Option<Connectivity>) -> Value {
        let target = LinkTarget::Device(device.id.clone());
        let holders = documents::holders_of(&self.store, &device.id.domain, &target);
        let kind = self.store.group(&device.group).map(|group| group.kind);
        documents::to_value(&NodeDocument {
            device,
            kind: kind.unwrap_or(GroupKind::Agent),
            holders: &holders,
            in_list: false,
            state,
            sessions: None,
            amt: self.store.amt_access(&device.id).as_deref(),
            locations: self.config.borrow().domain(&device.id.domain).locations,
        })
    }

    /// An account as clients see it, with what it has besides its password.
    pub fn account_document(&self, user: &User) -> Value {
        let factors = self.store.factors(&user.id);
        documents::to_value(&KnownAccount { user, factors: factors.as_deref() })
    }

    /// A device group as clients see it.
    pub fn group_document(&self, group: &Group) -> Value {
        let target = LinkTarget::Group(group.id.clone());
        let holders = documents::holders_of(&self.store, group.domain(), &target);
        let amt = self.store.amt_policy(&group.id);
        documents::to_value(&GroupDocument { group, holders: &holders, amt: amt.as_deref() })
    }

    /// Registers a connected agent. Returns the link it replaces, if the device was connected
    /// already (re-connect, or a cloned machine).
    pub fn agent_connected(&self, link: Rc<AgentLink>) -> Option<Rc<AgentLink>> {
        self.agents.borrow_mut().insert(link.node.clone(), link)
    }

    /// Removes a link, unless a newer one has replaced it. Returns whether it was the current one.
    pub fn agent_gone(&self, link: &Rc<AgentLink>) -> bool {
        let mut agents = self.agents.borrow_mut();
        if agents.get(&link.node).is_some_and(|current| Rc::ptr_eq(current, link)) {
            agents.remove(&link.node);
            return true;
        }
        false
    }

    /// The name of the one device that was last at `address` and is not connected now; `None` if
    /// there is none, or more.
    pub fn missing_at(&self, domain: &DomainId, address: IpAddr) -> Option<String> {
        let address = address.to_canonical().to_string();
        let devices = self.store.devices(domain);
        let mut there = devices.iter().filter(|device| {
            device.ip.as_ref().is_some_and(|ip| *ip == *address) && self.agent(&device.id).is_none()
        });
        there.next().filter(|_| there.next().is_none()).map(|device| device.name.clone())
    }

    /// The connected agent of a device.
    pub fn agent(&self, node: &NodeId) -> Option<Rc<AgentLink>> {
        self.agents.borrow().get(node).cloned()
    }

    /// All connected agents.
    pub fn agents(&self) -> Vec<Rc<AgentLink>> {
        self.agents.borrow().values().cloned().collect()
    }

    /// Number of connected agents.
    pub fn agent_count(&self) -> usize {
        self.agents.borrow().len()
    }

    /// Registers a control session.
    pub fn session_started(&self, link: Rc<SessionLink>) {
        self.sessions.borrow_mut().insert(link.id.clone(), link);
    }

    /// Removes a control session.
    pub fn session_ended(&self, id: &SessionId) {
        self.sessions.borrow_mut().remove(id);
    }

    /// One control session.
    pub fn session(&self, id: &SessionId) -> Option<Rc<SessionLink>> {
        self.sessions.borrow().get(id).cloned()
    }

    /// All control sessions.
    pub fn sessions(&self) -> Vec<Rc<SessionLink>> {
        self.sessions.borrow().values().cloned().collect()
    }

    /// The control sessions of one account.
    pub fn sessions_of(&self, user: &UserId) -> Vec<Rc<SessionLink>> {
        self.sessions.borrow().values().filter(|s| s.id.user == *user).cloned().collect()
    }
}
