//! The files of a `meshcentral-data` folder that are taken over as they are.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ImportError;
use super::nedb::Keys;
use crate::identity::Role;
use crate::model::order;

/// Longest `config.json` that is read.
const CONFIG_MAX: u64 = 4 << 20;
/// Highest number of an intermediate certificate, `webserver-cert-chain9.crt`.
const CHAIN_MAX: u8 = 9;

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ImportError {
    let path = path.to_owned();
    |error| ImportError::Io(path, error)
}

/// The keys of the database, from the passphrases in the folder's `config.json`.
pub(super) fn database_keys(source: &Path) -> Result<Keys, ImportError> {
    let path = source.join("config.json");
    let text = match fs::metadata(&path) {
        Ok(metadata) if metadata.len() <= CONFIG_MAX => {
            fs::read_to_string(&path).map_err(io_error(&path))?
        }
        Ok(_) => String::new(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(io_error(&path)(error)),
    };
    let config: Value =
        serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap_or_default();
    let setting = |name: &str| member(member(&config, "settings")?, name)?.as_str();
    Ok(Keys::new(setting("dbencryptkey"), setting("dbrecordsencryptkey")))
}

/// A member by its name in lower case.
fn member<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    object.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v)
}

/// One file to be copied.
struct Step {
    from: PathBuf,
    to: PathBuf,
    /// Whether another file lies there, which is put aside first.
    replaces: bool,
}

/// What is to be copied.
pub(super) struct Plan(Vec<Step>);

/// Compares both folders. Certificates that devices here already pin are never replaced.
pub(super) fn plan(source: &Path, data: &Path, devices: usize) -> Result<Plan, ImportError> {
    let mut steps = Vec::new();
    let same_folder = match (source.canonicalize(), data.canonicalize()) {
        (Ok(source), Ok(data)) => source == data,
        _ => false,
    };
    if same_folder {
        return Ok(Plan(steps));
    }
    for name in names() {
        let (from, to) = (source.join(&name), data.join(&name));
        if !from.is_file() {
            continue;
        }
        let replaces = match fs::read(&to) {
            Ok(ours) if ours == fs::read(&from).map_err(io_error(&from))? => continue,
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(io_error(&to)(error)),
        };
        if replaces && devices > 0 {
            if to == Role::AgentServer.cert_path(data) {
                return Err(ImportError::OtherServer { file: to, devices });
            }
            // The rest of a server that is in use stays as it is.
            continue;
        }
        steps.push(Step { from, to, replaces });
    }
    Ok(Plan(steps))
}

/// Certificates, their keys and intermediates, and the configuration.
fn names() -> BTreeSet<PathBuf> {
    let mut names: BTreeSet<_> = order::gather([PathBuf::from("config.json")]);
    for role in Role::ALL {
        names.insert(role.cert_path(Path::new("")));
        names.insert(role.key_path(Path::new("")));
        names.extend((1..=CHAIN_MAX).map(|n| format!("{}-chain{n}.crt", role.stem()).into()));
    }
    names
}

impl Plan {
    /// Copies, unless it is only asked for; says what was or would be done.
    pub(super) fn perform(self, dry_run: bool) -> Result<Vec<String>, ImportError> {
        let mut done = Vec::new();
        for Step { from, to, replaces } in self.0 {
            let mut text = format!("{} is taken over", to.display());
            if replaces {
                text += "; the one that was there gets the ending .before-import";
            }
            done.push(text);
            if dry_run {
                continue;
            }
            if replaces {
                let aside = PathBuf::from(format!("{}.before-import", to.display()));
                fs::rename(&to, &aside).map_err(io_error(&aside))?;
            }
            copy(&from, &to).map_err(io_error(&to))?;
        }
        Ok(done)
    }
}

/// Copies with the permissions of a secret, to the disk.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    fs::copy(from, &part)?;
    fs::set_permissions(&part, fs::Permissions::from_mode(0o600))?;
    fs::File::open(&part)?.sync_all()?;
    fs::rename(&part, to)?;
    to.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}
