//! One scan of a network, without its socket: whom to ask when, and who has answered.
//!
//! Every address of the range is asked once, at a steady pace, and nobody else ever; whoever
//! answers without having been asked is not listened to.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::range::Range;
use super::rmcp::{self, Pong};

/// Time between two pings: 500 a second.
pub const PACE: Duration = Duration::from_millis(2);
/// Time for answers after the last ping. Clients of MeshCentral expect to wait as long.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// Tags there are; 255 means none.
const TAGS: u32 = 255;

/// A scan that runs. Times are since it began.
#[derive(Debug)]
pub struct Scan {
    range: Range,
    asked: u32,
    found: BTreeMap<Ipv4Addr, Pong>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Addresses that were asked.
    pub asked: u32,
    /// Addresses in all.
    pub total: u32,
    /// Computers with Intel AMT among them so far.
    pub found: usize,
}

impl Scan {
    /// Begins one.
    pub fn new(range: Range) -> Self {
        Self { range, asked: 0, found: BTreeMap::new() }
    }

    /// The next packet and its place, if it is time for one.
    pub fn poll_send(&mut self, now: Duration) -> Option<(Ipv4Addr, [u8; 12])> {
        let to = self.range.nth(self.asked).filter(|_| now >= PACE * self.asked)?;
        self.asked += 1;
        Some((to, rmcp::ping(tag(self.asked - 1))))
    }

    /// When something is due next; `None` when the scan is over.
    pub fn poll_timeout(&self, now: Duration) -> Option<Duration> {
        let due = match self.range.nth(self.asked) {
            Some(_) => PACE * self.asked,
            None => PACE * self.range.count() + PATIENCE,
        };
        (due > now || self.asked < self.range.count()).then_some(due)
    }

    /// Takes a packet. Whether it is the first answer of somebody who was asked.
    pub fn receive(&mut self, from: Ipv4Addr, packet: &[u8]) -> bool {
        let place = self.range.place_of(from).filter(|place| *place < self.asked);
        let pong = Pong::parse(packet).filter(|pong| place.map(tag) == Some(pong.tag));
        pong.is_some_and(|pong| self.found.insert(from, pong).is_none())
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress { asked: self.asked, total: self.range.count(), found: self.found.len() }
    }

    /// Who has answered.
    pub fn found(&self) -> &BTreeMap<Ipv4Addr, Pong> {
        &self.found
    }
}

fn tag(place: u32) -> u8 {
    (place % TAGS) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A pong of AMT 12.0 with this tag.
    fn pong(tag: u8) -> Vec<u8> {
        let mut pong = vec![6, 0, 0xff, 6, 0, 0, 0x11, 0xbe, 0x40, tag, 0, 16];
        pong.extend([0, 0, 1, 0x57, 0x42, 0x60, 0xc0, 2, 0x81, 0x20, 0, 0, 0, 0, 0, 0]);
        pong
    }

    /// Whom a scan asks, and when it ends, in virtual time.
    fn run(scan: &mut Scan) -> (Vec<(Duration, Ipv4Addr)>, Duration) {
        let (mut now, mut asked) = (Duration::ZERO, Vec::new());
        loop {
            while let Some((to, _)) = scan.poll_send(now) {
                asked.push((now, to));
            }
            match scan.poll_timeout(now) {
                Some(due) => now = due,
                None => return (asked, now),
            }
        }
    }

    #[test]
    fn four_thousand_addresses_take_eleven_seconds_and_never_a_burst() {
        let mut scan = Scan::new(Range::parse("127.0.0.0/20").unwrap());
        let (asked, end) = run(&mut scan);
        assert_eq!((asked.len(), end), (4096, PACE * 4096 + PATIENCE));
        assert!(asked.windows(2).all(|two| two[1].0 - two[0].0 == PACE));
        assert_eq!(scan.progress(), Progress { asked: 4096, total: 4096, found: 0 });
    }

    #[test]
    fn only_who_was_asked_is_heard() {
        let mut scan = Scan::new(Range::parse("127.0.0.1-127.0.0.3").unwrap());
        let at = |n| Ipv4Addr::new(127, 0, 0, n);
        assert!(!scan.receive(at(1), &pong(0)), "nobody was asked yet");
        scan.poll_send(Duration::ZERO);
        assert!(!scan.receive(at(1), &pong(7)), "another tag");
        assert!(!scan.receive(at(2), &pong(1)), "not its turn yet");
        assert!(!scan.receive(at(9), &pong(0)), "not in the range");
        assert!(scan.receive(at(1), &pong(0)));
        assert!(!scan.receive(at(1), &pong(0)), "once is enough");
        assert_eq!(scan.found().keys().collect::<Vec<_>>(), [&at(1)]);
    }

    proptest! {
        #[test]
        fn every_address_of_the_range_is_asked_once_and_no_other(first: u32, count in 1..4096_u32) {
            let last = first.saturating_add(count - 1);
            let text = format!("{}-{}", Ipv4Addr::from(first), Ipv4Addr::from(last));
            if let Ok(range) = Range::parse(&text) {
                let (asked, _) = run(&mut Scan::new(range));
                let asked: Vec<_> = asked.into_iter().map(|(_, to)| u32::from(to)).collect();
                prop_assert_eq!(asked, (first..=last).collect::<Vec<_>>());
            }
        }
    }
}
