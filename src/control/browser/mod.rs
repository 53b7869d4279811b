//! Browser sessions: what a cookie stands for, and for how long.
//!
//! [`Browser`] keeps the sessions ([`sessions`]) and the login links that were used ([`once`]), and
//! knows how the cookies look. How somebody gets a session is [`super::login`]; what one is good for
//! is decided at each use: its account exists, is not locked and has not ended it, and neither idle
//! nor age limits have passed. In memory only, so a restart ends all of them: on a board without a
//! clock no lifetime on disk can be trusted, and a stolen cookie dies with the process.

pub mod once;
pub mod sessions;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::config::{Config, SameSite};
use crate::hub::{Hub, SessionMessage};
use crate::model::{DomainId, SiteRights, User};

use super::auth::token_is_good;
use once::UsedLinks;
use sessions::{BrowserSession, Limits, Opened, Opening, Sessions};

/// The sessions of all browsers.
pub struct Browser {
    hub: Rc<Hub>,
    sessions: RefCell<Sessions>,
    links: RefCell<UsedLinks>,
    /// The monotonic clock; tests turn it.
    clock: Cell<fn() -> Instant>,
}

/// A session a cookie belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Entered {
    /// Its id.
    pub id: Rc<str>,
    /// Its account.
    pub user: Rc<User>,
    /// The login token it was opened with.
    pub token: Option<Rc<str>>,
}

impl Browser {
    /// No sessions yet.
    pub fn new(hub: Rc<Hub>) -> Rc<Self> {
        let (sessions, links) = (RefCell::default(), RefCell::default());
        Rc::new(Self { hub, sessions, links, clock: Cell::new(Instant::now) })
    }

    fn now(&self) -> Instant {
        self.clock.get()()
    }

    /// Opens a session. `None` without randomness.
    pub fn open(&self, opening: &Opening<'_>) -> Option<Opened> {
        self.sessions.borrow_mut().open(opening, self.limits(), self.now())
    }

    /// The session of `domain` that a `Cookie` header speaks for. This is a use of it.
    pub fn enter(&self, domain: &DomainId, cookies: Option<&str>) -> Option<Entered> {
        let name = CookieSite::of(&self.hub.config(), domain).session_name();
        let value = value_of(cookies?, name)?;
        let (id, user, token) = {
            let (mut sessions, now) = (self.sessions.borrow_mut(), self.now());
            let id = sessions.enter(value, self.limits(), now)?;
            let session = sessions.get(&id, self.limits(), now)?;
            let user = self.hub.store.user(&session.user)?;
            let is_good = session.user.domain == *domain
                && Sessions::is_wanted(session, &user)
                && self.is_welcome(session, &user);
            let token = session.token.clone();
            is_good.then_some((id, user, token))?
        };
        Some(Entered { id, user, token })
    }

    /// Whether the session goes on. `user` is its account as it is now, which still vouches for a
    /// WebSocket of that session: so if the account has ended everything, it was there that it was
    /// told to.
    pub fn goes_on(&self, id: &str, user: &User) -> bool {
        let mut sessions = self.sessions.borrow_mut();
        let found = sessions.get(id, self.limits(), self.now());
        let goes_on = found.is_some_and(|session| self.is_welcome(session, user));
        if goes_on {
            sessions.keep(id, user);
        }
        goes_on
    }

    fn is_welcome(&self, session: &BrowserSession, user: &User) -> bool {
        session.user == user.id
            && !user.site.restricted(SiteRights::LOCKED)
            && session.token.as_ref().is_none_or(|token| token_is_good(&self.hub, token, user))
    }

    /// Notes that somebody uses the session.
    pub fn touch(&self, id: &str) {
        self.sessions.borrow_mut().touch(id, self.now());
    }

    /// Notes that a page of the session is open.
    pub fn is_open(&self, id: &str, domain: &DomainId) {
        if self.limits()(domain).open_is_use {
            self.touch(id);
        }
    }

    /// Ends a session and its WebSockets.
    pub fn end(&self, id: &str) -> Option<BrowserSession> {
        let ended = self.sessions.borrow_mut().end(id)?;
        for session in self.hub.sessions_of(&ended.user) {
            // Each looks whether it goes on. One with a full mailbox looks before it does anything.
            let _ = session.mailbox.push(SessionMessage::AccountChanged);
        }
        Some(ended)
    }

    /// The sessions of an account, oldest first.
    pub fn sessions_of(&self, user: &User) -> Vec<BrowserSession> {
        self.sessions.borrow_mut().of(user, self.limits(), self.now())
    }

    /// Uses a login link up; its cookie runs out in `left`. False if it was used before.
    pub fn use_link(&self, cookie: &str, left: Duration, from: std::net::IpAddr) -> bool {
        self.links.borrow_mut().use_up(cookie, left, from, self.now())
    }

    /// Whether a cookie was used as a login link.
    pub fn is_used_link(&self, cookie: &str) -> bool {
        self.links.borrow().is_used(cookie)
    }

    fn limits(&self) -> impl Fn(&DomainId) -> Limits + use<> {
        let config = self.hub.config();
        move |domain: &DomainId| {
            let idle = config.domain(domain).idle_timeout;
            Limits::new(idle, config.settings.browser.session_time)
        }
    }
}

/// Where the cookies of a tenant belong, and what they look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieSite {
    /// The path of the tenant, `/` or `/<domain>/`, as it stands in URLs.
    pub path: String,
    same_site: SameSite,
    /// Whether the browser keeps the session's cookie when it is closed.
    lasting: bool,
}

impl CookieSite {
    /// The name of the cookie of a remembered device; MeshCentral's.
    pub const REMEMBERED: &str = "twofactor";

    /// That of `domain`.
    pub fn of(config: &Config, domain: &DomainId) -> Self {
        let has_host = config.domain(domain).dns.is_some();
        let path = match domain.is_default() || has_host {
            true => "/".to_owned(),
            false => {
                let name = form_urlencoded::byte_serialize(domain.as_str().as_bytes());
                format!("/{}/", name.collect::<String>().replace('+', "%20"))
            }
        };
        let settings = &config.settings.browser;
        Self { path, same_site: settings.same_site, lasting: settings.session_time.is_some() }
    }

    /// The name of the cookie of a session. A browser takes the first kind only from this very host
    /// with path `/`, so that no neighbour can plant one; a tenant below `/` must do with the
    /// second.
    fn session_name(&self) -> &'static str {
        if self.path == "/" { "__Host-session" } else { "__Secure-session" }
    }

    /// `Set-Cookie` of a session.
    pub fn session(&self, value: &str) -> String {
        let lasts = self.lasting.then(Limits::longest);
        self.cookie(self.session_name(), value, lasts)
    }

    /// `Set-Cookie` that makes a browser forget its session.
    pub fn no_session(&self) -> String {
        self.cookie(self.session_name(), "", Some(Duration::ZERO))
    }

    /// `Set-Cookie` of a remembered device. Other sites never need it.
    pub fn remembered(&self, value: &str, days: u32) -> String {
        let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let lasts = Duration::from_secs(u64::from(days) * 86_400);
        let strict = Self { same_site: SameSite::Strict, ..self.clone() };
        strict.cookie(Self::REMEMBERED, &value, Some(lasts))
    }

    fn cookie(&self, name: &str, value: &str, lasts: Option<Duration>) -> String {
        let lasts = lasts.map(|lasts| format!("; Max-Age={}", lasts.as_secs()));
        format!(
            "{name}={value}; Path={}; Secure; HttpOnly; SameSite={}{}",
            self.path,
            self.same_site.as_str(),
            lasts.unwrap_or_default()
        )
    }
}

/// The value of a cookie of ours, which is never escaped.
fn value_of<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests;
