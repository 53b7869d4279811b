//! Records: what the store keeps and the protocol rooms read.
//!
//! Records are values: a room takes an `Rc` of one, and changes it by putting a new one. Field
//! names follow MeshCentral's documents where one exists; `control` turns records into its JSON.
//! Postcard writes fields in order, so a change of a stored record is a new version of it (see
//! `store`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DomainId, GroupId, Millis, NodeId, Rights, Seconds, SiteRights, UserGroupId, UserId};

/// What a link of an account or user group points to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LinkTarget {
    /// A device group and with it all its devices.
    Group(GroupId),
    /// A single device.
    Device(NodeId),
    /// Membership in a user group.
    UserGroup(UserGroupId),
}

/// The id of what it points to.
impl fmt::Display for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(id) => id.fmt(f),
            Self::Device(id) => id.fmt(f),
            Self::UserGroup(id) => id.fmt(f),
        }
    }
}

/// A right of an account (or user group) on something. Kept on the account's side only; what a
/// group shows as its `links` is derived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What the right is on.
    pub to: LinkTarget,
    /// The right.
    pub rights: Rights,
    /// Notification bits the user chose for it.
    pub notify: u32,
}

/// How a password is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PasswordHash {
    /// Argon2id in PHC string form.
    Argon2(String),
    /// MeshCentral's PBKDF2-HMAC-SHA384: 12,000 rounds, 128 bytes. The salt is the base64 *text*.
    Pbkdf2 {
        /// 172 characters, used as bytes without decoding.
        salt: String,
        /// 172 characters of base64.
        hash: String,
    },
    /// No password: nobody can log in with one.
    None,
    /// SHA-384, without salt: for passwords this server made, which have at least 120 random bits.
    /// Guessing such a one is hopeless at any speed, and a login costs no computation.
    #[serde(with = "serde_bytes")]
    Random([u8; 48]),
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argon2(_) => "Argon2(..)",
            Self::Pbkdf2 { .. } => "Pbkdf2(..)",
            Self::None => "None",
            Self::Random(_) => "Random(..)",
        })
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Domain and lower-cased name.
    pub id: UserId,
    /// The name as it was typed.
    pub name: String,
    /// How the password is kept.
    pub password: PasswordHash,
    /// Rights on the server.
    pub site: SiteRights,
    /// Rights on groups, devices and memberships.
    pub links: Vec<Link>,
    /// `removeRights`: taken from every link.
    pub remove_rights: Rights,
    /// E-mail address, lower-cased.
    pub email: Option<String>,
    /// Whether the address was verified.
    pub email_verified: bool,
    /// Display name.
    pub real_name: Option<String>,
    /// Consent flags asked for in sessions of this user.
    pub consent: u32,
    /// When the account was made.
    pub created: Seconds,
    /// When the password was last changed; `None` forces a change at the next login.
    pub password_changed: Option<Seconds>,
    /// Last successful login, written with other changes only.
    pub login: Option<Seconds>,
    /// Bytes of server files the account may keep; `None` is what the domain says.
    pub quota: Option<u64>,
    /// Telephone number, as people wrote it.
    pub phone: Option<String>,
    /// Language of the web page, a tag like `de` or `zh-chs`.
    pub language: Option<String>,
    /// MeshCentral's `flags`: [`User::HAS_IMAGE`], 2 record all sessions.
    pub flags: u32,
    /// Realms (`groups`): who manages users and has realms manages only those who share one.
    pub realms: Vec<String>,
    /// Sessions and cookies made before this are void: "log out everywhere".
    pub valid_from: Option<Millis>,
    /// `msghandle`: where messages to this account go, `<service>:<name>`.
    pub messaging: Option<String>,
    /// Notification bits for groups and devices the account has no link of its own to. Beside a
    /// link the bits are in [`Link::notify`].
    pub notify: Vec<(LinkTarget, u32)>,
}

impl User {
    /// Flag 1: there is an image of the account among the documents.
    pub const HAS_IMAGE: u32 = 1;
    /// Flag 2: all sessions of the account are recorded.
    pub const RECORD: u32 = 2;

    /// A new account without rights, e-mail or links.
    pub fn new(id: UserId, name: &str, password: PasswordHash, now: Millis) -> Self {
        Self {
            id,
            name: name.to_owned(),
            password,
            site: SiteRights::empty(),
            links: Vec::new(),
            remove_rights: Rights::empty(),
            email: None,
            email_verified: false,
            real_name: None,
            consent: 0,
            created: now.seconds(),
            password_changed: Some(now.seconds()),
            login: None,
            quota: None,
            phone: None,
            language: None,
            flags: 0,
            realms: Vec::new(),
            valid_from: None,
            messaging: None,
            notify: Vec::new(),
        }
    }

    /// Whether a session that began, or a cookie that was made, at `since` is still good: its owner
    /// has not ended everything after that.
    pub fn is_good_since(&self, since: Millis) -> bool {
        self.valid_from.is_none_or(|from| from <= since)
    }

    /// The direct link to `target`, if there is one.
    pub fn link(&self, target: &LinkTarget) -> Option<&Link> {
        self.links.iter().find(|l| l.to == *target)
    }

    /// Sets the right on `target`, or removes the link.
    pub fn set_link(&mut self, target: LinkTarget, rights: Option<Rights>) {
        set_link(&mut self.links, target, rights);
    }

    /// The user groups the account is a member of.
    pub fn memberships(&self) -> impl Iterator<Item = &UserGroupId> {
        self.links.iter().filter_map(|link| match &link.to {
            LinkTarget::UserGroup(id) => Some(id),
            LinkTarget::Group(_) | LinkTarget::Device(_) => None,
        })
    }
}

fn set_link(links: &mut Vec<Link>, target: LinkTarget, rights: Option<Rights>) {
    match (links.iter().position(|l| l.to == target), rights) {
        (Some(i), Some(rights)) => links[i].rights = rights,
        (Some(i), None) => drop(links.remove(i)),
        (None, Some(rights)) => links.push(Link { to: target, rights, notify: 0 }),
        (None, None) => {}
    }
}

/// What kind of devices a group holds; the numbers are MeshCentral's `mtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupKind {
    /// 1: Intel AMT only.
    Amt,
    /// 2: devices with a MeshAgent.
    Agent,
    /// 3: local devices without an agent.
    Local,
    /// 4: IP-KVM ports.
    IpKvm,
}

impl GroupKind {
    /// MeshCentral's number.
    pub fn mtype(self) -> u8 {
        match self {
            Self::Amt => 1,
            Self::Agent => 2,
            Self::Local => 3,
            Self::IpKvm => 4,
        }
    }

    /// From MeshCentral's number.
    pub fn from_mtype(n: u64) -> Option<Self> {
        Some(match n {
            1 => Self::Amt,
            2 => Self::Agent,
            3 => Self::Local,
            4 => Self::IpKvm,
            _ => return None,
        })
    }
}

/// A device group ("mesh").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Domain and random key.
    pub id: GroupId,
    /// Display name, 1 to 128 characters.
    pub name: String,
    /// What kind of devices it holds.
    pub kind: GroupKind,
    /// Description, at most 1024 characters.
    pub desc: String,
    /// [`Group::EPHEMERAL`], [`Group::SYNC_NAME`], [`Group::RECORD`], [`Group::PREFER_AGENT_NAME`].
    pub flags: u32,
    /// Consent flags for sessions on its devices.
    pub consent: u32,
    /// Days after which a device that never came back is removed; 0 never.
    pub expire_devices: u16,
    /// When it was made.
    pub created: Millis,
    /// Who made it.
    pub creator: Option<UserId>,
    /// When it was deleted. A deleted group is kept and revives when one of its agents returns.
    pub deleted: Option<Millis>,
    /// Invitation codes, if enabled.
    pub invite: Option<Invite>,
    /// `relayid`: the device through which the local devices of the group are reached.
    pub relay: Option<NodeId>,
}

/// Invitation codes of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The codes people type.
    pub codes: Vec<String>,
    /// 0 both, 1 interactive only, 2 background only.
    pub flags: u32,
    /// Mask of agent kinds offered.
    pub agents: u32,
}

impl Group {
    /// Flag 1: a device is removed with all its data when it disconnects.
    pub const EPHEMERAL: u32 = 1;
    /// Flag 2: the device name follows the host name.
    pub const SYNC_NAME: u32 = 2;
    /// Flag 4: sessions with its devices are recorded.
    pub const RECORD: u32 = 4;
    /// Flag 8: the agent's own name wins over the host name.
    pub const PREFER_AGENT_NAME: u32 = 8;
}

/// What is known of the agent of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFacts {
    /// Agent kind (architecture), see `agent::kinds`.
    pub id: u32,
    /// Version number of the binary, 0 in stock agents.
    pub version: u32,
    /// Capability bits, those of AuthInfo and coreinfo combined.
    pub caps: u32,
    /// Core version text from coreinfo.
    pub core: Option<String>,
    /// Whether the agent runs with administrator rights.
    pub root: Option<bool>,
    /// First line of its `.tag` file.
    pub tag: Option<String>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Domain and key hash.
    pub id: NodeId,
    /// The group it is in.
    pub group: GroupId,
    /// Display name.
    pub name: String,
    /// Host name as the machine reports it.
    pub host_name: String,
    /// Icon number 1 to 8.
    pub icon: u8,
    /// The agent, if it has one.
    pub agent: Option<AgentFacts>,
    /// Address it last connected from.
    pub ip: Option<String>,
    /// Address to reach it at, set by people.
    pub host: Option<String>,
    /// Operating system text.
    pub os: Option<String>,
    /// Description set by people.
    pub desc: Option<String>,
    /// Tags set by people.
    pub tags: Vec<String>,
    /// Consent flags for sessions.
    pub consent: u32,
    /// First time it connected.
    pub first_connect: Millis,
    /// Users logged in at the device, as reported.
    pub users: Vec<String>,
    /// Users logged in locally (`lusers`), as reported.
    pub local_users: Vec<String>,
    /// Last boot of the machine.
    pub last_boot: Option<Millis>,
    /// Further coreinfo members (`av`, `wsc`, `defender`, `intelamt`, …) as JSON text, by name,
    /// each at most 8 KiB.
    pub extra: Vec<(String, String)>,
    /// Ports set by people: `rdpport`, `rfbport`, `sshport`, `httpport`, `httpsport`.
    pub ports: Vec<(String, u16)>,
}

/// How a device is connected right now; never stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connectivity {
    /// Bits: 1 agent, 2 CIRA, 4 Intel AMT direct, 8 Intel AMT relayed, 16 MQTT.
    pub conn: u32,
    /// 0 unknown, 1 on, 2 to 4 asleep, 5 hibernating, 6 soft off, 7 present, 8 off.
    pub power: u8,
    /// When the agent connected.
    pub agent_since: Option<Millis>,
    /// When Intel AMT connected by itself (CIRA).
    pub cira_since: Option<Millis>,
}

/// When and from where a device was last seen. Kept in memory; written in batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeen {
    /// Time of the last connect or disconnect.
    pub time: Millis,
    /// Address and port it came from.
    pub addr: String,
}

/// A user group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserGroup {
    /// Domain and random key.
    pub id: UserGroupId,
    /// Display name, 1 to 64 characters.
    pub name: String,
    /// Description.
    pub desc: String,
    /// Rights of its members on groups and devices.
    pub links: Vec<Link>,
    /// Consent flags.
    pub consent: u32,
    /// MeshCentral's `flags`: 2 record the sessions of its members.
    pub flags: u32,
}

impl UserGroup {
    /// Flag 2: sessions that are possible only through the group are recorded.
    pub const RECORD: u32 = 2;

    /// The right its members have on `target`, if it gives one.
    pub fn link(&self, target: &LinkTarget) -> Option<&Link> {
        self.links.iter().find(|l| l.to == *target)
    }

    /// Sets the right its members have on `target`, or removes the link.
    pub fn set_link(&mut self, target: LinkTarget, rights: Option<Rights>) {
        set_link(&mut self.links, target, rights);
    }
}

/// A secret of the server, by name: cookie keys and the like.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// MeshCentral's document id where it has one (`LoginCookieEncryptionKey`).
    pub name: String,
    /// The raw bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.name)
    }
}

impl Device {
    /// A device that has just been seen for the first time.
    pub fn new(id: NodeId, group: GroupId, name: &str, now: Millis) -> Self {
        Self {
            id,
            group,
            name: name.to_owned(),
            host_name: name.to_owned(),
            icon: 1,
            agent: None,
            ip: None,
            host: None,
            os: None,
            desc: None,
            tags: Vec::new(),
            consent: 0,
            first_connect: now,
            users: Vec::new(),
            local_users: Vec::new(),
            last_boot: None,
            extra: Vec::new(),
            ports: Vec::new(),
        }
    }
}

impl Group {
    /// A new, empty group.
    pub fn new(id: GroupId, name: &str, kind: GroupKind, now: Millis) -> Self {
        Self {
            id,
            name: name.to_owned(),
            kind,
            desc: String::new(),
            flags: 0,
            consent: 0,
            expire_devices: 0,
            created: now,
            creator: None,
            deleted: None,
            invite: None,
            relay: None,
        }
    }

    /// The tenant it belongs to.
    pub fn domain(&self) -> &DomainId {
        &self.id.domain
    }
}
