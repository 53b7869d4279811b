//! `meshmessenger`: asks somebody to a chat, the person at a device or another account.
//!
//! Source: relay-and-tunnels §14. Who asks joins the chat by its id; who is asked gets a link to
//! its page. That of a device is opened there by the agent and works once: see
//! [`crate::relay::chat`].

use std::rc::Rc;

use serde_json::{Value, json};

use crate::model::User;
use crate::relay::chat::Chat;

use super::super::notify as people;
use super::{Answer, Call, OnDevice};

/// MeshCentral's number of a request to chat.
pub(super) const REQUEST: u32 = 11;

/// The person at a device.
pub(super) fn at_device(call: &Call, on: OnDevice) -> Answer<'_> {
    let chat = Chat::AtDevice(on.device.id.clone(), call.user.id.clone());
    let Some(token) = call.relay().call_to_chat(&chat) else {
        return call.result("No random numbers");
    };
    let message = json!({
        "action": "openUrl",
        "url": call.url(&format!("messenger?id={}&c={token}", chat.encoded())),
        "userid": call.user.id.to_string(),
        "username": call.user.name,
        // Where the agent says whether there was a screen to open it on.
        "sessionid": call.session().id.to_string(),
    });
    if !call.send_to_agent(&on.device, &message) {
        return call.result("Agent not connected");
    }
    call.audit(format_args!(
        "asked the person at device {:?} ({}) to a chat",
        on.device.name, on.device.id
    ));
    call.result("OK")
}

/// Another account, in all its sessions.
pub(super) fn with_account(call: &Call, account: Rc<User>) -> Answer<'_> {
    let (asked, own) = (&account.id, &call.user.id);
    let chat = Chat::Between(asked.clone(), own.clone());
    // One talks to others, in one's own domain.
    if asked == own || asked.domain != own.domain {
        return call.result("Invalid userid");
    }
    let sessions = call.hub().sessions_of(asked);
    if sessions.is_empty() {
        return call.result("User not connected");
    }
    let mut notice = people::notice("Chat Request, Click here to accept.");
    notice.insert("title".into(), call.user.name.as_str().into());
    notice.insert("userid".into(), own.to_string().into());
    notice.insert("username".into(), call.user.name.as_str().into());
    notice.insert("tag".into(), chat.encoded().into());
    notice.insert("msgid".into(), REQUEST.into());
    people::send(call.hub(), asked, &Value::Object(notice).to_string().into());
    call.audit(format_args!("asked {asked} to a chat"));
    call.result("OK")
}
