use std::sync::Arc;

use futures_lite::future::{block_on, zip};
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
use proptest::prelude::*;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;
use crate::identity::tls::WebTls;
use crate::identity::{Names, load_or_make_web};

/// A client that takes any certificate.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn server_config() -> Arc<ServerConfig> {
    static CONFIG: std::sync::LazyLock<Arc<ServerConfig>> = std::sync::LazyLock::new(|| {
        let dir = tempfile::tempdir().unwrap();
        let names = Names { server: "localhost".into(), others: vec![] };
        WebTls::new(load_or_make_web(dir.path(), &names).unwrap()).server_config().unwrap()
    });
    CONFIG.clone()
}

fn connector(version: &'static rustls::SupportedProtocolVersion) -> futures_rustls::TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    Arc::new(config).into()
}

/// A transport that moves at most `step` bytes per call, and does nothing at every third call.
struct Reluctant<S> {
    io: S,
    step: usize,
    calls: usize,
}

impl<S> Reluctant<S> {
    fn pauses(&mut self, cx: &mut Context<'_>) -> bool {
        self.calls += 1;
        let pause = self.calls.is_multiple_of(3);
        if pause {
            cx.waker().wake_by_ref();
        }
        pause
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Reluctant<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.pauses(cx) {
            return Poll::Pending;
        }
        let step = self.step.min(buf.len());
        Pin::new(&mut self.io).poll_read(cx, &mut buf[..step])
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Reluctant<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.pauses(cx) {
            return Poll::Pending;
        }
        let step = self.step.min(buf.len());
        Pin::new(&mut self.io).poll_write(cx, &buf[..step])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// A connected pair of sockets.
fn pair() -> (async_net::unix::UnixStream, async_net::unix::UnixStream) {
    async_net::unix::UnixStream::pair().unwrap()
}

/// Sends `data` to a server that sends it back, and returns what came back.
fn echo(
    version: &'static rustls::SupportedProtocolVersion,
    data: &[u8],
    step: usize,
    chunk: usize,
) -> Vec<u8> {
    let (near, far) = pair();
    let server = async move {
        let io = Reluctant { io: far, step, calls: 0 };
        let mut stream = accept(io, server_config()).await.unwrap();
        let mut buffer = vec![0; chunk];
        loop {
            let n = stream.read(&mut buffer).await.unwrap();
            if n == 0 {
                break;
            }
            stream.write_all(&buffer[..n]).await.unwrap();
            stream.flush().await.unwrap();
        }
        stream.close().await.unwrap();
        assert_eq!(stream.incoming.capacity() + stream.plaintext.capacity(), 0);
        assert_eq!(stream.outgoing.capacity(), 0);
    };
    let client = async {
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector(version).connect(name, near).await.unwrap();
        let (mut reader, mut writer) = futures_lite::io::split(stream);
        let mut back = Vec::new();
        let send = async {
            writer.write_all(data).await.unwrap();
            writer.close().await.unwrap();
        };
        let receive = async {
            let mut buffer = vec![0; 4096];
            loop {
                // The end is told by the protocol: a cut line would be an error here.
                let n = reader.read(&mut buffer).await.unwrap();
                if n == 0 {
                    break;
                }
                back.extend_from_slice(&buffer[..n]);
            }
        };
        zip(send, receive).await;
        back
    };
    block_on(zip(server, client)).1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_sent_comes_back_however_the_transport_cuts_it(
        len in 0usize..200_000,
        step in 1usize..100_000,
        chunk in 1usize..100_000,
        tls13: bool,
    ) {
        // A byte at a time is slow and proves nothing more with much data.
        let len = if step < 100 || chunk < 100 { len % 3000 } else { len };
        let version = if tls13 { &rustls::version::TLS13 } else { &rustls::version::TLS12 };
        let data: Vec<u8> = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
        prop_assert_eq!(echo(version, &data, step, chunk), data);
    }

    #[test]
    fn garbage_is_refused_with_an_alert_and_without_a_panic(
        garbage in prop::collection::vec(any::<u8>(), 1..3000),
    ) {
        let (mut near, far) = pair();
        let client = async move {
            let _ = near.write_all(&garbage).await;
            let _ = near.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = near.read_to_end(&mut answer).await;
        };
        let (refused, ()) = block_on(zip(accept(far, server_config()), client));
        prop_assert!(refused.is_err());
    }
}

#[test]
fn what_waited_and_what_has_come_since_are_one_read() {
    let (near, far) = pair();
    let (told, heard) = async_channel::bounded::<()>(1);
    let server = async move {
        let mut stream = accept(far, server_config()).await.unwrap();
        heard.recv().await.unwrap();
        let mut buffer = vec![0; 100_000];
        assert_eq!(stream.read(&mut buffer[..10]).await.unwrap(), 10);
        // Of the first records something waits; the others are in the socket.
        let waiting = stream.plaintext.len() - stream.read;
        assert!(waiting > 0);
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > waiting, "{n} of {waiting} that waited");
        assert!(buffer[..n].iter().all(|byte| *byte == 7));
        // Without room for a record only what waits is given: nothing is decrypted to wait again.
        let mut small = [0; 5];
        assert_eq!(stream.read(&mut small).await.unwrap(), 5);
        assert_eq!(stream.read(&mut small).await.unwrap(), 5);
    };
    let client = async move {
        let name = ServerName::try_from("localhost").unwrap();
        let connector = connector(&rustls::version::TLS13);
        let mut stream = connector.connect(name, near).await.unwrap();
        stream.write_all(&[7; 150_000]).await.unwrap();
        stream.flush().await.unwrap();
        told.send(()).await.unwrap();
        stream
    };
    block_on(zip(server, client));
}

#[test]
fn a_client_that_speaks_http_is_told_by_an_alert() {
    let (mut near, far) = pair();
    let client = async move {
        near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = near.read_to_end(&mut answer).await;
        answer
    };
    let (refused, answer) = block_on(zip(
        async {
            let refused = accept(far, server_config()).await;
            refused.err().map(|e| e.kind())
        },
        client,
    ));
    assert_eq!(refused, Some(io::ErrorKind::InvalidData));
    assert_eq!(answer.first(), Some(&21), "an alert record: {answer:?}");
}

#[test]
fn a_peer_that_leaves_during_the_handshake_is_an_error() {
    let (near, far) = pair();
    drop(near);
    let refused = block_on(accept(far, server_config()));
    assert_eq!(refused.err().map(|e| e.kind()), Some(io::ErrorKind::UnexpectedEof));
}

#[test]
fn an_idle_stream_is_small() {
    let size = size_of::<TlsStream<async_net::TcpStream>>();
    assert!(size <= 1400, "{size}");
}
