//! The simulated Intel AMT firmware is taken for real by the stock server, which manages it through
//! CIRA; and it refuses what real firmware refuses. Only that makes it a witness for ours.

mod common;
#[path = "amt_simulator/reading.rs"]
mod reading;

use common::amt::client::{Client, Redirected, request};
use common::amt::{ADMIN as USER, PASSWORD as SECRET};
use common::amt::{Computer, Connection, Element, Firmware, Input, Nonces, OnLan, Protocol, Seen};
use common::cira::{self, Door, Live};
use common::viewer::{Control, Viewer};
use common::{Meshboard, Process, Server, StockServer, installation, ports};
use serde_json::{Value, json};

const MPS_PASSWORD: &str = "P@ssw0rd1";
const UUID: &str = "4c4c4544-004b-4210-8033-b6c04f504633";

/// The stock server with a group for Intel AMT; the door and the user name of its computers.
fn stock_server() -> (StockServer, Door, String, String) {
    let mps = ports::free();
    let accounts = json!([{ "user": USER, "pass": SECRET }]);
    let server = StockServer::start_with(&json!({
        "settings": { "mpsPort": mps, "mpsPass": MPS_PASSWORD },
        "domains": { "": { "amtManager": { "adminAccounts": accounts } } },
    }));
    let answer = server.meshctrl().run(&["adddevicegroup", "--name", "amt", "--amtonly"]);
    let group = answer.trim().strip_prefix("ok ").expect("a group was made").to_owned();
    let user = group.trim_start_matches("mesh//").replace(['@', '$'], "X")[..16].to_owned();
    let door = Door { mps, https: server.port() };
    (server, door, group, user)
}

#[test]
fn the_stock_server_manages_it_through_cira() {
    let (server, door, group, user) = stock_server();
    // Redirection is off until somebody sets it up.
    let computer = Computer::new();
    computer.firmware(|firmware| {
        firmware.instance("AMT_RedirectionService").set("ListenerEnabled", "false");
        firmware.instance("AMT_RedirectionService").set("EnabledState", 32768);
        firmware.clock = -5000;
    });
    let mut control = Control::open(door.https);
    control.say(&json!({"action": "meshamtpolicy", "meshid": group,
        "amtpolicy": {"type": 2, "password": SECRET, "cirasetup": 0}}));
    // Who hangs up too early may not have been heard.
    control.wait_for(|message| message["event"]["msgid"] == 141);
    let live = Live::connect_computer(door, UUID, (&user, MPS_PASSWORD), &computer);
    live.wait_for(|seen| *seen == cira::Seen::Ready);
    // The last thing it reads.
    computer.wait_for_done("IPS_PowerManagementService.Get");
    computer.firmware(|firmware| {
        assert!(!firmware.seen.contains(&Seen::Parallel), "{:#?}", firmware.seen);
        assert!(firmware.clock.abs() < 10, "it sets the clock: {}", firmware.clock);
        assert!(firmware.listens_for(Protocol::Sol) && firmware.listens_for(Protocol::Kvm));
        // It tries to delete every certificate; the one that is in use stays.
        let tolerated = |of: &str| of == "AMT_PublicKeyCertificate.Delete";
        let faults: Vec<_> = firmware
            .seen
            .iter()
            .filter(|seen| matches!(seen, Seen::Fault(of, _) if !tolerated(of)))
            .collect();
        assert_eq!(faults, Vec::<&Seen>::new());
    });
    let device = server.meshctrl().wait_for_device("was read", |device| {
        device["intelamt"]["state"] == 2 && device["pwr"] == 1
    });
    assert_eq!(device["intelamt"]["flags"], 4, "admin control mode: {device}");
    let id = device["_id"].as_str().expect("an id is text");
    let info = server.meshctrl().run(&["deviceinfo", "--id", id]);
    for read in ["NUC9V7QNB", "QNCFLX70.0054.2020.0810.2227", "16384"] {
        assert!(info.contains(read), "{read} in {info}");
    }
    server.meshctrl().run(&["devicepower", "--id", id, "--amtreset"]);
    computer.wait_for("was reset", |f| f.seen.contains(&Seen::Power(10)).then_some(()));
    computer.wait_for("booted", |firmware| (firmware.boots.len() == 1).then_some(()));
}

/// What the two servers leave in different states, and why.
const LEFT_DIFFERENT: &[(&str, &str)] = &[(
    "AMT_TLSCredentialContext",
    "the collection goes by the name firmware lists, which MeshCentral writes with one blank less",
)];

/// From within a computer both servers do everything their policies can: TLS with a certificate of
/// their own, a wireless network, where the firmware calls, and what people may do through it.
#[test]
fn both_servers_set_a_computer_up_alike_from_within() {
    let networks = json!([{"name": "w1", "ssid": "corp", "authentication": "wpa2-psk",
        "encryption": "ccmp-aes", "password": "secretpass"}]);
    let configuration = |mps: u16| {
        json!({
            "settings": { "mpsPort": mps, "mpsPass": MPS_PASSWORD },
            "domains": { "": { "amtManager": { "wifiProfiles": networks } } },
        })
    };
    let (first, second) = (ports::free(), ports::free());
    let stock = StockServer::start_with(&configuration(first));
    let ours = Meshboard::start_complete_with(&configuration(second));
    let stock_door = Door { mps: first, https: stock.port() };
    let our_door = Door { mps: second, https: ours.port() };
    let begin = |server: &dyn Server, door: Door| {
        let computer = Computer::new();
        computer.firmware(|firmware| {
            firmware.instance("AMT_RedirectionService").set("ListenerEnabled", "false");
            firmware.instance("AMT_RedirectionService").set("EnabledState", 32768);
            firmware.instance("AMT_UserInitiatedConnectionService").set("EnabledState", 32768);
            firmware.clock = -50;
        });
        let user =
            group_with(server, door, &json!({"type": 2, "password": SECRET, "cirasetup": 2}));
        let report = json!({
            "OsHostname": "pc1", "OsDnsSuffix": "corp.local", "UUID": UUID, "Flags": 4,
            "ProvisioningState": 2, "Versions": {"AMT": "16.1.25", "Sku": "16392"},
            "amtuser": USER, "amtpass": SECRET, "core-ver": 1,
        });
        let login = (&*user, MPS_PASSWORD);
        let live = Live::connect_program(door, UUID, login, &computer, &report.to_string());
        (computer, live)
    };
    let (of_stock, stock_live) = begin(&stock, stock_door);
    let (of_ours, our_live) = begin(&ours, our_door);
    let states = [(of_stock, stock_live), (of_ours, our_live)].map(|(computer, live)| {
        // The last thing either says.
        live.wait_for(|seen| matches!(seen, cira::Seen::Json(json) if json.contains("close")));
        computer.firmware(|firmware| {
            assert!(!firmware.seen.contains(&Seen::Parallel), "{:#?}", firmware.seen);
            assert!(firmware.tls.is_some() && firmware.clock.abs() < 10);
            set_up_state(firmware)
        })
    });
    let [of_stock, of_ours] = states;
    let classes: std::collections::BTreeSet<_> = of_stock.keys().chain(of_ours.keys()).collect();
    let differ = classes.into_iter().filter(|class| of_stock.get(*class) != of_ours.get(*class));
    let differ: Vec<&str> = differ.map(String::as_str).collect();
    let meant: Vec<&str> = LEFT_DIFFERENT.iter().map(|(class, _)| *class).collect();
    assert_eq!(differ, meant, "stock: {of_stock:#?}\nours: {of_ours:#?}");
    assert_eq!(of_ours["AMT_ManagementPresenceRemoteSAP"].len(), 1, "{of_ours:#?}");
    for (server, what) in [(&stock as &dyn Server, "stock"), (&ours, "ours")] {
        let device = server.meshctrl().wait_for_device("is known", |d| d["intelamt"]["tls"] == 1);
        let amt = &device["intelamt"];
        assert_eq!((&amt["mpspass"], &amt["state"]), (&json!(1), &json!(2)), "{what}: {amt}");
        assert_eq!(amt["host"], "pc1.corp.local", "{what}: {amt}");
    }
}

/// A group with this policy; the user name of its computers.
fn group_with(server: &dyn Server, door: Door, policy: &Value) -> String {
    let answer = server.meshctrl().run(&["adddevicegroup", "--name", "amt", "--amtonly"]);
    let group = answer.trim().strip_prefix("ok ").expect("a group was made").to_owned();
    let mut control = Control::open(door.https);
    control.say(&json!({"action": "meshamtpolicy", "meshid": group, "amtpolicy": policy}));
    // Who hangs up too early may not have been heard.
    control.wait_for(|message| message["event"]["msgid"] == 141);
    cira::user_of(&group)
}

/// What firmware is, by class, without what is another each time: keys, names and numbers of things
/// that were made, ports of the test.
fn set_up_state(firmware: &Firmware) -> std::collections::BTreeMap<String, Vec<String>> {
    const FREE: [&str; 11] = [
        "AccessInfo",
        "Address",
        "CN",
        "ConfigurationNonce",
        "DERKey",
        "InstanceID",
        "Issuer",
        "Port",
        "RemoteID",
        "Subject",
        "X509Certificate",
    ];
    fn flat(element: &Element, out: &mut String) {
        out.push_str(&element.name);
        let is_made = element.text.contains("Handle: ");
        if !is_made && !FREE.contains(&&*element.name) {
            out.push_str(&format!("={}", element.text));
        }
        for child in &element.children {
            out.push(' ');
            flat(child, out);
        }
    }
    let mut classes = std::collections::BTreeMap::<String, Vec<String>>::new();
    for instance in &firmware.instances {
        let mut text = String::new();
        flat(instance, &mut text);
        classes.entry(instance.name.clone()).or_default().push(text);
    }
    classes.values_mut().for_each(|all| all.sort());
    classes
}

/// The server proves who the user is, so the viewer says a user of its own, and no password.
#[test]
fn the_stock_server_relays_its_serial_line() {
    let (server, door, _, user) = stock_server();
    let computer = Computer::new();
    let live = Live::connect_computer(door, UUID, (&user, MPS_PASSWORD), &computer);
    live.wait_for(|seen| *seen == cira::Seen::Ready);
    computer.wait_for_done("IPS_PowerManagementService.Get");
    let device = server.meshctrl().wait_for_device("was read", |device| device["conn"] == 2);
    let id = device["_id"].as_str().expect("an id is text");
    let cookie = Control::open(door.https).cookies().auth;
    let path = format!("/webrelay.ashx?p=2&host={id}&port=16994&tls=0&auth={cookie}");
    let mut viewer = Viewer::open(door.https, &path, None);
    let frames: Value = serde_json::from_str(include_str!("vectors/redir-handshake.json"))
        .expect("the vectors are JSON");
    let sent = |name: &str, nth: usize| -> Vec<u8> {
        let all = frames["sol"].as_array().into_iter().flatten();
        let hex = all.filter(|frame| frame["name"] == name).nth(nth).expect("it is recorded");
        data_encoding::HEXLOWER.decode(hex["hex"].as_str().expect("hex").as_bytes()).expect("hex")
    };
    viewer.binary(&sent("StartRedirectionSession", 0));
    assert_eq!(viewer.bytes(13)[..2], [0x11, 0]);
    viewer.binary(&sent("AuthenticateSession type 0", 0));
    assert_eq!(viewer.bytes(10)[9], 4);
    viewer.binary(&sent("AuthenticateSession type 4", 0));
    let challenge = viewer.bytes(9 + 0x4e);
    assert_eq!(challenge[..5], [0x14, 1, 0, 0, 4]);
    // Whatever digest the viewer sends: this one is of another challenge.
    viewer.binary(&sent("AuthenticateSession type 4", 1));
    assert_eq!(viewer.bytes(9), [0x14, 0, 0, 0, 4, 0, 0, 0, 0]);
    computer.wait_for("a session", |f| f.seen.contains(&Seen::Opened(Protocol::Sol)).then_some(()));
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hex");
    viewer.binary(&hex("200000000100000010276400000010276400000000000000"));
    viewer.output_with("Hello SOL");
    viewer.binary(&hex("28000000020000000300"));
    viewer.binary(b"ls\r");
    viewer.output_with("ls\r\n");
    assert_eq!(computer.firmware(|firmware| firmware.typed.clone()), b"ls\r");
    viewer.close();
    computer.wait_for("its end", |f| f.seen.contains(&Seen::Closed(Protocol::Sol)).then_some(()));
}

/// MeshCentral's own module serves a disc and a floppy; the computer reads every sector of both, and
/// may write to neither.
#[test]
fn meshcentrals_own_drives_are_read_to_their_ends() {
    let lan = OnLan::serve(Computer::new());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = |name: &str, sectors: usize, size: usize| {
        let content: Vec<u8> =
            (0..sectors * size).map(|at| (at / size * 7 + at % 251) as u8).collect();
        let file = folder.path().join(name);
        std::fs::write(&file, &content).expect("the folder is ours");
        (file, content)
    };
    let (disc, floppy) = (image("disc.iso", 45, 2048), image("floppy.img", 2880, 512));
    let runner = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/ider.js");
    let _process = Process::start("node", |command| {
        command.arg(runner).arg(installation::folder()).arg(lan.address.to_string());
        command.args([USER, SECRET]).arg(&disc.0).arg(&floppy.0);
    });
    lan.computer.wait_for("read everything", |firmware| firmware.ider.complete.then_some(()));
    lan.computer.firmware(|firmware| {
        assert_eq!(firmware.ider.sectors, [45, 2880]);
        assert!(firmware.ider.disc == disc.1 && firmware.ider.floppy == floppy.1);
        assert_eq!(firmware.ider.refused, [[7, 0x27, 0]; 2], "write protected");
    });
}

/// The recorded session of a viewer: picture, key, changed picture.
#[test]
fn its_screen_is_looked_at_and_typed_at() {
    let computer = Computer::new();
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hex");
    let mut session = Redirected::begin(&computer, b"\x10\x01\0\0KVMR");
    assert_eq!(session.say(&hex("4000000000000000")), b"\x41\0\0\0\0\0\0\0RFB 004.000\n");
    assert_eq!(session.say(b"RFB 003.008\n"), [1, 1]);
    assert_eq!(session.say(&[1]), [0; 4]);
    let init = session.say(&[1]);
    assert_eq!(init[4..20], hex("10100001001f003f001f0b0500000000"));
    assert_eq!(init[24..], *b"Intel(r) AMT KVM");
    // Encodings and pixels as noVNC wants them: one byte, three shades of each colour.
    session.say(&hex("0200000200000000ffffff21"));
    session.say(&hex("0000000008080001000300030003000204000000"));
    let whole = session.say(&hex("030000000000014000c8"));
    let pixels = |update: &[u8]| -> Vec<u8> {
        let (mut rest, mut pixels) = (&update[4..], Vec::new());
        while let Some((head, tail)) = rest.split_at_checked(12) {
            let of = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
            let (data, tail) = tail.split_at(of(4) * of(6));
            pixels.extend_from_slice(data);
            rest = tail;
        }
        pixels
    };
    let picture = pixels(&whole);
    assert_eq!(picture.len(), 320 * 200);
    assert_eq!((picture[0], picture[319]), (0, 0b11_1111), "from black to white");
    assert_eq!(session.say(&hex("030100000000014000c8")), b"");
    let changed = session.say(&hex("0401000000000061"));
    assert_ne!(pixels(&changed)[0], 0, "the square of a key");
    session.say(&hex("050101020033"));
    computer.firmware(|firmware| {
        let pointer = Input::Pointer { buttons: 1, x: 0x102, y: 0x33 };
        assert_eq!(firmware.input, [Input::Key { down: true, keysym: 0x61 }, pointer]);
        // Thirty-two bits a pixel end the session.
        assert_eq!(firmware.sessions, [Protocol::Kvm]);
    });
    session.say(&hex("000000002018000100ff00ff00ff100800000000"));
    assert_eq!(computer.firmware(|firmware| firmware.sessions.len()), 0);
}

/// Every request the stock server was seen to make gets an answer of the recorded kind.
#[test]
fn recorded_requests_are_answered_as_recorded() {
    let vectors = include_str!("vectors/wsman-exchanges.json");
    let vectors: Value = serde_json::from_str(vectors).expect("the vectors are JSON");
    let computer = Computer::new();
    computer.firmware(|firmware| {
        firmware.instance("AMT_RemoteAccessPolicyRule").set("PolicyRuleName", "User Initiated");
    });
    let mut client = Client::new(&computer);
    let mut context = String::new();
    for exchange in vectors["exchanges"].as_array().expect("a list") {
        let step = exchange["step"].as_str().expect("a name");
        let text = |name: &str| exchange[name].as_str().expect("a text").to_owned();
        // Contexts are what firmware says they are.
        let request = text("request_xml");
        let request = match request.split_once("<EnumerationContext>") {
            Some((head, tail)) => {
                let (_, tail) = tail.split_once('<').expect("it is closed");
                format!("{head}<EnumerationContext>{context}<{tail}")
            }
            None => request,
        };
        let (status, answer) = client.ask(&request);
        assert_eq!(json!(status), exchange["http_status"], "{step}: {answer}");
        if let Some((_, tail)) = answer.split_once("EnumerationContext>") {
            context = tail.split('<').next().unwrap_or_default().to_owned();
        }
        // What was recorded there was made up, or differs with what was set up before.
        if !["optin-send", "put-tls-selector"].contains(&step) {
            let (ours, recorded) = (shape(&answer), shape(&text("response_xml")));
            let missing: Vec<_> = recorded.iter().filter(|name| !ours.contains(name)).collect();
            assert_eq!(missing, Vec::<&String>::new(), "{step}: {answer}");
        }
    }
}

/// The names in the body of an answer, each once and in no order: how many of a kind there are, and
/// what is empty, is the business of a computer.
fn shape(answer: &str) -> Vec<String> {
    let envelope = Element::parse(answer).expect("it is XML");
    let body = envelope.get("Body").expect("an envelope has a body");
    let mut names = Vec::new();
    let mut waiting: Vec<_> = body.children.iter().collect();
    while let Some(element) = waiting.pop() {
        names.push(format!("{{{}}}{}", element.ns, element.name));
        waiting.extend(&element.children);
    }
    names.sort();
    names.dedup();
    names
}

#[test]
fn what_firmware_cannot_bear_is_refused() {
    let general = request("AMT_GeneralSettings", "Get", None, "");
    // Two at a time.
    let computer = Computer::new();
    computer.firmware(|firmware| {
        let mut first = Connection::open(firmware, 16992).expect("it listens");
        let mut second = Connection::open(firmware, 16992).expect("it listens");
        first.receive(firmware, b"POST /wsman HT");
        second.receive(firmware, b"P");
        assert!(second.ended() && !first.ended());
        assert_eq!(firmware.seen, [Seen::Parallel]);
        first.end(firmware);
        let mut third = Connection::open(firmware, 16992).expect("it listens");
        third.receive(firmware, b"POST /wsman HT");
        assert!(!third.ended());
    });
    // The wrong password, and the right one.
    let mut client = Client::new(&Computer::new());
    client.password = "P@ssw0rt";
    assert_eq!(client.ask(&general).0, 401);
    client.password = SECRET;
    assert_eq!(client.ask(&general).0, 200);
    for (why, body) in [
        (
            "a parameter out of order",
            request(
                "AMT_TimeSynchronizationService",
                "SetHighAccuracyTimeSynch",
                None,
                &["Tm1", "Ta0", "Tm2"].map(|name| format!("<r:{name}>1</r:{name}>")).concat(),
            ),
        ),
        (
            "a read-only property",
            request(
                "AMT_BootSettingData",
                "Put",
                None,
                "<r:InstanceID>Intel(r) AMT:BootSettingData 0</r:InstanceID>\
             <r:OptionsCleared>true</r:OptionsCleared>",
            ),
        ),
        (
            "half of an object",
            request(
                "AMT_RedirectionService",
                "Put",
                None,
                "<r:EnabledState>32771</r:EnabledState>",
            ),
        ),
        ("another instance", request("AMT_TLSSettingData", "Get", Some("Nobody's"), "")),
        ("no instance of two", request("AMT_TLSSettingData", "Get", None, "")),
        ("header fields out of order", general.replace("<a:To>/wsman</a:To>", "")),
        ("a class it does not have", general.replace("GeneralSettings", "SpecialSettings")),
    ] {
        let (status, answer) = client.ask(&body);
        assert_eq!(status, 400, "{why}: {answer}");
        assert!(answer.contains("Fault"), "{why}: {answer}");
    }
}

#[test]
fn a_nonce_that_is_used_up_is_stale() {
    let mut firmware = Firmware::new("15.0.1", USER, SECRET);
    firmware.nonces = Nonces::new(2);
    let computer = Computer::with(firmware);
    let mut client = Client::new(&computer);
    let general = request("AMT_GeneralSettings", "Get", None, "");
    for _ in 0..5 {
        assert_eq!(client.ask(&general).0, 200);
    }
    assert_eq!(client.stale, 2, "after the second and the fourth");
}

#[test]
fn on_the_lan_it_answers_pings_and_shows_its_version() {
    let lan = OnLan::serve(Computer::new());
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    let vectors: Value = serde_json::from_str(include_str!("vectors/activation-rmcp.json"))
        .expect("the vectors are JSON");
    let ping = vectors["ping"][2]["hex"].as_str().expect("hex");
    let ping = data_encoding::HEXLOWER.decode(ping.as_bytes()).expect("hex");
    socket.send_to(&ping, (lan.address, 623)).expect("it is sent");
    let mut pong = [0; 64];
    let (length, from) = socket.recv_from(&mut pong).expect("it is answered");
    assert_eq!((length, from.ip()), (28, std::net::IpAddr::V4(lan.address)));
    assert_eq!(pong[8..10], [0x40, 23]);
    let mut stream = std::net::TcpStream::connect((lan.address, 16992)).expect("it listens");
    use std::io::{Read as _, Write as _};
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
    let mut head = [0; 256];
    let count = stream.read(&mut head).expect("it answers");
    let head = String::from_utf8_lossy(&head[..count]);
    assert!(head.contains("Server: Intel(R) Active Management Technology 16.1.25.1865"), "{head}");
}
