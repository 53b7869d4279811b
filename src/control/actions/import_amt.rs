//! `importamtdevices`: many devices with Intel AMT from a file of another tool, in one of three forms:
//! a plain list, MeshCommander's list of computers, and that of Intel's migration tool.
//!
//! What is wrong in one entry leaves that one out. There is no answer but the devices.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::add_devices::{device, may_add, put_new};
use super::device_edit::is_host;
use super::{Answer, Call, OnGroup};
use crate::config::Reach;
use crate::model::text::clamp;
use crate::model::{AmtAccess, GroupKind};

/// Most devices of one file.
const DEVICES_MAX: usize = 1000;
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
    let is_possible =
        on.group.kind == GroupKind::Amt && call.hub().config().settings.reach != Reach::Wan;
    let mut answer = Answer::none();
    let Some((form, list)) = call.request.get("amtdevices").and_then(list).filter(|_| is_possible)
    else {
        return answer;
    };
    let mut hosts = BTreeSet::new();
    for entry in list.iter().filter_map(Value::as_object).take(DEVICES_MAX) {
        let Some(host) = host(form, entry) else { continue };
        if !hosts.insert(host.to_lowercase()) || may_add(call).is_err() {
            continue;
        }
        let name = text(entry, form.name, NAME_MAX).map(|name| clamp(name, NAME_MAX));
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| host.to_owned());
        let Ok(mut device) = device(call, &on.group, (name, host.to_owned())) else { continue };
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
        answer = put_new(call, &on.group, device, Some(access), answer);
    }
    answer
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
