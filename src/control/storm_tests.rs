//! A login storm in virtual time: guesses at full speed from many networks, and somebody who knows
//! the password. The queue and the limiter are the real ones; a computation is a number of
//! milliseconds.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::limiter::{Guess, Limiter};
use crate::config::LoginLimit;
use crate::identity::turns::{Asker, Standing, Turns};
use crate::model::{DomainId, Network, UserId};

/// What a small board needs for one Argon2id.
const COST: u64 = 200;
/// How often everybody tries again.
const TICK: u64 = 20;

/// Somebody who waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Guesser(u32),
    Owner { since: u64 },
}

struct Storm {
    start: Instant,
    now: u64,
    limiter: Limiter,
    turns: Turns<(Who, IpAddr)>,
    at_work: Option<(Who, IpAddr, u64)>,
    /// Guessers whose last attempt was answered.
    idle: Vec<u32>,
    /// How long each owner waited.
    waited: Vec<u64>,
    turned_away: usize,
}

fn nth(n: u32) -> IpAddr {
    IpAddr::from((n << 8).to_be_bytes())
}

impl Storm {
    fn new(guessers: u32) -> Self {
        Self {
            start: Instant::now(),
            now: 0,
            limiter: Limiter::default(),
            turns: Turns::new(),
            at_work: None,
            idle: (0..guessers).collect(),
            waited: Vec::new(),
            turned_away: 0,
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    /// What the door does with an attempt.
    fn attempt(&mut self, who: Who, address: IpAddr) {
        let now = self.instant();
        if self.limiter.is_barred(address, now) {
            return self.answered(who, false);
        }
        let standing = self.limiter.attempted(address, now);
        let network = Network::of(address);
        self.turns.judge(network, standing);
        if self.at_work.is_none() {
            self.at_work = Some((who, address, self.now + COST));
            return;
        }
        match self.turns.enter(Asker { network: Some(network), standing }, (who, address)) {
            Ok((_, Some((displaced, _)))) => self.answered(displaced, false),
            Ok((_, None)) => {}
            Err(_) => self.answered(who, false),
        }
    }

    fn answered(&mut self, who: Who, judged: bool) {
        match who {
            Who::Guesser(n) => self.idle.push(n),
            Who::Owner { since } if judged => self.waited.push(self.now - since),
            Who::Owner { .. } => self.turned_away += 1,
        }
    }

    /// One tick of the clock. Guesser `n` comes from network `n / 3`.
    fn tick(&mut self) {
        self.now += TICK;
        if let Some((who, address, _)) = self.at_work.take_if(|work| work.2 <= self.now) {
            let now = self.instant();
            if let Who::Guesser(_) = who {
                let limit = LoginLimit::STANDARD;
                self.limiter.failed(address, None, Guess::Password, &limit, now);
                let standing = self.limiter.standing(address, now);
                self.turns.judge(Network::of(address), standing);
            }
            self.answered(who, true);
            self.at_work = self.turns.next().map(|(who, address)| (who, address, self.now + COST));
        }
        for n in std::mem::take(&mut self.idle) {
            self.attempt(Who::Guesser(n), nth(n / 3));
        }
    }

    /// Somebody with the password comes from `address(n)` twice a second for `seconds`.
    fn blow(&mut self, seconds: u64, address: impl Fn(u64) -> IpAddr) {
        for tick in 0..seconds * 1000 / TICK {
            if tick * TICK % 500 == 100 {
                let who = Who::Owner { since: self.now };
                self.attempt(who, address(tick));
            }
            self.tick();
        }
    }
}

#[test]
fn a_storm_from_a_hundred_networks_keeps_no_owner_waiting_for_a_second() {
    let owner = UserId::new(DomainId::default(), "owner").unwrap();
    let home: IpAddr = "10.1.1.1".parse().unwrap();
    let mut storm = Storm::new(300);
    storm.limiter.succeeded(&owner, home, storm.start);
    storm.blow(5, |_| home);
    assert_eq!((storm.turned_away, storm.waited.len()), (0, 10));
    let longest = storm.waited.iter().max().copied();
    assert!(longest <= Some(2 * COST), "one computation at work, one own: {longest:?}");

    // From where nobody ever logged in, each time somewhere else.
    let mut storm = Storm::new(300);
    storm.blow(5, |tick| nth(0x0a_0000 + tick as u32));
    assert_eq!((storm.turned_away, storm.waited.len()), (0, 10));
    let longest = storm.waited.iter().max().copied();
    assert!(longest <= Some(1000), "{longest:?}");
    assert_eq!(storm.limiter.standing(nth(0), storm.instant()), Standing::Suspect);
}
