//! TLS, server side, without a buffer while idle.
//!
//! rustls does the protocol through its unbuffered interface; this stream lends it scratch buffers
//! of the thread, and owns bytes only between the first and the last byte of a record, or while the
//! peer does not take what is sent. `futures-rustls` would keep 4 KB per idle connection for
//! reading, and up to 16 KB more after a large message: half of what an agent may cost here.
//!
//! Whoever reads or writes much at a time gets several records per system call; what is decrypted
//! goes straight to the reader.

pub mod client;
#[cfg(feature = "legacy-amt")]
pub mod legacy;
mod scratch;
mod shown;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::future::poll_fn;
use futures_lite::io::{AsyncRead, AsyncWrite};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

pub use shown::shown_certificate;

use scratch::{READ_MAX, RECORD, SEALED_MAX, with_incoming, with_outgoing};

/// Plaintext taken by one write, in bytes: four full records.
const WRITE_MAX: usize = 64 * 1024;

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
        let ended = poll_fn(|cx| stream.poll_receive(cx, &mut [])).await;
        let ended = ended.map(|(_, ended)| ended);
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

    /// Version and cipher suite in use, `TLS 1.3 TLS13_AES_256_GCM_SHA384`.
    pub fn describe(&self) -> String {
        let version = match self.connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        match self.connection.negotiated_cipher_suite() {
            Some(suite) => format!("{version} {:?}", suite.suite()),
            None => version.to_owned(),
        }
    }

    /// Reads from the transport once and processes what came. Plaintext goes to `buf` first and
    /// waits only if there is more. Returns how much of `buf` was filled, and true at the end of
    /// the stream.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, bool)>> {
        if self.ended {
            return Poll::Ready(Ok((0, true)));
        }
        with_incoming(|scratch| {
            let Self { io, incoming, .. } = self;
            let kept = incoming.len();
            // What is kept is at most one record, and the scratch holds one more than is read.
            let Some((front, room)) = scratch.split_at_mut_checked(kept) else {
                return Poll::Ready(Err(invalid("a record that is too long")));
            };
            front.copy_from_slice(incoming);
            // About as much as the reader has room for, so that little has to wait.
            let wanted = buf.len().clamp(RECORD, READ_MAX);
            let room = room.get_mut(..wanted).unwrap_or_default();
            let n = ready!(Pin::new(io).poll_read(cx, room))?;
            if n == 0 {
                self.ended = true;
                return Poll::Ready(Ok((0, true)));
            }
            *incoming = Vec::new();
            let all = scratch.get_mut(..kept + n).unwrap_or_default();
            let mut reader = Reader { buf, filled: 0 };
            let used = self.process(all, &mut reader)?;
            let rest = all.get(used..).unwrap_or_default();
            if rest.len() > RECORD {
                return Poll::Ready(Err(invalid("a record that is too long")));
            }
            self.incoming = rest.to_vec();
            Poll::Ready(Ok((reader.filled, self.ended)))
        })
    }

    /// Lets rustls work on `bytes` as far as it can. Returns how many of them are done with.
    fn process(&mut self, bytes: &mut [u8], reader: &mut Reader<'_>) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let rest = bytes.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            let starved = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        let waiting = reader.take(record.payload, self.plaintext.is_empty());
                        self.plaintext.extend_from_slice(waiting);
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

    /// Moves plaintext that waits to the front of `buf`; how much.
    fn take_plaintext(&mut self, buf: &mut [u8]) -> usize {
        let rest = self.plaintext.get(self.read..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf.get_mut(..n).unwrap_or_default().copy_from_slice(rest.get(..n).unwrap_or_default());
        self.read += n;
        if self.read == self.plaintext.len() {
            (self.plaintext, self.read) = (Vec::new(), 0);
        }
        n
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

    /// Encrypts `plaintext` and hands the ciphertext to the transport. What that does not take
    /// waits, behind what was waiting before.
    fn poll_encrypted(&mut self, cx: &mut Context<'_>, plaintext: &[u8]) -> Poll<io::Result<()>> {
        with_outgoing(|sealed| {
            let length = self.with_traffic(|traffic, _| {
                let room = sealed.get_mut(..SEALED_MAX).unwrap_or_default();
                traffic.encrypt(plaintext, room).map_err(|error| match error {
                    EncryptError::InsufficientSize(_) => invalid("TLS asks for room it has"),
                    error => invalid(error),
                })
            })?;
            let sealed = sealed.get(..length).unwrap_or_default();
            let mut taken = 0;
            if self.outgoing.is_empty()
                && let Poll::Ready(n) = Pin::new(&mut self.io).poll_write(cx, sealed)
            {
                taken = n?;
            }
            self.outgoing.extend_from_slice(sealed.get(taken..).unwrap_or_default());
            self.poll_send(cx)
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
    fn with_traffic<T>(
        &mut self,
        send: impl FnOnce(
            &mut rustls::unbuffered::WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut Vec<u8>,
        ) -> io::Result<T>,
    ) -> io::Result<T> {
        // What waits of an unfinished record is shown again, so that nothing is lost of it.
        let mut incoming = std::mem::take(&mut self.incoming);
        let used = self.process(&mut incoming, &mut Reader { buf: &mut [], filled: 0 })?;
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

/// Room of somebody who reads right now.
struct Reader<'b> {
    buf: &'b mut [u8],
    filled: usize,
}

impl Reader<'_> {
    /// Takes what there is room for, unless older bytes wait; returns the rest.
    fn take<'p>(&mut self, payload: &'p [u8], is_next: bool) -> &'p [u8] {
        if !is_next {
            return payload;
        }
        let room = self.buf.get_mut(self.filled..).unwrap_or_default();
        let n = room.len().min(payload.len());
        let (now, later) = payload.split_at(n);
        room.get_mut(..n).unwrap_or_default().copy_from_slice(now);
        self.filled += n;
        later
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
        let waiting = this.take_plaintext(buf);
        let room = buf.get_mut(waiting..).unwrap_or_default();
        // What waited is often the small end of a message: more is worth a look.
        if waiting > 0 && room.len() < RECORD {
            return Poll::Ready(Ok(waiting));
        }
        loop {
            let received = this.poll_receive(cx, room);
            // Answers of the protocol itself (key updates, alerts) leave when there is room.
            let sent = this.poll_send(cx);
            let filled = match received {
                Poll::Ready(Ok((filled, _))) => waiting + filled,
                _ => waiting,
            };
            if filled > 0 {
                // Also from a peer that takes nothing any more. What is wrong shows again.
                return Poll::Ready(Ok(filled));
            }
            if let (true, Poll::Ready(Err(error))) = (this.plaintext.is_empty(), sent) {
                return Poll::Ready(Err(error));
            }
            let (_, ended) = ready!(received)?;
            // The end comes after what was received with it.
            if ended && this.plaintext.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let waiting = this.take_plaintext(room);
            if waiting > 0 {
                return Poll::Ready(Ok(waiting));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    /// Takes at most [`WRITE_MAX`] bytes, and only when the transport has taken all before: what
    /// waits in memory stays below 66 KB, and is nothing while the transport keeps up.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_send(cx))?;
        let plaintext = buf.get(..WRITE_MAX).unwrap_or(buf);
        if plaintext.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // The bytes count as written now, whether the transport takes them now or later.
        match this.poll_encrypted(cx, plaintext) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(plaintext.len())),
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
