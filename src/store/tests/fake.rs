//! A disk that fills up, refuses or dies on demand, and forgets what was never fsynced.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::store::disk::Disk;

/// See the module.
#[derive(Default)]
pub(super) struct FakeDisk(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    safe_names: BTreeMap<String, usize>,
    /// Changes of names since the folder was last synced.
    name_changes: Vec<NameChange>,
    /// Operations that change something, so far.
    steps: u64,
    fail: Fail,
    written: u64,
    syncs: u64,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fail {
    #[default]
    Nothing,
    /// The machine dies in the middle of the step of this number.
    DieAt(u64),
    /// No more than so many bytes in all files together.
    Full(usize),
    /// Every change is refused.
    ReadOnly,
    /// Every fsync fails, once each.
    Sync,
}

#[derive(Clone, Default)]
struct File {
    live: Vec<u8>,
    safe: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Clone)]
enum NameChange {
    Set(String, usize),
    Remove(String),
    Rename(String, String),
}

fn change(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, bytes) => {
            content.resize(content.len().max(at + bytes.len()), 0);
            content[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        Change::Truncate(len) => content.truncate(*len),
    }
}

fn change_name(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Set(name, file) => drop(names.insert(name.clone(), *file)),
        NameChange::Remove(name) => drop(names.remove(name)),
        NameChange::Rename(from, to) => {
            let file = names.remove(from);
            names.extend(file.map(|file| (to.clone(), file)));
        }
    }
}

impl FakeDisk {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A disk with one file.
    pub(super) fn with(name: &str, bytes: &[u8]) -> Arc<Self> {
        let disk = Self::new();
        disk.write_at(name, 0, bytes).unwrap();
        disk.sync(name).unwrap();
        disk.sync_folder().unwrap();
        disk
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub(super) fn fail(&self, fail: Fail) {
        self.inner().fail = fail;
    }

    /// Steps so far.
    pub(super) fn steps(&self) -> u64 {
        self.inner().steps
    }

    /// Times a file was fsynced.
    pub(super) fn syncs(&self) -> u64 {
        self.inner().syncs
    }

    pub(super) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.inner();
        inner.names.get(name).map(|file| inner.files[*file].live.clone())
    }

    /// The same disk after the process was killed: everything the system was given is there.
    pub(super) fn killed(&self) -> Arc<Self> {
        let inner = self.inner();
        let names = inner.names.clone();
        let whole = |file: &File| File { safe: file.live.clone(), changes: vec![], ..file.clone() };
        let files = inner.files.iter().map(whole).collect();
        let inner = Inner { files, safe_names: names.clone(), names, ..Inner::default() };
        Arc::new(Self(Mutex::new(inner)))
    }

    /// The same disk after the power failed. Of what was not fsynced, `seed` decides what is there:
    /// some of the changes in order, the last one torn, some with zeros instead of their bytes.
    pub(super) fn unplugged(&self, seed: u64) -> Arc<Self> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % (below as u64 + 1)) as usize
        };
        let inner = self.inner();
        let mut names = inner.safe_names.clone();
        let kept = random(inner.name_changes.len());
        inner.name_changes[..kept].iter().for_each(|c| change_name(&mut names, c));
        let mut files = Vec::new();
        for file in &inner.files {
            let mut content = file.safe.clone();
            let kept = random(file.changes.len());
            for (i, step) in file.changes[..kept].iter().enumerate() {
                let mut step = step.clone();
                if let Change::Write(_, bytes) = &mut step {
                    if i + 1 == kept {
                        bytes.truncate(random(bytes.len()));
                    }
                    if random(3) == 0 {
                        bytes.fill(0);
                    }
                }
                change(&mut content, &step);
            }
            files.push(File { live: content.clone(), safe: content, changes: vec![] });
        }
        let inner = Inner { files, safe_names: names.clone(), names, ..Inner::default() };
        Arc::new(Self(Mutex::new(inner)))
    }
}

impl Inner {
    /// Counts a step. `Ok(true)`: do half of it, then die.
    fn step(&mut self) -> io::Result<bool> {
        self.steps += 1;
        match self.fail {
            Fail::DieAt(n) if self.steps > n => Err(io::Error::other("the machine is dead")),
            Fail::DieAt(n) => Ok(self.steps == n),
            Fail::ReadOnly => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Fail::Nothing | Fail::Full(_) | Fail::Sync => Ok(false),
        }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        let file = *self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(&mut self.files[file])
    }

    fn rename(&mut self, step: NameChange) {
        change_name(&mut self.names, &step);
        self.name_changes.push(step);
    }
}

fn died() -> io::Error {
    io::Error::other("the machine died")
}

impl Disk for FakeDisk {
    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        let inner = self.inner();
        Ok(inner.names.get(name).map(|file| inner.files[*file].live.len() as u64))
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let inner = self.inner();
        let Some(file) = inner.names.get(name) else { return Ok(0) };
        let rest = inner.files[*file].live.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let dies = inner.step()?;
        if !inner.names.contains_key(name) {
            inner.files.push(File::default());
            let file = inner.files.len() - 1;
            inner.rename(NameChange::Set(name.to_owned(), file));
        }
        let total: usize = inner.names.values().map(|file| inner.files[*file].live.len()).sum();
        let room = match inner.fail {
            Fail::Full(capacity) => capacity.saturating_sub(total),
            _ => usize::MAX,
        };
        let n = if dies { bytes.len() / 2 } else { bytes.len().min(room) };
        let file = inner.file(name)?;
        let step = Change::Write(offset as usize, bytes[..n].to_vec());
        change(&mut file.live, &step);
        file.changes.push(step);
        inner.written += n as u64;
        match n == bytes.len() {
            _ if dies => Err(died()),
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        let mut inner = self.inner();
        let dies = inner.step()?;
        let file = inner.file(name)?;
        let step = Change::Truncate(len as usize);
        change(&mut file.live, &step);
        file.changes.push(step);
        if dies { Err(died()) } else { Ok(()) }
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.step()? {
            return Err(died());
        }
        inner.syncs += 1;
        let fails = inner.fail == Fail::Sync;
        let file = inner.file(name)?;
        if fails {
            // As Linux does: the pages count as clean from now on, although they never arrived.
            file.changes.clear();
            return Err(io::Error::other("fsync failed"));
        }
        file.safe = file.live.clone();
        file.changes.clear();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let dies = inner.step()?;
        inner.file(from)?;
        inner.rename(NameChange::Rename(from.to_owned(), to.to_owned()));
        if dies { Err(died()) } else { Ok(()) }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let dies = inner.step()?;
        inner.rename(NameChange::Remove(name.to_owned()));
        if dies { Err(died()) } else { Ok(()) }
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.step()? {
            return Err(died());
        }
        inner.safe_names = inner.names.clone();
        inner.name_changes.clear();
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.inner().names.keys().cloned().collect())
    }

    fn written(&self) -> u64 {
        self.inner().written
    }
}
