//! One task's record: two halves of 64 bytes, all atomics, no lock.
//!
//! Two words hold the state (`state.rs`): `wake`, which any thread changes by a compare-and-swap,
//! and `poll`, which only the thread that polls the task writes, by a plain store. So a poll, and
//! what it does to its own wakers, costs no locked instruction.
//!
//! Rules:
//! 1. A record belongs to one task from [`Record::start`] to [`Record::end`]. `start` writes
//!    the fields first and the word last (release); `end` clears LIVE and counts the generation
//!    up, so that every later transition with the old key fails.
//! 2. `poll`, `polls`, `busy_ticks`, `runtime_kind` and the waits are written by the spawner before
//!    the task is shared, and after that by the thread that polls it alone. tokio polls a task on
//!    one thread at a time, with an acquire/release edge between two polls, so they need no
//!    read-modify-write.
//! 3. Wakers are cloned, dropped and woken on any thread, also after the task has ended: outside
//!    of the task's own poll those transitions are a compare-and-swap of the word that checks the
//!    key first. The word holds the low 14 bits of the generation: a swap is fooled only if the
//!    slot is reused a multiple of 16,384 times, in the same tick, between the check and the swap.
//!    What is decided by both words is decided of one moment: `wake` is read before `poll`, and is
//!    the same after, because it was swapped or looked at again.
//! 4. A reader copies a record with [`Record::read`], which fails if the record changed hands
//!    meanwhile. It never writes. A poll counts itself before it writes anything else, so a copy
//!    with one count of polls before and after is not of two polls, be they in one tick.
//! 5. The waker count saturates at [`MANY_WAKERS`] and then stays: too many is never "none".
//! 6. tokio polls a task that was woken, and enters its span once more to drop its future. So an
//!    enter without a wake (UNWOKEN) that leaves no waker behind is the end of the task, for
//!    those who are not told of it ([`Exited::Dropped`]). A wake is told of before tokio acts on
//!    it, and a poll may begin in between; then one wake of several was for the poll after. So
//!    the poll that comes after one which had seen several is never taken for UNWOKEN (SPARE).
//! 7. The drop of the last waker of a task that waits and was not woken is noted by whoever
//!    dropped it, in one word with the low 12 bits of the generation. A note is of the present
//!    wait if its generation is the task's and it is not older than `since`. If a waker of the task
//!    was cloned where this recorder does not see it, the note says that instead, for good: of such
//!    a task "no waker" is not known.
//! 8. The word of a task that has ended keeps the tick of that in `woken`, until the next task.
//! 9. The link is the free list's while the slot is free, and the scope of the task while a task
//!    has it. Only the spawner and the thread that polls the task write a scope, never after
//!    the end. The free list writes it by a release store, after the word says that the task has
//!    ended: a reader that took a link for a scope sees that when it looks again.
//! 10. tokio polls only what was woken. So a poll without a wake (UNWOKEN) that is not the drop of
//!     the future was woken where nobody told of it: by a thread under another subscriber. Most
//!     wakes use their waker up, so one is counted off when that poll returns, and from then on it
//!     is doubtful which of the task's wakers are alive (DOUBTFUL).

use taskleak_stack::StackId;

use crate::key::Key;
use crate::scopes::ScopeId;
pub(crate) use crate::state::{Glance, MANY_WAKERS, Tick};
use crate::state::{PollWord, State, WakeWord};
use crate::sync::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use crate::waits::{WAITS, Wait, Waits};

/// How often a reader tries for a copy that holds still.
const READ_TRIES: u32 = if cfg!(taskleak_loom) { 2 } else { 8 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TaskKind {
    Task = 0,
    Local = 1,
    BlockOn = 2,
    Blocking = 3,
}

impl TaskKind {
    fn from_bits(bits: u32) -> TaskKind {
        match bits {
            0 => TaskKind::Task,
            1 => TaskKind::Local,
            2 => TaskKind::BlockOn,
            _ => TaskKind::Blocking,
        }
    }
}

/// What is known of a task when it is spawned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Birth {
    pub(crate) task_id: u64,
    /// tokio's id of the spawning task; 0 for none.
    pub(crate) parent: u64,
    /// Its key; `None` for none.
    pub(crate) parent_key: Option<Key>,
    pub(crate) kind: TaskKind,
    /// It is meant to run as long as the process.
    pub(crate) daemon: bool,
    /// The scope that it belongs to.
    pub(crate) scope: Option<ScopeId>,
    pub(crate) created: Option<StackId>,
    pub(crate) name: u16,
    pub(crate) location: u16,
    pub(crate) future_bytes: u32,
}

/// What an enter and exit of a task's span was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Exited {
    /// The span is none of the recorder's.
    NotOurs,
    Polled,
    /// It was woken unseen (rule 10), or its future was dropped and left a waker behind.
    PolledUnwoken,
    /// The future was dropped, so the task has ended (rule 6).
    Dropped,
}

/// The end of a task, by whoever ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the task's hold on its scope is to be released"]
pub(crate) struct Ended {
    pub(crate) kind: TaskKind,
    pub(crate) scope: Option<ScopeId>,
}

/// What a clone of a waker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Cloned {
    /// So many were alive before it.
    After(u32),
    /// The task has ended.
    Gone,
}

/// What the loss of a waker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Dropped {
    Counted,
    /// It was the last, and the task waits: nothing can wake it any more.
    Last,
    /// No waker was counted: its clone went to another subscriber.
    Unseen,
    /// The task has ended.
    Gone,
}

/// A consistent copy of a record.
#[derive(Debug, Clone)]
pub(crate) struct Copied {
    pub(crate) glance: Glance,
    pub(crate) birth: Birth,
    pub(crate) spawned: Tick,
    pub(crate) since: Tick,
    pub(crate) running: bool,
    pub(crate) notified: bool,
    pub(crate) wakers: u32,
    pub(crate) polls: u64,
    pub(crate) busy_ticks: u32,
    pub(crate) runtime: u32,
    /// Its wakers are watched by this crate, not told of by tokio.
    pub(crate) watched: bool,
    /// It was woken unseen (rule 10).
    pub(crate) doubtful: bool,
    pub(crate) waits: Waits,
    pub(crate) lost: Option<Lost>,
    /// Some of its wakers were cloned unseen, so it may have more than are counted.
    pub(crate) unseen_wakers: bool,
}

/// What a record was of while it was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// The same wait or poll of the same task.
    Still,
    SameTask,
    Other,
}

/// The drop of the last waker of a task that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) at: Tick,
    /// Who dropped it; `None` if that was not captured.
    pub(crate) by: Option<StackId>,
}

/// What polls and wakes touch, and a sweep: one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Hot {
    /// The key of the task; 0 while the slot has never been used.
    key: AtomicU64,
    wake: AtomicU64,
    poll: AtomicU64,
    polls: AtomicU64,
    task_id: AtomicU64,
    busy_ticks: AtomicU32,
    spawned: AtomicU32,
    /// Kind in the low 2 bits, then whether it is a daemon, whether its wakers are watched by this
    /// crate (`root.rs`), rule 10, and the runtime's id above.
    runtime_kind: AtomicU32,
    /// References to the span.
    span_refs: AtomicU32,
    /// Rule 9.
    link: AtomicU32,
    created: AtomicU32,
}

/// What a spawn and a park write, and who copies the record reads: another cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Cold {
    parent: AtomicU64,
    /// The parent's key; 0 for none.
    parent_key: AtomicU64,
    name: AtomicU16,
    location: AtomicU16,
    future_bytes: AtomicU32,
    /// Rule 7: the tick (32), the stack's id (20), the generation (12).
    lost: AtomicU64,
    waits: [AtomicU32; WAITS],
}

#[cfg(not(taskleak_loom))]
const _: () = assert!(size_of::<Hot>() == 64 && size_of::<Cold>() == 64);

/// Both halves of a record, which lie apart: a sweep reads every first one, and no second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) hot: &'a Hot,
    pub(crate) cold: &'a Cold,
}

const KIND_MASK: u32 = 0b11;
const DAEMON: u32 = 0b100;
const WATCHED: u32 = 0b1000;
const DOUBTFUL: u32 = 0b1_0000;
const RUNTIME_SHIFT: u32 = 5;
const NOT_RUNTIME: u32 = (1 << RUNTIME_SHIFT) - 1;
const LOST_GENERATION_MASK: u32 = 0xfff;
/// In place of the id of a stack: wakers were cloned unseen.
const UNSEEN: u32 = 0xf_ffff;

impl Hot {
    pub(crate) fn vacant() -> Hot {
        Hot {
            key: AtomicU64::new(0),
            wake: AtomicU64::new(0),
            poll: AtomicU64::new(0),
            polls: AtomicU64::new(0),
            task_id: AtomicU64::new(0),
            busy_ticks: AtomicU32::new(0),
            spawned: AtomicU32::new(0),
            runtime_kind: AtomicU32::new(0),
            span_refs: AtomicU32::new(0),
            link: AtomicU32::new(0),
            created: AtomicU32::new(0),
        }
    }
}

impl Cold {
    pub(crate) fn vacant() -> Cold {
        Cold {
            parent: AtomicU64::new(0),
            parent_key: AtomicU64::new(0),
            name: AtomicU16::new(0),
            location: AtomicU16::new(0),
            future_bytes: AtomicU32::new(0),
            lost: AtomicU64::new(0),
            waits: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

impl<'a> Record<'a> {
    /// Makes the record the task's. The caller has taken the slot from the free list.
    pub(crate) fn start(self, key: Key, birth: &Birth, now: Tick) {
        // Rule 1: a reader that still holds the previous task's word must see it change.
        fence(Ordering::Release);
        self.hot.key.store(key.span_id(), Ordering::Relaxed);
        self.hot.task_id.store(birth.task_id, Ordering::Relaxed);
        self.cold.parent.store(birth.parent, Ordering::Relaxed);
        self.cold
            .parent_key
            .store(birth.parent_key.map_or(0, Key::span_id), Ordering::Relaxed);
        self.hot.polls.store(0, Ordering::Relaxed);
        self.hot.busy_ticks.store(0, Ordering::Relaxed);
        self.hot.spawned.store(now, Ordering::Relaxed);
        self.hot
            .created
            .store(birth.created.map_or(0, StackId::get), Ordering::Relaxed);
        self.cold.name.store(birth.name, Ordering::Relaxed);
        self.cold.location.store(birth.location, Ordering::Relaxed);
        self.cold
            .future_bytes
            .store(birth.future_bytes, Ordering::Relaxed);
        let daemon = if birth.daemon { DAEMON } else { 0 };
        self.hot
            .runtime_kind
            .store(birth.kind as u32 | daemon, Ordering::Relaxed);
        self.hot.span_refs.store(1, Ordering::Relaxed);
        self.set_scope(birth.scope);
        self.clear_waits();
        self.hot
            .poll
            .store(PollWord::born(now).0, Ordering::Relaxed);
        let wake = WakeWord::born(key, now);
        self.hot.wake.store(wake.0, Ordering::Release);
    }

    /// The task is over. `None` if it was not alive.
    pub(crate) fn end(self, key: Key, now: Tick) -> Option<Ended> {
        self.update(key, |_| Some(WakeWord::ended(key, now)))?;
        // Nobody else has the record before it is on a free list.
        Some(Ended {
            kind: self.kind(),
            scope: self.scope(),
        })
    }

    /// The scope that the task belongs to.
    pub(crate) fn scope(self) -> Option<ScopeId> {
        ScopeId::from_u32(self.hot.link.load(Ordering::Relaxed))
    }

    /// Says which scope the task belongs to. The caller spawns or polls the task.
    pub(crate) fn set_scope(self, scope: Option<ScopeId>) {
        self.hot
            .link
            .store(scope.map_or(0, ScopeId::get), Ordering::Relaxed);
    }

    /// When the task ended that had the slot last, while no other has it.
    pub(crate) fn ended(self, key: Key) -> Option<Tick> {
        let wake = WakeWord(self.hot.wake.load(Ordering::Acquire));
        (!wake.is_live() && self.is(key)).then(|| wake.woken())
    }

    /// A poll begins. The caller polls the task.
    pub(crate) fn enter(self, key: Key, now: Tick) -> bool {
        let Some(state) = self.state_of(key) else {
            return false;
        };
        let polls = self.hot.polls.load(Ordering::Relaxed);
        self.hot.polls.store(polls + 1, Ordering::Relaxed);
        self.hot.poll.store(state.entered(now).0, Ordering::Release);
        // A reader that sees what this poll writes must see the poll counted (rule 4).
        fence(Ordering::Release);
        true
    }

    /// A poll has returned. The caller polled the task.
    pub(crate) fn exit(self, key: Key, now: Tick) -> Exited {
        let Some(state) = self.state_of(key) else {
            return Exited::Polled;
        };
        // The threads that publish the time may do so in the wrong order.
        let busy = now.wrapping_sub(state.poll.since()) as i32;
        if busy > 0 {
            let before = self.hot.busy_ticks.load(Ordering::Relaxed);
            self.hot
                .busy_ticks
                .store(before.wrapping_add(busy as u32), Ordering::Relaxed);
        }
        self.hot
            .poll
            .store(state.poll.left(now).0, Ordering::Release);
        if state.is_unwoken() {
            self.left_unwoken(key, state)
        } else {
            Exited::Polled
        }
    }

    #[cold]
    fn left_unwoken(self, key: Key, state: State) -> Exited {
        // The wakers of a `block_on` are not seen.
        if self.kind() == TaskKind::BlockOn {
            return Exited::Polled;
        }
        if state.wakers() == 0 && !self.is_doubtful() {
            return Exited::Dropped;
        }
        // One was used up where nobody told of it (rule 10).
        self.update(key, State::lost_elsewhere);
        let others = self.hot.runtime_kind.load(Ordering::Relaxed);
        self.hot
            .runtime_kind
            .store(others | DOUBTFUL, Ordering::Relaxed);
        Exited::PolledUnwoken
    }

    fn is_doubtful(self) -> bool {
        self.hot.runtime_kind.load(Ordering::Relaxed) & DOUBTFUL != 0
    }

    /// A waker was cloned within the poll of the task, by the caller, who polls it.
    pub(crate) fn clone_waker_in_poll(self, key: Key) -> Cloned {
        let Some(state) = self.state_of(key) else {
            return Cloned::Gone;
        };
        self.hot.poll.store(state.cloned().0, Ordering::Release);
        Cloned::After(state.wakers())
    }

    /// A waker was cloned elsewhere, on any thread.
    pub(crate) fn clone_waker(self, key: Key) {
        self.update(key, State::cloned_elsewhere);
    }

    /// A waker was dropped within the poll of the task, by the caller, who polls it.
    pub(crate) fn drop_waker_in_poll(self, key: Key) -> Dropped {
        let state = self.state_of(key);
        if let Some(state) = state {
            self.hot.poll.store(state.lost().0, Ordering::Release);
        }
        dropped(state)
    }

    /// A waker was dropped elsewhere, on any thread.
    pub(crate) fn drop_waker(self, key: Key) -> Dropped {
        match self.update(key, State::lost_elsewhere) {
            Some(before) if before.wakers() == 1 && self.still_waits(before) => Dropped::Last,
            before => dropped(before),
        }
    }

    /// Whether the task waits now, if it was not woken since its state was `before`: a poll may have
    /// ended meanwhile.
    fn still_waits(self, before: State) -> bool {
        let poll = PollWord(self.hot.poll.load(Ordering::Acquire));
        State { poll, ..before }.waits()
    }

    /// Notes who dropped the last waker ([`Dropped::Last`]).
    pub(crate) fn note_lost(self, key: Key, lost: Lost) {
        if !self.has_unseen_wakers(key) {
            let by = lost.by.map_or(0, StackId::get);
            let packed = u64::from(lost.at) << 32 | u64::from(noted(by, key));
            self.cold.lost.store(packed, Ordering::Relaxed);
        }
    }

    /// Notes that wakers of the task are cloned unseen ([`Dropped::Unseen`]).
    pub(crate) fn note_unseen(self, key: Key) {
        let packed = u64::from(noted(UNSEEN, key));
        self.cold.lost.store(packed, Ordering::Relaxed);
    }

    fn has_unseen_wakers(self, key: Key) -> bool {
        self.cold.lost.load(Ordering::Relaxed) as u32 == noted(UNSEEN, key)
    }

    /// A waker was woken and kept, on any thread.
    pub(crate) fn wake_by_ref(self, key: Key, now: Tick) {
        self.update(key, |state| state.woken(now));
    }

    /// A waker was woken and used up, on any thread.
    pub(crate) fn wake(self, key: Key, now: Tick) -> Dropped {
        dropped(self.update(key, |state| Some(state.woken_by_value(now))))
    }

    /// Notes where a waker was cloned, before which `alive` were. The caller polls the task.
    pub(crate) fn note_wait(self, alive: u32, stack: Option<StackId>) {
        let poll = self.hot.polls.load(Ordering::Relaxed);
        if alive == 0 {
            // By far the most parks: nothing of the past is left.
            self.store_waits([Wait::first(stack, poll)]);
            return;
        }
        let mut waits = self.waits();
        waits.clone_at(stack, poll, (alive != MANY_WAKERS).then_some(alive));
        self.store_waits(waits.iter().copied());
    }

    #[inline]
    fn store_waits(self, waits: impl IntoIterator<Item = Wait>) {
        let packed = waits.into_iter().map(Wait::pack).chain([0]);
        for (slot, wait) in self.cold.waits.iter().zip(packed) {
            slot.store(wait, Ordering::Relaxed);
        }
    }

    /// Whether the task may still unwind in this tick; counts it if so. The caller polls it.
    pub(crate) fn spend_capture(self, now: Tick, most: u32) -> bool {
        let poll = PollWord(self.hot.poll.load(Ordering::Relaxed));
        let spent = poll.spent(now, most);
        spent.inspect(|poll| self.hot.poll.store(poll.0, Ordering::Release));
        spent.is_some()
    }

    /// The id of the runtime that polls the task; 0 if it is not known yet.
    pub(crate) fn runtime(self) -> u32 {
        self.hot.runtime_kind.load(Ordering::Relaxed) >> RUNTIME_SHIFT
    }

    /// Notes the runtime. The caller polls the task.
    pub(crate) fn set_runtime(self, runtime: u32) {
        let others = self.hot.runtime_kind.load(Ordering::Relaxed) & NOT_RUNTIME;
        self.hot
            .runtime_kind
            .store(runtime << RUNTIME_SHIFT | others, Ordering::Relaxed);
    }

    /// Notes that its wakers are watched, though tokio does not tell of them. The caller polls the
    /// task.
    #[cfg(feature = "test")]
    pub(crate) fn set_watched(self) {
        let others = self.hot.runtime_kind.load(Ordering::Relaxed);
        self.hot
            .runtime_kind
            .store(others | WATCHED, Ordering::Relaxed);
    }

    pub(crate) fn kind(self) -> TaskKind {
        TaskKind::from_bits(self.hot.runtime_kind.load(Ordering::Relaxed) & KIND_MASK)
    }

    /// The state, to be compared with that of another time. A task that is polled so fast that
    /// its words do not hold still is running.
    pub(crate) fn glance(self) -> Glance {
        match self.state_of_one_moment() {
            Some(state) => state.glance(),
            None => self.glance_again(),
        }
    }

    #[cold]
    fn glance_again(self) -> Glance {
        let state = (1..READ_TRIES).find_map(|_| self.state_of_one_moment());
        let state = state.unwrap_or_else(|| self.state().as_running());
        state.glance()
    }

    fn state_of_one_moment(self) -> Option<State> {
        let state = self.state();
        let is_same = state.wake.0 == self.hot.wake.load(Ordering::Relaxed);
        is_same.then_some(state)
    }

    /// Whether the task of a copy has lived in the same scope since.
    pub(crate) fn is_still_in_scope(self, copied: &Copied) -> bool {
        fence(Ordering::Acquire);
        self.glance().same_task(copied.glance) && self.scope() == copied.birth.scope
    }

    /// When the task was spawned that has or last had the slot.
    pub(crate) fn spawned(self) -> Tick {
        self.hot.spawned.load(Ordering::Relaxed)
    }

    pub(crate) fn task_id(self) -> u64 {
        self.hot.task_id.load(Ordering::Relaxed)
    }

    /// The key of the task that spawned it.
    pub(crate) fn parent_key(self) -> Option<Key> {
        Key::from_span_id(self.cold.parent_key.load(Ordering::Relaxed))
    }

    /// Whether the task of this key lives.
    pub(crate) fn is_live(self, key: Key) -> bool {
        WakeWord(self.hot.wake.load(Ordering::Relaxed)).is_of(key)
    }

    pub(crate) fn is(self, key: Key) -> bool {
        self.hot.key.load(Ordering::Relaxed) == key.span_id()
    }

    /// The key of the task that has or last had the slot.
    pub(crate) fn last_key(self) -> Option<Key> {
        Key::from_span_id(self.hot.key.load(Ordering::Relaxed))
    }

    /// The span was cloned.
    pub(crate) fn add_span_ref(self) {
        self.hot.span_refs.fetch_add(1, Ordering::Relaxed);
    }

    /// A reference to the span is gone. Returns whether it was the last.
    pub(crate) fn drop_span_ref(self) -> bool {
        // Only who has a reference can make another, so of one that is the last there is no race.
        self.hot.span_refs.load(Ordering::Acquire) == 1
            || self.hot.span_refs.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// The link of the free list; only the table uses it.
    pub(crate) fn link(self) -> &'a AtomicU32 {
        &self.hot.link
    }

    /// Copies the record, if a task has it. A task that is polled so fast that no copy holds
    /// still is running.
    // Inlined into the walk of a snapshot: a copy that is moved costs as much as its making.
    #[inline(always)]
    pub(crate) fn read(self) -> Option<Copied> {
        let Some(state) = self.state_of_one_moment() else {
            return self.read_again(None);
        };
        if !state.wake.is_live() {
            return None;
        }
        let copied = self.copy(state);
        match self.held(state, &copied) {
            Held::Still => Some(copied),
            Held::SameTask => self.read_again(Some(copied)),
            Held::Other => self.read_again(None),
        }
    }

    #[cold]
    fn read_again(self, mut last: Option<Copied>) -> Option<Copied> {
        for _ in 1..READ_TRIES {
            let one_moment = self.state_of_one_moment();
            let state = one_moment.unwrap_or_else(|| self.state());
            if !state.wake.is_live() {
                return None;
            }
            let copied = self.copy(state);
            match self.held(state, &copied) {
                Held::Still if one_moment.is_some() => return Some(copied),
                Held::Still => last = Some(copied),
                Held::SameTask => last = Some(copied),
                Held::Other => {}
            }
        }
        // What the birth says holds, what it waits for may not.
        last.map(|copied| Copied {
            running: true,
            waits: Waits::default(),
            ..copied
        })
    }

    /// What the record was of from when its state was read until it was copied.
    #[inline(always)]
    fn held(self, state: State, copied: &Copied) -> Held {
        fence(Ordering::Acquire);
        let one_poll = copied.polls == self.hot.polls.load(Ordering::Relaxed)
            && state.poll.0 == self.hot.poll.load(Ordering::Relaxed);
        let wake = WakeWord(self.hot.wake.load(Ordering::Relaxed));
        if one_poll && wake.same_wakes(state.wake) {
            Held::Still
        } else if wake.same_task(state.wake) {
            Held::SameTask
        } else {
            Held::Other
        }
    }

    #[inline(always)]
    fn copy(self, state: State) -> Copied {
        // Before what a poll writes; `read` compares it with the count after.
        let polls = self.hot.polls.load(Ordering::Acquire);
        let runtime_kind = self.hot.runtime_kind.load(Ordering::Relaxed);
        let wakers = state.wakers();
        let mut waits = self.waits();
        let lost = (wakers == 0).then(|| self.lost(state.since())).flatten();
        // Where a lost task waited is told by the wakers that it had.
        if wakers != MANY_WAKERS && lost.is_none() {
            waits.settle(polls, wakers);
        }
        Copied {
            glance: state.glance(),
            birth: Birth {
                task_id: self.hot.task_id.load(Ordering::Relaxed),
                parent: self.cold.parent.load(Ordering::Relaxed),
                parent_key: self.parent_key(),
                kind: TaskKind::from_bits(runtime_kind & KIND_MASK),
                daemon: runtime_kind & DAEMON != 0,
                scope: self.scope(),
                created: StackId::from_u32(unmodelled(&self.hot.created)),
                name: self.cold.name.load(Ordering::Relaxed),
                location: match cfg!(taskleak_loom) {
                    true => 0,
                    false => self.cold.location.load(Ordering::Relaxed),
                },
                future_bytes: unmodelled(&self.cold.future_bytes),
            },
            spawned: unmodelled(&self.hot.spawned),
            since: state.since(),
            running: state.is_running(),
            notified: state.is_notified(),
            wakers,
            polls,
            busy_ticks: unmodelled(&self.hot.busy_ticks),
            runtime: runtime_kind >> RUNTIME_SHIFT,
            watched: runtime_kind & WATCHED != 0,
            doubtful: runtime_kind & DOUBTFUL != 0,
            waits,
            lost,
            unseen_wakers: self
                .last_key()
                .is_some_and(|key| self.has_unseen_wakers(key)),
        }
    }

    /// What is noted of the present wait (rule 7).
    fn lost(self, since: Tick) -> Option<Lost> {
        let key = self.last_key()?;
        let packed = self.cold.lost.load(Ordering::Relaxed);
        let (at, by) = ((packed >> 32) as Tick, packed as u32);
        let is_of_this_wait = by & LOST_GENERATION_MASK == lost_generation(key)
            && by >> 12 != UNSEEN
            && at.wrapping_sub(since) as i32 >= 0;
        (packed != 0 && is_of_this_wait).then(|| Lost {
            at,
            by: StackId::from_u32(by >> 12),
        })
    }

    #[inline(always)]
    fn waits(self) -> Waits {
        let packed = self
            .cold
            .waits
            .iter()
            .map(|slot| slot.load(Ordering::Relaxed));
        packed.collect()
    }

    fn clear_waits(self) {
        for slot in &self.cold.waits {
            slot.store(0, Ordering::Relaxed);
        }
    }

    /// Both words, in the order of rule 3; of one moment if `wake` is the same after.
    fn state(self) -> State {
        let wake = WakeWord(self.hot.wake.load(Ordering::Acquire));
        let poll = PollWord(self.hot.poll.load(Ordering::Acquire));
        State { wake, poll }
    }

    /// The same for the thread that polls the task: nobody gives the record to another meanwhile.
    fn state_of(self, key: Key) -> Option<State> {
        let state = self.state();
        state.wake.is_of(key).then_some(state)
    }

    /// Swaps the word of wakes for `next` of the state while the record is the task's; `None`
    /// leaves it. Returns the state before.
    fn update(self, key: Key, next: impl Fn(State) -> Option<WakeWord>) -> Option<State> {
        let mut wake = self.hot.wake.load(Ordering::Acquire);
        loop {
            let poll = PollWord(self.hot.poll.load(Ordering::Acquire));
            let wake_word = WakeWord(wake);
            if !wake_word.is_of(key) || !self.is(key) {
                return None;
            }
            let state = State {
                wake: wake_word,
                poll,
            };
            let Some(new) = next(state) else {
                // No swap tells whether both words were of one moment.
                let now = self.hot.wake.load(Ordering::Acquire);
                if now == wake {
                    return Some(state);
                }
                wake = now;
                continue;
            };
            match self.hot.wake.compare_exchange_weak(
                wake,
                new.0,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(state),
                Err(now) => wake = now,
            }
        }
    }
}

/// Reads a field that is written and read as its neighbours are. The model reads those alone: each
/// more that it reads doubles what it has to explore.
fn unmodelled(field: &AtomicU32) -> u32 {
    match cfg!(taskleak_loom) {
        true => 0,
        false => field.load(Ordering::Relaxed),
    }
}

fn dropped(before: Option<State>) -> Dropped {
    match before {
        Some(state) if state.wakers() == 0 => Dropped::Unseen,
        Some(_) => Dropped::Counted,
        None => Dropped::Gone,
    }
}

fn noted(stack: u32, key: Key) -> u32 {
    stack << 12 | lost_generation(key)
}

fn lost_generation(key: Key) -> u32 {
    key.generation() & LOST_GENERATION_MASK
}

#[cfg(all(test, not(taskleak_loom)))]
mod tests {
    use super::*;

    fn parked(polls: &[&[u32]]) -> Record<'static> {
        let record = Record {
            hot: Box::leak(Box::new(Hot::vacant())),
            cold: Box::leak(Box::new(Cold::vacant())),
        };
        record.start(key(), &birth(), 0);
        for stacks in polls {
            record.enter(key(), 1);
            for stack in *stacks {
                clone_at(record, *stack);
            }
            let _ = record.exit(key(), 2);
        }
        record
    }

    fn key() -> Key {
        Key::new(3, 7)
    }

    fn birth() -> Birth {
        Birth {
            task_id: 17,
            parent: 3,
            parent_key: None,
            kind: TaskKind::Task,
            daemon: false,
            scope: None,
            created: None,
            name: 0,
            location: 0,
            future_bytes: 0,
        }
    }

    fn clone_at(record: Record<'_>, stack: u32) {
        match record.clone_waker_in_poll(key()) {
            Cloned::After(alive) => record.note_wait(alive, StackId::from_u32(stack)),
            Cloned::Gone => panic!("the task has not ended"),
        }
    }

    fn waits(record: Record<'_>) -> Vec<(u32, u8)> {
        let copied = record.read().unwrap();
        let id = |wait: &Wait| wait.stack.map_or(0, StackId::get);
        let waits = copied.waits.iter();
        waits.map(|wait| (id(wait), wait.alive)).collect()
    }

    #[test]
    fn the_stacks_of_live_wakers_are_read() {
        let record = parked(&[&[1, 0]]);
        assert_eq!(waits(record), [(0, 1), (1, 1)], "0 was not captured");
        assert_eq!(record.drop_waker(key()), Dropped::Counted);
        assert_eq!(waits(record), [(1, 1)]);
        assert_eq!(record.read().unwrap().lost, None);
        assert_eq!(record.wake(key(), 3), Dropped::Counted);
        assert_eq!(waits(record), []);
        record.enter(key(), 3);
        clone_at(record, 9);
        let _ = record.exit(key(), 4);
        assert_eq!(waits(record), [(9, 1)]);
    }

    #[test]
    fn states_follow_polls_and_wakes() {
        let record = parked(&[]);
        let state = |record: Record<'_>| {
            let copied = record.read().unwrap();
            (copied.running, copied.notified, copied.since)
        };
        assert_eq!(state(record), (false, true, 0), "runnable once spawned");
        record.enter(key(), 5);
        assert_eq!(state(record), (true, false, 5));
        record.wake_by_ref(key(), 6);
        assert_eq!(state(record), (true, true, 5), "woken while it runs");
        let _ = record.exit(key(), 7);
        assert_eq!(state(record), (false, true, 7));
        record.enter(key(), 8);
        let _ = record.exit(key(), 9);
        assert_eq!(
            state(record),
            (false, false, 9),
            "waiting since it returned"
        );
        record.wake_by_ref(key(), 10);
        record.wake_by_ref(key(), 11);
        assert_eq!(state(record), (false, true, 10), "woken at the first wake");
        assert_eq!(record.read().unwrap().busy_ticks, 2 + 1);
        record.enter(key(), 7);
        let _ = record.exit(key(), 5);
        assert_eq!(
            record.read().unwrap().busy_ticks,
            2 + 1,
            "no time is negative"
        );
    }

    #[test]
    fn the_drop_of_the_last_waker_of_a_wait_is_noted() {
        let record = parked(&[&[1]]);
        let lost = Lost {
            at: 5,
            by: StackId::from_u32(9),
        };
        assert_eq!(record.drop_waker(key()), Dropped::Last);
        assert_eq!(record.read().unwrap().lost, None);
        record.note_lost(key(), lost);
        assert_eq!(record.read().unwrap().lost, Some(lost));
        // It was aborted, say, and waits once more: the note is of the wait before.
        record.enter(key(), 6);
        let _ = record.exit(key(), 7);
        assert_eq!(record.read().unwrap().lost, None);
    }

    #[test]
    fn a_task_with_wakers_that_are_not_seen_is_not_lost() {
        let record = parked(&[&[1]]);
        record.note_unseen(key());
        assert_eq!(record.drop_waker(key()), Dropped::Last);
        record.note_lost(key(), Lost { at: 9, by: None });
        let copied = record.read().unwrap();
        assert!(copied.unseen_wakers && copied.lost.is_none());
        assert!(record.end(key(), 9).is_some());
        record.start(Key::new(3, 8), &birth(), 9);
        assert!(!record.read().unwrap().unseen_wakers);
    }

    #[test]
    fn a_late_note_is_not_of_the_next_task() {
        let record = parked(&[&[1]]);
        assert!(record.end(key(), 3).is_some());
        let next = Key::new(3, 8);
        record.start(next, &birth(), 3);
        record.note_lost(key(), Lost { at: 4, by: None });
        assert_eq!(record.read().unwrap().lost, None);
    }

    #[test]
    fn a_waker_that_goes_while_the_task_runs_or_was_woken_is_not_its_loss() {
        let record = parked(&[&[1, 2]]);
        record.enter(key(), 3);
        assert_eq!(record.drop_waker(key()), Dropped::Counted);
        record.wake_by_ref(key(), 3);
        let _ = record.exit(key(), 3);
        assert_eq!(record.drop_waker(key()), Dropped::Counted);
    }

    #[test]
    fn equal_glances_are_of_one_wait() {
        let record = parked(&[&[1]]);
        let parked = record.glance();
        assert!(parked.waits() && parked.since() == 2);
        assert_eq!(record.glance(), parked);
        record.enter(key(), 3);
        assert!(!record.glance().waits());
        let _ = record.exit(key(), 4);
        assert_ne!(record.glance(), parked);
        assert!(record.end(key(), 5).is_some() && !record.glance().waits());
    }

    #[test]
    fn an_enter_without_a_wake_drops_the_future() {
        let record = parked(&[&[1]]);
        assert_eq!(record.wake(key(), 3), Dropped::Counted);
        record.enter(key(), 4);
        assert_eq!(record.exit(key(), 4), Exited::Polled, "it was woken");
        record.enter(key(), 5);
        assert_eq!(record.exit(key(), 5), Exited::Dropped);
    }

    #[test]
    fn a_wake_that_nobody_told_of_leaves_doubt() {
        let record = parked(&[&[1]]);
        record.enter(key(), 3);
        assert_eq!(record.exit(key(), 3), Exited::PolledUnwoken);
        let copied = record.read().unwrap();
        assert_eq!((copied.wakers, copied.doubtful), (0, true));
        // It may have kept a waker that was woken by reference, so this is no proof of its end.
        record.enter(key(), 4);
        assert_eq!(record.exit(key(), 4), Exited::PolledUnwoken);
        assert!(record.end(key(), 5).is_some());
        record.start(Key::new(3, 8), &birth(), 6);
        assert!(!record.read().unwrap().doubtful);
    }

    #[test]
    fn a_stale_key_changes_nothing() {
        let record = parked(&[&[1]]);
        let stale = Key::new(3, 6);
        assert_eq!(record.clone_waker_in_poll(stale), Cloned::Gone);
        record.clone_waker(stale);
        assert_eq!(record.wake(stale, 9), Dropped::Gone);
        assert!(!record.enter(stale, 9) && record.end(stale, 9).is_none());
        assert_eq!(record.read().unwrap().wakers, 1);
        assert_eq!(record.ended(key()), None);
        assert!(record.end(key(), 11).is_some() && record.end(key(), 12).is_none());
        assert_eq!(record.ended(key()), Some(11));
        assert_eq!(record.ended(stale), None);
        assert_eq!(record.drop_waker(key()), Dropped::Gone);
        assert!(record.read().is_none());
    }

    #[test]
    fn wakers_saturate_and_are_never_none_after() {
        let record = parked(&[]);
        for _ in 0..=MANY_WAKERS {
            record.clone_waker(key());
            let _ = record.clone_waker_in_poll(key());
        }
        for _ in 0..=MANY_WAKERS {
            let _ = record.drop_waker(key());
            let _ = record.drop_waker_in_poll(key());
        }
        assert_eq!(record.read().unwrap().wakers, MANY_WAKERS);
    }

    #[test]
    fn a_drop_without_a_clone_is_told() {
        let record = parked(&[]);
        assert_eq!(record.drop_waker(key()), Dropped::Unseen);
        assert_eq!(record.wake(key(), 1), Dropped::Unseen);
    }

    #[test]
    fn the_budget_is_for_each_tick() {
        let record = parked(&[]);
        assert!(record.spend_capture(1, 2) && record.spend_capture(1, 2));
        assert!(!record.spend_capture(1, 2));
        assert!(record.spend_capture(2, 2));
    }
}
