//! The unmodified `meshctrl` on devices and the server: sharing, editing, details, reports.

mod common;

use common::simulated::{self, Group, Keys, Live, Memory, identity};
use common::{Meshboard, Server};
use serde_json::{Value, json};

against_both_servers! {
    a_share_is_added_listed_and_removed,
    a_share_may_recur_or_never_end,
    a_share_that_makes_no_sense_is_refused,
    a_local_device_needs_a_group_of_its_kind,
    a_device_is_edited_in_every_part,
    everything_about_devices_comes_as_json_and_csv,
    a_device_tells_about_itself,
    reports_have_their_columns,
    the_server_tells_about_itself,
}

/// A connected simulated agent whose core runs.
fn agent(server: &dyn Server) -> Live {
    let group = server.add_group("office");
    let hash = server.meshctrl().server_info("agentCertHash");
    let group = Group {
        mesh: identity::from_text(&group).expect("a group id has 48 bytes"),
        server: identity::from_text(&hash).expect("a server id has 48 bytes"),
    };
    let url = format!("wss://127.0.0.1:{}/agent.ashx", server.port());
    let url = simulated::Server::parse(&url).expect("a valid URL");
    let identity = Keys::for_fleet(8, 2048).expect("target is writable").agent(0);
    let live = Live::connect(&url, identity, group, Memory::default());
    live.core_runs();
    server.meshctrl().wait_for_device("is this agent", |device| {
        device["_id"] == live.node() && device["conn"] == 1
    });
    live
}

/// The value of a line `Name:   value` of what `devicesharing` prints.
fn line<'a>(output: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}:");
    let found = output.lines().find_map(|line| line.strip_prefix(&prefix));
    found.unwrap_or_else(|| panic!("no {name} in {output}")).trim()
}

fn a_share_is_added_listed_and_removed(server: &mut dyn Server) {
    let live = agent(server);
    let meshctrl = server.meshctrl();
    let sharing =
        |more: &[&str]| meshctrl.run(&[&["devicesharing", "--id", live.node()], more].concat());
    let none = "No device sharing links for this device.";
    assert_eq!(sharing(&[]).trim(), none);
    let added = sharing(&["--add", "guest one", "--type", "desktop,terminal", "--duration", "30"]);
    assert!(added.contains("/sharing?c="), "{added}");
    let listed = sharing(&[]);
    assert_eq!(line(&listed, "Type"), "Terminal + Desktop");
    assert_eq!(line(&listed, "Guest Name"), "guest one");
    assert_eq!(line(&listed, "UserId"), "user//admin");
    assert!(added.contains(line(&listed, "URL")), "{added}\n{listed}");
    assert!(!line(&listed, "Expire Time").is_empty());
    let id = line(&listed, "Identifier").to_owned();
    assert_eq!(id.len(), 12);
    sharing(&["--remove", &id]);
    assert_eq!(sharing(&[]).trim(), none);
}

fn a_share_may_recur_or_never_end(server: &mut dyn Server) {
    let live = agent(server);
    let meshctrl = server.meshctrl();
    let sharing =
        |more: &[&str]| meshctrl.run(&[&["devicesharing", "--id", live.node()], more].concat());
    sharing(&["--add", "g", "--type", "files", "--daily", "--duration", "20", "--viewonly"]);
    let listed = sharing(&[]);
    assert_eq!(line(&listed, "Recurring"), "Daily");
    assert_eq!(line(&listed, "Duration"), "20 minutes");
    sharing(&["--remove", line(&listed, "Identifier")]);
    sharing(&["--add", "g", "--viewonly", "--consent", "prompt,bar"]);
    let listed = sharing(&[]);
    assert_eq!(line(&listed, "Type"), "View Only Desktop");
    assert_eq!(line(&listed, "User Consent"), "Desktop Prompt, Desktop Connection Toolbar");
    assert!(!listed.contains("Expire Time"), "{listed}");
}

fn a_share_that_makes_no_sense_is_refused(server: &mut dyn Server) {
    let live = agent(server);
    let meshctrl = server.meshctrl();
    let long = "x".repeat(129);
    let answer = meshctrl.run(&["devicesharing", "--id", live.node(), "--add", &long]);
    assert_eq!(answer.trim(), "Invalid guest name");
    let nowhere = "x".repeat(64);
    let answer = meshctrl.run(&["devicesharing", "--id", &nowhere]);
    assert_eq!(answer.trim(), "Invalid node id");
}

fn a_local_device_needs_a_group_of_its_kind(server: &mut dyn Server) {
    let group = server.add_group("office");
    let meshctrl = server.meshctrl();
    let add = |more: &[&str]| {
        let arguments = ["addlocaldevice", "--id", &group, "--devicename", "nas"];
        meshctrl.run(&[&arguments[..], more].concat())
    };
    let answer = add(&["--hostname", "192.168.1.5"]);
    assert_eq!(answer.trim(), "Local device agentless mesh only allowed");
    assert_eq!(add(&["--hostname", "192.168.1.5", "--type", "5"]).trim(), "Invalid type");
    assert_eq!(meshctrl.devices(), Vec::<Value>::new());
}

fn a_device_is_edited_in_every_part(server: &mut dyn Server) {
    let live = agent(server);
    let meshctrl = server.meshctrl();
    let edit = |more: &[&str]| {
        meshctrl.ok(&[&["editdevice", "--id", live.node()], more].concat());
        meshctrl.device(live.node()).expect("it is listed")
    };
    let device = edit(&[
        "--name",
        "Küche",
        "--desc",
        "a, b",
        "--tags",
        "b,a,b",
        "--icon",
        "3",
        "--consent",
        "9",
    ]);
    assert_eq!(
        (&device["name"], &device["desc"], &device["tags"], &device["icon"], &device["consent"]),
        (&json!("Küche"), &json!("a, b"), &json!(["a", "b"]), &json!(3), &json!(9))
    );
    let device = edit(&["--tags", "--icon", "1"]);
    assert_eq!((device.get("tags"), &device["icon"]), (None, &json!(1)));
    assert_eq!(device["name"], "Küche");
}

fn everything_about_devices_comes_as_json_and_csv(server: &mut dyn Server) {
    let live = agent(server);
    let meshctrl = server.meshctrl();
    meshctrl.ok(&["editdevice", "--id", live.node(), "--tags", "x,y"]);
    let details = meshctrl.json(&["listdevices", "--details"]);
    let device = &details[0]["node"];
    assert_eq!((&device["_id"], &device["groupname"]), (&json!(live.node()), &json!("office")));
    assert!(details[0]["lastConnect"]["time"].is_u64(), "{details}");

    let csv = meshctrl.run(&["listdevices", "--details", "--csv"]);
    let mut lines = csv.lines();
    let header: Vec<_> = lines.next().unwrap_or_default().split(',').collect();
    assert_eq!(header.len(), 42);
    assert_eq!((header[0], header[7], header[41]), ("id", "groupname", "lastConnectAddr"));
    let row: Vec<_> = lines.next().expect("one device").split(',').collect();
    assert_eq!(row[0], format!("\"{}\"", live.node()));
    assert_eq!((row[7], row[13]), ("\"office\"", "\"x|y\""));

    let csv = meshctrl.run(&["listdevices", "--csv"]);
    assert_eq!(csv.lines().count(), 1, "{csv}");
    assert!(csv.contains(live.node().trim_start_matches("node//")), "{csv}");
}

fn a_device_tells_about_itself(server: &mut dyn Server) {
    let live = agent(server);
    let meshctrl = server.meshctrl();
    meshctrl.ok(&["editdevice", "--id", live.node(), "--name", "kitchen", "--desc", "by the door"]);
    let info = meshctrl.json(&["deviceinfo", "--id", live.node()]);
    assert_eq!(info["General"]["Server Name"], "kitchen");
    assert_eq!(info["General"]["Description"], "by the door");
    assert_eq!(meshctrl.run(&["deviceinfo", "--id", "nosuchdevice"]).trim(), "Invalid device id");
}

fn reports_have_their_columns(server: &mut dyn Server) {
    let meshctrl = server.meshctrl();
    server.add_group("office");
    let report = |more: &[&str]| meshctrl.run(&[&["report"], more].concat());
    let records = report(&["--type", "db"]);
    let mut lines = records.lines();
    assert_eq!(lines.next(), Some("group,record,recordcount"));
    let rows: Vec<_> = lines.collect();
    assert!(rows.contains(&"0,mesh,1") && rows.contains(&"0,user,1"), "{records}");
    for (arguments, header) in [
        (&["--type", "sessions"][..], "group,time,nodeid,meshid,protocol,length"),
        (
            &["--type", "sessions", "--groupby", "device", "--showtraffic"],
            "group,time,userid,protocol,length,bytesin,bytesout",
        ),
        (&["--type", "traffic"], "group,userid,length,bytesin,bytesout"),
        (&["--type", "logins"], "group,time,ip,browser,os,twofactor,msg"),
        (
            &["--type", "logins", "--groupby", "day"],
            "group,time,userid,ip,browser,os,twofactor,msg",
        ),
    ] {
        let output = report(arguments);
        assert_eq!(output.lines().next(), Some(header), "{arguments:?}");
    }
}

fn the_server_tells_about_itself(server: &mut dyn Server) {
    let meshctrl = server.meshctrl();
    let info = meshctrl.json(&["serverinfo"]);
    assert_eq!((&info["name"], &info["domain"]), (&json!("127.0.0.1"), &json!("")));
    assert_eq!(info["port"], server.port());
    // Over the Internet alone; files may be kept.
    let features = info["features"].as_u64().expect("a number");
    assert_eq!(features & 0b1011, 0b0001, "{features:#x}");
    assert!(info["certExpire"].as_u64().expect("a number") > 2_000_000_000_000);
}

/// The stock server looks around in its network when it has one, so only ours is asked.
#[test]
fn devices_without_an_agent_are_added_where_there_is_a_local_network() {
    let server = Meshboard::start_with(&json!({"settings": {"WANonly": false}}));
    server.command(&["user", "add", common::ADMIN, "--admin", "--password", common::PASSWORD]);
    let meshctrl = server.meshctrl();
    let group = |name: &str, kind: &str| {
        let answer = meshctrl.run(&["adddevicegroup", "--name", name, kind]);
        answer.trim().strip_prefix("ok ").expect("it is added").to_owned()
    };
    let (local, amt) = (group("local", "--agentless"), group("amt", "--amtonly"));
    meshctrl.ok(&[
        "addlocaldevice",
        "--id",
        &local,
        "--devicename",
        "nas",
        "--hostname",
        "192.168.1.5",
        "--type",
        "6",
    ]);
    meshctrl.ok(&[
        "addamtdevice",
        "--id",
        &amt,
        "--devicename",
        "desk",
        "--hostname",
        "192.168.1.6",
        "--user",
        "admin",
        "--pass",
        "P@ssw0rd1",
        "--notls",
    ]);
    let devices = meshctrl.devices();
    let find =
        |name: &str| devices.iter().find(|device| device["name"] == name).expect("it is listed");
    assert_eq!(find("nas")["agent"], json!({"id": 6, "caps": 0}));
    assert_eq!((&find("nas")["mtype"], &find("nas")["host"]), (&json!(3), &json!("192.168.1.5")));
    let amt = json!({"user": "admin", "pass": 1, "tls": 0});
    assert_eq!((&find("desk")["intelamt"], &find("desk")["mtype"]), (&amt, &json!(1)));
}
