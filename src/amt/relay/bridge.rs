//! Bytes between a user's WebSocket and the firmware, through a [`Mediator`]: sockets and timers, thin.
//!
//! Neither side is read while more than [`HIGH`] bytes wait for the other, or the recording waits for
//! the disk. Memory: up to a message and [`HIGH`] bytes each way while bytes pass, nothing of it
//! while none do.

use std::cell::RefCell;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Timer;
use futures_lite::future::poll_fn;
use futures_lite::io::{AsyncRead as _, AsyncWrite as _};

use super::super::redirection::{Mail, Mediator, Over};
use super::Room;
use super::admission::Standing;
use crate::hub::{ByteStream, TunnelLink, TunnelMessage};
use crate::relay::recording::Tap;
use crate::relay::recording::recorder::From;
use crate::ws::{Message, Socket};

/// Bytes that may wait for a side before the other is not read.
const HIGH: usize = 64 << 10;
/// Bytes read at a time.
const SCRATCH: usize = 16 << 10;
/// Reads in one turn of the executor.
const TURN: usize = 8;
/// How often a user who says nothing is looked after.
const LOOK: Duration = Duration::from_secs(30);
/// A user of whom nothing was heard for so long, pings included, has gone.
const SILENCE: Duration = Duration::from_secs(120);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// The user's end.
pub(super) type UserSocket = Socket<Box<dyn ByteStream>>;

/// Reads into the thread's buffer and shows what came; nothing at the end of the stream.
pub(super) fn poll_read(
    stream: &mut Box<dyn ByteStream>,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<()>> {
    BUFFER.with_borrow_mut(|buffer| {
        Pin::new(stream).poll_read(cx, buffer).map_ok(|n| take(buffer.get(..n).unwrap_or_default()))
    })
}

/// Bytes on their way to the firmware.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    unflushed: bool,
}

impl Outbox {
    /// Puts bytes behind those that wait.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether so many wait that nothing is to be added.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() - self.written >= HIGH
    }

    /// Writes what waits. Ready when all of it has been handed over.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut Box<dyn ByteStream>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            let count = std::task::ready!(Pin::new(&mut *stream).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.unflushed = true;
        }
        if self.unflushed {
            std::task::ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        *self = Self::default();
        Poll::Ready(Ok(()))
    }
}

/// Looks after a user: whether he is still there.
pub(super) struct Pulse(Timer);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Timer::interval(LOOK))
    }

    /// Pings who says nothing. Ready when he has gone.
    pub(super) fn poll_gone(&mut self, socket: &mut UserSocket, cx: &mut Context<'_>) -> Poll<()> {
        while Pin::new(&mut self.0).poll(cx).is_ready() {
            let silence = socket.last_received().elapsed();
            if silence >= SILENCE {
                return Poll::Ready(());
            }
            if silence >= LOOK {
                socket.ping();
            }
        }
        Poll::Pending
    }
}

/// See the module.
pub(super) struct Bridge<'b> {
    pub(super) room: &'b Room,
    pub(super) link: &'b TunnelLink,
    pub(super) socket: &'b mut UserSocket,
    pub(super) stream: Box<dyn ByteStream>,
    pub(super) mediator: Box<dyn Mediator>,
    pub(super) tap: Option<Tap>,
}

/// What woke the loop.
enum Wake {
    Over(Over),
    Message(Option<TunnelMessage>),
    Tick,
}

impl Bridge<'_> {
    /// Moves bytes until it is over; why. `early` is what the firmware has said already.
    pub(super) async fn run(mut self, early: &[u8]) -> Over {
        let mut outbox = Outbox::default();
        let mut mail = Mail::default();
        self.mediator.begin(&mut mail);
        self.firmware_says(early, &mut mail);
        self.deliver(&mut mail, &mut outbox);
        let mut ticks = self.mediator.every().map(Timer::interval);
        let mut pulse = Pulse::new();
        loop {
            if let Some(over) = mail.over {
                // What was to be said last leaves if it can at once.
                let _ =
                    poll_fn(|cx| Poll::Ready(outbox.poll_write(&mut self.stream, cx).is_ready()))
                        .await;
                return over;
            }
            let wake = poll_fn(|cx| {
                if let Poll::Ready(message) = self.link.mailbox.poll_next(cx) {
                    return Poll::Ready(Wake::Message(message));
                }
                if let Poll::Ready(over) = self.poll_move(&mut mail, &mut outbox, cx) {
                    return Poll::Ready(Wake::Over(over));
                }
                if pulse.poll_gone(self.socket, cx).is_ready() {
                    return Poll::Ready(Wake::Over(Over::Gone));
                }
                match &mut ticks {
                    Some(timer) => Pin::new(timer).poll(cx).map(|_| Wake::Tick),
                    None => Poll::Pending,
                }
            });
            match wake.await {
                Wake::Over(over) => mail.end(over),
                Wake::Tick => {
                    self.mediator.tick(&mut mail);
                    self.deliver(&mut mail, &mut outbox);
                }
                Wake::Message(Some(TunnelMessage::Recheck)) => {
                    let permit = Standing::still(self.room, self.link).map(|now| now.permit);
                    if !permit.is_some_and(|permit| self.mediator.set_permit(permit)) {
                        mail.end(Over::NoRight);
                    }
                }
                Wake::Message(Some(TunnelMessage::End(_)) | None) => mail.end(Over::Ended),
            }
        }
    }

    /// Moves what can be moved. Ready when it is over.
    fn poll_move(
        &mut self,
        mail: &mut Mail,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<Over> {
        for _ in 0..TURN {
            if let Poll::Ready(Err(_)) = outbox.poll_write(&mut self.stream, cx) {
                return Poll::Ready(self.mediator.closed());
            }
            if let Poll::Ready(Err(_)) = self.socket.poll_flush(cx) {
                return Poll::Ready(Over::Gone);
            }
            if self.tap.as_ref().is_some_and(|tap| tap.poll_ready(cx).is_pending()) {
                return Poll::Pending;
            }
            let mut has_moved = false;
            if self.socket.queued() < HIGH {
                let (mediator, link, tap) = (&mut self.mediator, self.link, &self.tap);
                let mut is_end = false;
                let read = poll_read(&mut self.stream, cx, |bytes| {
                    is_end = bytes.is_empty();
                    link.from_agent.set(link.from_agent.get() + bytes.len() as u64);
                    record(tap, From::Device, bytes);
                    mediator.firmware_says(bytes, mail);
                });
                match read {
                    Poll::Ready(Ok(())) if !is_end => has_moved = true,
                    Poll::Ready(_) => return Poll::Ready(self.mediator.closed()),
                    Poll::Pending => {}
                }
            }
            if mail.over.is_none() && !outbox.is_full() {
                match self.socket.poll_recv(cx) {
                    Poll::Ready(Ok(Some(message))) => {
                        self.user_says(&message, mail);
                        has_moved = true;
                    }
                    Poll::Ready(_) => return Poll::Ready(Over::Gone),
                    Poll::Pending => {}
                }
            }
            self.deliver(mail, outbox);
            if let Some(over) = mail.over {
                return Poll::Ready(over);
            }
            if !has_moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn user_says(&mut self, message: &Message, mail: &mut Mail) {
        let bytes = match message {
            Message::Binary(bytes) => bytes.clone(),
            // Old pages put a byte into each character.
            Message::Text(text) => {
                let text = String::from_utf8_lossy(text);
                text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
            }
        };
        self.link.from_viewer.set(self.link.from_viewer.get() + bytes.len() as u64);
        record(&self.tap, From::User, &bytes);
        self.mediator.user_says(&bytes, mail);
    }

    fn firmware_says(&mut self, bytes: &[u8], mail: &mut Mail) {
        if !bytes.is_empty() {
            record(&self.tap, From::Device, bytes);
            self.mediator.firmware_says(bytes, mail);
        }
    }

    /// Hands on what the mediator wants sent.
    fn deliver(&mut self, mail: &mut Mail, outbox: &mut Outbox) {
        let (to_user, to_firmware) =
            (std::mem::take(&mut mail.to_user), std::mem::take(&mut mail.to_firmware));
        self.link.sent.set(self.link.sent.get() + (to_user.len() + to_firmware.len()) as u64);
        if std::mem::take(&mut mail.begun) {
            self.socket.send_binary(&[]);
        }
        if !to_user.is_empty() {
            self.socket.send_binary_shared(&[], to_user.into());
        }
        outbox.push(&to_firmware);
    }
}

/// Records what was said, as it was said: of a proof that is put in here nothing is kept.
fn record(tap: &Option<Tap>, from: From, bytes: &[u8]) {
    if let Some(tap) = tap
        && !bytes.is_empty()
    {
        tap.message(from, true, bytes.len() as u64);
        tap.payload(from, bytes);
    }
}
