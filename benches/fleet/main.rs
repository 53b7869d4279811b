//! The fleet program: many simulated agents in one process, real authentication, and what they
//! cost the server in time and memory.
//!
//! ```text
//! cargo bench --bench fleet                        our server, started here
//! cargo bench --bench fleet -- --stock             the stock MeshCentral server
//! cargo bench --bench fleet -- --compare           both, with ratios
//! cargo bench --bench fleet -- --url wss://127.0.0.1:443/agent.ashx --meshid ID \
//!     --serverid ID --pid PID                      any server that runs on this machine
//! ```

// A program has no outside; `pub` says what a module offers to the others.
#![allow(unreachable_pub)]

#[path = "../../tests/common/mod.rs"]
mod common;
mod measure;
mod probe;
mod report;

use std::io;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use common::simulated::{Group, identity};
use common::{Meshboard, Server, StockServer};
use measure::{Fleet, Target};
use report::Report;

/// Measures what agents cost a server.
#[derive(Parser)]
struct Arguments {
    /// Number of agents.
    #[arg(long, default_value_t = 500)]
    agents: usize,
    /// Length of the agents' RSA keys; stock agents have 3072 bits.
    #[arg(long, default_value_t = 3072)]
    key_bits: usize,
    /// Connections being made at the same time.
    #[arg(long, default_value_t = 16)]
    parallel: usize,
    /// Start and measure the stock server.
    #[arg(long, conflicts_with = "compare")]
    stock: bool,
    /// Start and measure our server and the stock one.
    #[arg(long)]
    compare: bool,
    /// A running server, wss://host:port/agent.ashx.
    #[arg(long, requires = "meshid", requires = "serverid", requires = "pid")]
    url: Option<String>,
    /// Device group of the running server, in its text form.
    #[arg(long)]
    meshid: Option<String>,
    /// Its `agentCertHash`, in text form, or the ServerID of its .msh file.
    #[arg(long)]
    serverid: Option<String>,
    /// Its process.
    #[arg(long)]
    pid: Option<u32>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    allow_open_files()?;
    let fleet = Fleet::new(arguments.agents, arguments.key_bits, arguments.parallel)?;
    let reports = match &arguments.url {
        Some(url) => vec![fleet.measure(&mut foreign(url, &arguments)?)?],
        None => {
            let mut reports = Vec::new();
            if !arguments.stock {
                reports.push(measure_own(&fleet, "meshboard", &mut Meshboard::start())?);
            }
            if arguments.stock || arguments.compare {
                reports.push(measure_own(&fleet, "MeshCentral", &mut StockServer::start())?);
            }
            reports
        }
    };
    report::print(&fleet, &reports);
    Ok(())
}

fn measure_own(fleet: &Fleet, name: &str, server: &mut dyn Server) -> io::Result<Report> {
    let mesh = server.add_group("fleet");
    let serverid = server.meshctrl().server_info("agentCertHash");
    let group = parse_group(&mesh, &serverid)?;
    let url = format!("wss://127.0.0.1:{}/agent.ashx", server.port());
    fleet.measure(&mut Target {
        name: name.to_owned(),
        url,
        group,
        pid: server.pid(),
        restart: Some(Box::new(move || {
            server.stop();
            server.start_again();
            server.pid()
        })),
    })
}

fn foreign(url: &str, arguments: &Arguments) -> io::Result<Target<'static>> {
    // clap has checked that they come with --url.
    let meshid = arguments.meshid.as_deref().unwrap_or_default();
    let serverid = arguments.serverid.as_deref().unwrap_or_default();
    Ok(Target {
        name: "that server".to_owned(),
        url: url.to_owned(),
        group: parse_group(meshid, serverid)?,
        pid: arguments.pid.unwrap_or_default(),
        restart: None,
    })
}

fn parse_group(mesh: &str, server: &str) -> io::Result<Group> {
    let parse = |id: &str| {
        let hex = id.trim_start_matches("0x").to_uppercase();
        let hex = data_encoding::HEXUPPER.decode(hex.as_bytes()).ok();
        hex.and_then(|bytes| bytes.try_into().ok())
            .or_else(|| identity::from_text(id))
            .ok_or_else(|| io::Error::other(format!("{id} is not an id of 48 bytes")))
    };
    Ok(Group { mesh: parse(mesh)?, server: parse(server)? })
}

/// An agent is a socket here and one in the server, which inherits the limit.
fn allow_open_files() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(())
}
