//! Certificates in use: what agents hash and what the server signs with.

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{self, RsaKeyPair};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::FromDer as _;

use crate::model::Key48;

/// SHA-384 of `bytes`.
pub fn sha384(bytes: &[u8]) -> Key48 {
    let digest = ring::digest::digest(&ring::digest::SHA384, bytes);
    // SHA-384 digests have 48 bytes by definition.
    Key48::from_prefix(digest.as_ref()).unwrap_or(Key48::ZERO)
}

/// The public key bits of a certificate, i.e. the content of its `subjectPublicKey` BIT STRING:
/// the PKCS#1 `RSAPublicKey` of an RSA key, the point of an EC key. `None` if `der` is not a
/// certificate.
pub fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
    Some(certificate.public_key().subject_public_key.data.to_vec())
}

/// The common name of a certificate's subject.
pub fn common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

/// The PKCS#1 public key of an RSA certificate; `None` for other keys and for what is no
/// certificate. Dates, usage and issuer do not matter: agents sign their own.
pub fn rsa_public_key(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
    let key = certificate.public_key();
    let is_rsa = key.algorithm.algorithm == x509_parser::oid_registry::OID_PKCS1_RSAENCRYPTION;
    is_rsa.then(|| key.subject_public_key.data.to_vec())
}

/// ServerID and NodeID derivation: SHA-384 of the public key bits (not of the SPKI).
pub fn key_id(der: &[u8]) -> Option<Key48> {
    public_key(der).map(|key| sha384(&key))
}

/// Verifies an RSA PKCS#1 v1.5 SHA-384 signature over `data`.
///
/// `field` is the signature field of a cmd 2 message: the bare signature, or a PKCS#7 SignedData
/// without signed attributes (Windows agents), whose last element is the signature. So the
/// signature is the last `modulus length` bytes either way. Keys of 2048 to 8192 bits.
pub fn verify_rsa(public_key: &[u8], data: &[u8], field: &[u8]) -> bool {
    let Some(modulus) = modulus_len(public_key) else { return false };
    let Some(start) = field.len().checked_sub(modulus) else { return false };
    let signature = field.get(start..).unwrap_or_default();
    signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA384, public_key)
        .verify(data, signature)
        .is_ok()
}

/// Length in bytes of the modulus of a PKCS#1 `RSAPublicKey`.
fn modulus_len(public_key: &[u8]) -> Option<usize> {
    let (_, key) = x509_parser::public_key::RSAPublicKey::from_der(public_key).ok()?;
    let modulus = key.modulus;
    let leading_zeros = modulus.iter().take_while(|b| **b == 0).count();
    Some(modulus.len() - leading_zeros)
}

/// The identity agents pin.
pub struct AgentServer {
    der: Vec<u8>,
    key: RsaKeyPair,
    id: Key48,
}

impl AgentServer {
    /// Takes a certificate and its RSA key; the error says what does not fit.
    pub fn new(der: &CertificateDer<'_>, key: &PrivateKeyDer<'_>) -> Result<Self, String> {
        let public = rsa_public_key(der).ok_or("not an RSA certificate")?;
        let key = rsa_key(key)?;
        if ring::signature::KeyPair::public_key(&key).as_ref() != public {
            return Err("the private key belongs to another certificate".into());
        }
        Ok(Self { der: der.to_vec(), id: sha384(&public), key })
    }

    /// The certificate, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The ServerID in `.msh` files.
    pub fn id(&self) -> Key48 {
        self.id
    }

    /// Signs `data` (RSA PKCS#1 v1.5, SHA-384). Takes about a millisecond on a PC and ten or more
    /// on a board: call it in the blocking pool.
    pub fn sign(&self, data: &[u8]) -> Result<Vec<u8>, String> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&signature::RSA_PKCS1_SHA384, &SystemRandom::new(), data, &mut signature)
            .map_err(|_| "RSA signature failed")?;
        Ok(signature)
    }
}

/// An RSA key in PKCS#8 or PKCS#1 form.
pub(super) fn rsa_key(key: &PrivateKeyDer<'_>) -> Result<RsaKeyPair, String> {
    let parsed = match key {
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        _ => return Err("not an RSA key".into()),
    };
    parsed.map_err(|e| format!("RSA key refused: {e}"))
}

/// The certificate of the HTTPS port.
#[derive(Clone)]
pub struct WebCertificate {
    /// Chain and key as rustls wants them.
    pub certified: Arc<CertifiedKey>,
    /// SHA-384 of the leaf's DER: what agents see and send.
    pub hash: Key48,
    /// SHA-384 of its public key bits.
    pub key_hash: Key48,
}

impl WebCertificate {
    /// The common name it is made out to.
    pub fn common_name(&self) -> Option<String> {
        common_name(self.certified.cert.first()?)
    }

    /// Takes a chain (leaf first) and the leaf's key; the error says what does not fit.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, String> {
        let leaf = chain.first().ok_or("no certificate")?;
        let hash = sha384(leaf);
        let key_hash = key_id(leaf).ok_or("not a certificate")?;
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => {
                "the private key belongs to another certificate".to_owned()
            }
            other => other.to_string(),
        })?;
        Ok(Self { certified: Arc::new(certified), hash, key_hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn vector(name: &str) -> Value {
        let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn hex(value: &Value) -> Vec<u8> {
        data_encoding::HEXLOWER_PERMISSIVE.decode(value.as_str().unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn ids_hash_the_public_key_bits() {
        for cert in vector("agent-ids")["certificates"].as_array().unwrap() {
            let der = hex(&cert["certDer"]);
            assert_eq!(sha384(&der).0, *hex(&cert["fullCertHash"]), "{}", cert["label"]);
            let key_hash = [
                "keyHash_sha384_of_PKCS1_RSAPublicKey",
                "agentKeyHash_sha384_of_BIT_STRING_content",
            ]
            .iter()
            .find_map(|name| cert.get(name))
            .unwrap();
            assert_eq!(key_id(&der).unwrap().0, *hex(key_hash), "{}", cert["label"]);
        }
    }

    #[test]
    fn signatures_of_stock_agents_verify_bare_and_in_pkcs7() {
        for name in [
            "agent-auth-full-vs-stock-agent",
            "agent-auth-fast-vs-stock-agent",
            "agent-auth-full-vs-meshcentral",
            "agent-auth-pkcs7-vs-meshcentral",
        ] {
            let v = vector(name);
            let key = rsa_public_key(&hex(&v["agentCertDer"])).unwrap();
            let mut data = hex(&v["agentSigns_echoedHash_serverNonce_agentNonce"]);
            let mut field = hex(&v["agentSignatureField"]);
            assert!(verify_rsa(&key, &data, &field), "{name}");
            data[0] ^= 1;
            assert!(!verify_rsa(&key, &data, &field), "{name}: other data");
            data[0] ^= 1;
            *field.last_mut().unwrap() ^= 1;
            assert!(!verify_rsa(&key, &data, &field), "{name}: damaged signature");
        }
    }

    #[test]
    fn server_signature_is_the_one_stock_servers_make() {
        let v = vector("agent-auth-full-vs-stock-agent");
        let cert = CertificateDer::from(hex(&v["serverAgentCertDer"]));
        let key = PrivateKeyDer::Pkcs8(hex(&v["keys"]["serverAgentKeyPkcs8Der"]).into());
        let server = AgentServer::new(&cert, &key).unwrap();
        assert_eq!(server.id().0, *hex(&v["serverId_sha384_of_pkcs1_pubkey"]));
        let data = hex(&v["serverSigns_agentHash_agentNonce_serverNonce"]);
        assert_eq!(server.sign(&data).unwrap(), hex(&v["serverSignature"]));
    }

    proptest! {
        #[test]
        fn hostile_certificates_and_signatures_are_refused(
            der in prop::collection::vec(any::<u8>(), 0..600),
            field in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            prop_assert!(!verify_rsa(&der, b"data", &field));
            let _ = rsa_public_key(&der);
        }

        #[test]
        fn a_damaged_certificate_never_panics(at in 0usize..500, bit in 0u8..8) {
            let v = vector("agent-auth-full-vs-stock-agent");
            let mut der = hex(&v["agentCertDer"]);
            let at = at % der.len();
            der[at] ^= 1 << bit;
            let field = hex(&v["agentSignatureField"]);
            if let Some(key) = rsa_public_key(&der) {
                let _ = verify_rsa(&key, b"data", &field);
            }
        }
    }
}
