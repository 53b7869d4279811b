//! Changing what is kept about devices: names, groups, rights, notes of what happened.

use serde_json::{Value, json};

use crate::config::Reach;
use crate::hub::AgentCommand;
use crate::model::{Device, Event, Group, GroupKind, LinkTarget, Rights, Target, User, order};

use super::super::removal::remove_device;
use super::group_members::{Holder, holders_named};
use super::{Answer, Call, Choice, OnDevice, OnGroup, device_amt};

/// Longest name of a device in characters.
const NAME_MAX: usize = 128;
/// Longest address in characters.
const HOST_MAX: usize = 256;
/// Longest description in characters.
const DESC_MAX: usize = 1024;
/// Highest icon number.
const ICON_MAX: u32 = 8;
/// Most tags, and the longest of them in characters.
const TAGS_MAX: usize = 64;
const TAG_MAX: usize = 63;
/// Ports people may set, and what they are when nobody has.
const PORTS: [(&str, u16); 5] =
    [("rdpport", 3389), ("rfbport", 5900), ("sshport", 22), ("httpport", 80), ("httpsport", 443)];
/// Rights that a link to a single device cannot give: they are about groups.
const GROUP_ONLY: Rights =
    Rights::EDIT_GROUP.union(Rights::MANAGE_USERS).union(Rights::MANAGE_DEVICES);

/// `changedevice`: whichever members the request has.
pub(super) fn change(call: &Call, on: OnDevice) -> Answer<'_> {
    if call.request.text("host").is_some_and(|host| !is_host(host)) {
        return call.result("Invalid hostname");
    }
    let userloc = call.request.get("userloc").and_then(Value::as_array);
    if userloc.is_some_and(|place| !matches!(place.len(), 0 | 2)) {
        return call.result("Invalid user location");
    }
    let mut device = (*on.device).clone();
    let mut changes = apply(call, &mut device);
    let access = device_amt::apply(call, &device, &mut changes);
    if device == *on.device && access.is_none() {
        return call.result("ok");
    }
    let group = group_name(call, &device);
    let changes = changes.join(", ");
    let mut answer = call.result("ok");
    if let Some(access) = access {
        answer = answer.after(call.put(access));
    }
    let commit = call.put(device.clone());
    let msg = format!("Changed device {} from group {group}: {changes}", device.name);
    call.audit(format_args!("changed device {:?} ({}): {changes}", device.name, device.id));
    call.hub().publish(
        call.device_event("changenode", &device)
            .with("node", call.hub().device_document(&device))
            .with("msgid", 140)
            .with("msgArgs", json!([device.name, group, changes]))
            .with("msg", msg),
    );
    answer.after(commit)
}

fn group_name(call: &Call, device: &Device) -> String {
    call.hub().store.group(&device.group).map(|group| group.name.clone()).unwrap_or_default()
}

/// Applies the members that are valid and differ; returns what changed in MeshCentral's words.
fn apply(call: &Call, device: &mut Device) -> Vec<&'static str> {
    let request = &call.request;
    let mut changes = Vec::new();
    if let Some(icon) = request.number("icon").filter(|icon| (1..=ICON_MAX).contains(icon)) {
        set(&mut device.icon, icon as u8, "icon", &mut changes);
    }
    if let Some(name) = request.text_within("name", 1, NAME_MAX) {
        set(&mut device.name, name.to_owned(), "name", &mut changes);
    }
    // Over the Internet alone a device with an agent is never called by its address.
    let kind = call.hub().store.group(&device.group).map(|group| group.kind);
    let is_called = matches!(kind, Some(GroupKind::Local | GroupKind::IpKvm));
    if (is_called || call.hub().config().settings.reach != Reach::Wan)
        && let Some(host) = request.text_within("host", 0, HOST_MAX)
    {
        set(&mut device.host, filled(host), "host", &mut changes);
    }
    if let Some(consent) = request.number("consent") {
        set(&mut device.consent, consent, "consent", &mut changes);
    }
    for (name, standard) in PORTS {
        let port = request.number(name).and_then(|port| u16::try_from(port).ok());
        if let Some(port) = port.filter(|port| *port != 0) {
            let mut ports = device.ports.clone();
            ports.retain(|(known, _)| known != name);
            if port != standard {
                ports.push((name.to_owned(), port));
            }
            set(&mut device.ports, ports, name, &mut changes);
        }
    }
    if let Some(desc) = request.text_within("desc", 0, DESC_MAX) {
        set(&mut device.desc, filled(desc), "description", &mut changes);
    }
    if let Some(tags) = tags(call) {
        // MeshCentral has no word for this change.
        device.tags = tags;
    }
    if call.hub().config().domain(&call.user.id.domain).locations {
        set_location(call, device, &mut changes);
    }
    changes
}

/// `userloc`: latitude and longitude, kept with the time in seconds; an empty list removes it.
fn set_location(call: &Call, device: &mut Device, changes: &mut Vec<&'static str>) {
    const NAME: &str = "userloc";
    let Some(list) = call.request.get(NAME).and_then(Value::as_array) else { return };
    let known = device.extra.iter().position(|(name, _)| name == NAME);
    if list.is_empty() {
        if let Some(at) = known {
            device.extra.remove(at);
            changes.push("location removed");
        }
        return;
    }
    let degree = |n: usize, most: f64| list.get(n)?.as_f64().filter(|d| (-most..=most).contains(d));
    let (Some(latitude), Some(longitude)) = (degree(0, 90.0), degree(1, 180.0)) else { return };
    if list.len() != 2 {
        return;
    }
    let place = format!("{latitude},{longitude}");
    let is_there = |json: &str| json.trim_matches('"').starts_with(&format!("{place},"));
    if known.and_then(|at| device.extra.get(at)).is_some_and(|(_, json)| is_there(json)) {
        return;
    }
    device.extra.retain(|(name, _)| name != NAME);
    let seconds = call.hub().now().seconds().0;
    device.extra.push((NAME.to_owned(), json!(format!("{place},{seconds}")).to_string()));
    order::sort_by(&mut device.extra, Ord::cmp);
    changes.push("location");
}

/// Whether `text` can be the name or address of a machine: for people to look at and for programs to
/// connect to, so nothing that means more in a URL or a shell.
pub(super) fn is_host(text: &str) -> bool {
    let part =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '%');
    text.len() <= 4 * HOST_MAX && !text.starts_with('-') && text.chars().all(part)
}

fn set<T: PartialEq>(field: &mut T, value: T, word: &'static str, changes: &mut Vec<&'static str>) {
    if *field != value {
        *field = value;
        changes.push(word);
    }
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// `tags`: a list, or a text with commas; sorted, without doubles. Empty text removes all.
fn tags(call: &Call) -> Option<Vec<String>> {
    let list = match call.request.text_within("tags", 0, 4096) {
        Some(text) => text.split(',').collect(),
        None => call.request.texts("tags", 4096)?,
    };
    let fits = |tag: &&str| !tag.is_empty() && tag.chars().count() <= TAG_MAX && !tag.contains(',');
    let mut tags: Vec<_> =
        list.into_iter().map(str::trim).filter(fits).map(str::to_owned).collect();
    order::sort_by(&mut tags, Ord::cmp);
    tags.dedup();
    tags.truncate(TAGS_MAX);
    Some(tags)
}

/// `changeDeviceMesh`: moves devices to another group; one answer per device.
pub(super) fn change_group(call: &Call, on: OnGroup, devices: Vec<Choice>) -> Answer<'_> {
    devices
        .into_iter()
        .map(|choice| match choice {
            Choice::Granted(device) => move_one(call, &on.group, &device.device),
            Choice::Denied => call.result("Permission denied"),
            Choice::Unknown => call.result("Device not found"),
        })
        .collect()
}

fn move_one(call: &Call, group: &Group, old: &Device) -> Answer<'static> {
    if old.group == group.id {
        return call.result("Device already in correct group");
    }
    let kind = call.hub().store.group(&old.group).map_or(GroupKind::Agent, |group| group.kind);
    if kind != group.kind {
        // MeshCentral says nothing here and leaves the client waiting.
        return call.result("Device groups are of different types");
    }
    let device = Device { group: group.id.clone(), ..old.clone() };
    let commit = call.put(device.clone());
    // The other group may want something else of its Intel AMT.
    call.command_agent(&device, AgentCommand::Activate);
    let msg = format!("Moved device {} to group {}", device.name, group.name);
    call.audit(format_args!("{msg} ({})", device.id));
    call.hub().publish(
        call.device_event("nodemeshchange", &device)
            .to(Target::Group(old.group.clone()))
            .with("node", call.hub().connected_device_document(&device))
            .with("oldMeshId", old.group.to_string())
            .with("newMeshId", group.id.to_string())
            .with("msgid", 85)
            .with("msgArgs", json!([device.name, group.name]))
            .with("msg", msg),
    );
    call.result("ok").after(commit)
}

/// `removedevices`: with their details and everybody's rights on them; one answer per device. An
/// agent that is still installed comes back as a new device.
pub(super) fn remove(call: &Call, devices: Vec<Choice>) -> Answer<'_> {
    devices
        .into_iter()
        .map(|choice| match choice {
            Choice::Granted(on) => remove_one(call, &on.device),
            Choice::Denied | Choice::Unknown => call.result("Denied"),
        })
        .collect()
}

fn remove_one(call: &Call, device: &Device) -> Answer<'static> {
    let commits = remove_device(call.hub(), device, Some(&call.user.id));
    call.audit(format_args!("removed device {:?} ({})", device.name, device.id));
    commits.into_iter().fold(call.result("ok"), Answer::after)
}

/// The event that an account's right on a single device has changed.
fn device_rights_event(call: &Call, user: &User, number: u32, verb: &str) -> Event {
    call.account_change(user)
        .with("nodeListChange", user.id.to_string())
        .with("msgid", number)
        .with("msgArgs", json!([user.name]))
        .with("msg", format!("{verb} user device rights for {}", user.name))
}

/// `adddeviceuser`: gives (or with `remove` takes) accounts and user groups rights on the device
/// itself.
pub(super) fn add_user(call: &Call, on: OnDevice) -> Answer<'_> {
    let rights = call.request.number("rights").map(Rights::from_bits_retain);
    let Some(rights) = rights.filter(|rights| !rights.intersects(GROUP_ONLY)) else {
        return call.result("Invalid rights");
    };
    let Some(names) = holders_named(call) else { return call.result("Invalid usernames") };
    let remove = call.request.is_true("remove") || rights.is_empty();
    let (number, verb) = if remove { (81, "Removed") } else { (82, "Changed") };
    let target = LinkTarget::Device(on.device.id.clone());
    let rights = (!remove).then_some(rights);
    let mut answer = call.result("ok");
    let mut told = Vec::new();
    for holder in names.iter().filter_map(|named| Holder::find(call, named)) {
        call.audit(format_args!(
            "{verb} rights of {} on device {:?} ({}): {:#x}",
            holder.id(),
            on.device.name,
            on.device.id,
            rights.unwrap_or_default().bits()
        ));
        let tell = |user: &User| device_rights_event(call, user, number, verb);
        answer = answer.after(holder.set_link(call, target.clone(), rights, tell));
        told.push(holder.target());
    }
    if !told.is_empty() {
        let name = &on.device.name;
        let event = call
            .device_event("changenode", &on.device)
            .with("node", call.hub().device_document(&on.device))
            .with("msgid", number)
            .with("msgArgs", json!([name]))
            .with("msg", format!("{verb} user device rights for {name}"));
        call.hub().publish(told.into_iter().fold(event, Event::to));
    }
    answer
}

/// `setDeviceEvent`: a person's note in the device's history.
pub(super) fn add_event(call: &Call, on: OnDevice) -> Answer<'_> {
    if let Some(text) = call.request.text_within("msg", 1, 4096) {
        let text = decode_uri_component(text);
        let name = &on.device.name;
        call.audit(format_args!("noted about device {name:?} ({}): {text:?}", on.device.id));
        call.hub().publish(call.device_event("manual", &on.device).with("msg", text));
    }
    Answer::none()
}

/// JavaScript's `decodeURIComponent`; what is not UTF-8 becomes a replacement character.
fn decode_uri_component(text: &str) -> String {
    // Form decoding differs for these two only.
    let text = text.replace('+', "%2B").replace('&', "%26");
    let pair = form_urlencoded::parse(text.as_bytes()).next();
    pair.map(|(name, value)| {
        // A text with `=` was taken for a pair.
        if text.contains('=') { format!("{name}={value}") } else { name.into_owned() }
    })
    .unwrap_or_default()
}
