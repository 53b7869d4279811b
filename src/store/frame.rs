//! The frame: how one record lies in a flat file.
//!
//! `len u32 | kind u16 | version u8 | payload (len bytes) | crc32c u32`, little-endian throughout;
//! the checksum covers everything before it. `state`, `details`, `events-*` and `power-*` are
//! nothing but frames one after the other. A file is good up to the first frame that is not:
//! [`Scanner`] finds that place in bytes of any origin and never allocates by a claimed length.

use std::fmt;

/// Bytes before the payload.
pub const HEADER: usize = 7;
/// Bytes after the payload.
pub const TRAILER: usize = 4;
/// Longest payload in bytes; a frame that claims more is damage.
pub const MAX_PAYLOAD: usize = 16 << 20;

/// One frame, borrowed from the bytes it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is; see the table of kinds in `codec`. Zero is never used.
    pub kind: u16,
    /// Version of the payload's form, from 1.
    pub version: u8,
    /// The record, in postcard.
    pub payload: &'a [u8],
    /// The whole frame, checksum included.
    pub raw: &'a [u8],
}

/// Why scanning stopped before the end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file ends inside a frame: the usual trace of a power cut.
    Torn,
    /// The frame claims a payload of that many bytes, more than [`MAX_PAYLOAD`].
    Length(u32),
    /// The checksum does not fit the bytes.
    Checksum,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn => f.write_str("is cut off"),
            Self::Length(n) => write!(f, "claims an impossible length of {n} bytes"),
            Self::Checksum => f.write_str("fails its checksum"),
        }
    }
}

/// A payload longer than [`MAX_PAYLOAD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong(pub usize);

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a record of {} bytes exceeds the limit of {MAX_PAYLOAD}", self.0)
    }
}

/// Appends a frame to `out`; `payload` writes the payload in place. On error `out` is as before.
pub fn append(
    out: &mut Vec<u8>,
    kind: u16,
    version: u8,
    payload: impl FnOnce(&mut Vec<u8>),
) -> Result<(), TooLong> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&kind.to_le_bytes());
    out.push(version);
    payload(out);
    let len = out.len() - start - HEADER;
    if len > MAX_PAYLOAD {
        out.truncate(start);
        return Err(TooLong(len));
    }
    // MAX_PAYLOAD fits u32, so this keeps the value.
    out[start..start + 4].copy_from_slice(&(len as u32).to_le_bytes());
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// The frame at the start of `bytes`; `Ok(None)` if more bytes are needed to tell.
pub fn parse(bytes: &[u8]) -> Result<Option<Frame<'_>>, Damage> {
    let Some((&[l0, l1, l2, l3, k0, k1, version], _)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let claimed = u32::from_le_bytes([l0, l1, l2, l3]);
    let len = claimed as usize;
    if len > MAX_PAYLOAD {
        return Err(Damage::Length(claimed));
    }
    let Some(raw) = bytes.get(..HEADER + len + TRAILER) else { return Ok(None) };
    let (body, crc) = raw.split_at(HEADER + len);
    if crc32c::crc32c(body).to_le_bytes() != crc {
        return Err(Damage::Checksum);
    }
    let kind = u16::from_le_bytes([k0, k1]);
    Ok(Some(Frame { kind, version, payload: &body[HEADER..], raw }))
}

/// Finds frames in a file that arrives in chunks.
///
/// Holds the bytes of at most one unfinished frame besides the last chunk, and only bytes it was
/// really given.
#[derive(Debug, Default)]
pub struct Scanner {
    buffer: Vec<u8>,
    /// Bytes at the start of `buffer` that were returned as frames already.
    used: usize,
    good: u64,
    frames: u64,
}

impl Scanner {
    /// Starts at byte 0 of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; `Ok(None)` asks for more bytes. After an error nothing more will come.
    #[expect(clippy::should_implement_trait, reason = "frames borrow from the scanner")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, Damage> {
        let frame = parse(&self.buffer[self.used..])?;
        if let Some(frame) = frame {
            self.used += frame.raw.len();
            self.good += frame.raw.len() as u64;
            self.frames += 1;
        }
        Ok(frame)
    }

    /// Offset in the file behind the last good frame.
    pub fn good(&self) -> u64 {
        self.good
    }

    /// Number of good frames so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Whether the file, if it ends here, ends between two frames.
    pub fn at_boundary(&self) -> bool {
        self.used == self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Kind, version and payload.
    type Plain = (u16, u8, Vec<u8>);

    fn framed(frames: &[Plain]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, version, payload) in frames {
            append(&mut out, *kind, *version, |o| o.extend_from_slice(payload)).unwrap();
        }
        out
    }

    fn scan(bytes: &[u8], chunk: usize) -> (Vec<Plain>, u64, Option<Damage>) {
        let (mut scanner, mut found) = (Scanner::new(), Vec::new());
        for chunk in bytes.chunks(chunk) {
            scanner.push(chunk);
            loop {
                match scanner.next() {
                    Ok(Some(f)) => found.push((f.kind, f.version, f.payload.to_vec())),
                    Ok(None) => break,
                    Err(damage) => return (found, scanner.good(), Some(damage)),
                }
            }
        }
        let torn = (!scanner.at_boundary()).then_some(Damage::Torn);
        (found, scanner.good(), torn)
    }

    #[test]
    fn bytes_of_a_frame_are_as_documented() {
        let out = framed(&[(0x0102, 3, vec![0xAA, 0xBB])]);
        assert_eq!(out[..9], [2, 0, 0, 0, 0x02, 0x01, 3, 0xAA, 0xBB]);
        assert_eq!(out[9..], crc32c::crc32c(&out[..9]).to_le_bytes());
    }

    #[test]
    fn zeros_a_file_system_left_behind_are_no_frames() {
        assert_eq!(scan(&[0; 64], 64), (vec![], 0, Some(Damage::Checksum)));
    }

    #[test]
    fn claimed_length_allocates_nothing() {
        let mut scanner = Scanner::new();
        scanner.push(&[0xFF, 0xFF, 0xFF, 0, 1, 0, 1]); // 16 MiB - 1, within the limit
        assert_eq!(scanner.next(), Ok(None));
        assert!(scanner.buffer.capacity() < 1024);
        assert_eq!(parse(&[0xFF; 7]), Err(Damage::Length(u32::MAX)));
    }

    #[test]
    fn overlong_record_is_refused_and_leaves_no_trace() {
        let mut out = vec![1, 2, 3];
        let long = append(&mut out, 1, 1, |o| o.resize(o.len() + MAX_PAYLOAD + 1, 0));
        assert_eq!((long, out), (Err(TooLong(MAX_PAYLOAD + 1)), vec![1, 2, 3]));
    }

    fn frames() -> impl Strategy<Value = Vec<Plain>> {
        let payload = proptest::collection::vec(any::<u8>(), 0..40);
        proptest::collection::vec((any::<u16>(), any::<u8>(), payload), 0..8)
    }

    proptest! {
        #[test]
        fn frames_survive_any_chunking(frames in frames(), chunk in 1usize..50) {
            let bytes = framed(&frames);
            prop_assert_eq!(scan(&bytes, chunk), (frames, bytes.len() as u64, None));
        }

        #[test]
        fn any_flipped_bit_leaves_a_prefix(frames in frames(), at in any::<prop::sample::Index>(),
                                           bit in 0u8..8, chunk in 1usize..50) {
            let mut bytes = framed(&frames);
            prop_assume!(!bytes.is_empty());
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let (found, good, damage) = scan(&bytes, chunk);
            prop_assert!(good as usize <= at && damage.is_some());
            prop_assert_eq!(&found[..], &frames[..found.len()]);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300),
                                chunk in 1usize..50) {
            let (_, good, damage) = scan(&bytes, chunk);
            prop_assert_eq!(damage.is_none(), good == bytes.len() as u64);
        }
    }
}
