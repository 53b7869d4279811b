//! A simulated agent on a real connection: TCP, TLS, WebSocket by `tungstenite`, messages over
//! 4096 bytes in fragments as the stock agent sends them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use async_net::TcpStream;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::tungstenite::protocol::frame::Frame;
use async_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use futures_lite::{FutureExt, StreamExt};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;

use super::agent::{Agent, Event, Group, Memory, Mood, Output};
use super::identity::{Identity, sha384};

/// Longest frame a stock agent sends.
const FRAGMENT: usize = 4096;
/// The stock agent pings a server that was silent for that long.
const IDLE: Duration = Duration::from_secs(120);

/// Where agents connect to.
#[derive(Clone)]
pub struct Server {
    address: SocketAddr,
    host: String,
    url: String,
    tls: std::sync::Arc<ClientConfig>,
}

/// What a test asks of a running agent.
#[derive(Debug)]
pub enum Command {
    /// Send this JSON.
    Say(Value),
    /// Close the connection.
    Stop,
}

/// A connected agent.
pub struct Link {
    /// The agent itself.
    pub agent: Agent,
    socket: WebSocketStream<TlsStream<TcpStream>>,
}

impl Server {
    /// A server by its agent URL, `wss://host:port/agent.ashx`.
    ///
    /// # Errors
    /// The URL is of another form, or its host has no address.
    pub fn parse(url: &str) -> io::Result<Self> {
        let malformed = || io::Error::other(format!("{url} is not wss://host[:port]/path"));
        let rest = url.strip_prefix("wss://").ok_or_else(malformed)?;
        let (authority, _) = rest.split_once('/').ok_or_else(malformed)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| malformed())?),
            None => (authority, 443),
        };
        let address = (host, port).to_socket_addrs()?.next().ok_or_else(malformed)?;
        let tls = super::tls::client_config();
        Ok(Self { address, host: host.to_owned(), url: url.to_owned(), tls })
    }
}

impl Link {
    /// Connects and upgrades; the agent has not said anything yet.
    ///
    /// # Errors
    /// No TCP, no TLS, or another answer than 101.
    pub async fn connect(
        server: &Server,
        identity: Rc<Identity>,
        group: Group,
        memory: Memory,
        mood: Mood,
    ) -> io::Result<Self> {
        let tcp = TcpStream::connect(server.address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(server.host.clone()).map_err(io::Error::other)?;
        let tls = TlsConnector::from(server.tls.clone()).connect(name, tcp).await?;
        let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let seen = sha384(&[certificate.ok_or(io::ErrorKind::InvalidData)?]);
        let config = WebSocketConfig::default().read_buffer_size(FRAGMENT).write_buffer_size(0);
        let (socket, _) =
            async_tungstenite::client_async_with_config(server.url.as_str(), tls, Some(config))
                .await
                .map_err(io::Error::other)?;
        Ok(Self { agent: Agent::new(identity, group, memory, mood, seen), socket })
    }

    /// Sends everything the agent has to say.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn flush(&mut self) -> io::Result<()> {
        while let Some(output) = self.agent.poll_output() {
            let (first, bytes) = match output {
                Output::Binary(bytes) => (Data::Binary, bytes),
                Output::Text(text) => (Data::Text, text.into_bytes()),
            };
            let count = bytes.len().div_ceil(FRAGMENT);
            for (number, fragment) in bytes.chunks(FRAGMENT).enumerate() {
                let opcode = if number == 0 { first } else { Data::Continue };
                let last = number + 1 == count;
                let frame = Frame::message(fragment.to_vec(), OpCode::Data(opcode), last);
                self.socket.send(Message::Frame(frame)).await.map_err(io::Error::other)?;
            }
        }
        Ok(())
    }

    /// Waits for one message of the server and hands it to the agent. May be dropped and called
    /// again.
    ///
    /// # Errors
    /// The server closed, or the connection is gone.
    pub async fn read(&mut self) -> io::Result<()> {
        let message = loop {
            let next = async { Some(self.socket.next().await) };
            let idle = async {
                async_io::Timer::after(IDLE).await;
                None
            };
            match next.or(idle).await {
                Some(message) => break message,
                None => {
                    let ping = Message::Ping(Vec::new().into());
                    self.socket.send(ping).await.map_err(io::Error::other)?;
                }
            }
        };
        match message.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)? {
            Message::Text(text) => self.agent.receive(text.as_bytes()),
            Message::Binary(bytes) => self.agent.receive(&bytes),
            _ => {}
        }
        Ok(())
    }

    /// The next thing that happens to the agent.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn event(&mut self) -> io::Result<Event> {
        loop {
            self.flush().await?;
            match self.agent.poll_event() {
                Some(event) => return Ok(event),
                None => self.read().await?,
            }
        }
    }

    /// Runs until the event is the awaited one.
    ///
    /// # Errors
    /// The connection ended, or the server broke the protocol.
    pub async fn until(&mut self, awaited: impl Fn(&Event) -> bool) -> io::Result<Event> {
        loop {
            match self.event().await? {
                event if awaited(&event) => return Ok(event),
                Event::Refused(why) => return Err(io::Error::other(why)),
                _ => {}
            }
        }
    }

    /// Closes the WebSocket and the connection; what the agent remembers.
    pub async fn close(mut self) -> Memory {
        // The server may have gone first, which is as good.
        let _ = self.socket.close(None).await;
        self.agent.memory().clone()
    }
}
