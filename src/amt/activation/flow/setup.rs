//! From what the firmware says of itself to its answer to the call that activates it: the password,
//! the signature, the lines of the log, the certificates. A part of [`super::Flow`].

use std::sync::Arc;
use std::time::Instant;

use data_encoding::{BASE64, HEXLOWER};

use super::{
    ADMIN, Answer, Attempt, Call, Channel, Effect, FIRMWARE, Flow, OURSELVES, OverTls, PROGRAM,
    Silence, Step, Then, Way,
};
use crate::amt::activation::certificate::Certificate;
use crate::amt::activation::log::Line;
use crate::amt::activation::password;
use crate::amt::activation::state::{Login, Mode, State};
use crate::amt::digest::{Credentials, password_hash};

/// Length of nonces in bytes, and what a firmware may send.
const NONCE: usize = 20;
const NONCES: std::ops::RangeInclusive<usize> = 12..=64;
/// Characters of a realm.
const REALM: std::ops::RangeInclusive<usize> = 16..=256;
/// From this version on firmware can be set up over TLS.
const TLS: u32 = 14;

impl Flow {
    /// How a call reaches the firmware now.
    pub fn way(&self, call: &Call) -> Way {
        let local = self.setting.state.local.clone();
        let channel = if self.is_tls_only() { Channel::Tls } else { Channel::Plain };
        let introduced = || {
            let certificate = self.found.as_ref()?.certificate.clone();
            let hash = self.secure.as_ref()?.hash.clone();
            // Who we are is proven by TLS; the firmware has no password yet.
            let login = Some(Login { user: ADMIN.into(), password: String::new() });
            Some(Way { login, channel: Channel::Introduced { certificate, hash } })
        };
        let own = || self.attempt.as_ref().map(|attempt| attempt.login.clone());
        match call {
            Call::LogIn(login) | Call::Manage { login, .. } => {
                Way { login: Some(login.clone()), channel }
            }
            Call::ReadRealm | Call::SetPassword { .. } | Call::SetMenuPassword(_) => {
                introduced().unwrap_or(Way { login: None, channel })
            }
            Call::Commit => introduced().unwrap_or_else(|| Way { login: own(), channel }),
            Call::Read
            | Call::AddCertificate { .. }
            | Call::AdminSetup { .. }
            | Call::Setup { .. } => Way { login: local, channel },
        }
    }

    /// What the computer is called in its network, if its program has said both parts.
    pub fn name(&self) -> Option<(String, String)> {
        let State { computer, os_suffix, .. } = &self.setting.state;
        os_suffix.clone().filter(|_| !computer.is_empty()).map(|suffix| (computer.clone(), suffix))
    }

    pub(super) fn is_tls_only(&self) -> bool {
        self.setting.state.is_tls_only()
    }

    /// Whether the certificate that was found is to be used over TLS.
    pub(super) fn is_secure(&self) -> bool {
        let can = self.setting.state.major() >= TLS;
        self.is_tls_only() || (can && self.setting.over_tls == OverTls::WherePossible)
    }

    pub(super) fn has_read(&mut self, answer: Result<Answer, Silence>, now: Instant) {
        let (realm, nonce, modes) = match answer {
            Ok(Answer::Read { realm, nonce, modes, mode: Mode::None }) => (realm, nonce, modes),
            Ok(Answer::Read { mode, .. }) => {
                let text = format!("Intel AMT is activated already, in {} mode.", mode.short());
                return self.end(false, text);
            }
            other => return self.fail("Failed to get Intel AMT state", &other),
        };
        if !is_sound(&realm) || !NONCES.contains(&nonce.len()) {
            return self.end(false, "Failed to get Intel AMT state: it makes no sense.");
        }
        if self.found.is_none() && modes != 2 {
            return self.end(false, "Client control mode activation not allowed.");
        }
        if !self.attempt(realm) {
            return;
        }
        let signed = self.attempt.as_ref().map(|a| [nonce.as_slice(), &a.own_nonce].concat());
        match signed.filter(|_| self.found.is_some()) {
            Some(signed) => {
                self.effects.push_back(Effect::Sign(signed));
                self.wait(Step::Signing, now, OURSELVES);
            }
            None => self.write(now),
        }
    }

    /// Chooses the password. Returns whether there is one; otherwise the visit is at its end.
    pub(super) fn attempt(&mut self, realm: String) -> bool {
        let fixed = self.setting.policy.as_ref().filter(|policy| policy.kind != 4);
        let fixed = fixed.and_then(|policy| policy.password.clone());
        if fixed.as_deref().is_some_and(|password| !password::is_acceptable(password)) {
            self.end(
                false,
                "The password of the device group is none that Intel AMT takes: it needs 8 to 32 \
                 characters with a digit, a small and a capital letter and a special character.",
            );
            return false;
        }
        let mut own_nonce = vec![0; NONCE];
        let password = fixed.or_else(password::random);
        let (Some(password), Ok(())) = (password, getrandom::fill(&mut own_nonce)) else {
            self.end(false, "The server has no random numbers.");
            return false;
        };
        let login = Login { user: ADMIN.into(), password };
        let (found, signature) = (self.found.clone(), Vec::new());
        self.attempt = Some(Attempt { found, own_nonce, signature, realm, login });
        true
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
        self.now = Some(now);
        match (signature, &mut self.attempt) {
            (Some(signature), Some(attempt)) => {
                attempt.signature = signature;
                self.write(now);
            }
            _ => self.end(false, "Unable to perform signature."),
        }
    }

    pub(super) fn write(&mut self, now: Instant) {
        if let Some(line) = self.line("") {
            self.effects.push_back(Effect::Write(Box::new(line)));
            self.wait(Step::Writing, now, OURSELVES);
        }
    }

    /// A line about the attempt; with a suffix one that says what came of it.
    pub(super) fn line(&self, suffix: &str) -> Option<Line> {
        let Attempt { found, realm, login, .. } = self.attempt.as_ref()?;
        let who = &self.setting.who;
        let some = |text: &str| Some(text.to_owned());
        let action = match (found, &self.secure) {
            (None, _) => "ccmactivate",
            (Some(_), None) => "acmactivate",
            (Some(_), Some(_)) => "acmactivate-tls",
        };
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
        // The certificate is named where it signs.
        let found = found.as_ref().filter(|_| self.secure.is_none());
        Some(Line {
            cert_hash: found.map(|found| found.hash.clone()),
            hash_type: found.map(|found| found.kind.to_owned()),
            amt_realm: some(realm),
            amt_fqdn: found.map(|found| found.suffix.clone()),
            user: some(&login.user),
            password: some(&login.password),
            nodeid: some(&who.node),
            computer_name: some(&self.setting.state.computer),
            agent_id: found.map(|_| 0),
            ..line
        })
    }

    /// A line about a password that works and is not the newest in the log: for a computer the log
    /// knows.
    pub(super) fn line_of_login(&self, login: &Login, realm: String) -> Option<Line> {
        let (who, newest) = (&self.setting.who, self.setting.logged.first()?);
        (newest.password != login.password).then(|| Line {
            time: self.time.iso(),
            action: "amtpassword".into(),
            domain: who.domain.clone(),
            amt_uuid: who.uuid.clone(),
            amt_realm: Some(realm),
            user: Some(login.user.clone()),
            password: Some(login.password.clone()),
            // Not in MeshCentral's line; without it the password would not be found again.
            nodeid: Some(who.node.clone()),
            computer_name: Some(self.setting.state.computer.clone()),
            ..Line::default()
        })
    }

    /// The line is on the disk, or it is not; then nothing is activated.
    pub fn written(&mut self, is_written: bool, now: Instant) {
        if self.step != Step::Writing {
            return;
        }
        self.now = Some(now);
        let Some(attempt) = self.attempt.as_ref().filter(|_| is_written) else {
            self.attempt = None;
            return self.end(false, "Unable to log operation.");
        };
        self.setting.logged.insert(0, attempt.login.clone());
        if let Some(found) = &attempt.found {
            let (suffix, over_tls) = (found.suffix.clone(), self.secure.is_some());
            self.effects.push_back(Effect::Requested { suffix, over_tls });
            if over_tls {
                return self.set_password(now);
            }
            self.say("Performing ACM activation...");
            self.next_certificate(0, now);
        } else {
            self.say("Performing CCM activation...");
            let password = HEXLOWER.encode(&self.hash());
            self.call(Step::SettingUp, Call::Setup { password }, now);
        }
    }

    /// What the firmware keeps of the password.
    pub(super) fn hash(&self) -> Vec<u8> {
        let Some(Attempt { login, realm, .. }) = &self.attempt else { return Vec::new() };
        let (user, password) = (login.user.clone(), login.password.clone());
        password_hash(&Credentials { user, password }, realm).to_vec()
    }

    pub(super) fn next_certificate(&mut self, taken: usize, now: Instant) {
        let Some(Attempt { found: Some(found), own_nonce, signature, .. }) = &self.attempt else {
            return;
        };
        let chain = &found.certificate.chain;
        let Some(certificate) = chain.get(taken).cloned() else {
            let (nonce, signature) = (BASE64.encode(own_nonce), BASE64.encode(signature));
            let password = HEXLOWER.encode(&self.hash());
            let call = Call::AdminSetup { password, nonce, signature };
            return self.call(Step::SettingUp, call, now);
        };
        let (is_leaf, is_root) = (taken == 0, taken + 1 == chain.len());
        let call = Call::AddCertificate { certificate, is_leaf, is_root };
        self.call(Step::Certificates(taken), call, now);
    }

    /// No answer came to the call that activates.
    pub(super) fn confirm(&mut self, now: Instant) {
        let Some(login) = self.attempt.as_ref().map(|attempt| attempt.login.clone()) else {
            return;
        };
        self.say("No answer came. Looking whether Intel AMT was activated...");
        self.call(Step::Confirming, Call::LogIn(login), now);
    }

    /// The call that activates was performed; newer firmware wants to hear that this was all.
    pub(super) fn has_set_up(&mut self, now: Instant) {
        match self.found.is_none() && self.is_tls_only() {
            true => {
                self.takes_back = Some("deactivate");
                self.commit(now);
            }
            false => self.activated(now),
        }
    }

    pub(super) fn activated(&mut self, now: Instant) {
        let line = self.line("-success").map(Box::new);
        self.effects.extend(line.map(Effect::Note));
        self.takes_back = None;
        let Some(Attempt { found, login, realm, .. }) = self.attempt.take() else { return };
        let mode = if found.is_some() { Mode::Admin } else { Mode::Client };
        self.setting.logins = vec![login.clone()];
        self.activated_over_tls = self.is_tls_only() || self.secure.is_some();
        self.effects.push_back(Effect::Activated(login, realm, mode));
        self.tell("mestate");
        self.wait(Step::Asking(Then::Settle), now, PROGRAM);
    }

    /// The text of a failure to set up.
    pub(super) fn failure(&self) -> &'static str {
        match self.found {
            Some(_) => "Failed to complete ACM activation",
            None => "Failed to activate Intel AMT to CCM",
        }
    }

    pub(super) fn call(&mut self, step: Step, call: Call, now: Instant) {
        self.effects.push_back(Effect::Call(call));
        self.wait(step, now, FIRMWARE);
    }
}

/// Whether this can be the realm of a firmware.
pub(super) fn is_sound(realm: &str) -> bool {
    REALM.contains(&realm.chars().count())
}
