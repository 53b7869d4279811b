//! What is inside a folder: listing, counting and deleting it, bounded in depth and number.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags};
use serde_json::{Map, Value, json};

use super::cabinet::FileError;
use super::name::Name;
use super::upload::UNFINISHED;

/// Deepest folder that is looked into.
const DEPTH_MAX: usize = 32;
/// Most entries in one list; about 1 MB of text.
const ENTRIES_MAX: usize = 10_000;
/// What MeshCentral says a folder's date is.
const FOLDER_DATE: u32 = 111;

const FOLDER_FLAGS: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);

/// An entry of a folder.
struct Found {
    name: String,
    kind: FileType,
    size: u64,
    /// Milliseconds since 1970, to the second.
    modified: u64,
}

/// The entries of a folder that are neither itself nor its parent.
fn entries(folder: &OwnedFd) -> Result<Vec<Found>, FileError> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if matches!(name, "." | "..") {
            continue;
        }
        let stat = fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
        found.push(Found {
            name: name.to_owned(),
            kind: FileType::from_raw_mode(stat.st_mode),
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: seconds.saturating_mul(1000),
        });
        if found.len() >= ENTRIES_MAX {
            break;
        }
    }
    Ok(found)
}

fn enter(folder: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, FileError> {
    Ok(fs::openat(folder, name, FOLDER_FLAGS, Mode::empty())?)
}

/// Folders and files as MeshCentral lists them: `t` 2 with `f`, or `t` 3 with size and date.
/// Whatever is neither, or has a name nobody can use, is left out.
pub(super) fn list(folder: OwnedFd) -> Value {
    let mut left = ENTRIES_MAX;
    Value::Object(list_at(folder, 0, &mut left))
}

fn list_at(folder: OwnedFd, depth: usize, left: &mut usize) -> Map<String, Value> {
    let mut list = Map::new();
    let found = if depth < DEPTH_MAX { entries(&folder).unwrap_or_default() } else { Vec::new() };
    for entry in found {
        if *left == 0 {
            break;
        }
        if Name::new(&entry.name).is_none() {
            continue;
        }
        let value = match entry.kind {
            FileType::RegularFile => json!({"t": 3, "d": entry.modified, "s": entry.size}),
            FileType::Directory => {
                let Ok(inner) = enter(folder.as_fd(), &entry.name) else {
                    continue;
                };
                json!({"t": 2, "d": FOLDER_DATE, "f": list_at(inner, depth + 1, left)})
            }
            _ => continue,
        };
        *left = left.saturating_sub(1);
        list.insert(entry.name, value);
    }
    list
}

/// Bytes in a folder and everything below it.
pub(super) fn size(folder: OwnedFd) -> Result<u64, FileError> {
    size_at(folder, 0)
}

fn size_at(folder: OwnedFd, depth: usize) -> Result<u64, FileError> {
    if depth >= DEPTH_MAX {
        return Ok(0);
    }
    let mut total = 0u64;
    for entry in entries(&folder)? {
        total = total.saturating_add(match entry.kind {
            FileType::RegularFile => entry.size,
            FileType::Directory => size_at(enter(folder.as_fd(), &entry.name)?, depth + 1)?,
            _ => 0,
        });
    }
    Ok(total)
}

/// Removes unfinished files but those that begin with `own`. Returns how many.
pub(super) fn remove_unfinished(folder: OwnedFd, own: &str) -> Result<usize, FileError> {
    remove_unfinished_at(folder, own, 0)
}

fn remove_unfinished_at(folder: OwnedFd, own: &str, depth: usize) -> Result<usize, FileError> {
    if depth >= DEPTH_MAX {
        return Ok(0);
    }
    let mut removed = 0;
    for entry in entries(&folder)? {
        match entry.kind {
            FileType::RegularFile
                if entry.name.starts_with(UNFINISHED) && !entry.name.starts_with(own) =>
            {
                fs::unlinkat(&folder, &*entry.name, AtFlags::empty())?;
                removed += 1;
            }
            FileType::Directory => {
                removed +=
                    remove_unfinished_at(enter(folder.as_fd(), &entry.name)?, own, depth + 1)?;
            }
            _ => {}
        }
    }
    Ok(removed)
}

/// Removes `name` from `folder`; a folder with content only if `all` of it is to go.
pub(super) fn delete(folder: BorrowedFd<'_>, name: &str, all: bool) -> Result<(), FileError> {
    delete_at(folder, name, all, 0)
}

fn delete_at(folder: BorrowedFd<'_>, name: &str, all: bool, depth: usize) -> Result<(), FileError> {
    let stat = fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(fs::unlinkat(folder, name, AtFlags::empty())?);
    }
    if all {
        if depth >= DEPTH_MAX {
            return Err(FileError::TooDeep);
        }
        let inner = enter(folder, name)?;
        // A folder may hold more than one list of entries does.
        loop {
            let found = entries(&inner)?;
            if found.is_empty() {
                break;
            }
            for entry in found {
                let at = inner.as_fd();
                delete_at(at, &entry.name, true, depth + 1)?;
            }
        }
    }
    match fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::from(error).into()),
    }
}
