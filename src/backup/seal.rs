//! Sealing a stream with a passphrase.
//!
//! AES-256-GCM in chunks of 64 KiB (the STREAM construction of Hoang, Reyhanitabar, Rogaway and
//! Vizár): the nonce is 7 random bytes, the chunk's number (u32, big-endian) and 1 for the last
//! chunk, so chunks cannot be left out, changed round, or cut off. The key is Argon2id of the
//! passphrase over 16 random bytes. On the wire: salt, memory in KiB and passes (u32, big-endian),
//! nonce prefix, then chunks, each with its tag of 16 bytes.

use std::io::{self, Read, Write};

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::BackupError;

/// Content of a chunk but the last.
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
/// Memory and passes of the key derivation: about a second on a small board.
const MEMORY_KIB: u32 = 32 << 10;
const PASSES: u32 = 3;
/// What a backup may ask for: more would be an attack on the reader's memory.
const MEMORY_MAX_KIB: u32 = 256 << 10;
const PASSES_MAX: u32 = 16;

fn key(phrase: &str, salt: &[u8], memory: u32, passes: u32) -> Option<LessSafeKey> {
    let params = Params::new(memory, passes, 1, Some(32)).ok()?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(phrase.as_bytes(), salt, &mut key)
        .ok()?;
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).ok()?))
}

fn nonce(prefix: [u8; 7], number: u32, last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[..7].copy_from_slice(&prefix);
    nonce[7..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = last.into();
    Nonce::assume_unique_for_key(nonce)
}

fn exhausted() -> io::Error {
    io::Error::other("too much for one backup")
}

/// Seals what is written to it. [`Sealer::finish`] must be called.
pub struct Sealer<W> {
    out: W,
    key: LessSafeKey,
    prefix: [u8; 7],
    number: u32,
    chunk: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    /// Writes the head to `out`.
    pub fn new(mut out: W, phrase: &str) -> Result<Self, BackupError> {
        let mut random = [0; 23];
        getrandom::fill(&mut random).map_err(|_| BackupError::NoRandomness)?;
        let (salt, prefix) = random.split_at(16);
        let key = key(phrase, salt, MEMORY_KIB, PASSES).ok_or(BackupError::NoRandomness)?;
        let head = [salt, &MEMORY_KIB.to_be_bytes(), &PASSES.to_be_bytes(), prefix].concat();
        out.write_all(&head).map_err(super::at("backup"))?;
        let prefix = std::array::from_fn(|i| random[16 + i]);
        Ok(Self { out, key, prefix, number: 0, chunk: Vec::with_capacity(CHUNK + TAG) })
    }

    fn put(&mut self, last: bool) -> io::Result<()> {
        let nonce = nonce(self.prefix, self.number, last);
        self.number = self.number.checked_add(1).ok_or_else(exhausted)?;
        let sealed = self.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut self.chunk);
        sealed.map_err(|_| exhausted())?;
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }

    /// Writes the last chunk.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(true)?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK {
            self.put(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Opens what a [`Sealer`] wrote. Nothing is given out that was not verified.
pub struct Opener<R> {
    input: R,
    key: LessSafeKey,
    prefix: [u8; 7],
    number: u32,
    /// Sealed bytes that are not opened yet: one chunk, and the first byte of the next.
    sealed: Vec<u8>,
    plain: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl<R: Read> Opener<R> {
    /// Reads the head.
    pub fn new(mut input: R, phrase: &str) -> Result<Self, BackupError> {
        let mut head = [0; 31];
        input.read_exact(&mut head).map_err(|e| BackupError::Damaged(e.to_string()))?;
        let number = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| head[at + i]));
        let (memory, passes) = (number(16), number(20));
        if memory > MEMORY_MAX_KIB || passes > PASSES_MAX {
            return Err(BackupError::Damaged("its key would cost too much".into()));
        }
        let key = key(phrase, &head[..16], memory, passes)
            .ok_or_else(|| BackupError::Damaged("its head makes no sense".into()))?;
        let prefix = std::array::from_fn(|i| head[24 + i]);
        let (sealed, plain) = (Vec::new(), Vec::new());
        Ok(Self { input, key, prefix, number: 0, sealed, plain, taken: 0, ended: false })
    }

    /// Opens the next chunk. A chunk is the last if nothing follows it.
    fn next(&mut self) -> io::Result<()> {
        let wanted = (CHUNK + TAG + 1 - self.sealed.len()) as u64;
        self.input.by_ref().take(wanted).read_to_end(&mut self.sealed)?;
        let last = self.sealed.len() <= CHUNK + TAG;
        let following = if last { None } else { self.sealed.pop() };
        let nonce = nonce(self.prefix, self.number, last);
        self.number = self.number.checked_add(1).ok_or_else(exhausted)?;
        let opened = self.key.open_in_place(nonce, Aad::empty(), &mut self.sealed);
        let length = opened.map_err(|_| io::Error::from(io::ErrorKind::PermissionDenied))?.len();
        std::mem::swap(&mut self.plain, &mut self.sealed);
        self.plain.truncate(length);
        self.sealed.clear();
        self.sealed.extend(following);
        (self.taken, self.ended) = (0, last);
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.plain.len() {
            if self.ended {
                return Ok(0);
            }
            self.next()?;
        }
        let taken = out.len().min(self.plain.len() - self.taken);
        out[..taken].copy_from_slice(&self.plain[self.taken..self.taken + taken]);
        self.taken += taken;
        Ok(taken)
    }
}
