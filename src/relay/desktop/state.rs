//! What an agent has said last about each thing but the picture, for those who come later.

use bytes::Bytes;
use serde_json::Value;

use super::Message;
use super::wire::FromAgent;

/// Longest thing that is kept, in bytes: the longest command.
const KEPT_MAX: usize = 64 << 10;

/// Of each thing only the newest word counts. In the order in which agents begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Topic {
    /// Who is watching; said by the server.
    Watchers,
    /// 7.
    ScreenSize,
    /// 12.
    DisplaySelected,
    /// 18.
    KeyLamps,
    /// 11.
    Displays,
    /// 82.
    Geometry,
    /// 14.
    TouchReady,
    /// 87.
    InputLock,
    /// 88.
    Cursor,
    /// The text shown over the picture.
    Console,
}

impl Topic {
    pub(super) const ALL: [Self; 10] = [
        Self::Watchers,
        Self::ScreenSize,
        Self::DisplaySelected,
        Self::KeyLamps,
        Self::Displays,
        Self::Geometry,
        Self::TouchReady,
        Self::InputLock,
        Self::Cursor,
        Self::Console,
    ];

    /// What a command is about, if it is one of these.
    pub(super) fn of(command: &FromAgent<'_>) -> Option<Self> {
        Some(match command {
            FromAgent::ScreenSize(_) => Self::ScreenSize,
            FromAgent::DisplaySelected(_) => Self::DisplaySelected,
            FromAgent::KeyLamps(_) => Self::KeyLamps,
            FromAgent::Displays(_) => Self::Displays,
            FromAgent::Geometry(_) => Self::Geometry,
            FromAgent::TouchReady(_) => Self::TouchReady,
            FromAgent::InputLock(_) => Self::InputLock,
            FromAgent::Cursor(_) => Self::Cursor,
            _ => return None,
        })
    }
}

/// A set of topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Topics(u16);

impl Topics {
    pub(super) fn insert(&mut self, topic: Topic) {
        self.0 |= 1 << topic as u16;
    }

    pub(super) fn contains(self, topic: Topic) -> bool {
        self.0 & 1 << topic as u16 != 0
    }

    pub(super) fn remove(&mut self, topic: Topic) {
        self.0 &= !(1 << topic as u16);
    }

    /// The first of them.
    pub(super) fn first(self) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| self.contains(*topic))
    }
}

/// The newest word on each topic.
#[derive(Default)]
pub(super) struct State {
    said: [Option<Message>; Topic::ALL.len()],
}

impl State {
    /// Keeps a word; one that is too long is as good as none.
    pub(super) fn set(&mut self, topic: Topic, said: Message) -> bool {
        let fits = said.bytes().len() <= KEPT_MAX;
        if let Some(slot) = self.said.get_mut(topic as usize).filter(|_| fits) {
            *slot = Some(said);
        }
        fits
    }

    /// The newest word on a topic.
    pub(super) fn get(&self, topic: Topic) -> Option<&Message> {
        self.said.get(topic as usize)?.as_ref()
    }

    /// Everything there is a word on.
    pub(super) fn known(&self) -> Topics {
        let mut known = Topics::default();
        Topic::ALL.into_iter().filter(|t| self.get(*t).is_some()).for_each(|t| known.insert(t));
        known
    }
}

/// Bytes of their own, if they are a small part of something large that would be kept with them.
pub(super) fn own(part: &[u8], whole: &Bytes) -> Bytes {
    if part.len() == whole.len() { whole.clone() } else { Bytes::copy_from_slice(part) }
}

/// Whether a text of the agent is one to show over the picture.
pub(super) fn is_console(text: &[u8]) -> bool {
    text.len() <= KEPT_MAX
        && serde_json::from_slice::<Value>(text).is_ok_and(|json| json["type"] == "console")
}
