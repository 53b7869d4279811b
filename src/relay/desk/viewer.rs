//! A viewer's end of a desk: its socket, its timers, its rights.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::future::poll_fn;
use log::{debug, info};

use crate::hub::{Refused, TunnelLink, TunnelMessage, TunnelPurpose};
use crate::model::NodeId;
use crate::ws::{self, Opcode, Socket};

use super::super::admission::Who;
use super::super::desktop::multiplex::VIEWER_MESSAGE_MAX;
use super::super::desktop::{Message, Refusal, ViewerId};
use super::super::pipe::Stream;
use super::super::room::{DESKTOP, Room};
use super::super::session::{Arrived, Deadline, KeepAlive, close};
use super::super::standing::is_still_himself;
use super::super::turns::Ticket;
use super::{Admitted, Desk, WAITING_MAX};

/// Bytes written, and messages read, in one turn; then other tasks have theirs.
const WRITE_TURN: usize = 256 << 10;
const READ_TURN: usize = 16;

/// Lets a viewer watch the desktop of `node`, until either ends it. `place` is what the connection
/// occupies among those that have proven nothing.
///
/// # Errors
/// The viewer and its place, if it has to have a tunnel of its own.
pub(in super::super) async fn watch<P>(
    room: &Rc<Room>,
    node: NodeId,
    viewer: Arrived,
    place: P,
) -> Result<(), (Arrived, P)> {
    let Who::Viewer(owner) = &viewer.who else { return Err((viewer, place)) };
    let mut purpose = TunnelPurpose {
        user: owner.user.clone(),
        node: Some(node.clone()),
        protocol: DESKTOP,
        guest: None,
        share: owner.share.clone(),
    };
    let admitted = Admitted::of(room, &purpose, viewer.remote.ip());
    let (Some(admitted), Some(agent)) = (admitted, room.hub.agent(&node)) else {
        debug!("relay: {} is closed: no desktop for {}", viewer.remote, purpose.user);
        close(viewer.socket).await;
        return Ok(());
    };
    purpose.guest = admitted.guest.as_ref().map(|guest| guest.name.clone());
    // On the list at once, so that a right that is lost meanwhile is not missed.
    let link = TunnelLink::new(purpose, viewer.remote, agent.remote, room.hub.now());
    let link = Rc::new(link);
    let registered = room.hub.tunnels.register(link.clone());
    let (desk, id) = loop {
        let Some(desk) = room.desks.find_or_open(room, &admitted) else {
            close(viewer.socket).await;
            return Ok(());
        };
        desk.record_for(&admitted).await;
        match desk.join(&admitted) {
            Ok(id) => break (desk, id),
            Err(Refusal::Over) => {}
            Err(why @ (Refusal::Crowded | Refusal::Consent)) => {
                debug!("relay: {} has a tunnel of its own: {why}", link.purpose.user);
                return Err((viewer, place));
            }
        }
    };
    drop(place);
    let Arrived { mut socket, query, .. } = viewer;
    socket.set_limit(VIEWER_MESSAGE_MAX);
    let keep_alive = KeepAlive::of(room).filter(|_| !query.no_ping);
    let seat = Seat { desk, id };
    let ticket = Ticket::default();
    let mut watching = Watching { seat: &seat, link: &link, socket: &mut socket, ticket };
    let ended = watching.run(keep_alive).await;
    match ended {
        Ended::Gone => debug!("relay: a viewer of {} has gone", seat.desk.id),
        Ended::Broken(error) => {
            room.hub.metrics.refuse(Refused::WebSocket);
            info!("relay: {}: the viewer's end: {error}", link.purpose.user);
        }
        Ended::Asked(why) => info!("relay: a viewer of {} goes: {why}", seat.desk.id),
        Ended::Closed => {}
    }
    let last_words = seat.last_words();
    // Registered no longer than it watches.
    drop((seat, registered));
    last_words.iter().for_each(|message| send(&mut socket, message));
    close(socket).await;
    Ok(())
}

/// A viewer's place at its desk; dropping it is leaving.
struct Seat {
    desk: Rc<Desk>,
    id: ViewerId,
}

impl Seat {
    fn last_words(&self) -> Vec<Message> {
        let mut viewers = self.desk.viewers.borrow_mut();
        viewers.get_mut(&self.id).map(|end| std::mem::take(&mut end.last_words)).unwrap_or_default()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.desk.viewers.borrow_mut().remove(&self.id);
        self.desk.act(|mux, now| mux.leave(self.id, now));
    }
}

/// Why somebody watches no more.
enum Ended {
    /// The desk has closed it.
    Closed,
    /// It went.
    Gone,
    /// It broke the protocol.
    Broken(ws::Error),
    /// For this reason.
    Asked(&'static str),
}

/// What woke the loop.
enum Wake {
    Ended(Ended),
    Message(Option<TunnelMessage>),
    Late,
    Beat,
}

struct Watching<'w> {
    seat: &'w Seat,
    link: &'w TunnelLink,
    socket: &'w mut Socket<Box<dyn Stream>>,
    ticket: Ticket,
}

impl Watching<'_> {
    async fn run(&mut self, mut keep_alive: Option<KeepAlive>) -> Ended {
        let room = self.seat.desk.room.clone();
        let mut deadline = Deadline::of(&room, self.link);
        loop {
            let wake = poll_fn(|cx| {
                if let Poll::Ready(ended) = self.poll_move(cx) {
                    return Poll::Ready(Wake::Ended(ended));
                }
                if let Poll::Ready(message) = self.link.mailbox.poll_next(cx) {
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
                Wake::Ended(ended) => return ended,
                Wake::Message(Some(TunnelMessage::Recheck)) => {
                    if !self.is_still_allowed(&room) {
                        return Ended::Asked("its user has lost the right to it");
                    }
                    deadline = Deadline::of(&room, self.link);
                }
                Wake::Message(Some(TunnelMessage::End(why))) => return Ended::Asked(why),
                Wake::Message(None) => return Ended::Asked("it was ended"),
                Wake::Late => {
                    if !self.is_still_allowed(&room) {
                        return Ended::Asked("its guest's time is up");
                    }
                    deadline = Deadline::of(&room, self.link);
                }
                Wake::Beat => {
                    if let Some(beat) = &mut keep_alive {
                        beat.timer.set_after(beat.every);
                        if self.socket.queued() < WAITING_MAX {
                            self.socket.send_text(beat.word);
                        }
                    }
                }
            }
        }
    }

    /// Puts the rights as they are now in force.
    fn is_still_allowed(&self, room: &Room) -> bool {
        let TunnelLink { purpose, viewer, .. } = self.link;
        let Some(admitted) = Admitted::of(room, purpose, viewer.ip()) else { return false };
        let Seat { desk, id } = self.seat;
        desk.act(|mux, now| mux.set_input(*id, Some(admitted.input), now));
        is_still_himself(room, self.link)
    }

    /// Moves what can be moved; ready when this viewer is done.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let Seat { desk, id } = self.seat;
        match desk.viewers.borrow_mut().get_mut(id) {
            Some(end) if !end.closed => end.waker = Some(cx.waker().clone()),
            _ => return Poll::Ready(Ended::Closed),
        }
        ready!(desk.room.turns.poll_begin(&mut self.ticket, cx));
        let before = self.link.sent.get();
        let ended = self.poll_write(cx);
        let moved = self.link.sent.get() - before;
        desk.room.turns.spend(usize::try_from(moved).unwrap_or(usize::MAX));
        if ended.is_ready() { ended } else { self.poll_read(cx) }
    }

    /// Tells the viewer what there is to tell, as far as it listens.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let Seat { desk, id } = self.seat;
        let mut turn = WRITE_TURN;
        loop {
            while self.socket.queued() < WAITING_MAX {
                let next = desk.act(|mux, now| mux.next_for(*id, now));
                let Some(message) = next else { break };
                self.link.sent.set(self.link.sent.get() + message.bytes().len() as u64);
                send(self.socket, &message);
            }
            let waiting = self.socket.queued();
            if ready!(self.socket.poll_flush(cx)).is_err() {
                return Poll::Ready(Ended::Gone);
            }
            turn = turn.saturating_sub(waiting);
            match (waiting, turn) {
                (0, _) => return Poll::Pending,
                (_, 0) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                _ => {}
            }
        }
    }

    /// Hears the viewer, as far as the agent does.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let Seat { desk, id } = self.seat;
        for _ in 0..READ_TURN {
            if !desk.agent.has_room() {
                // The agent's task wakes whoever waits for that.
                return Poll::Pending;
            }
            let message = match ready!(self.socket.poll_recv(cx)) {
                Ok(Some(message)) => message,
                Ok(None) => return Poll::Ready(Ended::Gone),
                Err(error) => {
                    let broken = ws::io::protocol_error(&error).map(Ended::Broken);
                    return Poll::Ready(broken.unwrap_or(Ended::Gone));
                }
            };
            let length = message.bytes().len() as u64;
            self.link.from_viewer.set(self.link.from_viewer.get() + length);
            let message = message.into();
            desk.act(|mux, now| mux.receive_viewer(*id, &message, now));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Queues a message of the desk.
pub(super) fn send(socket: &mut Socket<Box<dyn Stream>>, message: &Message) {
    match message {
        Message::Text(text) => socket.send_shared(Opcode::Text, text),
        Message::Binary(bytes) => socket.send_shared(Opcode::Binary, bytes),
    }
}
