//! Which request goes where.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use hyper::body::Incoming;
use hyper::header;
use hyper::{Method, Request, Response, StatusCode};

use crate::agent;
use crate::amt;
use crate::amt::activation::archival;
use crate::amt::relay::Page;
use crate::config::AddressRules;
use crate::control::auth::{self, AtGate};
use crate::control::request::REQUEST_MAX;
use crate::control::socket;
use crate::hub::Refused;
use crate::hub::held::HeldCause;
use crate::model::{DomainId, User};
use crate::relay;

use super::answer::{self, Body, query, text};
use super::app::{App, Port};
use super::asked::Asked;
use super::domain;
use super::downloads::{self, Reader};
use super::files;
use super::forwarded;
use super::invite;
use super::mps;
use super::package;
use super::page;
use super::recordings;
use super::session::{self, Door};
use super::setup;
use super::upgrade::{is_upgrade, upgrade};
use super::visits;

/// Answers one request; `peer` is who sent it to us, its client or a proxy.
pub async fn route(
    app: Rc<App>,
    mut request: Request<Incoming>,
    peer: SocketAddr,
    port: Port,
) -> Response<Body> {
    app.hub.metrics.http_requests.fetch_add(1, Relaxed);
    let config = app.hub.config();
    let remote = forwarded::look_behind(&config.settings.proxies, &mut request, peer);
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
    let page = matches!(
        path,
        "" | "welcome" | "setup" | "register" | "login" | "tokenlogin" | "password" | "logout"
    );
    // Tunnels have ends of both kinds, and tell them apart themselves.
    let is_tunnel = matches!(path, "meshrelay.ashx" | "devicefile.ashx") && is_upgrade(&request);
    let of_people = page
        || path.starts_with("userfiles/")
        || matches!(
            path,
            "control.ashx"
                | "devicefile.ashx"
                | "recordings.ashx"
                | "sharing"
                | "agentinvite"
                | "invite"
                | "uploadfile.ashx"
                | "agentpackage.ashx"
                | "downloadfile.ashx"
                | "webrelay.ashx"
                | "webider.ashx"
                | "amtconsole.ashx"
        );
    if of_people
        && !is_tunnel
        && !permits(&config.settings.user_addresses, &settings.user_addresses)
    {
        return text(StatusCode::FORBIDDEN, "not from your address");
    }
    let method = request.method().clone();
    if page && port == Port::Main {
        let asked = Asked::of(&request, domain.clone(), remote);
        if path.is_empty() && !uri.path().ends_with('/') {
            return session::to_folder(&app, &asked);
        }
        // Who has no key learns nothing, not even that there is something.
        if !auth::has_login_key(settings, &asked.query) {
            return text(StatusCode::NOT_FOUND, "not found");
        }
        let mut response = pages(app.clone(), asked, request, path, &method).await;
        answer::allow_framing(&mut response, config.framing(&domain));
        return response;
    }
    match (path, port) {
        ("agent.ashx", _) => {
            let Some(_server) = app.agents.server() else {
                // The RSA key is still being made: an HTTP error gives the agent proper back-off.
                return unavailable();
            };
            let refused = if !has_agent_key(&app, &settings.agent_keys, &uri) {
                Some(HeldCause::AgentKey)
            } else if !permits(&config.settings.agent_addresses, &settings.agent_addresses) {
                Some(HeldCause::Address)
            } else {
                None
            };
            let agents = app.agents.clone();
            upgrade(&app, request, remote, agent::wire::PREAUTH_LIMIT, move |socket, place| {
                agent::session::run(agents, socket, domain, remote, refused, place)
            })
        }
        ("meshagents", Port::Main) if query(&uri, "meshaction").is_some() => {
            let person = person(&app, &domain, &request, remote).await;
            let has_key = auth::has_login_key(settings, uri.query().unwrap_or_default());
            let Some(person) = person.filter(|_| has_key) else {
                return text(StatusCode::NOT_FOUND, "not found");
            };
            downloads::meshaction(&app, &domain, &uri, request.headers(), &person)
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
        ("invite", Port::Main) => {
            let asked = Asked::of(&request, domain, remote);
            invite::code(app, asked, request).await
        }
        ("sharing", Port::Main) => {
            let asked = Asked::of(&request, domain, remote);
            visits::sharing(&app, asked, request).await
        }
        ("messenger", Port::Main) => {
            let asked = Asked::of(&request, domain, remote);
            visits::messenger(&app, asked, request).await
        }
        ("control.ashx", Port::Main) => {
            let control = app.control.clone();
            let asked = Asked::of(&request, domain, remote);
            upgrade(&app, request, remote, REQUEST_MAX, move |socket, place| async move {
                socket::serve(&control, socket, &asked.upgrade(), place).await;
            })
        }
        ("webrelay.ashx" | "webider.ashx" | "amtconsole.ashx", Port::Main) => {
            let page = match path {
                "webrelay.ashx" => Page::WebRelay,
                "webider.ashx" => Page::Disks,
                _ => Page::Console,
            };
            let (room, control) = (app.consoles.clone(), app.control.clone());
            let asked = Asked::of(&request, domain, remote);
            upgrade(&app, request, remote, REQUEST_MAX, move |socket, place| async move {
                let visitor = AtGate { gate: &control.gate, upgrade: asked.upgrade() };
                amt::relay::serve(&room, page, socket, &visitor, place).await;
            })
        }
        ("apf.ashx", _) => {
            if !permits(&config.settings.agent_addresses, &settings.agent_addresses) {
                return text(StatusCode::FORBIDDEN, "not from your address");
            }
            let door = app.mps.clone();
            upgrade(&app, request, remote, mps::FRAME_MAX, move |socket, place| {
                mps::serve_socket(door, socket, remote, place)
            })
        }
        ("amtactivate", _) => {
            if !permits(&config.settings.agent_addresses, &settings.agent_addresses) {
                return text(StatusCode::FORBIDDEN, "not from your address");
            }
            let (room, group) = (app.activation.clone(), query(&uri, "id").unwrap_or_default());
            upgrade(&app, request, remote, archival::MESSAGE_MAX, move |socket, place| {
                archival::serve(room, socket, (domain, group), remote, place)
            })
        }
        ("MeshServerRootCert.cer", _) if request.method() == Method::GET => match app.mps.root() {
            Some(root) => mps::root_certificate(&root),
            None => unavailable(),
        },
        ("recordings.ashx", Port::Main) if request.method() == Method::GET => {
            let asked = Asked::of(&request, domain, remote);
            recordings::serve(&app, request, asked).await
        }
        ("uploadfile.ashx", Port::Main) if request.method() == Method::POST => {
            let asked = Asked::of(&request, domain, remote);
            files::upload(&app, request, asked).await
        }
        ("agentpackage.ashx", Port::Main) if request.method() == Method::POST => {
            let asked = Asked::of(&request, domain, remote);
            package::install(app, request, asked).await
        }
        ("downloadfile.ashx", Port::Main) if request.method() == Method::GET => {
            files::download(&app, &Asked::of(&request, domain, remote), &uri).await
        }
        (path, Port::Main) if path.starts_with("userfiles/") && request.method() == Method::GET => {
            let keys = &settings.login_keys;
            if !keys.is_empty() && !query(&uri, "key").is_some_and(|key| keys.contains(&key)) {
                return text(StatusCode::NOT_FOUND, "not found");
            }
            files::public(&app, &domain, path.trim_start_matches("userfiles/")).await
        }
        (_, _) if is_tunnel => {
            let (relay, control) = (app.relay.clone(), app.control.clone());
            let asked = Asked::of(&request, domain, remote);
            upgrade(&app, request, remote, REQUEST_MAX, move |socket, place| async move {
                let visitor = AtGate { gate: &control.gate, upgrade: asked.upgrade() };
                relay::session::serve(&relay, socket, &visitor, place).await;
            })
        }
        ("devicefile.ashx", Port::Main) => {
            let asked = Asked::of(&request, domain, remote);
            let visitor = AtGate { gate: &app.control.gate, upgrade: asked.upgrade() };
            downloads::device_file(&app, &visitor).await
        }
        ("health.ashx", Port::Main) => text(StatusCode::OK, "ok"),
        (path, Port::Main) if path.starts_with("assets/") && is_read(&method) => {
            page::asset(path, request.headers())
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
    person(app, domain, request, remote).await.map(Reader::User)
}

/// Whoever is logged in.
async fn person(
    app: &App,
    domain: &DomainId,
    request: &Request<Incoming>,
    remote: SocketAddr,
) -> Option<Rc<User>> {
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
    let asked = asked.upgrade();
    let login = app.control.gate.admit_reader(&asked).await.ok()?;
    app.hub.store.user(&login.user)
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// What browsers ask for, but for what becomes a WebSocket.
async fn pages(
    app: Rc<App>,
    asked: Asked,
    request: Request<Incoming>,
    path: &str,
    method: &Method,
) -> Response<Body> {
    let door = match (path, method) {
        ("", method) if is_read(method) => {
            let entered = session::enter(&app, &asked).await;
            let front = || page::front(&app, &asked.domain, request.headers());
            return entered.unwrap_or_else(front);
        }
        ("welcome", method) if is_read(method) => return page::welcome(&app, &asked.domain),
        ("logout", &Method::GET) => return session::get_logout(&app, &asked),
        ("setup", &Method::POST) => return setup::submit(app, asked, request, setup::FIRST).await,
        ("register", &Method::POST) => return setup::submit(app, asked, request, setup::OWN).await,
        ("", &Method::POST) => Door::Root,
        ("login" | "tokenlogin", &Method::POST) => Door::Login,
        ("password", &Method::POST) => Door::Password,
        ("logout", &Method::POST) => Door::Logout,
        _ => return text(StatusCode::NOT_FOUND, "not found"),
    };
    session::post(app, asked, request, door).await
}

/// Whether an agent brings one of the domain's keys, if there are any.
fn has_agent_key(app: &App, keys: &[String], uri: &hyper::Uri) -> bool {
    let accepted = keys.is_empty() || query(uri, "key").is_some_and(|key| keys.contains(&key));
    if !accepted {
        app.hub.metrics.refuse(Refused::AgentKey);
    }
    accepted
}

/// 503: come back later.
fn unavailable() -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "starting, come back soon");
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    response
}
