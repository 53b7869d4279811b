//! Certificates that agents see instead of ours, because a proxy ends TLS (`certUrl`).
//!
//! They are looked at again and again, and the last few of a domain stay acceptable: when a proxy's
//! certificate is renewed, agents that saw the old one are not lost.

use std::cell::RefCell;
use std::collections::BTreeMap;

use async_channel::{Receiver, Sender};

use crate::model::{DomainId, Key48, Millis};

/// How many certificates of a domain are remembered.
const REMEMBERED: usize = 4;

/// A certificate that a proxy shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Front {
    /// SHA-384 of its DER form.
    pub hash: Key48,
    /// SHA-384 of its public key bits.
    pub key_hash: Key48,
    /// End of its validity; `None` if it cannot be read.
    pub not_after: Option<Millis>,
}

/// What is known of all domains.
pub struct Fronts {
    known: RefCell<BTreeMap<DomainId, heapless::Vec<Front, REMEMBERED>>>,
    /// One word at most: somebody should look now.
    ask: Sender<()>,
    asked: Receiver<()>,
}

impl Default for Fronts {
    fn default() -> Self {
        let (ask, asked) = async_channel::bounded(1);
        Self { known: RefCell::default(), ask, asked }
    }
}

impl Fronts {
    /// A proxy of `domain` shows this certificate. True if it did not before.
    pub fn learn(&self, domain: &DomainId, front: Front) -> bool {
        let mut known = self.known.borrow_mut();
        let fronts = known.entry(domain.clone()).or_default();
        let is_news = fronts.first().is_none_or(|first| first.hash != front.hash);
        fronts.retain(|other| other.hash != front.hash);
        if fronts.is_full() {
            fronts.pop();
        }
        // There is room.
        let _ = fronts.insert(0, front);
        is_news
    }

    /// Keeps only the domains that `has_front` still says have one.
    pub fn keep(&self, has_front: impl Fn(&DomainId) -> bool) {
        self.known.borrow_mut().retain(|domain, _| has_front(domain));
    }

    /// What agents of `domain` see now; `None` if that is our own certificate.
    pub fn current(&self, domain: &DomainId) -> Option<Front> {
        self.known.borrow().get(domain)?.first().copied()
    }

    /// If `hash` is the full or key hash of a certificate in front of `domain`, its full hash.
    pub fn full_hash(&self, domain: &DomainId, hash: Key48) -> Option<Key48> {
        let known = self.known.borrow();
        let found = known.get(domain)?.iter().find(|f| f.hash == hash || f.key_hash == hash);
        found.map(|front| front.hash)
    }

    /// An agent saw something unknown: whoever looks should look now.
    pub fn look(&self) {
        // A full channel says so already.
        let _ = self.ask.try_send(());
    }

    /// Ends when somebody has asked to [look](Self::look).
    pub async fn asked(&self) {
        // The sender lives here.
        let _ = self.asked.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_certificates_of_a_domain_stay_acceptable() {
        let (fronts, domain) = (Fronts::default(), DomainId::default());
        let front =
            |n| Front { hash: Key48([n; 48]), key_hash: Key48([n + 100; 48]), not_after: None };
        assert_eq!(fronts.current(&domain), None);
        for n in 1..=5 {
            assert!(fronts.learn(&domain, front(n)));
            assert!(!fronts.learn(&domain, front(n)));
            assert_eq!(fronts.current(&domain), Some(front(n)));
        }
        for (hash, full) in [(5, Some(5)), (102, Some(2)), (1, None), (101, None)] {
            let full = full.map(|n| Key48([n; 48]));
            assert_eq!(fronts.full_hash(&domain, Key48([hash; 48])), full, "{hash}");
        }
        assert!(fronts.learn(&domain, front(2)), "back again is news");
        let other = DomainId::new("customer1").unwrap();
        assert_eq!(fronts.full_hash(&other, Key48([5; 48])), None);
        fronts.keep(|_| false);
        assert_eq!(fronts.current(&domain), None);
    }
}
