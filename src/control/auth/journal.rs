//! A failed login: one line of the journal, one event of history.
//!
//! The line has a stable form, for intrusion filters (`systemd/fail2ban`): the address comes before
//! anything the client wrote, and what it wrote is quoted.

use log::warn;

use super::Attempt;
use crate::hub::Hub;
use crate::model::{Event, Target, UserId, text};

/// Longest name in a line, in characters.
const NAME_MAX: usize = 64;
/// Longest `User-Agent` in an event, in characters.
const AGENT_MAX: usize = 128;

/// What was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Name or password.
    Password,
    /// The second factor.
    Factor,
    /// The account is locked.
    Locked,
    /// The cookie.
    Cookie,
}

impl Failure {
    fn reason(self) -> &'static str {
        match self {
            Self::Password => "wrong name or password",
            Self::Factor => "wrong second factor",
            Self::Locked => "locked account",
            Self::Cookie => "invalid cookie",
        }
    }

    /// Number and text of the event.
    fn event(self) -> Option<(u32, &'static str)> {
        match self {
            Self::Password => Some((110, "Invalid user login attempt from")),
            Self::Factor => Some((108, "User login attempt with incorrect 2nd factor from")),
            Self::Locked => Some((109, "User login attempt on locked account from")),
            Self::Cookie => None,
        }
    }
}

/// Tells of a failed attempt at `account`.
pub(super) fn tell(hub: &Hub, attempt: &Attempt<'_>, account: Option<&UserId>, failure: Failure) {
    let ip = attempt.remote.ip().to_canonical();
    let name = match &*text::clamp(attempt.name, NAME_MAX) {
        "" => String::new(),
        name => format!(" for {name:?}"),
    };
    // A target of its own: the filter must not depend on where this file is.
    warn!(target: "meshboard::login", "login failed from {ip}: {}{name}", failure.reason());
    // A name without an account has nobody whose history it could go to.
    let account = account.filter(|id| hub.store.user(id).is_some());
    let (Some(id), Some((number, words))) = (account, failure.event()) else { return };
    let agent = text::clamp(attempt.agent.unwrap_or_default(), AGENT_MAX);
    hub.publish(
        Event::new("authfail", id.domain.clone())
            .actor(id)
            .to(Target::All)
            .to(Target::AccountManagers)
            .with("msgid", number)
            .with("msgArgs", vec![ip.to_string(), agent, String::new()])
            .with("msg", format!("{words} {ip}")),
    );
}
