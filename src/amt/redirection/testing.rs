//! Recorded sessions, for the tests of this room.

use proptest::prelude::*;
use serde_json::Value;

/// Something that was said.
pub(super) struct Line {
    pub(super) by_firmware: bool,
    pub(super) bytes: Vec<u8>,
}

/// What was said in the list `list` of a file of vectors.
pub(super) fn lines(file: &str, list: &str) -> Vec<Line> {
    let file: Value = serde_json::from_str(file).unwrap();
    let said = file[list].as_array().unwrap().iter().filter_map(|line| {
        let bytes = unhex(line["hex"].as_str()?);
        Some(Line { by_firmware: line["dir"] == "amt->srv", bytes })
    });
    said.collect()
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Sizes of pieces that bytes are cut into.
pub(super) fn cut() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1usize..40, 1..10)
}
