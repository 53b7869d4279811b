//! Tunnels to Intel AMT: who has one, and streams through it to the ports of its firmware.
//!
//! The room that speaks APF registers tunnels here; rooms that speak with the firmware find them
//! here and get byte streams, without knowing how they are carried.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use futures_lite::io::{AsyncRead, AsyncWrite};
use serde_json::{Map, Value};

use super::{Hub, Mailbox, Weight};
use crate::model::{Millis, NodeId};

/// What carries the tunnel; the numbers are MeshCentral's `connType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TunnelKind {
    /// 0: the firmware itself called.
    Cira,
    /// 1: a program near it reaches it over the network.
    Relay,
    /// 2: a program on the same computer reaches it from within.
    Lms,
}

impl TunnelKind {
    /// In the order in which they are used.
    pub const ALL: [Self; 3] = [Self::Cira, Self::Relay, Self::Lms];

    /// From MeshCentral's number.
    pub fn from_number(n: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u64 == n)
    }
}

impl fmt::Display for TunnelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cira => "CIRA",
            Self::Relay => "Relay",
            Self::Lms => "LMS",
        })
    }
}

/// A byte stream to a port of the firmware. Closing it only ends our side; dropping it ends both.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> ByteStream for S {}

/// A stream that is being opened.
pub type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>>>>;

/// The tunnel itself, as its room keeps it.
pub trait Carrier {
    /// Opens a stream to a port of the firmware. Interactive ones go before others; at most one
    /// other is open at a time, as the firmware wants it.
    fn open(&self, port: u16, interactive: bool) -> Opening;
    /// The ports the firmware forwards.
    fn ports(&self) -> Vec<u16>;
    /// Says JSON to the program at the other end; firmware is told nothing.
    fn tell(&self, json: &Value);
    /// Ends the tunnel.
    fn disconnect(&self, why: &'static str);
}

/// What a program on the computer says beside the tunnel (JSON_CONTROL).
#[derive(Clone, Debug)]
pub struct Said(pub Map<String, Value>);

impl Weight for Said {
    fn weight(&self) -> usize {
        // Near enough: what it may hold is bounded by the message it came in.
        self.0.values().map(|value| value.to_string().len() + 64).sum()
    }
}

/// Bytes a program may say that nobody listens to.
const SAID_MAX: usize = 64 * 1024;

/// A tunnel that was let in.
pub struct AmtTunnel {
    node: RefCell<NodeId>,
    /// What carries it.
    pub kind: TunnelKind,
    /// Since when.
    pub since: Millis,
    /// Where it came from.
    pub remote: SocketAddr,
    /// The tunnel.
    pub carrier: Rc<dyn Carrier>,
    /// What a program on the computer says; closed when the tunnel has ended.
    pub said: Mailbox<Said>,
}

impl AmtTunnel {
    /// A tunnel to the firmware of `node`.
    pub fn new(
        node: NodeId,
        kind: TunnelKind,
        since: Millis,
        remote: SocketAddr,
        carrier: Rc<dyn Carrier>,
    ) -> Self {
        let said = Mailbox::new(SAID_MAX);
        Self { node: RefCell::new(node), kind, since, remote, carrier, said }
    }

    /// The device; another one from when its agent said which computer it is on.
    pub fn node(&self) -> NodeId {
        self.node.borrow().clone()
    }
}

/// All tunnels: at most one of each kind per device.
#[derive(Default)]
pub(super) struct AmtTunnels {
    by_device: BTreeMap<NodeId, OfDevice>,
    count: usize,
}

/// The tunnels of one device.
#[derive(Clone, Default)]
pub(super) struct OfDevice {
    pub(super) cira: Option<Rc<AmtTunnel>>,
    pub(super) relay: Option<Rc<AmtTunnel>>,
    lms: Option<Rc<AmtTunnel>>,
}

impl OfDevice {
    fn place(&mut self, kind: TunnelKind) -> &mut Option<Rc<AmtTunnel>> {
        match kind {
            TunnelKind::Cira => &mut self.cira,
            TunnelKind::Relay => &mut self.relay,
            TunnelKind::Lms => &mut self.lms,
        }
    }

    fn is_empty(&self) -> bool {
        self.cira.is_none() && self.relay.is_none() && self.lms.is_none()
    }

    /// One from outside the computer, if there is any: those count as connections.
    pub(super) fn outside(self) -> Option<Rc<AmtTunnel>> {
        self.cira.or(self.relay)
    }

    /// In the order in which they are used.
    fn in_order(self) -> impl Iterator<Item = Rc<AmtTunnel>> {
        [self.cira, self.relay, self.lms].into_iter().flatten()
    }
}

impl AmtTunnels {
    fn insert(&mut self, tunnel: Rc<AmtTunnel>) -> Option<Rc<AmtTunnel>> {
        let of_device = self.by_device.entry(tunnel.node()).or_default();
        let older = of_device.place(tunnel.kind).replace(tunnel);
        self.count += usize::from(older.is_none());
        older
    }

    fn remove(&mut self, tunnel: &Rc<AmtTunnel>) -> bool {
        let node = tunnel.node();
        let Some(of_device) = self.by_device.get_mut(&node) else { return false };
        let place = of_device.place(tunnel.kind);
        if !place.as_ref().is_some_and(|current| Rc::ptr_eq(current, tunnel)) {
            return false;
        }
        *place = None;
        self.count -= 1;
        if of_device.is_empty() {
            self.by_device.remove(&node);
        }
        true
    }
}

impl Hub {
    /// Registers a tunnel. Returns the one whose place it takes.
    pub fn amt_tunnel_connected(&self, tunnel: Rc<AmtTunnel>) -> Option<Rc<AmtTunnel>> {
        let older = self.amt_tunnels.borrow_mut().insert(tunnel);
        self.count_amt_tunnels();
        older
    }

    /// Calls `meet` with every tunnel from now on, as soon as it is in its place.
    pub fn watch_amt_tunnels(&self, meet: impl Fn(&Rc<AmtTunnel>) + 'static) {
        self.amt_watchers.borrow_mut().push(Rc::new(meet));
    }

    /// A tunnel is in its place, and everybody else knows.
    pub fn amt_tunnel_announced(&self, tunnel: &Rc<AmtTunnel>) {
        let watchers = self.amt_watchers.borrow().clone();
        watchers.iter().for_each(|meet| meet(tunnel));
    }

    /// Removes a tunnel, unless a newer one has taken its place. Returns whether it was in place.
    pub fn amt_tunnel_gone(&self, tunnel: &Rc<AmtTunnel>) -> bool {
        let was_in_place = self.amt_tunnels.borrow_mut().remove(tunnel);
        self.count_amt_tunnels();
        if self.amt_tunnels_of(&tunnel.node()).outside().is_none() {
            self.forget_amt_power(&tunnel.node());
        }
        was_in_place
    }

    fn count_amt_tunnels(&self) {
        let count = self.amt_tunnels.borrow().count;
        self.metrics.amt_tunnels.store(count as u64, Relaxed);
    }

    /// The tunnels of a device.
    pub(super) fn amt_tunnels_of(&self, node: &NodeId) -> OfDevice {
        self.amt_tunnels.borrow().by_device.get(node).cloned().unwrap_or_default()
    }

    /// The best tunnel through which a port of a device's firmware can be reached.
    pub fn amt_tunnel_to(&self, node: &NodeId, port: u16) -> Option<Rc<AmtTunnel>> {
        let mut tunnels = self.amt_tunnels_of(node).in_order();
        tunnels.find(|tunnel| tunnel.carrier.ports().contains(&port))
    }

    /// The tunnel of this kind of a device.
    pub fn amt_tunnel(&self, node: &NodeId, kind: TunnelKind) -> Option<Rc<AmtTunnel>> {
        self.amt_tunnels_of(node).place(kind).take()
    }

    /// Every tunnel.
    pub fn amt_tunnels(&self) -> Vec<Rc<AmtTunnel>> {
        let tunnels = self.amt_tunnels.borrow();
        tunnels.by_device.values().flat_map(|of_device| of_device.clone().in_order()).collect()
    }

    /// Ends the tunnels of a device that was removed or has moved away.
    pub fn end_amt_tunnels(&self, node: &NodeId, why: &'static str) {
        for tunnel in self.amt_tunnels_of(node).in_order() {
            tunnel.carrier.disconnect(why);
        }
    }

    /// Makes the tunnels of `from` those of `to`, without ending them: firmware that is sent away
    /// stays away for a while. Where both have one, the newer stays.
    pub(super) fn move_amt_tunnels(&self, from: &NodeId, to: &NodeId) {
        let Some(moving) = self.amt_tunnels.borrow_mut().by_device.remove(from) else { return };
        let mut replaced = Vec::new();
        for tunnel in moving.in_order() {
            let mut tunnels = self.amt_tunnels.borrow_mut();
            tunnels.count -= 1;
            *tunnel.node.borrow_mut() = to.clone();
            let place = tunnels.by_device.entry(to.clone()).or_default().place(tunnel.kind);
            match place {
                Some(there) if there.since > tunnel.since => replaced.push(tunnel),
                _ => replaced.extend(tunnels.insert(tunnel)),
            }
        }
        for tunnel in replaced {
            tunnel.carrier.disconnect("its computer has a newer tunnel");
        }
        self.count_amt_tunnels();
    }
}
