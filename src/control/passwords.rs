//! Changing passwords, and what that ends.
//!
//! Whoever had the old password may be in already, by a session, a cookie or a remembered device.
//! So a change of the password, like the loss of a second factor, ends all of these; only the
//! session that asked for it goes on.

use std::net::IpAddr;
use std::rc::Rc;

use serde_json::json;

use super::notify;
use super::password_rules::{self, Broken};
use crate::hub::{Hub, SessionLink};
use crate::identity::password::{self, Busy, Passwords, Verdict};
use crate::model::{Event, EventKind, Factors, Millis, PasswordHash, Target, User, UserId};
use crate::store::Commit;

/// Longest hint in characters.
const HINT_MAX: usize = 250;

/// What somebody wants their password to be.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    /// Whose.
    pub user: &'a UserId,
    /// Where they are, for the journal.
    pub from: IpAddr,
    /// The password until now.
    pub old: &'a str,
    /// The new one.
    pub new: &'a str,
    /// What to remember it by, if the domain keeps hints.
    pub hint: Option<&'a str>,
}

/// Why a password was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotChanged {
    /// There is no such account any more.
    Gone,
    /// The old password is wrong.
    WrongOld,
    /// The new one breaks a rule.
    Broken(Broken),
    /// The new one is the old one, or was one before.
    UsedBefore,
    /// Too many passwords are being computed, or there is no memory or randomness for this one.
    Busy,
}

impl From<Busy> for NotChanged {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

/// Changes the password of the account that asks. Its other sessions, login cookies and remembered
/// devices end; `keep` goes on. The change is in force when this returns, and on disk when the
/// commits are.
pub async fn change(
    hub: &Hub,
    passwords: &Passwords,
    wish: Wish<'_>,
    keep: Option<&SessionLink>,
) -> Result<[Commit; 2], NotChanged> {
    let user = hub.store.user(wish.user).ok_or(NotChanged::Gone)?;
    if passwords.verify(&user.password, wish.old).await? == Verdict::Wrong {
        return Err(NotChanged::WrongOld);
    }
    let config = hub.config();
    let domain = config.domain(&user.id.domain);
    password_rules::check(domain, wish.new).map_err(NotChanged::Broken)?;
    if wish.new == wish.old {
        return Err(NotChanged::UsedBefore);
    }
    let rules = &domain.passwords;
    let known = hub.store.factors(&user.id);
    let past = known.iter().flat_map(|factors| &factors.past_passwords).take(rules.old_ban);
    for former in past {
        if passwords.verify(former, wish.new).await? != Verdict::Wrong {
            return Err(NotChanged::UsedBefore);
        }
    }
    let hash = passwords.hash(wish.new).await?;
    // The account may have changed while all this was computed.
    let current = hub.store.user(wish.user).ok_or(NotChanged::Gone)?;
    if hash == PasswordHash::None || current.password != user.password {
        return Err(NotChanged::Busy);
    }
    let mut factors = factors_of(hub, &user.id);
    factors.past_passwords.insert(0, current.password.clone());
    factors.past_passwords.truncate(rules.old_ban);
    factors.password_hint = wish.hint.filter(|_| rules.hint).and_then(hint);
    let mut changed = (*current).clone();
    changed.password = hash;
    changed.password_changed = Some(hub.now().seconds());
    let commits = [hub.store.put(factors), end_other_logins(hub, changed.clone(), keep)];
    let id = &changed.id;
    hub.publish(
        Event::new("accountchange", id.domain.clone())
            .kind(EventKind::User)
            .actor(id)
            .to(Target::All)
            .to(Target::AccountManagers)
            .with("account", hub.account_document(&changed))
            .with("msgid", 74)
            .with("msgArgs", json!([changed.name]))
            .with("msg", format!("Account password changed: {}", changed.name)),
    );
    log::info!("control: {id} from {} changed its password", wish.from.to_canonical());
    Ok(commits)
}

/// A hint as it is kept; the empty one is none.
pub(super) fn hint(text: &str) -> Option<String> {
    Some(text.chars().take(HINT_MAX).collect()).filter(|hint: &String| !hint.is_empty())
}

/// What an account has besides its password, to be changed and put back.
pub(super) fn factors_of(hub: &Hub, user: &UserId) -> Factors {
    let kept = hub.store.factors(user);
    kept.map_or_else(|| Factors::new(user.clone()), Rc::unwrap_or_clone)
}

/// Stores `user` so that nothing that began before now speaks for it any more: sessions, login
/// cookies, remembered devices. Only `keep`, the session that wants it so, goes on.
pub fn end_other_logins(hub: &Hub, mut user: User, keep: Option<&SessionLink>) -> Commit {
    let id = user.id.clone();
    // What began in this very millisecond began before.
    let from = Millis(hub.now().0 + 1);
    user.valid_from = Some(from);
    if let Some(session) = keep.filter(|session| session.id.user == id) {
        session.since.set(from);
    }
    let commit = hub.store.put(user);
    notify::account_changed(hub, &id);
    commit
}

/// A hash of `password` for an account that somebody else sets it for.
pub(super) async fn hash(
    passwords: &Passwords,
    password: &str,
) -> Result<PasswordHash, password::Busy> {
    match passwords.hash(password).await? {
        PasswordHash::None => Err(Busy),
        hash => Ok(hash),
    }
}
