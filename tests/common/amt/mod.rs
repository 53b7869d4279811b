//! Simulated Intel AMT firmware: WS-Management, redirection, presence pings. For tests.
//!
//! It knows nothing of our code and is stricter than real firmware where firmware is said to be
//! moody: one request at a time, header fields and parameters in order, nothing read-only put.
//! It is a witness because the stock server manages it (`tests/amt_simulator.rs`).
//!
//! [`Computer`] is the handle of a test; [`tcp`] puts it on loopback addresses of its own, and
//! `common::cira` carries it through a tunnel. Without sockets: [`Connection`].

mod activation;
mod classes;
pub mod client;
mod connection;
mod digest;
mod firmware;
mod http;
mod methods;
mod redirection;
pub mod rmcp;
pub mod tcp;
mod wsman;
mod xml;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use connection::Connection;
pub use digest::Nonces;
pub use firmware::{Boot, CONSENT_ALL, Firmware, Seen, md5};
pub use redirection::{Input, Protocol, Screen};
pub use tcp::OnLan;
pub use xml::Element;

use super::PATIENCE;

/// Administrator of simulated computers.
pub const ADMIN: &str = "admin";
/// Its password.
pub const PASSWORD: &str = "P@ssw0rd";
/// Firmware version, unless a test wants another.
pub const VERSION: &str = "16.1.25.1865";

/// How often somebody who waits looks, if nothing wakes him.
const LOOK: Duration = Duration::from_millis(100);

/// A simulated computer, shared between a test and the threads that serve it.
#[derive(Clone)]
pub struct Computer(Arc<(Mutex<Firmware>, Condvar)>);

impl Computer {
    /// One in admin control mode with the usual administrator.
    pub fn new() -> Self {
        Self::with(Firmware::new(VERSION, ADMIN, PASSWORD))
    }

    /// One with this firmware.
    pub fn with(firmware: Firmware) -> Self {
        Self(Arc::new((Mutex::new(firmware), Condvar::new())))
    }

    /// Looks at its firmware, or changes it. Whoever waits looks again afterwards.
    pub fn firmware<R>(&self, look: impl FnOnce(&mut Firmware) -> R) -> R {
        let result = look(&mut self.lock());
        self.0.1.notify_all();
        result
    }

    /// Waits until `look` finds something.
    ///
    /// # Panics
    /// If it does not in time.
    pub fn wait_for<R>(&self, what: &str, look: impl Fn(&mut Firmware) -> Option<R>) -> R {
        let deadline = Instant::now() + PATIENCE;
        let mut firmware = self.lock();
        loop {
            if let Some(found) = look(&mut firmware) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the computer never {what}; it saw {:#?}", firmware.seen);
            // What its computer writes into a file wakes nobody.
            let waited = self.0.1.wait_timeout(firmware, left.min(LOOK));
            firmware = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until an operation was done, such as `AMT_GeneralSettings.Get`.
    ///
    /// # Panics
    /// If it is not in time.
    pub fn wait_for_done(&self, operation: &str) {
        self.wait_for(operation, |firmware| firmware.done().contains(&operation).then_some(()));
    }

    fn lock(&self) -> MutexGuard<'_, Firmware> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
