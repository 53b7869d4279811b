//! One of those who watch: what it may do, what it wants, and what it has yet to be told.
//!
//! Memory per viewer, however slow it is: this struct and at most sixteen short messages. Pictures
//! wait in the screen, not here.

use std::collections::VecDeque;
use std::time::Instant;

use crate::model::{Rights, UserId};

use super::Message;
use super::quality::Quality;
use super::screen::{Position, Screen};
use super::state::{State, Topic, Topics};
use super::wire::{FromViewer, KeyAction};

/// Short messages that wait. Later ones are lost to a viewer that does not read.
const EVENTS_MAX: usize = 16;

/// A viewer of one desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewerId(pub(super) u32);

/// Who watches, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watcher {
    /// The account, or the one in whose name a guest is there.
    pub user: UserId,
    /// What the guest is called.
    pub guest: Option<String>,
}

impl Watcher {
    /// The key under which `metadata` counts it: `user//name` or `user//name/guest:<base64>`.
    pub fn key(&self) -> String {
        match &self.guest {
            None => self.user.to_string(),
            Some(name) => {
                let name = data_encoding::BASE64.encode(name.as_bytes());
                format!("{}/guest:{name}", self.user)
            }
        }
    }
}

/// What a viewer may do at the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Everything.
    Full,
    /// Pointer, letters, digits, blank, backspace and enter, as MeshCentral's page has it.
    Limited,
    /// Watch.
    Nothing,
}

impl Input {
    /// What somebody with `rights` may do; `None` is not even to watch.
    pub fn of(rights: Rights) -> Option<Self> {
        let may_watch = rights.intersects(Rights::REMOTE_CONTROL | Rights::VIEW_ONLY);
        if !may_watch || rights.restricted(Rights::NO_DESKTOP) {
            None
        } else if !rights.allows(Rights::REMOTE_CONTROL) || rights.restricted(Rights::VIEW_ONLY) {
            Some(Self::Nothing)
        } else if rights.restricted(Rights::LIMITED_INPUT) {
            Some(Self::Limited)
        } else {
            Some(Self::Full)
        }
    }

    /// Whether a command that does something at the device may pass.
    pub(super) fn permits(self, command: &FromViewer<'_>) -> bool {
        match (self, command) {
            (Self::Full, _) => true,
            (Self::Nothing, _) => false,
            (
                Self::Limited,
                FromViewer::Key { action: KeyAction::Up | KeyAction::ExtendedUp, .. },
            ) => {
                // A key that goes up does nothing but end what went before.
                true
            }
            (Self::Limited, FromViewer::Key { code, .. }) => matches!(code, 8 | 13 | 32..=90),
            (Self::Limited, FromViewer::Unicode { unit, .. }) => {
                matches!(unit, 8 | 13) || *unit >= 32
            }
            (
                Self::Limited,
                FromViewer::Mouse { .. }
                | FromViewer::SelectDisplay(_)
                | FromViewer::InitTouch
                | FromViewer::Touch(_),
            ) => true,
            (Self::Limited, _) => false,
        }
    }
}

/// See the module.
pub(super) struct Viewer {
    pub(super) watcher: Watcher,
    pub(super) input: Input,
    pub(super) joined: Instant,
    /// Whether it has asked for the desktop; before that it is told nothing.
    pub(super) started: bool,
    pub(super) paused: bool,
    pub(super) wish: Option<Quality>,
    /// What it wants to hear again.
    pub(super) news: Topics,
    /// The last image it has taken.
    pub(super) seen: Position,
    /// Images it has not taken are gone.
    pub(super) missed: bool,
    /// Whether it was woken and has not yet found nothing.
    pub(super) awake: bool,
    events: VecDeque<Message>,
}

impl Viewer {
    pub(super) fn new(watcher: Watcher, input: Input, now: Instant) -> Self {
        Self {
            watcher,
            input,
            joined: now,
            started: false,
            paused: false,
            wish: None,
            news: Topics::default(),
            seen: 0,
            missed: false,
            awake: false,
            events: VecDeque::new(),
        }
    }

    /// Tells it something once.
    pub(super) fn tell(&mut self, message: Message) {
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(message);
        }
    }

    /// Begins with the whole picture again.
    pub(super) fn start_over(&mut self) {
        self.seen = 0;
        self.missed = false;
        self.news.insert(Topic::ScreenSize);
    }

    /// Whether it gets pictures.
    pub(super) fn watches(&self) -> bool {
        self.started && !self.paused
    }

    /// What it is to be told next: what happened, what is new, then pictures.
    pub(super) fn next(&mut self, state: &State, screen: Option<&Screen>) -> Option<Message> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        if !self.started {
            return None;
        }
        while let Some(topic) = self.news.first() {
            self.news.remove(topic);
            if let Some(said) = state.get(topic) {
                return Some(said.clone());
            }
        }
        if self.paused {
            return None;
        }
        let (position, data) = screen?.after(self.seen)?;
        self.seen = position;
        Some(Message::Binary(data.clone()))
    }
}
