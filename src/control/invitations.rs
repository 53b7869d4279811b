//! Invitations: how people without an account get an agent of a device group.
//!
//! Source: control-protocol §2.6. A link carries a cookie `{a:4,mid,f,expire[,ag]}` sealed with the
//! invitation key; whoever has it sees the page of downloads until it expires. The page hands out
//! passes `{m}`, which stand for the group's id in download links. Groups may also have codes that
//! people type; a code buys a link of one minute.
//!
//! What is downloaded names the group for ever: an invitation limits who may ask, not who may join.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use serde_json::{Map, Value};

use crate::hub::Hub;
use crate::identity::cookie::{CookieKey, DEFAULT_LIFETIME};
use crate::model::{DomainId, Group, GroupId, GroupKind, Key48};

use super::limiter::{Guess, Limiter};

/// Longest code in characters.
pub const CODE_MAX: usize = 64;
/// Minutes a link bought with a code is good for: time to follow it.
const CODE_LINK: u64 = 1;
/// Minutes the downloads of a page work: time to paste a command line.
const PASS: u64 = 60;

/// `a` of a cookie: an invitation.
const INVITATION: u64 = 4;

/// Invites, and recognizes who was invited.
pub struct Invitations {
    hub: Rc<Hub>,
    key: CookieKey,
    /// Networks that guess codes.
    limiter: RefCell<Limiter>,
}

/// What somebody is invited to.
#[derive(Clone, Debug, PartialEq)]
pub struct Invitation {
    /// The device group.
    pub group: Rc<Group>,
    /// 0 both, 1 interactive only, 2 background only.
    pub flags: u32,
    /// Mask of platforms offered: 1 Windows, 2 Linux and BSD, 4 macOS, 8 Assistant, 16 Android;
    /// 0 all.
    pub agents: u32,
}

/// Why a code buys nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeError {
    /// No group has it.
    Unknown,
    /// Too many wrong ones came from this network.
    Barred,
}

impl Invitations {
    /// Invitations to groups of `hub`, sealed with `key`.
    pub fn new(hub: Rc<Hub>, key: CookieKey) -> Self {
        Self { hub, key, limiter: RefCell::default() }
    }

    /// The cookie of a link to `group`, good for `minutes`; 0 for ever. `None` without randomness.
    pub fn invite(&self, group: &GroupId, flags: u32, agents: u32, minutes: u64) -> Option<String> {
        let mut fields = Map::new();
        fields.insert("a".into(), INVITATION.into());
        fields.insert("mid".into(), group.to_string().into());
        fields.insert("f".into(), flags.into());
        fields.insert("expire".into(), minutes.into());
        if agents != 0 {
            fields.insert("ag".into(), agents.into());
        }
        self.seal(fields)
    }

    /// What the cookie of a link to a group of `domain` invites to. `None` if it is no such cookie,
    /// has expired, or the group is gone.
    pub fn open(&self, domain: &DomainId, cookie: &str) -> Option<Invitation> {
        let fields = self.unseal(cookie)?;
        if fields.get("a").and_then(Value::as_u64) != Some(INVITATION) {
            return None;
        }
        let number = |name: &str| {
            let value = fields.get(name).and_then(Value::as_u64);
            value.and_then(|n| u32::try_from(n).ok()).unwrap_or_default()
        };
        let id = GroupId::parse_in(domain, fields.get("mid")?.as_str()?).ok()?;
        Some(Invitation { group: self.group(&id)?, flags: number("f"), agents: number("ag") })
    }

    /// The cookie of a link for a code that somebody at `address` typed.
    pub fn redeem(
        &self,
        domain: &DomainId,
        code: &str,
        address: IpAddr,
        now: Instant,
    ) -> Result<String, CodeError> {
        if self.limiter.borrow().is_barred(address, now) {
            return Err(CodeError::Barred);
        }
        let code = Some(code.trim()).filter(|code| !code.is_empty() && code.len() <= 4 * CODE_MAX);
        let bought = code.and_then(|code| self.buy(domain, code));
        if bought.is_none()
            && let Some(limit) = &self.hub.config().settings.max_invalid_login
        {
            self.limiter.borrow_mut().failed(address, None, Guess::Password, limit, now);
        }
        bought.ok_or(CodeError::Unknown)
    }

    fn buy(&self, domain: &DomainId, code: &str) -> Option<String> {
        let groups = self.hub.store.groups(domain);
        let offers = |group: &Group| {
            let invite = group.invite.clone()?;
            let is_offered =
                group.kind == GroupKind::Agent && invite.codes.iter().any(|c| c == code);
            is_offered.then_some(invite)
        };
        let (group, invite) = groups.iter().find_map(|group| Some((group, offers(group)?)))?;
        self.invite(&group.id, invite.flags, invite.agents, CODE_LINK)
    }

    /// What stands for the group's id in the downloads of a page.
    pub fn pass(&self, group: &GroupId) -> Option<String> {
        let mut fields = Map::new();
        fields.insert("m".into(), group.key.text().into());
        fields.insert("expire".into(), PASS.into());
        self.seal(fields)
    }

    /// The group of `domain` that a download names: by the 64 characters of its id, or by a pass.
    pub fn group_of_download(&self, domain: &DomainId, text: &str) -> Option<Rc<Group>> {
        let key = match Key48::parse(text) {
            Ok(key) => key,
            Err(_) => Key48::parse(self.unseal(text)?.get("m")?.as_str()?).ok()?,
        };
        let group = self.hub.store.group(&GroupId::new(domain.clone(), key))?;
        group.deleted.is_none().then_some(group)
    }

    /// A group that takes agents.
    fn group(&self, id: &GroupId) -> Option<Rc<Group>> {
        let group = self.hub.store.group(id)?;
        (group.deleted.is_none() && group.kind == GroupKind::Agent).then_some(group)
    }

    fn seal(&self, fields: Map<String, Value>) -> Option<String> {
        self.key.seal(fields, self.hub.now().seconds())
    }

    fn unseal(&self, text: &str) -> Option<Map<String, Value>> {
        self.key.open(text, self.hub.now().seconds(), DEFAULT_LIFETIME).ok()
    }
}
