//! Mutual authentication of agent and server, without a socket.
//!
//! Full path: both sign. Fast path: the agent says (AuthConfirm) that it knows this TLS
//! certificate and spares the server its RSA signature. Either way the agent signs, and
//! the agent's commands come in any order; each counts once. Nothing is ever refused in words: a
//! [`Step::Refuse`] means the connection is held and nothing more is said.

use crate::identity::certificate::{rsa_public_key, sha384, verify_rsa};
use crate::model::{Key48, text::clamp};

use super::wire::{self, AuthInfo, Command};

/// Three values of 48 bytes, concatenated: what either side signs.
pub type Signed = [u8; 144];

/// Why an agent is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It saw a TLS certificate that is not ours, with this hash.
    WebHash(Key48),
    /// Its certificate is not an RSA certificate.
    Certificate,
    /// Its signature does not fit its certificate and our nonce.
    Signature,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this binary message.
    Send(Vec<u8>),
    /// Sign this with the agent-server key and send an AuthVerify.
    Sign(Box<Signed>),
    /// Both sides are proven.
    Authenticated(Box<Identified>),
    /// Say no more.
    Refuse(Refusal),
    /// It expects another server, whose id this is. It will find out by itself and tell the person
    /// at its console, so it is told what any agent is told.
    ExpectsAnother(Key48),
}

/// An agent that has proven who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// Hash of its public key.
    pub key: Key48,
    /// Kind of agent.
    pub agent_id: u32,
    /// Version of the binary.
    pub version: u32,
    /// Platform type, 1 to 8.
    pub platform: u8,
    /// The group it wants.
    pub group: Key48,
    /// Capability bits.
    pub caps: u32,
    /// Host name, clamped to 255 characters.
    pub host_name: String,
    /// Name given by `agentName` in its settings, clamped to 255 characters.
    pub agent_name: Option<String>,
    /// Build date of the binary, clamped.
    pub commit_date: Option<String>,
}

/// The state of one authentication. About 400 bytes, plus what an agent has sent out of order.
pub struct Handshake {
    server_id: Key48,
    server_nonce: [u8; 48],
    request: Option<(Key48, [u8; 48])>,
    /// AuthVerify that came before AuthRequest.
    early_verify: Option<(Vec<u8>, Vec<u8>)>,
    verified: Option<Key48>,
    confirmed: bool,
    info: Option<Identified>,
    agent_name: Option<String>,
    commit_date: Option<String>,
    done: bool,
}

impl Handshake {
    /// A handshake of the server with identity `server_id`; `nonce` is fresh random.
    pub fn new(server_id: Key48, nonce: [u8; 48]) -> Self {
        Self {
            server_id,
            server_nonce: nonce,
            request: None,
            early_verify: None,
            verified: None,
            confirmed: false,
            info: None,
            agent_name: None,
            commit_date: None,
            done: false,
        }
    }

    /// Takes a command. `full_hash` tells, for the hash an agent sends, the full hash of the TLS
    /// certificate meant, or `None` if it is not acceptable.
    pub fn receive(
        &mut self,
        command: Command<'_>,
        full_hash: impl FnOnce(Key48) -> Option<Key48>,
    ) -> Vec<Step> {
        if self.done {
            return Vec::new();
        }
        match command {
            Command::AuthRequest { hash, nonce } if self.request.is_none() => {
                let Some(full) = full_hash(hash) else {
                    return self.refuse(Refusal::WebHash(hash));
                };
                self.request = Some((hash, nonce));
                let mut steps = vec![Step::Send(wire::auth_request(hash, &self.server_nonce))];
                if !self.confirmed {
                    steps.push(Step::Sign(Box::new(join(&full.0, &nonce, &self.server_nonce))));
                }
                if let Some((cert, signature)) = self.early_verify.take() {
                    steps.extend(self.verify(&cert, &signature));
                }
                steps
            }
            Command::AuthVerify { cert, signature } if self.verified.is_none() => {
                if self.request.is_none() {
                    // Bounded by the message limit before authentication; only the first counts.
                    self.early_verify.get_or_insert_with(|| (cert.to_vec(), signature.to_vec()));
                    return Vec::new();
                }
                self.verify(cert, signature)
            }
            Command::AuthInfo(info) if self.info.is_none() => {
                self.info = Some(identified(&info));
                self.finish()
            }
            Command::AuthConfirm => {
                // Counts only if it comes first; later the signature is on its way already.
                self.confirmed = true;
                Vec::new()
            }
            Command::ServerId(id) => {
                if id == self.server_id || is_sha256_id(id) {
                    return Vec::new();
                }
                vec![Step::ExpectsAnother(id)]
            }
            Command::CommitDate(date) => {
                self.commit_date = Some(clamp(date, 64));
                Vec::new()
            }
            Command::Json(json) => {
                if let Some(name) = agent_name(json) {
                    self.agent_name = Some(name);
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn verify(&mut self, cert: &[u8], signature: &[u8]) -> Vec<Step> {
        let Some((hash, agent_nonce)) = &self.request else { return Vec::new() };
        let Some(public_key) = rsa_public_key(cert) else {
            return self.refuse(Refusal::Certificate);
        };
        let signed = join(&hash.0, &self.server_nonce, agent_nonce);
        if !verify_rsa(&public_key, &signed, signature) {
            return self.refuse(Refusal::Signature);
        }
        self.verified = Some(sha384(&public_key));
        self.finish()
    }

    fn finish(&mut self) -> Vec<Step> {
        let (Some(key), Some(_)) = (self.verified, &self.info) else { return Vec::new() };
        let Some(mut info) = self.info.take() else { return Vec::new() };
        self.done = true;
        info.key = key;
        info.agent_name = self.agent_name.take().filter(|n| !n.is_empty());
        info.commit_date = self.commit_date.take();
        vec![Step::Authenticated(Box::new(info))]
    }

    fn refuse(&mut self, why: Refusal) -> Vec<Step> {
        self.done = true;
        vec![Step::Refuse(why)]
    }
}

/// Old `.mshx` files pin the SHA-256 of the key: 32 bytes, then zeros. Such an agent checks our
/// signature itself.
fn is_sha256_id(id: Key48) -> bool {
    let (head, tail) = id.0.split_at(32);
    tail.iter().all(|b| *b == 0) && head.iter().any(|b| *b != 0)
}

fn join(a: &[u8; 48], b: &[u8; 48], c: &[u8; 48]) -> Signed {
    let mut all = [0; 144];
    for (to, from) in all.chunks_exact_mut(48).zip([a, b, c]) {
        to.copy_from_slice(from);
    }
    all
}

fn identified(info: &AuthInfo<'_>) -> Identified {
    Identified {
        key: Key48::ZERO,
        agent_id: info.agent_id,
        version: info.version,
        platform: u8::try_from(info.platform).ok().filter(|p| (1..=8).contains(p)).unwrap_or(1),
        group: info.group,
        caps: info.caps,
        host_name: clamp(info.name, 255),
        agent_name: None,
        commit_date: None,
    }
}

/// `{"action":"agentName","value":"…"}`, sent before AuthInfo.
fn agent_name(json: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct AgentName<'a> {
        #[serde(borrow)]
        action: std::borrow::Cow<'a, str>,
        #[serde(borrow)]
        value: std::borrow::Cow<'a, str>,
    }
    let message: AgentName<'_> = serde_json::from_slice(json).ok()?;
    (message.action == "agentName").then(|| clamp(&message.value, 255))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn hex(value: &Value) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    }

    struct Captured {
        v: Value,
        agent: Vec<Vec<u8>>,
        server: Vec<Vec<u8>>,
    }

    fn captured(name: &str) -> Captured {
        let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let v: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let side = |from: &str| -> Vec<Vec<u8>> {
            let messages = v["messages"].as_array().unwrap().iter();
            messages
                .filter(|m| m["from"] == from)
                .filter_map(|m| match (m.get("hex"), m.get("json")) {
                    (Some(h), _) => Some(hex(h)),
                    (_, Some(j)) => Some(j.as_str().unwrap().as_bytes().to_vec()),
                    _ => None,
                })
                .collect()
        };
        Captured { agent: side("agent"), server: side("server"), v }
    }

    impl Captured {
        fn handshake(&self) -> Handshake {
            let id = Key48::from_prefix(&hex(&self.v["serverId_sha384_of_pkcs1_pubkey"])).unwrap();
            Handshake::new(id, hex(&self.v["serverNonce"]).try_into().unwrap())
        }

        fn web_hash(&self) -> Key48 {
            Key48::from_prefix(&hex(&self.v["webTlsCertSha384"])).unwrap()
        }

        /// Feeds all agent messages and returns every step.
        fn run(&self, messages: &[Vec<u8>]) -> Vec<Step> {
            let (mut handshake, web) = (self.handshake(), self.web_hash());
            let mut steps = Vec::new();
            for message in messages {
                let Some(command) = Command::parse(message) else { continue };
                steps.extend(handshake.receive(command, |h| (h == web).then_some(web)));
            }
            steps
        }
    }

    #[test]
    fn captured_handshakes_authenticate_as_the_captured_node() {
        for (name, signs) in [
            ("agent-auth-full-vs-stock-agent", true),
            ("agent-auth-full-vs-meshcentral", true),
            ("agent-auth-pkcs7-vs-meshcentral", true),
            ("agent-auth-fast-vs-stock-agent", false),
            ("agent-auth-fast-vs-meshcentral", false),
        ] {
            let c = captured(name);
            let steps = c.run(&c.agent);
            assert_eq!(steps.first(), Some(&Step::Send(c.server[0].clone())), "{name}");
            let signed = steps.iter().find_map(|s| match s {
                Step::Sign(data) => Some(data.to_vec()),
                _ => None,
            });
            let expected = hex(&c.v["serverSigns_agentHash_agentNonce_serverNonce"]);
            assert_eq!(signed, signs.then_some(expected), "{name}");
            let Some(Step::Authenticated(who)) = steps.last() else { panic!("{name}: {steps:?}") };
            assert_eq!(who.key.text(), c.v["nodeIdText"], "{name}");
            assert_eq!(who.host_name, c.v["authInfoParsed"]["computerName"], "{name}");
        }
        let c = captured("agent-auth-fast-vs-meshcentral");
        let Some(Step::Authenticated(who)) = c.run(&c.agent).pop() else { panic!() };
        assert_eq!(who.agent_name.as_deref(), Some("nick-name"));
        assert_eq!(who.commit_date.as_deref(), Some("2024-03-01 10:00:00-0800"));
    }

    #[test]
    fn the_order_of_commands_is_free_and_repeats_are_ignored() {
        let c = captured("agent-auth-full-vs-meshcentral");
        let mut backwards = c.agent.clone();
        backwards.reverse();
        backwards.extend(c.agent.clone());
        let steps = c.run(&backwards);
        let count = steps.iter().filter(|s| matches!(s, Step::Authenticated(_))).count();
        assert_eq!(count, 1, "{steps:?}");
    }

    #[test]
    fn whoever_cannot_prove_itself_is_refused() {
        let c = captured("agent-auth-full-vs-meshcentral");
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut messages = c.agent.clone();
            messages.iter_mut().for_each(change);
            let steps = c.run(&messages);
            assert!(!steps.iter().any(|s| matches!(s, Step::Authenticated(_))));
            steps.last().cloned()
        };
        let wrong_signature = refused(&|m| {
            if m.starts_with(&[0, 2]) {
                *m.last_mut().unwrap() ^= 1;
            }
        });
        assert_eq!(wrong_signature, Some(Step::Refuse(Refusal::Signature)));
        let another_nonce = refused(&|m| {
            if m.starts_with(&[0, 1]) {
                m[60] ^= 1;
            }
        });
        assert_eq!(another_nonce, Some(Step::Refuse(Refusal::Signature)));
        let another_certificate = refused(&|m| {
            if m.starts_with(&[0, 1]) {
                m[10] ^= 1;
            }
        });
        assert!(matches!(another_certificate, Some(Step::Refuse(Refusal::WebHash(_)))));
        let no_certificate = refused(&|m| {
            if m.starts_with(&[0, 2]) {
                m[10..60].fill(0);
            }
        });
        assert_eq!(no_certificate, Some(Step::Refuse(Refusal::Certificate)));
    }

    #[test]
    fn an_agent_of_another_server_may_see_for_itself() {
        let c = captured("agent-auth-full-vs-meshcentral");
        let mut messages = c.agent.clone();
        let expected = messages.iter_mut().find(|m| m.starts_with(&[0, 5])).unwrap();
        expected[49] ^= 1;
        let id = Key48::from_prefix(&expected[2..]).unwrap();
        let steps = c.run(&messages);
        assert_eq!(steps[0], Step::ExpectsAnother(id));
        assert!(steps.iter().any(|s| matches!(s, Step::Sign(_))), "it gets our signature");
    }

    #[test]
    fn a_replayed_conversation_fails_on_our_fresh_nonce() {
        let c = captured("agent-auth-full-vs-meshcentral");
        let mut handshake = Handshake::new(c.handshake().server_id, [0x55; 48]);
        let mut steps = Vec::new();
        for message in &c.agent {
            if let Some(command) = Command::parse(message) {
                steps.extend(handshake.receive(command, Some));
            }
        }
        assert_eq!(steps.last(), Some(&Step::Refuse(Refusal::Signature)));
    }
}
