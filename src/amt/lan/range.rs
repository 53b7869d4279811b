//! Which addresses a scan asks: `a.b.c.d`, `a.b.c.d/n` or `a.b.c.d-e.f.g.h`, as people type it.
//!
//! Read strictly: MeshCentral takes texts that are no addresses for 0.0.0.0, and an end without
//! four numbers for no end at all.

use std::fmt;
use std::net::Ipv4Addr;

/// Most addresses of one scan.
pub const ADDRESSES_MAX: u32 = 4096;

/// Addresses in a row: at least one, at most [`ADDRESSES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    first: Ipv4Addr,
    count: u32,
}

/// Why a text is no range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeError {
    /// It is none of the three forms.
    Malformed,
    /// The end is before the beginning.
    Backwards,
    /// More than [`ADDRESSES_MAX`]; so many.
    TooMany(u64),
    /// Some of them are nobody's: multicast, broadcast, or none.
    NoHosts,
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => {
                f.write_str("write 192.168.1.5, 192.168.1.0/24 or 192.168.1.10-192.168.1.50")
            }
            Self::Backwards => f.write_str("the last address is before the first one"),
            Self::TooMany(count) => {
                write!(f, "{count} addresses are too many, at most {ADDRESSES_MAX} at a time")
            }
            Self::NoHosts => f.write_str("these are not the addresses of computers"),
        }
    }
}

impl std::error::Error for RangeError {}

impl Range {
    /// Reads what people typed; blanks do not matter. A network has its first and last address,
    /// which are those of computers when it is a piece of a larger one.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        let text: String = text.split_whitespace().collect();
        let address = |text: &str| text.parse::<Ipv4Addr>().map_err(|_| RangeError::Malformed);
        let (first, last) = if let Some((base, prefix)) = text.split_once('/') {
            let is_number = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
            let prefix = prefix.parse::<u32>().ok().filter(|n| is_number && *n <= 32);
            let hosts = u32::MAX.checked_shr(prefix.ok_or(RangeError::Malformed)?).unwrap_or(0);
            let base = u32::from(address(base)?) & !hosts;
            (base, base | hosts)
        } else if let Some((first, last)) = text.split_once('-') {
            (u32::from(address(first)?), u32::from(address(last)?))
        } else {
            let only = u32::from(address(&text)?);
            (only, only)
        };
        if last < first {
            return Err(RangeError::Backwards);
        }
        let count = last - first;
        if count >= ADDRESSES_MAX {
            return Err(RangeError::TooMany(u64::from(count) + 1));
        }
        let is_host = |ip: u32| {
            let ip = Ipv4Addr::from(ip);
            !ip.is_multicast() && !ip.is_broadcast() && ip.octets()[0] != 0
        };
        // Those that are not are the lowest and the highest of all: the ends tell.
        if !is_host(first) || !is_host(last) {
            return Err(RangeError::NoHosts);
        }
        Ok(Self { first: first.into(), count: count + 1 })
    }

    /// How many addresses.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The address at a place, beginning with 0.
    pub fn nth(&self, place: u32) -> Option<Ipv4Addr> {
        (place < self.count).then(|| Ipv4Addr::from(u32::from(self.first) + place))
    }

    /// The place of an address.
    pub fn place_of(&self, address: Ipv4Addr) -> Option<u32> {
        let place = u32::from(address).checked_sub(u32::from(self.first))?;
        (place < self.count).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Where MeshCentral is more generous than is good, and what we say there.
    const STRICTER: [(&str, RangeError); 5] = [
        ("10.1.0.0/17", RangeError::TooMany(32768)),
        ("10.1.0.0/16", RangeError::TooMany(65536)),
        ("1.2.3.4/0", RangeError::TooMany(1 << 32)),
        ("a.b.c.d", RangeError::Malformed),
        ("192.168.1.1-5", RangeError::Malformed),
    ];

    #[test]
    fn ranges_are_those_of_the_vectors() {
        let vectors = include_str!("../../../tests/vectors/activation-rmcp.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for vector in vectors["ranges"].as_array().unwrap() {
            let text = vector["range"].as_str().unwrap();
            let parsed = Range::parse(text);
            if let Some((_, error)) = STRICTER.iter().find(|(of, _)| *of == text) {
                assert_eq!(parsed, Err(*error), "{text}");
                continue;
            }
            let expected = &vector["parsed"];
            // Its arithmetic has a sign: this one is a range.
            if text == "127.255.255.254-128.0.0.1" {
                assert_eq!(parsed.map(|range| range.count()), Ok(4));
            } else if expected.is_null() || expected["rejected"] == true {
                assert!(parsed.is_err(), "{text}");
            } else {
                let range = parsed.unwrap();
                assert_eq!(range.nth(0).unwrap().to_string(), expected["min"], "{text}");
                let last = range.nth(range.count() - 1).unwrap();
                assert_eq!(last.to_string(), expected["max"], "{text}");
                assert_eq!(range.count(), expected["count"], "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_range_is_refused_with_a_reason() {
        use RangeError::{Backwards, Malformed, NoHosts, TooMany};
        for (text, error) in [
            ("", Malformed),
            ("127.0.0.300", Malformed),
            ("127.0.0.1/+8", Malformed),
            ("127.0.0.1/33", Malformed),
            ("127.0.0.1/", Malformed),
            ("127.0.0.1-127.0.0.9-127.0.0.12", Malformed),
            ("::1", Malformed),
            ("127.0.0.9-127.0.0.1", Backwards),
            ("127.0.0.0-127.0.16.0", TooMany(4097)),
            ("0.0.0.0", NoHosts),
            ("239.255.255.235", NoHosts),
            ("255.255.255.255", NoHosts),
            ("223.255.255.255-224.0.0.1", NoHosts),
        ] {
            assert_eq!(Range::parse(text), Err(error), "{text}");
        }
        assert_eq!(Range::parse(" 127.0.0.1 - 127.0.0.9 ").map(|range| range.count()), Ok(9));
        assert_eq!(Range::parse("127.0.0.0-127.0.15.255").map(|range| range.count()), Ok(4096));
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_a_bounded_range_or_none(text in "[0-9./ -]{0,40}|\\PC*") {
            if let Ok(range) = Range::parse(&text) {
                prop_assert!((1..=ADDRESSES_MAX).contains(&range.count()));
                for place in 0..range.count() {
                    prop_assert_eq!(range.place_of(range.nth(place).unwrap()), Some(place));
                }
                prop_assert_eq!(range.nth(range.count()), None);
            }
        }
    }
}
