//! What two servers said to the same script, side by side.
//!
//! A script runs against the stock server and against ours at the same time and writes down what
//! it sees. What differs from run to run (ids, times, ports, passwords) is replaced by
//! placeholders ([`normal`]); then both transcripts are compared step by step ([`compare`]). Every
//! difference must be in a table, with a reason; an entry that no longer occurs is a failure too.

pub mod compare;
pub mod normal;

use std::thread;

use serde_json::Value;

use super::{Meshboard, Server, StockServer};
pub use compare::Difference;
pub use normal::Normaliser;

/// One thing asked, and what came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What was asked, with placeholders.
    pub asked: String,
    /// What came back, with placeholders: JSON as it is, other text as a list of lines.
    pub answer: Value,
}

/// Everything one server said to one script.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    /// In the order of the script.
    pub steps: Vec<Step>,
}

/// Runs `script` against both servers at the same time; the transcript of the stock server, then
/// ours.
pub fn of_both(script: impl Fn(&mut dyn Server) -> Transcript + Sync) -> [Transcript; 2] {
    side_by_side(|| script(&mut StockServer::start()), || script(&mut Meshboard::start()))
}

/// Runs `script` against two stock servers: shows whether it is repeatable.
pub fn of_stock_twice(script: impl Fn(&mut dyn Server) -> Transcript + Sync) -> [Transcript; 2] {
    let run = || script(&mut StockServer::start());
    side_by_side(run, run)
}

fn side_by_side(
    first: impl FnOnce() -> Transcript + Send,
    second: impl FnOnce() -> Transcript + Send,
) -> [Transcript; 2] {
    thread::scope(|scope| {
        // Child processes die with the thread that started them: each server has one of its own.
        let threads = [scope.spawn(first), scope.spawn(second)];
        threads.map(|thread| match thread.join() {
            Ok(transcript) => transcript,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}
