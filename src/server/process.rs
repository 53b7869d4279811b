//! What this process uses of the machine.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Memory and processor time of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in bytes; zero where `/proc` is not mounted.
    pub resident: u64,
    /// Processor time of all threads since the start.
    pub cpu: Duration,
}

impl Usage {
    /// What it is now.
    pub fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = u64::try_from(cpu.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(cpu.tv_nsec).unwrap_or_default();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self { resident: resident(&status).unwrap_or_default(), cpu: Duration::new(seconds, nanos) }
    }
}

/// Raises the number of files that may be open to what the system allows: a connected agent is one,
/// and most systems start programs with 1024.
pub fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        log::warn!("the number of connections stays limited to {:?}: {error}", limit.current);
    }
}

/// `VmRSS:      5120 kB`, see proc_pid_status(5).
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_time_are_those_of_this_process() {
        let before = Usage::now();
        assert!(before.resident > 100_000, "{before:?}");
        let mut sum = 0u64;
        while Usage::now().cpu == before.cpu {
            sum = std::hint::black_box(sum + 1);
        }
        assert_eq!(resident("VmRSS:\t  12 kB\n"), Some(12288));
        assert_eq!(resident("VmSize:\t  12 kB\n"), None);
    }
}
