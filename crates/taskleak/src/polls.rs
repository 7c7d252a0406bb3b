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
    pub(crate) task_id: u64,
    pub(crate) kind: TaskKind,
    /// What it spawns at this moment belongs to this scope; `None` for the task's own.
    pub(crate) scope: Option<ScopeId>,
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

struct Thread {
    depth: Cell<usize>,
    polls: [Cell<Option<Poll>>; MAX_DEPTH],
    /// What it spawns outside of polls belongs to this scope.
    scope: Cell<Option<ScopeId>>,
    owner: Cell<Owner>,
    ordinal: Cell<Option<usize>>,
    seen: Cell<u8>,
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            depth: Cell::new(0),
            polls: [const { Cell::new(None) }; MAX_DEPTH],
            scope: Cell::new(None),
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
            slot.set(Some(poll));
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
            return;
        }
        let is_it = |n: &usize| {
            let poll = thread.polls[*n].get();
            poll.is_some_and(|poll| poll.key == key && poll.recorder == recorder)
        };
        if let Some(at) = (0..depth).rev().find(is_it) {
            thread.depth.set(at);
        }
    });
}

/// The innermost poll that is under way on this thread.
pub(crate) fn innermost(recorder: u32) -> Option<Poll> {
    THREAD.with(|thread| {
        let top = thread.depth.get().checked_sub(1)?;
        let poll = thread.polls.get(top)?.get()?;
        (poll.recorder == recorder).then_some(poll)
    })
}

/// The tasks that this thread polls, the outermost first.
#[cfg(feature = "test")]
pub(crate) fn under_way(recorder: u32) -> impl Iterator<Item = Poll> {
    let polls = THREAD.with(|thread| {
        let depth = thread.depth.get().min(MAX_DEPTH);
        let poll = |at: usize| thread.polls[at].get().filter(|_| at < depth);
        std::array::from_fn::<_, MAX_DEPTH, _>(poll)
    });
    let is_its = move |poll: &Poll| poll.recorder == recorder;
    polls.into_iter().flatten().filter(is_its)
}

/// The scope that the innermost poll on this thread was put into, or the thread outside of polls.
pub(crate) fn scope_here() -> Option<ScopeId> {
    THREAD.with(|thread| match thread.innermost() {
        Some(cell) => cell.get()?.scope,
        None => thread.scope.get(),
    })
}

/// Puts the innermost poll on this thread into a scope, or the thread outside of polls. Returns
/// where it was.
pub(crate) fn replace_scope(scope: Option<ScopeId>) -> Option<ScopeId> {
    THREAD.with(|thread| match thread.innermost() {
        Some(cell) => {
            let poll = cell.get()?;
            cell.set(Some(Poll { scope, ..poll }));
            poll.scope
        }
        None => thread.scope.replace(scope),
    })
}

impl Thread {
    /// The cell of the innermost poll, or of the deepest that is told apart.
    fn innermost(&self) -> Option<&Cell<Option<Poll>>> {
        let top = self.depth.get().min(MAX_DEPTH).checked_sub(1)?;
        self.polls.get(top)
    }
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
            task_id: slot.into(),
            kind: TaskKind::Task,
            scope: None,
            bound: Bound::here(),
        }
    }

    #[test]
    fn polls_nest_and_unwind_together() {
        assert!(innermost(1).is_none());
        push(poll(1));
        push(poll(2));
        push(poll(3));
        assert_eq!(innermost(1).unwrap().task_id, 3);
        assert!(innermost(2).is_none(), "another recorder's");
        pop(1, Key::new(2, 0));
        assert_eq!(innermost(1).unwrap().task_id, 1);
        pop(1, Key::new(9, 0));
        assert_eq!(innermost(1).unwrap().task_id, 1);
        pop(1, Key::new(1, 0));
        assert!(innermost(1).is_none());
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
