//! The archive: which files are in it, how it is written and how it is verified.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use ring::digest::{Context, SHA384};
use serde::{Deserialize, Serialize};

use crate::model::order;

use super::seal::{Opener, Sealer};
use super::{BackupError, at};

/// First line of a backup.
pub const MAGIC: &[u8] = b"meshboard backup 1\n";
const ANY_VERSION: &[u8] = b"meshboard backup ";
const PLAIN: &[u8] = b"plain\n";
const SEALED: &[u8] = b"sealed\n";
/// Name of the last entry.
const LIST: &str = "meshboard-backup.json";
/// Longest list that is read.
const LIST_MAX: u64 = 16 << 20;

/// Names at the top of the data folder that are not part of a backup: the stock agents (installed
/// again from their package), recordings (large), backups, and what only the running server uses.
const LEFT_OUT: [&str; 7] = [
    "agents",
    "backups",
    "before-restore",
    "meshboard.sock",
    "recordings",
    "store.lock",
    super::restore::STAGE,
];
/// Endings of files that are being written.
const UNFINISHED: [&str; 2] = [".new", ".part"];

/// Whether a name at the top of the data folder belongs into a backup.
pub(super) fn belongs(name: &str) -> bool {
    !LEFT_OUT.contains(&name) && !UNFINISHED.iter().any(|ending| name.ends_with(ending))
}

/// The list of files of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Version of the server that made it.
    pub version: String,
    /// Path beneath the data folder, and what the file is.
    pub files: BTreeMap<String, Entry>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Length in bytes.
    pub length: u64,
    /// SHA-384 in hexadecimal.
    pub sha384: String,
}

/// Writes a backup of `folder` to `out`.
pub fn write(
    folder: &Path,
    out: impl Write,
    phrase: Option<&str>,
) -> Result<Contents, BackupError> {
    let mut out = BufWriter::new(out);
    let head = if phrase.is_some() { SEALED } else { PLAIN };
    out.write_all(&[MAGIC, head].concat()).map_err(at("backup"))?;
    let finished = match phrase {
        None => {
            let (contents, mut out) = pack(folder, out)?;
            out.flush().map_err(at("backup"))?;
            contents
        }
        Some(phrase) => {
            let (contents, sealer) = pack(folder, Sealer::new(out, phrase)?)?;
            sealer.finish().and_then(|mut out| out.flush()).map_err(at("backup"))?;
            contents
        }
    };
    Ok(finished)
}

fn pack<W: Write>(folder: &Path, out: W) -> Result<(Contents, W), BackupError> {
    let mut tar = tar::Builder::new(GzEncoder::new(out, Compression::default()));
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let mut contents = Contents { version, files: BTreeMap::new() };
    let mut names = names(folder)?;
    names.retain(|name| belongs(name));
    for name in names {
        add(&mut tar, folder, Path::new(&name), &mut contents)?;
    }
    let list = serde_json::to_vec_pretty(&contents).map_err(|e| at(LIST)(e.into()))?;
    let mut header = header(list.len() as u64);
    tar.append_data(&mut header, LIST, &*list).map_err(at("backup"))?;
    let out = tar.into_inner().and_then(GzEncoder::finish).map_err(at("backup"))?;
    Ok((contents, out))
}

fn header(length: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(length);
    header.set_mode(0o600);
    header
}

/// The names in a folder, in order; names that are no text are nobody's of ours.
fn names(folder: &Path) -> Result<Vec<String>, BackupError> {
    let entries = fs::read_dir(folder).map_err(at(folder))?;
    let mut names: Vec<_> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    order::sort_by(&mut names, Ord::cmp);
    Ok(names)
}

/// Adds a file as long as it is now, or a folder with all in it. Links are not followed.
fn add<W: Write>(
    tar: &mut tar::Builder<W>,
    folder: &Path,
    name: &Path,
    contents: &mut Contents,
) -> Result<(), BackupError> {
    let path = folder.join(name);
    let kind = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata.file_type(),
        // It was replaced or removed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(path)(error)),
    };
    if kind.is_dir() {
        for inner in names(&path)? {
            add(tar, folder, &name.join(inner), contents)?;
        }
        return Ok(());
    }
    if !kind.is_file() {
        return Ok(());
    }
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(path)(error)),
    };
    let length = file.metadata().map_err(at(&path))?.len();
    // The file may grow; what comes after its present length is not part of the backup.
    let mut reader = Hashing::new(file.take(length));
    tar.append_data(&mut header(length), name, &mut reader).map_err(at(&path))?;
    let entry = reader.entry();
    if entry.length != length {
        return Err(at(path)(io::Error::other("became shorter while it was read")));
    }
    contents.files.insert(name.to_string_lossy().into_owned(), entry);
    Ok(())
}

/// Counts and hashes what is read through it.
struct Hashing<R> {
    inner: R,
    length: u64,
    digest: Context,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, length: 0, digest: Context::new(&SHA384) }
    }

    fn entry(self) -> Entry {
        let sha384 = data_encoding::HEXLOWER.encode(self.digest.finish().as_ref());
        Entry { length: self.length, sha384 }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.length += read as u64;
        self.digest.update(&out[..read]);
        Ok(read)
    }
}

/// Reads a backup to its end and verifies it. `keep` gets each file before it is known whether the
/// whole is sound; it must read all of it or fail.
pub fn read(
    input: impl Read,
    phrase: Option<&str>,
    keep: impl FnMut(&Path, &mut dyn Read) -> Result<(), BackupError>,
) -> Result<Contents, BackupError> {
    let mut input = BufReader::new(input);
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic).map_err(|_| BackupError::NoBackup)?;
    if magic != *MAGIC {
        let ours = magic.starts_with(ANY_VERSION);
        return Err(if ours { BackupError::Newer } else { BackupError::NoBackup });
    }
    match (line(&mut input)?.as_slice(), phrase) {
        (PLAIN, _) => unpack(input, keep),
        (SEALED, None) => Err(BackupError::Sealed),
        (SEALED, Some(phrase)) => unpack(Opener::new(input, phrase)?, keep),
        _ => Err(BackupError::Newer),
    }
}

/// A short line with its end.
fn line(input: &mut impl Read) -> Result<Vec<u8>, BackupError> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') && line.len() < SEALED.len() {
        let mut byte = [0];
        input.read_exact(&mut byte).map_err(damaged)?;
        line.push(byte[0]);
    }
    Ok(line)
}

/// What a failure to read on means.
fn damaged(error: io::Error) -> BackupError {
    match error.kind() {
        // The opener's word for a chunk that does not verify.
        io::ErrorKind::PermissionDenied => BackupError::WrongPassphrase,
        _ => BackupError::Damaged(error.to_string()),
    }
}

fn unpack(
    input: impl Read,
    mut keep: impl FnMut(&Path, &mut dyn Read) -> Result<(), BackupError>,
) -> Result<Contents, BackupError> {
    let mut tar = tar::Archive::new(GzDecoder::new(input));
    let mut found = BTreeMap::new();
    let mut list = None;
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.into_owned();
        if list.is_some() {
            return Err(BackupError::Damaged("something follows its list".into()));
        }
        if name == Path::new(LIST) {
            let mut text = Vec::new();
            entry.by_ref().take(LIST_MAX).read_to_end(&mut text).map_err(damaged)?;
            let contents: Contents = serde_json::from_slice(&text)
                .map_err(|error| BackupError::Damaged(format!("its list: {error}")))?;
            list = Some(contents);
            continue;
        }
        let text = safe(&name)
            .filter(|_| entry.header().entry_type().is_file())
            .ok_or_else(|| BackupError::Damaged(format!("{} is no place", name.display())))?;
        let mut reader = Hashing::new(&mut entry);
        keep(&name, &mut reader)?;
        found.insert(text, reader.entry());
    }
    // To the very end: the last checksum, and the proof that nothing was cut off, come there.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(damaged)?;
    let contents = list.ok_or_else(|| BackupError::Damaged("it is cut short".into()))?;
    if contents.files != found {
        return Err(BackupError::Damaged("a file is not what its list says".into()));
    }
    Ok(contents)
}

/// A path that stays beneath the folder it is joined to.
fn safe(path: &Path) -> Option<String> {
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let first = path.components().next()?.as_os_str().to_str()?;
    (plain && belongs(first)).then(|| path.to_str().map(str::to_owned)).flatten()
}

/// The path of a file of a backup beneath `folder`, whose folders are made.
pub(super) fn place(folder: &Path, name: &Path) -> Result<PathBuf, BackupError> {
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(at(parent))?;
    }
    Ok(path)
}
