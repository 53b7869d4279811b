//! The user's ends of tunnels at the door: the same proofs as for a session, and cookies that are
//! for one device or by one share.
//!
//! Cookies need no login key there, because who made one has shown the key before; and one that is
//! not accepted is no attempt to guess: pages that slept send old ones, and nobody guesses 128 bits.

use std::net::SocketAddr;

use serde_json::Map;

use crate::model::DomainId;
use crate::relay::visitor::{Viewer, Visitor};

use super::cookies::Scope;
use super::upgrade::{Credentials, from_header, from_query};
use super::{Gate, Refusal, Upgrade, cookies, is_own_origin, param};

/// A request at the door.
#[derive(Clone, Copy)]
pub struct AtGate<'a> {
    /// The door.
    pub gate: &'a Gate,
    /// The request.
    pub upgrade: Upgrade<'a>,
}

impl Visitor for AtGate<'_> {
    fn domain(&self) -> &DomainId {
        self.upgrade.domain
    }

    fn remote(&self) -> SocketAddr {
        self.upgrade.remote
    }

    fn query(&self) -> &str {
        self.upgrade.query
    }

    fn is_own_origin(&self) -> bool {
        is_own_origin(&self.upgrade, self.gate.hub.config().domain(self.upgrade.domain))
    }

    fn has_credentials(&self) -> bool {
        self.upgrade.meshauth.is_some()
            || ["auth", "user"].into_iter().any(|name| param(self.upgrade.query, name).is_some())
    }

    async fn viewer(&self) -> Option<Viewer> {
        let outcome = self.identify().await;
        if let Err(refusal) = &outcome {
            self.gate.refused(self.upgrade.remote.ip(), *refusal);
        }
        outcome.ok()
    }

    fn viewer_by_cookie(&self, cookie: &str) -> Option<Viewer> {
        // `meshctrl --loginkey` writes a second query behind its cookie.
        let (cookie, _) = cookie.split_once('?').unwrap_or((cookie, ""));
        let (gate, domain) = (self.gate, self.upgrade.domain);
        let from = self.upgrade.remote.ip();
        let opened = cookies::open(&gate.hub, &gate.cookies, domain, from, cookie, Scope::Tunnel)?;
        Some(Viewer { user: opened.user.id.clone(), cookie: opened.fields })
    }
}

impl AtGate<'_> {
    /// The methods in their order.
    async fn identify(&self) -> Result<Viewer, Refusal> {
        let Self { gate, upgrade } = self;
        if !self.is_own_origin() {
            return Err(Refusal::InvalidOrigin);
        }
        gate.may_try(upgrade.remote.ip())?;
        if let Some(credentials) = from_query(upgrade.query) {
            return self.by_password(credentials).await;
        }
        let cookie = param(upgrade.query, "auth");
        if let Some(viewer) = cookie.and_then(|cookie| self.viewer_by_cookie(&cookie)) {
            return Ok(viewer);
        }
        let header = upgrade.meshauth.ok_or(Refusal::NoAuth)?;
        self.by_password(from_header(header)?).await
    }

    async fn by_password(&self, credentials: Credentials) -> Result<Viewer, Refusal> {
        self.gate.may_enter(&self.upgrade)?;
        let login = self.gate.by_password(&self.upgrade, credentials).await?;
        Ok(Viewer { user: login.user, cookie: Map::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::control::testing::{ADMIN_AUTH, World, upgrade};
    use crate::model::{Seconds, SiteRights, User};
    use futures_lite::future::block_on;
    use serde_json::{Value, json};

    fn cookie(world: &World, fields: Value, age: u64) -> String {
        let Value::Object(fields) = fields else { panic!("an object") };
        let now = Seconds(world.hub.now().seconds().0 - age);
        world.key.seal(fields, now).unwrap()
    }

    fn viewer(world: &World, upgrade: Upgrade<'_>) -> Option<Viewer> {
        block_on(AtGate { gate: &world.control.gate, upgrade }.viewer())
    }

    #[test]
    fn a_viewers_cookie_tells_where_to_and_may_be_followed_by_a_second_query() {
        let world = World::new();
        for (fields, age, good) in [
            (json!({"userid": "user//admin", "domainid": "", "nodeid": "node//x"}), 0, true),
            (json!({"userid": "user//admin", "domainid": ""}), 3700, false),
            (json!({"u": "user//admin", "a": 3}), 0, true),
            (json!({"userid": "user//admin", "domainid": "other"}), 0, false),
            (json!({"userid": "user//nobody", "domainid": ""}), 0, false),
            (json!({"userid": "user//admin", "domainid": "", "ip": "8.8.8.8"}), 0, false),
            (json!({"ruserid": "user//admin", "x": "y"}), 0, false),
        ] {
            let text = cookie(&world, fields.clone(), age);
            let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            for query in [format!("id=5&auth={text}=?auth=other"), format!("auth={encoded}")] {
                let found = viewer(&world, Upgrade { query: &query, ..upgrade(None) });
                assert_eq!(found.is_some(), good, "{fields}");
                let named = found.map(|viewer| viewer.cookie.get("nodeid").cloned());
                assert_eq!(named.flatten(), fields.get("nodeid").cloned().filter(|_| good));
            }
        }
    }

    #[test]
    fn what_an_account_ended_opens_no_tunnel() {
        let world = World::new();
        let text = cookie(&world, json!({"userid": "user//admin", "domainid": ""}), 10);
        let query = format!("auth={text}");
        assert!(viewer(&world, Upgrade { query: &query, ..upgrade(None) }).is_some());
        let valid_from = Some(world.hub.now());
        let ended = User { valid_from, ..(*world.account("admin")).clone() };
        world.hub.store.put(ended).later();
        assert_eq!(viewer(&world, Upgrade { query: &query, ..upgrade(None) }), None);
        world.user("locked", SiteRights::LOCKED);
        let text = cookie(&world, json!({"userid": "user//locked", "domainid": ""}), 0);
        let query = format!("auth={text}");
        assert_eq!(viewer(&world, Upgrade { query: &query, ..upgrade(None) }), None);
    }

    #[test]
    fn a_login_key_is_asked_of_passwords_only() {
        let mut config = Config::default();
        config.domains.entry(DomainId::default()).or_default().login_keys = vec!["sesame".into()];
        let world = World::with(config);
        let text = cookie(&world, json!({"userid": "user//admin", "domainid": ""}), 0);
        let query = format!("auth={text}");
        let enters =
            |query: &str, header| viewer(&world, Upgrade { query, ..upgrade(header) }).is_some();
        assert!(enters(&query, None));
        assert!(!enters("", Some(ADMIN_AUTH)));
        assert!(enters("key=sesame", Some(ADMIN_AUTH)));
    }

    #[test]
    fn a_page_from_elsewhere_opens_no_tunnel_whatever_it_knows() {
        let world = World::new();
        let text = cookie(&world, json!({"userid": "user//admin", "domainid": ""}), 0);
        let query = format!("auth={text}");
        for (origin, good) in
            [("https://127.0.0.1:15443", true), ("https://evil.example", false), ("null", false)]
        {
            let page = Upgrade { origin: Some(origin), query: &query, ..upgrade(None) };
            assert_eq!(viewer(&world, page).is_some(), good, "{origin}");
        }
    }

    #[test]
    fn old_cookies_bar_nobody() {
        let world = World::new();
        for _ in 0..50 {
            let page = Upgrade { query: "auth=AAAA", ..upgrade(None) };
            assert_eq!(viewer(&world, page), None);
        }
        assert!(viewer(&world, upgrade(Some(ADMIN_AUTH))).is_some());
    }
}
