//! The table of scopes: what tasks belong to (a request, a job, a test), through any number of
//! spawns.
//!
//! Rules:
//! 1. A scope counts what holds it: the tasks that belong to it, the scopes within it, and who
//!    opened it. Its slot is free when nobody does, so an id that one holds is never another
//!    scope's.
//! 2. A hold is taken by whoever has one already: a spawn takes it from the task that spawns.
//! 3. Holding, releasing and ending take no lock; they run in callbacks.
//! 4. An id that was read out of a record proves nothing by itself: its task may have ended, and
//!    the slot be another scope's. Who reads the facts of a scope looks at the record again after.
//! 5. An ended guard is let through: what is spawned in it belongs to the scope around it, because
//!    the guard stood in a task that goes on. What a request's tasks spawn stays the request's.

use std::iter;
use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64 as Counter;
use std::time::Instant;

use crate::free_list::FreeList;
use crate::slots::Slots;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// With chunks of 1,024 scopes of 32 bytes: 1,048,576 at once, 32 MiB.
#[cfg(not(taskleak_loom))]
const CHUNK: usize = 1024;
#[cfg(taskleak_loom)]
const CHUNK: usize = 2;
#[cfg(not(taskleak_loom))]
const MAX_CHUNKS: usize = 1024;
#[cfg(taskleak_loom)]
const MAX_CHUNKS: usize = 1;

/// Names a scope as long as somebody holds it: its slot plus one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ScopeId(NonZeroU32);

impl ScopeId {
    /// `None` for 0.
    pub(crate) fn from_u32(id: u32) -> Option<ScopeId> {
        NonZeroU32::new(id).map(ScopeId)
    }

    pub(crate) fn get(self) -> u32 {
        self.0.get()
    }
}

/// What opened a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opener {
    /// `taskleak::scope`.
    Future,
    /// A guard, which covers a part of a task's life.
    Guard,
}

/// What a scope says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The id of its name; 0 for none.
    pub(crate) name: u32,
    /// `None` while it runs.
    pub(crate) ended_ms: Option<u64>,
}

/// Opens a scope. The caller holds `parent`, and holds the new one; `None` if there are too many.
pub(crate) fn open(name: u32, parent: Option<ScopeId>, opener: Opener) -> Option<ScopeId> {
    let opened = SCOPES.open(name, parent, opener);
    if opened.is_none() {
        NOT_OPENED.fetch_add(1, Ordering::Relaxed);
    }
    opened
}

/// How many found no room.
pub(crate) fn not_opened() -> u64 {
    NOT_OPENED.load(Ordering::Relaxed)
}

/// Takes a further hold.
pub(crate) fn hold(scope: ScopeId) {
    SCOPES.hold(scope);
}

/// The same for a task that is being spawned, which is counted.
pub(crate) fn hold_for_task(scope: ScopeId) {
    SCOPES.hold_for_task(scope);
}

/// A number that changes with each task that is spawned in a scope or in those within it, before
/// anybody can see the task.
#[cfg(feature = "test")]
pub(crate) fn spawned_within(outer: ScopeId) -> u32 {
    SCOPES.spawned_within(outer)
}

/// Gives a hold back.
pub(crate) fn release(scope: ScopeId) {
    SCOPES.release(scope);
}

/// Its time is over: tasks that belong to it have outlived it, and a guard is let through.
pub(crate) fn end(scope: ScopeId) {
    SCOPES.end(scope, now_ms());
}

/// What is known of a scope, of a guard's what is of the one around it; mind rule 4.
pub(crate) fn facts(scope: ScopeId) -> Option<Facts> {
    SCOPES.facts(scope, now_ms)
}

/// Whether it has ended, of a guard whether the one around it has; mind rule 4.
pub(crate) fn has_ended(scope: ScopeId) -> bool {
    SCOPES.named(scope).is_some_and(Slot::has_ended)
}

/// How many scopes it is within.
#[cfg(all(test, feature = "test"))]
pub(crate) fn depth(scope: ScopeId) -> usize {
    SCOPES.up(scope).count()
}

/// Whether a scope is another one or within it; mind rule 4.
pub(crate) fn is_within(scope: ScopeId, outer: ScopeId) -> bool {
    SCOPES.is_within(scope, outer)
}

/// The scope that is spawned into where the present one is this: rule 5.
pub(crate) fn let_through(scope: ScopeId) -> Option<ScopeId> {
    SCOPES.let_through(scope)
}

/// A plain counter, no part of the model.
static NOT_OPENED: Counter = Counter::new(0);

static SCOPES: LazyLock<Scopes> = LazyLock::new(Scopes::new);

/// Milliseconds on a clock of this module's own, never 0.
fn now_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64 + 1
}

struct Scopes {
    slots: Slots<Box<[Slot]>, CHUNK, MAX_CHUNKS>,
    free: FreeList,
}

#[derive(Debug)]
struct Slot {
    holds: AtomicU32,
    parent: AtomicU32,
    name: AtomicU32,
    is_guard: AtomicU32,
    /// Tasks that were spawned in it and in those that had the slot before.
    spawned: AtomicU32,
    /// 0 while it runs.
    ended_ms: AtomicU64,
    link: AtomicU32,
}

impl Slot {
    fn vacant() -> Slot {
        Slot {
            holds: AtomicU32::new(0),
            parent: AtomicU32::new(0),
            name: AtomicU32::new(0),
            is_guard: AtomicU32::new(0),
            spawned: AtomicU32::new(0),
            ended_ms: AtomicU64::new(0),
            link: AtomicU32::new(0),
        }
    }

    fn parent(&self) -> Option<ScopeId> {
        ScopeId::from_u32(self.parent.load(Ordering::Relaxed))
    }

    fn is_guard(&self) -> bool {
        self.is_guard.load(Ordering::Relaxed) != 0
    }

    fn has_ended(&self) -> bool {
        self.ended_ms.load(Ordering::Relaxed) != 0
    }
}

impl Scopes {
    fn new() -> Scopes {
        Scopes {
            slots: Slots::new(),
            free: FreeList::new(),
        }
    }

    fn open(&self, name: u32, parent: Option<ScopeId>, opener: Opener) -> Option<ScopeId> {
        let link = |number| self.numbered(number).map(|slot| &slot.link);
        let vacant = || (0..CHUNK).map(|_| Slot::vacant()).collect();
        let number = self.free.pop(link).or_else(|| self.slots.take(vacant))?;
        let slot = self.numbered(number)?;
        if let Some(parent) = parent {
            self.hold(parent);
        }
        // A reader that still takes the slot for another scope's must see that one's task leave.
        fence(Ordering::Release);
        let parent = parent.map_or(0, ScopeId::get);
        slot.parent.store(parent, Ordering::Relaxed);
        slot.name.store(name, Ordering::Relaxed);
        let is_guard = u32::from(opener == Opener::Guard);
        slot.is_guard.store(is_guard, Ordering::Relaxed);
        slot.ended_ms.store(0, Ordering::Relaxed);
        slot.holds.store(1, Ordering::Release);
        ScopeId::from_u32(number + 1)
    }

    fn hold(&self, scope: ScopeId) {
        if let Some(slot) = self.slot(scope) {
            slot.holds.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn hold_for_task(&self, scope: ScopeId) {
        self.hold(scope);
        if let Some(slot) = self.slot(scope) {
            slot.spawned.fetch_add(1, Ordering::AcqRel);
        }
    }

    #[cfg(feature = "test")]
    fn spawned_within(&self, outer: ScopeId) -> u32 {
        fence(Ordering::SeqCst);
        let scopes = (1..=self.slots.used() as u32).filter_map(ScopeId::from_u32);
        let within = scopes.filter(|scope| self.is_within(*scope, outer));
        let slots = within.filter_map(|scope| self.slot(scope));
        let spawned = slots.map(|slot| slot.spawned.load(Ordering::Acquire));
        let sum = spawned.fold(0, u32::wrapping_add);
        fence(Ordering::SeqCst);
        sum
    }

    fn release(&self, scope: ScopeId) {
        let mut next = Some(scope);
        while let Some((scope, slot)) = next.and_then(|scope| Some((scope, self.slot(scope)?))) {
            // AcqRel: whoever takes the slot next sees all that was done under the other holds.
            if slot.holds.fetch_sub(1, Ordering::AcqRel) != 1 {
                return;
            }
            next = slot.parent();
            self.free.push(scope.get() - 1, &slot.link);
        }
    }

    fn end(&self, scope: ScopeId, now_ms: u64) {
        if let Some(slot) = self.slot(scope) {
            slot.ended_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    fn facts(&self, scope: ScopeId, now_ms: impl FnOnce() -> u64) -> Option<Facts> {
        let slot = self.named(scope)?;
        let ended_ms = match slot.ended_ms.load(Ordering::Relaxed) {
            0 => None,
            at => Some(now_ms().saturating_sub(at)),
        };
        Some(Facts {
            name: slot.name.load(Ordering::Relaxed),
            ended_ms,
        })
    }

    /// The slot of a scope, or of that around it which is no guard.
    fn named(&self, scope: ScopeId) -> Option<&Slot> {
        let mut slots = self.up(scope).filter_map(|scope| self.slot(scope));
        slots.find(|slot| !slot.is_guard())
    }

    fn is_within(&self, scope: ScopeId, outer: ScopeId) -> bool {
        self.up(scope).any(|scope| scope == outer)
    }

    /// A scope and those around it.
    fn up(&self, scope: ScopeId) -> impl Iterator<Item = ScopeId> {
        let up = iter::successors(Some(scope), |scope| self.slot(*scope)?.parent());
        // Slots that change hands under a reader could make a ring.
        up.take(self.slots.used())
    }

    fn let_through(&self, scope: ScopeId) -> Option<ScopeId> {
        let mut scope = scope;
        loop {
            let slot = self.slot(scope)?;
            if !slot.is_guard() || !slot.has_ended() {
                return Some(scope);
            }
            scope = slot.parent()?;
        }
    }

    fn slot(&self, scope: ScopeId) -> Option<&Slot> {
        self.numbered(scope.get() - 1)
    }

    fn numbered(&self, number: u32) -> Option<&Slot> {
        let (chunk, at) = self.slots.get(number)?;
        chunk.get(at)
    }
}

#[cfg(all(test, not(taskleak_loom)))]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_scope_lives_as_long_as_anybody_holds_it_or_one_within_it() {
        let scopes = Scopes::new();
        let outer = scopes.open(1, None, Opener::Future).unwrap();
        let inner = scopes.open(2, Some(outer), Opener::Future).unwrap();
        assert!(scopes.is_within(inner, outer) && !scopes.is_within(outer, inner));
        scopes.hold(inner);
        scopes.end(outer, 5);
        scopes.release(outer);
        scopes.release(inner);
        let facts = scopes.facts(outer, || 7).unwrap();
        assert_eq!((facts.name, facts.ended_ms), (1, Some(2)));
        assert!(scopes.is_within(inner, outer));
        let other = scopes.open(3, None, Opener::Future).unwrap();
        assert!(![outer, inner].contains(&other));
        // A task of it was the last to hold it, and it the last to hold the outer one.
        scopes.release(inner);
        let next = [4, 5].map(|name| scopes.open(name, None, Opener::Future).unwrap());
        assert!(next.contains(&outer) && next.contains(&inner));
        assert_eq!(scopes.facts(outer, || 7).unwrap().ended_ms, None);
    }

    #[test]
    fn ended_guards_are_let_through_and_ended_requests_are_not() {
        let scopes = Scopes::new();
        let request = scopes.open(1, None, Opener::Future).unwrap();
        let guard = scopes.open(2, Some(request), Opener::Guard).unwrap();
        let inner = scopes.open(3, Some(guard), Opener::Guard).unwrap();
        assert_eq!(scopes.let_through(inner), Some(inner));
        scopes.end(inner, 1);
        assert_eq!(scopes.let_through(inner), Some(guard));
        assert_eq!(scopes.facts(inner, || 1).unwrap().name, 1);
        scopes.end(guard, 1);
        scopes.end(request, 1);
        assert_eq!(scopes.let_through(inner), Some(request));
        let alone = scopes.open(4, None, Opener::Guard).unwrap();
        scopes.end(alone, 1);
        assert_eq!(scopes.let_through(alone), None);
    }

    proptest! {
        /// No two scopes that are held have one slot, and the ancestors of one that is held are.
        #[test]
        fn a_slot_is_one_scopes(steps in prop::collection::vec((0..3u8, 0..64usize), 1..200)) {
            let scopes = Scopes::new();
            // By name: the id and the parent's name. Each is held once by this test.
            let mut held: HashMap<u32, (ScopeId, Option<u32>)> = HashMap::new();
            let mut parents: HashMap<u32, Option<u32>> = HashMap::new();
            let mut next = 0;
            for (what, which) in steps {
                let mut names: Vec<u32> = held.keys().copied().collect();
                names.sort_unstable();
                let chosen = names.get(which).copied();
                if what == 0 && let Some(name) = chosen {
                    let (id, _) = held.remove(&name).unwrap();
                    scopes.release(id);
                } else {
                    next += 1;
                    let parent = chosen.map(|name| held[&name].0);
                    let id = scopes.open(next, parent, Opener::Future).unwrap();
                    held.insert(next, (id, chosen));
                    parents.insert(next, chosen);
                }
                for (name, (id, _)) in &held {
                    let (mut name, mut id) = (Some(*name), Some(*id));
                    while let (Some(expected), Some(scope)) = (name, id) {
                        prop_assert_eq!(scopes.facts(scope, || 1).unwrap().name, expected);
                        name = parents[&expected];
                        id = scopes.slot(scope).unwrap().parent();
                    }
                    prop_assert_eq!((name, id), (None, None));
                }
            }
        }
    }
}

/// The model: a task ends in a scope while another thread opens one and a third reads.
#[cfg(all(test, taskleak_loom))]
mod model {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn two_holders_let_go_and_a_third_opens() {
        loom::model(|| {
            let scopes = Arc::new(Scopes::new());
            let first = scopes.open(1, None, Opener::Future).unwrap();
            scopes.hold(first);
            let enders = [(), ()].map(|()| {
                let scopes = Arc::clone(&scopes);
                thread::spawn(move || scopes.release(first))
            });
            let next = scopes.open(2, None, Opener::Future).unwrap();
            assert_eq!(scopes.facts(next, || 1).unwrap().name, 2);
            for ender in enders {
                ender.join().unwrap();
            }
            assert_eq!(scopes.slot(next).unwrap().holds.load(Ordering::Acquire), 1);
            if next != first {
                assert_eq!(scopes.open(3, None, Opener::Future), Some(first));
            }
        });
    }
}
