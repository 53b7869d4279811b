//! The certificate a TLS server shows, whoever signed it.
//!
//! The handshake is completed, so whoever answers has the certificate's key. Nothing else is
//! checked: the caller wants to know what agents see, and those do not check either.

use std::io;
use std::sync::Arc;

use futures_lite::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme,
};

use super::invalid;

/// Bytes read at a time; a handshake has a few thousand.
const READ: usize = 4096;
/// Longest handshake that is read to its end, in bytes.
const HANDSHAKE_MAX: usize = 64 * 1024;

/// The leaf certificate, in DER form, that the server at the other end of `io` shows to who asks
/// for `name`. The caller sets the time limit.
///
/// # Errors
/// What the transport or the server did wrong.
pub async fn shown_certificate<S>(
    mut io: S,
    name: ServerName<'static>,
) -> io::Result<CertificateDer<'static>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut tls = ClientConnection::new(config().map_err(invalid)?, name).map_err(invalid)?;
    let mut buf = vec![0; READ];
    let mut taken = 0;
    while tls.is_handshaking() {
        while tls.wants_write() {
            let mut out = Vec::new();
            tls.write_tls(&mut out)?;
            io.write_all(&out).await?;
        }
        io.flush().await?;
        if !tls.is_handshaking() {
            break;
        }
        let n = io.read(&mut buf).await?;
        taken += n;
        if n == 0 || taken > HANDSHAKE_MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = buf.get(..n).unwrap_or_default();
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes)?;
            tls.process_new_packets().map_err(invalid)?;
        }
    }
    let leaf = tls.peer_certificates().and_then(|chain| chain.first());
    leaf.map(|leaf| leaf.clone().into_owned()).ok_or_else(|| invalid("no certificate"))
}

pub(super) fn config() -> Result<Arc<ClientConfig>, Error> {
    Ok(Arc::new(builder()?.with_no_client_auth()))
}

/// For a client that may prove who it is.
pub(super) fn builder() -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyIssuer(provider))))
}

/// Takes certificates of whomever, but only with their key.
#[derive(Debug)]
struct AnyIssuer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyIssuer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
