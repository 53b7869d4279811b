//! Desks: desktops that all who watch them share (`desktopMultiplex`).
//!
//! What is said to whom is decided by [`Multiplexer`]; here are its sockets. Every viewer's
//! connection runs in its own task ([`viewer`]), the agent's in another ([`agent`]), and a desk is
//! what they have in common: the machine, what waits for the agent, and who is to be woken. It is
//! on the list while somebody holds it, and gone with the last of them.
//!
//! A viewer that cannot share, because the device would have to be asked for more consent than it
//! was, or because there are too many, gets a tunnel of its own ([`super::session`]).
//!
//! Memory of a desk besides the picture ([`super::desktop::screen`]): 64 KB and one command for the
//! agent, and of each viewer 64 KB and one image, which is shared by all.

mod agent;
#[cfg(test)]
mod tests;
mod viewer;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};
use std::time::Instant;

use async_lock::Mutex;
use serde_json::json;

use crate::hub::TunnelPurpose;
use crate::model::{Device, NodeId, User, UserId};

use super::command::Guest;
use super::desktop::{
    Effect, Entry, Input, Message, Multiplexer, Refusal, Setup, ViewerId, Watcher,
};
use super::pairing::Owner;
use super::recording::name::Form;
use super::recording::recorder::From;
use super::recording::{Subject, Tap};
use super::room::{DESKTOP, Room};
use super::standing::{Standing, invited, standing};

pub(super) use viewer::watch;

/// Bytes that wait for a socket before nothing is added to them: to the agent from its viewers, to
/// a viewer from its desk.
const WAITING_MAX: usize = 64 << 10;
/// Of what a viewer has not taken when the agent goes, so much is still sent: the agent's last word
/// says why.
const LAST_WORDS_MAX: usize = 64 << 10;
/// Kinds of agents that know only the short form of the quality command: those for macOS.
const MACOS: [u32; 4] = [11, 16, 29, 10005];
/// What `devicesessions` calls those who share a desktop.
const SHARED: &str = "multidesk";

/// The desks of one server, by device.
#[derive(Default)]
pub(super) struct Desks {
    open: RefCell<BTreeMap<NodeId, Weak<Desk>>>,
}

/// One desktop and all who watch it. See the module.
struct Desk {
    room: Rc<Room>,
    /// What the session is called; the agent's end finds its tunnel by it.
    id: Box<str>,
    opener: Admitted,
    mux: RefCell<Multiplexer>,
    agent: AgentEnd,
    viewers: RefCell<BTreeMap<ViewerId, ViewerEnd>>,
    /// Everybody who has watched.
    users: RefCell<Vec<UserId>>,
    recording: RefCell<Option<Tap>>,
    /// Held while a recording begins, which takes the disk's time.
    door: Mutex<()>,
}

/// What viewers leave for the agent's task.
#[derive(Default)]
struct AgentEnd {
    queue: RefCell<VecDeque<Message>>,
    queued: Cell<usize>,
    paused: Cell<bool>,
    closed: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// What the agent and the other viewers leave for a viewer's task.
#[derive(Default)]
struct ViewerEnd {
    closed: bool,
    /// What it is still sent then.
    last_words: Vec<Message>,
    waker: Option<Waker>,
}

/// Somebody who may watch, right now.
#[derive(Clone)]
struct Admitted {
    user: Rc<User>,
    device: Rc<Device>,
    /// The share, if it is a guest.
    share: Option<Box<str>>,
    guest: Option<Guest>,
    remote: IpAddr,
    input: Input,
    /// Consent the device has to be asked for.
    consent: u32,
}

impl Admitted {
    /// `None` if the account, the device, the share or the right to see the desktop is gone.
    fn of(room: &Room, purpose: &TunnelPurpose, remote: IpAddr) -> Option<Self> {
        let Standing { permit, .. } = Standing::of(room, purpose)?;
        if !permit.allows(DESKTOP) {
            return None;
        }
        let input = match Input::of(permit.rights)? {
            _ if permit.view_only => Input::Nothing,
            input => input,
        };
        let (user, device, _) = standing(room, &purpose.user, purpose.node.as_ref()?)?;
        let share = purpose.share.clone();
        let guest = match &share {
            Some(share) => {
                let owner = Owner { user: purpose.user.clone(), share: None };
                Some(invited(room, &owner, share)?.guest)
            }
            None => None,
        };
        let of_guest = guest.as_ref().map_or(0, |guest| guest.consent);
        let consent = room.hub.consent(&user, &device) | of_guest;
        Some(Self { user, device, share, guest, remote, input, consent })
    }

    fn watcher(&self) -> Watcher {
        let guest = self.guest.as_ref().map(|guest| guest.name.to_string());
        Watcher { user: self.user.id.clone(), guest }
    }
}

impl Desks {
    /// The desk of the device `first` may watch; one is opened for it if there is none. `None`
    /// without randomness.
    fn find_or_open(&self, room: &Rc<Room>, first: &Admitted) -> Option<Rc<Desk>> {
        let node = &first.device.id;
        let there = self.open.borrow().get(node).and_then(Weak::upgrade);
        if let Some(desk) = there.filter(|desk| !desk.mux.borrow().is_over()) {
            return Some(desk);
        }
        let kind = first.device.agent.as_ref().map(|agent| agent.id);
        let setup = Setup {
            recorded: false,
            short_quality: kind.is_some_and(|kind| MACOS.contains(&kind)),
            consent: first.consent,
        };
        let desk = Rc::new(Desk {
            room: room.clone(),
            id: room.fresh_id()?,
            opener: first.clone(),
            mux: RefCell::new(Multiplexer::new(setup)),
            agent: AgentEnd::default(),
            viewers: RefCell::default(),
            users: RefCell::default(),
            recording: RefCell::default(),
            door: Mutex::new(()),
        });
        self.open.borrow_mut().insert(node.clone(), Rc::downgrade(&desk));
        Some(desk)
    }

    /// Number of desks somebody holds.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.borrow().len()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let mut open = self.room.desks.open.borrow_mut();
        let node = &self.opener.device.id;
        // The next one may be there already.
        if open.get(node).is_some_and(|desk| desk.strong_count() == 0) {
            open.remove(node);
        }
    }
}

impl Desk {
    /// Changes the machine and does what follows from it.
    fn act<T>(&self, change: impl FnOnce(&mut Multiplexer, Instant) -> T) -> T {
        let done = change(&mut self.mux.borrow_mut(), Instant::now());
        loop {
            let next = self.mux.borrow_mut().next_effect();
            let Some(effect) = next else { return done };
            self.perform(effect);
        }
    }

    fn perform(&self, effect: Effect) {
        match effect {
            Effect::OpenAgent => {
                let opened = self.room.desks.open.borrow().get(&self.opener.device.id).cloned();
                if let Some(desk) = opened.and_then(|desk| desk.upgrade()) {
                    self.room.spawn(agent::serve(desk));
                }
            }
            Effect::SendAgent(message) => {
                self.record(From::User, &message);
                self.agent.push(message);
            }
            Effect::PauseAgent => self.agent.paused.set(true),
            Effect::ResumeAgent => {
                self.agent.paused.set(false);
                self.agent.wake();
            }
            Effect::CloseAgent => {
                // Nothing more will be said.
                drop(self.recording.take());
                self.agent.closed.set(true);
                self.agent.wake();
            }
            Effect::Wake(id) => self.change_viewer(id, |_| {}),
            Effect::CloseViewer(id) => self.change_viewer(id, |end| end.closed = true),
            Effect::WatchersChanged => {
                let watchers = self.mux.borrow().watchers();
                let sessions = (!watchers.is_empty()).then(|| json!(watchers));
                if let Some(agent) = self.room.hub.agent(&self.opener.device.id) {
                    self.room.hub.set_sessions(&agent, SHARED, sessions);
                }
            }
            Effect::Log(entry) => self.log(&entry),
        }
    }

    fn log(&self, entry: &Entry) {
        let device = &self.opener.device;
        let hub = &self.room.hub;
        let event = entry.event(&device.id.domain, &device.id, &self.id);
        hub.publish(hub.device_targets(device).into_iter().fold(event, |event, to| event.to(to)));
    }

    /// Changes what is left for a viewer, and wakes it.
    fn change_viewer(&self, id: ViewerId, change: impl FnOnce(&mut ViewerEnd)) {
        let mut viewers = self.viewers.borrow_mut();
        let Some(end) = viewers.get_mut(&id) else { return };
        change(end);
        let waker = end.waker.take();
        drop(viewers);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Begins to record, if a session of this viewer's is to be and none is recorded yet.
    async fn record_for(&self, viewer: &Admitted) {
        let _turn = self.door.lock().await;
        let Admitted { user, device, .. } = viewer;
        let is_recorded = self.recording.borrow().is_some();
        if is_recorded || !self.room.is_recorded(user, device, DESKTOP) {
            return;
        }
        let subject = Subject {
            user: None,
            device: device.clone(),
            protocol: DESKTOP,
            session: self.id.to_string(),
            addresses: [None, None],
            form: Form::Blocks,
        };
        let Some(tap) = self.room.record_always(subject).await else { return };
        let mut mux = self.mux.borrow_mut();
        if mux.is_over() {
            return;
        }
        mux.set_recorded();
        let picture = mux.snapshot();
        drop(mux);
        self.users.borrow().iter().for_each(|user| tap.add_user(user));
        *self.recording.borrow_mut() = Some(tap);
        picture.iter().for_each(|message| self.record(From::Device, message));
    }

    fn record(&self, from: From, message: &Message) {
        // The word that opens a tunnel is not part of the session.
        let is_greeting = matches!(&message.bytes()[..], b"c" | b"cr");
        if let Some(tap) = self.recording.borrow().as_ref().filter(|_| !is_greeting) {
            let bytes = message.bytes();
            tap.message(from, matches!(message, Message::Binary(_)), bytes.len() as u64);
            tap.payload(from, bytes);
        }
    }

    /// Whether the agent may be read: a recording may have to wait for the disk first.
    fn may_read_agent(&self, cx: &Context<'_>) -> bool {
        let recording = self.recording.borrow();
        let is_ready = recording.as_ref().is_none_or(|tap| tap.poll_ready(cx).is_ready());
        is_ready && !self.agent.paused.get()
    }

    fn join(&self, viewer: &Admitted) -> Result<ViewerId, Refusal> {
        // The machine's first effects are about this viewer.
        let id = self.act(|mux, now| {
            let id = mux.join(viewer.watcher(), viewer.input, viewer.consent, now)?;
            self.viewers.borrow_mut().insert(id, ViewerEnd::default());
            Ok(id)
        })?;
        let mut users = self.users.borrow_mut();
        if !users.contains(&viewer.user.id) {
            users.push(viewer.user.id.clone());
            if let Some(tap) = self.recording.borrow().as_ref() {
                tap.add_user(&viewer.user.id);
            }
        }
        Ok(id)
    }

    /// The agent's end is gone, and with it the session; its last words are still delivered.
    fn agent_gone(&self) {
        self.act(|mux, now| {
            for (id, end) in self.viewers.borrow_mut().iter_mut() {
                let mut room = LAST_WORDS_MAX;
                while let Some(message) = mux.next_for(*id, now) {
                    let Some(left) = room.checked_sub(message.bytes().len()) else { break };
                    room = left;
                    end.last_words.push(message);
                }
            }
            mux.agent_gone(now);
        });
    }
}

impl AgentEnd {
    fn push(&self, message: Message) {
        self.queued.set(self.queued.get() + message.bytes().len());
        self.queue.borrow_mut().push_back(message);
        self.wake();
    }

    fn pop(&self) -> Option<Message> {
        let message = self.queue.borrow_mut().pop_front()?;
        self.queued.set(self.queued.get().saturating_sub(message.bytes().len()));
        Some(message)
    }

    /// Whether viewers may say more.
    fn has_room(&self) -> bool {
        self.queued.get() < WAITING_MAX
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
