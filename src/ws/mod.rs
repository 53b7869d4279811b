//! WebSocket (RFC 6455), server side, without extensions.
//!
//! Written for many idle peers: an idle socket owns no buffer. Bytes are read into one scratch
//! buffer of the thread, and only an unfinished message is kept. Frames towards peers are never
//! fragmented, because MeshAgents abort on fragments and Router does not know them.

mod socket;
mod wire;

pub use socket::{Socket, io};
pub use wire::{Close, Decoder, Error, Event, Message, accept_key, frame_header};
