//! The loop between a WebSocket and a [`Session`]: thin, and never ahead of its peer.
//!
//! While more than [`HIGH_WATER`] bytes wait to be written, neither requests nor events are taken:
//! requests stay in the peer's own buffers, events in the bounded mailbox. What a client sends
//! before it is let in is simply read afterwards.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Timer;
use futures_lite::future::{self, poll_fn};
use futures_lite::io::{AsyncRead, AsyncWrite};
use log::debug;

use crate::hub::{Refused, SessionMessage};
use crate::pool;
use crate::ws::{self, Message, Socket};

use super::Control;
use super::auth::inner::{self, Inner, Step};
use super::auth::{self, Login, Refusal, Upgrade};
use super::request::REQUEST_MAX;
use super::session::{Outcome, Session};

/// Bytes waiting to be written above which nothing more is taken.
const HIGH_WATER: usize = 64 * 1024;
/// How often a session looks whether its peer still reads, and whether it goes on.
const LOOK: Duration = Duration::from_secs(30);
/// Looks in a row at which not one of too many waiting bytes was taken, before the peer is given up.
const PATIENCE: u32 = 4;
/// Time to prove who one is inside the WebSocket.
const PATIENCE_BEFORE_LOGIN: Duration = Duration::from_secs(60);
/// Time to say good-bye.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves one client from its upgrade to its end. `socket` should take messages of up to
/// [`super::request::REQUEST_MAX`] bytes, and the 101 answer must be on the wire. `place` is what
/// the connection occupies among those that have proven nothing; it is dropped when the client is
/// let in.
pub async fn serve<S, P>(
    control: &Rc<Control>,
    mut socket: Socket<S>,
    upgrade: &Upgrade<'_>,
    place: P,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut place = Some(place);
    // Boxed: what it takes to let somebody in is not kept as long as they stay.
    let admitted = match Box::pin(admit(control, &mut socket, upgrade)).await {
        Ok(login) => Session::open(control, login),
        Err(refusal) => Err(refusal.frame()),
    };
    match admitted {
        Ok(session) => {
            place = None;
            run(control, &mut socket, &session).await;
            // Registered no longer than it listens.
            drop(session);
        }
        Err(frame) => socket.send_text(&frame),
    }
    let farewell = async {
        // A peer that has gone already is no error.
        let _ = socket.close(None).await;
    };
    future::or(farewell, async {
        Timer::after(FAREWELL).await;
    })
    .await;
    drop(place);
}

/// Lets the client in, or says why not. Credentials may come inside the WebSocket.
async fn admit<S>(
    control: &Control,
    socket: &mut Socket<S>,
    upgrade: &Upgrade<'_>,
) -> Result<Login, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let is_inner = upgrade.meshauth.is_some_and(|header| header.trim() == "*");
    let wants_more = auth::param(upgrade.query, "moreargs").is_some_and(|more| more == "1");
    if !is_inner && !wants_more {
        return control.gate.admit(upgrade).await;
    }
    let dialog = async {
        socket.set_limit(inner::INNER_MAX);
        let query = if wants_more { more_arguments(socket, upgrade.query).await? } else { None };
        let query = query.as_deref().unwrap_or(upgrade.query);
        let upgrade = Upgrade { query, ..*upgrade };
        if is_inner {
            inner(control, socket, &upgrade).await
        } else {
            socket.set_limit(REQUEST_MAX);
            control.gate.admit(&upgrade).await
        }
    };
    let late = async {
        Timer::after(PATIENCE_BEFORE_LOGIN).await;
        Err(Refusal::NoAuth)
    };
    let outcome = future::or(dialog, late).await;
    socket.set_limit(REQUEST_MAX);
    outcome
}

/// Waits for the arguments that were announced.
async fn more_arguments<S>(socket: &mut Socket<S>, query: &str) -> Result<Option<String>, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let message = hear(socket).await?;
        if let Some(query) = inner::more_arguments(query, message.bytes()) {
            return Ok(Some(query));
        }
    }
}

/// Inner authentication.
async fn inner<S>(
    control: &Control,
    socket: &mut Socket<S>,
    upgrade: &Upgrade<'_>,
) -> Result<Login, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    control.gate.may_enter(upgrade)?;
    let mut dialog = Inner::default();
    loop {
        let message = hear(socket).await?;
        let proof = control.facts().proof.clone();
        let of_proxy = |hash| control.hub.fronts.full_hash(upgrade.domain, hash).is_some();
        let is_ours = |hash| {
            proof.as_ref().is_some_and(|p| p.tls.full_hash(hash).is_some() || of_proxy(hash))
        };
        match dialog.receive(message.bytes(), is_ours) {
            Step::Wait => {}
            Step::Refuse(refusal) => return Err(refusal),
            Step::Prove(credentials) => {
                return control.gate.admit_inner(upgrade, credentials).await;
            }
            Step::Sign(to_sign) => {
                let server = proof.ok_or(Refusal::BadCertificate)?.server;
                let signed = pool::unblock(move || {
                    let signature = server.sign(&to_sign.data);
                    signature.map(|signature| inner::proof(&to_sign, server.der(), &signature))
                });
                let answer = signed.await.map_err(|error| {
                    log::error!("control: inner authentication: {error}");
                    Refusal::BadArguments
                })?;
                socket.send_text(&answer);
                socket.flush().await.map_err(|_| Refusal::NoAuth)?;
            }
        }
    }
}

/// The next message of somebody who has proven nothing.
async fn hear<S>(socket: &mut Socket<S>) -> Result<Message, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match socket.recv().await {
        Ok(Some(message)) => Ok(message),
        Ok(None) | Err(_) => Err(Refusal::NoAuth),
    }
}

/// What happens next.
enum Next {
    Request(Message),
    Message(SessionMessage),
    Beat,
    Stats,
    Look,
    Gone,
    Broken(std::io::Error),
}

/// Moves texts until either side ends.
async fn run<S>(control: &Control, socket: &mut Socket<S>, session: &Session)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut clock = Clock::new(control);
    let mut stuck = Stuck::default();
    if send(socket, session.greeting()) {
        return;
    }
    loop {
        clock.show_stats(session.stats_every());
        let ended = match poll_fn(|cx| poll_next(cx, socket, session, &mut clock)).await {
            Next::Request(message) => send(socket, session.request(message.bytes()).await),
            Next::Message(message) => send(socket, session.receive(message)),
            Next::Beat => {
                if socket.queued() == 0 {
                    socket.send_text(clock.word);
                }
                false
            }
            // Numbers that a slow client has not read yet are not followed by more.
            Next::Stats if socket.queued() > 0 => false,
            Next::Stats => send(socket, session.stats()),
            Next::Look => stuck.is_hopeless(socket.queued()) || send(socket, session.look()),
            Next::Gone => true,
            Next::Broken(error) => {
                if ws::io::protocol_error(&error).is_some() {
                    control.hub.metrics.refuse(Refused::WebSocket);
                }
                true
            }
        };
        if ended {
            return;
        }
    }
}

/// Queues the texts of `outcome`; true if the session is over.
fn send<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<S>, outcome: Outcome) -> bool {
    for text in outcome.texts {
        socket.send_text_owned(text);
    }
    outcome.end
}

fn poll_next<S: AsyncRead + AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    socket: &mut Socket<S>,
    session: &Session,
    clock: &mut Clock,
) -> Poll<Next> {
    if let Poll::Ready(Err(error)) = socket.poll_flush(cx) {
        debug!("control: {}: {error}", session.link().id);
        return Poll::Ready(Next::Gone);
    }
    if socket.queued() <= HIGH_WATER {
        match session.link().mailbox.poll_next(cx) {
            Poll::Ready(Some(message)) => return Poll::Ready(Next::Message(message)),
            Poll::Ready(None) => return Poll::Ready(Next::Gone),
            Poll::Pending => {}
        }
        match socket.poll_recv(cx) {
            Poll::Ready(Ok(Some(message))) => return Poll::Ready(Next::Request(message)),
            Poll::Ready(Ok(None)) => return Poll::Ready(Next::Gone),
            Poll::Ready(Err(error)) => {
                debug!("control: {}: {error}", session.link().id);
                return Poll::Ready(Next::Broken(error));
            }
            Poll::Pending => {}
        }
    }
    clock.poll(cx)
}

/// The timers of a session: `browserPing` or `browserPong`, and looking after the peer.
struct Clock {
    beat: Option<Interval>,
    /// What is sent at each beat.
    word: &'static str,
    /// `serverstats`, while the client wants them.
    stats: Option<Interval>,
    look: Interval,
}

struct Interval {
    period: Duration,
    timer: Timer,
}

impl Interval {
    fn new(period: Duration) -> Self {
        Self { period, timer: Timer::after(period) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let poll = Pin::new(&mut self.timer).poll(cx).map(drop);
        if poll.is_ready() {
            self.timer.set_after(self.period);
        }
        poll
    }
}

impl Clock {
    fn new(control: &Control) -> Self {
        let config = control.hub.config();
        let settings = &config.settings;
        let (period, word) = match (settings.browser_ping, settings.browser_pong) {
            (Some(period), _) => (Some(period), r#"{"action":"ping"}"#),
            (None, period) => (period, r#"{"action":"pong"}"#),
        };
        Self { beat: period.map(Interval::new), word, stats: None, look: Interval::new(LOOK) }
    }

    fn show_stats(&mut self, every: Option<Duration>) {
        if self.stats.as_ref().map(|interval| interval.period) != every {
            self.stats = every.map(Interval::new);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.beat.as_mut().is_some_and(|beat| beat.poll(cx).is_ready()) {
            return Poll::Ready(Next::Beat);
        }
        if self.stats.as_mut().is_some_and(|stats| stats.poll(cx).is_ready()) {
            return Poll::Ready(Next::Stats);
        }
        self.look.poll(cx).map(|()| Next::Look)
    }
}

/// Notices a peer that has stopped reading.
#[derive(Debug, Default)]
struct Stuck {
    queued: usize,
    looks: u32,
}

impl Stuck {
    /// Whether the peer has taken nothing of too much for too long.
    fn is_hopeless(&mut self, queued: usize) -> bool {
        let stands_still = queued > HIGH_WATER && queued == self.queued;
        self.looks = if stands_still { self.looks + 1 } else { 0 };
        self.queued = queued;
        self.looks >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{self, World};
    use crate::hub::Published;
    use crate::model::{Event, Millis, Target};
    use async_io::Async;
    use async_tungstenite::WebSocketStream;
    use async_tungstenite::tungstenite::Message as Frame;
    use async_tungstenite::tungstenite::protocol::Role;
    use futures_lite::StreamExt;
    use std::os::unix::net::UnixStream;

    type Client = WebSocketStream<Async<UnixStream>>;

    /// Runs `client` against a served session of `name`; returns what it returns.
    fn with_client<T>(world: &World, meshauth: &str, client: impl AsyncFnOnce(Client) -> T) -> T {
        future::block_on(async {
            let (here, there) = Async::<UnixStream>::pair().unwrap();
            let socket = Socket::new(here, &[], super::super::request::REQUEST_MAX);
            let upgrade = testing::upgrade(Some(meshauth));
            let served = async {
                serve(&world.control, socket, &upgrade, ()).await;
                future::pending().await
            };
            let peer = async {
                let stream = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
                client(stream).await
            };
            future::or(peer, served).await
        })
    }

    async fn text(client: &mut Client) -> Option<serde_json::Value> {
        match client.next().await? {
            Ok(Frame::Text(text)) => serde_json::from_str(&text).ok(),
            _ => None,
        }
    }

    #[test]
    fn requests_sent_before_the_greeting_are_answered_after_it() {
        let world = World::new();
        let actions = with_client(&world, testing::ADMIN_AUTH, async |mut client| {
            client.send(Frame::text(r#"{"action":"ping"}"#)).await.unwrap();
            client.send(Frame::binary(&br#"{"action":"authcookie"}"#[..])).await.unwrap();
            let mut actions = Vec::new();
            while actions.len() < 5 {
                let frame = text(&mut client).await.unwrap();
                let action = frame["action"].as_str().unwrap();
                // Its own session is counted, too.
                if action != "event" {
                    actions.push(action.to_owned());
                }
            }
            actions
        });
        assert_eq!(actions, ["serverinfo", "userinfo", "traceinfo", "pong", "authcookie"]);
    }

    #[test]
    fn a_refused_client_is_told_why_and_closed() {
        let world = World::new();
        with_client(&world, "YWRtaW4=,d3Jvbmc=", async |mut client| {
            let frame = text(&mut client).await.unwrap();
            assert_eq!(
                frame,
                serde_json::json!(
                {"action": "close", "cause": "noauth", "msg": "noauth-2d"})
            );
            assert!(matches!(client.next().await, Some(Ok(Frame::Close(_)))));
        });
        assert!(world.hub.sessions().is_empty());
    }

    #[test]
    fn a_client_that_does_not_read_costs_bounded_memory_and_is_told_to_resync() {
        let world = World::new();
        with_client(&world, testing::ADMIN_AUTH, async |mut client| {
            text(&mut client).await.unwrap();
            text(&mut client).await.unwrap();
            let session = world.hub.sessions().pop().unwrap();
            let event = Event::new("changenode", world.domain()).transient();
            let published = Rc::new(Published {
                time: Millis(0),
                text: "x".repeat(100_000),
                event: event.to(Target::All),
            });
            let mut refused = 0;
            for _ in 0..100 {
                let message = SessionMessage::Event(published.clone());
                if session.mailbox.push(message).is_err() {
                    session.missed.set(true);
                    refused += 1;
                }
                future::yield_now().await;
            }
            assert!(refused > 40, "{refused}");
            let marker = loop {
                match client.next().await.unwrap().unwrap() {
                    Frame::Text(text) if text.contains("resync") => break text,
                    _ => {}
                }
            };
            assert!(marker.starts_with(r#"{"action":"event""#));
        });
    }

    #[test]
    fn a_peer_that_stopped_reading_is_given_up() {
        let mut stuck = Stuck::default();
        let looks = [HIGH_WATER + 1; 5].map(|queued| stuck.is_hopeless(queued));
        assert_eq!(looks, [false, false, false, false, true]);
        assert!(!stuck.is_hopeless(HIGH_WATER + 2), "it took or got something");
        assert!((0..9).all(|_| !stuck.is_hopeless(100)), "little is waiting");
    }
}
