//! A slot for one waker serves two tasks: the second one's replaces the first one's, which is
//! dropped without having been woken.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

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
    function: "waker_replaced::Value::poll_loaded",
    waits: &[Wait::Nothing],
};

fn leaky() -> Program {
    Box::pin(requests(load_once))
}

/// Loads a value that one task waits for; or two, and that goes wrong.
async fn load_once(n: u64) {
    let value = Arc::new(Value::default());
    tokio::spawn(use_value(Arc::clone(&value)));
    work().await;
    if goes_wrong(n) {
        tokio::spawn(use_value(Arc::clone(&value)));
        work().await;
    }
    value.is_loaded.store(true, Ordering::Release);
    value.waiter.wake();
}

#[derive(Default)]
struct Value {
    is_loaded: AtomicBool,
    waiter: AtomicWaker,
}

impl Value {
    fn poll_loaded(&self, context: &Context<'_>) -> Poll<()> {
        self.waiter.register(context.waker());
        match self.is_loaded.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

async fn use_value(value: Arc<Value>) {
    poll_fn(|context| value.poll_loaded(context)).await;
    work().await;
}

fn fixed() -> Program {
    Box::pin(requests(load))
}

async fn load(n: u64) {
    let loaded = Arc::new(Notify::new());
    tokio::spawn(use_loaded(Arc::clone(&loaded)));
    work().await;
    if goes_wrong(n) {
        tokio::spawn(use_loaded(Arc::clone(&loaded)));
        work().await;
    }
    loaded.notify_waiters();
}

async fn use_loaded(loaded: Arc<Notify>) {
    loaded.notified().await;
    work().await;
}
