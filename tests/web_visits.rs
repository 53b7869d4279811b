//! The pages for people without an account in Debian's chromium: guests of a stock agent, and chats
//! with who sits at a device and between accounts. What people do is in
//! `web/test/browser/visits.mjs`.
#![cfg(feature = "web-ui")]

mod common;

use common::x_server::XServer;
use common::{Architecture, Live, Meshboard, Server, StockAgent, chromium, simulated_agent};
use serde_json::{Value, json};

/// Plays a scenario with the page of `server`.
fn play(server: &Meshboard, scenario: &str, lend_a_hand: impl FnMut(&Value) -> Value) {
    let url = format!("https://127.0.0.1:{}/", server.port());
    chromium::play(&url, "visits", scenario, lend_a_hand);
}

/// Name of the only device.
fn name_of(device: &Value) -> String {
    device["name"].as_str().expect("a name is text").to_owned()
}

/// A guest of a stock agent, whose links a person makes with `meshctrl`.
fn play_guest(scenario: &str) {
    let server = Meshboard::start();
    let screen = XServer::start(640, 480);
    let group = server.add_group("office");
    let architecture = Architecture::X86_64;
    let _agent = StockAgent::start_on(&server, &group, architecture, screen.display());
    let device = server.meshctrl().wait_for_device("has its core", |device| {
        device["conn"] == 1 && device["agent"]["core"].is_string()
    });
    let id = device["_id"].as_str().expect("an id is text").to_owned();
    let mut share = String::new();
    play(&server, scenario, |asked| match asked[0].as_str().expect("a word") {
        "device" => json!(name_of(&device)),
        "share" => {
            let options = asked.as_array().into_iter().flatten().skip(1);
            let options: Vec<_> = options.filter_map(Value::as_str).collect();
            let add = ["devicesharing", "--id", &id, "--add", "Gus"];
            let output = server.meshctrl().run(&[&add[..], &options].concat());
            let line = |name: &str| output.lines().find_map(|line| line.strip_prefix(name));
            share = line("ID: ").expect("a link has an id").to_owned();
            json!(line("URL: "))
        }
        "withdraw" => {
            json!(server.meshctrl().run(&["devicesharing", "--id", &id, "--remove", &share]))
        }
        "pointer" => {
            let ((x, y), mask) = screen.pointer();
            json!([x, y, mask])
        }
        other => panic!("nobody knows how to {other}"),
    });
}

#[test]
fn a_guest_has_what_is_shared_until_it_is_withdrawn() {
    play_guest("a_guest_has_what_is_shared_until_it_is_withdrawn");
}

#[test]
fn a_guest_who_may_only_look_has_a_phone() {
    play_guest("a_guest_who_may_only_look_has_a_phone");
}

/// What an agent is told to open, and in whose session that is answered.
fn called(agent: &Live) -> (Value, Value) {
    let told = agent.json("openUrl");
    (told["url"].clone(), told["sessionid"].clone())
}

#[test]
fn a_device_and_an_account_talk() {
    let server = Meshboard::start();
    let group = server.add_group("office");
    let agent = simulated_agent(&server, &group);
    let device = server.meshctrl().wait_for_device("is there", |device| device["conn"] == 1);
    let mut session = Value::Null;
    play(&server, "a_device_and_an_account_talk", |asked| {
        match asked[0].as_str().expect("a word") {
            "device" => json!(name_of(&device)),
            "called" => {
                let url;
                (url, session) = called(&agent);
                url
            }
            "nobody" => {
                agent.say(json!({"action": "openUrl", "sessionid": session, "success": false}));
                Value::Null
            }
            other => panic!("nobody knows how to {other}"),
        }
    });
}

#[test]
fn two_accounts_talk() {
    let server = Meshboard::start();
    server.command(&["user", "add", "bob", "--password", "Bobs-Word-1"]);
    play(&server, "two_accounts_talk", |asked| panic!("nobody asks for {asked}"));
}
