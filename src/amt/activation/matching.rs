//! Which certificate a computer can be activated with, and if none, why not.
//!
//! The reasons are MeshCentral's, word for word: people search for them.

use std::fmt;
use std::sync::Arc;

use super::certificate::{Certificate, day, names};
use super::state::State;
use crate::model::Millis;

/// A certificate the firmware should accept.
#[derive(Clone, Debug)]
pub struct Match {
    /// The certificate.
    pub certificate: Arc<Certificate>,
    /// The hash by which the firmware knows its root, lower-case hex.
    pub hash: String,
    /// What kind of hash: `sha256`, `sha384`, `sha1`.
    pub kind: &'static str,
    /// The DNS suffix of the computer.
    pub suffix: String,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoMatch {
    /// The server has no certificates.
    NoCertificates,
    /// The computer has not said whom it trusts.
    NoHashes,
    /// It has no DNS suffix.
    NoSuffix,
    /// It trusts nobody: all roots are switched off.
    NothingTrusted(String),
    /// It does not trust the root of the certificates for this suffix.
    OtherRoots(String),
    /// No certificate is for this suffix.
    OtherNames(String),
    /// The certificate has ended; its last day, and today.
    Expired(String, String, String),
}

impl fmt::Display for NoMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificates => {
                f.write_str("Server does not have any ACM activation certificates.")
            }
            Self::NoHashes => f.write_str("Intel AMT did not report any trusted hashes."),
            Self::NoSuffix => f.write_str(
                "No trusted DNS suffix reported. The network has to give one by DHCP (option 15) on \
                 a wired interface, or it has to be entered in MEBx or by a setup.bin file.",
            ),
            Self::NothingTrusted(suffix) => {
                write!(f, "Intel AMT has no trusted root hashes for \"{suffix}\".")
            }
            Self::OtherRoots(suffix) => {
                write!(f, "Certificate root hash matching failed for \"{suffix}\".")
            }
            Self::OtherNames(suffix) => {
                write!(f, "No matching ACM activation certificate for \"{suffix}\".")
            }
            Self::Expired(suffix, end, today) => write!(
                f,
                "The ACM activation certificate for \"{suffix}\" has expired on {end} (this server \
                 says today is {today})."
            ),
        }
    }
}

/// The first certificate that fits in name and root and has not ended.
///
/// # Errors
/// Why there is none.
pub fn choose(
    certificates: &[Arc<Certificate>],
    state: &State,
    now: Millis,
) -> Result<Match, NoMatch> {
    if certificates.is_empty() {
        return Err(NoMatch::NoCertificates);
    }
    if state.roots_reported == 0 {
        return Err(NoMatch::NoHashes);
    }
    let suffix = state.suffix.as_deref().ok_or(NoMatch::NoSuffix)?;
    let named: Vec<_> = certificates.iter().filter(|c| names::fits(&c.domain, suffix)).collect();
    let suffix = suffix.to_owned();
    if named.is_empty() {
        return Err(NoMatch::OtherNames(suffix));
    }
    if state.roots.is_empty() {
        return Err(NoMatch::NothingTrusted(suffix));
    }
    let mut ended = None;
    for certificate in named {
        let known = |hash: &String| Some((hash.clone(), certificate.root.kind_of(hash)?));
        let Some((hash, kind)) = state.roots.iter().find_map(known) else { continue };
        if certificate.is_expired(now) {
            ended = Some(certificate.last_day());
            continue;
        }
        return Ok(Match { certificate: certificate.clone(), hash, kind, suffix });
    }
    Err(match ended {
        Some(end) => NoMatch::Expired(suffix, end, day(now)),
        None => NoMatch::OtherRoots(suffix),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amt::activation::testing::{self, VALID};

    #[test]
    fn the_reason_says_what_is_missing() {
        let certificates = [Arc::new(testing::certificate())];
        let fitting = testing::state();
        let found = choose(&certificates, &fitting, VALID).unwrap();
        assert_eq!((found.kind, found.suffix.as_str()), ("sha256", "lab.example.com"));
        let but = |change: &dyn Fn(&mut State)| {
            let mut state = fitting.clone();
            change(&mut state);
            choose(&certificates, &state, VALID).unwrap_err().to_string()
        };
        let suffix = |text: &'static str| but(&move |s| s.suffix = Some(text.into()));
        let other = "No matching ACM activation certificate for \"example.org\".";
        assert_eq!(suffix("example.org"), other);
        assert!(but(&|s| s.suffix = None).starts_with("No trusted DNS suffix reported"));
        assert_eq!(
            but(&|s| s.roots.clear()),
            "Intel AMT has no trusted root hashes for \"lab.example.com\"."
        );
        assert_eq!(
            but(&|s| s.roots = vec!["00".repeat(32)]),
            "Certificate root hash matching failed for \"lab.example.com\"."
        );
        assert_eq!(
            but(&|s| (s.roots, s.roots_reported) = (Vec::new(), 0)),
            "Intel AMT did not report any trusted hashes."
        );
        assert_eq!(choose(&[], &fitting, VALID).unwrap_err(), NoMatch::NoCertificates);
        let late = Millis(certificates[0].expires.0 + 1);
        let text = choose(&certificates, &fitting, late).unwrap_err().to_string();
        assert!(text.contains("has expired on") && text.contains(&day(late)), "{text}");
    }

    #[test]
    fn the_root_is_known_by_any_of_its_hashes() {
        let certificates = [Arc::new(testing::certificate())];
        let root = certificates[0].root.clone();
        for (hash, kind) in [(root.sha1, "sha1"), (root.sha384, "sha384")] {
            let state = State { roots: vec!["00".into(), hash], ..testing::state() };
            assert_eq!(choose(&certificates, &state, VALID).unwrap().kind, kind);
        }
    }

    #[test]
    fn roots_of_real_firmware_are_hashes_that_can_match() {
        let vector = testing::vector("activation-root-hashes");
        let roots = vector["roots"].as_array().unwrap();
        assert!(roots.len() > 20);
        for root in roots {
            let hash = root["sha256"].as_str().unwrap();
            let report = serde_json::json!({
                "Hashes": [{"certificateHash": hash.to_uppercase(), "isActive": 1}]
            });
            assert_eq!(State::read(report.as_object().unwrap()).roots, [hash]);
        }
    }
}
