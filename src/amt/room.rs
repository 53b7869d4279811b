//! The devices that are spoken to right now, and what is remembered of the others.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::digest::{Challenge, Credentials};
use super::wsman::{Failure, Link};
use crate::hub::Hub;
use crate::model::NodeId;

/// See the module.
pub struct Room {
    /// The hub.
    pub hub: Rc<Hub>,
    links: RefCell<BTreeMap<NodeId, Weak<Link>>>,
    /// The last question of each device, some 150 bytes: whoever knows it saves a connection.
    challenges: RefCell<BTreeMap<NodeId, Challenge>>,
}

impl Room {
    /// Nobody is spoken to.
    pub fn new(hub: Rc<Hub>) -> Rc<Self> {
        Rc::new(Self { hub, links: RefCell::default(), challenges: RefCell::default() })
    }

    /// The link to a device, shared by all who speak to it; its connection ends when nobody holds
    /// it.
    ///
    /// # Errors
    /// The login is not known.
    pub fn link(&self, node: &NodeId) -> Result<Rc<Link>, Failure> {
        let access = self.hub.store.amt_access(node).filter(|access| !access.password.is_empty());
        let access = access.ok_or(Failure::NoCredentials)?;
        let (user, password) = (access.user.clone(), access.password.clone());
        let credentials = Credentials { user, password };
        let present = self.links.borrow().get(node).and_then(Weak::upgrade);
        if let Some(link) = present.filter(|link| *link.credentials() == credentials) {
            return Ok(link);
        }
        Ok(self.link_with(node, credentials))
    }

    /// A link with a login that is to be tried.
    pub fn link_with(&self, node: &NodeId, credentials: Credentials) -> Rc<Link> {
        let challenge = self.challenges.borrow().get(node).cloned();
        let link = Link::new(self.hub.clone(), node.clone(), credentials, challenge);
        let link = Rc::new(link);
        let mut links = self.links.borrow_mut();
        links.retain(|_, link| link.strong_count() > 0);
        links.insert(node.clone(), Rc::downgrade(&link));
        link
    }

    /// What the device asked last is kept for the next connection.
    pub fn remember(&self, link: &Link) {
        let Some(challenge) = link.challenge() else { return };
        let mut challenges = self.challenges.borrow_mut();
        challenges.insert(link.node().clone(), challenge);
        // Devices come and go.
        if challenges.len() > self.hub.store.device_count() + 16 {
            challenges.retain(|node, _| self.hub.store.device(node).is_some());
        }
    }

    /// Number of devices that are spoken to.
    pub fn open_links(&self) -> usize {
        self.links.borrow().values().filter(|link| link.strong_count() > 0).count()
    }
}
