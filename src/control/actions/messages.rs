//! Messages between people: broadcasts, notices, data between sessions.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::config::InterUser;
use crate::hub::SessionMessage;
use crate::model::rights::Authority;
use crate::model::{SessionId, User, UserId};

use super::super::notify as people;
use super::{Answer, Call, chat};

/// Longest broadcast and notice in characters.
const BROADCAST_MAX: usize = 512;
const NOTICE_MAX: usize = 4096;
/// Longest address a notice leads to, in characters.
const URL_MAX: usize = 2048;

/// `userbroadcast`: a notice in all sessions of the domain, or of those linked to `target`, or of
/// one account; as far as the user manages their accounts.
pub(super) fn broadcast(call: &Call) -> Answer<'_> {
    let Some(text) = call.request.text_within("msg", 1, BROADCAST_MAX) else {
        return call.result("Message is too long");
    };
    let hub = call.hub();
    let mut notice = people::notice(text);
    notice.insert("domain".into(), call.user.id.domain.as_str().into());
    notice.insert("title".into(), call.user.name.as_str().into());
    notice.insert("icon".into(), 0.into());
    notice.insert("tag".into(), "broadcast".into());
    if let Some(time) = max_time(call) {
        notice.insert("maxtime".into(), time.clone());
    }
    let notice: Rc<str> = Value::Object(notice).to_string().into();
    for user in hub.store.users(&call.user.id.domain) {
        if is_meant(call, &user) && hub.authority(&call.user, &user) >= Authority::See {
            people::send(hub, &user.id, &notice);
        }
    }
    call.audit(format_args!("told everybody {text:?}"));
    call.result("ok")
}

/// Whether `userid` and `target` of a broadcast include an account.
fn is_meant(call: &Call, user: &User) -> bool {
    let named = |id: &str| id == user.id.name() || id == user.id.to_string();
    let linked = |target: &str| user.links.iter().any(|link| link.to.to_string() == target);
    // A filter of another kind than text is met by nobody.
    let meets = |name: &str, filter: &dyn Fn(&str) -> bool| match call.request.get(name) {
        None => true,
        Some(value) => value.as_str().is_some_and(filter),
    };
    meets("userid", &named) && meets("target", &linked)
}

/// `maxtime`: seconds a notice is shown.
fn max_time(call: &Call) -> Option<&Value> {
    call.request.get("maxtime").filter(|time| time.as_f64().is_some_and(|seconds| seconds > 0.0))
}

/// `notifyuser`: a notice in the sessions of one account.
pub(super) fn notify(call: &Call, user: Rc<User>) -> Answer<'_> {
    let request = &call.request;
    let Some(text) = request.text_within("msg", 1, NOTICE_MAX) else { return Answer::none() };
    let is_chat = request.number("msgid") == Some(chat::REQUEST);
    let mut notice =
        people::notice(if is_chat { "Chat Request, Click here to accept." } else { text });
    notice.insert("title".into(), call.user.name.as_str().into());
    notice.insert("icon".into(), 8.into());
    notice.insert("userid".into(), call.user.id.to_string().into());
    notice.insert("username".into(), call.user.name.as_str().into());
    // It is opened with a click: nothing but pages.
    let is_page = |url: &&str| ["https://", "http://", "/"].iter().any(|s| url.starts_with(s));
    if let Some(url) = request.text_within("url", 1, URL_MAX).filter(is_page) {
        notice.insert("url".into(), url.into());
    }
    if let Some(time) = max_time(call) {
        notice.insert("maxtime".into(), time.clone());
    }
    if is_chat {
        notice.insert("msgid".into(), chat::REQUEST.into());
    }
    people::send(call.hub(), &user.id, &Value::Object(notice).to_string().into());
    call.audit(format_args!("told {} {text:?}", user.id));
    Answer::none()
}

/// `interuser`: data for the sessions of another account, or for one of them, where the setting
/// `interUserMessaging` allows it. Not answered, as in MeshCentral.
pub(super) fn inter_user(call: &Call) -> Answer<'_> {
    let request = &call.request;
    let Some(data) = request.get("data") else { return Answer::none() };
    let session = request.text("sessionid").map(str::parse::<SessionId>);
    let to = match (&session, request.text("userid")) {
        (Some(Ok(session)), _) => Some(session.user.clone()),
        (Some(Err(_)), _) | (None, None) => None,
        (None, Some(id)) => UserId::parse_in(&call.user.id.domain, id).ok(),
    };
    let Some(to) = to.filter(|to| to.domain == call.user.id.domain) else { return Answer::none() };
    let is_allowed = match &call.hub().config().settings.inter_user_messaging {
        InterUser::Off => false,
        InterUser::Everybody => true,
        InterUser::Listed(list) => list.contains(&call.user.id) || list.contains(&to),
    };
    if !is_allowed {
        return Answer::none();
    }
    let own = &call.session().id;
    let scope = if session.is_some() { "session" } else { "user" };
    let message = json!({"action": "interuser", "sessionid": own.to_string(), "data": data,
        "scope": scope});
    let message: Rc<str> = message.to_string().into();
    for other in call.hub().sessions_of(&to) {
        let is_meant = match &session {
            Some(Ok(id)) => other.id == *id,
            _ => true,
        };
        if is_meant && other.id != *own {
            // A session that does not read misses it, as it would miss an event.
            let _ = other.mailbox.push(SessionMessage::Text(message.clone()));
        }
    }
    Answer::none()
}

/// `emailuser`, without a mail service.
pub(super) fn no_mail(call: &Call) -> Answer<'_> {
    call.notice("Email server not enabled", json!({}))
}

/// `smsuser`, without an SMS service.
pub(super) fn no_sms(call: &Call) -> Answer<'_> {
    call.notice("SMS gateway not enabled", json!({}))
}

/// `msguser`, without a messaging service.
pub(super) fn no_messaging(call: &Call) -> Answer<'_> {
    call.notice("Messaging server not enabled", json!({}))
}
