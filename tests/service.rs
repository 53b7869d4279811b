//! What systemd sees: the server under its notification socket and with sockets it was passed, and
//! the unit files under systemd's own judgement.

mod common;

use std::cell::RefCell;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use common::process::Process;
use common::{PATIENCE, https, meshboard, ports};

const SERVER: &str = env!("CARGO_BIN_EXE_meshboard");

/// The service manager's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    /// Messages nobody has asked for yet.
    waiting: RefCell<Vec<String>>,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("the folder is ours");
        socket.set_read_timeout(Some(PATIENCE)).expect("a valid time");
        Self { socket, waiting: RefCell::default(), folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// Waits for a message with a line that starts so, and takes it.
    fn wait_for(&self, wanted: &str) -> String {
        let mut waiting = self.waiting.borrow_mut();
        let mut buffer = [0; 1024];
        loop {
            let is_wanted = |text: &String| text.lines().any(|line| line.starts_with(wanted));
            if let Some(at) = waiting.iter().position(is_wanted) {
                return waiting.remove(at);
            }
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{wanted}: {e}"));
            waiting.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    }

    /// Hears nothing for so long; what came before is forgotten.
    fn hears_nothing_for(&self, time: Duration) {
        self.waiting.take();
        self.socket.set_read_timeout(Some(time)).expect("a valid time");
        let mut buffer = [0; 1024];
        let heard = self.socket.recv(&mut buffer);
        let heard = heard.map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
        assert!(heard.is_err(), "{heard:?}");
        self.socket.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    }
}

fn data(port: u16) -> tempfile::TempDir {
    let data = tempfile::tempdir().expect("a temporary folder");
    meshboard::seed_keys(data.path());
    meshboard::configure(data.path(), port);
    data
}

#[test]
fn systemd_is_told_of_every_state_and_its_watchdog_is_fed() {
    let (manager, port) = (Manager::new(), ports::free());
    let data = data(port);
    // systemd names the process it watches; only the shell in its place knows its number.
    let mut server = Process::start("sh", |command| {
        command.args(["-c", "export WATCHDOG_PID=$$; exec \"$@\"", "sh", SERVER, "--data"]);
        command.arg(data.path()).arg("serve");
        command.env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "30000000");
    });
    manager.wait_for("READY=1");
    assert_eq!(https::get(port, "/health.ashx"), (200, b"ok".to_vec()), "ready means served");
    // Twice: it is fed again and again.
    manager.wait_for("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1");
    let status = manager.wait_for("STATUS=0 of 0 devices connected");
    assert!(status.contains("0 sessions"), "{status}");

    server.signal(Signal::HUP);
    let reloading = manager.wait_for("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.wait_for("READY=1");

    let before = Instant::now();
    let status = server.terminate();
    manager.wait_for("STOPPING=1");
    assert!(status.success(), "{status}");
    assert!(before.elapsed() < Duration::from_secs(2), "a clean stop takes below two seconds");
}

#[test]
fn a_loop_that_stands_still_starves_the_watchdog_and_says_so() {
    let (manager, port, status) = (Manager::new(), ports::free(), ports::free());
    let data = data(port);
    let more = json!({ "settings": { "statusPort": status } });
    meshboard::configure_with(data.path(), port, &more);
    let start = || {
        Process::start("sh", |command| {
            command.args(["-c", "export WATCHDOG_PID=$$; exec \"$@\"", "sh", SERVER, "--data"]);
            command.arg(data.path()).arg("serve");
            command.env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "30000000");
        })
    };
    let mut server = start();
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");
    assert_eq!(health(status).0, 200);

    // Whoever reads the configuration now waits for a writer that never comes.
    let config = data.path().join("config.json");
    let kept = fs::read(&config).expect("it was written");
    fs::remove_file(&config).expect("the folder is ours");
    let pipe = Command::new("mkfifo").arg(&config).status().expect("coreutils are there");
    assert!(pipe.success(), "{pipe}");
    server.signal(Signal::HUP);
    manager.wait_for("RELOADING=1");
    let deadline = Instant::now() + PATIENCE;
    let stuck = loop {
        let (status, body) = health(status);
        if status != 200 {
            break (status, body);
        }
        assert!(Instant::now() < deadline, "a loop that stands still is said to turn");
        manager.hears_nothing_for(Duration::from_secs(1));
    };
    assert_eq!(stuck.0, 503);
    assert!(stuck.1.starts_with("stuck: no heartbeat for "), "{}", stuck.1);

    // What systemd does when the time is over: it aborts it, and starts another one.
    server.signal(Signal::ABORT);
    server.wait_for_end(PATIENCE).expect("SIGABRT ends any program");
    fs::remove_file(&config).and_then(|()| fs::write(&config, kept)).expect("the folder is ours");
    let _server = start();
    manager.wait_for("READY=1");
    assert_eq!(https::get(port, "/health.ashx"), (200, b"ok".to_vec()));
}

/// What the status port says of the loop.
fn health(port: u16) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the status port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers while the loop stands still");
    let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

#[test]
fn a_socket_that_systemd_opened_is_served() {
    let port = ports::free();
    let data = data(port);
    // It opens the port, waits for the first connection, and becomes the server.
    let activator = Process::start("systemd-socket-activate", |command| {
        command.arg(format!("--listen=127.0.0.1:{port}"));
        command.arg(SERVER).arg("--data").arg(data.path()).arg("serve");
    });
    activator.wait_for_line(|line| line.contains("Listening on"));
    assert_eq!(https::get(port, "/health.ashx"), (200, b"ok".to_vec()));
    activator.wait_for_line(|line| line.contains(&format!(":{port}/")));
}

#[test]
fn a_socket_that_no_setting_names_is_told_of() {
    let (port, other) = (ports::free(), ports::free());
    let data = data(port);
    let activator = Process::start("systemd-socket-activate", |command| {
        command.arg(format!("--listen=127.0.0.1:{other}"));
        command.arg(SERVER).arg("--data").arg(data.path()).arg("serve");
    });
    activator.wait_for_line(|line| line.contains("Listening on"));
    let _wake = TcpStream::connect(("127.0.0.1", other)).expect("it listens");
    activator.wait_for_line(|line| {
        line.contains(&format!("port {other}")) && line.contains("no setting names")
    });
}

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

fn output(program: &str, arguments: &[&str], file: &Path) -> (bool, String) {
    let output = Command::new(program).args(arguments).arg(file).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_service_is_hardened_as_far_as_systemd_can_tell() {
    let (done, text) =
        output("systemd-analyze", &["security", "--offline=true"], &unit("meshboard.service"));
    assert!(done, "{text}");
    let level = text.split("exposure level for meshboard.service: ").nth(1);
    let level = level.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    let level = level.unwrap_or_else(|| panic!("no level in {text}"));
    assert!(level <= 1.6, "exposure level {level}\n{text}");
}

#[test]
fn the_units_are_understood() {
    // `verify` wants the program and the other unit at their places.
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["meshboard.service", "meshboard.socket"] {
        let text = std::fs::read_to_string(unit(name)).expect("it is part of the project");
        let text = text.replace("/usr/bin/meshboard", SERVER);
        std::fs::write(folder.path().join(name), text).expect("the folder is ours");
    }
    let service = folder.path().join("meshboard.service");
    let (done, text) = output("systemd-analyze", &["verify", "--man=no"], &service);
    let ours: Vec<_> = text.lines().filter(|line| line.contains("meshboard")).collect();
    assert!(done && ours.is_empty(), "{text}");
}
