//! What the computer does at its next start: its setup, another medium, an image sent to it.
//!
//! ```text
//! read settings ─► clear the order ─► write settings ─► choose the configuration ─► set the order ─► start
//! ```
//!
//! The options hold for one start; firmware clears them afterwards, or when a consent runs out.
//! Source: Intel AMT SDK, "Boot control"; the order is that of Open AMT.

use super::consent;
use super::power::{self, Wish, offers};
use super::recovery::{self, Image};
use super::wsman::{Failure, Link, Operation};

const SETTINGS: &str = "AMT_BootSettingData";
/// What can be read and not be written: firmware refuses the whole object for it.
const READ_ONLY: &[&str] = &[
    "BIOSLastStatus",
    "BootguardStatus",
    "OptionsCleared",
    "RPEEnabled",
    "RSEPassword",
    "SecureBootControlEnabled",
    "UEFIHTTPSBootEnabled",
    "UEFILocalPBABootEnabled",
    "WinREBootEnabled",
    "UefiBootParametersArray",
];
/// The only configuration there is.
const CONFIGURATION: &str = "Intel(r) AMT: Boot Configuration 0";

/// Where to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The setup of the BIOS; with its picture on the serial line if wanted.
    Setup {
        /// Serial over LAN.
        serial: bool,
    },
    /// The network.
    Network,
    /// The first disk.
    Disk,
    /// The first optical drive.
    Optical,
    /// The floppy or optical drive that a redirection session offers.
    Redirected {
        /// The optical one.
        optical: bool,
    },
    /// As always, with its picture on the serial line.
    Serial,
    /// An image on a web server ([`super::recovery`]).
    Https(Image),
}

impl Target {
    /// By the name it has in `amtboot`.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "setup" => Self::Setup { serial: false },
            "setup-serial" => Self::Setup { serial: true },
            "network" => Self::Network,
            "disk" => Self::Disk,
            "optical" => Self::Optical,
            "redirected-floppy" => Self::Redirected { optical: false },
            "redirected-optical" => Self::Redirected { optical: true },
            "serial" => Self::Serial,
            _ => return None,
        })
    }

    /// Properties of the settings that are true for it.
    fn switches(&self) -> &'static [&'static str] {
        match self {
            Self::Setup { serial: false } => &["BIOSSetup"],
            Self::Setup { serial: true } => &["BIOSSetup", "UseSOL"],
            Self::Redirected { .. } => &["UseIDER"],
            Self::Serial => &["UseSOL"],
            Self::Network | Self::Disk | Self::Optical | Self::Https(_) => &[],
        }
    }

    /// The source to start from, where it is named.
    fn source(&self) -> Option<&'static str> {
        match self {
            Self::Network => Some("Intel(r) AMT: Force PXE Boot"),
            Self::Disk => Some("Intel(r) AMT: Force Hard-drive Boot"),
            Self::Optical => Some("Intel(r) AMT: Force CD/DVD Boot"),
            Self::Https(_) => Some(recovery::SOURCE),
            _ => None,
        }
    }

    /// What the firmware has to be capable of.
    fn capabilities(&self) -> &'static [&'static str] {
        match self {
            Self::Setup { serial: false } => &["BIOSSetup"],
            Self::Setup { serial: true } => &["BIOSSetup", "SOL"],
            Self::Network => &["ForcePXEBoot"],
            Self::Disk => &["ForceHardDriveBoot"],
            Self::Optical => &["ForceCDorDVDBoot"],
            Self::Redirected { .. } => &["IDER"],
            Self::Serial => &["SOL"],
            Self::Https(_) => &["ForceUEFIHTTPSBoot"],
        }
    }
}

/// Starts the computer from `target`: on if it is off, else anew.
///
/// # Errors
/// What became of it; nothing is started if a step before that fails.
pub async fn start(link: &Link, target: &Target) -> Result<(), Failure> {
    prepare(link, target).await?;
    let power = power::read(link).await?;
    power::change(link, if power.is_off() { Wish::On } else { Wish::Reset }).await
}

/// Prepares the next start.
///
/// # Errors
/// What became of it.
pub async fn prepare(link: &Link, target: &Target) -> Result<(), Failure> {
    // Else it would be refused half-way, each firmware in its own words.
    if consent::is_missing(link).await? {
        return Err(Failure::Unable("The user at the computer has to consent first"));
    }
    let capabilities = match link.get("AMT_BootCapabilities").await {
        Ok(capabilities) => Some(capabilities),
        Err(failure) if failure.is_refusal() => None,
        Err(failure) => return Err(failure),
    };
    if !target.capabilities().iter().all(|name| offers(capabilities.as_ref(), name)) {
        return Err(Failure::Unable("This computer cannot start from there"));
    }
    let mut settings = link.get(SETTINGS).await?;
    if let Target::Https(_) = target {
        recovery::check(link, capabilities.as_ref(), &settings).await?;
    }
    settings.remove(READ_ONLY);
    let switches = [
        "BIOSPause",
        "BIOSSetup",
        "ConfigurationDataReset",
        "ReflashBIOS",
        "SecureErase",
        "PlatformErase",
        "UseIDER",
        "UseSOL",
        "UserPasswordBypass",
    ];
    for name in switches {
        // What this firmware does not have is not given to it.
        if settings.child(name).is_some() || target.switches().contains(&name) {
            settings.set(name, target.switches().contains(&name));
        }
    }
    settings.set("BootMediaIndex", 0);
    if settings.child("UefiBootNumberOfParams").is_some() {
        settings.set("UefiBootNumberOfParams", 0);
    }
    let optical = *target == Target::Redirected { optical: true };
    settings.set("IDERBootDevice", u8::from(optical));
    if let Target::Https(image) = target {
        image.describe(&mut settings);
    }
    link.perform(order(None)).await?;
    link.put(SETTINGS, settings, None).await?;
    let choice = Operation::invoke("CIM_BootService", "SetBootConfigRole")
        .with_reference(
            "BootConfigSetting",
            "CIM_BootConfigSetting",
            &[("InstanceID", CONFIGURATION)],
        )
        .with("Role", 1);
    link.perform(choice).await?;
    if let Some(source) = target.source() {
        link.perform(order(Some(source))).await?;
    }
    Ok(())
}

fn order(source: Option<&str>) -> Operation {
    let order = Operation::invoke("CIM_BootConfigSetting", "ChangeBootOrder");
    match source {
        Some(id) => order.with_reference("Source", "CIM_BootSourceSetting", &[("InstanceID", id)]),
        None => order,
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use std::rc::Rc;

    use super::*;
    use crate::amt::room::Room;
    use crate::amt::testing::{Firmware, output};
    use crate::hub::testing::{World, node_id};

    #[test]
    fn the_steps_come_in_the_order_firmware_wants_and_nothing_read_only_is_written() {
        let all = "true";
        for (word, switched, source) in [
            ("setup", &["BIOSSetup"][..], None),
            ("setup-serial", &["BIOSSetup", "UseSOL"], None),
            ("network", &[], Some("Force PXE Boot")),
            ("disk", &[], Some("Force Hard-drive Boot")),
            ("optical", &[], Some("Force CD/DVD Boot")),
            ("redirected-optical", &["UseIDER"], None),
            ("serial", &["UseSOL"], None),
        ] {
            let (world, firmware) = (World::new(), Firmware::new());
            firmware.call_in(&world.hub, &node_id(1));
            firmware.change("AMT_BootSettingData", "UserPasswordBypass", all);
            let room = Room::new(world.hub.clone(), Rc::default());
            let link = room.link(&node_id(1)).unwrap();
            let target = Target::from_word(word).unwrap();
            for name in target.capabilities() {
                firmware.change("AMT_BootCapabilities", name, all);
            }
            block_on(start(&link, &target)).unwrap();
            let said = firmware.said.borrow().clone();
            let acts: Vec<_> = said
                .iter()
                .zip(&*firmware.bodies.borrow())
                .filter(|(name, _)| !name.ends_with("Get") && !name.ends_with("Enumerate"))
                .filter(|(name, _)| !name.ends_with("Pull"))
                .map(|(name, body)| (name.clone(), body.clone()))
                .collect();
            let names: Vec<_> = acts.iter().map(|(name, _)| &**name).collect();
            let mut wanted = vec![
                "CIM_BootConfigSetting.ChangeBootOrder",
                "AMT_BootSettingData.Put",
                "CIM_BootService.SetBootConfigRole",
            ];
            wanted.extend(source.map(|_| "CIM_BootConfigSetting.ChangeBootOrder"));
            wanted.push("CIM_PowerManagementService.RequestPowerStateChange");
            assert_eq!(names, wanted, "{word}");
            assert!(acts[0].1.children.is_empty());
            let put = &acts[1].1;
            assert!(READ_ONLY.iter().all(|name| put.child(name).is_none()));
            let on: Vec<_> =
                put.children.iter().filter(|p| &*p.text == "true").map(|p| &*p.name).collect();
            assert_eq!(on, switched, "{word}");
            let device = put.property("IDERBootDevice");
            assert_eq!(device, Some(if word.ends_with("ed-optical") { "1" } else { "0" }));
            if let Some(source) = source {
                let named = acts[3].1.referred("Source", "InstanceID").unwrap();
                assert_eq!(named, format!("Intel(r) AMT: {source}"));
            }
        }
    }

    #[test]
    fn a_step_that_fails_starts_nothing() {
        let (world, firmware) = (World::new(), Firmware::new());
        firmware.call_in(&world.hub, &node_id(1));
        firmware.change("AMT_BootCapabilities", "BIOSSetup", "true");
        firmware
            .on("CIM_BootService.SetBootConfigRole", |_, _| output("SetBootConfigRole", 2081, ""));
        let room = Room::new(world.hub.clone(), Rc::default());
        let link = room.link(&node_id(1)).unwrap();
        let setup = Target::Setup { serial: false };
        let failure = block_on(start(&link, &setup)).unwrap_err();
        let Failure::Refused(refused) = failure else { panic!("{failure}") };
        assert!(refused.wants_consent());
        assert!(!firmware.said.borrow().iter().any(|name| name.contains("RequestPower")));
        firmware.change("IPS_OptInService", "OptInRequired", "4294967295");
        firmware.take_said();
        let failure = block_on(start(&link, &setup)).unwrap_err();
        assert_eq!(failure.to_string(), "The user at the computer has to consent first");
        assert_eq!(firmware.take_said(), ["IPS_OptInService.Get"]);
        firmware.change("IPS_OptInService", "OptInState", "3");
        firmware.change("AMT_BootCapabilities", "ForcePXEBoot", "false");
        firmware.take_said();
        let failure = block_on(start(&link, &Target::Network)).unwrap_err();
        assert!(matches!(failure, Failure::Unable(_)));
        assert_eq!(firmware.take_said(), ["IPS_OptInService.Get", "AMT_BootCapabilities.Get"]);
    }
}
