//! The stock agent and `meshctrl` through Debian's nginx, configured as the documentation says.

mod common;

use std::fs;
use std::time::Instant;

use common::nginx::{ADDRESS, Nginx};
use common::simulated::{self, Group, Keys, Live, Memory, identity};
use common::{ADMIN, Architecture, MeshCtrl, Meshboard, PASSWORD, PATIENCE, Server, StockAgent};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Agents that are not let in, as `status --json` lists them.
fn held(server: &Meshboard) -> Vec<Value> {
    let status = server.command(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status).expect("JSON was asked for");
    status["held"].as_array().expect("a list").clone()
}

/// Changes the default domain in `config.json` and has it read.
fn set_domain(server: &Meshboard, domain: Value) {
    let file = server.data().join("config.json");
    let text = fs::read_to_string(&file).expect("the folder is ours");
    let mut config: Value = serde_json::from_str(&text).expect("the test wrote it");
    config["domains"] = json!({"": domain});
    fs::write(&file, config.to_string()).expect("the folder is ours");
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::HUP).expect("it runs");
    server.wait_for_log("configuration read again");
}

#[test]
fn the_stock_agent_lives_behind_nginx_that_ends_tls() {
    let port = Nginx::port();
    let settings = json!({"tlsOffload": ADDRESS, "agentAliasPort": port});
    let server = Meshboard::start_complete_with(&json!({"settings": settings}));
    let mut nginx = Nginx::start(port, &format!("http://127.0.0.1:{}", server.port()));
    let meshctrl = MeshCtrl::new(port, ADMIN, PASSWORD);
    // It speaks to the port directly, with TLS, all the same.
    let group = server.add_group("office");

    // Nobody told the server of the proxy's certificate: the agent is held, and it is told why.
    let mut agent = StockAgent::start(&server, &group, Architecture::X86_64);
    server.wait_for_log("it sees another TLS certificate");
    let line = held(&server).remove(0);
    assert_eq!((&line["cause"], &line["hash"]), (&json!("webHash"), &json!(nginx.hash())));
    assert_eq!((&line["address"], &line["waiting"]), (&json!("127.0.0.1"), &json!(1)));

    // Now somebody does, and it comes in by itself.
    set_domain(&server, json!({"certUrl": format!("https://127.0.0.1:{port}")}));
    let device = meshctrl.wait_for_agent();
    let found = meshctrl.device(&device).expect("it is there");
    assert_eq!(found["ip"], "127.0.0.1", "the agent's address, not the proxy's");
    assert_eq!(held(&server), [] as [Value; 0]);
    assert_eq!(meshctrl.server_info("tlshash"), nginx.hash());

    // Tunnels and files pass.
    let files = tempfile::tempdir().expect("a temporary folder");
    let (here, there) = (files.path().join("here.txt"), files.path().join("there"));
    fs::create_dir(&there).expect("the folder is ours");
    let carry = |content: &str| {
        fs::write(&here, content).expect("the folder is ours");
        let [from, to] = [&here, &there].map(|path| path.to_string_lossy().into_owned());
        let id = device.trim_start_matches("node//");
        let told = meshctrl.run(&["upload", "--id", id, "--file", &from, "--target", &to]);
        assert!(told.contains("Upload done"), "{told}");
        // The agent writes the last of it when it closes the file, a moment after the tunnel's end.
        let deadline = Instant::now() + PATIENCE;
        let arrived = || fs::read_to_string(there.join("here.txt")).unwrap_or_default() == content;
        while !arrived() {
            assert!(Instant::now() < deadline, "{content:?} did not arrive");
            std::thread::yield_now();
        }
    };
    carry("before");

    // The proxy's certificate is renewed. The agent stays, and opens tunnels through the new one.
    let renewed = nginx.renew();
    set_domain(&server, json!({"certUrl": format!("https://127.0.0.1:{port}"), "title": "T"}));
    server.wait_for_log(&format!("SHA-384 {renewed}"));
    carry("meanwhile");

    // It is renewed again, and the first to tell the server is an agent that comes.
    let since = meshctrl.device(&device).expect("it is there")["agct"].clone();
    let renewed = nginx.renew();
    agent.stop();
    agent.start_again();
    meshctrl.wait_for_device("is back", |found| {
        found["_id"] == device.as_str() && found["conn"] == 1 && found["agct"] != since
    });
    assert_eq!(meshctrl.server_info("tlshash"), renewed);
    meshctrl.run_on_device(&device, "echo forty-$((6*7))", "forty-42");
    carry("after");
    assert_eq!(server.meshctrl().devices().len(), 1, "always the same device");

    // Failed logins count for who failed.
    MeshCtrl::new(port, ADMIN, "wrong").run(&["serverinfo"]);
    server.wait_for_log("login failed from 127.0.0.1");
}

#[test]
fn a_proxy_may_speak_tls_to_the_server_and_its_certificate_be_a_file() {
    let port = Nginx::port();
    let more = json!({"settings": {"trustedProxy": ADDRESS, "agentAliasPort": port}});
    let server = Meshboard::start_complete_with(&more);
    let nginx = Nginx::start(port, &format!("https://127.0.0.1:{}", server.port()));
    let file = nginx.certificate_file();
    set_domain(&server, json!({"certUrl": format!("file://{}", file.display())}));
    server.wait_for_log(&format!("SHA-384 {}", nginx.hash()));

    let meshctrl = server.meshctrl();
    let group = Group {
        mesh: identity::from_text(&server.add_group("office")).expect("a group id has 48 bytes"),
        server: identity::from_text(&meshctrl.server_info("agentCertHash")).expect("48 bytes"),
    };
    let connect = |port: u16, number: usize| {
        let url = format!("wss://127.0.0.1:{port}/agent.ashx");
        let url = simulated::Server::parse(&url).expect("a valid URL");
        let keys = Keys::for_fleet(8, 2048).expect("target is writable");
        let live = Live::connect(&url, keys.agent(number), group, Memory::default());
        let node = live.node().to_owned();
        let wanted = |device: &Value| device["_id"] == node.as_str() && device["conn"] == 1;
        (meshctrl.wait_for_device("is connected", wanted), live)
    };
    let (through, _agent) = connect(port, 0);
    assert_eq!(through["ip"], "127.0.0.1", "the agent's address, not the proxy's");
    // Beside it some come directly.
    let (_, _other) = connect(server.port(), 1);

    // Without TLS, only who was named for that.
    let plain = MeshCtrl::plain(server.port(), ADMIN, PASSWORD).run(&["serverinfo"]);
    assert!(!plain.contains("agentCertHash"), "{plain}");
}
