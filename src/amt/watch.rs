//! Visits the firmware that is in reach, gently: see [`super::schedule`] and [`super::upkeep`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::FutureExt as _;
use futures_lite::future::or;

use super::room::Room;
use super::schedule::{Outcome, Present, Schedule};
use super::upkeep;
use crate::hub::TunnelKind;
use crate::model::Millis;

/// How often is looked who is there.
const LOOK: Duration = Duration::from_secs(5);
/// Longest visit; each request in it has a limit of its own.
const VISIT: Duration = Duration::from_secs(300);
/// Bit of a connection over the local network.
const LOCAL: u32 = 4;

/// Never ends.
pub async fn run(room: Rc<Room>) {
    let executor = room.executor.clone();
    let (schedule, started) = (Rc::<RefCell<Schedule>>::default(), Instant::now());
    loop {
        let due = schedule.borrow_mut().due(&present(&room), started.elapsed());
        for visit in due {
            let (room, schedule) = (room.clone(), schedule.clone());
            let visiting = async move {
                let late = async {
                    Timer::after(VISIT).await;
                    Outcome::Failed
                };
                let visited = upkeep::visit(&room, &visit.node, visit.is_first);
                let outcome = or(visited, late).await;
                schedule.borrow_mut().done(&visit.node, outcome, started.elapsed());
            };
            executor.spawn(visiting.boxed_local()).detach();
        }
        Timer::after(LOOK).await;
    }
}

/// The devices whose firmware is in reach and can be logged in to.
pub fn present(room: &Room) -> Vec<Present> {
    let mut found = BTreeMap::new();
    for access in room.hub.store.amt_accesses() {
        if room.hub.connectivity(&access.node).conn & LOCAL != 0 {
            found.insert(access.node.clone(), Millis(0));
        }
    }
    for tunnel in room.hub.amt_tunnels() {
        // What a program says from within a computer is not for here.
        if tunnel.kind != TunnelKind::Lms {
            found.insert(tunnel.node(), tunnel.since);
        }
    }
    let known = found.into_iter().filter_map(|(node, since)| {
        let login = upkeep::login_number(room, &node)?;
        Some(Present { node, since, login })
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;
    use serde_json::json;

    use super::*;
    use crate::amt::testing::Firmware;
    use crate::hub::testing::{World, group_id, node_id};
    use crate::model::{AmtPolicy, Device, Group, GroupKind};
    use crate::store::{DetailKind, RecordKey};

    fn world(kind: GroupKind) -> (World, Rc<Firmware>, Rc<Room>) {
        let (world, firmware) = (World::new(), Firmware::new());
        let store = &world.hub.store;
        store.put(Group::new(group_id(1), "lab", kind, Millis(1))).later();
        store.put(Device::new(node_id(1), group_id(1), "pc", Millis(2))).later();
        firmware.call_in(&world.hub, &node_id(1));
        let room = Room::new(world.hub.clone(), Rc::default());
        (world, firmware, room)
    }

    fn policy(world: &World, kind: u8, password: Option<&str>) {
        let password = password.map(str::to_owned);
        let (bad_password, cira, client_mode) = (0, 0, 0);
        let policy =
            AmtPolicy { group: group_id(1), kind, password, bad_password, cira, client_mode };
        world.hub.store.put(policy).later();
    }

    fn amt(world: &World) -> serde_json::Value {
        let device = world.hub.store.device(&node_id(1)).unwrap();
        world.hub.device_document(&device)["intelamt"].clone()
    }

    #[test]
    fn without_a_policy_a_device_is_read_and_nothing_else() {
        let (world, firmware, room) = world(GroupKind::Amt);
        assert_eq!(present(&room).len(), 1);
        firmware.change("AMT_RedirectionService", "EnabledState", "32768");
        firmware.change("IPS_OptInService", "OptInRequired", "1");
        assert_eq!(block_on(upkeep::visit(&room, &node_id(1), true)), Outcome::Answered);
        let said = firmware.take_said();
        let reads = ["Get", "Enumerate", "Pull"];
        assert!(said.iter().all(|name| reads.contains(&name.rsplit('.').next().unwrap())));
        let shown = json!({"ver": "16.1.25", "state": 2, "flags": 4, "user": "admin", "pass": 1,
            "tls": 0, "realm": firmware.property("AMT_GeneralSettings", "DigestRealm")});
        assert_eq!(amt(&world), shown);
        let state = world.hub.connectivity(&node_id(1));
        assert_eq!((state.conn, state.power), (2, 1));
        let hardware = block_on(world.hub.store.detail(&node_id(1), DetailKind::System)).unwrap();
        let hardware: serde_json::Value = serde_json::from_slice(&hardware.json).unwrap();
        assert_eq!(hardware["hardware"]["identifiers"]["board_name"], "NUC9V7QNB");
        // Later only its power is asked for, with two requests and one more while it is on.
        firmware.change("CIM_ServiceAvailableToElement", "PowerState", "8");
        assert_eq!(block_on(upkeep::visit(&room, &node_id(1), false)), Outcome::Answered);
        assert_eq!(firmware.take_said().len(), 2);
        assert_eq!(world.hub.connectivity(&node_id(1)).power, 6);
        let history = block_on(world.hub.store.power(&node_id(1)));
        assert_eq!(history.iter().map(|change| change.power).collect::<Vec<_>>(), [1, 6]);
        // Nobody asks while an agent speaks for it.
        world.connect(&node_id(1), Millis(9));
        assert_eq!(block_on(upkeep::visit(&room, &node_id(1), false)), Outcome::Answered);
        assert_eq!(firmware.take_said(), Vec::<String>::new());
    }

    #[test]
    fn a_policy_that_activates_opens_redirection_and_sets_the_clock() {
        let (world, firmware, room) = world(GroupKind::Agent);
        policy(&world, 3, None);
        firmware.change("AMT_RedirectionService", "EnabledState", "32768");
        firmware.on("AMT_TimeSynchronizationService.GetLowAccuracyTimeSynch", |_, _| {
            crate::amt::testing::output("GetLowAccuracyTimeSynch", 0, "<g:Ta0>1000000000</g:Ta0>")
        });
        assert_eq!(block_on(upkeep::visit(&room, &node_id(1), true)), Outcome::Answered);
        let mut said = firmware.take_said();
        said.retain(|name| {
            !["Get", "Enumerate", "Pull"].contains(&name.rsplit('.').next().unwrap())
        });
        assert_eq!(
            said,
            [
                "AMT_TimeSynchronizationService.GetLowAccuracyTimeSynch",
                "AMT_TimeSynchronizationService.SetHighAccuracyTimeSynch",
                "AMT_RedirectionService.RequestStateChange",
                "AMT_RedirectionService.Put",
            ]
        );
        // Agents tell about hardware themselves.
        assert!(block_on(world.hub.store.detail(&node_id(1), DetailKind::System)).is_none());
    }

    #[test]
    fn a_refused_login_is_shown_and_the_one_of_the_policy_is_taken_over() {
        let (world, firmware, room) = world(GroupKind::Agent);
        *firmware.password.borrow_mut() = "0ther!pass".into();
        assert_eq!(block_on(upkeep::visit(&room, &node_id(1), true)), Outcome::Refused);
        assert_eq!((amt(&world)["warn"].clone(), firmware.failures.get()), (json!(1), 1));
        let before = present(&room);
        // Its own login is gone, that of the group fits.
        world.hub.store.remove(RecordKey::AmtAccess(node_id(1))).later();
        assert_eq!(present(&room), []);
        policy(&world, 2, Some("0ther!pass"));
        assert_ne!(present(&room)[0].login, before[0].login);
        assert_eq!(block_on(upkeep::visit(&room, &node_id(1), true)), Outcome::Answered);
        let access = world.hub.store.amt_access(&node_id(1)).unwrap();
        assert_eq!((&*access.password, &*access.user), ("0ther!pass", "admin"));
        assert!(amt(&world).get("warn").is_none());
    }

    #[test]
    fn five_hundred_polls_are_a_thousand_requests() {
        let (world, firmware, room) = world(GroupKind::Agent);
        firmware.change("CIM_ServiceAvailableToElement", "PowerState", "8");
        block_on(upkeep::visit(&room, &node_id(1), true));
        firmware.take_said();
        let connections = firmware.connections.get();
        for _ in 0..500 {
            block_on(upkeep::visit(&room, &node_id(1), false));
        }
        assert_eq!(firmware.take_said().len(), 1000);
        assert_eq!(firmware.connections.get() - connections, 500, "one connection each");
        assert_eq!((firmware.failures.get(), room.open_links()), (0, 0));
        drop(world);
    }
}
