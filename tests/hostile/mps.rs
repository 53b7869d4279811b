//! What happens on the port of Intel AMT before anybody has logged in.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::common::cira::{Door, Live, Mood, Seen};
use super::peer::{tcp_from, tls_from, until_end};
use super::{ATTACKER, House, SLACK, ports};

const PASSWORD: &str = "P@ssw0rd1";
const UUID: &str = "4c4c4544-004b-4210-8033-b6c04f504633";
const OTHER: &str = "11111111-2222-3333-4444-555555555501";
/// The server's limits, as ARCHITECTURE.md states them.
const HANDSHAKE: Duration = Duration::from_secs(15);
const LOGIN: Duration = Duration::from_secs(30);
const PLACES: u64 = 256;

/// A house with the port of Intel AMT open, and a computer that is connected.
fn open() -> (House, Door, String, Live) {
    let mps = ports::free();
    let house = House::open_with(json!({ "settings": { "mpsPort": mps, "mpsPass": PASSWORD } }));
    let setup = house.server.command(&["mps", "setup", "lab", "--json"]);
    let setup: Value = serde_json::from_str(&setup).expect("--json prints JSON");
    let user = setup["user"].as_str().expect("a name").to_owned();
    let door = Door { mps, https: house.port() };
    let live = computer(door, UUID, &user);
    (house, door, user, live)
}

fn computer(door: Door, uuid: &str, user: &str) -> Live {
    let live = Live::connect(door, Mood::Firmware, uuid, user, PASSWORD);
    live.wait_for(|seen| *seen == Seen::Ready);
    live
}

#[test]
fn a_thousand_half_handshakes_keep_no_computer_out() {
    const FLOOD: u64 = 1000;
    super::listener::allow_open_files();
    let (house, door, user, _live) = open();
    let neighbour = house.agent(0);
    let start = Instant::now();
    let flood: Vec<_> = (0..FLOOD)
        .map(|n| {
            let mut stream = tcp_from(ATTACKER, door.mps);
            // Some of them begin.
            let begun = if n % 2 == 0 { &[22, 3, 1, 2, 0, 1][..] } else { &[] };
            stream.write_all(begun).expect("the server listens");
            stream
        })
        .collect();
    computer(door, OTHER, &user);
    house.is_well(&neighbour);
    for mut stream in flood {
        assert_eq!(until_end(&mut stream), Vec::<u8>::new());
    }
    assert!(start.elapsed() < HANDSHAKE + SLACK, "{:?}", start.elapsed());
    house.refused("overload", FLOOD - PLACES);
    assert_eq!(house.metric("amt_tunnels"), 1, "the one that was there, still");
}

#[test]
fn whoever_does_not_log_in_is_ended_in_time_whatever_it_says() {
    let (house, door, _, _live) = open();
    let start = Instant::now();
    let silent = tls_from(ATTACKER, door.mps);
    let mut half = tls_from(ATTACKER, door.mps);
    // A keep-alive is answered, and keeps nobody alive.
    half.write_all(&[208, 0, 0, 0, 1, 5, 0, 0]).expect("the server reads");
    let mut flood = tls_from(ATTACKER, door.mps);
    // It may be ended on the way.
    let _ = flood.write_all(&[&[250, 0, 0, 0xff, 0xff][..], &[b' '; 60_000]].concat());
    for (mut stream, limit) in [(flood, SLACK), (silent, HANDSHAKE), (half, LOGIN)] {
        until_end(&mut stream);
        assert!(start.elapsed() < limit + SLACK, "{:?}", start.elapsed());
    }
    assert_eq!(house.metric("amt_tunnels"), 1);
}

#[test]
fn guessing_passwords_takes_longer_and_longer_and_disturbs_nobody() {
    let (house, door, user, _live) = open();
    let neighbour = house.agent(0);
    let start = Instant::now();
    for guess in 0..9 {
        let password = format!("Guess-{guess}-xX");
        let live = Live::connect(door, Mood::Firmware, OTHER, &user, &password);
        assert_eq!(live.ended(), [Seen::Refused]);
    }
    // From the sixth on: 100, 200, 400, 800 ms.
    assert!(start.elapsed() >= Duration::from_millis(1500), "{:?}", start.elapsed());
    house.refused("amt_auth", 9);
    house.is_well(&neighbour);
    // Nobody is barred.
    computer(door, OTHER, &user);
    assert!(house.metric("amt_tunnels") >= 1);
}

#[test]
fn garbage_ends_only_its_own_connection() {
    let (house, door, _, _live) = open();
    for bytes in
        [&b"SSH-2.0-x\r\n"[..], &[22, 3, 1, 0xff, 0xff], &[0; 5000], b"GET / HTTP/1.1\r\n\r\n"]
    {
        let mut stream = tcp_from(ATTACKER, door.mps);
        let _ = stream.write_all(bytes);
        until_end(&mut stream);
    }
    let mut browser = tls_from(ATTACKER, door.mps);
    browser.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("the server reads");
    let page = String::from_utf8_lossy(&until_end(&mut browser)).into_owned();
    assert!(page.contains("MeshCentral2 MPS server.<br />Intel&reg; AMT computers"), "{page}");
    for bytes in [&[0x0a; 5][..], &[192, 0, 0, 0, 1, 80], &[5, 0, 0, 0x0b, 0xb8], b"GET /\r\n\r\n"]
    {
        let mut stream = tls_from(ATTACKER, door.mps);
        stream.write_all(bytes).expect("the server reads");
        if bytes[0] != 192 {
            until_end(&mut stream);
        }
    }
    house.refused("amt_tls", 4);
    assert_eq!(house.metric("amt_tunnels"), 1);
}
