//! Round trips, and everything that can go wrong with a file that was kept for years.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::restore::{STAGE, interrupted, restore, verify};
use super::*;

const PHRASE: &str = "correct horse";

/// A data folder with what a backup takes and what it leaves out.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    file("state", &noise(200_000));
    file("config.json", b"{}");
    file("agentserver-cert-private.key", b"secret");
    file("files/user-admin/a.txt", b"text");
    file("empty", b"");
    file("agents/meshagent", b"large");
    file("store.lock", b"1");
    file("state.new", b"half");
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
    folder
}

/// Bytes that do not compress, so that sealing has several chunks.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

fn backup(folder: &Path, phrase: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    write(folder, &mut out, phrase).unwrap();
    out
}

const FILES: [&str; 5] =
    ["agentserver-cert-private.key", "config.json", "empty", "files/user-admin/a.txt", "state"];

#[test]
fn what_is_restored_is_what_was_there() {
    let source = folder();
    for phrase in [None, Some(PHRASE)] {
        let backup = backup(source.path(), phrase);
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("data");
        let contents = restore(&*backup, phrase, &target, false).unwrap();
        assert_eq!(contents.files.keys().collect::<Vec<_>>(), FILES);
        for name in FILES {
            let path = target.join(name);
            assert_eq!(fs::read(source.path().join(name)).unwrap(), fs::read(&path).unwrap());
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        assert_eq!(fs::read_dir(&target).unwrap().count(), 5, "nothing else");
        assert_eq!(interrupted(&target), None);
    }
}

#[test]
fn a_sealed_backup_shows_nothing_and_opens_with_its_passphrase_only() {
    let source = folder();
    let sealed = backup(source.path(), Some(PHRASE));
    let shown = |needle: &[u8]| sealed.windows(needle.len()).any(|window| window == needle);
    assert!(!shown(b"config.json") && !shown(b"secret"));
    assert!(matches!(verify(&*sealed, None), Err(BackupError::Sealed)));
    assert!(matches!(verify(&*sealed, Some("wrong")), Err(BackupError::WrongPassphrase)));
    assert!(verify(&*sealed, Some(PHRASE)).is_ok());
}

#[test]
fn every_cut_and_every_flipped_bit_is_noticed() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("state"), noise(2000)).unwrap();
    let whole = backup(source.path(), None);
    for cut in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        assert!(verify(&whole[..cut], None).is_err(), "cut at {cut}");
    }
    // Where gzip keeps its own flags, time and system, and its last checksum behind what is read,
    // a flip changes nothing of the content.
    let gzip = archive::MAGIC.len() + b"plain\n".len();
    for at in (0..whole.len() - 8).filter(|at| !(gzip + 3..gzip + 10).contains(at)).step_by(31) {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        assert!(verify(&*damaged, None).is_err(), "flipped at {at}");
    }
}

#[test]
fn chunks_of_a_sealed_backup_cannot_be_cut_off_or_exchanged() {
    let source = folder();
    let sealed = backup(source.path(), Some(PHRASE));
    let chunk = (64 << 10) + 16;
    let head = archive::MAGIC.len() + b"sealed\n".len() + 31;
    assert!(sealed.len() > head + 2 * chunk);
    let refused = |bytes: &[u8]| assert!(verify(bytes, Some(PHRASE)).is_err());
    refused(&sealed[..head + chunk]);
    refused(&sealed[..head + 2 * chunk]);
    let (first, second) = (head..head + chunk, head + chunk..head + 2 * chunk);
    refused(
        &[&sealed[..head], &sealed[second.clone()], &sealed[first], &sealed[second.end..]].concat(),
    );
}

#[test]
fn other_files_are_no_backups() {
    for bytes in [&b""[..], b"x", b"PK\x03\x04 and so on, long enough to be looked at"] {
        assert!(matches!(verify(bytes, None), Err(BackupError::NoBackup)));
    }
    assert!(matches!(verify(&b"meshboard backup 9\nplain\n"[..], None), Err(BackupError::Newer)));
}

#[test]
fn a_backup_writes_nowhere_but_into_the_folder() {
    for name in
        ["../outside", "/outside", "files/../../outside", "agents/meshagent", ".restoring/x"]
    {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        // The builder itself refuses such names.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, &b"x"[..]).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &tar.into_inner().unwrap()).unwrap();
        let bytes = [archive::MAGIC, b"plain\n", &gzip.finish().unwrap()].concat();
        let parent = tempfile::tempdir().unwrap();
        let refused = restore(&*bytes, None, &parent.path().join("data"), false);
        assert!(matches!(refused, Err(BackupError::Damaged(_))), "{name}: {refused:?}");
        assert!(!parent.path().join("outside").exists());
    }
}

#[test]
fn what_was_there_is_put_aside_and_never_lost() {
    let source = folder();
    let backup = backup(source.path(), None);
    let target = tempfile::tempdir().unwrap();
    fs::write(target.path().join("state"), "old").unwrap();
    fs::create_dir(target.path().join("agents")).unwrap();
    fs::write(target.path().join("agents/meshagent"), "mine").unwrap();
    assert!(matches!(restore(&*backup, None, target.path(), false), Err(BackupError::NotEmpty(_))));
    assert_eq!(fs::read(target.path().join("state")).unwrap(), b"old");

    let damaged = &backup[..backup.len() / 2];
    assert!(restore(damaged, None, target.path(), true).is_err());
    assert_eq!(fs::read(target.path().join("state")).unwrap(), b"old", "nothing was touched");
    assert_eq!(interrupted(target.path()), None);

    restore(&*backup, None, target.path(), true).unwrap();
    assert_eq!(fs::read(target.path().join("before-restore/state")).unwrap(), b"old");
    assert_eq!(fs::read(target.path().join("agents/meshagent")).unwrap(), b"mine");
    restore(&*backup, None, target.path(), true).unwrap();
    assert_eq!(fs::read(target.path().join("before-restore/1/config.json")).unwrap(), b"{}");
}

#[test]
fn an_interrupted_restore_is_seen_and_can_be_repeated() {
    let source = folder();
    let backup = backup(source.path(), None);
    let target = tempfile::tempdir().unwrap();
    // As a power cut leaves it: verified, what was there put aside, one file moved.
    fs::create_dir(target.path().join(STAGE)).unwrap();
    fs::write(target.path().join(STAGE).join("state"), "new").unwrap();
    fs::write(target.path().join("config.json"), "moved").unwrap();
    assert!(interrupted(target.path()).is_some());
    restore(&*backup, None, target.path(), false).unwrap();
    assert_eq!(interrupted(target.path()), None);
    assert_eq!(fs::read(target.path().join("config.json")).unwrap(), b"{}");
    assert_eq!(fs::read(target.path().join("before-restore/config.json")).unwrap(), b"moved");
}

#[test]
fn a_file_that_grows_while_it_is_read_is_taken_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fs::write(&path, noise(100_000)).unwrap();
    /// Appends to the file whenever something is written.
    struct Growing<'p>(&'p Path, Vec<u8>);
    impl std::io::Write for Growing<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut file = fs::OpenOptions::new().append(true).open(self.0)?;
            file.write_all(b"more")?;
            self.1.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut out = Growing(&path, Vec::new());
    let contents = write(folder.path(), &mut out, None).unwrap();
    assert_eq!(contents.files["state"].length, 100_000);
    assert!(verify(&*out.1, None).is_ok());
}
