//! Listening sockets: opened by systemd, or by ourselves.
//!
//! With `meshboard.socket` the ports are open before the server runs and stay open while it
//! restarts: nobody is refused, and the server needs no right to bind 443. A socket belongs to the
//! setting that names its port.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener as StdListener};

use async_io::Async;
use async_net::TcpListener;
use listenfd::ListenFd;

use super::app::Failure;
use crate::config::Settings;

/// First port tried without the right to bind 443.
const UNPRIVILEGED: u16 = 8443;
/// How many ports from there are tried.
const UNPRIVILEGED_TRIES: u16 = 100;

/// Where listeners come from.
pub(super) struct Sockets<'s> {
    settings: &'s Settings,
    inherited: Vec<(u16, StdListener)>,
}

impl<'s> Sockets<'s> {
    /// Takes over what systemd passed (`LISTEN_FDS`), if it passed anything.
    pub(super) fn inherited(settings: &'s Settings) -> Self {
        let mut passed = ListenFd::from_env();
        let mut inherited = Vec::new();
        for index in 0..passed.len() {
            let listener = passed.take_tcp_listener(index).and_then(|listener| {
                listener.map(|listener| Ok((listener.local_addr()?.port(), listener))).transpose()
            });
            match listener {
                Ok(Some(socket)) => inherited.push(socket),
                Ok(None) => {}
                Err(error) => log::warn!("socket {index} of the service manager: {error}"),
            }
        }
        Self { settings, inherited }
    }

    /// The HTTPS listener and its port. Without `port` in the settings and without the right to
    /// bind 443, it is the next free one from 8443.
    pub(super) async fn https(&mut self) -> Result<(TcpListener, u16), Failure> {
        if let Some(port) = self.settings.port {
            return Ok((self.on(port).await?, port));
        }
        match self.on(443).await {
            Ok(listener) => return Ok((listener, 443)),
            Err(error) => log::warn!("{error}; looking for a free port from {UNPRIVILEGED}"),
        }
        for port in UNPRIVILEGED..UNPRIVILEGED + UNPRIVILEGED_TRIES {
            if let Ok(listener) = self.on(port).await {
                return Ok((listener, port));
            }
        }
        Err("no free port for HTTPS".into())
    }

    /// A listener on `port`.
    pub(super) async fn on(&mut self, port: u16) -> Result<TcpListener, Failure> {
        self.on_address(port, self.settings.bind).await
    }

    /// A listener for Intel AMT, which may have an address of its own.
    pub(super) async fn mps(&mut self, port: u16) -> Result<TcpListener, Failure> {
        self.on_address(port, self.settings.mps_bind.or(self.settings.bind)).await
    }

    async fn on_address(
        &mut self,
        port: u16,
        bind: Option<IpAddr>,
    ) -> Result<TcpListener, Failure> {
        if let Some(at) = self.inherited.iter().position(|(inherited, _)| *inherited == port) {
            let (_, listener) = self.inherited.swap_remove(at);
            return Ok(Async::new(listener)?.into());
        }
        let address = bind.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let bound = match TcpListener::bind(SocketAddr::new(address, port)).await {
            // A kernel without IPv6.
            Err(error) if bind.is_none() && is_unsupported(&error) => {
                TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, port)).await
            }
            other => other,
        };
        bound.map_err(|error| format!("cannot listen on port {port}: {error}").into())
    }

    /// Ends what no setting names: whoever connects there must not wait for an answer for ever.
    pub(super) fn close_unused(self) {
        for (port, _) in self.inherited {
            log::warn!("the service manager opened port {port}, which no setting names");
        }
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}
