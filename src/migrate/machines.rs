//! Device groups, devices, what is known about them, and shares.

use serde_json::{Map, Value, json};

use super::document::{Document, whole};
use crate::model::record::Invite;
use crate::model::text::clamp;
use crate::model::{
    AgentFacts, AmtAccess, AmtPolicy, Device, Group, GroupId, GroupKind, LastSeen, Millis, NodeId,
    Share,
};
use crate::store::DetailKind;

/// Further members of a device that agents report and clients are shown.
const REPORTED: [&str; 7] = ["av", "battery", "defender", "intelamt", "lmsinfo", "volumes", "wsc"];
/// Longest of them, as JSON text.
const REPORTED_MAX: usize = 8192;
/// Members of `intelamt` that an agent must never say.
const AMT_SECRETS: [&str; 3] = ["user", "pass", "mpspass"];
/// Port numbers people set.
const PORTS: [&str; 5] = ["rdpport", "rfbport", "sshport", "httpport", "httpsport"];

/// A device group and its Intel AMT policy.
pub(super) fn group(mut doc: Document<'_>) -> Option<(Group, Option<AmtPolicy>)> {
    let id: GroupId = match doc.id.parse() {
        Ok(id) => id,
        Err(error) => {
            doc.remark(format!("not taken over: {error}"));
            return None;
        }
    };
    let Some(kind) = doc.number("mtype").and_then(GroupKind::from_mtype) else {
        doc.remark("not taken over: its mtype is not known");
        return None;
    };
    let name = doc.text("name").unwrap_or_default();
    let mut group = Group::new(id.clone(), &name, kind, doc.millis("creation").unwrap_or_default());
    group.desc = doc.text("desc").unwrap_or_default();
    group.flags = doc.u32("flags").unwrap_or_default();
    group.consent = doc.u32("consent").unwrap_or_default();
    group.expire_devices =
        doc.number("expireDevs").and_then(|days| days.try_into().ok()).unwrap_or_default();
    group.creator = doc.id("creatorid");
    group.deleted = doc.millis("deleted");
    group.invite = invite(&doc.object("invite"));
    group.relay = doc.id("relayid");
    let policy = policy(id, &doc.object("amt"));
    doc.ignore(&["links", "creatorname"]);
    doc.drop_with_remark(&["kvm"], "IP-KVM switches are not supported");
    Some((group, policy))
}

fn number(object: &Map<String, Value>, name: &str) -> Option<u64> {
    object.get(name).and_then(whole)
}

fn invite(object: &Map<String, Value>) -> Option<Invite> {
    let codes = object.get("codes")?.as_array()?;
    let number = |name: &str| number(object, name).and_then(|n| n.try_into().ok());
    Some(Invite {
        codes: codes.iter().filter_map(|code| code.as_str().map(str::to_owned)).collect(),
        flags: number("flags").unwrap_or_default(),
        agents: number("ag").unwrap_or_default(),
    })
}

fn policy(group: GroupId, object: &Map<String, Value>) -> Option<AmtPolicy> {
    let small = |name: &str| number(object, name).and_then(|n| u8::try_from(n).ok());
    let password = object.get("password").and_then(Value::as_str).filter(|text| !text.is_empty());
    Some(AmtPolicy {
        group,
        kind: small("type")?,
        password: password.map(str::to_owned),
        bad_password: small("badpass").unwrap_or_default(),
        cira: small("cirasetup").unwrap_or_default(),
        client_mode: small("ccm").unwrap_or_default(),
    })
}

/// A device and how its Intel AMT is logged in to.
pub(super) fn device(mut doc: Document<'_>) -> Option<(Device, Option<AmtAccess>)> {
    let id: NodeId = match doc.id.parse() {
        Ok(id) => id,
        Err(error) => {
            doc.remark(format!("not taken over: {error}"));
            return None;
        }
    };
    let Some(group) = doc.id("meshid") else {
        doc.remark("not taken over: it is in no group");
        return None;
    };
    let text = |doc: &mut Document<'_>, name: &str, max| {
        doc.text(name).map(|text| clamp(&text, max)).filter(|text| !text.is_empty())
    };
    let name = text(&mut doc, "name", 256).unwrap_or_default();
    let first_connect = doc.millis("firstconnect").unwrap_or_default();
    let mut device = Device::new(id.clone(), group, &name, first_connect);
    device.host_name = text(&mut doc, "rname", 256).unwrap_or(name);
    device.icon = doc.number("icon").and_then(|icon| icon.try_into().ok()).unwrap_or(1);
    device.agent = agent(&doc.object("agent"));
    device.ip = text(&mut doc, "ip", 64);
    device.host = text(&mut doc, "host", 256);
    device.os = text(&mut doc, "osdesc", 255);
    device.desc = text(&mut doc, "desc", 4096);
    device.tags = doc.texts("tags");
    device.consent = doc.u32("consent").unwrap_or_default();
    device.users = doc.texts("users");
    device.local_users = doc.texts("lusers");
    device.last_boot = doc.millis("lastbootuptime");
    device.ports = PORTS
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), doc.number(name)?.try_into().ok()?)))
        .collect();
    let mut access = None;
    for name in REPORTED {
        let Some(mut value) = doc.value(name) else { continue };
        if name == "intelamt" {
            access = amt_access(&id, &mut value);
        }
        let text = value.to_string();
        if text.len() <= REPORTED_MAX {
            device.extra.push((name.to_owned(), text));
        }
    }
    // How it was connected and what is derived; `mtype` is its group's.
    doc.ignore(&["mtype", "conn", "pwr", "agct", "cict", "links", "sessions", "lastaddr"]);
    doc.ignore(&["lastconnect", "pmt", "mtype", "rdpport"]);
    doc.drop_with_remark(&["ssh", "rdp"], "logins to the device are not kept on this server");
    doc.drop_with_remark(&["iploc", "userloc"], "places on a map are not kept");
    Some((device, access))
}

fn agent(object: &Map<String, Value>) -> Option<AgentFacts> {
    let small = |name: &str| number(object, name).and_then(|n| u32::try_from(n).ok());
    let text = |name: &str| object.get(name).and_then(Value::as_str).map(|text| clamp(text, 128));
    Some(AgentFacts {
        id: small("id")?,
        version: small("ver").unwrap_or_default(),
        caps: small("caps").unwrap_or_default(),
        core: text("core"),
        root: object.get("root").and_then(Value::as_bool),
        tag: text("tag"),
    })
}

/// Takes the login out of `intelamt`.
fn amt_access(node: &NodeId, amt: &mut Value) -> Option<AmtAccess> {
    let object = amt.as_object_mut()?;
    let mut secrets = AMT_SECRETS.map(|name| object.remove(name));
    let mut text = |i: usize| match secrets[i].take() {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (user, password) = (text(0), text(1)?);
    let user = user.unwrap_or_else(|| "admin".into());
    Some(AmtAccess::new(node.clone(), &user, &password, number(object, "tls") == Some(1)))
}

/// A large document about a device, in the form it is kept here.
pub(super) struct Detail {
    pub(super) node: NodeId,
    pub(super) kind: DetailKind,
    pub(super) json: String,
    pub(super) tag: Option<String>,
    pub(super) time: Millis,
}

/// `if<node id>`: its network interfaces.
pub(super) fn network(mut doc: Document<'_>) -> Option<Detail> {
    let node = doc.id.strip_prefix("if")?.parse().ok()?;
    let time = doc.millis("updateTime").unwrap_or_default();
    let interfaces = doc.value("netif2");
    doc.drop_with_remark(&["netif"], "the form of agents before 2022; they report anew");
    let json = json!({ "netif2": interfaces? }).to_string();
    Some(Detail { node, kind: DetailKind::Network, json, tag: None, time })
}

/// `si<node id>`: its hardware.
pub(super) fn system(mut doc: Document<'_>) -> Option<Detail> {
    let node = doc.id.strip_prefix("si")?.parse().ok()?;
    let time = doc.millis("time").unwrap_or_default();
    let hash = doc.text("hash");
    let hardware = doc.value("hardware")?;
    let json = json!({"hardware": hardware, "hash": hash}).to_string();
    Some(Detail { node, kind: DetailKind::System, json, tag: hash, time })
}

/// `lc<node id>`: when and from where it was last connected.
pub(super) fn last_seen(mut doc: Document<'_>) -> Option<(NodeId, LastSeen)> {
    let node = doc.id.strip_prefix("lc")?.parse().ok()?;
    let time = doc.millis("time")?;
    let addr = doc.text("addr").unwrap_or_default();
    doc.ignore(&["meshid", "cause", "connectType"]);
    Some((node, LastSeen { time, addr }))
}

/// A device share.
pub(super) fn share(mut doc: Document<'_>) -> Option<Share> {
    let share = Share {
        public_id: doc.text("publicid")?,
        node: doc.id("nodeid")?,
        user: doc.id("userid")?,
        guest_name: doc.text("guestName").unwrap_or_default(),
        protocols: doc.u32("p").unwrap_or_default(),
        consent: doc.u32("consent").unwrap_or_default(),
        port: doc.number("port").and_then(|port| port.try_into().ok()),
        url: doc.text("url").unwrap_or_default(),
        start: doc.millis("startTime"),
        expires: doc.millis("expireTime"),
        duration: doc.u32("duration"),
        recurring: doc.number("recurring").and_then(|n| n.try_into().ok()),
        view_only: doc.flag("viewOnly"),
    };
    doc.ignore(&["xmeshid", "extrakey"]);
    Some(share)
}
