//! The timeout of a test: a thread that takes the profile of its tasks when the time is over.
//!
//! It takes it before it wakes the test, while the test's body still waits: then the page shows
//! where. A test that does not end then blocks its thread, in its body or where its runtime waits
//! for a thread of the blocking pool, and nothing can end that but the process.

use std::process;
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::mode::tell_aloud;

/// So long a test may take to end at the alarm, on a machine that is busy with others.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Switched off when it is dropped.
pub(super) struct Alarm {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Default)]
struct Now {
    /// Wakes the test's body.
    waker: Option<Waker>,
    page: Option<String>,
    /// The test has ended, and its runtime.
    is_over: bool,
}

impl Alarm {
    /// Rings `after` so long, with the page that `page` makes.
    pub(super) fn set(
        after: Duration,
        page: impl FnOnce() -> String + Send + 'static,
    ) -> std::io::Result<Alarm> {
        let state = Arc::new(State::default());
        let its = Arc::clone(&state);
        let ring = move || {
            if its.is_over_within(after) {
                return;
            }
            let page = page();
            its.ring(page.clone());
            if !its.is_over_within(ENDS_WITHIN) {
                tell_aloud(&format!(
                    "taskleak: {page}\ntaskleak: the test's thread blocks, so the process ends here"
                ));
                process::abort();
            }
        };
        thread::Builder::new()
            .name("taskleak-alarm".into())
            .spawn(ring)?;
        Ok(Alarm { state })
    }

    /// Whether it has rung; if not it wakes this waker when it does.
    pub(super) fn has_rung(&self, waker: &Waker) -> bool {
        let mut now = self.state.now.lock();
        if now.page.is_none() {
            now.waker = Some(waker.clone());
        }
        now.page.is_some()
    }

    /// The page, if it has rung.
    pub(super) fn page(&self) -> Option<String> {
        self.state.now.lock().page.clone()
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.state.now.lock().is_over = true;
        self.state.changed.notify_all();
    }
}

impl State {
    fn is_over_within(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut now = self.now.lock();
        while !now.is_over {
            if self.changed.wait_until(&mut now, until).timed_out() {
                break;
            }
        }
        now.is_over
    }

    fn ring(&self, page: String) {
        let mut now = self.now.lock();
        now.page = Some(page);
        let waker = now.waker.take();
        drop(now);
        waker.inspect(Waker::wake_by_ref);
    }
}
