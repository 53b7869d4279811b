//! Accounts, user groups, sessions and who hears of what.

use super::*;
use crate::model::{Target, UserGroup};

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
            "email": "Dora@Example.COM", "emailVerified": true, "responseid": "R"});
        ask(&admin, &request).remove(0)
    };
    assert_eq!(add("Dora"), json!({"action": "adduser", "responseid": "R", "result": "ok"}));
    let told = events(&admin).remove(0);
    assert_eq!((&told["action"], &told["userid"]), (&json!("accountcreate"), &json!("user//dora")));
    assert_eq!(told["account"]["email"], "dora@example.com");
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
    assert_eq!(site.bits(), 0, "a request for more than may be given changes nothing");
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
        flags: 0,
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
