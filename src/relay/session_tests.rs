//! Whole tunnels over sockets in memory: who gets one, what passes, what ends it.

use super::super::testing::{House, Peer, called, recording_house};
use super::*;
use crate::config::Config;
use crate::hub::testing::{commands, node_id, user_id};
use crate::model::{LinkTarget, Millis, Rights, Target as Audience};
use crate::store::RecordKey;
use crate::ws::frame_header;
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
use serde_json::json;

#[path = "session_tests/chats.rs"]
mod chats;
#[path = "session_tests/guests.rs"]
mod guests;

#[test]
fn what_is_said_before_the_pair_is_there_comes_after_the_c() {
    let house = House::new(Rights::FULL);
    house.tell(async || {
        let id = "abc";
        let mut viewer = house.connect(&format!("id={id}&auth={}", house.auth("bob")));
        viewer.send(Opcode::Text, b"5").await;
        viewer.send(Opcode::Binary, &[7; 300]).await;
        let rauth = house.pass("bob", id, Speech::Session);
        let mut agent = house.connect(&format!("id={id}&rauth={rauth}"));
        agent.send(Opcode::Text, b"early too").await;
        for peer in [&mut viewer, &mut agent] {
            peer.expect(Opcode::Text, b"c").await;
        }
        agent.expect(Opcode::Text, b"5").await;
        agent.expect(Opcode::Binary, &[7; 300]).await;
        viewer.expect(Opcode::Text, b"early too").await;
        drop((viewer, agent));
        house.is_empty().await;
    });
}

#[test]
fn whoever_has_no_place_is_closed_without_a_word() {
    let house = House::new(Rights::REMOTE_CONTROL);
    let (bob, eve) = (house.auth("bob"), house.auth("eve"));
    let node = node_id(2).to_string();
    let cases = [
        ("nothing".to_owned(), true),
        ("id=a".to_owned(), true),
        ("id=a&auth=garbage".to_owned(), true),
        ("id=a&rauth=garbage".to_owned(), true),
        (format!("auth={bob}"), true),
        (format!("id=meshmessenger/x&auth={bob}"), true),
        (format!("id={}&auth={bob}", "x".repeat(200)), true),
        (format!("id=a&nodeid={node}&auth={eve}"), true),
        (format!("nodeid={node}&tcpport=80&auth={eve}"), true),
        (format!("nodeid={node}&tcpport=x&auth={bob}"), true),
        (format!("nodeid=node//unknown&tcpport=80&auth={bob}"), true),
        (format!("id=a&rauth={}", house.pass("bob", "other", Speech::Session)), true),
        (
            format!(
                "id=a&auth={}",
                house.seal(json!({"userid": "user//bob", "domainid": "",
                "nid": node, "pid": "x", "gn": "Guest"}))
            ),
            true,
        ),
        (format!("id=a&auth={bob}"), false),
    ];
    house.tell(async || {
        for (query, is_own_origin) in &cases {
            let mut peer = house.knock(query, |knocking| knocking.is_own_origin = *is_own_origin);
            assert_eq!(peer.next().await, Some((0x88, vec![])), "{query}");
        }
        house.is_empty().await;
        assert!(commands(&house.agent).is_empty());
    });
}

#[test]
fn a_third_end_and_an_end_of_somebody_else_do_not_disturb() {
    let house = House::new(Rights::FULL);
    house.tell(async || {
        let mut viewer = house.connect(&format!("id=a&auth={}", house.auth("bob")));
        let eves = house.seal(json!({"ruserid": "user//eve", "x": "y"}));
        house.connect(&format!("id=a&rauth={eves}")).is_closed().await;
        let rauth = house.pass("bob", "a", Speech::Session);
        let mut agent = house.connect(&format!("id=a&rauth={rauth}"));
        viewer.expect(Opcode::Text, b"c").await;
        agent.expect(Opcode::Text, b"c").await;
        house.connect(&format!("id=a&auth={}", house.auth("bob"))).is_closed().await;
        house.connect(&format!("id=a&rauth={rauth}")).is_closed().await;
        agent.send(Opcode::Binary, b"still here").await;
        viewer.expect(Opcode::Binary, b"still here").await;
        drop(agent);
        viewer.is_closed().await;
        drop(viewer);
        house.is_empty().await;
    });
}

#[test]
fn two_ends_of_one_user_may_talk() {
    let house = House::new(Rights::empty());
    house.tell(async || {
        let bearer = house.seal(json!({"ruserid": "user//bob", "x": "y"}));
        let mut one = house.connect(&format!("id=a&auth={}", house.auth("bob")));
        let mut two = house.connect(&format!("id=a&rauth={bearer}"));
        one.expect(Opcode::Text, b"c").await;
        two.expect(Opcode::Text, b"c").await;
        two.send(Opcode::Text, b"1").await;
        one.expect(Opcode::Text, b"1").await;
    });
}

#[test]
fn a_port_behind_the_device_is_reached_by_query_by_cookie_and_by_password() {
    let node = node_id(2).to_string();
    for rights in [Rights::REMOTE_CONTROL, Rights::RELAY] {
        let house = House::new(rights);
        house.world.set_link("admin", LinkTarget::Device(node_id(2)), Some(Rights::REMOTE_CONTROL));
        let by_cookie = house.seal(json!({"userid": "user//bob", "domainid": "", "nodeid": node,
            "tcpport": 80, "tcpaddr": "10.0.0.5", "p": 12}));
        let cases = [
            (
                format!(
                    "nodeid={node}&tcpport=80&tcpaddr=10.0.0.5&p=12&auth={}",
                    house.auth("bob")
                ),
                false,
            ),
            (format!("auth={by_cookie}"), false),
            (format!("nodeid={node}&tcpport=80&tcpaddr=10.0.0.5&p=12"), true),
        ];
        house.tell(async || {
            for (query, is_admin) in &cases {
                let mut viewer = house.knock(query, |knocking| knocking.is_admin = *is_admin);
                while house.room.is_empty() {
                    futures_lite::future::yield_now().await;
                }
                let (command, query) = called(&house);
                assert_eq!(
                    (&command["tcpport"], &command["tcpaddr"]),
                    (&json!("80"), &json!("10.0.0.5"))
                );
                let mut agent = house.connect(&query);
                viewer.expect(Opcode::Text, b"c").await;
                agent.expect(Opcode::Text, b"c").await;
                let tunnels = house.world.hub.tunnels.all();
                assert_eq!(tunnels[0].purpose.protocol, 12);
                // Neither is a protocol chosen nor text passed on.
                viewer.send(Opcode::Text, b"10").await;
                viewer.send(Opcode::Binary, b"GET /").await;
                agent.expect(Opcode::Binary, b"GET /").await;
                drop((viewer, agent));
                house.is_empty().await;
            }
        });
    }
}

#[test]
fn without_an_agent_there_is_no_tunnel() {
    let house = House::new(Rights::FULL);
    house.world.hub.agent_gone(&house.agent);
    let query = format!("nodeid={}&tcpport=80&auth={}", node_id(2), house.auth("bob"));
    house.tell(async || {
        house.connect(&query).is_closed().await;
        house.is_empty().await;
    });
}

#[test]
fn the_protocol_that_is_spoken_is_judged_by_the_rights_on_the_device() {
    let house = House::new(Rights::REMOTE_CONTROL | Rights::NO_TERMINAL);
    house.tell(async || {
        let (mut viewer, mut agent) = house.session("a").await;
        viewer.send(Opcode::Text, b"1").await;
        viewer.is_closed().await;
        agent.is_closed().await;
        drop((viewer, agent));
        house.is_empty().await;
    });
}

#[test]
fn whoever_poses_as_the_agent_is_still_judged() {
    // The user sends the agent to the tunnel with a cookie of his own, and takes its place.
    let house = House::new(Rights::VIEW_ONLY);
    house.tell(async || {
        let bearer = house.seal(json!({"ruserid": "user//bob", "x": "y"}));
        let mut poser = house.connect(&format!("id=a&rauth={bearer}"));
        let rauth = house.pass("bob", "a", Speech::Session);
        let mut agent = house.connect(&format!("id=a&rauth={rauth}"));
        // Neither end is logged in.
        agent.is_closed().await;
        drop(poser.stream.close().await);
    });
}

#[test]
fn a_lost_right_ends_the_tunnel_at_once() {
    let losses: [fn(&House); 5] = [
        |house| house.bob_may(Rights::REMOTE_CONTROL | Rights::NO_TERMINAL),
        |house| house.bob_may(Rights::empty()),
        |house| drop(house.world.hub.store.remove(RecordKey::User(user_id("bob")))),
        |house| drop(house.world.hub.store.remove(RecordKey::Device(node_id(2)))),
        |house| {
            let bob = |link: &TunnelLink| link.purpose.user == user_id("bob");
            assert_eq!(house.world.hub.tunnels.end("by the administrator", bob), 1);
        },
    ];
    for lose in losses {
        let house = House::new(Rights::FULL);
        house.tell(async || {
            let (mut viewer, mut agent) = house.session("a").await;
            viewer.send(Opcode::Text, b"1").await;
            agent.expect(Opcode::Text, b"1").await;
            // What changes nothing for this tunnel does not end it.
            house.bob_may(Rights::REMOTE_CONTROL | Rights::NO_FILES);
            agent.send(Opcode::Binary, b"$ ").await;
            viewer.expect(Opcode::Binary, b"$ ").await;
            lose(&house);
            viewer.is_closed().await;
            agent.is_closed().await;
            drop((viewer, agent));
            house.is_empty().await;
        });
    }
}

#[test]
fn beginning_and_end_are_events_with_what_passed() {
    let house = House::new(Rights::FULL);
    house.tell(async || {
        let (mut viewer, mut agent) = house.session("a").await;
        viewer.send(Opcode::Text, b"1").await;
        agent.expect(Opcode::Text, b"1").await;
        agent.send(Opcode::Binary, &[1; 1000]).await;
        viewer.expect(Opcode::Binary, &[1; 1000]).await;
        drop(agent);
        viewer.is_closed().await;
        drop(viewer);
        house.is_empty().await;
        let query = crate::store::EventQuery { limit: 10, ..Default::default() };
        let told = house.world.hub.store.events(query).await;
        let [end, start] = [0, 1].map(|n| &told[n].event);
        assert_eq!((&*start.action, &start.body["msgid"]), ("relaylog", &json!(14)));
        assert_eq!(
            start.body["msg"],
            r#"Started terminal session "a" from 127.0.0.1 to 127.0.0.1"#
        );
        assert_eq!(end.body["msgid"], 10);
        assert_eq!(end.body["msgArgs"], json!(["a", "127.0.0.1", "127.0.0.1", 0]));
        assert_eq!(end.node, Some(node_id(2)));
        // Frames of 7 and 1008 bytes came; 3 and 1004, and the two `c`, went.
        assert_eq!((&end.body["bytesin"], &end.body["bytesout"]), (&json!(1015), &json!(1013)));
        for audience in [Audience::User(user_id("bob")), Audience::Device(node_id(2))] {
            assert!(end.targets.contains(&audience), "{audience:?}");
        }
    });
}

#[test]
fn a_stalled_end_stops_its_peer_and_nobody_else() {
    let house = House::new(Rights::FULL);
    house.tell(async || {
        let (mut viewer, mut agent) = house.session("a").await;
        viewer.send(Opcode::Text, b"5").await;
        agent.expect(Opcode::Text, b"5").await;
        let (mut other_viewer, mut other_agent) = house.session("b").await;
        // More than sockets and pipe together can hold: the agent's end must block.
        let block = vec![9; 8 << 20];
        let frame = [&frame_header(Opcode::Binary, block.len() as u64)[..], &block].concat();
        let (mut written, mut still) = (0, 0);
        while still < 1000 {
            let more = futures_lite::future::poll_once(agent.stream.write(&frame[written..])).await;
            match more {
                Some(n) => (written, still) = (written + n.unwrap(), 0),
                None => still += 1,
            }
            futures_lite::future::yield_now().await;
        }
        assert!(written < 2 << 20, "{written} bytes were taken for an end that reads nothing");
        // The other direction and the other tunnel go on.
        viewer.send(Opcode::Text, b"{}").await;
        agent.expect(Opcode::Text, b"{}").await;
        other_agent.send(Opcode::Binary, b"x").await;
        other_viewer.expect(Opcode::Binary, b"x").await;
        // And nothing was lost.
        let rest = async { agent.stream.write_all(&frame[written..]).await.unwrap() };
        let (_, received) = futures_lite::future::zip(rest, viewer.next()).await;
        assert!(received == Some((0x82, block)), "the frame arrives as it was sent");
    });
}

#[test]
fn json_pings_are_sent_only_if_the_settings_want_them() {
    let mut config = Config::default();
    config.settings.agent_ping = Some(Duration::from_millis(1));
    let ping = br#"{"ctrlChannel":"102938","type":"ping"}"#;
    let house = House::with(config, Rights::FULL);
    house.tell(async || {
        let (mut viewer, mut agent) = house.session("a").await;
        viewer.expect(Opcode::Text, ping).await;
        agent.expect(Opcode::Text, ping).await;
        // Not as a datagram.
        let (mut viewer, mut agent) = house.tunnel("b", Speech::Udp).await;
        agent.send(Opcode::Binary, b"one").await;
        viewer.expect(Opcode::Binary, b"one").await;
        // Not to those who ask for none.
        let query = format!("noping=1&id=c&auth={}", house.auth("bob"));
        let mut viewer = house.connect(&query);
        let rauth = house.pass("bob", "c", Speech::Session);
        let mut agent = house.connect(&format!("id=c&rauth={rauth}"));
        viewer.expect(Opcode::Text, b"c").await;
        agent.expect(Opcode::Text, b"c").await;
        agent.send(Opcode::Binary, b"one").await;
        viewer.expect(Opcode::Binary, b"one").await;
    });
}

impl House {
    /// Both ends of a guest's session: the server calls the agent.
    async fn guest(&self, cookie: &str) -> (Peer, Peer) {
        let mut viewer = self.connect(&format!("browser=1&p=2&id=a&auth={cookie}"));
        while self.room.is_empty() {
            futures_lite::future::yield_now().await;
        }
        let (command, query) = called(self);
        assert_eq!((&command["guestname"], &command["consent"]), (&json!("Gus"), &json!(8)));
        assert_eq!(command["soptions"]["usages"], json!([2]));
        let mut agent = self.connect(&query);
        viewer.expect(Opcode::Text, b"c").await;
        agent.expect(Opcode::Text, b"c").await;
        (viewer, agent)
    }
}

#[test]
fn a_guest_sees_what_was_shared_and_touches_nothing() {
    let house = House::new(Rights::FULL);
    let cookie = house.share(|_| {});
    house.tell(async || {
        let (mut viewer, mut agent) = house.guest(&cookie).await;
        let tunnels = house.world.hub.tunnels.all();
        assert_eq!(tunnels[0].purpose.share.as_deref(), Some("abcdefghijkl"));
        assert_eq!(tunnels[0].purpose.guest.as_deref(), Some("Gus"));
        viewer.send(Opcode::Text, b"2").await;
        viewer.send(Opcode::Binary, &[0, 10, 0, 4]).await;
        viewer.send(Opcode::Binary, &[0, 6, 0, 4]).await;
        agent.expect(Opcode::Text, b"2").await;
        agent.expect(Opcode::Binary, &[0, 6, 0, 4]).await;
        house.world.hub.store.remove(RecordKey::Share("abcdefghijkl".into())).later();
        viewer.is_closed().await;
        drop((viewer, agent));
        house.is_empty().await;
    });
}

#[test]
fn a_guest_is_no_user() {
    let house = House::new(Rights::FULL);
    let cookie = house.share(|_| {});
    let node = node_id(2).to_string();
    house.tell(async || {
        for query in [
            format!("p=1&id=a&auth={cookie}"),
            format!("id=a&auth={cookie}"),
            format!("p=2&auth={cookie}"),
            format!("p=2&id=a&tcpport=80&nodeid={node}&auth={cookie}"),
        ] {
            assert_eq!(house.connect(&query).next().await, Some((0x88, vec![])), "{query}");
        }
        // Nor does a guest meet the ends of whoever shares.
        let rauth = house.pass("bob", "a", Speech::Session);
        let mut bobs = house.connect(&format!("id=a&rauth={rauth}"));
        let mut guest = house.connect(&format!("p=2&id=a&auth={cookie}"));
        guest.is_closed().await;
        bobs.send(Opcode::Text, b"waits").await;
        // And what is spoken counts, not the label.
        let (mut viewer, _agent) = {
            let mut viewer = house.connect(&format!("browser=1&p=2&id=b&auth={cookie}"));
            while house.room.len() < 2 {
                futures_lite::future::yield_now().await;
            }
            let (_, query) = called(&house);
            let agent = house.connect(&query);
            viewer.expect(Opcode::Text, b"c").await;
            (viewer, agent)
        };
        viewer.send(Opcode::Text, b"1").await;
        viewer.is_closed().await;
    });
}

#[test]
fn a_guests_time_is_up_when_the_share_says_so() {
    let house = House::new(Rights::FULL);
    let now = house.world.hub.now().0;
    house.tell(async || {
        let past = house.share(|share| share.expires = Some(Millis(now)));
        house.connect(&format!("p=2&id=a&auth={past}")).is_closed().await;
        let soon = house.share(|share| share.expires = Some(Millis(now + 600)));
        let (mut viewer, agent) = house.guest(&soon).await;
        viewer.is_closed().await;
        drop((viewer, agent));
        house.is_empty().await;
    });
}

#[test]
fn a_false_label_does_not_keep_a_session_from_being_recorded() {
    let terminals = crate::config::Recording { protocols: Some(vec![1]), ..Default::default() };
    let (house, _data) = recording_house(terminals);
    house.tell(async || {
        for (spoken, passes) in [("1", false), ("5", true)] {
            let mut viewer = house.connect(&format!("p=99&id=a&auth={}", house.auth("bob")));
            let rauth = house.pass("bob", "a", Speech::Session);
            let mut agent = house.connect(&format!("p=99&id=a&rauth={rauth}"));
            viewer.expect(Opcode::Text, b"c").await;
            agent.expect(Opcode::Text, b"c").await;
            viewer.send(Opcode::Text, spoken.as_bytes()).await;
            match passes {
                true => agent.expect(Opcode::Text, spoken.as_bytes()).await,
                false => agent.is_closed().await,
            }
            drop((viewer, agent));
            house.is_empty().await;
        }
    });
}

#[test]
fn a_session_that_is_recorded_begins_with_cr_and_leaves_a_whole_file() {
    let (house, data) = recording_house(crate::config::Recording::default());
    house.tell(async || {
        let mut viewer = house.connect(&format!("p=1&id=a&auth={}", house.auth("bob")));
        let rauth = house.pass("bob", "a", Speech::Session);
        let mut agent = house.connect(&format!("p=1&id=a&rauth={rauth}"));
        viewer.expect(Opcode::Text, b"cr").await;
        agent.expect(Opcode::Text, b"cr").await;
        viewer.send(Opcode::Text, b"1").await;
        agent.expect(Opcode::Text, b"1").await;
        agent.send(Opcode::Binary, b"what the shell says").await;
        viewer.expect(Opcode::Binary, b"what the shell says").await;
        drop((viewer, agent));
        house.is_empty().await;
        let folder = data.path().join("recordings");
        loop {
            futures_lite::future::yield_now().await;
            let file = std::fs::read_dir(&folder).unwrap().flatten().next().unwrap();
            let bytes = std::fs::read(file.path()).unwrap();
            if !bytes.ends_with(b"MeshCentralMCREC") {
                continue;
            }
            let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
            assert!(has(b"MeshCentralRelaySession") && has(b"what the shell says"));
            // The word that opens the tunnel is not part of the session.
            assert!(!has(b"\0\0\0\x02cr"));
            break;
        }
    });
}

/// What goes on in a tunnel when somebody dies.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Joined,
    Speaking,
    InAMessage,
    Stalled,
}

#[test]
fn whoever_dies_whenever_no_task_is_left_and_the_recording_is_whole() {
    use Moment::{InAMessage, Joined, Speaking, Stalled};
    let (house, data) = recording_house(crate::config::Recording::default());
    house.tell(async || {
        for moment in [Joined, Speaking, InAMessage, Stalled] {
            // The viewer, the agent, both, or the session by an administrator.
            for dying in 0..4 {
                let mut viewer = house.connect(&format!("p=1&id=a&auth={}", house.auth("bob")));
                let rauth = house.pass("bob", "a", Speech::Session);
                let mut agent = house.connect(&format!("p=1&id=a&rauth={rauth}"));
                viewer.expect(Opcode::Text, b"cr").await;
                agent.expect(Opcode::Text, b"cr").await;
                if !matches!(moment, Joined) {
                    viewer.send(Opcode::Text, b"1").await;
                    agent.expect(Opcode::Text, b"1").await;
                    agent.send(Opcode::Binary, b"$ ").await;
                    viewer.expect(Opcode::Binary, b"$ ").await;
                }
                let size = match moment {
                    Joined | Speaking => 0,
                    InAMessage => 1000,
                    Stalled => 8 << 20,
                };
                let block = vec![0; size];
                let frame = [&frame_header(Opcode::Binary, 16 << 20)[..], &block].concat();
                let (mut written, mut still) = (0, 0);
                while size > 0 && written < frame.len() && still < 300 {
                    let more = agent.stream.write(&frame[written..]);
                    match futures_lite::future::poll_once(more).await {
                        Some(n) => (written, still) = (written + n.unwrap(), 0),
                        None => still += 1,
                    }
                    futures_lite::future::yield_now().await;
                }
                let mut left = match dying {
                    0 => {
                        drop(viewer);
                        vec![agent]
                    }
                    1 => {
                        drop(agent);
                        vec![viewer]
                    }
                    2 => {
                        drop((viewer, agent));
                        vec![]
                    }
                    _ => {
                        assert_eq!(house.world.hub.tunnels.end("why", |_| true), 1);
                        vec![viewer, agent]
                    }
                };
                for peer in &mut left {
                    let mut rest = Vec::new();
                    // How it ends is the other end's affair.
                    let _ = peer.stream.read_to_end(&mut rest).await;
                }
                drop(left);
                house.nothing_is_left().await;
                let folder = data.path().join("recordings");
                for file in std::fs::read_dir(&folder).unwrap().flatten() {
                    let bytes = std::fs::read(file.path()).unwrap();
                    assert!(bytes.ends_with(b"MeshCentralMCREC"), "{moment:?} {dying}");
                    std::fs::remove_file(file.path()).unwrap();
                }
            }
        }
    });
}
