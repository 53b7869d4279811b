//! Accounts and user groups.

use serde_json::{Map, Value, json};

use crate::model::{EventKind, LinkTarget, PasswordHash, Rights, SiteRights, Target, User, UserId};
use crate::store::RecordKey;

use super::super::notify;
use super::{Answer, Call};
use crate::hub::documents::{AccountDocument, Holders, UserGroupDocument, to_value};

/// Longest password in characters.
const PASSWORD_MAX: usize = 256;
/// Longest e-mail address in characters.
const EMAIL_MAX: usize = 1024;
/// Longest display name in characters.
const REAL_NAME_MAX: usize = 256;
/// Site rights that somebody who is no full administrator may give or take: locked, no new groups,
/// no tools.
const LIMITING: SiteRights =
    SiteRights::LOCKED.union(SiteRights::NO_NEW_GROUPS).union(SiteRights::NO_TOOLS);

/// `users`: all accounts of the domain.
pub(super) fn list(call: &Call) -> Answer<'_> {
    let users = call.hub().store.users(&call.user.id.domain);
    let users: Vec<_> = users.iter().map(|user| call.hub().account_document(user)).collect();
    call.reply(json!({"users": users}))
}

/// `usergroups`: all user groups; only their names for those who do not manage them.
pub(super) fn list_groups(call: &Call) -> Answer<'_> {
    let domain = &call.user.id.domain;
    let groups = call.hub().store.user_groups(domain);
    if groups.is_empty() {
        return call.reply(json!({"ugroups": null}));
    }
    let holders = Holders::of(&call.hub().store, domain);
    let manages = call.user.site.allows(SiteRights::USER_GROUPS);
    let document = |group: &crate::model::UserGroup| {
        if !manages {
            return json!({"name": group.name});
        }
        let members = holders.members_of(&group.id);
        to_value(&UserGroupDocument { group, members })
    };
    let ugroups: Map<String, Value> =
        groups.iter().map(|group| (group.id.to_string(), document(group))).collect();
    call.reply(json!({"ugroups": ugroups}))
}

/// `adduser`: a new account without rights on any device.
pub(super) fn add(call: &Call) -> Answer<'_> {
    let draft = match draft(call) {
        Ok(draft) => draft,
        Err((text, number)) => return call.numbered_result(text, number),
    };
    Answer::later(async move {
        let password = call.request.text("pass").unwrap_or_default();
        let hash = match call.passwords().hash(password).await {
            Ok(hash) if hash != PasswordHash::None => hash,
            _ => return call.numbered_result("Server is busy, try again", 9),
        };
        // Somebody else may have made the account while the hash was computed.
        if call.hub().store.user(&draft.id).is_some() {
            return call.numbered_result("User already exists", 7);
        }
        let user = User { password: hash, ..draft };
        let commit = call.put(user.clone());
        call.audit(format_args!("made account {}", user.id));
        let name = user.name.as_str();
        let mut event = call
            .account_event("accountcreate", &user)
            .with("account", to_value(&AccountDocument(&user)))
            .with("msgid", 64)
            .with("msgArgs", json!([name]))
            .with("msg", format!("Account created, username is {name}"));
        // MeshCentral names the new account here, not its maker.
        event.actor = Some(user.id.clone());
        call.hub().publish(event);
        call.result("ok").after(commit)
    })
}

/// The account `adduser` asks for, still without its password. Errors are texts with their number.
fn draft(call: &Call) -> Result<User, (&'static str, u32)> {
    let request = &call.request;
    let name = request.text_within("username", 1, UserId::MAX).ok_or(("Invalid username", 2))?;
    let id = UserId::new(call.user.id.domain.clone(), name).map_err(|_| ("Invalid username", 2))?;
    request.text_within("pass", 1, PASSWORD_MAX).ok_or(("Invalid password", 3))?;
    let email = match request.get("email") {
        Some(_) => Some(email(request.text("email")).ok_or(("Invalid email", 4))?),
        None => None,
    };
    let site = match request.get("siteadmin") {
        Some(_) => {
            let bits = request.number("siteadmin").ok_or(("Invalid site permissions", 6))?;
            let site = SiteRights::from_bits_retain(bits);
            let may = call.user.site.is_full() || LIMITING.contains(site);
            if !may {
                return Err(("Invalid site permissions", 6));
            }
            site
        }
        None => SiteRights::empty(),
    };
    let store = &call.hub().store;
    if store.user(&id).is_some() {
        return Err(("User already exists", 7));
    }
    let config = call.hub().config();
    let max = config.domain(&id.domain).max_user_accounts;
    if max.is_some_and(|max| store.users(&id.domain).len() >= max) {
        return Err(("maxUsersExceed", 10));
    }
    let now = call.hub().now();
    let reset = request.is_true("resetNextLogin");
    Ok(User {
        site,
        email_verified: email.is_some() && request.is_true("emailVerified"),
        email,
        real_name: request.text_within("realname", 1, REAL_NAME_MAX).map(str::to_owned),
        consent: request.number("consent").unwrap_or_default(),
        password_changed: (!reset).then_some(now.seconds()),
        ..User::new(id, name, PasswordHash::None, now)
    })
}

/// An e-mail address in lower case, if it looks like one.
fn email(text: Option<&str>) -> Option<String> {
    let text = text.filter(|text| text.len() <= EMAIL_MAX)?;
    let (name, host) = text.split_once('@')?;
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '<' | '>' | '"');
    let ok = !name.is_empty() && host.contains('.') && !name.contains(bad) && !host.contains(bad);
    ok.then(|| text.to_lowercase())
}

/// The account a request names in `userid`, `username` or `id`.
fn account_named(call: &Call) -> Option<std::rc::Rc<User>> {
    let request = &call.request;
    let named = ["userid", "username", "id"].into_iter().find_map(|name| request.text(name))?;
    call.hub().store.user(&UserId::parse_in(&call.user.id.domain, named).ok()?)
}

/// `edituser`: whichever members the request has.
pub(super) fn edit(call: &Call) -> Answer<'_> {
    let Some(old) = account_named(call) else { return call.result("User does not exists") };
    if old.site.is_full() && !call.user.site.is_full() {
        return call.result("Permission denied");
    }
    let mut user = (*old).clone();
    if let Err(text) = apply_edit(call, &mut user) {
        return call.result(text);
    }
    if user == *old {
        return call.result("ok");
    }
    let commit = call.put_user(user.clone());
    call.audit(format_args!("changed account {} (site rights {:#x})", user.id, user.site.bits()));
    call.hub().publish(
        call.account_event("accountchange", &user)
            .with("account", to_value(&AccountDocument(&user)))
            .with("msgid", 66)
            .with("msgArgs", json!([user.name]))
            .with("msg", format!("Account changed: {}", user.name)),
    );
    if user.site.restricted(SiteRights::LOCKED) {
        notify::end_sessions(call.hub(), &user.id, "Administrator forced disconnection");
    }
    call.result("ok").after(commit)
}

fn apply_edit(call: &Call, user: &mut User) -> Result<(), &'static str> {
    let request = &call.request;
    if request.get("email").is_some() {
        user.email = match request.text("email") {
            Some("") => None,
            text => Some(email(text).ok_or("Invalid email")?),
        };
        user.email_verified = false;
    }
    if request.get("emailVerified").is_some() && user.email.is_some() {
        user.email_verified = request.is_true("emailVerified");
    }
    if let Some(name) = request.text_within("realname", 0, REAL_NAME_MAX) {
        user.real_name = Some(name.to_owned()).filter(|name| !name.is_empty());
    }
    if let Some(consent) = request.number("consent") {
        user.consent = consent;
    }
    // A restriction of what the account may do anywhere: for full administrators to decide.
    if let Some(removed) = request.number("removeRights").filter(|_| call.user.site.is_full()) {
        user.remove_rights = Rights::from_bits_retain(removed);
    }
    if request.is_true("resetNextLogin") {
        user.password_changed = None;
    }
    // Nobody changes own site rights: no accidental lock-out, no self-promotion.
    if let Some(bits) = request.number("siteadmin").filter(|_| user.id != call.user.id) {
        let wanted = SiteRights::from_bits_retain(bits);
        user.site = if call.user.site.is_full() {
            wanted
        } else {
            let held = call.user.site & (SiteRights::USER_GROUPS | SiteRights::RECORDINGS);
            let may = LIMITING | SiteRights::MANAGE_USERS | held;
            (user.site - may) | (wanted & may)
        };
    }
    Ok(())
}

/// `deleteuser`: with all its links; its sessions end.
pub(super) fn delete(call: &Call) -> Answer<'_> {
    let Some(user) = account_named(call) else { return call.result("User does not exists") };
    if user.site.is_full() && !call.user.site.is_full() {
        return call.result("Permission denied");
    }
    let hub = call.hub();
    let commit = hub.store.remove(RecordKey::User(user.id.clone()));
    notify::account_changed(hub, &user.id);
    call.audit(format_args!("deleted account {}", user.id));
    for link in &user.links {
        let LinkTarget::Group(id) = &link.to else { continue };
        if let Some(group) = hub.store.group(id).filter(|group| group.deleted.is_none()) {
            let msg = format!("Removed user {} from device group {}", user.name, group.name);
            hub.publish(super::groups::meshchange(call, &group).with("msg", msg));
        }
    }
    let mut event = call
        .event("accountremove", EventKind::User)
        .to(Target::All)
        .to(Target::AccountManagers)
        .with("msgid", 63)
        .with("msg", "Account removed");
    // MeshCentral names the removed account here, not who removed it.
    event.actor = Some(user.id.clone());
    hub.publish(event);
    notify::end_sessions(hub, &user.id, "Account removed");
    call.result("ok").after(commit)
}
