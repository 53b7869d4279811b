//! Intel AMT as people use it: simulated firmware calls in, and `meshctrl` reads, switches and starts
//! its computer; the same against the stock server where that does it, too.

mod common;

use common::amt::{ADMIN, Computer, Element, PASSWORD, Protocol, Seen, md5};
use common::cira::{self, Door, Live};
use common::viewer::Control;
use common::{Meshboard, Server, StockServer, ports};
use serde_json::{Value, json};

const MPS_PASSWORD: &str = "P@ssw0rd1";
const UUID: &str = "4c4c4544-004b-4210-8033-b6c04f504633";

fn settings(mps: u16) -> Value {
    json!({ "mpsPort": mps, "mpsPass": MPS_PASSWORD })
}

fn meshboard() -> (Meshboard, Door) {
    let mps = ports::free();
    let server = Meshboard::start_complete_with(&json!({ "settings": settings(mps) }));
    let door = Door { mps, https: server.port() };
    (server, door)
}

mod at_meshcentral {
    use super::*;

    #[test]
    fn a_computer_that_calls_in_is_set_up_read_and_reset() {
        let mps = ports::free();
        let server = StockServer::start_with(&json!({ "settings": settings(mps) }));
        let door = Door { mps, https: server.port() };
        super::a_computer_that_calls_in_is_set_up_read_and_reset(&server, door);
    }
}

mod at_meshboard {
    use super::*;

    #[test]
    fn a_computer_that_calls_in_is_set_up_read_and_reset() {
        let (server, door) = meshboard();
        super::a_computer_that_calls_in_is_set_up_read_and_reset(&server, door);
    }
}

/// A computer of a group with this policy; its device when `wanted` is true of it.
fn called_in(
    server: &dyn Server,
    door: Door,
    computer: &Computer,
    policy: Value,
    wanted: impl Fn(&Value) -> bool,
) -> (Live, String, Value) {
    let answer = server.meshctrl().run(&["adddevicegroup", "--name", "amt", "--amtonly"]);
    let group = answer.trim().strip_prefix("ok ").expect("a group was made").to_owned();
    let user = group.trim_start_matches("mesh//").replace(['@', '$'], "X")[..16].to_owned();
    let request = json!({"action": "meshamtpolicy", "meshid": group, "amtpolicy": policy});
    let mut control = Control::open(door.https);
    control.say(&request);
    // Who hangs up too early may not have been heard.
    control.wait_for(|message| message["event"]["msgid"] == 141);
    let live = Live::connect_computer(door, UUID, (&user, MPS_PASSWORD), computer);
    live.wait_for(|seen| *seen == cira::Seen::Ready);
    let device = server.meshctrl().wait_for_device("was read", wanted);
    let id = device["_id"].as_str().expect("an id is text").to_owned();
    (live, id, device)
}

fn policy() -> Value {
    json!({"type": 2, "password": PASSWORD, "cirasetup": 0})
}

fn is_read(device: &Value) -> bool {
    device["intelamt"]["flags"] == 4 && device["pwr"] == 1
}

fn a_computer_that_calls_in_is_set_up_read_and_reset(server: &dyn Server, door: Door) {
    let computer = Computer::new();
    computer.firmware(|firmware| {
        firmware.instance("AMT_RedirectionService").set("ListenerEnabled", "false");
        firmware.instance("AMT_RedirectionService").set("EnabledState", 32768);
        firmware.clock = -5000;
    });
    let (_live, id, device) = called_in(server, door, &computer, policy(), is_read);
    computer.firmware(|firmware| {
        assert!(!firmware.seen.contains(&Seen::Parallel), "{:#?}", firmware.seen);
        assert!(firmware.clock.abs() < 10, "the clock is {} s wrong", firmware.clock);
        assert!(firmware.listens_for(Protocol::Sol) && firmware.listens_for(Protocol::Kvm));
    });
    let amt = &device["intelamt"];
    for (name, value) in [
        ("ver", json!("16.1.25")),
        ("state", json!(2)),
        ("user", json!(ADMIN)),
        ("pass", json!(1)),
        ("realm", json!("Digest:A4070000000000000000000000000001")),
    ] {
        assert_eq!(amt[name], value, "{name} of {amt}");
    }
    assert!(amt.get("warn").is_none(), "{amt}");
    let info = server.meshctrl().run(&["deviceinfo", "--id", &id]);
    for read in ["NUC9V7QNB", "QNCFLX70.0054.2020.0810.2227", "16384"] {
        assert!(info.contains(read), "{read} in {info}");
    }
    let said = server.meshctrl().run(&["devicepower", "--id", &id, "--amtreset"]);
    assert_eq!(said.trim(), "ok");
    computer.wait_for("was reset", |f| f.seen.contains(&Seen::Power(10)).then_some(()));
    computer.wait_for("booted", |firmware| (firmware.boots.len() == 1).then_some(()));
}

// What only ours does.

#[test]
fn a_group_without_a_policy_gets_nothing_changed_and_an_unknown_login_is_said() {
    let (server, door) = meshboard();
    let computer = Computer::new();
    let before = computer.firmware(|firmware| format!("{:?}", firmware.instances));
    let connected = |device: &Value| device["conn"] == 2;
    let policy = json!({"type": 0});
    let (_live, id, _) = called_in(&server, door, &computer, policy, connected);
    let mut control = Control::open(door.https);
    let power = |control: &mut Control| {
        let answer = control.ask(&json!({"action": "poweraction", "nodeids": [id],
            "actiontype": 310, "responseid": "R"}));
        answer["result"].as_str().expect("a result is text").to_owned()
    };
    assert_eq!(power(&mut control), "The login to Intel AMT is not known");
    control.say(&json!({"action": "changedevice", "nodeid": id,
        "intelamt": {"user": ADMIN, "pass": "Wr0ng!pass", "tls": 0}}));
    server.meshctrl().wait_for_device("is warned of", |d| d["intelamt"]["warn"] == 1);
    assert!(power(&mut control).contains("does not accept user name and password"));
    control.say(&json!({"action": "changedevice", "nodeid": id,
        "intelamt": {"user": ADMIN, "pass": PASSWORD, "tls": 0}}));
    server.meshctrl().wait_for_device("was read", is_read);
    computer.firmware(|firmware| {
        assert_eq!(format!("{:?}", firmware.instances), before);
        assert!(!firmware.seen.contains(&Seen::Parallel), "{:#?}", firmware.seen);
    });
}

#[test]
fn what_the_firmware_knows_is_read_and_consent_comes_before_a_start() {
    let (server, door) = meshboard();
    let computer = Computer::new();
    let (_live, id, _) = called_in(&server, door, &computer, policy(), is_read);
    let mut control = Control::open(door.https);
    let mut read = |what: &str| {
        let answer = control.ask(&json!({"action": "amtread", "nodeid": id, "what": what}));
        assert!(answer.get("result").is_none(), "{what}: {answer}");
        answer["value"].clone()
    };
    assert_eq!(read("power")["pwr"], 1);
    assert_eq!(read("hardware")["identifiers"]["board_name"], "NUC9V7QNB");
    assert_eq!(read("network")["Ethernet"][0]["mac"], "00:BE:43:D8:22:A4");
    assert_eq!(read("software")["AMT"], "16.1.25");
    assert_eq!(read("users")[1]["name"], "$$uns");
    assert_eq!(read("events")[0]["text"], "Authentication failed 10 times");
    assert_eq!(read("audit")[0]["text"], "Firmware updated");
    computer.firmware(|firmware| {
        firmware.client_control();
        assert!(!firmware.seen.iter().any(|seen| matches!(seen, Seen::Fault(..))));
    });
    let boot = json!({"action": "amtboot", "nodeid": id, "target": "setup", "responseid": "R"});
    let refused = control.ask(&boot);
    let words = refused["result"].as_str().expect("a result is text");
    assert!(words.contains("has to consent first"), "{refused}");
    assert_eq!(computer.firmware(|firmware| firmware.boots.len()), 0);
    let mut consent = |verb: &str, code: &str| {
        control.ask(&json!({"action": "amtconsent", "nodeid": id, "verb": verb, "code": code,
            "responseid": "R"}))
    };
    assert_eq!(consent("ask", "")["result"], "ok");
    assert_ne!(consent("give", "000000")["result"], "ok");
    let code = computer.firmware(|firmware| format!("{:06}", firmware.consent_code));
    let given = consent("give", &code);
    assert_eq!((&given["result"], &given["consent"]["state"]), (&json!("ok"), &json!(3)));
    assert_eq!(control.ask(&boot)["result"], "ok");
    let boot = computer.wait_for("booted", |firmware| firmware.boots.first().cloned());
    assert!(boot.settings.contains(&"BIOSSetup".to_owned()), "{boot:?}");
}

#[test]
fn what_people_set_is_so_in_the_firmware_and_the_login_follows() {
    let (mut server, door) = meshboard();
    let computer = Computer::new();
    let realm = computer.firmware(|firmware| {
        firmware.clock = -5000;
        firmware.instance("AMT_BootCapabilities").set("ForceUEFIHTTPSBoot", "true");
        for (class, properties) in [
            ("CIM_BootSourceSetting", [("InstanceID", "Intel(r) AMT: Force OCR UEFI HTTPS Boot")]),
            ("AMT_PublicKeyCertificate", [("TrustedRootCertficate", "true")]),
        ] {
            firmware.instances.push(Element::instance(class, &properties));
        }
        let record = firmware.logs.1[0].clone();
        firmware.logs.1 = vec![record; 620];
        firmware.realm.clone()
    });
    let connected = |device: &Value| device["conn"] == 2;
    let policy = json!({"type": 0});
    let (_live, id, _) = called_in(&server, door, &computer, policy, connected);
    let mut control = Control::open(door.https);
    let login = json!({"user": ADMIN, "pass": PASSWORD, "tls": 0});
    control.say(&json!({"action": "changedevice", "nodeid": id, "intelamt": login}));
    server.meshctrl().wait_for_device("was read", is_read);
    let read = |control: &mut Control, what: &str| {
        let answer = control.ask(&json!({"action": "amtread", "nodeid": id, "what": what}));
        assert!(answer.get("result").is_none(), "{what}: {answer}");
        answer["value"].clone()
    };
    let set = |control: &mut Control, wish: Value| {
        let mut request = json!({"action": "amtset", "nodeid": id, "responseid": "R"});
        request.as_object_mut().expect("an object").extend(wish.as_object().expect("one").clone());
        let answer = control.ask(&request);
        assert_eq!(answer["result"], "ok", "{wish}");
    };
    let settings = read(&mut control, "settings");
    assert_eq!((&settings["desktop"], &settings["consent"]), (&json!(true), &json!("none")));
    assert_eq!(settings["cira"]["connected"], true);
    for wish in [
        json!({"what": "features", "serial": true, "storage": false, "desktop": false}),
        json!({"what": "consent", "require": "desktop"}),
        json!({"what": "clock"}),
        json!({"what": "name", "hostname": "pc-7", "domain": "lab.example.org"}),
        json!({"what": "user", "verb": "add", "name": "oper", "pass": "0per!Ator",
            "access": "network", "realms": [2, 5], "enabled": false}),
        json!({"what": "alarm", "verb": "add", "name": "wake", "start": 4_000_000_000_u64,
            "interval": 86_400, "remove": true}),
    ] {
        set(&mut control, wish);
    }
    let settings = read(&mut control, "settings");
    for (name, value) in [
        ("serial", json!(true)),
        ("storage", json!(false)),
        ("desktop", json!(false)),
        ("consent", json!("desktop")),
        ("hostname", json!("pc-7")),
        ("domain", json!("lab.example.org")),
    ] {
        assert_eq!(settings[name], value, "{name} of {settings}");
    }
    let user = json!({"handle": 2, "name": "oper", "access": "network", "realms": [2, 5],
        "enabled": false});
    assert_eq!(read(&mut control, "users")[2], user);
    let alarm = json!([{"name": "wake", "start": 4_000_000_020_u64, "interval": 86_400,
        "removed": true}]);
    assert_eq!(read(&mut control, "alarms"), alarm);
    assert_eq!(read(&mut control, "changes"), json!([]));
    computer.firmware(|firmware| firmware.instance("CIM_BIOSElement").set("Version", "NEW.1"));
    for wish in [
        json!({"what": "user", "verb": "change", "handle": 2, "pass": "0ther!Pass", "enabled": true}),
        json!({"what": "alarm", "verb": "remove", "name": "wake"}),
        json!({"what": "admin", "pass": "N3w!pass"}),
    ] {
        set(&mut control, wish);
    }
    // With the new login it is visited as for the first time. What is another one by then is written
    // down, and is known after a restart.
    control.event("sysinfohash");
    let changes = read(&mut control, "changes");
    assert_eq!(
        (&changes[0]["path"], &changes[0]["was"], &changes[0]["is"]),
        (&json!("bios_version"), &json!("QNCFLX70.0054.2020.0810.2227"), &json!("NEW.1"))
    );
    computer.firmware(|firmware| {
        assert!(firmware.clock.abs() < 10, "the clock is {} s wrong", firmware.clock);
        assert!(firmware.listens_for(Protocol::Sol) && !firmware.listens_for(Protocol::Kvm));
        let hashes = firmware.password_hashes();
        for (at, user, password) in [(0, ADMIN, "N3w!pass"), (1, "oper", "0ther!Pass")] {
            let hash = data_encoding::HEXLOWER.encode(&md5(&[user, &realm, password]));
            assert_eq!(hashes[at], (user.to_owned(), hash));
        }
        assert!(!firmware.seen.contains(&Seen::WrongPassword), "{:#?}", firmware.seen);
    });
    assert_eq!(read(&mut control, "alarms"), json!([]));
    assert_eq!(read(&mut control, "audit").as_array().map(Vec::len), Some(620));
    let boot = json!({"action": "amtboot", "nodeid": id, "target": "https", "responseid": "R",
        "url": "https://images.example.org/rescue.efi"});
    assert_eq!(control.ask(&boot)["result"], "ok");
    let boot = computer.wait_for("booted", |firmware| firmware.boots.first().cloned());
    assert_eq!(boot.source.as_deref(), Some("Intel(r) AMT: Force OCR UEFI HTTPS Boot"));
    server.stop();
    server.start_again();
    let mut control = Control::open(door.https);
    assert_eq!(read(&mut control, "changes"), changes);
}
