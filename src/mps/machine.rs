//! One tunnel without its socket: bytes and the time in; messages, effects and channels out.
//!
//! ```text
//! New ──PROTOCOL_VERSION──► Known ──USERAUTH_REQUEST──► Asking ──verdict──► Open ──► Over
//! ```
//!
//! Strict where other servers are not: nothing is forwarded before authentication, nobody
//! authenticates twice, and while a login is being judged nothing more is read, so that answers keep
//! the order of their requests.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::channel::{Channel, Failure, Priority, State, WINDOW};
use super::outbox::Outbox;
use super::wire::{
    AUTH_SERVICE, Decoder, Event, FORWARD_SERVICE, JSON_MAX, Message, Side, disconnect, failure,
};
use crate::hub::TunnelKind;
use crate::model::Uuid;

/// Time from the first byte to a proven login.
pub const AUTHENTICATION: Duration = Duration::from_secs(30);
/// Bytes a peer may send before it has proven anything, on its own port.
const UNPROVEN_BYTES: usize = 4096;
/// The same on a WebSocket, where the state of the firmware comes first.
const UNPROVEN_BYTES_SOCKET: usize = 32 * 1024;
/// Messages a peer may send before it has proven anything.
const UNPROVEN_MESSAGES: u32 = 32;
/// Bytes kept of an unfinished message on the port; texts of the protocol are shorter.
const UNFINISHED: usize = 8 * 1024;
/// Silence after which the device is asked whether it is there; it is gone after three such times.
pub const SILENCE: Duration = Duration::from_secs(45);
/// Keep-alive interval asked of firmware, in seconds; some Dell computers come with 90.
const KEEP_ALIVE: u32 = 30;
/// Time for the ports to be named, before and after the last of them.
const SETTLING: Duration = Duration::from_secs(1);
/// Channels at a time: firmware has few, and wedges when it runs out of them.
pub const CHANNELS: usize = 8;
/// Background channels at a time: one request after the other.
const BACKGROUND: usize = 1;
/// Ports a device may name.
const PORTS: usize = 16;
/// Longest payload of one CHANNEL_DATA we send; with its head it fits one TLS record.
const DATA: usize = 8 * 1024;
/// Channels get no turn while this much waits to be written.
const OUTBOX: usize = 16 * 1024;
/// Answers a peer may make us keep by not reading them, in bytes.
const OUTBOX_MAX: usize = 256 * 1024;

/// Through what a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The MPS port: firmware, always [`TunnelKind::Cira`].
    Firmware,
    /// `/apf.ashx`: an agent or MeshCmd, which says what it is by JSON_CONTROL.
    Socket,
}

/// What is to be judged.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Who the computer says it is.
    pub uuid: Uuid,
    /// What kind of tunnel it wants.
    pub kind: TunnelKind,
    /// User name.
    pub user: String,
    /// Password; `None` for any other method.
    pub password: Option<Vec<u8>>,
    /// State of the firmware as a program on the computer reports it (LMS only).
    pub mei: Option<Map<String, Value>>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({} as {:?})", self.uuid, self.user)
    }
}

/// What the session has to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Judge this and call [`Machine::verdict`].
    Judge(Box<Login>),
    /// The ports are known: tell everybody that the device is there.
    Announce,
    /// A program on the computer says this (JSON_CONTROL after the login).
    Control(Map<String, Value>),
    /// For the journal.
    Step(Cow<'static, str>),
    /// Write what waits, then end the connection; why, for the journal.
    Close(Cow<'static, str>),
}

#[derive(Debug, PartialEq)]
enum Phase {
    New,
    Known(Uuid),
    Asking,
    Open,
    Over,
}

/// The state of one tunnel. Some 400 bytes while idle.
pub struct Machine {
    style: Style,
    kind: TunnelKind,
    named_kind: bool,
    phase: Phase,
    decoder: Decoder,
    out: Outbox,
    effects: VecDeque<Effect>,
    mei: Option<Map<String, Value>>,
    unproven: (usize, u32),
    ports: heapless::Vec<u16, PORTS>,
    channels: Vec<Channel>,
    next_id: u32,
    /// Whose turn it is among channels of one priority.
    turn: usize,
    began: Instant,
    heard: Instant,
    asked: u32,
    announce_at: Option<Instant>,
    options_at: Option<Instant>,
    options_asked: bool,
}

impl Machine {
    /// A peer that has just connected.
    pub fn new(style: Style, now: Instant) -> Self {
        let limit = match style {
            Style::Firmware => UNPROVEN_BYTES,
            Style::Socket => UNPROVEN_BYTES_SOCKET,
        };
        Self {
            style,
            kind: TunnelKind::Cira,
            named_kind: false,
            phase: Phase::New,
            decoder: Decoder::new(Side::Server, limit),
            out: Outbox::default(),
            effects: VecDeque::new(),
            mei: None,
            unproven: (limit, UNPROVEN_MESSAGES),
            ports: heapless::Vec::new(),
            channels: Vec::new(),
            next_id: 4,
            turn: 0,
            began: now,
            heard: now,
            asked: 0,
            announce_at: None,
            options_at: None,
            options_asked: false,
        }
    }

    /// What has to be written.
    pub fn out(&mut self, now: Instant) -> &mut Outbox {
        self.take_turns();
        self.close_drained(now);
        &mut self.out
    }

    /// The next effect, in order.
    pub fn next_effect(&mut self) -> Option<Effect> {
        let next = self.effects.pop_front();
        if next.is_none() && self.effects.capacity() > 0 {
            self.effects = VecDeque::new();
        }
        next
    }

    /// Whether [`Self::next_effect`] has one.
    pub fn has_effect(&self) -> bool {
        !self.effects.is_empty()
    }

    /// The ports the device forwards.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// What the tunnel is.
    pub fn kind(&self) -> TunnelKind {
        self.kind
    }

    /// Whether the login was accepted and the tunnel is not over.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the tunnel has ended.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether bytes may be given to [`Self::receive`]: not while a login is judged, not after the
    /// end, and not while a consumer does not read what a program has sent beyond its window.
    pub fn wants_input(&self) -> bool {
        let is_full = |channel: &Channel| channel.unread() > WINDOW as usize;
        !matches!(self.phase, Phase::Asking | Phase::Over)
            && (self.kind == TunnelKind::Cira || !self.channels.iter().any(is_full))
    }

    /// Takes bytes from the front of `input`; how many. It stops early when no more is wanted.
    pub fn receive(&mut self, input: &[u8], now: Instant) -> usize {
        if !input.is_empty() && self.phase != Phase::Over {
            (self.heard, self.asked) = (now, 0);
        }
        let mut at = 0;
        while at < input.len() && self.wants_input() {
            let rest = input.get(at..).unwrap_or_default();
            let (taken, event) = match self.decoder.feed(rest) {
                Ok(found) => found,
                Err(error) => {
                    self.refuse(disconnect::PROTOCOL_ERROR, error.to_string());
                    return input.len();
                }
            };
            at += taken;
            if !self.is_open() && !self.count_unproven(taken, event.is_some()) {
                self.refuse(disconnect::PROTOCOL_ERROR, "sent too much before it logged in");
                return input.len();
            }
            match event {
                Some(Event::Message(message)) => self.message(message, now),
                Some(Event::Payload(id, bytes)) => self.payload(id, bytes),
                None => {}
            }
            if self.out.len() > OUTBOX_MAX {
                self.close("does not read what it asked for");
            }
        }
        at
    }

    fn count_unproven(&mut self, bytes: usize, is_message: bool) -> bool {
        let (left, messages) = &mut self.unproven;
        let enough = bytes <= *left && (!is_message || *messages > 0);
        *left = left.saturating_sub(bytes);
        *messages = messages.saturating_sub(is_message.into());
        enough
    }

    /// The peer's stream has ended.
    pub fn ended(&mut self) {
        self.close("closed by the device");
    }

    /// The login was judged. `Err` is told to the journal only.
    pub fn verdict(&mut self, verdict: Result<(), String>, now: Instant) {
        if self.phase != Phase::Asking {
            return;
        }
        self.mei = None;
        match verdict {
            Ok(()) => {
                self.out.push(&Message::UserAuthSuccess);
                self.phase = Phase::Open;
                self.decoder.set_limit(match self.style {
                    Style::Firmware => UNFINISHED,
                    Style::Socket => JSON_MAX + 5,
                });
                self.announce_at = Some(now + SETTLING);
            }
            Err(why) => {
                self.out.push(&Message::UserAuthFailure);
                self.close(why);
            }
        }
    }

    /// Says JSON to the program at the other end; firmware is never told any.
    pub fn control(&mut self, json: &Value) {
        if self.is_open() && self.style == Style::Socket {
            self.out.push(&Message::JsonControl { json: json.to_string() });
        }
    }

    /// Ends the tunnel from our side.
    pub fn disconnect(&mut self, why: impl Into<Cow<'static, str>>) {
        // Stock clients know no DISCONNECT: they take it for nonsense and close, which is the same.
        self.refuse(disconnect::BY_APPLICATION, why);
    }

    fn refuse(&mut self, reason: u32, why: impl Into<Cow<'static, str>>) {
        if self.phase != Phase::Over {
            self.out.push(&Message::Disconnect { reason });
            self.close(why);
        }
    }

    fn close(&mut self, why: impl Into<Cow<'static, str>>) {
        if std::mem::replace(&mut self.phase, Phase::Over) == Phase::Over {
            return;
        }
        self.channels.retain_mut(|channel| match channel.state {
            State::Ended { .. } => true,
            _ => channel.end(Some(Failure::Gone)),
        });
        self.effects.push_back(Effect::Close(why.into()));
    }

    fn step(&mut self, what: impl Into<Cow<'static, str>>) {
        self.effects.push_back(Effect::Step(what.into()));
    }

    fn message(&mut self, message: Message, now: Instant) {
        match message {
            Message::Disconnect { reason } => {
                self.close(format!("said goodbye (reason {reason})"));
            }
            Message::KeepAliveRequest { cookie } => {
                self.out.push(&Message::KeepAliveReply { cookie });
            }
            Message::ServiceRequest { service } => self.service(service),
            Message::JsonControl { json } => self.json(&json),
            Message::ProtocolVersion { major, minor, trigger, uuid } => {
                if self.phase != Phase::New {
                    return self.refuse(disconnect::PROTOCOL_ERROR, "said its version twice");
                }
                self.phase = Phase::Known(uuid);
                self.step(format!("APF {major}.{minor}, trigger {trigger}, UUID {uuid}"));
            }
            Message::UserAuthRequest { user, method, password, .. } => {
                let Phase::Known(uuid) = self.phase else {
                    let why = match self.phase {
                        Phase::New => "wanted to log in before it said who it is",
                        _ => "wanted to log in twice",
                    };
                    return self.refuse(disconnect::PROTOCOL_ERROR, why);
                };
                let visible = crate::model::text::clamp(&user, 64);
                let visible_method = crate::model::text::clamp(&method, 32);
                self.step(format!("login as {visible:?} by {visible_method:?}"));
                self.phase = Phase::Asking;
                let (kind, mei) = (self.kind, self.mei.take());
                let login = Login { uuid, kind, user, password, mei };
                self.effects.push_back(Effect::Judge(Box::new(login)));
            }
            other if self.is_open() => self.open_message(other, now),
            _ => self.refuse(disconnect::PROTOCOL_ERROR, "used the tunnel before it logged in"),
        }
    }

    fn service(&mut self, service: String) {
        match service.as_str() {
            AUTH_SERVICE | FORWARD_SERVICE => {
                self.out.push(&Message::ServiceAccept { service });
            }
            _ => self.refuse(disconnect::SERVICE_NOT_AVAILABLE, "asked for an unknown service"),
        }
    }

    /// JSON that makes no sense is dropped, as is all of it on the MPS port.
    fn json(&mut self, json: &str) {
        let Ok(Value::Object(fields)) = serde_json::from_str(json) else { return };
        if self.style == Style::Firmware {
            return;
        }
        match fields.get("action").and_then(Value::as_str) {
            Some("connType") => {
                let kind = fields.get("value").and_then(Value::as_u64);
                let kind = kind.and_then(TunnelKind::from_number);
                if let (Phase::New, false, Some(kind)) = (&self.phase, self.named_kind, kind) {
                    (self.kind, self.named_kind) = (kind, true);
                    self.step(format!("wants to be a {kind} tunnel"));
                }
            }
            Some("meiState") if self.kind == TunnelKind::Lms && !self.is_open() => {
                if let Some(Value::Object(state)) = fields.get("value") {
                    self.mei = Some(state.clone());
                }
            }
            Some(_) if self.is_open() => self.effects.push_back(Effect::Control(fields)),
            _ => {}
        }
    }

    fn open_message(&mut self, message: Message, now: Instant) {
        match message {
            Message::Forward { port, .. } => self.forward(port, now),
            Message::CancelForward { port, .. } => {
                self.ports.retain(|known| u32::from(*known) != port);
                self.out.push(&Message::RequestSuccess { port: None });
            }
            // If it has data, that is no message, and ends the tunnel.
            Message::UnknownRequest { want_reply: true } => self.out.push(&Message::RequestFailure),
            Message::ChannelOpen { sender, .. } => {
                let reason = failure::UNKNOWN_KIND;
                self.out.push(&Message::ChannelFailure { recipient: sender, reason });
            }
            Message::ChannelConfirmation { recipient, sender, window } => {
                let was_asked = (4..self.next_id).contains(&recipient);
                // A channel that was given up before the answer came.
                let is_late = match self.channel(recipient) {
                    Some(channel) => channel.confirmed(sender, window, now),
                    None => was_asked,
                };
                if is_late {
                    self.out.push(&Message::ChannelClose { recipient: sender });
                }
            }
            Message::ChannelFailure { recipient, reason } => {
                self.end_channel(recipient, Some(Failure::Refused(reason)));
            }
            Message::WindowAdjust { recipient, bytes } => {
                if let Some(channel) = self.channel(recipient) {
                    channel.adjusted(bytes);
                }
            }
            Message::ChannelClose { recipient } => self.closed(recipient),
            Message::KeepAliveOptionsRequest { interval, timeout } => {
                self.out.push(&Message::KeepAliveOptionsReply { interval, timeout });
            }
            Message::KeepAliveOptionsReply { interval, .. } => {
                self.step(format!("keep-alive every {interval} s"));
            }
            // Announces payload, or answers what was not asked, or is an alert for somebody else.
            _ => {}
        }
    }

    fn forward(&mut self, port: u32, now: Instant) {
        let Some(number) = u16::try_from(port).ok().filter(|number| *number != 0) else {
            return self.out.push(&Message::RequestFailure);
        };
        if !self.ports.contains(&number) && self.ports.push(number).is_err() {
            return self.out.push(&Message::RequestFailure);
        }
        // Also if no answer was asked for: programs wait for it all the same.
        self.out.push(&Message::RequestSuccess { port: Some(port) });
        if matches!(number, 16992 | 16993) {
            self.announce();
        }
        if self.style == Style::Firmware && !self.options_asked {
            match number {
                // Mostly the last one.
                5900 => self.ask_keep_alive(),
                _ => self.options_at = Some(now + SETTLING),
            }
        }
    }

    fn announce(&mut self) {
        if self.announce_at.take().is_some() {
            self.effects.push_back(Effect::Announce);
        }
    }

    /// Once per tunnel, and never to programs, which know nothing of it.
    fn ask_keep_alive(&mut self) {
        (self.options_at, self.options_asked) = (None, true);
        self.out.push(&Message::KeepAliveOptionsRequest { interval: KEEP_ALIVE, timeout: 0 });
    }

    fn payload(&mut self, id: u32, bytes: &[u8]) {
        let (style, kind) = (self.style, self.kind);
        let Some(channel) = self.channel(id) else { return };
        let uncredited = channel.received(bytes);
        // Programs do not look at windows: they are held back by not being read.
        if style == Style::Firmware && kind == TunnelKind::Cira && uncredited > 2 * WINDOW {
            self.refuse(disconnect::PROTOCOL_ERROR, "sent far more than the window of a channel");
        }
    }

    fn channel(&mut self, id: u32) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|channel| channel.id == id)
    }

    /// CLOSE is answered if it is not an answer itself. An answer to an answer would close the
    /// channel to which the device gives the number next.
    fn closed(&mut self, id: u32) {
        let Some(channel) = self.channel(id) else { return };
        let (state, peer) = (channel.state, channel.peer);
        if matches!(state, State::Open | State::Draining { .. }) {
            self.out.push(&Message::ChannelClose { recipient: peer });
        }
        if !matches!(state, State::Ended { .. }) {
            self.end_channel(id, None);
        }
    }

    fn end_channel(&mut self, id: u32, failure: Option<Failure>) {
        let Some(at) = self.channels.iter().position(|channel| channel.id == id) else { return };
        let has_consumer = self.channels.get_mut(at).is_some_and(|channel| match channel.state {
            State::Ended { .. } => true,
            _ => channel.end(failure),
        });
        if !has_consumer {
            self.forget(at);
        }
    }

    fn forget(&mut self, at: usize) {
        self.channels.remove(at);
        if self.channels.is_empty() {
            self.channels = Vec::new();
        }
    }

    /// Asks the device for a channel to one of its ports; our number of it.
    pub fn open_channel(
        &mut self,
        port: u16,
        priority: Priority,
        now: Instant,
    ) -> Result<u32, Failure> {
        if !self.is_open() {
            return Err(Failure::Gone);
        }
        if !self.ports.contains(&port) {
            return Err(Failure::NotForwarded);
        }
        let live = |channel: &&Channel| !matches!(channel.state, State::Ended { .. });
        let background = |channel: &&Channel| channel.priority == Priority::Background;
        let crowded = priority == Priority::Background
            && self.channels.iter().filter(live).filter(background).count() >= BACKGROUND;
        if self.channels.len() >= CHANNELS || crowded {
            return Err(Failure::TooMany);
        }
        let id = self.next_id;
        // A tunnel does not live for four billion channels; a number in use is never given again.
        self.next_id = self.next_id.checked_add(1).unwrap_or(4);
        self.channels.push(Channel::opening(id, priority, now));
        self.out.push(&Message::ChannelOpen {
            kind: "forwarded-tcpip".into(),
            sender: id,
            window: WINDOW,
            port: port.into(),
        });
        Ok(id)
    }

    /// `None` while the device has not answered.
    pub fn opened(&self, id: u32) -> Option<Result<(), Failure>> {
        match self.channels.iter().find(|channel| channel.id == id).map(|channel| channel.state) {
            Some(State::Opening { .. }) => None,
            Some(State::Ended { failure: Some(failure) }) => Some(Err(failure)),
            // Opened, used up and closed by the device at once.
            Some(_) => Some(Ok(())),
            None => Some(Err(Failure::Gone)),
        }
    }

    /// Takes what the device sent on a channel: `Some(0)` at its end, `None` if nothing has come.
    pub fn read(&mut self, id: u32, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        let Some(channel) = self.channel(id) else { return Err(Failure::Gone) };
        let (peer, state) = (channel.peer, channel.state);
        let (taken, credit) = channel.read(buffer);
        if let Some(bytes) = credit {
            self.out.push(&Message::WindowAdjust { recipient: peer, bytes });
        }
        match state {
            _ if taken > 0 || buffer.is_empty() => Ok(Some(taken)),
            State::Ended { failure: Some(failure) } => Err(failure),
            State::Ended { failure: None } => Ok(Some(0)),
            _ => Ok(None),
        }
    }

    /// Gives a channel bytes to send: how many it took, 0 if it is full.
    pub fn write(&mut self, id: u32, bytes: &[u8]) -> Result<usize, Failure> {
        let Some(channel) = self.channel(id) else { return Err(Failure::Gone) };
        match channel.state {
            State::Ended { failure } => Err(failure.unwrap_or(Failure::Gone)),
            _ => Ok(channel.write(bytes)),
        }
    }

    /// Bytes of a channel that the transport has not been given.
    pub fn unsent(&self, id: u32) -> usize {
        self.channels.iter().find(|channel| channel.id == id).map_or(0, Channel::unsent)
    }

    /// The consumer of a channel has gone.
    pub fn abandon(&mut self, id: u32, now: Instant) {
        let Some(at) = self.channels.iter().position(|channel| channel.id == id) else { return };
        if self.channels.get_mut(at).is_some_and(|channel| !channel.abandon(now)) {
            self.forget(at);
        }
        self.close_drained(now);
    }

    /// Moves bytes of channels to the outbox: interactive ones first, in turns.
    fn take_turns(&mut self) {
        for priority in [Priority::Interactive, Priority::Background] {
            let mut idle = 0;
            while self.out.len() < OUTBOX && idle < self.channels.len() {
                self.turn = (self.turn + 1) % self.channels.len();
                let Some(channel) = self.channels.get_mut(self.turn) else { break };
                let count = if channel.priority == priority { channel.sendable(DATA) } else { 0 };
                if count == 0 {
                    idle += 1;
                    continue;
                }
                idle = 0;
                let head = Message::Data { recipient: channel.peer, length: count as u32 };
                self.out.push_with(&head, |out| channel.send(count, out));
            }
        }
    }

    /// Says CLOSE on channels whose consumer has gone and whose last byte was sent.
    fn close_drained(&mut self, now: Instant) {
        for channel in &mut self.channels {
            if matches!(channel.state, State::Draining { .. }) && channel.unsent() == 0 {
                channel.closing(now);
                self.out.push(&Message::ChannelClose { recipient: channel.peer });
            }
        }
    }

    /// When [`Self::expire`] has to be called at the latest.
    pub fn deadline(&self) -> Instant {
        let silence = self.heard + SILENCE * (self.asked + 1);
        // Over: the session is about to end.
        let proof = match self.phase {
            Phase::Open | Phase::Over => None,
            _ => Some(self.began + AUTHENTICATION),
        };
        let channels = self.channels.iter().filter_map(Channel::deadline);
        [proof, self.announce_at, self.options_at]
            .into_iter()
            .flatten()
            .chain(channels)
            .fold(silence, Instant::min)
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Instant) {
        if !self.is_open() {
            if now >= self.began + AUTHENTICATION {
                self.close("did not log in in time");
            }
            return;
        }
        if self.announce_at.is_some_and(|at| now >= at) {
            self.announce();
        }
        if self.options_at.is_some_and(|at| now >= at) {
            self.ask_keep_alive();
        }
        if now >= self.heard + SILENCE * (self.asked + 1) {
            if !self.wants_input() {
                // It is we who do not read.
                self.heard = now;
            } else if self.asked == 2 {
                return self.close("did not answer for 135 s");
            } else {
                self.asked += 1;
                self.out.push(&Message::KeepAliveRequest { cookie: self.asked });
            }
        }
        for at in (0..self.channels.len()).rev() {
            let Some(channel) = self.channels.get_mut(at) else { continue };
            if channel.deadline().is_none_or(|until| now < until) {
                continue;
            }
            match channel.state {
                State::Draining { .. } => {
                    channel.closing(now);
                    self.out.push(&Message::ChannelClose { recipient: channel.peer });
                }
                State::Opening { wanted: true, .. } => {
                    channel.end(Some(Failure::Late));
                }
                _ => self.forget(at),
            }
        }
    }
}

#[cfg(test)]
mod tests;
