//! A day of a hundred agents, through the rooms an agent's words pass, onto a disk that counts.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::block_on;
use serde_json::{Value, json};

use super::admission::{Admitted, Flapping, admit, leave};
use super::auth::Identified;
use super::reports::Reports;
use crate::config::Config;
use crate::hub::Hub;
use crate::model::{
    DomainId, Event, EventKind, Group, GroupId, GroupKind, Key48, Millis, Target, UserId,
};
use crate::store::{Options, Store};

const AGENTS: usize = 100;
/// Bytes such a day may write.
const BUDGET: u64 = 1 << 20;
/// 2026-11-22.
const MORNING: Millis = Millis(1_795_305_600_000);

/// A server whose store has a clock that stands until it is moved.
struct Server {
    hub: Rc<Hub>,
    clock: Rc<Cell<Duration>>,
    _data: tempfile::TempDir,
}

impl Server {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let clock = Rc::<Cell<Duration>>::default();
        let hand = clock.clone();
        let store = Store::open_at(data.path(), Options::default(), MORNING, move || hand.get());
        let hub = Hub::new(store, Config::default(), MORNING);
        let group = Group::new(group(), "lab", GroupKind::Agent, MORNING);
        hub.store.put(group).later();
        Self { hub, clock, _data: data }
    }

    /// Time passes, and whatever is due then is written.
    fn pass(&self, time: Duration) {
        self.clock.set(self.clock.get() + time);
        block_on(self.hub.store.catch_up());
    }
}

fn group() -> GroupId {
    GroupId::new(DomainId::default(), Key48([7; 48]))
}

/// A laptop: it comes and goes.
struct Laptop {
    number: usize,
    connected: Option<(Admitted, Reports)>,
}

impl Laptop {
    fn connect(&mut self, server: &Server, hour: usize) {
        let mut key = Key48([0x5A; 48]);
        key.0[..8]
            .copy_from_slice(&(self.number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        let who = Identified {
            key,
            agent_id: 6,
            version: 0,
            platform: 4,
            group: Key48([7; 48]),
            caps: 0x118,
            host_name: format!("laptop-{:03}", self.number),
            agent_name: None,
            commit_date: None,
        };
        let remote = SocketAddr::from(([10, 1, 0, self.number as u8], 40_000 + hour as u16));
        // What a device does in hours, this test does in a moment.
        let flapping = Flapping::default();
        let domain = DomainId::default();
        let admitted = admit(&server.hub, &flapping, &domain, &who, remote).ok().unwrap();
        let reports = Reports::new(server.hub.clone(), admitted.link.clone(), 0x118);
        self.connected = Some((admitted, reports));
    }

    fn disconnect(&mut self, server: &Server) {
        if let Some((admitted, _)) = self.connected.take() {
            leave(&server.hub, &Flapping::default(), &admitted);
        }
    }

    fn say(&mut self, message: &Value) {
        let (_, reports) = self.connected.as_mut().unwrap();
        reports.receive(message.to_string().as_bytes());
    }

    /// What an agent says whenever it has connected.
    fn introduce_itself(&mut self, hour: usize) {
        // Somebody works on it from 8 to 12 and from 13 to 18.
        let users = match hour {
            12 => vec![],
            8..18 => vec![format!("PC{}\\someone", self.number)],
            _ => vec![],
        };
        // The scanner is out of date until its update at noon.
        let updated = hour >= 12;
        self.say(&json!({
            "action": "coreinfo", "value": "Nov 21 2022, 2189501291", "caps": 31, "root": true,
            "osdesc": "Microsoft Windows 11 Pro - 22H2/22621", "users": users,
            "av": [{"product": "Windows Defender", "updated": updated, "enabled": true}],
            "defender": {"RealTimeProtection": true, "TamperProtected": true},
        }));
        // At home and at work.
        let network = if (8..18).contains(&hour) { 1 } else { 2 };
        let address = |family: &str, address: String| {
            json!({"mac": "02:FC:00:00:00:01", "type": "wireless", "status": "up",
                "address": address, "family": family, "netmask": "255.255.255.0"})
        };
        self.say(&json!({"action": "netinfo", "netif2": {
            "lo": [address("IPv4", "127.0.0.1".into()), address("IPv6", "::1".into())],
            "wlan0": [
                address("IPv4", format!("192.168.{network}.{}", self.number)),
                address("IPv6", format!("fe80::{network}:{}", self.number)),
            ],
        }}));
        // It has been told that it is known; one in ten has changed all the same.
        if hour == 9 && self.number.is_multiple_of(10) {
            let disks: Vec<_> =
                (0..20).map(|n| json!({"Name": "disk", "Size": n * 7919})).collect();
            self.say(&json!({"action": "sysinfo", "data": {
                "hash": format!("{:096x}", self.number * 7919 + hour),
                "hardware": {"identifiers": {"cpu_name": "Intel"}, "windows": {"drives": disks}},
            }}));
        }
    }
}

#[test]
fn a_day_of_a_hundred_agents_writes_at_most_a_megabyte() {
    let server = Server::new();
    let mut laptops: Vec<_> =
        (0..AGENTS).map(|number| Laptop { number, connected: None }).collect();
    // What is written once for every device is not the day's.
    for laptop in &mut laptops {
        laptop.connect(&server, 0);
        laptop.introduce_itself(0);
    }
    server.pass(Duration::from_secs(24 * 3600));
    let before = server.hub.store.bytes_written();

    for hour in 0..24 {
        for laptop in &mut laptops {
            // Wi-Fi, sleep, a restart: every hour it is gone and comes back.
            laptop.disconnect(&server);
            server.pass(Duration::from_secs(18));
            laptop.connect(&server, hour);
            laptop.introduce_itself(hour);
            for level in [90, 85] {
                laptop.say(&json!({"action": "battery", "state": "dc", "level": level}));
            }
            server.pass(Duration::from_secs(18));
        }
        // Three people work with them: what they do is history.
        for n in 0..30 {
            let admin = UserId::new(DomainId::default(), "admin").unwrap();
            let event = Event::new("relaylog", DomainId::default())
                .kind(EventKind::Relay)
                .actor(&admin)
                .with("msg", format!("Ended terminal session \"{n}\" from 10.0.0.7, 120 second(s)"))
                .with("msgArgs", vec![json!("id"), json!("10.0.0.7"), json!(120)])
                .to(Target::Group(group()));
            server.hub.publish(event);
        }
    }
    block_on(server.hub.store.close()).unwrap();
    let written = server.hub.store.bytes_written() - before;
    println!("a day of {AGENTS} agents wrote {written} bytes");
    assert!(written <= BUDGET, "{written} bytes");
    // That much has to be somewhere: a test in which nothing happens would say nothing.
    assert!(written >= 100 << 10, "{written} bytes");
}
