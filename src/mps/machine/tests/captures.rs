//! Whole sessions as MeshCentral and its clients had them, and every bad input on the list.

use super::*;
use serde_json::Value;

fn vector(name: &str) -> Value {
    let path = format!("{}/tests/vectors/apf-{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The bytes of a captured message. Of long ones the capture has the beginning.
fn bytes(message: &Value) -> Vec<u8> {
    let hex = message["hex"].as_str().or(message["hex_prefix"].as_str()).unwrap();
    let mut bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
    bytes.resize(message["len"].as_u64().unwrap() as usize, b'X');
    bytes
}

fn kind(message: &Value) -> u64 {
    message["type"].as_u64().unwrap()
}

/// What the server's side writes on the channel that is opened first in `messages`.
fn written(messages: &[Value]) -> Vec<u8> {
    let until_next = messages.iter().skip(1).take_while(|m| kind(m) != 90);
    let data = until_next.filter(|m| m["dir"] == "S>C" && kind(m) == 94);
    data.flat_map(|m| bytes(m)[9..].to_vec()).collect()
}

/// Reads what has come on the channels, and lets go of those that have ended.
fn read_all(scene: &mut Scene, open: &mut Vec<u32>) {
    open.retain(|id| {
        loop {
            match scene.read(*id, 65536) {
                Ok(Some(read)) if !read.is_empty() => {}
                Ok(None) => return true,
                Ok(Some(_)) | Err(_) => {
                    scene.machine.abandon(*id, scene.now);
                    return false;
                }
            }
        }
    });
}

/// Both sides of each session: what the captured device said is said, channels are opened, written,
/// read and closed when MeshCentral did so. What we say has to be what it said, byte by byte.
#[test]
fn captured_sessions_are_played_as_meshcentral_played_them() {
    for (name, style, tunnel) in [
        ("session-firmware-style", Style::Firmware, TunnelKind::Cira),
        ("session-meshcentral-apfclient", Style::Firmware, TunnelKind::Cira),
        ("session-wsman-digest", Style::Firmware, TunnelKind::Cira),
        ("flow-control", Style::Firmware, TunnelKind::Cira),
        ("session-wss-lms", Style::Socket, TunnelKind::Lms),
        ("session-wss-relay", Style::Socket, TunnelKind::Relay),
    ] {
        let v = vector(name);
        let messages = v["messages"].as_array().unwrap();
        let mut scene = Scene::new(style);
        let (mut expected, mut open) = (Vec::new(), Vec::new());
        for (n, message) in messages.iter().enumerate() {
            let bytes = bytes(message);
            if message["dir"] == "C>S" {
                scene.say_bytes(&bytes);
                read_all(&mut scene, &mut open);
                continue;
            }
            match kind(message) {
                // Says other things to people.
                250 => continue,
                // MeshCentral sends nothing when it is given no credit.
                94 if bytes.len() == 9 => continue,
                90 => {
                    let port = message["decoded"]["target_port"].as_u64().unwrap() as u16;
                    let now = scene.now;
                    let id = scene.machine.open_channel(port, Priority::Interactive, now).unwrap();
                    let request = written(&messages[n..]);
                    assert_eq!(scene.machine.write(id, &request), Ok(request.len()));
                    open.push(id);
                }
                // An answer, if the device was first.
                97 => open.drain(..).for_each(|id| scene.machine.abandon(id, scene.now)),
                _ => {}
            }
            expected.extend(bytes);
            scene.settle();
        }
        scene.settle();
        assert_eq!(scene.heard, expected, "{name}");
        assert_eq!((scene.announced, &scene.closed), (1, &None), "{name}");
        assert_eq!(scene.machine.kind(), tunnel, "{name}");
        assert_eq!(scene.machine.channels.len(), 0, "{name}");
    }
}

/// What has to come of a bad input.
#[derive(Debug, PartialEq)]
enum End {
    /// The tunnel ends, with this as its last word.
    Over(Option<Message>),
    /// It goes on; this was answered.
    Goes(Vec<Message>),
}

fn end(mut scene: Scene) -> End {
    let heard = scene.heard();
    match scene.closed {
        Some(_) => End::Over(heard.last().cloned()),
        None => End::Goes(heard),
    }
}

fn after(messages: &[Message]) -> End {
    let mut scene = Scene::new(Style::Firmware);
    messages.iter().for_each(|message| scene.say(message));
    end(scene)
}

/// The same for a device that is connected.
fn once_in(messages: &[Message]) -> End {
    let mut scene = Scene::connected(Style::Firmware, &[16992]);
    messages.iter().for_each(|message| scene.say(message));
    end(scene)
}

fn refused(message: Message) -> End {
    let mut scene = Scene::new(Style::Firmware);
    scene.accepts = false;
    scene.say(&version());
    scene.say(&message);
    end(scene)
}

fn pieces(bytes: &[u8], size: usize) -> End {
    let mut scene = Scene::new(Style::Firmware);
    bytes.chunks(size).for_each(|piece| scene.say_bytes(piece));
    end(scene)
}

fn raw(bytes: &[u8]) -> End {
    pieces(bytes, bytes.len())
}

fn goodbye(reason: u32) -> End {
    End::Over(Some(Message::Disconnect { reason }))
}

/// Every input on the list of those that were sent to the stock server, with the end the list asks
/// for. Which names and passwords are good is [`crate::mps::admission`]'s to say.
#[test]
fn every_bad_input_on_the_list_has_the_end_it_must_have() {
    let wire =
        |messages: &[Message]| messages.iter().flat_map(Message::to_bytes).collect::<Vec<_>>();
    let accept = |name: &str| Message::ServiceAccept { service: name.into() };
    let unknown = |want_reply| Message::UnknownRequest { want_reply };
    let request = wire(&[version(), auth("password")]);
    let whole = wire(&[&login()[..], &[forward(16992)]].concat());
    let answers = vec![
        accept(AUTH_SERVICE),
        Message::UserAuthSuccess,
        accept(FORWARD_SERVICE),
        Message::RequestSuccess { port: Some(16992) },
    ];
    let failure = || End::Over(Some(Message::UserAuthFailure));
    let v = vector("malformed");
    let cases = v["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 27);
    for case in cases {
        let input = case["input"].as_str().unwrap();
        let (found, wanted) = match input {
            "USERAUTH before PROTOCOL_VERSION" => (after(&[auth("password")]), goodbye(2)),
            "USERAUTH without preceding SERVICE_REQUEST auth" => {
                (after(&[version(), auth("password")]), End::Goes(vec![Message::UserAuthSuccess]))
            }
            "tcpip-forward before authentication" => {
                (after(&[version(), forward(16992)]), goodbye(2))
            }
            "user name length 15"
            | "16-char user matching no group"
            | "wrong password, mpspass configured" => (refused(auth("password")), failure()),
            "method none, no mpspass configured" | "method none, mpspass configured" => {
                (refused(auth("none")), failure())
            }
            "method none followed in same record by SERVICE_REQUEST" => {
                let both = wire(&[version(), auth("none"), service(FORWARD_SERVICE)]);
                (raw(&both), End::Goes(vec![Message::UserAuthSuccess, accept(FORWARD_SERVICE)]))
            }
            "USERAUTH_REQUEST split in two TLS records at byte 30" => {
                (pieces(&request, 93 + 30), End::Goes(vec![Message::UserAuthSuccess]))
            }
            "USERAUTH_REQUEST split at byte 10" => {
                (pieces(&request, 93 + 10), End::Goes(vec![Message::UserAuthSuccess]))
            }
            "every other message sent one byte per record" => {
                (pieces(&whole, 1), End::Goes(answers.clone()))
            }
            "whole login pipelined in one record" => (raw(&whole), End::Goes(answers.clone())),
            // No need to wait for what no message begins with.
            "first byte 0x0a alone" => (raw(&[0x0a]), goodbye(2)),
            "0x0a + 4 more bytes" => (raw(&[0x0a; 5]), goodbye(2)),
            "SERVICE_REQUEST foo@amt.intel.com" => {
                (after(&[version(), service("foo@amt.intel.com")]), goodbye(7))
            }
            "unknown GLOBAL_REQUEST, 8 payload bytes" => {
                let mut scene = Scene::connected(Style::Firmware, &[16992]);
                scene.say_bytes(&[&unknown(true).to_bytes()[..], &[0; 8]].concat());
                assert_eq!(scene.heard().first(), Some(&Message::RequestFailure));
                (end(scene), End::Over(None))
            }
            "unknown GLOBAL_REQUEST name hello, no payload" => {
                (once_in(&[unknown(true)]), End::Goes(vec![Message::RequestFailure]))
            }
            "DATA/ADJUST/CLOSE/CONFIRMATION/FAILURE for unknown channel" => {
                let recipient = 77;
                let all = [
                    Message::Data { recipient, length: 0 },
                    Message::WindowAdjust { recipient, bytes: 1 },
                    Message::ChannelClose { recipient },
                    Message::ChannelConfirmation { recipient, sender: 1, window: 1 },
                    Message::ChannelFailure { recipient, reason: 2 },
                ];
                (once_in(&all), End::Goes(vec![]))
            }
            "string length field 3000" => (raw(&[5, 0, 0, 0x0b, 0xb8]), goodbye(2)),
            "device sends KEEPALIVE_OPTIONS_REQUEST (210)" => {
                let (interval, timeout) = (30, 0);
                let reply = Message::KeepAliveOptionsReply { interval, timeout };
                let asked = Message::KeepAliveOptionsRequest { interval, timeout };
                (once_in(&[asked]), End::Goes(vec![reply]))
            }
            "device sends REQUEST_SUCCESS (81) or REQUEST_FAILURE (82)" => {
                let both = [Message::RequestSuccess { port: None }, Message::RequestFailure];
                (once_in(&both), End::Goes(vec![]))
            }
            "DISCONNECT reason 11" => {
                (once_in(&[Message::Disconnect { reason: 11 }]), End::Over(None))
            }
            "CHANNEL_DATA of 2,000,000 bytes on one frame" => {
                (once_in(&[Message::Data { recipient: 4, length: 2_000_000 }]), goodbye(2))
            }
            "CHANNEL_DATA over the granted window" => {
                let mut scene = Scene::connected(Style::Firmware, &[16992]);
                let id = scene.channel(1, 100);
                scene.data(id, &[0; 2 * WINDOW as usize]);
                assert_eq!(scene.closed, None, "twice the window is tolerated");
                scene.data(id, &[0]);
                (end(scene), goodbye(2))
            }
            "second CHANNEL_CLOSE for a closed channel" => {
                let mut scene = Scene::connected(Style::Firmware, &[16992]);
                let id = scene.channel(1, 100);
                scene.say(&Message::ChannelClose { recipient: id });
                assert_eq!(scene.heard(), [Message::ChannelClose { recipient: 1 }]);
                scene.say(&Message::ChannelClose { recipient: id });
                (end(scene), End::Goes(vec![]))
            }
            "partial message then silence" => {
                let mut scene = Scene::connected(Style::Firmware, &[16992]);
                scene.say_bytes(&[93, 0, 0]);
                for _ in 0..3 {
                    scene.later(45);
                }
                let asked = |m: &&Message| matches!(m, Message::KeepAliveRequest { .. });
                assert_eq!(scene.heard().iter().filter(asked).count(), 2);
                (end(scene), End::Over(None))
            }
            other => panic!("{other} is new on the list"),
        };
        assert_eq!(found, wanted, "{input}");
    }
}
