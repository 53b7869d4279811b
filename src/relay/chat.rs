//! Chats: two pages joined by an id that names both of their people.
//!
//! Source: relay-and-tunnels §14. The id is `meshmessenger/` and two ids of six parts together: a
//! device and an account, or two accounts. Accounts prove who they are; the page at a device has no
//! account and came by a link that the server gave its agent. Unlike MeshCentral's, whose links are
//! the ids alone and so known to anybody, such a link carries a token that works once ([`Calls`]).
//! With it the page gets a [`super::wire::Pass`] for this chat and the token for the next time, in
//! case its connection breaks.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::model::{DomainId, NodeId, UserId};

/// Protocol label.
pub const PROTOCOL: u16 = 200;
/// What the ids of chats begin with.
const PREFIX: &str = "meshmessenger/";
/// Longest id in bytes.
pub const ID_MAX: usize = 1024;
/// How long an end waits for the other. Pages come again by themselves.
pub const WAIT: Duration = Duration::from_secs(10 * 60);
/// Time for a browser to open at the device.
const LINK: Duration = Duration::from_secs(10 * 60);
/// How long a page that was there may come again.
const AGAIN: Duration = Duration::from_secs(12 * 3600);
/// Most chats that devices are called to at a time.
const CALLS_MAX: usize = 1024;
/// Random bytes of a token.
const TOKEN: usize = 16;

/// Who talks to whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chat {
    /// The person at a device, and an account.
    AtDevice(NodeId, UserId),
    /// Two accounts.
    Between(UserId, UserId),
}

/// Whether an id of a tunnel is meant to be that of a chat.
pub fn is_chat(id: &str) -> bool {
    id.starts_with(PREFIX)
}

impl Chat {
    /// The chat that has this id in `domain`; `None` if there cannot be one.
    pub fn parse(domain: &DomainId, id: &str) -> Option<Self> {
        let (one, two) = halves(id.strip_prefix(PREFIX).filter(|_| id.len() <= ID_MAX)?)?;
        let user = UserId::parse_in(domain, two).ok().filter(|_| two.starts_with("user/"))?;
        if one.starts_with("node/") {
            return Some(Self::AtDevice(NodeId::parse_in(domain, one).ok()?, user));
        }
        let other = UserId::parse_in(domain, one).ok().filter(|_| one.starts_with("user/"))?;
        (other != user).then_some(Self::Between(other, user))
    }

    /// Whom `user` talks to: `Some(None)` is the person at a device. `None` if it is not a chat of
    /// this account.
    pub fn partner(&self, user: &UserId) -> Option<Option<&UserId>> {
        match self {
            Self::AtDevice(_, one) => (one == user).then_some(None),
            Self::Between(one, two) if one == user => Some(Some(two)),
            Self::Between(one, two) => (two == user).then_some(Some(one)),
        }
    }

    /// The id as it stands in an address: each half encoded, as MeshCentral writes it.
    pub fn encoded(&self) -> String {
        let encode = |id: &dyn fmt::Display| -> String {
            form_urlencoded::byte_serialize(id.to_string().as_bytes()).collect()
        };
        match self {
            Self::AtDevice(node, user) => format!("{PREFIX}{}/{}", encode(node), encode(user)),
            Self::Between(one, two) => format!("{PREFIX}{}/{}", encode(one), encode(two)),
        }
    }
}

impl fmt::Display for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtDevice(node, user) => write!(f, "{PREFIX}{node}/{user}"),
            Self::Between(one, two) => write!(f, "{PREFIX}{one}/{two}"),
        }
    }
}

/// Two ids of three parts each.
fn halves(text: &str) -> Option<(&str, &str)> {
    let mut slashes = text.match_indices('/').map(|(at, _)| at);
    let middle = slashes.nth(2)?;
    let is_complete = slashes.count() == 2;
    let two = text.get(middle + 1..).filter(|_| is_complete)?;
    Some((text.get(..middle)?, two))
}

/// The tokens that are out: the newest for each chat, kept in memory only. So a server that was
/// started again knows none, and nobody can keep one for later.
#[derive(Default)]
pub struct Calls {
    out: BTreeMap<Chat, Call>,
}

struct Call {
    /// SHA-256 of the token: how long comparing takes tells nothing of it.
    digest: [u8; 32],
    until: Instant,
}

impl Calls {
    /// A token for the page at the device; the one given before is void. `None` without randomness.
    pub fn give(&mut self, chat: Chat, now: Instant) -> Option<String> {
        self.put(chat, now + LINK, now)
    }

    /// Takes a token for the next one. `None` if it is not the one that is out.
    pub fn redeem(&mut self, chat: &Chat, token: &str, now: Instant) -> Option<String> {
        let call = self.out.get(chat)?;
        if call.digest != digest(token) || now >= call.until {
            return None;
        }
        self.put(chat.clone(), now + AGAIN, now)
    }

    fn put(&mut self, chat: Chat, until: Instant, now: Instant) -> Option<String> {
        let mut random = [0; TOKEN];
        getrandom::fill(&mut random).ok()?;
        let token = data_encoding::BASE64URL_NOPAD.encode(&random);
        if self.out.len() >= CALLS_MAX {
            self.out.retain(|_, call| now < call.until);
        }
        if self.out.len() >= CALLS_MAX {
            let first = self.out.iter().min_by_key(|(_, call)| call.until);
            let first = first.map(|(chat, _)| chat.clone());
            first.map(|chat| self.out.remove(&chat));
        }
        self.out.insert(chat, Call { digest: digest(&token), until });
        Some(token)
    }
}

fn digest(token: &str) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    // SHA-256 has 32 bytes.
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::{node_id, user_id};
    use proptest::prelude::*;

    fn parse(id: &str) -> Option<Chat> {
        Chat::parse(&DomainId::default(), id)
    }

    #[test]
    fn an_id_names_two_who_can_talk() {
        let node = node_id(2).to_string();
        let at_device = Chat::AtDevice(node_id(2), user_id("ann"));
        for (id, expected) in [
            (format!("meshmessenger/{node}/user//ann"), Some(at_device.clone())),
            (format!("meshmessenger/{node}/user//ANN"), Some(at_device)),
            (
                "meshmessenger/user//ann/user//bob".into(),
                Some(Chat::Between(user_id("ann"), user_id("bob"))),
            ),
            ("meshmessenger/user//ann/user//ann".into(), None),
            (format!("meshmessenger/user//ann/{node}"), None),
            (format!("meshmessenger/{node}/{node}"), None),
            (format!("meshmessenger/{node}/user/other/ann"), None),
            (format!("meshmessenger/{node}/user//ann/more"), None),
            (format!("meshmessenger/{node}/ann"), None),
            (format!("meshmessenger/{node}"), None),
            ("meshmessenger/".into(), None),
            (format!("{node}/user//ann"), None),
            (format!("meshmessenger/user//{}/user//ann", "x".repeat(ID_MAX)), None),
        ] {
            assert_eq!(parse(&id), expected, "{id}");
        }
    }

    #[test]
    fn each_of_the_two_has_the_other_for_a_partner_and_nobody_else_has_one() {
        let (ann, bob, eve) = (user_id("ann"), user_id("bob"), user_id("eve"));
        let chat = Chat::Between(ann.clone(), bob.clone());
        assert_eq!(chat.partner(&ann), Some(Some(&bob)));
        assert_eq!(chat.partner(&bob), Some(Some(&ann)));
        assert_eq!(chat.partner(&eve), None);
        let chat = Chat::AtDevice(node_id(2), ann.clone());
        assert_eq!(chat.partner(&ann), Some(None));
        assert_eq!(chat.partner(&bob), None);
    }

    #[test]
    fn the_address_of_a_chat_is_meshcentrals() {
        let chat = Chat::AtDevice(node_id(0xff), user_id("ann"));
        let key = "%24".repeat(64);
        assert_eq!(chat.encoded(), format!("meshmessenger/node%2F%2F{key}/user%2F%2Fann"));
    }

    #[test]
    fn a_token_works_once_in_its_time_and_the_newest_only() {
        let (mut calls, now) = (Calls::default(), Instant::now());
        let chat = Chat::AtDevice(node_id(2), user_id("ann"));
        let other = Chat::AtDevice(node_id(3), user_id("ann"));
        let first = calls.give(chat.clone(), now).unwrap();
        assert_eq!(calls.redeem(&other, &first, now), None, "another chat");
        assert_eq!(calls.redeem(&chat, "", now), None);
        let next = calls.redeem(&chat, &first, now).unwrap();
        assert_eq!(calls.redeem(&chat, &first, now), None, "used");
        let next = calls.redeem(&chat, &next, now + AGAIN / 2).unwrap();
        assert_eq!(calls.redeem(&chat, &next, now + AGAIN * 2), None, "too late");
        let void = calls.give(chat.clone(), now).unwrap();
        let newest = calls.give(chat.clone(), now).unwrap();
        assert_eq!(calls.redeem(&chat, &void, now), None);
        assert_eq!(calls.redeem(&chat, &newest, now + LINK), None, "too late");
        assert!(calls.redeem(&chat, &newest, now + LINK / 2).is_some());
    }

    #[test]
    fn calls_are_bounded_and_the_oldest_goes() {
        let (mut calls, now) = (Calls::default(), Instant::now());
        let chat = |n: usize| Chat::AtDevice(node_id(2), user_id(&format!("u{n}")));
        let first = calls.give(chat(0), now).unwrap();
        for n in 1..CALLS_MAX + 1 {
            calls.give(chat(n), now + Duration::from_secs(1)).unwrap();
        }
        assert_eq!(calls.out.len(), CALLS_MAX);
        assert_eq!(calls.redeem(&chat(0), &first, now), None);
    }

    proptest! {
        #[test]
        fn no_id_makes_parsing_panic(text in ".{0,200}") {
            let _ = parse(&text);
            let _ = parse(&format!("{PREFIX}{text}"));
        }

        #[test]
        fn an_id_is_what_it_was_parsed_from(name in "[a-z0-9.@-]{1,30}") {
            prop_assume!(name != "ann");
            let user = UserId::new(DomainId::default(), &name).unwrap();
            for chat in [Chat::AtDevice(node_id(1), user.clone()), Chat::Between(user_id("ann"), user.clone())] {
                prop_assert_eq!(parse(&chat.to_string()), Some(chat.clone()));
                let query = format!("id={}", chat.encoded());
                let (_, id) = form_urlencoded::parse(query.as_bytes()).next().unwrap();
                prop_assert_eq!(parse(&id), Some(chat));
            }
        }
    }
}
