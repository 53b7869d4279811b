//! What is in the computer, as its firmware tells: also when it is off, or has no system at all.
//!
//! Hardware and network are told in the form in which agents report theirs (`sysinfo`, `netif2`),
//! so whatever shows the one shows the other. Firmware works hard for it: it is read once per
//! contact, never polled. Source of the form: amt-management §7, captured from the stock server.

use serde_json::{Map, Value, json};

use super::wsman::{Element, Failure, Link};
use crate::model::text::clamp;

/// Longest text of the firmware that is kept.
const TEXT_MAX: usize = 128;

/// A property as text, without the white space firmware fills it up with.
pub(super) fn text(element: &Element, name: &str) -> Option<String> {
    let text = element.property(name).map(str::trim).filter(|text| !text.is_empty());
    text.map(|text| clamp(text, TEXT_MAX))
}

pub(super) fn set(map: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value.into());
    }
}

/// The one instance; what this firmware does not have, or refuses, is nothing.
pub(super) async fn maybe(link: &Link, class: &'static str) -> Result<Option<Element>, Failure> {
    match link.get(class).await {
        Ok(element) => Ok(Some(element)),
        Err(failure) if failure.is_refusal() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// All instances, likewise.
pub(super) async fn maybe_all(link: &Link, class: &'static str) -> Result<Vec<Element>, Failure> {
    match link.list(class).await {
        Ok(elements) => Ok(elements),
        Err(failure) if failure.is_refusal() => Ok(Vec::new()),
        Err(failure) => Err(failure),
    }
}

/// `hardware` of a `sysinfo` document.
///
/// # Errors
/// What became of it; classes this firmware does not have are left out.
pub async fn hardware(link: &Link) -> Result<Value, Failure> {
    let mut identifiers = Map::new();
    let package = maybe(link, "CIM_ComputerSystemPackage").await?;
    let uuid = package.and_then(|package| platform_uuid(package.property("PlatformGUID")?));
    set(&mut identifiers, "product_uuid", uuid);
    let memory = maybe_all(link, "CIM_PhysicalMemory").await?;
    let memory: Vec<_> = memory.iter().map(memory_module).collect();
    let drives = maybe_all(link, "CIM_MediaAccessDevice").await?;
    let drives: Vec<_> = drives.iter().filter_map(drive).collect();
    set(&mut identifiers, "storage_devices", (!drives.is_empty()).then_some(drives));
    if let Some(bios) = maybe(link, "CIM_BIOSElement").await? {
        set(&mut identifiers, "bios_vendor", text(&bios, "Manufacturer"));
        set(&mut identifiers, "bios_version", text(&bios, "Version"));
        let date = bios.child("ReleaseDate").and_then(|date| text(date, "Datetime"));
        set(&mut identifiers, "bios_date", date);
    }
    if let Some(board) = maybe(link, "CIM_Card").await? {
        set(&mut identifiers, "board_name", text(&board, "Model"));
        set(&mut identifiers, "board_vendor", text(&board, "Manufacturer"));
        set(&mut identifiers, "board_version", text(&board, "Version"));
        set(&mut identifiers, "board_serial", text(&board, "SerialNumber"));
    }
    let chips = maybe_all(link, "CIM_Chip").await?;
    let processor = chips
        .iter()
        .find(|chip| chip.property("ElementName") == Some("Managed System Processor Chip"));
    set(&mut identifiers, "cpu_name", processor.and_then(|chip| text(chip, "Version")));
    let mut windows = Map::new();
    set(&mut windows, "memory", (!memory.is_empty()).then_some(memory));
    Ok(json!({ "windows": windows, "identifiers": identifiers }))
}

fn memory_module(module: &Element) -> Value {
    let mut map = Map::new();
    set(&mut map, "BankLabel", text(module, "BankLabel"));
    set(&mut map, "Capacity", module.number::<u64>("Capacity"));
    for name in ["PartNumber", "SerialNumber", "Manufacturer"] {
        set(&mut map, name, text(module, name));
    }
    map.into()
}

/// A drive; its size is told in thousands of bytes.
fn drive(drive: &Element) -> Option<Value> {
    let size = drive.number::<u64>("MaxMediaSize")?.checked_mul(1000)?;
    Some(json!({"Caption": text(drive, "DeviceID"), "Size": size}))
}

/// 32 digits whose first three groups have their bytes in the other order.
fn platform_uuid(digits: &str) -> Option<String> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?;
    let [a, b, c, d, e, f, g, h, rest @ ..] = <[u8; 16]>::try_from(bytes).ok()?;
    let hex = |bytes: &[u8]| data_encoding::HEXUPPER.encode(bytes);
    let (clock, node) = rest.split_at(2);
    let groups = [hex(&[d, c, b, a]), hex(&[f, e]), hex(&[h, g]), hex(clock), hex(node)];
    Some(groups.join("-"))
}

/// `netif2`: the wired and the wireless interface, as far as they exist.
///
/// # Errors
/// What became of it.
pub async fn network(link: &Link) -> Result<Value, Failure> {
    let mut interfaces = Map::new();
    for port in link.list("AMT_EthernetPortSettings").await? {
        let Some(mac) = text(&port, "MACAddress").filter(|mac| mac != "00-00-00-00-00-00") else {
            continue;
        };
        let is_wireless = port.child("WLANLinkProtectionLevel").is_some();
        let (name, kind) =
            if is_wireless { ("Wireless", "wireless") } else { ("Ethernet", "ethernet") };
        let mut one = Map::new();
        set(&mut one, "family", Some("IPv4"));
        set(&mut one, "type", Some(kind));
        set(&mut one, "address", text(&port, "IPAddress"));
        set(&mut one, "netmask", text(&port, "SubnetMask"));
        set(&mut one, "mac", Some(mac.replace('-', ":").to_uppercase()));
        set(&mut one, "gateway", text(&port, "DefaultGateway"));
        interfaces.insert(name.to_owned(), json!([one]));
    }
    Ok(interfaces.into())
}

/// Versions of the parts of the firmware, by the names it gives them.
///
/// # Errors
/// What became of it.
pub async fn software(link: &Link) -> Result<Value, Failure> {
    let parts = link.list("CIM_SoftwareIdentity").await?;
    let named = parts
        .iter()
        .filter_map(|part| Some((text(part, "InstanceID")?, text(part, "VersionString")?.into())));
    Ok(Value::Object(named.collect()))
}

/// The certificates in the firmware: of whom, by whom, and whether they are trusted roots. What is
/// in them is read by who shows them: DER in base64.
///
/// # Errors
/// What became of it.
pub async fn certificates(link: &Link) -> Result<Value, Failure> {
    let all = link.list("AMT_PublicKeyCertificate").await?;
    let each = all.iter().map(|certificate| {
        // The name is misspelt there.
        let root = certificate.is_true("TrustedRootCertficate");
        json!({
            "id": text(certificate, "InstanceID"),
            "subject": text(certificate, "Subject"),
            "issuer": text(certificate, "Issuer"),
            "root": root,
            "der": certificate.property("X509Certificate").filter(|der| der.len() <= 8192),
        })
    });
    Ok(each.collect())
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use std::rc::Rc;

    use super::*;
    use crate::amt::room::Room;
    use crate::amt::testing::Firmware;
    use crate::hub::testing::{World, node_id};

    #[test]
    fn hardware_and_network_are_told_as_the_stock_server_wrote_them_down() {
        let text = include_str!("../../tests/vectors/wsman-policy-sequences.json");
        let vectors: Value = serde_json::from_str(text).unwrap();
        let written = vectors["documents_written"].as_array().unwrap();
        let (world, firmware) = (World::new(), Firmware::new());
        firmware.call_in(&world.hub, &node_id(1));
        let room = Room::new(world.hub.clone(), Rc::default());
        let link = room.link(&node_id(1)).unwrap();
        assert_eq!(block_on(network(&link)).unwrap(), written[0]["netif2"]);
        assert_eq!(block_on(hardware(&link)).unwrap(), written[1]["hardware"]);
        // What an old firmware does not have is left out.
        firmware.instances.borrow_mut().remove("CIM_MediaAccessDevice");
        firmware.instances.borrow_mut().remove("CIM_Card");
        let less = block_on(hardware(&link)).unwrap();
        assert!(less["identifiers"].get("storage_devices").is_none());
        assert_eq!(less["identifiers"]["bios_vendor"], "Intel Corp.");
    }

    #[test]
    fn the_other_lists_are_read_from_what_real_firmware_said() {
        let (world, firmware) = (World::new(), Firmware::new());
        firmware.call_in(&world.hub, &node_id(1));
        let certificate = "<g:AMT_PublicKeyCertificate><g:InstanceID>Intel(r) AMT Certificate: \
             Handle: 0</g:InstanceID><g:Subject>CN=a</g:Subject><g:Issuer>CN=b</g:Issuer>\
             <g:TrustedRootCertficate>true</g:TrustedRootCertficate><g:X509Certificate>MAA=\
             </g:X509Certificate></g:AMT_PublicKeyCertificate>";
        let class = "AMT_PublicKeyCertificate".to_owned();
        firmware.instances.borrow_mut().insert(class, vec![certificate.into()]);
        let room = Room::new(world.hub.clone(), Rc::default());
        let link = room.link(&node_id(1)).unwrap();
        assert_eq!(
            block_on(certificates(&link)).unwrap(),
            json!([{"id": "Intel(r) AMT Certificate: Handle: 0", "subject": "CN=a",
                "issuer": "CN=b", "root": true, "der": "MAA="}])
        );
        assert_eq!(block_on(software(&link)).unwrap()["AMT"], "12.0.67");
    }

    #[test]
    fn uuids_have_their_first_groups_turned_around() {
        let uuid = platform_uuid("13AEE355D2BFBB6117A088AEDD7037EA");
        assert_eq!(uuid.as_deref(), Some("55E3AE13-BFD2-61BB-17A0-88AEDD7037EA"));
        assert_eq!(platform_uuid("13AE"), None);
        assert_eq!(platform_uuid("zz"), None);
    }
}
