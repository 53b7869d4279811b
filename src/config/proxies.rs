//! What stands in front of the server: `tlsOffload`, `trustedProxy` and `certUrl`.
//!
//! What a proxy says of its clients is believed only if the proxy's address was named. MeshCentral
//! takes `true` for "whoever connects"; here it means a proxy on this machine, because everybody
//! else could give himself any address.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::addresses;
use super::read::Section;

/// Proxies in front of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `tlsOffload`: these may speak plain HTTP on the HTTPS ports.
    pub offload: Vec<IpNet>,
    /// `trustedProxy`, and those of `tlsOffload`: what they say of their clients
    /// (`X-Forwarded-For`, `-Proto`, `-Host`) counts.
    pub trusted: Vec<IpNet>,
}

impl Proxies {
    /// Whether `address` may speak HTTP without TLS.
    pub fn may_speak_plainly(&self, address: IpAddr) -> bool {
        is_listed(&self.offload, address)
    }

    /// Whether what `address` says of its clients counts.
    pub fn trusts(&self, address: IpAddr) -> bool {
        is_listed(&self.trusted, address)
    }
}

fn is_listed(nets: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    nets.iter().any(|net| net.contains(&address))
}

/// Where the certificate is that agents see instead of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontUrl {
    /// `https://host[:port]`: what is shown there in a TLS handshake.
    Https {
        /// Name or address, without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// `file:///path`: a PEM file of this machine, its first certificate.
    File(PathBuf),
}

impl FrontUrl {
    /// Reads a URL; without a scheme it is `https`. What follows the host is not looked at.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        match &*scheme.to_ascii_lowercase() {
            "file" if rest.starts_with('/') => Some(Self::File(rest.into())),
            "https" | "wss" => {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                let (host, port) = split_port(authority)?;
                let host = host.to_ascii_lowercase();
                let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
                let is_host = !host.is_empty() && host.chars().all(named);
                let is_address = host.parse::<IpAddr>().is_ok();
                (is_host || is_address).then_some(Self::Https { host, port })
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for FrontUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Https { host, port } if host.contains(':') => {
                write!(f, "https://[{host}]:{port}")
            }
            Self::Https { host, port } => write!(f, "https://{host}:{port}"),
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; the port of HTTPS if none is written.
fn split_port(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p))),
    };
    let port = port.map_or(Some(443), |port| port.parse().ok().filter(|port| *port != 0))?;
    Some((host, port))
}

/// Reads `tlsOffload` and `trustedProxy`.
pub(super) fn proxies(section: &Section<'_>) -> Proxies {
    let (offload, mut trusted) = (nets(section, "tlsOffload"), nets(section, "trustedProxy"));
    let offload = match offload {
        // "There is one": the one that was named under the other key, if one was.
        Some(Named::Yes) => [this_machine(), listed(trusted.as_ref())].concat(),
        other => listed(other.as_ref()),
    };
    if let Some(Named::Yes) = trusted {
        trusted = Some(Named::These(this_machine()));
    }
    let mut all = listed(trusted.as_ref());
    all.extend(offload.iter().filter(|net| !all.contains(net)).copied().collect::<Vec<_>>());
    Proxies { offload, trusted: all }
}

enum Named {
    /// `true`.
    Yes,
    These(Vec<IpNet>),
}

fn listed(named: Option<&Named>) -> Vec<IpNet> {
    match named {
        Some(Named::These(nets)) => nets.clone(),
        Some(Named::Yes) | None => Vec::new(),
    }
}

fn nets(section: &Section<'_>, name: &str) -> Option<Named> {
    let found = section.find(name)?;
    match found.node.value.as_flag() {
        Some(true) => {
            section.remark(
                &found,
                "true means a proxy on this machine; name the address of one elsewhere",
            );
            return Some(Named::Yes);
        }
        Some(false) => return None,
        None => {}
    }
    let lists = section.parsed(name, "true, or addresses or networks like 172.17.0.0/16", |text| {
        named_nets(text).or_else(|| addresses::parse(text).map(|net| vec![net]))
    });
    Some(Named::These(lists?.concat()))
}

fn this_machine() -> Vec<IpNet> {
    named_nets("loopback").unwrap_or_default()
}

/// The names MeshCentral knows (they are Express's).
fn named_nets(name: &str) -> Option<Vec<IpNet>> {
    let nets: &[&str] = match &*name.to_ascii_lowercase() {
        "loopback" => &["127.0.0.0/8", "::1/128"],
        "linklocal" => &["169.254.0.0/16", "fe80::/10"],
        "uniquelocal" => &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
        _ => return None,
    };
    Some(nets.iter().filter_map(|net| net.parse().ok()).collect())
}

/// Reads `certUrl`.
pub(super) fn front_url(section: &Section<'_>) -> Option<FrontUrl> {
    let found = section.find("certUrl")?;
    let url = FrontUrl::parse(&section.text("certUrl")?);
    if url.is_none() {
        section.problem(&found, "expected https://host[:port] or file:///path");
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn proxies_of(settings: &str) -> Proxies {
        parse(&format!(r#"{{"settings":{{{settings}}}}}"#), []).unwrap().0.settings.proxies
    }

    #[test]
    fn only_who_is_named_may_leave_tls_out_or_speak_for_others() {
        for (settings, address, plainly, trusted) in [
            (r#""port":443"#, "127.0.0.1", false, false),
            (r#""tlsOffload":true"#, "127.0.0.1", true, true),
            (r#""tlsOffload":true"#, "::ffff:127.0.0.1", true, true),
            (r#""tlsOffload":true"#, "192.168.1.1", false, false),
            (r#""tlsOffload":false"#, "127.0.0.1", false, false),
            (r#""tlsOffload":"172.17.0.2, loopback""#, "172.17.0.2", true, true),
            (r#""tlsOffload":"172.17.0.2, loopback""#, "::1", true, true),
            (r#""tlsOffload":["172.17.0.0/16"]"#, "127.0.0.1", false, false),
            (r#""trustedProxy":true"#, "127.0.0.1", false, true),
            (r#""trustedProxy":"10.0.0.5""#, "10.0.0.5", false, true),
            (r#""trustedProxy":"10.0.0.5""#, "10.0.0.6", false, false),
            (r#""trustedProxy":"uniquelocal""#, "fd00::7", false, true),
            (r#""tlsOffload":true,"trustedProxy":"10.0.0.5""#, "10.0.0.5", true, true),
            (r#""tlsOffload":"::1","trustedProxy":"10.0.0.5""#, "10.0.0.5", false, true),
        ] {
            let (proxies, from) = (proxies_of(settings), address.parse().unwrap());
            let found = (proxies.may_speak_plainly(from), proxies.trusts(from));
            assert_eq!(found, (plainly, trusted), "{settings} {address}");
        }
        for wrong in ["proxy.example.com", "cloudflare", "10.0.0.0/40"] {
            assert!(parse(&format!(r#"{{"settings":{{"trustedProxy":"{wrong}"}}}}"#), []).is_err());
        }
    }

    #[test]
    fn a_certificate_is_at_an_https_port_or_in_a_file() {
        let https = |host: &str, port| Some(FrontUrl::Https { host: host.into(), port });
        for (text, url) in [
            ("mesh.example.com", https("mesh.example.com", 443)),
            ("https://Mesh.example.com/", https("mesh.example.com", 443)),
            ("https://127.0.0.1:8443/x?y", https("127.0.0.1", 8443)),
            ("[::1]:8443", https("::1", 8443)),
            ("https://[::1]", https("::1", 443)),
            ("file:///etc/a.pem", Some(FrontUrl::File("/etc/a.pem".into()))),
            ("file://a.pem", None),
            ("http://a", None),
            ("https://a:0", None),
            ("https://a:b", None),
            ("https://a b", None),
            ("https://", None),
        ] {
            assert_eq!(FrontUrl::parse(text), url, "{text}");
        }
        assert_eq!(https("::1", 8443).unwrap().to_string(), "https://[::1]:8443");
    }
}
