//! What is known about a device beyond the list: network, hardware, everything at once.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::hub::Hub;
use crate::model::{Device, NodeId, Rights, order};
use crate::store::{Detail, DetailKind};

use super::{Answer, Call, OnDevice, device_csv};
use crate::hub::documents::to_value;

/// Bytes of text after which `getDeviceDetails` leaves hardware and network out.
const DETAILS_TEXT_MAX: usize = 16 << 20;

/// `getnetworkinfo`: the interfaces as the agent reported them.
pub(super) fn network(call: &Call, on: OnDevice) -> Answer<'_> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        nodeid: String,
        update_time: crate::model::Millis,
        netif2: &'a RawValue,
    }
    Answer::later(async move {
        let nodeid = on.device.id.to_string();
        let detail = call.hub().store.detail(&on.device.id, DetailKind::Network).await;
        match detail.as_ref().and_then(|detail| Some((detail, interfaces(detail)?))) {
            Some((detail, netif2)) => call.reply(Body { nodeid, update_time: detail.time, netif2 }),
            None => call.reply(json!({"nodeid": nodeid, "netif": null, "netif2": null})),
        }
    })
}

/// The `netif2` member of a stored netinfo message, or the whole if it is stored bare.
pub(super) fn interfaces(detail: &Detail) -> Option<&RawValue> {
    #[derive(serde::Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        netif2: Option<&'a RawValue>,
    }
    let message = serde_json::from_slice::<Message<'_>>(&detail.json).ok();
    match message.and_then(|message| message.netif2) {
        Some(netif2) => Some(netif2),
        None => serde_json::from_slice(&detail.json).ok(),
    }
}

/// `getsysinfo`: the hardware as the agent reported it; with `nodeinfo` also the device.
pub(super) fn system(call: &Call, on: OnDevice) -> Answer<'_> {
    Answer::later(async move {
        let detail = call.hub().store.detail(&on.device.id, DetailKind::System).await;
        let Some(mut body) = detail.and_then(|detail| object(&detail, on.rights)) else {
            return call.no_info(super::NO_DEVICE);
        };
        // The agent's words do not decide what this answer is.
        body.retain(|name, _| !matches!(name.as_str(), "action" | "tag" | "responseid" | "noinfo"));
        body.insert("nodeid".into(), on.device.id.to_string().into());
        if call.request.is_true("nodeinfo") {
            body.insert("node".into(), call.hub().device_document(&on.device));
            body.insert("rights".into(), on.rights.bits().into());
        }
        call.reply(body)
    })
}

/// A stored sysinfo document with the time it was stored. The keys of encrypted disks are for those
/// alone who have every right on the device.
fn object(detail: &Detail, rights: Rights) -> Option<Map<String, Value>> {
    let mut object: Map<String, Value> = serde_json::from_slice(&detail.json).ok()?;
    object.insert("time".into(), json!(detail.time));
    let volumes = object.get_mut("hardware").and_then(|v| v.pointer_mut("/windows/volumes"));
    if let (false, Some(volumes)) = (rights.is_full(), volumes) {
        let volumes: Box<dyn Iterator<Item = &mut Value>> = match volumes {
            Value::Object(named) => Box::new(named.values_mut()),
            Value::Array(list) => Box::new(list.iter_mut()),
            _ => Box::new(std::iter::empty()),
        };
        for volume in volumes.filter_map(Value::as_object_mut) {
            volume.remove("recoveryPassword");
        }
    }
    Some(object)
}

/// `getDeviceDetails`: everything about the devices named, or about all visible ones, as a text of
/// JSON or CSV inside the JSON.
pub(super) fn details(call: &Call) -> Answer<'_> {
    let kind = match call.request.text("type") {
        Some(kind @ ("json" | "csv")) => kind,
        _ => return Answer::none(),
    };
    let domain = &call.user.id.domain;
    let store = &call.hub().store;
    let mut devices: Vec<_> = match call.request.get("nodeids") {
        Some(_) => {
            let Some(ids) = call.request.texts("nodeids", 1024) else { return Answer::none() };
            let known = |id| store.device(&NodeId::parse_in(domain, id).ok()?);
            ids.into_iter().filter_map(known).collect()
        }
        None => store.devices(domain),
    };
    super::devices::retain_visible(call, &mut devices);
    Answer::later(async move {
        let mut data = String::from(if kind == "csv" { device_csv::HEADER } else { "[" });
        for device in devices {
            let rights = call.hub().rights_on_device(&call.user, &device);
            let room = data.len() < DETAILS_TEXT_MAX;
            let entry = everything(call.hub(), &device, rights, room).await;
            if kind == "csv" {
                device_csv::write(&mut data, &entry);
                continue;
            }
            if data.len() > 1 {
                data.push(',');
            }
            data.push_str(&entry.to_string());
        }
        if kind == "json" {
            data.push(']');
        }
        call.reply(json!({"data": data, "type": kind}))
    })
}

/// Everything known about a device that the rights allow to see; without hardware and network if
/// there is no room for them.
async fn everything(hub: &Hub, device: &Device, rights: Rights, room: bool) -> Value {
    let mut node = hub.connected_device_document(device);
    if let (Some(node), Some(group)) = (node.as_object_mut(), hub.store.group(&device.group)) {
        node.insert("groupname".into(), group.name.as_str().into());
    }
    let mut entry: Map<_, _> = order::gather([("node".to_owned(), node)]);
    if room && rights.allows(Rights::DEVICE_DETAILS) {
        if let Some(detail) = hub.store.detail(&device.id, DetailKind::Network).await {
            let netif2 = interfaces(&detail).map(|netif2| to_value(&netif2));
            entry.insert("net".into(), json!({"updateTime": detail.time, "netif2": netif2}));
        }
        let system = hub.store.detail(&device.id, DetailKind::System).await;
        if let Some(system) = system.and_then(|detail| object(&detail, rights)) {
            entry.insert("sys".into(), system.into());
        }
    }
    if let Some(seen) = hub.store.last_seen(&device.id) {
        entry.insert("lastConnect".into(), json!({"time": seen.time, "addr": seen.addr}));
    }
    Value::Object(entry)
}
