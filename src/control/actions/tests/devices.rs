//! The list of devices, what is known about them, and changing it.

use super::*;
use crate::config::{Config, Reach};
use crate::model::LastSeen;
use crate::store::{DetailKind, PowerChange};

#[test]
fn a_device_shows_its_document_as_meshcentral_writes_it() {
    let (world, _) = lab();
    let mut device = (*world.hub.store.device(&node_id(2)).unwrap()).clone();
    device.ip = Some("127.0.0.1".into());
    device.tags = vec!["a".into(), "b".into()];
    device.ports = vec![("rdpport".into(), 3390)];
    device.extra = vec![
        ("intelamt".into(), r#"{"ver":"16.1","pass":"secret","mpspass":"secret"}"#.into()),
        ("av".into(), r#"[{"product":"x"}]"#.into()),
        ("_id".into(), r#""forged""#.into()),
        ("wsc".into(), "not json".into()),
    ];
    world.hub.store.put(device).later();
    world.link("carol", LinkTarget::Device(node_id(2)), Rights::REMOTE_CONTROL);
    let admin = world.session("admin");
    let nodes = ask(&admin, &json!({"action": "nodes", "responseid": "R", "tag": "T"})).remove(0);
    assert_eq!((&nodes["responseid"], &nodes["tag"]), (&json!("R"), &json!("T")));
    assert_eq!(
        nodes["nodes"],
        json!({group_id(1).to_string(): [{
            "type": "node", "mtype": 2, "_id": node_id(2).to_string(), "icon": 1, "name": "vm",
            "rname": "vm", "domain": "", "agent": {"ver": 0, "id": 6, "caps": 30}, "host": null,
            "firstconnect": 2000, "ip": "127.0.0.1", "tags": ["a", "b"], "rdpport": 3390,
            "intelamt": {"ver": "16.1", "pass": 1, "mpspass": 1}, "av": [{"product": "x"}],
            "links": {"user//carol": {"name": "carol", "rights": 8}}, "conn": 1, "pwr": 1, "agct": 3000,
        }]})
    );
    for (request, result) in [
        (json!({"meshid": "mesh//xx"}), "Invalid group id"),
        (json!({"meshname": "nolab"}), "Invalid group id"),
    ] {
        let mut request = request;
        request["action"] = "nodes".into();
        request["responseid"] = "R".into();
        assert_eq!(
            ask(&admin, &request),
            [json!({"action": "nodes", "responseid": "R",
            "result": result})]
        );
    }
    let carol = world.session("carol");
    let short = json!({"action": "nodes", "id": node_id(2).key.text()});
    assert_eq!(ask(&carol, &short)[0]["nodes"].as_object().unwrap().len(), 1);
}

#[test]
fn deviceinfo_gets_an_answer_to_each_question_even_without_data() {
    let (world, _) = lab();
    let admin = world.session("admin");
    let (id, short) = (node_id(2).to_string(), node_id(2).key.text());
    let question = |action: &str, id: &str| {
        let request = json!({"action": action, "nodeid": id, "responseid": "R", "nodeinfo": true});
        ask(&admin, &request)
    };
    assert_eq!(
        question("getnetworkinfo", &short),
        [json!({"action": "getnetworkinfo", "nodeid": id, "netif": null, "netif2": null})]
    );
    assert_eq!(
        question("getsysinfo", &short),
        [
            json!({"action": "getsysinfo", "nodeid": id, "noinfo": true, "result": "Invalid device id"})
        ]
    );
    assert_eq!(
        question("lastconnect", &short),
        [json!({"action": "lastconnect", "nodeid": id, "noinfo": true, "result": "No data"})]
    );
    assert_eq!(
        question("lastconnect", "xxxxx"),
        [json!({"action": "lastconnect",
        "nodeid": "node//xxxxx", "noinfo": true, "result": "Invalid device id"})]
    );

    let store = &world.hub.store;
    let netinfo = br#"{"netif2":{"eth0":[{"mac":"02:FC:00:00:00:01"}]},"action":"netinfo"}"#;
    store.set_detail(&node_id(2), DetailKind::Network, netinfo, None, Millis(5));
    let sysinfo = br#"{"hardware":{"x":1},"hash":"00","action":"forged"}"#;
    store.set_detail(&node_id(2), DetailKind::System, sysinfo, None, Millis(6));
    store.set_last_seen(&node_id(2), LastSeen { time: Millis(7), addr: "10.0.0.9:5".into() });
    assert_eq!(
        question("getnetworkinfo", &id),
        [json!({"action": "getnetworkinfo", "nodeid": id,
        "updateTime": 5, "netif2": {"eth0": [{"mac": "02:FC:00:00:00:01"}]}})]
    );
    let system = question("getsysinfo", &id).remove(0);
    assert_eq!(
        (&system["action"], &system["hardware"], &system["time"], &system["rights"]),
        (&json!("getsysinfo"), &json!({"x": 1}), &json!(6), &json!(u32::MAX))
    );
    assert_eq!(system["node"]["meshid"], group_id(1).to_string());
    assert_eq!(
        question("lastconnect", &id),
        [json!({"action": "lastconnect", "nodeid": id,
        "time": 7, "addr": "10.0.0.9:5"})]
    );
    let details = ask(&admin, &json!({"action": "getDeviceDetails", "type": "json"})).remove(0);
    let data: Value = serde_json::from_str(details["data"].as_str().unwrap()).unwrap();
    assert_eq!(data[0]["sys"]["hardware"], json!({"x": 1}));
    assert_eq!(data[0]["lastConnect"]["time"], 7);
}

#[test]
fn power_history_of_a_device_without_any_is_its_present_state() {
    let (world, _) = lab();
    let admin = world.session("admin");
    let ask_for = || {
        let request = json!({"action": "powertimeline", "nodeid": node_id(2).to_string()});
        ask(&admin, &request).remove(0)["timeline"].clone()
    };
    assert_eq!((&ask_for()[0], &ask_for()[2]), (&json!(1), &json!(1)));
    let change = PowerChange { time: Millis(1_795_324_620_850), power: 1 };
    world.hub.store.record_power(&node_id(2), change);
    assert_eq!(ask_for(), json!([0, 1_795_324_620, 1]));
}

#[test]
fn a_device_is_edited_moved_and_removed_with_the_events_clients_wait_for() {
    let (world, agent) = lab();
    world.link("carol", LinkTarget::Device(node_id(2)), Rights::REMOTE_CONTROL);
    let (admin, carol) = (world.session("admin"), world.session("carol"));
    heard(&admin);
    let id = node_id(2).to_string();
    let edit = json!({"action": "changedevice", "nodeid": node_id(2).key.text(), "name": "vm2",
        "tags": "y, x,,x", "icon": 99, "rdpport": 3390, "host": "10.0.0.1", "responseid": "R"});
    assert_eq!(
        ask(&admin, &edit),
        [json!({"action": "changedevice", "responseid": "R", "result": "ok"})]
    );
    let told = events(&admin).remove(0);
    assert_eq!(told["msgArgs"], json!(["vm2", "lab", "name, host, rdpport"]));
    assert_eq!(told["msg"], "Changed device vm2 from group lab: name, host, rdpport");
    assert_eq!(told["node"]["tags"], json!(["x", "y"]));
    assert_eq!(told["node"]["meshid"], group_id(1).to_string());
    assert_eq!(told["node"].get("conn"), None);
    assert_eq!(events(&carol).len(), 1);
    assert_eq!(ask(&admin, &edit).len(), 1);
    assert!(heard(&admin).is_empty(), "nothing changed, nothing told");

    let go = json!({"action": "changeDeviceMesh", "nodeids": [id, "node//nosuch"],
        "meshname": "other", "responseid": "R"});
    let results: Vec<_> = ask(&admin, &go).into_iter().map(|a| a["result"].clone()).collect();
    assert_eq!(results, ["ok", "Device not found"]);
    let told = events(&admin).remove(0);
    assert_eq!(
        (&told["oldMeshId"], &told["newMeshId"], &told["msgid"]),
        (&json!(group_id(1).to_string()), &json!(group_id(3).to_string()), &json!(85))
    );
    assert_eq!(ask(&admin, &go)[0]["result"], "Device already in correct group");
    heard(&carol);

    let remove = json!({"action": "removedevices", "nodeids": [id], "responseid": "R"});
    assert_eq!(
        ask(&admin, &remove),
        [json!({"action": "removedevices", "responseid": "R", "result": "ok"})]
    );
    let told = events(&admin);
    assert_eq!((&told[0]["action"], &told[0]["msgid"]), (&json!("accountchange"), &json!(86)));
    assert_eq!(
        (&told[1]["action"], &told[1]["msgArgs"]),
        (&json!("removenode"), &json!(["vm2", "other"]))
    );
    // Another group may have another policy for Intel AMT.
    let told = commands(&agent);
    assert!(matches!(told[..], [AgentCommand::Activate, AgentCommand::Disconnect]));
    assert!(world.hub.store.user(&carol.link().id.user).unwrap().links.is_empty());
    assert_eq!(ask(&admin, &remove)[0]["result"], "Denied");
}

#[test]
fn over_the_internet_alone_a_device_has_no_address() {
    let mut config = Config::default();
    config.settings.reach = Reach::Wan;
    let world = World::with(config);
    let group = world.group(1, "lab");
    world.device(2, &group, "vm");
    world.link("admin", LinkTarget::Group(group), Rights::FULL);
    let admin = world.session("admin");
    ask(&admin, &json!({"action": "changedevice", "nodeid": node_id(2).to_string(), "host": "h"}));
    assert_eq!(world.hub.store.device(&node_id(2)).unwrap().host, None);
    let local = json!({"action": "createmesh", "meshname": "x", "meshtype": 3, "responseid": "R"});
    assert_eq!(ask(&admin, &local)[0]["result"], "Invalid group type");
}

#[test]
fn a_right_on_a_single_device_can_be_given_and_taken() {
    let (world, _) = lab();
    let (admin, carol) = (world.session("admin"), world.session("carol"));
    let change = |rights: u32, remove: bool| {
        let request = json!({"action": "adddeviceuser", "nodeid": node_id(2).key.text(),
            "usernames": ["carol"], "rights": rights, "remove": remove, "responseid": "R"});
        ask(&admin, &request)[0]["result"].clone()
    };
    assert_eq!(change(3, false), "Invalid rights");
    assert_eq!(change(72, false), "ok");
    let told = events(&carol);
    assert_eq!(
        (&told[0]["msgid"], &told[0]["nodeListChange"]),
        (&json!(82), &json!("user//carol"))
    );
    assert_eq!(told[1]["node"]["links"], json!({"user//carol": {"rights": 72}}));
    assert_eq!(ask(&carol, &json!({"action": "nodes"}))[0]["nodes"].as_object().unwrap().len(), 1);
    assert_eq!(change(0, true), "ok");
    assert_eq!(events(&carol)[0]["msgid"], 81);
    assert_eq!(ask(&carol, &json!({"action": "nodes"}))[0]["nodes"], json!({}));
}

#[test]
fn a_thousand_devices_are_listed_in_one_answer() {
    let (world, _) = lab();
    for n in 0..1000_u32 {
        let mut key = [0; 48];
        key[..4].copy_from_slice(&n.to_be_bytes());
        let id = NodeId::new(world.domain(), crate::model::Key48(key));
        let group = group_id(if n % 2 == 0 { 1 } else { 3 });
        let mut device = Device::new(id, group, &format!("device {n}"), Millis(1));
        device.os = Some("Debian GNU/Linux 12 (bookworm)".into());
        device.extra = vec![("av".into(), r#"[{"product":"x","updated":true}]"#.into())];
        world.hub.store.put(device).later();
    }
    let admin = world.session("admin");
    let nodes = ask(&admin, &json!({"action": "nodes"})).remove(0)["nodes"].take();
    let lengths: Vec<_> =
        nodes.as_object().unwrap().values().map(|list| list.as_array().unwrap().len()).collect();
    assert_eq!(lengths, [501, 500]);
}
