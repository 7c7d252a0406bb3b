//! Capturing the stack of the calling thread.
//!
//! Rules:
//! 1. What is read is this thread's own stack, between the stack pointer and its root. A stack
//!    that the thread does not own (a library that switches stacks) is not read at all.
//! 2. Nothing blocks and nothing panics; what can't be had is a [`Missed`], and counted.
//! 3. A stack that was seen before is recognized by its shape, which costs a load and a
//!    compare for each frame (see `shape.rs`). Only a new one is unwound.

#[cfg(not(taskleak_unwind))]
#[path = "capture_elsewhere.rs"]
mod platform;

use crate::counters::count_missed;
use crate::stack::StackId;

/// Where a capture ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound(usize);

impl Bound {
    /// The root of the thread.
    pub const THREAD: Bound = Bound(usize::MAX);

    /// Here: frames of the caller's callers need not be captured. The few that lie close above
    /// may be, because a bound is often taken a call or two below the frame that it is for.
    #[inline(always)]
    pub fn here() -> Bound {
        let local = 0u8;
        Bound(std::ptr::from_ref(&local) as usize)
    }

    #[cfg_attr(
        not(taskleak_unwind),
        allow(dead_code, reason = "`backtrace` knows no bounds")
    )]
    pub(crate) fn address(self) -> usize {
        self.0
    }
}

/// Why there is no stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Missed {
    /// It is a new one, and the caller did not want it unwound.
    Unwanted,
    /// As many stacks are kept as can be.
    TableFull,
    /// The thread runs on a stack that is not its own.
    ForeignStack,
    /// Too many threads unwind at this moment, or a module is being loaded.
    Busy,
    /// A capture of this thread is under way: the allocator captured, say.
    Nested,
    /// Not one frame could be unwound.
    Empty,
}

impl Missed {
    pub(crate) const ALL: [Missed; 6] = [
        Missed::Unwanted,
        Missed::TableFull,
        Missed::ForeignStack,
        Missed::Busy,
        Missed::Nested,
        Missed::Empty,
    ];
}

impl std::fmt::Display for Missed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Missed::Unwanted => "over the budget",
            Missed::TableFull => "the table of stacks is full",
            Missed::ForeignStack => "the thread ran on a foreign stack",
            Missed::Busy => "too many threads unwound at once, or a module was being loaded",
            Missed::Nested => "within another capture",
            Missed::Empty => "no frame could be unwound",
        })
    }
}

/// Captures the stack of the caller, up to `bound`. `may_unwind` is asked only if the stack was
/// not seen before at this call.
///
/// The first frame is the caller's. A known stack of 24 frames takes some 50 ns, a new one is
/// unwound (`cargo test --release -p taskleak-stack --test stack -- --ignored --nocapture`).
///
/// # Errors
///
/// Why there is no stack.
///
/// ```
/// use taskleak_stack::{Bound, addresses, capture};
///
/// fn here() -> taskleak_stack::StackId {
///     capture(Bound::THREAD, &mut || true).unwrap()
/// }
/// let stacks: Vec<_> = (0..2).map(|_| here()).collect();
/// assert_eq!(stacks[0], stacks[1]);
/// assert!(!addresses(stacks[0]).is_empty());
/// ```
#[inline(never)]
pub fn capture(bound: Bound, may_unwind: &mut dyn FnMut() -> bool) -> Result<StackId, Missed> {
    #[cfg(taskleak_unwind)]
    let captured = crate::unwind::captured(crate::unwind::Registers::here(), bound, may_unwind);
    #[cfg(not(taskleak_unwind))]
    let captured = platform::captured(bound, may_unwind);
    if let Err(missed) = captured {
        count_missed(missed);
    }
    captured
}
