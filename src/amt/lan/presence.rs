//! The watch over known devices on the network: its sockets, and what is told of what it sees.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_io::Timer;
use async_lock::Semaphore;
use futures_lite::FutureExt as _;
use futures_lite::future::or;
use serde_json::Value;

use super::watch::{ROUND, Round, Watch, Watched, is_news};
use super::{Lan, PACKET, ping_socket, probe, receive_until, rmcp};
use crate::model::{AmtAccess, Device, NodeId};

/// Time between the pings of two devices. Each gets two.
const PACE: Duration = Duration::from_millis(10);
/// Probes at a time: each is a connection, some with TLS.
const PROBES: usize = 8;
/// Rounds until a name is resolved anew.
const ROUNDS_PER_NAME: u32 = 20;
/// Shortest time between two rounds, however often somebody asks for one.
const APART: Duration = Duration::from_secs(1);
/// After the server could get no socket.
const PAUSE: Duration = Duration::from_secs(60);
/// Where the server itself is: those are reached in other ways.
const HERE: [&str; 3] = ["127.0.0.1", "::1", "localhost"];

/// What the tasks of the watch share.
struct Shared {
    lan: Rc<Lan>,
    start: Instant,
    watch: RefCell<Watch>,
    probes: Semaphore,
    /// Whether names are being resolved.
    resolving: Cell<bool>,
}

pub(super) async fn run(lan: &Rc<Lan>) {
    let shared = Rc::new(Shared {
        lan: lan.clone(),
        start: Instant::now(),
        watch: RefCell::default(),
        probes: Semaphore::new(PROBES),
        resolving: Cell::new(false),
    });
    let mut number = 0_u32;
    loop {
        // Only while there is somebody to ask there is a socket.
        let devices = watched(lan);
        let is_needed = !devices.is_empty();
        let round = shared.watch.borrow_mut().begin(shared.start.elapsed(), devices);
        for node in &round.gone {
            lan.hub.amt_gone_from_lan(node);
        }
        let (end, next) = (Instant::now() + ROUND, Instant::now() + APART);
        if !is_needed {
            wait(lan, end).await;
            continue;
        }
        number = number.wrapping_add(1);
        if let Err(error) = play(&shared, round, end, number).await {
            log::warn!("lan: no socket to look for Intel AMT: {error}");
            Timer::after(PAUSE).await;
        }
        Timer::at(next).await;
    }
}

/// Until somebody wants to know, or the round is over.
async fn wait(lan: &Lan, until: Instant) {
    let asked = async {
        let _ = lan.wake.1.recv().await;
    };
    let due = async {
        Timer::at(until).await;
    };
    or(asked, due).await;
}

/// Sends the pings of a round, starts its probes, and listens until it is over.
async fn play(shared: &Rc<Shared>, round: Round, end: Instant, number: u32) -> std::io::Result<()> {
    let socket = ping_socket()?;
    for node in round.probes {
        shared.lan.executor.spawn(ask(shared.clone(), node).boxed_local()).detach();
    }
    let is_unresolved = |node| shared.watch.borrow().address(node).is_none();
    let is_due =
        number % ROUNDS_PER_NAME == 1 || round.pings.iter().any(|(node, _)| is_unresolved(node));
    if is_due && !shared.resolving.replace(true) {
        shared.lan.executor.spawn(resolve(shared.clone()).boxed_local()).detach();
    }
    let mut waiting: VecDeque<_> =
        round.pings.into_iter().flat_map(|ping| [ping.clone(), ping]).collect();
    let (mut next, mut packet) = (Instant::now(), [0; PACKET]);
    loop {
        while next <= Instant::now()
            && let Some((node, tag)) = waiting.pop_front()
        {
            next += PACE / 2;
            let address = shared.watch.borrow().address(&node);
            if let Some(address) = address {
                // Nobody there, no way there: it stays silent.
                let _ = socket.send_to(&rmcp::ping(tag), (address, rmcp::PORT)).await;
            }
        }
        let due = if waiting.is_empty() { end } else { next.min(end) };
        let woken = async {
            let _ = shared.lan.wake.1.recv().await;
            None
        };
        let received = async { Some(receive_until(&socket, &mut packet, due).await) };
        match or(received, woken).await {
            None => return Ok(()),
            Some(Some((from, length))) => hear(shared, from, &packet[..length]),
            Some(None) if Instant::now() >= end => return Ok(()),
            Some(None) => {}
        }
    }
}

/// Resolves names one after the other: a resolver that does not answer holds one place of the pool.
async fn resolve(shared: Rc<Shared>) {
    for Watched { node, host } in watched(&shared.lan) {
        if host.parse::<IpAddr>().is_ok() {
            continue;
        }
        let Ok(addresses) = async_net::resolve((&*host, rmcp::PORT)).await else { continue };
        let v4 = addresses.into_iter().find_map(|address| match address.ip() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        if let Some(address) = v4 {
            shared.watch.borrow_mut().resolved(&node, &host, address);
        }
    }
    shared.resolving.set(false);
}

fn hear(shared: &Shared, from: Ipv4Addr, packet: &[u8]) {
    let heard = shared.watch.borrow_mut().receive(shared.start.elapsed(), from, packet);
    let Some((pong, devices)) = heard else { return };
    let version = (pong.version.0 > 0).then(|| pong.version.to_string());
    for (node, was_away) in devices {
        learn(&shared.lan, &node, version.as_deref(), pong.state, pong.has_tls());
        if was_away {
            shared.lan.hub.amt_seen_on_lan(&node);
        }
    }
}

/// Asks the web server of one device.
async fn ask(shared: Rc<Shared>, node: NodeId) {
    let _place = shared.probes.acquire().await;
    let host = shared.lan.hub.store.device(&node).and_then(|device| device.host.clone());
    let with_tls = shared.lan.hub.store.amt_access(&node).is_some_and(|access| access.tls);
    let answer = match host {
        Some(host) => probe::version(&host, with_tls).await.ok(),
        None => None,
    };
    let now = shared.start.elapsed();
    let was_away = shared.watch.borrow_mut().probed(now, &node, answer.is_some());
    if let (Some(was_away), Some(version)) = (was_away, answer) {
        // Whose web server runs is activated.
        learn(&shared.lan, &node, Some(&version), 2, with_tls);
        if was_away {
            shared.lan.hub.amt_seen_on_lan(&node);
        }
    }
}

/// Devices with Intel AMT and an address, which are not connected through a tunnel.
fn watched(lan: &Lan) -> Vec<Watched> {
    if !lan.is_on() {
        return Vec::new();
    }
    let (hub, config) = (&lan.hub, lan.hub.config());
    let devices = config.domains.keys().flat_map(|domain| hub.store.devices(domain));
    let is_watched = |device: &Device| {
        let has_amt = hub.store.amt_access(&device.id).is_some()
            || device.extra.iter().any(|(name, _)| name == "intelamt");
        has_amt && !hub.has_outside_amt_tunnel(&device.id)
    };
    devices
        .filter_map(|device| {
            let host = device.host.as_ref().filter(|host| !HERE.contains(&host.as_str()))?;
            is_watched(&device).then(|| Watched { node: device.id.clone(), host: host.clone() })
        })
        .collect()
}

/// Puts what was heard into the record of the device, if it is news. TLS is switched on by what is
/// heard, never off: a ping's answer is anybody's, and passwords would go out in the open.
fn learn(lan: &Lan, node: &NodeId, version: Option<&str>, state: u8, with_tls: bool) {
    let store = &lan.hub.store;
    if let Some(access) = store.amt_access(node).filter(|access| with_tls && !access.tls) {
        store.put(AmtAccess { tls: true, ..(*access).clone() }).later();
    }
    lan.hub.change_amt_facts(node, |amt| {
        let known = amt.get("ver").and_then(Value::as_str);
        if let Some(version) = version.filter(|version| is_news(known, version)) {
            amt.insert("ver".into(), version.into());
        }
        amt.insert("state".into(), state.into());
    });
}
