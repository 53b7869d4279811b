//! The unmodified `meshctrl` as a client: device groups, devices, events, and what it asks of
//! agents. The agent is simulated where it must be looked into, and where a real one would switch
//! this machine off.

mod common;

use std::process::Output;

use common::{ADMIN, MeshCtrl, Meshboard, PASSWORD, Server, simulated_agent};
use serde_json::{Value, json};

against_both_servers! {
    a_wrong_password_is_refused,
    server_and_user_introduce_themselves,
    groups_are_added_edited_and_removed,
    devices_are_renamed_moved_and_removed,
    a_command_comes_back_with_its_output,
    a_toast_reaches_the_agent,
    power_actions_reach_the_agent,
    a_listener_sees_a_device_come_and_go,
    events_are_listed_afterwards,
    an_acknowledged_rename_survives_a_restart,
}

fn group_names(meshctrl: &MeshCtrl) -> Vec<Value> {
    let mut names: Vec<_> =
        meshctrl.groups().into_iter().map(|group| group["name"].clone()).collect();
    names.sort_by_key(Value::to_string);
    names
}

fn a_wrong_password_is_refused(server: &mut dyn Server) {
    for (user, password) in [(ADMIN, "wrong"), ("nobody", PASSWORD), (ADMIN, "")] {
        let answer = MeshCtrl::new(server.port(), user, password).run(&["listdevices"]);
        assert_eq!(answer.trim(), "Invalid login.", "{user} with {password:?}");
    }
}

fn server_and_user_introduce_themselves(server: &mut dyn Server) {
    let meshctrl = server.meshctrl();
    assert_eq!(meshctrl.server_info("port"), server.port().to_string());
    assert_eq!(meshctrl.server_info("tlshash").len(), 96);
    assert_eq!(meshctrl.server_info("agentCertHash").len(), 64);
    let user = meshctrl.json(&["userinfo"]);
    assert_eq!(user["_id"], format!("user//{ADMIN}"));
    assert_eq!(user["siteadmin"], 4_294_967_295_u32);
}

fn groups_are_added_edited_and_removed(server: &mut dyn Server) {
    let meshctrl = server.meshctrl();
    let office = server.add_group("Büro");
    server.add_group("boards");
    assert_eq!(group_names(&meshctrl), ["Büro", "boards"]);

    meshctrl.ok(&["editdevicegroup", "--id", &office, "--name", "office", "--desc", "2nd floor"]);
    let groups = meshctrl.groups();
    let edited = groups.iter().find(|group| group["_id"] == office.as_str());
    let edited = edited.expect("the id has not changed");
    assert_eq!(edited["name"], "office");
    assert_eq!(edited["desc"], "2nd floor");
    assert_eq!(edited["mtype"], 2);
    assert_eq!(edited["links"][format!("user//{ADMIN}")]["rights"], 4_294_967_295_u32);

    meshctrl.ok(&["removedevicegroup", "--group", "boards"]);
    assert_eq!(group_names(&meshctrl), ["office"]);
}

fn devices_are_renamed_moved_and_removed(server: &mut dyn Server) {
    let meshctrl = server.meshctrl();
    let office = server.add_group("office");
    let attic = server.add_group("attic");
    let live = simulated_agent(server, &office);
    let node = live.node();

    meshctrl.ok(&["editdevice", "--id", node, "--name", "Küche", "--desc", "old", "--icon", "4"]);
    let device = meshctrl.device(node).expect("it is listed");
    assert_eq!(device["name"], "Küche");
    assert_eq!(device["icon"], 4);

    meshctrl.ok(&["movetodevicegroup", "--devid", node, "--id", &attic]);
    let device = meshctrl.device(node).expect("it is listed");
    assert_eq!(device["meshid"], attic.as_str());
    assert_eq!(device["groupname"], "attic");

    // An agent that comes back stays where it was moved to, whatever its .msh says, and keeps
    // its name.
    live.stop();
    let live = simulated_agent(server, &office);
    let device = meshctrl.device(live.node()).expect("it is listed");
    assert_eq!((&device["meshid"], &device["name"]), (&json!(attic), &json!("Küche")));

    live.stop();
    meshctrl.wait_for_device("has left", |device| device["conn"] != 1);
    meshctrl.ok(&["removedevice", "--id", device["_id"].as_str().expect("an id is text")]);
    assert_eq!(meshctrl.devices(), Vec::<Value>::new());
}

fn a_command_comes_back_with_its_output(server: &mut dyn Server) {
    let live = simulated_agent(server, &server.add_group("office"));
    server.meshctrl().run_on_device(live.node(), "uname -a", "ran: uname -a");
    let received = live.json("runcommands");
    assert_eq!(received["cmds"], "uname -a");
    assert_eq!(received["reply"], true);
    assert!(received["nodeid"].is_null() && received["nodeids"].is_null());
}

fn a_toast_reaches_the_agent(server: &mut dyn Server) {
    let live = simulated_agent(server, &server.add_group("office"));
    let arguments =
        ["devicetoast", "--id", live.node(), "--title", "Tea", "--msg", "It's \"four\""];
    server.meshctrl().ok(&arguments);
    let received = live.json("toast");
    assert_eq!(received["title"], "Tea");
    assert_eq!(received["msg"], "It's \"four\"");
    assert_eq!(received["userid"], format!("user//{ADMIN}"));
    assert_eq!(received["username"], ADMIN);
}

fn power_actions_reach_the_agent(server: &mut dyn Server) {
    let live = simulated_agent(server, &server.add_group("office"));
    for (option, action) in [("--off", 2), ("--reset", 3), ("--sleep", 4)] {
        server.meshctrl().ok(&["devicepower", "--id", live.node(), option]);
        assert_eq!(live.json("poweraction")["actiontype"], action, "{option}");
    }
}

fn a_listener_sees_a_device_come_and_go(server: &mut dyn Server) {
    let group = server.add_group("office");
    let listener =
        server.meshctrl().watch(&["showevents", "--filter", "addnode,nodeconnect,removenode"]);
    listener.wait_for_line(|line| line.starts_with("Connected"));
    let live = simulated_agent(server, &group);
    let node = live.node().to_owned();
    listener.wait_for_line(|line| line.contains("\"action\": \"addnode\""));
    listener.wait_for_line(|line| line.contains("\"action\": \"nodeconnect\""));
    listener.wait_for_line(|line| line.contains("\"conn\": 1"));
    live.stop();
    listener.wait_for_line(|line| line.contains("\"conn\": 0"));
    server.meshctrl().ok(&["removedevice", "--id", &node]);
    listener.wait_for_line(|line| line.contains("\"action\": \"removenode\""));
    assert!(listener.stdout().contains(&node));
}

fn events_are_listed_afterwards(server: &mut dyn Server) {
    let meshctrl = server.meshctrl();
    server.add_group("office");
    meshctrl.ok(&["editdevicegroup", "--group", "office", "--name", "attic"]);
    meshctrl.ok(&["removedevicegroup", "--group", "attic"]);
    let events = meshctrl.json(&["listevents"]);
    let events = events.as_array().expect("a list");
    for action in ["createmesh", "meshchange", "deletemesh"] {
        let event = events.iter().find(|event| event["action"] == action);
        let event = event.unwrap_or_else(|| panic!("no {action} in {events:#?}"));
        assert_eq!(event["userid"], format!("user//{ADMIN}"));
        assert!(event["msg"].is_string() && event["time"].is_string(), "{event}");
    }
}

fn an_acknowledged_rename_survives_a_restart(server: &mut dyn Server) {
    let live = simulated_agent(server, &server.add_group("office"));
    server.meshctrl().ok(&["editdevice", "--id", live.node(), "--name", "kitchen"]);
    let node = live.node().to_owned();
    live.stop();
    server.stop();
    server.start_again();
    let device = server.meshctrl().device(&node).expect("it is listed");
    assert_eq!(device["name"], "kitchen");
    assert_ne!(device["conn"], 1);
}

/// `ok` means that it is on the disk. (The stock server acknowledges first and fails this.)
#[test]
fn an_acknowledged_group_survives_sigkill() {
    let mut server = Meshboard::start();
    let mut expected = Vec::new();
    for round in 0..5 {
        let name = format!("group {round}");
        server.add_group(&name);
        server.kill();
        expected.push(Value::from(name));
        server.start_again();
        assert_eq!(group_names(&server.meshctrl()), expected);
    }
}

/// What the command line changes is seen by clients of the running server.
#[test]
fn groups_and_users_of_the_command_line_are_there_at_once() {
    let server = Meshboard::start();
    let group = server.command(&["group", "add", "office", "--json"]);
    let group: Value = serde_json::from_str(&group).expect("--json prints JSON");
    let groups = server.meshctrl().groups();
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0]["name"], "office");
    assert_eq!(groups[0]["_id"], group["meshid"]);

    server.command(&["user", "add", "second", "--admin", "--password", "Other-Horse-9"]);
    let second = MeshCtrl::new(server.port(), "second", "Other-Horse-9");
    assert_eq!(second.json(&["userinfo"])["name"], "second");
    server.command(&["user", "remove", "second"]);
    assert_eq!(second.run(&["userinfo"]).trim(), "Invalid login.");
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let server = Meshboard::start_empty();
    let Output { status, stderr, .. } = server.try_command(&["serve"]);
    assert!(!status.success());
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(stderr.contains(&*server.data().to_string_lossy()), "{stderr}");
}
