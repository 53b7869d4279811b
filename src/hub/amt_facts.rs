//! What the firmware of a device has said of itself: members of `intelamt` of its document, and its
//! state of power while it is connected.
//!
//! The members are MeshCentral's: `ver`, `state`, `flags` (2 client, 4 admin control mode), `realm`,
//! `hash` (of the TLS certificate), `warn` (1 unknown login, 2 other realm, 4 other certificate,
//! 8 a login is being tried). Logins and secrets are never among them.

use serde_json::{Map, Value};

use super::Hub;
use crate::model::{Connectivity, Device, Event, EventKind, NodeId};
use crate::store::PowerChange;

/// Name among the further members of a device.
const NAME: &str = "intelamt";
/// Members that only this server says; an agent's report leaves them as they are.
const OURS: [&str; 5] = ["realm", "hash", "warn", "host", "mpspass"];
/// Longest text of all members, in bytes.
const MAX: usize = 8 * 1024;

/// The members that are kept of a device.
pub fn of(device: &Device) -> Map<String, Value> {
    let kept = device.extra.iter().find(|(name, _)| name == NAME);
    match kept.and_then(|(_, json)| serde_json::from_str(json).ok()) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// Puts what only this server says beside what an agent has reported.
pub fn keep_ours(device: &Device, reported: &mut Map<String, Value>) {
    let mut kept = of(device);
    for name in OURS {
        match kept.remove(name) {
            Some(value) => drop(reported.insert(name.to_owned(), value)),
            None => drop(reported.remove(name)),
        }
    }
}

impl Hub {
    /// Changes what is known of a device's firmware, and tells if that made a difference.
    pub fn change_amt_facts(&self, node: &NodeId, change: impl FnOnce(&mut Map<String, Value>)) {
        let Some(old) = self.store.device(node) else { return };
        let mut members = of(&old);
        change(&mut members);
        let text = Value::Object(members).to_string();
        if text.len() > MAX || old.extra.iter().any(|(name, json)| name == NAME && *json == text) {
            return;
        }
        let mut device = Device::clone(&old);
        device.extra.retain(|(name, _)| name != NAME);
        device.extra.push((NAME.to_owned(), text));
        device.extra.sort();
        let mut event = Event::new("changenode", device.id.domain.clone())
            .kind(EventKind::Node)
            .node(&device.id)
            .with("node", self.device_document(&device))
            .transient();
        event.targets = self.device_targets(&device);
        self.store.put(device).later();
        self.publish(event);
    }

    /// The firmware has said in what state of power its computer is (numbers of
    /// [`Connectivity::power`]). Tells and remembers a change.
    pub fn set_amt_power(&self, node: &NodeId, power: u8) {
        if self.amt_power.borrow_mut().insert(node.clone(), power) == Some(power) {
            return;
        }
        let state = self.connectivity(node);
        if state.power == power {
            self.store.record_power(node, PowerChange { time: self.now(), power });
            self.tell_connection(node, &state);
        }
    }

    /// What the firmware has said last while it was connected.
    pub(super) fn amt_power(&self, node: &NodeId) -> Option<u8> {
        self.amt_power.borrow().get(node).copied()
    }

    /// Nobody speaks for the device any more.
    pub(super) fn forget_amt_power(&self, node: &NodeId) {
        self.amt_power.borrow_mut().remove(node);
    }

    /// Tells how a device is connected.
    pub(super) fn tell_connection(&self, node: &NodeId, state: &Connectivity) {
        let Some(device) = self.store.device(node) else { return };
        let mut event = Event::new("nodeconnect", node.domain.clone())
            .with("meshid", device.group.to_string())
            .with("conn", state.conn)
            .with("pwr", state.power)
            .with("nopeers", 1)
            .node(node)
            .transient();
        if let Some(since) = state.agent_since.max(state.cira_since) {
            event = event.with("ct", since.0);
        }
        event.targets = self.device_targets(&device);
        self.publish(event);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, node_id};
    use super::*;

    #[test]
    fn what_an_agent_reports_does_not_replace_what_the_firmware_said_here() {
        let world = World::new();
        let group = world.group(1, "lab");
        world.device(2, &group, "pc");
        world.hub.change_amt_facts(&node_id(2), |members| {
            members.insert("realm".into(), "Digest:1".into());
            members.insert("ver".into(), "16.1.25".into());
        });
        let device = world.hub.store.device(&node_id(2)).unwrap();
        let mut reported = Map::new();
        reported.insert("ver".into(), "16.1.26".into());
        reported.insert("warn".into(), 1.into());
        keep_ours(&device, &mut reported);
        let text = Value::Object(reported).to_string();
        assert_eq!(text, r#"{"realm":"Digest:1","ver":"16.1.26"}"#);
        let document = world.hub.device_document(&device);
        assert_eq!(document["intelamt"]["realm"], "Digest:1");
    }
}
