//! What a domain lets its people do: sharing with guests, own files, clipboards, and which parts of
//! the server's own pages its administrators see.

use bitflags::bitflags;

use super::Domain;
use super::read::Section;
use super::table;
use super::tree::Value;

/// Most bytes a quota can name: what a JavaScript number counts exactly.
const QUOTA_MAX: u64 = 1 << 53;
/// Longest guest session in minutes: a year.
const SESSION_MAX: u64 = 366 * 24 * 60;
/// Most days after which a device that never came back is removed.
const INACTIVE_MAX: u64 = 2000;

/// `guestDeviceSharing`: whether people may let guests in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuestSharing {
    /// For as long as they like.
    #[default]
    Allowed,
    /// For at most that many minutes at a time.
    AtMost(u32),
    /// Not at all.
    Forbidden,
}

bitflags! {
    /// `myServer`: what administrators of the domain may see and do of the server itself, as far as
    /// their rights go.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MyServer: u8 {
        /// Numbers of the present and of the last days.
        const STATS = 0x1;
        /// Back up.
        const BACKUP = 0x2;
        /// Restore.
        const RESTORE = 0x4;
        /// Versions and updates.
        const UPGRADE = 0x8;
        /// The log of errors.
        const ERRORS = 0x10;
        /// The console.
        const CONSOLE = 0x20;
        /// Tracing.
        const TRACE = 0x40;
        /// `config.json`.
        const CONFIG = 0x80;
    }
}

impl Default for MyServer {
    fn default() -> Self {
        Self::all()
    }
}

/// Reads the keys of this file into `domain`.
pub(super) fn read(section: &Section<'_>, domain: &mut Domain) {
    let days = section.number("autoRemoveInactiveDevices", 0..=INACTIVE_MAX).unwrap_or_default();
    domain.inactive_days = u16::try_from(days).ok().filter(|days| *days != 0);
    domain.user_quota = quota(section, "userQuota");
    domain.group_quota = quota(section, "meshQuota");
    domain.guest_sharing = guest_sharing(section);
    domain.max_device_view = section.number("maxDeviceView", 1..=1_000_000).map(|n| n as usize);
    domain.locations = locations(section);
    domain.no_clipboard_get = section.flag("clipboardGet") == Some(false);
    domain.no_clipboard_set = section.flag("clipboardSet") == Some(false);
    domain.desktop_multiplex = section.flag("desktopMultiplex").unwrap_or(false);
    domain.my_server = my_server(section);
}

/// Bytes; -1 means none at all.
fn quota(section: &Section<'_>, name: &str) -> Option<u64> {
    let found = section.find(name)?;
    if matches!(found.node.value, Value::Number(-1.0)) {
        return Some(0);
    }
    section.number(name, 0..=QUOTA_MAX)
}

fn guest_sharing(section: &Section<'_>) -> GuestSharing {
    const NAME: &str = "guestDeviceSharing";
    let Some(found) = section.find(NAME) else { return GuestSharing::Allowed };
    if !matches!(found.node.value, Value::Table(_)) {
        let allowed = section.flag(NAME) != Some(false);
        return if allowed { GuestSharing::Allowed } else { GuestSharing::Forbidden };
    }
    let Some(limits) = section.section(NAME) else { return GuestSharing::Allowed };
    let minutes = limits.number("maxSessionTime", 0..=SESSION_MAX).unwrap_or_default();
    limits.finish(&table::NONE);
    match u32::try_from(minutes) {
        Ok(0) | Err(_) => GuestSharing::Allowed,
        Ok(minutes) => GuestSharing::AtMost(minutes),
    }
}

/// `geoLocation`: a switch, or an object that means it is on.
fn locations(section: &Section<'_>) -> bool {
    match section.find("geoLocation") {
        Some(found) if matches!(found.node.value, Value::Table(_)) => true,
        Some(_) => section.flag("geoLocation").unwrap_or(false),
        None => false,
    }
}

fn my_server(section: &Section<'_>) -> MyServer {
    const NAME: &str = "myServer";
    const NAMES: [(&str, MyServer); 7] = [
        ("backup", MyServer::BACKUP),
        ("restore", MyServer::RESTORE),
        ("upgrade", MyServer::UPGRADE),
        ("errorLog", MyServer::ERRORS),
        ("console", MyServer::CONSOLE),
        ("trace", MyServer::TRACE),
        ("config", MyServer::CONFIG),
    ];
    let Some(found) = section.find(NAME) else { return MyServer::all() };
    if !matches!(found.node.value, Value::Table(_)) {
        let visible = section.flag(NAME) != Some(false);
        return if visible { MyServer::all() } else { MyServer::empty() };
    }
    let Some(parts) = section.section(NAME) else { return MyServer::empty() };
    let mut allowed = MyServer::STATS;
    for (name, part) in NAMES {
        allowed.set(part, parts.flag(name) == Some(true));
    }
    parts.finish(&table::NONE);
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::model::DomainId;

    fn domain(json: &str) -> Domain {
        let text = format!(r#"{{"domains":{{"":{json}}}}}"#);
        let (config, warnings) = parse(&text, []).unwrap();
        assert_eq!(warnings, [], "{json}");
        config.domain(&DomainId::default()).clone()
    }

    #[test]
    fn each_form_of_a_switch_means_what_it_means_there() {
        assert_eq!(domain("{}").my_server, MyServer::all());
        for (json, sharing) in [
            ("true", GuestSharing::Allowed),
            ("false", GuestSharing::Forbidden),
            (r#"{"maxSessionTime":30}"#, GuestSharing::AtMost(30)),
            (r#"{"maxSessionTime":0}"#, GuestSharing::Allowed),
        ] {
            let domain = domain(&format!(r#"{{"guestDeviceSharing":{json}}}"#));
            assert_eq!(domain.guest_sharing, sharing, "{json}");
        }
        for (json, parts) in [
            ("true", MyServer::all()),
            ("false", MyServer::empty()),
            (
                r#"{"console":true,"errorLog":true,"trace":false}"#,
                MyServer::STATS | MyServer::CONSOLE | MyServer::ERRORS,
            ),
        ] {
            assert_eq!(domain(&format!(r#"{{"myServer":{json}}}"#)).my_server, parts, "{json}");
        }
        for (json, quota) in [("1000", Some(1000)), ("0", Some(0)), ("-1", Some(0))] {
            let domain = domain(&format!(r#"{{"userQuota":{json},"meshQuota":{json}}}"#));
            assert_eq!((domain.user_quota, domain.group_quota), (quota, quota), "{json}");
        }
        let domain = domain(
            r#"{"clipboardGet":false,"geoLocation":true,"maxDeviceView":50,
                "autoRemoveInactiveDevices":30}"#,
        );
        assert!(domain.no_clipboard_get && !domain.no_clipboard_set && domain.locations);
        assert_eq!((domain.max_device_view, domain.inactive_days), (Some(50), Some(30)));
    }
}
