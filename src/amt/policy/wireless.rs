//! Networks firmware joins: wireless ones, and how it logs in to those with 802.1X.
//!
//! Firmware tells no secrets, so a network is right if everything else of it is. Source:
//! amt-management §12; behaviour of the stock server's manager.

use super::plan::{Found, Read, Step, put};
use crate::amt::wsman::{Element, Operation, Verb, resource};
use crate::config::{AmtSetup, NetworkLogin, Supplicant, WirelessNetwork};

const NETWORKS: &str = "CIM_WiFiEndpointSettings";
const PORT: &str = "CIM_WiFiPort";
const SERVICE: &str = "AMT_WiFiPortConfigurationService";
const LOGINS: &str = "CIM_IEEE8021xSettings";
/// The login of the cable.
const WIRED: &str = "AMT_8021XProfile";
const SYNCHRONISED: &str = "localProfileSynchronizationEnabled";
/// `BSSType`: networks with an access point.
const INFRASTRUCTURE: u32 = 3;
/// `EnabledState`: on, also while the computer sleeps on mains.
const ALWAYS_ON: u32 = 32769;

/// What is read, in this order; the last only if the configuration says something of it.
pub(super) const READS: [Read; 5] =
    [Read::All(NETWORKS), Read::One(PORT), Read::One(SERVICE), Read::All(LOGINS), Read::One(WIRED)];

/// How many of them are read.
pub(super) fn reads(setup: &AmtSetup) -> &'static [Read] {
    let wireless = READS.split_last().map_or(&READS[..], |(_, wireless)| wireless);
    if setup.network_login.is_some() { &READS } else { wireless }
}

/// Decides.
pub(super) fn plan(found: &Found, setup: &AmtSetup) -> Vec<Step> {
    let mut steps = Vec::new();
    if let (Some(profile), Some(login)) = (found.one(WIRED), &setup.network_login) {
        steps.extend(wired(profile, login));
    }
    let (Some(port), Some(service)) = (found.one(PORT), found.one(SERVICE)) else { return steps };
    if !found.has(NETWORKS) || !found.has(LOGINS) {
        return steps;
    }
    if let Some(wanted) = &setup.networks {
        let login = match &setup.network_login {
            Some(NetworkLogin::On(login)) => Some(login),
            _ => None,
        };
        networks(&mut steps, found, wanted, login);
    }
    if service.number(SYNCHRONISED) == Some(0) {
        let mut service = service.clone();
        service.set(SYNCHRONISED, 1);
        let written = put(SERVICE, service);
        steps.push(Step::tried(written, "Enabled local WIFI profile sync."));
    }
    if port.number("EnabledState") != Some(ALWAYS_ON) {
        let state = Operation::invoke(PORT, "RequestStateChange");
        steps.push(Step::tried(state.with("RequestedState", ALWAYS_ON), "Enabled WIFI."));
    }
    steps
}

/// Removes networks that are not wanted, and adds those that are missing.
fn networks(
    steps: &mut Vec<Step>,
    found: &Found,
    wanted: &[WirelessNetwork],
    login: Option<&Supplicant>,
) {
    let is_kept = |present: &Element| {
        let fits = |wanted: &WirelessNetwork| is_same(found, present, wanted, login);
        wanted.iter().any(fits)
    };
    // What has no name of its own cannot be removed.
    let present = found.all(NETWORKS).iter().filter(|one| one.property("InstanceID").is_some());
    let (kept, foreign): (Vec<_>, Vec<_>) = present.partition(|one| is_kept(one));
    for one in foreign {
        let id = one.property("InstanceID").unwrap_or_default();
        let delete = Operation::new(NETWORKS, Verb::Delete).of("InstanceID", id);
        steps.push(Step::tried(delete, "Removed a WIFI profile."));
    }
    let mut taken: Vec<u32> = kept.iter().filter_map(|one| one.number("Priority")).collect();
    for network in wanted {
        if kept.iter().any(|one| is_same(found, one, network, login)) {
            continue;
        }
        let free = (1..).find(|priority| !taken.contains(priority)).unwrap_or(1);
        taken.push(free);
        let login = login.filter(|_| network.wants_login());
        steps.push(Step::tried(add(network, free, login), "Added a WIFI profile."));
    }
}

fn is_same(
    found: &Found,
    present: &Element,
    wanted: &WirelessNetwork,
    login: Option<&Supplicant>,
) -> bool {
    let is_network = present.property("ElementName") == Some(&wanted.name)
        && present.property("SSID") == Some(&wanted.ssid)
        && present.number("AuthenticationMethod") == Some(wanted.authentication)
        && present.number("EncryptionMethod") == Some(wanted.encryption)
        // Some firmware does not say it of what was added without.
        && present.number::<u32>("BSSType").is_none_or(|kind| kind == INFRASTRUCTURE);
    let (true, Some(login)) = (is_network && wanted.wants_login(), login) else {
        return is_network;
    };
    let name = login_name(wanted);
    let mut named = found
        .all(LOGINS)
        .iter()
        .filter(|one| [Some(&*name), Some(&wanted.name)].contains(&one.property("ElementName")));
    named.any(|one| says(login, false).all(|(name, value)| has(one, name, &value)))
}

fn has(instance: &Element, name: &str, value: &str) -> bool {
    let present = instance.property(name).unwrap_or_default();
    // A secret is told by nobody.
    name == "Password" || present == value
}

fn login_name(network: &WirelessNetwork) -> String {
    format!("8021x-{}", network.name)
}

fn add(network: &WirelessNetwork, priority: u32, login: Option<&Supplicant>) -> Operation {
    let (space, settings) = (resource(SERVICE), resource(NETWORKS));
    let id = format!("Intel(r) AMT:WiFi Endpoint Settings {}", network.name);
    let mut input = Element::new("WiFiEndpointSettingsInput", &space);
    let mut say = |name: &str, value: &str| {
        input.children.push(Element::text(name, &settings, value));
    };
    say("ElementName", &network.name);
    say("InstanceID", &id);
    say("AuthenticationMethod", &network.authentication.to_string());
    say("EncryptionMethod", &network.encryption.to_string());
    say("SSID", &network.ssid);
    say("Priority", &priority.to_string());
    if let Some(password) = &network.password {
        say("PSKPassPhrase", password);
    }
    let added = Operation::invoke(SERVICE, "AddWiFiSettings")
        .with_reference("WiFiEndpoint", "CIM_WiFiEndpoint", &[("Name", "WiFi Endpoint 0")])
        .with_element(input);
    let Some(login) = login else { return added };
    let (settings, name) = (resource(LOGINS), login_name(network));
    let mut input = Element::new("IEEE8021xSettingsInput", &space)
        .with(Element::text("ElementName", &settings, &name))
        .with(Element::text("InstanceID", &settings, &name));
    input.children.extend(says(login, false).map(|(n, v)| Element::text(n, &settings, &v)));
    added.with_element(input)
}

/// What a login says, in the order of the schema of wireless networks; what is empty is left out.
fn says(login: &Supplicant, on_cable: bool) -> impl Iterator<Item = (&'static str, String)> {
    let comparison = (!login.server.is_empty()).then(|| login.comparison.to_string());
    let pxe = on_cable.then(|| login.pxe_seconds.to_string());
    let all = [
        ("ActiveInS0", login.while_running.to_string()),
        ("AuthenticationProtocol", login.protocol.to_string()),
        ("RoamingIdentity", login.roaming_identity.clone()),
        ("ServerCertificateName", login.server.clone()),
        ("ServerCertificateNameComparison", comparison.unwrap_or_default()),
        ("Username", login.user.clone()),
        ("Password", login.password.clone()),
        ("Domain", login.domain.clone()),
        ("PxeTimeout", pxe.unwrap_or_default()),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty())
}

/// The login of the cable: put back with what is wanted, or switched off.
fn wired(profile: &Element, login: &NetworkLogin) -> Option<Step> {
    const MEMBERS: [&str; 11] = [
        "AuthenticationProtocol",
        "ClientCertificate",
        "Domain",
        "PACPassword",
        "Password",
        "ProtectedAccessCredential",
        "RoamingIdentity",
        "ServerCertificateIssuer",
        "ServerCertificateName",
        "ServerCertificateNameComparison",
        "Username",
    ];
    let is_on = profile.is_true("Enabled");
    let mut changed = profile.clone();
    let says = match login {
        NetworkLogin::Off if !is_on => return None,
        NetworkLogin::Off => {
            changed.set("Enabled", false);
            "802.1x wired profile switched off."
        }
        NetworkLogin::On(login) => {
            let is_right = says(login, true).all(|(name, value)| has(profile, name, &value));
            if is_on && is_right {
                return None;
            }
            changed.children.retain(|child| !MEMBERS.contains(&&*child.name));
            changed.set("Enabled", true);
            for (name, value) in says(login, true) {
                changed.set(name, value);
            }
            "802.1x wired profile set."
        }
    };
    changed.children.sort_by(|a, b| a.name.cmp(&b.name));
    Some(Step::tried(put(WIRED, changed), says))
}
