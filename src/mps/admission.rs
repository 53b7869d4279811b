//! Who is let in, and as which device.
//!
//! A computer names itself by its mainboard's UUID, which proves nothing; the password does. The
//! user name selects the group: the first 16 characters of its id. A known device keeps its group.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::machine::Login;
use super::throttle::Throttle;
use crate::hub::amt_login::{self, USER, masked, user_of};
use crate::hub::amt_merge::devices_with;
use crate::hub::{AmtTunnel, Hub, TunnelKind};
use crate::model::text::clamp;
use crate::model::{AgentFacts, Device, Event, EventKind, Group, GroupKind, NodeId, Uuid};

/// Changes of address after which one UUID is taken to be that of two computers.
const CLASHES: u32 = 3;
/// Time within which they count.
const CLASH_WINDOW: Duration = Duration::from_secs(600);
/// Devices whose changes of address are counted at most.
const CLASH_TABLE: usize = 1024;
/// Longest name of a device in characters.
const NAME_MAX: usize = 128;

/// What tunnels share.
pub struct Room {
    /// Records and connections.
    pub hub: Rc<Hub>,
    /// Addresses that failed to log in.
    pub throttle: Throttle,
    moves: RefCell<BTreeMap<NodeId, (u32, Instant)>>,
}

/// Why a login is refused; the peer is told nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Neither a group nor a device goes by this user name.
    UnknownUser,
    /// More than one group goes by it.
    AmbiguousUser,
    /// Not by password.
    Method,
    /// The password is none of those that are set.
    Password,
    /// The cookie of an agent is no longer good, or never was.
    Cookie,
    /// The group holds no computers with Intel AMT.
    GroupKind(u8),
    /// The UUID is one that many mainboards have.
    DefaultUuid,
    /// Several devices have reported this UUID.
    SeveralDevices(usize),
    /// The device is in a group of another kind.
    OtherGroup,
    /// The domain has as many devices as it may.
    DeviceLimit,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownUser => f.write_str("no device group goes by this user name"),
            Self::AmbiguousUser => f.write_str("several device groups go by this user name"),
            Self::Method => f.write_str("it did not log in by password"),
            Self::Password => f.write_str("wrong password"),
            Self::Cookie => f.write_str("its cookie is not, or no longer, good"),
            Self::GroupKind(kind) => {
                write!(f, "its group is of kind {kind} and holds no Intel AMT computers")
            }
            Self::DefaultUuid => f.write_str(
                "its UUID is one that many mainboards have: give it one of its own (in the BIOS)",
            ),
            Self::SeveralDevices(count) => {
                write!(f, "{count} devices have reported this UUID: it cannot be told which it is")
            }
            Self::OtherGroup => f.write_str("the device is known in a group of another kind"),
            Self::DeviceLimit => f.write_str("the domain has reached limits.maxDevices"),
        }
    }
}

impl Refusal {
    /// Whether it may have been a guess.
    pub fn is_guess(&self) -> bool {
        matches!(self, Self::UnknownUser | Self::Method | Self::Password | Self::Cookie)
    }
}

impl Room {
    /// The room of `hub`.
    pub fn new(hub: Rc<Hub>) -> Rc<Self> {
        Rc::new(Self { hub, throttle: Throttle::default(), moves: RefCell::default() })
    }

    /// Judges a login: the device it is let in as, which is made if need be.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, login: &Login, remote: SocketAddr) -> Result<NodeId, Refusal> {
        let given = login.password.as_deref().ok_or(Refusal::Method)?;
        if login.user == amt_login::AGENT_USER {
            return self.admit_agent(given);
        }
        let group = self.group_of(&login.user)?;
        let domain = group.domain();
        let device = match group.kind {
            GroupKind::Amt => self.hub.store.device(&login.uuid.node(domain.clone())),
            GroupKind::Agent => self.device_beside_agent(&group, login.uuid)?,
            GroupKind::Local | GroupKind::IpKvm => {
                return Err(Refusal::GroupKind(group.kind.mtype()));
            }
        };
        let node = device.as_ref().map(|device| &device.id);
        if !self.is_called(&group, login) && !amt_login::accepts(&self.hub, node, given) {
            return Err(Refusal::Password);
        }
        if login.uuid.is_default() {
            return Err(Refusal::DefaultUuid);
        }
        match device {
            Some(device) => Ok(device.id.clone()),
            None => self.enroll(&group, login, remote),
        }
    }

    /// Whether this is MeshCmd on a computer that a group activates: it knows nothing but the id of
    /// the group, of which 96 bits are its name and its password. That is what agents join by, too.
    fn is_called(&self, group: &Group, login: &Login) -> bool {
        let policy = self.hub.store.amt_policy(&group.id);
        login.kind == TunnelKind::Lms
            && login.password.as_deref() == Some(login.user.as_bytes())
            && policy.is_some_and(|policy| policy.kind != 0)
    }

    /// An agent's tunnel is that of its device, whatever UUID it says.
    fn admit_agent(&self, cookie: &[u8]) -> Result<NodeId, Refusal> {
        let node = amt_login::agent_node(&self.hub, cookie).ok_or(Refusal::Cookie)?;
        if self.hub.store.device(&node).is_some() { Ok(node) } else { Err(Refusal::Cookie) }
    }

    fn group_of(&self, user: &str) -> Result<Rc<Group>, Refusal> {
        let (wanted, hub) = (masked(user), &self.hub);
        if wanted.len() != USER {
            return Err(Refusal::UnknownUser);
        }
        let config = hub.config();
        let groups = config.domains.keys().flat_map(|domain| hub.store.groups(domain));
        let mut named = groups.filter(|group| user_of(group) == wanted);
        match (named.next(), named.next()) {
            (Some(group), None) => Ok(group),
            (Some(_), Some(_)) => Err(Refusal::AmbiguousUser),
            (None, _) => Err(Refusal::UnknownUser),
        }
    }

    /// The device whose agent has reported this UUID; if there is none, the one this computer was
    /// made itself before. Of several the one in `group`: an agent elsewhere may say what it likes.
    fn device_beside_agent(
        &self,
        group: &Group,
        uuid: Uuid,
    ) -> Result<Option<Rc<Device>>, Refusal> {
        let (hub, own) = (&self.hub, uuid.node(group.domain().clone()));
        let kind = |device: &Device| hub.store.group(&device.group).map(|group| group.kind);
        let reported = devices_with(hub, group.domain(), uuid);
        // The one that was made for the firmware gives way to one with an agent.
        let others = reported.iter().filter(|device| device.id != own);
        let mut with_agents: Vec<_> =
            others.filter(|device| kind(device) == Some(GroupKind::Agent)).collect();
        if with_agents.len() > 1 && with_agents.iter().any(|device| device.group == group.id) {
            with_agents.retain(|device| device.group == group.id);
        }
        match with_agents.as_slice() {
            [] => {}
            [device] => return Ok(Some((**device).clone())),
            several => return Err(Refusal::SeveralDevices(several.len())),
        }
        match hub.store.device(&own) {
            Some(device) if kind(&device) == Some(GroupKind::Agent) => Ok(Some(device)),
            Some(_) => Err(Refusal::OtherGroup),
            None if !reported.is_empty() => Err(Refusal::OtherGroup),
            None => Ok(None),
        }
    }

    fn enroll(&self, group: &Group, login: &Login, remote: SocketAddr) -> Result<NodeId, Refusal> {
        let (hub, domain) = (&self.hub, group.domain());
        let config = hub.config();
        let count = || hub.store.devices(domain).len();
        if config.domain(domain).max_devices.is_some_and(|max| count() >= max) {
            return Err(Refusal::DeviceLimit);
        }
        let reported = |name: &str| login.mei.as_ref().and_then(|mei| mei.get(name));
        let address = remote.ip().to_canonical().to_string();
        let host = reported("OsHostname").and_then(Value::as_str).map(|name| clamp(name, NAME_MAX));
        let name = host.filter(|name| !name.is_empty()).unwrap_or_else(|| address.clone());
        let id = login.uuid.node(domain.clone());
        let mut device = Device::new(id.clone(), group.id.clone(), &name, hub.now());
        device.host = Some(address.clone());
        device.ip = Some(address);
        if reported("isBatteryPowered") == Some(&Value::Bool(true)) {
            device.icon = 2;
        }
        if group.kind == GroupKind::Agent {
            device.agent = Some(AgentFacts::default());
        }
        let amt = json!({
            "uuid": login.uuid.to_string(), "user": "", "pass": "", "tls": 0, "state": 2,
        });
        device.extra.push(("intelamt".into(), amt.to_string()));
        let mut event = Event::new("addnode", domain.clone())
            .kind(EventKind::Node)
            .node(&id)
            .with("node", hub.device_document(&device))
            .with("msgid", 84)
            .with("msgArgs", vec![device.name.clone(), group.name.clone()])
            .with("msg", format!("Added CIRA device {} to group {}", device.name, group.name));
        event.targets = hub.device_targets(&device);
        log::info!("new Intel AMT device {} ({id}) in group {}", device.name, group.name);
        hub.store.put(device).later();
        hub.publish(event);
        Ok(id)
    }

    /// Puts a tunnel into its place and tells everybody; the tunnel that was there before is ended,
    /// and nobody hears of that. Returns a remark for the journal.
    pub fn announce(&self, link: &Rc<AmtTunnel>, now: Instant) -> Option<String> {
        let hub = &self.hub;
        let Some(older) = hub.amt_tunnel_connected(link.clone()) else {
            if link.kind != TunnelKind::Lms {
                hub.connection_changed(&link.node(), link.remote, link.since);
            }
            return None;
        };
        older.carrier.disconnect("a newer tunnel of the same computer took its place");
        let (before, after) = (older.remote.ip(), link.remote.ip());
        if before == after {
            return Some("took the place of an older tunnel".into());
        }
        self.moved(&link.node(), before, after, now)
    }

    /// One UUID from several addresses, again and again, is two computers.
    fn moved(&self, node: &NodeId, from: IpAddr, to: IpAddr, now: Instant) -> Option<String> {
        let mut moves = self.moves.borrow_mut();
        moves.retain(|_, (_, since)| now.duration_since(*since) < CLASH_WINDOW);
        if moves.len() >= CLASH_TABLE && !moves.contains_key(node) {
            return None;
        }
        let (count, _) = moves.entry(node.clone()).or_insert((0, now));
        *count = count.saturating_add(1);
        if *count < CLASHES {
            return Some(format!("took the place of a tunnel from {from}"));
        }
        let text = format!("two computers have this UUID: one at {from}, one at {to}");
        if *count == CLASHES {
            log::warn!("Intel AMT device {node}: {text}");
        }
        Some(text)
    }

    /// A tunnel has ended. Says so if it was in its place.
    pub fn leave(&self, link: &Rc<AmtTunnel>) {
        let hub = &self.hub;
        if hub.amt_tunnel_gone(link) && link.kind != TunnelKind::Lms {
            hub.connection_changed(&link.node(), link.remote, hub.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    use crate::config::Config;
    use crate::hub::{Carrier, Opening};
    use crate::model::{AmtPolicy, DomainId, GroupId, Key48, Millis};
    use crate::store::Store;

    const UUID: &str = "4c4c4544-004b-4210-8033-b6c04f504633";
    const PASSWORD: &str = "P@ssw0rd1";

    fn remote() -> SocketAddr {
        ([198, 51, 100, 7], 4711).into()
    }

    fn group_id(n: u8) -> GroupId {
        GroupId::new(DomainId::default(), Key48([n; 48]))
    }

    /// Groups 1 (Intel AMT), 2 (agents), 3 (local).
    fn room() -> Rc<Room> {
        let mut config = Config::default();
        config.settings.mps_pass = Some(PASSWORD.into());
        let hub = Hub::new(Store::in_memory(), config, Millis(0));
        for (n, kind) in [(1, GroupKind::Amt), (2, GroupKind::Agent), (3, GroupKind::Local)] {
            hub.store.put(Group::new(group_id(n), "lab", kind, Millis(0))).later();
        }
        Room::new(hub)
    }

    fn login(group: u8, uuid: &str) -> Login {
        let key = Key48([group; 48]).text();
        Login {
            uuid: uuid.parse().unwrap(),
            kind: TunnelKind::Cira,
            user: key[..USER].to_owned(),
            password: Some(PASSWORD.into()),
            mei: None,
        }
    }

    fn with_agent(room: &Room, n: u8, group: u8, uuid: &str) -> NodeId {
        let id = NodeId::new(DomainId::default(), Key48([n; 48]));
        let mut device = Device::new(id.clone(), group_id(group), "vm", Millis(0));
        device.extra.push(("intelamt".into(), json!({"ver": "16", "uuid": uuid}).to_string()));
        room.hub.store.put(device).later();
        id
    }

    #[test]
    fn an_unknown_computer_joins_the_group_whose_name_and_password_it_brings() {
        let room = room();
        let node = room.admit(&login(1, UUID), remote()).unwrap();
        assert_eq!(node, UUID.parse::<Uuid>().unwrap().node(DomainId::default()));
        let device = room.hub.store.device(&node).unwrap();
        assert_eq!((&device.group, device.name.as_str()), (&group_id(1), "198.51.100.7"));
        // It stays there when it comes again, also with the name of another group.
        assert_eq!(room.admit(&login(1, UUID), remote()), Ok(node));
        assert_eq!(room.hub.store.device_count(), 1);
    }

    #[test]
    fn meshcmd_needs_no_password_where_a_group_activates_its_computers() {
        let room = room();
        let mut login = Login { kind: TunnelKind::Lms, ..login(1, UUID) };
        login.password = Some(login.user.clone().into_bytes());
        assert_eq!(room.admit(&login, remote()), Err(Refusal::Password), "it activates nothing");
        let policy = |kind| AmtPolicy {
            group: group_id(1),
            kind,
            password: None,
            bad_password: 0,
            cira: 0,
            client_mode: 0,
        };
        room.hub.store.put(policy(0)).later();
        assert_eq!(room.admit(&login, remote()), Err(Refusal::Password));
        room.hub.store.put(policy(3)).later();
        for kind in [TunnelKind::Cira, TunnelKind::Relay] {
            let other = Login { kind, ..login.clone() };
            assert_eq!(room.admit(&other, remote()), Err(Refusal::Password), "{kind}");
        }
        assert!(room.admit(&login, remote()).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_refused_and_makes_no_device() {
        let room = room();
        let second = Group::new(group_id(4), "second", GroupKind::Agent, Millis(0));
        room.hub.store.put(second).later();
        with_agent(&room, 8, 2, "11111111-2222-3333-4444-555555555501");
        with_agent(&room, 11, 4, "11111111-2222-3333-4444-555555555501");
        with_agent(&room, 9, 2, "11111111-2222-3333-4444-555555555501");
        with_agent(&room, 10, 3, "11111111-2222-3333-4444-555555555502");
        let count = room.hub.store.device_count();
        let changed = |change: &dyn Fn(&mut Login)| {
            let mut login = login(1, UUID);
            change(&mut login);
            login
        };
        for (login, refusal) in [
            (changed(&|l| l.password = None), Refusal::Method),
            (changed(&|l| l.password = Some(b"wrong".to_vec())), Refusal::Password),
            (changed(&|l| l.password = Some(Vec::new())), Refusal::Password),
            (changed(&|l| l.user = "x".repeat(USER)), Refusal::UnknownUser),
            (changed(&|l| l.user.truncate(USER - 1)), Refusal::UnknownUser),
            (changed(&|l| l.user = amt_login::AGENT_USER.into()), Refusal::Cookie),
            (login(3, UUID), Refusal::GroupKind(3)),
            (login(1, "03000200-0400-0500-0006-000700080009"), Refusal::DefaultUuid),
            (login(2, "11111111-2222-3333-4444-555555555501"), Refusal::SeveralDevices(2)),
            (login(2, "11111111-2222-3333-4444-555555555502"), Refusal::OtherGroup),
        ] {
            assert_eq!(room.admit(&login, remote()), Err(refusal), "{login:?}");
        }
        assert_eq!(room.hub.store.device_count(), count);
    }

    #[test]
    fn a_device_known_through_its_agent_is_the_same_device() {
        let room = room();
        let node = with_agent(&room, 9, 2, &UUID.to_uppercase());
        assert_eq!(room.admit(&login(2, UUID), remote()), Ok(node));
        assert_eq!(room.hub.store.device_count(), 1);
        let other = "11111111-2222-3333-4444-555555555501";
        let made = room.admit(&login(2, other), remote()).unwrap();
        assert!(room.hub.store.device(&made).unwrap().agent.is_some());
    }

    #[test]
    fn an_agent_elsewhere_cannot_draw_the_firmware_of_another_group_to_itself() {
        let room = room();
        let second = Group::new(group_id(4), "second", GroupKind::Agent, Millis(0));
        room.hub.store.put(second).later();
        let node = with_agent(&room, 9, 2, UUID);
        with_agent(&room, 10, 4, UUID);
        assert_eq!(room.admit(&login(2, UUID), remote()), Ok(node));
    }

    #[test]
    fn an_agents_cookie_binds_its_tunnel_to_its_device() {
        let room = room();
        let node = with_agent(&room, 9, 2, UUID);
        use crate::identity::cookie::{CookieKey, LOGIN_KEY};
        room.hub.store.put(CookieKey::fresh_secret(LOGIN_KEY).unwrap()).later();
        let cookie = amt_login::agent_cookie(&room.hub, &node, &group_id(2)).unwrap();
        let mut login = login(2, "11111111-2222-3333-4444-555555555501");
        login.user = amt_login::AGENT_USER.into();
        login.password = Some(cookie.into_bytes());
        assert_eq!(room.admit(&login, remote()), Ok(node));
    }

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

    fn link(room: &Room, node: &NodeId, kind: TunnelKind, from: u8) -> (Rc<AmtTunnel>, Rc<Wire>) {
        let wire = Rc::new(Wire::default());
        let remote = ([198, 51, 100, from], 4711).into();
        let link = AmtTunnel::new(node.clone(), kind, room.hub.now(), remote, wire.clone());
        let link = Rc::new(link);
        (link, wire)
    }

    #[test]
    fn the_newer_tunnel_wins_and_the_late_end_of_the_older_changes_nothing() {
        let room = room();
        let node = room.admit(&login(1, UUID), remote()).unwrap();
        let (older, wire) = link(&room, &node, TunnelKind::Cira, 7);
        assert_eq!(room.announce(&older, Instant::now()), None);
        let (newer, _) = link(&room, &node, TunnelKind::Cira, 7);
        assert!(room.announce(&newer, Instant::now()).is_some());
        assert!(wire.0.take().is_some(), "the older one is ended");
        room.leave(&older);
        let state = room.hub.connectivity(&node);
        assert_eq!((state.conn, state.power, state.cira_since), (2, 7, Some(newer.since)));
        assert_eq!(room.hub.amt_tunnel_to(&node, 16992).map(|t| t.kind), Some(TunnelKind::Cira));
        assert!(room.hub.amt_tunnel_to(&node, 16994).is_none());
        room.leave(&newer);
        assert_eq!(room.hub.connectivity(&node).conn, 0);
    }

    #[test]
    fn relays_have_a_bit_of_their_own_and_tunnels_from_within_have_none() {
        let room = room();
        let node = room.admit(&login(1, UUID), remote()).unwrap();
        for (kind, conn, power) in [(TunnelKind::Relay, 8, 0), (TunnelKind::Lms, 0, 0)] {
            let (tunnel, _) = link(&room, &node, kind, 7);
            room.announce(&tunnel, Instant::now());
            let state = room.hub.connectivity(&node);
            assert_eq!((state.conn, state.power), (conn, power), "{kind}");
            room.leave(&tunnel);
        }
    }

    #[test]
    fn one_uuid_at_two_addresses_by_turns_is_reported() {
        let room = room();
        let node = room.admit(&login(1, UUID), remote()).unwrap();
        let now = Instant::now();
        let remarks: Vec<_> = (0..5u8)
            .map(|n| room.announce(&link(&room, &node, TunnelKind::Cira, 7 + n % 2).0, now))
            .map(|remark| remark.unwrap_or_default().starts_with("two computers"))
            .collect();
        assert_eq!(remarks, [false, false, false, true, true]);
    }
}
