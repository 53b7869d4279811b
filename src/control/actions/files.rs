//! `files` and `fileoperation`: what people keep on the server.
//!
//! Who may keep files has the site right; of device groups the files are for those with the right
//! on the group. All disk work is done in the pool.

use std::sync::Arc;

use crate::files::{Cabinet, Drawer, FileError, Name, Place};
use crate::pool;

use super::super::folders;
use super::{Answer, Call};

/// Files shorter than this are sent and taken over the control channel.
const SHORT: u64 = 204_800;
/// Most names in one request.
const NAMES_MAX: usize = 1000;

/// `files`: everything the user may see.
pub(super) fn list(call: &Call) -> Answer<'_> {
    Answer::later(async move {
        let tree = folders::tree(call.control(), &call.user).await;
        Answer { frames: tree.into_iter().collect(), ..Answer::none() }
    })
}

/// A `path` of a request: the id of a drawer, then folders.
fn place(call: &Call, name: &str) -> Option<Place> {
    let path = call.request.texts(name, 4096)?;
    let (id, folders) = path.split_first()?;
    let folders = folders.iter().map(|text| Name::new(text)).collect::<Option<_>>()?;
    Some(Place { drawer: folders::drawer(call.hub(), &call.user, id)?, folders })
}

/// What a request wants to be done in a folder.
enum Operation {
    Make(Name),
    Delete(Vec<Name>, bool),
    Rename(Name, Name),
    Copy(Place, Vec<Name>),
    Move(Place, Vec<Name>),
    Get(Name),
    Set(Name, Vec<u8>),
}

impl Operation {
    fn read(call: &Call) -> Option<Self> {
        let request = &call.request;
        let name = |member| Name::new(request.text(member)?);
        let names = |member| {
            let names = request.texts(member, 4096)?;
            let names: Vec<_> = names.into_iter().filter_map(Name::new).take(NAMES_MAX).collect();
            (!names.is_empty()).then_some(names)
        };
        Some(match request.text("fileop")? {
            "createfolder" => Self::Make(name("newfolder")?),
            "delete" => Self::Delete(names("delfiles")?, request.is_true("rec")),
            "rename" => Self::Rename(name("oldname")?, name("newname")?),
            "copy" => Self::Copy(place(call, "scpath")?, names("names")?),
            "move" => Self::Move(place(call, "scpath")?, names("names")?),
            "get" => Self::Get(name("file")?),
            "set" => {
                let text = request.text("data")?;
                let plain = data_encoding::BASE64.decode(text.as_bytes()).ok();
                let unpadded =
                    || data_encoding::BASE64_NOPAD.decode(text.trim_end_matches('=').as_bytes());
                Self::Set(name("file")?, plain.or_else(|| unpadded().ok())?)
            }
            _ => return None,
        })
    }

    /// Does it; blocks. Each file is judged for itself; the first error is told to the log.
    fn perform(
        self,
        cabinet: &Cabinet,
        place: &Place,
        quota: Option<u64>,
    ) -> Result<Option<Vec<u8>>, FileError> {
        let each = |names: Vec<Name>, act: &dyn Fn(&Name) -> Result<(), FileError>| {
            names.iter().map(act).fold(Ok(()), Result::and)
        };
        match self {
            Self::Make(name) => cabinet.make_folder(place, &name)?,
            Self::Delete(names, all) => {
                let deleted = each(names, &|name| cabinet.delete(place, name, all));
                if matches!(place.drawer, Drawer::Group(_)) && place.folders.is_empty() {
                    cabinet.tidy(&place.drawer);
                }
                deleted?;
            }
            Self::Rename(old, new) => cabinet.rename(place, &old, &new)?,
            Self::Copy(from, names) => {
                each(names, &|name| cabinet.copy(&from, place, name, quota))?;
            }
            Self::Move(from, names) => {
                each(names, &|name| cabinet.shift(&from, place, name, quota))?;
            }
            Self::Get(name) => return cabinet.read_short(place, &name, SHORT).map(Some),
            Self::Set(name, content) => cabinet.write(place, &name, &content, quota)?,
        }
        Ok(None)
    }
}

/// `fileoperation`: changes files, then shows all sessions of the user what there is now; `get`
/// answers with the file instead.
pub(super) fn operate(call: &Call) -> Answer<'_> {
    let (Some(place), Some(operation)) = (place(call, "path"), Operation::read(call)) else {
        return Answer::none();
    };
    let Some(premises) = call.premises() else { return Answer::none() };
    Answer::later(async move {
        let quota = folders::quota(call.hub(), &place.drawer);
        let wanted = call.request.text("fileop").unwrap_or_default();
        let (cabinet, target) = (premises.files.clone(), Arc::new(place));
        let place = target.clone();
        let done = pool::unblock(move || operation.perform(&cabinet, &place, quota)).await;
        let notice = match done {
            Ok(Some(content)) => {
                let data = data_encoding::BASE64.encode(&content);
                return call.echo([("data", data.into())]);
            }
            Ok(None) => {
                call.audit(format_args!("did {wanted} in the files of {}", target.drawer));
                Answer::none()
            }
            Err(FileError::Full) if wanted != "get" => call.notice(
                "There is no room left for these files.",
                serde_json::json!({"title": "Disk quota exceed"}),
            ),
            Err(error) => {
                log::info!("control: {wanted} in the files of {}: {error}", target.drawer);
                Answer::none()
            }
        };
        let own = &call.session().id;
        let tree = folders::tell_sessions(call.control(), &call.user, Some(own)).await;
        notice.and(Answer { frames: tree.into_iter().collect(), ..Answer::none() })
    })
}
