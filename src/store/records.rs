//! The lane of `state`: tables, journal, and the batches of what was seen.
//!
//! When devices were last seen changes with every connection and reaches the disk at most once an
//! hour and at a clean stop, together with the wall time, the floor of a board's clock.

use std::time::Duration;

use crate::model::Millis;

use super::codec;
use super::disk::Disk;
use super::driver::{Failure, Machine, Next, Now};
use super::journal::{self, Journal, Step, Work};
use super::state::{Cursor, State};

/// Least time between two batches of what was seen.
const SEEN: Duration = Duration::from_secs(3600);
/// The wall time is written that often even if no device was seen.
const FLOOR: Duration = Duration::from_secs(24 * 3600);

/// See the module.
pub(super) struct Records {
    pub(super) state: State,
    pub(super) journal: Journal,
    /// How far the snapshot under way has come.
    cursor: Option<Cursor>,
    /// When the last batch of what was seen was written.
    batched: Duration,
    flush: bool,
    /// A batch, at least for the wall time, is due because the server stops or everything is saved.
    farewell: bool,
}

impl Records {
    pub(super) fn new(state: State, journal: Journal) -> Self {
        let batched = Duration::ZERO;
        Self { state, journal, cursor: None, batched, flush: false, farewell: false }
    }

    /// When the next batch of what was seen is due.
    fn batch_due(&self) -> Duration {
        match self.state.has_unseen() {
            _ if self.farewell => Duration::ZERO,
            true if self.flush => Duration::ZERO,
            true => self.batched + SEEN,
            false => self.batched + FLOOR,
        }
    }

    fn write_batch(&mut self, now: Now) {
        (self.batched, self.farewell) = (now.mono, false);
        let mut frame = Vec::new();
        for batch in self.state.take_unseen(now.wall) {
            frame.clear();
            if codec::append(&mut frame, &batch).is_ok() {
                self.journal.append(&frame, now.mono);
            }
        }
    }

    fn part(&mut self, first: bool, wall: Millis) -> Work {
        if first {
            self.cursor = Some(Cursor::default());
        }
        let mut bytes = Vec::new();
        let cursor = self.cursor.take().unwrap_or_default();
        self.cursor = self.state.snapshot(cursor, wall, &mut bytes);
        self.journal.part(bytes, self.cursor.is_none())
    }
}

impl Machine for Records {
    type Work = Work;
    type Done = ();

    fn next(&mut self, now: Now) -> Next<Work> {
        if now.mono >= self.batch_due() {
            self.write_batch(now);
        }
        match self.journal.next(now.mono) {
            Step::Part { first } => Next::Work(self.part(first, now.wall)),
            Step::Next(Next::Sleep(until)) => {
                let batch = self.batch_due();
                Next::Sleep(Some(until.map_or(batch, |at| at.min(batch))))
            }
            Step::Next(work) => work,
        }
    }

    fn perform(work: Work, disk: &dyn Disk) -> Result<(), Failure> {
        journal::perform(work, disk)
    }

    fn done(&mut self, outcome: Result<(), Failure>, now: Now) {
        self.journal.done(outcome, now.mono);
    }

    fn flush(&mut self) {
        (self.flush, self.farewell) = (true, true);
        self.journal.flush();
    }

    fn save(&mut self) {
        self.farewell = true;
        self.journal.save();
    }

    fn trouble(&self) -> Option<&str> {
        self.journal.trouble()
    }
}
