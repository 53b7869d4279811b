//! The door of Intel AMT: the MPS port, and `/apf.ashx` for programs that speak for firmware.
//!
//! The ClientHello decides who does TLS: rustls, or with the feature `legacy-amt` OpenSSL for
//! firmware from before 2018. Places are apart from those of the HTTPS port: whoever floods one of
//! them disturbs nobody at the other.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_executor::LocalExecutor;
use async_net::{TcpListener, TcpStream};
use futures_lite::FutureExt as _;
use futures_lite::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use http_body_util::{BodyExt as _, Full};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use rustls::ServerConfig;

use super::answer::{Body, text};
use super::app::{App, Failure};
use super::http::{accept, within};
use super::slots::{Place, Slots};
use super::upgrade::Upgraded;
use crate::hub::amt_login;
use crate::hub::journal::AttemptId;
use crate::hub::{Hub, Refused};
use crate::identity::WebCertificate;
use crate::identity::tls::mps_config;
use crate::mps::admission::Room;
use crate::mps::hello::{self, Hello, Peek};
use crate::mps::machine::Style;
use crate::mps::session::{self, Bytes, Entrance, Frames};
use crate::mps::wire;
use crate::tls;
use crate::ws::Socket;

/// TLS handshakes at a time.
const HANDSHAKES: usize = 256;
/// Tunnels at a time that have not logged in.
const UNPROVEN: usize = 512;
/// Time for a TLS handshake; old firmware takes seconds for its part.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Longest frame of a WebSocket: JSON_CONTROL, twice over because its bytes may be written as text.
pub(super) const FRAME_MAX: usize = 2 * (wire::JSON_MAX + 5);
/// TLS alert: no version in common.
const ALERT_VERSION: u8 = 70;
/// TLS alert: nothing else in common.
#[cfg(not(feature = "legacy-amt"))]
const ALERT_HANDSHAKE: u8 = 40;
const TLS_1_2: u16 = 0x0303;

/// What is behind the door.
pub struct Door {
    room: Rc<Room>,
    handshakes: Rc<Slots>,
    unproven: Rc<Slots>,
    port: Cell<Option<u16>>,
    equipment: RefCell<Option<Rc<Equipment>>>,
    root: RefCell<Option<Rc<[u8]>>>,
}

/// Certificates at work.
struct Equipment {
    name: Option<String>,
    short: Arc<ServerConfig>,
    /// With a longer key, as soon as there is one.
    long: RefCell<Option<Arc<ServerConfig>>>,
    #[cfg(feature = "legacy-amt")]
    legacy: tls::legacy::Context,
}

impl Door {
    /// A door that is still shut.
    pub fn new(executor: Rc<LocalExecutor<'static>>, hub: Rc<Hub>) -> Rc<Self> {
        Rc::new(Self {
            room: Room::new(hub),
            handshakes: Slots::new(executor.clone(), HANDSHAKES),
            unproven: Slots::new(executor, UNPROVEN),
            port: Cell::default(),
            equipment: RefCell::default(),
            root: RefCell::default(),
        })
    }

    /// The port was bound.
    pub fn opened(&self, port: u16) {
        self.port.set(Some(port));
    }

    /// The port bound, if any.
    pub fn port(&self) -> Option<u16> {
        self.port.get()
    }

    /// The name its certificate is made out to.
    pub fn name(&self) -> Option<String> {
        self.equipment.borrow().as_ref().and_then(|equipment| equipment.name.clone())
    }

    /// The certificate that firmware is given to trust, DER.
    pub fn root(&self) -> Option<Rc<[u8]>> {
        self.root.borrow().clone()
    }

    /// The root certificate is there.
    pub fn set_root(&self, der: Vec<u8>) {
        *self.root.borrow_mut() = Some(der.into());
    }

    /// The certificate is there; `data` is the folder it is in.
    pub fn equip(&self, data: &Path, certificate: &WebCertificate) -> Result<(), Failure> {
        amt_login::shared_or_made(&self.room.hub).ok_or("no random numbers")?;
        #[cfg(feature = "legacy-amt")]
        let legacy = {
            use crate::identity::Role;
            let high = self.room.hub.config().settings.mps_high_security;
            tls::legacy::Context::new(&Role::Mps.cert_path(data), &Role::Mps.key_path(data), high)?
        };
        #[cfg(not(feature = "legacy-amt"))]
        let _ = data;
        *self.equipment.borrow_mut() = Some(Rc::new(Equipment {
            name: certificate.common_name(),
            short: mps_config(certificate)?,
            long: RefCell::default(),
            #[cfg(feature = "legacy-amt")]
            legacy,
        }));
        Ok(())
    }

    /// The certificate with the longer key is there.
    pub fn lengthen(&self, certificate: &WebCertificate) -> Result<(), Failure> {
        if let Some(equipment) = &*self.equipment.borrow() {
            *equipment.long.borrow_mut() = Some(mps_config(certificate)?);
        }
        Ok(())
    }

    fn begin(&self, remote: SocketAddr, how: &'static str) -> AttemptId {
        let (hub, now) = (&self.room.hub, self.room.hub.now());
        let mut journal = hub.amt_journal.borrow_mut();
        let attempt = journal.begin(remote, now);
        journal.step(attempt, now, how);
        attempt
    }

    fn step(&self, attempt: AttemptId, text: String) {
        let hub = &self.room.hub;
        hub.amt_journal.borrow_mut().step(attempt, hub.now(), text);
    }

    fn refused(&self, entrance: &Entrance, why: String) {
        let hub = &self.room.hub;
        hub.metrics.refuse(Refused::AmtTls);
        log::info!("Intel AMT at {}: {why}", entrance.remote);
        hub.amt_journal.borrow_mut().end(entrance.attempt, hub.now(), why);
    }

    /// Runs a tunnel in a task of its own: nothing of the handshake stays in its memory.
    fn serve<S>(self: &Rc<Self>, stream: S, entrance: Entrance)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (room, metrics) = (self.room.clone(), self.room.hub.metrics.clone());
        let transport = Bytes(stream);
        let evicted = self.unproven.spawn_with(entrance.remote.ip(), |place| {
            session::run(room, transport, entrance, place).boxed_local()
        });
        if evicted.is_some() {
            metrics.refuse(Refused::Overload);
        }
    }
}

/// Accepts connections on the MPS port for ever.
pub async fn serve(app: Rc<App>, listener: TcpListener) {
    let door = app.mps.clone();
    loop {
        let Some((stream, remote)) = accept(&listener).await else { continue };
        let entrance =
            Entrance { remote, style: Style::Firmware, attempt: door.begin(remote, "TCP") };
        let served = door.clone();
        let evicted = door.handshakes.spawn(remote.ip(), async move {
            if served.room.hub.config().settings.mps_tls_offload {
                served.serve(stream, entrance);
            } else if let Err(error) = within(HANDSHAKE, greet(&served, stream, entrance)).await {
                served.refused(&entrance, format!("TLS failed: {error}"));
            }
        });
        if evicted.is_some() {
            app.hub.metrics.refuse(Refused::Overload);
        }
    }
}

/// Looks at the ClientHello and does the handshake.
async fn greet(door: &Rc<Door>, mut stream: TcpStream, entrance: Entrance) -> io::Result<()> {
    let Some(equipment) = door.equipment.borrow().clone() else { return Ok(()) };
    let mut seen = Vec::new();
    let hello = loop {
        match hello::peek(&seen) {
            Peek::Hello(hello) => break hello,
            Peek::NotTls => {
                door.refused(&entrance, "did not speak TLS".into());
                return Ok(());
            }
            Peek::Unfinished => {
                let mut buffer = [0; 2048];
                let count = stream.read(&mut buffer).await?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                seen.extend_from_slice(buffer.get(..count).unwrap_or_default());
            }
        }
    };
    door.step(entrance.attempt, format!("offers {hello}"));
    let high = door.room.hub.config().settings.mps_high_security;
    if high && hello.version < TLS_1_2 {
        door.refused(&entrance, format!("offered only {hello}; mpsHighSecurity forbids that"));
        session::alert(&mut stream, ALERT_VERSION).await;
        return Ok(());
    }
    let stream = Seen { seen, stream };
    if hello.is_modern() {
        let long = equipment.long.borrow().clone().filter(|_| hello.wants_long_keys());
        let is_long = long.is_some();
        let config = long.unwrap_or_else(|| equipment.short.clone());
        let stream = Box::new(tls::accept(stream, config).await?);
        let remark = if is_long { ", with the key of 3072 bits" } else { "" };
        door.step(entrance.attempt, format!("{}{remark}", stream.describe()));
        door.serve(stream, entrance);
        return Ok(());
    }
    greet_old(door, &equipment, stream, &hello, entrance).await
}

#[cfg(feature = "legacy-amt")]
async fn greet_old(
    door: &Rc<Door>,
    equipment: &Equipment,
    stream: Seen,
    _: &Hello,
    entrance: Entrance,
) -> io::Result<()> {
    let stream = Box::new(equipment.legacy.accept(stream).await?);
    door.step(entrance.attempt, format!("{}, by OpenSSL", stream.describe()));
    door.serve(stream, entrance);
    Ok(())
}

#[cfg(not(feature = "legacy-amt"))]
async fn greet_old(
    door: &Rc<Door>,
    _: &Equipment,
    mut stream: Seen,
    hello: &Hello,
    entrance: Entrance,
) -> io::Result<()> {
    let why = format!("offered only {hello}; this build serves no such TLS (feature legacy-amt)");
    door.refused(&entrance, why);
    let alert = if hello.version < TLS_1_2 { ALERT_VERSION } else { ALERT_HANDSHAKE };
    session::alert(&mut stream.stream, alert).await;
    Ok(())
}

/// A stream of which the first bytes have been looked at.
struct Seen {
    seen: Vec<u8>,
    stream: TcpStream,
}

impl AsyncRead for Seen {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = buffer.len().min(self.seen.len());
        for (to, from) in buffer.iter_mut().zip(self.seen.drain(..count)) {
            *to = from;
        }
        if self.seen.is_empty() {
            self.seen = Vec::new();
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Seen {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Serves `/apf.ashx`.
pub(super) async fn serve_socket(
    door: Rc<Door>,
    socket: Socket<Upgraded>,
    remote: SocketAddr,
    place: Place,
) {
    let attempt = door.begin(remote, "WebSocket");
    let entrance = Entrance { remote, style: Style::Socket, attempt };
    session::run(door.room.clone(), Frames(socket), entrance, place).await;
}

/// The root certificate as a download, DER as MeshCentral serves it.
pub(super) fn root_certificate(der: &[u8]) -> Response<Body> {
    let mut response = text(StatusCode::OK, "");
    let body = Full::new(hyper::body::Bytes::copy_from_slice(der)).map_err(|e| match e {});
    *response.body_mut() = Box::pin(body);
    for (name, value) in [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"rootcert.cer\""),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
