//! Waking computers: magic packets into the server's own networks, so many and so slowly that one
//! gets through.
//!
//! Five rounds of one packet for each hardware address and destination, ten milliseconds apart:
//! network cards that sleep lose what comes faster (MeshCentral's numbers). Destinations are everybody
//! behind each interface, by IPv4 and IPv6, and the device itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use crate::interfaces::Interfaces;

/// A hardware address.
pub type Mac = [u8; 6];

/// Time between two packets.
pub const PACE: Duration = Duration::from_millis(10);
/// Most packets that wait; what is wanted beyond that is not sent.
pub const WAITING_MAX: usize = 8192;
/// How often each packet is sent.
const ROUNDS: usize = 5;
/// Everybody in the network, at the ports of "echo" and "discard", and the agents' multicast group.
const EVERYBODY: [(Ipv4Addr, u16); 3] = [
    (Ipv4Addr::BROADCAST, 7),
    (Ipv4Addr::BROADCAST, 9),
    (Ipv4Addr::new(239, 255, 255, 235), 16990),
];
/// That group in IPv6.
const EVERYBODY_V6: (Ipv6Addr, u16) = (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfe), 16990);
/// Port of the device itself, at its own address.
const DIRECT: u16 = 7;

/// A way to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The address of the interface a packet leaves by; unspecified: the system picks one.
    pub from: IpAddr,
    /// Where it goes.
    pub to: SocketAddr,
}

impl Destination {
    /// By whichever interface leads there.
    pub fn new(to: SocketAddr) -> Self {
        let from = match to {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self { from, to }
    }
}

/// Everybody behind these interfaces; the one the system picks, if none is known.
pub fn everybody(interfaces: &Interfaces) -> Vec<Destination> {
    let mut addresses = interfaces.v4.clone();
    if addresses.is_empty() {
        addresses.push(Ipv4Addr::UNSPECIFIED);
    }
    // What goes to everybody leaves by the interface whose address it comes from.
    let v4 = addresses.iter().flat_map(|from| {
        EVERYBODY.iter().map(|to| Destination { from: (*from).into(), to: (*to).into() })
    });
    let v6 = interfaces.v6.iter().map(|index| {
        let (group, port) = EVERYBODY_V6;
        Destination::new(SocketAddrV6::new(group, port, 0, *index).into())
    });
    v4.chain(v6).collect()
}

/// All packets for a device, in the order in which they are sent.
pub fn packets(
    macs: &BTreeSet<Mac>,
    everybody: &[Destination],
    host: Option<IpAddr>,
) -> Vec<(Destination, Mac)> {
    let own = host.map(|host| Destination::new((host, DIRECT).into()));
    let to = everybody.iter().copied().chain(own);
    let round: Vec<_> = to.flat_map(|to| macs.iter().map(move |mac| (to, *mac))).collect();
    round.repeat(ROUNDS)
}

/// The packet a sleeping network card waits for: six bytes of ones, sixteen times its address.
pub fn magic_packet(mac: &Mac) -> [u8; 102] {
    let mut packet = [0xff; 102];
    for place in packet[6..].chunks_exact_mut(6) {
        place.copy_from_slice(mac);
    }
    packet
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_sleeping_card_gets_its_magic_packet() {
        let vectors = include_str!("../../../tests/vectors/activation-rmcp.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        let packet = magic_packet(&[0, 0x11, 0x22, 0x33, 0x44, 0x55]);
        assert_eq!(HEXLOWER.encode(&packet), vectors["wol_magic"]["hex"]);
    }

    #[test]
    fn every_card_is_called_five_times_in_each_way() {
        let macs = BTreeSet::from([[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]]);
        let two = [[192, 0, 2, 2], [198, 51, 100, 2]].map(Ipv4Addr::from);
        let interfaces = Interfaces { v4: two.into(), v6: vec![3], ..Interfaces::default() };
        let host = Some("127.0.0.9".parse().unwrap());
        let all = packets(&macs, &everybody(&interfaces), host);
        let (any, any_v6) = ("0.0.0.0", "::");
        let expected = [
            ("192.0.2.2", "255.255.255.255:7"),
            ("192.0.2.2", "255.255.255.255:9"),
            ("192.0.2.2", "239.255.255.235:16990"),
            ("198.51.100.2", "255.255.255.255:7"),
            ("198.51.100.2", "255.255.255.255:9"),
            ("198.51.100.2", "239.255.255.235:16990"),
            (any_v6, "[ff02::fe%3]:16990"),
            (any, "127.0.0.9:7"),
        ];
        assert_eq!(all.len(), 5 * expected.len() * macs.len());
        for (from, to) in expected {
            let to = Destination { from: from.parse().unwrap(), to: to.parse().unwrap() };
            let times = all.iter().filter(|packet| **packet == (to, [2, 0, 0, 0, 0, 2])).count();
            assert_eq!(times, 5, "{to:?}");
        }
        let unknown = everybody(&Interfaces::default());
        assert!(unknown.len() == 3 && unknown.iter().all(|to| to.from == IpAddr::from([0; 4])));
    }
}
