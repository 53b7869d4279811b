//! Whom to ask next, without a clock or a socket.
//!
//! A device is visited when its firmware has come in reach, and then now and then for its state of
//! power; not while an agent speaks for it. Few are visited at a time, one that does not answer
//! waits longer, and one that refuses the login is left alone until that changes: firmware counts
//! failures.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Millis, NodeId};

/// Between two visits.
const PERIOD: Duration = Duration::from_secs(290);
/// After a visit that failed; doubled with each, up to [`PERIOD`] times four.
const RETRY: Duration = Duration::from_secs(60);
/// Most devices that are visited at a time.
pub const AT_ONCE: usize = 8;

/// A device whose firmware can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// The device.
    pub node: NodeId,
    /// Since when; another time is another contact.
    pub since: Millis,
    /// Which login it would be: another number is another one.
    pub login: u64,
}

/// A visit that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Whom.
    pub node: NodeId,
    /// Whether it is the first of this contact.
    pub is_first: bool,
}

/// How a visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered.
    Answered,
    /// It did not, or not well.
    Failed,
    /// It refused the login.
    Refused,
}

#[derive(Clone, Debug)]
struct Turn {
    since: Millis,
    login: u64,
    due: Duration,
    failures: u32,
    greeted: bool,
    underway: bool,
    refused: bool,
}

/// See the module. About 200 bytes per device in reach.
#[derive(Debug, Default)]
pub struct Schedule {
    turns: BTreeMap<NodeId, Turn>,
}

impl Schedule {
    /// The visits to begin now, of those `present`.
    pub fn due(&mut self, present: &[Present], now: Duration) -> Vec<Visit> {
        let known: BTreeMap<_, _> = present.iter().map(|one| (&one.node, one)).collect();
        self.turns.retain(|node, turn| turn.underway || known.contains_key(node));
        for (node, one) in known {
            let turn = self.turns.entry(node.clone()).or_insert_with(|| Turn::new(one, now));
            if (turn.since, turn.login) != (one.since, one.login) {
                let underway = turn.underway;
                *turn = Turn { underway, ..Turn::new(one, now) };
            }
        }
        let underway = self.turns.values().filter(|turn| turn.underway).count();
        let mut waiting: Vec<_> =
            self.turns.iter_mut().filter(|(_, turn)| turn.is_due(now)).collect();
        // Who waits longest goes first.
        waiting.sort_by_key(|(_, turn)| turn.due);
        let begin = waiting.into_iter().take(AT_ONCE.saturating_sub(underway));
        begin
            .map(|(node, turn)| {
                turn.underway = true;
                Visit { node: node.clone(), is_first: !turn.greeted }
            })
            .collect()
    }

    /// A visit has ended.
    pub fn done(&mut self, node: &NodeId, outcome: Outcome, now: Duration) {
        let Some(turn) = self.turns.get_mut(node) else { return };
        turn.underway = false;
        match outcome {
            Outcome::Answered => {
                (turn.failures, turn.greeted) = (0, true);
                turn.due = now + PERIOD;
            }
            Outcome::Failed => {
                let pause = RETRY.saturating_mul(1 << turn.failures.min(8));
                turn.failures += 1;
                turn.due = now + pause.min(PERIOD * 4);
            }
            Outcome::Refused => turn.refused = true,
        }
    }
}

impl Turn {
    fn new(one: &Present, now: Duration) -> Self {
        let (since, login) = (one.since, one.login);
        let (greeted, underway, refused) = (false, false, false);
        Self { since, login, due: now, failures: 0, greeted, underway, refused }
    }

    fn is_due(&self, now: Duration) -> bool {
        !self.underway && !self.refused && self.due <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::node_id;
    use crate::model::{DomainId, Key48};

    fn present(n: u8, since: u64, login: u64) -> Present {
        Present { node: node_id(n), since: Millis(since), login }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_device_is_greeted_once_per_contact_and_then_asked_now_and_then() {
        let mut schedule = Schedule::default();
        let here = [present(1, 5, 0)];
        let node = node_id(1);
        let visit = |is_first| vec![Visit { node: node.clone(), is_first }];
        assert_eq!(schedule.due(&here, at(0)), visit(true));
        assert_eq!(schedule.due(&here, at(1)), [], "it is under way");
        schedule.done(&node, Outcome::Answered, at(2));
        assert_eq!(schedule.due(&here, at(291)), []);
        assert_eq!(schedule.due(&here, at(292)), visit(false));
        schedule.done(&node, Outcome::Answered, at(293));
        assert_eq!(schedule.due(&[present(1, 6, 0)], at(300)), visit(true), "it called again");
        schedule.done(&node, Outcome::Answered, at(301));
        assert_eq!(schedule.due(&[], at(900)), []);
        assert_eq!(schedule.due(&[present(1, 6, 0)], at(901)), visit(true), "it was away");
    }

    #[test]
    fn who_fails_waits_longer_and_who_refuses_waits_for_another_login() {
        let mut schedule = Schedule::default();
        let (here, node) = ([present(1, 5, 0)], node_id(1));
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert_eq!(schedule.due(&here, at(now)).len(), 1);
            schedule.done(&node, Outcome::Failed, at(now));
            let next = (now..).find(|s| !schedule.clone_due(&here, at(*s)).is_empty()).unwrap();
            pauses.push(next - now);
            now = next;
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1160, 1160]);
        assert_eq!(schedule.due(&here, at(now)).len(), 1);
        schedule.done(&node, Outcome::Refused, at(now));
        assert_eq!(schedule.due(&here, at(now + 1_000_000)), []);
        assert_eq!(schedule.due(&[present(1, 5, 1)], at(now + 1)).len(), 1);
    }

    impl Schedule {
        fn clone_due(&self, present: &[Present], now: Duration) -> Vec<Visit> {
            Self { turns: self.turns.clone() }.due(present, now)
        }
    }

    #[test]
    fn five_hundred_devices_are_asked_a_few_at_a_time_and_a_wedged_one_delays_nobody() {
        let mut schedule = Schedule::default();
        let here: Vec<_> = (0..500u16)
            .map(|n| {
                let mut key = Key48::ZERO;
                key.0[..2].copy_from_slice(&n.to_be_bytes());
                let node = NodeId::new(DomainId::default(), key);
                Present { node, since: Millis(1), login: 0 }
            })
            .collect();
        let wedged = here[77].node.clone();
        let (mut visits, mut of_wedged) = (0, 0);
        let mut underway: Vec<(u64, NodeId)> = Vec::new();
        for now in 0..3600u64 {
            let done: Vec<_> = underway.extract_if(.., |(until, _)| *until <= now).collect();
            for (_, node) in done {
                let outcome = if node == wedged { Outcome::Failed } else { Outcome::Answered };
                schedule.done(&node, outcome, at(now));
            }
            for visit in schedule.due(&here, at(now)) {
                let takes = if visit.node == wedged { 30 } else { 1 };
                of_wedged += u32::from(visit.node == wedged);
                visits += 1;
                underway.push((now + takes, visit.node));
            }
            assert!(underway.len() <= AT_ONCE);
        }
        // Twelve rounds in an hour, as far as there is time for the first.
        assert!((499 * 12..=500 * 13).contains(&visits), "{visits}");
        assert!(of_wedged <= 8, "{of_wedged}");
    }
}
