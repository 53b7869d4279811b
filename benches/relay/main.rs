//! What a tunnel costs the server: CPU per byte, time per round trip, memory per tunnel; ours and
//! the stock server's in the same run.
//!
//! ```text
//! cargo bench --bench relay                  our server, then the stock one, with ratios
//! cargo bench --bench relay -- --own         our server alone
//! cargo bench --bench relay -- --gigabytes 4
//! ```

// A program has no outside; `pub` says what a module offers to the others.
#![allow(unreachable_pub)]

#[path = "../../tests/common/mod.rs"]
mod common;
mod line;
#[path = "../fleet/probe.rs"]
mod probe;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};

use common::simulated::{self, Group, Keys, Live, Memory, identity};
use common::{Control, Meshboard, Server, StockServer};
use line::Line;

/// Measures what tunnels cost a server.
#[derive(Parser)]
struct Arguments {
    /// Gigabytes moved per frame size through our server; a quarter of it through the stock one.
    #[arg(long, default_value_t = 2.0)]
    gigabytes: f64,
    /// Round trips.
    #[arg(long, default_value_t = 20_000)]
    round_trips: usize,
    /// Tunnels whose memory is measured.
    #[arg(long, default_value_t = 100)]
    tunnels: usize,
    /// Measure our server only.
    #[arg(long)]
    own: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Frame sizes in bytes: what Router and desktops send, records, what stock agents read of files.
const SIZES: [usize; 3] = [64 << 10, 16 << 10, 4 << 10];

/// Tunnels that are filled until nothing moves any more.
const STALLED: usize = 10;

/// Tunnels at full speed beside which an idle agent pings, and threads that drive them.
const CROWD: usize = 200;
const DRIVERS: usize = 2;
/// How long an agent pings: many rounds of the crowd.
const PINGING: Duration = Duration::from_secs(4);

/// What one server needed.
struct Report {
    name: &'static str,
    /// CPU seconds per gigabyte, by frame size.
    per_gigabyte: [f64; 3],
    /// Microseconds of a 64-byte round trip, viewer to agent and back.
    round_trip: f64,
    /// Microseconds of the same with other tunnels at full speed.
    busy_round_trip: f64,
    /// Milliseconds that other tunnels at full speed and a stalled one add to the ping of an agent
    /// that does nothing else: in the median, and at what nineteen of twenty stay below.
    added_to_ping: [f64; 2],
    /// KiB per tunnel.
    idle: f64,
    /// KiB per tunnel after a megabyte went through each.
    used: f64,
    /// KiB per tunnel whose viewer does not read.
    stalled: f64,
}

fn main() {
    let arguments = Arguments::parse();
    let mut reports = vec![measure("meshboard", &mut Meshboard::start(), &arguments, 1.0)];
    if !arguments.own {
        reports.push(measure("MeshCentral", &mut StockServer::start(), &arguments, 0.25));
    }
    print(&reports);
}

/// A server with one simulated agent, and a user who opens tunnels to it.
struct Scene {
    port: u16,
    agent: Live,
    control: Control,
}

/// Both ends of a tunnel.
struct Tunnel {
    viewer: Line,
    agent: Line,
}

impl Scene {
    fn new(server: &dyn Server) -> Self {
        let group = server.add_group("bench");
        let hash = server.meshctrl().server_info("agentCertHash");
        let group = Group {
            mesh: identity::from_text(&group).expect("a group id has 48 bytes"),
            server: identity::from_text(&hash).expect("a server id has 48 bytes"),
        };
        let url = format!("wss://127.0.0.1:{}/agent.ashx", server.port());
        let url = simulated::Server::parse(&url).expect("a valid URL");
        let identity = Keys::for_fleet(8, 2048).expect("target is writable").agent(0);
        let agent = Live::connect(&url, identity, group, Memory::default());
        agent.core_runs();
        server.meshctrl().wait_for_device("is this agent", |device| {
            device["_id"] == agent.node() && device["conn"] == 1
        });
        Self { port: server.port(), agent, control: Control::open(server.port()) }
    }

    /// Opens a files session, which no filter and no recording slows down.
    fn tunnel(&mut self, number: usize) -> Tunnel {
        let cookies = self.control.cookies();
        let node = self.agent.node();
        let id = format!("bench{number}x{}", std::process::id());
        let query = format!("p=5&nodeid={node}&id={id}");
        let path = format!("/meshrelay.ashx?browser=1&{query}&auth={}", cookies.auth);
        let mut viewer = Line::open(self.port, &path);
        let value = format!("*/meshrelay.ashx?{query}&rauth={}", cookies.relay);
        let request = json!({"action": "msg", "type": "tunnel", "nodeid": node, "value": value,
            "usage": 5, "responseid": id});
        assert_eq!(self.control.ask(&request)["result"], "OK");
        let value = loop {
            let command = self.agent.json("msg");
            if command["type"] == "tunnel" {
                break command["value"].clone();
            }
        };
        let Value::String(value) = value else { panic!("{value} is no text") };
        let path = value.trim_start_matches('*').replace('$', "%24").replace('@', "%40");
        let mut agent = Line::open(self.port, &path);
        assert_eq!(viewer.message(), b"c");
        assert_eq!(agent.message(), b"c");
        viewer.send(1, b"5");
        assert_eq!(agent.message(), b"5");
        Tunnel { viewer, agent }
    }
}

fn measure(
    name: &'static str,
    server: &mut dyn Server,
    arguments: &Arguments,
    share: f64,
) -> Report {
    let stalled = stalled(server);
    // Memory that was used and is free again would hide what is used now.
    server.stop();
    server.start_again();
    let mut scene = Scene::new(server);
    let mut number = 0..;
    let mut open = |scene: &mut Scene| scene.tunnel(number.next().unwrap_or_default());

    // Buffers that every server has after a while.
    let mut warm = open(&mut scene);
    flow(&mut warm, SIZES[0], 64 << 20);
    drop(warm);
    probe::settle(server.pid());
    let base = probe::resident(server.pid());
    let grown = |count: usize| {
        probe::settle(server.pid());
        (probe::resident(server.pid()) as f64 - base as f64) / 1024.0 / count as f64
    };
    let mut tunnels: Vec<_> = (0..arguments.tunnels).map(|_| open(&mut scene)).collect();
    let idle = grown(tunnels.len());
    for tunnel in &mut tunnels {
        flow(tunnel, SIZES[0], 1 << 20);
    }
    let used = grown(tunnels.len());
    drop(tunnels);

    let bytes = arguments.gigabytes * share * 1e9;
    let per_gigabyte = SIZES.map(|size| {
        let mut tunnel = open(&mut scene);
        let before = probe::cpu(server.pid());
        flow(&mut tunnel, size, bytes as usize);
        probe::cpu(server.pid()).saturating_sub(before).as_secs_f64() / (bytes / 1e9)
    });
    let round_trip = round_trips(open(&mut scene), arguments.round_trips);
    let busy_round_trip = {
        let stop = Arc::new(AtomicBool::new(false));
        let mut busy = open(&mut scene);
        let stopping = Arc::clone(&stop);
        let traffic = thread::spawn(move || {
            while !stopping.load(Relaxed) {
                flow(&mut busy, SIZES[0], 16 << 20);
            }
        });
        let median = round_trips(open(&mut scene), arguments.round_trips / 10);
        stop.store(true, Relaxed);
        traffic.join().expect("the traffic flows");
        median
    };
    let added_to_ping = added_to_ping(&mut scene, &mut open);
    Report { name, per_gigabyte, round_trip, busy_round_trip, added_to_ping, idle, used, stalled }
}

/// How much longer an agent waits for the answer to a ping while [`CROWD`] tunnels are busy and one
/// is stalled. It is measured beside the programs that keep them busy, on the same processors.
fn added_to_ping(scene: &mut Scene, open: &mut impl FnMut(&mut Scene) -> Tunnel) -> [f64; 2] {
    let alone = pings(&scene.agent);
    let mut stalled = open(scene);
    stalled.agent.stuff(SIZES[0]);
    let mut crowd: Vec<_> = (0..CROWD).map(|_| open(scene)).collect();
    let stop = AtomicBool::new(false);
    let crowded = thread::scope(|scope| {
        for tunnels in crowd.chunks_mut(CROWD / DRIVERS) {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    tunnels.iter_mut().for_each(|tunnel| tunnel.agent.pour(SIZES[0], 1));
                    tunnels.iter_mut().for_each(|tunnel| tunnel.viewer.skip(SIZES[0], 1));
                }
            });
        }
        let crowded = pings(&scene.agent);
        stop.store(true, Relaxed);
        crowded
    });
    [(crowded[0] - alone[0]) * 1e3, (crowded[1] - alone[1]) * 1e3]
}

/// Seconds an agent waits for the answer to a ping: the median, and what nineteen of twenty
/// stay below.
fn pings(agent: &Live) -> [f64; 2] {
    let end = Instant::now() + PINGING;
    let mut times = Vec::new();
    while times.is_empty() || Instant::now() < end {
        let start = Instant::now();
        agent.say(json!({"action": "ping"}));
        agent.json("pong");
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    [times[times.len() / 2], times[times.len() * 19 / 20]]
}

/// KiB per tunnel that is full in both directions. Few, because the kernel fills megabytes of its
/// own for each.
fn stalled(server: &dyn Server) -> f64 {
    let mut scene = Scene::new(server);
    drop(scene.tunnel(usize::MAX));
    probe::settle(server.pid());
    let base = probe::resident(server.pid());
    let mut tunnels: Vec<_> = (0..STALLED).map(|number| scene.tunnel(number)).collect();
    for Tunnel { viewer, agent } in &mut tunnels {
        agent.stuff(SIZES[0]);
        viewer.stuff(SIZES[0]);
    }
    probe::settle(server.pid());
    (probe::resident(server.pid()) as f64 - base as f64) / 1024.0 / STALLED as f64
}

/// Moves `bytes` from the agent to the viewer in frames of `size`.
fn flow(tunnel: &mut Tunnel, size: usize, bytes: usize) {
    let Tunnel { viewer, agent } = tunnel;
    let frames = bytes.div_ceil(size);
    thread::scope(|scope| {
        scope.spawn(|| agent.pour(size, frames));
        viewer.skip(size, frames);
    });
}

/// The median of 64-byte round trips in microseconds.
fn round_trips(tunnel: Tunnel, count: usize) -> f64 {
    let Tunnel { mut viewer, mut agent } = tunnel;
    let echo = thread::spawn(move || {
        for _ in 0..count {
            let word = agent.message();
            agent.send(2, &word);
        }
    });
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let start = Instant::now();
            viewer.send(2, &[7; 64]);
            viewer.message();
            start.elapsed()
        })
        .collect();
    echo.join().expect("the echo answers");
    times.sort_unstable();
    times[count / 2].as_secs_f64() * 1e6
}

type Row = (&'static str, fn(&Report) -> f64, Option<f64>);

/// What is measured, and its budget.
const ROWS: [Row; 10] = [
    ("CPU s per GB, frames of 64 KB", |report| report.per_gigabyte[0], Some(1.0)),
    ("CPU s per GB, frames of 16 KB", |report| report.per_gigabyte[1], None),
    ("CPU s per GB, frames of 4 KB", |report| report.per_gigabyte[2], None),
    ("µs, round trip of 64 bytes", |report| report.round_trip, Some(100.0)),
    ("µs, the same beside a full stream", |report| report.busy_round_trip, None),
    ("ms added to a ping by 200 tunnels", |report| report.added_to_ping[0], Some(5.0)),
    ("ms, the same, 19 of 20 pings", |report| report.added_to_ping[1], None),
    ("KiB per idle tunnel", |report| report.idle, Some(24.0)),
    ("KiB, after a megabyte", |report| report.used, Some(24.0)),
    ("KiB, full and stalled", |report| report.stalled, Some(160.0)),
];

fn print(reports: &[Report]) {
    print!("{:<38}", "CPU and memory are the server's");
    reports.iter().for_each(|report| print!("{:>14.14}", report.name));
    println!("{}{:>10}", if reports.len() == 2 { "     ratio" } else { "" }, "budget");
    for (name, value, budget) in ROWS {
        print!("{name:<38}");
        reports.iter().for_each(|report| print!("{:>14.2}", value(report)));
        if let [first, second] = reports {
            print!("{:>10.1}", value(second) / value(first));
        }
        match budget {
            Some(budget) => println!("{budget:>10.1}"),
            None => println!(),
        }
    }
}
