//! Firmware that can be set up: what its methods make is there afterwards, and counts.

use std::rc::Rc;
use std::sync::LazyLock;

use data_encoding::BASE64;
use ring::signature::{KeyPair as _, RsaKeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use super::plan::named;
use crate::amt::room::Room;
use crate::amt::testing::{Firmware, REALM, output};
use crate::amt::wsman::{Element, resource};
use crate::config::parse;
use crate::hub::amt_home::Destination;
use crate::hub::testing::World;
use crate::hub::{AmtTunnel, TunnelKind};
use crate::identity::tls::WebTls;
use crate::identity::{Names, Root, WebCertificate, load_or_make_rsa};
use crate::model::{AmtPolicy, Device, Group, GroupId, GroupKind, Millis, NodeId};

/// A server with keys and an open port, and a device of a group with a policy.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) room: Rc<Room>,
    pub(super) firmware: Rc<Firmware>,
    pub(super) node: NodeId,
    pub(super) group: GroupId,
    pub(super) tunnel: Rc<AmtTunnel>,
}

/// The password firmware calls with.
pub(super) const MPS_PASSWORD: &str = "ELI@JQdM8jHK";

impl Scene {
    /// With this kind of policy, and this `amtManager` in the configuration.
    pub(super) fn new(kind: u8, by: TunnelKind, setup: &Value) -> Self {
        static KEYS: LazyLock<(tempfile::TempDir, Vec<u8>)> = LazyLock::new(|| {
            let folder = tempfile::tempdir().unwrap();
            let rsa = load_or_make_rsa(folder.path(), &Names::default(), 0).unwrap();
            (folder, rsa.root)
        });
        let config = json!({"settings": {"mpsPass": MPS_PASSWORD},
            "domains": {"": {"title": "Lab", "amtManager": setup}}});
        let (config, said) = parse(&config.to_string(), []).unwrap();
        assert_eq!(said, []);
        let world = World::with(config);
        let (hub, store) = (&world.hub, &world.hub.store);
        let (folder, root) = &*KEYS;
        hub.amt_home().set_root(Root::new(folder.path().to_owned(), root));
        let host = "mps.example.com".into();
        hub.amt_home().set_destination(Destination { host, number: 4433 });
        // The ids of the recording.
        let text = format!("mesh//{:A<64}", "ABCDEFGHIJKLMNOPQRSTUVWX@$yz");
        let group: GroupId = text.parse().unwrap();
        let node = crate::hub::testing::node_id(1);
        store.put(Group::new(group.clone(), "lab", GroupKind::Amt, Millis(1))).later();
        store.put(Device::new(node.clone(), group.clone(), "pc", Millis(2))).later();
        let firmware = Firmware::new();
        equip(&firmware);
        let tunnel = firmware.call_in_by(hub, &node, by);
        let room = Room::new(hub.clone(), Rc::default());
        let scene = Self { world, room, firmware, node, group, tunnel };
        scene.want(kind, 2);
        scene
    }

    /// The group wants this.
    pub(super) fn want(&self, kind: u8, cira: u8) {
        let (group, password) = (self.group.clone(), None);
        let (bad_password, client_mode) = (0, 0);
        let policy = AmtPolicy { group, kind, password, bad_password, cira, client_mode };
        self.world.hub.store.put(policy).later();
    }

    /// What is shown of it.
    pub(super) fn amt(&self) -> Value {
        let device = self.world.hub.store.device(&self.node).unwrap();
        self.world.hub.device_document(&device)["intelamt"].clone()
    }

    /// Operations since the last time that change something.
    pub(super) fn take_changes(&self) -> Vec<String> {
        let mut said = self.firmware.take_said();
        said.retain(|name| !is_read(name));
        said
    }
}

/// Whether an operation changes nothing.
pub(super) fn is_read(name: &str) -> bool {
    name.ends_with(".Get")
        || name.ends_with(".Enumerate")
        || name.ends_with(".Pull")
        || name.ends_with(".GetLowAccuracyTimeSynch")
}

fn reference(property: &str, class: &str, key: &str, value: &str) -> String {
    format!(
        "<g:{property}><b:Address>/wsman</b:Address><b:ReferenceParameters><c:ResourceURI>{}\
         </c:ResourceURI><c:SelectorSet><c:Selector Name=\"{key}\">{value}</c:Selector>\
         </c:SelectorSet></b:ReferenceParameters></g:{property}>",
        resource(class)
    )
}

fn key() -> PrivateKeyDer<'static> {
    let vector = include_str!("../../../tests/vectors/activation-acm-signature.json");
    let vector: Value = serde_json::from_str(vector).unwrap();
    PrivateKeyDer::from_pem_slice(vector["leaf_private_key_pem"].as_str().unwrap().as_bytes())
        .unwrap()
}

/// An instance of texts.
pub(super) fn instance(class: &str, texts: &[(&str, &str)]) -> String {
    let texts: String = texts.iter().map(|(k, v)| format!("<g:{k}>{v}</g:{k}>")).collect();
    format!("<g:{class}>{texts}</g:{class}>")
}

/// What it is like before anybody has set it up: redirection off, consent for desktops, a clock that
/// is wrong, no TLS, nobody it calls, and one network of somebody else.
fn equip(firmware: &Firmware) {
    firmware.change("AMT_GeneralSettings", "DigestRealm", REALM);
    firmware.change("AMT_RedirectionService", "EnabledState", "32768");
    firmware.change("AMT_RedirectionService", "ListenerEnabled", "false");
    firmware.change("CIM_KVMRedirectionSAP", "EnabledState", "3");
    firmware.change("IPS_OptInService", "OptInRequired", "1");
    firmware.change("AMT_UserInitiatedConnectionService", "EnabledState", "32768");
    let foreign = [
        ("AuthenticationMethod", "6"),
        ("BSSType", "3"),
        ("ElementName", "Test"),
        ("EncryptionMethod", "4"),
        ("InstanceID", "Intel(r) AMT:WiFi Endpoint Settings Test"),
        ("Priority", "1"),
        ("SSID", "test"),
    ];
    let pair = [("DERKey", "MEgCQQ=="), ("InstanceID", "Intel(r) AMT Key: Handle: 0")];
    let surroundings = [
        ("DetectionAlgorithm", "0"),
        ("ElementName", "Intel(r) AMT Environment Detection Settings"),
        ("InstanceID", "Intel(r) AMT Environment Detection Settings"),
    ];
    let proxy = [("Name", "Intel(r) ME:HTTP Proxy Service")];
    let collection = [("ElementName", "TLSProtocolEndpoint Instances Collection")];
    let profile = [("ActiveInS0", "true"), ("ElementName", "8021X"), ("Enabled", "false")];
    {
        let mut all = firmware.instances.borrow_mut();
        for (class, texts) in [
            ("AMT_PublicKeyCertificate", None),
            ("AMT_PublicPrivateKeyPair", Some(&pair[..])),
            ("AMT_TLSCredentialContext", None),
            ("AMT_TLSProtocolEndpointCollection", Some(&collection)),
            ("AMT_ManagementPresenceRemoteSAP", None),
            ("AMT_MPSUsernamePassword", None),
            ("AMT_RemoteAccessCredentialContext", None),
            ("AMT_RemoteAccessPolicyAppliesToMPS", None),
            ("AMT_RemoteAccessPolicyRule", None),
            ("AMT_EnvironmentDetectionSettingData", Some(&surroundings)),
            ("IPS_HTTPProxyService", Some(&proxy)),
            ("CIM_WiFiEndpointSettings", Some(&foreign)),
            ("CIM_IEEE8021xSettings", None),
            ("AMT_8021XProfile", Some(&profile)),
        ] {
            let made = texts.map(|texts| instance(class, texts));
            all.insert(class.into(), made.into_iter().collect());
        }
        // As the recorded requests list them.
        all.get_mut("AMT_TLSSettingData").unwrap().reverse();
    }
    tls(firmware);
    calls(firmware);
    for class in ["AMT_UserInitiatedConnectionService", "CIM_WiFiPort", "CIM_KVMRedirectionSAP"] {
        firmware.on(&format!("{class}.RequestStateChange"), move |firmware, body| {
            firmware.change(class, "EnabledState", &body.children[0].text);
            output("RequestStateChange", 0, "")
        });
    }
    firmware.on("AMT_TimeSynchronizationService.GetLowAccuracyTimeSynch", |_, _| {
        output("GetLowAccuracyTimeSynch", 0, "<g:Ta0>1000000000</g:Ta0>")
    });
    firmware.on("AMT_WiFiPortConfigurationService.AddWiFiSettings", |firmware, body| {
        let of = |name: &str| body.child(name);
        let texts = |class: &str, input: &Element| {
            let texts = input.children.iter().filter(|child| !child.name.contains("Pass"));
            let texts: Vec<_> = texts.map(|child| (&*child.name, &*child.text)).collect();
            let mut all = firmware.instances.borrow_mut();
            all.get_mut(class).unwrap().push(instance(class, &texts));
        };
        texts("CIM_WiFiEndpointSettings", of("WiFiEndpointSettingsInput").unwrap());
        if let Some(login) = of("IEEE8021xSettingsInput") {
            texts("CIM_IEEE8021xSettings", login);
        }
        output("AddWiFiSettings", 0, "")
    });
}

fn tls(firmware: &Firmware) {
    let service = |method| format!("AMT_PublicKeyManagementService.{method}");
    firmware.on(&service("GenerateKeyPair"), |firmware, _| {
        let PrivateKeyDer::Pkcs8(key) = key() else { panic!("another form") };
        let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
        let public = BASE64.encode(key.public_key().as_ref());
        let id = "Intel(r) AMT Key: Handle: 1";
        let class = "AMT_PublicPrivateKeyPair";
        let pair = instance(class, &[("DERKey", &public), ("InstanceID", id)]);
        firmware.instances.borrow_mut().get_mut(class).unwrap().push(pair);
        output("GenerateKeyPair", 0, &reference("KeyPair", class, "InstanceID", id))
    });
    for method in ["AddCertificate", "AddTrustedRootCertificate"] {
        firmware.on(&service(method), move |firmware, body| {
            let class = "AMT_PublicKeyCertificate";
            let mut all = firmware.instances.borrow_mut();
            let certificates = all.get_mut(class).unwrap();
            let id = format!("Intel(r) AMT Certificate: Handle: {}", certificates.len() + 1);
            let blob = &*body.children[0].text;
            let is_root = if method == "AddCertificate" { "false" } else { "true" };
            certificates.push(instance(
                class,
                &[
                    ("InstanceID", &id),
                    ("TrustedRootCertficate", is_root),
                    ("X509Certificate", blob),
                ],
            ));
            output(method, 0, &reference("CreatedCertificate", class, "InstanceID", &id))
        });
    }
    firmware.on("AMT_TLSCredentialContext.Create", |firmware, body| {
        let id = named(body, "ElementInContext", "InstanceID").unwrap();
        let used = reference("ElementInContext", "AMT_PublicKeyCertificate", "InstanceID", id);
        let context = format!("<g:AMT_TLSCredentialContext>{used}</g:AMT_TLSCredentialContext>");
        let mut all = firmware.instances.borrow_mut();
        all.get_mut("AMT_TLSCredentialContext").unwrap().push(context);
        "<g:ResourceCreated/>".into()
    });
    firmware.on("AMT_SetupAndConfigurationService.CommitChanges", |firmware, _| {
        let all = firmware.instances.borrow();
        let context = &all["AMT_TLSCredentialContext"][0];
        let id = context.split("InstanceID\">").nth(1).unwrap().split('<').next().unwrap();
        let certificates = &all["AMT_PublicKeyCertificate"];
        let certificate = certificates.iter().find(|one| one.contains(id)).unwrap();
        let blob = certificate.split("<g:X509Certificate>").nth(1).unwrap();
        let der = BASE64.decode(blob.split('<').next().unwrap().as_bytes()).unwrap();
        let made = WebCertificate::new(vec![CertificateDer::from(der)], key()).unwrap();
        let config = WebTls::new(made).server_config().unwrap();
        *firmware.secure.borrow_mut() = Some(config);
        output("CommitChanges", 0, "")
    });
}

fn calls(firmware: &Firmware) {
    firmware.on("AMT_RemoteAccessService.AddMpServer", |firmware, body| {
        let class = "AMT_ManagementPresenceRemoteSAP";
        let name = "Intel(r) AMT:Management Presence Server 0";
        let of = |name: &str| (name.to_owned(), body.child(name).unwrap().text.to_string());
        let [access, format, port] = ["AccessInfo", "InfoFormat", "Port"].map(of);
        let server = instance(
            class,
            &[
                ("AccessInfo", &access.1),
                ("InfoFormat", &format.1),
                ("Name", name),
                ("Port", &port.1),
            ],
        );
        let login = "AMT_MPSUsernamePassword";
        let user = instance(login, &[("RemoteID", &of("Username").1)]);
        let mut all = firmware.instances.borrow_mut();
        all.insert(class.into(), vec![server]);
        all.insert(login.into(), vec![user]);
        output("AddMpServer", 0, &reference("MpServer", class, "Name", name))
    });
    firmware.on("AMT_RemoteAccessService.AddRemoteAccessPolicyRule", |firmware, body| {
        let server = named(body, "MpServer", "Name").unwrap();
        let (rule, applies) = ("AMT_RemoteAccessPolicyRule", "AMT_RemoteAccessPolicyAppliesToMPS");
        let links = [
            reference("ManagedElement", "AMT_ManagementPresenceRemoteSAP", "Name", server),
            reference("PolicySet", rule, "PolicyRuleName", "Periodic"),
        ];
        let mut all = firmware.instances.borrow_mut();
        all.insert(rule.into(), vec![instance(rule, &[("PolicyRuleName", "Periodic")])]);
        all.insert(applies.into(), vec![format!("<g:{applies}>{}</g:{applies}>", links.concat())]);
        output("AddRemoteAccessPolicyRule", 0, "")
    });
    firmware.on("AMT_RemoteAccessPolicyRule.Delete", |firmware, _| {
        let mut all = firmware.instances.borrow_mut();
        all.get_mut("AMT_RemoteAccessPolicyRule").unwrap().clear();
        all.get_mut("AMT_RemoteAccessPolicyAppliesToMPS").unwrap().clear();
        String::new()
    });
}
