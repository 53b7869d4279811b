//! What was: events, connections, power.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::model::{NodeId, Rights, Target, order};
use crate::store::{EventQuery, PastEvent, PowerChange};

use super::super::filter;
use super::{Answer, Call, OnDevice, visible_account, visible_device};

/// Most events in an answer.
const EVENTS_MAX: usize = 10_000;
/// Bytes of text after which an answer takes no further event: older ones are left out.
const EVENTS_TEXT_MAX: usize = 2 << 20;
/// Most logins in an answer.
const LOGINS_MAX: usize = 200;
/// Events that may be asked for by kind.
const FILTERS: [&str; 7] =
    ["agentlog", "batchupload", "changenode", "manual", "relaylog", "removenode", "runcommands"];
/// A power state that lasted shorter than this is left out, in milliseconds.
const BLINK: u64 = 120_000;

/// `lastconnect`: when and from where the device was last seen.
pub(super) fn last_connect(call: &Call, on: OnDevice) -> Answer<'_> {
    match call.hub().store.last_seen(&on.device.id) {
        Some(seen) => call.reply(json!({
            "nodeid": on.device.id.to_string(), "time": seen.time, "addr": seen.addr,
        })),
        None => call.no_info("No data"),
    }
}

/// `lastconnects`: when each visible device was last seen.
pub(super) fn last_connects(call: &Call) -> Answer<'_> {
    let hub = call.hub();
    let devices = hub.store.devices(&call.user.id.domain);
    let visible = devices.iter().filter(|d| !hub.rights_on_device(&call.user, d).is_empty());
    let seen: Map<String, Value> = order::gather(
        visible.filter_map(|d| Some((d.id.to_string(), json!(hub.store.last_seen(&d.id)?.time)))),
    );
    call.reply(json!({"lastconnects": seen}))
}

/// `powertimeline`: changes of power, the first three numbers absolute, then pairs.
pub(super) fn power(call: &Call, on: OnDevice) -> Answer<'_> {
    Answer::later(async move {
        let changes = call.hub().store.power(&on.device.id).await;
        let mut line = timeline(&changes);
        if line.is_empty() {
            let power = u64::from(call.hub().connectivity(&on.device.id).power);
            line = vec![power, call.hub().now().0, power];
        }
        call.reply(json!({"nodeid": on.device.id.to_string(), "timeline": line}))
    })
}

/// `[power before, time in s, power, seconds since, power, seconds since, power, …]`.
fn timeline(changes: &[PowerChange]) -> Vec<u64> {
    let mut line = Vec::new();
    let mut last = None;
    for (i, change) in changes.iter().enumerate() {
        let next = changes.get(i + 1);
        if next.is_some_and(|next| next.time.0.saturating_sub(change.time.0) < BLINK) {
            continue;
        }
        let time = change.time.seconds().0;
        match last {
            None => line.extend([0, time, change.power.into()]),
            Some(before) => {
                line.extend([time.saturating_sub(before), change.power.into()]);
            }
        }
        last = Some(time);
    }
    line
}

/// `events`: history, newest first: of one account, of one device, or of everything the session is
/// subscribed to.
pub(super) fn events(call: &Call) -> Answer<'_> {
    let request = &call.request;
    let limit = request.number("limit").filter(|limit| *limit > 0);
    let mut query = EventQuery {
        domain: call.user.id.domain.clone(),
        action: request.text("filter").filter(|f| FILTERS.contains(f)).map(str::to_owned),
        limit: limit.map_or(EVENTS_MAX, |limit| EVENTS_MAX.min(limit as usize)),
        ..EventQuery::default()
    };
    let scope = if let Some(id) = request.text("userid") {
        let Some(account) = visible_account(call, id) else {
            return call.reply(json!({"events": []}));
        };
        query.domain = account.id.domain.clone();
        query.user = Some(account.id.clone());
        Scope::Account
    } else if let Some(id) = request.text("nodeid") {
        let Some(on) = visible_device(call, id) else {
            return call.reply(json!({"events": []}));
        };
        query.node = Some(on.device.id.clone());
        if on.rights.restricted(Rights::OWN_EVENTS) {
            query.user = Some(call.user.id.clone());
        }
        Scope::Device(on.device.id.clone())
    } else {
        let subscriptions = call.session().subscriptions.borrow();
        // Everything reaches every session of the domain; no need to look at each target.
        let all = subscriptions.contains(&Target::All);
        query.targets = Some(if all {
            vec![Target::All, Target::User(call.user.id.clone())]
        } else {
            subscriptions.iter().cloned().collect()
        });
        Scope::Subscribed
    };
    Answer::later(async move { read(call, query, scope).await })
}

/// Whose history is read.
enum Scope {
    Account,
    Device(NodeId),
    Subscribed,
}

#[derive(Serialize)]
struct Body {
    events: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodeid: Option<String>,
}

async fn read(call: &Call, query: EventQuery, scope: Scope) -> Answer<'static> {
    let mut room = EVENTS_TEXT_MAX;
    let mut events = Vec::new();
    for past in call.hub().store.events(query).await {
        let Some(mut event) = filter::shown(call.hub(), &call.user, &past.event, past.time) else {
            continue;
        };
        for hidden in ["domain", "node"] {
            event.remove(hidden);
        }
        if matches!(scope, Scope::Device(_)) {
            event.remove("etype");
            event.remove("nodeid");
        }
        let Ok(text) = serde_json::value::to_raw_value(&event) else { continue };
        let Some(rest) = room.checked_sub(text.get().len()) else { break };
        room = rest;
        events.push(text);
    }
    let nodeid = match scope {
        Scope::Device(id) => Some(id.to_string()),
        Scope::Account | Scope::Subscribed => None,
    };
    call.reply(Body { events, nodeid })
}

/// `previousLogins`: when and how an account was logged in to, or not; one's own or that of an
/// account one has to do with.
pub(super) fn logins(call: &Call) -> Answer<'_> {
    let account = match call.request.text("userid") {
        None => call.user.clone(),
        Some(id) => match visible_account(call, id) {
            Some(account) => account,
            None => return Answer::none(),
        },
    };
    Answer::later(async move {
        let mut logins = Vec::new();
        for action in ["login", "authfail"] {
            let query = EventQuery {
                domain: account.id.domain.clone(),
                user: Some(account.id.clone()),
                action: Some(action.to_owned()),
                limit: LOGINS_MAX,
                ..EventQuery::default()
            };
            logins.extend(call.hub().store.events(query).await);
        }
        // An administrator who locks somebody out is no login of that account.
        logins.retain(|past| past.event.actor.as_ref() == Some(&account.id));
        order::sort_by(&mut logins, |a, b| b.time.cmp(&a.time));
        logins.truncate(LOGINS_MAX);
        let mut body = json!({"events": logins.iter().map(login).collect::<Vec<_>>()});
        if call.request.get("userid").is_some() {
            body["userid"] = account.id.to_string().into();
        }
        call.reply(body)
    })
}

/// A login as `previousLogins` shows it: time, number of the text, its arguments, token.
fn login(past: &PastEvent) -> Value {
    let body = &past.event.body;
    let mut login = json!({"t": past.time.iso(), "m": body.get("msgid"), "a": body.get("msgArgs")});
    if let Some(token) = body.get("tokenName") {
        login["tn"] = token.clone();
    }
    login
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Millis;

    #[test]
    fn a_timeline_counts_from_its_first_change_and_leaves_blinks_out() {
        let at = |seconds: u64, power| PowerChange { time: Millis(seconds * 1000), power };
        for (changes, line) in [
            (vec![], vec![]),
            (vec![at(1000, 1)], vec![0, 1000, 1]),
            (vec![at(1000, 1), at(1500, 0)], vec![0, 1000, 1, 500, 0]),
            (vec![at(1000, 1), at(1500, 0), at(1560, 1)], vec![0, 1000, 1, 560, 1]),
            (vec![at(1000, 1), at(1010, 0), at(9000, 1)], vec![0, 1010, 0, 7990, 1]),
        ] {
            assert_eq!(timeline(&changes), line, "{changes:?}");
        }
    }
}
