//! How much time really went by: what a running server saw pass, whatever its clock was told.
//!
//! Boards boot in the past and jump by years when the network tells them the time. Whoever removes
//! things because of their age must not believe such a jump. A [`Witness`] counts the time the
//! server ran; times when it was off and jumps of the clock are gaps, and do not count.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Millis;

/// Steps of the clock up to this are its normal correction.
const TOLERANCE: u64 = 10 * 60_000;
/// Most gaps that are remembered; beyond, the oldest time is forgotten with its gap.
const GAPS: usize = 32;

/// A stretch of wall time, and what of it nobody saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    from: Millis,
    until: Millis,
    gaps: Vec<Gap>,
}

/// Time that passed unseen, or never was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Gap {
    /// Its end.
    at: Millis,
    /// Its length in milliseconds.
    length: u64,
}

impl Witness {
    /// Begins to watch: nothing before `now` counts.
    pub fn begin(now: Millis) -> Self {
        Self { from: now, until: now, gaps: Vec::new() }
    }

    /// Goes on to `now`. `elapsed` is what a monotonic clock counted since the last call; zero after
    /// a restart. Returns whether the clock and that count disagree, so that a gap was noted.
    ///
    /// A clock that was set back makes it begin anew: times noted before are in the future now.
    pub fn advance(&mut self, now: Millis, elapsed: Duration) -> bool {
        let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let expected = self.until.0.saturating_add(elapsed);
        if now.0.saturating_add(TOLERANCE) < expected {
            *self = Self::begin(now);
            return true;
        }
        let unseen = now.0.saturating_sub(expected);
        self.until = self.until.max(now);
        if unseen <= TOLERANCE {
            return false;
        }
        if self.gaps.len() == GAPS {
            self.from = self.gaps.remove(0).at;
        }
        self.gaps.push(Gap { at: now, length: unseen });
        true
    }

    /// How much time was seen to pass since `then`. Never more than there was.
    pub fn since(&self, then: Millis) -> Duration {
        let start = then.max(self.from);
        let total = self.until.since(start).as_millis() as u64;
        let unseen = self.gaps.iter().filter(|gap| gap.at > start);
        let unseen: u64 = unseen.map(|gap| gap.length.min(gap.at.0 - start.0)).sum();
        Duration::from_millis(total.saturating_sub(unseen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000;

    /// A witness that ran for these steps: hours by the wall clock, hours by the monotonic one.
    fn after(steps: &[(i64, u64)]) -> (Witness, Millis) {
        let mut now = Millis(500_000 * HOUR);
        let mut witness = Witness::begin(now);
        for (wall, elapsed) in steps {
            now = Millis(now.0.saturating_add_signed(wall * HOUR as i64));
            witness.advance(now, Duration::from_millis(elapsed * HOUR));
        }
        (witness, now)
    }

    #[test]
    fn only_time_that_was_seen_counts() {
        const YEARS: i64 = 12 * 8766;
        for (steps, hours_ago, seen) in [
            // Nothing unusual: all of it.
            (&[(1, 1), (1, 1), (1, 1)][..], 2, 2),
            (&[(1, 1), (1, 1)], 50, 2),
            // Off for 100 hours.
            (&[(5, 5), (100, 0), (3, 3)], 50, 3),
            (&[(5, 5), (100, 0), (3, 3)], 106, 6),
            (&[(5, 5), (100, 0), (3, 3)], 108, 8),
            // The clock jumps ahead by years, and stays there.
            (&[(5, 5), (YEARS + 1, 1), (3, 3)], YEARS as u64 + 5, 5),
            (&[(5, 5), (YEARS + 1, 1), (3, 3)], 3, 3),
            // And is set right again.
            (&[(5, 5), (YEARS + 1, 1), (-YEARS, 1), (3, 3)], 8, 3),
        ] {
            let (witness, now) = after(steps);
            let then = Millis(now.0 - hours_ago * HOUR);
            let counted = witness.since(then).as_millis() as u64 / HOUR;
            assert_eq!(counted, seen, "{steps:?}, {hours_ago} hours ago");
        }
    }

    #[test]
    fn a_clock_that_is_corrected_a_little_makes_no_gap() {
        let mut witness = Witness::begin(Millis(HOUR));
        assert!(!witness.advance(Millis(2 * HOUR + 5 * 60_000), Duration::from_millis(HOUR)));
        assert!(!witness.advance(Millis(3 * HOUR), Duration::from_millis(HOUR)));
        assert!(witness.advance(Millis(9 * HOUR), Duration::ZERO));
    }

    proptest! {
        #[test]
        fn it_never_counts_more_than_the_monotonic_clock(
            steps in proptest::collection::vec((-2000i64..2000, 0u64..48), 0..100),
            ago in 0u64..5000,
        ) {
            let (witness, now) = after(&steps);
            prop_assert!(witness.gaps.len() <= GAPS);
            let seen = witness.since(Millis(now.0.saturating_sub(ago * HOUR)));
            let ran: u64 = steps.iter().map(|(_, elapsed)| elapsed * HOUR).sum();
            let slack = TOLERANCE * steps.len() as u64;
            prop_assert!(seen.as_millis() as u64 <= ran + slack);
        }
    }
}
