//! The list of devices.
//!
//! It is written once, device by device, into the text that goes to the client: with a thousand
//! devices everything kept besides would be half a megabyte more.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::hub::Hub;
use crate::model::rights::Subject;
use crate::model::{Device, GroupId, GroupKind, NodeId};

use super::super::premises::Page;
use super::{Answer, Call, Cause, group_named};
use crate::hub::documents::{Holders, NodeDocument, Text};

/// About what a device takes in the list, in bytes, with something to spare.
const DEVICE_LEN: usize = 600;

/// `nodes`: all devices the user has a right on, by group; with `meshid` or `meshname` those of one
/// group, with `id` one device. Where `maxDeviceView` is set, one page of them.
pub(super) fn list(call: &Call) -> Answer<'_> {
    let request = &call.request;
    let names_group = ["meshid", "meshname"].iter().any(|name| request.get(name).is_some());
    let group = match names_group.then(|| group_named(call)) {
        None => None,
        Some(Ok(on)) => Some(on.group.id.clone()),
        Some(Err(Cause::Duplicate)) => return call.result("Duplicate device groups found"),
        Some(Err(_)) => return call.result("Invalid group id"),
    };
    let mut devices = match request.text("id") {
        Some(id) => one(call, id).into_iter().collect(),
        None => call.hub().store.devices(&call.user.id.domain),
    };
    devices.retain(|device| group.as_ref().is_none_or(|id| device.group == *id));
    retain_visible(call, &mut devices);
    let paging = turn_page(call, &mut devices);
    let mut groups = BTreeMap::<&GroupId, Vec<&Device>>::new();
    for device in &devices {
        groups.entry(&device.group).or_default().push(device);
    }
    let domain = &call.user.id.domain;
    let holders = Holders::of(&call.hub().store, domain);
    let locations = call.hub().config().domain(domain).locations;
    let nodes = Nodes { hub: call.hub(), groups, holders: &holders, locations };
    call.reply_long(Body { nodes, paging }, 256 + DEVICE_LEN * devices.len())
}

fn one(call: &Call, id: &str) -> Option<Rc<Device>> {
    call.hub().store.device(&NodeId::parse_in(&call.user.id.domain, id).ok()?)
}

/// Keeps the devices the user has any right on.
pub(super) fn retain_visible(call: &Call, devices: &mut Vec<Rc<Device>>) {
    let (hub, user) = (call.hub(), &call.user);
    let mut seen = BTreeMap::<GroupId, bool>::new();
    devices.retain(|device| {
        // Who sees a group sees its devices: most lists need one look per group.
        let sees_group = match seen.get(&device.group) {
            Some(sees) => *sees,
            None => {
                let sees = !hub.rights(user, Subject::Group(&device.group)).is_empty();
                seen.insert(device.group.clone(), sees);
                sees
            }
        };
        sees_group || !hub.rights_on_device(user, device).is_empty()
    });
}

/// Where a page is in the whole list.
#[derive(serde::Serialize)]
struct Paging {
    skip: usize,
    limit: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    totalcount: Option<usize>,
}

/// Leaves the page the session is on, if lists are shown page by page. The session remembers where
/// it is until it says otherwise.
fn turn_page(call: &Call, devices: &mut Vec<Rc<Device>>) -> Option<Paging> {
    let most = call.hub().config().domain(&call.user.id.domain).max_device_view?;
    let remembered = &call.remembered().page;
    let Page { mut skip, mut limit } = remembered.get();
    if let Some(wanted) = call.request.number("skip") {
        skip = wanted as usize;
    }
    if let Some(wanted) = call.request.number("limit").filter(|wanted| *wanted > 0) {
        limit = Some(wanted as usize);
    }
    remembered.set(Page { skip, limit });
    let limit = limit.unwrap_or(most).min(most);
    let total = devices.len();
    devices.drain(..skip.min(total));
    devices.truncate(limit);
    // A list that fits is no page.
    let totalcount = (skip > 0 || total > limit).then_some(total);
    Some(Paging { skip, limit, totalcount })
}

#[derive(serde::Serialize)]
struct Body<'a> {
    nodes: Nodes<'a>,
    #[serde(flatten)]
    paging: Option<Paging>,
}

/// The outer map: group id to devices. Written device by device, never held as a whole.
struct Nodes<'a> {
    hub: &'a Hub,
    groups: BTreeMap<&'a GroupId, Vec<&'a Device>>,
    holders: &'a Holders,
    locations: bool,
}

impl Serialize for Nodes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.groups.len()))?;
        for (id, devices) in &self.groups {
            let kind = self.hub.store.group(id).map_or(GroupKind::Agent, |group| group.kind);
            let of_group = OfGroup { list: self, kind, devices };
            map.serialize_entry(&Text(*id), &of_group)?;
        }
        map.end()
    }
}

struct OfGroup<'a> {
    list: &'a Nodes<'a>,
    kind: GroupKind,
    devices: &'a [&'a Device],
}

impl Serialize for OfGroup<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.devices.iter().map(|device| WithState { of: self, device }))
    }
}

struct WithState<'a> {
    of: &'a OfGroup<'a>,
    device: &'a Device,
}

impl Serialize for WithState<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { of, device } = self;
        let hub = of.list.hub;
        let (state, agent) = hub.connection(&device.id);
        let sessions = agent.as_deref().map(|agent| agent.sessions.borrow());
        NodeDocument {
            device,
            kind: of.kind,
            holders: of.list.holders.on_device(&device.id),
            in_list: true,
            state: Some(state),
            sessions: sessions.as_deref(),
            amt: hub.store.amt_access(&device.id).as_deref(),
            locations: of.list.locations,
        }
        .serialize(serializer)
    }
}
