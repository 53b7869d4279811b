//! From the factory to managed: activating Intel AMT.
//!
//! Client control mode needs nothing but the computer's consent; admin control mode needs a
//! certificate whose root the firmware trusts and whose name fits the computer's network. Source:
//! amt-activation-and-lan §2 to §4.

pub mod archival;
pub mod certificate;
pub mod flow;
pub mod log;
pub mod matching;
pub mod password;
pub mod room;
pub mod setup_bin;
pub mod state;
mod talk;
pub mod terms;
#[cfg(test)]
mod testing;
mod visit;
