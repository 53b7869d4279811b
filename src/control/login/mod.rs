//! How browsers log in and out, in steps that end in a session or in a machine-readable cause.
//!
//! Source: control-protocol §2.7, with answers of our own instead of MeshCentral's pages. The steps:
//! name and password; the second factor, if one is needed, with the proof of the first step; another
//! password, if the old one must not be used any longer. Or a login link, which is all of these. The
//! caller has made sure that the request is from a page of ours ([`is_own`]) and writes the
//! [`Outcome`] down.

mod form;
mod proof;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use log::{info, warn};
use serde_json::{Map, Value, json};

use super::Control;
use super::auth::{self, Attempt, Refusal, SignedIn, Upgrade};
use super::browser::sessions::Opening;
use super::browser::{CookieSite, Entered};
use super::passwords::{self, NotChanged, Wish};
use crate::model::{Event, EventKind, Target, User, order, text};
use proof::Step;

pub use form::{BODY_MAX, Form};

/// Longest `User-Agent` in an event, in characters.
const AGENT_MAX: usize = 128;

/// What MeshCentral's page says when nobody came with a second factor.
const GIVEN_UP: &str = "**timeout**";

/// What came of a step.
#[derive(Debug)]
pub enum Outcome {
    /// Logged in.
    In {
        /// Who.
        user: Rc<User>,
        /// `Set-Cookie` headers.
        cookies: Vec<String>,
    },
    /// Not, or not yet.
    Refused {
        /// Why.
        cause: Cause,
        /// What a page needs for the next step.
        next: Map<String, Value>,
    },
}

/// Why somebody has no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The door said no.
    Door(Refusal),
    /// The new password was not taken.
    Password(NotChanged),
    /// The step before took place too long ago, or something has changed since.
    Expired,
    /// The request lacks something or is malformed.
    Malformed,
}

impl Cause {
    /// The word programs go by.
    pub fn word(self) -> &'static str {
        match self {
            Self::Door(refusal) => match refusal {
                Refusal::TokenRequired(_) => "tokenrequired",
                Refusal::WrongToken(_) => "wrongtoken",
                Refusal::Locked => "locked",
                Refusal::PasswordExpired => "passwordchange",
                Refusal::InvalidOrigin => "invalidorigin",
                Refusal::Banned => "banned",
                Refusal::Busy => "busy",
                _ => "noauth",
            },
            Self::Password(NotChanged::Broken(_)) => "badpassword",
            Self::Password(NotChanged::UsedBefore) => "usedpassword",
            Self::Password(NotChanged::Busy) => "busy",
            Self::Password(NotChanged::WrongOld | NotChanged::Gone) => "noauth",
            Self::Expired => "expired",
            Self::Malformed => "badrequest",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self.word() {
            "badrequest" | "badpassword" | "usedpassword" => 400,
            "locked" | "passwordchange" | "invalidorigin" => 403,
            "banned" => 429,
            "busy" => 503,
            _ => 401,
        }
    }
}

impl Outcome {
    /// Refused, and nothing to go on with.
    pub fn refused(cause: Cause) -> Self {
        Self::Refused { cause, next: Map::new() }
    }

    /// What a program is told.
    pub fn json(&self) -> Value {
        match self {
            Self::In { user, .. } => json!({"result": "ok", "user": user.id.to_string()}),
            Self::Refused { cause, next } => {
                let mut body = next.clone();
                body.insert("result".into(), cause.word().into());
                if let Cause::Password(NotChanged::Broken(rule)) = cause {
                    body.insert("msg".into(), rule.to_string().into());
                }
                body.into()
            }
        }
    }
}

/// Whether a request that changes something was caused by a page of ours, or by no page at all.
/// `fetch_site` is header `Sec-Fetch-Site`, which no page can forge.
pub fn is_own(control: &Control, asked: &Upgrade<'_>, fetch_site: Option<&str>) -> bool {
    let config = control.hub.config();
    match (asked.origin, fetch_site) {
        // So say browsers of forms on pages that want no referrer.
        (Some("null"), Some("same-origin")) => true,
        (Some(_), _) => auth::is_own_origin(asked, config.domain(asked.domain)),
        (None, Some(site)) => matches!(site, "same-origin" | "none"),
        (None, None) => true,
    }
}

/// The page a request of ours comes from. A form whose page wants no referrer does not say so, but it
/// is one of this very server then.
fn page_of(asked: &Upgrade<'_>) -> Option<String> {
    match asked.origin {
        Some("null") => asked.host.map(|host| format!("{}://{host}", asked.scheme)),
        origin => origin.map(str::to_owned),
    }
}

/// Name, password and second factor, at once or one after the other: `username` and `password`, or
/// the proof of that in `hwstate`; `token` or `hwtoken`; `remembertoken`.
pub async fn log_in(control: &Control, asked: &Upgrade<'_>, form: &Form) -> Outcome {
    let remembered =
        asked.cookies.and_then(|cookies| auth::cookie(cookies, CookieSite::REMEMBERED));
    let token = form.get("hwtoken").or_else(|| form.get("token"));
    if token == Some(GIVEN_UP) {
        return Outcome::refused(Cause::Expired);
    }
    let origin = page_of(asked);
    let attempt = Attempt {
        token,
        remembered: remembered.as_deref(),
        origin: origin.as_deref(),
        ..Attempt::of(asked)
    };
    let gate = &control.gate;
    let (signed_in, user) = match (form.get("username"), form.get("hwstate")) {
        (Some(name), _) => {
            let password = form.get("password").unwrap_or_default();
            let signed_in = gate.sign_in(&Attempt { name, password, ..attempt }).await;
            (signed_in, account(control, asked, name))
        }
        (None, Some(state)) => {
            let keys = &control.keys.steps;
            let opened = proof::open(keys, &control.hub, asked.domain, Step::Factor, state);
            let Some(user) = opened else { return Outcome::refused(Cause::Expired) };
            let attempt = Attempt { name: user.id.name(), ..attempt };
            (gate.second_step(&attempt, &user.id).await, Some(user))
        }
        (None, None) => return Outcome::refused(Cause::Malformed),
    };
    match signed_in {
        Ok(signed_in) if signed_in.password_expired => another_password(control, &signed_in.user),
        Ok(signed_in) => {
            let mut cookies = Vec::new();
            // The device is worth remembering if it took more than a password.
            let proven = token.is_some() && signed_in.token.is_none();
            if proven && form.is_on("remembertoken") {
                cookies.extend(remember(control, asked, &signed_in.user));
            }
            begin(control, asked, &signed_in, cookies)
        }
        Err(refusal) => more(control, refusal, user.as_deref()),
    }
}

/// The account somebody called by its name, to go on with once the password was right.
fn account(control: &Control, asked: &Upgrade<'_>, name: &str) -> Option<Rc<User>> {
    let id = crate::model::UserId::new(asked.domain.clone(), name).ok()?;
    control.hub.store.user(&id)
}

/// What a page is told so that it can ask for a second factor.
fn more(control: &Control, refusal: Refusal, user: Option<&User>) -> Outcome {
    let (Refusal::TokenRequired(ways) | Refusal::WrongToken(ways), Some(user)) = (refusal, user)
    else {
        return Outcome::refused(Cause::Door(refusal));
    };
    let hub = &control.hub;
    let mut next = Map::new();
    let names = [(ways.app, "app"), (ways.backup, "backup"), (ways.key, "key")];
    let names = names.into_iter().filter(|(there, _)| *there).map(|(_, name)| name.into());
    next.insert("ways".into(), Value::Array(names.collect()));
    next.insert("twoFactorCookieDays".into(), ways.remember_days.into());
    if let Some(proof) = proof::make(&control.keys.steps, hub, Step::Factor, user) {
        next.insert("hwstate".into(), proof.into());
    }
    let pin = hub.config().domain(&user.id.domain).factors.key_pin;
    let factors = hub.store.factors(&user.id);
    if let Some(request) = factors.and_then(|factors| control.gate.keys.ask(&factors, pin)) {
        next.insert("hkey".into(), request);
    }
    Outcome::Refused { cause: Cause::Door(refusal), next }
}

fn another_password(control: &Control, user: &User) -> Outcome {
    let proof = proof::make(&control.keys.steps, &control.hub, Step::Password, user);
    let next = order::gather(proof.into_iter().map(|proof| ("hwstate".to_owned(), proof.into())));
    Outcome::Refused { cause: Cause::Door(Refusal::PasswordExpired), next }
}

/// Changes a password that must not be used any longer, and logs in: `hwstate` of the step before,
/// `password` (the old one), `rpassword1` and `rpassword2` (the new one), `rpasswordhint`.
pub async fn change_password(control: &Control, asked: &Upgrade<'_>, form: &Form) -> Outcome {
    let (Some(state), Some(old), Some(new)) =
        (form.get("hwstate"), form.get("password"), form.get("rpassword1"))
    else {
        return Outcome::refused(Cause::Malformed);
    };
    if form.get("rpassword2").is_some_and(|again| again != new) {
        return Outcome::refused(Cause::Malformed);
    }
    let (hub, address) = (&control.hub, asked.remote.ip());
    if let Err(refusal) = control.gate.may_try(address) {
        return Outcome::refused(Cause::Door(refusal));
    }
    let opened = proof::open(&control.keys.steps, hub, asked.domain, Step::Password, state);
    let Some(user) = opened else { return Outcome::refused(Cause::Expired) };
    let hint = form.get("rpasswordhint");
    let wish = Wish { user: &user.id, from: address, old, new, hint };
    let commits = match passwords::change(hub, &control.passwords, wish, None).await {
        Ok(commits) => commits,
        Err(error) => {
            if error == NotChanged::WrongOld {
                control.gate.guessed_wrong(address);
            }
            return Outcome::refused(Cause::Password(error));
        }
    };
    for commit in commits {
        if let Err(error) = commit.await {
            warn!("login: the new password of {}: {error}", user.id);
        }
    }
    let Some(user) = hub.store.user(&user.id) else {
        return Outcome::refused(Cause::Door(Refusal::Wrong));
    };
    let signed_in = SignedIn { user, token: None, password_expired: false };
    begin(control, asked, &signed_in, Vec::new())
}

/// Logs in with the cookie of a login link (`/?login=`), which works once. Somebody who is logged in
/// to its account already stays so.
pub fn follow_link(control: &Control, asked: &Upgrade<'_>, cookie: &str) -> Outcome {
    let link = match control.gate.by_link(asked, cookie) {
        Ok(link) => link,
        Err(refusal) => return Outcome::refused(Cause::Door(refusal)),
    };
    let browser = &control.browser;
    let present = browser.enter(asked.domain, asked.cookies);
    if let Some(present) = present.filter(|present| present.user.id == link.user.id) {
        return Outcome::In { user: present.user, cookies: Vec::new() };
    }
    if !browser.use_link(cookie, link.left, asked.remote.ip()) {
        warn!("login: {} at {} came by a link that was used before", link.user.id, asked.remote);
        return Outcome::refused(Cause::Expired);
    }
    let signed_in = SignedIn { user: link.user, token: link.token, password_expired: false };
    begin(control, asked, &signed_in, Vec::new())
}

/// Logs in whoever has just made this account.
pub fn welcome(control: &Control, asked: &Upgrade<'_>, user: Rc<User>) -> Outcome {
    let signed_in = SignedIn { user, token: None, password_expired: false };
    begin(control, asked, &signed_in, Vec::new())
}

/// Opens a session. The one this browser had ends: a cookie that was there before the login is
/// never one that is good after it.
fn begin(
    control: &Control,
    asked: &Upgrade<'_>,
    signed_in: &SignedIn,
    mut cookies: Vec<String>,
) -> Outcome {
    let (browser, hub) = (&control.browser, &control.hub);
    if let Some(before) = browser.enter(asked.domain, asked.cookies) {
        browser.end(&before.id);
    }
    let user = &signed_in.user;
    let opening = Opening {
        user,
        token: signed_in.token.as_ref(),
        remote: asked.remote.ip(),
        agent: asked.agent,
        since: hub.now(),
    };
    let Some(opened) = browser.open(&opening) else {
        return Outcome::refused(Cause::Door(Refusal::Busy));
    };
    let site = CookieSite::of(&hub.config(), asked.domain);
    cookies.push(site.session(&opened.cookie));
    info!("login: {} from {} by browser", user.id, asked.remote);
    tell_login(control, asked, signed_in);
    Outcome::In { user: user.clone(), cookies }
}

fn remember(control: &Control, asked: &Upgrade<'_>, user: &User) -> Option<String> {
    let config = control.hub.config();
    let rules = &config.domain(asked.domain).factors;
    control.hub.store.factors(&user.id).filter(|factors| factors.are_needed())?;
    let cookie = auth::remember(&control.keys.login, rules, user, control.hub.now())?;
    Some(CookieSite::of(&config, asked.domain).remembered(&cookie, rules.remember_days))
}

fn tell_login(control: &Control, asked: &Upgrade<'_>, signed_in: &SignedIn) {
    let ip = asked.remote.ip().to_canonical().to_string();
    let agent = text::clamp(asked.agent.unwrap_or_default(), AGENT_MAX);
    let mut event = event_of(&signed_in.user, "login")
        .to(Target::AccountManagers)
        .with("account", control.hub.account_document(&signed_in.user))
        .with("msgid", 107)
        .with("msg", format!("Account login from {ip}, {agent}"))
        .with("msgArgs", json!([ip, agent, ""]))
        .with("ip", ip);
    if let Some(token) = &signed_in.token {
        event = event.with("tokenUser", token.as_ref());
    }
    control.hub.publish(event);
}

/// Ends the session of the browser that asks, if it has one. The answer is the `Set-Cookie` that
/// makes it forget.
pub fn log_out(control: &Control, asked: &Upgrade<'_>) -> String {
    let hub = &control.hub;
    if let Some(Entered { id, user, .. }) = control.browser.enter(asked.domain, asked.cookies) {
        control.browser.end(&id);
        info!("login: {} logged out at {}", user.id, asked.remote);
        hub.publish(event_of(&user, "logout").with("msgid", 2).with("msg", "Account logout"));
    }
    CookieSite::of(&hub.config(), asked.domain).no_session()
}

fn event_of(user: &User, action: &'static str) -> Event {
    Event::new(action, user.id.domain.clone()).kind(EventKind::User).actor(&user.id).to(Target::All)
}
