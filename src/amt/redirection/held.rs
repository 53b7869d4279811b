//! The beginning of a message the rest of which is still to come.

/// Bytes that are kept until there are enough of them.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<u8>);

impl Held {
    /// The first byte of the message that goes on with `bytes`.
    pub(super) fn first(&self, bytes: &[u8]) -> Option<u8> {
        self.0.first().or(bytes.first()).copied()
    }

    /// Takes from `bytes` what is missing to `wanted` bytes, which are given out when they are
    /// together. `wanted` is a number of ours, not one that a peer claims.
    pub(super) fn take(&mut self, bytes: &mut &[u8], wanted: usize) -> Option<Vec<u8>> {
        let missing = wanted.saturating_sub(self.0.len());
        let (piece, rest) = bytes.split_at(missing.min(bytes.len()));
        *bytes = rest;
        self.0.extend_from_slice(piece);
        (self.0.len() >= wanted).then(|| std::mem::take(&mut self.0))
    }

    /// What is kept, which is then no more.
    pub(super) fn release(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Takes what there is of `left` bytes from `bytes`.
pub(super) fn run<'a>(bytes: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    let (piece, rest) = bytes.split_at(length);
    *bytes = rest;
    *left -= piece.len() as u64;
    piece
}

/// What a user says without a right to say it, or that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misuse;
