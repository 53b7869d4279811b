//! What the firmware of a device is asked and told: power, its next start, consent, what it knows.
//!
//! `amtread`, `amtboot` and `amtconsent` are ours; `docs/amt.md` describes them. Firmware takes
//! seconds, or never answers, so each of these is answered from a task of its own: the session goes
//! on meanwhile.

use std::rc::Rc;

use serde_json::{Value, json};

use super::{Answer, Call, OnDevice};
use crate::amt::recovery::Image;
use crate::amt::room::Room;
use crate::amt::wsman::{Failure, Link};
use crate::amt::{alarms, boot, changes, consent, inventory, logs, panel, power, users};
use crate::hub::TunnelKind;
use crate::model::{Device, Event, EventKind, NodeId};

const NO_AMT: &str = "Intel AMT is not managed by this server";

/// What is wished of power by `actiontype` less 300; `None` for what is no such wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Power(power::Wish),
    Start(boot::Target),
}

impl Wish {
    /// 2 on, 8 off, 10 reset; 11 to 16 start from the setup, the same with its picture on the serial
    /// line, and the network, switched on or started anew as it is needed.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            2 => Self::Power(power::Wish::On),
            8 => Self::Power(power::Wish::Off),
            10 => Self::Power(power::Wish::Reset),
            11 | 12 => Self::Start(boot::Target::Setup { serial: false }),
            13 | 14 => Self::Start(boot::Target::Setup { serial: true }),
            15 | 16 => Self::Start(boot::Target::Network),
            _ => return None,
        })
    }
}

/// Does it.
pub(super) async fn fulfil(room: &Rc<Room>, node: &NodeId, wish: Wish) -> Result<(), Failure> {
    let target = match wish {
        Wish::Power(wish) => return room.change_power(node, wish).await,
        Wish::Start(target) => target,
    };
    let link = room.link(node)?;
    room.ask_for_power(node)?;
    let started = boot::start(&link, &target).await;
    room.asked_for_power(&link, started.is_ok());
    started
}

/// `ok`, or why not.
pub(super) fn result(outcome: &Result<(), Failure>) -> String {
    match outcome {
        Ok(()) => "ok".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

/// `amtread`: `what` is one of [`READABLE`], or `changes`, for which no firmware is asked.
pub(super) fn read(call: &Call, on: OnDevice) -> Answer<'_> {
    if call.request.text("what") == Some("changes") {
        return Answer::later(async move {
            let value = changes::of(call.hub(), &on.device.id).await;
            let nodeid = on.device.id.to_string();
            call.reply(json!({"nodeid": nodeid, "what": "changes", "value": value}))
        });
    }
    let Some(room) = call.amt() else { return call.no_info(NO_AMT) };
    let wanted = call.request.text("what").unwrap_or_default();
    let Some(what) = READABLE.into_iter().find(|one| *one == wanted) else {
        return call.no_info("Invalid what");
    };
    let node = on.device.id.clone();
    let asked = room.clone();
    call.aside(&room, async move {
        let nodeid = node.to_string();
        let read = match asked.link(&node) {
            Ok(link) => {
                let read = value(&asked, &link, what).await;
                asked.remember(&link);
                read
            }
            Err(failure) => Err(failure),
        };
        match read {
            Ok(value) => json!({"nodeid": nodeid, "what": what, "value": value}),
            Err(failure) => json!({"nodeid": nodeid, "what": what, "result": failure.to_string()}),
        }
    })
}

/// What can be read of a firmware.
const READABLE: [&str; 11] = [
    "power",
    "consent",
    "settings",
    "hardware",
    "network",
    "software",
    "certificates",
    "users",
    "alarms",
    "events",
    "audit",
];

async fn value(room: &Room, link: &Link, what: &str) -> Result<Value, Failure> {
    Ok(match what {
        "settings" => {
            let tunnel = room.hub.amt_tunnel(link.node(), TunnelKind::Cira);
            panel::read(link, || room.hub.now().seconds().0, tunnel.is_some()).await?
        }
        "power" => {
            let power = power::read(link).await?;
            json!({"state": power.state, "offered": power.offered, "pwr": power.shown()})
        }
        "consent" => json!(consent::read(link).await?),
        "hardware" => inventory::hardware(link).await?,
        "network" => inventory::network(link).await?,
        "software" => inventory::software(link).await?,
        "certificates" => inventory::certificates(link).await?,
        "users" => users::list(link).await?,
        "alarms" => alarms::list(link).await?,
        "events" => json!(logs::events(link).await?),
        _ => json!(logs::audit(link).await?),
    })
}

/// `amtboot`: starts the computer from `target`.
pub(super) fn boot(call: &Call, on: OnDevice) -> Answer<'_> {
    let wanted = call.request.text("target").unwrap_or_default();
    let target = match wanted {
        "https" => {
            let image = call.request.text("url").and_then(Image::at);
            let Some(image) = image else { return call.result("Invalid url") };
            boot::Target::Https(image)
        }
        _ => match boot::Target::from_word(wanted) {
            Some(target) => target,
            None => return call.result("Invalid target"),
        },
    };
    announce(call, &on.device, "amtboot", wanted);
    let Some(room) = call.amt() else { return Answer::none() };
    let (node, asked) = (on.device.id.clone(), room.clone());
    call.aside(&room, async move {
        let outcome = fulfil(&asked, &node, Wish::Start(target)).await;
        json!({"nodeid": node.to_string(), "result": result(&outcome)})
    })
}

/// `amtconsent`: `verb` is `ask`, `give` with the `code` that was read out, or `end`. The answer
/// says how it stands then.
pub(super) fn consent(call: &Call, on: OnDevice) -> Answer<'_> {
    enum Verb {
        Ask,
        Give(u32),
        End,
    }
    let code = call.request.text("code").and_then(consent::code);
    let wanted = call.request.text("verb").unwrap_or_default();
    let verb = match (wanted, code) {
        ("ask", _) => Verb::Ask,
        ("give", Some(code)) => Verb::Give(code),
        ("give", None) => return call.result("Invalid code"),
        ("end", _) => Verb::End,
        _ => return call.result("Invalid verb"),
    };
    announce(call, &on.device, "amtconsent", wanted);
    let Some(room) = call.amt() else { return Answer::none() };
    let (node, asked) = (on.device.id.clone(), room.clone());
    call.aside(&room, async move {
        let done = async {
            let link = asked.link(&node)?;
            match verb {
                Verb::Ask => consent::ask(&link).await?,
                Verb::Give(code) => consent::give(&link, code).await?,
                Verb::End => consent::end(&link).await?,
            }
            consent::read(&link).await
        };
        let (outcome, stands) = match done.await {
            Ok(stands) => (Ok(()), Some(stands)),
            Err(failure) => (Err(failure), None),
        };
        json!({"nodeid": node.to_string(), "result": result(&outcome), "consent": stands})
    })
}

/// Tells who may see the device what is done with it, and the journal.
pub(super) fn announce(call: &Call, device: &Device, action: &'static str, what: &str) {
    let event = call.device_event(action, device).with("what", what);
    call.hub().publish(Event { kind: Some(EventKind::Node), ..event.transient() });
    call.audit(format_args!("{action} {what} on {:?} ({})", device.name, device.id));
}
