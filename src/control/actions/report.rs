//! Reports out of history: sessions, traffic, logins, and how many records there are.
//!
//! Who manages accounts sees everybody's doings, others see their own. A report looks at the newest
//! 10,000 events of its kind.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::model::rights::Subject;
use crate::model::{Event, GroupId, Millis, SiteRights, Target, UserId, order};
use crate::store::{EventQuery, PastEvent};

use super::super::request::Request;
use super::{Answer, Call};

/// Most events a report looks at.
const EVENTS_MAX: usize = 10_000;
/// `msgid` of events that tell of a session's begin or end.
const SESSIONS: [u64; 10] = [5, 10, 11, 12, 122, 123, 124, 125, 126, 144];
/// The same of logins, in time and failed.
const LOGINS: [u64; 4] = [107, 108, 109, 110];

/// `groupBy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    User,
    Device,
    Day,
}

/// What is reported.
struct Wanted {
    by: By,
    from: Millis,
    until: Millis,
    group: Option<GroupId>,
    traffic: bool,
}

impl Wanted {
    fn read(call: &Call) -> Option<Self> {
        let request = &call.request;
        let by = match request.number("groupBy")? {
            1 => By::User,
            2 => By::Device,
            3 => By::Day,
            _ => return None,
        };
        let (from, until) = (seconds(request, "start")?, seconds(request, "end")?);
        let group = match request.get("devGroup") {
            None => None,
            Some(id) => {
                let id = GroupId::parse_in(&call.user.id.domain, id.as_str()?).ok()?;
                let visible = !call.hub().rights(&call.user, Subject::Group(&id)).is_empty();
                Some(visible.then_some(id)?)
            }
        };
        let traffic = request.is_true("showTraffic");
        (from < until).then_some(Self { by, from, until, group, traffic })
    }

    fn contains(&self, past: &PastEvent, numbers: &[u64]) -> bool {
        let of_group = |id: &GroupId| past.event.targets.contains(&Target::Group(id.clone()));
        (self.from..=self.until).contains(&past.time)
            && past
                .event
                .body
                .get("msgid")
                .and_then(Value::as_u64)
                .is_some_and(|n| numbers.contains(&n))
            && self.group.as_ref().is_none_or(of_group)
    }
}

/// Seconds, which may have a fraction.
fn seconds(request: &Request, name: &str) -> Option<Millis> {
    let seconds = request.get(name)?.as_f64().filter(|s| (0.0..=1e12).contains(s))?;
    Some(Millis((seconds * 1000.0) as u64))
}

#[derive(Serialize)]
struct Body {
    data: Table,
}

/// `report`: `type` 1 sessions, 2 traffic by account, 3 logins, 4 records.
pub(super) fn report(call: &Call) -> Answer<'_> {
    let Some(wanted) = Wanted::read(call) else { return Answer::none() };
    match call.request.number("type") {
        Some(1) => Answer::later(async move {
            let past = history(call, &wanted, &["relaylog"], &SESSIONS).await;
            call.reply(Body { data: sessions(&wanted, &past) })
        }),
        Some(2) => Answer::later(async move {
            let past = history(call, &wanted, &["relaylog"], &SESSIONS).await;
            call.reply(Body { data: traffic(&past) })
        }),
        Some(3) => Answer::later(async move {
            let past = history(call, &wanted, &["login", "authfail"], &LOGINS).await;
            call.reply(Body { data: logins(&wanted, &past) })
        }),
        Some(4) if call.user.site.is_full() => call.reply(Body { data: records(call) }),
        _ => Answer::none(),
    }
}

/// The events of these actions and numbers that are reported to the user, oldest first.
async fn history(
    call: &Call,
    wanted: &Wanted,
    actions: &[&str],
    numbers: &[u64],
) -> Vec<PastEvent> {
    let all = call.user.site.allows(SiteRights::MANAGE_USERS);
    let mut found = Vec::new();
    for action in actions {
        let query = EventQuery {
            domain: call.user.id.domain.clone(),
            action: Some((*action).to_owned()),
            user: (!all).then(|| call.user.id.clone()),
            limit: EVENTS_MAX,
            ..EventQuery::default()
        };
        let events = call.hub().store.events(query).await;
        found.extend(events.into_iter().filter(|past| wanted.contains(past, numbers)));
    }
    if all {
        // Sessions on devices the manager of accounts has no right on are none of his business.
        let hub = call.hub();
        found.retain(|past| match past.event.node.as_ref().and_then(|id| hub.store.device(id)) {
            Some(device) => {
                past.event.actor.as_ref() == Some(&call.user.id)
                    || call.user.site.allows(SiteRights::ALL_EVENTS)
                    || !hub.rights_on_device(&call.user, &device).is_empty()
            }
            None => true,
        });
    }
    order::sort_by(&mut found, |a, b| a.time.cmp(&b.time));
    found
}

/// A report: columns, and rows in groups. meshctrl prints the values of a row as they come, so a row
/// has a value for every column, in their order.
struct Table {
    columns: Vec<Value>,
    groups: BTreeMap<String, Vec<Row>>,
    format: Option<&'static str>,
}

struct Row(Vec<(String, Value)>);

impl Table {
    fn new(columns: Vec<Value>, format: Option<&'static str>) -> Self {
        Self { columns, groups: BTreeMap::new(), format }
    }

    /// Adds a row; `value` is asked for each column.
    fn add(&mut self, group: String, value: impl Fn(&str) -> Value) {
        let ids = self.columns.iter().filter_map(|column| column.get("id")?.as_str());
        let row = ids.map(|id| (id.to_owned(), value(id))).collect();
        self.groups.entry(group).or_default().push(Row(row));
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(id, value)| (id, value)))
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Group<'a> {
            entries: &'a [Row],
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Data<'a> {
            groups: BTreeMap<&'a str, Group<'a>>,
            columns: &'a [Value],
            #[serde(skip_serializing_if = "Option::is_none")]
            group_format: Option<&'static str>,
        }
        let groups = self.groups.iter().map(|(name, rows)| (&**name, Group { entries: rows }));
        let data =
            Data { groups: groups.collect(), columns: &self.columns, group_format: self.format };
        data.serialize(serializer)
    }
}

fn column(id: &str, title: &str, format: &str) -> Value {
    json!({"id": id, "title": title, "format": format})
}

fn centred(id: &str, format: &str, sum: Value) -> Value {
    json!({"id": id, "title": id, "format": format, "align": "center", "sumBy": sum})
}

fn actor(event: &Event) -> String {
    event.actor.as_ref().map(UserId::to_string).unwrap_or_default()
}

fn sessions(wanted: &Wanted, past: &[PastEvent]) -> Table {
    let by = wanted.by;
    let mut columns = vec![column("time", "time", if by == By::Day { "time" } else { "datetime" })];
    if by != By::Device {
        columns.push(column("nodeid", "device", "node"));
        columns.push(column("meshid", "devgroup", "mesh"));
    }
    if past.iter().any(|past| past.event.body.contains_key("guestname")) {
        columns.push(json!({"id": "guestname", "title": "guest", "align": "center"}));
    }
    if by != By::User {
        columns.push(column("userid", "user", "user"));
    }
    columns.push(
        json!({"id": "protocol", "title": "session", "format": "protocol", "align": "center"}),
    );
    columns.push(centred("length", "seconds", "protocol".into()));
    if wanted.traffic {
        columns.push(centred("bytesin", "bytes", "protocol".into()));
        columns.push(centred("bytesout", "bytes", "protocol".into()));
    }
    let format = match by {
        By::User => Some("user"),
        By::Device => Some("nodemesh"),
        By::Day => None,
    };
    let mut table = Table::new(columns, format);
    for PastEvent { time, event } in past {
        let user = actor(event);
        let node = event.node.as_ref().map(ToString::to_string).unwrap_or_default();
        let mesh = event.targets.iter().find_map(|target| match target {
            Target::Group(id) => Some(id.to_string()),
            _ => None,
        });
        let group = match (by, &mesh) {
            (By::User, _) => user.clone(),
            (By::Device, Some(mesh)) => format!("{node}/{mesh}"),
            (By::Device, None) => node.clone(),
            (By::Day, _) => day(*time),
        };
        table.add(group, |id| match id {
            "time" => json!(time),
            "userid" => user.as_str().into(),
            "nodeid" => node.as_str().into(),
            "meshid" => json!(mesh),
            "length" => json!(length(event)),
            member => event.body.get(member).cloned().unwrap_or_default(),
        });
    }
    table
}

/// Seconds a session took, which the event that ends it tells among its arguments.
fn length(event: &Event) -> Option<u64> {
    let at = match event.body.get("msgid")?.as_u64()? {
        10..=12 => 3,
        122..=126 => 0,
        144 => 1,
        _ => return None,
    };
    event.body.get("msgArgs")?.get(at)?.as_u64()
}

/// The day in UTC, as `2026-11-22`.
fn day(time: Millis) -> String {
    time.iso().chars().take(10).collect()
}

fn traffic(past: &[PastEvent]) -> Table {
    let mut sums = BTreeMap::<String, [u64; 3]>::new();
    for PastEvent { event, .. } in past {
        let number = |name: &str| event.body.get(name).and_then(Value::as_u64).unwrap_or_default();
        let [seconds, bytes_in, bytes_out] = sums.entry(actor(event)).or_default();
        *seconds = seconds.saturating_add(length(event).unwrap_or_default());
        *bytes_in = bytes_in.saturating_add(number("bytesin"));
        *bytes_out = bytes_out.saturating_add(number("bytesout"));
    }
    let columns = vec![
        column("userid", "user", "user"),
        centred("length", "seconds", true.into()),
        centred("bytesin", "bytes", true.into()),
        centred("bytesout", "bytes", true.into()),
    ];
    let mut table = Table::new(columns, None);
    table.groups.insert(ONE.to_owned(), Vec::new());
    for (user, [seconds, bytes_in, bytes_out]) in sums {
        table.add(ONE.to_owned(), |id| match id {
            "userid" => user.as_str().into(),
            "length" => seconds.into(),
            "bytesin" => bytes_in.into(),
            _ => bytes_out.into(),
        });
    }
    table
}

/// The group of a report that has only one.
const ONE: &str = "0";

fn logins(wanted: &Wanted, past: &[PastEvent]) -> Table {
    let by_user = wanted.by == By::User;
    let mut columns = vec![column("time", "time", if by_user { "datetime" } else { "time" })];
    if !by_user {
        columns.push(column("userid", "user", "user"));
    }
    columns.extend(["ip", "browser", "os"].map(|id| json!({"id": id, "title": id})));
    columns.push(column("twofactor", "twofactor", "2fa"));
    columns.push(column("msg", "msg", "msg"));
    let mut table = Table::new(columns, by_user.then_some("user"));
    for PastEvent { time, event } in past {
        let user = actor(event);
        let argument = |n: usize| {
            event.body.get("msgArgs").and_then(|args| args.get(n)).cloned().unwrap_or_default()
        };
        let group = if by_user { user.clone() } else { day(*time) };
        table.add(group, |id| match id {
            "time" => json!(time),
            "userid" => user.as_str().into(),
            "ip" => argument(0),
            "browser" => argument(1),
            "os" => argument(2),
            "twofactor" => event.body.get("twoFactorType").cloned().unwrap_or_else(|| "".into()),
            _ => event.body.get("msgid").cloned().unwrap_or_default(),
        });
    }
    table
}

fn records(call: &Call) -> Table {
    let count = json!(
        {"id": "recordcount", "title": "Count", "align": "center", "sumBy": true});
    let mut table = Table::new(vec![column("record", "Record", "records"), count], None);
    for (record, count) in super::record_counts(call.hub()) {
        if count > 0 {
            table.add(ONE.to_owned(), |id| match id {
                "record" => record.into(),
                _ => count.into(),
            });
        }
    }
    table
}
