//! Console commands about people: sessions, and networks that are kept out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::control::notify;
use crate::model::UserId;

use super::{Line, Reply, said};

/// The account a word names: an id, or a name of the administrator's own domain.
fn account(line: &Line<'_>, n: usize) -> Option<UserId> {
    let word = line.word(n)?;
    if word.contains('/') {
        word.parse().ok()
    } else {
        UserId::new(line.user.id.domain.clone(), word).ok()
    }
}

pub(super) fn sessions(line: &Line<'_>) -> Reply {
    let wanted = match line.word(0) {
        None => None,
        Some(_) => match account(line, 0) {
            Some(id) => Some(id),
            None => return said("None."),
        },
    };
    let mut by_user = BTreeMap::<UserId, Vec<String>>::new();
    for session in line.control.hub.sessions() {
        let user = &session.id.user;
        if wanted.as_ref().is_none_or(|wanted| wanted == user) {
            let address = session.remote.ip().to_canonical();
            let place = format!("    {address} --> {}\r\n", session.id);
            by_user.entry(user.clone()).or_default().push(place);
        }
    }
    let mut text = String::new();
    for (user, places) in by_user {
        let plural = if places.len() > 1 { "s" } else { "" };
        let _ = write!(text, "{user}, {} session{plural}.\r\n{}", places.len(), places.concat());
    }
    said(if text.is_empty() { "None.".to_owned() } else { text })
}

pub(super) fn close_sessions(line: &Line<'_>) -> Reply {
    let Some(id) = account(line, 0) else { return said("Usage: closeusersessions <username>") };
    let hub = &line.control.hub;
    let count = hub.sessions_of(&id).len();
    notify::end_sessions(hub, &id, "Administrator forced disconnection");
    let plural = if count == 1 { "" } else { "s" };
    said(format!("Closing user sessions for: {id}\r\nDisconnected {count} session{plural}."))
}

pub(super) fn bans(line: &Line<'_>) -> Reply {
    let hub = &line.control.hub;
    let Some(limit) = hub.config().settings.max_invalid_login else {
        return said("Bad login filter is disabled.");
    };
    let minutes = limit.time.as_secs() / 60;
    let mut text = format!("Max is {} bad login(s) in {minutes} minute(s).\r\n", limit.count);
    let now = hub.now();
    let bans = hub.store.bans();
    let mut in_force = bans.iter().filter(|ban| ban.until > now).peekable();
    if in_force.peek().is_none() {
        text.push_str("No bad logins.");
    }
    for ban in in_force {
        let minutes = ban.until.since(now).as_secs() / 60;
        let _ = write!(text, "{} - Cooloff for {minutes} minute(s)\r\n", ban.network);
    }
    said(text)
}
