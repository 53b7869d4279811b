//! Intel AMT calls in: simulated computers and MeshCentral's own client, each of them against the
//! stock server and against ours.

mod common;

use std::path::Path;
use std::process::Command;

use common::cira::{self, Door, Live, Mood, Seen};
use common::process::Process;
use common::{Meshboard, Server, StockServer, installation, ports};
use serde_json::{Value, json};

/// What firmware accepts as a password.
const PASSWORD: &str = "P@ssw0rd1";
const UUID: &str = "4c4c4544-004b-4210-8033-b6c04f504633";
const OTHER: &str = "11111111-2222-3333-4444-555555555501";

fn settings(mps: u16) -> Value {
    json!({ "mpsPort": mps, "mpsPass": PASSWORD })
}

macro_rules! at_both_doors {
    ($($scenario:ident),* $(,)?) => {
        mod at_meshcentral {
            use super::*;
            $(#[test]
            fn $scenario() {
                let mps = ports::free();
                let server = StockServer::start_with(&json!({ "settings": settings(mps) }));
                super::$scenario(&server, Door { mps, https: server.port() });
            })*
        }
        mod at_meshboard {
            use super::*;
            $(#[test]
            fn $scenario() {
                let (mps, server) = meshboard(json!({}));
                super::$scenario(&server, Door { mps, https: server.port() });
            })*
        }
    };
}

at_both_doors! {
    firmware_of_an_unknown_computer_becomes_a_connected_device,
    who_brings_a_wrong_password_is_refused,
    many_computers_on_one_thread_are_as_many_devices,
    a_program_relays_a_computer,
    meshcentrals_own_client_is_connected,
}

/// Ours, with the MPS port open.
fn meshboard(more: Value) -> (u16, Meshboard) {
    let mps = ports::free();
    let mut settings = settings(mps);
    for (key, value) in more.as_object().into_iter().flatten() {
        settings[key] = value.clone();
    }
    let server = Meshboard::start_complete_with(&json!({ "settings": settings }));
    // Firmware that comes before the certificates are there waits in the queue of the port.
    (mps, server)
}

/// A group for computers with nothing but Intel AMT; the user name of its computers.
fn group(server: &dyn Server) -> String {
    let answer = server.meshctrl().run(&["adddevicegroup", "--name", "amt", "--amtonly"]);
    let id = answer.trim().strip_prefix("ok ").expect("a group was made").to_owned();
    cira::user_of(&id)
}

fn connected(server: &dyn Server, conn: u64) -> Value {
    let what = format!("has conn {conn}");
    server.meshctrl().wait_for_device(&what, |device| device["conn"] == conn)
}

fn firmware_of_an_unknown_computer_becomes_a_connected_device(server: &dyn Server, door: Door) {
    let user = group(server);
    let live = Live::connect(door, Mood::Firmware, UUID, &user, PASSWORD);
    live.wait_for(|seen| *seen == Seen::LoggedIn);
    live.wait_for(|seen| *seen == Seen::Options(30));
    let device = connected(server, 2);
    assert_eq!(
        device["_id"],
        "node//TExFRABLQhCAM7bAT1BGM0xMRUQAS0IQgDO2wE9QRjNMTEVEAEtCEIAztsBPUEYz"
    );
    assert_eq!((&device["pwr"], &device["mtype"]), (&json!(7), &json!(1)));
    assert!(device["cict"].is_u64(), "{device}");
    drop(live);
    server.meshctrl().wait_for_device("has gone", |device| device.get("conn").is_none());
}

fn who_brings_a_wrong_password_is_refused(server: &dyn Server, door: Door) {
    let user = group(server);
    for (user, password) in [(&*user, "P@ssw0rd2"), ("0123456789abcdef", PASSWORD)] {
        let live = Live::connect(door, Mood::Firmware, UUID, user, password);
        assert_eq!(live.ended(), [Seen::Refused]);
    }
    assert_eq!(server.meshctrl().devices(), Vec::<Value>::new());
}

fn many_computers_on_one_thread_are_as_many_devices(server: &dyn Server, door: Door) {
    let user = group(server);
    let all: Vec<_> = (0..20)
        .map(|n| format!("11111111-2222-3333-4444-5555555555{n:02}"))
        .map(|uuid| Live::connect(door, Mood::Firmware, &uuid, &user, PASSWORD))
        .collect();
    for live in &all {
        live.wait_for(|seen| *seen == Seen::Ready);
    }
    connected(server, 2);
    let all_there = || server.meshctrl().devices().iter().filter(|d| d["conn"] == 2).count() == 20;
    while !all_there() {}
}

fn a_program_relays_a_computer(server: &dyn Server, door: Door) {
    let user = group(server);
    let live = Live::connect(door, Mood::MeshCmd(1), OTHER, &user, PASSWORD);
    live.wait_for(|seen| *seen == Seen::Ready);
    connected(server, 8);
}

/// The client module of the package, run by node, on the same port as firmware.
fn meshcentrals_own_client_is_connected(server: &dyn Server, door: Door) {
    let user = group(server);
    let process = apf_client(door, &user);
    process.wait_for_line(|line| line == "connected");
    let device = connected(server, 2);
    assert_eq!(device["mtype"], 1);
}

fn apf_client(door: Door, user: &str) -> Process {
    let runner = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/apf-client.js");
    Process::start("node", |command| {
        command.arg(runner).arg(installation::folder());
        command.arg(door.mps.to_string()).args([UUID, user, PASSWORD]);
    })
}

// What only ours does.

#[test]
fn a_newer_tunnel_takes_the_place_of_the_older_without_a_gap() {
    let (mps, server) = meshboard(json!({}));
    let door = Door { mps, https: server.port() };
    let user = group(&server);
    let older = Live::connect(door, Mood::Firmware, UUID, &user, PASSWORD);
    older.wait_for(|seen| *seen == Seen::Ready);
    connected(&server, 2);
    let newer = Live::connect(door, Mood::Firmware, UUID, &user, PASSWORD);
    newer.wait_for(|seen| *seen == Seen::Ready);
    older.ended();
    connected(&server, 2);
    assert_eq!(server.meshctrl().devices().len(), 1);
}

/// What `openssl s_client` says of the port.
fn s_client(mps: u16, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{mps}")])
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn each_version_of_tls_is_served_or_refused_with_a_reason() {
    let legacy = cfg!(feature = "legacy-amt");
    for high in [false, true] {
        let (mps, server) = meshboard(json!({ "mpsHighSecurity": high }));
        for (arguments, expected) in [
            (&["-tls1_3"][..], true),
            (&["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"], true),
            (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], true),
            (&["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"], legacy),
            (&["-tls1_1", "-cipher", "AES128-SHA:@SECLEVEL=0"], legacy && !high),
            (&["-tls1", "-cipher", "AES256-SHA:@SECLEVEL=0"], legacy && !high),
        ] {
            let text = s_client(mps, arguments);
            assert!(text.contains("Cipher is"), "{text}");
            let established = !text.contains("Cipher is (NONE)");
            assert_eq!(established, expected, "{arguments:?}, high {high}: {text}");
        }
        let journal = server.command(&["mps", "journal"]);
        let reason = if high { "mpsHighSecurity" } else { "TLS 1.0, suites" };
        assert!(journal.contains(reason), "{journal}");
    }
}

/// Firmware that wants nothing below SHA-384 takes no key of 2048 bits.
#[test]
fn the_key_is_as_long_as_the_client_can_take() {
    let (mps, _server) = meshboard(json!({}));
    let bits = |arguments: &[&str]| {
        let text = s_client(mps, arguments);
        let (_, rest) = text.split_once("Server public key is ").expect("it is served");
        rest.split(' ').next().expect("a number").parse::<u32>().expect("a number")
    };
    assert_eq!(bits(&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"]), 2048);
    let modern = ["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"];
    // Until the long key is loaded, behind the first one.
    while bits(&modern) != 3072 {}
}

/// Firmware from before 2018, over OpenSSL.
#[cfg(feature = "legacy-amt")]
#[test]
fn old_firmware_becomes_a_connected_device() {
    use common::cira::Device;
    use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};
    use std::io::{Read as _, Write as _};

    let (mps, server) = meshboard(json!({}));
    let user = group(&server);
    let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("OpenSSL works");
    connector.set_security_level(0);
    connector.set_min_proto_version(Some(SslVersion::TLS1)).expect("it knows TLS 1.0");
    connector.set_max_proto_version(Some(SslVersion::TLS1)).expect("it knows TLS 1.0");
    connector.set_cipher_list("AES256-SHA").expect("it knows that suite");
    connector.set_verify(SslVerifyMode::NONE);
    let tcp = std::net::TcpStream::connect(("127.0.0.1", mps)).expect("the port is open");
    let mut stream = connector.build().connect("127.0.0.1", tcp).expect("it is served");
    let mut device = Device::new(Mood::Firmware, UUID, &user, PASSWORD);
    let mut buffer = [0; 4096];
    while !std::iter::from_fn(|| device.poll_seen()).any(|seen| seen == Seen::Ready) {
        while let Some(message) = device.poll_out() {
            stream.write_all(&message).expect("the server reads");
        }
        let count = stream.read(&mut buffer).expect("the server answers");
        assert!(count > 0, "the server ended the tunnel");
        device.receive(&buffer[..count]);
    }
    connected(&server, 2);
    let journal = server.command(&["mps", "journal"]);
    assert!(journal.contains("TLS 1.0 AES256-SHA, by OpenSSL"), "{journal}");
}

#[test]
fn the_journal_and_the_setup_tell_what_an_administrator_needs() {
    let (mps, server) = meshboard(json!({}));
    let user = group(&server);
    let door = Door { mps, https: server.port() };
    Live::connect(door, Mood::Firmware, UUID, &user, "Wrong-w0rd").ended();
    let journal = server.command(&["mps", "journal", "--uuid", UUID, "--json"]);
    let journal: Value = serde_json::from_str(&journal).expect("--json prints JSON");
    let steps = journal[0]["steps"].to_string();
    for step in ["TCP", "offers TLS 1.3", "TLS13_", "trigger 4", "login as", "wrong password"] {
        assert!(steps.contains(step), "{step} in {steps}");
    }
    let setup = server.command(&["mps", "setup", "amt", "--json"]);
    let setup: Value = serde_json::from_str(&setup).expect("--json prints JSON");
    assert_eq!(setup["user"], user);
    assert_eq!(setup["password"], PASSWORD);
    assert_eq!((&setup["host"], &setup["port"]), (&json!("127.0.0.1"), &json!(mps)));
    let (status, der) = common::https::get(server.port(), "/MeshServerRootCert.cer");
    assert_eq!((status, der.first()), (200, Some(&0x30)));
}

/// The script, compiled and run by MeshCentral's own engine, does what its AMT manager does.
#[test]
fn the_setup_script_sets_firmware_up() {
    let (mps, server) = meshboard(json!({ "mpsAliasHost": "mps.example.com" }));
    let user = group(&server);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cira_setup.mescript");
    std::fs::write(&file, server.command(&["mps", "script", "amt"])).expect("it is ours");
    let runner = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/mescript.js");
    let output = Command::new("node").arg(runner).arg(installation::folder()).arg(file).output();
    let output = output.expect("node runs");
    let told: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!((&told["same"], &told["state"]), (&json!(true), &json!(0)), "{told}");
    assert_eq!(told["exception"], Value::Null, "{told}");
    let calls = told["calls"].as_array().expect("a list");
    let named = |name: &str| -> Vec<&Value> {
        calls.iter().filter(|call| call[0] == name).map(|call| &call[2]).collect()
    };
    let (_, root) = common::https::get(server.port(), "/MeshServerRootCert.cer");
    let root = data_encoding::BASE64.encode(&root);
    assert_eq!(named("AddTrustedRootCertificate"), [&json!({ "CertificateBlob": root })]);
    let expected = json!({
        "AccessInfo": "mps.example.com", "CN": "mps.example.com", "InfoFormat": 201,
        "Port": mps, "AuthMethod": 2, "Username": user, "Password": PASSWORD,
    });
    assert_eq!(named("AddMpServer"), [&expected]);
    let policy = named("AddRemoteAccessPolicyRule");
    assert_eq!(
        (&policy[0]["Trigger"], &policy[0]["ExtendedData"]),
        (&json!(2), &json!("AAAAAAAAAAo="))
    );
    let reference = policy[0]["MpServer"][0].as_str().expect("a reference");
    assert!(reference.contains("<Selector Name=\"Name\">New server</Selector>"), "{reference}");
    // Three policies and the server it called before.
    assert_eq!(named("delete").len(), 4, "{told}");
    assert_eq!(named("delete")[3], &json!({ "Name": "Old server" }));
    let home = named("put")[0];
    assert_eq!(home["DetectionStrings"].as_array().map(Vec::len), Some(1), "{home}");
    assert_eq!(named("RequestStateChange"), [&json!({ "RequestedState": 32771 })]);
}
