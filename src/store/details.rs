//! Detail documents: JSON texts of up to megabytes that are on disk, not in memory.
//!
//! The file `details` is a journal of frames: a head that names device, kind, time and tag, then
//! the document in raw deflate. Memory holds where each document lies and a fingerprint, so an
//! unchanged one costs nothing. Nothing here is ever fsynced on behalf of one document: an agent
//! sends again what was lost. When more than half of the file is out of date it is copied.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::model::{Millis, NodeId, order};

use super::codec::{DetailHead, DetailsGone, Fingerprint, Kind, Stored};
use super::disk::{self, Disk};
use super::driver::{Backoff, Failure, Machine, Next, Now};
use super::frame::{self, Frame};
use super::pace::Pace;
use super::{Detail, DetailKind};

const DETAILS: &str = "details";
const DETAILS_NEW: &str = "details.new";

/// Longest document in bytes; a longer one is not kept.
pub const MAX_DETAIL: usize = 8 << 20;
/// Bytes of documents waiting for the disk that are written without waiting longer.
const BATCH: usize = 256 << 10;
/// Bytes of documents that may wait for the disk; more are refused, and come again.
const BACKLOG: usize = 8 << 20;
/// Smallest amount of garbage that is worth a copy.
const GARBAGE: u64 = 1 << 20;
/// How long to leave a copy alone that found no space, while appending still works.
const COPY_PAUSE: Duration = Duration::from_secs(600);

type Key = (NodeId, DetailKind);

/// A document on its way to disk.
#[derive(Debug)]
pub(super) struct Document {
    head: DetailHead,
    json: Vec<u8>,
}

/// Where a document lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    at: u64,
    len: u32,
}

#[derive(Debug)]
pub(super) struct Entry {
    place: Place,
    print: Fingerprint,
    tag: Option<Box<str>>,
}

type Index = BTreeMap<Key, Entry>;

/// See the module.
pub(super) struct Details {
    /// `None` until the file was read once.
    index: Option<Index>,
    /// End of the file's good frames.
    len: u64,
    /// Bytes of frames the index points to.
    live: u64,
    /// Newer than what the index says.
    waiting: BTreeMap<Key, Arc<Document>>,
    waiting_bytes: usize,
    /// Devices whose documents are to be forgotten on disk.
    gone: BTreeSet<NodeId>,
    since: Option<Duration>,
    /// Whether something was written that is not known to be safe on the medium.
    unsynced: bool,
    flight: Option<Flight>,
    copy_pause: Duration,
    flush: bool,
    /// Everything there is now is due.
    save: bool,
    pace: Pace,
    backoff: Backoff,
    refused: u64,
}

enum Flight {
    Load,
    Append { documents: Vec<Arc<Document>>, gone: Vec<NodeId> },
    Copy,
}

/// A piece of work on `details`.
pub(super) enum Work {
    /// Read the file once and index it.
    Load,
    /// Make these the end of the file.
    Append { at: u64, gone: Vec<NodeId>, documents: Vec<Arc<Document>>, sync: bool },
    /// Copy these frames into a new file and put it in the place of the old one.
    Copy(Vec<(Key, Place)>),
}

/// What came of it.
pub(super) enum Done {
    Loaded { index: Index, len: u64 },
    Appended { places: Vec<Place>, len: u64, synced: bool },
    Copied { places: Vec<(Key, Place)>, len: u64 },
}

/// Where to get a document from.
pub(super) enum Source {
    Memory(Detail),
    Disk(Place),
}

impl Details {
    /// Details on disk, or in memory only.
    pub(super) fn new(on_disk: bool) -> Self {
        Self {
            index: (!on_disk).then(Index::new),
            len: 0,
            live: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            gone: BTreeSet::new(),
            since: None,
            unsynced: false,
            flight: None,
            copy_pause: Duration::ZERO,
            flush: false,
            save: false,
            pace: Pace::default(),
            backoff: Backoff::new("the details file"),
            refused: 0,
        }
    }

    /// The same at another pace.
    pub(super) fn at(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Whether the file was read, or cannot be.
    pub(super) fn is_ready(&self) -> bool {
        self.index.is_some() || self.backoff.error().is_some()
    }

    /// Bytes that are only in memory.
    pub(super) fn unwritten(&self) -> usize {
        self.waiting_bytes
    }

    /// The tag a document was kept with; `None` also before the file was read.
    pub(super) fn tag(&self, key: &Key) -> Option<Box<str>> {
        match self.waiting.get(key) {
            Some(document) => document.head.tag.clone(),
            None => self.index.as_ref()?.get(key)?.tag.clone(),
        }
    }

    /// Takes a document; false if its text is the one already kept.
    pub(super) fn set(
        &mut self,
        key: Key,
        json: &[u8],
        tag: Option<&str>,
        time: Millis,
        now: Duration,
    ) -> bool {
        let fingerprint = Fingerprint { len: json.len() as u32, crc: crc32c::crc32c(json) };
        let kept = match self.waiting.get(&key) {
            Some(document) => Some((document.head.print, document.head.tag.as_deref())),
            None => self.indexed(&key).map(|entry| (entry.print, entry.tag.as_deref())),
        };
        let differs = kept.is_none_or(|(print, _)| print != fingerprint);
        if kept == Some((fingerprint, tag)) {
            return differs;
        }
        if json.len() > MAX_DETAIL || self.waiting_bytes + json.len() > BACKLOG {
            if self.refused.is_power_of_two() || self.refused == 0 {
                log::warn!("details of {} ({} bytes) are not kept: no room", key.0, json.len());
            }
            self.refused += 1;
            return differs;
        }
        let (node, kind) = key.clone();
        let head = DetailHead { node, kind, time, tag: tag.map(Into::into), print: fingerprint };
        self.waiting_bytes += json.len();
        let document = Arc::new(Document { head, json: json.to_vec() });
        if let Some(old) = self.waiting.insert(key, document) {
            self.waiting_bytes -= old.json.len();
        }
        self.since.get_or_insert(now);
        differs
    }

    /// Forgets the documents of a device.
    pub(super) fn forget(&mut self, node: &NodeId, now: Duration) {
        // Until the file is read, or while it is written, it may hold what memory does not know.
        let mut on_disk = self.index.is_none() || self.flight.is_some();
        for kind in DetailKind::ALL {
            let key = (node.clone(), kind);
            if let Some(old) = self.waiting.remove(&key) {
                self.waiting_bytes -= old.json.len();
            }
            if let Some(entry) = self.index.as_mut().and_then(|index| index.remove(&key)) {
                self.live -= u64::from(entry.place.len);
                on_disk = true;
            }
        }
        if on_disk {
            self.gone.insert(node.clone());
            self.since.get_or_insert(now);
        }
    }

    /// Where a document is.
    pub(super) fn find(&self, key: &Key) -> Option<Source> {
        if let Some(document) = self.waiting.get(key) {
            let Document { head, json } = &**document;
            let detail = Detail { time: head.time, json: json.clone(), tag: head.tag.clone() };
            return Some(Source::Memory(detail));
        }
        self.indexed(key).map(|entry| Source::Disk(entry.place))
    }

    fn indexed(&self, key: &Key) -> Option<&Entry> {
        self.index.as_ref().and_then(|index| index.get(key))
    }

    fn loaded(&mut self, mut index: Index, len: u64) {
        index.retain(|(node, _), _| !self.gone.contains(node));
        self.live = index.values().map(|entry| u64::from(entry.place.len)).sum();
        self.len = len;
        // What came before the file was read may be what is in it.
        self.waiting.retain(|key, document| {
            let known = index.get(key).is_some_and(|entry| {
                (entry.print, &entry.tag) == (document.head.print, &document.head.tag)
            });
            if known {
                self.waiting_bytes -= document.json.len();
            }
            !known
        });
        self.index = Some(index);
    }

    fn appended(&mut self, documents: Vec<Arc<Document>>, places: Vec<Place>, len: u64) {
        self.len = len;
        for (document, place) in documents.into_iter().zip(places) {
            let key = (document.head.node.clone(), document.head.kind);
            // Replaced or forgotten while it was written: garbage from the start.
            if !self.waiting.get(&key).is_some_and(|current| Arc::ptr_eq(current, &document)) {
                continue;
            }
            self.waiting.remove(&key);
            self.waiting_bytes -= document.json.len();
            self.live += u64::from(place.len);
            let head = &document.head;
            let entry = Entry { place, print: head.print, tag: head.tag.clone() };
            if let Some(old) = self.index.get_or_insert_default().insert(key, entry) {
                self.live -= u64::from(old.place.len);
            }
        }
    }

    fn copied(&mut self, places: Vec<(Key, Place)>, len: u64) {
        self.len = len;
        let Some(index) = &mut self.index else { return };
        let places: BTreeMap<Key, Place> = order::gather(places);
        index.retain(|key, entry| match places.get(key) {
            Some(place) => {
                entry.place = *place;
                true
            }
            // Its frame was not what the index says.
            None => false,
        });
        self.live = index.values().map(|entry| u64::from(entry.place.len)).sum();
    }
}

impl Machine for Details {
    type Work = Work;
    type Done = Done;

    fn next(&mut self, now: Now) -> Next<Work> {
        if self.flight.is_some() {
            return Next::Sleep(None);
        }
        if let Some(until) = self.backoff.pause(now.mono) {
            return Next::Sleep(Some(until));
        }
        let Some(index) = &self.index else {
            self.flight = Some(Flight::Load);
            return Next::Work(Work::Load);
        };
        if self.waiting.is_empty() && self.gone.is_empty() {
            self.since = None;
        }
        let lazy = self.since.zip(self.pace.lazy).map(|(since, lazy)| since + lazy);
        let urgent = self.flush || self.save;
        let due = self.waiting_bytes >= BATCH && self.pace.lazy.is_some() || urgent;
        let farewell = urgent && self.unsynced;
        if farewell || self.since.is_some() && (due || lazy.is_some_and(|at| now.mono >= at)) {
            let gone: Vec<_> = std::mem::take(&mut self.gone).into_iter().collect();
            let documents: Vec<_> = self.waiting.values().cloned().collect();
            self.since = None;
            self.flight = Some(Flight::Append { documents: documents.clone(), gone: gone.clone() });
            let (at, sync) = (self.len, urgent);
            return Next::Work(Work::Append { at, gone, documents, sync });
        }
        self.save = false;
        let garbage = self.len - self.live;
        let worth = garbage > GARBAGE && garbage > self.len / 2;
        let may_copy = !self.flush && self.pace.lazy.is_some() && now.mono >= self.copy_pause;
        if worth && may_copy {
            let mut places: Vec<_> = index.iter().map(|(k, e)| (k.clone(), e.place)).collect();
            order::sort_by(&mut places, |(_, a), (_, b)| a.at.cmp(&b.at));
            self.flight = Some(Flight::Copy);
            return Next::Work(Work::Copy(places));
        }
        Next::Sleep(lazy)
    }

    fn perform(work: Work, disk: &dyn Disk) -> Result<Done, Failure> {
        match work {
            Work::Load => Ok(load(disk)?),
            Work::Append { at, gone, documents, sync } => {
                let (places, len) = append(disk, at, &gone, &documents)?;
                if sync {
                    disk.sync(DETAILS)?;
                    disk.sync_folder()?;
                }
                Ok(Done::Appended { places, len, synced: sync })
            }
            Work::Copy(places) => copy(disk, places),
        }
    }

    fn done(&mut self, outcome: Result<Done, Failure>, now: Now) {
        let Some(flight) = self.flight.take() else { return };
        match (outcome, flight) {
            (Ok(Done::Loaded { index, len }), _) => {
                self.loaded(index, len);
                if self.since.is_some() {
                    return; // whether the disk takes what waits is not known yet
                }
            }
            (Ok(Done::Appended { places, len, synced }), Flight::Append { documents, .. }) => {
                self.appended(documents, places, len);
                self.unsynced = !synced;
            }
            (Ok(Done::Copied { places, len }), _) => self.copied(places, len),
            (Ok(Done::Appended { .. }), _) => {}
            (Err(failure), flight) => {
                match (&failure, flight) {
                    (Failure::Refused(error), Flight::Copy) => {
                        log::warn!("the details file is not compacted for now: {error}");
                        self.copy_pause = now.mono + COPY_PAUSE;
                        return;
                    }
                    // Whether it is the copy already, only the file itself can tell.
                    (Failure::Unsure(_), _) | (_, Flight::Copy) => self.index = None,
                    (_, Flight::Append { gone, .. }) => {
                        self.gone.extend(gone);
                        self.since.get_or_insert(now.mono);
                    }
                    (_, Flight::Load) => {}
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

fn load(disk: &dyn Disk) -> io::Result<Done> {
    let mut index = Index::new();
    let extent = disk::scan(disk, DETAILS, |at, frame| {
        if let Some((head, _)) = head(&frame) {
            let place = Place { at, len: frame.raw.len() as u32 };
            let entry = Entry { place, print: head.print, tag: head.tag };
            index.insert((head.node, head.kind), entry);
        } else if frame.kind == Kind::DetailsGone as u16
            && let Some(DetailsGone { node }) = DetailsGone::decode(frame.version, frame.payload)
        {
            for kind in DetailKind::ALL {
                index.remove(&(node.clone(), kind));
            }
        }
    })?;
    if let Some(damage) = extent.damage {
        log::warn!(
            "the details file is damaged: the frame at byte {} {damage}; the {} bytes from there \
             on are dropped, and the agents will send those details again",
            extent.good,
            extent.len - extent.good
        );
    }
    // A copy that was not completed.
    let _ = disk.remove(DETAILS_NEW);
    Ok(Done::Loaded { index, len: extent.good })
}

fn head<'a>(frame: &Frame<'a>) -> Option<(DetailHead, &'a [u8])> {
    let ours = frame.kind == Kind::Detail as u16;
    ours.then(|| DetailHead::take(frame.version, frame.payload)).flatten()
}

fn append(
    disk: &dyn Disk,
    at: u64,
    gone: &[NodeId],
    documents: &[Arc<Document>],
) -> io::Result<(Vec<Place>, u64)> {
    let mut bytes = Vec::new();
    for node in gone {
        let gone = DetailsGone { node: node.clone() };
        super::codec::append(&mut bytes, &gone).map_err(too_long)?;
    }
    let mut places = Vec::new();
    for Document { head, json } in documents.iter().map(|d| &**d) {
        let start = bytes.len();
        let (kind, version) = (DetailHead::KIND as u16, DetailHead::VERSION);
        let mut deflated = Ok(());
        let framed = frame::append(&mut bytes, kind, version, |out| {
            head.encode(out);
            let mut deflate = DeflateEncoder::new(out, Compression::default());
            deflated = deflate.write_all(json).and_then(|()| deflate.try_finish());
        });
        deflated?;
        framed.map_err(too_long)?;
        places.push(Place { at: at + start as u64, len: (bytes.len() - start) as u32 });
    }
    disk.extend(DETAILS, at, &bytes)?;
    Ok((places, at + bytes.len() as u64))
}

fn too_long(error: frame::TooLong) -> io::Error {
    io::Error::other(error.to_string())
}

fn copy(disk: &dyn Disk, places: Vec<(Key, Place)>) -> Result<Done, Failure> {
    let mut copied = Vec::with_capacity(places.len());
    let mut end = 0;
    let written = (|| {
        disk.extend(DETAILS_NEW, 0, &[])?;
        for (key, place) in places {
            let Some(bytes) = read_frame(disk, place)? else { continue };
            let right = matches!(frame::parse(&bytes), Ok(Some(frame))
                if head(&frame).is_some_and(|(head, _)| (head.node, head.kind) == key));
            if right {
                disk.write_at(DETAILS_NEW, end, &bytes)?;
                copied.push((key, Place { at: end, len: place.len }));
                end += bytes.len() as u64;
            }
        }
        disk.sync(DETAILS_NEW)
    })();
    if let Err(error) = written {
        let _ = disk.remove(DETAILS_NEW);
        return Err(error.into());
    }
    let renamed = disk.rename(DETAILS_NEW, DETAILS).and_then(|()| disk.sync_folder());
    renamed.map_err(Failure::Unsure)?;
    Ok(Done::Copied { places: copied, len: end })
}

/// The bytes of a frame the index points to; `None` if the file ends before.
fn read_frame(disk: &dyn Disk, place: Place) -> io::Result<Option<Vec<u8>>> {
    // The length comes from a frame that was seen whole, not from the file's word for it.
    let mut bytes = vec![0; place.len as usize];
    let n = disk.read_at(DETAILS, place.at, &mut bytes)?;
    Ok((n == bytes.len()).then_some(bytes))
}

/// Reads a document; blocks. `None` if it is not at that place any more.
pub(super) fn read(disk: &dyn Disk, key: &Key, place: Place) -> io::Result<Option<Detail>> {
    let Some(bytes) = read_frame(disk, place)? else { return Ok(None) };
    let Ok(Some(frame)) = frame::parse(&bytes) else { return Ok(None) };
    let Some((head, deflated)) = head(&frame) else { return Ok(None) };
    if (&head.node, head.kind) != (&key.0, key.1) {
        return Ok(None);
    }
    let mut json = Vec::new();
    DeflateDecoder::new(deflated).take(MAX_DETAIL as u64).read_to_end(&mut json)?;
    let whole = json.len() == head.print.len as usize;
    Ok(whole.then_some(Detail { time: head.time, json, tag: head.tag }))
}
