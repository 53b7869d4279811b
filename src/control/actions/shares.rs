//! Device shares: listing and removing them.

use serde_json::json;

use crate::config::GuestSharing;
use crate::model::Target;
use crate::store::RecordKey;

use super::super::sharing;
use super::{Answer, Call, OnDevice, OnGroup};

/// Whether people of the user's domain may let guests in. Where they may not, MeshCentral does not
/// answer.
pub(super) fn allowed(call: &Call) -> bool {
    call.hub().config().domain(&call.user.id.domain).guest_sharing != GuestSharing::Forbidden
}

/// `deviceShares`: those of one device.
pub(super) fn of_device(call: &Call, on: OnDevice) -> Answer<'_> {
    if !allowed(call) {
        return Answer::none();
    }
    let id = &on.device.id;
    let shares = sharing::of_device(call.hub(), id, &call.user.id, call.hub().now());
    call.reply(json!({"nodeid": id.to_string(), "deviceShares": shares}))
}

/// `deviceMeshShares`: those of all devices of a group.
pub(super) fn of_group(call: &Call, on: OnGroup) -> Answer<'_> {
    if !allowed(call) {
        return Answer::none();
    }
    let hub = call.hub();
    let in_group = |id: &_| hub.store.device(id).is_some_and(|device| device.group == on.group.id);
    let shares = sharing::of_devices(hub, in_group, &call.user.id, hub.now());
    call.reply(json!({"meshid": on.group.id.to_string(), "deviceShares": shares}))
}

/// `removeDeviceShare`: unlike MeshCentral, one answer.
pub(super) fn remove(call: &Call, on: OnDevice) -> Answer<'_> {
    if !allowed(call) {
        return Answer::none();
    }
    let Some(public_id) = call.request.text_within("publicid", 1, 128) else {
        return call.result("Invalid public id");
    };
    let share = call.hub().store.share(public_id).filter(|share| share.node == on.device.id);
    let Some(share) = share else { return call.result("Invalid device share identifier.") };
    let commit = call.hub().store.remove(RecordKey::Share(share.public_id.clone()));
    call.audit(format_args!(
        "removed the share for {:?} of device {:?} ({})",
        share.guest_name, on.device.name, on.device.id
    ));
    call.hub().publish(
        call.device_event("removedDeviceShare", &on.device)
            .to(Target::AccountManagers)
            .with("publicid", public_id)
            .with("msgid", 102)
            .with("msgArgs", json!([share.guest_name]))
            .with("msg", "Removed Device Share"),
    );
    call.hub().publish(sharing::update_event(call.hub(), &on.device));
    call.result("OK").after(commit)
}
