//! Power cuts, full disks and failing fsyncs: what was acknowledged is there.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use crate::model::Storage;

/// Versions of each secret in the order they were put (`None`: removed), and how many of them are
/// known to be acknowledged.
#[derive(Default)]
struct Ledger(BTreeMap<String, (Vec<Option<u32>>, usize)>);

impl Ledger {
    fn put(&mut self, name: &str, value: Option<u32>) {
        self.0.entry(name.to_owned()).or_default().0.push(value);
    }

    /// A commit acknowledges everything before it as well.
    fn acknowledge(&mut self) {
        self.0.values_mut().for_each(|(versions, acknowledged)| *acknowledged = versions.len());
    }

    fn check(&self, store: &Store, context: &str) {
        for (name, (versions, acknowledged)) in &self.0 {
            let value =
                store.secret(name).map(|s| u32::from_le_bytes(s.bytes[..4].try_into().unwrap()));
            let mut possible = versions[acknowledged.saturating_sub(1)..].to_vec();
            if *acknowledged == 0 {
                possible.push(None);
            }
            assert!(
                possible.contains(&value),
                "{context}: {name} is {value:?}, not of {possible:?}"
            );
        }
    }
}

/// Puts, removes, awaits and stops, enough for several snapshots of a file of 2 KB.
async fn scenario(store: &Store, ledger: &RefCell<Ledger>) {
    for n in 0..60u32 {
        let name = format!("s{}", n % 4);
        let commit = if n % 7 == 3 {
            ledger.borrow_mut().put(&name, None);
            store.remove(RecordKey::Secret(name))
        } else {
            ledger.borrow_mut().put(&name, Some(n));
            let bytes = [&n.to_le_bytes()[..], &[n as u8; 120]].concat();
            store.put(secret(&name, &bytes))
        };
        store.set_last_seen(&node(1), seen(u64::from(n)));
        if n % 3 == 0 {
            if commit.await.is_err() {
                return;
            }
            ledger.borrow_mut().acknowledge();
        } else {
            commit.later();
        }
    }
    if store.close().await.is_ok() {
        ledger.borrow_mut().acknowledge();
    }
}

const SMALL: Options = Options {
    storage: Storage::Durable,
    events_quota: 1 << 20,
    power_quota: 1 << 20,
    snapshot_from: 2000,
};

fn run_until(fail: Fail) -> (Arc<FakeDisk>, Ledger) {
    let disk = FakeDisk::new();
    let (store, _) = open_with(&disk, SMALL, &TestClock::default());
    disk.fail(fail);
    let ledger = RefCell::default();
    drive(&store, scenario(&store, &ledger));
    (disk, ledger.into_inner())
}

#[test]
fn power_cut_at_any_step_loses_nothing_acknowledged() {
    let (disk, ledger) = run_until(Fail::Nothing);
    let steps = disk.steps();
    assert!(steps > 60, "the scenario is to have many steps, not {steps}");
    let file = disk.content("state").unwrap().len() as u64;
    assert!(disk.written() > 3 * file, "the scenario is to have several snapshots");
    ledger.check(&open(&disk.unplugged(0)).0, "after a clean stop");
    for die_at in 1..=steps {
        let (disk, ledger) = run_until(Fail::DieAt(die_at));
        ledger.check(&open(&disk.killed()).0, &format!("killed at step {die_at}"));
        for seed in 0..6 {
            let context = format!("died at step {die_at}, seed {seed}");
            let disk = disk.unplugged(seed);
            // The power fails again while the file is being repaired.
            disk.fail(Fail::DieAt(1 + seed));
            let (store, _) = open(&disk);
            ledger.check(&store, &context);
            drop(store);
            let disk = disk.unplugged(seed + 1);
            let (store, report) = open(&disk);
            ledger.check(&store, &format!("{context}, then again: {report}"));
            // And it goes on from there.
            assert_eq!(drive(&store, store.put(secret("more", &[9]))), Ok(()), "{context}");
            let (store, report) = open(&disk.unplugged(seed));
            assert_eq!(report.lost, None, "{context}");
            assert!(store.secret("more").is_some());
            ledger.check(&store, &context);
        }
    }
}

#[test]
fn full_disk_degrades_to_memory_and_recovers_by_itself() {
    let disk = FakeDisk::new();
    let clock = TestClock::default();
    let (store, _) = open_with(&disk, Options::default(), &clock);
    assert_eq!(drive(&store, store.put(secret("before", &[1; 100]))), Ok(()));
    let before = disk.content("state").unwrap();

    disk.fail(Fail::Full(before.len() + 50));
    for n in 0..20 {
        let refused = drive(&store, store.put(secret(&format!("s{n}"), &[2; 100])));
        assert!(matches!(refused, Err(NotDurable(_))), "{n}");
        clock.advance(2);
    }
    assert!(store.secret("s7").is_some(), "memory goes on");
    let health = store.health();
    assert!(health.degraded.is_some() && health.unwritten_records > 20 * 100, "{health:?}");
    // Whatever half write is there, what was on disk before is read from it.
    assert_eq!(disk.content("state").unwrap()[..before.len()], before);
    let (other, report) = open(&disk.killed());
    assert!(other.secret("before").is_some() && report.frames == 1);

    disk.fail(Fail::Nothing);
    clock.advance(60);
    assert_eq!(drive(&store, store.put(secret("after", &[3]))), Ok(()));
    assert_eq!(store.health(), super::super::Health::default());
    let (store, report) = open(&disk.unplugged(3));
    assert_eq!(report.lost, None);
    assert!((0..20).all(|n| store.secret(&format!("s{n}")).is_some()));
    assert!(store.secret("after").is_some());
}

#[test]
fn disk_that_stays_full_fills_no_memory() {
    let disk = FakeDisk::new();
    let clock = TestClock::default();
    let (store, _) = open_with(&disk, Options::default(), &clock);
    disk.fail(Fail::ReadOnly);
    assert!(drive(&store, store.put(secret("s", &[0]))).is_err());
    for n in 0..300u32 {
        store.put(secret("s", &[n as u8; 10_000])).later();
        store.set_detail(&node(u64::from(n)), DetailKind::System, &vec![b'x'; 100_000], None, WALL);
        store.record_event(WALL, &Event::new("x", domain()).with("msg", "x".repeat(20_000)));
    }
    let health = store.health();
    assert!(health.unwritten_records <= 1 << 20, "{health:?}");
    assert!(health.unwritten_details <= 8 << 20, "{health:?}");
    assert!(health.unwritten_history <= 2 << 20 && health.lost_history > 0, "{health:?}");
    disk.fail(Fail::Nothing);
    clock.advance(60);
    assert_eq!(drive(&store, store.close()), Ok(()));
    assert_eq!(open(&disk.unplugged(0)).0.secret("s").unwrap().bytes, [43; 10_000]);
}

#[test]
fn failed_fsync_is_not_believed_to_have_worked_the_second_time() {
    let disk = FakeDisk::new();
    let clock = TestClock::default();
    let (store, _) = open_with(&disk, Options::default(), &clock);
    assert_eq!(drive(&store, store.put(secret("a", &[1]))), Ok(()));
    disk.fail(Fail::Sync);
    assert!(drive(&store, store.put(secret("b", &[2]))).is_err());
    disk.fail(Fail::Nothing);
    clock.advance(60);
    assert_eq!(drive(&store, store.put(secret("c", &[3]))), Ok(()));
    let (store, _) = open(&disk.unplugged(1));
    assert!(["a", "b", "c"].iter().all(|name| store.secret(name).is_some()));
}

#[test]
fn driver_dropped_in_the_middle_of_a_write_loses_nothing() {
    let disk = FakeDisk::new();
    let clock = TestClock::default();
    let (store, _) = open_with(&disk, Options::default(), &clock);
    let mut commit = store.put(secret("a", &[1]));
    block_on(async {
        assert!(futures_lite::future::poll_once(&mut commit).await.is_none());
        // One poll hands the write to the pool; then the driver goes away.
        assert!(futures_lite::future::poll_once(store.run()).await.is_none());
    });
    clock.advance(60);
    assert_eq!(block_on(store.close()), Ok(()));
    assert_eq!(block_on(commit), Ok(()));
    let (store, report) = open(&disk.unplugged(1));
    assert!(store.secret("a").is_some() && report.lost.is_none());
}
