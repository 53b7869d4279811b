//! What the list of a thousand devices costs the server's only thread, beside its budget.

mod devices;

use std::time::Duration;

use devices::List;
use rustix::time::{ClockId, clock_gettime};

/// Devices in the list.
const DEVICES: usize = 1000;
/// Lists made, of which the median is taken.
const ROUNDS: usize = 200;
/// Milliseconds of processor time a list may take.
const BUDGET: f64 = 2.0;

fn main() {
    let list = List::of(DEVICES);
    let len = list.ask();
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = used();
            list.ask();
            used() - start
        })
        .collect();
    times.sort_unstable();
    let median = times[ROUNDS / 2].as_secs_f64() * 1000.0;
    let worst = times[ROUNDS - 1].as_secs_f64() * 1000.0;
    println!(
        "`nodes` of {DEVICES} devices, {} KB: {median:.2} ms of processor time (worst {worst:.2}), \
         budget {BUDGET:.1}",
        len / 1000
    );
}

/// Processor time of this thread.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
