//! People at the firmware: WebSockets through which users reach Intel AMT.
//!
//! Source: amt-management §15. Three pages: `/webrelay.ashx`, where the stock pages speak
//! WS-Management and redirection themselves, without the password; `/webider.ashx`, which lends a
//! computer images that are kept here; `/amtconsole.ashx`, ours, plain RFB or a plain serial line.
//! [`admission`] says who may come in, [`bridge`] moves bytes between a user and the firmware under
//! the eyes of a [`Mediator`](super::redirection::Mediator), [`disks`] reads images. Every session
//! is in the hub's list, where rights, administrators and the end of an account find it; those of
//! redirection are events, and are recorded if sessions of number 101 are.

mod admission;
mod bridge;
mod challenges;
mod disks;
mod session;
mod web;

use std::cell::RefCell;
use std::rc::Rc;

use async_executor::LocalExecutor;

use crate::files::Cabinet;
use crate::hub::Hub;
use crate::relay::recording::Recordings;

pub use session::{Page, serve};

use challenges::Challenges;

/// Longest message of a user, in bytes.
pub const MESSAGE_MAX: usize = 256 << 10;

/// What all sessions of one server share.
pub struct Room {
    hub: Rc<Hub>,
    files: Cabinet,
    recordings: Rc<Recordings>,
    /// Runs what writes recordings.
    executor: Rc<LocalExecutor<'static>>,
    challenges: RefCell<Challenges>,
}

impl Room {
    /// For the accounts and devices of `hub`; images are in `files`.
    pub fn new(
        hub: Rc<Hub>,
        files: Cabinet,
        recordings: Rc<Recordings>,
        executor: Rc<LocalExecutor<'static>>,
    ) -> Rc<Self> {
        Rc::new(Self { hub, files, recordings, executor, challenges: RefCell::default() })
    }
}
