//! MeshCentral's own libraries and ours read the same firmware, and understand the same.
//!
//! What they understand otherwise is in [`DIFFERENCES`] with the reason; a row of it that is true no
//! longer fails as well.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};
use meshboard::amt::digest::Credentials;
use meshboard::amt::logs::{Entry, Event};
use meshboard::amt::wsman::client::{Client, Step};
use meshboard::amt::wsman::{Element, Operation, Refused, Verb, answer};
use serde_json::{Map, Value, json};

use super::common::amt::{ADMIN, Computer, OnLan, PASSWORD};
use super::common::{Process, installation};

/// Classes with one instance.
const GOT: &[&str] = &[
    // Identity
    "AMT_GeneralSettings",
    "IPS_HostBasedSetupService",
    "AMT_SetupAndConfigurationService",
    "CIM_ComputerSystemPackage",
    "AMT_TimeSynchronizationService",
    // Power
    "CIM_PowerManagementCapabilities",
    "IPS_PowerManagementService",
    // Inventory
    "CIM_Chassis",
    "CIM_Card",
    "CIM_BIOSElement",
    // Logs
    "AMT_MessageLog",
    "AMT_AuditLog",
    // Redirection and consent
    "AMT_RedirectionService",
    "CIM_KVMRedirectionSAP",
    "IPS_KVMRedirectionSettingData",
    "IPS_OptInService",
    "IPS_ScreenSettingData",
    // Users and wireless networks
    "AMT_AuthorizationService",
    "AMT_WiFiPortConfigurationService",
    "CIM_WiFiPort",
    // No firmware has it.
    "AMT_Nothing",
];

/// Classes with many, or with one that is listed.
const LISTED: &[&str] = &[
    "CIM_SoftwareIdentity",
    "CIM_ServiceAvailableToElement",
    "AMT_EthernetPortSettings",
    "CIM_SystemPackaging",
    "CIM_Chip",
    "CIM_Processor",
    "CIM_PhysicalMemory",
    "CIM_MediaAccessDevice",
    "CIM_PhysicalPackage",
    "IPS_AlarmClockOccurrence",
    "CIM_WiFiEndpointSettings",
    "AMT_Nothing",
];

type Called = (&'static str, &'static str, Option<(&'static str, u32)>);

/// Methods that only tell, with their parameter.
const CALLED: &[Called] = &[
    ("AMT_TimeSynchronizationService", "GetLowAccuracyTimeSynch", None),
    ("AMT_MessageLog", "PositionToFirstRecord", None),
    ("AMT_AuditLog", "ReadRecords", Some(("StartIndex", 11))),
    ("AMT_AuthorizationService", "EnumerateUserAclEntries", Some(("StartIndex", 1))),
    ("AMT_AuthorizationService", "GetUserAclEntryEx", Some(("Handle", 2))),
    ("AMT_AuthorizationService", "GetAclEnabledState", Some(("Handle", 2))),
    ("AMT_AuthorizationService", "GetAdminAclEntry", None),
];

/// Where the two differ, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("List CIM_PhysicalMemory/0/PartNumber", PADDED),
    ("List CIM_PhysicalMemory/1/PartNumber", PADDED),
    ("List IPS_AlarmClockOccurrence/0/StartTime/Datetime", DECLARED),
    ("List IPS_AlarmClockOccurrence/0/Interval/Interval", DECLARED),
    ("Log AMT_AuditLog/0/time", TEXT),
    ("Log AMT_AuditLog/0/address", TEXT),
    ("Log AMT_AuditLog/0/data", TEXT),
];
const PADDED: &str = "they keep the blanks that fill a name up";
const DECLARED: &str = "they take the declaration of a namespace for an attribute of the value";
const TEXT: &str = "they read records as UTF-8, and lose the bytes from 0x80 on";

#[test]
fn stock_libraries_and_ours_read_the_same_of_it() {
    let lan = OnLan::serve(furnished());
    let mut wanted: Vec<Value> = GOT.iter().map(|class| json!(["Get", class])).collect();
    wanted.extend(LISTED.iter().map(|class| json!(["List", class])));
    wanted.extend(CALLED.iter().map(|(class, method, parameter)| {
        let parameters: Map<_, _> =
            parameter.iter().map(|(n, v)| ((*n).into(), json!(v))).collect();
        json!(["Call", class, method, parameters])
    }));
    wanted.extend(["AMT_MessageLog", "AMT_AuditLog"].map(|class| json!(["Log", class])));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/amt_read.js");
    let node = Process::start("node", |command| {
        command.arg(script).arg(installation::folder()).arg(lan.address.to_string());
        command.args([ADMIN, PASSWORD]).arg(json!(wanted).to_string()).env("TZ", "UTC");
    });
    let theirs = node.wait_for_line(|line| line.starts_with('{'));
    let theirs: Value = serde_json::from_str(&theirs).expect("it prints JSON");
    let mut reader = Reader::new(&lan);
    let mut found = BTreeSet::new();
    let mut compare = |name: String, ours: &Value| {
        let theirs = theirs.get(&name).unwrap_or_else(|| panic!("{name} was not read"));
        assert!(!ours.is_null(), "{name}");
        differ(&name, &normal(theirs), ours, &mut found);
    };
    for class in GOT {
        compare(format!("Get {class}"), &reader.get(class));
    }
    for class in LISTED {
        compare(format!("List {class}"), &reader.list(class));
    }
    for (class, method, parameter) in CALLED {
        let mut ours = reader.call(class, method, *parameter);
        // Time goes on.
        if let Some(time) = ours.get_mut("Ta0") {
            let then =
                &theirs["Call AMT_TimeSynchronizationService GetLowAccuracyTimeSynch"]["Ta0"];
            let then = then.as_u64().expect("a time");
            let now: u64 = time.as_str().and_then(|time| time.parse().ok()).expect("a time");
            assert!(now - then < 60, "{then}, {now}");
            *time = json!(then.to_string());
        }
        compare(format!("Call {class} {method}"), &ours);
    }
    compare("Log AMT_MessageLog".into(), &reader.events());
    compare("Log AMT_AuditLog".into(), &reader.audit());
    let known: BTreeSet<_> = DIFFERENCES.iter().map(|(place, _)| (*place).to_owned()).collect();
    assert_eq!(found, known);
}

/// Firmware with something in each class: a user, an alarm, a wireless network, more of the audit
/// log than fits into one answer.
fn furnished() -> Computer {
    let computer = Computer::new();
    let mut client = super::Client::new(&computer);
    let alarms = "http://intel.com/wbem/wscim/1/ips-schema/1/IPS_AlarmClockOccurrence";
    let common = "http://schemas.dmtf.org/wbem/wscim/1/common";
    let wifi = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_WiFiEndpointSettings";
    let addressing = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
    let wsman = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd";
    let endpoint = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_WiFiEndpoint";
    for (class, method, input) in [
        (
            "AMT_AuthorizationService",
            "AddUserAclEntryEx",
            "<r:DigestUsername>oper</r:DigestUsername><r:DigestPassword>ASNFZ4mrze8BI0VniavN7w==\
             </r:DigestPassword><r:AccessPermission>2</r:AccessPermission><r:Realms>2</r:Realms>\
             <r:Realms>3</r:Realms>"
                .to_owned(),
        ),
        (
            "AMT_AlarmClockService",
            "AddAlarm",
            format!(
                "<r:AlarmTemplate xmlns:s=\"{alarms}\" xmlns:p=\"{common}\"><s:InstanceID>wake\
                 </s:InstanceID><s:ElementName>wake</s:ElementName><s:StartTime><p:Datetime>\
                 2036-01-02T03:04:00Z</p:Datetime></s:StartTime><s:Interval><p:Interval>P1DT0H0M\
                 </p:Interval></s:Interval><s:DeleteOnCompletion>true</s:DeleteOnCompletion>\
                 </r:AlarmTemplate>"
            ),
        ),
        (
            "AMT_WiFiPortConfigurationService",
            "AddWiFiSettings",
            format!(
                "<r:WiFiEndpoint><a:Address xmlns:a=\"{addressing}\">x</a:Address>\
                 <a:ReferenceParameters xmlns:a=\"{addressing}\" xmlns:w=\"{wsman}\">\
                 <w:ResourceURI>{endpoint}</w:ResourceURI><w:SelectorSet><w:Selector Name=\"Name\">\
                 WiFi Endpoint 0</w:Selector></w:SelectorSet></a:ReferenceParameters>\
                 </r:WiFiEndpoint><r:WiFiEndpointSettingsInput xmlns:s=\"{wifi}\">\
                 <s:ElementName>home</s:ElementName><s:InstanceID>Intel(r) AMT:WiFi Endpoint Settings \
                 home</s:InstanceID><s:AuthenticationMethod>6</s:AuthenticationMethod>\
                 <s:EncryptionMethod>4</s:EncryptionMethod><s:SSID>net</s:SSID>\
                 <s:Priority>1</s:Priority><s:PSKPassPhrase>secret-secret</s:PSKPassPhrase>\
                 </r:WiFiEndpointSettingsInput>"
            ),
        ),
    ] {
        let (status, answer) = client.ask(&super::request(class, method, None, &input));
        assert_eq!(status, 200, "{method}: {answer}");
        assert!(answer.contains("ReturnValue>0<"), "{method}: {answer}");
    }
    computer.firmware(|firmware| {
        // 2004-01-02, with bytes that are no text; then many that are.
        let text = BASE64.encode(
            &HEXLOWER.decode(b"00110000000561646d696e65000000000831302e302e302e3700").expect("hex"),
        );
        firmware.logs.1.truncate(1);
        firmware.logs.1.extend(vec![text; 24]);
    });
    computer
}

/// Reads with our libraries, over a socket of its own.
struct Reader {
    client: Client,
    stream: Option<TcpStream>,
    address: (std::net::Ipv4Addr, u16),
}

impl Reader {
    fn new(lan: &OnLan) -> Self {
        let credentials = Credentials { user: ADMIN.into(), password: PASSWORD.into() };
        let client = Client::new(credentials, "amt", None);
        Self { client, stream: None, address: (lan.address, 16992) }
    }

    fn perform(&mut self, operation: &Operation) -> Result<Option<Element>, Refused> {
        let mut bytes = self.client.start(operation.envelope(1));
        loop {
            let address = self.address;
            let connect = || TcpStream::connect(address).expect("it listens");
            let stream = self.stream.get_or_insert_with(connect);
            stream.write_all(&bytes).expect("it listens");
            let mut piece = [0; 4096];
            let step = loop {
                let step = match stream.read(&mut piece).expect("it answers") {
                    0 => self.client.ended(),
                    count => self.client.receive(&piece[..count]),
                };
                if step != Step::More {
                    break step;
                }
            };
            match step {
                Step::Send(next) => bytes = next,
                Step::Reconnect(next) => (bytes, self.stream) = (next, None),
                Step::Done(outcome) => {
                    if self.client.needs_connection() {
                        self.stream = None;
                    }
                    let response = outcome?;
                    return answer::read(response.status, &response.body);
                }
                Step::More => unreachable!("it was waited for"),
            }
        }
    }

    fn content(&mut self, operation: &Operation) -> Result<Element, Value> {
        match self.perform(operation) {
            Ok(content) => Ok(content.expect("there is something in it")),
            // Every fault came with this status; the stock library keeps nothing else.
            Err(Refused::Fault(_)) => Err(json!({"status": "400"})),
            Err(other) => panic!("{other}"),
        }
    }

    fn get(&mut self, class: &'static str) -> Value {
        let content = self.content(&Operation::new(class, Verb::Get));
        content.map_or_else(|refused| refused, |content| said(&content))
    }

    fn list(&mut self, class: &'static str) -> Value {
        let begun = match self.content(&Operation::new(class, Verb::Enumerate)) {
            Ok(begun) => begun,
            Err(refused) => return refused,
        };
        let context = begun.property("EnumerationContext").expect("a beginning").into();
        let mut next = Some(context);
        let mut all = Vec::new();
        while let Some(context) = next {
            let page = self.content(&Operation::new(class, Verb::Pull(context))).expect("a page");
            all.extend(
                page.child("Items").iter().flat_map(|items| items.children.iter().map(said)),
            );
            let is_last = page.child("EndOfSequence").is_some();
            next = page.property("EnumerationContext").filter(|_| !is_last).map(Into::into);
        }
        all.into()
    }

    fn called(
        &mut self,
        class: &'static str,
        method: &'static str,
        parameter: Option<(&str, u32)>,
    ) -> Element {
        let call = Operation::invoke(class, method);
        let call = parameter.iter().fold(call, |call, (name, value)| call.with(name, value));
        self.content(&call).expect("it is called")
    }

    fn call(
        &mut self,
        class: &'static str,
        method: &'static str,
        parameter: Option<(&str, u32)>,
    ) -> Value {
        said(&self.called(class, method, parameter))
    }

    fn events(&mut self) -> Value {
        let call = Operation::invoke("AMT_MessageLog", "GetRecords")
            .with("IterationIdentifier", 1)
            .with("MaxReadRecords", 390);
        let page = self.content(&call).expect("a page");
        let records =
            page.list("RecordArray").filter_map(|text| BASE64.decode(text.as_bytes()).ok());
        let events = records.filter_map(|record| Event::read(&record)).map(|event| {
            let Event { time, severity, sensor, offset, entity, data, .. } = event;
            json!({
                "time": time.to_string(), "severity": severity.to_string(),
                "sensor": sensor.to_string(), "offset": offset.to_string(),
                "entity": entity.to_string(), "data": data,
            })
        });
        events.collect()
    }

    fn audit(&mut self) -> Value {
        let (mut all, mut total) = (Vec::new(), 1);
        while all.len() < total {
            let start = all.len() as u32 + 1;
            let page = self.called("AMT_AuditLog", "ReadRecords", Some(("StartIndex", start)));
            total = page.number("TotalRecordCount").expect("a number");
            let records = page.list("EventRecords");
            let records = records.map(|text| BASE64.decode(text.as_bytes()).expect("base64"));
            all.extend(records.map(|record| {
                let entry = Entry::read(&record).expect("a record");
                let Entry { time, app, event, initiator, address, data, .. } = entry;
                json!({
                    "time": time.to_string(), "app": app.to_string(), "event": event.to_string(),
                    "initiator": initiator.to_lowercase(), "address": address, "data": data,
                })
            }));
        }
        all.into()
    }
}

/// An element as the stock library would tell it, all values as texts.
fn said(element: &Element) -> Value {
    let mut members = Map::new();
    // What is empty says nothing, to them as to us.
    for child in element.children.iter().filter(|c| !c.text.is_empty() || !c.children.is_empty()) {
        let value = match child.children.is_empty() {
            true => Value::from(&*child.text),
            false => said(child),
        };
        let value = match &child.key {
            Some(key) => json!({"Value": value, "@Name": key}),
            None => value,
        };
        match members.get_mut(&*child.name) {
            None => drop(members.insert(child.name.to_string(), value)),
            Some(Value::Array(all)) => all.push(value),
            Some(one) => *one = json!([one.take(), value]),
        }
    }
    members.into()
}

/// What the stock library tells, all values as texts, and records of logs by our names.
fn normal(value: &Value) -> Value {
    let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX).to_string();
    let seconds = |record: &Map<String, Value>| {
        let time = record["Time"].as_str().expect("a time");
        let format = time::format_description::well_known::Rfc3339;
        let time = time::OffsetDateTime::parse(time, &format).expect("a time");
        time.unix_timestamp().to_string()
    };
    let bytes = |value: &Value| -> String {
        let all = value.as_array().expect("bytes").iter();
        let all: Vec<_> = all.map(|byte| byte.as_u64().expect("a byte") as u8).collect();
        HEXLOWER.encode(&all)
    };
    match value {
        Value::Object(record) if record.contains_key("EventSensorType") => json!({
            "time": seconds(record), "severity": number(&record["EventSeverity"]),
            "sensor": number(&record["EventSensorType"]), "offset": number(&record["EventOffset"]),
            "entity": number(&record["Entity"]), "data": bytes(&record["EventData"]),
        }),
        Value::Object(record) if record.contains_key("AuditAppID") => json!({
            "time": seconds(record), "app": number(&record["AuditAppID"]),
            "event": number(&record["EventID"]), "address": record["NetAddress"],
            "initiator": record["Initiator"].as_str().unwrap_or_default().to_lowercase(),
            "data": bytes(&record["Ex"]["data"]),
        }),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), normal(value))).collect()
        }
        Value::Array(items) => items.iter().map(normal).collect(),
        Value::String(text) => json!(text),
        other => json!(other.to_string()),
    }
}

/// Adds the places at which two values differ.
fn differ(place: &str, theirs: &Value, ours: &Value, found: &mut BTreeSet<String>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            for name in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                let at = |map: &Map<String, Value>| map.get(name).cloned().unwrap_or_default();
                differ(&format!("{place}/{name}"), &at(a), &at(b), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{place}/{at}"), a, b, found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            eprintln!("{place}: they read {a}, we {b}");
            found.insert(place.to_owned());
        }
    }
}
