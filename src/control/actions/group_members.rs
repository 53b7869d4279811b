//! Who has which right on a device group: accounts and user groups.

use std::rc::Rc;

use serde_json::json;

use crate::model::record::Link;
use crate::model::{Event, LinkTarget, Rights, Target, User, UserGroup, UserGroupId, UserId};
use crate::store::Commit;

use super::groups::{membership_event, meshchange};
use super::user_groups::group_change;
use super::{Answer, Call, OnGroup};

/// Longest list of accounts in one request.
const USERS_MAX: usize = 1000;

/// `addmeshuser`: gives (or with `remove` takes) rights to several accounts or user groups. The
/// answer is one text for each.
pub(super) fn add(call: &Call, on: OnGroup) -> Answer<'_> {
    let Some(rights) = call.request.number("meshadmin").map(Rights::from_bits_retain) else {
        return call.result("Invalid group rights");
    };
    let Some(names) = holders_named(call) else { return call.result("Invalid usernames") };
    let (mut texts, mut commits, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        match change(call, &on, &name, rights) {
            Changed::Done(text, commit) => {
                texts.push(text);
                commits.push(commit);
            }
            Changed::Unknown(name) => {
                texts.push(format!("Unknown user {name}"));
                unknown.push(name);
            }
            Changed::Nobody => {}
            Changed::Refused(text) => texts.push(text.to_owned()),
        }
    }
    if commits.is_empty() && unknown.is_empty() {
        texts.push("Nothing done".to_owned());
    }
    let unknown: Vec<_> = unknown.iter().map(String::as_str).collect();
    let body = json!({"result": texts.join(", "), "success": commits.len(),
        "failed": unknown.len()});
    let answer = call.nobody_called(&unknown).and(call.reply(body));
    commits.into_iter().fold(answer, Answer::after)
}

/// Who a request names as one to have rights.
pub(super) enum Named {
    /// By id.
    Id(String),
    /// By its bare name; names nobody has are passed over, as in MeshCentral.
    Name(String),
}

/// `userid`, `userids` or `usernames`; `None` if there is none of them.
pub(super) fn holders_named(call: &Call) -> Option<Vec<Named>> {
    let request = &call.request;
    if let Some(id) = request.text_within("userid", 1, 1024) {
        return Some(vec![Named::Id(id.to_owned())]);
    }
    let named = match request.texts("userids", 1024) {
        Some(ids) => ids.into_iter().map(|id| Named::Id(id.to_owned())).collect::<Vec<_>>(),
        None => {
            let names = request.texts("usernames", UserId::MAX)?;
            names.into_iter().map(|name| Named::Name(name.to_owned())).collect()
        }
    };
    (named.len() <= USERS_MAX).then_some(named)
}

/// Who may have a right on a group or device: an account, or the members of a user group.
#[derive(Clone)]
pub(super) enum Holder {
    User(Rc<User>),
    UserGroup(Rc<UserGroup>),
}

impl Holder {
    /// Who is meant, in the user's domain.
    pub(super) fn find(call: &Call, named: &Named) -> Option<Self> {
        let (store, domain) = (&call.hub().store, &call.user.id.domain);
        let (Named::Id(text) | Named::Name(text)) = named;
        if text.starts_with("ugrp/") {
            let id = UserGroupId::parse_in(domain, text).ok()?;
            return store.user_group(&id).map(Self::UserGroup);
        }
        store.user(&UserId::parse_in(domain, text).ok()?).map(Self::User)
    }

    pub(super) fn id(&self) -> String {
        match self {
            Self::User(user) => user.id.to_string(),
            Self::UserGroup(group) => group.id.to_string(),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::User(user) => &user.name,
            Self::UserGroup(group) => &group.name,
        }
    }

    /// Its sessions, or those of its members.
    pub(super) fn target(&self) -> Target {
        match self {
            Self::User(user) => Target::User(user.id.clone()),
            Self::UserGroup(group) => Target::UserGroup(group.id.clone()),
        }
    }

    /// What it is, in events.
    fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::UserGroup(_) => "user group",
        }
    }

    fn link(&self, target: &LinkTarget) -> Option<&Link> {
        match self {
            Self::User(user) => user.link(target),
            Self::UserGroup(group) => group.link(target),
        }
    }

    /// Sets its right on `target`, or removes the link, and puts that into effect. `tell` makes
    /// the event about an account; user groups have one of their own.
    pub(super) fn set_link(
        &self,
        call: &Call,
        target: LinkTarget,
        rights: Option<Rights>,
        tell: impl FnOnce(&User) -> Event,
    ) -> Commit {
        match self {
            Self::User(user) => {
                let mut user = (**user).clone();
                user.set_link(target, rights);
                let event = tell(&user);
                let commit = call.put_user(user);
                call.hub().publish(event);
                commit
            }
            Self::UserGroup(group) => {
                let mut group = (**group).clone();
                group.set_link(target, rights);
                put_user_group(call, group)
            }
        }
    }
}

/// Stores a user group whose rights have changed, and tells so.
pub(super) fn put_user_group(call: &Call, group: UserGroup) -> Commit {
    let commit = call.put(group.clone());
    call.hub().publish(
        group_change(call, &group)
            .with("msgid", 79)
            .with("msgArgs", json!([group.name]))
            .with("msg", format!("User group changed: {}", group.name)),
    );
    commit
}

enum Changed {
    Done(String, Commit),
    /// There is nobody of that id.
    Unknown(String),
    /// There is nobody of that name.
    Nobody,
    Refused(&'static str),
}

fn change(call: &Call, on: &OnGroup, named: &Named, rights: Rights) -> Changed {
    let Some(holder) = Holder::find(call, named) else {
        return match named {
            Named::Id(id) => Changed::Unknown(last_part(id).to_owned()),
            Named::Name(_) => Changed::Nobody,
        };
    };
    let id = holder.id();
    if id == call.user.id.to_string() {
        return Changed::Refused("Can't change self");
    }
    let target = LinkTarget::Group(on.group.id.clone());
    let is_full = holder.link(&target).is_some_and(|link| link.rights.is_full());
    if is_full && !on.rights.is_full() {
        return Changed::Refused("Can't change rights of device group administrator");
    }
    let remove = call.request.is_true("remove");
    if !remove && rights.is_full() && !on.rights.is_full() {
        return Changed::Refused("Can't set device group administrator, if not administrator");
    }
    let (verb, preposition) = if remove { ("Removed", "from") } else { ("Added", "to") };
    let kind = holder.kind();
    let msg =
        format!("{verb} {kind} {} {preposition} device group {}", holder.name(), on.group.name);
    call.audit(format_args!("{msg} ({}), rights {:#x}", on.group.id, rights.bits()));
    let commit = put(call, on, &holder, (!remove).then_some(rights), msg, None);
    Changed::Done(format!("{verb} user {}", last_part(&id)), commit)
}

fn last_part(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or_default()
}

/// Sets or takes a right on the group and tells everybody concerned.
fn put(
    call: &Call,
    on: &OnGroup,
    holder: &Holder,
    rights: Option<Rights>,
    msg: String,
    number: Option<u32>,
) -> Commit {
    let target = LinkTarget::Group(on.group.id.clone());
    let commit = holder.set_link(call, target, rights, |user| membership_event(call, user));
    let mut event = meshchange(call, &on.group).to(holder.target()).with("msg", msg);
    if let Some(number) = number {
        event = event.with("msgid", number).with("msgArgs", json!([holder.name(), on.group.name]));
    }
    call.hub().publish(event);
    commit
}

/// `removemeshuser`: takes the rights of one account or user group on the group.
pub(super) fn remove(call: &Call, on: OnGroup) -> Answer<'_> {
    let Some(id) = call.request.text_within("userid", 1, 1024) else {
        return call.result("Invalid userid");
    };
    let domain = &call.user.id.domain;
    let is_group = UserGroupId::parse_in(domain, id).is_ok() && id.contains('/');
    match UserId::parse_in(domain, id) {
        Ok(id) if id == call.user.id => return call.result("Can't remove self"),
        Err(_) if !is_group => return call.result("Invalid userid"),
        _ => {}
    }
    let target = LinkTarget::Group(on.group.id.clone());
    let holder = Holder::find(call, &Named::Id(id.to_owned()));
    let Some((holder, rights)) = holder.and_then(|holder| {
        let rights = holder.link(&target)?.rights;
        Some((holder, rights))
    }) else {
        return call.result("User not in group");
    };
    if rights.is_full() && !on.rights.is_full() {
        // MeshCentral says nothing here and leaves the client waiting.
        return call.result("Permission denied");
    }
    let (kind, name) = (holder.kind(), holder.name());
    let msg = format!("Removed {kind} {name} from device group {}", on.group.name);
    call.audit(format_args!("{msg} ({})", on.group.id));
    let commit = put(call, &on, &holder, None, msg, Some(83));
    call.result("ok").after(commit)
}
