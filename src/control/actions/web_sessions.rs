//! The browser sessions of one's own account: which there are, and ending one of them. Actions of our
//! own; ending all others is `logoutall`.

use std::time::Instant;

use serde_json::json;

use super::super::auth::Method;
use super::{Answer, Call};

/// `websessions`: `sessions`, oldest first. Times are milliseconds since 1970 (`since`) and seconds
/// (`unused`).
pub(super) fn list(call: &Call) -> Answer<'_> {
    let own = match &call.login().method {
        Method::Browser { session } => Some(session),
        _ => None,
    };
    let now = Instant::now();
    let sessions: Vec<_> = call
        .browser()
        .sessions_of(&call.user)
        .into_iter()
        .map(|session| {
            json!({
                "id": session.id,
                "ip": session.remote.to_string(),
                "agent": session.agent,
                "since": session.since,
                "unused": session.unused_for(now).as_secs(),
                "token": session.token,
                "current": Some(&session.id) == own,
            })
        })
        .collect();
    call.reply(json!({"sessions": sessions}))
}

/// `endwebsession`: ends the session `id` of this account and its WebSockets.
pub(super) fn end(call: &Call) -> Answer<'_> {
    let Some(id) = call.request.text_within("id", 1, 32) else { return call.result("Invalid id") };
    let sessions = call.browser().sessions_of(&call.user);
    if !sessions.iter().any(|session| *session.id == *id) {
        return call.result("Invalid id");
    }
    call.browser().end(id);
    call.audit(format_args!("ended its browser session {id}"));
    call.result("ok")
}
