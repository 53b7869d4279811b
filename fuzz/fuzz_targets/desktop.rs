//! Any bytes as messages of an agent and of viewers of its desktop: behind a byte that says who
//! speaks and a length, as many as there are. Nothing breaks, and what is kept stays within bounds.

#![no_main]

use std::time::Instant;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use meshboard::model::{DomainId, Millis, UserId};
use meshboard::relay::desktop::{Input, Message, Multiplexer, Setup, Watcher, picture, wire};

fuzz_target!(|input: &[u8]| {
    let now = Instant::now();
    let mut mux = Multiplexer::new(Setup::default());
    let user = UserId::new(DomainId::default(), "ann").expect("a name");
    let watcher = Watcher { user, guest: None };
    let join = |mux: &mut Multiplexer, input| mux.join(watcher.clone(), input, 0, now);
    let viewers = [Input::Full, Input::Limited, Input::Nothing].map(|input| {
        let id = join(&mut mux, input).expect("there is room");
        mux.receive_viewer(id, &Message::Text(Bytes::from_static(b"2")), now);
        id
    });
    mux.agent_connected(now, Millis(0));
    let mut rest = input;
    while let Some((&[who, high, low], tail)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(tail.len());
        let (message, tail) = tail.split_at(len);
        rest = tail;
        let whole: usize = wire::commands(message).map(|command| command.bytes.len()).sum();
        assert!(whole <= message.len());
        let _ = picture::size(message);
        let bytes = Bytes::copy_from_slice(message);
        let message = if who & 0x80 == 0 { Message::Binary(bytes) } else { Message::Text(bytes) };
        match viewers.get(usize::from(who & 0x7f) % 4) {
            Some(id) => mux.receive_viewer(*id, &message, now),
            None => mux.receive_agent(message),
        }
        while mux.next_effect().is_some() {}
    }
    for id in viewers {
        while mux.next_for(id, now).is_some() {}
    }
    let kept: usize = mux.snapshot().iter().map(|message| message.bytes().len()).sum();
    assert!(kept <= input.len());
});
