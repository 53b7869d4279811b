//! Certificates that activate Intel AMT, issued by our own root: for firmware that was told to trust
//! it (in MEBx or by a setup.bin file). Source: amt-activation-and-lan §2.6.

use std::path::Path;

use rcgen::{DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType};
use rustls_pki_types::PrivateKeyDer;

use super::files::{self, IdentityError, Role};
use super::make::{params, read_back, root_issuer, rsa_key_pair};

/// `2.16.840.1.113741.1.2.3`: may activate.
const USAGE: [u64; 8] = [2, 16, 840, 1, 113_741, 1, 2, 3];
const ORGANIZATION: &str = "Intel(R) Client Setup Certificate";
const COUNTRY: &str = "mc";

/// A certificate and its key.
pub struct Issued {
    /// The leaf, then the root, DER.
    pub chain: Vec<Vec<u8>>,
    /// Of the leaf.
    pub key: PrivateKeyDer<'static>,
}

/// The root certificate in DER form; `None` while there is none. Reads files.
///
/// # Errors
/// What is wrong with its files.
pub fn root_certificate(dir: &Path) -> Result<Option<Vec<u8>>, IdentityError> {
    let root = files::read(dir, Role::Root)?;
    Ok(root.and_then(|root| root.chain.first().map(|der| der.to_vec())))
}

/// Issues one for computers with the DNS suffix `name`. Makes an RSA key of 2048 bits, which takes
/// seconds on a board: call it in the pool.
///
/// # Errors
/// There is no root, or `name` is no DNS name.
pub fn issue_activation(dir: &Path, name: &str) -> Result<Issued, IdentityError> {
    let root = read_back(dir, Role::Root)?;
    let make = |error: rcgen::Error| IdentityError::Make(error.to_string());
    let mut params = params(name);
    params.distinguished_name.push(DnType::CountryName, COUNTRY);
    params.distinguished_name.push(DnType::OrganizationName, ORGANIZATION);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    let usage = USAGE.to_vec();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Other(usage)];
    params.subject_alt_names = vec![SanType::DnsName(name.try_into().map_err(make)?)];
    let key = rsa_key_pair(2048)?;
    let issuer = root_issuer(dir, &rcgen::PKCS_RSA_SHA256)?;
    let leaf = params.signed_by(&key, &issuer).map_err(make)?;
    let root = root.chain.into_iter().next().map(|der| der.to_vec()).unwrap_or_default();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Ok(Issued { chain: vec![leaf.der().to_vec(), root], key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Names, load_or_make_rsa};
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    #[test]
    fn what_is_issued_is_what_firmware_wants_to_see() {
        let dir = tempfile::tempdir().unwrap();
        assert!(root_certificate(dir.path()).unwrap().is_none());
        assert!(issue_activation(dir.path(), "lab.example.com").is_err(), "without a root");
        load_or_make_rsa(dir.path(), &Names::default(), 0).unwrap();
        let issued = issue_activation(dir.path(), "lab.example.com").unwrap();
        assert_eq!(issued.chain[1], root_certificate(dir.path()).unwrap().unwrap());
        let (_, leaf) = X509Certificate::from_der(&issued.chain[0]).unwrap();
        let (_, root) = X509Certificate::from_der(&issued.chain[1]).unwrap();
        assert_eq!(leaf.issuer(), root.subject());
        let subject = leaf.subject().to_string();
        assert_eq!(subject, format!("CN=lab.example.com, C={COUNTRY}, O={ORGANIZATION}"));
        let usages = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usages.server_auth);
        assert_eq!(usages.other[0].to_id_string(), "2.16.840.1.113741.1.2.3");
        assert!(issue_activation(dir.path(), "lab example.com\u{e9}").is_err(), "no DNS name");
    }
}
