//! Takes the wanted files out of a stock package: a tarball, or a folder that holds one.
//!
//! Only names known in advance are taken, so a path in a tarball can lead nowhere else. Each file
//! and the whole have size bounds, and anything but a regular file under such a name is refused.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::model::order;

use super::outcome::{InstallError, Progress};

/// Longest executable; the longest stock one has 9 MB.
const MAX_BINARY: u64 = 64 * 1024 * 1024;
/// Longest script or module.
pub(super) const MAX_SCRIPT: u64 = 4 * 1024 * 1024;
/// Most modules in one folder.
pub(super) const MAX_MODULES: usize = 256;
/// Longest tarball once unpacked; the stock one has 425 MB.
const MAX_UNPACKED: u64 = 2 * 1024 * 1024 * 1024;

/// Files of the `agents` folder besides the executables.
const SCRIPTS: [&str; 12] = [
    "agent-translations.json",
    "hashagents.json",
    "meshcmd.js",
    "meshcore.js",
    "meshcore.min.js",
    "meshcore_diagnostic.js",
    "meshinstall-bsd-rcd.sh",
    "meshinstall-initd.sh",
    "meshinstall-linux.js",
    "meshinstall-linux.sh",
    "recoverycore.js",
    "tinycore.js",
];
/// Its folders of modules.
const MODULE_FOLDERS: [&str; 3] = ["modules_meshcmd", "modules_meshcore", "modules_meshcore_min"];
/// The package's own description, which states its version.
pub(super) const PACKAGE_JSON: &str = "package.json";

/// Copies the wanted files below `into`: scripts, modules, `package.json` and the executables in
/// `binaries`. Files the package lacks are left out.
pub(super) fn take(
    from: &Path,
    binaries: &BTreeSet<&str>,
    into: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), InstallError> {
    for folder in MODULE_FOLDERS {
        let path = into.join(folder);
        fs::create_dir(&path).map_err(|error| InstallError::Write { path, error })?;
    }
    let sink = Sink { binaries, into };
    let read_error = |error| InstallError::Read { path: from.to_owned(), error };
    if fs::metadata(from).map_err(read_error)?.is_dir() {
        take_folder(from, &sink, progress)
    } else {
        take_tarball(from, &sink, progress)
    }
}

/// Where wanted files go.
struct Sink<'a> {
    binaries: &'a BTreeSet<&'a str>,
    into: &'a Path,
}

impl Sink<'_> {
    /// The size bound of a wanted file, by its path inside the `agents` folder.
    fn limit(&self, name: &str) -> Option<u64> {
        if SCRIPTS.contains(&name) || name == PACKAGE_JSON {
            return Some(MAX_SCRIPT);
        }
        if self.binaries.contains(name) {
            return Some(MAX_BINARY);
        }
        let (folder, file) = name.split_once('/')?;
        (MODULE_FOLDERS.contains(&folder) && is_module(file)).then_some(MAX_SCRIPT)
    }

    /// Writes one file and makes it durable.
    fn write(&self, name: &str, limit: u64, content: &mut dyn Read) -> Result<(), InstallError> {
        let path = self.into.join(name);
        let copied =
            OpenOptions::new().write(true).create_new(true).open(&path).and_then(|mut file| {
                let copied = io::copy(&mut content.take(limit + 1), &mut file)?;
                file.sync_all()?;
                Ok(copied)
            });
        match copied {
            Ok(copied) if copied > limit => {
                Err(InstallError::TooLarge { name: name.to_owned(), limit })
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(InstallError::Twice { name: name.to_owned() })
            }
            Err(error) => Err(InstallError::Write { path, error }),
        }
    }
}

/// A plain name of a script or of texts, without a path.
pub(super) fn is_module(file: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    let lower = file.to_ascii_lowercase();
    !file.starts_with('.')
        && file.len() <= 100
        && file.bytes().all(plain)
        && (lower.ends_with(".js") || lower.ends_with(".json"))
}

fn take_tarball(
    from: &Path,
    sink: &Sink<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), InstallError> {
    let read_error = |error| InstallError::Read { path: from.to_owned(), error };
    let file = File::open(from).map_err(read_error)?;
    let total = file.metadata().map_err(read_error)?.len();
    let done = std::cell::Cell::new(0);
    let counted = Counted { inner: file, done: &done };
    let unpacked = MultiGzDecoder::new(BufReader::with_capacity(64 * 1024, counted));
    let mut archive = tar::Archive::new(unpacked.take(MAX_UNPACKED));
    // Raw: extension headers are entries like others and are skipped, never read into memory.
    for entry in archive.entries().map_err(read_error)?.raw(true) {
        let mut entry = entry.map_err(read_error)?;
        progress(Progress::Reading { done: done.get(), total });
        let path = entry.path_bytes().into_owned();
        let Some((name, limit)) = str::from_utf8(&path)
            .ok()
            .and_then(inside_agents)
            .and_then(|name| Some((name, sink.limit(name)?)))
        else {
            continue;
        };
        if !entry.header().entry_type().is_file() {
            return Err(InstallError::NotAFile { name: name.to_owned() });
        }
        if entry.size() > limit {
            return Err(InstallError::TooLarge { name: name.to_owned(), limit });
        }
        let size = entry.size();
        let mut content = Exactly { inner: &mut entry, left: size };
        sink.write(name, limit, &mut content)?;
    }
    // What follows the archive is read as well: only gzip's last bytes tell whether all is whole.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(read_error)?;
    if rest.limit() == 0 {
        return Err(InstallError::TooLarge { name: "the archive".into(), limit: MAX_UNPACKED });
    }
    progress(Progress::Reading { done: total, total });
    Ok(())
}

/// A tarball's path (`package/agents/meshcore.js`) as seen from its `agents` folder.
fn inside_agents(path: &str) -> Option<&str> {
    let (_root, path) = path.strip_prefix("./").unwrap_or(path).split_once('/')?;
    path.strip_prefix("agents/").or((path == PACKAGE_JSON).then_some(path))
}

/// Reads a file of known length; a shorter one is an error, not a short copy.
struct Exactly<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.saturating_sub(count as u64);
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(count)
    }
}

/// Counts the bytes read from a tarball, for the progress.
struct Counted<'a, R> {
    inner: R,
    done: &'a std::cell::Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done.set(self.done.get() + count as u64);
        Ok(count)
    }
}

fn take_folder(
    from: &Path,
    sink: &Sink<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), InstallError> {
    let agents = find_agents(from).ok_or_else(|| InstallError::NotAPackage {
        path: from.to_owned(),
        missing: "meshcore.js",
    })?;
    let mut names: Vec<String> = SCRIPTS.iter().chain(sink.binaries).map(|&n| n.into()).collect();
    for folder in MODULE_FOLDERS {
        names.extend(
            module_names(&agents.join(folder))?.into_iter().map(|file| format!("{folder}/{file}")),
        );
    }
    let total = names.len() as u64;
    for (done, name) in names.iter().enumerate() {
        progress(Progress::Reading { done: done as u64, total });
        take_file(&agents.join(name), name, sink)?;
    }
    // The package's description is beside its `agents` folder, ours inside.
    let outside = agents.join("..").join(PACKAGE_JSON);
    let inside = agents.join(PACKAGE_JSON);
    take_file(if inside.exists() { &inside } else { &outside }, PACKAGE_JSON, sink)?;
    progress(Progress::Reading { done: total, total });
    Ok(())
}

/// The `agents` folder of an unpacked package, of an installation, or the folder itself.
fn find_agents(from: &Path) -> Option<PathBuf> {
    ["", "agents", "package/agents", "node_modules/meshcentral/agents"]
        .iter()
        .map(|place| from.join(place))
        .find(|folder| folder.join("meshcore.js").is_file())
}

fn take_file(path: &Path, name: &str, sink: &Sink<'_>) -> Result<(), InstallError> {
    let read_error = |error| InstallError::Read { path: path.to_owned(), error };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(read_error(error)),
    };
    if !metadata.is_file() {
        return Err(InstallError::NotAFile { name: name.to_owned() });
    }
    let Some(limit) = sink.limit(name) else { return Ok(()) };
    if metadata.len() > limit {
        return Err(InstallError::TooLarge { name: name.to_owned(), limit });
    }
    let file = File::open(path).map_err(read_error)?;
    sink.write(name, limit, &mut Exactly { inner: file, left: metadata.len() })
}

/// The module files in a folder, sorted; none if there is no such folder.
pub(super) fn module_names(folder: &Path) -> Result<Vec<String>, InstallError> {
    let read_error = |error| InstallError::Read { path: folder.to_owned(), error };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read_error(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(read_error)?.file_name();
        names.extend(name.to_str().filter(|name| is_module(name)).map(str::to_owned));
    }
    order::sort_by(&mut names, Ord::cmp);
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_module_names_are_taken() {
        for name in ["amt.js", "amt-lme.min.js", "Texts.json", "smbios.JS"] {
            assert!(is_module(name), "{name}");
        }
        for name in ["", ".js", "../a.js", "a/b.js", "a\\b.js", "a.sh", "ä.js", "a\n.js"] {
            assert!(!is_module(name), "{name:?}");
        }
    }

    #[test]
    fn paths_are_seen_from_the_agents_folder() {
        for (path, name) in [
            ("package/agents/meshcore.js", Some("meshcore.js")),
            ("./meshcentral-1.1/agents/modules_meshcore/a.js", Some("modules_meshcore/a.js")),
            ("package/package.json", Some("package.json")),
            ("package/views/agents/meshcore.js", None),
            ("package/views/package.json", None),
            ("meshcore.js", None),
        ] {
            assert_eq!(inside_agents(path), name, "{path}");
        }
    }
}
