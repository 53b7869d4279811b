//! What all tunnels of one server share, and how agents are called to them.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_channel::Sender;
use async_executor::LocalExecutor;
use futures_lite::FutureExt as _;
use serde_json::{Map, Value};

use crate::hub::{AgentCommand, Hub};
use crate::identity::cookie::CookieKey;
use crate::model::{Device, DomainId, Key48, Rights, User};

use super::chat::{self, Calls, Chat};
use super::command::{self, Introduction};
use super::desk::Desks;
use super::filter::Permit;
use super::pairing::{Arrival, Claim, Table, Ticket, TunnelId};
use super::recording::{Recordings, Subject, Tap};
use super::session::Arrived;
use super::standing::standing;
use super::turns::Turns;
use super::wire::{Pass, Rauth, Speech, Target, TunnelQuery, fresh_id, relay_value};

/// The relay room.
pub struct Room {
    pub(super) hub: Rc<Hub>,
    cookies: CookieKey,
    /// SHA-384 of the web certificate, which agents compare unless a proxy shows them its own.
    tls_hash: Cell<Key48>,
    table: RefCell<Table<Sender<Arrived>>>,
    calls: RefCell<Calls>,
    recordings: OnceCell<Rc<Recordings>>,
    /// Runs what is nobody's own end of a tunnel: what writes recordings, the agents of desks.
    executor: Rc<LocalExecutor<'static>>,
    pub(super) desks: Desks,
    pub(super) turns: Rc<Turns>,
}

/// Why a client does not get the tunnel it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It has no right to it, or asks for no place of this server.
    Refused,
    /// It names another device than the command does.
    OtherDevice,
    /// The agent is not there, or does not read what it is sent.
    NotConnected,
}

/// The page at a device, come by a link.
pub struct Answered {
    /// Whom it talks to.
    pub user: Rc<User>,
    /// Where it is.
    pub device: Rc<Device>,
    /// `rauth` of its end of the chat, good once within a minute.
    pub pass: String,
    /// The token for the next time.
    pub next: String,
}

impl Room {
    /// A relay for the accounts and agents of `hub`. `cookies` seals what agents are given,
    /// `tls_hash` is the web certificate in force, `executor` runs what is no connection's own.
    pub fn new(
        hub: Rc<Hub>,
        cookies: CookieKey,
        tls_hash: Key48,
        executor: Rc<LocalExecutor<'static>>,
    ) -> Rc<Self> {
        Rc::new(Self {
            hub,
            cookies,
            tls_hash: Cell::new(tls_hash),
            table: RefCell::default(),
            calls: RefCell::default(),
            recordings: OnceCell::new(),
            turns: Turns::new(executor.clone()),
            executor,
            desks: Desks::default(),
        })
    }

    /// Lets sessions be recorded. Counts once.
    pub fn set_recordings(&self, recordings: Rc<Recordings>) {
        let _ = self.recordings.set(recordings);
    }

    /// Runs something that ends by itself.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(task.boxed_local()).detach();
    }

    /// Begins a recording, if the session `subject` is to be recorded; its first block is on disk
    /// when this returns.
    pub(super) async fn record(&self, subject: Subject) -> Option<Tap> {
        let user = subject.user.as_ref()?;
        if !self.is_recorded(user, &subject.device, subject.protocol) {
            return None;
        }
        self.record_always(subject).await
    }

    /// Begins a recording as [`Self::record`] does, whether or not it is to be.
    pub(super) async fn record_always(&self, subject: Subject) -> Option<Tap> {
        let (tap, writing) = self.recordings.get()?.start(subject).await?;
        self.spawn(writing);
        Some(tap)
    }

    /// Whether sessions of this number are recorded.
    pub(super) fn is_recorded(&self, user: &User, device: &Device, protocol: u16) -> bool {
        self.recordings.get().is_some_and(|all| all.wants(user, device, protocol))
    }

    /// Protocols that must not be spoken in a session of this number, because they are recorded
    /// and it is not.
    pub(super) fn reserved(&self, user: &User, device: &Device, protocol: u16) -> Vec<u16> {
        match self.recordings.get() {
            Some(recordings) => recordings.reserved(user, device, protocol),
            None => Vec::new(),
        }
    }

    /// Another web certificate is in force.
    pub fn set_tls_hash(&self, hash: Key48) {
        self.tls_hash.set(hash);
    }

    /// Passes a client's wish for a tunnel on to the agent: `value` as the client wrote it, and
    /// the members of its command. The agent gets a pass instead of the client's cookie.
    ///
    /// # Errors
    /// Why not.
    pub fn ask_for(
        &self,
        introduction: &Introduction<'_>,
        value: &str,
        fields: &Map<String, Value>,
    ) -> Result<(), Denied> {
        let domain = &introduction.user.id.domain;
        let query = relay_value(value, domain).ok_or(Denied::Refused)?;
        let query = TunnelQuery::parse(query).map_err(|_| Denied::Refused)?;
        let node = introduction.device.id.to_string();
        let is_of_desk = self.shares(domain, query.protocol) && query.node.is_some();
        if query.node.is_some_and(|named| *named != *node) {
            return Err(Denied::OtherDevice);
        }
        let target = Target::among(fields).map_err(|_| Denied::Refused)?;
        let permit = Permit::of(introduction.rights);
        let allowed = match target {
            Some(_) => permit.allows_relay(),
            None => !introduction.rights.restricted(restriction_of(query.protocol)),
        };
        // What joins a chat is made by the server alone.
        let id = query.id.filter(|id| allowed && !chat::is_chat(id));
        let Some(id) = id else { return Err(Denied::Refused) };
        if is_of_desk && target.is_none() {
            // The desk calls the agent when the viewer is there.
            let agent = self.hub.agent(&introduction.device.id);
            return agent.map(drop).ok_or(Denied::NotConnected);
        }
        let mut command = self
            .command(introduction, "meshrelay.ashx", &id, query.protocol, target.as_ref(), None)
            .ok_or(Denied::Refused)?;
        for name in ["usage", "responseid"] {
            if let Some(value) = fields.get(name) {
                command.insert(name.to_owned(), value.clone());
            }
        }
        self.send(introduction, command)
    }

    /// Calls an agent to the tunnel `id`.
    ///
    /// # Errors
    /// [`Denied::NotConnected`].
    pub(super) fn call_agent(
        &self,
        introduction: &Introduction<'_>,
        page: &str,
        id: &str,
        protocol: Option<u16>,
        target: Option<&Target>,
        share: Option<&str>,
    ) -> Result<(), Denied> {
        let command = self.command(introduction, page, id, protocol, target, share);
        self.send(introduction, command.ok_or(Denied::NotConnected)?)
    }

    /// The command with a fresh pass in it. `None` without randomness.
    fn command(
        &self,
        introduction: &Introduction<'_>,
        page: &str,
        id: &str,
        protocol: Option<u16>,
        target: Option<&Target>,
        share: Option<&str>,
    ) -> Option<Map<String, Value>> {
        let pass = Pass {
            user: introduction.user.id.clone(),
            node: introduction.device.id.clone(),
            id: id.into(),
            protocol: protocol.unwrap_or_default(),
            speech: Speech::towards(target),
            share: share.map(Into::into),
        };
        let pass = pass.seal(&self.cookies, self.hub.now().seconds())?;
        let prefix = self.path_prefix(&introduction.user.id.domain);
        let label = protocol.map_or_else(String::new, |p| format!("p={p}&"));
        // The agent escapes `$` and `@` itself, and nothing else.
        let id: String = match id.bytes().all(|b| b.is_ascii_alphanumeric() || b"$@".contains(&b)) {
            true => id.to_owned(),
            false => form_urlencoded::byte_serialize(id.as_bytes()).collect(),
        };
        let value = format!("*/{prefix}{page}?{label}id={id}&rauth={pass}");
        let front = self.hub.fronts.current(&introduction.device.id.domain);
        let hash = front.map_or(self.tls_hash.get(), |front| front.hash);
        Some(command::tunnel(&self.hub, introduction, value, target, hash))
    }

    /// Whether sessions of this number are shared.
    pub(super) fn shares(&self, domain: &DomainId, protocol: Option<u16>) -> bool {
        protocol == Some(DESKTOP) && self.hub.config().shares_desktops(domain)
    }

    /// The path of a tenant that has no host name of its own: `name/`.
    fn path_prefix(&self, domain: &DomainId) -> String {
        let has_name = self.hub.config().domain(domain).dns.is_some();
        if domain.is_default() || has_name { String::new() } else { format!("{domain}/") }
    }

    fn send(
        &self,
        introduction: &Introduction<'_>,
        command: Map<String, Value>,
    ) -> Result<(), Denied> {
        let agent = self.hub.agent(&introduction.device.id).ok_or(Denied::NotConnected)?;
        let command = AgentCommand::Json(Value::Object(command).to_string().into());
        agent.mailbox.push(command).map_err(|_| Denied::NotConnected)
    }

    /// A token for the page at the device of a chat, for the link its agent opens. `None` without
    /// randomness.
    pub fn call_to_chat(&self, chat: &Chat) -> Option<String> {
        self.calls.borrow_mut().give(chat.clone(), Instant::now())
    }

    /// Lets the page at a device in by its token. `None` if that is not good, or the account may
    /// not talk to the device any more.
    pub fn answer_call(&self, chat: &Chat, token: &str) -> Option<Answered> {
        let Chat::AtDevice(node, user) = chat else { return None };
        let next = self.calls.borrow_mut().redeem(chat, token, Instant::now())?;
        let (user, device, rights) = standing(self, user, node)?;
        if !Permit::of(rights).allows_chat() {
            return None;
        }
        let pass = Pass {
            user: user.id.clone(),
            node: node.clone(),
            id: chat.to_string().into(),
            protocol: chat::PROTOCOL,
            speech: Speech::Chat,
            share: None,
        };
        let pass = pass.seal(&self.cookies, self.hub.now().seconds())?;
        Some(Answered { user, device, pass, next })
    }

    /// Takes note of a cookie that is good once; true if it was used before.
    pub(super) fn spend(&self, serial: &[u8; 16]) -> bool {
        self.table.borrow_mut().spend(serial, Instant::now())
    }

    /// Opens a `rauth` cookie.
    pub(super) fn open_rauth(&self, text: &str, domain: &DomainId, id: &str) -> Option<Rauth> {
        Rauth::open(text, &self.cookies, domain, id, self.hub.now().seconds())
    }

    /// An end arrives at the table; see [`Table::arrive`].
    pub(super) fn arrive(
        self: &Rc<Self>,
        id: TunnelId,
        claim: Claim,
        wait: Duration,
        leave: impl FnOnce() -> Sender<Arrived>,
    ) -> Arrival<Sender<Arrived>> {
        self.table.borrow_mut().arrive(id, claim, Instant::now(), wait, leave)
    }

    /// Keeps a place in the table until it is dropped.
    pub(super) fn seat(self: &Rc<Self>, ticket: Ticket) -> Seat {
        Seat { room: self.clone(), ticket }
    }

    /// An id for a tunnel of the server's own. `None` without randomness.
    pub(super) fn fresh_id(&self) -> Option<Box<str>> {
        fresh_id()
    }

    /// Tunnels that wait or run.
    pub fn len(&self) -> usize {
        self.table.borrow().len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The number of desktop sessions.
pub(super) const DESKTOP: u16 = 2;

/// What forbids a tunnel with this label at once. What is spoken in it is judged later and counts.
fn restriction_of(protocol: Option<u16>) -> Rights {
    match protocol {
        Some(1) => Rights::NO_TERMINAL,
        Some(DESKTOP) => Rights::NO_DESKTOP,
        Some(4 | 5) => Rights::NO_FILES,
        _ => Rights::empty(),
    }
}

/// A place in the table.
pub(super) struct Seat {
    room: Rc<Room>,
    ticket: Ticket,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.table.borrow_mut().leave(&self.ticket);
    }
}
