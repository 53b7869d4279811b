//! The session itself: keep-alive, cookies, other sessions.

use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use crate::hub::SessionMessage;
use crate::model::ids::mesh_base64;
use crate::model::order;
use crate::model::rights::Authority;

use super::{Answer, Call};

/// `ping`: answered with `pong`, nothing echoed.
pub(super) fn ping(_: &Call) -> Answer<'_> {
    Answer { frames: vec![r#"{"action":"pong"}"#.to_owned()], ..Answer::none() }
}

/// Known, and nothing to do.
pub(super) fn ignore(_: &Call) -> Answer<'_> {
    Answer::none()
}

/// `getmqttlogin`, `sendmqttmsg`: there is no broker.
pub(super) fn no_mqtt(call: &Call) -> Answer<'_> {
    call.result("MQTT not supported on this server")
}

/// `authcookie`: one cookie for this user's tunnels, one for the agent's end of them.
pub(super) fn auth_cookie(call: &Call) -> Answer<'_> {
    let user = call.user.id.to_string();
    let domain = call.user.id.domain.as_str();
    let session = mesh_base64(&call.session().id.nonce[..6]);
    let own = json!({"userid": user, "domainid": domain, "ip": call.remote()});
    let agent = json!({"ruserid": user, "x": session});
    match (call.seal(own), call.seal(agent)) {
        (Some(cookie), Some(rcookie)) => call.reply(json!({"cookie": cookie, "rcookie": rcookie})),
        _ => Answer::none(),
    }
}

/// `logincookie`: logs a browser in; only if the settings allow it.
pub(super) fn login_cookie(call: &Call) -> Answer<'_> {
    if !call.hub().config().settings.allow_login_token {
        return Answer::none();
    }
    let Some(cookie) = call.seal(json!({"u": call.user.id.to_string(), "a": 3})) else {
        return Answer::none();
    };
    call.audit(format_args!("got a cookie that logs a browser in"));
    call.reply(json!({"cookie": cookie}))
}

/// `intersession`: the request goes unchanged to the other sessions of the same user.
pub(super) fn inter_session(call: &Call) -> Answer<'_> {
    let text: std::rc::Rc<str> = Value::Object(call.request.fields.clone()).to_string().into();
    for session in call.hub().sessions_of(&call.user.id) {
        if session.id != call.session().id {
            // A session that does not read misses it, as it would miss an event.
            let _ = session.mailbox.push(SessionMessage::Text(text.clone()));
        }
    }
    Answer::none()
}

/// `wssessioncount`: sessions of each account the user has to do with.
pub(super) fn session_count(call: &Call) -> Answer<'_> {
    #[derive(Serialize)]
    struct Body {
        wssessions: Map<String, Value>,
    }
    let hub = call.hub();
    let mut counts = BTreeMap::<String, u64>::new();
    for session in hub.sessions() {
        let account = hub.store.user(&session.id.user);
        if account.is_some_and(|account| hub.authority(&call.user, &account) >= Authority::See) {
            *counts.entry(session.id.user.to_string()).or_default() += 1;
        }
    }
    let wssessions = order::gather(counts.into_iter().map(|(user, n)| (user, n.into())));
    call.reply(Body { wssessions })
}
