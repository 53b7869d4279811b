//! Every action of the table against users who lack the right.

use std::collections::BTreeSet;

use super::*;
use crate::control::request::Request;

/// A request for each action that does something if it is allowed.
pub(super) fn request_for(action: &str) -> Value {
    let (node, group, other) =
        (node_id(2).to_string(), group_id(1).to_string(), group_id(3).to_string());
    let mut request = match action {
        "adduser" => json!({"username": "new", "pass": "x"}),
        "edituser" => json!({"userid": "user//carol", "realname": "C"}),
        "deleteuser" => json!({"userid": "user//carol"}),
        "createmesh" => json!({"meshname": "g", "meshtype": 2}),
        "editmesh" => json!({"meshid": group, "desc": "hack"}),
        "deletemesh" => json!({"meshid": group}),
        "addmeshuser" => json!({"meshid": group, "usernames": ["carol"], "meshadmin": 8}),
        "removemeshuser" => json!({"meshid": group, "userid": "user//admin"}),
        "getnetworkinfo" | "getsysinfo" | "lastconnect" | "powertimeline" => {
            json!({"nodeid": node})
        }
        "changedevice" => json!({"nodeid": node, "name": "hack", "tags": "x"}),
        "changeDeviceMesh" => json!({"nodeids": [node], "meshid": other}),
        "removedevices" | "wakedevices" | "uninstallagent" => json!({"nodeids": [node]}),
        "uploadagentcore" => json!({"nodeids": [node], "type": "clear"}),
        "agentdisconnect" => json!({"nodeid": node, "disconnectMode": 1}),
        "adddeviceuser" => json!({"nodeid": node, "usernames": ["carol"], "rights": 8}),
        "setDeviceEvent" => json!({"nodeid": node, "msg": "hi"}),
        "msg" => json!({"nodeid": node, "type": "console", "value": "info"}),
        "runcommands" => json!({"nodeids": [node], "type": 3, "cmds": "id"}),
        "toast" => json!({"nodeids": [node], "msg": "hi"}),
        "poweraction" => json!({"nodeids": [node], "actiontype": 2}),
        "changepassword" => json!({"oldpass": "Adm1n!pass", "newpass": "y"}),
        "changeuserpass" => {
            json!({"userid": "user//carol", "pass": "y", "removeMultiFactor": true})
        }
        "createLoginToken" => json!({"name": "t", "expire": 0}),
        "otpauth-setup" => json!({"secret": "KE4EMUCUOEMRQ22R", "token": "1"}),
        "otp-hkey-remove" => json!({"index": 1}),
        "otpemail" => json!({"enabled": true}),
        "logoutall"
        | "loginTokens"
        | "twoFactorCookie"
        | "otpauth-request"
        | "otpauth-clear"
        | "otpauth-getpasswords"
        | "otp-hkey-get"
        | "otp-hkey-yubikey-add"
        | "removePhone"
        | "otpduo"
        | "otpdev-set"
        | "otpdev-clear"
        | "verifyemail"
        | "verifyPhone"
        | "confirmPhone"
        | "verifyMessaging"
        | "confirmMessaging"
        | "removeMessaging" => json!({}),
        "users" | "nodes" | "meshes" | "usergroups" | "events" | "lastconnects"
        | "wssessioncount" | "getDeviceDetails" | "authcookie" | "logincookie" | "intersession"
        | "ping" | "pong" | "print" | "urlargs" => json!({}),
        other => panic!("no request to try {other} with"),
    };
    request["action"] = action.into();
    request["responseid"] = "R".into();
    request
}

/// Everything in the store that a request could have changed.
fn records(world: &World) -> String {
    let (store, domain) = (&world.hub.store, world.domain());
    format!(
        "{:?} {:?} {:?} {:?}",
        store.users(&domain),
        store.groups(&domain),
        store.devices(&domain),
        futures_lite::future::block_on(
            store.events(crate::store::EventQuery { limit: 1000, ..Default::default() })
        )
    )
}

/// The rights of each entry that matter to the walk below.
enum Lacking {
    Site(SiteRights),
    Imposed(SiteRights),
    Mesh(Rights),
    Nothing,
}

fn lacking(action: &Action) -> Lacking {
    let request = Request::parse(request_for(action.name).to_string().as_bytes()).unwrap();
    match action.need {
        Login(_) => Lacking::Nothing,
        Site(right, _) => Lacking::Site(right),
        Unrestricted(restriction, _) => Lacking::Imposed(restriction),
        OnMesh(right, _) | OnOne(right, _) | DeviceAnyOf(right, _) | OnEach(Always(right), _) => {
            Lacking::Mesh(right)
        }
        OnEach(By(right), _) => Lacking::Mesh(right(&request)),
        DevicesToGroup(on_group, ..) => Lacking::Mesh(on_group),
    }
}

/// Everything but restrictions and but `right`.
fn all_but(right: Rights) -> Rights {
    let all = Rights::from_bits_retain(0x3f_ffff) - Rights::RESTRICTIONS;
    if right.is_full() { all } else { all - right }
}

#[test]
fn who_lacks_just_the_right_is_refused_without_effect_or_event() {
    for action in ACTIONS {
        let (world, agent) = lab();
        let (mut site, mut rights) = (SiteRights::empty(), all_but(Rights::empty()));
        match lacking(action) {
            Lacking::Nothing => continue,
            Lacking::Site(right) => {
                site = SiteRights::from_bits_retain(0xfff)
                    - SiteRights::LOCKED
                    - SiteRights::NO_NEW_GROUPS
                    - right;
            }
            Lacking::Imposed(restriction) => site = restriction,
            Lacking::Mesh(right) => rights = all_but(right),
        }
        if rights.is_empty() || matches!(lacking(action), Lacking::Mesh(r) if r.is_empty()) {
            // Needs any right at all: lack them all.
            rights = Rights::empty();
        }
        world.user("mallory", site);
        if !rights.is_empty() {
            for group in [1, 3] {
                world.link("mallory", LinkTarget::Group(group_id(group)), rights);
            }
        }
        let (mallory, admin) = (world.session("mallory"), world.session("admin"));
        heard(&mallory);
        let before = records(&world);
        let answers = ask(&mallory, &request_for(action.name));
        let name = action.name;
        for answer in &answers {
            let result = answer["result"].as_str().unwrap_or_default();
            let refused = !result.is_empty() && !result.eq_ignore_ascii_case("ok");
            assert!(refused || answer["err"].is_u64(), "{name}: {answer}");
            assert_eq!(answer["action"], name);
        }
        assert_eq!(records(&world), before, "{name} changed something");
        assert!(commands(&agent).is_empty(), "{name} reached the agent");
        assert_eq!(heard(&admin), Vec::<Value>::new(), "{name} told somebody");
        assert_eq!(heard(&mallory), Vec::<Value>::new(), "{name} told the user");
    }
}

#[test]
fn what_a_user_cannot_see_does_not_exist() {
    let (world, agent) = lab();
    let bob = world.session("bob");
    let names_one = |need: &Need| !matches!(need, Login(_) | Site(..) | Unrestricted(..));
    for action in ACTIONS.iter().filter(|action| names_one(&action.need)) {
        let mut request = request_for(action.name);
        let real = ask(&bob, &request);
        for (from, to) in [(group_id(1), group_id(99)), (group_id(3), group_id(99))] {
            let text = request.to_string().replace(&from.to_string(), &to.to_string());
            request = serde_json::from_str(&text).unwrap();
        }
        let text = request.to_string().replace(&node_id(2).to_string(), &node_id(99).to_string());
        let invented = ask(&bob, &serde_json::from_str(&text).unwrap());
        let show = |answers: Vec<Value>| {
            let text = Value::from(answers).to_string();
            text.replace(&node_id(2).to_string(), &node_id(99).to_string())
        };
        assert_eq!(show(real), show(invented), "{}", action.name);
    }
    assert!(commands(&agent).is_empty());
    assert_eq!(
        ask(&bob, &json!({"action": "meshes"})),
        [json!({"action": "meshes", "meshes": []})]
    );
    assert_eq!(ask(&bob, &json!({"action": "nodes"})), [json!({"action": "nodes", "nodes": {}})]);
}

#[test]
fn the_table_has_no_name_twice() {
    let names: BTreeSet<_> = ACTIONS.iter().map(|action| action.name).collect();
    assert_eq!(names.len(), ACTIONS.len());
}

#[test]
fn unknown_actions_are_ignored_and_counted() {
    let (world, _) = lab();
    let admin = world.session("admin");
    assert!(ask(&admin, &json!({"action": "nosuchaction", "responseid": "R"})).is_empty());
    assert!(ask(&admin, &json!({"action": 7})).is_empty());
    assert_eq!(world.hub.metrics.unknown_actions.load(std::sync::atomic::Ordering::Relaxed), 1);
}
