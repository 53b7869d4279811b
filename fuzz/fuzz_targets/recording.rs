//! Any bytes as a recording: repaired it is whole or not one, an index is added or not, and both
//! leave a file that needs no repair.

#![no_main]

use std::io::{Seek as _, Write as _};

use libfuzzer_sys::fuzz_target;
use meshboard::relay::recording::index;
use meshboard::relay::recording::name::Form;
use meshboard::relay::recording::repair::{Outcome, repair};

fuzz_target!(|input: &[u8]| {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(input).expect("the disk has room");
    file.rewind().expect("it is a file");
    match repair(&file, Form::Blocks).expect("it is readable") {
        Outcome::Unknown => return,
        Outcome::Whole | Outcome::Ended { .. } => {}
    }
    index::add(&file).expect("it is readable");
    assert_eq!(repair(&file, Form::Blocks).expect("it is readable"), Outcome::Whole);
});
