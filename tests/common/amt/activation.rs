//! Activation, as firmware sees it: whom it trusts, the certificates it was given so far, and the
//! methods that set it up.
//!
//! What the program on the computer asks the firmware directly (MEI) goes through a file beside that
//! program, `computer.json`: firmware writes what it is, and reads whether it was deactivated, and
//! whom it is to expect over TLS (`expects`).

use std::path::PathBuf;

use data_encoding::{BASE64, HEXLOWER};
use ring::digest::{SHA256, digest};
use ring::signature::{self, UnparsedPublicKey};
use serde_json::{Value, json};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::firmware::{Account, Firmware};

/// Return values: invalid state, invalid parameter, authentication failed.
const STATE: u32 = 2;
const PARAMETER: u32 = 3;
const REFUSED: u32 = 5;
const SETUP: &str = "IPS_HostBasedSetupService";
/// The user for programs on the computer, and its password.
pub const LOCAL: (&str, &str) = ("$$OsAdmin", "OsAdminPass123456");

/// See the module.
#[derive(Default)]
pub struct Activation {
    /// SHA-256 of the root it trusts, hexadecimal.
    pub root: String,
    /// Its DNS suffix.
    pub suffix: String,
    /// `computer.json`; `None` if nobody asks.
    pub file: Option<PathBuf>,
    /// The certificate and the key (DER) it has for its TLS.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
    /// The UUID of its computer.
    pub uuid: String,
    /// The hash of the certificate it expects, lower-case hex: it is being set up over TLS.
    pub expects: Option<String>,
    chain: Vec<Vec<u8>>,
    /// It does not commit before its menu has a password.
    pub lacks_menu: bool,
    /// What was done holds.
    committed: bool,
}

impl Firmware {
    /// Puts it into the state it leaves the factory in: it trusts one root, and its network has
    /// this DNS suffix.
    pub fn reset_to_factory(&mut self, root: &str, suffix: &str, file: PathBuf) {
        (self.activation.root, self.activation.suffix) = (root.into(), suffix.into());
        let key = rcgen::KeyPair::generate().expect("randomness");
        let params = rcgen::CertificateParams::new(vec!["amt.rcfg".to_owned()]).expect("a name");
        let shown = params.self_signed(&key).expect("a key of its own").der().to_vec();
        self.activation.own = Some((shown, key.serialize_der()));
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("the system has randomness");
        let hex = HEXLOWER.encode(&random);
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        self.activation.uuid = parts.join("-");
        // From this version on it speaks TLS only.
        if self.is_tls_only() {
            (self.plain, self.tls) = (false, self.activation.own.clone());
        }
        self.activation.file = Some(file);
        let hash = super::firmware::md5(&[LOCAL.0, &self.realm, LOCAL.1]);
        self.accounts.push(Account {
            handle: 99,
            name: LOCAL.0.into(),
            hash,
            access: 2,
            realms: Vec::new(),
            enabled: true,
        });
        self.reset();
    }

    /// Forgets its administrator.
    fn reset(&mut self) {
        let mut random = [0; 20];
        getrandom::fill(&mut random).expect("the system has randomness");
        self.admin.1 = random[..16].to_vec();
        self.activated = false;
        self.activation.chain.clear();
        (self.activation.expects, self.activation.committed) = (None, false);
        self.instance(SETUP).set("ConfigurationNonce", BASE64.encode(&random));
        self.become_mode(0);
    }

    fn is_tls_only(&self) -> bool {
        self.version.split('.').next().and_then(|n| n.parse::<u32>().ok()) >= Some(19)
    }

    fn become_mode(&mut self, mode: u64) {
        let setup = self.instance(SETUP);
        setup.set("CurrentControlMode", mode);
        setup.set("CertChainStatus", 0);
        self.activated = mode != 0;
        let Some(file) = &self.activation.file else { return };
        let Activation { root, suffix, uuid, own, committed, .. } = &self.activation;
        let holds = mode != 0 && (*committed || !self.is_tls_only());
        let state = if holds { 2 } else { mode.min(1) };
        // Before 14 it cannot be set up over TLS.
        let major = self.version.split('.').next().and_then(|n| n.parse::<u32>().ok());
        let shown = own.as_ref().filter(|_| major >= Some(14));
        let shown = shown.map(|(der, _)| HEXLOWER.encode(digest(&SHA256, der).as_ref()));
        let computer = json!({
            "mode": mode, "state": state, "root": root.to_uppercase(), "suffix": suffix,
            "version": self.version, "uuid": uuid, "user": LOCAL.0, "password": LOCAL.1,
            "shown": shown.map(|shown| shown.to_uppercase()),
        });
        // In one step, because somebody may be reading.
        let part = file.with_extension("part");
        std::fs::write(&part, computer.to_string()).expect("the folder is the test's");
        std::fs::rename(&part, file).expect("the folder is the test's");
    }

    /// What it is: 0 not activated, 1 client, 2 admin control mode.
    pub fn mode(&self) -> u64 {
        self.property(SETUP, "CurrentControlMode").parse().unwrap_or_default()
    }

    /// Looks whether the program on the computer has deactivated it.
    pub fn look_at_computer(&mut self) {
        let text = self.activation.file.as_ref().and_then(|file| std::fs::read(file).ok());
        let computer = text.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let Some(computer) = computer else { return };
        let expects = computer["expects"].as_str();
        let is_deactivated = computer["mode"] == 0 && self.mode() != 0;
        if is_deactivated || expects.is_none() && self.activation.expects.is_some() {
            self.reset();
        }
        if self.mode() == 0 {
            self.activation.expects = expects.map(str::to_lowercase);
        }
    }

    /// `CommitChanges` while it is set up; `None` if it is not.
    pub fn commit_set_up(&mut self) -> Option<Result<(), u32>> {
        let is_expecting = self.activation.expects.is_some();
        if !is_expecting && (self.activation.committed || !self.is_tls_only()) {
            return None;
        }
        if std::mem::take(&mut self.activation.lacks_menu) {
            return Some(Err(2057));
        }
        (self.activation.expects, self.activation.committed) = (None, true);
        let mode = if is_expecting { 2 } else { self.mode() };
        self.become_mode(mode);
        Some(Ok(()))
    }

    /// Whether a client with these certificates (DER, leaf first) is the one that was announced, and
    /// may set it up.
    pub fn expects(&self, chain: &[&[u8]]) -> bool {
        let Activation { root, suffix, expects, .. } = &self.activation;
        let leaf = chain.first().map(|leaf| HEXLOWER.encode(digest(&SHA256, leaf).as_ref()));
        leaf.is_some() && leaf == *expects && is_trusted(chain, root, suffix)
    }

    /// `AddNextCertInChain`.
    pub fn add_certificate(&mut self, blob: &str, is_leaf: bool, is_root: bool) -> Result<(), u32> {
        let given = BASE64.decode(blob.as_bytes()).map_err(|_| PARAMETER)?;
        if self.mode() != 0 {
            return Err(STATE);
        }
        if is_leaf != self.activation.chain.is_empty() {
            return Err(STATE);
        }
        self.activation.chain.push(given);
        let status = if is_root { 2 } else { 1 };
        self.instance(SETUP).set("CertChainStatus", status);
        let Activation { chain, root, suffix, .. } = &self.activation;
        let chain: Vec<_> = chain.iter().map(Vec::as_slice).collect();
        if is_root && !is_trusted(&chain, root, suffix) {
            self.activation.chain.clear();
            self.instance(SETUP).set("CertChainStatus", 0);
            return Err(REFUSED);
        }
        Ok(())
    }

    /// `AdminSetup`.
    pub fn admin_setup(&mut self, password: &str, nonce: &str, proof: &str) -> Result<(), u32> {
        let decode = |text: &str| BASE64.decode(text.as_bytes()).map_err(|_| PARAMETER);
        let (nonce, proof) = (decode(nonce)?, decode(proof)?);
        if self.mode() != 0 || self.property(SETUP, "CertChainStatus") != "2" {
            return Err(STATE);
        }
        let own = decode(self.property(SETUP, "ConfigurationNonce"))?;
        let leaf = self.activation.chain.first().ok_or(STATE)?;
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| REFUSED)?;
        let key = &leaf.public_key().subject_public_key.data;
        let key = UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, key);
        if nonce.len() != 20 {
            return Err(PARAMETER);
        }
        key.verify(&[own, nonce].concat(), &proof).map_err(|_| REFUSED)?;
        self.set_up(2, password)
    }

    /// `Setup`.
    pub fn client_setup(&mut self, password: &str) -> Result<(), u32> {
        if self.mode() != 0 {
            return Err(STATE);
        }
        self.set_up(1, password)?;
        self.client_control();
        Ok(())
    }

    fn set_up(&mut self, mode: u64, password: &str) -> Result<(), u32> {
        let hash = HEXLOWER.decode(password.as_bytes()).map_err(|_| PARAMETER)?;
        if hash.len() != 16 {
            return Err(PARAMETER);
        }
        self.admin = ("admin".into(), hash);
        self.become_mode(mode);
        Ok(())
    }
}

/// Every certificate is signed by the next one, the last one is trusted, and the first is for
/// activating computers of this domain.
fn is_trusted(chain: &[&[u8]], root: &str, suffix: &str) -> bool {
    let parse = |der| X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate);
    let parsed: Option<Vec<_>> = chain.iter().map(|der| parse(der)).collect();
    let Some(parsed) = parsed else { return false };
    let (Some(leaf), Some(last)) = (parsed.first(), chain.last()) else { return false };
    let issuers = parsed.iter().skip(1).chain(parsed.last());
    let is_whole = parsed.iter().zip(issuers).all(|(certificate, issuer)| {
        let key = &issuer.public_key().subject_public_key.data;
        let is_signed = |algorithm| {
            let key = UnparsedPublicKey::new(algorithm, key);
            key.verify(certificate.tbs_certificate.as_ref(), &certificate.signature_value.data)
        };
        let algorithms =
            [&signature::RSA_PKCS1_2048_8192_SHA256, &signature::RSA_PKCS1_2048_8192_SHA384];
        certificate.issuer().as_raw() == issuer.subject().as_raw()
            && algorithms.into_iter().any(|algorithm| is_signed(algorithm).is_ok())
    });
    let usages = leaf.extended_key_usage().ok().flatten();
    let is_meant = usages.is_some_and(|usages| {
        let mut other = usages.value.other.iter();
        usages.value.server_auth && other.any(|oid| oid.to_id_string() == "2.16.840.1.113741.1.2.3")
    });
    let name = leaf.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    // It compares the last two labels of both.
    let end = |name: &str| {
        let labels: Vec<_> = name.rsplit('.').take(2).map(str::to_lowercase).collect();
        labels
    };
    let fits = name.is_some_and(|name| end(name) == end(suffix));
    let hash = HEXLOWER.encode(digest(&SHA256, last).as_ref());
    is_whole && is_meant && fits && hash == *root
}
