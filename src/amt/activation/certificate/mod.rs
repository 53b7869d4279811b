//! Activation certificates: read from the files the owner names, checked as firmware will check
//! them, and used to sign.
//!
//! A certificate that does not fit is left out and said to whom it concerns; it never keeps the
//! server from starting. The texts begin with MeshCentral's, which people search for. Source:
//! amt-activation-and-lan §2.

mod chain;
pub mod names;
mod pfx;

use std::fmt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_PKCS1_RSAENCRYPTION, OID_PKCS1_SHA384WITHRSA};

use crate::config::{Activation, CertificateFiles};
use crate::model::Millis;
use crate::model::text::clamp;
use crate::tls::client::Proof;

/// Largest file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// Most certificates in a chain: firmware takes them one by one.
const CHAIN_MAX: usize = 10;
/// Key usage of certificates that activate (`2.16.840.1.113741.1.2.3`).
const USAGE: &str = "2.16.840.1.113741.1.2.3";
/// Or a unit of this name.
const UNIT: &str = "Intel(R) Client Setup Certificate";
/// A certificate that ends within so many days is warned of.
const EXPIRY_DAYS: u64 = 30;
const DAY: u64 = 86_400_000;

/// A chain that leads to a root, and the key of its leaf.
pub struct Certificate {
    /// What the owner calls it.
    pub name: String,
    /// The common name of the leaf, or the part of it that counts.
    pub domain: String,
    /// The leaf first, the root last, DER.
    pub chain: Vec<Vec<u8>>,
    /// Hashes of the root in lower-case hex.
    pub root: Hashes,
    /// When the first certificate of the chain ends.
    pub expires: Millis,
    key: RsaKeyPair,
    /// The same, for TLS.
    der: PrivateKeyDer<'static>,
}

/// Hashes of one certificate in lower-case hex; firmware may know any of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// SHA-1, 40 characters.
    pub sha1: String,
    /// SHA-256, 64 characters.
    pub sha256: String,
    /// SHA-384, 96 characters.
    pub sha384: String,
}

impl Hashes {
    /// The hashes of `der`.
    pub fn of(der: &[u8]) -> Self {
        let hex = |algorithm| HEXLOWER.encode(digest::digest(algorithm, der).as_ref());
        Self {
            sha1: hex(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            sha256: hex(&digest::SHA256),
            sha384: hex(&digest::SHA384),
        }
    }

    /// What kind of hash `hex` (lower case) is, if it is one of these.
    pub fn kind_of(&self, hex: &str) -> Option<&'static str> {
        let all = [("sha256", &self.sha256), ("sha384", &self.sha384), ("sha1", &self.sha1)];
        all.into_iter().find(|(_, hash)| *hash == hex).map(|(kind, _)| kind)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({:?} for {})", self.name, self.domain)
    }
}

/// Why a certificate is not used.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The configuration names no files for it.
    NotNamed(&'static str),
    /// A file cannot be read or decrypted; why, as a sentence.
    File(PathBuf, String),
    /// One certificate only.
    Alone(PathBuf),
    /// No key, or several.
    Keys(PathBuf),
    /// The certificates are no chain; why, as a sentence.
    Chain(String),
    /// The key belongs to something else.
    Mismatch,
    /// A key of another kind, or too short; why, as a sentence.
    Key(String),
    /// It is for something else.
    Usage,
    /// The leaf has no common name.
    NoName,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNamed(why) => f.write_str(why),
            Self::File(path, why) => {
                write!(f, "Unable to load certificate file: {}. {why}", path.display())
            }
            Self::Alone(path) => write!(
                f,
                "Certificate file contains less then 2 certificates: {}. The root and all between \
                 it and the leaf are needed.",
                path.display()
            ),
            Self::Keys(path) => write!(
                f,
                "Certificate file must contain exactly one private key: {}. It must be encrypted.",
                path.display()
            ),
            Self::Chain(why) => write!(
                f,
                "Unable to order Intel AMT ACM activation certificates to create a full chain. {why}"
            ),
            Self::Mismatch => f.write_str(
                "Intel AMT activation certificate provided with a mismatching private key.",
            ),
            Self::Key(why) => {
                write!(
                    f,
                    "Intel AMT activation certificate has a key firmware does not take. {why}"
                )
            }
            Self::Usage => write!(
                f,
                "Intel AMT activation certificate must have usage OID \"{USAGE}\" or organization \
                 name \"{UNIT}\"."
            ),
            Self::NoName => {
                f.write_str("Unable to get Intel AMT activation certificate common name.")
            }
        }
    }
}

/// What became of the certificates of a domain.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Those that can be used.
    pub certificates: Vec<Certificate>,
    /// What the owner should know, as sentences.
    pub warnings: Vec<String>,
}

/// Loads all certificates of a domain. Reads files and derives keys: call it in the pool. Names of
/// files that are not absolute are in `folder`; `now` is only used to warn.
pub fn load(folder: &Path, wanted: &Activation, now: Millis) -> Loaded {
    let mut loaded = Loaded::default();
    for source in &wanted.certificates {
        let mut notes = Vec::new();
        let strict = wanted.strict_common_name;
        match Certificate::read(folder, &source.name, &source.files, strict, &mut notes) {
            Ok(certificate) => {
                notes.extend(certificate.expiry(now));
                loaded.certificates.push(certificate);
            }
            Err(why) => notes.push(why.to_string()),
        }
        let name = clamp(&source.name, 64);
        loaded.warnings.extend(notes.into_iter().map(|note| format!("{note} [{name}]")));
    }
    loaded
}

impl Certificate {
    /// Reads one; what does not keep it from being used is added to `notes`.
    fn read(
        folder: &Path,
        name: &str,
        files: &CertificateFiles,
        strict: bool,
        notes: &mut Vec<String>,
    ) -> Result<Self, Unusable> {
        let (given, key) = match files {
            CertificateFiles::Missing(why) => return Err(Unusable::NotNamed(why)),
            CertificateFiles::Pfx { file, password } => {
                let path = folder.join(file);
                let bytes = contents(&path)?;
                let contents = pfx::read(&bytes, password)
                    .map_err(|why| Unusable::File(path.clone(), why.to_string()))?;
                if contents.certificates.len() < 2 {
                    return Err(Unusable::Alone(path));
                }
                let [key] = contents.keys.try_into().map_err(|_| Unusable::Keys(path))?;
                (contents.certificates, PrivateKeyDer::Pkcs8(key.into()))
            }
            CertificateFiles::Pem { certificates, key } => {
                let mut given = Vec::new();
                for file in certificates {
                    match certificates_in(&folder.join(file)) {
                        Ok(found) => given.extend(found),
                        // What is missing may not be needed; if it is, there is no chain.
                        Err(why) => notes.push(why.to_string()),
                    }
                }
                (given, key_in(&folder.join(key))?)
            }
        };
        if given.len() > CHAIN_MAX {
            return Err(Unusable::Chain(format!("There are more than {CHAIN_MAX} of them.")));
        }
        let chain = chain::ordered(given).map_err(Unusable::Chain)?;
        Self::of(name, chain, &key, strict)
    }

    /// A chain in order, and the key of its leaf.
    ///
    /// # Errors
    /// What firmware would have against it.
    pub fn of(
        name: &str,
        chain: Vec<Vec<u8>>,
        key: &PrivateKeyDer<'_>,
        strict: bool,
    ) -> Result<Self, Unusable> {
        let parsed: Vec<_> = chain.iter().filter_map(|der| chain::parse(der)).collect();
        let (Some(leaf), Some(root)) = (parsed.first(), chain.last()) else {
            return Err(Unusable::Chain("There is no certificate.".into()));
        };
        if leaf.public_key().algorithm.algorithm != OID_PKCS1_RSAENCRYPTION {
            return Err(Unusable::Key("It has to be RSA.".into()));
        }
        let der = key.clone_key();
        let key = match key {
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            _ => return Err(Unusable::Mismatch),
        };
        let key = key.map_err(|why| Unusable::Key(format!("{why}.")))?;
        if key.public_key().as_ref() != &*leaf.public_key().subject_public_key.data {
            return Err(Unusable::Mismatch);
        }
        if !activates(leaf) {
            return Err(Unusable::Usage);
        }
        let common_name = leaf.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok());
        let common_name = common_name.filter(|cn| !cn.is_empty()).ok_or(Unusable::NoName)?;
        let ends = parsed.iter().map(|c| c.validity().not_after.timestamp());
        let expires = ends.min().and_then(|end| u64::try_from(end).ok()).unwrap_or_default();
        Ok(Self {
            name: name.to_owned(),
            domain: names::reduced(common_name, strict).to_owned(),
            root: Hashes::of(root),
            expires: Millis(expires.saturating_mul(1000)),
            chain,
            key,
            der,
        })
    }

    /// Signs `data` (RSA PKCS#1 v1.5, SHA-256). Ten milliseconds and more on a board: call it in
    /// the pool.
    ///
    /// # Errors
    /// `ring` gives no reasons.
    pub fn sign(&self, data: &[u8]) -> Result<Vec<u8>, ring::error::Unspecified> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature)?;
        Ok(signature)
    }

    /// The hash by which firmware is told whom to expect over TLS: of the leaf, lower-case hex,
    /// SHA-256 or SHA-384, as the leaf was signed.
    pub fn introduction(&self) -> String {
        let leaf = self.chain.first().map(Vec::as_slice).unwrap_or_default();
        let hashes = Hashes::of(leaf);
        let signed = chain::parse(leaf).map(|leaf| leaf.signature_algorithm.algorithm);
        match signed == Some(OID_PKCS1_SHA384WITHRSA) {
            true => hashes.sha384,
            false => hashes.sha256,
        }
    }

    /// Chain and key, to prove over TLS who we are.
    pub fn for_tls(&self) -> Proof<'_> {
        Proof { chain: &self.chain, key: &self.der }
    }

    /// Whether firmware with a clock would refuse it.
    pub fn is_expired(&self, now: Millis) -> bool {
        self.expires <= now
    }

    /// The day it ends, `2027-03-01`.
    pub fn last_day(&self) -> String {
        day(self.expires)
    }

    fn expiry(&self, now: Millis) -> Option<String> {
        let (end, today) = (self.last_day(), day(now));
        match self.expires.0.checked_sub(now.0) {
            None | Some(0) => Some(format!(
                "Intel AMT activation certificate has expired on {end} (today is {today})."
            )),
            Some(left) if left < EXPIRY_DAYS * DAY => {
                Some(format!("Intel AMT activation certificate expires on {end}."))
            }
            Some(_) => None,
        }
    }
}

/// `2026-11-22`.
pub(super) fn day(time: Millis) -> String {
    time.iso().get(..10).unwrap_or_default().to_owned()
}

/// Whether a certificate is for activating: by its usage, or the first unit of its subject.
fn activates(leaf: &X509Certificate<'_>) -> bool {
    let usages = leaf.extended_key_usage().ok().flatten();
    let by_usage = usages
        .is_some_and(|usages| usages.value.other.iter().any(|oid| oid.to_id_string() == USAGE));
    let unit = leaf.subject().iter_organizational_unit().next();
    by_usage || unit.and_then(|unit| unit.as_str().ok()) == Some(UNIT)
}

fn contents(path: &Path) -> Result<Vec<u8>, Unusable> {
    let failed = |why: String| Unusable::File(path.to_owned(), why);
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_MAX => Err(failed(format!("Larger than {FILE_MAX} bytes."))),
        Ok(_) => std::fs::read(path).map_err(|error| failed(format!("{error}."))),
        Err(error) => Err(failed(format!("{error}."))),
    }
}

/// All certificates of a PEM file.
fn certificates_in(path: &Path) -> Result<Vec<Vec<u8>>, Unusable> {
    let bytes = contents(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| Unusable::File(path.to_owned(), format!("{error}.")))?;
    if found.is_empty() {
        let why = "There is no certificate in it (-----BEGIN CERTIFICATE-----).";
        return Err(Unusable::File(path.to_owned(), why.into()));
    }
    Ok(found.into_iter().map(|der| der.to_vec()).collect())
}

fn key_in(path: &Path) -> Result<PrivateKeyDer<'static>, Unusable> {
    let bytes = contents(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let text = String::from_utf8_lossy(&bytes);
        let why = match text.contains("ENCRYPTED") {
            true => "The key is encrypted: store it without a password, or use a PFX file.",
            false => "There is no private key in it (-----BEGIN PRIVATE KEY-----).",
        };
        Unusable::File(path.to_owned(), why.into())
    })
}

#[cfg(test)]
mod tests;
