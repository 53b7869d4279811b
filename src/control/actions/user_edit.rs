//! Accounts: changing and removing them.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::model::{EventKind, LinkTarget, Rights, SiteRights, Target, User, UserGroup, order};
use crate::store::RecordKey;

use super::super::notify;
use super::groups::meshchange;
use super::user_groups::group_change;
use super::users::{LIMITING, REAL_NAME_MAX, email_address, phone_number};
use super::{Answer, Call};

/// Longest messaging name in characters.
const MESSAGING_MAX: usize = 256;
/// Longest name of a realm in characters, and most realms of an account.
const REALM_MAX: usize = 64;
const REALMS_MAX: usize = 64;
/// Why sessions end whose account may be used no more.
const GOODBYE: &str = "Administrator forced disconnection";

/// `edituser`: whichever members the request has.
pub(super) fn edit(call: &Call, old: Rc<User>) -> Answer<'_> {
    let mut user = (*old).clone();
    if let Err(text) = apply(call, &mut user) {
        return call.result(text);
    }
    if user == *old {
        return call.result("ok");
    }
    let event = call
        .account_change(&user)
        .with("msgid", 66)
        .with("msgArgs", json!([user.name]))
        .with("msg", format!("Account changed: {}", user.name));
    // Who managed it until now hears that it has left.
    let event = call.hub().account_targets(&old).into_iter().fold(event, |event, to| event.to(to));
    let (id, is_locked) = (user.id.clone(), user.site.restricted(SiteRights::LOCKED));
    call.audit(format_args!("changed account {id} (site rights {:#x})", user.site.bits()));
    let commit = call.put_user(user);
    call.hub().publish(event);
    if is_locked {
        notify::end_sessions(call.hub(), &id, GOODBYE);
    }
    call.result("ok").after(commit)
}

fn apply(call: &Call, user: &mut User) -> Result<(), &'static str> {
    let request = &call.request;
    if request.get("email").is_some() {
        let email = match request.text("email") {
            Some("") => None,
            text => Some(email_address(text).ok_or("Invalid email")?),
        };
        if email != user.email {
            (user.email, user.email_verified) = (email, false);
        }
    }
    if let Some(Value::Bool(verified)) = request.get("emailVerified") {
        user.email_verified = *verified && user.email.is_some();
    }
    if let Some(name) = request.text_within("realname", 0, REAL_NAME_MAX) {
        user.real_name = Some(name.to_owned()).filter(|name| !name.is_empty());
    }
    // MeshCentral takes a request without the member for "no quota of its own".
    match request.fields.get("quota") {
        Some(Value::Null) => user.quota = None,
        Some(quota) => user.quota = quota.as_u64().or(user.quota),
        None => {}
    }
    if let Some(consent) = request.number("consent") {
        user.consent = consent;
    }
    match request.text("phone") {
        Some("") => user.phone = None,
        Some(text) => user.phone = phone_number(text).or(user.phone.take()),
        None => {}
    }
    if let Some(name) = request.text_within("msghandle", 0, MESSAGING_MAX) {
        user.messaging = Some(name.to_owned()).filter(|name| !name.is_empty());
    }
    if let Some(flags) = request.number("flags") {
        // Whether there is an image is not a matter of opinion.
        let image = user.flags & User::HAS_IMAGE;
        user.flags = flags & !User::HAS_IMAGE | image;
    }
    if let Some(removed) = request.number("removeRights").map(Rights::from_bits_retain) {
        // Account managers take rights away; giving them back is for full administrators.
        if call.user.site.is_full() || removed.contains(user.remove_rights) {
            user.remove_rights = removed;
        }
    }
    if request.is_true("resetNextLogin") {
        user.password_changed = None;
    }
    if let Some(bits) = request.number("siteadmin") {
        user.site = site_rights(call, user, SiteRights::from_bits_retain(bits));
    }
    if let Some(realms) = request.get("groups").and_then(Value::as_array) {
        set_realms(call, user, realms);
    }
    Ok(())
}

/// The site rights `user` gets if `wanted` are asked for: what was asked, or no change. Nobody
/// changes own ones: no accidental lock-out, no self-promotion.
fn site_rights(call: &Call, user: &User, wanted: SiteRights) -> SiteRights {
    if user.id == call.user.id {
        return user.site;
    }
    if call.user.site.is_full() {
        return wanted;
    }
    let held = call.user.site & (SiteRights::USER_GROUPS | SiteRights::RECORDINGS);
    let may = LIMITING | SiteRights::MANAGE_USERS | held;
    if may.contains(user.site ^ wanted) { wanted } else { user.site }
}

/// `groups`: the realms of an account. Who has realms of its own cannot move an account out of
/// them, nor into others: else it could make a manager who is bound to none.
fn set_realms(call: &Call, user: &mut User, wanted: &[Value]) {
    let wanted = wanted
        .iter()
        .filter_map(|realm| Some(realm.as_str()?.trim().to_lowercase()))
        .filter(|realm| (1..=REALM_MAX).contains(&realm.chars().count()))
        .take(REALMS_MAX);
    let wanted: BTreeSet<String> = order::gather(wanted);
    let own = &call.user.realms;
    let is_full = call.user.site.is_full();
    let stays = wanted.iter().any(|realm| own.contains(realm))
        && wanted.iter().all(|realm| own.contains(realm) || user.realms.contains(realm));
    if is_full || (user.id != call.user.id && (own.is_empty() || stays)) {
        user.realms = wanted.into_iter().collect();
    }
}

/// `deleteuser`: with all its links and whatever belongs to it; its sessions end.
pub(super) fn delete(call: &Call, user: Rc<User>) -> Answer<'_> {
    let hub = call.hub();
    let commit = hub.store.remove(RecordKey::User(user.id.clone()));
    notify::account_changed(hub, &user.id);
    call.audit(format_args!("deleted account {}", user.id));
    for link in &user.links {
        unlink(call, &user, &link.to);
    }
    let mut event = call
        .event("accountremove", EventKind::User)
        .with("msgid", 63)
        .with("username", user.name.as_str())
        .with("msg", "Account removed");
    // MeshCentral names the removed account here, not who removed it.
    event.actor = Some(user.id.clone());
    event.domain = user.id.domain.clone();
    hub.publish(hub.account_targets(&user).into_iter().fold(event, |event, to| event.to(to)));
    notify::end_sessions(hub, &user.id, GOODBYE);
    call.result("ok").after(commit)
}

/// Tells those who see what a removed account had a right on.
fn unlink(call: &Call, user: &User, target: &LinkTarget) {
    let hub = call.hub();
    let name = &user.name;
    let event = match target {
        LinkTarget::Group(id) => {
            let group = hub.store.group(id).filter(|group| group.deleted.is_none());
            let Some(group) = group else { return };
            meshchange(call, &group)
                .with("msgid", 72)
                .with("msgArgs", json!([name, group.name]))
                .with("msg", format!("Removed user {name} from device group {}", group.name))
        }
        LinkTarget::Device(id) => {
            let Some(device) = hub.store.device(id) else { return };
            call.device_event("changenode", &device)
                .with("node", hub.device_document(&device))
                .with("msgid", 60)
                .with("msgArgs", json!([device.name]))
                .with("msg", format!("Removed user device rights for {}", device.name))
        }
        LinkTarget::UserGroup(id) => {
            let Some(group) = hub.store.user_group(id) else { return };
            removed_from(call, user, &group).with("msgid", 62)
        }
    };
    let mut event = event.to(Target::User(user.id.clone()));
    event.domain = user.id.domain.clone();
    hub.publish(event);
}

/// The event that an account is no member of a user group any more, still without its number.
pub(super) fn removed_from(call: &Call, user: &User, group: &UserGroup) -> crate::model::Event {
    group_change(call, group)
        .to(Target::User(user.id.clone()))
        .with("msgArgs", json!([user.name, group.name]))
        .with("msg", format!("Removed user {} from user group {}", user.name, group.name))
}
