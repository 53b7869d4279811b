//! Looks at the certificates of proxies (`certUrl`): at start, every ten minutes, and when an agent
//! saw one that nobody knows.
//!
//! An agent names the certificate it sees; behind a proxy that is the proxy's. When a new one is
//! found, agents that were held for it are released, come back at once and are let in.

use std::io::{self, Read as _};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use async_net::TcpStream;
use futures_lite::future;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::config::{Config, FrontUrl};
use crate::hub::Hub;
use crate::hub::fronts::Front;
use crate::hub::held::HeldCause;
use crate::identity::certificate::{key_id, sha384};
use crate::model::{DomainId, Millis};
use crate::pool;
use crate::tls::shown_certificate;

/// How often without a reason. A renewal must be noticed soon: agents that are connected open their
/// tunnels through the new certificate, and are told with each which one that is.
const INTERVAL: Duration = Duration::from_secs(600);
/// Least time between two looks with one: whoever shows wrong hashes must not make us knock at
/// somebody's door all day.
const PAUSE: Duration = Duration::from_secs(10);
/// Time for one look.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest PEM file.
const FILE_MAX: u64 = 1 << 20;

/// Looks for ever.
pub(super) async fn run(hub: Rc<Hub>) {
    loop {
        look(&hub).await;
        Timer::after(PAUSE).await;
        let in_turn = async {
            Timer::after(INTERVAL).await;
        };
        future::or(hub.fronts.asked(), in_turn).await;
    }
}

/// Looks at every domain's. True if one of them is new.
async fn look(hub: &Hub) -> bool {
    let config = hub.config();
    hub.fronts.keep(|domain| config.domain(domain).cert_url.is_some());
    let mut news = false;
    for (domain, settings) in &config.domains {
        let Some(url) = &settings.cert_url else { continue };
        match front(url, &name_for(&config, domain, url)).await {
            Ok(front) if hub.fronts.learn(domain, front) => {
                news = true;
                log::info!("certificate at {url}: SHA-384 {}", front.hash.hex());
                let waited = hub.held.release(|refusal| {
                    refusal.cause == HeldCause::WebHash && refusal.domain == *domain
                });
                if waited > 0 {
                    log::info!("{waited} agents that were held for it are asked to come again");
                }
            }
            Ok(_) => {}
            Err(error) => log::warn!("certUrl {url}: {error}"),
        }
    }
    news
}

/// What to ask the proxy for: the name agents use, because it may serve others, too.
fn name_for(config: &Config, domain: &DomainId, url: &FrontUrl) -> String {
    let named = config.domain(domain).dns.as_ref().or(config.settings.cert.as_ref());
    // A server without a name of its own is called by its address; names of one label are made up.
    match (named, url) {
        (Some(name), _) if name.contains('.') && name.parse::<IpAddr>().is_err() => name.clone(),
        (_, FrontUrl::Https { host, .. }) => host.clone(),
        (_, FrontUrl::File(_)) => String::new(),
    }
}

async fn front(url: &FrontUrl, name: &str) -> io::Result<Front> {
    let leaf = match url {
        FrontUrl::Https { host, port } => {
            let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
            let shown = async {
                let stream = TcpStream::connect((&**host, *port)).await?;
                shown_certificate(stream, name).await
            };
            let late = async {
                Timer::after(PATIENCE).await;
                Err(io::ErrorKind::TimedOut.into())
            };
            future::or(shown, late).await?
        }
        FrontUrl::File(path) => {
            let path = path.clone();
            pool::unblock(move || {
                let mut pem = Vec::new();
                std::fs::File::open(path)?.take(FILE_MAX).read_to_end(&mut pem)?;
                CertificateDer::from_pem_slice(&pem).map_err(io::Error::other)
            })
            .await?
        }
    };
    let key_hash = key_id(&leaf).ok_or_else(|| io::Error::other("not a certificate"))?;
    Ok(Front { hash: sha384(&leaf), key_hash, not_after: not_after(&leaf) })
}

fn not_after(der: &[u8]) -> Option<Millis> {
    use x509_parser::prelude::FromDer as _;
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
    let end = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(Millis(end.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::hub::held::Refusal;
    use crate::identity::tls::WebTls;
    use crate::identity::{Names, Role, load_or_make_web};
    use crate::model::Key48;
    use crate::store::Store;
    use futures_lite::future::block_on;

    fn hub(cert_url: &str) -> Rc<Hub> {
        let config = parse(&format!(r#"{{"domains":{{"":{{"certUrl":"{cert_url}"}}}}}}"#), []);
        Hub::new(Store::in_memory(), config.unwrap().0, Millis(0))
    }

    #[test]
    fn a_new_certificate_in_front_lets_those_go_who_waited_for_it() {
        let data = tempfile::tempdir().unwrap();
        let names = Names { server: "a.b".into(), others: vec![] };
        let file = Role::Web.cert_path(data.path());
        let hub = hub(&format!("file://{}", file.display()));
        let domain = DomainId::default();
        assert!(!block_on(look(&hub)), "it is not there yet");
        let waiting = |cause| Refusal {
            cause,
            domain: domain.clone(),
            address: [10, 0, 0, 1].into(),
            node: None,
            name: None,
            hash: None,
        };
        for cause in [HeldCause::WebHash, HeldCause::AgentKey] {
            hub.held.note(&waiting(cause), Millis(1));
        }
        let web = load_or_make_web(data.path(), &names).unwrap();
        assert!(block_on(look(&hub)));
        assert!(!block_on(look(&hub)), "no news");
        assert_eq!(hub.fronts.full_hash(&domain, web.key_hash), Some(web.hash));
        let front = hub.fronts.current(&domain).unwrap();
        assert_eq!(front.not_after, WebTls::new(web).not_after());
        let held = hub.held.list(None);
        assert_eq!((held.len(), &*held[0].cause), (1, "agentKey"));
        // Without certUrl it counts no more.
        hub.set_config(Config::default());
        block_on(look(&hub));
        assert_eq!(hub.fronts.current(&domain), None);
    }

    #[test]
    fn what_a_tls_server_shows_is_seen_and_nonsense_is_an_error() {
        let data = tempfile::tempdir().unwrap();
        let names = Names { server: "a.b".into(), others: vec![] };
        let web = load_or_make_web(data.path(), &names).unwrap();
        let hash = web.hash;
        let config = WebTls::new(web).server_config().unwrap();
        block_on(async {
            let listener = async_net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let url = FrontUrl::Https { host: "127.0.0.1".into(), port };
            let serve = async {
                let (stream, _) = listener.accept().await.unwrap();
                let tls = crate::tls::accept(stream, config).await;
                let (mut stream, _) = listener.accept().await.unwrap();
                use futures_lite::AsyncWriteExt as _;
                stream.write_all(b"HTTP/1.0 400 no TLS here\r\n\r\n").await.unwrap();
                drop((tls, stream));
            };
            let ask = async {
                assert_eq!(front(&url, "a.b").await.unwrap().hash, hash);
                assert!(front(&url, "a.b").await.is_err());
            };
            future::zip(serve, ask).await;
        });
        assert_ne!(hash, Key48::ZERO);
    }

    #[test]
    fn the_proxy_is_asked_for_the_name_agents_use() {
        for (settings, domain, url, name) in [
            (r#""cert":"mesh.example.com""#, "", "https://127.0.0.1", "mesh.example.com"),
            (r#""cert":"mesh.example.com""#, r#""dns":"b.example.com""#, "x", "b.example.com"),
            (r#""cert":"192.168.1.2""#, "", "https://proxy.lan:444", "proxy.lan"),
            (r#""cert":"mesh""#, "", "127.0.0.1", "127.0.0.1"),
            ("", "", "127.0.0.1", "127.0.0.1"),
        ] {
            let separator = if domain.is_empty() { "" } else { "," };
            let text = format!(
                r#"{{"settings":{{{settings}}},"domains":{{"c":{{"certUrl":"{url}"{separator}{domain}}}}}}}"#
            );
            let (config, _) = parse(&text, []).unwrap();
            let id = DomainId::new("c").unwrap();
            let url = config.domain(&id).cert_url.clone().unwrap();
            assert_eq!(name_for(&config, &id, &url), name, "{text}");
        }
    }
}
