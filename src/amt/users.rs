//! Users of the firmware: who may log in to it, from where, and to do what.
//!
//! The firmware keeps no passwords but their digests, made with its own realm; a name is part of
//! its digest, so a new name needs the password again. Users whose names begin with `$$` are the
//! firmware's own. Source: Intel AMT SDK, "AMT_AuthorizationService"; amt-management §12.

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::activation::password;
use super::digest::{Credentials, password_hash};
use super::inventory::text;
use super::settings;
use super::wsman::{Element, Failure, Link, Operation};

const SERVICE: &str = "AMT_AuthorizationService";
/// Users that are looked at; there can be 16.
const USERS_MAX: usize = 32;
/// From where somebody may log in: over the local interface (0), the network (1), both (2).
const ACCESS: [&str; 3] = ["local", "network", "any"];
/// Realms there are; 1, 22 and 23 are not given to users.
const REALMS: [u8; 21] =
    [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 24];

/// What is to be said of a user; `None` leaves it as it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct User {
    name: Option<String>,
    password: Option<String>,
    access: Option<u8>,
    realms: Option<Vec<u8>>,
    enabled: Option<bool>,
}

impl User {
    /// Nothing is said.
    pub fn unchanged() -> Self {
        Self::default()
    }

    /// A name of 1 to 16 characters that is not one of the firmware's own.
    pub fn named(self, name: &str) -> Option<Self> {
        let fits = (1..=16).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic())
            && !name.contains(['"', ',', ':', '&', '<', '>', '(', ')'])
            && !name.starts_with("$$");
        fits.then(|| Self { name: Some(name.to_owned()), ..self })
    }

    /// A password as firmware takes them (see [`password::is_acceptable`]).
    pub fn with_password(self, text: &str) -> Option<Self> {
        password::is_acceptable(text).then(|| Self { password: Some(text.to_owned()), ..self })
    }

    /// From where: `local`, `network`, `any`.
    pub fn from(self, word: &str) -> Option<Self> {
        let number = ACCESS.iter().position(|one| *one == word)?;
        Some(Self { access: u8::try_from(number).ok(), ..self })
    }

    /// What for: at least one realm there is, each once.
    pub fn with_realms(self, numbers: &[u64]) -> Option<Self> {
        let mut realms = Vec::new();
        for number in numbers {
            let realm = u8::try_from(*number).ok().filter(|realm| REALMS.contains(realm))?;
            if !realms.contains(&realm) {
                realms.push(realm);
            }
        }
        (!realms.is_empty()).then_some(Self { realms: Some(realms), ..self })
    }

    /// Whether it may log in at all.
    #[must_use]
    pub fn enabled(self, enabled: bool) -> Self {
        Self { enabled: Some(enabled), ..self }
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User({:?})", self.name)
    }
}

/// All users, the administrator first.
///
/// # Errors
/// What became of it; those that cannot be read are left out.
pub async fn list(link: &Link) -> Result<Value, Failure> {
    let mut found = Vec::new();
    if let Some(name) = administrator(link).await? {
        let (access, realms) = ("any", [3]);
        found.push(json!({
            "name": name, "admin": true, "access": access, "realms": realms, "enabled": true,
        }));
    }
    for handle in handles(link).await? {
        let Some(entry) = unless_refused(entry(link, handle).await)? else { continue };
        let asked = Operation::invoke(SERVICE, "GetAclEnabledState").with("Handle", handle);
        let state = unless_refused(link.call(asked).await)?;
        let access = entry.number::<usize>("AccessPermission").and_then(|n| ACCESS.get(n));
        found.push(json!({
            "handle": handle,
            "name": text(&entry, "DigestUsername").or_else(|| text(&entry, "KerberosUserSid")),
            "access": access,
            "realms": realms_of(&entry),
            // Firmware that does not say so lets everybody in.
            "enabled": state.is_none_or(|state| state.is_true("Enabled")),
        }));
    }
    Ok(found.into())
}

fn unless_refused(answer: Result<Element, Failure>) -> Result<Option<Element>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if failure.is_refusal() => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn realms_of(entry: &Element) -> Vec<u32> {
    entry.list("Realms").filter_map(|realm| realm.parse().ok()).take(64).collect()
}

async fn handles(link: &Link) -> Result<Vec<u32>, Failure> {
    let mut found = Vec::new();
    while found.len() < USERS_MAX {
        let from = Operation::invoke(SERVICE, "EnumerateUserAclEntries");
        let listed = link.call(from.with("StartIndex", found.len() + 1)).await?;
        let before = found.len();
        found.extend(listed.list("Handles").filter_map(|handle| handle.parse::<u32>().ok()));
        let total = listed.number("TotalCount").unwrap_or_default();
        if found.len() == before || found.len() >= total {
            break;
        }
    }
    found.truncate(USERS_MAX);
    Ok(found)
}

async fn entry(link: &Link, handle: u32) -> Result<Element, Failure> {
    link.call(Operation::invoke(SERVICE, "GetUserAclEntryEx").with("Handle", handle)).await
}

/// The administrator's name; `None` if the firmware does not tell.
///
/// # Errors
/// What became of it.
pub async fn administrator(link: &Link) -> Result<Option<String>, Failure> {
    let answer = link.call(Operation::invoke(SERVICE, "GetAdminAclEntry")).await;
    Ok(unless_refused(answer)?.and_then(|entry| text(&entry, "Username")))
}

/// What the firmware keeps of a password, in base64.
///
/// # Errors
/// Its realm could not be read.
async fn digest(link: &Link, user: &str, password: &str) -> Result<String, Failure> {
    let realm = settings::identify(link).await?.realm;
    if realm.is_empty() {
        return Err(Failure::Unable("This Intel AMT does not tell its realm"));
    }
    let credentials = Credentials { user: user.to_owned(), password: password.to_owned() };
    Ok(BASE64.encode(&password_hash(&credentials, &realm)))
}

/// Adds a user: name, password and realms are needed.
///
/// # Errors
/// What became of it.
pub async fn add(link: &Link, user: &User) -> Result<(), Failure> {
    let (Some(name), Some(password), Some(realms)) = (&user.name, &user.password, &user.realms)
    else {
        return Err(Failure::Unable("A new user needs a name, a password and realms"));
    };
    if administrator(link).await?.as_ref() == Some(name) {
        return Err(Failure::Unable("The administrator has this name"));
    }
    let request = Operation::invoke(SERVICE, "AddUserAclEntryEx")
        .with("DigestUsername", name)
        .with("DigestPassword", digest(link, name, password).await?)
        .with("AccessPermission", user.access.unwrap_or(1));
    let request = realms.iter().fold(request, |request, realm| request.with("Realms", realm));
    let added = link.call(request).await?;
    if user.enabled != Some(false) {
        return Ok(());
    }
    if let Some(handle) = added.number("Handle") {
        return enable(link, handle, false).await;
    }
    for handle in handles(link).await? {
        let entry = unless_refused(entry(link, handle).await)?;
        if entry.is_some_and(|entry| entry.property("DigestUsername") == Some(name)) {
            return enable(link, handle, false).await;
        }
    }
    Err(Failure::Unable("The user was added, but could not be disabled"))
}

/// Changes a user.
///
/// # Errors
/// What became of it.
pub async fn change(link: &Link, handle: u32, user: &User) -> Result<(), Failure> {
    let (present, before) = changeable(link, handle).await?;
    let name = user.name.as_ref().unwrap_or(&before);
    if *name != before && user.password.is_none() {
        return Err(Failure::Unable("A new name needs a new password"));
    }
    if (&user.password, &user.access, &user.realms) != (&None, &None, &None) {
        let mut request = Operation::invoke(SERVICE, "UpdateUserAclEntryEx").with("Handle", handle);
        if let Some(password) = &user.password {
            let digest = digest(link, name, password).await?;
            request = request.with("DigestUsername", name).with("DigestPassword", digest);
        }
        let access = user.access.or_else(|| present.number("AccessPermission"));
        request = request.with("AccessPermission", access.unwrap_or(1));
        let kept = || realms_of(&present);
        let realms = user.realms.as_ref().map(|all| all.iter().map(|n| (*n).into()).collect());
        for realm in realms.unwrap_or_else(kept) {
            request = request.with("Realms", realm);
        }
        link.perform(request).await?;
    }
    match user.enabled {
        Some(enabled) => enable(link, handle, enabled).await,
        None => Ok(()),
    }
}

/// Removes a user.
///
/// # Errors
/// What became of it.
pub async fn remove(link: &Link, handle: u32) -> Result<(), Failure> {
    changeable(link, handle).await?;
    let request = Operation::invoke(SERVICE, "RemoveUserAclEntry").with("Handle", handle);
    link.perform(request).await.map(drop)
}

async fn enable(link: &Link, handle: u32, enabled: bool) -> Result<(), Failure> {
    let request = Operation::invoke(SERVICE, "SetAclEnabledState").with("Handle", handle);
    link.perform(request.with("Enabled", enabled)).await.map(drop)
}

/// A user that is neither the firmware's nor the one this server logs in as, and its name.
async fn changeable(link: &Link, handle: u32) -> Result<(Element, String), Failure> {
    let entry = entry(link, handle).await?;
    let name = text(&entry, "DigestUsername").unwrap_or_default();
    if name.is_empty() || name.starts_with("$$") {
        return Err(Failure::Unable("This user belongs to the firmware"));
    }
    if link.credentials().user == name {
        return Err(Failure::Unable("This server logs in as this user"));
    }
    Ok((entry, name))
}

/// What gives the administrator another password.
///
/// # Errors
/// The realm could not be read.
pub async fn to_administrator(
    link: &Link,
    name: &str,
    password: &str,
) -> Result<Operation, Failure> {
    let digest = digest(link, name, password).await?;
    let request = Operation::invoke(SERVICE, "SetAdminAclEntryEx");
    Ok(request.with("Username", name).with("DigestPassword", digest))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use futures_lite::future::block_on;

    use super::*;
    use crate::amt::room::Room;
    use crate::amt::testing::{Firmware, REALM, output};
    use crate::hub::testing::{World, node_id};

    /// Users `$$uns` (1) and `oper` (2), as firmware tells of them, in pages of one.
    fn world() -> (World, Rc<Firmware>, Rc<Link>) {
        let (world, firmware) = (World::new(), Firmware::new());
        firmware.call_in(&world.hub, &node_id(1));
        firmware.change("AMT_GeneralSettings", "DigestRealm", REALM);
        let on = |method: &'static str, answer: fn(&Element) -> (u32, String)| {
            firmware.on(&format!("{SERVICE}.{method}"), move |_, body| {
                let (value, more) = answer(body);
                output(method, value, &more)
            });
        };
        on("EnumerateUserAclEntries", |body| {
            let handle = body.property("StartIndex").unwrap();
            let page = format!("<g:HandlesCount>1</g:HandlesCount><g:Handles>{handle}</g:Handles>");
            (0, format!("<g:TotalCount>3</g:TotalCount>{page}"))
        });
        on("GetUserAclEntryEx", |body| {
            let (name, access, realms) = match body.property("Handle") {
                Some("1") => ("$$uns", 0, "<g:Realms>16</g:Realms>"),
                Some("2") => ("oper", 2, "<g:Realms>2</g:Realms><g:Realms>3</g:Realms>"),
                _ => return (2053, String::new()),
            };
            let access = format!("<g:AccessPermission>{access}</g:AccessPermission>");
            (0, format!("<g:DigestUsername>{name}</g:DigestUsername>{access}{realms}"))
        });
        on("GetAclEnabledState", |body| {
            let enabled = body.property("Handle") == Some("1");
            (0, format!("<g:Enabled>{enabled}</g:Enabled>"))
        });
        on("GetAdminAclEntry", |_| (0, "<g:Username>admin</g:Username>".into()));
        let link = Room::new(world.hub.clone(), Rc::default()).link(&node_id(1)).unwrap();
        (world, firmware, link)
    }

    /// What was told, without what was only asked.
    fn acts(firmware: &Firmware) -> Vec<Element> {
        let asked = ["Get", "GetUserAclEntryEx", "GetAdminAclEntry", "EnumerateUserAclEntries"];
        let (said, bodies) = (firmware.said.borrow(), firmware.bodies.borrow());
        let all = said.iter().zip(&*bodies);
        let told = all.filter(|(name, _)| !asked.contains(&name.rsplit('.').next().unwrap()));
        told.map(|(_, body)| body.clone()).collect()
    }

    fn oper() -> User {
        let user = User::unchanged().named("oper").unwrap();
        user.with_password("0per!Ator").unwrap().from("any").unwrap().with_realms(&[2, 3]).unwrap()
    }

    #[test]
    fn all_users_are_listed_the_administrator_first() {
        let (_world, _firmware, link) = world();
        assert_eq!(
            block_on(list(&link)).unwrap(),
            json!([
                {"name": "admin", "admin": true, "access": "any", "realms": [3], "enabled": true},
                {"handle": 1, "name": "$$uns", "access": "local", "realms": [16], "enabled": true},
                {"handle": 2, "name": "oper", "access": "any", "realms": [2, 3], "enabled": false},
            ])
        );
    }

    #[test]
    fn a_user_is_added_as_it_was_captured_with_a_digest_of_the_own_realm() {
        let (_world, firmware, link) = world();
        let vectors = include_str!("../../tests/vectors/wsman-exchanges.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        let exchanges = vectors["exchanges"].as_array().unwrap();
        let captured = exchanges.iter().find(|one| one["step"] == "adduseracl").unwrap();
        let captured = Element::parse(captured["request_xml"].as_str().unwrap()).unwrap();
        let mut captured = captured.child("Body").unwrap().children[0].clone();
        block_on(add(&link, &oper())).unwrap();
        use md5::Digest as _;
        let hash = md5::Md5::digest(format!("oper:{REALM}:0per!Ator"));
        captured.set("DigestPassword", BASE64.encode(&hash));
        assert_eq!(acts(&firmware), [captured]);
        // One that may not log in yet is found again by its name.
        firmware.take_said();
        block_on(add(&link, &oper().enabled(false))).unwrap();
        let disabled = acts(&firmware).pop().unwrap();
        assert_eq!(
            (disabled.property("Handle"), disabled.property("Enabled")),
            (Some("2"), Some("false"))
        );
    }

    #[test]
    fn what_is_not_named_in_a_change_stays_as_it_is() {
        let (_world, firmware, link) = world();
        let wish = User::unchanged().from("network").unwrap();
        block_on(change(&link, 2, &wish)).unwrap();
        let update = acts(&firmware).pop().unwrap();
        assert_eq!(update.list("Realms").collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(update.property("AccessPermission"), Some("1"));
        assert_eq!((update.child("DigestUsername"), update.child("DigestPassword")), (None, None));
        firmware.take_said();
        let wish = User::unchanged().with_password("N3w!pass").unwrap().enabled(true);
        block_on(change(&link, 2, &wish)).unwrap();
        let told = acts(&firmware);
        assert_eq!(told[0].property("DigestUsername"), Some("oper"));
        assert_eq!(told[0].property("AccessPermission"), Some("2"));
        assert_eq!(told[1].property("Enabled"), Some("true"));
        firmware.take_said();
        block_on(change(&link, 2, &User::unchanged().enabled(false))).unwrap();
        assert_eq!(acts(&firmware).len(), 1, "nothing but that");
        firmware.take_said();
        block_on(remove(&link, 2)).unwrap();
        assert_eq!(acts(&firmware)[0].property("Handle"), Some("2"));
    }

    #[test]
    fn what_would_lock_somebody_out_or_cannot_be_is_refused_with_a_sentence() {
        let (world, firmware, link) = world();
        let why = |outcome: Result<(), Failure>| outcome.unwrap_err().to_string();
        let renamed = User::unchanged().named("other").unwrap();
        let half = User::unchanged().named("half").unwrap();
        let second = oper().named("admin").unwrap();
        for (words, outcome) in [
            ("needs a name, a password and realms", why(block_on(add(&link, &half)))),
            ("administrator has this name", why(block_on(add(&link, &second)))),
            ("A new name needs a new password", why(block_on(change(&link, 2, &renamed)))),
            ("belongs to the firmware", why(block_on(change(&link, 1, &renamed)))),
            ("belongs to the firmware", why(block_on(remove(&link, 1)))),
            ("invalid handle (2053)", why(block_on(remove(&link, 9)))),
        ] {
            assert!(outcome.contains(words), "{outcome}");
        }
        assert_eq!(acts(&firmware), Vec::<Element>::new());
        firmware.on("AMT_AuthorizationService.AddUserAclEntryEx", |_, _| {
            output("AddUserAclEntryEx", 23, "")
        });
        let full = why(block_on(add(&link, &oper())));
        assert!(full.contains("as many as there can be"), "{full}");
        // The one it logs in as.
        let room = Room::new(world.hub.clone(), Rc::default());
        let credentials = Credentials { user: "oper".into(), password: "P@ssw0rd".into() };
        let own = room.link_with(&node_id(1), credentials);
        assert!(why(block_on(remove(&own, 2))).contains("logs in as this user"));
    }

    #[test]
    fn only_what_firmware_takes_is_asked_for() {
        let new = User::unchanged;
        for name in ["", "$$x", "a b", "a:b", "a\"", "0123456789abcdefg", "é"] {
            assert!(new().named(name).is_none(), "{name}");
        }
        assert!(new().named("0123456789abcdef").is_some());
        assert!(new().with_password("weak").is_none() && new().from("everywhere").is_none());
        for (realms, fits) in
            [(&[][..], false), (&[1][..], false), (&[22], false), (&[300], false), (&[24, 2], true)]
        {
            assert_eq!(new().with_realms(realms).is_some(), fits, "{realms:?}");
        }
        assert_eq!(new().with_realms(&[3, 3]).unwrap().realms, Some(vec![3]));
        let shown = format!("{:?}", oper());
        assert!(!shown.contains("0per!Ator"), "{shown}");
    }
}
