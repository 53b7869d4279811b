//! Guests: people without an account, let in to one device by a share.
//!
//! Source: relay-and-tunnels §11. A guest's cookie only names the share; what the guest may do, and
//! until when, is what the share says at that moment and what its maker may do. The server calls
//! the agent itself, because a guest has no control channel.

use std::rc::Rc;

use serde_json::{Map, Value};

use crate::config::GuestSharing;
use crate::hub::Hub;
use crate::model::{DomainId, Millis, NodeId, Share, UserId};

use super::command::Guest;

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
        if hub.config().domain(domain).guest_sharing == GuestSharing::Forbidden {
            return None;
        }
        let until = share.open_until(now)?;
        let until = (until != Share::FOR_EVER).then_some(until);
        let guest = Guest {
            name: share.guest_name.as_str().into(),
            usages: usages(share.protocols),
            view_only: share.view_only,
            consent: share.consent,
        };
        Some(Self { user: share.user.clone(), node: share.node.clone(), guest, until })
    }
}

/// Protocol numbers of a share's mask: 1 terminal, 2 desktop, 4 files.
pub fn usages(mask: u32) -> &'static [u16] {
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
        assert_eq!(invited.until, None);
        let closed = Share { start: Some(Millis(6)), ..share() };
        world.hub.store.put(closed).later();
        assert_eq!(Invited::by(&world.hub, &world.domain(), id, Millis(5)), None);
        let ends = Share { expires: Some(Millis(9)), ..share() };
        world.hub.store.put(ends).later();
        let invited = Invited::by(&world.hub, &world.domain(), id, Millis(5)).unwrap();
        assert_eq!(invited.until, Some(Millis(9)));
        let other = DomainId::new("other").unwrap();
        assert_eq!(Invited::by(&world.hub, &other, id, Millis(5)), None);
        assert_eq!(Invited::by(&world.hub, &world.domain(), "unknown", Millis(5)), None);
    }
}
