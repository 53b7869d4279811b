//! Second factors: does this token go with these factors?
//!
//! Pure: records and a moment in, a verdict and the changed record out; the caller keeps it before
//! it believes the verdict. Source: control-protocol §2.4. Six digits are a code of the
//! authenticator app, eight a backup code. A code works once: of an app's codes only those of newer
//! steps than the last one used are good.

use crate::config::FactorRules;
use crate::identity::totp;
use crate::model::access::{BackupCode, Totp};
use crate::model::{Factors, Seconds};

/// Steps of 30 seconds an app's clock may be wrong, either way.
const WINDOW: u64 = 2;
/// Backup codes in a set.
const CODES: usize = 10;
/// What clients send instead of a code when they want one sent by e-mail, text message, ….
const SEND_ME: [&str; 5] = ["**email**", "**sms**", "**msg**", "**push**", "**duo**"];

/// What a token proves.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// It is good and used up: the record as it has to be kept from now on.
    Passed(Factors),
    /// It is a guess, or was used before.
    Wrong,
    /// There is none, or it asks for a code to be sent, which nobody here does.
    Needed,
}

/// Which ways an account has to prove more than its password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// A code of an authenticator app.
    pub app: bool,
    /// A backup code.
    pub backup: bool,
    /// A security key.
    pub key: bool,
    /// Days a device may be remembered; 0: it cannot be.
    pub remember_days: u32,
}

impl Ways {
    /// The ways of an account with `factors`.
    pub fn of(factors: &Factors, rules: &FactorRules) -> Self {
        let unused = factors.backup_codes.iter().any(|code| !code.used);
        Self {
            app: factors.totp.is_some(),
            backup: rules.backup_codes && unused,
            key: !factors.security_keys.is_empty(),
            remember_days: rules.remember_days,
        }
    }
}

/// Checks `token` against `factors`.
pub fn check(factors: &Factors, token: Option<&str>, rules: &FactorRules, now: Seconds) -> Check {
    let Some(token) = token.map(str::trim).filter(|token| !token.is_empty()) else {
        return Check::Needed;
    };
    if SEND_ME.contains(&token) {
        return Check::Needed;
    }
    let number = || token.bytes().all(|b| b.is_ascii_digit()).then(|| token.parse().ok()).flatten();
    let passed = match (token.len(), number()) {
        (6, Some(code)) => with_app(factors, code, now),
        (8, Some(code)) if rules.backup_codes => with_backup_code(factors, code),
        _ => None,
    };
    passed.map_or(Check::Wrong, Check::Passed)
}

fn with_app(factors: &Factors, code: u32, now: Seconds) -> Option<Factors> {
    let used = factors.totp.as_ref()?;
    let totp = accept(used, code, now)?;
    Some(Factors { totp: Some(totp), ..factors.clone() })
}

/// The app after `code` was used; `None` if that is no code of these minutes, or an old one.
fn accept(app: &Totp, code: u32, now: Seconds) -> Option<Totp> {
    let current = totp::step(now);
    let (first, last) = (current.saturating_sub(WINDOW), current + WINDOW);
    // A step in the future was used while the board's clock was wrong. It must not lock the owner
    // out until then, and a code of these minutes it was not.
    let used = if app.last_step > last { 0 } else { app.last_step };
    let step =
        (first..=last).find(|step| *step > used && totp::code(&app.secret, *step) == code)?;
    Some(Totp { secret: app.secret.clone(), last_step: step })
}

fn with_backup_code(factors: &Factors, number: u32) -> Option<Factors> {
    let is_it = |code: &BackupCode| code.number == number && !code.used;
    let at = factors.backup_codes.iter().position(is_it)?;
    let mut factors = factors.clone();
    factors.backup_codes.get_mut(at)?.used = true;
    Some(factors)
}

/// An authenticator app with this secret, if `token` shows that it has been set up.
pub fn set_up(secret: Vec<u8>, token: &str, now: Seconds) -> Option<Totp> {
    let token = token.trim();
    let digits = token.len() == 6 && token.bytes().all(|b| b.is_ascii_digit());
    let code = token.parse().ok().filter(|_| digits)?;
    accept(&Totp { secret, last_step: 0 }, code, now)
}

/// Ten fresh backup codes, all different. `None` without randomness.
pub fn fresh_backup_codes() -> Option<Vec<BackupCode>> {
    /// The largest multiple of 10^8 below 2^32: beyond, some codes would be likelier than others.
    const FAIR: u32 = u32::MAX - u32::MAX % 100_000_000;
    let mut codes: Vec<BackupCode> = Vec::with_capacity(CODES);
    while codes.len() < CODES {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).ok()?;
        let random = u32::from_be_bytes(bytes);
        let number = random % 100_000_000;
        if random < FAIR && codes.iter().all(|code| code.number != number) {
            codes.push(BackupCode { number, used: false });
        }
    }
    Some(codes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DomainId, UserId};
    use proptest::prelude::*;

    const NOW: Seconds = Seconds(1_795_325_020);

    fn bob() -> Factors {
        let secret = totp::parse_secret("KE4EMUCUOEMRQ22R").unwrap();
        let codes = [74_045_227, 285_594].map(|number| BackupCode { number, used: false });
        Factors {
            totp: Some(Totp { secret, last_step: 0 }),
            backup_codes: codes.to_vec(),
            ..Factors::new(UserId::new(DomainId::default(), "bob").unwrap())
        }
    }

    fn try_at(factors: &Factors, token: &str, seconds: i64) -> Check {
        let now = Seconds(NOW.0.saturating_add_signed(seconds));
        check(factors, Some(token), &FactorRules::default(), now)
    }

    #[test]
    fn a_code_of_the_app_is_good_for_a_minute_either_way() {
        // 143424 is the code of 1,795,325,020, the 10th second of its step.
        for (offset, good) in
            [(0, true), (60, true), (79, true), (80, false), (90, false), (-70, true), (-71, false)]
        {
            let passed = matches!(try_at(&bob(), "143424", offset), Check::Passed(_));
            assert_eq!(passed, good, "{offset} s later");
        }
    }

    #[test]
    fn a_code_works_once_and_older_ones_no_more() {
        let Check::Passed(bob) = try_at(&bob(), " 143424 ", 0) else { panic!("a good code") };
        assert_eq!(try_at(&bob, "143424", 0), Check::Wrong, "replayed");
        assert_eq!(try_at(&bob, "059134", 0), Check::Wrong, "the one before");
        assert!(matches!(try_at(&bob, "588805", 0), Check::Passed(_)), "the one after");
    }

    #[test]
    fn a_step_used_while_the_clock_was_wrong_locks_nobody_out() {
        let mut bob = bob();
        bob.totp.as_mut().unwrap().last_step = totp::step(Seconds(2_145_916_800));
        let Check::Passed(bob) = try_at(&bob, "143424", 0) else { panic!("the owner is back") };
        assert_eq!(try_at(&bob, "143424", 0), Check::Wrong);
    }

    #[test]
    fn a_backup_code_works_once_with_its_zeros() {
        let Check::Passed(after) = try_at(&bob(), "00285594", 0) else { panic!("a good code") };
        assert_eq!(try_at(&after, "00285594", 0), Check::Wrong);
        assert!(matches!(try_at(&after, "74045227", 0), Check::Passed(_)));
        let rules = FactorRules { backup_codes: false, ..FactorRules::default() };
        assert_eq!(check(&bob(), Some("74045227"), &rules, NOW), Check::Wrong, "switched off");
    }

    #[test]
    fn what_is_no_code_is_a_guess_and_what_asks_for_one_is_none() {
        for token in ["1", "14342", "1434241", "285594", "14342x", "+14342", "١٤٣٤٢٤", "cookie=x"]
        {
            assert_eq!(try_at(&bob(), token, 0), Check::Wrong, "{token}");
        }
        for token in ["", "  ", "**email**", "**sms**", "**msg**"] {
            assert_eq!(try_at(&bob(), token, 0), Check::Needed, "{token}");
        }
        assert_eq!(check(&bob(), None, &FactorRules::default(), NOW), Check::Needed);
    }

    #[test]
    fn setting_up_uses_the_code_up() {
        let secret = bob().totp.unwrap().secret;
        assert_eq!(set_up(secret.clone(), "143425", NOW), None);
        let totp = set_up(secret, "143424", NOW).unwrap();
        let bob = Factors { totp: Some(totp), ..bob() };
        assert_eq!(try_at(&bob, "143424", 0), Check::Wrong);
    }

    #[test]
    fn backup_codes_are_ten_and_differ() {
        let codes = fresh_backup_codes().unwrap();
        let mut numbers: Vec<_> = codes.iter().map(|code| code.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), CODES);
        assert!(codes.iter().all(|code| !code.used && code.number < 100_000_000));
    }

    proptest! {
        #[test]
        fn no_token_makes_the_check_panic(token in ".{0,12}", now: u64) {
            let now = Seconds(now / 2);
            let _ = check(&bob(), Some(&token), &FactorRules::default(), now);
        }
    }
}
