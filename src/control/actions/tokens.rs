//! Login tokens: user names and passwords for programs, without a second factor, that can be taken
//! back one by one.
//!
//! Source: control-protocol §2.6, §5.2.

use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::super::auth::{TOKEN_PREFIX, may_have_tokens};
use super::super::notify;
use super::{Answer, Call};
use crate::config::TokenRules;
use crate::identity::password;
use crate::model::{EventKind, LoginToken, Millis, Target, order};
use crate::store::RecordKey;

/// Random bytes of a token's user name.
const NAME_LEN: usize = 12;
/// Random bytes of its password.
const PASSWORD_LEN: usize = 15;
/// Most tokens of an account.
const TOKENS_MAX: usize = 100;
/// Longest a token may live: a hundred years, in minutes.
const MINUTES_MAX: f64 = 100.0 * 366.0 * 24.0 * 60.0;

/// `createLoginToken`: the only moment its password is seen.
pub(super) fn create(call: &Call) -> Answer<'_> {
    let (hub, user) = (call.hub(), &call.user);
    if !may_have_tokens(hub.config().domain(&user.id.domain), user) {
        return call.result("Not supported");
    }
    let Some(name) = call.request.text_within("name", 1, 100) else {
        return call.result("Invalid name");
    };
    let minutes = call.request.get("expire").and_then(Value::as_f64);
    let Some(minutes) = minutes.filter(|minutes| (0.0..=MINUTES_MAX).contains(minutes)) else {
        return call.result("Invalid expire value");
    };
    let now = hub.now();
    let mut kept = hub.store.login_tokens(&user.id);
    kept.retain(|token| !is_expired(token, now));
    if kept.len() >= TOKENS_MAX {
        return call.result("Too many login tokens");
    }
    let (Some(id), Some(secret)) = (random(NAME_LEN), random(PASSWORD_LEN)) else {
        return call.result("Server has no random numbers");
    };
    let life = (minutes > 0.0).then(|| Duration::from_secs_f64(minutes * 60.0));
    let token = LoginToken {
        token_user: format!("{TOKEN_PREFIX}{id}"),
        user: user.id.clone(),
        name: name.to_owned(),
        password: password::keep_random(&secret),
        created: now,
        expires: life.map(|life| Millis(now.0.saturating_add(life.as_millis() as u64))),
    };
    let shown = shown(&token);
    call.audit(format_args!("made login token {}", token.token_user));
    let commit = call.put(token);
    hub.publish(
        event(call, "loginTokenAdded")
            .with("msgid", 115)
            .with("msg", "Added login token")
            .with("newToken", shown.clone()),
    );
    let mut body = shown;
    body["tokenPass"] = secret.into();
    call.reply(body).after(commit)
}

/// `loginTokens`: the tokens of this account, after those in `remove` are taken back.
pub(super) fn list(call: &Call) -> Answer<'_> {
    let (hub, user) = (call.hub(), &call.user);
    if hub.config().domain(&user.id.domain).login_tokens == TokenRules::Nobody {
        return Answer::none();
    }
    let unwanted = call.request.texts("remove", 64).unwrap_or_default();
    let now = hub.now();
    let (removed, mut kept): (Vec<_>, Vec<_>) =
        hub.store.login_tokens(&user.id).into_iter().partition(|token| {
            is_expired(token, now) || unwanted.contains(&token.token_user.as_str())
        });
    order::sort_by(&mut kept, |a, b| a.created.cmp(&b.created));
    let list: Vec<_> = kept.iter().map(|token| shown(token)).collect();
    let mut answer = call.reply(json!({"loginTokens": list}));
    if removed.is_empty() {
        return answer;
    }
    for token in &removed {
        call.audit(format_args!("removed login token {}", token.token_user));
        answer = answer.after(hub.store.remove(RecordKey::LoginToken(token.token_user.clone())));
    }
    // Sessions that came by one of them find it gone.
    notify::account_changed(hub, &user.id);
    let removed: Vec<_> = removed.iter().map(|token| token.token_user.as_str()).collect();
    hub.publish(
        event(call, "loginTokenChanged")
            .with("loginTokens", list)
            .with("removed", removed)
            .transient(),
    );
    answer
}

fn is_expired(token: &LoginToken, now: Millis) -> bool {
    token.expires.is_some_and(|expires| expires <= now)
}

/// A token as clients see it.
fn shown(token: &LoginToken) -> Value {
    json!({
        "name": token.name,
        "tokenUser": token.token_user,
        "created": token.created,
        "expire": token.expires.unwrap_or_default(),
    })
}

fn event(call: &Call, action: &'static str) -> crate::model::Event {
    call.event(action, EventKind::User).to(Target::All).to(Target::AccountManagers)
}

/// Base64 of so many random bytes, without `+` and `/`: it goes into URLs.
fn random(len: usize) -> Option<String> {
    let mut bytes = vec![0; len];
    loop {
        getrandom::fill(&mut bytes).ok()?;
        let text = BASE64.encode(&bytes);
        if !text.contains(['+', '/']) {
            return Some(text);
        }
    }
}
