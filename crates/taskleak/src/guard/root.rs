//! The body of a test: polled with a waker that tells where it is registered, so that a page shows
//! what the test itself waits for. tokio tells nothing of a `block_on`'s waker.
//!
//! It also keeps a panic of the body until the tasks have been looked at.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use taskleak_stack::WatchedWaker;

use super::alarm::Alarm;
use crate::key::Key;
use crate::recorder::Recorder;
use crate::tokio_trace::{WakerEvent, WakerOp};

/// How a body ended.
pub(super) enum Ended<T> {
    Returned(T),
    Panicked(Box<dyn Any + Send>),
    /// It did not in time, and was dropped.
    TimedOut,
}

/// The body of a test, behind one pointer, so that what runs it is compiled once for each output.
pub trait Body<T> {
    /// Polls it. It must not be polled again when it is over.
    fn poll_body(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T>;
    /// Drops it.
    fn drop_body(self: Pin<&mut Self>);
}

impl<F: Future> Body<F::Output> for Option<F> {
    fn poll_body(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.as_pin_mut() {
            Some(body) => body.poll(cx),
            None => Poll::Pending,
        }
    }

    fn drop_body(mut self: Pin<&mut Self>) {
        self.set(None);
    }
}

pub(super) struct Root<'a, T> {
    pub(super) body: Pin<&'a mut (dyn Body<T> + 'a)>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) alarm: Option<&'a Alarm>,
    pub(super) watched: Option<Watched>,
}

/// The waker of the `block_on`, and the one in its place.
pub(super) struct Watched {
    outer: Waker,
    waker: WatchedWaker,
}

impl<T> Future for Root<'_, T> {
    type Output = Ended<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<T>> {
        let this = &mut *self;
        if this.alarm.is_some_and(|alarm| alarm.has_rung(cx.waker())) {
            // Here, where its runtime still is, as where a `timeout` is over. The page says it all,
            // so that a panic of a drop adds nothing.
            let _dropped = catch_unwind(AssertUnwindSafe(|| this.body.as_mut().drop_body()));
            return Poll::Ready(Ended::TimedOut);
        }
        let waker = Watched::of(&mut this.watched, cx.waker(), &this.recorder);
        let mut cx = Context::from_waker(waker.unwrap_or(cx.waker()));
        // The panic goes on when the tasks have been looked at.
        let polled = catch_unwind(AssertUnwindSafe(|| this.body.as_mut().poll_body(&mut cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ended::Returned(output)),
            Err(panic) => Poll::Ready(Ended::Panicked(panic)),
        }
    }
}

impl Watched {
    /// The waker to poll with; `None` if the `block_on` is not recorded.
    fn of<'a>(
        watched: &'a mut Option<Watched>,
        outer: &Waker,
        recorder: &Arc<Recorder>,
    ) -> Option<&'a Waker> {
        let is_same = |watched: &Watched| watched.outer.will_wake(outer);
        if !watched.as_ref().is_some_and(is_same) {
            let key = recorder.watch_polled()?;
            *watched = Some(Watched {
                outer: outer.clone(),
                waker: waker(outer.clone(), Arc::clone(recorder), key),
            });
        }
        watched.as_ref().map(|watched| watched.waker.waker())
    }
}

fn waker(outer: Waker, recorder: Arc<Recorder>, key: Key) -> WatchedWaker {
    WatchedWaker::new(outer, move |op| {
        let op = match op {
            taskleak_stack::WakerOp::Clone => WakerOp::Clone,
            taskleak_stack::WakerOp::Drop => WakerOp::Drop,
            taskleak_stack::WakerOp::Wake => WakerOp::Wake,
            taskleak_stack::WakerOp::WakeByRef => WakerOp::WakeByRef,
        };
        let event = WakerEvent {
            op: Some(op),
            span_id: key.span_id(),
        };
        recorder.waker(event, key);
    })
}
