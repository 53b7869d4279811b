//! The program as a person or script runs it: output, exit status, and what stays in the folder.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::rc::Rc;

use async_executor::LocalExecutor;
use meshboard::hub::Hub;
use meshboard::identity::password::Passwords;
use meshboard::server::admin::{AdminContext, Live, Ports, socket};
use meshboard::store::{Options, Store};
use serde_json::Value;

/// What a command left behind.
struct Ran {
    status: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {} {}", self.out, self.err))
    }
}

fn meshboard(data: &Path, words: &[&str]) -> Ran {
    meshboard_with_input(data, words, "")
}

fn meshboard_with_input(data: &Path, words: &[&str], input: &str) -> Ran {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_meshboard"))
        .args(words)
        .env_clear()
        .env("MESHBOARD_DATA", data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Ran {
        status: status.code().expect("not killed"),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

#[test]
fn accounts_and_groups_made_without_a_server_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new").join("folder");
    let made = meshboard(&data, &["user", "add", "Ann", "--admin", "--password", "s3cret-word"]);
    assert_eq!((made.status, &*made.err), (0, ""), "{}", made.out);
    assert!(!made.out.contains("s3cret-word"));
    let made =
        meshboard_with_input(&data, &["user", "add", "bob", "--password-stdin"], "word two\n");
    assert_eq!(made.status, 0, "{}", made.err);
    let group = meshboard(&data, &["group", "add", "Office", "--json"]).json();
    assert_eq!(group["name"], "Office");
    assert!(group["meshid"].as_str().unwrap().starts_with("mesh//"));

    let users = meshboard(&data, &["user", "list", "--json"]).json();
    let told: Vec<_> = users
        .as_array()
        .unwrap()
        .iter()
        .map(|u| (u["id"].as_str().unwrap(), u["admin"] == true, u["groups"].as_u64().unwrap()))
        .collect();
    assert_eq!(told, [("user//ann", true, 1), ("user//bob", false, 0)]);

    for words in [&["user", "admin", "bob"][..], &["user", "remove", "ANN"]] {
        assert_eq!(meshboard(&data, words).status, 0, "{words:?}");
    }
    let list = meshboard(&data, &["user", "list"]).out;
    assert!(list.contains("user//bob  full") && !list.contains("ann"), "{list}");
    let groups = meshboard(&data, &["group", "list", "--json"]).json();
    assert_eq!(groups[0]["meshid"], group["meshid"]);
}

#[test]
fn the_exit_status_tells_failure_from_misuse() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    meshboard(data, &["user", "add", "ann", "--password", "x"]);
    for (words, status, text) in [
        (&["user", "add", "ann", "--password", "x"][..], 1, "exists already"),
        (&["user", "remove", "nobody"], 1, "there is no account user//nobody"),
        (&["user", "add", "a b", "--password", "x"], 1, "user name"),
        (&["user", "add", "x", "--password", ""], 2, "1 to 256"),
        (&["user", "add", "x"], 2, "--password-stdin"),
        (&["user", "add", "x", "--password", "x", "--domain", "no"], 1, "no domain \"no\""),
        (&["agents", "list"], 1, "no agent package"),
        (&["agents", "install", "--from", "/nonexistent"], 1, "/nonexistent"),
        (&["agents", "install", "--from", "x", "--arch", "vax"], 2, "vax"),
        (&["cert", "show"], 1, "no certificates"),
        (&["frobnicate"], 2, "frobnicate"),
        (&["--data", "/nonexistent/x", "user", "list"], 1, "/nonexistent/x"),
    ] {
        let ran = meshboard(data, words);
        assert_eq!((ran.status, ran.err.contains(text)), (status, true), "{words:?}: {}", ran.err);
    }
}

#[test]
fn a_wrong_configuration_is_status_2_with_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let file = data.join("config.json");
    let ran = meshboard(data, &["check-config"]);
    assert_eq!((ran.status, ran.out.contains("does not exist")), (0, true), "{}", ran.out);

    std::fs::write(&file, "{\n \"settings\": { \"foo\": 1, \"authLog\": true }\n}").unwrap();
    let ran = meshboard(data, &["check-config"]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let place = file.display();
    assert!(ran.out.contains(&format!("{place}:2:16: settings.foo: unknown key")), "{}", ran.out);
    assert!(ran.out.contains("settings.authLog: known, not supported yet"), "{}", ran.out);
    let json = meshboard(data, &["check-config", "--json"]).json();
    assert_eq!((&json["valid"], &json["warnings"][0]["line"]), (&true.into(), &2.into()));

    for text in ["{\n \"settings\": { \"port\": \"x\" }\n}", "{\n \"settings\": {,} }"] {
        std::fs::write(&file, text).unwrap();
        for words in [&["check-config"][..], &["serve"], &[], &["user", "list"]] {
            let ran = meshboard(data, words);
            assert_eq!(ran.status, 2, "{words:?}: {}", ran.err);
            assert!(ran.err.contains(&format!("{place}:2:")), "{words:?}: {}", ran.err);
        }
    }
    let json = meshboard(data, &["check-config", "--json"]);
    assert_eq!((json.status, &json.json()["valid"]), (2, &false.into()));
}

#[test]
fn help_completions_and_man_pages_come_from_the_same_definition() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    for (word, text) in [
        ("--version", concat!("meshboard ", env!("CARGO_PKG_VERSION"))),
        ("--help", "check-config"),
    ] {
        let ran = meshboard(data, &[word]);
        assert_eq!((ran.status, ran.out.contains(text)), (0, true), "{word}: {}", ran.out);
    }
    let mut manual = Command::new(env!("CARGO"));
    manual.args(["run", "--locked", "--quiet", "--example", "manual", "--"]).arg(data);
    let manual = manual.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(manual.status.success(), "{}", String::from_utf8_lossy(&manual.stderr));
    for (file, text) in [
        ("meshboard.bash", "check-config"),
        ("_meshboard", "check-config"),
        ("meshboard.fish", "check-config"),
        ("man/meshboard.1", ".TH meshboard"),
        ("man/meshboard-user-add.1", "meshboard-user-add"),
    ] {
        let written = std::fs::read_to_string(data.join(file)).unwrap();
        assert!(written.contains(text), "{file}: {written}");
    }
}

#[test]
fn status_without_a_server_says_so_and_shows_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let fresh = meshboard(data, &["status"]);
    assert!(
        fresh.out.contains("does not run") && fresh.out.contains("setup code"),
        "{}",
        fresh.out
    );
    let code = |ran: Ran| ran.json()["setupCode"].clone();
    let first = code(meshboard(data, &["status", "--json"]));
    assert_eq!(first, code(meshboard(data, &["status", "--json"])), "it stays the same");
    meshboard(data, &["user", "add", "ann", "--admin", "--password", "x"]);
    assert_eq!(code(meshboard(data, &["status", "--json"])), Value::Null);
}

/// Runs `client` on a thread while the folder is served as the server serves it.
fn while_served<T: Send + 'static>(
    data: &Path,
    client: impl FnOnce() -> T + Send + 'static,
) -> (T, Store) {
    let (store, report) = Store::open(data, Options::default()).unwrap();
    let executor = Rc::new(LocalExecutor::new());
    let disk = store.clone();
    executor.spawn(async move { disk.run().await }).detach();
    let hub = Hub::new(store.clone(), meshboard::config::Config::default(), report.floor);
    let amt = meshboard::amt::room::Room::new(hub.clone(), executor.clone());
    let ctx = AdminContext {
        hub,
        passwords: Passwords::default(),
        data: data.to_owned(),
        live: Some(Live {
            ports: Ports { https: 8443, ..Ports::default() },
            reload_agents: Box::new(|| Box::pin(std::future::ready(()))),
            amt,
        }),
    };
    let listener = socket::Listener::bind(&socket::path(data, None)).unwrap();
    executor.spawn(socket::serve(executor.clone(), listener, ctx)).detach();
    let result = async_io::block_on(executor.run(meshboard::pool::unblock(client)));
    (result, store)
}

#[test]
fn commands_work_while_a_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_owned();
    let (ran, store) = while_served(folder.path(), move || {
        [
            &["user", "add", "ann", "--admin", "--password", "x"][..],
            &["group", "add", "Office"],
            &["status"],
            &["user", "passwd", "nobody", "--password", "x"],
        ]
        .map(|words| meshboard(&data, words))
    });
    let [added, group, status, refused] = ran;
    assert_eq!((added.status, group.status, status.status), (0, 0, 0), "{}", added.err);
    assert!(
        status.out.contains("HTTPS 8443") && status.out.contains("1 accounts"),
        "{}",
        status.out
    );
    assert_eq!((refused.status, refused.err.contains("no account")), (1, true), "{}", refused.err);
    let id = "user//ann".parse().unwrap();
    assert_eq!(store.user(&id).unwrap().links.len(), 1, "the server itself made the account");
}

#[test]
fn a_folder_in_use_by_a_server_that_does_not_answer_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, _) = Store::open(folder.path(), Options::default()).unwrap();
    let ran = meshboard(folder.path(), &["user", "list"]);
    assert_eq!(ran.status, 1);
    let pid = std::process::id().to_string();
    assert!(ran.err.contains("in use") && ran.err.contains(&pid), "{}", ran.err);
}
