//! Password hashes: Argon2id for our own, MeshCentral's PBKDF2 for imported accounts.
//!
//! Argon2id runs with 12 MiB and three passes: what a board with 512 MB can spare once. Therefore
//! [`Passwords`] computes one hash at a time in the blocking pool; who is next is for
//! [`super::turns`] to say. MeshCentral's form (pass.js) is PBKDF2-HMAC-SHA384 with 12,000 rounds and 128 bytes
//! of output; its salt is 172 characters of base64 used as they are, undecoded.

use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use argon2::password_hash::{self, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use async_channel::Sender;
use ring::pbkdf2;

use super::turns::{Asker, Full, Standing, Turns};
use crate::model::{Network, PasswordHash};
use crate::pool;

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
#[derive(Clone, Default)]
pub struct Passwords(Arc<Mutex<Desk>>);

/// Shared with the pool: the end of a computation calls the next, whoever still waits for it.
struct Desk {
    at_work: bool,
    turns: Turns<Sender<Turn>>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { at_work: false, turns: Turns::new() }
    }
}

impl Passwords {
    /// Waits for the turn of `asker`.
    ///
    /// # Errors
    /// [`Busy`], at once or while waiting, if others come first and there are too many of them.
    pub async fn turn(&self, asker: Asker) -> Result<Turn, Busy> {
        let (call, called) = async_channel::bounded(1);
        let (number, displaced) = {
            let mut desk = self.desk();
            if !desk.at_work {
                desk.at_work = true;
                return Ok(Turn(self.clone()));
            }
            desk.turns.enter(asker, call).map_err(|Full(_)| Busy)?
        };
        // Its other end hears that it is dropped.
        drop(displaced);
        let _place = Place { passwords: self, number };
        called.recv().await.map_err(|_| Busy)
    }

    /// [`hash`] of `password`, for somebody who is logged in.
    pub async fn hash(&self, password: &str) -> Result<PasswordHash, Busy> {
        Ok(self.turn(Asker::INSIDE).await?.hash(password).await)
    }

    /// [`verify`], for somebody who is logged in.
    pub async fn verify(&self, hash: &PasswordHash, password: &str) -> Result<Verdict, Busy> {
        Ok(self.turn(Asker::INSIDE).await?.verify(Some(hash), password).await)
    }

    /// Something was learned about a network: those of it who wait are judged anew.
    pub fn judge(&self, network: Network, standing: Standing) {
        self.desk().turns.judge(network, standing);
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Nothing panics while it holds the lock; if it did, the queue would still be a queue.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a> {
    passwords: &'a Passwords,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.passwords.desk().turns.leave(self.number);
    }
}

/// The permission to compute once. Whoever has it holds everybody else up.
pub struct Turn(Passwords);

impl Turn {
    /// [`verify`] against `hash`; `None` means there is no such account and costs the same.
    pub async fn verify(self, hash: Option<&PasswordHash>, password: &str) -> Verdict {
        let hash = hash.cloned().unwrap_or(PasswordHash::None);
        let password = password.to_owned();
        self.compute(move || verify(&hash, &password)).await
    }

    /// [`hash`] of `password`.
    pub async fn hash(self, password: &str) -> PasswordHash {
        let password = password.to_owned();
        self.compute(move || hash(&password)).await
    }

    async fn compute<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        // The turn travels with the work: if the caller goes away meanwhile, the next one still
        // waits for this computation.
        let task = pool::unblock(move || {
            let _turn = self;
            work()
        });
        task.await
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut desk = self.0.desk();
        match desk.turns.next() {
            None => desk.at_work = false,
            Some(call) => {
                drop(desk);
                // If nobody waits at the other end any more, the turn is dropped there and goes on.
                drop(call.try_send(Turn(self.0.clone())));
            }
        }
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

    fn stranger(network: u8) -> Asker {
        Asker { network: Some(Network::V4([192, 0, network])), standing: Standing::Stranger }
    }

    /// The outcome of waiting so far.
    fn look(
        waiting: &mut (impl Future<Output = Result<Turn, Busy>> + Unpin),
    ) -> Option<Result<Turn, Busy>> {
        future::block_on(future::poll_once(waiting))
    }

    #[test]
    fn one_computes_and_others_wait_their_turn_or_are_sent_away_at_once() {
        let passwords = Passwords::default();
        let at_work = future::block_on(passwords.turn(stranger(0))).unwrap();
        let mut crowd: Vec<_> =
            (0..20).map(|network| Box::pin(passwords.turn(stranger(network)))).collect();
        let waiting = crowd.iter_mut().filter_map(look).count();
        assert_eq!(waiting, 4, "sixteen wait, four are sent away");
        let mut owner = Box::pin(passwords.turn(Asker::INSIDE));
        assert!(look(&mut owner).is_none());
        assert!(matches!(look(&mut crowd[15]), Some(Err(Busy))), "it gave way");
        drop(at_work);
        let turn = look(&mut owner).unwrap().unwrap();
        assert!(look(&mut crowd[0]).is_none(), "one at a time");
        assert_eq!(future::block_on(turn.verify(None, "x")), Verdict::Wrong);
        assert!(matches!(look(&mut crowd[0]), Some(Ok(_))));
    }

    #[test]
    fn a_turn_given_to_somebody_who_left_goes_on() {
        let passwords = Passwords::default();
        let at_work = future::block_on(passwords.turn(stranger(0))).unwrap();
        let mut waiting: Vec<_> =
            (1..4).map(|network| Box::pin(passwords.turn(stranger(network)))).collect();
        assert!(waiting.iter_mut().all(|one| look(one).is_none()));
        drop(waiting.remove(0));
        drop(at_work);
        // It was called already, and leaves without having looked.
        drop(waiting.remove(0));
        assert!(matches!(look(&mut waiting[0]), Some(Ok(_))));
        let late = future::block_on(passwords.verify(&PasswordHash::None, "x"));
        assert_eq!(late, Ok(Verdict::Wrong), "places are given back");
    }
}
