//! What the page may do in a browser.

/// The `Content-Security-Policy` of the page. Scripts, styles and connections are this server's and
/// nothing else; nothing is inline; strings become markup nowhere (Trusted Types), but for the one
/// policy with which the page starts its own workers. `host` is the `Host` header: browsers that do
/// not take `'self'` for WebSockets need it; one with letters no host has is left out.
pub fn policy(host: Option<&str>) -> String {
    let known =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let own = match host.filter(|host| host.len() <= 260 && host.chars().all(known)) {
        Some(host) => format!(" wss://{host}"),
        None => String::new(),
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
         media-src 'self' blob:; connect-src 'self'{own}; worker-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types meshboard"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_cannot_write_into_the_policy() {
        for (host, expected) in [
            (Some("board.local:8443"), "connect-src 'self' wss://board.local:8443;"),
            (Some("[::1]:8443"), "connect-src 'self' wss://[::1]:8443;"),
            (Some("a; script-src *"), "connect-src 'self';"),
            (Some("a *"), "connect-src 'self';"),
            (None, "connect-src 'self';"),
        ] {
            assert!(policy(host).contains(expected), "{host:?}");
        }
        let policy = policy(Some(&"a".repeat(261)));
        assert!(policy.contains("connect-src 'self';"));
        assert!(!policy.contains("unsafe"));
    }
}
