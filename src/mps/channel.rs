//! One channel of a tunnel without its tunnel: states, windows, what waits in each direction.
//!
//! ```text
//! Opening ──CONFIRMATION──► Open ──dropped──► Draining ──sent, CLOSE──► Closing ──CLOSE──► gone
//!    └──────FAILURE, time──► Ended ◄──CLOSE, FAILURE──┘ (until its consumer has read the rest)
//! ```
//!
//! Windows count payload bytes in each direction. AMT's are small (4096 bytes, returned in dribbles);
//! what it sends us is credited when the consumer has taken it, so a slow one throttles the device.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bytes a device may send on a channel before the consumer has taken any.
pub(super) const WINDOW: u32 = 32 * 1024;
/// Bytes a consumer may write before the device has taken any.
pub(super) const SEND_MAX: usize = 64 * 1024;
/// Time for a device to answer CHANNEL_OPEN, to take what is left when the consumer has gone, and
/// to answer CHANNEL_CLOSE.
const ANSWER: Duration = Duration::from_secs(15);

/// Whose bytes go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits for it: a desktop, a terminal, a page.
    Interactive,
    /// Management that may take its time.
    Background,
}

/// Why a channel is not, or no longer, open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The tunnel has as many channels as it may have.
    TooMany,
    /// The device does not forward this port.
    NotForwarded,
    /// The device refused, with the protocol's reason.
    Refused(u32),
    /// The device did not answer.
    Late,
    /// The tunnel has ended.
    Gone,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooMany => f.write_str("the tunnel has as many channels as it may have"),
            Self::NotForwarded => f.write_str("the device does not forward this port"),
            Self::Refused(reason) => write!(f, "the device refused the channel (reason {reason})"),
            Self::Late => f.write_str("the device did not answer"),
            Self::Gone => f.write_str("the tunnel has ended"),
        }
    }
}

impl std::error::Error for Failure {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Opening { until: Instant, wanted: bool },
    Open,
    Draining { until: Instant },
    Closing { until: Instant },
    Ended { failure: Option<Failure> },
}

/// A channel. About 120 bytes and what waits in it.
pub(super) struct Channel {
    /// Our number; never used again in this tunnel.
    pub(super) id: u32,
    /// The device's number; it may reuse it as soon as both have said CLOSE.
    pub(super) peer: u32,
    pub(super) priority: Priority,
    pub(super) state: State,
    /// Bytes the device still takes.
    credit: u32,
    /// What the consumer wrote.
    outgoing: VecDeque<u8>,
    /// What the device sent.
    incoming: VecDeque<u8>,
    /// Bytes that came and were not credited again.
    uncredited: u32,
}

impl Channel {
    pub(super) fn opening(id: u32, priority: Priority, now: Instant) -> Self {
        Self {
            id,
            peer: 0,
            priority,
            state: State::Opening { until: now + ANSWER, wanted: true },
            credit: 0,
            outgoing: VecDeque::new(),
            incoming: VecDeque::new(),
            uncredited: 0,
        }
    }

    /// CONFIRMATION came. True if nobody wants the channel any more: CLOSE has to be said.
    pub(super) fn confirmed(&mut self, peer: u32, window: u32, now: Instant) -> bool {
        (self.peer, self.credit) = (peer, window);
        match self.state {
            State::Opening { wanted: true, .. } => {
                self.state = State::Open;
                false
            }
            State::Opening { wanted: false, .. } => {
                self.state = State::Closing { until: now + ANSWER };
                true
            }
            // Given up because the answer came too late.
            State::Ended { failure: Some(Failure::Late) } => true,
            _ => false,
        }
    }

    pub(super) fn adjusted(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes);
    }

    /// Takes bytes of the device. How many have come and were not credited.
    pub(super) fn received(&mut self, bytes: &[u8]) -> u32 {
        self.uncredited = self.uncredited.saturating_add(bytes.len() as u32);
        match self.state {
            State::Open => self.incoming.extend(bytes),
            // Nobody will read it, and CLOSE is said or about to be.
            _ => self.uncredited = 0,
        }
        self.uncredited
    }

    /// Bytes that wait for the consumer.
    pub(super) fn unread(&self) -> usize {
        self.incoming.len()
    }

    /// Bytes that wait for credit or for their turn.
    pub(super) fn unsent(&self) -> usize {
        self.outgoing.len()
    }

    /// Moves what has come to `buffer`; how much, and the credit to return now.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> (usize, Option<u32>) {
        let taken = buffer.len().min(self.incoming.len());
        for (to, from) in buffer.iter_mut().zip(self.incoming.drain(..taken)) {
            *to = from;
        }
        if self.incoming.is_empty() {
            self.incoming = VecDeque::new();
        }
        // What lies here unread is no credit yet.
        let read = self.uncredited.saturating_sub(self.incoming.len() as u32);
        if self.state == State::Open && read > WINDOW / 2 {
            self.uncredited -= read;
            return (taken, Some(read));
        }
        (taken, None)
    }

    /// Takes what fits of `bytes`; how much.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let room = SEND_MAX.saturating_sub(self.outgoing.len()).min(bytes.len());
        self.outgoing.extend(bytes.get(..room).unwrap_or_default());
        room
    }

    /// Bytes that may leave now, at most `max`.
    pub(super) fn sendable(&self, max: usize) -> usize {
        match self.state {
            State::Open | State::Draining { .. } => {
                self.outgoing.len().min(max).min(usize::try_from(self.credit).unwrap_or(usize::MAX))
            }
            _ => 0,
        }
    }

    /// Appends the next `count` bytes to `out`.
    pub(super) fn send(&mut self, count: usize, out: &mut Vec<u8>) {
        self.credit = self.credit.saturating_sub(count as u32);
        out.extend(self.outgoing.drain(..count.min(self.outgoing.len())));
        if self.outgoing.is_empty() {
            self.outgoing = VecDeque::new();
        }
    }

    /// The consumer has gone. What it wrote is still sent, what came for it is dropped. False if
    /// the channel can be forgotten.
    pub(super) fn abandon(&mut self, now: Instant) -> bool {
        self.incoming = VecDeque::new();
        match self.state {
            State::Opening { until, .. } => self.state = State::Opening { until, wanted: false },
            State::Open => self.state = State::Draining { until: now + ANSWER },
            State::Draining { .. } | State::Closing { .. } => {}
            State::Ended { .. } => return false,
        }
        true
    }

    /// CLOSE has been sent by us; the number is free when the device says it too.
    pub(super) fn closing(&mut self, now: Instant) {
        self.outgoing = VecDeque::new();
        self.state = State::Closing { until: now + ANSWER };
    }

    /// The device has ended the channel; the consumer may still read. False if there is none.
    pub(super) fn end(&mut self, failure: Option<Failure>) -> bool {
        self.outgoing = VecDeque::new();
        let has_consumer = matches!(self.state, State::Open | State::Opening { wanted: true, .. });
        self.state = State::Ended { failure };
        has_consumer
    }

    /// When something has to be given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Opening { until, .. } | State::Draining { until } | State::Closing { until } => {
                Some(until)
            }
            State::Open | State::Ended { .. } => None,
        }
    }
}
