//! Records as the JSON documents clients know: devices, groups, accounts, user groups.
//!
//! Source: control-protocol §6.1, §6.2, §9. Every document is written straight from its record, with
//! no tree in between: a list of 1,000 devices is one pass into one buffer. Secrets never appear;
//! where MeshCentral shows that there is one, it is the number 1.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::model::record::Invite;
use crate::model::{
    AgentFacts, AmtAccess, AmtPolicy, Connectivity, Device, DomainId, Factors, Group, GroupId,
    GroupKind, Link, LinkTarget, Millis, NodeId, Rights, User, UserGroup, UserGroupId,
};
use crate::store::Store;

/// Who has a right on what: the `links` that groups and devices show. The accounts' side decides
/// about rights; this is the same seen from the other end.
#[derive(Debug, Default)]
pub struct Holders {
    groups: BTreeMap<GroupId, Vec<Holder>>,
    devices: BTreeMap<NodeId, Vec<Holder>>,
    user_groups: BTreeMap<UserGroupId, Vec<Holder>>,
}

/// One account or user group that has a right on something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    id: String,
    name: String,
    rights: Rights,
}

impl Holders {
    /// All links of a domain, turned round: for lists.
    pub fn of(store: &Store, domain: &DomainId) -> Self {
        let mut holders = Self::default();
        for user in store.users(domain) {
            let shown = user.real_name.as_ref().unwrap_or(&user.name);
            holders.add(&user.links, || user.id.to_string(), &user.name, shown);
        }
        for group in store.user_groups(domain) {
            holders.add(&group.links, || group.id.to_string(), &group.name, &group.name);
        }
        holders
    }

    /// Groups name accounts as they are called, devices as people are.
    fn add(&mut self, links: &[Link], id: impl Fn() -> String, name: &str, shown: &str) {
        for link in links {
            let (list, name) = match &link.to {
                LinkTarget::Group(id) => (self.groups.entry(id.clone()).or_default(), name),
                LinkTarget::Device(id) => (self.devices.entry(id.clone()).or_default(), shown),
                LinkTarget::UserGroup(id) => {
                    (self.user_groups.entry(id.clone()).or_default(), name)
                }
            };
            list.push(Holder { id: id(), name: name.to_owned(), rights: link.rights });
        }
    }

    /// Who has a right on a group.
    pub fn on_group(&self, id: &GroupId) -> &[Holder] {
        self.groups.get(id).map_or(&[], Vec::as_slice)
    }

    /// Who has a right on a device itself.
    pub fn on_device(&self, id: &NodeId) -> &[Holder] {
        self.devices.get(id).map_or(&[], Vec::as_slice)
    }

    /// The members of a user group.
    pub fn members_of(&self, id: &UserGroupId) -> &[Holder] {
        self.user_groups.get(id).map_or(&[], Vec::as_slice)
    }
}

/// Who has a right on `target`, which belongs to `domain`: for a single document.
pub fn holders_of(store: &Store, domain: &DomainId, target: &LinkTarget) -> Vec<Holder> {
    let link = |links: &[Link]| links.iter().find(|link| link.to == *target).map(|l| l.rights);
    let users = store.users(domain).into_iter().filter_map(|user| {
        let rights = link(&user.links)?;
        Some(Holder { id: user.id.to_string(), name: user.name.clone(), rights })
    });
    let groups = store.user_groups(domain).into_iter().filter_map(|group| {
        let rights = link(&group.links)?;
        Some(Holder { id: group.id.to_string(), name: group.name.clone(), rights })
    });
    users.chain(groups).collect()
}

/// `links` of a group: with names.
struct NamedLinks<'a>(&'a [Holder]);
/// `links` of a device: lists name accounts and no user groups, events name nobody.
struct DeviceLinks<'a> {
    holders: &'a [Holder],
    in_list: bool,
}

impl Serialize for NamedLinks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Named<'a> {
            name: &'a str,
            rights: u32,
        }
        serializer.collect_map(
            self.0.iter().map(|h| (&h.id, Named { name: &h.name, rights: h.rights.bits() })),
        )
    }
}

impl Serialize for DeviceLinks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct MaybeNamed<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<&'a str>,
            rights: u32,
        }
        serializer.collect_map(self.holders.iter().map(|h| {
            let named = self.in_list && h.id.starts_with("user/");
            let name = named.then_some(h.name.as_str());
            (&h.id, MaybeNamed { name, rights: h.rights.bits() })
        }))
    }
}

/// The `links` object of a group, for answers and events.
pub fn group_links(holders: &[Holder]) -> Value {
    to_value(&NamedLinks(holders))
}

/// A document as a tree, for events.
pub fn to_value(document: &impl Serialize) -> Value {
    // The documents of this file have text keys and finite numbers only: this cannot fail.
    serde_json::to_value(document).unwrap_or_default()
}

/// A device.
pub struct NodeDocument<'a> {
    /// Its record.
    pub device: &'a Device,
    /// Kind of its group, `mtype`.
    pub kind: GroupKind,
    /// Who has a right on the device itself.
    pub holders: &'a [Holder],
    /// Inside `nodes`, where the group is the key of the outer map and accounts are named.
    pub in_list: bool,
    /// How it is connected; events mostly leave that out.
    pub state: Option<Connectivity>,
    /// Sessions running on it.
    pub sessions: Option<&'a BTreeMap<String, Value>>,
    /// How its Intel AMT is logged in to; shown without the password.
    pub amt: Option<&'a AmtAccess>,
    /// Whether to show where it is (`geoLocation`).
    pub locations: bool,
}

/// Where a device is: by its address, by Wi-Fi, by satellite, and where people put it.
const LOCATIONS: [&str; 4] = ["iploc", "wifiloc", "gpsloc", "userloc"];

/// Members written by [`NodeDocument`] itself; what an agent reports cannot take their names.
const NODE_MEMBERS: [&str; 29] = [
    "type",
    "_id",
    "mtype",
    "meshid",
    "icon",
    "name",
    "rname",
    "domain",
    "agent",
    "host",
    "firstconnect",
    "ip",
    "osdesc",
    "consent",
    "desc",
    "tags",
    "users",
    "lusers",
    "lastbootuptime",
    "links",
    "conn",
    "pwr",
    "agct",
    "cict",
    "sessions",
    "ssh",
    "rdp",
    "pmt",
    "rights",
];

impl Serialize for NodeDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let device = self.device;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "node")?;
        map.serialize_entry("mtype", &self.kind.mtype())?;
        map.serialize_entry("_id", &Text(&device.id))?;
        map.serialize_entry("icon", &device.icon)?;
        if !self.in_list {
            map.serialize_entry("meshid", &Text(&device.group))?;
        }
        map.serialize_entry("name", &device.name)?;
        // What people added never told its name, and never connected.
        let is_added = self.kind != GroupKind::Agent && device.first_connect == Millis(0);
        if !is_added {
            map.serialize_entry("rname", &device.host_name)?;
        }
        map.serialize_entry("domain", device.id.domain.as_str())?;
        if let Some(agent) = &device.agent {
            map.serialize_entry("agent", &AgentDocument { agent, has_version: !is_added })?;
        }
        map.serialize_entry("host", &device.host)?;
        if !is_added {
            map.serialize_entry("firstconnect", &device.first_connect)?;
        }
        entry(&mut map, "ip", device.ip.as_ref())?;
        entry(&mut map, "osdesc", device.os.as_ref())?;
        entry(&mut map, "consent", nonzero(device.consent))?;
        entry(&mut map, "desc", device.desc.as_ref())?;
        entry(&mut map, "tags", filled(&device.tags))?;
        entry(&mut map, "users", filled(&device.users))?;
        entry(&mut map, "lusers", filled(&device.local_users))?;
        entry(&mut map, "lastbootuptime", device.last_boot)?;
        for (name, port) in &device.ports {
            map.serialize_entry(name, port)?;
        }
        for (name, json) in &device.extra {
            if NODE_MEMBERS.contains(&name.as_str()) || name == "intelamt" {
                continue;
            }
            if self.locations || !LOCATIONS.contains(&name.as_str()) {
                entry(&mut map, name, serde_json::from_str::<&RawValue>(json).ok())?;
            }
        }
        entry(&mut map, "intelamt", self.intel_amt())?;
        let links = |holders| DeviceLinks { holders, in_list: self.in_list };
        entry(&mut map, "links", filled(self.holders).map(links))?;
        if let Some(state) = self.state.filter(|state| state.conn != 0) {
            map.serialize_entry("conn", &state.conn)?;
            map.serialize_entry("pwr", &state.power)?;
            entry(&mut map, "agct", state.agent_since)?;
            entry(&mut map, "cict", state.cira_since)?;
        }
        entry(&mut map, "sessions", self.sessions.filter(|sessions| !sessions.is_empty()))?;
        map.end()
    }
}

impl NodeDocument<'_> {
    /// `intelamt`: what is reported about it, and how it is logged in to, without secrets.
    fn intel_amt(&self) -> Option<Value> {
        let reported = self.device.extra.iter().find(|(name, _)| name == "intelamt");
        let reported = reported.and_then(|(_, json)| serde_json::from_str::<Value>(json).ok());
        let mut amt = match (reported, self.amt) {
            (Some(Value::Object(amt)), _) => amt,
            (_, Some(_)) => Map::new(),
            (_, None) => return None,
        };
        for secret in ["pass", "mpspass"] {
            if let Some(value) = amt.get_mut(secret) {
                *value = 1.into();
            }
        }
        if let Some(access) = self.amt {
            amt.insert("user".into(), access.user.as_str().into());
            amt.insert("pass".into(), 1.into());
            amt.insert("tls".into(), u8::from(access.tls).into());
        }
        Some(Value::Object(amt))
    }
}

struct AgentDocument<'a> {
    agent: &'a AgentFacts,
    has_version: bool,
}

impl Serialize for AgentDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let agent = self.agent;
        let mut map = serializer.serialize_map(None)?;
        entry(&mut map, "ver", self.has_version.then_some(agent.version))?;
        map.serialize_entry("id", &agent.id)?;
        map.serialize_entry("caps", &agent.caps)?;
        entry(&mut map, "core", agent.core.as_ref())?;
        entry(&mut map, "root", agent.root)?;
        map.end()
    }
}

/// A device group.
pub struct GroupDocument<'a> {
    /// Its record.
    pub group: &'a Group,
    /// Who has a right on it.
    pub holders: &'a [Holder],
    /// Its Intel AMT policy; shown without the password.
    pub amt: Option<&'a AmtPolicy>,
}

impl Serialize for GroupDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let group = self.group;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "mesh")?;
        map.serialize_entry("_id", &Text(&group.id))?;
        map.serialize_entry("name", &group.name)?;
        map.serialize_entry("mtype", &group.kind.mtype())?;
        entry(&mut map, "desc", Some(&group.desc).filter(|desc| !desc.is_empty()))?;
        map.serialize_entry("domain", group.domain().as_str())?;
        map.serialize_entry("links", &NamedLinks(self.holders))?;
        map.serialize_entry("creation", &group.created)?;
        if let Some(creator) = &group.creator {
            map.serialize_entry("creatorid", &Text(creator))?;
            map.serialize_entry("creatorname", creator.name())?;
        }
        entry(&mut map, "flags", nonzero(group.flags))?;
        entry(&mut map, "consent", nonzero(group.consent))?;
        entry(&mut map, "expireDevs", nonzero(group.expire_devices.into()))?;
        entry(&mut map, "relayid", group.relay.as_ref().map(Text))?;
        entry(&mut map, "invite", group.invite.as_ref().map(InviteDocument))?;
        entry(&mut map, "relayid", group.relay.as_ref().map(Text))?;
        entry(&mut map, "amt", self.amt.map(AmtPolicyDocument))?;
        map.end()
    }
}

/// The Intel AMT policy of a group, without its password.
pub struct AmtPolicyDocument<'a>(pub &'a AmtPolicy);

impl Serialize for AmtPolicyDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let policy = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &policy.kind)?;
        if matches!(policy.kind, 2 | 3) {
            map.serialize_entry("badpass", &policy.bad_password)?;
            map.serialize_entry("cirasetup", &policy.cira)?;
        }
        entry(&mut map, "ccm", (policy.kind == 3).then_some(policy.client_mode))?;
        entry(&mut map, "password", policy.password.is_some().then_some(1))?;
        map.end()
    }
}

/// Invitation codes of a group.
pub struct InviteDocument<'a>(pub &'a Invite);

impl Serialize for InviteDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("codes", &self.0.codes)?;
        map.serialize_entry("flags", &self.0.flags)?;
        entry(&mut map, "ag", nonzero(self.0.agents))?;
        map.end()
    }
}

/// An account as others may see it: never with its password.
pub struct AccountDocument<'a>(pub &'a User);

impl Serialize for AccountDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let user = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("_id", &Text(&user.id))?;
        map.serialize_entry("name", &user.name)?;
        map.serialize_entry("creation", &user.created)?;
        match user.password_changed {
            Some(when) => map.serialize_entry("passchange", &when)?,
            None => map.serialize_entry("passchange", &-1)?,
        }
        if let Some(email) = &user.email {
            map.serialize_entry("email", email)?;
            entry(&mut map, "emailVerified", Some(true).filter(|_| user.email_verified))?;
        }
        entry(&mut map, "realname", user.real_name.as_ref())?;
        entry(&mut map, "siteadmin", nonzero(user.site.bits()))?;
        entry(&mut map, "removeRights", nonzero(user.remove_rights.bits()))?;
        entry(&mut map, "consent", nonzero(user.consent))?;
        entry(&mut map, "quota", user.quota)?;
        entry(&mut map, "phone", user.phone.as_ref())?;
        entry(&mut map, "msghandle", user.messaging.as_ref())?;
        entry(&mut map, "lang", user.language.as_ref())?;
        entry(&mut map, "flags", nonzero(user.flags))?;
        entry(&mut map, "groups", filled(&user.realms))?;
        entry(&mut map, "links", filled(&user.links).map(AccountLinks))?;
        entry(&mut map, "notify", filled(&user.notify).map(NotifyBits))?;
        entry(&mut map, "login", user.login)?;
        map.end()
    }
}

/// An account with what it has besides its password: that there is something, never what.
pub struct KnownAccount<'a> {
    /// Its record.
    pub user: &'a User,
    /// Its second factors.
    pub factors: Option<&'a Factors>,
}

impl Serialize for KnownAccount<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Members<'a> {
            #[serde(flatten)]
            account: AccountDocument<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            otpsecret: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            otpkeys: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            otphkeys: Option<usize>,
        }
        let count = |n: usize| (n != 0).then_some(n);
        // As MeshCentral: whether any is left, not how many.
        let unused = |factors: &Factors| {
            let codes = filled(&factors.backup_codes)?;
            Some(u32::from(codes.iter().any(|code| !code.used)))
        };
        Members {
            account: AccountDocument(self.user),
            otpsecret: self.factors.and_then(|factors| factors.totp.as_ref()).map(|_| 1),
            otpkeys: self.factors.and_then(unused),
            otphkeys: self.factors.and_then(|factors| count(factors.security_keys.len())),
        }
        .serialize(serializer)
    }
}

/// `links` of an account or user group: what it has rights on.
struct AccountLinks<'a>(&'a [Link]);

impl Serialize for AccountLinks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Right {
            rights: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            notify: Option<u32>,
        }
        serializer.collect_map(self.0.iter().map(|link| {
            let right = Right { rights: link.rights.bits(), notify: nonzero(link.notify) };
            (link.to.to_string(), right)
        }))
    }
}

/// `notify` of an account: bits by id.
struct NotifyBits<'a>(&'a [(LinkTarget, u32)]);

impl Serialize for NotifyBits<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(target, bits)| (target.to_string(), bits)))
    }
}

/// A user group with its members and rights.
pub struct UserGroupDocument<'a> {
    /// Its record.
    pub group: &'a UserGroup,
    /// Its members.
    pub members: &'a [Holder],
}

impl Serialize for UserGroupDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let group = self.group;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "ugrp")?;
        map.serialize_entry("_id", &Text(&group.id))?;
        map.serialize_entry("name", &group.name)?;
        entry(&mut map, "desc", Some(&group.desc).filter(|desc| !desc.is_empty()))?;
        map.serialize_entry("domain", group.id.domain.as_str())?;
        map.serialize_entry("links", &user_group_links(group, self.members))?;
        entry(&mut map, "consent", nonzero(group.consent))?;
        entry(&mut map, "flags", nonzero(group.flags))?;
        map.end()
    }
}

/// The `links` object of a user group: its members, and what they have rights on.
pub fn user_group_links(group: &UserGroup, members: &[Holder]) -> Value {
    let mut links = to_value(&AccountLinks(&group.links));
    if let Some(links) = links.as_object_mut() {
        for member in members {
            let rights = member.rights.bits();
            let value =
                serde_json::json!({"userid": member.id, "name": member.name, "rights": rights});
            links.insert(member.id.clone(), value);
        }
    }
    links
}

/// Anything that displays as its JSON text: an id.
pub struct Text<'a, T>(pub &'a T);

impl<T: std::fmt::Display> Serialize for Text<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// Writes a member if there is a value.
fn entry<M: SerializeMap>(
    map: &mut M,
    name: &str,
    value: Option<impl Serialize>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, &value),
        None => Ok(()),
    }
}

fn nonzero(n: u32) -> Option<u32> {
    (n != 0).then_some(n)
}

fn filled<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}
