//! Call stacks of the current thread: captured cheaply, kept as small ids, symbolized when
//! somebody looks.
//!
//! The crate knows addresses and no tasks. The way of a stack through it:
//!
//! ```text
//! capture ── shape (seen before: no unwinding) ──────────────┐
//!    └────── unwind (framehop, or frame pointers) ── intern ─┴─ StackId
//! addresses(id) ── Symbolizer ── Symbol
//! ```
//!
//! Beside that it holds what else takes unsafe code: a waker that tells of its clones, a last word
//! at the exit of the process, and the sender of a SIGTERM.
//!
//! On Linux for x86-64 and AArch64 it unwinds itself; elsewhere it asks the `backtrace` crate,
//! which costs about fifteen times as much.

// This crate and the allocator are where taskleak's unsafe code stands: reading the stack,
// asking the loader, lists of nodes that are never freed, a waker's vtable. Each block says why it holds.
#![allow(unsafe_code)]

mod capture;
mod counters;
mod exit;
mod intern;
#[cfg(taskleak_unwind)]
mod module;
#[cfg(not(taskleak_unwind))]
#[path = "module_elsewhere.rs"]
mod module;
#[cfg(taskleak_unwind)]
mod shape;
#[cfg(all(unix, feature = "signal"))]
mod signal;
mod stack;
mod symbolize;
#[cfg(taskleak_unwind)]
mod thread;
#[cfg(taskleak_unwind)]
mod unwind;
mod unwinder;
mod waker;

pub use capture::{Bound, Missed, capture};
pub use counters::{Counters, counters};
pub use exit::at_exit;
pub use intern::Interner;
pub use module::{Module, modules, refresh_modules};
#[cfg(all(unix, feature = "signal"))]
pub use signal::{die_of_sigterm, on_sigterm};
pub use stack::{StackId, addresses};
pub use symbolize::{DebugInfo, Symbol, Symbolizer};
pub use unwinder::Unwinder;
pub use waker::{WakerOp, WatchedWaker};
