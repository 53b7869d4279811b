//! A security key in software, and the browser between it and a page: answers to WebAuthn ceremonies
//! in the form of MeshCentral's pages. Every member may be wrong on purpose.

#![allow(dead_code, unreachable_pub)]

use data_encoding::{BASE64, BASE64URL_NOPAD};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};

/// Somebody touched it.
pub const PRESENT: u8 = 0x01;
/// It checked a PIN.
pub const VERIFIED: u8 = 0x04;
const ATTESTED: u8 = 0x40;

enum Key {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// A key with one credential.
pub struct Authenticator {
    key: Key,
    /// Credential id.
    pub credential: Vec<u8>,
    /// Counter of the last signature.
    pub counter: u32,
    /// By how much it counts; 0 for a key that does not.
    pub step: u32,
    /// What it says of its person.
    pub flags: u8,
}

/// What the browser says of the page.
#[derive(Clone, Debug)]
pub struct Page {
    pub origin: String,
    /// Relying party id the key works for.
    pub rp_id: String,
    pub cross_origin: bool,
    /// `type` of the client data; `None`: the right one.
    pub kind: Option<&'static str>,
}

impl Page {
    /// A page of `https://host[:port]`.
    pub fn of(origin: &str) -> Self {
        let host = origin.trim_start_matches("https://");
        let rp_id = host.split(':').next().unwrap_or_default().to_owned();
        Self { origin: origin.to_owned(), rp_id, cross_origin: false, kind: None }
    }

    fn client_data(&self, kind: &str, challenge: &str) -> Vec<u8> {
        let challenge = BASE64.decode(challenge.as_bytes()).expect("the server sends base64");
        let data = json!({
            "type": self.kind.unwrap_or(kind),
            "challenge": BASE64URL_NOPAD.encode(&challenge),
            "origin": self.origin,
            "crossOrigin": self.cross_origin,
            "other_keys_can_be_added_here": true,
        });
        data.to_string().into_bytes()
    }
}

impl Authenticator {
    /// ES256.
    pub fn p256() -> Self {
        let (algorithm, random) = (&signature::ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("randomness");
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random);
        Self::with(Key::P256(key.expect("a fresh key")))
    }

    /// EdDSA.
    pub fn ed25519() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("randomness");
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref());
        Self::with(Key::Ed25519(key.expect("a fresh key")))
    }

    /// RS256, with a key in PKCS#8.
    pub fn rsa(pkcs8: &[u8]) -> Self {
        Self::with(Key::Rsa(RsaKeyPair::from_pkcs8(pkcs8).expect("an RSA key")))
    }

    fn with(key: Key) -> Self {
        let credential = digest(&SHA256, &public_bytes(&key)).as_ref().to_vec();
        Self { key, credential, counter: 0, step: 1, flags: PRESENT | VERIFIED }
    }

    /// `response` of `webauthn-endregister`.
    pub fn create(&self, page: &Page, challenge: &str) -> Value {
        let length = u16::try_from(self.credential.len()).expect("a short id").to_be_bytes();
        let attested = [&[0; 16][..], &length, &self.credential, &self.cose()].concat();
        let data = [self.data(page, ATTESTED), attested].concat();
        let object = map(&[
            (text("fmt"), text("none")),
            (text("attStmt"), map(&[])),
            (text("authData"), bytes(&data)),
        ]);
        json!({
            "attestationObject": BASE64.encode(&object),
            "clientDataJSON": BASE64.encode(&page.client_data("webauthn.create", challenge)),
        })
    }

    /// The text of a `hwtoken`; counts up.
    pub fn get(&mut self, page: &Page, challenge: &str, handle: &[u8]) -> String {
        self.counter = self.counter.wrapping_add(self.step);
        let client_data = page.client_data("webauthn.get", challenge);
        let data = self.data(page, 0);
        let signed = [&*data, digest(&SHA256, &client_data).as_ref()].concat();
        json!({
            "id": BASE64.encode(&self.credential),
            "clientDataJSON": BASE64.encode(&client_data),
            "userHandle": BASE64.encode(handle),
            "signature": BASE64.encode(&self.sign(&signed)),
            "authenticatorData": BASE64.encode(&data),
        })
        .to_string()
    }

    fn data(&self, page: &Page, more: u8) -> Vec<u8> {
        let hash = digest(&SHA256, page.rp_id.as_bytes());
        [hash.as_ref(), &[self.flags | more], &self.counter.to_be_bytes()].concat()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::P256(key) => key.sign(&random, message).expect("randomness").as_ref().to_vec(),
            Key::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .expect("room for the signature");
                signature
            }
        }
    }

    /// The public key as COSE.
    pub fn cose(&self) -> Vec<u8> {
        let public = public_bytes(&self.key);
        match &self.key {
            Key::P256(_) => map(&[
                (int(1), int(2)),
                (int(3), int(-7)),
                (int(-1), int(1)),
                (int(-2), bytes(&public[1..33])),
                (int(-3), bytes(&public[33..])),
            ]),
            Key::Ed25519(_) => map(&[
                (int(1), int(1)),
                (int(3), int(-8)),
                (int(-1), int(6)),
                (int(-2), bytes(&public)),
            ]),
            Key::Rsa(key) => {
                let public = key.public();
                let numbers: signature::RsaPublicKeyComponents<Vec<u8>> = public.into();
                map(&[
                    (int(1), int(3)),
                    (int(3), int(-257)),
                    (int(-1), bytes(&numbers.n)),
                    (int(-2), bytes(&numbers.e)),
                ])
            }
        }
    }

    /// The bare P-256 point, as MeshCentral keeps it.
    pub fn point(&self) -> Vec<u8> {
        public_bytes(&self.key)
    }
}

fn public_bytes(key: &Key) -> Vec<u8> {
    match key {
        Key::P256(key) => key.public_key().as_ref().to_vec(),
        Key::Ed25519(key) => key.public_key().as_ref().to_vec(),
        Key::Rsa(key) => key.public_key().as_ref().to_vec(),
    }
}

/// A CBOR head: major type and argument.
fn head(major: u8, argument: usize) -> Vec<u8> {
    let major = major << 5;
    match argument {
        0..24 => vec![major | argument as u8],
        24..256 => vec![major | 24, argument as u8],
        _ => {
            let [high, low] = u16::try_from(argument).expect("nothing here is long").to_be_bytes();
            vec![major | 25, high, low]
        }
    }
}

fn int(number: i64) -> Vec<u8> {
    match usize::try_from(number) {
        Ok(number) => head(0, number),
        Err(_) => head(1, usize::try_from(-1 - number).expect("a small number")),
    }
}

pub fn bytes(value: &[u8]) -> Vec<u8> {
    [head(2, value.len()), value.to_vec()].concat()
}

pub fn text(value: &str) -> Vec<u8> {
    [head(3, value.len()), value.as_bytes().to_vec()].concat()
}

pub fn map(members: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let members = members.iter().flat_map(|(key, value)| [key.clone(), value.clone()]);
    let count = members.clone().count() / 2;
    [head(5, count), members.collect::<Vec<_>>().concat()].concat()
}
