//! Device groups: listing, making, editing and deleting them.

use serde::Serialize;
use serde_json::{Value, json};

use crate::hub::AgentCommand;
use crate::model::record::Invite;
use crate::model::rights::Subject;
use crate::model::{EventKind, Group, GroupId, GroupKind, Key48, LinkTarget, Rights, Target, User};
use crate::store::RecordKey;

use super::{Answer, Call, OnGroup};
use crate::hub::documents::{
    AccountDocument, GroupDocument, Holders, InviteDocument, group_links, holders_of, to_value,
};

/// Longest name of a group in characters.
const NAME_MAX: usize = 128;
/// Longest description in characters.
const DESC_MAX: usize = 1024;
/// Most days after which a device that never came back is removed.
const EXPIRE_MAX: u32 = 2000;
/// Most invitation codes of a group, and the longest of them in characters.
const CODES_MAX: usize = 32;
const CODE_MAX: usize = 64;

/// `meshes`: all groups the user has a right on.
pub(super) fn list(call: &Call) -> Answer<'_> {
    #[derive(Serialize)]
    struct Body<'a> {
        meshes: Vec<GroupDocument<'a>>,
    }
    let domain = &call.user.id.domain;
    let (groups, holders) =
        (call.hub().store.groups(domain), Holders::of(&call.hub().store, domain));
    let visible = groups
        .iter()
        .filter(|group| !call.hub().rights(&call.user, Subject::Group(&group.id)).is_empty());
    let meshes = visible.map(|group| document(group, &holders)).collect();
    call.reply(Body { meshes })
}

fn document<'a>(group: &'a Group, holders: &'a Holders) -> GroupDocument<'a> {
    GroupDocument { group, holders: holders.on_group(&group.id) }
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
    if matches!(kind, GroupKind::Local | GroupKind::IpKvm) && !has_lan(call) {
        return call.result("Invalid group type");
    }
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
        ..Group::new(id.clone(), name, kind, call.hub().now())
    };
    let mut user = (*call.user).clone();
    user.set_link(LinkTarget::Group(id.clone()), Some(Rights::FULL));

    let group_commit = call.put(group.clone());
    let user_commit = call.put_user(user.clone());
    call.audit(format_args!("made device group {name:?} ({id})"));
    let account = to_value(&AccountDocument(&user));
    call.hub()
        .publish(call.account_event("accountchange", &user).with("account", account).transient());
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
    call.answer(json!({"result": "ok", "meshid": id.to_string(), "links": links}))
        .after(group_commit)
        .after(user_commit)
}

fn has_lan(call: &Call) -> bool {
    call.hub().config().settings.reach != crate::config::Reach::Wan
}

/// `editmesh`: whichever members the request has.
pub(super) fn edit(call: &Call, on: OnGroup) -> Answer<'_> {
    let mut group = (*on.group).clone();
    let changes = match apply_edit(call, &mut group) {
        Ok(changes) => changes,
        Err(dup) => return call.result(&format!("Error, invite code \"{dup}\" already in use.")),
    };
    let Some(text) = describe(&group, &changes) else { return call.result("ok") };
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
    call.result("ok").after(commit)
}

/// A `meshchange` event with the members every such event has.
pub(super) fn meshchange(call: &Call, group: &Group) -> crate::model::Event {
    let target = LinkTarget::Group(group.id.clone());
    let links = group_links(&holders_of(&call.hub().store, group.domain(), &target));
    let event = call
        .group_event("meshchange", group)
        .with("name", group.name.as_str())
        .with("mtype", group.kind.mtype())
        .with("desc", group.desc.as_str())
        .with("links", links);
    match &group.invite {
        Some(invite) => event.with("invite", to_value(&InviteDocument(invite))),
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
        }
    }
}

/// One sentence about all changes; `None` if there are none.
fn describe(group: &Group, changes: &[Change]) -> Option<String> {
    let (first, rest) = changes.split_first()?;
    let mut text = format!("Device group \"{}\" {} changed", group.name, first.noun());
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
        if user_group.links.iter().any(|link| link.to == target) {
            let mut user_group = (*user_group).clone();
            user_group.links.retain(|link| link.to != target);
            answer = answer.after(call.put(user_group));
        }
    }
    for device in hub.store.devices(group.domain()) {
        if device.group == group.id {
            call.command_agent(&device, AgentCommand::Disconnect);
            answer = answer.after(hub.store.remove(RecordKey::Device(device.id.clone())));
        }
    }
    let tombstone = Group { deleted: Some(hub.now()), invite: None, ..(**group).clone() };
    call.audit(format_args!("deleted device group {:?} ({})", group.name, group.id));
    answer.after(call.put(tombstone))
}

/// The event that an account's links to groups have changed.
pub(super) fn membership_event(call: &Call, user: &User) -> crate::model::Event {
    call.event("accountchange", EventKind::User)
        .to(Target::All)
        .to(Target::AccountManagers)
        .to(Target::User(user.id.clone()))
        .with("account", to_value(&AccountDocument(user)))
        .with("msgid", 78)
        .with("msgArgs", json!([user.name]))
        .with("msg", format!("Device group membership changed: {}", user.name))
}
