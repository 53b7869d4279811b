//! Who comes to the firmware and what for. Refusals are for the journal; a peer sees a close.

use std::rc::Rc;

use super::super::redirection::Permit;
use super::Room;
use crate::hub::{Refused, TunnelLink, TunnelPurpose};
use crate::model::{Device, NodeId, SiteRights, User, UserId};
use crate::relay::guest;
use crate::relay::visitor::{CHAT, ONCE, Visitor};

/// An account that may log in, a device, and what the one may do with the firmware of the other.
pub(super) struct Standing {
    pub(super) user: Rc<User>,
    pub(super) device: Rc<Device>,
    pub(super) permit: Permit,
}

impl Standing {
    /// `None` if the account or the device is gone, or there is nothing it may do.
    pub(super) fn of(room: &Room, user: &UserId, node: &NodeId) -> Option<Self> {
        let hub = &room.hub;
        let user = hub.store.user(user)?;
        let device = hub.store.device(node)?;
        let rights = hub.rights_on_device(&user, &device);
        let view_only = hub.config().domain(&user.id.domain).desktop_view_only;
        let permit = Permit { rights, view_only };
        let may = permit.allows_any() && !user.site.restricted(SiteRights::LOCKED);
        may.then_some(Self { user, device, permit })
    }

    /// What it is now for the user of a session; `None` if that may not go on, whatever it is for.
    pub(super) fn still(room: &Room, link: &TunnelLink) -> Option<Self> {
        let TunnelPurpose { user, node, .. } = &link.purpose;
        Self::of(room, user, node.as_ref()?).filter(|now| now.user.is_good_since(link.since))
    }
}

/// The value of a parameter of the request.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let mut all = form_urlencoded::parse(query.as_bytes());
    all.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}

/// Finds out who comes to which device (`host`).
pub(super) async fn enter(room: &Room, visitor: &impl Visitor) -> Result<Standing, &'static str> {
    if !visitor.is_own_origin() {
        room.hub.metrics.refuse(Refused::UserAuth);
        return Err("a page from elsewhere");
    }
    if !visitor.has_credentials() {
        return Err("no credentials");
    }
    let viewer = visitor.viewer().await.ok_or("credentials that are not accepted")?;
    let cookie = &viewer.cookie;
    let is_narrow = guest::is_guest(cookie)
        || ["nodeid", "tcpport", ONCE, CHAT].into_iter().any(|name| cookie.contains_key(name));
    if is_narrow {
        return Err("a cookie for something else");
    }
    let node = parameter(visitor.query(), "host").ok_or("no device")?;
    let node = NodeId::parse_in(&viewer.user.domain, &node).map_err(|_| "a malformed device id")?;
    Standing::of(room, &viewer.user, &node).ok_or("no such device, or no right to its firmware")
}
