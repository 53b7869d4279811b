//! How devices are connected, by their agent and by Intel AMT, and who is told when that changes.

use std::net::SocketAddr;
use std::rc::Rc;

use super::{AgentLink, Hub};
use crate::model::{Connectivity, LastSeen, Millis, NodeId};
use crate::store::PowerChange;

/// Bits of `conn`.
const AGENT: u32 = 1;
const CIRA: u32 = 2;
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
        let bit = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
        let state = Connectivity {
            conn: bit(agent_since.is_some(), AGENT)
                | bit(cira_since.is_some(), CIRA)
                | bit(relayed, RELAY),
            power: match (agent_since, cira_since) {
                (Some(_), _) => ON,
                (None, Some(_)) => self.amt_power(node).unwrap_or(PRESENT),
                (None, None) => 0,
            },
            agent_since,
            cira_since,
        };
        (state, agent)
    }

    /// Tells that a device is connected in another way than before, and remembers when.
    pub fn connection_changed(&self, node: &NodeId, remote: SocketAddr, now: Millis) {
        let state = self.connectivity(node);
        self.store.record_power(node, PowerChange { time: now, power: state.power });
        self.store.set_last_seen(node, LastSeen { time: now, addr: remote.to_string() });
        self.tell_connection(node, &state);
    }
}
