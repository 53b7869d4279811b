//! Devices as CSV, one line each, with MeshCentral's columns.
//!
//! Most of it is what agents say of themselves: quotes, commas and line breaks are taken out as
//! MeshCentral does, and what a spreadsheet would take for a formula gets an apostrophe in front.

use serde_json::Value;

/// The first line.
pub(super) const HEADER: &str = "id,name,rname,host,icon,ip,osdesc,groupname,av,update,firewall,\
    bitlocker,avdetails,tags,lastbootuptime,cpu,osbuild,biosDate,biosVendor,biosVersion,biosSerial,\
    biosMode,boardName,boardVendor,boardVersion,productUuid,tpmversion,tpmmanufacturer,\
    tpmmanufacturerversion,tpmisactivated,tpmisenabled,tpmisowned,totalMemory,agentOpenSSL,\
    agentCommitDate,agentCommitHash,agentCompileTime,netIfCount,macs,addresses,lastConnectTime,\
    lastConnectAddr\r\n";

/// Where a column comes from.
enum Column {
    /// The first of these places that has a text or switch.
    Text(&'static [&'static str]),
    /// The same, as a number without quotes.
    Number(&'static str),
    /// Computed.
    By(fn(&Value) -> Option<String>),
}

use Column::{By, Number, Text};

/// The columns after the first four, in the order of [`HEADER`].
static COLUMNS: [Column; 38] = [
    Number("/node/icon"),
    By(|entry| text(entry.pointer("/node/ip")?)),
    Text(&["/node/osdesc"]),
    Text(&["/node/groupname"]),
    Text(&["/node/wsc/antiVirus"]),
    Text(&["/node/wsc/autoUpdate"]),
    Text(&["/node/wsc/firewall"]),
    By(bitlocker),
    By(antivirus),
    By(tags),
    Number("/node/lastbootuptime"),
    Text(&["/sys/hardware/windows/cpu/0/Name", "/sys/hardware/identifiers/cpu_name"]),
    Text(&["/sys/hardware/windows/osinfo/BuildNumber"]),
    Text(&["/sys/hardware/linux/bios_date", "/sys/hardware/identifiers/bios_date"]),
    Text(&["/sys/hardware/linux/bios_vendor", "/sys/hardware/identifiers/bios_vendor"]),
    Text(&[
        "/sys/hardware/linux/bios_version",
        "/sys/hardware/mobile/bootloader",
        "/sys/hardware/identifiers/bios_version",
    ]),
    Text(&["/sys/hardware/linux/product_serial", "/sys/hardware/identifiers/bios_serial"]),
    Text(&["/sys/hardware/identifiers/bios_mode"]),
    Text(&[
        "/sys/hardware/linux/board_name",
        "/sys/hardware/mobile/model",
        "/sys/hardware/identifiers/board_name",
    ]),
    Text(&[
        "/sys/hardware/linux/board_vendor",
        "/sys/hardware/mobile/brand",
        "/sys/hardware/identifiers/board_vendor",
    ]),
    Text(&["/sys/hardware/linux/board_version", "/sys/hardware/identifiers/board_version"]),
    Text(&[
        "/sys/hardware/linux/product_uuid",
        "/sys/hardware/mobile/id",
        "/sys/hardware/identifiers/product_uuid",
    ]),
    Text(&["/sys/hardware/tpm/SpecVersion"]),
    Text(&["/sys/hardware/tpm/ManufacturerId"]),
    Text(&["/sys/hardware/tpm/ManufacturerVersion"]),
    Text(&["/sys/hardware/tpm/IsActivated"]),
    Text(&["/sys/hardware/tpm/IsEnabled"]),
    Text(&["/sys/hardware/tpm/IsOwned"]),
    By(memory),
    Text(&["/sys/hardware/agentvers/openssl"]),
    Text(&["/sys/hardware/agentvers/commitDate"]),
    Text(&["/sys/hardware/agentvers/commitHash"]),
    Text(&["/sys/hardware/agentvers/compileTime"]),
    By(|entry| Some(interfaces(entry)?.len().to_string())),
    By(|entry| addresses(entry, "mac")),
    By(|entry| addresses(entry, "address")),
    Number("/lastConnect/time"),
    Text(&["/lastConnect/addr"]),
];

/// Appends the line of one device, given as `getDeviceDetails` has it in JSON.
pub(super) fn write(out: &mut String, entry: &Value) {
    // These are always in quotes, also when there is nothing.
    for (n, name) in ["_id", "name", "rname", "host"].into_iter().enumerate() {
        let value = entry.pointer("/node").and_then(|node| node.get(name)).and_then(text);
        if n > 0 {
            out.push(',');
        }
        quote(out, &value.unwrap_or_default());
    }
    for column in &COLUMNS {
        out.push(',');
        match column {
            Text(places) => {
                let mut found = places.iter().filter_map(|place| text(entry.pointer(place)?));
                if let Some(value) = found.find(|value| !value.is_empty()) {
                    quote(out, &value);
                }
            }
            Number(place) => {
                let number = entry.pointer(place).filter(|value| value.is_number());
                out.push_str(&number.map(Value::to_string).unwrap_or_default());
            }
            By(compute) => {
                if let Some(value) = compute(entry) {
                    quote(out, &value);
                }
            }
        }
    }
    out.push_str("\r\n");
}

fn quote(out: &mut String, value: &str) {
    out.push('"');
    if value.starts_with(['=', '+', '-', '@', '\t']) {
        out.push('\'');
    }
    out.extend(value.chars().filter(|c| !matches!(c, '"' | ',' | '\r' | '\n')));
    out.push('"');
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// `C/FullyEncrypted|D/…`: drives whose encryption is known.
fn bitlocker(entry: &Value) -> Option<String> {
    let volumes = entry.pointer("/node/volumes")?.as_object()?;
    let known = volumes.iter().filter(|(_, volume)| volume.get("protectionStatus").is_some());
    let texts = known.map(|(name, volume)| {
        let status = volume.get("volumeStatus").and_then(text).unwrap_or_default();
        format!("{name}/{status}")
    });
    Some(texts.collect::<Vec<_>>().join("|"))
}

/// `Defender/enabled/updated|…`.
fn antivirus(entry: &Value) -> Option<String> {
    let list = entry.pointer("/node/av")?.as_array()?;
    let texts = list.iter().filter_map(|av| {
        let product = av.get("product")?.as_str()?;
        let is = |name| av.get(name).and_then(Value::as_bool).unwrap_or_default();
        let enabled = if is("enabled") { "enabled" } else { "disabled" };
        let updated = if is("updated") { "updated" } else { "notupdated" };
        Some(format!("{product}/{enabled}/{updated}"))
    });
    Some(texts.collect::<Vec<_>>().join("|"))
}

fn tags(entry: &Value) -> Option<String> {
    let tags = entry.pointer("/node/tags")?.as_array()?;
    Some(tags.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"))
}

/// Bytes of memory: Windows tells them for each module, Linux gigabytes.
fn memory(entry: &Value) -> Option<String> {
    let leading = |value: &Value| -> u64 {
        match value {
            Value::Number(n) => n.as_u64().unwrap_or_default(),
            Value::String(text) => {
                let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
                digits.parse().unwrap_or_default()
            }
            _ => 0,
        }
    };
    let sum = |modules: &Value, name: &str| {
        let modules: Vec<&Value> = match modules {
            Value::Array(list) => list.iter().collect(),
            Value::Object(named) => named.values().collect(),
            _ => Vec::new(),
        };
        let sizes = modules.into_iter().filter_map(|module| module.get(name)).map(leading);
        sizes.fold(0u64, u64::saturating_add)
    };
    if let Some(modules) = entry.pointer("/sys/hardware/windows/memory") {
        return Some(sum(modules, "Capacity").to_string());
    }
    let modules = entry.pointer("/sys/hardware/linux/memory/Memory_Device")?;
    Some(sum(modules, "Size").saturating_mul(1 << 30).to_string())
}

fn interfaces(entry: &Value) -> Option<&serde_json::Map<String, Value>> {
    entry.pointer("/net/netif2")?.as_object()
}

fn addresses(entry: &Value, name: &str) -> Option<String> {
    let lists = interfaces(entry)?.values().filter_map(Value::as_array).flatten();
    let found = lists.filter_map(|address| address.get(name)?.as_str());
    Some(found.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_line_has_as_many_columns_as_the_first() {
        let full = json!({
            "node": {"_id": "node//x", "name": "a \"b\", c\r\n", "rname": "=cmd", "icon": 2,
                "ip": "10.0.0.1", "osdesc": "Debian", "groupname": "lab", "tags": ["x", "y"],
                "wsc": {"antiVirus": "OK"}, "lastbootuptime": 5,
                "av": [{"product": "D", "enabled": true}, {"x": 1}],
                "volumes": {"C": {"protectionStatus": true, "volumeStatus": "Full"}, "D": {}}},
            "sys": {"hardware": {"identifiers": {"cpu_name": "Cortex", "bios_serial": "S"},
                "linux": {"bios_vendor": "RPi", "memory": {"Memory_Device":
                    [{"Size": "4 GB"}, {"Size": 2}, {"Size": []}]}},
                "tpm": {"IsOwned": false}, "agentvers": {"openssl": "1.1.1"}}},
            "net": {"netif2": {"eth0": [{"mac": "M", "address": "A"}, {"address": "B"}], "x": 7}},
            "lastConnect": {"time": 7, "addr": "10.0.0.1:5"},
        });
        let columns = HEADER.trim_end().split(',').count();
        for entry in [full.clone(), json!({}), json!({"node": {"tags": 5}, "net": []})] {
            let mut line = String::new();
            write(&mut line, &entry);
            assert_eq!(line.trim_end_matches("\r\n").split(',').count(), columns, "{line}");
        }
        let mut line = String::new();
        write(&mut line, &full);
        assert_eq!(
            line,
            "\"node//x\",\"a b c\",\"'=cmd\",\"\",2,\"10.0.0.1\",\"Debian\",\"lab\",\"OK\",,,\
             \"C/Full\",\"D/enabled/notupdated\",\"x|y\",5,\"Cortex\",,,\"RPi\",,\"S\",,,,,,,,,,,\
             \"false\",\"6442450944\",\"1.1.1\",,,,\"2\",\"M\",\"A B\",7,\"10.0.0.1:5\"\r\n"
        );
    }
}
