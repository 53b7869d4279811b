//! A WebSocket that costs its own side little: blocking TLS, frames masked beforehand.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::common::PATIENCE;
use crate::common::simulated::tls;

/// What frames are masked with; zeros would cost the server nothing.
const MASK: [u8; 4] = [0x5a, 0x3c, 0x99, 0x01];
/// After that long a peer that takes nothing is full.
const FULL: Duration = Duration::from_millis(200);

/// One end of a tunnel.
pub struct Line {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Line {
    /// Connects and upgrades.
    ///
    /// # Panics
    /// If the answer is not 101.
    pub fn open(port: u16, path: &str) -> Self {
        let tcp = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        tcp.set_nodelay(true).expect("a TCP socket");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a valid time");
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let mut client = ClientConnection::new(tls::client_config(), name).expect("valid");
        client.set_buffer_limit(Some(256 << 10));
        let mut stream = StreamOwned::new(client, tcp);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("the server reads");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("the server answers");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self { stream }
    }

    /// Sends one frame.
    pub fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.stream.write_all(&masked(opcode, payload)).expect("the server reads");
        self.stream.flush().expect("the server reads");
    }

    /// Sends `frames` frames of `size` bytes.
    pub fn pour(&mut self, size: usize, frames: usize) {
        let frame = masked(2, &vec![0xa5; size]);
        for _ in 0..frames {
            self.stream.write_all(&frame).expect("the server reads");
        }
        self.stream.flush().expect("the server reads");
    }

    /// Sends frames until nobody takes them any more.
    pub fn stuff(&mut self, size: usize) {
        let frame = masked(2, &vec![0xa5; size]);
        self.stream.sock.set_write_timeout(Some(FULL)).expect("a valid time");
        // TLS looks for an answer when it cannot write.
        self.stream.sock.set_read_timeout(Some(FULL)).expect("a valid time");
        loop {
            match self.stream.write_all(&frame) {
                Ok(()) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next message.
    ///
    /// # Panics
    /// If the connection ends.
    pub fn message(&mut self) -> Vec<u8> {
        let length = self.length();
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).expect("a whole frame");
        payload
    }

    /// Receives `frames` frames of `size` bytes and forgets them.
    pub fn skip(&mut self, size: usize, frames: usize) {
        let header = if size < 126 {
            2
        } else if size < 1 << 16 {
            4
        } else {
            10
        };
        let mut left = frames * (header + size);
        let mut buffer = vec![0; 256 << 10];
        while left > 0 {
            let room = left.min(buffer.len());
            let read = self.stream.read(&mut buffer[..room]).expect("more frames");
            assert!(read > 0, "{left} bytes are missing");
            left -= read;
        }
    }

    fn length(&mut self) -> usize {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).expect("a frame");
        match head[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length).expect("a frame");
                usize::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length).expect("a frame");
                usize::try_from(u64::from_be_bytes(length)).expect("it fits")
            }
            short => usize::from(short),
        }
    }
}

fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        medium @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
