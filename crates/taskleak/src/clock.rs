//! The coarse clock: "now" in an atomic, published by the detector's own thread, so that the
//! hot path reads no clock of the system.
//!
//! A tick is 10 ms. Ticks are counted from the making of the detector and wrap after 497 days;
//! differences are taken with wrapping arithmetic, so only a span longer than that is wrong.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::record::Tick;

/// The length of a tick.
pub(crate) const TICK: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    now: AtomicU32,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock {
            start: Instant::now(),
            now: AtomicU32::new(0),
        }
    }

    /// The time as of the last [`publish`](Self::publish).
    pub(crate) fn now(&self) -> Tick {
        self.now.load(Ordering::Relaxed)
    }

    /// Reads the system's clock. Returns the tick that it is now.
    pub(crate) fn publish(&self) -> Tick {
        let ticks = self.start.elapsed().as_millis() / TICK.as_millis();
        let now = ticks as u32;
        self.now.store(now, Ordering::Relaxed);
        now
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The time from one tick to a later one; 0 if the other is not later.
pub(crate) fn ms_between(from: Tick, to: Tick) -> u64 {
    let ticks = to.wrapping_sub(from) as i32;
    u64::from(ticks.max(0).unsigned_abs()) * TICK.as_millis() as u64
}
