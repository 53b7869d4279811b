//! libmeshctrl, the Python client library, asked the same of the stock server and of ours.
//!
//! The scripts are in `tests/peers`; what they print is compared as the answers to `meshctrl` are
//! (`tests/conformance`).

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use common::process::Process;
use common::transcript::compare::{self, ANYTHING, differs};
use common::transcript::{self, Difference, Normaliser, Step, Transcript};
use common::{ADMIN, Architecture, PASSWORD, PATIENCE, Server, StockAgent, libmeshctrl};

/// Methods that are not compared here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("Session.create", "opens the session of every script"),
    ("Session.shell", "tests/stock_relay.rs"),
    ("Session.smart_shell", "tests/stock_relay.rs"),
    ("Session.upload", "tests/stock_relay.rs"),
    ("Session.upload_file", "tests/stock_relay.rs"),
    ("Session.download", "tests/stock_relay.rs"),
    ("Session.download_file", "tests/stock_relay.rs"),
    ("Session.file_explorer", "tests/stock_relay.rs"),
    ("Device.shell", "tests/stock_relay.rs"),
    ("Device.smart_shell", "tests/stock_relay.rs"),
    ("Session.interuser", "needs the setting interUserMessaging and has no answer"),
    ("Session.add_device_share", "fails in the library without a start, and with one"),
    ("Session.device_open_url", "fails in the library: it passes arguments to list.append"),
    ("Session.device_toast", "fails in the library: it does not await its request"),
];

#[test]
fn people_are_the_same() {
    let transcripts = transcript::of_both(|server| play(server, "people", &[]));
    compare::assert_same(&transcripts, PEOPLE);
}

const PEOPLE: &[Difference] = &[
    differs(
        "Session.server_info",
        "/features",
        ANYTHING,
        ANYTHING,
        "every server says what it has",
    ),
    differs(
        "Session.server_info",
        "/features2",
        ANYTHING,
        ANYTHING,
        "every server says what it has",
    ),
    differs(
        "Session.server_info",
        "/languages",
        ANYTHING,
        r#"["en"]"#,
        "messages are in English only",
    ),
    differs("", "/links", "{}", "", "links are left out when there are none"),
    differs("", "/phone", "", r#""555""#, "a number is kept without a way to send to it, too"),
    differs("", "/passchange", "", r#""<now in s>""#, "the administrator's password was set then"),
];

#[test]
fn devices_are_the_same() {
    let transcripts = transcript::of_both(|server| {
        let lab = server.add_group("lab");
        let _agent = StockAgent::start(server, &lab, Architecture::X86_64);
        let device = server.meshctrl().wait_for_agent();
        play(server, "devices", &[("lab", &lab), ("device", &device)])
    });
    compare::assert_same(&transcripts, DEVICES);
}

const DATABASE: &str = "members of the database's own";

const DEVICES: &[Difference] = &[
    differs(
        "Session.remove_device_share",
        "",
        "true",
        ANYTHING,
        "what is not there cannot be removed; the stock server's first answer has no result",
    ),
    differs("", "/details/net/_id", ANYTHING, "", DATABASE),
    differs("", "/details/net/domain", ANYTHING, "", DATABASE),
    differs("", "/details/net/type", ANYTHING, "", DATABASE),
    differs(
        "Device",
        "/links/user//bob",
        r#"{"name":"bob","rights":8}"#,
        "",
        "the library names the account by its id, which the stock server does not find: it says \
         ok and changes nothing",
    ),
    differs(
        "Session.list_events",
        "/kinds",
        r#"["agentlog","changenode","nodemeshchange","runcommands"]"#,
        r#"["addnode","agentlog","changenode","nodemeshchange","runcommands"]"#,
        "a device's history begins with it",
    ),
    differs(
        "Session.remove_device_group gone",
        "/raised",
        r#""ServerError: Access denied""#,
        r#""ServerError: Unknown device group""#,
        "what is gone is unknown",
    ),
];

#[test]
fn power_is_the_same() {
    let transcripts = transcript::of_both(|server| {
        let lab = server.add_group("lab");
        let agent = common::simulated_agent(server, &lab);
        let mut transcript = play(server, "power", &[("device", agent.node())]);
        for action in [3, 4, 2, 3, 4, 2] {
            let heard = agent.json("poweraction");
            let asked = format!("the agent hears {action}");
            transcript.steps.push(Step { asked, answer: heard["actiontype"].clone() });
        }
        transcript
    });
    compare::assert_same(&transcripts, &[]);
}

/// Runs a script with what it has to know.
fn play(server: &mut dyn Server, area: &str, given: &[(&str, &str)]) -> Transcript {
    let url = format!("wss://127.0.0.1:{}", server.port());
    let mut script = Process::start(libmeshctrl::python(), |command| {
        command.arg(peer(area)).args([&url, ADMIN, PASSWORD]).env("TZ", "UTC");
        command.args(given.iter().map(|(name, value)| format!("{name}={value}")));
    });
    script.wait_for_end(PATIENCE * 2).expect("the script ends");
    let output = script.stdout();
    let Ok(Value::Object(mut output)) = serde_json::from_str(&output) else {
        panic!("{area}.py printed {output:?}");
    };

    let mut normaliser = Normaliser::default();
    normaliser.name(&server.port().to_string(), "port");
    given.iter().for_each(|(name, value)| normaliser.name(value, name));
    for (name, value) in output["known"].as_object().expect("names and values") {
        normaliser.name(value.as_str().expect("a value is text"), name);
    }
    let Some(Value::Array(steps)) = output.remove("steps") else { panic!("no list of steps") };
    let steps = steps.into_iter().map(|mut step| Step {
        asked: step["asked"].as_str().expect("it says what it asked").to_owned(),
        answer: normaliser.tree(step["answer"].take()),
    });
    Transcript { steps: steps.collect() }
}

fn peer(area: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/peers", &format!("{area}.py")].iter().collect()
}

#[test]
fn no_method_of_libmeshctrl_is_forgotten() {
    let mut methods = Process::start(libmeshctrl::python(), |command| {
        command.arg(peer("methods"));
    });
    methods.wait_for_end(PATIENCE).expect("it ends");
    let methods = methods.stdout();
    let methods: BTreeSet<_> = methods.lines().collect();
    assert!(methods.len() > 60, "{methods:?}");

    let elsewhere: BTreeSet<_> = ELSEWHERE.iter().map(|(method, _)| *method).collect();
    let scripts = ["people", "devices", "power"]
        .map(|area| std::fs::read_to_string(peer(area)).expect("the script is there"));
    for method in methods {
        let asked = scripts.iter().any(|script| {
            script.contains(&format!("\"{method}\"")) || script.contains(&format!("\"{method} "))
        });
        assert_ne!(asked, elsewhere.contains(method), "{method}: asked by one script, or excused");
    }
}
