//! Whose turn it is: all tunnels together move so much, then everybody else is looked after.
//!
//! The executor runs what is ready in its order and looks for news of sockets when nothing is. Two
//! hundred tunnels at full speed would keep it from both for as long as all their turns take: an
//! agent's ping would wait for 200 times 0.4 MB. So tunnels draw on an allowance. When it is used
//! up they queue, and get on in their order after the reactor has been asked and all that it woke
//! has been put before them. How long an agent waits is then [`ALLOWANCE`] and one tunnel's turn,
//! about two milliseconds on a desktop, however many tunnels there are; a tunnel that has nothing
//! to move is in no queue and costs nothing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::Timer;
use futures_lite::FutureExt as _;

/// Bytes all tunnels together move between two looks at everybody else.
pub const ALLOWANCE: usize = 1 << 20;

/// The allowance of all tunnels of a server, and who waits for it.
pub struct Turns {
    spent: Cell<usize>,
    queue: RefCell<VecDeque<Weak<Waiting>>>,
    /// Whether [`Self::hand_out`] runs.
    handing_out: Cell<bool>,
    executor: Rc<LocalExecutor<'static>>,
}

struct Waiting {
    is_next: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// A tunnel's place in the queue. Of one that does not wait it is empty.
#[derive(Default)]
pub struct Ticket(Option<Rc<Waiting>>);

impl Turns {
    /// An allowance that nobody has used. `executor` runs what hands it out again.
    pub fn new(executor: Rc<LocalExecutor<'static>>) -> Rc<Self> {
        let (spent, handing_out) = (Cell::new(0), Cell::new(false));
        Rc::new(Self { spent, queue: RefCell::default(), handing_out, executor })
    }

    /// Whether whoever holds `ticket` may move something now. Who waits is woken in its turn.
    pub fn poll_begin(self: &Rc<Self>, ticket: &mut Ticket, cx: &Context<'_>) -> Poll<()> {
        if let Some(waiting) = &ticket.0 {
            if waiting.is_next.get() {
                ticket.0 = None;
                return Poll::Ready(());
            }
            waiting.waker.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        if self.spent.get() < ALLOWANCE && self.queue.borrow().is_empty() {
            return Poll::Ready(());
        }
        let waiting =
            Waiting { is_next: Cell::new(false), waker: Cell::new(Some(cx.waker().clone())) };
        let waiting = Rc::new(waiting);
        self.queue.borrow_mut().push_back(Rc::downgrade(&waiting));
        ticket.0 = Some(waiting);
        if !self.handing_out.replace(true) {
            let turns = self.clone();
            self.executor.spawn(async move { turns.hand_out().await }.boxed_local()).detach();
        }
        Poll::Pending
    }

    /// So much was moved.
    pub fn spend(&self, bytes: usize) {
        self.spent.set(self.spent.get().saturating_add(bytes));
    }

    /// Hands the allowance out anew until nobody waits.
    async fn hand_out(&self) {
        loop {
            // A timer is due when the reactor is asked, and that asks for news of sockets as well.
            Timer::after(Duration::ZERO).await;
            self.spent.set(0);
            // One at a time, until together they have moved enough: each runs behind what was woken
            // before it, and is followed by the next.
            while self.spent.get() < ALLOWANCE {
                let next = self.queue.borrow_mut().pop_front();
                let Some(next) = next else { return self.handing_out.set(false) };
                let Some(next) = next.upgrade() else { continue };
                next.is_next.set(true);
                if let Some(waker) = next.waker.take() {
                    waker.wake();
                }
                futures_lite::future::yield_now().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn, yield_now};

    /// What a tunnel moves in a turn.
    const TURN: usize = 384 << 10;

    /// A tunnel that has always something to move; it counts its turns, and all that is moved.
    async fn tunnel(turns: Rc<Turns>, own: Rc<Cell<u32>>, all: Rc<Cell<usize>>) {
        let mut ticket = Ticket::default();
        loop {
            poll_fn(|cx| turns.poll_begin(&mut ticket, cx)).await;
            turns.spend(TURN);
            all.set(all.get() + TURN);
            own.set(own.get() + 1);
            yield_now().await;
        }
    }

    /// Tunnels, their turns so far, and what they have moved together.
    struct Busy {
        executor: Rc<LocalExecutor<'static>>,
        own: Vec<Rc<Cell<u32>>>,
        moved: Rc<Cell<usize>>,
    }

    fn busy(count: usize) -> Busy {
        let executor = Rc::<LocalExecutor<'_>>::default();
        let turns = Turns::new(executor.clone());
        let moved = Rc::new(Cell::new(0));
        let own: Vec<Rc<Cell<u32>>> = (0..count).map(|_| Rc::default()).collect();
        for own in &own {
            let tunnel = tunnel(turns.clone(), own.clone(), moved.clone());
            executor.spawn(tunnel).detach();
        }
        Busy { executor, own, moved }
    }

    #[test]
    fn between_two_looks_at_an_idle_agent_little_is_moved_however_many_tunnels_there_are() {
        for count in [1, 4, 200] {
            let Busy { executor, own, moved } = busy(count);
            let agent = async {
                for _ in 0..300 {
                    let before = moved.get();
                    // A message of the agent: the reactor tells of it.
                    Timer::after(Duration::ZERO).await;
                    let waited = moved.get() - before;
                    assert!(waited <= 2 * (ALLOWANCE + TURN), "{waited} bytes, {count} tunnels");
                }
                while own.iter().any(|own| own.get() < 3) {
                    yield_now().await;
                }
            };
            block_on(executor.run(agent));
            let turns = own.iter().map(|own| own.get());
            let (least, most) = (turns.clone().min().unwrap(), turns.max().unwrap());
            assert!(most - least <= 4, "everybody has its turn: {least} to {most}");
        }
    }

    #[test]
    fn who_gives_up_its_place_keeps_nobody_waiting() {
        let executor = Rc::<LocalExecutor<'_>>::default();
        let turns = Turns::new(executor.clone());
        block_on(executor.run(async {
            turns.spend(ALLOWANCE);
            let mut tickets = [Ticket::default(), Ticket::default()];
            let [gone, stays] = &mut tickets;
            poll_fn(|cx| {
                assert!(turns.poll_begin(gone, cx).is_pending());
                assert!(turns.poll_begin(stays, cx).is_pending());
                Poll::Ready(())
            })
            .await;
            *gone = Ticket::default();
            poll_fn(|cx| turns.poll_begin(stays, cx)).await;
            while !executor.is_empty() {
                yield_now().await;
            }
            let mut another = Ticket::default();
            poll_fn(|cx| turns.poll_begin(&mut another, cx)).await;
        }));
    }
}
