//! The snapshot: what the recorder knew at one moment, as inert, versioned data.
//!
//! Its serde form is JSON schema 1. The rules:
//! 1. Fields are added, never changed or removed, while [`SCHEMA`] stays the same.
//! 2. Nothing here refers to a live task: ids are numbers, stacks are lists of names.
//! 3. What is not known is `null`, an empty list or an empty name, never a guess.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub use crate::tasks::Tasks;

/// The version of the serialized form of [`Snapshot`].
pub const SCHEMA: u32 = 1;

/// Every task of a process at one moment, grouped by where it waits and where it was created.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Always [`SCHEMA`] in what this version writes.
    pub schema: u32,
    /// The wall clock when the snapshot was taken (RFC 3339 in JSON).
    #[serde(with = "rfc3339")]
    pub taken_at: SystemTime,
    /// Milliseconds since the detector was made.
    pub uptime_ms: u64,
    /// The process that was looked at.
    pub process: Process,
    /// Whether the detector records, and what it could not record.
    pub health: Health,
    /// What the watchdog has done; `null` before its first look.
    #[serde(default)]
    pub watchdog: Option<Sweeps>,
    /// Counts over all tasks.
    pub totals: Totals,
    /// The runtimes that were built with `build_watched`.
    #[serde(default)]
    pub runtimes: Vec<Runtime>,
    /// The groups, largest first; groups of one size by their id.
    pub groups: Vec<Group>,
    /// The tasks themselves by id, if the snapshot was taken with them.
    #[serde(default, skip_serializing_if = "Tasks::is_empty")]
    pub tasks: Tasks,
    /// The executable and shared objects that addresses of frames lie in.
    #[serde(default)]
    pub modules: Vec<Module>,
}

/// The process that a snapshot was taken of.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// The path of its executable; empty if unknown.
    pub exe: String,
    /// Its arguments, the program first.
    #[serde(default)]
    pub cmdline: Vec<String>,
}

/// Whether the detector records, what it could not record, and what would give more.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// The detector has seen a task that it spawned itself.
    pub recording: bool,
    /// One line each: what is wrong or missing, and what would mend it.
    pub problems: Vec<String>,
    /// What was dropped or left out, by name; only counts above zero.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
}

/// The watchdog's looks at all tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sweeps {
    /// How many there were.
    pub count: u64,
    /// Milliseconds since the last one.
    pub last_ms: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// Counts over all tasks of a snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Totals {
    /// Tasks alive at this moment.
    pub tasks: u64,
    /// Tasks seen since the detector was installed.
    pub spawned: u64,
    /// Tasks that tokio has alive and the detector never saw start: spawned before it was
    /// installed, or past its limits. Counted on watched runtimes only.
    pub unknown: u64,
    /// Tasks by [`State`].
    pub by_state: BTreeMap<State, u64>,
    /// Waiting tasks by [`Wait`]; a task that waits on several counts under each.
    pub by_wait: BTreeMap<Wait, u64>,
    /// Tasks that verdicts are about, by level.
    pub by_verdict: BTreeMap<String, u64>,
    /// Tasks that a query left out: they are in no other count here and in no group.
    #[serde(default)]
    pub left_out: u64,
}

/// A watched runtime and what tokio's metrics say of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Runtime {
    /// tokio's id of the runtime.
    pub id: u64,
    /// The name given to its builder, or `runtime-ID`.
    pub name: String,
    /// Worker threads.
    pub workers: u64,
    /// Tasks that tokio itself counts as alive.
    pub live_tasks: u64,
    /// Tasks in the runtime's injection queue.
    pub global_queue_depth: u64,
    /// The share of time that workers were busy since the runtime was built, 0 to 1.
    pub busy_ratio: f64,
}

/// A loaded executable or shared object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Module {
    /// First address of its mapping.
    pub start: u64,
    /// One past the last address of its mapping.
    pub end: u64,
    /// The offset in the file of `start`.
    pub file_offset: u64,
    /// Subtract this from an address to get the address that the file's symbols use.
    pub bias: u64,
    /// The path of its file.
    pub path: String,
    /// Its build id in hexadecimal; empty if it has none.
    pub build_id: String,
}

/// Tasks with equal creation stack, equal wait stacks, state, kind, name, runtime and scope.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Group {
    /// The same between snapshots, and between runs of the same binary.
    pub id: GroupId,
    /// How many tasks are in it.
    pub count: u64,
    /// What kind of task.
    pub kind: Kind,
    /// The name given with `task::Builder`; empty if none.
    pub name: String,
    /// The name of the runtime that polls them; empty if none has yet.
    pub runtime: String,
    /// The state of all of them.
    pub state: State,
    /// What they wait for: one entry for each entry of `waiting_at`, or `nothing` alone; empty
    /// unless waiting. With `wakers_without_stack` above zero this is not all they wait for.
    pub wait: Vec<Wait>,
    /// The primitive behind each entry of `wait` (`tokio::sync::mpsc`, `flume`, …); empty
    /// where it is not known.
    pub primitives: Vec<String>,
    /// How long they have waited; `null` unless waiting.
    pub blocked_ms: Option<Spread>,
    /// How long ago they were spawned.
    pub age_ms: Spread,
    /// What the watchdog makes of those that have waited past its thresholds; `null` if nothing,
    /// or if they are allowed.
    pub verdict: Option<Verdict>,
    /// What allows them to wait for ever, so that they get no verdict: the text of an allow rule,
    /// or `taskleak::daemon`.
    #[serde(default)]
    pub allowed: Option<String>,
    /// Where in the source they were spawned.
    pub spawned_at: Option<SourceLocation>,
    /// The await stacks of their live wakers, ordered by wait and primitive; each leaf first.
    pub waiting_at: Vec<Stack>,
    /// The stack of the spawn, innermost first.
    pub created_by: Stack,
    /// Memory that they hold, where it is known.
    pub bytes: Option<u64>,
    /// Ids of some of them: the ones that were spawned first.
    pub tasks: Vec<u64>,
    /// The wakers of all its tasks that are alive beyond those that `waiting_at` explains.
    #[serde(default)]
    pub wakers_without_stack: u64,
    /// Its tasks of which one of several wakers is gone, nobody can tell which: a stack in
    /// `waiting_at` may be of an await that has ended.
    #[serde(default)]
    pub waits_guessed: u64,
    /// The size of their future, in bytes; 0 if unknown.
    #[serde(default)]
    pub future_bytes: u64,
    /// How long all of them together have waited; 0 unless waiting.
    #[serde(default)]
    pub blocked_total_ms: u64,
    /// The name of the innermost scope that they belong to; empty if none.
    #[serde(default)]
    pub scope: String,
    /// How long ago their scopes ended; `null` while they run, or without one.
    #[serde(default)]
    pub outlived_ms: Option<Spread>,
}

/// One task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Task {
    /// tokio's id of the task.
    pub id: u64,
    /// tokio's id of the task that was being polled when this one was spawned.
    pub parent: Option<u64>,
    /// Its group; the group is in the same snapshot.
    pub group: GroupId,
    /// Its state.
    pub state: State,
    /// How long it has waited; `null` unless waiting.
    pub blocked_ms: Option<u64>,
    /// How long ago it was woken without being polled since; `null` unless runnable.
    pub runnable_ms: Option<u64>,
    /// How long ago it was spawned.
    pub age_ms: u64,
    /// How often it was polled.
    pub polls: u64,
    /// How long it was polled in all, sampled by a clock of 10 ms: right on average.
    pub busy_ms: u64,
    /// How many of its wakers are alive; `null` for a kind whose wakers can't be seen.
    pub wakers: Option<u32>,
}

/// What a task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// A worker polls it now.
    Running,
    /// It was woken or spawned, and has not been polled since.
    Runnable,
    /// It returned `Pending` and has not been woken since.
    Waiting,
    /// A closure that occupies a thread of the blocking pool.
    Blocking,
}

/// What started a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// `tokio::spawn`, `JoinSet::spawn`, `Handle::spawn`.
    Task,
    /// `spawn_local`.
    Local,
    /// The root future of a `block_on`. tokio gives it a waker that can't be observed, so its
    /// wakers and what it waits for are not known.
    BlockOn,
    /// `spawn_blocking`.
    Blocking,
}

/// What a waiting task waits for, read off the frames below its leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Wait {
    /// A value from a channel: `recv`, a stream's `next`, `watch::Receiver::changed`, of tokio,
    /// flume, async-channel or futures. Whether a sender is left is not known.
    #[serde(rename = "chan receive")]
    ChanReceive,
    /// Room in a bounded channel: `send`, `reserve`, a sink's `poll_ready`.
    #[serde(rename = "chan send")]
    ChanSend,
    /// A timer: `sleep`, `Interval::tick`, the limit of a `timeout`.
    #[serde(rename = "sleep")]
    Sleep,
    /// Readiness of a socket, pipe, `AsyncFd`, signal or child process, the other end of an
    /// in-memory pipe, or a file operation or name lookup on the blocking pool.
    #[serde(rename = "IO wait")]
    Io,
    /// The end of another task: `JoinHandle`, `JoinSet`, `JoinMap`. Which task is not known.
    #[serde(rename = "join")]
    Join,
    /// A mutex; the owner is not known.
    #[serde(rename = "mutex lock")]
    MutexLock,
    /// Shared access to a read-write lock.
    #[serde(rename = "rwlock read")]
    RwLockRead,
    /// Exclusive access to a read-write lock.
    #[serde(rename = "rwlock write")]
    RwLockWrite,
    /// Permits of a semaphore, or a `OnceCell` that another task initializes.
    #[serde(rename = "semaphore acquire")]
    Semaphore,
    /// A `Notify`, or what is built on one and has no word of its own: `CancellationToken`,
    /// `TaskTracker`, `SetOnce`, the end of a channel's receivers (`Sender::closed`), an
    /// event-listener.
    #[serde(rename = "notify")]
    Notify,
    /// A `Barrier`.
    #[serde(rename = "barrier")]
    Barrier,
    /// An executor inside the task (`FuturesUnordered`, a `join_all` of more than 30 futures,
    /// buffered streams, `Shared`): its futures get wakers of its own, so what they wait for is
    /// not seen. A small `join_all`, `select!` and `StreamMap` pass the task's waker on, and
    /// count as what they poll.
    #[serde(rename = "sub-executor")]
    SubExecutor,
    /// None that is known; the frames tell.
    #[serde(rename = "other")]
    Other,
    /// No waker is alive: nothing will wake the task but an abort.
    #[serde(rename = "nothing")]
    Nothing,
}

/// The smallest, the middle and the largest of a group's times, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// The smallest.
    pub min: u64,
    /// The lower median.
    pub median: u64,
    /// The largest.
    pub max: u64,
}

/// What the watchdog makes of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// `suspect`, `likely` or `proven`.
    pub level: String,
    /// The facts behind it, one line each.
    pub evidence: Vec<String>,
    /// The tasks that it is about, as of the last sweep: not those of the group that have only
    /// begun to wait.
    #[serde(default)]
    pub tasks: u64,
}

/// A place in the source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceLocation {
    /// The path as the compiler was given it.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
}

/// The frames of a stack, leaf first.
pub type Stack = Arc<[Frame]>;

/// One function of a stack, inlined ones apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Frame {
    /// The function as people write it: `shop::cart::checkout`. Empty if it has no symbol.
    pub function: String,
    /// The path of its file, as the compiler was given it.
    pub file: Option<String>,
    /// The line in `file`, from 1.
    pub line: Option<u32>,
    /// The address of the call: one less than the return address.
    #[serde(default)]
    pub address: u64,
    /// The next frame is the function that this one was inlined into, at the same address.
    #[serde(default)]
    pub inlined: bool,
    /// A frame of tokio's runtime, std's machinery or this detector.
    #[serde(default)]
    pub hidden: bool,
}

/// The id of a group: 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct GroupId(pub u64);

impl std::fmt::Display for GroupId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<GroupId> for String {
    fn from(id: GroupId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for GroupId {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u64::from_str_radix(&text, 16).map(GroupId)
    }
}

pub(crate) mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_rfc3339_millis(*at))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_rfc3339(&text).map_err(D::Error::custom)
    }
}
