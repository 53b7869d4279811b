//! Intel AMT on the local network, which is here a handful of loopback addresses.

mod common;

use common::amt::{Computer, OnLan, PASSWORD as SECRET, Seen};
use common::viewer::Control;
use common::{ADMIN, Meshboard, PASSWORD, Server, StockServer, ports};
use serde_json::{Value, json};
use std::net::TcpStream;

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
    // Who answers no ping has a web server, and so says its version who tells none in a ping.
    let (modern, silent) = (network[0].address, network[2].address);
    for address in [modern, silent] {
        let range = format!("{address}/32");
        control.say(&json!({"action": "scanamtdevice", "range": range, "tcp": true}));
        let results = &control.event("scanamtdevice")["results"];
        let found = &results[address.to_string()];
        assert_eq!((&found["ver"], &found["state"]), (&json!("16.1.25"), &json!(2)), "{results}");
    }
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

/// What is different in a mode.
#[derive(Clone, Debug, PartialEq)]
struct Mode {
    /// Of the bits WAN only, LAN only and no CIRA in `features`.
    features: u64,
    /// Whether the port of Intel AMT is open.
    mps: bool,
    /// Answers to new groups of local devices: without a relay device, and with one.
    local_group: Value,
    relayed_group: Value,
    /// Whether Intel AMT devices can be added.
    devices: bool,
    /// Whether the network is scanned.
    scans: bool,
    /// Whether agents look for the server on their network, and past any proxy.
    local_agents: bool,
    direct_agents: bool,
}

/// Looks at a server.
fn mode(server: &dyn Server, mps: u16) -> Mode {
    let features = server.meshctrl().server_info("features");
    let features: u64 = features.parse().expect("a number");
    let mut control = Control::open(server.port());
    let mut group = |name: &str, kind: u8, more: Value| {
        let mut request = json!({"action": "createmesh", "meshname": name, "meshtype": kind,
            "responseid": name});
        more.as_object().into_iter().flatten().for_each(|(k, v)| request[k] = v.clone());
        control.ask(&request)
    };
    let amt = group("amt", 1, json!({}))["meshid"].clone();
    let agents = group("agents", 2, json!({}))["meshid"].as_str().expect("an id").to_owned();
    let local_group = group("local", 3, json!({}))["result"].clone();
    // That this is no device is another reason than the mode.
    let relayed = group("relayed", 3, json!({"relayid": format!("node//{}", "A".repeat(64))}));
    control.say(&json!({"action": "addamtdevice", "meshid": amt, "devicename": "pc",
        "hostname": "127.102.0.1", "amtusername": "", "amtpassword": "", "amttls": 0,
        "responseid": "add"}));
    control.say(&json!({"action": "scanamtdevice", "range": "127.102.0.256"}));
    control.say(&json!({"action": "nodes", "responseid": "nodes"}));
    let (mut devices, mut scans) = (false, false);
    let mut heard = |message: &Value| {
        devices |= message["responseid"] == "add" && message["result"] == "ok";
        // Neither server knows such an address, but only ours says so by itself.
        scans |= message["event"]["action"] == "scanamtdevice";
        (devices, scans)
    };
    let (is_wan, is_lan) = (features & 1 != 0, features & 2 != 0);
    let calm = std::cell::RefCell::new(&mut heard);
    control.wait_for(|message| {
        let heard = (calm.borrow_mut())(message);
        if is_wan { message["responseid"] == "nodes" } else { heard == (true, true) }
    });
    let settings = server.settings_file(&agents);
    let settings = String::from_utf8(settings).expect("settings are text");
    let local_agents = settings.contains("\r\nMeshServer=local\r\n");
    let url = format!("\r\nMeshServer=wss://127.0.0.1:{}/agent.ashx\r\n", server.port());
    assert!(local_agents == is_lan && (local_agents || settings.contains(&url)), "{settings}");
    Mode {
        features: features & 0x403,
        mps: TcpStream::connect(("127.0.0.1", mps)).is_ok(),
        local_group,
        relayed_group: json!(relayed["result"] == "Invalid group type"),
        devices,
        scans,
        local_agents,
        direct_agents: settings.contains("\r\nignoreProxyFile=1\r\n"),
    }
}

#[test]
fn modes_change_what_they_change_in_meshcentral() {
    let hybrid = Mode {
        features: 0,
        mps: true,
        local_group: json!("ok"),
        relayed_group: json!(false),
        devices: true,
        scans: true,
        local_agents: false,
        direct_agents: false,
    };
    let wan = Mode {
        features: 0x1,
        local_group: json!("Invalid group type"),
        devices: false,
        scans: false,
        ..hybrid.clone()
    };
    let lan = Mode {
        features: 0x402,
        mps: false,
        relayed_group: json!(true),
        local_agents: true,
        direct_agents: true,
        ..hybrid.clone()
    };
    for (wan_only, lan_only, expected) in
        [(false, false, &hybrid), (true, false, &wan), (false, true, &lan), (true, true, &lan)]
    {
        let (ours, theirs) = (ports::free(), ports::free());
        // Without the multicast scanner the stock server stays on the loopback.
        let settings = |mps: u16| {
            json!({ "settings": { "WANonly": wan_only, "LANonly": lan_only, "mpsPort": mps,
                "meshScanner": false } })
        };
        let server = Meshboard::start_with(&settings(ours));
        server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
        assert_eq!(&mode(&server, ours), expected, "ours {wan_only} {lan_only}");
        if wan_only && lan_only {
            continue;
        }
        let server = StockServer::start_with(&settings(theirs));
        assert_eq!(&mode(&server, theirs), expected, "the stock server {wan_only} {lan_only}");
    }
}
