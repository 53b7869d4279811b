//! WebSocket frames that break the rules, before and after authentication.

use super::peer::{Forger, Raw, frame, header};
use super::{House, agent};

/// Longest message before and after authentication.
const EARLY: usize = 16 * 1024;
const LATER: usize = 4 * 1024 * 1024;

fn stranger(house: &House) -> Raw {
    Raw::open(house.port(), "/agent.ashx", "")
}

#[test]
fn before_authentication_a_message_above_16_kb_ends_the_connection() {
    let house = House::open();
    let neighbour = house.agent(0);
    let mut modest = stranger(&house);
    modest.send(&frame(2, true, &[0xee; EARLY]));
    assert_eq!(modest.heard(), Vec::<Vec<u8>>::new(), "at the limit nothing happens");
    // What is claimed suffices: nobody waits for bytes that may never come.
    let claimed = header(2, true, EARLY as u64 + 1);
    let enormous = header(2, true, u64::MAX);
    let fragments = [frame(2, false, &[0; EARLY - 9]), frame(0, true, &[0; 10])].concat();
    for bytes in [claimed, enormous, fragments] {
        let mut raw = stranger(&house);
        raw.send(&bytes);
        assert_eq!(raw.end(), Vec::<Vec<u8>>::new());
    }
    house.refused("websocket", 3);
    house.is_well(&neighbour);
}

#[test]
fn after_authentication_a_message_above_4_mib_ends_the_connection() {
    let house = House::open();
    let neighbour = house.agent(0);
    let mut modest = Forger::honest(house.port(), agent(1), house.group);
    let ping = r#"{"action":"ping"}"#;
    modest.say(&format!("{ping}{}", " ".repeat(LATER - ping.len())));
    assert_eq!(modest.socket.heard(), [br#"{"action":"pong"}"#], "at the limit it is served");
    modest.socket.send(&header(1, true, LATER as u64 + 1));
    modest.socket.end();
    let mut endless = Forger::honest(house.port(), agent(2), house.group);
    endless.socket.send(&frame(1, false, &[b' '; 1 << 20]));
    for _ in 0..4 {
        endless.socket.send(&frame(0, false, &[b' '; 1 << 20]));
    }
    endless.socket.end();
    house.refused("websocket", 2);
    house.is_well(&neighbour);
}

#[test]
fn broken_frames_end_only_their_own_connection() {
    let house = House::open();
    let neighbour = house.agent(0);
    let broken = [
        ("a reserved bit", vec![0xc2, 0x80, 0, 0, 0, 0]),
        ("a reserved opcode", frame(3, true, b"")),
        ("a continuation of nothing", frame(0, true, b"x")),
        ("a message inside a message", [frame(2, false, b"a"), frame(2, true, b"b")].concat()),
        ("a long ping", frame(9, true, &[0; 126])),
        ("a ping in pieces", frame(9, false, b"")),
        ("HTTP instead", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ];
    for (name, bytes) in &broken {
        let mut raw = stranger(&house);
        raw.send(bytes);
        assert_eq!(raw.end(), Vec::<Vec<u8>>::new(), "{name}");
    }
    house.refused("websocket", broken.len() as u64);
    house.is_well(&neighbour);
}

/// Stock agents mask; a peer that does not, or that dribbles, harms nobody and is understood.
#[test]
fn unmasked_frames_and_single_bytes_are_understood() {
    let house = House::open();
    let mut raw = stranger(&house);
    raw.send(&[0x89, 2, b'h', b'i']);
    assert_eq!(raw.next(), Some((10, b"hi".to_vec())));
    for byte in frame(9, true, b"slow") {
        raw.send(&[byte]);
    }
    assert_eq!(raw.next(), Some((10, b"slow".to_vec())));
}

/// A peer that pings and never reads cannot grow the server's queue: pongs are left out.
#[test]
fn a_flood_of_pings_is_not_answered_without_end() {
    let house = House::open();
    let neighbour = house.agent(0);
    let before = house.metric("process_resident_memory_bytes");
    let mut raw = stranger(&house);
    let pings = frame(9, true, &[7; 125]).repeat(1000);
    // 13 MB of pings; the loop ends when the server no longer reads, or has read them all.
    for _ in 0..100 {
        raw.send(&pings);
    }
    house.is_well(&neighbour);
    let grown = house.metric("process_resident_memory_bytes").saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes");
}
