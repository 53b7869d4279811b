//! Who arrives at a tunnel and what for: from an upgrade to a claim or a refusal.
//!
//! A viewer shows what it would show at the control channel, a guest the cookie of a share, an agent
//! the pass it was given. Refusals are for the journal; a peer sees a close and nothing else.

use crate::hub::Refused;
use crate::model::{NodeId, Rights, UserId};

use super::chat::{self, Chat};
use super::command::Introduction;
use super::filter::Permit;
use super::guest;
use super::pairing::{Claim, Owner};
use super::room::{Denied, Room};
use super::session::Arrived;
use super::standing::{IN_SESSION, invited, standing};
use super::visitor::{self, Viewer, Visitor};
use super::wire::{Pass, Rauth, Speech, Target, TunnelQuery};

/// What an end has shown.
pub(super) enum Who {
    /// A login, or the share of a guest.
    Viewer(Owner),
    /// A pass of ours.
    Agent(Pass, [u8; 16]),
    /// The relay cookie of a user's session.
    Bearer(UserId),
    /// A login, in a chat of this account.
    Chatter(UserId),
}

impl Who {
    /// What the table is told.
    pub(super) fn claim(&self) -> Claim {
        match self {
            Self::Viewer(owner) => Claim::Viewer(owner.clone()),
            Self::Agent(pass, serial) => {
                let owner = Owner { user: pass.user.clone(), share: pass.share.clone() };
                match pass.speech {
                    Speech::Chat => Claim::Chat(owner, Some(*serial)),
                    _ => Claim::Agent(owner, *serial),
                }
            }
            Self::Bearer(user) => Claim::Bearer(Owner { user: user.clone(), share: None }),
            Self::Chatter(user) => Claim::Chat(Owner { user: user.clone(), share: None }, None),
        }
    }

    /// Whether it is an end of a chat.
    pub(super) fn chats(&self) -> bool {
        matches!(self.claim(), Claim::Chat(..))
    }
}

/// An agent to be called to the tunnel by the server.
pub(super) struct Call {
    node: NodeId,
    target: Option<Target>,
}

impl Call {
    /// The device whose desktop is to be watched with others, if that is what the viewer wants.
    pub(super) fn shared_desktop(&self, room: &Room, query: &TunnelQuery) -> Option<&NodeId> {
        let is_shared = room.shares(&self.node.domain, query.protocol) && self.target.is_none();
        is_shared.then_some(&self.node)
    }

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
    let viewer = match visitor.has_credentials() {
        true => visitor.viewer().await,
        false => None,
    };
    if let Some(serial) = viewer.as_ref().and_then(Viewer::serial)
        && room.spend(serial)
    {
        return Err("a cookie that was used before");
    }
    if query.id.as_ref().is_some_and(|id| chat::is_chat(id)) {
        let who = enter_chat(room, visitor, viewer, &mut query)?;
        return Ok((who, query, None));
    }
    if let Some(viewer) = viewer {
        permits(room, visitor, Role::Person)?;
        if viewer.chat().is_some() {
            return Err("a cookie for a chat");
        }
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

/// Finds out who comes to a chat: one of its accounts, or the page at its device.
fn enter_chat(
    room: &Room,
    visitor: &impl Visitor,
    viewer: Option<Viewer>,
    query: &mut TunnelQuery,
) -> Result<Who, &'static str> {
    let named = query.id.take().and_then(|id| Chat::parse(visitor.domain(), &id));
    let chat = named.ok_or("no id of a chat")?;
    let id: Box<str> = chat.to_string().into();
    *query = TunnelQuery {
        id: Some(id.clone()),
        rauth: query.rauth.take(),
        protocol: Some(chat::PROTOCOL),
        no_ping: query.no_ping,
        ..TunnelQuery::default()
    };
    let Some(viewer) = viewer else {
        // The person at a device comes from where its agent does, or from where people do.
        permits(room, visitor, Role::Agent).or_else(|_| permits(room, visitor, Role::Person))?;
        let rauth = query.rauth.as_ref().ok_or("no credentials")?;
        return match room.open_rauth(rauth, visitor.domain(), &id) {
            Some(Rauth::Pass(pass, serial)) if pass.speech == Speech::Chat => {
                Ok(Who::Agent(pass, serial))
            }
            _ => Err("a relay cookie that is not for this chat"),
        };
    };
    permits(room, visitor, Role::Person)?;
    let is_narrow = guest::is_guest(&viewer.cookie) || viewer.cookie.contains_key("nodeid");
    if is_narrow || viewer.chat().is_some_and(|only| *only != *id) {
        return Err("a cookie for something else");
    }
    let partner = chat.partner(&viewer.user).ok_or("somebody else's chat")?;
    match (&chat, partner) {
        (Chat::AtDevice(node, user), _) => {
            let rights = standing(room, user, node).map(|(_, _, rights)| rights);
            let may = rights.is_some_and(|rights| Permit::of(rights).allows_chat());
            may.then_some(()).ok_or("no right to talk to this device")?;
        }
        (_, Some(partner)) => {
            room.hub.store.user(partner).ok_or("a chat with nobody")?;
        }
        (_, None) => {}
    }
    Ok(Who::Chatter(viewer.user))
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
        // Nobody else calls the agent to a desktop that is shared.
        None if room.shares(&node.domain, query.protocol) => Ok(Some(Call { node, target: None })),
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
    let named = viewer.cookie.get("nid").and_then(|node| node.as_str());
    if named.is_some_and(|node| node != invited.node.to_string()) {
        return Err("a guest of another device");
    }
    if let Some(only) = viewer.cookie.get(visitor::PROTOCOL)
        && only.as_u64() != query.protocol.map(u64::from)
    {
        return Err("a guest whose cookie is for another protocol");
    }
    if query.target.take().is_some() {
        return Err("a guest who wants a port");
    }
    if !query.protocol.is_some_and(|p| invited.guest.usages.contains(&p)) {
        return Err("a guest who wants what is not shared");
    }
    query.id.as_ref().ok_or("no id")?;
    Ok((owner.share, Some(Call { node: invited.node, target: None })))
}
