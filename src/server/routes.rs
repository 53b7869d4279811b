//! Which request goes where.

use std::net::SocketAddr;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header;
use hyper::{Method, Request, Response, StatusCode};

use crate::agent;
use crate::config::AddressRules;
use crate::control::auth::Upgrade;
use crate::control::request::REQUEST_MAX;
use crate::control::socket;
use crate::hub::Refused;
use crate::model::DomainId;

use super::answer::{Body, query, text};
use super::app::{App, Port};
use super::domain;
use super::downloads::{self, Reader};
use super::invite;
use super::page;
use super::recordings;
use super::setup;
use super::upgrade::upgrade;

/// Answers one request.
pub async fn route(
    app: Rc<App>,
    request: Request<Incoming>,
    remote: SocketAddr,
    port: Port,
) -> Response<Body> {
    let config = app.hub.config();
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
    let uri = request.uri().clone();
    let (domain, path) = domain::resolve(&config, host, uri.path());
    let settings = config.domain(&domain);
    let permits = |of_server: &AddressRules, of_domain: &AddressRules| {
        let permitted = of_server.permits(remote.ip()) && of_domain.permits(remote.ip());
        if !permitted {
            app.hub.metrics.refuse(Refused::Address);
            log::debug!("{remote}: address not allowed for /{path}");
        }
        permitted
    };
    let of_people = matches!(
        path,
        "control.ashx"
            | "recordings.ashx"
            | ""
            | "setup"
            | "register"
            | "welcome"
            | "agentinvite"
            | "invite"
    );
    if of_people && !permits(&config.settings.user_addresses, &settings.user_addresses) {
        return text(StatusCode::FORBIDDEN, "not from your address");
    }
    match (path, port) {
        ("agent.ashx", _) => {
            let Some(_server) = app.agents.server() else {
                // The RSA key is still being made: an HTTP error gives the agent proper back-off.
                return unavailable();
            };
            let accepted = has_agent_key(&app, &settings.agent_keys, &uri, remote)
                && permits(&config.settings.agent_addresses, &settings.agent_addresses);
            let agents = app.agents.clone();
            upgrade(&app, request, remote, agent::wire::PREAUTH_LIMIT, move |socket, place| {
                agent::session::run(agents, socket, domain, remote, accepted, place)
            })
        }
        ("meshagents" | "meshsettings", _) => {
            let Some(reader) = reader(&app, &domain, &request, remote).await else {
                return text(StatusCode::UNAUTHORIZED, "only for people who are logged in");
            };
            let headers = request.headers();
            match path {
                "meshagents" => downloads::meshagents(&app, &domain, &uri, headers, &reader).await,
                _ => downloads::meshsettings(&app, &domain, &uri, headers, &reader),
            }
        }
        ("agentinvite", Port::Main) if request.method() == Method::GET => {
            invite::page(&app, &domain, &uri, request.headers())
        }
        ("invite", Port::Main) => invite::code(app, domain, request, remote).await,
        ("control.ashx", Port::Main) => {
            let control = app.control.clone();
            let asked = Asked::of(&request, domain, remote);
            upgrade(&app, request, remote, REQUEST_MAX, move |socket, place| async move {
                socket::serve(&control, socket, &asked.upgrade(), place).await;
            })
        }
        ("recordings.ashx", Port::Main) if request.method() == Method::GET => {
            let asked = Asked::of(&request, domain, remote);
            recordings::serve(&app, request, asked).await
        }
        ("health.ashx", Port::Main) => text(StatusCode::OK, "ok"),
        ("", Port::Main) if is_read(&request) => page::front(&app, &domain, request.headers()),
        ("welcome", Port::Main) if is_read(&request) => page::welcome(&app, &domain),
        (path, Port::Main) if path.starts_with("assets/") && is_read(&request) => {
            page::asset(path, request.headers())
        }
        ("setup", Port::Main) if request.method() == Method::POST => {
            setup::submit(app, domain, request, setup::FIRST).await
        }
        ("register", Port::Main) if request.method() == Method::POST => {
            setup::submit(app, domain, request, setup::OWN).await
        }
        _ => text(StatusCode::NOT_FOUND, "not found"),
    }
}

/// Who asks for a download; `None` if it must be somebody who is logged in and is not.
async fn reader(
    app: &App,
    domain: &DomainId,
    request: &Request<Incoming>,
    remote: SocketAddr,
) -> Option<Reader> {
    if !app.hub.config().locks_agent_downloads(domain) {
        return Some(Reader::Anybody);
    }
    // A request without credentials is no failed login.
    let asks = |name| query(request.uri(), name).is_some();
    let has = |name: header::HeaderName| request.headers().contains_key(name);
    let brings_any = asks("auth")
        || asks("user")
        || has(header::COOKIE)
        || has(header::HeaderName::from_static("x-meshauth"));
    if !brings_any {
        return None;
    }
    let asked = Asked::of(request, domain.clone(), remote);
    let login = app.control.gate.admit(&asked.upgrade()).await.ok()?;
    app.hub.store.user(&login.user).map(Reader::User)
}

fn is_read(request: &Request<Incoming>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// Whether an agent brings one of the domain's keys, if there are any.
fn has_agent_key(app: &App, keys: &[String], uri: &hyper::Uri, remote: SocketAddr) -> bool {
    let accepted = keys.is_empty() || query(uri, "key").is_some_and(|key| keys.contains(&key));
    if !accepted {
        app.hub.metrics.refuse(Refused::AgentKey);
        log::warn!("agent at {remote} is held: its agent key is missing or wrong");
    }
    accepted
}

/// What a request says of its sender, kept until it is looked at.
pub struct Asked {
    /// The tenant.
    pub domain: DomainId,
    /// Where the sender is.
    pub remote: SocketAddr,
    host: Option<String>,
    origin: Option<String>,
    meshauth: Option<String>,
    cookies: Option<String>,
    agent: Option<String>,
    query: String,
}

impl Asked {
    fn of(request: &Request<Incoming>, domain: DomainId, remote: SocketAddr) -> Self {
        let text = |name: &str| {
            request.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
        };
        Self {
            domain,
            remote,
            host: text("host"),
            origin: text("origin"),
            meshauth: text("x-meshauth"),
            cookies: text("cookie"),
            agent: text("user-agent"),
            query: request.uri().query().unwrap_or_default().to_owned(),
        }
    }

    /// The same for the door.
    pub fn upgrade(&self) -> Upgrade<'_> {
        Upgrade {
            domain: &self.domain,
            remote: self.remote,
            scheme: "https",
            host: self.host.as_deref(),
            origin: self.origin.as_deref(),
            query: &self.query,
            meshauth: self.meshauth.as_deref(),
            cookies: self.cookies.as_deref(),
            agent: self.agent.as_deref(),
        }
    }
}

/// 503: come back later.
fn unavailable() -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "starting, come back soon");
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    response
}
