//! From a backup to a data folder.
//!
//! The backup is unpacked beside what is there and verified whole; then what is there is put aside
//! and the new files take its place. A restore that was interrupted leaves the folder [`STAGE`];
//! the server does not start then, because half a folder would make it new keys.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::archive::{belongs, place, read};
use super::{BackupError, Contents, at};

/// Where a restore in progress keeps its files, beneath the data folder.
pub const STAGE: &str = ".restoring";
/// Where the files go that were there before.
const ASIDE: &str = "before-restore";

/// Verifies a backup and touches nothing.
pub fn verify(input: impl Read, phrase: Option<&str>) -> Result<Contents, BackupError> {
    read(input, phrase, |name, file| {
        io::copy(file, &mut io::sink()).map(drop).map_err(|error| unreadable(name, &error))
    })
}

fn unreadable(name: &Path, error: &io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => BackupError::WrongPassphrase,
        _ => BackupError::Damaged(format!("{}: {error}", name.display())),
    }
}

/// Restores a backup into `folder`, which no server may use. With `replace`, what is there is put
/// aside; without, the folder must be empty.
pub fn restore(
    input: impl Read,
    phrase: Option<&str>,
    folder: &Path,
    replace: bool,
) -> Result<Contents, BackupError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(at(folder))?;
    let present = present(folder)?;
    let stage = folder.join(STAGE);
    // What an interrupted restore left is a mixture, and whoever repeats it wants it replaced.
    if !present.is_empty() && !replace && !stage.exists() {
        return Err(BackupError::NotEmpty(folder.to_owned()));
    }
    let fresh = folder.join(format!("{STAGE}.part"));
    remove(&fresh)?;
    builder.create(&fresh).map_err(at(&fresh))?;
    let contents = read(input, phrase, |name, file| {
        let path = place(&fresh, name)?;
        let mut options = OpenOptions::new();
        let mut copy =
            options.write(true).create_new(true).mode(0o600).open(&path).map_err(at(&path))?;
        let mut buffer = [0; 16 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    io::Write::write_all(&mut copy, &buffer[..length]).map_err(at(&path))?;
                }
                Err(error) => return Err(unreadable(name, &error)),
            }
        }
        copy.sync_all().map_err(at(&path))
    });
    let contents = match contents {
        Ok(contents) => contents,
        Err(error) => {
            remove(&fresh)?;
            return Err(error);
        }
    };
    // From here on it is known to be sound.
    remove(&stage)?;
    fs::rename(&fresh, &stage).map_err(at(&stage))?;
    sync(folder)?;
    if !present.is_empty() {
        put_aside(folder, &present)?;
    }
    for name in names(&stage)? {
        let to = folder.join(&name);
        fs::rename(stage.join(&name), &to).map_err(at(to))?;
    }
    sync(folder)?;
    fs::remove_dir(&stage).map_err(at(stage))?;
    sync(folder)?;
    Ok(contents)
}

fn names(folder: &Path) -> Result<Vec<String>, BackupError> {
    let entries = fs::read_dir(folder).map_err(at(folder))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// What is in a data folder and would be replaced.
fn present(folder: &Path) -> Result<Vec<String>, BackupError> {
    let mut names = names(folder)?;
    names.retain(|name| belongs(name) && !name.starts_with(STAGE));
    Ok(names)
}

fn put_aside(folder: &Path, present: &[String]) -> Result<(), BackupError> {
    let aside = (0..1000)
        .map(|n| if n == 0 { ASIDE.to_owned() } else { format!("{ASIDE}/{n}") })
        .map(|name| folder.join(name))
        .find(|path| !path.exists())
        .unwrap_or_else(|| folder.join(ASIDE));
    fs::create_dir_all(&aside).map_err(at(&aside))?;
    for name in present {
        let to = aside.join(name);
        fs::rename(folder.join(name), &to).map_err(at(to))?;
    }
    sync(&aside)?;
    sync(folder)
}

fn remove(path: &Path) -> Result<(), BackupError> {
    let gone = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    gone.map_err(at(path))
}

fn sync(folder: &Path) -> Result<(), BackupError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

/// The folder of an interrupted restore, if there is one: the server must not start on it.
pub fn interrupted(folder: &Path) -> Option<PathBuf> {
    Some(folder.join(STAGE)).filter(|stage| stage.exists())
}
