//! Any bytes as one direction of a WebSocket: the same events in any split, and no message above
//! the limit.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meshboard::ws::{Decoder, Error, Event};

const LIMIT: usize = 1024;

fn decode(wire: &[u8], piece: usize) -> (Vec<Event>, Option<Error>) {
    let mut decoder = Decoder::new(LIMIT);
    let mut events = Vec::new();
    for piece in wire.chunks(piece) {
        let mut piece = piece.to_vec();
        let mut at = 0;
        while at < piece.len() {
            match decoder.feed(&mut piece[at..]) {
                Ok((used, event)) => {
                    at += used;
                    if let Some(Event::Message(message)) = &event {
                        assert!(message.bytes().len() <= LIMIT);
                    }
                    events.extend(event);
                }
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((&size, wire)) = input.split_first() else { return };
    let whole = decode(wire, wire.len().max(1));
    assert_eq!(decode(wire, usize::from(size) + 1), whole);
    assert_eq!(decode(wire, 1), whole);
});
