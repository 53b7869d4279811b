//! For each action of the table: a request that does something, what it needs, and what it does.
//!
//! An action without a case fails the walks. A new entry of the table needs one here.

use super::*;
use crate::control::testing::journal;
use crate::model::{LastSeen, Share};
use crate::relay::recording::Recordings;
use crate::store::DetailKind;

/// What somebody must have to be answered.
#[derive(Clone, Debug)]
pub(super) enum Needs {
    /// A session.
    Nothing,
    /// This right on the server.
    Site(SiteRights),
    /// That this restriction is not imposed.
    Free(SiteRights),
    /// Every one of these rights on the groups `lab` and `other`.
    Each(Vec<Rights>),
    /// One of these rights.
    OneOf(Rights),
    /// Any right at all.
    Sight,
}

/// What is to be seen of a request that is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// An answer.
    Reads,
    /// A change of a record, and a line in the journal.
    Changes,
    /// Something reaches an agent or another person, and a line in the journal.
    Reaches,
    /// What is the user's own business: no line in the journal.
    Private,
}

pub(super) struct Case {
    pub(super) request: Value,
    pub(super) needs: Needs,
    pub(super) effect: Effect,
}

use Effect::{Changes, Private, Reaches, Reads};
use Needs::{Each, Free, Nothing as Session, OneOf, Sight, Site as OnServer};

/// A world in which every case has something to do: see [`lab`]. Carol is a member of `lab` and of
/// the user group `team` (5), which has a right on `other`; the device has reported
/// everything and is shared; there are groups of Intel AMT (6) and local devices (7).
pub(super) fn house() -> (World, Rc<crate::hub::AgentLink>) {
    let mut config = crate::config::Config::default();
    config.settings.allow_login_token = true;
    config.settings.mps_pass = Some("P@ssw0rd1".into());
    config.settings.inter_user_messaging = crate::config::InterUser::Everybody;
    let root = config.domains.entry(Default::default()).or_default();
    root.recording = Some(crate::config::Recording::default());
    let (world, agent) = lab_with(config);
    let recordings = Recordings::new(world.hub.clone(), std::path::Path::new("no such folder"));
    world.control.set_recordings(recordings);
    let team = world.user_group(5, "team");
    let mut group = (*world.hub.store.user_group(&team).unwrap()).clone();
    group.set_link(LinkTarget::Group(group_id(3)), Some(Rights::REMOTE_CONTROL));
    world.hub.store.put(group).later();
    world.link("carol", LinkTarget::UserGroup(team), Rights::EDIT_GROUP);
    world.link("carol", LinkTarget::Group(group_id(1)), Rights::REMOTE_CONTROL);
    let network = br#"{"netif2":{"eth0":[{"mac":"02:FC:00:00:00:01"}]}}"#;
    let store = &world.hub.store;
    store.set_detail(&node_id(2), DetailKind::Network, network, None, Millis(5));
    store.set_detail(&node_id(2), DetailKind::System, br#"{"hardware":{}}"#, None, Millis(5));
    store.set_last_seen(&node_id(2), LastSeen { time: Millis(6), addr: "10.0.0.9:1".into() });
    for (n, kind) in [(6, GroupKind::Amt), (7, GroupKind::Local)] {
        store.put(Group::new(group_id(n), "by hand", kind, Millis(7))).later();
    }
    let share = Share {
        public_id: "carols-share".into(),
        node: node_id(2),
        user: world.account("carol").id.clone(),
        guest_name: "Guest".into(),
        protocols: 1,
        consent: 0,
        port: None,
        url: String::new(),
        start: None,
        expires: None,
        duration: None,
        recurring: None,
        view_only: false,
    };
    store.put(share).later();
    journal();
    (world, agent)
}

/// Gives an account what a case needs and nothing more.
pub(super) fn entitle(world: &World, name: &str, needs: &Needs) {
    let site = if let OnServer(site) = needs { *site } else { SiteRights::empty() };
    world.user(name, site);
    let rights = match needs {
        Session | OnServer(_) | Free(_) => return,
        Each(rights) => rights.iter().fold(Rights::empty(), |all, right| all | *right),
        OneOf(rights) => rights.iter().next().unwrap(),
        Sight => Rights::CHAT,
    };
    link_all(world, name, rights);
}

/// Makes accounts that have everything but what a case needs; their names.
pub(super) fn deprive(world: &World, needs: &Needs) -> Vec<String> {
    let all_site = SiteRights::from_bits_retain(0xfff)
        - SiteRights::LOCKED
        - SiteRights::NO_NEW_GROUPS
        - SiteRights::NO_TOOLS
        - SiteRights::LOCK_SETTINGS;
    let all = Rights::from_bits_retain(0x3f_ffff) - Rights::RESTRICTIONS;
    let (site, lacking) = match needs {
        Session => return Vec::new(),
        OnServer(right) => (all_site - *right, vec![Rights::empty()]),
        Free(restriction) => (all_site | *restriction, vec![Rights::empty()]),
        Each(rights) => (all_site, rights.clone()),
        OneOf(rights) => (all_site, vec![*rights]),
        Sight => (all_site, vec![all]),
    };
    let mallory = |(n, lacking): (usize, Rights)| {
        let name = format!("mallory{n}");
        world.user(&name, site);
        // A full right is lacked by who has all others.
        let rights = if lacking.is_full() { all } else { all - lacking };
        if !rights.is_empty() {
            link_all(world, &name, rights);
        }
        name
    };
    lacking.into_iter().enumerate().map(mallory).collect()
}

pub(super) fn link_all(world: &World, name: &str, rights: Rights) {
    for group in [1, 3, 6, 7] {
        world.link(name, LinkTarget::Group(group_id(group)), rights);
    }
}

/// The cases of an action.
pub(super) fn cases(action: &str) -> Vec<Case> {
    let (node, group, other) =
        (node_id(2).to_string(), group_id(1).to_string(), group_id(3).to_string());
    let team = UserGroupId::new(Default::default(), crate::model::Key48([5; 48])).to_string();
    let managers = || OnServer(SiteRights::MANAGE_USERS);
    let teams = || OnServer(SiteRights::USER_GROUPS);
    let own = || Free(SiteRights::LOCK_SETTINGS);
    let numbers = || OnServer(STATS_RIGHTS);
    let sharing = || Each(vec![Rights::REMOTE_CONTROL, Rights::GUEST_SHARING]);
    let list: Vec<(Needs, Effect, Value)> = match action {
        "ping" | "pong" | "print" | "urlargs" | "intersession" | "verifyemail" | "verifyPhone"
        | "confirmPhone" | "verifyMessaging" | "confirmMessaging" | "emailuser" | "smsuser"
        | "msguser" | "inviteAgent" | "authcookie" => vec![(Session, Private, json!({}))],
        "logincookie" => vec![(Session, Reads, json!({}))],
        "meshes" | "nodes" | "usergroups" | "wssessioncount" | "lastconnects" => {
            vec![(Session, Reads, json!({}))]
        }
        "getDeviceDetails" => vec![(Session, Reads, json!({"type": "json"}))],
        "recordings" => vec![(OnServer(SiteRights::RECORDINGS), Reads, json!({}))],
        "events" => vec![
            (Session, Reads, json!({})),
            (Sight, Reads, json!({"nodeid": node})),
            (managers(), Reads, json!({"userid": "user//carol"})),
        ],
        "previousLogins" => {
            vec![(Session, Reads, json!({})), (managers(), Reads, json!({"userid": "user//carol"}))]
        }
        "interuser" => vec![(Session, Private, json!({"userid": "user//carol", "data": {}}))],
        "users" => vec![(managers(), Reads, json!({}))],
        "adduser" => vec![(managers(), Changes, json!({"username": "new", "pass": "x"}))],
        "adduserbatch" => {
            vec![(managers(), Changes, json!({"users": [{"user": "new", "pass": "x"}]}))]
        }
        "edituser" => {
            vec![(managers(), Changes, json!({"userid": "user//carol", "realname": "C"}))]
        }
        "deleteuser" => vec![(managers(), Changes, json!({"userid": "user//carol"}))],
        "userbroadcast" => vec![(managers(), Reaches, json!({"msg": "tea"}))],
        "notifyuser" => {
            vec![(managers(), Reaches, json!({"userid": "user//carol", "msg": "tea"}))]
        }
        "meshmessenger" => vec![
            (managers(), Reaches, json!({"userid": "user//carol"})),
            (Each(vec![Rights::CHAT]), Reaches, json!({"nodeid": node})),
        ],
        "changepassword" => {
            let request = json!({"oldpass": "Own!passw", "newpass": "N3w!passw"});
            vec![(own(), Changes, request)]
        }
        "changeuserpass" => {
            let request = json!({"userid": "user//carol", "pass": "", "removeMultiFactor": true});
            vec![(managers(), Changes, request)]
        }
        "logoutall" => vec![(Session, Changes, json!({}))],
        "createLoginToken" => vec![(Session, Private, json!({"name": "t", "expire": 0}))],
        "loginTokens" => vec![(Session, Reads, json!({}))],
        "twoFactorCookie" => vec![(Session, Reads, json!({}))],
        "otpauth-request" => vec![(own(), Reads, json!({}))],
        "otpauth-setup" => {
            vec![(own(), Private, json!({"secret": "KE4EMUCUOEMRQ22R", "token": "x"}))]
        }
        "otpauth-clear" | "otp-hkey-remove" => vec![(own(), Changes, json!({"index": 7}))],
        "otpauth-getpasswords" | "otp-hkey-get" => vec![(Session, Reads, json!({}))],
        "otp-hkey-yubikey-add" | "otpduo" | "otpdev-set" | "otpdev-clear" => {
            vec![(own(), Private, json!({}))]
        }
        "webauthn-startregister" => vec![(own(), Reads, json!({"name": "blue"}))],
        "webauthn-endregister" => vec![(own(), Private, json!({}))],
        "websessions" => vec![(Session, Reads, json!({}))],
        // There are no browsers here: nothing ends.
        "endwebsession" => vec![(Session, Reads, json!({"id": "none"}))],
        "otpemail" => vec![(own(), Private, json!({"enabled": true}))],
        "changelang" => vec![(own(), Changes, json!({"lang": "fr"}))],
        "changeemail" => vec![(own(), Changes, json!({"email": "a@b.example"}))],
        "removePhone" | "removeMessaging" => vec![(own(), Changes, json!({}))],
        "updateUserImage" => {
            let image = json!({"image": "data:image/png;base64,AAAA"});
            let mut of_carol = image.clone();
            of_carol["userid"] = "user//carol".into();
            vec![(own(), Changes, image), (managers(), Changes, of_carol)]
        }
        "userWebState" => vec![(own(), Private, json!({"state": "{\"sort\":1}"}))],
        "changemeshnotify" => vec![(Sight, Changes, json!({"meshid": group, "notify": 6}))],
        "changeusernotify" => vec![(Sight, Changes, json!({"nodeid": node, "notify": 6}))],
        "getNotes" => vec![
            (Sight, Reads, json!({"id": node})),
            (Each(vec![Rights::EDIT_GROUP]), Reads, json!({"id": group})),
            (managers(), Reads, json!({"id": "user//carol"})),
            (Session, Reads, json!({"id": "puser//x"})),
        ],
        "setNotes" => vec![
            (Each(vec![Rights::SET_NOTES]), Changes, json!({"id": node, "notes": "n"})),
            (Each(vec![Rights::EDIT_GROUP]), Changes, json!({"id": group, "notes": "n"})),
            (managers(), Changes, json!({"id": "user//carol", "notes": "n"})),
            (Session, Changes, json!({"id": "puser//x", "notes": "n"})),
        ],
        "createusergroup" => vec![
            (teams(), Changes, json!({"name": "new"})),
            (teams(), Changes, json!({"name": "new", "clone": team})),
        ],
        "deleteusergroup" => vec![(teams(), Changes, json!({"ugrpid": team}))],
        "editusergroup" => vec![(teams(), Changes, json!({"ugrpid": team, "desc": "hack"}))],
        "addusertousergroup" => {
            vec![(teams(), Changes, json!({"ugrpid": team, "usernames": ["bob"]}))]
        }
        "removeuserfromusergroup" => {
            vec![(teams(), Changes, json!({"ugrpid": team, "userid": "carol"}))]
        }
        "createmesh" => {
            let request = json!({"meshname": "g", "meshtype": 2});
            vec![(Free(SiteRights::NO_NEW_GROUPS), Changes, request)]
        }
        "editmesh" => {
            let request = json!({"meshid": group, "desc": "hack"});
            vec![(Each(vec![Rights::EDIT_GROUP]), Changes, request)]
        }
        "deletemesh" => vec![(Each(vec![Rights::FULL]), Changes, json!({"meshid": group}))],
        "addmeshuser" => {
            let add = |ids: Value| json!({"meshid": group, "userids": ids, "meshadmin": 16});
            let needs = || Each(vec![Rights::MANAGE_USERS]);
            vec![
                (needs(), Changes, add(json!(["user//carol"]))),
                (needs(), Changes, add(json!([team]))),
            ]
        }
        "removemeshuser" => {
            let needs = || Each(vec![Rights::MANAGE_USERS]);
            vec![
                (needs(), Changes, json!({"meshid": group, "userid": "user//carol"})),
                (needs(), Changes, json!({"meshid": other, "userid": team})),
            ]
        }
        "amtread" => {
            let request = json!({"nodeid": node, "what": "power"});
            vec![(Each(vec![Rights::DEVICE_DETAILS]), Reads, request)]
        }
        "amtboot" => {
            let request = json!({"nodeid": node, "target": "network"});
            vec![(Each(vec![Rights::RESET_OFF]), Reaches, request)]
        }
        "amtpower" => {
            let request = json!({"nodeid": node, "state": 5});
            vec![(Each(vec![Rights::RESET_OFF]), Reaches, request)]
        }
        "amtconsent" => {
            let request = json!({"nodeid": node, "verb": "ask"});
            vec![(Each(vec![Rights::REMOTE_CONTROL]), Reaches, request)]
        }
        "amtset" => {
            let request = json!({"nodeid": node, "what": "clock"});
            vec![(Each(vec![Rights::MANAGE_DEVICES]), Reaches, request)]
        }
        "amtactivations" => vec![(OnServer(SiteRights::FULL), Reads, json!({}))],
        "mpsjournal" => vec![(OnServer(SiteRights::FULL), Reads, json!({}))],
        "mpssetup" | "mpsscript" => {
            vec![(Each(vec![Rights::EDIT_GROUP]), Reads, json!({"meshid": group}))]
        }
        "createInviteLink" => {
            vec![(Sight, Reads, json!({"meshid": group, "expire": 1, "flags": 0}))]
        }
        "getnetworkinfo" | "getsysinfo" => {
            vec![(Each(vec![Rights::DEVICE_DETAILS]), Reads, json!({"nodeid": node}))]
        }
        "lastconnect" | "powertimeline" => vec![(Sight, Reads, json!({"nodeid": node}))],
        "changedevice" => {
            let request = json!({"nodeid": node, "name": "hack", "tags": "x"});
            vec![(Each(vec![Rights::MANAGE_DEVICES]), Changes, request)]
        }
        "changeDeviceMesh" => {
            let needs = Each(vec![Rights::MANAGE_DEVICES, Rights::EDIT_GROUP]);
            vec![(needs, Changes, json!({"nodeids": [node], "meshid": other}))]
        }
        "removedevices" => {
            vec![(Each(vec![Rights::UNINSTALL]), Changes, json!({"nodeids": [node]}))]
        }
        "adddeviceuser" => {
            let add = |ids: Value| json!({"nodeid": node, "userids": ids, "rights": 8});
            let needs = || Each(vec![Rights::MANAGE_USERS]);
            vec![
                (needs(), Changes, add(json!(["user//carol"]))),
                (needs(), Changes, add(json!([team]))),
            ]
        }
        "setDeviceEvent" => vec![(Sight, Reaches, json!({"nodeid": node, "msg": "hi"}))],
        "msg" => {
            let request = json!({"nodeid": node, "type": "console", "value": "info"});
            vec![(OneOf(Rights::REMOTE_CONTROL | Rights::VIEW_ONLY), Reaches, request)]
        }
        "getcookie" => {
            let request = json!({"nodeid": node, "tcpport": 22});
            vec![(OneOf(Rights::REMOTE_CONTROL | Rights::RELAY), Reads, request)]
        }
        "runcommands" => {
            let run = |kind: u32| json!({"nodeids": [node], "type": kind, "cmds": "id"});
            let console = vec![Rights::REMOTE_CONTROL, Rights::AGENT_CONSOLE];
            vec![
                (Each(vec![Rights::REMOTE_COMMAND]), Reaches, run(3)),
                (Each(console), Reaches, run(4)),
            ]
        }
        "toast" => {
            vec![(Each(vec![Rights::CHAT]), Reaches, json!({"nodeids": [node], "msg": "hi"}))]
        }
        "wakedevices" => vec![(Each(vec![Rights::WAKE]), Reaches, json!({"nodeids": [node]}))],
        "poweraction" => {
            let power = |kind: u32| json!({"nodeids": [node], "actiontype": kind, "time": 5});
            vec![
                (Each(vec![Rights::RESET_OFF]), Reaches, power(2)),
                (Each(vec![Rights::WAKE]), Reaches, power(302)),
                (Each(vec![Rights::REMOTE_CONTROL]), Reaches, power(400)),
            ]
        }
        "uninstallagent" => {
            vec![(Each(vec![Rights::UNINSTALL]), Reaches, json!({"nodeids": [node]}))]
        }
        "uploadagentcore" => {
            let request = json!({"nodeids": [node], "type": "clear"});
            vec![(Each(vec![Rights::AGENT_CONSOLE]), Reaches, request)]
        }
        "agentdisconnect" => {
            let request = json!({"nodeid": node, "disconnectMode": 1});
            vec![(Each(vec![Rights::AGENT_CONSOLE]), Reaches, request)]
        }
        "addlocaldevice" => {
            let request = json!({"meshid": group_id(7).to_string(), "devicename": "nas",
                "hostname": "192.168.1.5", "type": 4});
            vec![(Each(vec![Rights::MANAGE_DEVICES]), Changes, request)]
        }
        "addamtdevice" => {
            let request = json!({"meshid": group_id(6).to_string(), "devicename": "desk",
                "hostname": "192.168.1.6", "amtusername": "a", "amtpassword": "b", "amttls": 1});
            vec![(Each(vec![Rights::MANAGE_DEVICES]), Changes, request)]
        }
        "importamtdevices" => {
            let request = json!({"meshid": group_id(6).to_string(),
                "amtdevices": [{"fqdn": "192.168.1.7"}]});
            vec![(Each(vec![Rights::EDIT_GROUP]), Changes, request)]
        }
        "scanamtdevice" => vec![(Session, Private, json!({"range": "192.168.1.1"}))],
        "meshamtpolicy" => {
            let request = json!({"meshid": group, "amtpolicy": {"type": 1}});
            vec![(Each(vec![Rights::EDIT_GROUP]), Changes, request)]
        }
        "createDeviceShareLink" => {
            let request =
                json!({"nodeid": node, "guestname": "g", "p": 2, "consent": 0, "expire": 5});
            vec![(sharing(), Changes, request)]
        }
        "deviceShares" => vec![(sharing(), Reads, json!({"nodeid": node}))],
        "deviceMeshShares" => vec![(Sight, Reads, json!({"meshid": group}))],
        "removeDeviceShare" => {
            vec![(sharing(), Changes, json!({"nodeid": node, "publicid": "carols-share"}))]
        }
        "webrelay" => vec![(Sight, Reads, json!({"nodeid": node, "port": 80, "appid": 1}))],
        "getClip" => {
            vec![(Each(vec![Rights::REMOTE_CONTROL]), Reaches, json!({"nodeid": node}))]
        }
        "setClip" => {
            let request = json!({"nodeid": node, "data": "x"});
            vec![(Each(vec![Rights::REMOTE_CONTROL]), Reaches, request)]
        }
        "updateAgents" => {
            vec![(Each(vec![Rights::FULL]), Reaches, json!({"nodeids": [node]}))]
        }
        "getmqttlogin" | "sendmqttmsg" => vec![(Session, Reads, json!({"nodeid": node}))],
        "report" => {
            let report = |kind: u32| json!({"type": kind, "groupBy": 1, "start": 0, "end": 1});
            let records = OnServer(SiteRights::FULL);
            let mut list: Vec<_> = (1..=3).map(|kind| (Session, Reads, report(kind))).collect();
            list.push((records, Reads, report(4)));
            list
        }
        // Without a place for files there are none; see `server`.
        "files" => vec![(OnServer(SiteRights::FILES), Private, json!({}))],
        "fileoperation" => {
            let request = json!({"fileop": "createfolder", "path": ["user//grace"],
                "newfolder": "x"});
            vec![(OnServer(SiteRights::FILES), Private, request)]
        }
        "serverstats" => vec![(numbers(), Reads, json!({"interval": 1000}))],
        "servertimelinestats" => vec![(numbers(), Reads, json!({"hours": 1}))],
        "serverhealth" => vec![(numbers(), Private, json!({}))],
        "trafficstats" | "trafficdelta" => vec![(numbers(), Reads, json!({}))],
        "serverversion" | "serverupdate" | "servererrors" => {
            vec![(OnServer(SiteRights::UPDATE), Reads, json!({}))]
        }
        "serverclearerrorlog" | "serverconfig" => {
            vec![(OnServer(SiteRights::UPDATE), Private, json!({}))]
        }
        // Without a folder there is nothing to back up; see `server`.
        "serverBackup" => vec![(OnServer(SiteRights::FULL), Private, json!({}))],
        "serverconsole" => {
            ["help", "info", "usersessions", "dbstats", "showpaths", "certhashes", "badlogins"]
                .map(|line| (OnServer(SiteRights::FULL), Reads, json!({"value": line})))
                .into()
        }
        "traceinfo" => {
            vec![(OnServer(SiteRights::FULL), Reaches, json!({"traceSources": ["web"]}))]
        }
        "plugins" | "pluginLatestCheck" | "addplugin" | "installplugin" | "disableplugin"
        | "removeplugin" | "getpluginversions" | "plugin" | "distributeCore" | "meshToolInfo" => {
            vec![(Session, Private, json!({}))]
        }
        other => panic!("no case to try {other} with"),
    };
    let case = |(needs, effect, mut request): (Needs, Effect, Value)| {
        request["action"] = action.into();
        request["responseid"] = "R".into();
        Case { request, needs, effect }
    };
    list.into_iter().map(case).collect()
}

/// All cases of the table.
pub(super) fn all() -> impl Iterator<Item = Case> {
    super::super::all().flat_map(|action| cases(action.name))
}
