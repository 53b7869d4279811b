//! `createDeviceShareLink`: a link by which somebody without an account gets at one device.
//!
//! Source: relay-and-tunnels §11. The link holds nothing but the share's id, sealed with the key of
//! invitations; what the guest may do and when is in the record, and ends with it.

use serde_json::{Map, Value, json};

use crate::config::GuestSharing;
use crate::model::{Event, Millis, Rights, Share, Target, order};

use super::super::request::Request;
use super::super::sharing;
use super::shares::allowed;
use super::{Answer, Call, OnDevice};

/// Longest name of a guest in characters.
const GUEST_MAX: usize = 128;
/// Highest set of consent flags.
const CONSENT_MAX: u32 = 256;
/// All protocols: 1 terminal, 2 desktop, 4 files, 8 HTTP, 16 HTTPS.
const PROTOCOLS_MAX: u32 = 31;
/// Longest time in minutes: a century.
const MINUTES_MAX: u64 = 100 * 366 * 24 * 60;
/// Last second that is taken for a time: the end of the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;
/// Most shares of a device.
const SHARES_MAX: usize = 200;
/// Random bytes of a public id: 12 characters.
const ID_LEN: usize = 9;

/// When a share is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    /// For ever.
    Always,
    /// From now on for that many minutes.
    For(u64),
    /// From one second to another.
    Between(u64, u64),
    /// Daily (1) or weekly (2) from this second on, for that many minutes each.
    Recurring(u8, u64, u32),
}

impl Times {
    /// What the request says, or what is wrong with it.
    fn read(request: &Request, most: Option<u32>) -> Result<Self, &'static str> {
        let number = |name, most, text| match request.get(name) {
            None => Ok(None),
            Some(value) => value.as_u64().filter(|n| *n <= most).map(Some).ok_or(text),
        };
        let minutes = number("expire", MINUTES_MAX, "Invalid expire time")?;
        let start = number("start", SECONDS_MAX, "Invalid start time")?;
        let end = number("end", SECONDS_MAX, "Invalid end time")?;
        let recurring = number("recurring", 2, "Invalid recurring value")?;
        let limited = |minutes: u64| most.map_or(minutes, |most| minutes.min(most.into()));
        match (recurring, start, end, minutes) {
            (Some(0), ..) => Err("Invalid recurring value"),
            (Some(kind), Some(start), None, Some(minutes)) if minutes > 0 => {
                let minutes = u32::try_from(limited(minutes)).unwrap_or(u32::MAX);
                Ok(Self::Recurring(kind as u8, start, minutes))
            }
            (Some(_), ..) => Err("Invalid recurring command"),
            // Without end is more than any limit.
            (None, _, _, Some(0)) => Ok(most.map_or(Self::Always, |most| Self::For(most.into()))),
            (None, _, _, Some(minutes)) => Ok(Self::For(limited(minutes))),
            (None, Some(start), Some(end), None) if start <= end => {
                let longest = most.map_or(u64::MAX, |most| u64::from(most) * 60);
                Ok(Self::Between(start, end.min(start.saturating_add(longest))))
            }
            _ => Err("No time specified"),
        }
    }

    /// Puts them into a share.
    fn apply(self, share: &mut Share, now: Millis) {
        let at = |seconds: u64| Some(Millis(seconds * 1000));
        match self {
            Self::Always => {}
            Self::For(minutes) => {
                share.start = Some(now);
                share.expires = Some(Millis(now.0.saturating_add(minutes * 60_000)));
            }
            Self::Between(start, end) => (share.start, share.expires) = (at(start), at(end)),
            Self::Recurring(kind, start, minutes) => {
                share.start = at(start);
                share.duration = Some(minutes);
                share.recurring = Some(kind);
            }
        }
    }
}

/// See the module.
pub(super) fn create(call: &Call, on: OnDevice) -> Answer<'_> {
    if !allowed(call) {
        return Answer::none();
    }
    let share = match wanted(call, &on) {
        Ok(share) => share,
        Err(Refused::Invalid(text)) => return call.result(text),
        Err(Refused::Denied) => {
            call.audit_refusal();
            return call.result_as("deviceShares", "Access denied");
        }
    };
    let commit = call.put(share.clone());
    call.audit(format_args!(
        "shared device {:?} ({}) with {:?}",
        on.device.name, on.device.id, share.guest_name
    ));
    call.hub().publish(added_event(call, &on, &share));
    call.hub().publish(sharing::update_event(call.hub(), &on.device));
    let millis = |time: Option<Millis>| time.map_or(Value::Null, |time| time.0.into());
    let mut members = vec![
        ("nodeid", on.device.id.to_string().into()),
        ("url", share.url.as_str().into()),
        ("publicid", share.public_id.as_str().into()),
    ];
    match (share.expires, share.duration) {
        (None, None) => members.push(("expire", Value::Null)),
        (None, Some(_)) => members.push(("start", millis(share.start))),
        (Some(_), _) => {
            members.push(("start", millis(share.start)));
            members.push(("expire", millis(share.expires)));
        }
    }
    if share.view_only {
        members.push(("viewOnly", true.into()));
    }
    if call.responseid().is_some() {
        members.push(("result", "OK".into()));
    }
    call.echo(members).after(commit)
}

/// Why there is no share.
enum Refused {
    /// The request is wrong.
    Invalid(&'static str),
    /// The user may not hand on what is asked for.
    Denied,
}

/// The share the request describes, as far as the user may hand it on.
fn wanted(call: &Call, on: &OnDevice) -> Result<Share, Refused> {
    let (request, hub) = (&call.request, call.hub());
    let invalid = Refused::Invalid;
    let most = match hub.config().domain(&call.user.id.domain).guest_sharing {
        GuestSharing::AtMost(minutes) => Some(minutes),
        GuestSharing::Allowed | GuestSharing::Forbidden => None,
    };
    let guest = request.text_within("guestname", 1, GUEST_MAX);
    let guest = guest.ok_or(invalid("Invalid guest name"))?;
    let times = Times::read(request, most).map_err(invalid)?;
    let consent = request.number("consent").filter(|flags| *flags <= CONSENT_MAX);
    let consent = consent.ok_or(invalid("Invalid flags"))?;
    let protocols = request.number("p").filter(|p| (1..=PROTOCOLS_MAX).contains(p));
    let protocols = protocols.ok_or(invalid("Invalid protocol"))?;
    let port = match request.get("port") {
        None => None,
        Some(port) => {
            let port = port.as_u64().and_then(|port| u16::try_from(port).ok());
            Some(port.filter(|port| *port != 0).ok_or(invalid("Invalid port value"))?)
        }
    };
    for (protocol, restriction) in
        [(1, Rights::NO_TERMINAL), (2, Rights::NO_DESKTOP), (4, Rights::NO_FILES)]
    {
        if protocols & protocol != 0 && on.rights.restricted(restriction) {
            return Err(Refused::Denied);
        }
    }
    let others = hub.store.shares();
    if others.iter().filter(|share| share.node == on.device.id).count() >= SHARES_MAX {
        return Err(invalid("Too many shares of this device"));
    }
    let mut random = [0; ID_LEN];
    getrandom::fill(&mut random).map_err(|_| invalid("Unable to generate shareing cookie"))?;
    let mut share = Share {
        // MeshCentral's alphabet, not that for URLs: `meshctrl` takes a word that begins with `-` for
        // an option.
        public_id: data_encoding::BASE64.encode(&random).replace('/', "@"),
        node: on.device.id.clone(),
        user: call.user.id.clone(),
        guest_name: guest.to_owned(),
        protocols,
        consent,
        port,
        url: String::new(),
        start: None,
        expires: None,
        duration: None,
        recurring: None,
        // Who only looks cannot let others type.
        view_only: request.is_true("viewOnly") || on.rights.restricted(Rights::VIEW_ONLY),
    };
    times.apply(&mut share, hub.now());
    let mut fields: Map<_, _> = order::gather([
        ("a".to_owned(), 6.into()),
        ("pid".to_owned(), share.public_id.as_str().into()),
    ]);
    if let Some(end) = share.expires {
        fields.insert("e".to_owned(), end.0.into());
    }
    let cookie = call.share_links().seal(fields, hub.now().seconds());
    let cookie = cookie.ok_or(invalid("Unable to generate shareing cookie"))?;
    share.url = call.url(&format!("sharing?c={cookie}"));
    Ok(share)
}

fn added_event(call: &Call, on: &OnDevice, share: &Share) -> Event {
    let guest = &share.guest_name;
    let (msgid, text, args) = match (share.recurring, share.start, share.expires) {
        (Some(1), ..) => {
            (138, format!("Added device share {guest} recurring daily."), json!([guest]))
        }
        (Some(_), ..) => {
            (139, format!("Added device share {guest} recurring weekly."), json!([guest]))
        }
        (None, Some(start), Some(end)) => (
            101,
            format!("Added device share: {guest}."),
            json!([guest, format!("DATETIME:{}", start.0), format!("DATETIME:{}", end.0)]),
        ),
        _ => (131, format!("Added device share {guest} with unlimited time."), json!([guest])),
    };
    call.device_event("addedDeviceShare", &on.device)
        .to(Target::AccountManagers)
        .with("meshid", on.device.group.to_string())
        .with("msgid", msgid)
        .with("msgArgs", args)
        .with("msg", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_share_are_what_meshcentral_takes() {
        for (json, most, times) in [
            (r#""expire":0"#, None, Ok(Times::Always)),
            (r#""expire":0"#, Some(30), Ok(Times::For(30))),
            (r#""expire":60"#, None, Ok(Times::For(60))),
            (r#""expire":60"#, Some(30), Ok(Times::For(30))),
            (r#""start":100,"end":400"#, None, Ok(Times::Between(100, 400))),
            (r#""start":100,"end":4000"#, Some(1), Ok(Times::Between(100, 160))),
            (r#""start":100,"expire":5,"recurring":1"#, None, Ok(Times::Recurring(1, 100, 5))),
            (r#""start":100,"expire":5,"recurring":2"#, Some(4), Ok(Times::Recurring(2, 100, 4))),
            (r#""start":100,"expire":0,"recurring":2"#, None, Err("Invalid recurring command")),
            (
                r#""start":1,"end":2,"expire":5,"recurring":1"#,
                None,
                Err("Invalid recurring command"),
            ),
            (r#""expire":5,"recurring":1"#, None, Err("Invalid recurring command")),
            (r#""expire":5,"recurring":3"#, None, Err("Invalid recurring value")),
            (r#""expire":"5""#, None, Err("Invalid expire time")),
            (r#""expire":-5"#, None, Err("Invalid expire time")),
            (r#""start":"x""#, None, Err("Invalid start time")),
            (r#""start":400,"end":100"#, None, Err("No time specified")),
            (r#""start":400"#, None, Err("No time specified")),
            (r#""x":0"#, None, Err("No time specified")),
        ] {
            let text = format!(r#"{{"action":"createDeviceShareLink",{json}}}"#);
            let request = Request::parse(text.as_bytes()).unwrap();
            assert_eq!(Times::read(&request, most), times, "{json} {most:?}");
        }
    }
}
