//! The socket loop of one agent: thin, everything is decided in [`super::machine`].
//!
//! Memory per idle agent on top of TLS and the socket: this future (see the size test), the
//! machine's `Active` state, the hub's link. No buffer, no queue, one timer.

use std::future::Future;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::Timer;
use async_lock::SemaphoreGuardArc;
use bytes::Bytes;
use futures_lite::future::poll_fn;
use futures_lite::io::{AsyncRead, AsyncWrite};

use crate::hub::held::HeldCause;
use crate::hub::{AgentCommand, AgentLink, Mailbox, Refused};
use crate::model::{DomainId, Key48};
use crate::pool;
use crate::ws::{self, Message, Socket};

use super::auth::Handshake;
use super::machine::{Agent, Effect};
use super::package::CoreName;
use super::room::{Payload, Room};
use super::wire;

/// Nothing more is taken from the agent or its mailbox while this many bytes wait to be written.
const HIGH_WATER: usize = 64 * 1024;
/// An agent that has not authenticated by then is dropped. A slow board signs in seconds.
const AUTHENTICATION: Duration = Duration::from_secs(60);

/// Serves one agent until its connection ends.
///
/// One that is `refused` before it has said anything is held without a word. `place` is what the
/// connection occupies among those that have proven nothing; it is dropped when the agent
/// is let in.
pub async fn run<S, P>(
    room: Rc<Room>,
    mut socket: Socket<S>,
    domain: DomainId,
    remote: SocketAddr,
    refused: Option<HeldCause>,
    place: P,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(server) = room.server() else { return };
    let agent = match refused {
        Some(cause) => Agent::refused(room.clone(), domain, remote, cause),
        None => {
            let mut nonce = [0; 48];
            if let Err(error) = getrandom::fill(&mut nonce) {
                log::error!("no random numbers: {error}");
                return;
            }
            let handshake = Handshake::new(server.id(), nonce);
            Agent::new(room.clone(), domain, remote, handshake)
        }
    };
    socket.set_limit(wire::PREAUTH_LIMIT);
    let config = room.hub.config();
    let keep_alive = match (config.settings.agent_ping, config.settings.agent_pong) {
        (Some(every), _) => Some((every, "ping")),
        (None, Some(every)) => Some((every, "pong")),
        (None, None) => None,
    };
    let mut session = Session {
        clock: SessionClock::new(Instant::now(), config.settings.agent_idle_timeout, keep_alive),
        room,
        socket,
        agent,
        place: Some(place),
        link: None,
        told: None,
        jobs: Vec::new(),
        update: None,
        upload: None,
    };
    if let Err(error) = session.drive().await {
        let metrics = &session.room.hub.metrics;
        if ws::io::protocol_error(&error).is_some() {
            metrics.refuse(Refused::WebSocket);
        } else if error.kind() == io::ErrorKind::TimedOut && session.agent.is_authenticating() {
            metrics.refuse(Refused::AgentAuth);
        }
        log::debug!("agent at {remote}: {error}");
    }
}

struct Session<S, P> {
    room: Rc<Room>,
    socket: Socket<S>,
    agent: Agent,
    /// Kept by agents that are not let in.
    place: Option<P>,
    link: Option<Rc<AgentLink>>,
    /// What one that is held listens to.
    told: Option<Rc<Mailbox<AgentCommand>>>,
    jobs: Vec<Job>,
    update: Option<Box<Update>>,
    /// Held while a core is on its way and the agent has not answered.
    upload: Option<SemaphoreGuardArc>,
    clock: SessionClock,
}

/// Work for the pool on behalf of this agent.
type Job = Pin<Box<dyn Future<Output = Done>>>;

enum Done {
    Signed(Result<(Vec<u8>, Vec<u8>), String>),
    Core(io::Result<(Vec<u8>, Bytes)>, SemaphoreGuardArc),
    Block(Box<Update>, io::Result<Vec<u8>>),
    Failed(String),
}

/// A binary on its way to the agent.
struct Update {
    file: std::fs::File,
    hash: Key48,
    block: usize,
    started: bool,
}

/// What woke the loop.
enum Wake {
    Message(Message),
    Mailbox(Option<AgentCommand>),
    Done(Done),
    Timer,
    Ended,
}

impl<S: AsyncRead + AsyncWrite + Unpin, P> Session<S, P> {
    async fn drive(&mut self) -> io::Result<()> {
        loop {
            while let Some(effect) = self.agent.next_effect() {
                if let Effect::Close = effect {
                    // A polite end: the agent reconnects at once and is judged anew.
                    let close = self.socket.close(None);
                    let limit = async {
                        Timer::after(Duration::from_secs(2)).await;
                        Ok(())
                    };
                    return futures_lite::future::or(close, limit).await;
                }
                self.apply(effect);
            }
            match poll_fn(|cx| self.poll_wake(cx)).await? {
                Wake::Message(message) => {
                    let bytes = message.bytes();
                    self.room.hub.metrics.agent_in.fetch_add(bytes.len() as u64, Relaxed);
                    self.agent.receive(bytes);
                }
                Wake::Mailbox(command) => {
                    if command.is_none() {
                        self.link = None;
                    }
                    self.agent.command(command);
                }
                Wake::Done(done) => self.finish(done)?,
                Wake::Timer => {
                    let (received, authenticating) =
                        (self.socket.last_received(), self.agent.is_authenticating());
                    let due = self.clock.expire(Instant::now(), received, authenticating)?;
                    if let Some(action) = due {
                        self.agent.keep_alive(action);
                    }
                }
                Wake::Ended => return Ok(()),
            }
        }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Wake>> {
        if let Poll::Ready(Err(error)) = self.socket.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        for at in 0..self.jobs.len() {
            if let Some(job) = self.jobs.get_mut(at)
                && let Poll::Ready(done) = job.as_mut().poll(cx)
            {
                drop(self.jobs.swap_remove(at));
                if self.jobs.is_empty() {
                    self.jobs = Vec::new();
                }
                return Poll::Ready(Ok(Wake::Done(done)));
            }
        }
        if self.socket.queued() < HIGH_WATER {
            let mailbox = self.link.as_deref().map(|link| &link.mailbox).or(self.told.as_deref());
            if let Some(mailbox) = mailbox
                && let Poll::Ready(command) = mailbox.poll_next(cx)
            {
                return Poll::Ready(Ok(Wake::Mailbox(command)));
            }
            if let Poll::Ready(message) = self.socket.poll_recv(cx)? {
                return Poll::Ready(Ok(message.map_or(Wake::Ended, Wake::Message)));
            }
        }
        let (received, authenticating) =
            (self.socket.last_received(), self.agent.is_authenticating());
        self.clock.poll(cx, received, authenticating).map(|()| Ok(Wake::Timer))
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Send(bytes) => {
                self.room.hub.metrics.agent_out.fetch_add(bytes.len() as u64, Relaxed);
                self.socket.send_binary(&bytes);
            }
            Effect::Sign(data) => {
                let Some(server) = self.room.server() else { return };
                self.jobs.push(Box::pin(async move {
                    let signed = move || {
                        let signature = server.sign(&*data)?;
                        Ok((server.der().to_vec(), signature))
                    };
                    Done::Signed(pool::unblock(signed).await)
                }));
            }
            Effect::Admitted(link) => {
                self.socket.set_limit(wire::MESSAGE_LIMIT);
                self.place = None;
                self.link = Some(link);
            }
            Effect::Held(mailbox) => self.told = Some(mailbox),
            Effect::Upload(name, compressed) => self.upload(name, compressed),
            Effect::UploadDone => self.upload = None,
            Effect::StartUpdate(id, zipped) => self.start_update(id, zipped),
            Effect::NextBlock => self.next_block(),
            Effect::Close => {}
        }
    }

    fn upload(&mut self, name: CoreName, compressed: bool) {
        let room = self.room.clone();
        let permit = self.upload.take();
        self.jobs.push(Box::pin(async move {
            let permit = match permit {
                Some(permit) => permit,
                None => room.uploads.acquire_arc().await,
            };
            Done::Core(room.core_message(name, compressed).await, permit)
        }));
    }

    fn start_update(&mut self, id: u32, zipped: bool) {
        let Some(Payload { path, hash, block }) = self.room.update_payload(id, zipped) else {
            return;
        };
        self.jobs.push(Box::pin(async move {
            let opened = pool::unblock(move || {
                std::fs::File::open(&path).map_err(|e| format!("{}: {e}", path.display()))
            });
            match opened.await {
                Ok(file) => {
                    let update = Box::new(Update { file, hash, block, started: false });
                    read_block(update).await
                }
                Err(error) => Done::Failed(error),
            }
        }));
    }

    fn next_block(&mut self) {
        if let Some(update) = self.update.take() {
            self.jobs.push(Box::pin(read_block(update)));
        }
    }

    fn finish(&mut self, done: Done) -> io::Result<()> {
        match done {
            Done::Signed(Ok((certificate, signature))) => {
                self.agent.signed(&certificate, &signature);
            }
            Done::Signed(Err(error)) => return Err(io::Error::other(error)),
            Done::Core(Ok((head, image)), permit) => {
                self.socket.send_binary_shared(&head, image);
                self.upload = Some(permit);
            }
            Done::Core(Err(error), _) => log::error!("agent core: {error}"),
            Done::Failed(error) => {
                // The agent's core is cleared already: it gets it back when it reconnects.
                return Err(io::Error::other(error));
            }
            Done::Block(mut update, block) => {
                let block = block?;
                if !update.started {
                    update.started = true;
                    self.socket.send_binary(&wire::UPDATE_START);
                }
                let last = block.len() < update.block;
                if !block.is_empty() {
                    self.socket.send_binary(&[&wire::UPDATE_BLOCK, block.as_slice()].concat());
                }
                if last {
                    self.socket.send_binary(&wire::update_end(update.hash));
                } else {
                    self.update = Some(update);
                }
            }
        }
        Ok(())
    }
}

/// Reads the next block; a short one is the last.
async fn read_block(mut update: Box<Update>) -> Done {
    let (update, block) = pool::unblock(move || {
        let mut block = Vec::new();
        let read = update.file.by_ref().take(update.block as u64).read_to_end(&mut block);
        (update, read.map(|_| block))
    })
    .await;
    Done::Block(update, block)
}

/// Deadlines of one connection, on one timer that is re-armed lazily: bytes that arrive only move
/// a time stamp.
struct SessionClock {
    authenticate_by: Instant,
    idle: Option<Duration>,
    keep_alive: Option<(Duration, &'static str, Instant)>,
    timer: Option<Timer>,
}

impl SessionClock {
    fn new(
        now: Instant,
        idle: Option<Duration>,
        keep_alive: Option<(Duration, &'static str)>,
    ) -> Self {
        Self {
            authenticate_by: now + AUTHENTICATION,
            idle,
            keep_alive: keep_alive.map(|(every, what)| (every, what, now + every)),
            timer: None,
        }
    }

    fn next(&self, received: Instant, authenticating: bool) -> Option<Instant> {
        let idle = self.idle.map(|idle| received + idle);
        let authenticate = authenticating.then_some(self.authenticate_by);
        let keep_alive = self.keep_alive.map(|(_, _, at)| at);
        [idle, authenticate, keep_alive].into_iter().flatten().min()
    }

    fn poll(&mut self, cx: &mut Context<'_>, received: Instant, authenticating: bool) -> Poll<()> {
        if self.timer.is_none() {
            self.timer = self.next(received, authenticating).map(Timer::at);
        }
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        pin!(timer).poll(cx).map(|_| self.timer = None)
    }

    /// Judges an expired timer: an error ends the connection, a keep-alive is to be sent.
    fn expire(
        &mut self,
        now: Instant,
        received: Instant,
        authenticating: bool,
    ) -> io::Result<Option<&'static str>> {
        if authenticating && now >= self.authenticate_by {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "did not authenticate in time"));
        }
        if self.idle.is_some_and(|idle| now >= received + idle) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "silent for too long"));
        }
        if let Some((every, action, at)) = &mut self.keep_alive
            && now >= *at
        {
            *at = now + *every;
            return Ok(Some(*action));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_late(verdict: io::Result<Option<&'static str>>) -> bool {
        verdict.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
    }

    #[test]
    fn who_never_finishes_authentication_is_dropped_however_much_it_says() {
        let start = Instant::now();
        let mut clock = SessionClock::new(start, Some(Duration::from_secs(150)), None);
        let just_before = start + AUTHENTICATION - Duration::from_millis(1);
        assert_eq!(clock.next(just_before, true), Some(start + AUTHENTICATION));
        assert_eq!(clock.expire(just_before, just_before, true).ok(), Some(None));
        let end = start + AUTHENTICATION;
        assert!(is_late(clock.expire(end, end, true)));
        assert_eq!(clock.expire(end, end, false).ok(), Some(None), "let in or held: it stays");
    }

    #[test]
    fn silence_ends_a_connection_and_any_byte_prolongs_it() {
        let (start, idle) = (Instant::now(), Duration::from_secs(150));
        let mut clock = SessionClock::new(start, Some(idle), None);
        assert_eq!(clock.next(start, false), Some(start + idle));
        let heard = start + Duration::from_secs(100);
        assert_eq!(clock.next(heard, false), Some(heard + idle));
        assert_eq!(clock.expire(start + idle, heard, false).ok(), Some(None));
        assert!(is_late(clock.expire(heard + idle, heard, false)));
    }

    #[test]
    fn a_keep_alive_is_due_once_per_period() {
        let (start, every) = (Instant::now(), Duration::from_secs(30));
        let mut clock = SessionClock::new(start, None, Some((every, "ping")));
        for beat in 1..4 {
            let now = start + every * beat;
            assert_eq!(clock.next(start, false), Some(now));
            assert_eq!(clock.expire(now, start, false).ok(), Some(Some("ping")));
            assert_eq!(clock.expire(now, start, false).ok(), Some(None));
        }
    }
}
