//! Which sessions are recorded.

use crate::config::Recording;
use crate::model::{Device, Group, LinkTarget, User, UserGroup};

/// What decides whether a session is recorded.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    /// Protocol number of the session.
    pub protocol: u16,
    /// Whose session it is.
    pub user: &'a User,
    /// With which device.
    pub device: &'a Device,
    /// The device's group.
    pub group: Option<&'a Group>,
}

/// Whether a session is recorded. `user_groups` are those the account is a member of.
pub fn is_recorded<'a>(
    recording: &Recording,
    session: &Session<'_>,
    user_groups: impl IntoIterator<Item = &'a UserGroup>,
) -> bool {
    let wanted = |wanted: &Vec<u16>| wanted.contains(&session.protocol);
    recording.protocols.as_ref().is_none_or(wanted) && is_selected(recording, session, user_groups)
}

/// The protocols that must not be spoken in a session that goes by another number and is not
/// recorded for that reason: the number is the client's word, given before anything is spoken.
pub fn reserved<'a>(
    recording: &'a Recording,
    session: &Session<'_>,
    user_groups: impl IntoIterator<Item = &'a UserGroup>,
) -> &'a [u16] {
    match &recording.protocols {
        Some(protocols)
            if !protocols.contains(&session.protocol)
                && is_selected(recording, session, user_groups) =>
        {
            protocols
        }
        _ => &[],
    }
}

/// Whether sessions of this user with this device are recorded, if their protocol is.
fn is_selected<'a>(
    recording: &Recording,
    session: &Session<'_>,
    user_groups: impl IntoIterator<Item = &'a UserGroup>,
) -> bool {
    if !recording.is_selective() {
        return true;
    }
    let Session { user, device, group, .. } = session;
    let by_user = || recording.only_users && user.flags & User::RECORD != 0;
    let by_device_group = || {
        let flags = group.map_or(0, |group| group.flags);
        recording.only_device_groups && flags & Group::RECORD != 0
    };
    let leads_here = |target: &LinkTarget| match target {
        LinkTarget::Group(id) => *id == device.group,
        LinkTarget::Device(id) => *id == device.id,
        LinkTarget::UserGroup(_) => false,
    };
    // A right of one's own is not a right through a user group.
    let by_user_group = || {
        recording.only_user_groups
            && !user.links.iter().any(|link| leads_here(&link.to))
            && user_groups.into_iter().any(|group| {
                group.flags & UserGroup::RECORD != 0
                    && group.links.iter().any(|link| leads_here(&link.to))
            })
    };
    by_user() || by_device_group() || by_user_group()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        DomainId, GroupId, GroupKind, Key48, Link, Millis, NodeId, PasswordHash, Rights,
        UserGroupId, UserId,
    };

    fn link(to: LinkTarget) -> Vec<Link> {
        vec![Link { to, rights: Rights::REMOTE_CONTROL, notify: 0 }]
    }

    #[test]
    fn sessions_are_recorded_by_protocol_and_by_the_flags_that_count() {
        let root = DomainId::default();
        let mesh = GroupId::new(root.clone(), Key48([1; 48]));
        let device =
            Device::new(NodeId::new(root.clone(), Key48([2; 48])), mesh.clone(), "pi", Millis(0));
        let everything = Recording::default();
        let only = |users, user_groups, device_groups| Recording {
            only_users: users,
            only_user_groups: user_groups,
            only_device_groups: device_groups,
            ..Recording::default()
        };
        let desktop_only = Recording { protocols: Some(vec![2]), ..Recording::default() };
        // Flags of account, device group and user group; a right of one's own; the protocol.
        let nothing = (0, 0, 0, false, 1);
        for (recording, (user_flags, mesh_flags, user_group_flags, own, protocol), expected) in [
            (&everything, nothing, true),
            (&desktop_only, nothing, false),
            (&desktop_only, (0, 0, 0, false, 2), true),
            (&only(true, false, false), nothing, false),
            (&only(true, false, false), (2, 0, 0, true, 1), true),
            (&only(true, false, false), (0, 4, 2, false, 1), false),
            (&only(false, false, true), (2, 0, 2, false, 1), false),
            (&only(false, false, true), (0, 4, 0, true, 1), true),
            (&only(false, true, false), (2, 4, 0, false, 1), false),
            (&only(false, true, false), (0, 0, 2, false, 1), true),
            (&only(false, true, false), (0, 0, 2, true, 1), false),
            (&only(true, true, true), (0, 4, 0, true, 1), true),
            (&only(true, true, true), nothing, false),
        ] {
            let id = UserId::new(root.clone(), "ann").unwrap();
            let mut user = User::new(id, "ann", PasswordHash::None, Millis(0));
            user.flags = user_flags;
            if own {
                user.links = link(LinkTarget::Device(device.id.clone()));
            }
            let mut group = Group::new(mesh.clone(), "lab", GroupKind::Agent, Millis(0));
            group.flags = mesh_flags;
            let user_group = UserGroup {
                id: UserGroupId::new(root.clone(), Key48([3; 48])),
                name: "staff".into(),
                desc: String::new(),
                links: link(LinkTarget::Group(mesh.clone())),
                consent: 0,
                flags: user_group_flags,
            };
            let session = Session { protocol, user: &user, device: &device, group: Some(&group) };
            let reserved = reserved(recording, &session, [&user_group]);
            let elsewhere: &[u16] =
                if *recording == desktop_only && !expected { &[2] } else { &[] };
            assert_eq!(reserved, elsewhere, "{recording:?}");
            let case = (recording, user_flags, mesh_flags, user_group_flags, own, protocol);
            assert_eq!(is_recorded(recording, &session, [&user_group]), expected, "{case:?}");
        }
    }
}
