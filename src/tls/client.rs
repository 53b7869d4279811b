//! TLS as a client, towards peers that are known by their certificate alone.
//!
//! Whoever signed it, the peer proves to have its key; the caller compares the certificate with the
//! one it knows before it says anything. For connections that are few and short: it keeps the
//! buffers of rustls while it is open.

use std::io::{self, Read as _, Write as _};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures_lite::future::poll_fn;
use futures_lite::io::{AsyncRead, AsyncWrite};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection};

use super::{invalid, shown};

/// Bytes of ciphertext read at a time.
const PIECE: usize = 4096;

/// A TLS connection over `S`, after its handshake.
pub struct ClientStream<S> {
    io: S,
    tls: ClientConnection,
    /// Ciphertext that the transport did not take yet, from `written` on.
    outgoing: Vec<u8>,
    written: usize,
    ended: bool,
}

/// With what a client proves who it is.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    /// The leaf first, DER.
    pub chain: &'a [Vec<u8>],
    /// Of the leaf.
    pub key: &'a PrivateKeyDer<'static>,
}

/// Does the handshake; no name is asked for. The caller sets the time limit.
///
/// # Errors
/// What the transport or the peer did wrong.
pub async fn connect<S>(io: S) -> io::Result<ClientStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = match CONFIG.get() {
        Some(config) => config.clone(),
        None => {
            let made = shown::config().map_err(invalid)?;
            CONFIG.get_or_init(|| made).clone()
        }
    };
    connect_by(io, config).await
}

/// The same; whoever asks who we are is shown this. The handshake signs with an RSA key.
///
/// # Errors
/// What the transport or the peer did wrong, or that the key is none.
pub async fn connect_as<S>(io: S, proof: Proof<'_>) -> io::Result<ClientStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let chain = proof.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let config = shown::builder().map_err(invalid)?;
    let config = config.with_client_auth_cert(chain, proof.key.clone_key()).map_err(invalid)?;
    connect_by(io, Arc::new(config)).await
}

async fn connect_by<S>(io: S, config: Arc<ClientConfig>) -> io::Result<ClientStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let nobody = ServerName::from(std::net::Ipv4Addr::UNSPECIFIED);
    let tls = ClientConnection::new(config, nobody).map_err(invalid)?;
    let mut stream = ClientStream { io, tls, outgoing: Vec::new(), written: 0, ended: false };
    while stream.tls.is_handshaking() {
        poll_fn(|cx| stream.poll_send(cx)).await?;
        if stream.tls.is_handshaking() {
            poll_fn(|cx| stream.poll_fill(cx)).await?;
            if stream.ended && stream.tls.is_handshaking() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    poll_fn(|cx| stream.poll_send(cx)).await?;
    Ok(stream)
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientStream<S> {
    /// The leaf certificate of the peer, DER.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.tls.peer_certificates().and_then(|chain| chain.first())
    }

    /// Version and cipher suite in use, `TLS 1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
    pub fn describe(&self) -> String {
        let version = match self.tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        match self.tls.negotiated_cipher_suite() {
            Some(suite) => format!("{version} {:?}", suite.suite()),
            None => version.to_owned(),
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0; PIECE];
        let count = ready!(Pin::new(&mut self.io).poll_read(cx, &mut piece))?;
        self.ended |= count == 0;
        let mut bytes = piece.get(..count).unwrap_or_default();
        loop {
            self.tls.read_tls(&mut bytes)?;
            if let Err(error) = self.tls.process_new_packets() {
                // The peer is told; whether it hears that matters to nobody.
                let _ = self.poll_send(cx);
                return Poll::Ready(Err(invalid(error)));
            }
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Ready when the transport has taken everything.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.outgoing)?;
        }
        while let Some(rest) = self.outgoing.get(self.written..).filter(|r| !r.is_empty()) {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        (self.outgoing, self.written) = (Vec::new(), 0);
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            match this.tls.reader().read(buffer) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An end without a farewell is an end: firmware says none.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(0));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            if this.ended {
                return Poll::Ready(Ok(0));
            }
            if let Poll::Ready(Err(error)) = this.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            ready!(this.poll_fill(cx))?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    /// Takes at most one record, and only when the transport has taken the last one.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_send(cx))?;
        let count = this.tls.writer().write(bytes.get(..16 * 1024).unwrap_or(bytes))?;
        match this.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.send_close_notify();
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}
