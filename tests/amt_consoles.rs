//! People at simulated firmware, through the delivered server: the stock pages' relay, our own
//! console, drives. The firmware is the one the stock server takes for real (`tests/amt_simulator.rs`).

mod common;

use std::fs;
use std::path::PathBuf;

use async_tungstenite::tungstenite::Message;
use common::amt::{Computer, Input, OnLan, Protocol, Seen};
use common::cira::{self, Door, Live};
use common::viewer::{Control, Viewer};
use common::{Meshboard, PATIENCE, Server, ports};
use serde_json::{Value, json};

/// Closing codes, as `docs/amt-consoles.md` has them.
const NO_RIGHT: u16 = 4001;
const UNREACHABLE: u16 = 4002;
const PASSWORD: u16 = 4003;
const BUSY: u16 = 4004;
const UNSUPPORTED: u16 = 4005;
const CONSENT: u16 = 4006;
const TOO_LARGE: u16 = 4007;
const CERTIFICATE: u16 = 4011;

/// A server and a computer with Intel AMT on its network.
struct House {
    server: Meshboard,
    lan: OnLan,
    group: String,
    device: String,
}

impl House {
    fn open() -> Self {
        Self::open_with(&json!({}))
    }

    fn open_with(domain: &Value) -> Self {
        let server = Meshboard::start_with(&json!({
            "settings": { "WANonly": false },
            "domains": { "": domain },
        }));
        server.command(&["user", "add", common::ADMIN, "--admin", "--password", common::PASSWORD]);
        let lan = OnLan::serve(Computer::new());
        let mut control = Control::open(server.port());
        let group = control.ask(&json!({"action": "createmesh", "meshname": "amt",
            "meshtype": 1, "responseid": "g"}));
        let group = group["meshid"].as_str().expect("a group was made").to_owned();
        let mut house = Self { server, lan, group, device: String::new() };
        house.device = house.add(common::amt::PASSWORD);
        house
    }

    /// Adds the computer as a device; its id.
    fn add(&self, password: &str) -> String {
        let mut control = Control::open(self.server.port());
        control.say(&json!({"action": "addamtdevice", "meshid": self.group, "devicename": "pc",
            "hostname": self.lan.address.to_string(), "amtusername": common::amt::ADMIN,
            "amtpassword": password, "amttls": 0}));
        let node = control.event("addnode")["node"]["_id"].clone();
        node.as_str().expect("an id is text").to_owned()
    }

    /// An account with these rights on the group.
    fn person(&self, name: &str, rights: u32) -> String {
        let mut control = Control::open(self.server.port());
        control.ask(&json!({"action": "adduser", "username": name, "pass": common::PASSWORD,
            "responseid": "u"}));
        self.entitle(name, rights);
        Control::open_as(self.server.port(), name, common::PASSWORD).cookies().auth
    }

    fn entitle(&self, name: &str, rights: u32) {
        Control::open(self.server.port()).ask(&json!({"action": "addmeshuser",
            "meshid": self.group, "userids": [format!("user//{name}")], "meshadmin": rights,
            "responseid": "r"}));
    }

    fn cookie(&self) -> String {
        Control::open(self.server.port()).cookies().auth
    }

    /// Opens a page as somebody.
    fn visit(&self, page: &str, device: &str, cookie: &str) -> Viewer {
        let mark = if page.contains('?') { '&' } else { '?' };
        let path = format!("/{page}{mark}host={device}&auth={cookie}");
        Viewer::open(self.server.port(), &path, None)
    }

    fn console(&self, p: u16) -> Viewer {
        self.visit(&format!("amtconsole.ashx?p={p}"), &self.device, &self.cookie())
    }

    fn computer(&self) -> &Computer {
        &self.lan.computer
    }

    fn wait_for_end(&self, protocol: Protocol) {
        let ended = |seen: &[Seen]| seen.contains(&Seen::Closed(protocol)).then_some(());
        self.computer().wait_for("the end", |firmware| ended(&firmware.seen));
    }
}

/// The code it is closed with, whatever is said before.
fn closed(mut viewer: Viewer) -> u16 {
    loop {
        match viewer.next_within(PATIENCE) {
            Some(Message::Close(Some(frame))) => return frame.code.into(),
            Some(_) => {}
            None => panic!("it is not closed with a reason"),
        }
    }
}

/// What clients said in recorded sessions.
fn recorded(name: &str, nth: usize) -> Vec<u8> {
    let frames: Value = serde_json::from_str(include_str!("vectors/redir-handshake.json"))
        .expect("the vectors are JSON");
    let all = frames["sol"].as_array().into_iter().flatten();
    let frame = all.filter(|frame| frame["name"] == name).nth(nth).expect("it is recorded");
    data_encoding::HEXLOWER.decode(frame["hex"].as_str().expect("hex").as_bytes()).expect("hex")
}

/// Lets a viewer that speaks redirection in, with a digest that proves nothing.
fn let_in(viewer: &mut Viewer, start: &[u8]) {
    viewer.binary(start);
    assert_eq!(viewer.bytes(13)[..2], [0x11, 0]);
    viewer.binary(&recorded("AuthenticateSession type 0", 0));
    assert_eq!(viewer.bytes(10)[9], 4);
    viewer.binary(&recorded("AuthenticateSession type 4", 0));
    assert_eq!(viewer.bytes(9 + 0x4e)[..5], [0x14, 1, 0, 0, 4]);
    viewer.binary(&recorded("AuthenticateSession type 4", 1));
    assert_eq!(viewer.bytes(9), [0x14, 0, 0, 0, 4, 0, 0, 0, 0]);
}

#[test]
fn a_stock_page_types_on_the_serial_line_without_the_password() {
    let house = House::open();
    let mut viewer =
        house.visit("webrelay.ashx?p=2&port=16994&tls=0", &house.device, &house.cookie());
    let_in(&mut viewer, &recorded("StartRedirectionSession", 0));
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hex");
    viewer.binary(&hex("200000000100000010276400000010276400000000000000"));
    viewer.output_with("Hello SOL");
    viewer.binary(&hex("28000000020000000300"));
    viewer.binary(b"ls\r");
    viewer.output_with("ls\r\n");
    assert_eq!(house.computer().firmware(|firmware| firmware.typed.clone()), b"ls\r");
    viewer.close();
    house.wait_for_end(Protocol::Sol);
}

#[test]
fn a_console_is_a_plain_serial_line_and_is_told_of_as_a_session() {
    let house = House::open();
    let mut control = Control::open(house.server.port());
    let mut console = house.console(1);
    let started = control.event("relaylog");
    assert_eq!((&started["protocol"], &started["msgid"]), (&json!(101), &json!(13)), "{started}");
    assert_eq!(started["nodeid"], json!(house.device));
    console.output_with("Hello SOL");
    console.binary(b"ls\r");
    console.output_with("ls\r\n");
    console.close();
    let ended = control.event("relaylog");
    assert_eq!(ended["msgid"], 9);
    assert!(ended["bytesin"].as_u64() > Some(20), "{ended}");
    house.wait_for_end(Protocol::Sol);
}

/// The beginning of RFB, as any client says it; what the screen said of itself.
fn greet(console: &mut Viewer) -> Vec<u8> {
    assert_eq!(console.bytes(12), b"RFB 004.000\n");
    console.binary(b"RFB 003.008\n");
    assert_eq!(console.bytes(2), [1, 1]);
    console.binary(&[1]);
    assert_eq!(console.bytes(4), [0; 4]);
    console.binary(&[1]);
    console.bytes(24 + "Intel(r) AMT KVM".len())
}

const A: [u8; 8] = [4, 1, 0, 0, 0, 0, 0, b'a'];

#[test]
fn who_may_only_look_sees_the_screen_and_his_keys_do_not_arrive() {
    let house = House::open();
    let cookie = house.person("bob", 8 | 256);
    let mut console = house.visit("amtconsole.ashx?p=2", &house.device, &cookie);
    let size = greet(&mut console);
    assert_eq!(size[..4], [320_u16.to_be_bytes(), 200_u16.to_be_bytes()].concat());
    console.binary(&A);
    console.binary(&[5, 1, 0, 9, 0, 9]);
    // A whole picture, 16 bits each pixel.
    console.binary(&[3, 0, 0, 0, 0, 0, 1, 64, 0, 200]);
    console.bytes(320 * 200 * 2);
    assert_eq!(house.computer().firmware(|firmware| firmware.input.clone()), []);
    // Now he may.
    house.entitle("bob", 8);
    let arrived = |firmware: &mut common::amt::Firmware| {
        firmware.input.contains(&Input::Key { down: true, keysym: 0x61 }).then_some(())
    };
    console.binary(&A);
    house.computer().wait_for("a key", arrived);
    // And now nothing any more.
    house.entitle("bob", 4);
    assert_eq!(closed(console), NO_RIGHT);
    house.wait_for_end(Protocol::Kvm);
}

#[test]
fn each_end_says_why() {
    let house = House::open();
    let nobody = house.person("eve", 4);
    let no_desktop = house.person("dan", 8 | 0x1_0000);
    for (cookie, page) in [
        (&nobody, "amtconsole.ashx?p=1"),
        (&nobody, "webrelay.ashx?p=1"),
        (&nobody, "webider.ashx"),
        (&no_desktop, "amtconsole.ashx?p=2"),
        (&house.cookie(), "amtconsole.ashx?p=9"),
        (&"nonsense".to_owned(), "amtconsole.ashx?p=1"),
    ] {
        assert_eq!(closed(house.visit(page, &house.device, cookie)), NO_RIGHT, "{page}");
    }
    // A cookie for a tunnel to this very device opens no door to its firmware.
    let narrow = Control::open(house.server.port())
        .ask(&json!({"action": "getcookie", "nodeid": house.device, "tcpport": 16992}));
    let narrow = narrow["cookie"].as_str().expect("a cookie is text");
    assert_eq!(closed(house.visit("webrelay.ashx?p=4", &house.device, narrow)), NO_RIGHT);

    let mut first = house.console(2);
    greet(&mut first);
    assert_eq!(closed(house.console(2)), BUSY);
    first.close();
    house.wait_for_end(Protocol::Kvm);

    let (width, height) = (3840, 2160);
    house.computer().firmware(|f| (f.screen.width, f.screen.height) = (width, height));
    let mut large = house.console(2);
    assert_eq!(large.bytes(12), b"RFB 004.000\n");
    large.binary(b"RFB 003.008\n\x01\x01");
    assert_eq!(closed(large), TOO_LARGE);
    house.computer().firmware(|f| f.screen.width = 320);

    house.computer().firmware(|f| f.instance("IPS_OptInService").set("OptInRequired", 1));
    assert_eq!(closed(house.console(2)), CONSENT);

    let stranger = house.add("Wrong-Password-1");
    let page = "amtconsole.ashx?p=1";
    assert_eq!(closed(house.visit(page, &stranger, &house.cookie())), PASSWORD);
    house.computer().firmware(|firmware| {
        firmware.instance("AMT_RedirectionService").set("ListenerEnabled", "false");
    });
    let off = closed(house.console(1));
    assert!([UNSUPPORTED, UNREACHABLE].contains(&off), "{off}");
}

#[test]
fn an_administrator_ends_a_session() {
    let house = House::open();
    let cookie = house.person("bob", 8);
    let mut console = house.visit("amtconsole.ashx?p=1", &house.device, &cookie);
    console.output_with("Hello SOL");
    Control::open(house.server.port())
        .ask(&json!({"action": "deleteuser", "userid": "user//bob", "responseid": "d"}));
    let code = closed(console);
    assert!([NO_RIGHT, 4010].contains(&code), "{code}");
    house.wait_for_end(Protocol::Sol);
}

#[test]
fn a_recorded_session_is_marked_and_kept_without_a_proof() {
    let recording = json!({"sessionRecording": {"protocols": [101], "index": false}});
    let house = House::open_with(&recording);
    let mut control = Control::open(house.server.port());
    let mut viewer = house.visit("webrelay.ashx?p=2", &house.device, &house.cookie());
    assert_eq!(viewer.bytes(1), [0xf0]);
    let_in(&mut viewer, &recorded("StartRedirectionSession", 0));
    viewer.close();
    let finished = control.event("recording");
    assert_eq!(finished["protocol"], 101, "{finished}");
    let name = finished["filename"].as_str().expect("a name is text");
    let file = fs::read(find(house.server.data(), name)).expect("the recording is there");
    let count = |bytes: &[u8]| file.windows(bytes.len()).filter(|window| *window == bytes).count();
    assert_eq!(count(b"\x10\0\0\0SOL "), 1);
    assert_eq!(count(b"\"intelamt\":true"), 1);
    // What the viewer said, twice, and nothing of what the firmware was told instead.
    assert_eq!(count(b"/RedirectionService"), 2);
    assert_eq!(count(common::amt::PASSWORD.as_bytes()), 0);
}

/// A file of that name in the folder or beneath it.
fn find(folder: &std::path::Path, name: &str) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy() == name {
                return entry.path();
            }
            folders.push(entry.path());
        }
    }
    panic!("{name} is not in {}", folder.display());
}

/// Bytes that differ from sector to sector.
fn content(len: usize) -> Vec<u8> {
    (0..len as u32 / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

#[test]
fn a_computer_reads_images_of_its_user_sector_by_sector() {
    let house = House::open();
    let (disc, floppy) = (content(700 * 2048), content(2880 * 512));
    let folder = house.server.data().join("meshcentral-files/domain/user-admin");
    fs::create_dir_all(folder.join("linux")).expect("the folder is ours");
    fs::write(folder.join("linux/small.iso"), &disc).expect("the folder is ours");
    fs::write(folder.join("boot.img"), &floppy).expect("the folder is ours");
    fs::write(folder.join("odd.iso"), [1; 1000]).expect("the folder is ours");
    let mut drives = house.visit("webider.ashx", &house.device, &house.cookie());
    let ask = |drives: &mut Viewer, request: Value, action: &str| -> Value {
        drives.text(&request.to_string());
        loop {
            let message = drives.next().expect("an answer");
            let message: Value = serde_json::from_slice(&message.into_data()).expect("JSON");
            if message["action"] == action {
                return message;
            }
        }
    };
    let images = ask(&mut drives, json!({"action": "images"}), "images");
    assert_eq!(images["floppy"], json!([{"path": "boot.img", "size": floppy.len()}]));
    assert_eq!(images["cdrom"][0]["path"], "linux/small.iso");
    let dialog = ask(&mut drives, json!({"action": "start"}), "dialog");
    assert!(dialog["args"]["html"].as_str().expect("a form").contains("linux/small.iso"));
    for (path, code) in [("none.iso", 4), ("odd.iso", 5), ("../x.iso", 4), ("", 7)] {
        let args = json!({"ider": 1, "floppyPath": "", "cdromPath": path, "iderStart": "2"});
        let request = json!({"action": "dialogResponse", "args": args});
        assert_eq!(ask(&mut drives, request, "error")["code"], code, "{path}");
    }
    let args = json!({"ider": 1, "floppyPath": "boot.img", "cdromPath": "linux%2Fsmall.iso",
        "iderStart": "2"});
    drives.text(&json!({"action": "dialogResponse", "args": args}).to_string());
    house.computer().wait_for("read both", |firmware| firmware.ider.complete.then_some(()));
    house.computer().firmware(|firmware| {
        assert_eq!(firmware.ider.sectors, [700, 2880]);
        assert!(firmware.ider.disc == disc, "the disc is what was kept");
        assert!(firmware.ider.floppy == floppy, "the floppy is what was kept");
        assert_eq!(firmware.ider.refused.first(), Some(&[7, 0x27, 0]), "nothing is written");
    });
    let stats = ask(&mut drives, json!({"action": "ping"}), "stats");
    assert!(stats["total"].is_u64(), "{stats}");
    assert_eq!(fs::read(folder.join("boot.img")).expect("it is there"), floppy);
    drives.close();
    house.wait_for_end(Protocol::Ider);
}

#[test]
fn requests_of_a_stock_page_are_proven_here() {
    let house = House::open();
    let cookie = house.cookie();
    let request = "POST /wsman HTTP/1.1\r\nHost: h\r\nAuthorization: Digest username=\"*\"\r\n\
                   Content-Length: 4\r\n\r\n<x/>";
    let ask = |page: &str| {
        let mut viewer = house.visit(page, &house.device, &cookie);
        viewer.binary(request.as_bytes());
        viewer.output_with("\r\n\r\n")
    };
    // The first one is asked for a proof, which the second one brings.
    let first = ask("webrelay.ashx?p=1");
    assert!(first.starts_with("HTTP/1.1 401"), "{first}");
    let second = ask("webrelay.ashx?p=1");
    assert!(!second.starts_with("HTTP/1.1 401"), "{second}");
    // Who proves himself is on his own.
    let own = ask("webrelay.ashx?p=3");
    assert!(own.starts_with("HTTP/1.1 401"), "{own}");
    house.computer().firmware(|firmware| {
        let wrong = firmware.seen.iter().filter(|seen| **seen == Seen::WrongPassword).count();
        assert!(wrong <= 1, "{:#?}", firmware.seen);
    });
}

/// A certificate and its key, as firmware has them.
fn certificate() -> (Vec<u8>, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["pc.example".to_owned()]);
    let made = made.expect("a certificate is made");
    (made.cert.der().to_vec(), made.signing_key.serialize_der())
}

/// Computers whose firmware calls a server that no local network is in reach of: one with its ports
/// open, and one that serves nothing without TLS, as from version 16.1 on.
#[test]
fn consoles_run_through_the_firmwares_own_tunnel_also_with_tls_inside() {
    const MPS_PASSWORD: &str = "P@ssw0rd1";
    let mps = ports::free();
    let server = Meshboard::start_with(&json!({
        "settings": { "mpsPort": mps, "mpsPass": MPS_PASSWORD },
    }));
    server.command(&["user", "add", common::ADMIN, "--admin", "--password", common::PASSWORD]);
    server.wait_for_log("Intel AMT may connect");
    let door = Door { mps, https: server.port() };
    let mut control = Control::open(server.port());
    let group = control.ask(&json!({"action": "createmesh", "meshname": "amt", "meshtype": 1,
        "responseid": "g"}));
    let user = cira::user_of(group["meshid"].as_str().expect("a group was made"));
    for (with_tls, web, redirection) in [(false, 16992, 16994), (true, 16993, 16995)] {
        let computer = Computer::new();
        if with_tls {
            computer.firmware(|f| (f.tls, f.plain) = (Some(certificate()), false));
        }
        let uuid = format!("4c4c4544-004b-4210-8033-b6c04f5{web}");
        let live = Live::connect_computer(door, &uuid, (&user, MPS_PASSWORD), &computer);
        let device = control.event("addnode")["node"]["_id"].clone();
        let device = device.as_str().expect("an id is text").to_owned();
        live.wait_for(|seen| *seen == cira::Seen::Ready);
        control.ask(&json!({"action": "changedevice", "nodeid": device, "responseid": "c",
            "intelamt": {"user": common::amt::ADMIN, "pass": common::amt::PASSWORD, "tls": 0}}));
        let open = |page: &str| {
            let cookie = Control::open(server.port()).cookies().auth;
            let path = format!("/{page}host={device}&auth={cookie}");
            Viewer::open(server.port(), &path, None)
        };
        let ended = |protocol| {
            computer
                .wait_for("the end", |f| f.seen.contains(&Seen::Closed(protocol)).then_some(()));
        };
        let mut serial = open("amtconsole.ashx?p=1&");
        serial.output_with("Hello SOL");
        live.wait_for(|seen| *seen == cira::Seen::Opened(redirection));
        serial.binary(b"ls\r");
        serial.output_with("ls\r\n");
        serial.close();
        ended(Protocol::Sol);

        let mut screen = open("amtconsole.ashx?p=2&");
        greet(&mut screen);
        screen.binary(&A);
        let pressed = Input::Key { down: true, keysym: 0x61 };
        computer.wait_for("a key", |f| f.input.contains(&pressed).then_some(()));
        screen.binary(&[3, 0, 0, 0, 0, 0, 1, 64, 0, 200]);
        screen.bytes(320 * 200 * 2);
        screen.close();
        ended(Protocol::Kvm);

        let disc = content(300 * 2048);
        let folder = server.data().join("meshcentral-files/domain/user-admin");
        fs::create_dir_all(&folder).expect("the folder is ours");
        fs::write(folder.join("small.iso"), &disc).expect("the folder is ours");
        let mut drives = open("webider.ashx?");
        drives.text(&json!({"action": "start"}).to_string());
        let args = json!({"ider": 1, "floppyPath": "", "cdromPath": "small.iso", "iderStart": "2"});
        drives.text(&json!({"action": "dialogResponse", "args": args}).to_string());
        computer.wait_for("read it", |firmware| firmware.ider.complete.then_some(()));
        assert!(computer.firmware(|f| f.ider.disc == disc), "the disc is what was kept");
        drives.close();
        ended(Protocol::Ider);

        // The certificate it showed first is its own: another one is told nothing.
        if with_tls {
            let opened = || {
                let is_begin = |seen: &&Seen| matches!(seen, Seen::Opened(_));
                computer.firmware(|firmware| firmware.seen.iter().filter(is_begin).count())
            };
            let before = opened();
            computer.firmware(|firmware| firmware.tls = Some(certificate()));
            assert_eq!(closed(open("amtconsole.ashx?p=1&")), CERTIFICATE);
            assert_eq!(opened(), before);
        }
    }
}
