//! The activation log: every attempt and the password it gives the firmware, on disk before the
//! firmware hears of it. Whoever loses this file may lose computers that were activated.
//!
//! One JSON object a line, ended by CR LF, as MeshCentral writes it (amt-activation-and-lan §4.7).
//! The file is opened for each line, so it may be renamed at any time; it is never shortened here
//! but for a line that the disk took only in part. All functions block.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, FlockOperation, StatVfs, StatVfsMountFlags};
use serde::{Deserialize, Serialize};

use crate::config::Activation;
use crate::model::DomainId;

/// Room there must be on the disk before anything is begun, in bytes.
const ROOM: u64 = 64 * 1024;
/// Times a file is opened again that was renamed under our hands.
const RENAMES: usize = 3;
/// How often, and after what pause, a file is asked for that somebody else has locked.
const LOCK_TRIES: usize = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Passwords of one computer that are of use, newest first.
const PASSWORDS: usize = 3;
/// Bytes read at the end of each file when looking for passwords.
const TAIL: u64 = 16 << 20;
/// The same when the newest lines are shown; a line has some 700.
const NEWEST: u64 = 256 << 10;
/// Files beside the log that it was renamed to: `amtactivation.log.1` and so on.
const OLDER: usize = 9;
/// Mode of the file: it holds passwords.
const MODE: u32 = 0o600;

/// Where the log of a domain is.
pub fn path(folder: &Path, domain: &DomainId, wanted: &Activation) -> PathBuf {
    let standard = || match domain.is_default() {
        true => "amtactivation.log".into(),
        false => format!("amtactivation-{domain}.log").into(),
    };
    folder.join(wanted.log.clone().unwrap_or_else(standard))
}

/// A line. Members that are `None` are left out; their order is MeshCentral's.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Line {
    /// ISO 8601, UTC, milliseconds.
    pub time: String,
    /// `acmactivate`, `acmactivate-tls`, `ccmactivate`, `amtpassword`, `setupbin`; with `-success`
    /// or `-failed` what came of it.
    pub action: String,
    /// The tenant; empty for the default one.
    pub domain: String,
    /// The account that asked for it, in lines of no computer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userid: Option<String>,
    /// The password of MEBx before, in clear text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldmebx: Option<String>,
    /// And after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newmebx: Option<String>,
    /// What firmware calls the root it is to trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootname: Option<String>,
    /// SHA-256 of that root, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The DNS suffix that is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<String>,
    /// UUID of the computer, with dashes; empty in lines of none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub amt_uuid: String,
    /// Hash of the root that was used, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_hash: Option<String>,
    /// `sha256`, `sha384` or `sha1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_type: Option<String>,
    /// `Digest:…`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amt_realm: Option<String>,
    /// The DNS suffix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amt_fqdn: Option<String>,
    /// `admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// In clear text: that is what the log is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Where the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipport: Option<String>,
    /// The device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodeid: Option<String>,
    /// Its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meshid: Option<String>,
    /// What the computer calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub computer_name: Option<String>,
    /// 0 in lines of admin control mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<u32>,
    /// What programs of 2019 were given for it: any text,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// and a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({} {} {})", self.time, self.action, self.amt_uuid)
    }
}

/// Whether a line could be written now. Makes no file: whoever checks the configuration may be
/// somebody else than who runs the server.
///
/// # Errors
/// Why not, naming the file.
pub fn probe(path: &Path) -> io::Result<()> {
    if path.exists() {
        return open(path).map(drop);
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let writable = rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK);
    writable.map_err(|error| named(path, error.into()))?;
    let disk = rustix::fs::statvfs(folder).map_err(|error| named(path, error.into()))?;
    has_room(&disk).map_err(|error| named(path, error))
}

/// Writes a line. When this returns, a power cut does not lose it.
///
/// # Errors
/// Why it is not on the disk; then nothing of it is, as far as the disk lets us.
pub fn append(path: &Path, line: &Line) -> io::Result<()> {
    let mut file = open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    let mut bytes = Vec::new();
    // Behind a line that a power cut has torn.
    if end > 0 && last_byte(&mut file)? != b'\n' {
        bytes.extend_from_slice(b"\r\n");
    }
    serde_json::to_writer(&mut bytes, line)?;
    bytes.extend_from_slice(b"\r\n");
    let written = file.write_all(&bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // A password that is given to nobody does no harm if this fails, too.
        let _ = file.set_len(end);
    }
    written.map_err(|error| named(path, error))
}

/// Passwords that were given to a computer, newest first, each once, three at most. It has to be the
/// same device, too: its UUID is only what it says. Files the log was renamed to are read as well;
/// what cannot be read is as if it were not there.
pub fn passwords(path: &Path, uuid: &str, node: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let older = (1..=OLDER).map(|n| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    });
    for file in std::iter::once(path.to_owned()).chain(older) {
        let Ok(text) = tail(&file, TAIL) else { break };
        let is_its = |line: &Line| {
            line.amt_uuid.eq_ignore_ascii_case(uuid) && line.nodeid.as_deref() == Some(node)
        };
        for line in lines(&text).rev().filter(is_its) {
            if let Some(password) = line.password
                && !found.contains(&password)
            {
                found.push(password);
            }
            if found.len() == PASSWORDS {
                return found;
            }
        }
    }
    found
}

/// The newest lines, newest first and without passwords, `count` at most.
pub fn newest(path: &Path, count: usize) -> Vec<Line> {
    let text = tail(path, NEWEST).unwrap_or_default();
    let newest = lines(&text).rev().take(count);
    let shown = |line| Line { password: None, oldmebx: None, newmebx: None, ..line };
    newest.map(shown).collect()
}

fn lines(text: &str) -> impl DoubleEndedIterator<Item = Line> {
    text.lines().filter(|line| line.starts_with('{')).filter_map(|l| serde_json::from_str(l).ok())
}

fn tail(path: &Path, most: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Opens the file for a line: alone, on a disk that has room.
fn open(path: &Path) -> io::Result<File> {
    let file = lock(path).map_err(|error| named(path, error))?;
    if file.metadata()?.is_file() {
        let disk = rustix::fs::fstatvfs(&file).map_err(|error| named(path, error.into()))?;
        has_room(&disk).map_err(|error| named(path, error))?;
    }
    Ok(file)
}

fn has_room(disk: &StatVfs) -> io::Result<()> {
    if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(io::ErrorKind::ReadOnlyFilesystem.into());
    }
    if disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

fn lock(path: &Path) -> io::Result<File> {
    for _ in 0..RENAMES {
        let is_new = !path.exists();
        let file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path)?;
        wait_for_lock(&file)?;
        let meta = file.metadata()?;
        // Whoever rotates logs may have renamed it while we waited.
        let current = path.metadata();
        if !current.is_ok_and(|now| (now.dev(), now.ino()) == (meta.dev(), meta.ino())) {
            continue;
        }
        if meta.is_file() && meta.mode() & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(MODE))?;
        }
        if let Some(folder) = path.parent().filter(|_| is_new) {
            File::open(folder)?.sync_all()?;
        }
        return Ok(file);
    }
    Err(io::Error::other("it is renamed again and again"))
}

fn wait_for_lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            other => return Ok(other?),
        }
    }
    Err(io::Error::other("another program holds it locked"))
}

fn last_byte(file: &mut File) -> io::Result<u8> {
    let mut last = [b'\n'];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last[0])
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amt::activation::testing::vector;

    const NODE: &str = "node//a";
    const UUID: &str = "03000200-0400-0500-0006-000700080009";

    fn line(uuid: &str, password: &str) -> Line {
        Line {
            action: "ccmactivate".into(),
            amt_uuid: uuid.into(),
            password: Some(password.into()),
            nodeid: Some(NODE.into()),
            ..Line::default()
        }
    }

    #[test]
    fn lines_are_those_of_the_reference() {
        let (vector, folder) = (vector("activation-acm-signature"), tempfile::tempdir().unwrap());
        let path = folder.path().join("a.log");
        let mut expected = String::new();
        for name in ["log_line_acm", "log_line_ccm"] {
            let text = vector[name].as_str().unwrap();
            append(&path, &serde_json::from_str(text).unwrap()).unwrap();
            expected += text;
            expected += "\r\n";
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn every_kind_of_line_has_the_members_of_the_reference_in_its_order() {
        // §4.7: action, then its members; what is in parentheses is more than MeshCentral writes.
        let of_computer = "time action domain amtUuid amtRealm user password ipport nodeid meshid \
                           computerName";
        for (action, members) in [
            (
                "acmactivate",
                "time action domain amtUuid certHash hashType amtRealm amtFqdn user password ipport \
                 nodeid meshid computerName agentId tag name",
            ),
            ("ccmactivate", of_computer),
            ("acmactivate-tls", of_computer),
            (
                "amtpassword",
                "time action domain amtUuid amtRealm user password (nodeid) computerName",
            ),
            ("setupbin", "time action domain userid oldmebx newmebx rootname hash dns"),
            ("ccmactivate-success", "time action domain amtUuid ipport meshid"),
            ("acmactivate-success", "time action domain amtUuid ipport meshid"),
            ("acmactivate-failed", "time action domain amtUuid ipport meshid"),
        ] {
            let member = |name: &str| {
                let name = name.trim_matches(['(', ')']);
                let value = match name {
                    "action" => format!("\"{action}\""),
                    "agentId" => "0".into(),
                    name => format!("\"a {name}\""),
                };
                format!("\"{name}\":{value}")
            };
            let members: Vec<_> = members.split_whitespace().map(member).collect();
            let text = format!("{{{}}}", members.join(","));
            let line: Line = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&line).unwrap(), text);
        }
    }

    #[test]
    fn the_file_of_a_domain_is_where_meshcentral_has_it() {
        let folder = Path::new("/data");
        let (standard, named) = (DomainId::default(), DomainId::new("lab").unwrap());
        let log = |name: &str| Activation { log: Some(name.into()), ..Activation::default() };
        for (domain, wanted, expected) in [
            (&standard, Activation::default(), "/data/amtactivation.log"),
            (&named, Activation::default(), "/data/amtactivation-lab.log"),
            (&named, log("x.log"), "/data/x.log"),
            (&standard, log("/var/log/x.log"), "/var/log/x.log"),
        ] {
            assert_eq!(path(folder, domain, &wanted), Path::new(expected));
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_says_why_and_which() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("nowhere/a.log");
        for path in [missing.as_path(), folder.path()] {
            let error = probe(path).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
            assert!(append(path, &line(UUID, "x")).is_err());
        }
        let full = append(Path::new("/dev/full"), &line(UUID, "x")).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_torn_line_and_a_renamed_file_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        append(&path, &line(UUID, "one")).unwrap();
        append(&path, &line("another", "other")).unwrap();
        std::fs::rename(&path, folder.path().join("a.log.1")).unwrap();
        append(&path, &line(UUID, "two")).unwrap();
        append(&path, &line(UUID, "one")).unwrap();
        let torn = OpenOptions::new().append(true).open(&path).unwrap().write(b"{\"time\":\"20");
        assert_eq!(torn.unwrap(), 11);
        append(&path, &line(&UUID.to_uppercase(), "three")).unwrap();
        assert_eq!(passwords(&path, UUID, NODE), ["three", "one", "two"]);
        assert_eq!(passwords(&path, "another", NODE), ["other"]);
        assert_eq!(passwords(&path, "nobody", NODE), [""; 0]);
        assert_eq!(passwords(&path, UUID, "node//b"), [""; 0], "another with the same UUID");
        for n in 0..3 {
            append(&path, &line(UUID, &format!("new {n}"))).unwrap();
        }
        assert_eq!(passwords(&path, UUID, NODE), ["new 2", "new 1", "new 0"]);
        let newest = newest(&path, 2);
        assert_eq!(newest.len(), 2);
        assert!(newest.iter().all(|line| line.password.is_none()), "shown without passwords");
    }

    #[test]
    fn a_file_that_others_may_read_is_closed_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::fs::write(&path, "{}\r\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        probe(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    }
}
