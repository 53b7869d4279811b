//! `AmtAcmActivation` of a domain: certificates that activate Intel AMT, and the log of activations.
//!
//! What is wrong here is a remark, never a problem: a bad certificate keeps computers from being
//! activated, not the server from running. The files are read later (`amt::activation`).

use std::fmt;
use std::path::PathBuf;

use super::read::Section;
use super::table;
use super::tree::Value;

/// Most certificates of a domain.
const CERTIFICATES_MAX: usize = 32;

/// What a domain says about activation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activation {
    /// `log`: the file that receives every activation; in the data folder if it is not absolute.
    /// `None` is `amtactivation.log`.
    pub log: Option<PathBuf>,
    /// `strictCommonName`: the common names of certificates are not shortened.
    pub strict_common_name: bool,
    /// `certs`, in the order of the file.
    pub certificates: Vec<CertificateSource>,
}

/// One entry of `certs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSource {
    /// What the owner calls it.
    pub name: String,
    /// Where it is.
    pub files: CertificateFiles,
}

/// The files of a certificate; in the data folder if they are not absolute.
#[derive(Clone, PartialEq, Eq)]
pub enum CertificateFiles {
    /// `certpfx` and `certpfxpass`.
    Pfx {
        /// The PFX file.
        file: PathBuf,
        /// Its password, which may be empty.
        password: String,
    },
    /// `certfiles` and `keyfile`.
    Pem {
        /// PEM files with one certificate or more.
        certificates: Vec<PathBuf>,
        /// PEM file of the key.
        key: PathBuf,
    },
    /// Neither is complete; what is missing, as a sentence.
    Missing(&'static str),
}

impl fmt::Debug for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pfx { file, .. } => write!(f, "Pfx({})", file.display()),
            Self::Pem { certificates, key } => write!(f, "Pem({certificates:?}, {key:?})"),
            Self::Missing(why) => f.write_str(why),
        }
    }
}

/// Reads the section.
pub(super) fn activation(domain: &Section<'_>) -> Activation {
    let mut activation = Activation::default();
    // Only an object says anything; MeshCentral takes no other value either.
    let Some(found) = domain.find("amtAcmActivation") else { return activation };
    let Value::Table(_) = found.node.value else {
        domain.remark(&found, "ignored: expected an object { … }");
        return activation;
    };
    let Some(section) = domain.section("amtAcmActivation") else { return activation };
    activation.log = section.text("log").map(PathBuf::from);
    activation.strict_common_name = section.flag("strictCommonName").unwrap_or(false);
    if let Some(found) = section.find("certs") {
        match &found.node.value {
            Value::Table(entries) => {
                let named = entries.0.iter().filter(|entry| !entry.name.starts_with('_'));
                if named.clone().count() > CERTIFICATES_MAX {
                    section.remark(&found, format!("only the first {CERTIFICATES_MAX} are read"));
                }
                if let Some(certs) = section.section("certs") {
                    let named = named.take(CERTIFICATES_MAX);
                    activation.certificates =
                        named.map(|entry| source(&certs, &entry.written)).collect();
                }
            }
            _ => section.remark(&found, "ignored: expected certificates by their names"),
        }
    }
    section.finish(&table::NONE);
    activation
}

fn source(certs: &Section<'_>, name: &str) -> CertificateSource {
    const INCOMPLETE: &str = "needs certpfx and certpfxpass, or certfiles and keyfile.";
    let is_object = certs.find(name).is_some_and(|f| matches!(f.node.value, Value::Table(_)));
    let section = is_object.then(|| certs.section(name)).flatten();
    let Some(section) = section else {
        let files = CertificateFiles::Missing(INCOMPLETE);
        return CertificateSource { name: name.to_owned(), files };
    };
    let text = |name| match section.find(name)?.node.value {
        Value::Text(ref text) => Some(text.clone()),
        _ => None,
    };
    let (pfx, password) = (text("certpfx"), text("certpfxpass"));
    let certificates = section.find("certfiles").and_then(|_| section.texts("certfiles"));
    let key = text("keyfile");
    let files = match (pfx, password, certificates, key) {
        (Some(file), Some(password), ..) => CertificateFiles::Pfx { file: file.into(), password },
        (_, _, Some(certificates), Some(key)) => CertificateFiles::Pem {
            certificates: certificates.into_iter().map(PathBuf::from).collect(),
            key: key.into(),
        },
        (Some(_), None, ..) => {
            CertificateFiles::Missing("certpfx needs certpfxpass beside it, which may be \"\".")
        }
        _ => CertificateFiles::Missing(INCOMPLETE),
    };
    section.finish(&table::NONE);
    CertificateSource { name: name.to_owned(), files }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Warning, parse};
    use crate::model::DomainId;

    fn read(section: &str) -> (Activation, Vec<Warning>) {
        let text = format!(r#"{{"domains":{{"":{{"AmtAcmActivation":{section}}}}}}}"#);
        let (config, warnings) = parse(&text, []).unwrap();
        (config.domain(&DomainId::default()).activation.clone(), warnings)
    }

    #[test]
    fn certificates_are_named_in_either_form() {
        let (activation, warnings) = read(
            r#"{"Log":"amt.log","strictCommonName":true,"certs":{
                "a":{"CertPfx":"a.pfx","certpfxpass":""},
                "_b":{"certpfx":"b.pfx","certpfxpass":"x"},
                "c":{"certfiles":["c.crt","root.crt"],"keyfile":"c.key"}}}"#,
        );
        assert_eq!(warnings, []);
        assert_eq!((activation.log, activation.strict_common_name), (Some("amt.log".into()), true));
        let pfx = CertificateFiles::Pfx { file: "a.pfx".into(), password: String::new() };
        let certificates = vec!["c.crt".into(), "root.crt".into()];
        let pem = CertificateFiles::Pem { certificates, key: "c.key".into() };
        let expected = [("a", pfx), ("c", pem)]
            .map(|(name, files)| CertificateSource { name: name.into(), files });
        assert_eq!(activation.certificates, expected);
    }

    #[test]
    fn nothing_that_is_wrong_here_stops_the_server() {
        for section in [
            "true",
            r#"{"certs":"a.pfx"}"#,
            r#"{"certs":{"a":"a.pfx"}}"#,
            r#"{"certs":{"a":{"certpfx":"a.pfx"}}}"#,
            r#"{"certs":{"a":{"keyfile":"a.key"}}}"#,
        ] {
            let (activation, _) = read(section);
            let usable = activation.certificates.iter();
            let missing = |c: &CertificateSource| matches!(c.files, CertificateFiles::Missing(_));
            assert!(usable.clone().all(missing), "{section}");
        }
    }
}
