//! Failed logins: the network a password is guessed from is barred for a while, and an account that
//! is guessed from everywhere is tried from known places only.
//!
//! Sources: `maxInvalidLogin` and `maxInvalid2fa` of config.json, per network. Time is monotonic, so
//! a board that learns the date does not free anybody. What a restart must not forget, the bars,
//! the caller keeps. Each table is bounded: a thousand entries of at most some 100 bytes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::LoginLimit;
use crate::identity::turns::Standing;
use crate::model::{Network, UserId};

/// Networks remembered at a time.
const NETWORKS: usize = 1024;
/// Accounts under attack remembered at a time.
const ACCOUNTS: usize = 1024;
/// Places of successful logins remembered at a time.
const KNOWN: usize = 512;
/// How many times the limit of one network an account may be guessed from everywhere. A password
/// has to resist that many guesses; six digits do not, see [`Guess::Factor`].
const EVERYWHERE: u32 = 10;
/// Attempts a network may make at once, and time after which it may make one more, before it counts
/// as hammering at the door, right or wrong.
const BURST: u32 = 8;
const PAUSE: Duration = Duration::from_secs(1);
/// Longest window; keeps `Instant` arithmetic in range whatever the configuration says.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What was guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Guess {
    /// Name, password or cookie.
    Password,
    /// The second factor of an account whose password is known.
    Factor,
}

/// Failures within a window.
#[derive(Clone, Copy, Debug)]
struct Count {
    since: Instant,
    count: u32,
}

/// What a network has done.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    passwords: Option<Count>,
    factors: Option<Count>,
    /// When it may try again, once a limit was reached.
    barred_until: Option<Instant>,
    /// When all of this is forgotten.
    until: Option<Instant>,
}

/// Counts failures and bars networks.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    networks: BTreeMap<Network, Record>,
    /// When an account's failures have drained away, each taking its share of the window.
    accounts: BTreeMap<(UserId, Guess), Instant>,
    /// When a network's attempts have drained away.
    attempts: BTreeMap<Network, Instant>,
    /// From where accounts logged in, and when.
    known: BTreeMap<(Network, UserId), Instant>,
}

impl Limiter {
    /// Whether nobody at `address` may try now.
    pub(super) fn is_barred(&self, address: IpAddr, now: Instant) -> bool {
        let record = self.networks.get(&Network::of(address));
        record.is_some_and(|record| record.barred_until.is_some_and(|until| now < until))
    }

    /// Whether `account` was guessed so often that it is not tried from `address` now. From where
    /// it logged in before, it always is; and one stranger at a time gets through, ever so slowly.
    pub(super) fn is_besieged(
        &self,
        account: &UserId,
        guess: Guess,
        address: IpAddr,
        limit: &LoginLimit,
        now: Instant,
    ) -> bool {
        if self.known.contains_key(&(Network::of(address), account.clone())) {
            return false;
        }
        let drained = self.accounts.get(&(account.clone(), guess));
        let left = drained.map(|drained| drained.saturating_duration_since(now));
        left.is_some_and(|left| left + share(guess, limit) > window(limit))
    }

    /// Notes an attempt, whatever becomes of it. Returns what is known of the network of `address`.
    pub(super) fn attempted(&mut self, address: IpAddr, now: Instant) -> Standing {
        let network = Network::of(address);
        if !self.attempts.contains_key(&network) && self.attempts.len() >= NETWORKS {
            self.attempts.retain(|_, drained| *drained > now);
            if self.attempts.len() >= NETWORKS
                && let Some(least) = oldest(&self.attempts)
            {
                self.attempts.remove(&least);
            }
        }
        let drained = self.attempts.entry(network).or_insert(now);
        *drained = ((*drained).max(now) + PAUSE).min(now + PAUSE * (BURST + 1));
        self.standing(address, now)
    }

    /// What is known of the network of `address`.
    pub(super) fn standing(&self, address: IpAddr, now: Instant) -> Standing {
        let network = Network::of(address);
        let record = self.networks.get(&network).filter(|record| !record.is_over(now));
        let failures = record.map_or(0, |record| {
            [record.passwords, record.factors].into_iter().flatten().map(|c| c.count).sum()
        });
        let drained = self.attempts.get(&network);
        let hammers = drained.is_some_and(|drained| *drained > now + PAUSE * BURST);
        match (self.is_known(network), failures) {
            // People mistype, and many of them may sit behind one address.
            (true, 0..=2) => Standing::Known,
            (false, 0) if !hammers => Standing::Stranger,
            (true, _) if !hammers => Standing::Stranger,
            _ => Standing::Suspect,
        }
    }

    fn is_known(&self, network: Network) -> bool {
        self.known.keys().any(|(known, _)| *known == network)
    }

    /// Notes a login.
    pub(super) fn succeeded(&mut self, account: &UserId, address: IpAddr, now: Instant) {
        if self.known.len() >= KNOWN
            && let Some(oldest) = oldest(&self.known)
        {
            self.known.remove(&oldest);
        }
        self.known.insert((Network::of(address), account.clone()), now);
    }

    /// Counts a failed login at `account`, if there is such a name. Returns how long the network is
    /// barred from now on, if it was not before.
    pub(super) fn failed(
        &mut self,
        address: IpAddr,
        account: Option<&UserId>,
        guess: Guess,
        limit: &LoginLimit,
        now: Instant,
    ) -> Option<Duration> {
        if let Some(account) = account {
            self.burden(account, guess, limit, now);
        }
        let network = Network::of(address);
        if !self.networks.contains_key(&network) {
            self.make_room(now);
        }
        let record = self.networks.entry(network).or_default();
        if record.is_over(now) {
            *record = Record::default();
        }
        let counts = match guess {
            Guess::Password => &mut record.passwords,
            Guess::Factor => &mut record.factors,
        };
        let count = counts.get_or_insert(Count { since: now, count: 0 });
        if now >= count.since + window(limit) {
            *count = Count { since: now, count: 0 };
        }
        count.count += 1;
        let end = count.since + window(limit);
        record.until = record.until.max(Some(end));
        if count.count < limit.count || record.barred_until.is_some() {
            return None;
        }
        let bar = limit.cool_off.map_or(end.saturating_duration_since(now), |t| t.min(LONGEST));
        record.bar(now + bar);
        Some(bar)
    }

    /// Bars a network, as it was before a restart.
    pub(super) fn bar(&mut self, network: Network, time: Duration, now: Instant) {
        self.make_room(now);
        self.networks.entry(network).or_default().bar(now + time.min(LONGEST));
    }

    /// An attempt at `account` fills a share of the window.
    fn burden(&mut self, account: &UserId, guess: Guess, limit: &LoginLimit, now: Instant) {
        let key = (account.clone(), guess);
        if !self.accounts.contains_key(&key) && self.accounts.len() >= ACCOUNTS {
            self.accounts.retain(|_, drained| *drained > now);
            // The one that is nearest to being forgotten.
            if self.accounts.len() >= ACCOUNTS
                && let Some(least) = oldest(&self.accounts)
            {
                self.accounts.remove(&least);
            }
        }
        let drained = self.accounts.entry(key).or_insert(now);
        // Never fuller than full: whoever waits until it drains has waited the window at most.
        *drained = ((*drained).max(now) + share(guess, limit)).min(now + window(limit));
    }

    /// Drops what has run out; in a full table also the entry that is nearest to running out.
    fn make_room(&mut self, now: Instant) {
        if self.networks.len() < NETWORKS {
            return;
        }
        self.networks.retain(|_, record| !record.is_over(now));
        if self.networks.len() < NETWORKS {
            return;
        }
        let least = self
            .networks
            .iter()
            .min_by_key(|(_, record)| (record.barred_until, record.until))
            .map(|(network, _)| *network);
        if let Some(network) = least {
            self.networks.remove(&network);
        }
    }
}

impl Record {
    fn bar(&mut self, until: Instant) {
        self.barred_until = Some(until);
        self.until = Some(until);
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }
}

/// What one failure takes of an account's window.
fn share(guess: Guess, limit: &LoginLimit) -> Duration {
    let count = match guess {
        Guess::Password => limit.count.saturating_mul(EVERYWHERE),
        Guess::Factor => limit.count,
    };
    window(limit) / count.max(1)
}

fn window(limit: &LoginLimit) -> Duration {
    limit.time.min(LONGEST)
}

fn oldest<K: Clone + Ord>(table: &BTreeMap<K, Instant>) -> Option<K> {
    table.iter().min_by_key(|(_, when)| **when).map(|(key, _)| key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DomainId;

    const LIMIT: LoginLimit =
        LoginLimit { time: Duration::from_secs(600), count: 3, cool_off: None };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// An address in a network of its own.
    fn nth(n: u32) -> IpAddr {
        IpAddr::from((n << 8).to_be_bytes())
    }

    fn account(name: &str) -> UserId {
        UserId::new(DomainId::default(), name).unwrap()
    }

    impl Limiter {
        fn guess(&mut self, address: IpAddr, limit: &LoginLimit, now: Instant) -> Option<Duration> {
            self.failed(address, None, Guess::Password, limit, now)
        }
    }

    #[test]
    fn a_network_is_barred_until_its_window_has_passed() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        for (i, address) in ["1.2.3.4", "1.2.3.5", "1.2.3.6"].into_iter().enumerate() {
            assert!(!limiter.is_barred(ip(address), start), "{i}");
            let bar = limiter.guess(ip(address), &LIMIT, start + Duration::from_secs(i as u64));
            assert_eq!(bar, (i == 2).then_some(Duration::from_secs(598)));
        }
        let later = start + Duration::from_secs(599);
        assert!(limiter.is_barred(ip("1.2.3.200"), later));
        assert!(limiter.is_barred(ip("::ffff:1.2.3.200"), later));
        assert!(!limiter.is_barred(ip("1.2.4.4"), later));
        assert!(!limiter.is_barred(ip("1.2.3.4"), start + Duration::from_secs(600)));
    }

    #[test]
    fn a_cool_off_time_replaces_the_window() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        let limit = LoginLimit { cool_off: Some(Duration::from_secs(5)), ..LIMIT };
        for _ in 0..3 {
            limiter.guess(ip("2001:db8::1"), &limit, start);
        }
        assert!(limiter.is_barred(ip("2001:db8::2"), start + Duration::from_secs(4)));
        assert!(!limiter.is_barred(ip("2001:db8::2"), start + Duration::from_secs(5)));
        limiter.guess(ip("2001:db8::1"), &limit, start + Duration::from_secs(6));
        assert!(!limiter.is_barred(ip("2001:db8::1"), start + Duration::from_secs(6)), "afresh");
    }

    #[test]
    fn a_network_barred_before_the_restart_stays_barred() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        limiter.bar(Network::of(ip("9.9.9.9")), Duration::from_secs(60), now);
        assert!(limiter.is_barred(ip("9.9.9.1"), now + Duration::from_secs(59)));
        assert!(!limiter.is_barred(ip("9.9.9.1"), now + Duration::from_secs(60)));
    }

    #[test]
    fn second_factors_are_counted_apart_and_bar_alike() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        for guess in [Guess::Password, Guess::Factor, Guess::Password, Guess::Factor] {
            assert_eq!(limiter.failed(nth(1), None, guess, &LIMIT, now), None);
        }
        assert!(limiter.failed(nth(1), None, Guess::Factor, &LIMIT, now).is_some());
        assert!(limiter.is_barred(nth(1), now));
    }

    #[test]
    fn an_account_guessed_from_everywhere_is_tried_from_known_places_only() {
        for (guess, burst) in [(Guess::Password, 30), (Guess::Factor, 3)] {
            let (mut limiter, start) = (Limiter::default(), Instant::now());
            let (bob, home, hotel) = (account("bob"), ip("10.0.0.1"), ip("192.0.2.1"));
            limiter.succeeded(&bob, home, start);
            let besieged = |limiter: &Limiter, name: &str, address, now| {
                limiter.is_besieged(&account(name), guess, address, &LIMIT, now)
            };
            for n in 0..burst {
                assert!(!besieged(&limiter, "bob", hotel, start), "after {n}");
                limiter.failed(nth(n), Some(&bob), guess, &LIMIT, start);
            }
            assert!(besieged(&limiter, "bob", hotel, start));
            assert!(!besieged(&limiter, "bob", home, start), "its owner comes from here");
            assert!(!besieged(&limiter, "alice", hotel, start), "another account");
            let trickle = start + LIMIT.time / burst;
            assert!(!besieged(&limiter, "bob", hotel, trickle), "one may try");
            limiter.failed(nth(9999), Some(&bob), guess, &LIMIT, trickle);
            assert!(besieged(&limiter, "bob", hotel, trickle), "and only one");
            for _ in 0..1000 {
                limiter.failed(home, Some(&bob), guess, &LIMIT, trickle);
            }
            assert!(!besieged(&limiter, "bob", hotel, trickle + LIMIT.time), "it drains away");
        }
    }

    #[test]
    fn a_network_is_known_by_its_logins_and_suspect_by_its_failures() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        assert_eq!(limiter.standing(nth(1), now), Standing::Stranger);
        limiter.guess(nth(1), &LIMIT, now);
        assert_eq!(limiter.standing(nth(1), now), Standing::Suspect);
        assert_eq!(limiter.standing(nth(1), now + LIMIT.time), Standing::Stranger, "forgotten");
        limiter.succeeded(&account("bob"), nth(2), now);
        let standings = (0..4).map(|_| {
            let standing = limiter.standing(nth(2), now);
            limiter.guess(nth(2), &LIMIT, now);
            standing
        });
        use Standing::{Known, Stranger};
        assert_eq!(standings.collect::<Vec<_>>(), [Known, Known, Known, Stranger]);
    }

    #[test]
    fn who_hammers_at_the_door_is_suspect_before_anybody_is_judged() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let standings: Vec<_> = (0..10).map(|_| limiter.attempted(nth(1), now)).collect();
        let suspect = standings.iter().position(|standing| *standing == Standing::Suspect);
        assert_eq!(suspect, Some(BURST as usize));
        let later = now + PAUSE * 2;
        assert_eq!(limiter.attempted(nth(1), later), Standing::Stranger, "it drains away");
        limiter.succeeded(&account("bob"), nth(2), now);
        let office = (0..50).map(|_| limiter.attempted(nth(2), now));
        assert!(office.into_iter().all(|standing| standing == Standing::Known));
    }

    #[test]
    fn the_tables_stay_bounded_and_keep_the_barred() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        for _ in 0..3 {
            limiter.guess(ip("9.9.9.9"), &LIMIT, now);
        }
        for n in 0..5000_u32 {
            let name = account(&n.to_string());
            limiter.failed(nth(n), Some(&name), Guess::Password, &LIMIT, now);
            limiter.succeeded(&name, nth(n), now);
            limiter.attempted(nth(n), now);
        }
        assert!(limiter.attempts.len() <= NETWORKS);
        assert!(limiter.networks.len() <= NETWORKS);
        assert!(limiter.accounts.len() <= ACCOUNTS);
        assert!(limiter.known.len() <= KNOWN);
        assert!(limiter.is_barred(ip("9.9.9.9"), now));
    }
}
