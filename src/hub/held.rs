//! Agents that are not let in: who, since when, why, and what would help.
//!
//! An agent that is refused is *held*: its connection stays open without a word, because one that is
//! closed comes back at once. For people it is just offline; this list tells them why. Whoever
//! changes what they were refused for [releases](Held::release) them, and they are judged anew.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::{AgentCommand, Mailbox};
use crate::model::{DomainId, Key48, Millis, NodeId, order};

/// Most entries: the oldest gives way, first of those nobody waits in. About 20 KB.
pub const ENTRIES: usize = 64;

/// Why an agent is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldCause {
    /// It sees another TLS certificate than ours.
    WebHash,
    /// Its certificate is not an RSA certificate.
    Certificate,
    /// Its signature does not fit its certificate and our nonce.
    Signature,
    /// Its settings are those of another server.
    OtherServer,
    /// Its `?key=` is missing or wrong (`agentKey`).
    AgentKey,
    /// Its address is not allowed.
    Address,
    /// Neither the device nor its group is known here.
    UnknownGroup,
    /// Its group is not one for agents.
    WrongGroupKind,
    /// `limits.maxDevices`.
    DeviceLimit,
    /// `limits.maxAgentSessions`.
    SessionLimit,
    /// It connects and disconnects all the time.
    Flapping,
    /// Its key hash is one no agent ever has.
    InvalidKey,
}

impl HeldCause {
    /// Its name for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::WebHash => "webHash",
            Self::Certificate => "certificate",
            Self::Signature => "signature",
            Self::OtherServer => "otherServer",
            Self::AgentKey => "agentKey",
            Self::Address => "address",
            Self::UnknownGroup => "unknownGroup",
            Self::WrongGroupKind => "wrongGroupKind",
            Self::DeviceLimit => "deviceLimit",
            Self::SessionLimit => "sessionLimit",
            Self::Flapping => "flapping",
            Self::InvalidKey => "invalidKey",
        }
    }

    /// The sentence that follows "it is held, because".
    pub fn why(self) -> &'static str {
        match self {
            Self::WebHash => "it sees another TLS certificate than this server's",
            Self::Certificate => "its certificate is not an RSA certificate",
            Self::Signature => "its signature is wrong",
            Self::OtherServer => "its settings are those of another server",
            Self::AgentKey => "its agent key is missing or wrong",
            Self::Address => "its address is not allowed",
            Self::UnknownGroup => "neither the device nor its group is known here",
            Self::WrongGroupKind => "its group is not one for agents",
            Self::DeviceLimit => "there are as many devices as limits.maxDevices allows",
            Self::SessionLimit => "as many are connected as limits.maxAgentSessions allows",
            Self::Flapping => "it connects and disconnects all the time",
            Self::InvalidKey => "its key is one no agent makes",
        }
    }

    /// What would help without opening the door to anybody else.
    pub fn fix(self) -> &'static str {
        match self {
            Self::WebHash => {
                "A proxy in between ends TLS: set certUrl of the domain to the proxy's address, and \
                 the certificate is followed when it changes. If there is no proxy of yours, \
                 somebody listens in: do not switch the check off."
            }
            Self::Certificate | Self::Signature | Self::InvalidKey => {
                "It is no agent, or its database is damaged: install it again."
            }
            Self::OtherServer => {
                "It was installed for another server at this address: install it again from here, \
                 or import that server's data folder."
            }
            Self::AgentKey => {
                "agentKey was set after it was installed: install it again from here."
            }
            Self::Address => "See agentAllowedIP and agentBlockedIP in config.json.",
            Self::UnknownGroup => {
                "Its group was removed, or is on another server: install it again from here, or \
                 import the old data folder."
            }
            Self::WrongGroupKind => "Install it again into a group of devices with an agent.",
            Self::DeviceLimit | Self::SessionLimit => {
                "Raise the limit in config.json, or remove devices."
            }
            Self::Flapping => {
                "Two machines with a copied agent, or a line that breaks: it is let in again by \
                 itself after two minutes of rest."
            }
        }
    }
}

/// An agent that is to be held.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub cause: HeldCause,
    /// The tenant it came to.
    pub domain: DomainId,
    /// From where.
    pub address: IpAddr,
    /// The device, if it has proven which.
    pub node: Option<NodeId>,
    /// What the machine is called.
    pub name: Option<String>,
    /// The certificate it sees ([`HeldCause::WebHash`]).
    pub hash: Option<Key48>,
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldAgent {
    /// [`HeldCause::word`].
    pub cause: String,
    /// In words.
    pub why: String,
    /// What would help.
    pub fix: String,
    /// The tenant; empty for the default one.
    pub domain: String,
    /// Address it came from.
    pub address: String,
    /// What the machine is called, as it says or by its address.
    pub name: Option<String>,
    /// `node/…`, if it has proven who it is.
    pub node: Option<String>,
    /// SHA-384 of the certificate it sees, hexadecimal, if that is why.
    pub hash: Option<String>,
    /// First and last time, milliseconds since 1970.
    pub first: Millis,
    /// See above.
    pub last: Millis,
    /// How often.
    pub times: u32,
    /// Connections of it that wait at this moment.
    pub waiting: u32,
}

struct Entry {
    number: u64,
    refusal: Refusal,
    first: Millis,
    last: Millis,
    times: u32,
    waiting: u32,
}

impl Entry {
    /// Whether it is about the same trouble of the same agent. Another hash is no other trouble: a
    /// peer can send any.
    fn is_same(&self, other: &Refusal) -> bool {
        let Refusal { cause, domain, address, node, .. } = &self.refusal;
        (cause, domain, address, node) == (&other.cause, &other.domain, &other.address, &other.node)
    }
}

/// The list.
#[derive(Default)]
pub struct Held {
    entries: RefCell<Vec<Entry>>,
    /// Connections that wait; bounded by the places for what has proven nothing.
    waiting: RefCell<BTreeMap<u64, Waiting>>,
    next: Cell<u64>,
}

struct Waiting {
    refusal: Refusal,
    mailbox: Rc<Mailbox<AgentCommand>>,
}

/// What became of a refusal in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Worth a line in the log: it was not there before.
    pub is_news: bool,
    entry: u64,
}

/// A connection that is held; it counts until it is dropped.
pub struct Seat {
    held: Rc<Held>,
    number: u64,
    entry: u64,
    mailbox: Rc<Mailbox<AgentCommand>>,
}

impl Seat {
    /// Where it is told that it may go.
    pub fn mailbox(&self) -> Rc<Mailbox<AgentCommand>> {
        self.mailbox.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.held.waiting.borrow_mut().remove(&self.number);
        // It may have been forgotten meanwhile.
        if let Some(entry) =
            self.held.entries.borrow_mut().iter_mut().find(|e| e.number == self.entry)
        {
            entry.waiting = entry.waiting.saturating_sub(1);
        }
    }
}

impl Held {
    /// Notes an agent that is refused.
    pub fn note(&self, refusal: &Refusal, now: Millis) -> Noted {
        let mut entries = self.entries.borrow_mut();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.is_same(refusal)) {
            entry.last = now;
            entry.times = entry.times.saturating_add(1);
            entry.refusal = refusal.clone();
            return Noted { is_news: false, entry: entry.number };
        }
        if entries.len() >= ENTRIES {
            let least = entries.iter().enumerate().min_by_key(|(_, e)| (e.waiting > 0, e.last));
            if let Some(at) = least.map(|(at, _)| at) {
                entries.swap_remove(at);
            }
        }
        let (number, refusal) = (self.number(), refusal.clone());
        entries.push(Entry { number, refusal, first: now, last: now, times: 1, waiting: 0 });
        Noted { is_news: true, entry: number }
    }

    /// Gives one that has just been noted a seat for as long as it is connected.
    pub fn seat(self: &Rc<Self>, refusal: Refusal, noted: Noted) -> Seat {
        let (number, entry) = (self.number(), noted.entry);
        if let Some(entry) = self.entries.borrow_mut().iter_mut().find(|e| e.number == entry) {
            entry.waiting = entry.waiting.saturating_add(1);
        }
        let mailbox = Rc::new(Mailbox::new(0));
        let waiting = Waiting { refusal, mailbox: mailbox.clone() };
        self.waiting.borrow_mut().insert(number, waiting);
        Seat { held: self.clone(), number, entry, mailbox }
    }

    fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    /// What some were refused for has changed: they go, come back and are judged anew. Their
    /// entries are forgotten. Returns how many went.
    pub fn release(&self, concerns: impl Fn(&Refusal) -> bool) -> usize {
        self.entries.borrow_mut().retain(|entry| !concerns(&entry.refusal));
        let waiting = self.waiting.borrow();
        let released = waiting.values().filter(|waiting| concerns(&waiting.refusal));
        released
            .map(|Waiting { mailbox, .. }| {
                // An empty mailbox takes one item, whatever its budget.
                let _ = mailbox.push(AgentCommand::Disconnect);
            })
            .count()
    }

    /// A device came in: what it was held for is over. So is what was held at its address without
    /// a name, if nothing waits there any more.
    pub fn came_in(&self, node: &NodeId, address: IpAddr) {
        self.entries.borrow_mut().retain(|entry| match &entry.refusal.node {
            Some(held) => held != node,
            None => {
                let there = entry.refusal.address == address && entry.refusal.domain == node.domain;
                !there || entry.waiting > 0
            }
        });
    }

    /// All of `domain`, or of every domain; what happened last first.
    pub fn list(&self, domain: Option<&DomainId>) -> Vec<HeldAgent> {
        let entries = self.entries.borrow();
        let mut list: Vec<_> = entries
            .iter()
            .filter(|entry| domain.is_none_or(|domain| entry.refusal.domain == *domain))
            .map(Entry::line)
            .collect();
        order::sort_by(&mut list, |a, b| b.last.cmp(&a.last));
        list
    }
}

impl Entry {
    fn line(&self) -> HeldAgent {
        let Self { refusal, first, last, times, waiting, .. } = self;
        HeldAgent {
            cause: refusal.cause.word().into(),
            why: refusal.cause.why().into(),
            fix: refusal.cause.fix().into(),
            domain: refusal.domain.to_string(),
            address: refusal.address.to_canonical().to_string(),
            name: refusal.name.clone(),
            node: refusal.node.as_ref().map(ToString::to_string),
            hash: refusal.hash.map(|hash| hash.hex()),
            first: *first,
            last: *last,
            times: *times,
            waiting: *waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn, poll_once};

    fn refusal(cause: HeldCause, last: u8, node: Option<u8>) -> Refusal {
        let domain = DomainId::default();
        Refusal {
            cause,
            address: [198, 51, 100, last].into(),
            node: node.map(|n| NodeId::new(domain.clone(), Key48([n; 48]))),
            domain,
            name: None,
            hash: None,
        }
    }

    fn is_told_to_go(seat: &Seat) -> bool {
        let mailbox = seat.mailbox();
        let told = block_on(poll_once(poll_fn(|cx| mailbox.poll_next(cx))));
        matches!(told, Some(Some(AgentCommand::Disconnect)))
    }

    #[test]
    fn an_agent_is_one_line_however_often_it_comes_and_counts_while_it_waits() {
        let held = Rc::new(Held::default());
        let same = refusal(HeldCause::WebHash, 7, None);
        let (first, second) = (held.note(&same, Millis(1)), held.note(&same, Millis(9)));
        assert_eq!((first.is_news, second.is_news), (true, false));
        let seats = [first, second].map(|noted| held.seat(same.clone(), noted));
        let list = held.list(None);
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].first, list[0].last), (Millis(1), Millis(9)));
        assert_eq!((list[0].times, list[0].waiting), (2, 2));
        drop(seats);
        assert_eq!(held.list(None)[0].waiting, 0);
        let elsewhere = DomainId::new("customer1").unwrap();
        assert_eq!(held.list(Some(&elsewhere)), []);
    }

    #[test]
    fn the_list_is_bounded_and_keeps_those_who_wait() {
        let held = Rc::new(Held::default());
        let waits = refusal(HeldCause::AgentKey, 0, None);
        let noted = held.note(&waits, Millis(0));
        let _seat = held.seat(waits, noted);
        for n in 1..200 {
            held.note(&refusal(HeldCause::WebHash, n, None), Millis(n.into()));
        }
        let list = held.list(None);
        assert_eq!(list.len(), ENTRIES);
        assert_eq!(list[0].address, "198.51.100.199");
        assert_eq!(list.last().unwrap().cause, "agentKey");
    }

    #[test]
    fn who_is_released_goes_and_is_forgotten_and_nobody_else() {
        let held = Rc::new(Held::default());
        let (hash, key) =
            (refusal(HeldCause::WebHash, 1, None), refusal(HeldCause::AgentKey, 2, None));
        let seats =
            [&hash, &key].map(|refusal| held.seat(refusal.clone(), held.note(refusal, Millis(1))));
        assert_eq!(held.release(|refusal| refusal.cause == HeldCause::WebHash), 1);
        assert_eq!(seats.each_ref().map(is_told_to_go), [true, false]);
        assert_eq!(held.list(None).len(), 1);
    }

    #[test]
    fn a_device_that_came_in_is_no_trouble_any_more() {
        let held = Rc::new(Held::default());
        for refusal in [
            refusal(HeldCause::Flapping, 1, Some(1)),
            refusal(HeldCause::Flapping, 1, Some(2)),
            refusal(HeldCause::WebHash, 1, None),
            refusal(HeldCause::WebHash, 2, None),
        ] {
            held.note(&refusal, Millis(1));
        }
        let node = NodeId::new(DomainId::default(), Key48([1; 48]));
        held.came_in(&node, [198, 51, 100, 1].into());
        let left: Vec<_> = held.list(None).into_iter().map(|l| (l.cause, l.address)).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.contains(&("flapping".into(), "198.51.100.1".into())), "the other device");
        assert!(left.contains(&("webHash".into(), "198.51.100.2".into())), "another place");
    }

    #[test]
    fn every_cause_says_why_and_what_helps() {
        use HeldCause::*;
        let all = [
            WebHash,
            Certificate,
            Signature,
            OtherServer,
            AgentKey,
            Address,
            UnknownGroup,
            WrongGroupKind,
            DeviceLimit,
            SessionLimit,
            Flapping,
            InvalidKey,
        ];
        let words: std::collections::BTreeSet<_> = all.iter().map(|cause| cause.word()).collect();
        assert_eq!(words.len(), all.len());
        assert!(all.iter().all(|cause| !cause.why().is_empty() && cause.fix().ends_with('.')));
    }
}
