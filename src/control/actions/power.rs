//! Switching devices off and on.

use serde_json::json;

use crate::model::{Device, EventKind, Rights};

use super::super::request::Request;
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

/// `poweraction`: one answer per device. Unlike MeshCentral, which says "ok" to everybody, a device
/// on which the right is missing is answered so.
pub(super) fn power(call: &Call, devices: Vec<Choice>) -> Answer<'_> {
    let Some(kind) = call.request.number("actiontype") else { return Answer::none() };
    devices
        .into_iter()
        .map(|choice| match choice {
            Choice::Granted(on) => {
                switch(call, &on.device, kind);
                done(call, "ok")
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
