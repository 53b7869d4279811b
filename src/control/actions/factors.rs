//! Second factors of one's own account: authenticator app, backup codes, security keys, remembered
//! devices.
//!
//! Source: control-protocol §5.2. Where MeshCentral would send a code by e-mail or message, this
//! server answers as one that has nobody to send it.

use serde_json::{Value, json};

use super::super::auth;
use super::super::factors;
use super::super::passwords::{end_other_logins, factors_of};
use super::{Answer, Call};
use crate::config::FactorRules;
use crate::identity::totp;
use crate::model::User;
use crate::model::access::{BackupCode, Factors};

/// The rules for this account, if second factors can be changed at all.
pub(super) fn rules(call: &Call) -> Option<FactorRules> {
    let config = call.hub().config();
    let rules = &config.domain(&call.user.id.domain).factors;
    (!config.settings.no_second_factor && !rules.locked).then(|| rules.clone())
}

/// Stores changed factors and tells of it. When one is lost, whoever is logged in elsewhere is out.
pub(super) fn keep(
    call: &Call,
    factors: Factors,
    loses: bool,
    msgid: u32,
    msg: &str,
) -> Answer<'static> {
    let mut answer = Answer::none().after(call.put(factors));
    if loses {
        let user = User::clone(&call.user);
        answer = answer.after(end_other_logins(call.hub(), user, Some(call.session())));
    }
    call.audit(format_args!("{}", msg.to_lowercase()));
    call.hub().publish(call.account_change(&call.user).with("msgid", msgid).with("msg", msg));
    answer
}

/// `otpauth-request`: a fresh secret, which counts for nothing until `otpauth-setup`.
pub(super) fn request_app(call: &Call) -> Answer<'_> {
    /// The numbers of MeshCentral: second factors are locked, apps are not allowed, there is no
    /// secret to be had.
    const LOCKED: u32 = 1;
    const NOT_ALLOWED: u32 = 4;
    const NONE: u32 = 6;
    let refuse = |number: u32| call.reply(json!({"err": number}));
    let config = call.hub().config();
    let domain = config.domain(&call.user.id.domain);
    if domain.factors.locked {
        return refuse(LOCKED);
    }
    if !domain.factors.app {
        return refuse(NOT_ALLOWED);
    }
    if config.settings.no_second_factor {
        return Answer::none();
    }
    let Some(secret) = totp::fresh_secret() else { return refuse(NONE) };
    let secret = totp::secret_text(&secret);
    let facts = call.facts();
    let name = facts.name.as_deref().unwrap_or(&call.login().host);
    let id = &call.user.id.domain;
    let issuer = match (&domain.dns, id.is_default()) {
        (Some(dns), _) => dns.clone(),
        (None, true) => name.to_owned(),
        (None, false) => format!("{name}/{id}"),
    };
    let (issuer, user) = (escaped(&issuer), escaped(&call.user.name));
    let url = format!(
        "otpauth://totp/{issuer}:{user}?secret={secret}&period=30&digits=6&algorithm=SHA1\
         &issuer={issuer}"
    );
    call.reply(json!({"secret": secret, "url": url}))
}

/// A text as a part of a URL.
fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// `otpauth-setup`: the app is set up if it knows a code of the secret.
pub(super) fn set_up_app(call: &Call) -> Answer<'_> {
    if !rules(call).is_some_and(|rules| rules.app) {
        return Answer::none();
    }
    let secret = call.request.text("secret").and_then(totp::parse_secret);
    let token = call.request.text("token").unwrap_or_default();
    let now = call.hub().now().seconds();
    let Some(totp) = secret.and_then(|secret| factors::set_up(secret, token, now)) else {
        return call.reply(json!({"success": false}));
    };
    let factors = Factors { totp: Some(totp), ..factors_of(call.hub(), &call.user.id) };
    let kept = keep(call, factors, false, 90, "Added authentication application");
    call.reply(json!({"success": true})).and(kept)
}

/// `otpauth-clear`: the app is forgotten.
pub(super) fn remove_app(call: &Call) -> Answer<'_> {
    if rules(call).is_none() {
        return Answer::none();
    }
    let mut factors = factors_of(call.hub(), &call.user.id);
    if factors.totp.take().is_none() {
        return call.reply(json!({"success": false}));
    }
    let kept = keep(call, factors, true, 91, "Removed authentication application");
    call.reply(json!({"success": true})).and(kept)
}

/// `otpauth-getpasswords`: shows the backup codes; `subaction` 1 makes new ones before, 2 throws
/// them away. Silent for accounts that have nothing else: backup codes help where something is
/// lost.
pub(super) fn backup_codes(call: &Call) -> Answer<'_> {
    let mut factors = factors_of(call.hub(), &call.user.id);
    let allowed = rules(call).is_some_and(|rules| rules.backup_codes);
    if !allowed || !factors.are_needed() {
        return Answer::none();
    }
    let may_change = !call.user.site.restricted(crate::model::SiteRights::LOCK_SETTINGS);
    let kept = match call.request.number("subaction").filter(|_| may_change) {
        Some(1) => {
            let Some(codes) = factors::fresh_backup_codes() else { return Answer::none() };
            factors.backup_codes = codes;
            keep(call, factors.clone(), false, 92, "New 2FA backup codes generated")
        }
        Some(2) if !factors.backup_codes.is_empty() => {
            factors.backup_codes.clear();
            keep(call, factors.clone(), false, 93, "2FA backup codes cleared")
        }
        _ => Answer::none(),
    };
    let shown = |code: &BackupCode| json!({"p": code.number, "u": !code.used});
    let codes: Vec<_> = factors.backup_codes.iter().map(shown).collect();
    let codes = if codes.is_empty() { Value::Null } else { codes.into() };
    call.reply(json!({"passwords": codes})).and(kept)
}

/// `otp-hkey-get`: the security keys, by name and number.
pub(super) fn security_keys(call: &Call) -> Answer<'_> {
    /// WebAuthn.
    const KIND: u32 = 3;
    if rules(call).is_none() {
        return Answer::none();
    }
    let factors = factors_of(call.hub(), &call.user.id);
    let keys = factors.security_keys.iter();
    let keys = keys.map(|key| json!({"i": key.index, "name": key.name, "type": KIND}));
    call.reply(json!({"keys": keys.collect::<Vec<_>>()}))
}

/// `otp-hkey-remove`: the security key of that number. Never answered.
pub(super) fn remove_security_key(call: &Call) -> Answer<'_> {
    let (Some(_), Some(index)) = (rules(call), call.request.number("index")) else {
        return Answer::none();
    };
    let mut factors = factors_of(call.hub(), &call.user.id);
    let before = factors.security_keys.len();
    factors.security_keys.retain(|key| key.index != index);
    if factors.security_keys.len() == before {
        return Answer::none();
    }
    keep(call, factors, true, 94, "Removed security key")
}

/// `twoFactorCookie`: remembers the device it is given to. Silent if devices are not remembered.
pub(super) fn remember_device(call: &Call) -> Answer<'_> {
    let config = call.hub().config();
    let rules = &config.domain(&call.user.id.domain).factors;
    match auth::remember(call.cookies(), rules, &call.user, call.now()) {
        Some(cookie) => call.reply(json!({"cookie": cookie})),
        None => Answer::none(),
    }
}

/// `otpemail`: nobody here sends e-mail.
pub(super) fn by_email(call: &Call) -> Answer<'_> {
    if call.request.is_true("enabled") {
        return call.reply(json!({"success": false, "enabled": false}));
    }
    Answer::none()
}

/// `otp-hkey-yubikey-add`: no service of Yubico's is asked.
pub(super) fn add_yubikey(call: &Call) -> Answer<'_> {
    call.reply(json!({"result": false, "name": call.request.get("name")}))
}
