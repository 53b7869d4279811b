//! `importamtdevices`: many devices with Intel AMT from a file of another tool, in one of three forms:
//! a plain list, MeshCommander's list of computers, and that of Intel's migration tool.
//!
//! What is wrong in one entry leaves that one out. As with MeshCentral there is no answer but the
//! devices; a request with a `responseid` (ours) is told what became of each entry.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::add_devices::{device, may_add, put_new};
use super::device_edit::is_host;
use super::{Answer, Call, OnGroup};
use crate::config::Reach;
use crate::model::text::clamp;
use crate::model::{AmtAccess, Device, Group, GroupKind, order};

/// Most devices of one file.
const DEVICES_MAX: usize = 1000;
/// Most outcomes that are told.
const OUTCOMES_MAX: usize = 2 * DEVICES_MAX;
/// Longest name and address, user name and password, version, and other text in characters.
const NAME_MAX: usize = 256;
const LOGIN_MAX: usize = 32;
const VERSION_MAX: usize = 16;
/// Where every computer is itself.
const HERE: [&str; 2] = ["127.0.0.1", "localhost"];

/// Names of the members of an entry. `tls` is a number or a switch, or the text `TLS`.
struct Form {
    hosts: &'static [&'static str],
    name: &'static str,
    user: &'static str,
    password: &'static str,
    tls: &'static str,
    version: &'static str,
    uuid: &'static str,
}

const PLAIN: Form = Form {
    hosts: &["fqdn"],
    name: "name",
    user: "username",
    password: "password",
    tls: "tls",
    version: "version",
    uuid: "uuid",
};
const MESH_COMMANDER: Form =
    Form { hosts: &["host"], user: "user", password: "pass", version: "ver", ..PLAIN };
const MIGRATION_TOOL: Form = Form {
    hosts: &["Fqdn", "IPv4"],
    name: "",
    user: "",
    password: "ConfiguredPassword",
    tls: "ConnectionType",
    version: "AmtVersion",
    uuid: "Uuid",
};
const MIGRATION_TOOL_NAME: &str = "Intel vPro(R) Manageability Migration Tool";

/// See the module.
pub(super) fn import(call: &Call, on: OnGroup) -> Answer<'_> {
    if call.hub().config().settings.reach == Reach::Wan {
        return Answer::none();
    }
    if on.group.kind != GroupKind::Amt {
        return call.result("Intel AMT agentless mesh only allowed");
    }
    let Some((form, list)) = call.request.get("amtdevices").and_then(list) else {
        return call.result("Invalid list");
    };
    let devices = call.hub().store.devices(&call.user.id.domain);
    let there = devices.iter().filter(|device| device.group == on.group.id);
    let there = there.filter_map(|device| device.host.as_deref().map(lower));
    let mut hosts: BTreeSet<_> = order::gather(there);
    let (mut answer, mut added, mut outcomes) = (Answer::none(), 0, Vec::new());
    for (place, entry) in list.iter().enumerate() {
        let host = entry.as_object().and_then(|entry| host(form, entry));
        let made = if place < DEVICES_MAX {
            make(call, &on.group, form, entry, &mut hosts)
        } else {
            Err("Too many at a time")
        };
        let result = match made {
            Ok((device, access)) => {
                answer = put_new(call, &on.group, device, Some(access), answer);
                added += 1;
                "ok"
            }
            Err(why) => why,
        };
        if place < OUTCOMES_MAX {
            outcomes.push(json!({"entry": place + 1, "host": host, "result": result}));
        }
    }
    answer.and(call.reply(json!({"result": "ok", "added": added, "outcomes": outcomes})))
}

/// The device an entry stands for, with its login; or why there is none. A host that is in `hosts`
/// is there already.
fn make(
    call: &Call,
    group: &Group,
    form: &Form,
    entry: &Value,
    hosts: &mut BTreeSet<String>,
) -> Result<(Device, AmtAccess), &'static str> {
    let entry = entry.as_object().ok_or("Invalid entry")?;
    let host = host(form, entry).ok_or("Invalid host")?;
    if hosts.contains(&lower(host)) {
        return Err("Already there");
    }
    may_add(call)?;
    let name = text(entry, form.name, NAME_MAX).map(|name| clamp(name, NAME_MAX));
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| host.to_owned());
    let mut device = device(call, group, (name, host.to_owned()))?;
    let mut amt = Map::new();
    amt.insert("state".into(), 2.into());
    for (name, member, max) in [("ver", form.version, VERSION_MAX), ("uuid", form.uuid, 36)] {
        if let Some(value) = text(entry, member, max) {
            amt.insert(name.into(), clamp(value, max).into());
        }
    }
    device.extra = vec![("intelamt".to_owned(), Value::Object(amt).to_string())];
    let user = text(entry, form.user, LOGIN_MAX).unwrap_or("admin");
    let password = text(entry, form.password, LOGIN_MAX).unwrap_or_default();
    let access = AmtAccess::new(device.id.clone(), user, password, has_tls(entry, form.tls));
    hosts.insert(lower(host));
    Ok((device, access))
}

fn lower(host: &str) -> String {
    host.to_lowercase()
}

/// The entries, and how they are written.
fn list(given: &Value) -> Option<(&'static Form, &Vec<Value>)> {
    if let Some(list) = given.as_array() {
        return Some((&PLAIN, list));
    }
    if given["webappversion"].is_string() {
        return given["computers"].as_array().map(|list| (&MESH_COMMANDER, list));
    }
    let list = given["ManagedSystems"]["ManagedSystemsList"].as_array();
    list.filter(|_| given["ApplicationData"]["Application"] == MIGRATION_TOOL_NAME)
        .map(|list| (&MIGRATION_TOOL, list))
}

fn host<'a>(form: &Form, entry: &'a Map<String, Value>) -> Option<&'a str> {
    let host = form.hosts.iter().find_map(|member| text(entry, member, NAME_MAX))?;
    (is_host(host) && !HERE.contains(&&*host.to_lowercase())).then_some(host)
}

/// A member that is a text with 1 to `max` characters.
fn text<'a>(entry: &'a Map<String, Value>, member: &str, max: usize) -> Option<&'a str> {
    let text = entry.get(member)?.as_str()?;
    (1..=max).contains(&text.chars().count()).then_some(text)
}

fn has_tls(entry: &Map<String, Value>, member: &str) -> bool {
    entry.get(member).is_some_and(|value| *value == true || *value == 1 || *value == "TLS")
}
