//! One scan of a network, without its sockets: whom to ask when, and who has answered.
//!
//! Every address of the range is pinged once, at a steady pace, and nobody else ever; whoever
//! answers without having been asked is not listened to. Then, if it is wanted, those that kept
//! silent or told no version are asked over TCP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::range::Range;
use super::rmcp::{self, Pong};

/// Time between two pings: 500 a second.
pub const PACE: Duration = Duration::from_millis(2);
/// Time for answers after the last ping. Clients of MeshCentral expect to wait as long.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// Most addresses that are asked over TCP.
const TCP_MAX: u32 = 256;
/// How the version is written of those that do not say.
const NO_VERSION: &str = "0.0";
/// Tags there are; 255 means none.
const TAGS: u32 = 255;

/// A scan that runs. Times are since it began.
#[derive(Debug)]
pub struct Scan {
    range: Range,
    pinged: u32,
    found: BTreeMap<Ipv4Addr, Found>,
    with_tcp: bool,
    /// Who is still to be asked over TCP.
    waiting: BTreeSet<Ipv4Addr>,
    asks: bool,
}

/// A computer with Intel AMT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Version; `0.0` if it does not say.
    pub version: String,
    /// Whether it serves TLS.
    pub tls: bool,
    /// 0 not activated, 1 being activated, 2 activated.
    pub state: u8,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Questions that were asked; an address that is asked over TCP, too, has two.
    pub asked: u32,
    /// Questions in all.
    pub total: u32,
    /// Computers with Intel AMT among them so far.
    pub found: usize,
}

impl Scan {
    /// Begins one.
    pub fn new(range: Range) -> Self {
        let (found, waiting) = (BTreeMap::new(), BTreeSet::new());
        Self { range, pinged: 0, found, with_tcp: false, waiting, asks: false }
    }

    /// The same that asks over TCP, too, if the range is a small one: at most 256 addresses.
    pub fn with_tcp(range: Range) -> Self {
        Self { with_tcp: range.count() <= TCP_MAX, ..Self::new(range) }
    }

    /// The next packet and its place, if it is time for one.
    pub fn poll_send(&mut self, now: Duration) -> Option<(Ipv4Addr, [u8; 12])> {
        let to = self.range.nth(self.pinged).filter(|_| now >= PACE * self.pinged)?;
        self.pinged += 1;
        Some((to, rmcp::ping(tag(self.pinged - 1))))
    }

    /// When something is due next; `None` when the scan is over.
    pub fn poll_timeout(&self, now: Duration) -> Option<Duration> {
        let due = match self.range.nth(self.pinged) {
            Some(_) => PACE * self.pinged,
            None => PACE * self.range.count() + PATIENCE,
        };
        (due > now || self.pinged < self.range.count()).then_some(due)
    }

    /// Takes a packet. Whether it is the first answer of somebody who was asked.
    pub fn receive(&mut self, from: Ipv4Addr, packet: &[u8]) -> bool {
        let place = self.range.place_of(from).filter(|place| *place < self.pinged);
        let pong = Pong::parse(packet).filter(|pong| place.map(tag) == Some(pong.tag));
        let found = pong.map(|pong| Found {
            version: pong.version.to_string(),
            tls: pong.has_tls(),
            state: pong.state,
        });
        found.is_some_and(|found| self.found.insert(from, found).is_none())
    }

    /// When all pings are over: who is to be asked over TCP. Each is told about with
    /// [`Self::asked`].
    pub fn to_ask(&mut self) -> Vec<Ipv4Addr> {
        let is_done = |address: &Ipv4Addr| {
            self.found.get(address).is_some_and(|found| found.version != NO_VERSION)
        };
        let all = (0..self.range.count()).filter_map(|place| self.range.nth(place));
        let to_ask: Vec<_> = all.filter(|address| self.with_tcp && !is_done(address)).collect();
        self.waiting.extend(&to_ask);
        self.asks = true;
        to_ask
    }

    /// What somebody answered over TCP: its version, and whether it serves TLS. Whether it is found
    /// only now.
    pub fn asked(&mut self, address: Ipv4Addr, answer: Option<(String, bool)>) -> bool {
        let was_asked = self.waiting.remove(&address);
        let Some((version, tls)) = answer.filter(|_| was_asked) else { return false };
        // Whose web server runs is activated.
        self.found.insert(address, Found { version, tls, state: 2 }).is_none()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let count = self.range.count();
        let (mut asked, mut total) = (self.pinged, count);
        if self.with_tcp {
            total += count;
            let left = u32::try_from(self.waiting.len()).unwrap_or(count);
            asked += if self.asks { count.saturating_sub(left) } else { 0 };
        }
        Progress { asked, total, found: self.found.len() }
    }

    /// Who has answered.
    pub fn found(&self) -> &BTreeMap<Ipv4Addr, Found> {
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

    #[test]
    fn who_keeps_silent_is_asked_over_tcp_if_that_is_wanted() {
        let range = Range::parse("127.0.0.1-127.0.0.4").unwrap();
        let at = |n| Ipv4Addr::new(127, 0, 0, n);
        let mut scan = Scan::with_tcp(range);
        run(&mut scan);
        let mut nameless = pong(1);
        nameless[18] = 0;
        assert!(scan.receive(at(1), &pong(0)) && scan.receive(at(2), &nameless));
        assert_eq!(scan.to_ask(), [2, 3, 4].map(at), "the first has said everything");
        let answer = |version: &str| Some((version.to_owned(), true));
        assert!(!scan.asked(at(1), answer("1.0.0")), "it was not asked");
        assert!(!scan.asked(at(2), answer("16.1.25")), "found before");
        assert!(scan.asked(at(3), answer("18.0.5")));
        assert!(!scan.asked(at(3), answer("1.0.0")), "once is enough");
        assert_eq!(scan.progress(), Progress { asked: 7, total: 8, found: 3 });
        assert!(!scan.asked(at(4), None));
        let versions: Vec<_> = scan.found().values().map(|found| &*found.version).collect();
        assert_eq!(versions, ["12.0", "16.1.25", "18.0.5"]);
        // Without the wish nobody is, and of a large range neither.
        assert!(Scan::new(range).to_ask().is_empty());
        assert!(Scan::with_tcp(Range::parse("127.0.0.0/23").unwrap()).to_ask().is_empty());
    }

    proptest! {
        #[test]
        fn every_address_of_the_range_is_asked_once_and_no_other(first: u32, count in 1..4096_u32) {
            let last = first.saturating_add(count - 1);
            let text = format!("{}-{}", Ipv4Addr::from(first), Ipv4Addr::from(last));
            if let Ok(range) = Range::parse(&text) {
                let (asked, _) = run(&mut Scan::new(range));
                let asked: Vec<_> = asked.into_iter().map(|(_, to)| u32::from(to)).collect();
                prop_assert_eq!(&asked, &(first..=last).collect::<Vec<_>>());
                let over_tcp = Scan::with_tcp(range).to_ask();
                let over_tcp: Vec<_> = over_tcp.into_iter().map(u32::from).collect();
                prop_assert!(over_tcp == asked || (over_tcp.is_empty() && count > TCP_MAX));
            }
        }
    }
}
