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
    /// A task that has waited so long is placed, before any threshold, so that what it waits on is
    /// known when it passes one.
    placed_after_ms: u64,
    /// Tasks that loop are placed once they are so old.
    old_ms: u64,
    /// Tasks that were left for a later sweep, in all sweeps.
    pub(crate) left: u64,
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
            placed_after_ms: least_threshold_ms / 2,
            old_ms,
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
        let now = recorder.clock.publish();
        let mut places = MOST_PLACED;
        let mut left_at = None;
        census.begin();
        for (number, record) in recorder.records().enumerate() {
            if number == self.slots.len() {
                self.slots.push(Slot::EMPTY);
            }
            let glance = record.glance();
            if !glance.waits() {
                self.slots[number] = Slot::EMPTY;
                continue;
            }
            let slot = &mut self.slots[number];
            if slot.glance != glance || slot.once_more {
                *slot = Slot {
                    glance,
                    // Its last waker may have been dropped this moment, and who did it not noted.
                    once_more: !glance.has_wakers() && slot.glance != glance,
                    ..Slot::EMPTY
                };
            }
            let waited_ms = ms_between(glance.since(), now);
            if slot.cell.is_none() {
                if !is_worth_placing(self.placed_after_ms, self.old_ms, waited_ms, record, glance) {
                    continue;
                }
                if places == 0 || number < self.resume {
                    left_at = left_at.or((places == 0).then_some(number));
                    self.left += 1;
                    continue;
                }
                places -= 1;
                slot.cell = place(record, glance, recorder, now, census, source, rules);
            }
            if let Some(cell) = slot.cell {
                let age_ms = || ms_between(record.spawned(), now);
                slot.is_stuck = census.count(cell, number as u32, waited_ms, age_ms);
            }
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

fn is_worth_placing(
    placed_after_ms: u64,
    old_ms: u64,
    waited_ms: u64,
    record: &Record,
    glance: Glance,
) -> bool {
    waited_ms >= placed_after_ms || ms_between(record.spawned(), glance.since()) >= old_ms
}

/// `None` if the task has moved on, or there is no room.
fn place(
    record: &Record,
    glance: Glance,
    recorder: &Recorder,
    now: Tick,
    census: &mut Census,
    source: &mut OneByOne<'_>,
    rules: &Rules,
) -> Option<CellId> {
    let task = recorder.task(record, now)?;
    // Else the copy may be of the next wait, or the next task.
    (record.glance() == glance)
        .then(|| census.place(&task, source, rules))
        .flatten()
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
