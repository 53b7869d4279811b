//! Intel AMT on the local network, which is here a handful of loopback addresses.

mod common;

use common::amt::{Computer, OnLan, PASSWORD as SECRET, Seen};
use common::viewer::Control;
use common::{ADMIN, Meshboard, PASSWORD, Server};
use serde_json::{Value, json};

/// A server on the local network, with a group for Intel AMT.
fn server() -> (Meshboard, String) {
    let server = Meshboard::start_with(&json!({ "settings": { "LANonly": true } }));
    server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
    let answer = server.meshctrl().run(&["adddevicegroup", "--name", "amt", "--amtonly"]);
    let group = answer.trim().strip_prefix("ok ").expect("a group was made").to_owned();
    (server, group)
}

fn seen(computer: &OnLan, wanted: &Seen) -> usize {
    computer.computer.firmware(|firmware| firmware.seen.iter().filter(|s| *s == wanted).count())
}

#[test]
fn a_scan_finds_exactly_who_is_there() {
    let (server, _) = server();
    let old = Computer::new();
    old.firmware(|firmware| firmware.version = "12.0.64.1551".into());
    let silent = Computer::new();
    silent.firmware(|firmware| firmware.rmcp = false);
    let network = [Computer::new(), old, silent].map(OnLan::serve);
    let mut control = Control::open(server.port());
    let mut outside = 0;
    for (number, on_lan) in network.iter().enumerate() {
        // Its neighbours, without the others of the three.
        let [a, b, c, d] = on_lan.address.octets();
        let range = format!("{a}.{b}.{c}.{}-{a}.{b}.{c}.{d}", d.saturating_sub(3).max(1));
        let request = json!({"action": "scanamtdevice", "range": range, "progress": true});
        control.say(&request);
        let progress = control.event("scanamtprogress");
        assert_eq!((&progress["range"], progress["found"].is_u64()), (&json!(range), true));
        let event = control.event("scanamtdevice");
        assert_eq!((&event["range"], &event["nolog"]), (&json!(range), &json!(1)), "{event}");
        let entry = |version: &str| {
            let address = on_lan.address.to_string();
            json!({ address.clone(): {"ver": version, "tls": 0, "state": 2, "hostname": address,
                "hosttype": "addr"} })
        };
        let expected = [entry("0.0"), entry("12.0"), json!({})];
        assert_eq!(event["results"], expected[number]);
        outside += network.iter().filter(|other| seen(other, &Seen::Ping) > 1).count();
    }
    assert_eq!(outside, 0, "each was asked once, by the scan of its own range");
    // A client of MeshCentral gets no progress.
    control.say(&json!({"action": "scanamtdevice", "range": "127.101.0.0/8"}));
    let event = control.wait_for(|m| m["action"] == "event");
    assert_eq!(
        (&event["event"]["action"], &event["event"]["results"]),
        (&json!("scanamtdevice"), &Value::Null)
    );
}

#[test]
fn a_device_that_was_added_by_hand_is_present() {
    let (server, group) = server();
    let modern = Computer::new();
    // What answers no pings is found by its web server.
    modern.firmware(|firmware| firmware.rmcp = false);
    let old = Computer::new();
    old.firmware(|firmware| firmware.version = "12.0.64.1551".into());
    let mut control = Control::open(server.port());
    for (name, computer, version) in [("old", old, "12.0"), ("modern", modern, "16.1.25")] {
        let on_lan = OnLan::serve(computer);
        let answer = control.ask(&json!({"action": "addamtdevice", "meshid": group,
            "devicename": name, "hostname": on_lan.address.to_string(), "amtusername": "admin",
            "amtpassword": SECRET, "amttls": 0, "responseid": "R"}));
        assert_eq!(answer["result"], "ok");
        let device = server
            .meshctrl()
            .wait_for_device("is there", |device| device["name"] == name && device["conn"] == 4);
        // Present, until its firmware was asked for more.
        assert!(device["pwr"] == 7 || device["pwr"] == 1, "{device}");
        assert_eq!((&device["mtype"], &device["intelamt"]["state"]), (&json!(1), &json!(2)));
        let known = device["intelamt"]["ver"].as_str().expect("it says its version");
        assert!(known.starts_with(version), "{device}");
        // It is managed from here on.
        on_lan.computer.wait_for_done("AMT_GeneralSettings.Get");
        assert_eq!(seen(&on_lan, &Seen::WrongPassword), 0);
    }
}
