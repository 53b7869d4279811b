//! A simulated MeshAgent: the agent's side of the protocol, written a second time.
//!
//! It shares no code with the server, so that both can only agree by following the protocol, and
//! the stock MeshCentral server accepts it as one of its own (`tests/simulators.rs`). Tests and
//! the fleet program (`benches/fleet/main.rs`) drive thousands of them from one thread.

// Every program that includes this folder uses a part of it.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod agent;
pub mod identity;
pub mod link;
pub mod live;
pub mod tls;

pub use agent::{Agent, Event, Group, Memory, Mood, Output};
pub use identity::{Identity, Keys};
pub use link::{Command, Server};
pub use live::Live;
