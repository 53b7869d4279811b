//! Events and power changes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::document::whole;
use super::nedb::Dated;
use crate::model::{
    DomainId, Event, EventKind, GroupId, Millis, NodeId, Target, UserGroupId, UserId,
};
use crate::store::{PastEvent, PowerChange};

/// An event as MeshCentral stored it. `None` if it says nothing we could show.
pub(super) fn event(time: u64, mut fields: Map<String, Value>) -> Option<PastEvent> {
    let mut text = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let action = text("action")?;
    let domain = DomainId::new(&text("domain").unwrap_or_default()).ok()?;
    let mut event = Event::new(action, domain);
    event.kind = text("etype").and_then(|kind| match kind.as_str() {
        "user" => Some(EventKind::User),
        "node" => Some(EventKind::Node),
        "mesh" => Some(EventKind::Mesh),
        "ugrp" => Some(EventKind::UserGroup),
        "relay" => Some(EventKind::Relay),
        "server" => Some(EventKind::Server),
        _ => None,
    });
    event.actor = text("userid").and_then(|id| id.parse().ok());
    event.node = text("nodeid").and_then(|id| id.parse().ok());
    if let Some(Value::Array(ids)) = fields.remove("ids") {
        let targets = ids.iter().filter_map(|id| target(id.as_str()?));
        event = targets.fold(event, Event::to);
    }
    // Members that are written anew, or belong to their database.
    for name in ["_id", "time", "username", "nolog", "node", "type"] {
        fields.remove(name);
    }
    event.body = fields;
    Some(PastEvent { time: Millis(time), event })
}

fn target(id: &str) -> Option<Target> {
    match id {
        "*" => return Some(Target::All),
        "server-allusers" => return Some(Target::AllUsers),
        "server-users" => return Some(Target::AccountManagers),
        _ => {}
    }
    Some(match id.split('/').next()? {
        "user" => Target::User(id.parse::<UserId>().ok()?),
        "node" => Target::Device(id.parse::<NodeId>().ok()?),
        "mesh" => Target::Group(id.parse::<GroupId>().ok()?),
        "ugrp" => Target::UserGroup(id.parse::<UserGroupId>().ok()?),
        _ => return None,
    })
}

/// The changes of power of devices, oldest first. MeshCentral notes a state anew after each of its
/// starts; what is no change is left out, and so are its own starts (`nodeid` `*`).
pub(super) fn power_changes(documents: &[Dated]) -> Vec<(NodeId, PowerChange)> {
    let mut last = BTreeMap::new();
    let changes = documents.iter().filter_map(|(time, fields)| power(*time, fields));
    changes.filter(|(node, now)| last.insert(node.clone(), now.power) != Some(now.power)).collect()
}

fn power(time: u64, fields: &Map<String, Value>) -> Option<(NodeId, PowerChange)> {
    let node = fields.get("nodeid")?.as_str()?.parse().ok()?;
    let power = u8::try_from(fields.get("power").and_then(whole)?).ok()?;
    Some((node, PowerChange { time: Millis(time), power }))
}
