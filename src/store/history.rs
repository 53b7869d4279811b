//! Bounded history: what happened, in segments with a byte quota.
//!
//! Entries are buffered and written rarely, several to a frame, and never fsynced before a clean
//! stop. Segments are called `<name>-<number>`; the oldest goes when all together are over quota.
//! Readers see segments and unwritten entries as one series, newest first.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::model::order;

use super::disk::{self, Disk};
use super::driver::{Backoff, Failure, Machine, Next, Now};
use super::frame;
use super::pace::Pace;

/// Bytes of entries that are written without waiting longer.
const PAGE: usize = 64 << 10;
/// Longest entry in bytes; a longer one is not kept.
const MAX_ENTRY: usize = 64 << 10;
/// Pages that wait for a disk that refuses them; after that the oldest is lost.
const BACKLOG: usize = 16;
/// A segment is this part of the quota.
const SEGMENTS: u64 = 16;

type Page = Arc<Vec<u8>>;

/// Which history, and what its frames are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    /// Prefix of the file names.
    pub(super) name: &'static str,
    /// For the alarm in the log.
    pub(super) title: &'static str,
    /// Kind and version of its frames.
    pub(super) kind: u16,
    pub(super) version: u8,
    /// Bytes on disk.
    pub(super) quota: u64,
}

impl Series {
    fn file(&self, number: u64) -> String {
        format!("{}-{number:08}", self.name)
    }

    fn number(&self, file: &str) -> Option<u64> {
        file.strip_prefix(self.name)?.strip_prefix('-')?.parse().ok()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    number: u64,
    len: u64,
}

/// See the module.
pub(super) struct History {
    series: Series,
    /// Oldest first. `None` until the folder was read.
    segments: Option<VecDeque<Segment>>,
    /// Full pages on their way to disk, oldest first.
    pages: VecDeque<Page>,
    /// The page that is being filled.
    buffer: Vec<u8>,
    since: Option<Duration>,
    /// Whether something was written that is not known to be safe on the medium.
    unsynced: bool,
    flight: Option<usize>,
    flush: bool,
    /// Everything there is now is due.
    save: bool,
    pace: Pace,
    backoff: Backoff,
    lost: u64,
}

/// A piece of work on a series.
pub(super) enum Work {
    /// Find the segments and the end of the newest.
    Survey(Series),
    /// Remove `drop`, then make `pages` the end of a segment, each in a frame.
    Append { series: Series, to: Segment, pages: Vec<Page>, drop: Vec<u64>, sync: bool },
}

/// What came of it.
pub(super) enum Done {
    Surveyed(VecDeque<Segment>),
    Appended { to: Segment, synced: bool },
}

impl History {
    /// History on disk, or in memory only.
    pub(super) fn new(series: Series, on_disk: bool) -> Self {
        Self {
            series,
            segments: (!on_disk).then(VecDeque::new),
            pages: VecDeque::new(),
            buffer: Vec::new(),
            since: None,
            unsynced: false,
            flight: None,
            flush: false,
            save: false,
            pace: Pace::default(),
            backoff: Backoff::new(series.title),
            lost: 0,
        }
    }

    /// The same at another pace.
    pub(super) fn at(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    fn is_urgent(&self) -> bool {
        self.flush || self.save
    }

    /// Takes the entry that `write` appends. Returns whether a page became full.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>), now: Duration) -> bool {
        let start = self.buffer.len();
        write(&mut self.buffer);
        if self.buffer.len() - start > MAX_ENTRY {
            log::warn!(
                "an entry of {} is longer than {MAX_ENTRY} bytes, not kept",
                self.series.name
            );
            self.buffer.truncate(start);
            return false;
        }
        let first = self.since.is_none();
        self.since.get_or_insert(now);
        let full = self.buffer.len() >= PAGE;
        if full {
            self.turn_page();
        }
        full || first
    }

    fn turn_page(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        self.pages.push_back(Arc::new(std::mem::take(&mut self.buffer)));
        if self.pages.len() > BACKLOG && self.flight.is_none() {
            // Without a disk's help it is meant to be so.
            if self.lost == 0 && self.pace.history.is_some() {
                log::error!("the oldest unwritten part of {} is lost", self.series.name);
            }
            self.lost += 1;
            self.pages.pop_front();
        }
    }

    /// Whether the segments are known, or cannot be.
    pub(super) fn is_ready(&self) -> bool {
        self.segments.is_some() || self.backoff.error().is_some()
    }

    /// Bytes that are only in memory.
    pub(super) fn unwritten(&self) -> usize {
        self.buffer.len() + self.pages.iter().map(|page| page.len()).sum::<usize>()
    }

    /// Pages given up because the disk refused them for too long.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// The series as it is now, for a reader on the pool.
    pub(super) fn view(&self) -> View {
        let mut pages: Vec<Page> = self.pages.iter().rev().cloned().collect();
        if !self.buffer.is_empty() {
            pages.insert(0, Arc::new(self.buffer.clone()));
        }
        let segments = self.segments.iter().flatten().rev().copied().collect();
        View { series: self.series, pages, segments }
    }

    fn append(&mut self) -> Work {
        let pages: Vec<Page> = self.pages.iter().cloned().collect();
        self.flight = Some(pages.len());
        self.since = None;
        let series = self.series;
        let framed = |page: &Page| (page.len() + frame::HEADER + frame::TRAILER) as u64;
        let bytes: u64 = pages.iter().map(framed).sum();
        let segments = self.segments.get_or_insert_default();
        let mut to = segments.back().copied().unwrap_or(Segment { number: 1, len: 0 });
        if to.len + bytes > series.quota / SEGMENTS && to.len > 0 {
            to = Segment { number: to.number + 1, len: 0 };
        }
        let mut total = segments.iter().map(|s| s.len).sum::<u64>() + bytes;
        let mut drop = Vec::new();
        while total > series.quota
            && let Some(oldest) = segments.front().copied()
            && oldest.number != to.number
        {
            segments.pop_front();
            total -= oldest.len;
            drop.push(oldest.number);
        }
        Work::Append { series, to, pages, drop, sync: self.is_urgent() }
    }
}

impl Machine for History {
    type Work = Work;
    type Done = Done;

    fn next(&mut self, now: Now) -> Next<Work> {
        if self.flight.is_some() {
            return Next::Sleep(None);
        }
        if let Some(until) = self.backoff.pause(now.mono) {
            return Next::Sleep(Some(until));
        }
        if self.segments.is_none() {
            self.flight = Some(0);
            return Next::Work(Work::Survey(self.series));
        }
        let due = self.since.zip(self.pace.history).map(|(since, lazy)| since + lazy);
        if self.is_urgent() || due.is_some_and(|at| now.mono >= at) {
            self.turn_page();
        }
        let farewell = self.is_urgent() && self.unsynced;
        let waits = self.pace.history.is_none() && !self.is_urgent();
        if self.pages.is_empty() && !farewell || waits {
            self.save = false;
            return Next::Sleep(due);
        }
        Next::Work(self.append())
    }

    fn perform(work: Work, disk: &dyn Disk) -> Result<Done, Failure> {
        match work {
            Work::Survey(series) => Ok(Done::Surveyed(survey(&series, disk)?)),
            Work::Append { series, to, pages, drop, sync } => {
                for number in drop {
                    disk.remove(&series.file(number))?;
                }
                let mut bytes = Vec::new();
                for page in pages {
                    frame::append(&mut bytes, series.kind, series.version, |out| {
                        out.extend_from_slice(&page);
                    })
                    .map_err(|error| io::Error::other(error.to_string()))?;
                }
                let name = series.file(to.number);
                disk.extend(&name, to.len, &bytes)?;
                if sync {
                    disk.sync(&name)?;
                    disk.sync_folder()?;
                }
                let to = Segment { len: to.len + bytes.len() as u64, ..to };
                Ok(Done::Appended { to, synced: sync })
            }
        }
    }

    fn done(&mut self, outcome: Result<Done, Failure>, now: Now) {
        let Some(pages) = self.flight.take() else { return };
        match outcome {
            Ok(Done::Surveyed(segments)) => {
                self.segments = Some(segments);
                if !self.pages.is_empty() {
                    return; // whether the disk takes them is not known yet
                }
            }
            Ok(Done::Appended { to, synced }) => {
                self.pages.drain(..pages.min(self.pages.len()));
                self.unsynced = !synced;
                let segments = self.segments.get_or_insert_default();
                match segments.back_mut() {
                    Some(newest) if newest.number == to.number => *newest = to,
                    _ => segments.push_back(to),
                }
            }
            Err(failure) => {
                if let Failure::Unsure(_) = failure {
                    // What was removed and what was written, the folder itself has to say.
                    self.segments = None;
                }
                return self.backoff.failed(&failure, now.mono);
            }
        }
        self.backoff.succeeded();
    }

    fn flush(&mut self) {
        self.flush = true;
        self.backoff.last_chance();
    }

    fn save(&mut self) {
        self.save = true;
        self.backoff.last_chance();
    }

    fn trouble(&self) -> Option<&str> {
        self.backoff.error()
    }
}

fn survey(series: &Series, disk: &dyn Disk) -> io::Result<VecDeque<Segment>> {
    let mut segments = Vec::new();
    for name in disk.list()? {
        if let Some(number) = series.number(&name)
            && let Some(len) = disk.len(&name)?
        {
            segments.push(Segment { number, len });
        }
    }
    order::sort_by(&mut segments, |a, b| a.number.cmp(&b.number));
    if let Some(newest) = segments.last_mut() {
        let name = series.file(newest.number);
        let extent = disk::scan(disk, &name, |_, _| {})?;
        newest.len = extent.good;
        if let Some(damage) = extent.damage {
            let (at, bytes) = (extent.good, extent.len - extent.good);
            log::warn!("{name}: the frame at byte {at} {damage}; {bytes} bytes are dropped");
        }
    }
    Ok(segments.into())
}

/// A series as it was at one moment.
pub(super) struct View {
    series: Series,
    /// Newest first.
    pages: Vec<Page>,
    /// Newest first.
    segments: Vec<Segment>,
}

impl View {
    /// Shows `visit` the version and the entries of each page, newest page first, until it returns
    /// false. Inside a page the oldest entry comes first. Blocks if there is a disk.
    pub(super) fn read(&self, disk: Option<&dyn Disk>, mut visit: impl FnMut(u8, &[u8]) -> bool) {
        for page in &self.pages {
            if !visit(self.series.version, page) {
                return;
            }
        }
        let Some(disk) = disk else { return };
        for segment in &self.segments {
            match self.read_segment(disk, *segment, &mut visit) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    log::warn!("{} cannot be read: {error}", self.series.file(segment.number));
                }
            }
        }
    }

    fn read_segment(
        &self,
        disk: &dyn Disk,
        segment: Segment,
        visit: &mut impl FnMut(u8, &[u8]) -> bool,
    ) -> io::Result<bool> {
        let name = self.series.file(segment.number);
        // A segment that went meanwhile is an empty one. Its length was measured, not claimed.
        let len = disk.len(&name)?.unwrap_or(0).min(segment.len);
        let mut bytes = vec![0; len as usize];
        let n = disk.read_at(&name, 0, &mut bytes)?;
        bytes.truncate(n);
        let mut frames = Vec::new();
        let mut rest = &bytes[..];
        while let Ok(Some(frame)) = frame::parse(rest) {
            rest = &rest[frame.raw.len()..];
            frames.push(frame);
        }
        Ok(frames
            .iter()
            .rev()
            .filter(|f| f.kind == self.series.kind)
            .all(|f| visit(f.version, f.payload)))
    }
}
