//! The detector that tests record with, and the threads on which it is in force.
//!
//! The rules:
//! 1. It is the subscriber of the threads that run tests and of those of their runtimes, not the
//!    global one: that place is the test's (`forward.rs`).
//! 2. A thread that polls one of its tasks joins in, whoever made it: the runtime of a library, or
//!    one that tests share. So what a recorded task spawns is recorded.
//! 3. A thread that has a subscriber of its own keeps it.
//! 4. Where a detector is in force already, as the program's own set-up brought it, tests record
//!    with that one.

use std::cell::Cell;
use std::mem;
use std::sync::{Arc, LazyLock};

use tracing::dispatcher::{self, DefaultGuard};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Subscriber};

use super::forward::{Forward, global};
use crate::recorder::Purpose;
use crate::subscriber::TaskSubscriber;
use crate::{Detector, in_force};

struct Harness {
    detector: Detector,
    subscriber: Dispatch,
    /// With one subscriber alone `tracing-core` asks that of the thread which comes upon a callsite
    /// first about it; on a thread without one, tokio's would be off for good.
    _second: Dispatch,
}

static HARNESS: LazyLock<Harness> = LazyLock::new(|| {
    let second = Dispatch::new(NoSubscriber::new());
    let detector = Detector::builder().detector_for(Purpose::Tests);
    Harness {
        subscriber: subscriber(&detector, Forward::to_global()),
        detector,
        _second: second,
    }
});

fn subscriber(detector: &Detector, forward: Forward) -> Dispatch {
    let recorder = Arc::clone(&detector.shared.recorder);
    Dispatch::new(TaskSubscriber::new(forward, recorder).entered_by(join_in))
}

/// A detector that is in force on this thread.
pub(super) struct InForce {
    pub(super) detector: Detector,
    pub(super) subscriber: Dispatch,
    /// If it is that for tests: until this is dropped.
    pub(super) until: Option<DefaultGuard>,
}

/// Brings a detector into force on this thread: that which is, else the one for tests.
pub(super) fn enter() -> InForce {
    if let Some(detector) = in_force::detector() {
        return InForce {
            detector,
            subscriber: dispatcher::get_default(Dispatch::clone),
            until: None,
        };
    }
    let subscriber = subscriber_here();
    InForce {
        detector: HARNESS.detector.clone(),
        until: Some(dispatcher::set_default(&subscriber)),
        subscriber,
    }
}

/// The same for good.
pub(super) fn stay() -> Detector {
    if let Some(detector) = in_force::detector() {
        return detector;
    }
    for_good(&subscriber_here());
    HARNESS.detector.clone()
}

/// That of the detector for tests; what is not of tasks goes on to the subscriber of this thread, if
/// it has one of its own.
fn subscriber_here() -> Dispatch {
    let own = dispatcher::get_default(|own| is_threads_own(own).then(|| own.clone()));
    match own {
        Some(own) => subscriber(&HARNESS.detector, Forward::to(own)),
        None => HARNESS.subscriber.clone(),
    }
}

/// The same subscriber, and what is spawned under it is recorded for tests: for a test that sets a
/// subscriber of its own for a thread, with `tracing::subscriber::set_default` or `with_default`.
///
/// ```
/// use tracing::subscriber::{NoSubscriber, with_default};
///
/// let subscriber = NoSubscriber::new(); // the test's own
/// with_default(taskleak::recording(subscriber), || { /* … */ });
/// ```
pub fn recording<S: Subscriber>(subscriber: S) -> TaskSubscriber<S> {
    let detector = in_force::detector().unwrap_or_else(|| HARNESS.detector.clone());
    let recorder = Arc::clone(&detector.shared.recorder);
    TaskSubscriber::new(subscriber, recorder).entered_by(join_in)
}

/// Makes it the global subscriber as well, if there is none. Whether what all threads spawn is
/// recorded then.
pub(super) fn is_everywhere(detector: &Detector) -> bool {
    let leads_to_it = |global: &Dispatch| {
        let recorder = in_force::recorder_of(global);
        recorder.is_some_and(|found| std::ptr::eq(found, &*detector.shared.recorder))
    };
    let is_taken = global().is_some_and(|global| !global.is::<NoSubscriber>());
    if !is_taken {
        let _lost_a_race = dispatcher::set_global_default(HARNESS.subscriber.clone());
    }
    global().as_ref().is_some_and(leads_to_it)
}

/// A thread that polls a task of the detector for tests joins in (rule 2).
fn join_in() {
    thread_local! {
        static JOINED: Cell<bool> = const { Cell::new(false) };
    }
    if !JOINED.get() {
        JOINED.set(join(&HARNESS.subscriber));
    }
}

/// Brings a subscriber into force on this thread for good, unless it has one of its own. Whether a
/// detector is in force now.
pub(super) fn join(subscriber: &Dispatch) -> bool {
    let is_in_force = dispatcher::get_default(|own| match in_force::recorder_of(own) {
        Some(_) => Some(true),
        None => is_threads_own(own).then_some(false),
    });
    is_in_force.unwrap_or_else(|| {
        for_good(subscriber);
        true
    })
}

/// Whether it was set for a thread and not for all. `tracing-core` tells by its `Debug` alone; if
/// that changes, a subscriber of a thread is taken for the global one, and loses what comes after.
fn is_threads_own(subscriber: &Dispatch) -> bool {
    format!("{subscriber:?}").contains("Scoped")
}

fn for_good(subscriber: &Dispatch) {
    mem::forget(dispatcher::set_default(subscriber));
}
