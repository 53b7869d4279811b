//! Between the store's machines and the disk.
//!
//! A [`Machine`] decides what is to be done on disk and when, and owns no file, clock or task. A
//! [`Lane`] carries its work to the blocking pool, one piece at a time, and the outcome back.
//! Every kind of file has a lane of its own: a commit never waits for a compaction of details.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use async_io::Timer;
use futures_lite::future;

use crate::model::Millis;
use crate::pool;

use super::disk::Disk;

/// The two clocks a machine is told about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Since the store was opened; intervals count on this one.
    pub(super) mono: Duration,
    /// What goes on disk.
    pub(super) wall: Millis,
}

/// Why a piece of work failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// A read or write failed. What was on disk before is there still; the same can be tried again.
    Refused(io::Error),
    /// A write was not brought to a known end (fsync or rename failed, somebody else changed the
    /// file): it has to be written anew, or at least read again.
    Unsure(io::Error),
    /// The driver was dropped before the outcome was known. The work may still be done, but before
    /// any that comes later.
    Abandoned,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // From `Disk::extend`: somebody else has changed the file.
            io::ErrorKind::InvalidData => Self::Unsure(error),
            _ => Self::Refused(error),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) | Self::Unsure(error) => error.fmt(f),
            Self::Abandoned => f.write_str("writing was interrupted"),
        }
    }
}

/// What a machine wants next.
#[derive(Debug)]
pub(super) enum Next<W> {
    /// Do this, then report with [`Machine::done`].
    Work(W),
    /// Nothing before that time of [`Now::mono`], or before something is added.
    Sleep(Option<Duration>),
}

/// Decides what happens to one kind of file.
pub(super) trait Machine {
    /// A piece of work for the disk.
    type Work: Send + 'static;
    /// What came of it.
    type Done: Send + 'static;

    /// What is to be done now.
    fn next(&mut self, now: Now) -> Next<Self::Work>;
    /// Does a piece of work; blocks.
    fn perform(work: Self::Work, disk: &dyn Disk) -> Result<Self::Done, Failure>;
    /// Takes the outcome of the work given last.
    fn done(&mut self, outcome: Result<Self::Done, Failure>, now: Now);
    /// The server stops: everything is due at once, and failures are retried once.
    fn flush(&mut self);
    /// Everything there is now is due at once; what comes later is not.
    fn save(&mut self);
    /// Why something is not on disk, if the last attempt failed.
    fn trouble(&self) -> Option<&str>;
}

/// A machine with its way to the disk.
pub(super) struct Lane<M> {
    pub(super) machine: RefCell<M>,
    /// Rung when the machine may have something to do earlier than it said.
    bell: (Sender<()>, Receiver<()>),
    /// Held while a piece of work is under way.
    pub(super) turn: async_lock::Mutex<()>,
    /// Held by whoever keeps a thread of the pool busy with reading.
    pub(super) reading: async_lock::Mutex<()>,
    /// Work whose driver was dropped may still run in the pool; the next piece waits for it.
    gate: Arc<Mutex<()>>,
    watchers: RefCell<Vec<Waker>>,
}

/// Where work is done, and by which clock.
pub(super) struct Site<'a> {
    pub(super) disk: &'a Arc<dyn Disk>,
    pub(super) now: &'a dyn Fn() -> Now,
}

impl<M: Machine> Lane<M> {
    pub(super) fn new(machine: M) -> Self {
        Self {
            machine: RefCell::new(machine),
            bell: async_channel::bounded(1),
            turn: async_lock::Mutex::default(),
            reading: async_lock::Mutex::default(),
            gate: Arc::default(),
            watchers: RefCell::default(),
        }
    }

    /// Makes the driver ask the machine again.
    pub(super) fn ring(&self) {
        let _ = self.bell.0.try_send(());
    }

    /// Wakes `waker` when the next piece of work has ended.
    pub(super) fn watch(&self, waker: &Waker) {
        let mut watchers = self.watchers.borrow_mut();
        if !watchers.iter().any(|w| w.will_wake(waker)) {
            watchers.push(waker.clone());
        }
    }

    /// Works for ever.
    pub(super) async fn run(&self, site: Site<'_>) {
        loop {
            let wake_at = self.work(&site).await;
            let rung = async {
                let _ = self.bell.1.recv().await;
            };
            match wake_at {
                Some(at) => {
                    let due = async {
                        Timer::after(at.saturating_sub((site.now)().mono)).await;
                    };
                    future::or(rung, due).await;
                }
                None => rung.await,
            }
        }
    }

    /// Works until the machine wants to sleep; returns until when.
    pub(super) async fn work(&self, site: &Site<'_>) -> Option<Duration> {
        loop {
            if let Some(wake_at) = self.step(site).await {
                return wake_at;
            }
        }
    }

    /// Does one piece of work; `Some` if there is none before that time.
    pub(super) async fn step(&self, site: &Site<'_>) -> Option<Option<Duration>> {
        let _turn = self.turn.lock().await;
        let next = self.machine.borrow_mut().next((site.now)());
        let work = match next {
            Next::Work(work) => work,
            Next::Sleep(wake_at) => return Some(wake_at),
        };
        let mut report = Report { lane: self, site, outcome: None };
        let (disk, gate) = (site.disk.clone(), self.gate.clone());
        let outcome = pool::unblock(move || {
            let _gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
            M::perform(work, &*disk)
        });
        report.outcome = Some(outcome.await);
        None
    }

    /// Waits until `ready` says so, working if nobody else does.
    pub(super) async fn until(&self, site: &Site<'_>, ready: impl Fn(&M) -> bool) {
        while !ready(&self.machine.borrow()) {
            if self.step(site).await.is_some() && !ready(&self.machine.borrow()) {
                // It sleeps without being ready, after a failure: look again after its next work.
                self.next_done().await;
            }
        }
    }

    fn next_done(&self) -> impl Future<Output = ()> {
        let mut asked = false;
        future::poll_fn(move |cx| {
            if std::mem::replace(&mut asked, true) {
                return Poll::Ready(());
            }
            self.watch(cx.waker());
            Poll::Pending
        })
    }
}

/// Tells the machine the outcome, also when the driver is dropped in the middle of the work.
struct Report<'a, 's, M: Machine> {
    lane: &'a Lane<M>,
    site: &'a Site<'s>,
    outcome: Option<Result<M::Done, Failure>>,
}

impl<M: Machine> Drop for Report<'_, '_, M> {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or(Err(Failure::Abandoned));
        self.lane.machine.borrow_mut().done(outcome, (self.site.now)());
        for watcher in self.lane.watchers.borrow_mut().drain(..) {
            watcher.wake();
        }
    }
}

/// Retries with back-off after failures, and says so in the log: loudly once, then hourly.
#[derive(Debug)]
pub(super) struct Backoff {
    what: &'static str,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    error: String,
    delay: Duration,
    tried: Duration,
    retry_at: Duration,
    alarm_at: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);
    const ALARM: Duration = Duration::from_secs(3600);

    /// Counts failures of writing `what`.
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, trouble: None }
    }

    pub(super) fn failed(&mut self, error: &Failure, now: Duration) {
        if let Failure::Abandoned = error {
            return; // not the disk's fault
        }
        let error = error.to_string();
        let previous = self.trouble.take();
        let delay = previous.as_ref().map_or(Self::FIRST, |t| (t.delay * 2).min(Self::LONGEST));
        let mut alarm_at = previous.map_or(now, |t| t.alarm_at);
        if now >= alarm_at {
            log::error!(
                "DISK ALARM: {} cannot be written: {error}. Changes are kept in memory only and \
                 are lost if the server stops now; free space on the disk or make it writable. \
                 Writing is tried again at least every {} seconds.",
                self.what,
                Self::LONGEST.as_secs()
            );
            alarm_at = now + Self::ALARM;
        }
        self.trouble = Some(Trouble { error, delay, tried: now, retry_at: now + delay, alarm_at });
    }

    pub(super) fn succeeded(&mut self) {
        if self.trouble.take().is_some() {
            log::warn!("{} can be written again; everything kept in memory is on disk", self.what);
        }
    }

    /// Until when nothing is to be tried.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        self.trouble.as_ref().map(|t| t.retry_at).filter(|at| *at > now)
    }

    /// Somebody waits: try again now, unless that was done less than a second ago.
    pub(super) fn hurry(&mut self, now: Duration) {
        if let Some(trouble) = &mut self.trouble
            && now >= trouble.tried + Self::FIRST
        {
            trouble.retry_at = now;
        }
    }

    /// Forgets the pause, for the last attempt before the server stops.
    pub(super) fn last_chance(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            trouble.retry_at = Duration::ZERO;
        }
    }

    /// What the disk said last, while it refuses.
    pub(super) fn error(&self) -> Option<&str> {
        self.trouble.as_ref().map(|t| &*t.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_double_up_to_a_minute_and_end_with_success() {
        let failure = || Failure::Refused(io::Error::other("full"));
        let mut backoff = Backoff::new("state");
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..8 {
            backoff.failed(&failure(), now);
            let until = backoff.pause(now).unwrap();
            waits.push((until - now).as_secs());
            now = until;
            assert_eq!(backoff.pause(now), None);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.failed(&failure(), now);
        backoff.hurry(now);
        assert!(backoff.pause(now).is_some(), "a crowd of commits must not hammer the disk");
        let later = now + Duration::from_secs(1);
        backoff.hurry(later);
        assert_eq!(backoff.pause(later), None);
        backoff.succeeded();
        assert_eq!(backoff.error(), None);
    }
}
