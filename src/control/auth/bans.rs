//! Barred networks on disk: a restart frees nobody.
//!
//! A record tells until when by the wall clock. On a board that woke in the past that could be
//! years away, so nothing counts for longer than the configuration bars anybody.

use std::time::{Duration, Instant};

use log::warn;

use crate::control::limiter::Limiter;
use crate::hub::Hub;
use crate::model::{Ban, Millis, Network};
use crate::store::RecordKey;

/// Records kept at a time; of more networks than that a restart forgets some.
const RECORDS: usize = 256;

/// A limiter that knows who was barred before the restart.
pub(super) fn recalled(hub: &Hub) -> Limiter {
    let mut limiter = Limiter::default();
    let (now, longest) = (hub.now(), longest(hub));
    for ban in hub.store.bans() {
        let rest = ban.until.since(now).min(longest);
        match ban.network.parse::<Network>() {
            Ok(network) if !rest.is_zero() => limiter.bar(network, rest, Instant::now()),
            _ => hub.store.remove(RecordKey::Ban(ban.network.clone())).later(),
        }
    }
    limiter
}

/// The longest anybody is barred. Zero if nobody is.
fn longest(hub: &Hub) -> Duration {
    let config = hub.config();
    let limits = [config.settings.max_invalid_login, config.settings.max_invalid_2fa];
    let bars = limits.into_iter().flatten().map(|limit| limit.cool_off.unwrap_or(limit.time));
    bars.max().unwrap_or_default()
}

/// Keeps that `network` is barred for so long, and says so.
pub(super) fn keep(hub: &Hub, network: Network, time: Duration) {
    warn!("control: {network} is barred for {} s: too many failed logins", time.as_secs());
    let now = hub.now();
    let kept = hub.store.bans();
    for past in kept.iter().filter(|ban| ban.until <= now) {
        hub.store.remove(RecordKey::Ban(past.network.clone())).later();
    }
    if hub.store.bans().len() < RECORDS {
        let until = Millis(now.0.saturating_add(time.as_millis() as u64));
        hub.store.put(Ban { network: network.to_string(), until }).later();
    }
}
