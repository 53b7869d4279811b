//! One visit of a computer whose firmware is to be activated, deactivated or logged in to, without
//! sockets or clocks: reports, answers and the time in; calls, lines and words out.
//!
//! ```text
//! decide ─► stop what is half done ─► read ─► sign ─► write the log ─► certificates ─► set up
//!   ├─► deactivate ─► decide again                            (admin control mode)       │
//!   └─► log in with what is known ◄───────────────────────── settle ◄────────────────────┘
//! ```
//!
//! Firmware that is set up over TLS goes another way between `decide` and `settle`: [`secure`].
//! The password is in the log before the firmware hears of it. When no answer comes to the last
//! call, the firmware is asked what it is now; it is never set up twice. Whatever is cut off here is
//! found at the next visit: by the state the computer reports, and by the passwords in the log.
//! Source: amt-activation-and-lan §3 and §4.5.

mod secure;
mod setup;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::matching::{Match, choose};
use super::state::{Login, Mode, State};
use super::terms::sentence;
pub use super::terms::{
    Answer, Call, Channel, Effect, Outcome, OverTls, Setting, Silence, Way, Who,
};
use crate::model::Millis;
use secure::Secure;

/// Time for a program on the computer to answer.
const PROGRAM: Duration = Duration::from_secs(60);
/// Time for the firmware to answer, connecting included.
const FIRMWARE: Duration = Duration::from_secs(90);
/// Time to set everything up that a group wants: some fifty requests.
const MANAGED: Duration = Duration::from_secs(600);
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
const LOGINS: usize = 10;
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
    /// The firmware was asked to let itself be set up over TLS.
    Introducing,
    /// TLS is made, and the realm read.
    Securing,
    SettingPassword,
    SettingMenuPassword,
    Committing,
    /// What was begun is taken back.
    Undoing,
    /// No answer came: does the new login work?
    Confirming,
    /// It does not: what is the firmware now?
    Rereading,
    Deactivating,
    /// The logins that are left.
    LoggingIn(VecDeque<Login>),
    /// What the group wants is set.
    Managing,
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
    /// Ask again to be let set it up over TLS.
    Introduce,
    /// Ask whether it is activated.
    Confirm,
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
    /// What there is to a set-up over TLS.
    secure: Option<Secure>,
    /// What the program is told if the set-up fails, and the failure while that is under way.
    takes_back: Option<&'static str>,
    failed: Option<String>,
    /// Times something was waited for.
    tries: u8,
    has_deactivated: bool,
    activated_over_tls: bool,
    /// When something happened last.
    now: Option<Instant>,
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
            secure: None,
            takes_back: None,
            failed: None,
            tries: 0,
            has_deactivated: false,
            activated_over_tls: false,
            now: None,
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
            (self.now, self.time) = (Some(now), time);
            self.say("Checking Intel AMT state...");
            self.decide(now);
        }
    }

    fn decide(&mut self, now: Instant) {
        let policy = self.policy();
        let State { is_activated, mode, .. } = self.setting.state;
        match (policy, is_activated, mode) {
            // A set-up over TLS that was cut off before its end.
            (2..=4, false, Mode::Client) if self.is_tls_only() && !self.has_deactivated => {
                self.deactivate(now);
            }
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
            (1, true, Mode::Admin) => {
                self.say(
                    "Intel AMT is in admin control mode, which a group does not undo. Whoever means \
                     it: `meshboard amt deactivate`, or MEBx.",
                );
                self.manage(now);
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
        (self.found, self.secure) = (None, None);
        if self.is_tls_only() && self.setting.over_tls == OverTls::Never {
            return self.end(
                false,
                "Intel AMT 19 and later is set up over TLS only, which the configuration of this \
                 server forbids (tlsConnections).",
            );
        }
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
        if self.is_secure() {
            self.say("Performing TLS ACM activation...");
            self.tries = 0;
            return self.introduce(now);
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
        let Setting { logins: known, accounts, logged, .. } = &self.setting;
        // What a person gave the program, what is known of the device, what the group has, what
        // the domain has, what the log has.
        let all = given.into_iter().chain(known.iter().cloned()).chain(fixed);
        for login in all.chain(accounts.iter().cloned()).chain(logged.iter().cloned()) {
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
        (self.now, self.time) = (Some(now), time);
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
            (Step::Introducing, "startTlsHostConfig") => self.introduced(value, now),
            // Whatever came of it: nothing more can be done from here.
            (Step::Undoing, "stopConfiguration" | "startTlsHostConfig" | "deactivate") => {
                self.undone();
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
        self.setting.logged.clear();
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
            Then::Confirm => self.looked_after_commit(now),
            _ => {
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
        (self.now, self.time) = (Some(now), time);
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::Reading => self.has_read(answer, now),
            Step::Certificates(taken) => match answer {
                Ok(Answer::Returned(0)) => self.next_certificate(taken + 1, now),
                other => self.fail("Failed to set ACM certificate chain", &other),
            },
            Step::SettingUp => match answer {
                Ok(Answer::Returned(0)) => self.has_set_up(now),
                Err(Silence::Lost(_)) => self.confirm(now),
                other => self.fail(self.failure(), &other),
            },
            step @ (Step::Securing
            | Step::SettingPassword
            | Step::SettingMenuPassword
            | Step::Committing) => self.answered_over_tls(step, answer, now),
            Step::Confirming => match answer {
                Ok(Answer::LoggedIn { .. }) => self.has_set_up(now),
                _ => self.call(Step::Rereading, Call::Read, now),
            },
            Step::Rereading => match answer {
                Ok(Answer::Read { mode: Mode::None, .. }) => {
                    let lost = Err(Silence::Lost("no answer came".into()));
                    self.fail(self.failure(), &lost);
                }
                Ok(Answer::Read { .. }) => self.has_set_up(now),
                _ => self.end_unknown(),
            },
            Step::LoggingIn(mut logins) => match (answer, logins.pop_front()) {
                (Ok(Answer::LoggedIn { realm }), Some(login)) => {
                    let line = self.line_of_login(&login, realm).map(Box::new);
                    self.effects.extend(line.map(Effect::Note));
                    self.effects.push_back(Effect::Works(login.clone()));
                    let activated_over_tls = self.activated_over_tls;
                    let call = Call::Manage { activated_over_tls, login };
                    self.effects.push_back(Effect::Call(call));
                    self.wait(Step::Managing, now, MANAGED);
                }
                (Err(Silence::Credentials), _) => self.log_in(logins, now),
                (other, _) => self.fail("Intel AMT cannot be logged in to", &other),
            },
            Step::Managing => match answer {
                Ok(_) => self.end(true, "Done."),
                other => self.fail("Intel AMT could not be set up as its group wants it", &other),
            },
            // An answer nobody waits for any more.
            step => self.step = step,
        }
    }

    /// Time has passed.
    pub fn expire(&mut self, now: Instant, time: Millis) {
        if self.until.is_none_or(|until| until > now) {
            return;
        }
        (self.until, self.now, self.time) = (None, Some(now), time);
        match &self.step {
            Step::Holding(then @ (Then::Look | Then::LookAgain | Then::Confirm)) => {
                let then = *then;
                self.tell("mestate");
                self.wait(Step::Asking(then), now, PROGRAM);
            }
            Step::Holding(Then::Read) => self.read(now),
            Step::Holding(Then::Introduce) => self.introduce(now),
            Step::Holding(_) => self.manage(now),
            // It is activated, whether its program says so or not.
            Step::Asking(Then::Settle) => self.looked(Then::Settle, now),
            Step::Asking(Then::Confirm) => self.end_unknown(),
            Step::Undoing => self.undone(),
            Step::SettingUp => self.confirm(now),
            Step::Reading
            | Step::Certificates(_)
            | Step::Securing
            | Step::SettingPassword
            | Step::SettingMenuPassword
            | Step::Committing
            | Step::Confirming
            | Step::Rereading
            | Step::LoggingIn(_)
            | Step::Managing => {
                self.answered(Err(Silence::Lost("it took too long".into())), now, time);
            }
            Step::Stopping | Step::Introducing | Step::Asking(_) | Step::Deactivating => {
                self.end(false, "The program on the computer does not answer.");
            }
            Step::Signing | Step::Writing => {
                self.attempt = None;
                self.end(false, "The server took too long to write its log.");
            }
            Step::New | Step::Over => {}
        }
    }

    fn fail(&mut self, what: &str, answer: &Result<Answer, Silence>) {
        let text = match answer {
            Ok(Answer::Returned(value)) => {
                format!("{what} (ERR/{value}): {}.", sentence(*value))
            }
            Ok(_) => format!("{what}: Intel AMT answered something else."),
            Err(Silence::Credentials) => format!("{what} (401): the login is not accepted."),
            Err(Silence::Refused(why) | Silence::Lost(why)) => format!("{what}: {why}."),
        };
        self.end(false, text);
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

    /// Nobody can say what came of it; the next visit will find out.
    fn end_unknown(&mut self) {
        // The log has no word of what came of it, and nothing is taken back.
        (self.attempt, self.takes_back) = (None, None);
        self.end(
            false,
            "It is not known whether Intel AMT was activated. Its password is in the activation log \
             and is tried when the computer connects again.",
        );
    }

    fn end(&mut self, is_success: bool, text: impl Into<String>) {
        let text = text.into();
        if !is_success {
            let line = self.line("-failed").map(Box::new);
            self.effects.extend(line.map(Effect::Note));
        }
        self.attempt = None;
        if let Some(action) = self.takes_back.take() {
            self.failed = Some(text);
            self.tell(action);
            self.until = self.now.map(|now| now + PROGRAM);
            return self.step = Step::Undoing;
        }
        self.over(is_success, text);
    }

    /// What was begun is taken back, or cannot be.
    fn undone(&mut self) {
        let text = self.failed.take().unwrap_or_default();
        self.over(false, text);
    }

    fn over(&mut self, is_success: bool, text: String) {
        self.say(&*text);
        // Without it MeshCmd would wait for ever.
        self.tell("close");
        self.effects.push_back(Effect::End(Outcome { is_success, text }));
        (self.step, self.until) = (Step::Over, None);
    }
}

#[cfg(test)]
mod tests;
