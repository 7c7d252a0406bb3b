//! What the parent asks of a worker, and what the worker answers: a line of JSON each, on the
//! worker's standard input and output.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::program::Program;

/// A piece of work.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Runs a program's operation so many times. Answer: the [`Duration`] of all.
    Run { program: Program, operations: u32 },
    /// Starts tasks of all kinds that wait for ever. Answer: the bytes, as `Option<f64>`, by
    /// which resident memory grew for each; none of so few that it can't be told.
    Crowd { tasks: usize },
    /// Checks that the detector sees the crowd as it is. Answer: nothing.
    Check,
    /// Looks at the crowd while its runtime works, so many times. Answer:
    /// [`Looked`].
    Look { look: Look, times: usize },
    /// Has the watchdog judge the crowd, and looks at so many sweeps while the runtime works.
    /// Answer: [`Sweeps`].
    Sweeps { sweeps: usize },
    /// Takes the first answer of the process, which reads its symbols, and then a second one.
    /// Answer: [`FirstAnswer`].
    FirstAnswer,
    /// Runs a test with the guard and without, so many times each. Answer: [`TestTimes`].
    Tests {
        flavor: Flavor,
        body: Body,
        times: usize,
    },
}

/// A way to look at all tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Look {
    /// `Detector::snapshot`.
    Snapshot,
    /// The text of their groups, over HTTP.
    Grouped,
    /// The list of every task, over HTTP, which the client throws away.
    Listing,
    /// The same to a client that sleeps after each megabyte.
    SlowListing,
}

/// A crowd was looked at.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Looked {
    pub(crate) as_usual: Vec<Window>,
    /// With the runtime's threads preferred; none without the right to do so.
    pub(crate) preferred: Vec<Window>,
}

/// A window in which a crowd was looked at, once if that takes a while, else again and again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) looks: u32,
    /// The time of one look.
    pub(crate) wall: Duration,
    /// The processor time of one look: of the process, the work of its runtime with it.
    pub(crate) process: Duration,
    /// Of the detector's threads.
    pub(crate) detector: Duration,
    pub(crate) delays: Delays,
    /// By how much resident memory was above its level before the first look, at its peak.
    pub(crate) peak_growth: u64,
    /// The bytes of an answer; 0 of a snapshot.
    pub(crate) bytes: u64,
}

/// The longest delay of a tick of 1 ms in a window of some length.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Delays {
    /// While the detector looked.
    pub(crate) looking: Duration,
    /// In as long a time without.
    pub(crate) quiet: Duration,
    /// In as long a time while a thread that has nothing to do with the detector was busy: what
    /// the kernel keeps the tick waiting for.
    pub(crate) beside_spinning: Duration,
}

/// Sweeps of the watchdog.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sweeps {
    pub(crate) as_usual: Swept,
    /// With the runtime's threads preferred; `None` without the right to do so.
    pub(crate) preferred: Option<Swept>,
}

/// Some sweeps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Swept {
    /// The processor time of each.
    pub(crate) processor: Vec<Duration>,
    /// The longest delay of a tick of 1 ms in the short window of each.
    pub(crate) delays: Vec<Duration>,
    /// In the window before each.
    pub(crate) quiet: Vec<Duration>,
}

/// The first answer of a process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FirstAnswer {
    /// The size of the program, in bytes.
    pub(crate) program: u64,
    pub(crate) wall: Duration,
    /// The processor time of the process.
    pub(crate) processor: Duration,
    /// By how much resident memory rose, at its peak. The pages of the program's file that were
    /// read are in it, which the kernel takes back when it wants to.
    pub(crate) peak_growth: u64,
    /// By how much the memory that is not pages of a file is above what it was, afterwards.
    pub(crate) anonymous_growth: u64,
    /// The wall time of the second one.
    pub(crate) second: Duration,
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
