//! A hand-written future keeps the waker of its first poll only, and moves to another task: the
//! event wakes the task that it was in before.
//!
//! github.com/Matthias247/futures-intrusive/issues/18, "GenericWaitForEventFuture doesn't handle
//! task migration.": "its waker will change but won't be updated internally".

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use taskleak_profile::snapshot::Wait;
use tokio::time::{sleep, timeout};

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "first waker",
    source: "github.com/Matthias247/futures-intrusive/issues/18",
    leaky,
    fixed,
    function: "first_waker::finish_with_first_waker",
    waits: &[Wait::Nothing],
};

/// How long a request waits for the event before it leaves the rest to a task.
const PATIENCE: Duration = Duration::from_millis(2);

fn leaky() -> Program {
    Box::pin(requests(|n| async move {
        let event = Arc::new(Mutex::new(Event::default()));
        if !goes_wrong(n) {
            set(&event);
        }
        let mut waiting = Waiting::new(&event, Keep::First);
        if timeout(PATIENCE, &mut waiting).await.is_err() {
            finish_with_first_waker(waiting);
        }
        sleep(PATIENCE).await;
        set(&event);
    }))
}

fn fixed() -> Program {
    Box::pin(requests(|n| async move {
        let event = Arc::new(Mutex::new(Event::default()));
        if !goes_wrong(n) {
            set(&event);
        }
        let mut waiting = Waiting::new(&event, Keep::Last);
        if timeout(PATIENCE, &mut waiting).await.is_err() {
            finish_with_last_waker(waiting);
        }
        sleep(PATIENCE).await;
        set(&event);
    }))
}

fn finish_with_first_waker(waiting: Waiting) {
    tokio::spawn(waiting);
}

fn finish_with_last_waker(waiting: Waiting) {
    tokio::spawn(waiting);
}

#[derive(Default)]
struct Event {
    is_set: bool,
    waker: Option<Waker>,
}

fn set(event: &Mutex<Event>) {
    let mut event = event.lock().unwrap();
    event.is_set = true;
    if let Some(waker) = event.waker.take() {
        waker.wake();
    }
}

struct Waiting {
    event: Arc<Mutex<Event>>,
    keep: Keep,
}

/// Which of the wakers that a future is polled with it keeps.
#[derive(Clone, Copy, PartialEq)]
enum Keep {
    First,
    Last,
}

impl Waiting {
    fn new(event: &Arc<Mutex<Event>>, keep: Keep) -> Self {
        Self {
            event: Arc::clone(event),
            keep,
        }
    }
}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut event = self.event.lock().unwrap();
        if event.is_set {
            return Poll::Ready(());
        }
        if event.waker.is_none() || self.keep == Keep::Last {
            event.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
