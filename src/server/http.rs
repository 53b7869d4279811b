//! From an accepted socket to a routed request.
//!
//! TLS handshakes and plain HTTP requests each have a bounded set of places ([`super::slots`]) and
//! time limits at every stage. A request that upgrades leaves both: its socket moves into a task of
//! its own, and HTTP's buffers are freed.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use async_net::{TcpListener, TcpStream};
use bytes::Bytes;
use futures_lite::future::or;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use crate::hub::Refused;
use crate::tls::{self, TlsStream};
use crate::ws::{self, Socket};

use super::app::App;
use super::routes;
use super::slots::Place;

/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time for the headers of a request, counted anew for each on a kept connection.
const HEADERS: Duration = Duration::from_secs(15);
/// Longest request line and headers together, in bytes.
const HEAD_MAX: usize = 16 * 1024;
/// Most header fields of a request.
const HEADER_FIELDS: usize = 64;

/// What goes back.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;
/// A socket as it comes out of an upgrade. Boxed, because futures move it around and would keep
/// room for its kilobyte and more at every stage.
pub type Upgraded = Box<TlsStream<TcpStream>>;

/// Which requests a port serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// People and agents.
    Main,
    /// Agents only (`agentPort`).
    Agents,
}

/// Accepts TLS connections for ever.
pub async fn serve_tls(app: Rc<App>, listener: TcpListener, port: Port) {
    loop {
        let Some((stream, remote)) = accept(&listener).await else { continue };
        let app = app.clone();
        let slots = app.handshakes.clone();
        let metrics = app.hub.metrics.clone();
        let evicted = slots.spawn(remote.ip(), async move {
            let config = app.server_config.clone();
            match within(HANDSHAKE, tls::accept(stream, config)).await {
                Ok(tls) => {
                    let slots = app.requests.clone();
                    let ip = remote.ip();
                    slots.spawn(ip, serve_http(app, Box::new(tls), remote, port));
                }
                Err(error) => {
                    app.hub.metrics.refuse(Refused::Tls);
                    log::debug!("{remote}: TLS: {error}");
                }
            }
        });
        if evicted.is_some() {
            metrics.refuse(Refused::Overload);
        }
    }
}

/// The next connection; `None` after an error that a pause may mend (no file descriptors left).
async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok((stream, remote)) => {
            // A refused option costs latency, nothing else.
            let _ = stream.set_nodelay(true);
            let _ = keep_alive(&stream);
            let canonical = SocketAddr::new(remote.ip().to_canonical(), remote.port());
            Some((stream, canonical))
        }
        Err(error) => {
            log::warn!("cannot accept connections: {error}");
            Timer::after(Duration::from_millis(200)).await;
            None
        }
    }
}

/// Lets the kernel find out that a peer is gone: after two minutes of silence, within two more.
fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(120))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepcnt(stream, 4)
}

/// `future`, or an error when `limit` has passed.
async fn within<T>(limit: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    or(future, late).await
}

async fn serve_http(app: Rc<App>, tls: Upgraded, remote: SocketAddr, port: Port) {
    let metrics = app.hub.metrics.clone();
    let service = service_fn(move |request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(routes::route(app, request, remote, port).await) }
    });
    let connection = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADER_FIELDS)
        .serve_connection(FuturesIo::new(tls), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        // A peer that goes away between requests is no news.
        if error.is_parse() || error.is_timeout() {
            metrics.refuse(Refused::Http);
        }
        log::debug!("{remote}: HTTP: {error}");
    }
}

/// Accepts plain HTTP and sends everyone to HTTPS.
pub async fn serve_redirect(app: Rc<App>, listener: TcpListener) {
    loop {
        let Some((stream, remote)) = accept(&listener).await else { continue };
        let slots = app.handshakes.clone();
        let target = app.clone();
        slots.spawn(remote.ip(), async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = redirect(&target, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(SmolTimer::new())
                .header_read_timeout(HANDSHAKE)
                .keep_alive(false)
                .max_buf_size(HEAD_MAX)
                .max_headers(HEADER_FIELDS)
                .serve_connection(FuturesIo::new(stream), service);
            if let Err(error) = connection.await {
                log::debug!("{remote}: HTTP redirect: {error}");
            }
        });
    }
}

fn redirect(app: &App, request: &Request<Incoming>) -> Response<Body> {
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
    let name = app.public_name(host);
    let name = if name.contains(':') { format!("[{name}]") } else { name };
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let location = match app.public_port() {
        443 => format!("https://{name}{path}"),
        port => format!("https://{name}:{port}{path}"),
    };
    let Ok(location) = HeaderValue::try_from(location) else {
        return text(StatusCode::BAD_REQUEST, "malformed request");
    };
    let mut response = text(StatusCode::MOVED_PERMANENTLY, "");
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// A short plain-text answer.
pub fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(body.as_bytes())).map_err(|e| match e {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    harden(&mut response);
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// Headers every answer carries: nothing is sniffed, framed, scripted or referred to.
pub fn harden(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Answers a WebSocket upgrade with 101 and hands the socket to `serve`, which runs in a task of
/// its own, together with the place it occupies until `serve` drops it. Messages of more than
/// `limit` bytes end the connection. A request that is no upgrade gets 404, as from MeshCentral.
pub fn upgrade<F>(
    app: &Rc<App>,
    mut request: Request<Incoming>,
    remote: SocketAddr,
    limit: usize,
    serve: impl FnOnce(Socket<Upgraded>, Place) -> F + 'static,
) -> Response<Body>
where
    F: Future<Output = ()> + 'static,
{
    let Some(accept) = websocket_accept(&request) else {
        return text(StatusCode::NOT_FOUND, "not found");
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let (unproven, metrics) = (app.unproven.clone(), app.hub.metrics.clone());
    app.executor
        .spawn(async move {
            let Some(socket) = upgraded_socket(upgraded, limit).await else { return };
            // A task of its own: nothing of the upgrade stays in its memory.
            if unproven.spawn_with(remote.ip(), |place| serve(socket, place)).is_some() {
                metrics.refuse(Refused::Overload);
            }
        })
        .detach();
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.clear();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// The socket behind an upgrade, without any of HTTP's buffers.
async fn upgraded_socket(
    upgraded: hyper::upgrade::OnUpgrade,
    limit: usize,
) -> Option<Socket<Upgraded>> {
    let upgraded = match upgraded.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            log::debug!("upgrade: {error}");
            return None;
        }
    };
    let Ok(parts) = upgraded.downcast::<FuturesIo<Upgraded>>() else {
        log::error!("an upgraded connection is not the one that was served");
        return None;
    };
    Some(Socket::new(parts.io.into_inner(), &parts.read_buf, limit))
}

/// The accept value, if `request` is a WebSocket upgrade. Extensions and subprotocols are never
/// taken up.
fn websocket_accept(request: &Request<Incoming>) -> Option<HeaderValue> {
    let has_token = |name: header::HeaderName, token: &str| {
        request.headers().get_all(name).iter().any(|value| {
            let value = value.to_str().unwrap_or_default();
            value.split(',').any(|t| t.trim().eq_ignore_ascii_case(token))
        })
    };
    if request.method() != Method::GET
        || !has_token(header::CONNECTION, "upgrade")
        || !has_token(header::UPGRADE, "websocket")
    {
        return None;
    }
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY)?;
    HeaderValue::try_from(ws::accept_key(key.as_bytes())).ok()
}

/// The server configuration as the accept loop wants it.
pub type ServerConfig = Arc<rustls::ServerConfig>;
