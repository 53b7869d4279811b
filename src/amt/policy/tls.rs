//! TLS in firmware: a key pair it makes, a certificate of this server for it, and where it holds.
//!
//! ```text
//! read ─► key pair ─► certificate ─► credential ─► settings of both ports ─► commit
//! ```
//!
//! Until the commit nothing changes for anybody; after it the port without TLS stays open, so that
//! whatever goes wrong locks nobody out. Source: amt-management §10.

use data_encoding::BASE64;

use super::plan::{Found, Read, Step, named, put};
use crate::amt::wsman::{Element, Operation, Verb, reference, resource};
use crate::identity::{PublicKey, Root};

pub(super) const CERTIFICATES: &str = "AMT_PublicKeyCertificate";
pub(super) const KEYS: &str = "AMT_PublicPrivateKeyPair";
const SETTINGS: &str = "AMT_TLSSettingData";
const CREDENTIAL: &str = "AMT_TLSCredentialContext";
pub(super) const COLLECTION: &str = "AMT_TLSProtocolEndpointCollection";
const SERVICE: &str = "AMT_PublicKeyManagementService";
/// Settings of the port that programs on the computer use; the others are for the network.
const LOCAL: &str = "Intel(r) AMT LMS TLS Settings";
/// What the collection is called where it cannot be read.
const COLLECTION_NAME: &str = "TLSProtocolEndpointInstances Collection";
/// Bits of the key.
const BITS: u32 = 2048;

/// What is read, in this order.
pub(super) const READS: [Read; 4] =
    [Read::All(CERTIFICATES), Read::All(KEYS), Read::All(SETTINGS), Read::All(CREDENTIAL)];

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// This firmware has no TLS that could be set.
    Unable,
    /// It has no certificate.
    Off,
    /// It has this one (DER) of ours, but it does not hold: something was cut off before.
    Begun(Vec<u8>),
    /// It has this one.
    On(Vec<u8>),
}

/// Judges what was read.
pub(super) fn judge(found: &Found, root: &Root) -> State {
    if found.all(SETTINGS).is_empty() || !found.has(CERTIFICATES) || !found.has(CREDENTIAL) {
        return State::Unable;
    }
    let context = found.one(CREDENTIAL);
    let used = context.and_then(|context| named(context, "ElementInContext", "InstanceID"));
    let of =
        |id: &str| found.all(CERTIFICATES).iter().find(|c| c.property("InstanceID") == Some(id));
    let Some(der) = used.and_then(of).and_then(der) else { return State::Off };
    let mut network = found.all(SETTINGS).iter().filter(|settings| !is_local(settings));
    match network.any(|settings| settings.is_true("Enabled")) || !root.has_issued(&der) {
        true => State::On(der),
        false => State::Begun(der),
    }
}

/// Whether this certificate is among those that are trusted, or used.
pub(super) fn holds(found: &Found, der: &[u8]) -> bool {
    found.all(CERTIFICATES).iter().any(|one| self::der(one).is_some_and(|one| one == der))
}

fn der(certificate: &Element) -> Option<Vec<u8>> {
    BASE64.decode(certificate.property("X509Certificate")?.as_bytes()).ok()
}

fn is_local(settings: &Element) -> bool {
    settings.property("InstanceID") == Some(LOCAL)
}

/// Makes a key pair.
pub(super) fn make_key() -> Operation {
    Operation::invoke(SERVICE, "GenerateKeyPair").with("KeyAlgorithm", 0).with("KeyLength", BITS)
}

/// The pair that was made: its name, out of the answer.
pub(super) fn made_key(answer: &Element) -> Option<&str> {
    named(answer, "KeyPair", "InstanceID")
}

/// The public key of this pair, among those listed.
pub(super) fn public_key(pairs: &[Element], id: &str) -> Option<PublicKey> {
    let pair = pairs.iter().find(|pair| pair.property("InstanceID") == Some(id))?;
    PublicKey::parse(&BASE64.decode(pair.property("DERKey")?.as_bytes()).ok()?)
}

/// Stores a certificate.
pub(super) fn add_certificate(der: &[u8]) -> Operation {
    Operation::invoke(SERVICE, "AddCertificate").with("CertificateBlob", BASE64.encode(der))
}

/// The certificate that was stored: its name, out of the answer.
pub(super) fn added_certificate(answer: &Element) -> Option<&str> {
    named(answer, "CreatedCertificate", "InstanceID")
}

/// Trusts a root.
pub(super) fn trust(der: &[u8]) -> Operation {
    Operation::invoke(SERVICE, "AddTrustedRootCertificate")
        .with("CertificateBlob", BASE64.encode(der))
}

/// Removes a pair or a certificate that was made a moment ago, because the rest failed.
pub(super) fn remove(class: &'static str, id: &str) -> Step {
    Step::tried(Operation::new(class, Verb::Delete).of("InstanceID", id), "")
}

/// Has this certificate used; `collection` is what was read of those who use one.
pub(super) fn credential(found: &Found, collection: &Found, certificate: &str) -> Step {
    let space = resource(CREDENTIAL);
    let used = reference("ElementInContext", &space, CERTIFICATES, &[("InstanceID", certificate)]);
    let verb = match found.one(CREDENTIAL) {
        // One of a certificate that is gone.
        Some(context) => {
            let mut context = context.clone();
            context.children.retain(|child| &*child.name != "ElementInContext");
            context.children.insert(0, used);
            Verb::Put(context)
        }
        None => {
            let name = collection.one(COLLECTION).and_then(|one| one.property("ElementName"));
            let name = name.unwrap_or(COLLECTION_NAME);
            let user =
                reference("ElementProvidingContext", &space, COLLECTION, &[("ElementName", name)]);
            Verb::Create(Element::new(CREDENTIAL, &space).with(used).with(user))
        }
    };
    Step::needed(Operation::new(CREDENTIAL, verb), "")
}

/// Switches it on, on the network, and for programs on the computer unless it is `network_only`:
/// while firmware is activated over TLS from within, it would take that and do nothing.
pub(super) fn enable(found: &Found, network_only: bool) -> Vec<Step> {
    let settings = found.all(SETTINGS).iter().filter(|one| !(network_only && is_local(one)));
    let step = |settings: &Element| {
        let mut settings = settings.clone();
        settings.set("Enabled", true);
        settings.children.retain(|child| &*child.name != "TrustedCN");
        if !is_local(&settings) {
            settings.set("MutualAuthentication", false);
            settings.set("AcceptNonSecureConnections", true);
        }
        let id = settings.property("InstanceID").unwrap_or_default().to_owned();
        let written = put(SETTINGS, settings).of("InstanceID", &id);
        Step::needed(written, "")
    };
    settings.map(step).collect()
}

/// Makes it hold.
pub(super) fn commit() -> Operation {
    Operation::invoke("AMT_SetupAndConfigurationService", "CommitChanges")
}
