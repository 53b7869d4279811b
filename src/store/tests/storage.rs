//! What the `storage` setting promises.

use super::*;
use crate::model::Storage;

fn open_as(storage: Storage) -> (Store, Arc<FakeDisk>, TestClock) {
    let (disk, clock) = (FakeDisk::new(), TestClock::default());
    let options = Options { storage, ..Options::default() };
    let (store, _) = open_with(&disk, options, &clock);
    (store, disk, clock)
}

/// Time passes, and the driver does what is due.
fn pass(store: &Store, clock: &TestClock, seconds: u64) {
    clock.advance(seconds);
    block_on(store.catch_up());
}

/// One of everything; whether the record was acknowledged.
fn change(store: &Store, n: u64) -> Result<(), NotDurable> {
    store.record_event(WALL, &Event::new("addnode", domain()));
    store.record_power(&node(n), PowerChange { time: WALL, power: 1 });
    store.set_last_seen(&node(n), seen(n));
    store.set_detail(&node(n), DetailKind::System, b"{}", None, WALL);
    drive(store, store.put(device(n)))
}

/// Records, seen, details, events and changes of power that are on a disk.
fn found(disk: &Arc<FakeDisk>) -> [usize; 5] {
    let (store, report) = open(disk);
    assert_eq!(report.lost, None);
    let ids: Vec<_> = store.devices(&domain()).iter().map(|device| device.id.clone()).collect();
    let has_detail = |id| drive(&store, store.detail(id, DetailKind::System)).is_some();
    let events = EventQuery { limit: 1000, ..EventQuery::default() };
    [
        ids.len(),
        ids.iter().filter(|id| store.last_seen(id).is_some()).count(),
        ids.iter().filter(|id| has_detail(id)).count(),
        drive(&store, store.events(events)).len(),
        ids.iter().filter(|id| !drive(&store, store.power(id)).is_empty()).count(),
    ]
}

#[test]
fn durable_is_on_disk_before_it_is_acknowledged() {
    let (store, disk, _) = open_as(Storage::Durable);
    assert_eq!(change(&store, 1), Ok(()));
    assert_eq!(found(&disk.unplugged(0))[0], 1);
}

#[test]
fn coalesced_acknowledges_at_once_and_writes_together_within_a_minute() {
    let (store, disk, clock) = open_as(Storage::Coalesced);
    pass(&store, &clock, 1);
    for n in 0..20 {
        assert_eq!(change(&store, n), Ok(()));
        pass(&store, &clock, 2);
    }
    assert_eq!((disk.written(), disk.syncs()), (0, 0));
    pass(&store, &clock, 21);
    assert_eq!(disk.syncs(), 1, "all together");
    // Whatever a power cut takes, it is not what is older than a minute.
    assert_eq!(found(&disk.unplugged(0))[0], 20);
    assert_eq!(change(&store, 20), Ok(()));
    assert_eq!(found(&disk.unplugged(0))[0], 20);
    pass(&store, &clock, 600);
    assert_eq!(found(&disk.killed()), [21, 0, 21, 21, 21], "what was seen is written by the hour");
}

#[test]
fn coalesced_tells_who_waits_when_the_disk_refuses() {
    let (store, disk, clock) = open_as(Storage::Coalesced);
    disk.fail(Fail::ReadOnly);
    assert_eq!(change(&store, 1), Ok(()));
    pass(&store, &clock, 61);
    assert!(change(&store, 2).is_err(), "it is known to refuse");
    disk.fail(Fail::Nothing);
    pass(&store, &clock, 61);
    assert_eq!(change(&store, 3), Ok(()));
    drive(&store, store.close()).unwrap();
    assert_eq!(found(&disk.unplugged(0)), [3; 5]);
}

#[test]
fn volatile_writes_nothing_until_the_stop() {
    let (store, disk, clock) = open_as(Storage::Volatile);
    // What an interrupted work may have left behind is removed.
    pass(&store, &clock, 1);
    let untouched = disk.steps();
    for n in 0..300 {
        assert_eq!(change(&store, n), Ok(()));
        pass(&store, &clock, 90);
    }
    store.remove(RecordKey::Device(node(7))).later();
    pass(&store, &clock, 100_000);
    assert_eq!((disk.steps(), disk.written()), (untouched, 0));
    assert_eq!(store.health().unwritten_records, 0, "no journal piles up in memory");
    drive(&store, store.close()).unwrap();
    let [devices, seen, details, events, power] = found(&disk.unplugged(0));
    assert_eq!([devices, seen, details, power], [299; 4]);
    assert_eq!(events, 300);
    // And what comes in the last moments.
    assert_eq!(change(&store, 7), Ok(()));
    assert_eq!(drive(&store, store.close()), Ok(()));
    assert_eq!(found(&disk.unplugged(0))[0], 300);
}

#[test]
fn volatile_history_is_bounded_in_memory() {
    let (store, _, clock) = open_as(Storage::Volatile);
    for n in 0..100 {
        store.record_event(WALL, &Event::new("addnode", domain()).with("x", "y".repeat(60_000)));
        pass(&store, &clock, n);
    }
    assert!(store.health().unwritten_history < 2 << 20, "{:?}", store.health());
    assert!(store.health().lost_history > 0);
}

#[test]
fn saving_brings_everything_to_disk_and_changes_nothing_else() {
    for storage in Storage::ALL {
        let (store, disk, clock) = open_as(storage);
        for round in 1..4u64 {
            assert_eq!(change(&store, round), Ok(()));
            pass(&store, &clock, 1);
            drive(&store, store.save()).unwrap();
            assert_eq!(found(&disk.unplugged(0)), [round as usize; 5], "{storage:?}");
            // It is no stop: what is changed now waits as it did before.
            store.put(device(100)).later();
            let written = disk.written();
            pass(&store, &clock, 1);
            assert_eq!(disk.written(), written, "{storage:?}");
            store.remove(RecordKey::Device(node(100))).later();
        }
        let again = disk.written();
        drive(&store, store.save()).unwrap();
        drive(&store, store.save()).unwrap();
        assert!(
            disk.written() - again < 2000,
            "{storage:?}: nothing to save writes next to nothing"
        );
    }
}

#[test]
fn a_save_that_fails_says_so_and_is_made_up_for() {
    for storage in Storage::ALL {
        let (store, disk, clock) = open_as(storage);
        assert_eq!(change(&store, 1), Ok(()));
        disk.fail(Fail::ReadOnly);
        store.put(device(2)).later();
        assert!(drive(&store, store.save()).is_err(), "{storage:?}");
        disk.fail(Fail::Nothing);
        pass(&store, &clock, 61);
        assert_eq!(found(&disk.unplugged(0))[0], 2, "{storage:?}");
    }
}
