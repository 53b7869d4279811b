//! Sessions through the relay.

pub mod desktop;
pub mod recording;
