//! Passwords of the firmware's administrator.

use data_encoding::BASE64;

/// What firmware takes: 8 to 32 characters of ASCII with a digit, a lower-case and an upper-case
/// letter, and one that is neither letter, digit nor underscore.
pub fn is_acceptable(password: &str) -> bool {
    let has = |class: fn(&char) -> bool| password.chars().any(|c| class(&c));
    (8..=32).contains(&password.len())
        && password.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && has(char::is_ascii_digit)
        && has(char::is_ascii_lowercase)
        && has(char::is_ascii_uppercase)
        && has(|c| c.is_ascii_punctuation() && *c != '_')
        // Firmware refuses these three.
        && !password.contains([':', ',', '"'])
}

/// A random one of 24 characters, 140 bits. `None` without randomness.
pub fn random() -> Option<String> {
    // One in four has no character that is neither letter nor digit, or lacks something else.
    for _ in 0..1000 {
        let mut bytes = [0; 18];
        getrandom::fill(&mut bytes).ok()?;
        let password = BASE64.encode(&bytes).replace('/', "@").replace('+', "!");
        if is_acceptable(&password) {
            return Some(password);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_firmware_takes_is_made_and_accepted() {
        let made = random().unwrap();
        assert!(is_acceptable(&made) && made.len() == 24);
        assert_ne!(random().unwrap(), made);
        for (password, expected) in [
            ("P@ssw0rd", true),
            ("yZ@2zMMAY4QW", true),
            ("P@ssw0r", false),
            ("Passw0rd", false),
            ("Passw0rd_", false),
            ("p@ssw0rd", false),
            ("P@SSW0RD", false),
            ("P@ssword", false),
            ("P@ssw0rd:", false),
            ("P@ssw0rdé", false),
            (&"P@ssw0rd".repeat(5), false),
        ] {
            assert_eq!(is_acceptable(password), expected, "{password}");
        }
    }
}
