//! The presence ping of Intel AMT and its answer: ASF messages in RMCP over UDP port 623.
//!
//! Nothing of it is authenticated: whoever sits on the network may answer. Firmware from 16.1 on
//! does not answer any more.

use std::fmt;

/// The port of firmware.
pub const PORT: u16 = 623;

/// RMCP version, sequence, class and the enterprise number of ASF, from the beginning of a ping.
const PING: [u8; 9] = [6, 0, 0, 6, 0, 0, 0x11, 0xbe, 0x80];
/// Number of Intel as the maker of what answers.
const INTEL: [u8; 4] = [0, 0, 1, 0x57];
/// Shortest answer: with the interactions in its last byte.
const PONG_MIN: usize = 22;

/// A ping. The tag comes back in its answer; 255 is none.
pub fn ping(tag: u8) -> [u8; 12] {
    let mut packet = [0; 12];
    packet[..9].copy_from_slice(&PING);
    packet[9] = tag;
    packet
}

/// What firmware answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// That of the ping.
    pub tag: u8,
    /// The open port: 16992, or 16993 with TLS.
    pub port: u16,
    /// Whether both are open.
    pub dual: bool,
    /// Version; 0 if it does not say.
    pub version: Version,
    /// 0 not activated, 1 being activated, 2 activated.
    pub state: u8,
}

/// Major and minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u8, pub u8);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Pong {
    /// Reads an answer; `None` if it is none of Intel AMT.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        if packet.len() < PONG_MIN || packet[4..8] != PING[4..8] || packet[3] != PING[3] {
            return None;
        }
        let is_pong = packet[0] == 6 && packet[8] == 0x40 && packet[12..16] == INTEL;
        // Who supports DASH says so; who does not is something else.
        let is_amt = is_pong && packet[21] & 0x20 != 0;
        let state = packet[19] & 3;
        if !is_amt || state == 3 {
            return None;
        }
        let version = match (packet[18], packet.get(22..24)) {
            (0, Some(&[major, minor])) => Version(major, minor),
            (both, _) => Version(both >> 4, both & 15),
        };
        Some(Self {
            tag: packet[9],
            port: u16::from_be_bytes([packet[16], packet[17]]),
            dual: packet[19] & 4 != 0,
            version,
            state,
        })
    }

    /// Whether it can be talked to with TLS.
    pub fn has_tls(&self) -> bool {
        self.dual || self.port == 16993
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        let vectors = include_str!("../../../tests/vectors/activation-rmcp.json");
        serde_json::from_str(vectors).unwrap()
    }

    fn hex(value: &Value) -> Vec<u8> {
        HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn pings_are_those_of_the_vectors() {
        for vector in vectors()["ping"].as_array().unwrap() {
            let tag = vector["tag"].as_u64().unwrap() as u8;
            assert_eq!(ping(tag)[..], hex(&vector["hex"]));
        }
    }

    #[test]
    fn pongs_are_read_as_in_the_vectors() {
        for vector in vectors()["pong"].as_array().unwrap() {
            let (name, expected) = (&vector["name"], &vector["expect"]);
            let Some(pong) = Pong::parse(&hex(&vector["hex"])) else {
                assert!(expected.is_null(), "{name}");
                continue;
            };
            assert_eq!(pong.version.to_string(), expected["ver"], "{name}");
            assert_eq!(pong.state, expected["state"], "{name}");
            assert_eq!(u8::from(pong.has_tls()), expected["tls"], "{name}");
            assert_eq!(
                (pong.port, pong.dual),
                (
                    expected["openPort"].as_u64().unwrap() as u16,
                    expected["dual"].as_bool().unwrap(),
                ),
                "{name}"
            );
            assert_eq!(pong.tag, expected["tag"].as_u64().unwrap_or(0) as u8, "{name}");
        }
    }

    #[test]
    fn a_version_that_does_not_fit_into_four_bits_is_behind() {
        let mut pong = hex(&vectors()["pong"][2]["hex"]);
        pong[22..24].copy_from_slice(&[16, 1]);
        assert_eq!(Pong::parse(&pong).unwrap().version, Version(16, 1));
    }

    proptest! {
        #[test]
        fn no_packet_is_too_strange(mut packet: Vec<u8>, head in 0..30_usize) {
            let good = hex(&vectors()["pong"][0]["hex"]);
            let head = head.min(good.len()).min(packet.len());
            packet[..head].copy_from_slice(&good[..head]);
            if let Some(pong) = Pong::parse(&packet) {
                prop_assert!(packet.len() >= PONG_MIN && pong.state < 3);
            }
        }
    }
}
