//! The stock MeshCmd activates and deactivates simulated computers, against the stock server and
//! against ours. Only its drivers are not those of the package: there is no firmware here.
//!
//! MeshCmd and the servers pause for many seconds, so the scenarios of a server run beside each
//! other, each with a computer and a group of its own.

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use common::amt::{Computer, Firmware, OnLan};
use common::{
    ADMIN, Architecture, Control, MeshCtrl, Meshboard, PATIENCE, Process, Server, StockServer,
    Viewer, https,
};
use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};

/// What the group gives its computers.
const SECRET: &str = "P@ssw0rd1";
/// Before version 12 MeshCmd does not look for remote desktops.
const VERSION: &str = "11.8.55.3510";
/// Firmware that can be set up over TLS, and one that must be.
const NEWER: &str = "16.1.25.1865";
const NEWEST: &str = "19.0.5.1000";
const REALM: &str = "Digest:A4070000000000000000000000000001";

type Scenario = fn(&Site<'_>);

/// What both servers do.
const BOTH: [Scenario; 6] = [
    a_new_computer_is_in_admin_control_mode_after_one_command,
    a_new_computer_is_in_client_control_mode_after_one_command,
    a_computer_is_deactivated_by_the_same_command,
    a_computer_of_another_domain_is_told_why_not,
    a_computer_that_trusts_the_server_itself_needs_no_other_certificate,
    a_set_up_over_tls_begins_as_it_was_recorded,
];

/// What the stock server has code for that never ends well.
const OURS: [Scenario; 4] = [
    a_program_of_2019_is_given_what_it_asks_for,
    a_computer_whose_firmware_can_is_set_up_over_tls,
    a_computer_whose_firmware_must_be_is_set_up_over_tls,
    the_newest_firmware_is_put_into_client_control_mode_over_tls,
];

#[test]
fn computers_are_activated_by_meshcentral() {
    let folder = folder();
    run(&StockServer::start_with(&configuration(&folder)), &folder, &BOTH);
}

#[test]
fn computers_are_activated_by_meshboard() {
    let folder = folder();
    let server = Meshboard::start_complete_with(&configuration(&folder));
    a_setup_bin_file_is_one_that_the_stock_program_reads(&server, &folder);
    run(&server, &folder, &[&BOTH[..], &OURS].concat());
}

/// A server under test, and where it writes its log.
struct Site<'a> {
    server: &'a (dyn Server + Sync),
    log: PathBuf,
    /// Of login cookies.
    key: String,
    /// Who logs in with a password takes turns: a server checks one at a time, and lets few wait.
    turn: Mutex<()>,
}

impl Site<'_> {
    fn meshctrl(&self) -> MeshCtrl {
        MeshCtrl::with_key(self.server.port(), ADMIN, &self.key)
    }
}

fn run(server: &(dyn Server + Sync), folder: &tempfile::TempDir, scenarios: &[Scenario]) {
    let (key, turn) = (server.login_key(), Mutex::new(()));
    let site = Site { server, log: log(folder), key, turn };
    thread::scope(|scope| {
        for scenario in scenarios {
            scope.spawn(|| scenario(&site));
        }
    });
    // The others have written there.
    std::fs::remove_file(&site.log).expect("there were activations");
    without_a_log_nothing_is_activated(&site);
}

fn vector(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    let text = std::fs::read(path).expect("the vector is there");
    serde_json::from_slice(&text).expect("it is JSON")
}

/// A folder with an activation certificate.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let vector = vector("activation-acm-signature.json");
    for (n, der) in
        vector["chain_leaf_to_root_der_base64"].as_array().expect("a list").iter().enumerate()
    {
        let body = der.as_str().expect("text");
        let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        std::fs::write(folder.path().join(format!("{n}.crt")), pem).expect("it is ours");
    }
    let key = vector["leaf_private_key_pem"].as_str().expect("text");
    std::fs::write(folder.path().join("leaf.key"), key).expect("it is ours");
    folder
}

fn log(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("activations.log")
}

fn configuration(folder: &tempfile::TempDir) -> Value {
    let file = |name: &str| folder.path().join(name);
    let chain: Vec<_> = (0..4).map(|n| file(&format!("{n}.crt"))).collect();
    let certs = json!({"vendor": {"certfiles": chain, "keyfile": file("leaf.key")}});
    json!({"domains": {"": {
        "AmtAcmActivation": {"log": log(folder), "certs": certs},
        "AmtManager": {"tlsAcmActivation": true},
    }}})
}

/// The root of the recorded certificate.
fn vendor_root() -> String {
    let root = vector("activation-acm-signature.json")["root_sha256"].clone();
    root.as_str().expect("text").to_owned()
}

/// A computer as it comes from the factory, in a folder of its own.
struct Desk {
    folder: tempfile::TempDir,
    computer: Computer,
    lan: OnLan,
    group: String,
}

impl Desk {
    /// In a group that wants `policy`.
    fn new(site: &Site<'_>, policy: u8, suffix: &str) -> Self {
        Self::with(site, policy, suffix, VERSION, &vendor_root())
    }

    /// The same with firmware of a version, that trusts a root.
    fn with(site: &Site<'_>, policy: u8, suffix: &str, version: &str, root: &str) -> Self {
        let group = group(site);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let computer = Computer::with(Firmware::new(version, "admin", "none"));
        let file = folder.path().join("computer.json");
        computer.firmware(|firmware| firmware.reset_to_factory(root, suffix, file));
        let lan = OnLan::serve(computer.clone());
        let desk = Self { folder, computer, lan, group };
        desk.wants(site, policy);
        desk
    }

    /// Its id as a device, which is made of its UUID.
    fn node(&self) -> String {
        let uuid = self.uuid().replace('-', "");
        let bytes = HEXLOWER.decode(uuid.repeat(3).as_bytes()).expect("hexadecimal");
        format!("node//{}", BASE64.encode(&bytes).replace('+', "@").replace('/', "$"))
    }

    fn uuid(&self) -> String {
        self.computer.firmware(|firmware| firmware.activation.uuid.clone())
    }

    /// Its lines of the activation log.
    fn lines(&self, site: &Site<'_>) -> Vec<Value> {
        let text = std::fs::read_to_string(&site.log).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix("\r\n"));
        let lines = lines.map(|line| serde_json::from_str(line).expect("each line is JSON"));
        let uuid = self.uuid();
        lines.filter(|line: &Value| line["amtUuid"] == *uuid).collect()
    }

    fn shows(&self, site: &Site<'_>, what: &str, is: impl Fn(&Value) -> bool) {
        let node = self.node();
        site.meshctrl().wait_for_device(what, |device| device["_id"] == *node && is(device));
    }

    fn wants(&self, site: &Site<'_>, policy: u8) {
        wants(site, &self.group, policy);
    }

    /// Runs the command people copy.
    fn activate(&self, server: &dyn Server) -> Process {
        let path = self.folder.path().join("meshcmd");
        if !path.exists() {
            let draft = path.with_extension("draft");
            std::fs::write(&draft, self.meshcmd(server)).expect("the folder is ours");
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&draft, mode).expect("it is ours");
            // Programs that other threads start meanwhile inherit what is open here for a moment, and
            // nobody may run what somebody writes to.
            let copied = Command::new("cp").arg(&draft).arg(&path).status();
            assert!(copied.expect("cp is there").success());
        }
        let url = format!("wss://127.0.0.1:{}/apf.ashx", server.port());
        let id = self.group.rsplit('/').next().expect("split yields something");
        Process::start(&path, |command| {
            command.current_dir(&self.folder);
            command.args(["amtconfig", "--url", &url, "--id", id]);
        })
    }

    /// The program this server hands out, with other drivers.
    fn meshcmd(&self, server: &dyn Server) -> Vec<u8> {
        let (status, program) = https::get(server.port(), "/meshagents?meshcmd=6");
        assert_eq!(status, 200, "/meshagents?meshcmd=6");
        let agent = Architecture::X86_64.executable();
        assert!(program.starts_with(&agent), "it begins with the agent");
        // At the end the length of the script, and the mark.
        let (body, mark) = program.split_at(program.len() - 16);
        let (body, length) = body.split_at(body.len() - 4);
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        assert_eq!(body.len(), agent.len() + length);
        let script = std::str::from_utf8(&body[agent.len()..]).expect("a script is text");
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        let mut script = script.to_owned();
        for (module, file) in [("amt-mei", "mei.js"), ("amt-lme", "lme.js")] {
            let source = std::fs::read_to_string(peers.join(file)).expect("it is there");
            let begin = format!("try {{ addModule(\"{module}\", ");
            let end = format!("addedModules.push(\"{module}\"); }}");
            let from = script.find(&begin).expect("the module is there") + begin.len();
            let to = from + script[from..].find(&end).expect("it ends");
            script.replace_range(from..to, &format!("{}); ", json!(source)));
        }
        let address = format!("clientaddress: '{}'", self.lan.address);
        assert!(script.contains("clientaddress: '127.0.0.1'"));
        script = script.replace("clientaddress: '127.0.0.1'", &address);
        let length = u32::try_from(script.len()).expect("it is small").to_be_bytes();
        [&agent[..], script.as_bytes(), &length, mark].concat()
    }

    fn becomes(&self, mode: u64) {
        self.computer.wait_for(&format!("was in mode {mode}"), |firmware| {
            firmware.look_at_computer();
            (firmware.mode() == mode).then_some(())
        });
    }

    fn accepts(&self, password: &str) -> bool {
        use md5::Digest as _;
        let hash = md5::Md5::digest(format!("admin:{REALM}:{password}"));
        self.computer.firmware(|firmware| firmware.admin.1 == hash.to_vec())
    }
}

fn wants(site: &Site<'_>, group: &str, policy: u8) {
    let _turn = site.turn.lock().unwrap_or_else(PoisonError::into_inner);
    let mut control = Control::open(site.server.port());
    control.say(&json!({
        "action": "meshamtpolicy", "meshid": group,
        "amtpolicy": {"type": policy, "password": SECRET, "cirasetup": 0, "ccm": 0},
    }));
    // Who hangs up too early may not have been heard.
    control.wait_for(|message| {
        let event = &message["event"];
        event["msgid"] == 141 && event["meshid"] == *group
    });
}

/// A new group for computers with Intel AMT.
fn group(site: &Site<'_>) -> String {
    let mut name = [0; 4];
    getrandom::fill(&mut name).expect("randomness");
    // Not digits alone: meshctrl would make a number of them.
    let name = format!("amt-{}", HEXLOWER.encode(&name));
    let answer = site.meshctrl().run(&["adddevicegroup", "--name", &name, "--amtonly"]);
    let id = answer.trim().strip_prefix("ok ").map(str::to_owned);
    id.unwrap_or_else(|| panic!("no group was made: {answer}"))
}

fn a_new_computer_is_in_admin_control_mode_after_one_command(site: &Site<'_>) {
    let desk = Desk::new(site, 3, "lab.example.com");
    let mut meshcmd = desk.activate(site.server);
    desk.becomes(2);
    assert!(desk.accepts(SECRET));
    let line = &desk.lines(site)[0];
    assert_eq!((&line["action"], &line["password"]), (&json!("acmactivate"), &json!(SECRET)));
    assert_eq!(
        (&line["amtFqdn"], &line["hashType"]),
        (&json!("lab.example.com"), &json!("sha256"))
    );
    desk.shows(site, "is in admin control mode", |device| {
        let amt = &device["intelamt"];
        (&amt["state"], &amt["flags"], &amt["user"], &amt["pass"])
            == (&json!(2), &json!(4), &json!("admin"), &json!(1))
    });
    an_action_file_knows_the_server_and_the_device(site, &desk.node());
    assert!(meshcmd.wait_for_end(PATIENCE).is_some(), "the command ends by itself");
}

/// What MeshCmd reads in its folder (`meshaction.txt`).
fn an_action_file_knows_the_server_and_the_device(site: &Site<'_>, node: &str) {
    let cookie = {
        let _turn = site.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut control = Control::open(site.server.port());
        control.say(&json!({"action": "authcookie"}));
        let answer = control.wait_for(|message| message["action"] == "authcookie");
        answer["cookie"].as_str().expect("a cookie").to_owned()
    };
    let port = site.server.port();
    let node = node.replace('@', "%40").replace('$', "%24");
    let get = |query: &str| https::get(port, &format!("/meshagents?{query}"));
    let route = format!("meshaction=route&nodeid={node}");
    for (query, action) in [("meshaction=generic", json!(null)), (&*route, json!("route"))] {
        let (status, file) = get(&format!("{query}&auth={cookie}"));
        assert_eq!(status, 200, "{query}");
        let file: Value = serde_json::from_slice(&file).expect("it is JSON");
        let url = format!("wss://127.0.0.1:{port}/meshrelay.ashx");
        assert_eq!((&file["serverUrl"], &file["username"]), (&json!(url), &json!(ADMIN)));
        assert_eq!((&file["action"], &file["password"]), (&action, &json!("")));
        for hash in ["serverId", "serverHttpsHash"] {
            let hash = file[hash].as_str().expect("text");
            assert!(hash.len() == 96 && hash == hash.to_uppercase(), "{hash}");
        }
        assert_eq!(file["remotePort"], if action.is_null() { json!(null) } else { json!(3389) });
        assert_eq!(get(query).0, 404, "nobody is told");
    }
}

fn a_new_computer_is_in_client_control_mode_after_one_command(site: &Site<'_>) {
    // Client control mode needs no certificate that fits.
    let desk = Desk::new(site, 2, "nowhere.example.org");
    let _meshcmd = desk.activate(site.server);
    desk.becomes(1);
    assert!(desk.accepts(SECRET));
    assert_eq!(desk.lines(site)[0]["action"], "ccmactivate");
    desk.shows(site, "is in client control mode", |device| device["intelamt"]["flags"] == 2);
}

fn a_computer_is_deactivated_by_the_same_command(site: &Site<'_>) {
    let desk = Desk::new(site, 2, "lab.example.com");
    let mut meshcmd = desk.activate(site.server);
    desk.becomes(1);
    desk.shows(site, "is in client control mode", |device| device["intelamt"]["flags"] == 2);
    meshcmd.kill();
    desk.wants(site, 1);
    let _meshcmd = desk.activate(site.server);
    desk.becomes(0);
    assert!(!desk.accepts(SECRET));
}

fn a_computer_of_another_domain_is_told_why_not(site: &Site<'_>) {
    let desk = Desk::new(site, 3, "nowhere.example.org");
    let meshcmd = desk.activate(site.server);
    meshcmd.wait_for_line(|line| {
        line.contains("No matching ACM activation certificate for \"nowhere.example.org\".")
    });
    desk.becomes(0);
    assert_eq!(desk.lines(site), Vec::<Value>::new());
}

fn a_computer_that_trusts_the_server_itself_needs_no_other_certificate(site: &Site<'_>) {
    let (status, root) = https::get(site.server.port(), "/MeshServerRootCert.cer");
    assert_eq!(status, 200, "/MeshServerRootCert.cer");
    let root = HEXLOWER.encode(ring::digest::digest(&ring::digest::SHA256, &root).as_ref());
    let desk = Desk::with(site, 3, "any.example.net", VERSION, &root);
    let _meshcmd = desk.activate(site.server);
    desk.becomes(2);
    assert!(desk.accepts(SECRET));
    let line = &desk.lines(site)[0];
    assert_eq!((&line["certHash"], &line["amtFqdn"]), (&json!(root), &json!("any.example.net")));
}

fn a_computer_whose_firmware_can_is_set_up_over_tls(site: &Site<'_>) {
    set_up_over_tls(site, NEWER);
}

fn a_computer_whose_firmware_must_be_is_set_up_over_tls(site: &Site<'_>) {
    set_up_over_tls(site, NEWEST);
}

fn set_up_over_tls(site: &Site<'_>, version: &str) {
    let desk = Desk::with(site, 3, "lab.example.com", version, &vendor_root());
    desk.computer.firmware(|firmware| firmware.activation.lacks_menu = true);
    let mut meshcmd = desk.activate(site.server);
    desk.becomes(2);
    assert!(desk.accepts(SECRET));
    let line = &desk.lines(site)[0];
    assert_eq!((&line["action"], &line["password"]), (&json!("acmactivate-tls"), &json!(SECRET)));
    desk.shows(site, "is in admin control mode", |device| device["intelamt"]["flags"] == 4);
    desk.computer.firmware(|firmware| {
        let done = firmware.done();
        assert!(!done.iter().any(|done| done.starts_with("IPS_HostBasedSetupService.A")));
    });
    assert!(meshcmd.wait_for_end(PATIENCE).is_some(), "the command ends by itself");
}

fn the_newest_firmware_is_put_into_client_control_mode_over_tls(site: &Site<'_>) {
    let desk = Desk::with(site, 2, "nowhere.example.org", NEWEST, &vendor_root());
    let _meshcmd = desk.activate(site.server);
    desk.becomes(1);
    assert!(desk.accepts(SECRET));
    desk.computer.wait_for_done("AMT_SetupAndConfigurationService.CommitChanges");
    desk.shows(site, "is in client control mode", |device| device["intelamt"]["flags"] == 2);
}

/// The client's part of a recorded session is said again; the server has to say its own.
fn a_set_up_over_tls_begins_as_it_was_recorded(site: &Site<'_>) {
    const USER: &str = "0V3KOXhtBdiuZMD2";
    let group = group(site);
    wants(site, &group, 3);
    let user = group.rsplit('/').next().and_then(|id| id.get(..16)).expect("an id is long");
    let vector = vector("activation-json-control.json");
    let mut socket = Viewer::open(site.server.port(), "/apf.ashx", None);
    for message in vector["captured_session_apf_order"].as_array().expect("a list") {
        let hex = message["hex"].as_str().expect("text");
        let bytes = HEXLOWER.decode(hex.as_bytes()).expect("hexadecimal");
        if message["dir"] == "client>server" {
            // Each byte is a character: that is how strings leave these programs.
            let text: String = bytes.iter().copied().map(char::from).collect();
            socket.text(&text.replace(USER, user));
            continue;
        }
        let said = socket.next().expect("the server goes on").into_data();
        match bytes[0] {
            0xfa => {
                let json =
                    |bytes: &[u8]| serde_json::from_slice::<Value>(&bytes[5..]).expect("JSON");
                assert_eq!(json(&said), json(&bytes));
            }
            // CHANNEL_OPEN up to its own number, and the port that is wanted.
            0x5a => {
                assert_eq!(said[..20], bytes[..20]);
                assert!(said.windows(4).any(|four| four == 16993_u32.to_be_bytes()));
            }
            _ => assert_eq!(said[..], bytes[..], "{hex}"),
        }
    }
}

/// `meshboard amt setup-bin`, read by the parser of the stock package.
fn a_setup_bin_file_is_one_that_the_stock_program_reads(
    server: &Meshboard,
    folder: &tempfile::TempDir,
) {
    let place = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (file, new) = (place("setup.bin"), place("new"));
    std::fs::write(&new, format!("{SECRET}\n")).expect("it is ours");
    let told = server.command(&["amt", "setup-bin", &file, "--new-password-file", &new]);
    assert!(!told.contains(SECRET), "{told}");
    let script = "const bin = require(process.argv[1] + '/amt/amt-setupbin.js')(); \
        const file = bin.AmtSetupBinDecode(require('fs').readFileSync(process.argv[2], 'latin1')); \
        console.log(JSON.stringify(file.records[0].variables.map(v => [v.desc, v.value])))";
    let stock = common::installation::folder();
    let read = Command::new("node").args(["-e", script]).arg(stock).arg(&file).output();
    let read = read.expect("node runs").stdout;
    let variables: Vec<(String, Value)> = serde_json::from_slice(&read).expect("it reads it");
    let of = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, v)| v.clone());
    assert_eq!(of("Current MEBx Password"), Some(json!("admin")));
    assert_eq!(of("New MEBx Password"), Some(json!(SECRET)));
    assert_eq!(of("PKI DNS Suffix"), Some(json!("127.0.0.1")), "the name of the server");
    assert_eq!(of("ME Provision Halt/Active"), Some(json!(0)));
    let root = of("User Defined Certificate Addition").expect("it is there");
    let root: Vec<u8> = root.as_str().expect("text").chars().map(|c| c as u8).collect();
    let (status, der) = https::get(server.port(), "/MeshServerRootCert.cer");
    let hash = ring::digest::digest(&ring::digest::SHA256, &der);
    assert_eq!((status, &root[1..33]), (200, hash.as_ref()));
    let log = std::fs::read_to_string(log(folder)).expect("it is written");
    let line: Value = serde_json::from_str(log.trim_end()).expect("one line");
    assert_eq!((&line["action"], &line["newmebx"]), (&json!("setupbin"), &json!(SECRET)));
}

fn a_program_of_2019_is_given_what_it_asks_for(site: &Site<'_>) {
    let group = group(site);
    wants(site, &group, 3);
    let id = group.rsplit('/').next().unwrap_or_default().replace('@', "%40").replace('$', "%24");
    let mut socket = Viewer::open(site.server.port(), &format!("/amtactivate?id={id}"), None);
    let vector = vector("activation-acm-signature.json");
    let uuid = "5c29f3b1-7a44-4e0d-9c55-0b1d2c3e4f5a";
    let ask = json!({
        "client": "meshcmd", "version": 1, "action": "acmactivate", "fqdn": "lab.example.com",
        "realm": vector["realm"], "nonce": vector["fw_nonce_base64"],
        "hashes": [vector["root_sha256"]], "uuid": uuid, "ver": "12.0.64", "modes": [1, 2],
        "currentMode": 0, "hostname": "old", "tag": "from 2019",
    });
    socket.text(&ask.to_string());
    let answer = socket.next().expect("an answer").into_data();
    let answer: Value = serde_json::from_slice(&answer).expect("it is JSON");
    assert_eq!(
        (&answer["action"], &answer["password"]),
        (&ask["action"], &vector["digest_md5_hex"])
    );
    assert_eq!(answer["certs"], vector["chain_leaf_to_root_der_base64"]);
    let told =
        json!({"client": "meshcmd", "version": 1, "uuid": uuid, "action": "acmactivate-success"});
    socket.text(&told.to_string());
    assert!(socket.next().is_none(), "it is over");
    site.meshctrl().wait_for_device("is activated", |device| {
        device["name"] == "old" && device["intelamt"]["flags"] == 4
    });
    let log = std::fs::read_to_string(&site.log).expect("it is written");
    let of_it: Vec<_> = log.lines().filter(|line| line.contains(uuid)).collect();
    assert!(of_it.len() == 2 && of_it[0].contains("from 2019"), "{of_it:?}");
}

fn without_a_log_nothing_is_activated(site: &Site<'_>) {
    std::fs::create_dir(&site.log).expect("nothing is there");
    let desk = Desk::new(site, 3, "lab.example.com");
    let meshcmd = desk.activate(site.server);
    meshcmd.wait_for_line(|line| line.contains("Unable to log operation."));
    assert!(desk.computer.firmware(|firmware| {
        let set_up = |done: &&str| done.starts_with("IPS_HostBasedSetupService.A");
        !firmware.done().iter().any(set_up)
    }));
}
