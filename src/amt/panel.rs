//! Settings of the firmware as a person sees and changes them: redirection, consent, clock, names;
//! and, to look at, TLS, remote access (CIRA) and wireless networks.
//!
//! [`super::settings`] does what a policy wants and goes on where it may not; here each wish is
//! somebody's, so what the firmware refuses is said. Source: amt-management §4, §9 to §12.

use serde_json::{Map, Value, json};

use super::consent;
use super::inventory::{maybe, maybe_all, set, text};
use super::settings::{self, CONSENT, KVM, REDIRECTION};
use super::wsman::{Element, Failure, Link, Operation};

const GENERAL: &str = "AMT_GeneralSettings";
/// `EnabledState` of redirection with neither storage (bit 0) nor serial line (bit 1).
const CLOSED: u32 = 32768;
const STORAGE: u32 = 1;
const SERIAL: u32 = 2;

/// Reads all of them; a part this firmware has not is left out. `now` are seconds since 1970, and
/// `is_connected` says whether its own tunnel is here.
///
/// # Errors
/// What became of it.
pub async fn read(
    link: &Link,
    now: impl Fn() -> u64,
    is_connected: bool,
) -> Result<Value, Failure> {
    let mut all = Map::new();
    if let Some(service) = maybe(link, REDIRECTION).await? {
        let open = opened(&service);
        set(&mut all, "serial", Some(open & SERIAL != 0));
        set(&mut all, "storage", Some(open & STORAGE != 0));
        let desktop = maybe(link, KVM).await?;
        let listens = service.is_true("ListenerEnabled");
        set(&mut all, "desktop", desktop.map(|desktop| listens && is_on(&desktop)));
    }
    if let Some(service) = maybe(link, CONSENT).await? {
        let required = service.number("OptInRequired").unwrap_or(consent::ALWAYS);
        let word = REQUIRED.iter().find(|(_, number)| *number == required);
        set(&mut all, "consent", Some(word.map_or("all", |(word, _)| word)));
        set(&mut all, "consentTimeout", service.number::<u32>("OptInCodeTimeout"));
    }
    match settings::clock(link).await {
        Ok(Some(theirs)) => {
            all.insert("clock".into(), json!({"firmware": theirs, "server": now()}));
        }
        Ok(None) => {}
        Err(failure) if failure.is_refusal() => {}
        Err(failure) => return Err(failure),
    }
    if let Some(general) = maybe(link, GENERAL).await? {
        for (name, property) in [("hostname", "HostName"), ("domain", "DomainName")] {
            set(&mut all, name, Some(text(&general, property).unwrap_or_default()));
        }
    }
    set(&mut all, "tls", tls(&maybe_all(link, "AMT_TLSSettingData").await?));
    set(&mut all, "cira", remote_access(link, is_connected).await?);
    let wireless = link.list("CIM_WiFiEndpointSettings").await;
    match wireless {
        Ok(profiles) => set(&mut all, "wireless", Some(wireless_profiles(&profiles))),
        Err(failure) if failure.is_refusal() => {}
        Err(failure) => return Err(failure),
    }
    Ok(all.into())
}

/// The bits of serial line and storage that can be used: without a listener there are none.
fn opened(service: &Element) -> u32 {
    match service.number("EnabledState") {
        Some(state @ CLOSED..) if service.is_true("ListenerEnabled") => state & (STORAGE | SERIAL),
        _ => 0,
    }
}

/// Whether the desktop is switched on; 6 is with nobody connected.
fn is_on(desktop: &Element) -> bool {
    matches!(desktop.number("EnabledState"), Some(2 | 6))
}

fn tls(all: &[Element]) -> Option<Value> {
    let of = |kind: &str| {
        let id = |one: &&Element| one.property("InstanceID").is_some_and(|id| id.contains(kind));
        all.iter().find(id)
    };
    let (remote, local) = (of("802.3")?, of("LMS"));
    Some(json!({
        "remote": remote.is_true("Enabled"),
        "local": local.is_some_and(|local| local.is_true("Enabled")),
        "mutual": remote.is_true("MutualAuthentication"),
    }))
}

async fn remote_access(link: &Link, is_connected: bool) -> Result<Option<Value>, Failure> {
    let Some(environment) = maybe(link, "AMT_EnvironmentDetectionSettingData").await? else {
        return Ok(None);
    };
    let servers = maybe_all(link, "AMT_ManagementPresenceRemoteSAP").await?;
    let servers: Vec<_> = servers
        .iter()
        .take(LIST_MAX)
        .map(|server| {
            json!({
                "address": text(server, "AccessInfo"),
                "port": server.number::<u16>("Port"),
                "name": text(server, "CN"),
            })
        })
        .collect();
    let rules = maybe_all(link, "AMT_RemoteAccessPolicyRule").await?;
    let triggers: Vec<_> = rules
        .iter()
        .take(LIST_MAX)
        .filter_map(|rule| {
            Some(match rule.number("Trigger")? {
                0 => "user",
                1 => "alert",
                2 => "periodic",
                3 => "home",
                _ => return None,
            })
        })
        .collect();
    let home: Vec<_> = environment
        .list("DetectionStrings")
        .take(LIST_MAX)
        .map(|suffix| crate::model::text::clamp(suffix, 255))
        .collect();
    Ok(Some(json!({
        "servers": servers, "triggers": triggers, "home": home, "connected": is_connected,
    })))
}

/// Servers, rules and the like that are shown; there can be four of most.
const LIST_MAX: usize = 16;

fn wireless_profiles(profiles: &[Element]) -> Value {
    let each = profiles.iter().take(LIST_MAX).map(|profile| {
        json!({
            "name": text(profile, "ElementName"),
            "ssid": text(profile, "SSID"),
            "security": match profile.number::<u32>("AuthenticationMethod") {
                Some(2) => "open",
                Some(3) => "shared key",
                Some(4) => "WPA",
                Some(5) => "WPA 802.1X",
                Some(6) => "WPA2",
                Some(7) => "WPA2 802.1X",
                Some(32768) => "WPA3",
                Some(32769) => "OWE",
                _ => "other",
            },
            "priority": profile.number::<u32>("Priority"),
        })
    });
    each.collect()
}

/// What may be redirected; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The serial line.
    pub serial: Option<bool>,
    /// Drives.
    pub storage: Option<bool>,
    /// The desktop.
    pub desktop: Option<bool>,
}

/// Opens and closes redirection. The port is open while anything is: what is not wished for does
/// not come with it.
///
/// # Errors
/// What became of it.
pub async fn set_features(link: &Link, wanted: Features) -> Result<(), Failure> {
    let mut service = link.get(REDIRECTION).await?;
    let desktop = maybe(link, KVM).await?;
    if desktop.is_none() && wanted.desktop == Some(true) {
        return Err(Failure::Unable("This computer has no desktop redirection"));
    }
    let listened = service.is_true("ListenerEnabled");
    let was_on = desktop.as_ref().is_some_and(is_on);
    let shows = desktop.is_some() && wanted.desktop.unwrap_or(was_on && listened);
    if was_on != shows {
        let state = if shows { 2 } else { 3 };
        let request = Operation::invoke(KVM, "RequestStateChange").with("RequestedState", state);
        link.perform(request).await?;
    }
    let mut state = CLOSED | opened(&service);
    for (wish, bit) in [(wanted.serial, SERIAL), (wanted.storage, STORAGE)] {
        match wish {
            Some(true) => state |= bit,
            Some(false) => state &= !bit,
            None => {}
        }
    }
    let listens = state != CLOSED || shows;
    if (service.number("EnabledState"), listened) == (Some(state), listens) {
        return Ok(());
    }
    let request = Operation::invoke(REDIRECTION, "RequestStateChange");
    link.perform(request.with("RequestedState", state)).await?;
    service.set("EnabledState", state);
    service.set("ListenerEnabled", listens);
    link.put(REDIRECTION, service, None).await
}

/// What needs consent, by its name in `amtset` and its number in the firmware.
pub const REQUIRED: [(&str, u32); 3] = [("none", 0), ("desktop", 1), ("all", consent::ALWAYS)];

/// Says what needs consent.
///
/// # Errors
/// What became of it.
pub async fn set_consent(link: &Link, required: u32) -> Result<(), Failure> {
    let mut service = link.get(CONSENT).await?;
    if service.number("OptInRequired") == Some(required) {
        return Ok(());
    }
    if matches!(service.property("CanModifyOptInPolicy"), Some("0" | "false")) {
        return Err(Failure::Unable("This Intel AMT does not let the need of consent be changed"));
    }
    service.set("OptInRequired", required);
    link.put(CONSENT, service, None).await
}

/// Sets the clock to that of the server, in seconds since 1970.
///
/// # Errors
/// What became of it.
pub async fn set_clock(link: &Link, now: impl Fn() -> u64) -> Result<(), Failure> {
    match settings::clock(link).await? {
        Some(theirs) => settings::write_clock(link, theirs, now()).await,
        None => Err(Failure::Unable("This Intel AMT does not tell its clock")),
    }
}

/// Names the computer has for its firmware; `None` leaves one as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    host: Option<String>,
    domain: Option<String>,
}

impl Names {
    /// A host name of 1 to 63 letters, digits and hyphens, and a domain of up to 192 characters,
    /// which may be empty. `None` for others, and if nothing is named.
    pub fn new(host: Option<&str>, domain: Option<&str>) -> Option<Self> {
        let is_label = |text: &str| {
            (1..=63).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !text.starts_with('-')
                && !text.ends_with('-')
        };
        let is_domain =
            |text: &str| text.is_empty() || text.len() <= 192 && text.split('.').all(is_label);
        let fits = host.is_none_or(is_label) && domain.is_none_or(is_domain);
        let (host, domain) = (host.map(str::to_owned), domain.map(str::to_owned));
        (fits && (host.is_some() || domain.is_some())).then_some(Self { host, domain })
    }
}

/// Names the computer.
///
/// # Errors
/// What became of it.
pub async fn set_names(link: &Link, names: &Names) -> Result<(), Failure> {
    let mut general = link.get(GENERAL).await?;
    let before = general.clone();
    for (property, name) in [("HostName", &names.host), ("DomainName", &names.domain)] {
        if let Some(name) = name {
            general.set(property, name);
        }
    }
    if general == before {
        return Ok(());
    }
    link.put(GENERAL, general, None).await
}
