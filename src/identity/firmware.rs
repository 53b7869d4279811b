//! Certificates for keys of others: firmware makes a key pair, this server's root says whose it is.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, PublicKeyData,
    SignatureAlgorithm,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::RSAPublicKey;

use super::files::IdentityError;
use super::make;

/// Bytes before the PKCS#1 key in the SubjectPublicKeyInfo of an RSA key of 2048 bits.
const SPKI_PREFIX: usize = 24;
/// Bits an RSA key may have.
const BITS: std::ops::RangeInclusive<usize> = 1024..=4096;

/// The root of this server, which signs with the key in the data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    folder: PathBuf,
    der: Arc<[u8]>,
}

/// A public RSA key, PKCS#1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// From PKCS#1, or the SubjectPublicKeyInfo newer firmware has in its place. `None` if it is
    /// neither, or has a length nobody should have.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let inner = der.get(SPKI_PREFIX..).unwrap_or_default();
        let fits = |der: &&[u8]| {
            let Ok((rest, key)) = RSAPublicKey::from_der(der) else { return false };
            rest.is_empty() && BITS.contains(&key.key_size()) && key.try_exponent().is_ok()
        };
        [der, inner].into_iter().find(fits).map(|der| Self(der.to_vec()))
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

impl Root {
    /// The root whose key is in `folder`.
    pub fn new(folder: PathBuf, der: &[u8]) -> Self {
        Self { folder, der: der.into() }
    }

    /// DER of the certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether it issued a certificate, by the name that stands there: for recognising one's own,
    /// not for trust.
    pub fn has_issued(&self, certificate: &[u8]) -> bool {
        let parse = |der| x509_parser::parse_x509_certificate(der).ok();
        let (Some((_, root)), Some((_, other))) = (parse(&self.der), parse(certificate)) else {
            return false;
        };
        let is_itself = certificate == &*self.der;
        !is_itself && other.issuer().as_raw() == root.subject().as_raw()
    }

    /// The certificate of a computer's firmware (DER), with SHA-256, as old firmware wants it. Reads
    /// the key of the root and signs: call it in the pool.
    ///
    /// # Errors
    /// The key of the root cannot be read, or does not sign.
    pub fn issue_for_firmware(
        &self,
        key: &PublicKey,
        common_name: &str,
        organization: &str,
    ) -> Result<Vec<u8>, IdentityError> {
        let issuer = make::root_issuer(&self.folder, &rcgen::PKCS_RSA_SHA256)?;
        let mut params = CertificateParams::default();
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, common_name);
        name.push(DnType::OrganizationName, organization);
        (params.not_before, params.not_after) = make::validity();
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let made = params.signed_by(key, &issuer).map_err(make::make_error)?;
        Ok(made.der().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::certificate::rsa_public_key;
    use crate::identity::{Names, load_or_make_rsa};

    #[test]
    fn a_key_of_firmware_gets_a_certificate_that_the_root_signed() {
        let folder = tempfile::tempdir().unwrap();
        let rsa = load_or_make_rsa(folder.path(), &Names::default(), 0).unwrap();
        let root = Root::new(folder.path().to_owned(), &rsa.root);
        // Any key that is there.
        let pkcs1 = rsa_public_key(rsa.agent_server.der()).unwrap();
        let key = PublicKey::parse(&pkcs1).unwrap();
        let spki = key.subject_public_key_info();
        assert_eq!(PublicKey::parse(&spki), Some(key.clone()));
        let der = root.issue_for_firmware(&key, "IntelAMT-0123456789ab", "Lab").unwrap();
        assert_eq!(rsa_public_key(&der).unwrap(), pkcs1);
        assert!(root.has_issued(&der) && !root.has_issued(root.der()));
        let (_, made) = x509_parser::parse_x509_certificate(&der).unwrap();
        let name = made.subject().to_string();
        assert!(name.contains("CN=IntelAMT-0123456789ab") && name.contains("O=Lab"), "{name}");
        let (_, issuer) = x509_parser::parse_x509_certificate(root.der()).unwrap();
        let signer = ring::signature::UnparsedPublicKey::new(
            &ring::signature::RSA_PKCS1_2048_8192_SHA256,
            &issuer.public_key().subject_public_key.data,
        );
        signer.verify(made.tbs_certificate.as_ref(), &made.signature_value.data).unwrap();
        for bad in [&b""[..], b"\x30\x00", &pkcs1[..40], &[0x30; 300]] {
            assert_eq!(PublicKey::parse(bad), None);
        }
    }
}
