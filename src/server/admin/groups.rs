//! Device groups: add, list.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{AdminContext, Answer, accounts, domain, user_id};
use crate::model::{
    DomainId, Event, EventKind, Group, GroupId, GroupKind, Key48, Target, User, order,
};

/// Longest group name in characters.
const NAME_MAX: usize = 128;

/// A device group as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLine {
    /// `mesh/<domain>/<64 characters>`.
    pub meshid: String,
    /// Display name.
    pub name: String,
    /// MeshCentral's number of its kind; 2 are devices with an agent.
    pub mtype: u8,
    /// Devices in it.
    pub devices: usize,
}

impl GroupLine {
    fn of(ctx: &AdminContext, group: &Group) -> Self {
        let devices = ctx.hub.store.devices(group.domain());
        Self {
            meshid: group.id.to_string(),
            name: group.name.clone(),
            mtype: group.kind.mtype(),
            devices: devices.iter().filter(|device| device.group == group.id).count(),
        }
    }
}

pub(super) async fn add(
    ctx: &AdminContext,
    domain_name: &str,
    name: &str,
    user: Option<&str>,
) -> Result<Answer, String> {
    let domain = domain(ctx, domain_name)?;
    let clean = crate::model::text::clamp(name, NAME_MAX);
    if clean != name || name.is_empty() {
        return Err("a group name has 1 to 128 visible characters".to_owned());
    }
    if let Some(group) = ctx.hub.store.groups(&domain).iter().find(|g| g.name == name) {
        return Err(format!("there is a group of this name: {}", group.id));
    }
    let owners = owners(ctx, &domain, user)?;
    let mut key = [0; 48];
    getrandom::fill(&mut key).map_err(|e| format!("no randomness: {e}"))?;
    let id = GroupId::new(domain.clone(), Key48(key));
    let group = Group::new(id.clone(), name, GroupKind::Agent, ctx.hub.now());

    let mut commits = vec![ctx.hub.store.put(group.clone())];
    commits.extend(owners.iter().map(|owner| accounts::link(ctx, owner, &id)));
    let event = Event::new("createmesh", domain)
        .kind(EventKind::Mesh)
        .with("meshid", id.to_string())
        .with("mtype", group.kind.mtype())
        .with("mesh", ctx.hub.group_document(&group))
        .with("msgid", 76)
        .with("msgArgs", json!([name]))
        .with("msg", format!("Device group created: {name}"))
        .to(Target::All)
        .to(Target::Group(id));
    ctx.hub.publish(
        owners.iter().fold(event, |event, owner| event.to(Target::User(owner.id.clone()))),
    );
    log::info!("admin: created group {name:?}, {}", group.id);
    for commit in commits {
        commit.await.map_err(|e| e.to_string())?;
    }
    Ok(Answer::Group(GroupLine::of(ctx, &group)))
}

/// Who gets the rights: the named account, or every full administrator of the domain.
fn owners(
    ctx: &AdminContext,
    domain: &DomainId,
    user: Option<&str>,
) -> Result<Vec<Rc<User>>, String> {
    let Some(name) = user else {
        let users = ctx.hub.store.users(domain);
        let admins: Vec<_> = users.into_iter().filter(|user| user.site.is_full()).collect();
        if admins.is_empty() {
            return Err("nobody would see the group: name an account that shall have it, or make \
                        a full administrator first"
                .to_owned());
        }
        return Ok(admins);
    };
    let id = user_id(domain, name)?;
    let user = ctx.hub.store.user(&id).ok_or_else(|| format!("there is no account {id}"))?;
    Ok(vec![user])
}

pub(super) fn list(ctx: &AdminContext, domain_name: &str) -> Result<Answer, String> {
    let domain = domain(ctx, domain_name)?;
    let mut groups: Vec<_> =
        ctx.hub.store.groups(&domain).iter().map(|group| GroupLine::of(ctx, group)).collect();
    order::sort_by(&mut groups, |a, b| a.name.cmp(&b.name));
    Ok(Answer::Groups(groups))
}
