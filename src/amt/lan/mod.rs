//! Intel AMT on the server's own network: finding it, and knowing whether it is there.
//!
//! [`range`], [`rmcp`], [`scan`] and [`watch`] are without sockets; this file gives them one each,
//! and tells people what they find. Nothing is ever sent to an address nobody asked for: those of
//! devices in the list, and those of a scan's range. A server on the Internet alone sends nothing.

pub mod probe;
pub mod range;
pub mod rmcp;
pub mod scan;
pub mod wake;
pub mod watch;

mod names;
mod presence;
mod search;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Instant;

use async_executor::{LocalExecutor, Task};
use async_io::{Async, Timer};
use futures_lite::FutureExt as _;
use futures_lite::future::{self, or};
use serde_json::{Map, Value, json};

use crate::config::Reach;
use crate::hub::Hub;
use crate::interfaces::Interfaces;
use crate::model::{Event, UserId};

use names::Names;
use range::Range;
use scan::Scan;
use search::{Search, Searched};
use wake::{Destination, Mac};

/// Scans at a time, each of another account.
const SCANS: usize = 4;
/// Longest packet that is looked at.
const PACKET: usize = 64;

/// The room.
pub struct Lan {
    hub: Rc<Hub>,
    executor: Rc<LocalExecutor<'static>>,
    scans: RefCell<BTreeMap<UserId, Running>>,
    wake: (async_channel::Sender<()>, async_channel::Receiver<()>),
    /// Magic packets that wait; somebody sends them while there are any.
    magic: Rc<RefCell<VecDeque<(Destination, Mac)>>>,
    /// Where they go, if it is not everybody in the networks of this machine.
    wake_to: Option<Vec<Destination>>,
    names: Names,
}

struct Running {
    text: String,
    task: Task<()>,
}

/// What a client asked to be looked for.
pub struct Wanted<'a> {
    /// The range as it was typed; answers carry it as it is.
    pub text: &'a str,
    /// Whether the client wants to know how far it is.
    pub with_progress: bool,
    /// Whether those are asked over TCP who answer no ping, if the range is small.
    pub with_tcp: bool,
}

impl Lan {
    /// A room without a scan.
    pub fn new(hub: Rc<Hub>, executor: Rc<LocalExecutor<'static>>) -> Rc<Self> {
        Self::waking(hub, executor, None)
    }

    /// The same with other places for magic packets than everybody in the networks.
    pub fn waking(
        hub: Rc<Hub>,
        executor: Rc<LocalExecutor<'static>>,
        wake_to: Option<Vec<Destination>>,
    ) -> Rc<Self> {
        let (scans, wake) = (RefCell::default(), async_channel::bounded(1));
        let (magic, names) = (Rc::default(), Names::default());
        Rc::new(Self { hub, executor, scans, wake, magic, wake_to, names })
    }

    /// Wakes a device by its hardware addresses: everybody in the server's networks hears of it, and
    /// its own address if it has one. Takes some time, after this has returned.
    pub fn wake_up(&self, macs: &BTreeSet<Mac>, host: Option<IpAddr>) {
        let everybody = match &self.wake_to {
            Some(some) => some.clone(),
            None => wake::everybody(&Interfaces::list().outward()),
        };
        let packets = wake::packets(macs, &everybody, host);
        let mut magic = self.magic.borrow_mut();
        let is_sending = !magic.is_empty();
        let room = wake::WAITING_MAX.saturating_sub(magic.len());
        magic.extend(packets.into_iter().take(room));
        if !is_sending && !magic.is_empty() {
            self.executor.spawn(send_magic(self.magic.clone()).boxed_local()).detach();
        }
    }

    /// Looks for Intel AMT in a range and tells the account what was found: event `scanamtdevice`,
    /// with `results` that are `null` for what is no range. A newer scan of an account ends its
    /// older one.
    pub fn scan(self: &Rc<Self>, user: &UserId, wanted: Wanted<'_>) {
        let range = match Range::parse(wanted.text) {
            Ok(range) => range,
            Err(error) => return self.refuse(user, wanted.text, &error.to_string()),
        };
        self.stop_scan(user);
        if self.scans.borrow().len() >= SCANS {
            return self.refuse(user, wanted.text, "other people are scanning now, try again soon");
        }
        log::info!("lan: {user} scans {:?}, {} addresses", wanted.text, range.count());
        let (lan, user_id, text) = (self.clone(), user.clone(), wanted.text.to_owned());
        let with_progress = wanted.with_progress;
        let scan = if wanted.with_tcp { Scan::with_tcp(range) } else { Scan::new(range) };
        let scanning = async move {
            let search = Search {
                executor: &lan.executor,
                names: lan.names.clone(),
                tell: Box::new(|scan| lan.tell_progress(with_progress, &user_id, &text, scan)),
            };
            match search.run(scan).await {
                Ok(searched) => lan.report(&user_id, &text, &searched),
                Err(error) => lan.refuse(&user_id, &text, &error.to_string()),
            }
            // Dropping the handle of a task would cancel it.
            if let Some(ended) = lan.scans.borrow_mut().remove(&user_id) {
                ended.task.detach();
            }
        };
        // Boxed: the executor makes 3 KB of program for each kind of future it is given.
        let task = self.executor.spawn(scanning.boxed_local());
        let text = wanted.text.to_owned();
        self.scans.borrow_mut().insert(user.clone(), Running { text, task });
    }

    /// Ends the scan of an account, and tells it. Whether there was one.
    pub fn stop_scan(&self, user: &UserId) -> bool {
        let stopped = self.scans.borrow_mut().remove(user);
        if let Some(running) = &stopped {
            self.refuse(user, &running.text, "stopped");
        }
        stopped.is_some()
    }

    /// Looks at all devices soon: one is new, or has another address.
    pub fn look(&self) {
        // It is full when somebody else has asked already.
        let _ = self.wake.0.try_send(());
    }

    /// Keeps looking which devices are there, for ever.
    pub async fn watch(self: Rc<Self>) {
        presence::run(&self).await;
    }

    fn tell_progress(&self, is_wanted: bool, user: &UserId, text: &str, scan: &Scan) {
        if !is_wanted {
            return;
        }
        let progress = scan.progress();
        let event = event("scanamtprogress", user, text)
            .with("asked", progress.asked)
            .with("total", progress.total)
            .with("found", progress.found);
        self.tell(event);
    }

    fn report(&self, user: &UserId, text: &str, searched: &Searched) {
        let found = searched.scan.found().iter().map(|(address, found)| {
            let name = searched.names.get(address);
            let address = address.to_string();
            let entry = json!({
                "ver": found.version,
                "tls": u8::from(found.tls),
                "state": found.state,
                "hostname": name.unwrap_or(&address),
                "hosttype": if name.is_some() { "host" } else { "addr" },
            });
            (address, entry)
        });
        let results: Map<_, _> = found.collect();
        log::info!("lan: {user} found {} in {text:?}", results.len());
        self.tell(event("scanamtdevice", user, text).with("results", results));
    }

    fn refuse(&self, user: &UserId, text: &str, why: &str) {
        let event = event("scanamtdevice", user, text).with("results", Value::Null);
        self.tell(event.with("error", why));
    }

    fn tell(&self, event: Event) {
        self.hub.publish(event);
    }

    fn is_on(&self) -> bool {
        let config = self.hub.config();
        config.settings.reach != Reach::Wan && config.settings.amt_scanner
    }
}

/// An event for one account.
fn event(action: &'static str, user: &UserId, text: &str) -> Event {
    Event::new(action, user.domain.clone()).actor(user).transient().with("range", text)
}

/// Sends what waits, as slowly as it should be. Whatever cannot be sent is not the device's way.
async fn send_magic(waiting: Rc<RefCell<VecDeque<(Destination, Mac)>>>) {
    let mut sockets: BTreeMap<IpAddr, Option<UdpSocket>> = BTreeMap::new();
    let next = || waiting.borrow().front().copied();
    while let Some((Destination { from, to }, mac)) = next() {
        let open = || match magic_socket(from) {
            Ok(socket) => Some(socket),
            Err(error) => {
                log::warn!("lan: no socket for wake-on-LAN at {from}: {error}");
                None
            }
        };
        if let Some(socket) = sockets.entry(from).or_insert_with(open) {
            // It does not wait: a full queue loses this packet of five.
            let _ = socket.send_to(&wake::magic_packet(&mac), to);
        }
        Timer::after(wake::PACE).await;
        // Only now: while there is one, nobody else begins to send.
        waiting.borrow_mut().pop_front();
    }
}

fn magic_socket(from: IpAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((from, 0))?;
    if from.is_ipv4() {
        socket.set_broadcast(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket for pings of any port. It may not send to everybody: that is no address of a device.
fn ping_socket() -> io::Result<Async<UdpSocket>> {
    Async::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?)
}

/// The next packet, its length and where it came from; `None` when it is time for something else.
async fn receive_until(
    socket: &Async<UdpSocket>,
    packet: &mut [u8],
    until: Instant,
) -> Option<(Ipv4Addr, usize)> {
    let received = async {
        match socket.recv_from(packet).await {
            Ok((length, SocketAddr::V4(from))) => Some((*from.ip(), length)),
            // A socket that is broken stays so: trying again would never end.
            Ok(_) | Err(_) => future::pending().await,
        }
    };
    let due = async {
        Timer::at(until).await;
        None
    };
    or(due, received).await
}

#[cfg(test)]
mod tests {
    use async_io::block_on;

    use super::*;
    use crate::hub::testing::World;

    #[test]
    fn a_device_is_woken_where_it_is_and_in_the_network() {
        let card = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let executor = Rc::new(LocalExecutor::new());
        let to = vec![Destination::new(card.local_addr().unwrap())];
        let lan = Lan::waking(World::new().hub.clone(), executor.clone(), Some(to));
        let macs = BTreeSet::from([[2, 0, 0, 0, 0, 1]]);
        lan.wake_up(&macs, None);
        lan.wake_up(&macs, None);
        block_on(executor.run(async {
            while !lan.magic.borrow().is_empty() {
                futures_lite::future::yield_now().await;
            }
        }));
        let mut packet = [0; 200];
        card.set_nonblocking(true).unwrap();
        let heard: Vec<_> = std::iter::from_fn(|| card.recv(&mut packet).ok()).collect();
        assert_eq!(heard, [102; 10], "five times for each wish");
        // However often it is wished, no more than so many packets wait.
        for n in 0..2000_u32 {
            let [_, _, a, b] = n.to_be_bytes();
            lan.wake_up(&BTreeSet::from([[2, 0, 0, 0, a, b]]), None);
        }
        assert_eq!(lan.magic.borrow().len(), wake::WAITING_MAX);
    }
}
