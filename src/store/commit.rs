//! Waiting for a record to be on disk.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::Core;

/// The disk refused a write; the record is in memory and is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDurable(pub String);

impl std::fmt::Display for NotDurable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not on disk: {}", self.0)
    }
}

impl std::error::Error for NotDurable {}

/// Resolves when a write is on disk, or with [`NotDurable`] when the disk refused it.
///
/// Polling it is what makes a write urgent; all writes up to the one that is awaited go to disk
/// together.
#[must_use = "await it, or say `.later()`"]
pub struct Commit(Stage);

enum Stage {
    Done(Result<(), NotDurable>),
    Waiting { core: Rc<Core>, number: u64, urgent: bool },
}

impl Commit {
    /// Does not wait: the write goes to disk with the next batch, within seconds.
    pub fn later(self) {}

    pub(super) fn done() -> Self {
        Self(Stage::Done(Ok(())))
    }

    pub(super) fn refused(why: String) -> Self {
        Self(Stage::Done(Err(NotDurable(why))))
    }

    pub(super) fn of(core: Rc<Core>, number: u64) -> Self {
        Self(Stage::Waiting { core, number, urgent: false })
    }
}

impl Future for Commit {
    type Output = Result<(), NotDurable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (core, number, urgent) = match &mut self.0 {
            Stage::Done(outcome) => return Poll::Ready(outcome.clone()),
            Stage::Waiting { core, number, urgent } => (core, *number, urgent),
        };
        let now = core.now().mono;
        let lane = &core.records;
        let first = !std::mem::replace(urgent, true);
        if first {
            lane.machine.borrow_mut().journal.hurry(number, now);
        }
        if let Some(outcome) = lane.machine.borrow().journal.verdict(number, now) {
            return Poll::Ready(outcome);
        }
        lane.watch(cx.waker());
        if first {
            lane.ring();
        }
        Poll::Pending
    }
}
