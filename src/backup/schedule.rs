//! Backups by themselves: when one is due, where it goes, and which old ones make room.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::{BackupError, at, write};
use crate::config::BackupPlan;
use crate::model::Millis;
use crate::model::order;

/// What the files are called: `meshboard-2026-11-22-07-13-32.backup`, in UTC.
const PREFIX: &str = "meshboard-";
const SUFFIX: &str = ".backup";

/// Writes a backup of `folder` to the file `to`, which appears only when it is whole and on disk.
pub fn write_file(folder: &Path, to: &Path, phrase: Option<&str>) -> Result<(), BackupError> {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&part);
    let file = file.map_err(at(&part))?;
    let written = write(folder, &file, phrase)
        .and_then(|_| file.sync_all().map_err(at(&part)))
        .and_then(|()| fs::rename(&part, to).map_err(at(to)));
    if written.is_err() {
        // Half a backup is of no use and takes room; there may be none left.
        let _ = fs::remove_file(&part);
    }
    written?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(at(parent))
}

/// The file of a backup made at `now`.
fn name(now: Millis) -> String {
    let iso = now.iso();
    let seconds = iso.split('.').next().unwrap_or_default();
    format!("{PREFIX}{}{SUFFIX}", seconds.replace(['T', ':'], "-"))
}

/// Backups of a folder, oldest first, with their lengths.
fn existing(folder: &Path) -> Vec<(String, u64)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let ours = name.starts_with(PREFIX) && name.ends_with(SUFFIX);
            ours.then_some((name, entry.metadata().ok()?.len()))
        })
        .collect();
    order::sort_by(&mut found, Ord::cmp);
    found
}

fn folder(plan: &BackupPlan, data: &Path) -> PathBuf {
    plan.folder.clone().unwrap_or_else(|| data.join("backups"))
}

/// Whether the newest backup of `data` is older than the interval. Names are compared, so a clock
/// that went back makes no flood of backups.
pub fn is_due(plan: &BackupPlan, data: &Path, now: Millis) -> bool {
    let interval = u64::try_from(plan.every.as_millis()).unwrap_or(u64::MAX);
    let due_before = name(Millis(now.0.saturating_sub(interval)));
    existing(&folder(plan, data)).last().is_none_or(|(newest, _)| *newest <= due_before)
}

/// Makes a backup of `data` and removes old ones. Returns its file. One at a time: each reads the
/// whole folder.
pub fn run(plan: &BackupPlan, data: &Path, now: Millis) -> Result<PathBuf, BackupError> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.try_lock().map_err(|_| BackupError::Busy)?;
    let folder = &folder(plan, data);
    fs::create_dir_all(folder).map_err(at(folder))?;
    let file = folder.join(name(now));
    write_file(data, &file, plan.passphrase.as_deref())?;
    for old in surplus(&existing(folder), plan.keep, plan.max_bytes, now) {
        let path = folder.join(old);
        if let Err(error) = fs::remove_file(&path) {
            log::warn!("an old backup stays: {}: {error}", path.display());
        }
    }
    Ok(file)
}

/// What is too old, and then the oldest as long as all together are too large. The newest stays.
fn surplus(backups: &[(String, u64)], keep: Duration, max_bytes: u64, now: Millis) -> Vec<&str> {
    let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
    let oldest = name(Millis(now.0.saturating_sub(keep)));
    let mut total: u64 = backups.iter().map(|(_, length)| length).sum();
    let Some((_newest, older)) = backups.split_last() else { return Vec::new() };
    let mut gone = Vec::new();
    for (name, length) in older {
        if *name < oldest || total > max_bytes {
            gone.push(name.as_str());
            total -= length;
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;
    const NOW: Millis = Millis(1_795_324_620_850);

    fn backups(days_ago: &[u64], length: u64) -> Vec<(String, u64)> {
        days_ago.iter().map(|days| (name(Millis(NOW.0 - days * DAY)), length)).collect()
    }

    #[test]
    fn names_sort_by_time() {
        assert_eq!(name(NOW), "meshboard-2026-11-22-05-17-00.backup");
        assert!(name(Millis(NOW.0 - 1000)) < name(NOW) && name(NOW) < name(Millis(NOW.0 + DAY)));
    }

    #[test]
    fn old_ones_go_by_age_then_by_size_and_the_newest_never() {
        let ten_days = Duration::from_secs(10 * 86_400);
        for (days, max, gone) in [
            (&[][..], u64::MAX, 0),
            (&[20], u64::MAX, 0),
            (&[20, 15, 3, 1], u64::MAX, 2),
            (&[3, 2, 1, 0], 250, 2),
            (&[3, 2, 1, 0], 400, 0),
            (&[20, 3, 2, 1, 0], 400, 1),
            (&[3, 0], 10, 1),
        ] {
            let backups = backups(days, 100);
            let surplus = surplus(&backups, ten_days, max, NOW);
            assert_eq!(surplus.len(), gone, "{days:?} with {max} bytes");
            let oldest: Vec<_> = backups[..gone].iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(surplus, oldest);
        }
    }

    #[test]
    fn one_is_due_when_the_newest_is_as_old_as_the_interval() {
        let folder = tempfile::tempdir().unwrap();
        let plan = BackupPlan { folder: Some(folder.path().into()), ..BackupPlan::DAILY };
        assert!(is_due(&plan, Path::new("/nowhere"), NOW), "there is none");
        fs::write(folder.path().join(name(NOW)), "").unwrap();
        for (passed, due) in [(0, false), (DAY - 2000, false), (DAY, true), (9 * DAY, true)] {
            assert_eq!(
                is_due(&plan, Path::new("/nowhere"), Millis(NOW.0 + passed)),
                due,
                "{passed}"
            );
        }
        assert!(!is_due(&plan, Path::new("/nowhere"), Millis(0)), "the board woke in 1970");
    }
}
