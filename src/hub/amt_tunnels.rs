//! Tunnels to Intel AMT: who has one, and streams through it to the ports of its firmware.
//!
//! The room that speaks APF registers tunnels here; rooms that speak with the firmware find them
//! here and get byte streams, without knowing how they are carried.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use futures_lite::io::{AsyncRead, AsyncWrite};
use serde_json::Value;

use super::Hub;
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

/// A tunnel that was let in.
pub struct AmtTunnel {
    /// The device.
    pub node: NodeId,
    /// What carries it.
    pub kind: TunnelKind,
    /// Since when.
    pub since: Millis,
    /// Where it came from.
    pub remote: SocketAddr,
    /// The tunnel.
    pub carrier: Rc<dyn Carrier>,
}

/// All tunnels by device and kind: one of each at most.
pub(super) type AmtTunnels = BTreeMap<(NodeId, TunnelKind), Rc<AmtTunnel>>;

impl Hub {
    /// Registers a tunnel. Returns the one whose place it takes.
    pub fn amt_tunnel_connected(&self, link: Rc<AmtTunnel>) -> Option<Rc<AmtTunnel>> {
        self.amt_tunnels.borrow_mut().insert((link.node.clone(), link.kind), link)
    }

    /// Removes a tunnel, unless a newer one has taken its place. Returns whether it was in place.
    pub fn amt_tunnel_gone(&self, link: &Rc<AmtTunnel>) -> bool {
        let mut tunnels = self.amt_tunnels.borrow_mut();
        let key = (link.node.clone(), link.kind);
        let is_current = tunnels.get(&key).is_some_and(|current| Rc::ptr_eq(current, link));
        is_current && tunnels.remove(&key).is_some()
    }

    /// The tunnel of that kind of a device.
    pub fn amt_tunnel(&self, node: &NodeId, kind: TunnelKind) -> Option<Rc<AmtTunnel>> {
        let tunnels = self.amt_tunnels.borrow();
        // A key to look up is a copy of the id: most devices have no tunnel at all.
        if tunnels.is_empty() {
            return None;
        }
        tunnels.get(&(node.clone(), kind)).cloned()
    }

    /// The best tunnel through which a port of a device's firmware can be reached.
    pub fn amt_tunnel_to(&self, node: &NodeId, port: u16) -> Option<Rc<AmtTunnel>> {
        let mut tunnels =
            TunnelKind::ALL.into_iter().filter_map(|kind| self.amt_tunnel(node, kind));
        tunnels.find(|tunnel| tunnel.carrier.ports().contains(&port))
    }

    /// Number of tunnels.
    pub fn amt_tunnel_count(&self) -> usize {
        self.amt_tunnels.borrow().len()
    }

    /// All tunnels, by device.
    pub fn amt_tunnels(&self) -> Vec<Rc<AmtTunnel>> {
        self.amt_tunnels.borrow().values().cloned().collect()
    }

    /// Ends the tunnels of a device that was removed or has moved away.
    pub fn end_amt_tunnels(&self, node: &NodeId, why: &'static str) {
        for link in TunnelKind::ALL.into_iter().filter_map(|kind| self.amt_tunnel(node, kind)) {
            link.carrier.disconnect(why);
        }
    }
}
