//! `amtset`: what somebody wants the firmware of a device to be like. Ours; `docs/amt.md` describes it.
//!
//! A request that is wrong in any part is refused whole, before the firmware hears of it. Passwords
//! are in none of the texts that are told or written down.

use serde_json::{Value, json};

use super::amt_device::{announce, result};
use super::{Answer, Call, OnDevice};
use crate::amt::activation::password;
use crate::amt::administrator;
use crate::amt::alarms::{self, Alarm};
use crate::amt::panel::{self, Features, Names};
use crate::amt::room::Room;
use crate::amt::users::{self, User};
use crate::amt::wsman::{Failure, Link};
use crate::control::request::Request;

/// One wish, whole and right.
enum Wish {
    Features(Features),
    Consent(u32),
    Clock,
    Names(Names),
    AddUser(User),
    ChangeUser(u32, User),
    RemoveUser(u32),
    AddAlarm(Alarm),
    RemoveAlarm(String),
    Password(String),
}

/// `amtset`: `what` and its members.
pub(super) fn set(call: &Call, on: OnDevice) -> Answer<'_> {
    let wish = match Wish::read(&call.request, call.hub().now().seconds().0) {
        Ok(wish) => wish,
        Err(why) => return call.result(why),
    };
    announce(call, &on.device, "amtset", call.request.text("what").unwrap_or_default());
    let Some(room) = call.amt() else { return Answer::none() };
    let (node, asked) = (on.device.id.clone(), room.clone());
    call.aside(&room, async move {
        let outcome = match asked.link(&node) {
            Ok(link) => {
                let outcome = wish.fulfil(&asked, &link).await;
                asked.remember(&link);
                outcome
            }
            Err(failure) => Err(failure),
        };
        json!({"nodeid": node.to_string(), "result": result(&outcome)})
    })
}

impl Wish {
    /// `now` are seconds since 1970.
    fn read(request: &Request, now: u64) -> Result<Self, &'static str> {
        let verb = request.text("verb").unwrap_or_default();
        let handle = || request.number("handle").ok_or("Invalid handle");
        let name = request.text("name").unwrap_or_default();
        Ok(match (request.text("what").unwrap_or_default(), verb) {
            ("features", _) => Self::Features(features(request)?),
            ("consent", _) => {
                let word = request.text("require").unwrap_or_default();
                let known = panel::REQUIRED.iter().find(|(known, _)| *known == word);
                Self::Consent(known.ok_or("Invalid require")?.1)
            }
            ("clock", _) => Self::Clock,
            ("name", _) => {
                let names = Names::new(request.text("hostname"), request.text("domain"));
                Self::Names(names.ok_or("Invalid name")?)
            }
            ("user", "add") => Self::AddUser(user(request)?),
            ("user", "change") => Self::ChangeUser(handle()?, user(request)?),
            ("user", "remove") => Self::RemoveUser(handle()?),
            ("alarm", "add") => {
                let seconds = |name: &str| request.get(name).and_then(Value::as_u64);
                let start = seconds("start").ok_or("Invalid start")?;
                let interval = match request.get("interval") {
                    Some(_) => seconds("interval").ok_or("Invalid interval")?,
                    None => 0,
                };
                let remove = request.is_true("remove");
                Self::AddAlarm(Alarm::new(name, start, interval, remove, now)?)
            }
            ("alarm", "remove") => Self::RemoveAlarm(name.to_owned()),
            ("admin", _) => {
                let pass = request.text("pass").filter(|pass| password::is_acceptable(pass));
                Self::Password(pass.ok_or(PASSWORD)?.to_owned())
            }
            ("user" | "alarm", _) => return Err("Invalid verb"),
            _ => return Err("Invalid what"),
        })
    }

    async fn fulfil(&self, room: &Room, link: &Link) -> Result<(), Failure> {
        match self {
            Self::Features(wanted) => panel::set_features(link, *wanted).await,
            Self::Consent(required) => panel::set_consent(link, *required).await,
            Self::Clock => panel::set_clock(link, || room.hub.now().seconds().0).await,
            Self::Names(names) => panel::set_names(link, names).await,
            Self::AddUser(user) => users::add(link, user).await,
            Self::ChangeUser(handle, user) => users::change(link, *handle, user).await,
            Self::RemoveUser(handle) => users::remove(link, *handle).await,
            Self::AddAlarm(alarm) => alarms::add(link, alarm).await,
            Self::RemoveAlarm(name) => alarms::remove(link, name).await,
            Self::Password(new) => administrator::change_password(room, link.node(), new).await,
        }
    }
}

/// What is there must be a bool, and something must be there.
fn features(request: &Request) -> Result<Features, &'static str> {
    let switch = |name| match request.get(name) {
        Some(value) => value.as_bool().map(Some).ok_or("Invalid features"),
        None => Ok(None),
    };
    let (serial, storage, desktop) = (switch("serial")?, switch("storage")?, switch("desktop")?);
    let wanted = Features { serial, storage, desktop };
    if wanted == Features::default() { Err("Invalid features") } else { Ok(wanted) }
}

/// What is there must be right; an empty password is none.
fn user(request: &Request) -> Result<User, &'static str> {
    let mut user = User::unchanged();
    if let Some(name) = request.get("name") {
        user = name.as_str().and_then(|name| user.named(name)).ok_or("Invalid name")?;
    }
    if let Some(pass) = request.get("pass").filter(|pass| **pass != json!("")) {
        user = pass.as_str().and_then(|pass| user.with_password(pass)).ok_or(PASSWORD)?;
    }
    if let Some(access) = request.get("access") {
        user = access.as_str().and_then(|word| user.from(word)).ok_or("Invalid access")?;
    }
    if let Some(realms) = request.get("realms") {
        let numbers: Option<Vec<_>> =
            realms.as_array().and_then(|all| all.iter().map(Value::as_u64).collect());
        user = numbers.and_then(|all| user.with_realms(&all)).ok_or("Invalid realms")?;
    }
    if let Some(enabled) = request.get("enabled") {
        user = user.enabled(enabled.as_bool().ok_or("Invalid enabled")?);
    }
    Ok(user)
}

const PASSWORD: &str = "The password needs 8 to 32 characters: a digit, a lower-case and an \
    upper-case letter, one other character, and none of : , \" in it";
