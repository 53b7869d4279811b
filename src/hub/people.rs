//! People: what one account may do with another, what sessions on a device ask consent for, and
//! who hears of an account.

use crate::model::rights::{self, Authority};
use crate::model::{Device, Event, LinkTarget, Target, User, UserId};

use super::Hub;

/// Events that reach administrators of other domains (`manageCrossDomain`).
const ACROSS: [&str; 6] = [
    "accountcreate",
    "accountremove",
    "accountchange",
    "createusergroup",
    "deleteusergroup",
    "usergroupchange",
];

impl Hub {
    /// What `manager` may do with `account`.
    pub fn authority(&self, manager: &User, account: &User) -> Authority {
        rights::over_account(manager, self.crosses_domains(&manager.id), account)
    }

    /// Whether domains are no border to an account (`manageCrossDomain`).
    pub fn crosses_domains(&self, user: &UserId) -> bool {
        let config = self.config.borrow();
        let list = &config.settings.manage_cross_domain;
        !list.is_empty() && list.contains(user)
    }

    /// Consent asked of the person at `device` when `user` works on it: what the domain, the group,
    /// the device and the account want together; what user groups want only if the user has no
    /// right of its own there.
    pub fn consent(&self, user: &User, device: &Device) -> u32 {
        let group = self.store.group(&device.group).map_or(0, |group| group.consent);
        let domain = self.config().domain(&user.id.domain).consent;
        let on_group = LinkTarget::Group(device.group.clone());
        let on_device = LinkTarget::Device(device.id.clone());
        let consent = domain | group | device.consent | user.consent;
        if user.link(&on_group).is_some() || user.link(&on_device).is_some() {
            return consent;
        }
        user.memberships()
            .filter_map(|id| self.store.user_group(id))
            .filter(|group| group.link(&on_group).is_some() || group.link(&on_device).is_some())
            .fold(consent, |consent, group| consent | group.consent)
    }

    /// Targets of an event about the account `user`: those who manage it and who see everything.
    /// The account itself is none of them.
    pub fn account_targets(&self, user: &User) -> Vec<Target> {
        let realms = user.realms.iter().map(|realm| Target::Realm(realm.clone()));
        [Target::All, Target::AccountManagers].into_iter().chain(realms).collect()
    }

    /// Whether a session of `user` is in reach of `event`, apart from its subscriptions.
    pub(super) fn hears(&self, user: &UserId, event: &Event) -> bool {
        user.domain == event.domain
            || (ACROSS.contains(&&*event.action) && self.crosses_domains(user))
    }

    /// Whether an account is listed, itself or with one of its user groups, in
    /// `manageAllDeviceGroups`.
    pub(super) fn manages_all(&self, user: &User) -> bool {
        let config = self.config.borrow();
        let list = &config.settings.manage_all_device_groups;
        !list.is_empty()
            && (list.contains(&user.id.to_string())
                || user.memberships().any(|id| {
                    list.contains(&id.to_string()) && self.store.user_group(id).is_some()
                }))
    }
}
