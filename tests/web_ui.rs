//! The web page in Debian's chromium, against the delivered server with simulated agents.
//!
//! What a person does in the browser is in `web/test/browser/*.mjs`; here is the server, and the
//! hands of the person beside the browser: scenarios ask for them by lines on standard output.
#![cfg(feature = "web-ui")]

mod common;

use std::collections::HashMap;
use std::fs;

use common::chromium::{run, workshop};
use common::meshboard::Meshboard;
use common::simulated::{self, Group, Keys, Live, Memory, identity};
use common::{ADMIN, PASSWORD, Server, chromium, package};
use serde_json::{Value, json};

/// The server, and agents that come and go as a scenario asks.
struct House {
    server: Meshboard,
    agents: HashMap<usize, Live>,
    memories: HashMap<usize, Memory>,
}

impl House {
    /// With an administrator.
    fn open() -> Self {
        let house = Self::empty();
        house.server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
        house
    }

    /// As after the installation.
    fn empty() -> Self {
        let server = Meshboard::start_empty();
        Self { server, agents: HashMap::new(), memories: HashMap::new() }
    }

    /// Plays a scenario to its end.
    fn play(&mut self, scenario: &str) {
        self.play_at("127.0.0.1", scenario);
    }

    /// The same; `host` is what the browser calls the server.
    fn play_at(&mut self, host: &str, scenario: &str) {
        let url = format!("https://{host}:{}/", self.server.port());
        chromium::play(&url, "server", scenario, |asked| self.lend_a_hand(asked));
    }

    fn lend_a_hand(&mut self, asked: &Value) -> Value {
        let number = || asked[1].as_u64().and_then(|n| usize::try_from(n).ok()).expect("a number");
        let text = |at: usize| asked[at].as_str().expect("a text");
        match text(0) {
            "code" => {
                let status = self.server.command(&["status", "--json"]);
                let status: Value = serde_json::from_str(&status).expect("JSON was asked for");
                status["setupCode"].clone()
            }
            "group" => {
                let made =
                    self.server.command(&["group", "add", text(1), "--user", ADMIN, "--json"]);
                let made: Value = serde_json::from_str(&made).expect("JSON was asked for");
                json!(made["meshid"].as_str().expect("an id").trim_start_matches("mesh//"))
            }
            "join" => self.join(number(), text(2)),
            "knock" => self.knock(number(), text(2)),
            "configure" => {
                let file = self.server.data().join("config.json");
                fs::write(file, text(1)).expect("the data folder is writable");
                Value::Null
            }
            "package" => json!(package::package_tgz()),
            "leave" => {
                let agent = self.agents.remove(&number()).expect("it joined");
                self.memories.insert(number(), agent.stop());
                Value::Null
            }
            "say" => {
                self.agents[&number()].say(asked[2].clone());
                Value::Null
            }
            "node" => json!(self.agents[&number()].node()),
            "stop" => {
                self.server.stop();
                Value::Null
            }
            "start" => {
                self.server.start_again();
                Value::Null
            }
            other => panic!("nobody knows how to {other}"),
        }
    }

    /// Connects an agent to a group; the name of its device.
    fn join(&mut self, number: usize, group: &str) -> Value {
        let name = self.knock(number, group);
        let agent = &self.agents[&number];
        agent.authenticated();
        agent.say(json!({"action": "coreinfo", "caps": 31, "root": true,
            "osdesc": "Simulated GNU/Linux 1 (fleet)", "value": "Nov 21 2022, 2189501291"}));
        agent.say(json!({"action": "netinfo", "netif2": {"eth0": [{"mac": "02:00:00:00:00:01",
            "type": "ethernet", "status": "up", "address": "192.0.2.17", "family": "IPv4",
            "netmask": "255.255.255.0", "gateway": "192.0.2.1"}]}}));
        name
    }

    /// Connects an agent, whether it is let in or not; the name of its device.
    fn knock(&mut self, number: usize, group: &str) -> Value {
        let url = format!("wss://127.0.0.1:{}/agent.ashx", self.server.port());
        let url = simulated::Server::parse(&url).expect("a valid URL");
        let certificates = self.server.command(&["cert", "show", "--json"]);
        let certificates: Value = serde_json::from_str(&certificates).expect("JSON was asked for");
        let mut all = certificates.as_array().expect("a list").iter();
        let own = all.find(|one| one["role"] == "agentserver").expect("agents may connect");
        let hash = own["keySha384"].as_str().expect("a hash");
        let server =
            data_encoding::HEXUPPER_PERMISSIVE.decode(hash.as_bytes()).expect("hexadecimal");
        let group = Group {
            mesh: identity::from_text(group).expect("a group id has 48 bytes"),
            server: server.try_into().expect("a server id has 48 bytes"),
        };
        let key = Keys::for_fleet(8, 2048).expect("target is writable").agent(number);
        let name = key.short_name();
        let memory = self.memories.remove(&number).unwrap_or_default();
        self.agents.insert(number, Live::connect(&url, key, group, memory));
        json!(name)
    }
}

/// Scenarios against the invented installation of `web/demo`.
fn play_demo(scenario: &str) {
    run(workshop(), "node", &["test/browser/run.mjs", "demo", scenario]);
}

#[test]
fn the_page_has_no_type_errors() {
    run(workshop(), "npm", &["run", "check"]);
}

#[test]
fn the_logic_of_the_page_holds() {
    run(workshop(), "npm", &["test"]);
}

#[test]
fn from_the_setup_code_to_a_device() {
    House::empty().play("from_the_setup_code_to_a_device");
}

#[test]
fn every_page_fits_and_is_accessible() {
    House::open().play("every_page_fits_and_is_accessible");
}

#[test]
fn logins_end_as_they_should() {
    House::open().play("logins_end_as_they_should");
}

#[test]
fn a_second_step_is_set_up_and_asked_for() {
    House::open().play("a_second_step_is_set_up_and_asked_for");
}

#[test]
fn a_security_key_opens_the_account() {
    // Keys belong to names, not to addresses.
    House::open().play_at("localhost", "a_security_key_opens_the_account");
}

#[test]
fn few_rights_show_few_things() {
    let mut house = House::open();
    house.server.command(&["user", "add", "bob", "--password", "Bobs-Word-1"]);
    house.play("few_rights_show_few_things");
}

#[test]
fn hostile_devices_are_harmless() {
    House::open().play("hostile_devices_are_harmless");
}

#[test]
fn the_server_page_tells_how_it_is() {
    House::open().play("the_server_page_tells_how_it_is");
}

#[test]
fn why_an_agent_is_not_let_in_is_told_with_what_helps() {
    House::open().play("why_an_agent_is_not_let_in_is_told_with_what_helps");
}

#[test]
fn the_agent_package_is_installed_from_the_page() {
    House::open().play("the_agent_package_is_installed_from_the_page");
}

#[test]
fn a_configuration_is_checked_before_a_restart() {
    House::open().play("a_configuration_is_checked_before_a_restart");
}

#[test]
fn every_control_is_reached_by_tab_and_seen() {
    play_demo("every_control_is_reached_by_tab_and_seen");
}

#[test]
fn the_first_page_is_small_and_comes_in_few_requests() {
    House::open().play("the_first_page_is_small_and_comes_in_few_requests");
}

#[test]
fn a_restart_is_shown_and_heals() {
    House::open().play("a_restart_is_shown_and_heals");
}

#[test]
fn the_keyboard_is_enough() {
    House::open().play("the_keyboard_is_enough");
}

#[test]
fn every_page_of_a_full_installation_is_accessible() {
    play_demo("every_page_is_accessible");
}

#[test]
fn two_thousand_devices_are_smooth() {
    play_demo("two_thousand_devices_are_smooth");
}

#[test]
fn hostile_words_are_text_everywhere() {
    play_demo("hostile_words_are_text");
}
