//! Two sockets joined: what comes from one goes to the other, at the pace of the slower.
//!
//! One task owns both. An end is read only while the other has taken everything sent to it before,
//! so a stalled end stops its peer and nobody else. Memory of an idle pipe: the struct. At full
//! speed a direction holds one read, [`READ`] bytes, and an unfinished TLS record, together 64 KB,
//! while its destination does not take them; otherwise they live in buffers of the thread.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Timer;
use futures_lite::future::{or, poll_fn};
use futures_lite::io::{AsyncRead, AsyncWrite};

use crate::ws::{self, Opcode};

use super::lane::{Flow, Lane, Observer, Outbox, Side};
use super::turns::{Ticket, Turns};

/// Bytes read at a time.
const READ: usize = 48 * 1024;
/// Reads of one turn; then other tasks have theirs.
const TURN: usize = 4;
/// A buffer of the thread that a reassembled message made larger than this is given back.
const OUT_KEPT: usize = 96 * 1024;
/// Time for an end to take what was sent to it before the tunnel ended. Its peer may have sent a
/// last block and closed, and the line may be slow.
const DELIVERY: Duration = Duration::from_secs(30);
/// Time for an end to close its side after that.
const FAREWELL: Duration = Duration::from_secs(5);

thread_local! {
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A byte stream of either end.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// One end: its socket, what comes from it, and what is on the way to it.
struct End {
    io: Box<dyn Stream>,
    /// What was read from it before it was paired.
    early: Vec<u8>,
    lane: Lane,
    outbox: Outbox,
    /// Bytes of the outbox already written.
    written: usize,
    received: u64,
    sent: u64,
}

/// Two ends.
pub struct Pipe {
    viewer: End,
    agent: End,
    observer: Option<Box<dyn Observer>>,
    turns: Rc<Turns>,
    ticket: Ticket,
}

/// Why a pipe is over.
#[derive(Debug)]
pub enum Over {
    /// This end closed, or its connection broke.
    Gone(Side),
    /// This end broke the protocol.
    Broken(Side, ws::Error),
    /// Its user asked for something it may not have.
    Refused(&'static str),
}

/// Bytes that have passed, frames included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the user's end.
    pub from_viewer: u64,
    /// From the other end.
    pub from_agent: u64,
    /// To both.
    pub sent: u64,
}

impl End {
    fn new((io, early): (Box<dyn Stream>, Vec<u8>), lane: Lane) -> Self {
        let outbox = Outbox::default();
        Self { io, early, lane, outbox, written: 0, received: 0, sent: 0 }
    }

    /// Hands what is on the way to the transport. Ready when that has taken everything.
    fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.outbox.bytes.get(self.written..).filter(|r| !r.is_empty()) {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
            self.sent += n as u64;
        }
        if self.outbox.bytes.capacity() > 0 {
            self.outbox.bytes = Vec::new();
        }
        self.written = 0;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Reads what has come, early bytes first.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.early.is_empty() {
            let n = ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            self.received += n as u64;
            return Poll::Ready(Ok(n));
        }
        let n = self.early.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(self.early.drain(..n)) {
            *to = from;
        }
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        self.received += n as u64;
        Poll::Ready(Ok(n))
    }

    /// Delivers what is on the way, says good-bye if that fits between frames, and waits for the
    /// end of the stream, so that nothing on its way is lost to a reset.
    async fn part(&mut self) {
        let deliver = async {
            poll_fn(|cx| self.poll_deliver(cx)).await?;
            if self.outbox.is_between_frames() {
                self.outbox.put_aside(Opcode::Close, &[]);
                poll_fn(|cx| self.poll_deliver(cx)).await?;
            }
            poll_fn(|cx| Pin::new(&mut self.io).poll_close(cx)).await
        };
        // A peer that has gone already is no error.
        if !matches!(within(DELIVERY, deliver).await, Some(Ok(()))) {
            return;
        }
        let drain = poll_fn(|cx| {
            loop {
                let read = INPUT.with_borrow_mut(|buf| Pin::new(&mut self.io).poll_read(cx, buf));
                match ready!(read) {
                    Ok(n) if n > 0 => {}
                    _ => return Poll::Ready(()),
                }
            }
        });
        let _ = within(FAREWELL, drain).await;
    }
}

async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::after(limit).await;
        None
    };
    or(async { Some(future.await) }, late).await
}

impl Pipe {
    /// Joins two sockets, each with the bytes that were read from it before. `lanes` are the
    /// directions from the viewer and from the agent, `turns` what all pipes draw on.
    pub fn new(
        viewer: (Box<dyn Stream>, Vec<u8>),
        agent: (Box<dyn Stream>, Vec<u8>),
        lanes: (Lane, Lane),
        observer: Option<Box<dyn Observer>>,
        turns: Rc<Turns>,
    ) -> Self {
        let (from_viewer, from_agent) = lanes;
        let (viewer, agent) = (End::new(viewer, from_viewer), End::new(agent, from_agent));
        Self { viewer, agent, observer, turns, ticket: Ticket::default() }
    }

    /// Says something to both ends, each in its next gap between frames.
    pub fn tell_both(&mut self, opcode: Opcode, payload: &[u8]) {
        // An end that takes nothing needs no further word.
        self.viewer.outbox.put_aside(opcode, payload);
        self.agent.outbox.put_aside(opcode, payload);
    }

    /// The filter of what the user's end sends.
    pub fn filter(&mut self) -> Option<&mut super::filter::Filter> {
        self.viewer.lane.filter()
    }

    /// What has passed so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            from_viewer: self.viewer.received,
            from_agent: self.agent.received,
            sent: self.viewer.sent + self.agent.sent,
        }
    }

    /// Moves what can be moved; ready when the pipe is over.
    pub fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        ready!(self.turns.poll_begin(&mut self.ticket, cx));
        let before = self.viewer.received + self.agent.received;
        let over = self.poll_turn(cx);
        let moved = self.viewer.received + self.agent.received - before;
        self.turns.spend(usize::try_from(moved).unwrap_or(usize::MAX));
        over
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        // A direction that waits once is not asked again in this turn: it wakes the task.
        let mut flowing = [(Side::Viewer, true), (Side::Agent, true)];
        for _ in 0..TURN {
            for (from, flows) in &mut flowing {
                if *flows {
                    match self.poll_from(cx, *from) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(over)) => return Poll::Ready(over),
                        Poll::Pending => *flows = false,
                    }
                }
            }
        }
        // What was said to an end meanwhile, such as the answer to its ping.
        for (side, end) in [(Side::Viewer, &mut self.viewer), (Side::Agent, &mut self.agent)] {
            if !end.outbox.bytes.is_empty()
                && let Poll::Ready(Err(_)) = end.poll_deliver(cx)
            {
                return Poll::Ready(Over::Gone(side));
            }
        }
        if flowing.iter().any(|(_, flows)| *flows) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// One read of one direction, and what follows from it.
    fn poll_from(&mut self, cx: &mut Context<'_>, from: Side) -> Poll<Result<(), Over>> {
        let (source, target) = match from {
            Side::Viewer => (&mut self.viewer, &mut self.agent),
            Side::Agent => (&mut self.agent, &mut self.viewer),
        };
        if ready!(target.poll_deliver(cx)).is_err() {
            return Poll::Ready(Err(Over::Gone(from.other())));
        }
        let observer = self.observer.as_deref();
        if let Some(observer) = observer {
            ready!(observer.poll_ready(cx));
        }
        let taken = INPUT.with_borrow_mut(|input| {
            let Ok(n) = ready!(source.poll_read(cx, input)) else {
                return Poll::Ready(Err(Over::Gone(from)));
            };
            if n == 0 {
                return Poll::Ready(Err(Over::Gone(from)));
            }
            let input = input.get_mut(..n).unwrap_or_default();
            let End { lane, outbox: back, .. } = source;
            // The target's outbox is empty: for the moment it is a buffer of the thread.
            target.outbox.bytes = OUTPUT.take();
            let flow = lane.take(input, &mut target.outbox, back, observer);
            Poll::Ready(match flow {
                Ok(Flow::Open) => Ok(()),
                Ok(Flow::Closed(_)) => Err(Over::Gone(from)),
                Ok(Flow::Ended(why)) => Err(Over::Refused(why)),
                Err(error) => Err(Over::Broken(from, error)),
            })
        });
        let taken = ready!(taken);
        let delivered = target.poll_deliver_borrowed(cx);
        taken?;
        if delivered.is_err() {
            return Poll::Ready(Err(Over::Gone(from.other())));
        }
        Poll::Ready(Ok(()))
    }

    /// Ends both sides: what was on the way to them is delivered first. Takes at most
    /// [`DELIVERY`] and [`FAREWELL`].
    pub async fn part(&mut self) {
        let Self { viewer, agent, observer, .. } = self;
        // Nothing more passes.
        *observer = None;
        futures_lite::future::zip(viewer.part(), agent.part()).await;
    }
}

impl End {
    /// Writes the outbox, which is a buffer of the thread, and gives that back: what the transport
    /// does not take is copied.
    fn poll_deliver_borrowed(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut result = Ok(());
        while let Some(rest) = self.outbox.bytes.get(self.written..).filter(|r| !r.is_empty()) {
            match Pin::new(&mut self.io).poll_write(cx, rest) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.written += n;
                    self.sent += n as u64;
                }
                Poll::Ready(Ok(_)) => {
                    result = Err(io::ErrorKind::WriteZero.into());
                    break;
                }
                Poll::Ready(Err(error)) => {
                    result = Err(error);
                    break;
                }
                Poll::Pending => break,
            }
        }
        let rest = self.outbox.bytes.get(self.written..).unwrap_or_default().to_vec();
        let mut buffer = std::mem::replace(&mut self.outbox.bytes, rest);
        self.written = 0;
        buffer.clear();
        if (1..=OUT_KEPT).contains(&buffer.capacity()) {
            OUTPUT.set(buffer);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::frame_header;
    use std::cell::Cell;

    /// Always has something to read; takes `room` bytes and no more.
    struct Endless {
        frame: Vec<u8>,
        at: usize,
        read: Rc<Cell<usize>>,
        room: usize,
    }

    impl AsyncRead for Endless {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let n = buf.len().min(self.frame.len() - self.at);
            buf[..n].copy_from_slice(&self.frame[self.at..self.at + n]);
            self.at = (self.at + n) % self.frame.len();
            self.read.set(self.read.get() + n);
            Poll::Ready(Ok(n))
        }
    }

    impl AsyncWrite for Endless {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let n = buf.len().min(self.room);
            self.room -= n;
            if n == 0 { Poll::Pending } else { Poll::Ready(Ok(n)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn of_an_end_whose_peer_takes_nothing_one_read_is_held_and_no_more() {
        for room in [0, 1, 100_000] {
            let payload = vec![1; 60_000];
            let mut frame = frame_header(Opcode::Binary, payload.len() as u64).to_vec();
            frame.extend(payload);
            let reads = [Rc::new(Cell::new(0)), Rc::new(Cell::new(0))];
            let end = |n: usize| {
                let (frame, read) = (frame.clone(), reads[n].clone());
                let io: Box<dyn Stream> = Box::new(Endless { frame, at: 0, read, room });
                (io, Vec::new())
            };
            let lanes = (Lane::new(Side::Viewer, None), Lane::new(Side::Agent, None));
            let mut pipe = Pipe::new(end(0), end(1), lanes, None, Turns::new(Rc::default()));
            let mut cx = Context::from_waker(std::task::Waker::noop());
            for _ in 0..100 {
                assert!(pipe.poll_move(&mut cx).is_pending());
            }
            for read in &reads {
                assert!(read.get() <= room + READ + 64, "{} with room for {room}", read.get());
                assert!(read.get() > room, "nothing was read");
            }
            for end in [&pipe.viewer, &pipe.agent] {
                assert!(end.outbox.bytes.len() <= READ + 64, "{}", end.outbox.bytes.len());
            }
        }
    }

    /// Says nothing, and counts how often it is asked.
    struct Silent(Rc<Cell<usize>>);

    impl AsyncRead for Silent {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            self.0.set(self.0.get() + 1);
            Poll::Pending
        }
    }

    impl AsyncWrite for Silent {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_silent_end_is_asked_once_in_a_turn_of_the_other_and_a_turn_is_bounded() {
        let asked = Rc::new(Cell::new(0));
        let read = Rc::new(Cell::new(0));
        // A ping before every message: its answer goes to the end that speaks.
        let mut frame = frame_header(Opcode::Ping, 0).to_vec();
        frame.extend(frame_header(Opcode::Binary, 200_000));
        frame.resize(frame.len() + 200_000, 1);
        let viewer = Silent(asked.clone());
        let agent = Endless { frame, at: 0, read: read.clone(), room: usize::MAX };
        let ends: [(Box<dyn Stream>, Vec<u8>); 2] =
            [(Box::new(viewer), Vec::new()), (Box::new(agent), Vec::new())];
        let [viewer, agent] = ends;
        let lanes = (Lane::new(Side::Viewer, None), Lane::new(Side::Agent, None));
        let mut pipe = Pipe::new(viewer, agent, lanes, None, Turns::new(Rc::default()));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for turn in 1..=3 {
            assert!(pipe.poll_move(&mut cx).is_pending());
            assert_eq!(asked.get(), turn);
            assert!(read.get() <= turn * TURN * READ, "{} in {turn} turns", read.get());
            assert!(pipe.agent.outbox.bytes.is_empty(), "the pong has left");
        }
    }

    #[test]
    fn an_idle_pipe_is_small() {
        assert!(size_of::<Pipe>() <= 800, "{}", size_of::<Pipe>());
    }
}
