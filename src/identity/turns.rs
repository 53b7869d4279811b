//! Who may have a password checked next, when many want it and one can.
//!
//! Sans-I/O: arrivals in, "your turn" and "go away" out. A storm of guesses must not keep the owner
//! waiting, so turns go by what is known of the network somebody comes from: first those that
//! proved themselves lately, then strangers, then those that failed lately; among equals one of each
//! network in turn. Nobody fills the queue: a network has a share of it, and when it is full, who
//! holds most of the least worthy gives way.

use std::collections::VecDeque;

use crate::model::Network;

/// Most that wait at a time.
const PLACES: usize = 16;

/// What is known of somebody who wants a password checked; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Logged in, or in from where somebody logged in lately.
    Known,
    /// Nothing.
    Stranger,
    /// There were failures lately.
    Suspect,
}

impl Standing {
    /// Most that wait of one network.
    fn share(self) -> usize {
        match self {
            Self::Known => 8,
            Self::Stranger => 4,
            Self::Suspect => 1,
        }
    }
}

/// Somebody who wants a password checked or hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Where from; `None`: from inside, or not known. All of these share one share.
    pub network: Option<Network>,
    /// What is known of that network.
    pub standing: Standing,
}

impl Asker {
    /// Somebody who is logged in.
    pub const INSIDE: Self = Self { network: None, standing: Standing::Known };
    /// Anybody.
    pub const ANYBODY: Self = Self { network: None, standing: Standing::Stranger };
}

struct Waiting<T> {
    number: u64,
    asker: Asker,
    item: T,
}

/// The queue. Items are what is handed back when a turn comes, or to who has to go.
pub(crate) struct Turns<T> {
    /// In the order of arrival.
    waiting: Vec<Waiting<T>>,
    /// The networks of the last turns, the latest last.
    served: VecDeque<Option<Network>>,
    next_number: u64,
}

/// Why somebody does not wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full<T>(pub(crate) T);

impl<T> Turns<T> {
    pub(crate) fn new() -> Self {
        Self { waiting: Vec::new(), served: VecDeque::new(), next_number: 0 }
    }

    /// Takes a place. Returns its number, and who has to go for it.
    pub(crate) fn enter(&mut self, asker: Asker, item: T) -> Result<(u64, Option<T>), Full<T>> {
        let own = self.of(asker.network);
        if own >= asker.standing.share() {
            return Err(Full(item));
        }
        let mut displaced = None;
        if self.waiting.len() >= PLACES {
            let burden = |w: &Waiting<T>| (w.asker.standing, self.of(w.asker.network));
            // Of equals the one who came last.
            let worst = self.waiting.iter().enumerate().max_by_key(|(at, w)| (burden(w), *at));
            match worst {
                Some((at, worst)) if burden(worst) > (asker.standing, own + 1) => {
                    displaced = Some(self.waiting.remove(at).item);
                }
                _ => return Err(Full(item)),
            }
        }
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.push(Waiting { number, asker, item });
        Ok((number, displaced))
    }

    /// Takes the one whose turn it is out of the queue.
    pub(crate) fn next(&mut self) -> Option<T> {
        let served = |asker: &Asker| self.served.iter().rposition(|n| *n == asker.network);
        let worth = |w: &Waiting<T>| (w.asker.standing, served(&w.asker), w.number);
        let (best, _) = self.waiting.iter().enumerate().min_by_key(|(_, w)| worth(w))?;
        let next = self.waiting.remove(best);
        if self.served.len() >= PLACES {
            self.served.pop_front();
        }
        self.served.push_back(next.asker.network);
        Some(next.item)
    }

    /// Gives a place back: somebody does not want to wait any more.
    pub(crate) fn leave(&mut self, number: u64) {
        self.waiting.retain(|w| w.number != number);
    }

    /// Something was learned about a network of which some may be waiting.
    pub(crate) fn judge(&mut self, network: Network, standing: Standing) {
        for w in self.waiting.iter_mut().filter(|w| w.asker.network == Some(network)) {
            w.asker.standing = standing;
        }
    }

    /// How many of a network wait.
    fn of(&self, network: Option<Network>) -> usize {
        self.waiting.iter().filter(|w| w.asker.network == network).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Known, Stranger, Suspect};

    fn from(network: u8, standing: Standing) -> Asker {
        Asker { network: Some(Network::V4([192, 0, network])), standing }
    }

    fn all(turns: &mut Turns<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| turns.next()).collect()
    }

    #[test]
    fn the_known_go_first_and_each_network_in_its_turn() {
        let mut turns = Turns::new();
        for (asker, item) in [
            (from(1, Suspect), "guesser"),
            (from(2, Stranger), "office 1"),
            (from(2, Stranger), "office 2"),
            (from(2, Stranger), "office 3"),
            (from(3, Stranger), "hotel"),
            (from(4, Known), "home"),
        ] {
            assert!(turns.enter(asker, item).is_ok(), "{item}");
        }
        let order = ["home", "office 1", "hotel", "office 2", "office 3", "guesser"];
        assert_eq!(all(&mut turns), order);
    }

    #[test]
    fn a_network_has_its_share_and_no_more() {
        for (standing, share) in [(Suspect, 1), (Stranger, 4), (Known, 8)] {
            let mut turns = Turns::new();
            let entered = (0..PLACES).filter(|_| turns.enter(from(1, standing), "").is_ok());
            assert_eq!(entered.count(), share, "{standing:?}");
        }
    }

    #[test]
    fn in_a_full_queue_the_worse_give_way_and_the_better_stay() {
        let mut turns = Turns::new();
        for network in 0..PLACES as u8 {
            assert!(turns.enter(from(network, Suspect), "guesser").is_ok());
        }
        assert_eq!(turns.enter(from(99, Suspect), "one more").unwrap_err(), Full("one more"));
        let (_, displaced) = turns.enter(from(100, Stranger), "stranger").unwrap();
        assert_eq!(displaced, Some("guesser"));
        let (_, displaced) = turns.enter(from(101, Known), "owner").unwrap();
        assert_eq!(displaced, Some("guesser"));
        assert_eq!(turns.waiting.len(), PLACES);
        assert_eq!(turns.next(), Some("owner"));
        assert_eq!(turns.next(), Some("stranger"));
    }

    #[test]
    fn who_holds_many_places_gives_way_to_who_has_none() {
        let mut turns = Turns::new();
        for network in 0..4 {
            for _ in 0..4 {
                assert!(turns.enter(from(network, Stranger), "crowd").is_ok());
            }
        }
        let (_, displaced) = turns.enter(from(9, Stranger), "single").unwrap();
        assert_eq!(displaced, Some("crowd"));
        let order = all(&mut turns);
        assert_eq!(order.iter().position(|who| *who == "single"), Some(4), "after one of each");
    }

    #[test]
    fn what_is_learned_counts_for_those_who_wait() {
        let mut turns = Turns::new();
        turns.enter(from(1, Stranger), "guesser").unwrap();
        let (number, _) = turns.enter(from(2, Stranger), "impatient").unwrap();
        turns.enter(from(3, Stranger), "patient").unwrap();
        turns.judge(Network::V4([192, 0, 1]), Suspect);
        turns.leave(number);
        assert_eq!(all(&mut turns), ["patient", "guesser"]);
    }
}
