//! Damaged files: recovery yields a prefix of history and says what it did.

use super::*;
use crate::store::codec::{self, SeenBatch, SeenForm};
use crate::store::driver::{Machine, Next};
use crate::store::frame::{self, Damage};
use crate::store::journal::{Journal, Work};
use crate::store::records::Records;
use crate::store::recovery::{examine, recover};
use crate::store::state::{Cursor, State};
use crate::store::vault::Vault;

/// A history with every kind of entry, one frame each.
fn history() -> Vec<Vec<u8>> {
    let put = |record: Record| {
        let mut out = Vec::new();
        State::default().encode(&record, &mut out).unwrap();
        out
    };
    let remove = |key: RecordKey| {
        let mut out = Vec::new();
        codec::append(&mut out, &key).unwrap();
        out
    };
    let mut batch = Vec::new();
    let forms = vec![SeenForm::new(&node(1), &seen(9))];
    codec::append(&mut batch, &SeenBatch { floor: WALL, seen: forms }).unwrap();
    let mut foreign = Vec::new();
    frame::append(&mut foreign, 900, 4, |out| out.extend_from_slice(b"from the future")).unwrap();
    let mut changed = device(1);
    changed.name = "renamed".into();
    vec![
        put(user("admin").into()),
        put(Group::new(group(), "Office", GroupKind::Agent, WALL).into()),
        put(device(1).into()),
        put(device(2).into()),
        batch,
        put(secret("key", &[1, 2, 3]).into()),
        put(changed.into()),
        foreign,
        remove(RecordKey::Device(node(2))),
        put(user("guest").into()),
        remove(RecordKey::User(user("admin").id)),
    ]
}

/// What a state contains, for comparing.
fn digest(state: &State) -> Vec<u8> {
    let (mut out, mut cursor) = (Vec::new(), Some(Cursor::default()));
    while let Some(at) = cursor {
        let mut part = Vec::new();
        cursor = state.snapshot(at, Millis(0), &mut part);
        out.append(&mut part);
    }
    out
}

/// The digests after 0, 1, 2, … frames, and the offsets at which they end.
fn prefixes(frames: &[Vec<u8>]) -> Vec<(usize, Vec<u8>)> {
    let (mut state, mut end) = (State::default(), 0);
    let mut found = vec![(0, digest(&state))];
    for raw in frames {
        state.apply(&frame::parse(raw).unwrap().unwrap());
        end += raw.len();
        found.push((end, digest(&state)));
    }
    found
}

fn assert_prefix(bytes: &[u8], whole: usize, prefixes: &[(usize, Vec<u8>)]) {
    let disk = FakeDisk::with("state", bytes);
    let recovered = recover(&*disk, Vault::default()).unwrap();
    let (end, expected) = &prefixes[whole];
    assert_eq!(digest(&recovered.state), *expected);
    let report = &recovered.report;
    assert_eq!((report.frames, report.bytes), (whole as u64, *end as u64));
    // Nothing is thrown away: what is cut off lies beside the file.
    assert_eq!(disk.content("state").unwrap(), bytes[..*end]);
    let tail = (*end < bytes.len()).then(|| bytes[*end..].to_vec());
    assert_eq!(disk.content("state.damaged-1"), tail);
    assert_eq!(report.lost.is_some(), tail.is_some());
    let text = report.to_string();
    assert_eq!(text.contains("is damaged"), tail.is_some(), "{text}");
    assert_eq!(text.contains(&format!("byte {end} ")), tail.is_some(), "{text}");
    assert_eq!(examine(bytes).frames, report.frames);
}

#[test]
fn file_cut_at_any_byte_yields_the_history_before_the_cut() {
    let frames = history();
    let (bytes, prefixes) = (frames.concat(), prefixes(&frames));
    for cut in 0..=bytes.len() {
        let whole = prefixes.iter().filter(|(end, _)| *end <= cut).count() - 1;
        assert_prefix(&bytes[..cut], whole, &prefixes);
    }
}

#[test]
fn any_flipped_bit_yields_the_history_before_its_frame() {
    let frames = history();
    let (bytes, prefixes) = (frames.concat(), prefixes(&frames));
    for at in 0..bytes.len() {
        let whole = prefixes.iter().filter(|(end, _)| *end <= at).count() - 1;
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            assert_prefix(&bytes, whole, &prefixes);
        }
    }
}

#[test]
fn report_is_a_sentence_a_person_understands() {
    let frames = history();
    let mut bytes = frames[..2].concat();
    assert_eq!(examine(&[]).to_string(), "the state file is new and empty.");
    let sound = format!("the state file is sound: 2 frames, {} bytes.", bytes.len());
    assert_eq!(examine(&bytes).to_string(), sound);
    let good = bytes.len();
    bytes.extend_from_slice(&frames[2][..20]);
    let disk = FakeDisk::with("state", &bytes);
    let report = recover(&*disk, Vault::default()).unwrap().report;
    assert_eq!(
        report.to_string(),
        format!(
            "the state file is damaged: the frame at byte {good} is cut off, so only the 2 frames \
             before it are in force and 20 bytes are not; these were moved to state.damaged-1."
        )
    );
    assert_eq!(report.lost.unwrap().damage, Damage::Torn);
}

#[test]
fn damaged_end_stays_where_it_is_while_the_disk_is_read_only() {
    let frames = history();
    let bytes = [frames[..2].concat(), vec![0xEE; 30]].concat();
    let disk = FakeDisk::with("state", &bytes);
    disk.fail(Fail::ReadOnly);
    let clock = TestClock::default();
    let (store, report) = open_with(&disk, Options::default(), &clock);
    assert!(report.to_string().contains("stays as it is until they can"), "{report}");
    let refused = drive(&store, store.put(secret("a", b"1")));
    assert!(refused.is_err());
    assert_eq!(disk.content("state").unwrap(), bytes);
    disk.fail(Fail::Nothing);
    clock.advance(60);
    assert_eq!(drive(&store, store.put(secret("b", b"2"))), Ok(()));
    assert_eq!(disk.content("state.damaged-1").unwrap(), [0xEE; 30]);
    let (store, report) = open(&disk.killed());
    assert_eq!(report.lost, None);
    assert!(store.secret("a").is_some() && store.secret("b").is_some());
}

#[test]
fn damaged_ends_are_bounded_in_number_and_the_largest_survive() {
    let disk = FakeDisk::new();
    for n in 0..20u8 {
        let tail = vec![0xEE; if n == 3 { 500 } else { 11 + usize::from(n) }];
        disk.write_at("state", 0, &tail).unwrap();
        recover(&*disk, Vault::default()).unwrap();
    }
    let names = disk.list().unwrap();
    assert_eq!(names.iter().filter(|n| n.starts_with("state.damaged-")).count(), 8);
    assert_eq!(disk.content("state.damaged-4").unwrap().len(), 500);
}

#[test]
fn frames_of_a_newer_version_survive_a_snapshot_and_stay_removed() {
    let frames = history();
    let disk = FakeDisk::with("state", &frames.concat());
    let small = Options { snapshot_from: 1, ..Options::default() };
    let (store, report) = open_with(&disk, small, &TestClock::default());
    // The foreign frame, and the two removals behind it.
    assert_eq!(report.carried, 3);
    drive(&store, async {
        // The file is larger than its snapshot would be, so the first work is to make one.
        store.put(secret("more", b"x")).await.unwrap();
    });
    let bytes = disk.content("state").unwrap();
    assert!(bytes.len() < frames.concat().len() + 200);
    let carried = [&frames[7][..], &frames[8], &frames[10]].concat();
    assert_eq!(bytes[..carried.len()], carried);
    let (store, report) = open(&disk.killed());
    assert_eq!((report.carried, report.lost), (3, None));
    assert_eq!(store.device(&node(1)).unwrap().name, "renamed");
    assert_eq!(store.last_seen(&node(1)), Some(seen(9)));
    assert!(store.user(&user("guest").id).is_some() && store.secret("more").is_some());
}

#[test]
fn changes_during_a_snapshot_are_in_it_or_behind_it() {
    let disk = FakeDisk::new();
    let mut records = Records::new(State::default(), Journal::new(0, 0, false, 1000));
    let now = TestClock::default().now();
    let put = |records: &mut Records, record: Record| {
        let mut frame = Vec::new();
        records.state.encode(&record, &mut frame).unwrap();
        records.state.put(record);
        let number = records.journal.append(&frame, now.mono);
        records.journal.hurry(number, now.mono);
    };
    (0..2000).for_each(|n| put(&mut records, device(n).into()));
    let (mut parts, mut swapped) = (0, false);
    for round in 0u64.. {
        let Next::Work(work) = records.next(now) else { break };
        parts += u64::from(matches!(work, Work::Part { .. }));
        swapped |= matches!(work, Work::Swap);
        // Behind, at and in front of where the snapshot is.
        for n in (round..2000).step_by(97).take(if swapped { 0 } else { 25 }) {
            let mut changed = device(n);
            changed.name = format!("changed in round {round}");
            put(&mut records, changed.into());
        }
        if !swapped {
            let key = RecordKey::Device(node(1999 - round));
            records.state.remove(&key);
            let mut frame = Vec::new();
            codec::append(&mut frame, &key).unwrap();
            records.journal.append(&frame, now.mono);
            put(&mut records, device(5000 + round).into());
        }
        let outcome = Records::perform(work, &*disk);
        records.done(outcome, now);
    }
    assert!(parts > 3 && swapped, "{parts} parts");
    let recovered = recover(&*disk.unplugged(0), Vault::default()).unwrap();
    assert!(recovered.base > 100_000 && recovered.report.lost.is_none());
    assert!(digest(&recovered.state) == digest(&records.state));
}
