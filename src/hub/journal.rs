//! The journal of Intel AMT: what became of the last connections, step by step, to answer why a
//! computer does not connect.
//!
//! It is in memory only and bounded: 256 attempts (the address with most of them loses its oldest),
//! 16 steps each, 160 characters per step.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::text::clamp;
use crate::model::{Millis, NodeId, Uuid};

/// Attempts kept.
const ATTEMPTS: usize = 256;
/// Steps kept of each; the last one is always how it ended.
const STEPS: usize = 16;
/// Longest text of a step in characters.
const TEXT_MAX: usize = 160;

/// A connection in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptId(u64);

/// What is known of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Address and port it came from.
    pub remote: String,
    /// When it began.
    pub time: Millis,
    /// Who the computer said it is.
    pub uuid: Option<String>,
    /// The device it was let in as.
    #[serde(rename = "nodeid")]
    pub node: Option<String>,
    /// Whether the connection has ended.
    pub ended: bool,
    /// What happened.
    pub steps: Vec<Step>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Milliseconds after the beginning.
    pub ms: u64,
    /// What happened.
    pub text: Cow<'static, str>,
}

/// What of the journal is asked for; an empty member means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search<'a> {
    /// Beginning of the address.
    pub address: &'a str,
    /// UUID of the computer, in lower case.
    pub uuid: &'a str,
    /// Id of the device.
    pub node: &'a str,
}

struct Entry {
    id: AttemptId,
    remote: SocketAddr,
    attempt: Attempt,
}

/// The last connections. Takes memory as they come.
#[derive(Default)]
pub struct Journal {
    next: u64,
    entries: VecDeque<Entry>,
}

impl Journal {
    /// A connection from `remote` begins.
    pub fn begin(&mut self, remote: SocketAddr, now: Millis) -> AttemptId {
        if self.entries.len() >= ATTEMPTS {
            self.make_room();
        }
        let id = AttemptId(self.next);
        self.next += 1;
        let attempt = Attempt {
            remote: remote.to_string(),
            time: now,
            uuid: None,
            node: None,
            ended: false,
            steps: Vec::new(),
        };
        self.entries.push_back(Entry { id, remote, attempt });
        id
    }

    /// Whoever fills the journal loses his own pages first.
    fn make_room(&mut self) {
        let mut counts = BTreeMap::new();
        for entry in &self.entries {
            *counts.entry(entry.remote.ip()).or_insert(0usize) += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count).map(|(address, _)| address);
        // The first of an address is its oldest.
        let oldest = self.entries.iter().position(|entry| Some(entry.remote.ip()) == most);
        if let Some(at) = oldest {
            self.entries.remove(at);
        }
    }

    fn attempt(&mut self, id: AttemptId) -> Option<&mut Attempt> {
        // Ids ascend.
        let at = self.entries.binary_search_by_key(&id.0, |entry| entry.id.0).ok()?;
        self.entries.get_mut(at).map(|entry| &mut entry.attempt)
    }

    /// Something happened.
    pub fn step(&mut self, id: AttemptId, now: Millis, text: impl Into<Cow<'static, str>>) {
        let Some(attempt) = self.attempt(id) else { return };
        let text = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text),
            Cow::Owned(text) => Cow::Owned(clamp(&text, TEXT_MAX)),
        };
        // The first steps tell most, and the last.
        if attempt.steps.len() >= STEPS {
            attempt.steps.pop();
        }
        attempt.steps.push(Step { ms: now.since(attempt.time).as_millis() as u64, text });
    }

    /// The computer said who it is.
    pub fn names(&mut self, id: AttemptId, uuid: Uuid) {
        if let Some(attempt) = self.attempt(id) {
            attempt.uuid = Some(uuid.to_string());
        }
    }

    /// It was let in as a device.
    pub fn is_device(&mut self, id: AttemptId, node: &NodeId) {
        if let Some(attempt) = self.attempt(id) {
            attempt.node = Some(node.to_string());
        }
    }

    /// A device has become another one.
    pub fn device_is(&mut self, before: &NodeId, now: &NodeId) {
        let before = before.to_string();
        for Entry { attempt, .. } in &mut self.entries {
            if attempt.node.as_ref() == Some(&before) {
                attempt.node = Some(now.to_string());
            }
        }
    }

    /// The connection has ended, and why.
    pub fn end(&mut self, id: AttemptId, now: Millis, why: impl Into<Cow<'static, str>>) {
        self.step(id, now, why);
        if let Some(attempt) = self.attempt(id) {
            attempt.ended = true;
            attempt.steps.shrink_to_fit();
        }
    }

    /// What matches, newest first.
    pub fn find(&self, search: &Search<'_>) -> Vec<Attempt> {
        let is = |wanted: &str, found: &Option<String>| {
            wanted.is_empty() || found.as_deref() == Some(wanted)
        };
        let matches = |attempt: &&Attempt| {
            attempt.remote.starts_with(search.address)
                && is(search.uuid, &attempt.uuid)
                && is(search.node, &attempt.node)
        };
        self.entries.iter().rev().map(|entry| &entry.attempt).filter(matches).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8) -> SocketAddr {
        ([198, 51, 100, last], 4711).into()
    }

    #[test]
    fn an_attempt_is_told_from_its_beginning_to_its_end() {
        let mut journal = Journal::default();
        let id = journal.begin(from(7), Millis(1000));
        journal.step(id, Millis(1004), "TCP");
        for n in 0..40 {
            journal.step(id, Millis(1010), format!("step {n} \u{1b}[31m"));
        }
        journal.end(id, Millis(1500), "offered only TLS 1.0");
        let found = journal.find(&Search { address: "198.51.100.7", ..Default::default() });
        let [attempt] = found.as_slice() else { panic!("{found:?}") };
        assert!(attempt.ended);
        assert_eq!(attempt.steps.len(), STEPS);
        assert_eq!(attempt.steps[0], Step { ms: 4, text: "TCP".into() });
        assert_eq!(attempt.steps[1].text, "step 0 [31m");
        assert_eq!(attempt.steps.last().unwrap().text, "offered only TLS 1.0");
        assert!(journal.find(&Search { uuid: "x", ..Default::default() }).is_empty());
    }

    #[test]
    fn whoever_floods_the_journal_pushes_himself_out() {
        let mut journal = Journal::default();
        let friend = journal.begin(from(1), Millis(0));
        for _ in 0..3 * ATTEMPTS {
            journal.begin(from(66), Millis(1));
        }
        journal.step(friend, Millis(2), "still here");
        assert_eq!(journal.entries.len(), ATTEMPTS);
        let friends = journal.find(&Search { address: "198.51.100.1:", ..Default::default() });
        assert_eq!(friends[0].steps.len(), 1);
    }
}
