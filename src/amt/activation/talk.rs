//! What a visit asks of the firmware, as WS-Management through the tunnel of the computer it is on.
//!
//! The local login works only from within, so this takes that tunnel and no other way. So does TLS:
//! the firmware expects it while it is set up.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use data_encoding::{BASE64, HEXLOWER};
use futures_lite::future::or;
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::certificate::Hashes;
use super::flow::{Answer, Call, Channel, Silence, Way};
use super::state::{Login, Mode};
use crate::amt::digest::Credentials;
use crate::amt::tls::{By, secure_as};
use crate::amt::wsman::answer::{self, Refused};
use crate::amt::wsman::client::{Client, Step};
use crate::amt::wsman::{Element, Operation, Verb};
use crate::hub::{AmtTunnel, ByteStream};

/// Ports of the firmware's web server, without TLS and with it.
const PORT: u16 = 16992;
const TLS_PORT: u16 = 16993;
/// Time for one request and its answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How often is looked whether a port is forwarded, and how often at most before it is opened.
const LOOK: Duration = Duration::from_millis(50);
const LATEST: usize = 100;
/// The same before anything is begun: a program that offers only one port is looked after, too.
const EARLY: usize = 10;
const SETUP: &str = "IPS_HostBasedSetupService";
const GENERAL: &str = "AMT_GeneralSettings";
const CONFIGURATION: &str = "AMT_SetupAndConfigurationService";
/// MD5 of user, realm and password, as HTTP digest has it.
const PASSWORD_KIND: u32 = 2;
/// RSA with SHA-256.
const SIGNATURE_KIND: u32 = 2;

/// A conversation with the firmware.
pub(super) struct Talk {
    tunnel: Rc<AmtTunnel>,
    login: Option<Login>,
    channel: Channel,
    client: Option<Client>,
    stream: Option<Box<dyn ByteStream>>,
    next_id: u32,
}

impl Talk {
    /// Through `tunnel`; nothing is said yet.
    pub(super) fn new(tunnel: Rc<AmtTunnel>) -> Self {
        Self {
            tunnel,
            login: None,
            channel: Channel::Plain,
            client: None,
            stream: None,
            next_id: 1,
        }
    }

    /// Lets the program say everything it says at its beginning.
    pub(super) async fn settled(&self) {
        forwarded(&self.tunnel, TLS_PORT, EARLY).await;
    }

    /// Performs a call this way.
    pub(super) async fn perform(&mut self, call: Call, way: Way) -> Result<Answer, Silence> {
        let login = way.login.ok_or(Silence::Credentials)?;
        if self.login.as_ref() != Some(&login) || !self.channel.is_same(&way.channel) {
            self.channel = way.channel;
            let credentials =
                Credentials { user: login.user.clone(), password: login.password.clone() };
            self.client = Some(Client::new(credentials, "amt", None));
            (self.login, self.stream) = (Some(login), None);
        }
        match call {
            Call::LogIn(_) | Call::ReadRealm => {
                let general = self.get(GENERAL).await?;
                let realm = general.property("DigestRealm").unwrap_or_default().to_owned();
                Ok(Answer::LoggedIn { realm })
            }
            Call::Read => self.read().await,
            Call::AddCertificate { certificate, is_leaf, is_root } => {
                let call = Operation::invoke(SETUP, "AddNextCertInChain")
                    .with("NextCertificate", BASE64.encode(&certificate))
                    .with("IsLeafCertificate", is_leaf)
                    .with("IsRootCertificate", is_root);
                self.invoke(call).await
            }
            Call::AdminSetup { password, nonce, signature } => {
                let call = Operation::invoke(SETUP, "AdminSetup")
                    .with("NetAdminPassEncryptionType", PASSWORD_KIND)
                    .with("NetworkAdminPassword", password)
                    .with("McNonce", nonce)
                    .with("SigningAlgorithm", SIGNATURE_KIND)
                    .with("DigitalSignature", signature);
                self.invoke(call).await
            }
            Call::Setup { password } => {
                let call = Operation::invoke(SETUP, "Setup")
                    .with("NetAdminPassEncryptionType", PASSWORD_KIND)
                    .with("NetworkAdminPassword", password);
                self.invoke(call).await
            }
            Call::SetPassword { password } => {
                let call = Operation::invoke("AMT_AuthorizationService", "SetAdminAclEntryEx")
                    .with("Username", "admin")
                    .with("DigestPassword", password);
                self.invoke(call).await
            }
            Call::SetMenuPassword(password) => {
                let call = Operation::invoke(CONFIGURATION, "SetMEBxPassword");
                self.invoke(call.with("Password", password)).await
            }
            // That is not said here.
            Call::Manage { .. } => Ok(Answer::Managed),
            Call::Commit => self.invoke(Operation::invoke(CONFIGURATION, "CommitChanges")).await,
        }
    }

    async fn read(&mut self) -> Result<Answer, Silence> {
        let general = self.get(GENERAL).await?;
        let setup = self.get(SETUP).await?;
        let nonce = setup.property("ConfigurationNonce").unwrap_or_default();
        let mode = setup.number::<u64>("CurrentControlMode").unwrap_or_default();
        Ok(Answer::Read {
            realm: general.property("DigestRealm").unwrap_or_default().to_owned(),
            nonce: BASE64.decode(nonce.as_bytes()).unwrap_or_default(),
            modes: setup.list("AllowedControlModes").count(),
            mode: Mode::from_number(mode),
        })
    }

    async fn get(&mut self, class: &'static str) -> Result<Element, Silence> {
        let content = self.exchange(&Operation::new(class, Verb::Get)).await?;
        content.ok_or_else(|| Silence::Refused(format!("{class} is empty")))
    }

    async fn invoke(&mut self, call: Operation) -> Result<Answer, Silence> {
        let content = self.exchange(&call).await?;
        let value = content.and_then(|output| output.number("ReturnValue"));
        value.map(Answer::Returned).ok_or_else(|| Silence::Lost("it returns nothing".into()))
    }

    async fn exchange(&mut self, operation: &Operation) -> Result<Option<Element>, Silence> {
        let late = async {
            Timer::after(ANSWER).await;
            Err(Silence::Lost("Intel AMT does not answer".into()))
        };
        or(self.request(operation), late).await
    }

    async fn request(&mut self, operation: &Operation) -> Result<Option<Element>, Silence> {
        let Some(client) = &mut self.client else { return Err(Silence::Credentials) };
        let (id, tunnel, channel) = (self.next_id, &self.tunnel, &self.channel);
        self.next_id = id.wrapping_add(1).max(1);
        // Taken out until the answer is whole: nobody reads the rest of one that was given up.
        let kept = self.stream.take().filter(|_| !client.needs_connection());
        if kept.is_none() {
            client.abandon();
        }
        let mut bytes = client.start(operation.envelope(id));
        let mut stream = match kept {
            Some(stream) => stream,
            None => connect(tunnel, channel).await?,
        };
        let broken =
            |error: std::io::Error| Silence::Lost(format!("the connection broke: {error}"));
        let response = loop {
            stream.write_all(&bytes).await.map_err(broken)?;
            stream.flush().await.map_err(broken)?;
            let step = loop {
                let mut piece = [0; 4096];
                let count = stream.read(&mut piece).await.map_err(broken)?;
                let step = match piece.get(..count) {
                    Some([]) | None => client.ended(),
                    Some(bytes) => client.receive(bytes),
                };
                match step {
                    Step::More if count == 0 => {
                        return Err(Silence::Lost("the connection ended".into()));
                    }
                    Step::More => {}
                    step => break step,
                }
            };
            match step {
                Step::Send(next) => bytes = next,
                Step::Reconnect(next) => {
                    // Firmware has room for one connection.
                    drop(stream);
                    stream = connect(tunnel, channel).await?;
                    bytes = next;
                }
                Step::Done(outcome) => break outcome,
                Step::More => return Err(Silence::Lost("the connection ended".into())),
            }
        };
        if !client.needs_connection() {
            self.stream = Some(stream);
        }
        let response = response.map_err(refused)?;
        answer::read(response.status, &response.body).map_err(refused)
    }
}

async fn connect(tunnel: &AmtTunnel, channel: &Channel) -> Result<Box<dyn ByteStream>, Silence> {
    // Nothing was said yet.
    let refused =
        |error: io::Error| Silence::Refused(format!("Intel AMT cannot be reached: {error}"));
    let (proof, hash) = match channel {
        Channel::Plain => {
            forwarded(tunnel, PORT, LATEST).await;
            return tunnel.carrier.open(PORT, false).await.map_err(refused);
        }
        Channel::Tls => (None, None),
        // The handshake signs on the loop, once for each computer in its life.
        Channel::Introduced { certificate, hash } => (Some(certificate.for_tls()), Some(hash)),
    };
    forwarded(tunnel, TLS_PORT, LATEST).await;
    let mut failed = Vec::new();
    for by in By::ALL {
        let stream = tunnel.carrier.open(TLS_PORT, false).await.map_err(refused)?;
        match secure_as(stream, *by, proof).await {
            Ok((_, shown, _)) if hash.is_some_and(|hash| !is_announced(hash, &shown)) => {
                let why = "Intel AMT shows another certificate than it announced".to_owned();
                return Err(Silence::Refused(why));
            }
            Ok((stream, ..)) => return Ok(stream),
            Err(error) => failed.push(format!("{by}: {error}")),
        }
    }
    Err(Silence::Refused(format!("no TLS with Intel AMT: {}", failed.join("; "))))
}

/// Waits until a port is forwarded: programs offer one after the other, after they are let in. Whether
/// it is shows when it is opened.
async fn forwarded(tunnel: &AmtTunnel, port: u16, looks: usize) {
    for _ in 0..looks {
        if tunnel.carrier.ports().contains(&port) || tunnel.said.is_closed() {
            return;
        }
        Timer::after(LOOK).await;
    }
}

/// Whether `hash` (lower-case hex) is that of a certificate in DER form. Some firmware gives the hash
/// as text, so that what is told is the hex of the first half or all of its digits.
fn is_announced(hash: &str, certificate: &[u8]) -> bool {
    let Hashes { sha256, sha384, .. } = Hashes::of(certificate);
    let digits = HEXLOWER.decode(hash.as_bytes()).ok();
    let digits = digits.and_then(|digits| String::from_utf8(digits).ok());
    let as_text = digits.filter(|digits| digits.len() >= 32).map(|digits| digits.to_lowercase());
    [sha256, sha384].iter().any(|own| {
        own == hash || as_text.as_ref().is_some_and(|digits| own.starts_with(digits.as_str()))
    })
}

fn refused(why: Refused) -> Silence {
    match why {
        Refused::Credentials => Silence::Credentials,
        // Whatever it meant, it may have been done.
        Refused::Malformed(why) => Silence::Lost(why),
        other => Silence::Refused(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_known_by_its_hash_in_each_form_firmware_tells_it() {
        let Hashes { sha1, sha256, sha384 } = Hashes::of(b"certificate");
        let as_text = |digits: &str| HEXLOWER.encode(digits.as_bytes());
        for announced in [
            sha256.clone(),
            sha384.clone(),
            as_text(&sha256),
            as_text(&sha256[..32]),
            as_text(&sha384[..48].to_uppercase()),
        ] {
            assert!(is_announced(&announced, b"certificate"), "{announced}");
            assert!(!is_announced(&announced, b"another"), "{announced}");
        }
        for wrong in ["", "00", &sha1, &sha256[..62], &as_text(&sha256[..30])] {
            assert!(!is_announced(wrong, b"certificate"), "{wrong}");
        }
    }
}
