//! Any bytes as the beginning of a connection on the MPS port.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meshboard::mps::hello::{Peek, peek};
use meshboard::mps::probe;

fuzz_target!(|input: &[u8]| {
    if let Peek::Hello(hello) = peek(input) {
        let _ = (hello.is_modern(), hello.wants_long_keys(), hello.to_string());
    }
    let _ = probe::answer(input);
});
