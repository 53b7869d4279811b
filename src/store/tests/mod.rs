//! Promises of the store as a whole, kept on disks that fail in every way we could think of.

mod budget;
mod crash;
mod fake;
mod files;
mod golden;
mod recovery;
mod storage;

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::{block_on, or};

use crate::model::{
    Device, DomainId, Event, EventKind, Group, GroupId, GroupKind, Key48, LastSeen, Millis, NodeId,
    PasswordHash, Secret, Target, User, UserId,
};

use super::disk::Disk;
use super::driver::Now;
use super::vault::Vault;
use super::{
    DetailKind, EventQuery, NotDurable, Options, PowerChange, Record, RecordKey, Report, Store,
};
use fake::{Fail, FakeDisk};

const WALL: Millis = Millis(1_790_000_000_000);

/// A clock that stands until it is moved.
#[derive(Clone, Default)]
struct TestClock(Rc<Cell<Duration>>);

impl TestClock {
    fn advance(&self, seconds: u64) {
        self.0.set(self.0.get() + Duration::from_secs(seconds));
    }

    fn now(&self) -> Now {
        let mono = self.0.get();
        Now { mono, wall: Millis(WALL.0 + mono.as_millis() as u64) }
    }
}

fn open_with(disk: &Arc<FakeDisk>, options: Options, clock: &TestClock) -> (Store, Report) {
    let (disk, clock): (Arc<dyn Disk>, _) = (disk.clone(), clock.clone());
    Store::on(disk, Vault::of(&[7; 32]), options, |_| Box::new(move || clock.now())).unwrap()
}

fn open(disk: &Arc<FakeDisk>) -> (Store, Report) {
    open_with(disk, Options::default(), &TestClock::default())
}

/// Runs `work` with the store's driver.
fn drive<T>(store: &Store, work: impl Future<Output = T>) -> T {
    let driver = async {
        store.run().await;
        unreachable!("the driver never ends")
    };
    block_on(or(work, driver))
}

fn domain() -> DomainId {
    DomainId::default()
}

fn node(n: u64) -> NodeId {
    let mut key = Key48([0x5A; 48]);
    key.0[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    NodeId::new(domain(), key)
}

fn group() -> GroupId {
    GroupId::new(domain(), Key48([7; 48]))
}

fn device(n: u64) -> Device {
    Device::new(node(n), group(), &format!("pc{n}"), WALL)
}

fn secret(name: &str, bytes: &[u8]) -> Secret {
    Secret { name: name.to_owned(), bytes: bytes.to_vec() }
}

fn user(name: &str) -> User {
    let id = UserId::new(domain(), name).unwrap();
    User::new(id, name, PasswordHash::Argon2("$argon2id$x".into()), WALL)
}

fn seen(seconds: u64) -> LastSeen {
    LastSeen { time: Millis(WALL.0 + seconds * 1000), addr: format!("192.168.1.{seconds}:50123") }
}
