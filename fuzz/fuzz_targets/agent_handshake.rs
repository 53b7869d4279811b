//! Any sequence of messages as an authentication: one verdict at most, and silence after it.
//!
//! Input: the server's id and nonce (48 bytes each), then messages, each behind a big-endian
//! `u16` of its length.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meshboard::agent::auth::{Handshake, Step};
use meshboard::agent::wire::Command;
use meshboard::model::Key48;

fuzz_target!(|input: &[u8]| {
    let Some((id, rest)) = input.split_first_chunk::<48>() else { return };
    let Some((nonce, mut rest)) = rest.split_first_chunk::<48>() else { return };
    let mut handshake = Handshake::new(Key48(*id), *nonce);
    let mut verdict = false;
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(tail.len());
        let (message, next) = tail.split_at(length);
        rest = next;
        let Some(command) = Command::parse(message) else { continue };
        // A hash that begins with 0xff is of a certificate that is not ours.
        let steps = handshake.receive(command, |hash| (hash.0[0] != 0xff).then_some(hash));
        assert!(!verdict || steps.is_empty(), "{steps:?} after the verdict");
        verdict |=
            steps.iter().any(|step| matches!(step, Step::Authenticated(_) | Step::Refuse(_)));
    }
});
