//! Bytes and fsyncs are budgets: an SD card must survive ten years of reconnects.

use super::*;

#[test]
fn thousand_reconnects_of_known_agents_write_at_most_64_kib() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path(), Options::default()).unwrap();
    (0..1000).for_each(|n| store.put(device(n)).later());
    block_on(store.close()).unwrap();
    drop(store);

    let (store, _) = Store::open(dir.path(), Options::default()).unwrap();
    let sysinfo = br#"{"hash":"x"}"#;
    drive(&store, async {
        for n in 0..1000 {
            let connect = Event::new("nodeconnect", domain()).node(&node(n)).transient();
            // Gone and back again: the harder case, for it is two changes of power.
            store.record_power(&node(n), PowerChange { time: WALL, power: 0 });
            store.record_event(WALL, &connect);
            store.record_power(&node(n), PowerChange { time: Millis(WALL.0 + 1), power: 1 });
            store.record_event(WALL, &connect);
            let addr = format!("192.168.{}.{}:5{n:04}", n / 256, n % 256);
            store.set_last_seen(&node(n), LastSeen { time: Millis(WALL.0 + n), addr });
        }
        assert!(store.set_detail(&node(0), DetailKind::System, sysinfo, None, WALL));
        store.close().await.unwrap();
    });
    let written = store.bytes_written();
    println!("1,000 reconnects wrote {written} bytes");
    assert!(written <= 64 << 10, "{written} bytes");
    drop(store);

    let (store, report) = Store::open(dir.path(), Options::default()).unwrap();
    assert!(report.floor.0 > 0);
    let seen = store.last_seen(&node(999)).unwrap();
    assert_eq!((seen.time.0, &*seen.addr), (WALL.0 + 999, "192.168.3.231:50999"));
    let power = drive(&store, store.power(&node(999)));
    assert_eq!(power.iter().map(|c| c.power).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(drive(&store, store.detail(&node(0), DetailKind::System)).unwrap().json, sysinfo);
}

#[test]
fn commits_awaited_together_share_one_fsync() {
    let disk = FakeDisk::new();
    let (store, _) = open(&disk);
    drive(&store, async {
        let mut last = None;
        for n in 0..100 {
            store.put(device(n)).later();
            last = Some(store.put(secret("x", &[n as u8])));
        }
        last.unwrap().await.unwrap();
    });
    assert_eq!(disk.syncs(), 1);
}

#[test]
fn what_nobody_awaits_is_never_fsynced_before_the_stop() {
    let disk = FakeDisk::new();
    let clock = TestClock::default();
    let (store, _) = open_with(&disk, Options::default(), &clock);
    drive(&store, async {
        for n in 0..50 {
            store.put(device(n)).later();
            store.record_event(WALL, &Event::new("addnode", domain()));
            store.set_detail(&node(n), DetailKind::System, b"{}", None, WALL);
            store.set_last_seen(&node(n), seen(n));
            let steps = disk.steps();
            clock.advance(3700);
            store.record_event(WALL, &Event::new("changenode", domain()));
            store.put(device(n)).later(); // rings: the clock is not the timer's
            while disk.steps() == steps || store.health().unwritten_records > 0 {
                futures_lite::future::yield_now().await;
            }
        }
    });
    assert_eq!(disk.syncs(), 0);
    assert!(disk.written() > 1000);
    assert_eq!(drive(&store, store.close()), Ok(()));
    let (store, report) = open(&disk.unplugged(5));
    assert_eq!((store.device_count(), report.lost), (50, None));
    assert_eq!(store.last_seen(&node(49)), Some(seen(49)));
}
