//! Intel AMT in Debian's chromium: what the port says to a browser, and the pages around a computer
//! that calls in. What a person does is in `web/test/browser/amt.mjs`.
#![cfg(feature = "web-ui")]

mod common;

use common::amt::{Computer, OnLan};
use common::cira::{Door, Live, Mood, Seen};
use common::viewer::Control;
use common::{ADMIN, Meshboard, PASSWORD, Server, chromium, ports};
use serde_json::{Value, json};
use std::fs;

const UUID: &str = "4c4c4544-004b-4210-8033-b6c04f504633";

fn start() -> (Meshboard, Door) {
    let mps = ports::free();
    let server = Meshboard::start_with(&json!({ "settings": { "mpsPort": mps } }));
    let door = Door { mps, https: server.port() };
    (server, door)
}

#[test]
fn a_browser_on_the_port_is_told_what_it_is_for() {
    let (_server, door) = start();
    let url = format!("https://127.0.0.1:{}/", door.mps);
    chromium::play(&url, "amt", "the_port_says_what_it_is_for", |_| Value::Null);
}

#[test]
fn a_group_shows_what_to_enter_and_a_device_why_it_is_offline() {
    let (server, door) = start();
    server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
    let url = format!("https://127.0.0.1:{}/", server.port());
    let mut live = None;
    chromium::play(&url, "amt", "a_computer_joins_goes_and_says_why", |asked| {
        match asked[0].as_str().expect("a name") {
            "call" => {
                let text = |name: &str| asked[1][name].as_str().expect("a text").to_owned();
                assert_eq!(asked[1]["port"], door.mps);
                let (user, password) = (text("user"), text("password"));
                let computer = Live::connect(door, Mood::Firmware, UUID, &user, &password);
                computer.wait_for(|seen| matches!(seen, Seen::Ready | Seen::Refused));
                live = Some(computer);
                Value::Null
            }
            "leave" => {
                live = None;
                Value::Null
            }
            "uuid" => json!(UUID),
            other => panic!("what is {other}?"),
        }
    });
}

#[test]
fn the_network_is_scanned_and_a_computer_added() {
    let server = Meshboard::start_with(&json!({ "settings": { "LANonly": true } }));
    server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
    let network = [OnLan::serve(Computer::new()), OnLan::serve(Computer::new())];
    let url = format!("https://127.0.0.1:{}/", server.port());
    chromium::play(&url, "amt", "the_network_is_scanned_and_a_computer_added", |asked| {
        assert_eq!(asked[0], "network");
        let [a, b] = [0, 1].map(|n: usize| network[n].address);
        json!({ "range": format!("{a}/32"), "address": a, "other": b })
    });
}

#[test]
fn a_group_is_activated_by_a_command() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (pfx, log) = (folder.path().join("vendor.pfx"), folder.path().join("activations.log"));
    let vector = include_str!("vectors/activation-cert-loading.json");
    let vector: Value = serde_json::from_str(vector).expect("it is JSON");
    let content = vector["pfx"]["rc2.pfx"]["base64"].as_str().expect("text");
    let content = data_encoding::BASE64.decode(content.as_bytes()).expect("base64");
    fs::write(&pfx, content).expect("the folder is ours");
    let certs = json!({"vendor": {"certpfx": pfx, "certpfxpass": "pfxpassword"}});
    let server = Meshboard::start_with(&json!({
        "settings": {"mpsPort": ports::free()},
        "domains": {"": {"AmtAcmActivation": {"log": log, "certs": certs}}},
    }));
    server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
    let url = format!("https://127.0.0.1:{}/", server.port());
    let mut control = Control::open(server.port());
    chromium::play(&url, "amt", "a_group_is_activated_by_a_command", |asked| {
        match asked[0].as_str().expect("a name") {
            "policy" => {
                let groups = control.ask(&json!({"action": "meshes", "responseid": "g"}));
                let id = asked[1].as_str().expect("a text");
                let groups = groups["meshes"].as_array().expect("a list");
                let is_it =
                    |group: &&Value| group["_id"].as_str().is_some_and(|it| it.ends_with(id));
                groups.iter().find(is_it).expect("the group is there")["amt"].clone()
            }
            "activate" => {
                let line = |action: &str| {
                    json!({"time": "2026-11-22T20:00:00.000Z", "action": action, "domain": "",
                        "amtUuid": UUID, "amtFqdn": "example.com", "user": "admin",
                        "password": "S3cret!x", "nodeid": "node//x", "computerName": "reception-pc"})
                };
                let lines = [line("acmactivate"), line("acmactivate-success")];
                let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
                fs::write(&log, text).expect("the folder is ours");
                Value::Null
            }
            other => panic!("what is {other}?"),
        }
    });
}
