//! A hand-written future returns `Pending` and keeps no waker. It goes well as long as what it
//! waits for is there at the first poll.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use taskleak_profile::snapshot::Wait;

use crate::load::{goes_wrong, requests, work};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "lost waker: none is kept",
    source: "design",
    leaky,
    fixed,
    function: "no_waker_kept::hand_over_flag",
    waits: &[Wait::Nothing],
};

fn leaky() -> Program {
    Box::pin(requests(hand_over_flag))
}

async fn hand_over_flag(n: u64) {
    let flag = Arc::new(AtomicBool::new(!goes_wrong(n)));
    tokio::spawn(IsSet(Arc::clone(&flag)));
    work().await;
    flag.store(true, Ordering::Release);
}

struct IsSet(Arc<AtomicBool>);

impl Future for IsSet {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _nobody_is_woken: &mut Context<'_>) -> Poll<()> {
        match self.0.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

fn fixed() -> Program {
    Box::pin(requests(hand_over_signal))
}

async fn hand_over_signal(n: u64) {
    let signal = Arc::new(Signal::default());
    signal.is_set.store(!goes_wrong(n), Ordering::Release);
    tokio::spawn(IsSignalled(Arc::clone(&signal)));
    work().await;
    signal.is_set.store(true, Ordering::Release);
    signal.waiter.wake();
}

#[derive(Default)]
struct Signal {
    is_set: AtomicBool,
    waiter: AtomicWaker,
}

struct IsSignalled(Arc<Signal>);

impl Future for IsSignalled {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.waiter.register(context.waker());
        match self.0.is_set.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
