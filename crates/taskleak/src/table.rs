//! The table of records: slots that are taken at spawn, given back at the end, and walked by a
//! snapshot at any time.
//!
//! Rules:
//! 1. Nothing here takes a lock. Chunks of records are allocated as the number of tasks grows and
//!    kept for the next tasks; a slot in use never moves. In a chunk the first halves of all
//!    records lie together, and so do the second ones: a sweep streams through the first.
//! 2. A free slot is on exactly one free list. There are several so that threads do not meet;
//!    who finds its own empty takes from the others before it takes a fresh slot, so the table
//!    is never larger than the most tasks that were alive at once.
//! 3. A slot whose generations are used up is not given back (see `key.rs`).

use crate::free_list::FreeList;
use crate::key::{Key, MAX_GENERATION};
use crate::record::{Birth, Cold, Copied, Ended, Hot, Record, Tick};
#[cfg(test)]
use crate::scopes::ScopeId;
use crate::slots::Slots;

#[cfg(not(taskleak_loom))]
const CHUNK: usize = 4096;
#[cfg(taskleak_loom)]
const CHUNK: usize = 2;

/// With chunks of 4,096 records of 128 bytes: 16,777,216 tasks, 2 GiB.
#[cfg(not(taskleak_loom))]
const MAX_CHUNKS: usize = 4096;
#[cfg(taskleak_loom)]
const MAX_CHUNKS: usize = 1;

#[cfg(not(taskleak_loom))]
const FREE_LISTS: usize = 8;
#[cfg(taskleak_loom)]
const FREE_LISTS: usize = 1;

/// What has become of a task.
pub(crate) enum Fate {
    Alive(Box<Copied>),
    /// It ended, at this tick; `None` if its slot is another task's by now.
    Ended(Option<Tick>),
}

pub(crate) struct Table {
    slots: Slots<Chunk, CHUNK, MAX_CHUNKS>,
    free: [FreeList; FREE_LISTS],
}

struct Chunk {
    hot: Box<[Hot; CHUNK]>,
    cold: Box<[Cold; CHUNK]>,
}

impl Chunk {
    fn vacant() -> Chunk {
        Chunk {
            hot: boxed(Hot::vacant),
            cold: boxed(Cold::vacant),
        }
    }

    fn record(&self, at: usize) -> Record<'_> {
        Record {
            hot: &self.hot[at],
            cold: &self.cold[at],
        }
    }

    /// The first so many.
    fn records(&self, used: usize) -> impl ExactSizeIterator<Item = Record<'_>> {
        let halves = self.hot[..used].iter().zip(&self.cold[..used]);
        halves.map(|(hot, cold)| Record { hot, cold })
    }
}

/// Never on the stack, which may be a small one.
fn boxed<T>(vacant: impl Fn() -> T) -> Box<[T; CHUNK]> {
    let all: Box<[T]> = (0..CHUNK).map(|_| vacant()).collect();
    all.try_into()
        .unwrap_or_else(|_| unreachable!("so many were made"))
}

impl Table {
    pub(crate) fn new() -> Table {
        Table {
            slots: Slots::new(),
            free: std::array::from_fn(|_| FreeList::new()),
        }
    }

    /// Takes a slot for a new task; `None` if the table is full. `hint` chooses a free list.
    pub(crate) fn start(&self, hint: usize, birth: &Birth, now: Tick) -> Option<Key> {
        let slot = self
            .reuse(hint)
            .or_else(|| self.slots.take(Chunk::vacant))?;
        let record = self.record(slot)?;
        let key = match record.last_key() {
            Some(last) => Key::new(slot, last.generation() + 1),
            None => Key::new(slot, 0),
        };
        record.start(key, birth, now);
        Some(key)
    }

    /// The task is over. `None` if it was not alive.
    pub(crate) fn end(&self, hint: usize, key: Key, now: Tick) -> Option<Ended> {
        let record = self.get(key)?;
        let ended = record.end(key, now)?;
        if key.generation() < MAX_GENERATION {
            self.free[hint % FREE_LISTS].push(key.slot(), record.link());
        }
        Some(ended)
    }

    /// The record of this key, if the key's task still has it.
    pub(crate) fn get(&self, key: Key) -> Option<Record<'_>> {
        self.record(key.slot()).filter(|record| record.is(key))
    }

    /// What has become of the task that had this key and id.
    pub(crate) fn fate(&self, key: Key, task_id: u64) -> Fate {
        let Some(record) = self.get(key) else {
            return Fate::Ended(None);
        };
        match record.read() {
            // Else the slot has changed hands since `get`.
            Some(copied) if copied.birth.task_id == task_id => Fate::Alive(Box::new(copied)),
            _ => Fate::Ended(record.ended(key)),
        }
    }

    /// The record of a slot, whoever has it.
    pub(crate) fn record(&self, slot: u32) -> Option<Record<'_>> {
        let (chunk, at) = self.slots.get(slot)?;
        Some(chunk.record(at))
    }

    /// Every record that was ever used, task or no task, by slot.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.chunks().flatten()
    }

    /// The same in pieces.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = impl ExactSizeIterator<Item = Record<'_>>> {
        let chunks = self.slots.chunks();
        chunks.map(|(chunk, used)| chunk.records(used))
    }

    fn reuse(&self, hint: usize) -> Option<u32> {
        let link = |slot| self.record(slot).map(Record::link);
        (0..FREE_LISTS).find_map(|n| self.free[(hint + n) % FREE_LISTS].pop(link))
    }
}

#[cfg(test)]
fn birth(number: u32) -> Birth {
    Birth {
        task_id: number.into(),
        parent: number.into(),
        parent_key: None,
        daemon: false,
        kind: crate::record::TaskKind::Task,
        scope: ScopeId::from_u32(number),
        created: None,
        name: number as u16,
        location: 0,
        future_bytes: 0,
    }
}

#[cfg(all(test, not(taskleak_loom)))]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn listed(table: &Table) -> Vec<u64> {
        table
            .records()
            .filter_map(Record::read)
            .map(|copied| copied.birth.task_id)
            .collect()
    }

    proptest! {
        /// A finished task is never listed, a live one is listed once, and an old key never
        /// leads to a new task.
        #[test]
        fn the_table_lists_the_living(steps in prop::collection::vec((any::<bool>(), 0..64usize), 1..300)) {
            let table = Table::new();
            let mut alive: HashMap<u64, Key> = HashMap::new();
            let mut ended = Vec::new();
            let mut next = 0;
            for (spawn, which) in steps {
                if spawn || alive.is_empty() {
                    next += 1;
                    let key = table.start(which, &birth(next), 0).unwrap();
                    alive.insert(next.into(), key);
                } else {
                    let id = *alive.keys().nth(which % alive.len()).unwrap();
                    let key = alive.remove(&id).unwrap();
                    prop_assert!(table.end(which, key, 0).is_some());
                    ended.push(key);
                }
                let mut expected: Vec<u64> = alive.keys().copied().collect();
                let mut found = listed(&table);
                expected.sort_unstable();
                found.sort_unstable();
                prop_assert_eq!(found, expected);
            }
            for key in ended {
                prop_assert!(table.end(0, key, 0).is_none());
            }
            for (id, key) in alive {
                prop_assert_eq!(table.get(key).unwrap().task_id(), id);
            }
        }
    }

    #[test]
    fn the_fate_of_a_task_is_known_until_its_slot_is_anothers() {
        let table = Table::new();
        let key = table.start(0, &birth(1), 1).unwrap();
        assert!(matches!(table.fate(key, 1), Fate::Alive(task) if task.birth.name == 1));
        assert!(table.end(0, key, 7).is_some());
        assert!(matches!(table.fate(key, 1), Fate::Ended(Some(7))));
        let next = table.start(0, &birth(2), 9).unwrap();
        assert_eq!(next.slot(), key.slot());
        assert!(matches!(table.fate(key, 1), Fate::Ended(None)));
        assert!(matches!(table.fate(next, 2), Fate::Alive(_)));
    }

    #[test]
    fn the_table_is_no_larger_than_the_most_alive_at_once() {
        let table = Table::new();
        for round in 0..100 {
            let keys: Vec<Key> = (0..10)
                .map(|n| table.start(n + round, &birth(1), 0).unwrap())
                .collect();
            // Given back on other lists than they are taken from.
            keys.iter()
                .for_each(|key| assert!(table.end(round * 3, *key, 0).is_some()));
        }
        assert_eq!(table.records().count(), 10);
    }

    #[test]
    fn threads_that_spawn_and_end_lose_nothing() {
        let table = Table::new();
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let table = &table;
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for n in 0..20_000u32 {
                        let number = (thread << 24) + n + 1;
                        mine.push((
                            number,
                            table.start(thread as usize, &birth(number), 0).unwrap(),
                        ));
                        if n % 3 != 0 {
                            let (number, key) = mine.swap_remove(n as usize % mine.len());
                            assert_eq!(table.get(key).unwrap().task_id(), u64::from(number));
                            assert!(table.end(n as usize, key, 0).is_some());
                        }
                    }
                    mine.into_iter()
                        .for_each(|(_, key)| assert!(table.end(0, key, 0).is_some()));
                });
            }
            for _ in 0..20 {
                let mut ids = listed(&table);
                ids.sort_unstable();
                let all = ids.len();
                ids.dedup();
                assert_eq!(ids.len(), all, "an id was listed twice");
            }
        });
        assert!(listed(&table).is_empty());
    }
}

/// The model: a task is spawned, polled, woken from another thread, ends, and its slot is taken
/// by the next task, while a snapshot reads.
#[cfg(all(test, taskleak_loom))]
mod model {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::record::{Cloned, Copied, Dropped, Exited, Glance, Lost};

    fn explore(check: impl Fn() + Sync + Send + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(check);
    }

    /// The first task, parked with one waker.
    fn parked() -> (Arc<Table>, Key) {
        let table = Arc::new(Table::new());
        let key = table.start(0, &birth(1), 1).unwrap();
        poll(&table, key, 2);
        (table, key)
    }

    fn poll(table: &Table, key: Key, now: Tick) {
        let record = table.get(key).unwrap();
        assert!(record.enter(key, now));
        match record.clone_waker_in_poll(key) {
            Cloned::After(alive) => record.note_wait(alive, None),
            Cloned::Gone => panic!("the task has not ended"),
        }
        assert_eq!(record.exit(key, now + 1), Exited::Polled);
    }

    /// What is read belongs to one task alone.
    fn assert_whole(copied: &Copied) {
        let number = copied.birth.name;
        assert_eq!(copied.birth.task_id, u64::from(number));
        assert_eq!(copied.birth.parent, u64::from(number));
        assert_eq!(copied.birth.scope, ScopeId::from_u32(number.into()));
        assert!(copied.wakers <= 2, "{copied:?}");
        if number == 2 {
            assert_eq!(
                (copied.wakers, copied.notified, copied.polls),
                (0, true, 0),
                "{copied:?}"
            );
        }
    }

    fn read_all(table: &Table) -> Vec<u64> {
        let copies: Vec<Copied> = table.records().filter_map(Record::read).collect();
        copies.iter().for_each(assert_whole);
        copies.iter().map(|copied| copied.birth.task_id).collect()
    }

    /// The slot goes from the first task to the second.
    fn change_hands(table: &Table, old: Key) {
        let ended = table.end(0, old, 8).unwrap();
        assert_eq!(ended.scope, ScopeId::from_u32(1));
        let new = table.start(0, &birth(2), 9).unwrap();
        assert_eq!(
            (new.slot(), new.generation()),
            (old.slot(), old.generation() + 1)
        );
    }

    #[test]
    fn a_slot_changes_hands_under_a_waker() {
        explore(|| {
            let (table, old) = parked();
            let waker = {
                let table = Arc::clone(&table);
                thread::spawn(move || table.get(old).map(|record| record.wake(old, 5)))
            };
            change_hands(&table, old);
            assert_ne!(waker.join().unwrap(), Some(Dropped::Unseen));
            assert_eq!(read_all(&table), [2]);
        });
    }

    #[test]
    fn a_loss_is_noted_for_its_own_task() {
        explore(|| {
            let (table, old) = parked();
            let dropper = {
                let table = Arc::clone(&table);
                thread::spawn(move || {
                    let record = table.record(old.slot()).unwrap();
                    if record.drop_waker(old) == Dropped::Last {
                        record.note_lost(old, Lost { at: 9, by: None });
                    }
                })
            };
            change_hands(&table, old);
            dropper.join().unwrap();
            for record in table.records() {
                assert_eq!(record.read().unwrap().lost, None);
            }
        });
    }

    #[test]
    fn a_slot_changes_hands_under_a_reader() {
        explore(|| {
            let (table, old) = parked();
            let reader = {
                let table = Arc::clone(&table);
                thread::spawn(move || read_all(&table))
            };
            change_hands(&table, old);
            let seen = reader.join().unwrap();
            assert!(seen.len() <= 1, "one slot, one task: {seen:?}");
            assert_eq!(read_all(&table), [2]);
        });
    }

    #[test]
    fn a_glance_is_of_one_moment() {
        explore(|| {
            let (table, key) = parked();
            table.get(key).unwrap().wake_by_ref(key, 4);
            let reader = {
                let table = Arc::clone(&table);
                thread::spawn(move || table.get(key).unwrap().glance())
            };
            let record = table.get(key).unwrap();
            assert!(record.enter(key, 5));
            // As by another thread: the waker of the poll before.
            assert_eq!(record.drop_waker(key), Dropped::Counted);
            assert!(matches!(record.clone_waker_in_poll(key), Cloned::After(0)));
            assert_eq!(record.exit(key, 6), Exited::Polled);
            // Once it waits it is with the new waker, and never with both.
            let glance = reader.join().unwrap();
            assert!(!glance.waits() || glance == parked_at(6));
            assert_eq!(record.glance(), parked_at(6));
        });
    }

    /// What is seen of a first task that has waited since then.
    fn parked_at(since: Tick) -> Glance {
        let table = Table::new();
        let key = table.start(0, &birth(1), 1).unwrap();
        poll(&table, key, since - 1);
        table.get(key).unwrap().glance()
    }

    #[test]
    fn a_wake_is_never_lost_between_polls() {
        explore(|| {
            let (table, key) = parked();
            // Who polls it was woken for it, by another waker.
            table.get(key).unwrap().wake_by_ref(key, 4);
            let waker = {
                let table = Arc::clone(&table);
                thread::spawn(move || {
                    assert_eq!(table.get(key).unwrap().wake(key, 7), Dropped::Counted);
                })
            };
            let poller = {
                let table = Arc::clone(&table);
                thread::spawn(move || poll(&table, key, 5))
            };
            read_all(&table);
            waker.join().unwrap();
            poller.join().unwrap();
            let copied = table.get(key).unwrap().read().unwrap();
            assert_eq!(copied.wakers, 1, "two clones, one wake");
            assert_eq!(copied.polls, 2);
            // Before the poll: the poll took it. After or within: it is still to be polled.
            assert!(!copied.running);
            assert!(copied.since == 6 || copied.since == 7, "{copied:?}");
        });
    }

    /// A wake is told of before tokio acts on it: one that was told of before a poll may be for the
    /// poll after.
    #[test]
    fn a_poll_that_one_of_two_wakes_explains_was_woken() {
        explore(|| {
            let (table, key) = parked();
            let other = {
                let table = Arc::clone(&table);
                thread::spawn(move || table.get(key).unwrap().wake_by_ref(key, 4))
            };
            table.get(key).unwrap().wake_by_ref(key, 4);
            poll(&table, key, 5);
            other.join().unwrap();
            poll(&table, key, 7);
        });
    }

    #[test]
    fn two_spawners_and_an_end_share_the_free_list() {
        explore(|| {
            let table = Arc::new(Table::new());
            let first = table.start(0, &birth(1), 1).unwrap();
            assert!(table.end(0, first, 1).is_some());
            let spawners = [2, 3].map(|number| {
                let table = Arc::clone(&table);
                thread::spawn(move || table.start(0, &birth(number), 2).unwrap())
            });
            let [a, b] = spawners.map(|spawner| spawner.join().unwrap());
            assert_ne!(a.slot(), b.slot());
            assert_eq!(table.get(a).unwrap().task_id(), 2);
            assert_eq!(table.get(b).unwrap().task_id(), 3);
        });
    }
}
