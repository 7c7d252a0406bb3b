//! What this thread is polling: the innermost task, where its poll began on the stack, and
//! whether this thread is one of the detector's own.
//!
//! All of it is in cells without a destructor, so it can be read while a thread starts or ends.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use taskleak_stack::Bound;

use crate::key::Key;
use crate::record::TaskKind;
use crate::scopes::ScopeId;

/// Polls within polls that are told apart: a `block_on` in a task that drops another task…
/// Deeper ones are counted, and then belong to no task.
const MAX_DEPTH: usize = 12;

/// A poll that is under way on this thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Poll {
    /// The recorder that the key belongs to.
    pub(crate) recorder: u32,
    pub(crate) key: Key,
    pub(crate) kind: TaskKind,
    /// Frames above it are the runtime's.
    pub(crate) bound: Bound,
}

/// Whose thread this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Host,
    /// The host's, and what it spawns now is meant to run as long as the process; but not what is
    /// spawned in a poll that began since, when there were so many.
    Daemons {
        depth: usize,
    },
    /// One of the detector's: its tasks are not recorded.
    Detector,
}

/// A [`Poll`] field by field: each is read alone, as it was written. A wider load of what narrower
/// stores have just written waits for them.
struct Slot {
    recorder: Cell<u32>,
    key: Cell<Key>,
    kind: Cell<TaskKind>,
    scope: Cell<Option<ScopeId>>,
    bound: Cell<Bound>,
    /// Enters of the task's span by others than tokio, within the poll.
    nested: Cell<u32>,
}

impl Slot {
    const fn vacant() -> Slot {
        Slot {
            recorder: Cell::new(0),
            key: Cell::new(Key::UNRECORDED),
            kind: Cell::new(TaskKind::Task),
            scope: Cell::new(None),
            bound: Cell::new(Bound::THREAD),
            nested: Cell::new(0),
        }
    }

    fn set(&self, poll: Poll) {
        self.recorder.set(poll.recorder);
        self.key.set(poll.key);
        self.kind.set(poll.kind);
        self.scope.set(None);
        self.bound.set(poll.bound);
        self.nested.set(0);
    }

    fn copy(&self, other: &Slot) {
        self.set(other.poll());
        self.scope.set(other.scope.get());
        self.nested.set(other.nested.get());
    }

    fn is(&self, recorder: u32, key: Key) -> bool {
        self.key.get() == key && self.recorder.get() == recorder
    }

    fn poll(&self) -> Poll {
        Poll {
            recorder: self.recorder.get(),
            key: self.key.get(),
            kind: self.kind.get(),
            bound: self.bound.get(),
        }
    }
}

struct Thread {
    depth: Cell<usize>,
    polls: [Slot; MAX_DEPTH],
    /// What it spawns outside of polls belongs to this scope.
    scope: Cell<Option<ScopeId>>,
    /// The runtime that polls its tasks; 0 if it is not known.
    runtime: Cell<u32>,
    owner: Cell<Owner>,
    ordinal: Cell<Option<usize>>,
    seen: Cell<u8>,
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            depth: Cell::new(0),
            polls: [const { Slot::vacant() }; MAX_DEPTH],
            scope: Cell::new(None),
            runtime: Cell::new(0),
            owner: Cell::new(Owner::Host),
            ordinal: Cell::new(None),
            seen: Cell::new(0),
        }
    };
}

/// A poll begins on this thread.
pub(crate) fn push(poll: Poll) {
    THREAD.with(|thread| {
        let depth = thread.depth.get();
        if let Some(slot) = thread.polls.get(depth) {
            slot.set(poll);
        }
        thread.depth.set(depth + 1);
    });
}

/// The innermost poll of this task on this thread has returned; so have those inside it.
pub(crate) fn pop(recorder: u32, key: Key) {
    THREAD.with(|thread| {
        let depth = thread.depth.get();
        if depth > MAX_DEPTH {
            thread.depth.set(depth - 1);
        } else if let Some(at) = thread.place(recorder, key) {
            thread.remove(recorder, at, depth);
        }
    });
}

/// Somebody else than tokio enters the span of a task that this thread polls. Returns whether it
/// does.
pub(crate) fn nest(recorder: u32, key: Key) -> bool {
    THREAD.with(|thread| {
        let slot = thread.place(recorder, key).map(|at| &thread.polls[at]);
        slot.inspect(|slot| slot.nested.set(slot.nested.get() + 1));
        slot.is_some()
    })
}

/// The span of a task is left. Returns whether its poll has returned.
pub(crate) fn has_returned(recorder: u32, key: Key) -> bool {
    THREAD.with(|thread| {
        let slot = thread.place(recorder, key).map(|at| &thread.polls[at]);
        match slot.map(|slot| (slot, slot.nested.get())) {
            Some((_, 0)) => true,
            Some((slot, nested)) => {
                slot.nested.set(nested - 1);
                false
            }
            // One of those that are not told apart, if there are any.
            None => thread.depth.get() > MAX_DEPTH,
        }
    })
}

/// The innermost poll of this recorder's that is under way on this thread; those of others may be
/// within it. `None` past the depth that is told apart.
pub(crate) fn innermost(recorder: u32) -> Option<Poll> {
    THREAD.with(|thread| {
        let polls = thread.polls.get(..thread.depth.get())?;
        let own = |slot: &&Slot| slot.recorder.get() == recorder;
        polls.iter().rev().find(own).map(Slot::poll)
    })
}

/// Whether this thread polls no task.
pub(crate) fn is_idle() -> bool {
    THREAD.with(|thread| thread.depth.get() == 0)
}

/// The tasks that this thread polls, the outermost first.
#[cfg(feature = "test")]
pub(crate) fn under_way(recorder: u32) -> impl Iterator<Item = Poll> {
    let polls = THREAD.with(|thread| {
        let depth = thread.depth.get();
        let poll = |at: usize| (at < depth).then(|| thread.polls[at].poll());
        std::array::from_fn::<_, MAX_DEPTH, _>(poll)
    });
    let is_its = move |poll: &Poll| poll.recorder == recorder;
    polls.into_iter().flatten().filter(is_its)
}

/// The scope that the innermost poll on this thread was put into, or the thread outside of polls.
pub(crate) fn scope_here() -> Option<ScopeId> {
    THREAD.with(|thread| thread.scope().get())
}

/// Puts the innermost poll on this thread into a scope, or the thread outside of polls. Returns
/// where it was. What a poll spawns in none belongs to its task's own.
pub(crate) fn replace_scope(scope: Option<ScopeId>) -> Option<ScopeId> {
    THREAD.with(|thread| thread.scope().replace(scope))
}

impl Thread {
    /// The scope of the innermost poll, or of the deepest that is told apart, or of the thread.
    fn scope(&self) -> &Cell<Option<ScopeId>> {
        let top = self.depth.get().min(MAX_DEPTH).checked_sub(1);
        top.map_or(&self.scope, |top| &self.polls[top].scope)
    }

    /// Takes a poll away, and the recorder's polls within it. Those of others are told of apart.
    fn remove(&self, recorder: u32, at: usize, depth: usize) {
        let mut end = at;
        for within in &self.polls[at + 1..depth] {
            if within.recorder.get() != recorder {
                self.polls[end].copy(within);
                end += 1;
            }
        }
        self.depth.set(end);
    }

    /// Where the innermost poll of this task is.
    fn place(&self, recorder: u32, key: Key) -> Option<usize> {
        let depth = self.depth.get().min(MAX_DEPTH);
        (0..depth)
            .rev()
            .find(|at| self.polls[*at].is(recorder, key))
    }
}

/// The runtime that polls this thread's tasks, if it is known.
pub(crate) fn runtime() -> Option<u32> {
    THREAD.with(|thread| Some(thread.runtime.get()).filter(|id| *id != 0))
}

/// Says which runtime polls this thread's tasks from now on.
pub(crate) fn set_runtime(runtime: Option<u32>) {
    THREAD.with(|thread| thread.runtime.set(runtime.unwrap_or(0)));
}

/// A small number of this thread's own.
pub(crate) fn ordinal() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    THREAD.with(|thread| match thread.ordinal.get() {
        Some(ordinal) => ordinal,
        None => {
            let ordinal = NEXT.fetch_add(1, Ordering::Relaxed);
            thread.ordinal.set(Some(ordinal));
            ordinal
        }
    })
}

/// Makes this thread the detector's, for good.
pub(crate) fn belong_to_detector() {
    set_owner(Owner::Detector);
}

/// An owner whose spawns are of daemons until the next poll begins on this thread.
pub(crate) fn daemons_here() -> Owner {
    let depth = THREAD.with(|thread| thread.depth.get());
    Owner::Daemons { depth }
}

/// A spawn at this moment is of a daemon.
pub(crate) fn spawns_daemons() -> bool {
    owner() == daemons_here()
}

/// Changes whose thread this is, and returns whose it was.
pub(crate) fn set_owner(owner: Owner) -> Owner {
    THREAD.with(|thread| thread.owner.replace(owner))
}

pub(crate) fn owner() -> Owner {
    THREAD.with(|thread| thread.owner.get())
}

/// Notes that something of an unrecorded task was seen on this thread; the detector's check of
/// itself asks for it.
pub(crate) fn note_seen(what: u8) {
    THREAD.with(|thread| thread.seen.set(thread.seen.get() | what));
}

/// What [`note_seen`] noted on this thread.
pub(crate) fn seen() -> u8 {
    THREAD.with(|thread| thread.seen.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(slot: u32) -> Poll {
        Poll {
            recorder: 1,
            key: Key::new(slot, 0),
            kind: TaskKind::Task,
            bound: Bound::here(),
        }
    }

    #[test]
    fn polls_nest_and_unwind_together() {
        assert!(innermost(1).is_none());
        push(poll(1));
        push(poll(2));
        push(poll(3));
        assert_eq!(innermost(1).unwrap().key.slot(), 3);
        assert!(innermost(2).is_none(), "another recorder's");
        pop(1, Key::new(2, 0));
        assert_eq!(innermost(1).unwrap().key.slot(), 1);
        pop(1, Key::new(9, 0));
        assert_eq!(innermost(1).unwrap().key.slot(), 1);
        pop(1, Key::new(1, 0));
        assert!(innermost(1).is_none());
    }

    #[test]
    fn recorders_that_meet_end_their_own_polls() {
        let key = Key::new(1, 0);
        let of = |recorder| Poll {
            recorder,
            ..poll(1)
        };
        let innermost = |recorder| innermost(recorder).map(|poll| poll.key);
        push(of(1));
        push(of(2));
        assert_eq!([1, 2, 3].map(innermost), [Some(key), Some(key), None]);
        pop(1, key);
        assert_eq!([1, 2].map(innermost), [None, Some(key)]);
        assert!(has_returned(2, key));
        pop(2, key);
        assert!(is_idle());
    }

    #[test]
    fn a_scope_is_that_of_a_poll_or_of_the_thread() {
        let [outer, inner] = [1, 2].map(ScopeId::from_u32);
        assert_eq!(replace_scope(outer), None);
        push(poll(1));
        assert_eq!(scope_here(), None, "a poll begins in its task's own");
        assert_eq!(replace_scope(inner), None);
        push(poll(2));
        assert_eq!(scope_here(), None);
        pop(1, Key::new(2, 0));
        assert_eq!(scope_here(), inner);
        pop(1, Key::new(1, 0));
        assert_eq!(replace_scope(None), outer);
    }

    #[test]
    fn a_span_that_is_entered_within_its_poll_is_left_within() {
        let key = Key::new(1, 0);
        assert!(!nest(1, key) && !has_returned(1, key));
        push(poll(1));
        assert!(nest(1, key) && nest(1, key));
        push(poll(2));
        assert!(!has_returned(1, key) && !has_returned(1, key));
        assert!(has_returned(1, key));
        pop(1, key);
        assert!(innermost(1).is_none());
    }

    #[test]
    fn polls_past_the_depth_belong_to_no_task() {
        for slot in 0..MAX_DEPTH as u32 + 2 {
            push(poll(slot));
        }
        assert!(innermost(1).is_none());
        for slot in (0..MAX_DEPTH as u32 + 2).rev() {
            pop(1, Key::new(slot, 0));
        }
        assert!(innermost(1).is_none());
        assert_eq!(THREAD.with(|thread| thread.depth.get()), 0);
    }
}
