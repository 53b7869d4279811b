//! Who may connect from where: `userAllowedIP`, `agentBlockedIP` and their siblings.

use std::net::IpAddr;

use ipnet::IpNet;

/// Addresses that may or may not connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// Only these, if there are any.
    pub allowed: Vec<IpNet>,
    /// Not these, whatever is allowed.
    pub blocked: Vec<IpNet>,
}

impl AddressRules {
    /// Whether a connection from `address` is wanted. An IPv4 address inside an IPv6 one counts as
    /// the IPv4 address.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let listed = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        !listed(&self.blocked) && (self.allowed.is_empty() || listed(&self.allowed))
    }
}

/// An address or a network (`192.168.0.0/16`).
pub(super) fn parse(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_wins_over_allowed_and_mapped_addresses_are_seen_through() {
        let nets = |list: &[&str]| list.iter().map(|t| parse(t).unwrap()).collect::<Vec<_>>();
        let open = AddressRules::default();
        let lan = AddressRules { allowed: nets(&["192.168.0.0/16", "::1"]), ..open.clone() };
        let not_one = AddressRules { blocked: nets(&["192.168.1.66"]), ..lan.clone() };
        for (rules, address, permitted) in [
            (&open, "203.0.113.9", true),
            (&lan, "203.0.113.9", false),
            (&lan, "192.168.1.66", true),
            (&lan, "::ffff:192.168.1.66", true),
            (&lan, "::1", true),
            (&not_one, "192.168.1.66", false),
            (&not_one, "::ffff:192.168.1.66", false),
            (&not_one, "192.168.1.67", true),
        ] {
            assert_eq!(rules.permits(address.parse().unwrap()), permitted, "{address}");
        }
    }
}
