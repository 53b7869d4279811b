//! Hostile input against the real binary: what each attacker sees, and that nobody else notices.

// A program has no outside; `pub` says what a module offers to the others.
#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;
mod peer;

mod agents;
mod control;
mod listener;
mod mps;
mod pages;
mod websocket;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use common::simulated::{self, Group, Identity, Keys, Live, Memory, identity};
use common::{ADMIN, Meshboard, PASSWORD, PATIENCE, Server, ports};

/// A server with one device group, and an eye on its metrics.
struct House {
    server: Meshboard,
    group: Group,
    status: u16,
}

impl House {
    fn open() -> Self {
        Self::open_with(json!({}))
    }

    /// A server with more in its `config.json`.
    fn open_with(mut config: Value) -> Self {
        let status = ports::free();
        config["settings"]["statusPort"] = status.into();
        let server = Meshboard::start_with(&config);
        server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
        let made = server.command(&["group", "add", "lab", "--json"]);
        let made: Value = serde_json::from_str(&made).expect("--json prints JSON");
        let mesh = made["meshid"].as_str().and_then(identity::from_text);
        let certificate = server.data().join("agentserver-cert-public.crt");
        let certificate = CertificateDer::from_pem_file(certificate).expect("the server made it");
        let key = identity::public_key_bits(&certificate).expect("it is a certificate");
        let group =
            Group { mesh: mesh.expect("a group has an id"), server: identity::sha384(&[&key]) };
        Self { server, group, status }
    }

    fn port(&self) -> u16 {
        self.server.port()
    }

    /// An agent as it should be, connected.
    fn agent(&self, number: usize) -> Live {
        let url = format!("wss://127.0.0.1:{}/agent.ashx", self.port());
        let url = simulated::Server::parse(&url).expect("a valid URL");
        let live = Live::connect(&url, agent(number), self.group, Memory::default());
        live.authenticated();
        live
    }

    /// The agent never lost its connection, and another one gets in.
    fn is_well(&self, neighbour: &Live) {
        is_connected(neighbour);
        is_connected(&self.agent(7));
    }

    /// The value of a metric.
    fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.status)).expect("status listens");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("status reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("status answers");
        let prefix = format!("meshboard_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&prefix));
        match value.and_then(|value| value.trim().parse().ok()) {
            Some(value) => value,
            None => panic!("no metric {name} in {text}"),
        }
    }

    /// Waits until so many were refused for this cause. Each question is a connection, which is
    /// pause enough between two.
    fn refused(&self, cause: &str, count: u64) {
        let name = format!("refused_total{{cause=\"{cause}\"}}");
        let deadline = Instant::now() + PATIENCE;
        while self.metric(&name) < count {
            assert!(Instant::now() < deadline, "{} refused for {cause}", self.metric(&name));
        }
    }
}

/// A small agent: nothing here depends on the length of its key.
fn agent(number: usize) -> Identity {
    Keys::for_fleet(8, 2048).expect("target is writable").agent(number)
}

fn is_connected(live: &Live) {
    live.say(json!({ "action": "ping" }));
    live.json("pong");
}

/// Where an attacker comes from; everybody else comes from 127.0.0.1.
const ATTACKER: [u8; 4] = [127, 6, 6, 6];

/// Slack of a busy machine on top of a limit.
const SLACK: Duration = Duration::from_secs(20);
