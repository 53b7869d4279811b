//! What is to be told about certificates without touching their keys: `cert show`, `status`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use x509_parser::prelude::FromDer as _;

use super::certificate::{key_id, sha384};
use super::files::{IdentityError, Role, certificates};
use crate::model::Millis;

/// A certificate file of the data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// `root`, `agentserver`, `mps` or `web`.
    pub role: String,
    /// The certificate file.
    pub certificate: PathBuf,
    /// The private key file; its content is not looked at.
    pub key: PathBuf,
    /// Distinguished name.
    pub subject: String,
    /// First moment of validity, ISO 8601.
    pub not_before: String,
    /// Last moment of validity, ISO 8601.
    pub not_after: String,
    /// SHA-384 of the certificate, 96 upper-case hexadecimal digits: what agents see of the web
    /// certificate, and what `certHash` takes.
    pub sha384: String,
    /// SHA-384 of its public key; for the agent server this is the ServerID.
    pub key_sha384: String,
}

/// Describes the certificate of `role` in `dir`; `None` if it has not been made yet.
pub fn describe(dir: &Path, role: Role) -> Result<Option<Description>, IdentityError> {
    let path = role.cert_path(dir);
    if !path.exists() {
        return Ok(None);
    }
    let invalid = |what: &str| IdentityError::Invalid(path.clone(), what.to_owned());
    let chain = certificates(&path)?;
    let leaf = chain.first().ok_or_else(|| invalid("no PEM certificate in it"))?;
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(leaf)
        .map_err(|_| invalid("not an X.509 certificate"))?;
    let iso = |seconds: i64| Millis(u64::try_from(seconds).unwrap_or_default() * 1000).iso();
    Ok(Some(Description {
        role: name(role).to_owned(),
        key: role.key_path(dir),
        subject: parsed.subject().to_string(),
        not_before: iso(parsed.validity().not_before.timestamp()),
        not_after: iso(parsed.validity().not_after.timestamp()),
        sha384: sha384(leaf).hex(),
        key_sha384: key_id(leaf).ok_or_else(|| invalid("not an X.509 certificate"))?.hex(),
        certificate: path.clone(),
    }))
}

/// Describes all certificates in `dir`; then what is wrong with those that cannot be read.
pub fn describe_all(dir: &Path) -> (Vec<Description>, Vec<String>) {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for role in Role::ALL {
        match describe(dir, role) {
            Ok(description) => found.extend(description),
            Err(error) => errors.push(error.to_string()),
        }
    }
    (found, errors)
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Root => "root",
        Role::AgentServer => "agentserver",
        Role::Mps => "mps",
        Role::MpsLong => "mps3072",
        Role::Web => "web",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Names, load_or_make_web};
    use super::*;

    #[test]
    fn a_certificate_is_described_by_what_agents_see_of_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(describe(dir.path(), Role::Web).unwrap(), None);
        let names = Names { server: "mesh.example.com".into(), others: Vec::new() };
        let web = load_or_make_web(dir.path(), &names).unwrap();
        let told = describe(dir.path(), Role::Web).unwrap().unwrap();
        assert_eq!((told.sha384, told.key_sha384), (web.hash.hex(), web.key_hash.hex()));
        assert_eq!(told.subject, "CN=mesh.example.com");
        assert_eq!(told.not_before, "2018-01-01T00:00:00.000Z");
        assert_eq!(told.role, "web");
        std::fs::write(Role::Root.cert_path(dir.path()), "nonsense").unwrap();
        let error = describe(dir.path(), Role::Root).unwrap_err().to_string();
        assert!(error.contains("root-cert-public.crt"), "{error}");
    }
}
