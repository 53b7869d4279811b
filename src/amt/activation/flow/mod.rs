//! One visit of a computer whose firmware is to be activated, deactivated or logged in to, without
//! sockets or clocks: reports, answers and the time in; calls, lines and words out.
//!
//! ```text
//! decide ─► stop what is half done ─► read ─► sign ─► write the log ─► certificates ─► set up
//!   ├─► deactivate ─► decide again                            (admin control mode)       │
//!   └─► log in with what is known ◄───────────────────────── settle ◄────────────────────┘
//! ```
//!
//! The password is in the log before the firmware hears of it. When no answer comes to the last
//! call, the firmware is asked what it is now; it is never set up twice. Whatever is cut off here is
//! found at the next visit: by the state the computer reports, and by the passwords in the log.
//! Source: amt-activation-and-lan §3 and §4.5.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Map, Value, json};

use super::certificate::Certificate;
use super::log::Line;
use super::matching::{Match, choose};
use super::password;
use super::state::{Login, Mode, State};
use super::terms::sentence;
pub use super::terms::{Answer, Call, Effect, Outcome, Setting, Silence, Who};
use crate::model::Millis;

/// Time for a program on the computer to answer.
const PROGRAM: Duration = Duration::from_secs(60);
/// Time for the firmware to answer, connecting included.
const FIRMWARE: Duration = Duration::from_secs(90);
/// Time for our own disk and processor.
const OURSELVES: Duration = Duration::from_secs(30);
/// What firmware needs after its half-done configuration was stopped, before and after it is looked
/// at again.
const CLEARED: Duration = Duration::from_secs(30);
const READY: Duration = Duration::from_secs(40);
/// What it needs after it was deactivated, and after it was activated.
const DEACTIVATED: Duration = Duration::from_secs(60);
const ACTIVATED: Duration = Duration::from_secs(10);
/// Most logins tried: firmware counts failures.
const LOGINS: usize = 6;
/// Length of nonces in bytes, and what a firmware may send.
const NONCE: usize = 20;
const NONCES: std::ops::RangeInclusive<usize> = 12..=64;
/// Characters of a realm.
const REALM: std::ops::RangeInclusive<usize> = 16..=256;
/// From this version on firmware is set up over TLS only.
const TLS_ONLY: u32 = 19;
const ADMIN: &str = "admin";

#[derive(Debug, PartialEq)]
enum Step {
    /// Nothing has begun.
    New,
    /// `stopConfiguration` was asked.
    Stopping,
    /// Waiting for the firmware.
    Holding(Then),
    /// The state was asked for.
    Asking(Then),
    Reading,
    Signing,
    Writing,
    /// So many certificates were taken.
    Certificates(usize),
    SettingUp,
    /// No answer came: does the new login work?
    Confirming,
    /// It does not: what is the firmware now?
    Rereading,
    Deactivating,
    /// The logins that are left.
    LoggingIn(VecDeque<Login>),
    Over,
}

/// What comes after waiting.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// Ask for the state, and hold again.
    Look,
    /// Begin to set up.
    Read,
    /// Ask for the state, and decide again.
    LookAgain,
    /// It is activated: hold again.
    Settle,
    /// Log in with what was set.
    Manage,
}

/// What is being set up.
struct Attempt {
    found: Option<Match>,
    own_nonce: Vec<u8>,
    signature: Vec<u8>,
    realm: String,
    login: Login,
}

/// See the module.
pub struct Flow {
    setting: Setting,
    step: Step,
    until: Option<Instant>,
    effects: VecDeque<Effect>,
    attempt: Option<Attempt>,
    /// With which certificate; `None` is client control mode.
    found: Option<Match>,
    has_deactivated: bool,
    time: Millis,
}

impl Flow {
    /// A visit that begins when [`Self::begin`] is called.
    pub fn new(setting: Setting) -> Self {
        Self {
            setting,
            step: Step::New,
            until: None,
            effects: VecDeque::new(),
            attempt: None,
            found: None,
            has_deactivated: false,
            time: Millis(0),
        }
    }

    /// The next effect.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Self::expire`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// Begins. `time` is the wall time, for lines of the log.
    pub fn begin(&mut self, now: Instant, time: Millis) {
        if self.step == Step::New {
            self.time = time;
            self.say("Checking Intel AMT state...");
            self.decide(now);
        }
    }

    fn decide(&mut self, now: Instant) {
        let policy = self.policy();
        let State { is_activated, mode, .. } = self.setting.state;
        match (policy, is_activated, mode) {
            (2..=4, false, _) => self.activate(now),
            (1, true, Mode::Client) => self.deactivate(now),
            (3 | 4, true, Mode::Client) if !self.has_deactivated => {
                let found = choose(&self.setting.certificates, &self.setting.state, self.time);
                let gives_up = policy == 3 && self.client_mode() == 1;
                match found {
                    Ok(_) => self.deactivate(now),
                    Err(_) if gives_up => self.deactivate(now),
                    Err(_) => self.manage(now),
                }
            }
            (0 | 1, false, _) => {
                self.end(true, "Intel AMT is not activated; nothing is to be done.")
            }
            _ => self.manage(now),
        }
    }

    fn policy(&self) -> u8 {
        self.setting.policy.as_ref().map_or(0, |policy| policy.kind)
    }

    fn client_mode(&self) -> u8 {
        self.setting.policy.as_ref().map_or(0, |policy| policy.client_mode)
    }

    fn activate(&mut self, now: Instant) {
        let state = &self.setting.state;
        if state.local.is_none() {
            return self
                .end(false, "The program on the computer reported no local login (OsAdmin).");
        }
        self.found = None;
        if self.policy() != 2 {
            match choose(&self.setting.certificates, state, self.time) {
                Ok(_) if state.core_version == 0 => {
                    return self.end(
                        false,
                        "This software is too old to support ACM activation, please update and try \
                         again.",
                    );
                }
                Ok(found) => self.found = Some(found),
                Err(why) => {
                    let why = format!("No opportunity for ACM activation: {why}");
                    if self.policy() == 3 && self.client_mode() != 2 {
                        return self.end(false, why);
                    }
                    self.say(format!("{why} Client control mode is tried instead."));
                }
            }
        }
        if self.found.is_none() {
            return self.read(now);
        }
        self.say("Getting ready for ACM activation...");
        self.tell("stopConfiguration");
        self.wait(Step::Stopping, now, PROGRAM);
    }

    fn read(&mut self, now: Instant) {
        self.call(Step::Reading, Call::Read, now);
    }

    fn deactivate(&mut self, now: Instant) {
        self.has_deactivated = true;
        self.say("Deactivating Client Control Mode (CCM)...");
        self.tell("deactivate");
        self.wait(Step::Deactivating, now, PROGRAM);
    }

    fn manage(&mut self, now: Instant) {
        let mut logins: VecDeque<Login> = VecDeque::new();
        let fixed = self.setting.policy.as_ref().and_then(|policy| policy.password.clone());
        let fixed = fixed.map(|password| Login { user: ADMIN.into(), password });
        let given = self.setting.state.given.clone();
        // What a person gave the program, what is known of the device, what the group has.
        for login in given.into_iter().chain(self.setting.logins.clone()).chain(fixed) {
            if logins.len() < LOGINS && !logins.contains(&login) && !login.password.is_empty() {
                logins.push_back(login);
            }
        }
        if logins.is_empty() {
            return self.no_login(now, "No admin login passwords to try, stopping now.");
        }
        self.log_in(logins, now);
    }

    fn log_in(&mut self, logins: VecDeque<Login>, now: Instant) {
        match logins.front().cloned() {
            Some(login) => self.call(Step::LoggingIn(logins), Call::LogIn(login), now),
            None => self.no_login(now, "Intel AMT accepts none of the known passwords."),
        }
    }

    fn no_login(&mut self, now: Instant, why: &str) {
        let anew = self.policy() == 4
            || self.policy() >= 2
                && self.setting.policy.as_ref().is_some_and(|policy| policy.bad_password == 1);
        match anew && self.setting.state.mode == Mode::Client && !self.has_deactivated {
            true => self.deactivate(now),
            false => self.end(false, why),
        }
    }

    /// The program on the computer said something.
    pub fn heard(&mut self, said: &Map<String, Value>, now: Instant, time: Millis) {
        self.time = time;
        let action = said.get("action").and_then(Value::as_str).unwrap_or_default();
        let value = said.get("value");
        let number = value.and_then(Value::as_i64);
        match (&self.step, action) {
            (Step::Stopping, "stopConfiguration") if number == Some(0) => {
                self.say(
                    "Cleared in-provisioning state. Holding 30 seconds prior to getting Intel AMT \
                     MEI state...",
                );
                self.wait(Step::Holding(Then::Look), now, CLEARED);
            }
            // 3 says that nothing was half done, which is good; other values say little.
            (Step::Stopping, "stopConfiguration") if number.is_some() => self.read(now),
            // How some versions say that the driver failed.
            (Step::Stopping, "stopConfiguration" | "startTlsHostConfig") => {
                self.end(false, "The Intel ME driver of the computer does not answer.");
            }
            (Step::Deactivating, "deactivate") => match number {
                Some(0) => self.deactivated(now),
                _ => self.end(false, "The Intel ME driver of the computer refuses to deactivate."),
            },
            (Step::Asking(then), "meiState") => {
                let then = *then;
                if let Some(report) = value.and_then(Value::as_object) {
                    let given = self.setting.state.given.take();
                    self.setting.state = State::read(report);
                    self.setting.state.given = self.setting.state.given.take().or(given);
                }
                self.looked(then, now);
            }
            _ => {}
        }
    }

    fn deactivated(&mut self, now: Instant) {
        self.effects.push_back(Effect::Deactivated);
        self.setting.logins.clear();
        if self.policy() < 2 || (self.policy() == 3 && self.client_mode() == 1 && !self.fits()) {
            self.say("Deactivation successful.");
            return self.end(true, "Done.");
        }
        self.say("Deactivated. Holding 60 seconds...");
        self.wait(Step::Holding(Then::LookAgain), now, DEACTIVATED);
    }

    fn fits(&self) -> bool {
        choose(&self.setting.certificates, &self.setting.state, self.time).is_ok()
    }

    /// A state has come, or did not when it may be missing.
    fn looked(&mut self, then: Then, now: Instant) {
        match then {
            Then::Look => {
                self.say(
                    "Got new Intel AMT MEI state. Holding 40 seconds prior to ACM activation...",
                );
                self.wait(Step::Holding(Then::Read), now, READY);
            }
            Then::LookAgain => self.decide(now),
            Then::Settle | Then::Manage | Then::Read => {
                let mode = if self.found.is_some() { Mode::Admin } else { Mode::Client };
                self.say(format!(
                    "Successfully activated in {} mode, holding 10 seconds...",
                    mode.short()
                ));
                self.wait(Step::Holding(Then::Manage), now, ACTIVATED);
            }
        }
    }

    /// The firmware has answered the last call, or has not.
    pub fn answered(&mut self, answer: Result<Answer, Silence>, now: Instant, time: Millis) {
        self.time = time;
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::Reading => self.has_read(answer, now),
            Step::Certificates(taken) => match answer {
                Ok(Answer::Returned(0)) => self.next_certificate(taken + 1, now),
                other => self.fail("Failed to set ACM certificate chain", &other),
            },
            Step::SettingUp => match answer {
                Ok(Answer::Returned(0)) => self.activated(now),
                Err(Silence::Lost(_)) => self.confirm(now),
                other => self.fail(self.failure(), &other),
            },
            Step::Confirming => match answer {
                Ok(Answer::LoggedIn) => self.activated(now),
                _ => self.call(Step::Rereading, Call::Read, now),
            },
            Step::Rereading => match answer {
                Ok(Answer::Read { mode: Mode::None, .. }) => {
                    let lost = Err(Silence::Lost("no answer came".into()));
                    self.fail(self.failure(), &lost);
                }
                Ok(Answer::Read { .. }) => self.activated(now),
                _ => {
                    // The log has no word of what came of it: the next visit will find out.
                    self.attempt = None;
                    self.end(
                        false,
                        "It is not known whether Intel AMT was activated. Its password is in the \
                         activation log and is tried when the computer connects again.",
                    );
                }
            },
            Step::LoggingIn(mut logins) => match (answer, logins.pop_front()) {
                (Ok(Answer::LoggedIn), Some(login)) => {
                    self.effects.push_back(Effect::Works(login));
                    self.end(true, "Done.");
                }
                (Err(Silence::Credentials), _) => self.log_in(logins, now),
                (other, _) => self.fail("Intel AMT cannot be logged in to", &other),
            },
            // An answer nobody waits for any more.
            step => self.step = step,
        }
    }

    fn has_read(&mut self, answer: Result<Answer, Silence>, now: Instant) {
        let (realm, nonce, modes) = match answer {
            Ok(Answer::Read { realm, nonce, modes, mode: Mode::None }) => (realm, nonce, modes),
            Ok(Answer::Read { mode, .. }) => {
                let text = format!("Intel AMT is activated already, in {} mode.", mode.short());
                return self.end(false, text);
            }
            other => return self.fail("Failed to get Intel AMT state", &other),
        };
        let is_sound = REALM.contains(&realm.chars().count()) && NONCES.contains(&nonce.len());
        if !is_sound {
            return self.end(false, "Failed to get Intel AMT state: it makes no sense.");
        }
        if self.found.is_none() && modes != 2 {
            return self.end(false, "Client control mode activation not allowed.");
        }
        let fixed = self.setting.policy.as_ref().filter(|policy| policy.kind != 4);
        let fixed = fixed.and_then(|policy| policy.password.clone());
        if fixed.as_deref().is_some_and(|password| !password::is_acceptable(password)) {
            return self.end(
                false,
                "The password of the device group is none that Intel AMT takes: it needs 8 to 32 \
                 characters with a digit, a small and a capital letter and a special character.",
            );
        }
        let mut own_nonce = vec![0; NONCE];
        let password = fixed.or_else(password::random);
        let (Some(password), Ok(())) = (password, getrandom::fill(&mut own_nonce)) else {
            return self.end(false, "The server has no random numbers.");
        };
        let signed = [nonce.as_slice(), &own_nonce].concat();
        let login = Login { user: ADMIN.into(), password };
        let found = self.found.clone();
        let signs = found.is_some();
        self.attempt = Some(Attempt { found, own_nonce, signature: Vec::new(), realm, login });
        if signs {
            self.effects.push_back(Effect::Sign(signed));
            self.wait(Step::Signing, now, OURSELVES);
        } else {
            self.write(now);
        }
    }

    /// The login that works on the computer itself, as it was last reported.
    pub fn local(&self) -> Option<Login> {
        self.setting.state.local.clone()
    }

    /// With which certificate [`Effect::Sign`] is meant.
    pub fn certificate(&self) -> Option<Arc<Certificate>> {
        self.found.as_ref().map(|found| found.certificate.clone())
    }

    /// The signature is there.
    pub fn signed(&mut self, signature: Option<Vec<u8>>, now: Instant) {
        if self.step != Step::Signing {
            return;
        }
        match (signature, &mut self.attempt) {
            (Some(signature), Some(attempt)) => {
                attempt.signature = signature;
                self.write(now);
            }
            _ => self.end(false, "Unable to perform signature."),
        }
    }

    fn write(&mut self, now: Instant) {
        if let Some(line) = self.line("") {
            self.effects.push_back(Effect::Write(Box::new(line)));
            self.wait(Step::Writing, now, OURSELVES);
        }
    }

    /// A line about the attempt; with a suffix one that says what came of it.
    fn line(&self, suffix: &str) -> Option<Line> {
        let Attempt { found, realm, login, .. } = self.attempt.as_ref()?;
        let who = &self.setting.who;
        let some = |text: &str| Some(text.to_owned());
        let action = if found.is_some() { "acmactivate" } else { "ccmactivate" };
        let line = Line {
            time: self.time.iso(),
            action: format!("{action}{suffix}"),
            domain: who.domain.clone(),
            amt_uuid: who.uuid.clone(),
            ipport: some(&who.remote),
            meshid: some(&who.group),
            ..Line::default()
        };
        if !suffix.is_empty() {
            return Some(line);
        }
        Some(Line {
            cert_hash: found.as_ref().map(|found| found.hash.clone()),
            hash_type: found.as_ref().map(|found| found.kind.to_owned()),
            amt_realm: some(realm),
            amt_fqdn: found.as_ref().map(|found| found.suffix.clone()),
            user: some(&login.user),
            password: some(&login.password),
            nodeid: some(&who.node),
            computer_name: some(&self.setting.state.computer),
            agent_id: found.as_ref().map(|_| 0),
            ..line
        })
    }

    /// The line is on the disk, or it is not; then nothing is activated.
    pub fn written(&mut self, is_written: bool, now: Instant) {
        if self.step != Step::Writing {
            return;
        }
        let Some(attempt) = self.attempt.as_ref().filter(|_| is_written) else {
            self.attempt = None;
            return self.end(false, "Unable to log operation.");
        };
        if let Some(found) = &attempt.found {
            self.effects.push_back(Effect::Requested(found.suffix.clone()));
            self.say("Performing ACM activation...");
            self.next_certificate(0, now);
        } else {
            self.say("Performing CCM activation...");
            let password = self.hash();
            self.call(Step::SettingUp, Call::Setup { password }, now);
        }
    }

    /// What the firmware keeps of the password.
    fn hash(&self) -> String {
        let Some(Attempt { login, realm, .. }) = &self.attempt else { return String::new() };
        let credentials = crate::amt::digest::Credentials {
            user: login.user.clone(),
            password: login.password.clone(),
        };
        HEXLOWER.encode(&crate::amt::digest::password_hash(&credentials, realm))
    }

    fn next_certificate(&mut self, taken: usize, now: Instant) {
        let Some(Attempt { found: Some(found), own_nonce, signature, .. }) = &self.attempt else {
            return;
        };
        let chain = &found.certificate.chain;
        let Some(certificate) = chain.get(taken).cloned() else {
            let (nonce, signature) = (BASE64.encode(own_nonce), BASE64.encode(signature));
            let call = Call::AdminSetup { password: self.hash(), nonce, signature };
            return self.call(Step::SettingUp, call, now);
        };
        let (is_leaf, is_root) = (taken == 0, taken + 1 == chain.len());
        let call = Call::AddCertificate { certificate, is_leaf, is_root };
        self.call(Step::Certificates(taken), call, now);
    }

    /// No answer came to the call that activates.
    fn confirm(&mut self, now: Instant) {
        let Some(login) = self.attempt.as_ref().map(|attempt| attempt.login.clone()) else {
            return;
        };
        self.say("No answer came. Looking whether Intel AMT was activated...");
        self.call(Step::Confirming, Call::LogIn(login), now);
    }

    fn activated(&mut self, now: Instant) {
        let line = self.line("-success").map(Box::new);
        self.effects.extend(line.map(Effect::Note));
        let Some(Attempt { found, login, realm, .. }) = self.attempt.take() else { return };
        let mode = if found.is_some() { Mode::Admin } else { Mode::Client };
        self.setting.logins = vec![login.clone()];
        self.effects.push_back(Effect::Activated(login, realm, mode));
        self.tell("mestate");
        self.wait(Step::Asking(Then::Settle), now, PROGRAM);
    }

    /// Time has passed.
    pub fn expire(&mut self, now: Instant, time: Millis) {
        if self.until.is_none_or(|until| until > now) {
            return;
        }
        (self.until, self.time) = (None, time);
        match &self.step {
            Step::Holding(then @ (Then::Look | Then::LookAgain)) => {
                let then = *then;
                self.tell("mestate");
                self.wait(Step::Asking(then), now, PROGRAM);
            }
            Step::Holding(Then::Read) => self.read(now),
            Step::Holding(_) => self.manage(now),
            // It is activated, whether its program says so or not.
            Step::Asking(Then::Settle) => self.looked(Then::Settle, now),
            Step::SettingUp => self.confirm(now),
            Step::Reading
            | Step::Certificates(_)
            | Step::Confirming
            | Step::Rereading
            | Step::LoggingIn(_) => {
                self.answered(Err(Silence::Lost("it took too long".into())), now, time);
            }
            Step::Stopping | Step::Asking(_) | Step::Deactivating => {
                self.end(false, "The program on the computer does not answer.");
            }
            Step::Signing | Step::Writing => {
                self.attempt = None;
                self.end(false, "The server took too long to write its log.");
            }
            Step::New | Step::Over => {}
        }
    }

    /// The text of a failure to set up.
    fn failure(&self) -> &'static str {
        match self.found {
            Some(_) => "Failed to complete ACM activation",
            None => "Failed to activate Intel AMT to CCM",
        }
    }

    fn fail(&mut self, what: &str, answer: &Result<Answer, Silence>) {
        let mut text = match answer {
            Ok(Answer::Returned(value)) => {
                format!("{what} (ERR/{value}): {}.", sentence(*value))
            }
            Ok(_) => format!("{what}: Intel AMT answered something else."),
            Err(Silence::Credentials) => format!("{what} (401): the login is not accepted."),
            Err(Silence::Refused(why) | Silence::Lost(why)) => format!("{what}: {why}."),
        };
        if answer.is_err() && self.setting.state.major() >= TLS_ONLY {
            text += " Intel AMT 19 and later is set up over TLS only, which this server cannot do.";
        }
        self.end(false, text);
    }

    fn call(&mut self, step: Step, call: Call, now: Instant) {
        self.effects.push_back(Effect::Call(call));
        self.wait(step, now, FIRMWARE);
    }

    fn wait(&mut self, step: Step, now: Instant, time: Duration) {
        self.step = step;
        self.until = Some(now + time);
    }

    fn tell(&mut self, action: &str) {
        self.effects.push_back(Effect::Tell(json!({ "action": action })));
    }

    fn say(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.effects.push_back(Effect::Tell(json!({"action": "console", "msg": text})));
    }

    fn end(&mut self, is_success: bool, text: impl Into<String>) {
        let text = text.into();
        if !is_success {
            let line = self.line("-failed").map(Box::new);
            self.effects.extend(line.map(Effect::Note));
        }
        self.attempt = None;
        self.say(&*text);
        // Without it MeshCmd would wait for ever.
        self.tell("close");
        self.effects.push_back(Effect::End(Outcome { is_success, text }));
        (self.step, self.until) = (Step::Over, None);
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
