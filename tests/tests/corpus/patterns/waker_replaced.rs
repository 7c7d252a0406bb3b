//! A slot for one waker serves two tasks: the second one's replaces the first one's, which is
//! dropped without having been woken.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::task::AtomicWaker;
use taskleak_profile::snapshot::Wait;
use tokio::sync::Notify;

use crate::load::{goes_wrong, requests, work};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "lost waker: replaced",
    source: "design",
    leaky,
    fixed,
    function: "waker_replaced::load_once",
    waits: &[Wait::Nothing],
};

fn leaky() -> Program {
    Box::pin(requests(load_once))
}

/// Loads a value that one task waits for; or two, and that goes wrong.
async fn load_once(n: u64) {
    let loaded = Arc::new(Loaded::default());
    let waiters = if goes_wrong(n) { 2 } else { 1 };
    for _ in 0..waiters {
        tokio::spawn(wait_in_slot(Arc::clone(&loaded)));
    }
    work().await;
    loaded.is_loaded.store(true, Ordering::Release);
    loaded.waiter.wake();
}

#[derive(Default)]
struct Loaded {
    is_loaded: AtomicBool,
    waiter: AtomicWaker,
}

async fn wait_in_slot(loaded: Arc<Loaded>) {
    poll_fn(|context| {
        loaded.waiter.register(context.waker());
        match loaded.is_loaded.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

fn fixed() -> Program {
    Box::pin(requests(load))
}

async fn load(n: u64) {
    let loaded = Arc::new(Notify::new());
    let waiters = if goes_wrong(n) { 2 } else { 1 };
    for _ in 0..waiters {
        tokio::spawn(wait_in_line(Arc::clone(&loaded)));
    }
    work().await;
    loaded.notify_waiters();
}

async fn wait_in_line(loaded: Arc<Notify>) {
    loaded.notified().await;
}
