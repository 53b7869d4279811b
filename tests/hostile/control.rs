//! Hostile clients of the control channel, and the end of the server.

use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::Value;

use super::common::Server;
use super::peer::{Raw, frame, header};
use super::{ADMIN, ATTACKER, House, PASSWORD, is_connected};

/// Another network than the attacker's: failures are counted per /24.
const OWNER: [u8; 4] = [127, 0, 9, 2];

fn credentials(password: &str) -> String {
    let [name, password] = [ADMIN, password].map(|text| BASE64.encode(text.as_bytes()));
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
    assert!(owner_waited < Duration::from_secs(1), "{owner_waited:?}");
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
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    for client in &mut storm {
        assert_eq!(next(client).0, "close");
    }
    let start = Instant::now();
    assert_eq!(next(&mut open(&house, OWNER, PASSWORD)).0, "serverinfo");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
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
