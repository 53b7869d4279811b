//! Guessing passwords takes time: after a few failures from an address its next logins are judged
//! later and later. Nobody is locked out, because a whole site of computers may share an address and
//! firmware that was refused does not come back for hours.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failures that cost nothing: a site with an old password must not stand in a queue at once.
const FREE: u32 = 5;
/// The first delay; every failure doubles it.
const FIRST: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST: Duration = Duration::from_secs(8);
/// Time after which failures are forgotten.
const WINDOW: Duration = Duration::from_secs(600);
/// Addresses remembered. Beyond, the one that has been quiet for longest is forgotten.
const ADDRESSES: usize = 1024;

/// Failures by address.
#[derive(Default)]
pub struct Throttle(RefCell<BTreeMap<IpAddr, (u32, Instant)>>);

impl Throttle {
    /// How long a login from `address` has to wait before it is judged.
    pub fn delay(&self, address: IpAddr, now: Instant) -> Duration {
        let failures = match self.0.borrow().get(&network(address)) {
            Some((count, last)) if now.duration_since(*last) < WINDOW => *count,
            _ => 0,
        };
        match failures.checked_sub(FREE) {
            Some(over) => FIRST.saturating_mul(1 << over.min(16)).min(LONGEST),
            None => Duration::ZERO,
        }
    }

    /// A login failed.
    pub fn failed(&self, address: IpAddr, now: Instant) {
        let mut table = self.0.borrow_mut();
        let network = network(address);
        if !table.contains_key(&network) && table.len() >= ADDRESSES {
            let quietest = table.iter().min_by_key(|(_, (_, last))| *last).map(|(a, _)| *a);
            quietest.map(|address| table.remove(&address));
        }
        let (count, last) = table.entry(network).or_insert((0, now));
        if now.duration_since(*last) >= WINDOW {
            *count = 0;
        }
        (*count, *last) = (count.saturating_add(1), now);
    }
}

/// An IPv6 address stands for its /64: whoever has one has all of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_cost_time_and_time_heals() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let [guesser, other]: [IpAddr; 2] = [[203, 0, 113, 1].into(), [203, 0, 113, 2].into()];
        let mut delays = Vec::new();
        for _ in 0..14 {
            delays.push(throttle.delay(guesser, start).as_millis());
            throttle.failed(guesser, start);
        }
        assert_eq!(delays, [0, 0, 0, 0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 8000, 8000]);
        assert_eq!(throttle.delay(other, start), Duration::ZERO);
        assert_eq!(throttle.delay(guesser, start + WINDOW), Duration::ZERO);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_the_table_is_bounded() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for host in 0..20u128 {
            throttle.failed(IpAddr::V6((0x2001_0db8 << 96 | host).into()), start);
        }
        let neighbour = IpAddr::V6((0x2001_0db8_u128 << 96 | 99).into());
        assert_eq!(throttle.delay(neighbour, start), LONGEST);
        for n in 0..5000u32 {
            throttle.failed(IpAddr::V4(n.into()), start + Duration::from_secs(1));
        }
        assert_eq!(throttle.0.borrow().len(), ADDRESSES);
    }
}
