//! What a request says of its sender, kept while the request itself is taken apart.

use std::net::SocketAddr;

use hyper::Request;
use hyper::header;

use crate::control::auth::Upgrade;
use crate::model::DomainId;

use super::forwarded::Scheme;

/// The headers that matter for who somebody is and may do.
pub struct Asked {
    /// The tenant.
    pub domain: DomainId,
    /// Where the client is.
    pub remote: SocketAddr,
    /// What follows `?`, still encoded.
    pub query: String,
    /// `Sec-Fetch-Site`: whose page caused the request.
    pub fetch_site: Option<String>,
    scheme: Scheme,
    host: Option<String>,
    origin: Option<String>,
    meshauth: Option<String>,
    cookies: Option<String>,
    agent: Option<String>,
}

impl Asked {
    /// Of a request for `domain`.
    pub fn of<B>(request: &Request<B>, domain: DomainId, remote: SocketAddr) -> Self {
        let text = |name: &str| {
            request.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
        };
        Self {
            domain,
            remote,
            query: request.uri().query().unwrap_or_default().to_owned(),
            fetch_site: text("sec-fetch-site"),
            scheme: Scheme::of(request.extensions()),
            host: text(header::HOST.as_str()),
            origin: text(header::ORIGIN.as_str()),
            meshauth: text("x-meshauth"),
            cookies: text(header::COOKIE.as_str()),
            agent: text(header::USER_AGENT.as_str()),
        }
    }

    /// As the control room takes it.
    pub fn upgrade(&self) -> Upgrade<'_> {
        Upgrade {
            domain: &self.domain,
            remote: self.remote,
            scheme: self.scheme.as_str(),
            host: self.host.as_deref(),
            origin: self.origin.as_deref(),
            query: &self.query,
            meshauth: self.meshauth.as_deref(),
            cookies: self.cookies.as_deref(),
            agent: self.agent.as_deref(),
        }
    }
}
