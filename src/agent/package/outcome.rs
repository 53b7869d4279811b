//! How an installation goes: its progress, and why it fails.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// How far an installation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The package is read; bytes of a tarball, files of a folder.
    Reading {
        /// Read so far.
        done: u64,
        /// To be read in all.
        total: u64,
    },
    /// An executable is hashed, verified and zipped.
    Binary {
        /// Its file name.
        file: &'a str,
        /// Counted from 1.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// The cores are composed.
    Cores,
}

/// Why nothing was installed.
#[derive(Debug)]
pub enum InstallError {
    /// The package cannot be read.
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// The data folder cannot be written.
    Write {
        /// What was written.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// There is no agent package.
    NotAPackage {
        /// Where it was looked for.
        path: PathBuf,
        /// The file that would have told.
        missing: &'static str,
    },
    /// A chosen architecture is not in the package.
    Missing {
        /// The file that was looked for.
        file: &'static str,
    },
    /// A file is not what `hashagents.json` says.
    Damaged {
        /// Its name in the `agents` folder.
        file: String,
        /// What differs.
        reason: String,
    },
    /// A link, folder or device where a file must be.
    NotAFile {
        /// Its name in the `agents` folder.
        name: String,
    },
    /// A file is longer than any stock one.
    TooLarge {
        /// Its name in the `agents` folder.
        name: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// A tarball has a file twice.
    Twice {
        /// Its name in the `agents` folder.
        name: String,
    },
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Write { path, error } => write!(f, "cannot write {}: {error}", path.display()),
            Self::NotAPackage { path, missing } => write!(
                f,
                "{} is not the stock agent package: it has no {missing}. Give the file that \
                 `npm pack meshcentral` makes, or the folder of an installation",
                path.display()
            ),
            Self::Missing { file } => write!(f, "the package has no {file}"),
            Self::Damaged { file, reason } => write!(
                f,
                "{file} is damaged: {reason}. Nothing was installed; get the package again"
            ),
            Self::NotAFile { name } => write!(f, "{name} in the package is not a regular file"),
            Self::TooLarge { name, limit } => {
                write!(f, "{name} in the package is longer than {limit} bytes")
            }
            Self::Twice { name } => write!(f, "{name} is in the package twice"),
        }
    }
}

impl std::error::Error for InstallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { error, .. } | Self::Write { error, .. } => Some(error),
            _ => None,
        }
    }
}
