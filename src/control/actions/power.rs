//! Waking devices and switching them off.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::model::{Device, EventKind, Rights};
use crate::store::DetailKind;

use super::super::request::Request;
use super::device_reports::interfaces;
use super::{Answer, Call, Choice};

/// Most hardware addresses sent in one wake request.
const MACS_MAX: usize = 64;

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

/// `wakedevices`: agents near the sleeping device send wake-on-LAN packets. One device is answered
/// with what was done, several with "ok" each.
pub(super) fn wake(call: &Call, devices: Vec<Choice>) -> Answer<'_> {
    Answer::later(async move {
        let is_single = devices.len() == 1;
        let mut answer = Answer::none();
        for choice in devices {
            let text = match choice {
                Choice::Granted(on) => wake_one(call, &on.device).await,
                Choice::Denied | Choice::Unknown => "Invalid nodeid".to_owned(),
            };
            let result = if is_single { text.as_str() } else { "ok" };
            answer = answer.and(call.answer(json!({"result": result})));
        }
        answer
    })
}

async fn wake_one(call: &Call, device: &Device) -> String {
    let hub = call.hub();
    let event = call
        .event("wakedevices", EventKind::Node)
        .to(crate::model::Target::All)
        .with("nodeids", json!([device.id.to_string()]));
    hub.publish(crate::model::Event { kind: None, ..event.transient() });
    let Some(detail) = hub.store.detail(&device.id, DetailKind::Network).await else {
        return "No network information for this device".to_owned();
    };
    let macs = interfaces(&detail).map(|text| macs(text.get())).unwrap_or_default();
    if macs.is_empty() {
        return "No known MAC addresses for this device".to_owned();
    }
    let message = json!({"action": "wakeonlan", "macs": macs});
    let mut used = 0;
    for agent in hub.agents() {
        // Only agents of devices this user may wake: nobody uses other people's machines.
        let Some(other) = hub.store.device(&agent.node) else { continue };
        let rights = hub.rights_on_device(&call.user, &other);
        if rights.allows(Rights::WAKE) && call.send_to_agent(&other, &message) {
            used += 1;
        }
    }
    call.audit(format_args!("woke {:?} ({}) through {used} devices", device.name, device.id));
    format!("Used {used} device(s) to send wake packets")
}

/// The hardware addresses in a `netif2` object: lists of addresses by interface.
fn macs(netif2: &str) -> BTreeSet<String> {
    let interfaces: Value = serde_json::from_str(netif2).unwrap_or_default();
    let lists = interfaces.as_object().into_iter().flat_map(|map| map.values());
    lists
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|address| address.get("mac")?.as_str())
        .filter(|mac| is_mac(mac))
        .map(str::to_owned)
        .take(MACS_MAX)
        .collect()
}

/// Six hexadecimal pairs, not all zero.
fn is_mac(text: &str) -> bool {
    let pairs: Vec<_> = text.split(':').collect();
    pairs.len() == 6
        && pairs.iter().all(|pair| pair.len() == 2 && u8::from_str_radix(pair, 16).is_ok())
        && pairs.iter().any(|pair| *pair != "00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_packets_go_to_real_hardware_addresses_only() {
        let netif2 = r#"{"lo":[{"mac":"00:00:00:00:00:00"}],"eth0":[{"mac":"02:FC:00:00:00:01"},
            {"mac":"02:FC:00:00:00:01"}],"x":[{"mac":"gg:00:00:00:00:01"},{"mac":5},{}],"y":7}"#;
        assert_eq!(macs(netif2).into_iter().collect::<Vec<_>>(), ["02:FC:00:00:00:01"]);
        assert!(macs("nonsense").is_empty());
    }
}
