//! Device groups, devices, what is known about them, and shares, as documents.

use serde_json::{Map, Value, json};

use super::draft::Draft;
use super::{Holder, escaped, names_fit};
use crate::model::{
    AgentFacts, AmtAccess, AmtPolicy, Device, Group, GroupKind, LastSeen, NodeId, Share, order,
};
use crate::store::Detail;

/// `connectType` of a connection by an agent.
const BY_AGENT: u32 = 1;

/// A device group with its Intel AMT policy.
pub(super) fn group(group: &Group, links: &[Holder], policy: Option<&AmtPolicy>) -> Draft {
    let links = links.iter().map(|Holder { id, name, rights }| {
        (id.to_string(), json!({"name": &**name, "rights": rights}))
    });
    let invite = group.invite.as_ref().map(|invite| {
        let mut value = json!({"codes": invite.codes, "flags": invite.flags});
        if invite.agents != 0 {
            value["ag"] = invite.agents.into();
        }
        value
    });
    Draft::new(&group.id)
        .with("type", "mesh")
        .with("name", group.name.as_str())
        .with("mtype", group.kind.mtype())
        .maybe("desc", Some(group.desc.as_str()).filter(|desc| !desc.is_empty()))
        .with("domain", group.domain().as_str())
        .by_id("links", links)
        .with("creation", group.created.0)
        .maybe("creatorid", group.creator.as_ref().map(ToString::to_string))
        .maybe("creatorname", group.creator.as_ref().map(|creator| creator.name()))
        .nonzero("flags", group.flags)
        .nonzero("consent", group.consent)
        .nonzero("expireDevs", group.expire_devices)
        .maybe("relayid", group.relay.as_ref().map(ToString::to_string))
        .maybe("deleted", group.deleted.map(|time| time.iso()))
        .maybe("invite", invite)
        .maybe("amt", policy.map(amt_policy))
}

fn amt_policy(policy: &AmtPolicy) -> Value {
    let mut value = json!({
        "type": policy.kind,
        "badpass": policy.bad_password,
        "cirasetup": policy.cira,
    });
    if policy.client_mode != 0 {
        value["ccm"] = policy.client_mode.into();
    }
    if let Some(password) = &policy.password {
        value["password"] = password.as_str().into();
    }
    value
}

/// A device, and how its Intel AMT is logged in to.
pub(super) fn device(
    device: &Device,
    kind: GroupKind,
    links: &[Holder],
    access: Option<&AmtAccess>,
) -> Draft {
    let links: Vec<_> =
        links.iter().map(|h| (h.id.to_string(), json!({"rights": h.rights}))).collect();
    let mut draft = Draft::new(&device.id);
    // First, so that the agent's words take the place of nothing.
    for (name, text) in &device.extra {
        let value = serde_json::from_str::<Value>(text).ok();
        draft = draft.maybe(name, value.filter(names_fit));
    }
    draft = draft
        .maybe("intelamt", intel_amt(device, access))
        .with("type", "node")
        .with("mtype", kind.mtype())
        .text("_id", &device.id)
        .with("icon", device.icon)
        .text("meshid", &device.group)
        .with("name", device.name.as_str())
        .with("rname", device.host_name.as_str())
        .with("domain", device.id.domain.as_str())
        .maybe("agent", device.agent.as_ref().map(agent))
        .maybe("host", device.host.as_deref())
        .with("firstconnect", device.first_connect.0)
        .maybe("ip", device.ip.as_deref())
        .maybe("osdesc", device.os.as_deref())
        .nonzero("consent", device.consent)
        .maybe("desc", device.desc.as_deref())
        .list("tags", device.tags.iter().map(String::as_str))
        .list("users", device.users.iter().map(String::as_str))
        .list("lusers", device.local_users.iter().map(String::as_str))
        .maybe("lastbootuptime", device.last_boot.map(|time| time.0));
    for (name, port) in &device.ports {
        draft = draft.with(name, *port);
    }
    if links.is_empty() { draft } else { draft.by_id("links", links) }
}

fn agent(agent: &AgentFacts) -> Value {
    let mut value = json!({"ver": agent.version, "id": agent.id, "caps": agent.caps});
    for (name, member) in [
        ("core", agent.core.as_deref().map(Value::from)),
        ("root", agent.root.map(Value::from)),
        ("tag", agent.tag.as_deref().map(Value::from)),
    ] {
        if let Some(member) = member {
            value[name] = member;
        }
    }
    value
}

/// What is reported of Intel AMT, with the login.
fn intel_amt(device: &Device, access: Option<&AmtAccess>) -> Option<Value> {
    let reported = device.extra.iter().find(|(name, _)| name == "intelamt");
    let reported = reported.and_then(|(_, text)| serde_json::from_str(text).ok());
    let reported = match reported.filter(names_fit) {
        Some(Value::Object(reported)) => Some(reported),
        _ => None,
    };
    let mut amt: Map<String, Value> = match (reported, access) {
        (None, None) => return None,
        (reported, _) => reported.unwrap_or_default(),
    };
    // Here it only says that there is one.
    amt.remove("mpspass");
    if let Some(access) = access {
        amt.insert("user".into(), access.user.as_str().into());
        amt.insert("pass".into(), access.password.as_str().into());
        amt.insert("tls".into(), u8::from(access.tls).into());
    }
    Some(amt.into())
}

/// `lc<node id>`: when and from where it was last connected.
pub(super) fn last_seen(device: &Device, seen: &LastSeen) -> Draft {
    Draft::new(format_args!("lc{}", device.id))
        .with("type", "lastconnect")
        .with("domain", device.id.domain.as_str())
        .text("meshid", &device.group)
        .with("time", seen.time.0)
        .with("cause", 0)
        .with("connectType", BY_AGENT)
        .with("addr", seen.addr.as_str())
}

/// `if<node id>`: its network interfaces. `None` if the text is no object.
pub(super) fn network(node: &NodeId, detail: &Detail) -> Option<Draft> {
    let mut message: Map<String, Value> = serde_json::from_slice(&detail.json).ok()?;
    // Agents' reports are kept bare, what came from a database in a message.
    let interfaces = match message.remove("netif2") {
        Some(Value::Object(interfaces)) => interfaces,
        Some(_) => return None,
        None => message,
    };
    let interfaces = interfaces.into_iter().map(|(name, value)| (escaped(&name), value));
    Some(
        Draft::new(format_args!("if{node}"))
            .with("type", "ifinfo")
            .with("domain", node.domain.as_str())
            .with("updateTime", detail.time.0)
            .with("netif2", order::gather::<_, Map<_, _>>(interfaces)),
    )
}

/// `si<node id>`: its hardware. `None` if the text is no object.
pub(super) fn system(node: &NodeId, detail: &Detail) -> Option<Draft> {
    let report: Map<String, Value> = serde_json::from_slice(&detail.json).ok()?;
    let mut draft = Draft::new(format_args!("si{node}"));
    for (name, value) in report {
        draft = draft.with(&name, value);
    }
    Some(
        draft
            .text("_id", format_args!("si{node}"))
            .with("type", "sysinfo")
            .with("domain", node.domain.as_str())
            .with("time", detail.time.0),
    )
}

/// A device share. `device` is what it opens.
pub(super) fn share(share: &Share, device: Option<&Device>) -> Draft {
    Draft::new(format_args!("deviceshare-{}", share.public_id))
        .with("type", "deviceshare")
        .maybe("xmeshid", device.map(|device| device.group.to_string()))
        .text("nodeid", &share.node)
        .with("p", share.protocols)
        .with("domain", share.node.domain.as_str())
        .with("publicid", share.public_id.as_str())
        .text("userid", &share.user)
        .with("guestName", share.guest_name.as_str())
        .with("consent", share.consent)
        .maybe("port", share.port)
        .with("url", share.url.as_str())
        .maybe("startTime", share.start.map(|time| time.0))
        .maybe("expireTime", share.expires.map(|time| time.0))
        .maybe("duration", share.duration)
        .maybe("recurring", share.recurring)
        .maybe("viewOnly", share.view_only.then_some(true))
}
