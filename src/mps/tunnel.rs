//! Channels of a tunnel as byte streams for the rest of the server.
//!
//! The session owns the socket, streams come and go: both meet in [`Tunnel`], which wakes whom the
//! machine has something for. Nothing here outlives the last stream and the session.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future::{or, poll_fn};
use futures_lite::io::{AsyncRead, AsyncWrite};
use serde_json::Value;

use super::channel::{Failure, Priority};
use super::machine::Machine;
use super::wire::failure;
use crate::hub::{ByteStream, Carrier, Opening};

/// Pauses before a device that could not serve a channel is asked again.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// Time a background channel waits for the one before it.
const TURN: Duration = Duration::from_secs(60);

/// A tunnel, shared by its session and its streams.
pub struct Tunnel {
    machine: RefCell<Machine>,
    session: RefCell<Option<Waker>>,
    /// Whoever waits for anything on a channel: at most two per channel.
    waiting: RefCell<Vec<Waker>>,
}

impl Tunnel {
    /// Around a machine that has just begun.
    pub fn new(machine: Machine) -> Rc<Self> {
        Rc::new(Self {
            machine: RefCell::new(machine),
            session: RefCell::default(),
            waiting: RefCell::default(),
        })
    }

    /// The session's own way to the machine; it looks after what follows itself.
    pub(super) fn drive<T>(&self, work: impl FnOnce(&mut Machine) -> T) -> T {
        work(&mut self.machine.borrow_mut())
    }

    /// Everybody else's: the session is woken afterwards.
    fn work<T>(&self, work: impl FnOnce(&mut Machine) -> T) -> T {
        let result = self.drive(work);
        let session = self.session.borrow_mut().take();
        if let Some(session) = session {
            session.wake();
        }
        result
    }

    /// The session waits.
    pub(super) fn sleep(&self, cx: &Context<'_>) {
        *self.session.borrow_mut() = Some(cx.waker().clone());
    }

    fn wait(&self, cx: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
    }

    /// Something may have changed for streams.
    pub(super) fn wake_streams(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Opens a channel to `port`; a device that cannot serve it at the moment is asked again.
    ///
    /// # Errors
    /// What the device or the tunnel has against it.
    pub async fn open(self: &Rc<Self>, port: u16, priority: Priority) -> Result<Stream, Failure> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let refused = match self.open_once(port, priority).await {
                Err(Failure::Refused(reason)) => reason,
                other => return other,
            };
            let is_busy = matches!(refused, failure::CONNECT_FAILED | failure::RESOURCE_SHORTAGE);
            match pauses.next().filter(|_| is_busy) {
                Some(pause) => drop(Timer::after(pause).await),
                None => return Err(Failure::Refused(refused)),
            }
        }
    }

    async fn open_once(self: &Rc<Self>, port: u16, priority: Priority) -> Result<Stream, Failure> {
        let turn = poll_fn(|cx| {
            match self.work(|machine| machine.open_channel(port, priority, Instant::now())) {
                Err(Failure::TooMany) if priority == Priority::Background => {
                    self.wait(cx);
                    Poll::Pending
                }
                other => Poll::Ready(other),
            }
        });
        let late = async {
            Timer::after(TURN).await;
            Err(Failure::TooMany)
        };
        let id = or(turn, late).await?;
        // Dropped on the way, it gives the channel back.
        let stream = Stream { tunnel: self.clone(), id };
        poll_fn(|cx| match self.drive(|machine| machine.opened(id)) {
            Some(opened) => Poll::Ready(opened),
            None => {
                self.wait(cx);
                Poll::Pending
            }
        })
        .await?;
        Ok(stream)
    }
}

/// What a tunnel is to other rooms.
impl Carrier for Handle {
    fn open(&self, port: u16, interactive: bool) -> Opening {
        let priority = if interactive { Priority::Interactive } else { Priority::Background };
        let tunnel = self.0.clone();
        Box::pin(async move {
            let stream = tunnel.open(port, priority).await.map_err(io::Error::other)?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }

    fn ports(&self) -> Vec<u16> {
        self.0.drive(|machine| machine.ports().to_vec())
    }

    fn tell(&self, json: &Value) {
        self.0.work(|machine| machine.control(json));
    }

    fn disconnect(&self, why: &'static str) {
        self.0.work(|machine| machine.disconnect(why));
        self.0.wake_streams();
    }
}

/// A tunnel in the hub.
pub struct Handle(pub Rc<Tunnel>);

/// A channel as a byte stream. Closing ends our side after what was written has left; the device's
/// side goes on until it ends it or the stream is dropped.
pub struct Stream {
    tunnel: Rc<Tunnel>,
    id: u32,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.tunnel.work(|machine| machine.abandon(self.id, Instant::now()));
        // A background channel may have waited for this one.
        self.tunnel.wake_streams();
    }
}

fn broken(failure: Failure) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, failure)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.tunnel.work(|machine| machine.read(self.id, buffer)) {
            Ok(Some(count)) => Poll::Ready(Ok(count)),
            Ok(None) => {
                self.tunnel.wait(cx);
                Poll::Pending
            }
            Err(failure) => Poll::Ready(Err(broken(failure))),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.tunnel.work(|machine| machine.write(self.id, bytes)) {
            Ok(0) if !bytes.is_empty() => {
                self.tunnel.wait(cx);
                Poll::Pending
            }
            Ok(count) => Poll::Ready(Ok(count)),
            Err(failure) => Poll::Ready(Err(broken(failure))),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tunnel.drive(|machine| machine.unsent(self.id)) == 0 {
            return Poll::Ready(Ok(()));
        }
        self.tunnel.wait(cx);
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
