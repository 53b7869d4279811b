//! Sessions through the relay.

pub mod desktop;
