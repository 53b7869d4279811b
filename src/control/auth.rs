//! Who may open `/control.ashx`: from an HTTP upgrade to an account or a refusal.
//!
//! Source: control-protocol §2. The upgrade itself always succeeds; a refusal is one text frame
//! `{"action":"close","cause":…,"msg":…}` before the close. Checks come in MeshCentral's order:
//! origin, login key, barred address, then the first method that applies: query `user`/`pass`,
//! query `auth` (cookie), header `x-meshauth`. Unlike MeshCentral, `Origin` must match scheme, host
//! and port, and failures count towards `maxInvalidLogin`.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use log::{info, warn};
use serde_json::json;

use crate::config::Domain;
use crate::hub::{Hub, Refused};
use crate::identity::cookie::{AUTH_LIFETIME, CookieKey, same_neighbourhood};
use crate::identity::password::{Busy, Passwords, Verdict};
use crate::model::{DomainId, SiteRights, User, UserId};

use super::limiter::Limiter;

/// What an HTTP upgrade says about who is asking. All texts are as the client sent them.
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
}

/// Why somebody is not let in, in the words clients know (§2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No credentials, or a cookie that is not accepted.
    NoAuth,
    /// Name or password in the query is wrong.
    Query,
    /// `x-meshauth` has not two or three parts of base64.
    HeaderForm,
    /// Name or password in `x-meshauth` is wrong.
    Header,
    /// The domain has login keys and the request has none of them.
    NoKey,
    /// The `Origin` is not this server.
    InvalidOrigin,
    /// Too many failures from this network.
    Banned,
    /// The account may use the web page only.
    NoTools,
    /// Too many passwords are being checked.
    Busy,
}

impl Refusal {
    /// The `cause` and `msg` of the frame.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NoAuth => ("noauth", "noauth"),
            Self::Query => ("noauth", "noauth-2a"),
            Self::HeaderForm => ("noauth", "noauth-2c"),
            Self::Header => ("noauth", "noauth-2d"),
            Self::NoKey => ("noauth", "nokey"),
            Self::InvalidOrigin => ("invalidorigin", "invalidorigin"),
            Self::Banned => ("banned", "banned-1"),
            Self::NoTools => ("notools", "notools"),
            // Clients know no word for "later"; -4 is their word for any other reason.
            Self::Busy => ("noauth", "noauth-4"),
        }
    }

    /// The frame a refused client gets.
    pub fn frame(self) -> String {
        let (cause, msg) = self.words();
        json!({"action": "close", "cause": cause, "msg": msg}).to_string()
    }
}

/// How an account proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// With its password.
    Password,
    /// With a cookie made with the login key.
    Cookie,
}

/// A client that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: UserId,
    /// From where.
    pub remote: SocketAddr,
    /// How.
    pub method: Method,
    /// The name or address the client calls the server by, without its port.
    pub host: Box<str>,
}

impl Upgrade<'_> {
    fn login(&self, user: UserId, method: Method) -> Login {
        let host = self.host.unwrap_or("localhost");
        let name = match host.rsplit_once(':') {
            // In `[::1]` the last colon is part of the address.
            Some((name, port)) if !port.contains(']') => name,
            _ => host,
        };
        Login { user, remote: self.remote, method, host: name.into() }
    }
}

/// The door of the control channel.
pub struct Gate {
    hub: Rc<Hub>,
    passwords: Passwords,
    cookies: CookieKey,
    limiter: RefCell<Limiter>,
}

/// A name and a password, and what to answer if they are wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Credentials {
    name: String,
    password: String,
    failure: Refusal,
}

impl Gate {
    /// A door to the accounts of `hub`.
    pub fn new(hub: Rc<Hub>, passwords: Passwords, cookies: CookieKey) -> Self {
        Self { hub, passwords, cookies, limiter: RefCell::default() }
    }

    /// Lets the client in or says why not. Checking a password takes tens of milliseconds in the
    /// blocking pool.
    pub async fn admit(&self, upgrade: &Upgrade<'_>) -> Result<Login, Refusal> {
        let outcome = self.decide(upgrade).await;
        if let Err(refusal) = &outcome {
            // Stable form: intrusion filters (fail2ban) match this line.
            let ip = upgrade.remote.ip().to_canonical();
            warn!("control: login failed from {ip} ({})", refusal.words().1);
            self.hub.metrics.refuse(match refusal {
                Refusal::Banned => Refused::Banned,
                _ => Refused::UserAuth,
            });
        }
        outcome
    }

    async fn decide(&self, upgrade: &Upgrade<'_>) -> Result<Login, Refusal> {
        let config = self.hub.config();
        let domain = config.domain(upgrade.domain);
        if !is_own_origin(upgrade, domain) {
            return Err(Refusal::InvalidOrigin);
        }
        let keys = &domain.login_keys;
        if !keys.is_empty() && !param(upgrade.query, "key").is_some_and(|key| keys.contains(&key)) {
            return Err(Refusal::NoKey);
        }
        if self.limiter.borrow().is_barred(upgrade.remote.ip(), Instant::now()) {
            return Err(Refusal::Banned);
        }
        let outcome = self.identify(upgrade).await;
        if let Err(Refusal::Query | Refusal::Header) = outcome {
            self.failed(upgrade.remote.ip());
        }
        outcome
    }

    /// The methods in their order.
    async fn identify(&self, upgrade: &Upgrade<'_>) -> Result<Login, Refusal> {
        if let Some(credentials) = from_query(upgrade.query) {
            return self.by_password(upgrade, credentials).await;
        }
        let cookie = param(upgrade.query, "auth");
        if let Some(user) = cookie.as_deref().and_then(|text| self.by_cookie(upgrade, text)) {
            return Ok(upgrade.login(user, Method::Cookie));
        }
        match upgrade.meshauth {
            Some(header) => self.by_password(upgrade, from_header(header)?).await,
            None => {
                if cookie.is_some() {
                    self.failed(upgrade.remote.ip());
                }
                Err(Refusal::NoAuth)
            }
        }
    }

    fn by_cookie(&self, upgrade: &Upgrade<'_>, text: &str) -> Option<UserId> {
        let now = self.hub.now().seconds();
        let fields = self.cookies.open(text, now, AUTH_LIFETIME).ok()?;
        let text = |name: &str| fields.get(name).and_then(|value| value.as_str());
        let id = match fields.get("a").and_then(|a| a.as_u64()) {
            None => {
                let domain = text("domainid").unwrap_or_default();
                if domain != upgrade.domain.as_str() {
                    return None;
                }
                text("userid")?
            }
            Some(3) => text("u")?,
            Some(_) => return None,
        };
        if let Some(made_for) = fields.get("ip") {
            let made_for: IpAddr = made_for.as_str()?.parse().ok()?;
            if !same_neighbourhood(made_for, upgrade.remote.ip()) {
                return None;
            }
        }
        let user = self.hub.store.user(&UserId::parse_in(upgrade.domain, id).ok()?)?;
        may_log_in(&user).then(|| user.id.clone())
    }

    async fn by_password(
        &self,
        upgrade: &Upgrade<'_>,
        credentials: Credentials,
    ) -> Result<Login, Refusal> {
        let Credentials { name, password, failure } = credentials;
        let id = UserId::new(upgrade.domain.clone(), &name).ok();
        let user = id.and_then(|id| self.hub.store.user(&id));
        let hash = user.as_ref().map(|user| &user.password);
        let verdict = self.passwords.verify(hash, &password).await.map_err(|Busy| Refusal::Busy)?;
        let user = user.filter(|user| may_log_in(user)).ok_or(failure)?;
        match verdict {
            Verdict::Wrong => return Err(failure),
            Verdict::Right => {}
            Verdict::RightButUpgrade => self.upgrade(&user, &password).await,
        }
        if user.site.restricted(SiteRights::NO_TOOLS) {
            return Err(Refusal::NoTools);
        }
        Ok(upgrade.login(user.id.clone(), Method::Password))
    }

    /// Keeps the password in today's form from now on.
    async fn upgrade(&self, user: &User, password: &str) {
        let Ok(hash) = self.passwords.hash(password).await else { return };
        // The account may have changed while the hash was computed.
        let Some(current) = self.hub.store.user(&user.id) else { return };
        if current.password == user.password && hash != crate::model::PasswordHash::None {
            let upgraded = User { password: hash, ..(*current).clone() };
            self.hub.store.put(upgraded).later();
            info!("control: the password of {} is now kept as Argon2id", user.id);
        }
    }

    fn failed(&self, address: IpAddr) {
        if let Some(limit) = &self.hub.config().settings.max_invalid_login {
            self.limiter.borrow_mut().failed(address, limit, Instant::now());
        }
    }
}

/// Whether the account is in a state in which anybody may use it.
fn may_log_in(user: &User) -> bool {
    !user.site.restricted(SiteRights::LOCKED)
}

/// `?user=&pass=`.
fn from_query(query: &str) -> Option<Credentials> {
    let (name, password) = (param(query, "user")?, param(query, "pass")?);
    Some(Credentials { name, password, failure: Refusal::Query })
}

/// `x-meshauth: b64(user),b64(pass)[,b64(token)]`; some clients put blanks around the commas.
fn from_header(header: &str) -> Result<Credentials, Refusal> {
    let parts: Vec<_> = header.split(',').take(4).map(str::trim).collect();
    let (name, password) = match parts[..] {
        [name, password] | [name, password, _] => (name, password),
        _ => return Err(Refusal::HeaderForm),
    };
    let decode = |part: &str| {
        let bytes = data_encoding::BASE64.decode(part.as_bytes()).ok()?;
        String::from_utf8(bytes).ok()
    };
    let (Some(name), Some(password)) = (decode(name), decode(password)) else {
        return Err(Refusal::Header);
    };
    Ok(Credentials { name, password, failure: Refusal::Header })
}

/// The first parameter of that name in a query string.
fn param(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Whether a browser's page came from this server, or from one the domain allows. Clients that are
/// no browsers send no `Origin`.
fn is_own_origin(upgrade: &Upgrade<'_>, domain: &Domain) -> bool {
    let Some(origin) = upgrade.origin else { return true };
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let same = |host: &str| {
        scheme.eq_ignore_ascii_case(upgrade.scheme)
            && with_port(scheme, authority) == with_port(scheme, host)
    };
    upgrade.host.is_some_and(same)
        || domain.allowed_origins.iter().any(|allowed| allowed == "*")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, LoginLimit};
    use crate::control::testing::{ADMIN_AUTH, World, upgrade};
    use crate::identity::password;
    use crate::model::{PasswordHash, Seconds};
    use futures_lite::future::block_on;
    use serde_json::Value;
    use std::time::Duration;

    const VECTORS: &str = include_str!("../../tests/vectors/control-auth.json");

    fn admit(world: &World, upgrade: &Upgrade<'_>) -> Result<Login, Refusal> {
        block_on(world.control.gate.admit(upgrade))
    }

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::default();
        change(&mut config);
        config
    }

    #[test]
    fn clients_are_let_in_or_refused_in_the_words_of_meshcentral() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let world = World::new();
        let mut seen = 0;
        for case in vectors["cases"].as_array().unwrap() {
            let label = case["label"].as_str().unwrap();
            let Some(path) = case["path"].as_str() else { continue };
            let query = match path.strip_prefix("/control.ashx") {
                Some(rest) => rest.trim_start_matches('?'),
                None => continue,
            };
            // Their cookies have expired long ago, and their other accounts are not here.
            const WANTED: [&str; 10] = [
                "noauth",
                "bad password header",
                "header 1 field",
                "header 4 fields",
                "good header",
                "good header username case",
                "bad query user/pass",
                "good query user/pass",
                "garbage auth cookie",
                "bad auth cookie + good header",
            ];
            if !WANTED.contains(&label) {
                continue;
            }
            let first = &case["frames"][0];
            let meshauth = case["headers"]["x-meshauth"].as_str();
            let outcome = admit(&world, &Upgrade { query, meshauth, ..upgrade(None) });
            match outcome {
                Ok(login) => {
                    assert_eq!(first["action"], "serverinfo", "{label}");
                    assert_eq!(login.user.name(), "admin", "{label}");
                }
                Err(refusal) => {
                    let frame: Value = serde_json::from_str(&refusal.frame()).unwrap();
                    assert_eq!(frame, *first, "{label}");
                }
            }
            seen += 1;
        }
        assert_eq!(seen, 10);
    }

    #[test]
    fn blanks_around_the_commas_of_the_header_are_allowed() {
        let world = World::new();
        let header = ADMIN_AUTH.replace(',', " , ");
        assert!(admit(&world, &upgrade(Some(&header))).is_ok());
    }

    #[test]
    fn a_locked_account_and_an_unknown_one_fail_like_a_wrong_password() {
        let world = World::new();
        let mut locked = world.user("locked", SiteRights::LOCKED);
        locked.password = password::hash("x");
        world.hub.store.put(locked).later();
        for query in ["user=locked&pass=x", "user=nobody&pass=x", "user=a%20b&pass=x"] {
            let outcome = admit(&world, &Upgrade { query, ..upgrade(None) });
            assert_eq!(outcome, Err(Refusal::Query), "{query}");
        }
    }

    #[test]
    fn an_account_without_tools_is_told_so_after_its_password_only() {
        let world = World::new();
        let mut user = world.user("web", SiteRights::NO_TOOLS);
        user.password = password::hash("x");
        world.hub.store.put(user).later();
        let with = |query| admit(&world, &Upgrade { query, ..upgrade(None) });
        assert_eq!(with("user=web&pass=x"), Err(Refusal::NoTools));
        assert_eq!(with("user=web&pass=y"), Err(Refusal::Query));
    }

    #[test]
    fn an_imported_password_is_kept_in_the_new_form_after_its_first_use() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../tests/vectors/control-password.json"))
                .unwrap();
        let entry = &vectors["pbkdf2"][1];
        let text = |name: &str| entry[name].as_str().unwrap().to_owned();
        let world = World::new();
        let mut user = world.user("bob", SiteRights::empty());
        user.password = PasswordHash::Pbkdf2 { salt: text("salt"), hash: text("hash") };
        world.hub.store.put(user.clone()).later();
        let query = "user=Bob&pass=B0b!passw";
        for _ in 0..2 {
            assert!(admit(&world, &Upgrade { query, ..upgrade(None) }).is_ok());
            let kept = world.hub.store.user(&user.id).unwrap();
            assert!(matches!(kept.password, PasswordHash::Argon2(_)));
        }
    }

    /// A cookie with `fields`, made `age` seconds ago with the world's key.
    fn cookie(world: &World, fields: Value, age: u64) -> String {
        let Value::Object(fields) = fields else { panic!("object") };
        let secret = crate::model::Secret { name: String::new(), bytes: (0..80).collect() };
        let now = Seconds(world.hub.now().seconds().0 - age);
        CookieKey::new(&secret).unwrap().seal(fields, now).unwrap()
    }

    #[test]
    fn a_cookie_of_the_login_key_opens_the_door_for_its_account_domain_and_place() {
        let world = World::new();
        world.user("locked", SiteRights::LOCKED);
        world.user("web", SiteRights::NO_TOOLS);
        for (fields, age, good) in [
            (json!({"userid": "user//admin", "domainid": ""}), 0, true),
            (json!({"userid": "user//admin", "domainid": ""}), 3700, false),
            (json!({"userid": "user//admin", "domainid": "", "expire": 0}), 9_999_999, true),
            (json!({"u": "user//admin", "a": 3}), 0, true),
            (json!({"u": "user//admin", "a": 4}), 0, false),
            (json!({"userid": "user//web", "domainid": ""}), 0, true),
            (json!({"userid": "user//admin", "domainid": "other"}), 0, false),
            (json!({"userid": "user/other/admin", "domainid": ""}), 0, false),
            (json!({"userid": "user//nobody", "domainid": ""}), 0, false),
            (json!({"userid": "user//locked", "domainid": ""}), 0, false),
            (json!({"userid": "user//admin", "domainid": "", "ip": "10.0.0.1"}), 0, true),
            (json!({"userid": "user//admin", "domainid": "", "ip": "8.8.8.8"}), 0, false),
            (json!({"userid": "user//admin", "domainid": "", "ip": 7}), 0, false),
            (json!({"ruserid": "user//admin", "x": "y"}), 0, false),
        ] {
            let text = cookie(&world, fields.clone(), age);
            // Clients send it both ways.
            let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            for query in [format!("auth={text}"), format!("auth={encoded}")] {
                let outcome = admit(&world, &Upgrade { query: &query, ..upgrade(None) });
                let expected = if good { Ok(Method::Cookie) } else { Err(Refusal::NoAuth) };
                assert_eq!(outcome.map(|login| login.method), expected, "{fields}");
            }
            world.hub.set_config(config(|c| c.settings.max_invalid_login = None));
        }
    }

    #[test]
    fn guessing_is_barred_for_the_network_and_counts_cookies_too() {
        let limit = LoginLimit { time: Duration::from_secs(600), count: 3, cool_off: None };
        let world = World::with(config(|c| c.settings.max_invalid_login = Some(limit)));
        let attempt = |meshauth, query| admit(&world, &Upgrade { query, ..upgrade(meshauth) });
        assert_eq!(attempt(Some("YWRtaW4=,eA=="), ""), Err(Refusal::Header));
        assert_eq!(attempt(None, "auth=AAAA"), Err(Refusal::NoAuth));
        assert_eq!(attempt(None, ""), Err(Refusal::NoAuth), "no credentials, no attempt");
        assert!(attempt(Some(ADMIN_AUTH), "").is_ok());
        assert_eq!(attempt(None, "user=x&pass=y"), Err(Refusal::Query));
        assert_eq!(attempt(Some(ADMIN_AUTH), ""), Err(Refusal::Banned));
        let elsewhere =
            Upgrade { remote: "192.0.2.7:1".parse().unwrap(), ..upgrade(Some(ADMIN_AUTH)) };
        assert!(admit(&world, &elsewhere).is_ok());
    }

    #[test]
    fn a_domain_with_login_keys_wants_one_of_them_first() {
        let world = World::with(config(|c| {
            c.domains.entry(DomainId::default()).or_default().login_keys = vec!["sesame".into()];
        }));
        for (query, good) in [("", false), ("key=other", false), ("key=sesame", true)] {
            let outcome = admit(&world, &Upgrade { query, ..upgrade(Some(ADMIN_AUTH)) });
            assert_eq!(outcome.is_ok(), good, "{query}");
            assert!(good || outcome == Err(Refusal::NoKey));
        }
    }

    #[test]
    fn a_page_from_elsewhere_is_refused_whatever_it_knows() {
        let world = World::with(config(|c| {
            let domain = c.domains.entry(DomainId::default()).or_default();
            domain.allowed_origins = vec!["panel.example".into(), "http://old.example:8080".into()];
        }));
        for (origin, good) in [
            ("https://127.0.0.1:15443", true),
            ("HTTPS://127.0.0.1:15443", true),
            ("http://127.0.0.1:15443", false),
            ("https://127.0.0.1", false),
            ("https://127.0.0.1:15444", false),
            ("https://evil.example", false),
            ("https://panel.example", true),
            ("https://panel.example:443", true),
            ("https://panel.example:8443", false),
            ("http://panel.example", false),
            ("http://old.example:8080", true),
            ("https://old.example:8080", false),
            ("null", false),
            ("", false),
        ] {
            let page = Upgrade { origin: Some(origin), ..upgrade(Some(ADMIN_AUTH)) };
            let outcome = admit(&world, &page);
            assert_eq!(outcome.is_ok(), good, "{origin}");
            assert!(good || outcome == Err(Refusal::InvalidOrigin), "{origin}");
        }
    }
}
