//! Firmware in Debian's chromium, through the delivered server: an unmodified noVNC shows what the
//! simulated computer shows and types into it; the serial line, drives, consent. What a person does
//! is in `web/test/browser/consoles.mjs`; the computer is the witness.
#![cfg(feature = "web-ui")]

mod common;

use std::fs;

use common::amt::{Computer, Input, OnLan, Protocol, Seen};
use common::viewer::Control;
use common::{ADMIN, Meshboard, PASSWORD, Server, chromium};
use serde_json::{Value, json};

/// Where the picture is compared: off the edges of bars and of the squares of keys.
const PLACES: [(u16, u16); 7] =
    [(8, 8), (24, 8), (40, 8), (100, 100), (180, 150), (260, 50), (310, 190)];

/// A server, and a computer in its network that is its device `pc`.
struct House {
    server: Meshboard,
    lan: OnLan,
    control: Control,
    /// The group of the device.
    group: String,
}

impl House {
    fn open() -> Self {
        let server = Meshboard::start_with(&json!({ "settings": { "WANonly": false } }));
        server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
        let lan = OnLan::serve(Computer::new());
        let mut control = Control::open(server.port());
        let group = control.ask(&json!({"action": "createmesh", "meshname": "amt",
            "meshtype": 1, "responseid": "g"}));
        let group = group["meshid"].as_str().expect("a group was made").to_owned();
        let address = lan.address.to_string();
        let mut house = Self { server, lan, control, group };
        house.add("pc", &address);
        house
    }

    /// Adds a device.
    fn add(&mut self, name: &str, address: &str) {
        self.control.say(&json!({"action": "addamtdevice", "meshid": self.group,
            "devicename": name, "hostname": address, "amttls": 0,
            "amtusername": common::amt::ADMIN, "amtpassword": common::amt::PASSWORD}));
        self.control.event("addnode");
    }

    fn play(&self, scenario: &str) {
        let url = format!("https://127.0.0.1:{}/", self.server.port());
        chromium::play(&url, "consoles", scenario, |asked| self.lend_a_hand(asked));
    }

    fn lend_a_hand(&self, asked: &Value) -> Value {
        let computer = &self.lan.computer;
        computer.firmware(|firmware| {
            match asked[0].as_str().expect("what is asked for is a text") {
                "pattern" => {
                    let pixels = PLACES.map(|(x, y)| firmware.screen.pixel(x, y));
                    json!({ "places": PLACES, "pixels": pixels })
                }
                "typed" => {
                    let wanted = asked[1].as_array().into_iter().flatten();
                    let mut keys =
                        wanted.map(|key| key.as_u64().and_then(|key| u32::try_from(key).ok()));
                    let pressed = |keysym| {
                        firmware.input.contains(&Input::Key { down: true, keysym })
                            && firmware.input.contains(&Input::Key { down: false, keysym })
                    };
                    json!(keys.all(|key| key.is_some_and(pressed)))
                }
                "pointed" => {
                    let pressed =
                        |input: &Input| matches!(input, Input::Pointer { buttons: 1, .. });
                    json!(firmware.input.iter().any(pressed))
                }
                "restart" => {
                    firmware.cuts_off = true;
                    Value::Null
                }
                "sessions" => {
                    let opened = Seen::Opened(Protocol::Kvm);
                    let count = firmware.seen.iter().filter(|seen| **seen == opened).count();
                    json!(count as u64 == asked[1].as_u64().unwrap_or_default())
                }
                "code" => json!(format!("{:06}", firmware.consent_code)),
                "line" => match String::from_utf8_lossy(&firmware.typed) {
                    typed if Some(&*typed) == asked[1].as_str() => json!(true),
                    typed => json!(typed),
                },
                "read" => json!(firmware.ider.complete),
                "power" => {
                    let asked = |seen: &Seen| {
                        matches!(seen, Seen::Power(state) if Some(u64::from(*state)) == asked[1].as_u64())
                    };
                    json!(firmware.seen.iter().any(asked))
                }
                other => panic!("nobody knows how to {other}"),
            }
        })
    }
}

#[test]
fn the_screen_is_shown_and_typed_into() {
    House::open().play("the_screen_is_shown_and_typed_into");
}

#[test]
fn consent_is_asked_for_and_given() {
    let house = House::open();
    house.lan.computer.firmware(|firmware| {
        firmware.instance("IPS_OptInService").set("OptInRequired", 1);
    });
    house.play("consent_is_asked_for_and_given");
}

#[test]
fn the_serial_line_echoes() {
    House::open().play("the_serial_line_echoes");
}

#[test]
fn a_computer_reads_what_it_is_lent() {
    let house = House::open();
    let disc: Vec<u8> = (0..100_u8).flat_map(|sector| [sector; 2048]).collect();
    let key = house.group.rsplit('/').next().expect("split yields something");
    let folder = house.server.data().join(format!("meshcentral-files/domain/mesh-{key}"));
    fs::create_dir_all(&folder).expect("the folder is ours");
    fs::write(folder.join("tools.img"), [7; 1536]).expect("the folder is ours");
    house.play("a_computer_reads_what_it_is_lent");
    let read = house.lan.computer.firmware(|firmware| firmware.ider.disc.clone());
    assert!(read == disc, "every sector is the image's");
}

#[test]
fn the_panel_tells_and_switches() {
    let mut house = House::open();
    house.add("ghost", "127.0.0.77");
    house.play("the_panel_tells_and_switches");
}

#[test]
fn settings_are_changed_in_the_firmware() {
    let house = House::open();
    house.lan.computer.firmware(|firmware| firmware.clock = -600);
    house.play("settings_are_changed_in_the_firmware");
    house.lan.computer.firmware(|firmware| {
        assert_eq!(firmware.property("AMT_GeneralSettings", "HostName"), "reception");
        assert!(
            firmware.clock.abs() < 60 && firmware.accounts.iter().all(|one| one.name != "helpdesk")
        );
    });
}
