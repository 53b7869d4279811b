//! Setting up over TLS (secure host-based configuration): firmware from 14 on can, from 19 on it must
//! be. A part of [`super::Flow`].
//!
//! ```text
//! introduce ─► TLS, realm ─► log ─► password ─► (password of MEBx) ─► commit ─► activated
//! ```
//!
//! The firmware is told by the program on the computer whom to expect; the program is told which
//! certificate the firmware will show. Both prove over TLS that they are it. Nothing holds before
//! the changes are committed: what fails is taken back by `stopConfiguration`. Client control mode
//! of firmware 19 and later goes the old way up to its last step, which it shares. Source:
//! amt-activation-and-lan §3.7.

use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::setup::is_sound;
use super::{Answer, Call, Effect, Flow, PROGRAM, Silence, Step, Then};
use crate::amt::activation::terms::sentence;

/// How often firmware that is busy is asked again, or asked whether it is activated, and when.
const TRIES: u8 = 3;
const AGAIN: Duration = Duration::from_secs(10);
/// Return value: something is missing, which is the password of the firmware's own menu.
const MISSING: u32 = 2057;
/// Hex digits of a certificate's hash: SHA-256 to what the reply has room for.
const HASH: std::ops::RangeInclusive<usize> = 64..=128;

/// What there is to a set-up over TLS.
#[derive(Default)]
pub(super) struct Secure {
    /// Of the certificate the firmware will show, hex.
    pub(super) hash: String,
    /// The menu has got a password.
    has_menu: bool,
}

impl Flow {
    /// Has the firmware told whom to expect.
    pub(super) fn introduce(&mut self, now: Instant) {
        let Some(found) = &self.found else { return };
        let hash = found.certificate.introduction();
        let order = json!({
            "action": "startTlsHostConfig", "hash": hash, "hostVpn": false, "dnsSuffixList": null,
        });
        self.secure = Some(Secure::default());
        self.takes_back = Some("stopConfiguration");
        self.effects.push_back(Effect::Tell(order));
        self.wait(Step::Introducing, now, PROGRAM);
    }

    /// The program says what became of it: `{status, hash}`.
    pub(super) fn introduced(&mut self, value: Option<&Value>, now: Instant) {
        let status = value.and_then(|value| value.get("status")).and_then(Value::as_i64);
        let hash = value.and_then(|value| value.get("hash")).and_then(Value::as_str);
        let is_hash = |hash: &&str| {
            HASH.contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        match (status, hash.filter(is_hash)) {
            (Some(0), Some(hash)) => {
                if let Some(secure) = &mut self.secure {
                    secure.hash = hash.to_lowercase();
                }
                self.say("Attempting TLS connection...");
                self.call(Step::Securing, Call::ReadRealm, now);
            }
            // It is making the key of that certificate.
            (Some(47..=49), _) if self.tries < TRIES => {
                self.tries += 1;
                self.say("Intel AMT is not ready yet. Holding 10 seconds...");
                self.wait(Step::Holding(Then::Introduce), now, AGAIN);
            }
            (Some(0), None) => self.end(
                false,
                "Failed to startConfigurationHBased(): the certificate of Intel AMT was not told.",
            ),
            (Some(status), _) => {
                let why = match (status, u32::try_from(status)) {
                    (-100, _) => "the computer has no Intel ME driver",
                    (_, Ok(status)) => sentence(status),
                    _ => "the program on the computer could not do it",
                };
                let text =
                    format!("Failed to startConfigurationHBased(), status = {status}: {why}.");
                self.end(false, text);
            }
            // `{state: -103}`: how some versions say that the driver failed.
            (None, _) => {
                self.end(false, "The Intel ME driver of the computer does not answer.");
            }
        }
    }

    /// An answer to one of the calls over TLS.
    pub(super) fn answered_over_tls(
        &mut self,
        step: Step,
        answer: Result<Answer, Silence>,
        now: Instant,
    ) {
        match (step, answer) {
            (Step::Securing, Ok(Answer::LoggedIn { realm })) if is_sound(&realm) => {
                self.say("Successful TLS connection.");
                if self.attempt(realm) {
                    self.write(now);
                }
            }
            (Step::Securing, Ok(_)) => {
                self.end(false, "Could not get Intel AMT digest realm.");
            }
            (Step::Securing, other) => self.fail("Failed to perform ACM TLS connection", &other),
            (Step::SettingPassword | Step::SettingMenuPassword, Ok(Answer::Returned(0))) => {
                self.commit(now);
            }
            (Step::SettingPassword, other) => self.fail("Failed to set admin password", &other),
            (Step::SettingMenuPassword, other) => self.fail("Failed to set MEBx password", &other),
            (_, Ok(Answer::Returned(0))) => self.activated(now),
            (_, Ok(Answer::Returned(MISSING))) if self.lacks_menu_password() => {
                self.set_menu_password(now);
            }
            (_, Err(Silence::Lost(_))) => {
                self.say("No answer came. Looking whether Intel AMT was activated...");
                self.tries = 0;
                self.wait(Step::Holding(Then::Confirm), now, AGAIN);
            }
            (_, other) => self.fail(self.failure(), &other),
        }
    }

    /// Gives the administrator its password.
    pub(super) fn set_password(&mut self, now: Instant) {
        self.say("Setting admin password...");
        let password = BASE64.encode(&self.hash());
        self.call(Step::SettingPassword, Call::SetPassword { password }, now);
    }

    fn lacks_menu_password(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| !secure.has_menu)
    }

    /// Some firmware does not commit while its menu has the password of the factory. It gets the
    /// administrator's, which is in the log.
    fn set_menu_password(&mut self, now: Instant) {
        let password = self.attempt.as_ref().map(|attempt| attempt.login.password.clone());
        let (Some(password), Some(secure)) = (password, &mut self.secure) else { return };
        secure.has_menu = true;
        self.say("Setting MEBx password, to the same...");
        self.call(Step::SettingMenuPassword, Call::SetMenuPassword(password), now);
    }

    pub(super) fn commit(&mut self, now: Instant) {
        self.call(Step::Committing, Call::Commit, now);
    }

    /// The connection may break because the firmware begins anew with what was committed; only its
    /// state tells.
    pub(super) fn looked_after_commit(&mut self, now: Instant) {
        if self.setting.state.is_activated {
            return self.activated(now);
        }
        self.tries += 1;
        match self.tries < TRIES {
            true => self.wait(Step::Holding(Then::Confirm), now, AGAIN),
            false => {
                let lost = Err(Silence::Lost("no answer came".into()));
                self.fail(self.failure(), &lost);
            }
        }
    }
}
