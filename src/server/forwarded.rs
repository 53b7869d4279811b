//! Requests through a proxy, as if they had come without it.
//!
//! `X-Forwarded-For`, `-Proto` and `-Host` count if they come from a proxy that was named, and are
//! gone afterwards; from everybody else they are just removed. MeshCentral takes the first address
//! of the list, which is whatever the client wrote there; here it is the last one that is no proxy
//! of ours, which is what our own proxy saw.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, http};

use crate::config::Proxies;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Proxies in a row that are looked behind at most.
const HOPS: usize = 16;

/// How the client itself speaks to what stands in front of us, as it is in addresses of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// With TLS.
    Https,
    /// A proxy told that it takes plain HTTP.
    Http,
}

impl Scheme {
    /// Of a request that [`look_behind`] has seen.
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::Https)
    }

    /// `https` or `http`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// Gives `request`, which came from `peer`, the host and scheme that its client used. Returns the
/// client's address, with the port of the connection to us: a proxy does not tell the client's.
pub fn look_behind<B>(proxies: &Proxies, request: &mut Request<B>, peer: SocketAddr) -> SocketAddr {
    let trusted = proxies.trusts(peer.ip());
    let headers = request.headers_mut();
    let client = match trusted {
        true => client(proxies, headers, peer.ip()),
        false => peer.ip(),
    };
    let (scheme, host) = (last(headers, &PROTO), last(headers, &FORWARDED_HOST));
    for name in [FOR, PROTO, FORWARDED_HOST] {
        headers.remove(name);
    }
    if trusted {
        if let Some(host) = host.and_then(|host| HeaderValue::try_from(host).ok()) {
            headers.insert(HOST, host);
        }
        if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http")) {
            request.extensions_mut().insert(Scheme::Http);
        }
    }
    SocketAddr::new(client, peer.port())
}

/// The last address of the way that is no proxy of ours, or the farthest that can be read.
fn client(proxies: &Proxies, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let lists: Vec<_> = headers.get_all(FOR).iter().filter_map(|v| v.to_str().ok()).collect();
    let way = lists.iter().rev().flat_map(|list| list.rsplit(','));
    let mut client = peer;
    for hop in way.take(HOPS) {
        let Some(address) = address(hop.trim()) else { break };
        client = address;
        if !proxies.trusts(address) {
            break;
        }
    }
    client
}

/// `1.2.3.4`, `1.2.3.4:567`, `::1`, `[::1]` or `[::1]:567`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address: Option<IpAddr> = text.parse().ok().or_else(bare).or_else(with_port);
    address.map(|address| address.to_canonical())
}

/// The last word of a list: that of the proxy next to us.
fn last(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let list = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    let word = list.rsplit(',').next().unwrap_or_default().trim();
    (!word.is_empty()).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxies() -> Proxies {
        let trusted = ["10.0.0.0/24", "::1/128"].map(|net| net.parse().unwrap()).into();
        Proxies { offload: Vec::new(), trusted }
    }

    fn seen(peer: &str, headers: &[(&str, &str)]) -> (String, String, &'static str) {
        let mut request = Request::builder().header("host", "inner:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        let client = look_behind(&proxies(), &mut request, peer);
        assert!(request.headers().iter().all(|(name, _)| name == HOST), "nothing is passed on");
        let host = request.headers()[HOST].to_str().unwrap().to_owned();
        (client.to_string(), host, Scheme::of(request.extensions()).as_str())
    }

    #[test]
    fn a_named_proxy_tells_who_its_client_is_and_what_it_asked_for() {
        let proxy = "10.0.0.1";
        for (value, client) in [
            ("203.0.113.9", "203.0.113.9:4711"),
            ("203.0.113.9:567", "203.0.113.9:4711"),
            ("2001:db8::7", "[2001:db8::7]:4711"),
            ("[2001:db8::7]:567", "[2001:db8::7]:4711"),
            ("::ffff:203.0.113.9", "203.0.113.9:4711"),
            // What the client wrote itself is in front of what the proxy saw.
            ("127.0.0.1, 203.0.113.9", "203.0.113.9:4711"),
            ("evil, 203.0.113.9", "203.0.113.9:4711"),
            ("198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9:4711"),
            ("10.0.0.3", "10.0.0.3:4711"),
            ("unknown", "10.0.0.1:4711"),
            ("", "10.0.0.1:4711"),
        ] {
            assert_eq!(seen(proxy, &[("x-forwarded-for", value)]).0, client, "{value:?}");
        }
        let two = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.9, 10.0.0.7")];
        assert_eq!(seen(proxy, &two).0, "203.0.113.9:4711");
        let all = [("x-forwarded-proto", "http"), ("x-forwarded-host", "x, mesh.example.com:444")];
        let (client, host, scheme) = seen(proxy, &all);
        assert_eq!((&*client, &*host, scheme), ("10.0.0.1:4711", "mesh.example.com:444", "http"));
        assert_eq!(seen(proxy, &[]).2, "https", "a proxy that ends TLS is what this is for");
    }

    #[test]
    fn nobody_else_is_believed() {
        let lies = [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "evil.example.com"),
        ];
        let expected = ("203.0.113.66:4711".into(), "inner:8080".into(), "https");
        assert_eq!(seen("203.0.113.66", &lies), expected);
    }

    proptest! {
        #[test]
        fn whatever_is_written_there_ends(value in "[0-9a-f:.,\\[\\] ]{0,200}") {
            let headers = [("x-forwarded-for", &*value), ("x-forwarded-host", &*value)];
            seen("10.0.0.1", &headers);
        }
    }
}
