//! Account managers and their realms, what accounts set about themselves, notes and messages.

use super::*;
use crate::config::{Config, InterUser};
use crate::control::testing::journal;
use crate::model::{Document, User, UserId};

/// An account of these realms.
fn of_realm(world: &World, name: &str, site: SiteRights, realms: &[&str]) {
    let user = world.user(name, site);
    let realms = realms.iter().map(|realm| (*realm).to_owned()).collect();
    world.hub.store.put(User { realms, ..user }).later();
}

fn result(session: &Session, request: Value) -> String {
    let mut request = request;
    request["responseid"] = "R".into();
    let answers = ask(session, &request);
    let answer = answers.iter().find(|answer| answer["responseid"] == "R");
    answer.map(|answer| answer["result"].as_str().unwrap().to_owned()).unwrap_or_default()
}

#[test]
fn a_new_account_is_as_it_was_asked_for() {
    let mut config = Config::default();
    let settings = config.domains.entry(Default::default()).or_default();
    settings.new_account_rights = SiteRights::NO_NEW_GROUPS;
    let team = UserGroupId::new(Default::default(), crate::model::Key48([5; 48]));
    settings.new_account_user_groups = vec![team.clone()];
    settings.max_user_accounts = Some(5);
    let (world, _) = lab_with(config);
    world.user_group(5, "team");
    let admin = world.session("admin");
    heard(&admin);
    let add = json!({"action": "adduser", "username": "Dora", "randomPassword": true,
        "email": "D@x.Example", "realname": "Dora D", "phone": "+49 30-1.2", "consent": 9,
        "resetNextLogin": true});
    assert_eq!(result(&admin, add.clone()), "ok");
    let dora = world.account("dora");
    assert_eq!(
        (dora.email.as_deref(), dora.email_verified, dora.real_name.as_deref()),
        (Some("d@x.example"), false, Some("Dora D"))
    );
    assert_eq!((dora.phone.as_deref(), dora.consent), (Some("+49 30-1.2"), 9));
    assert_eq!((dora.site, dora.password_changed), (SiteRights::NO_NEW_GROUPS, None));
    assert!(dora.memberships().eq([&team]));
    let told = events(&admin);
    assert_eq!((&told[0]["action"], &told[0]["msgid"]), (&json!("usergroupchange"), &json!(80)));
    assert_eq!(told[0]["links"]["user//dora"]["rights"], 1);
    assert_eq!((&told[1]["msgid"], &told[1]["msgArgs"]), (&json!(65), &json!(["d@x.example"])));

    for (request, number) in [
        (json!({"username": "a b", "pass": "x"}), 2),
        (json!({"username": "a/b", "pass": "x"}), 2),
        (json!({"username": "new"}), 3),
        (json!({"username": "new", "pass": "x".repeat(257)}), 3),
        (json!({"username": "new", "pass": "x", "email": "nowhere"}), 4),
        (json!({"username": "new", "pass": "x", "siteadmin": "1"}), 6),
        (json!({"username": "DORA", "pass": "x"}), 7),
    ] {
        let mut request = request;
        request["action"] = "adduser".into();
        let notice = ask(&admin, &request).remove(0);
        assert_eq!((&notice["type"], &notice["msgid"]), (&json!("notify"), &json!(number)));
        request["responseid"] = "R".into();
        let answer = ask(&admin, &request).remove(0);
        assert_eq!((&answer["action"], &answer["msgid"]), (&json!("adduser"), &json!(number)));
    }
    let another = json!({"action": "adduser", "username": "eve", "pass": "x", "domain": "b"});
    assert_eq!(result(&admin, another), "ok", "the domain is the user's own");
    let full = json!({"action": "adduser", "username": "frank", "pass": "x"});
    assert_eq!(result(&admin, full.clone()), "maxUsersExceed");
    assert_eq!(ask(&admin, &full)[0]["value"], "Account limit reached.");
}

#[test]
fn a_batch_of_accounts_is_made_whole_or_not_at_all() {
    let (world, _) = lab();
    let admin = world.session("admin");
    let batch = |users: Value| json!({"action": "adduserbatch", "users": users});
    for (users, error) in [
        (json!("x"), "Invalid users"),
        (json!([{"user": "a", "pass": "x"}, 5]), "Invalid users"),
        (json!([{"user": "a", "pass": "x"}, {"user": "b"}]), "Invalid password"),
        (json!([{"user": "a", "pass": "x"}, {"user": "~b", "pass": "x"}]), "Invalid username"),
        (json!([{"user": "a", "pass": "x", "email": "@"}]), "Invalid email"),
    ] {
        assert_eq!(result(&admin, batch(users)), error);
    }
    assert_eq!(world.hub.store.users(&world.domain()).len(), 3);
    heard(&admin);
    let users = json!([{"user": "a", "pass": "x"}, {"user": "Bob", "pass": "x"},
        {"user": "b", "pass": "x", "email": "B@x.example", "emailVerified": true}]);
    assert_eq!(result(&admin, batch(users)), "", "success is told by events");
    let told: Vec<_> = events(&admin).iter().map(|event| event["userid"].clone()).collect();
    assert_eq!(told, [json!("user//a"), json!("user//b")], "who exists is passed over");
    assert!(world.account("b").email_verified);
}

#[test]
fn an_account_is_edited_member_by_member() {
    let (world, _) = lab();
    let admin = world.session("admin");
    let edit = |members: Value| {
        let mut request = json!({"action": "edituser", "id": "user//carol"});
        request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        assert_eq!(result(&admin, request), "ok");
        world.account("carol")
    };
    let carol = edit(json!({"email": "C@x.example", "emailVerified": true, "realname": "Carol",
        "quota": 1000, "consent": 5, "phone": "123", "msghandle": "telegram:@c", "flags": 3,
        "removeRights": 8, "groups": ["South ", "north", "north", 5]}));
    assert_eq!((carol.email.as_deref(), carol.email_verified), (Some("c@x.example"), true));
    assert_eq!((carol.quota, carol.consent, carol.phone.as_deref()), (Some(1000), 5, Some("123")));
    assert_eq!(carol.messaging.as_deref(), Some("telegram:@c"));
    assert_eq!(carol.flags, 2, "an image is there or not");
    assert_eq!(carol.remove_rights, Rights::REMOTE_CONTROL);
    assert_eq!(carol.realms, ["north", "south"]);
    let told = events(&admin).pop().unwrap();
    for (name, value) in [
        ("quota", json!(1000)),
        ("phone", json!("123")),
        ("msghandle", json!("telegram:@c")),
        ("flags", json!(2)),
        ("groups", json!(["north", "south"])),
        ("removeRights", json!(8)),
    ] {
        assert_eq!(told["account"][name], value, "{name}");
    }
    let carol = edit(json!({"realname": "C"}));
    assert_eq!((carol.quota, carol.email_verified), (Some(1000), true), "the rest stays");
    let carol = edit(json!({"email": "d@x.example", "quota": null, "phone": "call me"}));
    assert!(!carol.email_verified, "another address");
    assert_eq!((carol.quota, carol.phone.as_deref()), (None, Some("123")));
    let carol = edit(json!({"email": "", "phone": "", "msghandle": "", "realname": "",
        "removeRights": 0, "groups": [], "resetNextLogin": true}));
    assert_eq!((&carol.email, &carol.phone, &carol.messaging), (&None, &None, &None));
    assert_eq!((&carol.real_name, carol.password_changed), (&None, None));
    assert!(carol.remove_rights.is_empty() && carol.realms.is_empty());
}

#[test]
fn managers_give_and_take_what_they_may_and_no_more() {
    let (world, _) = lab();
    let site = SiteRights::MANAGE_USERS | SiteRights::RECORDINGS;
    world.user("manager", site);
    let manager = world.session("manager");
    let edit = |members: Value| {
        let mut request = json!({"action": "edituser", "userid": "carol"});
        request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        result(&manager, request);
        world.account("carol")
    };
    let may = 2 | 32 | 64 | 128 | 512;
    assert_eq!(edit(json!({"siteadmin": may})).site.bits(), may);
    for beyond in [u32::MAX, may | 1, may | 256] {
        let kept = edit(json!({"siteadmin": beyond})).site.bits();
        assert_eq!(kept, may, "a request for more changes nothing");
    }
    assert_eq!(edit(json!({"siteadmin": 0})).site.bits(), 0);
    assert_eq!(edit(json!({"removeRights": 8})).remove_rights.bits(), 8);
    assert_eq!(edit(json!({"removeRights": 24})).remove_rights.bits(), 24);
    assert_eq!(edit(json!({"removeRights": 16})).remove_rights.bits(), 24, "not given back");
    let own = json!({"action": "edituser", "userid": "manager", "siteadmin": 0});
    result(&manager, own);
    assert_eq!(world.account("manager").site, site, "nobody changes own ones");
    for action in ["edituser", "deleteuser"] {
        let above = json!({"action": action, "userid": "admin", "realname": "hacked"});
        assert_eq!(result(&manager, above), "Permission denied");
    }
}

#[test]
fn a_manager_with_realms_has_to_do_with_those_who_share_one() {
    let (world, _) = lab();
    of_realm(&world, "north", SiteRights::MANAGE_USERS, &["n"]);
    of_realm(&world, "ned", SiteRights::empty(), &["n", "x"]);
    of_realm(&world, "sue", SiteRights::empty(), &["s"]);
    let (admin, north) = (world.session("admin"), world.session("north"));
    let (ned, sue) = (world.session("ned"), world.session("sue"));
    let names = |session: &Session, action: &str, list: &str| {
        let answer = ask(session, &json!({"action": action})).remove(0)[list].clone();
        match answer {
            Value::Array(list) => list.iter().map(|a| a["_id"].to_string()).collect::<Vec<_>>(),
            Value::Object(map) => map.keys().map(|key| format!("{key:?}")).collect(),
            _ => panic!("{answer}"),
        }
    };
    assert_eq!(names(&north, "users", "users"), ["\"user//ned\"", "\"user//north\""]);
    assert_eq!(names(&north, "wssessioncount", "wssessions"), ["\"user//ned\"", "\"user//north\""]);
    for session in [&admin, &north, &ned, &sue] {
        heard(session);
    }
    for action in ["edituser", "deleteuser"] {
        let of_sue = json!({"action": action, "userid": "user//sue", "realname": "S"});
        assert_eq!(result(&north, of_sue), "User does not exists");
    }
    for request in [
        json!({"action": "getNotes", "id": "user//sue"}),
        json!({"action": "previousLogins", "userid": "user//sue"}),
        json!({"action": "notifyuser", "userid": "user//sue", "msg": "hi"}),
    ] {
        assert!(ask(&north, &request).is_empty(), "{request}");
    }
    assert_eq!(result(&north, json!({"action": "userbroadcast", "msg": "hi"})), "ok");
    assert_eq!((heard(&ned).len(), heard(&sue).len(), heard(&admin).len()), (1, 0, 0));

    // Accounts it makes are of its realms, and it cannot let one out of them.
    heard(&north);
    result(&north, json!({"action": "adduser", "username": "new", "pass": "x"}));
    assert_eq!(world.account("new").realms, ["n"]);
    let told = events(&north).remove(0);
    assert_eq!((&told["action"], &told["userid"]), (&json!("accountcreate"), &json!("user//new")));
    for (wanted, kept) in [
        (json!([]), vec!["n", "x"]),
        (json!(["s"]), vec!["n", "x"]),
        (json!(["n", "s"]), vec!["n", "x"]),
        (json!(["x"]), vec!["n", "x"]),
        (json!(["n"]), vec!["n"]),
    ] {
        result(&north, json!({"action": "edituser", "userid": "ned", "groups": wanted}));
        assert_eq!(world.account("ned").realms, kept, "{wanted}");
    }
    result(&north, json!({"action": "edituser", "userid": "north", "groups": []}));
    assert_eq!(world.account("north").realms, ["n"], "not out of its own");

    // It hears of its realms only, and when an account leaves them.
    heard(&north);
    result(&admin, json!({"action": "edituser", "userid": "sue", "realname": "S"}));
    assert!(heard(&north).is_empty());
    result(&admin, json!({"action": "edituser", "userid": "ned", "groups": ["s"]}));
    assert_eq!(events(&north)[0]["account"]["groups"], json!(["s"]));
    result(&admin, json!({"action": "edituser", "userid": "ned", "realname": "N"}));
    assert!(heard(&north).is_empty());
}

#[test]
fn a_removed_account_leaves_nothing_behind() {
    let (world, _) = lab();
    let team = world.user_group(5, "team");
    world.link("carol", LinkTarget::UserGroup(team.clone()), Rights::EDIT_GROUP);
    world.link("carol", LinkTarget::Group(group_id(1)), Rights::CHAT);
    world.link("carol", LinkTarget::Device(node_id(2)), Rights::CHAT);
    let id = UserId::new(world.domain(), "carol").unwrap();
    for id in [Document::note("user//carol"), Document::private_note(&id), Document::image(&id)] {
        world.hub.store.put(Document { id, text: "x".into() }).later();
    }
    let (admin, carol) = (world.session("admin"), world.session("carol"));
    heard(&admin);
    assert_eq!(result(&admin, json!({"action": "deleteuser", "userid": "carol"})), "ok");
    let told: Vec<_> = events(&admin)
        .into_iter()
        .map(|event| (event["action"].clone(), event["msgid"].clone(), event["userid"].clone()))
        .collect();
    for event in [
        ("usergroupchange", 62, "user//admin"),
        ("meshchange", 72, "user//admin"),
        ("changenode", 60, "user//admin"),
        ("accountremove", 63, "user//carol"),
    ] {
        assert!(told.contains(&(json!(event.0), json!(event.1), json!(event.2))), "{event:?}");
    }
    let last = heard(&carol).pop().unwrap();
    assert_eq!(last, json!({"action": "stopped", "msg": "Administrator forced disconnection"}));
    let note = Document::note("user//carol");
    assert!(world.hub.store.document(&note).is_none());
    let groups = ask(&admin, &json!({"action": "usergroups"}));
    assert_eq!(groups[0]["ugroups"][team.to_string()]["links"], json!({}));
}

#[test]
fn people_set_their_own_language_address_image_and_notifications() {
    let (world, _) = lab();
    world.link("carol", LinkTarget::Group(group_id(1)), Rights::CHAT);
    let team = world.user_group(5, "team");
    let mut group = (*world.hub.store.user_group(&team).unwrap()).clone();
    group.set_link(LinkTarget::Group(group_id(3)), Some(Rights::CHAT));
    world.hub.store.put(group).later();
    world.link("carol", LinkTarget::UserGroup(team), Rights::EDIT_GROUP);
    let carol = world.session("carol");
    let tell = |request: Value| {
        assert!(ask(&carol, &request).is_empty(), "{request}");
        events(&carol)
    };
    let told = tell(json!({"action": "changelang", "lang": "FR"})).remove(0);
    assert_eq!(
        (&told["msgArgs"], &told["account"]["lang"]),
        (&json!(["", "default", "fr"]), &json!("fr"))
    );
    tell(json!({"action": "changelang", "lang": "*"}));
    assert_eq!(world.account("carol").language, None);
    assert!(tell(json!({"action": "changelang", "lang": "far too long"})).is_empty());

    let told = tell(json!({"action": "changeemail", "email": "C@x.example"})).remove(0);
    assert_eq!(told["msg"], "Set email of user carol to c@x.example");
    let taken = User {
        email: Some("b@x.example".into()),
        email_verified: true,
        ..(*world.account("bob")).clone()
    };
    world.hub.store.put(taken).later();
    let notice = ask(&carol, &json!({"action": "changeemail", "email": "b@X.example"})).remove(0);
    assert_eq!((&notice["titleid"], &notice["msgid"]), (&json!(4), &json!(13)));

    let image = "data:image/jpeg;base64,AAAA";
    let told = tell(json!({"action": "updateUserImage", "image": image})).remove(0);
    assert_eq!((&told["accountImageChange"], &told["account"]["flags"]), (&json!(1), &json!(1)));
    let id = Document::image(&carol.link().id.user);
    assert_eq!(world.hub.store.document(&id).unwrap().text, image);
    for bad in [json!("data:text/html,x"), json!("data:image/png;base64,<b>"), json!(1), json!({})]
    {
        assert!(tell(json!({"action": "updateUserImage", "image": bad})).is_empty());
    }
    tell(json!({"action": "updateUserImage", "image": 0}));
    assert_eq!((world.hub.store.document(&id), world.account("carol").flags), (None, 0));

    let notify =
        |id: String, bits: u32| json!({"action": "changemeshnotify", "meshid": id, "notify": bits});
    let told = tell(notify(group_id(1).to_string(), 6)).remove(0);
    assert_eq!(told["account"]["links"][group_id(1).to_string()]["notify"], 6);
    let told = tell(notify(group_id(3).to_string(), 2)).remove(0);
    assert_eq!(told["account"]["notify"], json!({group_id(3).to_string(): 2}));
    let device = |bits: u32| json!({"action": "changeusernotify", "nodeid": node_id(2).to_string(), "notify": bits});
    assert_eq!(tell(device(8))[0]["msgid"], 130);
    assert!(tell(device(8)).is_empty(), "nothing has changed");
    assert_eq!(world.account("carol").notify.len(), 2);
    tell(device(0));
    tell(notify(group_id(3).to_string(), 0));
    assert_eq!(world.account("carol").notify, []);
    let unseen = json!({"action": "changemeshnotify", "meshid": group_id(9).to_string(),
        "notify": 1, "responseid": "R"});
    assert_eq!(ask(&carol, &unseen)[0]["result"], "Access denied");
}

#[test]
fn an_account_with_locked_settings_changes_none_of_them() {
    let (world, _) = lab();
    world.user("locked", SiteRights::LOCK_SETTINGS);
    world.link("locked", LinkTarget::Group(group_id(1)), Rights::CHAT);
    let locked = world.session("locked");
    heard(&locked);
    let before = world.hub.store.snapshot();
    for request in [
        json!({"action": "changelang", "lang": "fr"}),
        json!({"action": "changemeshnotify", "meshid": group_id(1).to_string(), "notify": 6}),
        json!({"action": "changeusernotify", "nodeid": node_id(2).to_string(), "notify": 6}),
        json!({"action": "updateUserImage", "image": "data:image/png;base64,AAAA"}),
        json!({"action": "userWebState", "state": "{\"sort\":1}"}),
    ] {
        journal();
        assert!(ask(&locked, &request).is_empty());
        assert!(journal().iter().any(|line| line.contains("has no right")), "{request}");
    }
    assert!(world.hub.store.snapshot() == before && heard(&locked).is_empty());
}

#[test]
fn notes_are_read_and_written_by_those_who_may() {
    let (world, _) = lab();
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::CHAT);
    let (admin, bob) = (world.session("admin"), world.session("bob"));
    let set = |session: &Session, id: &str, notes: &str| {
        ask(session, &json!({"action": "setNotes", "id": id, "notes": notes}));
    };
    let get = |session: &Session, id: &str| {
        ask(session, &json!({"action": "getNotes", "id": id})).pop().map(|a| a["notes"].clone())
    };
    let (node, group) = (node_id(2).to_string(), group_id(1).to_string());
    set(&admin, &node, "a%20note");
    set(&bob, &node, "hack");
    assert_eq!(get(&bob, &node), Some(json!("a%20note")), "who sees it may read, not write");
    set(&admin, &group, "g");
    assert_eq!((get(&admin, &group), get(&bob, &group)), (Some(json!("g")), None));
    set(&admin, "user//bob", "about bob");
    assert_eq!(get(&bob, "user//bob"), None, "not even about oneself");
    set(&bob, "puser//admin", "mine");
    assert_eq!(get(&bob, "puser//bob"), Some(json!("mine")), "whatever the id");
    assert_eq!(get(&admin, "puser//bob"), Some(Value::Null));
    set(&admin, &node, "");
    assert_eq!(get(&bob, &node), Some(Value::Null));
    set(&admin, &node, &"x".repeat(Document::MAX + 1));
    assert_eq!(get(&bob, &node), Some(Value::Null), "too long");
    for id in ["", "node", "x//y", "node//short", "mesh//x", "user//nobody"] {
        assert_eq!(get(&admin, id), None, "{id:?}");
    }
}

#[test]
fn broadcasts_and_notices_reach_whom_they_are_for() {
    let (world, _) = lab();
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::CHAT);
    let (admin, bob, carol) =
        (world.session("admin"), world.session("bob"), world.session("carol"));
    let sessions = [&admin, &bob, &carol];
    let reaches = |request: Value| {
        sessions.iter().for_each(|session| drop(heard(session)));
        assert_eq!(result(&admin, request), "ok");
        sessions.map(|session| heard(session).len())
    };
    let group = group_id(1).to_string();
    let say = |more: Value| {
        let mut request = json!({"action": "userbroadcast", "msg": "tea"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    assert_eq!(reaches(say(json!({}))), [1, 1, 1]);
    assert_eq!(reaches(say(json!({"target": group}))), [1, 1, 0]);
    assert_eq!(reaches(say(json!({"userid": "user//carol"}))), [0, 0, 1]);
    assert_eq!(reaches(say(json!({"userid": "bob"}))), [0, 1, 0]);
    assert_eq!(reaches(say(json!({"userid": 5}))), [0, 0, 0]);
    ask(&admin, &say(json!({"maxtime": 5})));
    let mut notice = heard(&bob).remove(0);
    assert!(notice["id"].as_f64().is_some_and(|id| (0.0..=1.0).contains(&id)));
    notice.as_object_mut().unwrap().remove("id");
    assert_eq!(
        notice,
        json!({"action": "msg", "type": "notify", "domain": "", "value": "tea", "title": "admin",
            "icon": 0, "tag": "broadcast", "maxtime": 5})
    );
    let long = json!({"action": "userbroadcast", "msg": "x".repeat(513)});
    assert_eq!(result(&admin, long), "Message is too long");
    assert_eq!(result(&bob, say(json!({}))), "Permission denied");

    heard(&bob);
    let notify = json!({"action": "notifyuser", "userid": "user//bob", "msg": "hey", "maxtime": 3,
        "url": "javascript:alert(1)"});
    assert!(ask(&admin, &notify).is_empty());
    let mut notice = heard(&bob).remove(0);
    notice.as_object_mut().unwrap().remove("id");
    assert_eq!(
        notice,
        json!({"action": "msg", "type": "notify", "value": "hey", "title": "admin", "icon": 8,
            "userid": "user//admin", "username": "admin", "maxtime": 3})
    );
    let chat = json!({"action": "notifyuser", "userid": "user//bob", "msg": "x", "msgid": 11,
        "url": "https://x.example/"});
    ask(&admin, &chat);
    let notice = heard(&bob).remove(0);
    assert_eq!((&notice["msgid"], &notice["url"]), (&json!(11), &json!("https://x.example/")));
    assert!(notice["value"].as_str().unwrap().starts_with("Chat Request"));
    for (action, text) in [
        ("emailuser", "Email server not enabled"),
        ("smsuser", "SMS gateway not enabled"),
        ("msguser", "Messaging server not enabled"),
    ] {
        assert_eq!(ask(&bob, &json!({"action": action}))[0]["value"], text);
    }
}

#[test]
fn data_passes_between_accounts_where_the_setting_allows_it() {
    let id = |name: &str| UserId::new(Default::default(), name).unwrap();
    for (setting, passes) in [
        (InterUser::Off, false),
        (InterUser::Everybody, true),
        (InterUser::Listed(vec![id("bob")]), true),
        (InterUser::Listed(vec![id("carol")]), true),
        (InterUser::Listed(vec![id("admin")]), false),
    ] {
        let mut config = Config::default();
        config.settings.inter_user_messaging = setting.clone();
        let (world, _) = lab_with(config);
        let (bob, one, two) =
            (world.session("bob"), world.session("carol"), world.session("carol"));
        let expected = |scope: &str| {
            let from = bob.link().id.to_string();
            json!({"action": "interuser", "sessionid": from, "data": {"x": 1}, "scope": scope})
        };
        let send = |to: Value| {
            let mut request = json!({"action": "interuser", "data": {"x": 1}});
            request.as_object_mut().unwrap().extend(to.as_object().unwrap().clone());
            assert!(ask(&bob, &request).is_empty());
            [&one, &two].map(heard)
        };
        let list = |frame: Value| if passes { vec![frame] } else { vec![] };
        let both = list(expected("user"));
        assert_eq!(send(json!({"userid": "user//carol"})), [both.clone(), both.clone()]);
        assert_eq!(send(json!({"userid": "carol"})), [both.clone(), both], "{setting:?}");
        let session = one.link().id.to_string();
        assert_eq!(send(json!({"sessionid": session})), [list(expected("session")), vec![]]);
        for nobody in [json!({"userid": "user/b/carol"}), json!({"sessionid": "x"}), json!({})] {
            assert!(send(nobody).iter().all(Vec::is_empty));
        }
    }
}

#[test]
fn previous_logins_are_those_of_the_account() {
    let (world, _) = lab();
    let carol = UserId::new(world.domain(), "carol").unwrap();
    for (action, number) in [("authfail", 110), ("login", 107)] {
        let event = crate::model::Event::new(action, world.domain())
            .actor(&carol)
            .with("msgid", number)
            .with("msgArgs", json!(["127.0.0.1"]));
        world.hub.publish(event);
    }
    let (admin, bob) = (world.session("admin"), world.session("bob"));
    let of_carol = json!({"action": "previousLogins", "userid": "user//carol"});
    let answer = ask(&admin, &of_carol).remove(0);
    assert_eq!(answer["userid"], "user//carol");
    let numbers: Vec<_> =
        answer["events"].as_array().unwrap().iter().map(|login| login["m"].clone()).collect();
    assert!(numbers.contains(&json!(110)) && numbers.contains(&json!(107)) && numbers.len() == 2);
    assert_eq!(answer["events"][0]["a"], json!(["127.0.0.1"]));
    assert!(ask(&bob, &of_carol).is_empty());
    let own = ask(&bob, &json!({"action": "previousLogins"})).remove(0);
    assert_eq!(own, json!({"action": "previousLogins", "events": []}));
}
