//! `agents install` and `agents list`.

use std::fs::DirBuilder;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use serde_json::json;

use super::{Common, Failure, link, print};
use crate::agent::kinds::{self, AgentKind};
use crate::agent::package::Package;
use crate::agent::package::install::{Progress, Summary, install};
use crate::server::admin::Request;

/// Takes the agents out of a stock package, and has a running server use them.
pub(super) fn install_from(common: &Common, from: &Path, arch: &[String]) -> Result<(), Failure> {
    let mut only: Vec<&'static AgentKind> = Vec::new();
    for name in arch {
        only.extend(kinds::parse_arch(name).map_err(Failure::usage)?);
    }
    let only = (!only.is_empty()).then_some(&*only);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&common.data)
        .map_err(|e| Failure::failed(format!("{}: {e}", common.data.display())))?;
    let agents = common.data.join("agents");
    let mut meter = Meter::new();
    let summary = install(from, &agents, only, &mut |progress| meter.show(progress));
    meter.clear();
    let summary = summary.map_err(Failure::failed)?;
    let reloaded = link::ask_server(common, &Request::ReloadAgents)?.is_some();
    if common.json {
        return print::json(&document(&summary, reloaded));
    }
    tell(&summary, &agents, reloaded)
}

fn document(summary: &Summary, reloaded: bool) -> serde_json::Value {
    let binaries: Vec<_> = summary
        .binaries
        .iter()
        .map(|b| json!({"file": b.file, "size": b.size, "verified": b.verified}))
        .collect();
    json!({
        "version": summary.version, "binaries": binaries, "cores": summary.cores,
        "kept": summary.kept, "reloaded": reloaded,
    })
}

fn tell(summary: &Summary, agents: &Path, reloaded: bool) -> Result<(), Failure> {
    let Summary { version, binaries, cores, kept } = summary;
    let version = version.as_deref().unwrap_or("of unknown version");
    let mut text = format!(
        "installed {} agents and {cores} cores of MeshCentral {version} in {}\n",
        binaries.len(),
        agents.display()
    );
    if let Some(kept) = kept {
        text += &format!("the folder that was there is now {}\n", kept.display());
    }
    if reloaded {
        text += "the running server uses them\n";
    }
    print::out(&text)
}

/// Lists what is installed.
pub(super) fn list(common: &Common) -> Result<(), Failure> {
    let package = Package::open(&common.data.join("agents"), false).map_err(Failure::failed)?;
    let Some(package) = package else {
        return Err(Failure::failed(
            "no agent package is installed; see `meshboard agents install --help`",
        ));
    };
    if common.json {
        let agents: Vec<_> = package
            .list()
            .map(|b| {
                json!({
                    "id": b.kind.id, "name": b.kind.name(), "description": b.kind.description,
                    "file": b.path.file_name().map(|name| name.to_string_lossy()),
                    "size": b.size, "verified": b.verified,
                })
            })
            .collect();
        return print::json(&json!({"version": package.version(), "agents": agents}));
    }
    let mut lines = String::from("ID\tNAME\tSIZE\tFILE\tDESCRIPTION\n");
    for agent in package.list() {
        let file = agent.path.file_name().unwrap_or_default().to_string_lossy();
        let (kind, size) = (agent.kind, agent.size / 1024);
        lines +=
            &format!("{}\t{}\t{size} KiB\t{file}\t{}\n", kind.id, kind.name(), kind.description);
    }
    print::table(&lines)
}

/// Progress on standard error: one line that changes on a terminal, few lines elsewhere.
struct Meter {
    terminal: bool,
    /// The last tenth of reading that was told.
    tenth: Option<u64>,
}

impl Meter {
    fn new() -> Self {
        Self { terminal: stderr().is_terminal(), tenth: None }
    }

    fn show(&mut self, progress: Progress<'_>) {
        let text = match progress {
            Progress::Reading { done, total } => {
                let tenth = (done * 10).checked_div(total).unwrap_or(10).min(10);
                if self.tenth == Some(tenth) {
                    return;
                }
                self.tenth = Some(tenth);
                format!("reading the package: {} %", tenth * 10)
            }
            Progress::Binary { file, number, count } => {
                format!("agent {number} of {count}: {file}")
            }
            Progress::Cores => "composing cores".to_owned(),
        };
        // Progress nobody can see is no reason to stop.
        let _ = if self.terminal {
            write!(stderr(), "\r\x1b[K{text}")
        } else {
            writeln!(stderr(), "{text}")
        };
    }

    fn clear(&self) {
        if self.terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
