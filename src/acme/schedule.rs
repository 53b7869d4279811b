//! When a certificate is asked for: pure values in, a verdict out.
//!
//! After two thirds of its life, a little earlier by chance, so that not every server in the world
//! asks at the same moment. Never by a clock that cannot be right: a board in 1970 would find every
//! certificate good, or after a jump all of them expired.

use std::time::Duration;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::model::Millis;

/// How often is looked at least: clocks jump, settings change.
pub(super) const LOOK: Duration = Duration::from_secs(60);
/// Longest wait: the same.
const LOOK_MAX: Duration = Duration::from_secs(3600);
/// 2026-01-01: no clock before this program was written is right.
const WRITTEN: Millis = Millis(1_767_225_600_000);
/// First wait after a failure, in seconds. Let's Encrypt takes five failures an hour.
const AGAIN: f64 = 900.0;
/// Longest.
const AGAIN_MAX: f64 = 86_400.0;

/// What matters of the certificate in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certificate {
    /// Not one that an authority gave for these names.
    Unfit,
    /// Good, for that long.
    Fit { from: Millis, until: Millis },
}

impl Certificate {
    /// Of `der`; `is_issued` if the authority that is configured gave the last one.
    pub(super) fn of(der: &[u8], names: &[String], is_issued: bool) -> Self {
        let Ok((_, parsed)) = X509Certificate::from_der(der) else { return Self::Unfit };
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        let covers = |name: &String| {
            alternatives.as_ref().is_some_and(|alternatives| {
                let mut all = alternatives.value.general_names.iter();
                all.any(
                    |n| matches!(n, GeneralName::DNSName(dns) if dns.eq_ignore_ascii_case(name)),
                )
            })
        };
        // One of our own making covers names, too.
        let is_own = parsed.issuer() == parsed.subject();
        if is_own || !is_issued || !names.iter().all(covers) {
            return Self::Unfit;
        }
        let millis = |seconds: i64| Millis(u64::try_from(seconds).unwrap_or(0) * 1000);
        let validity = parsed.validity();
        Self::Fit {
            from: millis(validity.not_before.timestamp()),
            until: millis(validity.not_after.timestamp()),
        }
    }
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Ask for a certificate.
    Ask,
    /// Look again later.
    Wait(Duration),
}

/// Judges by the clock, which must not be before `floor`. `jitter` is from 0 to 1.
pub(super) fn verdict(current: &Certificate, now: Millis, floor: Millis, jitter: f64) -> Verdict {
    if now < WRITTEN || now < floor {
        return Verdict::Wait(LOOK);
    }
    let Certificate::Fit { from, until } = *current else { return Verdict::Ask };
    let life = until.0.saturating_sub(from.0);
    // Up to a thirtieth of its life before two thirds of it: three days of ninety.
    let early = (life as f64 / 30.0 * jitter) as u64;
    let due = from.0.saturating_add(life / 3 * 2).saturating_sub(early);
    match due.saturating_sub(now.0) {
        0 => Verdict::Ask,
        left => Verdict::Wait(Duration::from_millis(left).min(LOOK_MAX)),
    }
}

/// Orders in a row that failed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures(u32);

impl Failures {
    /// How many.
    pub(super) fn count(self) -> u32 {
        self.0
    }

    /// One more. Returns how long to wait: a quarter of an hour, twice as long each time, a day at
    /// most, and up to a quarter more by chance.
    pub(super) fn next(&mut self, jitter: f64) -> Duration {
        let wait = (AGAIN * f64::from(1 << self.0.min(16))).min(AGAIN_MAX);
        self.0 = self.0.saturating_add(1);
        Duration::from_secs_f64(wait * (1.0 + jitter / 4.0))
    }
}

/// A number from 0 to 1 that differs from server to server.
pub(super) fn jitter() -> f64 {
    let mut byte = [0; 4];
    match getrandom::fill(&mut byte) {
        Ok(()) => f64::from(u32::from_le_bytes(byte)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;
    const NOW: u64 = WRITTEN.0 + 100 * DAY;

    fn of(from: u64, days: u64) -> Certificate {
        Certificate::Fit { from: Millis(from), until: Millis(from + days * DAY) }
    }

    #[test]
    fn it_is_asked_for_after_two_thirds_of_its_life_or_a_little_before() {
        for (age, jitter, asks) in
            [(0, 0.0, false), (59, 0.0, false), (60, 0.0, true), (57, 1.0, true), (56, 1.0, false)]
        {
            let current = of(NOW - age * DAY, 90);
            let verdict = verdict(&current, Millis(NOW), Millis(0), jitter);
            assert_eq!(verdict == Verdict::Ask, asks, "{age} days, {jitter}");
        }
        let soon = verdict(&of(NOW - 60 * DAY + 5000, 90), Millis(NOW), Millis(0), 0.0);
        assert_eq!(soon, Verdict::Wait(Duration::from_secs(5)));
        let late = verdict(&of(NOW, 90), Millis(NOW), Millis(0), 0.0);
        assert_eq!(late, Verdict::Wait(LOOK_MAX), "clocks jump");
    }

    #[test]
    fn nothing_is_asked_for_by_a_clock_that_is_wrong() {
        for (now, floor) in [(0, 0), (86_400_000, 0), (WRITTEN.0 - 1, 0), (NOW, NOW + 1)] {
            let verdict = verdict(&Certificate::Unfit, Millis(now), Millis(floor), 0.5);
            assert_eq!(verdict, Verdict::Wait(LOOK), "{now} {floor}");
        }
        let verdict = verdict(&Certificate::Unfit, Millis(NOW), Millis(NOW), 0.5);
        assert_eq!(verdict, Verdict::Ask);
    }

    #[test]
    fn who_is_refused_asks_ever_less_often() {
        let mut failures = Failures::default();
        let waits: Vec<_> = (0..9).map(|_| failures.next(0.0).as_secs()).collect();
        assert_eq!(waits, [900, 1800, 3600, 7200, 14_400, 28_800, 57_600, 86_400, 86_400]);
        assert_eq!(failures.count(), 9);
        assert_eq!(Failures::default().next(1.0).as_secs(), 1125);
        assert!((0.0..=1.0).contains(&jitter()));
    }

    #[test]
    fn a_certificate_fits_if_the_authority_gave_it_for_all_names() {
        use rcgen::{CertificateParams, Issuer, KeyPair};
        let names = ["a.example.com".to_owned(), "b.example.com".to_owned()];
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(vec![]).unwrap();
        authority.distinguished_name.push(rcgen::DnType::CommonName, "authority");
        let issuer = Issuer::new(authority, KeyPair::generate().unwrap());
        let params = CertificateParams::new(names.to_vec()).unwrap();
        let issued = params.signed_by(&key, &issuer).unwrap();
        let own = params.self_signed(&key).unwrap();
        let is_fit = |der: &[u8], names: &[String], issued| {
            matches!(Certificate::of(der, names, issued), Certificate::Fit { .. })
        };
        assert!(is_fit(issued.der(), &names, true));
        assert!(is_fit(issued.der(), &["B.example.com".to_owned()], true));
        assert!(!is_fit(issued.der(), &names, false), "trials are over");
        assert!(!is_fit(issued.der(), &["c.example.com".to_owned()], true));
        assert!(!is_fit(own.der(), &names, true));
        assert!(!is_fit(b"nonsense", &names, true));
    }
}
