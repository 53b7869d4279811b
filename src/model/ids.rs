//! Identifiers as MeshCentral writes them: `node/<domain>/<64 characters>` and its siblings.
//!
//! The 64 characters are the standard base64 of 48 bytes with `+` and `/` replaced by `@` and `$`.
//! A node id is the SHA-384 of the agent's PKCS#1 public key; group ids are random.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// Base64 with `@` for 62 and `$` for 63, without padding: MeshCentral's alphabet for ids.
static MESH_BASE64: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@$");
    spec.encoding().expect("a constant alphabet of 64 distinct symbols")
});

/// Encodes any bytes with MeshCentral's base64 alphabet (`@`, `$`), without padding.
pub fn mesh_base64(bytes: &[u8]) -> String {
    MESH_BASE64.encode(bytes)
}

/// Decodes MeshCentral's base64 alphabet; trailing `=` padding is accepted and ignored.
pub fn from_mesh_base64(text: &str) -> Option<Vec<u8>> {
    MESH_BASE64.decode(text.trim_end_matches('=').as_bytes()).ok()
}

/// Why a text is not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdError {
    /// The prefix (`node/`, `mesh/`, `user/`, `ugrp/`) is missing or of another kind.
    Prefix,
    /// The domain contains a blank or is longer than [`DomainId::MAX`] bytes.
    Domain,
    /// The last part is not 64 characters of MeshCentral's base64 alphabet.
    Key,
    /// The user name is empty, too long or has a forbidden character.
    Name,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefix => "identifier has the wrong prefix",
            Self::Domain => "identifier has an invalid domain",
            Self::Key => "identifier must end in 64 characters of the mesh base64 alphabet",
            Self::Name => "invalid user name",
        })
    }
}

impl std::error::Error for IdError {}

/// A tenant. The default domain is the empty text, so its ids look like `node//…`.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DomainId(Box<str>);

impl DomainId {
    /// Longest domain id in bytes.
    pub const MAX: usize = 64;

    /// Parses a domain id: lower case, no blank, no `/`, at most [`Self::MAX`] bytes.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let ok = text.len() <= Self::MAX
            && !text.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
        if ok { Ok(Self(text.to_lowercase().into())) } else { Err(IdError::Domain) }
    }

    /// The domain as text, empty for the default domain.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the default domain.
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

// Every look into a table of devices or groups compares ids, most of them of the default domain: the
// next two decide without a call into the C library wherever they can.
impl Ord for DomainId {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_default(), other.is_default()) {
            (true, true) => Ordering::Equal,
            _ => self.0.cmp(&other.0),
        }
    }
}

impl PartialOrd for DomainId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// 48 bytes: a SHA-384 digest or a random id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key48(#[serde(with = "serde_bytes")] pub [u8; 48]);

impl Key48 {
    /// All bytes zero; never a valid id on the wire, but a marker in several messages.
    pub const ZERO: Self = Self([0; 48]);

    /// The 64-character text form.
    pub fn text(&self) -> String {
        mesh_base64(&self.0)
    }

    /// 96 upper-case hexadecimal digits, as in `.msh` files.
    pub fn hex(&self) -> String {
        data_encoding::HEXUPPER.encode(&self.0)
    }

    /// Parses the 64-character text form.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        // Length first: a hostile text is never decoded into a large buffer.
        if text.len() != 64 {
            return Err(IdError::Key);
        }
        let bytes = MESH_BASE64.decode(text.as_bytes()).map_err(|_| IdError::Key)?;
        Ok(Self(bytes.try_into().map_err(|_| IdError::Key)?))
    }

    /// The first 48 bytes of `bytes`, if there are that many.
    pub fn from_prefix(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk::<48>().map(|b| Self(*b))
    }
}

impl Key48 {
    /// The first eight bytes as a number of the same order; keys that differ mostly differ here.
    fn head(&self) -> u64 {
        let (head, _) = self.0.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        u64::from_be_bytes(*head)
    }
}

impl Ord for Key48 {
    fn cmp(&self, other: &Self) -> Ordering {
        self.head().cmp(&other.head()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Key48 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The text form, without an allocation: lists of a thousand devices are full of ids.
impl fmt::Display for Key48 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 64];
        MESH_BASE64.encode_mut(&self.0, &mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Key48 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! keyed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name {
            /// The tenant this id belongs to; ids never cross domains.
            pub domain: DomainId,
            /// The 48 bytes that name it inside the domain.
            pub key: Key48,
        }

        impl $name {
            /// The kind word before the first slash.
            pub const PREFIX: &'static str = $prefix;

            /// Joins a domain and a key.
            pub fn new(domain: DomainId, key: Key48) -> Self {
                Self { domain, key }
            }

            /// Parses a full id, or a short one (the bare 64 characters) inside `domain`.
            /// A full id of another domain is refused.
            pub fn parse_in(domain: &DomainId, text: &str) -> Result<Self, IdError> {
                if !text.contains('/') {
                    return Ok(Self::new(domain.clone(), Key48::parse(text)?));
                }
                let id: Self = text.parse()?;
                if id.domain == *domain { Ok(id) } else { Err(IdError::Domain) }
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let rest = text.strip_prefix(concat!($prefix, "/")).ok_or(IdError::Prefix)?;
                let (domain, key) = rest.split_once('/').ok_or(IdError::Domain)?;
                Ok(Self::new(DomainId::new(domain)?, Key48::parse(key)?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "/{}/{}"), self.domain, self.key)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

keyed_id!(
    /// A device: SHA-384 of the agent certificate's PKCS#1 public key.
    NodeId,
    "node"
);
keyed_id!(
    /// A device group ("mesh"): random.
    GroupId,
    "mesh"
);
keyed_id!(
    /// A user group: random.
    UserGroupId,
    "ugrp"
);

/// An account: `user/<domain>/<lower-cased name>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UserId {
    /// The tenant of the account.
    pub domain: DomainId,
    name: Box<str>,
}

impl UserId {
    /// Longest user name in characters.
    pub const MAX: usize = 256;

    /// Makes an id from a user name; the name is lower-cased. Refuses names of more than
    /// [`Self::MAX`] characters, blanks, control characters, `"`, `,`, `/` and a leading `~`.
    pub fn new(domain: DomainId, name: &str) -> Result<Self, IdError> {
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | ',' | '/');
        if name.is_empty()
            || name.chars().count() > Self::MAX
            || name.starts_with('~')
            || name.contains(bad)
        {
            return Err(IdError::Name);
        }
        Ok(Self { domain, name: name.to_lowercase().into() })
    }

    /// The lower-cased name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Parses a full id, or a bare name inside `domain`; an id of another domain is refused.
    pub fn parse_in(domain: &DomainId, text: &str) -> Result<Self, IdError> {
        if !text.contains('/') {
            return Self::new(domain.clone(), text);
        }
        let id: Self = text.parse()?;
        if id.domain == *domain { Ok(id) } else { Err(IdError::Domain) }
    }
}

impl FromStr for UserId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let rest = text.strip_prefix("user/").ok_or(IdError::Prefix)?;
        let (domain, name) = rest.split_once('/').ok_or(IdError::Domain)?;
        Self::new(DomainId::new(domain)?, name)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user/{}/{}", self.domain, self.name)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One login of a user as agents see it: `user/<domain>/<name>/<40 hex digits>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// Who is logged in.
    pub user: UserId,
    /// 20 random bytes.
    pub nonce: [u8; 20],
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, data_encoding::HEXLOWER.encode(&self.nonce))
    }
}

impl FromStr for SessionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (user, nonce) = text.rsplit_once('/').ok_or(IdError::Prefix)?;
        if nonce.len() != 40 {
            return Err(IdError::Key);
        }
        let nonce = data_encoding::HEXLOWER_PERMISSIVE.decode(nonce.as_bytes());
        let nonce = nonce.ok().and_then(|n| n.try_into().ok()).ok_or(IdError::Key)?;
        Ok(Self { user: user.parse()?, nonce })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_survive_text() {
        let key = Key48(std::array::from_fn(|i| (i * 5 + 3) as u8));
        for domain in ["", "customer1"] {
            let id = NodeId::new(DomainId::new(domain).unwrap(), key);
            assert_eq!(id.to_string().parse::<NodeId>(), Ok(id.clone()));
            assert_eq!(NodeId::parse_in(&id.domain, &key.text()), Ok(id));
        }
    }

    proptest! {
        #[test]
        fn ids_are_in_the_order_of_their_bytes(
            left in ("[a-b]{0,2}", any::<[u8; 3]>(), 0usize..46),
            right in ("[a-b]{0,2}", any::<[u8; 3]>(), 0usize..46),
        ) {
            // Keys that differ in three bytes anywhere.
            let id = |(domain, bytes, at): (String, [u8; 3], usize)| {
                let mut key = [7; 48];
                key[at..at + 3].copy_from_slice(&bytes);
                NodeId::new(DomainId::new(&domain).unwrap(), Key48(key))
            };
            let (left, right) = (id(left), id(right));
            let bytes = |id: &NodeId| (id.domain.as_str().to_owned(), id.key.0);
            prop_assert_eq!(left.cmp(&right), bytes(&left).cmp(&bytes(&right)));
        }
    }

    #[test]
    fn session_ids_survive_text() {
        let user = UserId::new(DomainId::default(), "bob").unwrap();
        let id = SessionId { user, nonce: std::array::from_fn(|i| i as u8 * 9) };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in
            ["user//bob", "user//bob/00", "x", "user//bob/g000000000000000000000000000000000000000"]
        {
            assert!(text.parse::<SessionId>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_id_of_another_domain_is_refused() {
        let id = NodeId::new(DomainId::new("a").unwrap(), Key48([9; 48]));
        assert_eq!(NodeId::parse_in(&DomainId::default(), &id.to_string()), Err(IdError::Domain));
    }

    #[test]
    fn malformed_ids_are_errors() {
        for text in ["", "node/", "node//", "node//short", "mesh//x", "node//é", "user/"] {
            assert!(text.parse::<NodeId>().is_err(), "{text:?}");
        }
        for name in ["", "~t:x", "a b", "a/b", "a,b", "a\"b", "a\u{1}"] {
            assert_eq!(UserId::new(DomainId::default(), name), Err(IdError::Name), "{name:?}");
        }
    }

    #[test]
    fn user_names_are_lower_cased() {
        let id = UserId::new(DomainId::default(), "AdMin").unwrap();
        assert_eq!(id.to_string(), "user//admin");
    }
}
