//! Certificate and key files in the data folder.
//!
//! PEM under MeshCentral's names (`webserver-cert-public.crt`, `webserver-cert-private.key`, and
//! `webserver-cert-chain1.crt`, … for intermediates). Never overwritten, but for the web
//! certificate by [`super::renew`]: a file that cannot be read or does not fit its partner is an
//! error that names it.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Issues the agent-server and MPS certificates.
    Root,
    /// Pinned by every agent.
    AgentServer,
    /// Presented to Intel AMT.
    Mps,
    /// Presented to Intel AMT that refuses RSA keys of 2048 bits. Made anew when it is not there.
    MpsLong,
    /// Presented to browsers and agents.
    Web,
}

impl Role {
    /// Every role whose files MeshCentral has, too.
    pub const ALL: [Self; 4] = [Self::Root, Self::AgentServer, Self::Mps, Self::Web];

    /// MeshCentral's file name stem.
    pub fn stem(self) -> &'static str {
        match self {
            Self::Root => "root-cert",
            Self::AgentServer => "agentserver-cert",
            Self::Mps => "mpsserver-cert",
            Self::MpsLong => "mpsserver3072-cert",
            Self::Web => "webserver-cert",
        }
    }

    /// The certificate file in `dir`.
    pub fn cert_path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{}-public.crt", self.stem()))
    }

    /// The private key file in `dir`.
    pub fn key_path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{}-private.key", self.stem()))
    }
}

/// Why the server has no identity.
#[derive(Debug)]
pub enum IdentityError {
    /// A file could not be read or written.
    Io(PathBuf, io::Error),
    /// A file is not what its name says.
    Invalid(PathBuf, String),
    /// One file of a pair is there, the other is not.
    Half(PathBuf),
    /// Devices are known, but the key they pin is gone.
    WouldOrphanAgents(PathBuf, usize),
    /// A key or certificate could not be made.
    Make(String),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Invalid(path, what) => write!(f, "{}: {what}", path.display()),
            Self::Half(path) => write!(
                f,
                "{} is missing while its partner is there; restore it, or move the partner away \
                 to have both made anew",
                path.display()
            ),
            Self::WouldOrphanAgents(path, devices) => write!(
                f,
                "{} is missing, but {devices} devices are known whose agents trust only that key. \
                 A new key would orphan every one of them. Restore the file from a backup; to \
                 start over instead, use another data folder",
                path.display()
            ),
            Self::Make(what) => write!(f, "cannot make a certificate: {what}"),
        }
    }
}

impl std::error::Error for IdentityError {}

/// A certificate with its chain and key, as read from disk.
pub(super) struct Pair {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// Reads the pair of `role`; `None` if neither file exists.
pub(super) fn read(dir: &Path, role: Role) -> Result<Option<Pair>, IdentityError> {
    let (cert_path, key_path) = (role.cert_path(dir), role.key_path(dir));
    match (cert_path.exists(), key_path.exists()) {
        (false, false) => return Ok(None),
        (true, false) => return Err(IdentityError::Half(key_path)),
        (false, true) => return Err(IdentityError::Half(cert_path)),
        (true, true) => {}
    }
    let mut chain = certificates(&cert_path)?;
    if chain.is_empty() {
        return Err(IdentityError::Invalid(cert_path, "no PEM certificate in it".into()));
    }
    for n in 1.. {
        let path = dir.join(format!("{}-chain{n}.crt", role.stem()));
        if !path.exists() {
            break;
        }
        chain.extend(certificates(&path)?);
    }
    let key = PrivateKeyDer::from_pem_file(&key_path)
        .map_err(|e| IdentityError::Invalid(key_path, format!("no usable PEM private key: {e}")))?;
    Ok(Some(Pair { chain, key }))
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let invalid = |e| IdentityError::Invalid(path.to_owned(), format!("not PEM: {e}"));
    CertificateDer::pem_file_iter(path).map_err(invalid)?.map(|c| c.map_err(invalid)).collect()
}

/// Writes a pair that does not exist yet, the key first and readable by the owner only.
pub(super) fn write(dir: &Path, role: Role, cert: &str, key: &str) -> Result<(), IdentityError> {
    create(&role.key_path(dir), key, 0o600)?;
    create(&role.cert_path(dir), cert, 0o644)
}

/// Replaces the certificate of a pair whose key stays.
pub(super) fn replace(dir: &Path, role: Role, cert: &str) -> Result<(), IdentityError> {
    create(&role.cert_path(dir), cert, 0o644)
}

/// Writes a file of secrets, whole or not at all, for its owner only.
pub fn write_private(path: &Path, text: &str) -> Result<(), IdentityError> {
    create(path, text, 0o600)
}

/// Creates `path` whole or not at all: a temporary file, synced, then renamed.
pub(super) fn create(path: &Path, text: &str, mode: u32) -> Result<(), IdentityError> {
    let io = |e| IdentityError::Io(path.to_owned(), e);
    let temporary = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(mode).open(&temporary).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
    fs::rename(&temporary, path).map_err(io)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|f| f.sync_all()).map_err(io)
}
