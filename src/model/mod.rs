//! Pure values: identifiers, rights, records, events and time.
//!
//! Every other room may import this one; it imports none. Nothing here touches a socket, a file or
//! the clock of the machine.

pub mod access;
pub mod event;
pub mod ids;
pub mod network;
pub mod order;
pub mod record;
pub mod rights;
mod storage;
pub mod text;
pub mod time;
pub mod uuid;
pub mod witness;

pub use access::{
    AmtAccess, AmtPolicy, BackupCode, Ban, Document, Factors, KeyPin, LoginToken, SecurityKey,
    Share, Totp,
};
pub use event::{Event, EventKind, Target};
pub use ids::{DomainId, GroupId, IdError, Key48, NodeId, SessionId, UserGroupId, UserId};
pub use network::Network;
pub use record::{
    AgentFacts, Connectivity, Device, Group, GroupKind, LastSeen, Link, LinkTarget, PasswordHash,
    Secret, User, UserGroup,
};
pub use rights::{Rights, SiteRights};
pub use storage::Storage;
pub use time::{Clock, Millis, Seconds, Utc};
pub use uuid::Uuid;
pub use witness::Witness;
