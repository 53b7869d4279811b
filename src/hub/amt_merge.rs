//! One computer, known twice: by its Intel AMT, which named it by the UUID of its mainboard when it
//! first called, and by its agent, which came later and reports the same UUID.
//!
//! The device that was made for the firmware gives way to the one with the agent, and its tunnels
//! become that one's without ending. Only within one group: an agent may say any UUID it likes, and
//! must not draw to itself what belongs to others.

use std::rc::Rc;

use serde_json::Value;

use super::{Hub, amt_login};
use crate::model::{
    AgentFacts, AmtAccess, Device, DomainId, Event, EventKind, LinkTarget, NodeId, Secret, Uuid,
};
use crate::store::RecordKey;

/// The UUID of the mainboard as the device reported it.
pub fn reported_uuid(device: &Device) -> Option<Uuid> {
    let (_, json) = device.extra.iter().find(|(name, _)| name == "intelamt")?;
    let amt: Value = serde_json::from_str(json).ok()?;
    amt.get("uuid").or_else(|| amt.get("UUID"))?.as_str()?.parse().ok()
}

/// The devices of a domain that have reported this UUID.
pub fn devices_with(hub: &Hub, domain: &DomainId, uuid: Uuid) -> Vec<Rc<Device>> {
    let text = uuid.to_string();
    // Reading the JSON of every device would take longer than a login.
    let mentions = |json: &str| json.to_ascii_lowercase().contains(&text);
    let devices = hub.store.devices(domain).into_iter();
    let named = devices.filter(|device| {
        device.extra.iter().any(|(name, json)| name == "intelamt" && mentions(json))
    });
    named.filter(|device| reported_uuid(device) == Some(uuid)).collect()
}

impl Hub {
    /// The agent of a device has said which computer it is on: if the firmware of that computer was
    /// made a device of its own, in the same group, both become one.
    pub fn merge_amt_device(&self, node: &NodeId) {
        let Some(device) = self.store.device(node) else { return };
        let Some(uuid) = reported_uuid(&device).filter(|uuid| !uuid.is_default()) else { return };
        let Some(double) = self.store.device(&uuid.node(node.domain.clone())) else { return };
        if !self.is_stand_in(&double) || double.group != device.group || double.id == device.id {
            return;
        }
        let claims = devices_with(self, &node.domain, uuid);
        let claims = claims.iter().filter(|other| other.id != double.id).count();
        if claims > 1 {
            log::warn!(
                "{claims} devices report the UUID {uuid}: it cannot be told whose Intel AMT calls"
            );
            return;
        }
        log::info!("Intel AMT device {} is {} ({node})", double.name, device.name);
        self.inherit_amt_login(&double.id, node);
        self.move_amt_tunnels(&double.id, node);
        self.amt_journal.borrow_mut().device_is(&double.id, node);
        let mut event = Event::new("removenode", node.domain.clone())
            .kind(EventKind::Node)
            .node(&double.id)
            .with("meshid", double.group.to_string())
            .transient();
        event.targets = self.device_targets(&double);
        self.store.remove(RecordKey::Device(double.id.clone())).later();
        self.publish(event);
        if let Some(tunnel) = self.amt_tunnels_of(node).outside() {
            self.connection_changed(node, tunnel.remote, self.now());
        }
    }

    /// Whether a device was made for firmware, never had an agent, and nobody was given a right on
    /// it: then nobody misses it.
    fn is_stand_in(&self, device: &Device) -> bool {
        let target = LinkTarget::Device(device.id.clone());
        let domain = &device.id.domain;
        device.agent.as_ref() == Some(&AgentFacts::default())
            && self.agent(&device.id).is_none()
            && self.store.users(domain).iter().all(|user| user.link(&target).is_none())
            && self.store.user_groups(domain).iter().all(|group| group.link(&target).is_none())
    }

    /// How the firmware is logged in to, and how it logs in here.
    fn inherit_amt_login(&self, from: &NodeId, to: &NodeId) {
        if let (Some(access), None) = (self.store.amt_access(from), self.store.amt_access(to)) {
            self.store.put(AmtAccess { node: to.clone(), ..(*access).clone() }).later();
        }
        let own = |node| amt_login::of_device(node);
        if let (Some(secret), None) = (self.store.secret(&own(from)), self.store.secret(&own(to))) {
            self.store.put(Secret { name: own(to), bytes: secret.bytes.clone() }).later();
            self.store.remove(RecordKey::Secret(own(from))).later();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, group_id, node_id};
    use super::super::{AmtTunnel, Carrier, Opening, TunnelKind};
    use super::*;
    use crate::model::{Millis, Rights, SiteRights};
    use std::cell::Cell;

    const UUID: &str = "4c4c4544-004b-4210-8033-b6c04f504633";

    #[derive(Default)]
    struct Wire(Cell<Option<&'static str>>);

    impl Carrier for Wire {
        fn open(&self, _: u16, _: bool) -> Opening {
            Box::pin(async { Err(std::io::ErrorKind::Unsupported.into()) })
        }
        fn ports(&self) -> Vec<u16> {
            vec![16992]
        }
        fn tell(&self, _: &Value) {}
        fn disconnect(&self, why: &'static str) {
            self.0.set(Some(why));
        }
    }

    fn reports(mut device: Device, uuid: &str) -> Device {
        device.extra.push(("intelamt".into(), format!(r#"{{"uuid":"{uuid}"}}"#)));
        device
    }

    /// Device `n` of group 1, whose agent has reported `uuid` and is not connected.
    fn with_agent(world: &World, n: u8, uuid: &str) {
        let device = Device::new(node_id(n), group_id(1), "pc", Millis(0));
        world.hub.store.put(reports(device, uuid)).later();
    }

    /// Group 1 with the firmware of [`UUID`] as a device of its own, connected since `since`.
    fn called(world: &World, since: u64) -> (NodeId, Rc<AmtTunnel>, Rc<Wire>) {
        let id = UUID.parse::<Uuid>().unwrap().node(world.domain());
        let mut device = Device::new(id.clone(), group_id(1), "198.51.100.7", Millis(0));
        device.agent = Some(AgentFacts::default());
        world.hub.store.put(reports(device, UUID)).later();
        let wire = Rc::new(Wire::default());
        let remote = ([198, 51, 100, 7], 4711).into();
        let tunnel =
            AmtTunnel::new(id.clone(), TunnelKind::Cira, Millis(since), remote, wire.clone());
        let tunnel = Rc::new(tunnel);
        assert!(world.hub.amt_tunnel_connected(tunnel.clone()).is_none());
        (id, tunnel, wire)
    }

    #[test]
    fn the_device_of_the_firmware_becomes_that_of_the_agent_without_ending_its_tunnel() {
        let world = World::new();
        world.group(1, "lab");
        let (double, tunnel, wire) = called(&world, 5);
        let access = AmtAccess::new(double.clone(), "admin", "P@ssw0rd1", false);
        world.hub.store.put(access).later();
        with_agent(&world, 3, &UUID.to_uppercase());
        world.hub.merge_amt_device(&node_id(3));
        assert!(world.hub.store.device(&double).is_none());
        assert!(world.hub.store.amt_access(&node_id(3)).is_some());
        assert_eq!((tunnel.node(), wire.0.get()), (node_id(3), None));
        let state = world.hub.connectivity(&node_id(3));
        assert_eq!((state.conn, state.cira_since), (2, Some(Millis(5))));
        assert!(world.hub.amt_tunnel_gone(&tunnel), "it is in its place");
        assert_eq!(world.hub.connectivity(&node_id(3)).conn, 0);
    }

    #[test]
    fn of_two_tunnels_the_newer_stays() {
        for (since, stays) in [(5, false), (15, true)] {
            let world = World::new();
            world.group(1, "lab");
            let (_, moved, wire) = called(&world, since);
            with_agent(&world, 3, UUID);
            let other = Rc::new(Wire::default());
            let there = AmtTunnel::new(
                node_id(3),
                TunnelKind::Cira,
                Millis(10),
                moved.remote,
                other.clone(),
            );
            world.hub.amt_tunnel_connected(Rc::new(there));
            world.hub.merge_amt_device(&node_id(3));
            assert_eq!((wire.0.get().is_none(), other.0.get().is_some()), (stays, stays));
            assert_eq!(world.hub.amt_tunnel_gone(&moved), stays);
        }
    }

    #[test]
    fn what_may_be_somebody_elses_stays_as_it_is() {
        type Change = fn(&World);
        let cases: [(&str, Change); 4] = [
            ("another group", |world| {
                world.group(2, "other");
                let mut device = (*world.hub.store.device(&node_id(3)).unwrap()).clone();
                device.group = group_id(2);
                world.hub.store.put(device).later();
            }),
            ("two agents say so", |world| with_agent(world, 4, UUID)),
            ("somebody has a right on it", |world| {
                world.user("bob", SiteRights::empty());
                let id = UUID.parse::<Uuid>().unwrap().node(world.domain());
                world.set_link("bob", LinkTarget::Device(id), Some(Rights::REMOTE_CONTROL));
            }),
            ("it had an agent", |world| {
                let id = UUID.parse::<Uuid>().unwrap().node(world.domain());
                let mut device = (*world.hub.store.device(&id).unwrap()).clone();
                device.agent = Some(AgentFacts { id: 6, ..AgentFacts::default() });
                world.hub.store.put(device).later();
            }),
        ];
        for (what, change) in cases {
            let world = World::new();
            world.group(1, "lab");
            let (double, tunnel, _) = called(&world, 5);
            with_agent(&world, 3, UUID);
            change(&world);
            world.hub.merge_amt_device(&node_id(3));
            assert!(world.hub.store.device(&double).is_some(), "{what}");
            assert_eq!(tunnel.node(), double, "{what}");
        }
    }
}
