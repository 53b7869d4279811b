//! Events: what happened, to whom it may be told, and whether history keeps it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{DomainId, GroupId, Millis, NodeId, UserGroupId, UserId};

/// The `etype` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// About an account.
    User,
    /// About a device.
    Node,
    /// About a device group.
    Mesh,
    /// About a user group.
    UserGroup,
    /// About a session through the relay.
    Relay,
    /// About the server.
    Server,
}

impl EventKind {
    /// The text clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Node => "node",
            Self::Mesh => "mesh",
            Self::UserGroup => "ugrp",
            Self::Relay => "relay",
            Self::Server => "server",
        }
    }
}

/// Whom an event may reach. A session gets an event once if its subscriptions and the event's
/// targets intersect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    /// `*`: full administrators and those who may see all events.
    All,
    /// `server-allusers`: every session of the domain.
    AllUsers,
    /// `server-users`: account managers.
    AccountManagers,
    /// Sessions of one account.
    User(UserId),
    /// Those with a right on the device itself.
    Device(NodeId),
    /// Those with a right on the group.
    Group(GroupId),
    /// Members of the user group.
    UserGroup(UserGroupId),
    /// `server-users:<realm>`: managers of the accounts of a realm.
    Realm(String),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `action`, the word clients switch on.
    pub action: Cow<'static, str>,
    /// `etype`, if the event has one.
    pub kind: Option<EventKind>,
    /// The tenant.
    pub domain: DomainId,
    /// Who caused it (`userid`, `username`).
    pub actor: Option<UserId>,
    /// The device it is about (`nodeid`); per-device history finds it by this.
    pub node: Option<NodeId>,
    /// Further members of the JSON object: `msg`, `msgid`, `msgArgs`, `meshid`, `node`, ….
    pub body: Map<String, Value>,
    /// Whom it may reach.
    pub targets: Vec<Target>,
    /// False for `nolog` events: they are delivered but not kept.
    pub keep: bool,
}

impl Event {
    /// An event of `action` in `domain` that history keeps.
    pub fn new(action: impl Into<Cow<'static, str>>, domain: DomainId) -> Self {
        Self {
            action: action.into(),
            kind: None,
            domain,
            actor: None,
            node: None,
            body: Map::new(),
            targets: Vec::new(),
            keep: true,
        }
    }

    /// Sets `etype`.
    #[must_use]
    pub fn kind(mut self, kind: EventKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Sets who caused it and adds that account to the targets.
    #[must_use]
    pub fn actor(mut self, user: &UserId) -> Self {
        self.actor = Some(user.clone());
        self.to(Target::User(user.clone()))
    }

    /// Sets the device it is about (member `nodeid`); targets are added apart.
    #[must_use]
    pub fn node(mut self, node: &NodeId) -> Self {
        self.node = Some(node.clone());
        self
    }

    /// Adds a member to the JSON object.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a target.
    #[must_use]
    pub fn to(mut self, target: Target) -> Self {
        if !self.targets.contains(&target) {
            self.targets.push(target);
        }
        self
    }

    /// Marks it as delivered only, not kept.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.keep = false;
        self
    }

    /// The JSON object clients get inside `{"action":"event","event":…}`.
    ///
    /// `time` is the moment it happened; only kept events carry it.
    pub fn to_json(&self, time: Millis) -> Value {
        let mut object = Map::new();
        if let Some(kind) = self.kind {
            object.insert("etype".into(), kind.as_str().into());
        }
        if let Some(user) = &self.actor {
            object.insert("userid".into(), user.to_string().into());
            object.insert("username".into(), user.name().into());
        }
        object.insert("action".into(), (*self.action).into());
        if let Some(node) = &self.node {
            object.insert("nodeid".into(), node.to_string().into());
        }
        object.extend(self.body.clone());
        object.insert("domain".into(), self.domain.as_str().into());
        if self.keep {
            object.insert("time".into(), time.iso().into());
        } else {
            object.insert("nolog".into(), 1.into());
        }
        Value::Object(object)
    }
}
