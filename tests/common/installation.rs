//! The stock package installed with the node modules it needs: the stock server runs from here,
//! and `meshctrl.js` with `ws` and `minimist`. Made once under `target/stock/server`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use super::package;

/// The folder with `meshcentral.js`, `meshctrl.js` and `agents`.
///
/// # Panics
/// If `npm` is missing or cannot install it.
pub fn folder() -> PathBuf {
    let tarball = package::package_tgz();
    let server = beside(&tarball, "server");
    let _lock = lock(&server.with_extension("lock"));
    let complete = server.join("complete");
    if !complete.exists() {
        fs::create_dir_all(&server).expect("target is writable");
        npm_install(&server, &tarball);
        File::create(complete).expect("target is writable");
    }
    server.join("node_modules/meshcentral")
}

/// A path in the folder that keeps everything of the stock package.
pub fn kept(name: &str) -> PathBuf {
    beside(&package::package_tgz(), name)
}

/// Test programs may run beside each other: one makes a thing, the others wait. Held until
/// dropped.
pub fn lock(file: &Path) -> File {
    let lock = File::create(file).expect("target is writable");
    flock(&lock, FlockOperation::LockExclusive).expect("the file system has locks");
    lock
}

fn beside(tarball: &Path, name: &str) -> PathBuf {
    tarball.parent().expect("a file is in a folder").join(name)
}

fn npm_install(folder: &Path, tarball: &Path) {
    // A package.json keeps npm from installing into a folder further up.
    fs::write(folder.join("package.json"), "{}").expect("target is writable");
    let mut command = Command::new("npm");
    command.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]).arg(tarball);
    let output = command.current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("npm is needed for this test: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "npm install: {errors}");
}
