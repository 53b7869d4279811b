//! Hostile clients of the control channel, and the end of the server.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::common::Server;
use super::peer::{Raw, frame, header};
use super::{ADMIN, ATTACKER, House, PASSWORD, is_connected};

/// Another network than the attacker's: failures are counted per /24.
const OWNER: [u8; 4] = [127, 0, 9, 2];
/// Owners and agents are served long before the guesses, on a machine that runs other tests, too.
/// How long exactly nobody waits for whom is proven in virtual time (`control::storm_tests`).
const SOON: Duration = Duration::from_secs(4);

fn credentials(password: &str) -> String {
    credentials_of(ADMIN, password)
}

fn credentials_of(name: &str, password: &str) -> String {
    let [name, password] = [name, password].map(|text| BASE64.encode(text.as_bytes()));
    format!("x-meshauth: {name},{password}\r\n")
}

fn open(house: &House, source: [u8; 4], password: &str) -> Raw {
    Raw::open_from(source, house.port(), "/control.ashx", &credentials(password))
}

/// The `action` and `cause` of the next message.
fn next(raw: &mut Raw) -> (String, String) {
    let Some((1, text)) = raw.next() else { panic!("no message") };
    let message: Value = serde_json::from_slice(&text).expect("the server speaks JSON");
    let member = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
    (member("action"), member("cause"))
}

#[test]
fn nonsense_is_ignored_and_a_request_above_1_mib_ends_the_session() {
    let house = House::open();
    let neighbour = house.agent(0);
    let mut client = open(&house, OWNER, PASSWORD);
    assert_eq!(next(&mut client).0, "serverinfo");
    assert_eq!(next(&mut client).0, "userinfo");
    // The event that tells of this very login.
    client.heard();
    let deep = format!(r#"{{"action":"nodes","x":{}"#, "[".repeat(500_000));
    for nonsense in [deep.as_bytes(), b"", b"null", b"[]", b"{}", &[0xff; 1000], b"{\"action\":5}"]
    {
        client.send(&frame(1, true, nonsense));
    }
    assert_eq!(client.heard(), Vec::<Vec<u8>>::new(), "not a word");
    client.send(&frame(1, true, br#"{"action":"meshes","responseid":"r"}"#));
    assert_eq!(next(&mut client).0, "meshes", "the session goes on");
    client.send(&header(1, true, (1 << 20) + 1));
    client.end();
    house.refused("websocket", 1);
    house.is_well(&neighbour);
}

#[test]
fn guessing_passwords_bars_the_guesser_and_nobody_else() {
    let house = House::open();
    let neighbour = house.agent(0);
    let mut barred = false;
    let mut owner_waited = Duration::MAX;
    for guess in 0..200 {
        let (action, cause) = next(&mut open(&house, ATTACKER, &format!("guess {guess}")));
        assert_eq!(action, "close");
        if cause == "banned" && !barred {
            barred = true;
            let start = Instant::now();
            assert_eq!(next(&mut open(&house, OWNER, PASSWORD)).0, "serverinfo");
            owner_waited = start.elapsed();
            is_connected(&neighbour);
        }
        assert!(!barred || cause == "banned", "once barred it stays out: {cause}");
    }
    assert!(owner_waited < SOON, "{owner_waited:?}");
    assert_eq!(next(&mut open(&house, ATTACKER, PASSWORD)).1, "banned", "even with the password");
    house.refused("user_auth", 10);
    house.refused("banned", 100);
    house.server.wait_for_log("login failed from 127.6.6.6");
    house.is_well(&neighbour);
}

/// Sixteen guesses at a time, all before the first is judged: an agent does not notice, and the
/// owner is let in as soon as the queue has room.
#[test]
fn a_storm_of_guesses_leaves_agents_alone() {
    let house = House::open();
    let neighbour = house.agent(0);
    let mut storm: Vec<_> =
        (0..60).map(|guess| open(&house, ATTACKER, &format!("guess {guess}"))).collect();
    let start = Instant::now();
    is_connected(&neighbour);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    for client in &mut storm {
        assert_eq!(next(client).0, "close");
    }
    let start = Instant::now();
    assert_eq!(next(&mut open(&house, OWNER, PASSWORD)).0, "serverinfo");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    house.is_well(&neighbour);
}

/// Guesses without a pause, each few from another network. Who logged in from the same place before
/// is let in soon; who comes from somewhere new waits with the others, and is let in.
#[test]
fn a_storm_from_many_networks_keeps_no_owner_waiting() {
    const ATTACKERS: u8 = 8;
    let house = House::open();
    house.server.command(&["user", "add", "bob", "--password", PASSWORD]);
    let neighbour = house.agent(0);
    assert_eq!(next(&mut open(&house, OWNER, PASSWORD)).0, "serverinfo");
    let over = AtomicBool::new(false);
    let (port, over) = (house.port(), &over);
    let storm = |attacker: u8| {
        // Five guesses at a time, each time from the next network.
        let mut networks = 0_u32;
        while !over.load(Relaxed) {
            let source = [127, 100 + attacker, (networks % 250) as u8, 1];
            let header = credentials(&format!("guess {networks}"));
            let open = || Raw::open_from(source, port, "/control.ashx", &header);
            let mut guesses: [_; 5] = std::array::from_fn(|_| open());
            for guess in &mut guesses {
                assert_eq!(next(guess).0, "close");
            }
            networks += 1;
        }
        networks
    };
    thread::scope(|scope| {
        let storms: Vec<_> = (0..ATTACKERS).map(|n| scope.spawn(move || storm(n))).collect();
        // Ends the storm also when an assertion fails.
        let end = End(over);
        house.refused("user_auth", 20);
        for round in 0..5 {
            let start = Instant::now();
            assert_eq!(next(&mut open(&house, OWNER, PASSWORD)).0, "serverinfo");
            assert!(start.elapsed() < SOON, "a known place: {:?}", start.elapsed());
            let somewhere = [127, 90, round, 1];
            let header = credentials_of("bob", PASSWORD);
            let mut bob = Raw::open_from(somewhere, port, "/control.ashx", &header);
            assert_eq!(next(&mut bob).0, "serverinfo", "a new place: in its turn, but let in");
            let start = Instant::now();
            is_connected(&neighbour);
            assert!(start.elapsed() < SOON, "an agent: {:?}", start.elapsed());
        }
        drop(end);
        let networks: u32 = storms.into_iter().map(|storm| storm.join().expect("no panic")).sum();
        assert!(networks >= 10, "{networks} networks are no storm");
    });
    house.is_well(&neighbour);
}

/// Sets its flag when dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A ban is no matter of memory.
#[test]
fn who_is_barred_stays_barred_over_a_restart() {
    let mut house = House::open();
    let mut guess = 0;
    while next(&mut open(&house, ATTACKER, &format!("guess {guess}"))).1 != "banned" {
        guess += 1;
        assert!(guess < 50, "never barred");
    }
    house.server.stop();
    house.server.start_again();
    assert_eq!(next(&mut open(&house, ATTACKER, PASSWORD)).1, "banned");
    assert_eq!(next(&mut open(&house, OWNER, PASSWORD)).0, "serverinfo");
}

/// Who says nothing inside the WebSocket, too much, or nonsense, gets nothing.
#[test]
fn an_inner_authentication_is_short() {
    let house = House::open();
    let neighbour = house.agent(0);
    let inner = || Raw::open_from(ATTACKER, house.port(), "/control.ashx", "x-meshauth: *\r\n");
    let mut flood = inner();
    for _ in 0..100 {
        flood.send(&frame(1, true, b"{}"));
    }
    // What it sent beyond the limit is unread when the server closes, so the kernel resets the
    // connection, and that may swallow the last word.
    for heard in flood.end() {
        assert!(String::from_utf8_lossy(&heard).contains("noauth"));
    }
    let mut long = inner();
    long.send(&header(1, true, 1 << 16));
    long.end();
    let mut oracle = inner();
    let sign = br#"{"action":"serverAuth","cnonce":"QUFB","tlshash":"00"}"#;
    oracle.send(&frame(1, true, sign));
    let Some((1, text)) = oracle.next() else { panic!("no message") };
    assert!(String::from_utf8_lossy(&text).contains("badtlscert"));
    let mut owner = Raw::open_from(OWNER, house.port(), "/control.ashx", "x-meshauth: *\r\n");
    let [name, password] = [ADMIN, PASSWORD].map(|text| BASE64.encode(text.as_bytes()));
    let login = json!({"action": "userAuth", "username": name, "password": password});
    owner.send(&frame(1, true, login.to_string().as_bytes()));
    assert_eq!(next(&mut owner).0, "serverinfo");
    // What comes afterwards may be long again.
    let long = json!({"action": "meshes", "x": "x".repeat(1 << 16)});
    owner.send(&frame(1, true, long.to_string().as_bytes()));
    while next(&mut owner).0 != "meshes" {}
    house.is_well(&neighbour);
}

#[test]
fn another_site_cannot_use_a_visitors_browser() {
    let house = House::open();
    let headers = format!("{}Origin: https://evil.example\r\n", credentials(PASSWORD));
    let mut page = Raw::open(house.port(), "/control.ashx", &headers);
    assert_eq!(next(&mut page), ("close".to_owned(), "invalidorigin".to_owned()));
    house.refused("user_auth", 1);
}

#[test]
fn the_server_stops_within_two_seconds_whoever_is_connected() {
    let mut house = House::open();
    let agents: Vec<_> = (0..5).map(|number| house.agent(number)).collect();
    let mut client = open(&house, OWNER, PASSWORD);
    assert_eq!(next(&mut client).0, "serverinfo");
    // One who claims to send a megabyte and does not, one who only holds a socket.
    client.send(&header(1, true, 1 << 20));
    let half_open = super::peer::tcp_from(ATTACKER, house.port());
    let start = Instant::now();
    house.server.stop();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    drop((agents, half_open));
}
