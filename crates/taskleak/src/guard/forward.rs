//! The subscriber inside the one that tests record with: it forwards to whatever the test's own
//! is.
//!
//! A test sets its subscriber when it likes: `fmt().try_init()` in its body, `test-log`,
//! `tracing-test`. They set the global one, once for the process, so the detector must not take
//! that place. It is in force on the threads of tests instead, where it comes before the global
//! one, and hands on all that is not of tasks.
//!
//! `tracing-core` (0.1.36, `dispatcher.rs`) does not say when a global subscriber is set, nor does
//! it show it to a thread that has one of its own. So:
//! 1. Another thread is asked, one that has none of its own.
//! 2. It is asked when an event is on its way that some other subscriber wants, and only for a
//!    while after a subscriber was made (it then asks all others about every callsite). A global
//!    one is set right after it was made, and never again.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, NoSubscriber};
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_core::span::Current;

use crate::in_force;

/// So long after a subscriber was made it may be set as the global one.
const MAY_BE_SET_FOR: Duration = Duration::from_millis(200);

/// Forwards to one subscriber: one that is given, or the global one, from when it is set.
pub(super) struct Forward {
    to: OnceLock<Dispatch>,
    start: Instant,
    /// When a subscriber or a callsite was last made, in milliseconds since `start`.
    changed_ms: AtomicU64,
}

impl Forward {
    /// Forwards to the global subscriber.
    pub(super) fn to_global() -> Forward {
        Forward {
            to: OnceLock::new(),
            start: Instant::now(),
            changed_ms: AtomicU64::new(0),
        }
    }

    /// Forwards to this one.
    pub(super) fn to(subscriber: Dispatch) -> Forward {
        Forward {
            to: OnceLock::from(subscriber),
            ..Forward::to_global()
        }
    }

    fn target(&self) -> Option<&Dispatch> {
        if let Some(known) = self.to.get() {
            return Some(known);
        }
        let since = self.now_ms() - self.changed_ms.load(Ordering::Relaxed);
        if since > MAY_BE_SET_FOR.as_millis() as u64 {
            return None;
        }
        let is_a_tests = |global: &Dispatch| {
            !global.is::<NoSubscriber>() && in_force::recorder_of(global).is_none()
        };
        let global = global().filter(is_a_tests)?;
        Some(self.to.get_or_init(|| global))
    }

    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

/// The global subscriber, which a thread without one of its own sees.
pub(super) fn global() -> Option<Dispatch> {
    let ask = || tracing::dispatcher::get_default(Dispatch::clone);
    thread::scope(|threads| {
        let thread = thread::Builder::new().name("taskleak-global".into());
        thread.spawn_scoped(threads, ask).ok()?.join().ok()
    })
}

impl Subscriber for Forward {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        self.changed_ms.store(self.now_ms(), Ordering::Relaxed);
        // Where another subscriber wants it, `tracing` asks `enabled` each time.
        match self.to.get() {
            Some(_) => Interest::sometimes(),
            None => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.target().is_some_and(|to| to.enabled(metadata))
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        match self.target() {
            Some(to) => to.new_span(attributes),
            None => NoSubscriber::new().new_span(attributes),
        }
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.to.get().inspect(|to| to.record(span, values));
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.to
            .get()
            .inspect(|to| to.record_follows_from(span, follows));
    }

    fn event(&self, event: &Event<'_>) {
        // It asks `event_enabled` itself.
        self.target().inspect(|to| to.event(event));
    }

    fn enter(&self, span: &Id) {
        self.to.get().inspect(|to| to.enter(span));
    }

    fn exit(&self, span: &Id) {
        self.to.get().inspect(|to| to.exit(span));
    }

    fn clone_span(&self, id: &Id) -> Id {
        match self.to.get() {
            Some(to) => to.clone_span(id),
            None => id.clone(),
        }
    }

    fn try_close(&self, id: Id) -> bool {
        self.to.get().is_some_and(|to| to.try_close(id))
    }

    fn current_span(&self) -> Current {
        self.to
            .get()
            .map_or_else(Current::none, Dispatch::current_span)
    }
}
