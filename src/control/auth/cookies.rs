//! Sealed cookies that stand for an account: `?auth=`, and the device that is remembered.
//!
//! Source: control-protocol §2.6. Scripts make the first kind themselves with the login key; ours
//! carry two more fields: `ms`, milliseconds beside `time`, because "made before" must not mean a
//! whole second, and `t`, the login token whose session asked for the cookie and whose limits it
//! inherits. A cookie for something smaller (one device, one tunnel) opens no session, and neither
//! kind passes for the other.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::{CookieIp, FactorRules};
use crate::hub::Hub;
use crate::identity::cookie::{AUTH_LIFETIME, CookieKey, same_neighbourhood};
use crate::model::{DomainId, Millis, SiteRights, User, UserId};
use crate::relay::visitor;

/// Most days a device is remembered if its cookie does not say how long.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);

/// Members of cookies that are for less than a session: for a device, a guest, a chat.
const NARROW: [&str; 4] = ["nodeid", "nid", "pid", visitor::CHAT];

/// What a cookie stands for.
pub(super) struct Opened {
    pub(super) user: Rc<User>,
    /// The login token through which it was made.
    pub(super) token: Option<Rc<str>>,
    /// Everything it says.
    pub(super) fields: Map<String, Value>,
}

/// What a cookie is to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// A session.
    Session,
    /// A tunnel: also with a cookie that is for one device, or a guest's.
    Tunnel,
}

/// The account a `?auth=` cookie stands for.
pub(super) fn open(
    hub: &Hub,
    key: &CookieKey,
    domain: &DomainId,
    from: IpAddr,
    text: &str,
    scope: Scope,
) -> Option<Opened> {
    let fields = key.open(text, hub.now().seconds(), AUTH_LIFETIME).ok()?;
    let word = |name: &str| fields.get(name).and_then(Value::as_str);
    let id = match fields.get("a").map(Value::as_u64) {
        None if word("domainid")? == domain.as_str() => {
            let is_narrow = NARROW.iter().any(|name| fields.contains_key(*name));
            (scope == Scope::Tunnel || !is_narrow).then(|| word("userid")).flatten()?
        }
        Some(Some(3)) => word("u")?,
        _ => return None,
    };
    let user = hub.store.user(&UserId::parse_in(domain, id).ok()?)?;
    let token = word("t").map(Rc::from);
    let good = is_from(hub, &fields, from)
        && is_after_all_ended(&user, made(&fields)?, hub.now())
        && !user.site.restricted(SiteRights::LOCKED)
        && token.as_ref().is_none_or(|token: &Rc<str>| super::token_is_good(hub, token, &user));
    good.then_some(Opened { user, token, fields })
}

/// Whether a cookie of a remembered device is one of `user`.
pub(super) fn remembers(
    hub: &Hub,
    key: &CookieKey,
    rules: &FactorRules,
    user: &User,
    from: IpAddr,
    text: &str,
) -> bool {
    let remembered = || {
        let fields = key.open(text, hub.now().seconds(), REMEMBERED).ok()?;
        let is_of_device = ["domainid", "nodeid", "a", "ruserid", "t"]
            .iter()
            .all(|other| !fields.contains_key(*other));
        let is_of_user = fields.get("userid")?.as_str()? == user.id.to_string();
        let good = is_of_device && is_of_user && is_from(hub, &fields, from);
        Some(good && is_after_all_ended(user, made(&fields)?, hub.now()))
    };
    rules.remember_days > 0 && remembered().unwrap_or(false)
}

/// A cookie by which the device it is given to is remembered. `None` if devices are not, or without
/// randomness.
pub fn remember(key: &CookieKey, rules: &FactorRules, user: &User, now: Millis) -> Option<String> {
    let minutes = u64::from(rules.remember_days) * 24 * 60;
    if minutes == 0 {
        return None;
    }
    let mut fields = Map::new();
    fields.insert("userid".into(), user.id.to_string().into());
    fields.insert("expire".into(), minutes.into());
    seal(key, fields, now)
}

/// Seals `fields`, with the moment to the millisecond. `None` without randomness.
pub fn seal(key: &CookieKey, mut fields: Map<String, Value>, now: Millis) -> Option<String> {
    fields.insert("ms".into(), (now.0 % 1000).into());
    key.seal(fields, now.seconds())
}

/// When a cookie was made; one that does not say it to the millisecond at the end of its second.
fn made(fields: &Map<String, Value>) -> Option<Millis> {
    let ms = fields.get("ms").and_then(Value::as_u64).filter(|ms| *ms < 1000).unwrap_or(999);
    Some(Millis(fields.get("time")?.as_u64()?.saturating_mul(1000).saturating_add(ms)))
}

/// Whether what was made at `made` is still good: the account existed, and has not ended
/// everything since.
fn is_after_all_ended(user: &User, made: Millis, now: Millis) -> bool {
    // An account made while the board's clock was ahead.
    let existed = user.created <= made.seconds() || user.created > now.seconds();
    existed && user.is_good_since(made)
}

/// `cookieIpCheck`: whether a cookie that names an address may be used from this one.
fn is_from(hub: &Hub, fields: &Map<String, Value>, used_from: IpAddr) -> bool {
    let Some(made_for) = fields.get("ip") else { return true };
    let check = hub.config().settings.cookie_ip;
    let Some(made_for) = made_for.as_str().and_then(|ip| ip.parse::<IpAddr>().ok()) else {
        return check == CookieIp::None;
    };
    match check {
        CookieIp::None => true,
        CookieIp::Lax => same_neighbourhood(made_for, used_from),
        CookieIp::Strict => made_for.to_canonical() == used_from.to_canonical(),
    }
}
