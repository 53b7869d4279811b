//! Security keys: the server's side of WebAuthn.
//!
//! Source: W3C Web Authentication Level 2, §7.1 (registration) and §7.2 (assertion); keys are COSE
//! (RFC 9053). Bytes in, a verdict out. Who made a key does not matter here, so attestation is asked
//! for as `none` and ignored where a browser sends it all the same: it would only tell the vendor.
//! What is checked each time: challenge, origin, relying party, presence of a person, signature,
//! and that the signature counter has not gone back.

mod challenges;
mod key;
mod wire;

use data_encoding::BASE64;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::{KeyPin, SecurityKey, UserId};

pub use challenges::{Challenge, Challenges, Purpose};
pub use key::{KeyError, PublicKey};
use wire::{AuthenticatorData, ClientData, Flags};

/// How long a browser lets its person look for the key, in milliseconds.
const TIMEOUT_MS: u32 = 60_000;
/// Longest text of an answer of a browser in bytes; anything longer is not looked at.
pub const RESPONSE_MAX: usize = 16 * 1024;

/// Why a key is not registered or does not log anybody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebAuthnError {
    /// The browser's answer is not what the specification says.
    Malformed,
    /// It answers another question: an assertion for a registration, or the other way round.
    Kind,
    /// It answers another challenge.
    Challenge,
    /// The page was not from this server, or sat in somebody else's frame.
    Origin,
    /// The key signed for another server name.
    RelyingParty,
    /// Nobody touched the key.
    Presence,
    /// The key was to check who touches it, and did not.
    Verification,
    /// Another key, or the key of another account.
    Unknown,
    /// The key is registered already.
    Known,
    /// The public key is of no kind this server knows.
    Key(KeyError),
    /// The signature does not fit.
    Signature,
    /// The counter did not go up: there are two keys with one secret.
    Counter,
}

impl std::fmt::Display for WebAuthnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the browser's answer is malformed",
            Self::Kind => "the browser answered another question",
            Self::Challenge => "the challenge is unknown or has expired",
            Self::Origin => "the page is not of this server",
            Self::RelyingParty => "the security key belongs to another server name",
            Self::Presence => "nobody touched the security key",
            Self::Verification => "the security key did not check its PIN",
            Self::Unknown => "the security key is not of this account",
            Self::Known => "the security key is registered already",
            Self::Key(error) => return error.fmt(f),
            Self::Signature => "the signature is wrong",
            Self::Counter => "the security key was copied",
        })
    }
}

impl std::error::Error for WebAuthnError {}

/// What an answer has to fit, apart from its challenge.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// `https://host[:port]` of our pages, as browsers write it. Its host is the relying party.
    pub origin: &'a str,
    /// Whether the key has to make sure who touches it.
    pub pin: KeyPin,
}

impl<'a> Expected<'a> {
    /// The relying party's id: the host of the origin.
    fn relying_party(&self) -> &'a str {
        let authority = self.origin.split_once("://").map_or(self.origin, |(_, rest)| rest);
        match authority.rsplit_once(':') {
            // In `[::1]` the last colon is part of the address.
            Some((host, port)) if !port.contains(']') => host,
            _ => authority,
        }
    }

    /// The checks that registration and assertion have in common.
    fn check(
        &self,
        client: &ClientData,
        data: &AuthenticatorData<'_>,
    ) -> Result<(), WebAuthnError> {
        if client.origin != self.origin || client.cross_origin {
            return Err(WebAuthnError::Origin);
        }
        if digest(&SHA256, self.relying_party().as_bytes()).as_ref() != data.rp_id_hash {
            return Err(WebAuthnError::RelyingParty);
        }
        if !data.flags.contains(Flags::PRESENT) {
            return Err(WebAuthnError::Presence);
        }
        let verified = data.flags.contains(Flags::VERIFIED);
        if self.pin == KeyPin::Required && !verified {
            return Err(WebAuthnError::Verification);
        }
        Ok(())
    }
}

/// A key that was just registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its credential id, 1 to 1023 bytes.
    pub credential: Vec<u8>,
    /// Its public key, COSE, at most [`PublicKey::MAX`] bytes.
    pub public_key: Vec<u8>,
    /// Its counter, 0 if it does not count.
    pub counter: u32,
}

/// A browser's answer to `navigator.credentials.create`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    client: ClientData,
    attestation_object: Vec<u8>,
}

impl Registration {
    /// Reads `response` of a `webauthn-endregister`: `attestationObject` and `clientDataJSON`, both
    /// standard base64.
    pub fn parse(response: &Value) -> Result<Self, WebAuthnError> {
        let part = |name| from_base64(response.get(name).and_then(Value::as_str));
        let client = ClientData::parse(&part("clientDataJSON")?)?;
        Ok(Self { client, attestation_object: part("attestationObject")? })
    }

    /// The challenge it says it answers. Look it up with [`Challenges::take`].
    pub fn challenge(&self) -> &[u8] {
        &self.client.challenge
    }

    /// The key, if everything but the challenge fits.
    pub fn verify(&self, expected: &Expected<'_>) -> Result<Registered, WebAuthnError> {
        if self.client.kind != "webauthn.create" {
            return Err(WebAuthnError::Kind);
        }
        let data = wire::authenticator_data_of(&self.attestation_object)?;
        let data = AuthenticatorData::parse(data)?;
        expected.check(&self.client, &data)?;
        let attested = data.attested.ok_or(WebAuthnError::Malformed)?;
        PublicKey::parse(attested.public_key).map_err(WebAuthnError::Key)?;
        Ok(Registered {
            credential: attested.credential.to_vec(),
            public_key: attested.public_key.to_vec(),
            counter: data.counter,
        })
    }
}

/// A browser's answer to `navigator.credentials.get`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    credential: Vec<u8>,
    user_handle: Vec<u8>,
    client: ClientData,
    client_data: Vec<u8>,
    authenticator_data: Vec<u8>,
    signature: Vec<u8>,
}

impl Assertion {
    /// Reads the text of a `hwtoken`: a JSON object of `id`, `clientDataJSON`, `userHandle`,
    /// `signature` and `authenticatorData`, each standard base64.
    pub fn parse(text: &str) -> Result<Self, WebAuthnError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Form {
            id: String,
            #[serde(rename = "clientDataJSON")]
            client_data: String,
            #[serde(default)]
            user_handle: Option<String>,
            signature: String,
            authenticator_data: String,
        }
        if text.len() > RESPONSE_MAX {
            return Err(WebAuthnError::Malformed);
        }
        let form: Form = serde_json::from_str(text).map_err(|_| WebAuthnError::Malformed)?;
        let client_data = from_base64(Some(&form.client_data))?;
        Ok(Self {
            credential: from_base64(Some(&form.id))?,
            user_handle: from_base64(Some(form.user_handle.as_deref().unwrap_or_default()))?,
            client: ClientData::parse(&client_data)?,
            client_data,
            authenticator_data: from_base64(Some(&form.authenticator_data))?,
            signature: from_base64(Some(&form.signature))?,
        })
    }

    /// Whether a second factor's text looks like one: all others are digits or words.
    pub fn is_one(text: &str) -> bool {
        text.trim_start().starts_with('{')
    }

    /// The challenge it says it answers. Look it up with [`Challenges::take`].
    pub fn challenge(&self) -> &[u8] {
        &self.client.challenge
    }

    /// The key of `keys`, with its new counter, if everything but the challenge fits. `owner` is
    /// whose keys they are.
    pub fn verify(
        &self,
        expected: &Expected<'_>,
        owner: &UserId,
        keys: &[SecurityKey],
    ) -> Result<SecurityKey, WebAuthnError> {
        if self.client.kind != "webauthn.get" {
            return Err(WebAuthnError::Kind);
        }
        let known = |key: &&SecurityKey| key.credential == self.credential;
        let key = keys.iter().find(known).ok_or(WebAuthnError::Unknown)?;
        // A key that was imported from MeshCentral knows its owner by name.
        let handle = &*self.user_handle;
        let of_owner = handle == user_handle(owner) || handle == owner.to_string().as_bytes();
        if !handle.is_empty() && !of_owner {
            return Err(WebAuthnError::Unknown);
        }
        let data = AuthenticatorData::parse(&self.authenticator_data)?;
        expected.check(&self.client, &data)?;
        let client_hash = digest(&SHA256, &self.client_data);
        let signed = [&*self.authenticator_data, client_hash.as_ref()].concat();
        PublicKey::parse(&key.public_key)
            .map_err(WebAuthnError::Key)?
            .verify(&signed, &self.signature)
            .map_err(|_| WebAuthnError::Signature)?;
        // Keys that do not count say 0 for ever.
        let stands_still = data.counter <= key.counter;
        if stands_still && (data.counter, key.counter) != (0, 0) {
            return Err(WebAuthnError::Counter);
        }
        Ok(SecurityKey { counter: data.counter, ..key.clone() })
    }
}

/// What a browser is given for `navigator.credentials.create`: `request` of the answer to
/// `webauthn-startregister`. Binary members are standard base64, as MeshCentral's page expects.
pub fn creation_options(
    title: &str,
    owner: &UserId,
    name: &str,
    challenge: &Challenge,
    pin: KeyPin,
) -> Value {
    let parameters = PublicKey::ALGORITHMS.map(|alg| json!({"type": "public-key", "alg": alg}));
    json!({
        "rp": {"name": title},
        "user": {
            "id": BASE64.encode(&user_handle(owner)),
            "name": name,
            "displayName": name,
        },
        "challenge": challenge.text(),
        "pubKeyCredParams": parameters,
        "timeout": TIMEOUT_MS,
        "attestation": "none",
        "authenticatorSelection": {
            "residentKey": "discouraged",
            "userVerification": pin.as_str(),
        },
        // Where MeshCentral has it.
        "userVerification": pin.as_str(),
    })
}

/// What a browser needs for `navigator.credentials.get`, in the form of MeshCentral's login page.
pub fn request_options(keys: &[SecurityKey], challenge: &Challenge, pin: KeyPin) -> Value {
    let ids: Vec<_> = keys.iter().map(|key| BASE64.encode(&key.credential)).collect();
    json!({
        "type": "webAuthn",
        "keyIds": ids,
        "timeout": TIMEOUT_MS,
        "challenge": challenge.text(),
        "userVerification": pin.as_str(),
    })
}

/// By what a key knows its owner: at most 64 bytes are allowed, and no name should be in it.
fn user_handle(owner: &UserId) -> [u8; 32] {
    let mut handle = [0; 32];
    handle.copy_from_slice(digest(&SHA256, owner.to_string().as_bytes()).as_ref());
    handle
}

fn from_base64(text: Option<&str>) -> Result<Vec<u8>, WebAuthnError> {
    let text = text.filter(|text| text.len() <= RESPONSE_MAX).ok_or(WebAuthnError::Malformed)?;
    BASE64.decode(text.as_bytes()).map_err(|_| WebAuthnError::Malformed)
}

#[cfg(test)]
#[path = "../../../tests/common/authenticator.rs"]
pub(crate) mod authenticator;
#[cfg(test)]
mod tests;
