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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use futures_lite::future::block_on;

    use super::*;
    use crate::amt::room::Room;
    use crate::amt::testing::{Firmware, output};
    use crate::hub::testing::{World, node_id};

    fn world() -> (World, Rc<Firmware>, Rc<Link>) {
        let (world, firmware) = (World::new(), Firmware::new());
        firmware.call_in(&world.hub, &node_id(1));
        firmware.on("AMT_TimeSynchronizationService.GetLowAccuracyTimeSynch", |_, _| {
            output("GetLowAccuracyTimeSynch", 0, "<g:Ta0>1000000000</g:Ta0>")
        });
        for (class, property) in
            [("AMT_RedirectionService", "EnabledState"), ("CIM_KVMRedirectionSAP", "EnabledState")]
        {
            firmware.on(&format!("{class}.RequestStateChange"), move |firmware, body| {
                firmware.change(class, property, body.property("RequestedState").unwrap());
                output("RequestStateChange", 0, "")
            });
        }
        let link = Room::new(world.hub.clone(), Rc::default()).link(&node_id(1)).unwrap();
        (world, firmware, link)
    }

    fn acts(firmware: &Firmware) -> Vec<String> {
        let mut said = firmware.take_said();
        said.retain(|name| !["Get", "Enumerate", "Pull"].iter().any(|verb| name.ends_with(verb)));
        said
    }

    #[test]
    fn all_settings_are_read_and_a_part_that_is_not_there_is_left_out() {
        let (_world, firmware, link) = world();
        let wifi = "<g:CIM_WiFiEndpointSettings><g:ElementName>home</g:ElementName><g:SSID>net\
             </g:SSID><g:AuthenticationMethod>6</g:AuthenticationMethod><g:Priority>1</g:Priority>\
             </g:CIM_WiFiEndpointSettings>";
        let class = "CIM_WiFiEndpointSettings".to_owned();
        firmware.instances.borrow_mut().insert(class, vec![wifi.into()]);
        let seen = block_on(read(&link, || 1_000_000_007, true)).unwrap();
        assert_eq!(
            seen,
            json!({
                "serial": true, "storage": true, "desktop": true,
                "consent": "none", "consentTimeout": 120,
                "clock": {"firmware": 1_000_000_000, "server": 1_000_000_007},
                "hostname": "Test Host Name", "domain": "Test Domain Name",
                "tls": {"remote": false, "local": false, "mutual": false},
                "cira": {
                    "servers": [
                        {"address": "192.168.10.196", "port": 4433, "name": "192.168.10.196"},
                    ],
                    "triggers": ["periodic"],
                    "home": ["b332bb28-ef3a-43b0-b998-342285ac1e26.com", "test.com"],
                    "connected": true,
                },
                "wireless": [{"name": "home", "ssid": "net", "security": "WPA2", "priority": 1}],
            })
        );
        // The port is closed: whatever the states say, nothing can be redirected.
        firmware.change("AMT_RedirectionService", "ListenerEnabled", "false");
        firmware.change("IPS_OptInService", "OptInRequired", "4294967295");
        for class in [
            "CIM_KVMRedirectionSAP",
            "AMT_TLSSettingData",
            "AMT_EnvironmentDetectionSettingData",
            "CIM_WiFiEndpointSettings",
        ] {
            firmware.instances.borrow_mut().remove(class);
        }
        let less = block_on(read(&link, || 1_000_000_007, false)).unwrap();
        assert_eq!(
            less,
            json!({
                "serial": false, "storage": false, "consent": "all", "consentTimeout": 120,
                "clock": {"firmware": 1_000_000_000, "server": 1_000_000_007},
                "hostname": "Test Host Name", "domain": "Test Domain Name",
            })
        );
    }

    #[test]
    fn redirection_is_opened_and_closed_as_wished_and_nothing_comes_with_it() {
        let (on, off) = (Some(true), Some(false));
        // State and listener of serial line and storage, state of the desktop: before, after.
        for (before, (serial, storage, desktop), after) in [
            (("32771", "true", "6"), (on, None, on), ("32771", "true", "6")),
            (("32768", "false", "3"), (on, None, None), ("32770", "true", "3")),
            (("32768", "false", "3"), (None, on, None), ("32769", "true", "3")),
            (("32768", "false", "3"), (None, None, on), ("32768", "true", "2")),
            (("32771", "true", "6"), (off, None, None), ("32769", "true", "6")),
            (("32771", "true", "6"), (off, off, None), ("32768", "true", "6")),
            (("32771", "true", "6"), (off, off, off), ("32768", "false", "3")),
            // What was behind a closed port stays closed.
            (("32771", "false", "6"), (on, None, None), ("32770", "true", "3")),
        ] {
            let (_world, firmware, link) = world();
            firmware.change("AMT_RedirectionService", "EnabledState", before.0);
            firmware.change("AMT_RedirectionService", "ListenerEnabled", before.1);
            firmware.change("CIM_KVMRedirectionSAP", "EnabledState", before.2);
            let wanted = Features { serial, storage, desktop };
            block_on(set_features(&link, wanted)).unwrap();
            let is = (
                &*firmware.property("AMT_RedirectionService", "EnabledState"),
                &*firmware.property("AMT_RedirectionService", "ListenerEnabled"),
                &*firmware.property("CIM_KVMRedirectionSAP", "EnabledState"),
            );
            assert_eq!(is, after, "{wanted:?} on {before:?}");
            assert_eq!(acts(&firmware).is_empty(), before == after, "{wanted:?}");
            block_on(set_features(&link, wanted)).unwrap();
            assert_eq!(acts(&firmware), Vec::<String>::new(), "once is enough: {wanted:?}");
        }
        let (_world, firmware, link) = world();
        firmware.instances.borrow_mut().remove("CIM_KVMRedirectionSAP");
        let wanted = Features { desktop: on, ..Features::default() };
        let failure = block_on(set_features(&link, wanted)).unwrap_err().to_string();
        assert_eq!(failure, "This computer has no desktop redirection");
        assert_eq!(acts(&firmware), Vec::<String>::new());
    }

    #[test]
    fn what_firmware_does_not_let_people_change_is_said() {
        let (_world, firmware, link) = world();
        block_on(set_consent(&link, 1)).unwrap();
        block_on(set_consent(&link, 1)).unwrap();
        assert_eq!(acts(&firmware), ["IPS_OptInService.Put"]);
        assert_eq!(firmware.property("IPS_OptInService", "OptInRequired"), "1");
        firmware.change("IPS_OptInService", "CanModifyOptInPolicy", "0");
        let failure = block_on(set_consent(&link, 0)).unwrap_err().to_string();
        assert!(failure.contains("does not let"), "{failure}");
        assert_eq!(acts(&firmware), Vec::<String>::new());
        firmware.on("AMT_GeneralSettings.Put", |_, _| "fault AccessDenied".into());
        let names = Names::new(Some("pc7"), None).unwrap();
        let failure = block_on(set_names(&link, &names)).unwrap_err().to_string();
        assert!(failure.contains("AccessDenied"), "{failure}");
    }

    #[test]
    fn clock_and_names_are_set_and_nothing_else_of_the_general_settings() {
        let (_world, firmware, link) = world();
        block_on(set_clock(&link, || 1_795_325_469)).unwrap();
        assert_eq!(firmware.bodies.borrow().last().unwrap().property("Tm2"), Some("1795325469"));
        let before = block_on(link.get(GENERAL)).unwrap();
        block_on(set_names(&link, &Names::new(Some("pc-7"), Some("")).unwrap())).unwrap();
        let after = block_on(link.get(GENERAL)).unwrap();
        let differs = |(a, b): (&Element, &Element)| (a != b).then(|| b.name.to_string());
        let changed: Vec<_> =
            before.children.iter().zip(&after.children).filter_map(differs).collect();
        assert_eq!(changed, ["DomainName", "HostName"]);
        for (host, domain, fits) in [
            (Some("pc-7"), Some("lab.example.org"), true),
            (None, Some(""), true),
            (Some(&*"x".repeat(63)), None, true),
            (None, None, false),
            (Some(""), None, false),
            (Some("pc 7"), None, false),
            (Some("-pc"), None, false),
            (Some("pc.lab"), None, false),
            (Some(&*"x".repeat(64)), None, false),
            (None, Some("lab..org"), false),
            (None, Some(&*"x.".repeat(97)), false),
        ] {
            assert_eq!(Names::new(host, domain).is_some(), fits, "{host:?} {domain:?}");
        }
    }
}
