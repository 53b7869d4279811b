//! The recordings of a running server: started, fed, finished, kept within their limits.
//!
//! A session feeds its [`Tap`] while it passes messages on; a task of its own writes in the pool,
//! and in the end tells history (`recording`). What a crash left without an end is repaired at the
//! next start.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future::or;
use serde_json::json;

use crate::config;
use crate::hub::Hub;
use crate::model::{
    Device, DomainId, Event, EventKind, LinkTarget, Millis, Target, User, UserGroup, UserId, order,
};
use crate::pool;
use crate::store::{EventQuery, PastEvent};

use super::folder::{Folder, perform};
use super::index;
use super::name::{Form, Named, belongs_to};
use super::policy::{Session, is_recorded, reserved};
use super::recorder::{From, Next, Recorder, Work};
use super::repair::{Outcome, repair};
use super::retention::overdue;
use super::wire::{Metadata, us_time};

/// How often limits are looked after besides when a recording ends.
const UPKEEP: Duration = Duration::from_secs(6 * 3600);
/// Names that are tried for a new recording.
const ATTEMPTS: u32 = 100;

/// A session that is to be recorded.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Whose session it is; `None` for a desktop many watch.
    pub user: Option<Rc<User>>,
    /// The device.
    pub device: Rc<Device>,
    /// Protocol number.
    pub protocol: u16,
    /// What the session is called, as it came.
    pub session: String,
    /// Addresses of the side that came first and of the other one.
    pub addresses: [Option<String>; 2],
    /// How it is kept.
    pub form: Form,
}

/// See the module.
pub struct Recordings {
    hub: Rc<Hub>,
    data: PathBuf,
    /// By folder and name.
    active: RefCell<BTreeMap<(PathBuf, String), Weak<Recording>>>,
}

impl Recordings {
    /// The recordings of the server whose data folder is `data`.
    pub fn new(hub: Rc<Hub>, data: &Path) -> Rc<Self> {
        Rc::new(Self { hub, data: data.to_owned(), active: RefCell::default() })
    }

    /// Repairs what a crash left and keeps within the limits, for ever.
    pub async fn run(&self) {
        self.repair().await;
        loop {
            let domains: Vec<_> = self.hub.config().domains.keys().cloned().collect();
            for domain in domains {
                self.clean_up(&domain).await;
            }
            Timer::after(UPKEEP).await;
        }
    }

    /// Whether this session is recorded.
    pub fn wants(&self, user: &User, device: &Device, protocol: u16) -> bool {
        self.judge(user, device, protocol, |recording, session, user_groups| {
            is_recorded(recording, session, user_groups)
        })
    }

    /// Protocols that are recorded, and so must not be spoken in this session if it is not.
    pub fn reserved(&self, user: &User, device: &Device, protocol: u16) -> Vec<u16> {
        self.judge(user, device, protocol, |recording, session, user_groups| {
            reserved(recording, session, user_groups).to_vec()
        })
    }

    /// Asks the policy of the device's domain; nothing is recorded where there is none.
    fn judge<T: Default>(
        &self,
        user: &User,
        device: &Device,
        protocol: u16,
        ask: impl FnOnce(&config::Recording, &Session<'_>, Vec<&UserGroup>) -> T,
    ) -> T {
        let config = self.hub.config();
        let Some(recording) = &config.domain(&device.id.domain).recording else {
            return T::default();
        };
        let store = &self.hub.store;
        let group = store.group(&device.group);
        let memberships = user.links.iter().filter_map(|link| match &link.to {
            LinkTarget::UserGroup(id) => store.user_group(id),
            _ => None,
        });
        let memberships: Vec<_> = memberships.collect();
        let session = Session { protocol, user, device, group: group.as_deref() };
        ask(recording, &session, memberships.iter().map(|group| &**group).collect())
    }

    /// Begins a recording; its first block is in the file when this returns. The future writes it
    /// and ends soon after the tap is dropped; it is to be run in a task of its own. `None` if the
    /// session cannot be recorded, which is told in the log: it goes on without.
    pub async fn start(
        self: &Rc<Self>,
        subject: Subject,
    ) -> Option<(Tap, impl Future<Output = ()> + use<>)> {
        let domain = &subject.device.id.domain;
        let folder = self.folder(domain)?;
        let begun = self.hub.now();
        let first = self.metadata(&subject, begun);
        let mut recorder = Recorder::new(subject.form, &first, begun);
        let head = recorder.flush();
        let names = names(&subject, begun);
        let path = folder.clone();
        let opened = pool::unblock(move || -> io::Result<(File, String)> {
            let (file, name) = create(&path, names)?;
            perform(&file, head)?;
            Ok((file, name))
        });
        let (file, name) = match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                log::error!("a session is NOT RECORDED: {}: {error}", folder.display());
                return None;
            }
        };
        recorder.done();
        let (alive, ended) = async_channel::bounded(1);
        let recording = Rc::new(Recording {
            recordings: self.clone(),
            users: RefCell::new(subject.user.iter().map(|user| user.id.clone()).collect()),
            subject,
            begun,
            folder: folder.clone(),
            name: name.clone(),
            file: Arc::new(file),
            recorder: RefCell::new(recorder),
            writer: Cell::default(),
            feeder: Cell::default(),
            alive: Cell::new(Some(alive)),
            ended,
        });
        self.active.borrow_mut().insert((folder, name), Rc::downgrade(&recording));
        Some((Tap(recording.clone()), recording.run()))
    }

    /// Finishes all that are going on and waits for them.
    pub async fn close(&self) {
        let active: Vec<_> = self.active.borrow().values().filter_map(Weak::upgrade).collect();
        for recording in active {
            recording.finish();
            // An error is what a closed channel gives, and that is the end.
            let _ = recording.ended.recv().await;
        }
    }

    /// Where the recordings of a domain are; `None` if it has none.
    pub fn folder(&self, domain: &DomainId) -> Option<PathBuf> {
        let config = self.hub.config();
        let recording = config.domain(domain).recording.as_ref()?;
        let folder = recording.folder.as_deref().unwrap_or(Path::new("recordings"));
        Some(self.data.join(folder))
    }

    pub(super) async fn history(&self, query: EventQuery) -> Vec<PastEvent> {
        self.hub.store.events(query).await
    }

    fn metadata(&self, subject: &Subject, begun: Millis) -> Metadata {
        let Subject { user, device, protocol, session, addresses, .. } = subject;
        let shared = user.is_none();
        let group = self.hub.store.group(&device.group).filter(|_| shared);
        let [first, second] = addresses.clone();
        Metadata {
            userid: user.as_ref().map(|user| user.id.to_string()),
            username: user.as_ref().map(|user| user.name.clone()),
            sessionid: (!shared).then(|| session.clone()),
            ipaddr1: first,
            ipaddr2: second,
            time: us_time(begun),
            protocol: *protocol,
            nodeid: Some(device.id.to_string()),
            devicename: Some(device.name.clone()),
            meshid: shared.then(|| device.group.to_string()),
            devicegroup: group.map(|group| group.name.clone()),
            intelamt: matches!(protocol, 100 | 101).then_some(true),
            ..Metadata::default()
        }
    }

    /// Ends the recordings of a server that was not stopped but ended.
    async fn repair(&self) {
        let config = self.hub.config();
        let mut folders: Vec<_> = config.domains.keys().filter_map(|d| self.folder(d)).collect();
        order::sort_by(&mut folders, Ord::cmp);
        folders.dedup();
        for folder in folders {
            let active: Vec<_> =
                self.active.borrow().keys().map(|(_, name)| name.clone()).collect();
            pool::unblock(move || match repair_all(&folder, &active) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => log::error!("recordings in {}: {error}", folder.display()),
            })
            .await;
        }
    }

    /// Removes what is beyond the limits of a domain.
    async fn clean_up(&self, domain: &DomainId) {
        let config = self.hub.config();
        let Some(recording) = &config.domain(domain).recording else { return };
        let Some(folder) = self.folder(domain) else { return };
        let (limits, now, domain) = (recording.limits, self.hub.now(), domain.clone());
        if limits == config::RecordingLimits::default() {
            return;
        }
        let active: Vec<_> = self.active.borrow().keys().map(|(_, name)| name.clone()).collect();
        pool::unblock(move || {
            let cleaned = (|| {
                let open = Folder::open(&folder)?;
                let mut entries = open.list()?;
                entries.retain(|entry| belongs_to(&entry.name, &domain));
                let in_use = |name: &str| active.iter().any(|active| active == name);
                for entry in overdue(&entries, &limits, now, in_use) {
                    log::info!("recording {} is removed: there are enough newer ones", entry.name);
                    open.remove(&entry.name)?;
                }
                io::Result::Ok(())
            })();
            match cleaned {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    log::error!("recordings in {}: {error}", folder.display());
                }
                _ => {}
            }
        })
        .await;
    }
}

/// Names a recording may get, the preferred one first.
fn names(subject: &Subject, begun: Millis) -> Vec<String> {
    let named = Named {
        domain: &subject.device.id.domain,
        time: begun,
        user: subject.user.as_ref().map_or("", |user| user.id.name()),
        device: &subject.device.name,
        session: &subject.session,
    };
    (0..ATTEMPTS).map(|attempt| named.file(subject.form, attempt)).collect()
}

/// A new file under the first name that is free.
fn create(folder: &Path, names: Vec<String>) -> io::Result<(File, String)> {
    let folder = Folder::make(folder)?;
    let mut last = io::ErrorKind::AlreadyExists.into();
    for name in names {
        match folder.create(&name) {
            Ok(file) => return Ok((file, name)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn repair_all(folder: &Path, active: &[String]) -> io::Result<()> {
    let folder = Folder::open(folder)?;
    for entry in folder.list()?.into_iter().filter(|entry| !active.contains(&entry.name)) {
        let Some(form) = Form::of(&entry.name) else { continue };
        match folder.edit(&entry.name).and_then(|file| repair(&file, form)) {
            Ok(Outcome::Ended { lost }) => {
                log::warn!("recording {} had no end; {lost} bytes were cut off", entry.name);
            }
            Ok(Outcome::Whole) => {}
            Ok(Outcome::Unknown) => log::warn!("recording {} is not readable", entry.name),
            Err(error) => log::error!("recording {}: {error}", entry.name),
        }
    }
    Ok(())
}

/// Where a session pours what it passes on. Dropping it is the end of the recording.
pub struct Tap(Rc<Recording>);

impl Tap {
    /// The name of the file.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Another one of those who watch a desktop that is shared.
    pub fn add_user(&self, user: &UserId) {
        let mut users = self.0.users.borrow_mut();
        if !users.contains(user) {
            users.push(user.clone());
        }
    }

    /// A message of `len` bytes begins.
    pub fn message(&self, from: From, is_binary: bool, len: u64) {
        self.0.change(|recorder, wall| recorder.message(from, is_binary, len, wall));
    }

    /// Payload of the message that has begun.
    pub fn payload(&self, from: From, bytes: &[u8]) {
        self.0.change(|recorder, wall| recorder.payload(from, bytes, wall));
    }

    /// Whether the session may go on, or has to wait for the disk. Who waits is woken.
    pub fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.recorder.borrow().is_full() {
            self.0.feeder.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// One recording that is going on.
struct Recording {
    recordings: Rc<Recordings>,
    subject: Subject,
    /// Whose session it is.
    users: RefCell<Vec<UserId>>,
    begun: Millis,
    folder: PathBuf,
    name: String,
    file: Arc<File>,
    recorder: RefCell<Recorder>,
    /// Wakes [`Self::run`].
    writer: Cell<Option<Waker>>,
    /// Wakes whoever waits in [`Tap::poll_ready`].
    feeder: Cell<Option<Waker>>,
    /// Held while the recording is not at its end.
    alive: Cell<Option<async_channel::Sender<()>>>,
    ended: async_channel::Receiver<()>,
}

impl Recording {
    fn change(&self, change: impl FnOnce(&mut Recorder, Millis)) {
        let wall = self.recordings.hub.now();
        let mut recorder = self.recorder.borrow_mut();
        change(&mut recorder, wall);
        let wants_next = recorder.wants_next();
        drop(recorder);
        if wants_next {
            wake(&self.writer);
        }
    }

    fn finish(&self) {
        self.change(Recorder::finish);
    }

    /// Writes what is recorded until the recording is at its end, then tells history.
    async fn run(self: Rc<Self>) {
        let alive = self.alive.take();
        let mut failed = false;
        loop {
            let next = self.recorder.borrow_mut().next(Instant::now());
            match next {
                Next::Work(work) => {
                    if let Err(error) = self.perform(work).await {
                        failed = true;
                        log::error!("recording {} ENDS EARLY: {error}", self.name);
                        self.recorder.borrow_mut().fail();
                    } else {
                        self.recorder.borrow_mut().done();
                    }
                    wake(&self.feeder);
                }
                Next::Sleep(until) => self.changed(until).await,
                Next::Closed => break,
            }
        }
        self.conclude(failed).await;
        self.recordings.active.borrow_mut().remove(&(self.folder.clone(), self.name.clone()));
        self.recordings.clean_up(&self.subject.device.id.domain).await;
        drop(alive);
    }

    async fn perform(&self, work: Work) -> io::Result<()> {
        let file = self.file.clone();
        pool::unblock(move || perform(&file, work)).await
    }

    /// Until something is recorded, or it is time.
    async fn changed(&self, until: Option<Instant>) {
        let mut asked = false;
        let changed = poll_fn(|cx| {
            if std::mem::replace(&mut asked, true) {
                return Poll::Ready(());
            }
            self.writer.set(Some(cx.waker().clone()));
            Poll::Pending
        });
        match until {
            Some(until) => {
                let late = async {
                    Timer::at(until).await;
                };
                or(changed, late).await;
            }
            None => changed.await,
        }
    }

    /// The last things that are done to the file, and what is told of it.
    async fn conclude(&self, failed: bool) {
        let config = self.recordings.hub.config();
        let recording = config.domain(&self.subject.device.id.domain).recording.as_ref();
        let is_desktop = self.subject.protocol == 2 && self.subject.form == Form::Blocks;
        let indexed = is_desktop && recording.is_some_and(|recording| recording.index);
        let (file, form) = (self.file.clone(), self.subject.form);
        let concluded = pool::unblock(move || {
            if failed {
                repair(&file, form)?;
            }
            if indexed {
                index::add(&file)?;
            }
            Ok(file.metadata()?.len())
        });
        let size = concluded.await.unwrap_or_else(|error: io::Error| {
            log::error!("recording {}: {error}", self.name);
            0
        });
        self.recordings.hub.publish(self.event(size));
    }

    fn event(&self, size: u64) -> Event {
        let Subject { user, device, protocol, session, .. } = &self.subject;
        let hub = &self.recordings.hub;
        let seconds = hub.now().since(self.begun).as_secs();
        let (number, arguments, what) = match user {
            Some(_) => (7, json!([seconds]), String::new()),
            None => (146, json!([session, seconds]), format!(" \"{session}\"")),
        };
        let text = format!("Finished recording session{what}, {seconds} second(s)");
        let users: Vec<_> = self.users.borrow().iter().map(UserId::to_string).collect();
        let mut event = Event::new("recording", device.id.domain.clone())
            .kind(EventKind::Relay)
            .node(&device.id)
            .with("msgid", number)
            .with("msgArgs", arguments)
            .with("msg", text)
            .with("filename", self.name.as_str())
            .with("size", size)
            .with("protocol", *protocol)
            .with("userids", users)
            .with("icon", device.icon)
            .with("name", device.name.as_str())
            .with("meshid", device.group.to_string())
            .with("startTime", self.begun.0)
            .with("lengthTime", seconds)
            .to(Target::All)
            .to(Target::Device(device.id.clone()))
            .to(Target::Group(device.group.clone()));
        if let Some(group) = hub.store.group(&device.group) {
            event = event.with("meshname", group.name.as_str());
        }
        if user.is_none() { event.with("multiplex", true) } else { event }
    }
}

fn wake(waker: &Cell<Option<Waker>>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
