//! What the stock server's manager was seen to ask, against what is asked here: in the same order,
//! of the same classes and methods, with the same parameters. Each difference is meant.

use std::collections::BTreeMap;

use futures_lite::future::block_on;
use serde_json::{Value, json};

use super::testing::{Scene, is_read};
use super::{Within, set_up};
use crate::amt::digest::Credentials;
use crate::amt::schedule::Outcome;
use crate::amt::testing::PASSWORD;
use crate::amt::upkeep;
use crate::amt::wsman::Element;
use crate::hub::TunnelKind;
use crate::store::DetailKind;

const LMS: &str = "policy4_fully_automatic_over_LMS_from_plain_ACM_device";
const LAN: &str = "policy4_fully_automatic_over_LAN";
const NONE: &str = "policy0_none_over_LAN";

/// A difference: where, what, how often only the stock server asks it and how often only we (both, if
/// it comes at another place), and why.
type Difference = (&'static str, &'static str, [u8; 2], &'static str);

const CLEAN_UP: &str = "keys and certificates nobody asked to remove stay where they are";
const NO_CLEAN_UP: &str = "what is read for the clean-up, and for certificates of 802.1X that only \
                           MeshCentral Satellite issues, is not read";
const NAME: &str = "firmware differs in the name of the collection, so it is asked";
const ORDER: &str = "hardware is read before the network: each is a document of its own";
const UNUSED: &str = "what is in it is shown nowhere";

const DIFFERENCES: &[Difference] = &[
    (LMS, "AMT_TLSProtocolEndpointCollection.Enumerate", [0, 1], NAME),
    (LMS, "AMT_TLSProtocolEndpointCollection.Pull", [0, 1], NAME),
    (LMS, "AMT_PublicKeyCertificate.Enumerate", [2, 0], NO_CLEAN_UP),
    (LMS, "AMT_PublicKeyCertificate.Pull", [2, 0], NO_CLEAN_UP),
    (LMS, "AMT_PublicPrivateKeyPair.Enumerate", [2, 0], NO_CLEAN_UP),
    (LMS, "AMT_PublicPrivateKeyPair.Pull", [2, 0], NO_CLEAN_UP),
    (LMS, "AMT_PublicPrivateKeyPair.Delete", [4, 0], CLEAN_UP),
    (LMS, "AMT_PublicKeyCertificate.Delete", [1, 0], CLEAN_UP),
    (LAN, "AMT_TLSProtocolEndpointCollection.Enumerate", [0, 1], NAME),
    (LAN, "AMT_TLSProtocolEndpointCollection.Pull", [0, 1], NAME),
    (LAN, "AMT_PublicKeyCertificate.Enumerate", [1, 0], NO_CLEAN_UP),
    (LAN, "AMT_PublicKeyCertificate.Pull", [1, 0], NO_CLEAN_UP),
    (LAN, "AMT_PublicPrivateKeyPair.Enumerate", [1, 0], NO_CLEAN_UP),
    (LAN, "AMT_PublicPrivateKeyPair.Pull", [1, 0], NO_CLEAN_UP),
    (LAN, "AMT_PublicPrivateKeyPair.Delete", [2, 0], CLEAN_UP),
    (LAN, "AMT_PublicKeyCertificate.Delete", [1, 0], CLEAN_UP),
    (NONE, "AMT_PublicKeyCertificate.Enumerate", [1, 0], NO_CLEAN_UP),
    (NONE, "AMT_PublicKeyCertificate.Pull", [1, 0], NO_CLEAN_UP),
    (NONE, "AMT_PublicPrivateKeyPair.Enumerate", [1, 0], NO_CLEAN_UP),
    (NONE, "AMT_PublicPrivateKeyPair.Pull", [1, 0], NO_CLEAN_UP),
    (NONE, "AMT_PublicPrivateKeyPair.Delete", [2, 0], CLEAN_UP),
    (NONE, "AMT_PublicKeyCertificate.Delete", [1, 0], CLEAN_UP),
];

/// The same wherever hardware is read.
const INVENTORY: &[(&str, [u8; 2], &str)] = &[
    ("AMT_EthernetPortSettings.Enumerate", [1, 1], ORDER),
    ("AMT_EthernetPortSettings.Pull", [1, 1], ORDER),
    ("CIM_BIOSElement.Get", [1, 1], ORDER),
    ("CIM_Card.Get", [1, 1], ORDER),
    ("CIM_Chassis.Get", [1, 0], UNUSED),
    ("CIM_Chip.Enumerate", [1, 1], ORDER),
    ("CIM_Chip.Pull", [1, 1], ORDER),
    ("CIM_PhysicalPackage.Enumerate", [1, 0], UNUSED),
    ("CIM_PhysicalPackage.Pull", [1, 0], UNUSED),
    ("CIM_Processor.Enumerate", [1, 0], UNUSED),
    ("CIM_Processor.Pull", [1, 0], UNUSED),
    ("CIM_SystemPackaging.Enumerate", [1, 0], UNUSED),
    ("CIM_SystemPackaging.Pull", [1, 0], UNUSED),
];

/// Members of `intelamt` that are not as the stock server left them, and why.
const MEMBERS: &[(&str, &str)] = &[
    ("pass", "a secret: clients of both are told that there is one"),
    ("mpspass", "a secret: clients of both are told that there is one"),
    ("hash", "SHA-256 of the certificate, where MeshCentral has SHA-1; tools take either"),
];

fn vectors() -> Value {
    let text = include_str!("../../../tests/vectors/wsman-policy-sequences.json");
    serde_json::from_str(text).unwrap()
}

/// A scene as the recording began, and what the stock server asked.
fn begin(name: &str, kind: u8, by: TunnelKind) -> (Scene, Vec<(String, String)>) {
    let setup = json!({"wifiProfiles": [{"name": "w1", "ssid": "corp", "password": "secretpass",
        "authentication": "wpa2-psk", "encryption": "ccmp-aes"}]});
    let scene = Scene::new(kind, by, &setup);
    let recorded = vectors();
    let text = |op: &Value, name: &str| op[name].as_str().unwrap_or_default().to_owned();
    let ops = recorded[name]["ops"].as_array().unwrap().iter();
    (scene, ops.map(|op| (text(op, "op"), text(op, "body"))).collect())
}

/// Which of `theirs` and `ours` go together, in order: the longest row of equal ones.
fn common(theirs: &[(String, String)], ours: &[String]) -> Vec<(usize, usize)> {
    let mut best = vec![vec![0; ours.len() + 1]; theirs.len() + 1];
    for (t, (op, _)) in theirs.iter().enumerate().rev() {
        for (o, own) in ours.iter().enumerate().rev() {
            best[t][o] = match op == own {
                true => best[t + 1][o + 1] + 1,
                false => best[t + 1][o].max(best[t][o + 1]),
            };
        }
    }
    let (mut t, mut o, mut pairs) = (0, 0, Vec::new());
    while t < theirs.len() && o < ours.len() {
        if theirs[t].0 == ours[o] {
            pairs.push((t, o));
            (t, o) = (t + 1, o + 1);
        } else if best[t + 1][o] >= best[t][o + 1] {
            t += 1;
        } else {
            o += 1;
        }
    }
    pairs
}

/// Compares with what the firmware of the scene was asked.
fn compare(name: &str, scene: &Scene, theirs: &[(String, String)]) {
    let bodies = scene.firmware.bodies.borrow().clone();
    let ours = scene.firmware.said.borrow().clone();
    let pairs = common(theirs, &ours);
    let mut differences = BTreeMap::<&str, [u8; 2]>::new();
    for (t, (op, _)) in theirs.iter().enumerate() {
        if !pairs.iter().any(|pair| pair.0 == t) {
            differences.entry(op).or_default()[0] += 1;
        }
    }
    for (o, op) in ours.iter().enumerate() {
        if !pairs.iter().any(|pair| pair.1 == o) {
            differences.entry(op).or_default()[1] += 1;
        }
    }
    let rows = DIFFERENCES.iter().filter(|row| row.0 == name);
    let rows = rows.map(|(_, op, count, _)| (*op, *count));
    let inventory = INVENTORY.iter().filter(|_| name != LMS).map(|(op, count, _)| (*op, *count));
    let meant: BTreeMap<&str, [u8; 2]> = rows.chain(inventory).collect();
    assert_eq!(differences, meant, "{name}: {ours:#?}");
    for (t, o) in pairs {
        let (op, recorded) = &theirs[t];
        if !recorded.is_empty() {
            assert_eq!(shape(&bodies[o]), shape(&read(recorded)), "{name}: {op}");
        }
    }
}

/// A recorded body; its prefixes are declared nowhere.
fn read(body: &str) -> Element {
    let declared = ["a", "g", "q", "r", "w"].map(|p| format!("xmlns:{p}=\"urn:{p}\"")).join(" ");
    let whole = Element::parse(&format!("<x {declared}>{body}</x>")).unwrap();
    whole.children.into_iter().next().unwrap()
}

/// Values that differ from run to run, or say the same in two ways.
const FREE: [&str; 9] = [
    "Address",
    "CertificateBlob",
    "DetectionStrings",
    "ElementInContext",
    "Password",
    "Selector",
    "Ta0",
    "Tm1",
    "Tm2",
];

/// Names and texts, without what is free.
fn shape(element: &Element) -> Vec<String> {
    let mut all = vec![format!("{} {}", element.name, element.text)];
    if FREE.contains(&&*element.name) {
        let key = element.key.as_deref().unwrap_or_default();
        all = vec![format!("{} {key}", element.name)];
    }
    all.extend(element.children.iter().flat_map(shape));
    all
}

fn check_members(name: &str, scene: &Scene, more: &Value) {
    let (shown, recorded) = (scene.amt(), vectors());
    let recorded = &recorded[name]["resulting_intelamt"];
    for (member, value) in recorded.as_object().unwrap() {
        let is_meant = MEMBERS.iter().any(|(other, _)| other == member);
        assert_eq!(shown[member] == *value, !is_meant, "{name}: {member} of {shown}");
    }
    for (member, value) in more.as_object().unwrap() {
        assert_eq!(shown[member], *value, "{name}: {member} of {shown}");
    }
}

#[test]
fn from_within_everything_is_set_up_as_the_stock_server_does_it() {
    let (scene, theirs) = begin(LMS, 4, TunnelKind::Lms);
    let hub = &scene.world.hub;
    let within = || Within {
        tunnel: scene.tunnel.clone(),
        login: Credentials { user: "admin".into(), password: PASSWORD.into() },
        name: Some(("pc1".into(), "corp.local".into())),
        activated_over_tls: false,
    };
    block_on(set_up(hub, within())).unwrap();
    compare(LMS, &scene, &theirs);
    check_members(LMS, &scene, &json!({"pass": 1, "mpspass": 1}));
    // The second time there is nothing left to do but to set a clock that does not run.
    scene.take_changes();
    block_on(set_up(hub, within())).unwrap();
    assert_eq!(scene.take_changes(), ["AMT_TimeSynchronizationService.SetHighAccuracyTimeSynch"]);
}

#[test]
fn over_the_network_it_gets_what_the_stock_server_gives_it() {
    let (scene, theirs) = begin(LAN, 4, TunnelKind::Relay);
    scene.world.hub.amt_seen_on_lan(&scene.node);
    let visit = upkeep::visit(&scene.room, &scene.node, true);
    assert_eq!(block_on(visit), Outcome::Answered);
    compare(LAN, &scene, &theirs);
    check_members(LAN, &scene, &json!({"pass": 1}));
    let recorded = vectors();
    let store = &scene.world.hub.store;
    for (kind, member) in [(DetailKind::Network, "netif2"), (DetailKind::System, "hardware")] {
        let kept = block_on(store.detail(&scene.node, kind)).unwrap();
        let kept: Value = serde_json::from_slice(&kept.json).unwrap();
        let mut documents = recorded["documents_written"].as_array().unwrap().iter();
        let written = documents.find(|one| one.get(member).is_some()).unwrap();
        assert_eq!(kept[member], written[member]);
    }
    let power = recorded["connectivity_call"][0][4].as_u64();
    assert_eq!(Some(scene.world.hub.connectivity(&scene.node).power.into()), power);
}

#[test]
fn without_a_policy_nothing_is_changed_whatever_the_stock_server_does() {
    let (scene, theirs) = begin(NONE, 0, TunnelKind::Relay);
    let visit = upkeep::visit(&scene.room, &scene.node, true);
    assert_eq!(block_on(visit), Outcome::Answered);
    let said = scene.firmware.said.borrow().clone();
    let changes: Vec<_> = said.iter().filter(|name| !is_read(name)).collect();
    assert_eq!(changes, Vec::<&String>::new());
    compare(NONE, &scene, &theirs);
    check_members(NONE, &scene, &json!({"pass": 1}));
    // Nor from within.
    let (scene, _) = begin(NONE, 0, TunnelKind::Lms);
    let login = Credentials { user: "admin".into(), password: PASSWORD.into() };
    let (tunnel, name) = (scene.tunnel.clone(), None);
    let within = Within { tunnel, login, name, activated_over_tls: false };
    block_on(set_up(&scene.world.hub, within)).unwrap();
    assert_eq!(scene.take_changes(), Vec::<String>::new());
}
