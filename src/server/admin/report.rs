//! `status`: what there is to know about the server and its folder.

use serde::{Deserialize, Serialize};

use super::AdminContext;
use crate::agent::package::Package;
use crate::control::setup;
use crate::hub::held::HeldAgent;
use crate::identity::{Description, describe_all};
use crate::pool;
use crate::server::process::Usage;

/// What there is to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of the program that answers.
    pub version: String,
    /// The data folder.
    pub data: String,
    /// Ports, if a server runs.
    pub ports: Option<Ports>,
    /// Process id, if a server runs.
    pub pid: Option<u32>,
    /// Seconds since the server started.
    pub uptime: Option<u64>,
    /// What the server uses.
    pub memory: Option<Memory>,
    /// Agents connected.
    pub agents: usize,
    /// Control sessions open.
    pub sessions: usize,
    /// Devices known, over all domains.
    pub devices: usize,
    /// Accounts, over all domains.
    pub users: usize,
    /// Device groups, over all domains.
    pub groups: usize,
    /// The code that makes the first account, while there is none.
    pub setup_code: Option<String>,
    /// Version of the installed agent package; empty if it does not say.
    pub agent_package: Option<String>,
    /// Certificates that exist, by role.
    pub certificates: Vec<Description>,
    /// Certificate files that cannot be read, and why.
    pub certificate_errors: Vec<String>,
    /// Agents that are not let in; what happened last first.
    pub held: Vec<HeldAgent>,
    /// The flat files.
    pub store: StoreState,
}

/// Ports a server listens on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// HTTPS: people and agents.
    pub https: u16,
    /// HTTPS for agents only.
    pub agent: Option<u16>,
    /// HTTP, redirected.
    pub redirect: Option<u16>,
    /// Intel AMT.
    pub mps: Option<u16>,
    /// Status endpoint on loopback.
    pub status: Option<u16>,
}

/// What the server uses of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Resident memory in bytes.
    pub resident: u64,
    /// Processor time in seconds.
    pub cpu_seconds: f64,
}

/// How the flat files are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreState {
    /// What the disk said, while it refuses writes and changes are in memory only.
    pub degraded: Option<String>,
    /// Bytes of records that are only in memory at this moment.
    pub unwritten: usize,
    /// Bytes written since the start.
    pub bytes_written: u64,
}

pub(super) async fn status(ctx: &AdminContext) -> Status {
    let (hub, data) = (&ctx.hub, ctx.data.clone());
    let config = hub.config();
    let per_domain = |count: &dyn Fn(&crate::model::DomainId) -> usize| -> usize {
        config.domains.keys().map(count).sum()
    };
    let (certificates, certificate_errors, agent_package) = pool::unblock(move || {
        let (certificates, errors) = describe_all(&data);
        let package = Package::open(&data.join("agents"), false).ok().flatten();
        (certificates, errors, package.map(|p| p.version().unwrap_or_default().to_owned()))
    })
    .await;
    let live = ctx.live.as_ref();
    let health = hub.store.health();
    let usage = live.map(|_| Usage::now());
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        data: ctx.data.display().to_string(),
        ports: live.map(|live| live.ports),
        pid: live.map(|_| std::process::id()),
        uptime: live.map(|_| hub.metrics.uptime().as_secs()),
        memory: usage
            .map(|usage| Memory { resident: usage.resident, cpu_seconds: usage.cpu.as_secs_f64() }),
        agents: hub.agent_count(),
        sessions: hub.sessions().len(),
        devices: hub.store.device_count(),
        users: per_domain(&|domain| hub.store.users(domain).len()),
        groups: per_domain(&|domain| hub.store.groups(domain).len()),
        setup_code: setup::setup_code(hub),
        agent_package,
        certificates,
        certificate_errors,
        held: hub.held.list(None),
        store: StoreState {
            degraded: health.degraded,
            unwritten: health.unwritten_records,
            bytes_written: hub.store.bytes_written(),
        },
    }
}
