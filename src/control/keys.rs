//! Security keys of accounts: the ceremonies of [`crate::identity::webauthn`] for the accounts of
//! the store.
//!
//! The challenges that are out are here; what an answer has to fit comes with the request. Only a
//! browser can answer, so a request without `Origin` gets nothing.

use std::cell::RefCell;
use std::time::Instant;

use serde_json::Value;

use crate::identity::webauthn::{
    self, Assertion, Challenges, Expected, Purpose, Registered, Registration, WebAuthnError,
};
use crate::model::{Factors, KeyPin, SecurityKey, User};

use super::factors::Check;

/// The challenges that are out.
#[derive(Default)]
pub struct SecurityKeys {
    challenges: RefCell<Challenges>,
}

impl SecurityKeys {
    /// What a browser needs to log in with one of the keys in `factors`. `None` if there is none, or
    /// without randomness.
    pub fn ask(&self, factors: &Factors, pin: KeyPin) -> Option<Value> {
        let keys = &factors.security_keys;
        if keys.is_empty() {
            return None;
        }
        let mut challenges = self.challenges.borrow_mut();
        let challenge = challenges.give(&factors.user, Purpose::LogIn, Instant::now())?;
        Some(webauthn::request_options(keys, &challenge, pin))
    }

    /// What the text of a second factor proves that [`Assertion::is_one`]; `origin` is that of the
    /// page, already accepted.
    pub fn check(&self, factors: &Factors, text: &str, origin: Option<&str>, pin: KeyPin) -> Check {
        match self.verify(factors, text, origin, pin) {
            Ok(used) => {
                let mut factors = factors.clone();
                let kept = factors.security_keys.iter_mut();
                kept.filter(|key| key.credential == used.credential)
                    .for_each(|key| key.counter = used.counter);
                Check::Passed(factors)
            }
            Err(error) => {
                log::debug!("control: a security key of {}: {error}", factors.user);
                Check::Wrong
            }
        }
    }

    fn verify(
        &self,
        factors: &Factors,
        text: &str,
        origin: Option<&str>,
        pin: KeyPin,
    ) -> Result<SecurityKey, WebAuthnError> {
        let assertion = Assertion::parse(text)?;
        match self.take(assertion.challenge(), factors) {
            Some(Purpose::LogIn) => {}
            Some(Purpose::Register(_)) | None => return Err(WebAuthnError::Challenge),
        }
        let origin = origin.ok_or(WebAuthnError::Origin)?;
        assertion.verify(&Expected { origin, pin }, &factors.user, &factors.security_keys)
    }

    /// What a browser needs to make a key for `user`, which is to be called `name`. `title` is how
    /// the server calls itself.
    pub fn start(&self, title: &str, user: &User, name: &str, pin: KeyPin) -> Option<Value> {
        let purpose = Purpose::Register(name.into());
        let challenge = self.challenges.borrow_mut().give(&user.id, purpose, Instant::now())?;
        Some(webauthn::creation_options(title, &user.id, &user.name, &challenge, pin))
    }

    /// The key that was made, and its name.
    pub fn finish(
        &self,
        factors: &Factors,
        response: &Value,
        origin: Option<&str>,
        pin: KeyPin,
    ) -> Result<(Box<str>, Registered), WebAuthnError> {
        let registration = Registration::parse(response)?;
        let Some(Purpose::Register(name)) = self.take(registration.challenge(), factors) else {
            return Err(WebAuthnError::Challenge);
        };
        let origin = origin.ok_or(WebAuthnError::Origin)?;
        let made = registration.verify(&Expected { origin, pin })?;
        // An owner who registers a key twice would wonder which of both to remove.
        if factors.security_keys.iter().any(|key| key.credential == made.credential) {
            return Err(WebAuthnError::Known);
        }
        Ok((name, made))
    }

    fn take(&self, challenge: &[u8], factors: &Factors) -> Option<Purpose> {
        self.challenges.borrow_mut().take(challenge, &factors.user, Instant::now())
    }
}
