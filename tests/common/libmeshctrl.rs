//! libmeshctrl, the Python client library, from its registry: installed once into a virtual
//! environment under `target`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::installation;

/// The version the scenarios were written with.
const VERSION: &str = "1.3.3";

/// A Python interpreter that knows libmeshctrl.
///
/// # Panics
/// If Python is missing, has no `venv`, or the library cannot be installed.
pub fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("inside the target folder");
    let environment = folder.join(format!("libmeshctrl-{VERSION}"));
    let python = environment.join("bin/python3");
    let _lock = installation::lock(&environment.with_extension("lock"));
    let complete = environment.join("complete");
    if !complete.exists() {
        let _ = fs::remove_dir_all(&environment);
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment));
        let package = format!("libmeshctrl=={VERSION}");
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", &package]));
        File::create(complete).expect("target is writable");
    }
    python
}

fn run(command: &mut Command) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("python3 is needed for this test: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}
