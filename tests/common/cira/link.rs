//! A simulated computer on a real connection: TLS, or a WebSocket over it. Many run on one thread.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use async_io::Timer;
use async_net::TcpStream;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite;
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use rustls::pki_types::ServerName;

use super::{Device, Mood, Seen};
use crate::common::amt::{Computer, tcp};
use crate::common::simulated::tls;

/// Longest a test waits for one event.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a computer says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Where computers connect: the MPS port and the HTTPS port.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// For firmware.
    pub mps: u16,
    /// For programs.
    pub https: u16,
}

enum Wire {
    Tls(Box<TlsStream<TcpStream>>),
    Socket(Box<WebSocketStream<TlsStream<TcpStream>>>),
}

impl Wire {
    async fn open(door: Door, mood: Mood) -> io::Result<Self> {
        let port = if mood == Mood::Firmware { door.mps } else { door.https };
        let tcp = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1").map_err(io::Error::other)?;
        let tls = TlsConnector::from(tls::client_config()).connect(name, tcp).await?;
        if mood == Mood::Firmware {
            return Ok(Self::Tls(Box::new(tls)));
        }
        let url = format!("wss://127.0.0.1:{port}/apf.ashx");
        let (socket, _) =
            async_tungstenite::client_async(url, tls).await.map_err(io::Error::other)?;
        Ok(Self::Socket(Box::new(socket)))
    }

    async fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        match self {
            Self::Tls(stream) => {
                stream.write_all(&message).await?;
                stream.flush().await
            }
            Self::Socket(socket) => {
                // Channel data is binary; all else MeshCmd writes as text, a character for each byte.
                let message = if message.first() == Some(&94) {
                    tungstenite::Message::Binary(message.into())
                } else {
                    let text: String = message.into_iter().map(char::from).collect();
                    tungstenite::Message::Text(text.into())
                };
                socket.send(message).await.map_err(io::Error::other)
            }
        }
    }

    /// What has come; empty at the end.
    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Tls(stream) => {
                let mut buffer = [0; 4096];
                match stream.read(&mut buffer).await {
                    Ok(count) => Ok(buffer[..count].to_vec()),
                    // The stock server ends TLS without a word.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Vec::new()),
                    Err(error) => Err(error),
                }
            }
            Self::Socket(socket) => match socket.next().await {
                Some(Ok(tungstenite::Message::Binary(bytes))) => {
                    // A client reads one message per frame: more in it would be lost.
                    Ok(bytes.to_vec())
                }
                Some(Ok(tungstenite::Message::Close(_))) | None => Ok(Vec::new()),
                Some(Ok(tungstenite::Message::Text(_))) => {
                    Err(io::Error::other("the server must not write text"))
                }
                Some(Ok(_)) => Box::pin(self.receive()).await,
                Some(Err(error)) => Err(io::Error::other(error)),
            },
        }
    }
}

/// Runs a computer until its server or `stop` ends it; tells what it sees.
pub async fn connect(
    door: Door,
    mood: Mood,
    mut device: Device,
    stop: async_channel::Receiver<()>,
    mut tell: impl FnMut(Seen),
) -> io::Result<()> {
    let mut wire = Wire::open(door, mood).await?;
    loop {
        while let Some(message) = device.poll_out() {
            wire.send(message).await?;
        }
        while let Some(seen) = device.poll_seen() {
            tell(seen);
        }
        let read = async { wire.receive().await.map(Some) };
        let stopped = async {
            let _ = stop.recv().await;
            Ok(Some(Vec::new()))
        };
        let pause = match (device.waits(), device.is_used()) {
            (true, _) => tcp::THINKS,
            (false, true) => tcp::TICKS,
            (false, false) => KEEP_ALIVE,
        };
        let idle = async {
            Timer::after(pause).await;
            Ok(None)
        };
        match read.or(stopped).or(idle).await? {
            Some(bytes) if bytes.is_empty() => return Ok(()),
            Some(bytes) => device.receive(&bytes),
            None if pause == KEEP_ALIVE => device.keep_alive(),
            None => device.work(),
        }
    }
}

/// A computer on a thread of its own, for tests; stopped when dropped.
pub struct Live {
    stop: async_channel::Sender<()>,
    events: mpsc::Receiver<Seen>,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl Live {
    /// Connects a computer.
    pub fn connect(door: Door, mood: Mood, uuid: &str, user: &str, password: &str) -> Self {
        Self::start(door, mood, Device::new(mood, uuid, user, password))
    }

    /// Connects a computer with simulated firmware.
    pub fn connect_computer(
        door: Door,
        uuid: &str,
        (user, password): (&str, &str),
        computer: &Computer,
    ) -> Self {
        let device = Device::new(Mood::Firmware, uuid, user, password);
        Self::start(door, Mood::Firmware, device.with_computer(computer.clone()))
    }

    /// Connects a program on a computer with simulated firmware, which reports this of it.
    pub fn connect_program(
        door: Door,
        uuid: &str,
        (user, password): (&str, &str),
        computer: &Computer,
        report: &str,
    ) -> Self {
        let mood = Mood::MeshCmd(2);
        let device = Device::reporting(mood, uuid, user, password, report);
        Self::start(door, mood, device.with_computer(computer.clone()))
    }

    fn start(door: Door, mood: Mood, device: Device) -> Self {
        let (stop, stopped) = async_channel::bounded(1);
        let (sender, events) = mpsc::channel();
        let thread = thread::spawn(move || {
            let executor = Rc::new(LocalExecutor::new());
            async_io::block_on(executor.run(connect(door, mood, device, stopped, |seen| {
                // A test that ended no longer listens.
                let _ = sender.send(seen);
            })))
        });
        Self { stop, events, thread: Some(thread) }
    }

    /// Waits for an event.
    ///
    /// # Panics
    /// If it does not come in time, or the connection ends before.
    pub fn wait_for(&self, awaited: impl Fn(&Seen) -> bool) -> Seen {
        let deadline = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(seen) if awaited(&seen) => return seen,
                Ok(seen) => others.push(seen),
                Err(end) => panic!("no such event ({end}); it saw {others:?}"),
            }
        }
    }

    /// Waits until the server ends the connection; what was seen meanwhile.
    pub fn ended(mut self) -> Vec<Seen> {
        let thread = self.thread.take().expect("taken once");
        let _ = thread.join().expect("the computer does not panic");
        self.events.try_iter().collect()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
