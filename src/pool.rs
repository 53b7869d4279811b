//! The blocking pool: where everything runs that takes more than about a millisecond.
//!
//! `blocking` makes 3 KB of program for each kind of work it is given. So all work is of one kind
//! here; who waits for it knows what comes of it.

use std::any::Any;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use blocking::Task;

type Work = Box<dyn FnOnce() -> Done + Send>;
type Done = Box<dyn Any + Send>;

/// Work in the pool; yields what it returns. Dropping this takes back what has not begun.
///
/// # Panics
/// When polled, if the work did.
#[must_use = "dropping this takes back what has not begun"]
pub struct Outcome<T> {
    task: Task<Done>,
    of: PhantomData<fn() -> T>,
}

/// Has the pool do `work`, whether or not what is returned is polled.
#[allow(clippy::disallowed_methods, reason = "everybody else comes here")]
pub fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Outcome<T> {
    let work: Work = Box::new(move || Box::new(work()));
    Outcome { task: blocking::unblock(work), of: PhantomData }
}

impl<T: 'static> Future for Outcome<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.task).poll(cx)).downcast() {
            Ok(done) => Poll::Ready(*done),
            Err(_) => unreachable!("the work returns a `T`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    #[test]
    fn who_waits_gets_what_the_work_returns() {
        let (text, number) = (unblock(|| "done".to_owned()), unblock(|| 7_u8));
        assert_eq!((block_on(number), block_on(text)), (7, "done".to_owned()));
    }

    #[test]
    fn a_panic_of_the_work_comes_to_who_waits() {
        let work = unblock(|| -> u8 { panic!("of the work") });
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| block_on(work)));
        assert_eq!(waited.unwrap_err().downcast_ref(), Some(&"of the work"));
    }
}
