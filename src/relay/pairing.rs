//! The table in which the two ends of a tunnel find each other. No sockets, no timers of its own.
//!
//! Source: relay-and-tunnels §2. Either end may come first and waits. The second is let to it if
//! at least one of them is a logged-in user and both belong to the same account; if not, the
//! newcomer goes and the other keeps waiting. A third end of a tunnel goes. In chats the ids name
//! both ends; one that comes again takes its own place.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::model::{DomainId, UserId};

/// How long the first end of a tunnel waits for the second.
pub const WAIT: Duration = Duration::from_secs(15);
/// The same for a download by URL.
pub const DOWNLOAD_WAIT: Duration = Duration::from_secs(30);
/// A pass is good for a minute; that it was used is remembered a little longer.
const MEMORY: Duration = Duration::from_secs(90);
/// Passes remembered at most. Each was made by this server for a user with rights.
const SPENT_MAX: usize = 4096;

/// In whose name an end is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The account.
    pub user: UserId,
    /// The share, if it is a guest of that account.
    pub share: Option<Box<str>>,
}

/// What an end of a tunnel has proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is this user or guest.
    Viewer(Owner),
    /// It is an agent, called on behalf of this user or guest, with the pass of this serial.
    Agent(Owner, [u8; 16]),
    /// It knows a secret of this user's session.
    Bearer(Owner),
    /// It is one of the two whom the id of a chat names: this user, or the page at the device that
    /// talks to this user, with the pass of this serial.
    Chat(Owner, Option<[u8; 16]>),
}

impl Claim {
    /// In whose name it is there.
    pub fn owner(&self) -> &Owner {
        match self {
            Self::Viewer(owner)
            | Self::Agent(owner, _)
            | Self::Bearer(owner)
            | Self::Chat(owner, _) => owner,
        }
    }

    /// Serial of the pass that came with it.
    fn serial(&self) -> Option<&[u8; 16]> {
        match self {
            Self::Agent(_, serial) => Some(serial),
            Self::Chat(_, serial) => serial.as_ref(),
            Self::Viewer(_) | Self::Bearer(_) => None,
        }
    }

    /// Whether `later` is the same end of a chat, come again: who waits may be long gone.
    fn is_come_again(&self, later: &Self) -> bool {
        match (self, later) {
            (Self::Chat(one, at_device), Self::Chat(other, other_at_device)) => {
                one == other && at_device.is_some() == other_at_device.is_some()
            }
            _ => false,
        }
    }

    fn is_authenticated(&self) -> bool {
        matches!(self, Self::Viewer(_))
    }
}

/// Names a tunnel: ids of different tenants are different tunnels.
pub type TunnelId = (DomainId, Box<str>);

/// What becomes of an end that arrives.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<T> {
    /// It waits; what it left is handed to whoever comes.
    Held(Ticket),
    /// The other end is there and had left this.
    Paired(Ticket, T),
    /// It must go.
    Refused(Refusal),
}

/// Why an end must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Neither end is a logged-in user.
    NobodyLoggedIn,
    /// The ends belong to different accounts.
    OtherUser,
    /// Both ends are there.
    Taken,
    /// This pass was used before.
    Spent,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NobodyLoggedIn => "neither end is a logged-in user",
            Self::OtherUser => "the other end belongs to another user",
            Self::Taken => "both ends are there already",
            Self::Spent => "the pass was used before",
        })
    }
}

/// A place in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    id: TunnelId,
    number: u64,
}

struct Entry<T> {
    number: u64,
    /// The first end, while it waits for the second.
    waiting: Option<Waiting<T>>,
}

struct Waiting<T> {
    claim: Claim,
    left: T,
    until: Instant,
}

/// The tunnels of one server. Entries are as many as there are ends that wait or are paired; the
/// caller bounds those.
pub struct Table<T> {
    entries: BTreeMap<TunnelId, Entry<T>>,
    next: u64,
    spent: VecDeque<(Instant, [u8; 16])>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), next: 0, spent: VecDeque::new() }
    }
}

impl<T> Table<T> {
    /// An end of the tunnel `id` arrives. If it is the first, `leave` says what it leaves for the
    /// second, and it waits for `wait`.
    pub fn arrive(
        &mut self,
        id: TunnelId,
        claim: Claim,
        now: Instant,
        wait: Duration,
        leave: impl FnOnce() -> T,
    ) -> Arrival<T> {
        if claim.serial().is_some_and(|serial| self.spend(serial, now)) {
            return Arrival::Refused(Refusal::Spent);
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            // An end whose time is up is as good as gone, even if nobody has told yet.
            let waiting = entry
                .waiting
                .take_if(|waiting| now < waiting.until && !waiting.claim.is_come_again(&claim));
            match (waiting, &entry.waiting) {
                (Some(waiting), _) => {
                    if let Some(refusal) = objection(&waiting.claim, &claim) {
                        entry.waiting = Some(waiting);
                        return Arrival::Refused(refusal);
                    }
                    return Arrival::Paired(Ticket { id, number: entry.number }, waiting.left);
                }
                (None, None) => return Arrival::Refused(Refusal::Taken),
                (None, Some(_)) => {}
            }
        }
        let number = self.next;
        self.next += 1;
        let waiting = Some(Waiting { claim, left: leave(), until: now + wait });
        self.entries.insert(id.clone(), Entry { number, waiting });
        Arrival::Held(Ticket { id, number })
    }

    /// Whoever holds `ticket` leaves: a first end that waits no longer, or a pair that has ended.
    pub fn leave(&mut self, ticket: &Ticket) {
        if self.entries.get(&ticket.id).is_some_and(|entry| entry.number == ticket.number) {
            self.entries.remove(&ticket.id);
        }
    }

    /// Number of tunnels, waiting and paired.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes note of a pass, or of a cookie that is good once; true if it was used before.
    pub fn spend(&mut self, serial: &[u8; 16], now: Instant) -> bool {
        while self.spent.len() >= SPENT_MAX
            || self.spent.front().is_some_and(|(at, _)| now.duration_since(*at) > MEMORY)
        {
            self.spent.pop_front();
        }
        if self.spent.is_empty() {
            self.spent = VecDeque::new();
        }
        let used = self.spent.iter().any(|(_, spent)| spent == serial);
        if !used {
            self.spent.push_back((now, *serial));
        }
        used
    }
}

/// What speaks against a pair, if anything does.
fn objection(first: &Claim, second: &Claim) -> Option<Refusal> {
    match (first, second) {
        // The id names them, and both have proven to be who it names.
        (Claim::Chat(..), Claim::Chat(..)) => return None,
        (Claim::Chat(..), _) | (_, Claim::Chat(..)) => return Some(Refusal::OtherUser),
        _ => {}
    }
    if !first.is_authenticated() && !second.is_authenticated() {
        return Some(Refusal::NobodyLoggedIn);
    }
    (first.owner() != second.owner()).then_some(Refusal::OtherUser)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::user_id;

    struct Scene {
        table: Table<&'static str>,
        now: Instant,
        serial: u8,
    }

    impl Scene {
        fn new() -> Self {
            Self { table: Table::default(), now: Instant::now(), serial: 0 }
        }

        fn arrive(&mut self, claim: Claim, left: &'static str) -> Arrival<&'static str> {
            let id = (DomainId::default(), "id".into());
            self.table.arrive(id, claim, self.now, WAIT, || left)
        }

        fn agent(&mut self, name: &str) -> Claim {
            self.serial += 1;
            Claim::Agent(owner(name), [self.serial; 16])
        }
    }

    fn owner(name: &str) -> Owner {
        Owner { user: user_id(name), share: None }
    }

    fn viewer(name: &str) -> Claim {
        Claim::Viewer(owner(name))
    }

    fn bearer(name: &str) -> Claim {
        Claim::Bearer(owner(name))
    }

    #[test]
    fn a_pair_has_one_user_and_somebody_who_is_logged_in() {
        use Refusal::{NobodyLoggedIn, OtherUser};
        let agent = |name: &str, serial| Claim::Agent(owner(name), [serial; 16]);
        let guest = || Owner { share: Some("s".into()), ..owner("ann") };
        for (first, second, expected) in [
            (viewer("ann"), agent("ann", 1), None),
            (agent("ann", 1), viewer("ann"), None),
            (viewer("ann"), viewer("ann"), None),
            (viewer("ann"), bearer("ann"), None),
            (bearer("ann"), viewer("ann"), None),
            (viewer("ann"), agent("bob", 1), Some(OtherUser)),
            (agent("bob", 1), viewer("ann"), Some(OtherUser)),
            (viewer("ann"), viewer("bob"), Some(OtherUser)),
            (viewer("ann"), bearer("bob"), Some(OtherUser)),
            (Claim::Viewer(guest()), Claim::Agent(guest(), [1; 16]), None),
            (Claim::Viewer(guest()), agent("ann", 1), Some(OtherUser)),
            (viewer("ann"), Claim::Agent(guest(), [1; 16]), Some(OtherUser)),
            (agent("ann", 1), agent("ann", 2), Some(NobodyLoggedIn)),
            (bearer("ann"), bearer("ann"), Some(NobodyLoggedIn)),
            (agent("ann", 1), bearer("ann"), Some(NobodyLoggedIn)),
        ] {
            let mut scene = Scene::new();
            let what = format!("{first:?} then {second:?}");
            assert!(matches!(scene.arrive(first.clone(), "first"), Arrival::Held(_)), "{what}");
            match (scene.arrive(second, "second"), expected) {
                (Arrival::Paired(_, left), None) => assert_eq!(left, "first", "{what}"),
                (Arrival::Refused(refusal), Some(expected)) => {
                    assert_eq!(refusal, expected, "{what}");
                    // The first still waits, for the right one.
                    let fitting = match &first {
                        Claim::Viewer(owner) => Claim::Agent(owner.clone(), [99; 16]),
                        other => Claim::Viewer(other.owner().clone()),
                    };
                    let paired = scene.arrive(fitting, "third");
                    assert!(matches!(paired, Arrival::Paired(_, "first")), "{what}");
                }
                (other, _) => panic!("{what}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_third_end_goes_and_the_pair_stays() {
        let mut scene = Scene::new();
        let agent = scene.agent("ann");
        let Arrival::Held(first) = scene.arrive(agent, "") else { panic!("held") };
        let Arrival::Paired(ticket, _) = scene.arrive(viewer("ann"), "") else { panic!("paired") };
        assert_eq!(ticket, first);
        assert_eq!(scene.arrive(viewer("ann"), ""), Arrival::Refused(Refusal::Taken));
        let agent = scene.agent("ann");
        assert_eq!(scene.arrive(agent, ""), Arrival::Refused(Refusal::Taken));
        scene.table.leave(&ticket);
        assert!(scene.table.is_empty());
        assert!(
            matches!(scene.arrive(viewer("ann"), ""), Arrival::Held(_)),
            "the id is free again"
        );
    }

    #[test]
    fn an_end_whose_time_is_up_is_not_paired_any_more() {
        let mut scene = Scene::new();
        let Arrival::Held(old) = scene.arrive(viewer("ann"), "old") else { panic!("held") };
        scene.now += WAIT;
        let agent = scene.agent("ann");
        let Arrival::Held(new) = scene.arrive(agent, "new") else { panic!("held") };
        scene.table.leave(&old);
        assert_eq!(scene.table.len(), 1, "the old ticket does not remove the new end");
        scene.now += WAIT - Duration::from_millis(1);
        assert!(matches!(scene.arrive(viewer("ann"), ""), Arrival::Paired(t, "new") if t == new));
    }

    #[test]
    fn tenants_do_not_meet() {
        let mut scene = Scene::new();
        assert!(matches!(scene.arrive(viewer("ann"), ""), Arrival::Held(_)));
        let id = (DomainId::new("other").unwrap(), "id".into());
        let held = scene.table.arrive(id, viewer("ann"), scene.now, WAIT, || "");
        assert!(matches!(held, Arrival::Held(_)));
    }

    #[test]
    fn in_a_chat_the_two_meet_and_nobody_meets_himself() {
        let ann = || Claim::Chat(owner("ann"), None);
        let at_device = |serial| Claim::Chat(owner("ann"), Some([serial; 16]));
        let bob = || Claim::Chat(owner("bob"), None);
        for (first, again, second) in [
            (ann(), ann(), at_device(1)),
            (at_device(2), at_device(3), ann()),
            (ann(), ann(), bob()),
        ] {
            let mut scene = Scene::new();
            let Arrival::Held(old) = scene.arrive(first, "gone") else { panic!("held") };
            assert!(matches!(scene.arrive(again, "waits"), Arrival::Held(_)), "comes again");
            scene.table.leave(&old);
            assert_eq!(scene.table.len(), 1, "the old one takes nothing with it");
            for other in [viewer("ann"), bearer("ann")] {
                assert_eq!(scene.arrive(other, ""), Arrival::Refused(Refusal::OtherUser));
            }
            assert!(matches!(scene.arrive(second, ""), Arrival::Paired(_, "waits")));
            assert_eq!(scene.arrive(ann(), ""), Arrival::Refused(Refusal::Taken));
        }
    }

    #[test]
    fn a_pass_is_good_once() {
        let mut scene = Scene::new();
        let agent = scene.agent("ann");
        let Arrival::Held(ticket) = scene.arrive(agent.clone(), "") else { panic!("held") };
        assert_eq!(scene.arrive(agent.clone(), ""), Arrival::Refused(Refusal::Spent));
        scene.table.leave(&ticket);
        assert_eq!(scene.arrive(agent, ""), Arrival::Refused(Refusal::Spent));
        // What is remembered is bounded by time and by number.
        scene.now += MEMORY * 2;
        let another = scene.agent("ann");
        assert!(matches!(scene.arrive(another, ""), Arrival::Held(_)));
        assert_eq!(scene.table.spent.len(), 1);
    }
}
