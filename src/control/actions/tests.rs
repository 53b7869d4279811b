//! Every action of the table against users who lack the right, and the main actions against what
//! stock clients expect.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::config::{Config, Reach};
use crate::control::session::Session;
use crate::control::testing::{World, ask, commands, group_id, heard, node_id};
use crate::hub::{AgentCommand, CoreMode};
use crate::model::{LastSeen, LinkTarget, Millis, Target, User, UserGroup, UserGroupId};
use crate::store::{DetailKind, PowerChange};

/// A world with group `lab` (1), device `vm` (2) in it, and a second group `other` (3).
fn lab() -> (World, Rc<crate::hub::AgentLink>) {
    let world = World::new();
    let group = world.group(1, "lab");
    world.group(3, "other");
    let agent = world.device(2, &group, "vm");
    for name in ["bob", "carol"] {
        world.user(name, SiteRights::empty());
    }
    for group in [1, 3] {
        world.link("admin", LinkTarget::Group(group_id(group)), Rights::FULL);
    }
    (world, agent)
}

/// A request for each action that does something if it is allowed.
fn request_for(action: &str) -> Value {
    let (node, group, other) =
        (node_id(2).to_string(), group_id(1).to_string(), group_id(3).to_string());
    let mut request = match action {
        "adduser" => json!({"username": "new", "pass": "x"}),
        "edituser" => json!({"userid": "user//carol", "realname": "C"}),
        "deleteuser" => json!({"userid": "user//carol"}),
        "createmesh" => json!({"meshname": "g", "meshtype": 2}),
        "editmesh" => json!({"meshid": group, "desc": "hack"}),
        "deletemesh" => json!({"meshid": group}),
        "addmeshuser" => json!({"meshid": group, "usernames": ["carol"], "meshadmin": 8}),
        "removemeshuser" => json!({"meshid": group, "userid": "user//admin"}),
        "getnetworkinfo" | "getsysinfo" | "lastconnect" | "powertimeline" => {
            json!({"nodeid": node})
        }
        "changedevice" => json!({"nodeid": node, "name": "hack", "tags": "x"}),
        "changeDeviceMesh" => json!({"nodeids": [node], "meshid": other}),
        "removedevices" | "wakedevices" | "uninstallagent" => json!({"nodeids": [node]}),
        "uploadagentcore" => json!({"nodeids": [node], "type": "clear"}),
        "agentdisconnect" => json!({"nodeid": node, "disconnectMode": 1}),
        "adddeviceuser" => json!({"nodeid": node, "usernames": ["carol"], "rights": 8}),
        "setDeviceEvent" => json!({"nodeid": node, "msg": "hi"}),
        "msg" => json!({"nodeid": node, "type": "console", "value": "info"}),
        "runcommands" => json!({"nodeids": [node], "type": 3, "cmds": "id"}),
        "toast" => json!({"nodeids": [node], "msg": "hi"}),
        "poweraction" => json!({"nodeids": [node], "actiontype": 2}),
        "users" | "nodes" | "meshes" | "usergroups" | "events" | "lastconnects"
        | "wssessioncount" | "getDeviceDetails" | "authcookie" | "logincookie" | "intersession"
        | "ping" | "pong" | "print" | "urlargs" => json!({}),
        other => panic!("no request to try {other} with"),
    };
    request["action"] = action.into();
    request["responseid"] = "R".into();
    request
}

/// Everything in the store that a request could have changed.
fn records(world: &World) -> String {
    let (store, domain) = (&world.hub.store, world.domain());
    format!(
        "{:?} {:?} {:?} {:?}",
        store.users(&domain),
        store.groups(&domain),
        store.devices(&domain),
        futures_lite::future::block_on(
            store.events(crate::store::EventQuery { limit: 1000, ..Default::default() })
        )
    )
}

/// The rights of each entry that matter to the walk below.
enum Lacking {
    Site(SiteRights),
    Imposed(SiteRights),
    Mesh(Rights),
    Nothing,
}

fn lacking(action: &Action) -> Lacking {
    let request = Request::parse(request_for(action.name).to_string().as_bytes()).unwrap();
    match action.need {
        Login(_) => Lacking::Nothing,
        Site(right, _) => Lacking::Site(right),
        Unrestricted(restriction, _) => Lacking::Imposed(restriction),
        OnMesh(right, _) | OnOne(right, _) | DeviceAnyOf(right, _) | OnEach(Always(right), _) => {
            Lacking::Mesh(right)
        }
        OnEach(By(right), _) => Lacking::Mesh(right(&request)),
        DevicesToGroup(on_group, ..) => Lacking::Mesh(on_group),
    }
}

/// Everything but restrictions and but `right`.
fn all_but(right: Rights) -> Rights {
    let all = Rights::from_bits_retain(0x3f_ffff) - Rights::RESTRICTIONS;
    if right.is_full() { all } else { all - right }
}

#[test]
fn who_lacks_just_the_right_is_refused_without_effect_or_event() {
    for action in ACTIONS {
        let (world, agent) = lab();
        let (mut site, mut rights) = (SiteRights::empty(), all_but(Rights::empty()));
        match lacking(action) {
            Lacking::Nothing => continue,
            Lacking::Site(right) => {
                site = SiteRights::from_bits_retain(0xfff)
                    - SiteRights::LOCKED
                    - SiteRights::NO_NEW_GROUPS
                    - right;
            }
            Lacking::Imposed(restriction) => site = restriction,
            Lacking::Mesh(right) => rights = all_but(right),
        }
        if rights.is_empty() || matches!(lacking(action), Lacking::Mesh(r) if r.is_empty()) {
            // Needs any right at all: lack them all.
            rights = Rights::empty();
        }
        world.user("mallory", site);
        if !rights.is_empty() {
            for group in [1, 3] {
                world.link("mallory", LinkTarget::Group(group_id(group)), rights);
            }
        }
        let (mallory, admin) = (world.session("mallory"), world.session("admin"));
        heard(&mallory);
        let before = records(&world);
        let answers = ask(&mallory, &request_for(action.name));
        let name = action.name;
        for answer in &answers {
            let result = answer["result"].as_str().unwrap_or_default();
            assert!(!result.is_empty() && !result.eq_ignore_ascii_case("ok"), "{name}: {answer}");
            assert_eq!(answer["action"], name);
        }
        assert_eq!(records(&world), before, "{name} changed something");
        assert!(commands(&agent).is_empty(), "{name} reached the agent");
        assert_eq!(heard(&admin), Vec::<Value>::new(), "{name} told somebody");
        assert_eq!(heard(&mallory), Vec::<Value>::new(), "{name} told the user");
    }
}

#[test]
fn what_a_user_cannot_see_does_not_exist() {
    let (world, agent) = lab();
    let bob = world.session("bob");
    let names_one = |need: &Need| !matches!(need, Login(_) | Site(..) | Unrestricted(..));
    for action in ACTIONS.iter().filter(|action| names_one(&action.need)) {
        let mut request = request_for(action.name);
        let real = ask(&bob, &request);
        for (from, to) in [(group_id(1), group_id(99)), (group_id(3), group_id(99))] {
            let text = request.to_string().replace(&from.to_string(), &to.to_string());
            request = serde_json::from_str(&text).unwrap();
        }
        let text = request.to_string().replace(&node_id(2).to_string(), &node_id(99).to_string());
        let invented = ask(&bob, &serde_json::from_str(&text).unwrap());
        let show = |answers: Vec<Value>| {
            let text = Value::from(answers).to_string();
            text.replace(&node_id(2).to_string(), &node_id(99).to_string())
        };
        assert_eq!(show(real), show(invented), "{}", action.name);
    }
    assert!(commands(&agent).is_empty());
    assert_eq!(
        ask(&bob, &json!({"action": "meshes"})),
        [json!({"action": "meshes", "meshes": []})]
    );
    assert_eq!(ask(&bob, &json!({"action": "nodes"})), [json!({"action": "nodes", "nodes": {}})]);
}

#[test]
fn the_table_has_no_name_twice() {
    let names: BTreeSet<_> = ACTIONS.iter().map(|action| action.name).collect();
    assert_eq!(names.len(), ACTIONS.len());
}

#[test]
fn unknown_actions_are_ignored_and_counted() {
    let (world, _) = lab();
    let admin = world.session("admin");
    assert!(ask(&admin, &json!({"action": "nosuchaction", "responseid": "R"})).is_empty());
    assert!(ask(&admin, &json!({"action": 7})).is_empty());
    assert_eq!(world.control.unknown_actions(), 1);
}

/// The events a session heard, without their envelope and time.
fn events(session: &Session) -> Vec<Value> {
    heard(session)
        .into_iter()
        .map(|mut frame| {
            assert_eq!(frame["action"], "event");
            let mut event = frame["event"].take();
            event.as_object_mut().unwrap().remove("time");
            event
        })
        .collect()
}

#[test]
fn a_group_is_made_edited_and_deleted_as_meshctrl_does_it() {
    let (world, _) = lab();
    let (admin, bob) = (world.session("admin"), world.session("bob"));
    heard(&admin);
    let made = ask(
        &admin,
        &json!({"action": "createmesh", "meshname": "tmp", "meshtype": "2",
        "desc": "d", "responseid": "R"}),
    );
    let id = made[0]["meshid"].as_str().unwrap().to_owned();
    let links = json!({"user//admin": {"name": "admin", "rights": u32::MAX}});
    assert_eq!(
        made[0],
        json!({"action": "createmesh", "responseid": "R", "result": "ok",
        "meshid": id, "links": links})
    );
    let told = events(&admin);
    assert_eq!(told[0]["action"], "accountchange");
    assert_eq!(told[0]["nolog"], 1);
    assert_eq!(told[0]["account"]["links"][&id]["rights"], u32::MAX);
    assert_eq!(told[1]["mesh"]["creatorid"], "user//admin");
    assert_eq!(told[1]["mesh"]["links"], links);
    assert_eq!((&told[1]["msgid"], &told[1]["msgArgs"]), (&json!(76), &json!(["tmp"])));

    let edit = json!({"action": "editmesh", "meshidname": "tmp", "meshname": "tmp2", "desc": "e",
        "expireDevs": 30, "invite": {"codes": ["a"], "flags": 2}, "responseid": "R"});
    assert_eq!(
        ask(&admin, &edit),
        [json!({"action": "editmesh", "responseid": "R", "result": "ok"})]
    );
    let told = events(&admin).remove(0);
    assert_eq!(told["msgArgs"], json!(["tmp2", [1, 2, 5, 6]]));
    assert_eq!(told["invite"], json!({"codes": ["a"], "flags": 2}));
    let meshes = ask(&admin, &json!({"action": "meshes", "tag": 5}));
    assert_eq!(meshes[0]["tag"], 5);
    let mesh = meshes[0]["meshes"].as_array().unwrap().iter().find(|m| m["_id"] == id).unwrap();
    assert_eq!((&mesh["name"], &mesh["expireDevs"]), (&json!("tmp2"), &json!(30)));

    let delete = json!({"action": "deletemesh", "meshname": "tmp2", "responseid": "R"});
    assert_eq!(ask(&admin, &delete)[0]["result"], "ok");
    let told = events(&admin);
    assert_eq!((&told[0]["action"], &told[0]["name"]), (&json!("deletemesh"), &json!("tmp2")));
    assert_eq!((&told[1]["action"], &told[1]["msgid"]), (&json!("accountchange"), &json!(78)));
    assert_eq!(ask(&admin, &delete)[0]["result"], "Invalid group identifier");
    assert!(heard(&bob).is_empty());
}

#[test]
fn deleting_a_group_removes_its_devices_and_sends_their_agents_away() {
    let (world, agent) = lab();
    let admin = world.session("admin");
    ask(&admin, &json!({"action": "deletemesh", "meshname": "lab", "responseid": "R"}));
    assert!(world.hub.store.device(&node_id(2)).is_none());
    assert!(matches!(commands(&agent)[..], [AgentCommand::Disconnect]));
    assert!(world.hub.store.group(&group_id(1)).unwrap().deleted.is_some());
}

#[test]
fn members_of_a_group_are_told_apart_in_one_answer() {
    let (world, _) = lab();
    let (admin, bob) = (world.session("admin"), world.session("bob"));
    let add = |users: Value| {
        let request = json!({"action": "addmeshuser", "meshname": "lab", "meshadmin": 16408,
            "responseid": "R", "userids": users});
        ask(&admin, &request).remove(0)
    };
    let answer = add(json!(["user//bob", "user//nobody", "user//admin"]));
    assert_eq!(answer["result"], "Added user bob, Unknown user nobody, Can't change self");
    assert_eq!((&answer["success"], &answer["failed"]), (&json!(1), &json!(1)));
    let told = events(&bob);
    assert_eq!(told[0]["account"]["links"][group_id(1).to_string()]["rights"], 16408);
    assert_eq!(told[1]["msg"], "Added user bob to device group lab");
    assert_eq!(ask(&bob, &json!({"action": "meshes"}))[0]["meshes"][0]["name"], "lab");

    let unknown = json!({"action": "addmeshuser", "meshname": "lab", "meshadmin": 8,
        "responseid": "R", "usernames": ["nobody"]});
    assert_eq!(ask(&admin, &unknown)[0]["result"], "Nothing done");

    heard(&admin);
    let remove = json!({"action": "removemeshuser", "meshname": "lab", "userid": "bob",
        "responseid": "R"});
    assert_eq!(ask(&admin, &remove)[0]["result"], "ok");
    let told = events(&admin);
    assert_eq!((&told[1]["msgid"], &told[1]["msgArgs"]), (&json!(83), &json!(["bob", "lab"])));
    assert_eq!(events(&bob).len(), 2, "told of losing the right");
    assert_eq!(ask(&admin, &remove)[0]["result"], "User not in group");
    assert_eq!(ask(&bob, &json!({"action": "meshes"}))[0]["meshes"], json!([]));
    ask(&admin, &json!({"action": "editmesh", "meshname": "lab", "desc": "x", "responseid": "R"}));
    assert!(heard(&bob).is_empty(), "not subscribed any more");
}

#[test]
fn only_a_group_administrator_makes_or_touches_another() {
    let (world, _) = lab();
    let target = LinkTarget::Group(group_id(1));
    world.link("bob", target.clone(), Rights::MANAGE_USERS);
    let bob = world.session("bob");
    let add = |user: &str, rights: u32| {
        let request = json!({"action": "addmeshuser", "meshid": group_id(1).to_string(),
            "usernames": [user], "meshadmin": rights, "responseid": "R"});
        ask(&bob, &request)[0]["result"].as_str().unwrap().to_owned()
    };
    assert!(add("carol", u32::MAX).starts_with("Can't set device group administrator"));
    assert!(add("admin", 8).starts_with("Can't change rights of device group administrator"));
    assert_eq!(add("carol", 8), "Added user carol");
    let remove = json!({"action": "removemeshuser", "meshname": "lab", "userid": "admin",
        "responseid": "R"});
    assert_eq!(ask(&bob, &remove)[0]["result"], "Permission denied");
    let admin = crate::model::UserId::new(world.domain(), "admin").unwrap();
    assert!(world.hub.store.user(&admin).unwrap().link(&target).unwrap().rights.is_full());
}

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
            "links": {"user//carol": {"rights": 8}}, "conn": 1, "pwr": 1, "agct": 3000,
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
    store.set_detail(&node_id(2), DetailKind::Network, netinfo, Millis(5));
    let sysinfo = br#"{"hardware":{"x":1},"hash":"00","action":"forged"}"#;
    store.set_detail(&node_id(2), DetailKind::System, sysinfo, Millis(6));
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
    assert!(matches!(commands(&agent)[..], [AgentCommand::Disconnect]));
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

/// The JSON messages among an agent's commands.
fn sent(agent: &crate::hub::AgentLink) -> Vec<Value> {
    let json = |command| match command {
        AgentCommand::Json(text) => Some(serde_json::from_str(&text).unwrap()),
        AgentCommand::Core(_) | AgentCommand::Disconnect => None,
    };
    commands(agent).into_iter().filter_map(json).collect()
}

#[test]
fn commands_run_on_devices_whose_shell_fits() {
    let (world, agent) = lab();
    let admin = world.session("admin");
    let run = |kind: u32, reply: bool| {
        let request = json!({"action": "runcommands", "nodeids": [node_id(2).to_string()],
            "type": kind, "cmds": "echo a", "reply": reply, "responseid": "R"});
        ask(&admin, &request)
    };
    assert_eq!(
        run(0, false),
        [json!({"action": "runcommands", "responseid": "R", "result": "OK"})]
    );
    let session = admin.link().id.to_string();
    assert_eq!(
        sent(&agent),
        [json!({"action": "runcommands", "type": 3, "cmds": "echo a",
        "runAsUser": 0, "reply": false, "responseid": "R", "sessionid": session})]
    );
    let told = events(&admin).remove(0);
    assert_eq!(
        (&told["cmds"], &told["cmdType"], &told["msgid"], &told["nodeid"]),
        (&json!("echo a"), &json!(3), &json!(24), &json!(node_id(2).to_string()))
    );
    assert!(run(3, true).is_empty(), "the agent's answer is the answer");
    assert_eq!(run(1, false)[0]["result"], "Invalid command type");
    commands(&agent);
    assert_eq!(run(4, false)[0]["result"], "OK");
    assert_eq!(
        sent(&agent)[0],
        json!({"action": "msg", "type": "console", "value": "echo a",
        "rights": u32::MAX, "sessionid": session})
    );
    world.hub.agent_gone(&agent);
    assert_eq!(run(3, true)[0]["result"], "Agent not connected");
    let nobody = json!({"action": "runcommands", "nodeids": ["x"], "type": 3, "cmds": "a",
        "responseid": "R"});
    assert_eq!(ask(&admin, &nobody)[0]["result"], "Invalid nodeid");
}

#[test]
fn a_message_reaches_the_agent_with_who_really_sent_it() {
    let (world, agent) = lab();
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::REMOTE_CONTROL | Rights::NO_TERMINAL);
    let bob = world.session("bob");
    let forged = json!({"action": "msg", "nodeid": node_id(2).key.text(), "type": "console",
        "value": "info", "rights": u32::MAX, "userid": "user//admin", "username": "admin",
        "sessionid": "x", "realname": "Root", "consent": 0, "tag": 1, "responseid": "R"});
    assert_eq!(
        ask(&bob, &forged),
        [json!({"action": "msg", "result": "OK", "tag": 1, "responseid": "R"})]
    );
    assert_eq!(
        sent(&agent),
        [json!({"action": "msg", "type": "console", "value": "info",
        "rights": 520, "userid": "user//bob", "username": "bob", "consent": 0, "tag": 1,
        "sessionid": bob.link().id.to_string(), "remoteaddr": "127.0.0.1", "responseid": "R"})]
    );

    let tunnel = |p: u32, node: &str| {
        let value = format!("*/meshrelay.ashx?p={p}&nodeid={node}&id=abc");
        ask(
            &bob,
            &json!({"action": "msg", "nodeid": node_id(2).to_string(), "type": "tunnel",
            "value": value, "usage": p, "responseid": "R"}),
        )
    };
    let own = node_id(2).to_string();
    assert_eq!(tunnel(5, &own)[0]["result"], "OK");
    let message = sent(&agent).remove(0);
    assert_eq!(message["soptions"], json!({}));
    assert_eq!(message["servertlshash"], "07".repeat(48));
    assert_eq!(tunnel(1, &own)[0]["result"], "Unable to route", "no terminal");
    assert!(tunnel(5, &node_id(9).to_string()).is_empty(), "another device's tunnel");
    let elsewhere = json!({"action": "msg", "nodeid": own, "type": "tunnel",
        "value": "wss://evil.example/meshrelay.ashx?p=5", "responseid": "R"});
    assert_eq!(ask(&bob, &elsewhere)[0]["result"], "Unable to route");
    assert!(sent(&agent).is_empty());
    for request in [json!({"nodeid": "node//abc"}), json!({})] {
        let mut request = request;
        request["action"] = "msg".into();
        request["responseid"] = "R".into();
        request["tag"] = "T".into();
        assert_eq!(
            ask(&bob, &request),
            [json!({"action": "msg", "result": "Unable to route",
            "tag": "T", "responseid": "R"})]
        );
    }
}

#[test]
fn consent_is_asked_for_by_domain_group_device_and_account() {
    let mut config = Config::default();
    config.domains.entry(Default::default()).or_default().consent = 1;
    let world = World::with(config);
    let group = world.group(1, "lab");
    let agent = world.device(2, &group, "vm");
    let mut record = (*world.hub.store.group(&group).unwrap()).clone();
    record.consent = 2;
    world.hub.store.put(record).later();
    let mut device = (*world.hub.store.device(&node_id(2)).unwrap()).clone();
    device.consent = 8;
    world.hub.store.put(device).later();
    let team = UserGroupId::new(world.domain(), crate::model::Key48([5; 48]));
    let link = |to, rights| crate::model::Link { to, rights, notify: 0 };
    world
        .hub
        .store
        .put(UserGroup {
            id: team.clone(),
            name: "team".into(),
            desc: String::new(),
            links: vec![link(LinkTarget::Group(group.clone()), Rights::REMOTE_CONTROL)],
            consent: 64,
        })
        .later();
    let bob = world.user("bob", SiteRights::empty());
    let links = vec![link(LinkTarget::UserGroup(team), Rights::EDIT_GROUP)];
    world.hub.store.put(User { consent: 16, links, ..bob }).later();
    let bob = world.session("bob");
    let request = json!({"action": "msg", "nodeid": node_id(2).to_string(), "type": "ps"});
    ask(&bob, &request);
    assert_eq!(sent(&agent)[0]["consent"], 1 | 2 | 8 | 16 | 64);
    world.link("bob", LinkTarget::Group(group), Rights::REMOTE_CONTROL);
    ask(&bob, &request);
    assert_eq!(sent(&agent)[0]["consent"], 1 | 2 | 8 | 16, "a right of its own");
}

#[test]
fn power_toast_core_and_uninstall_reach_the_agent() {
    let (world, agent) = lab();
    let admin = world.session("admin");
    let to_node = |mut request: Value| {
        request["nodeids"] = json!([node_id(2).to_string()]);
        request["nodeid"] = node_id(2).to_string().into();
        ask(&admin, &request)
    };
    assert_eq!(
        to_node(json!({"action": "poweraction", "actiontype": 3, "responseid": "R"})),
        [json!({"action": "poweraction", "responseid": "R", "result": "ok"})]
    );
    assert_eq!(
        sent(&agent),
        [json!({"action": "poweraction", "actiontype": 3,
        "userid": "user//admin", "username": "admin", "remoteaddr": "127.0.0.1"})]
    );
    assert_eq!(
        to_node(json!({"action": "poweraction", "actiontype": 302})),
        [json!({"action": "poweraction"})]
    );
    assert_eq!(
        events(&admin),
        [json!({"action": "amtpoweraction", "userid": "user//admin",
        "username": "admin", "nodeids": [node_id(2).to_string()], "domain": "", "nolog": 1,
        "actiontype": 2})]
    );
    assert_eq!(
        to_node(json!({"action": "toast", "msg": "hi", "responseid": "R"})),
        [json!({"action": "toast", "responseid": "R", "result": "ok"})]
    );
    assert_eq!(sent(&agent)[0]["title"], "MeshCentral");
    assert_eq!(
        to_node(json!({"action": "toast", "responseid": "R"}))[0]["result"],
        "Invalid message"
    );
    to_node(json!({"action": "uninstallagent"}));
    assert_eq!(sent(&agent), [json!({"action": "uninstallagent"})]);
    to_node(json!({"action": "uploadagentcore", "type": "recovery"}));
    assert!(matches!(commands(&agent)[..], [AgentCommand::Core(CoreMode::Recovery)]));
    to_node(json!({"action": "agentdisconnect", "disconnectMode": 1}));
    assert!(matches!(commands(&agent)[..], [AgentCommand::Disconnect]));
    to_node(json!({"action": "setDeviceEvent", "msg": "Manual%20event+%26%3D="}));
    assert_eq!(events(&admin)[0]["msg"], "Manual event+&==");
}

#[test]
fn sleeping_devices_are_woken_by_agents_the_user_may_wake_with() {
    let (world, agent) = lab();
    let foreign = world.device(7, &group_id(9), "foreign");
    let admin = world.session("admin");
    let wake = |ids: Value| {
        ask(&admin, &json!({"action": "wakedevices", "nodeids": ids, "responseid": "R"}))
    };
    let id = node_id(2).to_string();
    assert_eq!(wake(json!([id]))[0]["result"], "No network information for this device");
    let store = &world.hub.store;
    store.set_detail(&node_id(2), DetailKind::Network, br#"{"netif2":{}}"#, Millis(1));
    assert_eq!(wake(json!([id]))[0]["result"], "No known MAC addresses for this device");
    let netinfo = br#"{"netif2":{"eth0":[{"mac":"02:FC:00:00:00:01"}]}}"#;
    store.set_detail(&node_id(2), DetailKind::Network, netinfo, Millis(2));
    assert_eq!(wake(json!([id]))[0]["result"], "Used 1 device(s) to send wake packets");
    assert_eq!(sent(&agent), [json!({"action": "wakeonlan", "macs": ["02:FC:00:00:00:01"]})]);
    assert!(sent(&foreign).is_empty());
    assert_eq!(wake(json!(["x"]))[0]["result"], "Invalid nodeid");
    let several = wake(json!(["x", id]));
    assert!(several.len() == 2 && several.iter().all(|answer| answer["result"] == "ok"));
}

#[test]
fn history_is_told_to_those_it_was_meant_for() {
    let (world, _) = lab();
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::EDIT_GROUP | Rights::OWN_EVENTS);
    let (admin, bob, carol) =
        (world.session("admin"), world.session("bob"), world.session("carol"));
    let id = node_id(2).to_string();
    ask(&admin, &json!({"action": "setDeviceEvent", "nodeid": id, "msg": "by%20admin"}));
    ask(&bob, &json!({"action": "setDeviceEvent", "nodeid": id, "msg": "by%20bob"}));
    ask(&admin, &json!({"action": "editmesh", "meshname": "other", "desc": "secret"}));
    let list = |session: &Session, mut request: Value| {
        request["action"] = "events".into();
        let answer = ask(session, &request).remove(0);
        let events = answer["events"].as_array().unwrap().clone();
        events.into_iter().map(|e| e["msg"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let edited = "Device group \"other\" description changed";
    assert_eq!(list(&admin, json!({})), [edited, "by bob", "by admin"]);
    assert_eq!(list(&admin, json!({"limit": 1})), [edited]);
    assert_eq!(list(&admin, json!({"filter": "manual"})), ["by bob", "by admin"]);
    assert_eq!(list(&admin, json!({"nodeid": id})), ["by bob", "by admin"]);
    assert_eq!(list(&admin, json!({"userid": "user//bob"})), ["by bob"]);
    assert_eq!(list(&bob, json!({})), ["by bob"], "sees own events only");
    assert_eq!(list(&bob, json!({"nodeid": id})), ["by bob"]);
    assert!(list(&bob, json!({"userid": "user//admin"})).is_empty());
    assert!(list(&carol, json!({})).is_empty());
    assert!(list(&carol, json!({"nodeid": id})).is_empty());
    assert_eq!(events(&bob).len(), 1, "live events are filtered alike");
    assert!(heard(&carol).is_empty());
    let raw = ask(&admin, &json!({"action": "events", "nodeid": id, "tag": "T"})).remove(0);
    assert_eq!((&raw["nodeid"], &raw["tag"]), (&json!(id), &json!("T")));
    assert_eq!(
        raw["events"][0].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["action", "msg", "time", "userid", "username"]
    );
}

#[test]
fn accounts_are_made_edited_and_deleted() {
    let (world, _) = lab();
    let admin = world.session("admin");
    let add = |name: &str| {
        let request = json!({"action": "adduser", "username": name, "pass": "x", "siteadmin": 2,
            "email": "D@b.C", "emailVerified": true, "responseid": "R"});
        ask(&admin, &request).remove(0)
    };
    assert_eq!(add("Dora"), json!({"action": "adduser", "responseid": "R", "result": "ok"}));
    let told = events(&admin).remove(0);
    assert_eq!((&told["action"], &told["userid"]), (&json!("accountcreate"), &json!("user//dora")));
    assert_eq!(told["account"]["email"], "d@b.c");
    assert!(!told.to_string().contains("argon2"));
    assert_eq!(
        add("dora"),
        json!({"action": "adduser", "responseid": "R",
        "result": "User already exists", "msgid": 7})
    );
    assert_eq!(add("~x")["msgid"], 2);

    let dora = world.session("dora");
    let raise = json!({"action": "edituser", "userid": "carol", "siteadmin": u32::MAX,
        "responseid": "R"});
    assert_eq!(ask(&dora, &raise)[0]["result"], "ok");
    let carol = crate::model::UserId::new(world.domain(), "carol").unwrap();
    let site = world.hub.store.user(&carol).unwrap().site;
    assert_eq!(site.bits(), 2 | 32 | 64 | 128, "no more than may be given");
    let itself = json!({"action": "edituser", "userid": "dora", "siteadmin": u32::MAX});
    ask(&dora, &itself);
    assert!(!world.hub.store.user(&dora.link().id.user).unwrap().site.is_full());
    let above = json!({"action": "deleteuser", "userid": "admin", "responseid": "R"});
    assert_eq!(ask(&dora, &above)[0]["result"], "Permission denied");
    let promote = json!({"action": "adduser", "username": "eve", "pass": "x",
        "siteadmin": u32::MAX, "responseid": "R"});
    assert_eq!(ask(&dora, &promote)[0]["msgid"], 6);
    assert_eq!(
        ask(&dora, &json!({"action": "users", "tag": 1}))[0]["users"].as_array().unwrap().len(),
        4
    );

    heard(&admin);
    let lock = json!({"action": "edituser", "userid": "dora", "siteadmin": 32, "responseid": "R"});
    assert_eq!(ask(&admin, &lock)[0]["result"], "ok");
    let last = heard(&dora).pop().unwrap();
    assert_eq!(last, json!({"action": "stopped", "msg": "Administrator forced disconnection"}));
    assert!(ask(&dora, &json!({"action": "users"})).is_empty(), "locked at once");

    let delete = json!({"action": "deleteuser", "userid": "dora", "responseid": "R"});
    assert_eq!(ask(&admin, &delete)[0]["result"], "ok");
    assert_eq!(ask(&admin, &delete)[0]["result"], "User does not exists");
}

#[test]
fn user_groups_show_their_names_only_to_those_who_do_not_manage_them() {
    let (world, _) = lab();
    let (admin, bob) = (world.session("admin"), world.session("bob"));
    let list =
        |session| ask(session, &json!({"action": "usergroups"})).remove(0)["ugroups"].clone();
    assert_eq!(list(&admin), Value::Null);
    let id = UserGroupId::new(world.domain(), crate::model::Key48([5; 48]));
    let group = UserGroup {
        id: id.clone(),
        name: "team".into(),
        desc: String::new(),
        links: vec![],
        consent: 0,
    };
    world.hub.store.put(group).later();
    world.link("carol", LinkTarget::UserGroup(id.clone()), Rights::EDIT_GROUP);
    assert_eq!(
        list(&admin),
        json!({id.to_string(): {"type": "ugrp", "_id": id.to_string(),
        "name": "team", "domain": "", "links": {"user//carol":
            {"userid": "user//carol", "name": "carol", "rights": 1}}}})
    );
    assert_eq!(list(&bob), json!({id.to_string(): {"name": "team"}}));
    // Events about it show other members to nobody but those who manage user groups.
    world.link("bob", LinkTarget::UserGroup(id.clone()), Rights::EDIT_GROUP);
    let event = crate::model::Event::new("usergroupchange", world.domain())
        .kind(crate::model::EventKind::UserGroup)
        .with("ugrpid", id.to_string())
        .with("desc", "secret")
        .with("links", json!({"user//carol": {}, "user//bob": {}, "mesh//x": {}}))
        .to(Target::UserGroup(id));
    world.hub.publish(event);
    let told = events(&bob).remove(0);
    assert_eq!(told["links"], json!({"user//bob": {}, "mesh//x": {}}));
    assert_eq!(told.get("desc"), None);
}

#[test]
fn sessions_of_one_user_talk_to_each_other_and_are_counted() {
    let (world, _) = lab();
    let (one, two, bob) = (world.session("admin"), world.session("admin"), world.session("bob"));
    heard(&one);
    let request = json!({"action": "intersession", "foo": 1});
    assert!(ask(&one, &request).is_empty());
    assert_eq!(heard(&two).pop(), Some(request));
    assert!(heard(&one).is_empty() && heard(&bob).is_empty());
    let count = |session| ask(session, &json!({"action": "wssessioncount"})).remove(0);
    assert_eq!(count(&one)["wssessions"], json!({"user//admin": 2, "user//bob": 1}));
    assert_eq!(count(&bob)["wssessions"], json!({}));
    drop(bob);
    assert_eq!(
        events(&one),
        [json!({"action": "wssessioncount", "userid": "user//bob",
        "username": "bob", "count": 0, "domain": "", "nolog": 1})]
    );
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
