//! Installs the stock agent package into the data folder.
//!
//! Everything is copied into a folder beside `agents`, verified against the package's own
//! `hashagents.json`, and prepared (cores composed and deflated, executables hashed and zipped)
//! so that the server starts without hashing anything. Then the folder takes its place in one
//! step: an installation that fails changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::binary::{Digests, finish, script_trailer};
use super::cores::compose_meshcmd;
use super::images::{Scripts, deflate, read_modules, read_script};
use super::index::{self, BinaryEntry, CoreEntry, Index, ZipEntry};
use super::source::{PACKAGE_JSON, take};
use super::staging::{Staging, sync_folder};
use super::{MESHCMD_TRAILER, core_path, zip_path};
use crate::agent::kinds::{self, AgentKind};
use crate::model::Key48;
use crate::model::order;

pub use super::outcome::{InstallError, Progress};

/// What was installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Version of the stock package, if it said so.
    pub version: Option<String>,
    /// The executables, by file name.
    pub binaries: Vec<Installed>,
    /// How many core images were composed, plain and minified.
    pub cores: usize,
    /// Where a folder that was not ours is now; its files were left alone.
    pub kept: Option<PathBuf>,
}

/// One installed executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Name in the `agents` folder.
    pub file: String,
    /// Length in bytes.
    pub size: u64,
    /// The package's list of hashes has the file. Some files it does not list, such as Windows
    /// ARM64 and MeshCmd; they are taken as they are.
    pub verified: bool,
}

/// Installs the package at `from` (a tarball of `npm pack meshcentral`, an unpacked one, an
/// installation, or an `agents` folder) as the folder `agents`, whose parent must exist.
///
/// `only` limits the executables; without it every known one in the package is taken. An earlier
/// installation is replaced as a whole; a folder that is not ours is kept beside it. Takes seconds
/// to minutes and blocks: not for the executor thread.
pub fn install(
    from: &Path,
    agents: &Path,
    only: Option<&[&'static AgentKind]>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Summary, InstallError> {
    let wanted: BTreeSet<&'static str> = match only {
        Some(kinds) => order::gather(kinds.iter().filter_map(|kind| kind.file)),
        None => order::gather(kinds::shipped().filter_map(|kind| kind.file)),
    };
    let write_error = |error| InstallError::Write { path: agents.to_owned(), error };
    let keep_old = is_foreign(agents).map_err(write_error)?;
    let staging = Staging::new(agents).map_err(write_error)?;
    let root = staging.path();
    take(from, &wanted, root, progress)?;
    for missing in ["meshcore.js", "hashagents.json"] {
        if !root.join(missing).exists() {
            return Err(InstallError::NotAPackage { path: from.to_owned(), missing });
        }
    }
    if only.is_some()
        && let Some(file) = wanted.iter().find(|file| !root.join(file).exists())
    {
        return Err(InstallError::Missing { file });
    }

    let binaries = prepare_binaries(root, &wanted, progress)?;
    progress(Progress::Cores);
    let version = read_version(root);
    let index = Index {
        cores: prepare_cores(root).map_err(write_error)?,
        meshcmd: prepare_meshcmd(root, version.as_deref()).map_err(write_error)?,
        binaries,
        version,
    };
    let bytes = index.encode().map_err(|error| write_error(io::Error::other(error)))?;
    write_durably(&root.join(index::FILE), &bytes).map_err(write_error)?;
    let kept = sync_below(root).and_then(|()| staging.commit(keep_old)).map_err(write_error)?;
    let installed = |entry: BinaryEntry| {
        let BinaryEntry { file, size, verified, .. } = entry;
        Installed { file, size, verified }
    };
    Ok(Summary {
        version: index.version,
        cores: index.cores.len(),
        binaries: index.binaries.into_iter().map(installed).collect(),
        kept,
    })
}

/// True if something that we did not install stands in the place.
fn is_foreign(agents: &Path) -> io::Result<bool> {
    match fs::read_dir(agents) {
        Ok(mut entries) => Ok(entries.next().is_some() && !agents.join(index::FILE).exists()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// One entry of `hashagents.json`; its key is an agent id.
#[derive(Deserialize)]
struct Listed {
    filename: String,
    /// The normalised hash in hexadecimal.
    hash: String,
    size: u64,
}

/// Hashes, verifies and zips the executables that were taken.
fn prepare_binaries(
    root: &Path,
    wanted: &BTreeSet<&'static str>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<BinaryEntry>, InstallError> {
    let listed = read_hashes(root)?;
    let zips = root.join("zip");
    fs::create_dir(&zips).map_err(|error| InstallError::Write { path: zips, error })?;
    let files: Vec<_> = wanted.iter().copied().filter(|file| root.join(file).exists()).collect();
    let mut entries = Vec::with_capacity(files.len());
    for (at, file) in files.iter().copied().enumerate() {
        progress(Progress::Binary { file, number: at + 1, count: files.len() });
        let path = root.join(file);
        let failed = |error| InstallError::Write { path: path.clone(), error };
        let digests =
            File::open(&path).and_then(|mut binary| Digests::read(&mut binary)).map_err(failed)?;
        if let Some(listed) = listed.get(file) {
            verify(listed, &digests)
                .map_err(|reason| InstallError::Damaged { file: file.to_owned(), reason })?;
        }
        let updates = kinds::shipped().any(|kind| kind.file == Some(file) && kind.self_update);
        let zip = if updates {
            Some(compress(&path, &zip_path(root, file)).map_err(failed)?)
        } else {
            None
        };
        entries.push(BinaryEntry {
            file: file.to_owned(),
            size: digests.size,
            sha384: digests.raw,
            agent_hash: digests.agent,
            verified: listed.contains_key(file),
            zip,
        });
    }
    Ok(entries)
}

/// The package's list of hashes, by file name.
fn read_hashes(root: &Path) -> Result<BTreeMap<String, Listed>, InstallError> {
    const FILE: &str = "hashagents.json";
    let damaged = |reason: String| InstallError::Damaged { file: FILE.to_owned(), reason };
    let json = read_script(&root.join(FILE)).map_err(|error| damaged(error.to_string()))?;
    let by_id: BTreeMap<String, Listed> = serde_json::from_slice(&json.unwrap_or_default())
        .map_err(|error| damaged(error.to_string()))?;
    Ok(order::gather(by_id.into_values().map(|listed| (listed.filename.clone(), listed))))
}

fn verify(listed: &Listed, found: &Digests) -> Result<(), String> {
    if listed.size != found.size {
        return Err(format!("it has {} bytes, hashagents.json says {}", found.size, listed.size));
    }
    if !listed.hash.eq_ignore_ascii_case(&found.agent.hex()) {
        return Err(format!(
            "its SHA-384 is {}, hashagents.json says {}",
            found.agent.hex(),
            listed.hash
        ));
    }
    Ok(())
}

/// Writes the update payload for agents that unpack ZIP: one entry named `meshagent`. The same
/// executable always gives the same bytes.
fn compress(binary: &Path, path: &Path) -> io::Result<ZipEntry> {
    let options = zip::write::SimpleFileOptions::DEFAULT
        .compression_method(zip::CompressionMethod::Deflated)
        .compression_level(Some(9))
        .unix_permissions(0o755);
    let mut zip = zip::ZipWriter::new(BufWriter::new(File::create_new(path)?));
    zip.start_file("meshagent", options)?;
    io::copy(&mut BufReader::with_capacity(64 * 1024, File::open(binary)?), &mut zip)?;
    let file = zip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    drop(file);
    let digests = Digests::read(&mut File::open(path)?)?;
    Ok(ZipEntry { size: digests.size, sha384: digests.raw })
}

/// Composes, hashes and deflates the cores, plain and minified.
fn prepare_cores(root: &Path) -> io::Result<Vec<CoreEntry>> {
    let mut entries = Vec::new();
    for minified in [false, true] {
        if minified && !root.join("meshcore.min.js").exists() {
            continue;
        }
        fs::create_dir_all(core_path(root, minified, None))?;
        let scripts = Scripts { main: root, others: root, minified };
        scripts.compose(|name, image| {
            let (entry, deflated) = core_entry(name, minified, &image)?;
            write_durably(&core_path(root, minified, Some(name)), &deflated)?;
            entries.push(entry);
            Ok(())
        })?;
    }
    Ok(entries)
}

/// Describes an image; also returns its deflated form.
pub(super) fn core_entry(
    name: super::CoreName,
    minified: bool,
    image: &[u8],
) -> io::Result<(CoreEntry, Vec<u8>)> {
    let deflated = deflate(image)?;
    let entry = CoreEntry {
        name,
        minified,
        hash: sha384(image),
        len: u32::try_from(image.len()).map_err(io::Error::other)?,
        deflated_len: u32::try_from(deflated.len()).map_err(io::Error::other)?,
        deflated_crc: crc32c::crc32c(&deflated),
    };
    Ok((entry, deflated))
}

fn sha384(bytes: &[u8]) -> Key48 {
    let mut context = ring::digest::Context::new(&ring::digest::SHA384);
    context.update(bytes);
    finish(context)
}

/// Composes MeshCmd as it is appended to an unsigned agent; its length, if the package has it.
fn prepare_meshcmd(root: &Path, version: Option<&str>) -> io::Result<Option<u64>> {
    let Some(body) = read_script(&root.join("meshcmd.js"))? else { return Ok(None) };
    let modules = read_modules(&root.join("modules_meshcmd"))?.unwrap_or_default();
    let script = compose_meshcmd(&modules, &body, version);
    let trailer = script_trailer(&script).map_err(io::Error::other)?;
    write_durably(&root.join(MESHCMD_TRAILER), &trailer)?;
    Ok(Some(trailer.len() as u64))
}

/// The version in `package.json`, if it looks like one.
fn read_version(root: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Description {
        version: String,
    }
    let json = read_script(&root.join(PACKAGE_JSON)).ok()??;
    let version = serde_json::from_slice::<Description>(&json).ok()?.version;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    (version.len() <= 64 && version.chars().all(plain)).then_some(version)
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the entries of the new folders durable; their files already are.
fn sync_below(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_below(&path)?;
        }
    }
    sync_folder(root)
}
