//! A tunnel played by hand: bad input, windows and ends; `captures` plays real sessions.

mod captures;

use super::*;
use crate::mps::wire::DATA_MAX;
use proptest::prelude::*;

const UUID: &str = "4c4c4544-004b-4210-8033-b6c04f504633";

/// A machine and everything it has said.
struct Scene {
    machine: Machine,
    now: Instant,
    heard: Vec<u8>,
    steps: Vec<String>,
    accepts: bool,
    announced: u32,
    closed: Option<String>,
}

impl Scene {
    fn new(style: Style) -> Self {
        let now = Instant::now();
        Self {
            machine: Machine::new(style, now),
            now,
            heard: Vec::new(),
            steps: Vec::new(),
            accepts: true,
            announced: 0,
            closed: None,
        }
    }

    fn say_bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            let taken = self.machine.receive(rest, self.now);
            rest = rest.get(taken..).unwrap_or_default();
            let judged = self.settle();
            if rest.is_empty() || !judged {
                return;
            }
        }
    }

    fn say(&mut self, message: &Message) {
        self.say_bytes(&message.to_bytes());
    }

    /// Does the effects; whether a login was judged.
    fn settle(&mut self) -> bool {
        let mut judged = false;
        while let Some(effect) = self.machine.next_effect() {
            match effect {
                Effect::Judge(_) => {
                    let verdict = if self.accepts { Ok(()) } else { Err("refused".into()) };
                    self.machine.verdict(verdict, self.now);
                    judged = true;
                }
                Effect::Announce => self.announced += 1,
                Effect::Step(step) => self.steps.push(step.into_owned()),
                Effect::Close(why) => self.closed = Some(why.into_owned()),
                Effect::Control(_) => {}
            }
        }
        while let Some(message) = self.machine.out(self.now).first().map(<[u8]>::to_vec) {
            self.heard.extend(&message);
            self.machine.out(self.now).sent(message.len());
        }
        judged
    }

    /// What it has said since the last look, as a client reads it.
    fn heard(&mut self) -> Vec<Message> {
        self.settle();
        let mut decoder = Decoder::new(Side::Client, 1 << 20);
        let (bytes, mut at) = (std::mem::take(&mut self.heard), 0);
        let mut messages = Vec::new();
        while at < bytes.len() {
            let (used, event) = decoder.feed(&bytes[at..]).unwrap();
            at += used;
            if let Some(Event::Message(message)) = event {
                messages.push(message);
            }
            if messages.last() == Some(&Message::UserAuthFailure) {
                // The second zero of MeshCentral's form.
                at += 1;
            }
        }
        messages
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.machine.expire(self.now);
        self.settle();
    }

    /// Logged in, with these ports.
    fn connected(style: Style, ports: &[u32]) -> Self {
        let mut scene = Self::new(style);
        login().iter().for_each(|message| scene.say(message));
        for port in ports {
            scene.say(&forward(*port));
        }
        scene.heard();
        assert!(scene.machine.is_open());
        scene
    }

    /// With a channel that the device calls `peer`, and its window.
    fn channel(&mut self, peer: u32, window: u32) -> u32 {
        let id = self.machine.open_channel(16992, Priority::Interactive, self.now).unwrap();
        let heard = self.heard();
        assert!(matches!(heard[..], [Message::ChannelOpen { sender, .. }] if sender == id));
        self.say(&Message::ChannelConfirmation { recipient: id, sender: peer, window });
        assert_eq!(self.machine.opened(id), Some(Ok(())));
        id
    }

    fn data(&mut self, id: u32, bytes: &[u8]) {
        let head = Message::Data { recipient: id, length: bytes.len() as u32 };
        self.say_bytes(&[&head.to_bytes(), bytes].concat());
    }

    fn read(&mut self, id: u32, count: usize) -> Result<Option<Vec<u8>>, Failure> {
        let mut buffer = vec![0; count];
        let read = self.machine.read(id, &mut buffer)?;
        Ok(read.map(|count| buffer[..count].to_vec()))
    }
}

fn version() -> Message {
    Message::ProtocolVersion { major: 1, minor: 0, trigger: 4, uuid: UUID.parse().unwrap() }
}

fn service(name: &str) -> Message {
    Message::ServiceRequest { service: name.into() }
}

fn auth(method: &str) -> Message {
    Message::UserAuthRequest {
        user: "jM58ZT0sXkJhufvX".into(),
        service: FORWARD_SERVICE.into(),
        method: method.into(),
        password: (method == "password").then(|| b"A@xew9rt".to_vec()),
    }
}

fn login() -> [Message; 4] {
    [version(), service(AUTH_SERVICE), auth("password"), service(FORWARD_SERVICE)]
}

fn forward(port: u32) -> Message {
    Message::Forward { want_reply: true, address: String::new(), port }
}

#[test]
fn a_captured_login_is_answered_alike_byte_by_byte_and_in_one_piece() {
    let bytes: Vec<u8> = login().iter().flat_map(Message::to_bytes).collect();
    let bytes = [bytes, forward(16992).to_bytes(), forward(5900).to_bytes()].concat();
    let mut whole = Scene::new(Style::Firmware);
    whole.say_bytes(&bytes);
    let mut pieces = Scene::new(Style::Firmware);
    bytes.chunks(1).for_each(|byte| pieces.say_bytes(byte));
    assert!(!whole.heard.is_empty());
    assert_eq!(whole.heard, pieces.heard);
    assert_eq!(
        whole.heard(),
        [
            Message::ServiceAccept { service: AUTH_SERVICE.into() },
            Message::UserAuthSuccess,
            Message::ServiceAccept { service: FORWARD_SERVICE.into() },
            Message::RequestSuccess { port: Some(16992) },
            Message::RequestSuccess { port: Some(5900) },
            Message::KeepAliveOptionsRequest { interval: 30, timeout: 0 },
        ]
    );
    assert_eq!(whole.machine.ports(), [16992, 5900]);
}

#[test]
fn who_says_too_much_without_a_login_is_ended() {
    let mut scene = Scene::new(Style::Firmware);
    for _ in 0..40 {
        scene.say(&Message::KeepAliveRequest { cookie: 1 });
    }
    assert!(scene.closed.is_some(), "32 messages without a login");
    for messages in [[version(), version()].to_vec(), [&login()[..], &[auth("password")]].concat()]
    {
        let mut scene = Scene::new(Style::Firmware);
        messages.iter().for_each(|message| scene.say(message));
        assert!(scene.closed.is_some(), "{messages:?}");
    }
    // Long, and allowed for an agent's cookie, but not in one piece with more of the same.
    let mut scene = Scene::new(Style::Firmware);
    scene.say_bytes(&[250, 0, 0, 0xff, 0xff]);
    scene.say_bytes(&[b' '; 5000]);
    assert!(scene.closed.is_some(), "5 KB without a login");
}

#[test]
fn refused_logins_are_told_so_and_ended() {
    for method in ["password", "none"] {
        let mut scene = Scene::new(Style::Firmware);
        scene.accepts = false;
        for message in [version(), auth(method)] {
            scene.say(&message);
        }
        assert_eq!(scene.heard(), [Message::UserAuthFailure]);
        assert_eq!(scene.closed.as_deref(), Some("refused"));
        scene.say(&forward(16992));
        assert_eq!(scene.heard(), [], "nothing is done after the end");
    }
}

#[test]
fn what_is_harmless_is_answered_or_dropped() {
    let mut scene = Scene::connected(Style::Firmware, &[16992]);
    for (message, answer) in [
        (Message::UnknownRequest { want_reply: true }, Some(Message::RequestFailure)),
        (Message::UnknownRequest { want_reply: false }, None),
        (Message::RequestSuccess { port: None }, None),
        (Message::RequestFailure, None),
        (Message::ChannelClose { recipient: 77 }, None),
        (Message::WindowAdjust { recipient: 77, bytes: 5 }, None),
        (Message::ChannelConfirmation { recipient: 77, sender: 1, window: 1 }, None),
        (Message::ChannelFailure { recipient: 77, reason: 2 }, None),
        (Message::Data { recipient: 77, length: 0 }, None),
        (
            Message::KeepAliveOptionsRequest { interval: 9, timeout: 8 },
            Some(Message::KeepAliveOptionsReply { interval: 9, timeout: 8 }),
        ),
        (Message::SendUdp { port: 162, length: 30 }, None),
        (
            Message::ChannelOpen { kind: "direct-tcpip".into(), sender: 5, window: 9, port: 1 },
            Some(Message::ChannelFailure { recipient: 5, reason: failure::UNKNOWN_KIND }),
        ),
        (Message::JsonControl { json: "{}".into() }, None),
        (forward(70_000), Some(Message::RequestFailure)),
    ] {
        scene.say(&message);
        assert_eq!(scene.heard(), Vec::from_iter(answer), "{message:?}");
    }
    scene.data(77, b"late");
    assert_eq!((scene.heard(), scene.closed), (vec![], None));
}

#[test]
fn a_device_is_announced_with_its_first_web_port_or_after_a_second() {
    let mut early = Scene::connected(Style::Firmware, &[623]);
    assert_eq!(early.announced, 0);
    early.say(&forward(16993));
    assert_eq!(early.announced, 1);
    early.say(&forward(16992));
    early.later(2);
    assert_eq!(early.announced, 1);
    let mut late = Scene::connected(Style::Firmware, &[]);
    assert_eq!(late.announced, 0);
    late.later(1);
    assert_eq!(late.announced, 1);
}

#[test]
fn firmware_is_asked_for_keep_alives_once_and_programs_never() {
    let is_options = |message: &Message| matches!(message, Message::KeepAliveOptionsRequest { .. });
    for (style, ports, count) in [
        (Style::Firmware, &[16993, 16992][..], 1),
        (Style::Firmware, &[5900, 16992, 5900], 1),
        (Style::Socket, &[16992, 16993], 0),
    ] {
        let mut scene = Scene::new(style);
        login().iter().for_each(|message| scene.say(message));
        ports.iter().for_each(|port| scene.say(&forward(*port)));
        scene.later(1);
        scene.later(1);
        let asked = scene.heard().iter().filter(|m| is_options(m)).count();
        assert_eq!(asked, count, "{style:?} {ports:?}");
    }
}

#[test]
fn silence_is_asked_about_twice_and_then_ends_the_tunnel() {
    let mut scene = Scene::connected(Style::Socket, &[16992]);
    scene.later(45);
    assert_eq!(scene.heard(), [Message::KeepAliveRequest { cookie: 1 }]);
    scene.say(&Message::KeepAliveReply { cookie: 1 });
    scene.later(44);
    assert_eq!(scene.heard(), []);
    scene.later(1);
    scene.later(45);
    assert_eq!(scene.heard().len(), 2);
    assert!(scene.closed.is_none());
    scene.later(45);
    assert!(scene.closed.is_some());
    let mut slow = Scene::new(Style::Firmware);
    slow.later(29);
    slow.say(&version());
    assert!(slow.closed.is_none());
    slow.later(1);
    assert!(slow.closed.is_some(), "30 s without a login");
}

#[test]
fn exactly_what_the_device_takes_is_sent() {
    let mut scene = Scene::connected(Style::Firmware, &[16992]);
    let id = scene.channel(0, 100);
    assert_eq!(scene.machine.write(id, &[b'A'; 360]), Ok(360));
    let lengths = |scene: &mut Scene| -> Vec<u32> {
        let length = |message: Message| match message {
            Message::Data { recipient: 0, length } => length,
            other => panic!("{other:?}"),
        };
        scene.heard().into_iter().map(length).collect()
    };
    assert_eq!(lengths(&mut scene), [100]);
    for (credit, sent) in [(50, vec![50]), (0, vec![]), (1000, vec![210]), (u32::MAX, vec![])] {
        scene.say(&Message::WindowAdjust { recipient: id, bytes: credit });
        assert_eq!(lengths(&mut scene), sent, "{credit}");
    }
    assert_eq!(scene.machine.unsent(id), 0);
    let big = vec![0; 200_000];
    let taken = scene.machine.write(id, &big).unwrap();
    assert_eq!(taken, 64 * 1024, "the rest has to wait");
}

#[test]
fn credit_comes_back_when_the_consumer_has_read() {
    let mut scene = Scene::connected(Style::Firmware, &[16992]);
    let id = scene.channel(7, 4096);
    for _ in 0..8 {
        scene.data(id, &[1; 4096]);
    }
    assert_eq!(scene.heard(), [], "nobody has read anything");
    assert_eq!(scene.read(id, 16384).unwrap().unwrap().len(), 16384);
    assert_eq!(scene.heard(), [], "half of the window is not more than half");
    scene.read(id, 4096).unwrap();
    assert_eq!(scene.heard(), [Message::WindowAdjust { recipient: 7, bytes: 20480 }]);
    scene.read(id, 65536).unwrap();
    assert_eq!(scene.read(id, 10), Ok(None));
    assert_eq!(scene.heard(), []);
}

#[test]
fn who_exceeds_its_window_is_ended_if_it_is_firmware_and_held_back_if_not() {
    let mut firmware = Scene::connected(Style::Firmware, &[16992]);
    let id = firmware.channel(1, 100);
    firmware.data(id, &[0; 2 * WINDOW as usize]);
    assert!(firmware.closed.is_none());
    firmware.data(id, &[0; 1]);
    assert!(firmware.closed.is_some());
    let mut program = Scene::new(Style::Socket);
    program.say(&Message::JsonControl { json: r#"{"action":"connType","value":1}"#.into() });
    login().iter().for_each(|message| program.say(message));
    program.say(&forward(16992));
    program.heard();
    let id = program.channel(1, 100);
    program.data(id, &vec![0; DATA_MAX as usize]);
    assert!(!program.machine.wants_input(), "it is not read any more");
    while program.read(id, 65536).unwrap().is_some() {}
    assert!(program.machine.wants_input());
    assert!(program.closed.is_none());
    program.say(&Message::Data { recipient: id, length: DATA_MAX + 1 });
    assert!(program.closed.is_some(), "a frame beyond any bound");
}

#[test]
fn close_is_said_once_and_numbers_are_reused_at_once() {
    let mut scene = Scene::connected(Style::Firmware, &[16992]);
    // The device closes right behind its answer: the answer is read first.
    let first = scene.channel(0, 100);
    scene.data(first, b"HTTP/1.1 401");
    scene.say(&Message::ChannelClose { recipient: first });
    assert_eq!(scene.heard(), [Message::ChannelClose { recipient: 0 }]);
    scene.say(&Message::ChannelClose { recipient: first });
    assert_eq!(scene.heard(), [], "an answer is not answered");
    // Its number is given to the next channel while the first one is still being read.
    let second = scene.channel(0, 100);
    assert_ne!(first, second);
    assert_eq!(scene.read(first, 100), Ok(Some(b"HTTP/1.1 401".to_vec())));
    assert_eq!(scene.read(first, 100), Ok(Some(vec![])));
    scene.machine.abandon(first, scene.now);
    assert_eq!(scene.heard(), [], "it is closed already");
    // We close: what was written leaves before.
    scene.machine.write(second, b"bye").unwrap();
    scene.machine.abandon(second, scene.now);
    assert_eq!(
        scene.heard(),
        [Message::Data { recipient: 0, length: 3 }, Message::ChannelClose { recipient: 0 }]
    );
    scene.data(second, b"late");
    scene.say(&Message::ChannelClose { recipient: second });
    assert_eq!(scene.heard(), []);
    assert_eq!(scene.machine.channels.len(), 0);
}

#[test]
fn channels_that_are_not_wanted_any_more_are_closed_when_the_answer_comes() {
    let mut scene = Scene::connected(Style::Firmware, &[16992, 5900]);
    let open = |scene: &mut Scene| {
        let id = scene.machine.open_channel(16992, Priority::Interactive, scene.now).unwrap();
        scene.heard();
        id
    };
    let dropped = open(&mut scene);
    scene.machine.abandon(dropped, scene.now);
    assert_eq!(scene.heard(), []);
    scene.say(&Message::ChannelConfirmation { recipient: dropped, sender: 3, window: 9 });
    assert_eq!(scene.heard(), [Message::ChannelClose { recipient: 3 }]);
    let late = open(&mut scene);
    scene.later(15);
    assert_eq!(scene.machine.opened(late), Some(Err(Failure::Late)));
    scene.machine.abandon(late, scene.now);
    scene.say(&Message::ChannelConfirmation { recipient: late, sender: 4, window: 9 });
    assert_eq!(scene.heard(), [Message::ChannelClose { recipient: 4 }]);
    let refused = open(&mut scene);
    scene.say(&Message::ChannelFailure { recipient: refused, reason: 2 });
    assert_eq!(scene.machine.opened(refused), Some(Err(Failure::Refused(2))));
    scene.machine.abandon(refused, scene.now);
    // A confirmed channel may fail, too: programs say so when their own connection breaks.
    let broken = scene.channel(5, 100);
    scene.say(&Message::ChannelFailure { recipient: broken, reason: 2 });
    assert_eq!(scene.read(broken, 9), Err(Failure::Refused(2)));
}

#[test]
fn a_tunnel_carries_so_many_channels_and_interactive_ones_first() {
    let mut scene = Scene::connected(Style::Firmware, &[16992, 16994]);
    let now = scene.now;
    let slow = scene.machine.open_channel(16992, Priority::Background, now).unwrap();
    let another = scene.machine.open_channel(16992, Priority::Background, now);
    assert_eq!(another, Err(Failure::TooMany), "one after the other");
    assert_eq!(
        scene.machine.open_channel(5900, Priority::Interactive, now),
        Err(Failure::NotForwarded)
    );
    scene.heard();
    scene.say(&Message::ChannelConfirmation { recipient: slow, sender: 1, window: 60_000 });
    let fast = scene.channel(2, 60_000);
    scene.machine.write(slow, &[0; 20_000]).unwrap();
    scene.machine.write(fast, &[0; 20_000]).unwrap();
    let order: Vec<u32> = scene
        .heard()
        .iter()
        .map(|message| match message {
            Message::Data { recipient, .. } => *recipient,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, [2, 2, 2, 1, 1, 1]);
    for _ in 2..CHANNELS {
        scene.machine.open_channel(16994, Priority::Interactive, now).unwrap();
    }
    let beyond = scene.machine.open_channel(16994, Priority::Interactive, now);
    assert_eq!(beyond, Err(Failure::TooMany));
}

#[test]
fn the_end_of_a_tunnel_is_the_end_of_its_channels() {
    let mut scene = Scene::connected(Style::Firmware, &[16992]);
    let id = scene.channel(1, 100);
    scene.data(id, b"rest");
    scene.machine.ended();
    assert_eq!(scene.read(id, 9), Ok(Some(b"rest".to_vec())));
    assert_eq!(scene.read(id, 9), Err(Failure::Gone));
    assert_eq!(scene.machine.write(id, b"x"), Err(Failure::Gone));
    let next = scene.machine.open_channel(16992, Priority::Interactive, scene.now);
    assert_eq!(next, Err(Failure::Gone));
}

#[test]
fn programs_say_what_they_are_once_and_before_anything_else() {
    let kind = |value: u32| Message::JsonControl {
        json: format!(r#"{{"action":"connType","value":{value}}}"#),
    };
    let junk = |json: &str| Message::JsonControl { json: json.into() };
    for (style, messages, expected) in [
        (Style::Socket, vec![kind(2), version()], TunnelKind::Lms),
        (Style::Socket, vec![kind(1), kind(2), version()], TunnelKind::Relay),
        (Style::Socket, vec![version(), kind(2)], TunnelKind::Cira),
        (Style::Socket, vec![kind(7), kind(2), version()], TunnelKind::Lms),
        (Style::Socket, vec![junk("{"), junk("[]"), kind(1), version()], TunnelKind::Relay),
        (Style::Firmware, vec![kind(2), version()], TunnelKind::Cira),
    ] {
        let mut scene = Scene::new(style);
        messages.iter().for_each(|message| scene.say(message));
        assert_eq!((scene.machine.kind(), &scene.closed), (expected, &None), "{messages:?}");
    }
    let mut firmware = Scene::connected(Style::Firmware, &[16992]);
    firmware.machine.control(&serde_json::json!({"action": "close"}));
    assert_eq!(firmware.heard(), [], "firmware is never told JSON");
    assert_eq!(firmware.steps.len(), 2, "version and login are in the journal");
}

proptest! {
    /// A hostile device that is logged in: memory stays bounded, nothing panics.
    #[test]
    fn any_messages_leave_a_bounded_machine(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                (prop::sample::select(vec![80u8, 90, 91, 92, 93, 97, 208, 210]), 4u32..8)
                    .prop_map(|(kind, id)| [&[kind][..], &id.to_be_bytes(), &[0; 12]].concat()),
                (4u32..8, 0u32..200).prop_map(|(recipient, length)| {
                    let head = Message::Data { recipient, length }.to_bytes();
                    [head, vec![7; length as usize]].concat()
                }),
            ],
            0..60,
        ),
    ) {
        let mut scene = Scene::connected(Style::Firmware, &[16992]);
        for (n, piece) in pieces.iter().enumerate() {
            let now = scene.now;
            if let Ok(id) = scene.machine.open_channel(16992, Priority::Interactive, now) {
                let _ = scene.machine.write(id, &[1; 100]);
                if n % 3 == 0 {
                    scene.machine.abandon(id, now);
                }
            }
            scene.say_bytes(piece);
            let waiting: usize =
                scene.machine.channels.iter().map(|c| c.unread() + c.unsent()).sum();
            prop_assert!(waiting < CHANNELS * 256 * 1024);
            prop_assert!(scene.machine.channels.len() <= CHANNELS);
            if scene.machine.is_over() {
                break;
            }
        }
    }
}
