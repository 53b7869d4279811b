//! Details and history: what lies in files besides `state`.

use super::*;
use crate::model::{Document, Factors, LoginToken, PasswordHash, Share};
use crate::store::Detail;

fn json(n: u64, len: usize) -> Vec<u8> {
    // Hexadecimal noise: deflate halves it at best.
    let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"0123456789abcdef"[(state % 16) as usize]
    });
    [&b"\""[..], &noise.take(len).collect::<Vec<_>>(), b"\""].concat()
}

const SYSTEM: DetailKind = DetailKind::System;

fn detail(store: &Store, n: u64) -> Option<Vec<u8>> {
    drive(store, store.detail(&node(n), SYSTEM)).map(|detail| detail.json)
}

/// Whether the document of device `n` is `json(seed, len)`; not printed, for it is long.
fn holds(store: &Store, n: u64, seed: u64, len: usize) -> bool {
    detail(store, n) == Some(json(seed, len))
}

#[test]
fn details_survive_a_restart_with_their_tags() {
    let disk = FakeDisk::new();
    let (store, _) = open(&disk);
    assert!(store.set_detail(&node(1), SYSTEM, &json(1, 5000), Some("h1"), WALL));
    assert!(store.set_detail(&node(1), DetailKind::Smbios, b"{}", None, Millis(7)));
    assert!(holds(&store, 1, 1, 5000), "also before it is on disk");
    drive(&store, store.close()).unwrap();
    assert_eq!(store.health().unwritten_details, 0);
    assert!(holds(&store, 1, 1, 5000));

    let (store, _) = open(&disk.unplugged(0));
    assert_eq!(store.detail_tag(&node(1), SYSTEM), None, "the file was not read yet");
    assert!(holds(&store, 1, 1, 5000));
    assert_eq!(store.detail_tag(&node(1), SYSTEM).as_deref(), Some("h1"));
    let smbios = drive(&store, store.detail(&node(1), DetailKind::Smbios));
    assert_eq!(smbios, Some(Detail { time: Millis(7), json: b"{}".to_vec(), tag: None }));
    assert_eq!(detail(&store, 2), None);
}

#[test]
fn unchanged_detail_writes_nothing() {
    let disk = FakeDisk::new();
    let (store, _) = open(&disk);
    assert!(store.set_detail(&node(1), SYSTEM, b"{\"a\":1}", Some("t"), WALL));
    drive(&store, store.close()).unwrap();
    let first = disk.content("details").unwrap();
    let disk = disk.killed();
    let (store, _) = open(&disk);
    // Before and after the file was read.
    assert!(store.set_detail(&node(1), SYSTEM, b"{\"a\":1}", Some("t"), Millis(1)));
    detail(&store, 1).unwrap();
    assert!(!store.set_detail(&node(1), SYSTEM, b"{\"a\":1}", Some("t"), Millis(2)));
    drive(&store, store.close()).unwrap();
    assert_eq!(disk.content("details").unwrap(), first);
    assert!(!store.set_detail(&node(1), SYSTEM, b"{\"a\":1}", Some("u"), Millis(2)));
    assert_eq!(store.detail_tag(&node(1), SYSTEM).as_deref(), Some("u"), "the text is the same");
    assert!(store.set_detail(&node(1), SYSTEM, b"{\"a\":2}", Some("t"), Millis(3)));
    drive(&store, store.close()).unwrap();
    assert!(disk.content("details").unwrap().len() > first.len());
}

#[test]
fn removed_device_takes_its_details_along() {
    let disk = FakeDisk::new();
    let (store, _) = open(&disk);
    for n in [1, 2] {
        store.put(device(n)).later();
        store.set_detail(&node(n), SYSTEM, &json(n, 100), Some("t"), WALL);
    }
    drive(&store, store.close()).unwrap();
    store.remove(RecordKey::Device(node(1))).later();
    assert_eq!(detail(&store, 1), None);
    drive(&store, store.close()).unwrap();
    let (store, _) = open(&disk.unplugged(0));
    assert_eq!(detail(&store, 1), None);
    assert!(holds(&store, 2, 2, 100));
    assert_eq!(store.detail_tag(&node(1), SYSTEM), None);
}

#[test]
fn details_file_is_compacted_when_most_of_it_is_garbage() {
    let disk = FakeDisk::new();
    let (store, _) = open(&disk);
    let mut largest = 0;
    drive(&store, async {
        for round in 0..14 {
            for n in 0..4 {
                store.set_detail(&node(n), SYSTEM, &json(round * 10 + n, 80_000), Some("t"), WALL);
            }
            // More than a batch: it is written without waiting. Readers always find their document.
            while store.health().unwritten_details > 0 {
                let n = round % 4;
                let found = store.detail(&node(n), SYSTEM).await.unwrap();
                assert!(found.json == json(round * 10 + n, 80_000), "{round}");
                futures_lite::future::yield_now().await;
            }
            largest = largest.max(disk.content("details").unwrap().len());
        }
    });
    assert!(disk.written() > 2_000_000, "{} bytes written", disk.written());
    assert!(largest < 1_900_000, "{largest} bytes in the file");
    (0..4).for_each(|n| assert!(holds(&store, n, 130 + n, 80_000), "{n}"));
    drive(&store, store.close()).unwrap();
    let (store, _) = open(&disk.unplugged(1));
    assert!(holds(&store, 3, 133, 80_000));
}

#[test]
fn damaged_details_are_dropped_and_the_file_goes_on() {
    let disk = FakeDisk::new();
    let (store, _) = open(&disk);
    for n in 0..3 {
        store.set_detail(&node(n), SYSTEM, &json(n, 1000), Some("t"), WALL);
        drive(&store, store.close()).unwrap();
    }
    let mut bytes = disk.content("details").unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    let disk = FakeDisk::with("details", &bytes);
    let (store, _) = open(&disk);
    assert!(holds(&store, 0, 0, 1000));
    assert_eq!((detail(&store, 1), detail(&store, 2)), (None, None));
    assert!(store.set_detail(&node(2), SYSTEM, &json(2, 1000), Some("t"), WALL));
    drive(&store, store.close()).unwrap();
    let (store, _) = open(&disk.unplugged(0));
    assert!(holds(&store, 2, 2, 1000));
}

fn event(n: u64) -> Event {
    let action = ["addnode", "changenode"][n as usize % 2];
    Event::new(action, domain()).node(&node(n % 5)).with("n", n)
}

fn events(store: &Store, query: EventQuery) -> Vec<u64> {
    let found = drive(store, store.events(query));
    found.iter().map(|past| past.event.body["n"].as_u64().unwrap()).collect()
}

#[test]
fn events_come_newest_first_from_disk_and_memory_alike() {
    let disk = FakeDisk::new();
    let mut store = open(&disk).0;
    for n in 0..600 {
        store.record_event(Millis(n), &event(n));
        if n % 100 == 50 {
            drive(&store, store.close()).unwrap();
        }
        if n == 350 {
            store = open(&disk.killed()).0;
        }
    }
    let all = EventQuery { limit: 1000, ..EventQuery::default() };
    assert_eq!(events(&store, all.clone()), (0..600).rev().collect::<Vec<_>>());
    let few = EventQuery { limit: 3, action: Some("addnode".into()), ..all.clone() };
    assert_eq!(events(&store, few), [598, 596, 594]);
    let one = EventQuery { limit: 2, node: Some(node(3)), ..all.clone() };
    assert_eq!(events(&store, one), [598, 593]);
    assert_eq!(events(&store, EventQuery { limit: 0, ..all }), [0; 0]);
}

#[test]
fn history_keeps_its_quota_and_loses_the_oldest() {
    let disk = FakeDisk::new();
    let options = Options { events_quota: 40_000, ..Options::default() };
    let (store, _) = open_with(&disk, options, &TestClock::default());
    drive(&store, async {
        for n in 0..3000 {
            store.record_event(Millis(n), &event(n));
            if n % 10 == 9 {
                store.close().await.unwrap();
            }
        }
    });
    let names: Vec<_> =
        disk.list().unwrap().into_iter().filter(|n| n.starts_with("events-")).collect();
    let total: usize = names.iter().map(|name| disk.content(name).unwrap().len()).sum();
    assert!(total <= 40_000 && total > 35_000, "{total} bytes in {names:?}");
    assert!(names.len() <= 18, "{names:?}");
    let found = events(&store, EventQuery { limit: 10_000, ..EventQuery::default() });
    assert!(found.len() > 250, "{}", found.len());
    assert_eq!(found, (3000 - found.len() as u64..3000).rev().collect::<Vec<_>>());
}

#[test]
fn torn_page_of_history_costs_only_itself() {
    let disk = FakeDisk::new();
    let (store, _) = open(&disk);
    for n in 0..3 {
        store.record_event(Millis(n), &event(n));
        drive(&store, store.close()).unwrap();
    }
    let bytes = disk.content("events-00000001").unwrap();
    let disk = FakeDisk::with("events-00000001", &bytes[..bytes.len() - 1]);
    let (store, _) = open(&disk);
    store.record_event(Millis(9), &event(9));
    drive(&store, store.close()).unwrap();
    let (store, _) = open(&disk.unplugged(0));
    assert_eq!(events(&store, EventQuery { limit: 9, ..EventQuery::default() }), [9, 1, 0]);
}

#[test]
fn events_wait_for_company_before_they_are_written() {
    let disk = FakeDisk::new();
    let (store, _) = open(&disk);
    drive(&store, async {
        let query = || EventQuery { limit: 5, ..EventQuery::default() };
        for n in 0..20 {
            store.record_event(Millis(n), &event(n));
            assert_eq!(store.events(query()).await[0].time, Millis(n));
        }
        assert_eq!(disk.written(), 0);
        // Until there are 64 KiB of them.
        while store.health().unwritten_history > 0 {
            store.record_event(WALL, &event(1).with("msg", "x".repeat(1000)));
            let full = store.health().unwritten_history >= 64 << 10;
            while full && store.health().unwritten_history > 0 {
                futures_lite::future::yield_now().await;
            }
        }
    });
    assert!(disk.written() >= 64 << 10 && disk.syncs() == 0);
}

#[test]
fn power_history_has_changes_only() {
    let disk = FakeDisk::new();
    let (store, _) = open(&disk);
    for (time, power) in [(1, 1), (2, 1), (3, 0), (4, 1), (5, 1)] {
        store.record_power(&node(1), PowerChange { time: Millis(time), power });
    }
    store.record_power(&node(2), PowerChange { time: Millis(9), power: 8 });
    let history = |store: &Store, n| -> Vec<_> {
        let changes = drive(store, store.power(&node(n)));
        changes.iter().map(|change| (change.time.0, change.power)).collect()
    };
    assert_eq!(history(&store, 1), [(1, 1), (3, 0), (4, 1)]);
    drive(&store, store.close()).unwrap();
    let (store, _) = open(&disk.unplugged(0));
    assert_eq!(history(&store, 1), [(1, 1), (3, 0), (4, 1)]);
    assert_eq!(history(&store, 2), [(9, 8)]);
    assert_eq!(history(&store, 3), []);
}

#[test]
fn store_without_a_disk_behaves_the_same() {
    let store = Store::in_memory();
    block_on(async {
        store.put(device(1)).await.unwrap();
        assert!(store.set_detail(&node(1), SYSTEM, b"{}", Some("t"), WALL));
        assert!(!store.set_detail(&node(1), SYSTEM, b"{}", Some("t"), WALL));
        assert_eq!(store.detail_tag(&node(1), SYSTEM).as_deref(), Some("t"));
        assert_eq!(store.detail(&node(1), SYSTEM).await.unwrap().json, b"{}");
        store.record_event(WALL, &event(6));
        store.record_power(&node(1), PowerChange { time: WALL, power: 1 });
        let query = EventQuery { limit: 5, ..EventQuery::default() };
        assert_eq!(store.events(query).await[0].event, event(6));
        assert_eq!(store.power(&node(1)).await.len(), 1);
        store.remove(RecordKey::Device(node(1))).await.unwrap();
        assert_eq!(store.detail(&node(1), SYSTEM).await, None);
        store.close().await.unwrap();
    });
    assert_eq!((store.bytes_written(), store.device_count()), (0, 0));
}

#[test]
fn what_hangs_on_an_account_or_device_goes_with_it() {
    let disk = FakeDisk::new();
    let (store, _) = open(&disk);
    let share = |id: &str, owner: &str, n: u64| Share {
        public_id: id.into(),
        node: node(n),
        user: user(owner).id,
        guest_name: "guest".into(),
        protocols: 1,
        consent: 0,
        port: None,
        url: String::new(),
        start: None,
        expires: None,
        duration: None,
        recurring: None,
        view_only: false,
    };
    let token = |name: &str, owner: &str| LoginToken {
        token_user: name.into(),
        user: user(owner).id,
        name: String::new(),
        password: PasswordHash::None,
        created: WALL,
        expires: None,
    };
    let text = |id: String| Document { id, text: "text".into() };
    let ada = user("ada");
    let kept = Document::note(&user("bob").id.to_string());
    store.put(ada.clone()).later();
    store.put(Factors::new(ada.id.clone())).later();
    for name in ["ada", "bob"] {
        store.put(token(&format!("~t:{name}"), name)).later();
        store.put(share(name, name, 1)).later();
        store.put(text(Document::note(&user(name).id.to_string()))).later();
    }
    store.put(share("other device", "bob", 2)).later();
    store.put(text(Document::note(&node(1).to_string()))).later();
    store.put(text(Document::web_state(&ada.id))).later();
    store.remove(RecordKey::User(ada.id.clone())).later();

    let check = |store: &Store| {
        assert!(store.factors(&ada.id).is_none());
        assert!(store.login_token("~t:ada").is_none() && store.login_token("~t:bob").is_some());
        assert!(store.share("ada").is_none() && store.share("bob").is_none());
        assert!(store.share("other device").is_some());
        assert!(store.document(&Document::web_state(&ada.id)).is_none());
        assert!(store.document(&Document::note(&node(1).to_string())).is_none());
        assert!(store.document(&kept).is_some());
    };
    assert!(store.share("bob").is_some());
    store.remove(RecordKey::Device(node(1))).later();
    check(&store);
    drive(&store, store.close()).unwrap();
    check(&open(&disk.unplugged(0)).0);
}
