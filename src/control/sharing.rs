//! Device shares as clients see them.
//!
//! The link opens the device: only who made a share is ever shown its `url`.

use serde_json::{Map, Value, json};

use crate::hub::Hub;
use crate::model::{Device, Event, EventKind, Millis, NodeId, Share, Target, UserId};

/// A share with its link.
fn document(share: &Share) -> Map<String, Value> {
    let document = json!({
        "p": share.protocols,
        "publicid": share.public_id,
        "userid": share.user.to_string(),
        "guestName": share.guest_name,
        "consent": share.consent,
        "url": share.url,
    });
    let Value::Object(mut document) = document else { return Map::new() };
    let further = [
        ("port", share.port.map(Value::from)),
        ("startTime", share.start.map(|start| start.0.into())),
        ("expireTime", share.expires.map(|end| end.0.into())),
        ("duration", share.duration.map(Value::from)),
        ("recurring", share.recurring.map(Value::from)),
        ("viewOnly", share.view_only.then_some(Value::Bool(true))),
    ];
    for (name, value) in further {
        if let Some(value) = value {
            document.insert(name.to_owned(), value);
        }
    }
    document
}

/// The shares of a device that are not over, as `viewer` sees them.
pub(super) fn of_device(hub: &Hub, node: &NodeId, viewer: &UserId, now: Millis) -> Value {
    let shares = hub.store.shares();
    let shown = shares.iter().filter(|share| share.node == *node && !share.is_over(now));
    shown.map(|share| Value::Object(shown_to(viewer, share))).collect()
}

/// The shares of several devices, each with its device, as `viewer` sees them.
pub(super) fn of_devices(
    hub: &Hub,
    wanted: impl Fn(&NodeId) -> bool,
    viewer: &UserId,
    now: Millis,
) -> Value {
    let shares = hub.store.shares();
    let shown = shares.iter().filter(|share| wanted(&share.node) && !share.is_over(now));
    shown
        .map(|share| {
            let mut document = shown_to(viewer, share);
            document.insert("nodeid".into(), share.node.to_string().into());
            Value::Object(document)
        })
        .collect()
}

fn shown_to(viewer: &UserId, share: &Share) -> Map<String, Value> {
    let mut document = document(share);
    if share.user != *viewer {
        document.remove("url");
    }
    document
}

/// The event that the shares of a device have changed. It carries every link; [`hide_links`] takes
/// out those that are not for a session.
pub(super) fn update_event(hub: &Hub, device: &Device) -> Event {
    let now = hub.now();
    let shares = hub.store.shares();
    let shown = shares.iter().filter(|share| share.node == device.id && !share.is_over(now));
    let shown: Value = shown.map(|share| Value::Object(document(share))).collect();
    let event = Event::new(UPDATE, device.id.domain.clone())
        .kind(EventKind::Node)
        .node(&device.id)
        .with("deviceShares", shown)
        .to(Target::AccountManagers)
        .transient();
    hub.device_targets(device).into_iter().fold(event, Event::to)
}

/// `action` of that event.
pub(super) const UPDATE: &str = "deviceShareUpdate";

/// Takes the links that `viewer` did not make out of the event.
pub(super) fn hide_links(viewer: &UserId, event: &mut Value) {
    let viewer = viewer.to_string();
    let shares = event.get_mut("deviceShares").and_then(Value::as_array_mut);
    for share in shares.into_iter().flatten().filter_map(Value::as_object_mut) {
        if share.get("userid").and_then(Value::as_str) != Some(&viewer) {
            share.remove("url");
        }
    }
}
