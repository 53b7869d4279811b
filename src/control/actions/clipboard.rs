//! The clipboard of a device, as far as the domain lets people at it. The agent's answer comes back
//! as a message of its own.

use serde_json::json;

use super::{Answer, Call, OnDevice};

/// Longest text in characters.
const TEXT_MAX: usize = 65_535;

/// `getClip`.
pub(super) fn get(call: &Call, on: OnDevice) -> Answer<'_> {
    let forbidden = call.hub().config().domain(&call.user.id.domain).no_clipboard_get;
    if !forbidden && call.send_to_agent(&on.device, &json!({"action": "getClip"})) {
        call.audit(format_args!("read the clipboard of {:?} ({})", on.device.name, on.device.id));
    }
    Answer::none()
}

/// `setClip`.
pub(super) fn set(call: &Call, on: OnDevice) -> Answer<'_> {
    let forbidden = call.hub().config().domain(&call.user.id.domain).no_clipboard_set;
    let Some(text) = call.request.text_within("data", 1, TEXT_MAX) else {
        return Answer::none();
    };
    let message = json!({"action": "setClip", "data": text});
    if !forbidden && call.send_to_agent(&on.device, &message) {
        call.audit(format_args!("set the clipboard of {:?} ({})", on.device.name, on.device.id));
    }
    Answer::none()
}
