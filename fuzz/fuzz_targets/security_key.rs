//! A browser's answers for a security key: registration and assertion, and the formats inside them.

#![no_main]

use std::sync::LazyLock;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use libfuzzer_sys::fuzz_target;
use meshboard::identity::webauthn::{Assertion, Expected, PublicKey, Registration, WebAuthnError};
use meshboard::model::{DomainId, KeyPin, SecurityKey, UserId};
use serde_json::json;

const ORIGIN: &str = "https://board.example";
const EXPECTED: Expected<'_> = Expected { origin: ORIGIN, pin: KeyPin::Preferred };
static ANN: LazyLock<UserId> = LazyLock::new(|| UserId::new(DomainId::default(), "ann").unwrap());

fuzz_target!(|bytes: &[u8]| {
    let _ = PublicKey::parse(bytes);
    let _ = Assertion::parse(&String::from_utf8_lossy(bytes));

    // The base64 and the client data keep a fuzzer out of the binary formats: give it a way past.
    let client = |kind: &str| {
        let data = json!({
            "type": kind,
            "challenge": BASE64URL_NOPAD.encode(&[7; 32]),
            "origin": ORIGIN,
        });
        BASE64.encode(data.to_string().as_bytes())
    };
    let response = json!({
        "clientDataJSON": client("webauthn.create"),
        "attestationObject": BASE64.encode(bytes),
    });
    if let Ok(made) = Registration::parse(&response).and_then(|r| r.verify(&EXPECTED)) {
        assert!(PublicKey::parse(&made.public_key).is_ok());
        assert!((1..=1023).contains(&made.credential.len()));
    }

    let key = SecurityKey {
        index: 1,
        name: String::new(),
        credential: vec![1],
        public_key: [&[4][..], &[7; 64]].concat(),
        counter: 0,
    };
    let text = json!({
        "id": BASE64.encode(&[1]),
        "clientDataJSON": client("webauthn.get"),
        "signature": BASE64.encode(bytes),
        "authenticatorData": BASE64.encode(bytes),
    });
    let assertion = Assertion::parse(&text.to_string());
    let verdict = assertion.and_then(|a| a.verify(&EXPECTED, &ANN, &[key]));
    assert!(matches!(verdict, Err(error) if error != WebAuthnError::Kind));
});
