//! Backups of the data folder: one file that checks itself, made while the server runs.
//!
//! Nothing has to stand still for it. The store only appends to its files or replaces them whole,
//! so what a file holds at the moment it is opened is a valid past of the folder (see `store`).
//!
//! Form: the line [`archive::MAGIC`], `plain` or `sealed`, then a gzip'd tar, sealed with a
//! passphrase if one was given ([`seal`]). The last entry of the tar lists every file with its
//! length and SHA-384; a backup whose list does not fit is refused before anything is touched.

pub mod archive;
pub mod restore;
pub mod schedule;
pub mod seal;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use archive::{Contents, read, write};

/// Why there is no backup, or nothing was restored.
#[derive(Debug)]
pub enum BackupError {
    /// A file cannot be read or written.
    Io(PathBuf, io::Error),
    /// The file is no backup.
    NoBackup,
    /// It was made by a newer version.
    Newer,
    /// It is sealed, and there is no passphrase.
    Sealed,
    /// The passphrase is wrong, or the backup was changed.
    WrongPassphrase,
    /// It is cut short or damaged.
    Damaged(String),
    /// The folder to restore into has content.
    NotEmpty(PathBuf),
    /// Another one is being made.
    Busy,
    /// No random numbers.
    NoRandomness,
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::NoBackup => f.write_str("this is no backup of meshboard"),
            Self::Newer => f.write_str("this backup was made by a newer version of meshboard"),
            Self::Sealed => f.write_str("this backup is sealed: its passphrase is needed"),
            Self::WrongPassphrase => {
                f.write_str("the passphrase is wrong, or the backup was changed")
            }
            Self::Damaged(what) => write!(f, "the backup is damaged: {what}"),
            Self::NotEmpty(path) => write!(
                f,
                "{} has content; --replace puts it aside (into before-restore) first",
                path.display()
            ),
            Self::Busy => f.write_str("another backup is being made"),
            Self::NoRandomness => f.write_str("no random numbers"),
        }
    }
}

impl std::error::Error for BackupError {}

/// An error about `path`.
fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.into();
    |error| BackupError::Io(path, error)
}
