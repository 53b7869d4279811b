//! The server itself: numbers, console, cookies, files.

use super::*;
use crate::control::premises::Premises;
use crate::hub::Refused;
use crate::hub::held::{self, HeldCause};
use crate::identity::cookie::{AUTH_LIFETIME, CookieKey, LOGIN_KEY};
use crate::model::{Event, EventKind, Key48, Secret, Target, User, UserId};
use std::time::Duration;

#[test]
fn numbers_come_until_they_are_not_wanted_or_allowed_any_more() {
    let (world, _) = lab();
    let admin = world.session("admin");
    let frame = ask(&admin, &json!({"action": "serverstats", "interval": 1000})).remove(0);
    assert_eq!(frame["values"]["ServerState"]["AgentSessions"], 1);
    assert_eq!(frame["values"]["ServerState"]["UserAccounts"], 3);
    assert!(
        frame["totalmem"].as_u64().unwrap() > 0 && frame["cpuavg"].as_array().unwrap().len() == 3
    );
    assert_eq!(admin.stats_every(), Some(Duration::from_secs(1)));
    assert_eq!(admin.stats().texts.len(), 1);
    assert!(ask(&admin, &json!({"action": "serverstats", "interval": 999})).is_empty());
    assert_eq!(admin.stats_every(), None);

    ask(&admin, &json!({"action": "serverstats", "interval": 5000}));
    let id = UserId::new(world.domain(), "admin").unwrap();
    let lesser = User { site: SiteRights::FILES, ..(*world.hub.store.user(&id).unwrap()).clone() };
    world.hub.store.put(lesser).later();
    assert!(admin.stats().texts.is_empty());
    assert_eq!(admin.stats_every(), None, "the right is gone");
}

#[test]
fn traffic_is_told_in_all_and_since_last_asked() {
    let (world, _) = lab();
    let admin = world.session("admin");
    world.hub.metrics.agent_in.fetch_add(100, std::sync::atomic::Ordering::Relaxed);
    let delta =
        |session| ask(session, &json!({"action": "trafficdelta"})).remove(0)["delta"].clone();
    assert_eq!(delta(&admin)["AgentCtrlIn"], 100);
    world.hub.metrics.agent_in.fetch_add(7, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(delta(&admin)["AgentCtrlIn"], 7);
    let all = ask(&admin, &json!({"action": "trafficstats"})).remove(0);
    assert_eq!(all["stats"]["AgentCtrlIn"], 107);
    world.control.sample();
    let line = ask(&admin, &json!({"action": "servertimelinestats", "hours": 24})).remove(0);
    assert_eq!(
        line["events"][0]["conn"],
        json!({"ca": 1, "cu": 1, "us": 1, "rs": 0, "am": 0, "amc": 0})
    );
    let told = heard(&admin).remove(0);
    assert_eq!(told["event"]["action"], "servertimelinestats");
}

#[test]
fn the_console_answers_full_administrators_with_the_tag() {
    let (world, _) = lab();
    world.user("almost", SiteRights::from_bits_retain(u32::MAX - (1 << 30)));
    let (admin, almost) = (world.session("admin"), world.session("almost"));
    let bad = json!({"action": "serverconsole", "value": "xyz", "tag": "T"});
    assert_eq!(
        ask(&admin, &bad),
        [json!({"action": "serverconsole", "tag": "T",
        "value": "Unknown command \"xyz\", type \"help\" for list of available commands."})]
    );
    assert!(ask(&almost, &bad).is_empty());
    let update = ask(&admin, &json!({"action": "serverupdate"})).remove(0);
    assert_eq!((&update["action"], &update["type"]), (&json!("msg"), &json!("notify")));
}

#[test]
fn a_tunnel_cookie_is_for_the_device_and_what_was_asked_for() {
    let (world, _) = lab();
    let group = Group::new(group_id(4), "local", GroupKind::Local, Millis(1));
    world.hub.store.put(group).later();
    world.link("admin", LinkTarget::Group(group_id(4)), Rights::FULL);
    let local = crate::model::Device::new(node_id(5), group_id(4), "nas", Millis(0));
    world.hub.store.put(local).later();
    let admin = world.session("admin");
    let secret = Secret { name: LOGIN_KEY.into(), bytes: (0..80).collect() };
    let key = CookieKey::new(&secret).unwrap();
    for (request, echoed, sealed) in [
        (
            json!({"nodeid": node_id(2).to_string(), "tcpport": 22, "tag": "ssh"}),
            json!(null),
            json!({"nodeid": node_id(2).to_string(), "tcpport": 22}),
        ),
        (
            json!({"nodeid": node_id(2).to_string(), "tcpport": 5900,
            "tcpaddr": "10.0.0.5", "tag": "novnc"}),
            json!(null),
            json!({"nodeid": node_id(2).to_string(), "tcpport": 5900, "tcpaddr": "10.0.0.5",
            "p": 12}),
        ),
        (
            json!({"nodeid": node_id(5).key.text(), "tcpport": 80, "tag": "http"}),
            json!(true),
            json!({"nodeid": node_id(5).to_string(), "tcpport": 80, "lc": 1}),
        ),
    ] {
        let mut request = request;
        request["action"] = "getcookie".into();
        let mut answer = ask(&admin, &request).remove(0);
        let cookie = answer["cookie"].take();
        let mut fields =
            key.open(cookie.as_str().unwrap(), world.hub.now().seconds(), AUTH_LIFETIME).unwrap();
        for own in ["time", "ms", "userid", "domainid"] {
            assert!(fields.remove(own).is_some());
        }
        assert_eq!(Value::Object(fields), sealed);
        assert_eq!((&answer["trustedCert"], &answer["localRelay"]), (&json!(false), &echoed));
        assert_eq!(answer["tag"], request["tag"]);
    }
}

#[test]
fn reports_are_made_of_what_the_user_may_see() {
    let (world, _) = lab();
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::REMOTE_CONTROL);
    let (admin, bob) = (world.session("admin"), world.session("bob"));
    for (name, seconds) in [("admin", 30), ("bob", 12)] {
        let user = UserId::new(world.domain(), name).unwrap();
        let event = Event::new("relaylog", world.domain())
            .kind(EventKind::Relay)
            .actor(&user)
            .node(&node_id(2))
            .to(Target::All)
            .to(Target::Group(group_id(1)))
            .with("msgid", 11)
            .with("msgArgs", json!(["a", "b", "c", seconds]))
            .with("protocol", 5)
            .with("bytesin", 100)
            .with("bytesout", 10);
        world.hub.publish(event);
    }
    let report = |session: &Session, kind: u32, by: u32| {
        let request = json!({"action": "report", "type": kind, "groupBy": by, "start": 1,
            "end": 9_999_999_999_u64, "showTraffic": true, "devGroup": null});
        ask(session, &request).first().map_or(Value::Null, |frame| frame["data"].clone())
    };
    let of_all = report(&admin, 1, 1);
    assert_eq!(of_all["groupFormat"], "user");
    let entry = &of_all["groups"]["user//bob"]["entries"][0];
    assert_eq!(
        (&entry["length"], &entry["protocol"], &entry["bytesin"], &entry["nodeid"]),
        (&json!(12), &json!(5), &json!(100), &json!(node_id(2).to_string()))
    );
    assert_eq!(of_all["groups"].as_object().unwrap().len(), 2);
    assert_eq!(report(&bob, 1, 1)["groups"].as_object().unwrap().len(), 1, "own sessions");
    let by_device = report(&admin, 1, 2);
    let key = format!("{}/{}", node_id(2), group_id(1));
    assert_eq!(by_device["groups"][key]["entries"].as_array().unwrap().len(), 2);
    assert_eq!(
        report(&admin, 2, 1)["groups"]["0"]["entries"],
        json!([
            {"userid": "user//admin", "length": 30, "bytesin": 100, "bytesout": 10},
            {"userid": "user//bob", "length": 12, "bytesin": 100, "bytesout": 10},
        ])
    );
    let records = report(&admin, 4, 1);
    assert!(
        records["groups"]["0"]["entries"]
            .as_array()
            .unwrap()
            .contains(&json!({"record": "node", "recordcount": 1}))
    );
    assert_eq!(report(&bob, 4, 1), Value::Null);
    assert_eq!(report(&admin, 1, 4), Value::Null);
}

#[test]
fn the_server_tells_how_it_is_without_telling_where_its_keys_are() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("webserver-cert-public.crt"), "no certificate").unwrap();
    let root = rcgen::generate_simple_self_signed(["root".to_owned()]).unwrap().cert.pem();
    std::fs::write(data.path().join("root-cert-public.crt"), root).unwrap();
    let (world, _) = lab();
    let premises = Premises::new(data.path(), vec![]);
    premises.agent_package.replace(Some("1.1.55".into()));
    world.control.set_premises(premises);
    world.hub.metrics.refuse(Refused::AgentAuth);
    let refusal = held::Refusal {
        cause: HeldCause::WebHash,
        domain: world.domain(),
        address: [198, 51, 100, 7].into(),
        node: None,
        name: Some("pump".into()),
        hash: Some(Key48([10; 48])),
    };
    world.hub.held.note(&refusal, Millis(5));
    let health = ask(&world.session("admin"), &json!({"action": "serverhealth"})).remove(0);
    assert_eq!((&health["agents"], &health["devices"]), (&json!(1), &json!(1)));
    assert_eq!(health["agentPackage"], "1.1.55");
    assert!(health["memory"]["resident"].as_u64().unwrap() > 1 << 20);
    assert_eq!(health["store"]["degraded"], Value::Null);
    assert_eq!(health["refused"]["agent_auth"], 1);
    assert_eq!(health["certificates"][0]["role"], "root");
    assert_eq!(health["certificates"][0]["notAfter"].as_str().unwrap().len(), 24);
    assert!(health["certificates"][0].get("key").is_none());
    assert_eq!(health["certificateErrors"].as_array().unwrap().len(), 1, "{health}");
    let held = &health["held"][0];
    assert_eq!((&held["cause"], &held["address"]), (&json!("webHash"), &json!("198.51.100.7")));
    assert_eq!((&held["name"], &held["hash"]), (&json!("pump"), &json!("0A".repeat(48))));
    assert_eq!(
        (&held["first"], &held["times"], &held["waiting"]),
        (&json!(5), &json!(1), &json!(0))
    );
    assert!(held["fix"].as_str().unwrap().contains("certUrl"));
    // Who makes backups is not told of devices.
    world.user("keeper", SiteRights::BACKUP);
    let health = ask(&world.session("keeper"), &json!({"action": "serverhealth"})).remove(0);
    assert_eq!((&health["agents"], health.get("held")), (&json!(1), None));
}

#[test]
fn activations_are_shown_without_the_passwords_they_gave() {
    let data = tempfile::tempdir().unwrap();
    let certs = json!({"vendor": {"certpfx": "absent.pfx", "certpfxpass": "x"}});
    let text = json!({"domains": {"": {"AmtAcmActivation": {"certs": certs}}}}).to_string();
    let (world, _) = lab_with(crate::config::parse(&text, []).unwrap().0);
    let room = crate::amt::activation::room::Room::new(world.hub.clone(), data.path());
    futures_lite::future::block_on(room.load());
    world.control.set_activation(room);
    world.control.set_premises(Premises::new(data.path(), vec![]));
    let line = |action: &str, secret: &str| {
        json!({"time": "2026-11-22T20:00:00.000Z", "action": action, "domain": "",
            "amtUuid": "03000200-0400-0500-0006-000700080009", "amtFqdn": "example.com",
            "user": "admin", "password": secret, "computerName": "pc"})
    };
    // A line of no computer has passwords of another kind.
    let of_menu = json!({"time": "2026-11-22T19:00:00.000Z", "action": "setupbin", "domain": "",
        "oldmebx": "S3cret!y", "newmebx": "S3cret!z", "dns": "example.com"});
    let [begun, done] = ["acmactivate", "acmactivate-success"].map(|name| line(name, "S3cret!x"));
    let log = format!("{of_menu}\r\n{begun}\r\n{done}\r\n");
    std::fs::write(data.path().join("amtactivation.log"), log).unwrap();
    let admin = world.session("admin");
    let told = ask(&admin, &json!({"action": "amtactivations", "tag": 1})).remove(0);
    let [newest, oldest, menu] = &told["activations"].as_array().unwrap()[..] else {
        panic!("{told}")
    };
    assert_eq!(
        (&newest["action"], &newest["computerName"]),
        (&json!("acmactivate-success"), &json!("pc"))
    );
    assert_eq!((&oldest["action"], oldest.get("password")), (&json!("acmactivate"), None));
    assert_eq!(menu["dns"], "example.com");
    assert!(!told.to_string().contains("S3cret"), "{told}");
    // Why a certificate is not in force is for all who look after the server.
    world.user("keeper", SiteRights::BACKUP);
    let keeper = world.session("keeper");
    assert!(ask(&keeper, &json!({"action": "amtactivations"})).is_empty());
    let health = ask(&keeper, &json!({"action": "serverhealth"})).remove(0);
    assert_eq!(health["activation"]["certificates"], json!([]));
    assert_eq!(health["activation"]["warnings"].as_array().unwrap().len(), 1, "{health}");
}

#[test]
fn a_backup_is_made_when_somebody_asks_for_one() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("config.json"), "{}").unwrap();
    let (world, _) = lab();
    world.control.set_premises(Premises::new(data.path(), vec![]));
    let admin = world.session("admin");
    let told = ask(&admin, &json!({"action": "serverBackup"})).remove(0);
    let file = told["result"].as_str().unwrap().strip_prefix("Backup written to ").unwrap();
    let file = std::fs::File::open(file).unwrap();
    let whole = crate::backup::read(file, None, |_, content| {
        std::io::copy(content, &mut std::io::sink()).unwrap();
        Ok(())
    });
    assert!(whole.is_ok());
    let cloud = ask(&admin, &json!({"action": "serverBackup", "service": "googleDrive"}));
    assert_eq!(cloud[0]["type"], "notify");
    let folder = data.path().join("backups");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let told = ask(&admin, &json!({"action": "serverBackup"})).remove(0);
    assert!(told["result"].as_str().unwrap().starts_with("No backup: "), "{told}");
}

#[test]
fn what_a_restart_would_stumble_over_is_told_with_its_place() {
    let data = tempfile::tempdir().unwrap();
    let (world, _) = lab();
    world.control.set_premises(Premises::new(data.path(), vec![]));
    let admin = world.session("admin");
    for (text, problems, warnings) in [
        (None, 0, 0),
        (Some("{}"), 0, 0),
        (Some(r#"{"settings": {"noSuchThing": 1}}"#), 0, 1),
        (Some(r#"{"settings": {"port": "many"}}"#), 1, 0),
        (Some("{"), 1, 0),
    ] {
        if let Some(text) = text {
            std::fs::write(data.path().join("config.json"), text).unwrap();
        }
        let told = ask(&admin, &json!({"action": "serverconfig"})).remove(0);
        let said = |kind: &str| told["check"][kind].as_array().unwrap().clone();
        let counts = (said("problems").len(), said("warnings").len());
        assert_eq!(counts, (problems, warnings), "{text:?}: {told}");
        // Where the data folder is, is nobody's business.
        let all = [said("problems"), said("warnings")].concat();
        assert!(all.iter().all(|line| line.as_str().unwrap().starts_with("config.json:1:")));
    }
}

#[test]
fn people_keep_files_in_their_own_folder_and_in_those_of_their_groups() {
    let data = tempfile::tempdir().unwrap();
    let (world, _) = lab();
    world.control.set_premises(Premises::new(data.path(), vec![]));
    let (admin, other) = (world.session("admin"), world.session("admin"));
    heard(&admin);
    let own = json!({"user//admin": {"t": 1, "n": "My Files", "f":
        {"Public": {"t": 2, "d": 111, "f": {}}}, "maxbytes": null}});
    let tree = ask(&admin, &json!({"action": "files"})).remove(0);
    assert_eq!(tree["filetree"]["f"]["user//admin"], own["user//admin"]);
    assert_eq!(
        tree["filetree"]["f"][group_id(1).to_string()],
        json!({"t": 4, "n": "lab", "f": {}, "maxbytes": null})
    );
    let operate = |mut request: Value| {
        request["action"] = "fileoperation".into();
        ask(&admin, &request)
    };
    let files = |frames: &[Value]| frames[0]["filetree"]["f"]["user//admin"]["f"].clone();
    let path = json!(["user//admin", "f1"]);
    let frames =
        operate(json!({"fileop": "createfolder", "path": ["user//admin"], "newfolder": "f1"}));
    assert_eq!(files(&frames)["f1"], json!({"t": 2, "d": 111, "f": {}}));
    assert_eq!(heard(&other).pop(), frames.first().cloned(), "other sessions see it, too");
    operate(json!({"fileop": "set", "path": path, "file": "a.txt", "data": "aGVsbG8="}));
    let get = operate(json!({"fileop": "get", "path": path, "file": "a.txt", "tag": "T"}));
    assert_eq!((&get[0]["data"], &get[0]["tag"]), (&json!("aGVsbG8="), &json!("T")));
    operate(json!({"fileop": "rename", "path": path, "oldname": "a.txt", "newname": "b.txt"}));
    let to_group = json!([group_id(1).to_string()]);
    operate(json!({"fileop": "copy", "path": to_group, "scpath": path, "names": ["b.txt"]}));
    let frames = operate(json!({"fileop": "move", "path": ["user//admin"], "scpath": path,
        "names": ["b.txt"]}));
    assert_eq!(files(&frames)["b.txt"]["s"], 5);
    assert_eq!(frames[0]["filetree"]["f"][group_id(1).to_string()]["f"]["b.txt"]["s"], 5);
    let frames = operate(json!({"fileop": "delete", "path": ["user//admin"],
        "delfiles": ["f1", "b.txt", "../x"], "rec": true}));
    assert_eq!(files(&frames), own["user//admin"]["f"]);
    for hostile in [
        json!({"fileop": "get", "path": ["user//admin", ".."], "file": "x"}),
        json!({"fileop": "get", "path": ["user//bob"], "file": "x"}),
        json!({"fileop": "set", "path": ["user//admin"], "file": "../x", "data": "eA=="}),
        json!({"fileop": "set", "path": ["user//admin"], "file": "x", "data": "!"}),
        json!({"fileop": "createfolder", "path": ["mesh//x"], "newfolder": "x"}),
        json!({"fileop": "createfolder", "path": [], "newfolder": "x"}),
        json!({"fileop": "copy", "path": ["user//admin"], "scpath": ["user//bob"], "names": ["x"]}),
        json!({"fileop": "format", "path": ["user//admin"]}),
        json!({}),
    ] {
        assert!(operate(hostile.clone()).is_empty(), "{hostile}");
    }
    assert!(!data.path().join("meshcentral-files/domain/x").exists());
}

#[test]
fn files_of_a_group_need_the_right_on_it_and_quotas_hold() {
    let data = tempfile::tempdir().unwrap();
    let (world, _) = lab();
    world.control.set_premises(Premises::new(data.path(), vec![]));
    let bob = User { quota: Some(10), ..world.user("bob", SiteRights::FILES) };
    world.hub.store.put(bob).later();
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::REMOTE_CONTROL);
    let bob = world.session("bob");
    let set = |id: String, data: &str| {
        ask(
            &bob,
            &json!({"action": "fileoperation", "fileop": "set", "path": [id], "file": "a",
            "data": data}),
        )
    };
    assert!(set(group_id(1).to_string(), "eA==").is_empty());
    let tree = ask(&bob, &json!({"action": "files"})).remove(0);
    assert_eq!(
        tree["filetree"]["f"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["user//bob"]
    );
    assert_eq!(tree["filetree"]["f"]["user//bob"]["maxbytes"], 10);
    let refused = set("user//bob".into(), "MTIzNDU2Nzg5MDE=");
    assert_eq!(
        (&refused[0]["type"], &refused[0]["title"]),
        (&json!("notify"), &json!("Disk quota exceed"))
    );
    assert_eq!(refused[1]["filetree"]["f"]["user//bob"]["f"].get("a"), None);
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::SERVER_FILES);
    assert_eq!(set(group_id(1).to_string(), "eA==").len(), 1);
}

#[test]
fn clipboards_and_updates_reach_the_agent() {
    let (world, agent) = lab();
    let admin = world.session("admin");
    let node = node_id(2).to_string();
    assert!(ask(&admin, &json!({"action": "getClip", "nodeid": node})).is_empty());
    assert!(ask(&admin, &json!({"action": "setClip", "nodeid": node, "data": "x"})).is_empty());
    assert!(ask(&admin, &json!({"action": "updateAgents", "nodeids": [node]})).is_empty());
    let sent = sent(&agent);
    assert_eq!(
        sent[..2],
        [json!({"action": "getClip"}), json!({"action": "setClip", "data": "x"})]
    );
    assert_eq!((&sent[2]["type"], &sent[2]["value"]), (&json!("console"), &json!("agentupdate")));
    let relay =
        json!({"action": "webrelay", "nodeid": node, "port": 80, "appid": 1, "responseid": "R"});
    assert_eq!(ask(&admin, &relay)[0]["result"], "WebRelay Disabled");
}
