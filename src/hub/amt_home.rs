//! What firmware is given so that it trusts this server and calls it: the root certificate, and
//! where the Intel AMT port is. Filled in by the wiring as soon as there are keys.

use std::cell::RefCell;
use std::rc::Rc;

use super::Hub;
use crate::identity::Root;

/// The port of Intel AMT as firmware is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Name or address its certificate is made out to.
    pub host: String,
    /// As routers show it.
    pub number: u16,
}

/// See the module.
#[derive(Default)]
pub struct Home {
    root: RefCell<Option<Rc<Root>>>,
    destination: RefCell<Option<Destination>>,
}

impl Home {
    /// Who issues certificates; `None` while there are no keys.
    pub fn root(&self) -> Option<Rc<Root>> {
        self.root.borrow().clone()
    }

    /// Where firmware calls; `None` if it cannot.
    pub fn destination(&self) -> Option<Destination> {
        self.destination.borrow().clone()
    }

    /// The keys are there.
    pub fn set_root(&self, root: Root) {
        *self.root.borrow_mut() = Some(Rc::new(root));
    }

    /// The port is open.
    pub fn set_destination(&self, destination: Destination) {
        *self.destination.borrow_mut() = Some(destination);
    }
}

impl Hub {
    /// What firmware is given of this server.
    pub fn amt_home(&self) -> &Home {
        &self.amt_home
    }
}
