//! Who may come in, and what the server knows of it afterwards.
//!
//! An agent that is not wanted is *held*: its socket stays open and pings are answered, because an
//! agent whose connection is closed after it identified itself comes back at once, for ever.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::config::Reach;
use crate::hub::held::HeldCause;
use crate::hub::{AGENT_MAILBOX, AgentLink, Hub, Mailbox};
use crate::model::{
    AgentFacts, Device, DomainId, Event, EventKind, Group, GroupId, GroupKind, Millis, NodeId,
};
use crate::store::RecordKey;

use super::auth::Identified;
use super::wire::caps;

/// Disconnects within [`FLAP_WINDOW`] after which an agent's core is cleared.
const FLAPS_CLEAR: u8 = 4;
/// Disconnects after which an agent is held.
const FLAPS_HOLD: u8 = 6;
/// Milliseconds after which the counters start anew.
const FLAP_WINDOW: u64 = 120_000;
/// Devices whose disconnects are counted at most.
const FLAP_TABLE: usize = 4096;

/// An agent that came in.
pub struct Admitted {
    /// Its place in the hub.
    pub link: Rc<AgentLink>,
    /// Forget the device when it disconnects.
    pub ephemeral: bool,
    /// Clear its core first: it crashes or flaps.
    pub clear_core: bool,
    /// True for recovery agents, which have no device record.
    pub recovery: bool,
}

/// The table of agents that disconnect too often.
#[derive(Default)]
pub struct Flapping {
    window: Cell<u64>,
    counts: RefCell<BTreeMap<NodeId, u8>>,
}

impl Flapping {
    fn count(&self, node: &NodeId, now: Millis) -> u8 {
        self.roll(now);
        self.counts.borrow().get(node).copied().unwrap_or(0)
    }

    fn disconnected(&self, node: &NodeId, now: Millis) {
        self.roll(now);
        let mut counts = self.counts.borrow_mut();
        if let Some(count) = counts.get_mut(node) {
            *count = count.saturating_add(1);
        } else if counts.len() < FLAP_TABLE {
            counts.insert(node.clone(), 1);
        }
    }

    fn roll(&self, now: Millis) {
        let window = now.0 / FLAP_WINDOW;
        if self.window.replace(window) != window {
            self.counts.borrow_mut().clear();
        }
    }
}

/// Silent connections of one device, whose place a newer one has taken. Whole rooms of machines are
/// cloned with their agent; one more than this is closed and fights for its place.
const SILENCED: u8 = 64;

/// Older connections that are kept open without a word: the clones of a machine.
#[derive(Default)]
pub struct Silenced(RefCell<BTreeMap<NodeId, u8>>);

/// One of them; it counts until it is dropped.
pub struct Silence {
    counts: Rc<Silenced>,
    node: NodeId,
}

impl Silenced {
    /// Takes a connection in; `None` if the device has [`SILENCED`] of them: whoever
    /// authenticates again and again must not pile them up.
    pub fn enter(self: &Rc<Self>, node: &NodeId) -> Option<Silence> {
        let mut counts = self.0.borrow_mut();
        let count = counts.entry(node.clone()).or_insert(0);
        if *count >= SILENCED {
            return None;
        }
        *count += 1;
        Some(Silence { counts: self.clone(), node: node.clone() })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let mut counts = self.counts.0.borrow_mut();
        if let Some(count) = counts.get_mut(&self.node) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.node);
            }
        }
    }
}

/// The domain of an agent that found this server on the local network, which is told of no domain:
/// that of its group, if it is another one than that of the URL and takes agents without a key.
pub fn found_domain(hub: &Hub, domain: &DomainId, who: &Identified) -> Option<DomainId> {
    let config = hub.config();
    let is_at = |domain: &DomainId| {
        let device = hub.store.device(&NodeId::new(domain.clone(), who.key));
        device.is_some() || hub.store.group(&GroupId::new(domain.clone(), who.group)).is_some()
    };
    if config.settings.reach != Reach::Lan || is_at(domain) {
        return None;
    }
    let is_open = |other: &&DomainId| config.domain(other).agent_keys.is_empty();
    config.domains.keys().filter(is_open).find(|other| is_at(other)).cloned()
}

/// Decides about an authenticated agent; registers it with the hub and the store if it may come in.
pub fn admit(
    hub: &Hub,
    flapping: &Flapping,
    domain: &DomainId,
    who: &Identified,
    remote: SocketAddr,
) -> Result<Admitted, HeldCause> {
    if who.key.0.starts_with(&[0; 4]) {
        return Err(HeldCause::InvalidKey);
    }
    let node = NodeId::new(domain.clone(), who.key);
    let now = hub.now();
    let limits = hub.config();
    let limits = limits.domain(domain);
    let reconnects = hub.agent(&node).is_some();
    let sessions = || hub.agents().iter().filter(|a| a.node.domain == *domain).count();
    if !reconnects && limits.max_agent_sessions.is_some_and(|max| sessions() >= max) {
        return Err(HeldCause::SessionLimit);
    }
    let flaps = flapping.count(&node, now);
    if flaps > FLAPS_HOLD {
        return Err(HeldCause::Flapping);
    }
    let recovery = who.caps & caps::RECOVERY != 0;
    let mut ephemeral = who.caps & caps::TEMPORARY != 0;
    if !recovery {
        let group = match hub.store.device(&node) {
            Some(device) => {
                let group = group_for_agents(hub, &device.group)?;
                refresh(hub, &device, &group, who, remote);
                group
            }
            None => {
                let devices = || hub.store.devices(domain).len();
                let group = group_for_agents(hub, &GroupId::new(domain.clone(), who.group))?;
                if limits.max_devices.is_some_and(|max| devices() >= max) {
                    return Err(HeldCause::DeviceLimit);
                }
                enroll(hub, node.clone(), &group, who, remote);
                group
            }
        };
        ephemeral |= group.flags & Group::EPHEMERAL != 0;
    }
    hub.held.came_in(&node, remote.ip());
    let link = Rc::new(AgentLink {
        node: node.clone(),
        agent_id: who.agent_id,
        remote,
        since: now,
        sessions: RefCell::default(),
        mailbox: Mailbox::new(AGENT_MAILBOX),
    });
    if recovery {
        // Not registered: it stands beside the agent it is to mend.
        return Ok(Admitted { link, ephemeral: false, clear_core: false, recovery });
    }
    match hub.agent_connected(link.clone()) {
        // The older connection is told nothing and not closed: two clones of a machine would
        // otherwise throw each other out without end.
        Some(older) => older.mailbox.close(),
        None => hub.connection_changed(&node, remote, now),
    }
    Ok(Admitted { link, ephemeral, clear_core: flaps > FLAPS_CLEAR, recovery })
}

/// The agent's connection ended.
pub fn leave(hub: &Hub, flapping: &Flapping, admitted: &Admitted) {
    if admitted.recovery || !hub.agent_gone(&admitted.link) {
        return;
    }
    let (node, now) = (&admitted.link.node, hub.now());
    flapping.disconnected(node, now);
    hub.connection_changed(node, admitted.link.remote, now);
    if admitted.ephemeral
        && let Some(device) = hub.store.device(node)
    {
        remove(hub, &device);
    }
}

/// The group an agent may be in. A deleted one revives: its agents are still out there.
fn group_for_agents(hub: &Hub, id: &GroupId) -> Result<Rc<Group>, HeldCause> {
    let group = hub.store.group(id).ok_or(HeldCause::UnknownGroup)?;
    if group.kind != GroupKind::Agent {
        return Err(HeldCause::WrongGroupKind);
    }
    if group.deleted.is_none() {
        return Ok(group);
    }
    let revived = Group { deleted: None, ..Group::clone(&group) };
    log::warn!("device group {} was deleted, but its agents return: it is back", revived.name);
    let event = Event::new("createmesh", id.domain.clone())
        .kind(EventKind::Mesh)
        .with("meshid", id.to_string())
        .with("mesh", hub.group_document(&revived))
        .with("name", revived.name.clone())
        .with("msg", format!("Device group undeleted: {}", revived.name))
        .to(crate::model::Target::All)
        .to(crate::model::Target::Group(id.clone()));
    hub.store.put(revived.clone()).later();
    hub.publish(event);
    Ok(Rc::new(revived))
}

/// A device seen for the first time.
fn enroll(hub: &Hub, id: NodeId, group: &Group, who: &Identified, remote: SocketAddr) {
    let name = who.agent_name.as_ref().unwrap_or(&who.host_name);
    let name = if name.is_empty() { "unnamed" } else { name };
    let mut device = Device::new(id, group.id.clone(), name, hub.now());
    device.icon = who.platform;
    take_over(&mut device, who, remote);
    let mut event = Event::new("addnode", device.id.domain.clone())
        .kind(EventKind::Node)
        .with("node", hub.device_document(&device))
        .with("msgid", 57)
        .with("msgArgs", vec![device.name.clone(), group.name.clone()])
        .with("msg", format!("Added device {} to device group {}", device.name, group.name));
    event.targets = hub.device_targets(&device);
    event = event.node(&device.id);
    log::info!("new device {} ({}) in group {}", device.name, device.id, group.name);
    // Not awaited: should a crash lose it within the next seconds, the agent enrolls again when it
    // reconnects, under the same id.
    hub.store.put(device).later();
    hub.publish(event);
}

/// A known device reports what it is; written only if something differs.
fn refresh(hub: &Hub, old: &Device, group: &Group, who: &Identified, remote: SocketAddr) {
    let mut device = old.clone();
    take_over(&mut device, who, remote);
    if group.flags & Group::SYNC_NAME != 0 {
        let agent_name = who.agent_name.as_ref();
        let preferred = agent_name.filter(|_| group.flags & Group::PREFER_AGENT_NAME != 0);
        let name = preferred.unwrap_or(&who.host_name);
        if !name.is_empty() {
            device.name = name.clone();
        }
    }
    if device == *old {
        return;
    }
    let mut event = Event::new("changenode", device.id.domain.clone())
        .kind(EventKind::Node)
        .node(&device.id)
        .with("node", hub.device_document(&device))
        .transient();
    event.targets = hub.device_targets(&device);
    hub.store.put(device).later();
    hub.publish(event);
}

fn take_over(device: &mut Device, who: &Identified, remote: SocketAddr) {
    device.host_name = who.host_name.clone();
    device.ip = Some(remote.ip().to_canonical().to_string());
    let agent = device.agent.get_or_insert_with(AgentFacts::default);
    agent.id = who.agent_id;
    agent.version = who.version;
    let own = caps::CONSOLE | caps::CORE;
    agent.caps = (agent.caps & !own) | (who.caps & own);
}

/// Forgets a device that was to be forgotten.
fn remove(hub: &Hub, device: &Device) {
    let mut event = Event::new("removenode", device.id.domain.clone())
        .kind(EventKind::Node)
        .node(&device.id)
        .with("meshid", device.group.to_string())
        .transient();
    event.targets = hub.device_targets(device);
    hub.store.remove(RecordKey::Device(device.id.clone())).later();
    hub.publish(event);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::model::Key48;
    use crate::store::Store;

    const REMOTE: &str = "198.51.100.7:4711";

    fn who(node: u8, group: u8) -> Identified {
        Identified {
            key: Key48([node; 48]),
            agent_id: 6,
            version: 0,
            platform: 4,
            group: Key48([group; 48]),
            caps: 0x118,
            host_name: format!("host{node}"),
            agent_name: None,
            commit_date: None,
        }
    }

    fn group_id(n: u8) -> GroupId {
        GroupId::new(DomainId::default(), Key48([n; 48]))
    }

    struct House {
        hub: Rc<Hub>,
        flapping: Flapping,
    }

    impl House {
        fn new(change: impl FnOnce(&mut Config)) -> Self {
            let mut config = Config::default();
            change(&mut config);
            let hub = Hub::new(Store::in_memory(), config, Millis(0));
            hub.store.put(Group::new(group_id(1), "lab", GroupKind::Agent, Millis(0))).later();
            hub.store.put(Group::new(group_id(2), "amt", GroupKind::Amt, Millis(0))).later();
            Self { hub, flapping: Flapping::default() }
        }

        fn admit(&self, who: &Identified) -> Result<Admitted, HeldCause> {
            let remote = REMOTE.parse().unwrap();
            admit(&self.hub, &self.flapping, &DomainId::default(), who, remote)
        }

        fn device(&self, n: u8) -> Option<Rc<Device>> {
            self.hub.store.device(&NodeId::new(DomainId::default(), Key48([n; 48])))
        }
    }

    #[test]
    fn a_new_agent_of_a_known_group_becomes_a_device() {
        let house = House::new(|_| {});
        let admitted = house.admit(&who(9, 1)).ok().unwrap();
        let device = house.device(9).unwrap();
        assert_eq!((device.name.as_str(), device.icon), ("host9", 4));
        assert_eq!(device.agent.as_ref().unwrap().caps, 0x18);
        assert_eq!(house.hub.connectivity(&device.id).conn, 1);
        leave(&house.hub, &house.flapping, &admitted);
        assert_eq!(house.hub.connectivity(&device.id).conn, 0);
        assert!(house.device(9).is_some());
        assert_eq!(house.hub.store.last_seen(&device.id).unwrap().addr, REMOTE);
    }

    #[test]
    fn whoever_has_no_place_is_held() {
        let house = House::new(|c| {
            let domain = c.domains.get_mut(&DomainId::default()).unwrap();
            domain.max_devices = Some(2);
            domain.max_agent_sessions = Some(2);
        });
        assert_eq!(house.admit(&who(9, 77)).err(), Some(HeldCause::UnknownGroup));
        assert_eq!(house.admit(&who(9, 2)).err(), Some(HeldCause::WrongGroupKind));
        assert_eq!(house.admit(&who(0, 1)).err(), Some(HeldCause::InvalidKey));
        let first = house.admit(&who(10, 1)).ok().unwrap();
        house.admit(&who(11, 1)).ok().unwrap();
        assert_eq!(house.admit(&who(12, 1)).err(), Some(HeldCause::SessionLimit));
        leave(&house.hub, &house.flapping, &first);
        assert_eq!(house.admit(&who(12, 1)).err(), Some(HeldCause::DeviceLimit));
        assert!(house.device(12).is_none());
        assert!(house.admit(&who(10, 1)).is_ok(), "a known device is no new device");
    }

    #[test]
    fn on_a_local_network_the_group_tells_the_domain() {
        let customer: DomainId = DomainId::new("customer").unwrap();
        for (reach, key, found) in [
            (Reach::Lan, None, Some(&customer)),
            (Reach::Lan, Some("key"), None),
            (Reach::Hybrid, None, None),
        ] {
            let house = House::new(|config| {
                config.settings.reach = reach;
                let domain = config.domains.entry(customer.clone()).or_default();
                domain.agent_keys.extend(key.map(str::to_owned));
            });
            let group = GroupId::new(customer.clone(), Key48([3; 48]));
            house.hub.store.put(Group::new(group, "lab", GroupKind::Agent, Millis(0))).later();
            let of = |group| found_domain(&house.hub, &DomainId::default(), &who(9, group));
            assert_eq!(of(3).as_ref(), found, "{reach:?} {key:?}");
            assert_eq!(of(1), None, "it is in the domain it asked for");
            assert_eq!(of(77), None, "nobody knows this group");
        }
    }

    #[test]
    fn the_stored_group_wins_over_the_one_an_agent_names() {
        let house = House::new(|_| {});
        house.admit(&who(9, 1)).ok().unwrap();
        house.admit(&who(9, 77)).ok().unwrap();
        assert_eq!(house.device(9).unwrap().group, group_id(1));
    }

    #[test]
    fn a_deleted_group_revives_with_its_first_agent() {
        let house = House::new(|_| {});
        let mut group = Group::clone(&house.hub.store.group(&group_id(1)).unwrap());
        group.deleted = Some(Millis(5));
        house.hub.store.put(group).later();
        house.admit(&who(9, 1)).ok().unwrap();
        assert_eq!(house.hub.store.group(&group_id(1)).unwrap().deleted, None);
    }

    #[test]
    fn a_clone_takes_the_place_and_the_older_connection_is_only_forgotten() {
        let house = House::new(|_| {});
        let older = house.admit(&who(9, 1)).ok().unwrap();
        let newer = house.admit(&who(9, 1)).ok().unwrap();
        assert!(older.link.mailbox.is_closed());
        leave(&house.hub, &house.flapping, &older);
        assert_eq!(house.hub.connectivity(&newer.link.node).conn, 1);
    }

    #[test]
    fn silent_clones_of_a_device_are_counted() {
        let silenced = Rc::new(Silenced::default());
        let node = NodeId::new(DomainId::default(), Key48([9; 48]));
        let mut held: Vec<_> = (0..SILENCED).map(|_| silenced.enter(&node).unwrap()).collect();
        assert!(silenced.enter(&node).is_none());
        held.pop();
        assert!(silenced.enter(&node).is_some());
        held.clear();
        assert!(silenced.0.borrow().is_empty());
    }

    #[test]
    fn flapping_agents_lose_their_core_and_then_their_turn() {
        let house = House::new(|_| {});
        for disconnects in 0..=FLAPS_HOLD {
            let admitted = house.admit(&who(9, 1)).ok().unwrap();
            assert_eq!(admitted.clear_core, disconnects > FLAPS_CLEAR, "{disconnects}");
            leave(&house.hub, &house.flapping, &admitted);
        }
        assert_eq!(house.admit(&who(9, 1)).err(), Some(HeldCause::Flapping));
        let later = Millis(house.hub.now().0 + FLAP_WINDOW);
        let node = NodeId::new(DomainId::default(), Key48([9; 48]));
        assert_eq!(house.flapping.count(&node, later), 0, "a new window begins");
    }

    #[test]
    fn temporary_agents_and_ephemeral_groups_leave_nothing_behind() {
        let house = House::new(|_| {});
        let temporary = Identified { caps: 0x138, ..who(9, 1) };
        let admitted = house.admit(&temporary).ok().unwrap();
        assert!(house.device(9).is_some());
        leave(&house.hub, &house.flapping, &admitted);
        assert!(house.device(9).is_none());

        let mut group = Group::clone(&house.hub.store.group(&group_id(1)).unwrap());
        group.flags = Group::EPHEMERAL;
        house.hub.store.put(group).later();
        let admitted = house.admit(&who(10, 1)).ok().unwrap();
        leave(&house.hub, &house.flapping, &admitted);
        assert!(house.device(10).is_none());
    }

    #[test]
    fn recovery_agents_have_no_record() {
        let house = House::new(|_| {});
        let recovery = Identified { caps: 0x158, ..who(9, 1) };
        assert!(house.admit(&recovery).ok().unwrap().recovery);
        assert!(house.device(9).is_none());
        assert_eq!(house.hub.agent_count(), 0);
    }

    #[test]
    fn names_follow_the_host_only_in_groups_that_say_so() {
        let house = House::new(|_| {});
        house.admit(&who(9, 1)).ok().unwrap();
        let renamed =
            Identified { host_name: "new".into(), agent_name: Some("nick".into()), ..who(9, 1) };
        for (flags, name) in
            [(0, "host9"), (Group::SYNC_NAME, "new"), (Group::SYNC_NAME | 8, "nick")]
        {
            let mut group = Group::clone(&house.hub.store.group(&group_id(1)).unwrap());
            group.flags = flags;
            house.hub.store.put(group).later();
            house.admit(&renamed).ok().unwrap();
            let device = house.device(9).unwrap();
            assert_eq!((device.name.as_str(), device.host_name.as_str()), (name, "new"));
        }
    }
}
