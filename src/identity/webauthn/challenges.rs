//! Challenges that were given to browsers and not answered yet.
//!
//! A challenge is good once, for two minutes, for one purpose of one account. An answer carries its
//! challenge, so nothing has to be kept in the browser. The table holds at most [`LIMIT`] entries of
//! some 200 bytes; when it is full, the account that has most loses its oldest.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use data_encoding::BASE64;

use crate::model::UserId;

/// Bytes of a challenge.
const LEN: usize = 32;
/// How long a challenge may wait for its answer. Browsers ask their person for one minute.
const LIFETIME: Duration = Duration::from_secs(120);
/// Challenges at a time.
const LIMIT: usize = 512;

/// What a challenge is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To register a key, and what its owner calls it.
    Register(Box<str>),
    /// To log in.
    LogIn,
}

/// 32 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge([u8; LEN]);

impl Challenge {
    /// Standard base64.
    pub fn text(&self) -> String {
        BASE64.encode(&self.0)
    }
}

struct Waiting {
    challenge: [u8; LEN],
    purpose: Purpose,
    user: UserId,
    until: Instant,
}

/// The table.
#[derive(Default)]
pub struct Challenges {
    /// In the order they were given out, which is the order they run out.
    waiting: VecDeque<Waiting>,
}

impl Challenges {
    /// A fresh challenge for `user`. `None` without randomness.
    pub fn give(&mut self, user: &UserId, purpose: Purpose, now: Instant) -> Option<Challenge> {
        let mut challenge = [0; LEN];
        getrandom::fill(&mut challenge).ok()?;
        self.forget_late(now);
        if self.waiting.len() >= LIMIT {
            self.make_room();
        }
        let until = now + LIFETIME;
        self.waiting.push_back(Waiting { challenge, purpose, user: user.clone(), until });
        Some(Challenge(challenge))
    }

    /// What `challenge` was given to `user` for, if it waits for its answer. It does not wait any
    /// longer, whatever becomes of the answer.
    pub fn take(&mut self, challenge: &[u8], user: &UserId, now: Instant) -> Option<Purpose> {
        self.forget_late(now);
        let at = self.waiting.iter().position(|w| w.challenge == *challenge)?;
        let waiting = self.waiting.remove(at)?;
        (waiting.user == *user).then_some(waiting.purpose)
    }

    fn forget_late(&mut self, now: Instant) {
        while self.waiting.front().is_some_and(|oldest| oldest.until <= now) {
            self.waiting.pop_front();
        }
    }

    /// Drops the oldest challenge of the account that has most.
    fn make_room(&mut self) {
        let mut counts: BTreeMap<&UserId, usize> = BTreeMap::new();
        for waiting in &self.waiting {
            *counts.entry(&waiting.user).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count).map(|(user, _)| user.clone());
        if let Some(at) = self.waiting.iter().position(|w| Some(&w.user) == most.as_ref()) {
            self.waiting.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DomainId;

    fn user(name: &str) -> UserId {
        UserId::new(DomainId::default(), name).unwrap()
    }

    #[test]
    fn a_challenge_is_good_once_in_its_time_for_its_account() {
        let now = Instant::now();
        let late = now + LIFETIME;
        for (owner, at, good) in [
            ("ann", now, true),
            ("ann", late - Duration::from_millis(1), true),
            ("ann", late, false),
            ("bob", now, false),
        ] {
            let mut challenges = Challenges::default();
            let purpose = Purpose::Register("blue".into());
            let given = challenges.give(&user("ann"), purpose.clone(), now).unwrap();
            let taken = challenges.take(&given.0, &user(owner), at);
            assert_eq!(taken, good.then_some(purpose), "{owner}");
            let again = challenges.take(&given.0, &user("ann"), now);
            assert_eq!(again, None, "{owner}: it was presented once");
        }
    }

    #[test]
    fn no_account_takes_the_challenges_of_another_away() {
        let (mut challenges, now) = (Challenges::default(), Instant::now());
        let victim = challenges.give(&user("ann"), Purpose::LogIn, now).unwrap();
        for _ in 0..10 * LIMIT {
            challenges.give(&user("eve"), Purpose::LogIn, now).unwrap();
        }
        assert_eq!(challenges.waiting.len(), LIMIT);
        assert!(challenges.take(&victim.0, &user("ann"), now).is_some());
    }

    #[test]
    fn what_was_never_given_is_not_taken() {
        let (mut challenges, now) = (Challenges::default(), Instant::now());
        challenges.give(&user("ann"), Purpose::LogIn, now).unwrap();
        for guess in [&[][..], &[0; LEN], &[0; 1000]] {
            assert_eq!(challenges.take(guess, &user("ann"), now), None);
        }
    }
}
