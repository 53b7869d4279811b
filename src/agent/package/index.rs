//! The index of an installed package: everything the server would otherwise have to hash.
//!
//! One small file: a magic text, a version byte, a postcard payload, its CRC-32C (u32
//! little-endian). It is written last, so a folder with an index is a complete package.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cores::CoreName;
use crate::model::Key48;

/// Name of the index in the `agents` folder.
pub(super) const FILE: &str = "index";
/// An index is a few KB; anything longer is not one.
pub(super) const MAX_LEN: u64 = 1024 * 1024;
const MAGIC: &[u8; 16] = b"meshboard-agents";
const VERSION: u8 = 1;

/// What is installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    /// Version of the stock package, if it said so.
    pub(super) version: Option<String>,
    /// The composed cores, plain and minified.
    pub(super) cores: Vec<CoreEntry>,
    /// One entry per file; several agent ids may share it.
    pub(super) binaries: Vec<BinaryEntry>,
    /// Length of the MeshCmd script, if the package has one.
    pub(super) meshcmd: Option<u64>,
}

/// A core image, deflated in `cores/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CoreEntry {
    pub(super) name: CoreName,
    pub(super) minified: bool,
    /// SHA-384 of the image, four zero bytes included.
    pub(super) hash: Key48,
    /// Length of the image.
    pub(super) len: u32,
    /// Length of its raw-deflate form.
    pub(super) deflated_len: u32,
    /// CRC-32C of the raw-deflate form.
    pub(super) deflated_crc: u32,
}

/// An executable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BinaryEntry {
    pub(super) file: String,
    pub(super) size: u64,
    /// SHA-384 of the file.
    pub(super) sha384: Key48,
    /// The normalised hash.
    pub(super) agent_hash: Key48,
    /// `hashagents.json` lists the file, and it matched.
    pub(super) verified: bool,
    pub(super) zip: Option<ZipEntry>,
}

/// The same executable as a ZIP, in `zip/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ZipEntry {
    pub(super) size: u64,
    pub(super) sha384: Key48,
}

/// Why an index cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexError {
    /// Not an index, or damaged.
    Damaged,
    /// Written by another version of this program.
    Version(u8),
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("is damaged"),
            Self::Version(version) => write!(f, "has format {version}, this program {VERSION}"),
        }
    }
}

impl std::error::Error for IndexError {}

impl Index {
    /// The bytes of the file; the same index always gives the same bytes.
    pub(super) fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        let mut bytes = postcard::to_extend(self, bytes)?;
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        Ok(bytes)
    }

    /// Reads the bytes of the file.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        let (content, crc) = bytes.split_last_chunk::<4>().ok_or(IndexError::Damaged)?;
        let (version, payload) =
            content.strip_prefix(MAGIC).and_then(<[u8]>::split_first).ok_or(IndexError::Damaged)?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            return Err(IndexError::Damaged);
        }
        if *version != VERSION {
            return Err(IndexError::Version(*version));
        }
        postcard::from_bytes(payload).map_err(|_| IndexError::Damaged)
    }

    pub(super) fn binary(&self, file: &str) -> Option<&BinaryEntry> {
        self.binaries.iter().find(|entry| entry.file == file)
    }

    /// The entry of a core; the plain image stands in for a minified one that is missing.
    pub(super) fn core(&self, name: CoreName, minified: bool) -> Option<&CoreEntry> {
        let exact = |minified| {
            self.cores.iter().find(move |core| core.name == name && core.minified == minified)
        };
        exact(minified).or_else(|| exact(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Index {
        let key = Key48([7; 48]);
        Index {
            version: Some("1.1.55".into()),
            cores: vec![CoreEntry {
                name: CoreName::LinuxTiny,
                minified: false,
                hash: key,
                len: 6305,
                deflated_len: 2211,
                deflated_crc: 1,
            }],
            binaries: vec![BinaryEntry {
                file: "meshagent_x86-64".into(),
                size: 3_749_328,
                sha384: key,
                agent_hash: key,
                verified: true,
                zip: Some(ZipEntry { size: 1, sha384: key }),
            }],
            meshcmd: Some(99),
        }
    }

    #[test]
    fn an_index_survives_its_bytes() {
        let bytes = sample().encode().unwrap();
        assert_eq!(Index::decode(&bytes), Ok(sample()));
        assert!((bytes.len() as u64) < MAX_LEN);
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let mut bytes = sample().encode().unwrap();
        bytes.truncate(bytes.len() - 4);
        bytes[MAGIC.len()] = VERSION + 1;
        let crc = crc32c::crc32c(&bytes).to_le_bytes();
        bytes.extend_from_slice(&crc);
        assert_eq!(Index::decode(&bytes), Err(IndexError::Version(VERSION + 1)));
    }

    proptest! {
        #[test]
        fn damage_is_always_noticed(at in any::<prop::sample::Index>(), bit in 0..8) {
            let mut bytes = sample().encode().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            prop_assert_eq!(Index::decode(&bytes), Err(IndexError::Damaged));
            prop_assert_eq!(Index::decode(&bytes[..at]), Err(IndexError::Damaged));
        }
    }
}
