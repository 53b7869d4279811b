//! How the server is, for the people who look after it: `serverhealth`, an action of our own.

use std::collections::BTreeMap;

use serde::Serialize;

use super::premises::Premises;
use crate::amt::activation::room::Equipment;
use crate::hub::held::HeldAgent;
use crate::hub::machine::Usage;
use crate::hub::{Hub, Refused};
use crate::identity::{Description, describe_all};
use crate::model::{User, order};
use crate::pool;

/// The body of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Health {
    version: &'static str,
    /// Seconds since the start.
    uptime: u64,
    memory: Memory,
    agents: usize,
    sessions: usize,
    devices: usize,
    /// Version of the installed agent package; empty if it does not say, `None` without one.
    agent_package: Option<String>,
    certificates: Vec<Certificate>,
    /// Certificate files that cannot be read, and why.
    certificate_errors: Vec<String>,
    /// What Intel AMT is activated with; `None` if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    activation: Option<Activation>,
    store: Store,
    /// Refusals since the start, by cause.
    refused: BTreeMap<&'static str, u64>,
    /// Agents that are not let in; for full administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Vec<HeldAgent>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    /// Resident memory in bytes.
    resident: u64,
    /// Processor time in seconds.
    cpu_seconds: f64,
}

/// What there is to know of a certificate without knowing where its files are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Certificate {
    role: String,
    subject: String,
    not_before: String,
    not_after: String,
    sha384: String,
}

/// What the reader's domain activates Intel AMT with.
#[derive(Debug, Serialize)]
struct Activation {
    /// Those in force.
    certificates: Vec<ActivationCertificate>,
    /// Why others, or the log, cannot be used.
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ActivationCertificate {
    /// What the owner calls it.
    name: String,
    /// The DNS suffix of the computers it is for.
    domain: String,
    /// The day the first certificate of the chain ends, `2026-11-22`.
    not_after: String,
    /// SHA-256 of the root that firmware has to trust.
    root: String,
}

impl Activation {
    fn of(equipment: &Equipment) -> Option<Self> {
        let certificates = equipment.certificates.iter().map(|certificate| ActivationCertificate {
            name: certificate.name.clone(),
            domain: certificate.domain.clone(),
            not_after: certificate.last_day(),
            root: certificate.root.sha256.clone(),
        });
        let told =
            Self { certificates: certificates.collect(), warnings: equipment.warnings.clone() };
        (!told.certificates.is_empty() || !told.warnings.is_empty()).then_some(told)
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Store {
    /// What the disk said, while changes are in memory only.
    degraded: Option<String>,
    /// Bytes of records that are only in memory at this moment.
    unwritten: usize,
    /// Bytes written since the start.
    bytes_written: u64,
}

impl From<Description> for Certificate {
    fn from(described: Description) -> Self {
        let Description { role, subject, not_before, not_after, sha384, .. } = described;
        Self { role, subject, not_before, not_after, sha384 }
    }
}

impl Health {
    /// At this moment, as `reader` may know it. Certificates are read from their files, in the pool.
    pub(super) async fn now(
        hub: &Hub,
        premises: &Premises,
        equipment: &Equipment,
        reader: &User,
    ) -> Self {
        let data = premises.data.clone();
        let (certificates, certificate_errors) = pool::unblock(move || describe_all(&data)).await;
        let (usage, disk) = (Usage::now(), hub.store.health());
        let refused = Refused::ALL.iter().map(|(cause, name)| (*name, hub.metrics.refused(*cause)));
        let config = hub.config();
        let scope = match config.settings.manage_cross_domain.contains(&reader.id) {
            true => None,
            false => Some(&reader.id.domain),
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime: hub.metrics.uptime().as_secs(),
            memory: Memory { resident: usage.resident, cpu_seconds: usage.cpu.as_secs_f64() },
            agents: hub.agent_count(),
            sessions: hub.sessions().len(),
            devices: hub.store.device_count(),
            agent_package: premises.agent_package.borrow().clone(),
            certificates: certificates.into_iter().map(Certificate::from).collect(),
            certificate_errors,
            activation: Activation::of(equipment),
            store: Store {
                degraded: disk.degraded,
                unwritten: disk.unwritten_records,
                bytes_written: hub.store.bytes_written(),
            },
            refused: order::gather(refused),
            held: reader.site.is_full().then(|| hub.held.list(scope)),
        }
    }
}
