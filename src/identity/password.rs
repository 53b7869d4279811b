//! Password hashes: Argon2id for our own, MeshCentral's PBKDF2 for imported accounts.
//!
//! Argon2id runs with 12 MiB and three passes: what a board with 512 MB can spare once. Therefore
//! [`Passwords`] computes one hash at a time in the blocking pool and answers at once when too many
//! are waiting. MeshCentral's form (pass.js) is PBKDF2-HMAC-SHA384 with 12,000 rounds and 128 bytes
//! of output; its salt is 172 characters of base64 used as they are, undecoded.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::LazyLock;

use argon2::password_hash::{self, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use async_channel::{Receiver, Sender};
use ring::pbkdf2;

use crate::model::PasswordHash;

/// Memory of one Argon2id computation, in KiB.
const MEMORY_KIB: u32 = 12 * 1024;
/// Passes over the memory.
const PASSES: u32 = 3;
/// Rounds of MeshCentral's PBKDF2.
const PBKDF2_ROUNDS: NonZeroU32 = NonZeroU32::new(12_000).expect("not zero");
/// Bytes of MeshCentral's PBKDF2 output.
const PBKDF2_LEN: usize = 128;
/// Longest password in bytes that is looked at: 256 characters of at most 4 bytes.
const PASSWORD_MAX: usize = 1024;

/// Verifications that may wait for the one at work.
const QUEUE: usize = 16;

/// The outcome of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not the password.
    Wrong,
    /// The password.
    Right,
    /// The password, but kept in an old form: hash it again and store that.
    RightButUpgrade,
}

/// Too many computations are waiting; try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl std::fmt::Display for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too many passwords are being checked at this moment")
    }
}

impl std::error::Error for Busy {}

/// Hashes a password with a fresh random salt. Takes tens of milliseconds: see [`Passwords`].
///
/// Without randomness or memory the result is [`PasswordHash::None`], which nothing matches.
pub fn hash(password: &str) -> PasswordHash {
    let mut salt = [0; 16];
    if getrandom::fill(&mut salt).is_err() {
        return PasswordHash::None;
    }
    let Ok(salt) = SaltString::encode_b64(&salt) else { return PasswordHash::None };
    argon2()
        .hash_password(password.as_bytes(), &salt)
        .map_or(PasswordHash::None, |hash| PasswordHash::Argon2(hash.to_string()))
}

/// The form in which a password is kept that this server made from at least 15 random bytes.
pub fn keep_random(password: &str) -> PasswordHash {
    PasswordHash::Random(sha384(password))
}

fn sha384(text: &str) -> [u8; 48] {
    super::certificate::sha384(text.as_bytes()).0
}

/// Compares a password with its hash, in constant time for equal forms. Takes tens of
/// milliseconds: see [`Passwords`].
pub fn verify(hash: &PasswordHash, password: &str) -> Verdict {
    if password.len() > PASSWORD_MAX {
        return Verdict::Wrong;
    }
    match hash {
        PasswordHash::Argon2(text) => verify_argon2(text, password),
        PasswordHash::Pbkdf2 { salt, hash } => verify_pbkdf2(salt, hash, password),
        PasswordHash::Random(expected) => {
            // How long two digests take to compare tells nobody how to make a closer one.
            if sha384(password) == *expected { Verdict::Right } else { Verdict::Wrong }
        }
        PasswordHash::None => {
            verify_nobody(password);
            Verdict::Wrong
        }
    }
}

/// Costs what [`verify`] costs and is never right: for names without an account, so that the time
/// an answer takes tells nothing about which names exist.
fn verify_nobody(password: &str) {
    /// A hash of a random text nobody knows.
    static NOBODY: LazyLock<PasswordHash> = LazyLock::new(|| {
        let mut secret = [0; 32];
        // Predictable bytes do no harm here: the verdict is not looked at.
        let _ = getrandom::fill(&mut secret);
        hash(&data_encoding::BASE64.encode(&secret))
    });
    if let PasswordHash::Argon2(text) = &*NOBODY {
        let _ = verify_argon2(text, password);
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn verify_argon2(text: &str, password: &str) -> Verdict {
    // The hash names its own parameters; `verify_password` follows them.
    let Ok(parsed) = password_hash::PasswordHash::new(text) else { return Verdict::Wrong };
    match argon2().verify_password(password.as_bytes(), &parsed) {
        Ok(()) => Verdict::Right,
        Err(_) => Verdict::Wrong,
    }
}

fn verify_pbkdf2(salt: &str, hash: &str, password: &str) -> Verdict {
    let Ok(expected) = data_encoding::BASE64.decode(hash.as_bytes()) else {
        return Verdict::Wrong;
    };
    if expected.len() != PBKDF2_LEN {
        return Verdict::Wrong;
    }
    let (salt, password) = (salt.as_bytes(), password.as_bytes());
    match pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA384, PBKDF2_ROUNDS, salt, password, &expected) {
        Ok(()) => Verdict::RightButUpgrade,
        Err(_) => Verdict::Wrong,
    }
}

/// The one place where passwords are computed while the server runs: off the executor, one at a
/// time, at most 16 waiting.
#[derive(Clone)]
pub struct Passwords(Rc<Shared>);

struct Shared {
    waiting: Cell<usize>,
    /// A channel with one token in it: who holds the token computes.
    give: Sender<()>,
    take: Receiver<()>,
}

impl Default for Passwords {
    fn default() -> Self {
        let (give, take) = async_channel::bounded(1);
        let _ = give.try_send(());
        Self(Rc::new(Shared { waiting: Cell::new(0), give, take }))
    }
}

impl Passwords {
    /// [`verify`] against `hash`; `None` means there is no such account and costs the same.
    pub async fn verify(
        &self,
        hash: Option<&PasswordHash>,
        password: &str,
    ) -> Result<Verdict, Busy> {
        let hash = hash.cloned().unwrap_or(PasswordHash::None);
        let password = password.to_owned();
        self.compute(move || verify(&hash, &password)).await
    }

    /// [`hash`] of `password`.
    pub async fn hash(&self, password: &str) -> Result<PasswordHash, Busy> {
        let password = password.to_owned();
        self.compute(move || hash(&password)).await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let _place = Place::take(&self.0)?;
        // The channel lives as long as `self`; it is never closed.
        let _ = self.0.take.recv().await;
        let token = Token(self.0.give.clone());
        // The token travels with the work: if the caller goes away meanwhile, the next computation
        // still waits for this one.
        let task = blocking::unblock(move || {
            let _token = token;
            work()
        });
        Ok(task.await)
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a Shared);

impl<'a> Place<'a> {
    fn take(shared: &'a Shared) -> Result<Self, Busy> {
        // The one at work has a place, too.
        if shared.waiting.get() > QUEUE {
            return Err(Busy);
        }
        shared.waiting.set(shared.waiting.get() + 1);
        Ok(Self(shared))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

/// The permission to compute, given back when dropped.
struct Token(Sender<()>);

impl Drop for Token {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future;

    const VECTORS: &str = include_str!("../../tests/vectors/control-password.json");

    #[test]
    fn passwords_kept_by_meshcentral_are_right_and_wait_for_an_upgrade() {
        let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        for entry in vectors["pbkdf2"].as_array().unwrap() {
            let text = |name: &str| entry[name].as_str().unwrap().to_owned();
            let kept = PasswordHash::Pbkdf2 { salt: text("salt"), hash: text("hash") };
            assert_eq!(verify(&kept, &text("password")), Verdict::RightButUpgrade);
            assert_eq!(verify(&kept, "another"), Verdict::Wrong);
        }
    }

    #[test]
    fn a_hash_verifies_its_own_password_only() {
        let kept = hash("B0b!passw");
        assert_eq!(verify(&kept, "B0b!passw"), Verdict::Right);
        assert_eq!(verify(&kept, "b0b!passw"), Verdict::Wrong);
        assert_ne!(kept, hash("B0b!passw"), "salted");
    }

    #[test]
    fn a_hash_stays_within_its_memory_budget() {
        let PasswordHash::Argon2(text) = hash("x") else { panic!("argon2") };
        assert!(text.starts_with("$argon2id$v=19$m=12288,t=3,p=1$"), "{text}");
    }

    #[test]
    fn a_spoiled_hash_matches_nothing() {
        for kept in [
            PasswordHash::None,
            PasswordHash::Argon2(String::new()),
            PasswordHash::Argon2("$argon2id$v=19$m=1".into()),
            PasswordHash::Pbkdf2 { salt: String::new(), hash: String::new() },
            PasswordHash::Pbkdf2 { salt: "x".into(), hash: "?".into() },
        ] {
            assert_eq!(verify(&kept, ""), Verdict::Wrong, "{kept:?}");
        }
    }

    #[test]
    fn a_storm_of_logins_is_answered_at_once_when_the_queue_is_full() {
        let passwords = Passwords::default();
        passwords.0.take.try_recv().unwrap(); // A computation that does not end.
        let (mut busy, mut running) = (0, Vec::new());
        for _ in 0..QUEUE + 1 + 5 {
            let (passwords, hash) = (passwords.clone(), PasswordHash::Argon2(String::new()));
            let mut attempt = Box::pin(async move { passwords.verify(Some(&hash), "x").await });
            match future::block_on(future::poll_once(&mut attempt)) {
                Some(outcome) => {
                    assert_eq!(outcome, Err(Busy));
                    busy += 1;
                }
                None => running.push(attempt),
            }
        }
        assert_eq!(busy, 5);
        passwords.0.give.try_send(()).unwrap();
        for attempt in running {
            assert_eq!(future::block_on(attempt), Ok(Verdict::Wrong));
        }
        let late = future::block_on(passwords.verify(None, "x"));
        assert_eq!(late, Ok(Verdict::Wrong), "places are given back");
    }
}
