//! What has changed in a computer since its firmware was first read: hardware, interfaces, version.
//!
//! Each time an inventory is taken it is compared with the one that is kept, and what differs is
//! added to a document of its own, at most [`CHANGES_MAX`] changes per device, newest first. Modules
//! and drives are told apart by where they are or what they are called, so that one that is taken
//! out does not make all others new.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hub::{Hub, amt_facts};
use crate::model::text::clamp;
use crate::model::{Device, Millis, NodeId};
use crate::store::DetailKind;

/// Most changes that are kept of a device: some 10 KiB, a tenth of it on disk.
pub const CHANGES_MAX: usize = 100;
/// Longest path and value in characters.
const TEXT_MAX: usize = 128;
/// Most values of an inventory that are compared.
const VALUES_MAX: usize = 2048;
/// Names that only say in which form something is told.
const FORMS: [&str; 2] = ["windows", "identifiers"];

/// One value that has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When it was noticed.
    pub time: Millis,
    /// Names, from the outside in: `memory/BANK 0/Capacity`.
    pub path: String,
    /// What it was; `None` if it was not there.
    pub was: Option<String>,
    /// What it is; `None` if it is gone.
    pub is: Option<String>,
}

/// What is kept of a device, newest first.
pub async fn of(hub: &Hub, node: &NodeId) -> Vec<Change> {
    let kept = hub.store.detail(node, DetailKind::Changes).await;
    kept.and_then(|kept| serde_json::from_slice(&kept.json).ok()).unwrap_or_default()
}

/// Compares an inventory with the one that is kept, which it is about to replace. The first of a
/// device is none that has changed.
pub async fn note(
    hub: &Hub,
    device: &Device,
    hardware: &Value,
    network: &Value,
    version: Option<&str>,
) {
    let node = &device.id;
    let kept = async |kind, member: &str| {
        let detail = hub.store.detail(node, kind).await?;
        let mut document: Value = serde_json::from_slice(&detail.json).ok()?;
        Some(document.get_mut(member)?.take())
    };
    let mut found = Vec::new();
    let (old_hardware, old_network) =
        (kept(DetailKind::System, "hardware").await, kept(DetailKind::Network, "netif2").await);
    if let Some(old) = old_hardware {
        differences("", &old, hardware, &mut found);
    }
    if let Some(old) = old_network {
        differences("network", &old, network, &mut found);
    }
    // What the device said of itself before this visit.
    let old_version = amt_facts::of(device).remove("ver");
    if let (Some(Value::String(old)), Some(new)) = (old_version, version)
        && old != new
    {
        found.push(("firmware".to_owned(), Some(old), Some(new.to_owned())));
    }
    if found.is_empty() {
        return;
    }
    let time = hub.now();
    let new = found.into_iter().map(|(path, was, is)| Change { time, path, was, is });
    let mut all: Vec<_> = new.take(CHANGES_MAX).collect();
    all.extend(of(hub, node).await);
    all.truncate(CHANGES_MAX);
    if let Ok(document) = serde_json::to_vec(&all) {
        hub.store.set_detail(node, DetailKind::Changes, &document, None, time);
    }
}

type Difference = (String, Option<String>, Option<String>);

fn differences(root: &str, old: &Value, new: &Value, found: &mut Vec<Difference>) {
    let flat = |value: &Value| {
        let mut values = BTreeMap::new();
        flatten(root.to_owned(), value, &mut values);
        values
    };
    let (mut old, new) = (flat(old), flat(new));
    for (path, is) in new {
        let was = old.remove(&path);
        if was.as_ref() != Some(&is) {
            found.push((path, was, Some(is)));
        }
    }
    found.extend(old.into_iter().map(|(path, was)| (path, Some(was), None)));
}

/// Adds the texts and numbers of `value` by their paths. Its depth is that of a parsed document.
fn flatten(path: String, value: &Value, values: &mut BTreeMap<String, String>) {
    if values.len() >= VALUES_MAX {
        return;
    }
    let below = |name: &str| match path.as_str() {
        "" => name.to_owned(),
        path => format!("{path}/{name}"),
    };
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if FORMS.contains(&name.as_str()) { path.clone() } else { below(name) };
                flatten(path, value, values);
            }
        }
        Value::Array(items) => {
            let mut seen = BTreeMap::<String, usize>::new();
            for (at, item) in items.iter().enumerate() {
                let named = ["BankLabel", "Caption"].iter().find_map(|key| item.get(key)?.as_str());
                // The only one of its kind needs no name.
                let path = match named {
                    Some(name) => {
                        let count = seen.entry(name.to_owned()).or_default();
                        *count += 1;
                        let same = if *count > 1 { format!(" ({count})") } else { String::new() };
                        below(&format!("{name}{same}"))
                    }
                    None if items.len() == 1 => path.clone(),
                    None => below(&at.to_string()),
                };
                flatten(path, item, values);
            }
        }
        Value::Null => {}
        Value::String(text) => drop(values.insert(clamp(&path, TEXT_MAX), clamp(text, TEXT_MAX))),
        other => drop(values.insert(clamp(&path, TEXT_MAX), clamp(&other.to_string(), TEXT_MAX))),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use futures_lite::future::block_on;
    use serde_json::json;

    use super::*;
    use crate::amt::room::Room;
    use crate::amt::schedule::Outcome;
    use crate::amt::testing::Firmware;
    use crate::amt::upkeep;
    use crate::hub::testing::{World, group_id, node_id};
    use crate::model::{Group, GroupKind};

    #[test]
    fn what_is_taken_out_of_a_computer_or_put_into_it_is_written_down() {
        let (world, firmware) = (World::new(), Firmware::new());
        let store = &world.hub.store;
        store.put(Group::new(group_id(1), "lab", GroupKind::Amt, Millis(1))).later();
        store.put(Device::new(node_id(1), group_id(1), "pc", Millis(2))).later();
        firmware.call_in(&world.hub, &node_id(1));
        let room = Room::new(world.hub.clone(), Rc::default());
        let visit = || {
            let outcome = block_on(upkeep::visit(&room, &node_id(1), true));
            assert_eq!(outcome, Outcome::Answered);
            let changes = block_on(of(&world.hub, &node_id(1)));
            let shown = |change: &Change| json!([change.path, change.was, change.is]);
            (changes.len(), changes.iter().map(shown).collect::<Vec<_>>())
        };
        assert_eq!(visit().0, 0, "nothing was known before");
        assert_eq!(visit().0, 0, "nothing has changed");
        let module =
            firmware.instances.borrow_mut().get_mut("CIM_PhysicalMemory").unwrap().remove(0);
        let (count, gone) = visit();
        let names: Vec<_> = gone.iter().map(|change| change[0].as_str().unwrap()).collect();
        assert!(names.iter().all(|name| name.starts_with("memory/")), "{names:?}");
        assert!(gone.iter().all(|change| change[1].is_string() && change[2].is_null()), "{gone:?}");
        // The other module stays what it is.
        let bank = names[0].rsplit_once('/').unwrap().0;
        assert!(names.iter().all(|name| name.rsplit_once('/').unwrap().0 == bank), "{names:?}");
        firmware.instances.borrow_mut().get_mut("CIM_PhysicalMemory").unwrap().insert(0, module);
        firmware.change("CIM_BIOSElement", "Version", "QNCFLX70.0099");
        let (both, all) = visit();
        assert_eq!(both, 2 * count + 1);
        let bios = json!(["bios_version", "QNCFLX70.0054.2020.0810.2227", "QNCFLX70.0099"]);
        assert!(all[..=count].contains(&bios), "{all:?}");
        assert_eq!(all[count + 1..], gone, "the newest come first");
        // However often it changes.
        for round in 0..CHANGES_MAX {
            firmware.change("CIM_BIOSElement", "Version", &format!("{round}"));
            visit();
        }
        let (count, all) = visit();
        assert_eq!((count, &all[0]), (CHANGES_MAX, &json!(["bios_version", "98", "99"])));
    }

    #[test]
    fn inventories_without_end_are_compared_to_an_end() {
        let many: Vec<_> = (0..9999).map(|n| json!({"BankLabel": "x", "Capacity": n})).collect();
        let mut found = Vec::new();
        differences("", &json!({}), &json!({"windows": {"memory": many}}), &mut found);
        assert_eq!(found.len(), VALUES_MAX);
        assert!(found.iter().any(|(path, ..)| path == "memory/x (2)/Capacity"));
        let mut found = Vec::new();
        let (one, other) =
            (json!({"Ethernet": [{"mac": "a", "n": null}]}), json!({"Ethernet": []}));
        differences("network", &one, &other, &mut found);
        assert_eq!(found, [("network/Ethernet/mac".to_owned(), Some("a".to_owned()), None)]);
    }
}
