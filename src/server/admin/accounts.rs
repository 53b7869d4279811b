//! Accounts: add, list, remove, password, administrator.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{AdminContext, Answer, Password, domain, user_id};
use crate::hub::SessionMessage;
use crate::identity::password::Busy;
use crate::model::{
    DomainId, Event, EventKind, GroupId, LinkTarget, PasswordHash, Rights, Seconds, SiteRights,
    Target, User,
};
use crate::store::{Commit, RecordKey};

/// An account as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountLine {
    /// `user/<domain>/<name>`.
    pub id: String,
    /// The name as it was typed.
    pub name: String,
    /// Full rights on the server.
    pub admin: bool,
    /// Rights on the server, MeshCentral's bits.
    pub siteadmin: u32,
    /// Locked out.
    pub locked: bool,
    /// Device groups it has rights on.
    pub groups: usize,
    /// When it was made, seconds since 1970.
    pub created: Seconds,
    /// Last login, if there was one.
    pub login: Option<Seconds>,
}

impl AccountLine {
    fn of(user: &User) -> Self {
        let is_group = |target: &LinkTarget| matches!(target, LinkTarget::Group(_));
        Self {
            id: user.id.to_string(),
            name: user.name.clone(),
            admin: user.site.is_full(),
            siteadmin: user.site.bits(),
            locked: user.site.restricted(SiteRights::LOCKED),
            groups: user.links.iter().filter(|link| is_group(&link.to)).count(),
            created: user.created,
            login: user.login,
        }
    }
}

pub(super) async fn add(
    ctx: &AdminContext,
    domain_name: &str,
    name: &str,
    password: Password,
    admin: bool,
) -> Result<Answer, String> {
    let domain = domain(ctx, domain_name)?;
    let id = user_id(&domain, name)?;
    let exists = || ctx.hub.store.user(&id).is_some().then(|| format!("{id} exists already"));
    if let Some(refusal) = exists() {
        return Err(refusal);
    }
    let hash = hash(ctx, password).await?;
    // Somebody else may have made it while the hash was computed.
    if let Some(refusal) = exists() {
        return Err(refusal);
    }
    let mut user = User::new(id.clone(), name, hash, ctx.hub.now());
    if admin {
        user.site = SiteRights::FULL;
    }
    let event = event("accountcreate", &user)
        .with("account", ctx.hub.account_document(&user))
        .with("msgid", 64)
        .with("msgArgs", json!([name]))
        .with("msg", format!("Account created, username is {name}"));
    finish(ctx, user, event).await
}

pub(super) fn list(ctx: &AdminContext, domain_name: &str) -> Result<Answer, String> {
    let domain = domain(ctx, domain_name)?;
    let users = ctx.hub.store.users(&domain);
    Ok(Answer::Accounts(users.iter().map(|user| AccountLine::of(user)).collect()))
}

pub(super) async fn remove(
    ctx: &AdminContext,
    domain_name: &str,
    name: &str,
) -> Result<Answer, String> {
    let user = existing(ctx, &domain(ctx, domain_name)?, name)?;
    let commit = ctx.hub.store.remove(RecordKey::User(user.id.clone()));
    for session in ctx.hub.sessions_of(&user.id) {
        let _ = session.mailbox.push(SessionMessage::Stop("Account removed".into()));
        session.mailbox.close();
    }
    ctx.hub.publish(event("accountremove", &user).with("msgid", 63).with("msg", "Account removed"));
    log::info!("admin: removed {}", user.id);
    commit.await.map_err(|e| e.to_string())?;
    Ok(Answer::Removed(user.id.to_string()))
}

pub(super) async fn set_password(
    ctx: &AdminContext,
    domain_name: &str,
    name: &str,
    password: Password,
    without_factors: bool,
) -> Result<Answer, String> {
    let domain = domain(ctx, domain_name)?;
    existing(ctx, &domain, name)?;
    let hash = hash(ctx, password).await?;
    // As it is now, after the hash was computed.
    let mut user = User::clone(&*existing(ctx, &domain, name)?);
    user.password = hash;
    user.password_changed = Some(ctx.hub.now().seconds());
    // Whoever knew the old one may be in already.
    user.valid_from = Some(ctx.hub.now());
    if let Some(kept) = ctx.hub.store.factors(&user.id).filter(|_| without_factors) {
        // In front of the account in the same journal: on disk before it.
        ctx.hub.store.put(kept.without_factors()).later();
    }
    changed(ctx, user, 75, "Changed account credentials").await
}

pub(super) async fn set_admin(
    ctx: &AdminContext,
    domain_name: &str,
    name: &str,
    admin: bool,
) -> Result<Answer, String> {
    let mut user = User::clone(&*existing(ctx, &domain(ctx, domain_name)?, name)?);
    user.site = match (admin, user.site.is_full()) {
        (true, _) => SiteRights::FULL,
        (false, true) => SiteRights::empty(),
        (false, false) => user.site,
    };
    let message = format!("Account changed: {}", user.name);
    changed(ctx, user, 66, &message).await
}

fn existing(ctx: &AdminContext, domain: &DomainId, name: &str) -> Result<Rc<User>, String> {
    let id = user_id(domain, name)?;
    ctx.hub.store.user(&id).ok_or_else(|| format!("there is no account {id}"))
}

async fn hash(ctx: &AdminContext, password: Password) -> Result<PasswordHash, String> {
    let busy = |Busy| "too many passwords are being computed; try again".to_owned();
    match ctx.passwords.hash(&String::from(password)).await.map_err(busy)? {
        PasswordHash::None => Err("no memory or no randomness for a password hash".to_owned()),
        hash => Ok(hash),
    }
}

async fn changed(
    ctx: &AdminContext,
    user: User,
    number: u32,
    message: &str,
) -> Result<Answer, String> {
    let event = event("accountchange", &user)
        .with("account", ctx.hub.account_document(&user))
        .with("msgid", number)
        .with("msgArgs", json!([user.name]))
        .with("msg", message);
    finish(ctx, user, event).await
}

async fn finish(ctx: &AdminContext, user: User, event: Event) -> Result<Answer, String> {
    let line = AccountLine::of(&user);
    let commit = put(ctx, user);
    log::info!("admin: {} {}", event.action, line.id);
    ctx.hub.publish(event);
    commit.await.map_err(|e| e.to_string())?;
    Ok(Answer::Account(line))
}

/// Stores an account and puts it into effect for its sessions.
fn put(ctx: &AdminContext, user: User) -> Commit {
    let id = user.id.clone();
    let commit = ctx.hub.store.put(user);
    for session in ctx.hub.sessions_of(&id) {
        // A session whose mailbox is full looks at its account before each request anyway.
        let _ = session.mailbox.push(SessionMessage::AccountChanged);
    }
    commit
}

/// Gives an account full rights on a group.
pub(super) fn link(ctx: &AdminContext, user: &User, group: &GroupId) -> Commit {
    let mut user = user.clone();
    user.set_link(LinkTarget::Group(group.clone()), Some(Rights::FULL));
    let account = ctx.hub.account_document(&user);
    let event = event("accountchange", &user).with("account", account).transient();
    let commit = put(ctx, user);
    ctx.hub.publish(event);
    commit
}

/// An event about `user`. MeshCentral names the account itself here when nobody is logged in.
fn event(action: &'static str, user: &User) -> Event {
    Event::new(action, user.id.domain.clone())
        .kind(EventKind::User)
        .actor(&user.id)
        .to(Target::All)
        .to(Target::AccountManagers)
}
