//! Frames: bytes in, parts of frames out (RFC 6455 section 5). Nothing is assembled here, so a
//! relay can pass a frame on while it arrives.
//!
//! What stock peers need beyond the RFC: MeshAgents cut messages into 4096-byte fragments that may
//! split a UTF-8 character, so text is not validated here; MeshCentral Router writes a 65535-byte
//! length in the 64-bit form, so lengths need not be minimal; its old versions do not mask.

use std::fmt;

/// Longest payload of a control frame.
pub(super) const CONTROL_MAX: usize = 125;
/// Longest frame header: two bytes, 64-bit length, mask.
const HEADER_MAX: usize = 14;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0,
    /// The beginning of a text message. The bytes are not checked to be UTF-8.
    Text = 1,
    /// The beginning of a binary message.
    Binary = 2,
    /// The peer closes.
    Close = 8,
    /// To be answered by a pong of the same payload.
    Ping = 9,
    /// Answer to a ping, or a sign of life.
    Pong = 10,
}

impl Opcode {
    /// True for frames that may come between the fragments of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The beginning of a data frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// [`Opcode::Text`], [`Opcode::Binary`] or [`Opcode::Continuation`].
    pub opcode: Opcode,
    /// Whether it is the last fragment of its message.
    pub fin: bool,
    /// Bytes of payload its sender claims, below 2^63.
    pub length: u64,
}

/// A part of what arrives, in its order.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'i> {
    /// A data frame begins.
    Begin(Head),
    /// Payload of the frame that has begun, unmasked; never empty.
    Payload(&'i mut [u8]),
    /// The frame that has begun is complete.
    End,
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

/// A frame whose header is complete and whose payload is arriving.
struct Open {
    opcode: Opcode,
    fin: bool,
    mask: Option<[u8; 4]>,
    remaining: u64,
    /// Position in the mask.
    phase: usize,
}

/// Incremental reader of one direction of a connection.
///
/// Memory: about 100 bytes, and at most 125 of an unfinished control frame.
#[derive(Default)]
pub struct FrameReader {
    header: heapless::Vec<u8, HEADER_MAX>,
    open: Option<Open>,
    /// A message has begun and its last fragment has not.
    in_message: bool,
    /// Payload of a control frame; these may come between fragments.
    control: Vec<u8>,
}

impl FrameReader {
    /// True while a message or frame has begun and is not complete.
    pub fn is_partial(&self) -> bool {
        !self.header.is_empty() || self.open.is_some() || self.in_message
    }

    /// Takes the next part from the front of `input`, which is unmasked in place and advanced.
    /// `None` when all of it is taken.
    ///
    /// # Errors
    /// The peer broke the protocol; the connection cannot go on.
    pub fn next<'i>(&mut self, input: &mut &'i mut [u8]) -> Result<Option<Part<'i>>, Error> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(open) = self.take_header(input)? else { return Ok(None) };
                let begin = (!open.opcode.is_control()).then_some(Head {
                    opcode: open.opcode,
                    fin: open.fin,
                    length: open.remaining,
                });
                self.open = Some(open);
                match begin {
                    Some(head) => return Ok(Some(Part::Begin(head))),
                    None => continue,
                }
            };
            if open.remaining == 0 {
                let opcode = open.opcode;
                self.open = None;
                return Ok(Some(self.end(opcode)));
            }
            if input.is_empty() {
                return Ok(None);
            }
            let payload = take_payload(open, input);
            if !open.opcode.is_control() {
                return Ok(Some(Part::Payload(payload)));
            }
            self.control.extend_from_slice(payload);
        }
    }

    /// Collects header bytes one by one until they are complete.
    fn take_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Open>, Error> {
        while let Some((byte, rest)) = std::mem::take(input).split_first_mut() {
            *input = rest;
            // The vector holds the longest header, which is parsed below before it is exceeded.
            let _ = self.header.push(*byte);
            if self.header.len() == header_len(&self.header) {
                let open = self.parse_header()?;
                self.header.clear();
                return Ok(Some(open));
            }
        }
        Ok(None)
    }

    fn parse_header(&mut self) -> Result<Open, Error> {
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
            Opcode::Continuation => {
                if !self.in_message {
                    return Err(Error::Protocol("continuation without a beginning"));
                }
                self.in_message = !fin;
            }
            Opcode::Text | Opcode::Binary => {
                if self.in_message {
                    return Err(Error::Protocol("message inside a message"));
                }
                self.in_message = !fin;
            }
        }
        if i64::try_from(length).is_err() {
            return Err(Error::TooLarge(usize::MAX));
        }
        Ok(Open { opcode, fin, mask, remaining: length, phase: 0 })
    }

    fn end(&mut self, opcode: Opcode) -> Part<'static> {
        match opcode {
            Opcode::Close => {
                let code = self.control.first_chunk::<2>().map(|c| u16::from_be_bytes(*c));
                self.control = Vec::new();
                Part::Close(Close(code))
            }
            Opcode::Ping => Part::Ping(std::mem::take(&mut self.control)),
            Opcode::Pong => {
                self.control = Vec::new();
                Part::Pong
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => Part::End,
        }
    }
}

/// Takes what there is of the open frame's payload and unmasks it.
fn take_payload<'i>(open: &mut Open, input: &mut &'i mut [u8]) -> &'i mut [u8] {
    let used = usize::try_from(open.remaining).unwrap_or(usize::MAX).min(input.len());
    let (payload, rest) = std::mem::take(input).split_at_mut(used);
    *input = rest;
    if let Some(mask) = open.mask {
        unmask(payload, mask, open.phase);
        open.phase = (open.phase + used) & 3;
    }
    open.remaining -= used as u64;
    payload
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
    if mask == [0; 4] {
        return;
    }
    let word = u32::from_ne_bytes(mask);
    let wide = u64::from(word) | u64::from(word) << 32;
    // Words by hand: this program is built for size, where loops over bytes stay loops over bytes.
    let turn = |bytes: &mut [u8; 8]| {
        *bytes = (u64::from_ne_bytes(*bytes) ^ wide).to_ne_bytes();
    };
    let (words, rest) = data.as_chunks_mut::<8>();
    let (blocks, last) = words.as_chunks_mut::<4>();
    for [a, b, c, d] in blocks {
        turn(a);
        turn(b);
        turn(c);
        turn(d);
    }
    last.iter_mut().for_each(turn);
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// The header of an unmasked, unfragmented frame of `length` payload bytes.
pub fn frame_header(opcode: Opcode, length: u64) -> heapless::Vec<u8, 10> {
    let mut header = heapless::Vec::new();
    // At most 1 + 9 bytes: the pushes cannot fail.
    let _ = header.push(0x80 | opcode as u8);
    if length < 126 {
        let _ = header.push(length as u8);
    } else if let Ok(short) = u16::try_from(length) {
        let _ = header.push(126);
        let _ = header.extend_from_slice(&short.to_be_bytes());
    } else {
        let _ = header.push(127);
        let _ = header.extend_from_slice(&length.to_be_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn unmasking_twice_changes_nothing_wherever_it_is_cut(
            data in prop::collection::vec(any::<u8>(), 0..300),
            mask: [u8; 4],
            cut in 0usize..300,
        ) {
            let expected: Vec<u8> =
                data.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect();
            let mut masked = data.clone();
            let cut = cut.min(masked.len());
            let (front, back) = masked.split_at_mut(cut);
            unmask(front, mask, 0);
            unmask(back, mask, cut & 3);
            prop_assert_eq!(&masked, &expected);
            unmask(&mut masked, mask, 0);
            prop_assert_eq!(masked, data);
        }
    }

    #[test]
    fn a_frame_is_told_part_by_part_as_it_arrives() {
        let mut reader = FrameReader::default();
        let mut seen = Vec::new();
        // A text fragment of three bytes, a ping between, an empty last fragment.
        let wire = [0x01, 0x83, 1, 2, 3, 4, 1, 2, 3, 0x89, 0x01, 7, 0x80, 0x00];
        for mut byte in wire {
            let mut input = std::slice::from_mut(&mut byte);
            while let Some(part) = reader.next(&mut input).unwrap() {
                seen.push(format!("{part:?}"));
            }
        }
        let begin =
            |opcode, fin, length| format!("{:?}", Part::Begin(Head { opcode, fin, length }));
        let byte = || format!("{:?}", Part::Payload(&mut [0]));
        let expected = [
            begin(Opcode::Text, false, 3),
            byte(),
            byte(),
            byte(),
            "End".to_owned(),
            "Ping([7])".to_owned(),
            begin(Opcode::Continuation, true, 0),
            "End".to_owned(),
        ];
        assert_eq!(seen, expected);
        assert!(!reader.is_partial());
    }
}
