//! Power: what state the computer is in, which others its firmware offers, and changing it.
//!
//! States are those of CIM_PowerManagementService; devices are shown with MeshCentral's numbers,
//! which are others. Only what the firmware lists is asked of it.

use super::wsman::{Element, Failure, Link, Operation, Refused};

/// The state itself, and what may be asked for: an item of the list is one.
const SERVICE: &str = "CIM_ServiceAvailableToElement";
/// S0; as a request: switch on.
pub const ON: u8 = 2;
/// S5, whatever runs: as a request, switch off.
pub const OFF: u8 = 8;
/// Reset.
pub const RESET: u8 = 10;
/// First version whose computers may be on and asleep at the same time (Modern Standby).
const STANDBY_FROM: u32 = 10;

/// What the firmware says of power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Power {
    /// CIM's number of the state it is in.
    pub state: u8,
    /// The numbers that may be asked for now.
    pub offered: Vec<u8>,
    /// Of a computer that is on: 2 in use, 3 saving energy; `None` where that cannot be told.
    pub standby: Option<u8>,
}

/// What people want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Switched on; nothing is done if it is.
    On,
    /// Switched off without asking the system; nothing is done if it is.
    Off,
    /// Started anew.
    Reset,
    /// One of CIM's numbers.
    State(u8),
}

impl Power {
    /// MeshCentral's number: 1 on, 2 and 3 asleep, 5 hibernating, 6 off; `None` for what it does
    /// not show.
    pub fn shown(&self) -> Option<u8> {
        Some(match (self.state, self.standby) {
            (2, None | Some(2)) => 1,
            (2, Some(3)) => 2,
            (3, _) => 2,
            (4, _) => 3,
            (7, _) => 5,
            (5 | 6 | 8, _) => 6,
            _ => return None,
        })
    }

    /// Whether the computer is off, whatever way it came to that.
    pub fn is_off(&self) -> bool {
        matches!(self.state, 5 | 6 | 8 | 9 | 12 | 13)
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.state == ON
    }
}

/// The version's first number.
fn major(version: Option<&str>) -> Option<u32> {
    version?.split('.').next()?.parse().ok()
}

/// Reads the state: two requests, or three of newer firmware.
///
/// # Errors
/// What became of it.
pub async fn read(link: &Link) -> Result<Power, Failure> {
    let items = link.list(SERVICE).await?;
    let item = items.iter().find(|item| item.child("PowerState").is_some());
    let state = item.and_then(|item| item.number("PowerState"));
    let (Some(item), Some(state)) = (item, state) else {
        return Err(Refused::Malformed("there is no state of power in it".into()).into());
    };
    let offered = item.list("AvailableRequestedPowerStates");
    let offered = offered.filter_map(|number| number.parse().ok()).collect();
    let may_sleep = state == ON && is_at_least(link, STANDBY_FROM).await;
    let standby = if may_sleep { standby(link).await? } else { None };
    Ok(Power { state, offered, standby })
}

async fn is_at_least(link: &Link, wanted: u32) -> bool {
    major(link.contact().await.version.as_deref()).is_some_and(|major| major >= wanted)
}

async fn standby(link: &Link) -> Result<Option<u8>, Failure> {
    match link.get("IPS_PowerManagementService").await {
        Ok(service) => {
            Ok(service.number("OSPowerSavingState").filter(|state| (2..=3).contains(state)))
        }
        Err(failure) if failure.is_refusal() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Does what is wished, if the firmware offers it in the state it is in.
///
/// # Errors
/// What became of it; what is not offered is [`Failure::Unable`].
pub async fn change(link: &Link, wish: Wish) -> Result<(), Failure> {
    let power = read(link).await?;
    let wanted = match wish {
        Wish::On if power.is_on() => return wake(link, &power).await,
        Wish::Off if power.is_off() => return Ok(()),
        Wish::Reset if power.is_off() => {
            return Err(Failure::Unable("The computer is off"));
        }
        Wish::On => ON,
        Wish::Off => OFF,
        Wish::Reset => RESET,
        Wish::State(state) => state,
    };
    // Some firmware lists nothing while it is off, and can be switched on all the same.
    if !power.offered.is_empty() && !power.offered.contains(&wanted) && wanted != ON {
        return Err(Failure::Unable("Intel AMT does not offer this in the state it is in"));
    }
    request(link, wanted).await?;
    if wanted == ON && is_at_least(link, STANDBY_FROM).await {
        // It may start asleep; whether that could be prevented does not matter.
        let _ = leave_standby(link).await;
    }
    Ok(())
}

/// A computer that is on may be asleep.
async fn wake(link: &Link, power: &Power) -> Result<(), Failure> {
    match power.standby {
        Some(3) => leave_standby(link).await,
        _ => Ok(()),
    }
}

/// Asks for a state, whatever is offered.
///
/// # Errors
/// What became of it.
pub async fn request(link: &Link, state: u8) -> Result<(), Failure> {
    let request = Operation::invoke("CIM_PowerManagementService", "RequestPowerStateChange");
    link.perform(of_system(request.with("PowerState", state))).await.map(drop)
}

async fn leave_standby(link: &Link) -> Result<(), Failure> {
    let request =
        Operation::invoke("IPS_PowerManagementService", "RequestOSPowerSavingStateChange");
    link.perform(of_system(request.with("OSPowerSavingState", 2))).await.map(drop)
}

fn of_system(operation: Operation) -> Operation {
    let system = [("CreationClassName", "CIM_ComputerSystem"), ("Name", "ManagedSystem")];
    operation.with_reference("ManagedElement", "CIM_ComputerSystem", &system)
}

/// Whether a property of what was read is true; a class this firmware has not is false.
pub(super) fn offers(capabilities: Option<&Element>, name: &str) -> bool {
    capabilities.is_none_or(|capabilities| match capabilities.property(name) {
        Some(_) => capabilities.is_true(name),
        // Older firmware does not speak of it.
        None => false,
    })
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
    fn states_are_shown_with_the_numbers_of_device_documents() {
        let shown = |state, standby| Power { state, offered: vec![], standby }.shown();
        for (state, standby, wanted) in [
            (2, None, Some(1)),
            (2, Some(2), Some(1)),
            (2, Some(3), Some(2)),
            (3, None, Some(2)),
            (4, None, Some(3)),
            (5, None, Some(6)),
            (6, None, Some(6)),
            (7, None, Some(5)),
            (8, None, Some(6)),
            (9, None, None),
            (16, None, None),
        ] {
            assert_eq!(shown(state, standby), wanted, "{state} {standby:?}");
        }
    }

    #[test]
    fn only_what_is_offered_is_asked_for_and_refusals_come_back() {
        let (world, firmware) = (World::new(), Firmware::new());
        firmware.call_in(&world.hub, &node_id(1));
        let room = Room::new(world.hub.clone(), Rc::default());
        let link = room.link(&node_id(1)).unwrap();
        let asked = || {
            let said = firmware.said.borrow().clone();
            let bodies = firmware.bodies.borrow().clone();
            let both = said.into_iter().zip(bodies);
            let found = both
                .filter(|(name, _)| name.contains("Request"))
                .map(|(name, body)| {
                    let first = body.children[0].text.to_string();
                    (name.rsplit('.').next().unwrap().to_owned(), first)
                })
                .collect::<Vec<_>>();
            firmware.take_said();
            found
        };
        let state = |state: &str| {
            firmware.change("CIM_ServiceAvailableToElement", "PowerState", state);
        };
        let power = block_on(read(&link)).unwrap();
        assert_eq!((power.state, &*power.offered), (2, &[10, 8, 5, 11, 4, 7, 14, 12][..]));
        let change = |wish| block_on(change(&link, wish)).map_err(|failure| failure.to_string());
        let power_state = |n: &str| ("RequestPowerStateChange".to_owned(), n.to_owned());
        let awake = ("RequestOSPowerSavingStateChange".to_owned(), "2".to_owned());
        asked();
        change(Wish::Reset).unwrap();
        assert_eq!(asked(), [power_state("10")]);
        change(Wish::Off).unwrap();
        assert_eq!(asked(), [power_state("8")]);
        let refused = change(Wish::State(16)).unwrap_err();
        assert_eq!(refused, "Intel AMT does not offer this in the state it is in");
        firmware.change("IPS_PowerManagementService", "OSPowerSavingState", "3");
        change(Wish::On).unwrap();
        assert_eq!(asked(), std::slice::from_ref(&awake), "it is on and asleep");
        state("8");
        change(Wish::Off).unwrap();
        assert_eq!(change(Wish::Reset).unwrap_err(), "The computer is off");
        assert_eq!(asked(), []);
        change(Wish::On).unwrap();
        assert_eq!(asked(), [power_state("2"), awake]);
        firmware.on("CIM_PowerManagementService.RequestPowerStateChange", |_, _| {
            output("RequestPowerStateChange", 4097, "")
        });
        let refused = change(Wish::On).unwrap_err();
        assert!(refused.contains("not possible from the state it is in"), "{refused}");
    }
}
