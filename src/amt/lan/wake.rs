//! Waking computers: magic packets into the server's own network, so many and so slowly that one
//! gets through.
//!
//! Five rounds of one packet for each hardware address and destination, ten milliseconds apart:
//! network cards that sleep lose what comes faster (MeshCentral's numbers).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

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
/// Port of the device itself, at its own address.
const DIRECT: u16 = 7;

/// Where packets go, unless a test wants otherwise.
pub fn everybody() -> Vec<SocketAddr> {
    EVERYBODY.iter().map(|to| SocketAddr::from(*to)).collect()
}

/// All packets for a device, in the order in which they are sent.
pub fn packets(
    macs: &BTreeSet<Mac>,
    everybody: &[SocketAddr],
    host: Option<IpAddr>,
) -> Vec<(SocketAddr, Mac)> {
    let own = host.filter(IpAddr::is_ipv4).map(|host| SocketAddr::from((host, DIRECT)));
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
        let host = Some("127.0.0.9".parse().unwrap());
        let all = packets(&macs, &everybody(), host);
        assert_eq!(all.len(), 5 * 4 * 2);
        for to in ["255.255.255.255:7", "255.255.255.255:9", "239.255.255.235:16990", "127.0.0.9:7"]
        {
            let to: SocketAddr = to.parse().unwrap();
            let times = all.iter().filter(|packet| **packet == (to, [2, 0, 0, 0, 0, 2])).count();
            assert_eq!(times, 5, "{to}");
        }
        assert_eq!(packets(&macs, &[], Some("::1".parse().unwrap())), []);
    }
}
