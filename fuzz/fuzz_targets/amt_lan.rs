//! Any bytes as the answer to a ping, to a known computer and to a scan, and as a range: at most
//! what was asked for.

#![no_main]

use std::net::Ipv4Addr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use meshboard::amt::lan::range::{ADDRESSES_MAX, Range};
use meshboard::amt::lan::rmcp::Pong;
use meshboard::amt::lan::scan::Scan;

fuzz_target!(|bytes: &[u8]| {
    if let Some(pong) = Pong::parse(bytes) {
        assert!(bytes.len() >= 22 && pong.state < 3);
    }
    let Ok(range) = Range::parse(&String::from_utf8_lossy(bytes)) else { return };
    assert!((1..=ADDRESSES_MAX).contains(&range.count()));
    let mut scan = Scan::new(range);
    let (asked, _) = scan.poll_send(Duration::ZERO).expect("the first one is due");
    assert_eq!(range.place_of(asked), Some(0));
    assert!(!scan.receive(Ipv4Addr::UNSPECIFIED, bytes));
});
