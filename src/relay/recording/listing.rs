//! The list of a domain's recordings, as MeshCentral's page wants it.
//!
//! History has an event for each recording that ended here. A recording without one (history is
//! bounded; the folder came from another server; the server did not live to tell) is described by
//! its first and last block instead.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use serde_json::{Map, Value, json};

use crate::model::DomainId;
use crate::model::order;
use crate::pool;
use crate::store::EventQuery;

use super::folder::{Entry, Folder};
use super::name::{Form, belongs_to};
use super::repair::{blocks, end_of};
use super::room::Recordings;
use super::wire::{HEAD, Metadata};

/// Most recordings in a list.
pub const LIST_MAX: usize = 1000;
/// Longest first block that is read, in bytes.
const METADATA_MAX: u32 = 16 << 10;

/// A line of the list.
pub type Line = Map<String, Value>;

impl Recordings {
    /// The newest recordings of `domain`, newest first, at most `limit`. Those whose file is there
    /// have `present: 1`.
    pub async fn list(&self, domain: &DomainId, limit: usize) -> io::Result<Vec<Line>> {
        let Some(folder) = self.folder(domain) else { return Ok(Vec::new()) };
        let limit = limit.min(LIST_MAX);
        let query = EventQuery {
            domain: domain.clone(),
            action: Some("recording".to_owned()),
            limit,
            ..EventQuery::default()
        };
        let told: Vec<Line> = self
            .history(query)
            .await
            .into_iter()
            .filter_map(|past| match past.event.to_json(past.time) {
                Value::Object(line) => Some(line),
                _ => None,
            })
            .collect();
        let domain = domain.clone();
        pool::unblock(move || {
            let folder = match Folder::open(&folder) {
                Ok(folder) => folder,
                // Nothing has been recorded yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(told),
                Err(error) => return Err(error),
            };
            let mut entries = folder.list()?;
            entries.retain(|entry| belongs_to(&entry.name, &domain));
            order::sort_by(&mut entries, |a, b| (b.modified, &b.name).cmp(&(a.modified, &a.name)));
            Ok(merge(told, &entries, limit, |entry| describe(&folder, entry)))
        })
        .await
    }
}

/// Joins what history tells with what is in the folder.
fn merge(
    told: Vec<Line>,
    entries: &[Entry],
    limit: usize,
    describe: impl Fn(&Entry) -> Option<Line>,
) -> Vec<Line> {
    let name = |line: &Line| line.get("filename")?.as_str().map(str::to_owned);
    let known: BTreeSet<_> = order::gather(told.iter().filter_map(name));
    let there: BTreeSet<_> = order::gather(entries.iter().map(|entry| &*entry.name));
    let mut lines: Vec<Line> = Vec::new();
    for mut line in told {
        // The page knows these, and what a session was told it is not told again.
        for hidden in ["action", "etype", "msg", "domain"] {
            line.remove(hidden);
        }
        if name(&line).is_some_and(|name| there.contains(&*name)) {
            line.insert("present".into(), 1.into());
        }
        lines.push(line);
    }
    let unknown = entries.iter().filter(|entry| !known.contains(&entry.name)).take(limit);
    lines.extend(unknown.filter_map(describe));
    let began = |line: &Line| line.get("startTime").and_then(Value::as_u64).unwrap_or_default();
    order::sort_by(&mut lines, |a, b| began(b).cmp(&began(a)));
    lines.truncate(limit);
    lines
}

/// What a file says of itself; `None` if it cannot be read.
fn describe(folder: &Folder, entry: &Entry) -> Option<Line> {
    let file = folder.read(&entry.name).ok()?;
    let (metadata, begun, ended) = match Form::of(&entry.name)? {
        Form::Blocks => blocks_of(&file, entry.len)?,
        Form::Chat => (chat_of(&file, entry.len)?, entry.modified.0, entry.modified.0),
    };
    let line = json!({
        "nodeid": metadata.nodeid,
        "filename": entry.name,
        "size": entry.len,
        "userids": metadata.userid.into_iter().collect::<Vec<_>>(),
        "protocol": metadata.protocol,
        "meshname": metadata.devicegroup,
        "meshid": metadata.meshid,
        "name": metadata.devicename,
        "startTime": begun,
        "lengthTime": ended.saturating_sub(begun) / 1000,
        "time": entry.modified.iso(),
        "present": 1,
    });
    let Value::Object(mut line) = line else { return None };
    line.retain(|_, value| !value.is_null());
    Some(line)
}

/// The first block, when it was written, and when the last.
fn blocks_of(file: &File, len: u64) -> Option<(Metadata, u64, u64)> {
    let first = blocks(file, len).next()?.ok()?.head;
    if first.size > METADATA_MAX {
        return None;
    }
    let mut json = vec![0; first.size as usize];
    file.read_exact_at(&mut json, HEAD as u64).ok()?;
    let end = end_of(file, len).ok()?.map_or(first.time, |(end, _)| end.time);
    Some((serde_json::from_slice(&json).ok()?, first.time.0, end.0))
}

/// The first line.
fn chat_of(file: &File, len: u64) -> Option<Metadata> {
    let mut start = vec![0; len.min(METADATA_MAX.into()) as usize];
    file.read_exact_at(&mut start, 0).ok()?;
    let line = start.split(|b| *b == b'\r').next()?;
    serde_json::from_slice(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Millis;

    fn line(value: Value) -> Line {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn history_and_folder_make_one_list() {
        let entry = |name: &str| Entry { name: name.into(), len: 1, modified: Millis(0) };
        let told = [("a", 30), ("gone", 20)].map(|(name, start)| {
            line(json!({
                "etype": "relay", "action": "recording", "msg": "Finished", "domain": "",
                "filename": name, "startTime": start, "time": "t",
            }))
        });
        let described = |entry: &Entry| {
            let start = if entry.name == "new" { 40 } else { 10 };
            (entry.name != "broken")
                .then(|| line(json!({"filename": entry.name, "startTime": start, "present": 1})))
        };
        let entries = [entry("new"), entry("a"), entry("broken"), entry("old")];
        let merged = merge(told.to_vec(), &entries, 10, described);
        let expected = json!([
            {"filename": "new", "startTime": 40, "present": 1},
            {"filename": "a", "startTime": 30, "time": "t", "present": 1},
            {"filename": "gone", "startTime": 20, "time": "t"},
            {"filename": "old", "startTime": 10, "present": 1},
        ]);
        assert_eq!(json!(merged), expected);
        assert_eq!(merge(told.to_vec(), &entries, 2, described), merged[..2]);
    }

    #[test]
    fn a_file_describes_itself() {
        let data = tempfile::tempdir().unwrap();
        let vector = include_str!("../../../tests/vectors/relay-mcrec.json");
        let vector: Value = serde_json::from_str(vector).unwrap();
        let bytes = data_encoding::HEXLOWER.decode(vector["hex"].as_str().unwrap().as_bytes());
        let name = vector["filename"].as_str().unwrap();
        std::fs::write(data.path().join(name), bytes.unwrap()).unwrap();
        let folder = Folder::open(data.path()).unwrap();
        let entry = folder.list().unwrap().remove(0);
        let line = describe(&folder, &entry).unwrap();
        assert_eq!((&line["name"], &line["protocol"]), (&json!("vm"), &json!(1)));
        assert_eq!(line["userids"], json!(["user//admin"]));
        assert_eq!(line["size"], vector["len"]);
        assert!(line["lengthTime"].as_u64().unwrap() < 60);
        assert!(!line.contains_key("meshid"));
    }
}
