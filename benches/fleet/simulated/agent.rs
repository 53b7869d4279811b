//! The agent's side of the MeshAgent protocol without a socket or a clock: messages in, messages
//! and events out.
//!
//! Modelled on the observed behaviour of the stock Linux agent: full authentication on first
//! contact or after the web certificate changed, the fast path otherwise, a core that is kept
//! over restarts and starts only once the server said it is current.

use std::collections::VecDeque;
use std::io::Read;
use std::rc::Rc;

use serde_json::{Value, json};

use super::identity::{Identity, public_key_bits, sha384, verifies};

/// Commands of the binary protocol, big-endian `u16` at the start of a message.
mod command {
    pub const AUTH_REQUEST: u16 = 1;
    pub const AUTH_VERIFY: u16 = 2;
    pub const AUTH_INFO: u16 = 3;
    pub const AUTH_CONFIRM: u16 = 4;
    pub const SERVER_ID: u16 = 5;
    pub const CORE_MODULE: u16 = 10;
    pub const CORE_MODULE_HASH: u16 = 11;
    pub const AGENT_HASH: u16 = 12;
    pub const AGENT_TAG: u16 = 15;
    pub const CORE_OK: u16 = 16;
    pub const COMPRESSED_CORE_MODULE: u16 = 20;
    pub const COMMIT_DATE: u16 = 30;
    pub const HOST_INFO: u16 = 31;
}

/// Console, JavaScript core and compression: what the stock Linux agent announces.
const CAPABILITIES: u32 = 0x118;
/// Linux x86-64.
const AGENT_ID: u32 = 6;
const COMMIT_DATE: &[u8] = b"2022-Nov-2 23:01:45-0700\0";
const HOST_INFO: &[u8] = b"Simulated GNU/Linux 1 (fleet) - x64";
/// Largest core this agent inflates.
const CORE_LIMIT: u64 = 8 << 20;

/// What a `.msh` file tells an agent: where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// `MeshID`.
    pub mesh: [u8; 48],
    /// `ServerID`.
    pub server: [u8; 48],
}

/// What an agent keeps over a restart (`meshagent.db`, without the key).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// SHA-384 of the last web certificate it trusted.
    pub trusted_tls: Option<[u8; 48]>,
    /// SHA-384 of the core it has stored.
    pub core: Option<[u8; 48]>,
}

/// How much an agent says once its core runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// `coreinfo`, `sessions`, `netinfo`, and the answers of a stock core.
    Talkative,
    /// Only answers: authentication alone can be measured.
    Quiet,
}

/// A message to the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Binary protocol.
    Binary(Vec<u8>),
    /// JSON.
    Text(String),
}

/// What happened to the agent.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The server proved its identity and confirmed ours; `fast` if it did not have to sign.
    Authenticated {
        /// The fast path was taken.
        fast: bool,
    },
    /// A core was stored.
    CoreReceived {
        /// It came deflated.
        compressed: bool,
        /// Length of the image, with its four leading zero bytes.
        length: usize,
    },
    /// The core was deleted on the server's demand.
    CoreCleared,
    /// The server said that the core is current (CoreOk); it runs from here on.
    CoreRuns,
    /// JSON from the server.
    Json(Value),
    /// The server called the core current although there is none: it has no package installed.
    CoreMissing,
    /// The server broke the protocol; a stock agent would stay connected and silent.
    Refused(&'static str),
}

/// One simulated agent on one connection.
pub struct Agent {
    identity: Rc<Identity>,
    group: Group,
    memory: Memory,
    mood: Mood,
    name: String,
    tls: [u8; 48],
    nonce: [u8; 48],
    fast: bool,
    server_proven: bool,
    confirmed: bool,
    authenticated: bool,
    running: bool,
    echo: Option<([u8; 48], [u8; 48])>,
    outputs: VecDeque<Output>,
    events: VecDeque<Event>,
}

impl Agent {
    /// An agent that just saw the web certificate with the SHA-384 `tls`; its first messages are
    /// ready in [`poll_output`](Self::poll_output).
    pub fn new(
        identity: Rc<Identity>,
        group: Group,
        memory: Memory,
        mood: Mood,
        tls: [u8; 48],
    ) -> Self {
        let fast = memory.trusted_tls == Some(tls);
        let name = format!("sim-{}", identity.short_name());
        let mut agent = Self {
            identity,
            group,
            memory,
            mood,
            name,
            tls,
            nonce: super::identity::random(),
            fast,
            server_proven: fast,
            confirmed: false,
            authenticated: false,
            running: false,
            echo: None,
            outputs: VecDeque::new(),
            events: VecDeque::new(),
        };
        agent.open();
        agent
    }

    /// The next message to send.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What the agent would find again after a restart.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes one message of the server, binary or JSON.
    pub fn receive(&mut self, message: &[u8]) {
        if message.first() == Some(&b'{') {
            return self.receive_json(message);
        }
        let Some((number, body)) = message.split_first_chunk::<2>() else { return };
        match u16::from_be_bytes(*number) {
            command::AUTH_REQUEST => self.on_auth_request(body),
            command::AUTH_VERIFY => self.on_auth_verify(body),
            command::AUTH_CONFIRM => {
                self.confirmed = true;
                self.settle();
            }
            command::CORE_MODULE => self.on_core(body, false),
            command::COMPRESSED_CORE_MODULE => self.on_core(body, true),
            command::CORE_MODULE_HASH => self.answer_core_hash(body.get(..2).unwrap_or(&[0, 0])),
            // All zero: updates are disabled in this agent.
            command::AGENT_HASH => {
                let reqid = body.get(..2).unwrap_or(&[0, 0]).to_vec();
                self.send(command::AGENT_HASH, &[&reqid, &[0; 48]]);
            }
            command::CORE_OK => self.start_core(),
            _ => {}
        }
    }

    /// Sends JSON as the core would.
    pub fn say(&mut self, message: &Value) {
        self.outputs.push_back(Output::Text(message.to_string()));
    }

    /// What a core reports right after its start.
    pub fn introduce_core(&mut self) {
        self.say(&json!({
            "action": "coreinfo", "caps": 15, "osdesc": "Simulated GNU/Linux 1 (fleet)",
            "root": true, "value": "Nov 21 2022, 2189501291",
        }));
        self.say(&json!({ "action": "sessions", "type": "app", "value": {} }));
        self.say(&json!({ "action": "netinfo", "netif2": {
            "lo": [
                { "mac": "00:00:00:00:00:00", "type": "ethernet", "status": "up",
                  "address": "127.0.0.1", "family": "IPv4", "netmask": "255.0.0.0" },
                { "mac": "00:00:00:00:00:00", "type": "ethernet", "status": "up",
                  "address": "::1", "family": "IPv6",
                  "netmask": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
            ],
            "eth0.100": [
                { "mac": "02:00:00:00:00:01", "type": "ethernet", "status": "up",
                  "address": "192.0.2.17", "family": "IPv4", "netmask": "255.255.255.0",
                  "gateway": "192.0.2.1" },
            ],
        } }));
    }

    fn open(&mut self) {
        self.send(command::COMMIT_DATE, &[COMMIT_DATE]);
        self.send(command::HOST_INFO, &[HOST_INFO]);
        self.send(command::SERVER_ID, &[&self.group.server.clone()]);
        if self.fast {
            self.send(command::AUTH_CONFIRM, &[]);
        }
        self.send(command::AUTH_REQUEST, &[&self.tls.clone(), &self.nonce.clone()]);
        if self.fast {
            self.send_auth_info();
        }
    }

    fn send(&mut self, number: u16, parts: &[&[u8]]) {
        let mut message = number.to_be_bytes().to_vec();
        parts.iter().for_each(|part| message.extend_from_slice(part));
        self.outputs.push_back(Output::Binary(message));
    }

    fn send_auth_info(&mut self) {
        let name = self.name.clone().into_bytes();
        let length = u16::try_from(name.len()).unwrap_or(0).to_be_bytes();
        let platform = 8_u32; // virtual machine
        let mesh = self.group.mesh;
        self.send(
            command::AUTH_INFO,
            &[
                &1_u32.to_be_bytes(),
                &AGENT_ID.to_be_bytes(),
                &0_u32.to_be_bytes(),
                &platform.to_be_bytes(),
                &mesh,
                &CAPABILITIES.to_be_bytes(),
                &length,
                &name,
            ],
        );
    }

    /// The server's challenge: sign the hash it echoed, its nonce and ours.
    fn on_auth_request(&mut self, body: &[u8]) {
        let Some((echo, nonce)) = halves(body) else { return };
        if self.echo.is_some() {
            return;
        }
        if echo != self.tls {
            return self.refuse("the server echoed another certificate hash than ours");
        }
        self.echo = Some((echo, nonce));
        let signature = self.identity.sign(&[&echo, &nonce, &self.nonce]);
        let identity = Rc::clone(&self.identity);
        let length = u16::try_from(identity.certificate().len()).unwrap_or(0).to_be_bytes();
        self.send(command::AUTH_VERIFY, &[&length, identity.certificate(), &signature]);
    }

    /// The server's proof: a signature over the web certificate we saw, our nonce and its own,
    /// by the key the `.msh` file names.
    fn on_auth_verify(&mut self, body: &[u8]) {
        let Some((_, nonce)) = self.echo else {
            return self.refuse("AuthVerify before AuthRequest");
        };
        let Some((length, rest)) = body.split_first_chunk::<2>() else {
            return self.refuse("AuthVerify is too short");
        };
        let Some((certificate, signature)) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        else {
            return self.refuse("AuthVerify is shorter than its certificate");
        };
        let Some(key) = public_key_bits(certificate) else {
            return self.refuse("the server's certificate cannot be read");
        };
        if sha384(&[&key]) != self.group.server {
            return self.refuse("the server's key is not the one of the .msh file");
        }
        if !verifies(&key, &[&self.tls, &self.nonce, &nonce], signature) {
            return self.refuse("the server's signature is wrong");
        }
        self.server_proven = true;
        self.send_auth_info();
        self.settle();
    }

    /// Both sides are satisfied: remember the web certificate.
    fn settle(&mut self) {
        if !(self.server_proven && self.confirmed) || self.authenticated {
            return;
        }
        self.authenticated = true;
        self.memory.trusted_tls = Some(self.tls);
        self.events.push_back(Event::Authenticated { fast: self.fast });
        self.send(command::AGENT_TAG, &[]);
    }

    fn on_core(&mut self, body: &[u8], compressed: bool) {
        if !self.authenticated {
            return self.refuse("a core before authentication");
        }
        let Some((reqid, rest)) = body.split_first_chunk::<2>() else { return };
        let Some((hash, image)) = rest.split_first_chunk::<48>() else {
            self.memory.core = None;
            self.running = false;
            self.events.push_back(Event::CoreCleared);
            return self.answer_core_hash(reqid);
        };
        let mut inflated = Vec::new();
        let image = if compressed {
            let inflater = flate2::read::DeflateDecoder::new(image);
            if inflater.take(CORE_LIMIT).read_to_end(&mut inflated).is_err() {
                inflated.clear();
            }
            &inflated
        } else {
            image
        };
        if sha384(&[image]) != *hash {
            self.memory.core = None;
            self.running = false;
            self.refuse("a core that does not match its hash");
            return self.answer_core_hash(reqid);
        }
        // A core that is already there is only acknowledged; it starts with CoreOk.
        let new = self.memory.core != Some(*hash);
        self.memory.core = Some(*hash);
        self.events.push_back(Event::CoreReceived { compressed, length: image.len() });
        self.answer_core_hash(reqid);
        if new {
            self.start_engine();
        }
    }

    fn answer_core_hash(&mut self, reqid: &[u8]) {
        let reqid = reqid.to_vec();
        match self.memory.core {
            Some(hash) => self.send(command::CORE_MODULE_HASH, &[&reqid, &hash]),
            None => self.send(command::CORE_MODULE_HASH, &[&reqid]),
        }
    }

    fn start_core(&mut self) {
        if self.memory.core.is_none() {
            return self.events.push_back(Event::CoreMissing);
        }
        self.events.push_back(Event::CoreRuns);
        self.start_engine();
    }

    fn start_engine(&mut self) {
        if !self.running {
            self.running = true;
            if self.mood == Mood::Talkative {
                self.introduce_core();
            }
        }
    }

    /// JSON is answered by the core, so an agent without one is deaf.
    fn receive_json(&mut self, message: &[u8]) {
        let Ok(value) = serde_json::from_slice::<Value>(message) else {
            return self.refuse("malformed JSON");
        };
        if self.running {
            self.answer_json(&value);
        }
        self.events.push_back(Event::Json(value));
    }

    fn answer_json(&mut self, request: &Value) {
        match request["action"].as_str().unwrap_or_default() {
            "ping" => self.say(&json!({ "action": "pong" })),
            "sysinfo" if self.mood == Mood::Talkative => self.say_sysinfo(request),
            "runcommands" => {
                let result = format!("ran: {}\n", request["cmds"].as_str().unwrap_or_default());
                let mut reply = json!({ "action": "msg", "type": "runcommands", "result": result });
                for field in ["responseid", "sessionid"] {
                    if let Some(value) = request.get(field) {
                        reply[field] = value.clone();
                    }
                }
                if request["reply"] == Value::Bool(true) {
                    self.say(&reply);
                }
            }
            "msg" if request["type"] == "console" && request["rights"].is_u64() => {
                let value = format!("did: {}", request["value"].as_str().unwrap_or_default());
                self.say(&json!({
                    "action": "msg", "type": "console", "value": value,
                    "sessionid": request["sessionid"],
                }));
            }
            _ => {}
        }
    }

    /// The inventory, unless the server already has it.
    fn say_sysinfo(&mut self, request: &Value) {
        const HASH: &str = "5a1e0000000000000000000000000000";
        if request["hash"] != HASH {
            self.say(&json!({ "action": "sysinfo", "data": {
                "hash": HASH,
                "hardware": {
                    "identifiers": { "bios_vendor": "Fleet", "board_name": "simulated" },
                    "linux": { "memory": {} },
                },
            } }));
        }
    }

    fn refuse(&mut self, why: &'static str) {
        self.events.push_back(Event::Refused(why));
    }
}

fn halves(body: &[u8]) -> Option<([u8; 48], [u8; 48])> {
    let (first, rest) = body.split_first_chunk::<48>()?;
    Some((*first, rest.try_into().ok()?))
}
