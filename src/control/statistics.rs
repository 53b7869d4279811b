//! Numbers about the server: of this moment, what passed through it, and how both were before.
//!
//! The past is kept in memory alone: five-minute samples of a day and hourly ones of thirty days,
//! some 80 KB when full. On disk they would be written for ever and hardly ever be read.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};

use crate::hub::machine::{Machine, Usage};
use crate::hub::{Hub, Metrics};
use crate::model::Millis;
use crate::model::order;

/// Time between two samples.
pub const INTERVAL: Duration = Duration::from_secs(300);
/// Samples at that pace: a day.
const FINE: usize = 288;
/// One of so many is kept for longer.
const COARSE_EVERY: u64 = 12;
/// Samples of the slower pace: thirty days.
const COARSE: usize = 720;

/// What passed through the server since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    requests: u64,
    websockets: u64,
    agent_in: u64,
    agent_out: u64,
}

impl Traffic {
    /// Up to now.
    pub(super) fn now(metrics: &Metrics) -> Self {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        Self {
            requests: count(&metrics.http_requests),
            websockets: count(&metrics.websockets),
            agent_in: count(&metrics.agent_in),
            agent_out: count(&metrics.agent_out),
        }
    }

    /// What was added since `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            websockets: self.websockets.saturating_sub(earlier.websockets),
            agent_in: self.agent_in.saturating_sub(earlier.agent_in),
            agent_out: self.agent_out.saturating_sub(earlier.agent_out),
        }
    }

    /// With MeshCentral's names. What is not counted is zero.
    pub(super) fn document(self, time: Millis) -> Value {
        json!({
            "httpRequestCount": self.requests,
            "httpWebSocketCount": self.websockets,
            "httpIn": 0,
            "httpOut": 0,
            "relayCount": {},
            "relayIn": {},
            "relayOut": {},
            "localRelayCount": {},
            "localRelayIn": {},
            "localRelayOut": {},
            "AgentCtrlIn": self.agent_in,
            "AgentCtrlOut": self.agent_out,
            "LMSIn": 0,
            "LMSOut": 0,
            "CIRAIn": 0,
            "CIRAOut": 0,
            "time": time,
        })
    }
}

/// Who is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Presence {
    agents: u32,
    users: u32,
    sessions: u32,
}

impl Presence {
    fn now(hub: &Hub) -> Self {
        let sessions = hub.sessions();
        let mut users: Vec<_> = sessions.iter().map(|session| &session.id.user).collect();
        order::sort_by(&mut users, Ord::cmp);
        users.dedup();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            agents: count(hub.agent_count()),
            users: count(users.len()),
            sessions: count(sessions.len()),
        }
    }
}

/// The body of `serverstats`.
pub(super) fn present(hub: &Hub) -> Value {
    let (machine, presence) = (Machine::now(), Presence::now(hub));
    let config = hub.config();
    let of_all = |count: &dyn Fn(&crate::model::DomainId) -> usize| -> usize {
        config.domains.keys().map(count).sum()
    };
    json!({
        "totalmem": machine.total,
        "freemem": machine.free,
        "cpuavg": machine.load,
        "availablemem": machine.available,
        "values": {
            "ServerState": {
                "UserAccounts": of_all(&|domain| hub.store.users(domain).len()),
                "DeviceGroups": of_all(&|domain| hub.store.groups(domain).len()),
                "AgentSessions": presence.agents,
                "ConnectedUsers": presence.users,
                "UsersSessions": presence.sessions,
                "RelaySessions": 0,
                "RelayCount": 0,
                "ConnectedIntelAMT": 0,
                "ConnectedIntelAMTCira": 0,
            },
        },
    })
}

/// The server at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    time: Millis,
    resident: u64,
    presence: Presence,
    /// Bytes written to disk since the start.
    written: u64,
    /// Since the sample before.
    traffic: Traffic,
}

impl Sample {
    /// As MeshCentral keeps it: `ca` agents, `cu` users, `us` sessions, `rs` relays, `am` Intel AMT,
    /// `amc` Intel AMT by CIRA; and of our own, what was written to disk.
    pub(super) fn document(&self) -> Value {
        let Self { time, resident, presence, written, traffic } = self;
        json!({
            "time": time.iso(),
            "mem": {"rss": resident},
            "disk": {"written": written},
            "conn": {
                "ca": presence.agents, "cu": presence.users, "us": presence.sessions,
                "rs": 0, "am": 0, "amc": 0,
            },
            "traffic": traffic.document(*time),
        })
    }
}

/// How it was.
#[derive(Debug, Default)]
pub(super) struct Series {
    fine: VecDeque<Sample>,
    coarse: VecDeque<Sample>,
    taken: u64,
    traffic: Traffic,
}

impl Series {
    /// Takes a sample; to be called every [`INTERVAL`].
    pub(super) fn take(&mut self, hub: &Hub) -> Sample {
        let total = Traffic::now(&hub.metrics);
        let traffic = total.since(std::mem::replace(&mut self.traffic, total));
        let (resident, written) = (Usage::now().resident, hub.store.bytes_written());
        let (time, presence) = (hub.now(), Presence::now(hub));
        let sample = Sample { time, resident, presence, written, traffic };
        self.push(sample);
        sample
    }

    fn push(&mut self, sample: Sample) {
        keep(&mut self.fine, sample, FINE);
        if self.taken.is_multiple_of(COARSE_EVERY) {
            keep(&mut self.coarse, sample, COARSE);
        }
        self.taken += 1;
    }

    /// Samples taken after `then`, oldest first: hourly ones, and as far back as there are any the
    /// five-minute ones.
    pub(super) fn since(&self, then: Millis) -> impl Iterator<Item = &Sample> {
        let fine_from = self.fine.front().map_or(Millis(u64::MAX), |sample| sample.time);
        let coarse = self.coarse.iter().filter(move |sample| sample.time < fine_from);
        coarse.chain(&self.fine).filter(move |sample| sample.time > then)
    }
}

fn keep(samples: &mut VecDeque<Sample>, sample: Sample, most: usize) {
    if samples.len() == most {
        samples.pop_front();
    }
    samples.push_back(sample);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_days_are_kept_within_bounds_and_the_last_in_detail() {
        let mut series = Series::default();
        let step = INTERVAL.as_millis() as u64;
        let per_day = 86_400_000 / step;
        for n in 0..40 * per_day {
            let traffic = Traffic::default();
            let presence = Presence::default();
            let time = Millis(n * step);
            series.push(Sample { time, resident: n, presence, written: n, traffic });
        }
        assert_eq!((series.fine.len(), series.coarse.len()), (FINE, COARSE));
        let told = series.fine.back().map(Sample::document).unwrap_or_default();
        assert_eq!(told["disk"]["written"], told["mem"]["rss"]);
        let now = 40 * per_day * step;
        let since = |days: u64| series.since(Millis(now - days * 86_400_000)).collect::<Vec<_>>();
        assert_eq!(since(1).len() as u64, per_day - 1);
        let all = since(31);
        assert!(all.is_sorted_by_key(|sample| sample.time));
        assert_eq!(all.len(), FINE + COARSE - FINE / COARSE_EVERY as usize);
    }
}
