//! The data folder as the store sees it: a few files, read and written at offsets.
//!
//! [`Disk`] is the seam at which tests put a disk that fills up or dies. Everything here blocks
//! and is called on the pool, or before the server runs.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};

use super::frame::{Damage, Frame, Scanner};

/// Files of one folder. Names have no slash.
pub(super) trait Disk: Send + Sync {
    /// Length in bytes; `None` if there is no such file.
    fn len(&self, name: &str) -> io::Result<Option<u64>>;
    /// Reads at `offset` until `buffer` is full or the file ends; returns the bytes read.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`; makes the file, mode 0600, if it is missing.
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Shortens a file.
    fn truncate(&self, name: &str, len: u64) -> io::Result<()>;
    /// Waits until the content of a file is on disk.
    fn sync(&self, name: &str) -> io::Result<()>;
    /// Puts `from` in the place of `to` at once.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; one that is missing is no error.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Waits until the names in the folder are on disk.
    fn sync_folder(&self) -> io::Result<()>;
    /// All names in the folder.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Bytes given to [`Self::write_at`] so far.
    fn written(&self) -> u64;
}

impl dyn Disk + '_ {
    /// Writes `bytes` at `at` and makes them the end of the file. What an earlier, failed attempt
    /// left behind `at` goes away, so the same write can simply be tried again. A disk that is full
    /// in the middle of it is asked to take the first half back: who reads the file meanwhile finds
    /// it whole.
    pub(super) fn extend(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let len = self.len(name)?.unwrap_or(0);
        if len > at {
            self.truncate(name, at)?;
        } else if len < at {
            let what = format!("{name} is {len} bytes long but had {at}: it was changed meanwhile");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let written = self.write_at(name, at, bytes);
        if written.is_err() {
            // Else the next attempt does it.
            let _ = self.truncate(name, at);
        }
        written
    }
}

/// What a scan of a file found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Length of the file in bytes.
    pub(super) len: u64,
    /// End of the last good frame.
    pub(super) good: u64,
    /// Number of good frames.
    pub(super) frames: u64,
    /// Why it is not good to its end.
    pub(super) damage: Option<Damage>,
}

/// Shows `visit` each good frame of a file with its offset. A missing file is an empty one.
pub(super) fn scan(
    disk: &dyn Disk,
    name: &str,
    mut visit: impl FnMut(u64, Frame<'_>),
) -> io::Result<Extent> {
    let len = disk.len(name)?.unwrap_or(0);
    let mut scanner = Scanner::new();
    let mut chunk = vec![0; 64 << 10];
    let mut at = 0;
    let damage = 'file: loop {
        let n = disk.read_at(name, at, &mut chunk)?;
        if n == 0 {
            break (!scanner.at_boundary()).then_some(Damage::Torn);
        }
        at += n as u64;
        scanner.push(&chunk[..n]);
        loop {
            let offset = scanner.good();
            match scanner.next() {
                Ok(Some(frame)) => visit(offset, frame),
                Ok(None) => break,
                Err(damage) => break 'file Some(damage),
            }
        }
    };
    Ok(Extent { len: len.max(at), good: scanner.good(), frames: scanner.frames(), damage })
}

/// A real folder, locked against a second server.
pub(super) struct Folder {
    path: PathBuf,
    handle: File,
    /// Holds the lock for as long as it is open.
    _lock: File,
    written: AtomicU64,
}

/// Name of the lock file. It holds the process id of the last holder, for the error message.
const LOCK: &str = "store.lock";

/// Why a data folder cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it open.
    InUse {
        /// The folder.
        dir: PathBuf,
        /// The other process, if it left its id.
        holder: Option<u32>,
    },
    /// It cannot be read, or not even be made.
    Io {
        /// The folder.
        dir: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse { dir, holder: Some(pid) } => {
                write!(f, "data folder {} is in use by process {pid}", dir.display())
            }
            Self::InUse { dir, holder: None } => {
                write!(f, "data folder {} is in use by another process", dir.display())
            }
            Self::Io { dir, what, error } => {
                write!(f, "data folder {}: cannot {what}: {error}", dir.display())
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InUse { .. } => None,
            Self::Io { error, .. } => Some(error),
        }
    }
}

impl Folder {
    /// Opens and locks a folder; makes it, mode 0700, if it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |what| move |error| OpenError::Io { dir: path.to_owned(), what, error };
        if !path.is_dir() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(failed("make it"))?;
        }
        let handle = File::open(path).map_err(failed("open it"))?;
        let own = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK));
        // On a read-only or full disk the folder itself is locked: the server still has to run.
        let mut lock = match own {
            Ok(file) => file,
            Err(_) => handle.try_clone().map_err(failed("lock it"))?,
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let pid = lock.take(16).read_to_string(&mut text);
                let holder = pid.ok().and_then(|_| text.trim().parse().ok());
                return Err(OpenError::InUse { dir: path.to_owned(), holder });
            }
            Err(error) => return Err(failed("lock it")(error.into())),
        }
        // Only a courtesy to whoever is refused; a disk that takes no byte must not stop us.
        let pid = format!("{}\n", std::process::id());
        let mut written = String::new();
        if lock.read_to_string(&mut written).is_ok() && written != pid {
            let _ = lock.set_len(0).and_then(|()| lock.rewind());
            let _ = lock.write_all(pid.as_bytes());
        }
        Ok(Self { path: path.to_owned(), handle, _lock: lock, written: AtomicU64::new(0) })
    }

    fn file(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.path.join(name))
    }
}

impl Disk for Folder {
    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        match self.path.join(name).metadata() {
            Ok(meta) => Ok(Some(meta.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut done = 0;
        while done < buffer.len() {
            match file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.write_all_at(bytes, offset)?;
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.file(name)?.set_len(len)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn second_opener_is_told_which_folder_is_in_use_and_by_whom() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path()).unwrap();
        let error = Folder::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains(&*dir.path().to_string_lossy()), "{error}");
        assert!(error.ends_with(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        assert!(Folder::open(dir.path()).is_ok());
    }

    #[test]
    fn files_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&dir.path().join("new")).unwrap();
        folder.write_at("state", 0, b"x").unwrap();
        for name in ["state", LOCK] {
            let mode = dir.path().join("new").join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn retry_of_a_failed_write_replaces_its_remains() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let disk: &dyn Disk = &folder;
        disk.extend("state", 0, b"head").unwrap();
        disk.write_at("state", 4, b"half a wri").unwrap();
        disk.extend("state", 4, b"tail").unwrap();
        let mut buffer = [0; 32];
        assert_eq!(disk.read_at("state", 0, &mut buffer).unwrap(), 8);
        assert_eq!(&buffer[..8], b"headtail");
        assert!(disk.extend("state", 9, b"gap").is_err());
    }
}
