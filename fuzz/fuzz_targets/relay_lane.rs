//! Any bytes as what a user's end of a tunnel sends, under any rights: the same bytes go on in any
//! split, no more than came, and as whole frames.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meshboard::model::Rights;
use meshboard::relay::filter::{Filter, Permit};
use meshboard::relay::lane::{Flow, Lane, Outbox, Side};
use meshboard::relay::wire::Speech;
use meshboard::ws::{Error, FrameReader, Opcode, Part};

/// What passed, what was answered, and how it ended.
type Outcome = (Vec<u8>, Vec<u8>, Result<Flow, Error>);

fn pass(wire: &[u8], piece: usize, permit: Permit, speech: Speech) -> Outcome {
    let mut lane = Lane::new(Side::Viewer, Some(Filter::new(permit, speech)));
    let (mut out, mut back) = (Outbox::default(), Outbox::default());
    for piece in wire.chunks(piece) {
        match lane.take(&mut piece.to_vec(), &mut out, &mut back, None) {
            Ok(Flow::Open) => {}
            end => return (out.bytes, back.bytes, end),
        }
    }
    (out.bytes, back.bytes, Ok(Flow::Open))
}

fuzz_target!(|input: &[u8]| {
    let Some((&[r0, r1, r2, kind, size], wire)) = input.split_first_chunk() else { return };
    let permit = Permit {
        view_only: kind & 4 != 0,
        ..Permit::of(Rights::from_bits_retain(u32::from_le_bytes([r0, r1, r2, 0])))
    };
    let speech = [Speech::Session, Speech::Tcp, Speech::Udp][usize::from(kind) % 3];
    let whole = pass(wire, wire.len().max(1), permit, speech);
    assert_eq!(pass(wire, usize::from(size) + 1, permit, speech), whole);
    assert_eq!(pass(wire, 1, permit, speech), whole);
    let mut passed = whole.0;
    // Fragments put together may need a longer header.
    assert!(passed.len() <= wire.len() + 16);
    let (mut reader, mut rest) = (FrameReader::default(), &mut passed[..]);
    while let Some(part) = reader.next(&mut rest).expect("we keep to the protocol") {
        if let Part::Begin(head) = part {
            assert!(head.fin && head.opcode != Opcode::Continuation);
        }
    }
});
