//! The agent's end of a desk: called when the first viewer is there, closed when none is left.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use async_io::Timer;
use futures_lite::future::{or, poll_fn};
use log::{debug, info};

use crate::hub::Refused;
use crate::model::Rights;
use crate::ws::{self, Socket};

use super::super::admission::Who;
use super::super::command::{Guest, Introduction};
use super::super::desktop::multiplex::AGENT_MESSAGE_MAX;
use super::super::pairing::{Arrival, Claim, Owner, WAIT};
use super::super::pipe::Stream;
use super::super::recording::recorder::From;
use super::super::room::{DESKTOP, Seat};
use super::super::session::{Arrived, KeepAlive, close};
use super::viewer::send;
use super::{Admitted, Desk, WAITING_MAX};

/// Messages read in one turn; then other tasks have theirs.
const TURN: usize = 4;

/// Calls the agent to a desk and runs its end. The session ends with it.
pub(super) async fn serve(desk: Rc<Desk>) {
    let Some((agent, seat)) = called(&desk).await else {
        debug!("relay: no agent has come to desk {}", desk.id);
        return desk.agent_gone();
    };
    let Arrived { mut socket, query, .. } = agent;
    socket.set_limit(AGENT_MESSAGE_MAX);
    let wall = desk.room.hub.now();
    desk.act(|mux, now| mux.agent_connected(now, wall));
    let keep_alive = KeepAlive::of(&desk.room).filter(|_| !query.no_ping);
    run(&desk, &mut socket, keep_alive).await;
    desk.agent_gone();
    // Who comes now finds neither this desk nor its tunnel.
    drop((seat, desk));
    close(socket).await;
}

/// Asks the device for a tunnel and waits for its end. What the agent is told about who watches is
/// what it is told about a guest: that somebody may control the desktop. Who may do what is for the
/// desk to say, and others may join.
async fn called(desk: &Rc<Desk>) -> Option<(Arrived, Seat)> {
    let Desk { room, id, opener, .. } = &**desk;
    let Admitted { user, device, share, guest, remote, .. } = opener;
    let (sender, arriving) = async_channel::bounded::<Arrived>(1);
    let tunnel = (device.id.domain.clone(), id.clone());
    let claim = Claim::Viewer(Owner { user: user.id.clone(), share: share.clone() });
    let Arrival::Held(ticket) = room.arrive(tunnel, claim, WAIT, || sender) else { return None };
    let seat = room.seat(ticket);
    let guest = guest.clone().map(|guest| Guest { view_only: false, ..guest });
    let introduction = Introduction {
        user,
        device,
        rights: Rights::REMOTE_CONTROL,
        remote: *remote,
        session: None,
        guest: guest.as_ref(),
    };
    let (label, share) = (Some(DESKTOP), share.as_deref());
    room.call_agent(&introduction, "meshrelay.ashx", id, label, None, share).ok()?;
    let late = async {
        Timer::after(WAIT).await;
        None
    };
    let deserted = async {
        poll_fn(|cx| poll_closed(desk, cx)).await;
        None
    };
    let agent = or(async { arriving.recv().await.ok() }, or(late, deserted)).await?;
    // Only the agent of this device may answer.
    match &agent.who {
        Who::Agent(pass, _) if pass.node == device.id => Some((agent, seat)),
        _ => {
            drop(seat);
            close(agent.socket).await;
            None
        }
    }
}

/// Ready when nobody watches any more.
fn poll_closed(desk: &Desk, cx: &Context<'_>) -> Poll<()> {
    desk.agent.waker.set(Some(cx.waker().clone()));
    if desk.agent.closed.get() { Poll::Ready(()) } else { Poll::Pending }
}

/// Moves messages until either end is gone.
async fn run(desk: &Desk, socket: &mut Socket<Box<dyn Stream>>, mut keep_alive: Option<KeepAlive>) {
    poll_fn(|cx| {
        if poll_closed(desk, cx).is_ready() {
            return Poll::Ready(());
        }
        let gone = poll_write(desk, socket, cx);
        if let Some(beat) = &mut keep_alive
            && Pin::new(&mut beat.timer).poll(cx).is_ready()
        {
            beat.timer.set_after(beat.every);
            if socket.queued() < WAITING_MAX {
                socket.send_text(beat.word);
            }
            // The timer and the socket have to be asked again.
            cx.waker().wake_by_ref();
        }
        // What it said before it went is still heard.
        match poll_read(desk, socket, cx) {
            Poll::Pending => gone,
            ended => ended,
        }
    })
    .await;
}

/// Tells the agent what viewers want; ready when it is gone.
fn poll_write(desk: &Desk, socket: &mut Socket<Box<dyn Stream>>, cx: &mut Context<'_>) -> Poll<()> {
    let was_full = !desk.agent.has_room();
    let mut gone = Poll::Pending;
    loop {
        while socket.queued() < WAITING_MAX
            && let Some(message) = desk.agent.pop()
        {
            send(socket, &message);
        }
        let waiting = socket.queued();
        match socket.poll_flush(cx) {
            Poll::Ready(Ok(())) if waiting > 0 => {}
            Poll::Ready(Ok(())) | Poll::Pending => break,
            Poll::Ready(Err(_)) => {
                gone = Poll::Ready(());
                break;
            }
        }
    }
    if was_full && desk.agent.has_room() {
        let waiting: Vec<_> = desk.viewers.borrow().keys().copied().collect();
        waiting.into_iter().for_each(|id| desk.change_viewer(id, |_| {}));
    }
    gone
}

/// Hears the agent, as far as its viewers and the disk keep up; ready when it is gone.
fn poll_read(desk: &Desk, socket: &mut Socket<Box<dyn Stream>>, cx: &mut Context<'_>) -> Poll<()> {
    for _ in 0..TURN {
        if !desk.may_read_agent(cx) {
            return Poll::Pending;
        }
        let message = match std::task::ready!(socket.poll_recv(cx)) {
            Ok(Some(message)) => message.into(),
            Ok(None) => return Poll::Ready(()),
            Err(error) => {
                if let Some(error) = ws::io::protocol_error(&error) {
                    desk.room.hub.metrics.refuse(Refused::WebSocket);
                    info!("relay: desk {}: the agent's end: {error}", desk.id);
                }
                return Poll::Ready(());
            }
        };
        desk.record(From::Device, &message);
        desk.act(|mux, _| mux.receive_agent(message));
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
