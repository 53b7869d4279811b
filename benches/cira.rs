//! Many simulated Intel AMT tunnels: what they cost the server in memory and processor time.
//!
//! ```text
//! cargo bench --bench cira                              1,000 tunnels, our server
//! cargo bench --bench cira -- --compare                 and the stock one
//! cargo bench --bench cira -- --tunnels 10000 --hold 120    a soak: held, with keep-alives
//! cargo bench --bench cira -- --tunnels 500 --hold 600 --managed    and polled: power, through APF
//! ```

// A program has no outside; `pub` says what a module offers to the others.
#![allow(unreachable_pub)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "fleet/probe.rs"]
mod probe;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use async_io::Timer;
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use common::amt::{self, Computer};
use common::cira::{self, Device, Door, Mood, Seen};
use common::{Control, Meshboard, Server, StockServer, ports};

const PASSWORD: &str = "P@ssw0rd1";
/// Budget of resident memory per idle tunnel in bytes.
const MEMORY: u64 = 14 * 1024;
/// Budget of processor time per connect.
const CPU: Duration = Duration::from_micros(1500);
/// Tunnels before the measurement: what every server has after its first ones is not theirs.
const WARM: u32 = 20;
/// Connections being made at the same time.
const PARALLEL: usize = 32;

/// Measures what Intel AMT tunnels cost a server.
#[derive(Parser)]
struct Arguments {
    /// Number of tunnels.
    #[arg(long, default_value_t = 1000)]
    tunnels: u32,
    /// Seconds to hold them, each with a keep-alive every 30 seconds.
    #[arg(long, default_value_t = 0)]
    hold: u64,
    /// The computers have firmware that the server logs in to, reads, and asks for its power.
    #[arg(long)]
    managed: bool,
    /// Measure the stock server as well.
    #[arg(long)]
    compare: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("it is allowed");
    let mps = ports::free();
    let settings = json!({ "settings": { "mpsPort": mps, "mpsPass": PASSWORD } });
    let own = Meshboard::start_complete_with(&settings);
    measure("meshboard", &own, mps, &arguments);
    drop(own);
    if arguments.compare {
        let stock = StockServer::start_with(&settings);
        measure("MeshCentral", &stock, mps, &arguments);
    }
}

fn measure(name: &str, server: &dyn Server, mps: u16, arguments: &Arguments) {
    let made = server.meshctrl().run(&["adddevicegroup", "--name", "amt", "--amtonly"]);
    let id = made.trim().strip_prefix("ok mesh//").expect("a group was made");
    let user = id.replace(['@', '$'], "X").chars().take(16).collect::<String>();
    if arguments.managed {
        let policy = json!({"type": 2, "password": amt::PASSWORD, "cirasetup": 0});
        let mut control = Control::open(server.port());
        control.say(&json!({"action": "meshamtpolicy", "meshid": format!("mesh//{id}"),
            "amtpolicy": policy}));
        control.event("meshchange");
    }
    let computer = || arguments.managed.then(Computer::new);
    let door = Door { mps, https: server.port() };
    let (pid, count) = (server.pid(), arguments.tunnels);
    let executor = Rc::new(LocalExecutor::new());
    async_io::block_on(executor.run(async {
        drop(connect(&executor, door, &user, 0..WARM, &computer).await);
        probe::settle(pid);
        let before = (probe::resident(pid), probe::cpu(pid));
        let start = Instant::now();
        let all = connect(&executor, door, &user, WARM..WARM + count, &computer).await;
        let took = start.elapsed();
        probe::settle(pid);
        let memory = probe::resident(pid).saturating_sub(before.0) / u64::from(count);
        let cpu = probe::cpu(pid).saturating_sub(before.1) / count;
        println!("{name}: {count} tunnels in {:.1} s", took.as_secs_f64());
        println!("  resident memory per idle tunnel  {memory:>7} bytes   budget {MEMORY}");
        let (cpu, budget) = (cpu.as_micros(), CPU.as_micros());
        println!("  processor time per connect       {cpu:>7} µs      budget {budget}");
        if arguments.managed {
            println!("  the first visits, which read everything:");
            hold(pid, count, Duration::from_secs(arguments.hold)).await;
            println!("  and then:");
        }
        if arguments.hold > 0 {
            hold(pid, count, Duration::from_secs(arguments.hold)).await;
        }
        let gone = Instant::now();
        drop(all);
        Timer::after(Duration::from_secs(1)).await;
        probe::settle(pid);
        let kept = probe::resident(pid).saturating_sub(before.0) / 1024;
        println!("  kept when all have gone          {kept:>7} KB, after {:.0?}", gone.elapsed());
    }));
}

/// Lets the tunnels be, with their keep-alives.
async fn hold(pid: u32, count: u32, time: Duration) {
    let before = (probe::resident(pid), probe::cpu(pid));
    Timer::after(time).await;
    let grown = probe::resident(pid).saturating_sub(before.0) / 1024;
    let cpu = probe::cpu(pid).saturating_sub(before.1).as_secs_f64() / time.as_secs_f64();
    println!("  held for {time:?}: {grown} KB grown, {:.2} % of a processor", 100.0 * cpu);
    println!("  that is {:.0} µs per keep-alive", cpu * 30e6 / f64::from(count));
}

/// Connects computers, a few at a time, and waits until all have named their ports. They stay until
/// the result is dropped.
async fn connect(
    executor: &Rc<LocalExecutor<'static>>,
    door: Door,
    user: &str,
    numbers: std::ops::Range<u32>,
    computer: impl Fn() -> Option<Computer>,
) -> async_channel::Sender<()> {
    let (stop, stopped) = async_channel::bounded(1);
    let ready = Rc::new(Cell::new(0));
    for (begun, number) in numbers.clone().enumerate() {
        let uuid = format!("11111111-2222-3333-4444-{number:012x}");
        let mut device = Device::new(Mood::Firmware, &uuid, user, PASSWORD);
        if let Some(computer) = computer() {
            device = device.with_computer(computer);
        }
        let (stopped, counter) = (stopped.clone(), ready.clone());
        let tell = move |seen| {
            if seen == Seen::Ready {
                counter.set(counter.get() + 1);
            }
        };
        let tunnel = cira::connect(door, Mood::Firmware, device, stopped, tell);
        let task = async move {
            if let Err(error) = tunnel.await {
                eprintln!("a tunnel broke: {error}");
            }
        };
        executor.spawn(task).detach();
        while ready.get() + PARALLEL < begun {
            Timer::after(Duration::from_millis(1)).await;
        }
    }
    while ready.get() < numbers.len() {
        Timer::after(Duration::from_millis(5)).await;
    }
    stop
}
