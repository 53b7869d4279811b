//! Accounts, user groups and login tokens.

use serde_json::{Map, Value};

use super::document::{Document, whole};
use crate::model::record::{Link, LinkTarget};
use crate::model::{
    BackupCode, Factors, LoginToken, Millis, PasswordHash, Rights, SecurityKey, SiteRights, Totp,
    User, UserGroup, UserGroupId, UserId,
};

/// An account, and what it has besides its password. `None` if its id is none.
pub(super) fn account(mut doc: Document<'_>) -> Option<(User, Option<Factors>)> {
    let id: UserId = match doc.id.parse() {
        Ok(id) => id,
        Err(error) => {
            doc.remark(format!("not taken over: {error}"));
            return None;
        }
    };
    let name = doc.text("name").unwrap_or_else(|| id.name().to_owned());
    let mut user = User::new(id.clone(), &name, password(&mut doc), Millis::default());
    user.created = doc.seconds("creation").unwrap_or_default();
    user.password_changed = password_changed(&mut doc, &user);
    user.login = doc.seconds("login");
    user.site = SiteRights::from_bits_retain(doc.u32("siteadmin").unwrap_or_default());
    user.links = links(&mut doc);
    user.remove_rights = Rights::from_bits_retain(doc.u32("removeRights").unwrap_or_default());
    user.email = doc.text("email").map(|email| email.to_lowercase());
    user.email_verified = doc.flag("emailVerified");
    user.real_name = doc.text("realname");
    user.consent = doc.u32("consent").unwrap_or_default();
    user.quota = doc.number("quota");
    user.phone = doc.text("phone");
    user.language = doc.text("lang");
    user.flags = doc.u32("flags").unwrap_or_default();
    user.realms = doc.texts("groups");
    user.messaging = doc.text("msghandle");
    let bits = |(id, bits): (String, Value)| {
        Some((target(&id)?, whole(&bits).and_then(|bits| u32::try_from(bits).ok())?))
    };
    user.notify = doc.object("notify").into_iter().filter_map(bits).collect();
    let factors = factors(&mut doc, id);
    doc.ignore(&["access", "pastlogin", "lastnotify", "subscriptions"]);
    doc.drop_with_remark(
        &["otpekey", "otpsms", "otpmsg", "otpdev", "otpduo"],
        "codes by e-mail, \
        text message, push or Duo are not offered",
    );
    doc.drop_with_remark(&["webpush"], "no such notifications are sent");
    Some((user, factors))
}

fn password(doc: &mut Document<'_>) -> PasswordHash {
    let (salt, hash) = (doc.text("salt"), doc.text("hash"));
    match (doc.number("passtype"), salt, hash) {
        (None, Some(salt), Some(hash)) => PasswordHash::Pbkdf2 { salt, hash },
        (Some(_), _, Some(_)) => {
            doc.remark("its password is kept in an old form that is not accepted; set a new one");
            PasswordHash::None
        }
        _ => {
            doc.remark("has no password; it can be used after one was set");
            PasswordHash::None
        }
    }
}

/// When the password was changed; `None` if it has to be at the next login.
fn password_changed(doc: &mut Document<'_>, user: &User) -> Option<crate::model::Seconds> {
    match doc.value("passchange") {
        Some(Value::Number(n)) if n.as_i64() == Some(-1) => None,
        Some(value) => whole(&value).map(crate::model::Seconds).or(Some(user.created)),
        None => Some(user.created),
    }
}

/// The rights of an account or user group. Memberships and rights on things that are not there are
/// kept: they give nothing, and the thing may come later.
fn links(doc: &mut Document<'_>) -> Vec<Link> {
    let mut links = Vec::new();
    for (target, link) in doc.object("links") {
        let number = |name: &str| {
            link.get(name).and_then(whole).and_then(|number| u32::try_from(number).ok())
        };
        match (self::target(&target), number("rights")) {
            (Some(to), Some(rights)) => {
                let notify = number("notify").unwrap_or_default();
                links.push(Link { to, rights: Rights::from_bits_retain(rights), notify });
            }
            // The members of a user group, seen from its side; the account's side decides.
            _ if target.starts_with("user/") => {}
            _ => doc.remark(format!("its right on {target} is not understood and is left out")),
        }
    }
    links
}

fn target(id: &str) -> Option<LinkTarget> {
    Some(match id.split('/').next()? {
        "mesh" => LinkTarget::Group(id.parse().ok()?),
        "node" => LinkTarget::Device(id.parse().ok()?),
        "ugrp" => LinkTarget::UserGroup(id.parse().ok()?),
        _ => return None,
    })
}

fn factors(doc: &mut Document<'_>, id: UserId) -> Option<Factors> {
    let mut factors = Factors::new(id);
    if let Some(secret) = doc.text("otpsecret") {
        match base32(&secret) {
            Some(secret) => factors.totp = Some(Totp { secret, last_step: 0 }),
            None => doc.remark("its one-time password secret is not base32 and is left out"),
        }
    }
    let codes = doc.object("otpkeys").remove("keys");
    factors.backup_codes = codes.as_ref().and_then(Value::as_array).map_or(Vec::new(), |codes| {
        codes.iter().filter_map(|code| backup_code(code.as_object()?)).collect()
    });
    for (index, key) in doc.array("otphkeys").iter().enumerate() {
        match key.as_object().and_then(security_key) {
            Some(key) => factors.security_keys.push(key),
            None => doc.remark(format!("its hardware key {} is no WebAuthn key", index + 1)),
        }
    }
    factors.past_passwords = doc
        .array("oldpasswords")
        .iter()
        .filter_map(|old| {
            let text = |name: &str| old.get(name).and_then(Value::as_str).map(str::to_owned);
            Some(PasswordHash::Pbkdf2 { salt: text("salt")?, hash: text("hash")? })
        })
        .collect();
    factors.password_hint = doc.text("passhint");
    (factors != Factors::new(factors.user.clone())).then_some(factors)
}

fn base32(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').to_ascii_uppercase();
    let secret = data_encoding::BASE32_NOPAD.decode(text.as_bytes()).ok()?;
    (!secret.is_empty() && secret.len() <= 128).then_some(secret)
}

fn backup_code(code: &Map<String, Value>) -> Option<BackupCode> {
    let number = u32::try_from(code.get("p").and_then(whole)?).ok()?;
    // `u` says that it can still be used.
    let used = code.get("u").and_then(Value::as_bool) != Some(true);
    Some(BackupCode { number, used })
}

/// A WebAuthn key (type 3): `publicKey` in PEM, `keyId` in base64.
fn security_key(key: &Map<String, Value>) -> Option<SecurityKey> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    if key.get("type").and_then(whole) != Some(3) {
        return None;
    }
    let pem: String = text("publicKey")?.lines().filter(|line| !line.starts_with("--")).collect();
    let der = data_encoding::BASE64.decode(pem.trim().as_bytes()).ok()?;
    Some(SecurityKey {
        index: u32::try_from(key.get("keyIndex").and_then(whole)?).ok()?,
        name: text("name").unwrap_or_default().to_owned(),
        credential: decoded(text("keyId")?)?,
        public_key: ec_point(&der)?,
        counter: key.get("counter").and_then(whole).and_then(|n| n.try_into().ok()).unwrap_or(0),
    })
}

/// The uncompressed P-256 point at the end of a SubjectPublicKeyInfo.
fn ec_point(der: &[u8]) -> Option<Vec<u8>> {
    let point = der.get(der.len().checked_sub(65)?..)?;
    (point[0] == 4).then(|| point.to_vec())
}

/// Base64 in any of the alphabets in use.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    data_encoding::BASE64_NOPAD.decode(text.as_bytes()).ok()
}

/// A user group.
pub(super) fn user_group(mut doc: Document<'_>) -> Option<UserGroup> {
    let id: UserGroupId = doc.id.parse().ok()?;
    let group = UserGroup {
        id,
        name: doc.text("name").unwrap_or_default(),
        desc: doc.text("desc").unwrap_or_default(),
        links: links(&mut doc),
        consent: doc.u32("consent").unwrap_or_default(),
        flags: doc.u32("flags").unwrap_or_default(),
    };
    doc.drop_with_remark(
        &["membershipType"],
        "its members come from a directory service that is \
        not asked",
    );
    Some(group)
}

/// A login token.
pub(super) fn login_token(mut doc: Document<'_>) -> Option<LoginToken> {
    let token_user = doc.text("tokenUser")?;
    let user = doc.id("userid")?;
    let password = match (doc.text("salt"), doc.text("hash")) {
        (Some(salt), Some(hash)) => PasswordHash::Pbkdf2 { salt, hash },
        _ => return None,
    };
    let token = LoginToken {
        token_user,
        user,
        name: doc.text("name").unwrap_or_default(),
        password,
        created: doc.millis("created").unwrap_or_default(),
        expires: doc.millis("expire").filter(|time| time.0 != 0),
    };
    doc.ignore(&["nodeid"]);
    Some(token)
}
