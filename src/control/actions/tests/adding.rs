//! Devices added by hand, their Intel AMT, and lists shown page by page.

use std::rc::Rc;

use async_executor::LocalExecutor;

use super::*;
use crate::amt::lan::Lan;
use crate::config::{Config, Reach};
use crate::model::DomainId;

/// A world of that reach with groups of kinds 1 (Intel AMT) and 3 (local).
fn plant(reach: Reach) -> (World, Session) {
    let mut config = Config::default();
    config.settings.reach = reach;
    let world = World::with(config);
    for (n, kind, name) in [(1, GroupKind::Amt, "amt"), (3, GroupKind::Local, "local")] {
        let group = Group::new(group_id(n), name, kind, Millis(1));
        world.hub.store.put(group).later();
        world.link("admin", LinkTarget::Group(group_id(n)), Rights::FULL);
    }
    let admin = world.session("admin");
    (world, admin)
}

fn local(more: Value) -> Value {
    with(
        json!({"action": "addlocaldevice", "meshid": group_id(3).to_string(),
        "devicename": "nas", "hostname": "192.168.1.5", "type": 4, "responseid": "R"}),
        &more,
    )
}

fn amt(more: Value) -> Value {
    with(
        json!({"action": "addamtdevice", "meshid": group_id(1).to_string(),
        "devicename": "amt1", "hostname": "192.168.1.6", "amtusername": "admin",
        "amtpassword": "P@ssw0rd1", "amttls": 1, "responseid": "R"}),
        &more,
    )
}

fn with(mut request: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

#[test]
fn devices_added_by_hand_look_as_meshcentrals() {
    let (world, admin) = plant(Reach::Hybrid);
    for (request, node) in [
        (
            local(json!({})),
            json!({"type": "node", "meshid": group_id(3).to_string(), "mtype": 3,
            "icon": 1, "name": "nas", "host": "192.168.1.5", "domain": "",
            "agent": {"id": 4, "caps": 0}}),
        ),
        (
            amt(json!({"ver": "12.0.64", "state": 2})),
            json!({"type": "node",
            "meshid": group_id(1).to_string(), "mtype": 1, "icon": 1, "name": "amt1",
            "host": "192.168.1.6", "domain": "",
            "intelamt": {"user": "admin", "pass": 1, "tls": 1, "ver": "12.0.64", "state": 2}}),
        ),
    ] {
        let action = request["action"].clone();
        assert_eq!(
            ask(&admin, &request),
            [json!({"action": action, "responseid": "R", "result": "ok"})]
        );
        let mut told = events(&admin).remove(0);
        assert_eq!((&told["action"], &told["msgid"]), (&json!("addnode"), &json!(84)));
        assert!(told.get("nodeid").is_none());
        let id = told["node"].as_object_mut().unwrap().remove("_id").unwrap();
        assert_eq!(told["node"], node);
        let id: NodeId = id.as_str().unwrap().parse().unwrap();
        assert!(world.hub.store.device(&id).is_some());
    }
    let nodes = ask(&admin, &json!({"action": "nodes"})).remove(0);
    assert!(!nodes.to_string().contains("P@ssw0rd1"));
}

#[test]
fn what_is_wrong_with_a_new_device_is_said_under_the_name_clients_know() {
    let (world, admin) = plant(Reach::Hybrid);
    world.user("bob", SiteRights::NO_NEW_DEVICES);
    world.link("bob", LinkTarget::Group(group_id(3)), Rights::FULL);
    let bob = world.session("bob");
    for (session, request, result) in [
        (&admin, local(json!({"type": "4"})), "Invalid type"),
        (&admin, local(json!({"type": 5})), "Invalid type"),
        (&admin, local(json!({"devicename": ""})), "Invalid devicename"),
        (&admin, local(json!({"hostname": "a/b"})), "Invalid hostname"),
        (
            &admin,
            local(json!({"meshid": group_id(1).to_string()})),
            "Local device agentless mesh only allowed",
        ),
        (&admin, local(json!({"meshid": group_id(9).to_string()})), "Unknown device group"),
        (&admin, local(json!({"meshid": 5})), "Invalid device group id"),
        (&bob, local(json!({})), "Permission denied"),
        (&admin, amt(json!({"amtpassword": "x".repeat(17)})), "Invalid amtpassword"),
        (&admin, amt(json!({"amttls": 2})), "Invalid amttls"),
        (
            &admin,
            amt(json!({"meshid": group_id(3).to_string()})),
            "Intel AMT agentless mesh only allowed",
        ),
    ] {
        assert_eq!(
            ask(session, &request),
            [json!({"action": "changeDeviceMesh", "responseid": "R", "result": result})],
            "{request}"
        );
    }
    assert!(world.hub.store.devices(&world.domain()).is_empty());
}

#[test]
fn over_the_internet_alone_intel_amt_is_neither_added_nor_looked_for() {
    let (world, admin) = plant(Reach::Wan);
    let scan = json!({"action": "scanamtdevice", "range": "192.168.1.0/24"});
    assert!(ask(&admin, &amt(json!({}))).is_empty() && ask(&admin, &scan).is_empty());
    assert!(heard(&admin).is_empty());
    drop(world);
}

#[test]
fn who_may_add_intel_amt_may_look_for_it() {
    let (world, admin) = plant(Reach::Hybrid);
    world.user("bob", SiteRights::empty());
    let bob = world.session("bob");
    let scan = |range: &str| json!({"action": "scanamtdevice", "range": range});
    // That bob has come.
    heard(&admin);
    assert!(ask(&admin, &scan("127.0.0.1")).is_empty() && heard(&admin).is_empty(), "no network");
    let executor = Rc::new(LocalExecutor::new());
    world.control.set_lan(Lan::new(world.hub.clone(), executor.clone()));
    // What is no range is answered at once, and nobody else hears of it.
    assert!(ask(&admin, &scan("127.0.0.0/8")).is_empty() && ask(&bob, &scan("x")).is_empty());
    assert_eq!(
        events(&admin),
        [json!({"action": "scanamtdevice", "userid": "user//admin", "username": "admin",
        "range": "127.0.0.0/8", "results": null, "domain": "", "nolog": 1,
        "error": "16777216 addresses are too many, at most 4096 at a time"})]
    );
    assert!(heard(&bob).is_empty(), "bob may not add what would be found");
    // One that runs is stopped.
    ask(&admin, &scan("127.0.0.1"));
    assert!(heard(&admin).is_empty() && !executor.is_empty());
    ask(&admin, &json!({"action": "scanamtdevice", "stop": true}));
    let stopped = events(&admin);
    assert_eq!(
        (&stopped[0]["error"], &stopped[0]["range"]),
        (&json!("stopped"), &json!("127.0.0.1"))
    );
    drop(world);
}

#[test]
fn credentials_of_intel_amt_are_changed_and_never_shown() {
    let (world, admin) = plant(Reach::Hybrid);
    ask(&admin, &amt(json!({})));
    let id = events(&admin).remove(0)["node"]["_id"].clone();
    let change = |intelamt: Value| {
        let request = json!({"action": "changedevice", "nodeid": id, "intelamt": intelamt,
            "responseid": "R"});
        assert_eq!(ask(&admin, &request)[0]["result"], "ok");
        events(&admin).first().map(|event| event["msgArgs"][2].as_str().unwrap().to_owned())
    };
    let both = "Intel AMT credentials, Intel AMT TLS";
    assert_eq!(change(json!({"user": "admin", "pass": "N3wP@ss!1", "tls": 0})).unwrap(), both);
    let node: NodeId = id.as_str().unwrap().parse().unwrap();
    assert_eq!(world.hub.store.amt_access(&node).unwrap().password, "N3wP@ss!1");
    assert_eq!(change(json!({"user": "admin", "pass": 1, "tls": 0})), None, "what was shown");
    assert_eq!(change(json!({"tls": 1})).unwrap(), "Intel AMT TLS");
    assert_eq!(change(json!("x")), None);
}

#[test]
fn a_group_shows_its_policy_without_the_password() {
    let (world, admin) = plant(Reach::Hybrid);
    let set = |policy: Value| {
        let request = json!({"action": "meshamtpolicy", "meshid": group_id(1).to_string(),
            "amtpolicy": policy, "responseid": "R"});
        assert!(ask(&admin, &request).is_empty());
        events(&admin)
    };
    let told = set(json!({"type": 2, "password": "P@ssw0rd!", "badpass": 0, "cirasetup": 0}));
    let shown = json!({"type": 2, "badpass": 0, "cirasetup": 0, "password": 1});
    assert_eq!(
        told,
        [json!({"etype": "mesh", "userid": "user//admin", "username": "admin",
            "meshid": group_id(1).to_string(), "amt": shown, "action": "meshchange",
            "links": {"user//admin": {"name": "admin", "rights": u32::MAX}}, "msgid": 141,
            "msg": "Intel(r) AMT policy change", "domain": ""})]
    );
    let meshes = ask(&admin, &json!({"action": "meshes"})).remove(0);
    assert_eq!(meshes["meshes"][0]["amt"], shown);
    set(json!({"type": 3, "cirasetup": 1}));
    let kept = world.hub.store.amt_policy(&group_id(1)).unwrap();
    assert_eq!((kept.kind, kept.password.as_deref()), (3, Some("P@ssw0rd!")));
    let refused = |policy: Value| {
        let request = json!({"action": "meshamtpolicy", "meshid": group_id(1).to_string(),
            "amtpolicy": policy, "responseid": "R"});
        let answer = ask(&admin, &request).remove(0);
        assert!(events(&admin).is_empty());
        answer["result"].as_str().unwrap().to_owned()
    };
    let words = "amtpolicy: cirasetup must be a number from 0 to 2";
    assert_eq!(refused(json!({"type": 3})), words);
    assert!(refused(json!({"type": 5})).contains("type must be"));
    assert!(refused(json!({"type": 2, "cirasetup": 0, "password": 5})).contains("password must"));
    assert_eq!(refused(json!(5)), "amtpolicy is missing");
}

#[test]
fn long_lists_come_page_by_page() {
    let mut config = Config::default();
    let domain = DomainId::default();
    config.domains.get_mut(&domain).unwrap().max_device_view = Some(3);
    let world = World::with(config);
    let group = world.group(1, "lab");
    for n in 10..17 {
        world.device(n, &group, "vm");
    }
    world.link("admin", LinkTarget::Group(group.clone()), Rights::FULL);
    let admin = world.session("admin");
    let page = |more: Value| {
        let answer = ask(&admin, &with(json!({"action": "nodes"}), &more)).remove(0);
        let ids = answer["nodes"][group.to_string()].as_array().map_or(0, Vec::len);
        (ids, answer["skip"].clone(), answer["limit"].clone(), answer.get("totalcount").cloned())
    };
    let seven = Some(json!(7));
    assert_eq!(page(json!({})), (3, json!(0), json!(3), seven.clone()));
    assert_eq!(page(json!({"skip": 6, "limit": 2})), (1, json!(6), json!(2), seven.clone()));
    assert_eq!(page(json!({})), (1, json!(6), json!(2), seven.clone()), "it remembers");
    assert_eq!(page(json!({"skip": 100, "limit": 100})), (0, json!(100), json!(3), seven));
    let one = json!({"skip": 0, "id": node_id(12).to_string()});
    assert_eq!(page(one), (1, json!(0), json!(3), None), "it fits");
}

#[test]
fn a_place_on_the_map_is_kept_where_the_domain_wants_it() {
    for locations in [true, false] {
        let mut config = Config::default();
        config.domains.get_mut(&DomainId::default()).unwrap().locations = locations;
        let world = World::with(config);
        let group = world.group(1, "lab");
        world.device(2, &group, "vm");
        world.link("admin", LinkTarget::Group(group.clone()), Rights::FULL);
        let admin = world.session("admin");
        let change = |place: Value| {
            let request = json!({"action": "changedevice", "nodeid": node_id(2).to_string(),
                "userloc": place, "responseid": "R"});
            let result = ask(&admin, &request)[0]["result"].clone();
            let nodes = ask(&admin, &json!({"action": "nodes"})).remove(0);
            (result, nodes["nodes"][group.to_string()][0].get("userloc").cloned())
        };
        let (result, shown) = change(json!([48.1, 11.5]));
        assert_eq!(result, "ok");
        let shown = shown.map(|place| place.as_str().unwrap().starts_with("48.1,11.5,"));
        assert_eq!(shown, locations.then_some(true));
        assert_eq!(change(json!([1])).0, "Invalid user location");
        assert_eq!(change(json!([])), (json!("ok"), None));
        let host = json!({"action": "changedevice", "nodeid": node_id(2).to_string(),
            "host": "a b", "responseid": "R"});
        assert_eq!(ask(&admin, &host)[0]["result"], "Invalid hostname");
    }
}

#[test]
fn files_of_other_tools_become_devices() {
    let (world, admin) = plant(Reach::Hybrid);
    let import = |devices: Value| {
        json!({"action": "importamtdevices", "meshid": group_id(1).to_string(),
            "amtdevices": devices})
    };
    for (devices, expected) in [
        (
            json!([{"fqdn": "a.example", "name": "A", "username": "op", "password": "P@ssw0rd1",
                "tls": true, "version": "16.1.25", "uuid": "u"}, {"fqdn": "A.Example"},
                {"fqdn": "localhost"}, {"fqdn": "no host"}, {"fqdn": ""}, {}, 5]),
            json!(["A", "a.example", {"user": "op", "pass": 1, "tls": 1, "ver": "16.1.25",
                "uuid": "u", "state": 2}]),
        ),
        (
            json!({"webappversion": "0.9.5", "computers": [{"host": "192.0.2.5", "pass": "x",
                "ver": "12.0", "tls": 0}]}),
            json!(["192.0.2.5", "192.0.2.5", {"user": "admin", "pass": 1, "tls": 0, "ver": "12.0",
                "state": 2}]),
        ),
        (
            json!({"ApplicationData": {"Application": "Intel vPro(R) Manageability Migration Tool"},
                "ManagedSystems": {"ManagedSystemsList": [{"Fqdn": "", "IPv4": "192.0.2.6",
                "AmtVersion": "11.8", "ConnectionType": "TLS"}]}}),
            json!(["192.0.2.6", "192.0.2.6", {"user": "admin", "pass": 1, "tls": 1, "ver": "11.8",
                "state": 2}]),
        ),
    ] {
        heard(&admin);
        assert!(ask(&admin, &import(devices)).is_empty(), "it has no answer");
        let added = events(&admin);
        assert_eq!(added.len(), 1, "{added:?}");
        let node = &added[0]["node"];
        assert_eq!(json!([node["name"], node["host"], node["intelamt"]]), expected);
    }
    let with_id = |devices: Value| with(import(devices), &json!({"responseid": "R"}));
    let answer = ask(
        &admin,
        &with_id(json!([{"fqdn": "A.example"}, {"fqdn": "b.example"},
        {"fqdn": "B.EXAMPLE"}, {"fqdn": "localhost"}, 5])),
    );
    let outcomes: Vec<_> = answer[0]["outcomes"].as_array().unwrap().iter().collect();
    assert_eq!((&answer[0]["added"], &answer[0]["responseid"]), (&json!(1), &json!("R")));
    for (place, host, result) in [
        (0, json!("A.example"), "Already there"),
        (1, json!("b.example"), "ok"),
        (2, json!("B.EXAMPLE"), "Already there"),
        (3, Value::Null, "Invalid host"),
        (4, Value::Null, "Invalid entry"),
    ] {
        let expected = json!({"entry": place + 1, "host": host, "result": result});
        assert_eq!(outcomes[place], &expected);
    }
    assert_eq!(ask(&admin, &with_id(json!("x")))[0]["result"], "Invalid list");
    heard(&admin);
    for nothing in [json!({}), json!("x"), json!({"computers": [{"host": "a"}]}), json!([])] {
        assert!(ask(&admin, &import(nothing)).is_empty() && events(&admin).is_empty());
    }
    assert_eq!(world.hub.store.devices(&world.domain()).len(), 4);
}
