//! What a visit asks of the firmware, as WS-Management through the tunnel of the computer it is on.
//!
//! The local login works only from within, so this takes that tunnel and no other way.

use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use data_encoding::BASE64;
use futures_lite::future::or;
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::flow::{Answer, Call, Silence};
use super::state::{Login, Mode};
use crate::amt::digest::Credentials;
use crate::amt::wsman::answer::{self, Refused};
use crate::amt::wsman::client::{Client, Step};
use crate::amt::wsman::{Element, Operation, Verb};
use crate::hub::{AmtTunnel, ByteStream};

/// Port of the firmware's web server, without TLS.
const PORT: u16 = 16992;
/// Time for one request and its answer.
const ANSWER: Duration = Duration::from_secs(30);
const SETUP: &str = "IPS_HostBasedSetupService";
const GENERAL: &str = "AMT_GeneralSettings";
/// MD5 of user, realm and password, as HTTP digest has it.
const PASSWORD_KIND: u32 = 2;
/// RSA with SHA-256.
const SIGNATURE_KIND: u32 = 2;

/// A conversation with the firmware.
pub(super) struct Talk {
    tunnel: Rc<AmtTunnel>,
    login: Option<Login>,
    client: Option<Client>,
    stream: Option<Box<dyn ByteStream>>,
    next_id: u32,
}

impl Talk {
    /// Through `tunnel`; nothing is said yet.
    pub(super) fn new(tunnel: Rc<AmtTunnel>) -> Self {
        Self { tunnel, login: None, client: None, stream: None, next_id: 1 }
    }

    /// Performs a call. `local` is the login that works from within.
    pub(super) async fn perform(
        &mut self,
        call: Call,
        local: Option<Login>,
    ) -> Result<Answer, Silence> {
        let login = match &call {
            Call::LogIn(login) => Some(login.clone()),
            _ => local,
        };
        let login = login.ok_or(Silence::Credentials)?;
        if self.login.as_ref() != Some(&login) {
            let credentials =
                Credentials { user: login.user.clone(), password: login.password.clone() };
            self.client = Some(Client::new(credentials, "amt", None));
            (self.login, self.stream) = (Some(login), None);
        }
        match call {
            Call::LogIn(_) => self.get(GENERAL).await.map(|_| Answer::LoggedIn),
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
        let (id, tunnel) = (self.next_id, &self.tunnel);
        self.next_id = id.wrapping_add(1).max(1);
        // Taken out until the answer is whole: nobody reads the rest of one that was given up.
        let kept = self.stream.take().filter(|_| !client.needs_connection());
        if kept.is_none() {
            client.abandon();
        }
        let mut bytes = client.start(operation.envelope(id));
        let mut stream = match kept {
            Some(stream) => stream,
            None => connect(tunnel).await?,
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
                    stream = connect(tunnel).await?;
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

async fn connect(tunnel: &AmtTunnel) -> Result<Box<dyn ByteStream>, Silence> {
    let opened = tunnel.carrier.open(PORT, false).await;
    // Nothing was said yet.
    opened.map_err(|error| Silence::Refused(format!("Intel AMT cannot be reached: {error}")))
}

fn refused(why: Refused) -> Silence {
    match why {
        Refused::Credentials => Silence::Credentials,
        // Whatever it meant, it may have been done.
        Refused::Malformed(why) => Silence::Lost(why),
        other => Silence::Refused(other.to_string()),
    }
}
