//! Rights of users on devices and groups, and the one function that computes them.
//!
//! The bits are MeshCentral's (`meshadmin`, `siteadmin`), so stored values and `meshctrl` flags
//! mean the same on both servers. Bits marked *restriction* take something away when set; a full
//! right (`0xFFFF_FFFF`) ignores every restriction.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use super::{Device, GroupId, Link, User};

bitflags! {
    /// What a user may do with a device or a device group.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Rights: u32 {
        /// Edit the device group.
        const EDIT_GROUP = 0x1;
        /// Add, change and remove users of the group.
        const MANAGE_USERS = 0x2;
        /// Add, edit and move devices.
        const MANAGE_DEVICES = 0x4;
        /// Desktop, terminal, files and messages.
        const REMOTE_CONTROL = 0x8;
        /// The agent's own console.
        const AGENT_CONSOLE = 0x10;
        /// Files of the group on the server.
        const SERVER_FILES = 0x20;
        /// Wake devices.
        const WAKE = 0x40;
        /// Write device notes.
        const SET_NOTES = 0x80;
        /// Restriction: desktop view only.
        const VIEW_ONLY = 0x100;
        /// Restriction: no terminal.
        const NO_TERMINAL = 0x200;
        /// Restriction: no files.
        const NO_FILES = 0x400;
        /// Restriction: no Intel AMT.
        const NO_AMT = 0x800;
        /// Restriction: limited desktop input.
        const LIMITED_INPUT = 0x1000;
        /// Restriction: sees only own events.
        const OWN_EVENTS = 0x2000;
        /// Chat with and notify the person at the device.
        const CHAT = 0x4000;
        /// Uninstall the agent or remove the device.
        const UNINSTALL = 0x8000;
        /// Restriction: no desktop.
        const NO_DESKTOP = 0x1_0000;
        /// Run commands.
        const REMOTE_COMMAND = 0x2_0000;
        /// Reset, sleep and power off.
        const RESET_OFF = 0x4_0000;
        /// Share the device with guests.
        const GUEST_SHARING = 0x8_0000;
        /// See network, hardware and other details.
        const DEVICE_DETAILS = 0x10_0000;
        /// Port relay.
        const RELAY = 0x20_0000;
        // The remaining bits have no meaning yet but belong to "everything".
        const _ = !0;
    }
}

impl Rights {
    /// Every right; restrictions are ignored.
    pub const FULL: Self = Self::from_bits_retain(u32::MAX);

    /// True for the value that ignores restrictions.
    pub fn is_full(self) -> bool {
        self == Self::FULL
    }

    /// True if every bit of `needed` is held.
    pub fn allows(self, needed: Self) -> bool {
        self.contains(needed)
    }

    /// True if a restriction bit is set and not overruled by a full right.
    pub fn restricted(self, restriction: Self) -> bool {
        !self.is_full() && self.intersects(restriction)
    }

    /// Every bit that has a meaning; unlike [`Self::FULL`] with the restrictions among them.
    const NAMED: Self = Self::from_bits_retain(0x3f_ffff);

    /// Restriction bits; setting one takes something away.
    pub const RESTRICTIONS: Self = Self::from_bits_retain(
        Self::VIEW_ONLY.bits()
            | Self::NO_TERMINAL.bits()
            | Self::NO_FILES.bits()
            | Self::NO_AMT.bits()
            | Self::LIMITED_INPUT.bits()
            | Self::OWN_EVENTS.bits()
            | Self::NO_DESKTOP.bits(),
    );

    /// What `removeRights` of an account may take away.
    const REMOVABLE: Self = Self::from_bits_retain(
        Self::REMOTE_CONTROL.bits()
            | Self::AGENT_CONSOLE.bits()
            | Self::WAKE.bits()
            | Self::UNINSTALL.bits()
            | Self::REMOTE_COMMAND.bits()
            | Self::RESET_OFF.bits(),
    );

    /// Restrictions that `removeRights` of an account may impose.
    const IMPOSABLE: Self = Self::from_bits_retain(
        Self::VIEW_ONLY.bits()
            | Self::NO_TERMINAL.bits()
            | Self::NO_FILES.bits()
            | Self::NO_DESKTOP.bits(),
    );

    /// What a full right is spelled out to before `removeRights` is applied to it.
    const FULL_SPELLED_OUT: Self = Self::from_bits_retain(
        0x1 | 0x2
            | 0x4
            | 0x8
            | 0x20
            | 0x40
            | 0x80
            | 0x4000
            | 0x8000
            | 0x2_0000
            | 0x4_0000
            | 0x8_0000
            | 0x10_0000,
    );

    /// Applies an account's `removeRights` value.
    fn without(self, removed: Self) -> Self {
        let taken = removed & Self::REMOVABLE;
        let imposed = removed & Self::IMPOSABLE;
        if self.is_empty() || (taken.is_empty() && imposed.is_empty()) {
            return self;
        }
        let base = if self.is_full() { Self::FULL_SPELLED_OUT } else { self };
        base.difference(taken).union(imposed)
    }
}

bitflags! {
    /// What a user may do on the server itself (`siteadmin`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct SiteRights: u32 {
        /// Back the server up.
        const BACKUP = 0x1;
        /// Manage accounts.
        const MANAGE_USERS = 0x2;
        /// Restore the server.
        const RESTORE = 0x4;
        /// Own files on the server.
        const FILES = 0x8;
        /// Update the server.
        const UPDATE = 0x10;
        /// Restriction: the account is locked.
        const LOCKED = 0x20;
        /// Restriction: may not create device groups.
        const NO_NEW_GROUPS = 0x40;
        /// Restriction: web page only, no tools.
        const NO_TOOLS = 0x80;
        /// Manage user groups.
        const USER_GROUPS = 0x100;
        /// See and play recordings.
        const RECORDINGS = 0x200;
        /// Restriction: may not change own account settings.
        const LOCK_SETTINGS = 0x400;
        /// See all events.
        const ALL_EVENTS = 0x800;
        /// Restriction: may not add devices.
        const NO_NEW_DEVICES = 0x1000;
        const _ = !0;
    }
}

impl SiteRights {
    /// Full administrator.
    pub const FULL: Self = Self::from_bits_retain(u32::MAX);

    /// True for a full administrator; restrictions do not apply to one.
    pub fn is_full(self) -> bool {
        self == Self::FULL
    }

    /// True if `needed` is held.
    pub fn allows(self, needed: Self) -> bool {
        self.contains(needed)
    }

    /// True if a restriction bit is set and not overruled by full rights.
    pub fn restricted(self, restriction: Self) -> bool {
        !self.is_full() && self.intersects(restriction)
    }
}

/// The thing a right is asked about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A device: links to it and to its group both count.
    Device(&'a Device),
    /// A device group.
    Group(&'a GroupId),
}

/// The one authority: what `user` may do with `subject`.
///
/// `user_groups` yields the links of the user groups the account is a member of (and only those).
/// `manages_all` is true for accounts listed in `manageAllDeviceGroups`; it counts only together
/// with full site rights. Empty rights mean the subject must be invisible to the user.
///
/// Only a single link can give a full right. Several partial ones that happen to have every bit
/// between them do not: the restrictions among them count.
pub fn effective<'a>(
    user: &User,
    user_groups: impl IntoIterator<Item = &'a [Link]>,
    manages_all: bool,
    subject: Subject<'_>,
) -> Rights {
    let (domain, group, node) = match subject {
        Subject::Device(device) => (&device.id.domain, &device.group, Some(&device.id)),
        Subject::Group(group) => (&group.domain, group, None),
    };
    if user.id.domain != *domain {
        return Rights::empty();
    }
    let matches = |link: &&Link| match &link.to {
        super::record::LinkTarget::Group(id) => id == group,
        super::record::LinkTarget::Device(id) => Some(id) == node,
        super::record::LinkTarget::UserGroup(_) => false,
    };
    let (mut rights, mut is_full) = (Rights::empty(), manages_all && user.site.is_full());
    let mut add = |links: &[Link]| {
        for link in links.iter().filter(matches) {
            rights |= link.rights;
            is_full |= link.rights.is_full();
        }
    };
    add(&user.links);
    user_groups.into_iter().for_each(add);
    let rights = match (is_full, rights.is_full()) {
        (true, _) => Rights::FULL,
        (false, true) => Rights::NAMED,
        (false, false) => rights,
    };
    rights.without(user.remove_rights)
}

/// What somebody may do with another account, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authority {
    /// Nothing: it must be invisible.
    None,
    /// See it and write to it, but not change it: it stands above.
    See,
    /// Change and remove it.
    Manage,
}

/// The one authority about accounts: what `manager` may do with `account`.
///
/// It takes the site right to manage accounts. A manager with realms has to do with accounts that
/// share one of them, and only a full administrator changes another. `crosses_domains` is true for
/// accounts listed in `manageCrossDomain`: to them neither domain nor realm is a border.
pub fn over_account(manager: &User, crosses_domains: bool, account: &User) -> Authority {
    let shares_realm = manager.realms.is_empty()
        || manager.realms.iter().any(|realm| account.realms.contains(realm));
    let is_near = manager.id.domain == account.id.domain && shares_realm;
    if !manager.site.allows(SiteRights::MANAGE_USERS) || !(is_near || crosses_domains) {
        return Authority::None;
    }
    if account.site.is_full() && !manager.site.is_full() {
        return Authority::See;
    }
    Authority::Manage
}

#[cfg(test)]
mod tests;
