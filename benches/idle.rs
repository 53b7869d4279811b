//! What the server needs while it does nothing: start, memory, size. Budgets beside.

// A program has no outside; `pub` says what a module offers to the others.
#![allow(unreachable_pub)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "fleet/probe.rs"]
mod probe;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::process::Process;
use common::{https, meshboard, ports};

/// Starts with keys, and first starts, of which the median is taken.
const STARTS: usize = 9;
const FIRST_STARTS: usize = 5;

fn main() {
    let size = fs::metadata(env!("CARGO_BIN_EXE_meshboard")).expect("cargo built it").len();
    row("size of the binary, MiB", mebibytes(size), 6.0);

    let mut pages = Vec::new();
    let mut keys = Vec::new();
    for _ in 0..FIRST_STARTS {
        let (page, all) = first_start();
        pages.push(page);
        keys.push(all);
    }
    row("first start to the web page, ms", milliseconds(median(pages)), 1000.0);
    row("first start to all keys, ms", milliseconds(median(keys)), 3000.0);

    let data = tempfile::tempdir().expect("a temporary folder");
    let port = ports::free();
    meshboard::configure(data.path(), port);
    let mut process = meshboard::launch(data.path(), port);
    meshboard::wait_for_keys(data.path());
    process.terminate();
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let start = Instant::now();
        let mut process = meshboard::launch_for_agents(data.path(), port);
        starts.push(start.elapsed());
        process.terminate();
    }
    row("start with keys, ms", milliseconds(median(starts)), 30.0);

    let process: Process = meshboard::launch_for_agents(data.path(), port);
    https::get(port, "/health.ashx");
    probe::settle(process.id());
    row("resident memory, idle, MiB", mebibytes(probe::resident(process.id())), 6.0);
    println!("written to the data folder, KiB: {:.0}", data_size(data.path()) as f64 / 1024.0);
}

/// Time until the web page answers, and until all keys are made.
fn first_start() -> (Duration, Duration) {
    let data = tempfile::tempdir().expect("a temporary folder");
    let port = ports::free();
    meshboard::configure(data.path(), port);
    let start = Instant::now();
    let _process = meshboard::launch(data.path(), port);
    https::get(port, "/health.ashx");
    let page = start.elapsed();
    meshboard::wait_for_keys(data.path());
    (page, start.elapsed())
}

fn row(name: &str, value: f64, budget: f64) {
    let verdict = if value <= budget { "" } else { "  OVER" };
    println!("{name:<34}{value:>10.1}{:>12}{verdict}", format!("of {budget:.0}"));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}

fn data_size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("the server made it");
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|entry| entry.len()).sum()
}
