//! One look at every task: which of them wait, in what wait, and for how long.
//!
//! The rules:
//! 1. A sweep reads one cache line of a record whose state has not changed since the sweep before.
//!    Only a task that is in another wait is copied and placed in the census anew.
//! 2. It takes no lock but that of the reporter, for the symbols of one new stack at a time.
//! 3. A task that a sweep does not count loses its cell.
//! 4. At most [`MOST_PLACED`] tasks are placed in a sweep; the next one goes on where it ended.

use taskleak_profile::census::{CellId, Census, Look};
use taskleak_profile::raw::{Origin, RawTask};
use taskleak_profile::rules::Rules;

use crate::clock::ms_between;
use crate::memory;
use crate::record::{Glance, Record, Tick};
use crate::recorder::Recorder;
use crate::reporter::OneByOne;

/// Places cost some 100 ns each, so all of them some 6 ms.
const MOST_PLACED: usize = 1 << 16;

/// What the sweeps remember of each slot.
pub(crate) struct Sweep {
    slots: Vec<Slot>,
    /// The first slot whose task may be placed.
    resume: usize,
    worth: Worth,
    /// Tasks that were left for a later sweep, in all sweeps.
    pub(crate) left: u64,
}

/// Which tasks are worth to be placed.
#[derive(Debug, Clone, Copy)]
struct Worth {
    /// A task that has waited so long is placed, before any threshold, so that what it waits on is
    /// known when it passes one.
    waited_ms: u64,
    /// One that was so old when it went into its wait may loop.
    old_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    glance: Glance,
    cell: Option<CellId>,
    /// It is past its threshold.
    is_stuck: bool,
    /// It is to be placed once more, because what is known of it may have come late.
    once_more: bool,
}

const _: () = assert!(size_of::<Slot>() == 16);

impl Slot {
    const EMPTY: Slot = Slot {
        glance: Glance::NONE,
        cell: None,
        is_stuck: false,
        once_more: false,
    };
}

impl Sweep {
    pub(crate) fn new(least_threshold_ms: u64, old_ms: u64) -> Sweep {
        Sweep {
            slots: Vec::new(),
            resume: 0,
            worth: Worth {
                waited_ms: least_threshold_ms / 2,
                old_ms,
            },
            left: 0,
        }
    }

    /// Counts every waiting task in the census.
    pub(crate) fn count(
        &mut self,
        recorder: &Recorder,
        census: &mut Census,
        source: &mut OneByOne<'_>,
        rules: &Rules,
    ) {
        census.begin();
        let mut placing = Placing {
            recorder,
            census,
            source,
            rules,
            now: recorder.clock.publish(),
            left: MOST_PLACED,
        };
        let worth = self.worth;
        let mut left_at = None;
        let mut first = 0;
        for records in recorder.chunks() {
            if self.slots.len() < first + records.len() {
                self.slots.resize(first + records.len(), Slot::EMPTY);
            }
            let slots = &mut self.slots[first..][..records.len()];
            for (at, (record, slot)) in records.iter().zip(slots).enumerate() {
                let glance = record.glance();
                if !glance.waits() {
                    *slot = Slot::EMPTY;
                    continue;
                }
                slot.look_at(glance);
                let number = first + at;
                let waited_ms = ms_between(glance.since(), placing.now);
                if slot.cell.is_none() && worth.placing(waited_ms, record, glance) {
                    if number < self.resume || placing.left == 0 {
                        self.left += 1;
                        left_at = left_at.or((placing.left == 0).then_some(number));
                        continue;
                    }
                    slot.cell = placing.place(record, glance);
                }
                if let Some(cell) = slot.cell {
                    let age_ms = || ms_between(record.spawned(), placing.now);
                    let number = number as u32;
                    slot.is_stuck = placing.census.count(cell, number, waited_ms, age_ms);
                }
            }
            first += records.len();
        }
        self.resume = left_at.unwrap_or(0);
    }

    /// For [`Census::finish`], after [`count`](Self::count).
    pub(crate) fn look<'a>(&'a self, recorder: &'a Recorder) -> impl Look + 'a {
        Looking {
            sweep: self,
            recorder,
        }
    }
}

impl Worth {
    fn placing(self, waited_ms: u64, record: &Record, glance: Glance) -> bool {
        let may_loop = || ms_between(record.spawned(), glance.since()) >= self.old_ms;
        waited_ms >= self.waited_ms || may_loop()
    }
}

impl Slot {
    /// Forgets what was known of another wait.
    fn look_at(&mut self, glance: Glance) {
        if self.glance == glance && !self.once_more {
            return;
        }
        *self = Slot {
            glance,
            // Its last waker may have been dropped this moment, and who did it not noted.
            once_more: !glance.has_wakers() && self.glance != glance,
            ..Slot::EMPTY
        };
    }
}

/// What places tasks in the census.
struct Placing<'a, 's> {
    recorder: &'a Recorder,
    census: &'a mut Census,
    source: &'a mut OneByOne<'s>,
    rules: &'a Rules,
    now: Tick,
    /// So many more.
    left: usize,
}

impl Placing<'_, '_> {
    /// `None` if the task has moved on, or there is no room.
    fn place(&mut self, record: &Record, glance: Glance) -> Option<CellId> {
        self.left -= 1;
        let task = self.recorder.task(record, self.now)?;
        // Else the copy may be of the next wait, or the next task.
        let is_it = record.glance() == glance;
        is_it.then(|| self.census.place(&task, self.source, self.rules))?
    }
}

struct Looking<'a> {
    sweep: &'a Sweep,
    recorder: &'a Recorder,
}

impl Look for Looking<'_> {
    fn task(&self, slot: u32) -> Option<RawTask> {
        let known = self.sweep.slots.get(slot as usize)?;
        let record = self.recorder.record(slot)?;
        let task = self.recorder.task(record, self.recorder.clock.now())?;
        (record.glance() == known.glance).then_some(task)
    }

    fn origin(&self, slot: u32) -> Origin {
        let is_stuck = |slot: u32| {
            let slot = self.sweep.slots.get(slot as usize);
            slot.is_some_and(|slot| slot.is_stuck)
        };
        self.recorder.origin(slot, is_stuck)
    }

    fn memory_left(&self) -> Option<u64> {
        memory::left()
    }
}
