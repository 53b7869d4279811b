//! What a small board does to a server: its disk is full or read-only, its root is read-only, it
//! has 64 MB to give, and its clock says 1970. Each server runs in a mount namespace of its own.

mod common;
#[path = "hostile/peer.rs"]
mod peer;

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tempfile::TempDir;

use common::process::Process;
use common::simulated::{Group, Keys, identity};
use common::{ADMIN, Control, PASSWORD, Viewer, https, meshboard, ports};
use peer::Forger;

const SERVER: &str = env!("CARGO_BIN_EXE_meshboard");

/// A server whose world was prepared by a shell script.
struct Board {
    process: Process,
    place: Place,
}

/// The folders of a board. The admin socket is in `run`, as under systemd: commands reach the
/// server whatever its disk does.
struct Place {
    folder: TempDir,
    port: u16,
    /// Shell commands that make the world; `$SEED`, `$DATA` and `$RUN` are its folders.
    world: &'static str,
    /// What the clock shows to it, for `libfaketime`.
    clock: Option<&'static str>,
}

impl Place {
    fn new(world: &'static str) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a temporary folder"), ports::free());
        let place = Self { folder, port, world, clock: None };
        for name in ["seed", "data", "run"] {
            fs::create_dir(place.path(name)).expect("the folder is ours");
        }
        place
    }

    /// With keys and configuration in `seed`.
    fn seeded(world: &'static str) -> Self {
        let place = Self::new(world);
        meshboard::seed_keys(&place.path("seed"));
        meshboard::configure(&place.path("seed"), place.port);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Arguments and environment of `unshare` for a program of this world.
    fn enter(&self, command: &mut Command, program: &str, arguments: &[&str]) {
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let script = format!("{}\nexec \"$@\"", self.world);
        command.args(["--mount", "--propagation", "private", "sh", "-euc", &script, "sh"]);
        command.arg(program).args(arguments);
        for (name, folder) in [("SEED", "seed"), ("DATA", "data"), ("RUN", "run")] {
            command.env(name, self.path(folder));
        }
        command.env("RUNTIME_DIRECTORY", self.path("run"));
        command.env("MESHBOARD_DATA", self.path("data"));
        if let Some(time) = self.clock {
            self.set_clock(time);
            command.env("LD_PRELOAD", faketime()).env("FAKETIME_NO_CACHE", "1");
            command.env("FAKETIME_TIMESTAMP_FILE", self.path("clock"));
            // How long it runs it always knows.
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
    }

    /// What the clock shows from now on, in UTC: `1970-01-01 00:00:20`.
    fn set_clock(&self, time: &str) {
        // In one step: it is read at any time.
        let next = self.path("clock.next");
        fs::write(&next, format!("@{time}\n")).expect("the folder is ours");
        fs::rename(next, self.path("clock")).expect("the folder is ours");
    }

    fn start(self) -> Board {
        let process = Process::start("unshare", |command| self.enter(command, SERVER, &["serve"]));
        process.wait_for_line(|line| line.contains("agents may connect"));
        Board { process, place: self }
    }

    /// Runs a command of ours on a folder.
    fn command_on(&self, data: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(SERVER);
        command.env("RUNTIME_DIRECTORY", self.path("run")).arg("--data").arg(data).args(arguments);
        command.output().expect("the binary runs")
    }
}

/// The library that shows another time to a program.
fn faketime() -> PathBuf {
    let found = fs::read_dir("/usr/lib").expect("Linux").flatten().find_map(|folder| {
        let library = folder.path().join("faketime/libfaketime.so.1");
        library.exists().then_some(library)
    });
    found.expect("tests/prepare installs libfaketime")
}

fn succeeded(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Board {
    /// Runs a command through the admin socket.
    fn try_command(&self, arguments: &[&str]) -> Output {
        self.place.command_on(&self.place.path("data"), arguments)
    }

    fn command(&self, arguments: &[&str]) -> String {
        succeeded(&self.try_command(arguments))
    }

    fn add_admin(&self) {
        self.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
    }

    /// The data folder as the server sees it.
    fn data(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.process.id()));
        root.join(self.place.path("data").strip_prefix("/").expect("it is absolute"))
    }

    /// The names of the groups a server would find that came up after a power cut now.
    fn groups_on_disk(&self) -> Vec<String> {
        let copy = tempfile::tempdir().expect("a temporary folder");
        for name in ["config.json", "state"] {
            fs::copy(self.data().join(name), copy.path().join(name)).expect("it is there");
        }
        let mut command = Command::new(SERVER);
        command.arg("--data").arg(copy.path()).args(["group", "list", "--json"]);
        let output = command.output().expect("the binary runs");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("damaged"), "{output:?}");
        names(&succeeded(&output))
    }

    fn groups(&self) -> Vec<String> {
        names(&self.command(&["group", "list", "--json"]))
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.command(&["status", "--json"])).expect("JSON")
    }

    /// The server works for people, and whoever looks is told about the disk.
    fn serves_and_complains(&self) {
        self.process.wait_for_line(|line| line.contains("DISK ALARM"));
        assert_eq!(https::get(self.place.port, "/health.ashx"), (200, b"ok".to_vec()));
        let status = self.command(&["status"]);
        assert!(status.contains("THE DISK REFUSES WRITES"), "{status}");
    }

    fn recovers(&self) {
        self.process.wait_for_line(|line| line.contains("the state file can be written again"));
        let status = self.command(&["status"]);
        assert!(status.contains("sound"), "{status}");
    }
}

fn names(list: &str) -> Vec<String> {
    let list: Value = serde_json::from_str(list).expect("JSON");
    let names = list.as_array().expect("a list").iter();
    names.map(|group| group["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_full_disk_harms_nothing_and_is_used_again_when_it_has_room() {
    let world = "mount -t tmpfs -o size=2m tmpfs \"$DATA\"; cp -a \"$SEED/.\" \"$DATA\"";
    let board = Place::seeded(world).start();
    board.add_admin();
    board.command(&["group", "add", "before"]);
    let filler = board.data().join("filler");
    fill(&filler);

    // A page that has a little room left takes some more.
    let mut known = vec!["before".to_owned()];
    let refused = (0..100).find_map(|n| {
        let (written, name) = (known.clone(), format!("full {n:02}"));
        known.push(name.clone());
        let output = board.try_command(&["group", "add", &name]);
        (!output.status.success()).then_some((written, output))
    });
    let (written, output) = refused.expect("the disk is full");
    assert!(String::from_utf8_lossy(&output.stderr).contains("not on disk"), "{output:?}");
    board.serves_and_complains();
    assert_eq!(board.groups_on_disk(), written, "nothing is harmed");
    assert_eq!(board.groups(), known, "memory has it");

    fs::remove_file(filler).expect("it is ours");
    board.recovers();
    assert_eq!(board.groups_on_disk(), known);
}

/// Takes what room there is, to the last byte.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("there is room for a name");
    for size in [64 << 10, 1] {
        loop {
            match file.write(&vec![0; size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn on_a_read_only_disk_the_server_runs_from_memory_until_it_may_write() {
    let world = "mount -t tmpfs -o size=2m tmpfs \"$DATA\"; cp -a \"$SEED/.\" \"$DATA\"
        mount -o remount,ro \"$DATA\"";
    let board = Place::seeded(world).start();
    let refused = board.try_command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not on disk"), "{refused:?}");
    board.serves_and_complains();
    board.try_command(&["group", "add", "in memory"]);
    assert_eq!(board.groups(), ["in memory"]);
    assert!(!board.data().join("state").exists());

    let mut command = Command::new("nsenter");
    command.args(["--mount", "--target", &board.process.id().to_string()]);
    if !rustix::process::geteuid().is_root() {
        command.arg("--user");
    }
    command.args(["mount", "-o", "remount,rw"]).arg(board.place.path("data"));
    succeeded(&command.output().expect("util-linux is there"));
    board.recovers();
    assert_eq!(board.groups_on_disk(), ["in memory"]);
}

/// Everything but the data folder and the runtime folder is read-only.
const READ_ONLY_ROOT: &str = r#"
mount --bind "$DATA" "$DATA"
mount --bind "$RUN" "$RUN"
while read -r _ _ _ _ where _; do
    case "$where" in "$DATA" | "$RUN") continue ;; esac
    mount -o remount,bind,ro "$where" || :
done </proc/self/mountinfo
for place in "$SEED" /tmp / /var/tmp; do
    if touch "$place/writable" 2>/dev/null; then echo "$place is writable" >&2; exit 1; fi
done"#;

#[test]
fn nothing_but_the_data_folder_is_written_to() {
    let place = Place::new(READ_ONLY_ROOT);
    meshboard::configure(&place.path("data"), place.port);
    // The first start of all: every key is made.
    let mut board = place.start();
    board.add_admin();
    board.command(&["group", "add", "office"]);
    let package = common::package::package_tgz();
    let backup = board.place.path("data").join("one.backup");
    for arguments in [
        &["agents", "install", "--arch", "x86_64", "--from", &package.to_string_lossy()][..],
        &["backup", &backup.to_string_lossy()],
        &["status"],
    ] {
        let mut command = Command::new("unshare");
        board.place.enter(&mut command, SERVER, arguments);
        succeeded(&command.output().expect("util-linux is there"));
    }
    board.process.terminate();
    let board = board.place.start();
    assert_eq!(board.groups(), ["office"]);
    assert!(board.command(&["agents", "list"]).contains("x86"));
}

#[test]
fn a_volatile_server_writes_when_it_stops_and_for_a_backup() {
    let place = Place::new(":");
    meshboard::seed_keys(&place.path("data"));
    let volatile = json!({"settings": {"storage": "volatile"}});
    meshboard::configure_with(&place.path("data"), place.port, &volatile);
    let mut board = place.start();
    board.process.wait_for_line(|line| line.contains("storage is volatile"));
    board.add_admin();
    board.command(&["group", "add", "one"]);
    assert!(!board.data().join("state").exists());
    let backup = board.place.path("run").join("one.backup");
    board.command(&["backup", &backup.to_string_lossy()]);
    assert_eq!(board.groups_on_disk(), ["one"]);

    board.command(&["group", "add", "three"]);
    assert_eq!(board.groups_on_disk(), ["one"]);
    board.process.terminate();
    let mut board = board.place.start();
    assert_eq!(board.groups(), ["one", "three"]);
    board.command(&["group", "add", "two"]);
    board.process.kill();
    let board = board.place.start();
    assert_eq!(board.groups(), ["one", "three"], "that is the price");
}

const WOKEN: &str = "1970-01-01 00:00:20";
const TOLD: &str = "2026-11-22 12:00:00";
/// An hour before: how exactly the library keeps time is not the subject.
const IN_2026: u64 = 1_795_345_200_000;

#[test]
fn a_board_that_wakes_in_1970_serves_at_once_and_bears_to_be_told_the_time() {
    let mut place = Place::seeded("cp -a \"$SEED/.\" \"$DATA\"");
    place.clock = Some(WOKEN);
    let mut board = place.start();
    board.add_admin();
    let lab = board.command(&["group", "add", "made in 1970", "--json"]);
    let mut control = Control::open(board.place.port);
    assert!(
        creation(&mut control, "made in 1970") < 86_400_000,
        "the clock is wrong, as it should"
    );
    let keys = Keys::for_fleet(1, 2048).expect("target is writable");
    let group = group_of(&board, &lab);
    let mut agent = Forger::honest(board.place.port, keys.agent(0), group);

    board.place.set_clock(TOLD);
    board.command(&["group", "add", "made in 2026"]);
    assert!(creation(&mut control, "made in 2026") >= IN_2026, "the session goes on");
    agent.say(&core_info(1).to_string());
    let event = control.event("changenode");
    assert_eq!(event["node"]["users"], json!(["user1"]), "and so does the agent");
    // A cookie says when it was made, by the clock; the session gets another.
    let path = format!("/control.ashx?auth={}", control.cookies().auth);
    let greeting = Viewer::open(board.place.port, &path, None).next().expect("a message");
    let greeting: Value = serde_json::from_slice(&greeting.into_data()).expect("JSON");
    assert_eq!(greeting["action"], "serverinfo");

    // The clock stops with the power: the last time that was known is a floor.
    board.process.terminate();
    let mut board = board.place.start();
    board.command(&["group", "add", "made in 1970 again"]);
    let mut control = Control::open(board.place.port);
    assert!(creation(&mut control, "made in 1970 again") >= IN_2026);
    let agent = Forger::honest(board.place.port, keys.agent(0), group);
    assert_eq!(board.status()["agents"], 1);
    drop(agent);
    board.process.terminate();
}

/// When a group was made, in milliseconds.
fn creation(control: &mut Control, name: &str) -> u64 {
    let answer = control.ask(&json!({"action": "meshes"}));
    let meshes = answer["meshes"].as_array().expect("a list");
    let group = meshes.iter().find(|group| group["name"] == name).expect("it is listed");
    group["creation"].as_u64().expect("a time")
}

/// Agents on the small board.
const AGENTS: usize = 1000;
/// What it gives to the server, in bytes; the program and its libraries included.
const MEMORY: u64 = 64 << 20;

#[test]
fn a_thousand_agents_fit_into_64_megabytes() {
    // What it may allocate is limited by the kernel, what it has in memory is looked at.
    let place = Place::new("ulimit -d 65536");
    meshboard::seed_keys(&place.path("data"));
    meshboard::configure(&place.path("data"), place.port);
    let board = place.start();
    board.add_admin();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("it may");

    let lab = board.command(&["group", "add", "lab", "--json"]);
    let group = group_of(&board, &lab);
    let keys = Keys::for_fleet(AGENTS, 2048).expect("target is writable");
    let idle = Memory::of(&board);
    let mut agents: Vec<_> = (0..AGENTS)
        .map(|number| {
            let mut agent = Forger::honest(board.place.port, keys.agent(number), group);
            agent.say(&core_info(number).to_string());
            agent.say(&network(number).to_string());
            agent
        })
        .collect();
    for agent in &mut agents {
        agent.socket.heard();
    }
    assert_eq!(board.status()["agents"], AGENTS);
    let full = Memory::of(&board);
    println!("{idle:?} without agents, {full:?} with {AGENTS}");
    assert!(full.peak <= MEMORY, "{full:?}");
}

#[test]
fn checked_passwords_leave_no_memory_behind() {
    let place = Place::new("");
    meshboard::seed_keys(&place.path("data"));
    meshboard::configure(&place.path("data"), place.port);
    let board = place.start();
    board.add_admin();
    let port = board.place.port;
    Control::open(port);
    let before = Memory::of(&board);
    // One check needs 12 MiB; each thread of the pool gets its turn.
    for _ in 0..4 {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| Control::open(port));
            }
        });
    }
    let after = Memory::of(&board);
    println!("{before:?}, {after:?} after a dozen logins");
    assert!(before.own <= 10 << 20, "{before:?}");
    assert!(after.own <= before.own + (4 << 20), "{before:?} {after:?}");
}

/// Bytes of a process, by `/proc`.
#[derive(Debug)]
#[allow(dead_code, reason = "shown")]
struct Memory {
    resident: u64,
    peak: u64,
    own: u64,
}

impl Memory {
    fn of(board: &Board) -> Self {
        let status = fs::read_to_string(format!("/proc/{}/status", board.process.id()));
        let status = status.expect("it runs");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux");
            let kilobytes = line.trim().trim_end_matches(" kB").parse::<u64>();
            kilobytes.expect("a number") << 10
        };
        Self { resident: field("VmRSS:"), peak: field("VmHWM:"), own: field("RssAnon:") }
    }
}

/// What agents of a group know. `group` is what the command that made it told.
fn group_of(board: &Board, group: &str) -> Group {
    let group: Value = serde_json::from_str(group).expect("JSON");
    let mesh = identity::from_text(group["meshid"].as_str().expect("an id")).expect("48 bytes");
    let certificates = board.status()["certificates"].clone();
    let mut certificates = certificates.as_array().expect("a list").iter();
    let agent_server = certificates.find(|one| one["role"] == "agentserver");
    let id = agent_server.expect("it is made")["keySha384"].as_str().expect("hex");
    let id = data_encoding::HEXUPPER_PERMISSIVE.decode(id.as_bytes()).expect("hex");
    Group { mesh, server: id.try_into().expect("48 bytes") }
}

fn core_info(number: usize) -> Value {
    json!({
        "action": "coreinfo", "value": "Nov 21 2022, 2189501291", "caps": 14, "root": true,
        "osdesc": "Debian GNU/Linux 12 (bookworm)", "users": [format!("user{number}")],
        "av": [{"product": "scanner", "updated": true, "enabled": true}],
    })
}

fn network(number: usize) -> Value {
    let address = |last: usize| {
        json!({
            "family": "IPv4", "address": format!("10.{}.{}.{last}", number / 256, number % 256),
            "fqdn": "lan", "status": "up", "type": "ethernet",
            "mac": format!("02:FC:00:00:{:02X}:{:02X}", number / 256, number % 256),
        })
    };
    json!({"action": "netinfo", "netif2": {"eth0": [address(1)], "wlan0": [address(2)]}})
}
