//! Starting from an image on a web server: UEFI boots over HTTPS, which Intel calls One-Click Recovery.
//!
//! The boot settings carry a list of parameters, each two bytes of vendor (0x8086), two of type, four
//! of length and that many bytes, little-endian, in base64. The computer trusts the web server by
//! the root certificates that are in its firmware. Source: Intel AMT SDK, "One Click Recovery";
//! amt-management §6.

use data_encoding::BASE64;

use super::inventory::{maybe, maybe_all};
use super::power::offers;
use super::wsman::{Element, Failure, Link, Operation};

/// What to start from.
pub const SOURCE: &str = "Intel(r) AMT: Force OCR UEFI HTTPS Boot";
const SERVICE: &str = "CIM_BootService";
const COUNT: &str = "UefiBootNumberOfParams";
const PARAMETERS: &str = "UefiBootParametersArray";
/// Longest address in bytes.
const URL_MAX: usize = 300;
const VENDOR: u16 = 0x8086;
const URL: u16 = 1;
/// Whether the root certificates of the firmware count.
const TRUSTS_FIRMWARE: u16 = 20;
/// Seconds to wait, 0 for the usual.
const PATIENCE: u16 = 30;

/// The address of an image: `https://`, a host, and at most 300 bytes of printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image(String);

impl Image {
    /// `None` for anything else; names and passwords do not belong in it.
    pub fn at(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("https://")?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (host, None),
        };
        let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_host = match inner {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !name.is_empty()
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
            }
        };
        let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        let is_text = url.len() <= URL_MAX && url.bytes().all(|byte| byte.is_ascii_graphic());
        (is_host && is_port && is_text).then(|| Self(url.to_owned()))
    }

    /// Puts the parameters into the boot settings, in the place the schema has for them.
    pub(super) fn describe(&self, settings: &mut Element) {
        let list: [(u16, &[u8]); 3] =
            [(URL, self.0.as_bytes()), (TRUSTS_FIRMWARE, &[1]), (PATIENCE, &[0, 0])];
        if settings.child("EnforceSecureBoot").is_some() {
            settings.set("EnforceSecureBoot", false);
        }
        settings.set(COUNT, list.len());
        settings.remove(&[PARAMETERS]);
        let encoded = BASE64.encode(&parameters(&list));
        let text = Element::text(PARAMETERS, &settings.space, &encoded);
        let at = settings.children.iter().position(|child| &*child.name == COUNT);
        settings.children.insert(at.map_or(settings.children.len(), |at| at + 1), text);
    }
}

fn parameters(list: &[(u16, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, data) in list {
        out.extend(VENDOR.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend((data.len() as u32).to_le_bytes());
        out.extend_from_slice(data);
    }
    out
}

/// Whether it can be done at all; what is only switched off in the firmware is switched on.
///
/// # Errors
/// What became of it, or why it cannot be.
pub(super) async fn check(
    link: &Link,
    capabilities: Option<&Element>,
    settings: &Element,
) -> Result<(), Failure> {
    // What says nothing of it is too old for it.
    if capabilities.is_none() || !offers(capabilities, "ForceUEFIHTTPSBoot") {
        return Err(Failure::Unable("This computer cannot start from a web server"));
    }
    if settings.property("UEFIHTTPSBootEnabled") == Some("false") {
        let why = "Starting from a web server is switched off in the setup of this computer";
        return Err(Failure::Unable(why));
    }
    let certificates = maybe_all(link, "AMT_PublicKeyCertificate").await?;
    // The name is misspelt there.
    if !certificates.iter().any(|one| one.is_true("TrustedRootCertficate")) {
        let why = "Intel AMT has no root certificate by which it could trust a web server";
        return Err(Failure::Unable(why));
    }
    let service = maybe(link, SERVICE).await?;
    let wanted = match service.and_then(|service| service.number::<u32>("EnabledState")) {
        // Neither this nor remote erasing; erasing alone.
        Some(32768) => 32769,
        Some(32770) => 32771,
        _ => return Ok(()),
    };
    let request = Operation::invoke(SERVICE, "RequestStateChange").with("RequestedState", wanted);
    link.perform(request).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use futures_lite::future::block_on;
    use serde_json::Value;

    use super::*;
    use crate::amt::boot::{Target, start};
    use crate::amt::room::Room;
    use crate::amt::testing::Firmware;
    use crate::hub::testing::{World, node_id};

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/vectors/wsman-boot-tlv.json")).unwrap()
    }

    fn able() -> (World, Rc<Firmware>, Rc<Room>) {
        let (world, firmware) = (World::new(), Firmware::new());
        firmware.call_in(&world.hub, &node_id(1));
        let mut instances = firmware.instances.borrow_mut();
        let capabilities = &mut instances.get_mut("AMT_BootCapabilities").unwrap()[0];
        *capabilities = capabilities.replace(
            "<g:ForcedProgress",
            "<g:ForceUEFIHTTPSBoot>true</g:ForceUEFIHTTPSBoot><g:ForcedProgress",
        );
        let root = "<g:AMT_PublicKeyCertificate><g:TrustedRootCertficate>true\
            </g:TrustedRootCertficate></g:AMT_PublicKeyCertificate>";
        instances.insert("AMT_PublicKeyCertificate".into(), vec![root.into()]);
        drop(instances);
        let room = Room::new(world.hub.clone(), Rc::default());
        (world, firmware, room)
    }

    #[test]
    fn an_image_is_described_as_the_stock_server_does_and_ordered_for_one_start() {
        let vectors = vectors();
        let url = vectors["url"].as_str().unwrap();
        let (_world, firmware, room) = able();
        firmware.change("CIM_BootService", "EnabledState", "32768");
        firmware.change("AMT_BootSettingData", "EnforceSecureBoot", "true");
        let link = room.link(&node_id(1)).unwrap();
        block_on(start(&link, &Target::Https(Image::at(url).unwrap()))).unwrap();
        let said = firmware.said.borrow().clone();
        let acts: Vec<_> = said
            .iter()
            .zip(&*firmware.bodies.borrow())
            .filter(|(name, _)| !["Get", "Enumerate", "Pull"].iter().any(|v| name.ends_with(v)))
            .map(|(name, body)| (name.clone(), body.clone()))
            .collect();
        let names: Vec<_> = acts.iter().map(|(name, _)| &**name).collect();
        let wanted = [
            "CIM_BootService.RequestStateChange",
            "CIM_BootConfigSetting.ChangeBootOrder",
            "AMT_BootSettingData.Put",
            "CIM_BootService.SetBootConfigRole",
            "CIM_BootConfigSetting.ChangeBootOrder",
            "CIM_PowerManagementService.RequestPowerStateChange",
        ];
        assert_eq!(names, wanted);
        assert_eq!(acts[0].1.property("RequestedState"), Some("32769"));
        let put = &acts[2].1;
        assert_eq!(put.property(PARAMETERS), vectors["base64"].as_str());
        assert_eq!(put.number::<u64>(COUNT), vectors[COUNT].as_u64());
        let hex = data_encoding::HEXLOWER.decode(vectors["hex"].as_str().unwrap().as_bytes());
        let sent = BASE64.decode(put.property(PARAMETERS).unwrap().as_bytes()).unwrap();
        assert_eq!(sent, hex.unwrap());
        assert!(!put.children.iter().any(|property| &*property.text == "true"), "{put:?}");
        let at = |name: &str| put.children.iter().position(|child| &*child.name == name).unwrap();
        assert_eq!(at(COUNT) + 1, at(PARAMETERS), "in the order of the schema");
        assert_eq!(acts[4].1.referred("Source", "InstanceID"), Some(SOURCE));
    }

    #[test]
    fn firmware_that_cannot_is_not_told_to() {
        type Break = fn(&Firmware);
        let cases: [(Break, &str); 4] = [
            (
                |firmware| firmware.change("AMT_BootCapabilities", "ForceUEFIHTTPSBoot", "false"),
                "cannot start from",
            ),
            (
                |firmware| drop(firmware.instances.borrow_mut().remove("AMT_BootCapabilities")),
                "cannot start from a web server",
            ),
            (
                |firmware| firmware.change("AMT_BootSettingData", "UEFIHTTPSBootEnabled", "false"),
                "switched off in the setup",
            ),
            (
                |firmware| {
                    firmware.change("AMT_PublicKeyCertificate", "TrustedRootCertficate", "false");
                },
                "no root certificate",
            ),
        ];
        for (spoil, words) in cases {
            let (_world, firmware, room) = able();
            spoil(&firmware);
            let link = room.link(&node_id(1)).unwrap();
            let target = Target::Https(Image::at("https://a/b.efi").unwrap());
            let failure = block_on(start(&link, &target)).unwrap_err().to_string();
            assert!(failure.contains(words), "{failure}");
            let said = firmware.take_said();
            let reads = ["Get", "Enumerate", "Pull"];
            assert!(said.iter().all(|name| reads.iter().any(|verb| name.ends_with(verb))));
        }
    }

    #[test]
    fn only_addresses_of_web_servers_with_tls_are_taken() {
        let long = format!("https://a/{}", "x".repeat(290));
        for (url, fits) in [
            ("https://mps.example.com:4433/c/COOKIE.efi", true),
            ("https://192.0.2.7/x", true),
            ("https://[2001:db8::1]:8443/x", true),
            ("https://[2001:db8::1]/x", true),
            ("https://a?b", true),
            (&long, true),
            (&format!("{long}x"), false),
            ("http://a/b", false),
            ("HTTPS://a/b", false),
            ("https://", false),
            ("https:///b", false),
            ("https://user:pass@a/b", false),
            ("https://a:0/b", false),
            ("https://a:99999/b", false),
            ("https://a:/b", false),
            ("https://[a]/b", false),
            ("https://a b/c", false),
            ("https://a/b\n", false),
            ("https://a/é", false),
            ("ftp://a", false),
        ] {
            assert_eq!(Image::at(url).is_some(), fits, "{url}");
        }
    }
}
