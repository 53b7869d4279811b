//! Any bytes as an agent executable: hashed, and settings embedded in it.

#![no_main]

use std::io::{Cursor, Read};

use libfuzzer_sys::fuzz_target;
use meshboard::agent::package::binary::{Digests, Embedded, Layout};

const MSH: &[u8] = b"MeshName=fuzz\r\n";

fuzz_target!(|bytes: &[u8]| {
    let mut file = Cursor::new(bytes);
    let digests = Digests::read(&mut file).unwrap();
    assert_eq!(digests.size, bytes.len() as u64);
    let layout = Layout::read(&mut file).unwrap();
    for embedded in [Embedded::settings(&layout, MSH), Embedded::script(&layout, MSH)] {
        let Ok(embedded) = embedded else { continue };
        let length = embedded.total_len();
        assert!(embedded.copied() <= digests.size);
        let mut download = Vec::new();
        embedded.reader(bytes).read_to_end(&mut download).unwrap();
        assert_eq!(download.len() as u64, length);
    }
});
