//! Failed logins per network: the address a password is guessed from is refused for a while.
//!
//! Source: `maxInvalidLogin` of config.json. Networks are /24 (IPv4) and /64 (IPv6). Time is
//! monotonic, so a board that learns the date does not free anybody. The table is bounded: at most
//! [`NETWORKS`] entries of about 50 bytes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::LoginLimit;

/// Networks remembered at a time.
const NETWORKS: usize = 1024;

/// The network an address belongs to: its /24 or /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Network {
    V4([u8; 3]),
    V6([u16; 4]),
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    /// When the first of them happened.
    since: Instant,
    count: u32,
    /// When the network may try again, once the limit was reached.
    barred_until: Option<Instant>,
}

/// Counts failures and bars networks.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    networks: BTreeMap<Network, Failures>,
}

impl Limiter {
    /// Whether `address` may not try now.
    pub(super) fn is_barred(&self, address: IpAddr, now: Instant) -> bool {
        self.networks
            .get(&Network::of(address))
            .is_some_and(|failures| failures.barred_until.is_some_and(|until| now < until))
    }

    /// Counts a failed login. Attempts that are being checked at this moment are not counted: how
    /// many those are is bounded by [`crate::identity::password::Passwords`].
    pub(super) fn failed(&mut self, address: IpAddr, limit: &LoginLimit, now: Instant) {
        let network = Network::of(address);
        if !self.networks.contains_key(&network) {
            self.make_room(limit, now);
        }
        let failures = self.networks.entry(network).or_insert(Failures {
            since: now,
            count: 0,
            barred_until: None,
        });
        if failures.is_over(limit, now) {
            *failures = Failures { since: now, count: 0, barred_until: None };
        }
        failures.count += 1;
        if failures.count >= limit.count && failures.barred_until.is_none() {
            let rest = limit.time.saturating_sub(now.saturating_duration_since(failures.since));
            failures.barred_until = Some(now + limit.cool_off.unwrap_or(rest));
        }
    }

    /// Drops what has run out; in a full table also the entry that is nearest to running out.
    fn make_room(&mut self, limit: &LoginLimit, now: Instant) {
        if self.networks.len() < NETWORKS {
            return;
        }
        self.networks.retain(|_, failures| !failures.is_over(limit, now));
        if self.networks.len() < NETWORKS {
            return;
        }
        let oldest = self
            .networks
            .iter()
            .min_by_key(|(_, failures)| (failures.barred_until, failures.since))
            .map(|(network, _)| *network);
        if let Some(network) = oldest {
            self.networks.remove(&network);
        }
    }
}

impl Failures {
    fn is_over(&self, limit: &LoginLimit, now: Instant) -> bool {
        let end = self.barred_until.unwrap_or(self.since + limit.time.min(LONGEST));
        now >= end
    }
}

/// Longest window; keeps `Instant` arithmetic in range whatever the configuration says.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: LoginLimit =
        LoginLimit { time: Duration::from_secs(600), count: 3, cool_off: None };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_is_barred_until_its_window_has_passed() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        for (i, address) in ["1.2.3.4", "1.2.3.5", "1.2.3.6"].into_iter().enumerate() {
            assert!(!limiter.is_barred(ip(address), start), "{i}");
            limiter.failed(ip(address), &LIMIT, start + Duration::from_secs(i as u64));
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
            limiter.failed(ip("2001:db8::1"), &limit, start);
        }
        assert!(limiter.is_barred(ip("2001:db8::2"), start + Duration::from_secs(4)));
        assert!(!limiter.is_barred(ip("2001:db8::2"), start + Duration::from_secs(5)));
        limiter.failed(ip("2001:db8::1"), &limit, start + Duration::from_secs(6));
        assert!(!limiter.is_barred(ip("2001:db8::1"), start + Duration::from_secs(6)), "afresh");
    }

    #[test]
    fn the_table_stays_bounded_and_keeps_the_barred() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        for _ in 0..3 {
            limiter.failed(ip("9.9.9.9"), &LIMIT, now);
        }
        for i in 0..5000_u32 {
            limiter.failed(IpAddr::from((i << 8).to_be_bytes()), &LIMIT, now);
        }
        assert!(limiter.networks.len() <= NETWORKS);
        assert!(limiter.is_barred(ip("9.9.9.9"), now));
    }
}
