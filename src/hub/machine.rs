//! What this process uses of the machine, and what the machine has: from `/proc`, which costs
//! microseconds to read.

use std::time::Duration;

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
        Self {
            resident: kibibytes(&status, "VmRSS:").unwrap_or_default(),
            cpu: Duration::new(seconds, nanos),
        }
    }
}

/// Memory and load of the whole machine; zeros where `/proc` is not mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Machine {
    /// All memory in bytes.
    pub total: u64,
    /// Memory nobody uses, in bytes.
    pub free: u64,
    /// Memory that programs could still get, in bytes.
    pub available: u64,
    /// Processes that wanted to run, averaged over 1, 5 and 15 minutes.
    pub load: [f64; 3],
}

impl Machine {
    /// What it is now.
    pub fn now() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/proc/meminfo"), &read("/proc/loadavg"))
    }

    /// From proc_meminfo(5) and proc_loadavg(5).
    fn parse(memory: &str, load: &str) -> Self {
        let bytes = |name| kibibytes(memory, name).unwrap_or_default();
        let mut averages = [0.0; 3];
        for (average, text) in averages.iter_mut().zip(load.split_whitespace()) {
            *average = text.parse().unwrap_or_default();
        }
        Self {
            total: bytes("MemTotal:"),
            free: bytes("MemFree:"),
            available: bytes("MemAvailable:"),
            load: averages,
        }
    }
}

/// The bytes of a line like `VmRSS:      5120 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
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
        assert_eq!(kibibytes("VmRSS:\t  12 kB\n", "VmRSS:"), Some(12288));
        assert_eq!(kibibytes("VmSize:\t  12 kB\n", "VmRSS:"), None);
    }

    #[test]
    fn the_machine_is_read_from_proc() {
        let memory = "MemTotal:  2048 kB\nMemFree: 1024 kB\nMemAvailable:    1536 kB\n";
        assert_eq!(
            Machine::parse(memory, "0.50 1.25 2.00 1/123 4567\n"),
            Machine { total: 2 << 20, free: 1 << 20, available: 3 << 19, load: [0.5, 1.25, 2.0] }
        );
        assert_eq!(Machine::parse("", "x"), Machine::default());
        assert!(Machine::now().total > 0);
    }
}
