//! What time does on its own: devices that stayed away for too long and shares that are over go.
//!
//! Nothing goes because a clock jumped: only time that the server has witnessed counts
//! ([`Witness`]). What was witnessed is kept on disk, in one small record a day.

use std::rc::Rc;
use std::time::{Duration, Instant};

use async_io::Timer;
use log::info;

use crate::hub::Hub;
use crate::model::{Device, Document, Millis, Witness};
use crate::store::{Commit, RecordKey};

use super::Control;
use super::removal::remove_device;
use super::sharing;

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(3600);
/// Time until the first: after a start everybody comes back first.
const FIRST: Duration = Duration::from_secs(600);
/// How long a share that is over is still kept: it is closed and shown to nobody, but a clock that
/// was wrong may make it right again.
const GRACE: Duration = Duration::from_secs(24 * 3600);
/// The record of the witness is written that often if nothing happened.
const KEEP: Duration = Duration::from_secs(24 * 3600);
/// Id of that record.
const RECORD: &str = "witness";

/// Keeps house for ever.
pub async fn run(control: Rc<Control>) {
    let hub = &control.hub;
    let mut house = Housekeeping::new(hub, hub.now());
    let mut last = Instant::now();
    Timer::after(FIRST).await;
    loop {
        house.round(hub, hub.now(), last.elapsed());
        last = Instant::now();
        Timer::after(ROUND).await;
    }
}

/// The rounds, without clocks and timers.
pub struct Housekeeping {
    witness: Witness,
    unwritten: Duration,
}

impl Housekeeping {
    /// Goes on with what was witnessed before the last stop.
    pub fn new(hub: &Hub, now: Millis) -> Self {
        let kept = hub.store.document(RECORD);
        let kept = kept.and_then(|record| serde_json::from_str::<Witness>(&record.text).ok());
        let mut witness = kept.unwrap_or_else(|| Witness::begin(now));
        // The time of the stop is a gap.
        witness.advance(now, Duration::ZERO);
        Self { witness, unwritten: KEEP }
    }

    /// One round; `elapsed` is what the monotonic clock counted since the last.
    pub fn round(&mut self, hub: &Hub, now: Millis, elapsed: Duration) {
        let jumped = self.witness.advance(now, elapsed);
        self.unwritten += elapsed;
        if jumped || self.unwritten >= KEEP {
            self.unwritten = Duration::ZERO;
            if let Ok(text) = serde_json::to_string(&self.witness) {
                hub.store.put(Document { id: RECORD.to_owned(), text }).later();
            }
        }
        self.remove_inactive(hub);
        self.remove_shares(hub, now);
    }

    fn remove_inactive(&self, hub: &Hub) {
        let domains: Vec<_> = hub.config().domains.keys().cloned().collect();
        for device in domains.iter().flat_map(|domain| hub.store.devices(domain)) {
            let Some(days) = days_allowed(hub, &device) else { continue };
            if hub.connectivity(&device.id).conn != 0 {
                continue;
            }
            // A device that never connected (Intel AMT or local) does not go by itself.
            let Some(seen) = hub.store.last_seen(&device.id) else { continue };
            let away = self.witness.since(seen.time);
            if away > Duration::from_secs(u64::from(days) * 86_400) {
                let shown = away.as_secs() / 86_400;
                info!(
                    "removed {:?} ({}): away for {shown} days, allowed are {days}",
                    device.name, device.id
                );
                remove_device(hub, &device, None).into_iter().for_each(Commit::later);
            }
        }
    }

    fn remove_shares(&self, hub: &Hub, now: Millis) {
        for share in hub.store.shares() {
            let Some(end) = share.expires else { continue };
            if share.is_over(now) && self.witness.since(end) >= GRACE {
                hub.store.remove(RecordKey::Share(share.public_id.clone())).later();
                if let Some(device) = hub.store.device(&share.node) {
                    hub.publish(sharing::update_event(hub, &device));
                }
            }
        }
    }
}

/// Days a device may stay away: what its group says, or else its domain.
fn days_allowed(hub: &Hub, device: &Device) -> Option<u16> {
    let group = hub.store.group(&device.group).map_or(0, |group| group.expire_devices);
    let domain = hub.config().domain(&device.id.domain).inactive_days;
    Some(group).filter(|days| *days != 0).or(domain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::control::testing::{World, group_id, heard, node_id};
    use crate::model::{DomainId, LastSeen, LinkTarget, Rights, Share, UserId};

    const DAY: u64 = 86_400_000;
    const HOUR: Duration = Duration::from_secs(3600);
    const START: u64 = 20_000 * DAY;

    /// A world whose group `lab` keeps devices for so many days: device 2 was seen at the start,
    /// device 3 is connected, device 4 was never seen.
    fn world(group_days: u16, domain_days: Option<u16>) -> World {
        let mut config = Config::default();
        config.domains.get_mut(&DomainId::default()).unwrap().inactive_days = domain_days;
        let world = World::with(config);
        let id = world.group(1, "lab");
        let mut group = (*world.hub.store.group(&id).unwrap()).clone();
        group.expire_devices = group_days;
        world.hub.store.put(group).later();
        for n in [2, 3, 4] {
            let link = world.device(n, &id, "vm");
            if n != 3 {
                world.hub.agent_gone(&link);
            }
            if n != 4 {
                let seen = LastSeen { time: Millis(START), addr: "10.0.0.9:5".into() };
                world.hub.store.set_last_seen(&node_id(n), seen);
            }
        }
        world
    }

    /// Rounds of an hour each, for so many days.
    fn days(house: &mut Housekeeping, world: &World, now: &mut Millis, days: u64) {
        for _ in 0..24 * days {
            now.0 += DAY / 24;
            house.round(&world.hub, *now, HOUR);
        }
    }

    fn is_there(world: &World, n: u8) -> bool {
        world.hub.store.device(&node_id(n)).is_some()
    }

    #[test]
    fn a_device_that_stayed_away_too_long_goes_and_others_are_told() {
        for (group_days, domain_days, allowed) in [(3, None, 3), (0, Some(5), 5), (3, Some(9), 3)] {
            let world = world(group_days, domain_days);
            world.link("admin", LinkTarget::Group(group_id(1)), Rights::FULL);
            world.link("admin", LinkTarget::Device(node_id(2)), Rights::FULL);
            let admin = world.session("admin");
            let mut now = Millis(START);
            let mut house = Housekeeping::new(&world.hub, now);
            days(&mut house, &world, &mut now, allowed);
            assert!(is_there(&world, 2), "not before its time");
            days(&mut house, &world, &mut now, 1);
            assert!(!is_there(&world, 2) && is_there(&world, 3) && is_there(&world, 4));
            let told = heard(&admin);
            let removed = told.iter().find(|frame| frame["event"]["action"] == "removenode");
            assert_eq!(removed.unwrap()["event"]["msg"], "Removed device vm from device group lab");
        }
        let world = world(0, None);
        let mut now = Millis(START);
        let mut house = Housekeeping::new(&world.hub, now);
        days(&mut house, &world, &mut now, 400);
        assert!(is_there(&world, 2), "nobody said that devices go");
    }

    #[test]
    fn nothing_goes_because_a_clock_jumped_or_the_server_was_off() {
        let world = world(3, None);
        let mut now = Millis(START);
        let mut house = Housekeeping::new(&world.hub, now);
        days(&mut house, &world, &mut now, 1);
        // Twelve years ahead.
        now.0 += 12 * 365 * DAY;
        house.round(&world.hub, now, HOUR);
        days(&mut house, &world, &mut now, 1);
        assert!(is_there(&world, 2));
        // A restart, and a month in the drawer.
        let mut house = Housekeeping::new(&world.hub, now);
        now.0 += 30 * DAY;
        house.round(&world.hub, now, Duration::ZERO);
        assert!(is_there(&world, 2));
        // What was witnessed before it still counts.
        days(&mut house, &world, &mut now, 2);
        assert!(!is_there(&world, 2));
    }

    #[test]
    fn a_share_that_is_over_is_kept_for_a_day_and_then_goes() {
        let world = world(0, None);
        let admin = UserId::new(DomainId::default(), "admin").unwrap();
        let share = Share {
            public_id: "abcdefghijkl".into(),
            node: node_id(3),
            user: admin,
            guest_name: "guest".into(),
            protocols: 2,
            consent: 0,
            port: None,
            url: "https://secret".into(),
            start: Some(Millis(START)),
            expires: Some(Millis(START + DAY)),
            duration: None,
            recurring: None,
            view_only: false,
        };
        world.hub.store.put(share).later();
        let mut now = Millis(START);
        let mut house = Housekeeping::new(&world.hub, now);
        days(&mut house, &world, &mut now, 1);
        now.0 += 5000 * DAY;
        house.round(&world.hub, now, HOUR);
        assert_eq!(world.hub.store.shares().len(), 1, "the clock may be wrong");
        days(&mut house, &world, &mut now, 1);
        assert_eq!(world.hub.store.shares().len(), 0);
    }
}
