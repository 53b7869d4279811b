//! Sessions in Debian's chromium: terminal, files and desktop of a stock agent on a virtual X server,
//! through the delivered server.
//!
//! What a person does is in `web/test/browser/sessions.mjs`; the X server is the witness of what the
//! page shows and does.
#![cfg(feature = "web-ui")]

mod common;

use common::x_server::XServer;
use common::{Architecture, Meshboard, Server, StockAgent, chromium};
use serde_json::{Value, json};

/// A server with a connected agent, whose core runs, and the screen it captures.
struct Office {
    server: Meshboard,
    screen: XServer,
    device: String,
    _agent: StockAgent,
}

impl Office {
    fn open() -> Self {
        let server = Meshboard::start();
        let screen = XServer::start(640, 480);
        paint(&screen);
        let group = server.add_group("office");
        let architecture = Architecture::X86_64;
        let agent = StockAgent::start_on(&server, &group, architecture, screen.display());
        let device = server.meshctrl().wait_for_device("has its core", |device| {
            device["conn"] == 1 && device["agent"]["core"].is_string()
        });
        let device = device["name"].as_str().expect("a name is text").to_owned();
        Self { server, screen, device, _agent: agent }
    }

    fn play(&self, scenario: &str) {
        let url = format!("https://127.0.0.1:{}/", self.server.port());
        chromium::play(&url, "sessions", scenario, |asked| self.lend_a_hand(asked));
    }

    fn lend_a_hand(&self, asked: &Value) -> Value {
        let number = |at: usize| asked[at].as_u64().and_then(|n| u32::try_from(n).ok());
        match asked[0].as_str().expect("what is asked for is a text") {
            "device" => json!(self.device),
            "screen" => json!(self.sample()),
            "pointer" => {
                let ((x, y), mask) = self.screen.pointer();
                json!([x, y, mask])
            }
            "fill" => {
                let colour = number(1).expect("a colour is a number");
                self.screen.fill(400, 300, 64, 64, colour);
                Value::Null
            }
            other => panic!("nobody knows how to {other}"),
        }
    }

    /// Every eighth pixel of every eighth row, off the edges of the cells images are made of.
    fn sample(&self) -> Vec<[u8; 3]> {
        let picture = self.screen.screenshot();
        let rows = picture.pixels.chunks_exact(picture.width).skip(4).step_by(8);
        rows.flat_map(|row| row.iter().skip(4).step_by(8).copied()).collect()
    }
}

/// Colours that a wrong order of bytes, rows or tiles would show.
fn paint(screen: &XServer) {
    screen.fill(0, 0, 320, 240, 0x00_20_60_c0);
    screen.fill(320, 0, 320, 240, 0x00_c0_30_20);
    screen.fill(0, 240, 320, 240, 0x00_20_a0_40);
    screen.fill(320, 240, 320, 240, 0x00_e0_e0_e0);
    screen.fill(37, 61, 200, 90, 0x00_ff_ff_00);
}

#[test]
fn a_terminal_answers_is_resized_searched_and_opened_again() {
    Office::open().play("a_terminal_answers_is_resized_searched_and_opened_again");
}

#[test]
fn files_come_back_as_they_went() {
    Office::open().play("files_come_back_as_they_went");
}

#[test]
fn the_desktop_is_what_the_x_server_shows() {
    Office::open().play("the_desktop_is_what_the_x_server_shows");
}

#[test]
fn sessions_fit_on_a_phone() {
    Office::open().play("sessions_fit_on_a_phone");
}

#[test]
fn who_may_only_look_only_looks() {
    let office = Office::open();
    office.server.command(&["user", "add", "bob", "--password", "Bobs-Word-1"]);
    let groups = office.server.command(&["group", "list", "--json"]);
    let groups: Value = serde_json::from_str(&groups).expect("JSON was asked for");
    let group = groups[0]["meshid"].as_str().expect("an id is text");
    let add = ["AddUserToDeviceGroup", "--id", group, "--userid", "bob"];
    let rights = ["--remotecontrol", "--desktopviewonly"];
    office.server.meshctrl().run(&[&add[..], &rights[..]].concat());
    office.play("who_may_only_look_only_looks");
}
