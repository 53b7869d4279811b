//! Redirection: what Intel AMT carries besides WS-Management. A serial line (SOL), the screen with
//! keyboard and mouse (KVM), and disk drives (IDER).
//!
//! Source: amt-management §15 to §20. All of it is without sockets: [`handshake`] logs in for whoever
//! speaks no redirection himself, [`interceptor`] for a client that does but has no password. Behind
//! them [`sol`] makes bytes of the serial line, [`kvm`] plain RFB of the screen, [`ider`] drives of
//! images. [`permit`] says who may what; it is enforced here, on what is said.

pub mod handshake;
mod held;
pub mod ider;
pub mod interceptor;
pub mod kvm;
pub mod mediator;
pub mod permit;
mod rfb;
pub mod sol;
#[cfg(test)]
mod testing;
pub mod wire;

pub use mediator::{Mail, Mediator, Over};
pub use permit::{Input, Permit};
pub use wire::Service;
