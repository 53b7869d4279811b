//! TLS 1.0 and 1.1, and RSA key exchange, by OpenSSL: for Intel AMT from before 2018, on its own
//! port only.
//!
//! OpenSSL works on two buffers in memory, and this stream carries their bytes. A connection keeps
//! some 10 KB more than one of rustls does.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use futures_lite::future::poll_fn;
use futures_lite::io::{AsyncRead, AsyncWrite};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslMode, SslOptions,
    SslStream, SslVersion,
};
use openssl::x509::X509;

use super::client::Proof;

/// What firmware of each generation has, best first; nothing with 3DES or RC4.
const SUITES: &str = "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:\
    AES256-GCM-SHA384:AES128-GCM-SHA256:ECDHE-RSA-AES256-SHA:ECDHE-RSA-AES128-SHA:\
    AES256-SHA256:AES128-SHA256:AES256-SHA:AES128-SHA:@SECLEVEL=0";
/// Bytes of ciphertext read at a time.
const PIECE: usize = 4096;

/// The certificate and what is allowed with it.
pub struct Context(SslContext);

impl Context {
    /// Serves the certificate and key in these PEM files; `high` forbids what is below TLS 1.2.
    ///
    /// # Errors
    /// What OpenSSL says about the files.
    pub fn new(certificate: &Path, key: &Path, high: bool) -> Result<Self, ErrorStack> {
        let mut context = SslContextBuilder::new(SslMethod::tls_server())?;
        // In the code: a machine's openssl.cnf may forbid old versions, and would cut firmware off.
        context.set_security_level(0);
        let oldest = if high { SslVersion::TLS1_2 } else { SslVersion::TLS1 };
        context.set_min_proto_version(Some(oldest))?;
        context.set_max_proto_version(Some(SslVersion::TLS1_2))?;
        context.set_cipher_list(SUITES)?;
        context.set_certificate_chain_file(certificate)?;
        context.set_private_key_file(key, SslFiletype::PEM)?;
        context.check_private_key()?;
        context.set_mode(SslMode::RELEASE_BUFFERS);
        context.set_options(SslOptions::CIPHER_SERVER_PREFERENCE | SslOptions::NO_RENEGOTIATION);
        Ok(Self(context.build()))
    }

    /// Accepts a connection: does the handshake. The caller sets the time limit.
    ///
    /// # Errors
    /// What the transport or the peer did wrong; the peer has been sent an alert if possible.
    pub async fn accept<S>(&self, io: S) -> io::Result<Stream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ssl = Ssl::new(&self.0)?;
        let mut stream = Stream { io, ssl: SslStream::new(ssl, Pipe::default())?, closing: false };
        loop {
            let result = stream.ssl.accept();
            poll_fn(|cx| stream.poll_send(cx)).await?;
            match result {
                Ok(()) => return Ok(stream),
                Err(error) if error.code() == ErrorCode::WANT_READ => {
                    poll_fn(|cx| stream.poll_fill(cx)).await?;
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }
}

/// Connects to a server: does the handshake, with any version and without questions about the
/// certificate, which the caller compares with the one it knows. Who asks who we are is shown
/// `proof`. The caller sets the time limit.
///
/// # Errors
/// What the transport or the peer did wrong.
pub async fn connect<S>(io: S, proof: Option<Proof<'_>>) -> io::Result<Stream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut context = SslContextBuilder::new(SslMethod::tls_client())?;
    context.set_security_level(0);
    context.set_min_proto_version(Some(SslVersion::TLS1))?;
    context.set_cipher_list(SUITES)?;
    context.set_mode(SslMode::RELEASE_BUFFERS);
    // Firmware from before RFC 5746 cannot say that it renegotiates safely.
    context.set_options(SslOptions::ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
    if let Some(Proof { chain, key }) = proof {
        let mut chain = chain.iter();
        if let Some(leaf) = chain.next() {
            context.set_certificate(&*X509::from_der(leaf)?)?;
        }
        for der in chain {
            context.add_extra_chain_cert(X509::from_der(der)?)?;
        }
        context.set_private_key(&*PKey::private_key_from_der(key.secret_der())?)?;
    }
    let ssl = Ssl::new(&context.build())?;
    let mut stream = Stream { io, ssl: SslStream::new(ssl, Pipe::default())?, closing: false };
    loop {
        let result = stream.ssl.connect();
        poll_fn(|cx| stream.poll_send(cx)).await?;
        match result {
            Ok(()) => return Ok(stream),
            Err(error) if error.code() == ErrorCode::WANT_READ => {
                poll_fn(|cx| stream.poll_fill(cx)).await?;
            }
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

/// Ciphertext on its way.
#[derive(Default)]
struct Pipe {
    incoming: VecDeque<u8>,
    outgoing: VecDeque<u8>,
    ended: bool,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.incoming.read(buffer)?;
        if self.incoming.is_empty() {
            self.incoming = VecDeque::new();
        }
        Ok(count)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A TLS connection over `S`, after its handshake.
pub struct Stream<S> {
    io: S,
    ssl: SslStream<Pipe>,
    closing: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// The certificate of the peer, DER.
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        self.ssl.ssl().peer_certificate()?.to_der().ok()
    }

    /// Version and cipher suite in use.
    pub fn describe(&self) -> String {
        let ssl = self.ssl.ssl();
        let suite = ssl.current_cipher().map_or("", |suite| suite.name());
        let version = match ssl.version_str() {
            "TLSv1" => "TLS 1.0",
            "TLSv1.1" => "TLS 1.1",
            "TLSv1.3" => "TLS 1.3",
            _ => "TLS 1.2",
        };
        format!("{version} {suite}")
    }

    fn poll_fill(&mut self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0; PIECE];
        let count = ready!(Pin::new(&mut self.io).poll_read(cx, &mut piece))?;
        let pipe = self.ssl.get_mut();
        pipe.ended |= count == 0;
        pipe.incoming.extend(piece.get(..count).unwrap_or_default());
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        let Self { io, ssl, .. } = self;
        let pipe = ssl.get_mut();
        while !pipe.outgoing.is_empty() {
            let (front, _) = pipe.outgoing.as_slices();
            let count = ready!(Pin::new(&mut *io).poll_write(cx, front))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            pipe.outgoing.drain(..count);
        }
        pipe.outgoing = VecDeque::new();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Task<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            match this.ssl.ssl_read(buffer) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(error) => match error.code() {
                    ErrorCode::ZERO_RETURN => return Poll::Ready(Ok(0)),
                    // An end without a farewell is an end.
                    _ if this.ssl.get_ref().ended => return Poll::Ready(Ok(0)),
                    ErrorCode::WANT_READ => {}
                    _ => {
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                    }
                },
            }
            if let Poll::Ready(Err(error)) = this.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            ready!(this.poll_fill(cx))?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    /// Takes at most one record, and only when the transport has taken the last one.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Task<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_send(cx))?;
        let record = bytes.get(..16 * 1024).unwrap_or(bytes);
        if record.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let count = this
            .ssl
            .ssl_write(record)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        match this.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            self.closing = true;
            // A connection that is broken already needs no farewell.
            let _ = self.ssl.shutdown();
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use async_io::Async;
    use futures_lite::future::block_on;
    use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use openssl::ssl::{SslConnector, SslVerifyMode};

    use super::*;
    use crate::identity::{Names, Role, load_or_make_rsa};

    /// A client of the time: this version, this suite, no questions about the certificate.
    fn client(port: u16, version: SslVersion, suite: &str) -> io::Result<SslStream<TcpStream>> {
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        connector.set_security_level(0);
        connector.set_min_proto_version(Some(version))?;
        connector.set_max_proto_version(Some(version))?;
        connector.set_cipher_list(suite)?;
        connector.set_verify(SslVerifyMode::NONE);
        let tcp = TcpStream::connect(("127.0.0.1", port))?;
        connector.build().connect("127.0.0.1", tcp).map_err(io::Error::other)
    }

    #[test]
    fn old_clients_are_served_and_what_they_say_is_carried_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names { server: "127.0.0.1".into(), others: vec![] };
        load_or_make_rsa(folder.path(), &names, 0).unwrap();
        let [certificate, key] =
            [Role::Mps.cert_path(folder.path()), Role::Mps.key_path(folder.path())];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Longer than a record, and than what a socket takes at once.
        let long: Vec<u8> = (0..400_000u32).map(|n| n as u8).collect();
        for (high, version, suite, described) in [
            (false, SslVersion::TLS1, "AES128-SHA", Some("TLS 1.0 AES128-SHA")),
            (false, SslVersion::TLS1_1, "AES256-SHA", Some("TLS 1.1 AES256-SHA")),
            (false, SslVersion::TLS1_2, "AES128-GCM-SHA256", Some("TLS 1.2 AES128-GCM-SHA256")),
            (true, SslVersion::TLS1_2, "AES256-SHA256", Some("TLS 1.2 AES256-SHA256")),
            (true, SslVersion::TLS1_1, "AES256-SHA", None),
            (false, SslVersion::TLS1_2, "NULL-SHA", None),
        ] {
            let said = long.clone();
            let peer = thread::spawn(move || {
                let mut stream = client(port, version, suite)?;
                stream.write_all(&said)?;
                let mut heard = vec![0; said.len()];
                stream.read_exact(&mut heard)?;
                stream.shutdown().map_err(io::Error::other)?;
                Ok::<_, io::Error>(heard)
            });
            let context = Context::new(&certificate, &key, high).unwrap();
            let found = block_on(async {
                let (tcp, _) = listener.accept().unwrap();
                let mut stream = context.accept(Async::new(tcp)?).await?;
                let mut heard = vec![0; long.len()];
                stream.read_exact(&mut heard).await?;
                assert_eq!(heard, long);
                stream.write_all(&heard).await?;
                stream.flush().await?;
                assert_eq!(stream.read(&mut [0; 9]).await?, 0, "the end is an end");
                stream.close().await?;
                Ok::<_, io::Error>(stream.describe())
            });
            assert_eq!(found.ok().as_deref(), described, "{suite} {high}");
            let heard = peer.join().unwrap();
            assert_eq!(heard.is_ok_and(|heard| heard == long), described.is_some(), "{suite}");
        }
    }
}
