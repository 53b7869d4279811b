//! Guests: people without an account, let in to one device by a share.
//!
//! Source: relay-and-tunnels §11. A guest's cookie only names the share; what the guest may do, and
//! until when, is what the share says at that moment and what its maker may do. The server calls
//! the agent itself, because a guest has no control channel.

use std::rc::Rc;

use serde_json::{Map, Value};

use crate::hub::Hub;
use crate::model::{DomainId, Millis, NodeId, Share, UserId};

use super::command::Guest;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

/// What a share lets its guests do.
#[derive(Clone, Debug, PartialEq)]
pub struct Invited {
    /// Who made the share, and in whose name the guest acts.
    pub user: UserId,
    /// The device.
    pub node: NodeId,
    /// The guest.
    pub guest: Guest,
    /// When it is over.
    pub until: Option<Millis>,
}

/// Whether a cookie is that of a guest.
pub fn is_guest(cookie: &Map<String, Value>) -> bool {
    ["nid", "pid", "k", "gn"].iter().any(|name| cookie.contains_key(*name))
}

/// The share that a guest's cookie names.
pub fn share_named(cookie: &Map<String, Value>) -> Option<&str> {
    cookie.get("pid")?.as_str()
}

impl Invited {
    /// What the share `id` lets its guests do at `now`; `None` if there is none, or not now.
    pub fn by(hub: &Hub, domain: &DomainId, id: &str, now: Millis) -> Option<Self> {
        let share: Rc<Share> = hub.store.share(id)?;
        if share.node.domain != *domain || share.user.domain != *domain {
            return None;
        }
        let until = open_until(&share, now)?;
        let guest = Guest {
            name: share.guest_name.as_str().into(),
            usages: usages(share.protocols),
            view_only: share.view_only,
            consent: share.consent,
        };
        Some(Self { user: share.user.clone(), node: share.node.clone(), guest, until })
    }
}

/// Until when a share is open that is open now (`Some(None)`: for ever); `None` if it is not.
fn open_until(share: &Share, now: Millis) -> Option<Option<Millis>> {
    if share.start.is_some_and(|start| now < start) {
        return None;
    }
    let period = match share.recurring {
        Some(1) => DAY,
        Some(2) => 7 * DAY,
        _ => {
            let is_over = share.expires.is_some_and(|end| end <= now);
            return (!is_over).then_some(share.expires);
        }
    };
    let (start, minutes) = (share.start?.0, share.duration?);
    let since = (now.0 - start) % period;
    let length = u64::from(minutes) * MINUTE;
    (since < length).then(|| Some(Millis(now.0 - since + length)))
}

/// Protocol numbers of a share's mask: 1 terminal, 2 desktop, 4 files.
fn usages(mask: u32) -> &'static [u16] {
    match mask & 7 {
        1 => &[1, 6, 8, 9],
        2 => &[2],
        3 => &[1, 6, 8, 9, 2],
        4 => &[5, 10],
        5 => &[1, 6, 8, 9, 5, 10],
        6 => &[2, 5, 10],
        7 => &[1, 6, 8, 9, 2, 5, 10],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::{World, node_id, user_id};

    fn share() -> Share {
        Share {
            public_id: "abcdefghijkl".into(),
            node: node_id(2),
            user: user_id("ann"),
            guest_name: "Gus".into(),
            protocols: 2,
            consent: 8,
            port: None,
            url: String::new(),
            start: None,
            expires: None,
            duration: None,
            recurring: None,
            view_only: true,
        }
    }

    #[test]
    fn a_share_is_open_in_its_time_only() {
        let at = |minute: u64| Some(Millis(minute * MINUTE));
        let plain = |start, expires| Share { start, expires, ..share() };
        let recurring =
            |kind| Share { start: at(100), duration: Some(30), recurring: Some(kind), ..share() };
        let day = 24 * 60;
        for (what, share, minute, expected) in [
            ("without end", plain(None, None), 5, Some(None)),
            ("not yet", plain(at(10), at(20)), 9, None),
            ("within", plain(at(10), at(20)), 10, Some(at(20))),
            ("over", plain(at(10), at(20)), 20, None),
            ("before the first day", recurring(1), 99, None),
            ("first day", recurring(1), 100, Some(at(130))),
            ("first day, over", recurring(1), 130, None),
            ("third day", recurring(1), 2 * day + 110, Some(at(2 * day + 130))),
            ("not this day", recurring(2), 2 * day + 110, None),
            ("next week", recurring(2), 7 * day + 129, Some(at(7 * day + 130))),
            ("recurs without a length", Share { duration: None, ..recurring(1) }, 100, None),
        ] {
            assert_eq!(open_until(&share, Millis(minute * MINUTE)), expected, "{what}");
        }
    }

    #[test]
    fn the_share_says_what_its_guest_may_do_and_not_the_cookie() {
        let world = World::new();
        world.hub.store.put(share()).later();
        let cookie = serde_json::json!({"pid": "abcdefghijkl", "p": 7, "vo": false, "gn": "Root"});
        let cookie = cookie.as_object().unwrap();
        assert!(is_guest(cookie));
        let id = share_named(cookie).unwrap();
        let invited = Invited::by(&world.hub, &world.domain(), id, Millis(5)).unwrap();
        assert_eq!(invited.user, user_id("ann"));
        assert_eq!(&*invited.guest.name, "Gus");
        assert_eq!((invited.guest.usages, invited.guest.view_only), (&[2][..], true));
        let other = DomainId::new("other").unwrap();
        assert_eq!(Invited::by(&world.hub, &other, id, Millis(5)), None);
        assert_eq!(Invited::by(&world.hub, &world.domain(), "unknown", Millis(5)), None);
    }
}
