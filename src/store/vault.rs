//! Passwords of Intel AMT at rest: AES-256-GCM with a key in a file of its own (`amt.key`, 32 bytes,
//! mode 0600), so that `state` alone, or a part of it somebody asks for, gives no computer away.
//!
//! The key is part of a backup. Its loss loses the passwords and nothing else: records that cannot
//! be opened are carried along, and are there again when the file is.
//!
//! The nonce is an HMAC of what is sealed and for whom, so the same password of the same device is
//! always sealed to the same bytes, and no nonce ever serves two texts.

use std::fmt;
use std::io;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

use super::disk::Disk;

/// Name of the file with the key.
pub(super) const FILE: &str = "amt.key";
const FILE_NEW: &str = "amt.key.new";
/// Length of the key in bytes.
const LENGTH: usize = 32;

/// What seals and opens. Without a key it does neither.
pub(super) struct Vault(Lock);

enum Lock {
    Keys(Box<Keys>),
    None,
    /// Nothing is sealed, and what is opened is empty: for looking at files alone.
    Blind,
}

struct Keys {
    seal: LessSafeKey,
    nonce: hmac::Key,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Lock::Keys(_) => "Vault(..)",
            Lock::None => "Vault(none)",
            Lock::Blind => "Vault(blind)",
        })
    }
}

impl Default for Vault {
    /// A key nobody keeps.
    fn default() -> Self {
        let mut key = [0; LENGTH];
        match getrandom::fill(&mut key) {
            Ok(()) => Self::of(&key),
            Err(_) => Self(Lock::None),
        }
    }
}

impl Vault {
    /// With this key, 32 bytes.
    pub(super) fn of(key: &[u8]) -> Self {
        let seal = UnboundKey::new(&AES_256_GCM, key).ok();
        let nonce = hmac::Key::new(hmac::HMAC_SHA256, key);
        Self(seal.map_or(Lock::None, |seal| {
            Lock::Keys(Box::new(Keys { seal: LessSafeKey::new(seal), nonce }))
        }))
    }

    /// For looking at a file without its key.
    pub(super) fn blind() -> Self {
        Self(Lock::Blind)
    }

    fn keys(&self) -> Option<&Keys> {
        match &self.0 {
            Lock::Keys(keys) => Some(keys),
            Lock::None | Lock::Blind => None,
        }
    }

    /// With the key of a folder, if there is one.
    pub(super) fn load(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let mut key = [0; LENGTH + 1];
        match disk.read_at(FILE, 0, &mut key)? {
            LENGTH => Ok(key.get(..LENGTH).map(Self::of)),
            0 => Ok(None),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not 32 bytes long")),
        }
    }

    /// With the key of a folder, made if it is missing. Where that fails nothing is sealed, which
    /// is logged.
    pub(super) fn load_or_make(disk: &dyn Disk) -> Self {
        match Self::load(disk).and_then(|found| found.map_or_else(|| Self::make(disk), Ok)) {
            Ok(vault) => vault,
            Err(error) => {
                log::error!("{FILE}: {error}; passwords of Intel AMT are not kept");
                Self(Lock::None)
            }
        }
    }

    fn make(disk: &dyn Disk) -> io::Result<Self> {
        let mut key = [0; LENGTH];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        disk.remove(FILE_NEW)?;
        disk.write_at(FILE_NEW, 0, &key)?;
        disk.sync(FILE_NEW)?;
        disk.rename(FILE_NEW, FILE)?;
        disk.sync_folder()?;
        Ok(Self::of(&key))
    }

    /// Seals a text that belongs to `owner`; `None` without a key.
    pub(super) fn seal(&self, owner: &str, text: &str) -> Option<Vec<u8>> {
        let keys = self.keys()?;
        let mut context = hmac::Context::with_key(&keys.nonce);
        for part in [owner.as_bytes(), &[0], text.as_bytes()] {
            context.update(part);
        }
        let tag = context.sign();
        let nonce: [u8; NONCE_LEN] = tag.as_ref().get(..NONCE_LEN)?.try_into().ok()?;
        let mut bytes = text.as_bytes().to_vec();
        let (aad, nonce_used) = (Aad::from(owner.as_bytes()), Nonce::assume_unique_for_key(nonce));
        keys.seal.seal_in_place_append_tag(nonce_used, aad, &mut bytes).ok()?;
        Some([&nonce[..], &bytes].concat())
    }

    /// Opens what [`Self::seal`] made for the same owner; `None` if it is anything else.
    pub(super) fn open(&self, owner: &str, sealed: &[u8]) -> Option<String> {
        if matches!(self.0, Lock::Blind) {
            return Some(String::new());
        }
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut rest = rest.to_vec();
        let (aad, nonce) = (Aad::from(owner.as_bytes()), Nonce::assume_unique_for_key(*nonce));
        let text = self.keys()?.seal.open_in_place(nonce, aad, &mut rest).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_for_the_same_owner_only() {
        let (vault, other) = (Vault::of(&[7; LENGTH]), Vault::of(&[8; LENGTH]));
        for text in ["", "P@ssw0rd", "Straße 9"] {
            let sealed = vault.seal("node//a", text).unwrap();
            assert_eq!(vault.seal("node//a", text).unwrap(), sealed);
            assert_ne!(vault.seal("node//b", text).unwrap(), sealed);
            assert_eq!(vault.open("node//a", &sealed).as_deref(), Some(text));
            assert_eq!(vault.open("node//b", &sealed), None);
            assert_eq!(other.open("node//a", &sealed), None);
            for at in 0..sealed.len() {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1;
                assert_eq!(vault.open("node//a", &damaged), None);
                assert_eq!(vault.open("node//a", &sealed[..at]), None);
            }
        }
        assert!(Vault::of(b"short").seal("node//a", "x").is_none());
    }
}
