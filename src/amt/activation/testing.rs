//! What tests of this room share.

use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use super::certificate::Certificate;
use super::state::State;
use crate::model::Millis;

/// A moment at which the certificates of the vectors are valid.
pub(super) const VALID: Millis = Millis(1_795_000_000_000);

/// A file of `tests/vectors`.
pub(super) fn vector(name: &str) -> Value {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The certificate of the captured activation, for `example.com`.
pub(super) fn certificate() -> Certificate {
    let vector = vector("activation-acm-signature");
    let key = vector["leaf_private_key_pem"].as_str().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let chain = vector["chain_leaf_to_root_der_base64"].as_array().unwrap();
    let der = |der: &Value| data_encoding::BASE64.decode(der.as_str().unwrap().as_bytes()).unwrap();
    Certificate::of("captured", chain.iter().map(der).collect(), &key, false).unwrap()
}

/// A computer in factory state that trusts the root of [`certificate`] and is at `lab.example.com`.
pub(super) fn state() -> State {
    let report = &vector("activation-json-control")["mei_state_example"];
    State::read(report.as_object().unwrap())
}
