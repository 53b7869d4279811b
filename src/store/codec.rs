//! Record kinds and their numbered versions: the one table of what may lie in a frame.
//!
//! Postcard writes fields in order and nothing else, so a payload is readable only by the form it
//! was written with. A stored form never changes: a change of a record is a new version, the old
//! form moves to a private struct with `From<Old>`, and the golden files of `tests/golden/`, which
//! hold every released version, go on being decoded. Enum variants are only appended.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{
    Ban, Device, Document, DomainId, Event, EventKind, Factors, Group, Key48, LastSeen, LoginToken,
    Millis, NodeId, Secret, Share, Target, User, UserGroup, UserId,
};

use super::amt::{AmtAccessForm, AmtPolicyForm};
use super::frame::{self, Frame, TooLong};
use super::old::{AmtAccessV1, AmtAccessV2, AmtPolicyV1, GroupV1, UserGroupV1, UserV1, UserV2};
use super::{DetailKind, PastEvent, PowerChange, RecordKey};

/// Kinds of frames. Numbers are for ever; they are unique over all files, so that a frame in the
/// wrong file is not taken for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Kind {
    // `state`
    User = 1,
    Group = 2,
    Device = 3,
    UserGroup = 4,
    Secret = 5,
    Factors = 6,
    LoginToken = 7,
    Share = 8,
    Document = 9,
    Ban = 10,
    AmtAccess = 11,
    AmtPolicy = 12,
    Remove = 16,
    Seen = 17,
    SnapshotEnd = 18,
    // `details`
    Detail = 32,
    DetailsGone = 33,
    // history
    Events = 48,
    Power = 49,
}

/// A form that lies in frames.
pub(super) trait Stored: Sized + Serialize {
    /// Its number in the table.
    const KIND: Kind;
    /// The version that is written.
    const VERSION: u8;

    /// Reads one from the start of `bytes` and returns the rest. `None` if this version is not
    /// known here, or the bytes are not of it.
    fn take(version: u8, bytes: &[u8]) -> Option<(Self, &[u8])>;

    /// Reads one that fills `bytes`.
    fn decode(version: u8, bytes: &[u8]) -> Option<Self> {
        Self::take(version, bytes).and_then(|(value, rest)| rest.is_empty().then_some(value))
    }

    /// Appends itself to `out`, without a frame.
    fn encode(&self, out: &mut Vec<u8>) {
        // Writing to memory fails only for sequences of unknown length, which no record has.
        let written = postcard::to_io(self, out);
        debug_assert!(written.is_ok(), "{:?} cannot be encoded", Self::KIND);
    }
}

fn take<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, &[u8])> {
    postcard::take_from_bytes(bytes).ok()
}

/// Declares the kind of a form, the version it is written as, and the forms of older versions,
/// each with `From<Old>`: `stored!(Device = Kind::Device, 3, 1 => DeviceV1, 2 => DeviceV2);`
macro_rules! stored {
    ($form:ty = $kind:expr, $newest:literal $(, $version:literal => $old:ty)*) => {
        impl Stored for $form {
            const KIND: Kind = $kind;
            const VERSION: u8 = $newest;

            fn take(version: u8, bytes: &[u8]) -> Option<(Self, &[u8])> {
                match version {
                    $newest => take::<Self>(bytes),
                    $($version => take::<$old>(bytes).map(|(old, rest)| (old.into(), rest)),)*
                    _ => None,
                }
            }
        }
    };
}

stored!(User = Kind::User, 3, 1 => UserV1, 2 => UserV2);
stored!(Group = Kind::Group, 2, 1 => GroupV1);
stored!(Device = Kind::Device, 1);
stored!(UserGroup = Kind::UserGroup, 2, 1 => UserGroupV1);
stored!(Secret = Kind::Secret, 1);
stored!(Factors = Kind::Factors, 1);
stored!(LoginToken = Kind::LoginToken, 1);
stored!(Share = Kind::Share, 1);
stored!(Document = Kind::Document, 1);
stored!(Ban = Kind::Ban, 1);
stored!(AmtAccessForm = Kind::AmtAccess, 3, 1 => AmtAccessV1, 2 => AmtAccessV2);
stored!(AmtPolicyForm = Kind::AmtPolicy, 2, 1 => AmtPolicyV1);
stored!(RecordKey = Kind::Remove, 1);
stored!(SeenBatch = Kind::Seen, 1);
stored!(SnapshotEnd = Kind::SnapshotEnd, 1);
stored!(DetailHead = Kind::Detail, 1);
stored!(DetailsGone = Kind::DetailsGone, 1);
stored!(EventForm<'static> = Kind::Events, 1);
stored!(PowerForm = Kind::Power, 1);

/// Appends `form` as a frame to `out`; on error `out` is as before.
pub(super) fn append<T: Stored>(out: &mut Vec<u8>, form: &T) -> Result<(), TooLong> {
    frame::append(out, T::KIND as u16, T::VERSION, |out| form.encode(out))
}

/// What a frame of `state` says.
#[derive(Debug)]
pub(super) enum Entry {
    User(User),
    Group(Group),
    Device(Box<Device>),
    UserGroup(UserGroup),
    Secret(Secret),
    Factors(Factors),
    LoginToken(LoginToken),
    Share(Share),
    Document(Document),
    Ban(Ban),
    AmtAccess(AmtAccessForm),
    AmtPolicy(AmtPolicyForm),
    Remove(RecordKey),
    Seen(SeenBatch),
    SnapshotEnd,
    /// Of a kind, version or enum variant this version does not know. Its checksum is right, so a
    /// newer version wrote it: it is carried along verbatim.
    Foreign,
}

/// Reads a frame of `state`.
pub(super) fn entry(frame: &Frame<'_>) -> Entry {
    fn read<T: Stored>(frame: &Frame<'_>, wrap: fn(T) -> Entry) -> Option<Entry> {
        let ours = frame.kind == T::KIND as u16;
        ours.then(|| T::decode(frame.version, frame.payload).map(wrap)).flatten()
    }
    read(frame, Entry::User)
        .or_else(|| read(frame, Entry::Group))
        .or_else(|| read(frame, |device| Entry::Device(Box::new(device))))
        .or_else(|| read(frame, Entry::UserGroup))
        .or_else(|| read(frame, Entry::Secret))
        .or_else(|| read(frame, Entry::Factors))
        .or_else(|| read(frame, Entry::LoginToken))
        .or_else(|| read(frame, Entry::Share))
        .or_else(|| read(frame, Entry::Document))
        .or_else(|| read(frame, Entry::Ban))
        .or_else(|| read(frame, Entry::AmtAccess))
        .or_else(|| read(frame, Entry::AmtPolicy))
        .or_else(|| read(frame, Entry::Remove))
        .or_else(|| read(frame, Entry::Seen))
        .or_else(|| read(frame, |_: SnapshotEnd| Entry::SnapshotEnd))
        .unwrap_or(Entry::Foreign)
}

/// Marks where a snapshot ends and the journal of later changes begins.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SnapshotEnd;

/// The first eight bytes of a device's key: names it among known devices of its domain.
///
/// Batches about many devices are written for years, and 48 random bytes each do not compress.
/// Keys are SHA-384 digests; whoever finds two with the same first eight bytes mixes up their own
/// two devices.
pub(super) type ShortKey = [u8; 8];

pub(super) fn short_key(key: &Key48) -> ShortKey {
    std::array::from_fn(|i| key.0[i])
}

/// When devices were last seen; those that changed since the batch before.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SeenBatch {
    /// Wall time when the batch was written: the floor of the clock at the next start.
    pub(super) floor: Millis,
    pub(super) seen: Vec<SeenForm>,
}

/// One device of a [`SeenBatch`].
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SeenForm {
    pub(super) domain: DomainId,
    pub(super) key: ShortKey,
    pub(super) time: Millis,
    pub(super) addr: Addr,
}

/// A remote address, compact where it has the usual form.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Addr {
    V4([u8; 4], u16),
    V6([u8; 16], u16),
    Text(String),
}

impl From<&str> for Addr {
    fn from(text: &str) -> Self {
        use std::net::SocketAddr;
        let short = match text.parse() {
            Ok(SocketAddr::V4(a)) => Self::V4(a.ip().octets(), a.port()),
            Ok(SocketAddr::V6(a)) => Self::V6(a.ip().octets(), a.port()),
            Err(_) => return Self::Text(text.to_owned()),
        };
        // Only what comes out as the same text may be shortened; a zone, for one, would be lost.
        if short.to_string() == text { short } else { Self::Text(text.to_owned()) }
    }
}

impl std::fmt::Display for Addr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::V4(ip, port) => std::net::SocketAddr::from((*ip, *port)).fmt(f),
            Self::V6(ip, port) => std::net::SocketAddr::from((*ip, *port)).fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl SeenForm {
    pub(super) fn new(id: &NodeId, seen: &LastSeen) -> Self {
        Self {
            domain: id.domain.clone(),
            key: short_key(&id.key),
            time: seen.time,
            addr: seen.addr.as_str().into(),
        }
    }
}

/// What stands before a detail document, which follows as raw deflate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DetailHead {
    pub(super) node: NodeId,
    pub(super) kind: DetailKind,
    pub(super) time: Millis,
    pub(super) tag: Option<Box<str>>,
    pub(super) print: Fingerprint,
}

/// Length and CRC-32C of a document: tells whether it changed without reading it back. Two
/// documents of the same length and checksum are one in four billion, or made on purpose by an
/// agent that then keeps its own older document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    pub(super) len: u32,
    pub(super) crc: u32,
}

/// The documents of a device are to be forgotten.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DetailsGone {
    pub(super) node: NodeId,
}

/// An event of history. A frame holds several, one after the other.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct EventForm<'a> {
    time: Millis,
    action: Cow<'a, str>,
    kind: Option<EventKind>,
    domain: Cow<'a, DomainId>,
    actor: Option<Cow<'a, UserId>>,
    node: Option<Cow<'a, NodeId>>,
    /// A JSON object: postcard cannot hold values that describe themselves.
    body: String,
    targets: Cow<'a, [Target]>,
}

impl<'a> EventForm<'a> {
    /// Appends `event` to `out`.
    pub(super) fn write(time: Millis, event: &'a Event, out: &mut Vec<u8>) {
        let form = Self {
            time,
            action: Cow::Borrowed(&event.action),
            kind: event.kind,
            domain: Cow::Borrowed(&event.domain),
            actor: event.actor.as_ref().map(Cow::Borrowed),
            node: event.node.as_ref().map(Cow::Borrowed),
            // A map with text keys always has a JSON form.
            body: serde_json::to_string(&event.body).unwrap_or_default(),
            targets: Cow::Borrowed(&event.targets),
        };
        let written = postcard::to_io(&form, out);
        debug_assert!(written.is_ok(), "an event cannot be encoded");
    }

    /// The event if `wants` it. `wants` sees it without its body, which is parsed only then.
    pub(super) fn read(self, wants: impl FnOnce(&Event) -> bool) -> Option<PastEvent> {
        let mut event = Event {
            action: self.action.into_owned().into(),
            kind: self.kind,
            domain: self.domain.into_owned(),
            actor: self.actor.map(Cow::into_owned),
            node: self.node.map(Cow::into_owned),
            body: serde_json::Map::new(),
            targets: self.targets.into_owned(),
            keep: true,
        };
        if !wants(&event) {
            return None;
        }
        event.body = serde_json::from_str(&self.body).ok()?;
        Some(PastEvent { time: self.time, event })
    }
}

/// A change of power of a device. A frame holds several, one after the other.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PowerForm {
    domain: DomainId,
    key: ShortKey,
    time: Millis,
    power: u8,
}

impl PowerForm {
    pub(super) fn new(id: &NodeId, change: PowerChange) -> Self {
        let PowerChange { time, power } = change;
        Self { domain: id.domain.clone(), key: short_key(&id.key), time, power }
    }

    /// The change, if it is one of `id`.
    pub(super) fn of(&self, id: &NodeId) -> Option<PowerChange> {
        let ours = self.key == short_key(&id.key) && self.domain == id.domain;
        ours.then_some(PowerChange { time: self.time, power: self.power })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record in its first form …
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct LampV1 {
        name: String,
        lit: bool,
    }

    /// … and as it is now: the brightness was added.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Lamp {
        name: String,
        brightness: u8,
    }

    impl From<LampV1> for Lamp {
        fn from(old: LampV1) -> Self {
            Self { name: old.name, brightness: if old.lit { 100 } else { 0 } }
        }
    }

    stored!(Lamp = Kind::Secret, 2, 1 => LampV1);

    #[test]
    fn record_of_an_older_version_is_read_through_its_old_form() {
        let old = postcard::to_allocvec(&LampV1 { name: "hall".into(), lit: true }).unwrap();
        let lamp = Lamp { name: "hall".into(), brightness: 100 };
        assert_eq!(Lamp::decode(1, &old), Some(lamp));
        let mut now = Vec::new();
        append(&mut now, &Lamp { name: "hall".into(), brightness: 7 }).unwrap();
        let frame = frame::parse(&now).unwrap().unwrap();
        assert_eq!(frame.version, 2);
        assert_eq!(Lamp::decode(2, frame.payload).unwrap().brightness, 7);
        assert_eq!(Lamp::decode(3, frame.payload), None, "a version of the future");
        let longer = [&old[..], &[0]].concat();
        assert_eq!(Lamp::decode(1, &longer), None, "bytes that do not belong to it");
    }

    #[test]
    fn addresses_come_back_as_the_same_text() {
        for text in [
            "10.0.0.7:50123",
            "[2001:db8::1]:443",
            "[::ffff:1.2.3.4]:5",
            "1.2.3.4",
            "",
            "x:1",
            "[2001:0db8::1]:443",
            "[fe80::1%2]:9",
        ] {
            assert_eq!(Addr::from(text).to_string(), text);
        }
    }
}
