//! Switching devices off and on.

use serde_json::json;

use crate::model::{Device, EventKind, Rights};

use super::super::request::Request;
use super::amt_device::{self, Wish};
use super::{Answer, Call, Choice};

/// `actiontype` of `poweraction`: 2 off, 3 reset, 4 sleep through the agent; 300 to 399 are Intel
/// AMT's own numbers plus 300; 400 and 401 flash and shake a phone.
const AMT_ON: u32 = 302;
const FLASH: u32 = 400;
const VIBRATE: u32 = 401;

/// The right `poweraction` needs.
pub(super) fn power_right(request: &Request) -> Rights {
    match request.number("actiontype") {
        Some(AMT_ON) => Rights::WAKE,
        Some(FLASH | VIBRATE) => Rights::REMOTE_CONTROL,
        _ => Rights::RESET_OFF,
    }
}

/// `poweraction`: one answer per device, which says what its firmware did if that was asked. Unlike MeshCentral, which says "ok" to everybody, a device
/// on which the right is missing is answered so.
pub(super) fn power(call: &Call, devices: Vec<Choice>) -> Answer<'_> {
    let Some(kind) = call.request.number("actiontype") else { return Answer::none() };
    devices
        .into_iter()
        .map(|choice| match choice {
            Choice::Granted(on) => {
                switch(call, &on.device, kind);
                by_firmware(call, &on.device, kind).unwrap_or_else(|| done(call, "ok"))
            }
            Choice::Denied => done(call, "Access denied"),
            Choice::Unknown => done(call, "Invalid nodeid"),
        })
        .collect()
}

/// Without a `responseid` the answer is the bare action.
fn done(call: &Call, result: &str) -> Answer<'static> {
    if call.responseid().is_some() { call.result(result) } else { call.answer(json!({})) }
}

/// Asks the firmware, which takes its time: the answer says what became of it.
fn by_firmware(call: &Call, device: &Device, kind: u32) -> Option<Answer<'static>> {
    let wish = Wish::from_number(kind.checked_sub(300)?)?;
    let room = call.amt()?;
    let (node, asked) = (device.id.clone(), room.clone());
    let is_answered = call.responseid().is_some();
    Some(call.aside(&room, async move {
        let outcome = amt_device::fulfil(&asked, &node, wish).await;
        let result = amt_device::result(&outcome);
        if is_answered { json!({ "result": result }) } else { json!({}) }
    }))
}

fn switch(call: &Call, device: &Device, kind: u32) {
    let sent = match kind {
        2..=4 => call.send_to_agent(
            device,
            &json!({
                "action": "poweraction",
                "actiontype": kind,
                "userid": call.user.id.to_string(),
                "username": call.user.name,
                "remoteaddr": call.remote(),
            }),
        ),
        AMT_ON | 308 | 310..=316 => {
            let event = call
                .event("amtpoweraction", EventKind::Node)
                .to(crate::model::Target::All)
                .with("nodeids", json!([device.id.to_string()]))
                .with("actiontype", kind - 300);
            call.hub().publish(crate::model::Event { kind: None, ..event.transient() });
            true
        }
        FLASH | VIBRATE => {
            let time = call.request.number("time").filter(|time| (1..=30_000).contains(time));
            time.is_some_and(|time| {
                let verb = if kind == FLASH { "flash" } else { "vibrate" };
                call.send_to_agent(
                    device,
                    &json!({
                        "action": "msg",
                        "type": "console",
                        "value": format!("{verb} {time}"),
                        "sessionid": call.session().id.to_string(),
                        "rights": Rights::FULL.bits(),
                    }),
                )
            })
        }
        _ => false,
    };
    if sent {
        call.audit(format_args!("power action {kind} on {:?} ({})", device.name, device.id));
    }
}
