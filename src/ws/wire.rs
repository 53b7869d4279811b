//! Whole messages: bytes in, messages out, for peers that talk in small ones.

use super::frame::{CONTROL_MAX, Close, Error, FrameReader, Opcode, Part};

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

/// Incremental decoder of one direction of a connection.
///
/// Memory: about 100 bytes, plus what has arrived of an unfinished message (at most the limit).
pub struct Decoder {
    limit: usize,
    frames: FrameReader,
    /// The message being assembled is text.
    is_text: bool,
    /// The frame being read is the last of its message.
    is_last: bool,
    assembled: Vec<u8>,
}

impl Decoder {
    /// A decoder that refuses messages of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let frames = FrameReader::default();
        Self { limit, frames, is_text: false, is_last: false, assembled: Vec::new() }
    }

    /// Sets another limit, for messages that begin after this call.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// True while a message or frame has begun and is not complete.
    pub fn is_partial(&self) -> bool {
        self.frames.is_partial()
    }

    /// Takes bytes from the front of `input`, which is unmasked in place. Returns how many were
    /// taken and the event they completed; without an event all of `input` was taken.
    ///
    /// # Errors
    /// The peer broke the protocol, or its message is longer than the limit.
    pub fn feed(&mut self, input: &mut [u8]) -> Result<(usize, Option<Event>), Error> {
        let all = input.len();
        let mut rest = input;
        while let Some(part) = self.frames.next(&mut rest)? {
            let event = match part {
                Part::Begin(head) => {
                    if head.opcode != Opcode::Continuation {
                        self.is_text = head.opcode == Opcode::Text;
                    }
                    self.is_last = head.fin;
                    let length = head.length.saturating_add(self.assembled.len() as u64);
                    if length > self.limit.max(CONTROL_MAX) as u64 {
                        return Err(Error::TooLarge(self.limit));
                    }
                    continue;
                }
                Part::Payload(payload) => {
                    self.assembled.extend_from_slice(payload);
                    continue;
                }
                Part::End if !self.is_last => continue,
                Part::End => {
                    let data = std::mem::take(&mut self.assembled);
                    let message = if self.is_text { Message::Text } else { Message::Binary };
                    Event::Message(message(data))
                }
                Part::Ping(payload) => Event::Ping(payload),
                Part::Pong => Event::Pong,
                Part::Close(close) => Event::Close(close),
            };
            return Ok((all - rest.len(), Some(event)));
        }
        Ok((all, None))
    }
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
    use super::super::frame::frame_header;
    use super::*;
    use proptest::prelude::*;

    /// A client's frame.
    fn client_frame(opcode: u8, fin: bool, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let mut out = frame_header(Opcode::Text, payload.len() as u64).to_vec();
        out[0] = 0x80 | opcode;
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
