//! What the runner asks of a contestant, and what that answers: a line of JSON each, on the
//! contestant's standard input and output.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::case::Case;

/// A piece of work.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Runs a case's operation so many times, with so many steps of work in each where it works.
    /// Answer: [`Took`].
    Run {
        case: Case,
        operations: u32,
        work: u32,
    },
    /// Starts the case's server. Answer: its [`SocketAddr`](std::net::SocketAddr).
    Serve { case: Case },
    /// Answer: the processor time that the process has used, a [`Duration`].
    CpuTime,
    /// Looks whether what was recorded of the case is right; `served` operations of it were asked
    /// for from outside. Answer: nothing.
    Check { case: Case, served: u64 },
    /// Starts tasks that wait for ever. Answer: the bytes, as `f64`, by which resident memory
    /// grew for each.
    Crowd { tasks: usize },
    /// Takes a first snapshot of the crowd, and twice so many further ones. Answer:
    /// [`Snapshots`].
    Snapshots { further: usize },
    /// Has the watchdog judge the crowd, and times so many sweeps. Answer: the [`Duration`] of
    /// processor time of each.
    Sweeps { sweeps: usize },
    /// Runs a test with the guard and without, so many times each. Answer: [`TestTimes`].
    Tests {
        flavor: Flavor,
        body: Body,
        times: usize,
    },
    /// Gets the list of all tasks from the endpoint. Answer: [`Answer`].
    Get { reader: Reader },
}

/// What all operations of a run took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Took {
    pub(crate) wall: Duration,
    /// Processor time of the whole process.
    pub(crate) cpu: Duration,
}

/// How fast the client of the endpoint reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reader {
    Steady,
    /// Sleeps after each megabyte.
    Slow,
}

/// Snapshots of a crowd.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshots {
    /// What the first one took, which reads the debug info.
    pub(crate) first: Duration,
    /// What each further one took.
    pub(crate) further: Vec<Duration>,
    /// As many again, beside a task that watches for pauses and takes a core for it.
    pub(crate) watched: Vec<Gaps>,
}

/// The longest times between two turns of a task that yields all the while.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Gaps {
    /// During a snapshot.
    pub(crate) snapshot: Duration,
    /// While a thread that has nothing to do with tokio was as busy for as long: what the kernel
    /// keeps the task waiting for.
    pub(crate) busy_thread: Duration,
    /// In as long a time, with neither.
    pub(crate) neither: Duration,
}

/// An answer of the endpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    /// By how much resident memory was above its level before the first answer.
    pub(crate) peak_growth: u64,
}

/// The runtime of a test.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Flavor {
    CurrentThread,
    MultiThread,
}

/// What a test does.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Body {
    Empty,
    /// It spawns a task that is alive when it is over, and then ends.
    LeavesOneEnding,
}

/// What a test took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TestTimes {
    /// The first one guarded in its process.
    pub(crate) first: Duration,
    /// Each one without the guard.
    pub(crate) plain: Vec<Duration>,
    /// Each one with it.
    pub(crate) guarded: Vec<Duration>,
}
