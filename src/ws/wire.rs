//! The frame codec: bytes in, events out (RFC 6455 section 5).
//!
//! What stock peers need beyond the RFC: MeshAgents cut messages into 4096-byte fragments that may
//! split a UTF-8 character, so text is not validated here; MeshCentral Router writes a 65535-byte
//! length in the 64-bit form, so lengths need not be minimal; its old versions do not mask.

use std::fmt;

/// Longest payload of a control frame.
const CONTROL_MAX: usize = 125;
/// Longest frame header: two bytes, 64-bit length, mask.
const HEADER_MAX: usize = 14;

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Opcode 1. The bytes are not checked to be UTF-8.
    Text(Vec<u8>),
    /// Opcode 2.
    Binary(Vec<u8>),
}

impl Message {
    /// The payload.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(data) | Self::Binary(data) => data,
        }
    }
}

/// What the decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A complete message.
    Message(Message),
    /// A ping; answer with a pong of the same payload.
    Ping(Vec<u8>),
    /// A pong. Agents send it empty whatever the ping carried.
    Pong,
    /// The peer closes.
    Close(Close),
}

/// The status code of a close frame, if it had one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close(pub Option<u16>);

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A reserved bit or opcode, or a frame out of order.
    Protocol(&'static str),
    /// The message would be larger than the limit given, in bytes.
    TooLarge(usize),
}

impl Error {
    /// The close code that tells the peer (RFC 6455 section 7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::TooLarge(_) => 1009,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(what) => write!(f, "WebSocket protocol error: {what}"),
            Self::TooLarge(limit) => write!(f, "WebSocket message of more than {limit} bytes"),
        }
    }
}

impl std::error::Error for Error {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// A frame whose header is complete and whose payload is arriving.
struct Frame {
    opcode: Opcode,
    fin: bool,
    mask: Option<[u8; 4]>,
    remaining: u64,
    /// Position in the mask.
    phase: usize,
}

/// Incremental decoder of one direction of a connection.
///
/// Memory: about 100 bytes, plus what has arrived of an unfinished message (at most the limit).
pub struct Decoder {
    limit: usize,
    header: heapless::Vec<u8, HEADER_MAX>,
    frame: Option<Frame>,
    /// Opcode of the message being assembled.
    message: Option<Opcode>,
    assembled: Vec<u8>,
    /// Payload of a control frame; these may come between fragments.
    control: Vec<u8>,
}

impl Decoder {
    /// A decoder that refuses messages of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            header: heapless::Vec::new(),
            frame: None,
            message: None,
            assembled: Vec::new(),
            control: Vec::new(),
        }
    }

    /// Sets another limit, for messages that begin after this call.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// True while a message or frame has begun and is not complete.
    pub fn is_partial(&self) -> bool {
        !self.header.is_empty() || self.frame.is_some() || self.message.is_some()
    }

    /// Takes bytes from the front of `input`, which is unmasked in place. Returns how many were
    /// taken and the event they completed; without an event all of `input` was taken.
    pub fn feed(&mut self, input: &mut [u8]) -> Result<(usize, Option<Event>), Error> {
        let mut taken = 0;
        loop {
            if self.frame.is_none() {
                let rest = input.get(taken..).unwrap_or_default();
                let (used, complete) = self.take_header(rest)?;
                taken += used;
                if !complete {
                    return Ok((taken, None));
                }
            }
            let rest = input.get_mut(taken..).unwrap_or_default();
            let (used, event) = self.take_payload(rest);
            taken += used;
            if event.is_some() || taken >= input.len() {
                return Ok((taken, event));
            }
        }
    }

    /// Collects header bytes one by one until they are complete, then opens the frame.
    fn take_header(&mut self, input: &[u8]) -> Result<(usize, bool), Error> {
        for (used, byte) in input.iter().enumerate() {
            // The vector holds the longest header, which is opened below before it is exceeded.
            let _ = self.header.push(*byte);
            if self.header.len() == header_len(&self.header) {
                let frame = self.open_frame()?;
                self.frame = Some(frame);
                self.header.clear();
                return Ok((used + 1, true));
            }
        }
        Ok((input.len(), false))
    }

    fn open_frame(&mut self) -> Result<Frame, Error> {
        let (&[b0, b1], rest) =
            self.header.split_first_chunk::<2>().ok_or(Error::Protocol("short header"))?;
        if b0 & 0x70 != 0 {
            return Err(Error::Protocol("reserved bits set"));
        }
        let fin = b0 & 0x80 != 0;
        let opcode = match b0 & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(Error::Protocol("reserved opcode")),
        };
        let (length, rest) = match b1 & 0x7f {
            126 => match rest.split_first_chunk::<2>() {
                Some((n, rest)) => (u64::from(u16::from_be_bytes(*n)), rest),
                None => return Err(Error::Protocol("short header")),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((n, rest)) => (u64::from_be_bytes(*n), rest),
                None => return Err(Error::Protocol("short header")),
            },
            n => (u64::from(n), rest),
        };
        let mask = if b1 & 0x80 != 0 { rest.first_chunk::<4>().copied() } else { None };
        match opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                if !fin || length > CONTROL_MAX as u64 {
                    return Err(Error::Protocol("fragmented or long control frame"));
                }
            }
            Opcode::Continuation if self.message.is_none() => {
                return Err(Error::Protocol("continuation without a beginning"));
            }
            Opcode::Continuation => {}
            Opcode::Text | Opcode::Binary => {
                if self.message.is_some() {
                    return Err(Error::Protocol("message inside a message"));
                }
                self.message = Some(opcode);
            }
        }
        let assembled = if is_control(opcode) { 0 } else { self.assembled.len() as u64 };
        if length.saturating_add(assembled) > self.limit.max(CONTROL_MAX) as u64 {
            return Err(Error::TooLarge(self.limit));
        }
        Ok(Frame { opcode, fin, mask, remaining: length, phase: 0 })
    }

    /// Moves payload bytes to where they belong; an event if that ends a message.
    fn take_payload(&mut self, input: &mut [u8]) -> (usize, Option<Event>) {
        let Some(frame) = &mut self.frame else { return (0, None) };
        let used = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(input.len());
        let (payload, _) = input.split_at_mut(used);
        if let Some(mask) = frame.mask {
            unmask(payload, mask, frame.phase);
            frame.phase = (frame.phase + used) & 3;
        }
        frame.remaining -= used as u64;
        let (opcode, fin, done) = (frame.opcode, frame.fin, frame.remaining == 0);
        let target = if is_control(opcode) { &mut self.control } else { &mut self.assembled };
        target.extend_from_slice(payload);
        if !done {
            return (used, None);
        }
        self.frame = None;
        (used, self.end_frame(opcode, fin))
    }

    fn end_frame(&mut self, opcode: Opcode, fin: bool) -> Option<Event> {
        match opcode {
            Opcode::Close => {
                let code = self.control.first_chunk::<2>().map(|c| u16::from_be_bytes(*c));
                self.control = Vec::new();
                Some(Event::Close(Close(code)))
            }
            Opcode::Ping => Some(Event::Ping(std::mem::take(&mut self.control))),
            Opcode::Pong => {
                self.control = Vec::new();
                Some(Event::Pong)
            }
            _ if !fin => None,
            _ => {
                let data = std::mem::take(&mut self.assembled);
                let message = match self.message.take() {
                    Some(Opcode::Text) => Message::Text(data),
                    _ => Message::Binary(data),
                };
                Some(Event::Message(message))
            }
        }
    }
}

fn is_control(opcode: Opcode) -> bool {
    matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong)
}

/// Length of the header that begins with `bytes`, as far as can be told.
fn header_len(bytes: &[u8]) -> usize {
    let Some(b1) = bytes.get(1) else { return 2 };
    let length = match b1 & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if b1 & 0x80 != 0 { 4 } else { 0 }
}

/// XORs `data` with the mask, whose first byte is `phase`.
fn unmask(data: &mut [u8], mask: [u8; 4], phase: usize) {
    let mut mask = mask;
    mask.rotate_left(phase & 3);
    // Eight bytes at a time; the compiler turns the inner loop into one wide XOR.
    let wide = [mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]];
    let (chunks, rest) = data.as_chunks_mut::<8>();
    for chunk in chunks {
        for (byte, mask) in chunk.iter_mut().zip(wide) {
            *byte ^= mask;
        }
    }
    for (byte, mask) in rest.iter_mut().zip(wide) {
        *byte ^= mask;
    }
}

/// The header of an unmasked, unfragmented frame (`opcode` 1 text, 2 binary, 8 close, 9 ping,
/// 10 pong) of `length` payload bytes.
pub fn frame_header(opcode: u8, length: usize) -> heapless::Vec<u8, 10> {
    let mut header = heapless::Vec::new();
    // At most 1 + 9 bytes: the pushes cannot fail.
    let _ = header.push(0x80 | opcode);
    if length < 126 {
        let _ = header.push(length as u8);
    } else if let Ok(short) = u16::try_from(length) {
        let _ = header.push(126);
        let _ = header.extend_from_slice(&short.to_be_bytes());
    } else {
        let _ = header.push(127);
        let _ = header.extend_from_slice(&(length as u64).to_be_bytes());
    }
    header
}

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`. The key is an opaque text: agents send
/// non-canonical base64 that a decoder would refuse.
pub fn accept_key(key: &[u8]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    data_encoding::BASE64.encode(context.finish().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A client's frame.
    fn client_frame(opcode: u8, fin: bool, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let mut out = frame_header(opcode, payload.len()).to_vec();
        if !fin {
            out[0] &= 0x7f;
        }
        let mut payload = payload.to_vec();
        if let Some(mask) = mask {
            out[1] |= 0x80;
            out.extend(mask);
            payload.iter_mut().enumerate().for_each(|(i, b)| *b ^= mask[i % 4]);
        }
        out.extend(payload);
        out
    }

    /// Feeds `bytes` in pieces of the given sizes and collects all events.
    fn decode(bytes: &[u8], sizes: &[usize], limit: usize) -> Result<Vec<Event>, Error> {
        let mut decoder = Decoder::new(limit);
        let mut events = Vec::new();
        let mut rest = bytes.to_vec();
        let mut sizes = sizes.iter().cycle();
        while !rest.is_empty() {
            let size = (*sizes.next().unwrap()).clamp(1, rest.len());
            let mut piece: Vec<u8> = rest.drain(..size).collect();
            let mut at = 0;
            while at < piece.len() {
                let (used, event) = decoder.feed(&mut piece[at..])?;
                at += used;
                events.extend(event);
            }
        }
        assert!(!decoder.is_partial());
        Ok(events)
    }

    proptest! {
        #[test]
        fn any_split_yields_the_same_messages(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..6),
            mask: [u8; 4],
            sizes in prop::collection::vec(1usize..700, 1..8),
            text: bool,
        ) {
            let opcode = if text { 1 } else { 2 };
            let mut wire = Vec::new();
            for (i, part) in parts.iter().enumerate() {
                let opcode = if i == 0 { opcode } else { 0 };
                wire.extend(client_frame(opcode, i + 1 == parts.len(), Some(mask), part));
                // Control frames may come between fragments.
                wire.extend(client_frame(9, true, Some(mask), b"hi"));
            }
            let whole = parts.concat();
            let message = if text { Message::Text(whole) } else { Message::Binary(whole) };
            let events = decode(&wire, &sizes, 1 << 20).unwrap();
            let messages: Vec<_> =
                events.iter().filter(|e| matches!(e, Event::Message(_))).collect();
            let expected = Event::Message(message);
            prop_assert_eq!(messages, vec![&expected]);
            let pings = events.iter().filter(|e| **e == Event::Ping(b"hi".to_vec())).count();
            prop_assert_eq!(pings, parts.len());
        }

        #[test]
        fn garbage_never_panics_and_never_grows_past_the_limit(
            bytes in prop::collection::vec(any::<u8>(), 0..4000),
        ) {
            let mut decoder = Decoder::new(256);
            let mut bytes = bytes;
            let mut at = 0;
            while at < bytes.len() {
                match decoder.feed(&mut bytes[at..]) {
                    Ok((used, _)) => at += used,
                    Err(_) => break,
                }
                prop_assert!(decoder.assembled.len() <= 256);
                prop_assert!(decoder.control.len() <= CONTROL_MAX);
            }
        }
    }

    #[test]
    fn violations_are_refused() {
        let mask = Some([1, 2, 3, 4]);
        let long = vec![0; 126];
        let two_beginnings =
            [client_frame(1, false, mask, b"a"), client_frame(1, true, mask, b"b")].concat();
        let mut huge = vec![0x82, 0xff];
        huge.extend(u64::MAX.to_be_bytes());
        huge.extend([0; 4]);
        for (name, wire, expected) in [
            ("reserved bit", vec![0xc1, 0x80, 0, 0, 0, 0], 1002),
            ("reserved opcode", client_frame(3, true, mask, b""), 1002),
            ("orphan continuation", client_frame(0, true, mask, b"x"), 1002),
            ("message in message", two_beginnings, 1002),
            ("long ping", client_frame(9, true, mask, &long), 1002),
            ("fragmented close", client_frame(8, false, mask, b""), 1002),
            ("claimed length of 2^64-1", huge, 1009),
        ] {
            let error = decode(&wire, &[4096], 4096).expect_err(name);
            assert_eq!(error.close_code(), expected, "{name}");
        }
    }

    #[test]
    fn fragments_together_may_not_pass_the_limit() {
        let wire =
            [client_frame(2, false, None, &[0; 200]), client_frame(0, true, None, &[0; 200])]
                .concat();
        assert_eq!(decode(&wire, &[64], 300), Err(Error::TooLarge(300)));
    }

    #[test]
    fn lengths_need_not_be_minimal_and_frames_need_not_be_masked() {
        let mut wire = vec![0x82, 127];
        wire.extend(3u64.to_be_bytes());
        wire.extend(b"abc");
        let expected = vec![Event::Message(Message::Binary(b"abc".to_vec()))];
        assert_eq!(decode(&wire, &[1], 10), Ok(expected));
    }

    #[test]
    fn accept_key_of_the_rfc() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_idle_decoder_is_small() {
        assert!(size_of::<Decoder>() <= 136, "{}", size_of::<Decoder>());
    }
}
