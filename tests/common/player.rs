//! The stock session player, its own code run by node without a browser.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::installation;

/// What the player makes of a recording; see `tests/player/accept.js`.
///
/// # Panics
/// If node does not run it.
pub fn play(recording: &Path) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/player/accept.js");
    let mut command = Command::new("node");
    command.arg(script).arg(installation::folder()).arg(recording);
    let output = command.output().unwrap_or_else(|error| panic!("node is needed: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the player broke: {errors}");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}
