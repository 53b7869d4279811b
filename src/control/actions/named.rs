//! What a request names: devices, groups, accounts, user groups, and whether the user sees them.
//!
//! Ids may be short, agent groups may be given by name. What the user has no right on at all is not
//! found here, so that no answer tells it from what does not exist.

use std::rc::Rc;

use crate::model::rights::{Authority, Subject};
use crate::model::{
    Device, Group, GroupId, GroupKind, NodeId, Rights, User, UserGroup, UserGroupId, UserId,
};

use super::{Call, Wanted};

/// Why a request is not performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Invalid,
    Unknown,
    Denied,
    /// The account named stands above the user.
    Above,
    Duplicate,
    /// The session came by a login token.
    ByToken,
}

/// A device on which the needed right was granted.
#[derive(Clone, Debug)]
pub(in super::super) struct OnDevice {
    pub(in super::super) device: Rc<Device>,
    /// Everything the user may do with it.
    pub(in super::super) rights: Rights,
}

/// A device group on which the needed right was granted.
#[derive(Clone, Debug)]
pub(in super::super) struct OnGroup {
    pub(in super::super) group: Rc<Group>,
    /// Everything the user may do with it.
    pub(in super::super) rights: Rights,
}

/// One of the devices a request named.
#[derive(Clone, Debug)]
pub(in super::super) enum Choice {
    /// The right is granted.
    Granted(OnDevice),
    /// Visible to the user, but the right is missing.
    Denied,
    /// Unknown, or invisible to the user.
    Unknown,
}

/// The account named by `userid`, `username` or `id`, if the user has that much authority over it.
pub(super) fn account_named(call: &Call, needed: Authority) -> Result<Rc<User>, Cause> {
    let named = ["userid", "username", "id"].into_iter().find_map(|name| call.request.text(name));
    let account = visible_account(call, named.ok_or(Cause::Invalid)?).ok_or(Cause::Unknown)?;
    let authority = call.hub().authority(&call.user, &account);
    if authority < needed { Err(Cause::Above) } else { Ok(account) }
}

/// The account of that id or name, if the user has to do with it.
pub(super) fn visible_account(call: &Call, id: &str) -> Option<Rc<User>> {
    let id = match call.hub().crosses_domains(&call.user.id) && id.contains('/') {
        true => id.parse(),
        false => UserId::parse_in(&call.user.id.domain, id),
    };
    let account = call.hub().store.user(&id.ok()?)?;
    (call.hub().authority(&call.user, &account) >= Authority::See).then_some(account)
}

/// The user group named by `ugrpid`.
pub(super) fn user_group_named(call: &Call) -> Result<Rc<UserGroup>, Cause> {
    let text = call.request.text_within("ugrpid", 1, 1024).ok_or(Cause::Invalid)?;
    user_group(call, text)
}

/// The user group of that id, in the user's domain or in any for who crosses domains.
pub(super) fn user_group(call: &Call, text: &str) -> Result<Rc<UserGroup>, Cause> {
    let id = match call.hub().crosses_domains(&call.user.id) && text.contains('/') {
        true => text.parse(),
        false => UserGroupId::parse_in(&call.user.id.domain, text),
    };
    call.hub().store.user_group(&id.map_err(|_| Cause::Invalid)?).ok_or(Cause::Unknown)
}

/// The device named by `nodeid`, if the user has any right on it.
pub(super) fn device_named(call: &Call) -> Result<OnDevice, Cause> {
    let text = call.request.text_within("nodeid", 1, 1024).ok_or(Cause::Invalid)?;
    visible_device(call, text).ok_or(Cause::Unknown)
}

pub(super) fn visible_device(call: &Call, id: &str) -> Option<OnDevice> {
    let id = NodeId::parse_in(&call.user.id.domain, id).ok()?;
    let device = call.hub().store.device(&id)?;
    let rights = call.hub().rights_on_device(&call.user, &device);
    (!rights.is_empty()).then_some(OnDevice { device, rights })
}

/// What the user may do with each of `nodeids`, in their order.
pub(super) fn devices_named(call: &Call, wanted: Wanted) -> Result<Vec<Choice>, Cause> {
    let right = match wanted {
        Wanted::Always(right) => right,
        Wanted::By(right) => right(&call.request),
    };
    let ids = call.request.texts("nodeids", 1024).ok_or(Cause::Invalid)?;
    let choices: Vec<_> = ids
        .into_iter()
        .map(|id| match visible_device(call, id) {
            Some(granted) if granted.rights.allows(right) => Choice::Granted(granted),
            Some(_) => Choice::Denied,
            None => Choice::Unknown,
        })
        .collect();
    if choices.iter().any(|choice| matches!(choice, Choice::Denied)) {
        call.audit_refusal();
    }
    Ok(choices)
}

/// The group named by `meshid`, or by its name in `meshname` (`meshidname` in editmesh), if the
/// user has any right on it. Names count for agent groups only, as in MeshCentral.
pub(super) fn group_named(call: &Call) -> Result<OnGroup, Cause> {
    let request = &call.request;
    if request.get("meshid").is_none() {
        // editmesh may rename: there `meshidname` is the group and `meshname` its new name.
        let name = request.text("meshidname").or_else(|| request.text("meshname"));
        return group_by_name(call, name.ok_or(Cause::Invalid)?);
    }
    let text = request.text_within("meshid", 8, 134).ok_or(Cause::Invalid)?;
    let id = GroupId::parse_in(&call.user.id.domain, text).map_err(|_| Cause::Unknown)?;
    let group = call.hub().store.group(&id).filter(|group| group.deleted.is_none());
    visible_group(call, group.ok_or(Cause::Unknown)?).ok_or(Cause::Unknown)
}

fn visible_group(call: &Call, group: Rc<Group>) -> Option<OnGroup> {
    let rights = call.hub().rights(&call.user, Subject::Group(&group.id));
    (!rights.is_empty()).then_some(OnGroup { group, rights })
}

fn group_by_name(call: &Call, name: &str) -> Result<OnGroup, Cause> {
    let mut found = call
        .hub()
        .store
        .groups(&call.user.id.domain)
        .into_iter()
        .filter(|group| group.kind == GroupKind::Agent && group.name == name)
        .filter_map(|group| visible_group(call, group));
    let group = found.next().ok_or(Cause::Invalid)?;
    if found.next().is_some() { Err(Cause::Duplicate) } else { Ok(group) }
}
