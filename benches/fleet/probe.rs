//! What a process has used, from `/proc`.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Unit of the times in `/proc/PID/stat`: 100 per second on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);
/// Pause between two looks at a server that should come to rest.
const LOOK: Duration = Duration::from_millis(400);
/// A server that never rests is measured as it is.
const PATIENCE: Duration = Duration::from_secs(20);

/// CPU time of a process, its threads and all its children, dead or alive.
pub fn cpu(pid: u32) -> Duration {
    let mut ticks = 0;
    let mut family = vec![pid];
    while let Some(pid) = family.pop() {
        let Some(stat) = stat(pid) else { continue };
        // utime, stime, cutime, cstime: fields 14 to 17 of proc(5), from 3 after the name.
        ticks += stat.iter().skip(11).take(4).sum::<u64>();
        family.extend(children(pid));
    }
    TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// Resident memory of a process in bytes, without its children.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// Waits until the process has used no CPU for a while.
pub fn settle(pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    let mut before = cpu(pid);
    while Instant::now() < deadline {
        thread::sleep(LOOK);
        let now = cpu(pid);
        if now.saturating_sub(before) <= TICK {
            return;
        }
        before = now;
    }
}

/// The numeric fields after the name, from field 4 on; the state (field 3) counts as 0.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|line| {
            line.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}
