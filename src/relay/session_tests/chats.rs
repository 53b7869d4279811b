//! Chats: who may join one, who meets whom, what is told and kept of it.

use super::super::super::chat::Chat;
use super::super::super::command::Introduction;
use super::super::super::room::Denied;
use super::*;
use crate::model::SiteRights;
use serde_json::Value;

impl House {
    fn chat(&self) -> Chat {
        Chat::AtDevice(node_id(2), user_id("bob"))
    }

    /// Both ends of a chat of bob with the person at the device, past the `c`.
    async fn talk(&self) -> (Peer, Peer) {
        let id = self.chat().encoded();
        let mut bob = self.connect(&format!("id={id}&auth={}", self.auth("bob")));
        let token = self.room.call_to_chat(&self.chat()).unwrap();
        let answered = self.room.answer_call(&self.chat(), &token).unwrap();
        let mut there = self.connect(&format!("id={id}&rauth={}", answered.pass));
        for peer in [&mut bob, &mut there] {
            assert_eq!(peer.next().await.map(|(opcode, _)| opcode), Some(0x81));
        }
        (bob, there)
    }
}

#[test]
fn the_person_at_a_device_and_an_account_talk() {
    let house = House::new(Rights::CHAT);
    house.tell(async || {
        let (mut bob, mut there) = house.talk().await;
        bob.send(Opcode::Text, br#"{"action":"chat","msg":"hello"}"#).await;
        there.expect(Opcode::Text, br#"{"action":"chat","msg":"hello"}"#).await;
        there.send(Opcode::Text, br#"{"action":"outtext","value":true}"#).await;
        bob.expect(Opcode::Text, br#"{"action":"outtext","value":true}"#).await;
        let tunnels = house.world.hub.tunnels.all();
        assert_eq!(tunnels[0].purpose.protocol, 200);
        drop(there);
        bob.is_closed().await;
        drop(bob);
        house.is_empty().await;
        let query = crate::store::EventQuery { limit: 10, ..Default::default() };
        let told = house.world.hub.store.events(query).await;
        let [end, start] = [0, 1].map(|n| &told[n].event);
        assert_eq!((&start.body["msgid"], &end.body["msgid"]), (&json!(162), &json!(112)));
        let text = start.body["msg"].as_str().unwrap();
        assert!(text.starts_with("Started messenger session \"meshmessenger/node//"), "{text}");
        assert_eq!(start.node, Some(node_id(2)));
    });
}

#[test]
fn nobody_joins_a_chat_that_is_not_his() {
    let house = House::new(Rights::CHAT);
    let id = house.chat().encoded();
    let answered = |token: &str| house.room.answer_call(&house.chat(), token);
    let pass = |chat: &Chat| {
        house.world.set_link("eve", LinkTarget::Device(node_id(2)), Some(Rights::CHAT));
        let token = house.room.call_to_chat(chat).unwrap();
        house.room.answer_call(chat, &token).unwrap().pass
    };
    let eves = Chat::AtDevice(node_id(2), user_id("eve"));
    let narrow = |more: Value| {
        let mut fields = json!({"userid": "user//bob", "domainid": ""});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        house.seal(fields)
    };
    let cases = [
        format!("id={id}"),
        format!("id={id}&auth={}", house.auth("eve")),
        format!("id={id}&rauth={}", pass(&eves)),
        // That of a session is for no chat, and who knows a secret of bob's session is no device.
        format!("id={id}&rauth={}", house.pass("bob", &house.chat().to_string(), Speech::Session)),
        format!("id={id}&rauth={}", house.seal(json!({"ruserid": "user//bob", "x": "y"}))),
        format!("id={id}&auth={}", narrow(json!({"nodeid": node_id(2).to_string()}))),
        format!("id={id}&auth={}", narrow(json!({"pid": "x"}))),
        format!("id={id}&auth={}", narrow(json!({"chat": eves.to_string()}))),
        format!("id=meshmessenger/user%2F%2Feve/user%2F%2Fbob&auth={}", house.auth("admin")),
        format!("id=meshmessenger/user%2F%2Fbob/user%2F%2Fnobody&auth={}", house.auth("bob")),
        format!("id=meshmessenger/{}/user%2F%2Fbob&auth={}", node_id(9), house.auth("bob")),
        // Nor is the cookie of a chat good for anything else.
        format!("id=a&auth={}", narrow(json!({"chat": house.chat().to_string()}))),
    ];
    house.tell(async || {
        for query in &cases {
            assert_eq!(house.connect(query).next().await, Some((0x88, vec![])), "{query}");
        }
        house.is_empty().await;
    });
    let token = house.room.call_to_chat(&house.chat()).unwrap();
    house.bob_may(Rights::REMOTE_CONTROL);
    assert!(answered(&token).is_none(), "who may not talk cannot be answered");
    let fields = serde_json::Map::new();
    let (user, device) = (
        house.world.hub.store.user(&user_id("bob")).unwrap(),
        house.world.hub.store.device(&node_id(2)).unwrap(),
    );
    let introduction = Introduction {
        user: &user,
        device: &device,
        rights: Rights::FULL,
        remote: "127.0.0.1".parse().unwrap(),
        session: None,
        guest: None,
    };
    let value = format!("*/meshrelay.ashx?p=1&id={id}&rauth=x");
    let asked = house.room.ask_for(&introduction, &value, &fields);
    assert_eq!(asked, Err(Denied::Refused), "an agent is sent into no chat");
}

#[test]
fn who_may_not_talk_any_more_does_not() {
    let losses: [fn(&House); 3] = [
        |house| house.bob_may(Rights::REMOTE_CONTROL),
        |house| drop(house.world.hub.store.remove(RecordKey::User(user_id("bob")))),
        |house| drop(house.world.hub.store.remove(RecordKey::Device(node_id(2)))),
    ];
    for lose in losses {
        let house = House::new(Rights::CHAT);
        house.tell(async || {
            let (mut bob, mut there) = house.talk().await;
            lose(&house);
            bob.is_closed().await;
            there.is_closed().await;
            drop((bob, there));
            house.is_empty().await;
        });
    }
}

#[test]
fn two_accounts_talk_until_one_of_them_may_not_log_in() {
    for locked in ["bob", "eve"] {
        let house = House::new(Rights::empty());
        let id = "meshmessenger/user%2F%2Fbob/user%2F%2Feve";
        house.tell(async || {
            let only = house.seal(json!({"userid": "user//eve", "domainid": "",
                "chat": "meshmessenger/user//bob/user//eve", "once": "0123456789abcdef"}));
            let mut gone = house.connect(&format!("id={id}&auth={}", house.auth("bob")));
            let mut bob = house.connect(&format!("id={id}&auth={}", house.auth("bob")));
            gone.is_closed().await;
            let mut eve = house.connect(&format!("id={id}&auth={only}"));
            bob.expect(Opcode::Text, b"c").await;
            eve.expect(Opcode::Text, b"c").await;
            eve.send(Opcode::Text, b"{}").await;
            bob.expect(Opcode::Text, b"{}").await;
            let user = (*house.world.hub.store.user(&user_id(locked)).unwrap()).clone();
            let site = SiteRights::LOCKED;
            house.world.hub.store.put(crate::model::User { site, ..user }).later();
            bob.is_closed().await;
            eve.is_closed().await;
            drop((bob, eve, gone));
            house.is_empty().await;
        });
    }
}

#[test]
fn who_waits_in_a_chat_and_leaves_leaves_nothing() {
    let house = House::new(Rights::CHAT);
    house.tell(async || {
        let id = house.chat().encoded();
        let bob = house.connect(&format!("id={id}&auth={}", house.auth("bob")));
        while house.room.is_empty() {
            futures_lite::future::yield_now().await;
        }
        drop(bob);
        house.is_empty().await;
    });
}

#[test]
fn a_chat_that_is_recorded_leaves_lines_to_read() {
    let (house, data) = recording_house(crate::config::Recording::default());
    house.tell(async || {
        let (mut bob, mut there) = house.talk().await;
        bob.send(Opcode::Text, br#"{"action":"chat","msg":"is it slow?"}"#).await;
        there.next().await.unwrap();
        there.send(Opcode::Text, br#"{"action":"chat","msg":"it is"}"#).await;
        bob.next().await.unwrap();
        drop((bob, there));
        house.is_empty().await;
        let folder = data.path().join("recordings");
        loop {
            futures_lite::future::yield_now().await;
            let file = std::fs::read_dir(&folder).unwrap().flatten().next().unwrap();
            let name = file.file_name().into_string().unwrap();
            assert!(name.ends_with("-bob-vm-Messenger.txt"), "{name}");
            let text = std::fs::read_to_string(file.path()).unwrap();
            if text.contains("<<<END>>>") {
                assert!(text.contains(", --> is it slow?\r\n"), "{text}");
                assert!(text.contains(", <-- it is\r\n"), "{text}");
                break;
            }
        }
    });
}
