//! Console commands about the server: versions, memory, certificates, records, the disk.

use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::{Line, Reply, said};
use crate::config::{Reach, load};
use crate::control::actions::record_counts;
use crate::control::statistics::Traffic;
use crate::control::warnings;
use crate::hub::Refused;
use crate::hub::machine::{Machine, Usage};
use crate::pool;

const DAY: u64 = 86_400_000;

pub(super) fn agents(line: &Line<'_>) -> Reply {
    let metrics = &line.control.hub.metrics;
    let mut text = format!(
        "agentSessions: {}\r\nagentConnects: {}\r\nagentBytesIn: {}\r\nagentBytesOut: {}\r\n",
        line.control.hub.agent_count(),
        metrics.agent_connects.load(Relaxed),
        metrics.agent_in.load(Relaxed),
        metrics.agent_out.load(Relaxed),
    );
    for (cause, name) in Refused::ALL {
        let _ = write!(text, "refused {name}: {}\r\n", metrics.refused(cause));
    }
    said(text)
}

/// In MeshCentral's words; the rest is ours.
pub(super) fn activation(line: &Line<'_>) -> Reply {
    let equipment = line.control.activation(&line.user.id.domain);
    if equipment.certificates.is_empty() {
        return said("No Intel AMT activation certificates.");
    }
    let log = equipment.log.display();
    let mut text = format!("--- Activation Log ---\r\nFile  : {log}\r\n");
    for (n, certificate) in equipment.certificates.iter().enumerate() {
        let _ = write!(
            text,
            "--- Activation Certificate {} ---\r\nName  : {}\r\nSHA1  : {}\r\nSHA256: {}\r\n\
             SHA384: {}\r\nEnds  : {}\r\n",
            n + 1,
            certificate.domain,
            certificate.root.sha1,
            certificate.root.sha256,
            certificate.root.sha384,
            certificate.last_day(),
        );
    }
    said(text)
}

pub(super) fn certificate(line: &Line<'_>) -> Reply {
    let now = line.control.hub.now().0;
    said(match line.control.facts().cert_expires {
        Some(end) => {
            let days = (end as i64 - now as i64).div_euclid(DAY as i64);
            format!("[Default], expires in {days} day(s)\r\n")
        }
        None => "The web certificate cannot be read.".to_owned(),
    })
}

pub(super) fn hashes(line: &Line<'_>) -> Reply {
    let facts = line.control.facts();
    said(format!(
        "AgentCertHash: {}\r\nwebCertificateFullHash (): {}",
        facts.agent_cert_hash.hex(),
        facts.tls_hash.hex()
    ))
}

pub(super) fn check_config(line: &Line<'_>) -> Reply {
    let Some(premises) = line.control.premises() else { return said("There is no config.json.") };
    Box::pin(async move {
        let path = premises.config_file();
        let file = path.clone();
        // What the environment overrides is in force, but not what the file says.
        let result = pool::unblock(move || load(&file, [])).await;
        match result {
            Err(error) => error.to_string(),
            Ok((_, warnings)) => {
                let mut text = String::new();
                for warning in &warnings {
                    let _ = write!(text, "{}\r\n", warning.place.located(&path, warning));
                }
                let _ = write!(text, "{} is valid", path.display());
                text
            }
        }
    })
}

pub(super) fn writes(line: &Line<'_>) -> Reply {
    let store = &line.control.hub.store;
    let health = store.health();
    let counters = json!({
        "bytesWritten": store.bytes_written(),
        "unwrittenRecords": health.unwritten_records,
        "unwrittenDetails": health.unwritten_details,
        "unwrittenHistory": health.unwritten_history,
        "lostHistoryPages": health.lost_history,
        "trouble": health.degraded,
    });
    said(pretty(&counters))
}

pub(super) fn records(line: &Line<'_>) -> Reply {
    let counts = record_counts(&line.control.hub);
    let mut text = String::new();
    for (name, count) in &counts {
        let _ = write!(text, "{name}: {count}\r\n");
    }
    let total: usize = counts.iter().map(|(_, count)| count).sum();
    let _ = write!(text, "total: {total}\r\n");
    said(text)
}

pub(super) fn info(line: &Line<'_>) -> Reply {
    let (hub, usage) = (&line.control.hub, Usage::now());
    let is_for_people = line.word(0).is_some_and(|word| word.eq_ignore_ascii_case("h"));
    let mut info = json!({
        "meshVersion": format!("v{}", env!("CARGO_PKG_VERSION")),
        "runMode": match hub.config().settings.reach {
            Reach::Hybrid => "Hybrid (LAN + WAN) mode",
            Reach::Wan => "WAN mode",
            Reach::Lan => "LAN mode",
        },
        "database": "flat files",
        "platform": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "pid": std::process::id(),
        "warnings": warnings::all(line.control),
        "allDevGroupManagers": hub.config().settings.manage_all_device_groups,
    });
    let uptime = hub.metrics.uptime().as_secs();
    if is_for_people {
        info["uptime"] = lasted(uptime).into();
        info["cpuUsage"] = lasted(usage.cpu.as_secs()).into();
        info["memoryUsage"] = json!({"rss": megabytes(usage.resident)});
    } else {
        info["uptime"] = uptime.into();
        info["cpuUsage"] = json!({"total": usage.cpu.as_micros() as u64});
        info["memoryUsage"] = json!({"rss": usage.resident});
    }
    said(pretty(&info))
}

/// The level applies to what is compiled in at all, and until the next start.
pub(super) fn log_level(line: &Line<'_>) -> Reply {
    if let Some(word) = line.word(0) {
        match word.parse::<log::LevelFilter>() {
            Ok(level) if level >= log::LevelFilter::Error => log::set_max_level(level),
            _ => return said("Usage: log [error|warn|info|debug|trace]"),
        }
    }
    said(format!("Log level: {}", log::max_level()))
}

pub(super) fn memory(_: &Line<'_>) -> Reply {
    let (usage, machine) = (Usage::now(), Machine::now());
    said(format!(
        "server: {}\r\nmachine: {}, available {}\r\n",
        megabytes(usage.resident),
        megabytes(machine.total),
        megabytes(machine.available)
    ))
}

pub(super) fn paths(line: &Line<'_>) -> Reply {
    said(match line.control.premises() {
        Some(premises) => format!(
            "Data:       {}\r\nFiles:      {}\r\n",
            premises.data.display(),
            premises.files.path().display()
        ),
        None => "There is no data folder.".to_owned(),
    })
}

pub(super) fn traffic(line: &Line<'_>) -> Reply {
    let hub = &line.control.hub;
    let mut text = String::new();
    let document = Traffic::now(&hub.metrics).document(hub.now());
    for (name, value) in document.as_object().into_iter().flatten() {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    said(text)
}

pub(super) fn uptime(line: &Line<'_>) -> Reply {
    said(lasted(line.control.hub.metrics.uptime().as_secs()))
}

pub(super) fn versions(_: &Line<'_>) -> Reply {
    said(pretty(&json!({
        "meshboard": env!("CARGO_PKG_VERSION"),
        "compatibleWith": "MeshCentral 1.1.55",
        "rust": env!("CARGO_PKG_RUST_VERSION"),
    })))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2}Mb", bytes as f64 / f64::from(1 << 20))
}

/// `1 day, 2 hours, 3 minutes, 4 seconds`.
fn lasted(seconds: u64) -> String {
    let part = |n: u64, unit: &str| format!("{n} {unit}{}", if n == 1 { "" } else { "s" });
    [
        part(seconds / 86_400, "day"),
        part(seconds / 3600 % 24, "hour"),
        part(seconds / 60 % 60, "minute"),
        part(seconds % 60, "second"),
    ]
    .join(", ")
}
