//! The formats inside a browser's answer.
//!
//! Client data is JSON (§5.8.1); an attestation object is a CBOR map (§6.5.4); authenticator data is
//! binary, big-endian (§6.1). Everything is borrowed from the answer and read to its last byte: what
//! is left over or there twice is refused.

use std::borrow::Cow;

use bitflags::bitflags;
use data_encoding::BASE64URL_NOPAD;
use minicbor::Decoder;
use serde::Deserialize;

use super::WebAuthnError;
use super::WebAuthnError::Malformed;

/// Longest credential id in bytes (§4).
const CREDENTIAL_MAX: usize = 1023;
/// Longest origin in bytes: a scheme, a name of 253 bytes, a port.
const ORIGIN_MAX: usize = 300;

/// What the browser says about the page: the part the key only signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientData {
    /// `webauthn.create` or `webauthn.get`.
    pub(super) kind: String,
    /// The challenge, decoded.
    pub(super) challenge: Vec<u8>,
    /// Where the page is from.
    pub(super) origin: String,
    /// Whether it sat in a frame of another origin.
    pub(super) cross_origin: bool,
}

impl ClientData {
    /// Reads `clientDataJSON`.
    pub(super) fn parse(json: &[u8]) -> Result<Self, WebAuthnError> {
        #[derive(Deserialize)]
        struct Form<'a> {
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
            #[serde(borrow)]
            challenge: Cow<'a, str>,
            #[serde(borrow)]
            origin: Cow<'a, str>,
            #[serde(default, rename = "crossOrigin")]
            cross_origin: bool,
        }
        let form: Form<'_> = serde_json::from_slice(json).map_err(|_| Malformed)?;
        if form.kind.len() > 32 || form.origin.len() > ORIGIN_MAX {
            return Err(Malformed);
        }
        Ok(Self {
            kind: form.kind.into_owned(),
            challenge: BASE64URL_NOPAD.decode(form.challenge.as_bytes()).map_err(|_| Malformed)?,
            origin: form.origin.into_owned(),
            cross_origin: form.cross_origin,
        })
    }
}

bitflags! {
    /// Flags of authenticator data.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Flags: u8 {
        /// UP: somebody touched the key.
        const PRESENT = 0x01;
        /// UV: the key made sure who.
        const VERIFIED = 0x04;
        /// AT: attested credential data follows.
        const ATTESTED = 0x40;
        /// ED: extensions follow.
        const EXTENSIONS = 0x80;
        // Backup state, and what is reserved.
        const _ = !0;
    }
}

/// What the key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AuthenticatorData<'a> {
    /// SHA-256 of the relying party's id.
    pub(super) rp_id_hash: &'a [u8; 32],
    pub(super) flags: Flags,
    /// Signature counter.
    pub(super) counter: u32,
    /// The new key, at registration.
    pub(super) attested: Option<Attested<'a>>,
}

/// Attested credential data (§6.5.1), without the model of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attested<'a> {
    pub(super) credential: &'a [u8],
    /// COSE key.
    pub(super) public_key: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    /// Reads authenticator data.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, WebAuthnError> {
        let (rp_id_hash, rest) = bytes.split_first_chunk::<32>().ok_or(Malformed)?;
        let ([flags], rest) = rest.split_first_chunk::<1>().ok_or(Malformed)?;
        let (counter, mut rest) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
        let flags = Flags::from_bits_retain(*flags);
        let mut attested = None;
        if flags.contains(Flags::ATTESTED) {
            let (found, after) = Attested::split(rest)?;
            (attested, rest) = (Some(found), after);
        }
        if flags.contains(Flags::EXTENSIONS) {
            let (_, after) = split_item(rest)?;
            rest = after;
        }
        if !rest.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { rp_id_hash, flags, counter: u32::from_be_bytes(*counter), attested })
    }
}

impl<'a> Attested<'a> {
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), WebAuthnError> {
        let (_model, rest) = bytes.split_first_chunk::<16>().ok_or(Malformed)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(Malformed)?;
        let length = usize::from(u16::from_be_bytes(*length));
        if !(1..=CREDENTIAL_MAX).contains(&length) {
            return Err(Malformed);
        }
        let (credential, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        let (public_key, rest) = split_item(rest)?;
        Ok((Self { credential, public_key }, rest))
    }
}

/// The first CBOR item, and what follows it.
fn split_item(bytes: &[u8]) -> Result<(&[u8], &[u8]), WebAuthnError> {
    let mut decoder = Decoder::new(bytes);
    decoder.skip().map_err(|_| Malformed)?;
    bytes.split_at_checked(decoder.position()).ok_or(Malformed)
}

/// The authenticator data in an attestation object.
pub(super) fn authenticator_data_of(object: &[u8]) -> Result<&[u8], WebAuthnError> {
    let mut decoder = Decoder::new(object);
    let found = find_auth_data(&mut decoder).map_err(|_| Malformed)?;
    if decoder.position() != object.len() {
        return Err(Malformed);
    }
    found.ok_or(Malformed)
}

fn find_auth_data<'a>(
    decoder: &mut Decoder<'a>,
) -> Result<Option<&'a [u8]>, minicbor::decode::Error> {
    let refuse = minicbor::decode::Error::message;
    let members = decoder.map()?.ok_or_else(|| refuse("indefinite length"))?;
    let mut found = None;
    // The claimed number does not matter: each turn takes a byte or ends in an error.
    for _ in 0..members {
        if decoder.str()? != "authData" {
            decoder.skip()?;
        } else if found.replace(decoder.bytes()?).is_some() {
            return Err(refuse("authData twice"));
        }
    }
    Ok(found)
}
