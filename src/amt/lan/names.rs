//! The names of addresses, from this machine's resolver (getnameinfo).
//!
//! A resolver that does not answer keeps a thread for many seconds, and nothing can stop it. So there
//! is one question at a time for the whole server, and who asks does not wait for ever.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use async_lock::Semaphore;

use crate::pool;

/// Longest name in bytes (RFC 1035).
const NAME_MAX: usize = 253;

/// Who asks.
#[derive(Clone)]
pub(super) struct Names(Arc<Semaphore>);

impl Default for Names {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Names {
    /// The name of an address, if it has one.
    pub(super) async fn of(&self, address: Ipv4Addr) -> Option<String> {
        let turn = self.0.acquire_arc().await;
        let asked = pool::unblock(move || {
            let name = dns_lookup::lookup_addr(&IpAddr::V4(address)).ok();
            // Also when nobody waits for the answer any more.
            drop(turn);
            name
        });
        asked.await.filter(|name| is_name(name))
    }
}

/// Whoever owns the address wrote its name: without a letter it is no name but an address.
fn is_name(name: &str) -> bool {
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.len() <= NAME_MAX
        && name.chars().all(is_known)
        && name.chars().any(|c| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_not_shown() {
        for (name, is) in [
            ("pc-7.office.example", true),
            ("pc_7", true),
            ("", false),
            ("192.0.2.7", false),
            ("<b>x</b>", false),
            ("a b", false),
        ] {
            assert_eq!(is_name(name), is, "{name}");
        }
        assert!(!is_name(&"a".repeat(254)));
    }
}
