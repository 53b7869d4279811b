//! Desks over sockets in memory: one agent, those who watch, and whatever ends it.

use super::super::command::Introduction;
use super::super::desktop::picture::Size;
use super::super::desktop::wire::{FromAgent, FromViewer, KeyAction};
use super::super::recording::Recordings;
use super::super::testing::{House, Peer, called};
use crate::config::{Config, Recording};
use crate::hub::testing::{commands, node_id, user_id};
use crate::hub::{TunnelLink, TunnelMessage};
use crate::model::{DomainId, LinkTarget, Rights};
use crate::store::{EventQuery, RecordKey};
use crate::ws::{Opcode, frame_header};
use futures_lite::future::{poll_once, yield_now};
use futures_lite::io::AsyncWriteExt as _;
use serde_json::{Value, json};

fn config() -> Config {
    let mut config = Config::default();
    config.domains.entry(DomainId::default()).or_default().desktop_multiplex = true;
    config
}

/// A house whose desktops are shared; `eve` may do that, too, but not more.
fn house(eve: Rights) -> House {
    house_with(config(), eve)
}

fn house_with(config: Config, eve: Rights) -> House {
    let house = House::with(config, Rights::FULL);
    eve_may(&house, eve);
    house
}

fn eve_may(house: &House, rights: Rights) {
    house.world.set_link("eve", LinkTarget::Device(node_id(2)), Some(rights));
}

/// A viewer at the door.
fn knock(house: &House, name: &str) -> Peer {
    let node = node_id(2).to_string();
    house.connect(&format!("browser=1&p=2&nodeid={node}&id={name}&auth={}", house.auth(name)))
}

/// A viewer who has asked for the desktop.
async fn viewer(house: &House, name: &str, greeting: &[u8]) -> Peer {
    let mut viewer = knock(house, name);
    viewer.expect(Opcode::Text, greeting).await;
    viewer.send(Opcode::Text, b"2").await;
    viewer
}

/// The agent, when it is called.
async fn agent(house: &House) -> Peer {
    while house.room.is_empty() {
        yield_now().await;
    }
    let (command, query) = called(house);
    assert_eq!(command["rights"], Rights::REMOTE_CONTROL.bits(), "who may what is said here");
    house.connect(&query)
}

/// The same, past its greeting, with a picture.
async fn showing(house: &House, greeting: &[u8]) -> Peer {
    let mut agent = agent(house).await;
    agent.expect(Opcode::Text, greeting).await;
    agent.expect(Opcode::Text, b"2").await;
    agent.send(Opcode::Binary, &FromAgent::ScreenSize(SCREEN).encode()).await;
    agent.send(Opcode::Binary, &tile(0, 0, 640, 480, 0)).await;
    agent
}

const SCREEN: Size = Size { width: 640, height: 480 };

/// An image of that size, as far as anybody looks, with `mark` in it.
fn tile(x: u16, y: u16, width: u16, height: u16, mark: u8) -> Vec<u8> {
    let mut image = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    image.extend(u32::from(width).to_be_bytes());
    image.extend(u32::from(height).to_be_bytes());
    image.resize(image.len() + usize::from(width) * usize::from(height) / 2048 + 1, mark);
    FromAgent::Tile { x, y, image: &image }.encode()
}

fn key(action: KeyAction, code: u8) -> Vec<u8> {
    FromViewer::Key { action, code }.encode()
}

/// Who is watching, as the next metadata says.
async fn watchers(viewer: &mut Peer) -> Value {
    loop {
        let (_, payload) = viewer.next().await.expect("it goes on");
        let json: Value = serde_json::from_slice(&payload).unwrap_or_default();
        if json["type"] == "metadata" {
            return json["users"].clone();
        }
    }
}

/// Takes what comes until there is this message.
async fn wait_for(peer: &mut Peer, payload: &[u8]) {
    while peer.next().await.expect("it goes on").1 != payload {}
}

#[test]
fn all_who_watch_share_one_tunnel_and_who_comes_late_gets_the_whole_picture() {
    let house = house(Rights::REMOTE_CONTROL);
    house.tell(async || {
        let mut bob = viewer(&house, "bob", b"c").await;
        let mut agent = showing(&house, b"c").await;
        agent.send(Opcode::Binary, &tile(32, 32, 32, 32, 1)).await;
        wait_for(&mut bob, &tile(32, 32, 32, 32, 1)).await;

        let mut eve = viewer(&house, "eve", b"c").await;
        let both = json!({"user//bob": 1, "user//eve": 1});
        assert_eq!(watchers(&mut eve).await, both);
        eve.expect(Opcode::Binary, &FromAgent::ScreenSize(SCREEN).encode()).await;
        eve.expect(Opcode::Binary, &tile(0, 0, 640, 480, 0)).await;
        eve.expect(Opcode::Binary, &tile(32, 32, 32, 32, 1)).await;
        assert!(commands(&house.agent).is_empty(), "the agent is called once");
        assert_eq!(watchers(&mut bob).await, both);
        assert_eq!(house.agent.sessions.borrow()["multidesk"], both);
        assert_eq!(house.world.hub.tunnels.len(), 2, "each can be ended for itself");

        // Both may type; what comes from the agent reaches both.
        for (peer, code) in [(&mut bob, 65), (&mut eve, 66)] {
            peer.send(Opcode::Binary, &key(KeyAction::Down, code)).await;
            agent.expect(Opcode::Binary, &key(KeyAction::Down, code)).await;
        }
        agent.send(Opcode::Binary, &tile(64, 64, 32, 32, 2)).await;
        wait_for(&mut bob, &tile(64, 64, 32, 32, 2)).await;
        wait_for(&mut eve, &tile(64, 64, 32, 32, 2)).await;

        drop(bob);
        assert_eq!(watchers(&mut eve).await, json!({"user//eve": 1}));
        drop(eve);
        agent.is_closed().await;
        drop(agent);
        house.nothing_is_left().await;
    });
}

#[test]
fn the_tunnel_a_client_asks_for_itself_is_the_desks() {
    let house = house(Rights::REMOTE_CONTROL);
    let node = node_id(2).to_string();
    let (user, device) = (user_id("bob"), node_id(2));
    let user = house.world.hub.store.user(&user).unwrap();
    let device = house.world.hub.store.device(&device).unwrap();
    let introduction = Introduction {
        user: &user,
        device: &device,
        rights: Rights::FULL,
        remote: "127.0.0.1".parse().unwrap(),
        session: None,
        guest: None,
    };
    let fields = serde_json::Map::new();
    let ask = |value: &str| house.room.ask_for(&introduction, value, &fields);
    assert_eq!(ask(&format!("*/meshrelay.ashx?p=2&nodeid={node}&id=a&rauth=x")), Ok(()));
    assert!(commands(&house.agent).is_empty());
    assert_eq!(ask(&format!("*/meshrelay.ashx?p=1&nodeid={node}&id=a&rauth=x")), Ok(()));
    assert_eq!(commands(&house.agent).len(), 1, "other sessions are the client's own");
    house.world.hub.agent_gone(&house.agent);
    assert!(ask(&format!("*/meshrelay.ashx?p=2&nodeid={node}&id=a&rauth=x")).is_err());
}

#[test]
fn nobody_exceeds_the_rights_it_has_now() {
    let house = house(Rights::REMOTE_CONTROL | Rights::VIEW_ONLY);
    house.tell(async || {
        // Who may only watch opens the desk, and restricts nobody by that.
        let mut eve = viewer(&house, "eve", b"c").await;
        let mut agent = showing(&house, b"c").await;
        let mut bob = viewer(&house, "bob", b"c").await;
        let mut press = async |who: &str, code| {
            let peer = if who == "eve" { &mut eve } else { &mut bob };
            peer.send(Opcode::Binary, &key(KeyAction::Down, code)).await;
            // What comes behind it shows that it was heard.
            peer.send(Opcode::Text, br#"{"type":"rtt","time":7}"#).await;
            loop {
                let (_, payload) = peer.next().await.expect("it goes on");
                if payload.windows(5).any(|part| part == b"\"rtt\"") {
                    return;
                }
            }
        };
        press("eve", 65).await;
        press("bob", 66).await;
        agent.expect(Opcode::Binary, &key(KeyAction::Down, 66)).await;
        eve_may(&house, Rights::REMOTE_CONTROL | Rights::LIMITED_INPUT);
        press("eve", 112).await;
        press("eve", 67).await;
        agent.expect(Opcode::Binary, &key(KeyAction::Down, 67)).await;
        eve_may(&house, Rights::REMOTE_CONTROL | Rights::NO_DESKTOP);
        while eve.next().await.is_some() {}
        assert_eq!(watchers(&mut bob).await, json!({"user//bob": 1}));
        // Another protocol has no place at a desk.
        let mut bobs = knock(&house, "bob");
        bobs.expect(Opcode::Text, b"c").await;
        bobs.send(Opcode::Text, b"1").await;
        bobs.is_closed().await;
        knock(&house, "eve").is_closed().await;
        drop((eve, bob, bobs, agent));
        house.nothing_is_left().await;
    });
}

#[test]
fn a_guest_is_told_apart_and_goes_with_its_share() {
    let house = house(Rights::REMOTE_CONTROL);
    let cookie = house.share(|_| {});
    house.tell(async || {
        let mut guest = house.connect(&format!("browser=1&p=2&id=a&auth={cookie}"));
        guest.expect(Opcode::Text, b"c").await;
        guest.send(Opcode::Text, b"2").await;
        let mut agent = showing(&house, b"c").await;
        let mut bob = viewer(&house, "bob", b"c").await;
        assert_eq!(watchers(&mut bob).await, json!({"user//bob": 1, "user//bob/guest:R3Vz": 1}));
        guest.send(Opcode::Binary, &key(KeyAction::Down, 65)).await;
        house.world.hub.store.remove(RecordKey::Share("abcdefghijkl".into())).later();
        while guest.next().await.is_some() {}
        bob.send(Opcode::Binary, &key(KeyAction::Down, 66)).await;
        agent.expect(Opcode::Binary, &key(KeyAction::Down, 66)).await;
        drop((guest, bob, agent));
        house.nothing_is_left().await;
    });
}

#[test]
fn whoever_the_device_has_to_be_asked_about_anew_has_a_tunnel_of_its_own() {
    let house = house(Rights::REMOTE_CONTROL);
    let mut eve = (*house.world.hub.store.user(&user_id("eve")).unwrap()).clone();
    eve.consent = 8;
    house.world.hub.store.put(eve).later();
    house.tell(async || {
        let bob = viewer(&house, "bob", b"c").await;
        let mut shared = showing(&house, b"c").await;
        let mut eve = knock(&house, "eve");
        while house.room.len() < 2 {
            yield_now().await;
        }
        let (command, query) = called(&house);
        assert_eq!((&command["consent"], &command["username"]), (&json!(8), &json!("eve")));
        let mut own = house.connect(&query);
        own.expect(Opcode::Text, b"c").await;
        eve.expect(Opcode::Text, b"c").await;
        own.send(Opcode::Text, b"for eve").await;
        eve.expect(Opcode::Text, b"for eve").await;
        drop((eve, own, bob));
        shared.is_closed().await;
        drop(shared);
        house.nothing_is_left().await;
    });
}

#[test]
fn the_agents_last_word_reaches_who_watches() {
    let house = house(Rights::REMOTE_CONTROL);
    house.tell(async || {
        let mut bob = viewer(&house, "bob", b"c").await;
        let mut agent = agent(&house).await;
        agent.expect(Opcode::Text, b"c").await;
        agent.expect(Opcode::Text, b"2").await;
        let denied = br#"{"ctrlChannel":"102938","type":"console","msg":"denied","msgid":2}"#;
        agent.send(Opcode::Text, denied).await;
        drop(agent);
        wait_for(&mut bob, denied).await;
        bob.is_closed().await;
        drop(bob);
        house.nothing_is_left().await;
    });
}

#[test]
fn whoever_is_killed_whenever_nothing_is_left() {
    type Kill = fn(&House, Vec<Peer>, Peer) -> Vec<Peer>;
    // The agent, the viewers, the sessions by an administrator, the device; and who is left.
    let kills: [Kill; 4] = [
        |_, viewers, _| viewers,
        |_, _, agent| vec![agent],
        |house, viewers, agent| {
            let meant = |link: &TunnelLink| link.purpose.protocol == 2;
            assert_eq!(house.world.hub.tunnels.end("by the administrator", meant), 2);
            viewers.into_iter().chain([agent]).collect()
        },
        |house, viewers, agent| {
            house.world.hub.store.remove(RecordKey::Device(node_id(2))).later();
            viewers.into_iter().chain([agent]).collect()
        },
    ];
    for kill in kills {
        let house = house(Rights::REMOTE_CONTROL);
        house.tell(async || {
            let bob = viewer(&house, "bob", b"c").await;
            let agent = showing(&house, b"c").await;
            let eve = viewer(&house, "eve", b"c").await;
            let mut left = kill(&house, vec![bob, eve], agent);
            for peer in &mut left {
                while peer.next().await.is_some() {}
            }
            drop(left);
            house.nothing_is_left().await;
        });
    }
    // Before the agent has come.
    let house = house(Rights::REMOTE_CONTROL);
    house.tell(async || {
        let bob = viewer(&house, "bob", b"c").await;
        drop(bob);
        house.nothing_is_left().await;
        // And there is another session after it.
        commands(&house.agent);
        let bob = viewer(&house, "bob", b"c").await;
        drop((showing(&house, b"c").await, bob));
        house.nothing_is_left().await;
    });
}

#[test]
fn one_who_does_not_read_delays_nobody_and_if_nobody_reads_the_agent_waits() {
    let house = house(Rights::REMOTE_CONTROL);
    house.tell(async || {
        let mut bob = viewer(&house, "bob", b"c").await;
        let mut agent = showing(&house, b"c").await;
        let stalled = viewer(&house, "eve", b"c").await;
        wait_for(&mut bob, &tile(0, 0, 640, 480, 0)).await;
        // Far more than sockets and desk hold for one who takes nothing.
        let large = |n: u16| {
            let mut image = tile(0, 0, 640, 480, 0)[8..].to_vec();
            image.extend(&[n as u8; 300_000]);
            FromAgent::Tile { x: 0, y: 0, image: &image }.encode()
        };
        for n in 0..50 {
            let (send, take) = (large(n), large(n));
            let sent = agent.send(Opcode::Binary, &send);
            let taken = wait_for(&mut bob, &take);
            futures_lite::future::zip(sent, taken).await;
        }
        drop(stalled);

        // Now nobody reads. Images that hide each other are no burden; these do not.
        let mut row = Vec::new();
        for n in 0..2000u16 {
            let (x, y) = (n % 20 * 32, n / 20 % 15 * 32);
            let mut image = tile(x, y, 32, 32, 0)[8..].to_vec();
            image.extend(&[n as u8; 4000]);
            let tile = FromAgent::Tile { x, y, image: &image }.encode();
            let mut frame = frame_header(Opcode::Binary, tile.len() as u64).to_vec();
            frame[1] |= 0x80;
            frame.extend([0; 4]);
            row.extend([frame, tile].concat());
        }
        let (mut written, mut still) = (0, 0);
        while still < 1000 && written < row.len() {
            match poll_once(agent.stream.write(&row[written..])).await {
                Some(n) => (written, still) = (written + n.unwrap(), 0),
                None => still += 1,
            }
            yield_now().await;
        }
        assert!(written < 4 << 20, "{written} bytes were taken for nobody");
        let rest = async { agent.stream.write_all(&row[written..]).await.unwrap() };
        let reads = async { wait_for(&mut bob, &row[row.len() - 4033..]).await };
        let _ = futures_lite::future::or(rest, reads).await;
        drop((bob, agent));
        house.nothing_is_left().await;
    });
}

#[test]
fn a_desk_is_recorded_for_all_and_the_file_is_whole_when_the_agent_dies() {
    let only_users = Recording { only_users: true, ..Recording::default() };
    let mut config = config();
    config.domains.entry(DomainId::default()).or_default().recording = Some(only_users);
    let house = house_with(config, Rights::REMOTE_CONTROL);
    let data = tempfile::tempdir().unwrap();
    let recordings = Recordings::new(house.world.hub.clone(), data.path());
    house.room.set_recordings(recordings);
    let mut eve = (*house.world.hub.store.user(&user_id("eve")).unwrap()).clone();
    eve.flags = 2;
    house.world.hub.store.put(eve).later();
    house.tell(async || {
        // Of bob nothing is recorded; when eve joins, everything is, with the picture so far.
        let mut bob = viewer(&house, "bob", b"c").await;
        let mut agent = showing(&house, b"c").await;
        wait_for(&mut bob, &tile(0, 0, 640, 480, 0)).await;
        let mut eve = viewer(&house, "eve", b"cr").await;
        agent.send(Opcode::Binary, &tile(32, 32, 32, 32, 1)).await;
        wait_for(&mut eve, &tile(32, 32, 32, 32, 1)).await;
        eve.send(Opcode::Binary, &key(KeyAction::Down, 77)).await;
        agent.expect(Opcode::Binary, &key(KeyAction::Down, 77)).await;
        drop(agent);
        for peer in [&mut bob, &mut eve] {
            while peer.next().await.is_some() {}
        }
        drop((bob, eve));
        house.nothing_is_left().await;

        let query = EventQuery { action: Some("recording".into()), limit: 9, ..Default::default() };
        let told = house.world.hub.store.events(query).await;
        let [end] = &told[..] else { panic!("{} recordings", told.len()) };
        let body = &end.event.body;
        assert_eq!((&body["msgid"], &body["multiplex"]), (&json!(146), &json!(true)));
        assert_eq!(body["userids"], json!(["user//bob", "user//eve"]));
        let file = data.path().join("recordings").join(body["filename"].as_str().unwrap());
        let bytes = std::fs::read(file).unwrap();
        assert!(bytes.ends_with(b"MeshCentralMCREC"));
        let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(has(&tile(0, 0, 640, 480, 0)) && has(&tile(32, 32, 32, 32, 1)));
        assert!(has(&key(KeyAction::Down, 77)));
    });
}

#[test]
fn history_tells_who_watched() {
    let house = house(Rights::REMOTE_CONTROL);
    house.tell(async || {
        let bob = viewer(&house, "bob", b"c").await;
        let mut agent = showing(&house, b"c").await;
        let mut eve = viewer(&house, "eve", b"c").await;
        assert_eq!(watchers(&mut eve).await, json!({"user//bob": 1, "user//eve": 1}));
        drop(bob);
        assert_eq!(watchers(&mut eve).await, json!({"user//eve": 1}));
        drop(eve);
        agent.is_closed().await;
        drop(agent);
        house.nothing_is_left().await;
        let query = EventQuery { limit: 10, ..EventQuery::default() };
        let told = house.world.hub.store.events(query).await;
        let told: Vec<_> = told
            .iter()
            .rev()
            .map(|past| (past.event.body["msgid"].clone(), past.event.actor.clone()))
            .collect();
        let (bob, eve) = (Some(user_id("bob")), Some(user_id("eve")));
        let expected = [(145, &bob), (143, &eve), (144, &bob), (144, &eve), (147, &None)];
        assert_eq!(told, expected.map(|(number, who)| (json!(number), who.clone())));
    });
}

#[test]
fn a_word_for_a_viewer_is_heard_between_pictures() {
    let house = house(Rights::REMOTE_CONTROL);
    house.tell(async || {
        let mut bob = viewer(&house, "bob", b"c").await;
        let agent = showing(&house, b"c").await;
        wait_for(&mut bob, &tile(0, 0, 640, 480, 0)).await;
        let links = house.world.hub.tunnels.all();
        assert_eq!(links[0].purpose.user, user_id("bob"));
        assert!(links[0].sent.get() > 100 && links[0].from_viewer.get() == 1);
        let _ = links[0].mailbox.push(TunnelMessage::End("enough"));
        bob.is_closed().await;
        drop((bob, agent));
        house.nothing_is_left().await;
    });
}
