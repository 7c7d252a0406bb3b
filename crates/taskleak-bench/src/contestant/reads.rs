//! A subscriber that reads what tokio says of its tasks, and keeps nothing: no detector that rests
//! on `tracing` costs less.

use std::fmt::Debug;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

pub(super) struct Reads;

/// tokio's spans and events were found. Noted when they register, which costs a program nothing.
static FOUND: AtomicBool = AtomicBool::new(false);

/// Whether it has had anything to read.
#[cfg(feature = "peers")]
pub(super) fn has_read() -> bool {
    FOUND.load(Ordering::Relaxed)
}

impl Subscriber for Reads {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match metadata.target() {
            "tokio::task" | "tokio::task::blocking" => Interest::always(),
            "tokio::task::waker" => {
                FOUND.store(true, Ordering::Relaxed);
                Interest::always()
            }
            _ => Interest::never(),
        }
    }

    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut Values);
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Values);
    }

    fn enter(&self, id: &Id) {
        black_box(id);
    }

    fn exit(&self, id: &Id) {
        black_box(id);
    }

    fn record(&self, _id: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _id: &Id, _follows: &Id) {}

    fn try_close(&self, _id: Id) -> bool {
        true
    }
}

struct Values;

impl Visit for Values {
    fn record_u64(&mut self, _field: &Field, value: u64) {
        black_box(value);
    }

    fn record_str(&mut self, _field: &Field, value: &str) {
        black_box(value);
    }

    fn record_debug(&mut self, _field: &Field, value: &dyn Debug) {
        black_box(value);
    }
}
