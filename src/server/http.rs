//! From an accepted socket to a routed request.
//!
//! TLS handshakes (or the first byte of proxies that end TLS) and HTTP requests each have a bounded
//! set of places ([`super::slots`]) and time limits at every stage. A request that upgrades leaves
//! both: its socket moves into a task of its own, and HTTP's buffers are freed.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use async_net::{TcpListener, TcpStream};
use futures_lite::FutureExt as _;
use futures_lite::future::{BoxedLocal, or};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use crate::hub::Refused;

#[cfg(feature = "acme")]
use super::answer;
use super::answer::{Body, text};
use super::app::{App, Port};
use super::routes;
use super::transport::{self, Opening, Transport};
use super::upgrade::Upgraded;

/// Time for a TLS handshake, or for the first byte of a connection without.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time for the headers of a request, counted anew for each on a kept connection.
const HEADERS: Duration = Duration::from_secs(15);
/// Longest request line and headers together, in bytes.
const HEAD_MAX: usize = 16 * 1024;
/// Most header fields of a request.
const HEADER_FIELDS: usize = 64;

/// Accepts TLS connections for ever.
pub async fn serve_tls(app: Rc<App>, listener: TcpListener, port: Port) {
    loop {
        let Some((stream, remote)) = accept(&listener).await else { continue };
        let app = app.clone();
        let slots = app.handshakes.clone();
        let metrics = app.hub.metrics.clone();
        let evicted = slots.spawn(remote.ip(), async move {
            match within(HANDSHAKE, open(&app, stream, remote)).await {
                Ok(transport) => {
                    let slots = app.requests.clone();
                    let ip = remote.ip();
                    slots.spawn(ip, serve_http(app, transport, remote, port));
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

/// Does the TLS handshake; a proxy that ends TLS (`tlsOffload`) may do without.
async fn open(app: &App, stream: TcpStream, remote: SocketAddr) -> io::Result<Upgraded> {
    let config = app.hub.config();
    let proxies = &config.settings.proxies;
    if !proxies.offload.is_empty() && transport::opening(&stream).await? == Opening::Plain {
        if proxies.may_speak_plainly(remote.ip()) {
            return Ok(Box::new(Transport::Plain(stream)));
        }
        app.tell_of_plain_speaker(remote.ip());
    }
    // Without the configuration: a handshake takes its time.
    drop(config);
    transport::accept(stream, app.server_config.clone()).await.map(Box::new)
}

/// The next connection; `None` after an error that a pause may mend (no file descriptors left).
pub(super) async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
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
pub(super) async fn within<T>(
    limit: Duration,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let late = async {
        Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    or(future, late).await
}

async fn serve_http(app: Rc<App>, transport: Upgraded, remote: SocketAddr, port: Port) {
    let metrics = app.hub.metrics.clone();
    let routing = move |request| routes::route(app.clone(), request, remote, port).boxed_local();
    if let Err(error) = speak(transport, HEADERS, true, Box::new(routing)).await {
        // A peer that goes away between requests is no news.
        if error.is_parse() || error.is_timeout() {
            metrics.refuse(Refused::Http);
        }
        log::debug!("{remote}: HTTP: {error}");
    }
}

/// What answers the requests of a connection.
pub(super) type Answering = Box<dyn Fn(Request<Incoming>) -> BoxedLocal<Response<Body>>>;

/// Speaks HTTP on a connection, for one request or, if it is `kept`, for many: each head must
/// arrive within `patience`. Of one kind for all ports, because hyper is 50 KB of program for each.
pub(super) async fn speak(
    transport: Upgraded,
    patience: Duration,
    kept: bool,
    answering: Answering,
) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let answer = answering(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(patience)
        .keep_alive(kept)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADER_FIELDS)
        .serve_connection(FuturesIo::new(transport), service)
        .with_upgrades()
        .await
}

/// Accepts plain HTTP and sends everyone to HTTPS, but who asks for a proof of this server's name.
pub async fn serve_redirect(app: Rc<App>, listener: TcpListener) {
    loop {
        let Some((stream, remote)) = accept(&listener).await else { continue };
        let slots = app.handshakes.clone();
        let target = app.clone();
        let redirecting = move |request| ready(redirect(&target, &request)).boxed_local();
        slots.spawn(remote.ip(), async move {
            let transport = Box::new(Transport::Plain(stream));
            if let Err(error) = speak(transport, HANDSHAKE, false, Box::new(redirecting)).await {
                log::debug!("{remote}: HTTP redirect: {error}");
            }
        });
    }
}

fn redirect(app: &App, request: &Request<Incoming>) -> Response<Body> {
    #[cfg(feature = "acme")]
    if let Some(proof) = app.proofs.text(request.uri().path()) {
        return answer::owned_text(proof);
    }
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
