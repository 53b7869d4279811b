//! Bytes of any origin as a `state` file: never a panic, and the same frames in any chunking.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meshboard::store::examine;
use meshboard::store::frame::{self, Damage, Scanner};

fuzz_target!(|bytes: &[u8]| {
    let Some((&chunk, file)) = bytes.split_first() else { return };
    let mut scanner = Scanner::new();
    let mut damage = None;
    'file: for chunk in file.chunks(usize::from(chunk) + 1) {
        scanner.push(chunk);
        loop {
            match scanner.next() {
                Ok(Some(found)) => assert_eq!(frame::parse(found.raw), Ok(Some(found))),
                Ok(None) => break,
                Err(found) => {
                    damage = Some(found);
                    break 'file;
                }
            }
        }
    }
    if damage.is_none() && !scanner.at_boundary() {
        damage = Some(Damage::Torn);
    }
    let report = examine(file);
    assert_eq!((report.frames, report.bytes), (scanner.frames(), scanner.good()));
    assert_eq!(report.lost.map(|lost| lost.damage), damage);

    // Checksums keep a fuzzer out of the records: give it a way past them.
    if let [kind, version, payload @ ..] = file {
        let mut framed = Vec::new();
        let kind = u16::from(*kind);
        if frame::append(&mut framed, kind, *version, |out| out.extend_from_slice(payload)).is_ok()
        {
            assert_eq!(examine(&framed).frames, 1);
        }
    }
});
