//! The flat-file store: records in memory, a journal on disk.
//!
//! Rooms see values ([`crate::model`]) and this handle. A write changes memory at once and returns
//! a [`Commit`]; awaiting it waits until the record is on disk (group commit), dropping it with
//! [`Commit::later`] leaves it to the next batch.

mod state;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::model::event::Event;
use crate::model::{
    Device, DomainId, Group, GroupId, LastSeen, Millis, NodeId, Rights, Secret, User, UserGroup,
    UserGroupId, UserId, rights,
};

use state::State;

/// A record the store keeps.
#[derive(Clone, Debug)]
pub enum Record {
    /// An account.
    User(User),
    /// A device group.
    Group(Group),
    /// A device.
    Device(Box<Device>),
    /// A user group.
    UserGroup(UserGroup),
    /// A server secret.
    Secret(Secret),
}

/// Names a record, to remove it.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum RecordKey {
    /// An account.
    User(UserId),
    /// A device group.
    Group(GroupId),
    /// A device, with its details.
    Device(NodeId),
    /// A user group.
    UserGroup(UserGroupId),
    /// A server secret.
    Secret(String),
}

macro_rules! from_record {
    ($($kind:ident),*) => {$(
        impl From<$kind> for Record {
            fn from(value: $kind) -> Self {
                Self::$kind(value)
            }
        }
    )*};
}
from_record!(User, Group, UserGroup, Secret);

impl From<Device> for Record {
    fn from(value: Device) -> Self {
        Self::Device(Box::new(value))
    }
}

/// Large, rarely read JSON documents about a device. Kept on disk, not in memory.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum DetailKind {
    /// `netif2` of the agent's netinfo: the JSON text of the whole message body.
    Network,
    /// `data` of sysinfo.
    System,
    /// `value` of smbios.
    Smbios,
}

/// The disk refused a write; the record is in memory and is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDurable(pub String);

impl std::fmt::Display for NotDurable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not on disk: {}", self.0)
    }
}

impl std::error::Error for NotDurable {}

/// Resolves when a write is on disk.
#[must_use = "await it, or say `.later()`"]
pub struct Commit(Pin<Box<dyn Future<Output = Result<(), NotDurable>>>>);

impl Commit {
    /// Does not wait: the write goes to disk with the next batch, within seconds.
    pub fn later(self) {}
}

impl Future for Commit {
    type Output = Result<(), NotDurable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

/// An event of history.
#[derive(Clone, Debug, PartialEq)]
pub struct PastEvent {
    /// When it happened.
    pub time: Millis,
    /// What happened, with its targets.
    pub event: Event,
}

/// Which events of history are wanted. Results come newest first.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Only of this domain.
    pub domain: DomainId,
    /// Only about this device.
    pub node: Option<NodeId>,
    /// Only by or about this account.
    pub user: Option<UserId>,
    /// Only those that reach one of these targets; `None` means all.
    pub targets: Option<Vec<crate::model::Target>>,
    /// Only with this `action`.
    pub action: Option<String>,
    /// At most that many.
    pub limit: usize,
}

/// A change of a device's power state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerChange {
    /// When.
    pub time: Millis,
    /// The new state, numbers of [`crate::model::Connectivity::power`].
    pub power: u8,
}

/// Handle to the store; cheap to clone, one thread only.
#[derive(Clone)]
pub struct Store {
    state: Rc<RefCell<State>>,
}

impl Store {
    /// A store without a disk, for tests.
    pub fn in_memory() -> Self {
        Self { state: Rc::default() }
    }

    /// An account.
    pub fn user(&self, id: &UserId) -> Option<Rc<User>> {
        self.state.borrow().users.get(id).cloned()
    }

    /// All accounts of a domain, by id.
    pub fn users(&self, domain: &DomainId) -> Vec<Rc<User>> {
        let state = self.state.borrow();
        state.users.values().filter(|u| u.id.domain == *domain).cloned().collect()
    }

    /// A device group, also a deleted one.
    pub fn group(&self, id: &GroupId) -> Option<Rc<Group>> {
        self.state.borrow().groups.get(id).cloned()
    }

    /// All device groups of a domain that are not deleted, by id.
    pub fn groups(&self, domain: &DomainId) -> Vec<Rc<Group>> {
        let state = self.state.borrow();
        let wanted = |g: &&Rc<Group>| g.id.domain == *domain && g.deleted.is_none();
        state.groups.values().filter(wanted).cloned().collect()
    }

    /// A device.
    pub fn device(&self, id: &NodeId) -> Option<Rc<Device>> {
        self.state.borrow().devices.get(id).cloned()
    }

    /// All devices of a domain, by id.
    pub fn devices(&self, domain: &DomainId) -> Vec<Rc<Device>> {
        let state = self.state.borrow();
        state.devices.values().filter(|d| d.id.domain == *domain).cloned().collect()
    }

    /// Number of devices over all domains.
    pub fn device_count(&self) -> usize {
        self.state.borrow().devices.len()
    }

    /// A user group.
    pub fn user_group(&self, id: &UserGroupId) -> Option<Rc<UserGroup>> {
        self.state.borrow().user_groups.get(id).cloned()
    }

    /// All user groups of a domain, by id.
    pub fn user_groups(&self, domain: &DomainId) -> Vec<Rc<UserGroup>> {
        let state = self.state.borrow();
        state.user_groups.values().filter(|g| g.id.domain == *domain).cloned().collect()
    }

    /// A server secret by name.
    pub fn secret(&self, name: &str) -> Option<Rc<Secret>> {
        self.state.borrow().secrets.get(name).cloned()
    }

    /// What `user` may do with `subject`: [`rights::effective`] over this store's links.
    pub fn rights(&self, user: &User, manages_all: bool, subject: rights::Subject<'_>) -> Rights {
        self.state.borrow().rights(user, manages_all, subject)
    }

    /// When and from where a device was last seen.
    pub fn last_seen(&self, id: &NodeId) -> Option<LastSeen> {
        self.state.borrow().last_seen.get(id).cloned()
    }

    /// Notes when a device was seen. Reaches the disk in batches, hours apart and at a clean stop.
    pub fn set_last_seen(&self, id: &NodeId, seen: LastSeen) {
        self.state.borrow_mut().last_seen.insert(id.clone(), seen);
    }

    /// Adds or replaces a record.
    pub fn put(&self, record: impl Into<Record>) -> Commit {
        self.state.borrow_mut().put(record.into());
        Commit(Box::pin(std::future::ready(Ok(()))))
    }

    /// Removes a record; removing what is not there is no error.
    pub fn remove(&self, key: RecordKey) -> Commit {
        self.state.borrow_mut().remove(&key);
        Commit(Box::pin(std::future::ready(Ok(()))))
    }

    /// A detail document as JSON text.
    pub async fn detail(&self, id: &NodeId, kind: DetailKind) -> Option<Detail> {
        self.state.borrow().details.get(&(id.clone(), kind)).cloned()
    }

    /// The tag that came with a detail document.
    pub fn detail_tag(&self, id: &NodeId, kind: DetailKind) -> Option<Box<str>> {
        self.state.borrow().details.get(&(id.clone(), kind))?.tag.clone()
    }

    /// Keeps a detail document; nothing is written if it is the one already kept.
    /// Returns whether it differed.
    pub fn set_detail(
        &self,
        id: &NodeId,
        kind: DetailKind,
        json: &[u8],
        tag: Option<&str>,
        now: Millis,
    ) -> bool {
        let detail = Detail { time: now, json: json.to_vec(), tag: tag.map(Into::into) };
        let old = self.state.borrow_mut().details.insert((id.clone(), kind), detail);
        old.is_none_or(|old| old.json != json)
    }

    /// Adds an event to history.
    pub fn record_event(&self, time: Millis, event: &Event) {
        self.state.borrow_mut().events.push(PastEvent { time, event: event.clone() });
    }

    /// Events of history, newest first.
    pub async fn events(&self, query: EventQuery) -> Vec<PastEvent> {
        let state = self.state.borrow();
        state
            .events
            .iter()
            .rev()
            .filter(|e| query.wants(&e.event))
            .take(query.limit)
            .cloned()
            .collect()
    }

    /// Adds a change of power to a device's history.
    pub fn record_power(&self, id: &NodeId, change: PowerChange) {
        self.state.borrow_mut().power.push((id.clone(), change));
    }

    /// Changes of power of a device, oldest first.
    pub async fn power(&self, id: &NodeId) -> Vec<PowerChange> {
        let state = self.state.borrow();
        state.power.iter().filter(|(n, _)| n == id).map(|(_, c)| *c).collect()
    }
}

/// A detail document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// When it was last changed.
    pub time: Millis,
    /// JSON text.
    pub json: Vec<u8>,
    /// What the agent calls this version.
    pub tag: Option<Box<str>>,
}

impl EventQuery {
    /// Whether `event` is wanted, apart from the limit.
    pub fn wants(&self, event: &Event) -> bool {
        event.domain == self.domain
            && self.node.as_ref().is_none_or(|n| event.node.as_ref() == Some(n))
            && self.action.as_ref().is_none_or(|a| event.action == *a)
            && self.user.as_ref().is_none_or(|u| {
                event.actor.as_ref() == Some(u)
                    || event.targets.contains(&crate::model::Target::User(u.clone()))
            })
            && self
                .targets
                .as_ref()
                .is_none_or(|t| t.iter().any(|target| event.targets.contains(target)))
    }
}
