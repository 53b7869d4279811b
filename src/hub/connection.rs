//! How devices are connected, by their agent and by Intel AMT, and who is told when that changes.

use std::net::SocketAddr;
use std::rc::Rc;

use super::{AgentLink, Hub};
use crate::model::{Connectivity, LastSeen, Millis, NodeId};
use crate::store::PowerChange;

/// Bits of `conn`.
const AGENT: u32 = 1;
const CIRA: u32 = 2;
/// Intel AMT on the local network.
const DIRECT: u32 = 4;
const RELAY: u32 = 8;
/// `pwr` of a device with an agent: on.
const ON: u8 = 1;
/// `pwr` of a device that only its firmware speaks for: present, until it is asked.
const PRESENT: u8 = 7;

impl Hub {
    /// How a device is connected right now. A tunnel to its own firmware (LMS) is none of it.
    pub fn connectivity(&self, node: &NodeId) -> Connectivity {
        self.connection(node).0
    }

    /// The same with the agent, for lists: one look for both.
    pub fn connection(&self, node: &NodeId) -> (Connectivity, Option<Rc<AgentLink>>) {
        let agent = self.agent(node);
        let agent_since = agent.as_ref().map(|agent| agent.since);
        let amt = self.amt_tunnels_of(node);
        let cira_since = amt.cira.map(|tunnel| tunnel.since);
        let relayed = amt.relay.is_some();
        let is_near = self.amt_on_lan.borrow().contains(node);
        let bit = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
        let state = Connectivity {
            conn: bit(agent_since.is_some(), AGENT)
                | bit(cira_since.is_some(), CIRA)
                | bit(is_near, DIRECT)
                | bit(relayed, RELAY),
            power: match (agent_since, cira_since.is_some() || is_near) {
                (Some(_), _) => ON,
                (None, true) => self.amt_power(node).unwrap_or(PRESENT),
                (None, false) => 0,
            },
            agent_since,
            cira_since,
        };
        (state, agent)
    }

    /// The Intel AMT of a device answers on the local network.
    pub fn amt_seen_on_lan(&self, node: &NodeId) {
        if self.amt_on_lan.borrow_mut().insert(node.clone()) {
            let host = self.store.device(node).and_then(|device| device.host.clone());
            self.changed(node, &host.unwrap_or_default(), self.now());
        }
    }

    /// It does not answer any more, or is not asked any more.
    pub fn amt_gone_from_lan(&self, node: &NodeId) {
        let was_there = self.amt_on_lan.borrow_mut().remove(node);
        if was_there && !self.has_outside_amt_tunnel(node) {
            self.forget_amt_power(node);
        }
        // A device that was removed is not remembered.
        if let Some(device) = self.store.device(node).filter(|_| was_there) {
            self.changed(node, device.host.as_deref().unwrap_or_default(), self.now());
        }
    }

    /// Whether firmware called, or a program beside it did.
    pub fn has_outside_amt_tunnel(&self, node: &NodeId) -> bool {
        self.amt_tunnels_of(node).outside().is_some()
    }

    /// Tells that a device is connected in another way than before, and remembers when.
    pub fn connection_changed(&self, node: &NodeId, remote: SocketAddr, now: Millis) {
        self.changed(node, &remote.to_string(), now);
    }

    fn changed(&self, node: &NodeId, addr: &str, now: Millis) {
        let state = self.connectivity(node);
        self.store.record_power(node, PowerChange { time: now, power: state.power });
        self.store.set_last_seen(node, LastSeen { time: now, addr: addr.to_owned() });
        self.tell_connection(node, &state);
    }
}
