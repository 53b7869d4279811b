//! Output: tables and sentences for people, JSON for programs.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::Serialize;
use tabwriter::TabWriter;

use super::Failure;
use crate::hub::amt_login::Setup;
use crate::hub::held::HeldAgent;
use crate::hub::journal::Attempt;
use crate::identity::Description;
use crate::model::{Millis, Seconds};
use crate::server::admin::{AccountLine, GroupLine, Status};

/// Writes `text` to standard output; a reader that has gone away is no failure.
pub(super) fn out(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(()),
    }
}

/// Writes a sentence to standard error.
pub(super) fn note(text: &str) {
    // Nobody is there to be told.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes why a command failed.
pub(super) fn error(text: &str) {
    note(&format!("error: {text}"));
}

pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    out(&format!("{text}\n"))
}

/// Aligns lines whose cells are separated by tabs.
pub(super) fn table(lines: &str) -> Result<(), Failure> {
    let mut writer = TabWriter::new(Vec::new()).padding(2);
    let aligned = writer.write_all(lines.as_bytes()).and_then(|()| writer.flush());
    aligned.map_err(Failure::failed)?;
    let bytes = writer.into_inner().map_err(Failure::failed)?;
    out(&String::from_utf8_lossy(&bytes))
}

pub(super) fn accounts(accounts: &[AccountLine]) -> Result<(), Failure> {
    let mut lines = String::from("ACCOUNT\tRIGHTS\tGROUPS\tMADE\tLAST LOGIN\n");
    for account in accounts {
        let rights = match account {
            AccountLine { admin: true, .. } => "full".to_owned(),
            AccountLine { locked: true, .. } => "locked".to_owned(),
            AccountLine { siteadmin: 0, .. } => "-".to_owned(),
            AccountLine { siteadmin, .. } => format!("{siteadmin:#x}"),
        };
        let login = account.login.map_or_else(|| "never".to_owned(), day);
        let AccountLine { id, groups, created, .. } = account;
        // Writing into a String cannot fail.
        let _ = writeln!(lines, "{id}\t{rights}\t{groups}\t{}\t{login}", day(*created));
    }
    table(&lines)
}

/// `2026-11-22`.
fn day(seconds: Seconds) -> String {
    Millis(seconds.0.saturating_mul(1000)).iso().chars().take(10).collect()
}

pub(super) fn groups(groups: &[GroupLine]) -> Result<(), Failure> {
    let mut lines = String::from("NAME\tDEVICES\tMESHID\n");
    for GroupLine { meshid, name, devices, .. } in groups {
        let _ = writeln!(lines, "{name}\t{devices}\t{meshid}");
    }
    table(&lines)
}

pub(super) fn certificates(found: &[Description]) -> Result<(), Failure> {
    let mut lines = String::new();
    for (n, d) in found.iter().enumerate() {
        let gap = if n == 0 { "" } else { "\n" };
        let hash_of_key = if d.role == "agentserver" { "ServerID" } else { "key SHA-384" };
        let _ = write!(
            lines,
            "{gap}{}\t{}\n\tvalid {} to {}\n\tSHA-384\t{}\n\t{hash_of_key}\t{}\n\t{}\n\t{}\n",
            d.role,
            d.subject,
            d.not_before.get(..10).unwrap_or(&d.not_before),
            d.not_after.get(..10).unwrap_or(&d.not_after),
            d.sha384,
            d.key_sha384,
            d.certificate.display(),
            d.key.display(),
        );
    }
    out(&lines.replace('\t', "  "))
}

pub(super) fn status(status: &Status) -> Result<(), Failure> {
    let mut lines = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(lines, "{name}\t{value}");
    };
    match (status.pid, status.uptime) {
        (Some(pid), Some(uptime)) => {
            let since = duration(uptime);
            line("server", format!("meshboard {}, process {pid}, up {since}", status.version));
        }
        _ => line("server", "does not run on this folder".to_owned()),
    }
    line("data folder", status.data.clone());
    if let Some(ports) = status.ports {
        let further = [
            ("agents", ports.agent),
            ("redirect", ports.redirect),
            ("Intel AMT", ports.mps),
            ("status", ports.status),
        ];
        let further = further
            .into_iter()
            .filter_map(|(name, port)| Some(format!(", {name} {}", port?)))
            .collect::<String>();
        line("ports", format!("HTTPS {}{further}", ports.https));
    }
    if let Some(memory) = status.memory {
        let mib = memory.resident as f64 / f64::from(1 << 20);
        line("uses", format!("{mib:.1} MiB, {:.1} s of processor time", memory.cpu_seconds));
    }
    if status.pid.is_some() {
        line("connected", format!("{} agents, {} sessions", status.agents, status.sessions));
    }
    line(
        "records",
        format!("{} devices, {} groups, {} accounts", status.devices, status.groups, status.users),
    );
    line(
        "agent package",
        match status.agent_package.as_deref() {
            Some("") => "installed, without version".to_owned(),
            Some(version) => version.to_owned(),
            None => "none; see `meshboard agents install --help`".to_owned(),
        },
    );
    if status.pid.is_some() {
        let health = match &status.store.degraded {
            Some(error) => format!("THE DISK REFUSES WRITES, changes are in memory only: {error}"),
            None => "sound".to_owned(),
        };
        line("store", format!("{health}, {} bytes written", status.store.bytes_written));
    }
    for held in &status.held {
        let name = held.name.as_deref().unwrap_or("an agent");
        let waiting = if held.waiting > 0 { "waits now" } else { "not now" };
        let HeldAgent { address, why, times, fix, .. } = held;
        line("held", format!("{name} at {address}: {why} ({times} times, {waiting}). {fix}"));
    }
    for certificate in &status.certificates {
        match &*certificate.role {
            "web" => line("web certificate", format!("SHA-384 {}", certificate.sha384)),
            "agentserver" => line("ServerID", certificate.key_sha384.clone()),
            _ => {}
        }
    }
    for error in &status.certificate_errors {
        line("certificate", error.clone());
    }
    if let Some(code) = &status.setup_code {
        line("setup code", format!("{code} (makes the first account)"));
    }
    table(&lines)
}

pub(super) fn amt_journal(journal: &[Attempt]) -> Result<(), Failure> {
    let mut text = String::new();
    for Attempt { remote, time, uuid, node, ended, steps } in journal {
        let who = uuid.as_deref().unwrap_or("said no UUID");
        let state = if *ended { "ended" } else { "open" };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{} {remote}, {who}, {state}", time.iso());
        if let Some(node) = node {
            let _ = writeln!(text, "           {node}");
        }
        for step in steps {
            let _ = writeln!(text, "{:>7} ms  {}", step.ms, step.text);
        }
    }
    if text.is_empty() {
        text.push_str("no such connection since the server started\n");
    }
    out(&text)
}

pub(super) fn amt_setup(setup: &Setup) -> Result<(), Failure> {
    let Setup { host, port, user, password, root } = setup;
    table(&format!(
        "server\t{host}\nport\t{port}\nuser name\t{user}\npassword\t{password}\n\
         root certificate\t/{root} on the HTTPS port\n"
    ))
}

/// `3d 4h`, `5h 6m`, `7m 8s`.
fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m {rest}s"),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_with_two_units() {
        for (seconds, text) in [(0, "0m 0s"), (428, "7m 8s"), (18_360, "5h 6m"), (273_661, "3d 4h")]
        {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(day(Seconds(1_795_324_660)), "2026-11-22");
    }
}
