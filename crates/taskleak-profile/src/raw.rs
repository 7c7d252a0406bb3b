//! What the recorder hands over: one task with its stacks as ids, and the symbols of an address.
//!
//! These types are the input of grouping. They are plain data, never serialized.

use std::sync::Arc;

use crate::resolve::ResolvedStack;
use crate::snapshot::{Kind, SourceLocation, State};

/// The most wait stacks that are kept for one task.
pub const MAX_WAITS: usize = 8;

/// One live task, copied out of the recorder.
#[derive(Debug, Clone, Copy)]
pub struct RawTask {
    /// tokio's id of the task.
    pub id: u64,
    /// tokio's id of the task that was being polled when this one was spawned; 0 for none.
    pub parent: u64,
    /// What kind of task.
    pub kind: Kind,
    /// Its state.
    pub state: State,
    /// It was spawned in `taskleak::daemon`: it is meant to run as long as the process.
    pub daemon: bool,
    /// The id of the name of the innermost scope that it belongs to (`taskleak::scope`, a test); 0
    /// for none.
    pub scope: u32,
    /// Milliseconds since that scope ended; `None` while it runs, or without one.
    pub outlived_ms: Option<u64>,
    /// Milliseconds since its last waker was dropped, if it waited then and was not woken.
    pub lost_ms: Option<u64>,
    /// The id of the stack that dropped it; 0 if that was not captured.
    pub lost_by: u32,
    /// The id of its creation stack; 0 if it was not captured.
    pub created: u32,
    /// The ids of the stacks of its live wakers, newest first; ends at the first 0 after
    /// `waits_len` entries. An id of 0 within them is a waker whose stack was not captured. Where
    /// `lost_ms` is known they are those of the wakers that it had.
    pub waits: [u32; MAX_WAITS],
    /// How many entries of `waits` count.
    pub waits_len: u8,
    /// How many of its wakers are alive; `None` for a kind whose wakers can't be seen.
    pub wakers: Option<u32>,
    /// How many of `wakers` the stacks in `waits` account for.
    pub wakers_explained: u32,
    /// One of several wakers is gone and can't be told from the others, so a stack in `waits` may
    /// be of that one.
    pub waits_guessed: bool,
    /// The id of its name; 0 for none.
    pub name: u32,
    /// The id of the place in the source where it was spawned; 0 if unknown.
    pub spawned_at: u32,
    /// The id of the runtime that polls it; 0 if none has yet.
    pub runtime: u32,
    /// Milliseconds since it went into `state`.
    pub in_state_ms: u64,
    /// Milliseconds since it was spawned.
    pub age_ms: u64,
    /// How often it was polled.
    pub polls: u64,
    /// How long it was polled in all, in milliseconds.
    pub busy_ms: u64,
    /// The size of its future in bytes.
    pub future_bytes: u32,
}

/// Who spawned a task, and whether it still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// No task did, or the root future of a `block_on` that still runs; or a task did that has that
    /// origin and is held up itself, as a supervisor is that joins its daemon.
    Root,
    /// A task that is alive.
    Live,
    /// A task that has ended.
    Ended {
        /// Its id.
        task: u64,
        /// How long ago that was; `None` if it is no longer known.
        ago_ms: Option<u64>,
        /// How many tasks stand between the two: 0 if the one that ended spawned this one. They
        /// are held up themselves.
        between: u32,
    },
}

/// Looks up what the ids in a [`RawTask`] mean. Called once for each distinct id of a snapshot.
pub trait Source {
    /// The stack with this id (never 0), symbolized.
    fn stack(&mut self, id: u32) -> Arc<ResolvedStack>;
    /// The name with this id (never 0).
    fn name(&mut self, id: u32) -> String;
    /// The place in the source with this id (never 0).
    fn location(&mut self, id: u32) -> Option<SourceLocation>;
    /// The name of the runtime with this id (never 0).
    fn runtime(&mut self, id: u32) -> String;
}

/// One address of a stack and what the symbolizer found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// The address of the call: one less than the return address.
    pub address: u64,
    /// An identity of `address` that is the same in every run of the binary: a hash of the
    /// module (build id, else file name) and the address relative to it.
    pub stable: u64,
    /// The functions at this address, innermost first; all but the last were inlined.
    pub symbols: Vec<RawSymbol>,
}

/// One function at an address, as the debug info and the symbol table have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawSymbol {
    /// The mangled name (v0 or legacy).
    pub linkage_name: Option<String>,
    /// `DW_AT_name`: `{async_fn#0}`, `{closure#0}`, `poll<…>`; has no path.
    pub dwarf_name: Option<String>,
    /// The path of the file, as the compiler was given it.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
}
