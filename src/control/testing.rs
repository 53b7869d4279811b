//! A small world for the tests of this room: that of the hub, with sessions.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::LazyLock;

use futures_lite::future::{block_on, poll_fn, poll_once};
use serde_json::Value;

use crate::config::Config;
use crate::hub::SessionMessage;
use crate::hub::testing::{self, user_id};
use crate::identity::cookie::{CookieKey, INVITATION_KEY};
use crate::identity::password::Passwords;
use crate::model::{
    DomainId, Key48, LinkTarget, Rights, Secret, User, UserGroup, UserGroupId, UserId,
};
use crate::relay;

use super::auth::{Login, Method, Refusal, Upgrade};
use super::session::{Outcome, Session};
use super::{Control, CookieKeys, ServerFacts};

pub(super) use testing::{commands, group_id, node_id};

/// `x-meshauth` of the full administrator.
pub(super) const ADMIN_AUTH: &str = "YWRtaW4=,QWRtMW4hcGFzcw==";

pub(super) static DOMAIN: LazyLock<DomainId> = LazyLock::new(DomainId::default);

/// An upgrade from 127.0.0.1 with that header.
pub(super) fn upgrade(meshauth: Option<&str>) -> Upgrade<'_> {
    Upgrade {
        domain: &DOMAIN,
        remote: "127.0.0.1:4000".parse().unwrap(),
        scheme: "https",
        host: Some("127.0.0.1:15443"),
        origin: None,
        query: "",
        meshauth,
        cookies: None,
        agent: None,
    }
}

/// A server in memory.
pub(super) struct World {
    world: testing::World,
    pub(super) control: Rc<Control>,
}

impl Deref for World {
    type Target = testing::World;

    fn deref(&self) -> &testing::World {
        &self.world
    }
}

/// The journal of this thread, instead of stderr.
struct Journal;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl log::Log for Journal {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// The lines written to the journal on this thread since it was last asked.
pub(super) fn journal() -> Vec<String> {
    LINES.take()
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        if log::set_logger(&Journal).is_ok() {
            log::set_max_level(log::LevelFilter::Info);
        }
        let world = testing::World::with(config);
        let key = |bytes: std::ops::Range<u8>| {
            let secret = Secret { name: INVITATION_KEY.into(), bytes: bytes.collect() };
            CookieKey::new(&secret).unwrap()
        };
        let (invitation, steps) = (key(80..160), key(160..240));
        let facts = ServerFacts {
            name: None,
            port: 15443,
            redirect_port: 0,
            mps_port: 0,
            mps_name: None,
            root: None,
            tls_hash: Key48([7; 48]),
            agent_cert_hash: Key48([8; 48]),
            cert_expires: Some(2_524_521_600_000),
            proof: None,
        };
        let (hub, key, passwords) = (world.hub.clone(), world.key.clone(), Passwords::default());
        let relay = relay::Room::new(hub.clone(), key.clone(), facts.tls_hash, Rc::default());
        let keys = CookieKeys { login: key, invitation, steps };
        let control = Control::new(hub, passwords, keys, relay, facts);
        Self { world, control }
    }

    /// Gives an account a right.
    pub(super) fn link(&self, name: &str, target: LinkTarget, rights: Rights) {
        self.set_link(name, target, Some(rights));
        super::notify::account_changed(&self.hub, &user_id(name));
    }

    /// A user group without rights.
    pub(super) fn user_group(&self, n: u8, name: &str) -> UserGroupId {
        let id = UserGroupId::new(self.domain(), Key48([n; 48]));
        let (name, desc) = (name.to_owned(), String::new());
        let group =
            UserGroup { id: id.clone(), name, desc, links: Vec::new(), consent: 0, flags: 0 };
        self.hub.store.put(group).later();
        id
    }

    /// An account as it is now.
    pub(super) fn account(&self, name: &str) -> Rc<User> {
        self.hub.store.user(&user_id(name)).unwrap()
    }

    /// Lets a client in whose upgrade says this.
    pub(super) fn enter(&self, upgrade: &Upgrade<'_>) -> Result<Session, Refusal> {
        let login = block_on(self.control.gate.admit(upgrade))?;
        let session = Session::open(&self.control, login).unwrap();
        heard(&session);
        Ok(session)
    }

    /// Logs an account in.
    pub(super) fn session(&self, name: &str) -> Session {
        self.session_of(user_id(name))
    }

    /// Logs an account of any domain in.
    pub(super) fn session_of(&self, user: UserId) -> Session {
        let remote: SocketAddr = "127.0.0.1:4001".parse().unwrap();
        let (token, at) = (None, self.hub.now());
        let host = "127.0.0.1".into();
        let login = Login { user, remote, method: Method::Password, token, at, host, origin: None };
        let session = Session::open(&self.control, login).unwrap();
        heard(&session);
        session
    }
}

/// Asks, and returns the answers.
pub(super) fn ask(session: &Session, request: &Value) -> Vec<Value> {
    texts(block_on(session.request(request.to_string().as_bytes())))
}

/// Everything the hub has put into the session's mailbox, as the client would see it.
pub(super) fn heard(session: &Session) -> Vec<Value> {
    let mailbox = &session.link().mailbox;
    let mut all = Vec::new();
    while let Some(Some(message)) = block_on(poll_once(poll_fn(|cx| mailbox.poll_next(cx)))) {
        let is_stop = matches!(message, SessionMessage::Stop(_));
        all.extend(texts(session.receive(message)));
        if is_stop {
            break;
        }
    }
    all
}

pub(super) fn texts(outcome: Outcome) -> Vec<Value> {
    outcome.texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}
