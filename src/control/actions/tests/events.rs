//! What happens, as sessions hear it: its members, who hears it, and what becomes of slow listeners.

use std::collections::{BTreeMap, BTreeSet};

use super::cases::{all, entitle, house, link_all};
use super::*;
use crate::hub::SESSION_MAILBOX;
use crate::model::{Event, EventKind, Target, UserId};

const VECTORS: &str = include_str!("../../../../tests/vectors/control-events.json");

fn members(event: &Value) -> BTreeSet<String> {
    event.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn events_have_the_members_that_clients_know_from_meshcentral() {
    // Everything a full administrator hears while everything is done.
    let mut heard_of = BTreeMap::<String, Vec<BTreeSet<String>>>::new();
    for case in all() {
        let (world, _agent) = house();
        entitle(&world, "grace", &case.needs);
        link_all(&world, "grace", Rights::FULL);
        let (admin, grace) = (world.session("admin"), world.session("grace"));
        ask(&grace, &case.request);
        for frame in heard(&admin).iter().filter(|frame| frame["action"] == "event") {
            let event = &frame["event"];
            let action = event["action"].as_str().unwrap().to_owned();
            heard_of.entry(action).or_default().push(members(event));
        }
    }
    // MeshCentral's slips of the pen; `domain` and `msgArgs` are what is meant.
    let slips = ["ugrpdomain", "addUserDomain", "msgArgv"];
    // There while the group has them.
    let optional = ["invite", "desc", "nolog"];
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let mut seen = BTreeSet::new();
    for sample in vectors["samples"].as_array().unwrap() {
        let event = &sample["frame"]["event"];
        let action = event["action"].as_str().unwrap();
        let Some(ours) = heard_of.get(action) else { continue };
        let mut known = members(event);
        known.retain(|name| !slips.contains(&&**name) && !optional.contains(&&**name));
        assert!(
            ours.iter().any(|members| members.is_superset(&known)),
            "{action}: {known:?} is in none of {ours:?}"
        );
        seen.insert(action);
    }
    for action in [
        "accountchange",
        "accountcreate",
        "accountremove",
        "amtpoweraction",
        "changenode",
        "createmesh",
        "createusergroup",
        "deletemesh",
        "deleteusergroup",
        "manual",
        "meshchange",
        "nodemeshchange",
        "runcommands",
        "usergroupchange",
        "wakedevices",
        "wssessioncount",
    ] {
        assert!(seen.contains(action), "{action} was not heard");
    }
    for (action, events) in heard_of {
        let every = |name: &str| events.iter().all(|members| members.contains(name));
        assert!(every("domain"), "{action}");
        // Who did it is always said; this is about the list, and comes beside what was done.
        let is_list = action == "deviceShareUpdate";
        assert!(is_list || (every("userid") && every("username")), "{action}");
    }
}

#[test]
fn who_sees_own_events_only_hears_no_one_elses_live_or_later() {
    let (world, _) = lab();
    let own_only = Rights::CHAT | Rights::OWN_EVENTS;
    world.link("bob", LinkTarget::Group(group_id(1)), own_only);
    // Through a user group, too, where MeshCentral forgets it.
    let team = world.user_group(5, "team");
    let mut group = (*world.hub.store.user_group(&team).unwrap()).clone();
    group.set_link(LinkTarget::Group(group_id(1)), Some(own_only));
    world.hub.store.put(group).later();
    world.link("carol", LinkTarget::UserGroup(team), Rights::EDIT_GROUP);
    world.user("auditor", SiteRights::ALL_EVENTS);
    world.link("auditor", LinkTarget::Group(group_id(1)), own_only);
    let sessions = ["bob", "carol", "auditor"].map(|name| world.session(name));
    let id = |name: &str| UserId::new(world.domain(), name).unwrap();
    let event = || {
        let event = Event::new("manual", world.domain()).kind(EventKind::Node).node(&node_id(2));
        let device = world.hub.store.device(&node_id(2)).unwrap();
        world.hub.device_targets(&device).into_iter().fold(event, Event::to)
    };
    for (event, hears) in [
        (event(), [true, true, true]),
        (event().actor(&id("admin")), [false, false, true]),
        (event().actor(&id("bob")), [true, false, true]),
        (event().actor(&id("admin")).to(Target::User(id("carol"))), [false, true, true]),
    ] {
        sessions.iter().for_each(|session| drop(heard(session)));
        let name = event.actor.clone();
        world.hub.publish(event);
        let live = [0, 1, 2].map(|n| !events(&sessions[n]).is_empty());
        assert_eq!(live, hears, "{name:?}");
    }
    let count = |session: &Session| {
        ask(session, &json!({"action": "events", "filter": "manual"}))[0]["events"]
            .as_array()
            .map_or(0, Vec::len)
    };
    assert_eq!([0, 1, 2].map(|n| count(&sessions[n])), [2, 2, 4], "history agrees");
}

#[test]
fn the_address_of_a_share_is_for_who_made_it() {
    let (world, _) = lab();
    for name in ["bob", "carol"] {
        world.link(name, LinkTarget::Group(group_id(1)), Rights::CHAT);
    }
    let (admin, bob, carol) =
        (world.session("admin"), world.session("bob"), world.session("carol"));
    [&admin, &bob, &carol].iter().for_each(|session| drop(heard(session)));
    let share =
        |user: &str| json!({"publicid": user, "userid": format!("user//{user}"), "url": "U"});
    let device = world.hub.store.device(&node_id(2)).unwrap();
    let event = Event::new("deviceShareUpdate", world.domain())
        .with("deviceShares", json!([share("bob"), share("carol"), 5]));
    world.hub.publish(world.hub.device_targets(&device).into_iter().fold(event, Event::to));
    let urls = |session: &Session| {
        let shares = events(session).remove(0)["deviceShares"].take();
        let has_url = |share: &Value| share.get("url").is_some();
        shares.as_array().unwrap().iter().map(has_url).collect::<Vec<_>>()
    };
    assert_eq!(urls(&bob), [true, false, false]);
    assert_eq!(urls(&carol), [false, true, false]);
    assert_eq!(urls(&admin), [false, false, false]);
    let history = ask(&carol, &json!({"action": "events"})).remove(0);
    let shares = &history["events"][0]["deviceShares"];
    assert_eq!((shares[0].get("url"), &shares[1]["url"]), (None, &json!("U")));
}

#[test]
fn a_listener_that_is_too_slow_misses_events_and_is_told_so_once() {
    let (world, _) = lab();
    let (slow, quick) = (world.session("admin"), world.session("admin"));
    heard(&slow);
    heard(&quick);
    let publish = |n: usize| {
        let event =
            Event::new("manual", world.domain()).with("n", n).with("msg", "x".repeat(99_999));
        world.hub.publish(event.to(Target::All).transient());
    };
    let fits = SESSION_MAILBOX / 100_000;
    let count = fits + 10;
    for n in 0..count {
        publish(n);
        assert_eq!(heard(&quick).len(), 1, "others do not wait");
    }
    let told = heard(&slow);
    let actions: Vec<_> =
        told.iter().map(|frame| frame["event"]["action"].as_str().unwrap()).collect();
    assert_eq!(actions[0], "resync");
    assert_eq!(actions.iter().filter(|action| **action == "resync").count(), 1);
    assert!(told.len() - 1 < count && told.len() > fits - 5, "{} of {count}", told.len());
    publish(count);
    let told = heard(&slow);
    assert_eq!((told.len(), &told[0]["event"]["n"]), (1, &json!(count)), "and hears again");
}

#[test]
fn subscriptions_follow_rights_at_once() {
    let (world, _) = lab();
    let (admin, bob) = (world.session("admin"), world.session("bob"));
    let hears = |session: &Session, target: Target| {
        heard(session);
        world.hub.publish(Event::new("manual", world.domain()).to(target).transient());
        !heard(session).is_empty()
    };
    let group = || Target::Group(group_id(1));
    let device = || Target::Device(node_id(2));
    assert!(!hears(&bob, group()) && !hears(&bob, device()) && !hears(&bob, Target::All));
    assert!(hears(&bob, Target::AllUsers) && hears(&admin, Target::All));
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::CHAT);
    world.link("bob", LinkTarget::Device(node_id(2)), Rights::CHAT);
    assert!(hears(&bob, group()) && hears(&bob, device()));
    for (site, targets) in [
        (SiteRights::MANAGE_USERS.bits(), [true, false, false]),
        (SiteRights::ALL_EVENTS.bits(), [false, true, false]),
        (u32::MAX, [true, true, false]),
        (0, [false, false, false]),
    ] {
        ask(&admin, &json!({"action": "edituser", "userid": "bob", "siteadmin": site}));
        let realm = Target::Realm("n".into());
        let heard = [Target::AccountManagers, Target::All, realm].map(|t| hears(&bob, t));
        assert_eq!(heard, targets, "{site:#x}");
    }
    let remove = json!({"action": "removemeshuser", "meshname": "lab", "userid": "bob",
        "responseid": "R"});
    ask(&admin, &remove);
    assert!(!hears(&bob, group()) && hears(&bob, device()));
}
