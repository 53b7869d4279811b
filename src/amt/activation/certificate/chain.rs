//! Putting certificates in order: the leaf first, each issued by the next, the root last.

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_PKCS1_RSAENCRYPTION, OID_PKCS1_SHA1WITHRSA, OID_PKCS1_SHA256WITHRSA,
    OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
};
use x509_parser::prelude::FromDer as _;

/// Orders a chain; every certificate given has a place in it, except that one may be given twice.
///
/// # Errors
/// Why there is no such order, as a sentence.
pub(super) fn ordered(mut given: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
    given.sort_unstable();
    given.dedup();
    let parsed: Option<Vec<_>> = given.iter().map(|der| parse(der)).collect();
    let mut left = parsed.ok_or("One of them is not a certificate.")?;
    let is_root = |certificate: &X509Certificate<'_>| {
        certificate.subject().as_raw() == certificate.issuer().as_raw()
    };
    let root = left.iter().position(is_root).ok_or("The root certificate is missing.")?;
    let mut chain = vec![left.swap_remove(root)];
    while let Some(issuer) = chain.last()
        && let Some(at) = left.iter().position(|c| c.issuer().as_raw() == issuer.subject().as_raw())
    {
        let issued = left.swap_remove(at);
        if !is_signed(&issued, issuer) {
            return Err(format!("{} was not signed by {}.", issued.subject(), issuer.subject()));
        }
        chain.push(issued);
    }
    let is_among = |all: &[X509Certificate<'_>], wanted: &X509Certificate<'_>| {
        all.iter().any(|one| one.subject().as_raw() == wanted.issuer().as_raw())
    };
    if let Some(stray) = left.iter().find(|one| !is_among(&left, one)).or(left.first()) {
        let (subject, issuer) = (stray.subject(), stray.issuer());
        return Err(match is_among(&chain, stray) {
            true => format!("Two were issued by {issuer}, one of them is {subject}."),
            false => format!("{issuer} is missing, who issued {subject}."),
        });
    }
    Ok(chain.iter().rev().map(|certificate| certificate.as_raw().to_vec()).collect())
}

pub(super) fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, c)| c)
}

/// Whether a certificate bears the signature of its issuer's key. What this cannot judge is true:
/// the firmware will.
fn is_signed(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    let algorithm = &certificate.signature_algorithm.algorithm;
    let known: [(_, &'static dyn VerificationAlgorithm); 4] = [
        (OID_PKCS1_SHA1WITHRSA, &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY),
        (OID_PKCS1_SHA256WITHRSA, &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
        (OID_PKCS1_SHA384WITHRSA, &signature::RSA_PKCS1_2048_8192_SHA384),
        (OID_PKCS1_SHA512WITHRSA, &signature::RSA_PKCS1_2048_8192_SHA512),
    ];
    let verifier = known.into_iter().find(|(oid, _)| oid == algorithm);
    let key = issuer.public_key();
    match verifier.filter(|_| key.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION) {
        None => true,
        Some((_, verifier)) => {
            let key = UnparsedPublicKey::new(verifier, &key.subject_public_key.data);
            key.verify(certificate.tbs_certificate.as_ref(), &certificate.signature_value.data)
                .is_ok()
        }
    }
}
