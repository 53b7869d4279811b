//! Invitations, and the groups that local devices are in.

use std::time::{Duration, Instant};

use super::*;
use crate::config::{Config, Reach};
use crate::control::invitations::{CodeError, Invitation};
use crate::model::{DomainId, PasswordHash, User, UserId};

const HERE: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn link(session: &Session, more: Value) -> Value {
    let mut request = json!({"action": "createInviteLink", "meshid": group_id(1).to_string(),
        "expire": 1, "flags": 2, "responseid": "R", "tag": "T"});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ask(session, &request).remove(0)
}

#[test]
fn a_link_invites_to_its_group_until_it_expires_or_the_group_is_gone() {
    let (world, _) = lab();
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::CHAT);
    let (bob, carol) = (world.session("bob"), world.session("carol"));
    let made = link(&bob, json!({"agents": 3}));
    let cookie = made["cookie"].as_str().unwrap().to_owned();
    assert_eq!(
        made,
        json!({"action": "createInviteLink", "meshid": group_id(1).to_string(), "expire": 1,
            "url": format!("https://127.0.0.1:15443/agentinvite?c={cookie}"), "cookie": cookie,
            "responseid": "R", "tag": "T"})
    );
    let invitations = &world.control.invitations;
    let group = world.hub.store.group(&group_id(1)).unwrap();
    let expected = Invitation { group: group.clone(), flags: 2, agents: 3 };
    assert_eq!(invitations.open(&world.domain(), &cookie), Some(expected));
    let b = DomainId::new("b").unwrap();
    assert_eq!(invitations.open(&b, &cookie), None, "not in another domain");
    let login = ask(&bob, &json!({"action": "authcookie"})).remove(0)["cookie"].clone();
    assert_eq!(invitations.open(&world.domain(), login.as_str().unwrap()), None);
    let pass = invitations.pass(&group.id).unwrap();
    assert_eq!(invitations.open(&world.domain(), &pass), None, "a pass invites nobody");
    assert_eq!(invitations.group_of_download(&world.domain(), &pass), Some(group.clone()));
    let short = group.id.key.text();
    assert_eq!(invitations.group_of_download(&world.domain(), &short), Some(group.clone()));
    for other in [cookie.as_str(), "", "x", &"A".repeat(64)] {
        assert_eq!(invitations.group_of_download(&world.domain(), other), None, "{other}");
    }
    for (more, text) in [
        (json!({"expire": 100_000}), "Invalid expire time"),
        (json!({"expire": null}), "Invalid expire time"),
        (json!({"flags": 257}), "Invalid flags"),
        (json!({"meshid": "mesh//nope1234"}), "Invalid group id"),
        (json!({"meshid": group_id(3).to_string()}), "Invalid group id"),
    ] {
        assert_eq!(link(&bob, more.clone())["result"], text, "{more}");
    }
    assert_eq!(link(&carol, json!({}))["result"], "Invalid group id", "sees no such group");

    let admin = world.session("admin");
    ask(&admin, &json!({"action": "deletemesh", "meshname": "lab"}));
    assert_eq!(invitations.open(&world.domain(), &cookie), None);
    assert_eq!(invitations.group_of_download(&world.domain(), &pass), None);
}

#[test]
fn cookies_of_an_imported_server_go_on_inviting() {
    let (world, _) = lab();
    let key = crate::model::Secret { name: String::new(), bytes: (80..160).collect() };
    let key = crate::identity::cookie::CookieKey::new(&key).unwrap();
    let now = world.hub.now().seconds();
    let sealed = |fields: Value, age: u64| {
        let Value::Object(fields) = fields else { panic!("object") };
        key.seal(fields, crate::model::Seconds(now.0 - age)).unwrap()
    };
    let id = group_id(1).to_string();
    for (fields, age, opens) in [
        (json!({"a": 4, "mid": id, "f": 0, "expire": 60}), 3599, true),
        (json!({"a": 4, "mid": id, "f": 0, "expire": 60}), 3601, false),
        (json!({"a": 4, "mid": id, "f": 0, "expire": 0}), 99_999_999, true),
        (json!({"a": 4, "mid": id, "expire": 0}), 0, true),
        (json!({"a": 6, "mid": id, "expire": 0}), 0, false),
        (json!({"a": 4, "mid": "mesh/b/x", "expire": 0}), 0, false),
        (json!({"a": 4, "expire": 0}), 0, false),
    ] {
        let opened = world.control.invitations.open(&world.domain(), &sealed(fields.clone(), age));
        assert_eq!(opened.is_some(), opens, "{fields} {age}");
    }
    let pass = |age: u64| {
        let pass = sealed(json!({"m": group_id(1).key.text()}), age);
        world.control.invitations.group_of_download(&world.domain(), &pass).is_some()
    };
    assert!(pass(100) && !pass(130), "two minutes, as they were made");
}

#[test]
fn a_code_buys_a_link_and_guessing_is_barred() {
    let (world, _) = lab();
    let admin = world.session("admin");
    let edit = json!({"action": "editmesh", "meshname": "lab", "responseid": "R",
        "invite": {"codes": ["spring", "Größe 7"], "flags": 1, "ag": 2}});
    assert_eq!(ask(&admin, &edit)[0]["result"], "ok");
    let other = json!({"action": "editmesh", "meshname": "other", "responseid": "R",
        "invite": {"codes": ["x", "spring"], "flags": 0}});
    assert_eq!(ask(&admin, &other)[0]["result"], "Error, invite code \"spring\" already in use.");
    let invitations = &world.control.invitations;
    let start = Instant::now();
    let redeem = |code: &str, now| invitations.redeem(&world.domain(), code, HERE, now);
    for code in ["spring", " Größe 7 "] {
        let cookie = redeem(code, start).unwrap();
        let invitation = invitations.open(&world.domain(), &cookie).unwrap();
        assert_eq!((invitation.flags, invitation.agents), (1, 2));
        assert_eq!(invitation.group.id, group_id(1));
    }
    let b = DomainId::new("b").unwrap();
    assert_eq!(invitations.redeem(&b, "spring", HERE, start), Err(CodeError::Unknown));
    for code in ["", "SPRING", "x", "winter", &"y".repeat(5000)] {
        assert_eq!(redeem(code, start), Err(CodeError::Unknown), "{code:.9}");
    }
    for _ in 0..4 {
        assert_eq!(redeem("winter", start), Err(CodeError::Unknown));
    }
    assert_eq!(redeem("spring", start), Err(CodeError::Barred), "even a right one");
    let elsewhere = "198.51.100.1".parse().unwrap();
    assert!(invitations.redeem(&world.domain(), "spring", elsewhere, start).is_ok());
    assert!(redeem("spring", start + Duration::from_secs(601)).is_ok());
    ask(&admin, &json!({"action": "editmesh", "meshname": "lab", "invite": "*"}));
    let later = start + Duration::from_secs(9999);
    assert_eq!(redeem("spring", later), Err(CodeError::Unknown), "taken back");
}

#[test]
fn links_name_the_domain_as_its_agents_reach_it() {
    for (dns, url) in [
        (None, "https://127.0.0.1:15443/b/agentinvite?c="),
        (Some("b.example"), "https://b.example:15443/agentinvite?c="),
    ] {
        let mut config = Config::default();
        let b = DomainId::new("b").unwrap();
        config.domains.entry(b.clone()).or_default().dns = dns.map(str::to_owned);
        let world = World::with(config);
        let group = GroupId::new(b.clone(), crate::model::Key48([1; 48]));
        world.hub.store.put(Group::new(group.clone(), "g", GroupKind::Agent, Millis(1))).later();
        let id = UserId::new(b, "admin").unwrap();
        let mut user = User::new(id.clone(), "admin", PasswordHash::None, Millis(0));
        user.set_link(LinkTarget::Group(group.clone()), Some(Rights::CHAT));
        world.hub.store.put(user).later();
        let session = world.session_of(id);
        let made = link(&session, json!({"meshid": group.to_string()}));
        assert!(made["url"].as_str().unwrap().starts_with(url), "{made}");
    }
}

#[test]
fn groups_of_local_devices_have_a_relay_where_they_need_one() {
    let relay = node_id(2).to_string();
    for (reach, kind, relayid, result) in [
        (Reach::Lan, 3, None, "ok"),
        (Reach::Lan, 3, Some(&*relay), "Invalid group type"),
        (Reach::Wan, 3, None, "Invalid group type"),
        (Reach::Wan, 3, Some(&relay), "ok"),
        (Reach::Hybrid, 3, None, "ok"),
        (Reach::Hybrid, 3, Some(&relay), "ok"),
        (Reach::Hybrid, 3, Some("node//x"), "Invalid relay device"),
        (Reach::Hybrid, 1, None, "ok"),
        (Reach::Lan, 4, None, "Invalid group type"),
        (Reach::Lan, 5, None, "Invalid group type"),
    ] {
        let mut config = Config::default();
        config.settings.reach = reach;
        let (world, _) = lab_with(config);
        let admin = world.session("admin");
        heard(&admin);
        let request = json!({"action": "createmesh", "meshname": "g", "meshtype": kind,
            "relayid": relayid, "flags": 2, "consent": 7, "responseid": "R"});
        let answer = ask(&admin, &request).remove(0);
        assert_eq!(answer["result"], result, "{reach:?} {kind} {relayid:?}");
        let told = events(&admin);
        if result == "ok" {
            let mesh = &told[1]["mesh"];
            assert_eq!((&mesh["flags"], &mesh["consent"]), (&json!(2), &json!(7)));
            assert_eq!(mesh["relayid"], json!(relayid));
            assert_eq!(
                told.get(2).map(|event| event["msgid"].clone()),
                relayid.map(|_| json!(153))
            );
        }
    }
}

#[test]
fn a_relay_is_replaced_by_a_device_the_user_may_work_on() {
    let mut config = Config::default();
    config.settings.reach = Reach::Hybrid;
    let (world, _) = lab_with(config);
    world.device(4, &group_id(3), "second");
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::CHAT);
    let (admin, bob) = (world.session("admin"), world.session("bob"));
    let (first, second) = (node_id(2).to_string(), node_id(4).to_string());
    let create = |session: &Session, relay: &str| {
        let request = json!({"action": "createmesh", "meshname": "g", "meshtype": 3,
            "relayid": relay, "responseid": "R"});
        ask(session, &request).remove(0)
    };
    assert_eq!(create(&bob, &first)["result"], "Invalid relay device", "may only chat there");
    let made = create(&admin, &first);
    heard(&admin);
    let edit = |relay: &str| {
        let request = json!({"action": "editmesh", "meshid": made["meshid"], "relayid": relay,
            "responseid": "R"});
        assert_eq!(ask(&admin, &request)[0]["result"], "ok");
        events(&admin)
    };
    assert!(edit("node//x").is_empty());
    let told = edit(&second);
    assert_eq!((&told[0]["relayid"], &told[0]["msgArgs"]), (&json!(second), &json!(["g", [7]])));
    let told: Vec<_> =
        told[1..].iter().map(|e| (e["nodeid"].clone(), e["msgid"].clone())).collect();
    assert_eq!(told, [(json!(first), json!(152)), (json!(second), json!(153))]);
    let delete = json!({"action": "deletemesh", "meshid": made["meshid"], "responseid": "R"});
    assert_eq!(ask(&admin, &delete)[0]["result"], "ok");
    assert!(events(&admin).iter().any(|e| e["msgid"] == 152 && e["nodeid"] == second.as_str()));
}
