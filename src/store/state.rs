//! The tables in memory, and how frames become tables and tables a snapshot.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::rc::Rc;

use crate::model::record::LinkTarget;
use crate::model::rights::{self, Rights, Subject};
use crate::model::{
    AmtAccess, AmtPolicy, Ban, Device, Document, Factors, Group, GroupId, Key48, LastSeen,
    LoginToken, Millis, NodeId, Secret, Share, User, UserGroup, UserGroupId, UserId,
};

use super::amt::{AmtAccessForm, AmtPolicyForm};
use super::codec::{self, Entry, SeenBatch, SeenForm, Stored};
use super::frame::{Frame, TooLong};
use super::vault::Vault;
use super::{PowerChange, Record, RecordKey};

#[derive(Default)]
pub(super) struct State {
    pub(super) users: BTreeMap<UserId, Rc<User>>,
    pub(super) groups: BTreeMap<GroupId, Rc<Group>>,
    pub(super) devices: BTreeMap<NodeId, Rc<Device>>,
    pub(super) user_groups: BTreeMap<UserGroupId, Rc<UserGroup>>,
    pub(super) secrets: BTreeMap<String, Rc<Secret>>,
    pub(super) factors: BTreeMap<UserId, Rc<Factors>>,
    pub(super) login_tokens: BTreeMap<String, Rc<LoginToken>>,
    pub(super) shares: BTreeMap<String, Rc<Share>>,
    pub(super) documents: BTreeMap<String, Rc<Document>>,
    pub(super) bans: BTreeMap<String, Rc<Ban>>,
    pub(super) amt_access: BTreeMap<NodeId, Rc<AmtAccess>>,
    pub(super) amt_policies: BTreeMap<GroupId, Rc<AmtPolicy>>,
    seen: BTreeMap<NodeId, Seen>,
    /// Number of entries of `seen` that are not on disk.
    unseen: usize,
    /// Frames of a newer version, in order, and removals that came after the first of them: a
    /// record we cannot read must not come back to life in front of one who can.
    carried: Vec<Box<[u8]>>,
    /// Seals what must not be read on disk.
    vault: Vault,
}

/// What changes with every connection of a device.
#[derive(Default)]
struct Seen {
    last: Option<LastSeen>,
    /// Whether `last` differs from what is on disk.
    changed: bool,
    /// Last recorded state of power since the start.
    power: Option<u8>,
}

impl State {
    /// Nothing yet; secrets in frames are sealed in `vault`.
    pub(super) fn sealed_in(vault: Vault) -> Self {
        Self { vault, ..Self::default() }
    }

    pub(super) fn put(&mut self, record: Record) {
        match record {
            Record::User(r) => drop(self.users.insert(r.id.clone(), Rc::new(r))),
            Record::Group(r) => drop(self.groups.insert(r.id.clone(), Rc::new(r))),
            Record::Device(r) => drop(self.devices.insert(r.id.clone(), Rc::from(r))),
            Record::UserGroup(r) => drop(self.user_groups.insert(r.id.clone(), Rc::new(r))),
            Record::Secret(r) => drop(self.secrets.insert(r.name.clone(), Rc::new(r))),
            Record::Factors(r) => drop(self.factors.insert(r.user.clone(), Rc::new(r))),
            Record::LoginToken(r) => {
                self.login_tokens.insert(r.token_user.clone(), Rc::new(r));
            }
            Record::Share(r) => drop(self.shares.insert(r.public_id.clone(), Rc::new(r))),
            Record::Document(r) => drop(self.documents.insert(r.id.clone(), Rc::new(r))),
            Record::Ban(r) => drop(self.bans.insert(r.network.clone(), Rc::new(r))),
            Record::AmtAccess(r) => drop(self.amt_access.insert(r.node.clone(), Rc::new(r))),
            Record::AmtPolicy(r) => drop(self.amt_policies.insert(r.group.clone(), Rc::new(r))),
        }
    }

    pub(super) fn remove(&mut self, key: &RecordKey) {
        match key {
            RecordKey::User(id) => {
                self.users.remove(id);
                self.factors.remove(id);
                self.login_tokens.retain(|_, token| token.user != *id);
                self.shares.retain(|_, share| share.user != *id);
                let own =
                    [Document::web_state(id), Document::image(id), Document::private_note(id)];
                own.iter().for_each(|id| drop(self.documents.remove(id)));
                self.documents.remove(&Document::note(&id.to_string()));
            }
            RecordKey::Group(id) => {
                self.groups.remove(id);
                self.amt_policies.remove(id);
                self.documents.remove(&Document::note(&id.to_string()));
            }
            RecordKey::Device(id) => {
                self.devices.remove(id);
                self.shares.retain(|_, share| share.node != *id);
                self.amt_access.remove(id);
                self.documents.remove(&Document::note(&id.to_string()));
                if self.seen.remove(id).is_some_and(|seen| seen.changed) {
                    self.unseen -= 1;
                }
            }
            RecordKey::UserGroup(id) => drop(self.user_groups.remove(id)),
            RecordKey::Secret(name) => drop(self.secrets.remove(name)),
            RecordKey::Factors(user) => drop(self.factors.remove(user)),
            RecordKey::LoginToken(token) => drop(self.login_tokens.remove(token)),
            RecordKey::Share(id) => drop(self.shares.remove(id)),
            RecordKey::Document(id) => drop(self.documents.remove(id)),
            RecordKey::Ban(network) => drop(self.bans.remove(network)),
            RecordKey::AmtAccess(node) => drop(self.amt_access.remove(node)),
            RecordKey::AmtPolicy(group) => drop(self.amt_policies.remove(group)),
        }
        self.carry_removal(key);
    }

    /// A copy of every record, by kind and id.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        fn copies<K, V: Clone + Into<Record>>(
            table: &BTreeMap<K, Rc<V>>,
        ) -> impl Iterator<Item = Record> {
            table.values().map(|record| V::clone(record).into())
        }
        copies(&self.users)
            .chain(copies(&self.user_groups))
            .chain(copies(&self.groups))
            .chain(copies(&self.devices))
            .chain(copies(&self.secrets))
            .chain(copies(&self.factors))
            .chain(copies(&self.login_tokens))
            .chain(copies(&self.shares))
            .chain(copies(&self.documents))
            .chain(copies(&self.bans))
            .chain(copies(&self.amt_access))
            .chain(copies(&self.amt_policies))
    }

    fn carry_removal(&mut self, key: &RecordKey) {
        if self.carried.is_empty() {
            return;
        }
        let mut raw = Vec::new();
        if codec::append(&mut raw, key).is_ok() && !self.carried.iter().any(|c| **c == *raw) {
            self.carried.push(raw.into());
        }
    }

    /// Number of frames carried along for a newer version.
    pub(super) fn carried(&self) -> usize {
        self.carried.len()
    }

    pub(super) fn last_seen(&self, id: &NodeId) -> Option<&LastSeen> {
        self.seen.get(id).and_then(|seen| seen.last.as_ref())
    }

    pub(super) fn set_last_seen(&mut self, id: &NodeId, last: LastSeen) {
        let seen = self.seen.entry(id.clone()).or_default();
        if seen.last.as_ref() == Some(&last) {
            return;
        }
        seen.last = Some(last);
        if !std::mem::replace(&mut seen.changed, true) {
            self.unseen += 1;
        }
    }

    /// Notes a state of power; false if it is the one noted last.
    pub(super) fn set_power(&mut self, id: &NodeId, change: PowerChange) -> bool {
        let seen = self.seen.entry(id.clone()).or_default();
        seen.power.replace(change.power) != Some(change.power)
    }

    /// Whether a batch of what was seen would have content.
    pub(super) fn has_unseen(&self) -> bool {
        self.unseen > 0
    }

    /// The devices seen since the last batch, in batches of bounded size; at least one batch.
    pub(super) fn take_unseen(&mut self, floor: Millis) -> Vec<SeenBatch> {
        let mut batches = vec![SeenBatch { floor, seen: Vec::new() }];
        if std::mem::take(&mut self.unseen) == 0 {
            return batches;
        }
        for (id, seen) in self.seen.iter_mut().filter(|(_, seen)| seen.changed) {
            seen.changed = false;
            let Some(last) = &seen.last else { continue };
            match batches.last_mut() {
                Some(batch) if batch.seen.len() < BATCH => batch.seen.push(SeenForm::new(id, last)),
                _ => batches.push(SeenBatch { floor, seen: vec![SeenForm::new(id, last)] }),
            }
        }
        batches
    }

    /// Takes over what a frame says. Returns the floor of the clock, if it says one.
    pub(super) fn apply(&mut self, frame: &Frame<'_>) -> Applied {
        match codec::entry(frame) {
            Entry::User(r) => self.put(r.into()),
            Entry::Group(r) => self.put(r.into()),
            Entry::Device(r) => self.put(Record::Device(r)),
            Entry::UserGroup(r) => self.put(r.into()),
            Entry::Secret(r) => self.put(r.into()),
            Entry::Factors(r) => self.put(r.into()),
            Entry::LoginToken(r) => self.put(r.into()),
            Entry::Share(r) => self.put(r.into()),
            Entry::Document(r) => self.put(r.into()),
            Entry::Ban(r) => self.put(r.into()),
            Entry::AmtAccess(form) => match form.open(&self.vault) {
                Some(r) => self.put(r.into()),
                None => self.carried.push(frame.raw.into()),
            },
            Entry::AmtPolicy(form) => match form.open(&self.vault) {
                Some(r) => self.put(r.into()),
                None => self.carried.push(frame.raw.into()),
            },
            Entry::Remove(key) => self.remove(&key),
            Entry::Seen(batch) => {
                for form in batch.seen {
                    self.apply_seen(form);
                }
                return Applied::Floor(batch.floor);
            }
            Entry::SnapshotEnd => return Applied::SnapshotEnd,
            Entry::Foreign => self.carried.push(frame.raw.into()),
        }
        Applied::Record
    }

    fn apply_seen(&mut self, form: SeenForm) {
        let mut first = Key48::ZERO;
        first.0[..form.key.len()].copy_from_slice(&form.key);
        let first = NodeId::new(form.domain, first);
        let Some((id, _)) = self.devices.range(&first..).next() else { return };
        if id.domain == first.domain && codec::short_key(&id.key) == form.key {
            let last = LastSeen { time: form.time, addr: form.addr.to_string() };
            self.seen.entry(id.clone()).or_default().last = Some(last);
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

/// Devices per batch of what was seen.
const BATCH: usize = 1000;

/// What came of a frame.
#[derive(Debug, PartialEq)]
pub(super) enum Applied {
    Record,
    Floor(Millis),
    SnapshotEnd,
}

/// Why a record is not kept on disk.
#[derive(Debug)]
pub(super) enum Unkept {
    /// It does not fit into a frame.
    TooLong(TooLong),
    /// There is no key to seal it with.
    NoKey,
}

impl From<TooLong> for Unkept {
    fn from(error: TooLong) -> Self {
        Self::TooLong(error)
    }
}

impl std::fmt::Display for Unkept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong(error) => error.fmt(f),
            Self::NoKey => f.write_str("there is no key to seal its password with"),
        }
    }
}

fn append_access(out: &mut Vec<u8>, access: &AmtAccess, vault: &Vault) -> Result<(), Unkept> {
    let form = AmtAccessForm::seal(access, vault).ok_or(Unkept::NoKey)?;
    Ok(codec::append(out, &form)?)
}

fn append_policy(out: &mut Vec<u8>, policy: &AmtPolicy, vault: &Vault) -> Result<(), Unkept> {
    let form = AmtPolicyForm::seal(policy, vault).ok_or(Unkept::NoKey)?;
    Ok(codec::append(out, &form)?)
}

impl State {
    /// Appends a record as a frame.
    pub(super) fn encode(&self, record: &Record, out: &mut Vec<u8>) -> Result<(), Unkept> {
        match record {
            Record::AmtAccess(r) => append_access(out, r, &self.vault),
            Record::AmtPolicy(r) => append_policy(out, r, &self.vault),
            record => Ok(encode(record, out)?),
        }
    }
}

/// The same for what needs no sealing.
fn encode(record: &Record, out: &mut Vec<u8>) -> Result<(), TooLong> {
    match record {
        Record::User(r) => codec::append(out, r),
        Record::Group(r) => codec::append(out, r),
        Record::Device(r) => codec::append(out, &**r),
        Record::UserGroup(r) => codec::append(out, r),
        Record::Secret(r) => codec::append(out, r),
        Record::Factors(r) => codec::append(out, r),
        Record::LoginToken(r) => codec::append(out, r),
        Record::Share(r) => codec::append(out, r),
        Record::Document(r) => codec::append(out, r),
        Record::Ban(r) => codec::append(out, r),
        Record::AmtAccess(_) | Record::AmtPolicy(_) => Ok(()),
    }
}

/// How far a snapshot has come: a table and the last key of it that was written. The tables may
/// change between two parts; changes go behind the snapshot as frames of their own.
#[derive(Debug, Default)]
pub(super) enum Cursor {
    #[default]
    Carried,
    Users(Option<UserId>),
    UserGroups(Option<UserGroupId>),
    Groups(Option<GroupId>),
    Secrets(Option<String>),
    Factors(Option<UserId>),
    LoginTokens(Option<String>),
    Shares(Option<String>),
    Documents(Option<String>),
    Bans(Option<String>),
    AmtAccess(Option<NodeId>),
    AmtPolicies(Option<GroupId>),
    Devices(Option<NodeId>),
    /// After the devices it names.
    Seen(Option<NodeId>),
}

/// Bytes after which a part of a snapshot ends.
const PART: usize = 64 << 10;

impl State {
    /// Writes the next part of a snapshot to `out`, which is empty. Returns where the one after it
    /// begins, if any.
    pub(super) fn snapshot(
        &self,
        mut cursor: Cursor,
        floor: Millis,
        out: &mut Vec<u8>,
    ) -> Option<Cursor> {
        while out.len() < PART {
            cursor = match cursor {
                // First, so that what we know wins over what we cannot read.
                Cursor::Carried => {
                    self.carried.iter().for_each(|raw| out.extend_from_slice(raw));
                    Cursor::Users(None)
                }
                Cursor::Users(after) => match walk(&self.users, after, out) {
                    Some(last) => Cursor::Users(Some(last)),
                    None => Cursor::UserGroups(None),
                },
                Cursor::UserGroups(after) => match walk(&self.user_groups, after, out) {
                    Some(last) => Cursor::UserGroups(Some(last)),
                    None => Cursor::Groups(None),
                },
                Cursor::Groups(after) => match walk(&self.groups, after, out) {
                    Some(last) => Cursor::Groups(Some(last)),
                    None => Cursor::Secrets(None),
                },
                Cursor::Secrets(after) => match walk(&self.secrets, after, out) {
                    Some(last) => Cursor::Secrets(Some(last)),
                    None => Cursor::Factors(None),
                },
                Cursor::Factors(after) => match walk(&self.factors, after, out) {
                    Some(last) => Cursor::Factors(Some(last)),
                    None => Cursor::LoginTokens(None),
                },
                Cursor::LoginTokens(after) => match walk(&self.login_tokens, after, out) {
                    Some(last) => Cursor::LoginTokens(Some(last)),
                    None => Cursor::Shares(None),
                },
                Cursor::Shares(after) => match walk(&self.shares, after, out) {
                    Some(last) => Cursor::Shares(Some(last)),
                    None => Cursor::Documents(None),
                },
                Cursor::Documents(after) => match walk(&self.documents, after, out) {
                    Some(last) => Cursor::Documents(Some(last)),
                    None => Cursor::Bans(None),
                },
                Cursor::Bans(after) => match walk(&self.bans, after, out) {
                    Some(last) => Cursor::Bans(Some(last)),
                    None => Cursor::AmtAccess(None),
                },
                Cursor::AmtAccess(after) => match self.walk_access(after, out) {
                    Some(last) => Cursor::AmtAccess(Some(last)),
                    None => Cursor::AmtPolicies(None),
                },
                Cursor::AmtPolicies(after) => match self.walk_policies(after, out) {
                    Some(last) => Cursor::AmtPolicies(Some(last)),
                    None => Cursor::Devices(None),
                },
                Cursor::Devices(after) => match walk(&self.devices, after, out) {
                    Some(last) => Cursor::Devices(Some(last)),
                    None => Cursor::Seen(None),
                },
                Cursor::Seen(after) => Cursor::Seen(Some(self.walk_seen(after, floor, out)?)),
            };
        }
        Some(cursor)
    }

    fn walk_access(&self, after: Option<NodeId>, out: &mut Vec<u8>) -> Option<NodeId> {
        walk_with(&self.amt_access, after, out, |r, out| {
            let _ = append_access(out, r, &self.vault);
        })
    }

    fn walk_policies(&self, after: Option<GroupId>, out: &mut Vec<u8>) -> Option<GroupId> {
        walk_with(&self.amt_policies, after, out, |r, out| {
            let _ = append_policy(out, r, &self.vault);
        })
    }

    /// Appends one batch of what was seen; returns its last device, or `None` at the end.
    fn walk_seen(&self, after: Option<NodeId>, floor: Millis, out: &mut Vec<u8>) -> Option<NodeId> {
        let start = after.as_ref().map_or(Unbounded, Excluded);
        let mut last = None;
        let rest = self.seen.range((start, Unbounded)).take(BATCH);
        let forms = rest.inspect(|(id, _)| last = Some((*id).clone()));
        let seen = forms.filter_map(|(id, s)| Some(SeenForm::new(id, s.last.as_ref()?))).collect();
        // A thousand entries of some 300 bytes at most: never too long. The first batch is written
        // in any case, for the floor.
        if last.is_some() || after.is_none() {
            let _ = codec::append(out, &SeenBatch { floor, seen });
        }
        last
    }
}

/// Appends the records behind `after` until the part is full. Returns the last key, or `None` at
/// the end of the table.
fn walk<K: Ord + Clone, V: Stored>(
    table: &BTreeMap<K, Rc<V>>,
    after: Option<K>,
    out: &mut Vec<u8>,
) -> Option<K> {
    // One that is too long was refused when it was put, and never promised to be durable.
    walk_with(table, after, out, |record, out| {
        let _ = codec::append(out, record);
    })
}

/// The same with a way of its own to append a record.
fn walk_with<K: Ord + Clone, V>(
    table: &BTreeMap<K, Rc<V>>,
    after: Option<K>,
    out: &mut Vec<u8>,
    append: impl Fn(&V, &mut Vec<u8>),
) -> Option<K> {
    let start = after.as_ref().map_or(Unbounded, Excluded);
    for (key, record) in table.range((start, Unbounded)) {
        append(record, out);
        if out.len() >= PART {
            return Some(key.clone());
        }
    }
    None
}
