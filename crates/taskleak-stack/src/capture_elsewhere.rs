//! Capture on platforms that this crate does not unwind itself: the `backtrace` crate does.

use super::{Bound, Missed};
use crate::counters::count_unwound;
use crate::stack::{self, MAX_FRAMES, StackId};

pub(super) fn captured(_: Bound, may_unwind: &mut dyn FnMut() -> bool) -> Result<StackId, Missed> {
    if !may_unwind() {
        return Err(Missed::Unwanted);
    }
    count_unwound();
    let mut addresses = Vec::new();
    backtrace::trace(|frame| {
        addresses.push(frame.ip() as u64);
        addresses.len() < MAX_FRAMES
    });
    if addresses.is_empty() {
        return Err(Missed::Empty);
    }
    stack::intern(&addresses).ok_or(Missed::TableFull)
}
