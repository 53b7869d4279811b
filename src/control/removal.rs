//! Removing a device with everything that hangs on it, whoever's doing it is.

use serde_json::json;

use crate::hub::documents::{AccountDocument, holders_of, to_value, user_group_links};
use crate::hub::{AgentCommand, Hub};
use crate::model::{Device, Event, EventKind, LinkTarget, Target, User, UserGroup, UserId};
use crate::store::{Commit, RecordKey};

use super::notify;

/// Removes `device`, everybody's rights on it, its shares and notes (see [`RecordKey::Device`]), and
/// sends its agent away. `by` is whose doing it is; nobody's if the server does it.
///
/// An agent that is still installed comes back as a new device.
pub(super) fn remove_device(hub: &Hub, device: &Device, by: Option<&UserId>) -> Vec<Commit> {
    let group = hub.store.group(&device.group).map(|group| group.name.clone()).unwrap_or_default();
    // First the event: afterwards those who could see the device are not subscribed to it any more.
    let event = event("removenode", EventKind::Node, device, by).node(&device.id);
    let event = hub.device_targets(device).into_iter().fold(event, Event::to);
    let event = event
        .with("msgid", 87)
        .with("msgArgs", json!([device.name, group]))
        .with("msg", format!("Removed device {} from device group {group}", device.name));
    let mut commits = Vec::new();
    let target = LinkTarget::Device(device.id.clone());
    for user in hub.store.users(&device.id.domain) {
        if user.link(&target).is_some() {
            let mut user = (*user).clone();
            user.set_link(target.clone(), None);
            commits.push(hub.store.put(user.clone()));
            notify::account_changed(hub, &user.id);
            hub.publish(rights_event(hub, device, by, &user));
        }
    }
    for user_group in hub.store.user_groups(&device.id.domain) {
        if user_group.link(&target).is_some() {
            let mut user_group = (*user_group).clone();
            user_group.set_link(target.clone(), None);
            commits.push(hub.store.put(user_group.clone()));
            hub.publish(group_event(hub, device, by, &user_group));
        }
    }
    hub.end_amt_tunnels(&device.id, "the device was removed");
    commits.push(hub.store.remove(RecordKey::Device(device.id.clone())));
    if let Some(agent) = hub.agent(&device.id) {
        let _ = agent.mailbox.push(AgentCommand::Disconnect);
    }
    hub.publish(event);
    commits
}

fn event(action: &'static str, kind: EventKind, device: &Device, by: Option<&UserId>) -> Event {
    let event = Event::new(action, device.id.domain.clone()).kind(kind);
    match by {
        Some(user) => event.actor(user),
        None => event,
    }
}

/// The event that an account has lost its right on the device.
fn rights_event(hub: &Hub, device: &Device, by: Option<&UserId>, user: &User) -> Event {
    let event = event("accountchange", EventKind::User, device, by);
    let event = hub.account_targets(user).into_iter().fold(event, Event::to);
    event
        .to(Target::User(user.id.clone()))
        .with("account", to_value(&AccountDocument(user)))
        .with("nodeListChange", user.id.to_string())
        .with("msgid", 86)
        .with("msgArgs", json!([user.name]))
        .with("msg", format!("Removed user device rights for {}", user.name))
}

/// The event that a user group has lost its right on the device.
fn group_event(hub: &Hub, device: &Device, by: Option<&UserId>, group: &UserGroup) -> Event {
    let members = LinkTarget::UserGroup(group.id.clone());
    let members = holders_of(&hub.store, &group.id.domain, &members);
    let event = event("usergroupchange", EventKind::UserGroup, device, by)
        .to(Target::All)
        .to(Target::UserGroup(group.id.clone()))
        .with("ugrpid", group.id.to_string())
        .with("name", group.name.as_str())
        .with("links", user_group_links(group, &members))
        .with("msgid", 79)
        .with("msgArgs", json!([group.name]))
        .with("msg", format!("User group changed: {}", group.name));
    if group.desc.is_empty() { event } else { event.with("desc", group.desc.as_str()) }
}
