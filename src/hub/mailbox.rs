//! A bounded queue with one reader, for the loops that own a socket.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// How much of a mailbox's budget an item takes, in bytes.
pub trait Weight {
    /// Bytes this item keeps in memory; shared data counts as nothing.
    fn weight(&self) -> usize;
}

/// The reader is too slow: the item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A queue bounded by the weight of what is in it. One reader, one thread. An empty mailbox owns
/// no heap memory once its reader has emptied it.
pub struct Mailbox<T> {
    inner: RefCell<Inner<T>>,
    budget: usize,
}

struct Inner<T> {
    queue: VecDeque<T>,
    weight: usize,
    closed: bool,
    reader: Option<Waker>,
}

impl<T: Weight> Mailbox<T> {
    /// A mailbox that holds items of together at most `budget` bytes; a single heavier item is
    /// taken when the mailbox is empty.
    pub fn new(budget: usize) -> Self {
        let inner = Inner { queue: VecDeque::new(), weight: 0, closed: false, reader: None };
        Self { inner: RefCell::new(inner), budget }
    }

    /// Adds an item and wakes the reader. A closed mailbox drops it silently.
    pub fn push(&self, item: T) -> Result<(), Full> {
        let mut inner = self.inner.borrow_mut();
        if inner.closed {
            return Ok(());
        }
        let weight = item.weight();
        if !inner.queue.is_empty() && inner.weight + weight > self.budget {
            return Err(Full);
        }
        inner.weight += weight;
        inner.queue.push_back(item);
        wake(inner);
        Ok(())
    }

    /// Refuses further items; the reader still gets what is queued, then `None`.
    pub fn close(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.closed = true;
        wake(inner);
    }

    /// True once [`Self::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.inner.borrow().closed
    }

    /// The next item; `None` when closed and empty.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut inner = self.inner.borrow_mut();
        if let Some(item) = inner.queue.pop_front() {
            inner.weight -= item.weight();
            if inner.queue.is_empty() {
                inner.queue = VecDeque::new();
            }
            return Poll::Ready(Some(item));
        }
        if inner.closed {
            return Poll::Ready(None);
        }
        inner.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Wakes the reader after the borrow has ended: waking may run code that pushes again.
fn wake<T>(mut inner: std::cell::RefMut<'_, Inner<T>>) {
    let reader = inner.reader.take();
    drop(inner);
    if let Some(reader) = reader {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn};

    impl Weight for usize {
        fn weight(&self) -> usize {
            *self
        }
    }

    #[test]
    fn a_full_mailbox_refuses_and_recovers() {
        let mailbox = Mailbox::new(10);
        assert_eq!(mailbox.push(25usize), Ok(()), "a single heavy item passes");
        assert_eq!(mailbox.push(1), Err(Full));
        assert_eq!(block_on(poll_fn(|cx| mailbox.poll_next(cx))), Some(25));
        assert_eq!(mailbox.push(6), Ok(()));
        assert_eq!(mailbox.push(5), Err(Full));
        mailbox.close();
        assert_eq!(block_on(poll_fn(|cx| mailbox.poll_next(cx))), Some(6));
        assert_eq!(block_on(poll_fn(|cx| mailbox.poll_next(cx))), None);
    }
}
