//! The journal of `state`: when frames go to disk, and when they are safe there.
//!
//! Records are appended to a buffer and numbered. Whoever awaits a commit makes everything up to
//! its number urgent: one write, one fsync, for all that wait. What nobody awaits is written soon
//! ([`Pace`]) and left to the system to bring to the medium. When the file has outgrown its content,
//! a snapshot is written beside it and takes its place; what changes meanwhile goes behind the
//! snapshot, so the old file stays as it was until the new one is complete.
//!
//! Sans I/O: [`super::records`] feeds it and [`super::driver`] carries its work to the disk.

use std::sync::Arc;
use std::time::Duration;

use super::NotDurable;
use super::codec::{self, SnapshotEnd};
use super::disk::Disk;
use super::driver::{Backoff, Failure, Next};
use super::pace::Pace;

/// Name of the file.
pub(super) const STATE: &str = "state";
/// Name of a snapshot that is not complete yet.
pub(super) const STATE_NEW: &str = "state.new";

/// Bytes of such records that are written without waiting longer.
const BATCH: usize = 64 << 10;
/// Bytes kept for a disk that refuses them. Beyond, a snapshot of memory is the cheaper way.
const BACKLOG: usize = 1 << 20;
/// How long to leave a snapshot alone that found no space, while appending still works.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(600);

/// A piece of work on `state`.
#[derive(Debug)]
pub(super) enum Work {
    /// Put the damaged end of the file, from `good` on, beside it, and cut it off.
    Cut { good: u64 },
    /// Make `bytes` the end of the file, which is `at` bytes long.
    Append { at: u64, bytes: Arc<Vec<u8>>, sync: bool, folder: bool },
    /// Make `bytes` the end of the snapshot.
    Part { at: u64, bytes: Arc<Vec<u8>>, last: bool },
    /// Put the snapshot in the place of the file.
    Swap,
}

/// What the journal needs next.
pub(super) enum Step {
    Next(Next<Work>),
    /// The next part of the snapshot, to be given to [`Journal::part`]. `first` starts it anew.
    Part {
        first: bool,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    /// Length of the file, as far as it is known to be written.
    len: u64,
    /// Of these, the bytes of the last snapshot.
    base: u64,
    /// Frames that are not on their way yet.
    pending: Vec<u8>,
    /// When the oldest of them came.
    since: Option<Duration>,
    /// Number of the last record; numbers start at 1.
    last: u64,
    /// Number up to which records are safe on the medium.
    synced: u64,
    /// Number up to which somebody waits.
    awaited: u64,
    /// The end of the file is damaged and has to be cut off before anything can be appended.
    cut: bool,
    /// The file has to be written anew, from memory.
    rewrite: bool,
    snapshot: Option<Snapshot>,
    /// Smallest file that is worth a snapshot.
    snapshot_from: u64,
    snapshot_pause: Duration,
    flight: Option<Flight>,
    /// Whether the name of the file is known to be safe in the folder.
    named: bool,
    flush: bool,
    /// Everything there is now is due.
    save: bool,
    pace: Pace,
    backoff: Backoff,
}

#[derive(Debug)]
struct Snapshot {
    /// Bytes written so far.
    at: u64,
    /// End of the snapshot proper.
    base: u64,
    /// Set when the last part, with all changes up to that record, was handed out.
    sealed: Option<u64>,
}

#[derive(Debug)]
enum Flight {
    Cut,
    Append { upto: u64, bytes: Arc<Vec<u8>>, sync: bool },
    Part { len: u64, changes: Vec<u8> },
    Swap,
}

impl Journal {
    /// A journal over a file of `len` good bytes, of which `base` are its snapshot. With `damaged`
    /// the file is longer and has to be cut first.
    pub(super) fn new(len: u64, base: u64, damaged: bool, snapshot_from: u64) -> Self {
        Self {
            len,
            base,
            pending: Vec::new(),
            since: None,
            last: 0,
            synced: 0,
            awaited: 0,
            cut: damaged,
            rewrite: false,
            snapshot: None,
            snapshot_from,
            snapshot_pause: Duration::ZERO,
            flight: None,
            named: false,
            flush: false,
            save: false,
            pace: Pace::default(),
            backoff: Backoff::new("the state file"),
        }
    }

    /// The same at another pace.
    pub(super) fn at(mut self, pace: Pace) -> Self {
        self.pace = pace;
        // Who writes only now and then writes what is in memory, not how it came to be.
        self.rewrite |= pace.lazy.is_none();
        self
    }

    fn is_urgent(&self) -> bool {
        self.flush || self.save
    }

    /// Takes a frame and returns its number.
    pub(super) fn append(&mut self, frame: &[u8], now: Duration) -> u64 {
        self.last += 1;
        // A rewrite that has not begun will find the record in memory.
        if !self.rewrite || self.snapshot.is_some() {
            self.pending.extend_from_slice(frame);
        }
        self.since.get_or_insert(now);
        if self.pending.len() > BACKLOG && self.backoff.error().is_some() && self.flight.is_none() {
            self.give_up_pending();
        }
        self.last
    }

    /// Somebody waits for a record.
    pub(super) fn hurry(&mut self, number: u64, now: Duration) {
        self.awaited = self.awaited.max(number);
        self.backoff.hurry(now);
    }

    /// What to tell whoever waits for a record; `None` while it is under way.
    pub(super) fn verdict(&self, number: u64, now: Duration) -> Option<Result<(), NotDurable>> {
        if number <= self.synced || self.pace.lazy.is_none() {
            return Some(Ok(()));
        }
        if !self.pace.awaits_disk && self.backoff.error().is_none() {
            return Some(Ok(()));
        }
        let error = self.backoff.error()?;
        let waiting = self.flight.is_none() && self.backoff.pause(now).is_some();
        waiting.then(|| Err(NotDurable(error.to_owned())))
    }

    /// Bytes that are only in memory.
    pub(super) fn unwritten(&self) -> usize {
        self.pending.len()
    }

    /// What to do now.
    pub(super) fn next(&mut self, now: Duration) -> Step {
        let sleep = |until| Step::Next(Next::Sleep(until));
        if self.flight.is_some() {
            return sleep(None);
        }
        if let Some(until) = self.backoff.pause(now) {
            return sleep(Some(until));
        }
        if self.pace.lazy.is_none() && self.snapshot.is_none() {
            self.save &= self.last > self.synced;
            if !self.is_urgent() || self.flush && self.rewrite && self.last == self.synced {
                return sleep(None);
            }
        }
        if self.cut {
            self.flight = Some(Flight::Cut);
            return Step::Next(Next::Work(Work::Cut { good: self.len }));
        }
        let unfinished = self.snapshot.as_ref().is_some_and(|s| s.sealed.is_none());
        if self.flush && unfinished && !self.rewrite {
            // A stop does not wait for a snapshot that only saves space.
            self.snapshot = None;
        }
        if self.rewrite || self.snapshot.is_some() || self.snapshot_is_due(now) {
            return self.next_of_snapshot();
        }
        let lazy = self.since.zip(self.pace.lazy).map(|(since, lazy)| since + lazy);
        let full = self.pending.len() >= BATCH || lazy.is_some_and(|at| now >= at);
        let awaited = self.awaited > self.synced && (self.pace.awaits_disk || full);
        let sync = awaited || self.is_urgent() && self.last > self.synced;
        if !sync && !full {
            self.save = false;
            return sleep(lazy);
        }
        let bytes = Arc::new(std::mem::take(&mut self.pending));
        self.since = None;
        self.flight = Some(Flight::Append { upto: self.last, bytes: bytes.clone(), sync });
        let folder = sync && !self.named;
        Step::Next(Next::Work(Work::Append { at: self.len, bytes, sync, folder }))
    }

    fn snapshot_is_due(&self, now: Duration) -> bool {
        !self.flush
            && self.len > self.snapshot_from.max(2 * self.base)
            && now >= self.snapshot_pause
    }

    fn next_of_snapshot(&mut self) -> Step {
        match &self.snapshot {
            None => {
                if self.rewrite {
                    self.pending.clear();
                }
                self.snapshot = Some(Snapshot { at: 0, base: 0, sealed: None });
                Step::Part { first: true }
            }
            Some(Snapshot { sealed: None, .. }) => Step::Part { first: false },
            Some(Snapshot { sealed: Some(_), .. }) => {
                self.flight = Some(Flight::Swap);
                Step::Next(Next::Work(Work::Swap))
            }
        }
    }

    /// Takes the next part of the snapshot; the last one carries what has changed since its start.
    pub(super) fn part(&mut self, mut bytes: Vec<u8>, last: bool) -> Work {
        let fresh = Snapshot { at: 0, base: 0, sealed: None };
        let snapshot = self.snapshot.get_or_insert(fresh);
        let mut changes = Vec::new();
        if last {
            // Never too long: it has no content.
            let _ = codec::append(&mut bytes, &SnapshotEnd);
            snapshot.base = snapshot.at + bytes.len() as u64;
            snapshot.sealed = Some(self.last);
            changes = std::mem::take(&mut self.pending);
            bytes.extend_from_slice(&changes);
            self.since = None;
        }
        self.flight = Some(Flight::Part { len: bytes.len() as u64, changes });
        Work::Part { at: snapshot.at, bytes: Arc::new(bytes), last }
    }

    /// Takes the outcome of the work handed out last.
    pub(super) fn done(&mut self, outcome: Result<(), Failure>, now: Duration) {
        let Some(flight) = self.flight.take() else { return };
        match outcome {
            Ok(()) => self.succeeded(flight),
            Err(failure) => self.failed(flight, failure, now),
        }
    }

    fn succeeded(&mut self, flight: Flight) {
        match flight {
            Flight::Cut => {
                self.cut = false;
                self.backoff.succeeded();
            }
            Flight::Append { upto, bytes, sync } => {
                self.len += bytes.len() as u64;
                if sync {
                    self.synced = upto;
                    self.named = true;
                }
                self.backoff.succeeded();
            }
            Flight::Part { len, .. } => {
                if let Some(snapshot) = &mut self.snapshot {
                    snapshot.at += len;
                }
            }
            Flight::Swap => {
                if let Some(Snapshot { at, base, sealed: Some(upto) }) = self.snapshot.take() {
                    (self.len, self.base) = (at, base);
                    self.synced = upto;
                }
                self.rewrite = self.pace.lazy.is_none() && !self.flush;
                if self.rewrite {
                    self.pending = Vec::new();
                }
                self.named = true;
                self.backoff.succeeded();
            }
        }
    }

    fn failed(&mut self, flight: Flight, failure: Failure, now: Duration) {
        match (flight, &failure) {
            (Flight::Cut, _) => self.backoff.failed(&failure, now),
            (Flight::Append { bytes, .. }, Failure::Refused(_) | Failure::Abandoned) => {
                self.put_back(&bytes, now);
                self.backoff.failed(&failure, now);
            }
            (Flight::Part { changes, .. }, _) => {
                self.snapshot = None;
                if self.rewrite {
                    self.pending = Vec::new();
                    self.backoff.failed(&failure, now);
                } else {
                    log::warn!("no fresh snapshot of the state file for now: {failure}");
                    self.put_back(&changes, now);
                    self.snapshot_pause = now + SNAPSHOT_PAUSE;
                }
            }
            // Which bytes the file has, or even which file it is, is not known any more.
            (Flight::Append { .. } | Flight::Swap, _) => {
                self.give_up_pending();
                self.backoff.failed(&failure, now);
            }
        }
    }

    fn put_back(&mut self, bytes: &[u8], now: Duration) {
        self.pending.splice(..0, bytes.iter().copied());
        if !self.pending.is_empty() {
            self.since.get_or_insert(now);
        }
    }

    /// From here on memory is what counts: the file will be written anew from it.
    fn give_up_pending(&mut self) {
        self.rewrite = true;
        self.snapshot = None;
        self.pending = Vec::new();
        self.since = None;
    }

    /// Everything is due at once.
    pub(super) fn flush(&mut self) {
        self.flush = true;
        self.backoff.last_chance();
    }

    /// Everything there is now is due.
    pub(super) fn save(&mut self) {
        self.save = true;
        self.backoff.last_chance();
    }

    /// What the disk said last, while it refuses.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.backoff.error()
    }
}

/// Does a piece of work; blocks.
pub(super) fn perform(work: Work, disk: &dyn Disk) -> Result<(), Failure> {
    match work {
        Work::Cut { good } => {
            cut(disk, good)?;
        }
        Work::Append { at, bytes, sync, folder } => {
            if !bytes.is_empty() {
                disk.extend(STATE, at, &bytes)?;
            }
            if sync {
                disk.sync(STATE).map_err(Failure::Unsure)?;
            }
            if folder {
                disk.sync_folder().map_err(Failure::Unsure)?;
            }
        }
        Work::Part { at, bytes, last } => {
            let mut written = disk.extend(STATE_NEW, at, &bytes);
            if last {
                written = written.and_then(|()| disk.sync(STATE_NEW));
            }
            if let Err(error) = written {
                // Half a snapshot is of no use and may be what fills the disk.
                let _ = disk.remove(STATE_NEW);
                return Err(error.into());
            }
        }
        Work::Swap => {
            let renamed = disk.rename(STATE_NEW, STATE).and_then(|()| disk.sync_folder());
            renamed.map_err(Failure::Unsure)?;
        }
    }
    Ok(())
}

/// Damaged ends that are kept; after that the smallest is replaced, for it is the likeliest to be
/// nothing but the half record of a power cut.
const DAMAGED_KEPT: u32 = 8;

/// Copies what lies behind `good` to `state.damaged-<n>` and then cuts it off. Returns the name.
pub(super) fn cut(disk: &dyn Disk, good: u64) -> std::io::Result<String> {
    let name = damaged_name(disk)?;
    if disk.len(STATE)?.unwrap_or(0) <= good {
        return Ok(name); // an interrupted attempt has done it
    }
    if let Err(error) = copy_end(disk, good, &name) {
        let _ = disk.remove(&name);
        return Err(error);
    }
    disk.truncate(STATE, good)?;
    disk.sync(STATE)?;
    Ok(name)
}

fn damaged_name(disk: &dyn Disk) -> std::io::Result<String> {
    let mut smallest: Option<(u64, String)> = None;
    for n in 1..=DAMAGED_KEPT {
        let name = format!("{STATE}.damaged-{n}");
        let Some(len) = disk.len(&name)? else { return Ok(name) };
        if smallest.as_ref().is_none_or(|(least, _)| len < *least) {
            smallest = Some((len, name));
        }
    }
    Ok(smallest.map_or_else(|| format!("{STATE}.damaged-1"), |(_, name)| name))
}

fn copy_end(disk: &dyn Disk, from: u64, name: &str) -> std::io::Result<()> {
    let mut chunk = vec![0; 64 << 10];
    let mut done = 0;
    loop {
        let n = disk.read_at(STATE, from + done, &mut chunk)?;
        if n == 0 {
            break;
        }
        disk.extend(name, done, &chunk[..n])?;
        done += n as u64;
    }
    disk.sync(name)?;
    disk.sync_folder()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const NEVER: u64 = u64::MAX;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn full() -> Result<(), Failure> {
        Err(Failure::Refused(io::ErrorKind::StorageFull.into()))
    }

    fn unsure() -> Result<(), Failure> {
        Err(Failure::Unsure(io::Error::other("fsync failed")))
    }

    /// What the journal asks for, as text: `append 0 "abc" sync folder`.
    fn ask(journal: &mut Journal, now: Duration) -> String {
        let work = match journal.next(now) {
            Step::Next(Next::Work(work)) => work,
            Step::Next(Next::Sleep(None)) => return "sleep".into(),
            Step::Next(Next::Sleep(Some(at))) => return format!("sleep until {}", at.as_secs()),
            Step::Part { first } => return format!("part{}", if first { " first" } else { "" }),
        };
        show(work)
    }

    fn show(work: Work) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match work {
            Work::Cut { good } => format!("cut {good}"),
            Work::Append { at, bytes, sync, folder } => {
                let sync = if sync { " sync" } else { "" };
                let folder = if folder { " folder" } else { "" };
                format!("append {at} {:?}{sync}{folder}", text(&bytes))
            }
            Work::Part { at, bytes, last: false } => format!("part {at} {:?}", text(&bytes)),
            Work::Part { at, bytes, last: true } => format!("last part {at} of {}", bytes.len()),
            Work::Swap => "swap".into(),
        }
    }

    #[test]
    fn awaited_record_goes_to_disk_at_once_with_all_before_it() {
        let mut journal = Journal::new(0, 0, false, NEVER);
        journal.append(b"a", secs(0));
        let b = journal.append(b"b", secs(1));
        assert_eq!(ask(&mut journal, secs(1)), "sleep until 5");
        journal.hurry(b, secs(1));
        assert_eq!(ask(&mut journal, secs(1)), r#"append 0 "ab" sync folder"#);
        assert_eq!(journal.verdict(b, secs(1)), None);
        let c = journal.append(b"c", secs(1));
        journal.hurry(c, secs(1));
        journal.done(Ok(()), secs(2));
        assert_eq!(journal.verdict(b, secs(2)), Some(Ok(())));
        assert_eq!(journal.verdict(c, secs(2)), None);
        assert_eq!(ask(&mut journal, secs(2)), r#"append 2 "c" sync"#);
    }

    #[test]
    fn record_nobody_awaits_is_written_after_five_seconds_without_fsync() {
        let mut journal = Journal::new(10, 0, false, NEVER);
        let a = journal.append(b"a", secs(3));
        assert_eq!(ask(&mut journal, secs(7)), "sleep until 8");
        assert_eq!(ask(&mut journal, secs(8)), r#"append 10 "a""#);
        journal.done(Ok(()), secs(8));
        assert_eq!(ask(&mut journal, secs(9)), "sleep");
        // Whoever comes late gets the fsync.
        journal.hurry(a, secs(9));
        assert_eq!(journal.verdict(a, secs(9)), None);
        assert_eq!(ask(&mut journal, secs(9)), r#"append 11 "" sync folder"#);
        journal.done(Ok(()), secs(9));
        assert_eq!(journal.verdict(a, secs(9)), Some(Ok(())));
    }

    #[test]
    fn refused_write_is_told_and_tried_again_at_the_same_place() {
        let mut journal = Journal::new(10, 0, false, NEVER);
        let a = journal.append(b"a", secs(0));
        journal.hurry(a, secs(0));
        assert_eq!(ask(&mut journal, secs(0)), r#"append 10 "a" sync folder"#);
        journal.done(full(), secs(0));
        assert!(matches!(journal.verdict(a, secs(0)), Some(Err(NotDurable(_)))));
        let b = journal.append(b"b", secs(0));
        journal.hurry(b, secs(0));
        assert!(matches!(journal.verdict(b, secs(0)), Some(Err(NotDurable(_)))), "no hammering");
        assert_eq!(ask(&mut journal, secs(0)), "sleep until 1");
        assert_eq!(ask(&mut journal, secs(1)), r#"append 10 "ab" sync folder"#);
        journal.done(Ok(()), secs(1));
        assert_eq!(journal.verdict(b, secs(1)), Some(Ok(())));
        assert_eq!(journal.trouble(), None);
    }

    #[test]
    fn unsure_write_makes_the_file_anew() {
        let mut journal = Journal::new(10, 0, false, NEVER);
        let a = journal.append(b"a", secs(0));
        journal.hurry(a, secs(0));
        ask(&mut journal, secs(0));
        journal.done(unsure(), secs(0));
        assert_eq!(ask(&mut journal, secs(1)), "part first");
        assert_eq!(
            show(journal.part(b"all but the end ".to_vec(), false)),
            r#"part 0 "all but the end ""#
        );
        journal.done(Ok(()), secs(1));
        journal.append(b"b", secs(1));
        assert_eq!(ask(&mut journal, secs(1)), "part");
        // "the end", the mark of the snapshot's end (11 bytes), "b".
        assert_eq!(show(journal.part(b"the end".to_vec(), true)), "last part 16 of 19");
        journal.done(Ok(()), secs(1));
        assert_eq!(ask(&mut journal, secs(1)), "swap");
        let c = journal.append(b"c", secs(1));
        journal.done(Ok(()), secs(2));
        assert_eq!(journal.verdict(a, secs(2)), Some(Ok(())));
        assert_eq!(journal.verdict(c, secs(2)), None);
        assert_eq!(ask(&mut journal, secs(6)), r#"append 35 "c""#);
    }

    #[test]
    fn snapshot_is_due_when_the_file_has_doubled() {
        for (len, base, due) in
            [(1000, 0, false), (1001, 0, true), (1600, 800, false), (1601, 800, true)]
        {
            let mut journal = Journal::new(len, base, false, 1000);
            assert_eq!(ask(&mut journal, secs(0)) == "part first", due, "{len} of {base}");
        }
    }

    #[test]
    fn snapshot_without_space_does_not_keep_records_off_the_disk() {
        let mut journal = Journal::new(2000, 0, false, 1000);
        let a = journal.append(b"a", secs(0));
        journal.hurry(a, secs(0));
        assert_eq!(ask(&mut journal, secs(0)), "part first");
        journal.part(b"everything".to_vec(), true);
        journal.done(full(), secs(0));
        assert_eq!(ask(&mut journal, secs(0)), r#"append 2000 "a" sync folder"#);
        journal.done(Ok(()), secs(0));
        assert_eq!(journal.verdict(a, secs(0)), Some(Ok(())));
        assert_eq!(ask(&mut journal, secs(599)), "sleep");
        assert_eq!(ask(&mut journal, secs(600)), "part first");
    }

    #[test]
    fn stop_writes_everything_at_once_but_makes_no_snapshot() {
        let mut journal = Journal::new(2000, 0, false, 1000);
        journal.append(b"a", secs(0));
        assert_eq!(ask(&mut journal, secs(0)), "part first");
        journal.part(b"half".to_vec(), false);
        journal.done(Ok(()), secs(0));
        journal.flush();
        assert_eq!(ask(&mut journal, secs(0)), r#"append 2000 "a" sync folder"#);
        journal.done(Ok(()), secs(0));
        assert_eq!(ask(&mut journal, secs(0)), "sleep");
    }
}
