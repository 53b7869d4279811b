//! Who arrives at a tunnel and what for: from an upgrade to a claim or a refusal.
//!
//! A viewer shows what it would show at the control channel, a guest the cookie of a share, an agent
//! the pass it was given. Refusals are for the journal; a peer sees a close and nothing else.

use crate::hub::Refused;
use crate::model::{NodeId, Rights, UserId};

use super::command::Introduction;
use super::filter::Permit;
use super::guest;
use super::pairing::{Claim, Owner};
use super::room::{Denied, Room};
use super::session::Arrived;
use super::standing::{IN_SESSION, invited, standing};
use super::visitor::{Viewer, Visitor};
use super::wire::{Pass, Rauth, Target, TunnelQuery};

/// Ids of chats between pages, which have rules of their own.
const MESSENGER: &str = "meshmessenger/";

/// What an end has shown.
pub(super) enum Who {
    /// A login, or the share of a guest.
    Viewer(Owner),
    /// A pass of ours.
    Agent(Pass, [u8; 16]),
    /// The relay cookie of a user's session.
    Bearer(UserId),
}

impl Who {
    /// What the table is told.
    pub(super) fn claim(&self) -> Claim {
        match self {
            Self::Viewer(owner) => Claim::Viewer(owner.clone()),
            Self::Agent(pass, serial) => {
                let owner = Owner { user: pass.user.clone(), share: pass.share.clone() };
                Claim::Agent(owner, *serial)
            }
            Self::Bearer(user) => Claim::Bearer(Owner { user: user.clone(), share: None }),
        }
    }
}

/// An agent to be called to the tunnel by the server.
pub(super) struct Call {
    node: NodeId,
    target: Option<Target>,
}

impl Call {
    /// Calls it to the tunnel `id` that `viewer` waits in.
    pub(super) fn make(&self, room: &Room, id: &str, viewer: &Arrived) -> Result<(), Denied> {
        let Who::Viewer(owner) = &viewer.who else { return Err(Denied::Refused) };
        let (user, device, rights) =
            standing(room, &owner.user, &self.node).ok_or(Denied::Refused)?;
        let invited = match &owner.share {
            Some(share) => Some(invited(room, owner, share).ok_or(Denied::Refused)?),
            None => None,
        };
        let introduction = Introduction {
            user: &user,
            device: &device,
            rights,
            remote: viewer.remote.ip(),
            session: None,
            guest: invited.as_ref().map(|invited| &invited.guest),
        };
        let (label, target) = (viewer.query.protocol, self.target.as_ref());
        let share = owner.share.as_deref();
        room.call_agent(&introduction, "meshrelay.ashx", id, label, target, share)
    }
}

/// Finds out who arrives and what for.
pub(super) async fn enter(
    room: &Room,
    visitor: &impl Visitor,
) -> Result<(Who, TunnelQuery, Option<Call>), &'static str> {
    if !visitor.is_own_origin() {
        room.hub.metrics.refuse(Refused::UserAuth);
        return Err("a page from elsewhere");
    }
    let mut query = TunnelQuery::parse(visitor.query()).map_err(|_| "a malformed request")?;
    if query.id.as_ref().is_some_and(|id| id.starts_with(MESSENGER)) {
        return Err("there is no messenger here");
    }
    if visitor.has_credentials()
        && let Some(viewer) = visitor.viewer().await
    {
        permits(room, visitor, Role::Person)?;
        let (share, call) = match guest::is_guest(&viewer.cookie) {
            true => admit_guest(room, &viewer, &mut query)?,
            false => (None, admit(room, &viewer, &mut query)?),
        };
        let owner = Owner { user: viewer.user, share };
        return Ok((Who::Viewer(owner), query, call));
    }
    permits(room, visitor, Role::Agent)?;
    let (Some(id), Some(rauth)) = (&query.id, &query.rauth) else { return Err("no credentials") };
    let who = match room.open_rauth(rauth, visitor.domain(), id) {
        Some(Rauth::Pass(pass, serial)) => Who::Agent(pass, serial),
        Some(Rauth::Bearer(user)) => Who::Bearer(user),
        None => return Err("a relay cookie that is not accepted"),
    };
    Ok((who, query, None))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Person,
    Agent,
}

/// Whether somebody of this role may come from where he does.
fn permits(room: &Room, visitor: &impl Visitor, role: Role) -> Result<(), &'static str> {
    let config = room.hub.config();
    let domain = config.domain(visitor.domain());
    let rules = match role {
        Role::Person => [&config.settings.user_addresses, &domain.user_addresses],
        Role::Agent => [&config.settings.agent_addresses, &domain.agent_addresses],
    };
    if rules.iter().all(|rules| rules.permits(visitor.remote().ip())) {
        return Ok(());
    }
    room.hub.metrics.refuse(Refused::Address);
    Err("an address that is not allowed")
}

/// What a logged-in user may have; whether the server has to call the agent.
fn admit(
    room: &Room,
    viewer: &Viewer,
    query: &mut TunnelQuery,
) -> Result<Option<Call>, &'static str> {
    let (cookie, user) = (&viewer.cookie, &viewer.user);
    let number = cookie.get("p").and_then(|p| u16::try_from(p.as_u64()?).ok());
    query.protocol = query.protocol.or(number);
    let by_cookie = cookie.get("nodeid").and_then(|node| node.as_str());
    let (node, target) = match by_cookie {
        // A cookie that says where to is for nowhere else.
        Some(node) => {
            let target = Target::among(cookie).map_err(|_| "a malformed target")?;
            (Some(node), target.or(query.target.take()))
        }
        None => (query.node.as_deref(), query.target.take()),
    };
    let Some(node) = node else {
        return match query.id {
            Some(_) => Ok(None),
            None => Err("neither an id nor a device"),
        };
    };
    let node = NodeId::parse_in(&user.domain, node).map_err(|_| "a malformed device id")?;
    let (_, _, rights) = standing(room, user, &node).ok_or("an unknown device")?;
    match target {
        Some(target) => {
            if !Permit::of(rights).allows_relay() {
                return Err("no right to relay through this device");
            }
            query.id = query.id.take().or_else(|| room.fresh_id());
            query.id.as_ref().ok_or("no random numbers")?;
            Ok(Some(Call { node, target: Some(target) }))
        }
        None if query.id.is_none() => Err("neither an id nor a target"),
        None if !rights.intersects(IN_SESSION | Rights::RELAY) => Err("no right on this device"),
        None => Ok(None),
    }
}

/// What a guest may have: a session on the shared device, to which the server calls the agent.
fn admit_guest(
    room: &Room,
    viewer: &Viewer,
    query: &mut TunnelQuery,
) -> Result<(Option<Box<str>>, Option<Call>), &'static str> {
    let id = guest::share_named(&viewer.cookie).ok_or("a guest without a share")?;
    let owner = Owner { user: viewer.user.clone(), share: Some(id.into()) };
    let invited = invited(room, &owner, id).ok_or("a guest of a share that is not open")?;
    if query.target.take().is_some() {
        return Err("a guest who wants a port");
    }
    if !query.protocol.is_some_and(|p| invited.guest.usages.contains(&p)) {
        return Err("a guest who wants what is not shared");
    }
    query.id.as_ref().ok_or("no id")?;
    Ok((owner.share, Some(Call { node: invited.node, target: None })))
}
