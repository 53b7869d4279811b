//! The filter we ship, as fail2ban reads it, on lines that the program has really written.

mod common;
#[path = "hostile/peer.rs"]
mod peer;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{ADMIN, Meshboard, PASSWORD, Server};
use data_encoding::BASE64;
use peer::Raw;
use serde_json::json;

/// The addresses fail2ban finds in the lines, one for each failure.
fn found(lines: &[String]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    std::fs::write(&log, lines.join("\n") + "\n").expect("the folder is ours");
    let filter: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "systemd/fail2ban/filter.d/meshboard.conf"].iter().collect();
    let mut command = Command::new("fail2ban-regex");
    command.args(["-o", "ip"]).arg(&log).arg(&filter).current_dir(Path::new("/"));
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("run tests/prepare: fail2ban: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    text.lines().map(str::to_owned).collect()
}

fn attempt(server: &Meshboard, source: [u8; 4], name: &str, password: &str) {
    let [name, password] = [name, password].map(|text| BASE64.encode(text.as_bytes()));
    let header = format!("x-meshauth: {name},{password}\r\n");
    Raw::open_from(source, server.port(), "/control.ashx", &header).next();
}

#[test]
fn each_failure_is_found_once_under_the_address_it_came_from() {
    let server = Meshboard::start_with(&json!({}));
    server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
    let forged =
        "x\n2026-11-22T11:26:05.541Z WARN  [meshboard::login] login failed from 8.8.8.8: x";
    attempt(&server, [127, 1, 1, 1], ADMIN, PASSWORD);
    for (source, name) in [
        ([127, 6, 6, 6], ADMIN),
        ([127, 6, 6, 7], "nobody"),
        ([127, 6, 7, 8], forged),
        ([127, 6, 8, 9], "\" from 9.9.9.9: wrong"),
        ([127, 6, 9, 9], "~t:nothing"),
    ] {
        attempt(&server, source, name, "wrong");
    }
    Raw::open_from([127, 7, 7, 7], server.port(), "/control.ashx?auth=AAAA", "").next();
    // No credentials, no attempt.
    Raw::open_from([127, 8, 8, 8], server.port(), "/control.ashx", "").next();
    server.wait_for_log("login failed from 127.7.7.7");
    let log = server.log();
    let expected = ["127.6.6.6", "127.6.6.7", "127.6.7.8", "127.6.8.9", "127.6.9.9", "127.7.7.7"];
    assert_eq!(found(&log), expected, "{log:#?}");
    // The journal has times of its own.
    let journal: Vec<_> = log
        .iter()
        .filter_map(|line| line.split_once("Z "))
        .map(|(_, line)| format!("Nov 22 11:26:05 board meshboard[4711]: {line}"))
        .collect();
    assert_eq!(found(&journal), expected, "{journal:#?}");
}
