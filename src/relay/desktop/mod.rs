//! Remote desktop through the relay: the protocol, and one capture watched by many.
//!
//! [`wire`] takes messages apart, [`picture`] tells the size of an image from its head. With
//! `desktopMultiplex` one tunnel to a device serves all who watch its desktop: [`multiplex`] stands
//! between that tunnel and the viewers and needs neither socket nor clock.

mod journal;
pub mod multiplex;
pub mod picture;
mod quality;
pub(in crate::relay) mod screen;
mod state;
mod viewer;
pub mod wire;

use bytes::Bytes;

pub use journal::Entry;
pub use multiplex::{Effect, Multiplexer, Refusal, Setup};
pub use viewer::{Input, ViewerId, Watcher};

/// A message on its way to a viewer or an agent. Cloning it copies nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text frame.
    Text(Bytes),
    /// A binary frame.
    Binary(Bytes),
}

impl From<crate::ws::Message> for Message {
    fn from(message: crate::ws::Message) -> Self {
        match message {
            crate::ws::Message::Text(text) => Self::Text(text.into()),
            crate::ws::Message::Binary(bytes) => Self::Binary(bytes.into()),
        }
    }
}

impl Message {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into().into())
    }

    fn binary(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }

    /// What is in it.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }
}
