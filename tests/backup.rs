//! A backup of a running server, restored elsewhere: the stock agent and its administrator find
//! everything as it was.

mod common;

use std::process::Command;

use common::{Architecture, Meshboard, Server, StockAgent};

#[test]
fn a_stock_agent_finds_the_server_restored_from_a_backup() {
    let mut server = Meshboard::start();
    let meshctrl = server.meshctrl();
    let group = server.add_group("office");
    let _agent = StockAgent::start(&server, &group, Architecture::X86_64);
    let found = meshctrl.wait_for_device("is connected", |device| device["conn"] == 1);
    let device = found["_id"].as_str().expect("an id is text").to_owned();
    meshctrl.ok(&["editdevice", "--id", &device, "--desc", "under the desk"]);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("today.backup");
    let phrase = folder.path().join("phrase");
    std::fs::write(&phrase, "correct horse\n").expect("the folder is ours");
    let (file, phrase) = (file.to_string_lossy(), phrase.to_string_lossy());
    server.command(&["backup", &file, "--passphrase-file", &phrase]);
    let sealed = server.try_command(&["restore", &file, "--dry-run"]);
    assert!(!sealed.status.success(), "its passphrase is needed");
    let listed = server.command(&["restore", &file, "--passphrase-file", &phrase, "--dry-run"]);
    assert!(listed.contains("agentserver-cert-private.key"), "{listed}");
    let running = server.try_command(&["restore", &file, "--passphrase-file", &phrase]);
    assert!(!running.status.success(), "not under a running server");

    // The board dies; another takes its place.
    server.kill();
    server.lose_data();
    let restored = server.try_command(&["restore", &file, "--passphrase-file", &phrase]);
    let errors = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{errors}");
    server.start_again();
    let back = server.meshctrl().wait_for_device("is back", |device| device["conn"] == 1);
    assert_eq!(back["_id"], device.as_str());
    assert_eq!(back["desc"], "under the desk");
    assert_eq!(back["meshid"], group.as_str());
    server.meshctrl().run_on_device(&device, "echo forty-$((6*7))", "forty-42");
}

#[test]
fn neither_server_nor_command_starts_on_a_half_restored_folder() {
    let data = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(data.path().join(".restoring")).expect("the folder is ours");
    for arguments in [&["serve"][..], &["user", "add", "ann", "--password", "p"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshboard"));
        command.arg("--data").arg(data.path()).args(arguments);
        let output = command.output().expect("the binary runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains("restore was interrupted"), "{errors}");
    }
    assert!(!data.path().join("state").exists(), "nothing was made");
}
