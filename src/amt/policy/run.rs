//! Does what the plans say, in the order of the stock server: clock, TLS, networks, where it calls,
//! features.
//!
//! What the firmware refuses in one part is logged, and the next part goes on; what breaks the
//! connection ends the run, which begins anew with the next contact.

use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use serde_json::json;

use super::plan::{Found, Read, Step};
use super::{cira, features, tls, wireless};
use crate::amt::settings;
use crate::amt::tls::fingerprint_of;
use crate::amt::wsman::{Element, Failure, Link, Refused};
use crate::config::AmtSetup;
use crate::hub::amt_login::Setup;
use crate::hub::{AmtTunnel, Hub};
use crate::identity::Root;
use crate::model::{AmtAccess, AmtPolicy, Group};

/// Between two tries: firmware needs a while to make a key, and to change over to TLS.
const KEY: Duration = pause(10);
const CHANGE: Duration = pause(2);
/// How often each is tried.
const KEYS_MAX: usize = 20;
const CHANGES_MAX: usize = 10;
/// Firmware says that it cannot make a key now: not ready, keys are being made.
const NOT_NOW: [u32; 2] = [2, 2061];
/// It has that already.
const DUPLICATE: u32 = 2058;
/// The first version whose TLS is spoken without `legacy-amt`.
const MODERN_TLS: u32 = 12;
/// The first version with a proxy.
const HAS_PROXY: u32 = 12;
/// Consent is asked for a desktop (`consent` of a group).
const ASK_FOR_DESKTOP: u32 = 8;

/// Tests do not wait.
const fn pause(seconds: u64) -> Duration {
    Duration::from_secs(if cfg!(test) { 0 } else { seconds })
}

/// Everything a run needs to know.
pub(super) struct Site<'a> {
    pub(super) hub: &'a Rc<Hub>,
    pub(super) link: &'a Link,
    pub(super) policy: Rc<AmtPolicy>,
    pub(super) group: Option<Rc<Group>>,
    pub(super) setup: AmtSetup,
    /// Who issues certificates, for people.
    pub(super) organization: String,
    /// The tunnel from within the computer, if it is that.
    pub(super) within: Option<Rc<AmtTunnel>>,
    /// Names of computer and domain, as the system told them.
    pub(super) name: Option<(String, String)>,
    /// TLS on the network alone.
    pub(super) network_only: bool,
    /// `tlsConnections`: what would not be used is not switched on.
    pub(super) uses_tls: bool,
}

impl Site<'_> {
    /// Does everything.
    ///
    /// # Errors
    /// What ended it.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        match self.policy.kind {
            0 => return Ok(()),
            // What is to be deactivated is not set up; it does not call any more.
            1 if self.within.is_none() => return Ok(()),
            1 => return self.part("CIRA", self.cira(1).await),
            _ => {}
        }
        self.part("clock", self.clock().await)?;
        let mut found = Found::read(self.link, &tls::READS).await?;
        if self.part("TLS", self.tls(&found).await)? {
            self.part("clock", self.clock().await)?;
            found = Found::read(self.link, &tls::READS).await?;
        }
        if self.within.is_some() {
            self.part("networks", self.wireless().await)?;
            // A policy that does everything calls, too.
            let cira = if self.policy.kind == 4 { 2 } else { self.policy.cira };
            // Whom it does not trust it does not call.
            let trusted = if cira == 2 { self.trust(&found).await } else { Ok(()) };
            let is_trusted = trusted.is_ok();
            self.part("root certificate", trusted)?;
            if is_trusted {
                self.part("CIRA", self.cira(cira).await)?;
            }
        }
        self.part("features", self.features().await)
    }

    /// A part that is refused does not keep the others from being done.
    fn part<T: Default>(&self, name: &str, outcome: Result<T, Failure>) -> Result<T, Failure> {
        match outcome {
            Err(failure) if failure.is_refusal() || matches!(failure, Failure::Unable(_)) => {
                log::warn!("{name} of the Intel AMT of {}: {failure}", self.link.node());
                self.say(&format!("{name}: {failure}"));
                Ok(T::default())
            }
            other => other,
        }
    }

    /// Tells the program on the computer.
    fn say(&self, text: &str) {
        log::debug!("Intel AMT of {}: {text}", self.link.node());
        if let Some(tunnel) = &self.within {
            tunnel.carrier.tell(&json!({"action": "console", "msg": text}));
        }
    }

    async fn perform(&self, steps: impl IntoIterator<Item = Step>) -> Result<(), Failure> {
        for step in steps {
            self.step(step).await?;
        }
        Ok(())
    }

    /// What it put out; nothing if it was refused and may be.
    async fn step(&self, step: Step) -> Result<Option<Element>, Failure> {
        let class = step.operation.class;
        match self.link.perform(step.operation).await {
            Ok(answer) => {
                if !step.says.is_empty() {
                    self.say(step.says);
                }
                Ok(answer)
            }
            Err(failure) if failure.is_refusal() && !step.is_needed => {
                log::info!("{class} of the Intel AMT of {}: {failure}", self.link.node());
                self.say(&format!("{class}: {failure}"));
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    async fn clock(&self) -> Result<(), Failure> {
        if settings::set_clock(self.link, self.hub.now().seconds().0).await? {
            self.say("Time set.");
        }
        Ok(())
    }

    /// Whether it was changed over to TLS just now.
    async fn tls(&self, found: &Found) -> Result<bool, Failure> {
        if !self.uses_tls {
            return Ok(false);
        }
        // The keys of a new server take a while.
        let Some(root) = self.hub.amt_home().root() else { return Ok(false) };
        let major = self.major().await;
        if major < MODERN_TLS && !cfg!(feature = "legacy-amt") {
            self.say("TLS needs Intel AMT 12, or a server built with the feature legacy-amt.");
            return Ok(false);
        }
        match tls::judge(found, &root) {
            tls::State::Unable => Ok(false),
            tls::State::On(certificate) => {
                let access = self.hub.store.amt_access(self.link.node());
                if access.is_some_and(|access| !access.tls) {
                    self.change_over(&certificate).await?;
                }
                Ok(false)
            }
            tls::State::Begun(certificate) => {
                self.perform(tls::enable(found, self.network_only)).await?;
                self.commit().await?;
                self.change_over(&certificate).await.map(|()| true)
            }
            tls::State::Off => {
                let certificate = self.certify(found, root).await?;
                self.perform(tls::enable(found, self.network_only)).await?;
                self.commit().await?;
                self.change_over(&certificate).await.map(|()| true)
            }
        }
    }

    async fn major(&self) -> u32 {
        let version = self.link.contact().await.version.unwrap_or_default();
        version.split('.').next().and_then(|n| n.parse().ok()).unwrap_or_default()
    }

    /// Gives it a key and a certificate (DER) for it. If that fails nothing of it stays.
    async fn certify(&self, found: &Found, root: Rc<Root>) -> Result<Vec<u8>, Failure> {
        let made = self.make_key().await?;
        let key = tls::made_key(&made).ok_or_else(|| odd("it names no key"))?;
        let mut undo = vec![tls::remove(tls::KEYS, key)];
        let outcome = self.certify_key(found, root, key, &mut undo).await;
        if matches!(&outcome, Err(failure) if failure.is_refusal()) {
            self.perform(undo.into_iter().rev()).await?;
        }
        outcome
    }

    async fn certify_key(
        &self,
        found: &Found,
        root: Rc<Root>,
        key: &str,
        undo: &mut Vec<Step>,
    ) -> Result<Vec<u8>, Failure> {
        let pairs = self.link.list(tls::KEYS).await?;
        let key = tls::public_key(&pairs, key).ok_or_else(|| odd("the key is none"))?;
        let mut random = [0; 6];
        let unable = Failure::Unable("there are no random numbers");
        getrandom::fill(&mut random).map_err(|_| unable)?;
        let name = format!("IntelAMT-{}", data_encoding::HEXLOWER.encode(&random));
        let organization = self.organization.clone();
        let root = Root::clone(&root);
        let issued =
            crate::pool::unblock(move || root.issue_for_firmware(&key, &name, &organization));
        let certificate = issued.await.map_err(|error| {
            log::error!("no certificate for Intel AMT: {error}");
            odd("no certificate could be issued")
        })?;
        let added = self.link.call(tls::add_certificate(&certificate)).await?;
        let id = tls::added_certificate(&added).ok_or_else(|| odd("it names no certificate"))?;
        undo.push(tls::remove(tls::CERTIFICATES, id));
        let collection = Found::read(self.link, &[Read::All(tls::COLLECTION)]).await?;
        self.step(tls::credential(found, &collection, id)).await?;
        Ok(certificate)
    }

    async fn make_key(&self) -> Result<Element, Failure> {
        for _ in 1..KEYS_MAX {
            match self.link.call(tls::make_key()).await {
                Err(Failure::Refused(Refused::Returned(_, value))) if NOT_NOW.contains(&value) => {
                    Timer::after(KEY).await;
                }
                other => return other,
            }
        }
        self.link.call(tls::make_key()).await
    }

    /// Has the settings hold. If no answer comes it is asked again: that does no harm.
    async fn commit(&self) -> Result<(), Failure> {
        self.say("Performing Commit...");
        match self.link.call(tls::commit()).await {
            Ok(_) => return Ok(()),
            Err(failure) if failure.is_refusal() => return Err(failure),
            Err(_) => {}
        }
        self.link.hang_up().await;
        Timer::after(CHANGE).await;
        self.link.call(tls::commit()).await.map(drop)
    }

    /// From now on it is spoken to with TLS, where that is not inside a tunnel of its own, and is
    /// known by this certificate. If that does not come about it stays as it was.
    async fn change_over(&self, certificate: &[u8]) -> Result<(), Failure> {
        let (store, node) = (&self.hub.store, self.link.node());
        let before = store.amt_access(node);
        let (user, password) = (&self.link.credentials().user, &self.link.credentials().password);
        let plain = || AmtAccess::new(node.clone(), user, password, false);
        let plain = before.as_deref().cloned().unwrap_or_else(plain);
        let pin = fingerprint_of(certificate);
        store.put(AmtAccess { tls: true, pin: Some(pin), ..plain.clone() }).later();
        let mut last = Failure::Late;
        for _ in 0..CHANGES_MAX {
            self.link.hang_up().await;
            Timer::after(CHANGE).await;
            match settings::identify(self.link).await {
                Ok(_) => {
                    let hash = data_encoding::HEXLOWER.encode(&pin);
                    self.hub.change_amt_facts(node, |facts| {
                        facts.insert("hash".into(), hash.into());
                    });
                    self.say("Enabled TLS.");
                    return Ok(());
                }
                Err(failure) => last = failure,
            }
        }
        log::warn!("Intel AMT of {node} has TLS, but this server cannot use it: {last}");
        store.put(plain).later();
        self.link.hang_up().await;
        settings::identify(self.link).await.map(drop)
    }

    async fn wireless(&self) -> Result<(), Failure> {
        let found = Found::read(self.link, wireless::reads(&self.setup)).await?;
        self.perform(wireless::plan(&found, &self.setup)).await
    }

    /// Has it trust the root that issued the certificate of the port it calls.
    async fn trust(&self, found: &Found) -> Result<(), Failure> {
        let home = self.hub.amt_home();
        let (Some(root), Some(_)) = (home.root(), home.destination()) else { return Ok(()) };
        if tls::holds(found, root.der()) {
            return Ok(());
        }
        match self.link.call(tls::trust(root.der())).await {
            Err(Failure::Refused(Refused::Returned(_, DUPLICATE))) => Ok(()),
            Err(failure) => Err(failure),
            Ok(_) => {
                self.say("Added server root certificate.");
                Ok(())
            }
        }
    }

    /// 0 leaves it, 1 removes it, 2 sets it up.
    async fn cira(&self, wanted: u8) -> Result<(), Failure> {
        let mut nowhere = [0; 6];
        let unable = Failure::Unable("there are no random numbers");
        getrandom::fill(&mut nowhere).map_err(|_| unable)?;
        let nowhere = data_encoding::HEXLOWER.encode(&nowhere);
        let setup = self.destination();
        let wish = match (wanted, &setup) {
            (1, _) => cira::Wish::Nobody,
            (2, Some(setup)) => {
                let home = &self.setup.home;
                cira::Wish::Here { setup, home, nowhere: &nowhere }
            }
            (2, None) => {
                return Err(Failure::Unable("the Intel AMT port of this server is not open"));
            }
            _ => return Ok(()),
        };
        let older = self.major().await < HAS_PROXY;
        let reads = cira::READS.get(..cira::READS_BEFORE_12).filter(|_| older);
        let found = Found::read(self.link, reads.unwrap_or(&cira::READS)).await?;
        let Some(mut plan) = cira::plan(&found, &wish) else {
            self.say("This device does not support CIRA.");
            return Ok(());
        };
        self.perform(std::mem::take(&mut plan.before)).await?;
        let added = match plan.server.take() {
            Some(step) => self.step(step).await?,
            None => None,
        };
        if let Some(rule) = plan.rule(added.as_ref()) {
            self.step(rule).await?;
        }
        self.perform(plan.after).await?;
        self.hub.change_amt_facts(self.link.node(), |facts| match wish {
            // That there is one; which it is nobody is told.
            cira::Wish::Here { .. } => drop(facts.insert("mpspass".into(), 1.into())),
            cira::Wish::Nobody => drop(facts.remove("mpspass")),
        });
        Ok(())
    }

    fn destination(&self) -> Option<Setup> {
        let there = self.hub.amt_home().destination()?;
        Setup::of(self.hub, self.group.as_deref()?, there.host, there.number)
    }

    async fn features(&self) -> Result<(), Failure> {
        let found = Found::read(self.link, &features::READS).await?;
        let asks = self.group.as_ref().is_some_and(|group| group.consent & ASK_FOR_DESKTOP != 0);
        self.perform(features::plan(&found, u32::from(asks), self.name.as_ref())).await
    }
}

/// What it answers makes no sense: the same as if it had refused.
fn odd(what: &str) -> Failure {
    Failure::Refused(Refused::Malformed(what.to_owned()))
}
