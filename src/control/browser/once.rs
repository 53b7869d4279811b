//! Login links: `/?login=` works once.
//!
//! Whoever has the login key makes such links, Tactical RMM for each of its frames; they stay behind
//! in histories and logs. A link that was used is remembered by its hash until it would have run out
//! anyway. One exception: two frames of a page may load at the same moment, so for [`GRACE`] the
//! same address may use the link again. At most [`LIMIT`] entries of 70 bytes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};

/// Links remembered at a time. Only somebody with the login key can fill the table.
const LIMIT: usize = 4096;
/// How long the frames of one page may take to load.
const GRACE: Duration = Duration::from_secs(10);
/// Longest lifetime of a link. One that is good for longer cannot be remembered, so it is refused.
pub const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

type Hash = [u8; 32];

#[derive(Clone, Copy, Debug)]
struct Use {
    first: Instant,
    until: Instant,
    from: IpAddr,
}

/// The links that were used.
#[derive(Debug, Default)]
pub struct UsedLinks(BTreeMap<Hash, Use>);

impl UsedLinks {
    /// Uses the cookie of a link up; it runs out in `left`. False if it was used before.
    pub fn use_up(&mut self, cookie: &str, left: Duration, from: IpAddr, now: Instant) -> bool {
        if left > LIFETIME_MAX {
            return false;
        }
        let from = from.to_canonical();
        let hash = hash(cookie);
        if let Some(used) = self.0.get(&hash) {
            return used.from == from && now.saturating_duration_since(used.first) < GRACE;
        }
        if self.0.len() >= LIMIT {
            self.0.retain(|_, used| now < used.until);
        }
        // Full of links that are still good: rather none more than one twice.
        if self.0.len() >= LIMIT {
            return false;
        }
        self.0.insert(hash, Use { first: now, until: now + left + GRACE, from });
        true
    }

    /// Whether a cookie was used as a link already.
    pub fn is_used(&self, cookie: &str) -> bool {
        self.0.contains_key(&hash(cookie))
    }
}

fn hash(cookie: &str) -> Hash {
    let mut hash = [0; 32];
    // Padding means nothing, so it must not make another link of the same.
    hash.copy_from_slice(digest(&SHA256, cookie.trim_end_matches('=').as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn a_link_works_once_and_for_a_moment_for_the_frames_of_one_page() {
        let (mut links, now) = (UsedLinks::default(), Instant::now());
        assert!(!links.is_used("a"));
        assert!(links.use_up("a", HOUR, ip(1), now));
        assert!(links.is_used("a") && links.is_used("a=="));
        assert!(links.use_up("a", HOUR, ip(1), now + GRACE / 2), "the second frame");
        assert!(!links.use_up("a", HOUR, ip(2), now), "somebody else");
        assert!(!links.use_up("a", HOUR, ip(1), now + GRACE), "later");
        assert!(!links.use_up("a=", HOUR, ip(1), now + GRACE), "later");
        assert!(links.use_up("b", HOUR, ip(1), now), "another link");
    }

    #[test]
    fn a_link_that_cannot_be_remembered_does_not_work() {
        let (mut links, now) = (UsedLinks::default(), Instant::now());
        assert!(!links.use_up("a", LIFETIME_MAX + HOUR, ip(1), now));
        for i in 0..LIMIT {
            assert!(links.use_up(&i.to_string(), HOUR, ip(1), now));
        }
        assert!(!links.use_up("one more", HOUR, ip(1), now));
        assert!(!links.use_up("0", HOUR, ip(1), now + GRACE), "none was forgotten");
        let later = now + HOUR + 2 * GRACE;
        assert!(links.use_up("one more", HOUR, ip(1), later), "all others have run out");
    }
}
