//! What an HTTP upgrade says about who is asking: parameters, headers, cookies, origin.
//!
//! Source: control-protocol §2.1, §2.2. Unlike MeshCentral, `Origin` must match scheme, host and
//! port.

use std::net::SocketAddr;

use super::{Login, Method, Refusal};
use crate::config::Domain;
use crate::model::{DomainId, Millis, UserId};

/// An HTTP upgrade. All texts are as the client sent them.
#[derive(Clone, Copy, Debug)]
pub struct Upgrade<'a> {
    /// The tenant, from the host name or the first path segment.
    pub domain: &'a DomainId,
    /// Where the client is.
    pub remote: SocketAddr,
    /// `https`, or `http` without TLS in front of us.
    pub scheme: &'a str,
    /// Header `Host`.
    pub host: Option<&'a str>,
    /// Header `Origin`; only browsers send it.
    pub origin: Option<&'a str>,
    /// What follows `?` in the request target, still encoded.
    pub query: &'a str,
    /// Header `x-meshauth`.
    pub meshauth: Option<&'a str>,
    /// Header `Cookie`.
    pub cookies: Option<&'a str>,
    /// Header `User-Agent`.
    pub agent: Option<&'a str>,
}

impl Upgrade<'_> {
    /// The name or address the client calls the server by, without its port.
    fn host_name(&self) -> &str {
        let host = self.host.unwrap_or("localhost");
        match host.rsplit_once(':') {
            // In `[::1]` the last colon is part of the address.
            Some((name, port)) if !port.contains(']') => name,
            _ => host,
        }
    }

    /// The device is remembered: cookie `twofactor`.
    pub(super) fn remembered(&self) -> Option<String> {
        cookie(self.cookies?, "twofactor")
    }

    pub(super) fn login(&self, user: UserId, method: Method, at: Millis) -> Login {
        let host = self.host_name().into();
        let origin = self.origin.map(Box::from);
        Login { user, remote: self.remote, method, token: None, at, host, origin }
    }
}

/// A name and a password, what else came with them, and what to answer if they are wrong.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::control) struct Credentials {
    pub(super) name: String,
    pub(super) password: String,
    pub(super) token: Option<String>,
    pub(super) failure: Refusal,
}

/// `?user=&pass=[&token=]`.
pub(super) fn from_query(query: &str) -> Option<Credentials> {
    let (name, password) = (param(query, "user")?, param(query, "pass")?);
    Some(Credentials { name, password, token: param(query, "token"), failure: Refusal::Query })
}

/// `x-meshauth: b64(user),b64(pass)[,b64(token)]`; some clients put blanks around the commas.
pub(super) fn from_header(header: &str) -> Result<Credentials, Refusal> {
    let parts: Vec<_> = header.split(',').take(4).map(str::trim).collect();
    let (name, password, token) = match parts[..] {
        [name, password] => (name, password, None),
        [name, password, token] => (name, password, Some(token)),
        _ => return Err(Refusal::HeaderForm),
    };
    let (Some(name), Some(password)) = (decode(name), decode(password)) else {
        return Err(Refusal::Header);
    };
    // A token that is no text is a wrong one.
    let token = token.map(|token| decode(token).unwrap_or_else(|| token.to_owned()));
    Ok(Credentials { name, password, token, failure: Refusal::Header })
}

/// UTF-8 in standard base64.
pub(super) fn decode(part: &str) -> Option<String> {
    let bytes = data_encoding::BASE64.decode(part.as_bytes()).ok()?;
    String::from_utf8(bytes).ok()
}

/// The first parameter of that name in a query string.
pub fn param(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// The first cookie of that name in a `Cookie` header, percent-decoded.
pub fn cookie(header: &str, name: &str) -> Option<String> {
    let value = header.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })?;
    // A form's decoding would make blanks of `+`; no cookie of ours has one.
    form_urlencoded::parse(format!("c={}", value.replace('&', "%26")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
}

/// Whether a browser's page came from this server, or from one the domain allows. Clients that are
/// no browsers send no `Origin`.
pub fn is_own_origin(upgrade: &Upgrade<'_>, domain: &Domain) -> bool {
    let any = || domain.allowed_origins.iter().any(|allowed| allowed == "*");
    upgrade.origin.is_none() || is_known_page(upgrade, domain) || any()
}

/// Whether the request is from a page, and the page from this server or from one the domain allows
/// by its name.
pub(super) fn is_known_page(upgrade: &Upgrade<'_>, domain: &Domain) -> bool {
    let origin = upgrade.origin.and_then(|origin| origin.split_once("://"));
    let Some((scheme, authority)) = origin else { return false };
    let same = |host: &str| {
        scheme.eq_ignore_ascii_case(upgrade.scheme)
            && with_port(scheme, authority) == with_port(scheme, host)
    };
    upgrade.host.is_some_and(same)
        || domain.allowed_origins.iter().any(|allowed| match allowed.split_once("://") {
            Some((allowed, host)) => {
                scheme.eq_ignore_ascii_case(allowed)
                    && with_port(scheme, authority) == with_port(scheme, host)
            }
            None => same(allowed),
        })
}

/// `host:port` in lower case, with the scheme's port if none is written.
fn with_port(scheme: &str, authority: &str) -> String {
    let authority = authority.to_ascii_lowercase();
    let has_port = match authority.rsplit_once(':') {
        // In `[::1]` the last colon is part of the address.
        Some((_, port)) => !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()),
        None => false,
    };
    match (has_port, scheme.eq_ignore_ascii_case("https")) {
        (true, _) => authority,
        (false, true) => authority + ":443",
        (false, false) => authority + ":80",
    }
}
