//! Moving in from MeshCentral, and back to it: a stock agent that was installed against a stock server finds ours
//! in its place, as the same device and without a change on its side; people log in with their old
//! passwords. And the other way round, by an export.

mod common;

use std::fs;
use std::path::Path;

use common::{Architecture, MeshCtrl, Meshboard, Server, StockAgent, StockServer};
use serde_json::Value;

/// Every file of a folder with its content.
fn content(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder exists")
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| (entry.path(), fs::read(entry.path()).expect("the file is ours")))
        .collect();
    files.sort();
    files
}

#[test]
fn agents_and_people_find_our_server_in_the_place_of_the_stock_one() {
    let mut stock = StockServer::start();
    let meshctrl = stock.meshctrl();
    let group = stock.add_group("office");
    meshctrl.ok(&["adduser", "--user", "bob", "--pass", "Bobs-Old-Pass-1", "--realname", "Bob B."]);
    meshctrl.run(&["addusertodevicegroup", "--id", &group, "--userid", "bob", "--fullrights"]);
    let _agent = StockAgent::start(&stock, &group, Architecture::X86_64);
    let found = meshctrl.wait_for_device("is connected", |device| device["conn"] == 1);
    let device = found["_id"].as_str().expect("an id is text").to_owned();
    meshctrl.run_on_device(&device, "echo forty-$((6*7))", "forty-42");
    meshctrl.ok(&["editdevice", "--id", &device, "--desc", "under the desk", "--tags", "red,blue"]);
    let before = meshctrl.device(&device).expect("it is there");
    let id = meshctrl.server_info("agentCertHash");
    let events_before = meshctrl.json(&["listevents", "--limit", "1000"]);

    stock.stop();
    let source = content(stock.data());
    let ours = Meshboard::in_place_of(&stock);
    assert_eq!(content(stock.data()), source, "the source is only read");

    // The agent comes by itself.
    let meshctrl = ours.meshctrl();
    assert_eq!(meshctrl.server_info("agentCertHash"), id);
    let after = meshctrl.wait_for_device("is connected", |device| device["conn"] == 1);
    assert_eq!(after["_id"], device.as_str());
    for member in ["name", "desc", "tags", "meshid", "osdesc", "firstconnect", "icon"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    meshctrl.run_on_device(&device, "echo forty-$((6*7))", "forty-42");
    assert_eq!(meshctrl.devices().len(), 1);

    // People come with what they had.
    let bob = MeshCtrl::new(ours.port(), "bob", "Bobs-Old-Pass-1");
    assert_eq!(bob.json(&["userinfo"])["realname"], "Bob B.");
    bob.run_on_device(&device, "echo forty-$((6*7))", "forty-42");
    let refused = MeshCtrl::new(ours.port(), "bob", "another").run(&["listdevices"]);
    assert_eq!(refused.trim(), "Invalid login.");

    // And their past is there.
    let events = meshctrl.json(&["listevents", "--limit", "1000"]);
    let has = |events: &Value, action: &str| {
        let events = events.as_array().expect("a list");
        events.iter().filter(|event| event["action"] == action).count()
    };
    for action in ["addnode", "createmesh", "accountcreate"] {
        assert!(has(&events_before, action) > 0, "{action}");
        assert_eq!(has(&events, action), has(&events_before, action), "{action}");
    }
}

#[test]
fn the_stock_server_takes_our_place_with_what_was_exported() {
    let mut ours = Meshboard::start();
    let meshctrl = ours.meshctrl();
    let group = ours.add_group("office");
    meshctrl.ok(&[
        "adduser",
        "--user",
        "bob",
        "--pass",
        "Bobs-Pass-word-1",
        "--realname",
        "Bob B.",
    ]);
    meshctrl.run(&["addusertodevicegroup", "--id", &group, "--userid", "bob", "--fullrights"]);
    meshctrl.run(&["addusergroup", "--name", "team"]);
    let _agent = StockAgent::start(&ours, &group, Architecture::X86_64);
    let found = meshctrl.wait_for_device("is connected", |device| device["conn"] == 1);
    let device = found["_id"].as_str().expect("an id is text").to_owned();
    meshctrl.run_on_device(&device, "echo forty-$((6*7))", "forty-42");
    meshctrl.ok(&["editdevice", "--id", &device, "--desc", "under the desk", "--tags", "red,blue"]);
    let before = meshctrl.device(&device).expect("it is there");
    let id = meshctrl.server_info("agentCertHash");
    let lists = |meshctrl: &MeshCtrl| {
        ["listdevicegroups", "listusergroups"].map(|list| {
            let entries: Vec<Value> = match meshctrl.json(&[list]) {
                Value::Array(list) => list,
                Value::Object(by_id) => by_id.into_iter().map(|(_, entry)| entry).collect(),
                other => panic!("{list}: {other}"),
            };
            entries.iter().map(|entry| (entry["_id"].clone(), entry["name"].clone())).collect()
        })
    };
    let before_lists: [Vec<(Value, Value)>; 2] = lists(&meshctrl);
    assert!(before_lists.iter().all(|list| list.len() == 1), "{before_lists:?}");

    let refused = ours.try_command(&["export", "-"]);
    assert_eq!(refused.status.code(), Some(1), "it runs");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop the server first"));
    ours.stop();
    let stock = StockServer::in_place_of(&ours);

    // The agent comes by itself.
    let meshctrl = stock.meshctrl();
    assert_eq!(meshctrl.server_info("agentCertHash"), id);
    let after = meshctrl.wait_for_device("is connected", |device| device["conn"] == 1);
    assert_eq!(after["_id"], device.as_str());
    for member in ["name", "desc", "tags", "meshid", "osdesc", "firstconnect", "icon", "rname"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    meshctrl.run_on_device(&device, "echo forty-$((6*7))", "forty-42");
    assert_eq!(meshctrl.devices().len(), 1);
    assert_eq!(lists(&meshctrl), before_lists);
    let users = meshctrl.json(&["listusers"]);
    let bob = users.as_array().expect("a list").iter().find(|user| user["_id"] == "user//bob");
    let bob = bob.expect("he came along");
    assert_eq!(bob["realname"], "Bob B.");
    assert_eq!(bob["links"][&group]["rights"], u32::MAX, "{bob}");
}
