//! Every command of `meshctrl`, asked of the stock server and of ours by the same scripts.
//!
//! A scenario runs against both at the same time, each with agents of its own. What comes back is
//! compared; the differences that are meant to be stand beside the scenario, each with its reason.
//! Which commands there are says `meshctrl` itself, so none can be forgotten.

// A program has no outside; `pub` says what a module offers to the others.
#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;
mod scenarios;
mod script;

use std::collections::BTreeSet;
use std::process::Command;

use common::transcript::{self, Difference, Transcript, compare};
use common::{Server, installation};
use script::{STILL_WAITING, Script};

/// One script, what it covers, and how the answers may differ.
pub struct Scenario {
    /// Commands it runs.
    pub commands: &'static [&'static str],
    /// What differs.
    pub differences: &'static [Difference],
    /// The script.
    pub play: fn(&mut Script<'_>),
}

/// Commands no scenario runs.
const ELSEWHERE: &[(&str, &str)] = &[
    ("config", "edits a config.json and never connects"),
    ("indexagenterrorlog", "reads a log file of the stock server and never connects"),
    ("webrelay", "crashes the stock server without the setting relayDNS"),
    ("shell", "goes through a relay: tests/stock_relay.rs"),
    ("upload", "goes through a relay: tests/stock_relay.rs"),
    ("download", "goes through a relay: tests/stock_relay.rs"),
];

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        const SCENARIOS: &[&Scenario] = &[$(&scenarios::$name::SCENARIO),*];
        mod meshctrl_gets_the_same_answers {
            $(#[test]
            fn $name() {
                super::same(&super::scenarios::$name::SCENARIO);
            })*
        }
    };
}

scenarios! { server, accounts, tokens, two_factor, device_groups, user_groups, devices, sharing, power, events }

fn same(scenario: &Scenario) {
    let transcripts = transcript::of_both(|server| play(scenario, server));
    let stock = &transcripts[0];
    let waiting = stock.steps.iter().find(|step| step.answer.to_string().contains(STILL_WAITING));
    assert_eq!(waiting, None, "the stock server answers, or the script does not wait for it");
    compare::assert_same(&transcripts, scenario.differences);
}

fn play(scenario: &Scenario, server: &mut dyn Server) -> Transcript {
    let mut script = Script::new(server);
    (scenario.play)(&mut script);
    let (transcript, ran) = script.finish();
    let ran: BTreeSet<_> = ran.iter().map(String::as_str).collect();
    assert_eq!(ran, BTreeSet::from_iter(scenario.commands.iter().copied()), "what it says it runs");
    transcript
}

/// What is different each time has its placeholder: the tables above hold real differences only.
#[test]
fn the_stock_server_agrees_with_itself() {
    let transcripts =
        transcript::of_stock_twice(|server| play(&scenarios::sharing::SCENARIO, server));
    compare::assert_same(&transcripts, &[]);
}

#[test]
fn no_command_of_meshctrl_is_forgotten() {
    let meshctrl = installation::folder().join("meshctrl.js");
    let output = Command::new("node").arg(meshctrl).arg("nonsense").output().expect("node runs");
    let output = String::from_utf8(output.stdout).expect("meshctrl writes text");
    let (_, commands) = output.split_once("Possible commands are: ").expect("meshctrl lists them");
    let commands: BTreeSet<_> = commands.trim().trim_end_matches('.').split(", ").collect();
    assert!(commands.len() > 45, "{commands:?}");

    let played: BTreeSet<_> =
        SCENARIOS.iter().flat_map(|scenario| scenario.commands).copied().collect();
    let elsewhere: BTreeSet<_> = ELSEWHERE.iter().map(|(command, _)| *command).collect();
    assert_eq!(played.intersection(&elsewhere).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!(played.union(&elsewhere).copied().collect::<BTreeSet<_>>(), commands);
}
