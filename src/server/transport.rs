//! What HTTP runs on: TLS, or a bare connection from a proxy that has ended TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_net::TcpStream;
use futures_lite::io::{AsyncRead, AsyncWrite};
use rustls::ServerConfig;

use crate::tls::{self, TlsStream};

/// The first byte of a TLS handshake (RFC 8446, section 5.1); no HTTP method begins with it.
const HANDSHAKE: u8 = 0x16;

/// A connection that is ready for HTTP.
#[expect(clippy::large_enum_variant, reason = "boxed as a whole, and mostly the large one")]
pub enum Transport {
    /// With TLS of ours.
    Tls(TlsStream<TcpStream>),
    /// Without.
    Plain(TcpStream),
}

/// How the other side begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// As TLS does.
    Tls,
    /// Otherwise: HTTP, or nonsense.
    Plain,
}

/// Looks at the first byte without taking it.
pub async fn opening(stream: &TcpStream) -> io::Result<Opening> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if first == [HANDSHAKE] => Ok(Opening::Tls),
        _ => Ok(Opening::Plain),
    }
}

/// Does the TLS handshake. The caller sets the time limit.
pub async fn accept(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<Transport> {
    tls::accept(stream, config).await.map(Transport::Tls)
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_close(cx),
            Self::Plain(stream) => Pin::new(stream).poll_close(cx),
        }
    }
}
