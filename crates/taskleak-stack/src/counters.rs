//! What the capture of stacks did, for the health of the detector.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::capture::Missed;

static MISSED: [AtomicU64; Missed::ALL.len()] = [const { AtomicU64::new(0) }; Missed::ALL.len()];
static UNWOUND: AtomicU64 = AtomicU64::new(0);

/// Counts since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Stacks that had to be unwound: no shape of theirs was known.
    pub unwound: u64,
    /// Distinct stacks that are kept.
    pub stacks: u64,
    /// Captures that gave nothing, by the reason.
    pub missed: Vec<(Missed, u64)>,
}

/// The counts as of now.
pub fn counters() -> Counters {
    let count = |missed: Missed| (missed, MISSED[missed as usize].load(Ordering::Relaxed));
    Counters {
        unwound: UNWOUND.load(Ordering::Relaxed),
        stacks: crate::stack::kept().into(),
        missed: Missed::ALL.map(count).into(),
    }
}

pub(crate) fn count_missed(missed: Missed) {
    MISSED[missed as usize].fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn count_unwound() {
    UNWOUND.fetch_add(1, Ordering::Relaxed);
}
