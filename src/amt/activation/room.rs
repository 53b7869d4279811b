//! What activations share: the certificates in force, what is wrong with them, and where the log is.
//!
//! Files are read in the pool, at the start, when the configuration is read again, and when one of
//! them has changed. What cannot be used is left out and said; nothing here stops the server.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_executor::LocalExecutor;
use async_io::Timer;

use super::certificate::{self, Certificate, Hashes, Loaded};
use super::state::State;
use super::{log, visit};
use crate::config::{Activation, CertificateFiles, Config};
use crate::hub::{Hub, TunnelKind};
use crate::identity;
use crate::model::{DomainId, Millis, NodeId};

/// How often the files are looked at.
const WATCH: Duration = Duration::from_secs(30);
/// Computers looked after at a time; the others wait.
const VISITS: usize = 32;
/// Certificates of our own root that are kept, 3 KB each: their keys take seconds on a board.
const ISSUED: usize = 8;

/// The room of one server.
pub struct Room {
    hub: Rc<Hub>,
    folder: PathBuf,
    domains: RefCell<BTreeMap<DomainId, Rc<Equipment>>>,
    /// Certificates of our own root, by DNS suffix.
    issued: RefCell<BTreeMap<String, Arc<Certificate>>>,
    /// Devices somebody looks after at the moment.
    visited: RefCell<BTreeSet<NodeId>>,
}

/// The right to look after a device; one at a time.
pub(super) struct Seat {
    room: Rc<Room>,
    node: NodeId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.visited.borrow_mut().remove(&self.node);
    }
}

/// What a domain activates with.
#[derive(Default)]
pub struct Equipment {
    /// Certificates, in the order of the configuration.
    pub certificates: Vec<Arc<Certificate>>,
    /// What the owner should know, as sentences.
    pub warnings: Vec<String>,
    /// The activation log.
    pub log: PathBuf,
}

impl Equipment {
    /// Reads the files of a domain and tries the log. Blocks: call it in the pool. With neither
    /// certificates nor a `log` the log is not made before there is something to write.
    pub fn read(folder: &Path, domain: &DomainId, wanted: &Activation, now: Millis) -> Self {
        let Loaded { certificates, mut warnings } = certificate::load(folder, wanted, now);
        let log = log::path(folder, domain, wanted);
        let is_used = wanted.log.is_some() || !wanted.certificates.is_empty() || log.exists();
        if is_used && let Err(error) = log::probe(&log) {
            warnings.push(format!(
                "The Intel AMT activation log cannot be written, so nothing is activated: {error}"
            ));
        }
        let certificates = certificates.into_iter().map(Arc::new).collect();
        Self { certificates, warnings, log }
    }

    /// The domains certificates are for, each once (`amtAcmFqdn`).
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for certificate in &self.certificates {
            if !names.contains(&certificate.domain.as_str()) {
                names.push(&certificate.domain);
            }
        }
        names
    }
}

impl Room {
    /// A room without certificates. `folder` is the data folder.
    pub fn new(hub: Rc<Hub>, folder: &Path) -> Rc<Self> {
        Rc::new(Self {
            hub,
            folder: folder.to_owned(),
            domains: RefCell::default(),
            issued: RefCell::default(),
            visited: RefCell::default(),
        })
    }

    /// Looks after every computer whose program brings its firmware here, from now on.
    pub fn attend(self: &Rc<Self>, executor: &Rc<LocalExecutor<'static>>) {
        let (room, executor) = (Rc::downgrade(self), executor.clone());
        self.hub.watch_amt_tunnels(move |tunnel| {
            if let (TunnelKind::Lms, Some(room)) = (tunnel.kind, room.upgrade()) {
                let visit: Pin<Box<dyn Future<Output = ()>>> =
                    Box::pin(visit::run(room, tunnel.clone()));
                executor.spawn(visit).detach();
            }
        });
    }

    /// The right to look after a device. `None` if somebody does, or too many are looked after.
    pub(super) fn seat(self: &Rc<Self>, node: &NodeId) -> Option<Seat> {
        let mut visited = self.visited.borrow_mut();
        let is_free = visited.len() < VISITS && visited.insert(node.clone());
        is_free.then(|| Seat { room: self.clone(), node: node.clone() })
    }

    /// A certificate of our own root for a computer that was told to trust it (`*` in MeshCentral):
    /// it counts where none of the configuration does.
    pub(super) async fn own_certificate(&self, state: &State) -> Option<Arc<Certificate>> {
        let suffix = state.suffix.clone().filter(|suffix| is_name(suffix))?;
        let (folder, roots) = (self.folder.clone(), state.roots.clone());
        let kept = self.issued.borrow().get(&suffix).cloned();
        let name = suffix.clone();
        let issued = crate::pool::unblock(move || {
            let root = Hashes::of(&identity::root_certificate(&folder).ok()??);
            roots.iter().find_map(|hash| root.kind_of(hash))?;
            // The folder may have got another root meanwhile.
            if let Some(kept) = kept.filter(|kept| kept.root == root) {
                return Some(kept);
            }
            let issued = identity::issue_activation(&folder, &name);
            let issued = issued.map_err(|error| error.to_string()).and_then(|issued| {
                let made = Certificate::of("own root", issued.chain, &issued.key, true);
                made.map_err(|why| why.to_string())
            });
            issued
                .inspect_err(|why| ::log::error!("no certificate for {name}: {why}"))
                .ok()
                .map(Arc::new)
        });
        let issued = issued.await?;
        let mut kept = self.issued.borrow_mut();
        if kept.len() >= ISSUED {
            kept.pop_first();
        }
        kept.insert(suffix, issued.clone());
        Some(issued)
    }

    /// Where the records are.
    pub(super) fn hub(&self) -> &Rc<Hub> {
        &self.hub
    }

    /// What a domain activates with.
    pub fn equipment(&self, domain: &DomainId) -> Rc<Equipment> {
        self.domains.borrow().get(domain).cloned().unwrap_or_default()
    }

    /// What is wrong in all domains, as sentences.
    pub fn warnings(&self) -> Vec<String> {
        self.domains.borrow().values().flat_map(|domain| domain.warnings.clone()).collect()
    }

    /// Reads everything again and says what is wrong.
    pub async fn load(&self) {
        let (config, folder, now) = (self.hub.config(), self.folder.clone(), self.hub.now());
        let wanted: Vec<_> = config
            .domains
            .iter()
            .map(|(id, domain)| (id.clone(), domain.activation.clone()))
            .collect();
        let read = crate::pool::unblock(move || {
            let read = |(id, wanted): (DomainId, Activation)| {
                let equipment = Equipment::read(&folder, &id, &wanted, now);
                (id, equipment)
            };
            wanted.into_iter().map(read).collect::<Vec<_>>()
        });
        let read = read.await;
        for (id, equipment) in &read {
            for warning in &equipment.warnings {
                ::log::warn!("{warning}");
            }
            for certificate in &equipment.certificates {
                let (name, domain) = (&certificate.name, &certificate.domain);
                ::log::info!(
                    "Intel AMT computers of {domain} can be activated with {name:?} until {}{}",
                    certificate.last_day(),
                    if id.is_default() { String::new() } else { format!(" (domain {id})") }
                );
            }
        }
        let read = read.into_iter().map(|(id, equipment)| (id, Rc::new(equipment)));
        *self.domains.borrow_mut() = read.collect();
    }

    /// Loads, and loads again whenever a file has changed, for ever.
    pub async fn run(self: Rc<Self>) {
        let mut seen = None;
        loop {
            let (config, folder) = (self.hub.config(), self.folder.clone());
            let now = crate::pool::unblock({
                let files = files(&config, &folder);
                move || files.iter().map(|file| stamp(file)).collect::<Vec<_>>()
            });
            let now = Some((config.clone(), now.await));
            // Another configuration is another value, even if it says the same.
            let is_same = match (&seen, &now) {
                (Some((then, before)), Some((config, now))) => {
                    Rc::ptr_eq(then, config) && before == now
                }
                _ => false,
            };
            if !is_same {
                self.load().await;
                seen = now;
            }
            Timer::after(WATCH).await;
        }
    }
}

/// Whether our root may sign for it: a computer says it, so it may be anything.
pub(super) fn is_name(suffix: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    (4..=253).contains(&suffix.len()) && suffix.split('.').all(is_label)
}

fn files(config: &Config, folder: &Path) -> Vec<PathBuf> {
    let sources = config.domains.values().flat_map(|domain| &domain.activation.certificates);
    let files = sources.flat_map(|source| match &source.files {
        CertificateFiles::Pfx { file, .. } => vec![file],
        CertificateFiles::Pem { certificates, key } => certificates.iter().chain([key]).collect(),
        CertificateFiles::Missing(_) => Vec::new(),
    });
    files.map(|file| folder.join(file)).collect()
}

fn stamp(file: &Path) -> Option<(u64, SystemTime)> {
    let meta = file.metadata().ok()?;
    Some((meta.len(), meta.modified().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::store::Store;
    use futures_lite::future::block_on;
    use serde_json::json;

    #[test]
    fn a_bad_certificate_is_left_out_and_said_and_a_mended_one_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let vector = super::super::testing::vector("activation-cert-loading");
        let pfx = |name: &str| {
            let text = vector["pfx"][name]["base64"].as_str().unwrap();
            data_encoding::BASE64.decode(text.as_bytes()).unwrap()
        };
        let certs = json!({
            "good": {"certpfx": "good.pfx", "certpfxpass": "pfxpassword"},
            "bad": {"certpfx": "bad.pfx", "certpfxpass": "pfxpassword"},
        });
        let text = json!({"domains": {"": {"AmtAcmActivation": {"certs": certs}}}}).to_string();
        std::fs::write(folder.path().join("good.pfx"), pfx("rc2.pfx")).unwrap();
        std::fs::write(folder.path().join("bad.pfx"), pfx("noroot.pfx")).unwrap();
        let hub = Hub::new(Store::in_memory(), parse(&text, []).unwrap().0, Millis(0));
        let room = Room::new(hub, folder.path());
        block_on(room.load());
        let equipment = room.equipment(&DomainId::default());
        assert_eq!(equipment.names(), ["example.com"]);
        assert_eq!(equipment.log, folder.path().join("amtactivation.log"));
        let [warning] = &room.warnings()[..] else { panic!("{:?}", room.warnings()) };
        assert!(warning.starts_with("Unable to order"), "{warning}");
        std::fs::write(folder.path().join("bad.pfx"), pfx("3des.pfx")).unwrap();
        block_on(room.load());
        assert_eq!(room.warnings(), [""; 0]);
        assert_eq!(room.equipment(&DomainId::default()).certificates.len(), 2);
    }

    #[test]
    fn a_log_that_cannot_be_written_is_said_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = Activation { log: Some("no/where.log".into()), ..Activation::default() };
        let read = Equipment::read(folder.path(), &DomainId::default(), &wanted, Millis(0));
        assert!(read.warnings[0].contains("so nothing is activated"), "{:?}", read.warnings);
        // Nothing is asked of who does not activate.
        let quiet = Activation::default();
        let read = Equipment::read(folder.path(), &DomainId::default(), &quiet, Millis(0));
        assert!(read.warnings.is_empty() && !read.log.exists());
    }
}
