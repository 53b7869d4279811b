//! A viewer of a device's desktop: it opens the tunnel as web pages do, puts the picture together
//! from the images that come, and sends input.

use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Message;
use jpeg_decoder::{Decoder, PixelFormat};
use meshboard::relay::desktop::wire::{self, FromAgent, FromViewer};
use serde_json::{Value, json};

use super::socket::Socket;
use super::{ADMIN, PASSWORD, PATIENCE, Server};

/// Pixels, row by row from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    /// Red, green, blue.
    pub pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// A black picture.
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![[0; 3]; width * height] }
    }

    /// Draws the part of `image` that is inside.
    fn draw(&mut self, x: usize, y: usize, image: &Picture) {
        for (row, pixels) in image.pixels.chunks_exact(image.width).enumerate() {
            for (column, pixel) in pixels.iter().enumerate() {
                let (x, y) = (x + column, y + row);
                if x < self.width && y < self.height {
                    self.pixels[y * self.width + x] = *pixel;
                }
            }
        }
    }

    /// How far the pixels of two pictures are apart on average, 0 to 255; the worst if their sizes
    /// differ.
    pub fn distance(&self, other: &Picture) -> f64 {
        if (self.width, self.height) != (other.width, other.height) {
            return 255.0;
        }
        let pairs = self.pixels.iter().flatten().zip(other.pixels.iter().flatten());
        let sum: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / (self.pixels.len() * 3) as f64
    }
}

/// A viewer with its own control session, which keeps the account logged in.
pub struct DesktopViewer {
    _control: Socket,
    tunnel: Socket,
    pub picture: Picture,
    /// Images drawn so far.
    pub images: usize,
    /// Commands that are no images, by number.
    pub heard: Vec<u16>,
    /// Control messages.
    pub told: Vec<Value>,
}

impl DesktopViewer {
    /// Opens the desktop of a device; the agent has been asked when this returns.
    ///
    /// # Panics
    /// If the tunnel does not come up.
    pub fn open(server: &dyn Server, device: &str) -> Self {
        Self::open_as(server, device, ADMIN, PASSWORD)
    }

    /// The same as another account.
    ///
    /// # Panics
    /// As [`Self::open`].
    pub fn open_as(server: &dyn Server, device: &str, user: &str, password: &str) -> Self {
        let mut control = Socket::open_as(server.port(), "/control.ashx", user, password);
        control.send_text(r#"{"action":"authcookie"}"#);
        let cookies = control.receive_json(|json| json["action"] == "authcookie");
        let text = |name: &str| cookies[name].as_str().expect("a cookie is text").to_owned();
        let (cookie, relay_cookie) = (text("cookie"), text("rcookie"));
        let id = session_id();
        let path = format!("/meshrelay.ashx?browser=1&p=2&nodeid={device}&id={id}&auth={cookie}");
        let mut tunnel = Socket::open_as(server.port(), &path, user, password);
        let value = format!("*/meshrelay.ashx?p=2&nodeid={device}&id={id}&rauth={relay_cookie}");
        let ask = json!({
            "action": "msg", "type": "tunnel", "nodeid": device, "value": value, "usage": 2,
            "responseid": "viewer",
        });
        control.send_text(&ask.to_string());
        let answer = control.receive_json(|json| json["responseid"] == "viewer");
        assert_eq!(answer["result"], "OK", "the tunnel is asked for: {answer}");
        let first = tunnel.receive().expect("the tunnel comes up");
        assert!(matches!(first.to_text(), Ok("c" | "cr")), "the tunnel begins with {first:?}");
        tunnel.send_text("2");
        Self {
            _control: control,
            tunnel,
            picture: Picture::new(0, 0),
            images: 0,
            heard: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Sends a command.
    pub fn say(&mut self, said: FromViewer<'_>) {
        self.tunnel.send_binary(said.encode());
    }

    /// Sends a control message.
    pub fn tell(&mut self, message: &Value) {
        self.tunnel.send_text(&message.to_string());
    }

    /// Asks how far it is to the device, and waits for the answer: what was said before is heard.
    pub fn ask_rtt(&mut self) {
        self.told.clear();
        self.tell(&json!({"type": "rtt", "time": 1}));
        self.watch_until("an answer", |v| v.told.iter().any(|told| told["type"] == "rtt"));
    }

    /// Takes messages until what has come is as wanted.
    ///
    /// # Panics
    /// If it does not become so.
    pub fn watch_until(&mut self, what: &str, mut wanted: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.tunnel.receive_within(left.min(Duration::from_secs(1))) {
                Some(Some(message)) => self.take(message),
                Some(None) => panic!("the tunnel ended before {what}; heard {:?}", self.heard),
                None if left.is_zero() => panic!(
                    "never: {what}; {} images, heard {:?}, told {:?}",
                    self.images, self.heard, self.told
                ),
                None => {}
            }
        }
    }

    fn take(&mut self, message: Message) {
        if message.is_text() {
            self.told.extend(serde_json::from_slice::<Value>(&message.into_data()));
            return;
        }
        let bytes = message.into_data();
        let mut commands = wire::commands(&bytes);
        for command in commands.by_ref() {
            match FromAgent::parse(&command).expect("agents say what they promise") {
                FromAgent::Tile { x, y, image } => {
                    self.picture.draw(x.into(), y.into(), &decode(image));
                    self.images += 1;
                }
                FromAgent::ScreenSize(size) => {
                    let (width, height) = (size.width.into(), size.height.into());
                    if (self.picture.width, self.picture.height) != (width, height) {
                        self.picture = Picture::new(width, height);
                    }
                    self.heard.push(command.number);
                }
                _ => self.heard.push(command.number),
            }
        }
        assert!(commands.rest().is_empty(), "commands come whole");
    }
}

fn decode(image: &[u8]) -> Picture {
    let mut decoder = Decoder::new(image);
    let bytes = decoder.decode().expect("agents on Linux send JPEG");
    let info = decoder.info().expect("it was decoded");
    let said = meshboard::relay::desktop::picture::size(image).expect("its head tells its size");
    assert_eq!((said.width, said.height), (info.width, info.height));
    let pixels = match info.pixel_format {
        PixelFormat::RGB24 => bytes.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect(),
        PixelFormat::L8 => bytes.iter().map(|p| [*p; 3]).collect(),
        other => panic!("pixels of form {other:?}"),
    };
    Picture { width: info.width.into(), height: info.height.into(), pixels }
}

/// Twelve digits nobody has used before.
fn session_id() -> String {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    data_encoding::HEXLOWER.encode(&bytes)
}
