//! WebSocket (RFC 6455), server side, without extensions.
//!
//! Written for many idle peers: an idle socket owns no buffer. Bytes are read into one scratch
//! buffer of the thread, and only an unfinished message is kept. Frames towards peers are never
//! fragmented, because MeshAgents abort on fragments and Router does not know them.
//!
//! [`Socket`] moves whole messages; a relay takes it apart ([`Socket::into_parts`]) and passes on
//! what [`FrameReader`] finds, piece by piece.

mod frame;
mod socket;
mod wire;

pub use frame::{Close, Error, FrameReader, Head, Opcode, Part, frame_header};
pub use socket::{Socket, io};
pub use wire::{Decoder, Event, Message, accept_key};
