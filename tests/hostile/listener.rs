//! What happens on the port before anybody has said who they are.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::peer::{exchange, is_timeout, status, tcp_from, tls_from, until_end};
use super::{ATTACKER, House, SLACK};

/// The server's limits, as ARCHITECTURE.md states them.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(15);
const PLACES: u64 = 256;

#[test]
fn garbage_on_the_port_ends_only_its_own_connection() {
    let house = House::open();
    let neighbour = house.agent(0);
    let record = [&[22, 3, 1, 0xff, 0xff][..], &[0; 70_000]].concat();
    let garbage: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &[0xff; 5000],
        &record,
        // An alert out of nowhere.
        &[21, 3, 3, 0, 2, 2, 40],
    ];
    for bytes in garbage {
        let mut stream = tcp_from(ATTACKER, house.port());
        let _ = stream.write_all(bytes);
        let answer = until_end(&mut stream);
        // A TLS alert at most.
        assert!(answer.len() <= 7 && [None, Some(&21)].contains(&answer.first()), "{answer:?}");
    }
    house.refused("tls", garbage.len() as u64);
    house.is_well(&neighbour);
}

#[test]
fn a_thousand_half_open_sockets_do_not_keep_an_agent_out_and_are_dropped_in_time() {
    const FLOOD: u64 = 1000;
    allow_open_files();
    let house = House::open();
    let neighbour = house.agent(0);
    let start = Instant::now();
    let flood: Vec<_> = (0..FLOOD).map(|_| tcp_from(ATTACKER, house.port())).collect();
    house.is_well(&neighbour);
    // Whoever shares the flooding address comes in as well: the oldest make room for the newest.
    let mut victim = tls_from(ATTACKER, house.port());
    victim.write_all(b"GET /health.ashx HTTP/1.0\r\n\r\n").expect("the server reads");
    assert_eq!(status(&String::from_utf8_lossy(&until_end(&mut victim))), 200);
    for mut stream in flood {
        assert_eq!(until_end(&mut stream), Vec::<u8>::new());
    }
    assert!(start.elapsed() < HANDSHAKE + SLACK, "{:?}", start.elapsed());
    house.refused("overload", FLOOD - PLACES);
    house.refused("tls", PLACES - 10);
    house.is_well(&neighbour);
}

#[test]
fn requests_that_never_end_are_given_up_in_time() {
    let house = House::open();
    let neighbour = house.agent(0);
    let start = Instant::now();
    let silent = tls_from(ATTACKER, house.port());
    let kept = tls_from(ATTACKER, house.port());
    let half = tls_from(ATTACKER, house.port());
    let body = tls_from(ATTACKER, house.port());
    let first_words: [(_, &[u8]); 4] = [
        (silent, b""),
        (kept, b"GET /health.ashx HTTP/1.1\r\nHost: a\r\n\r\n"),
        (half, b"GET /health.ashx HTTP/1.1\r\nHost: a\r\n"),
        (body, b"POST /setup HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\ncode="),
    ];
    let mut streams = first_words.map(|(mut stream, words)| {
        stream.write_all(words).expect("the server reads");
        stream.flush().expect("the server reads");
        let pace = Duration::from_millis(200);
        stream.sock.set_read_timeout(Some(pace)).expect("a valid time");
        Some(stream)
    });
    let mut buffer = [0; 4096];
    while streams.iter().any(Option::is_some) {
        assert!(start.elapsed() < HEADERS + SLACK, "{:?}", streams.map(|s| s.is_some()));
        for (number, open) in streams.iter_mut().enumerate() {
            let Some(stream) = open else { continue };
            // The third one says something all the time.
            let alive = number != 2 || stream.write_all(b"x: y\r\n").is_ok();
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 && alive => {}
                Err(error) if is_timeout(&error) && alive => {}
                _ => *open = None,
            }
        }
    }
    house.refused("http", 2);
    house.is_well(&neighbour);
}

#[test]
fn headers_beyond_their_bounds_are_refused() {
    let house = House::open();
    let neighbour = house.agent(0);
    let long_value = format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(70));
    let endless = format!("GET / HTTP/1.1\r\n{}", "x: yyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(50_000));
    for (name, request, expected) in [
        ("a value of 20 KB", long_value, 431),
        ("a target of 20 KB", long_target, 431),
        ("70 fields", many, 431),
        ("1.4 MB of fields", endless, 431),
        ("no HTTP", "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), 400),
    ] {
        let answer = exchange(house.port(), request.as_bytes());
        // Who goes on sending may lose the answer to the reset.
        let answered = answer.is_empty() || status(&answer) == expected;
        assert!(answered, "{name}: {answer}");
    }
    house.refused("http", 5);
    house.is_well(&neighbour);
}

/// The flood needs more sockets than a program usually may have.
pub fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .expect("up to the limit");
}
