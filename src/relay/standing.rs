//! What the user of a tunnel may do, asked anew whenever it may have changed.

use std::rc::Rc;

use crate::hub::{TunnelLink, TunnelPurpose};
use crate::model::{Device, Millis, NodeId, Rights, SiteRights, User, UserId};

use super::admission::Who;
use super::filter::{Filter, Permit};
use super::guest::Invited;
use super::pairing::Owner;
use super::pipe::Pipe;
use super::room::Room;
use super::session::Arrived;
use super::wire::Speech;

/// One of these is needed for any session.
pub(super) const IN_SESSION: Rights = Rights::REMOTE_CONTROL.union(Rights::VIEW_ONLY);

/// An account that may log in, a device, and what the one may do with the other.
pub(super) fn standing(
    room: &Room,
    user: &UserId,
    node: &NodeId,
) -> Option<(Rc<User>, Rc<Device>, Rights)> {
    let user = room.hub.store.user(user)?;
    let device = room.hub.store.device(node)?;
    let rights = room.hub.rights_on_device(&user, &device);
    (!user.site.restricted(SiteRights::LOCKED)).then_some((user, device, rights))
}

/// What a share lets its guests do right now, if it is still that of `owner`.
pub(super) fn invited(room: &Room, owner: &Owner, share: &str) -> Option<Invited> {
    let invited = Invited::by(&room.hub, &owner.user.domain, share, room.hub.now())?;
    (invited.user == owner.user).then_some(invited)
}

/// What a tunnel is for, and what its user may do in it.
pub(super) struct Terms {
    pub(super) purpose: TunnelPurpose,
    /// The account at the other end of a chat.
    pub(super) partner: Option<UserId>,
    pub(super) filter: Option<Filter>,
}

impl Terms {
    /// `None` if the user has no right to it.
    pub(super) fn of(room: &Room, viewer: &Arrived, agent: &Arrived) -> Option<Self> {
        let owner = viewer.who.claim().owner().clone();
        let mut purpose = TunnelPurpose {
            user: owner.user.clone(),
            node: None,
            protocol: viewer.query.protocol.or(agent.query.protocol).unwrap_or_default(),
            guest: None,
            share: owner.share,
        };
        let Who::Agent(pass, _) = &agent.who else {
            // Two ends of one user, who may say to himself what he likes, or two who chat.
            let partner = match &agent.who {
                Who::Chatter(user) => Some(user.clone()),
                _ => None,
            };
            return Some(Self { purpose, partner, filter: None });
        };
        purpose.node = Some(pass.node.clone());
        let Standing { permit, guest, .. } = Standing::of(room, &purpose)?;
        purpose.guest = guest;
        let allowed = match pass.speech {
            Speech::Session => permit.rights.intersects(IN_SESSION),
            Speech::Tcp | Speech::Udp => permit.allows_relay(),
            Speech::Chat => permit.allows_chat(),
        };
        let filter = Some(Filter::new(permit, pass.speech));
        allowed.then_some(Self { purpose, partner: None, filter })
    }
}

/// What the user of a tunnel may do on its device, right now.
pub(super) struct Standing {
    pub(super) permit: Permit,
    /// The guest's name.
    pub(super) guest: Option<Box<str>>,
    /// When that ends by itself.
    pub(super) until: Option<Millis>,
}

impl Standing {
    /// `None` if the account, the device or the share is gone, or there is no device.
    pub(super) fn of(room: &Room, purpose: &TunnelPurpose) -> Option<Self> {
        let TunnelPurpose { user, node, share, .. } = purpose;
        let node = node.as_ref()?;
        let (_, _, rights) = standing(room, user, node)?;
        let view_only = room.hub.config().domain(&user.domain).desktop_view_only;
        let permit = Permit { view_only, ..Permit::of(rights) };
        let Some(share) = share else { return Some(Self { permit, guest: None, until: None }) };
        let owner = Owner { user: user.clone(), share: None };
        let Invited { guest, until, .. } =
            invited(room, &owner, share).filter(|invited| invited.node == *node)?;
        let permit = Permit {
            view_only: view_only || guest.view_only,
            usages: Some(guest.usages),
            ..permit
        };
        Some(Self { permit, guest: Some(guest.name), until })
    }
}

/// Puts the rights as they are now in force.
pub(super) fn is_still_allowed(room: &Room, link: &TunnelLink, pipe: &mut Pipe) -> bool {
    let purpose = &link.purpose;
    if !is_still_himself(room, link) {
        return false;
    }
    if purpose.node.is_none() {
        return true;
    }
    let Some(Standing { permit, .. }) = Standing::of(room, purpose) else { return false };
    pipe.filter().is_none_or(|filter| filter.set_permit(permit))
}

/// Whether the account may still log in, and has not ended everything that began before; of a chat
/// both accounts.
pub(super) fn is_still_himself(room: &Room, link: &TunnelLink) -> bool {
    let is_valid =
        |user: &User| !user.site.restricted(SiteRights::LOCKED) && user.is_good_since(link.since);
    let mut people = std::iter::once(&link.purpose.user).chain(&link.partner);
    people.all(|id| room.hub.store.user(id).is_some_and(|user| is_valid(&user)))
}
