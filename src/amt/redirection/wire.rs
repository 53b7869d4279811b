//! The codec of a redirection session's beginning: what is said until the firmware has let us in.
//!
//! Source: amt-management §16. Integers are little-endian, texts stand behind a length of one byte.
//! Bytes come in any pieces; [`reply`] and [`request`] find the first message of what has come. Lengths
//! are claims: nothing longer than [`PAYLOAD_MAX`] is waited for.

use std::fmt;

/// Longest payload of an authentication message, in bytes; real ones have up to 0xB3.
const PAYLOAD_MAX: usize = 1024;

/// The resource that is logged in to.
pub const URI: &str = "/RedirectionService";

/// What is redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The serial line.
    Sol,
    /// The screen, with keyboard and mouse.
    Kvm,
    /// Disk drives.
    Ider,
}

impl Service {
    const ALL: [Self; 3] = [Self::Sol, Self::Kvm, Self::Ider];

    /// The message that asks for it.
    pub fn start(self) -> [u8; 8] {
        match self {
            Self::Sol => *b"\x10\0\0\0SOL ",
            Self::Kvm => *b"\x10\x01\0\0KVMR",
            Self::Ider => *b"\x10\0\0\0IDER",
        }
    }

    /// Which one is asked for.
    fn started_by(message: [u8; 8]) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.start() == message)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sol => "serial console",
            Self::Kvm => "remote screen",
            Self::Ider => "disk redirection",
        })
    }
}

/// Methods of authentication.
pub mod method {
    /// Which are there?
    pub const QUERY: u8 = 0;
    /// Digest as in HTTP.
    pub const DIGEST: u8 = 4;
}

/// Bytes that are no message of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What the firmware asks before it lets somebody in by digest; each at most 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// `Digest:` and 32 hex digits.
    pub realm: String,
    /// 32 characters.
    pub nonce: String,
    /// `auth`.
    pub qop: String,
}

/// What the firmware says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// 0x11: it has the service.
    Started {
        /// Version of the firmware, major and minor.
        version: (u8, u8),
    },
    /// 0x11: it does not: 1 unknown, 2 busy, 3 unsupported, 0xFF error.
    NotStarted(u8),
    /// 0x14: whether it may be logged in to by digest.
    Methods {
        /// True if so.
        digest: bool,
    },
    /// 0x14: it asks.
    Challenge(Challenge),
    /// 0x14: let in.
    Accepted,
    /// 0x14: not let in.
    Refused,
}

/// The first message of what came from the firmware, and its length. `None` if it is unfinished.
///
/// # Errors
/// It is no message.
pub fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    match bytes {
        [] | [0x11 | 0x14] => Ok(None),
        [0x11, 0, rest @ ..] => {
            // Two bytes, 01 00, the version, the vendor's number, and a text of the vendor's.
            let [_, _, _, _, major, minor, _, _, _, _, oem, text @ ..] = rest else {
                return Ok(None);
            };
            let oem = usize::from(*oem);
            let version = (*major, *minor);
            Ok((text.len() >= oem).then_some((Reply::Started { version }, 13 + oem)))
        }
        [0x11, status, rest @ ..] => {
            Ok((rest.len() >= 2).then_some((Reply::NotStarted(*status), 4)))
        }
        [0x14, status, ..] => {
            let Some((kind, payload)) = payload(bytes)? else { return Ok(None) };
            let reply = match (kind, *status) {
                (method::QUERY, 0) => Reply::Methods { digest: payload.contains(&method::DIGEST) },
                (method::DIGEST, 1) => Reply::Challenge(challenge(payload).ok_or(Malformed)?),
                (method::QUERY, _) => Reply::Refused,
                (_, 0) => Reply::Accepted,
                _ => Reply::Refused,
            };
            Ok(Some((reply, 9 + payload.len())))
        }
        _ => Err(Malformed),
    }
}

/// What a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// 0x10: it asks for a service; `None` for one that nobody knows.
    Start(Option<Service>),
    /// 0x12: it is done.
    End,
    /// 0x13: it logs in, by this method.
    Authenticate(u8),
}

/// The first message of what came from a client, and its length. `None` if it is unfinished.
///
/// # Errors
/// It is no message.
pub fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, Malformed> {
    match bytes {
        [] => Ok(None),
        [0x10, ..] => {
            let message = bytes.first_chunk::<8>();
            Ok(message.map(|message| (Request::Start(Service::started_by(*message)), 8)))
        }
        [0x12, ..] => Ok((bytes.len() >= 4).then_some((Request::End, 4))),
        [0x13, ..] => {
            let Some((kind, payload)) = payload(bytes)? else { return Ok(None) };
            Ok(Some((Request::Authenticate(kind), 9 + payload.len())))
        }
        _ => Err(Malformed),
    }
}

/// Method and payload of a whole message of authentication.
fn payload(bytes: &[u8]) -> Result<Option<(u8, &[u8])>, Malformed> {
    let Some(([_, _, _, _, kind, length @ ..], rest)) = bytes.split_first_chunk::<9>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > PAYLOAD_MAX {
        return Err(Malformed);
    }
    Ok(rest.get(..length).map(|payload| (*kind, payload)))
}

fn challenge(mut payload: &[u8]) -> Option<Challenge> {
    let mut text = || {
        let (length, rest) = payload.split_first()?;
        let (text, rest) = rest.split_at_checked(usize::from(*length))?;
        payload = rest;
        std::str::from_utf8(text).ok().map(str::to_owned)
    };
    Some(Challenge { realm: text()?, nonce: text()?, qop: text()? })
}

/// 0x13: which methods are there?
pub fn query() -> Vec<u8> {
    authenticate(method::QUERY, &[])
}

/// 0x13: a login by digest; the texts in the order of the protocol.
pub fn digest(fields: [&str; 8]) -> Vec<u8> {
    let mut payload = Vec::new();
    for field in fields {
        let field = field.as_bytes();
        // Nothing that is logged in with is longer; what were would not be accepted anyway.
        let field = field.get(..255).unwrap_or(field);
        payload.push(field.len() as u8);
        payload.extend_from_slice(field);
    }
    authenticate(method::DIGEST, &payload)
}

fn authenticate(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0x13, 0, 0, 0, kind];
    message.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_reply_is_found_however_it_is_cut() {
        let (started, methods) = (
            &[0x11, 0, 0, 0, 1, 0, 16, 1, 0x57, 1, 0, 0, 2, 9, 9][..],
            &[0x14, 0, 0, 0, 0, 1, 0, 0, 0, 4][..],
        );
        for (bytes, found) in [
            (started, Reply::Started { version: (16, 1) }),
            (methods, Reply::Methods { digest: true }),
            (&[0x14, 0, 0, 0, 0, 2, 0, 0, 0, 1, 3], Reply::Methods { digest: false }),
            (&[0x11, 2, 0, 0], Reply::NotStarted(2)),
            (&[0x14, 0, 0, 0, 4, 0, 0, 0, 0], Reply::Accepted),
            (&[0x14, 1, 0, 0, 1, 0, 0, 0, 0], Reply::Refused),
        ] {
            for end in 0..bytes.len() {
                assert_eq!(reply(&bytes[..end]), Ok(None), "{end} of {bytes:?}");
            }
            let more = [bytes, &[1, 2, 3]].concat();
            assert_eq!(reply(&more), Ok(Some((found, bytes.len()))), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_message_or_claims_too_much_is_refused_at_once() {
        assert_eq!(reply(&[0x40, 0]), Err(Malformed));
        assert_eq!(request(&[0x11]), Err(Malformed));
        let long = [0x14, 0, 0, 0, 4, 0xff, 0xff, 0, 0];
        assert_eq!(reply(&long), Err(Malformed));
        let short = [0x14, 1, 0, 0, 4, 2, 0, 0, 0, 9, 9];
        assert_eq!(reply(&short), Err(Malformed), "a text longer than its message");
    }

    proptest! {
        #[test]
        fn nothing_that_comes_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Some((_, length))) = reply(&bytes) {
                prop_assert!((4..=bytes.len()).contains(&length));
            }
            if let Ok(Some((_, length))) = request(&bytes) {
                prop_assert!((4..=bytes.len()).contains(&length));
            }
        }
    }
}
