//! HTTPS to the authority: one connection for each request, its certificate checked by what the
//! system trusts (`SSL_CERT_FILE` names another bundle), or by a file of one's own.

use std::future::pending;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use async_net::TcpStream;
use bytes::Bytes;
use futures_lite::future::or;
use futures_rustls::TlsConnector;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use smol_hyper::rt::FuturesIo;

use super::AcmeError;

/// Time for one request.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 1 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A client for one order.
pub(super) struct Client {
    tls: Arc<ClientConfig>,
}

impl Client {
    /// Reads whom to trust. Blocks: call it in the pool.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, AcmeError> {
        let (found, hint) = match ca_file {
            Some(path) => {
                let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
                let read = read.map_err(|error| format!("caFile {}: {error}", path.display()));
                (read.map_err(AcmeError::Unreachable)?, "none in caFile")
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                (found.certs, "is ca-certificates installed?")
            }
        };
        let mut roots = RootCertStore::empty();
        let (good, _) = roots.add_parsable_certificates(found);
        if good == 0 {
            return Err(AcmeError::Unreachable(format!("no trusted authorities: {hint}")));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| AcmeError::Unreachable(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: Arc::new(tls) })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let tls = self.tls.clone();
        Box::pin(async move {
            let late = async {
                Timer::after(PATIENCE).await;
                Err("no answer in time".into())
            };
            let answer = or(exchange(tls, request), late).await;
            answer.map(BytesResponse::from).map_err(instant_acme::Error::Other)
        })
    }
}

async fn exchange(
    tls: Arc<ClientConfig>,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, Failure> {
    let uri = request.uri().clone();
    let authority = uri.authority().ok_or("a URL without a host")?;
    if uri.scheme_str() != Some("https") {
        return Err(format!("{uri}: only https").into());
    }
    let (host, port) = (authority.host(), authority.port_u16().unwrap_or(443));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::try_from(path)?;

    let tcp = TcpStream::connect((host, port)).await?;
    let name = ServerName::try_from(host.to_owned())?;
    let stream = TlsConnector::from(tls).connect(name, tcp).await?;
    let (mut sender, connection) = http1::handshake(FuturesIo::new(stream)).await?;
    let answer = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, Full::new(body)))
    };
    let driven = async {
        match connection.await {
            Err(error) => Err(error.into()),
            // The answer is there, or its reader says that it is not.
            Ok(()) => pending().await,
        }
    };
    or(answer, driven).await
}
