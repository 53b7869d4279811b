//! Settings of the firmware: who it is, its clock, what redirection may do, whose consent is needed.
//!
//! Each is read first and written only if it is not as it should be. Source: amt-management §4, §9.

use super::consent;
use super::wsman::{Element, Failure, Link, Operation};

pub(super) const REDIRECTION: &str = "AMT_RedirectionService";
/// Serial line and storage.
const BOTH: u32 = 32771;
pub(super) const KVM: &str = "CIM_KVMRedirectionSAP";
pub(super) const CONSENT: &str = "IPS_OptInService";
const CLOCK: &str = "AMT_TimeSynchronizationService";
/// Seconds the clock of the firmware may be wrong.
const CLOCK_MAX: u64 = 10;

/// What the firmware says of itself: this pair of classes also proves the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Of its digest authentication, the same for ever.
    pub realm: String,
    /// 0 not activated, 1 client, 2 admin control mode.
    pub mode: u8,
}

/// Reads who it is.
///
/// # Errors
/// What became of it.
pub async fn identify(link: &Link) -> Result<Identity, Failure> {
    let general = link.get("AMT_GeneralSettings").await?;
    let mode = match link.get("IPS_HostBasedSetupService").await {
        Ok(setup) => setup.number("CurrentControlMode").unwrap_or_default(),
        // Before version 7 there was one mode.
        Err(failure) if failure.is_absent() => 2,
        Err(failure) => return Err(failure),
    };
    let realm = general.property("DigestRealm").unwrap_or_default();
    Ok(Identity { realm: crate::model::text::clamp(realm, 64), mode })
}

/// Sets the clock to `now`, seconds since 1970, if it is wrong. Returns whether it was.
///
/// # Errors
/// What became of it.
pub async fn set_clock(link: &Link, now: u64) -> Result<bool, Failure> {
    let Some(theirs) = clock(link).await? else { return Ok(false) };
    if theirs.abs_diff(now) <= CLOCK_MAX {
        return Ok(false);
    }
    write_clock(link, theirs, now).await?;
    Ok(true)
}

/// Reads the clock, in seconds since 1970.
///
/// # Errors
/// What became of it.
pub async fn clock(link: &Link) -> Result<Option<u64>, Failure> {
    let read = link.call(Operation::invoke(CLOCK, "GetLowAccuracyTimeSynch")).await?;
    Ok(read.number("Ta0"))
}

/// Sets the clock to `now`; `theirs` is what was just read.
///
/// # Errors
/// What became of it.
pub async fn write_clock(link: &Link, theirs: u64, now: u64) -> Result<(), Failure> {
    let set = Operation::invoke(CLOCK, "SetHighAccuracyTimeSynch")
        .with("Ta0", theirs)
        .with("Tm1", now)
        .with("Tm2", now);
    link.perform(set).await.map(drop)
}

/// Says that everything needs consent (`ALWAYS`), the desktop (1), or nothing (0), where that may
/// be said.
///
/// # Errors
/// What became of it; a firmware that does not let it be changed is none.
pub async fn require_consent(link: &Link, required: u32) -> Result<(), Failure> {
    let mut service = match link.get(CONSENT).await {
        Ok(service) => service,
        Err(failure) if failure.is_absent() => return Ok(()),
        Err(failure) => return Err(failure),
    };
    let present = service.number("OptInRequired").unwrap_or(consent::ALWAYS);
    if present == required {
        return Ok(());
    }
    service.set("OptInRequired", required);
    match link.put(CONSENT, service, None).await {
        // In client control mode it is always needed.
        Err(failure) if failure.is_refusal() => Ok(()),
        other => other,
    }
}

/// Lets serial line, storage and desktop be redirected. The first two need a state and a listener;
/// a firmware without the desktop goes on without.
///
/// # Errors
/// What became of it.
pub async fn open_redirection(link: &Link) -> Result<(), Failure> {
    let service = link.get(REDIRECTION).await?;
    if !is_open(&service) {
        let state = Operation::invoke(REDIRECTION, "RequestStateChange");
        link.perform(state.with("RequestedState", BOTH)).await?;
        let mut service = service;
        service.set("EnabledState", BOTH);
        service.set("ListenerEnabled", true);
        link.put(REDIRECTION, service, None).await?;
    }
    let desktop = match link.get(KVM).await {
        Ok(desktop) => desktop,
        Err(failure) if failure.is_refusal() => return Ok(()),
        Err(failure) => return Err(failure),
    };
    // 6 is switched on, with nobody connected.
    if !matches!(desktop.number("EnabledState"), Some(2 | 6)) {
        let state = Operation::invoke(KVM, "RequestStateChange").with("RequestedState", 2);
        link.perform(state).await?;
    }
    Ok(())
}

fn is_open(service: &Element) -> bool {
    service.number("EnabledState") == Some(BOTH) && service.is_true("ListenerEnabled")
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
    fn settings_are_written_once_and_only_if_they_differ() {
        let (world, firmware) = (World::new(), Firmware::new());
        firmware.call_in(&world.hub, &node_id(1));
        firmware.change("AMT_RedirectionService", "EnabledState", "32768");
        firmware.change("AMT_RedirectionService", "ListenerEnabled", "false");
        firmware.change("CIM_KVMRedirectionSAP", "EnabledState", "3");
        firmware.change("IPS_OptInService", "OptInRequired", "1");
        firmware.on("AMT_TimeSynchronizationService.GetLowAccuracyTimeSynch", |_, _| {
            output("GetLowAccuracyTimeSynch", 0, "<g:Ta0>1000000000</g:Ta0>")
        });
        firmware.on("CIM_KVMRedirectionSAP.RequestStateChange", |firmware, _| {
            firmware.change("CIM_KVMRedirectionSAP", "EnabledState", "6");
            output("RequestStateChange", 0, "")
        });
        let room = Room::new(world.hub.clone(), Rc::default());
        let link = room.link(&node_id(1)).unwrap();
        let apply = || {
            block_on(async {
                require_consent(&link, 0).await.unwrap();
                open_redirection(&link).await.unwrap();
            });
            let mut said = firmware.take_said();
            said.retain(|name| !name.ends_with(".Get"));
            said
        };
        let wanted = [
            "IPS_OptInService.Put",
            "AMT_RedirectionService.RequestStateChange",
            "AMT_RedirectionService.Put",
            "CIM_KVMRedirectionSAP.RequestStateChange",
        ];
        assert_eq!(apply(), wanted);
        assert_eq!(firmware.property("AMT_RedirectionService", "ListenerEnabled"), "true");
        assert_eq!(apply(), Vec::<String>::new());
        assert!(block_on(set_clock(&link, 1_795_325_469)).unwrap());
        assert!(!block_on(set_clock(&link, 1_000_000_009)).unwrap());
        let identity = block_on(identify(&link)).unwrap();
        assert_eq!((identity.mode, &identity.realm[..7]), (2, "Digest:"));
        // Standard Manageability has no desktop.
        firmware.on("CIM_KVMRedirectionSAP.Get", |_, _| "fault DestinationUnreachable".into());
        block_on(open_redirection(&link)).unwrap();
    }
}
