//! One capture of a desktop, many viewers.
//!
//! The tunnel to the agent is opened for the first viewer and closed after the last. Who comes
//! later gets the picture from [`super::screen`], not from the device. What viewers want is merged
//! into what the agent is told; input passes only from those who may give it.
//!
//! A viewer takes a message whenever it can ([`Multiplexer::next_for`]), so a slow one delays
//! nobody and keeps nothing: images that were painted over meanwhile are gone when it asks. Only
//! when *every* viewer that gets pictures is behind, the agent is not read any more
//! ([`Effect::PauseAgent`]), which makes it capture less. The other way, whoever drives this stops
//! reading viewers while much waits to be written to the agent.
//!
//! No socket, no clock: messages and `now` in, effects out.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::model::Millis;

use super::Message;
use super::journal::Entry;
use super::picture;
use super::quality::Quality;
use super::screen::{Position, Screen};
use super::state::{self, State, Topic};
use super::viewer::{Input, Viewer, ViewerId, Watcher};
use super::wire::{self, Displays, FromAgent, FromViewer};

/// Most viewers of one desktop.
pub const VIEWERS_MAX: usize = 32;
/// Longest message taken from the agent, in bytes. 3.2 MB were seen: a noisy screen, quality 100.
pub const AGENT_MESSAGE_MAX: usize = 16 << 20;
/// Longest message taken from a viewer, in bytes.
pub const VIEWER_MESSAGE_MAX: usize = 64 << 10;
/// The agent has to come within this time.
const ARRIVAL: Duration = Duration::from_secs(15);
/// An agent that does not answer a request for the whole picture is asked again.
const PATIENCE: Duration = Duration::from_secs(2);
/// A viewer with that many images before it is behind.
const BEHIND: usize = 4;
/// Commands of one message that are looked at. Agents send one in each, clients a few.
const COMMANDS_MAX: usize = 256;
/// Cells an image may claim to cover for each of its bytes. The best compression of a single
/// colour that agents know draws a tenth of that; a few bytes must not cost a walk over the screen.
const CELLS_PER_BYTE: usize = 16;
/// Longest control message of a viewer that is understood.
const CONTROL_MAX: usize = 4096;
/// Consent flags that are about the desktop: notify, ask, privacy bar.
const DESKTOP_CONSENT: u32 = 0x1 | 0x8 | 0x40;
/// Marks control messages.
const CHANNEL: &str = "102938";

/// What is known of a session before it begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// Whether it is recorded: viewers and agent are greeted with `cr`.
    pub recorded: bool,
    /// The agent takes only the short form of the quality command (macOS).
    pub short_quality: bool,
    /// The consent flags the device is asked with when the tunnel is opened.
    pub consent: u32,
}

/// What is to be done. In the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the device for a tunnel (with rights that do not hold `VIEW_ONLY`: that is enforced
    /// here).
    OpenAgent,
    /// Send this to the agent.
    SendAgent(Message),
    /// Read the agent no more until told otherwise.
    PauseAgent,
    /// Read the agent again.
    ResumeAgent,
    /// Close the tunnel to the agent.
    CloseAgent,
    /// There is something for this viewer, see [`Multiplexer::next_for`].
    Wake(ViewerId),
    /// Close this viewer; it is forgotten already.
    CloseViewer(ViewerId),
    /// Who is watching has changed, see [`Multiplexer::watchers`].
    WatchersChanged,
    /// Something for history.
    Log(Entry),
}

/// Why somebody cannot watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The session is over.
    Over,
    /// There are [`VIEWERS_MAX`] already.
    Crowded,
    /// The device has to be asked for consent it was not asked for when the session began.
    Consent,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Over => "the session is over",
            Self::Crowded => "too many viewers",
            Self::Consent => "needs consent of its own",
        })
    }
}

impl std::error::Error for Refusal {}

enum Phase {
    /// Nobody has come yet.
    New,
    /// The agent was asked to come by then.
    Waiting(Instant),
    /// It is here.
    Open {
        since: Instant,
    },
    Over,
}

/// See the module.
pub struct Multiplexer {
    setup: Setup,
    phase: Phase,
    viewers: BTreeMap<ViewerId, Viewer>,
    next_viewer: u32,
    effects: VecDeque<Effect>,
    state: State,
    screen: Option<Screen>,
    displays: Option<Displays>,
    /// Options of the first viewer that had any.
    options: Option<Message>,
    /// Whether a viewer has asked for the desktop.
    wanted: bool,
    /// Whether the agent was told to begin.
    begun: bool,
    quality: Option<Quality>,
    paused: bool,
    agent_paused: bool,
    /// When the agent was asked for the whole picture, until it answers.
    refreshing: Option<Instant>,
    start_time: Option<Millis>,
}

impl Multiplexer {
    /// A session without viewers.
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            phase: Phase::New,
            viewers: BTreeMap::new(),
            next_viewer: 0,
            effects: VecDeque::new(),
            state: State::default(),
            screen: None,
            displays: None,
            options: None,
            wanted: false,
            begun: false,
            quality: None,
            paused: false,
            agent_paused: false,
            refreshing: None,
            start_time: None,
        }
    }

    /// The next thing to do.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether it is over: nothing more will come of it.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub fn timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting(until) => Some(until),
            Phase::New | Phase::Open { .. } | Phase::Over => None,
        }
    }

    /// Gives up an agent that has not come in time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.timeout().is_some_and(|until| now >= until) {
            self.end(now);
        }
    }

    /// How often each watcher is there, by [`Watcher::key`].
    pub fn watchers(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for viewer in self.viewers.values() {
            *all.entry(viewer.watcher.key()).or_default() += 1;
        }
        all
    }

    /// Lets a viewer in. `consent` are the consent flags of a session it would open by itself.
    pub fn join(
        &mut self,
        watcher: Watcher,
        input: Input,
        consent: u32,
        now: Instant,
    ) -> Result<ViewerId, Refusal> {
        if self.is_over() {
            return Err(Refusal::Over);
        }
        if self.viewers.len() >= VIEWERS_MAX {
            return Err(Refusal::Crowded);
        }
        if consent & DESKTOP_CONSENT & !self.setup.consent != 0 {
            return Err(Refusal::Consent);
        }
        let id = ViewerId(self.next_viewer);
        self.next_viewer = self.next_viewer.wrapping_add(1);
        let mut viewer = Viewer::new(watcher, input, now);
        viewer.tell(self.greeting());
        viewer.news = self.state.known();
        if let Phase::Open { .. } = self.phase {
            self.effects.push_back(Effect::Log(Entry::Joined(viewer.watcher.clone())));
        }
        self.viewers.insert(id, viewer);
        if matches!(self.phase, Phase::New) {
            self.phase = Phase::Waiting(now + ARRIVAL);
            self.effects.push_back(Effect::OpenAgent);
        }
        self.tell_watchers();
        self.wake_all();
        Ok(id)
    }

    /// A viewer's connection is gone. The last one ends the session.
    pub fn leave(&mut self, id: ViewerId, now: Instant) {
        let Some(viewer) = self.viewers.remove(&id) else { return };
        self.log_leaving(&viewer, now);
        if self.viewers.is_empty() {
            return self.end(now);
        }
        self.tell_watchers();
        self.merge(now);
        self.wake_all();
        self.regulate();
    }

    /// The rights of a viewer have changed; `None`: it may not even watch any more.
    pub fn set_input(&mut self, id: ViewerId, input: Option<Input>, now: Instant) {
        match (input, self.viewers.get_mut(&id)) {
            (Some(input), Some(viewer)) => viewer.input = input,
            (None, Some(_)) => self.throw_out(id, now),
            (_, None) => {}
        }
    }

    /// It is recorded from now on: who comes later is greeted with `cr`.
    pub fn set_recorded(&mut self) {
        self.setup.recorded = true;
    }

    /// The tunnel to the agent is there. False if it is one too many; that one is to be closed.
    pub fn agent_connected(&mut self, now: Instant, wall: Millis) -> bool {
        if !matches!(self.phase, Phase::Waiting(_)) {
            return false;
        }
        self.phase = Phase::Open { since: now };
        self.start_time = Some(wall);
        self.send_agent(self.greeting());
        let first = self.viewers.values().next().map(|viewer| viewer.watcher.clone());
        self.effects.push_back(Effect::Log(Entry::Started(first)));
        self.begin(now);
        self.tell_watchers();
        self.wake_all();
        true
    }

    /// The tunnel to the agent is gone, and with it the session.
    pub fn agent_gone(&mut self, now: Instant) {
        self.end(now);
    }

    /// What this viewer is to be sent next. Call it whenever the viewer can take a message, and
    /// after [`Effect::Wake`].
    pub fn next_for(&mut self, id: ViewerId, now: Instant) -> Option<Message> {
        let viewer = self.viewers.get_mut(&id)?;
        let message = viewer.next(&self.state, self.screen.as_ref());
        if message.is_none() {
            viewer.awake = false;
            let incomplete = self.screen.as_ref().is_some_and(|screen| !screen.is_complete());
            if std::mem::take(&mut viewer.missed) && incomplete {
                self.ask_for_picture(now);
            }
        }
        self.regulate();
        message
    }

    /// The picture as it is now, for a recording that begins in the middle.
    pub fn snapshot(&self) -> Vec<Message> {
        let known = Topic::ALL.into_iter().filter(|topic| *topic != Topic::Watchers);
        let mut all: Vec<_> = known.filter_map(|topic| self.state.get(topic).cloned()).collect();
        let mut seen = 0;
        while let Some((at, data)) = self.screen.as_ref().and_then(|screen| screen.after(seen)) {
            seen = at;
            all.push(Message::Binary(data.clone()));
        }
        all
    }

    /// Takes a message of the agent.
    pub fn receive_agent(&mut self, message: Message) {
        if !matches!(self.phase, Phase::Open { .. }) {
            return;
        }
        match &message {
            Message::Text(text) => {
                // Offers of WebRTC and lists of its own viewers are of no use to ours.
                if state::is_console(text) {
                    self.announce(Topic::Console, message);
                }
            }
            Message::Binary(bytes) => {
                for command in wire::commands(bytes).take(COMMANDS_MAX) {
                    if let Some(said) = FromAgent::parse(&command) {
                        self.agent_said(&said, state::own(command.bytes, bytes));
                    }
                }
            }
        }
        self.regulate();
    }

    fn agent_said(&mut self, said: &FromAgent<'_>, bytes: Bytes) {
        match said {
            FromAgent::Tile { x, y, image } => return self.draw(*x, *y, image, bytes),
            FromAgent::Copy => {
                // Who has not taken the source yet would copy something else.
                if let Some(screen) = &mut self.screen {
                    *screen = Screen::new(screen.size(), screen.newest());
                }
                return self.each_viewer(|viewer| viewer.missed = true);
            }
            FromAgent::Message(_) | FromAgent::Alert(_) => {
                let short = Message::Binary(bytes);
                if short.bytes().len() <= CONTROL_MAX {
                    self.each_viewer(|viewer| viewer.tell(short.clone()));
                }
                return;
            }
            FromAgent::TouchFailed => {
                let failed = Message::Binary(bytes);
                return self.each_viewer(|viewer| {
                    if viewer.input == Input::Full {
                        viewer.tell(failed.clone());
                    }
                });
            }
            FromAgent::ScreenSize(size) => {
                self.refreshing = None;
                let newest = self.screen.as_ref().map_or(0, Screen::newest);
                if self.screen.as_ref().is_some_and(|screen| screen.size() == *size) {
                    return;
                }
                self.screen = Some(Screen::new(*size, newest));
                self.each_viewer(|viewer| viewer.missed = false);
            }
            FromAgent::Displays(displays) => self.displays = Some(displays.clone()),
            _ => {}
        }
        if let Some(topic) = Topic::of(said) {
            self.announce(topic, Message::Binary(bytes));
        }
    }

    fn draw(&mut self, x: u16, y: u16, image: &[u8], bytes: Bytes) {
        let (Some(screen), Some(size)) = (&mut self.screen, picture::size(image)) else { return };
        if screen.cells_under(size) / CELLS_PER_BYTE > image.len() {
            return;
        }
        let lost: Option<Position> = screen.add(x, y, size, bytes);
        for viewer in self.viewers.values_mut() {
            viewer.missed |= lost.is_some_and(|lost| viewer.seen < lost);
        }
        self.wake_all();
    }

    /// Takes a message of a viewer.
    pub fn receive_viewer(&mut self, id: ViewerId, message: &Message, now: Instant) {
        let Some(viewer) = self.viewers.get(&id) else { return };
        let bytes = message.bytes();
        if bytes.first() == Some(&b'{') {
            if matches!(message, Message::Text(_)) {
                self.viewer_asked(id, bytes);
            }
        } else if !viewer.started {
            match &bytes[..] {
                b"2" => self.viewer_started(id, now),
                // Another protocol has no place here.
                _ => self.throw_out(id, now),
            }
        } else if matches!(message, Message::Binary(_)) {
            for command in wire::commands(bytes).take(COMMANDS_MAX) {
                if let Some(said) = FromViewer::parse(&command) {
                    self.viewer_said(id, said, command.bytes, now);
                }
            }
        }
        self.regulate();
    }

    fn viewer_started(&mut self, id: ViewerId, now: Instant) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.started = true;
        }
        self.wanted = true;
        self.begin(now);
        if self.begun && self.screen.as_ref().is_some_and(|screen| !screen.is_complete()) {
            self.ask_for_picture(now);
        }
        self.wake_all();
    }

    /// Tells the agent to show its desktop, once both it and a viewer are there.
    fn begin(&mut self, now: Instant) {
        if self.begun || !self.wanted || !matches!(self.phase, Phase::Open { .. }) {
            return;
        }
        self.begun = true;
        if let Some(options) = self.options.clone() {
            self.send_agent(options);
        }
        self.send_agent(Message::text("2"));
        self.merge(now);
    }

    /// A control message.
    fn viewer_asked(&mut self, id: ViewerId, text: &[u8]) {
        let Some(viewer) = self.viewers.get_mut(&id).filter(|_| text.len() <= CONTROL_MAX) else {
            return;
        };
        let Ok(Value::Object(asked)) = serde_json::from_slice(text) else { return };
        let acts = viewer.input == Input::Full;
        match asked.get("type").and_then(Value::as_str) {
            Some("options") if self.options.is_none() => {
                self.options = Some(options(&asked, acts));
            }
            Some("rtt") => {
                // How far the device is, a viewer cannot learn: the agent answers to nobody by
                // name.
                let time = asked.get("time").unwrap_or(&Value::Null);
                let reply = json!({"type": "rtt", "ctrlChannel": CHANNEL, "time": time});
                viewer.tell(Message::text(reply.to_string()));
                self.wake(id);
            }
            Some("ping") => {
                let reply = json!({"ctrlChannel": CHANNEL, "type": "pong"});
                viewer.tell(Message::text(reply.to_string()));
                self.wake(id);
            }
            Some("lock") if acts => {
                self.send_agent(Message::text(
                    json!({"ctrlChannel": CHANNEL, "type": "lock"}).to_string(),
                ));
            }
            Some("autolock") if acts => {
                if let Some(Value::Bool(value)) = asked.get("value") {
                    let lock = json!({"ctrlChannel": CHANNEL, "type": "autolock", "value": value});
                    self.send_agent(Message::text(lock.to_string()));
                }
            }
            // WebRTC is declined by silence; the rest has no meaning on a desktop.
            _ => {}
        }
    }

    fn viewer_said(&mut self, id: ViewerId, said: FromViewer<'_>, bytes: &[u8], now: Instant) {
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        match said {
            FromViewer::Quality { format, quality, pace } => {
                let wish = viewer.wish.unwrap_or_default();
                viewer.wish = Some(wish.compressed(format, quality, pace));
                self.merge(now);
            }
            FromViewer::FrameTimer(timer) => {
                viewer.wish = Some(viewer.wish.unwrap_or_default().paced(timer));
                self.merge(now);
            }
            FromViewer::Pause(paused) => {
                viewer.paused = paused;
                self.merge(now);
                self.wake(id);
            }
            FromViewer::Refresh => {
                viewer.start_over();
                self.wake(id);
                if self.screen.as_ref().is_none_or(|screen| !screen.is_complete()) {
                    self.ask_for_picture(now);
                }
            }
            FromViewer::AskDisplays => {
                if self.state.get(Topic::Displays).is_none() {
                    return self.send_agent(Message::binary(bytes.to_vec()));
                }
                viewer.news.insert(Topic::Displays);
                viewer.news.insert(Topic::Geometry);
                self.wake(id);
            }
            FromViewer::SelectDisplay(wanted) => {
                let known = self.displays.as_ref().is_some_and(|d| d.ids.contains(&wanted));
                if known && viewer.input.permits(&said) {
                    self.send_agent(Message::binary(bytes.to_vec()));
                }
            }
            FromViewer::Key { .. }
            | FromViewer::Mouse { .. }
            | FromViewer::CtrlAltDel
            | FromViewer::InitTouch
            | FromViewer::Touch(_)
            | FromViewer::Message(_)
            | FromViewer::Unicode { .. }
            | FromViewer::InputLock(_) => {
                if viewer.input.permits(&said) {
                    self.send_agent(Message::binary(bytes.to_vec()));
                }
            }
            FromViewer::Other(_) => {}
        }
    }

    /// Tells the agent what all viewers together want, if that has changed.
    fn merge(&mut self, now: Instant) {
        if !self.begun {
            return;
        }
        let wishes = self.viewers.values().filter_map(|viewer| viewer.wish);
        if let Some(wish) = wishes.reduce(Quality::merged)
            && self.quality != Some(wish)
        {
            let before = self.quality.replace(wish).unwrap_or_default();
            self.send_agent(Message::binary(wish.command(self.setup.short_quality)));
            if self.screen.is_some() && wish.looks_better_than(before) {
                self.ask_for_picture(now);
            }
        }
        let paused = self.viewers.values().all(|viewer| viewer.paused);
        if paused != self.paused {
            self.paused = paused;
            self.send_agent(Message::binary(FromViewer::Pause(paused).encode()));
        }
    }

    /// Asks the agent for the whole picture, unless it is at it.
    fn ask_for_picture(&mut self, now: Instant) {
        let asked = self.refreshing.is_some_and(|at| now.duration_since(at) < PATIENCE);
        if self.begun && !asked {
            self.refreshing = Some(now);
            self.send_agent(Message::binary(FromViewer::Refresh.encode()));
        }
    }

    /// Reads the agent as long as somebody keeps up with it.
    fn regulate(&mut self) {
        let Some(screen) = &self.screen else { return };
        let mut watching = self.viewers.values().filter(|viewer| viewer.watches()).peekable();
        let stalled = watching.peek().is_some()
            && watching.all(|viewer| screen.is_behind(viewer.seen, BEHIND));
        let is_open = matches!(self.phase, Phase::Open { .. });
        if is_open && stalled != self.agent_paused {
            self.agent_paused = stalled;
            let effect = if stalled { Effect::PauseAgent } else { Effect::ResumeAgent };
            self.effects.push_back(effect);
        }
    }

    /// Keeps a word of the agent and tells everybody.
    fn announce(&mut self, topic: Topic, said: Message) {
        if self.state.set(topic, said) {
            self.each_viewer(|viewer| viewer.news.insert(topic));
        }
    }

    fn tell_watchers(&mut self) {
        let mut metadata = json!({
            "type": "metadata", "ctrlChannel": CHANNEL, "users": self.watchers(),
        });
        if let Some(start) = self.start_time {
            metadata["startTime"] = start.0.into();
        }
        self.announce(Topic::Watchers, Message::text(metadata.to_string()));
        self.effects.push_back(Effect::WatchersChanged);
    }

    fn greeting(&self) -> Message {
        Message::text(if self.setup.recorded { "cr" } else { "c" })
    }

    fn send_agent(&mut self, message: Message) {
        if let Phase::Open { .. } = self.phase {
            self.effects.push_back(Effect::SendAgent(message));
        }
    }

    fn each_viewer(&mut self, change: impl FnMut(&mut Viewer)) {
        self.viewers.values_mut().for_each(change);
        self.wake_all();
    }

    fn wake(&mut self, id: ViewerId) {
        if let Some(viewer) = self.viewers.get_mut(&id)
            && !std::mem::replace(&mut viewer.awake, true)
        {
            self.effects.push_back(Effect::Wake(id));
        }
    }

    fn wake_all(&mut self) {
        for (id, viewer) in &mut self.viewers {
            if !std::mem::replace(&mut viewer.awake, true) {
                self.effects.push_back(Effect::Wake(*id));
            }
        }
    }

    fn throw_out(&mut self, id: ViewerId, now: Instant) {
        self.effects.push_back(Effect::CloseViewer(id));
        self.leave(id, now);
    }

    fn log_leaving(&mut self, viewer: &Viewer, now: Instant) {
        if let Phase::Open { .. } = self.phase {
            let seconds = now.duration_since(viewer.joined).as_secs();
            self.effects.push_back(Effect::Log(Entry::Left(viewer.watcher.clone(), seconds)));
        }
    }

    fn end(&mut self, now: Instant) {
        for (id, viewer) in std::mem::take(&mut self.viewers) {
            self.log_leaving(&viewer, now);
            self.effects.push_back(Effect::CloseViewer(id));
        }
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Open { since } => {
                let seconds = now.duration_since(since).as_secs();
                self.effects.push_back(Effect::Log(Entry::Closed(seconds)));
            }
            Phase::Over => return,
            Phase::New | Phase::Waiting(_) => {}
        }
        self.effects.extend([Effect::CloseAgent, Effect::WatchersChanged]);
        self.screen = None;
        self.state = State::default();
    }
}

/// The options a desktop has, of those a viewer sent; `acts`: it may do more than watch.
fn options(asked: &Map<String, Value>, acts: bool) -> Message {
    let mut options = Map::new();
    options.insert("ctrlChannel".into(), CHANNEL.into());
    options.insert("type".into(), "options".into());
    for name in ["tsid", "consent", "autolock"] {
        if let Some(value) = asked.get(name).filter(|_| acts || name != "autolock") {
            options.insert(name.into(), value.clone());
        }
    }
    Message::text(Value::Object(options).to_string())
}

#[cfg(test)]
#[path = "multiplex_tests.rs"]
mod tests;
