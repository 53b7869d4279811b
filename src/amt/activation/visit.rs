//! A visit with its tunnel, its disk and its clock: gathers what [`super::flow`] decides by, does
//! what it wants, and keeps what comes of it.

use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future::{or, pending, poll_fn};
use serde_json::{Map, Value, json};

use super::flow::{Answer, Call, Effect, Flow, Outcome, OverTls, Setting, Silence, Who};
use super::log;
use super::matching::choose;
use super::room::Room;
use super::state::{Login, Mode, State};
use super::talk::Talk;
use crate::amt::digest::Credentials;
use crate::amt::policy::{self, Within};
use crate::amt::wsman::Failure;
use crate::hub::{AmtTunnel, Hub, Said};
use crate::model::{AmtAccess, Device, Event, EventKind, NodeId};

/// Time for a program to report the state of its firmware.
const REPORT: Duration = Duration::from_secs(30);
/// How often a visit asks whether the one before it is over.
const AGAIN: Duration = Duration::from_secs(1);
const ADMIN: &str = "admin";

/// Looks after a computer that has brought its firmware here, until that is done or it leaves.
pub(super) async fn run(room: Rc<Room>, tunnel: Rc<AmtTunnel>) {
    let Some(report) = report(&tunnel).await else { return };
    let node = tunnel.node();
    let _seat = loop {
        match room.seat(&node) {
            Some(seat) => break seat,
            None if tunnel.said.is_closed() => return,
            None => drop(Timer::after(AGAIN).await),
        }
    };
    let state = State::read(&report);
    let Some(setting) = setting(&room, &tunnel, state).await else { return };
    let name = setting.state.computer.clone();
    let is_tls_only = setting.state.is_tls_only();
    let mut visit = Visit { hub: room.hub().clone(), room, tunnel, node, is_tls_only };
    visit.remember(&setting.state, None);
    match visit.follow(setting).await {
        Some(Outcome { is_success: true, text }) => {
            ::log::info!("Intel AMT of {name} ({}): {text}", visit.node);
        }
        Some(Outcome { text, .. }) => {
            ::log::warn!("Intel AMT of {name} ({}): {text}", visit.node);
        }
        None => ::log::warn!("Intel AMT of {name} ({}): the computer left", visit.node),
    }
}

/// What the program on the computer reports first.
async fn report(tunnel: &AmtTunnel) -> Option<Map<String, Value>> {
    let reported = async {
        loop {
            let Said(mut said) = poll_fn(|cx| tunnel.said.poll_next(cx)).await?;
            if said.get("action") == Some(&json!("meiState"))
                && let Some(Value::Object(state)) = said.remove("value")
            {
                return Some(state);
            }
        }
    };
    let late = async {
        Timer::after(REPORT).await;
        tunnel.carrier.tell(&json!({"action": "close"}));
        None
    };
    or(reported, late).await
}

/// Everything a visit is decided by.
async fn setting(room: &Room, tunnel: &AmtTunnel, state: State) -> Option<Setting> {
    let (hub, node) = (room.hub(), tunnel.node());
    let device = hub.store.device(&node)?;
    let equipment = room.equipment(&node.domain);
    let policy = hub.store.amt_policy(&device.group);
    let uuid = state.uuid.clone();
    let access = hub.store.amt_access(&node);
    let kept: Vec<_> = access
        .iter()
        .flat_map(|access| access.passwords().map(|text| (access.user.clone(), text.to_owned())))
        .map(|(user, password)| Login { user, password })
        .collect();
    let path = equipment.log.clone();
    let (asked, id) = (uuid.clone(), node.to_string());
    let logged = crate::pool::unblock(move || log::passwords(&path, &asked, &id)).await;
    let logged = logged.into_iter().map(|password| Login { user: ADMIN.into(), password });
    let config = hub.config();
    let manager = &config.domain(&node.domain).amt_manager;
    let accounts = manager
        .accounts
        .iter()
        .map(|account| Login { user: account.user.clone(), password: account.password.clone() });
    let over_tls = match (manager.allows_tls, manager.activates_over_tls) {
        (false, _) => OverTls::Never,
        (true, false) => OverTls::WhereNeeded,
        (true, true) => OverTls::WherePossible,
    };
    let mut certificates = equipment.certificates.clone();
    let wants_admin = policy.as_ref().is_some_and(|policy| policy.kind >= 3);
    if wants_admin && state.mode != Mode::Admin && choose(&certificates, &state, hub.now()).is_err()
    {
        certificates.extend(room.own_certificate(&state).await);
    }
    let who = Who {
        domain: node.domain.to_string(),
        uuid,
        node: node.to_string(),
        group: device.group.to_string(),
        remote: tunnel.remote.to_string(),
    };
    Some(Setting {
        who,
        policy: policy.as_deref().cloned(),
        certificates,
        logins: kept.into_iter().collect(),
        accounts: accounts.collect(),
        logged: logged.collect(),
        over_tls,
        state,
    })
}

struct Visit {
    room: Rc<Room>,
    hub: Rc<Hub>,
    tunnel: Rc<AmtTunnel>,
    node: NodeId,
    /// The firmware speaks TLS only.
    is_tls_only: bool,
}

/// A call under way; it gives the conversation back.
type Talking = Pin<Box<dyn Future<Output = (Box<Talk>, Result<Answer, Silence>)>>>;

enum Woke {
    Said(Map<String, Value>),
    Left,
    Answered(Box<Talk>, Result<Answer, Silence>),
    Late,
}

impl Visit {
    /// `None` if the computer left.
    async fn follow(&mut self, setting: Setting) -> Option<Outcome> {
        let mut flow = Flow::new(setting);
        let mut talk = Some(Box::new(Talk::new(self.tunnel.clone())));
        let mut talking: Option<Talking> = None;
        if let Some(talk) = &talk {
            talk.settled().await;
        }
        flow.begin(Instant::now(), self.hub.now());
        loop {
            while let Some(effect) = flow.next_effect() {
                match effect {
                    Effect::Call(Call::Manage { login, activated_over_tls }) => {
                        // Firmware has room for one connection.
                        talk = None;
                        let credentials =
                            Credentials { user: login.user, password: login.password };
                        let within = Within {
                            tunnel: self.tunnel.clone(),
                            login: credentials,
                            name: flow.name(),
                            activated_over_tls,
                        };
                        let (hub, new) = (self.hub.clone(), Talk::new(self.tunnel.clone()));
                        talking = Some(Box::pin(async move {
                            let managed = policy::set_up(&hub, within).await;
                            let refused = |failure: Failure| Silence::Refused(failure.to_string());
                            (Box::new(new), managed.map(|()| Answer::Managed).map_err(refused))
                        }));
                    }
                    Effect::Call(call) => {
                        let tunnel = &self.tunnel;
                        let new = || Box::new(Talk::new(tunnel.clone()));
                        let mut with = talk.take().unwrap_or_else(new);
                        let way = flow.way(&call);
                        talking = Some(Box::pin(async move {
                            let answer = with.perform(call, way).await;
                            (with, answer)
                        }));
                    }
                    Effect::Sign(data) => {
                        let signature = match flow.certificate() {
                            Some(key) => crate::pool::unblock(move || key.sign(&data).ok()).await,
                            None => None,
                        };
                        flow.signed(signature, Instant::now());
                    }
                    Effect::Write(line) => {
                        let is_written = self.write(*line).await;
                        flow.written(is_written, Instant::now());
                    }
                    Effect::Note(line) => drop(self.write(*line).await),
                    Effect::End(outcome) => return Some(outcome),
                    effect => self.apply(effect),
                }
            }
            match self.wait(&mut talking, flow.deadline()).await {
                Woke::Said(said) => flow.heard(&said, Instant::now(), self.hub.now()),
                Woke::Left => return None,
                Woke::Answered(with, answer) => {
                    (talk, talking) = (Some(with), None);
                    flow.answered(answer, Instant::now(), self.hub.now());
                }
                Woke::Late => {
                    // A call that is given up takes its connection with it.
                    talking = None;
                    flow.expire(Instant::now(), self.hub.now());
                }
            }
        }
    }

    async fn wait(&self, talking: &mut Option<Talking>, until: Option<Instant>) -> Woke {
        let said = async {
            match poll_fn(|cx| self.tunnel.said.poll_next(cx)).await {
                Some(Said(said)) => Woke::Said(said),
                None => Woke::Left,
            }
        };
        let answered = async {
            match talking {
                Some(call) => {
                    let (talk, answer) = call.await;
                    Woke::Answered(talk, answer)
                }
                None => pending().await,
            }
        };
        let late = async {
            match until {
                Some(until) => drop(Timer::at(until).await),
                None => pending().await,
            }
            Woke::Late
        };
        or(said, or(answered, late)).await
    }

    /// Whether the line is on the disk.
    async fn write(&self, line: log::Line) -> bool {
        let path = self.room.equipment(&self.node.domain).log.clone();
        let written = crate::pool::unblock(move || log::append(&path, &line)).await;
        if let Err(error) = &written {
            ::log::error!("the Intel AMT activation log cannot be written: {error}");
        }
        written.is_ok()
    }

    fn apply(&self, effect: Effect) {
        match effect {
            Effect::Tell(said) => self.tunnel.carrier.tell(&said),
            Effect::Requested { suffix, over_tls } => self.announce(&suffix, over_tls),
            Effect::Works(login) => self.keep(login),
            Effect::Activated(login, realm, mode) => {
                self.keep(login);
                let state = State { is_activated: true, mode, ..State::default() };
                self.remember(&state, Some(&realm));
            }
            Effect::Deactivated => {
                let key = crate::store::RecordKey::AmtAccess(self.node.clone());
                self.hub.store.remove(key).later();
                self.remember(&State::default(), None);
            }
            // The others are done where they can be waited for.
            _ => {}
        }
    }

    fn keep(&self, login: Login) {
        let Login { user, password } = login;
        let old = self.hub.store.amt_access(&self.node);
        let is_same = old.is_some_and(|old| {
            (&old.user, &old.password) == (&user, &password) && (old.tls || !self.is_tls_only)
        });
        if !is_same {
            // Firmware makes itself another certificate when it is activated.
            let access = AmtAccess::new(self.node.clone(), &user, &password, self.is_tls_only);
            self.hub.store.put(access).later();
        }
    }

    /// Keeps what is known of the firmware with the device, and tells if that is news.
    fn remember(&self, state: &State, realm: Option<&str>) {
        let Some(old) = self.hub.store.device(&self.node) else { return };
        let mut device = Device::clone(&old);
        let kept = device.extra.iter_mut().find(|(name, _)| name == "intelamt");
        let kept = kept.map(|(_, json)| std::mem::take(json));
        let mut amt: Map<_, _> =
            kept.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
        amt.insert("state".into(), if state.is_activated { 2 } else { 0 }.into());
        amt.insert("flags".into(), state.mode.flags().into());
        for (name, text) in [
            ("uuid", Some(state.uuid.as_str())),
            ("ver", Some(state.version.as_str())),
            ("realm", realm),
        ] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                amt.insert(name.into(), text.into());
            }
        }
        if let Some(sku) = state.sku {
            amt.insert("sku".into(), sku.into());
        }
        device.extra.retain(|(name, _)| name != "intelamt");
        device.extra.push(("intelamt".into(), Value::Object(amt).to_string()));
        device.extra.sort();
        if device == *old {
            return;
        }
        let mut event = Event::new("changenode", device.id.domain.clone())
            .kind(EventKind::Node)
            .node(&device.id)
            .with("node", self.hub.device_document(&device))
            .with("msg", format!("Changed Intel AMT of device {}", device.name));
        event.targets = self.hub.device_targets(&device);
        self.hub.store.put(device).later();
        self.hub.publish(event);
    }

    fn announce(&self, suffix: &str, over_tls: bool) {
        let Some(device) = self.hub.store.device(&self.node) else { return };
        let (how, number) = if over_tls { ("ACM TLS", 111) } else { ("ACM", 58) };
        let text = format!("Device requested Intel(R) AMT {how} activation, FQDN: {suffix}");
        let mut event = Event::new("amtactivate", device.id.domain.clone())
            .kind(EventKind::Node)
            .node(&device.id)
            .with("nodeid", device.id.to_string())
            .with("msgid", number)
            .with("msgArgs", vec![suffix])
            .with("msg", text);
        event.targets = self.hub.device_targets(&device);
        self.hub.publish(event);
    }
}
