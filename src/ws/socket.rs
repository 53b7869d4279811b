//! A WebSocket over any byte stream, driven by `poll`.
//!
//! One task owns a socket and polls both directions; nothing is spawned. Memory of an idle socket:
//! the struct itself. While bytes arrive they live in the thread's scratch buffer; what is queued
//! outwards is counted by [`Socket::queued`] so that the owner can stop producing.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io as std_io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use futures_lite::io::{AsyncRead, AsyncWrite};

use super::frame::{Close, Error, Opcode, frame_header};
use super::wire::{Decoder, Event, Message};

/// Bytes read at a time.
const SCRATCH: usize = 16 * 1024;
/// Pongs are not queued behind more than this many bytes: a peer that pings and never reads
/// cannot grow the queue.
const PONG_MAX_QUEUE: usize = 4096;
/// Shorter texts are cheaper copied behind their frame header.
const OWNED_FROM: usize = 4096;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// One frame on its way out: header and owned bytes, then bytes shared with other sockets.
struct Outgoing {
    head: Vec<u8>,
    shared: Option<Bytes>,
}

impl Outgoing {
    fn len(&self) -> usize {
        self.head.len() + self.shared.as_ref().map_or(0, Bytes::len)
    }

    /// The contiguous bytes from `offset` on.
    fn rest(&self, offset: usize) -> &[u8] {
        match (self.head.get(offset..), &self.shared) {
            (Some(head), _) if !head.is_empty() => head,
            (_, Some(shared)) => {
                shared.get(offset.saturating_sub(self.head.len())..).unwrap_or_default()
            }
            _ => &[],
        }
    }
}

/// A server-side WebSocket.
pub struct Socket<S> {
    io: S,
    decoder: Decoder,
    /// Bytes read but not decoded yet, from `stash_at` on.
    stash: Vec<u8>,
    stash_at: usize,
    out: VecDeque<Outgoing>,
    /// Bytes of the first outgoing frame already written.
    written: usize,
    queued: usize,
    unflushed: bool,
    /// The close frame has been queued.
    closing: bool,
    last_received: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// A socket over `io` after the 101 answer. `leftover` are bytes the HTTP layer read too much;
    /// messages of more than `limit` bytes end the connection.
    pub fn new(io: S, leftover: &[u8], limit: usize) -> Self {
        Self {
            io,
            decoder: Decoder::new(limit),
            stash: leftover.to_vec(),
            stash_at: 0,
            out: VecDeque::new(),
            written: 0,
            queued: 0,
            unflushed: false,
            closing: false,
            last_received: Instant::now(),
        }
    }

    /// The stream beneath and the bytes read from it that no message was made of, for somebody who
    /// goes on by frames. To be used between messages, with nothing queued.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        let mut rest = self.stash;
        rest.drain(..self.stash_at.min(rest.len()));
        (self.io, rest)
    }

    /// Sets another message limit in bytes, e.g. after authentication.
    pub fn set_limit(&mut self, limit: usize) {
        self.decoder.set_limit(limit);
    }

    /// When bytes last arrived, whatever they were.
    pub fn last_received(&self) -> Instant {
        self.last_received
    }

    /// Bytes waiting to be written.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Queues a message as one frame.
    pub fn send(&mut self, message: &Message) {
        match message {
            Message::Text(data) => self.queue(Opcode::Text, data, None),
            Message::Binary(data) => self.queue(Opcode::Binary, data, None),
        }
    }

    /// Queues one text frame.
    pub fn send_text(&mut self, text: &str) {
        self.queue(Opcode::Text, text.as_bytes(), None);
    }

    /// Queues one text frame. A long text is sent from where it is, without a copy.
    pub fn send_text_owned(&mut self, text: String) {
        if text.len() < OWNED_FROM {
            return self.send_text(&text);
        }
        self.queue(Opcode::Text, &[], Some(Bytes::from(text)));
    }

    /// Queues one binary frame.
    pub fn send_binary(&mut self, data: &[u8]) {
        self.queue(Opcode::Binary, data, None);
    }

    /// Queues one binary frame made of `data` and bytes shared with other sockets.
    pub fn send_binary_shared(&mut self, data: &[u8], shared: Bytes) {
        self.queue(Opcode::Binary, data, Some(shared));
    }

    /// Queues one frame whose payload other sockets have as well; a long one is not copied.
    pub fn send_shared(&mut self, opcode: Opcode, payload: &Bytes) {
        if payload.len() < OWNED_FROM {
            return self.queue(opcode, payload, None);
        }
        self.queue(opcode, &[], Some(payload.clone()));
    }

    /// Queues a ping without payload.
    pub fn ping(&mut self) {
        self.queue(Opcode::Ping, &[], None);
    }

    fn queue(&mut self, opcode: Opcode, data: &[u8], shared: Option<Bytes>) {
        let length = data.len() + shared.as_ref().map_or(0, Bytes::len);
        let header = frame_header(opcode, length as u64);
        let mut head = Vec::with_capacity(header.len() + data.len());
        head.extend_from_slice(&header);
        head.extend_from_slice(data);
        self.queued += header.len() + length;
        self.out.push_back(Outgoing { head, shared });
    }

    /// Writes what is queued. Ready when everything has been handed to the transport.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<std_io::Result<()>> {
        while let Some(frame) = self.out.front() {
            let rest = frame.rest(self.written);
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(std_io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.written += n;
            self.queued -= n;
            if self.written == frame.len() {
                self.out.pop_front();
                self.written = 0;
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        // An idle socket keeps no queue.
        if self.out.capacity() > 0 {
            self.out = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }

    /// The next message. Pings are answered and pongs consumed on the way; what that queues, and
    /// whatever else is queued, is written as far as the transport takes it. `None` when the peer
    /// has closed.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<std_io::Result<Option<Message>>> {
        loop {
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            match self.decode_stash()? {
                Some(Event::Message(message)) => return Poll::Ready(Ok(Some(message))),
                Some(Event::Close(Close(_))) => return Poll::Ready(Ok(None)),
                Some(Event::Ping(payload)) => {
                    if self.queued <= PONG_MAX_QUEUE {
                        self.queue(Opcode::Pong, &payload, None);
                    }
                }
                Some(Event::Pong) => {}
                None => {
                    if ready!(self.poll_fill(cx))? == 0 {
                        return Poll::Ready(Ok(None));
                    }
                }
            }
        }
    }

    /// Decodes the next event out of the stash; frees it when it is used up.
    fn decode_stash(&mut self) -> std_io::Result<Option<Event>> {
        while let Some(rest) = self.stash.get_mut(self.stash_at..).filter(|r| !r.is_empty()) {
            let (used, event) = self.decoder.feed(rest).map_err(to_io)?;
            self.stash_at += used;
            if event.is_some() {
                return Ok(event);
            }
        }
        self.stash = Vec::new();
        self.stash_at = 0;
        Ok(None)
    }

    /// Reads into the thread's scratch buffer and stashes what came.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<std_io::Result<usize>> {
        BUFFER.with_borrow_mut(|buffer| {
            let n = ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
            let read = buffer.get(..n).unwrap_or_default();
            self.stash.extend_from_slice(read);
            self.last_received = Instant::now();
            Poll::Ready(Ok(n))
        })
    }

    /// Receives the next message; see [`Self::poll_recv`].
    pub async fn recv(&mut self) -> std_io::Result<Option<Message>> {
        futures_lite::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Writes everything queued.
    pub async fn flush(&mut self) -> std_io::Result<()> {
        futures_lite::future::poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends a close frame (without a code if `None`), writes what is queued and ends the stream.
    /// The caller sets the time limit.
    pub async fn close(&mut self, code: Option<u16>) -> std_io::Result<()> {
        futures_lite::future::poll_fn(|cx| self.poll_close(cx, code)).await
    }

    /// The same by polling: the close frame is queued once, however often this is called.
    pub fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        code: Option<u16>,
    ) -> Poll<std_io::Result<()>> {
        if !self.closing {
            self.closing = true;
            match code {
                Some(code) => self.queue(Opcode::Close, &code.to_be_bytes(), None),
                None => self.queue(Opcode::Close, &[], None),
            }
        }
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// The I/O error that carries a codec error.
fn to_io(error: Error) -> std_io::Error {
    std_io::Error::new(std_io::ErrorKind::InvalidData, error)
}

/// Telling codec errors from transport errors.
pub mod io {
    use super::std_io;
    use crate::ws::Error;

    /// The codec error inside `error`, if the peer broke the protocol.
    pub fn protocol_error(error: &std_io::Error) -> Option<Error> {
        error.get_ref()?.downcast_ref().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;
    use std::rc::Rc;

    /// Reads a script, accepts `room` bytes of output per write, after so many pauses.
    struct Script {
        input: VecDeque<Vec<u8>>,
        output: Rc<RefCell<Vec<u8>>>,
        room: usize,
        pauses: usize,
    }

    impl AsyncRead for Script {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<std_io::Result<usize>> {
            let Some(next) = self.input.pop_front() else { return Poll::Ready(Ok(0)) };
            buf[..next.len()].copy_from_slice(&next);
            Poll::Ready(Ok(next.len()))
        }
    }

    impl AsyncWrite for Script {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<std_io::Result<usize>> {
            if let Some(left) = self.pauses.checked_sub(1) {
                self.pauses = left;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let n = buf.len().min(self.room);
            self.output.borrow_mut().extend(&buf[..n]);
            Poll::Ready(Ok(n))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std_io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std_io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn script(input: &[&[u8]], room: usize) -> (Socket<Script>, Rc<RefCell<Vec<u8>>>) {
        let output = Rc::new(RefCell::new(Vec::new()));
        let input = input.iter().map(|i| i.to_vec()).collect();
        (Socket::new(Script { input, output: output.clone(), room, pauses: 0 }, &[], 1000), output)
    }

    #[test]
    fn pings_are_answered_and_messages_delivered() {
        let (mut socket, output) =
            script(&[&[0x89, 0x01, 0x41, 0x82, 0x02], &[1, 2, 0x81, 0], &[0x88, 0]], 1);
        block_on(async {
            assert_eq!(socket.recv().await.unwrap(), Some(Message::Binary(vec![1, 2])));
            assert_eq!(socket.recv().await.unwrap(), Some(Message::Text(vec![])));
            assert_eq!(socket.recv().await.unwrap(), None, "a close frame ends the stream");
        });
        assert_eq!(*output.borrow(), [0x8a, 1, 0x41]);
    }

    #[test]
    fn owned_and_shared_bytes_leave_as_one_frame() {
        let (mut socket, output) = script(&[], 3);
        socket.send_binary_shared(&[9, 9], Bytes::from_static(&[7; 5]));
        assert_eq!(socket.queued(), 9);
        block_on(socket.close(Some(1001))).unwrap();
        assert_eq!(*output.borrow(), [0x82, 7, 9, 9, 7, 7, 7, 7, 7, 0x88, 2, 3, 233]);
        assert_eq!(socket.queued(), 0);
    }

    #[test]
    fn one_close_frame_is_sent_however_long_it_waits() {
        let (mut socket, output) = script(&[], 9);
        socket.io.pauses = 3;
        block_on(socket.close(None)).unwrap();
        assert_eq!(*output.borrow(), [0x88, 0]);
    }

    #[test]
    fn a_peer_that_breaks_the_protocol_is_told_apart_from_a_broken_line() {
        let (mut socket, _) = script(&[&[0xff, 0]], 9);
        let error = block_on(socket.recv()).unwrap_err();
        assert!(io::protocol_error(&error).is_some());
    }

    #[test]
    fn an_idle_socket_is_small() {
        assert!(size_of::<Socket<()>>() <= 280, "{}", size_of::<Socket<()>>());
    }
}
