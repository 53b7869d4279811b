//! One simulated computer without its socket: what it says, and what it saw.

use std::collections::VecDeque;

use meshboard::model::Uuid;
use meshboard::mps::wire::{
    AUTH_SERVICE, Decoder, Event, FORWARD_SERVICE, JSON_MAX, Message, Side,
};

/// In what style it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Firmware on the MPS port: version and service in a row, all its ports, answers wanted.
    Firmware,
    /// MeshCmd on a WebSocket: JSON_CONTROL with this `connType` first, two ports, no answers wanted.
    MeshCmd(u32),
}

/// What happened, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The login was accepted.
    LoggedIn,
    /// The login was refused.
    Refused,
    /// All ports are forwarded.
    Ready,
    /// The server asked for keep-alives of this interval.
    Options(u32),
    /// The server opened a channel to this port.
    Opened(u16),
    /// A whole request has come on a channel and was answered.
    Asked(String),
    /// The server closed a channel.
    Closed,
    /// JSON_CONTROL.
    Json(String),
}

/// Ports of firmware in its order.
const PORTS: [u32; 7] = [16993, 16992, 664, 623, 16995, 16994, 5900];
/// Those MeshCmd relays.
const RELAYED: [u32; 2] = [16992, 16993];
/// Window of firmware.
const WINDOW: u32 = 4096;

/// A simulated computer.
pub struct Device {
    mood: Mood,
    user: String,
    password: String,
    uuid: Uuid,
    decoder: Decoder,
    to_forward: VecDeque<u32>,
    seen: VecDeque<Seen>,
    out: VecDeque<Vec<u8>>,
    /// Our number of the channel, the server's, and what came on it.
    channels: Vec<(u32, u32, Vec<u8>)>,
}

impl Device {
    /// A computer that has its connection.
    pub fn new(mood: Mood, uuid: &str, user: &str, password: &str) -> Self {
        let ports = if mood == Mood::Firmware { &PORTS[..] } else { &RELAYED };
        let mut device = Self {
            mood,
            user: user.to_owned(),
            password: password.to_owned(),
            uuid: uuid.parse().expect("a UUID"),
            decoder: Decoder::new(Side::Client, JSON_MAX + 5),
            to_forward: ports.iter().copied().collect(),
            seen: VecDeque::new(),
            out: VecDeque::new(),
            channels: Vec::new(),
        };
        device.begin();
        device
    }

    fn begin(&mut self) {
        if let Mood::MeshCmd(kind) = self.mood {
            let json = format!(r#"{{"action":"connType","value":{kind}}}"#);
            self.say(&Message::JsonControl { json });
            if kind == 2 {
                let json = format!(
                    r#"{{"action":"meiState","value":{{"OsHostname":"sim","UUID":"{}"}}}}"#,
                    self.uuid
                );
                self.say(&Message::JsonControl { json });
            }
        }
        let (trigger, uuid) = (4, self.uuid);
        self.say(&Message::ProtocolVersion { major: 1, minor: 0, trigger, uuid });
        self.say(&Message::ServiceRequest { service: AUTH_SERVICE.into() });
    }

    fn say(&mut self, message: &Message) {
        self.out.push_back(message.to_bytes());
    }

    /// The next message to send.
    pub fn poll_out(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_seen(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }

    /// Says that it is still there.
    pub fn keep_alive(&mut self) {
        self.say(&Message::KeepAliveRequest { cookie: 255 });
    }

    /// Takes bytes of the server.
    ///
    /// # Panics
    /// If they are no APF.
    pub fn receive(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (used, event) = self.decoder.feed(rest).expect("the server speaks APF");
            at += used;
            match event {
                Some(Event::Message(message)) => self.message(message),
                Some(Event::Payload(id, payload)) => {
                    let payload = payload.to_vec();
                    self.payload(id, &payload);
                }
                None => {}
            }
            if self.seen.back() == Some(&Seen::Refused) {
                // MeshCentral's second zero byte; then it closes.
                return;
            }
        }
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::ServiceAccept { service } if service == AUTH_SERVICE => {
                let (user, password) = (self.user.clone(), self.password.clone());
                self.say(&Message::UserAuthRequest {
                    user,
                    service: FORWARD_SERVICE.into(),
                    method: "password".into(),
                    password: Some(password.into()),
                });
            }
            Message::ServiceAccept { .. } | Message::RequestSuccess { .. } => self.forward_next(),
            Message::UserAuthSuccess => {
                self.seen.push_back(Seen::LoggedIn);
                self.say(&Message::ServiceRequest { service: FORWARD_SERVICE.into() });
            }
            Message::UserAuthFailure => self.seen.push_back(Seen::Refused),
            Message::KeepAliveOptionsRequest { interval, timeout } => {
                self.seen.push_back(Seen::Options(interval));
                self.say(&Message::KeepAliveOptionsReply { interval, timeout });
            }
            Message::KeepAliveRequest { cookie } => self.say(&Message::KeepAliveReply { cookie }),
            Message::ChannelOpen { sender, port, .. } => {
                // Numbers are small, and given again at once.
                let own = (0..).find(|n| self.channels.iter().all(|c| c.0 != *n)).unwrap_or(0);
                self.channels.push((own, sender, Vec::new()));
                self.seen.push_back(Seen::Opened(port as u16));
                self.say(&Message::ChannelConfirmation {
                    recipient: sender,
                    sender: own,
                    window: WINDOW,
                });
            }
            Message::ChannelClose { recipient } => {
                if let Some(at) = self.channels.iter().position(|c| c.0 == recipient) {
                    let (_, server, _) = self.channels.remove(at);
                    self.say(&Message::ChannelClose { recipient: server });
                    self.seen.push_back(Seen::Closed);
                }
            }
            Message::JsonControl { json } => self.seen.push_back(Seen::Json(json)),
            _ => {}
        }
    }

    fn forward_next(&mut self) {
        match self.to_forward.pop_front() {
            Some(port) => {
                let want_reply = self.mood == Mood::Firmware;
                self.say(&Message::Forward { want_reply, address: "10.0.0.17".into(), port });
            }
            None if self.seen.back() != Some(&Seen::Ready) => self.seen.push_back(Seen::Ready),
            None => {}
        }
    }

    /// A web server that answers every request and closes its channel, as firmware does with a 401.
    fn payload(&mut self, id: u32, bytes: &[u8]) {
        let Some((_, server, request)) = self.channels.iter_mut().find(|c| c.0 == id) else {
            return;
        };
        request.extend_from_slice(bytes);
        let (recipient, whole) = (*server, request.windows(4).any(|w| w == b"\r\n\r\n"));
        let text = String::from_utf8_lossy(request).into_owned();
        self.say(&Message::WindowAdjust { recipient, bytes: bytes.len() as u32 });
        if whole {
            request_done(self, id, recipient, text);
        }
    }
}

fn request_done(device: &mut Device, id: u32, recipient: u32, text: String) {
    let line = text.lines().next().unwrap_or_default().to_owned();
    device.seen.push_back(Seen::Asked(line));
    let body = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let mut data = Message::Data { recipient, length: body.len() as u32 }.to_bytes();
    data.extend(body.as_bytes());
    device.out.push_back(data);
    if let Some((_, _, request)) = device.channels.iter_mut().find(|c| c.0 == id) {
        request.clear();
    }
}
