//! What people set about their own account: language, address, image, the web page, notifications.
//!
//! An account with locked settings (`locksettings`) does none of this.

use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::model::rights::Authority;
use crate::model::{Document, Event, LinkTarget, SiteRights, Target, User, order};
use crate::store::RecordKey;

use super::users::email_address;
use super::{Answer, Call, OnDevice, OnGroup, visible_account};

/// Longest language tag in characters, as in `zh-chs`.
const LANGUAGE_MAX: usize = 6;
/// Longest state of the web page in characters.
const STATE_MAX: usize = 30_000;
/// The notification bits there are.
const NOTIFY_BITS: u32 = 0x3ff;

/// `changelang`: the language of the web page; `*` for none in particular.
pub(super) fn language(call: &Call) -> Answer<'_> {
    let Some(tag) = call.request.text_within("lang", 1, LANGUAGE_MAX) else {
        return Answer::none();
    };
    let language = Some(tag.to_lowercase()).filter(|tag| tag != "*");
    if language == call.user.language {
        return Answer::none();
    }
    let shown = |language: &Option<String>| language.as_deref().unwrap_or("default").to_owned();
    let (from, to) = (shown(&call.user.language), shown(&language));
    let user = User { language, ..(*call.user).clone() };
    let msg = format!("Changed language from {from} to {to}");
    call.audit(format_args!("{msg}"));
    change(call, user, |event| {
        event.with("msgid", 3).with("msgArgs", json!(["", from, to])).with("msg", msg)
    })
}

/// `changeemail`: an address that is not verified. Without a mail service it stays so until an
/// account manager says otherwise.
pub(super) fn email(call: &Call) -> Answer<'_> {
    let Some(email) = email_address(call.request.text("email")) else { return Answer::none() };
    let user = &call.user;
    if user.email.as_ref() == Some(&email) {
        return Answer::none();
    }
    let is_taken = |other: &Rc<User>| other.email_verified && other.email.as_ref() == Some(&email);
    if call.hub().store.users(&user.id.domain).iter().any(is_taken) {
        let text =
            format!("Failed to change email address, another account already using: {email}.");
        let more = json!({"title": "Account Settings", "tag": "ServerNotify", "titleid": 4,
            "msgid": 13, "args": [email]});
        return call.notice(&text, more);
    }
    let msg = match &user.email {
        Some(old) => format!("Changed email of user {} from {old} to {email}", user.name),
        None => format!("Set email of user {} to {email}", user.name),
    };
    let user = User { email: Some(email), email_verified: false, ..(**user).clone() };
    call.audit(format_args!("{msg}"));
    change(call, user, |event| event.with("msg", msg))
}

/// `removePhone`.
pub(super) fn remove_phone(call: &Call) -> Answer<'_> {
    if call.user.phone.is_none() {
        return Answer::none();
    }
    let msg = format!("Removed phone number of user {}", call.user.name);
    call.audit(format_args!("{msg}"));
    let user = User { phone: None, ..(*call.user).clone() };
    numbered_change(call, user, 97, msg)
}

/// `removeMessaging`.
pub(super) fn remove_messaging(call: &Call) -> Answer<'_> {
    if call.user.messaging.is_none() {
        return Answer::none();
    }
    let msg = format!("Removed messaging account of user {}", call.user.name);
    call.audit(format_args!("{msg}"));
    let user = User { messaging: None, ..(*call.user).clone() };
    numbered_change(call, user, 157, msg)
}

/// `updateUserImage`: one's own, or with `userid` that of an account one manages. 0 removes it.
pub(super) fn image(call: &Call) -> Answer<'_> {
    let user = match call.request.text("userid") {
        Some(id) => match visible_account(call, id) {
            Some(user) if call.hub().authority(&call.user, &user) == Authority::Manage => user,
            Some(user) if user.id == call.user.id => user,
            // MeshCentral takes it for the user's own image instead.
            Some(_) | None => {
                call.audit_refusal();
                return Answer::none();
            }
        },
        None => call.user.clone(),
    };
    if user.id == call.user.id && is_locked(call) {
        return Answer::none();
    }
    let id = Document::image(&user.id);
    let mut changed = (*user).clone();
    let commit = match call.request.get("image") {
        Some(Value::String(image)) if is_image(image) => {
            changed.flags |= User::HAS_IMAGE;
            call.put(Document { id, text: image.clone() })
        }
        Some(Value::Number(n)) if n.as_u64() == Some(0) => {
            changed.flags &= !User::HAS_IMAGE;
            call.hub().store.remove(RecordKey::Document(id))
        }
        _ => return Answer::none(),
    };
    call.audit(format_args!("changed the image of account {}", user.id));
    let event = call
        .account_change(&changed)
        .with("msgid", 66)
        .with("msgArgs", json!([changed.name]))
        .with("msg", format!("Account changed: {}", changed.name))
        .with("accountImageChange", 1);
    let answer = Answer::none().after(commit).after(call.put_user(changed));
    call.hub().publish(event);
    answer
}

/// Whether a text is a picture that fits into a document.
fn is_image(text: &str) -> bool {
    let data = ["data:image/png;base64,", "data:image/jpeg;base64,"]
        .into_iter()
        .find_map(|head| text.strip_prefix(head));
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
    text.len() <= Document::MAX && data.is_some_and(|data| data.bytes().all(is_base64))
}

/// `userWebState`: what the web page remembers, for all sessions of the account.
pub(super) fn web_state(call: &Call) -> Answer<'_> {
    let state = call.request.text_within("state", 1, STATE_MAX);
    let Some(state) = state.and_then(filtered_state) else { return Answer::none() };
    let id = Document::web_state(&call.user.id);
    let commit = call.put(Document { id, text: state.clone() });
    let event = Event::new("userWebState", call.user.id.domain.clone())
        .with("state", state)
        .to(Target::User(call.user.id.clone()));
    call.hub().publish(event.transient());
    Answer::none().after(commit)
}

/// The state with nothing in it but what the web page knows; `None` if it is no JSON object.
fn filtered_state(text: &str) -> Option<String> {
    const PLAIN: [&str; 17] = [
        "webPageStackMenu",
        "notifications",
        "deviceView",
        "nightMode",
        "webPageFullScreen",
        "search",
        "showRealNames",
        "sort",
        "deskAspectRatio",
        "viewsize",
        "DeskControl",
        "uiMode",
        "footerBar",
        "loctag",
        "theme",
        "lastThemes",
        "uiViewMode",
    ];
    const DESKTOP: [&str; 19] = [
        "encoding",
        "showfocus",
        "showmouse",
        "quality",
        "scaling",
        "framerate",
        "agentencoding",
        "swapmouse",
        "rmw",
        "remotekeymap",
        "autoclipboard",
        "autolock",
        "localkeymap",
        "kvmrmw",
        "rdpsize",
        "rdpsmb",
        "rdprmw",
        "rdpautoclipboard",
        "rdpflags",
    ];
    /// Texts and the bytes each must stay below.
    const TEXTS: [(&str, usize); 4] = [
        ("stars", 2048),
        ("deskKeyShortcuts", 2048),
        ("deskStrings", 10_000),
        ("runopt", STATE_MAX),
    ];
    let state: Map<String, Value> = serde_json::from_str(text).ok()?;
    let mut kept = plain_members(&state, &PLAIN, 64);
    for (name, max) in TEXTS {
        if let Some(text) = state.get(name).and_then(Value::as_str).filter(|t| t.len() < max) {
            kept.insert(name.to_owned(), text.into());
        }
    }
    // A text with JSON in it, or the object itself; always kept as the text.
    let desktop = match state.get("desktopsettings") {
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        Some(Value::Object(object)) => Some(object.clone()),
        _ => None,
    };
    if let Some(desktop) = desktop {
        let desktop = Value::Object(plain_members(&desktop, &DESKTOP, 32));
        kept.insert("desktopsettings".to_owned(), desktop.to_string().into());
    }
    Some(Value::Object(kept).to_string())
}

/// The members of these names that are numbers, booleans, or texts of less than `max` bytes.
fn plain_members(object: &Map<String, Value>, names: &[&str], max: usize) -> Map<String, Value> {
    let is_plain = |value: &Value| match value {
        Value::Number(_) | Value::Bool(_) => true,
        Value::String(text) => text.len() < max,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    let known = |name: &&str| Some(((*name).to_owned(), object.get(*name)?.clone()));
    order::gather(names.iter().filter_map(known).filter(|(_, value)| is_plain(value)))
}

/// `changemeshnotify`: of what on a group's devices the user wants to be told.
pub(super) fn notify_of_group(call: &Call, on: OnGroup) -> Answer<'_> {
    let Some(bits) = notify_bits(call) else {
        return call.result("Invalid notification flags");
    };
    if is_locked(call) {
        return Answer::none();
    }
    let target = LinkTarget::Group(on.group.id.clone());
    let mut user = (*call.user).clone();
    match user.links.iter_mut().find(|link| link.to == target) {
        Some(link) => {
            link.notify = bits;
            set_notify(call, &mut user, target, 0);
        }
        // The right comes through a user group.
        None => set_notify(call, &mut user, target, bits),
    }
    let name = &on.group.name;
    call.audit(format_args!("wants to be told of {bits:#x} on device group {name:?}"));
    change(call, user, |event| {
        event.with("msgid", 73).with("msg", "Device group notification changed")
    })
}

/// `changeusernotify`: of what on a device the user wants to be told.
pub(super) fn notify_of_device(call: &Call, on: OnDevice) -> Answer<'_> {
    let Some(bits) = notify_bits(call) else {
        return call.result("Invalid notification flags");
    };
    let mut user = (*call.user).clone();
    set_notify(call, &mut user, LinkTarget::Device(on.device.id.clone()), bits);
    if is_locked(call) || user == *call.user {
        return Answer::none();
    }
    let name = &on.device.name;
    call.audit(format_args!("wants to be told of {bits:#x} on device {name:?}"));
    change(call, user, |event| event.with("msgid", 130).with("msg", "User notifications changed"))
}

fn notify_bits(call: &Call) -> Option<u32> {
    call.request.number("notify").map(|bits| bits & NOTIFY_BITS)
}

/// Sets the bits for something, and forgets those for what is there no more: the list is never
/// longer than what there is.
fn set_notify(call: &Call, user: &mut User, target: LinkTarget, bits: u32) {
    let store = &call.hub().store;
    user.notify.retain(|(known, _)| {
        *known != target
            && match known {
                LinkTarget::Group(id) => store.group(id).is_some(),
                LinkTarget::Device(id) => store.device(id).is_some(),
                LinkTarget::UserGroup(_) => false,
            }
    });
    if bits != 0 {
        user.notify.push((target, bits));
    }
}

/// Whether the user may not change own settings.
fn is_locked(call: &Call) -> bool {
    let is_locked = call.user.site.restricted(SiteRights::LOCK_SETTINGS);
    if is_locked {
        call.audit_refusal();
    }
    is_locked
}

fn numbered_change(call: &Call, user: User, number: u32, msg: String) -> Answer<'static> {
    let name = user.name.clone();
    change(call, user, |event| {
        event.with("msgid", number).with("msgArgs", json!([name])).with("msg", msg)
    })
}

/// Stores the account and tells everybody concerned.
fn change(call: &Call, user: User, tell: impl FnOnce(Event) -> Event) -> Answer<'static> {
    let event = tell(call.account_change(&user));
    let commit = call.put_user(user);
    call.hub().publish(event);
    Answer::none().after(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_the_web_page_keeps_what_the_page_knows() {
        for (state, kept) in [
            (
                r#"{"nightMode":"1","evil":"x","stars":"{}"}"#,
                Some(r#"{"nightMode":"1","stars":"{}"}"#),
            ),
            (
                r#"{"sort":2,"theme":["a"],"search":{"a":1},"uiMode":true}"#,
                Some(r#"{"sort":2,"uiMode":true}"#),
            ),
            (
                r#"{"desktopsettings":"{\"quality\":50,\"evil\":1}"}"#,
                Some(r#"{"desktopsettings":"{\"quality\":50}"}"#),
            ),
            (
                r#"{"desktopsettings":{"encoding":1}}"#,
                Some(r#"{"desktopsettings":"{\"encoding\":1}"}"#),
            ),
            (r#"{"desktopsettings":"{"}"#, Some("{}")),
            ("[]", None),
            ("{", None),
            ("null", None),
        ] {
            assert_eq!(filtered_state(state).as_deref(), kept, "{state}");
        }
        let long = format!(r#"{{"search":"{}"}}"#, "x".repeat(64));
        assert_eq!(filtered_state(&long).as_deref(), Some("{}"));
    }
}
