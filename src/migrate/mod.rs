//! Moving in from MeshCentral: a `meshcentral-data` folder, read and never changed, becomes records.
//! And out again: [`export`].
//!
//! [`nedb`] reads its database, `people`, `machines` and `history` turn documents into records,
//! [`files`] takes over certificates and `config.json`, [`Report`] says what was found, taken over,
//! already here, and left out with the reason. An import can be repeated: what is already here
//! stays as it is here. It works on a folder that no server uses.

mod document;
mod export;
mod files;
mod history;
mod machines;
pub mod nedb;
mod people;
mod report;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::identity::cookie::{INVITATION_KEY, LOGIN_KEY};
use crate::model;
use crate::model::{DomainId, NodeId, Secret, order};
use crate::store::{Commit, EventQuery, NotDurable, Record, Store};

use document::Document;
use nedb::{Documents, Keys, NedbError};

pub use export::{Exported, export};
pub use report::{Count, Remark, Report};

/// Newest events and changes of power that are taken over; histories have a quota in bytes besides.
const HISTORY_MAX: usize = 50_000;

/// What to import, and where to.
pub struct Import<'a> {
    /// A `meshcentral-data` folder.
    pub source: &'a Path,
    /// A file made with `--dbexport`, read in place of the folder's database.
    pub export: Option<&'a Path>,
    /// Our data folder.
    pub data: &'a Path,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// Why nothing was imported.
#[derive(Debug)]
pub enum ImportError {
    /// A file cannot be read or written.
    Io(PathBuf, io::Error),
    /// The database cannot be read.
    Database(NedbError),
    /// The folder has no database of the form MeshCentral uses by default.
    NoDatabase(PathBuf),
    /// The file is not what `--dbexport` writes.
    NoExport(PathBuf),
    /// Agents know this server by another certificate than those of the source know theirs.
    OtherServer {
        /// Our certificate.
        file: PathBuf,
        /// Devices that pin it.
        devices: usize,
    },
    /// The disk did not take it.
    NotDurable(NotDurable),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Database(error) => error.fmt(f),
            Self::NoDatabase(path) => write!(
                f,
                "{} is not there; if MeshCentral keeps its records in another database, export \
                 them with `node node_modules/meshcentral --dbexport FILE` and name the file with \
                 --dbexport",
                path.display()
            ),
            Self::NoExport(path) => {
                write!(f, "{}: not a JSON array of documents, as --dbexport makes", path.display())
            }
            Self::OtherServer { file, devices } => write!(
                f,
                "{devices} devices here know this server by {}, and those of the source know \
                 another; one server cannot be both. Import into a new data folder",
                file.display()
            ),
            Self::NotDurable(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ImportError {}

impl Import<'_> {
    /// Does it. `store` is the open store of the data folder.
    pub async fn run(&self, store: &Store) -> Result<Report, ImportError> {
        let keys = || files::database_keys(self.source);
        let documents = self.documents(keys()?)?;
        let files = files::plan(self.source, self.data, store.device_count())?;
        let mut mover =
            Mover { store, dry_run: self.dry_run, report: Report::default(), last: None };
        mover.secrets(&documents);
        mover.documents(&documents);
        if self.export.is_none() {
            mover.history(self.source, &keys()?).await?;
        }
        let Mover { mut report, last, .. } = mover;
        if documents.lines.damaged > 0 {
            let what = format!("{} damaged lines of the database", documents.lines.damaged);
            report.remark(format!("{what} are left out"), "");
        }
        report.files = files.perform(self.dry_run)?;
        if let Some(commit) = last {
            // The journal keeps the order: when the last is on disk, all are.
            commit.await.map_err(ImportError::NotDurable)?;
        }
        Ok(report)
    }

    fn documents(&self, keys: Keys) -> Result<Documents, ImportError> {
        let Some(export) = self.export else {
            let path = self.source.join("meshcentral.db");
            let copy = self.source.join("meshcentral.db~");
            if !path.exists() && !copy.exists() {
                return Err(ImportError::NoDatabase(path));
            }
            return Documents::read(&path, keys).map_err(ImportError::Database);
        };
        let text = std::fs::read(export).map_err(|e| ImportError::Io(export.to_owned(), e))?;
        let mut documents = Documents::of(keys);
        documents.add_export(&text).ok_or_else(|| ImportError::NoExport(export.to_owned()))?;
        Ok(documents)
    }
}

/// Puts what it reads into the store, unless it is there.
struct Mover<'s> {
    store: &'s Store,
    dry_run: bool,
    report: Report,
    last: Option<Commit>,
}

/// What a document is, as people call it.
type Sort = &'static str;

impl Mover<'_> {
    /// Counts one, and keeps `records` unless it is `present`.
    fn take(
        &mut self,
        sort: Sort,
        present: bool,
        records: impl IntoIterator<Item = Record>,
    ) -> bool {
        let count = self.report.count(sort);
        if present {
            count.present += 1;
            return false;
        }
        count.imported += 1;
        if !self.dry_run {
            for record in records {
                self.last = Some(self.store.put(record));
            }
        }
        true
    }

    /// The keys of cookies: with them, links and login keys that people have go on working.
    fn secrets(&mut self, documents: &Documents) {
        // Before there are accounts nobody has a cookie of ours.
        let is_new = self.store.users(&DomainId::default()).is_empty();
        for name in [LOGIN_KEY, INVITATION_KEY] {
            let Some(fields) = documents.get(name) else { continue };
            self.report.count("cookie keys").found += 1;
            let hex = fields.get("key").and_then(Value::as_str).unwrap_or_default();
            let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes());
            let Some(bytes) = bytes.ok().filter(|bytes| bytes.len() == 80) else {
                self.report.remark("a cookie key is not 80 bytes in hexadecimal", name);
                continue;
            };
            let ours = self.store.secret(name);
            if ours.as_ref().is_some_and(|ours| ours.bytes != bytes) && !is_new {
                let what = "a cookie key of this server is kept: links made before do not work";
                self.report.remark(what, name);
            }
            let present = ours.is_some_and(|ours| !is_new || ours.bytes == bytes);
            self.take("cookie keys", present, [Secret { name: name.into(), bytes }.into()]);
        }
    }

    fn documents(&mut self, documents: &Documents) {
        // Groups before devices: a device without a group is left out.
        let mut later = Vec::new();
        for id in documents.ids() {
            match documents.get(id) {
                Some(fields) if is_about_a_device(&fields) => later.push(id),
                Some(fields) => self.document(id, fields),
                None => {
                    let what = "secrets cannot be opened: dbRecordsEncryptKey is missing or wrong";
                    self.report.remark(what, id);
                }
            }
        }
        // `if…`, `lc…` and `si…` sort before `node/…`.
        let is_device = |id: &str| id.starts_with("node/");
        order::sort_by(&mut later, |a, b| is_device(b).cmp(&is_device(a)));
        for id in later {
            if let Some(fields) = documents.get(id) {
                self.device_document(id, fields);
            }
        }
    }

    fn document(&mut self, id: &str, fields: Map<String, Value>) {
        let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        match (kind.as_str(), id.get(..2)) {
            ("user", _) => self.account(id, fields),
            ("ugrp", _) => {
                self.report.count("user groups").found += 1;
                let doc = Document::new("user group", id, fields, &mut self.report);
                let Some(group) = people::user_group(doc) else { return self.unreadable(id) };
                let present = self.store.user_group(&group.id).is_some();
                self.take("user groups", present, [group.into()]);
            }
            ("mesh", _) => {
                self.report.count("device groups").found += 1;
                let doc = Document::new("device group", id, fields, &mut self.report);
                let Some((group, policy)) = machines::group(doc) else { return };
                let present = self.store.group(&group.id).is_some();
                let records = std::iter::once(group.into()).chain(policy.map(Record::from));
                self.take("device groups", present, records);
            }
            ("logintoken", _) => {
                self.report.count("login tokens").found += 1;
                let doc = Document::new("login token", id, fields, &mut self.report);
                let Some(token) = people::login_token(doc) else { return self.unreadable(id) };
                let present = self.store.login_token(&token.token_user).is_some();
                self.take("login tokens", present, [token.into()]);
            }
            ("deviceshare", _) => {
                self.report.count("device shares").found += 1;
                let doc = Document::new("device share", id, fields, &mut self.report);
                let Some(share) = machines::share(doc) else { return self.unreadable(id) };
                let present = self.store.share(&share.public_id).is_some();
                self.take("device shares", present, [share.into()]);
            }
            (_, Some("nt" | "ws" | "im")) => self.text(id, &fields),
            _ if IGNORED.iter().any(|prefix| id.starts_with(prefix)) => {}
            _ => self.report.remark("documents that are not known are left out", id),
        }
    }

    fn account(&mut self, id: &str, fields: Map<String, Value>) {
        self.report.count("accounts").found += 1;
        let doc = Document::new("account", id, fields, &mut self.report);
        let Some((user, factors)) = people::account(doc) else { return };
        let present = self.store.user(&user.id).is_some();
        let records = std::iter::once(user.into()).chain(factors.map(Record::from));
        self.take("accounts", present, records);
    }

    /// Notes, the state of a web page, a picture.
    fn text(&mut self, id: &str, fields: &Map<String, Value>) {
        self.report.count("notes").found += 1;
        let member = ["value", "state", "image"].into_iter().find_map(|name| fields.get(name));
        let Some(text) = member.and_then(Value::as_str) else { return self.unreadable(id) };
        if text.len() > model::Document::MAX {
            return self.report.remark("a text is longer than 64 KiB and is left out", id);
        }
        let document = model::Document { id: id.into(), text: text.into() };
        self.take("notes", self.store.document(id).is_some(), [document.into()]);
    }

    fn device_document(&mut self, id: &str, fields: Map<String, Value>) {
        if id.starts_with("node/") {
            return self.device(id, fields);
        }
        let doc = Document::new("device", id, fields, &mut self.report);
        if id.starts_with("lc") {
            let Some((node, seen)) = machines::last_seen(doc) else { return };
            let known = self.store.last_seen(&node).is_some();
            if !known && !self.dry_run && self.store.device(&node).is_some() {
                self.store.set_last_seen(&node, seen);
            }
            return;
        }
        let detail =
            if id.starts_with("if") { machines::network(doc) } else { machines::system(doc) };
        let Some(detail) = detail else { return };
        self.report.count("device details").found += 1;
        if self.dry_run {
            self.report.count("device details").imported += 1;
        } else if self.store.device(&detail.node).is_some() {
            let (json, tag) = (detail.json.as_bytes(), detail.tag.as_deref());
            let new = self.store.set_detail(&detail.node, detail.kind, json, tag, detail.time);
            let count = self.report.count("device details");
            *(if new { &mut count.imported } else { &mut count.present }) += 1;
        }
    }

    fn device(&mut self, id: &str, fields: Map<String, Value>) {
        self.report.count("devices").found += 1;
        let doc = Document::new("device", id, fields, &mut self.report);
        let Some((device, access)) = machines::device(doc) else { return };
        let present = self.store.device(&device.id).is_some();
        if !present && !self.dry_run && self.store.group(&device.group).is_none() {
            return self.report.remark("device: not taken over: its group is not there", id);
        }
        let records = std::iter::once(Record::from(device)).chain(access.map(Record::from));
        self.take("devices", present, records);
    }

    fn unreadable(&mut self, id: &str) {
        self.report.remark("a document lacks what it needs and is left out", id);
    }

    /// Events and power changes, into a history that is empty: they cannot be put between others.
    async fn history(&mut self, source: &Path, keys: &Keys) -> Result<(), ImportError> {
        let read = |name: &str| {
            nedb::newest(&source.join(name), keys, HISTORY_MAX).map_err(ImportError::Database)
        };
        let events = read("meshcentral-events.db")?;
        self.report.count("events").found = events.len();
        let events: Vec<_> =
            events.into_iter().filter_map(|(time, fields)| history::event(time, fields)).collect();
        if self.has_events(events.iter().map(|past| &past.event.domain)).await {
            self.report.count("events").present = events.len();
        } else {
            self.report.count("events").imported = events.len();
            for past in events.into_iter().filter(|_| !self.dry_run) {
                self.store.record_event(past.time, &past.event);
            }
        }
        let changes = read("meshcentral-power.db")?;
        let changes = history::power_changes(&changes);
        self.report.count("power changes").found = changes.len();
        for (node, change) in changes {
            // A device's history begins with the import or not at all.
            let known = self.knows_power_before(&node, change.time).await;
            let count = self.report.count("power changes");
            *(if known { &mut count.present } else { &mut count.imported }) += 1;
            if !known && !self.dry_run {
                self.store.record_power(&node, change);
            }
        }
        Ok(())
    }

    async fn has_events(&self, domains: impl Iterator<Item = &DomainId>) -> bool {
        let mut domains: Vec<_> = domains.cloned().collect();
        order::sort_by(&mut domains, Ord::cmp);
        domains.dedup();
        for domain in domains {
            let query = EventQuery { domain, limit: 1, ..EventQuery::default() };
            if !self.store.events(query).await.is_empty() {
                return true;
            }
        }
        false
    }

    async fn knows_power_before(&self, node: &NodeId, time: model::Millis) -> bool {
        self.store.power(node).await.iter().any(|change| change.time >= time)
    }
}

/// Documents without meaning here, by the start of their id.
const IGNORED: [&str; 12] = [
    "DatabaseIdentifier",
    "SchemaVersion",
    "dbconfig",
    "ServerStats",
    LOGIN_KEY,
    INVITATION_KEY,
    "al",
    "ra",
    "da",
    "pmt_",
    "sm",
    "MpsWebSocketAuth",
];

fn is_about_a_device(fields: &Map<String, Value>) -> bool {
    let kind = fields.get("type").and_then(Value::as_str);
    matches!(kind, Some("node" | "lastconnect" | "ifinfo" | "sysinfo"))
}
