//! `letsencrypt`: certificates from an authority that speaks ACME (RFC 8555).

use std::path::PathBuf;

use super::read::{Notes, Section};
use super::{Config, table};

/// Let's Encrypt, for certificates that browsers trust.
const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// The same for trials: certificates that nobody trusts, and no tight limits.
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
/// Most names in a certificate.
const NAMES_MAX: usize = 100;

/// From whom a certificate is asked for, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// `email`: whom the authority tells of trouble.
    pub email: Option<String>,
    /// `names`: DNS names in the certificate; at least one.
    pub names: Vec<String>,
    /// `directory` (ours), or Let's Encrypt's, by `production`.
    pub directory: String,
    /// `caFile` (ours): PEM file of whom to trust at `directory`, instead of whom the system trusts.
    pub ca_file: Option<PathBuf>,
    /// `challenge` (ours): how the names are proven; `None` tries both in turn.
    pub challenge: Option<Challenge>,
}

/// How it is proven that a name leads to this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A certificate on port 443 (RFC 8737).
    TlsAlpn,
    /// A text on port 80 (RFC 8555, section 8.3).
    Http,
}

/// Reads the section, after everything else. `None` if there is none, or it does not work.
pub(super) fn acme(file: &Section<'_>, notes: &Notes<'_>, config: &Config) -> Option<Acme> {
    let found = file.find("letsencrypt")?;
    let section = file.section("letsencrypt")?;
    if !cfg!(feature = "acme") {
        file.remark(&found, "ignored: this program was built without the feature acme");
        return None;
    }
    let problem = |text: &str| notes.problem(&found.node.origin, &found.key, text);
    let is_name = |name: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        name.contains('.')
            && name.len() <= 253
            && name.chars().all(known)
            && name.parse::<std::net::IpAddr>().is_err()
            && name.split('.').all(|label| (1..=63).contains(&label.len()))
    };
    let expected = "full DNS names, without *";
    let listed =
        section.parsed("names", expected, |name| is_name(name).then(|| name.to_ascii_lowercase()));
    let mut names = listed.unwrap_or_else(|| {
        let own = config.settings.cert.iter();
        let all = own.chain(config.domains.values().filter_map(|domain| domain.dns.as_ref()));
        all.filter(|name| is_name(name)).map(|name| name.to_ascii_lowercase()).collect()
    });
    names.dedup();
    if names.is_empty() {
        problem("needs names, or a full DNS name in settings.cert");
    }
    if names.len() > NAMES_MAX {
        problem("more than 100 names");
    }
    let challenge = section.text("challenge").and_then(|word| match &*word.to_lowercase() {
        "tls-alpn-01" => Some(Challenge::TlsAlpn),
        "http-01" => Some(Challenge::Http),
        _ => {
            problem("challenge: expected tls-alpn-01 or http-01");
            None
        }
    });
    let directory = section.text("directory").unwrap_or_else(|| {
        let production = section.flag("production").unwrap_or(false);
        if production { PRODUCTION.to_owned() } else { STAGING.to_owned() }
    });
    if !directory.starts_with("https://") {
        problem("directory: expected an https:// URL");
    }
    let (email, ca_file) = (section.text("email"), section.text("caFile").map(PathBuf::from));
    let acme = Acme { email, names, directory, ca_file, challenge };
    // With a directory of one's own there is nothing to choose.
    section.find("production");
    section.finish(&table::LETSENCRYPT);
    Some(acme)
}

#[cfg(test)]
#[cfg(not(feature = "acme"))]
mod tests {
    use crate::config::parse;

    #[test]
    fn a_program_without_it_says_so() {
        let (config, warnings) = parse(r#"{"letsencrypt":{"names":"a.b"}}"#, []).unwrap();
        assert_eq!(config.acme, None);
        assert!(warnings[0].to_string().contains("without the feature acme"), "{warnings:?}");
    }
}

#[cfg(test)]
#[cfg(feature = "acme")]
mod tests {
    use super::*;
    use crate::config::parse;

    fn acme_of(section: &str) -> Acme {
        let text = format!(
            r#"{{"settings":{{"cert":"mesh.example.com"}},"letsencrypt":{{{section}}},
                "domains":{{"b":{{"dns":"b.example.com"}}}}}}"#
        );
        let (config, warnings) = parse(&text, []).unwrap();
        assert_eq!(warnings, [], "{section}");
        config.acme.unwrap()
    }

    #[test]
    fn trials_are_the_default_and_names_are_those_of_the_server() {
        let acme = acme_of(r#""email":"a@b.c""#);
        assert_eq!((acme.email.as_deref(), &*acme.directory), (Some("a@b.c"), STAGING));
        assert_eq!(acme.names, ["mesh.example.com", "b.example.com"]);
        assert_eq!(acme.challenge, None);
        let acme =
            acme_of(r#""production":true,"names":"A.example.com, c.d","challenge":"http-01""#);
        assert_eq!((&*acme.directory, acme.challenge), (PRODUCTION, Some(Challenge::Http)));
        assert_eq!(acme.names, ["a.example.com", "c.d"]);
        let acme = acme_of(
            r#""directory":"https://ca.lan/acme","production":true,"caFile":"/etc/ca.pem""#,
        );
        assert_eq!(acme.directory, "https://ca.lan/acme");
        assert_eq!(acme.ca_file, Some("/etc/ca.pem".into()));
    }

    #[test]
    fn what_no_authority_would_sign_is_a_problem() {
        for (text, expected) in [
            (r#"{"letsencrypt":{}}"#, "needs names"),
            (r#"{"letsencrypt":{},"settings":{"cert":"192.168.1.2"}}"#, "needs names"),
            (r#"{"letsencrypt":{"names":["*.a.b"]}}"#, "full DNS names"),
            (r#"{"letsencrypt":{"names":["10.0.0.1"]}}"#, "full DNS names"),
            (r#"{"letsencrypt":{"names":"a.b","directory":"http://a"}}"#, "an https:// URL"),
            (r#"{"letsencrypt":{"names":"a.b","challenge":"dns-01"}}"#, "tls-alpn-01 or http-01"),
        ] {
            let problems = parse(text, []).unwrap_err();
            assert!(problems.iter().any(|p| p.to_string().contains(expected)), "{problems:?}");
        }
    }
}
