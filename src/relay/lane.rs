//! One direction of a tunnel: bytes of one end in, bytes for the other out. No sockets.
//!
//! A message that comes as one frame leaves as one frame, header first and payload as it arrives;
//! its opcode stays. Fragments are put together before they leave, because an agent dies of them
//! and Router does not know them. Pings, pongs and closes end here: they are between an end and
//! this server. What the server itself says to an end goes between frames.

use std::task::{Context, Poll};

use crate::ws::{Close, Error, FrameReader, Head, Opcode, Part, frame_header};

use super::filter::{Filter, Verdict};

/// Longest message that may come in fragments, in bytes. Stock clients do not fragment; browsers
/// do with long messages, of which terminal and desktop know none.
pub const FRAGMENTED_MAX: usize = 1 << 20;
/// Longest frame an agent understands: its lengths have 31 bits.
const FRAME_MAX: u64 = i32::MAX as u64;
/// Bytes that wait for a gap between frames, at most: answers to pings, a close, a keep-alive.
const ASIDE_MAX: usize = 1024;
/// Bytes on the way to an end behind which nothing of the server's own is put. More is never
/// passed on at a time either.
const BACKLOG_MAX: usize = 64 * 1024;

/// Sees what passes, for recordings.
pub trait Observer {
    /// A message of `length` bytes begins. It passes whole before the next of this direction.
    fn message(&self, from: Side, opcode: Opcode, length: u64);
    /// Payload of the message that has begun.
    fn payload(&self, from: Side, bytes: &[u8]);
    /// Whether more may pass, or the tunnel has to wait. Who waits is woken.
    fn poll_ready(&self, cx: &Context<'_>) -> Poll<()>;
}

/// An end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The user's.
    Viewer,
    /// The device's.
    Agent,
}

impl Side {
    /// The other end.
    pub fn other(self) -> Self {
        match self {
            Self::Viewer => Self::Agent,
            Self::Agent => Self::Viewer,
        }
    }
}

/// What one end is to be sent, in this order; written by the lane from the other end and by the
/// server itself.
#[derive(Default)]
pub struct Outbox {
    /// Bytes ready to leave.
    pub bytes: Vec<u8>,
    /// Payload bytes that the frame in `bytes` or on the wire still lacks.
    owed: u64,
    /// Frames of the server's own that wait for the end of that frame.
    aside: Vec<u8>,
}

impl Outbox {
    /// True between frames.
    pub fn is_between_frames(&self) -> bool {
        self.owed == 0
    }

    /// Puts in a frame of the server's own as soon as it fits. False if too many wait already; it
    /// is dropped then.
    pub fn put_aside(&mut self, opcode: Opcode, payload: &[u8]) -> bool {
        let (target, most) = match self.owed {
            0 => (&mut self.bytes, BACKLOG_MAX),
            _ => (&mut self.aside, ASIDE_MAX),
        };
        if target.len() + payload.len() > most {
            return false;
        }
        target.extend_from_slice(&frame_header(opcode, payload.len() as u64));
        target.extend_from_slice(payload);
        true
    }

    fn begin(&mut self, opcode: Opcode, length: u64) {
        self.bytes.extend_from_slice(&frame_header(opcode, length));
        self.owed = length;
        self.end_if_complete();
    }

    fn pass(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.owed = self.owed.saturating_sub(payload.len() as u64);
        self.end_if_complete();
    }

    fn end_if_complete(&mut self) {
        if self.owed == 0 && !self.aside.is_empty() {
            self.bytes.extend_from_slice(&self.aside);
            self.aside = Vec::new();
        }
    }
}

/// What has become of bytes that were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// All taken; more may come.
    Open,
    /// The end closes; what it sent behind that is lost.
    Closed(Close),
    /// The tunnel has to end, for this reason.
    Ended(&'static str),
}

/// What is done with the frame that arrives.
enum State {
    /// Its payload goes on.
    Passing,
    /// It is forgotten.
    Dropping,
    /// Its first bytes are collected until it can be judged.
    Judging { opcode: Opcode, length: u64, held: Vec<u8>, wanted: usize },
    /// It is a fragment.
    Assembling { last: bool },
}

/// One direction of a tunnel. Idle it owns no memory besides itself.
pub struct Lane {
    from: Side,
    reader: FrameReader,
    state: State,
    fragments: Option<(Opcode, Vec<u8>)>,
    filter: Option<Filter>,
}

impl Lane {
    /// A direction whose messages are judged by `filter`, if there is one.
    pub fn new(from: Side, filter: Option<Filter>) -> Self {
        let reader = FrameReader::default();
        Self { from, reader, state: State::Dropping, fragments: None, filter }
    }

    /// The filter in force.
    pub fn filter(&mut self) -> Option<&mut Filter> {
        self.filter.as_mut()
    }

    /// Takes what has arrived, which is unmasked in place. What passes is put into `out` for the
    /// other end, answers to pings into `back` for this one.
    ///
    /// # Errors
    /// The end broke the WebSocket protocol, or sent a message that is too long.
    pub fn take(
        &mut self,
        mut input: &mut [u8],
        out: &mut Outbox,
        back: &mut Outbox,
        observer: Option<&dyn Observer>,
    ) -> Result<Flow, Error> {
        let mut sink = Sink { from: self.from, out, observer };
        while let Some(part) = self.reader.next(&mut input)? {
            let flow = match part {
                Part::Begin(head) => self.begin(head, &mut sink)?,
                Part::Payload(payload) => self.payload(payload, &mut sink),
                Part::End => self.end(&mut sink),
                Part::Ping(payload) => {
                    // A peer that pings and does not read loses answers.
                    let _ = back.put_aside(Opcode::Pong, &payload);
                    Flow::Open
                }
                Part::Pong => Flow::Open,
                Part::Close(close) => Flow::Closed(close),
            };
            if flow != Flow::Open {
                return Ok(flow);
            }
        }
        Ok(Flow::Open)
    }

    fn begin(&mut self, head: Head, sink: &mut Sink<'_>) -> Result<Flow, Error> {
        if head.length > FRAME_MAX {
            return Err(Error::TooLarge(FRAME_MAX as usize));
        }
        if head.fin && head.opcode != Opcode::Continuation {
            let (flow, state) = self.judge(head.opcode, head.length, Vec::new(), sink);
            self.state = state;
            return Ok(flow);
        }
        if head.opcode != Opcode::Continuation {
            self.fragments = Some((head.opcode, Vec::new()));
        }
        let assembled = self.fragments.as_ref().map_or(0, |(_, data)| data.len() as u64);
        if assembled + head.length > FRAGMENTED_MAX as u64 {
            return Err(Error::TooLarge(FRAGMENTED_MAX));
        }
        self.state = State::Assembling { last: head.fin };
        Ok(Flow::Open)
    }

    fn payload(&mut self, payload: &[u8], sink: &mut Sink<'_>) -> Flow {
        match &mut self.state {
            State::Passing => sink.pass(payload),
            State::Dropping => {}
            State::Assembling { .. } => {
                if let Some((_, data)) = &mut self.fragments {
                    data.extend_from_slice(payload);
                }
            }
            State::Judging { opcode, length, held, wanted } => {
                let missing = wanted.saturating_sub(held.len()).min(payload.len());
                let (front, rest) = payload.split_at(missing);
                held.extend_from_slice(front);
                if held.len() < *wanted {
                    return Flow::Open;
                }
                let (opcode, length, held) = (*opcode, *length, std::mem::take(held));
                let (flow, state) = self.judge(opcode, length, held, sink);
                self.state = state;
                return match flow {
                    Flow::Open if !rest.is_empty() => self.payload(rest, sink),
                    flow => flow,
                };
            }
        }
        Flow::Open
    }

    fn end(&mut self, sink: &mut Sink<'_>) -> Flow {
        if !matches!(self.state, State::Assembling { last: true }) {
            return Flow::Open;
        }
        let Some((opcode, data)) = self.fragments.take() else { return Flow::Open };
        let length = data.len() as u64;
        let (flow, state) = self.judge(opcode, length, data, sink);
        self.state = state;
        flow
    }

    /// Judges a message by what is held of it, and lets that go on if it passes.
    fn judge(
        &mut self,
        opcode: Opcode,
        length: u64,
        held: Vec<u8>,
        sink: &mut Sink<'_>,
    ) -> (Flow, State) {
        let verdict = match &mut self.filter {
            None => Verdict::Pass,
            Some(filter) => verdict(filter, opcode, length, &held),
        };
        match verdict {
            Verdict::Pass => {
                sink.begin(opcode, length);
                sink.pass(&held);
                (Flow::Open, State::Passing)
            }
            Verdict::Drop => (Flow::Open, State::Dropping),
            Verdict::End(why) => (Flow::Ended(why), State::Dropping),
            Verdict::More(wanted) => (Flow::Open, State::Judging { opcode, length, held, wanted }),
        }
    }
}

/// The verdict on what is held of a message; it asks for more only of what is not held.
fn verdict(filter: &mut Filter, opcode: Opcode, length: u64, held: &[u8]) -> Verdict {
    let mut shown = 0;
    loop {
        match filter.judge(opcode, length, held.get(..shown).unwrap_or(held)) {
            Verdict::More(wanted) if wanted <= held.len() && wanted > shown => shown = wanted,
            Verdict::More(wanted) if wanted > held.len() && wanted as u64 <= length => {
                return Verdict::More(wanted);
            }
            // It asks for what it has seen, or for what does not exist.
            Verdict::More(_) => return Verdict::Drop,
            verdict => return verdict,
        }
    }
}

/// Where passing messages go.
struct Sink<'s> {
    from: Side,
    out: &'s mut Outbox,
    observer: Option<&'s dyn Observer>,
}

impl Sink<'_> {
    fn begin(&mut self, opcode: Opcode, length: u64) {
        self.out.begin(opcode, length);
        if let Some(observer) = self.observer {
            observer.message(self.from, opcode, length);
        }
    }

    fn pass(&mut self, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        self.out.pass(payload);
        if let Some(observer) = self.observer {
            observer.payload(self.from, payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::Permit;
    use super::super::wire::Speech;
    use super::*;
    use crate::model::Rights;
    use crate::ws::{Decoder, Event, Message};
    use proptest::prelude::*;
    use std::cell::RefCell;

    /// A client's frame, masked.
    fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
        let mask = [0x11, 0x22, 0x33, 0x44];
        let mut frame = frame_header(opcode, payload.len() as u64).to_vec();
        frame[0] = (frame[0] & 0x0f) | if fin { 0x80 } else { 0 };
        frame[1] |= 0x80;
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        frame
    }

    fn open_lane() -> Lane {
        Lane::new(Side::Viewer, None)
    }

    /// Gives `wire` to the lane in pieces of `size`; what comes out for the other end and back.
    fn feed(lane: &mut Lane, wire: &[u8], size: usize) -> (Vec<u8>, Vec<u8>, Flow) {
        let (mut out, mut back) = (Outbox::default(), Outbox::default());
        for piece in wire.chunks(size.max(1)) {
            let flow = lane.take(&mut piece.to_vec(), &mut out, &mut back, None).unwrap();
            if flow != Flow::Open {
                return (out.bytes, back.bytes, flow);
            }
        }
        (out.bytes, back.bytes, Flow::Open)
    }

    /// The messages in `wire`; every one must be a single frame.
    fn messages(wire: &[u8]) -> Vec<Message> {
        let mut wire = wire.to_vec();
        let mut reader = FrameReader::default();
        let mut rest = wire.clone();
        let mut input = &mut rest[..];
        while let Some(part) = reader.next(&mut input).unwrap() {
            if let Part::Begin(head) = part {
                assert!(head.fin && head.opcode != Opcode::Continuation, "a fragment");
            }
        }
        let (mut decoder, mut at, mut found) = (Decoder::new(1 << 24), 0, Vec::new());
        while at < wire.len() {
            let (used, event) = decoder.feed(&mut wire[at..]).unwrap();
            at += used;
            if let Some(Event::Message(message)) = event {
                found.push(message);
            }
        }
        assert!(!decoder.is_partial());
        found
    }

    proptest! {
        #[test]
        fn messages_arrive_whole_in_order_and_as_single_frames(
            parts in prop::collection::vec(
                (any::<bool>(), prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4)),
                1..6,
            ),
            size in 1usize..700,
            pings: bool,
        ) {
            let (mut wire, mut expected, mut answers) = (Vec::new(), Vec::new(), 0);
            for (text, fragments) in &parts {
                let first = if *text { Opcode::Text } else { Opcode::Binary };
                for (n, fragment) in fragments.iter().enumerate() {
                    let opcode = if n == 0 { first } else { Opcode::Continuation };
                    wire.extend(frame(opcode, n + 1 == fragments.len(), fragment));
                    if pings {
                        wire.extend(frame(Opcode::Ping, true, b"hi"));
                        answers += 1;
                    }
                }
                let whole = fragments.concat();
                expected.push(if *text { Message::Text(whole) } else { Message::Binary(whole) });
            }
            let (out, back, flow) = feed(&mut open_lane(), &wire, size);
            prop_assert_eq!(flow, Flow::Open);
            prop_assert_eq!(messages(&out), expected);
            prop_assert_eq!(back, [0x8a, 2, b'h', b'i'].repeat(answers));
        }

        #[test]
        fn no_bytes_panic_and_nothing_grows_past_its_bound(
            wire in prop::collection::vec(any::<u8>(), 0..3000),
            rights: u32,
        ) {
            let permit = Permit::of(Rights::from_bits_retain(rights));
            let mut lane = Lane::new(Side::Viewer, Some(Filter::new(permit, Speech::Session)));
            let (mut out, mut back) = (Outbox::default(), Outbox::default());
            let _ = lane.take(&mut wire.clone(), &mut out, &mut back, None);
            prop_assert!(out.bytes.len() <= wire.len() + 16);
        }
    }

    #[test]
    fn a_frame_goes_on_before_it_is_complete() {
        let whole = frame(Opcode::Binary, true, &[7; 1000]);
        let mut lane = open_lane();
        let (mut out, mut back) = (Outbox::default(), Outbox::default());
        lane.take(&mut whole[..8].to_vec(), &mut out, &mut back, None).unwrap();
        assert_eq!(out.bytes, [0x82, 126, 3, 232], "the header alone");
        lane.take(&mut whole[8..108].to_vec(), &mut out, &mut back, None).unwrap();
        assert_eq!(out.bytes.len(), 104);
        assert!(!out.is_between_frames());
    }

    #[test]
    fn what_the_server_says_waits_for_the_gap_between_frames() {
        let first = frame(Opcode::Binary, true, &[1; 10]);
        let second = frame(Opcode::Binary, true, &[2; 3]);
        let mut lane = open_lane();
        let (mut out, mut back) = (Outbox::default(), Outbox::default());
        assert!(out.put_aside(Opcode::Text, b"c"));
        lane.take(&mut first[..9].to_vec(), &mut out, &mut back, None).unwrap();
        assert!(out.put_aside(Opcode::Pong, b"p"));
        assert!(!out.put_aside(Opcode::Pong, &[0; ASIDE_MAX]), "bounded");
        let rest = [&first[9..], &second].concat();
        lane.take(&mut rest.clone(), &mut out, &mut back, None).unwrap();
        let expected =
            [&[0x81, 1, b'c', 0x82, 10][..], &[1; 10], &[0x8a, 1, b'p', 0x82, 3, 2, 2, 2]].concat();
        assert_eq!(out.bytes, expected);
    }

    #[test]
    fn who_pings_and_never_reads_fills_nothing() {
        let pings = frame(Opcode::Ping, true, &[9; 125]).repeat(5000);
        let (out, back, flow) = feed(&mut open_lane(), &pings, 4096);
        assert_eq!((out.len(), flow), (0, Flow::Open));
        assert!(back.len() <= BACKLOG_MAX + 16, "{}", back.len());
    }

    #[test]
    fn fragments_and_frames_have_bounds() {
        let fragment = |opcode| frame(opcode, false, &[0; 600_000]);
        for (what, wire) in [
            ("one fragment", frame(Opcode::Binary, false, &vec![0; FRAGMENTED_MAX + 1])),
            ("two together", [fragment(Opcode::Text), fragment(Opcode::Continuation)].concat()),
            ("a frame of 2 GiB", {
                let mut wire = vec![0x82, 0xff];
                wire.extend((1u64 << 31).to_be_bytes());
                wire.extend([0; 4]);
                wire
            }),
        ] {
            let (mut out, mut back) = (Outbox::default(), Outbox::default());
            let taken = open_lane().take(&mut wire.clone(), &mut out, &mut back, None);
            assert!(matches!(taken, Err(Error::TooLarge(_))), "{what}: {taken:?}");
            assert!(out.bytes.is_empty(), "{what}");
        }
        let exact = frame(Opcode::Binary, false, &vec![5; FRAGMENTED_MAX]);
        let wire = [exact, frame(Opcode::Continuation, true, &[])].concat();
        let (out, _, _) = feed(&mut open_lane(), &wire, 48 * 1024);
        assert_eq!(messages(&out), [Message::Binary(vec![5; FRAGMENTED_MAX])]);
    }

    #[test]
    fn a_close_is_told_with_its_code() {
        let wire = [frame(Opcode::Text, true, b"last"), frame(Opcode::Close, true, &[3, 232])];
        let (out, _, flow) = feed(&mut open_lane(), &wire.concat(), 7);
        assert_eq!(flow, Flow::Closed(Close(Some(1000))));
        assert_eq!(messages(&out), [Message::Text(b"last".to_vec())]);
    }

    #[test]
    fn the_filter_sees_messages_however_they_are_cut() {
        let permit = Permit::of(Rights::VIEW_ONLY);
        let refresh = [0, 6, 0, 4];
        let click = [0, 2, 0, 10, 0, 2, 0, 1, 0, 1];
        let wire = [
            frame(Opcode::Text, true, br#"{"type":"lock"}"#),
            frame(Opcode::Text, true, br#"{"type":"options","tsid":1}"#),
            frame(Opcode::Text, true, b"2"),
            frame(Opcode::Binary, true, &click),
            // The same click, in fragments and hidden behind a refresh.
            frame(Opcode::Binary, false, &refresh),
            frame(Opcode::Continuation, false, &click[..5]),
            frame(Opcode::Continuation, true, &click[5..]),
            frame(Opcode::Binary, true, &refresh),
        ]
        .concat();
        for size in [1, 2, 3, 5, 8, 13, 1000] {
            let filter = Some(Filter::new(permit, Speech::Session));
            let (out, _, flow) = feed(&mut Lane::new(Side::Viewer, filter), &wire, size);
            assert_eq!(flow, Flow::Open);
            let expected = [
                Message::Text(br#"{"type":"options","tsid":1}"#.to_vec()),
                Message::Text(b"2".to_vec()),
                Message::Binary(refresh.to_vec()),
            ];
            assert_eq!(messages(&out), expected, "in pieces of {size}");
        }
        let wire = frame(Opcode::Text, true, b"1");
        let filter = Some(Filter::new(permit, Speech::Session));
        let (out, _, flow) = feed(&mut Lane::new(Side::Viewer, filter), &wire, 3);
        assert!(matches!(flow, Flow::Ended(_)) && out.is_empty());
    }

    #[test]
    fn an_observer_sees_what_passes_and_nothing_else() {
        #[derive(Default)]
        struct Seen(RefCell<Vec<String>>);
        impl Observer for Seen {
            fn message(&self, from: Side, opcode: Opcode, length: u64) {
                self.0.borrow_mut().push(format!("{from:?} {opcode:?} {length}"));
            }
            fn payload(&self, _: Side, bytes: &[u8]) {
                self.0.borrow_mut().push(format!("{bytes:?}"));
            }
            fn poll_ready(&self, _: &Context<'_>) -> Poll<()> {
                Poll::Ready(())
            }
        }
        let seen = Seen::default();
        let mut wire = [
            frame(Opcode::Ping, true, b"x"),
            frame(Opcode::Binary, false, &[1]),
            frame(Opcode::Continuation, true, &[2]),
            frame(Opcode::Text, true, &[]),
        ]
        .concat();
        let (mut out, mut back) = (Outbox::default(), Outbox::default());
        open_lane().take(&mut wire, &mut out, &mut back, Some(&seen)).unwrap();
        let expected = ["Viewer Binary 2", "[1, 2]", "Viewer Text 0"];
        assert_eq!(*seen.0.borrow(), expected);
    }
}
