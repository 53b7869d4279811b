//! A recording that grows: messages in, writes out. No file, no clock.
//!
//! A message is recorded while it passes. Its length is known when it begins, so its block gets its
//! place in the file at once and the payload goes there piece by piece, while a message of the
//! other direction does the same behind it: nothing is assembled in memory. Writes are collected
//! for up to a second or 64 KB; the disk gets one lot at a time. Memory: at most [`BUFFER`], if
//! whoever feeds it stops while [`Recorder::is_full`], and one read more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::model::Millis;

use super::chat;
use super::name::Form;
use super::wire::{BINARY, END, FROM_USER, HEAD, Head, Metadata, TRAILER, kind};

/// Bytes that wait for the disk before the session has to wait.
pub const BUFFER: usize = 256 << 10;
/// Bytes that are written without waiting for more.
const LOT: usize = 64 << 10;
/// How long bytes wait for more.
const LAZY: Duration = Duration::from_secs(1);

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The user's side.
    User,
    /// The device's side.
    Device,
}

/// Bytes and their place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Offset in the file.
    pub at: u64,
    /// What goes there.
    pub bytes: Vec<u8>,
}

/// What the disk has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Write these, in this order.
    Write(Vec<Write>),
    /// Write these, cut the file to `len` bytes and close it.
    Close {
        /// The last writes.
        writes: Vec<Write>,
        /// Length of the file.
        len: u64,
    },
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Work; tell [`Recorder::done`] what became of it.
    Work(Work),
    /// Nothing before then, or before something is recorded.
    Sleep(Option<Instant>),
    /// The file is complete.
    Closed,
}

/// A message whose payload has not all come.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Where its block begins.
    block: u64,
    /// Where the next byte goes.
    at: u64,
    left: u64,
}

/// One direction.
#[derive(Default)]
struct Direction {
    open: Option<Open>,
    /// A line of a chat that is still coming.
    line: Option<chat::Line>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Recording,
    /// The end is written next.
    Ending,
    /// The last work is with the disk.
    Closing,
    Closed,
}

/// See the module.
pub struct Recorder {
    form: Form,
    phase: Phase,
    user: Direction,
    device: Direction,
    /// Length of the file with everything that has its place.
    end: u64,
    pending: VecDeque<Write>,
    /// Bytes in `pending` and with the disk.
    waiting: usize,
    in_flight: Option<usize>,
    since: Option<Instant>,
}

impl Recorder {
    /// A recording that begins with `metadata`.
    pub fn new(form: Form, metadata: &Metadata, wall: Millis) -> Self {
        let mut recorder = Self {
            form,
            phase: Phase::Recording,
            user: Direction::default(),
            device: Direction::default(),
            end: 0,
            pending: VecDeque::new(),
            waiting: 0,
            in_flight: None,
            since: None,
        };
        // Texts and numbers only: this cannot fail.
        let json = serde_json::to_vec(metadata).unwrap_or_default();
        match form {
            Form::Blocks => {
                recorder.block(kind::METADATA, 0, json.len() as u64, wall);
                let at = recorder.end - json.len() as u64;
                recorder.put(at, &json);
            }
            Form::Chat => recorder.append(chat::start(&json, wall).as_bytes()),
        }
        recorder
    }

    /// Bytes of the file so far.
    pub fn len(&self) -> u64 {
        self.end
    }

    /// Whether nothing is in it. It never is: there is a first block.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Whether the session has to wait for the disk.
    pub fn is_full(&self) -> bool {
        self.waiting >= BUFFER
    }

    /// A message of `len` bytes begins; what comes before it in this direction has all come.
    /// Longer than 4 GB it is not recorded.
    pub fn message(&mut self, from: From, is_binary: bool, len: u64, wall: Millis) {
        if self.phase != Phase::Recording {
            return;
        }
        match self.form {
            Form::Blocks => {
                self.direction(from).open = None;
                if u32::try_from(len).is_err() {
                    return;
                }
                let flags = if is_binary { BINARY } else { 0 };
                let flags = flags | if from == From::User { FROM_USER } else { 0 };
                let block = self.end;
                self.block(kind::MESSAGE, flags, len, wall);
                let open = Open { block, at: block + HEAD as u64, left: len };
                self.direction(from).open = (len > 0).then_some(open);
            }
            Form::Chat => {
                self.direction(from).line = (!is_binary).then(|| chat::Line::new(len));
            }
        }
    }

    /// Payload of the message that has begun in this direction.
    pub fn payload(&mut self, from: From, bytes: &[u8], wall: Millis) {
        if self.phase != Phase::Recording {
            return;
        }
        if let Some(Open { at, left, .. }) = self.direction(from).open {
            let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.put(at, &bytes[..taken]);
            let (at, left) = (at + taken as u64, left - taken as u64);
            match &mut self.direction(from).open {
                Some(open) if left > 0 => (open.at, open.left) = (at, left),
                open => *open = None,
            }
        }
        let line = self.direction(from).line.as_mut().and_then(|line| line.add(bytes));
        if let Some(text) = line {
            self.direction(from).line = None;
            if let Some(entry) = chat::entry(from, &text, wall) {
                self.append(entry.as_bytes());
            }
        }
    }

    /// The session is over. A message that has not come whole is left out, if nothing follows it.
    pub fn finish(&mut self, wall: Millis) {
        if self.phase != Phase::Recording {
            return;
        }
        self.phase = Phase::Ending;
        match self.form {
            Form::Blocks => {
                let mut open = [self.user.open.take(), self.device.open.take()];
                open.sort_by_key(|open| std::cmp::Reverse(open.map(|open| open.block)));
                for Open { block, at, left } in open.into_iter().flatten() {
                    if at + left == self.end {
                        self.end = block;
                    }
                }
                let trailer = Head::trailer(wall, END);
                debug_assert_eq!(trailer.len(), TRAILER);
                self.append(&trailer);
            }
            Form::Chat => self.append(chat::end(wall).as_bytes()),
        }
    }

    /// Whether [`Self::next`] would say something else than before: then whoever drives this is to
    /// be woken.
    pub fn wants_next(&self) -> bool {
        let due = self.since.is_none() || self.waiting >= LOT || self.phase != Phase::Recording;
        due && self.in_flight.is_none()
    }

    /// Everything that waits, at once.
    pub fn flush(&mut self) -> Work {
        Work::Write(self.lot())
    }

    /// What the disk has to do now.
    pub fn next(&mut self, now: Instant) -> Next {
        if self.phase == Phase::Closed {
            return Next::Closed;
        }
        if self.in_flight.is_some() {
            return Next::Sleep(None);
        }
        if self.phase == Phase::Ending {
            self.phase = Phase::Closing;
            let len = self.end;
            return Next::Work(Work::Close { writes: self.lot(), len });
        }
        if self.pending.is_empty() {
            return Next::Sleep(None);
        }
        let due = *self.since.get_or_insert(now) + LAZY;
        if self.waiting < LOT && now < due {
            return Next::Sleep(Some(due));
        }
        Next::Work(Work::Write(self.lot()))
    }

    /// What [`Next::Work`] asked for is done.
    pub fn done(&mut self) {
        self.waiting -= self.in_flight.take().unwrap_or_default().min(self.waiting);
        if self.phase == Phase::Closing {
            self.phase = Phase::Closed;
        }
    }

    /// The disk has refused: nothing more is recorded.
    pub fn fail(&mut self) {
        self.phase = Phase::Closed;
        self.pending = VecDeque::new();
        (self.waiting, self.in_flight) = (0, None);
    }

    fn lot(&mut self) -> Vec<Write> {
        self.since = None;
        self.in_flight = Some(self.waiting);
        std::mem::take(&mut self.pending).into()
    }

    fn direction(&mut self, from: From) -> &mut Direction {
        match from {
            From::User => &mut self.user,
            From::Device => &mut self.device,
        }
    }

    /// Gives a block its place and writes its head.
    fn block(&mut self, kind: u16, flags: u16, len: u64, time: Millis) {
        let size = u32::try_from(len).unwrap_or(u32::MAX);
        let at = self.end;
        self.put(at, &Head { kind, flags, size, time }.encode());
        self.end = at + HEAD as u64 + len;
    }

    fn append(&mut self, bytes: &[u8]) {
        self.put(self.end, bytes);
        self.end += bytes.len() as u64;
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.waiting += bytes.len();
        match self.pending.back_mut() {
            Some(last) if last.at + last.bytes.len() as u64 == at && last.bytes.len() < LOT => {
                last.bytes.extend_from_slice(bytes);
            }
            _ => self.pending.push_back(Write { at, bytes: bytes.to_vec() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::us_time;
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const WALL: Millis = Millis(1_795_326_010_000);

    /// Does the work in memory.
    fn apply(file: &mut Vec<u8>, writes: Vec<Write>) {
        for Write { at, bytes } in writes {
            let at = at as usize;
            if file.len() < at + bytes.len() {
                file.resize(at + bytes.len(), 0);
            }
            file[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }

    /// Ends the recording; its file.
    fn file(mut recorder: Recorder, wall: Millis) -> Vec<u8> {
        recorder.finish(wall);
        let mut file = Vec::new();
        let now = Instant::now();
        loop {
            match recorder.next(now) {
                Next::Work(Work::Write(writes)) => apply(&mut file, writes),
                Next::Work(Work::Close { writes, len }) => {
                    apply(&mut file, writes);
                    file.truncate(len as usize);
                }
                Next::Sleep(_) => panic!("a recording that ends does not sleep"),
                Next::Closed => return file,
            }
            recorder.done();
        }
    }

    fn blocks(mut file: &[u8]) -> Vec<(Head, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some((head, rest)) = file.split_first_chunk::<HEAD>() {
            let head = Head::parse(head).unwrap();
            let (data, rest) = rest.split_at(head.size as usize);
            all.push((head, data.to_vec()));
            file = rest;
        }
        assert!(file.is_empty());
        all
    }

    fn say(recorder: &mut Recorder, from: From, is_binary: bool, bytes: &[u8], wall: Millis) {
        recorder.message(from, is_binary, bytes.len() as u64, wall);
        recorder.payload(from, bytes, wall);
    }

    fn desktop() -> Recorder {
        let metadata = Metadata { time: us_time(WALL), protocol: 2, ..Metadata::default() };
        Recorder::new(Form::Blocks, &metadata, WALL)
    }

    #[test]
    fn a_captured_recording_is_written_byte_for_byte() {
        let vector = include_str!("../../../tests/vectors/relay-mcrec.json");
        let vector: Value = serde_json::from_str(vector).unwrap();
        let expected = data_encoding::HEXLOWER.decode(vector["hex"].as_str().unwrap().as_bytes());
        let expected = expected.unwrap();
        let captured = blocks(&expected);
        let (first, last) = (&captured[0], captured.last().unwrap());
        let metadata: Metadata = serde_json::from_slice(&first.1).unwrap();
        assert_eq!(metadata.time, us_time(first.0.time));
        assert_eq!(last.1, END);
        let mut recorder = Recorder::new(Form::Blocks, &metadata, first.0.time);
        for (head, data) in &captured[1..captured.len() - 1] {
            assert_eq!(head.kind, kind::MESSAGE);
            let from = if head.flags & FROM_USER != 0 { From::User } else { From::Device };
            say(&mut recorder, from, head.flags & BINARY != 0, data, head.time);
        }
        assert_eq!(recorder.len(), (expected.len() - TRAILER) as u64);
        assert!(file(recorder, last.0.time) == expected);
    }

    #[test]
    fn messages_of_both_sides_may_come_in_pieces_at_the_same_time() {
        let mut recorder = desktop();
        recorder.message(From::Device, true, 6, WALL);
        recorder.payload(From::Device, b"pic", WALL);
        recorder.message(From::User, false, 4, WALL);
        recorder.payload(From::Device, b"tu", WALL);
        recorder.payload(From::User, b"ke", WALL);
        recorder.payload(From::Device, b"reTOO MUCH", WALL);
        recorder.message(From::Device, true, 0, WALL);
        recorder.payload(From::User, b"ys", WALL);
        let all = blocks(&file(recorder, WALL));
        let said: Vec<_> = all.iter().skip(1).map(|(h, d)| (h.kind, h.flags, &d[..])).collect();
        let expected: [(u16, u16, &[u8]); 4] =
            [(2, 1, b"pictur"), (2, 2, b"keys"), (2, 1, b""), (3, 0, &END)];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_message_cut_off_by_the_end_is_left_out() {
        for (pieces, left) in [(0, 1), (2, 1)] {
            let mut recorder = desktop();
            say(&mut recorder, From::User, false, b"2", WALL);
            recorder.message(From::Device, true, 1000, WALL);
            for _ in 0..pieces {
                recorder.payload(From::Device, b"half", WALL);
            }
            recorder.message(From::User, true, 10, WALL);
            let all = blocks(&file(recorder, WALL));
            assert_eq!(all.len(), 2 + left, "both were cut off: the digit and the end remain");
        }
    }

    #[test]
    fn writes_are_collected_and_the_session_waits_only_for_a_slow_disk() {
        let mut recorder = desktop();
        let now = Instant::now();
        assert_eq!(recorder.next(now), Next::Sleep(Some(now + LAZY)));
        let Next::Work(Work::Write(writes)) = recorder.next(now + LAZY) else { panic!() };
        assert_eq!(writes.len(), 1, "one write for the first block");
        say(&mut recorder, From::Device, true, &[1; LOT], WALL);
        assert_eq!(recorder.next(now), Next::Sleep(None), "one lot at a time");
        recorder.done();
        assert!(matches!(recorder.next(now), Next::Work(Work::Write(_))));
        let mut said = 0;
        while !recorder.is_full() {
            say(&mut recorder, From::Device, true, &[1; 4096], WALL);
            said += 1;
        }
        assert!(said * 4096 <= BUFFER, "what the disk has counts too");
        recorder.done();
        assert!(!recorder.is_full());
        recorder.fail();
        say(&mut recorder, From::Device, true, &[1; 4096], WALL);
        assert_eq!(recorder.next(now), Next::Closed);
    }

    #[test]
    fn a_chat_is_kept_as_lines() {
        let metadata = Metadata { protocol: 200, ..Metadata::default() };
        let mut recorder = Recorder::new(Form::Chat, &metadata, WALL);
        say(&mut recorder, From::User, false, br#"{"action":"chat","msg":"hello"}"#, WALL);
        recorder.message(From::Device, false, 31, WALL);
        recorder.payload(From::Device, br#"{"action":"chat","#, WALL);
        recorder.payload(From::User, b"lost", WALL);
        recorder.payload(From::Device, br#""msg":"what?"}"#, WALL);
        say(&mut recorder, From::Device, true, b"fileData", WALL);
        let text = String::from_utf8(file(recorder, WALL)).unwrap();
        let (first, rest) = text.split_once("\r\n").unwrap();
        assert!(first.starts_with(r#"{"magic":"MeshCentralRelaySession","ver":1,"#));
        let time = "Sun, 22 Nov 2026 05:40:10 GMT, ";
        let lines: Vec<_> = rest.lines().map(|line| line.strip_prefix(time).unwrap()).collect();
        assert_eq!(lines, ["<<<START>>>", "--> hello", "<-- what?", "<<<END>>>"]);
    }

    proptest! {
        #[test]
        fn any_row_of_messages_is_a_whole_file(
            said in proptest::collection::vec((any::<bool>(), any::<bool>(), 0usize..50), 0..40),
            cut in 0usize..3,
        ) {
            let mut recorder = desktop();
            let mut expected = Vec::new();
            for (from_user, is_binary, len) in said {
                let from = if from_user { From::User } else { From::Device };
                let bytes = vec![7; len];
                recorder.message(from, is_binary, len as u64, WALL);
                for piece in bytes.chunks(cut + 1) {
                    recorder.payload(from, piece, WALL);
                }
                expected.push((u16::from(is_binary) | u16::from(from_user) << 1, bytes));
            }
            let all = blocks(&file(recorder, WALL));
            let messages = all.iter().filter(|(head, _)| head.kind == kind::MESSAGE);
            let found: Vec<_> = messages.map(|(head, data)| (head.flags, data.clone())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
