//! One agent's connection without its socket: messages in, effects out.
//!
//! ```text
//! Authenticating ──proof──► Active ──replaced by a clone──► Held
//!        └──────refused────────────────────────────────────► Held
//! ```

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::json;

use crate::hub::{AgentCommand, AgentLink, Refused};
use crate::model::DomainId;

use super::admission::{self, Admitted};
use super::auth::{Handshake, Identified, Signed, Step as AuthStep};
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
    Held,
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

    /// A connection that is held from the start (wrong agent key).
    pub fn held(room: Rc<Room>, domain: DomainId, remote: SocketAddr) -> Self {
        Self { room, domain, remote, phase: Phase::Held, effects: VecDeque::new() }
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
            Phase::Held => {}
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
        if !matches!(self.phase, Phase::Held) {
            self.effects.push_back(Effect::Send(message.into()));
        }
    }

    /// Takes what other rooms ask of this agent; `None`: a newer connection took its place.
    pub fn command(&mut self, command: Option<AgentCommand>) {
        let Phase::Active(active) = &mut self.phase else { return };
        match command {
            None => {
                log::info!(
                    "agent {} at {}: replaced by a newer connection",
                    active.admitted.link.node,
                    self.remote
                );
                self.hold();
            }
            Some(AgentCommand::Json(text)) => {
                self.effects.push_back(Effect::Send(text.as_bytes().to_vec().into()));
            }
            Some(AgentCommand::Core(mode)) => {
                let steps = active.sync.set_mode(mode);
                self.core_steps(steps);
            }
            Some(AgentCommand::Disconnect) => self.effects.push_back(Effect::Close),
        }
    }

    fn authentication_step(&mut self, step: AuthStep) {
        match step {
            AuthStep::Send(message) => self.effects.push_back(Effect::Send(message.into())),
            AuthStep::Sign(data) => self.effects.push_back(Effect::Sign(data)),
            AuthStep::Refuse(why) => {
                self.room.hub.metrics.refuse(Refused::AgentAuth);
                log::warn!("agent at {} is held: {why}", self.remote);
                self.hold();
            }
            AuthStep::Authenticated(who) => self.enter(&who),
        }
    }

    fn enter(&mut self, who: &Identified) {
        let (hub, flapping) = (&self.room.hub, &self.room.flapping);
        let admitted = match admission::admit(hub, flapping, &self.domain, who, self.remote) {
            Ok(admitted) => admitted,
            Err(why) => {
                hub.metrics.refuse(Refused::AgentAdmission);
                log::warn!(
                    "agent {} ({}) at {} is held: {why}",
                    who.key.text(),
                    who.host_name,
                    self.remote
                );
                return self.hold();
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
                CoreStep::UpdateThroughCore => match self.room.download_order(agent_id) {
                    Some(order) => Effect::Send(order.to_string().into_bytes().into()),
                    None => continue,
                },
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

    fn hold(&mut self) {
        self.leave();
        self.effects.push_back(Effect::UploadDone);
        self.phase = Phase::Held;
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
