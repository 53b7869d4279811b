//! What an agent's core reports: JSON in, records and events out.
//!
//! Everything here comes from a machine we do not control. Texts are clamped, documents bounded,
//! unknown actions and malformed members ignored; a message never ends a connection. A record is
//! written only when something in it changed.

use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::hub::{AgentLink, Hub, SessionMessage};
use crate::hub::{amt_facts, amt_login};
use crate::model::{
    Device, Event, EventKind, Millis, Rights, SessionId, UserId, order, text::clamp,
};
use crate::store::DetailKind;

use super::kinds;
use super::wire::caps;

/// Identical consecutive console lines after which further ones are dropped.
const CONSOLE_REPEATS: u32 = 30;
/// Longest detail document kept, in bytes of JSON.
const DETAIL_MAX: usize = 1 << 20;
/// Longest further coreinfo member kept, in bytes of JSON.
const EXTRA_MAX: usize = 8 * 1024;
/// Most users listed per device.
const USERS_MAX: usize = 64;

/// Kinds of sessions an agent reports.
const SESSION_KINDS: [&str; 8] = ["kvm", "terminal", "files", "tcp", "udp", "msg", "app", "help"];
/// Further coreinfo members kept and shown as they are.
const EXTRAS: [&str; 5] = ["intelamt", "av", "wsc", "defender", "volumes"];

/// A 1x1 transparent PNG, for consent dialogs that wait for a picture of the user.
const DEFAULT_IMAGE: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// Reads the reports of one connected agent.
pub struct Reports {
    hub: Rc<Hub>,
    link: Rc<AgentLink>,
    /// Capabilities of AuthInfo.
    caps: u32,
    /// Last console line, to stop a core that repeats itself for ever.
    console: (u32, u32),
}

/// What the caller has to do after a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Send this JSON to the agent.
    Reply(Value),
    /// The core asks for an update of the binary (`agentupdate`).
    WantsUpdate,
    /// The core reported itself: it runs.
    CoreRuns,
}

impl Reports {
    /// A reader for `link`, whose AuthInfo had the capabilities `caps`.
    pub fn new(hub: Rc<Hub>, link: Rc<AgentLink>, caps: u32) -> Self {
        Self { hub, link, caps, console: (0, 0) }
    }

    /// Takes one JSON message.
    pub fn receive(&mut self, json: &[u8]) -> Option<Answer> {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            #[serde(borrow)]
            action: std::borrow::Cow<'a, str>,
        }
        let Envelope { action } = serde_json::from_slice(json).ok()?;
        match &*action {
            "coreinfo" => {
                self.core_info(&object(json)?);
                return Some(Answer::CoreRuns);
            }
            "netinfo" => self.network(json),
            "sysinfo" => self.system(json),
            "smbios" => self.detail(DetailKind::Smbios, member(json, "value")?),
            "lmsinfo" => self.lms(&object(json)?),
            "sessions" => self.sessions(&object(json)?),
            "battery" => self.battery(&object(json)?),
            "msg" => self.route(object(json)?),
            "log" => self.log(&object(json)?),
            "openUrl" => self.url_opened(object(json)?),
            "ping" => return Some(Answer::Reply(json!({"action": "pong"}))),
            "sysinfocheck" => return Some(Answer::Reply(self.ask_system())),
            "getUserImage" => return self.user_image(object(json)?),
            "agentupdate" => return Some(Answer::WantsUpdate),
            "amtconfig" => return self.amt_login().map(Answer::Reply),
            _ => {}
        }
        None
    }

    /// What the agent logs in with on `/apf.ashx` to bring its computer's Intel AMT here.
    fn amt_login(&self) -> Option<Value> {
        let device = self.hub.store.device(&self.link.node)?;
        let cookie = amt_login::agent_cookie(&self.hub, &device.id, &device.group)?;
        Some(json!({"action": "amtconfig", "user": amt_login::AGENT_USER, "pass": cookie}))
    }

    /// The order to bring the computer's Intel AMT here, if it may have one and the group wants
    /// something of it.
    pub fn activation(&self) -> Option<Value> {
        let kind = kinds::find(self.link.agent_id)?;
        let device = self.hub.store.device(&self.link.node)?;
        let policy = self.hub.store.amt_policy(&device.group)?;
        if kind.amt && policy.kind != 0 { self.amt_login() } else { None }
    }

    /// What to send once the core is stable: a question for its system information, unless what is
    /// kept is current, the server's greeting, and what its Intel AMT is wanted for.
    pub fn greeting(&self) -> Vec<Value> {
        let mut greeting = vec![self.ask_system(), json!({"action": "serverInfo"})];
        greeting.extend(self.activation());
        greeting
    }

    fn ask_system(&self) -> Value {
        match self.hub.store.detail_tag(&self.link.node, DetailKind::System) {
            Some(hash) => json!({"action": "sysinfo", "hash": &*hash}),
            None => json!({"action": "sysinfo"}),
        }
    }

    /// The agent lost its core: what the core told is no longer true.
    pub fn core_gone(&self) {
        self.change(|device| {
            if let Some(agent) = &mut device.agent {
                agent.core = None;
                agent.caps = self.caps & (caps::CONSOLE | caps::CORE);
            }
        });
    }

    /// Content of the agent's `.tag` file: the first line that is not a `~Setting:` is its tag.
    pub fn tag(&self, content: &[u8]) {
        let text = String::from_utf8_lossy(content.get(..4096).unwrap_or(content));
        let tag =
            text.lines().map(|l| clamp(l, 255)).find(|l| !l.is_empty() && !l.starts_with('~'));
        self.change(|device| {
            if let Some(agent) = &mut device.agent {
                agent.tag = tag;
            }
        });
    }

    fn core_info(&self, info: &Map<String, Value>) {
        self.change(|device| merge_core_info(device, info, self.caps));
        if info.contains_key("intelamt") {
            self.hub.merge_amt_device(&self.link.node);
        }
    }

    /// Changes the device's record; writes and tells only if that made a difference.
    fn change(&self, change: impl FnOnce(&mut Device)) {
        let Some(old) = self.hub.store.device(&self.link.node) else { return };
        let mut device = Device::clone(&old);
        change(&mut device);
        if device == *old {
            return;
        }
        let mut event = Event::new("changenode", device.id.domain.clone())
            .kind(EventKind::Node)
            .node(&device.id)
            .with("node", self.hub.device_document(&device))
            .transient();
        event.targets = self.hub.device_targets(&device);
        self.hub.store.put(device).later();
        self.hub.publish(event);
    }

    fn network(&self, json: &[u8]) {
        if let Some(interfaces) = member(json, "netif2") {
            self.detail(DetailKind::Network, interfaces);
        }
    }

    fn system(&self, json: &[u8]) {
        let Some(data) = member(json, "data") else { return };
        let hash = member(data.get().as_bytes(), "hash")
            .and_then(|h| serde_json::from_str::<String>(h.get()).ok())
            .map(|h| clamp(&h, 128));
        if self.keep(DetailKind::System, data, hash.as_deref()) {
            self.tell("sysinfohash", |e| e.with("hash", hash));
        }
    }

    fn detail(&self, kind: DetailKind, json: &RawValue) {
        if self.keep(kind, json, None) && kind == DetailKind::Network {
            self.tell("ifchange", |e| e);
        }
    }

    /// Keeps a detail document; true if it differs from the one kept so far.
    fn keep(&self, kind: DetailKind, json: &RawValue, tag: Option<&str>) -> bool {
        let text = json.get().as_bytes();
        // Only devices with a record have details: recovery agents do not.
        text.len() <= DETAIL_MAX
            && self.hub.store.device(&self.link.node).is_some()
            && self.hub.store.set_detail(&self.link.node, kind, text, tag, self.hub.now())
    }

    fn lms(&self, message: &Map<String, Value>) {
        let Some(value) = message.get("value").and_then(|v| extra_text("lmsinfo", v)) else {
            return;
        };
        self.change(|device| set_extra(device, "lmsinfo", Some(value)));
    }

    fn sessions(&self, message: &Map<String, Value>) {
        let kind = message.get("type").and_then(Value::as_str).unwrap_or_default();
        let value = message.get("value").and_then(Value::as_object);
        let (true, Some(value)) = (SESSION_KINDS.contains(&kind), value) else { return };
        let value = (!value.is_empty()).then(|| Value::Object(value.clone()));
        self.hub.set_sessions(&self.link, kind, value);
    }

    fn battery(&self, message: &Map<String, Value>) {
        let state =
            message.get("state").and_then(Value::as_str).filter(|s| ["ac", "dc"].contains(s));
        let level = message.get("level").and_then(Value::as_u64).filter(|l| *l <= 100);
        if let (Some(state), Some(level)) = (state, level) {
            let battery = json!({"state": state, "level": level});
            self.hub.set_sessions(&self.link, "battery", Some(battery));
        }
    }

    /// Tells those with rights on the device, without keeping it in history.
    fn tell(&self, action: &'static str, body: impl FnOnce(Event) -> Event) {
        let Some(device) = self.hub.store.device(&self.link.node) else { return };
        let event = Event::new(action, device.id.domain.clone())
            .kind(EventKind::Node)
            .node(&device.id)
            .transient();
        let mut event = body(event);
        event.targets = self.hub.device_targets(&device);
        self.hub.publish(event);
    }

    /// Passes a `msg` on: to one session, to one account, or to everyone with rights on the
    /// device. Whoever it is for, they get it only if they have a right on this device.
    fn route(&mut self, mut message: Map<String, Value>) {
        if self.repeats_itself(&message) {
            return;
        }
        let Some(device) = self.hub.store.device(&self.link.node) else { return };
        let session = message.remove("sessionid");
        let sessions = match (&session, message.get("userid")) {
            (Some(Value::String(id)), _) => {
                let id = id.parse::<SessionId>().ok();
                id.and_then(|id| self.hub.session(&id)).into_iter().collect()
            }
            (_, Some(Value::String(id))) => match id.parse::<UserId>() {
                Ok(id) => self.hub.sessions_of(&id),
                Err(_) => Vec::new(),
            },
            _ => self.hub.sessions(),
        };
        message.insert("nodeid".into(), self.link.node.to_string().into());
        let text: Rc<str> = Value::Object(message).to_string().into();
        for session in sessions {
            let user = self.hub.store.user(&session.id.user);
            let rights = user.map_or(Rights::empty(), |u| self.hub.rights_on_device(&u, &device));
            if rights.is_empty() {
                continue;
            }
            if session.mailbox.push(SessionMessage::Text(text.clone())).is_err() {
                session.missed.set(true);
            }
        }
    }

    /// Tells who asked whether a page was opened; not which, that is between the server and the
    /// person there.
    fn url_opened(&mut self, mut message: Map<String, Value>) {
        let success = message.get("success").and_then(Value::as_bool).unwrap_or_default();
        if let Some(session) = message.remove("sessionid").filter(Value::is_string) {
            let told = [("action", "msg".into()), ("type", "openUrl".into())];
            let more = [("success", success.into()), ("sessionid", session)];
            let told = told.into_iter().chain(more).map(|(k, v)| (k.to_owned(), v));
            self.route(order::gather(told));
        }
    }

    /// True for the 31st and further identical console lines in a row.
    fn repeats_itself(&mut self, message: &Map<String, Value>) -> bool {
        if message.get("type").and_then(Value::as_str) != Some("console") {
            return false;
        }
        let line = message.get("value").and_then(Value::as_str).unwrap_or_default();
        let hash = crc32c::crc32c(line.as_bytes());
        let (last, count) = self.console;
        self.console = if last == hash { (hash, count.saturating_add(1)) } else { (hash, 1) };
        self.console.1 > CONSOLE_REPEATS
    }

    fn log(&self, message: &Map<String, Value>) {
        let Some(device) = self.hub.store.device(&self.link.node) else { return };
        let Some(text) = message.get("msg").and_then(Value::as_str) else { return };
        let mut event = Event::new("agentlog", device.id.domain.clone())
            .kind(EventKind::Node)
            .node(&device.id)
            .with("msg", clamp(without_token(text), 4096));
        if let Some(id) = message.get("msgid").and_then(Value::as_u64) {
            event = event.with("msgid", id);
        }
        if let Some(args) = message.get("msgArgs").and_then(Value::as_array) {
            let args: Vec<Value> = args.iter().take(16).map(clamped_value).collect();
            event = event.with("msgArgs", args);
        }
        event.targets = self.hub.device_targets(&device);
        let actor = message.get("userid").and_then(Value::as_str).and_then(|u| u.parse().ok());
        // The agent only says who; believe it for accounts that could have done it.
        let actor = actor
            .and_then(|id: UserId| self.hub.store.user(&id))
            .filter(|user| !self.hub.rights_on_device(user, &device).is_empty());
        if let Some(user) = actor {
            event = event.actor(&user.id);
        }
        if let Some(guest) = message.get("guestname").and_then(Value::as_str) {
            event = event.with("guestname", clamp(guest, 128));
        }
        self.hub.publish(event);
    }

    /// Consent dialogs at the device wait for the picture of the user who wants in.
    fn user_image(&self, mut message: Map<String, Value>) -> Option<Answer> {
        let id: UserId = message.get("userid")?.as_str()?.parse().ok()?;
        let user = self.hub.store.user(&id)?;
        let device = self.hub.store.device(&self.link.node)?;
        if self.hub.rights_on_device(&user, &device).is_empty() {
            return None;
        }
        message.insert("name".into(), user.name.clone().into());
        message.insert("realname".into(), user.real_name.clone().into());
        message.insert("image".into(), DEFAULT_IMAGE.into());
        Some(Answer::Reply(Value::Object(message)))
    }
}

/// Merges a coreinfo message, any subset of its members, into the device.
fn merge_core_info(device: &mut Device, info: &Map<String, Value>, auth_caps: u32) {
    let text = |name: &str, max| info.get(name).and_then(Value::as_str).map(|t| clamp(t, max));
    if let Some(agent) = &mut device.agent {
        if let Some(core) = text("value", 128) {
            agent.core = Some(core);
        }
        if let Some(reported) = info.get("caps").and_then(Value::as_u64) {
            let own = caps::CONSOLE | caps::CORE;
            agent.caps = (auth_caps & own) | (reported as u32 & !own);
        }
        if let Some(root) = info.get("root").and_then(Value::as_bool) {
            agent.root = Some(root);
        }
    }
    if let Some(os) = text("osdesc", 255) {
        device.os = Some(os).filter(|t| !t.is_empty());
    }
    let names = |name: &str| {
        let list = info.get(name)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).take(USERS_MAX).map(|u| clamp(u, 255)).collect())
    };
    if let Some(users) = names("users") {
        device.users = users;
    }
    if let Some(users) = names("lusers") {
        device.local_users = users;
    }
    if let Some(boot) = info.get("lastbootuptime").and_then(Value::as_f64) {
        // Milliseconds; whole minutes, because the agent computes it anew each time.
        let boot = boot.clamp(0.0, 1e15) as u64;
        device.last_boot = Some(Millis(boot / 60_000 * 60_000));
    }
    for name in EXTRAS {
        if let Some(value) = info.get(name) {
            let mut value = value.clone();
            if let ("intelamt", Some(reported)) = (name, value.as_object_mut()) {
                amt_facts::keep_ours(device, reported);
            }
            set_extra(device, name, extra_text(name, &value));
        }
    }
}

fn set_extra(device: &mut Device, name: &str, text: Option<String>) {
    device.extra.retain(|(n, _)| n != name);
    if let Some(text) = text {
        device.extra.push((name.to_owned(), text));
        order::sort_by(&mut device.extra, Ord::cmp);
    }
}

/// The JSON text of a further member, if it is a bounded object or array. Secrets an agent must
/// not plant (Intel AMT credentials belong to the server) are dropped.
fn extra_text(name: &str, value: &Value) -> Option<String> {
    let mut value = value.clone();
    if let (true, Some(object)) = (name == "intelamt", value.as_object_mut()) {
        for secret in ["user", "pass", "mpspass"] {
            object.remove(secret);
        }
    }
    let text = value.to_string();
    ((value.is_object() || value.is_array()) && text.len() <= EXTRA_MAX).then_some(text)
}

/// The agent writes down which pages it opened. The link to a chat is cut before the token in it,
/// which is for the person there alone.
fn without_token(text: &str) -> &str {
    match text.find("messenger?id=meshmessenger").zip(text.rfind("&c=")) {
        Some((_, token)) => text.get(..token).unwrap_or_default(),
        None => text,
    }
}

fn clamped_value(value: &Value) -> Value {
    match value {
        Value::String(text) => clamp(without_token(text), 1024).into(),
        Value::Array(_) | Value::Object(_) => Value::Null,
        other => other.clone(),
    }
}

fn object(json: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(json).ok()
}

/// The text of one member of a JSON object, without parsing the others.
fn member<'a>(json: &'a [u8], name: &str) -> Option<&'a RawValue> {
    struct Pick<'n>(&'n str);

    impl<'de> serde::de::Visitor<'de> for Pick<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                if key == self.0 {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }

    use serde::Deserializer as _;
    serde_json::Deserializer::from_slice(json).deserialize_map(Pick(name)).ok().flatten()
}

#[cfg(test)]
mod tests;
