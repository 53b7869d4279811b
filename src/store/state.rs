//! The tables in memory.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::model::record::LinkTarget;
use crate::model::rights::{self, Rights, Subject};
use crate::model::{
    Device, Group, GroupId, LastSeen, NodeId, Secret, User, UserGroup, UserGroupId, UserId,
};

use super::{Detail, DetailKind, PastEvent, PowerChange, Record, RecordKey};

#[derive(Default)]
pub(super) struct State {
    pub(super) users: BTreeMap<UserId, Rc<User>>,
    pub(super) groups: BTreeMap<GroupId, Rc<Group>>,
    pub(super) devices: BTreeMap<NodeId, Rc<Device>>,
    pub(super) user_groups: BTreeMap<UserGroupId, Rc<UserGroup>>,
    pub(super) secrets: BTreeMap<String, Rc<Secret>>,
    pub(super) last_seen: BTreeMap<NodeId, LastSeen>,
    pub(super) details: BTreeMap<(NodeId, DetailKind), Detail>,
    pub(super) events: Vec<PastEvent>,
    pub(super) power: Vec<(NodeId, PowerChange)>,
}

impl State {
    pub(super) fn put(&mut self, record: Record) {
        match record {
            Record::User(r) => drop(self.users.insert(r.id.clone(), Rc::new(r))),
            Record::Group(r) => drop(self.groups.insert(r.id.clone(), Rc::new(r))),
            Record::Device(r) => drop(self.devices.insert(r.id.clone(), Rc::from(r))),
            Record::UserGroup(r) => drop(self.user_groups.insert(r.id.clone(), Rc::new(r))),
            Record::Secret(r) => drop(self.secrets.insert(r.name.clone(), Rc::new(r))),
        }
    }

    pub(super) fn remove(&mut self, key: &RecordKey) {
        match key {
            RecordKey::User(id) => drop(self.users.remove(id)),
            RecordKey::Group(id) => drop(self.groups.remove(id)),
            RecordKey::Device(id) => {
                self.devices.remove(id);
                self.last_seen.remove(id);
                self.details.retain(|(node, _), _| node != id);
            }
            RecordKey::UserGroup(id) => drop(self.user_groups.remove(id)),
            RecordKey::Secret(name) => drop(self.secrets.remove(name)),
        }
    }

    pub(super) fn rights(&self, user: &User, manages_all: bool, subject: Subject<'_>) -> Rights {
        let memberships = user.links.iter().filter_map(|link| match &link.to {
            LinkTarget::UserGroup(id) => self.user_groups.get(id).map(|g| g.links.as_slice()),
            LinkTarget::Group(_) | LinkTarget::Device(_) => None,
        });
        rights::effective(user, memberships, manages_all, subject)
    }
}
