//! What an agent, a listener of the control channel and a tunnel of Intel AMT may cost, counted in
//! bytes and allocations instead of seconds: the numbers are the same on every machine, so they can
//! guard CI. The server runs on a thread of this program; what the simulated agents allocate on
//! theirs is not counted.

#[path = "budgets/amt.rs"]
mod amt;
mod common;
#[path = "../benches/list/devices.rs"]
mod devices;
#[path = "hostile/peer.rs"]
mod peer;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use async_net::TcpListener;
use meshboard::agent::room::Room;
use meshboard::config::Config;
use meshboard::hub::Hub;
use meshboard::identity::{self as identity_of, Names, tls::WebTls};
use meshboard::model::{
    DomainId, Group as GroupRecord, GroupId, GroupKind, Key48, LoginToken, Millis, PasswordHash,
    SiteRights, User, UserId,
};
use meshboard::server::app::{App, Port};
use meshboard::server::http;
use meshboard::store::Store;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use common::simulated::{Group, Keys, identity};
use common::{PATIENCE, meshboard::seed_keys, ports};
use devices::List;
use peer::{Forger, Raw, frame};

/// Agents connected at a time.
const AGENTS: usize = 250;
/// Live heap per connected agent in bytes, TLS included.
const PER_AGENT: i64 = 6 * 1024;
/// Live heap per idle session of the control channel in bytes, TLS included. The promise is 16 KB in
/// all; the allocator takes its share.
const PER_SESSION: i64 = 10 * 1024;
/// Heap the server may keep when all of them have gone, in bytes: buffers of the executor, of the
/// reactor and of the store, which do not grow with the number of connections.
const LEFT_OVER: i64 = 64 * 1024;
/// Allocations per connection of an agent that knows the server, from TCP to its end.
const ALLOCATIONS: i64 = 400;
/// Times all of them come back. With the two before them fewer than make an agent held as flapping.
const ROUNDS: i64 = 4;
/// Heap at any moment while the list of a thousand devices is made, in bytes: its text, with the
/// capacity reserved for it, and what finding the devices takes.
const LIST_PEAK: i64 = 700 * 1024;
/// Allocations for it: one per device, for checking what its agent reported as JSON, and those of
/// the request and of the groups.
const LIST_ALLOCATIONS: i64 = 1500;
/// Length of the long message.
const LONG: usize = 64 * 1024;

struct Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);
static ALLOCATED: AtomicI64 = AtomicI64::new(0);

thread_local! {
    /// True on the thread of the agents.
    static AGENTS_THREAD: Cell<bool> = const { Cell::new(false) };
    static OWN: Cell<Own> = const { Cell::new(Own { live: 0, peak: 0, allocated: 0 }) };
}

fn count(bytes: i64, allocations: i64) {
    if AGENTS_THREAD.get() {
        OWN.with(|own| {
            let Own { live, peak, allocated } = own.get();
            let (live, allocated) = (live + bytes, allocated + allocations);
            own.set(Own { live, peak: peak.max(live), allocated });
        });
    } else {
        LIVE.fetch_add(bytes, Relaxed);
        ALLOCATED.fetch_add(allocations, Relaxed);
    }
}

/// What this thread alone has allocated.
#[derive(Clone, Copy)]
struct Own {
    live: i64,
    peak: i64,
    allocated: i64,
}

#[allow(unsafe_code, reason = "an allocator is unsafe by nature; this one only counts")]
// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64), 0);
        // SAFETY: the pointer came from `System`, see `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn an_agent_costs_what_it_may_and_leaves_nothing_behind() {
    AGENTS_THREAD.set(true);
    let _turn = turn();
    let fleet = Fleet::start();
    // Records, caches and buffers that every server has after a while.
    leave(fleet.connect());
    let base = settled();

    let mut agents = fleet.connect();
    let idle = (settled() - base) / AGENTS as i64;
    speak(&mut agents);
    let spoken = (settled() - base) / AGENTS as i64;
    leave(agents);

    let before = settled();
    let allocated = ALLOCATED.load(Relaxed);
    for _ in 0..ROUNDS {
        leave(fleet.connect());
    }
    let (kept, grown) = (before - base, settled() - before);
    let reconnects = ROUNDS * AGENTS as i64;
    let each = (ALLOCATED.load(Relaxed) - allocated) / reconnects;
    println!(
        "{idle} bytes per idle agent, {spoken} after a long message; {each} allocations per \
         connection; {kept} bytes kept, {grown} more after {reconnects} reconnects"
    );
    assert!(idle <= PER_AGENT, "{idle} bytes per idle agent");
    assert!(spoken <= PER_AGENT, "{spoken} bytes per agent that has spoken");
    assert!(each <= ALLOCATIONS, "{each} allocations per connection");
    assert!(kept <= LEFT_OVER, "{kept} bytes kept");
    assert!(grown <= LEFT_OVER, "{grown} bytes leaked");
}

/// The list of a thousand devices is one text, written once, with hardly anything beside it.
#[test]
fn a_list_of_a_thousand_devices_is_built_once() {
    AGENTS_THREAD.set(true);
    let list = List::of(1000);
    // Texts that are made once in a program's life.
    let len = list.ask();
    let before = OWN.get();
    OWN.set(Own { peak: before.live, ..before });
    let again = list.ask();
    let after = OWN.get();
    let (peak, allocated) = (after.peak - before.live, after.allocated - before.allocated);
    let kept = after.live - before.live;
    println!("{len} bytes of text: {peak} bytes at most, {allocated} allocations, {kept} kept");
    assert_eq!(again, len);
    assert!(len > 400_000, "{len} bytes are no list of a thousand devices");
    assert!(peak <= LIST_PEAK, "{peak} bytes at a time for {len} bytes of text");
    assert!(allocated <= LIST_ALLOCATIONS, "{allocated} allocations");
    assert_eq!(kept, 0);
}

#[test]
fn a_listener_costs_what_it_may_and_leaves_nothing_behind() {
    AGENTS_THREAD.set(true);
    let _turn = turn();
    let fleet = Fleet::start();
    close(fleet.listen());
    let base = settled();
    let mut listeners = fleet.listen();
    let idle = (settled() - base) / AGENTS as i64;
    // A long request and its answer, and an event for everybody.
    for listener in &mut listeners {
        let request = json!({ "action": "print", "value": "x".repeat(LONG) }).to_string();
        listener.send(&frame(1, true, request.as_bytes()));
        listener.send(&frame(1, true, br#"{"action":"nodes"}"#));
        listener.heard();
    }
    let spoken = (settled() - base) / AGENTS as i64;
    close(listeners);
    let kept = settled() - base;
    println!("{idle} bytes per idle listener, {spoken} after long messages; {kept} bytes kept");
    assert!(idle <= PER_SESSION, "{idle} bytes per idle listener");
    assert!(spoken <= PER_SESSION, "{spoken} bytes per listener that has spoken");
    assert!(kept <= LEFT_OVER, "{kept} bytes kept");
}

/// One test at a time: all allocations of this program are counted together.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server on a thread, and the agents that connect to it.
struct Fleet {
    port: u16,
    mps: u16,
    group: Group,
    keys: Keys,
}

impl Fleet {
    fn start() -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        seed_keys(data.path());
        let (mesh, port, mps) = (identity::random(), ports::free(), ports::free());
        let certificate = data.path().join("agentserver-cert-public.crt");
        let certificate = CertificateDer::from_pem_file(certificate).expect("it was seeded");
        let key = identity::public_key_bits(&certificate);
        let (ready, started) = mpsc::channel();
        thread::spawn(move || {
            serve(data.path(), GroupId::new(DomainId::default(), Key48(mesh)), port, mps, &ready)
        });
        let group = Group { mesh, server: identity::sha384(&[&key.expect("a certificate")]) };
        let fleet = Self {
            port,
            mps,
            group,
            keys: Keys::for_fleet(AGENTS, 2048).expect("target is writable"),
        };
        started.recv().expect("the server starts");
        fleet
    }

    /// Connects every agent and waits until the server is done with it.
    fn connect(&self) -> Vec<Forger> {
        let agents = (0..AGENTS).map(|number| self.keys.agent(number));
        agents.map(|agent| Forger::honest(self.port, agent, self.group)).collect()
    }
}

impl Fleet {
    /// Opens sessions of the control channel, each by a login token, and waits until all of them
    /// have heard of each other.
    fn listen(&self) -> Vec<Raw> {
        let [name, password] =
            [TOKEN, "secret"].map(|text| data_encoding::BASE64.encode(text.as_bytes()));
        let header = format!("x-meshauth: {name},{password}\r\n");
        let open = |_| Raw::open(self.port, "/control.ashx", &header);
        let mut listeners: Vec<_> = (0..AGENTS).map(open).collect();
        for listener in &mut listeners {
            while !listener.next().expect("it is let in").1.starts_with(br#"{"action":"userinfo""#)
            {
            }
        }
        for listener in &mut listeners {
            listener.heard();
        }
        listeners
    }
}

fn close(listeners: Vec<Raw>) {
    // What each hears of those that go before it must not fill a buffer.
    for mut listener in listeners {
        listener.send(&frame(8, true, &[]));
        listener.end();
    }
}

/// The login token of the sessions.
const TOKEN: &str = "~t:budget";

/// An account with a login token: no password is computed.
fn put_account(hub: &Hub) {
    let id = UserId::new(DomainId::default(), "admin").expect("a name");
    let mut user = User::new(id.clone(), "admin", PasswordHash::None, Millis(0));
    user.site = SiteRights::FULL;
    hub.store.put(user).later();
    let password = identity_of::password::keep_random("secret");
    let (token_user, name) = (TOKEN.to_owned(), "budget".to_owned());
    let token =
        LoginToken { token_user, user: id, name, password, created: Millis(0), expires: None };
    hub.store.put(token).later();
}

/// Serves for ever, without a disk: what the store has not written yet would be counted.
fn serve(data: &Path, group: GroupId, port: u16, mps: u16, ready: &mpsc::Sender<()>) {
    let executor = Rc::new(LocalExecutor::new());
    let serving = async {
        let mut config = Config::default();
        config.settings.mps_pass = Some(amt::PASSWORD.into());
        let hub = Hub::new(Store::in_memory(), config, Millis(0));
        put_account(&hub);
        hub.store.put(GroupRecord::new(group, "lab", GroupKind::Agent, Millis(0))).later();
        let group = GroupId::new(DomainId::default(), amt::GROUP);
        hub.store.put(GroupRecord::new(group, "firmware", GroupKind::Amt, Millis(0))).later();
        let names = Names { server: "127.0.0.1".into(), others: vec![] };
        let tls = WebTls::new(identity_of::load_or_make_web(data, &names).expect("it was seeded"));
        let rsa = identity_of::load_or_make_rsa(data, &names, 0).expect("it was seeded");
        let room = Room::new(hub.clone(), tls.clone());
        room.set_server(rsa.agent_server);
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let tls = tls.server_config().expect("the certificate is good");
        let app = App::new(executor.clone(), hub, room, tls, port, data);
        let app = app.expect("there is randomness");
        let certificate = identity_of::load_mps(data, None).expect("it was seeded");
        app.mps.equip(data, &certificate).expect("the certificate is good");
        let door = TcpListener::bind(("127.0.0.1", mps)).await.expect("the port is free");
        executor.spawn(meshboard::server::mps::serve(app.clone(), door)).detach();
        ready.send(()).expect("the test waits");
        http::serve_tls(app, listener, Port::Main).await;
    };
    async_io::block_on(executor.run(serving));
}

/// One long message each, dealt with when the ping behind it is answered.
fn speak(agents: &mut [Forger]) {
    let message = json!({ "action": "budget", "value": "x".repeat(LONG) }).to_string();
    for agent in agents {
        agent.say(&message);
        assert_eq!(agent.socket.heard(), Vec::<Vec<u8>>::new());
    }
}

fn leave(agents: Vec<Forger>) {
    for mut agent in agents {
        agent.socket.send(&frame(8, true, &[]));
        agent.socket.end();
    }
}

/// Live bytes once the server has nothing left to do: no change in a while.
fn settled() -> i64 {
    let deadline = Instant::now() + PATIENCE;
    let look = || (LIVE.load(Relaxed), ALLOCATED.load(Relaxed));
    let mut before = look();
    loop {
        thread::sleep(Duration::from_millis(300));
        let now = look();
        if now == before || Instant::now() > deadline {
            return now.0;
        }
        before = now;
    }
}
