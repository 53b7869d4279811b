//! Bounded places for connections that have not proven anything yet.
//!
//! A thousand half-open sockets must not disturb agents: when all places are taken, the newcomer
//! gets the place of the oldest connection of the address that holds most of them. Whoever floods
//! throws out himself first.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;

use async_executor::{LocalExecutor, Task};
use futures_lite::FutureExt as _;
use futures_lite::future::BoxedLocal;

/// A bounded set of running connections.
pub struct Slots {
    executor: Rc<LocalExecutor<'static>>,
    limit: usize,
    next: Cell<u64>,
    running: RefCell<BTreeMap<u64, (IpAddr, Task<()>)>>,
}

impl Slots {
    /// At most `limit` connections at a time.
    pub fn new(executor: Rc<LocalExecutor<'static>>, limit: usize) -> Rc<Self> {
        Rc::new(Self { executor, limit, next: Cell::new(0), running: RefCell::default() })
    }

    /// Number of connections running.
    pub fn len(&self) -> usize {
        self.running.borrow().len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs `connection` of `address`. Returns the address whose connection had to go for it, if
    /// all places were taken.
    pub fn spawn(
        self: &Rc<Self>,
        address: IpAddr,
        connection: impl Future<Output = ()> + 'static,
    ) -> Option<IpAddr> {
        self.spawn_with(address, |place| {
            let placed = async move {
                connection.await;
                drop(place);
            };
            placed.boxed_local()
        })
    }

    /// The same for a connection that may give its place back and go on. It comes boxed, because the
    /// executor makes 3 KB of program for each kind of future it is given.
    pub fn spawn_with(
        self: &Rc<Self>,
        address: IpAddr,
        connection: impl FnOnce(Place) -> BoxedLocal<()>,
    ) -> Option<IpAddr> {
        let id = self.next.get();
        self.next.set(id + 1);
        let evicted = (self.len() >= self.limit).then(|| self.evict()).flatten();
        let task = self.executor.spawn(connection(Place { slots: self.clone(), id }));
        self.running.borrow_mut().insert(id, (address, task));
        evicted
    }

    fn evict(&self) -> Option<IpAddr> {
        let (address, task) = {
            let mut running = self.running.borrow_mut();
            let mut counts = BTreeMap::new();
            for (address, _) in running.values() {
                *counts.entry(*address).or_insert(0usize) += 1;
            }
            let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
            // Ids ascend, so the first of an address is its oldest.
            let oldest = running.iter().find(|(_, (a, _))| *a == most).map(|(id, _)| *id)?;
            running.remove(&oldest)?
        };
        drop(task);
        Some(address)
    }
}

/// A connection's place. Dropping it gives the place back; the connection cannot lose it any more.
pub struct Place {
    slots: Rc<Slots>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whoever was thrown out has no place left to give.
        let left = self.slots.running.borrow_mut().remove(&self.id);
        if let Some((_, task)) = left {
            task.detach();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[test]
    fn the_address_that_floods_loses_its_oldest_connection() {
        let executor = Rc::new(LocalExecutor::new());
        let slots = Slots::new(executor.clone(), 4);
        let [flood, friend]: [IpAddr; 2] = [[203, 0, 113, 1].into(), [203, 0, 113, 2].into()];
        let dropped = Rc::new(());
        for address in [friend, flood, flood, flood] {
            let held = dropped.clone();
            let evicted = slots.spawn(address, async move {
                let _held = held;
                pending().await
            });
            assert_eq!(evicted, None);
        }
        for _ in 0..20 {
            assert_eq!(slots.spawn(flood, pending()), Some(flood));
        }
        assert_eq!(slots.len(), 4);
        while executor.try_tick() {}
        assert_eq!(Rc::strong_count(&dropped), 2, "only the friend's connection is left");
    }

    #[test]
    fn a_connection_that_gave_its_place_back_goes_on() {
        let executor = Rc::new(LocalExecutor::new());
        let slots = Slots::new(executor.clone(), 1);
        let alive = Rc::new(());
        let held = alive.clone();
        slots.spawn_with([127, 0, 0, 1].into(), |place| {
            let connection = async move {
                let _held = held;
                drop(place);
                pending().await
            };
            connection.boxed_local()
        });
        while executor.try_tick() {}
        assert!(slots.is_empty());
        assert_eq!(slots.spawn([127, 0, 0, 1].into(), pending()), None);
        assert_eq!(Rc::strong_count(&alive), 2);
    }

    #[test]
    fn a_connection_that_ends_frees_its_place() {
        let executor = Rc::new(LocalExecutor::new());
        let slots = Slots::new(executor.clone(), 1);
        for _ in 0..3 {
            assert_eq!(slots.spawn([127, 0, 0, 1].into(), async {}), None);
            while executor.try_tick() {}
            assert!(slots.is_empty());
        }
    }
}
