//! What of an event a subscribed session may see.
//!
//! Source: control-protocol §7.1, "Filters". Being subscribed is not enough: some accounts see their
//! own doings only, and user groups show their members to those who manage user groups.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::hub::{Hub, Published};
use crate::model::rights::Subject;
use crate::model::{Event, EventKind, Millis, Rights, SiteRights, Target, User};

use super::sharing;

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
    if is_reduced_for(user, event) {
        let reduced = reduced(user, event, published.time);
        return Some(json!({"action": "event", "event": reduced}).to_string().into());
    }
    if event.action == sharing::UPDATE {
        let mut event = event.to_json(published.time);
        sharing::hide_links(&user.id, &mut event);
        return Some(json!({"action": "event", "event": event}).to_string().into());
    }
    Some(published.text.as_str().into())
}

/// An event out of history as `user` may see it, if at all.
pub(super) fn shown(
    hub: &Hub,
    user: &User,
    event: &Event,
    time: Millis,
) -> Option<Map<String, Value>> {
    may_see(hub, user, event).then(|| reduced(user, event, time))
}

/// Whether `event` is one an account that sees only its own events may see: one that is about
/// itself or about nobody in particular. Who may see all events sees all.
fn may_see(hub: &Hub, user: &User, event: &Event) -> bool {
    let own = Target::User(user.id.clone());
    let about_others =
        event.targets.iter().any(|t| matches!(t, Target::User(_))) && !event.targets.contains(&own);
    let sees_all = user.site.allows(SiteRights::ALL_EVENTS) && event.targets.contains(&Target::All);
    !about_others || sees_all || !sees_own_events_only(hub, user, event)
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

/// Whether some of the event is not for `user`.
fn is_reduced_for(user: &User, event: &Event) -> bool {
    is_of_hidden_members(user, event) || event.body.contains_key(SHARES)
}

/// Whether the event is of a user group whose other members `user` does not manage.
fn is_of_hidden_members(user: &User, event: &Event) -> bool {
    event.kind == Some(EventKind::UserGroup) && !user.site.allows(SiteRights::USER_GROUPS)
}

/// Member of events about device shares: a list of them.
const SHARES: &str = "deviceShares";

/// The event without what is not for `user`.
fn reduced(user: &User, event: &Event, time: Millis) -> Map<String, Value> {
    let Value::Object(mut shown) = event.to_json(time) else { return Map::new() };
    let own = user.id.to_string();
    if is_of_hidden_members(user, event) {
        const SHOWN: [&str; 7] =
            ["ugrpid", "domain", "time", "name", "action", "username", "links"];
        shown.retain(|name, _| SHOWN.contains(&name.as_str()));
        if let Some(links) = shown.get_mut("links").and_then(Value::as_object_mut) {
            links.retain(|id, _| *id == own || id.starts_with("mesh/") || id.starts_with("node/"));
        }
    }
    // A share's address opens the device: it is for who made the share.
    if let Some(shares) = shown.get_mut(SHARES).and_then(Value::as_array_mut) {
        for share in shares {
            if share.get("userid").and_then(Value::as_str) != Some(&own)
                && let Some(share) = share.as_object_mut()
            {
                share.remove("url");
            }
        }
    }
    shown
}
