//! Whose files on the server a user may see, and how much may be kept there.

use std::rc::Rc;

use serde_json::{Map, json};

use crate::files::Drawer;
use crate::hub::{Hub, SessionMessage};
use crate::model::rights::Subject;
use crate::model::{GroupId, Rights, SessionId, SiteRights, User};
use crate::pool;

use super::Control;

/// The drawer of an id (`user/…` or `mesh/…`), if `user` may use it: the own one, or that of a group
/// with the right on it.
pub fn drawer(hub: &Hub, user: &User, id: &str) -> Option<Drawer> {
    if !user.site.allows(SiteRights::FILES) {
        return None;
    }
    if id == user.id.to_string() {
        return Some(Drawer::User(user.id.clone()));
    }
    let id: GroupId = id.parse().ok()?;
    let group = hub.store.group(&id).filter(|group| group.deleted.is_none())?;
    may_use(hub, user, &group.id).then_some(Drawer::Group(id))
}

fn may_use(hub: &Hub, user: &User, group: &GroupId) -> bool {
    hub.rights(user, Subject::Group(group)).allows(Rights::SERVER_FILES)
}

/// Bytes a drawer may hold; `None` as many as the disk takes. Full administrators have no limit.
pub fn quota(hub: &Hub, drawer: &Drawer) -> Option<u64> {
    let config = hub.config();
    match drawer {
        Drawer::User(id) => {
            let Some(user) = hub.store.user(id) else { return Some(0) };
            if user.site.is_full() {
                return None;
            }
            user.quota.or(config.domain(&id.domain).user_quota)
        }
        Drawer::Group(id) => config.domain(&id.domain).group_quota,
    }
}

/// The frame `files`: everything `user` may see. `None` where the server has no place for files.
pub(super) async fn tree(control: &Control, user: &User) -> Option<String> {
    let cabinet = control.premises()?.files.clone();
    let hub = &control.hub;
    let own = (user.id.clone(), quota(hub, &Drawer::User(user.id.clone())));
    let groups: Vec<_> = hub
        .store
        .groups(&user.id.domain)
        .into_iter()
        .filter(|group| may_use(hub, user, &group.id))
        .map(|group| {
            let most = quota(hub, &Drawer::Group(group.id.clone()));
            (group.id.clone(), group.name.clone(), most)
        })
        .collect();
    let read = move || {
        let mut drawers = Map::new();
        let (id, most) = own;
        if let Err(error) = cabinet.prepare(&id) {
            log::warn!("files of {id}: {error}");
        }
        let list = cabinet.list(&Drawer::User(id.clone()));
        let own = json!({"t": 1, "n": "My Files", "f": list, "maxbytes": most});
        drawers.insert(id.to_string(), own);
        for (id, name, most) in groups {
            let list = cabinet.list(&Drawer::Group(id.clone()));
            drawers.insert(id.to_string(), json!({"t": 4, "n": name, "f": list, "maxbytes": most}));
        }
        json!({"action": "files", "filetree": {"n": "Root", "f": drawers}}).to_string()
    };
    Some(pool::unblock(read).await)
}

/// Shows all sessions of `user` but one what there is now; returns the frame they got.
pub async fn tell_sessions(
    control: &Control,
    user: &User,
    but: Option<&SessionId>,
) -> Option<String> {
    let tree = tree(control, user).await?;
    let shared: Rc<str> = tree.as_str().into();
    for session in control.hub.sessions_of(&user.id) {
        if Some(&session.id) != but {
            // A session that does not read misses it, as it would miss an event.
            let _ = session.mailbox.push(SessionMessage::Text(shared.clone()));
        }
    }
    Some(tree)
}
