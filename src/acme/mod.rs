//! The web certificate from an authority that speaks ACME (RFC 8555), such as Let's Encrypt.
//!
//! [`schedule`] says when to ask, [`order`] asks, [`client`] is its HTTPS, [`memory`] keeps the
//! account. That a name leads here is proven by a certificate on the HTTPS port (TLS-ALPN-01,
//! RFC 8737) or a text on the HTTP port (HTTP-01), while an order runs. The new certificate takes the
//! place of the old one in the data folder, where whoever watches it finds it.

mod client;
mod memory;
mod order;
pub mod proofs;
mod schedule;

use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use async_io::Timer;

use crate::config::{Acme, Challenge};
use crate::identity::tls::WebTls;
use crate::identity::{IdentityError, replace_web};
use crate::model::Millis;
use crate::pool;

use memory::Memory;
use proofs::Proofs;
use schedule::{Certificate, Failures, Verdict};

/// Why there is no certificate.
#[derive(Debug)]
pub enum AcmeError {
    /// The authority refused, or what it says makes no sense.
    Authority(String),
    /// Nobody answers there, or not in time.
    Unreachable(String),
    /// The new certificate could not be kept.
    Disk(IdentityError),
}

impl fmt::Display for AcmeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(what) => write!(f, "the authority refused: {what}"),
            Self::Unreachable(what) => write!(f, "the authority cannot be reached: {what}"),
            Self::Disk(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AcmeError {}

/// Everything the task needs to know.
pub struct Renewal {
    /// The data folder.
    pub data: PathBuf,
    /// The certificate in force, which shows proofs, too.
    pub tls: std::sync::Arc<WebTls>,
    /// Texts for the HTTP port.
    pub proofs: Rc<Proofs>,
    /// What is asked for; `None` while nothing is. Read anew each time.
    pub wanted: Box<dyn Fn() -> Option<Acme>>,
    /// The last wall time known from disk: an earlier clock is wrong.
    pub floor: Millis,
}

/// Keeps the certificate fresh, for ever.
pub async fn run(renewal: Renewal) {
    let jitter = schedule::jitter();
    let mut failures = Failures::default();
    loop {
        let wait = match (renewal.wanted)() {
            None => schedule::LOOK,
            Some(wanted) => renewal.attend(&wanted, jitter, &mut failures).await,
        };
        Timer::after(wait).await;
    }
}

impl Renewal {
    /// Asks for a certificate if it is time. Returns when to look again.
    async fn attend(&self, wanted: &Acme, jitter: f64, failures: &mut Failures) -> Duration {
        let memory = Memory::load(&self.data).await;
        let current = self.current(wanted, &memory);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = Millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        match schedule::verdict(&current, now, self.floor, jitter) {
            Verdict::Wait(wait) => return wait,
            Verdict::Ask => {}
        }
        let challenge = wanted.challenge.unwrap_or(match failures.count() % 2 {
            0 => Challenge::TlsAlpn,
            _ => Challenge::Http,
        });
        match self.ask(wanted, challenge, memory).await {
            Ok(()) => {
                *failures = Failures::default();
                log::info!("new certificate for {}", wanted.names.join(", "));
                // It is in force when whoever watches the files has seen it.
                schedule::LOOK
            }
            Err(error) => {
                let wait = failures.next(jitter);
                log::warn!(
                    "no new certificate for {} from {} by {}: {error}; again in {} minutes",
                    wanted.names.join(", "),
                    wanted.directory,
                    challenge.word(),
                    wait.as_secs().div_ceil(60)
                );
                wait
            }
        }
    }

    /// What is to be known of the certificate in force.
    fn current(&self, wanted: &Acme, memory: &Memory) -> Certificate {
        let chain = self.tls.chain();
        let leaf = chain.first().map(|leaf| leaf.as_ref()).unwrap_or_default();
        Certificate::of(leaf, &wanted.names, memory.is_from(&wanted.directory))
    }

    async fn ask(
        &self,
        wanted: &Acme,
        challenge: Challenge,
        mut memory: Memory,
    ) -> Result<(), AcmeError> {
        let issued = order::order(self, wanted, challenge, &mut memory).await;
        self.proofs.clear();
        self.tls.clear_proofs();
        let issued = issued?;
        memory.set_issuer(&wanted.directory);
        let data = self.data.clone();
        let kept = pool::unblock(move || {
            replace_web(&data, &issued.chain, &issued.key)?;
            memory.save(&data)
        });
        kept.await.map_err(AcmeError::Disk)
    }
}

impl Challenge {
    /// Its name in RFC 8555 and RFC 8737.
    fn word(self) -> &'static str {
        match self {
            Self::TlsAlpn => "tls-alpn-01",
            Self::Http => "http-01",
        }
    }
}
