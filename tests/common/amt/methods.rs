//! What methods of firmware do, and what it does not let anybody put, create or delete.

use data_encoding::BASE64;
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs8::EncodePrivateKey as _;

use super::classes::{BOOT_CONFIGURATION, TLS_COLLECTION};
use super::firmware::{Account, CONSENT_ALL, Firmware};
use super::wsman::Fault;
use super::xml::{COMMON, Element, Reference, uri};

/// What a method gives beside its return value 0, or another return value.
type Outcome = Result<Vec<Element>, u32>;

/// Invalid parameter of services of AMT and IPS.
const PARAMETER: u32 = 36;
/// Invalid parameter of CIM methods.
const CIM_PARAMETER: u32 = 5;
/// The transition is not possible now.
const TRANSITION: u32 = 4097;
/// Something of the kind is there already.
const DUPLICATE: u32 = 2058;
/// There is no such thing.
const NOT_FOUND: u32 = 2068;
/// The user has to agree first.
const CONSENT: u32 = 2081;

/// One method: its parameters in the order of the schema; those with `?` may be missing.
struct Method {
    class: &'static str,
    name: &'static str,
    parameters: &'static [&'static str],
    run: fn(&mut Firmware, &Input<'_>) -> Outcome,
}

macro_rules! methods {
    ($($class:ident.$name:ident($($parameter:literal),*) => $run:expr;)*) => {
        &[$(Method {
            class: stringify!($class),
            name: stringify!($name),
            parameters: &[$($parameter),*],
            run: $run,
        }),*]
    };
}

const METHODS: &[Method] = methods! {
    IPS_HostBasedSetupService.AddNextCertInChain(
        "NextCertificate", "IsLeafCertificate", "IsRootCertificate"
    ) => add_next_certificate;
    IPS_HostBasedSetupService.AdminSetup(
        "NetAdminPassEncryptionType", "NetworkAdminPassword", "McNonce", "SigningAlgorithm",
        "DigitalSignature"
    ) => admin_setup;
    IPS_HostBasedSetupService.Setup("NetAdminPassEncryptionType", "NetworkAdminPassword") =>
        client_setup;
    CIM_PowerManagementService.RequestPowerStateChange("PowerState", "ManagedElement") => power;
    IPS_PowerManagementService.RequestOSPowerSavingStateChange("OSPowerSavingState", "ManagedElement")
        => power_saving;
    CIM_BootConfigSetting.ChangeBootOrder("Source?") => boot_order;
    CIM_BootService.SetBootConfigRole("BootConfigSetting", "Role") => boot_role;
    CIM_BootService.RequestStateChange("RequestedState", "TimeoutPeriod?") =>
        |f, i| state(f, i, "CIM_BootService", &["32768", "32769", "32770", "32771"]);
    AMT_RedirectionService.RequestStateChange("RequestedState", "TimeoutPeriod?") =>
        |f, i| state(f, i, "AMT_RedirectionService", &["32768", "32769", "32770", "32771"]);
    // Firmware takes no time for this one.
    CIM_KVMRedirectionSAP.RequestStateChange("RequestedState") =>
        |f, i| state(f, i, "CIM_KVMRedirectionSAP", &["2", "3"]);
    CIM_WiFiPort.RequestStateChange("RequestedState", "TimeoutPeriod?") =>
        |f, i| state(f, i, "CIM_WiFiPort", &["3", "32768", "32769"]);
    AMT_UserInitiatedConnectionService.RequestStateChange("RequestedState", "TimeoutPeriod?") =>
        |f, i| state(f, i, "AMT_UserInitiatedConnectionService", &["32768", "32769", "32770", "32771"]);
    IPS_OptInService.StartOptIn() => start_opt_in;
    IPS_OptInService.CancelOptIn() => cancel_opt_in;
    IPS_OptInService.SendOptInCode("OptInCode") => send_opt_in_code;
    IPS_ScreenConfigurationService.SetSessionState("SessionState", "ConsecutiveRebootsNum") =>
        |_, _| Ok(Vec::new());
    AMT_MessageLog.PositionToFirstRecord() => |_, i| Ok(vec![i.out("IterationIdentifier", 1)]);
    AMT_MessageLog.GetRecords("IterationIdentifier", "MaxReadRecords") => event_records;
    AMT_AuditLog.ReadRecords("StartIndex") => audit_records;
    AMT_TimeSynchronizationService.GetLowAccuracyTimeSynch() => |f, i| Ok(vec![i.out("Ta0", f.time())]);
    AMT_TimeSynchronizationService.SetHighAccuracyTimeSynch("Ta0", "Tm1", "Tm2") => set_clock;
    AMT_PublicKeyManagementService.GenerateKeyPair("KeyAlgorithm", "KeyLength") => generate_key_pair;
    AMT_PublicKeyManagementService.AddCertificate("CertificateBlob") =>
        |f, i| add_certificate(f, i, false);
    AMT_PublicKeyManagementService.AddTrustedRootCertificate("CertificateBlob") =>
        |f, i| add_certificate(f, i, true);
    AMT_SetupAndConfigurationService.CommitChanges() => commit;
    AMT_SetupAndConfigurationService.SetMEBxPassword("Password") => |_, i| {
        if i.text("Password").len() < 8 { Err(2054) } else { Ok(Vec::new()) }
    };
    AMT_RemoteAccessService.AddMpServer(
        "AccessInfo", "InfoFormat", "Port", "AuthMethod", "Certificate?", "Username?", "Password?",
        "CN?"
    ) => add_mp_server;
    AMT_RemoteAccessService.AddRemoteAccessPolicyRule(
        "Trigger", "TunnelLifeTime", "ExtendedData?", "MpServer", "InternalMpServer?"
    ) => add_policy_rule;
    AMT_AuthorizationService.EnumerateUserAclEntries("StartIndex") => list_users;
    AMT_AuthorizationService.GetUserAclEntryEx("Handle") => get_user;
    AMT_AuthorizationService.AddUserAclEntryEx(
        "DigestUsername", "DigestPassword", "AccessPermission", "Realms?"
    ) => add_user;
    AMT_AuthorizationService.UpdateUserAclEntryEx(
        "Handle", "DigestUsername?", "DigestPassword?", "AccessPermission", "Realms?"
    ) => update_user;
    AMT_AuthorizationService.RemoveUserAclEntry("Handle") => remove_user;
    AMT_AuthorizationService.GetAclEnabledState("Handle") => |f, i| {
        let account = account(f, i)?;
        Ok(vec![i.out("Enabled", account.enabled)])
    };
    AMT_AuthorizationService.SetAclEnabledState("Handle", "Enabled") => |f, i| {
        account(f, i)?.enabled = i.text("Enabled") == "true";
        Ok(Vec::new())
    };
    AMT_AuthorizationService.GetAdminAclEntry() => |f, i| Ok(vec![i.out("Username", &f.admin.0)]);
    AMT_AuthorizationService.SetAdminAclEntryEx("Username", "DigestPassword") => set_admin;
    AMT_AlarmClockService.AddAlarm("AlarmTemplate") => add_alarm;
    AMT_WiFiPortConfigurationService.AddWiFiSettings(
        "WiFiEndpoint", "WiFiEndpointSettingsInput", "IEEE8021xSettingsInput?", "ClientCredential?",
        "CACredential?"
    ) => add_wifi;
    AMT_EthernetPortSettings.SetLinkPreference("LinkPreference", "Timeout") => |_, _| Ok(Vec::new());
};

/// The parameters of a call.
struct Input<'a> {
    body: &'a Element,
}

impl Input<'_> {
    fn text(&self, name: &str) -> &str {
        self.body.value(name)
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.text(name).parse().ok()
    }

    fn reference(&self, name: &str) -> Option<Reference> {
        self.body.get(name).and_then(Reference::read)
    }

    fn out(&self, name: &str, value: impl ToString) -> Element {
        Element::text(&self.body.ns, name, value)
    }
}

/// Calls a method.
///
/// # Errors
/// A fault if there is none, or its parameters are not those of the schema in its order.
pub fn invoke(
    firmware: &mut Firmware,
    class: &str,
    method: &str,
    body: &Element,
) -> Result<Element, Fault> {
    let known = METHODS.iter().find(|m| m.class == class && m.name == method);
    let known = known.ok_or_else(|| Fault::schema(format!("{class} has no method {method}")))?;
    if !body.is(&uri(class), &format!("{method}_INPUT")) {
        return Err(Fault::schema(format!("{} is no input of {method}", body.name)));
    }
    let mut given = body.children.iter().peekable();
    for parameter in known.parameters {
        let name = parameter.trim_end_matches('?');
        let mut count = 0;
        while given.next_if(|child| child.is(&body.ns, name)).is_some() {
            count += 1;
        }
        if count == 0 && !parameter.ends_with('?') {
            return Err(Fault::schema(format!("{name} is missing, or not in its place")));
        }
    }
    if let Some(other) = given.next() {
        return Err(Fault::schema(format!("{} is too much, or not in its place", other.name)));
    }
    let input = Input { body };
    let (values, returned) = match (known.run)(firmware, &input) {
        Ok(values) => (values, 0),
        Err(value) => (Vec::new(), value),
    };
    let mut output = Element::new(&body.ns, &format!("{method}_OUTPUT"));
    output.children = values;
    Ok(output.with(input.out("ReturnValue", returned)))
}

/// Brings what instances say of the computer up to date.
pub fn refresh(firmware: &mut Firmware) {
    firmware.look_at_computer();
    let (power, available) = (firmware.power, firmware.available_power_states());
    let service = firmware.instance("CIM_AssociatedPowerManagementService");
    service.children.retain(|property| property.name != "AvailableRequestedPowerStates");
    service.set("PowerState", power);
    let ns = service.ns.clone();
    let states = available.iter().map(|n| Element::text(&ns, "AvailableRequestedPowerStates", n));
    service.children.splice(0..0, states);
}

fn add_next_certificate(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let is = |name| input.text(name) == "true";
    let (is_leaf, is_root) = (is("IsLeafCertificate"), is("IsRootCertificate"));
    let certificate = input.text("NextCertificate").to_owned();
    firmware.add_certificate(&certificate, is_leaf, is_root).map(|()| Vec::new())
}

fn admin_setup(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    if (input.text("NetAdminPassEncryptionType"), input.text("SigningAlgorithm")) != ("2", "2") {
        return Err(3);
    }
    let text = |name| input.text(name).to_owned();
    let (password, nonce) = (text("NetworkAdminPassword"), text("McNonce"));
    firmware.admin_setup(&password, &nonce, &text("DigitalSignature")).map(|()| Vec::new())
}

fn client_setup(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    if input.text("NetAdminPassEncryptionType") != "2" {
        return Err(3);
    }
    let password = input.text("NetworkAdminPassword").to_owned();
    firmware.client_setup(&password).map(|()| Vec::new())
}

fn power(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let computer = input.reference("ManagedElement").filter(|r| r.class == "CIM_ComputerSystem");
    let computer = computer.filter(|r| r.key("Name") == Some("ManagedSystem"));
    let state = input.number("PowerState").and_then(|n| u8::try_from(n).ok());
    let (Some(_), Some(state @ 2..=16)) = (computer, state) else { return Err(CIM_PARAMETER) };
    if !firmware.available_power_states().contains(&state) {
        return Err(TRANSITION);
    }
    firmware.set_power(state);
    Ok(Vec::new())
}

fn power_saving(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let state = input.text("OSPowerSavingState").to_owned();
    if !["2", "3"].contains(&&*state) {
        return Err(CIM_PARAMETER);
    }
    firmware.instance("IPS_PowerManagementService").set("OSPowerSavingState", state);
    Ok(Vec::new())
}

/// Options that exclude a boot source.
const WITHOUT_SOURCE: [&str; 5] = ["UseIDER", "UseSOL", "BIOSSetup", "BIOSPause", "ReflashBIOS"];

fn boot_order(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    if input.body.get("Source").is_none() {
        firmware.source = None;
        return Ok(Vec::new());
    }
    let source = input.reference("Source").filter(|r| r.class == "CIM_BootSourceSetting");
    let source =
        source.and_then(|r| r.key("InstanceID").map(str::to_owned)).ok_or(CIM_PARAMETER)?;
    let sources = firmware.instances.iter().filter(|i| i.name == "CIM_BootSourceSetting");
    if !sources.into_iter().any(|i| i.value("InstanceID") == source) {
        return Err(CIM_PARAMETER);
    }
    let option = |name: &&&str| firmware.property("AMT_BootSettingData", name) == "true";
    if WITHOUT_SOURCE.iter().find(option).is_some() {
        return Err(CIM_PARAMETER);
    }
    if !firmware.has_consent(false) {
        return Err(CONSENT);
    }
    firmware.source = Some(source);
    Ok(Vec::new())
}

fn boot_role(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let setting = input.reference("BootConfigSetting");
    let setting = setting.filter(|r| r.class == "CIM_BootConfigSetting");
    match (setting.as_ref().and_then(|r| r.key("InstanceID")), input.text("Role")) {
        (Some(BOOT_CONFIGURATION), "1") => firmware.armed = true,
        (Some(BOOT_CONFIGURATION), "32768") => firmware.armed = false,
        _ => return Err(CIM_PARAMETER),
    }
    Ok(Vec::new())
}

fn state(firmware: &mut Firmware, input: &Input<'_>, class: &str, allowed: &[&str]) -> Outcome {
    let requested = input.text("RequestedState").to_owned();
    if !allowed.contains(&&*requested) {
        return Err(CIM_PARAMETER);
    }
    let instance = firmware.instance(class);
    // KVM that is on and that nobody looks at is "enabled but offline".
    let is_idle_kvm = class == "CIM_KVMRedirectionSAP" && requested == "2";
    instance.set("EnabledState", if is_idle_kvm { "6" } else { &requested });
    Ok(Vec::new())
}

fn start_opt_in(firmware: &mut Firmware, _: &Input<'_>) -> Outcome {
    let opt_in = firmware.instance("IPS_OptInService");
    if opt_in.value("OptInRequired") == "0" || opt_in.value("OptInState") != "0" {
        return Err(2);
    }
    // It is on the screen at once.
    opt_in.set("OptInState", 2);
    firmware.wrong_codes = 0;
    Ok(Vec::new())
}

fn cancel_opt_in(firmware: &mut Firmware, _: &Input<'_>) -> Outcome {
    firmware.instance("IPS_OptInService").set("OptInState", 0);
    Ok(Vec::new())
}

fn send_opt_in_code(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    if firmware.property("IPS_OptInService", "OptInState") != "2" {
        return Err(2);
    }
    if input.number("OptInCode") == Some(firmware.consent_code) {
        firmware.instance("IPS_OptInService").set("OptInState", 3);
        return Ok(Vec::new());
    }
    firmware.wrong_codes += 1;
    if firmware.wrong_codes >= 3 {
        firmware.instance("IPS_OptInService").set("OptInState", 0);
    }
    Err(2066)
}

fn event_records(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let start = input.number("IterationIdentifier").filter(|n| *n >= 1).ok_or(PARAMETER)? as usize;
    let most = input.number("MaxReadRecords").filter(|n| *n <= 390).ok_or(PARAMETER)? as usize;
    let records = &firmware.logs.0;
    let page: Vec<_> = records.iter().skip(start - 1).take(most).collect();
    let next = start + page.len();
    let mut out = vec![
        input.out("IterationIdentifier", next),
        input.out("NoMoreRecords", next > records.len()),
    ];
    out.extend(page.into_iter().map(|record| input.out("RecordArray", record)));
    Ok(out)
}

/// Ten records at a time.
fn audit_records(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let start = input.number("StartIndex").filter(|n| *n >= 1).ok_or(PARAMETER)? as usize;
    let records = &firmware.logs.1;
    let page: Vec<_> = records.iter().skip(start - 1).take(10).collect();
    let mut out = vec![
        input.out("TotalRecordCount", records.len()),
        input.out("RecordsReturned", page.len()),
    ];
    out.extend(page.into_iter().map(|record| input.out("EventRecords", record)));
    Ok(out)
}

fn set_clock(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let time = |name| input.text(name).parse::<i64>().map_err(|_| PARAMETER);
    let (t0, t1, t2) = (time("Ta0")?, time("Tm1")?, time("Tm2")?);
    let now = firmware.time();
    if (t0 - now).abs() > 60 || t2 < t1 {
        return Err(PARAMETER);
    }
    // What passed since it said its time counts half each way.
    firmware.clock += (t1 + t2) / 2 - (t0 + now) / 2;
    Ok(Vec::new())
}

fn generate_key_pair(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let length = input.number("KeyLength").filter(|n| [1024, 1536, 2048].contains(n));
    let (Some("0"), Some(length)) = (Some(input.text("KeyAlgorithm")), length) else {
        return Err(PARAMETER);
    };
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, length as usize);
    let key = key.map_err(|_| 1_u32)?;
    let public = key.to_public_key().to_pkcs1_der().map_err(|_| 1_u32)?;
    let private = key.to_pkcs8_der().map_err(|_| 1_u32)?.as_bytes().to_vec();
    let handle = firmware.keys.iter().map(|(handle, _)| handle + 1).max().unwrap_or(0);
    firmware.keys.push((handle, private));
    let id = format!("Intel(r) AMT Key: Handle: {handle}");
    firmware.instances.push(Element::instance(
        "AMT_PublicPrivateKeyPair",
        &[
            ("DERKey", &BASE64.encode(public.as_bytes())),
            ("ElementName", "Intel(r) AMT Key"),
            ("InstanceID", &id),
        ],
    ));
    let reference = Reference::to("AMT_PublicPrivateKeyPair", "InstanceID", &id);
    Ok(vec![reference.element(&input.body.ns, "KeyPair")])
}

fn add_certificate(firmware: &mut Firmware, input: &Input<'_>, root: bool) -> Outcome {
    let blob = input.text("CertificateBlob").to_owned();
    let der = BASE64.decode(blob.as_bytes()).map_err(|_| 2063_u32)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|_| 2063_u32)?;
    let stored = |firmware: &Firmware| -> Vec<String> {
        let of = firmware.instances.iter().filter(|i| i.name == "AMT_PublicKeyCertificate");
        of.map(|i| i.value("X509Certificate").to_owned()).collect()
    };
    if stored(firmware).contains(&blob) {
        return Err(DUPLICATE);
    }
    let id = format!("Intel(r) AMT Certificate: Handle: {}", firmware.number());
    firmware.instances.push(Element::instance(
        "AMT_PublicKeyCertificate",
        &[
            ("ElementName", "Intel(r) AMT Certificate"),
            ("InstanceID", &id),
            ("Issuer", &certificate.issuer().to_string()),
            ("Subject", &certificate.subject().to_string()),
            ("TrustedRootCertficate", if root { "true" } else { "false" }),
            ("X509Certificate", &blob),
        ],
    ));
    let reference = Reference::to("AMT_PublicKeyCertificate", "InstanceID", &id);
    Ok(vec![reference.element(&input.body.ns, "CreatedCertificate")])
}

/// Makes TLS settings hold: with a credential and an enabled network port, the certificate and the
/// key it was made for are used.
fn commit(firmware: &mut Firmware, _: &Input<'_>) -> Outcome {
    if let Some(committed) = firmware.commit_set_up() {
        return committed.map(|()| Vec::new());
    }
    (firmware.tls, firmware.plain) = (None, true);
    let of = |class: &'static str| firmware.instances.iter().filter(move |i| i.name == class);
    let network = of("AMT_TLSSettingData")
        .find(|i| i.value("InstanceID") == "Intel(r) AMT 802.3 TLS Settings");
    let on = network.is_some_and(|i| i.value("Enabled") == "true");
    let plain = network.is_none_or(|i| i.value("AcceptNonSecureConnections") == "true");
    let context = of("AMT_TLSCredentialContext").next().and_then(|i| i.get("ElementInContext"));
    let chosen = context.and_then(Reference::read).filter(|_| on);
    let Some(chosen) = chosen.and_then(|r| r.key("InstanceID").map(str::to_owned)) else {
        return Ok(Vec::new());
    };
    let certificate = of("AMT_PublicKeyCertificate").find(|i| i.value("InstanceID") == chosen);
    let der = certificate.map(|i| BASE64.decode(i.value("X509Certificate").as_bytes()));
    let der = der.and_then(Result::ok).ok_or(2057_u32)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| 2063_u32)?;
    let wanted = &parsed.public_key().subject_public_key.data;
    let pair = of("AMT_PublicPrivateKeyPair")
        .find(|i| BASE64.decode(i.value("DERKey").as_bytes()).is_ok_and(|key| key == wanted[..]));
    let handle = pair.and_then(|i| i.value("InstanceID").rsplit(' ').next()?.parse::<u32>().ok());
    let key = firmware.keys.iter().find(|(known, _)| Some(*known) == handle);
    // 2064: no key fits the certificate.
    let key = key.map(|(_, key)| key.clone()).ok_or(2064_u32)?;
    (firmware.tls, firmware.plain) = (Some((der, key)), plain);
    Ok(Vec::new())
}

fn add_mp_server(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let servers = firmware.instances.iter().filter(|i| i.name == "AMT_ManagementPresenceRemoteSAP");
    let names: Vec<_> = servers.map(|i| i.value("Name").to_owned()).collect();
    if names.len() >= 4 {
        return Err(23);
    }
    let with_password = input.text("AuthMethod") == "2";
    let (user, password) = (input.text("Username"), input.text("Password"));
    let is_complete = !user.is_empty() && user.len() <= 16 && !password.is_empty();
    let format = ["3", "4", "201"].contains(&input.text("InfoFormat"));
    if !format || input.number("Port").is_none() || with_password && !is_complete {
        return Err(PARAMETER);
    }
    let name = (0..).map(|n| format!("Intel(r) AMT:Management Presence Server {n}"));
    let name = name.into_iter().find(|name| !names.contains(name)).ok_or(1_u32)?;
    firmware.instances.push(Element::instance(
        "AMT_ManagementPresenceRemoteSAP",
        &[
            ("AccessInfo", input.text("AccessInfo")),
            ("CN", input.text("CN")),
            ("CreationClassName", "AMT_ManagementPresenceRemoteSAP"),
            ("ElementName", "Intel(r) AMT:Management Presence Server"),
            ("InfoFormat", input.text("InfoFormat")),
            ("Name", &name),
            ("Port", input.text("Port")),
            ("SystemCreationClassName", "CIM_ComputerSystem"),
            ("SystemName", "Intel(r) AMT"),
        ],
    ));
    if with_password {
        firmware.instance("AMT_MPSUsernamePassword").set("RemoteID", user);
    }
    let reference = Reference::of_system("AMT_ManagementPresenceRemoteSAP", "Name", &name);
    Ok(vec![reference.element(&input.body.ns, "MpServer")])
}

fn add_policy_rule(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let name = match input.text("Trigger") {
        "0" => "User Initiated",
        "1" => "Alert",
        "2" => "Periodic",
        _ => return Err(PARAMETER),
    };
    let of = |class: &'static str| firmware.instances.iter().filter(move |i| i.name == class);
    if of("AMT_RemoteAccessPolicyRule").any(|i| i.value("PolicyRuleName") == name) {
        return Err(DUPLICATE);
    }
    let server = input.reference("MpServer").ok_or(PARAMETER)?;
    let known = of("AMT_ManagementPresenceRemoteSAP").map(|i| i.value("Name"));
    if !known.into_iter().any(|known| Some(known) == server.key("Name")) {
        return Err(NOT_FOUND);
    }
    if name == "Periodic" {
        let data = BASE64.decode(input.text("ExtendedData").as_bytes()).map_err(|_| PARAMETER)?;
        let kind = data.first_chunk::<4>().map(|kind| u32::from_be_bytes(*kind));
        let fits = matches!((kind, data.len()), (Some(0), 8) | (Some(1), 12));
        if !fits {
            return Err(PARAMETER);
        }
    }
    let class = "AMT_RemoteAccessPolicyRule";
    firmware.instances.push(Element::instance(
        class,
        &[
            ("CreationClassName", class),
            ("ElementName", "Inte(r) AMT:Remote Access Policy"),
            ("ExtendedData", input.text("ExtendedData")),
            ("PolicyRuleName", name),
            ("SystemCreationClassName", "CIM_ComputerSystem"),
            ("SystemName", "Intel(r) AMT"),
            ("Trigger", input.text("Trigger")),
            ("TunnelLifeTime", input.text("TunnelLifeTime")),
        ],
    ));
    let rule = Reference::of_system(class, "PolicyRuleName", name);
    let server = server.key("Name").unwrap_or_default();
    let server = Reference::of_system("AMT_ManagementPresenceRemoteSAP", "Name", server);
    let link = "AMT_RemoteAccessPolicyAppliesToMPS";
    let applies = Element::new(&uri(link), link)
        .with(server.element(&uri(link), "ManagedElement"))
        .with(Element::text(&uri(link), "MpsType", 0))
        .with(Element::text(&uri(link), "OrderOfAccess", 0))
        .with(rule.element(&uri(link), "PolicySet"));
    firmware.instances.push(applies);
    Ok(vec![rule.element(&input.body.ns, "PolicyRule")])
}

fn list_users(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let start = input.number("StartIndex").filter(|n| *n >= 1).ok_or(PARAMETER)? as usize;
    let handles: Vec<_> = firmware.accounts.iter().skip(start - 1).map(|a| a.handle).collect();
    let mut out = vec![
        input.out("TotalCount", firmware.accounts.len()),
        input.out("HandlesCount", handles.len()),
    ];
    out.extend(handles.into_iter().map(|handle| input.out("Handles", handle)));
    Ok(out)
}

fn account<'a>(firmware: &'a mut Firmware, input: &Input<'_>) -> Result<&'a mut Account, u32> {
    let handle = input.number("Handle").ok_or(2053_u32)?;
    firmware.accounts.iter_mut().find(|account| account.handle == handle).ok_or(2053)
}

fn get_user(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let account = account(firmware, input)?;
    let mut out = vec![
        input.out("DigestUsername", &account.name),
        input.out("AccessPermission", account.access),
    ];
    out.extend(account.realms.iter().map(|realm| input.out("Realms", realm)));
    Ok(out)
}

/// The 16 bytes of a digest, in base64.
fn digest_password(input: &Input<'_>) -> Result<Vec<u8>, u32> {
    let hash = BASE64.decode(input.text("DigestPassword").as_bytes()).map_err(|_| 2054_u32)?;
    if hash.len() == 16 { Ok(hash) } else { Err(2054) }
}

fn add_user(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let (name, hash) = (input.text("DigestUsername"), digest_password(input)?);
    let is_taken = name == firmware.admin.0 || firmware.accounts.iter().any(|a| a.name == name);
    if is_taken {
        return Err(DUPLICATE);
    }
    if name.is_empty() || name.len() > 16 {
        return Err(12);
    }
    let handle = firmware.accounts.iter().map(|a| a.handle + 1).max().unwrap_or(1);
    firmware.accounts.push(Account {
        handle,
        name: name.into(),
        hash,
        access: input.number("AccessPermission").filter(|n| *n <= 2).ok_or(PARAMETER)?,
        realms: input.body.values("Realms").into_iter().map(str::to_owned).collect(),
        enabled: true,
    });
    Ok(vec![input.out("Handle", handle)])
}

fn update_user(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let hash = input.body.get("DigestPassword").map(|_| digest_password(input)).transpose()?;
    let access = input.number("AccessPermission").filter(|n| *n <= 2).ok_or(PARAMETER)?;
    let name = input.text("DigestUsername").to_owned();
    let account = account(firmware, input)?;
    if let Some(hash) = hash {
        account.hash = hash;
    }
    if !name.is_empty() {
        account.name = name;
    }
    account.access = access;
    account.realms = input.body.values("Realms").into_iter().map(str::to_owned).collect();
    firmware.nonces.expire();
    Ok(Vec::new())
}

fn remove_user(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let account = account(firmware, input)?;
    if account.name.starts_with("$$") {
        return Err(16);
    }
    let handle = account.handle;
    firmware.accounts.retain(|account| account.handle != handle);
    firmware.nonces.expire();
    Ok(Vec::new())
}

fn set_admin(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    firmware.admin = (input.text("Username").into(), digest_password(input)?);
    firmware.nonces.expire();
    Ok(Vec::new())
}

fn add_alarm(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let class = "IPS_AlarmClockOccurrence";
    let count = firmware.instances.iter().filter(|i| i.name == class).count();
    if count >= 5 {
        return Err(23);
    }
    let template = input.body.get("AlarmTemplate").ok_or(PARAMETER)?;
    let of = |name: &str| template.child(&uri(class), name).cloned().ok_or(PARAMETER);
    let (id, start) = (of("InstanceID")?, of("StartTime")?);
    start.child(COMMON, "Datetime").filter(|t| t.text.ends_with('Z')).ok_or(PARAMETER)?;
    let mut alarm = Element::new(&uri(class), class);
    alarm.children.clone_from(&template.children);
    firmware.instances.push(alarm);
    let reference = Reference::to(class, "InstanceID", &id.text);
    Ok(vec![reference.element(&input.body.ns, "AlarmClock")])
}

fn add_wifi(firmware: &mut Firmware, input: &Input<'_>) -> Outcome {
    let endpoint = input.reference("WiFiEndpoint").filter(|r| r.class == "CIM_WiFiEndpoint");
    endpoint.ok_or(PARAMETER)?;
    let class = "CIM_WiFiEndpointSettings";
    let given = input.body.get("WiFiEndpointSettingsInput").ok_or(PARAMETER)?;
    let of = |name: &str| given.children.iter().find(|c| c.is(&uri(class), name)).cloned();
    let (id, priority) = (of("InstanceID").ok_or(PARAMETER)?, of("Priority").ok_or(PARAMETER)?);
    let mut known = firmware.instances.iter().filter(|i| i.name == class);
    let is_taken =
        known.any(|i| i.value("InstanceID") == id.text || i.value("Priority") == priority.text);
    if is_taken {
        return Err(DUPLICATE);
    }
    let mut settings = Element::new(&uri(class), class);
    // Nobody reads the secrets again.
    let shown = given.children.iter().filter(|c| !c.name.starts_with("PSK"));
    settings.children = shown.cloned().collect();
    firmware.instances.push(settings);
    Ok(Vec::new())
}

/// What a `Put` may not say, beyond its shape.
///
/// # Errors
/// Why not.
pub fn may_put(firmware: &Firmware, class: &str, body: &Element) -> Result<(), Fault> {
    match class {
        "AMT_BootSettingData" => {
            let on: Vec<_> =
                body.children.iter().filter(|p| p.text == "true").map(|p| &*p.name).collect();
            let alone = on.iter().any(|name| WITHOUT_SOURCE.contains(name));
            if alone && firmware.source.is_some() {
                return Err(Fault::schema("a boot source is ordered"));
            }
            if on.contains(&"ConfigurationDataReset") {
                return Err(Fault::schema("ConfigurationDataReset is not supported"));
            }
            if alone && !firmware.has_consent(false) {
                return Err(Fault::denied("the user has to agree first"));
            }
        }
        "IPS_OptInService" => {
            let of = |name| (firmware.property("IPS_OptInService", name), body.value(name));
            let (old, new) = of("OptInRequired");
            let may = firmware.property("IPS_OptInService", "CanModifyOptInPolicy") == "1";
            if old != new && (!may || !["0", "1", CONSENT_ALL].contains(&new)) {
                return Err(Fault::denied("the policy cannot be changed"));
            }
        }
        "AMT_EnvironmentDetectionSettingData" if body.values("DetectionStrings").len() > 4 => {
            return Err(Fault::schema("at most four suffixes"));
        }
        "IPS_KVMRedirectionSettingData" => {
            let password = body.get("RFBPassword").map(|p| p.text.len());
            if password.is_some_and(|length| length != 8) {
                return Err(Fault::schema("RFBPassword has eight characters"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// What may be created.
///
/// # Errors
/// Why not.
pub fn may_create(firmware: &Firmware, class: &str, body: &Element) -> Result<(), Fault> {
    if class != "AMT_TLSCredentialContext" {
        return Err(Fault::denied(format!("{class} is made by methods only")));
    }
    let reference = |name| body.get(name).and_then(Reference::read);
    let certificate =
        reference("ElementInContext").and_then(|r| r.key("InstanceID").map(str::to_owned));
    let collection = reference("ElementProvidingContext");
    let known = firmware.instances.iter().any(|i| {
        i.name == "AMT_PublicKeyCertificate"
            && Some(i.value("InstanceID")) == certificate.as_deref()
    });
    // MeshCentral writes the name with one blank less, and firmware takes it.
    let squeezed = |name: &str| name.replace(' ', "");
    let fits = collection
        .as_ref()
        .and_then(|r| r.key("ElementName"))
        .is_some_and(|name| squeezed(name) == squeezed(TLS_COLLECTION));
    if !known || !fits {
        return Err(Fault::schema("no such certificate or collection"));
    }
    if firmware.instances.iter().any(|i| i.name == class) {
        return Err(Fault::schema("there is a credential already"));
    }
    Ok(())
}

/// What may be deleted.
///
/// # Errors
/// Why not.
pub fn may_delete(firmware: &Firmware, at: usize) -> Result<(), Fault> {
    let doomed = &firmware.instances[at];
    let used_by = |class: &str, property: &str, key: &str| {
        let users = firmware.instances.iter().filter(|i| i.name == class);
        users
            .filter_map(|i| Reference::read(i.get(property)?))
            .any(|r| r.class == doomed.name && r.key(key) == Some(doomed.value(key)))
    };
    let in_use = match &*doomed.name {
        "AMT_PublicKeyCertificate" => {
            used_by("AMT_TLSCredentialContext", "ElementInContext", "InstanceID")
        }
        "AMT_ManagementPresenceRemoteSAP" => {
            used_by("AMT_RemoteAccessPolicyAppliesToMPS", "ManagedElement", "Name")
        }
        "AMT_PublicPrivateKeyPair"
        | "AMT_RemoteAccessPolicyRule"
        | "AMT_TLSCredentialContext"
        | "CIM_WiFiEndpointSettings"
        | "IPS_AlarmClockOccurrence" => false,
        other => return Err(Fault::denied(format!("{other} stays"))),
    };
    if in_use { Err(Fault::denied("it is in use")) } else { Ok(()) }
}

/// What goes with an instance that was deleted.
pub fn deleted(firmware: &mut Firmware, gone: &Element) {
    if gone.name == "AMT_RemoteAccessPolicyRule" {
        let rule = gone.value("PolicyRuleName").to_owned();
        firmware.instances.retain(|i| {
            let policy = i.get("PolicySet").and_then(Reference::read);
            policy.is_none_or(|r| r.key("PolicyRuleName") != Some(&rule))
        });
    }
}
