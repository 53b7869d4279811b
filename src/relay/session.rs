//! From an upgraded socket to a running tunnel to its end: sockets and timers, thin.
//!
//! Whoever arrives first waits in its own task and is not read meanwhile; whoever arrives second
//! hands its socket over and is done. So a tunnel is one task, and dropping it ends everything.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Timer;
use futures_lite::future::{or, poll_fn};
use log::{debug, info};

use crate::hub::{Refused, TunnelLink, TunnelMessage};
use crate::ws::{Opcode, Socket};

use super::admission::{Who, enter};
use super::chat;
use super::desk;
use super::lane::{Lane, Observer, Side};
use super::pairing::{Arrival, WAIT};
use super::pipe::{Over, Pipe, Stream};
use super::recording::name::Form;
use super::recording::recorder::From;
use super::recording::{Subject, Tap};
use super::room::{Room, Seat};
use super::running::Running;
use super::standing::{Standing, Terms, is_still_allowed, standing};
use super::visitor::Visitor;
use super::wire::{Speech, TunnelQuery};

/// Time to say good-bye to somebody who does not get a tunnel.
const FAREWELL: Duration = Duration::from_secs(5);

/// An end of a tunnel that may be joined to another.
pub struct Arrived {
    pub(super) socket: Socket<Box<dyn Stream>>,
    pub(super) remote: SocketAddr,
    pub(super) who: Who,
    pub(super) query: TunnelQuery,
}

/// Serves one end from its upgrade to the end of its tunnel. The 101 answer must be on the wire.
/// `place` is what the connection occupies among those that have proven nothing; it is kept until
/// the other end is there.
pub async fn serve<S, P>(room: &Rc<Room>, socket: Socket<Box<S>>, visitor: &impl Visitor, place: P)
where
    S: Stream + 'static,
{
    let (io, early) = socket.into_parts();
    let io: Box<dyn Stream> = io;
    // It is only closed by this socket, or handed on; nothing is read through it.
    let socket = Socket::new(io, &early, 0);
    let remote = visitor.remote();
    let entered = Box::pin(enter(room, visitor)).await;
    let (who, query, call) = match entered {
        Ok(entered) => entered,
        Err(why) => {
            debug!("relay: {remote} is closed: {why}");
            return close(socket).await;
        }
    };
    let id = query.id.clone().unwrap_or_default();
    let tunnel = (visitor.domain().clone(), id.clone());
    let (claim, chats) = (who.claim(), who.chats());
    let mut mine = Arrived { socket, remote, who, query };
    let mut place = place;
    if let Some(node) = call.as_ref().and_then(|call| call.shared_desktop(room, &mine.query)) {
        match Box::pin(desk::watch(room, node.clone(), mine, place)).await {
            Ok(()) => return,
            Err(back) => (mine, place) = back,
        }
    }
    // In a chat both are known from the start, and people take their time.
    let (wait, place) = match chats {
        true => (chat::WAIT, None),
        false => (WAIT, Some(place)),
    };
    let (sender, other) = async_channel::bounded(1);
    match room.arrive(tunnel, claim, wait, || sender) {
        Arrival::Refused(why) => {
            debug!("relay: {remote} is closed: {why}");
            close(mine.socket).await;
        }
        Arrival::Paired(ticket, first) => {
            drop(place);
            // If the first end has just given up, nobody is left to be joined to.
            if let Err(error) = first.try_send(mine) {
                drop(room.seat(ticket));
                close(error.into_inner().socket).await;
            }
        }
        Arrival::Held(ticket) => {
            let seat = room.seat(ticket);
            if let Some(call) = call
                && let Err(why) = call.make(room, &id, &mine)
            {
                drop(seat);
                debug!("relay: {remote} is closed: {why:?}");
                return close(mine.socket).await;
            }
            let end = async {
                let late = async {
                    Timer::after(wait).await;
                };
                match chats {
                    true => or(late, has_gone(&mut mine.socket)).await,
                    false => late.await,
                }
                None
            };
            match or(async { other.recv().await.ok() }, end).await {
                Some(other) => {
                    drop(place);
                    Box::pin(join(room, seat, id, mine, other)).await;
                }
                None => {
                    drop(seat);
                    debug!("relay: {remote} is closed: the other end did not come");
                    close(mine.socket).await;
                }
            }
        }
    }
}

/// Waits until a peer leaves, or says anything: it has nothing to say before the other is there.
async fn has_gone(socket: &mut Socket<Box<dyn Stream>>) {
    let _ = socket.recv().await;
}

/// Says good-bye, within a time.
pub(super) async fn close(mut socket: Socket<Box<dyn Stream>>) {
    let farewell = async {
        // A peer that has gone already is no error.
        let _ = socket.close(None).await;
    };
    or(farewell, async {
        Timer::after(FAREWELL).await;
    })
    .await;
}

/// Joins two ends that belong together, and runs their tunnel to its end.
async fn join(room: &Rc<Room>, seat: Seat, id: Box<str>, first: Arrived, second: Arrived) {
    let (viewer, agent) = match first.who {
        Who::Viewer(_) | Who::Chatter(_) => (first, second),
        Who::Agent(..) | Who::Bearer(_) => (second, first),
    };
    let Some(mut terms) = Terms::of(room, &viewer, &agent) else {
        let owner = viewer.who.claim().owner().user.clone();
        info!("relay: {owner} has no right to tunnel {id:?} any more");
        drop(seat);
        futures_lite::future::zip(close(viewer.socket), close(agent.socket)).await;
        return;
    };
    let keep_alive = KeepAlive::between(room, &viewer, &agent);
    let mut link = TunnelLink::new(terms.purpose, viewer.remote, agent.remote, room.hub.now());
    link.partner = terms.partner;
    let running = Running::start(&room.hub, id, link);
    // On the list already, so that a right that is lost meanwhile is not missed.
    let tap = match recorded(room, &running, &viewer, &agent) {
        Some(subject) => {
            if let (Some(filter), Some(user)) = (&mut terms.filter, &subject.user) {
                filter.reserve(room.reserved(user, &subject.device, subject.protocol));
            }
            room.record(subject).await
        }
        None => None,
    };
    let lanes = (Lane::new(Side::Viewer, terms.filter), Lane::new(Side::Agent, None));
    let word: &[u8] = if tap.is_some() { b"cr" } else { b"c" };
    let observer = tap.map(|tap| Box::new(tap) as Box<dyn Observer>);
    let ends = (viewer.socket.into_parts(), agent.socket.into_parts());
    let mut pipe = Pipe::new(ends.0, ends.1, lanes, observer, room.turns.clone());
    pipe.tell_both(Opcode::Text, word);
    match run(room, &running.link, &mut pipe, keep_alive).await {
        End::Over(Over::Gone(side)) => debug!("relay: the {side:?}'s end has gone"),
        End::Over(Over::Broken(side, error)) => {
            room.hub.metrics.refuse(Refused::WebSocket);
            info!("relay: {}: the {side:?}'s end: {error}", running.link.purpose.user);
        }
        End::Over(Over::Refused(why)) | End::Asked(why) => {
            info!("relay: a tunnel of {} ends: {why}", running.link.purpose.user);
        }
    }
    // Registered no longer than anything passes.
    drop((running, seat));
    pipe.part().await;
}

/// What a recorder is told of a tunnel; `None` if it is to no device.
fn recorded(room: &Room, running: &Running, viewer: &Arrived, agent: &Arrived) -> Option<Subject> {
    let purpose = &running.link.purpose;
    let (user, device, _) = standing(room, &purpose.user, purpose.node.as_ref()?)?;
    let address = |end: &Arrived| Some(end.remote.ip().to_canonical().to_string());
    let (form, session) = match chat::is_chat(&running.id) {
        true => (Form::Chat, "Messenger".to_owned()),
        false => (Form::Blocks, running.id.to_string()),
    };
    Some(Subject {
        user: Some(user),
        device,
        protocol: purpose.protocol,
        session,
        addresses: [address(viewer), address(agent)],
        form,
    })
}

impl Observer for Tap {
    fn message(&self, from: Side, opcode: Opcode, length: u64) {
        Tap::message(self, speaker(from), opcode == Opcode::Binary, length);
    }

    fn payload(&self, from: Side, bytes: &[u8]) {
        Tap::payload(self, speaker(from), bytes);
    }

    fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        Tap::poll_ready(self, cx)
    }
}

fn speaker(side: Side) -> From {
    match side {
        Side::Viewer => From::User,
        Side::Agent => From::Device,
    }
}

/// Why a tunnel ends.
enum End {
    Over(Over),
    Asked(&'static str),
}

/// What woke the loop.
enum Wake {
    Over(Over),
    Message(Option<TunnelMessage>),
    Late,
    Beat,
}

/// Moves what passes until either end, a lost right or somebody else ends the tunnel.
async fn run(
    room: &Room,
    link: &TunnelLink,
    pipe: &mut Pipe,
    mut keep_alive: Option<KeepAlive>,
) -> End {
    let mut deadline = Deadline::of(room, link);
    loop {
        let wake = poll_fn(|cx| {
            let moved = pipe.poll_move(cx);
            let traffic = pipe.traffic();
            link.from_viewer.set(traffic.from_viewer);
            link.from_agent.set(traffic.from_agent);
            link.sent.set(traffic.sent);
            if let Poll::Ready(over) = moved {
                return Poll::Ready(Wake::Over(over));
            }
            if let Poll::Ready(message) = link.mailbox.poll_next(cx) {
                return Poll::Ready(Wake::Message(message));
            }
            if deadline.poll(cx).is_ready() {
                return Poll::Ready(Wake::Late);
            }
            match &mut keep_alive {
                Some(beat) => Pin::new(&mut beat.timer).poll(cx).map(|_| Wake::Beat),
                None => Poll::Pending,
            }
        });
        match wake.await {
            Wake::Over(over) => return End::Over(over),
            Wake::Message(Some(TunnelMessage::Recheck)) => {
                if !is_still_allowed(room, link, pipe) {
                    return End::Asked("its user has lost the right to it");
                }
                deadline = Deadline::of(room, link);
            }
            Wake::Late => {
                if Standing::of(room, &link.purpose).is_none() {
                    return End::Asked("its guest's time is up");
                }
                deadline = Deadline::of(room, link);
            }
            Wake::Message(Some(TunnelMessage::End(why))) => return End::Asked(why),
            Wake::Message(None) => return End::Asked("it was ended"),
            Wake::Beat => {
                if let Some(beat) = &mut keep_alive {
                    beat.timer.set_after(beat.every);
                    pipe.tell_both(Opcode::Text, beat.word.as_bytes());
                }
            }
        }
    }
}

/// Longest time until the clock is asked again whether a guest's time is up: a board's clock may
/// be set meanwhile.
const LOOK: Duration = Duration::from_secs(60);

/// Wakes when the time of a guest may be up.
pub(super) struct Deadline(Option<Timer>);

impl Deadline {
    /// A share may be shortened or lengthened while it is used, so this is asked anew each time.
    pub(super) fn of(room: &Room, link: &TunnelLink) -> Self {
        let until = Standing::of(room, &link.purpose).and_then(|standing| standing.until);
        Self(until.map(|until| Timer::after(until.since(room.hub.now()).min(LOOK))))
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(timer) => Pin::new(timer).poll(cx).map(drop),
            None => Poll::Pending,
        }
    }
}

/// JSON pings or pongs to both ends, if the settings want them (`agentPing`, `agentPong`); some
/// clients cannot bear them.
pub(super) struct KeepAlive {
    pub(super) every: Duration,
    pub(super) word: &'static str,
    pub(super) timer: Timer,
}

impl KeepAlive {
    fn between(room: &Room, viewer: &Arrived, agent: &Arrived) -> Option<Self> {
        let is_udp = matches!(&agent.who, Who::Agent(pass, _) if pass.speech == Speech::Udp);
        let is_wanted = !viewer.query.no_ping && !agent.query.no_ping && !is_udp;
        Self::of(room).filter(|_| is_wanted)
    }

    /// What the settings want.
    pub(super) fn of(room: &Room) -> Option<Self> {
        let config = room.hub.config();
        let (every, word) = match (config.settings.agent_ping, config.settings.agent_pong) {
            (Some(every), _) => (every, r#"{"ctrlChannel":"102938","type":"ping"}"#),
            (None, every) => (every?, r#"{"ctrlChannel":"102938","type":"pong"}"#),
        };
        Some(Self { every, word, timer: Timer::after(every) })
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
