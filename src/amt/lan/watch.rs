//! Which of the known computers are there, without sockets: every half minute each is pinged, those
//! that keep silent are asked over TCP, and who has not been heard for a while has gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::rmcp::Pong;
use crate::model::NodeId;

/// Time between two rounds.
pub const ROUND: Duration = Duration::from_secs(30);
/// Silence after which a device that was there has gone; seen at a round.
const GONE: Duration = Duration::from_secs(65);

/// A device to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Which.
    pub node: NodeId,
    /// Its name or address.
    pub host: String,
}

/// Devices as they were found. Times are since the server started.
#[derive(Debug, Default)]
pub struct Watch {
    known: BTreeMap<NodeId, Known>,
}

#[derive(Debug)]
struct Known {
    host: String,
    address: Option<Ipv4Addr>,
    heard: Option<Duration>,
    present: bool,
    /// Whether a round was over since it is known, and a probe runs.
    seasoned: bool,
    probing: bool,
    /// The tag of its ping in this round.
    tag: Option<u8>,
}

/// What is to be done in a round.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Whom to ping, and with which tag.
    pub pings: Vec<(NodeId, u8)>,
    /// Whom to ask over TCP.
    pub probes: Vec<NodeId>,
    /// Who was there and is not any more.
    pub gone: Vec<NodeId>,
}

impl Watch {
    /// Begins a round with all devices there are to watch.
    pub fn begin(&mut self, now: Duration, devices: Vec<Watched>) -> Round {
        let mut round = Round::default();
        let wanted: BTreeSet<_> = devices.iter().map(|device| device.node.clone()).collect();
        self.known.retain(|node, known| {
            let stays = wanted.contains(node);
            if !stays && known.present {
                round.gone.push(node.clone());
            }
            stays
        });
        for (place, Watched { node, host }) in devices.into_iter().enumerate() {
            let known = self.known.entry(node.clone()).or_insert_with(|| Known::at(&host));
            if known.host != host {
                if known.present {
                    round.gone.push(node.clone());
                }
                *known = Known::at(&host);
            }
            let silent = known.heard.map(|heard| now.saturating_sub(heard));
            if known.present && silent.is_none_or(|silent| silent >= GONE) {
                known.present = false;
                round.gone.push(node.clone());
            }
            // A new device gets the chance to answer a ping first.
            let needs_probe = !known.present || silent.is_none_or(|silent| silent >= ROUND);
            if known.seasoned && needs_probe && !known.probing {
                known.probing = true;
                round.probes.push(node.clone());
            }
            known.seasoned = true;
            let tag = (place % 255) as u8;
            known.tag = Some(tag);
            round.pings.push((node, tag));
        }
        round
    }

    /// Where a device is, as its name was resolved.
    pub fn resolved(&mut self, node: &NodeId, host: &str, address: Ipv4Addr) {
        if let Some(known) = self.known.get_mut(node).filter(|known| known.host == host) {
            known.address = Some(address);
        }
    }

    /// Where a device is; `None` until its name is resolved.
    pub fn address(&self, node: &NodeId) -> Option<Ipv4Addr> {
        self.known.get(node)?.address
    }

    /// Takes a packet: the devices it speaks for, and whether each was away until now. Only who was
    /// asked counts, and only from where it was asked.
    pub fn receive(
        &mut self,
        now: Duration,
        from: Ipv4Addr,
        packet: &[u8],
    ) -> Option<(Pong, Vec<(NodeId, bool)>)> {
        let pong = Pong::parse(packet)?;
        let mut heard = Vec::new();
        for (node, known) in &mut self.known {
            if known.address == Some(from) && known.tag == Some(pong.tag) {
                heard.push((node.clone(), known.hear(now)));
            }
        }
        Some((pong, heard)).filter(|(_, heard)| !heard.is_empty())
    }

    /// A probe has ended. Whether the device was away until now, if it is there.
    pub fn probed(&mut self, now: Duration, node: &NodeId, answers: bool) -> Option<bool> {
        let known = self.known.get_mut(node)?;
        known.probing = false;
        answers.then(|| known.hear(now))
    }
}

impl Known {
    fn at(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            address: host.parse().ok(),
            heard: None,
            present: false,
            seasoned: false,
            probing: false,
            tag: None,
        }
    }

    /// Whether it was away.
    fn hear(&mut self, now: Duration) -> bool {
        self.heard = Some(now);
        !std::mem::replace(&mut self.present, true)
    }
}

/// Whether a version that was just heard says more than the one that is known: another one, but not
/// the same one with less in it.
pub fn is_news(old: Option<&str>, new: &str) -> bool {
    let Some(old) = old else { return true };
    let (old, new): (Vec<_>, Vec<_>) = (old.split('.').collect(), new.split('.').collect());
    let common = old.len().min(new.len());
    old[..common] != new[..common] || new.len() > old.len()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::hub::testing::node_id;

    const A: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);

    fn devices(numbers: &[u8]) -> Vec<Watched> {
        let host = |n| if n < 100 { format!("127.0.0.{n}") } else { "pc.example".into() };
        numbers.iter().map(|n| Watched { node: node_id(*n), host: host(*n) }).collect()
    }

    fn pong(tag: u8) -> Vec<u8> {
        let mut pong = vec![6, 0, 0xff, 6, 0, 0, 0x11, 0xbe, 0x40, tag, 0, 16];
        pong.extend([0, 0, 1, 0x57, 0x42, 0x60, 0xc0, 2, 0x81, 0x20, 0, 0, 0, 0, 0, 0]);
        pong
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_device_that_answers_pings_comes_and_goes() {
        let (mut watch, eight) = (Watch::default(), node_id(8));
        let round = watch.begin(at(0), devices(&[8]));
        assert_eq!(round, Round { pings: vec![(eight.clone(), 0)], ..Round::default() });
        let heard = |watch: &mut Watch, now| watch.receive(now, A, &pong(0)).unwrap().1;
        assert_eq!(heard(&mut watch, at(1)), [(eight.clone(), true)]);
        assert_eq!(heard(&mut watch, at(1)), [(eight.clone(), false)], "the second of two pings");
        // Heard 29 seconds ago, 59, 89.
        for (now, probes, gone) in [(30, 0, 0), (60, 1, 0), (90, 0, 1), (120, 0, 0)] {
            let round = watch.begin(at(now), devices(&[8]));
            assert_eq!((round.probes.len(), round.gone.len()), (probes, gone), "{now}");
            assert_eq!(round.pings.len(), 1);
        }
        assert_eq!(watch.probed(at(121), &eight, false), None);
        assert_eq!(watch.begin(at(150), devices(&[8])).probes, std::slice::from_ref(&eight));
        assert_eq!(watch.probed(at(151), &eight, true), Some(true));
        assert_eq!(watch.begin(at(180), Vec::new()).gone, [eight], "it was removed");
    }

    #[test]
    fn a_silent_device_is_probed_from_its_second_round_on() {
        let mut watch = Watch::default();
        assert!(watch.begin(at(0), devices(&[8])).probes.is_empty());
        assert_eq!(watch.begin(at(30), devices(&[8, 9])).probes, [node_id(8)]);
        assert_eq!(watch.probed(at(31), &node_id(8), true), Some(true));
        // Found at 31: at 60 it was heard 29 seconds ago.
        assert_eq!(watch.begin(at(60), devices(&[8, 9])).probes, [node_id(9)]);
        assert_eq!(watch.begin(at(90), devices(&[8, 9])).probes, [node_id(8)]);
    }

    #[test]
    fn nobody_speaks_for_another() {
        let mut watch = Watch::default();
        watch.begin(at(0), devices(&[8, 100]));
        assert!(watch.receive(at(1), Ipv4Addr::new(127, 0, 0, 9), &pong(0)).is_none());
        assert!(watch.receive(at(1), A, &pong(1)).is_none(), "another's tag");
        assert_eq!(watch.address(&node_id(100)), None, "its name is not resolved yet");
        watch.resolved(&node_id(100), "old.example", A);
        assert_eq!(watch.address(&node_id(100)), None, "it had another name then");
        watch.resolved(&node_id(100), "pc.example", A);
        let (_, heard) = watch.receive(at(2), A, &pong(1)).unwrap();
        assert_eq!(heard, [(node_id(100), true)]);
    }

    #[test]
    fn a_device_at_another_address_is_another_one() {
        let mut watch = Watch::default();
        watch.begin(at(0), devices(&[8]));
        watch.receive(at(1), A, &pong(0)).unwrap();
        let moved = vec![Watched { node: node_id(8), host: "127.0.0.9".into() }];
        assert_eq!(watch.begin(at(30), moved).gone, [node_id(8)]);
        assert!(watch.receive(at(31), A, &pong(0)).is_none());
    }

    #[test]
    fn versions_replace_each_other_as_in_the_vectors() {
        let vectors = include_str!("../../../tests/vectors/activation-rmcp.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for vector in vectors["version_replace"].as_array().unwrap() {
            // Firmware that says nothing is not asked about.
            let Some(new) = vector["new"].as_str() else { continue };
            assert_eq!(is_news(vector["old"].as_str(), new), vector["replace"], "{vector}");
        }
    }
}
