//! The socket loop of one tunnel: thin, everything is decided in [`super::machine`].
//!
//! Memory per idle tunnel on top of TLS and the socket: this future, the machine, the hub's link.
//! No buffer, no queue, one timer.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future::{or, poll_fn};
use futures_lite::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use serde_json::{Map, Value};

use super::admission::Room;
use super::machine::{Effect, Login, Machine, Style};
use super::probe::{self, Probe};
use super::tunnel::{Handle, Tunnel};
use crate::hub::journal::AttemptId;
use crate::hub::{AmtTunnel, Refused, Said, TunnelKind};
use crate::model::NodeId;
use crate::ws::{Message, Socket};

/// Bytes read at a time.
const SCRATCH: usize = 16 * 1024;
/// Nothing more is read while this many bytes wait to be written.
const HIGH_WATER: usize = 64 * 1024;
/// Time for the first byte, and for the head of a browser's request.
const FIRST: Duration = Duration::from_secs(15);
/// Time for the last bytes to leave.
const FAREWELL: Duration = Duration::from_secs(2);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// How messages travel.
pub trait Transport {
    /// Hands bytes that have come to `take`. False at the end of the stream.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<bool>>;
    /// Takes (the rest of) one message; how much of it.
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &[u8]) -> Poll<io::Result<usize>>;
    /// Ready when everything taken has left.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Ends the stream.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// The MPS port: messages in a byte stream, one write each.
pub struct Bytes<S>(pub S);

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for Bytes<S> {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<bool>> {
        BUFFER.with_borrow_mut(|buffer| {
            let count = ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
            take(buffer.get(..count).unwrap_or_default());
            Poll::Ready(Ok(count > 0))
        })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, message: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// `/apf.ashx`: one binary frame for each message we send. What comes is one stream, whatever its
/// frames. MeshAgents and MeshCmd write texts of JavaScript: each of their characters is a byte.
pub struct Frames<S>(pub Socket<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for Frames<S> {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<bool>> {
        match ready!(self.0.poll_recv(cx))? {
            Some(Message::Binary(bytes)) => take(&bytes),
            Some(Message::Text(text)) => take(&characters(&text)),
            None => return Poll::Ready(Ok(false)),
        }
        Poll::Ready(Ok(true))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, message: &[u8]) -> Poll<io::Result<usize>> {
        if self.0.queued() > HIGH_WATER {
            ready!(self.0.poll_flush(cx))?;
        }
        self.0.send_binary(message);
        Poll::Ready(Ok(message.len()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(cx, None)
    }
}

/// The characters of a text as bytes. Those above 255 are only in names inside JSON, whose length
/// counts them as one.
fn characters(text: &[u8]) -> Vec<u8> {
    let byte = |c: char| u8::try_from(u32::from(c)).unwrap_or(b'?');
    String::from_utf8_lossy(text).chars().map(byte).collect()
}

/// What is known of a connection before it says a word.
#[derive(Clone, Copy, Debug)]
pub struct Entrance {
    /// Where it comes from.
    pub remote: SocketAddr,
    /// Which door it took.
    pub style: Style,
    /// Its place in the journal.
    pub attempt: AttemptId,
}

/// Serves one connection until its end. `place` is what it occupies among those that have proven
/// nothing; it is dropped when the login is accepted.
pub async fn run<T: Transport, P>(room: Rc<Room>, transport: T, entrance: Entrance, place: P) {
    let tunnel = Tunnel::new(Machine::new(entrance.style, Instant::now()));
    let mut session = Session {
        room,
        tunnel,
        transport,
        entrance,
        place: Some(place),
        node: None,
        link: None,
        judging: None,
        report: None,
        rest: Vec::new(),
        timer: None,
    };
    if let Err(error) = session.serve().await {
        session.end(format!("the connection broke: {error}"));
    }
}

struct Session<T, P> {
    room: Rc<Room>,
    tunnel: Rc<Tunnel>,
    transport: T,
    entrance: Entrance,
    place: Option<P>,
    /// Who was let in.
    node: Option<NodeId>,
    /// After everybody was told.
    link: Option<Rc<AmtTunnel>>,
    /// A login, and when it is judged.
    judging: Option<Box<(Login, Timer)>>,
    /// What a program reported of the firmware before its login.
    report: Option<Map<String, Value>>,
    /// Bytes that came while nothing was to be read.
    rest: Vec<u8>,
    timer: Option<(Instant, Timer)>,
}

enum Wake {
    /// Bytes came or went, or somebody has changed the machine.
    Work,
    Judge,
    Timer,
    Ended,
}

impl<T: Transport, P> Session<T, P> {
    async fn serve(&mut self) -> io::Result<()> {
        if self.entrance.style == Style::Firmware {
            self.first_bytes().await?;
            if self.rest.first().copied().is_some_and(probe::is_http) {
                return self.browser().await;
            }
        }
        self.drive().await
    }

    fn step(&self, what: impl Into<std::borrow::Cow<'static, str>>) {
        let hub = &self.room.hub;
        hub.amt_journal.borrow_mut().step(self.entrance.attempt, hub.now(), what);
    }

    fn end(&mut self, why: impl Into<std::borrow::Cow<'static, str>>) {
        let (hub, why) = (&self.room.hub, why.into());
        log::debug!("Intel AMT at {}: {why}", self.entrance.remote);
        hub.amt_journal.borrow_mut().end(self.entrance.attempt, hub.now(), why);
    }

    /// Waits for something to look at.
    async fn first_bytes(&mut self) -> io::Result<()> {
        let Self { transport, rest, .. } = self;
        let mut take = |bytes: &[u8]| rest.extend_from_slice(bytes);
        let more = poll_fn(|cx| transport.poll_receive(cx, &mut take));
        let late = async {
            Timer::after(FIRST).await;
            Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was said"))
        };
        match or(more, late).await? {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nothing was said")),
        }
    }

    async fn browser(&mut self) -> io::Result<()> {
        let began = Instant::now();
        loop {
            match probe::answer(&self.rest) {
                Probe::Unfinished if began.elapsed() < FIRST => self.first_bytes().await?,
                Probe::Unfinished | Probe::Nonsense => {
                    self.end("spoke HTTP, but not as browsers do");
                    return Ok(());
                }
                Probe::Answer(answer) => {
                    let mut rest = answer.as_bytes();
                    while !rest.is_empty() {
                        let sent = poll_fn(|cx| self.transport.poll_send(cx, rest));
                        let sent = within(sent).await?;
                        rest = rest.get(sent..).unwrap_or_default();
                    }
                    within(poll_fn(|cx| self.transport.poll_close(cx))).await?;
                    self.end("a browser; it was told what this port is for");
                    return Ok(());
                }
            }
        }
    }

    async fn drive(&mut self) -> io::Result<()> {
        loop {
            while let Some(effect) = self.tunnel.drive(Machine::next_effect) {
                if let Effect::Close(why) = effect {
                    self.tunnel.wake_streams();
                    self.end(why);
                    // What is refused is told so, if it listens.
                    let farewell = poll_fn(|cx| {
                        ready!(self.poll_send(cx))?;
                        self.transport.poll_close(cx)
                    });
                    let _ = within(farewell).await;
                    return Ok(());
                }
                self.apply(effect);
            }
            match poll_fn(|cx| self.poll_wake(cx)).await? {
                Wake::Work => {}
                Wake::Judge => self.judge(),
                Wake::Timer => {
                    self.tunnel.drive(|machine| machine.expire(Instant::now()));
                    self.tunnel.wake_streams();
                }
                Wake::Ended => self.tunnel.drive(Machine::ended),
            }
        }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Wake>> {
        self.tunnel.sleep(cx);
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        if let Some(judging) = &mut self.judging
            && Pin::new(&mut judging.1).poll(cx).is_ready()
        {
            return Poll::Ready(Ok(Wake::Judge));
        }
        if self.tunnel.drive(|machine| machine.has_effect()) {
            return Poll::Ready(Ok(Wake::Work));
        }
        let is_reading = self.tunnel.drive(|machine| {
            machine.wants_input() && machine.out(Instant::now()).len() < HIGH_WATER
        });
        if is_reading && let Poll::Ready(more) = self.poll_receive(cx)? {
            self.tunnel.wake_streams();
            return Poll::Ready(Ok(if more { Wake::Work } else { Wake::Ended }));
        }
        self.poll_timer(cx).map(|()| Ok(Wake::Timer))
    }

    /// Gives the transport what it takes.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { tunnel, transport, .. } = self;
        let mut sent = false;
        let all = tunnel.drive(|machine| {
            let now = Instant::now();
            while let Some(message) = machine.out(now).first() {
                let count = ready!(transport.poll_send(cx, message))?;
                machine.out(now).sent(count);
                sent = true;
            }
            transport.poll_flush(cx)
        });
        if sent {
            // Whoever waits for room, or for the last byte to leave.
            tunnel.wake_streams();
        }
        all
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Self { tunnel, transport, rest, .. } = self;
        if !rest.is_empty() {
            let taken = tunnel.drive(|machine| machine.receive(rest, Instant::now()));
            rest.drain(..taken.min(rest.len()));
            if rest.is_empty() {
                *rest = Vec::new();
            }
            return Poll::Ready(Ok(true));
        }
        let mut take = |bytes: &[u8]| {
            let taken = tunnel.drive(|machine| machine.receive(bytes, Instant::now()));
            rest.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        };
        transport.poll_receive(cx, &mut take)
    }

    /// One timer, armed again only when it has gone off: bytes that come just move the deadline.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let due = self.tunnel.drive(|machine| machine.deadline());
            let (at, timer) = match &mut self.timer {
                Some((at, timer)) if *at <= due => (*at, timer),
                // None yet, or something is due earlier.
                other => {
                    let (at, timer) = other.insert((due, Timer::at(due)));
                    (*at, timer)
                }
            };
            ready!(Pin::new(timer).poll(cx));
            self.timer = None;
            if at >= due {
                return Poll::Ready(());
            }
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Step(what) => self.step(what),
            Effect::Judge(login) => {
                let attempt = self.entrance.attempt;
                self.room.hub.amt_journal.borrow_mut().names(attempt, login.uuid);
                let now = Instant::now();
                let delay = self.room.throttle.delay(self.entrance.remote.ip(), now);
                self.judging = Some(Box::new((*login, Timer::after(delay))));
                if delay.is_zero() {
                    self.judge();
                } else {
                    let ms = delay.as_millis();
                    self.step(format!("waits {ms} ms: logins from its address have failed"));
                }
            }
            Effect::Announce => self.announce(),
            Effect::Control(said) => {
                // Who says more than anybody wants to hear is not heard.
                if let Some(link) = &self.link
                    && link.said.push(Said(said)).is_err()
                {
                    log::debug!("Intel AMT at {}: says too much", self.entrance.remote);
                }
            }
            Effect::Close(_) => {}
        }
    }

    fn judge(&mut self) {
        let Some(judging) = self.judging.take() else { return };
        let (mut login, _) = *judging;
        let report = login.mei.take();
        let (hub, now) = (&self.room.hub, Instant::now());
        let verdict = match self.room.admit(&login, self.entrance.remote) {
            Ok(node) => {
                hub.amt_journal.borrow_mut().is_device(self.entrance.attempt, &node);
                self.step("let in");
                self.node = Some(node);
                self.report = report;
                self.place = None;
                Ok(())
            }
            Err(refusal) => {
                hub.metrics.refuse(Refused::AmtAuth);
                if refusal.is_guess() {
                    self.room.throttle.failed(self.entrance.remote.ip(), now);
                }
                log::warn!(
                    "Intel AMT {} at {} is refused: {refusal}",
                    login.uuid,
                    self.entrance.remote
                );
                Err(format!("refused: {refusal}"))
            }
        };
        self.tunnel.drive(|machine| machine.verdict(verdict, now));
    }

    fn announce(&mut self) {
        let Some(node) = self.node.clone() else { return };
        let hub = &self.room.hub;
        let kind: TunnelKind = self.tunnel.drive(|machine| machine.kind());
        let ports = self.tunnel.drive(|machine| machine.ports().to_vec());
        if hub.store.device(&node).is_none() {
            // In the moment between the login and now.
            return self.tunnel.drive(|machine| machine.disconnect("the device was removed"));
        }
        let carrier = Rc::new(Handle(self.tunnel.clone()));
        let remote = self.entrance.remote;
        let link = Rc::new(AmtTunnel::new(node, kind, hub.now(), remote, carrier));
        let remark = self.room.announce(&link, Instant::now());
        self.link = Some(link);
        self.step(format!("connected, ports {ports:?}"));
        if let Some(remark) = remark {
            self.step(remark);
        }
        if let Some(link) = &self.link {
            if let Some(report) = self.report.take() {
                let said =
                    [("action".to_owned(), "meiState".into()), ("value".to_owned(), report.into())];
                let _ = link.said.push(Said(said.into_iter().collect()));
            }
            hub.amt_tunnel_announced(link);
        }
    }
}

impl<T, P> Drop for Session<T, P> {
    fn drop(&mut self) {
        // Also when the task is thrown out: streams must not wait for ever.
        self.tunnel.drive(Machine::ended);
        self.tunnel.wake_streams();
        if let Some(link) = &self.link {
            link.said.close();
            self.room.leave(link);
        }
    }
}

async fn within<R>(future: impl Future<Output = io::Result<R>>) -> io::Result<R> {
    let late = async {
        Timer::after(FAREWELL).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    or(future, late).await
}

/// Refuses a TLS client with an alert (RFC 8446 section 6): it learns that it was heard.
pub async fn alert<S: AsyncWrite + Unpin>(stream: &mut S, description: u8) {
    let bytes = [21, 3, 1, 0, 2, 2, description];
    let told = async {
        stream.write_all(&bytes).await?;
        stream.close().await
    };
    // Who does not listen does not learn it.
    let _ = within(told).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_javascript_are_bytes() {
        let text: String = [0x00u8, 0x41, 0x80, 0xc0, 0xfa, 0xff].map(char::from).iter().collect();
        assert_eq!(characters(text.as_bytes()), [0x00, 0x41, 0x80, 0xc0, 0xfa, 0xff]);
        assert_eq!(characters("a€b".as_bytes()), *b"a?b");
    }
}
