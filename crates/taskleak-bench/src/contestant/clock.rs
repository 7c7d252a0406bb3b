//! The processor time that was used so far.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// By all threads of this process: those of a peer too.
pub(super) fn process() -> Duration {
    now(ClockId::ProcessCPUTime)
}

/// By this thread.
#[cfg(feature = "taskleak")]
pub(super) fn thread() -> Duration {
    now(ClockId::ThreadCPUTime)
}

fn now(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
