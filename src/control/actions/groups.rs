//! Device groups: listing, making, editing and deleting them.

use std::rc::Rc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Reach;
use crate::hub::AgentCommand;
use crate::model::record::Invite;
use crate::model::rights::Subject;
use crate::model::{
    Device, Event, Group, GroupId, GroupKind, Key48, LinkTarget, NodeId, Rights, User,
};
use crate::store::RecordKey;

use super::super::invitations::CODE_MAX;
use super::group_members::put_user_group;
use super::{Answer, Call, OnGroup, visible_device};
use crate::hub::documents::{
    GroupDocument, Holders, InviteDocument, group_links, holders_of, to_value,
};

/// Longest name of a group in characters.
const NAME_MAX: usize = 128;
/// Longest description in characters.
const DESC_MAX: usize = 1024;
/// Most days after which a device that never came back is removed.
const EXPIRE_MAX: u32 = 2000;
/// Most invitation codes of a group.
const CODES_MAX: usize = 32;

/// `meshes`: all groups the user has a right on.
pub(super) fn list(call: &Call) -> Answer<'_> {
    #[derive(Serialize)]
    struct Body<'a> {
        meshes: Vec<GroupDocument<'a>>,
    }
    let domain = &call.user.id.domain;
    let (groups, holders) =
        (call.hub().store.groups(domain), Holders::of(&call.hub().store, domain));
    let visible: Vec<_> = groups
        .iter()
        .filter(|group| !call.hub().rights(&call.user, Subject::Group(&group.id)).is_empty())
        .map(|group| (group, call.hub().store.amt_policy(&group.id)))
        .collect();
    let mut meshes = Vec::new();
    for (group, amt) in &visible {
        let holders = holders.on_group(&group.id);
        meshes.push(GroupDocument { group, holders, amt: amt.as_deref() });
    }
    call.reply(Body { meshes })
}

/// `createmesh`: a new group, of which the user has every right.
pub(super) fn create(call: &Call) -> Answer<'_> {
    let request = &call.request;
    let Some(name) = request.text_within("meshname", 1, NAME_MAX) else {
        return call.result("Invalid group name");
    };
    if request.get("desc").is_some() && request.text_within("desc", 0, DESC_MAX).is_none() {
        return call.result("Invalid group description");
    }
    // meshctrl may send the number as text.
    let kind = request.number("meshtype").or_else(|| request.text("meshtype")?.parse().ok());
    let Some(kind) = kind.and_then(|n| GroupKind::from_mtype(n.into())) else {
        return call.result("Invalid group type");
    };
    let relay = match relay_for(call, kind) {
        Ok(relay) => relay,
        Err(text) => return call.result(text),
    };
    let mut key = [0; 48];
    if getrandom::fill(&mut key).is_err() {
        return call.result("No randomness");
    }
    let id = GroupId::new(call.user.id.domain.clone(), Key48(key));
    let group = Group {
        desc: request.text("desc").unwrap_or_default().to_owned(),
        flags: request.number("flags").unwrap_or_default(),
        consent: request.number("consent").unwrap_or_default(),
        creator: Some(call.user.id.clone()),
        relay: relay.as_ref().map(|device| device.id.clone()),
        ..Group::new(id.clone(), name, kind, call.hub().now())
    };
    let mut user = (*call.user).clone();
    user.set_link(LinkTarget::Group(id.clone()), Some(Rights::FULL));

    let group_commit = call.put(group.clone());
    let user_commit = call.put_user(user.clone());
    call.audit(format_args!("made device group {name:?} ({id})"));
    call.hub().publish(call.account_change(&user).transient());
    let mesh = call.hub().group_document(&group);
    let links = mesh.get("links").cloned();
    call.hub().publish(
        call.group_event("createmesh", &group)
            .with("mtype", kind.mtype())
            .with("mesh", mesh)
            .with("msgid", 76)
            .with("msgArgs", json!([name]))
            .with("msg", format!("Device group created: {name}")),
    );
    if let Some(device) = relay {
        tell_relay(call, &device, &group, true);
    }
    call.answer(json!({"result": "ok", "meshid": id.to_string(), "links": links}))
        .after(group_commit)
        .after(user_commit)
}

/// The relay a new group of that kind is to have, if it may be made at all. Local devices are
/// reached from the server's own network or through a device beside them; IP-KVM ports not at all.
fn relay_for(call: &Call, kind: GroupKind) -> Result<Option<Rc<Device>>, &'static str> {
    match kind {
        GroupKind::Amt | GroupKind::Agent => return Ok(None),
        GroupKind::Local => {}
        GroupKind::IpKvm => return Err("Invalid group type"),
    }
    let id = call.request.text("relayid");
    match (call.hub().config().settings.reach, id) {
        (Reach::Wan, None) | (Reach::Lan, Some(_)) => Err("Invalid group type"),
        (_, None) => Ok(None),
        (_, Some(id)) => relay_named(call, id).map(Some).ok_or("Invalid relay device"),
    }
}

/// A device that may be made a relay: it will connect wherever the devices behind it are, so the
/// user must be allowed to work on it. MeshCentral takes anyone's.
fn relay_named(call: &Call, id: &str) -> Option<Rc<Device>> {
    visible_device(call, id)
        .filter(|on| on.rights.allows(Rights::REMOTE_CONTROL))
        .map(|on| on.device)
}

/// Tells that a device is, or is no longer, the relay of a group.
fn tell_relay(call: &Call, device: &Device, group: &Group, is_relay: bool) {
    let (number, verb) = if is_relay { (153, "Is a") } else { (152, "No longer a") };
    let msg = format!("{verb} relay for {}.", group.name);
    call.hub().publish(
        call.device_event("changenode", device)
            .with("node", call.hub().device_document(device))
            .with("msgid", number)
            .with("msgArgs", json!([group.name]))
            .with("msg", msg),
    );
}

/// `editmesh`: whichever members the request has.
pub(super) fn edit(call: &Call, on: OnGroup) -> Answer<'_> {
    let mut group = (*on.group).clone();
    let changes = match apply_edit(call, &mut group) {
        Ok(changes) => changes,
        Err(dup) => return call.result(&format!("Error, invite code \"{dup}\" already in use.")),
    };
    let Some(text) = describe(&on.group.name, &group.name, &changes) else {
        return call.result("ok");
    };
    let commit = call.put(group.clone());
    call.audit(format_args!("changed device group {:?} ({}): {text}", group.name, group.id));
    let numbers: Vec<u32> = changes.iter().map(|change| change.number()).collect();
    let mut event = meshchange(call, &group)
        .with("msgid", 142)
        .with("msgArgs", json!([group.name, numbers]))
        .with("msg", text);
    if group.flags != 0 {
        event = event.with("flags", group.flags);
    }
    if group.consent != 0 {
        event = event.with("consent", group.consent);
    }
    if group.expire_devices != 0 {
        event = event.with("expireDevs", group.expire_devices);
    }
    call.hub().publish(event);
    if group.relay != on.group.relay {
        let device = |id: &Option<NodeId>| call.hub().store.device(id.as_ref()?);
        for (relay, is_relay) in [(&on.group.relay, false), (&group.relay, true)] {
            if let Some(device) = device(relay) {
                tell_relay(call, &device, &group, is_relay);
            }
        }
    }
    call.result("ok").after(commit)
}

/// A `meshchange` event with the members every such event has.
pub(super) fn meshchange(call: &Call, group: &Group) -> Event {
    let target = LinkTarget::Group(group.id.clone());
    let links = group_links(&holders_of(&call.hub().store, group.domain(), &target));
    let event = call
        .group_event("meshchange", group)
        .with("name", group.name.as_str())
        .with("mtype", group.kind.mtype())
        .with("links", links);
    let event = match group.desc.as_str() {
        "" => event,
        desc => event.with("desc", desc),
    };
    let event = match &group.invite {
        Some(invite) => event.with("invite", to_value(&InviteDocument(invite))),
        None => event,
    };
    match &group.relay {
        Some(relay) => event.with("relayid", relay.to_string()),
        None => event,
    }
}

/// What `editmesh` changed; the numbers are those of MeshCentral's translations.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Name,
    Desc,
    Flags,
    Consent,
    Expire,
    Invite,
    Relay,
}

impl Change {
    fn number(self) -> u32 {
        self as u32 + 1
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Desc => "description",
            Self::Flags => "flags",
            Self::Consent => "consent",
            Self::Expire => "auto-remove",
            Self::Invite => "invite code",
            Self::Relay => "device relay",
        }
    }
}

/// One sentence about all changes; `None` if there are none.
fn describe(old_name: &str, name: &str, changes: &[Change]) -> Option<String> {
    let (first, rest) = changes.split_first()?;
    let mut text = match first {
        Change::Name => format!("Device group name changed from \"{old_name}\" to \"{name}\""),
        first => format!("Device group \"{name}\" {} changed", first.noun()),
    };
    for change in rest {
        text.push_str(" and ");
        text.push_str(change.noun());
        text.push_str(" changed");
    }
    Some(text)
}

/// Applies the members of the request that are valid and differ. The error is an invitation code
/// another group has already.
fn apply_edit(call: &Call, group: &mut Group) -> Result<Vec<Change>, String> {
    let request = &call.request;
    let mut changes = Vec::new();
    if let Some(name) = request.text_within("meshname", 1, NAME_MAX) {
        set(&mut group.name, name.to_owned(), Change::Name, &mut changes);
    }
    if let Some(desc) = request.text_within("desc", 0, DESC_MAX) {
        set(&mut group.desc, desc.to_owned(), Change::Desc, &mut changes);
    }
    if let Some(flags) = request.number("flags") {
        set(&mut group.flags, flags, Change::Flags, &mut changes);
    }
    if let Some(consent) = request.number("consent") {
        set(&mut group.consent, consent, Change::Consent, &mut changes);
    }
    if let Some(days) = request.number("expireDevs").filter(|days| *days <= EXPIRE_MAX) {
        set(&mut group.expire_devices, days as u16, Change::Expire, &mut changes);
    }
    // As in MeshCentral a relay is replaced, never added or removed.
    if group.relay.is_some()
        && let Some(relay) = request.text("relayid").and_then(|id| relay_named(call, id))
    {
        set(&mut group.relay, Some(relay.id.clone()), Change::Relay, &mut changes);
    }
    if group.kind == GroupKind::Agent
        && let Some(invite) = request.get("invite").and_then(invitation)
    {
        if let Some(dup) = invite.as_ref().and_then(|invite| used_code(call, group, invite)) {
            return Err(dup);
        }
        set(&mut group.invite, invite, Change::Invite, &mut changes);
    }
    Ok(changes)
}

fn set<T: PartialEq>(field: &mut T, value: T, change: Change, changes: &mut Vec<Change>) {
    if *field != value {
        *field = value;
        changes.push(change);
    }
}

/// `invite`: `"*"` removes the codes, an object sets them; anything else changes nothing.
fn invitation(value: &Value) -> Option<Option<Invite>> {
    if value == "*" {
        return Some(None);
    }
    let codes = value.get("codes")?.as_array()?;
    let flags = u32::try_from(value.get("flags")?.as_u64()?).ok()?;
    let agents = value.get("ag").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let code = |v: &Value| {
        v.as_str().filter(|c| !c.is_empty() && c.chars().count() <= CODE_MAX).map(str::to_owned)
    };
    let codes = codes.iter().map(code).collect::<Option<Vec<_>>>()?;
    let is_some = !codes.is_empty() && codes.len() <= CODES_MAX;
    is_some.then(|| Some(Invite { codes, flags, agents: agents.unwrap_or_default() }))
}

/// A code of `invite` that another group of the domain uses.
fn used_code(call: &Call, group: &Group, invite: &Invite) -> Option<String> {
    let others = call.hub().store.groups(group.domain());
    let others = others.iter().filter(|other| other.id != group.id);
    let taken: Vec<_> = others.filter_map(|other| other.invite.as_ref()).collect();
    let is_taken = |code: &&String| taken.iter().any(|other| other.codes.contains(code));
    invite.codes.iter().find(is_taken).cloned()
}

/// `deletemesh`: with all its devices. The record stays as a tombstone.
pub(super) fn delete(call: &Call, on: OnGroup) -> Answer<'_> {
    let hub = call.hub();
    let group = &on.group;
    let target = LinkTarget::Group(group.id.clone());
    // First the event: afterwards nobody is subscribed to the group any more.
    hub.publish(
        call.group_event("deletemesh", group)
            .with("mtype", group.kind.mtype())
            .with("name", group.name.as_str())
            .with("msgid", 77)
            .with("msgArgs", json!([group.name]))
            .with("msg", format!("Device group deleted: {}", group.name)),
    );
    let mut answer = call.result("ok");
    for user in hub.store.users(group.domain()) {
        if user.link(&target).is_some() {
            let mut user = (*user).clone();
            user.set_link(target.clone(), None);
            answer = answer.after(call.put_user(user.clone()));
            hub.publish(membership_event(call, &user));
        }
    }
    for user_group in hub.store.user_groups(group.domain()) {
        if user_group.link(&target).is_some() {
            let mut user_group = (*user_group).clone();
            user_group.set_link(target.clone(), None);
            answer = answer.after(put_user_group(call, user_group));
        }
    }
    if let Some(device) = group.relay.as_ref().and_then(|id| hub.store.device(id)) {
        tell_relay(call, &device, group, false);
    }
    for device in hub.store.devices(group.domain()) {
        if device.group == group.id {
            call.command_agent(&device, AgentCommand::Disconnect);
            hub.end_amt_tunnels(&device.id, "its device group was deleted");
            answer = answer.after(hub.store.remove(RecordKey::Device(device.id.clone())));
        }
    }
    let tombstone = Group { deleted: Some(hub.now()), invite: None, ..(**group).clone() };
    call.audit(format_args!("deleted device group {:?} ({})", group.name, group.id));
    answer.after(call.put(tombstone))
}

/// The event that an account's links to groups have changed.
pub(super) fn membership_event(call: &Call, user: &User) -> Event {
    call.account_change(user)
        .with("msgid", 78)
        .with("msgArgs", json!([user.name]))
        .with("msg", format!("Device group membership changed: {}", user.name))
}
