//! The list of devices.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::hub::Hub;
use crate::model::rights::Subject;
use crate::model::{Device, GroupId, GroupKind, NodeId};

use super::{Answer, Call, Cause, group_named};
use crate::hub::documents::{Holders, NodeDocument, Text};

/// `nodes`: all devices the user has a right on, by group; with `meshid` or `meshname` those of one
/// group, with `id` one device.
pub(super) fn list(call: &Call) -> Answer<'_> {
    let request = &call.request;
    let names_group = ["meshid", "meshname"].iter().any(|name| request.get(name).is_some());
    let group = match names_group.then(|| group_named(call)) {
        None => None,
        Some(Ok(on)) => Some(on.group.id.clone()),
        Some(Err(Cause::Duplicate)) => return call.result("Duplicate device groups found"),
        Some(Err(_)) => return call.result("Invalid group id"),
    };
    let devices = match request.text("id") {
        Some(id) => one(call, id).into_iter().collect(),
        None => call.hub().store.devices(&call.user.id.domain),
    };
    let (hub, user) = (call.hub(), &call.user);
    let mut groups = BTreeMap::<&GroupId, Vec<&Device>>::new();
    let mut seen = BTreeMap::<&GroupId, bool>::new();
    for device in &devices {
        if group.as_ref().is_some_and(|id| device.group != *id) {
            continue;
        }
        // Who sees a group sees its devices: most lists need one look per group.
        let sees_group = seen
            .entry(&device.group)
            .or_insert_with_key(|id| !hub.rights(user, Subject::Group(id)).is_empty());
        if *sees_group || !hub.rights_on_device(user, device).is_empty() {
            groups.entry(&device.group).or_default().push(device);
        }
    }
    let holders = Holders::of(&call.hub().store, &call.user.id.domain);
    call.reply(Body { nodes: Nodes { hub: call.hub(), groups, holders: &holders } })
}

fn one(call: &Call, id: &str) -> Option<Rc<Device>> {
    call.hub().store.device(&NodeId::parse_in(&call.user.id.domain, id).ok()?)
}

#[derive(serde::Serialize)]
struct Body<'a> {
    nodes: Nodes<'a>,
}

/// The outer map: group id to devices. Written device by device, never held as a whole.
struct Nodes<'a> {
    hub: &'a Hub,
    groups: BTreeMap<&'a GroupId, Vec<&'a Device>>,
    holders: &'a Holders,
}

impl Serialize for Nodes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.groups.len()))?;
        for (id, devices) in &self.groups {
            let kind = self.hub.store.group(id).map_or(GroupKind::Agent, |group| group.kind);
            let of_group = OfGroup { hub: self.hub, kind, devices, holders: self.holders };
            map.serialize_entry(&Text(*id), &of_group)?;
        }
        map.end()
    }
}

struct OfGroup<'a> {
    hub: &'a Hub,
    kind: GroupKind,
    devices: &'a [&'a Device],
    holders: &'a Holders,
}

impl Serialize for OfGroup<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.devices.iter().map(|device| WithState { list: self, device }))
    }
}

struct WithState<'a> {
    list: &'a OfGroup<'a>,
    device: &'a Device,
}

impl Serialize for WithState<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { list, device } = self;
        let agent = list.hub.agent(&device.id);
        let sessions = agent.as_deref().map(|agent| agent.sessions.borrow());
        NodeDocument {
            device,
            kind: list.kind,
            holders: list.holders.on_device(&device.id),
            with_group: false,
            state: Some(list.hub.connectivity(&device.id)),
            sessions: sessions.as_deref(),
        }
        .serialize(serializer)
    }
}
