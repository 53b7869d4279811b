//! Devices that people add by hand: local ones without an agent, and Intel AMT ones.
//!
//! Whatever is wrong is answered as `changeDeviceMesh`: meshctrl knows these errors so.

use serde_json::{Map, Value, json};

use crate::config::Reach;
use crate::model::text::clamp;
use crate::model::{
    AgentFacts, AmtAccess, Device, Event, Group, GroupKind, Key48, Millis, NodeId, SiteRights,
};

use super::super::request::Request;
use super::device_edit::is_host;
use super::{Answer, Call, OnGroup};

/// Longest name and address in characters.
const NAME_MAX: usize = 256;
/// Longest Intel AMT user name and password in characters.
const AMT_MAX: usize = 16;
/// `type` of a local device: Windows, Linux, macOS, as kinds of agents.
const LOCAL_KINDS: [u32; 3] = [4, 6, 29];

/// `addlocaldevice`: a device the server or a relay device reaches in its own network.
pub(super) fn local(call: &Call, on: OnGroup) -> Answer<'_> {
    let kind = call.request.get("type").and_then(Value::as_u64);
    let kind = kind.and_then(|kind| u32::try_from(kind).ok()).unwrap_or_default();
    let judged = named(&call.request).and_then(|named| {
        if !LOCAL_KINDS.contains(&kind) {
            return Err("Invalid type");
        }
        if on.group.kind != GroupKind::Local {
            return Err("Local device agentless mesh only allowed");
        }
        may_add(call)?;
        Ok(named)
    });
    match judged.and_then(|named| device(call, &on.group, named)) {
        Ok(mut device) => {
            device.agent = Some(AgentFacts { id: kind, ..AgentFacts::default() });
            add(call, &on.group, device, None)
        }
        Err(text) => call.result_as(AS, text),
    }
}

const AS: &str = "changeDeviceMesh";

/// `addamtdevice`: a device that is managed by its Intel AMT.
pub(super) fn amt(call: &Call, on: OnGroup) -> Answer<'_> {
    if call.hub().config().settings.reach == Reach::Wan {
        return Answer::none();
    }
    let request = &call.request;
    let judged = named(request).and_then(|named| {
        let user = request.text_within("amtusername", 0, AMT_MAX).ok_or("Invalid amtusername")?;
        let pass = request.text_within("amtpassword", 0, AMT_MAX).ok_or("Invalid amtpassword")?;
        let tls = switch(request.get("amttls")).ok_or("Invalid amttls")?;
        if on.group.kind != GroupKind::Amt {
            return Err("Intel AMT agentless mesh only allowed");
        }
        may_add(call)?;
        Ok((named, user.to_owned(), pass.to_owned(), tls))
    });
    let made = judged.and_then(|(named, user, password, tls)| {
        let device = device(call, &on.group, named)?;
        Ok((AmtAccess::new(device.id.clone(), &user, &password, tls), device))
    });
    match made {
        Ok((access, mut device)) => {
            let known = known_of_amt(request);
            if !known.is_empty() {
                device.extra = vec![("intelamt".to_owned(), Value::Object(known).to_string())];
            }
            add(call, &on.group, device, Some(access))
        }
        Err(text) => call.result_as(AS, text),
    }
}

/// 0 or 1, also as a text.
fn switch(value: Option<&Value>) -> Option<bool> {
    match value? {
        Value::Number(n) => match n.as_u64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Value::String(text) => match &**text {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        },
        _ => None,
    }
}

/// What a scan found out about an Intel AMT, with the names it has in device documents.
fn known_of_amt(request: &Request) -> Map<String, Value> {
    let mut known = Map::new();
    if let Some(state) = request.number("state").filter(|state| *state <= 3) {
        known.insert("state".into(), state.into());
    }
    for (name, max) in [("ver", 16), ("hash", 256), ("realm", 256)] {
        if let Some(text) = request.text_within(name, 1, max) {
            known.insert(name.into(), clamp(text, max).into());
        }
    }
    known
}

/// Name and address of the new device.
fn named(request: &Request) -> Result<(String, String), &'static str> {
    let name = request.text_within("devicename", 1, NAME_MAX).map(|name| clamp(name, NAME_MAX));
    let name = name.filter(|name| !name.is_empty()).ok_or("Invalid devicename")?;
    let host = request.text_within("hostname", 1, NAME_MAX).filter(|host| is_host(host));
    Ok((name, host.ok_or("Invalid hostname")?.to_owned()))
}

pub(super) fn may_add(call: &Call) -> Result<(), &'static str> {
    if call.user.site.restricted(SiteRights::NO_NEW_DEVICES) {
        return Err("Permission denied");
    }
    let domain = &call.user.id.domain;
    let most = call.hub().config().domain(domain).max_devices;
    if most.is_some_and(|most| call.hub().store.devices(domain).len() >= most) {
        return Err("Too many devices");
    }
    Ok(())
}

pub(super) fn device(
    call: &Call,
    group: &Group,
    (name, host): (String, String),
) -> Result<Device, &'static str> {
    let mut key = [0; 48];
    getrandom::fill(&mut key).map_err(|_| "No randomness")?;
    let id = NodeId::new(call.user.id.domain.clone(), Key48(key));
    Ok(Device {
        host_name: String::new(),
        host: Some(host),
        // It never connects by itself.
        ..Device::new(id, group.id.clone(), &name, Millis(0))
    })
}

fn add(call: &Call, group: &Group, device: Device, access: Option<AmtAccess>) -> Answer<'static> {
    put_new(call, group, device, access, call.result("ok"))
}

/// Puts a new device into its group, tells everybody, and lets `answer` wait until that is done.
pub(super) fn put_new<'a>(
    call: &Call,
    group: &Group,
    device: Device,
    access: Option<AmtAccess>,
    answer: Answer<'a>,
) -> Answer<'a> {
    let commit = call.put(device.clone());
    let has_amt = access.is_some();
    let mut answer = answer.after(commit);
    if let Some(access) = access {
        answer = answer.after(call.put(access));
    }
    if let Some(lan) = call.lan().filter(|_| has_amt) {
        lan.look();
    }
    let msg = format!("Added device {} to device group {}", device.name, group.name);
    call.audit(format_args!("{msg} ({})", device.id));
    call.hub().publish(Event {
        node: None,
        ..call
            .device_event("addnode", &device)
            .with("node", call.hub().device_document(&device))
            .with("msgid", 84)
            .with("msgArgs", json!([device.name, group.name]))
            .with("msg", msg)
    });
    answer
}
