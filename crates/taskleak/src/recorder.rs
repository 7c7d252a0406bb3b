//! The recorder: what the front ends call, and what a snapshot reads.
//!
//! Everything but [`Recorder::copy_tasks`] runs inside a callback that user code runs through,
//! so it neither blocks nor panics, and it counts what it had to leave out.

#[cfg(feature = "test")]
use std::sync::atomic::fence;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use taskleak_profile::raw::{MAX_WAITS, Origin, RawTask};
use taskleak_profile::snapshot::{Kind, State};
use taskleak_stack::{Bound, StackId};
use tracing::span::Attributes;

#[cfg(feature = "test")]
use crate::Detector;
use crate::clock::{Clock, TICK, ms_between};
use crate::detector::Shared;
use crate::key::Key;
use crate::polls::{self, Owner, Poll};
use crate::record::{
    Birth, Cloned, Copied, Dropped, Exited, Lost, MANY_WAKERS, Record, TaskKind, Tick,
};
use crate::runtimes::{self, number_of};
use crate::scopes::{self, Facts, ScopeId};
use crate::table::{Fate, Table};
use crate::tokio_trace::{SpawnFields, WakerEvent, WakerOp};

/// The capture budget of a service, at what a park may cost it at most.
const FEW_UNWINDS: u32 = 3;

/// The capture budget where tests record, which are short and in which every stack counts.
#[cfg(feature = "test")]
const MANY_UNWINDS: u32 = crate::state::MOST_SPENT;

/// What a detector is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Service,
    /// It records more of each task, and has no watchdog.
    #[cfg(feature = "test")]
    Tests,
}

/// How far up the parents of a task are followed.
const MAX_ANCESTORS: u32 = 16;

/// What the check of health looks for, as bits of [`polls::seen`].
pub(crate) const SAW_SPAWN: u8 = 1;
pub(crate) const SAW_POLL: u8 = 2;
pub(crate) const SAW_WAKER: u8 = 4;

/// Whose tasks are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whose {
    /// Those that belong to this scope, or to one within it.
    pub(crate) scope: ScopeId,
    /// And those that run on this runtime.
    pub(crate) runtime: Option<u32>,
}

/// What was left out, and why.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// Tasks that found the table full.
    pub(crate) tasks: AtomicU64,
    /// Names of tasks that found no room.
    pub(crate) names: AtomicU64,
    /// Creation stacks that were not captured.
    pub(crate) creation_stacks: AtomicU64,
    /// Park stacks that were not captured.
    pub(crate) park_stacks: AtomicU64,
    /// Park stacks over the budget of their task.
    pub(crate) over_budget: AtomicU64,
    /// Wakers that were dropped or woken and whose clone another subscriber got.
    pub(crate) unseen_clones: AtomicU64,
}

pub(crate) struct Recorder {
    /// The capture budget: how many park stacks of one task are unwound in one tick. A stack that
    /// is recognized without unwinding costs nothing of it (see `taskleak_stack::capture`).
    unwinds_per_tick: u32,
    /// Tells this recorder's keys from another's on the same thread.
    id: u32,
    pub(crate) clock: Clock,
    table: Table,
    pub(crate) losses: Losses,
    /// The detector has seen a task that it spawned itself.
    proven: AtomicBool,
    /// Whose it is.
    shared: OnceLock<Weak<Shared>>,
}

impl Recorder {
    pub(crate) fn new(of: Purpose) -> Recorder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Recorder {
            unwinds_per_tick: match of {
                Purpose::Service => FEW_UNWINDS,
                #[cfg(feature = "test")]
                Purpose::Tests => MANY_UNWINDS,
            },
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            clock: Clock::new(),
            table: Table::new(),
            losses: Losses::default(),
            proven: AtomicBool::new(false),
            shared: OnceLock::new(),
        }
    }

    /// Whose it is; said once.
    pub(crate) fn belong_to(&self, shared: &Arc<Shared>) {
        let _said_before = self.shared.set(Arc::downgrade(shared));
    }

    #[cfg(feature = "test")]
    pub(crate) fn detector(&self) -> Option<Detector> {
        let shared = self.shared.get()?.upgrade()?;
        Some(Detector { shared })
    }

    /// A task is being spawned by this thread.
    pub(crate) fn spawn(&self, attributes: &Attributes<'_>) -> Key {
        let owner = polls::owner();
        if owner == Owner::Detector {
            polls::note_seen(SAW_SPAWN);
            return Key::UNRECORDED;
        }
        let fields = SpawnFields::of(attributes);
        if fields.is_worker {
            return Key::UNRECORDED;
        }
        let parent = polls::innermost(self.id);
        if fields.name_dropped {
            count(&self.losses.names);
        }
        let birth = Birth {
            task_id: fields.task_id,
            parent: parent.map_or(0, |poll| self.task_id(poll.key)),
            parent_key: parent.map(|poll| poll.key),
            daemon: owner != Owner::Host && polls::spawns_daemons(),
            scope: self.scope_here(),
            kind: fields.kind.unwrap_or(TaskKind::Task),
            created: self.creation_stack(parent),
            name: fields.name,
            location: fields.location,
            future_bytes: fields.future_bytes,
        };
        // Before another thread can see the task, and end it.
        birth.scope.inspect(|scope| scopes::hold_for_task(*scope));
        let Some(key) = self.table.start(polls::ordinal(), &birth, self.clock.now()) else {
            birth.scope.inspect(|scope| scopes::release(*scope));
            count(&self.losses.tasks);
            return Key::UNRECORDED;
        };
        key
    }

    /// The scope that what this thread spawns now belongs to.
    pub(crate) fn scope_here(&self) -> Option<ScopeId> {
        let of_task = || {
            let poll = polls::innermost(self.id)?;
            self.table.get(poll.key)?.scope()
        };
        polls::scope_here()
            .or_else(of_task)
            .and_then(scopes::let_through)
    }

    /// A poll of a task begins on this thread. Returns whether the key is one of ours.
    pub(crate) fn enter(&self, key: Key) -> bool {
        let Some(record) = self.table.get(key) else {
            return self.unrecorded(key, SAW_POLL);
        };
        let kind = record.kind();
        if kind == TaskKind::BlockOn || record.runtime() == 0 {
            note_runtime(record, kind);
        }
        record.enter(key, self.clock.now());
        polls::push(Poll {
            recorder: self.id,
            key,
            kind,
            bound: Bound::here(),
        });
        true
    }

    /// A poll of a task has returned on this thread, or the drop of its future.
    pub(crate) fn exit(&self, key: Key) -> Exited {
        let Some(record) = self.table.get(key) else {
            return match key {
                Key::UNRECORDED => Exited::Polled,
                _ => Exited::NotOurs,
            };
        };
        polls::pop(self.id, key);
        record.exit(key, self.clock.now())
    }

    /// The span of a task is entered: by tokio, or by somebody who got hold of it
    /// (`Span::current()`, `in_current_span`), on any thread.
    pub(crate) fn enter_span(&self, key: Key) {
        if !polls::nest(self.id, key) && self.is_tokios_poll(key) {
            self.enter(key);
        }
    }

    /// The span of a task is left that [`enter_span`](Self::enter_span) was told of.
    pub(crate) fn exit_span(&self, key: Key) -> Exited {
        match polls::has_returned(self.id, key) {
            true => self.exit(key),
            false => Exited::Polled,
        }
    }

    /// Whether tokio polls the task on this thread, or drops its future.
    fn is_tokios_poll(&self, key: Key) -> bool {
        let Some(record) = self.table.get(key) else {
            return true;
        };
        match record.kind() {
            // It is polled where it was made.
            TaskKind::BlockOn => {
                record.parent_key() == polls::innermost(self.id).map(|poll| poll.key)
            }
            _ => tokio::task::try_id().map(number_of) == Some(record.task_id()),
        }
    }

    /// tokio's id of a task; 0 if it has ended.
    pub(crate) fn task_id(&self, key: Key) -> u64 {
        self.table.get(key).map_or(0, Record::task_id)
    }

    /// Whether the task of a key lives.
    pub(crate) fn is_alive(&self, key: Key) -> bool {
        self.table
            .get(key)
            .is_some_and(|record| record.is_live(key))
    }

    /// Tells its keys from those of others.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The scope that a task belongs to.
    #[cfg(feature = "test")]
    pub(crate) fn scope_of(&self, key: Key) -> Option<ScopeId> {
        self.table.get(key)?.scope()
    }

    /// Moves a task that this thread polls to another scope, which the caller holds for it; its hold
    /// on the one before is released.
    #[cfg(feature = "test")]
    pub(crate) fn move_polled(&self, key: Key, scope: Option<ScopeId>) -> Option<Key> {
        let record = self.table.get(key)?;
        let before = record.scope();
        // Before the slot of the one before can be another's: its hold is released after this.
        fence(Ordering::Release);
        record.set_scope(scope);
        before.inspect(|before| scopes::release(*before));
        Some(key)
    }

    /// The root future that this thread polls: its wakers are told of from now on, by whoever asks.
    #[cfg(feature = "test")]
    pub(crate) fn watch_polled(&self) -> Option<Key> {
        let poll = polls::innermost(self.id).filter(|poll| poll.kind == TaskKind::BlockOn)?;
        self.table.get(poll.key)?.set_watched();
        Some(poll.key)
    }

    /// Something was done to a waker of a task, on any thread.
    pub(crate) fn waker(&self, event: WakerEvent, key: Key) {
        let Some(record) = self.table.get(key) else {
            self.unrecorded(key, SAW_WAKER);
            return;
        };
        let within = || polls::innermost(self.id).filter(|poll| poll.key == key);
        match event.op {
            Some(WakerOp::Clone) => match within() {
                Some(poll) => self.parks(record, &poll),
                None => record.clone_waker(key),
            },
            Some(WakerOp::Drop) => {
                let dropped = match within() {
                    Some(_) => record.drop_waker_in_poll(key),
                    None => record.drop_waker(key),
                };
                self.waker_gone(record, key, dropped);
            }
            Some(WakerOp::Wake) => {
                self.waker_gone(record, key, record.wake(key, self.clock.now()));
            }
            Some(WakerOp::WakeByRef) => record.wake_by_ref(key, self.clock.now()),
            None => {}
        }
    }

    /// The span of a task was cloned.
    pub(crate) fn clone_span(&self, key: Key) {
        if let Some(record) = self.table.get(key) {
            record.add_span_ref();
        }
    }

    /// A reference to the span of a task is gone. Returns whether the task is over.
    pub(crate) fn drop_span(&self, key: Key) -> bool {
        match self.table.get(key) {
            Some(record) => record.drop_span_ref() && self.end(key),
            None => false,
        }
    }

    /// The task is over.
    pub(crate) fn end(&self, key: Key) -> bool {
        let Some(ended) = self.table.end(polls::ordinal(), key, self.clock.now()) else {
            return false;
        };
        if ended.kind == TaskKind::BlockOn && polls::is_idle() {
            polls::set_runtime(None);
        }
        ended.scope.inspect(|scope| scopes::release(*scope));
        true
    }

    /// Whether the detector has seen a task that it spawned itself.
    pub(crate) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Acquire)
    }

    pub(crate) fn set_proven(&self) {
        self.proven.store(true, Ordering::Release);
    }

    /// Whether the key is one that this recorder gave out.
    pub(crate) fn owns(&self, key: Key) -> bool {
        key == Key::UNRECORDED || self.table.get(key).is_some()
    }

    /// Copies every live task, one after the other; no task is held up by it. Returns how many
    /// tasks were recorded since the start.
    pub(crate) fn copy_tasks(&self, mut each: impl FnMut(&RawTask)) -> u64 {
        let now = self.clock.publish();
        let mut spawned = 0;
        for record in self.table.records() {
            // A slot's generations are its tasks, so nobody counts at the spawn.
            spawned += record
                .last_key()
                .map_or(0, |key| u64::from(key.generation()) + 1);
            read(record, scopes::facts, |copied, facts| {
                each(&raw(copied, facts.flatten(), now));
            });
        }
        spawned
    }

    /// How many tasks were recorded since the start.
    #[cfg(feature = "test")]
    pub(crate) fn spawned(&self) -> u64 {
        let keys = self.table.records().filter_map(Record::last_key);
        keys.map(|key| u64::from(key.generation()) + 1).sum()
    }

    /// Copies the live tasks of somebody.
    pub(crate) fn copy_tasks_of(&self, whose: Whose, mut each: impl FnMut(&RawTask)) {
        let now = self.clock.publish();
        let is_within = |scope| scopes::is_within(scope, whose.scope);
        let runs_there = |runtime| whose.runtime == Some(runtime);
        for record in self.table.records() {
            // Most are not; those that are get a closer look.
            if !record.scope().is_some_and(is_within) && !runs_there(record.runtime()) {
                continue;
            }
            let look = |scope| (is_within(scope), scopes::facts(scope));
            read(record, look, |copied, found| {
                let (is_within, facts) = found.unwrap_or_default();
                if is_within || runs_there(copied.runtime) {
                    each(&raw(copied, facts, now));
                }
            });
        }
    }

    /// Tokio's ids of the root futures that are alive and above a task: whose thread waits for it.
    #[cfg(feature = "test")]
    pub(crate) fn roots_above(&self, key: Key) -> Vec<u64> {
        let mut roots = Vec::new();
        let mut above = self.table.get(key).and_then(Record::read);
        for _ in 0..MAX_ANCESTORS {
            let Some(child) = above else { break };
            let parent = child.birth.parent_key;
            above = parent.and_then(|parent| self.table.get(parent)?.read());
            let is_root = |parent: &&Copied| parent.birth.kind == TaskKind::BlockOn;
            roots.extend(above.iter().filter(is_root).map(|root| root.birth.task_id));
        }
        roots
    }

    /// Every record that was ever used, by slot, in pieces.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = impl ExactSizeIterator<Item = Record<'_>>> {
        self.table.chunks()
    }

    /// The record of a slot, whoever has it.
    pub(crate) fn record(&self, slot: u32) -> Option<Record<'_>> {
        self.table.record(slot)
    }

    /// A copy of the task that has this record now.
    pub(crate) fn task(&self, record: Record<'_>, now: Tick) -> Option<RawTask> {
        read(record, scopes::facts, |copied, facts| {
            raw(copied, facts.flatten(), now)
        })
    }

    /// The task that has this record now, and who spawned it: itself, or above it as far as
    /// tasks are held up.
    pub(crate) fn task_with_origin(
        &self,
        record: Record<'_>,
        is_held_up: impl Fn(u32) -> bool,
    ) -> Option<(RawTask, Origin)> {
        read(record, scopes::facts, |copied, facts| {
            let task = raw(copied, facts.flatten(), self.clock.now());
            (task, self.origin(copied.clone(), is_held_up))
        })
    }

    fn origin(&self, mut child: Copied, is_held_up: impl Fn(u32) -> bool) -> Origin {
        for between in 0..MAX_ANCESTORS {
            let Some(key) = child.birth.parent_key else {
                return Origin::Root;
            };
            let task = child.birth.parent;
            match self.table.fate(key, task) {
                Fate::Alive(parent) if parent.birth.kind == TaskKind::BlockOn => {
                    return Origin::Root;
                }
                Fate::Alive(parent) if is_held_up(key.slot()) => child = *parent,
                Fate::Alive(_) => return Origin::Live,
                Fate::Ended(at) => {
                    return Origin::Ended {
                        task,
                        ago_ms: at.map(|at| ms_between(at, self.clock.now())),
                        between,
                    };
                }
            }
        }
        Origin::Live
    }

    fn creation_stack(&self, parent: Option<Poll>) -> Option<StackId> {
        // A `block_on` is called by user code, up to `main`: that stack is the task's too.
        let bound = match parent {
            Some(poll) if poll.kind != TaskKind::BlockOn => poll.bound,
            _ => Bound::THREAD,
        };
        let stack = taskleak_stack::capture(bound, &mut || true);
        if stack.is_err() {
            count(&self.losses.creation_stacks);
        }
        stack.ok()
    }

    /// A task registers a waker within its poll: where it is about to wait.
    fn parks(&self, record: Record<'_>, poll: &Poll) {
        let Cloned::After(alive) = record.clone_waker_in_poll(poll.key) else {
            return;
        };
        let mut over_budget = false;
        let stack = taskleak_stack::capture(poll.bound, &mut || {
            over_budget = !record.spend_capture(self.clock.now(), self.unwinds_per_tick);
            !over_budget
        });
        if stack.is_err() {
            let losses = &self.losses;
            count(if over_budget {
                &losses.over_budget
            } else {
                &losses.park_stacks
            });
        }
        record.note_wait(alive, stack.ok());
    }

    fn waker_gone(&self, record: Record<'_>, key: Key, dropped: Dropped) {
        match dropped {
            Dropped::Counted | Dropped::Gone => {}
            Dropped::Unseen => {
                count(&self.losses.unseen_clones);
                record.note_unseen(key);
            }
            Dropped::Last => self.task_lost(record, key),
        }
    }

    /// Who dropped the last waker is told by its own stack, up to the poll that it is in.
    #[cold]
    fn task_lost(&self, record: Record<'_>, key: Key) {
        let bound = polls::innermost(self.id).map_or(Bound::THREAD, |poll| poll.bound);
        let stack = taskleak_stack::capture(bound, &mut || true);
        let lost = Lost {
            at: self.clock.now(),
            by: stack.ok(),
        };
        record.note_lost(key, lost);
    }

    #[cold]
    fn unrecorded(&self, key: Key, what: u8) -> bool {
        if polls::owner() == Owner::Detector {
            polls::note_seen(what);
        }
        key == Key::UNRECORDED
    }
}

/// Notes which runtime polls a task on this thread.
///
/// Asking tokio takes two locked instructions, so a thread asks once: outside of other polls it
/// polls the tasks of the runtime whose worker it is, or of its last `block_on`, until that ends.
/// What is polled, or dropped, within a poll may be of any runtime, and so may a blocking closure.
#[inline(never)]
fn note_runtime(record: Record<'_>, kind: TaskKind) {
    let known = record.runtime();
    let is_outermost = polls::is_idle() && kind != TaskKind::Blocking;
    let runtime = match kind {
        TaskKind::BlockOn if known != 0 => Some(known),
        TaskKind::Task | TaskKind::Local if is_outermost => {
            polls::runtime().or_else(runtimes::current)
        }
        _ => runtimes::current(),
    };
    if is_outermost {
        polls::set_runtime(runtime);
    }
    if let Some(runtime) = runtime.filter(|_| known == 0) {
        record.set_runtime(runtime);
    }
}

/// Gives a copy of a record away with what `look` finds of its scope, both of one moment.
#[inline(always)]
fn read<T, R>(
    record: Record<'_>,
    look: impl Fn(ScopeId) -> T,
    take: impl FnOnce(&Copied, Option<T>) -> R,
) -> Option<R> {
    loop {
        let copied = record.read()?;
        let found = copied.birth.scope.map(&look);
        // Else the scope may have changed hands.
        if found.is_none() || record.is_still_in_scope(&copied) {
            return Some(take(&copied, found));
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[inline(always)]
fn raw(copied: &Copied, scope: Option<Facts>, now: Tick) -> RawTask {
    let birth = copied.birth;
    let kind = match birth.kind {
        TaskKind::Task => Kind::Task,
        TaskKind::Local => Kind::Local,
        TaskKind::BlockOn => Kind::BlockOn,
        TaskKind::Blocking => Kind::Blocking,
    };
    let state = match (copied.running, copied.notified) {
        (true, _) if kind == Kind::Blocking => State::Blocking,
        (true, _) => State::Running,
        (false, true) => State::Runnable,
        (false, false) => State::Waiting,
    };
    let observable = copied.watched || matches!(kind, Kind::Task | Kind::Local);
    let may_have_more = copied.unseen_wakers && copied.wakers == 0;
    let mut task = RawTask {
        id: birth.task_id,
        parent: birth.parent,
        kind,
        state,
        daemon: birth.daemon,
        scope: scope.map_or(0, |scope| scope.name),
        outlived_ms: scope.and_then(|scope| scope.ended_ms),
        lost_ms: copied.lost.map(|lost| ms_between(lost.at, now)),
        lost_by: copied.lost.and_then(|lost| lost.by).map_or(0, StackId::get),
        created: birth.created.map_or(0, StackId::get),
        waits: [0; MAX_WAITS],
        waits_len: 0,
        wakers: (observable && !may_have_more).then_some(copied.wakers),
        wakers_explained: 0,
        // Of a lost task they are those that it had, gone or not.
        waits_guessed: copied.lost.is_none()
            && (copied.doubtful || copied.waits.iter().any(|wait| wait.doubtful)),
        name: birth.name.into(),
        spawned_at: birth.location.into(),
        runtime: copied.runtime,
        in_state_ms: ms_between(copied.since, now),
        age_ms: ms_between(copied.spawned, now),
        polls: copied.polls,
        busy_ms: u64::from(copied.busy_ticks) * TICK.as_millis() as u64,
        future_bytes: birth.future_bytes,
    };
    for wait in copied.waits.iter() {
        task.waits[usize::from(task.waits_len)] = wait.stack.map_or(0, StackId::get);
        task.waits_len += 1;
        task.wakers_explained += u32::from(wait.alive);
    }
    if copied.wakers == MANY_WAKERS {
        // Too many to count: nobody can tell how many have no stack.
        task.wakers_explained = copied.wakers;
    }
    task
}
