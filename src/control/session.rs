//! One login of a user: requests and events in, texts out. No sockets, no timers.
//!
//! The account is looked up anew for every request and event, so a right that was taken away is gone
//! at once. What a session keeps is its place in the hub and who is at the other end: well below a
//! kilobyte.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use log::{info, warn};
use serde_json::{Map, Value, json};

use crate::config::{GuestSharing, MyServer};
use crate::hub::{Hub, Mailbox, SESSION_MAILBOX, SessionLink, SessionMessage};
use crate::model::{Event, Millis, SessionId, SiteRights, Target, User};

use super::actions::{self, Call};
use super::auth::{Login, Method, token_is_good};
use super::premises::Remembered;
use super::request::Request;
use super::{Control, features, filter, notify, warnings};

/// A user's session, registered with the hub as long as it lives.
pub struct Session {
    control: Rc<Control>,
    link: Rc<SessionLink>,
    remembered: Rc<Remembered>,
    login: Login,
}

/// What a session wants to happen.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Texts to send, in this order.
    pub texts: Vec<String>,
    /// Whether the session is over once they are sent.
    pub end: bool,
}

impl Outcome {
    fn nothing() -> Self {
        Self::default()
    }

    fn text(text: String) -> Self {
        Self { texts: vec![text], end: false }
    }

    fn end(text: Option<String>) -> Self {
        Self { texts: text.into_iter().collect(), end: true }
    }
}

impl Session {
    /// Opens a session. When there are too many already, the error is the frame that says so.
    pub fn open(control: &Rc<Control>, login: Login) -> Result<Self, String> {
        let hub = &control.hub;
        let Some(user) = hub.store.user(&login.user) else {
            return Err(super::auth::Refusal::NoAuth.frame());
        };
        if is_crowded(hub, &user) {
            info!("control: {} from {} refused: too many sessions", user.id, login.remote);
            return Err(stopped("Session count exceed"));
        }
        let mut nonce = [0; 20];
        if getrandom::fill(&mut nonce).is_err() {
            return Err(super::auth::Refusal::NoAuth.frame());
        }
        let link = Rc::new(SessionLink {
            id: SessionId { user: user.id.clone(), nonce },
            // The door has judged what was before.
            since: Cell::new(login.at.max(user.valid_from.unwrap_or_default())),
            remote: login.remote,
            subscriptions: RefCell::new(notify::subscriptions(&user)),
            missed: Cell::new(false),
            mailbox: Mailbox::new(SESSION_MAILBOX),
        });
        info!("control: {} logged in from {} by {:?}", user.id, login.remote, login.method);
        hub.session_started(link.clone());
        hub.metrics.sessions.fetch_add(1, Relaxed);
        let remembered = Rc::default();
        let session = Self { control: control.clone(), link, remembered, login };
        session.tell_session_count();
        Ok(session)
    }

    /// Where the hub puts messages for this session.
    pub fn link(&self) -> &Rc<SessionLink> {
        &self.link
    }

    /// The first texts of a session: `serverinfo` and `userinfo`, and for full administrators what
    /// is traced and what they should know.
    pub fn greeting(&self) -> Outcome {
        let Some(user) = self.account() else { return self.over() };
        let account = self.control.hub.account_document(&user);
        let account = json!({"action": "userinfo", "userinfo": account});
        let mut texts = vec![self.server_info(&user), account.to_string()];
        if user.site.is_full() {
            let config = self.control.hub.config();
            if config.domain(&user.id.domain).my_server.contains(MyServer::TRACE) {
                texts.push(json!({"action": "traceinfo", "traceSources": null}).to_string());
            }
            let warnings = warnings::all(&self.control);
            if !warnings.is_empty() {
                let frame = json!({"action": "serverwarnings", "warnings": warnings});
                texts.push(frame.to_string());
            }
        }
        Outcome { texts, end: false }
    }

    /// How often the client wants to be told the server's numbers.
    pub fn stats_every(&self) -> Option<Duration> {
        self.remembered.stats_every.get()
    }

    /// The server's numbers, as long as the user may see them.
    pub fn stats(&self) -> Outcome {
        let Some(user) = self.account() else { return Outcome::end(None) };
        if !user.site.intersects(actions::STATS_RIGHTS) {
            self.remembered.stats_every.set(None);
            return Outcome::nothing();
        }
        Outcome::text(actions::server_stats(&self.control.hub))
    }

    /// Answers a request. Anything that is no request is ignored.
    pub async fn request(&self, message: &[u8]) -> Outcome {
        let Some(user) = self.account() else { return self.over() };
        let Some(request) = Request::parse(message) else { return Outcome::nothing() };
        if let Some(id) = self.browser_session()
            && !BACKGROUND.contains(&&*request.action)
        {
            self.control.browser.touch(id);
        }
        if request.action == "close" {
            return Outcome::end(None);
        }
        let Some(action) = actions::find(&request.action) else {
            self.control.hub.metrics.unknown_actions.fetch_add(1, Relaxed);
            return Outcome::nothing();
        };
        let call = Call::new(
            &self.control,
            &self.link,
            &self.remembered,
            &self.login,
            user,
            request,
            action,
        );
        let answer = action.perform(&call);
        let mut texts = answer.frames;
        for commit in answer.commits {
            if let Err(error) = commit.await {
                // The change is in force and will be written again; the client may not care.
                warn!("control: {} of {}: {error}", call.request.action, call.user.id);
            }
        }
        if let Some(later) = answer.later {
            texts.extend(later.await);
        }
        Outcome { texts, end: false }
    }

    /// Turns a message of the hub into texts.
    pub fn receive(&self, message: SessionMessage) -> Outcome {
        let mut outcome = match message {
            SessionMessage::Text(text) => Outcome::text(text.as_ref().to_owned()),
            SessionMessage::Stop(why) => return Outcome::end(Some(stopped(&why))),
            SessionMessage::Event(published) => {
                let Some(user) = self.account() else { return self.over() };
                match filter::text_for(&self.control.hub, &user, &published) {
                    Some(text) => Outcome::text(text.into_owned()),
                    None => Outcome::nothing(),
                }
            }
            SessionMessage::AccountChanged => {
                let Some(user) = self.account() else { return self.over() };
                *self.link.subscriptions.borrow_mut() = notify::subscriptions(&user);
                Outcome::nothing()
            }
        };
        if self.link.missed.take() {
            outcome.texts.insert(0, self.resync());
        }
        outcome
    }

    /// Looks now and then whether the session goes on: nobody may ask for anything, and time passes.
    pub fn look(&self) -> Outcome {
        if let Some(id) = self.browser_session() {
            self.control.browser.is_open(id, &self.login.user.domain);
        }
        if self.account().is_some() { Outcome::nothing() } else { self.over() }
    }

    /// The browser session it belongs to.
    fn browser_session(&self) -> Option<&str> {
        match &self.login.method {
            Method::Browser { session } => Some(session),
            _ => None,
        }
    }

    /// The end of a session without an account. A page is told, so that it asks for a login.
    fn over(&self) -> Outcome {
        Outcome::end(self.browser_session().map(|_| super::auth::Refusal::Expired.frame()))
    }

    /// The account as it is now; `None` once it is removed or locked, has ended its sessions, or
    /// the login token or browser session this one came by is gone.
    fn account(&self) -> Option<Rc<User>> {
        let hub = &self.control.hub;
        let user = hub.store.user(&self.login.user)?;
        let is_good = !user.site.restricted(SiteRights::LOCKED)
            && user.is_good_since(self.link.since.get())
            && self.login.token.as_ref().is_none_or(|token| token_is_good(hub, token, &user))
            && self.browser_session().is_none_or(|id| self.control.browser.goes_on(id, &user));
        is_good.then_some(user)
    }

    /// Tells a slow client that events were dropped: it should ask for lists again.
    fn resync(&self) -> String {
        let domain = self.login.user.domain.clone();
        let event = Event::new("resync", domain).transient().to_json(Millis::default());
        json!({"action": "event", "event": event}).to_string()
    }

    fn tell_session_count(&self) {
        let hub = &self.control.hub;
        let user = &self.login.user;
        let mut event = Event::new("wssessioncount", user.domain.clone())
            .with("count", hub.sessions_of(user).len())
            .transient();
        event.actor = Some(user.clone());
        event.targets = match hub.store.user(user) {
            Some(account) => hub.account_targets(&account),
            // It was removed a moment ago.
            None => vec![Target::All, Target::AccountManagers],
        };
        hub.publish(event);
    }

    fn server_info(&self, user: &User) -> String {
        let (hub, facts) = (&self.control.hub, self.control.facts());
        let config = hub.config();
        let domain = &user.id.domain;
        let front = hub.fronts.current(domain);
        let tls_hash = front.map_or(facts.tls_hash, |front| front.hash);
        let expires = match front {
            Some(front) => front.not_after.map(|end| end.0),
            None => facts.cert_expires,
        };
        let recording = config.domain(domain).recording.as_ref();
        let suffix = if domain.is_default() { String::new() } else { format!("/{domain}") };
        let port = if facts.port == 443 { String::new() } else { format!(":{}", facts.port) };
        let name = facts.name.as_deref().unwrap_or(&self.login.host);
        let activation = self.control.activation(domain);
        let names = activation.names();
        let amt =
            features::Amt { has_port: facts.mps_port != 0, has_certificate: !names.is_empty() };
        let info = json!({
            "domain": domain.as_str(),
            "name": name,
            "mpsname": facts.mps_name.as_deref().unwrap_or(name),
            "mpsport": facts.mps_port,
            "port": facts.port,
            "emailcheck": false,
            "domainauth": false,
            "serverTime": hub.now(),
            "features": features::first(&config, user, &self.login, amt),
            "features2": features::second(&config, user, &self.login),
            "languages": ["en"],
            "tlshash": tls_hash.hex(),
            "agentCertHash": facts.agent_cert_hash.text(),
            "https": true,
            "redirport": facts.redirect_port,
            "magenturl": format!("mc://{name}{port}{suffix}"),
            "domainsuffix": suffix,
            "logoutonidlesessiontimeout": true,
        });
        let Value::Object(mut info) = info else { return String::new() };
        if let Some(recording) = recording {
            // The page offers the flags that count.
            for (name, counts) in [
                ("usersSessionRecording", recording.only_users),
                ("userGroupsSessionRecording", recording.only_user_groups),
                ("devGroupSessionRecording", recording.only_device_groups),
            ] {
                if counts {
                    info.insert(name.into(), 1.into());
                }
            }
        }
        if !names.is_empty() {
            info.insert("amtAcmFqdn".into(), names.into());
        }
        if user.site.is_full()
            && let Some(end) = expires
        {
            info.insert("certExpire".into(), end.into());
        }
        if let Some(idle) = config.domain(domain).idle_timeout {
            info.insert("timeout".into(), (idle.as_secs() * 1000).into());
        }
        let factors = &config.domain(domain).factors;
        if factors.locked {
            info.insert("lock2factor".into(), true.into());
        }
        if let Some(keys) = factors.max_keys {
            info.insert("maxfidokeys".into(), keys.into());
        }
        if hub.crosses_domains(&user.id) {
            let domains = config.domains.keys().map(|id| id.as_str().into()).collect();
            info.insert("crossDomain".into(), Value::Array(domains));
        }
        let domain = config.domain(domain);
        match domain.guest_sharing {
            GuestSharing::Allowed => {}
            GuestSharing::AtMost(minutes) => {
                info.insert("guestdevicesharingmaxtime".into(), minutes.into());
            }
            GuestSharing::Forbidden => {
                info.insert("guestdevicesharing".into(), false.into());
            }
        }
        if let Some(days) = domain.inactive_days {
            info.insert("autoremoveinactivedevices".into(), days.into());
        }
        if let Some(most) = domain.max_device_view {
            info.insert("maxdeviceview".into(), most.into());
        }
        let mut frame = Map::new();
        frame.insert("action".into(), "serverinfo".into());
        frame.insert("serverinfo".into(), info.into());
        Value::Object(frame).to_string()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.link.mailbox.close();
        self.control.hub.session_ended(&self.link.id);
        self.control.hub.metrics.sessions.fetch_sub(1, Relaxed);
        self.tell_session_count();
    }
}

/// What pages ask for by themselves: no sign that somebody is there.
const BACKGROUND: [&str; 3] = ["ping", "pong", "authcookie"];

/// Whether the domain or the account has as many sessions as it may have.
fn is_crowded(hub: &Hub, user: &User) -> bool {
    let config = hub.config();
    let domain = config.domain(&user.id.domain);
    let (mut all, mut own) = (0, 0);
    for session in hub.sessions() {
        all += usize::from(session.id.user.domain == user.id.domain);
        own += usize::from(session.id.user == user.id);
    }
    domain.max_user_sessions.is_some_and(|max| all >= max)
        || domain.max_single_user_sessions.is_some_and(|max| own >= max)
}

fn stopped(why: &str) -> String {
    json!({"action": "stopped", "msg": why}).to_string()
}
