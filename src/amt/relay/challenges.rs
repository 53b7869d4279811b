//! What firmware asked last, by device: it closes the connection when it asks, so the answer comes on
//! another one.

use std::collections::BTreeMap;

use super::super::digest::Challenge;
use crate::model::NodeId;

/// Devices whose challenges are kept; each is some 200 bytes.
const KEPT: usize = 256;

/// See the module.
#[derive(Default)]
pub(super) struct Challenges(BTreeMap<NodeId, Challenge>);

impl Challenges {
    /// What a device asked last.
    pub(super) fn of(&self, node: &NodeId) -> Option<Challenge> {
        self.0.get(node).cloned()
    }

    /// A device asks.
    pub(super) fn keep(&mut self, node: &NodeId, challenge: Challenge) {
        if self.0.len() >= KEPT && !self.0.contains_key(node) {
            // Whichever: without it one more request is asked for proof.
            self.0.pop_first();
        }
        self.0.insert(node.clone(), challenge);
    }
}
