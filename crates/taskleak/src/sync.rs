//! The atomics that records and their table are made of: std's, or loom's under `--cfg taskleak_loom`.
//!
//! Only what the loom model covers goes through here. The cfg is not loom's usual one, which
//! tokio and others take for themselves.

#[cfg(taskleak_loom)]
pub(crate) use loom::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(taskleak_loom))]
pub(crate) use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
