//! Recordings of sessions, in the form MeshCentral's player takes.
//!
//! [`policy`] says what is recorded, [`recorder`] makes a file out of messages without touching a
//! disk, [`folder`] does what it asks for. [`repair`] ends what a crash left open, [`retention`]
//! says what has to go, [`index`] lets the player jump. [`Recordings`] puts them together.

mod chat;
pub mod folder;
pub mod index;
pub mod listing;
pub mod name;
pub mod policy;
pub mod recorder;
pub mod repair;
pub mod retention;
mod room;
pub mod wire;

pub use room::{Recordings, Subject, Tap};
