//! Shares: who makes them, who sees their links, and what is left when they are gone.

use super::*;
use crate::config::{Config, GuestSharing};
use crate::identity::cookie::{AUTH_LIFETIME, CookieKey, INVITATION_KEY};
use crate::model::Secret;

fn share(session: &Session, more: Value) -> Value {
    let mut request = json!({"action": "createDeviceShareLink", "nodeid": node_id(2).to_string(),
        "guestname": "g", "p": 2, "consent": 1, "expire": 60, "responseid": "R", "tag": "T"});
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    ask(session, &request).remove(0)
}

fn list(session: &Session) -> Value {
    let request = json!({"action": "deviceShares", "nodeid": node_id(2).to_string()});
    ask(session, &request).remove(0)["deviceShares"].clone()
}

#[test]
fn a_share_is_made_listed_and_removed_with_its_events() {
    let (world, _) = lab();
    let admin = world.session("admin");
    let answer = share(&admin, json!({}));
    let (start, end) = (answer["start"].as_u64().unwrap(), answer["expire"].as_u64().unwrap());
    assert_eq!(end - start, 3_600_000);
    assert_eq!(
        (&answer["result"], &answer["guestname"], &answer["tag"]),
        (&json!("OK"), &json!("g"), &json!("T"))
    );
    let (id, url) = (answer["publicid"].as_str().unwrap(), answer["url"].as_str().unwrap());
    assert_eq!(id.len(), 12);
    let cookie = url.strip_prefix("https://127.0.0.1:15443/sharing?c=").unwrap();
    let secret = Secret { name: INVITATION_KEY.into(), bytes: (80..160).collect() };
    let fields = CookieKey::new(&secret).unwrap();
    let fields = fields.open(cookie, world.hub.now().seconds(), AUTH_LIFETIME).unwrap();
    assert_eq!((&fields["a"], &fields["pid"], &fields["e"]), (&json!(6), &json!(id), &json!(end)));

    let told = events(&admin);
    assert_eq!(
        (&told[0]["action"], &told[0]["msgid"], &told[0]["msgArgs"]),
        (
            &json!("addedDeviceShare"),
            &json!(101),
            &json!(["g", format!("DATETIME:{start}"), format!("DATETIME:{end}")])
        )
    );
    let shown = json!([{"p": 2, "publicid": id, "userid": "user//admin", "guestName": "g",
        "consent": 1, "url": url, "startTime": start, "expireTime": end}]);
    assert_eq!(
        (&told[1]["action"], &told[1]["deviceShares"]),
        (&json!("deviceShareUpdate"), &shown)
    );
    assert_eq!(list(&admin), shown);
    let of_group = json!({"action": "deviceMeshShares", "meshid": group_id(1).to_string()});
    let of_group = ask(&admin, &of_group).remove(0);
    assert_eq!(of_group["deviceShares"][0]["nodeid"], node_id(2).to_string());

    let remove = json!({"action": "removeDeviceShare", "nodeid": node_id(2).to_string(),
        "publicid": id, "responseid": "R"});
    let result =
        |result: &str| json!({"action": "removeDeviceShare", "responseid": "R", "result": result});
    assert_eq!(ask(&admin, &remove), [result("OK")], "one answer");
    let told = events(&admin);
    assert_eq!(
        (&told[0]["action"], &told[0]["msgid"]),
        (&json!("removedDeviceShare"), &json!(102))
    );
    assert_eq!(told[1]["deviceShares"], json!([]));
    assert_eq!(ask(&admin, &remove), [result("Invalid device share identifier.")]);
}

#[test]
fn each_kind_of_time_has_its_event_and_its_form() {
    let (world, _) = lab();
    let admin = world.session("admin");
    for (more, msgid, msg, members) in [
        (json!({"expire": 0}), 131, "Added device share g with unlimited time.", &[][..]),
        (
            json!({"expire": 20, "start": 1_900_000_000, "recurring": 1, "viewOnly": true}),
            138,
            "Added device share g recurring daily.",
            &["duration", "recurring", "startTime", "viewOnly"],
        ),
        (
            json!({"expire": 20, "start": 1_900_000_000, "recurring": 2}),
            139,
            "Added device share g recurring weekly.",
            &["duration", "recurring", "startTime"],
        ),
        (
            json!({"expire": null, "start": 1_900_000_000, "end": 1_900_003_600, "p": 8, "port": 80}),
            101,
            "Added device share: g.",
            &["expireTime", "port", "startTime"],
        ),
    ] {
        let answer = share(&admin, more.clone());
        assert_eq!(answer["result"], "OK", "{more}");
        let told = events(&admin);
        assert_eq!((&told[0]["msgid"], &told[0]["msg"]), (&json!(msgid), &json!(msg)), "{more}");
        let id = answer["publicid"].as_str().unwrap();
        assert!(!id.contains(['-', '/']), "an option of meshctrl, or a path: {id}");
        let shares = list(&admin);
        let mut shares = shares.as_array().unwrap().iter();
        let shown = shares.find(|share| share["publicid"] == id).unwrap();
        let usual = ["p", "publicid", "userid", "guestName", "consent", "url"];
        let further: Vec<_> = shown
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| !usual.contains(&name.as_str()))
            .collect();
        assert_eq!(further, members, "{more}");
    }
    for (more, result) in [
        (json!({"guestname": ""}), "Invalid guest name"),
        (json!({"consent": 257}), "Invalid flags"),
        (json!({"p": 0}), "Invalid protocol"),
        (json!({"p": 32}), "Invalid protocol"),
        (json!({"port": 0}), "Invalid port value"),
        (json!({"port": 65536}), "Invalid port value"),
        (json!({"expire": null}), "No time specified"),
    ] {
        let answer = share(&admin, more.clone());
        assert_eq!(
            answer,
            json!({"action": "createDeviceShareLink", "responseid": "R",
            "result": result}),
            "{more}"
        );
    }
}

#[test]
fn nobody_hands_on_more_than_he_may_do_himself() {
    let (world, _) = lab();
    let link = |rights| world.link("bob", LinkTarget::Group(group_id(1)), rights);
    let may = Rights::REMOTE_CONTROL | Rights::GUEST_SHARING;
    link(may);
    let bob = world.session("bob");
    let denied = json!({"action": "deviceShares", "responseid": "R", "result": "Access denied"});
    for (rights, p, allowed) in [
        (may, 7, true),
        (may | Rights::NO_TERMINAL, 6, true),
        (may | Rights::NO_TERMINAL, 1, false),
        (may | Rights::NO_DESKTOP, 2, false),
        (may | Rights::NO_FILES, 4, false),
        (may | Rights::LIMITED_INPUT, 2, false),
        (Rights::REMOTE_CONTROL, 2, false),
        (Rights::GUEST_SHARING, 2, false),
    ] {
        link(rights);
        let answer = share(&bob, json!({"p": p}));
        if allowed { assert_eq!(answer["result"], "OK") } else { assert_eq!(answer, denied) }
    }
    link(may | Rights::VIEW_ONLY);
    assert_eq!(share(&bob, json!({"viewOnly": false}))["viewOnly"], true);
}

#[test]
fn a_link_is_shown_to_nobody_but_who_made_it() {
    let (world, _) = lab();
    world.link("bob", LinkTarget::Group(group_id(1)), Rights::FULL);
    let (admin, bob) = (world.session("admin"), world.session("bob"));
    share(&admin, json!({}));
    let told = heard(&bob);
    assert!(!told.is_empty() && !Value::from(told.clone()).to_string().contains("sharing?c="));
    assert_eq!(told[1]["event"]["deviceShares"][0]["guestName"], "g");
    assert_eq!(list(&bob)[0].get("url"), None);
    assert!(list(&admin)[0]["url"].is_string());
}

#[test]
fn a_domain_limits_or_forbids_guests() {
    let sharing = |guest_sharing| {
        let mut config = Config::default();
        config.domains.get_mut(&crate::model::DomainId::default()).unwrap().guest_sharing =
            guest_sharing;
        let world = World::with(config);
        let group = world.group(1, "lab");
        world.device(2, &group, "vm");
        world.link("admin", LinkTarget::Group(group), Rights::FULL);
        world
    };
    let world = sharing(GuestSharing::AtMost(30));
    let answer = share(&world.session("admin"), json!({}));
    assert_eq!(answer["expire"].as_u64().unwrap() - answer["start"].as_u64().unwrap(), 1_800_000);
    let world = sharing(GuestSharing::Forbidden);
    let admin = world.session("admin");
    let request = json!({"action": "createDeviceShareLink", "nodeid": node_id(2).to_string(),
        "guestname": "g", "p": 2, "consent": 1, "expire": 60, "responseid": "R"});
    assert!(ask(&admin, &request).is_empty());
    assert!(world.hub.store.shares().is_empty());
}
