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
//! 2. It is asked when an event is on its way that some other subscriber wants, but a few times
//!    only for each subscriber or callsite that is made (`tracing` then asks all subscribers about
//!    it). A global subscriber is set right after it was made, and never again.
//!
//! It can't forward `downcast_raw`, which a `Dispatch` does not have: in a test whose subscriber is
//! tracing-opentelemetry's, `Span::context` finds nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, NoSubscriber};
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_core::span::Current;

use crate::in_force;

/// So often it is asked after a change. Others' events may come in between.
const ASKS: u32 = 8;

/// Forwards to one subscriber: one that is given, or the global one, from when it is set.
pub(super) struct Forward {
    /// `None` once it is known that the global one is a detector's, which wants nothing forwarded.
    to: OnceLock<Option<Dispatch>>,
    /// So often it may still be asked for.
    asks: AtomicU32,
}

impl Forward {
    /// Forwards to the global subscriber.
    pub(super) fn to_global() -> Forward {
        Forward {
            to: OnceLock::new(),
            asks: AtomicU32::new(ASKS),
        }
    }

    /// Forwards to this one.
    pub(super) fn to(subscriber: Dispatch) -> Forward {
        Forward {
            to: OnceLock::from(Some(subscriber)),
            asks: AtomicU32::new(0),
        }
    }

    /// The one that it is known to forward to.
    fn known(&self) -> Option<&Dispatch> {
        self.to.get()?.as_ref()
    }

    fn target(&self) -> Option<&Dispatch> {
        if let Some(known) = self.to.get() {
            return known.as_ref();
        }
        let one_less = |asks: u32| asks.checked_sub(1);
        let asks = &self.asks;
        asks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .ok()?;
        let global = global().filter(|global| !global.is::<NoSubscriber>())?;
        let is_a_tests = in_force::recorder_of(&global).is_none();
        self.to
            .get_or_init(|| is_a_tests.then_some(global))
            .as_ref()
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
        self.asks.store(ASKS, Ordering::Relaxed);
        // Where another subscriber wants it, `tracing` asks `enabled` each time.
        match self.known() {
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
        self.known().inspect(|to| to.record(span, values));
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.known()
            .inspect(|to| to.record_follows_from(span, follows));
    }

    fn event(&self, event: &Event<'_>) {
        // It asks `event_enabled` itself.
        self.target().inspect(|to| to.event(event));
    }

    fn enter(&self, span: &Id) {
        self.known().inspect(|to| to.enter(span));
    }

    fn exit(&self, span: &Id) {
        self.known().inspect(|to| to.exit(span));
    }

    fn clone_span(&self, id: &Id) -> Id {
        match self.known() {
            Some(to) => to.clone_span(id),
            None => id.clone(),
        }
    }

    fn try_close(&self, id: Id) -> bool {
        self.known().is_some_and(|to| to.try_close(id))
    }

    fn current_span(&self) -> Current {
        self.known()
            .map_or_else(Current::none, Dispatch::current_span)
    }
}
