//! Waking devices: magic packets from the server into its own network, and from agents into theirs.

use std::collections::BTreeSet;

use futures_lite::FutureExt as _;
use serde_json::{Value, json};

use crate::amt::lan::wake::Mac;
use crate::amt::power::Wish;
use crate::amt::reach;
use crate::amt::wsman::Failure;
use crate::config::Reach;
use crate::model::{Device, Event, EventKind, Rights, Target, order};
use crate::store::DetailKind;

use super::device_reports::interfaces;
use super::{Answer, Call, Choice};

/// Most hardware addresses woken at a time.
const MACS_MAX: usize = 64;

/// `wakedevices`: one device is answered with what was done, several with "ok" each. Unlike
/// MeshCentral, whoever may not wake a device is not announced as waking it.
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
        .to(Target::All)
        .with("nodeids", json!([device.id.to_string()]));
    hub.publish(Event { kind: None, ..event.transient() });
    switch_on(call, device);
    let Some(detail) = hub.store.detail(&device.id, DetailKind::Network).await else {
        return "No network information for this device".to_owned();
    };
    let macs = interfaces(&detail).map(|text| macs(text.get())).unwrap_or_default();
    if macs.is_empty() {
        return "No known MAC addresses for this device".to_owned();
    }
    if hub.config().settings.reach != Reach::Wan
        && let Some(lan) = call.lan()
    {
        lan.wake_up(&macs, device.host.as_ref().and_then(|host| host.parse().ok()));
    }
    let texts: Vec<_> = macs.iter().map(written).collect();
    let message = json!({"action": "wakeonlan", "macs": texts});
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

/// Firmware that is in reach switches its computer on; nobody waits for that.
fn switch_on(call: &Call, device: &Device) {
    let Some(room) = call.amt().filter(|room| reach::has_way(&room.hub, &device.id)) else {
        return;
    };
    let (node, asked) = (device.id.clone(), room.clone());
    let switching = async move {
        match asked.change_power(&node, Wish::On).await {
            Ok(()) | Err(Failure::NoCredentials) => {}
            Err(failure) => log::info!("waking {node}: {failure}"),
        }
    };
    room.executor.spawn(switching.boxed_local()).detach();
}

/// The hardware addresses in a `netif2` object: lists of addresses by interface.
fn macs(netif2: &str) -> BTreeSet<Mac> {
    let interfaces: Value = serde_json::from_str(netif2).unwrap_or_default();
    let lists = interfaces.as_object().into_iter().flat_map(|map| map.values());
    let macs = lists
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|address| parse(address.get("mac")?.as_str()?))
        .take(MACS_MAX);
    order::gather(macs)
}

/// Six hexadecimal pairs, not all zero.
fn parse(text: &str) -> Option<Mac> {
    let mut pairs = text.split(':');
    let mut mac = [0; 6];
    for byte in &mut mac {
        // The standard library would take `+2` for a number, too.
        let is_pair = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
        *byte = u8::from_str_radix(pairs.next().filter(is_pair)?, 16).ok()?;
    }
    (pairs.next().is_none() && mac != [0; 6]).then_some(mac)
}

fn written(mac: &Mac) -> String {
    let pairs: Vec<_> = mac.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETH0: Mac = [2, 0xfc, 0, 0, 0, 1];

    #[test]
    fn wake_packets_go_to_real_hardware_addresses_only() {
        let netif2 = r#"{"lo":[{"mac":"00:00:00:00:00:00"}],"eth0":[{"mac":"02:FC:00:00:00:01"},
            {"mac":"02:fc:00:00:00:01"}],"x":[{"mac":"gg:00:00:00:00:01"},{"mac":5},{},
            {"mac":"02:FC:00:00:00:01:02"},{"mac":"+2:FC:00:00:00:01"}],"y":7}"#;
        assert_eq!(macs(netif2).into_iter().collect::<Vec<_>>(), [ETH0]);
        assert_eq!(written(&ETH0), "02:FC:00:00:00:01");
        assert!(macs("nonsense").is_empty());
    }
}
