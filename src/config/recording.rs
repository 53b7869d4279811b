//! `sessionRecording` of a domain: which sessions are recorded, where, and what is kept.

use std::path::PathBuf;

use super::read::Section;
use super::table;
use super::tree::Value;

/// What is recorded and what is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// `filepath`: the folder, if it is not `recordings` in the data folder. One that is not
    /// absolute is in the data folder.
    pub folder: Option<PathBuf>,
    /// `protocols`: numbers of the protocols that are recorded; `None` means all.
    pub protocols: Option<Vec<u16>>,
    /// `onlySelectedUsers`: sessions of accounts that have flag 2.
    pub only_users: bool,
    /// `onlySelectedUserGroups`: sessions that are possible only through user groups with flag 2.
    pub only_user_groups: bool,
    /// `onlySelectedDeviceGroups`: sessions with devices of groups that have flag 4.
    pub only_device_groups: bool,
    /// `index`: desktop recordings get an index, so that the player can jump.
    pub index: bool,
    /// What is kept.
    pub limits: RecordingLimits,
}

/// Above any of these the oldest recordings are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordingLimits {
    /// `maxRecordings`: how many.
    pub count: Option<usize>,
    /// `maxRecordingSizeMegabytes`: bytes of all together.
    pub bytes: Option<u64>,
    /// `maxRecordingDays`: how old.
    pub days: Option<u64>,
}

impl Recording {
    /// Whether only some sessions are recorded.
    pub fn is_selective(&self) -> bool {
        self.only_users || self.only_user_groups || self.only_device_groups
    }
}

/// `true`, or an object; without either, or with `false`, nothing is recorded.
pub(super) fn recording(section: &Section<'_>) -> Option<Recording> {
    const NAME: &str = "sessionRecording";
    let found = section.find(NAME)?;
    if !matches!(found.node.value, Value::Table(_)) {
        return section.flag(NAME)?.then(Recording::default);
    }
    let section = section.section(NAME)?;
    let flag = |name| section.flag(name).unwrap_or(false);
    let limit = |name| section.number(name, 0..=1_000_000_000).filter(|n| *n > 0);
    let recording = Recording {
        folder: section.text("filepath").map(PathBuf::from),
        protocols: protocols(&section),
        only_users: flag("onlySelectedUsers"),
        only_user_groups: flag("onlySelectedUserGroups"),
        only_device_groups: flag("onlySelectedDeviceGroups"),
        index: flag("index"),
        limits: RecordingLimits {
            count: limit("maxRecordings").and_then(|n| n.try_into().ok()),
            bytes: limit("maxRecordingSizeMegabytes").map(|n| n << 20),
            days: limit("maxRecordingDays"),
        },
    };
    section.finish(&table::NONE);
    Some(recording)
}

fn protocols(section: &Section<'_>) -> Option<Vec<u16>> {
    let found = section.find("protocols")?;
    let number = |value: &Value| value.as_whole().and_then(|n| u16::try_from(n).ok());
    let numbers: Option<Vec<u16>> = match &found.node.value {
        Value::List(nodes) => nodes.iter().map(|node| number(&node.value)).collect(),
        _ => None,
    };
    if numbers.is_none() {
        section.problem(&found, "expected a list of protocol numbers, like [1, 2, 5]");
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, parse};
    use crate::model::DomainId;

    fn read(value: &str) -> Result<Option<Recording>, String> {
        let text = format!(r#"{{"domains":{{"":{{"sessionRecording":{value}}}}}}}"#);
        let parsed: Result<(Config, _), _> = parse(&text, []);
        match parsed {
            Ok((config, _)) => Ok(config.domain(&DomainId::default()).recording.clone()),
            Err(problems) => Err(problems[0].to_string()),
        }
    }

    #[test]
    fn recording_is_a_switch_or_a_list_of_what_and_how_long() {
        assert_eq!(read("false"), Ok(None));
        assert_eq!(read("true"), Ok(Some(Recording::default())));
        assert_eq!(read("{}"), Ok(Some(Recording::default())));
        let all = r#"{"_filepath":"x","filepath":"/srv/rec","index":true,"protocols":[1,"2",5],
            "onlySelectedUsers":true,"onlySelectedUserGroups":true,"onlySelectedDeviceGroups":true,
            "maxRecordings":10,"maxRecordingSizeMegabytes":3,"maxRecordingDays":0}"#;
        let expected = Recording {
            folder: Some("/srv/rec".into()),
            protocols: Some(vec![1, 2, 5]),
            only_users: true,
            only_user_groups: true,
            only_device_groups: true,
            index: true,
            limits: RecordingLimits { count: Some(10), bytes: Some(3 << 20), days: None },
        };
        assert_eq!(read(all), Ok(Some(expected)));
    }

    #[test]
    fn protocols_that_are_no_numbers_stop_the_server() {
        for wrong in [r#"["terminal"]"#, "2", "[70000]"] {
            let problem = read(&format!(r#"{{"protocols":{wrong}}}"#)).unwrap_err();
            assert!(problem.contains("list of protocol numbers"), "{problem}");
        }
    }
}
