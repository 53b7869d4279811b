//! The stock MeshCmd activates and deactivates a simulated computer, against the stock server and
//! against ours. Only its drivers are not those of the package: there is no firmware here.

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::amt::{Computer, Firmware, OnLan};
use common::{Architecture, Control, Meshboard, PATIENCE, Process, Server, StockServer, https};
use serde_json::{Value, json};

/// What the group gives its computers.
const SECRET: &str = "P@ssw0rd1";
/// Before version 12 MeshCmd does not look for remote desktops.
const VERSION: &str = "11.8.55.3510";
const REALM: &str = "Digest:A4070000000000000000000000000001";

macro_rules! against_both {
    ($($scenario:ident),* $(,)?) => {
        mod at_meshcentral {
            use super::*;
            $(#[test]
            fn $scenario() {
                let folder = folder();
                super::$scenario(&StockServer::start_with(&configuration(&folder)), &folder);
            })*
        }
        mod at_meshboard {
            use super::*;
            $(#[test]
            fn $scenario() {
                let folder = folder();
                super::$scenario(&Meshboard::start_complete_with(&configuration(&folder)), &folder);
            })*
        }
    };
}

against_both! {
    a_new_computer_is_in_admin_control_mode_after_one_command,
    a_new_computer_is_in_client_control_mode_after_one_command,
    a_computer_is_deactivated_by_the_same_command,
    a_computer_of_another_domain_is_told_why_not,
    without_a_log_nothing_is_activated,
}

fn vector(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    let text = std::fs::read(path).expect("the vector is there");
    serde_json::from_slice(&text).expect("it is JSON")
}

/// A folder with an activation certificate.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pfx = vector("activation-cert-loading.json")["pfx"]["rc2.pfx"]["base64"].clone();
    let pfx = data_encoding::BASE64.decode(pfx.as_str().expect("text").as_bytes());
    std::fs::write(folder.path().join("vendor.pfx"), pfx.expect("base64")).expect("it is ours");
    folder
}

fn log(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join("activations.log")
}

fn configuration(folder: &tempfile::TempDir) -> Value {
    let pfx = folder.path().join("vendor.pfx");
    let certs = json!({"vendor": {"certpfx": pfx, "certpfxpass": "pfxpassword"}});
    json!({"domains": {"": {"AmtAcmActivation": {"log": log(folder), "certs": certs}}}})
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
    fn new(server: &dyn Server, policy: u8, suffix: &str) -> Self {
        let answer = server.meshctrl().run(&["adddevicegroup", "--name", "amt", "--amtonly"]);
        let group = answer.trim().strip_prefix("ok ").expect("a group was made").to_owned();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let computer = Computer::with(Firmware::new(VERSION, "admin", "none"));
        let root = vector("activation-acm-signature.json")["root_sha256"].clone();
        let file = folder.path().join("computer.json");
        let root = root.as_str().expect("text").to_owned();
        computer.firmware(|firmware| firmware.reset_to_factory(&root, suffix, file));
        let lan = OnLan::serve(computer.clone());
        let desk = Self { folder, computer, lan, group };
        desk.wants(server, policy);
        desk
    }

    fn wants(&self, server: &dyn Server, policy: u8) {
        let mut control = Control::open(server.port());
        control.say(&json!({
            "action": "meshamtpolicy", "meshid": self.group,
            "amtpolicy": {"type": policy, "password": SECRET, "cirasetup": 0, "ccm": 0},
        }));
        // Who hangs up too early may not have been heard.
        control.wait_for(|message| message["event"]["msgid"] == 141);
    }

    /// Runs the command people copy.
    fn activate(&self, server: &dyn Server) -> Process {
        let path = self.folder.path().join("meshcmd");
        if !path.exists() {
            std::fs::write(&path, self.meshcmd(server)).expect("the folder is ours");
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&path, mode).expect("it is ours");
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

fn lines(folder: &tempfile::TempDir) -> Vec<Value> {
    let text = std::fs::read_to_string(log(folder)).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with("\r\n"));
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn a_new_computer_is_in_admin_control_mode_after_one_command(
    server: &dyn Server,
    folder: &tempfile::TempDir,
) {
    let desk = Desk::new(server, 3, "lab.example.com");
    let mut meshcmd = desk.activate(server);
    desk.becomes(2);
    assert!(desk.accepts(SECRET));
    let line = &lines(folder)[0];
    assert_eq!((&line["action"], &line["password"]), (&json!("acmactivate"), &json!(SECRET)));
    assert_eq!(
        (&line["amtFqdn"], &line["hashType"]),
        (&json!("lab.example.com"), &json!("sha256"))
    );
    server.meshctrl().wait_for_device("is in admin control mode", |device| {
        let amt = &device["intelamt"];
        (&amt["state"], &amt["flags"], &amt["user"], &amt["pass"])
            == (&json!(2), &json!(4), &json!("admin"), &json!(1))
    });
    assert!(meshcmd.wait_for_end(PATIENCE).is_some(), "the command ends by itself");
}

fn a_new_computer_is_in_client_control_mode_after_one_command(
    server: &dyn Server,
    folder: &tempfile::TempDir,
) {
    // Client control mode needs no certificate that fits.
    let desk = Desk::new(server, 2, "nowhere.example.org");
    let _meshcmd = desk.activate(server);
    desk.becomes(1);
    assert!(desk.accepts(SECRET));
    assert_eq!(lines(folder)[0]["action"], "ccmactivate");
    server
        .meshctrl()
        .wait_for_device("is in client control mode", |device| device["intelamt"]["flags"] == 2);
}

fn a_computer_is_deactivated_by_the_same_command(server: &dyn Server, _: &tempfile::TempDir) {
    let desk = Desk::new(server, 2, "lab.example.com");
    let mut meshcmd = desk.activate(server);
    desk.becomes(1);
    server
        .meshctrl()
        .wait_for_device("is in client control mode", |device| device["intelamt"]["flags"] == 2);
    meshcmd.kill();
    desk.wants(server, 1);
    let _meshcmd = desk.activate(server);
    desk.becomes(0);
    assert!(!desk.accepts(SECRET));
}

fn a_computer_of_another_domain_is_told_why_not(server: &dyn Server, folder: &tempfile::TempDir) {
    let desk = Desk::new(server, 3, "nowhere.example.org");
    let meshcmd = desk.activate(server);
    meshcmd.wait_for_line(|line| {
        line.contains("No matching ACM activation certificate for \"nowhere.example.org\".")
    });
    desk.becomes(0);
    assert_eq!(lines(folder), Vec::<Value>::new());
}

fn without_a_log_nothing_is_activated(server: &dyn Server, folder: &tempfile::TempDir) {
    std::fs::create_dir(log(folder)).expect("nothing has written there yet");
    let desk = Desk::new(server, 3, "lab.example.com");
    let meshcmd = desk.activate(server);
    meshcmd.wait_for_line(|line| line.contains("Unable to log operation."));
    assert!(desk.computer.firmware(|firmware| {
        let set_up = |done: &&str| done.starts_with("IPS_HostBasedSetupService.A");
        !firmware.done().iter().any(set_up)
    }));
}
