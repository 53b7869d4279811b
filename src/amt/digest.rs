//! Digest authentication as Intel AMT wants it (RFC 2617, MD5): of its web server, and of its
//! redirection ports, which carry the same fields in another form.
//!
//! What the firmware proves of itself is nothing: whoever sits between learns no password, but may
//! change what is said. That is what TLS is for.

use std::fmt;

use data_encoding::HEXLOWER;
use md5::{Digest as _, Md5};

/// Longest realm and nonce in bytes; firmware has 39 and 32.
const TEXT_MAX: usize = 256;

/// A user name and password of the firmware.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Mostly `admin`.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?})", self.user)
    }
}

/// What the proof covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// Method and path.
    Auth,
    /// The body, too.
    AuthInt,
}

impl Qop {
    /// The word of the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

/// What the firmware asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Names the device: `Digest:` and 32 hexadecimal digits, the same for ever.
    pub realm: String,
    /// To be used until another one comes.
    pub nonce: String,
    /// The proof was right, the nonce too old. Not to be relied on.
    pub stale: bool,
    /// What is offered of it; `auth` where both are.
    pub qop: Qop,
    /// Proofs made with its nonce so far. One that does not count on is taken for a wrong password.
    pub used: u32,
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header. Lists have commas with or without spaces, and empty
    /// items; nothing is said of the algorithm.
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, mut rest) = header.trim_start().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let (mut realm, mut nonce, mut stale, mut qop) = (None, None, false, "");
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                break;
            }
            let (name, value) = rest.split_once('=')?;
            let value = value.trim_start();
            let (value, after) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => value.split_at(value.find(',').unwrap_or(value.len())),
            };
            rest = after;
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "nonce" => nonce = Some(value),
                "stale" => stale = value.trim().eq_ignore_ascii_case("true"),
                "qop" => qop = value,
                _ => {}
            }
        }
        let text = |text: Option<&str>| {
            text.filter(|text| text.len() <= TEXT_MAX && !text.contains(char::is_control))
                .map(str::to_owned)
        };
        let offers = |one: &str| qop.split(',').any(|word| word.trim().eq_ignore_ascii_case(one));
        let only_whole = offers("auth-int") && !offers("auth");
        let qop = if only_whole { Qop::AuthInt } else { Qop::Auth };
        Some(Self { realm: text(realm)?, nonce: text(nonce)?, stale, qop, used: 0 })
    }
}

/// `HA1`: what the firmware keeps of a password. Its base64 is the `DigestPassword` of its users.
pub fn password_hash(credentials: &Credentials, realm: &str) -> [u8; 16] {
    let Credentials { user, password } = credentials;
    Md5::digest(format!("{user}:{realm}:{password}")).into()
}

/// What is to be proven.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `POST`.
    pub method: &'a str,
    /// `/wsman`, `/RedirectionService`.
    pub uri: &'a str,
    /// Counts only with [`Qop::AuthInt`].
    pub body: &'a [u8],
}

/// `response`, 32 hexadecimal digits. `count` is the text sent as `nc`, whatever its form.
pub fn response(
    hash: &[u8; 16],
    request: Request<'_>,
    (nonce, count, own_nonce, qop): (&str, &str, &str, Qop),
) -> String {
    let Request { method, uri, body } = request;
    let what = match qop {
        Qop::Auth => Md5::digest(format!("{method}:{uri}")),
        Qop::AuthInt => {
            let body = HEXLOWER.encode(&Md5::digest(body));
            Md5::digest(format!("{method}:{uri}:{body}"))
        }
    };
    let (hash, what, qop) = (HEXLOWER.encode(hash), HEXLOWER.encode(&what), qop.as_str());
    let all = format!("{hash}:{nonce}:{count}:{own_nonce}:{qop}:{what}");
    HEXLOWER.encode(&Md5::digest(all))
}

/// One nonce of the firmware, and how often it was used.
#[derive(Clone)]
pub struct Session {
    challenge: Challenge,
    user: String,
    hash: [u8; 16],
}

impl Session {
    /// Answers to `challenge`.
    pub fn new(credentials: &Credentials, challenge: Challenge) -> Self {
        let hash = password_hash(credentials, &challenge.realm);
        Self { challenge, user: credentials.user.clone(), hash }
    }

    /// What was asked, and how often it was answered.
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// The value of `Authorization` for the next request. `own_nonce` is random text of ours.
    pub fn authorize(&mut self, request: Request<'_>, own_nonce: &str) -> String {
        self.challenge.used = self.challenge.used.saturating_add(1);
        let Challenge { realm, nonce, qop, used, .. } = &self.challenge;
        let count = format!("{used:08x}");
        let response = response(&self.hash, request, (nonce, &count, own_nonce, *qop));
        let user = self.user.replace('\\', "\\\\").replace('"', "\\\"");
        let (uri, qop) = (request.uri, qop.as_str());
        format!(
            "Digest username=\"{user}\",realm=\"{realm}\",nonce=\"{nonce}\",uri=\"{uri}\",\
             qop={qop},response=\"{response}\",nc={count},cnonce=\"{own_nonce}\""
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/vectors/wsman-digest.json")).unwrap()
    }

    #[test]
    fn challenges_of_real_firmware_are_read() {
        for case in vectors()["challenges"].as_array().unwrap() {
            let header = case["header"].as_str().map(str::to_owned).unwrap_or_else(|| {
                let head = case["status_and_headers"].as_str().unwrap();
                let line = head.lines().find_map(|l| l.strip_prefix("WWW-Authenticate: "));
                line.unwrap().to_owned()
            });
            let read = Challenge::parse(&header).unwrap();
            let wanted = &case["parsed"];
            assert_eq!(read.realm, wanted["realm"].as_str().unwrap());
            assert_eq!(read.nonce, wanted["nonce"].as_str().unwrap());
            assert_eq!(read.stale, wanted["stale"] == "true");
            assert_eq!(read.qop, Qop::Auth, "offered in each of them");
        }
        let whole = Challenge::parse(r#"digest nonce=abc,stale=TRUE,qop=auth-int,realm="R""#);
        let (realm, nonce) = ("R".into(), "abc".into());
        let (stale, qop, used) = (true, Qop::AuthInt, 0);
        assert_eq!(whole, Some(Challenge { realm, nonce, stale, qop, used }));
        for bad in ["", "Digest", "Basic realm=\"R\"", "Digest realm=\"R\"", "Digest realm=\"R"] {
            assert_eq!(Challenge::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn responses_are_those_that_were_captured_and_computed() {
        for case in vectors()["cases"].as_array().unwrap() {
            let text = |name: &str| case[name].as_str().unwrap_or_default();
            let credentials =
                Credentials { user: text("username").into(), password: text("password").into() };
            let hash = password_hash(&credentials, text("realm"));
            assert_eq!(HEXLOWER.encode(&hash), text("ha1"));
            let body = text("body").as_bytes();
            let request = Request { method: text("method"), uri: text("uri"), body };
            let qop = if text("qop") == "auth-int" { Qop::AuthInt } else { Qop::Auth };
            let parts = (text("nonce"), text("nc"), text("cnonce"), qop);
            assert_eq!(response(&hash, request, parts), text("response"));
            let (realm, nonce) = (text("realm").into(), text("nonce").into());
            let used = u32::from_str_radix(text("nc"), 16).unwrap() - 1;
            let challenge = Challenge { realm, nonce, stale: false, qop, used };
            let mut session = Session::new(&credentials, challenge);
            let header = session.authorize(request, text("cnonce"));
            assert!(header.contains(text("response")));
            if let Some(captured) = case["authorization_header"].as_str() {
                assert_eq!(header, captured);
            }
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_reader_fail(header in "(Digest )?[ ,=\"a-z\u{0}-\u{20}é]{0,80}") {
            let _ = Challenge::parse(&header);
        }
    }
}
