//! The user side: `/control.ashx`, spoken by meshctrl, libmeshctrl, MeshCentral Router, scripts and
//! the web page.
//!
//! The way of a client: [`auth::Gate`] turns an HTTP upgrade into an account or a refusal,
//! [`session::Session`] answers its requests and hands it events, [`socket`] moves the texts between
//! both and a WebSocket. Requests are looked up in one table ([`actions`]), where each names the
//! right it needs; handlers get only what the table's entry has granted.

mod actions;
pub mod auth;
pub mod browser;
pub mod chats;
mod console;
pub mod factors;
mod features;
mod filter;
pub mod folders;
pub mod guests;
mod health;
pub mod housekeeping;
pub mod invitations;
pub mod keys;
mod limiter;
pub mod login;
mod notify;
pub mod password_rules;
pub mod passwords;
pub mod premises;
mod removal;
pub mod request;
pub mod session;
pub mod setup;
mod sharing;
pub mod socket;
pub mod statistics;
mod warnings;

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::amt::activation;
use crate::amt::lan::Lan;
use crate::hub::Hub;
use crate::identity::AgentServer;
use crate::identity::cookie::{CookieKey, INVITATION_KEY, LOGIN_KEY};
use crate::identity::password::Passwords;
use crate::identity::tls::WebTls;
use crate::model::{DomainId, Event, Key48, Secret, Target};
use crate::relay;
use crate::relay::recording::Recordings;
use crate::store::Store;

/// What a session tells about the server it runs on; filled in by the wiring.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// `cert` of the settings, the name the server is reached by; `None` if that is whatever name
    /// or address a client used.
    pub name: Option<String>,
    /// HTTPS port as seen by clients.
    pub port: u16,
    /// Plain HTTP port that redirects; 0 if there is none.
    pub redirect_port: u16,
    /// Intel AMT port as seen by clients; 0 if there is none.
    pub mps_port: u16,
    /// The name Intel AMT reaches that port by, which its certificate carries.
    pub mps_name: Option<String>,
    /// The certificate Intel AMT has to trust, DER; `None` while it is being made.
    pub root: Option<Rc<[u8]>>,
    /// SHA-384 of the web certificate in DER form.
    pub tls_hash: Key48,
    /// Hash of the agent-server certificate's key, by which agents know the server.
    pub agent_cert_hash: Key48,
    /// End of the web certificate, milliseconds since 1970.
    pub cert_expires: Option<u64>,
    /// How the server proves itself to clients that do not trust its TLS; `None` while the key is
    /// being made.
    pub proof: Option<Proof>,
}

/// What inner authentication needs.
#[derive(Clone)]
pub struct Proof {
    /// The identity that agents pin, and clients may.
    pub server: Arc<AgentServer>,
    /// The web certificates clients may see.
    pub tls: Arc<WebTls>,
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proof({})", self.server.id().text())
    }
}

/// The keys of the cookies this server makes and accepts.
#[derive(Clone)]
pub struct CookieKeys {
    /// Login, relay and file cookies.
    pub login: CookieKey,
    /// Agent invitations and device shares.
    pub invitation: CookieKey,
    /// Proofs between the steps of a login; made anew at each start.
    pub steps: CookieKey,
}

impl CookieKeys {
    /// The keys in the store, made if they are not there. `None` without randomness.
    pub fn of(store: &Store) -> Option<Self> {
        let steps = CookieKey::new(&CookieKey::fresh_secret("steps").ok()?)?;
        let (login, invitation) = (key(store, LOGIN_KEY)?, key(store, INVITATION_KEY)?);
        Some(Self { login, invitation, steps })
    }
}

fn key(store: &Store, name: &str) -> Option<CookieKey> {
    CookieKey::new(&*secret(store, name)?)
}

/// The secret of login cookies, made if it is not there: whoever has it can log in as anybody.
/// `None` without randomness.
pub fn login_secret(store: &Store) -> Option<Rc<Secret>> {
    secret(store, LOGIN_KEY)
}

fn secret(store: &Store, name: &str) -> Option<Rc<Secret>> {
    if let Some(secret) = store.secret(name).filter(|secret| CookieKey::new(secret).is_some()) {
        return Some(secret);
    }
    store.put(CookieKey::fresh_secret(name).ok()?).later();
    store.secret(name)
}

/// What all sessions of one server share.
pub struct Control {
    hub: Rc<Hub>,
    /// Who computes passwords.
    passwords: Passwords,
    /// Keys of cookies.
    keys: CookieKeys,
    /// Who carries tunnels.
    relay: Rc<relay::Room>,
    /// Set by the wiring.
    recordings: OnceCell<Rc<Recordings>>,
    /// Who speaks to Intel AMT; set by the wiring.
    amt: OnceCell<Rc<crate::amt::room::Room>>,
    /// Set by the wiring.
    lan: OnceCell<Rc<Lan>>,
    /// Set by the wiring.
    activation: OnceCell<Rc<activation::room::Room>>,
    /// Replaced when the web certificate is.
    facts: RefCell<Rc<ServerFacts>>,
    /// The sessions of browsers.
    pub browser: Rc<browser::Browser>,
    /// `None` until the wiring has filled it in, and in tests that need none.
    premises: RefCell<Option<Rc<premises::Premises>>>,
    series: RefCell<statistics::Series>,
    /// The door.
    pub gate: auth::Gate,
    /// What lets people without an account download agents.
    pub invitations: invitations::Invitations,
    /// Who lets people without an account use a device.
    pub guests: guests::Guests,
}

impl Control {
    /// The control room of `hub`.
    pub fn new(
        hub: Rc<Hub>,
        passwords: Passwords,
        keys: CookieKeys,
        relay: Rc<relay::Room>,
        facts: ServerFacts,
    ) -> Rc<Self> {
        let browser = browser::Browser::new(hub.clone());
        let (login, computing) = (keys.login.clone(), passwords.clone());
        let gate = auth::Gate::new(hub.clone(), computing, login, browser.clone());
        let invitations = invitations::Invitations::new(hub.clone(), keys.invitation.clone());
        let links = keys.invitation.clone();
        let guests = guests::Guests::new(hub.clone(), links, keys.login.clone());
        let (recordings, lan) = (OnceCell::new(), OnceCell::new());
        let facts = RefCell::new(Rc::new(facts));
        let (premises, series) = (RefCell::default(), RefCell::default());
        Rc::new(Self {
            hub,
            passwords,
            keys,
            relay,
            recordings,
            amt: OnceCell::new(),
            lan,
            activation: OnceCell::new(),
            facts,
            browser,
            premises,
            series,
            gate,
            invitations,
            guests,
        })
    }

    /// Lets sessions list recordings. Counts once.
    pub fn set_recordings(&self, recordings: Rc<Recordings>) {
        let _ = self.recordings.set(recordings);
    }

    /// Lets sessions speak to Intel AMT. Counts once.
    pub fn set_amt(&self, amt: Rc<crate::amt::room::Room>) {
        let _ = self.amt.set(amt);
    }

    /// Lets sessions know how Intel AMT is activated. Counts once.
    pub fn set_activation(&self, activation: Rc<activation::room::Room>) {
        let _ = self.activation.set(activation);
    }

    /// What the account's domain activates Intel AMT with.
    fn activation(&self, domain: &DomainId) -> Rc<activation::room::Equipment> {
        self.activation.get().map(|room| room.equipment(domain)).unwrap_or_default()
    }

    fn recordings(&self) -> Option<Rc<Recordings>> {
        self.recordings.get().cloned()
    }

    /// Lets sessions look for Intel AMT on the local network. Counts once.
    pub fn set_lan(&self, lan: Rc<Lan>) {
        let _ = self.lan.set(lan);
    }

    fn lan(&self) -> Option<Rc<Lan>> {
        self.lan.get().cloned()
    }

    /// The facts in force.
    pub fn facts(&self) -> Rc<ServerFacts> {
        self.facts.borrow().clone()
    }

    /// Where the server lives, once the wiring has said so.
    pub fn premises(&self) -> Option<Rc<premises::Premises>> {
        self.premises.borrow().clone()
    }

    /// Says where the server lives, and what is wrong with its configuration now.
    pub fn set_premises(&self, premises: premises::Premises) {
        *self.premises.borrow_mut() = Some(Rc::new(premises));
    }

    /// Takes a sample of the server's numbers and tells who watches; to be called every
    /// [`statistics::INTERVAL`].
    pub fn sample(&self) {
        let sample = self.series.borrow_mut().take(&self.hub).document();
        for domain in self.hub.config().domains.keys() {
            let event = Event::new("servertimelinestats", domain.clone());
            self.hub.publish(event.to(Target::All).transient().with("data", sample.clone()));
        }
    }

    /// Puts other facts in force (the web certificate was replaced).
    pub fn set_facts(&self, facts: ServerFacts) {
        *self.facts.borrow_mut() = Rc::new(facts);
    }
}

#[cfg(test)]
mod storm_tests;
#[cfg(test)]
mod testing;
