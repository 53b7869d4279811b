//! The buffers all connections of a thread read and write through. Pages that no connection ever
//! needed are never touched.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Longest TLS record: header, plaintext, and what TLS 1.2 may add.
pub(super) const RECORD: usize = 5 + 16 * 1024 + 2048;
/// Most ciphertext read at a time: three full records.
pub(super) const READ_MAX: usize = 3 * (5 + 16 * 1024 + 256);
/// Most ciphertext made at a time: four full records, a short one, and what TLS adds to each.
pub(super) const SEALED_MAX: usize = 64 * 1024 + 5 * 256;

type Scratch = RefCell<Box<[u8]>>;

thread_local! {
    static INCOMING: Scratch = RefCell::new(vec![0; READ_MAX + RECORD].into());
    static OUTGOING: Scratch = RefCell::new(vec![0; SEALED_MAX].into());
}

/// Lends a buffer for what is received: room for a read and a record that was kept.
pub(super) fn with_incoming<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    lend(&INCOMING, READ_MAX + RECORD, work)
}

/// Lends a buffer for [`SEALED_MAX`] bytes of ciphertext.
pub(super) fn with_outgoing<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    lend(&OUTGOING, SEALED_MAX, work)
}

fn lend<T>(
    scratch: &'static LocalKey<Scratch>,
    length: usize,
    work: impl FnOnce(&mut [u8]) -> T,
) -> T {
    scratch.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => work(&mut scratch),
        // A transport that is a TLS stream itself: it gets a buffer of its own.
        Err(_) => work(&mut vec![0; length]),
    })
}
