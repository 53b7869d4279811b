//! Encrypted cookies: how third-party tools log in without a password.
//!
//! A cookie is a JSON object with its creation time, sealed with AES-256-GCM. Text form: standard
//! base64 of IV (12 bytes), tag (16 bytes) and ciphertext, with `+` and `/` written as `@` and `$`.
//! The key is the first 32 of 80 secret bytes; tools are given their hexadecimal form
//! (`meshctrl --loginkey`), so an imported key keeps them working.

use std::net::IpAddr;
use std::time::Duration;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::{Map, Value};

use crate::model::ids::{from_mesh_base64, mesh_base64};
use crate::model::{Seconds, Secret};

/// Name of the secret that seals login and relay cookies.
pub const LOGIN_KEY: &str = "LoginCookieEncryptionKey";
/// Name of the secret that seals agent invitations and device shares.
pub const INVITATION_KEY: &str = "InvitationLinkEncryptionKey";

/// How long `?auth=`, relay and file cookies are good for.
pub const AUTH_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long any other cookie is good for.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(2 * 60);

/// Bytes of a secret; only the first [`KEY_LEN`] are used, as MeshCentral does.
const SECRET_LEN: usize = 80;
const KEY_LEN: usize = 32;
const IV_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// Longest cookie text that is looked at.
const TEXT_MAX: usize = 4096;
/// Longest cookie text that somebody puts into a URL.
const URL_COOKIE_MAX: usize = 1024;
/// How far a cookie's clock may be ahead of ours, in seconds.
const SKEW: i64 = 30;

/// Why a cookie is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieError {
    /// Not base64, too short or too long.
    Malformed,
    /// Sealed with another key, or changed on the way.
    Forged,
    /// Too old, or from the future.
    Expired,
}

impl std::fmt::Display for CookieError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a cookie",
            Self::Forged => "cookie was made with another key",
            Self::Expired => "cookie has expired",
        })
    }
}

impl std::error::Error for CookieError {}

/// Seals and opens cookies.
#[derive(Clone)]
pub struct CookieKey(LessSafeKey);

impl std::fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieKey(..)")
    }
}

impl CookieKey {
    /// The key in `secret`; `None` if it has fewer than 32 bytes.
    pub fn new(secret: &Secret) -> Option<Self> {
        let bytes = secret.bytes.get(..KEY_LEN)?;
        UnboundKey::new(&AES_256_GCM, bytes).ok().map(|key| Self(LessSafeKey::new(key)))
    }

    /// 80 fresh random bytes under `name`.
    pub fn fresh_secret(name: &str) -> Result<Secret, getrandom::Error> {
        let mut bytes = vec![0; SECRET_LEN];
        getrandom::fill(&mut bytes)?;
        Ok(Secret { name: name.to_owned(), bytes })
    }

    /// Seals `fields` with `time` set to `now`. `None` without randomness.
    ///
    /// No cookie has `$$` in it: `meshctrl` puts its cookie into a URL by JavaScript's `replace`,
    /// which makes one `$` of two. One tunnel in twenty would not open.
    pub fn seal(&self, mut fields: Map<String, Value>, now: Seconds) -> Option<String> {
        fields.insert("time".into(), now.0.into());
        let plain = Value::Object(fields).to_string();
        loop {
            let mut iv = [0; IV_LEN];
            getrandom::fill(&mut iv).ok()?;
            let sealed = self.seal_with(iv, plain.clone())?;
            // A long one has them more often than not, and has no such reader.
            if sealed.len() > URL_COOKIE_MAX || !sealed.contains("$$") {
                return Some(sealed);
            }
        }
    }

    fn seal_with(&self, iv: [u8; IV_LEN], plain: String) -> Option<String> {
        let mut body = plain.into_bytes();
        let nonce = Nonce::assume_unique_for_key(iv);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::empty(), &mut body).ok()?;
        let mut text = mesh_base64(&[&iv[..], tag.as_ref(), &body].concat());
        // MeshCentral writes the padding; readers may insist on it.
        text.extend(std::iter::repeat_n('=', text.len().wrapping_neg() % 4));
        Some(text)
    }

    /// Opens a cookie that was made at most `lifetime` ago. A field `expire` (minutes) replaces
    /// `lifetime`; 0 means it is good for ever.
    pub fn open(
        &self,
        text: &str,
        now: Seconds,
        lifetime: Duration,
    ) -> Result<Map<String, Value>, CookieError> {
        if text.len() > TEXT_MAX {
            return Err(CookieError::Malformed);
        }
        let bytes = from_mesh_base64(text).ok_or(CookieError::Malformed)?;
        let (iv, rest) = bytes.split_first_chunk::<IV_LEN>().ok_or(CookieError::Malformed)?;
        let (tag, body) = rest.split_first_chunk::<TAG_LEN>().ok_or(CookieError::Malformed)?;
        let mut sealed = [body, tag].concat();
        let nonce = Nonce::assume_unique_for_key(*iv);
        let plain = self
            .0
            .open_in_place(nonce, Aad::empty(), &mut sealed)
            .map_err(|_| CookieError::Forged)?;
        let fields: Map<String, Value> =
            serde_json::from_slice(plain).map_err(|_| CookieError::Malformed)?;
        if is_current(&fields, now, lifetime) { Ok(fields) } else { Err(CookieError::Expired) }
    }
}

fn is_current(fields: &Map<String, Value>, now: Seconds, lifetime: Duration) -> bool {
    let Some(made) = fields.get("time").and_then(Value::as_i64) else { return false };
    let age = (now.0 as i64).saturating_sub(made);
    let limit = match fields.get("expire") {
        Some(minutes) => match minutes.as_i64() {
            Some(0) => return true,
            Some(minutes) => minutes.saturating_mul(60),
            None => return false,
        },
        None => lifetime.as_secs() as i64,
    };
    (-SKEW..=limit).contains(&age)
}

/// MeshCentral's `cookieIpCheck: lax`: a cookie made for one address may be used from another if
/// both are in the same /24 (IPv4) or /64 (IPv6), or both are private.
pub fn same_neighbourhood(made_for: IpAddr, used_from: IpAddr) -> bool {
    match (made_for.to_canonical(), used_from.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let private = |ip: std::net::Ipv4Addr| ip.is_private() || ip.is_loopback();
            a.octets()[..3] == b.octets()[..3] || (private(a) && private(b))
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let private = |ip: std::net::Ipv6Addr| {
                ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
            };
            a.segments()[..4] == b.segments()[..4] || (private(a) && private(b))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VECTORS: &str = include_str!("../../tests/vectors/control-cookies.json");

    fn key(hex: &str) -> CookieKey {
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        CookieKey::new(&Secret { name: LOGIN_KEY.into(), bytes }).unwrap()
    }

    fn fixed() -> CookieKey {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        key(vectors["fixedKeyHex"].as_str().unwrap())
    }

    #[test]
    fn cookies_are_byte_for_byte_those_of_meshcentral() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        for entry in vectors["fixed"].as_array().unwrap() {
            let (plain, cookie) = (entry["plaintext"].as_str(), entry["cookie"].as_str());
            let iv = data_encoding::HEXLOWER
                .decode(entry["ivHex"].as_str().unwrap().as_bytes())
                .unwrap();
            let sealed = fixed().seal_with(iv.try_into().unwrap(), plain.unwrap().to_owned());
            assert_eq!(sealed.as_deref(), cookie);
            let unpadded = cookie.unwrap().trim_end_matches('=');
            let now = Seconds(1_700_000_010);
            let opened = fixed().open(unpadded, now, DEFAULT_LIFETIME).unwrap();
            assert_eq!(
                Value::Object(opened),
                serde_json::from_str::<Value>(plain.unwrap()).unwrap()
            );
        }
    }

    #[test]
    fn cookies_of_a_live_meshcentral_open_with_its_key() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        for entry in vectors["server"].as_array().unwrap() {
            let hex = match entry["key"].as_str().unwrap() {
                "login" => "loginKeyHex",
                _ => "inviteKeyHex",
            };
            let key = key(vectors[hex].as_str().unwrap());
            let expected: Value = serde_json::from_str(entry["decoded"].as_str().unwrap()).unwrap();
            let made = Seconds(expected["time"].as_u64().unwrap());
            let opened = key.open(entry["cookie"].as_str().unwrap(), made, DEFAULT_LIFETIME);
            assert_eq!(opened.map(Value::Object), Ok(expected), "{}", entry["label"]);
        }
    }

    #[test]
    fn a_cookie_survives_a_replacement_in_javascript() {
        let fields = Map::from_iter([("userid".to_owned(), "user//admin".repeat(10).into())]);
        for _ in 0..2000 {
            let cookie = fixed().seal(fields.clone(), Seconds(5)).unwrap();
            assert!(!cookie.contains("$$"), "{cookie}");
        }
    }

    #[test]
    fn a_cookie_is_good_within_its_time_only() {
        let made = Seconds(1_000_000);
        let cookie = |expire: Option<Value>| {
            let fields = expire.into_iter().map(|v| ("expire".to_owned(), v)).collect();
            fixed().seal(fields, made).unwrap()
        };
        let hour = AUTH_LIFETIME;
        for (expire, offset, good) in [
            (None, 0, true),
            (None, 3600, true),
            (None, 3601, false),
            (None, -30, true),
            (None, -31, false),
            (Some(0.into()), 1_000_000_000, true),
            (Some(1.into()), 60, true),
            (Some(1.into()), 61, false),
            (Some(120.into()), 7200, true),
            (Some("0".into()), 0, false),
        ] {
            let now = Seconds((made.0 as i64 + offset) as u64);
            let opened = fixed().open(&cookie(expire.clone()), now, hour);
            assert_eq!(opened.is_ok(), good, "{expire:?} {offset}");
        }
    }

    #[test]
    fn another_key_opens_nothing() {
        let cookie = fixed().seal(Map::new(), Seconds(5)).unwrap();
        let other = key(&"ab".repeat(80));
        assert_eq!(other.open(&cookie, Seconds(5), AUTH_LIFETIME), Err(CookieError::Forged));
    }

    #[test]
    fn a_cookie_follows_its_owner_through_the_neighbourhood() {
        for (a, b, same) in [
            ("10.1.2.3", "192.168.7.8", true),
            ("127.0.0.1", "10.0.0.1", true),
            ("8.8.8.8", "8.8.8.9", true),
            ("8.8.8.8", "8.8.9.8", false),
            ("8.8.8.8", "10.0.0.1", false),
            ("::ffff:8.8.8.8", "8.8.8.1", true),
            ("2001:db8::1", "2001:db8::2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("8.8.8.8", "2001:db8::1", false),
        ] {
            let verdict = same_neighbourhood(a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(verdict, same, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_opening_panic(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(fixed().open(&text, Seconds(0), AUTH_LIFETIME).is_err());
            prop_assert!(fixed().open(&mesh_base64(&bytes), Seconds(0), AUTH_LIFETIME).is_err());
        }
    }
}
