//! One request on its way through its handler: who asks, from where, and how to answer.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;

use futures_lite::FutureExt as _;
use log::info;
use serde::Serialize;
use serde_json::{Value, json};

use crate::amt::lan::Lan;
use crate::amt::room::Room;
use crate::hub::{AgentCommand, Hub, SessionLink, SessionMessage};
use crate::identity::cookie::CookieKey;
use crate::identity::password::Passwords;
use crate::model::{Device, Event, EventKind, Group, Millis, Target, User};
use crate::relay;
use crate::relay::recording::Recordings;
use crate::store::{Commit, Record};

use super::super::auth::{self, Login};
use super::super::browser::Browser;
use super::super::invitations::Invitations;
use super::super::premises::{Premises, Remembered};
use super::super::request::Request;
use super::super::{Control, ServerFacts, notify};
use super::{Action, Echo};

/// A request that is being performed.
pub(in super::super) struct Call {
    control: Rc<Control>,
    session: Rc<SessionLink>,
    remembered: Rc<Remembered>,
    login: Login,
    /// The account as it was when the request came.
    pub(in super::super) user: Rc<User>,
    pub(in super::super) request: Request,
    action: &'static Action,
}

/// What a handler has to say, and what must be on disk before it is said.
#[derive(Default)]
#[must_use]
pub(in super::super) struct Answer<'a> {
    pub(in super::super) frames: Vec<String>,
    pub(in super::super) commits: Vec<Commit>,
    /// The part that waits for the disk or for a computation.
    pub(in super::super) later: Option<Later<'a>>,
}

/// Texts that come later.
pub(in super::super) type Later<'a> = Pin<Box<dyn Future<Output = Vec<String>> + 'a>>;

impl<'a> Answer<'a> {
    /// No answer.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// An answer that is not known yet.
    pub(super) fn later(future: impl Future<Output = Answer<'a>> + 'a) -> Self {
        let later = committed(Box::pin(future));
        Self { later: Some(Box::pin(later)), ..Self::default() }
    }

    /// Holds the answer back until `commit` is on disk.
    pub(super) fn after(mut self, commit: Commit) -> Self {
        self.commits.push(commit);
        self
    }

    /// This answer, then another.
    pub(super) fn and(mut self, next: Answer<'static>) -> Self {
        self.frames.extend(next.frames);
        self.commits.extend(next.commits);
        self
    }
}

/// The texts of an answer, when what it says is on disk. Not part of each answer that comes later:
/// it is boxed by itself.
async fn committed<'a>(answer: Pin<Box<dyn Future<Output = Answer<'a>> + 'a>>) -> Vec<String> {
    let answer = answer.await;
    for commit in answer.commits {
        if let Err(error) = commit.await {
            log::warn!("control: {error}");
        }
    }
    answer.frames
}

impl FromIterator<Answer<'static>> for Answer<'static> {
    fn from_iter<I: IntoIterator<Item = Answer<'static>>>(answers: I) -> Self {
        answers.into_iter().fold(Self::none(), Self::and)
    }
}

/// An answer on the wire: the action, what is answered, and what is echoed.
#[derive(Serialize)]
struct Frame<'a, T> {
    action: &'a str,
    #[serde(flatten)]
    body: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    responseid: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a Value>,
}

#[derive(Serialize)]
struct Outcome<'a> {
    result: &'a str,
}

impl Call {
    pub(in super::super) fn new(
        control: &Rc<Control>,
        session: &Rc<SessionLink>,
        remembered: &Rc<Remembered>,
        login: &Login,
        user: Rc<User>,
        request: Request,
        action: &'static Action,
    ) -> Self {
        let (control, session, login) = (control.clone(), session.clone(), login.clone());
        let remembered = remembered.clone();
        Self { control, session, remembered, login, user, request, action }
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.control.hub
    }

    pub(super) fn facts(&self) -> Rc<ServerFacts> {
        self.control.facts()
    }

    pub(super) fn passwords(&self) -> &Passwords {
        &self.control.passwords
    }

    /// What people are invited with.
    pub(super) fn invitations(&self) -> &Invitations {
        &self.control.invitations
    }

    /// The name or address the client calls the server by.
    pub(super) fn host(&self) -> &str {
        &self.login.host
    }

    /// The key of login and relay cookies.
    pub(super) fn cookies(&self) -> &CookieKey {
        &self.control.keys.login
    }

    /// The recordings, if this server keeps any.
    pub(super) fn recordings(&self) -> Option<Rc<Recordings>> {
        self.control.recordings()
    }

    /// Who speaks to Intel AMT, if anybody does.
    pub(super) fn amt(&self) -> Option<Rc<Room>> {
        self.control.amt.get().cloned()
    }

    /// Answers with what `work` comes to, from a task of its own: this session does not wait.
    pub(super) fn aside(
        &self,
        room: &Room,
        work: impl Future<Output = Value> + 'static,
    ) -> Answer<'static> {
        let (responseid, tag) = self.echoed();
        let (responseid, tag) = (responseid.cloned(), tag.cloned());
        let (session, action) = (self.session.clone(), self.action.name);
        let answering = async move {
            let body = work.await;
            let (responseid, tag) = (responseid.as_ref(), tag.as_ref());
            let frame = Frame { action, body, responseid, tag };
            if let Ok(text) = serde_json::to_string(&frame) {
                // Whoever reads nothing misses the answer.
                let _ = session.mailbox.push(SessionMessage::Text(text.into()));
            }
        };
        room.executor.spawn(answering.boxed_local()).detach();
        Answer::none()
    }

    /// The local network; `None` in tests that have none.
    pub(super) fn lan(&self) -> Option<Rc<Lan>> {
        self.control.lan()
    }

    /// A cookie with `fields` that lives no longer than this session's account, and has the limits
    /// of the login token through which this session came.
    pub(super) fn seal(&self, fields: Value) -> Option<String> {
        let Value::Object(mut fields) = fields else { return None };
        if let Some(token) = &self.login.token {
            fields.insert("t".into(), (**token).into());
        }
        auth::seal(self.cookies(), fields, self.now())
    }

    /// Now, and not before this session last ended all others.
    pub(super) fn now(&self) -> Millis {
        self.hub().now().max(self.session.since.get())
    }

    /// Whether the session came by a login token.
    pub(super) fn is_by_token(&self) -> bool {
        self.login.token.is_some()
    }

    pub(super) fn gate(&self) -> &auth::Gate {
        &self.control.gate
    }

    pub(super) fn browser(&self) -> &Browser {
        &self.control.browser
    }

    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    /// The key of the links of device shares.
    pub(super) fn share_links(&self) -> &CookieKey {
        &self.control.keys.invitation
    }

    pub(super) fn control(&self) -> &Control {
        &self.control
    }

    /// Where the server lives; `None` in tests that need no place.
    pub(super) fn premises(&self) -> Option<Rc<Premises>> {
        self.control.premises()
    }

    pub(super) fn session(&self) -> &Rc<SessionLink> {
        &self.session
    }

    /// What this session remembers between requests.
    pub(super) fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    /// The address of a page of this server and tenant, as the client calls it:
    /// `https://name[:port]/[domain/]page`.
    pub(super) fn url(&self, page: &str) -> String {
        let (facts, config) = (self.facts(), self.hub().config());
        let domain = &self.user.id.domain;
        let own_name = config.domain(domain).dns.as_deref();
        let name = own_name.or(facts.name.as_deref()).unwrap_or(&self.login.host);
        let path = match own_name {
            None if !domain.is_default() => format!("{domain}/"),
            _ => String::new(),
        };
        format!("https://{name}:{}/{path}{page}", facts.port)
    }

    pub(super) fn relay(&self) -> &relay::Room {
        &self.control.relay
    }

    /// The client's address.
    pub(super) fn remote_ip(&self) -> IpAddr {
        self.login.remote.ip().to_canonical()
    }

    /// The client's address as text.
    pub(super) fn remote(&self) -> String {
        self.remote_ip().to_string()
    }

    /// Answers with `body` (a JSON object), echoing what the action echoes. Without a `responseid`
    /// an action that is answered by it stays silent.
    pub(super) fn reply(&self, body: impl Serialize) -> Answer<'static> {
        if self.action.echo == Echo::ResponseId && self.responseid().is_none() {
            return Answer::none();
        }
        self.answer(body)
    }

    /// Answers with a `body` that will take about `len` bytes: a long text that grows by doubling
    /// needs up to three times its memory for a moment.
    pub(super) fn reply_long(&self, body: impl Serialize, len: usize) -> Answer<'static> {
        let mut text = Vec::with_capacity(len);
        let (responseid, tag) = self.echoed();
        let frame = Frame { action: self.action.name, body, responseid, tag };
        let written = serde_json::to_writer(&mut text, &frame).is_ok();
        let frames = String::from_utf8(text).ok().filter(|_| written).into_iter().collect();
        Answer { frames, ..Answer::none() }
    }

    /// Like [`Self::reply`], but also without a `responseid`.
    pub(super) fn answer(&self, body: impl Serialize) -> Answer<'static> {
        let (responseid, tag) = self.echoed();
        self.frame(body, responseid, tag)
    }

    /// What of the request comes back with the answer.
    fn echoed(&self) -> (Option<&Value>, Option<&Value>) {
        match self.action.echo {
            Echo::Nothing => (None, None),
            Echo::Tag => (None, self.tag()),
            Echo::Both => (self.responseid(), self.tag()),
            Echo::ResponseId => (self.responseid(), None),
        }
    }

    /// Answers `result`, to requests with a `responseid` only.
    pub(super) fn result(&self, result: &str) -> Answer<'static> {
        match self.responseid() {
            Some(id) => self.frame(Outcome { result }, Some(id), None),
            None => Answer::none(),
        }
    }

    /// Answers `result` under the name of another action, to requests with a `responseid` only.
    pub(super) fn result_as(&self, action: &str, result: &str) -> Answer<'static> {
        match self.responseid() {
            Some(id) => frame(action, Outcome { result }, Some(id), None),
            None => Answer::none(),
        }
    }

    /// Answers with the request itself, to which `members` are added; those that are `null` are
    /// taken away.
    pub(super) fn echo(
        &self,
        members: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Answer<'static> {
        let mut fields = self.request.fields.clone();
        for (name, value) in members {
            match value {
                Value::Null => drop(fields.remove(name)),
                value => drop(fields.insert(name.to_owned(), value)),
            }
        }
        Answer { frames: vec![Value::Object(fields).to_string()], ..Answer::none() }
    }

    /// Answers `result` and `msgid`, to requests with a `responseid` only.
    pub(super) fn numbered_result(&self, result: &str, msgid: u32) -> Answer<'static> {
        match self.responseid() {
            Some(id) => self.frame(json!({"result": result, "msgid": msgid}), Some(id), None),
            None => Answer::none(),
        }
    }

    /// Answers `result`, `responseid` and `tag`, to requests with a `responseid` only.
    pub(super) fn routed(&self, result: &str) -> Answer<'static> {
        match self.responseid() {
            Some(id) => self.frame(Outcome { result }, Some(id), self.tag()),
            None => Answer::none(),
        }
    }

    /// A notice for the person at this session, beside the answer. The number is that of
    /// MeshCentral's translations.
    pub(super) fn notice(&self, text: &str, more: Value) -> Answer<'static> {
        let mut notice = notify::notice(text);
        notice.insert("userid".into(), self.user.id.to_string().into());
        notice.insert("username".into(), self.user.name.as_str().into());
        if let Value::Object(more) = more {
            notice.extend(more);
        }
        Answer { frames: vec![Value::Object(notice).to_string()], ..Answer::none() }
    }

    /// The notice that these names are nobody's.
    pub(super) fn nobody_called(&self, names: &[&str]) -> Answer<'static> {
        if names.is_empty() {
            return Answer::none();
        }
        let (plural, number) = if names.len() > 1 { ("s", 16) } else { ("", 15) };
        let names = names.join(", ");
        let more = json!({"title": "Device Group", "tag": "ServerNotify", "titleid": 5,
            "msgid": number, "args": [names]});
        self.notice(&format!("User{plural} {names} not found."), more)
    }

    /// Answers that there is nothing to tell about the device of the request.
    pub(super) fn no_info(&self, result: &str) -> Answer<'static> {
        let nodeid = self.full_node_id();
        self.frame(json!({"nodeid": nodeid, "noinfo": true, "result": result}), None, self.tag())
    }

    /// `nodeid` of the request, completed as MeshCentral does, also if it is no valid id.
    fn full_node_id(&self) -> Option<String> {
        let text = self.request.text_within("nodeid", 1, 1024)?;
        let short = !text.contains('/');
        Some(if short { format!("node/{}/{text}", self.user.id.domain) } else { text.to_owned() })
    }

    fn frame(
        &self,
        body: impl Serialize,
        responseid: Option<&Value>,
        tag: Option<&Value>,
    ) -> Answer<'static> {
        frame(self.action.name, body, responseid, tag)
    }

    pub(super) fn responseid(&self) -> Option<&Value> {
        self.request.get("responseid")
    }

    fn tag(&self) -> Option<&Value> {
        self.request.get("tag")
    }

    /// An event of this user's doing, without targets but the user.
    pub(super) fn event(&self, action: &'static str, kind: EventKind) -> Event {
        let event = Event::new(action, self.user.id.domain.clone()).kind(kind).actor(&self.user.id);
        // An account is shown as it was named; its id is in lower case.
        match self.user.name.as_str() {
            name if name == self.user.id.name() => event,
            name => event.with("username", name),
        }
    }

    /// An event of this user's doing about `device`, to all who may see it.
    pub(super) fn device_event(&self, action: &'static str, device: &Device) -> Event {
        let event = self.event(action, EventKind::Node).node(&device.id);
        self.hub().device_targets(device).into_iter().fold(event, Event::to)
    }

    /// An event of this user's doing about `group`, to all who may see it.
    pub(super) fn group_event(&self, action: &'static str, group: &Group) -> Event {
        let event = self.event(action, EventKind::Mesh).with("meshid", group.id.to_string());
        notify::group_targets(self.hub(), group).into_iter().fold(event, Event::to)
    }

    /// An event of this user's doing about the account `user`, to itself and to all who manage it.
    pub(super) fn account_event(&self, action: &'static str, user: &User) -> Event {
        let mut event = self.event(action, EventKind::User);
        event.domain = user.id.domain.clone();
        let targets = self.hub().account_targets(user).into_iter();
        targets.fold(event, Event::to).to(Target::User(user.id.clone()))
    }

    /// The event that the account is as `user` is now.
    pub(super) fn account_change(&self, user: &User) -> Event {
        self.account_event("accountchange", user).with("account", self.hub().account_document(user))
    }

    /// Stores a changed account and puts it into effect.
    pub(super) fn put_user(&self, user: User) -> Commit {
        let id = user.id.clone();
        let commit = self.hub().store.put(user);
        notify::account_changed(self.hub(), &id);
        commit
    }

    /// Stores a record.
    pub(super) fn put(&self, record: impl Into<Record>) -> Commit {
        self.hub().store.put(record)
    }

    /// Hands a JSON message to the agent of `device`. False if it is not connected or does not
    /// read what it is sent.
    pub(super) fn send_to_agent(&self, device: &Device, message: &Value) -> bool {
        self.command_agent(device, AgentCommand::Json(message.to_string().into()))
    }

    /// Hands a command to the agent of `device`. False if it is not connected or stuck.
    pub(super) fn command_agent(&self, device: &Device, command: AgentCommand) -> bool {
        self.hub().agent(&device.id).is_some_and(|agent| agent.mailbox.push(command).is_ok())
    }

    /// Writes one line to the journal: who did what, to what, from where.
    pub(super) fn audit(&self, what: std::fmt::Arguments<'_>) {
        // Names are people's texts: a line break in one must not forge a line of the journal.
        let what = what.to_string().replace(char::is_control, "?");
        info!("control: {} from {} {what}", self.user.id, self.remote());
    }

    pub(super) fn audit_refusal(&self) {
        info!(
            "control: {} from {} has no right to {}",
            self.user.id,
            self.remote(),
            self.action.name
        );
    }
}

fn frame(
    action: &str,
    body: impl Serialize,
    responseid: Option<&Value>,
    tag: Option<&Value>,
) -> Answer<'static> {
    let frame = Frame { action, body, responseid, tag };
    // Serializing into memory fails for keys that are no texts only; there are none.
    let frames = serde_json::to_string(&frame).into_iter().collect();
    Answer { frames, ..Answer::none() }
}
