//! Events as they happen: what an administrator and what others see of the same acts.

use serde_json::{Deserializer, Value};

use super::devices::agent;
use super::{
    ADMIN_MADE, ANYTHING, Difference, NO_LINKS, PASSWORD_SET, Scenario, Script, add_share,
    add_token, differs, know_user_group,
};
use crate::common::process::Process;
use crate::script::{is_probe, kind};

pub const SCENARIO: Scenario = Scenario {
    commands: &[
        "showevents",
        "listevents",
        "adduser",
        "edituser",
        "removeuser",
        "adddevicegroup",
        "editdevicegroup",
        "removedevicegroup",
        "addusertodevicegroup",
        "removeuserfromdevicegroup",
        "addusertodevice",
        "editdevice",
        "movetodevicegroup",
        "addusergroup",
        "listusergroups",
        "addtousergroup",
        "removeusergroup",
        "logintokens",
        "devicesharing",
        "runcommand",
        "broadcast",
        "removedevice",
    ],
    differences: DIFFERENCES,
    play,
};

const WHO: &str = "userid and username say who did it, not to whom";
const DOMAIN: &str = "every event says its domain under that name";
const UNNAMED: &str = "the stock server forgets the name of what it deletes";
const HEARD: &str = "a right on a device is a right to hear of it, from the moment it is given";
const LOST: &str = "an event without a domain is not found in the stock server's history";
const STATE: &str = "events carry the record of a device, nodeconnect its connections";

const DIFFERENCES: &[Difference] = &[
    PASSWORD_SET,
    NO_LINKS,
    ADMIN_MADE,
    differs("", "/features", ANYTHING, ANYTHING, "every server says what it has"),
    differs("", "/features2", ANYTHING, ANYTHING, "every server says what it has"),
    differs("", "/languages", ANYTHING, r#"["en"]"#, "messages are in English only"),
    // Who, to whom, of what tenant
    differs("", "/nodeListChange", "", r#""user//carol""#, "as with the right given before"),
    differs("", "/userid", ANYTHING, r#""user//admin""#, WHO),
    differs("", "/username", ANYTHING, r#""admin""#, WHO),
    differs("", "/userid", "", r#""user//admin""#, WHO),
    differs("", "/domain", "", r#""""#, DOMAIN),
    differs("", "/ugrpdomain", r#""""#, "", DOMAIN),
    differs("", "/addUserDomain", r#""""#, "", DOMAIN),
    differs("", "/delGroupDomain", r#""""#, "", DOMAIN),
    differs("", "/msgArgv", ANYTHING, "", "a slip of the stock server for msgArgs"),
    differs("", "/msgArgs", "", r#"["staff"]"#, "a slip of the stock server for msgArgs"),
    differs("", "/msg", r#""Device group deleted: undefined""#, ANYTHING, UNNAMED),
    differs("", "/msgArgs", "[null]", ANYTHING, UNNAMED),
    differs("", "/deletemesh/N/event/name", "", ANYTHING, UNNAMED),
    differs("admin: listevents", "/deletemesh/N/name", "", ANYTHING, UNNAMED),
    differs("", "/msg", "0", r#""User group deleted: staff""#, UNNAMED),
    differs(
        "",
        "/msg",
        r#""Added user staff to device group lab""#,
        r#""Added user group staff to device group lab""#,
        "a user group is not a user",
    ),
    // Devices
    differs("", "/nodeconnect/N/event/id", ANYTHING, "", "a number that means nothing"),
    differs("", "/ifchange/N/event/etype", "", r#""node""#, "it is an event of a device"),
    differs("", "/ifchange", "", ANYTHING, HEARD),
    differs(
        "",
        "/addnode/N/event/node/agent/caps",
        ANYTHING,
        ANYTHING,
        "kept without what is the connection's",
    ),
    differs(
        "",
        "/addnode/N/event/node/ip",
        "",
        r#""127.0.0.1""#,
        "the device is told whole at once",
    ),
    differs(
        "",
        "/addnode/N/event/nodeid",
        "",
        ANYTHING,
        "so that the device's history begins with it",
    ),
    differs("", "/changenode/N/event/node/agct", ANYTHING, "", STATE),
    differs("", "/changenode/N/event/node/conn", "1", "", STATE),
    differs("", "/changenode/N/event/node/pwr", "1", "", STATE),
    differs("", "/deviceShares/N/port", "null", "", "no port is no member"),
    differs("", "/devicesessions", ANYTHING, "", "no sessions are not told when there were none"),
    differs(
        "",
        "/msg/N",
        r#"{"action":"msg","nodeid":"node//<device>","responseid":"meshctrl","result":"hello\n","type":"runcommands"}"#,
        "",
        "a command's result is for who asked, not for everybody",
    ),
    // History
    differs(
        "admin: listevents",
        "/addnode/N/nodeid",
        "",
        ANYTHING,
        "so that the device's history begins with it",
    ),
    differs("admin: listevents", "/createusergroup", "", ANYTHING, LOST),
    differs("admin: listevents", "/usergroupchange/N", "", ANYTHING, LOST),
    differs("admin: listevents", "/accountchange/N", "", ANYTHING, LOST),
    differs(
        "bob: listevents",
        "/accountcreate",
        "",
        ANYTHING,
        "an account's history begins with it",
    ),
    // Heard at once
    differs("what carol heard", "/nodeconnect", "", ANYTHING, HEARD),
    differs("what carol heard", "/addedDeviceShare", "", ANYTHING, HEARD),
    differs("what carol heard", "/deviceShareUpdate", "", ANYTHING, HEARD),
];

/// What every listener waits for at the end.
const LAST: &str = "that is all";

fn play(script: &mut Script<'_>) {
    for name in ["bob", "carol"] {
        script.run(&format!("adduser --user {name} --pass Some-Secret-1"));
        script.login(name, "Some-Secret-1");
    }
    script.learn("lab", "adddevicegroup --name lab");
    // Bob may only control the group's devices; Carol has nothing to do with it.
    script.run("addusertodevicegroup --id {lab} --userid bob --remotecontrol");
    let listeners = ["admin", "bob", "carol"].map(|who| {
        let listener = script.start(who, "showevents");
        listener.wait_for_line(|line| line.contains("\"userinfo\""));
        (who, listener)
    });

    let mut agent = agent(script, "lab", "device");
    acts(script);
    agent.stop();
    script.server.meshctrl().wait_for_device("has left", |device| device["conn"] != 1);
    script.run("removedevice --id {device}");
    script.run("removedevicegroup --id {lab}");
    script.run("removeuser --userid dave");
    script.run(&format!("broadcast --msg '{LAST}'"));
    for (who, listener) in listeners {
        script.hears(who, &listener, LAST);
        heard(script, who, &listener);
    }
    script.events("admin", "listevents --json");
    script.events("bob", "listevents --json");
}

fn acts(script: &mut Script<'_>) {
    script.run("editdevice --id {device} --name kitchen --desc 'under the sink'");
    script.run("editdevicegroup --id {lab} --desc 'Lab group'");
    script.learn("attic", "adddevicegroup --name attic");
    script.run("movetodevicegroup --devid {device} --id {attic}");
    script.run("movetodevicegroup --devid {device} --id {lab}");
    script.run("runcommand --id {device} --run 'echo hello' --reply");
    script.run("addusertodevice --id {device} --userid carol --remotecontrol");
    script.run("adduser --user dave --pass Some-Secret-1");
    script.run("edituser --userid dave --realname Dave");
    script.run("addusergroup --name staff");
    know_user_group(script, "staff");
    script.run("addtousergroup --groupid {staff} --id user//dave");
    script.run("addtousergroup --groupid {staff} --id {lab} --rights 8");
    script.run("removeusergroup --groupid {staff}");
    add_token(script, "robot", "--add robot");
    add_share(script, "guest", "--add guest --duration 30");
    script.run("removeuserfromdevicegroup --id {lab} --userid user//bob");
    script.run("removedevicegroup --id {attic}");
}

/// Writes down what a listener heard, sorted by kind: what comes from the agent may come at any
/// moment between the others.
fn heard(script: &mut Script<'_>, who: &str, listener: &Process) {
    const UNCERTAIN: [&str; 1] = ["wssessioncount"];
    // The agent says so of itself when a command it ran ends at the wrong moment, whoever asked.
    const AGENTS_SLIP: &str = "Cannot waitExit() because current thread is exiting";
    let output = listener.stdout();
    let output = output.trim_start_matches("Connected. Press ctrl-c to end.");
    let messages = Deserializer::from_str(output).into_iter::<Value>().map_while(Result::ok);
    let messages = messages.map(|message| (kind(&message), message));
    // How many steps an agent's first reports come in is up to its timing.
    let report = |message: &Value| message["event"]["nolog"] == 1;
    let certain = messages.filter(|(_, message)| !is_probe(message));
    let certain = certain.filter(|(kind, message)| match kind.as_str() {
        "changenode" => !report(message),
        "msg" => !message.to_string().contains(AGENTS_SLIP),
        kind => !UNCERTAIN.contains(&kind),
    });
    let kinds = script.by_kind(certain);
    script.note(&format!("what {who} heard"), kinds.into());
}
