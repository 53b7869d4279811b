//! Device groups and their members.

use super::*;

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
        ask(&admin, &request)
    };
    let answers = add(json!(["user//bob", "user//nobody", "user//admin"]));
    let [notice, answer] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(
        (&notice["value"], &notice["msgid"]),
        (&json!("User nobody not found."), &json!(15))
    );
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
