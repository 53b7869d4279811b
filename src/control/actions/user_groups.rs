//! User groups: listing, making, editing and deleting them, and their members.
//!
//! Membership is a link of the account; the rights of the members are links of the group. What a
//! group shows as its `links` are both.

use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::hub::documents::{Holders, UserGroupDocument, holders_of, to_value, user_group_links};
use crate::model::{
    Event, EventKind, Key48, LinkTarget, Rights, SiteRights, Target, User, UserGroup, UserGroupId,
    UserId,
};
use crate::store::{Commit, RecordKey};

use super::groups::meshchange;
use super::user_edit::removed_from;
use super::users::{domain_wanted, domains};
use super::{Answer, Call, user_group};

/// Longest name of a user group in characters.
const NAME_MAX: usize = 64;
/// Longest description in characters.
const DESC_MAX: usize = 1024;
/// Most accounts in one request, and the longest name of one in characters.
const MEMBERS_MAX: usize = 1000;
const MEMBER_MAX: usize = 128;

/// `usergroups`: all user groups; only their names for those who do not manage them.
pub(super) fn list(call: &Call) -> Answer<'_> {
    let manages = call.user.site.allows(SiteRights::USER_GROUPS);
    let domains = match manages {
        true => domains(call),
        false => vec![call.user.id.domain.clone()],
    };
    let mut all = Map::new();
    for domain in domains {
        let holders = Holders::of(&call.hub().store, &domain);
        for group in call.hub().store.user_groups(&domain) {
            let members = holders.members_of(&group.id);
            let document = match manages {
                true => to_value(&UserGroupDocument { group: &group, members }),
                false => json!({"name": group.name}),
            };
            all.insert(group.id.to_string(), document);
        }
    }
    let groups = if all.is_empty() { Value::Null } else { all.into() };
    call.reply(json!({"ugroups": groups}))
}

/// `createusergroup`: an empty one, or with `clone` one with the members and rights of another.
pub(super) fn create(call: &Call) -> Answer<'_> {
    let request = &call.request;
    let Some(name) = request.text_within("name", 1, NAME_MAX) else {
        return call.result("Invalid group name");
    };
    if request.get("desc").is_some() && request.text_within("desc", 0, DESC_MAX).is_none() {
        return call.result("Invalid group description");
    }
    let model = match request.get("clone") {
        None => None,
        Some(id) => match id.as_str().map(|id| user_group(call, id)) {
            Some(Ok(group)) => Some(group),
            _ => return call.result("Invalid clone groupid"),
        },
    };
    let domain = match &model {
        Some(model) => Some(model.id.domain.clone()),
        None => domain_wanted(call),
    };
    let Some(domain) = domain else { return call.result("Invalid domain") };
    let mut key = [0; 48];
    if getrandom::fill(&mut key).is_err() {
        return call.result("No randomness");
    }
    let group = UserGroup {
        id: UserGroupId::new(domain, Key48(key)),
        name: name.to_owned(),
        desc: request.text("desc").unwrap_or_default().to_owned(),
        links: model.as_ref().map(|model| model.links.clone()).unwrap_or_default(),
        consent: 0,
        flags: 0,
    };
    let mut answer = Answer::none().after(call.put(group.clone()));
    call.audit(format_args!("made user group {name:?} ({})", group.id));
    let mut changes = Vec::new();
    for user in model.iter().flat_map(|model| members(call, &model.id)) {
        let mut user = (*user).clone();
        user.set_link(LinkTarget::UserGroup(group.id.clone()), Some(Rights::EDIT_GROUP));
        changes.push(membership_change(call, &user));
        answer = answer.after(call.put_user(user));
    }
    let links = links_of(call, &group);
    call.hub().publish(
        group_event(call, "createusergroup", &group)
            .with("links", links.clone())
            .with("msgid", 69)
            .with("msgArgs", json!([name]))
            .with("msg", format!("User group created: {name}")),
    );
    changes.into_iter().for_each(|change| call.hub().publish(change));
    tell_linked(call, &group, 68, "Added", "to");
    let body = json!({"result": "ok", "ugrpid": group.id.to_string(), "links": links});
    answer.and(call.answer(body))
}

/// `deleteusergroup`: its members lose the rights it gave them.
pub(super) fn delete(call: &Call, group: Rc<UserGroup>) -> Answer<'_> {
    let hub = call.hub();
    let body = json!({"result": "ok", "ugrpid": group.id.to_string()});
    let mut answer =
        call.reply(body).after(hub.store.remove(RecordKey::UserGroup(group.id.clone())));
    call.audit(format_args!("deleted user group {:?} ({})", group.name, group.id));
    for user in members(call, &group.id) {
        let mut user = (*user).clone();
        user.set_link(LinkTarget::UserGroup(group.id.clone()), None);
        answer = answer.after(put_member(call, user));
    }
    tell_linked(call, &group, 70, "Removed", "from");
    let mut event = call
        .event("deleteusergroup", EventKind::UserGroup)
        .to(Target::All)
        .to(Target::UserGroup(group.id.clone()))
        .with("ugrpid", group.id.to_string())
        .with("msg", format!("User group deleted: {}", group.name));
    event.domain = group.id.domain.clone();
    hub.publish(event);
    answer
}

/// Tells those who see the device groups and devices a user group is linked to.
fn tell_linked(call: &Call, group: &UserGroup, number: u32, verb: &str, preposition: &str) {
    let hub = call.hub();
    for link in &group.links {
        let (event, kind, name) = match &link.to {
            LinkTarget::Group(id) => {
                let linked = hub.store.group(id).filter(|linked| linked.deleted.is_none());
                let Some(linked) = linked else { continue };
                (meshchange(call, &linked), "device group", linked.name.clone())
            }
            LinkTarget::Device(id) => {
                let Some(device) = hub.store.device(id) else { continue };
                let event = call.device_event("changenode", &device);
                let node = hub.device_document(&device);
                (event.with("node", node), "device", device.name.clone())
            }
            LinkTarget::UserGroup(_) => continue,
        };
        let msg = format!("{verb} user group {} {preposition} {kind} {name}", group.name);
        let mut event = event
            .to(Target::UserGroup(group.id.clone()))
            .with("msgid", number)
            .with("msgArgs", json!([group.name, name]))
            .with("msg", msg);
        event.domain = group.id.domain.clone();
        hub.publish(event);
    }
}

/// `editusergroup`: whichever members the request has. Not answered, as in MeshCentral.
pub(super) fn edit(call: &Call, old: Rc<UserGroup>) -> Answer<'_> {
    let request = &call.request;
    let mut group = (*old).clone();
    let mut changes = Vec::new();
    if let Some(name) = request.text_within("name", 1, NAME_MAX).filter(|name| *name != old.name) {
        changes.push(format!("User group name changed from {:?} to {name:?}", old.name));
        group.name = name.to_owned();
    }
    let mut changed = |what: &str| {
        changes.push(match changes.is_empty() {
            true => format!("User group {:?} {what} changed", old.name),
            false => format!("{what} changed"),
        });
    };
    if let Some(desc) = request.text_within("desc", 0, DESC_MAX).filter(|desc| *desc != old.desc) {
        group.desc = desc.to_owned();
        changed("description");
    }
    if let Some(consent) = request.number("consent").filter(|consent| *consent != old.consent) {
        group.consent = consent;
        changed("consent");
    }
    if let Some(flags) = request.number("flags").filter(|flags| *flags != old.flags) {
        group.flags = flags;
        changed("features");
    }
    if group == *old {
        return Answer::none();
    }
    let msg = changes.join(" and ");
    let commit = call.put(group.clone());
    call.audit(format_args!("{msg} ({})", group.id));
    let mut event = group_change(call, &group).with("consent", group.consent).with("msg", msg);
    if group.flags != 0 {
        event = event.with("flags", group.flags);
    }
    call.hub().publish(event);
    Answer::none().after(commit)
}

/// `addusertousergroup`: several accounts by name.
pub(super) fn add_users(call: &Call, group: Rc<UserGroup>) -> Answer<'_> {
    let names = call.request.texts("usernames", MEMBER_MAX);
    let Some(names) = names.filter(|names| names.len() <= MEMBERS_MAX) else {
        return call.result("Invalid usernames");
    };
    let target = LinkTarget::UserGroup(group.id.clone());
    let (mut answer, mut added, mut unknown) = (Answer::none(), Vec::new(), Vec::new());
    for name in names {
        let id = UserId::parse_in(&group.id.domain, name).ok();
        let Some(user) = id.and_then(|id| call.hub().store.user(&id)) else {
            unknown.push(name);
            continue;
        };
        let mut user = (*user).clone();
        user.set_link(target.clone(), Some(Rights::EDIT_GROUP));
        added.push((user.id.clone(), user.name.clone()));
        answer = answer.after(put_member(call, user));
    }
    if !added.is_empty() {
        let names: Vec<_> = added.iter().map(|(_, name)| name.as_str()).collect();
        let msg = format!("Added user(s) {} to user group {}", names.join(","), group.name);
        call.audit(format_args!("{msg} ({})", group.id));
        let event = group_change(call, &group)
            .with("msgid", 71)
            .with("msgArgs", json!([names, group.name]))
            .with("msg", msg);
        let members = added.iter().map(|(id, _)| Target::User(id.clone()));
        call.hub().publish(members.fold(event, Event::to));
    }
    let body = json!({"result": "ok", "added": added.len(), "failed": unknown.len()});
    answer.and(call.nobody_called(&unknown)).and(call.reply(body))
}

/// `removeuserfromusergroup`: one account.
pub(super) fn remove_user(call: &Call, group: Rc<UserGroup>) -> Answer<'_> {
    let Some(name) = call.request.text_within("userid", 1, UserId::MAX) else {
        return call.result("Invalid userid");
    };
    let id = UserId::parse_in(&group.id.domain, name).ok();
    let target = LinkTarget::UserGroup(group.id.clone());
    let user = id.and_then(|id| call.hub().store.user(&id));
    let Some(user) = user.filter(|user| user.link(&target).is_some()) else {
        // Then it is not in the group: what was asked for.
        return call.result("ok");
    };
    let mut user = (*user).clone();
    user.set_link(target, None);
    let commit = put_member(call, user.clone());
    call.audit(format_args!("removed {} from user group {:?} ({})", user.id, group.name, group.id));
    call.hub().publish(removed_from(call, &user, &group).with("msgid", 72));
    call.result("ok").after(commit)
}

/// The accounts that are members.
fn members(call: &Call, id: &UserGroupId) -> Vec<Rc<User>> {
    let users = call.hub().store.users(&id.domain).into_iter();
    users.filter(|user| user.memberships().any(|membership| membership == id)).collect()
}

/// Stores an account whose membership has changed and tells so.
fn put_member(call: &Call, user: User) -> Commit {
    let event = membership_change(call, &user);
    let commit = call.put_user(user);
    call.hub().publish(event);
    commit
}

fn membership_change(call: &Call, user: &User) -> Event {
    call.account_change(user)
        .with("msgid", 67)
        .with("msgArgs", json!([user.name]))
        .with("msg", format!("User group membership changed: {}", user.name))
}

/// A `usergroupchange` event with the members every such event has.
pub(super) fn group_change(call: &Call, group: &UserGroup) -> Event {
    group_event(call, "usergroupchange", group).with("links", links_of(call, group))
}

/// An event of this user's doing about a user group, to its members and who sees all.
fn group_event(call: &Call, action: &'static str, group: &UserGroup) -> Event {
    let mut event = call
        .event(action, EventKind::UserGroup)
        .to(Target::All)
        .to(Target::UserGroup(group.id.clone()))
        .with("ugrpid", group.id.to_string())
        .with("name", group.name.as_str());
    event.domain = group.id.domain.clone();
    if group.desc.is_empty() { event } else { event.with("desc", group.desc.as_str()) }
}

/// Members and rights of a group as it shows them.
fn links_of(call: &Call, group: &UserGroup) -> Value {
    let target = LinkTarget::UserGroup(group.id.clone());
    user_group_links(group, &holders_of(&call.hub().store, &group.id.domain, &target))
}
