//! Waiting for tasks to end: they need a moment after the test that made them is over.
//!
//! The rules:
//! 1. It takes no longer than it must: who has no task left does not wait at all.
//! 2. It needs no timer of the runtime, which may have none, or one whose clock is paused: a thread
//!    wakes the one who waits. Under a paused clock tasks' own timers fire as soon as nothing else
//!    is to be done, as tokio has it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// So often the runtime goes round before a thread is started: enough for what is ready to run.
const ROUNDS: u32 = 32;

/// The pauses between looks: twice as long each time up to the second of these; then a part of what
/// was waited for so far, up to the last. A look costs some microseconds for each thousand tasks.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONG_PAUSE: Duration = Duration::from_millis(5);
const PART: u32 = 50;
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Waits until `is_done`, for as long as `limit` at most.
pub(super) fn settled<F: FnMut() -> bool + Unpin>(limit: Duration, is_done: F) -> Settled<F> {
    Settled {
        is_done,
        limit,
        rounds: 0,
        pulse: None,
    }
}

pub(super) struct Settled<F> {
    is_done: F,
    limit: Duration,
    rounds: u32,
    pulse: Option<Pulse>,
}

impl<F: FnMut() -> bool + Unpin> Future for Settled<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if (this.is_done)() {
            return Poll::Ready(());
        }
        this.rounds += 1;
        if this.rounds <= ROUNDS {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let limit = this.limit;
        let pulse = this.pulse.get_or_insert_with(|| Pulse::start(limit));
        match pulse.is_over() {
            true => Poll::Ready(()),
            false => {
                pulse.wake_next(cx.waker());
                Poll::Pending
            }
        }
    }
}

/// A thread that wakes a future now and then, until it is dropped or the time is over.
struct Pulse {
    beat: Arc<Beat>,
}

#[derive(Default)]
struct Beat {
    waker: Mutex<Option<Waker>>,
    is_over: AtomicBool,
}

impl Pulse {
    fn start(limit: Duration) -> Pulse {
        let beat = Arc::new(Beat::default());
        let its = Arc::clone(&beat);
        let run = move || {
            let start = Instant::now();
            let until = start + limit;
            let mut pause = FIRST_PAUSE;
            // The pulse holds the other one.
            while Arc::strong_count(&its) > 1 {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    its.is_over.store(true, Ordering::Release);
                }
                its.wake();
                if left.is_zero() {
                    return;
                }
                thread::sleep(pause.min(left));
                let most = (start.elapsed() / PART).clamp(LONG_PAUSE, LONGEST_PAUSE);
                pause = most.min(pause * 2);
            }
        };
        let thread = thread::Builder::new().name("taskleak-settle".into());
        if thread.spawn(run).is_err() {
            beat.is_over.store(true, Ordering::Release);
        }
        Pulse { beat }
    }

    fn is_over(&self) -> bool {
        self.beat.is_over.load(Ordering::Acquire)
    }

    fn wake_next(&self, waker: &Waker) {
        *self.beat.waker.lock() = Some(waker.clone());
        if self.is_over() {
            // It may have been the last beat.
            self.beat.wake();
        }
    }
}

impl Beat {
    fn wake(&self) {
        let waker = self.waker.lock().take();
        waker.inspect(Waker::wake_by_ref);
    }
}
