//! How firmware and programs log in to the Intel AMT port: names of groups, passwords, cookies.
//!
//! `mpsPass` of the settings, or else one this server made; beside it a password of the device's
//! own. Any password passes only if the owner said so (`mpsAnyPassword`), as MeshCentral lets any
//! pass while no `mpsPass` is set.

use std::rc::Rc;

use ring::hmac;
use serde::{Deserialize, Serialize};

use super::Hub;
use crate::config::Settings;
use crate::identity::cookie::{CookieKey, DEFAULT_LIFETIME, LOGIN_KEY};
use crate::model::{Group, GroupId, NodeId, Secret};

/// Name of the secret that holds the password of this server.
const OWN: &str = "MpsPassword";
/// What firmware demands: it takes no password without one of each.
const CLASSES: [&[u8]; 4] =
    [b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"abcdefghijkmnopqrstuvwxyz", b"23456789", b"!@$*-_=+"];
/// Length of a password that is made here: some 90 bits.
const LENGTH: usize = 16;

/// The user name of an agent that brings a cookie for its password.
pub const AGENT_USER: &str = "**MeshAgentApfTunnel**";

/// Characters of a group's id that are its user name; firmware takes no longer ones.
pub const USER: usize = 16;

/// The user name of a group.
pub fn user_of(group: &Group) -> String {
    masked(group.id.key.text().get(..USER).unwrap_or_default())
}

/// A user name as firmware can have it: two characters of ids are forbidden there.
pub fn masked(name: &str) -> String {
    name.replace(['@', '$'], "X")
}

/// What an administrator enters into the firmware of a computer of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Name or address of the server, as its certificate has it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// Where the root certificate, which firmware has to trust, is downloaded from this server.
    pub root: String,
}

impl Setup {
    /// What there is to enter for `group`; `host` and `port` are those people see. `None` while
    /// there is no password.
    pub fn of(hub: &Hub, group: &Group, host: String, port: u16) -> Option<Self> {
        let password = shared(hub)?.to_string();
        let root = "MeshServerRootCert.cer".to_owned();
        Some(Self { host, port, user: user_of(group), password, root })
    }
}

/// The password that people give to the firmware of their computers.
pub fn shared(hub: &Hub) -> Option<Rc<str>> {
    if let Some(configured) = &hub.config().settings.mps_pass {
        return Some(configured.as_str().into());
    }
    let kept =
        hub.store.secret(OWN).and_then(|secret| String::from_utf8(secret.bytes.clone()).ok());
    kept.map(Into::into)
}

/// The same; makes one if there is none. `None` without randomness.
pub fn shared_or_made(hub: &Hub) -> Option<Rc<str>> {
    if let Some(password) = shared(hub) {
        return Some(password);
    }
    let password = random()?;
    hub.store.put(Secret { name: OWN.into(), bytes: password.clone().into_bytes() }).later();
    Some(password.into())
}

/// A password firmware accepts.
fn random() -> Option<String> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).ok()?;
    // One of each class first; which of them stands where does not have to be secret.
    let letters = bytes.iter().enumerate().map(|(n, byte)| {
        let class = CLASSES.get(n % CLASSES.len()).copied().unwrap_or(b"x");
        char::from(class.get(usize::from(*byte) % class.len()).copied().unwrap_or(b'x'))
    });
    Some(letters.collect())
}

/// Name of the secret that holds the password of one device.
pub fn of_device(node: &NodeId) -> String {
    format!("{OWN}/{node}")
}

/// Whether `given` lets somebody in who wants to be `node`.
pub fn accepts(hub: &Hub, node: Option<&NodeId>, given: &[u8]) -> bool {
    let settings: &Settings = &hub.config().settings;
    if settings.mps_any_password {
        return true;
    }
    let own = node.and_then(|node| hub.store.secret(&of_device(node)));
    // Both are compared, whichever fits: the time tells nothing.
    let fits_shared = shared(hub).is_some_and(|password| is_same(password.as_bytes(), given));
    let fits_own = own.is_some_and(|secret| is_same(&secret.bytes, given));
    fits_shared | fits_own
}

/// Compares in a time that tells nothing of where they differ.
fn is_same(wanted: &[u8], given: &[u8]) -> bool {
    let mut key = [0; 32];
    if getrandom::fill(&mut key).is_err() || wanted.is_empty() {
        return false;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    hmac::verify(&key, given, hmac::sign(&key, wanted).as_ref()).is_ok()
}

/// The password of an agent's tunnel: a cookie for this device, good for two minutes.
pub fn agent_cookie(hub: &Hub, node: &NodeId, group: &GroupId) -> Option<String> {
    let key = CookieKey::new(&*hub.store.secret(LOGIN_KEY)?)?;
    let fields = [("a", "apf".to_owned()), ("n", node.to_string()), ("m", group.to_string())];
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    key.seal(fields, hub.now().seconds())
}

/// The device an agent's cookie was made for.
pub fn agent_node(hub: &Hub, cookie: &[u8]) -> Option<NodeId> {
    let key = CookieKey::new(&*hub.store.secret(LOGIN_KEY)?)?;
    let text = std::str::from_utf8(cookie).ok()?;
    let fields = key.open(text, hub.now().seconds(), DEFAULT_LIFETIME).ok()?;
    if fields.get("a").and_then(|kind| kind.as_str()) != Some("apf") {
        return None;
    }
    fields.get("n")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::model::{DomainId, Key48, Millis};
    use crate::store::Store;

    fn hub(change: impl FnOnce(&mut Settings)) -> Rc<Hub> {
        let mut config = Config::default();
        change(&mut config.settings);
        Hub::new(Store::in_memory(), config, Millis(0))
    }

    fn node() -> NodeId {
        NodeId::new(DomainId::default(), Key48([9; 48]))
    }

    #[test]
    fn a_password_made_here_is_one_that_firmware_takes() {
        let made = random().unwrap();
        assert_eq!(made.len(), LENGTH);
        for class in CLASSES {
            assert!(made.bytes().any(|byte| class.contains(&byte)), "{made}");
        }
        assert_ne!(made, random().unwrap());
        let hub = hub(|_| {});
        assert_eq!(shared(&hub), None);
        let password = shared_or_made(&hub).unwrap();
        assert_eq!(shared_or_made(&hub), Some(password.clone()));
        assert!(accepts(&hub, None, password.as_bytes()));
    }

    #[test]
    fn nothing_passes_that_the_owner_did_not_set() {
        let none = hub(|_| {});
        assert!(!accepts(&none, None, b"") && !accepts(&none, Some(&node()), b"anything"));
        let set = hub(|s| s.mps_pass = Some("P@ssw0rd1".into()));
        set.store.put(Secret { name: of_device(&node()), bytes: b"Own-w0rd".to_vec() }).later();
        for (who, password, passes) in [
            (None, "P@ssw0rd1", true),
            (None, "P@ssw0rd", false),
            (None, "", false),
            (None, "Own-w0rd", false),
            (Some(node()), "Own-w0rd", true),
            (Some(node()), "P@ssw0rd1", true),
            (Some(node()), "other", false),
        ] {
            assert_eq!(accepts(&set, who.as_ref(), password.as_bytes()), passes, "{password}");
        }
        assert!(accepts(&hub(|s| s.mps_any_password = true), None, b"x"));
    }

    #[test]
    fn an_agents_cookie_is_good_for_its_device_only() {
        let hub = hub(|_| {});
        hub.store.put(CookieKey::fresh_secret(LOGIN_KEY).unwrap()).later();
        let group = GroupId::new(DomainId::default(), Key48([1; 48]));
        let cookie = agent_cookie(&hub, &node(), &group).unwrap();
        assert_eq!(agent_node(&hub, cookie.as_bytes()), Some(node()));
        assert_eq!(agent_node(&hub, b"nonsense"), None);
        let key = CookieKey::new(&hub.store.secret(LOGIN_KEY).unwrap()).unwrap();
        let login = [("u".to_owned(), "user//admin".into()), ("a".to_owned(), 3.into())];
        let login = key.seal(login.into_iter().collect(), hub.now().seconds()).unwrap();
        assert_eq!(agent_node(&hub, login.as_bytes()), None, "a cookie for something else");
    }
}
