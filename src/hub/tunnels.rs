//! Running tunnels: sessions through the relay, for whoever lists, counts or ends them.
//!
//! A tunnel registers itself when both its ends are there and leaves when it is dropped. Its task
//! owns the sockets; everybody else puts a word into its mailbox.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::model::{Millis, NodeId, UserId};

use super::{Mailbox, Weight};

/// Words that wait for a tunnel, in bytes. They are few and small.
const MAILBOX: usize = 1024;

/// What is asked of a running tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelMessage {
    /// Rights may have changed: look whether this may go on.
    Recheck,
    /// End, for this reason.
    End(&'static str),
}

impl Weight for TunnelMessage {
    fn weight(&self) -> usize {
        32
    }
}

/// What a tunnel is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelPurpose {
    /// Who uses it; the sharer, if it is a guest's.
    pub user: UserId,
    /// The device at its other end; `None` between two ends of one user.
    pub node: Option<NodeId>,
    /// MeshCentral's protocol label: 1 terminal, 2 desktop, 5 files, ….
    pub protocol: u16,
    /// The guest's name, if it is a guest's.
    pub guest: Option<Box<str>>,
    /// Public identifier of the share it is used by.
    pub share: Option<Box<str>>,
}

/// A running tunnel.
pub struct TunnelLink {
    /// What it is for.
    pub purpose: TunnelPurpose,
    /// The account at the other end, if it is another one: two who chat.
    pub partner: Option<UserId>,
    /// Where its user is.
    pub viewer: SocketAddr,
    /// Where the other end is.
    pub agent: SocketAddr,
    /// When it began.
    pub since: Millis,
    /// Bytes the user's end has sent, frames included.
    pub from_viewer: Cell<u64>,
    /// Bytes the other end has sent.
    pub from_agent: Cell<u64>,
    /// Bytes sent to both.
    pub sent: Cell<u64>,
    /// What is asked of it.
    pub mailbox: Mailbox<TunnelMessage>,
}

impl TunnelLink {
    /// A tunnel that begins now, nothing sent yet.
    pub fn new(
        purpose: TunnelPurpose,
        viewer: SocketAddr,
        agent: SocketAddr,
        since: Millis,
    ) -> Self {
        Self {
            purpose,
            partner: None,
            viewer,
            agent,
            since,
            from_viewer: Cell::new(0),
            from_agent: Cell::new(0),
            sent: Cell::new(0),
            mailbox: Mailbox::new(MAILBOX),
        }
    }

    /// Asks for something. A mailbox that is full holds an unread word already, and a tunnel that
    /// reads one looks at everything.
    fn ask(&self, message: TunnelMessage) {
        let _ = self.mailbox.push(message);
    }

    /// Ends it; it is still there until its task has noticed.
    pub fn end(&self, why: &'static str) {
        self.ask(TunnelMessage::End(why));
        self.mailbox.close();
    }
}

/// All running tunnels.
#[derive(Default)]
pub struct Tunnels {
    next: Cell<u64>,
    running: RefCell<BTreeMap<u64, Rc<TunnelLink>>>,
}

impl Tunnels {
    /// Registers a tunnel for as long as the result lives.
    pub fn register(self: &Rc<Self>, link: Rc<TunnelLink>) -> Registered {
        let number = self.next.get();
        self.next.set(number + 1);
        self.running.borrow_mut().insert(number, link);
        Registered { tunnels: self.clone(), number }
    }

    /// Number of running tunnels.
    pub fn len(&self) -> usize {
        self.running.borrow().len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All running tunnels, oldest first.
    pub fn all(&self) -> Vec<Rc<TunnelLink>> {
        self.running.borrow().values().cloned().collect()
    }

    /// Ends every tunnel that is `meant`; how many.
    pub fn end(&self, why: &'static str, meant: impl Fn(&TunnelLink) -> bool) -> usize {
        let meant: Vec<_> = self.all().into_iter().filter(|link| meant(link)).collect();
        meant.iter().for_each(|link| link.end(why));
        meant.len()
    }

    /// Lets every tunnel look whether it may go on.
    pub fn recheck(&self) {
        self.all().iter().for_each(|link| link.ask(TunnelMessage::Recheck));
    }
}

/// Keeps a tunnel registered until it is dropped.
pub struct Registered {
    tunnels: Rc<Tunnels>,
    number: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.tunnels.running.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, node_id, user_id};
    use super::*;
    use crate::model::{LinkTarget, Rights, SiteRights};
    use crate::store::RecordKey;
    use futures_lite::future::{block_on, poll_fn, poll_once};

    fn link(user: &str, node: u8) -> Rc<TunnelLink> {
        let purpose = TunnelPurpose {
            user: user_id(user),
            node: Some(node_id(node)),
            protocol: 1,
            guest: None,
            share: None,
        };
        let address = ([127, 0, 0, 1], 1).into();
        Rc::new(TunnelLink::new(purpose, address, address, Millis(0)))
    }

    fn heard(link: &TunnelLink) -> Vec<TunnelMessage> {
        let next = || block_on(poll_once(poll_fn(|cx| link.mailbox.poll_next(cx)))).flatten();
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn those_meant_are_ended_and_the_others_are_not() {
        let tunnels = Rc::<Tunnels>::default();
        let links = [link("ann", 1), link("bob", 1), link("bob", 2)];
        let registered = links.clone().map(|link| tunnels.register(link));
        let ended = tunnels.end("why", |link| link.purpose.user == user_id("bob"));
        assert_eq!(ended, 2);
        assert_eq!(heard(&links[0]), []);
        assert_eq!(heard(&links[2]), [TunnelMessage::End("why")]);
        assert_eq!(tunnels.len(), 3, "there until their tasks have noticed");
        drop(registered);
        assert!(tunnels.is_empty());
    }

    #[test]
    fn whatever_rights_follow_from_makes_tunnels_look_again() {
        let world = World::new();
        let group = world.group(1, "lab");
        world.group(2, "other");
        world.device(3, &group, "vm");
        world.user("bob", SiteRights::empty());
        let link = link("bob", 3);
        let _registered = world.hub.tunnels.register(link.clone());
        let store = &world.hub.store;
        let looks = |what: &str| assert_eq!(heard(&link), [TunnelMessage::Recheck], "{what}");

        world.set_link("bob", LinkTarget::Group(group), Some(Rights::REMOTE_CONTROL));
        looks("a link of the account");
        let mut device = (*store.device(&node_id(3)).unwrap()).clone();
        device.desc = Some("changed".into());
        store.put(device.clone()).later();
        assert_eq!(heard(&link), [], "a description is no right");
        device.group = super::super::testing::group_id(2);
        store.put(device).later();
        looks("the device is moved");
        store.remove(RecordKey::Device(node_id(3))).later();
        looks("the device is removed");
        store.remove(RecordKey::User(user_id("bob"))).later();
        looks("the account is removed");
        world.hub.set_config((*world.hub.config()).clone());
        looks("the configuration is read again");
    }
}
