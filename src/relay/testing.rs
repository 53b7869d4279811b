//! A small relay for tests: sockets in memory, one device with its agent, and people at the door.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use async_executor::LocalExecutor;
use async_net::unix::UnixStream;
use futures_lite::future::block_on;
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
use serde_json::{Value, json};

use super::Room;
use super::recording::Recordings;
use super::session::serve;
use super::visitor::{Viewer, Visitor};
use super::wire::{Pass, Speech};
use crate::config::{Config, Recording};
use crate::hub::testing::{World, commands, node_id, user_id};
use crate::hub::{AgentCommand, AgentLink};
use crate::identity::cookie::CookieKey;
use crate::model::{DomainId, Key48, LinkTarget, Rights, Seconds, Share, SiteRights};
use crate::ws::{Opcode, Socket, frame_header};

/// A relay with account `bob`, device 2 in group 1, and its agent.
pub(super) struct House {
    pub(super) world: World,
    pub(super) room: Rc<Room>,
    pub(super) agent: Rc<AgentLink>,
    pub(super) executor: Rc<LocalExecutor<'static>>,
    /// Connections served at the moment.
    pub(super) served: Rc<Cell<usize>>,
}

/// Somebody at the door: let in with a cookie of the world's key, or as the administrator.
pub(super) struct Knocking {
    pub(super) domain: DomainId,
    pub(super) query: String,
    pub(super) key: CookieKey,
    pub(super) now: Seconds,
    pub(super) is_admin: bool,
    pub(super) is_own_origin: bool,
}

impl Visitor for Knocking {
    fn domain(&self) -> &DomainId {
        &self.domain
    }

    fn remote(&self) -> SocketAddr {
        ([127, 0, 0, 1], 4000).into()
    }

    fn query(&self) -> &str {
        &self.query
    }

    fn is_own_origin(&self) -> bool {
        self.is_own_origin
    }

    fn has_credentials(&self) -> bool {
        self.is_admin || self.query.contains("&auth=") || self.query.starts_with("auth=")
    }

    async fn viewer(&self) -> Option<Viewer> {
        if self.is_admin {
            return Some(Viewer { user: user_id("admin"), cookie: serde_json::Map::new() });
        }
        let (_, cookie) = self.query.rsplit_once("auth=")?;
        self.viewer_by_cookie(cookie)
    }

    fn viewer_by_cookie(&self, cookie: &str) -> Option<Viewer> {
        let fields = self.key.open(cookie, self.now, Duration::from_secs(60)).ok()?;
        let user = fields.get("userid")?.as_str()?.parse().ok()?;
        Some(Viewer { user, cookie: fields })
    }
}

/// The peer of a served connection.
pub(super) struct Peer {
    pub(super) stream: UnixStream,
}

impl House {
    pub(super) fn new(rights: Rights) -> Self {
        Self::with(Config::default(), rights)
    }

    pub(super) fn with(config: Config, rights: Rights) -> Self {
        let world = World::with(config);
        let group = world.group(1, "lab");
        let agent = world.device(2, &group, "vm");
        for name in ["bob", "eve"] {
            world.user(name, SiteRights::empty());
        }
        world.set_link("bob", LinkTarget::Group(group), Some(rights));
        let executor = Rc::<LocalExecutor<'_>>::default();
        let (hub, key) = (world.hub.clone(), world.key.clone());
        let room = Room::new(hub, key, Key48([7; 48]), executor.clone());
        Self { world, room, agent, executor, served: Rc::default() }
    }

    /// Runs `story` while connections are served.
    pub(super) fn tell(&self, story: impl AsyncFnOnce()) {
        block_on(self.executor.run(async {
            story().await;
        }));
    }

    /// A connection with this query, served as the server does.
    pub(super) fn connect(&self, query: &str) -> Peer {
        self.knock(query, |_| {})
    }

    pub(super) fn knock(&self, query: &str, how: impl FnOnce(&mut Knocking)) -> Peer {
        let (here, there) = UnixStream::pair().unwrap();
        let mut knocking = Knocking {
            domain: self.world.domain(),
            query: query.to_owned(),
            key: self.world.key.clone(),
            now: self.world.hub.now().seconds(),
            is_admin: false,
            is_own_origin: true,
        };
        how(&mut knocking);
        let (room, served) = (self.room.clone(), self.served.clone());
        served.set(served.get() + 1);
        self.executor
            .spawn(async move {
                let socket = Socket::new(Box::new(there), &[], 1000);
                serve(&room, socket, &knocking, ()).await;
                served.set(served.get() - 1);
            })
            .detach();
        Peer { stream: here }
    }

    pub(super) fn seal(&self, fields: Value) -> String {
        let Value::Object(fields) = fields else { panic!("an object") };
        self.world.key.seal(fields, self.world.hub.now().seconds()).unwrap()
    }

    pub(super) fn auth(&self, name: &str) -> String {
        self.seal(json!({"userid": format!("user//{name}"), "domainid": ""}))
    }

    pub(super) fn pass(&self, name: &str, id: &str, speech: Speech) -> String {
        let (user, node) = (user_id(name), node_id(2));
        let pass = Pass { user, node, id: id.into(), protocol: 1, speech, share: None };
        pass.seal(&self.world.key, self.world.hub.now().seconds()).unwrap()
    }

    /// Both ends of a session of bob, past the `c`.
    pub(super) async fn session(&self, id: &str) -> (Peer, Peer) {
        self.tunnel(id, Speech::Session).await
    }

    pub(super) async fn tunnel(&self, id: &str, speech: Speech) -> (Peer, Peer) {
        let mut viewer = self.connect(&format!("p=1&id={id}&auth={}", self.auth("bob")));
        let mut agent =
            self.connect(&format!("p=1&id={id}&rauth={}", self.pass("bob", id, speech)));
        viewer.expect(Opcode::Text, b"c").await;
        agent.expect(Opcode::Text, b"c").await;
        (viewer, agent)
    }

    pub(super) fn bob_may(&self, rights: Rights) {
        let group = self.world.hub.store.device(&node_id(2)).unwrap().group.clone();
        self.world.set_link("bob", LinkTarget::Group(group), Some(rights));
    }

    /// Waits until nobody is served, and nothing is left.
    pub(super) async fn is_empty(&self) {
        while self.served.get() > 0 {
            futures_lite::future::yield_now().await;
        }
        assert!(self.room.is_empty(), "the table");
        assert!(self.world.hub.tunnels.is_empty(), "the list");
    }
}

impl House {
    /// Waits until nobody is served and no task is left of those who were.
    pub(super) async fn nothing_is_left(&self) {
        self.is_empty().await;
        while !self.executor.is_empty() {
            futures_lite::future::yield_now().await;
        }
        assert_eq!(self.room.desks.len(), 0, "desks");
        assert!(self.agent.sessions.borrow().is_empty(), "sessions on the device");
    }
}

impl Peer {
    pub(super) async fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = frame_header(opcode, payload.len() as u64).to_vec();
        frame[1] |= 0x80;
        frame.extend([0; 4]);
        frame.extend(payload);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next frame; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length).await.ok()?;
                usize::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length).await.ok()?;
                u64::from_be_bytes(length) as usize
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((head[0], payload))
    }

    pub(super) async fn expect(&mut self, opcode: Opcode, payload: &[u8]) {
        assert_eq!(self.next().await, Some((0x80 | opcode as u8, payload.to_vec())));
    }

    /// The connection is closed without a word.
    pub(super) async fn is_closed(&mut self) {
        assert_eq!(self.next().await, Some((0x88, vec![])), "an empty close frame");
        assert_eq!(self.next().await, None);
    }
}

/// The agent's value in the command it got.
pub(super) fn called(house: &House) -> (Value, String) {
    let mut sent = commands(&house.agent);
    let Some(AgentCommand::Json(text)) = sent.pop() else { panic!("a command") };
    assert!(sent.is_empty());
    let command: Value = serde_json::from_str(&text).unwrap();
    let value = command["value"].as_str().unwrap();
    let query = value.strip_prefix("*/meshrelay.ashx?").unwrap().to_owned();
    // As the agent escapes it.
    (command, query.replace('$', "%24").replace('@', "%40"))
}

/// A house that records, and where.
pub(super) fn recording_house(recording: Recording) -> (House, tempfile::TempDir) {
    let mut config = Config::default();
    config.domains.entry(DomainId::default()).or_default().recording = Some(recording);
    let house = House::with(config, Rights::FULL);
    let data = tempfile::tempdir().unwrap();
    let recordings = Recordings::new(house.world.hub.clone(), data.path());
    house.room.set_recordings(recordings);
    (house, data)
}

impl House {
    /// A share of bob's of that device, and the cookie of its guest.
    pub(super) fn share(&self, change: impl FnOnce(&mut Share)) -> String {
        let mut share = Share {
            public_id: "abcdefghijkl".into(),
            node: node_id(2),
            user: user_id("bob"),
            guest_name: "Gus".into(),
            protocols: 2,
            consent: 8,
            port: None,
            url: String::new(),
            start: None,
            expires: None,
            duration: None,
            recurring: None,
            view_only: true,
        };
        change(&mut share);
        self.world.hub.store.put(share).later();
        self.seal(json!({"userid": "user//bob", "domainid": "", "pid": "abcdefghijkl",
            "nid": node_id(2).to_string(), "p": 7, "r": 8, "cf": 0, "gn": "Gus", "vo": false}))
    }
}
