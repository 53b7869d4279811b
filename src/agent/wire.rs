//! Binary commands between agent and server.
//!
//! Every message is one WebSocket message: a big-endian `u16` command, then its body. A message
//! that begins with `{` is JSON instead. Hashes are SHA-384. There are no error codes: an agent is
//! never told why. Source: the MeshAgent C sources and captures in `tests/vectors/agent-*.json`.

use crate::model::Key48;

/// Longest binary message taken from an agent before it is authenticated, in bytes. A certificate
/// and a PKCS#7 signature together stay below 6 KB.
pub const PREAUTH_LIMIT: usize = 16 * 1024;
/// Longest message taken from an authenticated agent: process lists and SMBIOS tables in JSON.
pub const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;

/// A message from an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// 1: hash of the TLS certificate the agent saw, and its nonce.
    AuthRequest {
        /// SHA-384 of the DER the agent saw.
        hash: Key48,
        /// 48 random bytes.
        nonce: [u8; 48],
    },
    /// 2: the agent's certificate and its signature.
    AuthVerify {
        /// DER.
        cert: &'a [u8],
        /// RSA signature, bare or in PKCS#7.
        signature: &'a [u8],
    },
    /// 3: who it is.
    AuthInfo(AuthInfo<'a>),
    /// 4: it trusts this TLS certificate already; no server signature needed.
    AuthConfirm,
    /// 5: the server identity it expects.
    ServerId(Key48),
    /// 11: what core it runs.
    CoreHash(CoreReport),
    /// 12: normalised hash of its own binary.
    AgentHash(Key48),
    /// 14: an update block has arrived.
    UpdateAck,
    /// 15: content of its `.tag` file.
    Tag(&'a [u8]),
    /// 30: build date of the binary.
    CommitDate(&'a str),
    /// 31: operating system text.
    HostInfo(&'a str),
    /// A JSON message.
    Json(&'a [u8]),
}

/// Answer to a core query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreReport {
    /// It has none.
    None,
    /// It has one it will not give up (all zero bytes).
    Pinned,
    /// SHA-384 of its core.
    Hash(Key48),
}

/// Body of command 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthInfo<'a> {
    /// Kind of agent (architecture).
    pub agent_id: u32,
    /// Version, 0 in stock agents.
    pub version: u32,
    /// Platform type, 1 to 8: the initial icon.
    pub platform: u32,
    /// The group it wants to join: 48 bytes, the last 16 zero in old 32-byte ids.
    pub group: Key48,
    /// Capability bits, see [`caps`].
    pub caps: u32,
    /// Host name; empty if absent.
    pub name: &'a str,
}

/// Capability bits of AuthInfo.
pub mod caps {
    /// Its console can be used.
    pub const CONSOLE: u32 = 0x8;
    /// It runs a JavaScript core.
    pub const CORE: u32 = 0x10;
    /// It is to be forgotten when it disconnects.
    pub const TEMPORARY: u32 = 0x20;
    /// It is the recovery agent of another one.
    pub const RECOVERY: u32 = 0x40;
    /// It takes compressed cores.
    pub const COMPRESSION: u32 = 0x100;
}

impl<'a> Command<'a> {
    /// Parses a message; `None` for what is to be ignored: too short, unknown, or malformed.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        if message.first() == Some(&b'{') {
            return Some(Self::Json(message));
        }
        let (command, body) = message.split_first_chunk::<2>()?;
        Some(match u16::from_be_bytes(*command) {
            1 => {
                let (hash, nonce) = body.split_first_chunk::<48>()?;
                Self::AuthRequest { hash: Key48(*hash), nonce: nonce.try_into().ok()? }
            }
            2 => {
                let (length, rest) = body.split_first_chunk::<2>()?;
                let (cert, signature) =
                    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                Self::AuthVerify { cert, signature }
            }
            3 => Self::AuthInfo(AuthInfo::parse(body)?),
            4 => Self::AuthConfirm,
            5 => Self::ServerId(Key48::from_prefix(body)?),
            11 => Self::CoreHash(CoreReport::parse(body)?),
            12 => Self::AgentHash(Key48::from_prefix(body.get(2..)?)?),
            14 => Self::UpdateAck,
            15 => Self::Tag(body),
            30 => Self::CommitDate(text(body)?),
            31 => Self::HostInfo(text(body)?),
            _ => return None,
        })
    }
}

impl CoreReport {
    fn parse(body: &[u8]) -> Option<Self> {
        let (_request, hash) = body.split_first_chunk::<2>()?;
        Some(match Key48::from_prefix(hash) {
            None => Self::None,
            Some(Key48::ZERO) => Self::Pinned,
            Some(hash) => Self::Hash(hash),
        })
    }
}

impl<'a> AuthInfo<'a> {
    fn parse(body: &'a [u8]) -> Option<Self> {
        let (_info_version, rest) = take_u32(body)?;
        let (agent_id, rest) = take_u32(rest)?;
        let (version, rest) = take_u32(rest)?;
        let (platform, rest) = take_u32(rest)?;
        let (group, rest) = rest.split_first_chunk::<48>()?;
        let (caps, rest) = take_u32(rest)?;
        // The name is optional; a claimed length beyond the message is cut to what is there.
        let name = match rest.split_first_chunk::<2>() {
            None => "",
            Some((length, name)) => {
                let length = usize::from(u16::from_be_bytes(*length)).min(name.len());
                name.get(..length).and_then(|n| str::from_utf8(n).ok()).unwrap_or_default()
            }
        };
        Some(Self { agent_id, version, platform, group: Key48(*group), caps, name })
    }
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (n, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*n), rest))
}

/// Text that may end in a NUL.
fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    str::from_utf8(bytes.get(..end)?).ok()
}

/// 1: echoes the hash the agent sent, with the server's nonce.
pub fn auth_request(hash: Key48, nonce: &[u8; 48]) -> Vec<u8> {
    [&[0, 1], hash.0.as_slice(), nonce].concat()
}

/// 2: the server's certificate (DER, below 64 KB) and its signature.
pub fn auth_verify(cert: &[u8], signature: &[u8]) -> Vec<u8> {
    let length = u16::try_from(cert.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[0, 2], length.as_slice(), cert, signature].concat()
}

/// 4: the agent is accepted.
pub const AUTH_CONFIRM: [u8; 2] = [0, 4];
/// 10 with no image: stop and forget the core.
pub const CLEAR_CORE: [u8; 4] = [0, 10, 0, 0];
/// 11: what core do you run?
pub const ASK_CORE_HASH: [u8; 4] = [0, 11, 0, 0];
/// 12: what is the hash of your binary?
pub const ASK_AGENT_HASH: [u8; 4] = [0, 12, 0, 0];
/// 13: an update begins.
pub const UPDATE_START: [u8; 4] = [0, 13, 0, 0];
/// 14: header of an update block.
pub const UPDATE_BLOCK: [u8; 4] = [0, 14, 0, 1];
/// 16: run the core you have.
pub const CORE_OK: [u8; 4] = [0, 16, 0, 0];

/// 10: header of a plain core image, to be followed by the image.
pub fn core_header(hash: Key48) -> Vec<u8> {
    [&[0, 10, 0, 0], hash.0.as_slice()].concat()
}

/// 20: header of a raw-deflate core image; `hash` is of the inflated image.
pub fn compressed_core_header(hash: Key48) -> Vec<u8> {
    [&[0, 20, 0, 0], hash.0.as_slice()].concat()
}

/// 13 with a hash: all blocks are sent; verify against `hash` and restart.
pub fn update_end(hash: Key48) -> Vec<u8> {
    [&[0, 13, 0, 0], hash.0.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vector(name: &str) -> serde_json::Value {
        let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn every_captured_agent_message_parses() {
        for name in [
            "agent-auth-full-vs-stock-agent",
            "agent-auth-fast-vs-stock-agent",
            "agent-auth-full-vs-meshcentral",
            "agent-auth-fast-vs-meshcentral",
            "agent-auth-pkcs7-vs-meshcentral",
        ] {
            let v = vector(name);
            let mut seen = 0;
            for message in v["messages"].as_array().unwrap() {
                let (true, Some(hex)) = (message["from"] == "agent", message["hex"].as_str())
                else {
                    continue;
                };
                let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
                let command = Command::parse(&bytes);
                assert!(command.is_some(), "{name}: {hex}");
                if let Some(Command::AuthInfo(info)) = command {
                    let parsed = &v["authInfoParsed"];
                    assert_eq!(info.agent_id, parsed["agentId"]);
                    assert_eq!(info.caps, parsed["capabilities"]);
                    assert_eq!(info.name, parsed["computerName"]);
                    assert_eq!(info.group.text(), parsed["meshIdText"]);
                }
                seen += 1;
            }
            assert!(seen >= 5, "{name}");
        }
    }

    #[test]
    fn what_is_too_short_or_unknown_is_ignored() {
        for bytes in [&b""[..], &[0], &[0, 1, 2], &[0, 2, 0xff, 0xff, 1], &[0, 3], &[0x10, 0]] {
            assert_eq!(Command::parse(bytes), None, "{bytes:?}");
        }
        let mut long = vec![0, 1];
        long.extend([7; 97]);
        assert_eq!(Command::parse(&long), None, "AuthRequest is 98 bytes exactly");
        assert_eq!(Command::parse(&[0, 11, 0, 0]), Some(Command::CoreHash(CoreReport::None)));
        let pinned = [&[0, 11, 0, 0][..], &[0; 48]].concat();
        assert_eq!(Command::parse(&pinned), Some(Command::CoreHash(CoreReport::Pinned)));
    }

    #[test]
    fn a_name_longer_than_its_message_is_cut() {
        let mut message = vec![0, 3];
        message.extend([0; 68]);
        message.extend([0xff, 0xff, b'v', b'm']);
        let Some(Command::AuthInfo(info)) = Command::parse(&message) else { panic!() };
        assert_eq!(info.name, "vm");
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_ignored(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::parse(&bytes);
        }
    }
}
