//! Time-based one-time passwords (RFC 6238) as authenticator apps make them: HMAC-SHA-1, steps of
//! 30 seconds since 1970, six digits.
//!
//! Pure: what counts as "now", which steps are still good and which were used is the caller's.

use data_encoding::BASE32_NOPAD;
use ring::hmac;

use crate::model::Seconds;

/// Seconds of one step.
const STEP: u64 = 30;
/// Bytes of a fresh secret: what RFC 4226 recommends.
const SECRET_LEN: usize = 20;
/// Bytes a secret may have: 10 is what MeshCentral makes.
const SECRET_LENGTHS: std::ops::RangeInclusive<usize> = 10..=64;

/// The step a moment belongs to.
pub fn step(now: Seconds) -> u64 {
    now.0 / STEP
}

/// The code of a step, 0 to 999,999.
pub fn code(secret: &[u8], step: u64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    // RFC 4226 §5.3: the last four bits say where the 31 bits are taken from.
    let at = usize::from(tag.last().copied().unwrap_or_default() & 0x0f);
    let word = tag.get(at..at + 4).and_then(|four| <[u8; 4]>::try_from(four).ok());
    (u32::from_be_bytes(word.unwrap_or_default()) & 0x7fff_ffff) % 1_000_000
}

/// A fresh secret of 20 random bytes. `None` without randomness.
pub fn fresh_secret() -> Option<Vec<u8>> {
    let mut secret = vec![0; SECRET_LEN];
    getrandom::fill(&mut secret).ok()?;
    Some(secret)
}

/// A secret as people type it into an app: base32 without padding.
pub fn secret_text(secret: &[u8]) -> String {
    BASE32_NOPAD.encode(secret)
}

/// The secret in a text, which may have blanks and padding and be in either case. `None` unless it
/// has 10 to 64 bytes.
pub fn parse_secret(text: &str) -> Option<Vec<u8>> {
    // The longest good one, with a blank after every fourth character.
    if text.len() > 160 {
        return None;
    }
    let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '=')).collect::<String>();
    let secret = BASE32_NOPAD.decode(plain.to_ascii_uppercase().as_bytes()).ok()?;
    SECRET_LENGTHS.contains(&secret.len()).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_are_those_of_the_rfc_and_of_meshcentral() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/control-password.json"))
                .unwrap();
        for entry in vectors["totp"].as_array().unwrap() {
            let secret = parse_secret(entry["secret_base32"].as_str().unwrap()).unwrap();
            let now = Seconds(entry["unix_time"].as_u64().unwrap());
            let expected: u32 = entry["code"].as_str().unwrap().parse().unwrap();
            assert_eq!(code(&secret, step(now)), expected);
        }
        // RFC 6238, appendix B, cut to six digits.
        for (time, expected) in [(59, 287_082), (1_111_111_109, 81_804), (20_000_000_000, 353_130)]
        {
            assert_eq!(code(b"12345678901234567890", step(Seconds(time))), expected, "{time}");
        }
    }

    #[test]
    fn a_secret_is_read_as_people_type_it_and_must_be_long_enough() {
        let secret = fresh_secret().unwrap();
        let text = secret_text(&secret);
        assert_eq!(text.len(), 32);
        let spaced: Vec<_> = text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
        for written in [text.clone(), text.to_lowercase(), spaced.join(" "), format!("{text}====")]
        {
            assert_eq!(parse_secret(&written), Some(secret.clone()), "{written}");
        }
        assert!(parse_secret("KE4EMUCUOEMRQ22R").is_some());
        let too_long = "A".repeat(1 << 20);
        for bad in ["", "A", "KE4EMUCUOEMRQ2", "KE4EMUCUOEMRQ22!", &too_long] {
            assert_eq!(parse_secret(bad), None);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_a_secret_panic(text in ".{0,200}") {
            if let Some(secret) = parse_secret(&text) {
                prop_assert!(code(&secret, u64::MAX) < 1_000_000);
            }
        }
    }
}
