//! Messages on their way to the device, each of which leaves by itself: stock clients read one
//! message per TLS record or WebSocket frame and lose what comes behind it.

use std::collections::VecDeque;

use super::wire::Message;

/// Messages in order. An empty one owns no memory.
#[derive(Default)]
pub struct Outbox {
    bytes: VecDeque<u8>,
    /// Length of each message; of the first, what is left of it.
    lengths: VecDeque<u32>,
}

impl Outbox {
    /// Adds a message.
    pub fn push(&mut self, message: &Message) {
        self.push_with(message, |_| {});
    }

    /// Adds a message whose payload `append` writes behind its head.
    pub fn push_with(&mut self, message: &Message, append: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = message.to_bytes();
        append(&mut bytes);
        self.lengths.push_back(bytes.len() as u32);
        self.bytes.extend(bytes);
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is left of the first message.
    pub fn first(&mut self) -> Option<&[u8]> {
        let length = usize::try_from(*self.lengths.front()?).ok()?;
        self.bytes.make_contiguous().get(..length)
    }

    /// `count` bytes of the first message have left.
    pub fn sent(&mut self, count: usize) {
        let Some(length) = self.lengths.front_mut() else { return };
        let count = count.min(usize::try_from(*length).unwrap_or(usize::MAX));
        *length -= count as u32;
        if *length == 0 {
            self.lengths.pop_front();
        }
        self.bytes.drain(..count.min(self.bytes.len()));
        if self.bytes.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_leave_one_by_one_whatever_the_transport_takes() {
        let mut outbox = Outbox::default();
        let messages: Vec<_> = (0..4).map(|cookie| Message::KeepAliveReply { cookie }).collect();
        messages.iter().for_each(|message| outbox.push(message));
        outbox.push_with(&Message::Data { recipient: 1, length: 3 }, |out| out.extend(b"abc"));
        for message in &messages {
            assert_eq!(outbox.first(), Some(&*message.to_bytes()));
            outbox.sent(2);
            assert_eq!(outbox.first(), message.to_bytes().get(2..));
            outbox.sent(3);
        }
        assert_eq!(outbox.first().map(<[u8]>::len), Some(12));
        outbox.sent(100);
        assert!(outbox.is_empty() && outbox.first().is_none());
        assert_eq!((outbox.bytes.capacity(), outbox.lengths.capacity()), (0, 0));
    }
}
