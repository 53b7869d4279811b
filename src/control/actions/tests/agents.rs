//! What reaches agents, and what they are told about the user.

use super::*;
use crate::amt::room::Room;
use crate::amt::testing::Firmware;
use crate::config::Config;
use crate::hub::CoreMode;
use crate::model::{User, UserGroup, UserGroupId};
use crate::relay::wire::Rauth;
use crate::store::DetailKind;

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
fn an_agent_gets_a_pass_instead_of_what_the_client_wrote() {
    let (world, agent) = lab();
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::REMOTE_CONTROL);
    let bob = world.session("bob");
    let asked = ask(
        &bob,
        &json!({"action": "msg", "nodeid": node_id(2).to_string(), "type": "tunnel", "usage": 5,
            "value": "*/meshrelay.ashx?p=5&id=abc&rauth=bobs&auth=bobs&nouser=1",
            "soptions": {"consentAutoAccept": true}, "guestname": "x", "perMessageDeflate": true,
            "responseid": "R"}),
    );
    assert_eq!(asked[0]["result"], "OK");
    let message = sent(&agent).remove(0);
    let value = message["value"].as_str().unwrap();
    assert!(value.starts_with("*/meshrelay.ashx?p=5&id=abc&rauth="), "{value}");
    assert!(!value.contains("bobs") && !value.contains("nouser"), "{value}");
    let (_, rauth) = value.split_once("rauth=").unwrap();
    let opened = Rauth::open(rauth, &world.key, &world.domain(), "abc", world.hub.now().seconds());
    let Some(Rauth::Pass(pass, _)) = opened else { panic!("a pass") };
    assert_eq!((pass.user.name(), pass.node, pass.protocol), ("bob", node_id(2), 5));
    let known = ["guestname", "perMessageDeflate"].map(|name| message.get(name));
    assert_eq!((known, &message["soptions"]), ([None, None], &json!({})));
    assert_eq!((&message["usage"], &message["responseid"]), (&json!(5), &json!("R")));
}

#[test]
fn ports_behind_a_device_need_more_than_to_look_at_it() {
    for (rights, result) in [
        (Rights::REMOTE_CONTROL, "OK"),
        (Rights::REMOTE_CONTROL | Rights::VIEW_ONLY, "OK"),
        (Rights::VIEW_ONLY | Rights::RELAY, "OK"),
        (Rights::VIEW_ONLY, "Unable to route"),
    ] {
        let (world, agent) = lab();
        world.link("bob", LinkTarget::Group(group_id(1)), rights);
        let bob = world.session("bob");
        for port in [json!({"tcpport": 22}), json!({"udpport": "53", "udpaddr": "10.0.0.1"})] {
            let mut request = json!({"action": "msg", "nodeid": node_id(2).to_string(),
                "type": "tunnel", "value": "*/meshrelay.ashx?id=abc", "responseid": "R"});
            request.as_object_mut().unwrap().extend(port.as_object().unwrap().clone());
            assert_eq!(ask(&bob, &request)[0]["result"], result, "{rights:?} {port}");
            assert_eq!(sent(&agent).len(), usize::from(result == "OK"), "{rights:?} {port}");
        }
    }
}

#[test]
fn a_target_cookie_is_bound_to_its_target() {
    let (world, _agent) = lab();
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::RELAY);
    let bob = world.session("bob");
    let node = node_id(2).to_string();
    let request = json!({"action": "getcookie", "nodeid": node, "tcpport": 22, "tag": "novnc",
        "name": "x"});
    let answer = ask(&bob, &request).remove(0);
    let now = world.hub.now().seconds();
    let cookie = answer["cookie"].as_str().unwrap();
    let mut fields = world.key.open(cookie, now, std::time::Duration::from_secs(60)).unwrap();
    assert!(fields.remove("ms").is_some() && fields.remove("time").is_some(), "when it was made");
    let expected = json!({"userid": "user//bob", "domainid": "", "nodeid": node, "tcpport": 22,
        "p": 12});
    assert_eq!(Value::Object(fields), expected);
    for (name, value) in [("tag", "novnc"), ("name", "x"), ("nodeid", node.as_str())] {
        assert_eq!(answer[name], value, "handed back");
    }
    let malformed = json!({"action": "getcookie", "nodeid": node, "tcpport": 70_000});
    assert!(ask(&bob, &malformed).is_empty());
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
            flags: 0,
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
    store.set_detail(&node_id(2), DetailKind::Network, br#"{"netif2":{}}"#, None, Millis(1));
    assert_eq!(wake(json!([id]))[0]["result"], "No known MAC addresses for this device");
    let netinfo = br#"{"netif2":{"eth0":[{"mac":"02:FC:00:00:00:01"}]}}"#;
    store.set_detail(&node_id(2), DetailKind::Network, netinfo, None, Millis(2));
    assert_eq!(wake(json!([id]))[0]["result"], "Used 1 device(s) to send wake packets");
    assert_eq!(sent(&agent), [json!({"action": "wakeonlan", "macs": ["02:FC:00:00:00:01"]})]);
    assert!(sent(&foreign).is_empty());
    assert_eq!(wake(json!(["x"]))[0]["result"], "Invalid nodeid");
    let several = wake(json!(["x", id]));
    assert!(several.len() == 2 && several.iter().all(|answer| answer["result"] == "ok"));
}

#[test]
fn what_firmware_is_asked_is_answered_by_what_it_did_and_the_session_goes_on() {
    let (world, _agent) = lab();
    let executor = Rc::<async_executor::LocalExecutor<'static>>::default();
    world.control.set_amt(Room::new(world.hub.clone(), executor.clone()));
    let firmware = Firmware::new();
    firmware.call_in(&world.hub, &node_id(2));
    let admin = world.session("admin");
    let id = node_id(2).to_string();
    let answers = |request: Value| {
        let action = request["action"].clone();
        assert_eq!(ask(&admin, &request), Vec::<Value>::new(), "nothing is waited for");
        while executor.try_tick() {}
        let answers = heard(&admin).into_iter().filter(|frame| frame["action"] == action);
        answers.collect::<Vec<_>>()
    };
    let reset = json!({"action": "poweraction", "actiontype": 310, "nodeids": [id],
        "responseid": "R"});
    let done = |result: &str| {
        [json!({"action": "poweraction", "responseid": "R",
        "result": result})]
    };
    assert_eq!(answers(reset.clone()), done("ok"));
    assert_eq!(answers(reset), done("The last change of power has not taken effect yet"));
    let read = json!({"action": "amtread", "nodeid": id, "what": "network", "tag": 7});
    let network = answers(read.clone()).remove(0);
    assert_eq!((&network["tag"], &network["what"]), (&json!(7), &json!("network")));
    assert_eq!(network["value"]["Ethernet"][0]["mac"], "00:BE:43:D8:22:A4");
    let what = json!({"action": "amtread", "nodeid": id, "what": "everything"});
    assert_eq!(ask(&admin, &what)[0]["result"], "Invalid what");
    let code = json!({"action": "amtconsent", "nodeid": id, "verb": "give", "code": "12345",
        "responseid": "R"});
    assert_eq!(ask(&admin, &code)[0]["result"], "Invalid code");
    let power =
        |state: u32| json!({"action": "amtpower", "nodeid": id, "state": state, "responseid": "R"});
    assert_eq!(ask(&admin, &power(2))[0]["result"], "Invalid state");
    assert_eq!(answers(power(5))[0]["result"], "The last change of power has not taken effect yet");
    // One that does not answer delays nobody but who asked it.
    firmware.wedged.set(true);
    assert_eq!(answers(read), Vec::<Value>::new());
    assert_eq!(ask(&admin, &json!({"action": "meshes"}))[0]["action"], "meshes");
}

#[test]
fn settings_of_firmware_are_wished_for_whole_and_passwords_are_told_to_nobody_else() {
    let (world, _agent) = lab();
    let executor = Rc::<async_executor::LocalExecutor<'static>>::default();
    world.control.set_amt(Room::new(world.hub.clone(), executor.clone()));
    let firmware = Firmware::new();
    firmware.call_in(&world.hub, &node_id(2));
    let (admin, id) = (world.session("admin"), node_id(2).to_string());
    let request = |what: &str, more: Value| {
        let mut request =
            json!({"action": "amtset", "nodeid": id, "what": what, "responseid": "R"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let password = "The password needs 8 to 32 characters";
    let user = |more: Value| {
        let mut user = json!({"verb": "add", "name": "oper", "pass": "0per!Ator", "realms": [2]});
        user.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        user
    };
    let alarm = |start: Value, interval: Value| json!({"verb": "add", "name": "a", "start": start, "interval": interval});
    for (what, more, why) in [
        ("", json!({}), "Invalid what"),
        ("everything", json!({}), "Invalid what"),
        ("features", json!({}), "Invalid features"),
        ("features", json!({"serial": 1}), "Invalid features"),
        ("features", json!({"serial": true, "desktop": "on"}), "Invalid features"),
        ("consent", json!({}), "Invalid require"),
        ("consent", json!({"require": "some"}), "Invalid require"),
        ("name", json!({}), "Invalid name"),
        ("name", json!({"hostname": "a b"}), "Invalid name"),
        ("user", json!({}), "Invalid verb"),
        ("user", json!({"verb": "remove"}), "Invalid handle"),
        ("user", json!({"verb": "change", "handle": "1"}), "Invalid handle"),
        ("user", user(json!({"name": "$$uns"})), "Invalid name"),
        ("user", user(json!({"name": 5})), "Invalid name"),
        ("user", user(json!({"pass": "weak"})), password),
        ("user", user(json!({"access": "all"})), "Invalid access"),
        ("user", user(json!({"realms": []})), "Invalid realms"),
        ("user", user(json!({"realms": ["2"]})), "Invalid realms"),
        ("user", user(json!({"enabled": 1})), "Invalid enabled"),
        ("alarm", json!({"verb": "sound"}), "Invalid verb"),
        ("alarm", alarm(json!("now"), json!(0)), "Invalid start"),
        ("alarm", alarm(json!(-5), json!(0)), "Invalid start"),
        ("alarm", alarm(json!(1), json!(0)), "The alarm is in the past"),
        ("alarm", alarm(json!(4_000_000_000_u64), json!("1d")), "Invalid interval"),
        ("alarm", alarm(json!(4_000_000_000_u64), json!(7)), "Invalid interval"),
        ("admin", json!({}), password),
        ("admin", json!({"pass": "admin"}), password),
    ] {
        let answer = ask(&admin, &request(what, more.clone())).remove(0);
        let said = answer["result"].as_str().unwrap();
        assert!(said.starts_with(why), "{what} {more}: {said}");
    }
    assert_eq!(firmware.take_said(), Vec::<String>::new());
    let told = |what: &str, more: Value| {
        assert_eq!(ask(&admin, &request(what, more)), Vec::<Value>::new(), "nothing is waited for");
        while executor.try_tick() {}
        let frames = heard(&admin);
        assert!(!json!(frames).to_string().contains("0per!Ator"), "{frames:?}");
        let answer = frames.into_iter().find(|frame| frame["action"] == "amtset").unwrap();
        assert_eq!((&answer["responseid"], &answer["nodeid"]), (&json!("R"), &json!(id)));
        answer["result"].as_str().unwrap().to_owned()
    };
    assert_eq!(told("consent", json!({"require": "desktop"})), "ok");
    assert_eq!(firmware.property("IPS_OptInService", "OptInRequired"), "1");
    assert_eq!(told("user", user(json!({}))), "ok");
    let alarm = told("alarm", json!({"verb": "remove", "name": "none"}));
    assert!(alarm.contains("DestinationUnreachable"), "{alarm}");
    // What has changed is told without asking the firmware, and with nobody to log in to it.
    firmware.take_said();
    let changes = json!({"action": "amtread", "nodeid": id, "what": "changes", "tag": 1});
    let answer = ask(&admin, &changes).remove(0);
    assert_eq!(
        answer,
        json!({"action": "amtread", "nodeid": id, "what": "changes", "value": [],
        "tag": 1})
    );
    let boot = json!({"action": "amtboot", "nodeid": id, "target": "https", "responseid": "R"});
    assert_eq!(ask(&admin, &boot)[0]["result"], "Invalid url");
    assert_eq!(firmware.take_said(), Vec::<String>::new());
}

#[test]
fn a_computer_that_is_off_is_woken_by_its_firmware_too() {
    let (world, _agent) = lab();
    let executor = Rc::<async_executor::LocalExecutor<'static>>::default();
    world.control.set_amt(Room::new(world.hub.clone(), executor.clone()));
    let firmware = Firmware::new();
    firmware.call_in(&world.hub, &node_id(2));
    firmware.change("CIM_ServiceAvailableToElement", "PowerState", "8");
    let admin = world.session("admin");
    ask(&admin, &json!({"action": "wakedevices", "nodeids": [node_id(2).to_string()]}));
    while executor.try_tick() {}
    let asked = "CIM_PowerManagementService.RequestPowerStateChange";
    assert!(firmware.take_said().iter().any(|said| said == asked));
}
