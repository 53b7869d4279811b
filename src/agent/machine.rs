//! One agent's connection without its socket: messages in, effects out.
//!
//! ```text
//! Authenticating ──proof──► Active ──replaced by a clone──► Silenced
//!        └──────refused────────────────────────────────────► Held
//! ```

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::json;

use crate::hub::held::{self, HeldCause};
use crate::hub::{AgentCommand, AgentLink, Mailbox, Refused};
use crate::model::{DomainId, NodeId};

use super::admission::{self, Admitted, Silence};
use super::auth::{Handshake, Identified, Refusal, Signed, Step as AuthStep};
use super::core::{CoreSync, Step as CoreStep};
use super::package::CoreName;
use super::reports::{Answer, Reports};
use super::room::Room;
use super::wire::{self, Command};

/// What the session has to do.
pub enum Effect {
    /// Send this binary message.
    Send(Cow<'static, [u8]>),
    /// Sign this in the pool and call [`Agent::signed`].
    Sign(Box<Signed>),
    /// Authenticated: larger messages are allowed, the mailbox is open.
    Admitted(Rc<AgentLink>),
    /// Refused: all it can be told is to go.
    Held(Rc<Mailbox<AgentCommand>>),
    /// Send this core image, raw-deflated if the flag is set.
    Upload(CoreName, bool),
    /// The upload was received, or is not waited for any more.
    UploadDone,
    /// Begin a native update for this kind of agent; zipped if the flag is set.
    StartUpdate(u32, bool),
    /// The last update block was received: send the next.
    NextBlock,
    /// End the connection.
    Close,
}

/// The state of one connection.
pub struct Agent {
    room: Rc<Room>,
    domain: DomainId,
    remote: SocketAddr,
    phase: Phase,
    effects: VecDeque<Effect>,
}

enum Phase {
    Authenticating(Box<Handshake>),
    /// Nothing more is said; pings are answered by the socket.
    Held(#[expect(dead_code, reason = "counts while it lives")] held::Seat),
    /// The same, for an older connection of a device; `None` on its way out.
    Silenced(#[expect(dead_code, reason = "counts while it lives")] Option<Silence>),
    Active(Box<Active>),
}

struct Active {
    admitted: Admitted,
    sync: CoreSync,
    reports: Reports,
}

impl Agent {
    /// A connection that has just been upgraded. `nonce` is fresh random.
    pub fn new(room: Rc<Room>, domain: DomainId, remote: SocketAddr, handshake: Handshake) -> Self {
        let phase = Phase::Authenticating(Box::new(handshake));
        Self { room, domain, remote, phase, effects: VecDeque::new() }
    }

    /// A connection that is held from the start.
    pub fn refused(room: Rc<Room>, domain: DomainId, remote: SocketAddr, cause: HeldCause) -> Self {
        let phase = Phase::Silenced(None);
        let mut agent = Self { room, domain, remote, phase, effects: VecDeque::new() };
        agent.refuse(agent.refusal(cause));
        agent
    }

    /// The next effect, in order.
    pub fn next_effect(&mut self) -> Option<Effect> {
        let next = self.effects.pop_front();
        if next.is_none() && self.effects.capacity() > 0 {
            // An idle agent keeps no queue.
            self.effects = VecDeque::new();
        }
        next
    }

    /// True until the agent is let in or held.
    pub fn is_authenticating(&self) -> bool {
        matches!(self.phase, Phase::Authenticating(_))
    }

    /// Takes a message from the socket, binary or JSON.
    pub fn receive(&mut self, message: &[u8]) {
        let Some(command) = Command::parse(message) else { return };
        match &mut self.phase {
            Phase::Held(_) | Phase::Silenced(_) => {}
            Phase::Authenticating(handshake) => {
                let (room, domain) = (&self.room, &self.domain);
                let steps = handshake.receive(command, |hash| room.full_hash(domain, hash));
                for step in steps {
                    self.authentication_step(step);
                }
            }
            Phase::Active(_) => self.receive_active(command),
        }
    }

    /// The pool has signed; `certificate` is the agent-server certificate, DER.
    pub fn signed(&mut self, certificate: &[u8], signature: &[u8]) {
        let message = wire::auth_verify(certificate, signature);
        // AuthConfirm may have been sent meanwhile: the agent wants our signature all the same.
        if !matches!(self.phase, Phase::Held(_) | Phase::Silenced(_)) {
            self.effects.push_back(Effect::Send(message.into()));
        }
    }

    /// Takes what other rooms ask of this agent; `None`: a newer connection took its place.
    pub fn command(&mut self, command: Option<AgentCommand>) {
        let active = match (&mut self.phase, &command) {
            (Phase::Active(active), _) => active,
            // What it was refused for has changed.
            (Phase::Held(_), Some(AgentCommand::Disconnect)) => {
                return self.effects.push_back(Effect::Close);
            }
            _ => return,
        };
        match command {
            None => {
                log::info!(
                    "agent {} at {}: replaced by a newer connection",
                    active.admitted.link.node,
                    self.remote
                );
                let silence = self.room.silenced.enter(&active.admitted.link.node);
                if silence.is_none() {
                    self.effects.push_back(Effect::Close);
                }
                self.fall_silent(Phase::Silenced(silence));
            }
            Some(AgentCommand::Json(text)) => {
                self.effects.push_back(Effect::Send(text.as_bytes().to_vec().into()));
            }
            Some(AgentCommand::Core(mode)) => {
                let steps = active.sync.set_mode(mode);
                self.core_steps(steps);
            }
            Some(AgentCommand::Activate) => {
                if let Some(order) = active.reports.activation() {
                    self.send_json(&order);
                }
            }
            Some(AgentCommand::Disconnect) => self.effects.push_back(Effect::Close),
        }
    }

    fn authentication_step(&mut self, step: AuthStep) {
        match step {
            AuthStep::Send(message) => self.effects.push_back(Effect::Send(message.into())),
            AuthStep::Sign(data) => self.effects.push_back(Effect::Sign(data)),
            AuthStep::Refuse(Refusal::WebHash(hash)) => {
                let hub = &self.room.hub;
                hub.metrics.refuse(Refused::AgentWebHash);
                if hub.config().domain(&self.domain).cert_url.is_some() {
                    hub.fronts.look();
                }
                let refusal = self.refusal(HeldCause::WebHash);
                self.refuse(held::Refusal { hash: Some(hash), ..refusal });
            }
            AuthStep::Refuse(why @ (Refusal::Certificate | Refusal::Signature)) => {
                self.room.hub.metrics.refuse(Refused::AgentAuth);
                let is_about_certificate = why == Refusal::Certificate;
                self.refuse(self.refusal(match is_about_certificate {
                    true => HeldCause::Certificate,
                    false => HeldCause::Signature,
                }));
            }
            AuthStep::ExpectsAnother(id) => {
                let hub = &self.room.hub;
                // It goes by itself.
                if hub.held.note(&self.refusal(HeldCause::OtherServer), hub.now()).is_news {
                    log::warn!(
                        "agent at {} expects the server with ServerID {}: its .msh file is not ours",
                        self.remote,
                        id.hex()
                    );
                }
            }
            AuthStep::Authenticated(who) => self.enter(&who),
        }
    }

    fn enter(&mut self, who: &Identified) {
        let (hub, flapping) = (&self.room.hub, &self.room.flapping);
        if let Some(domain) = admission::found_domain(hub, &self.domain, who) {
            self.domain = domain;
        }
        let admitted = match admission::admit(hub, flapping, &self.domain, who, self.remote) {
            Ok(admitted) => admitted,
            Err(cause) => {
                hub.metrics.refuse(Refused::AgentAdmission);
                let node = Some(NodeId::new(self.domain.clone(), who.key));
                let name = Some(who.host_name.clone()).filter(|name| !name.is_empty());
                return self.refuse(held::Refusal { node, name, ..self.refusal(cause) });
            }
        };
        hub.metrics.agent_connects.fetch_add(1, Relaxed);
        hub.metrics.agents.store(hub.agent_count() as u64, Relaxed);
        log::debug!("agent {} at {}: connected", admitted.link.node, self.remote);
        let link = admitted.link.clone();
        self.effects.push_back(Effect::Admitted(link.clone()));
        self.effects.push_back(Effect::Send(wire::AUTH_CONFIRM.as_slice().into()));
        let mut sync = CoreSync::new(who.agent_id, who.caps, who.commit_date.as_deref());
        let steps = if admitted.clear_core {
            // Its answer (no core) leads to an upload.
            vec![CoreStep::Send(&wire::CLEAR_CORE)]
        } else {
            sync.start(&*self.room)
        };
        let reports = Reports::new(self.room.hub.clone(), link, who.caps);
        self.phase = Phase::Active(Box::new(Active { admitted, sync, reports }));
        self.core_steps(steps);
    }

    fn receive_active(&mut self, command: Command<'_>) {
        let Phase::Active(active) = &mut self.phase else { return };
        if active.sync.is_updating() {
            if command == Command::UpdateAck {
                self.effects.push_back(Effect::NextBlock);
            }
            return;
        }
        match command {
            Command::CoreHash(report) => {
                self.effects.push_back(Effect::UploadDone);
                let steps = active.sync.core_report(report, &*self.room);
                self.core_steps(steps);
            }
            Command::AgentHash(hash) => {
                let steps = active.sync.agent_hash(hash, &*self.room);
                self.core_steps(steps);
            }
            Command::Tag(tag) => active.reports.tag(tag),
            Command::Json(json) => match active.reports.receive(json) {
                Some(Answer::Reply(reply)) => self.send_json(&reply),
                Some(Answer::WantsUpdate) => self.core_steps(vec![CoreStep::UpdateThroughCore]),
                Some(Answer::CoreRuns) if active.sync.core_runs() => {
                    self.core_steps(vec![CoreStep::UpdateThroughCore]);
                }
                Some(Answer::CoreRuns) | None => {}
            },
            _ => {}
        }
    }

    fn core_steps(&mut self, steps: Vec<CoreStep>) {
        let Phase::Active(active) = &mut self.phase else { return };
        let (agent_id, compresses) = (active.admitted.link.agent_id, active.sync.compresses());
        for step in steps {
            let effect = match step {
                CoreStep::Send(bytes) => Effect::Send(bytes.into()),
                CoreStep::Upload(name) => Effect::Upload(name, compresses),
                CoreStep::UpdateNatively => Effect::StartUpdate(agent_id, compresses),
                CoreStep::UpdateThroughCore => {
                    match self.room.download_order(agent_id, &self.domain) {
                        Some(order) => Effect::Send(order.to_string().into_bytes().into()),
                        None => continue,
                    }
                }
                CoreStep::Stable => {
                    for message in active.reports.greeting() {
                        let text = message.to_string().into_bytes();
                        self.effects.push_back(Effect::Send(text.into()));
                    }
                    continue;
                }
                CoreStep::CoreGone => {
                    active.reports.core_gone();
                    continue;
                }
                CoreStep::GaveUp => {
                    log::warn!(
                        "agent {}: refuses its core again and again; it is left alone",
                        active.admitted.link.node
                    );
                    continue;
                }
            };
            self.effects.push_back(effect);
        }
    }

    fn send_json(&mut self, message: &serde_json::Value) {
        self.effects.push_back(Effect::Send(message.to_string().into_bytes().into()));
    }

    /// A JSON keep-alive, if the agent is past its authentication.
    pub fn keep_alive(&mut self, action: &'static str) {
        if matches!(self.phase, Phase::Active(_)) {
            self.send_json(&json!({"action": action}));
        }
    }

    /// A refusal of somebody who has proven nothing. Whose it is may be known by the address.
    fn refusal(&self, cause: HeldCause) -> held::Refusal {
        let (domain, address) = (self.domain.clone(), self.remote.ip().to_canonical());
        let name = self.room.hub.missing_at(&domain, address);
        held::Refusal { cause, domain, address, node: None, name, hash: None }
    }

    /// Says no more, and why not to the people who look after the server.
    fn refuse(&mut self, refusal: held::Refusal) {
        let hub = &self.room.hub;
        let noted = hub.held.note(&refusal, hub.now());
        let level = if noted.is_news { log::Level::Warn } else { log::Level::Debug };
        let node = refusal.node.as_ref().map(|node| format!(" {node}")).unwrap_or_default();
        let name = refusal.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let why = refusal.cause.why();
        log::log!(level, "agent{node}{name} at {} is held: {why}", self.remote);
        let seat = hub.held.seat(refusal, noted);
        self.effects.push_back(Effect::Held(seat.mailbox()));
        self.fall_silent(Phase::Held(seat));
    }

    fn fall_silent(&mut self, phase: Phase) {
        self.leave();
        self.effects.push_back(Effect::UploadDone);
        self.phase = phase;
    }

    fn leave(&mut self) {
        if let Phase::Active(active) = &self.phase {
            let hub = &self.room.hub;
            admission::leave(hub, &self.room.flapping, &active.admitted);
            hub.metrics.agents.store(hub.agent_count() as u64, Relaxed);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    use crate::config::Config;
    use crate::hub::{CoreMode, Hub};
    use crate::identity::{Names, load_or_make_web, tls::WebTls};
    use crate::model::{Group, GroupId, GroupKind, Key48, Millis};
    use crate::store::Store;

    /// A captured conversation, and a room that accepts the TLS certificate of the capture.
    struct Scene {
        v: Value,
        room: Rc<Room>,
    }

    fn hex(value: &Value) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    }

    fn scene(known_group: bool) -> Scene {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/vectors/agent-auth-full-vs-meshcentral.json"
        );
        let v: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut config = Config::default();
        let web = Key48::from_prefix(&hex(&v["webTlsCertSha384"])).unwrap();
        let domain = config.domains.get_mut(&DomainId::default()).unwrap();
        domain.accepted_tls_hashes.push(web);
        let hub = Hub::new(Store::in_memory(), config, Millis(0));
        if known_group {
            let key = Key48::parse(v["authInfoParsed"]["meshIdText"].as_str().unwrap()).unwrap();
            let id = GroupId::new(DomainId::default(), key);
            hub.store.put(Group::new(id, "lab", GroupKind::Agent, Millis(0))).later();
        }
        let dir = tempfile::tempdir().unwrap();
        let names = Names { server: "test".into(), others: vec![] };
        let tls = WebTls::new(load_or_make_web(dir.path(), &names).unwrap());
        Scene { v, room: Room::new(hub, tls) }
    }

    impl Scene {
        fn connect(&self) -> Agent {
            let id = Key48::from_prefix(&hex(&self.v["serverId_sha384_of_pkcs1_pubkey"])).unwrap();
            let handshake = Handshake::new(id, hex(&self.v["serverNonce"]).try_into().unwrap());
            let remote = ([198, 51, 100, 7], 4711).into();
            Agent::new(self.room.clone(), DomainId::default(), remote, handshake)
        }

        /// Plays all captured agent messages; the last tells which core it has.
        fn play(&self, agent: &mut Agent) -> Vec<String> {
            for message in self.v["messages"].as_array().unwrap() {
                let binary = message.get("hex").filter(|_| message["from"] == "agent");
                if let Some(bytes) = binary {
                    agent.receive(&hex(bytes));
                }
            }
            effects(agent)
        }
    }

    /// What an agent's machine wants done, in words.
    fn effects(agent: &mut Agent) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(effect) = agent.next_effect() {
            words.push(match effect {
                Effect::Send(bytes) if bytes.starts_with(b"{") => {
                    let json: Value = serde_json::from_slice(&bytes).unwrap();
                    format!("json {}", json["action"].as_str().unwrap())
                }
                Effect::Send(bytes) => format!("send {}", bytes[1]),
                Effect::Sign(_) => "sign".into(),
                Effect::Admitted(_) => "admitted".into(),
                Effect::Upload(name, _) => format!("upload {}", name.as_str()),
                Effect::UploadDone | Effect::Held(_) => continue,
                Effect::StartUpdate(..) => "update".into(),
                Effect::NextBlock => "block".into(),
                Effect::Close => "close".into(),
            });
        }
        words
    }

    #[test]
    fn a_captured_agent_comes_in_and_runs_the_core_it_has() {
        let scene = scene(true);
        let mut agent = scene.connect();
        let words = scene.play(&mut agent);
        let core = ["send 11", "send 16", "json sysinfo", "json serverInfo"];
        assert_eq!(words, [&["send 1", "sign", "admitted", "send 4"][..], &core].concat());
        assert_eq!(scene.room.hub.agent_count(), 1);
        drop(agent);
        assert_eq!(scene.room.hub.agent_count(), 0);
    }

    #[test]
    fn an_agent_of_an_unknown_group_is_held_without_a_word() {
        let scene = scene(false);
        let mut agent = scene.connect();
        assert_eq!(scene.play(&mut agent), ["send 1", "sign"]);
        assert_eq!(scene.room.hub.metrics.refused(Refused::AgentAdmission), 1);
        agent.receive(br#"{"action":"ping"}"#);
        agent.signed(b"certificate", b"signature");
        assert_eq!(effects(&mut agent), [""; 0]);
        assert_eq!(scene.room.hub.agent_count(), 0);
        let held = scene.room.hub.held.list(None).remove(0);
        assert_eq!((&*held.cause, &*held.address), ("unknownGroup", "198.51.100.7"));
        assert_eq!(held.name.as_deref(), scene.v["authInfoParsed"]["computerName"].as_str());
        assert_eq!(held.waiting, 1);
        drop(agent);
        assert_eq!(scene.room.hub.held.list(None)[0].waiting, 0);
    }

    #[test]
    fn an_agent_behind_a_proxy_waits_until_its_certificate_is_known() {
        let scene = scene(true);
        let config = Config::clone(&scene.room.hub.config());
        scene.room.hub.set_config(Config::default());
        let mut agent = scene.connect();
        assert_eq!(scene.play(&mut agent), [""; 0]);
        let hub = &scene.room.hub;
        let seen = Key48::from_prefix(&hex(&scene.v["webTlsCertSha384"])).unwrap();
        assert_eq!(hub.held.list(None)[0].hash, Some(seen.hex()));
        assert_eq!(hub.metrics.refused(Refused::AgentWebHash), 1);
        hub.set_config(config);
        assert_eq!(hub.held.release(|refusal| refusal.cause == HeldCause::WebHash), 1);
        agent.command(Some(AgentCommand::Disconnect));
        assert_eq!(effects(&mut agent), ["close"]);
        let mut again = scene.connect();
        assert!(scene.play(&mut again).contains(&"admitted".to_owned()));
        assert_eq!(hub.held.list(None), []);
    }

    #[test]
    fn a_clone_silences_the_older_connection() {
        let scene = scene(true);
        let (mut older, mut newer) = (scene.connect(), scene.connect());
        scene.play(&mut older);
        scene.play(&mut newer);
        // The session finds the mailbox closed.
        older.command(None);
        older.receive(br#"{"action":"ping"}"#);
        assert_eq!(effects(&mut older), [""; 0]);
        newer.receive(br#"{"action":"ping"}"#);
        assert_eq!(effects(&mut newer), ["json pong"]);
        drop(older);
        assert_eq!(scene.room.hub.agent_count(), 1, "the newer one is still there");
    }

    #[test]
    fn other_rooms_reach_the_agent_through_its_mailbox() {
        let scene = scene(true);
        let mut agent = scene.connect();
        scene.play(&mut agent);
        agent.command(Some(AgentCommand::Json(r#"{"action":"toast"}"#.into())));
        agent.command(Some(AgentCommand::Core(CoreMode::Clear)));
        agent.command(Some(AgentCommand::Disconnect));
        assert_eq!(effects(&mut agent), ["json toast", "send 10", "close"]);
    }

    #[test]
    fn garbage_is_ignored_at_every_stage() {
        let scene = scene(true);
        for authenticated in [false, true] {
            let mut agent = scene.connect();
            if authenticated {
                scene.play(&mut agent);
            }
            for garbage in [&b""[..], b"\0", b"{", b"{}", b"\xff\xff\xff", b"{\"action\":5}"] {
                agent.receive(garbage);
            }
            assert_eq!(effects(&mut agent), [""; 0]);
        }
    }
}
