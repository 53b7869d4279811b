//! Intel AMT calls in: the MPS (management presence server), to which the firmware of computers
//! opens tunnels by itself (CIRA), and through which the server reaches its ports.
//!
//! `wire` is the codec of APF, [`machine`] one tunnel, `channel` one stream in it; [`session`]
//! moves bytes, [`tunnel`] makes channels streams for the rest of the server, [`admission`] says
//! who is let in as which device. [`hello`] and [`probe`] look at what comes before APF: a TLS
//! ClientHello, or a browser.

pub mod admission;
mod channel;
pub mod hello;
pub mod machine;
mod outbox;
pub mod probe;
pub mod session;
pub mod throttle;
pub mod tunnel;
pub mod wire;

pub use channel::{Failure, Priority};
pub use outbox::Outbox;
