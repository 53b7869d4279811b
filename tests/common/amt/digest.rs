//! HTTP digest authentication (RFC 2617, MD5) from the firmware's side.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use md5::{Digest as _, Md5};

/// MD5 of parts with colons between them, in hexadecimal digits.
pub fn hash(parts: &[&str]) -> String {
    HEXLOWER.encode(&Md5::digest(parts.join(":")))
}

/// What a client has to prove for a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Path.
    pub uri: &'a str,
    /// Body, for `auth-int`.
    pub body: &'a [u8],
}

/// The nonces firmware gave out, and how often they were used.
#[derive(Debug)]
pub struct Nonces {
    /// Requests a nonce is good for.
    pub uses: u32,
    current: BTreeMap<String, Nonce>,
}

#[derive(Debug, Default)]
struct Nonce {
    used: u32,
    /// The last count of the client.
    count: u64,
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It proves nothing, or something wrong.
    Unproven,
    /// The proof is right for a nonce that has been used up.
    Stale,
}

impl Nonces {
    /// Nonces that are good for `uses` requests each.
    pub fn new(uses: u32) -> Self {
        Self { uses, current: BTreeMap::new() }
    }

    /// A new one, as firmware writes it: 24 bytes in base64.
    pub fn issue(&mut self) -> String {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        let nonce = BASE64.encode(&bytes);
        self.current.insert(nonce.clone(), Nonce::default());
        nonce
    }

    /// Makes every nonce stale, as a change of users does.
    pub fn expire(&mut self) {
        for nonce in self.current.values_mut() {
            nonce.used = u32::MAX;
        }
    }

    /// Judges an `Authorization` header. `ha1` gives the hash of a user's password; the answer is
    /// the user.
    pub fn judge(
        &mut self,
        header: &str,
        asked: Asked<'_>,
        (realm, qops): (&str, &str),
        ha1: impl Fn(&str) -> Option<String>,
    ) -> Result<String, Refusal> {
        let fields = fields(header).ok_or(Refusal::Unproven)?;
        let field = |name: &str| fields.get(name).map(String::as_str).ok_or(Refusal::Unproven);
        let (user, nonce, qop) = (field("username")?, field("nonce")?, field("qop")?);
        let (nc, cnonce) = (field("nc")?, field("cnonce")?);
        let offered = qops.split(',').any(|offered| offered.trim() == qop);
        if field("realm")? != realm || field("uri")? != asked.uri || !offered || cnonce.is_empty() {
            return Err(Refusal::Unproven);
        }
        let mut what = vec![asked.method, asked.uri];
        let body = HEXLOWER.encode(&Md5::digest(asked.body));
        if qop == "auth-int" {
            what.push(&body);
        }
        let ha1 = ha1(user).ok_or(Refusal::Unproven)?;
        if field("response")? != hash(&[&ha1, nonce, nc, cnonce, qop, &hash(&what)]) {
            return Err(Refusal::Unproven);
        }
        let count = u64::from_str_radix(nc, 16).map_err(|_| Refusal::Unproven)?;
        let known = self.current.get_mut(nonce).ok_or(Refusal::Stale)?;
        if known.used >= self.uses {
            return Err(Refusal::Stale);
        }
        // A count that does not grow is a request somebody saw and says again.
        if count <= known.count {
            return Err(Refusal::Unproven);
        }
        known.count = count;
        known.used += 1;
        Ok(user.to_owned())
    }
}

/// The fields of a header, quoted or not.
fn fields(header: &str) -> Option<BTreeMap<String, String>> {
    let list = header.strip_prefix("Digest ")?;
    let mut fields = BTreeMap::new();
    for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (name, value) = item.split_once('=')?;
        fields.insert(name.to_owned(), value.trim_matches('"').to_owned());
    }
    Some(fields)
}
