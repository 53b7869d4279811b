//! The devices that are spoken to right now, and what is remembered of the others.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use async_io::Timer;
use futures_lite::FutureExt as _;

use super::digest::{Challenge, Credentials};
use super::power::{self, Wish};
use super::wsman::{Failure, Link};
use crate::hub::Hub;
use crate::model::NodeId;

/// Time in which a change of power takes effect: no other is asked for meanwhile.
const SETTLE: Duration = Duration::from_secs(10);

/// See the module.
pub struct Room {
    /// The hub.
    pub hub: Rc<Hub>,
    /// Where tasks of this room run.
    pub executor: Rc<LocalExecutor<'static>>,
    /// When a change of power was last asked for; forgotten when it has taken effect.
    asked: RefCell<BTreeMap<NodeId, Instant>>,
    links: RefCell<BTreeMap<NodeId, Weak<Link>>>,
    /// Devices whose login is being changed.
    held: RefCell<BTreeSet<NodeId>>,
    /// The last question of each device, some 150 bytes: whoever knows it saves a connection.
    challenges: RefCell<BTreeMap<NodeId, Challenge>>,
}

/// The right to change the login of a device; one at a time.
pub struct Held<'a>(&'a Room, NodeId);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.borrow_mut().remove(&self.1);
    }
}

impl Room {
    /// Nobody is spoken to.
    pub fn new(hub: Rc<Hub>, executor: Rc<LocalExecutor<'static>>) -> Rc<Self> {
        Rc::new(Self {
            hub,
            executor,
            asked: RefCell::default(),
            links: RefCell::default(),
            held: RefCell::default(),
            challenges: RefCell::default(),
        })
    }

    /// Changes the power of a device, and looks at what became of it a little later.
    ///
    /// # Errors
    /// What became of it; so soon after another change it is [`Failure::Unable`].
    pub async fn change_power(self: &Rc<Self>, node: &NodeId, wish: Wish) -> Result<(), Failure> {
        let link = self.link(node)?;
        self.ask_for_power(node)?;
        let changed = power::change(&link, wish).await;
        self.asked_for_power(&link, changed.is_ok());
        changed
    }

    /// From now on no other change of power may be asked for.
    ///
    /// # Errors
    /// Another one is still taking effect.
    pub fn ask_for_power(&self, node: &NodeId) -> Result<(), Failure> {
        let now = Instant::now();
        let mut asked = self.asked.borrow_mut();
        asked.retain(|_, at| now.saturating_duration_since(*at) < SETTLE);
        if asked.contains_key(node) {
            return Err(Failure::Unable("The last change of power has not taken effect yet"));
        }
        asked.insert(node.clone(), now);
        Ok(())
    }

    /// The change was asked for, or could not be.
    pub fn asked_for_power(self: &Rc<Self>, link: &Rc<Link>, done: bool) {
        self.remember(link);
        if !done {
            self.asked.borrow_mut().remove(link.node());
            return;
        }
        let (room, link) = (self.clone(), link.clone());
        let look = async move {
            Timer::after(SETTLE).await;
            // An agent knows better, and whoever comes too late hears it at the next visit.
            if room.hub.agent(link.node()).is_none()
                && let Ok(power) = power::read(&link).await
                && let Some(shown) = power.shown()
            {
                room.hub.set_amt_power(link.node(), shown);
            }
        };
        self.executor.spawn(look.boxed_local()).detach();
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

    /// The right to change the login of a device: meanwhile nobody else logs in on his own account,
    /// nor decides which login is the right one. `None` while somebody else has it.
    pub fn hold(&self, node: &NodeId) -> Option<Held<'_>> {
        let is_free = self.held.borrow_mut().insert(node.clone());
        is_free.then(|| Held(self, node.clone()))
    }

    /// Whether somebody changes the login of a device.
    pub fn is_held(&self, node: &NodeId) -> bool {
        self.held.borrow().contains(node)
    }

    /// Number of devices that are spoken to.
    pub fn open_links(&self) -> usize {
        self.links.borrow().values().filter(|link| link.strong_count() > 0).count()
    }
}
