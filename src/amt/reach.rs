//! The way to a port of a device's firmware: through the tunnel it opened itself, over the local
//! network, or through a tunnel of a program on the same computer or beside it.
//!
//! Inside the firmware's own tunnel (CIRA) TLS is ours already, so the plain port is used where it
//! is forwarded; firmware from 16.1 on forwards only the other. Elsewhere the device's record says
//! whether TLS is used. Nothing is sent before the certificate is known to be the device's.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use async_net::TcpStream;
use futures_lite::future::or;

use super::tls::{self, By, Fingerprint};
use crate::config::Reach;
use crate::hub::{AmtTunnel, ByteStream, Hub, TunnelKind};
use crate::model::{AmtAccess, NodeId};

/// Time to get a connection, TLS included; one handshake of old firmware takes seconds.
const CONNECT: Duration = Duration::from_secs(20);

/// What is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The web server: WS-Management.
    Web,
    /// Serial over LAN, remote desktop and storage.
    Redirection,
}

impl Service {
    /// Its port without TLS, and the one with.
    pub fn ports(self) -> (u16, u16) {
        match self {
            Self::Web => (16992, 16993),
            Self::Redirection => (16994, 16995),
        }
    }
}

/// How a connection runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through a tunnel to this server.
    Tunnel(TunnelKind),
    /// Over the local network.
    Lan,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tunnel(kind) => kind.fmt(f),
            Self::Lan => f.write_str("LAN"),
        }
    }
}

/// An open connection.
pub struct Reached {
    /// What is said on it stays between us and the firmware if `tls` is there.
    pub stream: Box<dyn ByteStream>,
    /// How it runs.
    pub way: Way,
    /// The certificate, and version and suite.
    pub tls: Option<(Fingerprint, String)>,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Unreachable {
    /// No tunnel, and no address on the local network.
    NoWay,
    /// There is a tunnel, but not to this service.
    NotForwarded,
    /// It took too long.
    Late,
    /// What the way there said.
    Io(io::Error),
    /// No TLS came about, with any of those who can do it here.
    Tls(String),
    /// The firmware shows another certificate than before.
    OtherCertificate(Fingerprint),
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWay => f.write_str("Intel AMT is not connected"),
            Self::NotForwarded => f.write_str("Intel AMT does not offer this service"),
            Self::Late => f.write_str("Intel AMT does not answer"),
            Self::Io(error) => write!(f, "Intel AMT cannot be reached: {error}"),
            Self::Tls(what) => write!(f, "no TLS with Intel AMT: {what}"),
            Self::OtherCertificate(_) => {
                f.write_str("Intel AMT shows another certificate than before")
            }
        }
    }
}

impl std::error::Error for Unreachable {}

impl From<io::Error> for Unreachable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where to go.
#[derive(Clone)]
enum Target {
    Tunnel(Rc<AmtTunnel>),
    Host(String),
}

/// A way to a port.
#[derive(Clone)]
struct Route {
    target: Target,
    port: u16,
    tls: bool,
}

/// Whether there is any way to the firmware of a device, apart from whether it answers.
pub fn has_way(hub: &Hub, node: &NodeId) -> bool {
    route(hub, node, Service::Web, false).is_ok()
}

/// Opens a connection to a service of a device's firmware. Interactive ones go before others; of
/// the others at most one is open at a time in a tunnel. The first certificate a device shows is
/// kept with its login.
///
/// # Errors
/// Why there is none.
pub async fn open(
    hub: &Hub,
    node: &NodeId,
    service: Service,
    interactive: bool,
) -> Result<Reached, Unreachable> {
    let access = hub.store.amt_access(node);
    let wants_tls = wants_tls(hub, access.as_deref());
    let route = route(hub, node, service, wants_tls)?;
    let pin = access.and_then(|access| access.pin);
    let reached = within(connect(&route, interactive, pin)).await?;
    if let (Some((certificate, _)), None) = (&reached.tls, pin) {
        keep(hub, node, *certificate);
    }
    Ok(reached)
}

/// The same through this very tunnel: what is meant for the computer a program runs on goes no other
/// way.
///
/// # Errors
/// Why there is none.
pub async fn open_through(
    hub: &Hub,
    tunnel: &Rc<AmtTunnel>,
    service: Service,
) -> Result<Reached, Unreachable> {
    let node = tunnel.node();
    let access = hub.store.amt_access(&node);
    let tls = wants_tls(hub, access.as_deref());
    let (plain, secure) = service.ports();
    let port = if tls { secure } else { plain };
    let route = Route { target: Target::Tunnel(tunnel.clone()), port, tls };
    let pin = access.and_then(|access| access.pin);
    let reached = within(connect(&route, false, pin)).await?;
    if let (Some((certificate, _)), None) = (&reached.tls, pin) {
        keep(hub, &node, *certificate);
    }
    Ok(reached)
}

async fn within<T>(work: impl Future<Output = Result<T, Unreachable>>) -> Result<T, Unreachable> {
    let late = async {
        Timer::after(CONNECT).await;
        Err(Unreachable::Late)
    };
    or(work, late).await
}

/// Whether TLS comes first: the firmware does it, and `tlsConnections` of its domain does not forbid
/// it.
fn wants_tls(hub: &Hub, access: Option<&AmtAccess>) -> bool {
    access.is_some_and(|access| {
        access.tls && hub.config().domain(&access.node.domain).amt_manager.allows_tls
    })
}

/// Remembers the certificate of a device that is logged in to.
fn keep(hub: &Hub, node: &NodeId, certificate: Fingerprint) {
    if let Some(access) = hub.store.amt_access(node).filter(|access| access.pin.is_none()) {
        hub.store.put(AmtAccess { pin: Some(certificate), ..(*access).clone() }).later();
    }
}

fn route(
    hub: &Hub,
    node: &NodeId,
    service: Service,
    wants_tls: bool,
) -> Result<Route, Unreachable> {
    let mut found = None;
    let (plain, secure) = service.ports();
    let mut through = |kind| {
        let tunnel = hub.amt_tunnel(node, kind)?;
        let picked = pick(&tunnel.carrier.ports(), service, kind, wants_tls);
        let (port, tls) = match picked {
            Some(picked) => picked,
            None => {
                found = Some(Unreachable::NotForwarded);
                return None;
            }
        };
        Some(Route { target: Target::Tunnel(tunnel), port, tls })
    };
    let own = through(TunnelKind::Cira);
    let others = || through(TunnelKind::Relay).or_else(|| through(TunnelKind::Lms));
    let local = || {
        let host = hub.store.device(node)?.host.clone();
        let host = host.filter(|_| hub.config().settings.reach != Reach::Wan)?;
        let port = if wants_tls { secure } else { plain };
        Some(Route { target: Target::Host(host), port, tls: wants_tls })
    };
    let route = own.or_else(local).or_else(others);
    route.ok_or(found.unwrap_or(Unreachable::NoWay))
}

/// The port to use of those a tunnel forwards, and whether TLS is spoken there.
fn pick(
    forwarded: &[u16],
    service: Service,
    kind: TunnelKind,
    wants_tls: bool,
) -> Option<(u16, bool)> {
    let (plain, secure) = service.ports();
    let tls_first = wants_tls && kind != TunnelKind::Cira;
    let order =
        if tls_first { [(secure, true), (plain, false)] } else { [(plain, false), (secure, true)] };
    // Who wants TLS outside the firmware's own tunnel gets nothing else.
    let allowed = if tls_first { &order[..1] } else { &order[..] };
    allowed.iter().copied().find(|(port, _)| forwarded.contains(port))
}

async fn connect(
    route: &Route,
    interactive: bool,
    pin: Option<Fingerprint>,
) -> Result<Reached, Unreachable> {
    let way = match &route.target {
        Target::Tunnel(tunnel) => Way::Tunnel(tunnel.kind),
        Target::Host(_) => Way::Lan,
    };
    if !route.tls {
        let stream = plain(route, interactive).await?;
        return Ok(Reached { stream, way, tls: None });
    }
    let mut failed = Vec::new();
    for by in By::ALL {
        let stream = plain(route, interactive).await?;
        match tls::secure(stream, *by).await {
            Ok(secured) if pin.is_some_and(|pin| pin != secured.certificate) => {
                return Err(Unreachable::OtherCertificate(secured.certificate));
            }
            Ok(tls::Secured { stream, certificate, how }) => {
                return Ok(Reached { stream, way, tls: Some((certificate, how)) });
            }
            Err(error) => failed.push(format!("{by}: {error}")),
        }
    }
    if !cfg!(feature = "legacy-amt") {
        failed.push("old firmware needs a server built with the feature legacy-amt".into());
    }
    Err(Unreachable::Tls(failed.join("; ")))
}

async fn plain(route: &Route, interactive: bool) -> Result<Box<dyn ByteStream>, Unreachable> {
    match &route.target {
        Target::Tunnel(tunnel) => Ok(tunnel.carrier.open(route.port, interactive).await?),
        Target::Host(host) => {
            let stream = TcpStream::connect((host.as_str(), route.port)).await?;
            // Requests are small and wait for their answers.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_net::TcpListener;
    use futures_lite::future::block_on;
    use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::hub::testing::{World, node_id};
    use crate::hub::{Carrier, Opening};
    use crate::identity::tls::WebTls;
    use crate::identity::{Names, load_or_make_web};
    use crate::model::Millis;

    #[test]
    fn the_port_follows_from_what_is_forwarded_and_who_carries_it() {
        use Service::{Redirection, Web};
        use TunnelKind::{Cira, Lms, Relay};
        let (all, new, old) = ([16992, 16993, 16994, 16995], [16993, 16995], [16992, 16994]);
        for (forwarded, service, kind, wants_tls, picked) in [
            (&all[..], Web, Cira, false, Some((16992, false))),
            (&all, Web, Cira, true, Some((16992, false))),
            (&new, Web, Cira, false, Some((16993, true))),
            (&new, Redirection, Cira, false, Some((16995, true))),
            (&old, Redirection, Cira, true, Some((16994, false))),
            (&all, Web, Lms, true, Some((16993, true))),
            (&all, Web, Relay, false, Some((16992, false))),
            (&new, Web, Lms, false, Some((16993, true))),
            (&old, Web, Lms, true, None),
            (&[], Web, Cira, false, None),
        ] {
            assert_eq!(pick(forwarded, service, kind, wants_tls), picked, "{forwarded:?} {kind}");
        }
    }

    #[test]
    fn a_domain_may_forbid_tls() {
        for (text, wanted) in [("{}", true), (r#"{"tlsConnections":false}"#, false)] {
            let text = format!(r#"{{"domains":{{"":{{"amtManager":{text}}}}}}}"#);
            let world = World::with(crate::config::parse(&text, []).unwrap().0);
            for has_tls in [true, false] {
                let access = AmtAccess::new(node_id(1), "admin", "P@ssw0rd", has_tls);
                assert_eq!(wants_tls(&world.hub, Some(&access)), wanted && has_tls);
            }
            assert!(!wants_tls(&world.hub, None));
        }
    }

    /// A tunnel to a server on this machine that speaks TLS.
    struct Line(u16);

    impl Carrier for Line {
        fn open(&self, _: u16, _: bool) -> Opening {
            let port = self.0;
            Box::pin(async move {
                let stream = TcpStream::connect(("127.0.0.1", port)).await?;
                Ok(Box::new(stream) as Box<dyn ByteStream>)
            })
        }

        fn ports(&self) -> Vec<u16> {
            vec![16993]
        }

        fn tell(&self, _: &serde_json::Value) {}

        fn disconnect(&self, _: &'static str) {}
    }

    /// Serves one connection after the other, and sends back what it is told.
    async fn serve(listener: &TcpListener, certificate: &Arc<WebTls>) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let config = certificate.server_config().unwrap();
            let Ok(mut stream) = crate::tls::accept(stream, config).await else { continue };
            let mut heard = [0; 4];
            if stream.read_exact(&mut heard).await.is_ok() {
                stream.write_all(&heard).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    }

    fn certificate() -> Arc<WebTls> {
        let folder = tempfile::tempdir().unwrap();
        let names = Names { server: "localhost".into(), others: vec![] };
        WebTls::new(load_or_make_web(folder.path(), &names).unwrap())
    }

    #[test]
    fn the_first_certificate_is_kept_and_another_one_is_told_nothing() {
        let world = World::new();
        let (node, store) = (node_id(1), &world.hub.store);
        store.put(AmtAccess::new(node.clone(), "admin", "P@ssw0rd", false)).later();
        block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let line = Rc::new(Line(listener.local_addr().unwrap().port()));
            let remote = "127.0.0.1:9".parse().unwrap();
            let tunnel = AmtTunnel::new(node.clone(), TunnelKind::Cira, Millis(1), remote, line);
            world.hub.amt_tunnel_connected(Rc::new(tunnel));
            let speak = async || {
                let mut reached = open(&world.hub, &node, Service::Web, false).await?;
                reached.stream.write_all(b"ping").await?;
                reached.stream.flush().await?;
                let mut heard = [0; 4];
                reached.stream.read_exact(&mut heard).await?;
                assert_eq!(&heard, b"ping");
                Ok::<_, Unreachable>(reached.tls.unwrap())
            };
            let (first, second) = (certificate(), certificate());
            let asked = async {
                let (shown, how) = speak().await.unwrap();
                assert!(how.starts_with("TLS 1."), "{how}");
                assert_eq!(store.amt_access(&node).unwrap().pin, Some(shown));
                assert_eq!(speak().await.unwrap().0, shown);
            };
            or(asked, serve(&listener, &first)).await;
            let refused = async {
                let error = speak().await.unwrap_err();
                assert!(matches!(error, Unreachable::OtherCertificate(_)), "{error}");
            };
            or(refused, serve(&listener, &second)).await;
            // Nothing there speaks TLS.
            let silent = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
                std::future::pending::<()>().await;
            };
            let refused = async {
                let error = speak().await.unwrap_err();
                assert!(matches!(error, Unreachable::Tls(_)), "{error}");
            };
            or(refused, silent).await;
        });
    }
}
