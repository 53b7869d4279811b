//! What goes wrong half-way, what was there before, and what is asked for in other ways.

use futures_lite::future::block_on;
use serde_json::{Value, json};

use super::testing::{Scene, instance};
use super::{Within, apply, set_up};
use crate::amt::digest::Credentials;
use crate::amt::testing::{Firmware, PASSWORD, output};
use crate::amt::tls::fingerprint_of;
use crate::amt::wsman::Failure;
use crate::hub::TunnelKind;
use crate::model::AmtAccess;

const COMMIT: &str = "AMT_SetupAndConfigurationService.CommitChanges";
const CLOCK: &str = "AMT_TimeSynchronizationService.SetHighAccuracyTimeSynch";

fn scene(by: TunnelKind, setup: &Value) -> Scene {
    Scene::new(2, by, setup)
}

/// From within; what was changed.
fn set_up_within(scene: &Scene, over_tls: bool) -> Result<Vec<String>, Failure> {
    let within = Within {
        tunnel: scene.tunnel.clone(),
        login: Credentials { user: "admin".into(), password: PASSWORD.into() },
        name: None,
        activated_over_tls: over_tls,
    };
    block_on(set_up(&scene.world.hub, within))?;
    Ok(without_clock(scene.take_changes()))
}

fn without_clock(mut said: Vec<String>) -> Vec<String> {
    said.retain(|name| name != CLOCK);
    said
}

/// Over the network; what was changed.
fn apply_to(scene: &Scene) -> Vec<String> {
    let link = scene.room.link(&scene.node).unwrap();
    block_on(apply(&scene.world.hub, &link)).unwrap();
    without_clock(scene.take_changes())
}

fn access(scene: &Scene) -> AmtAccess {
    (*scene.world.hub.store.amt_access(&scene.node).unwrap()).clone()
}

fn put(firmware: &Firmware, class: &str, instances: &[String]) {
    firmware.instances.borrow_mut().insert(class.into(), instances.to_vec());
}

fn texts(firmware: &Firmware, class: &str) -> String {
    firmware.instances.borrow()[class].concat()
}

/// Operations of TLS alone.
fn of_tls(said: &[String]) -> Vec<&str> {
    let of = |name: &&str| {
        name.contains("TLS")
            || name.contains("PublicKey")
            || name.contains("KeyPair")
            || *name == COMMIT
    };
    said.iter().map(|name| name.as_str()).filter(of).collect()
}

const SET_UP: [&str; 6] = [
    "AMT_PublicKeyManagementService.GenerateKeyPair",
    "AMT_PublicKeyManagementService.AddCertificate",
    "AMT_TLSCredentialContext.Create",
    "AMT_TLSSettingData.Put",
    "AMT_TLSSettingData.Put",
    COMMIT,
];

/// The certificate the firmware has that is no root.
fn issued(firmware: &Firmware) -> Vec<u8> {
    let all = texts(firmware, "AMT_PublicKeyCertificate");
    let own = all.split("<g:AMT_PublicKeyCertificate>").find(|one| one.contains(">false<"));
    let blob = own.unwrap().split("<g:X509Certificate>").nth(1).unwrap().split('<').next();
    data_encoding::BASE64.decode(blob.unwrap().as_bytes()).unwrap()
}

#[test]
fn the_certificate_that_is_pinned_is_the_one_issued_here() {
    let scene = scene(TunnelKind::Relay, &json!({}));
    assert_eq!(of_tls(&apply_to(&scene)), SET_UP);
    let certificate = issued(&scene.firmware);
    assert!(scene.world.hub.amt_home().root().unwrap().has_issued(&certificate));
    let AmtAccess { tls, pin, .. } = access(&scene);
    assert_eq!((tls, pin), (true, Some(fingerprint_of(&certificate))));
    let name = x509_parser::parse_x509_certificate(&certificate).unwrap().1.subject().to_string();
    assert!(name.contains("CN=IntelAMT-") && name.contains("O=Lab"), "{name}");
    // Both ports, and the one without TLS stays open.
    let settings = texts(&scene.firmware, "AMT_TLSSettingData");
    assert_eq!(settings.matches("<g:Enabled>true<").count(), 2, "{settings}");
    assert!(!settings.contains("<g:AcceptNonSecureConnections>false<"), "{settings}");
    assert_eq!(of_tls(&apply_to(&scene)), [""; 0]);
}

#[test]
fn tls_that_must_not_be_used_is_not_switched_on() {
    let scene = scene(TunnelKind::Relay, &json!({"tlsConnections": false}));
    let said = apply_to(&scene);
    assert_eq!(of_tls(&said), [""; 0]);
    assert!(said.contains(&"AMT_RedirectionService.Put".into()), "the rest is done: {said:?}");
    assert_eq!((access(&scene).tls, access(&scene).pin), (false, None));
}

#[test]
fn after_an_activation_over_tls_only_the_network_gets_it() {
    let scene = scene(TunnelKind::Lms, &json!({}));
    let said = set_up_within(&scene, true).unwrap();
    assert_eq!(said.iter().filter(|name| *name == "AMT_TLSSettingData.Put").count(), 1);
    let settings = texts(&scene.firmware, "AMT_TLSSettingData");
    let (local, network) = settings.split_once("</g:AMT_TLSSettingData>").unwrap();
    assert!(local.contains("LMS") && local.contains("<g:Enabled>false<"), "{settings}");
    assert!(network.contains("<g:Enabled>true<"), "{settings}");
}

/// Wherever it is refused nothing is left behind, nobody is locked out, and the rest goes on.
#[test]
fn a_failure_half_way_leaves_it_as_it_was() {
    for (step, left) in [
        ("AMT_PublicKeyManagementService.GenerateKeyPair", 0),
        ("AMT_PublicKeyManagementService.AddCertificate", 0),
        ("AMT_TLSCredentialContext.Create", 0),
        ("AMT_TLSSettingData.Put", 1),
        (COMMIT, 1),
    ] {
        let scene = scene(TunnelKind::Relay, &json!({}));
        let fault = |_: &Firmware, _: &_| "fault AccessDenied".into();
        scene.firmware.on(step, fault);
        let said = apply_to(&scene);
        let of_tls = of_tls(&said);
        assert!(said.contains(&"AMT_RedirectionService.Put".into()), "{step}: {said:?}");
        let AmtAccess { tls, pin, .. } = access(&scene);
        assert_eq!((tls, pin), (false, None), "{step}");
        let certificates = texts(&scene.firmware, "AMT_PublicKeyCertificate");
        assert_eq!(certificates.matches("</g:AMT_Pub").count(), left, "{step}: {of_tls:?}");
        let keys = texts(&scene.firmware, "AMT_PublicPrivateKeyPair");
        assert!(keys.contains("Handle: 0"), "that of others stays: {keys}");
        assert_eq!(keys.contains("Handle: 1"), left == 1, "{step}: {of_tls:?}");
    }
}

/// What was cut off is taken up again where it was.
#[test]
fn what_was_begun_is_finished_with_the_certificate_that_is_there() {
    let scene = scene(TunnelKind::Relay, &json!({}));
    apply_to(&scene);
    let certificate = issued(&scene.firmware);
    scene.firmware.change("AMT_TLSSettingData", "Enabled", "false");
    *scene.firmware.secure.borrow_mut() = None;
    let store = &scene.world.hub.store;
    store.put(AmtAccess { tls: false, pin: None, ..access(&scene) }).later();
    let again = ["AMT_TLSSettingData.Put", "AMT_TLSSettingData.Put", COMMIT];
    assert_eq!(of_tls(&apply_to(&scene)), again);
    assert_eq!(access(&scene).pin, Some(fingerprint_of(&certificate)));
    // Somebody else has set it up: it is used, and known by what it has.
    store.put(AmtAccess { tls: false, pin: None, ..access(&scene) }).later();
    assert_eq!(of_tls(&apply_to(&scene)), [""; 0]);
    let AmtAccess { tls, pin, .. } = access(&scene);
    assert_eq!((tls, pin), (true, Some(fingerprint_of(&certificate))));
}

#[test]
fn tls_that_cannot_be_used_here_is_not_used() {
    let scene = scene(TunnelKind::Relay, &json!({}));
    // It says that it changed over, and does not.
    scene.firmware.on(COMMIT, |_, _| output("CommitChanges", 0, ""));
    let said = apply_to(&scene);
    assert_eq!(of_tls(&said), SET_UP);
    assert!(said.contains(&"AMT_RedirectionService.Put".into()), "{said:?}");
    let AmtAccess { tls, pin, .. } = access(&scene);
    assert_eq!((tls, pin), (false, None));
}

#[test]
fn a_key_that_takes_a_while_is_waited_for() {
    let scene = scene(TunnelKind::Relay, &json!({}));
    let tries = std::cell::Cell::new(0);
    scene.firmware.on("AMT_PublicKeyManagementService.GenerateKeyPair", move |_, _| {
        tries.set(tries.get() + 1);
        let value = if tries.get() < 4 { 2061 } else { 2066 };
        output("GenerateKeyPair", value, "")
    });
    let said = apply_to(&scene);
    assert_eq!(of_tls(&said), ["AMT_PublicKeyManagementService.GenerateKeyPair"; 4]);
}

fn server(host: &str, n: u8) -> String {
    instance(
        "AMT_ManagementPresenceRemoteSAP",
        &[
            ("AccessInfo", host),
            ("InfoFormat", "201"),
            ("Name", &format!("Intel(r) AMT:Management Presence Server {n}")),
            ("Port", "4433"),
        ],
    )
}

/// What is done about where it calls, and the suffixes afterwards.
fn calls(scene: &Scene) -> (Vec<String>, Vec<String>) {
    let mut said = set_up_within(scene, false).unwrap();
    let of = ["RemoteAccess", "ManagementPresence", "Environment", "UserInitiated"];
    said.retain(|name| of.iter().any(|of| name.contains(of)));
    let surroundings = texts(&scene.firmware, "AMT_EnvironmentDetectionSettingData");
    let strings = surroundings.split("<g:DetectionStrings>").skip(1);
    let strings = strings.map(|one| one.split('<').next().unwrap().to_owned());
    (said, strings.collect())
}

#[test]
fn who_called_others_calls_here_and_nobody_when_that_is_wanted() {
    let scene = scene(TunnelKind::Lms, &json!({}));
    put(&scene.firmware, "AMT_ManagementPresenceRemoteSAP", &[server("old.example", 1)]);
    let rules = ["User Initiated", "Alert", "Periodic"];
    let class = "AMT_RemoteAccessPolicyRule";
    put(&scene.firmware, class, &rules.map(|name| instance(class, &[("PolicyRuleName", name)])));
    let (said, home) = calls(&scene);
    assert_eq!(
        said,
        [
            "AMT_UserInitiatedConnectionService.RequestStateChange",
            "AMT_RemoteAccessPolicyRule.Delete",
            "AMT_RemoteAccessPolicyRule.Delete",
            "AMT_RemoteAccessPolicyRule.Delete",
            "AMT_ManagementPresenceRemoteSAP.Delete",
            "AMT_RemoteAccessService.AddMpServer",
            "AMT_RemoteAccessService.AddRemoteAccessPolicyRule",
            "AMT_EnvironmentDetectionSettingData.Put",
        ]
    );
    assert_eq!(home[0].len(), 12, "a name no network has: {home:?}");
    assert_eq!(scene.amt()["mpspass"], 1);
    let certificates = texts(&scene.firmware, "AMT_PublicKeyCertificate");
    let root = scene.world.hub.amt_home().root().unwrap();
    assert!(certificates.contains(&data_encoding::BASE64.encode(root.der())), "it is trusted");
    assert_eq!(calls(&scene), (vec![], home.clone()), "it is right already");
    // It came from another group.
    let login = [("RemoteID", "SomebodyElse1234")];
    put(&scene.firmware, "AMT_MPSUsernamePassword", &[instance("AMT_MPSUsernamePassword", &login)]);
    let (said, same) = calls(&scene);
    let again = [
        "AMT_RemoteAccessPolicyRule.Delete",
        "AMT_ManagementPresenceRemoteSAP.Delete",
        "AMT_RemoteAccessService.AddMpServer",
        "AMT_RemoteAccessService.AddRemoteAccessPolicyRule",
    ];
    assert_eq!((said, &same), (again.map(str::to_owned).to_vec(), &home));
    // As it is.
    scene.want(2, 0);
    assert_eq!(calls(&scene), (vec![], home));
    // Nobody; the same for a group that deactivates.
    let away = [
        "AMT_RemoteAccessPolicyRule.Delete",
        "AMT_ManagementPresenceRemoteSAP.Delete",
        "AMT_EnvironmentDetectionSettingData.Put",
    ];
    scene.want(2, 1);
    assert_eq!(calls(&scene), (away.map(str::to_owned).to_vec(), vec![]));
    assert_eq!(scene.amt().get("mpspass"), None);
    assert_eq!(calls(&scene), (vec![], vec![]));
    scene.want(2, 2);
    calls(&scene);
    scene.want(1, 0);
    assert_eq!(calls(&scene), (away.map(str::to_owned).to_vec(), vec![]));
    // Over the network none of it is touched.
    assert_eq!(apply_to(&scene), [""; 0]);
}

#[test]
fn it_is_at_home_where_the_configuration_says() {
    let setup = json!({"environmentDetection": ["home.example", "b.example"]});
    let scene = scene(TunnelKind::Lms, &setup);
    let (_, home) = calls(&scene);
    assert_eq!(home, ["home.example", "b.example"]);
    let class = "AMT_EnvironmentDetectionSettingData";
    let turned = [("DetectionStrings", "b.example"), ("DetectionStrings", "home.example")];
    put(&scene.firmware, class, &[instance(class, &turned)]);
    assert_eq!(calls(&scene).0, [""; 0], "in any order");
    put(&scene.firmware, class, &[instance(class, &[("DetectionStrings", "x.example")])]);
    assert_eq!(calls(&scene), (vec![format!("{class}.Put")], home));
}

#[test]
fn without_trust_or_a_port_it_is_not_told_to_call() {
    let untrusting = scene(TunnelKind::Lms, &json!({}));
    let fault = |_: &Firmware, _: &_| "fault AccessDenied".into();
    untrusting.firmware.on("AMT_PublicKeyManagementService.AddTrustedRootCertificate", fault);
    assert_eq!(calls(&untrusting).0, [""; 0]);
    // Firmware that does not call at all.
    let unable = scene(TunnelKind::Lms, &json!({}));
    unable.firmware.instances.borrow_mut().remove("AMT_UserInitiatedConnectionService");
    assert_eq!(calls(&unable).0, [""; 0]);
}

#[test]
fn networks_with_a_login_get_it_and_others_of_the_same_name_go() {
    let login = json!({"authenticationProtocol": "peapv0/eap-mschapv2", "username": "u",
        "password": "p4ss", "serverCertificateName": "radius.example"});
    let setup = json!({"802.1x": login, "wifiProfiles": [
        {"name": "w1", "ssid": "corp", "authentication": "wpa2-802.1x"},
        {"name": "w2", "ssid": "guests", "password": "secretpass"}]});
    let scene = scene(TunnelKind::Lms, &setup);
    let networks = |said: Vec<String>| {
        let of = |name: &String| name.contains("WiFi") || name.contains("8021X");
        said.into_iter().filter(of).collect::<Vec<_>>()
    };
    let said = networks(set_up_within(&scene, false).unwrap());
    assert_eq!(
        said,
        [
            "AMT_8021XProfile.Put",
            "CIM_WiFiEndpointSettings.Delete",
            "AMT_WiFiPortConfigurationService.AddWiFiSettings",
            "AMT_WiFiPortConfigurationService.AddWiFiSettings",
            "AMT_WiFiPortConfigurationService.Put",
            "CIM_WiFiPort.RequestStateChange",
        ]
    );
    let joined = texts(&scene.firmware, "CIM_WiFiEndpointSettings");
    assert!(joined.contains("<g:AuthenticationMethod>7<") && !joined.contains(">Test<"));
    assert!(joined.contains("<g:Priority>1<") && joined.contains("<g:Priority>2<"), "{joined}");
    let wired = texts(&scene.firmware, "AMT_8021XProfile");
    let names = ["ActiveInS0", "AuthenticationProtocol", "ElementName", "Enabled", "Password"];
    let at = names.map(|name| wired.find(&format!("<g:{name}>")).unwrap());
    assert!(at.is_sorted(), "in the order of the schema: {wired}");
    assert!(wired.contains("<g:Enabled>true<") && wired.contains("<g:PxeTimeout>120<"), "{wired}");
    assert_eq!(networks(set_up_within(&scene, false).unwrap()), [""; 0], "it is right already");
    // Somebody has changed the user: that is another login.
    scene.firmware.change("CIM_IEEE8021xSettings", "Username", "other");
    let said = networks(set_up_within(&scene, false).unwrap());
    let again =
        ["CIM_WiFiEndpointSettings.Delete", "AMT_WiFiPortConfigurationService.AddWiFiSettings"];
    assert_eq!(said, again);
}

#[test]
fn a_computer_without_wireless_is_only_read_and_the_cable_can_be_freed() {
    let scene = scene(TunnelKind::Lms, &json!({"802.1x": false, "wifiProfiles": []}));
    scene.firmware.instances.borrow_mut().remove("CIM_WiFiPort");
    let said = set_up_within(&scene, false).unwrap();
    assert!(!said.iter().any(|name| name.contains("WiFi") || name.contains("8021X")), "{said:?}");
    scene.firmware.change("AMT_8021XProfile", "Enabled", "true");
    let said = set_up_within(&scene, false).unwrap();
    assert_eq!(said, ["AMT_8021XProfile.Put"]);
    assert_eq!(scene.firmware.property("AMT_8021XProfile", "Enabled"), "false");
}

#[test]
fn consent_follows_the_group_and_a_firmware_that_refuses_it_goes_on() {
    let scene = scene(TunnelKind::Relay, &json!({}));
    scene.firmware.on("IPS_OptInService.Put", |_, _| "fault AccessDenied".into());
    scene.firmware.instances.borrow_mut().remove("CIM_KVMRedirectionSAP");
    let said = apply_to(&scene);
    let wanted = [
        "IPS_OptInService.Put",
        "AMT_RedirectionService.RequestStateChange",
        "AMT_RedirectionService.Put",
    ];
    assert!(said.ends_with(&wanted.map(str::to_owned)), "{said:?}");
    assert_eq!(scene.firmware.property("AMT_RedirectionService", "ListenerEnabled"), "true");
    let hub = &scene.world.hub;
    let mut group = (*hub.store.group(&scene.group).unwrap()).clone();
    group.consent = 8;
    hub.store.put(group).later();
    assert_eq!(apply_to(&scene), [""; 0], "it asks for desktops already");
}
