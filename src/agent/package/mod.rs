//! The stock agent package as the server uses it: executables, cores, install scripts, MeshCmd.
//!
//! [`install`] puts it into the data folder's `agents`, with an index of everything that would
//! have to be hashed; [`Package::open`] reads only that. Executables are streamed from disk. Cores
//! are loaded deflated when first needed and then shared: about 0.1 MB for a main core, 0.4 MB for
//! all nine.

mod images;
mod index;
mod outcome;
mod source;
mod staging;

pub mod binary;
pub mod cores;
pub mod install;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

pub use cores::CoreName;
pub use index::IndexError;

use super::kinds::{self, AgentKind};
use crate::model::Key48;
use crate::pool;
use images::{Scripts, inflate, read_script};
use index::{BinaryEntry, CoreEntry, Index};

/// The MeshCmd script, ready to be appended to an unsigned agent.
const MESHCMD_TRAILER: &str = "meshcmd.trailer";

/// Where a deflated core is; the folder itself without a name.
fn core_path(root: &Path, minified: bool, name: Option<CoreName>) -> PathBuf {
    let folder = root.join("cores").join(if minified { "minified" } else { "plain" });
    name.map_or_else(|| folder.clone(), |name| folder.join(format!("{}.deflate", name.as_str())))
}

fn zip_path(root: &Path, file: &str) -> PathBuf {
    root.join("zip").join(format!("{file}.zip"))
}

/// An installed package.
#[derive(Debug)]
pub struct Package {
    root: PathBuf,
    index: Index,
    minified: bool,
    /// Deflated cores that were needed so far; at most one per [`CoreName`].
    loaded: RefCell<BTreeMap<CoreName, Bytes>>,
}

/// A core image as agents are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core {
    /// Which one.
    pub name: CoreName,
    /// SHA-384 of the image, its four leading zero bytes included.
    pub hash: Key48,
    /// Length of the image in bytes.
    pub len: u32,
    /// Length of its raw-deflate form in bytes.
    pub deflated_len: u32,
}

/// An executable of the package, under one of its agent ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The agent id and what belongs to it.
    pub kind: &'static AgentKind,
    /// Where the file is.
    pub path: PathBuf,
    /// Length in bytes.
    pub size: u64,
    /// SHA-384 of the file as it is: what an agent checks that fetches its update by HTTPS.
    pub sha384: Key48,
    /// The normalised hash: what an agent reports of itself, and what ends a native update.
    pub agent_hash: Key48,
    /// The package's list of hashes has this file and agreed.
    pub verified: bool,
    /// The same file as a ZIP, for agents that can unpack their update.
    pub zip: Option<Zip>,
}

/// An update as a ZIP with one entry named `meshagent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zip {
    /// Where the file is.
    pub path: PathBuf,
    /// Length in bytes.
    pub size: u64,
    /// SHA-384 of the ZIP, which ends a native update.
    pub sha384: Key48,
}

/// MeshCmd for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeshCmd {
    /// A file of its own.
    Ready(Binary),
    /// An agent, followed by the script that makes it MeshCmd. Two files sent one after the other.
    Bundle {
        /// The agent.
        agent: Binary,
        /// The script with its length and GUID.
        trailer: PathBuf,
        /// Length of the trailer in bytes.
        trailer_len: u64,
    },
}

/// What an install script depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptOptions {
    /// Browsers and `wget` trust the server's certificate, so its check stays on.
    pub trusted_certificate: bool,
    /// Downloads bypass the machine's proxy.
    pub no_proxy: bool,
}

/// An install script as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Name the download is saved under.
    pub download_name: &'static str,
    /// The text, with LF line ends.
    pub text: String,
}

/// Why an installed package cannot be used.
#[derive(Debug)]
pub enum PackageError {
    /// A file cannot be read.
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The index cannot be used.
    Index {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        error: IndexError,
    },
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Index { path, error } => {
                write!(f, "{} {error}; run `meshboard agents install` again", path.display())
            }
        }
    }
}

impl std::error::Error for PackageError {}

impl Package {
    /// Opens the package in the data folder's `agents`; `None` if none is installed. `minified`
    /// chooses the minified cores (`minifyCore`).
    ///
    /// Reads the index only, a few KB. But if the data folder has a `meshcore.js`, which replaces
    /// the package's, its cores are composed here: some 50 ms, and 0.4 MB kept. As with
    /// MeshCentral, such a core has the modules beside it and no others.
    pub fn open(agents: &Path, minified: bool) -> Result<Option<Self>, PackageError> {
        let path = agents.join(index::FILE);
        let bytes = match read_bounded(&path, index::MAX_LEN) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(PackageError::Read { path, error }),
            Ok(bytes) => bytes,
        };
        let index = Index::decode(&bytes).map_err(|error| PackageError::Index { path, error })?;
        let loaded = RefCell::default();
        let mut package = Self { root: agents.to_owned(), index, minified, loaded };
        package.apply_override()?;
        Ok(Some(package))
    }

    fn apply_override(&mut self) -> Result<(), PackageError> {
        let Some(data) = self.root.parent() else { return Ok(()) };
        let path = data.join("meshcore.js");
        if !path.is_file() {
            return Ok(());
        }
        let scripts = Scripts { main: data, others: &self.root, minified: self.minified };
        let mut entries = Vec::new();
        let loaded = self.loaded.get_mut();
        scripts
            .compose(|name, image| {
                let (entry, deflated) = install::core_entry(name, self.minified, &image)?;
                entries.push(entry);
                loaded.insert(name, deflated.into());
                Ok(())
            })
            .map_err(|error| PackageError::Read { path, error })?;
        self.index.cores = entries;
        Ok(())
    }

    /// Version of the stock package, if it said so.
    pub fn version(&self) -> Option<&str> {
        self.index.version.as_deref()
    }

    /// What is known of a core; `None` if the package lacks it.
    pub fn core(&self, name: CoreName) -> Option<Core> {
        let CoreEntry { hash, len, deflated_len, .. } = *self.core_entry(name)?;
        Some(Core { name, hash, len, deflated_len })
    }

    fn core_entry(&self, name: CoreName) -> Option<&CoreEntry> {
        self.index.core(name, self.minified)
    }

    /// The raw-deflate form of a core, for command 20. Loaded in the blocking pool at first need,
    /// shared from then on.
    ///
    /// # Errors
    /// The package lacks the core, or its file is gone or damaged.
    pub async fn deflated(&self, name: CoreName) -> io::Result<Bytes> {
        let known = self.loaded.borrow().get(&name).cloned();
        if let Some(bytes) = known {
            return Ok(bytes);
        }
        let entry = self.core_entry(name).ok_or(io::ErrorKind::NotFound)?;
        let path = core_path(&self.root, entry.minified, Some(name));
        let (len, crc) = (entry.deflated_len, entry.deflated_crc);
        let bytes = pool::unblock(move || {
            let bytes = read_bounded(&path, u64::from(len))?;
            if bytes.len() as u64 == u64::from(len) && crc32c::crc32c(&bytes) == crc {
                Ok(Bytes::from(bytes))
            } else {
                Err(io::Error::other(format!("{} is damaged", path.display())))
            }
        })
        .await?;
        self.loaded.borrow_mut().insert(name, bytes.clone());
        Ok(bytes)
    }

    /// The image of a core, for command 10 (agents that cannot inflate). Inflated in the blocking
    /// pool each time, about 0.6 MB: never kept.
    ///
    /// # Errors
    /// As [`Self::deflated`].
    pub async fn image(&self, name: CoreName) -> io::Result<Bytes> {
        let len = self.core_entry(name).ok_or(io::ErrorKind::NotFound)?.len;
        let deflated = self.deflated(name).await?;
        pool::unblock(move || inflate(&deflated, len).map(Bytes::from)).await
    }

    /// The executable of an agent id; `None` if it is not installed.
    pub fn binary(&self, id: u32) -> Option<Binary> {
        self.binary_of(kinds::find(id)?)
    }

    fn binary_of(&self, kind: &'static AgentKind) -> Option<Binary> {
        let file = kind.file?;
        let BinaryEntry { size, sha384, agent_hash, verified, ref zip, .. } =
            *self.index.binary(file)?;
        let zip = zip.as_ref().map(|zip| Zip {
            path: zip_path(&self.root, file),
            size: zip.size,
            sha384: zip.sha384,
        });
        let path = self.root.join(file);
        Some(Binary { kind, path, size, sha384, agent_hash, verified, zip })
    }

    /// Every installed agent id, ascending.
    pub fn list(&self) -> impl Iterator<Item = Binary> {
        kinds::shipped().filter_map(|kind| self.binary_of(kind))
    }

    /// Whether an agent that reports `hash` needs no update; `None` if there is nothing to compare
    /// with. All zero means "never update me"; on macOS the universal binary will do as well.
    pub fn is_current(&self, id: u32, hash: &Key48) -> Option<bool> {
        let own = self.binary(id)?;
        let universal = if matches!(id, 16 | 29) { self.binary(10005) } else { None };
        let hashes = [Some(own), universal].into_iter().flatten().map(|binary| binary.agent_hash);
        Some(*hash == Key48::ZERO || hashes.into_iter().any(|known| known == *hash))
    }

    /// MeshCmd for the platform of an agent id: a file of its own on Windows, else an agent with
    /// the script behind it.
    pub fn meshcmd(&self, id: u32) -> Option<MeshCmd> {
        let ready = match id {
            3 => self.binary(11000),
            4 => self.binary(11001),
            43 => self.binary(11002),
            _ => None,
        };
        if let Some(ready) = ready {
            return Some(MeshCmd::Ready(ready));
        }
        Some(MeshCmd::Bundle {
            agent: self.binary(id)?,
            trailer: self.root.join(MESHCMD_TRAILER),
            trailer_len: self.index.meshcmd?,
        })
    }

    /// An install script with its placeholders filled in: 1 `meshinstall.sh`, 2 init.d, 5 BSD
    /// rc.d, 6 the graphical installer. `None` for other numbers. Reads a file of a few KB.
    ///
    /// # Errors
    /// The script cannot be read.
    pub fn script(&self, number: u32, options: ScriptOptions) -> io::Result<Option<Script>> {
        let (file, download_name) = match number {
            1 => ("meshinstall-linux.sh", "meshinstall.sh"),
            2 => ("meshinstall-initd.sh", "meshagent"),
            5 => ("meshinstall-bsd-rcd.sh", "meshagent"),
            6 => ("meshinstall-linux.js", "meshinstall.js"),
            _ => return Ok(None),
        };
        let Some(content) = read_script(&self.root.join(file))? else { return Ok(None) };
        let text = options.fill(&String::from_utf8_lossy(&content));
        Ok(Some(Script { download_name, text }))
    }
}

impl ScriptOptions {
    fn fill(self, template: &str) -> String {
        let pick = |condition: bool, text: &'static str| if condition { text } else { "" };
        let wget_https = pick(!self.trusted_certificate, "--no-check-certificate ");
        let curl_https = pick(!self.trusted_certificate, "-k ");
        let wget_proxy = pick(self.no_proxy, "--no-proxy ");
        let curl_proxy = pick(self.no_proxy, "--noproxy '*' ");
        template
            .replace("\r\n", "\n")
            .replace("{{{wgetoptionshttp}}}", wget_proxy)
            .replace("{{{wgetoptionshttps}}}", &format!("{wget_https}{wget_proxy}"))
            .replace("{{{curloptionshttp}}}", &format!("-L {curl_proxy}"))
            .replace("{{{curloptionshttps}}}", &format!("-L {curl_https}{curl_proxy}"))
    }
}

/// A whole file of at most `max` bytes; a longer one is an error.
fn read_bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other("longer than it can be"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_follow_certificate_and_proxy() {
        let template = "w {{{wgetoptionshttp}}}|{{{wgetoptionshttps}}}|\r\n\
                        c {{{curloptionshttp}}}|{{{curloptionshttps}}}|\r\n";
        let fill = |trusted_certificate, no_proxy| {
            ScriptOptions { trusted_certificate, no_proxy }.fill(template)
        };
        assert_eq!(fill(false, false), "w |--no-check-certificate |\nc -L |-L -k |\n");
        assert_eq!(fill(true, false), "w ||\nc -L |-L |\n");
        assert_eq!(
            fill(false, true),
            "w --no-proxy |--no-check-certificate --no-proxy |\n\
             c -L --noproxy '*' |-L -k --noproxy '*' |\n"
        );
    }

    #[test]
    fn without_a_package_there_is_none_and_a_broken_one_is_an_error() {
        let data = tempfile::tempdir().unwrap();
        assert!(Package::open(&data.path().join("agents"), false).unwrap().is_none());
        std::fs::write(data.path().join(index::FILE), "not an index").unwrap();
        let error = Package::open(data.path(), false).unwrap_err();
        assert!(error.to_string().contains("meshboard agents install"), "{error}");
    }
}
