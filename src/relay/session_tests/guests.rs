//! Guests: how long a share holds, and what the cookies of its page are good for.

use super::*;
use crate::model::{DomainId, Share};

#[test]
fn what_ends_a_share_ends_its_sessions() {
    let day = 24 * 3_600_000;
    type Ending = fn(&House, Share);
    let endings: [(&str, Ending); 4] = [
        ("its end is moved before now", |house, share| {
            house.world.hub.store.put(Share { expires: Some(Millis(1)), ..share }).later();
        }),
        ("its day's time is over", |house, share| {
            let start = Some(Millis(house.world.hub.now().0 - 120_000));
            house.world.hub.store.put(Share { start, ..share }).later();
        }),
        ("who made it may not do it himself any more", |house, _| {
            house.bob_may(Rights::CHAT);
        }),
        ("guests are forbidden", |house, _| {
            let mut config = (*house.world.hub.config()).clone();
            let domain = config.domains.entry(DomainId::default()).or_default();
            domain.guest_sharing = crate::config::GuestSharing::Forbidden;
            house.world.hub.set_config(config);
        }),
    ];
    for (what, end) in endings {
        let house = House::new(Rights::FULL);
        let start = Millis(house.world.hub.now().0 - 5 * day);
        let cookie = house.share(|share| {
            (share.start, share.duration, share.recurring) = (Some(start), Some(1), Some(1));
        });
        house.tell(async || {
            let (mut viewer, agent) = house.guest(&cookie).await;
            end(&house, (*house.world.hub.store.share("abcdefghijkl").unwrap()).clone());
            assert_eq!(viewer.next().await, Some((0x88, vec![])), "{what}");
            drop((viewer, agent));
            house.is_empty().await;
        });
    }
}

#[test]
fn a_cookie_of_our_page_opens_one_session_of_its_protocol_on_its_device() {
    let house = House::new(Rights::FULL);
    house.share(|_| {});
    let cookie = |once: &str, protocol: u16, node: u8| {
        house.seal(json!({"userid": "user//bob", "domainid": "", "pid": "abcdefghijkl",
            "nid": node_id(node).to_string(), "for": protocol, "once": once}))
    };
    house.tell(async || {
        let refused = async |cookie: &str| {
            house.connect(&format!("browser=1&p=2&id=a&auth={cookie}")).is_closed().await;
        };
        refused(&cookie("0123456789abcdea", 1, 2)).await;
        refused(&cookie("0123456789abcdeb", 2, 3)).await;
        let good = cookie("0123456789abcdef", 2, 2);
        let (mut viewer, mut agent) = house.guest(&good).await;
        viewer.send(Opcode::Text, b"2").await;
        agent.expect(Opcode::Text, b"2").await;
        drop((viewer, agent));
        house.is_empty().await;
        refused(&good).await;
    });
}
