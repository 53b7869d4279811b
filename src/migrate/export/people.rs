//! Accounts, user groups and login tokens as documents.

use data_encoding::{BASE32_NOPAD, BASE64};
use serde_json::{Map, Value, json};

use super::draft::Draft;
use super::{Exported, Holder};
use crate::identity::webauthn::PublicKey;
use crate::model::{
    Factors, Link, LinkTarget, LoginToken, PasswordHash, SecurityKey, User, UserGroup, order,
};

/// Bytes of a salt and of a hash of MeshCentral's passwords.
const PASSWORD_LEN: usize = 128;
/// What stands before the point in the SubjectPublicKeyInfo of a P-256 key (RFC 5480).
const P256_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// An account with its factors.
pub(super) fn account(user: &User, factors: Option<&Factors>, report: &mut Exported) -> Draft {
    let mut draft = Draft::new(&user.id)
        .with("type", "user")
        .with("name", user.name.as_str())
        .with("domain", user.id.domain.as_str())
        .with("creation", user.created.0)
        .with("siteadmin", user.site.bits())
        .by_id("links", links(&user.links))
        .nonzero("removeRights", user.remove_rights.bits())
        .maybe("email", user.email.as_deref())
        .maybe("emailVerified", user.email_verified.then_some(true))
        .maybe("realname", user.real_name.as_deref())
        .nonzero("consent", user.consent)
        .maybe("login", user.login.map(|time| time.0))
        .maybe("quota", user.quota)
        .maybe("phone", user.phone.as_deref())
        .maybe("lang", user.language.as_deref())
        .nonzero("flags", user.flags)
        .list("groups", user.realms.iter().map(String::as_str))
        .maybe("msghandle", user.messaging.as_deref());
    draft = match user.password_changed {
        Some(time) => draft.with("passchange", time.0),
        // To be changed at the next login.
        None => draft.with("passchange", -1),
    };
    let bits = user.notify.iter().map(|(target, bits)| (target.to_string(), (*bits).into()));
    let bits: Map<_, _> = order::gather(bits);
    draft = draft.maybe("notify", (!bits.is_empty()).then_some(bits));
    draft = match &user.password {
        PasswordHash::Pbkdf2 { salt, hash } => {
            draft.with("salt", salt.as_str()).with("hash", hash.as_str())
        }
        PasswordHash::Argon2(_) | PasswordHash::Random(_) | PasswordHash::None => {
            report.new_passwords.push(user.id.clone());
            // An account without a hash is not something MeshCentral is made for.
            draft.with("salt", random()).with("hash", random())
        }
    };
    match factors {
        Some(factors) => with_factors(draft, factors, report),
        None => draft,
    }
}

/// What no password was hashed to.
fn random() -> String {
    let mut bytes = [0; PASSWORD_LEN];
    // Without randomness it is still the hash of no password anybody could find.
    let _ = getrandom::fill(&mut bytes);
    BASE64.encode(&bytes)
}

fn with_factors(draft: Draft, factors: &Factors, report: &mut Exported) -> Draft {
    let codes = factors.backup_codes.iter();
    // `u` says that it can still be used.
    let codes: Vec<_> = codes.map(|code| json!({"p": code.number, "u": !code.used})).collect();
    let mut keys = Vec::new();
    for key in &factors.security_keys {
        match security_key(key) {
            Some(key) => keys.push(key),
            None => {
                let what = "a security key of a kind that is not known there is left out";
                report.remark(what, &factors.user.to_string());
            }
        }
    }
    let past = factors.past_passwords.iter().filter_map(|password| match password {
        PasswordHash::Pbkdf2 { salt, hash } => Some(json!({"salt": salt, "hash": hash})),
        _ => None,
    });
    draft
        .maybe("otpsecret", factors.totp.as_ref().map(|totp| BASE32_NOPAD.encode(&totp.secret)))
        .maybe("otpkeys", (!codes.is_empty()).then(|| json!({ "keys": codes })))
        .list("otphkeys", keys)
        .list("oldpasswords", past)
        .maybe("passhint", factors.password_hint.as_deref())
}

/// A WebAuthn key (type 3); only P-256 is verified there.
fn security_key(key: &SecurityKey) -> Option<Value> {
    let PublicKey::P256(point) = PublicKey::parse(&key.public_key).ok()? else { return None };
    let info = BASE64.encode(&[&P256_INFO[..], &point].concat());
    let lines: Vec<_> = info.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let pem =
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
    Some(json!({
        "type": 3,
        "name": key.name,
        "publicKey": pem,
        "keyId": BASE64.encode(&key.credential),
        "keyIndex": key.index,
        "counter": key.counter,
    }))
}

fn links(links: &[Link]) -> impl Iterator<Item = (String, Value)> {
    links.iter().map(|link| {
        let mut value: Map<_, _> =
            order::gather([("rights".to_owned(), link.rights.bits().into())]);
        if link.notify != 0 {
            value.insert("notify".to_owned(), link.notify.into());
        }
        (link.to.to_string(), Value::Object(value))
    })
}

/// A user group with its members.
pub(super) fn user_group(group: &UserGroup, members: &[Holder]) -> Draft {
    let members = members.iter().map(|Holder { id, name, .. }| {
        (id.to_string(), json!({"userid": &**id, "name": &**name, "rights": 1}))
    });
    // User groups are members of none.
    let own = group.links.iter().filter(|link| !matches!(link.to, LinkTarget::UserGroup(_)));
    let own: Vec<_> = own.cloned().collect();
    Draft::new(&group.id)
        .with("type", "ugrp")
        .with("name", group.name.as_str())
        .maybe("desc", Some(group.desc.as_str()).filter(|desc| !desc.is_empty()))
        .with("domain", group.id.domain.as_str())
        .by_id("links", links(&own).chain(members))
        .nonzero("consent", group.consent)
        .nonzero("flags", group.flags)
}

/// A login token; `None` if its password is of no use there.
pub(super) fn login_token(token: &LoginToken) -> Option<Draft> {
    let PasswordHash::Pbkdf2 { salt, hash } = &token.password else { return None };
    Some(
        Draft::new(format_args!("logintoken-{}", token.token_user))
            .with("type", "logintoken")
            .text("nodeid", format_args!("logintoken-{}", token.user))
            .text("userid", &token.user)
            .with("name", token.name.as_str())
            .with("tokenUser", token.token_user.as_str())
            .with("salt", salt.as_str())
            .with("hash", hash.as_str())
            .with("domain", token.user.domain.as_str())
            .with("created", token.created.0)
            .with("expire", token.expires.map_or(0, |time| time.0)),
    )
}
