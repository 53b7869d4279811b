//! The beginning of a redirection session: asking for a service and logging in to it, by this server.
//!
//! Source: amt-management §16. Start, query of the methods, digest without and with an answer; then
//! the service's own protocol. One answer to each message, and nothing is kept but an unfinished one.

use super::super::digest::{self, Credentials, Qop};
use super::mediator::Over;
use super::wire::{self, Challenge, Malformed, Reply, Service, URI};

/// `nc` of an answer: eight digits. A session answers once.
const COUNT: &str = "00000001";

/// Texts of ours in a proof, as long as the stock server's.
pub type OwnNonce = [u8; 10];

/// Ten random hexadecimal digits. `None` without randomness.
pub fn own_nonce() -> Option<OwnNonce> {
    let mut random = [0; 5];
    getrandom::fill(&mut random).ok()?;
    data_encoding::HEXLOWER.encode(&random).as_bytes().try_into().ok()
}

/// Somebody who can prove that he knows the password.
pub(super) struct Prover {
    pub(super) credentials: Credentials,
    pub(super) own_nonce: OwnNonce,
}

impl Prover {
    /// The message that asks for a challenge.
    pub(super) fn ask(&self) -> Vec<u8> {
        wire::digest([&self.credentials.user, "", "", URI, "", "", "", ""])
    }

    /// The message that answers one. `count` is the text of `nc`.
    pub(super) fn answer(&self, challenge: &Challenge, count: &str) -> Vec<u8> {
        let Challenge { realm, nonce, .. } = challenge;
        let hash = digest::password_hash(&self.credentials, realm);
        let own_nonce = std::str::from_utf8(&self.own_nonce).unwrap_or_default();
        let request = digest::Request { method: "POST", uri: URI, body: &[] };
        let response = digest::response(&hash, request, (nonce, count, own_nonce, Qop::Auth));
        let user = &self.credentials.user;
        wire::digest([user, realm, nonce, URI, own_nonce, count, &response, Qop::Auth.as_str()])
    }
}

/// What follows from what the firmware has said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What it is to be told.
    pub send: Vec<u8>,
    /// Set when we are in: what it has said already in the protocol of the service.
    pub open: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Started,
    Queried,
    Asked,
    Answered,
}

/// See the module.
pub struct Handshake {
    prover: Prover,
    step: Step,
    input: Vec<u8>,
}

impl Handshake {
    /// Logs in to `service`; the message that begins it.
    pub fn begin(
        service: Service,
        credentials: Credentials,
        own_nonce: OwnNonce,
    ) -> (Self, [u8; 8]) {
        let prover = Prover { credentials, own_nonce };
        (Self { prover, step: Step::Started, input: Vec::new() }, service.start())
    }

    /// Takes what the firmware says.
    ///
    /// # Errors
    /// Why there is no session. Nothing more is to be said then.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Progress, Over> {
        self.input.extend_from_slice(bytes);
        let mut progress = Progress::default();
        while let Some((reply, length)) =
            wire::reply(&self.input).map_err(|Malformed| Over::Garbled)?
        {
            self.input.drain(..length);
            let message = match (self.step, reply) {
                (_, Reply::NotStarted(2)) => return Err(Over::Busy),
                (_, Reply::NotStarted(0xff)) => return Err(Over::Consent),
                (_, Reply::NotStarted(_)) => return Err(Over::Unsupported),
                (Step::Started, Reply::Started { .. }) => {
                    self.step = Step::Queried;
                    wire::query()
                }
                (Step::Queried, Reply::Methods { digest: true }) => {
                    self.step = Step::Asked;
                    self.prover.ask()
                }
                // Very old firmware takes the password in the clear, which it does not get.
                (Step::Queried, Reply::Methods { digest: false }) => {
                    return Err(Over::Unsupported);
                }
                (Step::Asked, Reply::Challenge(challenge)) => {
                    self.step = Step::Answered;
                    self.prover.answer(&challenge, COUNT)
                }
                (Step::Answered, Reply::Accepted) => {
                    progress.open = Some(std::mem::take(&mut self.input));
                    return Ok(progress);
                }
                (_, Reply::Refused | Reply::Challenge(_)) => return Err(Over::Password),
                _ => return Err(Over::Garbled),
            };
            progress.send.extend_from_slice(&message);
        }
        Ok(progress)
    }

    /// The firmware has closed the connection: what that means.
    pub fn closed(&self) -> Over {
        match self.step {
            Step::Answered => Over::Password,
            _ => Over::Unsupported,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amt::redirection::testing::{cut, hex, lines};
    use proptest::prelude::*;
    use serde_json::Value;

    const FILE: &str = include_str!("../../../tests/vectors/redir-handshake.json");

    fn credentials() -> Credentials {
        Credentials { user: "admin".into(), password: "P@ssw0rd".into() }
    }

    /// What the firmware said in the recorded session `name`, in one.
    fn recorded(name: &str) -> Vec<u8> {
        lines(FILE, name).into_iter().filter(|l| l.by_firmware).flat_map(|l| l.bytes).collect()
    }

    fn kvm() -> Handshake {
        Handshake::begin(Service::Kvm, credentials(), *b"e7eb6e36f3").0
    }

    #[test]
    fn the_recorded_sessions_begin_again() {
        let file: Value = serde_json::from_str(FILE).unwrap();
        for (name, service) in [("sol", Service::Sol), ("kvm", Service::Kvm)] {
            let inputs = file[name].as_array().unwrap().iter().find_map(|line| {
                line.get("digest_inputs").and_then(|inputs| inputs["cnonce"].as_str())
            });
            let own_nonce = inputs.unwrap().as_bytes().try_into().unwrap();
            let (mut handshake, first) = Handshake::begin(service, credentials(), own_nonce);
            let mut said = first.to_vec();
            let mut open = None;
            for line in lines(FILE, name) {
                if line.by_firmware {
                    let progress = handshake.take(&line.bytes).unwrap();
                    said.extend(progress.send);
                    open = open.or(progress.open);
                }
            }
            let expected: Vec<u8> = lines(FILE, name)
                .into_iter()
                .filter(|line| !line.by_firmware)
                .flat_map(|line| line.bytes)
                .collect();
            assert_eq!(hex(&said), hex(&expected), "{name}");
            assert_eq!(open, Some(Vec::new()), "{name}");
        }
    }

    #[test]
    fn firmware_of_four_generations_gets_to_the_query() {
        let file: Value = serde_json::from_str(FILE).unwrap();
        for trace in file["field_traces"].as_array().unwrap() {
            let mut handshake = kvm();
            let reply =
                crate::amt::redirection::testing::unhex(trace["start_reply"].as_str().unwrap());
            assert_eq!(handshake.take(&reply).unwrap().send, wire::query(), "{trace}");
            if let Some(methods) = trace["auth_query_reply"].as_str() {
                let methods = crate::amt::redirection::testing::unhex(methods);
                let asked = handshake.take(&methods).unwrap().send;
                assert_eq!(asked.len(), 9 + 0x20, "{trace}");
            }
        }
    }

    #[test]
    fn what_came_behind_the_last_word_belongs_to_the_service() {
        let mut bytes = recorded("kvm");
        bytes.extend(b"\x41RFB");
        assert_eq!(kvm().take(&bytes).unwrap().open, Some(b"\x41RFB".to_vec()));
    }

    #[test]
    fn each_refusal_says_why() {
        let started = &[0x11, 0, 0, 0, 1, 0, 0, 0, 0x57, 1, 0, 0, 0][..];
        let methods = &[0x14, 0, 0, 0, 0, 1, 0, 0, 0, 4][..];
        let challenge = &[0x14, 1, 0, 0, 4, 6, 0, 0, 0, 1, b'r', 1, b'n', 1, b'q'][..];
        let refused = &[0x14, 1, 0, 0, 1, 0, 0, 0, 0][..];
        for (said, why) in [
            (vec![&[0x11, 2, 0, 0][..]], Over::Busy),
            (vec![&[0x11, 3, 0, 0]], Over::Unsupported),
            (vec![&[0x11, 0xff, 0, 0]], Over::Consent),
            (vec![started, &[0x14, 0, 0, 0, 0, 1, 0, 0, 0, 1]], Over::Unsupported),
            (vec![started, methods, challenge, challenge], Over::Password),
            (vec![started, methods, challenge, refused], Over::Password),
            (vec![started, started], Over::Garbled),
            (vec![started, methods, &[0x14, 0, 0, 0, 4, 0, 0, 0, 0]], Over::Garbled),
            (vec![&[0x41]], Over::Garbled),
        ] {
            assert_eq!(kvm().take(&said.concat()), Err(why), "{said:?}");
        }
    }

    proptest! {
        #[test]
        fn how_the_firmwares_bytes_are_cut_makes_no_difference(sizes in cut()) {
            let (bytes, mut pieces) = (recorded("kvm"), Progress::default());
            let whole = kvm().take(&bytes).unwrap();
            let mut handshake = kvm();
            let mut rest = &bytes[..];
            for size in sizes.into_iter().cycle() {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                let progress = handshake.take(piece).unwrap();
                pieces.send.extend(progress.send);
                pieces.open = progress.open;
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(whole, pieces);
        }
    }
}
