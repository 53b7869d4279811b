//! Accounts that people make themselves: the first one of a fresh server, and, where the
//! configuration allows it, their own (`newAccounts`).
//!
//! Whoever comes first is not the owner: the first account needs a code that only somebody at the
//! console or journal can read. It is made once, kept until it is used, and of no use afterwards.

use std::rc::Rc;

use log::info;

use super::password_rules::{self, Broken};
use crate::hub::Hub;
use crate::identity::password::{Busy, Passwords};
use crate::identity::turns::Asker;
use crate::model::{
    DomainId, Event, EventKind, PasswordHash, Secret, SiteRights, Target, User, UserId,
};
use crate::store::{NotDurable, RecordKey};

/// Name of the secret that keeps the code.
const SETUP_CODE: &str = "SetupCode";
/// Random bytes in a code: 80 bits, written as 16 characters.
const CODE_LEN: usize = 10;

/// Why the first account was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// There are accounts already.
    Done,
    /// People may not register themselves here.
    Closed,
    /// There is such an account already.
    Taken,
    /// The domain has as many accounts as it may (`limits.maxUserAccounts`).
    Full,
    /// Not the code.
    WrongCode,
    /// Not a user name.
    InvalidName,
    /// The password breaks a rule of the domain.
    InvalidPassword(Broken),
    /// Too many passwords are being computed.
    Busy,
    /// The account is there but not on disk.
    NotDurable(NotDurable),
}

impl std::fmt::Display for SetupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done => f.write_str("the first account exists already"),
            Self::Closed => f.write_str("accounts are made by the administrator"),
            Self::Taken => f.write_str("there is an account of that name"),
            Self::Full => f.write_str("there are as many accounts as there may be"),
            Self::WrongCode => f.write_str("wrong setup code; the server prints it at start"),
            Self::InvalidName => f.write_str("invalid user name"),
            Self::InvalidPassword(broken) => broken.fmt(f),
            Self::Busy => f.write_str("too many passwords are being computed; try again"),
            Self::NotDurable(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SetupError {}

/// The code to print at start: `XXXX-XXXX-XXXX-XXXX`. `None` once there is an account, or without
/// randomness.
pub fn setup_code(hub: &Hub) -> Option<String> {
    if has_accounts(hub) {
        return None;
    }
    let kept = hub.store.secret(SETUP_CODE);
    let bytes = match kept {
        Some(secret) if secret.bytes.len() == CODE_LEN => secret.bytes.clone(),
        _ => {
            let mut bytes = vec![0; CODE_LEN];
            getrandom::fill(&mut bytes).ok()?;
            hub.store.put(Secret { name: SETUP_CODE.to_owned(), bytes: bytes.clone() }).later();
            bytes
        }
    };
    Some(written(&bytes))
}

fn written(bytes: &[u8]) -> String {
    let text = data_encoding::BASE32_NOPAD.encode(bytes);
    let quads: Vec<_> =
        text.as_bytes().chunks(4).map(|quad| String::from_utf8_lossy(quad)).collect();
    quads.join("-")
}

/// Makes the first account, a full administrator of the default domain. `code` may be written with
/// or without dashes, in either case.
pub async fn first_account(
    hub: &Rc<Hub>,
    passwords: &Passwords,
    code: &str,
    name: &str,
    password: &str,
) -> Result<UserId, SetupError> {
    check_code(hub, code)?;
    let id = UserId::new(DomainId::default(), name).map_err(|_| SetupError::InvalidName)?;
    let hash = hash(hub, passwords, &id.domain, password).await?;
    // Somebody else may have been quicker.
    if has_accounts(hub) {
        return Err(SetupError::Done);
    }
    let user = User { site: SiteRights::FULL, ..User::new(id.clone(), name, hash, hub.now()) };
    let commit = hub.store.put(user);
    hub.store.remove(RecordKey::Secret(SETUP_CODE.to_owned())).later();
    info!("setup: made the first account, {id}");
    commit.await.map_err(SetupError::NotDurable)?;
    Ok(id)
}

/// Makes an account for whoever asks, if `domain` lets people register themselves. It has the
/// rights of `newAccountsRights` and no device group.
pub async fn register(
    hub: &Rc<Hub>,
    passwords: &Passwords,
    domain: &DomainId,
    name: &str,
    password: &str,
) -> Result<UserId, SetupError> {
    let config = hub.config();
    let settings = config.domain(domain);
    // The first account of all needs the code.
    if !settings.new_accounts || !has_accounts(hub) {
        return Err(SetupError::Closed);
    }
    let id = UserId::new(domain.clone(), name).map_err(|_| SetupError::InvalidName)?;
    let hash = hash(hub, passwords, domain, password).await?;
    // Judged after the wait, so that two of a name cannot both pass.
    if hub.store.user(&id).is_some() {
        return Err(SetupError::Taken);
    }
    if settings.max_user_accounts.is_some_and(|max| hub.store.users(domain).len() >= max) {
        return Err(SetupError::Full);
    }
    let site = settings.new_account_rights;
    let user = User { site, ..User::new(id.clone(), name, hash, hub.now()) };
    let event = Event::new("accountcreate", domain.clone())
        .kind(EventKind::User)
        .with("account", hub.account_document(&user))
        .with("msgid", 64)
        .with("msgArgs", vec![name])
        .with("msg", format!("Account created, username is {name}"))
        .actor(&id)
        .to(Target::AccountManagers)
        .to(Target::All);
    let commit = hub.store.put(user);
    info!("register: {id} made an account");
    hub.publish(event);
    commit.await.map_err(SetupError::NotDurable)?;
    Ok(id)
}

async fn hash(
    hub: &Hub,
    passwords: &Passwords,
    domain: &DomainId,
    password: &str,
) -> Result<PasswordHash, SetupError> {
    let config = hub.config();
    password_rules::check(config.domain(domain), password).map_err(SetupError::InvalidPassword)?;
    let turn = passwords.turn(Asker::ANYBODY).await.map_err(|Busy| SetupError::Busy)?;
    match turn.hash(password).await {
        PasswordHash::None => Err(SetupError::Busy),
        hash => Ok(hash),
    }
}

fn check_code(hub: &Hub, code: &str) -> Result<(), SetupError> {
    let expected = setup_code(hub).ok_or(SetupError::Done)?;
    let plain = |text: &str| text.replace('-', "").trim().to_ascii_uppercase();
    let (given, expected) = (plain(code), plain(&expected));
    let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    // Comparing digests takes the same time wherever the texts differ.
    if digest(&given).as_ref() == digest(&expected).as_ref() {
        Ok(())
    } else {
        log::warn!("setup: wrong setup code");
        Err(SetupError::WrongCode)
    }
}

fn has_accounts(hub: &Hub) -> bool {
    hub.config().domains.keys().any(|domain| !hub.store.users(domain).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::model::Millis;
    use crate::store::Store;
    use futures_lite::future::block_on;

    fn hub() -> Rc<Hub> {
        Hub::new(Store::in_memory(), Config::default(), Millis(0))
    }

    #[test]
    fn the_first_account_needs_the_printed_code_and_is_made_once() {
        let (hub, passwords) = (hub(), Passwords::default());
        let code = setup_code(&hub).unwrap();
        assert_eq!(setup_code(&hub), Some(code.clone()), "the same after a restart");
        let make = |code: &str, name: &str, password: &str| {
            block_on(first_account(&hub, &passwords, code, name, password))
        };
        assert_eq!(make("AAAA-AAAA-AAAA-AAAA", "admin", "x"), Err(SetupError::WrongCode));
        assert_eq!(make("", "admin", "x"), Err(SetupError::WrongCode));
        assert_eq!(make(&code, "a b", "x"), Err(SetupError::InvalidName));
        assert_eq!(make(&code, "admin", ""), Err(SetupError::InvalidPassword(Broken::Short(1))));
        let sloppy = code.replace('-', "").to_lowercase();
        let id = make(&sloppy, "Admin", "x").unwrap();
        assert!(hub.store.user(&id).unwrap().site.is_full());
        assert_eq!(hub.store.secret(SETUP_CODE), None);
        assert_eq!(setup_code(&hub), None);
        assert_eq!(make(&code, "second", "x"), Err(SetupError::Done));
    }

    #[test]
    fn people_register_themselves_only_where_they_may() {
        let mut config = Config::default();
        let domain = DomainId::default();
        let settings = config.domains.get_mut(&domain).unwrap();
        settings.max_user_accounts = Some(2);
        settings.new_account_rights = SiteRights::FILES;
        let hub = Hub::new(Store::in_memory(), config.clone(), Millis(0));
        let passwords = Passwords::default();
        let register = |name: &str| {
            let (hub, passwords, name) = (hub.clone(), passwords.clone(), name.to_owned());
            block_on(async move {
                register(&hub, &passwords, &DomainId::default(), &name, "secret").await
            })
        };
        assert_eq!(register("bob"), Err(SetupError::Closed));
        config.domains.get_mut(&domain).unwrap().new_accounts = true;
        hub.set_config(config);
        assert_eq!(register("bob"), Err(SetupError::Closed), "the first account needs the code");
        let admin = UserId::new(domain, "admin").unwrap();
        hub.store.put(User::new(admin, "admin", PasswordHash::None, Millis(0))).later();
        let bob = register("Bob").unwrap();
        assert_eq!(hub.store.user(&bob).unwrap().site, SiteRights::FILES);
        assert_eq!(register("bob"), Err(SetupError::Taken));
        assert_eq!(register("b b"), Err(SetupError::InvalidName));
        assert_eq!(register("carol"), Err(SetupError::Full));
    }
}
