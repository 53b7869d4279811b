//! Which tenant a request is for.

use crate::config::Config;
use crate::model::DomainId;

/// The tenant of a request and the path inside it, without leading slash.
///
/// A host name that equals a domain's `dns` selects it; else the first path segment, if it names a
/// domain without `dns`; else the default domain. `path` begins with `/`.
pub fn resolve<'p>(config: &Config, host: Option<&str>, path: &'p str) -> (DomainId, &'p str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    if let Some(name) = host.map(host_name)
        && let Some((id, _)) = config
            .domains
            .iter()
            .find(|(_, d)| d.dns.as_deref().is_some_and(|dns| dns.eq_ignore_ascii_case(name)))
    {
        return (id.clone(), path);
    }
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    if !first.is_empty()
        && let Ok(id) = DomainId::new(first)
        && config.domains.get(&id).is_some_and(|d| d.dns.is_none())
    {
        return (id, rest);
    }
    (DomainId::default(), path)
}

/// The name in a `Host` header, without port and brackets.
pub fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Domain;

    #[test]
    fn host_then_path_then_default() {
        let mut config = Config::default();
        let id = |t: &str| DomainId::new(t).unwrap();
        config.domains.insert(id("customer1"), Domain::default());
        let dns = Some("two.example.com".to_owned());
        config.domains.insert(id("customer2"), Domain { dns, ..Domain::default() });
        for (host, path, domain, rest) in [
            (None, "/agent.ashx", "", "agent.ashx"),
            (Some("a:443"), "/", "", ""),
            (Some("a"), "/customer1/agent.ashx", "customer1", "agent.ashx"),
            (Some("a"), "/Customer1", "customer1", ""),
            (Some("TWO.example.com:8443"), "/customer1/x", "customer2", "customer1/x"),
            (Some("a"), "/customer2/x", "", "customer2/x"),
            (Some("[::1]:443"), "/unknown/x", "", "unknown/x"),
        ] {
            let found = resolve(&config, host, path);
            assert_eq!(found, (id(domain), rest), "{host:?} {path}");
        }
    }
}
