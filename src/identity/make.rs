//! Making what is missing, once.
//!
//! The web certificate (ECDSA P-256, self-signed) takes milliseconds and is there before the
//! listener. The RSA keys take seconds on a board and are made in the blocking pool, in parallel.
//! All run from 2018-01-01 to 2049-12-31, because boards boot in the past.

use std::path::Path;

use num_bigint_dig::RandPrime as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SignatureAlgorithm, date_time_ymd,
};
use rsa::pkcs8::EncodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPrivateKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::certificate::{self, AgentServer, WebCertificate};
use super::files::{self, IdentityError, Pair, Role};
use super::renew::finish_replacement;

/// Names to put into the certificates.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `cert` of the configuration, or the host name: common name and first alternative name.
    pub server: String,
    /// Further names and addresses the web certificate is valid for.
    pub others: Vec<String>,
}

/// The RSA identities.
pub struct Rsa {
    /// The identity agents pin.
    pub agent_server: AgentServer,
    /// DER of the root certificate.
    pub root: Vec<u8>,
    /// Chain and key of the Intel AMT port.
    pub mps: WebCertificate,
}

/// Loads the web certificate, or makes it.
pub fn load_or_make_web(dir: &Path, names: &Names) -> Result<WebCertificate, IdentityError> {
    finish_replacement(dir)?;
    let pair = match files::read(dir, Role::Web)? {
        Some(pair) => pair,
        None => {
            let key = KeyPair::generate().map_err(make_error)?;
            let mut params = params(&names.server);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = alternative_names(names);
            let cert = params.self_signed(&key).map_err(make_error)?;
            files::write(dir, Role::Web, &cert.pem(), &key.serialize_pem())?;
            read_back(dir, Role::Web)?
        }
    };
    WebCertificate::new(pair.chain, pair.key)
        .map_err(|what| IdentityError::Invalid(Role::Web.cert_path(dir), what))
}

/// Loads the RSA identities, or makes those that are missing. Blocks for seconds: call it in the
/// pool. `devices` is the number of known devices: with any, a missing agent-server key is an
/// error, because a new one would orphan their agents.
pub fn load_or_make_rsa(dir: &Path, names: &Names, devices: usize) -> Result<Rsa, IdentityError> {
    let existing = files::read(dir, Role::AgentServer)?;
    if existing.is_none() && devices > 0 {
        return Err(IdentityError::WouldOrphanAgents(Role::AgentServer.key_path(dir), devices));
    }
    let root = files::read(dir, Role::Root)?;
    let mps = files::read(dir, Role::Mps)?;
    // The slow part, three keys at most, side by side.
    let (root_key, agent_key, mps_key) = std::thread::scope(|scope| {
        let spawn = |missing: bool, bits| missing.then(|| scope.spawn(move || rsa_key_pair(bits)));
        let root_key = spawn(root.is_none(), 3072);
        let agent_key = spawn(existing.is_none(), 2048);
        let mps_key = spawn(mps.is_none(), 2048);
        (join(root_key), join(agent_key), join(mps_key))
    });

    if let Some(key) = root_key? {
        let mut params = params(&format!("MeshCentralRoot-{}", suffix()?));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = params.self_signed(&key).map_err(make_error)?;
        files::write(dir, Role::Root, &cert.pem(), &key.serialize_pem())?;
    }
    let root = match root {
        Some(root) => root,
        None => read_back(dir, Role::Root)?,
    };
    let issue = |role, key: KeyPair, name: &str| -> Result<Pair, IdentityError> {
        let cert = signed(dir, &root, &key, name)?;
        files::write(dir, role, &cert, &key.serialize_pem())?;
        read_back(dir, role)
    };
    let agent_server = match (existing, agent_key?) {
        (Some(pair), _) => pair,
        (None, Some(key)) => {
            issue(Role::AgentServer, key, &format!("MeshCentralAgentServer-{}", suffix()?))?
        }
        (None, None) => return Err(IdentityError::Make("no agent-server key".into())),
    };
    let mps = match (mps, mps_key?) {
        (Some(pair), _) => pair,
        (None, Some(key)) => issue(Role::Mps, key, &names.server)?,
        (None, None) => return Err(IdentityError::Make("no MPS key".into())),
    };
    let invalid = |role: Role| move |what| IdentityError::Invalid(role.cert_path(dir), what);
    Ok(Rsa {
        agent_server: AgentServer::new(
            leaf(dir, Role::AgentServer, &agent_server)?,
            &agent_server.key,
        )
        .map_err(invalid(Role::AgentServer))?,
        root: leaf(dir, Role::Root, &root)?.to_vec(),
        mps: WebCertificate::new(mps.chain, mps.key).map_err(invalid(Role::Mps))?,
    })
}

/// A certificate of `key`, issued by the root to `name`, as PEM.
fn signed(dir: &Path, root: &Pair, key: &KeyPair, name: &str) -> Result<String, IdentityError> {
    let issuer = issuer(dir, root)?;
    let mut params = params(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let names = Names { server: name.to_owned(), others: Vec::new() };
    params.subject_alt_names = alternative_names(&names);
    Ok(params.signed_by(key, &issuer).map_err(make_error)?.pem())
}

/// Loads the certificate of the Intel AMT port, which [`load_or_make_rsa`] has made. If it is made
/// out to another name than `name` it is issued anew with its old key: firmware compares the name.
pub fn load_mps(dir: &Path, name: Option<&str>) -> Result<WebCertificate, IdentityError> {
    let root = read_back(dir, Role::Root)?;
    let pair = renamed(dir, &root, Role::Mps, read_back(dir, Role::Mps)?, name)?;
    served(dir, Role::Mps, pair)
}

/// Loads the certificate with a key of 3072 bits, for firmware that refuses shorter ones, or makes
/// it. Blocks for seconds: call it in the pool.
pub fn load_or_make_long_mps(dir: &Path, name: &str) -> Result<WebCertificate, IdentityError> {
    let root = read_back(dir, Role::Root)?;
    let pair = match files::read(dir, Role::MpsLong)? {
        Some(pair) => renamed(dir, &root, Role::MpsLong, pair, Some(name))?,
        None => {
            let key = rsa_key_pair(3072)?;
            let cert = signed(dir, &root, &key, name)?;
            files::write(dir, Role::MpsLong, &cert, &key.serialize_pem())?;
            read_back(dir, Role::MpsLong)?
        }
    };
    served(dir, Role::MpsLong, pair)
}

fn served(dir: &Path, role: Role, pair: Pair) -> Result<WebCertificate, IdentityError> {
    let invalid = |what| IdentityError::Invalid(role.cert_path(dir), what);
    WebCertificate::new(pair.chain, pair.key).map_err(invalid)
}

fn renamed(
    dir: &Path,
    root: &Pair,
    role: Role,
    pair: Pair,
    name: Option<&str>,
) -> Result<Pair, IdentityError> {
    let current = certificate::common_name(leaf(dir, role, &pair)?);
    let Some(name) = name.filter(|name| current.as_deref() != Some(*name)) else {
        return Ok(pair);
    };
    let key = key_pair(&role.key_path(dir), &pair.key)?;
    files::replace(dir, role, &signed(dir, root, &key, name)?)?;
    read_back(dir, role)
}

fn leaf<'a>(
    dir: &Path,
    role: Role,
    pair: &'a Pair,
) -> Result<&'a rustls_pki_types::CertificateDer<'static>, IdentityError> {
    pair.chain
        .first()
        .ok_or_else(|| IdentityError::Invalid(role.cert_path(dir), "no certificate in it".into()))
}

/// What was just written, through the same door as everything else.
pub(super) fn read_back(dir: &Path, role: Role) -> Result<Pair, IdentityError> {
    files::read(dir, role)?.ok_or_else(|| IdentityError::Half(role.cert_path(dir)))
}

fn issuer(dir: &Path, root: &Pair) -> Result<Issuer<'static, KeyPair>, IdentityError> {
    issuer_with(dir, root, &rcgen::PKCS_RSA_SHA384)
}

/// The root in `dir`, signing like this.
pub(super) fn root_issuer(
    dir: &Path,
    algorithm: &'static SignatureAlgorithm,
) -> Result<Issuer<'static, KeyPair>, IdentityError> {
    issuer_with(dir, &read_back(dir, Role::Root)?, algorithm)
}

fn issuer_with(
    dir: &Path,
    root: &Pair,
    algorithm: &'static SignatureAlgorithm,
) -> Result<Issuer<'static, KeyPair>, IdentityError> {
    let key = key_pair_with(&Role::Root.key_path(dir), &root.key, algorithm)?;
    let invalid =
        |e: rcgen::Error| IdentityError::Invalid(Role::Root.cert_path(dir), e.to_string());
    Issuer::from_ca_cert_der(leaf(dir, Role::Root, root)?, key).map_err(invalid)
}

/// The RSA key in `path`, which signs.
fn key_pair(path: &Path, key: &PrivateKeyDer<'static>) -> Result<KeyPair, IdentityError> {
    key_pair_with(path, key, &rcgen::PKCS_RSA_SHA384)
}

fn key_pair_with(
    path: &Path,
    key: &PrivateKeyDer<'static>,
    algorithm: &'static SignatureAlgorithm,
) -> Result<KeyPair, IdentityError> {
    let invalid = |what: String| IdentityError::Invalid(path.to_owned(), what);
    let key = match key {
        PrivateKeyDer::Pkcs8(key) => key.clone_key(),
        PrivateKeyDer::Pkcs1(key) => {
            use rsa::pkcs1::DecodeRsaPrivateKey as _;
            let key = RsaPrivateKey::from_pkcs1_der(key.secret_pkcs1_der());
            pkcs8(&key.map_err(|e| invalid(e.to_string()))?)?
        }
        _ => return Err(invalid("not RSA".into())),
    };
    KeyPair::from_pkcs8_der_and_sign_algo(&key, algorithm).map_err(|e| invalid(e.to_string()))
}

pub(super) fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.not_before, params.not_after) = validity();
    params
}

/// From when until when every certificate of this server is valid.
pub(super) fn validity() -> (time::OffsetDateTime, time::OffsetDateTime) {
    (date_time_ymd(2018, 1, 1), date_time_ymd(2049, 12, 31))
}

fn alternative_names(names: &Names) -> Vec<SanType> {
    let mut sans = Vec::new();
    for name in std::iter::once(&names.server).chain(&names.others) {
        let san = match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => match name.as_str().try_into() {
                Ok(name) => SanType::DnsName(name),
                Err(_) => continue,
            },
        };
        if !sans.contains(&san) {
            sans.push(san);
        }
    }
    sans
}

/// An RSA key of two primes, public exponent 65537.
///
/// `RsaPrivateKey::new` does the same for any number of primes, and to judge that number needs a
/// logarithm: the only one in the program, and with it 0.4 MB of `libm` in memory.
pub(super) fn rsa_key_pair(bits: usize) -> Result<KeyPair, IdentityError> {
    let mut random = rsa::rand_core::OsRng;
    loop {
        let (p, q) = (random.gen_prime(bits / 2), random.gen_prime(bits / 2));
        // Refused: equal primes, or one that does not go with the exponent. Both are rare.
        let Ok(key) = RsaPrivateKey::from_p_q(p, q, BigUint::from(65_537_u32)) else { continue };
        if key.n().bits() == bits {
            return KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8(&key)?, &rcgen::PKCS_RSA_SHA384)
                .map_err(make_error);
        }
    }
}

fn pkcs8(key: &RsaPrivateKey) -> Result<PrivatePkcs8KeyDer<'static>, IdentityError> {
    let der = key.to_pkcs8_der().map_err(make_error)?;
    Ok(PrivatePkcs8KeyDer::from(der.as_bytes().to_vec()))
}

type Made<'a> = std::thread::ScopedJoinHandle<'a, Result<KeyPair, IdentityError>>;

fn join(thread: Option<Made<'_>>) -> Result<Option<KeyPair>, IdentityError> {
    let Some(thread) = thread else { return Ok(None) };
    let stopped = |_| IdentityError::Make("key generation stopped".into());
    thread.join().map_err(stopped)?.map(Some)
}

/// Six random hexadecimal digits, as MeshCentral puts behind its certificate names.
fn suffix() -> Result<String, IdentityError> {
    let mut bytes = [0; 3];
    getrandom::fill(&mut bytes).map_err(make_error)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

pub(super) fn make_error(error: impl std::fmt::Display) -> IdentityError {
    IdentityError::Make(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn names() -> Names {
        Names { server: "board.example".into(), others: vec!["127.0.0.1".into()] }
    }

    #[test]
    fn what_is_made_once_is_loaded_the_second_time() {
        let dir = tempfile::tempdir().unwrap();
        let web = load_or_make_web(dir.path(), &names()).unwrap();
        let rsa = load_or_make_rsa(dir.path(), &names(), 0).unwrap();
        assert_eq!(load_or_make_web(dir.path(), &names()).unwrap().hash, web.hash);
        let again = load_or_make_rsa(dir.path(), &names(), 7).unwrap();
        assert_eq!(again.agent_server.id(), rsa.agent_server.id());
        assert_eq!(again.mps.hash, rsa.mps.hash);
        let modulus = |der: &[u8]| {
            use x509_parser::prelude::FromDer as _;
            let key = crate::identity::certificate::rsa_public_key(der).unwrap();
            let (_, key) = x509_parser::public_key::RSAPublicKey::from_der(&key).unwrap();
            (key.key_size(), key.try_exponent().unwrap())
        };
        assert_eq!(modulus(rsa.agent_server.der()), (2048, 65_537));
        assert_eq!(modulus(&rsa.root), (3072, 65_537));
        for role in Role::ALL {
            let mode = role.key_path(dir.path()).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{role:?}");
        }
    }

    #[test]
    fn the_intel_amt_port_keeps_its_keys_when_its_name_changes() {
        let dir = tempfile::tempdir().unwrap();
        load_or_make_rsa(dir.path(), &names(), 0).unwrap();
        let first = load_mps(dir.path(), None).unwrap();
        assert_eq!(first.common_name().as_deref(), Some("board.example"));
        assert_eq!(load_mps(dir.path(), Some("board.example")).unwrap().hash, first.hash);
        let renamed = load_mps(dir.path(), Some("mps.example")).unwrap();
        assert_eq!(renamed.common_name().as_deref(), Some("mps.example"));
        assert_eq!(renamed.key_hash, first.key_hash);
        let long = load_or_make_long_mps(dir.path(), "mps.example").unwrap();
        assert_ne!(long.key_hash, first.key_hash);
        let again = load_or_make_long_mps(dir.path(), "mps.example").unwrap();
        assert_eq!(again.hash, long.hash);
    }

    #[test]
    fn a_lost_agent_server_key_is_refused_when_devices_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let error = load_or_make_rsa(dir.path(), &names(), 3).err().unwrap();
        assert!(matches!(error, IdentityError::WouldOrphanAgents(_, 3)), "{error}");
        assert!(error.to_string().contains("agentserver-cert-private.key"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is made");
    }

    #[test]
    fn files_that_do_not_fit_are_named() {
        let dir = tempfile::tempdir().unwrap();
        load_or_make_web(dir.path(), &names()).unwrap();
        let other = KeyPair::generate().unwrap().serialize_pem();
        std::fs::write(Role::Web.key_path(dir.path()), other).unwrap();
        let error = load_or_make_web(dir.path(), &names()).err().unwrap().to_string();
        assert!(error.contains("webserver-cert-public.crt"), "{error}");
        std::fs::write(Role::Web.key_path(dir.path()), "nonsense").unwrap();
        let error = load_or_make_web(dir.path(), &names()).err().unwrap().to_string();
        assert!(error.contains("webserver-cert-private.key"), "{error}");
        std::fs::remove_file(Role::Web.key_path(dir.path())).unwrap();
        let error = load_or_make_web(dir.path(), &names()).err().unwrap();
        assert!(matches!(error, IdentityError::Half(_)), "{error}");
    }
}
