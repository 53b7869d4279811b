//! From an HTTP request to a WebSocket in a task of its own.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use futures_lite::FutureExt as _;
use futures_lite::future::BoxedLocal;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use smol_hyper::rt::FuturesIo;

use crate::hub::Refused;
use crate::ws::{self, Socket};

use super::answer::{Body, text};
use super::app::App;
use super::slots::Place;
use super::transport::Transport;

/// A socket as it comes out of an upgrade. Boxed, because futures move it around and would keep
/// room for its kilobyte and more at every stage.
pub type Upgraded = Box<Transport>;

/// Answers a WebSocket upgrade with 101 and hands the socket to `serve`, which runs in a task of
/// its own, together with the place it occupies until `serve` drops it. Messages of more than
/// `limit` bytes end the connection. A request that is no upgrade gets 404, as from MeshCentral.
pub fn upgrade<F>(
    app: &Rc<App>,
    request: Request<Incoming>,
    remote: SocketAddr,
    limit: usize,
    serve: impl FnOnce(Socket<Upgraded>, Place) -> F + 'static,
) -> Response<Body>
where
    F: Future<Output = ()> + 'static,
{
    let serve = Box::new(move |socket, place| serve(socket, place).boxed_local());
    begin(app, request, remote, limit, serve)
}

fn begin(
    app: &Rc<App>,
    mut request: Request<Incoming>,
    remote: SocketAddr,
    limit: usize,
    serve: Box<dyn FnOnce(Socket<Upgraded>, Place) -> BoxedLocal<()>>,
) -> Response<Body> {
    let Some(accept) = websocket_accept(&request) else {
        return text(StatusCode::NOT_FOUND, "not found");
    };
    app.hub.metrics.websockets.fetch_add(1, Relaxed);
    let upgraded = hyper::upgrade::on(&mut request);
    let (unproven, metrics) = (app.unproven.clone(), app.hub.metrics.clone());
    let upgrading = async move {
        let Some(socket) = upgraded_socket(upgraded, limit).await else { return };
        // A task of its own: nothing of the upgrade stays in its memory.
        if unproven.spawn_with(remote.ip(), |place| serve(socket, place)).is_some() {
            metrics.refuse(Refused::Overload);
        }
    };
    app.executor.spawn(upgrading.boxed_local()).detach();
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

/// Whether a request is a WebSocket upgrade.
pub fn is_upgrade(request: &Request<Incoming>) -> bool {
    websocket_accept(request).is_some()
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
