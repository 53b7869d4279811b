//! A connection to one of the ports of firmware, without its socket, with TLS where the port has it.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, ServerConnection,
    SignatureScheme,
};

use super::firmware::Firmware;
use super::http::Web;
use super::redirection::Redirection;

/// A connection. Its owner moves bytes, calls [`Connection::work`] a moment after bytes came, and
/// [`Connection::end`] at the end.
pub struct Connection {
    service: Service,
    tls: Option<Box<ServerConnection>>,
    broken: bool,
}

enum Service {
    Web(Web),
    Redirection(Redirection),
}

impl Connection {
    /// Opens one, if firmware listens there.
    pub fn open(firmware: &mut Firmware, port: u16) -> Option<Self> {
        firmware.look_at_computer();
        let with_tls = matches!(port, 16993 | 16995);
        // Whoever is to set it up over TLS has to prove who he is.
        let is_expecting = port == 16993 && firmware.activation.expects.is_some();
        let is_open =
            if with_tls { firmware.tls.is_some() || is_expecting } else { firmware.plain };
        if !is_open {
            return None;
        }
        let service = match port {
            16992 | 16993 => Service::Web(Web::new(firmware.number())),
            16994 | 16995 => {
                if firmware.property("AMT_RedirectionService", "ListenerEnabled") != "true" {
                    return None;
                }
                Service::Redirection(Redirection::new())
            }
            _ => return None,
        };
        let own = if is_expecting { &firmware.activation.own } else { &firmware.tls };
        let tls = own.as_ref().filter(|_| with_tls).map(|(certificate, key)| {
            let chain = vec![CertificateDer::from(certificate.clone())];
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.clone()));
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .and_then(|builder| {
                    let builder = match is_expecting {
                        true => builder.with_client_cert_verifier(Arc::new(AnyClient(provider))),
                        false => builder.with_no_client_auth(),
                    };
                    builder.with_single_cert(chain, key)
                })
                .expect("firmware has a key for its certificate");
            Box::new(ServerConnection::new(Arc::new(config)).expect("a valid configuration"))
        });
        Some(Self { service, tls, broken: false })
    }

    /// Takes bytes from the wire.
    pub fn receive(&mut self, firmware: &mut Firmware, mut bytes: &[u8]) {
        let Some(tls) = &mut self.tls else { return self.service.receive(firmware, bytes) };
        while !bytes.is_empty() && !self.broken {
            let read = tls.read_tls(&mut bytes);
            let (Ok(_), Ok(state)) = (read, tls.process_new_packets()) else {
                self.broken = true;
                return;
            };
            let count = state.plaintext_bytes_to_read();
            // It is judged before anything is heard, as firmware does.
            if let (Some(chain), Service::Web(web)) = (tls.peer_certificates(), &mut self.service) {
                let chain: Vec<_> = chain.iter().map(AsRef::as_ref).collect();
                web.is_proven = web.is_proven || firmware.expects(&chain);
                if !web.is_proven {
                    self.broken = true;
                    return;
                }
            }
            let mut plain = vec![0; count];
            if tls.reader().read_exact(&mut plain).is_ok() && !plain.is_empty() {
                self.service.receive(firmware, &plain);
            }
        }
    }

    /// Whether a request waits for [`Self::work`].
    pub fn waits(&self) -> bool {
        matches!(&self.service, Service::Web(web) if web.waits())
    }

    /// Does what firmware takes its time for.
    pub fn work(&mut self, firmware: &mut Firmware) {
        match &mut self.service {
            Service::Web(web) => web.work(firmware),
            Service::Redirection(redirection) => redirection.tick(firmware),
        }
    }

    /// Bytes for the wire.
    pub fn take(&mut self) -> Vec<u8> {
        let plain = match &mut self.service {
            Service::Web(web) => web.take(),
            Service::Redirection(redirection) => redirection.take(),
        };
        let ended = self.service.ended();
        let Some(tls) = &mut self.tls else { return plain };
        let mut wire = Vec::new();
        for piece in plain.chunks(8192) {
            tls.writer().write_all(piece).expect("its buffer is emptied each time");
            while tls.wants_write() {
                tls.write_tls(&mut wire).expect("a vector takes everything");
            }
        }
        if ended {
            tls.send_close_notify();
        }
        while tls.wants_write() {
            tls.write_tls(&mut wire).expect("a vector takes everything");
        }
        wire
    }

    /// Whether firmware closes it once everything is taken.
    pub fn ended(&self) -> bool {
        self.broken || self.service.ended()
    }

    /// The peer has gone.
    pub fn end(&mut self, firmware: &mut Firmware) {
        match &mut self.service {
            Service::Web(web) => web.end(firmware),
            Service::Redirection(redirection) => redirection.end(firmware),
        }
    }
}

impl Service {
    fn receive(&mut self, firmware: &mut Firmware, bytes: &[u8]) {
        match self {
            Self::Web(web) => web.receive(firmware, bytes),
            Self::Redirection(redirection) => redirection.receive(firmware, bytes),
        }
    }

    fn ended(&self) -> bool {
        match self {
            Self::Web(web) => web.ended(),
            Self::Redirection(redirection) => redirection.ended(),
        }
    }
}

/// Has every client show a certificate and prove that it has the key; which one is judged later.
#[derive(Debug)]
struct AnyClient(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
