//! The two logs of the firmware: what happened to the computer, and who did what through Intel AMT.
//!
//! Events are records of 21 bytes, little-endian; entries of the audit log have fields of their own
//! length, big-endian. Both come as base64 and are read as bytes. Source: Intel AMT SDK, "Event
//! Manager" and "Access Monitor".

use data_encoding::BASE64;
use serde::Serialize;

use super::wsman::{Failure, Link, Operation};
use crate::model::text::clamp;

const EVENTS: &str = "AMT_MessageLog";
const AUDIT: &str = "AMT_AuditLog";
/// Most records the firmware keeps, and gives at once.
const EVENTS_MAX: usize = 390;
/// Most entries that are read of an audit log.
const AUDIT_MAX: usize = 4096;
/// Most answers to one reading; of an audit log some firmware gives ten entries at a time.
const ROUNDS_MAX: usize = 64;
const AUDIT_ROUNDS_MAX: usize = 512;

/// An event, as the page is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Seconds since 1970 by the clock of the firmware.
    pub time: u32,
    /// 1 monitor, 2 information, 4 ok, 8 non-critical, 16 critical, 32 non-recoverable.
    pub severity: u8,
    /// What it is about, a number of the platform event trap.
    pub sensor: u8,
    /// Which of the things that can happen there.
    pub offset: u8,
    /// The part of the computer: 34 BIOS, 38 Intel ME, …
    pub entity: u8,
    /// The words for it, where there are any.
    pub text: String,
    /// Data of the event, in hexadecimal.
    pub data: String,
}

impl Event {
    /// Reads a record; `None` for one that is empty or has another length.
    pub fn read(record: &[u8]) -> Option<Self> {
        let record: &[u8; 21] = record.try_into().ok()?;
        let [t0, t1, t2, t3, _, sensor, _, offset, _, severity, _, entity, _, data @ ..] = *record;
        let time = u32::from_le_bytes([t0, t1, t2, t3]);
        if time == 0 || time == u32::MAX {
            return None;
        }
        let text = event_text(sensor, offset, &data);
        let data = data_encoding::HEXLOWER.encode(&data);
        Some(Self { time, severity, sensor, offset, entity, text, data })
    }
}

fn event_text(sensor: u8, offset: u8, data: &[u8; 8]) -> String {
    let [d0, d1, d2, ..] = *data;
    let text = match sensor {
        5 => "Case intrusion",
        6 => {
            let count = u16::from_le_bytes([d1, d2]);
            return format!("Authentication failed {count} times");
        }
        15 => {
            let (kind, known): (_, &[(u8, &str)]) = match offset {
                0 => ("Firmware error", ERRORS),
                3 => ("Firmware error of the maker", &[]),
                5 => ("Firmware progress of the maker", &[]),
                _ => ("Firmware progress", PROGRESS),
            };
            return match known.iter().find(|(number, _)| *number == d1) {
                Some((_, what)) => format!("{kind}: {what}"),
                None => format!("{kind} {d1}"),
            };
        }
        18 => "Watchdog",
        30 => "No bootable medium",
        32 => "The system is locked up or has lost power",
        35 if d0 == 64 => "The BIOS did not start in time",
        35 => "The system did not start",
        36 => "A network filter was triggered",
        37 => "The firmware has started",
        192 if d0 == 170 && d1 == 48 => "A remote serial session began",
        192 if d0 == 170 && d1 == 49 => "A remote serial session ended",
        192 => "A remote session began or ended",
        193 => "The user asked for a connection",
        _ => return format!("Sensor {sensor}, event {offset}"),
    };
    text.to_owned()
}

const ERRORS: &[(u8, &str)] = &[
    (1, "no memory"),
    (2, "memory cannot be used"),
    (3, "a disk cannot be used"),
    (4, "the mainboard is broken"),
    (5, "the floppy drive does not answer"),
    (6, "a disk does not answer"),
    (7, "the keyboard does not answer"),
    (8, "another boot device does not answer"),
    (9, "no video"),
    (11, "the firmware is damaged"),
    (13, "the processors do not belong together"),
];

const PROGRESS: &[(u8, &str)] = &[
    (1, "memory"),
    (2, "disks"),
    (3, "other processors"),
    (4, "user authentication"),
    (5, "setup by the user"),
    (6, "USB"),
    (7, "PCI resource configuration"),
    (8, "option ROM"),
    (9, "video"),
    (10, "cache"),
    (11, "management controller"),
    (12, "keyboard controller"),
    (19, "starting the system"),
    (26, "sleep or wake"),
];

/// Reads all events, newest first.
///
/// # Errors
/// What became of it.
pub async fn events(link: &Link) -> Result<Vec<Event>, Failure> {
    let first = link.call(Operation::invoke(EVENTS, "PositionToFirstRecord")).await?;
    let mut place = first.number::<u32>("IterationIdentifier").unwrap_or(1);
    let mut found = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let request = Operation::invoke(EVENTS, "GetRecords")
            .with("IterationIdentifier", place)
            .with("MaxReadRecords", EVENTS_MAX);
        let answer = link.call(request).await?;
        let before = found.len();
        let records =
            answer.list("RecordArray").filter_map(|text| BASE64.decode(text.as_bytes()).ok());
        found.extend(records.filter_map(|record| Event::read(&record)));
        let next = answer.number("IterationIdentifier");
        match next.filter(|_| !answer.is_true("NoMoreRecords") && found.len() > before) {
            Some(next) if found.len() < EVENTS_MAX => place = next,
            _ => break,
        }
    }
    found.truncate(EVENTS_MAX);
    found.sort_by_key(|event| std::cmp::Reverse(event.time));
    Ok(found)
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Seconds since 1970 by the clock of the firmware.
    pub time: u32,
    /// The part of the firmware.
    pub app: u16,
    /// What happened there.
    pub event: u16,
    /// The words for both, where there are any.
    pub text: String,
    /// Who did it: a user, `local`, or empty.
    pub initiator: String,
    /// From where; empty if that is not known.
    pub address: String,
    /// What more there is, in hexadecimal.
    pub data: String,
}

/// Takes fields off the front of a record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Bytes behind their number.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = self.byte()?;
        self.take(usize::from(count))
    }
}

impl Entry {
    /// Reads a record; `None` if it is cut short.
    pub fn read(record: &[u8]) -> Option<Self> {
        let mut fields = Fields(record);
        let (app, event) = (fields.short()?, fields.short()?);
        let text = |bytes: &[u8]| clamp(&String::from_utf8_lossy(bytes), 128);
        let initiator = match fields.byte()? {
            0 => text(fields.counted()?),
            1 => {
                let domain = fields.long()?;
                format!("{domain}/{}", data_encoding::HEXLOWER.encode(fields.counted()?))
            }
            2 => "local".to_owned(),
            3 => "KVM default port".to_owned(),
            _ => String::new(),
        };
        let time = fields.long()?;
        let _kind_of_address = fields.byte()?;
        let address = text(fields.counted()?);
        let data = data_encoding::HEXLOWER.encode(fields.counted()?);
        Some(Self { time, app, event, text: audit_text(app, event), initiator, address, data })
    }
}

fn audit_text(app: u16, event: u16) -> String {
    let text = match (app, event) {
        (16, 0) => "Provisioning started",
        (16, 1) => "Provisioning completed",
        (16, 2) => "User added",
        (16, 3) => "User changed",
        (16, 4) => "User removed",
        (16, 7) => "TLS state changed",
        (16, 19) => "Unprovisioning",
        (17, 0) => "Switched on",
        (17, 1) => "Switched off",
        (17, 2) => "Switched off and on",
        (17, 3) => "Reset",
        (17, 4) => "Boot options set",
        (18, 0) => "Storage redirection opened",
        (18, 1) => "Storage redirection closed",
        (18, 4) => "Serial session opened",
        (18, 5) => "Serial session closed",
        (18, 8) => "Desktop session opened",
        (18, 9) => "Desktop session closed",
        (19, 0) => "Firmware updated",
        (29, 3) => "Consent to the desktop given",
        (29, 4) => "Consent to the desktop failed",
        (30, 0) => "Consent policy changed",
        (30, 1) => "Consent code sent",
        (30, 2) => "Consent blocked",
        _ => {
            let part = match app {
                20 => "Audit log",
                22 => "Network administration",
                23 => "Storage administration",
                24 => "Event manager",
                25 => "Circuit breaker",
                26 => "Agent presence",
                27 => "Wireless",
                28 => "Endpoint access control",
                32 => "Screen blanking",
                33 => "Watchdog",
                _ => return format!("Application {app}, event {event}"),
            };
            return format!("{part}, event {event}");
        }
    };
    text.to_owned()
}

/// Reads the audit log, newest first.
///
/// # Errors
/// What became of it.
pub async fn audit(link: &Link) -> Result<Vec<Entry>, Failure> {
    let (mut found, mut start) = (Vec::new(), 1usize);
    for _ in 0..AUDIT_ROUNDS_MAX {
        let request = Operation::invoke(AUDIT, "ReadRecords").with("StartIndex", start);
        let answer = link.call(request).await?;
        let records =
            answer.list("EventRecords").filter_map(|text| BASE64.decode(text.as_bytes()).ok());
        found.extend(records.filter_map(|record| Entry::read(&record)));
        let returned = answer.number::<usize>("RecordsReturned").unwrap_or_default();
        let total = answer.number::<usize>("TotalRecordCount").unwrap_or_default();
        start = start.saturating_add(returned);
        if returned == 0 || start > total || found.len() >= AUDIT_MAX {
            break;
        }
    }
    found.truncate(AUDIT_MAX);
    found.reverse();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;
    use proptest::prelude::*;
    use serde_json::Value;

    use std::rc::Rc;

    use super::*;
    use crate::amt::room::Room;
    use crate::amt::testing::{Firmware, output};
    use crate::hub::testing::{World, node_id};

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/vectors/wsman-logs.json")).unwrap()
    }

    #[test]
    fn recorded_events_are_read() {
        for case in vectors()["event_records"].as_array().unwrap() {
            let record = BASE64.decode(case["base64"].as_str().unwrap().as_bytes()).unwrap();
            let event = Event::read(&record).unwrap();
            for (name, value) in [
                ("TimeStamp", u64::from(event.time)),
                ("EventSeverity", event.severity.into()),
                ("EventSensorType", event.sensor.into()),
                ("EventOffset", event.offset.into()),
                ("Entity", event.entity.into()),
            ] {
                assert_eq!(value, case[name].as_u64().unwrap(), "{name}");
            }
        }
        let texts: Vec<_> = vectors()["event_records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|case| {
                let record = BASE64.decode(case["base64"].as_str().unwrap().as_bytes()).unwrap();
                Event::read(&record).unwrap().text
            })
            .collect();
        let wanted =
            ["Authentication failed 10 times", "Firmware progress: PCI resource configuration"];
        assert_eq!(texts, wanted);
        assert_eq!(Event::read(&[0; 21]), None);
        assert_eq!(Event::read(&[1; 20]), None);
    }

    #[test]
    fn recorded_audit_entries_are_read_byte_by_byte() {
        for case in vectors()["audit_records"].as_array().unwrap() {
            let record = BASE64.decode(case["base64"].as_str().unwrap().as_bytes()).unwrap();
            let entry = Entry::read(&record).unwrap();
            assert_eq!(u64::from(entry.app), case["AuditAppID"].as_u64().unwrap());
            assert_eq!(u64::from(entry.event), case["EventID"].as_u64().unwrap());
            assert_eq!(u64::from(entry.time), case["TimeStamp"].as_u64().unwrap());
            assert_eq!(entry.address, case["NetAddress"].as_str().unwrap());
            assert_eq!(entry.data, case["ExtendedData"].as_str().unwrap());
            assert_eq!(entry.initiator, case["User"].as_str().unwrap_or("local"));
            for end in 0..record.len() {
                assert_eq!(Entry::read(&record[..end]), None, "cut at {end}");
            }
        }
    }

    #[test]
    fn logs_are_read_to_their_end_and_no_further() {
        let (world, firmware) = (World::new(), Firmware::new());
        firmware.call_in(&world.hub, &node_id(1));
        let record = "Y8iYZf8GbwVoEP8mYaoKAAAAAAAA";
        firmware.on("AMT_MessageLog.GetRecords", move |_, body| {
            let last = body.number::<u32>("IterationIdentifier") == Some(4);
            let more = format!(
                "<g:IterationIdentifier>4</g:IterationIdentifier><g:NoMoreRecords>{last}\
                 </g:NoMoreRecords><g:RecordArray>{record}</g:RecordArray>"
            );
            output("GetRecords", 0, &more)
        });
        firmware.on("AMT_MessageLog.PositionToFirstRecord", |_, _| {
            let place = "<g:IterationIdentifier>1</g:IterationIdentifier>";
            output("PositionToFirstRecord", 0, place)
        });
        let entry = "ABMAAAI/9M1uAgAQAAwAAAAoBZkADAAAACQFlA==";
        firmware.on("AMT_AuditLog.ReadRecords", move |_, _| {
            let more = format!(
                "<g:TotalRecordCount>3</g:TotalRecordCount><g:RecordsReturned>1\
                 </g:RecordsReturned><g:EventRecords>{entry}</g:EventRecords>"
            );
            output("ReadRecords", 0, &more)
        });
        let room = Room::new(world.hub.clone(), Rc::default());
        let link = room.link(&node_id(1)).unwrap();
        assert_eq!(block_on(events(&link)).unwrap().len(), 2);
        assert_eq!(block_on(audit(&link)).unwrap().len(), 3);
        // A long one, ten entries at a time.
        firmware.on("AMT_AuditLog.ReadRecords", move |_, body| {
            let start: usize = body.number("StartIndex").unwrap();
            let count = 10.min(1234 - (start - 1));
            let entries = format!("<g:EventRecords>{entry}</g:EventRecords>").repeat(count);
            let total = "<g:TotalRecordCount>1234</g:TotalRecordCount>";
            let more = format!("{total}<g:RecordsReturned>{count}</g:RecordsReturned>{entries}");
            output("ReadRecords", 0, &more)
        });
        assert_eq!(block_on(audit(&link)).unwrap().len(), 1234);
        // One that never ends is left.
        firmware.on("AMT_AuditLog.ReadRecords", |_, _| {
            let more = "<g:TotalRecordCount>999999</g:TotalRecordCount><g:RecordsReturned>1\
                        </g:RecordsReturned>";
            output("ReadRecords", 0, more)
        });
        assert_eq!(block_on(audit(&link)).unwrap(), []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_fail(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Event::read(&bytes);
            let _ = Entry::read(&bytes);
        }
    }
}
