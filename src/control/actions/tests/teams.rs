//! User groups, and administrators of several domains.

use super::*;
use crate::config::{Config, Domain};
use crate::model::{DomainId, PasswordHash, User, UserId};

fn ok(session: &Session, mut request: Value) -> Value {
    request["responseid"] = "R".into();
    let answers = ask(session, &request);
    let answer = answers.into_iter().find(|answer| answer["responseid"] == "R").unwrap();
    assert!(answer["result"].as_str().unwrap().starts_with(['o', 'A', 'R']), "{answer}");
    answer
}

#[test]
fn a_user_group_lives_from_its_making_to_its_end() {
    let (world, _) = lab();
    let (admin, bob) = (world.session("admin"), world.session("bob"));
    heard(&admin);
    let made = ok(&admin, json!({"action": "createusergroup", "name": "ug1", "desc": "One"}));
    let id = made["ugrpid"].as_str().unwrap().to_owned();
    assert_eq!(made["links"], json!({}));
    let told = events(&admin).remove(0);
    assert_eq!(
        told,
        json!({"etype": "ugrp", "userid": "user//admin", "username": "admin", "ugrpid": id,
            "name": "ug1", "desc": "One", "action": "createusergroup", "links": {}, "msgid": 69,
            "msgArgs": ["ug1"], "msg": "User group created: ug1", "domain": ""})
    );

    let add = json!({"action": "addusertousergroup", "ugrpid": id, "usernames": ["Bob", "nobody"]});
    let mut with_id = add.clone();
    with_id["responseid"] = "R".into();
    let answers = ask(&admin, &with_id);
    assert_eq!(answers[0]["value"], "User nobody not found.");
    assert_eq!(
        answers[1],
        json!({"action": "addusertousergroup", "responseid": "R", "result": "ok", "added": 1,
            "failed": 1})
    );
    let told = events(&admin);
    assert_eq!((&told[0]["action"], &told[0]["msgid"]), (&json!("accountchange"), &json!(67)));
    assert_eq!((&told[1]["msgid"], &told[1]["msgArgs"]), (&json!(71), &json!([["bob"], "ug1"])));
    let member = json!({"userid": "user//bob", "name": "bob", "rights": 1});
    assert_eq!(told[1]["links"], json!({"user//bob": member}));
    let told = events(&bob);
    assert_eq!(told[0]["account"]["links"][&id]["rights"], 1);
    assert_eq!(
        told[1],
        json!({"ugrpid": id, "domain": "", "name": "ug1", "action": "usergroupchange",
            "username": "admin", "links": {"user//bob": member}}),
        "a member hears of it at once, and of nobody else in it"
    );

    // Rights given to the group are those of its members, at once.
    let group = group_id(1).to_string();
    let give = json!({"action": "addmeshuser", "meshid": group, "userids": [id], "meshadmin": 16});
    let text = ok(&admin, give)["result"].as_str().unwrap().to_owned();
    assert_eq!(text, format!("Added user {}", id.rsplit('/').next().unwrap()));
    let told = events(&admin);
    assert_eq!((&told[0]["action"], &told[0]["msgid"]), (&json!("usergroupchange"), &json!(79)));
    assert_eq!(told[0]["links"][&group]["rights"], 16);
    assert_eq!(told[1]["links"][&id], json!({"name": "ug1", "rights": 16}));
    assert_eq!(ask(&bob, &json!({"action": "meshes"}))[0]["meshes"][0]["_id"], group);
    let node = node_id(2).to_string();
    ok(&admin, json!({"action": "adddeviceuser", "nodeid": node, "userids": [id], "rights": 8}));
    let rights = ask(&admin, &json!({"action": "nodes", "id": node}));
    assert_eq!(rights[0]["nodes"][&group][0]["links"][&id]["rights"], 8);
    let device = world.hub.store.device(&node_id(2)).unwrap();
    let of_bob = || world.hub.rights_on_device(&world.account("bob"), &device).bits();
    assert_eq!(of_bob(), 24);

    heard(&bob);
    let edit = json!({"action": "editusergroup", "ugrpid": id, "name": "ug2", "desc": "",
        "consent": 3, "flags": 2, "responseid": "R"});
    assert!(ask(&admin, &edit).is_empty(), "never answered");
    assert_eq!(events(&bob)[0]["name"], "ug2");
    let list = ask(&admin, &json!({"action": "usergroups"})).remove(0);
    let shown = &list["ugroups"][&id];
    assert_eq!((&shown["consent"], &shown["flags"]), (&json!(3), &json!(2)));

    let clone = ok(&admin, json!({"action": "createusergroup", "name": "copy", "clone": id}));
    assert_eq!(clone["links"][&group]["rights"], 16);
    assert_eq!(clone["links"]["user//bob"], member);
    ok(&admin, json!({"action": "deleteusergroup", "ugrpid": clone["ugrpid"]}));
    assert_eq!(of_bob(), 24, "the other is still there");

    ok(&admin, json!({"action": "removemeshuser", "meshid": group, "userid": id}));
    assert_eq!(of_bob(), 8);
    let remove = json!({"action": "adddeviceuser", "nodeid": node, "userids": [id], "rights": 0,
        "remove": true});
    ok(&admin, remove);
    assert_eq!(of_bob(), 0);
    heard(&admin);
    let out = json!({"action": "removeuserfromusergroup", "ugrpid": id, "userid": "bob"});
    ok(&admin, out.clone());
    let told = events(&admin);
    assert_eq!((&told[1]["msgid"], &told[1]["msgArgs"]), (&json!(72), &json!(["bob", "ug2"])));
    ok(&admin, out);
    assert!(heard(&admin).is_empty(), "nothing left to do");
}

#[test]
fn a_deleted_user_group_takes_its_rights_with_it() {
    let (world, _) = lab();
    let team = world.user_group(5, "team");
    let mut group = (*world.hub.store.user_group(&team).unwrap()).clone();
    group.set_link(LinkTarget::Group(group_id(1)), Some(Rights::CHAT));
    group.set_link(LinkTarget::Device(node_id(2)), Some(Rights::WAKE));
    world.hub.store.put(group).later();
    world.link("bob", LinkTarget::UserGroup(team.clone()), Rights::EDIT_GROUP);
    let (admin, bob) = (world.session("admin"), world.session("bob"));
    heard(&admin);
    let answer = ok(&admin, json!({"action": "deleteusergroup", "ugrpid": team.to_string()}));
    assert_eq!(answer["ugrpid"], team.to_string());
    let actions: Vec<_> = events(&admin).iter().map(|event| event["action"].clone()).collect();
    assert_eq!(actions, ["accountchange", "meshchange", "changenode", "deleteusergroup"]);
    assert!(world.account("bob").links.is_empty());
    assert_eq!(ask(&bob, &json!({"action": "meshes"}))[0]["meshes"], json!([]));
    heard(&bob);
    ask(&admin, &json!({"action": "editmesh", "meshname": "lab", "desc": "x"}));
    assert!(heard(&bob).is_empty());
    for (request, text) in [
        (json!({"action": "deleteusergroup", "ugrpid": team.to_string()}), "Unknown device group"),
        (json!({"action": "deleteusergroup", "ugrpid": "x"}), "Invalid group id"),
        (
            json!({"action": "createusergroup", "name": "x", "clone": "ugrp//x"}),
            "Invalid clone groupid",
        ),
        (json!({"action": "createusergroup", "name": "x".repeat(65)}), "Invalid group name"),
        (json!({"action": "addusertousergroup", "ugrpid": "ugrp//x"}), "Invalid groupid"),
    ] {
        let mut request = request;
        request["responseid"] = "R".into();
        assert_eq!(ask(&admin, &request)[0]["result"], text, "{request}");
    }
}

#[test]
fn only_a_group_administrator_touches_a_user_group_that_is_one() {
    let (world, _) = lab();
    let team = world.user_group(5, "team");
    let mut group = (*world.hub.store.user_group(&team).unwrap()).clone();
    group.set_link(LinkTarget::Group(group_id(1)), Some(Rights::FULL));
    world.hub.store.put(group).later();
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::MANAGE_USERS);
    let bob = world.session("bob");
    let (group, team) = (group_id(1).to_string(), team.to_string());
    for (request, text) in [
        (json!({"action": "removemeshuser", "userid": team}), "Permission denied"),
        (
            json!({"action": "addmeshuser", "userids": [team], "meshadmin": 8}),
            "Can't change rights of device group administrator, Nothing done",
        ),
    ] {
        let mut request = request;
        request["meshid"] = group.as_str().into();
        request["responseid"] = "R".into();
        assert_eq!(ask(&bob, &request)[0]["result"], text);
    }
}

#[test]
fn deleting_what_a_user_group_has_rights_on_tells_its_members() {
    let (world, _) = lab();
    let team = world.user_group(5, "team");
    let mut record = (*world.hub.store.user_group(&team).unwrap()).clone();
    record.set_link(LinkTarget::Device(node_id(2)), Some(Rights::CHAT));
    record.set_link(LinkTarget::Group(group_id(3)), Some(Rights::CHAT));
    world.hub.store.put(record).later();
    world.link("bob", LinkTarget::UserGroup(team.clone()), Rights::EDIT_GROUP);
    let (admin, bob) = (world.session("admin"), world.session("bob"));
    ok(&admin, json!({"action": "removedevices", "nodeids": [node_id(2).to_string()]}));
    let actions = |session| {
        let told = events(session);
        told.iter().map(|event| event["action"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(actions(&bob), ["usergroupchange", "removenode"]);
    ok(&admin, json!({"action": "deletemesh", "meshname": "other"}));
    assert_eq!(actions(&bob), ["deletemesh", "usergroupchange"]);
    assert!(world.hub.store.user_group(&team).unwrap().links.is_empty());
}

#[test]
fn a_listed_user_group_sees_every_device_through_its_full_administrators() {
    let mut config = Config::default();
    let team = UserGroupId::new(DomainId::default(), crate::model::Key48([5; 48]));
    config.settings.manage_all_device_groups = vec![team.to_string()];
    let (world, _) = lab_with(config);
    let device = world.hub.store.device(&node_id(2)).unwrap();
    for (name, site) in [("root", SiteRights::FULL), ("bob", SiteRights::empty())] {
        world.user(name, site);
        world.link(name, LinkTarget::UserGroup(team.clone()), Rights::EDIT_GROUP);
        let rights = || world.hub.rights_on_device(&world.account(name), &device);
        assert!(rights().is_empty(), "there is no such group yet");
        world.user_group(5, "team");
        assert_eq!(rights().is_full(), site.is_full(), "{name}");
        world.hub.store.remove(crate::store::RecordKey::UserGroup(team.clone())).later();
    }
}

/// Two domains; `admin` and `bob` are in both, `root` crosses from the default one.
fn tenants() -> (World, DomainId) {
    let mut config = Config::default();
    let b = DomainId::new("b").unwrap();
    config.domains.insert(b.clone(), Domain { max_user_accounts: Some(3), ..Domain::default() });
    config.settings.manage_cross_domain = vec![UserId::new(DomainId::default(), "root").unwrap()];
    let (world, _) = lab_with(config);
    world.user("root", SiteRights::MANAGE_USERS | SiteRights::USER_GROUPS);
    for (name, site) in [("admin", SiteRights::FULL), ("bob", SiteRights::MANAGE_USERS)] {
        let id = UserId::new(b.clone(), name).unwrap();
        let user = User { site, ..User::new(id, name, PasswordHash::None, Millis(0)) };
        world.hub.store.put(user).later();
    }
    (world, b)
}

#[test]
fn tenants_of_the_same_names_know_nothing_of_each_other() {
    let (world, b) = tenants();
    let id = |name: &str| UserId::new(b.clone(), name).unwrap();
    let (ours, theirs) = (world.session("admin"), world.session_of(id("admin")));
    let count = |session: &Session, action: &str, list: &str| {
        let answer = ask(session, &json!({"action": action})).remove(0)[list].clone();
        answer.as_array().map_or_else(|| answer.as_object().map_or(0, |o| o.len()), Vec::len)
    };
    assert_eq!((count(&ours, "users", "users"), count(&theirs, "users", "users")), (4, 2));
    assert_eq!((count(&ours, "meshes", "meshes"), count(&theirs, "meshes", "meshes")), (2, 0));
    assert_eq!(count(&theirs, "wssessioncount", "wssessions"), 1);
    assert_eq!(count(&theirs, "usergroups", "ugroups"), 0);
    let made = ok(&theirs, json!({"action": "createmesh", "meshname": "lab", "meshtype": 2}));
    assert!(made["meshid"].as_str().unwrap().starts_with("mesh/b/"));
    heard(&ours);
    heard(&theirs);
    // By its bare name each means its own.
    let lock = json!({"action": "edituser", "userid": "bob", "realname": "B"});
    ok(&theirs, lock);
    assert!(world.hub.store.user(&id("bob")).unwrap().real_name.is_some());
    assert!(world.account("bob").real_name.is_none());
    assert!(heard(&ours).is_empty());
    let add =
        |name: &str| json!({"action": "adduser", "username": name, "pass": "x", "responseid": "R"});
    assert_eq!(ask(&theirs, &add("carol"))[0]["result"], "ok");
    assert_eq!(ask(&theirs, &add("dora"))[0]["result"], "maxUsersExceed", "its own limit");
    assert_eq!(ask(&ours, &add("dora"))[0]["result"], "ok");
}

#[test]
fn who_crosses_domains_manages_accounts_and_user_groups_and_nothing_else() {
    let (world, b) = tenants();
    let id = |name: &str| UserId::new(b.clone(), name).unwrap();
    let (root, theirs) = (world.session("root"), world.session_of(id("admin")));
    let info: Value = serde_json::from_str(&root.greeting().texts[0]).unwrap();
    assert_eq!(info["serverinfo"]["crossDomain"], json!(["", "b"]));
    let users = ask(&root, &json!({"action": "users"})).remove(0);
    assert_eq!(users["users"].as_array().unwrap().len(), 6);
    heard(&root);
    heard(&theirs);

    ok(&root, json!({"action": "adduser", "username": "new", "pass": "x", "domain": "b"}));
    assert!(world.hub.store.user(&id("new")).is_some());
    let created = |session| {
        let told = events(session).remove(0);
        (told["action"].clone(), told["domain"].clone())
    };
    assert_eq!(created(&theirs), (json!("accountcreate"), json!("b")));
    assert_eq!(created(&root), (json!("accountcreate"), json!("b")));
    let nowhere = json!({"action": "adduser", "username": "x", "pass": "x", "domain": "c",
        "responseid": "R"});
    assert_eq!(ask(&root, &nowhere)[0]["msgid"], 5);

    ok(&root, json!({"action": "edituser", "userid": "user/b/new", "realname": "N"}));
    assert_eq!(events(&theirs)[0]["account"]["realname"], "N");
    let above = json!({"action": "deleteuser", "userid": "user/b/admin", "responseid": "R"});
    assert_eq!(ask(&root, &above)[0]["result"], "Permission denied", "a full administrator");

    let made = ok(&root, json!({"action": "createusergroup", "name": "t", "domain": "b"}));
    let team = made["ugrpid"].as_str().unwrap().to_owned();
    assert!(team.starts_with("ugrp/b/"));
    let add = json!({"action": "addusertousergroup", "ugrpid": team, "usernames": ["new"]});
    assert_eq!(ok(&root, add)["added"], 1);
    assert_eq!(world.hub.store.user(&id("new")).unwrap().links.len(), 1);
    ok(&root, json!({"action": "deleteusergroup", "ugrpid": team}));
    ok(&root, json!({"action": "deleteuser", "userid": "user/b/new"}));
    assert!(world.hub.store.user(&id("new")).is_none());

    // Devices and their groups stay behind their border, and so do all other events.
    heard(&root);
    ok(&theirs, json!({"action": "createmesh", "meshname": "lab", "meshtype": 2}));
    let told = heard(&root);
    assert!(told.iter().all(|frame| frame["event"]["action"] == "accountchange"), "{told:?}");
    assert!(told.iter().all(|frame| frame["event"]["domain"] == "b"));
    assert_eq!(ask(&root, &json!({"action": "meshes"}))[0]["meshes"], json!([]));
    let bob = world.session("bob");
    assert!(ask(&bob, &json!({"action": "users"})).is_empty(), "no account manager");
}
