//! The flat-file store: records in memory, a journal on disk.
//!
//! Rooms see values ([`crate::model`]) and this handle. A write changes memory at once and returns
//! a [`Commit`]; awaiting it waits until the record is on disk (group commit), dropping it with
//! [`Commit::later`] leaves it to the next batch. [`Options::storage`] may ask for less.
//!
//! Below the handle each kind of file has a sans-I/O machine that decides what is written when
//! (`journal` and `records`: `state`; `details`; `history`: `events-*`, `power-*`), all in frames of
//! one format ([`frame`], `codec`), and `driver` carries their work to the disk.

mod amt;
mod codec;
mod commit;
mod details;
mod disk;
mod driver;
pub mod frame;
mod history;
mod journal;
mod old;
mod pace;
mod records;
mod recovery;
mod state;
#[cfg(test)]
mod tests;
mod values;
mod vault;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::event::Event;
use crate::model::{
    AmtAccess, AmtPolicy, Ban, Clock, Device, Document, DomainId, Factors, Group, GroupId,
    LastSeen, LoginToken, Millis, NodeId, Rights, Secret, Share, Storage, User, UserGroup,
    UserGroupId, UserId, rights,
};
use crate::pool;

use codec::{EventForm, PowerForm, Stored};
use details::{Details, Source};
use disk::{Disk, Folder};
use driver::{Lane, Machine, Now, Site};
use history::{History, Series};
use journal::Journal;
use pace::Pace;
use records::Records;
use state::State;
use vault::Vault;

pub use commit::{Commit, NotDurable};
pub use details::MAX_DETAIL;
pub use disk::OpenError;
pub use recovery::{Lost, Report, examine};
pub use values::{Detail, DetailKind, EventQuery, PastEvent, PowerChange, Record, RecordKey};

/// How soon what is written, and how much history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How soon.
    pub storage: Storage,
    /// Bytes of events on disk; the oldest sixteenth goes when they are used up.
    pub events_quota: u64,
    /// Bytes of power changes on disk, likewise.
    pub power_quota: u64,
    /// Bytes `state` must have before it is worth a fresh snapshot; beyond, one is made whenever
    /// the file is twice the size of the last.
    pub snapshot_from: u64,
}

impl Default for Options {
    /// Durable; 16 MiB of events (some 60,000), 4 MiB of power changes (some 250,000), snapshots
    /// from 1 MiB.
    fn default() -> Self {
        Self {
            storage: Storage::Durable,
            events_quota: 16 << 20,
            power_quota: 4 << 20,
            snapshot_from: 1 << 20,
        }
    }
}

/// How the store is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What the disk said, while it refuses writes: the server runs from memory.
    pub degraded: Option<String>,
    /// Bytes of records that are only in memory.
    pub unwritten_records: usize,
    /// Bytes of detail documents that are only in memory.
    pub unwritten_details: usize,
    /// Bytes of history that are only in memory.
    pub unwritten_history: usize,
    /// Pages of history (64 KiB each) given up because the disk refused them for too long.
    pub lost_history: u64,
}

/// Handle to the store; cheap to clone, one thread only.
#[derive(Clone)]
pub struct Store {
    core: Rc<Core>,
}

struct Core {
    records: Lane<Records>,
    details: Lane<Details>,
    events: Lane<History>,
    power: Lane<History>,
    /// `None`: everything stays in memory.
    disk: Option<Arc<dyn Disk>>,
    now: Box<dyn Fn() -> Now>,
    /// Who wants to know when rights may have changed.
    watch: RefCell<Option<Rc<dyn Fn()>>>,
}

/// The clocks of the machine, with the last wall time known from disk as a floor.
fn clocks(floor: Millis) -> Box<dyn Fn() -> Now> {
    let (started, clock) = (Instant::now(), Clock::new(floor, Duration::ZERO));
    Box::new(move || {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mono = started.elapsed();
        Now { mono, wall: clock.now(Millis(wall.as_millis() as u64), mono) }
    })
}

impl Core {
    fn new(
        state: State,
        journal: Journal,
        disk: Option<Arc<dyn Disk>>,
        options: Options,
        now: Box<dyn Fn() -> Now>,
    ) -> Self {
        let events = Series {
            name: "events",
            title: "the history of events",
            kind: EventForm::KIND as u16,
            version: EventForm::VERSION,
            quota: options.events_quota,
        };
        let power = Series {
            name: "power",
            title: "the history of power",
            kind: PowerForm::KIND as u16,
            version: PowerForm::VERSION,
            quota: options.power_quota,
        };
        let on_disk = disk.is_some();
        let pace = Pace::of(options.storage);
        Self {
            records: Lane::new(Records::new(state, journal.at(pace))),
            details: Lane::new(Details::new(on_disk).at(pace)),
            events: Lane::new(History::new(events, on_disk).at(pace)),
            power: Lane::new(History::new(power, on_disk).at(pace)),
            disk,
            now,
            watch: RefCell::default(),
        }
    }

    fn now(&self) -> Now {
        (self.now)()
    }
}

/// A locked data folder; free again when it is dropped.
pub struct FolderLock(#[expect(dead_code, reason = "held for its lock")] Folder);

impl Store {
    /// A store without a disk, for tests. Commits resolve at once; history and details beyond a few
    /// megabytes are dropped.
    pub fn in_memory() -> Self {
        let (options, clocks) = (Options::default(), clocks(Millis(0)));
        let journal = Journal::new(0, 0, false, options.snapshot_from);
        let core = Core::new(State::default(), journal, None, options, clocks);
        Self { core: Rc::new(core) }
    }

    /// Opens the data folder `dir`, makes it if it is missing, and locks it until the last handle
    /// is dropped. Reads `state`; details and history are read when the store runs.
    ///
    /// [`Self::run`] has to be running for commits to resolve. A damaged file is no error but told
    /// in the [`Report`].
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Report), OpenError> {
        let disk = Arc::new(Folder::open(dir)?);
        let vault = Vault::load_or_make(&*disk);
        let failed = |error| OpenError::Io { dir: dir.to_owned(), what: "read `state`", error };
        Self::on(disk, vault, options, clocks).map_err(failed)
    }

    /// Locks the data folder `dir` without reading it, so that nothing else opens it meanwhile.
    pub fn lock(dir: &Path) -> Result<FolderLock, OpenError> {
        Folder::open(dir).map(FolderLock)
    }

    /// Opens a folder with clocks that start at `wall` and follow `mono`.
    #[cfg(test)]
    pub(crate) fn open_at(
        dir: &Path,
        options: Options,
        wall: Millis,
        mono: impl Fn() -> Duration + 'static,
    ) -> Self {
        let now = move || {
            let mono = mono();
            Now { mono, wall: Millis(wall.0 + mono.as_millis() as u64) }
        };
        let disk = Arc::new(Folder::open(dir).unwrap());
        let vault = Vault::load_or_make(&*disk);
        Self::on(disk, vault, options, |_| Box::new(now)).unwrap().0
    }

    /// Does what is due by now, as [`Self::run`] would have done it.
    #[cfg(test)]
    pub(crate) async fn catch_up(&self) {
        let core = &*self.core;
        let (Some(disk), now) = (&core.disk, || core.now()) else { return };
        let site = Site { disk, now: &now };
        core.records.work(&site).await;
        core.details.work(&site).await;
        core.events.work(&site).await;
        core.power.work(&site).await;
    }

    fn on(
        disk: Arc<dyn Disk>,
        vault: Vault,
        options: Options,
        clocks: impl FnOnce(Millis) -> Box<dyn Fn() -> Now>,
    ) -> std::io::Result<(Self, Report)> {
        let recovery::Recovered { state, extent, base, report } = recovery::recover(&*disk, vault)?;
        let uncut = report.lost.as_ref().is_some_and(|lost| lost.kept.is_err());
        let journal = Journal::new(extent.good, base, uncut, options.snapshot_from);
        let core = Core::new(state, journal, Some(disk), options, clocks(report.floor));
        Ok((Self { core: Rc::new(core) }, report))
    }

    /// Carries writes to the disk; never ends. To be spawned once, before anything is awaited.
    pub async fn run(&self) {
        let core = &*self.core;
        let now = || core.now();
        let Some(disk) = &core.disk else { return std::future::pending().await };
        let site = || Site { disk, now: &now };
        let details = futures_lite::future::zip(core.records.run(site()), core.details.run(site()));
        let history = futures_lite::future::zip(core.events.run(site()), core.power.run(site()));
        futures_lite::future::zip(details, history).await;
    }

    /// Brings everything to disk, also what is usually written in batches, for a clean stop; works
    /// whether [`Self::run`] is running or not. What is written afterwards goes to disk at once.
    ///
    /// # Errors
    /// What the disk said, if something is still only in memory.
    pub async fn close(&self) -> Result<(), NotDurable> {
        let core = &*self.core;
        let records = self.settle(&core.records, Machine::flush).await;
        let details = self.settle(&core.details, Machine::flush).await;
        let events = self.settle(&core.events, Machine::flush).await;
        let power = self.settle(&core.power, Machine::flush).await;
        records.and(details).and(events).and(power)
    }

    /// Brings everything there is now to disk, as [`Self::close`] does, and goes on as before: for
    /// a backup.
    ///
    /// # Errors
    /// What the disk said, if something is still only in memory.
    pub async fn save(&self) -> Result<(), NotDurable> {
        let core = &*self.core;
        let records = self.settle(&core.records, Machine::save).await;
        let details = self.settle(&core.details, Machine::save).await;
        let events = self.settle(&core.events, Machine::save).await;
        let power = self.settle(&core.power, Machine::save).await;
        records.and(details).and(events).and(power)
    }

    async fn settle<M: Machine>(
        &self,
        lane: &Lane<M>,
        urge: impl FnOnce(&mut M),
    ) -> Result<(), NotDurable> {
        let Some(disk) = &self.core.disk else { return Ok(()) };
        urge(&mut lane.machine.borrow_mut());
        lane.work(&Site { disk, now: &|| self.core.now() }).await;
        match lane.machine.borrow().trouble() {
            Some(error) => Err(NotDurable(error.to_owned())),
            None => Ok(()),
        }
    }

    /// Bytes written to the data folder since it was opened.
    pub fn bytes_written(&self) -> u64 {
        self.core.disk.as_ref().map_or(0, |disk| disk.written())
    }

    /// Whether the disk takes what it is given, and what waits for it.
    pub fn health(&self) -> Health {
        let Core { records, details, events, power, .. } = &*self.core;
        let (records, details) = (records.machine.borrow(), details.machine.borrow());
        let (events, power) = (events.machine.borrow(), power.machine.borrow());
        let troubles = [records.trouble(), details.trouble(), events.trouble(), power.trouble()];
        Health {
            degraded: troubles.into_iter().flatten().next().map(str::to_owned),
            unwritten_records: records.journal.unwritten(),
            unwritten_details: details.unwritten(),
            unwritten_history: events.unwritten() + power.unwritten(),
            lost_history: events.lost() + power.lost(),
        }
    }

    fn state(&self) -> std::cell::Ref<'_, State> {
        std::cell::Ref::map(self.core.records.machine.borrow(), |records| &records.state)
    }

    /// An account.
    pub fn user(&self, id: &UserId) -> Option<Rc<User>> {
        self.state().users.get(id).cloned()
    }

    /// All accounts of a domain, by id.
    pub fn users(&self, domain: &DomainId) -> Vec<Rc<User>> {
        let state = self.state();
        state.users.values().filter(|u| u.id.domain == *domain).cloned().collect()
    }

    /// A device group, also a deleted one.
    pub fn group(&self, id: &GroupId) -> Option<Rc<Group>> {
        self.state().groups.get(id).cloned()
    }

    /// All device groups of a domain that are not deleted, by id.
    pub fn groups(&self, domain: &DomainId) -> Vec<Rc<Group>> {
        let state = self.state();
        let wanted = |g: &&Rc<Group>| g.id.domain == *domain && g.deleted.is_none();
        state.groups.values().filter(wanted).cloned().collect()
    }

    /// A device.
    pub fn device(&self, id: &NodeId) -> Option<Rc<Device>> {
        self.state().devices.get(id).cloned()
    }

    /// All devices of a domain, by id.
    pub fn devices(&self, domain: &DomainId) -> Vec<Rc<Device>> {
        let state = self.state();
        state.devices.values().filter(|d| d.id.domain == *domain).cloned().collect()
    }

    /// Number of devices over all domains.
    pub fn device_count(&self) -> usize {
        self.state().devices.len()
    }

    /// A user group.
    pub fn user_group(&self, id: &UserGroupId) -> Option<Rc<UserGroup>> {
        self.state().user_groups.get(id).cloned()
    }

    /// All user groups of a domain, by id.
    pub fn user_groups(&self, domain: &DomainId) -> Vec<Rc<UserGroup>> {
        let state = self.state();
        state.user_groups.values().filter(|g| g.id.domain == *domain).cloned().collect()
    }

    /// A server secret by name.
    pub fn secret(&self, name: &str) -> Option<Rc<Secret>> {
        self.state().secrets.get(name).cloned()
    }

    /// What an account has besides its password.
    pub fn factors(&self, user: &UserId) -> Option<Rc<Factors>> {
        self.state().factors.get(user).cloned()
    }

    /// A login token by its user name, `~t:…`.
    pub fn login_token(&self, token_user: &str) -> Option<Rc<LoginToken>> {
        self.state().login_tokens.get(token_user).cloned()
    }

    /// The login tokens of an account.
    pub fn login_tokens(&self, user: &UserId) -> Vec<Rc<LoginToken>> {
        self.state().login_tokens.values().filter(|t| t.user == *user).cloned().collect()
    }

    /// A device share by its public id.
    pub fn share(&self, public_id: &str) -> Option<Rc<Share>> {
        self.state().shares.get(public_id).cloned()
    }

    /// The device shares of all domains.
    pub fn shares(&self) -> Vec<Rc<Share>> {
        self.state().shares.values().cloned().collect()
    }

    /// A text by its id.
    pub fn document(&self, id: &str) -> Option<Rc<Document>> {
        self.state().documents.get(id).cloned()
    }

    /// The networks that are refused, also those whose time has passed.
    pub fn bans(&self) -> Vec<Rc<Ban>> {
        self.state().bans.values().cloned().collect()
    }

    /// How a device's Intel AMT is logged in to.
    pub fn amt_access(&self, node: &NodeId) -> Option<Rc<AmtAccess>> {
        self.state().amt_access.get(node).cloned()
    }

    /// How every Intel AMT is logged in to that has a login.
    pub fn amt_accesses(&self) -> Vec<Rc<AmtAccess>> {
        self.state().amt_access.values().cloned().collect()
    }

    /// The Intel AMT policy of a group.
    pub fn amt_policy(&self, group: &GroupId) -> Option<Rc<AmtPolicy>> {
        self.state().amt_policies.get(group).cloned()
    }

    /// What `user` may do with `subject`: [`rights::effective`] over this store's links.
    pub fn rights(&self, user: &User, manages_all: bool, subject: rights::Subject<'_>) -> Rights {
        self.state().rights(user, manages_all, subject)
    }

    /// Calls `notify` whenever something that rights follow from was changed: an account, a user
    /// group, a device group, the group of a device, or the existence of one of them. It takes the
    /// place of an earlier one.
    pub fn watch_rights(&self, notify: impl Fn() + 'static) {
        *self.core.watch.borrow_mut() = Some(Rc::new(notify));
    }

    fn rights_changed(&self) {
        let watch = self.core.watch.borrow().clone();
        if let Some(notify) = watch {
            notify();
        }
    }

    /// When and from where a device was last seen.
    pub fn last_seen(&self, id: &NodeId) -> Option<LastSeen> {
        self.state().last_seen(id).cloned()
    }

    /// Notes when a device was seen. Reaches the disk in batches, hours apart and at a clean stop.
    pub fn set_last_seen(&self, id: &NodeId, seen: LastSeen) {
        let mut records = self.core.records.machine.borrow_mut();
        let first = !records.state.has_unseen();
        records.state.set_last_seen(id, seen);
        if first {
            self.core.records.ring();
        }
    }

    /// Adds or replaces a record.
    pub fn put(&self, record: impl Into<Record>) -> Commit {
        let record = record.into();
        let mut frame = Vec::new();
        let encoded = self.state().encode(&record, &mut frame);
        let concerns_rights = match &record {
            Record::User(_) | Record::UserGroup(_) | Record::Group(_) => true,
            Record::Device(new) => self.device(&new.id).is_some_and(|old| old.group != new.group),
            // What a guest may do follows from the share.
            Record::Share(_) => true,
            Record::Secret(_)
            | Record::Factors(_)
            | Record::LoginToken(_)
            | Record::Document(_)
            | Record::Ban(_)
            | Record::AmtAccess(_)
            | Record::AmtPolicy(_) => false,
        };
        self.core.records.machine.borrow_mut().state.put(record);
        if concerns_rights {
            self.rights_changed();
        }
        match encoded {
            Ok(()) => self.commit(&frame),
            Err(error) => {
                log::error!("a record is not kept on disk: {error}");
                Commit::refused(error.to_string())
            }
        }
    }

    /// Removes a record; removing what is not there is no error.
    pub fn remove(&self, key: RecordKey) -> Commit {
        let now = self.core.now().mono;
        self.core.records.machine.borrow_mut().state.remove(&key);
        self.rights_changed();
        if let RecordKey::Device(id) = &key {
            self.core.details.machine.borrow_mut().forget(id, now);
            self.core.details.ring();
        }
        let mut frame = Vec::new();
        match codec::append(&mut frame, &key) {
            Ok(()) => self.commit(&frame),
            Err(error) => Commit::refused(error.to_string()),
        }
    }

    /// Every record of all domains, by kind and id.
    pub fn records(&self) -> Vec<Record> {
        self.state().records().collect()
    }

    /// Every record, as a snapshot would hold it.
    #[cfg(test)]
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let (mut bytes, mut cursor) = (Vec::new(), Some(state::Cursor::default()));
        let records = self.core.records.machine.borrow();
        while let Some(at) = cursor {
            let mut part = Vec::new();
            cursor = records.state.snapshot(at, Millis(0), &mut part);
            bytes.append(&mut part);
        }
        bytes
    }

    fn commit(&self, frame: &[u8]) -> Commit {
        if self.core.disk.is_none() {
            return Commit::done();
        }
        let now = self.core.now().mono;
        let number = self.core.records.machine.borrow_mut().journal.append(frame, now);
        self.core.records.ring();
        Commit::of(self.core.clone(), number)
    }

    /// A detail document as JSON text.
    pub async fn detail(&self, id: &NodeId, kind: DetailKind) -> Option<Detail> {
        let lane = &self.core.details;
        let key = (id.clone(), kind);
        if let Some(disk) = &self.core.disk {
            let site = Site { disk, now: &|| self.core.now() };
            lane.until(&site, Details::is_ready).await;
        }
        for _ in 0..2 {
            let place = match lane.machine.borrow().find(&key)? {
                Source::Memory(detail) => return Some(detail),
                Source::Disk(place) => place,
            };
            let (disk, wanted) = (self.core.disk.clone()?, key.clone());
            match pool::unblock(move || details::read(&*disk, &wanted, place)).await {
                Ok(Some(detail)) => return Some(detail),
                // The file was copied meanwhile: wait until memory knows the new places.
                Ok(None) => drop(lane.turn.lock().await),
                Err(error) => {
                    log::warn!("details of {id} cannot be read: {error}");
                    return None;
                }
            }
        }
        None
    }

    /// The tag the document was kept with. `None` without a document, without a tag, and in the
    /// first moments after a start, before the file of details was read.
    pub fn detail_tag(&self, id: &NodeId, kind: DetailKind) -> Option<Box<str>> {
        self.core.details.machine.borrow().tag(&(id.clone(), kind))
    }

    /// Keeps a detail document of at most [`MAX_DETAIL`] bytes, with a tag of the caller's (the
    /// agent's own hash of it); nothing is written if it is the one already kept with that tag.
    /// Returns whether its text differed.
    pub fn set_detail(
        &self,
        id: &NodeId,
        kind: DetailKind,
        json: &[u8],
        tag: Option<&str>,
        now: Millis,
    ) -> bool {
        let (lane, mono) = (&self.core.details, self.core.now().mono);
        let differed = lane.machine.borrow_mut().set((id.clone(), kind), json, tag, now, mono);
        lane.ring();
        differed
    }

    /// Adds an event to history, unless it is a transient one.
    pub fn record_event(&self, time: Millis, event: &Event) {
        if event.keep {
            self.add(&self.core.events, |page| EventForm::write(time, event, page));
        }
    }

    /// Events of history, newest first. Reads on the pool, one query at a time.
    pub async fn events(&self, query: EventQuery) -> Vec<PastEvent> {
        self.read(&self.core.events, move |view, disk| {
            let mut found = Vec::new();
            view.read(disk, |version, page| {
                let mut wanted: Vec<_> = entries::<EventForm<'static>>(version, page)
                    .filter_map(|form| form.read(|event| query.wants(event)))
                    .collect();
                wanted.reverse();
                wanted.truncate(query.limit - found.len());
                found.append(&mut wanted);
                found.len() < query.limit
            });
            found
        })
        .await
    }

    /// Adds a change of power to a device's history, unless it is no change.
    pub fn record_power(&self, id: &NodeId, change: PowerChange) {
        if self.core.records.machine.borrow_mut().state.set_power(id, change) {
            self.add(&self.core.power, |page| PowerForm::new(id, change).encode(page));
        }
    }

    /// Changes of power of a device, oldest first; of a very long history the newest 10,000.
    pub async fn power(&self, id: &NodeId) -> Vec<PowerChange> {
        const MOST: usize = 10_000;
        let id = id.clone();
        self.read(&self.core.power, move |view, disk| {
            let mut found = Vec::new();
            view.read(disk, |version, page| {
                let mut changes: Vec<_> =
                    entries::<PowerForm>(version, page).filter_map(|form| form.of(&id)).collect();
                changes.reverse();
                found.append(&mut changes);
                found.len() < MOST
            });
            found.truncate(MOST);
            found.reverse();
            found
        })
        .await
    }

    fn add(&self, lane: &Lane<History>, write: impl FnOnce(&mut Vec<u8>)) {
        if lane.machine.borrow_mut().push(write, self.core.now().mono) {
            lane.ring();
        }
    }

    /// Reads a view of history on the pool.
    async fn read<T: Send + 'static>(
        &self,
        lane: &Lane<History>,
        read: impl FnOnce(history::View, Option<&dyn Disk>) -> T + Send + 'static,
    ) -> T {
        let Some(disk) = self.core.disk.clone() else {
            let view = lane.machine.borrow().view();
            return read(view, None);
        };
        let site = Site { disk: &disk, now: &|| self.core.now() };
        lane.until(&site, History::is_ready).await;
        // Whoever asks for much takes one thread of the pool, not all of them.
        let _reading = lane.reading.lock().await;
        let view = lane.machine.borrow().view();
        let disk = disk.clone();
        pool::unblock(move || read(view, Some(&*disk))).await
    }
}

/// The entries of a page, up to the first that this version cannot read.
fn entries<T: Stored>(version: u8, mut page: &[u8]) -> impl Iterator<Item = T> {
    std::iter::from_fn(move || {
        let (entry, rest) = T::take(version, page)?;
        page = rest;
        Some(entry)
    })
}
