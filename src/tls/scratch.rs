//! The buffer all connections of a thread read through.

use std::cell::RefCell;

/// Longest TLS record: header, plaintext, and what TLS 1.2 may add.
pub(super) const RECORD: usize = 5 + 16 * 1024 + 2048;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 2 * RECORD].into());
}

/// Lends the thread's scratch buffer, two records long.
pub(super) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => work(&mut scratch),
        // A transport that is a TLS stream itself: it gets a buffer of its own.
        Err(_) => work(&mut vec![0; 2 * RECORD]),
    })
}
