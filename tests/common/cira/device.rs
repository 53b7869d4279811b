//! One simulated computer without its socket: what it says, and what it saw.

use std::collections::VecDeque;

use meshboard::model::Uuid;
use meshboard::mps::wire::{
    AUTH_SERVICE, Decoder, Event, FORWARD_SERVICE, JSON_MAX, Message, Side,
};

use crate::common::amt::{Computer, Connection};

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
/// Those of them with TLS.
const SECURE: [u32; 3] = [16993, 664, 16995];
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
    channels: Vec<Channel>,
    /// The firmware behind its ports; without one a web server that says `ok` to everything.
    computer: Option<Computer>,
}

struct Channel {
    own: u32,
    server: u32,
    /// What the server can still take.
    credit: u32,
    /// What came, for the web server.
    request: Vec<u8>,
    /// What waits for credit.
    waiting: Vec<u8>,
    /// To the firmware, and whether we asked to close the channel.
    connection: Option<Connection>,
    closing: bool,
}

impl Device {
    /// A computer that has its connection.
    pub fn new(mood: Mood, uuid: &str, user: &str, password: &str) -> Self {
        let report = format!(r#"{{"OsHostname":"sim","UUID":"{uuid}"}}"#);
        Self::reporting(mood, uuid, user, password, &report)
    }

    /// A computer whose program reports this of its firmware, an object in JSON.
    pub fn reporting(mood: Mood, uuid: &str, user: &str, password: &str, report: &str) -> Self {
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
            computer: None,
        };
        device.begin(report);
        device
    }

    /// The same with simulated firmware behind its ports.
    #[must_use]
    pub fn with_computer(mut self, computer: Computer) -> Self {
        if !computer.firmware(|firmware| firmware.plain) {
            // Firmware from 16.1 on forwards what it serves.
            self.to_forward.retain(|port| SECURE.contains(port));
        }
        self.computer = Some(computer);
        self
    }

    fn begin(&mut self, report: &str) {
        if let Mood::MeshCmd(kind) = self.mood {
            let json = format!(r#"{{"action":"connType","value":{kind}}}"#);
            self.say(&Message::JsonControl { json });
            if kind == 2 {
                let json = format!(r#"{{"action":"meiState","value":{report}}}"#);
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
            Message::ChannelOpen { sender, port, window, .. } => {
                self.open(sender, port as u16, window);
            }
            Message::WindowAdjust { recipient, bytes } => {
                if let Some(channel) = self.channels.iter_mut().find(|c| c.own == recipient) {
                    channel.credit += bytes;
                }
                self.settle();
            }
            Message::ChannelClose { recipient } => {
                if let Some(at) = self.channels.iter().position(|c| c.own == recipient) {
                    let mut channel = self.channels.remove(at);
                    self.end(&mut channel);
                    if !channel.closing {
                        self.say(&Message::ChannelClose { recipient: channel.server });
                    }
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

    fn open(&mut self, server: u32, port: u16, credit: u32) {
        let connection = self
            .computer
            .as_ref()
            .map(|computer| computer.firmware(|firmware| Connection::open(firmware, port)));
        self.seen.push_back(Seen::Opened(port));
        let connection = match connection {
            // Nobody listens there.
            Some(None) => {
                return self.say(&Message::ChannelFailure { recipient: server, reason: 2 });
            }
            other => other.flatten(),
        };
        // Numbers are small, and given again at once.
        let own = (0..).find(|n| self.channels.iter().all(|c| c.own != *n)).unwrap_or(0);
        self.channels.push(Channel {
            own,
            server,
            credit,
            request: Vec::new(),
            waiting: Vec::new(),
            connection,
            closing: false,
        });
        self.say(&Message::ChannelConfirmation { recipient: server, sender: own, window: WINDOW });
    }

    fn end(&self, channel: &mut Channel) {
        if let (Some(computer), Some(connection)) = (&self.computer, &mut channel.connection) {
            computer.firmware(|firmware| connection.end(firmware));
        }
    }

    fn payload(&mut self, id: u32, bytes: &[u8]) {
        let Some(at) = self.channels.iter().position(|c| c.own == id) else { return };
        let recipient = self.channels[at].server;
        self.say(&Message::WindowAdjust { recipient, bytes: bytes.len() as u32 });
        match (&self.computer, &mut self.channels[at].connection) {
            (Some(computer), Some(connection)) => {
                computer.firmware(|firmware| connection.receive(firmware, bytes));
                self.settle();
            }
            _ => self.web_server(at, bytes),
        }
    }

    /// Whether firmware thinks about a request, which [`Self::work`] answers.
    pub fn waits(&self) -> bool {
        let mut connections = self.channels.iter().filter_map(|c| c.connection.as_ref());
        connections.any(Connection::waits)
    }

    /// Whether a program has a channel to the firmware.
    pub fn is_used(&self) -> bool {
        self.channels.iter().any(|c| c.connection.is_some())
    }

    /// Lets firmware work.
    pub fn work(&mut self) {
        if let Some(computer) = &self.computer {
            for connection in self.channels.iter_mut().filter_map(|c| c.connection.as_mut()) {
                computer.firmware(|firmware| connection.work(firmware));
            }
            self.settle();
        }
    }

    /// Sends what firmware has said, as far as the server takes it.
    fn settle(&mut self) {
        for channel in &mut self.channels {
            let Some(connection) = &mut channel.connection else { continue };
            channel.waiting.extend(connection.take());
            while !channel.waiting.is_empty() && channel.credit > 0 {
                let length = channel.waiting.len().min(channel.credit as usize).min(1024);
                let recipient = channel.server;
                let head = Message::Data { recipient, length: length as u32 };
                let mut data = head.to_bytes();
                data.extend(channel.waiting.drain(..length));
                self.out.push_back(data);
                channel.credit -= length as u32;
            }
            if connection.ended() && channel.waiting.is_empty() && !channel.closing {
                channel.closing = true;
                let recipient = channel.server;
                self.out.push_back(Message::ChannelClose { recipient }.to_bytes());
            }
        }
    }

    /// A web server that answers every request.
    fn web_server(&mut self, at: usize, bytes: &[u8]) {
        let channel = &mut self.channels[at];
        channel.request.extend_from_slice(bytes);
        if !channel.request.windows(4).any(|w| w == b"\r\n\r\n") {
            return;
        }
        let request = std::mem::take(&mut channel.request);
        let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
        self.seen.push_back(Seen::Asked(line));
        let body = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let recipient = channel.server;
        let mut data = Message::Data { recipient, length: body.len() as u32 }.to_bytes();
        data.extend(body.as_bytes());
        self.out.push_back(data);
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        for mut channel in std::mem::take(&mut self.channels) {
            self.end(&mut channel);
        }
    }
}
