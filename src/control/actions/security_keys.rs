//! Registering a security key for one's own account, in two requests with the browser's ceremony in
//! between. Listing and removing them is with the other second factors.
//!
//! Source: control-protocol §5.2; the answer to the second request has a name of its own there. Where
//! MeshCentral says nothing (no rights, too many keys), nothing is said here.

use serde_json::json;

use super::super::passwords::factors_of;
use super::factors::{keep, rules};
use super::{Answer, Call};
use crate::model::{SecurityKey, text};

/// Longest name of a key in characters.
const NAME_MAX: usize = 64;
/// Keys of an account, if the domain says nothing.
const KEYS_MAX: usize = 16;

/// `webauthn-startregister`: what the browser needs to make a key.
pub(super) fn start(call: &Call) -> Answer<'_> {
    let Some(rules) = rules(call) else { return Answer::none() };
    let Some(name) = call.request.text_within("name", 1, NAME_MAX) else { return Answer::none() };
    if is_full(call, rules.max_keys) {
        return Answer::none();
    }
    let name = text::clamp(name, NAME_MAX);
    let config = call.hub().config();
    let title = config.domain(&call.user.id.domain).title.as_deref().unwrap_or("meshboard");
    match call.gate().keys.start(title, &call.user, &name, rules.key_pin) {
        Some(request) => call.reply(json!({"keyname": name, "request": request})),
        None => Answer::none(),
    }
}

/// `webauthn-endregister`: what the browser made of it.
pub(super) fn finish(call: &Call) -> Answer<'_> {
    let Some(rules) = rules(call) else { return Answer::none() };
    let Some(response) = call.request.get("response").and_then(|made| made.get("response")) else {
        return Answer::none();
    };
    if is_full(call, rules.max_keys) {
        return Answer::none();
    }
    let mut factors = factors_of(call.hub(), &call.user.id);
    let origin = call.login().origin.as_deref();
    let (name, made) = match call.gate().keys.finish(&factors, response, origin, rules.key_pin) {
        Ok(made) => made,
        Err(error) => return answer(json!({"result": false, "error": error.to_string()})),
    };
    let Some(index) = fresh_index(&factors.security_keys) else { return Answer::none() };
    factors.security_keys.push(SecurityKey {
        index,
        name: name.as_ref().to_owned(),
        credential: made.credential,
        public_key: made.public_key,
        counter: made.counter,
    });
    keep(call, factors, false, 95, "Added security key").and(answer(json!({
        "result": true,
        "name": name,
        "index": index,
    })))
}

fn is_full(call: &Call, max: Option<usize>) -> bool {
    let factors = call.hub().store.factors(&call.user.id);
    factors.map_or(0, |factors| factors.security_keys.len()) >= max.unwrap_or(KEYS_MAX)
}

/// A number no other key of the account has. `None` without randomness.
fn fresh_index(keys: &[SecurityKey]) -> Option<u32> {
    loop {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).ok()?;
        let index = u32::from_be_bytes(bytes);
        if keys.iter().all(|key| key.index != index) {
            return Some(index);
        }
    }
}

fn answer(mut body: serde_json::Value) -> Answer<'static> {
    body["action"] = "otp-hkey-setup-response".into();
    Answer { frames: vec![body.to_string()], ..Answer::none() }
}
