//! Credentials that come inside the WebSocket: further URL arguments, and inner authentication, where
//! the server first proves itself by its agent-server key, whatever TLS says.
//!
//! Sans-I/O: messages in, steps out. Source: control-protocol §2.1, §2.5. What is no message of this
//! dialog is ignored, as MeshCentral does; it is short, and it ends.

use serde_json::{Map, Value, json};

use super::Refusal;
use super::upgrade::{Credentials, decode};
use crate::model::Key48;

/// Longest message before somebody has proven who they are, in bytes.
pub(in crate::control) const INNER_MAX: usize = 8 * 1024;
/// Messages after which somebody has had their chance.
const MESSAGES_MAX: usize = 16;
/// Longest nonce in bytes.
const NONCE_MAX: usize = 192;
/// Bytes of our nonce.
const NONCE_LEN: usize = 48;

/// The query with the arguments that a `urlargs` message adds; they win over those in the URL.
/// `None` if `message` is no such message.
pub(in crate::control) fn more_arguments(query: &str, message: &[u8]) -> Option<String> {
    let message = object(message)?;
    if message.get("action")? != "urlargs" {
        return None;
    }
    let mut merged = form_urlencoded::Serializer::new(String::new());
    for (name, value) in message.get("args")?.as_object()? {
        match value {
            Value::String(text) => merged.append_pair(name, text),
            Value::Number(number) => merged.append_pair(name, &number.to_string()),
            _ => continue,
        };
    }
    merged.extend_pairs(form_urlencoded::parse(query.as_bytes()));
    Some(merged.finish())
}

fn object(message: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(message).ok()
}

/// What happens after a message.
#[derive(PartialEq, Eq)]
pub(in crate::control) enum Step {
    /// Nothing; the next message may be one.
    Wait,
    /// Sign this and send [`proof`].
    Sign(ToSign),
    /// These are to be checked.
    Prove(Credentials),
    /// That was that.
    Refuse(Refusal),
}

/// What the agent-server key is to sign.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::control) struct ToSign {
    /// The client's nonce, the hash of the TLS certificate it sees, our nonce.
    pub(in crate::control) data: Vec<u8>,
    nonce: [u8; NONCE_LEN],
}

/// The dialog of one client.
#[derive(Default)]
pub(in crate::control) struct Inner {
    messages: usize,
    signed: bool,
}

impl Inner {
    /// Takes a message. `is_ours` tells the hashes of this server's TLS certificates.
    pub(in crate::control) fn receive(
        &mut self,
        message: &[u8],
        is_ours: impl FnOnce(Key48) -> bool,
    ) -> Step {
        self.messages += 1;
        if self.messages > MESSAGES_MAX {
            return Step::Refuse(Refusal::NoAuth);
        }
        let Some(message) = object(message) else { return Step::Wait };
        match message.get("action").and_then(Value::as_str) {
            // A signature takes a board ten milliseconds: one for each connection.
            Some("serverAuth") if self.signed => Step::Refuse(Refusal::BadArguments),
            Some("serverAuth") => {
                self.signed = true;
                server_auth(&message, is_ours).map_or_else(Step::Refuse, Step::Sign)
            }
            Some("userAuth") => {
                user_auth(&message).map_or(Step::Refuse(Refusal::Inner), Step::Prove)
            }
            _ => Step::Wait,
        }
    }
}

fn server_auth(
    message: &Map<String, Value>,
    is_ours: impl FnOnce(Key48) -> bool,
) -> Result<ToSign, Refusal> {
    let word = |name: &str| message.get(name).and_then(Value::as_str);
    let cnonce = word("cnonce").and_then(|text| {
        let bytes = data_encoding::BASE64.decode(text.as_bytes()).ok()?;
        (1..=NONCE_MAX).contains(&bytes.len()).then_some(bytes)
    });
    let hash = word("tlshash")
        .and_then(|text| data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok());
    let (Some(cnonce), Some(hash)) = (cnonce, hash) else { return Err(Refusal::BadArguments) };
    let known = <[u8; 48]>::try_from(hash.as_slice()).ok().filter(|hash| is_ours(Key48(*hash)));
    let Some(hash) = known else { return Err(Refusal::BadCertificate) };
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|_| Refusal::BadArguments)?;
    Ok(ToSign { data: [&cnonce[..], &hash, &nonce].concat(), nonce })
}

fn user_auth(message: &Map<String, Value>) -> Option<Credentials> {
    let word = |name: &str| message.get(name).and_then(Value::as_str);
    Some(Credentials {
        name: decode(word("username")?)?,
        password: decode(word("password")?)?,
        token: word("token").map(str::to_owned),
        failure: Refusal::Inner,
    })
}

/// The answer to `serverAuth`: certificate (DER), our nonce, signature.
pub(in crate::control) fn proof(to_sign: &ToSign, certificate: &[u8], signature: &[u8]) -> String {
    let text = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
    json!({
        "action": "serverAuth",
        "cert": text(certificate),
        "nonce": text(&to_sign.nonce),
        "signature": text(signature),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VECTORS: &str = include_str!("../../../tests/vectors/control-cookies.json");

    fn vector(name: &str) -> Value {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        vectors["innerAuth"][name].clone()
    }

    fn bytes(text: &Value) -> Vec<u8> {
        data_encoding::BASE64.decode(text.as_str().unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn a_captured_dialog_is_led_as_meshcentral_led_it() {
        let (client, server) = (vector("client"), vector("server"));
        let hash = client["tlshash"].as_str().unwrap().to_owned();
        let mut inner = Inner::default();
        let is_ours = |key: Key48| key.hex().to_lowercase() == hash;
        let Step::Sign(to_sign) = inner.receive(client.to_string().as_bytes(), is_ours) else {
            panic!("something to sign")
        };
        // What is signed is what the captured signature is over, but for the nonce.
        let theirs = bytes(&server["nonce"]);
        let prefix = to_sign.data.strip_suffix(&to_sign.nonce).unwrap();
        let certificate = rustls_pki_types::CertificateDer::from(bytes(&server["cert"]));
        let key = crate::identity::certificate::rsa_public_key(&certificate).unwrap();
        let data = [prefix, &theirs].concat();
        let signature = bytes(&server["signature"]);
        assert!(crate::identity::certificate::verify_rsa(&key, &data, &signature));
        let answer: Value = serde_json::from_str(&proof(&to_sign, b"cert", b"sig")).unwrap();
        let members =
            |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(members(&answer), members(&server));
        let Step::Prove(credentials) =
            inner.receive(vector("client2").to_string().as_bytes(), |_| false)
        else {
            panic!("credentials")
        };
        assert_eq!((&*credentials.name, &*credentials.password), ("admin", "Adm1n!pass"));
    }

    #[test]
    fn what_is_wrong_ends_the_dialog_and_what_is_strange_does_not() {
        let receive = |message: &str| Inner::default().receive(message.as_bytes(), |_| false);
        let hash = "ab".repeat(48);
        for (message, refusal) in [
            (json!({"action": "serverAuth"}), Refusal::BadArguments),
            (json!({"action": "serverAuth", "cnonce": "", "tlshash": hash}), Refusal::BadArguments),
            (
                json!({"action": "serverAuth", "cnonce": "?", "tlshash": hash}),
                Refusal::BadArguments,
            ),
            (
                json!({"action": "serverAuth", "cnonce": "QQ==", "tlshash": hash}),
                Refusal::BadCertificate,
            ),
            (
                json!({"action": "serverAuth", "cnonce": "QQ==", "tlshash": "ab"}),
                Refusal::BadCertificate,
            ),
            (json!({"action": "userAuth"}), Refusal::Inner),
            (json!({"action": "userAuth", "username": "YQ==", "password": "?"}), Refusal::Inner),
        ] {
            assert!(receive(&message.to_string()) == Step::Refuse(refusal), "{message}");
        }
        for strange in ["", "x", "[]", "{}", r#"{"action":5}"#, r#"{"action":"meshes"}"#] {
            assert!(receive(strange) == Step::Wait, "{strange}");
        }
    }

    #[test]
    fn there_is_one_signature_and_few_messages_for_each_connection() {
        let message = vector("client").to_string();
        let mut inner = Inner::default();
        assert!(matches!(inner.receive(message.as_bytes(), |_| true), Step::Sign(_)));
        let again = inner.receive(message.as_bytes(), |_| true);
        assert!(again == Step::Refuse(Refusal::BadArguments));
        let mut inner = Inner::default();
        let refused = (0..100).position(|_| inner.receive(b"{}", |_| true) != Step::Wait);
        assert_eq!(refused, Some(MESSAGES_MAX));
    }

    #[test]
    fn further_arguments_win_over_those_in_the_url() {
        let message = br#"{"action":"urlargs","args":{"user":"a&b","n":5,"x":null}}"#;
        let merged = more_arguments("user=old&pass=p%20q", message).unwrap();
        assert_eq!(super::super::param(&merged, "user").as_deref(), Some("a&b"));
        assert_eq!(super::super::param(&merged, "pass").as_deref(), Some("p q"));
        assert_eq!(super::super::param(&merged, "n").as_deref(), Some("5"));
        for other in [&b"{}"[..], b"x", br#"{"action":"ping"}"#, br#"{"action":"urlargs"}"#] {
            assert_eq!(more_arguments("", other), None);
        }
    }

    proptest! {
        #[test]
        fn no_message_makes_the_dialog_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Inner::default().receive(&bytes, |_| true);
            let _ = more_arguments("", &bytes);
        }
    }
}
