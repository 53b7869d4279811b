//! A folder that is made beside its place and takes it in one step.
//!
//! Nobody ever sees a half-made folder: until [`Staging::commit`] the old one stands, and a
//! program that dies before leaves only a hidden folder that the next one clears away.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The new folder while it is being made. Dropping it without a commit removes it.
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
    target: PathBuf,
    /// Held locked so that others can tell a folder at work from one left behind.
    _lock: File,
}

impl Staging {
    /// Starts a new folder that will become `target`; its parent must exist.
    pub(super) fn new(target: &Path) -> io::Result<Self> {
        let parent = parent(target);
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let prefix = format!(".{name}.new-");
        clear_abandoned(parent, &prefix)?;
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let path = parent.join(prefix + &data_encoding::HEXLOWER.encode(&random));
        fs::create_dir(&path)?;
        let lock = File::open(&path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path, target: target.to_owned(), _lock: lock })
    }

    /// Where to put files.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the folder in its place. What stood there is removed, or renamed beside it if
    /// `keep_old`; then its new path is returned. The files must be on disk already.
    pub(super) fn commit(self, keep_old: bool) -> io::Result<Option<PathBuf>> {
        let parent = parent(&self.target);
        sync_folder(&self.path)?;
        let replaced = match exchange(&self.path, &self.target) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::rename(&self.path, &self.target)?;
                false
            }
            Err(error) => return Err(error),
        };
        sync_folder(parent)?;
        // From here on the old folder has our hidden name; dropping `self` removes it.
        if !(replaced && keep_old) {
            return Ok(None);
        }
        let kept = free_name(&self.target);
        fs::rename(&self.path, &kept)?;
        Ok(Some(kept))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{}: cannot remove: {error}", self.path.display());
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the entries of a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Swaps two folders, in one step where the system can.
fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
            // An old kernel, or a file system without exchange.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            other => return Ok(other?),
        }
    }
    let aside = new.with_extension("old");
    fs::rename(old, &aside)?;
    if let Err(error) = fs::rename(new, old) {
        fs::rename(&aside, old)?;
        return Err(error);
    }
    fs::rename(&aside, new)
}

/// `agents.old`, `agents.old2`, … whichever is free.
fn free_name(target: &Path) -> PathBuf {
    let numbered = |n: u32| {
        let mut name = target.as_os_str().to_owned();
        name.push(if n == 1 { ".old".to_owned() } else { format!(".old{n}") });
        PathBuf::from(name)
    };
    (1..).map(numbered).find(|path| !path.exists()).unwrap_or_else(|| numbered(0))
}

/// Removes folders of earlier attempts whose program is gone.
fn clear_abandoned(parent: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let Ok(folder) = File::open(entry.path()) else { continue };
        if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn staged(target: &Path, content: &str) -> Staging {
        let staging = Staging::new(target).unwrap();
        fs::write(staging.path().join("file"), content).unwrap();
        staging
    }

    #[test]
    fn a_commit_replaces_the_folder_and_leaves_nothing_else() {
        let data = tempfile::tempdir().unwrap();
        let target = data.path().join("agents");
        for content in ["one", "two"] {
            assert_eq!(staged(&target, content).commit(false).unwrap(), None);
            assert_eq!(fs::read_to_string(target.join("file")).unwrap(), content);
            assert_eq!(names(data.path()), ["agents"]);
        }
    }

    #[test]
    fn a_kept_folder_moves_aside() {
        let data = tempfile::tempdir().unwrap();
        let target = data.path().join("agents");
        staged(&target, "one").commit(true).unwrap();
        assert_eq!(
            staged(&target, "2").commit(true).unwrap(),
            Some(data.path().join("agents.old"))
        );
        staged(&target, "3").commit(true).unwrap();
        assert_eq!(names(data.path()), ["agents", "agents.old", "agents.old2"]);
        let one = fs::read_to_string(data.path().join("agents.old/file")).unwrap();
        assert_eq!(one, "one");
    }

    #[test]
    fn an_abandoned_folder_is_cleared_but_not_one_at_work() {
        let data = tempfile::tempdir().unwrap();
        let target = data.path().join("agents");
        fs::create_dir(data.path().join(".agents.new-dead")).unwrap();
        let at_work = staged(&target, "mine");
        let other = staged(&target, "other");
        assert_eq!(names(data.path()).len(), 2);
        drop(other);
        at_work.commit(false).unwrap();
        assert_eq!(names(data.path()), ["agents"]);
    }
}
