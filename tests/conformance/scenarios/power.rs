//! Power commands, with a simulated agent: a real one would switch this machine off.

use serde_json::json;

use super::{ADDED_DEVICE, Difference, Scenario, Script, differs, hidden};
use crate::common::simulated_agent;

pub const SCENARIO: Scenario = Scenario {
    commands: &["adddevicegroup", "devicepower", "adduser", "addusertodevice", "listevents"],
    differences: DIFFERENCES,
    play,
};

const REFUSED: &str = "what is refused is not called ok";

const DIFFERENCES: &[Difference] = &[
    ADDED_DEVICE,
    hidden("bob: devicepower --id {device} --off", r#""ok""#, r#""Invalid nodeid""#),
    differs("bob: devicepower", "/0", r#""ok""#, r#""Access denied""#, REFUSED),
];

fn play(script: &mut Script<'_>) {
    script.learn("lab", "adddevicegroup --name lab");
    let group = script.value("lab").to_owned();
    let agent = simulated_agent(script.server, &group);
    script.know("device", agent.node());

    for option in ["--off", "--reset", "--sleep"] {
        script.run(&format!("devicepower --id {{device}} {option}"));
        script.note(&format!("the agent hears {option}"), agent.json("poweraction"));
    }
    script.run("devicepower --id {device},nosuch --reset");
    script.note("the agent hears --reset of two", agent.json("poweraction"));

    script.run("adduser --user bob --pass Bobs-Secret-1");
    script.login("bob", "Bobs-Secret-1");
    script.run_as("bob", "devicepower --id {device} --off");
    script.run("addusertodevice --id {device} --userid bob --remotecontrol --wakedevices");
    script.run_as("bob", "devicepower --id {device} --off");
    script.run_as("bob", "devicepower --id {device} --amtreset");
    // What bob asked for has not reached it: this comes first.
    script.run("devicepower --id {device} --sleep");
    let heard = agent.json("poweraction");
    script.note("the agent hears nothing of bob", json!([heard["actiontype"], heard["userid"]]));
    script.events("admin", "listevents --id {device} --json");
}
