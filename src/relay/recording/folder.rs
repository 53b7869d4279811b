//! The folder of recordings. Everything here blocks: it runs in the pool.
//!
//! Files are opened beneath a handle of the folder, by plain names, and links are not followed: no
//! name, whoever made it up, leads anywhere else.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};

use crate::model::Millis;

use super::name;
use super::recorder::{Work, Write};

/// Bytes of the disk that recordings leave to everything else. A full disk would harm what the
/// server needs to run.
pub const RESERVE: u64 = 64 << 20;
/// Most recordings that are looked at in a folder.
const ENTRIES_MAX: usize = 100_000;

/// An open folder.
pub struct Folder {
    handle: OwnedFd,
}

/// A recording in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its file name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// When it was last written.
    pub modified: Millis,
}

impl Folder {
    /// Opens a folder that may have to be made.
    pub fn make(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Self::open(path)
    }

    /// Opens a folder that is there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self { handle: fs::open(path, flags, Mode::empty())? })
    }

    /// A new, empty file; an error if there is one of this name.
    pub fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        self.file(name, flags, Mode::RUSR | Mode::WUSR)
    }

    /// A recording, to read.
    pub fn read(&self, name: &str) -> io::Result<File> {
        self.file(name, OFlags::RDONLY, Mode::empty())
    }

    /// A recording, to change.
    pub fn edit(&self, name: &str) -> io::Result<File> {
        self.file(name, OFlags::RDWR, Mode::empty())
    }

    fn file(&self, name: &str, flags: OFlags, mode: Mode) -> io::Result<File> {
        if !name::is_plain(name) {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        // A pipe of that name must not keep a thread of the pool for ever.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(fs::openat(&self.handle, name, flags, mode)?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Removes a recording.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        Ok(fs::unlinkat(&self.handle, name, AtFlags::empty())?)
    }

    /// The recordings, in no order.
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::Dir::read_from(&self.handle)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().ok().filter(|name| name::is_plain(name))
            else {
                continue;
            };
            // One that goes while it is looked at is not there.
            let Ok(stat) = fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                continue;
            }
            entries.push(Entry {
                name: name.to_owned(),
                len: u64::try_from(stat.st_size).unwrap_or_default(),
                modified: modified(&stat),
            });
            if entries.len() >= ENTRIES_MAX {
                log::warn!("more than {ENTRIES_MAX} recordings in a folder: the rest is not seen");
                break;
            }
        }
        Ok(entries)
    }
}

// The types of these members are not the same on every architecture.
#[allow(clippy::useless_conversion)]
fn modified(stat: &fs::Stat) -> Millis {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
    let nanoseconds = u64::try_from(stat.st_mtime_nsec).unwrap_or_default();
    Millis(seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000))
}

/// Does what a recorder asks for.
pub fn perform(file: &File, work: Work) -> io::Result<()> {
    match work {
        Work::Write(writes) => {
            let disk = fs::fstatvfs(file)?;
            if disk.f_bavail.saturating_mul(disk.f_frsize) < RESERVE {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is nearly full"));
            }
            write_all(file, writes)
        }
        // The last bytes are few, and make the recording whole.
        Work::Close { writes, len } => {
            write_all(file, writes)?;
            file.set_len(len)?;
            file.sync_data()
        }
    }
}

fn write_all(file: &File, writes: Vec<Write>) -> io::Result<()> {
    writes.into_iter().try_for_each(|Write { at, bytes }| file.write_all_at(&bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    const NAME: &str = "relaysession-2026-11-22-05-40-10-a-b-c.mcrec";

    #[test]
    fn files_are_private_and_never_written_over() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("new/recordings");
        let folder = Folder::make(&path).unwrap();
        let file = folder.create(NAME).unwrap();
        let write = |at, bytes: &[u8]| Write { at, bytes: bytes.to_vec() };
        perform(&file, Work::Write(vec![write(2, b"cd"), write(0, b"ab")])).unwrap();
        perform(&file, Work::Close { writes: vec![write(3, b"DE")], len: 4 }).unwrap();
        assert_eq!(std::fs::read(path.join(NAME)).unwrap(), b"abcD");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join(NAME))), (0o700, 0o600));
        let again = folder.create(NAME).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        let entry = folder.list().unwrap().remove(0);
        assert_eq!((&*entry.name, entry.len), (NAME, 4));
        folder.remove(NAME).unwrap();
        assert_eq!(folder.list().unwrap(), []);
    }

    #[test]
    fn nothing_but_recordings_is_seen_or_opened() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("secret"), "x").unwrap();
        let path = data.path().join("recordings");
        let folder = Folder::make(&path).unwrap();
        symlink("../secret", path.join(NAME)).unwrap();
        std::fs::write(path.join("notes.mcrec"), "x").unwrap();
        std::fs::create_dir(path.join("relaysession-1-dir.mcrec")).unwrap();
        assert_eq!(folder.list().unwrap(), []);
        for name in [NAME, "notes.mcrec", "../secret", "relaysession-1-dir.mcrec", "", "."] {
            assert!(folder.read(name).is_err(), "{name:?}");
        }
    }
}
