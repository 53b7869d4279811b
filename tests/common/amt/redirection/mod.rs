//! The redirection ports of firmware: a session is begun, the user proves who it is, and then the
//! serial line, the screen or drives pass.

mod ider;
mod kvm;
mod sol;

use data_encoding::HEXLOWER;

use super::digest::hash;
use super::firmware::{Firmware, Seen};

pub use ider::IderSeen;
pub use kvm::{Input, Screen};

/// Path of digests.
const URI: &str = "/RedirectionService";
/// Wrong passwords until it closes.
const TRIES: u32 = 3;

/// What is redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The serial line.
    Sol,
    /// Drives.
    Ider,
    /// Keyboard, screen and mouse.
    Kvm,
}

/// One redirection connection.
pub struct Redirection {
    input: Vec<u8>,
    out: Vec<u8>,
    stage: Stage,
    failures: u32,
}

enum Stage {
    Begin,
    Prove(Protocol, Option<String>),
    Sol(sol::Sol),
    Ider(Box<ider::Ider>),
    Kvm(Box<kvm::Kvm>),
    Ended,
}

/// A message of the peer that firmware does not bear.
#[derive(Debug)]
pub struct Violation(pub &'static str);

/// What was read of the input: how much, or that there is not enough yet.
type Taken = Result<usize, Violation>;

impl Redirection {
    /// A connection nothing has come on.
    pub fn new() -> Self {
        Self { input: Vec::new(), out: Vec::new(), stage: Stage::Begin, failures: 0 }
    }

    /// Takes bytes, whole messages or not.
    pub fn receive(&mut self, firmware: &mut Firmware, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        loop {
            let taken = match &mut self.stage {
                Stage::Begin => begin(firmware, &self.input, &mut self.out).map(|(used, next)| {
                    if let Some(protocol) = next {
                        self.stage = Stage::Prove(protocol, None);
                    }
                    used
                }),
                Stage::Prove(..) => self.prove(firmware),
                Stage::Sol(sol) => sol.take(firmware, &self.input, &mut self.out),
                Stage::Ider(ider) => ider.take(firmware, &self.input, &mut self.out),
                Stage::Kvm(kvm) => kvm.take(firmware, &self.input, &mut self.out),
                Stage::Ended => return,
            };
            match taken {
                Ok(0) => break,
                Ok(used) => drop(self.input.drain(..used)),
                Err(Violation(why)) => {
                    firmware.saw(Seen::Fault("redirection".into(), why.into()));
                    self.end(firmware);
                    return;
                }
            }
        }
        self.tick(firmware);
    }

    /// Looks whether the computer has something to say.
    pub fn tick(&mut self, firmware: &mut Firmware) {
        if std::mem::take(&mut firmware.cuts_off) {
            return self.end(firmware);
        }
        match &mut self.stage {
            Stage::Ider(ider) => ider.tick(firmware, &mut self.out),
            Stage::Kvm(kvm) => kvm.tick(firmware, &mut self.out),
            _ => {}
        }
    }

    /// What is to be sent.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Whether it is over.
    pub fn ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// Ends it.
    pub fn end(&mut self, firmware: &mut Firmware) {
        let protocol = match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Sol(_) => Protocol::Sol,
            Stage::Ider(_) => Protocol::Ider,
            Stage::Kvm(_) => Protocol::Kvm,
            _ => return,
        };
        firmware.sessions.retain(|open| *open != protocol);
        firmware.saw(Seen::Closed(protocol));
        if protocol == Protocol::Kvm {
            firmware.instance("CIM_KVMRedirectionSAP").set("EnabledState", 6);
        }
    }

    /// One message of the authentication.
    fn prove(&mut self, firmware: &mut Firmware) -> Taken {
        let Stage::Prove(protocol, nonce) = &mut self.stage else { return Ok(0) };
        let Some(head) = self.input.first_chunk::<9>() else { return Ok(0) };
        if head[0] == 0x12 {
            return Err(Violation("ended before it was authenticated"));
        }
        if head[0] != 0x13 || head[1..4] != [0, 0, 0] {
            return Err(Violation("no authentication"));
        }
        let length = u32::from_le_bytes([head[5], head[6], head[7], head[8]]) as usize;
        if length > 1024 {
            return Err(Violation("a long authentication"));
        }
        let Some(payload) = self.input.get(9..9 + length) else { return Ok(0) };
        match (head[4], nonce.take()) {
            (0, None) if payload.is_empty() => self.out.extend([0x14, 0, 0, 0, 0, 1, 0, 0, 0, 4]),
            (4, None) => {
                let fields = strings(payload).ok_or(Violation("not eight strings"))?;
                let empty = [1, 2, 4, 5, 6, 7].iter().all(|at| fields[*at].is_empty());
                if !empty || fields[3] != URI || fields[0].is_empty() {
                    return Err(Violation("the first digest message is not as it should be"));
                }
                *nonce = Some(challenge(firmware, &mut self.out));
            }
            (4, Some(asked)) => {
                let fields = strings(payload).ok_or(Violation("not eight strings"))?;
                if proves(firmware, &fields, &asked) {
                    self.out.extend([0x14, 0, 0, 0, 4, 0, 0, 0, 0]);
                    let protocol = *protocol;
                    firmware.sessions.push(protocol);
                    firmware.saw(Seen::Opened(protocol));
                    if protocol == Protocol::Kvm {
                        firmware.instance("CIM_KVMRedirectionSAP").set("EnabledState", 2);
                    }
                    let consent = firmware.instance("IPS_OptInService");
                    if consent.value("OptInState") == "3" {
                        consent.set("OptInState", 4);
                    }
                    self.stage = match protocol {
                        Protocol::Sol => Stage::Sol(sol::Sol::default()),
                        Protocol::Ider => Stage::Ider(Box::default()),
                        Protocol::Kvm => Stage::Kvm(Box::default()),
                    };
                } else {
                    firmware.saw(Seen::WrongPassword);
                    self.failures += 1;
                    if self.failures >= TRIES {
                        return Err(Violation("wrong passwords"));
                    }
                    *nonce = Some(challenge(firmware, &mut self.out));
                }
            }
            _ => self.out.extend([0x14, 2, 0, 0, head[4], 0, 0, 0, 0]),
        }
        Ok(9 + length)
    }
}

/// The first message: what is to be redirected.
fn begin(
    firmware: &Firmware,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(usize, Option<Protocol>), Violation> {
    let Some(start) = input.first_chunk::<8>() else { return Ok((0, None)) };
    let protocol = match start {
        b"\x10\0\0\0SOL " => Protocol::Sol,
        b"\x10\0\0\0IDER" => Protocol::Ider,
        b"\x10\x01\0\0KVMR" => Protocol::Kvm,
        [0x10, ..] => {
            out.extend([0x11, 1, 0, 0]);
            return Ok((8, None));
        }
        _ => return Err(Violation("no session start")),
    };
    let status = if firmware.sessions.contains(&protocol) {
        2
    } else if !firmware.listens_for(protocol) {
        3
    } else if !firmware.has_consent(protocol == Protocol::Kvm) {
        0xff
    } else {
        let mut version = firmware.version.split('.').map(|n| n.parse().unwrap_or(0_u8));
        let (major, minor) = (version.next().unwrap_or(0), version.next().unwrap_or(0));
        out.extend([0x11, 0, 0, 0, 1, 0, major, minor, 0x57, 1, 0, 0, 0]);
        return Ok((8, Some(protocol)));
    };
    out.extend([0x11, status, 0, 0]);
    Ok((8, None))
}

/// Sends a challenge; its nonce.
fn challenge(firmware: &Firmware, out: &mut Vec<u8>) -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    let nonce = HEXLOWER.encode(&bytes).to_uppercase();
    let mut payload = Vec::new();
    for text in [&*firmware.realm, &nonce, "auth"] {
        payload.push(text.len() as u8);
        payload.extend(text.bytes());
    }
    out.extend([0x14, 1, 0, 0, 4]);
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(payload);
    nonce
}

fn proves(firmware: &Firmware, fields: &[String; 8], asked: &str) -> bool {
    let [user, realm, nonce, uri, cnonce, nc, response, qop] = fields;
    let users = firmware.password_hashes();
    let Some((_, ha1)) = users.iter().find(|(name, _)| name == user) else { return false };
    let ha2 = hash(&["POST", URI]);
    realm == &firmware.realm
        && nonce == asked
        && uri == URI
        && nc.len() == 8
        && !cnonce.is_empty()
        && qop == "auth"
        && *response == hash(&[ha1, nonce, nc, cnonce, qop, &ha2])
}

/// Eight texts, each behind its length.
fn strings(mut payload: &[u8]) -> Option<[String; 8]> {
    let mut texts: [String; 8] = Default::default();
    for text in &mut texts {
        let (length, rest) = payload.split_first()?;
        let (bytes, rest) = rest.split_at_checked(usize::from(*length))?;
        *text = String::from_utf8(bytes.to_vec()).ok()?;
        payload = rest;
    }
    payload.is_empty().then_some(texts)
}

/// The number a peer has to give its next message.
#[derive(Default)]
struct Counter(u32);

impl Counter {
    /// Whether `message` has it.
    fn fits(&mut self, message: &[u8]) -> Result<(), Violation> {
        let given = message.get(4..8).and_then(|bytes| bytes.try_into().ok());
        if given.map(u32::from_le_bytes) != Some(self.0) {
            return Err(Violation("a message out of order"));
        }
        self.0 += 1;
        Ok(())
    }

    /// The next one of our own.
    fn next(&mut self) -> [u8; 4] {
        self.0 += 1;
        (self.0 - 1).to_le_bytes()
    }
}
