//! Administration by the machine's owner: the commands of the command line.
//!
//! One JSON line asks, one JSON line answers. [`execute`] is the only place where a command has an
//! effect; the running server calls it for its socket ([`socket`]), and the command line calls it
//! itself when no server runs and it holds the lock of the data folder.

mod accounts;
mod amt;
mod groups;
mod report;
pub mod socket;

use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::control::login_secret;
use crate::hub::Hub;
use crate::hub::amt_login::Setup;
use crate::hub::journal::Attempt;
use crate::identity::password::Passwords;
use crate::model::{DomainId, UserId};

pub use accounts::AccountLine;
pub use groups::GroupLine;
pub use report::{Memory, Ports, Status, StoreState};

/// What is asked. Names are as a person types them; `domain` is empty for the default domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// How the server is.
    Status,
    /// Makes an account.
    UserAdd {
        /// Tenant.
        domain: String,
        /// Name of the account.
        name: String,
        /// Its password.
        password: Password,
        /// With full rights on the server.
        admin: bool,
    },
    /// Lists accounts.
    UserList {
        /// Tenant.
        domain: String,
    },
    /// Removes an account and ends its sessions.
    UserRemove {
        /// Tenant.
        domain: String,
        /// Name of the account.
        name: String,
    },
    /// Sets a password.
    UserPassword {
        /// Tenant.
        domain: String,
        /// Name of the account.
        name: String,
        /// The new password.
        password: Password,
        /// Takes the second factors away as well: for who lost them.
        #[serde(default)]
        without_factors: bool,
    },
    /// Gives or takes full rights on the server.
    UserAdmin {
        /// Tenant.
        domain: String,
        /// Name of the account.
        name: String,
        /// Give, or take.
        admin: bool,
    },
    /// Makes a device group for devices with an agent.
    GroupAdd {
        /// Tenant.
        domain: String,
        /// Display name.
        name: String,
        /// Who gets full rights on it; all full administrators if nobody is named.
        user: Option<String>,
    },
    /// Lists device groups.
    GroupList {
        /// Tenant.
        domain: String,
    },
    /// The key with which programs make login cookies.
    LoginKey,
    /// The agent package on disk has changed.
    ReloadAgents,
    /// A backup is about to be made: everything is to be on disk.
    Save,
    /// The last connections of Intel AMT.
    MpsJournal {
        /// Beginning of the address; empty for any.
        address: String,
        /// UUID of the computer; empty for any.
        uuid: String,
    },
    /// What to enter into the firmware of a computer.
    MpsSetup {
        /// Tenant.
        domain: String,
        /// Name or id of its group.
        group: String,
    },
    /// Sets the firmware of a device back to the state of the factory.
    AmtDeactivate {
        /// Tenant.
        domain: String,
        /// Name or id of the device.
        device: String,
    },
    /// A script that enters it.
    MpsScript {
        /// Tenant.
        domain: String,
        /// Name or id of the group.
        group: String,
    },
}

/// A password of 1 to 256 characters; never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Password(String);

impl Password {
    /// Longest password in characters.
    pub const MAX: usize = 256;

    /// Takes a password as typed; blanks count.
    pub fn new(text: String) -> Result<Self, &'static str> {
        if (1..=Self::MAX).contains(&text.chars().count()) {
            Ok(Self(text))
        } else {
            Err("a password has 1 to 256 characters")
        }
    }
}

impl TryFrom<String> for Password {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<Password> for String {
    fn from(password: Password) -> Self {
        password.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It was done, or here it is.
    Done(Answer),
    /// It was not done; a sentence for the person who asked.
    Refused(String),
}

/// What was done or asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The account, as it is now.
    Account(AccountLine),
    /// Accounts, by name.
    Accounts(Vec<AccountLine>),
    /// The account of this id is gone.
    Removed(String),
    /// The new group.
    Group(GroupLine),
    /// Groups, by name.
    Groups(Vec<GroupLine>),
    /// How the server is.
    Status(Box<Status>),
    /// 80 bytes in hexadecimal, as `meshctrl --loginkey` takes them.
    LoginKey(String),
    /// The agent package was loaded again.
    Reloaded,
    /// Everything is on disk.
    Saved,
    /// Connections, newest first.
    MpsJournal(Vec<Attempt>),
    /// What to enter.
    MpsSetup(Setup),
    /// The script, as a file.
    MpsScript(String),
    /// The device whose firmware is in the state of the factory now.
    AmtDeactivated(String),
}

/// What commands work on.
pub struct AdminContext {
    /// Records, sessions, agents.
    pub hub: Rc<Hub>,
    /// Who computes passwords.
    pub passwords: Passwords,
    /// The data folder.
    pub data: PathBuf,
    /// What only a running server has.
    pub live: Option<Live>,
}

/// What only a running server has.
pub struct Live {
    /// Ports it listens on.
    pub ports: Ports,
    /// Loads the agent package again.
    pub reload_agents: Reload,
    /// Speaks with firmware.
    pub amt: Rc<crate::amt::room::Room>,
}

/// An action of the running server that takes a moment.
pub type Reload = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()>>>>;

/// Does what is asked. Changes are on disk before they are acknowledged.
pub async fn execute(ctx: &AdminContext, request: Request) -> Reply {
    match answer(ctx, request).await {
        Ok(answer) => Reply::Done(answer),
        Err(why) => Reply::Refused(why),
    }
}

/// The error is the sentence for the person who asked.
async fn answer(ctx: &AdminContext, request: Request) -> Result<Answer, String> {
    match request {
        Request::Status => Ok(Answer::Status(Box::new(report::status(ctx).await))),
        Request::UserAdd { domain, name, password, admin } => {
            accounts::add(ctx, &domain, &name, password, admin).await
        }
        Request::UserList { domain } => accounts::list(ctx, &domain),
        Request::UserRemove { domain, name } => accounts::remove(ctx, &domain, &name).await,
        Request::UserPassword { domain, name, password, without_factors } => {
            accounts::set_password(ctx, &domain, &name, password, without_factors).await
        }
        Request::UserAdmin { domain, name, admin } => {
            accounts::set_admin(ctx, &domain, &name, admin).await
        }
        Request::GroupAdd { domain, name, user } => {
            groups::add(ctx, &domain, &name, user.as_deref()).await
        }
        Request::GroupList { domain } => groups::list(ctx, &domain),
        Request::LoginKey => {
            let secret = login_secret(&ctx.hub.store).ok_or("no random numbers")?;
            Ok(Answer::LoginKey(data_encoding::HEXLOWER.encode(&secret.bytes)))
        }
        Request::ReloadAgents => {
            if let Some(live) = &ctx.live {
                (live.reload_agents)().await;
            }
            Ok(Answer::Reloaded)
        }
        Request::Save => {
            ctx.hub.store.save().await.map_err(|error| error.to_string())?;
            Ok(Answer::Saved)
        }
        Request::MpsJournal { address, uuid } => amt::journal(ctx, &address, &uuid),
        Request::MpsSetup { domain, group } => {
            amt::setup(ctx, &domain, &group).await.map(Answer::MpsSetup)
        }
        Request::AmtDeactivate { domain, device } => amt::deactivate(ctx, &domain, &device).await,
        Request::MpsScript { domain, group } => amt::script(ctx, &domain, &group).await,
    }
}

/// A configured domain.
fn domain(ctx: &AdminContext, text: &str) -> Result<DomainId, String> {
    let id = DomainId::new(text).map_err(|e| e.to_string())?;
    if ctx.hub.config().domains.contains_key(&id) {
        Ok(id)
    } else {
        Err(format!("there is no domain {text:?} in config.json"))
    }
}

fn user_id(domain: &DomainId, name: &str) -> Result<UserId, String> {
    UserId::new(domain.clone(), name).map_err(|_| {
        "a user name has 1 to 256 characters, no blanks, none of \" , / and no ~ at its start"
            .to_owned()
    })
}

#[cfg(test)]
mod tests;
