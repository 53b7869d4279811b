//! Links for guests: made, listed, withdrawn.

use super::devices::agent;
use super::{ADDED_DEVICE, Difference, Scenario, Script, add_share, differs};

pub const SCENARIO: Scenario = Scenario {
    commands: &["adduser", "adddevicegroup", "addusertodevice", "devicesharing", "listevents"],
    differences: DIFFERENCES,
    play,
};

const WITHOUT_RESULT: &str = "the stock server sends a frame without result before the answer";

const DIFFERENCES: &[Difference] = &[
    ADDED_DEVICE,
    differs("admin: devicesharing", "/    port: null", "5", "", "no port is no member"),
    differs(
        "admin: devicesharing --id {device} --remove",
        "/0",
        r#""undefined""#,
        r#""OK""#,
        WITHOUT_RESULT,
    ),
    differs(
        "admin: devicesharing --id {device} --remove",
        "/0",
        r#""undefined""#,
        r#""Invalid device share identifier.""#,
        WITHOUT_RESULT,
    ),
];

fn play(script: &mut Script<'_>) {
    script.run("adduser --user bob --pass Bobs-Secret-1");
    script.login("bob", "Bobs-Secret-1");
    script.learn("lab", "adddevicegroup --name lab");
    let _agent = agent(script, "lab", "device");

    script.run("devicesharing --id {device}");
    add_share(script, "limited", "--add guest1 --type desktop,terminal --duration 30");
    add_share(script, "unlimited", "--add 'Guest 2' --type files");
    add_share(script, "daily", "--add guest3 --daily --duration 20 --viewonly");
    add_share(script, "weekly", "--add guest4 --weekly --start 2027-01-05T08:00:00Z --duration 60");
    add_share(
        script,
        "window",
        "--add guest5 --start 2027-01-05T08:00:00Z --end 2027-01-05T09:30:00Z --consent prompt,bar",
    );
    add_share(script, "web", "--add guest6 --type http --port 8080");
    add_share(script, "websecure", "--add guest7 --type https --consent none");
    script.run("devicesharing --id nosuch --add guest");
    script.run(&format!("devicesharing --id {{device}} --add {}", "x".repeat(129)));
    script.list("devicesharing --id {device}");
    script.list("devicesharing --id {device} --json");
    script.list("devicesharing --id {device.short}");
    script.run("devicesharing --id nosuch");

    script.run_as("bob", "devicesharing --id {device}");
    script.run_as("bob", "devicesharing --id {device} --add mine");
    script.run("addusertodevice --id {device} --userid bob --remotecontrol");
    script.run_as("bob", "devicesharing --id {device}");
    script.run_as("bob", "devicesharing --id {device} --add mine");
    script.run_as("bob", "devicesharing --id {device} --remove {limited}");

    script.run("devicesharing --id {device} --remove {limited}");
    script.run("devicesharing --id {device} --remove {limited}");
    script.run("devicesharing --id {device} --remove nosuch");
    script.list("devicesharing --id {device}");
    script.events("admin", "listevents --id {device} --json");
}
