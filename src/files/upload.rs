//! A file on its way in: invisible until it is whole, gone if it is given up.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;

use rustix::fs::{self, AtFlags, Mode, OFlags};

use super::cabinet::FileError;
use super::name::Name;

/// How the names of unfinished files begin; no [`Name`] does.
pub(super) const UNFINISHED: &str = ".upload-";

/// An unfinished file in the folder it will be in, under a hidden name.
#[derive(Debug)]
pub struct Upload {
    folder: OwnedFd,
    file: File,
    hidden: String,
    /// Bytes that may still come.
    room: u64,
    finished: bool,
}

impl Upload {
    pub(super) fn begin(folder: OwnedFd, room: u64, prefix: &str) -> Result<Self, FileError> {
        let mut random = [0; 9];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let hidden = format!("{prefix}{}", data_encoding::HEXLOWER.encode(&random));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = fs::openat(&folder, &*hidden, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Self { folder, file: file.into(), hidden, room, finished: false })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`FileError::Full`] when there is no room for them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.room = self.room.checked_sub(bytes.len() as u64).ok_or(FileError::Full)?;
        Ok(self.file.write_all(bytes)?)
    }

    /// Puts the file in its place; one of that name is replaced.
    pub fn finish(mut self, name: &Name) -> Result<(), FileError> {
        // Otherwise a power cut may leave the name without the content.
        self.file.sync_data()?;
        fs::renameat(&self.folder, &*self.hidden, &self.folder, name.as_str())?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::unlinkat(&self.folder, &*self.hidden, AtFlags::empty());
        }
    }
}
