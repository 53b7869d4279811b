//! Agents without an address (`MeshServer=local`) ask their local network for their server, and the
//! server tells it where it is. Text in UDP packets, for the groups 239.255.255.235 and FF02::FE:
//! agents listen on port 16990, servers on 16989.
//!
//! This file is without sockets: which packet is answered with what, and how often. An agent asks
//! with the id of its server, Router and Assistant with `MeshServerScan`. Source of the formats:
//! agent-protocol §13; with `localDiscovery.key` every packet is AES-256-CBC behind its IV.

pub mod socket;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut as _, BlockEncryptMut as _, KeyIvInit as _};
use ring::digest;

use crate::model::Key48;

/// Longest packet that is looked at. That of an agent has 96 bytes, or 128 when it is encrypted.
pub const PACKET: usize = 256;
/// Answers within a second: to everybody together, and to one address. An agent asks every two
/// seconds at most, by IPv4 and IPv6, and a computer may have several.
const ANSWERS: usize = 64;
const ANSWERS_EACH: u8 = 8;
/// What programs ask that look for any server.
const SCAN: &[u8] = b"MeshServerScan";
/// Longest name and description in characters.
const WORDS: usize = 64;
const BLOCK: usize = 16;

/// Internet protocol of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What the server tells its local network.
#[derive(Clone, Debug)]
pub struct Presence {
    /// Its id, which agents know from their `.msh`.
    pub server: Key48,
    /// The port agents connect to.
    pub port: u16,
    /// The only address that is listened to, if not all of them are; else agents take the address
    /// the packet comes from.
    pub address: Option<IpAddr>,
    /// Its name, if it can be resolved; for people, because agents may not know that it can.
    pub host: Option<String>,
    /// What people call it, and more about it.
    pub name: String,
    /// See `name`.
    pub info: String,
    /// Encrypts everything.
    pub seal: Option<Seal>,
}

impl Presence {
    /// Tells agents that the server is there.
    ///
    /// # Errors
    /// That there are no random numbers.
    pub fn announcement(&self, family: Family) -> Result<Vec<u8>, getrandom::Error> {
        self.sealed(self.text(&self.place(family)))
    }

    /// The answer to a packet; `None` for what is no question to this server. `is_near` says that the
    /// sender is in a network of this machine: others would get more than they have sent, and whoever
    /// made up their address could have them flooded. Agents prove by the id that they are ours.
    pub fn answer(&self, family: Family, packet: &[u8], is_near: bool) -> Option<Vec<u8>> {
        let opened = match &self.seal {
            Some(seal) => seal.open(packet)?,
            None => packet.to_vec(),
        };
        if opened == self.server.hex().as_bytes() {
            return self.announcement(family).ok();
        }
        if opened != SCAN || !is_near {
            return None;
        }
        let place = self.host.clone().unwrap_or_else(|| self.place(family));
        // Agents would take more fields for a part of the URL: these are for people's programs only.
        let text = format!("{}|{}|{}", self.text(&place), words(&self.name), words(&self.info));
        self.sealed(text).ok()
    }

    fn text(&self, place: &str) -> String {
        format!("MeshCentral2|{}|wss://{place}:{}/agent.ashx", self.server.hex(), self.port)
    }

    /// The address in a URL; agents put that of the sender in place of `%s`.
    fn place(&self, family: Family) -> String {
        match (self.address, family) {
            (Some(IpAddr::V4(address)), _) => address.to_string(),
            (Some(IpAddr::V6(address)), _) => format!("[{address}]"),
            (None, Family::V4) => "%s".to_owned(),
            (None, Family::V6) => "[%s]".to_owned(),
        }
    }

    fn sealed(&self, text: String) -> Result<Vec<u8>, getrandom::Error> {
        let Some(seal) = &self.seal else { return Ok(text.into_bytes()) };
        let mut iv = [0; BLOCK];
        getrandom::fill(&mut iv)?;
        Ok(seal.close(iv, text.as_bytes()))
    }
}

/// Without what separates fields.
fn words(text: &str) -> String {
    let is_text = |c: &char| !c.is_control() && *c != '|';
    text.chars().filter(is_text).take(WORDS).collect()
}

/// The key of `localDiscovery`, as agents have it in `DiscoveryKey`.
#[derive(Clone)]
pub struct Seal([u8; 32]);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// From the text in the configuration.
    pub fn new(text: &str) -> Self {
        let mut key = [0; 32];
        let hash = digest::digest(&digest::SHA384, text.as_bytes());
        key.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        Self(key)
    }

    fn close(&self, iv: [u8; BLOCK], plain: &[u8]) -> Vec<u8> {
        let cipher = cbc::Encryptor::<aes::Aes256>::new(&self.0.into(), &iv.into());
        [&iv[..], &cipher.encrypt_padded_vec_mut::<Pkcs7>(plain)].concat()
    }

    fn open(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let (iv, sealed) = packet.split_first_chunk::<BLOCK>()?;
        let cipher = cbc::Decryptor::<aes::Aes256>::new(&self.0.into(), iv.into());
        cipher.decrypt_padded_vec_mut::<Pkcs7>(sealed).ok()
    }
}

/// How often is answered: the sender of a packet may be made up, and then somebody else gets the
/// answers. Never more than [`ANSWERS`] addresses are remembered.
#[derive(Debug, Default)]
pub struct Allowance {
    second: u64,
    given: usize,
    each: BTreeMap<IpAddr, u8>,
}

impl Allowance {
    /// Whether an address may have an answer now; time since the server started.
    pub fn take(&mut self, now: Duration, from: IpAddr) -> bool {
        if self.second != now.as_secs() {
            *self = Self { second: now.as_secs(), ..Self::default() };
        }
        if self.given >= ANSWERS {
            return false;
        }
        let each = self.each.entry(from).or_default();
        if *each >= ANSWERS_EACH {
            return false;
        }
        *each += 1;
        self.given += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER_PERMISSIVE;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        let vectors = include_str!("../../../tests/vectors/agent-discovery.json");
        serde_json::from_str(vectors).unwrap()
    }

    fn hex(text: &Value) -> Vec<u8> {
        HEXLOWER_PERMISSIVE.decode(text.as_str().unwrap().as_bytes()).unwrap()
    }

    /// A server whose id is in a text of the vectors.
    fn presence(text: &Value, port: u16) -> Presence {
        let text = text.as_str().unwrap();
        let id = text.split('|').nth(1).unwrap_or(text);
        let id = HEXLOWER_PERMISSIVE.decode(id.as_bytes()).unwrap();
        Presence {
            server: Key48(id.try_into().unwrap()),
            port,
            address: None,
            host: None,
            name: "Disc Name".into(),
            info: "Disc Info".into(),
            seal: None,
        }
    }

    #[test]
    fn an_agent_is_told_where_its_server_is() {
        let vectors = vectors();
        let query = hex(&vectors["agentQueryPlain"]["hex"]);
        let server = presence(&vectors["agentQueryPlain"]["ascii"], 28801);
        let reply = vectors["serverReplyPlain"]["ascii"].as_str().unwrap();
        assert_eq!(server.answer(Family::V4, &query, false).unwrap(), reply.as_bytes());
        let v6 = server.answer(Family::V6, &query, false).unwrap();
        assert_eq!(v6, reply.replace("%s", "[%s]").as_bytes());
        let bound = Presence { address: Some("127.0.0.1".parse().unwrap()), ..server };
        let own = bound.answer(Family::V4, &query, false).unwrap();
        assert_eq!(own, reply.replace("%s", "127.0.0.1").as_bytes(), "it is nowhere else");
    }

    #[test]
    fn with_a_key_everything_is_encrypted() {
        let vectors = vectors();
        let seal = Seal::new(vectors["keyDerivation"]["discoveryKey"].as_str().unwrap());
        assert_eq!(seal.0[..], hex(&vectors["keyDerivation"]["aes256KeyHex"])[..]);
        let fixed = &vectors["serverReplyEncryptedFixedIv"];
        let reply = vectors["serverReplyPlain"]["ascii"].as_str().unwrap();
        let iv = hex(&fixed["iv"]).try_into().unwrap();
        assert_eq!(seal.close(iv, reply.as_bytes()), hex(&fixed["hex"]));
        let captured = hex(&vectors["agentQueryEncryptedCaptured"]["hex"]);
        let query = &vectors["agentQueryEncryptedCaptured"]["decryptsTo"];
        assert_eq!(seal.open(&captured).unwrap(), query.as_str().unwrap().as_bytes());
        let server = Presence { seal: Some(seal.clone()), ..presence(query, 28801) };
        let answer = server.answer(Family::V4, &captured, false).unwrap();
        assert_eq!(seal.open(&answer).unwrap(), reply.as_bytes());
        assert_ne!(server.answer(Family::V4, &captured, false).unwrap(), answer, "another IV");
        // Neither understands the other without it.
        let open = hex(&vectors["agentQueryPlain"]["hex"]);
        assert_eq!(server.answer(Family::V4, &open, true), None);
        assert_eq!(presence(query, 28801).answer(Family::V4, &captured, true), None);
        let announced = &vectors["meshCentralAnnouncementEncryptedCaptured"];
        let seal = Seal::new(announced["discoveryKey"].as_str().unwrap());
        let text = announced["decryptsTo"].as_str().unwrap();
        assert_eq!(seal.open(&hex(&announced["hex"])).unwrap(), text.as_bytes());
    }

    #[test]
    fn announcements_and_answers_to_scans_are_those_of_meshcentral() {
        let vectors = vectors();
        let announced = &vectors["meshCentralAnnouncementPlainCaptured"]["ascii"];
        let server = presence(announced, 27543);
        let text = announced.as_str().unwrap();
        assert_eq!(server.announcement(Family::V4).unwrap(), text.as_bytes());
        let reply = vectors["scan"]["replyCaptured"].as_str().unwrap();
        let named = Presence { host: Some("127.0.0.1".into()), ..server };
        let query = vectors["scan"]["query"].as_str().unwrap().as_bytes();
        assert_eq!(named.answer(Family::V4, query, true).unwrap(), reply.as_bytes());
        assert_eq!(named.answer(Family::V4, query, false), None, "somebody far away");
        let odd = Presence { name: "a|b\r\n".repeat(99), info: String::new(), ..named };
        let answer = odd.answer(Family::V4, query, true).unwrap();
        let fields = answer.iter().filter(|byte| **byte == b'|').count();
        assert!(fields == 4 && answer.len() < 300, "{}", String::from_utf8_lossy(&answer));
    }

    #[test]
    fn answers_are_few_whoever_asks() {
        let mut allowance = Allowance::default();
        let at = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut count = |second, n: u8| {
            (0..1000).filter(|_| allowance.take(Duration::from_secs(second), at(n))).count()
        };
        assert_eq!(count(0, 1), usize::from(ANSWERS_EACH));
        let others: usize = (2..=250).map(|n| count(0, n)).sum();
        assert_eq!(others, ANSWERS - usize::from(ANSWERS_EACH));
        assert_eq!(count(1, 1), usize::from(ANSWERS_EACH), "a second later");
        assert!(allowance.each.len() <= ANSWERS);
    }

    proptest! {
        #[test]
        fn only_questions_are_answered(packet: Vec<u8>, with_key: bool) {
            let seal = with_key.then(|| Seal::new("key"));
            let query = &vectors()["agentQueryPlain"]["ascii"];
            let server = Presence { seal, ..presence(query, 443) };
            prop_assert_eq!(server.answer(Family::V4, &packet, true), None);
        }
    }
}
