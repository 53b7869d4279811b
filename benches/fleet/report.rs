//! The table at the end.

use super::measure::Fleet;

/// What one server needed. Times in milliseconds of CPU per agent, memory per agent in KiB.
pub struct Report {
    /// Which server.
    pub name: String,
    /// Full authentications per second.
    pub full_rate: f64,
    /// Fast authentications per second.
    pub fast_rate: f64,
    /// Connection of a device the server has never seen.
    pub first_cpu: f64,
    /// Connection with full authentication.
    pub full_cpu: f64,
    /// Connection by an agent that knows the server.
    pub fast_cpu: f64,
    /// `coreinfo`, `sessions` and `netinfo` after the start of the core.
    pub introduction_cpu: f64,
    /// The server before the first agent, in MiB.
    pub base_memory: f64,
    /// A connected agent that has said nothing.
    pub idle_memory: f64,
    /// After it introduced its core.
    pub introduced_memory: f64,
    /// After it sent one message of 64 KiB.
    pub spoken_memory: f64,
}

type Row = (&'static str, fn(&Report) -> f64, Option<f64>);

/// What is measured, and its budget in ARCHITECTURE.md.
const ROWS: [Row; 10] = [
    ("connects per second, full", |report| report.full_rate, None),
    ("connects per second, fast path", |report| report.fast_rate, None),
    ("CPU ms, first contact", |report| report.first_cpu, None),
    ("CPU ms, full authentication", |report| report.full_cpu, Some(1.6)),
    ("CPU ms, fast path", |report| report.fast_cpu, Some(0.6)),
    ("CPU ms, core introduces itself", |report| report.introduction_cpu, None),
    ("MiB, server without agents", |report| report.base_memory, Some(6.0)),
    ("KiB per idle agent", |report| report.idle_memory, Some(11.0)),
    ("KiB, after its introduction", |report| report.introduced_memory, Some(11.0)),
    ("KiB, after a message of 64 KiB", |report| report.spoken_memory, Some(11.0)),
];

/// Prints one line per measure, one column per server, and their ratio if there are two.
pub fn print(fleet: &Fleet, reports: &[Report]) {
    println!(
        "{} agents with RSA-{} keys; CPU and memory are the server's",
        fleet.len(),
        fleet.key_bits
    );
    print!("{:<34}", "");
    reports.iter().for_each(|report| print!("{:>14.14}", report.name));
    println!("{}{:>10}", if reports.len() == 2 { "     ratio" } else { "" }, "budget");
    for (name, value, budget) in ROWS {
        print!("{name:<34}");
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
