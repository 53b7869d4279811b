//! Sessions through the relay: `/meshrelay.ashx` and `/devicefile.ashx`, where viewers and agents are
//! joined.
//!
//! Source: relay-and-tunnels. The way of a tunnel: [`session::serve`] lets an end in (a viewer by
//! what it shows at the door, [`visitor`], an agent by the [`wire::Pass`] this server made for it),
//! [`pairing::Table`] brings the two ends together, [`pipe::Pipe`] moves what they say, frame by
//! frame through [`lane::Lane`], under the eyes of [`filter::Filter`], and of a recorder, if there is
//! one ([`recording`]), when it is its turn ([`turns`]). [`command`] writes what calls an agent to a
//! tunnel, [`guest`] knows what a share allows, [`chat`] who talks to whom, [`download`] is a tunnel
//! whose other end is an HTTP answer, `desk` lets many watch one desktop by the rules of [`desktop`].
//!
//! # Cookies in URLs
//! What this server gives an agent is a [`wire::Pass`]: bound to user, device, tunnel and kind, good
//! for one connection within a minute. What a client wrote as `rauth` is never passed on, so an end
//! that shows a pass is the agent, and which side is to be judged by the filter is not for a client
//! to say.
//! Cookies of viewers stay reusable for their hour, as stock clients need it: Router opens a
//! connection per forwarded stream with one, for minutes, and a page any number of windows. They are
//! bound to user, tenant and neighbourhood, and say nothing about rights: those are looked up at
//! every connection and again whenever they may have changed. A cookie that names its target
//! (`getcookie`) is bound to that target; a guest's names a share, and nothing else in it counts.
//! Those that this server's own pages for guests and chats are given work once ([`visitor::ONCE`]).

mod admission;
pub mod chat;
pub mod command;
mod desk;
pub mod desktop;
pub mod download;
pub mod filter;
pub mod guest;
pub mod lane;
pub mod pairing;
pub mod pipe;
pub mod recording;
mod room;
pub mod running;
pub mod session;
mod standing;
#[cfg(test)]
mod testing;
pub mod turns;
pub mod visitor;
pub mod wire;

pub use room::{Answered, Denied, Room};
