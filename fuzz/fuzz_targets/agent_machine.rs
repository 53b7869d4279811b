//! Any messages from an agent that has proven who it is: reports, cores, updates.
//!
//! Input: messages, each behind a big-endian `u24` of its length. Before them goes a captured
//! authentication, with the nonce of the capture.

#![no_main]

use std::rc::Rc;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use meshboard::agent::auth::Handshake;
use meshboard::agent::machine::{Agent, Effect};
use meshboard::agent::room::Room;
use meshboard::config::Config;
use meshboard::hub::Hub;
use meshboard::identity::{Names, load_or_make_web, tls::WebTls};
use meshboard::model::{DomainId, Group, GroupId, GroupKind, Key48, Millis};
use meshboard::store::Store;
use serde_json::Value;

const CAPTURE: &str = include_str!("../../tests/vectors/agent-auth-full-vs-meshcentral.json");

struct Scene {
    hub: Rc<Hub>,
    tls: Arc<WebTls>,
    server: Key48,
    nonce: [u8; 48],
    messages: Vec<Vec<u8>>,
}

thread_local! {
    static SCENE: Scene = Scene::new();
}

fn hex(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

impl Scene {
    fn new() -> Self {
        let v: Value = serde_json::from_str(CAPTURE).unwrap();
        let mut config = Config::default();
        let web = Key48::from_prefix(&hex(&v["webTlsCertSha384"])).unwrap();
        let domain = config.domains.get_mut(&DomainId::default()).unwrap();
        domain.accepted_tls_hashes.push(web);
        let hub = Hub::new(Store::in_memory(), config, Millis(0));
        let key = Key48::parse(v["authInfoParsed"]["meshIdText"].as_str().unwrap()).unwrap();
        let id = GroupId::new(DomainId::default(), key);
        hub.store.put(Group::new(id, "lab", GroupKind::Agent, Millis(0))).later();
        let folder = tempfile::tempdir().unwrap();
        let names = Names { server: "fuzz".into(), others: vec![] };
        let tls = WebTls::new(load_or_make_web(folder.path(), &names).unwrap());
        let messages = v["messages"].as_array().unwrap().iter();
        Self {
            hub,
            tls,
            server: Key48::from_prefix(&hex(&v["serverId_sha384_of_pkcs1_pubkey"])).unwrap(),
            nonce: hex(&v["serverNonce"]).try_into().unwrap(),
            messages: messages
                .filter(|m| m["from"] == "agent" && m["hex"].is_string())
                .map(|m| hex(&m["hex"]))
                .collect(),
        }
    }

    /// An agent that is in. Its room is new: in an old one it would be held for flapping.
    fn agent(&self) -> Agent {
        let room = Room::new(self.hub.clone(), self.tls.clone());
        let handshake = Handshake::new(self.server, self.nonce);
        let remote = "192.0.2.1:4711".parse().unwrap();
        let mut agent = Agent::new(room, DomainId::default(), remote, handshake);
        self.messages.iter().for_each(|message| agent.receive(message));
        let mut admitted = false;
        while let Some(effect) = agent.next_effect() {
            admitted |= matches!(effect, Effect::Admitted(_));
        }
        assert!(admitted);
        agent
    }
}

fuzz_target!(|input: &[u8]| {
    SCENE.with(|scene| {
        let mut agent = scene.agent();
        let mut rest = input;
        while let Some((&[a, b, c], tail)) = rest.split_first_chunk::<3>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let (message, next) = tail.split_at(length.min(tail.len()));
            rest = next;
            agent.receive(message);
            while let Some(effect) = agent.next_effect() {
                assert!(!matches!(effect, Effect::Close), "no message ends a connection");
            }
        }
    });
});
