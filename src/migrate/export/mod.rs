//! The way back: records become the documents of MeshCentral's `--dbexport`, for its `--dbimport`.
//!
//! `people` and `machines` are the counterparts of the modules of the same names that read such
//! documents: what one of them writes, the other reads as the same record. Documents are written
//! one by one; one that MeshCentral's database would refuse is left out, because it refuses all
//! others with it. History is in none of its exports.

mod draft;
mod machines;
mod people;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;

use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::Value;

use super::nedb::escaped;
use super::report::{Remark, remark, write_remarks};
use crate::identity::cookie::{INVITATION_KEY, LOGIN_KEY};
use crate::model::{Device, Document, LinkTarget, Millis, NodeId, UserId};
use crate::store::{Detail, DetailKind, Record, Store};

use draft::Draft;

/// What was written, and what could not be.
#[derive(Debug, Default, Serialize)]
pub struct Exported {
    /// Documents by what they are: `accounts`, `devices`, ….
    pub counts: BTreeMap<&'static str, usize>,
    /// What has no place in MeshCentral, and why.
    pub remarks: BTreeMap<String, Remark>,
    /// Accounts whose passwords MeshCentral cannot verify: there they have one that nobody knows.
    pub new_passwords: Vec<UserId>,
}

impl Exported {
    fn remark(&mut self, what: impl Into<String>, whom: &str) {
        remark(&mut self.remarks, what.into(), whom);
    }
}

impl fmt::Display for Exported {
    /// A table of counts, then remarks; cells are separated by tabs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "WHAT\tEXPORTED")?;
        for (sort, count) in &self.counts {
            writeln!(f, "{sort}\t{count}")?;
        }
        write_remarks(&self.remarks, f)?;
        if self.new_passwords.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.new_passwords.iter().map(UserId::to_string).collect();
        writeln!(
            f,
            "{} accounts need a new password there (node node_modules/meshcentral --resetaccount \
             ID --pass PASSWORD, which takes their second factors away): {}",
            names.len(),
            names.join(", ")
        )
    }
}

/// Writes all records of `store` to `out`, as one JSON array with a document in each line. `now`
/// is the time given to what has none here.
///
/// # Errors
/// What `out` said.
pub async fn export(store: &Store, now: Millis, out: impl Write) -> io::Result<Exported> {
    let records = store.records();
    let holders = Holders::of(&records);
    let mut sheet = Sheet { out, written: 0, report: Exported::default() };
    sheet.out.write_all(b"[")?;
    for record in records {
        match record {
            Record::User(user) => {
                let factors = store.factors(&user.id);
                let account = people::account(&user, factors.as_deref(), &mut sheet.report);
                sheet.put("accounts", account)?;
            }
            Record::UserGroup(group) => {
                let members = holders.of_target(&LinkTarget::UserGroup(group.id.clone()));
                sheet.put("user groups", people::user_group(&group, members))?;
            }
            Record::LoginToken(token) => match people::login_token(&token) {
                Some(document) => sheet.put("login tokens", document)?,
                None => {
                    let what = "login tokens made on this server do not work there";
                    sheet.report.remark(what, &token.token_user);
                }
            },
            Record::Group(group) => {
                let links = holders.of_target(&LinkTarget::Group(group.id.clone()));
                let policy = store.amt_policy(&group.id);
                let document = machines::group(&group, links, policy.as_deref());
                sheet.put("device groups", document)?;
            }
            Record::Device(device) => write_device(store, &device, &holders, &mut sheet).await?,
            Record::Share(share) => {
                let device = store.device(&share.node);
                sheet.put("device shares", machines::share(&share, device.as_deref()))?;
            }
            Record::Document(document) => match text(&document) {
                Some(draft) => sheet.put("notes", draft)?,
                None => sheet.report.remark("a text is of no known kind", &document.id),
            },
            Record::Secret(secret) => {
                // The other secrets are this server's own.
                if [LOGIN_KEY, INVITATION_KEY].contains(&secret.name.as_str()) {
                    let key = Draft::new(&secret.name).with("key", HEXLOWER.encode(&secret.bytes));
                    sheet.put("cookie keys", key.with("time", now.0))?;
                }
            }
            Record::Ban(ban) => sheet.report.remark("bans end with this server", &ban.network),
            // Members of other documents.
            Record::Factors(_) | Record::AmtAccess(_) | Record::AmtPolicy(_) => {}
        }
    }
    sheet.finish()
}

/// A device with what is known about it.
async fn write_device<W: Write>(
    store: &Store,
    device: &Device,
    holders: &Holders,
    sheet: &mut Sheet<W>,
) -> io::Result<()> {
    let id = &device.id;
    let Some(group) = store.group(&device.group) else {
        sheet.report.remark("a device whose group is not there is left out", &id.to_string());
        return Ok(());
    };
    let links = holders.of_target(&LinkTarget::Device(id.clone()));
    let access = store.amt_access(id);
    sheet.put("devices", machines::device(device, group.kind, links, access.as_deref()))?;
    if let Some(seen) = store.last_seen(id) {
        sheet.put("last connections", machines::last_seen(device, &seen))?;
    }
    type Form = fn(&NodeId, &Detail) -> Option<Draft>;
    let forms: [(DetailKind, Form); 2] =
        [(DetailKind::Network, machines::network), (DetailKind::System, machines::system)];
    for (kind, write) in forms {
        let Some(detail) = store.detail(id, kind).await else { continue };
        match write(id, &detail) {
            Some(draft) => sheet.put("device details", draft)?,
            None => {
                let what = "device details are no JSON object and are left out";
                sheet.report.remark(what, &id.to_string());
            }
        }
    }
    Ok(())
}

/// Notes, the state of a web page, a picture.
fn text(document: &Document) -> Option<Draft> {
    let draft = Draft::new(&document.id);
    let text = document.text.as_str();
    Some(match document.id.get(..2)? {
        "nt" => draft.with("type", "note").with("value", text),
        "ws" => draft.with("state", text),
        "im" => draft.with("image", text),
        _ => return None,
    })
}

/// An account or user group that has a right on something.
#[derive(Clone, Debug)]
struct Holder {
    id: Rc<str>,
    name: Rc<str>,
    rights: u32,
}

/// Who has a right on what: the same links, seen from their other end.
struct Holders(BTreeMap<LinkTarget, Vec<Holder>>);

impl Holders {
    fn of(records: &[Record]) -> Self {
        let mut holders: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in records {
            let (id, name, links): (Rc<str>, Rc<str>, _) = match record {
                Record::User(user) => {
                    (user.id.to_string().into(), user.name.as_str().into(), &user.links)
                }
                Record::UserGroup(group) => {
                    (group.id.to_string().into(), group.name.as_str().into(), &group.links)
                }
                _ => continue,
            };
            for link in links {
                let (id, name, rights) = (id.clone(), name.clone(), link.rights.bits());
                holders.entry(link.to.clone()).or_default().push(Holder { id, name, rights });
            }
        }
        Self(holders)
    }

    fn of_target(&self, target: &LinkTarget) -> &[Holder] {
        self.0.get(target).map_or(&[], Vec::as_slice)
    }
}

/// Where documents are written.
struct Sheet<W> {
    out: W,
    written: usize,
    report: Exported,
}

impl<W: Write> Sheet<W> {
    fn put(&mut self, sort: &'static str, draft: Draft) -> io::Result<()> {
        let (id, document) = draft.finish();
        if !names_fit(&document) {
            let what = format!("{sort}: names in it have a dot or dollar sign; it is left out");
            self.report.remark(what, &id);
            return Ok(());
        }
        self.out.write_all(if self.written == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut self.out, &document)?;
        self.written += 1;
        *self.report.counts.entry(sort).or_default() += 1;
        Ok(())
    }

    fn finish(mut self) -> io::Result<Exported> {
        self.out.write_all(b"\n]\n")?;
        self.out.flush()?;
        Ok(self.report)
    }
}

/// Whether NeDB takes the names of all members, on every level.
fn names_fit(value: &Value) -> bool {
    let fits = |name: &String| !name.starts_with('$') && !name.contains('.');
    match value {
        Value::Object(fields) => fields.iter().all(|(name, value)| fits(name) && names_fit(value)),
        Value::Array(values) => values.iter().all(names_fit),
        _ => true,
    }
}
