//! Networks as units of suspicion: the /24 (IPv4) or /64 (IPv6) an address belongs to.
//!
//! Whoever has one address of such a network usually has all of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The network of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// The first three octets of an IPv4 address.
    V4([u8; 3]),
    /// The first four groups of an IPv6 address.
    V6([u16; 4]),
}

impl Network {
    /// The network `address` is in. An IPv4 address inside an IPv6 one counts as the IPv4 address.
    pub fn of(address: IpAddr) -> Self {
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

/// `192.0.2.0/24`, `2001:db8::/64`.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4([a, b, c]) => write!(f, "{}/24", Ipv4Addr::new(a, b, c, 0)),
            Self::V6([a, b, c, d]) => write!(f, "{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)),
        }
    }
}

/// The text is not that of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANetwork;

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, _) = text.split_once('/').ok_or(NotANetwork)?;
        let network = Self::of(address.parse().map_err(|_| NotANetwork)?);
        if network.to_string() == text { Ok(network) } else { Err(NotANetwork) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_network_and_its_text_names_it() {
        for (address, text) in [
            ("192.0.2.7", "192.0.2.0/24"),
            ("::ffff:192.0.2.99", "192.0.2.0/24"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            let network = Network::of(address.parse().unwrap());
            assert_eq!(network.to_string(), text);
            assert_eq!(text.parse(), Ok(network));
        }
        for bad in ["", "192.0.2.0", "192.0.2.7/24", "192.0.2.0/25", "x/24", "2001:db8::/48"] {
            assert_eq!(bad.parse::<Network>(), Err(NotANetwork), "{bad}");
        }
    }
}
