//! A device with the stock agent on it: seen, changed, moved, and asked to do things.

use super::{
    ADDED_DEVICE, ANYTHING, Difference, NO_DESCRIPTION, Scenario, Script, differs, hidden,
    know_user_group, told,
};
use crate::common::{Architecture, StockAgent};

pub const SCENARIO: Scenario = Scenario {
    commands: &[
        "adduser",
        "adddevicegroup",
        "listdevices",
        "deviceinfo",
        "editdevice",
        "movetodevicegroup",
        "addusertodevice",
        "removeuserfromdevice",
        "addusergroup",
        "addtousergroup",
        "removefromusergroup",
        "listusergroups",
        "runcommand",
        "devicetoast",
        "devicemessage",
        "deviceopenurl",
        "groupmessage",
        "grouptoast",
        "devicepower",
        "removedevice",
        "listevents",
    ],
    differences: DIFFERENCES,
    play,
};

const DATABASE: &str = "members of the database's own";
const REFUSED: &str = "what is refused is not called ok";
const CLAIMED: &str = "an agent could claim any session and address";

const DIFFERENCES: &[Difference] = &[
    ADDED_DEVICE,
    NO_DESCRIPTION,
    differs("", "/General/Description", r#""""#, "", "the same"),
    differs("admin: listdevices --details --json", "/net/_id", ANYTHING, "", DATABASE),
    differs("admin: listdevices --details --json", "/net/type", ANYTHING, "", DATABASE),
    differs("admin: listdevices --details --json", "/net/domain", ANYTHING, "", DATABASE),
    differs("admin: listdevices --details --json", "/lastConnect/cause", "1", "", DATABASE),
    differs("admin: listdevices --details --json", "/lastConnect/connectType", "1", "", DATABASE),
    told("admin: runcommand --id {device} --run xxx", r#""Invalid command""#),
    told("admin: devicepower --id nosuch --off", r#""Invalid nodeid""#),
    differs("admin: devicetoast --id nosuch", "/0", r#""ok""#, r#""Access Denied""#, REFUSED),
    differs("bob: devicetoast", "/0", r#""ok""#, r#""Access Denied""#, REFUSED),
    differs("carol: devicetoast", "/0", r#""ok""#, r#""Access Denied""#, REFUSED),
    differs(
        "bob: devicepower --id {device} --reset",
        "/0",
        r#""ok""#,
        r#""Access denied""#,
        REFUSED,
    ),
    differs(
        "admin: devicepower --id {device} --amt",
        "/0",
        r#""ok""#,
        r#""The login to Intel AMT is not known""#,
        REFUSED,
    ),
    differs("carol: devicemessage", "/0", r#""OK""#, r#""Unable to route""#, REFUSED),
    hidden("bob: movetodevicegroup", r#""Permission denied""#, r#""Unknown device group""#),
    hidden("carol: runcommand", r#""Access denied""#, r#""Invalid nodeid""#),
    differs(
        "carol: listevents",
        "/N",
        ANYTHING,
        "",
        "history is for those with a right on the device",
    ),
    differs("", "/remoteaddr", ANYTHING, "", CLAIMED),
    differs("", "/sessionid", ANYTHING, "", CLAIMED),
];

fn play(script: &mut Script<'_>) {
    script.run("adduser --user bob --pass Bobs-Secret-1");
    script.login("bob", "Bobs-Secret-1");
    script.run("adduser --user carol --pass Carols-Secret-1");
    script.login("carol", "Carols-Secret-1");
    script.learn("lab", "adddevicegroup --name lab");
    script.learn("attic", "adddevicegroup --name attic");
    script.run("listdevices");
    script.run("listdevices --json");

    let mut agent = agent(script, "lab", "device");
    list(script);
    info(script);
    edit(script);
    share(script);
    act(script);
    act_without_rights(script);
    shift(script);
    history(script);
    remove(script, &mut agent);
}

/// Starts a stock agent in a group; the device, once everything is known about it.
pub fn agent(script: &mut Script<'_>, group: &str, name: &str) -> StockAgent {
    let group = script.value(group).to_owned();
    let agent = StockAgent::start(script.server, &group, Architecture::X86_64);
    let device = script.server.meshctrl().wait_for_agent();
    script.know(name, &device);
    agent
}

fn list(script: &mut Script<'_>) {
    for options in [
        "",
        "--json",
        "--csv",
        "--count",
        "--group lab",
        "--group lab --json",
        "--group attic --count",
        "--group nosuch",
        "--id {lab.short} --json",
        "--id {lab} --csv",
        "--id nosuch",
        "--filterid {device} --json",
        "--filterid nosuch",
        "--filter nosuch --count",
        "--filter 'g:lab' --count",
        "--filter 'ip:127' --count",
        "--filter 'os:linux' --count",
        "--details --json",
    ] {
        script.run(&format!("listdevices {options}"));
    }
    script.table("listdevices --details --csv");
    script.run_as("bob", "listdevices --json");
    script.run_as("bob", "listdevices --id {lab} --json");
    script.run_as("bob", "listdevices --details --json");
}

fn info(script: &mut Script<'_>) {
    script.run("deviceinfo --id {device.short} --json");
    script.run("deviceinfo --id {device}");
    script.run("deviceinfo --id nosuch");
    script.run_as("bob", "deviceinfo --id {device}");
}

fn edit(script: &mut Script<'_>) {
    script.run("editdevice --id {device} --name 'Küche 2' --desc 'under the sink' --tags red,blue --icon 4 --consent 7");
    script.run("listdevices --json");
    script.run("listdevices --filter 'tag:red' --count");
    script.run("listdevices --filter 'desc:sink' --count");
    script.run("editdevice --id {device.short} --name kitchen --desc --tags");
    script.run("editdevice --id {device} --name kitchen");
    script.run("editdevice --id {device}");
    script.run("editdevice --id nosuch --name x");
    script.run_as("bob", "editdevice --id {device} --name mine");
    script.run("listdevices --json");
}

fn share(script: &mut Script<'_>) {
    script.run("addusertodevice --id {device} --userid bob --remotecontrol --wakedevices");
    script.run("addusertodevice --id {device} --userid carol --fullrights");
    script.run("addusertodevice --id {device} --userid nobody --remotecontrol");
    script.unanswered("admin", "addusertodevice --id nosuch --userid bob --remotecontrol");
    script.run("listdevices --json");
    script.run_as("bob", "listdevices --json");
    script.run_as("bob", "deviceinfo --id {device} --json");
    script.unanswered("bob", "addusertodevice --id {device} --userid carol --remotecontrol");
    script.run("removeuserfromdevice --id {device} --userid carol");
    script.run("removeuserfromdevice --id {device} --userid carol");
    script.run_as("carol", "listdevices --json");

    script.run("addusergroup --name staff");
    know_user_group(script, "staff");
    script.run("addtousergroup --groupid {staff} --id user//carol");
    script.run("addtousergroup --groupid {staff} --id {device} --rights 72");
    script.run("listusergroups --json");
    script.list("listusergroups");
    script.run_as("carol", "listdevices --json");
    script.run("removefromusergroup --groupid {staff} --id {device}");
    script.run_as("carol", "listdevices --json");
}

fn act(script: &mut Script<'_>) {
    script.run("runcommand --id {device} --run 'echo hello'");
    script.run("runcommand --id {device.short} --run 'echo hello; exit 3' --reply");
    script.run("runcommand --id {device} --run 'true' --runasuser");
    script.run("runcommand --id nosuch --run 'echo hello'");
    let long = "x".repeat(65536);
    script.unanswered("admin", &format!("runcommand --id {{device}} --run {long}"));
    script.run("devicetoast --id {device} --msg \"It's four\" --title Tea");
    script.run("devicetoast --id {device.short} --msg hi");
    script.run("devicetoast --id nosuch --msg hi");
    script.run("devicemessage --id {device} --msg hi --title T --timeout 2000");
    script.run("devicemessage --id nosuch --msg hi");
    script.run("deviceopenurl --id {device} --openurl https://example.com");
    script.run("deviceopenurl --id nosuch --openurl https://example.com");
    script.run("groupmessage --id {lab.short} --msg 'hi group'");
    script.run("grouptoast --id {lab} --msg 'hi group' --title T");
    script.run("devicepower --id {device} --wake");
    script.run("devicepower --id nosuch --wake");
    script.run("devicepower --id {device},nosuch --wake");
    script.run("devicepower --id {device} --amton");
    script.run("devicepower --id {device} --amtoff");
    script.run("devicepower --id {device} --amtreset");
    script.unanswered("admin", "devicepower --id nosuch --off");
}

/// Bob may control it remotely and wake it, nothing else.
fn act_without_rights(script: &mut Script<'_>) {
    script.run_as("bob", "runcommand --id {device} --run 'echo hello'");
    script.run_as("bob", "devicetoast --id {device} --msg hi");
    script.run_as("bob", "devicemessage --id {device} --msg hi");
    script.run_as("bob", "devicepower --id {device} --wake");
    script.run_as("bob", "devicepower --id {device} --reset");
    script.run_as("bob", "movetodevicegroup --devid {device} --id {attic}");
    script.run_as("bob", "removedevice --id {device}");
    // Carol has no right at all any more.
    script.run_as("carol", "runcommand --id {device} --run 'echo hello'");
    script.run_as("carol", "devicetoast --id {device} --msg hi");
    script.run_as("carol", "devicemessage --id {device} --msg hi");
    script.run_as("carol", "devicepower --id {device} --wake");
    script.run_as("carol", "removedevice --id {device}");
}

fn shift(script: &mut Script<'_>) {
    script.run("movetodevicegroup --devid {device} --group lab");
    script.run("movetodevicegroup --devid {device} --group attic");
    script.run("listdevices --json");
    script.run("movetodevicegroup --devid nosuch --id {lab}");
    script.run("movetodevicegroup --devid {device} --group nosuch");
    script.run("movetodevicegroup --devid {device} --id mesh//nonsense");
    script.run("movetodevicegroup --devid {device.short} --id {lab.short}");
    script.run("listdevices --json");
}

fn history(script: &mut Script<'_>) {
    script.events("admin", "listevents --id {device} --json");
    script.run("listevents --id nosuch --limit 5 --json");
    script.events("bob", "listevents --id {device} --json");
    script.run_as("carol", "listevents --id {device} --limit 5 --json");
}

fn remove(script: &mut Script<'_>, agent: &mut StockAgent) {
    agent.stop();
    script.server.meshctrl().wait_for_device("has left", |device| device["conn"] != 1);
    script.run("listdevices --json");
    script.run("deviceinfo --id {device} --json");
    script.run("runcommand --id {device} --run 'echo hello'");
    script.run("devicetoast --id {device} --msg hi");
    script.run("devicemessage --id {device} --msg hi");
    script.run("devicepower --id {device} --wake");
    script.run("removedevice --id nosuch");
    script.run("removedevice --id {device}");
    script.run("removedevice --id {device}");
    script.run("listdevices --json");
}
