//! What a password must be like: `passwordRequirements` of a domain, and the passwords everybody
//! tries first.
//!
//! Source: common.js of MeshCentral for what is counted. It looks common passwords up in a filter
//! of leaked ones; a list short enough to ship is asked here after taking away what people add to a
//! word to please such rules.

use std::fmt;

use crate::config::Domain;

/// Most characters of a password.
pub const PASSWORD_MAX: usize = 256;

/// The rule a password breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It needs that many characters.
    Short(usize),
    /// It may have that many characters.
    Long(usize),
    /// It needs that many capital letters.
    Upper(usize),
    /// It needs that many small letters.
    Lower(usize),
    /// It needs that many digits.
    Digits(usize),
    /// It needs that many characters that are neither letters nor digits.
    Special(usize),
    /// Everybody tries it first.
    Common,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(n) => write!(f, "the password must have {n} characters or more"),
            Self::Long(n) => write!(f, "the password must have {n} characters or fewer"),
            Self::Upper(n) => write!(f, "the password must have {n} capital letters or more"),
            Self::Lower(n) => write!(f, "the password must have {n} small letters or more"),
            Self::Digits(n) => write!(f, "the password must have {n} digits or more"),
            Self::Special(n) => write!(f, "the password must have {n} special characters or more"),
            Self::Common => f.write_str("the password is a common one"),
        }
    }
}

impl std::error::Error for Broken {}

/// Checks a new password against the rules of `domain`.
pub fn check(domain: &Domain, text: &str) -> Result<(), Broken> {
    let rules = &domain.passwords;
    let max = if rules.max == 0 { PASSWORD_MAX } else { rules.max.min(PASSWORD_MAX) };
    // Bytes first: a text of more than four times as many is not counted.
    if text.len() > 4 * PASSWORD_MAX || text.chars().count() > max {
        return Err(Broken::Long(max));
    }
    let min = rules.min.max(1);
    let count = |kind: fn(char) -> bool| text.chars().filter(|c| kind(*c)).count();
    let is_special = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    for (has, needed, broken) in [
        (text.chars().count(), min, Broken::Short as fn(usize) -> Broken),
        (count(|c| c.is_ascii_uppercase()), rules.upper, Broken::Upper),
        (count(|c| c.is_ascii_lowercase()), rules.lower, Broken::Lower),
        (count(|c| c.is_ascii_digit()), rules.numeric, Broken::Digits),
        (count(is_special), rules.nonalpha, Broken::Special),
    ] {
        if has < needed {
            return Err(broken(needed));
        }
    }
    if rules.ban_common && is_common(text) { Err(Broken::Common) } else { Ok(()) }
}

/// Words that are passwords by themselves, or with a year, digits or punctuation at their ends.
const WORDS: &str = "\
    abc abcd abcdef access account admin administrator adobe alexander amanda andrea andrew \
    angel angela anthony apple arsenal ashley asshole austin autumn azerty babygirl bailey \
    banana barcelona baseball basketball batman berlin biteme blink bonjour bubbles buster \
    butterfly changeme charlie cheese chelsea chicken chocolate computer cookie corvette cowboy \
    daniel default demo diamond dolphin donald dragon eagles ferrari flower football freedom \
    friends fuckyou gandalf george ginger google guest guitar hallo hammer hannah harley heather \
    hello hockey hottie hunter iloveyou internet jasmine jennifer jessica jesus jordan joshua \
    junior justin killer lakers letmein liverpool login london lovely loveme maggie manager \
    marina martin master matrix matthew mercedes merlin meshboard meshcentral michael michelle \
    monkey monster mustang nicole nothing number oliver orange pass passport passwd password \
    passwort patrick peanut pepper phoenix pokemon porsche princess purple pussy qazwsx qwe \
    qweasd qweasdzxc qwer qwerty qwertyuiop qwertz rainbow ranger raspberry robert root samantha \
    samsung scooter secret server service shadow silver soccer sophie sparky spring starwars \
    steelers summer sunshine superman support system taylor temp tennis test tester testing \
    thomas thunder tigger trustno user victoria welcome whatever william winner winter xbox \
    yankees yellow zaq zxcvbn zxcvbnm";

/// Rows of keyboards and counting, along which people slide.
const SLIDES: [&str; 7] = [
    "01234567890123456789",
    "98765432109876543210",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
];

/// Whether everybody tries this password, or one of which it is made by habit, first.
fn is_common(text: &str) -> bool {
    let lower = text.to_lowercase();
    let first = lower.chars().next();
    if lower.chars().all(|c| Some(c) == first) || SLIDES.iter().any(|row| row.contains(&lower)) {
        return true;
    }
    let is_added = |c: char| !c.is_alphabetic();
    let bare = lower.trim_matches(is_added);
    let words = [bare.to_owned(), plain(&lower).trim_matches(is_added).to_owned()];
    // "testtest".
    let is_doubled = |word: &str| {
        let halves = word.split_at_checked(word.len() / 2);
        halves.is_some_and(|(first, second)| first == second && is_word(first))
    };
    let is_slide = |word: &str| word.len() >= 3 && SLIDES.iter().any(|row| row.contains(word));
    let is_short_number = lower.len() < 8 && lower.chars().all(|c| c.is_ascii_digit());
    is_short_number || words.iter().any(|w| is_word(w) || is_doubled(w) || is_slide(w))
}

fn is_word(text: &str) -> bool {
    WORDS.split(' ').any(|word| word == text)
}

/// Without the digits and signs that stand for letters.
fn plain(text: &str) -> String {
    let letter = |c| match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    // What stands at the ends is added, not written instead of a letter.
    let added = |c: char| c.is_ascii_digit() || matches!(c, '!' | '$' | '@' | '.' | '?' | '#');
    text.trim_end_matches(added).chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PasswordRules;

    fn domain(passwords: PasswordRules) -> Domain {
        Domain { passwords, ..Domain::default() }
    }

    #[test]
    fn each_rule_is_told_when_it_is_broken() {
        let strict = domain(PasswordRules {
            min: 8,
            max: 12,
            upper: 2,
            lower: 2,
            numeric: 2,
            nonalpha: 1,
            ..PasswordRules::default()
        });
        for (text, outcome) in [
            ("ABcd12!x", Ok(())),
            ("ABcd12!", Err(Broken::Short(8))),
            ("ABcd12!xxxxxx", Err(Broken::Long(12))),
            ("Abcd12!x", Err(Broken::Upper(2))),
            ("ABCDX12!", Err(Broken::Lower(2))),
            ("ABcdef1!", Err(Broken::Digits(2))),
            ("ABcd12_x", Err(Broken::Special(1))),
            ("ABcd12éx", Ok(())),
        ] {
            assert_eq!(check(&strict, text), outcome, "{text}");
        }
    }

    #[test]
    fn without_rules_one_to_256_characters_are_enough() {
        let open = domain(PasswordRules::default());
        let euros = |n| "€".repeat(n);
        assert_eq!(check(&open, ""), Err(Broken::Short(1)));
        assert_eq!(check(&open, "a"), Ok(()));
        assert_eq!(check(&open, &euros(256)), Ok(()));
        assert_eq!(check(&open, &euros(257)), Err(Broken::Long(256)));
        assert_eq!(check(&open, &"x".repeat(1 << 20)), Err(Broken::Long(256)));
    }

    #[test]
    fn what_everybody_tries_first_is_refused_however_it_is_dressed() {
        let banned = domain(PasswordRules { ban_common: true, ..PasswordRules::default() });
        for text in [
            "password",
            "Password1",
            "P@ssw0rd!",
            "123456",
            "123456789",
            "qwerty",
            "Qwerty123",
            "letmein",
            "Summer2024!",
            "aaaaaaaa",
            "111111",
            "1qaz2wsx",
            "abc123",
            "iloveyou",
            "testtest",
            "654321",
            "1990",
            "admin!",
            "trustno1",
            "zaq1",
            "meshcentral",
            "2026winter",
            "asdfgh",
            "qwertzuiop",
        ] {
            assert_eq!(check(&banned, text), Err(Broken::Common), "{text}");
        }
        for text in [
            "Correct-Horse-8",
            "tr4ctor beam",
            "summer rain falls",
            "N3w!passw",
            "8#kQz",
            "pässe",
            "80412395",
            "welcome to the jungle",
        ] {
            assert_eq!(check(&banned, text), Ok(()), "{text}");
        }
        assert_eq!(check(&domain(PasswordRules::default()), "password"), Ok(()), "if it is asked");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_check_panic(text in ".{0,40}") {
            let rules = PasswordRules { ban_common: true, ..PasswordRules::default() };
            let _ = check(&domain(rules), &text);
        }
    }
}
