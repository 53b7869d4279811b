//! Who has which right on a device group.

use std::rc::Rc;

use serde_json::json;

use crate::model::{LinkTarget, Rights, User, UserId};
use crate::store::Commit;

use super::groups::{membership_event, meshchange};
use super::{Answer, Call, OnGroup};

/// Longest list of accounts in one request.
const USERS_MAX: usize = 1000;

/// `addmeshuser`: gives (or with `remove` takes) rights to several accounts. The answer is one text
/// per account.
pub(super) fn add(call: &Call, on: OnGroup) -> Answer<'_> {
    let Some(rights) = call.request.number("meshadmin").map(Rights::from_bits_retain) else {
        return call.result("Invalid group rights");
    };
    let Some(names) = accounts_named(call) else { return call.result("Invalid usernames") };
    let (mut texts, mut commits) = (Vec::new(), Vec::new());
    let (mut success, mut failed) = (0, 0);
    for name in names {
        match change(call, &on, &name, rights) {
            Changed::Done(text, commit) => {
                success += 1;
                texts.push(text);
                commits.push(commit);
            }
            Changed::Unknown(text) => {
                failed += usize::from(text.is_some());
                texts.extend(text);
            }
            Changed::Refused(text) => texts.push(text.to_owned()),
        }
    }
    if success == 0 && failed == 0 {
        texts.push("Nothing done".to_owned());
    }
    let body = json!({"result": texts.join(", "), "success": success, "failed": failed});
    commits.into_iter().fold(call.reply(body), Answer::after)
}

/// An account as a request names it.
pub(super) enum Named {
    /// By id.
    Id(String),
    /// By its bare name; names nobody has are passed over, as in MeshCentral.
    Name(String),
}

/// `userid`, `userids` or `usernames`; `None` if there is none of them.
pub(super) fn accounts_named(call: &Call) -> Option<Vec<Named>> {
    let request = &call.request;
    if let Some(id) = request.text_within("userid", 1, 1024) {
        return Some(vec![Named::Id(id.to_owned())]);
    }
    let named = match request.texts("userids", 1024) {
        Some(ids) => ids.into_iter().map(|id| Named::Id(id.to_owned())).collect::<Vec<_>>(),
        None => {
            let names = request.texts("usernames", UserId::MAX)?;
            names.into_iter().map(|name| Named::Name(name.to_owned())).collect()
        }
    };
    (named.len() <= USERS_MAX).then_some(named)
}

/// The account `named` in the user's domain.
pub(super) fn account(call: &Call, named: &Named) -> Option<Rc<User>> {
    let (Named::Id(text) | Named::Name(text)) = named;
    let id = UserId::parse_in(&call.user.id.domain, text).ok()?;
    call.hub().store.user(&id)
}

enum Changed {
    Done(String, Commit),
    /// There is no such account.
    Unknown(Option<String>),
    Refused(&'static str),
}

fn change(call: &Call, on: &OnGroup, named: &Named, rights: Rights) -> Changed {
    let Some(user) = account(call, named) else {
        return Changed::Unknown(match named {
            Named::Id(id) => {
                Some(format!("Unknown user {}", id.rsplit('/').next().unwrap_or_default()))
            }
            Named::Name(_) => None,
        });
    };
    if user.id == call.user.id {
        return Changed::Refused("Can't change self");
    }
    let target = LinkTarget::Group(on.group.id.clone());
    let is_full = user.link(&target).is_some_and(|link| link.rights.is_full());
    if is_full && !on.rights.is_full() {
        return Changed::Refused("Can't change rights of device group administrator");
    }
    let remove = call.request.is_true("remove");
    if !remove && rights.is_full() && !on.rights.is_full() {
        return Changed::Refused("Can't set device group administrator, if not administrator");
    }
    let name = user.id.name();
    let mut changed = (*user).clone();
    let (text, msg) = if remove {
        changed.set_link(target, None);
        let msg = format!("Removed user {name} from device group {}", on.group.name);
        (format!("Removed user {name}"), msg)
    } else {
        changed.set_link(target, Some(rights));
        let msg = format!("Added user {name} to device group {}", on.group.name);
        (format!("Added user {name}"), msg)
    };
    call.audit(format_args!("{msg} ({}), rights {:#x}", on.group.id, rights.bits()));
    Changed::Done(text, publish(call, on, changed, msg, None))
}

/// Stores the account and tells everybody concerned.
fn publish(call: &Call, on: &OnGroup, user: User, msg: String, msgid: Option<u32>) -> Commit {
    let target = crate::model::Target::User(user.id.clone());
    let membership = membership_event(call, &user);
    let name = user.name.clone();
    let commit = call.put_user(user);
    call.hub().publish(membership);
    let mut event = meshchange(call, &on.group).to(target).with("msg", msg);
    if let Some(msgid) = msgid {
        event = event.with("msgid", msgid).with("msgArgs", json!([name, on.group.name]));
    }
    call.hub().publish(event);
    commit
}

/// `removemeshuser`: takes one account's rights on the group.
pub(super) fn remove(call: &Call, on: OnGroup) -> Answer<'_> {
    let id = call.request.text_within("userid", 1, 1024);
    let Some(id) = id.and_then(|id| UserId::parse_in(&call.user.id.domain, id).ok()) else {
        return call.result("Invalid userid");
    };
    if id == call.user.id {
        return call.result("Can't remove self");
    }
    let target = LinkTarget::Group(on.group.id.clone());
    let user = call.hub().store.user(&id);
    let Some((user, link)) = user.and_then(|user| {
        let link = user.link(&target)?.clone();
        Some((user, link))
    }) else {
        return call.result("User not in group");
    };
    if link.rights.is_full() && !on.rights.is_full() {
        // MeshCentral says nothing here and leaves the client waiting.
        return call.result("Permission denied");
    }
    let mut user = (*user).clone();
    user.set_link(target, None);
    let msg = format!("Removed user {} from device group {}", user.name, on.group.name);
    call.audit(format_args!("{msg} ({})", on.group.id));
    let commit = publish(call, &on, user, msg, Some(83));
    call.result("ok").after(commit)
}
