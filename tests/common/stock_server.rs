//! The stock MeshCentral server, on loopback with a data folder of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Process;
use super::{ADMIN, Meshboard, PASSWORD, Server, forget_web_certificate, installation, ports};

/// A running stock server.
pub struct StockServer {
    process: Process,
    data: TempDir,
    port: u16,
}

impl StockServer {
    /// Starts one with an administrator account and nothing else.
    ///
    /// # Panics
    /// If it cannot be installed or does not start.
    pub fn start() -> Self {
        Self::start_with(&json!({}))
    }

    /// The same with more in its `config.json`.
    ///
    /// # Panics
    /// If it cannot be installed or does not start.
    pub fn start_with(more: &Value) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        seed_keys(data.path());
        let port = ports::free();
        configure(data.path(), port, more);
        add_admin(data.path());
        let process = launch(data.path(), port);
        Self { process, data, port }
    }

    /// Moves in where `ours`, which is stopped, was: its records by `export` and `--dbimport`, its
    /// certificates by copying, its port. The administrator gets the usual password anew.
    ///
    /// # Panics
    /// If a step fails or it does not start.
    pub fn in_place_of(ours: &Meshboard) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let file = data.path().join("export.json").to_string_lossy().into_owned();
        let report = ours.command(&["export", &file]);
        assert!(report.contains(&format!("user//{ADMIN}")), "it needs a new password: {report}");
        copy_keys(ours.data(), data.path());
        // It reads no elliptic key, and makes a web certificate of its own.
        forget_web_certificate(data.path());
        configure(data.path(), ours.port(), &json!({}));
        run(data.path(), &["--dbimport", &file], "Imported ");
        let admin = format!("user//{ADMIN}");
        run(data.path(), &["--resetaccount", &admin, "--pass", PASSWORD], "Done.");
        let process = launch(data.path(), ours.port());
        Self { process, data, port: ours.port() }
    }

    /// Its `meshcentral-data` folder.
    pub fn data(&self) -> &Path {
        self.data.path()
    }
}

impl Server for StockServer {
    fn port(&self) -> u16 {
        self.port
    }

    fn pid(&self) -> u32 {
        self.process.id()
    }

    fn stop(&mut self) {
        self.process.terminate();
    }

    fn kill(&mut self) {
        self.process.kill();
    }

    fn start_again(&mut self) {
        self.process = launch(self.data.path(), self.port);
    }

    fn login_key(&self) -> String {
        let records = fs::read_to_string(self.data.path().join("meshcentral.db"));
        let records = records.expect("the server made it");
        let key = records.lines().find_map(|line| {
            let record: Value = serde_json::from_str(line).ok()?;
            let is_key = record["_id"] == "LoginCookieEncryptionKey";
            is_key.then(|| record["key"].as_str().map(str::to_owned))?
        });
        key.expect("it is made at the first start")
    }

    fn forget_web_certificate(&self) {
        forget_web_certificate(self.data.path());
    }
}

/// The sections of `more` are added.
fn configure(data: &Path, port: u16, more: &Value) {
    let mut config = json!({
        "settings": {
            "cert": "127.0.0.1",
            "port": port,
            "portBind": "127.0.0.1",
            "redirPort": 0,
            "mpsPort": 0,
            "WANonly": true,
            "selfUpdate": false,
            "autoBackup": false,
            // The timestamp server is on the Internet.
            "agentTimeStampServer": false,
        },
        "domains": { "": {} },
    });
    for (name, section) in more.as_object().into_iter().flatten() {
        for (key, value) in section.as_object().into_iter().flatten() {
            config[name][key] = value.clone();
        }
    }
    fs::write(data.join("config.json"), config.to_string()).expect("the folder is ours");
}

/// The server runs as one process (`--launch`), which ends when its standard input does, instead
/// of a parent that starts it again.
fn launch(data: &Path, port: u16) -> Process {
    let process = Process::start("node", |command| {
        command.arg("--disable-proto=delete").arg(installation::folder());
        command.arg("--datapath").arg(data);
        command.args(["--launch", &std::process::id().to_string()]);
        command.current_dir(data);
    });
    let line = process.wait_for_line(|line| line.contains("HTTPS server running on"));
    // It takes the next free port when the wanted one is not.
    // In LAN mode it names the port alone.
    let is_wanted =
        [format!(":{port}"), format!("port {port}.")].iter().any(|at| line.contains(at));
    assert!(is_wanted, "the port was taken: {line}");
    process
}

fn add_admin(data: &Path) {
    run(data, &["--createaccount", ADMIN, "--pass", PASSWORD], "Done.");
    run(data, &["--adminaccount", ADMIN], "Done.");
}

/// Runs one of its commands, which begins its answer with `expected`.
fn run(data: &Path, arguments: &[&str], expected: &str) {
    let mut command = Command::new("node");
    command.arg(installation::folder()).arg("--datapath").arg(data).args(arguments);
    let output = command.current_dir(data).output().expect("node runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with(expected), "{arguments:?}: {text}");
}

/// Certificates are made once and copied: with the stock server that takes seconds.
fn seed_keys(data: &Path) {
    let keys = installation::kept("keys");
    let _lock = installation::lock(&keys.with_extension("lock"));
    if !keys.exists() {
        let first = tempfile::tempdir().expect("a temporary folder");
        let port = ports::free();
        configure(first.path(), port, &json!({}));
        launch(first.path(), port).terminate();
        let unfinished = keys.with_extension("making");
        fs::create_dir_all(&unfinished).expect("target is writable");
        copy_keys(first.path(), &unfinished);
        fs::rename(unfinished, &keys).expect("both are under target");
    }
    copy_keys(&keys, data);
}

fn copy_keys(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the server made it").flatten() {
        if entry.file_name().to_string_lossy().contains("-cert-") {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("both folders are ours");
        }
    }
}
