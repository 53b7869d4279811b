//! Viewers made by hand: a control channel and the user's end of tunnels, in Router's message
//! sequence, on an independent WebSocket (`async-tungstenite`).

use std::io;
use std::time::Duration;

use async_net::TcpStream;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::{Message, http::HeaderValue};
use data_encoding::BASE64;
use futures_lite::{FutureExt, StreamExt};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use super::simulated::tls;
use super::{ADMIN, PASSWORD, PATIENCE};

/// A WebSocket to the loopback server, as a client.
pub struct Viewer {
    socket: WebSocketStream<TlsStream<TcpStream>>,
}

impl Viewer {
    /// Opens `path`, with the account in `x-meshauth` if there is one.
    ///
    /// # Panics
    /// If the answer is not 101.
    pub fn open(port: u16, path: &str, login: Option<(&str, &str)>) -> Self {
        let opened = async {
            let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from("127.0.0.1").map_err(io::Error::other)?;
            let tls = TlsConnector::from(tls::client_config()).connect(name, tcp).await?;
            let url = format!("wss://127.0.0.1:{port}{path}");
            let mut request = url.into_client_request().map_err(io::Error::other)?;
            if let Some((user, password)) = login {
                let [user, password] = [user, password].map(|part| BASE64.encode(part.as_bytes()));
                let header = HeaderValue::try_from(format!("{user},{password}"));
                request.headers_mut().insert("x-meshauth", header.map_err(io::Error::other)?);
            }
            let opened = async_tungstenite::client_async(request, tls).await;
            opened.map_err(io::Error::other)
        };
        let (socket, _) = async_io::block_on(opened)
            .unwrap_or_else(|error| panic!("the WebSocket {path} does not open: {error}"));
        Self { socket }
    }

    /// Sends a text frame. That nobody reads it any more shows in what is read next.
    pub fn text(&mut self, text: &str) {
        self.send(Message::text(text));
    }

    /// Sends a binary frame.
    pub fn binary(&mut self, data: &[u8]) {
        self.send(Message::binary(data.to_vec()));
    }

    /// Sends any message.
    pub fn send(&mut self, message: Message) {
        let _ = async_io::block_on(self.socket.send(message));
    }

    /// The next text or binary message; `None` when the server has closed.
    ///
    /// # Panics
    /// If neither comes.
    pub fn next(&mut self) -> Option<Message> {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(message)) if message.is_text() || message.is_binary() => {
                        return Some(Some(message));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Some(None),
                }
            }
        };
        async_io::block_on(next.or(late(PATIENCE))).expect("a message or the end")
    }

    /// What comes within a time; `None` if nothing does.
    pub fn next_within(&mut self, time: Duration) -> Option<Message> {
        let next = async { Some(self.socket.next().await) };
        async_io::block_on(next.or(late(time)))??.ok()
    }

    /// Waits for the text `c` that says that the other end is there.
    ///
    /// # Panics
    /// If something else comes, or the end.
    pub fn connected(mut self) -> Self {
        assert_eq!(self.next(), Some(Message::text("c")), "the other end is there");
        self
    }

    /// Bytes of binary messages until there are `count`.
    ///
    /// # Panics
    /// If the tunnel ends before.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            match self.next() {
                Some(Message::Binary(data)) => bytes.extend_from_slice(&data),
                Some(_) => {}
                None => panic!("{} bytes of {count}, then the end", bytes.len()),
            }
        }
        bytes
    }

    /// Waits until binary messages have shown `wanted`; everything they showed.
    ///
    /// # Panics
    /// If the tunnel ends before.
    pub fn output_with(&mut self, wanted: &str) -> String {
        let mut output = String::new();
        while !output.contains(wanted) {
            match self.next() {
                Some(Message::Binary(data)) => output.push_str(&String::from_utf8_lossy(&data)),
                Some(_) => {}
                None => panic!("no {wanted:?} but {output:?}, then the end"),
            }
        }
        output
    }

    /// Closes with a close frame, without waiting for the answer.
    pub fn close(mut self) {
        let _ = async_io::block_on(self.socket.close(None));
    }
}

async fn late<T>(time: Duration) -> Option<T> {
    async_io::Timer::after(time).await;
    None
}

/// A control channel of the administrator.
pub struct Control {
    viewer: Viewer,
}

/// What `authcookie` gives.
pub struct Cookies {
    /// For the user's ends of tunnels.
    pub auth: String,
    /// For the agent's ends.
    pub relay: String,
}

impl Control {
    /// Logs in.
    pub fn open(port: u16) -> Self {
        Self::open_as(port, ADMIN, PASSWORD)
    }

    /// Logs another account in.
    ///
    /// # Panics
    /// If it is refused.
    pub fn open_as(port: u16, user: &str, password: &str) -> Self {
        let viewer = Viewer::open(port, "/control.ashx", Some((user, password)));
        let mut control = Self { viewer };
        control.wait_for(|message| message["action"] == "userinfo");
        control
    }

    /// Says something that is not answered.
    pub fn say(&mut self, request: &Value) {
        self.viewer.text(&request.to_string());
    }

    /// Asks; the answer is the next message of the same action.
    pub fn ask(&mut self, request: &Value) -> Value {
        self.viewer.text(&request.to_string());
        let action = request["action"].clone();
        self.wait_for(|message| message["action"] == action)
    }

    /// Waits for a message.
    ///
    /// # Panics
    /// If the session ends before.
    pub fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            match self.viewer.next() {
                Some(message) => {
                    let message: Value =
                        serde_json::from_slice(&message.into_data()).unwrap_or_default();
                    if wanted(&message) {
                        return message;
                    }
                }
                None => panic!("the session has ended"),
            }
        }
    }

    /// Waits for an event of this action.
    pub fn event(&mut self, action: &str) -> Value {
        let message = self.wait_for(|m| m["action"] == "event" && m["event"]["action"] == action);
        message["event"].clone()
    }

    /// Fresh cookies.
    pub fn cookies(&mut self) -> Cookies {
        let answer = self.ask(&json!({"action": "authcookie"}));
        let text = |name: &str| answer[name].as_str().expect("cookies are texts").to_owned();
        Cookies { auth: text("cookie"), relay: text("rcookie") }
    }

    /// Opens a session as `meshctrl` does: the viewer's end first, then the wish for a tunnel.
    /// `answer` is what the server answers to the latter.
    pub fn tunnel(&mut self, port: u16, node: &str, protocol: u16) -> (Viewer, Value) {
        let cookies = self.cookies();
        let id = format!("{:012x}", std::process::id() as u64 * 7919 + unique());
        let viewer = Viewer::open(
            port,
            &format!(
                "/meshrelay.ashx?browser=1&p={protocol}&nodeid={node}&id={id}&auth={}",
                cookies.auth
            ),
            None,
        );
        let value =
            format!("*/meshrelay.ashx?p={protocol}&nodeid={node}&id={id}&rauth={}", cookies.relay);
        let answer = self.ask(&json!({"action": "msg", "type": "tunnel", "nodeid": node,
            "value": value, "usage": protocol, "responseid": id}));
        (viewer, answer)
    }
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
