//! Counters that another thread may read.
//!
//! The status endpoint lives on its own thread so that it answers while the executor is stuck; it
//! sees only this struct.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Why a connection or login was refused or held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Refused {
    /// More half-open connections than allowed.
    Overload,
    /// The TLS handshake failed or took too long.
    Tls,
    /// No or malformed HTTP.
    Http,
    /// Broken WebSocket frames, or a message above its limit.
    WebSocket,
    /// The agent did not prove who it is.
    AgentAuth,
    /// The agent has no place here (unknown group, limits, flapping).
    AgentAdmission,
    /// The agent's `?key=` is wrong.
    AgentKey,
    /// The address is not allowed (`agentAllowedIP`, `userBlockedIP`, …).
    Address,
    /// A user's credentials are wrong.
    UserAuth,
    /// The address failed to log in too often.
    Banned,
    /// Intel AMT offered no TLS that this server speaks.
    AmtTls,
    /// A tunnel of Intel AMT did not log in as it should.
    AmtAuth,
    /// The agent sees another TLS certificate than ours: a proxy ends TLS.
    AgentWebHash,
}

impl Refused {
    /// Every cause with its name in metrics.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::Overload, "overload"),
        (Self::Tls, "tls"),
        (Self::Http, "http"),
        (Self::WebSocket, "websocket"),
        (Self::AgentAuth, "agent_auth"),
        (Self::AgentAdmission, "agent_admission"),
        (Self::AgentKey, "agent_key"),
        (Self::Address, "address"),
        (Self::UserAuth, "user_auth"),
        (Self::Banned, "banned"),
        (Self::AmtTls, "amt_tls"),
        (Self::AmtAuth, "amt_auth"),
        (Self::AgentWebHash, "agent_web_hash"),
    ];
}

/// All counters of one server.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    /// Milliseconds since the start at which the executor last ran its heartbeat.
    heartbeat: AtomicU64,
    /// Agents connected now.
    pub agents: AtomicU64,
    /// Control sessions open now.
    pub sessions: AtomicU64,
    /// Sessions through the relay that run now.
    pub tunnels: AtomicU64,
    /// Tunnels of Intel AMT open now.
    pub amt_tunnels: AtomicU64,
    /// Devices known.
    pub devices: AtomicU64,
    /// Agents let in since the start.
    pub agent_connects: AtomicU64,
    /// Bytes written to the data folder since the start.
    pub bytes_written: AtomicU64,
    /// 1 while the disk refuses writes.
    pub store_degraded: AtomicU64,
    /// Control actions nobody knows.
    pub unknown_actions: AtomicU64,
    /// HTTP requests, upgrades included.
    pub http_requests: AtomicU64,
    /// WebSocket upgrades.
    pub websockets: AtomicU64,
    /// Bytes of messages from agents.
    pub agent_in: AtomicU64,
    /// Bytes of messages to agents, executables aside.
    pub agent_out: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            heartbeat: AtomicU64::new(0),
            agents: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            tunnels: AtomicU64::new(0),
            amt_tunnels: AtomicU64::new(0),
            devices: AtomicU64::new(0),
            agent_connects: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            store_degraded: AtomicU64::new(0),
            unknown_actions: AtomicU64::new(0),
            http_requests: AtomicU64::new(0),
            websockets: AtomicU64::new(0),
            agent_in: AtomicU64::new(0),
            agent_out: AtomicU64::new(0),
            refused: [const { AtomicU64::new(0) }; Refused::ALL.len()],
        }
    }
}

impl Metrics {
    /// Counts a refusal.
    pub fn refuse(&self, cause: Refused) {
        if let Some(counter) = self.refused.get(cause as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Refusals of `cause` since the start.
    pub fn refused(&self, cause: Refused) -> u64 {
        self.refused.get(cause as usize).map_or(0, |c| c.load(Relaxed))
    }

    /// Called by the executor every second.
    pub fn beat(&self) {
        self.heartbeat.store(self.started.elapsed().as_millis() as u64, Relaxed);
    }

    /// How long ago the executor last ran its heartbeat.
    pub fn heartbeat_age(&self) -> Duration {
        let now = self.started.elapsed().as_millis() as u64;
        Duration::from_millis(now.saturating_sub(self.heartbeat.load(Relaxed)))
    }

    /// Time since the start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_own_counter() {
        let metrics = Metrics::default();
        for (n, (cause, _)) in Refused::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, n);
            metrics.refuse(*cause);
            assert_eq!(metrics.refused(*cause), 1);
        }
    }
}
