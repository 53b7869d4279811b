//! Peers that do not keep to the rules: bare TCP, bare TLS, WebSocket frames byte by byte, and an
//! agent whose messages can be tampered with.

// The budgets use a part of this, on blocking sockets: no reactor is shared with the server.
#![allow(dead_code, unreachable_pub)]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::rc::Rc;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::common::PATIENCE;
use crate::common::simulated::{Agent, Group, Identity, Memory, Mood, Output, identity, tls};

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A TCP connection to the loopback server from another loopback address.
pub fn tcp_from(source: impl Into<Ipv4Addr>, port: u16) -> TcpStream {
    let made = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&made, &SocketAddrV4::new(source.into(), 0)).expect("a loopback address");
    let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    connect(&made, &server).expect("the server listens");
    let stream = TcpStream::from(made);
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
    stream
}

/// The same with TLS on it; the handshake happens with the first byte.
pub fn tls_from(source: impl Into<Ipv4Addr>, port: u16) -> Tls {
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let client = ClientConnection::new(tls::client_config(), name).expect("valid parameters");
    StreamOwned::new(client, tcp_from(source, port))
}

/// Reads until the server ends the connection, in whatever way; what came before.
///
/// # Panics
/// If the server does not end it.
pub fn until_end(stream: &mut impl Read) -> Vec<u8> {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return read,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
            Err(error) if is_timeout(&error) => panic!("still open; it sent {read:?}"),
            Err(_) => return read,
        }
    }
}

pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// One request on a connection of its own; the whole answer, head and body.
pub fn exchange(port: u16, request: &[u8]) -> String {
    let mut stream = tls_from(Ipv4Addr::LOCALHOST, port);
    // A server that has had enough may close while we write.
    let _ = stream.write_all(request);
    String::from_utf8_lossy(&until_end(&mut stream)).into_owned()
}

/// The status line's number.
pub fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no HTTP answer but {answer:?}"))
}

/// A client frame; `fin` false for a fragment that is not the last.
pub fn frame(opcode: u8, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, fin, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

/// The beginning of a frame that claims to carry `length` bytes, with a mask that changes nothing.
pub fn header(opcode: u8, fin: bool, length: u64) -> Vec<u8> {
    let mut header = vec![opcode | if fin { 0x80 } else { 0 }];
    match length {
        0..126 => header.push(0x80 | length as u8),
        126..65536 => {
            header.push(0x80 | 126);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(length.to_be_bytes());
        }
    }
    header.extend([0; 4]);
    header
}

/// A WebSocket that sends whatever it likes.
pub struct Raw {
    stream: Tls,
}

impl Raw {
    /// Upgrades `path`.
    ///
    /// # Panics
    /// If the answer is not 101.
    pub fn open(port: u16, path: &str, headers: &str) -> Self {
        Self::open_from(Ipv4Addr::LOCALHOST, port, path, headers)
    }

    pub fn open_from(source: impl Into<Ipv4Addr>, port: u16, path: &str, headers: &str) -> Self {
        let mut stream = tls_from(source, port);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).expect("the server reads");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("the server answers");
            head.push(byte[0]);
        }
        assert_eq!(status(&String::from_utf8_lossy(&head)), 101);
        Self { stream }
    }

    /// Bytes as they are. That nobody reads them any more shows in what is read next.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// The next frame: opcode and payload; `None` at the end.
    ///
    /// # Panics
    /// If nothing comes.
    pub fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.read(&mut head)?;
        let length = match head[1] & 0x7f {
            126 => {
                let mut length = [0; 2];
                self.read(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.read(&mut length)?;
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).expect("our server is modest")];
        self.read(&mut payload)?;
        Some((head[0] & 0x0f, payload))
    }

    fn read(&mut self, buffer: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(buffer) {
            Ok(()) => Some(()),
            Err(error) if is_timeout(&error) => panic!("neither a frame nor the end"),
            Err(_) => None,
        }
    }

    /// What comes before the answer to a ping sent now, apart from other pongs.
    ///
    /// # Panics
    /// If the connection ends before.
    pub fn heard(&mut self) -> Vec<Vec<u8>> {
        const WORD: &[u8] = b"still there?";
        self.send(&frame(9, true, WORD));
        let mut heard = Vec::new();
        loop {
            match self.next() {
                Some((10, payload)) if payload == WORD => return heard,
                Some((1 | 2, payload)) => heard.push(payload),
                Some(_) => {}
                None => panic!("closed after {heard:?}"),
            }
        }
    }

    /// Waits for the end of the connection; the messages before it.
    pub fn end(&mut self) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        while let Some((opcode, payload)) = self.next() {
            if opcode < 8 {
                heard.push(payload);
            }
        }
        heard
    }
}

/// A simulated agent on a [`Raw`] socket: each message may be changed before it is sent. It takes
/// the fast path, so that the server signs nothing and answers every message at once: after a pong,
/// silence is silence.
pub struct Forger {
    pub socket: Raw,
    agent: Agent,
    /// Everything sent so far.
    pub sent: Vec<Vec<u8>>,
    /// Certificate hash, server nonce, agent nonce: what an agent signs.
    challenge: Vec<u8>,
}

impl Forger {
    pub fn connect(port: u16, path: &str, identity: Identity, group: Group) -> Self {
        let socket = Raw::open(port, path, "");
        let certificate = socket.stream.conn.peer_certificates().and_then(|chain| chain.first());
        let seen = identity::sha384(&[certificate.expect("the server has one")]);
        let memory = Memory { trusted_tls: Some(seen), core: None };
        let agent = Agent::new(Rc::new(identity), group, memory, Mood::Quiet, seen);
        Self { socket, agent, sent: Vec::new(), challenge: Vec::new() }
    }

    /// Authenticates as an honest agent.
    ///
    /// # Panics
    /// If it is not let in.
    pub fn honest(port: u16, identity: Identity, group: Group) -> Self {
        let mut forger = Self::connect(port, "/agent.ashx", identity, group);
        assert!(forger.talk(|_, _| {}));
        forger
    }

    /// Talks with the server until it says nothing more; whether it let the agent in. `change`
    /// gets each message before it is sent, and what the agent has to sign.
    pub fn talk(&mut self, change: impl Fn(&mut Vec<u8>, &[u8])) -> bool {
        let mut confirmed = false;
        loop {
            while let Some(output) = self.agent.poll_output() {
                let mut message = match output {
                    Output::Binary(bytes) => bytes,
                    Output::Text(text) => text.into_bytes(),
                };
                change(&mut message, &self.challenge);
                self.socket.send(&frame(2, true, &message));
                self.sent.push(message);
            }
            let heard = self.socket.heard();
            if heard.is_empty() {
                return confirmed;
            }
            for message in heard {
                confirmed |= message == [0, 4];
                if let Some(challenge) = message.strip_prefix(&[0, 1]) {
                    let request = self.sent.iter().find(|sent| sent.starts_with(&[0, 1]));
                    let nonce = request.and_then(|request| request.get(50..));
                    self.challenge = [challenge, nonce.expect("it asked first")].concat();
                }
                self.agent.receive(&message);
            }
        }
    }

    /// JSON, as its core would say it.
    pub fn say(&mut self, json: &str) {
        self.socket.send(&frame(1, true, json.as_bytes()));
    }
}
