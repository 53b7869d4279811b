//! The classes of simulated firmware as it comes, and what may be written to them.
//!
//! Values are those of real firmware (`tests/vectors/wsman-firmware-bodies.json`); what is not
//! recorded there has the least it can have.

use serde_json::Value;

use super::xml::{ADDRESSING, COMMON, ENUMERATION, Element, WSMAN, uri};

/// Bodies of real firmware.
const RECORDED: &str = include_str!("../../vectors/wsman-firmware-bodies.json");

/// What of the boot settings holds for one boot.
pub const BOOT_OPTIONS: [&str; 15] = [
    "BIOSPause",
    "BIOSSetup",
    "ConfigurationDataReset",
    "EnforceSecureBoot",
    "ForcedProgressEvents",
    "LockKeyboard",
    "LockPowerButton",
    "LockResetButton",
    "LockSleepButton",
    "PlatformErase",
    "ReflashBIOS",
    "SecureErase",
    "UseIDER",
    "UseSOL",
    "UserPasswordBypass",
];

/// Classes with no instance at first.
const EMPTY: [&str; 9] = [
    "AMT_PublicKeyCertificate",
    "AMT_PublicPrivateKeyPair",
    "AMT_RemoteAccessCredentialContext",
    "AMT_TLSCredentialContext",
    "CIM_IEEE8021xSettings",
    "CIM_WiFiEndpointSettings",
    "IPS_AlarmClockOccurrence",
    "IPS_HTTPProxyAccessPoint",
    "IPS_IEEE8021xSettings",
];

/// Instances that are not recorded, with their properties.
const MADE: [(&str, &[(&str, &str)]); 12] = [
    ("AMT_AlarmClockService", &[("Name", "Intel(r) AMT Alarm Clock Service")]),
    ("AMT_PublicKeyManagementService", &[("Name", "Intel(r) AMT Public Key Management Service")]),
    ("AMT_RemoteAccessService", &[("Name", "Intel(r) AMT Remote Access Service")]),
    ("AMT_TLSProtocolEndpointCollection", &[("ElementName", TLS_COLLECTION)]),
    ("CIM_BootConfigSetting", &[("InstanceID", BOOT_CONFIGURATION)]),
    (
        "CIM_ComputerSystem",
        &[("CreationClassName", "CIM_ComputerSystem"), ("Name", "ManagedSystem")],
    ),
    ("CIM_PowerManagementService", &[("Name", "Intel(r) AMT Power Management Service")]),
    ("CIM_WiFiEndpoint", &[("Name", "WiFi Endpoint 0")]),
    ("IPS_HTTPProxyService", &[("Name", "Intel(r) ME:HTTP Proxy Service")]),
    ("IPS_ScreenConfigurationService", &[("EnabledState", "3"), ("Name", "Screen")]),
    (
        "CIM_ServiceAvailableToElement",
        // A name for what is enumerated; its items are of another class.
        &[],
    ),
    ("CIM_SystemPackaging", &[]),
];

/// Name of the collection a TLS credential is for.
pub const TLS_COLLECTION: &str = "TLSProtocolEndpoint Instances Collection";
/// The one boot configuration.
pub const BOOT_CONFIGURATION: &str = "Intel(r) AMT: Boot Configuration 0";

/// Properties nobody may write: naming one in a `Put` is a fault.
const READ_ONLY: [(&str, &[&str]); 2] = [
    (
        "AMT_BootSettingData",
        &[
            "BIOSLastStatus",
            "BootguardStatus",
            "OptionsCleared",
            "RPEEnabled",
            "RSEPassword",
            "SecureBootControlEnabled",
            "UEFIHTTPSBootEnabled",
            "UEFILocalPBABootEnabled",
            "WinREBootEnabled",
        ],
    ),
    ("IPS_KVMRedirectionSettingData", &["DoubleBufferActive"]),
];

/// Properties a `Put` may leave out, or bring though they were not read.
const OPTIONAL: [(&str, &[&str]); 5] = [
    ("AMT_BootSettingData", &["UefiBootParametersArray", "UseSafeMode"]),
    ("AMT_EnvironmentDetectionSettingData", &["DetectionStrings", "DetectionIPv6LocalPrefixes"]),
    ("AMT_EthernetPortSettings", &["IPAddress", "SubnetMask", "DefaultGateway", "PrimaryDNS"]),
    ("AMT_TLSSettingData", &["TrustedCN"]),
    ("IPS_KVMRedirectionSettingData", &["RFBPassword"]),
];

fn of<'a>(table: &[(&str, &'a [&'a str])], class: &str) -> &'a [&'a str] {
    table.iter().find(|(name, _)| *name == class).map_or(&[], |(_, names)| names)
}

/// Whether nobody may write this property.
pub fn is_read_only(class: &str, property: &str) -> bool {
    of(&READ_ONLY, class).contains(&property)
}

/// Whether a `Put` need not have this property.
pub fn is_optional(class: &str, property: &str) -> bool {
    of(&OPTIONAL, class).contains(&property)
}

/// Whether this firmware has such a class.
pub fn exists(instances: &[Element], class: &str) -> bool {
    EMPTY.contains(&class)
        || MADE.iter().any(|(name, _)| *name == class)
        || class == "CIM_PhysicalPackage"
        || class == "AMT_RemoteAccessPolicyRule"
        || class == "AMT_RemoteAccessPolicyAppliesToMPS"
        || class == "AMT_ManagementPresenceRemoteSAP"
        || instances.iter().any(|instance| instance.name == class)
}

/// Classes whose instances an enumeration of `class` gives.
pub fn members(class: &str) -> &'static [&'static str] {
    match class {
        "CIM_ServiceAvailableToElement" => &["CIM_AssociatedPowerManagementService"],
        "CIM_SystemPackaging" => &["CIM_ComputerSystemPackage"],
        "CIM_PhysicalPackage" => &["CIM_Chassis", "CIM_Card"],
        _ => &[],
    }
}

/// Properties that tell one instance of a class from another.
pub fn key(class: &str) -> &'static str {
    match class {
        "AMT_RemoteAccessPolicyRule" => "PolicyRuleName",
        "AMT_ManagementPresenceRemoteSAP" => "Name",
        _ => "InstanceID",
    }
}

/// All instances of firmware as it was recorded.
pub fn as_recorded() -> Vec<Element> {
    let recorded: Value = serde_json::from_str(RECORDED).expect("it is JSON");
    let responses = recorded["responses"].as_object().expect("they have names").values();
    let mut instances = Vec::new();
    for response in responses {
        let class = response["class"].as_str().expect("every one has a class");
        let body = response["body"].as_str().expect("every one has a body");
        match response["action"].as_str() {
            Some("GetResponse") => instances.push(read(class, body, false)),
            Some("PullResponse") if !EMPTY.contains(&class) => {
                let pulled = read(class, body, true);
                let items = pulled.child(ENUMERATION, "Items").expect("a pull has items");
                instances.extend(items.children.iter().cloned());
            }
            _ => {}
        }
    }
    let made = MADE.iter().filter(|(_, properties)| !properties.is_empty());
    instances.extend(made.map(|(class, properties)| Element::instance(class, properties)));
    instances
}

/// One recorded body. `g` is the class, in an enumeration it is that namespace and `h` the class.
fn read(class: &str, body: &str, pulled: bool) -> Element {
    let class = uri(class);
    let (g, h) = if pulled { (ENUMERATION, &*class) } else { (&*class, COMMON) };
    let text = format!(
        "<r xmlns:a=\"{}\" xmlns:b=\"{ADDRESSING}\" xmlns:c=\"{WSMAN}\" xmlns:g=\"{g}\" \
         xmlns:h=\"{h}\" xmlns:i=\"{COMMON}\">{body}</r>",
        super::xml::SOAP
    );
    let root = Element::parse(&text).unwrap_or_else(|error| panic!("{class}: {error}"));
    root.children.into_iter().next().expect("a body has one element")
}

/// Records of both logs.
pub fn logs() -> (Vec<String>, Vec<String>) {
    let recorded: Value = serde_json::from_str(RECORDED).expect("it is JSON");
    let body = |name: &str| {
        let response = &recorded["responses"][name];
        read(
            response["class"].as_str().unwrap_or(""),
            response["body"].as_str().unwrap_or(""),
            false,
        )
    };
    let texts = |output: &Element, name: &str| -> Vec<String> {
        output.values(name).into_iter().map(str::to_owned).collect()
    };
    let (events, audits) = (body("amt/messagelog/getrecords"), body("amt/auditlog/readrecords"));
    (texts(&events, "RecordArray"), texts(&audits, "EventRecords"))
}
