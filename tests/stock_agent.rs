//! The stock MeshAgent, unmodified: it connects, gets its core, answers, and finds its server
//! again after every restart. x86-64 runs as it is, ARM under qemu.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::Duration;

use common::{Architecture, Meshboard, Server, StockAgent};
use serde_json::{Value, json};

against_both_servers! {
    the_x86_64_agent_lives_through_restarts_and_a_new_web_certificate,
    the_aarch64_agent_connects_and_stays,
    the_armhf_agent_authenticates_and_appears,
    two_agents_of_one_machine_are_two_devices,
}

/// Connected, and its core told the server about itself.
fn with_core(server: &dyn Server, device: &str) -> Value {
    server.meshctrl().wait_for_device("is this agent with its core", |found| {
        found["_id"] == device && found["conn"] == 1 && found["agent"]["core"].is_string()
    })
}

/// Connected and answering: a command comes back with its output.
fn answers(server: &dyn Server, device: &str) {
    server.meshctrl().run_on_device(device, "echo forty-$((6*7))", "forty-42");
    with_core(server, device);
}

/// The id of the only device, once it is connected.
fn only_device(server: &dyn Server) -> String {
    let device = server.meshctrl().wait_for_device("is connected", |device| device["conn"] == 1);
    device["_id"].as_str().expect("an id is text").to_owned()
}

fn connected_since(server: &dyn Server, device: &str) -> Value {
    with_core(server, device)["agct"].clone()
}

fn the_x86_64_agent_lives_through_restarts_and_a_new_web_certificate(server: &mut dyn Server) {
    let group = server.add_group("office");
    let mut agent = StockAgent::start(server, &group, Architecture::X86_64);

    // Fresh: full authentication, core upload.
    let device = only_device(server);
    answers(server, &device);
    let first = connected_since(server, &device);
    assert!(agent.has_core(), "the core is kept for the next start");

    // With its core and its trust in the web certificate.
    agent.stop();
    server.meshctrl().wait_for_device("has left", |found| found["conn"] != 1);
    agent.start_again();
    server.meshctrl().wait_for_device("is back", |found| {
        found["_id"] == device.as_str() && found["conn"] == 1 && found["agct"] != first
    });
    answers(server, &device);

    // The server restarts, the agent stays.
    server.stop();
    server.start_again();
    answers(server, &device);

    // Another web certificate: full authentication again.
    let before = server.meshctrl().server_info("tlshash");
    server.stop();
    server.forget_web_certificate();
    server.start_again();
    assert_ne!(server.meshctrl().server_info("tlshash"), before);
    answers(server, &device);

    assert_eq!(server.meshctrl().devices().len(), 1, "always the same device");
}

fn the_aarch64_agent_connects_and_stays(server: &mut dyn Server) {
    let group = server.add_group("boards");
    let _agent = StockAgent::start(server, &group, Architecture::Aarch64);
    let device = only_device(server);
    answers(server, &device);
    let found = with_core(server, &device);
    assert!(is_one_of(&found["agent"]["id"], Architecture::Aarch64.agent_ids()));
    // It stays: the same connection carries a command of ten seconds.
    server.meshctrl().run_on_device(&device, "sleep 10; echo forty-$((6*7))", "forty-42");
    assert_eq!(connected_since(server, &device), found["agct"]);
}

/// Under qemu this agent dies of a bus error once its core runs, with every server; a device it
/// is before that.
fn the_armhf_agent_authenticates_and_appears(server: &mut dyn Server) {
    let group = server.add_group("boards");
    let _agent = StockAgent::start(server, &group, Architecture::Armhf);
    let device = server.meshctrl().wait_for_device("has appeared", |_| true);
    assert!(is_one_of(&device["agent"]["id"], Architecture::Armhf.agent_ids()));
    assert_eq!(device["meshid"], group.as_str());
}

fn two_agents_of_one_machine_are_two_devices(server: &mut dyn Server) {
    let group = server.add_group("office");
    let _agents = [(), ()].map(|()| StockAgent::start(server, &group, Architecture::X86_64));
    let first = only_device(server);
    let second = server.meshctrl().wait_for_device("is the other one", |device| {
        device["conn"] == 1 && device["_id"] != first.as_str()
    });
    answers(server, &first);
    answers(server, second["_id"].as_str().expect("an id is text"));
}

#[test]
fn an_agent_without_an_address_finds_its_server() {
    let settings = json!({ "settings": { "LANonly": true,
        "localDiscovery": { "key": "only we two" } } });
    let mut server = Meshboard::start_complete_with(&settings);
    let group = server.add_group("office");
    let told = server.settings_file(&group);
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("MeshServer=local\r\nDiscoveryKey=only we two\r\n"), "{told}");
    // The network is the loopback, where nobody hears the agent's questions for sure. It hears the
    // server when that starts.
    let settings = told.into_owned();
    server.stop();
    let executable = Architecture::X86_64.executable();
    let agent = StockAgent::start_as(&executable, Some(settings.as_ref()), Architecture::X86_64);
    while !listens(agent.pid(), 16990) {
        thread::sleep(Duration::from_millis(20));
    }
    server.start_again();
    answers(&server, &only_device(&server));
}

/// Whether a process has a UDP socket at a port.
fn listens(pid: u32, port: u16) -> bool {
    let sockets = fs::read_to_string("/proc/net/udp").expect("Linux tells");
    let local = format!(":{port:04X}");
    let inodes: Vec<_> = sockets
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(1).is_some_and(|at| at.ends_with(&local)))
        .filter_map(|fields| fields.get(9)?.parse::<u64>().ok())
        .collect();
    let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
    files.filter_map(|file| fs::metadata(file.path()).ok()).any(|file| inodes.contains(&file.ino()))
}

fn is_one_of(value: &Value, numbers: &[u64]) -> bool {
    value.as_u64().is_some_and(|number| numbers.contains(&number))
}
