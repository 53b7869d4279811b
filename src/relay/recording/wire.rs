//! The `.mcrec` format of MeshCentral's session player.
//!
//! A file is a row of blocks: `u16 type, u16 flags, u32 size, u64 time`, big-endian, then `size`
//! bytes; the time is in milliseconds since 1970 and fits 48 bits. First comes a [`Metadata`]
//! block, then one block for each relayed message, last an end block. After indexing the end block
//! is replaced by an index and an end block of another kind whose time is the index's place.
//! Sources: relay-and-tunnels §13, the stock player, and `tests/vectors/relay-mcrec.json`.

use serde::{Deserialize, Serialize};

use crate::model::{Millis, Utc};

/// Bytes of a block before its data.
pub const HEAD: usize = 16;
/// Data of the last block.
pub const END: [u8; 16] = *b"MeshCentralMCREC";
/// Data of the last block of a file with an index.
pub const INDEXED_END: [u8; 16] = *b"MeshCentralMCNDX";
/// Bytes of the end block.
pub const TRAILER: usize = HEAD + END.len();

/// Kinds of blocks.
pub mod kind {
    /// Who, what and when, as JSON. The first block.
    pub const METADATA: u16 = 1;
    /// A message.
    pub const MESSAGE: u16 = 2;
    /// The last block.
    pub const END: u16 = 3;
    /// Where the picture can be put together from, as JSON.
    pub const INDEX: u16 = 4;
}

/// Flag of a message that was a binary frame.
pub const BINARY: u16 = 1;
/// Flag of a message that came from the user.
pub const FROM_USER: u16 = 2;

/// What a block begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// One of [`kind`].
    pub kind: u16,
    /// [`BINARY`] and [`FROM_USER`].
    pub flags: u16,
    /// Bytes that follow.
    pub size: u32,
    /// When; in [`INDEXED_END`] the place of the index instead. 48 bits are kept.
    pub time: Millis,
}

impl Head {
    /// The bytes.
    pub fn encode(self) -> [u8; HEAD] {
        let time = self.time.0 & 0xffff_ffff_ffff;
        let mut bytes = [0; HEAD];
        bytes[..2].copy_from_slice(&self.kind.to_be_bytes());
        bytes[2..4].copy_from_slice(&self.flags.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.size.to_be_bytes());
        bytes[8..].copy_from_slice(&time.to_be_bytes());
        bytes
    }

    /// From the bytes; `None` if the kind is unknown or the time is longer than 48 bits.
    pub fn parse(bytes: &[u8; HEAD]) -> Option<Self> {
        let (&[k1, k2, f1, f2, s1, s2, s3, s4], time) = bytes.split_first_chunk()?;
        let head = Self {
            kind: u16::from_be_bytes([k1, k2]),
            flags: u16::from_be_bytes([f1, f2]),
            size: u32::from_be_bytes([s1, s2, s3, s4]),
            time: Millis(u64::from_be_bytes(*time.first_chunk()?)),
        };
        let known = (kind::METADATA..=kind::INDEX).contains(&head.kind);
        (known && head.time.0 >> 48 == 0).then_some(head)
    }

    /// The end block of a recording that ended at `time`.
    pub fn trailer(time: Millis, magic: [u8; 16]) -> [u8; TRAILER] {
        let head = Self { kind: kind::END, flags: 0, size: magic.len() as u32, time };
        let mut bytes = [0; TRAILER];
        bytes[..HEAD].copy_from_slice(&head.encode());
        bytes[HEAD..].copy_from_slice(&magic);
        bytes
    }
}

/// The first block. Members in MeshCentral's order; those that are `None` are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Says what it is.
    pub magic: Magic,
    /// Of the format.
    pub ver: Version,
    /// Whose session it is; nobody's, if it is a desktop many watch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userid: Option<String>,
    /// The account's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What the session is called: the pairing id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessionid: Option<String>,
    /// Address of the side that came first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipaddr1: Option<String>,
    /// Address of the other side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipaddr2: Option<String>,
    /// When it began, see [`us_time`].
    pub time: String,
    /// Protocol number. Stock servers write it as text, too.
    #[serde(deserialize_with = "number_or_text")]
    pub protocol: u16,
    /// The device, `node/…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodeid: Option<String>,
    /// Name of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devicename: Option<String>,
    /// The device group, `mesh/…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meshid: Option<String>,
    /// Name of the device group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devicegroup: Option<String>,
    /// Whether it is Intel AMT that was talked to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intelamt: Option<bool>,
}

/// `magic`, always the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Magic {
    /// The only one.
    #[default]
    #[serde(rename = "MeshCentralRelaySession")]
    RelaySession,
}

/// `ver`, always 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Version;

impl TryFrom<u8> for Version {
    type Error = &'static str;

    fn try_from(n: u8) -> Result<Self, Self::Error> {
        if n == 1 { Ok(Self) } else { Err("unknown version") }
    }
}

impl From<Version> for u8 {
    fn from(_: Version) -> Self {
        1
    }
}

fn number_or_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u16),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(n) => Ok(n),
        Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

/// A moment as the player shows it: `11/22/2026, 5:40:10 AM`, in UTC.
pub fn us_time(time: Millis) -> String {
    let Utc { year, month, day, hour, minute, second, .. } = time.utc();
    let (half, noon) = (hour % 12, if hour < 12 { "AM" } else { "PM" });
    let hour = if half == 0 { 12 } else { half };
    format!("{month}/{day}/{year}, {hour}:{minute:02}:{second:02} {noon}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_written_as_in_america() {
        for (ms, text) in [
            (1_795_326_010_000, "11/22/2026, 5:40:10 AM"),
            (0, "1/1/1970, 12:00:00 AM"),
            (12 * 3_600_000, "1/1/1970, 12:00:00 PM"),
            (23 * 3_600_000 + 61_000, "1/1/1970, 11:01:01 PM"),
        ] {
            assert_eq!(us_time(Millis(ms)), text);
        }
    }

    #[test]
    fn a_first_block_of_another_kind_is_not_taken_for_ours() {
        let good = r#"{"magic":"MeshCentralRelaySession","ver":1,"time":"","protocol":"2"}"#;
        assert_eq!(serde_json::from_str::<Metadata>(good).unwrap().protocol, 2);
        for wrong in [good.replace("Relay", "Delay"), good.replace(":1", ":2"), "{}".into()] {
            assert!(serde_json::from_str::<Metadata>(&wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn heads_survive_bytes(kind in 1u16..=4, flags: u16, size: u32, time in 0u64..1 << 48) {
            let head = Head { kind, flags, size, time: Millis(time) };
            prop_assert_eq!(Head::parse(&head.encode()), Some(head));
        }

        #[test]
        fn any_bytes_are_a_head_or_nothing(bytes: [u8; HEAD]) {
            if let Some(head) = Head::parse(&bytes) {
                prop_assert_eq!(head.encode(), bytes);
            }
        }
    }
}
