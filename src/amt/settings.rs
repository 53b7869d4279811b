//! Who the firmware is, and its clock. The clock is read first and written only if it is wrong; what
//! a group wants of the rest is for [`super::policy`], what people want for [`super::panel`]. Source:
//! amt-management §4.

use super::wsman::{Failure, Link, Operation};

pub(super) const REDIRECTION: &str = "AMT_RedirectionService";
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

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use std::rc::Rc;

    use super::*;
    use crate::amt::room::Room;
    use crate::amt::testing::{Firmware, output};
    use crate::hub::testing::{World, node_id};

    #[test]
    fn the_clock_is_set_only_if_it_is_wrong() {
        let (world, firmware) = (World::new(), Firmware::new());
        firmware.call_in(&world.hub, &node_id(1));
        firmware.on("AMT_TimeSynchronizationService.GetLowAccuracyTimeSynch", |_, _| {
            output("GetLowAccuracyTimeSynch", 0, "<g:Ta0>1000000000</g:Ta0>")
        });
        let room = Room::new(world.hub.clone(), Rc::default());
        let link = room.link(&node_id(1)).unwrap();
        assert!(block_on(set_clock(&link, 1_795_325_469)).unwrap());
        assert!(!block_on(set_clock(&link, 1_000_000_009)).unwrap());
        let identity = block_on(identify(&link)).unwrap();
        assert_eq!((identity.mode, &identity.realm[..7]), (2, "Digest:"));
    }
}
