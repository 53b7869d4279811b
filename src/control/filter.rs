//! What of an event a subscribed session may see.
//!
//! Source: control-protocol §7.1, "Filters". Being subscribed is not enough: some accounts see their
//! own doings only, and user groups show their members to those who manage user groups.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::hub::{Hub, Published};
use crate::model::rights::Subject;
use crate::model::{Event, EventKind, Rights, SiteRights, Target, User};

/// The text to send to a session of `user`, or `None` if it may not see the event.
pub(super) fn text_for<'a>(
    hub: &Hub,
    user: &User,
    published: &'a Published,
) -> Option<Cow<'a, str>> {
    let event = &published.event;
    if !may_see(hub, user, event) {
        return None;
    }
    if event.kind == Some(EventKind::UserGroup) && !user.site.allows(SiteRights::USER_GROUPS) {
        let reduced = reduced_user_group(user, event.to_json(published.time));
        return Some(json!({"action": "event", "event": reduced}).to_string().into());
    }
    Some(published.text.as_str().into())
}

/// Whether `event`, live or out of history, is one an account that sees only its own events may
/// see: one that is about itself or about nobody in particular.
pub(super) fn may_see(hub: &Hub, user: &User, event: &Event) -> bool {
    let own = Target::User(user.id.clone());
    let about_others =
        event.targets.iter().any(|t| matches!(t, Target::User(_))) && !event.targets.contains(&own);
    !(about_others && sees_own_events_only(hub, user, event))
}

fn sees_own_events_only(hub: &Hub, user: &User, event: &Event) -> bool {
    event.targets.iter().any(|target| {
        let rights = match target {
            Target::Group(id) => hub.rights(user, Subject::Group(id)),
            Target::Device(id) => match hub.store.device(id) {
                Some(device) => hub.rights_on_device(user, &device),
                None => return false,
            },
            _ => return false,
        };
        rights.restricted(Rights::OWN_EVENTS)
    })
}

/// A user group event for those who do not manage user groups: no other members.
fn reduced_user_group(user: &User, event: Value) -> Map<String, Value> {
    let Value::Object(mut event) = event else { return Map::new() };
    const SHOWN: [&str; 8] =
        ["etype", "ugrpid", "domain", "time", "name", "action", "username", "links"];
    event.retain(|name, _| SHOWN.contains(&name.as_str()));
    if let Some(links) = event.get_mut("links").and_then(Value::as_object_mut) {
        let own = user.id.to_string();
        links.retain(|id, _| *id == own || id.starts_with("mesh/") || id.starts_with("node/"));
    }
    event
}
