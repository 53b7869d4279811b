//! Everything a request may need.

use std::cell::Cell;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use async_executor::LocalExecutor;

use crate::agent;
use crate::agent::discovery::{Presence, Seal};
use crate::amt;
use crate::amt::activation;
use crate::amt::lan::Lan;
use crate::control::{Control, CookieKeys, Proof, ServerFacts};
use crate::files::Cabinet;
use crate::hub::Hub;
use crate::hub::amt_home::Destination;
use crate::identity::password::Passwords;
use crate::model::{DomainId, GroupId, Key48};
use crate::relay;
use crate::relay::recording::Recordings;

use super::domain;
use super::mps::Door;
use super::slots::Slots;

/// Why the server does not run.
pub type Failure = Box<dyn std::error::Error>;

/// Which requests a port serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// People and agents.
    Main,
    /// Agents only (`agentPort`).
    Agents,
}

/// TLS handshakes at a time. Each costs about 20 KB.
const HANDSHAKES: usize = 256;
/// Plain HTTP connections at a time.
const REQUESTS: usize = 512;
/// WebSockets at a time that have not proven who they are: agents that authenticate or are held,
/// clients whose password is being checked. Each costs about 10 KB.
const UNPROVEN: usize = 2048;

/// The wiring of one running server.
pub struct App {
    /// Runs every connection.
    pub executor: Rc<LocalExecutor<'static>>,
    /// Shared state.
    pub hub: Rc<Hub>,
    /// The agent room.
    pub agents: Rc<agent::room::Room>,
    /// Recordings of sessions.
    pub recordings: Rc<Recordings>,
    /// What Intel AMT is activated with.
    pub activation: Rc<activation::room::Room>,
    /// The door of Intel AMT.
    pub mps: Rc<Door>,
    /// The control room.
    pub control: Rc<Control>,
    /// The relay room.
    pub relay: Rc<relay::Room>,
    /// Intel AMT on the local network.
    pub lan: Rc<Lan>,
    /// Users at the firmware of devices.
    pub consoles: Rc<amt::relay::Room>,
    /// Who computes passwords.
    pub passwords: Passwords,
    /// Who speaks to Intel AMT.
    pub amt: Rc<crate::amt::room::Room>,
    /// TLS of the HTTPS port.
    pub server_config: Arc<rustls::ServerConfig>,
    /// Places for TLS handshakes.
    pub handshakes: Rc<Slots>,
    /// Places for HTTP connections.
    pub requests: Rc<Slots>,
    /// Places for WebSockets that have not proven who they are.
    pub unproven: Rc<Slots>,
    /// The HTTPS port bound.
    pub port: u16,
    /// Texts on the HTTP port for an authority that asks for them.
    #[cfg(feature = "acme")]
    pub proofs: Rc<crate::acme::proofs::Proofs>,
    /// The agent package is being replaced from the page.
    pub installing: Cell<bool>,
    told_of_plain_speaker: Cell<bool>,
}

impl App {
    /// Puts the parts together; `port` is the HTTPS port bound, `data` the data folder.
    pub fn new(
        executor: Rc<LocalExecutor<'static>>,
        hub: Rc<Hub>,
        agents: Rc<agent::room::Room>,
        server_config: Arc<rustls::ServerConfig>,
        port: u16,
        data: &Path,
    ) -> Result<Rc<Self>, Failure> {
        let passwords = Passwords::default();
        let keys = CookieKeys::of(&hub.store).ok_or("no random numbers")?;
        let mps = Door::new(executor.clone(), hub.clone());
        let facts = facts(&hub, &agents, port, &mps);
        let recordings = Recordings::new(hub.clone(), data);
        let relay =
            relay::Room::new(hub.clone(), keys.login.clone(), facts.tls_hash, executor.clone());
        let control = Control::new(hub.clone(), passwords.clone(), keys, relay.clone(), facts);
        let activation = activation::room::Room::new(hub.clone(), data);
        control.set_recordings(recordings.clone());
        let amt = crate::amt::room::Room::new(hub.clone(), executor.clone());
        control.set_amt(amt.clone());
        control.set_activation(activation.clone());
        activation.attend(&executor);
        relay.set_recordings(recordings.clone());
        let lan = Lan::new(hub.clone(), executor.clone());
        control.set_lan(lan.clone());
        let consoles = amt::relay::Room::new(
            hub.clone(),
            Cabinet::new(data),
            recordings.clone(),
            executor.clone(),
        );
        Ok(Rc::new(Self {
            control,
            amt,
            activation,
            recordings,
            relay,
            lan,
            consoles,
            passwords,
            handshakes: Slots::new(executor.clone(), HANDSHAKES),
            requests: Slots::new(executor.clone(), REQUESTS),
            unproven: Slots::new(executor.clone(), UNPROVEN),
            executor,
            hub,
            agents,
            mps,
            server_config,
            port,
            #[cfg(feature = "acme")]
            proofs: Rc::default(),
            installing: Cell::default(),
            told_of_plain_speaker: Cell::default(),
        }))
    }

    /// Tells the control room what has changed of the server: its certificates, its settings.
    pub fn refresh_facts(&self) {
        let facts = facts(&self.hub, &self.agents, self.port, &self.mps);
        self.relay.set_tls_hash(facts.tls_hash);
        if let Some(host) = facts.mps_name.clone().filter(|_| facts.mps_port != 0) {
            self.hub.amt_home().set_destination(Destination { host, number: facts.mps_port });
        }
        self.control.set_facts(facts);
    }

    /// Somebody speaks HTTP without TLS who may not: perhaps the proxy, under an address that nobody
    /// thought of. Said once.
    pub fn tell_of_plain_speaker(&self, address: IpAddr) {
        if !self.told_of_plain_speaker.replace(true) {
            log::warn!(
                "{address} speaks plain HTTP to the HTTPS port: if it is your proxy, name it in \
                 tlsOffload"
            );
        }
    }

    /// The name people reach the server by: `cert`, or whatever name they used.
    pub fn public_name(&self, host: Option<&str>) -> String {
        match (&self.hub.config().settings.cert, host.map(domain::host_name)) {
            (Some(name), _) => name.clone(),
            (None, Some(name)) if is_host(name) => name.to_owned(),
            (None, _) => "localhost".to_owned(),
        }
    }

    /// Where agents of `domain` connect: `wss://host:port/[domain/]agent.ashx`.
    pub fn agent_url(&self, domain: &DomainId, host: Option<&str>) -> String {
        let ((name, path), port) = (self.place(domain, host), self.agent_port());
        format!("wss://{name}:{port}/{path}agent.ashx")
    }

    /// What the local network is told about this server; `None` while agents cannot connect.
    pub fn presence(&self) -> Option<Presence> {
        let server = self.agents.server()?.id();
        let config = self.hub.config();
        let (settings, domain) = (&config.settings, config.domain(&DomainId::default()));
        let discovery = &settings.local_discovery;
        let host = settings.cert.clone().filter(|name| name.contains('.'));
        let info = discovery.info.as_ref().or(domain.title2.as_ref()).or(host.as_ref());
        let name = discovery.name.as_ref().or(domain.title.as_ref());
        Some(Presence {
            server,
            port: self.agent_port(),
            address: settings.bind.filter(|address| !address.is_unspecified()),
            name: name.map_or_else(|| "meshboard".to_owned(), String::clone),
            info: info.cloned().unwrap_or_default(),
            host,
            seal: discovery.key.as_deref().map(Seal::new),
        })
    }

    /// Where people of `domain` find pages: `https://host:port/[domain/]`.
    pub fn page_url(&self, domain: &DomainId, host: Option<&str>) -> String {
        let (name, path) = self.place(domain, host);
        format!("https://{name}:{}/{path}", self.public_port())
    }

    /// What pairs the Android app with this server:
    /// `mc://host[:port][/domain],<server id>,<group id>`.
    pub fn pairing_url(&self, group: &GroupId, host: Option<&str>) -> String {
        let (name, path) = self.place(&group.domain, host);
        let port = match self.agent_port() {
            443 => String::new(),
            port => format!(":{port}"),
        };
        let path = path.trim_end_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        let server = self.agents.server().map_or(Key48::ZERO, |server| server.id()).text();
        format!("mc://{name}{port}{slash}{path},{server},{}", group.key.text())
    }

    /// Host name (an IPv6 address in brackets) and path of a domain.
    fn place(&self, domain: &DomainId, host: Option<&str>) -> (String, String) {
        let config = self.hub.config();
        let by_name = config.domain(domain).dns.as_deref();
        let name = by_name.map_or_else(|| self.public_name(host), str::to_owned);
        let name = if name.contains(':') { format!("[{name}]") } else { name };
        let path = match (domain.is_default(), by_name) {
            (true, _) | (_, Some(_)) => String::new(),
            (false, None) => format!("{domain}/"),
        };
        (name, path)
    }

    /// The port people give to agents.
    fn agent_port(&self) -> u16 {
        let config = self.hub.config();
        let settings = &config.settings;
        settings.agent_alias_port.or(settings.agent_port).unwrap_or(self.public_port())
    }

    /// The HTTPS port people see: `aliasPort`, or the one bound.
    pub fn public_port(&self) -> u16 {
        self.hub.config().settings.alias_port.unwrap_or(self.port)
    }
}

fn facts(hub: &Hub, agents: &agent::room::Room, port: u16, mps: &Door) -> ServerFacts {
    let config = hub.config();
    let settings = &config.settings;
    ServerFacts {
        name: settings.cert.clone(),
        port: settings.alias_port.unwrap_or(port),
        redirect_port: settings.redir_port.unwrap_or(0),
        mps_port: mps.port().map_or(0, |bound| settings.mps_alias_port.unwrap_or(bound)),
        mps_name: mps.name(),
        root: mps.root(),
        tls_hash: agents.tls.hash(),
        agent_cert_hash: agents.server().map_or(Key48::ZERO, |server| server.id()),
        cert_expires: agents.tls.not_after().map(|end| end.0),
        proof: agents.server().map(|server| Proof { server, tls: agents.tls.clone() }),
    }
}

/// True for what can stand in a URL as a host: a name, an IPv4 or (without brackets) IPv6 address.
fn is_host(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    !name.is_empty() && name.len() <= 253 && name.chars().all(known)
}
