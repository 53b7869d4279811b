//! What all agent connections share: the server's identity, the package, the counters.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use async_lock::Semaphore;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::hub::Hub;
use crate::identity::AgentServer;
use crate::identity::tls::WebTls;
use crate::model::{DomainId, Key48};

use super::admission::{Flapping, Silenced};
use super::core::Supplies;
use super::kinds::AgentKind;
use super::package::{CoreName, Package};
use super::wire;

/// Core uploads at a time. Each may hold 64 KB of TLS records, or 600 KB for agents that take no
/// compressed core.
const UPLOADS: usize = 8;

/// The agent room.
pub struct Room {
    /// Shared state of the server.
    pub hub: Rc<Hub>,
    /// The web certificates agents may have seen.
    pub tls: Arc<WebTls>,
    /// Who disconnects too often.
    pub flapping: Flapping,
    /// Older connections of devices, kept open in silence.
    pub silenced: Rc<Silenced>,
    /// Permits for core uploads.
    pub uploads: Arc<Semaphore>,
    server: RefCell<Option<Arc<AgentServer>>>,
    package: RefCell<Option<Rc<Package>>>,
}

/// A binary to send block by block.
pub struct Payload {
    /// The file.
    pub path: PathBuf,
    /// What the agent compares when it has all blocks.
    pub hash: Key48,
    /// Bytes per block.
    pub block: usize,
}

impl Room {
    /// A room without identity and package yet: agents are asked to come back.
    pub fn new(hub: Rc<Hub>, tls: Arc<WebTls>) -> Rc<Self> {
        Rc::new(Self {
            hub,
            tls,
            flapping: Flapping::default(),
            silenced: Rc::default(),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            server: RefCell::default(),
            package: RefCell::default(),
        })
    }

    /// The identity is there: agents may come.
    pub fn set_server(&self, server: AgentServer) {
        *self.server.borrow_mut() = Some(Arc::new(server));
    }

    /// The identity agents pin; `None` while its key is being made.
    pub fn server(&self) -> Option<Arc<AgentServer>> {
        self.server.borrow().clone()
    }

    /// Puts another agent package in use, for agents that connect from now on.
    pub fn set_package(&self, package: Option<Package>) {
        *self.package.borrow_mut() = package.map(Rc::new);
    }

    /// The agent package in use.
    pub fn package(&self) -> Option<Rc<Package>> {
        self.package.borrow().clone()
    }

    /// For the TLS hash an agent sends, the full hash to sign over; `None` if not acceptable.
    pub fn full_hash(&self, domain: &DomainId, hash: Key48) -> Option<Key48> {
        let of_proxy = || self.hub.fronts.full_hash(domain, hash);
        if let Some(full) = self.tls.full_hash(hash).or_else(of_proxy) {
            return Some(full);
        }
        let config = self.hub.config();
        let accepted = config.settings.ignore_agent_hash_check
            || config.domain(domain).accepted_tls_hashes.contains(&hash);
        accepted.then_some(hash)
    }

    /// A whole core message: what goes before the image, and the image, raw-deflated if the agent
    /// inflates.
    pub async fn core_message(
        &self,
        name: CoreName,
        compressed: bool,
    ) -> io::Result<(Vec<u8>, Bytes)> {
        let package = self.package().ok_or(io::ErrorKind::NotFound)?;
        let hash = package.core(name).ok_or(io::ErrorKind::NotFound)?.hash;
        if compressed {
            Ok((wire::compressed_core_header(hash), package.deflated(name).await?))
        } else {
            Ok((wire::core_header(hash), package.image(name).await?))
        }
    }

    /// What to send to an agent of kind `id` that is to be updated.
    pub fn update_payload(&self, id: u32, zipped: bool) -> Option<Payload> {
        let binary = self.package()?.binary(id)?;
        let block = self.hub.config().settings.agent_update_block_size;
        Some(match binary.zip {
            Some(zip) if zipped => Payload { path: zip.path, hash: zip.sha384, block },
            _ => Payload { path: binary.path, hash: binary.agent_hash, block },
        })
    }

    /// The order to a core in `domain` to download the binary of agent kind `id` and install it.
    pub fn download_order(&self, id: u32, domain: &DomainId) -> Option<Value> {
        let binary = self.package()?.binary(id)?;
        let front = self.hub.fronts.current(domain);
        let tls_hash = front.map_or_else(|| self.tls.hash(), |front| front.hash);
        Some(json!({
            "action": "agentupdate",
            "url": format!("*/meshagents?id={id}"),
            "hash": binary.sha384.hex().to_lowercase(),
            "servertlshash": tls_hash.hex().to_lowercase(),
        }))
    }
}

impl Supplies for Room {
    fn core(&self, name: CoreName) -> Option<Key48> {
        Some(self.package()?.core(name)?.hash)
    }

    fn is_current(&self, kind: &AgentKind, hash: Key48) -> Option<bool> {
        if self.hub.config().settings.no_agent_update {
            return None;
        }
        self.package()?.is_current(kind.id, &hash)
    }
}
