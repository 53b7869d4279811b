//! TLS, server side, without a buffer while idle.
//!
//! rustls does the protocol through its unbuffered interface; this stream lends it one scratch
//! buffer per thread, and owns bytes only between the first and the last byte of a record, or while
//! the peer does not take what is sent. `futures-rustls` would keep 4 KB per idle connection for
//! reading, and up to 16 KB more after a large message: half of what an agent may cost here.

mod scratch;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::future::poll_fn;
use futures_lite::io::{AsyncRead, AsyncWrite};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use scratch::{RECORD, with_scratch};

/// Longest plaintext of one record.
const PLAINTEXT: usize = 16 * 1024;

/// A TLS connection over `S`, after its handshake.
pub struct TlsStream<S> {
    io: S,
    connection: UnbufferedServerConnection,
    /// Ciphertext of a record that is not complete yet.
    incoming: Vec<u8>,
    /// Plaintext that was not read yet, from `read` on.
    plaintext: Vec<u8>,
    read: usize,
    /// Ciphertext that the transport did not take yet, from `written` on.
    outgoing: Vec<u8>,
    written: usize,
    /// The peer has ended its side.
    ended: bool,
    /// Our side has been ended.
    closing: bool,
}

/// Accepts a connection: does the handshake. The caller sets the time limit.
///
/// # Errors
/// What the transport or the peer did wrong; the peer has been sent an alert if possible.
pub async fn accept<S>(io: S, config: Arc<ServerConfig>) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = UnbufferedServerConnection::new(config).map_err(invalid)?;
    let mut stream = TlsStream {
        io,
        connection,
        incoming: Vec::new(),
        plaintext: Vec::new(),
        read: 0,
        outgoing: Vec::new(),
        written: 0,
        ended: false,
        closing: false,
    };
    while stream.connection.is_handshaking() {
        let ended = poll_fn(|cx| stream.poll_receive(cx)).await;
        // Also what an error has to tell the peer.
        let flushed = poll_fn(|cx| stream.poll_send(cx)).await;
        if ended? && stream.connection.is_handshaking() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        flushed?;
    }
    Ok(stream)
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// The stream beneath.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// Reads from the transport once and processes what came. True at the end of the stream.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.ended {
            return Poll::Ready(Ok(true));
        }
        with_scratch(|scratch| {
            let Self { io, incoming, .. } = self;
            let kept = incoming.len();
            // What is kept is at most half of the scratch, so there is always room to read into.
            let Some((front, room)) = scratch.split_at_mut_checked(kept) else {
                return Poll::Ready(Err(invalid("a record that is too long")));
            };
            front.copy_from_slice(incoming);
            let n = ready!(Pin::new(io).poll_read(cx, room))?;
            if n == 0 {
                self.ended = true;
                return Poll::Ready(Ok(true));
            }
            *incoming = Vec::new();
            let all = scratch.get_mut(..kept + n).unwrap_or_default();
            let used = self.process(all)?;
            let rest = all.get(used..).unwrap_or_default();
            if rest.len() > RECORD {
                return Poll::Ready(Err(invalid("a record that is too long")));
            }
            self.incoming = rest.to_vec();
            Poll::Ready(Ok(self.ended))
        })
    }

    /// Lets rustls work on `bytes` as far as it can. Returns how many of them are done with.
    fn process(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let rest = bytes.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            let starved = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        self.plaintext.extend_from_slice(record.payload);
                    }
                    false
                }
                Ok(ConnectionState::ReadEarlyData(mut early)) => {
                    // Never offered; what comes all the same is dropped.
                    while let Some(record) = early.next_record() {
                        discard += record.map_err(invalid)?.discard;
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.outgoing, |room| match data.encode(room) {
                        Ok(n) => Ok(Ok(n)),
                        Err(EncodeError::InsufficientSize(size)) => Ok(Err(size.required_size)),
                        Err(error) => Err(invalid(error)),
                    })?;
                    false
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    // It is in `outgoing` and leaves from there.
                    data.done();
                    false
                }
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => true,
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.ended = true;
                    true
                }
                Ok(_) => return Err(invalid("an unknown TLS state")),
                Err(error) => {
                    self.queue_alert();
                    return Err(invalid(error));
                }
            };
            used += discard;
            if starved {
                return Ok(used);
            }
        }
    }

    /// After an error: what rustls wants to tell the peer.
    fn queue_alert(&mut self) {
        while let Ok(ConnectionState::EncodeTlsData(mut data)) =
            self.connection.process_tls_records(&mut []).state
        {
            let queued = append(&mut self.outgoing, |room| match data.encode(room) {
                Ok(n) => Ok(Ok(n)),
                Err(EncodeError::InsufficientSize(size)) => Ok(Err(size.required_size)),
                Err(error) => Err(invalid(error)),
            });
            if queued.is_err() {
                return;
            }
        }
    }

    /// Hands waiting ciphertext to the transport. Ready when there is none.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.outgoing.get(self.written..).filter(|r| !r.is_empty()) {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
        }
        if self.outgoing.capacity() > 0 {
            self.outgoing = Vec::new();
        }
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Encrypts `plaintext` (at most one record) behind what is waiting.
    fn encrypt(&mut self, plaintext: &[u8]) -> io::Result<()> {
        self.with_traffic(|traffic, outgoing| {
            append(outgoing, |room| match traffic.encrypt(plaintext, room) {
                Ok(n) => Ok(Ok(n)),
                Err(EncryptError::InsufficientSize(size)) => Ok(Err(size.required_size)),
                Err(error) => Err(invalid(error)),
            })
        })
    }

    fn queue_close_notify(&mut self) -> io::Result<()> {
        self.with_traffic(|traffic, outgoing| {
            append(outgoing, |room| match traffic.queue_close_notify(room) {
                Ok(n) => Ok(Ok(n)),
                Err(EncryptError::InsufficientSize(size)) => Ok(Err(size.required_size)),
                Err(error) => Err(invalid(error)),
            })
        })
    }

    /// Brings the connection to the state in which it can send, and sends.
    fn with_traffic(
        &mut self,
        send: impl FnOnce(
            &mut rustls::unbuffered::WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut Vec<u8>,
        ) -> io::Result<()>,
    ) -> io::Result<()> {
        // What waits of an unfinished record is shown again, so that nothing is lost of it.
        let mut incoming = std::mem::take(&mut self.incoming);
        let used = self.process(&mut incoming)?;
        incoming.drain(..used);
        self.incoming = incoming;
        let UnbufferedStatus { state, .. } =
            self.connection.process_tls_records(&mut self.incoming);
        match state.map_err(invalid)? {
            ConnectionState::WriteTraffic(mut traffic) => send(&mut traffic, &mut self.outgoing),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// Lets `fill` write behind `buffer`: it is given room, and says how much it used or needs.
fn append(
    buffer: &mut Vec<u8>,
    mut fill: impl FnMut(&mut [u8]) -> io::Result<Result<usize, usize>>,
) -> io::Result<()> {
    let start = buffer.len();
    let mut room = 0;
    loop {
        buffer.resize(start + room, 0);
        match fill(buffer.get_mut(start..).unwrap_or_default())? {
            Ok(used) => {
                buffer.truncate(start + used);
                return Ok(());
            }
            Err(needed) if needed > room => room = needed,
            Err(_) => return Err(invalid("TLS asks for room it has")),
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            let rest = this.plaintext.get(this.read..).unwrap_or_default();
            if !rest.is_empty() {
                let n = rest.len().min(buf.len());
                buf.get_mut(..n).unwrap_or_default().copy_from_slice(rest.get(..n).unwrap_or(rest));
                this.read += n;
                if this.read == this.plaintext.len() {
                    (this.plaintext, this.read) = (Vec::new(), 0);
                }
                return Poll::Ready(Ok(n));
            }
            let received = this.poll_receive(cx);
            // Answers of the protocol itself (key updates, alerts) leave when there is room.
            if let Poll::Ready(Err(error)) = this.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            // The end comes after what was received with it.
            if ready!(received)? && this.plaintext.is_empty() {
                return Poll::Ready(Ok(0));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    /// Takes at most one record, and only when the transport has taken the last one: what waits in
    /// memory stays below 17 KB.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_send(cx))?;
        let record = buf.get(..PLAINTEXT).unwrap_or(buf);
        if record.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.encrypt(record)?;
        // The bytes count as written now, whether the transport takes them now or later.
        match this.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(record.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            self.closing = true;
            // A connection that is broken already needs no farewell.
            let _ = self.queue_close_notify();
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
