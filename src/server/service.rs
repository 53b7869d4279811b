//! What systemd is told: that the server serves, how it is, and that its loop turns.
//!
//! Without systemd (`NOTIFY_SOCKET`) nothing is sent. The watchdog is fed by the executor's own
//! heartbeat: a stuck loop feeds nobody and the service is started anew.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::hub::Metrics;

/// Least time between two `STATUS` lines.
const STATUS: Duration = Duration::from_secs(10);

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        log::debug!("the service manager is not told: {error}");
    }
}

/// The ports are open; also after a reload.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => log::debug!("no monotonic time: {error}"),
    }
}

/// The last changes are being written.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Feeds the watchdog and tells the counts.
pub(super) struct Pulse {
    watched: bool,
    told: Option<(Instant, String)>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { watched: sd_notify::watchdog_enabled(false, &mut 0), told: None }
    }
}

impl Pulse {
    /// One turn of the loop.
    pub(super) fn beat(&mut self, metrics: &Metrics) {
        if self.watched {
            tell(&[NotifyState::Watchdog]);
        }
        let now = Instant::now();
        if self.told.as_ref().is_some_and(|(when, _)| now - *when < STATUS) {
            return;
        }
        let status = status(metrics);
        if self.told.as_ref().is_none_or(|(_, told)| *told != status) {
            tell(&[NotifyState::Status(&status)]);
        }
        self.told = Some((now, status));
    }
}

fn status(metrics: &Metrics) -> String {
    let number = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
    let (agents, devices) = (number(&metrics.agents), number(&metrics.devices));
    let sessions = number(&metrics.sessions);
    let disk = match number(&metrics.store_degraded) {
        0 => "",
        _ => "; the disk takes no changes",
    };
    format!("{agents} of {devices} devices connected, {sessions} sessions{disk}")
}
