//! Many simulated Intel AMT tunnels against the server: memory and processor time of each.
//!
//! `cargo bench --bench cira [-- COUNT]`; 1000 without a number. Budgets: 14 KB and 1.5 ms.

#[path = "../tests/common/cira/mod.rs"]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "tests use the rest")]
mod cira;
#[path = "fleet/probe.rs"]
#[allow(dead_code, unreachable_pub, reason = "the fleet program uses the rest")]
mod probe;
#[path = "fleet/simulated/mod.rs"]
mod simulated;

mod common {
    pub(crate) use super::simulated;
}

use std::cell::Cell;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use async_io::Timer;
use cira::{Device, Door, Mood, Seen};
use serde_json::{Value, json};

const PASSWORD: &str = "P@ssw0rd1";
/// Budget of resident memory per tunnel in bytes.
const MEMORY: u64 = 14 * 1024;
/// Budget of processor time per connect.
const CPU: Duration = Duration::from_micros(1500);

fn main() {
    let count = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(1000);
    allow_open_files();
    let data = tempfile::tempdir().expect("a temporary folder");
    let [https, mps] = [free_port(), free_port()];
    let settings = json!({ "settings": {
        "cert": "127.0.0.1", "port": https, "bind": "127.0.0.1", "redirPort": 0, "statusPort": 0,
        "mpsPort": mps, "mpsPass": PASSWORD, "WANonly": true,
    }});
    std::fs::write(data.path().join("config.json"), settings.to_string()).expect("ours");
    let meshboard = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshboard"));
        command.arg("--data").arg(data.path()).args(arguments).stderr(Stdio::null());
        command
    };
    let run = |arguments: &[&str]| {
        let output = meshboard(arguments).output().expect("the binary runs");
        assert!(output.status.success(), "{arguments:?}");
        output.stdout
    };
    run(&["user", "add", "admin", "--admin", "--password", "Correct-Horse-8"]);
    run(&["group", "add", "amt"]);
    let mut server = meshboard(&["serve"]).spawn().expect("the binary runs");
    let long_key = data.path().join("mpsserver3072-cert-public.crt");
    while !long_key.exists() {
        std::thread::sleep(Duration::from_millis(100));
    }
    let setup: Value =
        serde_json::from_slice(&run(&["mps", "setup", "amt", "--json"])).expect("JSON");
    let user = setup["user"].as_str().expect("a name").to_owned();
    let door = Door { mps, https };

    let executor = Rc::new(LocalExecutor::new());
    async_io::block_on(executor.run(async {
        // What every server has after its first tunnels.
        let warm = tunnels(&executor, door, &user, 0..20).await;
        drop(warm);
        probe::settle(server.id());
        let before = (probe::resident(server.id()), probe::cpu(server.id()));
        let start = Instant::now();
        let all = tunnels(&executor, door, &user, 20..20 + count).await;
        let took = start.elapsed();
        probe::settle(server.id());
        let memory = probe::resident(server.id()).saturating_sub(before.0) / u64::from(count);
        let cpu = probe::cpu(server.id()).saturating_sub(before.1) / count;
        println!("{count} tunnels in {:.1} s", took.as_secs_f64());
        println!("resident memory per idle tunnel  {memory:>6} bytes   budget {MEMORY}");
        println!(
            "processor time per connect       {:>6} µs      budget {}",
            cpu.as_micros(),
            CPU.as_micros()
        );
        drop(all);
    }));
    let _ = server.kill();
    let _ = server.wait();
}

/// Connects computers, a few at a time, and waits until all have named their ports.
async fn tunnels(
    executor: &Rc<LocalExecutor<'static>>,
    door: Door,
    user: &str,
    numbers: std::ops::Range<u32>,
) -> async_channel::Sender<()> {
    let (stop, stopped) = async_channel::bounded(1);
    let ready = Rc::new(Cell::new(0));
    for (begun, number) in numbers.clone().enumerate() {
        let uuid = format!("11111111-2222-3333-4444-{number:012x}");
        let device = Device::new(Mood::Firmware, &uuid, user, PASSWORD);
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
        while ready.get() + 32 < begun {
            Timer::after(Duration::from_millis(1)).await;
        }
    }
    while ready.get() < numbers.len() {
        Timer::after(Duration::from_millis(5)).await;
    }
    stop
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("bound").port()
}

fn allow_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
