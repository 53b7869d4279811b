//! Free ports for servers under test.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which Linux takes the local ports of outgoing connections, so that no
/// connection of a test can sit on a port between its choice and the server's bind.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A loopback port nobody listens on. Every call gives another one.
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run side by side, often with neighbouring ids, begin far apart.
    let offset = (u64::from(std::process::id()) * 127 % u64::from(COUNT)) as u16;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(offset) % COUNT;
        if TcpListener::bind(("127.0.0.1", FIRST + number)).is_ok() {
            return FIRST + number;
        }
    }
}
