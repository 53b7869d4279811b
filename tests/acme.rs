//! Certificates from an ACME authority (Debian's Pebble), which proves names as Let's Encrypt does.

mod common;

use std::time::Instant;

use common::pebble::{Pebble, issued};
use common::simulated::{self, Group, Keys, Live, Memory, identity};
use common::{ADMIN, Meshboard, PASSWORD, PATIENCE, Server, ports};
use meshboard::identity::certificate::sha384;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

/// The name that is proven; it must have a dot.
const NAME: &str = "mesh.example.com";

fn ask(pebble: &Pebble, challenge: &str) -> serde_json::Value {
    json!({
        "names": [NAME],
        "email": "admin@example.com",
        "directory": pebble.directory(),
        "caFile": pebble.trust(),
        "challenge": challenge,
    })
}

/// SHA-384 of the certificate on disk, as the server writes it, once it is another than `old`.
fn next_certificate(server: &Meshboard, old: Option<&str>) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let hash = issued(server.data()).map(|chain| {
            let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).expect("it is PEM");
            sha384(&leaf).hex()
        });
        if let Some(hash) = hash.filter(|hash| old != Some(hash)) {
            return hash;
        }
        assert!(Instant::now() < deadline, "no certificate; the log: {:#?}", server.log());
        std::thread::yield_now();
    }
}

fn connect(server: &Meshboard, number: usize, group: &str) -> Live {
    let meshctrl = server.meshctrl();
    let group = Group {
        mesh: identity::from_text(group).expect("a group id has 48 bytes"),
        server: identity::from_text(&meshctrl.server_info("agentCertHash")).expect("48 bytes"),
    };
    let url = format!("wss://127.0.0.1:{}/agent.ashx", server.port());
    let url = simulated::Server::parse(&url).expect("a valid URL");
    let keys = Keys::for_fleet(8, 2048).expect("target is writable");
    let live = Live::connect(&url, keys.agent(number), group, Memory::default());
    let node = live.node().to_owned();
    meshctrl.wait_for_device("is connected", |d| d["_id"] == node.as_str() && d["conn"] == 1);
    live
}

#[test]
fn a_certificate_is_proven_on_the_https_port_and_renewed_while_agents_stay() {
    // The authority must know the port before the server is there.
    let port = ports::free();
    let pebble = Pebble::start(port, ports::free(), 60);
    let letsencrypt = ask(&pebble, "tls-alpn-01");
    let more = json!({"letsencrypt": letsencrypt});
    let server = Meshboard::start_on(port, &more);
    server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
    server.wait_for_log("new certificate for mesh.example.com");
    let first = next_certificate(&server, None);
    server.wait_for_log(&format!("web certificate replaced, SHA-384 {first}"));
    let meshctrl = server.meshctrl();
    assert_eq!(meshctrl.server_info("tlshash"), first);

    let group = server.add_group("office");
    let early = connect(&server, 0, &group);
    let since = meshctrl.device(early.node()).expect("it is connected")["agct"].clone();
    // After 40 of its 60 seconds.
    let second = next_certificate(&server, Some(&first));
    server.wait_for_log(&format!("web certificate replaced, SHA-384 {second}"));
    let _late = connect(&server, 1, &group);
    let device = meshctrl.device(early.node()).expect("it is connected");
    assert_eq!((&device["conn"], &device["agct"]), (&json!(1), &since), "nobody was lost");
    let log = pebble.log();
    assert!(!log.contains("There are now 2 accounts"), "the account is kept: {log}");
}

#[test]
fn a_certificate_is_proven_on_the_http_port() {
    let (port, http) = (ports::free(), ports::free());
    let pebble = Pebble::start(ports::free(), http, 3600);
    let letsencrypt = ask(&pebble, "http-01");
    let more = json!({"settings": {"redirPort": http}, "letsencrypt": letsencrypt});
    let mut server = Meshboard::start_on(port, &more);
    let hash = next_certificate(&server, None);
    server.wait_for_log(&format!("web certificate replaced, SHA-384 {hash}"));
    // It is still good after a restart: nothing is asked for.
    let orders = pebble.log().matches("POST /order-plz").count();
    server.stop();
    server.start_again();
    let shown = server.command(&["cert", "show"]);
    assert!(shown.contains(&hash), "{shown}");
    assert_eq!(pebble.log().matches("POST /order-plz").count(), orders);
}

#[test]
fn a_name_that_leads_elsewhere_is_told_and_the_old_certificate_stays() {
    let port = ports::free();
    let pebble = Pebble::start(ports::free(), ports::free(), 3600);
    let more = json!({"letsencrypt": ask(&pebble, "tls-alpn-01")});
    let server = Meshboard::start_on(port, &more);
    let told = server.wait_for_log("no new certificate for mesh.example.com");
    assert!(told.contains("mesh.example.com: ") && told.contains("tls-alpn-01"), "{told}");
    assert!(told.contains("again in"), "{told}");
    assert_eq!(issued(server.data()), None);
}
