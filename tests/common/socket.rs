//! A WebSocket client over TLS, as independent of the server's codec as a library can be.

use std::time::Duration;

use async_net::TcpStream;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::http::HeaderValue;
use futures_lite::future::{block_on, or};
use futures_lite::{FutureExt as _, StreamExt as _};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use rustls::pki_types::ServerName;
use serde_json::Value;

use super::simulated::tls;
use super::{ADMIN, PASSWORD, PATIENCE};

/// A connected WebSocket.
pub struct Socket {
    stream: WebSocketStream<TlsStream<TcpStream>>,
}

impl Socket {
    /// Opens `path` (with its query) as the administrator.
    ///
    /// # Panics
    /// If the server does not upgrade.
    pub fn open(port: u16, path: &str) -> Self {
        Self::open_as(port, path, ADMIN, PASSWORD)
    }

    /// The same as another account.
    ///
    /// # Panics
    /// If the server does not upgrade.
    pub fn open_as(port: u16, path: &str, user: &str, password: &str) -> Self {
        let encode = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
        let who = format!("{},{}", encode(user), encode(password));
        let mut request =
            format!("wss://127.0.0.1:{port}{path}").into_client_request().expect("a valid URL");
        let header = HeaderValue::try_from(who).expect("base64 is text");
        request.headers_mut().insert("x-meshauth", header);
        let opened = async {
            let tcp = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
            tcp.set_nodelay(true).expect("the socket is open");
            let name = ServerName::try_from("127.0.0.1").expect("an address");
            let tls = TlsConnector::from(tls::client_config()).connect(name, tcp);
            let tls = tls.await.expect("a TLS server");
            let (stream, _) =
                async_tungstenite::client_async(request, tls).await.expect("it upgrades");
            Self { stream }
        };
        within(opened.boxed_local(), PATIENCE).expect("the server answers")
    }

    /// Sends a text frame.
    pub fn send_text(&mut self, text: &str) {
        self.send(Message::text(text));
    }

    /// Sends a binary frame.
    pub fn send_binary(&mut self, bytes: Vec<u8>) {
        self.send(Message::binary(bytes));
    }

    fn send(&mut self, message: Message) {
        within(self.stream.send(message).boxed_local(), PATIENCE)
            .expect("the server reads")
            .expect("the connection is open");
    }

    /// The next text or binary message; `None` when the server closes.
    ///
    /// # Panics
    /// If nothing comes.
    pub fn receive(&mut self) -> Option<Message> {
        self.receive_within(PATIENCE).expect("the server says something")
    }

    /// The same for a limited time; `None` if nothing came.
    pub fn receive_within(&mut self, time: Duration) -> Option<Option<Message>> {
        let stream = &mut self.stream;
        let next = async {
            loop {
                match stream.next().await {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(message)) if message.is_text() || message.is_binary() => {
                        return Some(message);
                    }
                    Some(Ok(_)) => {}
                }
            }
        };
        within(next.boxed_local(), time)
    }

    /// The next JSON text that is as wanted; others are skipped.
    ///
    /// # Panics
    /// If the server closes before.
    pub fn receive_json(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.receive().expect("the server does not close");
            let parsed = serde_json::from_slice::<Value>(&message.into_data());
            if let Some(json) = parsed.ok().filter(&wanted) {
                return json;
            }
        }
    }
}

fn within<T>(future: impl Future<Output = T>, time: Duration) -> Option<T> {
    let late = async {
        async_io::Timer::after(time).await;
        None
    };
    block_on(or(async { Some(future.await) }, late))
}
