//! Notes on devices, groups and accounts, and an account's own.
//!
//! The id says what they are about: `node/…`, `mesh/…`, `user/…`; `puser/…` are the user's own,
//! whatever follows. Texts are as the client sent them, mostly URI-encoded.

use serde_json::json;

use crate::model::rights::Subject;
use crate::model::{Document, GroupId, Rights};
use crate::store::RecordKey;

use super::{Answer, Call, visible_account, visible_device};

/// `getNotes`: who sees a device reads its notes; a group's need the right to edit it.
pub(super) fn get(call: &Call) -> Answer<'_> {
    let Some((id, document)) = place(call, Rights::empty()) else { return Answer::none() };
    let notes = call.hub().store.document(&document);
    call.reply(json!({"id": id, "notes": notes.as_ref().map(|notes| notes.text.as_str())}))
}

/// `setNotes`: an empty text removes them.
pub(super) fn set(call: &Call) -> Answer<'_> {
    let Some((id, document)) = place(call, Rights::SET_NOTES) else { return Answer::none() };
    let text = call.request.text("notes").unwrap_or_default();
    if text.len() > Document::MAX {
        return Answer::none();
    }
    call.audit(format_args!("changed the notes on {id}"));
    let commit = match text.is_empty() {
        true => call.hub().store.remove(RecordKey::Document(document)),
        false => call.put(Document { id: document, text: text.to_owned() }),
    };
    Answer::none().after(commit)
}

/// The id of the request and that of the document it names, if the user has the right; `on_device`
/// is the one needed on a device.
fn place(call: &Call, on_device: Rights) -> Option<(&str, String)> {
    let id = call.request.text_within("id", 1, 1024)?;
    let domain = &call.user.id.domain;
    let document = match id.split_once('/')?.0 {
        "node" => {
            let on = visible_device(call, id)?;
            on.rights.allows(on_device).then(|| Document::note(&on.device.id.to_string()))
        }
        "mesh" => {
            let id = GroupId::parse_in(domain, id).ok()?;
            let group = call.hub().store.group(&id).filter(|group| group.deleted.is_none())?;
            let rights = call.hub().rights(&call.user, Subject::Group(&group.id));
            rights.allows(Rights::EDIT_GROUP).then(|| Document::note(&id.to_string()))
        }
        "user" => Some(Document::note(&visible_account(call, id)?.id.to_string())),
        "puser" => Some(Document::private_note(&call.user.id)),
        _ => None,
    };
    Some((id, document?))
}
