//! Recordings of sessions.

use serde_json::json;

use crate::relay::recording::listing::LIST_MAX;

use super::{Answer, Call};

/// `recordings`: the recordings of the domain, newest first; nothing if nothing is recorded.
pub(super) fn list(call: &Call) -> Answer<'_> {
    let domain = &call.user.id.domain;
    let recorded = call.hub().config().domain(domain).recording.is_some();
    let Some(recordings) = call.recordings().filter(|_| recorded) else { return Answer::none() };
    let limit = call.request.number("limit").map_or(LIST_MAX, |limit| limit as usize);
    Answer::later(async move {
        match recordings.list(domain, limit).await {
            Ok(events) => call.reply(json!({"events": events})),
            Err(error) => {
                log::warn!("control: recordings: {error}");
                call.reply(json!({"error": 1}))
            }
        }
    })
}
