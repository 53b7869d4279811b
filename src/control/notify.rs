//! Whom an event is for: subscriptions of accounts and targets of groups.
//!
//! Source: control-protocol §7.1. A session's subscriptions follow from its account alone; they are
//! recomputed at once when an account changes, so that nobody is told a moment too long.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::hub::{Hub, SessionLink, SessionMessage};
use crate::model::{Group, LinkTarget, SiteRights, Target, User, UserId, order};

/// What the sessions of `user` are subscribed to.
pub(super) fn subscriptions(user: &User) -> BTreeSet<Target> {
    let mut targets: BTreeSet<_> = order::gather([Target::User(user.id.clone()), Target::AllUsers]);
    if user.site.allows(SiteRights::ALL_EVENTS) {
        targets.insert(Target::All);
    }
    if user.site.allows(SiteRights::MANAGE_USERS) {
        if user.realms.is_empty() {
            targets.insert(Target::AccountManagers);
        }
        targets.extend(user.realms.iter().map(|realm| Target::Realm(realm.clone())));
    }
    targets.extend(user.links.iter().map(|link| match &link.to {
        LinkTarget::Group(id) => Target::Group(id.clone()),
        LinkTarget::Device(id) => Target::Device(id.clone()),
        LinkTarget::UserGroup(id) => Target::UserGroup(id.clone()),
    }));
    targets
}

/// Puts a changed account into effect for its sessions; ends those that are no longer good.
pub(super) fn account_changed(hub: &Hub, id: &UserId) {
    let user = hub.store.user(id);
    let targets = user.as_deref().map(subscriptions).unwrap_or_default();
    for session in hub.sessions_of(id) {
        let is_good = |user: &User| {
            !user.site.restricted(SiteRights::LOCKED) && user.is_good_since(session.since.get())
        };
        if user.as_deref().is_some_and(|user| !is_good(user)) {
            end(&session, "Administrator forced disconnection");
            continue;
        }
        *session.subscriptions.borrow_mut() = targets.clone();
        // A session with a full mailbox looks at its account before each request anyway.
        let _ = session.mailbox.push(SessionMessage::AccountChanged);
    }
}

/// Ends all sessions of an account.
pub(super) fn end_sessions(hub: &Hub, id: &UserId, why: &str) {
    hub.sessions_of(id).iter().for_each(|session| end(session, why));
}

fn end(session: &SessionLink, why: &str) {
    // A mailbox that is full has a reader that finds its account gone.
    let _ = session.mailbox.push(SessionMessage::Stop(why.into()));
    session.mailbox.close();
}

/// A notice to a person (`msg` of type `notify`), without its sender.
pub(super) fn notice(text: &str) -> Map<String, Value> {
    let Value::Object(notice) = json!({"action": "msg", "type": "notify", "value": text}) else {
        return Map::new();
    };
    let mut notice = notice;
    // Clients tell notices apart by it; without randomness they tell them apart by nothing.
    let mut random = [0; 4];
    let _ = getrandom::fill(&mut random);
    let id = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
    notice.insert("id".into(), id.into());
    notice
}

/// Sends a text to all sessions of an account; one that does not read misses it.
pub(super) fn send(hub: &Hub, id: &UserId, text: &Rc<str>) {
    for session in hub.sessions_of(id) {
        let _ = session.mailbox.push(SessionMessage::Text(text.clone()));
    }
}

/// Targets of an event about `group`: itself, everyone who sees all, and linked user groups.
pub(super) fn group_targets(hub: &Hub, group: &Group) -> Vec<Target> {
    let mut targets = vec![Target::All, Target::Group(group.id.clone())];
    let on_group = LinkTarget::Group(group.id.clone());
    for user_group in hub.store.user_groups(group.domain()) {
        if user_group.links.iter().any(|link| link.to == on_group) {
            targets.push(Target::UserGroup(user_group.id.clone()));
        }
    }
    targets
}
