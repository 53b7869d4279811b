//! Any bytes as what an Intel AMT computer says: the same answers in any split, bounded memory.

#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use meshboard::mps::machine::{Effect, Machine, Style};

/// What a machine says to `bytes` in pieces, when every login is accepted.
fn play(style: Style, bytes: &[u8], piece: usize) -> Vec<u8> {
    let now = Instant::now();
    let mut machine = Machine::new(style, now);
    let mut said = Vec::new();
    for piece in bytes.chunks(piece) {
        let mut rest = piece;
        loop {
            let taken = machine.receive(rest, now);
            rest = rest.get(taken..).unwrap_or_default();
            let mut judged = false;
            while let Some(effect) = machine.next_effect() {
                if let Effect::Judge(_) = effect {
                    machine.verdict(Ok(()), now);
                    judged = true;
                }
            }
            while let Some(message) = machine.out(now).first().map(<[u8]>::to_vec) {
                machine.out(now).sent(message.len());
                said.extend(message);
            }
            if rest.is_empty() || !judged {
                break;
            }
        }
    }
    said
}

fuzz_target!(|input: &[u8]| {
    let [style, size, bytes @ ..] = input else { return };
    let style = if style & 1 == 0 { Style::Firmware } else { Style::Socket };
    let whole = play(style, bytes, bytes.len().max(1));
    assert_eq!(play(style, bytes, usize::from(*size) + 1), whole);
    assert_eq!(play(style, bytes, 1), whole);
});
