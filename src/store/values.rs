//! What goes into the store and comes out of it, besides the records of [`crate::model`].

use crate::model::event::Event;
use crate::model::{
    AmtAccess, AmtPolicy, Ban, Device, Document, DomainId, Factors, Group, GroupId, LoginToken,
    Millis, NodeId, Secret, Share, Target, User, UserGroup, UserGroupId, UserId,
};

/// A record the store keeps.
#[derive(Clone, Debug, PartialEq)]
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
    /// What an account has besides its password.
    Factors(Factors),
    /// A login token.
    LoginToken(LoginToken),
    /// A device share.
    Share(Share),
    /// A text people wrote.
    Document(Document),
    /// A refused network.
    Ban(Ban),
    /// How a device's Intel AMT is logged in to.
    AmtAccess(AmtAccess),
    /// The Intel AMT policy of a group.
    AmtPolicy(AmtPolicy),
}

/// Names a record, to remove it.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum RecordKey {
    /// An account, with its factors, login tokens, shares and documents.
    User(UserId),
    /// A device group, with its notes and policy.
    Group(GroupId),
    /// A device, with its details, shares, notes and Intel AMT login.
    Device(NodeId),
    /// A user group.
    UserGroup(UserGroupId),
    /// A server secret.
    Secret(String),
    /// By account.
    Factors(UserId),
    /// By its user name, `~t:…`.
    LoginToken(String),
    /// By its public id.
    Share(String),
    /// By its id.
    Document(String),
    /// By network.
    Ban(String),
    /// By device.
    AmtAccess(NodeId),
    /// By group.
    AmtPolicy(GroupId),
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
from_record!(Factors, LoginToken, Share, Document, Ban, AmtAccess, AmtPolicy);

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
    /// What has changed of what Intel AMT reads, newest first; written by this server.
    Changes,
}

impl DetailKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Network, Self::System, Self::Smbios, Self::Changes];
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
    pub targets: Option<Vec<Target>>,
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
    /// Whether `event` is wanted, apart from the limit; its body does not matter.
    pub fn wants(&self, event: &Event) -> bool {
        event.domain == self.domain
            && self.node.as_ref().is_none_or(|n| event.node.as_ref() == Some(n))
            && self.action.as_ref().is_none_or(|a| event.action == *a)
            && self.user.as_ref().is_none_or(|u| {
                event.actor.as_ref() == Some(u) || event.targets.contains(&Target::User(u.clone()))
            })
            && self
                .targets
                .as_ref()
                .is_none_or(|t| t.iter().any(|target| event.targets.contains(target)))
    }
}
