//! The binaries that `.ci/cross` builds, as a board runs them: from an empty folder, under qemu
//! with Debian's cross C library as their root.
//!
//! Not part of `cargo test`, because it needs those binaries: `cargo test --test boards`.

mod common;
#[path = "../benches/fleet/probe.rs"]
#[allow(dead_code, unreachable_pub)]
mod probe;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::cira::{self, Door, Live, Mood};
use common::meshboard::configure_with;
use common::process::Process;
use common::{
    ADMIN, Architecture, PASSWORD, Server, StockAgent, forget_web_certificate, https, ports,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What systemd grants a service is far more, but a person at a board waits for it.
const STOP: Duration = Duration::from_secs(2);
/// How a computer's firmware logs in, and which computer it is.
const AMT_PASSWORD: &str = "P@ssw0rd1";
const UUID: &str = "4c4c4544-004b-4210-8033-b6c04f504633";

#[test]
fn an_aarch64_board_serves_and_a_stock_agent_connects() {
    let mut board = Board::start(Architecture::Aarch64);
    board.answers();
    let group = board.add_account_and_group();
    let agent = StockAgent::start(&board, &group, Architecture::Aarch64);
    let device = board.meshctrl().wait_for_device("is connected", |device| device["conn"] == 1);
    assert_eq!(device["meshid"], group.as_str());
    let computer = board.is_called_by_a_computer();
    board.tell_memory("with an agent and a computer with Intel AMT");
    // Both stay to the end: a server with open connections has to stop in time, too.
    board.stops_in_time();
    drop((agent, computer));
}

#[test]
fn an_armv7_board_serves_and_takes_commands() {
    let mut board = Board::start(Architecture::Armhf);
    board.answers();
    board.add_account_and_group();
    let computer = board.is_called_by_a_computer();
    board.stops_in_time();
    drop(computer);
}

/// The cross-built server on a data folder that was empty before.
struct Board {
    architecture: Architecture,
    process: Process,
    data: TempDir,
    port: u16,
    mps: u16,
}

impl Board {
    fn start(architecture: Architecture) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let (port, mps) = (ports::free(), ports::free());
        let settings = json!({ "mpsPort": mps, "mpsPass": AMT_PASSWORD });
        configure_with(data.path(), port, &json!({ "settings": settings }));
        let began = Instant::now();
        let process = launch(architecture, data.path(), port);
        let board = Self { architecture, process, data, port, mps };
        eprintln!("{architecture:?}: agents may connect after {:.1?}", began.elapsed());
        board.tell_memory("after the first start");
        board
    }

    /// The page that load balancers ask.
    fn answers(&self) {
        let (status, body) = https::get(self.port, "/health.ashx");
        assert_eq!((status, body.as_slice()), (200, &b"ok"[..]));
    }

    /// Through the program's own commands, while it serves; the id of the group.
    fn add_account_and_group(&self) -> String {
        self.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
        let made = self.command(&["group", "add", "boards", "--json"]);
        let made: Value = serde_json::from_str(&made).expect("JSON was asked for");
        let group = made["meshid"].as_str().expect("an id is text").to_owned();
        let listed = self.command(&["group", "list"]);
        assert!(listed.contains("boards"), "{listed}");
        group
    }

    /// Simulated firmware; it becomes a device of a group of its own.
    fn is_called_by_a_computer(&self) -> Live {
        let made = self.meshctrl().run(&["adddevicegroup", "--name", "amt", "--amtonly"]);
        let group = made.trim().strip_prefix("ok ").expect("a group was made");
        let door = Door { mps: self.mps, https: self.port };
        let user = cira::user_of(group);
        let computer = Live::connect(door, Mood::Firmware, UUID, &user, AMT_PASSWORD);
        let connected = self.meshctrl().wait_for_device("has called", |device| device["conn"] == 2);
        assert_eq!(connected["meshid"], group);
        computer
    }

    fn command(&self, arguments: &[&str]) -> String {
        let (emulator, root) = emulator(self.architecture);
        let mut command = Command::new(emulator);
        command.args(["-L", root]).arg(binary(self.architecture));
        command.arg("--data").arg(self.data.path()).args(arguments);
        let output = command.output().expect("qemu is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "meshboard {arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("the program writes UTF-8")
    }

    fn stops_in_time(&mut self) {
        let began = Instant::now();
        let status = self.process.terminate();
        let taken = began.elapsed();
        assert!(status.success(), "{status}");
        assert!(taken < STOP, "the server took {taken:?} to stop");
        eprintln!("{:?}: stopped after {taken:.1?}", self.architecture);
    }

    fn tell_memory(&self, when: &str) {
        let resident = probe::resident(self.pid()) as f64 / f64::from(1 << 20);
        eprintln!("{:?}: {resident:.1} MiB resident {when}, qemu's included", self.architecture);
    }
}

impl Server for Board {
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
        self.process = launch(self.architecture, self.data.path(), self.port);
    }

    fn login_key(&self) -> String {
        self.command(&["login-key"]).trim().to_owned()
    }

    fn forget_web_certificate(&self) {
        forget_web_certificate(self.data.path());
    }
}

fn launch(architecture: Architecture, data: &Path, port: u16) -> Process {
    let (emulator, root) = emulator(architecture);
    let process = Process::start(emulator, |command| {
        command.args(["-L", root]).arg(binary(architecture));
        command.arg("--data").arg(data).arg("serve");
    });
    process.wait_for_line(|line| line.contains(&format!(":{port}/")));
    process.wait_for_line(|line| line.contains("agents may connect"));
    process
}

fn emulator(architecture: Architecture) -> (String, &'static str) {
    architecture.emulator().expect("boards are ARM")
}

fn binary(architecture: Architecture) -> PathBuf {
    let target = match architecture {
        Architecture::Aarch64 => "aarch64-unknown-linux-gnu",
        Architecture::Armhf => "armv7-unknown-linux-gnueabihf",
        Architecture::X86_64 => panic!("not a board"),
    };
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/cross").join(target);
    let binary = built.join("release/meshboard");
    assert!(binary.exists(), "{} is missing: run .ci/cross", binary.display());
    binary
}
