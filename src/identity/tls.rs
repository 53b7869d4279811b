//! The TLS configuration of the HTTPS port.
//!
//! TLS 1.2 and 1.3 by rustls with ring. Sessions are resumed by tickets, so nothing is kept per
//! connection that has ended. The certificate can be replaced while the server runs. An authority
//! that asks by TLS-ALPN-01 (RFC 8737) whether a name leads here is shown the proof.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;

use super::certificate::WebCertificate;
use crate::model::{Key48, Millis};

/// How many replaced certificates agents may still name.
const ROLLOVER: usize = 4;
/// The protocol of who asks for a proof (RFC 8737, section 6.2).
const PROOF: &[u8] = b"acme-tls/1";

static VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// The web certificate in force and those it replaced.
#[derive(Debug)]
pub struct WebTls {
    inner: RwLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    certified: Arc<CertifiedKey>,
    /// Full and key hash, the one in force first.
    hashes: heapless::Vec<(Key48, Key48), ROLLOVER>,
    /// Proofs by name, while an order runs.
    proofs: BTreeMap<String, Arc<CertifiedKey>>,
}

impl WebTls {
    /// Starts with `certificate`.
    pub fn new(certificate: WebCertificate) -> Arc<Self> {
        let mut hashes = heapless::Vec::new();
        let _ = hashes.push((certificate.hash, certificate.key_hash));
        let (certified, proofs) = (certificate.certified, BTreeMap::new());
        Arc::new(Self { inner: RwLock::new(Inner { certified, hashes, proofs }) })
    }

    /// Puts another certificate in force for connections that begin after this call. The hashes of
    /// the last few it replaces stay acceptable.
    pub fn replace(&self, certificate: WebCertificate) {
        let mut inner = self.inner.write().unwrap_or_else(|e| e.into_inner());
        inner.certified = certificate.certified;
        inner.hashes.retain(|(hash, _)| *hash != certificate.hash);
        if inner.hashes.is_full() {
            inner.hashes.pop();
        }
        let _ = inner.hashes.insert(0, (certificate.hash, certificate.key_hash));
    }

    /// Full hash of the certificate in force.
    pub fn hash(&self) -> Key48 {
        let inner = self.inner.read().unwrap_or_else(|e| e.into_inner());
        inner.hashes.first().map_or(Key48::ZERO, |(hash, _)| *hash)
    }

    /// The chain in force, leaf first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        let inner = self.inner.read().unwrap_or_else(|e| e.into_inner());
        inner.certified.cert.clone()
    }

    /// Shows `proof` to who asks for the one of `name`.
    pub fn show_proof(&self, name: &str, proof: CertifiedKey) {
        let mut inner = self.inner.write().unwrap_or_else(|e| e.into_inner());
        inner.proofs.insert(name.to_ascii_lowercase(), Arc::new(proof));
    }

    /// Forgets all proofs.
    pub fn clear_proofs(&self) {
        self.inner.write().unwrap_or_else(|e| e.into_inner()).proofs.clear();
    }

    /// End of the validity of the certificate in force; `None` if it cannot be read.
    pub fn not_after(&self) -> Option<Millis> {
        use x509_parser::prelude::FromDer as _;
        let inner = self.inner.read().unwrap_or_else(|e| e.into_inner());
        let leaf = inner.certified.cert.first()?;
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(leaf).ok()?;
        let end = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
        Some(Millis(end.saturating_mul(1000)))
    }

    /// If `hash` is the full or key hash of an own certificate, that certificate's full hash.
    pub fn full_hash(&self, hash: Key48) -> Option<Key48> {
        let inner = self.inner.read().unwrap_or_else(|e| e.into_inner());
        let found = inner.hashes.iter().find(|(full, key)| *full == hash || *key == hash);
        found.map(|(full, _)| *full)
    }

    /// The rustls configuration that serves whatever certificate is in force.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec(), PROOF.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for WebTls {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let inner = self.inner.read().unwrap_or_else(|e| e.into_inner());
        // Who asks for a proof speaks nothing else.
        if hello
            .alpn()
            .is_some_and(|mut names| names.next() == Some(PROOF) && names.next().is_none())
        {
            return inner.proofs.get(&hello.server_name()?.to_ascii_lowercase()).cloned();
        }
        Some(inner.certified.clone())
    }
}

/// TLS 1.2 and 1.3 for the Intel AMT port. Sessions are resumed by tickets; firmware asks for no
/// name, and none is looked at.
///
/// # Errors
/// Without randomness.
pub fn mps_config(certificate: &WebCertificate) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certified = SingleCertAndKey::from(certificate.certified.clone());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certified));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Names, load_or_make_web};

    #[test]
    fn hashes_of_replaced_certificates_stay_acceptable_for_a_while() {
        let make = || {
            let dir = tempfile::tempdir().unwrap();
            load_or_make_web(dir.path(), &Names { server: "a.b".into(), others: vec![] }).unwrap()
        };
        let first = make();
        let tls = WebTls::new(first.clone());
        // 2049-12-31, in seconds.
        assert_eq!(tls.not_after().map(|end| end.seconds().0 / 86_400), Some(29_219));
        assert_eq!(tls.full_hash(first.key_hash), Some(first.hash));
        let second = make();
        tls.replace(second.clone());
        assert_eq!(tls.hash(), second.hash);
        assert_eq!(tls.full_hash(first.hash), Some(first.hash));
        for _ in 0..ROLLOVER {
            tls.replace(make());
        }
        assert_eq!(tls.full_hash(first.hash), None);
        assert!(tls.server_config().is_ok());
    }
}
