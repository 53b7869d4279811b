//! Forms that released versions wrote and this one only reads, each with its way to today's form.

use serde::Deserialize;

use super::amt::{AmtAccessForm, AmtPolicyForm, Kept};
use crate::model::record::{Invite, Link};
use crate::model::{
    Group, GroupId, GroupKind, Millis, NodeId, PasswordHash, Rights, Seconds, SiteRights, User,
    UserGroup, UserGroupId, UserId,
};

#[derive(Deserialize)]
pub(super) struct UserV1 {
    id: UserId,
    name: String,
    password: PasswordHash,
    site: SiteRights,
    links: Vec<Link>,
    remove_rights: Rights,
    email: Option<String>,
    email_verified: bool,
    real_name: Option<String>,
    consent: u32,
    created: Seconds,
    password_changed: Option<Seconds>,
    login: Option<Seconds>,
}

impl From<UserV1> for User {
    fn from(old: UserV1) -> Self {
        Self {
            site: old.site,
            links: old.links,
            remove_rights: old.remove_rights,
            email: old.email,
            email_verified: old.email_verified,
            real_name: old.real_name,
            consent: old.consent,
            created: old.created,
            password_changed: old.password_changed,
            login: old.login,
            ..Self::new(old.id, &old.name, old.password, Millis::default())
        }
    }
}

#[derive(Deserialize)]
pub(super) struct UserV2 {
    v1: UserV1,
    quota: Option<u64>,
    phone: Option<String>,
    language: Option<String>,
    flags: u32,
    realms: Vec<String>,
    valid_from: Option<Millis>,
}

impl From<UserV2> for User {
    fn from(old: UserV2) -> Self {
        Self {
            quota: old.quota,
            phone: old.phone,
            language: old.language,
            flags: old.flags,
            realms: old.realms,
            valid_from: old.valid_from,
            ..old.v1.into()
        }
    }
}

#[derive(Deserialize)]
pub(super) struct GroupV1 {
    id: GroupId,
    name: String,
    kind: GroupKind,
    desc: String,
    flags: u32,
    consent: u32,
    expire_devices: u16,
    created: Millis,
    creator: Option<UserId>,
    deleted: Option<Millis>,
    invite: Option<Invite>,
}

impl From<GroupV1> for Group {
    fn from(old: GroupV1) -> Self {
        Self {
            desc: old.desc,
            flags: old.flags,
            consent: old.consent,
            expire_devices: old.expire_devices,
            creator: old.creator,
            deleted: old.deleted,
            invite: old.invite,
            ..Self::new(old.id, &old.name, old.kind, old.created)
        }
    }
}

#[derive(Deserialize)]
pub(super) struct UserGroupV1 {
    id: UserGroupId,
    name: String,
    desc: String,
    links: Vec<Link>,
    consent: u32,
}

impl From<UserGroupV1> for UserGroup {
    fn from(old: UserGroupV1) -> Self {
        let UserGroupV1 { id, name, desc, links, consent } = old;
        Self { id, name, desc, links, consent, flags: 0 }
    }
}

#[derive(Deserialize)]
pub(super) struct AmtAccessV1 {
    node: NodeId,
    user: String,
    password: String,
    tls: bool,
}

impl From<AmtAccessV1> for AmtAccessForm {
    fn from(old: AmtAccessV1) -> Self {
        let AmtAccessV1 { node, user, password, tls } = old;
        Self { node, user, password: Kept::Clear(password), tls, pin: None, pending: None }
    }
}

#[derive(Deserialize)]
pub(super) struct AmtAccessV2 {
    node: NodeId,
    user: String,
    password: Kept,
    tls: bool,
    pin: Option<[u8; 32]>,
}

impl From<AmtAccessV2> for AmtAccessForm {
    fn from(old: AmtAccessV2) -> Self {
        let AmtAccessV2 { node, user, password, tls, pin } = old;
        Self { node, user, password, tls, pin, pending: None }
    }
}

#[derive(Deserialize)]
pub(super) struct AmtPolicyV1 {
    group: GroupId,
    kind: u8,
    password: Option<String>,
    bad_password: u8,
    cira: u8,
    client_mode: u8,
}

impl From<AmtPolicyV1> for AmtPolicyForm {
    fn from(old: AmtPolicyV1) -> Self {
        let AmtPolicyV1 { group, kind, password, bad_password, cira, client_mode } = old;
        Self { group, kind, password: password.map(Kept::Clear), bad_password, cira, client_mode }
    }
}
