//! Our own server, as the binary that is delivered.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use meshboard::identity;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Process;
use super::{
    ADMIN, PASSWORD, Server, StockServer, forget_web_certificate, installation, package, ports,
};

/// A running meshboard.
pub struct Meshboard {
    process: Process,
    data: TempDir,
    port: u16,
}

impl Meshboard {
    /// Starts one with an administrator account and the x86-64 and ARM agents installed.
    ///
    /// # Panics
    /// If a command fails or the server does not start.
    pub fn start() -> Self {
        Self::start_complete_with(&json!({}))
    }

    /// The same with more in its `config.json`.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_complete_with(more: &Value) -> Self {
        let server = Self::start_with(more);
        let tarball = package::package_tgz();
        server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
        let mut arguments = vec!["agents", "install", "--from"];
        let tarball = tarball.to_string_lossy();
        arguments.push(&tarball);
        for architecture in ["x86_64", "aarch64", "armhf"] {
            arguments.extend(["--arch", architecture]);
        }
        server.command(&arguments);
        server
    }

    /// Starts one without an account and without agents.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_empty() -> Self {
        Self::start_with(&json!({}))
    }

    /// The same, without account and agents, with more in its `config.json`.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_with(more: &Value) -> Self {
        Self::start_on(ports::free(), more)
    }

    /// The same on a port that somebody else had to know before.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_on(port: u16, more: &Value) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        seed_keys(data.path());
        configure_with(data.path(), port, more);
        let process = launch_for_agents(data.path(), port);
        Self { process, data, port }
    }

    /// Starts one that has moved in from a stock server, which must have been stopped: on a new
    /// data folder, with what `meshboard import` found, on the same port.
    ///
    /// # Panics
    /// If a command fails or the server does not start.
    pub fn in_place_of(stock: &StockServer) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let source = stock.data().to_string_lossy();
        let run = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_meshboard"));
            command.arg("--data").arg(data.path()).args(arguments);
            let output = command.output().expect("the binary runs");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "meshboard {arguments:?}: {errors}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let planned = run(&["import", &source, "--dry-run"]);
        let done = run(&["import", &source]);
        assert_eq!(planned, done, "a dry run tells what is done then");
        let tarball = package::package_tgz();
        run(&["agents", "install", "--from", &tarball.to_string_lossy(), "--arch", "x86_64"]);
        let port = stock.port();
        let process = launch_for_agents(data.path(), port);
        Self { process, data, port }
    }

    /// Runs a command of the CLI on this server's data folder, while it serves.
    ///
    /// # Panics
    /// If the command fails.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = self.try_command(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "meshboard {arguments:?}: {text}{errors}");
        text
    }

    /// The same for a command that may fail.
    pub fn try_command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshboard"));
        command.arg("--data").arg(self.data.path()).args(arguments);
        command.output().expect("the binary runs")
    }

    /// Waits for a line of its log.
    ///
    /// # Panics
    /// If it does not come.
    pub fn wait_for_log(&self, wanted: &str) -> String {
        self.process.wait_for_line(|line| line.contains(wanted))
    }

    /// Its log so far, by line.
    pub fn log(&self) -> Vec<String> {
        self.process.stderr()
    }

    /// Empties the data folder, as a dead disk does.
    pub fn lose_data(&self) {
        for entry in fs::read_dir(self.data.path()).expect("the folder exists").flatten() {
            let path = entry.path();
            let gone = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            gone.expect("the folder is ours");
        }
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        self.data.path()
    }
}

impl Server for Meshboard {
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
        self.process = launch_for_agents(self.data.path(), self.port);
    }

    fn login_key(&self) -> String {
        self.command(&["login-key"]).trim().to_owned()
    }

    fn forget_web_certificate(&self) {
        forget_web_certificate(self.data.path());
    }
}

/// The configuration of a server under test: loopback, one port.
pub fn configure(data: &Path, port: u16) {
    configure_with(data, port, &json!({}));
}

/// The same; the sections of `more` are added, its settings win.
pub fn configure_with(data: &Path, port: u16, more: &Value) {
    let mut config = json!({
        "settings": {
            "cert": "127.0.0.1",
            "port": port,
            "bind": "127.0.0.1",
            "redirPort": 0,
            "mpsPort": 0,
            "statusPort": 0,
            "WANonly": true,
        },
    });
    for (name, section) in more.as_object().into_iter().flatten() {
        for (key, value) in section.as_object().into_iter().flatten() {
            config[name][key] = value.clone();
        }
    }
    fs::write(data.join("config.json"), config.to_string()).expect("the folder is ours");
}

/// Starts the server and waits until it says that it serves this port.
pub fn launch(data: &Path, port: u16) -> Process {
    let process = Process::start(env!("CARGO_BIN_EXE_meshboard"), |command| {
        command.arg("--data").arg(data).arg("serve");
    });
    process.wait_for_line(|line| line.contains(&format!(":{port}/")));
    process
}

/// The same, and waits until agents may connect: before, they are sent away for seconds.
pub fn launch_for_agents(data: &Path, port: u16) -> Process {
    let process = launch(data, port);
    process.wait_for_line(|line| line.contains("agents may connect"));
    process
}

/// RSA keys are made once and copied; what a first start does is another test's subject.
pub fn seed_keys(data: &Path) {
    let keys = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-keys");
    fs::create_dir_all(&keys).expect("target is writable");
    let _lock = installation::lock(&keys.join("lock"));
    // The name says which keys are complete.
    let complete = keys.join("complete-with-mpsserver3072");
    if !complete.exists() {
        let first = tempfile::tempdir().expect("a temporary folder");
        let port = ports::free();
        configure(first.path(), port);
        let mut process = launch(first.path(), port);
        wait_for_keys(first.path());
        process.terminate();
        // The one that no first start waits for.
        identity::load_or_make_long_mps(first.path(), "127.0.0.1").expect("a key is made");
        copy_keys(first.path(), &keys);
        fs::File::create(complete).expect("target is writable");
    }
    copy_keys(&keys, data);
}

/// Waits for the last key file: the web page answers before all RSA keys are made.
///
/// # Panics
/// If a key is not made.
pub fn wait_for_keys(data: &Path) {
    let deadline = std::time::Instant::now() + super::PATIENCE;
    for name in ["root", "agentserver", "mpsserver", "webserver"] {
        for file in [format!("{name}-cert-private.key"), format!("{name}-cert-public.crt")] {
            while !data.join(&file).exists() {
                assert!(std::time::Instant::now() < deadline, "{file} was not made");
                std::thread::yield_now();
            }
        }
    }
}

fn copy_keys(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the folder exists").flatten() {
        if entry.file_name().to_string_lossy().contains("-cert-") {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("both folders are ours");
        }
    }
}
