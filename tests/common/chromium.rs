//! Debian's chromium, driven by the scenarios in `web/test/browser`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::installation;

/// What the tests run from, below `web/`.
const SOURCES: [&str; 9] = [
    ".npmrc",
    ".prettierignore",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "build.mjs",
    "src",
    "demo",
    "test",
];

/// A copy of `web/` with everything its tests need, made once under `target/`.
///
/// # Panics
/// If npm is missing or cannot install it.
pub fn workshop() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let copy = root.join("target/web-tests");
        fs::create_dir_all(&copy).expect("target is writable");
        let _lock = installation::lock(&copy.join("lock"));
        for name in SOURCES {
            let _ = fs::remove_dir_all(copy.join(name));
            copy_all(&root.join("web").join(name), &copy.join(name));
        }
        let lock = fs::read(copy.join("package-lock.json")).expect("it was copied");
        let installed = copy.join("node_modules/.made-by");
        if fs::read(&installed).ok().as_ref() != Some(&lock) {
            run(&copy, "npm", &["ci", "--ignore-scripts", "--prefer-offline"]);
            fs::write(installed, lock).expect("target is writable");
        }
        copy
    })
}

fn copy_all(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("target is writable");
        for entry in fs::read_dir(from).expect("it is there").flatten() {
            copy_all(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).expect("target is writable");
    }
}

/// Runs a program of the workshop to its end.
///
/// # Panics
/// If it fails; with what it said.
pub fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}:\n{said}{errors}");
}

/// Plays a scenario of `file` with the page at `url` to its end. `lend_a_hand` does what it asks for
/// beside the browser.
///
/// # Panics
/// If the scenario fails.
pub fn play(url: &str, file: &str, scenario: &str, mut lend_a_hand: impl FnMut(&Value) -> Value) {
    let mut child = Command::new("node")
        .args(["test/browser/run.mjs", file, scenario])
        .current_dir(workshop())
        .env("MESHBOARD_URL", url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is there");
    let mut hands = child.stdin.take().expect("it is piped");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    for line in lines.map_while(Result::ok) {
        match line.strip_prefix('@') {
            Some(asked) => {
                let asked: Value = serde_json::from_str(asked).expect("scenarios ask in JSON");
                writeln!(hands, "{}", lend_a_hand(&asked)).expect("the scenario waits");
            }
            None => println!("{line}"),
        }
    }
    let status = child.wait().expect("it was started");
    assert!(status.success(), "{scenario} failed, see above");
}
