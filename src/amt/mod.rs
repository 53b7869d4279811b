//! Intel AMT firmware that is activated, or about to be: everything this server says to it.
//!
//! [`reach`] opens a byte stream to a port of a device's firmware, whichever way it can be reached;
//! `tls` and [`digest`] say who is at either end of it. What is spoken on it is beside them:
//! [`redirection`] is screen, serial line and drives, [`relay`] how people come to them. [`lan`]
//! finds firmware on the server's own network.

pub mod activation;
pub mod administrator;
pub mod alarms;
pub mod boot;
pub mod changes;
pub mod consent;
pub mod deactivate;
pub mod digest;
pub mod inventory;
pub mod lan;
pub mod logs;
pub mod panel;
pub mod policy;
pub mod power;
pub mod reach;
pub mod recovery;
pub mod redirection;
pub mod relay;
pub mod room;
pub mod schedule;
pub mod settings;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
pub mod upkeep;
pub mod users;
pub mod watch;
pub mod wsman;
