//! Alarm clocks: when the firmware switches the computer on by itself.
//!
//! There can be five. Times are whole minutes of UTC, intervals days, hours and minutes
//! (`P1DT0H0M`). Source: Intel AMT SDK, "Alarm Clock"; amt-management §12.

use serde_json::{Value, json};

use super::inventory::text;
use super::wsman::soap::COMMON;
use super::wsman::{Element, Failure, Link, Operation, Verb, resource};
use crate::model::Millis;

const ALARM: &str = "IPS_AlarmClockOccurrence";
const SERVICE: &str = "AMT_AlarmClockService";
/// Most there can be.
const ALARMS_MAX: usize = 5;
/// Longest interval in seconds: a year.
const INTERVAL_MAX: u64 = 366 * 86_400;
/// Latest start: the end of the year 2100.
const START_MAX: u64 = 4_133_980_800;

/// An alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    name: String,
    /// Minutes since 1970.
    start: u64,
    /// Minutes, 0 for once.
    interval: u64,
    remove: bool,
}

impl Alarm {
    /// An alarm with a name of 1 to 32 printable characters, in seconds since 1970 and between two
    /// of them (0 for once). With `remove` the firmware forgets it when it has rung.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(
        name: &str,
        start: u64,
        interval: u64,
        remove: bool,
        now: u64,
    ) -> Result<Self, &'static str> {
        let is_printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        if !(1..=32).contains(&name.len()) || !name.bytes().all(is_printable) || name.trim() != name
        {
            return Err("Invalid name");
        }
        if start > START_MAX {
            return Err("Invalid start");
        }
        if start <= now {
            return Err("The alarm is in the past");
        }
        if !interval.is_multiple_of(60) || interval > INTERVAL_MAX {
            return Err("Invalid interval");
        }
        let name = name.to_owned();
        Ok(Self { name, start: start.div_ceil(60), interval: interval / 60, remove })
    }

    fn template(&self) -> Element {
        let (service, alarm, common) = (resource(SERVICE), resource(ALARM), COMMON.into());
        let start = Millis(self.start * 60_000).utc();
        let start = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:00Z",
            start.year, start.month, start.day, start.hour, start.minute
        );
        let of = |name: &str, inner: &str, value: &str| {
            Element::new(name, &alarm).with(Element::text(inner, &common, value))
        };
        let mut template = Element::new("AlarmTemplate", &service)
            .with(Element::text("InstanceID", &alarm, &self.name))
            .with(Element::text("ElementName", &alarm, &self.name))
            .with(of("StartTime", "Datetime", &start));
        if self.interval > 0 {
            let (days, minutes) = (self.interval / 1440, self.interval % 1440);
            let interval = format!("P{days}DT{}H{}M", minutes / 60, minutes % 60);
            template = template.with(of("Interval", "Interval", &interval));
        }
        template.with(Element::text("DeleteOnCompletion", &alarm, &self.remove.to_string()))
    }
}

/// All alarms.
///
/// # Errors
/// What became of it.
pub async fn list(link: &Link) -> Result<Value, Failure> {
    let all = link.list(ALARM).await?;
    let each = all.iter().map(|alarm| {
        let inner = |name: &str, kind: &str| alarm.child(name).and_then(|one| text(one, kind));
        let start = inner("StartTime", "Datetime").and_then(|start| seconds(&start));
        let interval = inner("Interval", "Interval").and_then(|interval| period(&interval));
        json!({
            "name": name(alarm),
            "start": start,
            "interval": interval.unwrap_or_default(),
            "removed": alarm.is_true("DeleteOnCompletion"),
        })
    });
    Ok(each.collect())
}

fn name(alarm: &Element) -> Option<String> {
    text(alarm, "ElementName").or_else(|| text(alarm, "InstanceID"))
}

/// Sets an alarm.
///
/// # Errors
/// What became of it.
pub async fn add(link: &Link, alarm: &Alarm) -> Result<(), Failure> {
    let present = link.list(ALARM).await?;
    if present.len() >= ALARMS_MAX {
        return Err(Failure::Unable("There are five alarms already, and no more can be set"));
    }
    let is_same = |one: &Element| {
        ["ElementName", "InstanceID"].iter().any(|key| one.property(key) == Some(&alarm.name))
    };
    if present.iter().any(is_same) {
        return Err(Failure::Unable("There is an alarm of this name already"));
    }
    let request = Operation::invoke(SERVICE, "AddAlarm").with_element(alarm.template());
    link.perform(request).await.map(drop)
}

/// Takes the alarm of this name back.
///
/// # Errors
/// What became of it.
pub async fn remove(link: &Link, wanted: &str) -> Result<(), Failure> {
    let present = link.list(ALARM).await?;
    let found = present.iter().find(|alarm| name(alarm).as_deref() == Some(wanted));
    let Some(id) = found.and_then(|alarm| alarm.property("InstanceID")) else {
        return Err(Failure::Unable("There is no alarm of this name"));
    };
    link.perform(Operation::new(ALARM, Verb::Delete).of("InstanceID", id)).await.map(drop)
}

/// Seconds since 1970.
fn seconds(text: &str) -> Option<u64> {
    let format = time::format_description::well_known::Rfc3339;
    let at = time::OffsetDateTime::parse(text, &format).ok()?;
    u64::try_from(at.unix_timestamp()).ok()
}

/// Seconds of an interval as `P1DT2H30M`; months and years are never used.
fn period(text: &str) -> Option<u64> {
    let (days, clock) = match text.strip_prefix('P')?.split_once('T') {
        Some((days, clock)) => (days, clock),
        None => (text.strip_prefix('P')?, ""),
    };
    let mut total = 0u64;
    for (part, units) in
        [(days, &[('D', 86_400)][..]), (clock, &[('H', 3600), ('M', 60), ('S', 1)])]
    {
        let mut rest = part;
        for (unit, seconds) in units {
            if let Some((count, after)) = rest.split_once(*unit) {
                let count: u64 = count.parse().ok()?;
                total = total.checked_add(count.checked_mul(*seconds)?)?;
                rest = after;
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use futures_lite::future::block_on;
    use proptest::prelude::*;

    use super::*;
    use crate::amt::room::Room;
    use crate::amt::testing::{Firmware, output};
    use crate::hub::testing::{World, node_id};

    const NOW: u64 = 1_767_000_000;

    fn world() -> (World, Rc<Firmware>, Rc<Link>) {
        let (world, firmware) = (World::new(), Firmware::new());
        firmware.call_in(&world.hub, &node_id(1));
        firmware.instances.borrow_mut().insert(ALARM.into(), Vec::new());
        firmware.on("AMT_AlarmClockService.AddAlarm", |firmware, body| {
            let mut text = String::new();
            let mut alarm = body.child("AlarmTemplate").unwrap().clone();
            alarm.name = ALARM.into();
            alarm.write(&mut text, "");
            // As firmware says it: one prefix for the class.
            let plain: String = text
                .split_inclusive('>')
                .map(|tag| {
                    tag.split_once(" xmlns=").map_or(tag.into(), |(tag, _)| format!("{tag}>"))
                })
                .collect();
            let marked = plain.replace("</", "\u{1}").replace('<', "<g:").replace('\u{1}', "</g:");
            firmware.instances.borrow_mut().get_mut(ALARM).unwrap().push(marked);
            output("AddAlarm", 0, "")
        });
        let link = Room::new(world.hub.clone(), Rc::default()).link(&node_id(1)).unwrap();
        (world, firmware, link)
    }

    #[test]
    fn an_alarm_is_set_as_it_was_captured_listed_and_taken_back() {
        let (_world, firmware, link) = world();
        let vectors = include_str!("../../tests/vectors/wsman-exchanges.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        let exchanges = vectors["exchanges"].as_array().unwrap();
        let captured = exchanges.iter().find(|one| one["step"] == "addalarm").unwrap();
        let captured = Element::parse(captured["request_xml"].as_str().unwrap()).unwrap();
        let daily = Alarm::new("wake1", 1_767_323_040, 86_400, true, NOW).unwrap();
        block_on(add(&link, &daily)).unwrap();
        let body = firmware.bodies.borrow().last().cloned().unwrap();
        assert_eq!(Some(&body), captured.child("Body").unwrap().children.first());
        // Seconds are none of an alarm: it rings at the next full minute.
        let once = Alarm::new("at night", 1_767_323_041, 0, false, NOW).unwrap();
        block_on(add(&link, &once)).unwrap();
        assert_eq!(
            block_on(list(&link)).unwrap(),
            json!([
                {"name": "wake1", "start": 1_767_323_040, "interval": 86_400, "removed": true},
                {"name": "at night", "start": 1_767_323_100, "interval": 0, "removed": false},
            ])
        );
        let why = |outcome: Result<(), Failure>| outcome.unwrap_err().to_string();
        assert!(why(block_on(add(&link, &once))).contains("of this name already"));
        block_on(remove(&link, "wake1")).unwrap();
        assert_eq!(block_on(list(&link)).unwrap().as_array().unwrap().len(), 1);
        assert!(why(block_on(remove(&link, "wake1"))).contains("no alarm of this name"));
        for n in 0..4 {
            let alarm = Alarm::new(&format!("a{n}"), NOW + 60, 60, true, NOW).unwrap();
            block_on(add(&link, &alarm)).unwrap();
        }
        let sixth = Alarm::new("sixth", NOW + 60, 60, true, NOW).unwrap();
        assert!(why(block_on(add(&link, &sixth))).contains("five alarms"));
    }

    #[test]
    fn alarms_have_a_name_a_time_to_come_and_whole_minutes_between() {
        for (name, start, interval, fits) in [
            ("a", NOW + 1, 0, Ok(())),
            ("a b_c-9", START_MAX, INTERVAL_MAX, Ok(())),
            ("", NOW + 1, 0, Err("Invalid name")),
            (" a", NOW + 1, 0, Err("Invalid name")),
            ("a\n", NOW + 1, 0, Err("Invalid name")),
            (&*"x".repeat(33), NOW + 1, 0, Err("Invalid name")),
            ("a", NOW, 0, Err("The alarm is in the past")),
            ("a", START_MAX + 1, 0, Err("Invalid start")),
            ("a", u64::MAX, 0, Err("Invalid start")),
            ("a", NOW + 1, 61, Err("Invalid interval")),
            ("a", NOW + 1, INTERVAL_MAX + 60, Err("Invalid interval")),
        ] {
            let made = Alarm::new(name, start, interval, false, NOW);
            assert_eq!(made.map(drop), fits, "{name:?} {start} {interval}");
        }
        for (text, seconds) in [
            ("P1DT0H0M", Some(86_400)),
            ("P0DT1H30M", Some(5400)),
            ("P2D", Some(172_800)),
            ("PT5M0S", Some(300)),
            ("P1M", None),
            ("1D", None),
            ("PT-5M", None),
            ("P99999999999999999999D", None),
            ("P999999999999999999D", None),
        ] {
            assert_eq!(period(text), seconds, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_time_of_firmware_makes_reading_panic(text in "[P0-9DTHMSZ:.+-]{0,30}|\\PC{0,30}") {
            let _ = (period(&text), seconds(&text));
        }
    }
}
