//! One look at every task: which of them wait, in what wait, and for how long.
//!
//! The rules:
//! 1. A sweep reads one cache line of a record whose state has not changed since the sweep before.
//!    Only a task that is in another wait is copied and placed in the census anew.
//! 2. It takes no lock but that of the reporter, for the symbols of one new stack at a time.
//! 3. A task that a sweep does not count loses its cell, and a task that counted and went on is
//!    told to the census.
//! 4. At most [`MOST_PLACED`] tasks are placed in a sweep; the next one goes on where it ended.

use taskleak_profile::census::{CellId, Census, Counted, Look};
use taskleak_profile::raw::{Origin, RawTask};
use taskleak_profile::rules::Rules;

use crate::clock::ms_between;
use crate::memory;
use crate::record::{Glance, Record, Tick};
use crate::recorder::Recorder;
use crate::reporter::OneByOne;
use crate::scopes;

/// Places cost some 100 ns each, so all of them some 6 ms.
const MOST_PLACED: usize = 1 << 16;

/// What the sweeps remember of each slot.
pub(crate) struct Sweep {
    slots: Vec<Slot>,
    /// The first slot whose task may be placed.
    resume: usize,
    worth: Worth,
    most_placed: usize,
    /// Tasks that the last sweep left for a later one.
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
    counted: Counted,
    /// It is to be placed once more, because what is known of it may have come late.
    once_more: bool,
    /// Its scope had ended when it was placed.
    outlived: bool,
}

const _: () = assert!(size_of::<Slot>() == 16);

impl Slot {
    const EMPTY: Slot = Slot {
        glance: Glance::NONE,
        cell: None,
        counted: Counted::Not,
        once_more: false,
        outlived: false,
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
            most_placed: MOST_PLACED,
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
            worth: self.worth,
            resume: self.resume,
            may_place: self.most_placed,
            left: 0,
            left_at: None,
        };
        let mut first = 0;
        for records in recorder.chunks() {
            let end = first + records.len();
            if self.slots.len() < end {
                self.slots.resize(end, Slot::EMPTY);
            }
            let slots = &mut self.slots[first..end];
            for (at, (record, slot)) in records.zip(slots).enumerate() {
                let seen = Seen::of(record);
                if !slot.is_settled(&seen) {
                    placing.look_at(first + at, record, &seen, slot);
                }
                if let Some(cell) = slot.cell {
                    let waited_ms = ms_between(seen.glance.since(), placing.now);
                    let age_ms = ms_between(record.spawned(), placing.now);
                    let number = (first + at) as u32;
                    slot.counted = placing.census.count(cell, number, waited_ms, age_ms);
                }
            }
            first = end;
        }
        self.left = placing.left;
        self.resume = placing.left_at.unwrap_or(0);
    }

    /// Copies the tasks that counted, of the cells that are asked for.
    pub(crate) fn copy_counted(
        &self,
        recorder: &Recorder,
        wanted: impl Fn(CellId) -> bool,
        mut each: impl FnMut(&RawTask),
    ) {
        let now = recorder.clock.now();
        for (number, slot) in self.slots.iter().enumerate() {
            let is_wanted = slot.counted != Counted::Not && slot.cell.is_some_and(&wanted);
            let record = is_wanted.then(|| recorder.record(number as u32)).flatten();
            if let Some(task) = record.and_then(|record| recorder.task(record, now)) {
                each(&task);
            }
        }
    }

    /// For [`Census::finish`], after [`count`](Self::count).
    pub(crate) fn look<'a>(&'a self, recorder: &'a Recorder) -> impl Look + 'a {
        Looking {
            sweep: self,
            recorder,
        }
    }
}

/// What a sweep reads of a task each time.
#[derive(Debug, Clone, Copy)]
struct Seen {
    glance: Glance,
    /// Its scope has ended; of use if the task waits.
    outlived: bool,
}

impl Seen {
    fn of(record: Record<'_>) -> Seen {
        let glance = record.glance();
        let outlived = || record.scope().is_some_and(scopes::has_ended);
        Seen {
            glance,
            outlived: glance.waits() && outlived(),
        }
    }
}

impl Worth {
    fn placing(self, waited_ms: u64, record: Record<'_>, glance: Glance) -> bool {
        let may_loop = || ms_between(record.spawned(), glance.since()) >= self.old_ms;
        // Not within the tick in which it parked: the next wait would look the same.
        waited_ms > 0 && (waited_ms >= self.waited_ms || may_loop())
    }
}

impl Slot {
    /// The cell of a task that counted and is in another wait, or gone.
    fn left_by(&self, glance: Glance) -> Option<CellId> {
        let stays = self.glance.same_task(glance)
            && glance.waits()
            && self.glance.since() == glance.since();
        match self.counted {
            Counted::Past | Counted::HeldUp if !stays => self.cell,
            _ => None,
        }
    }

    /// The task has its place, and nothing has changed: by far the most are so.
    fn is_settled(&self, seen: &Seen) -> bool {
        self.cell.is_some() && self.holds_for(seen)
    }

    fn holds_for(&self, seen: &Seen) -> bool {
        let is_same = self.glance == seen.glance && self.outlived == seen.outlived;
        is_same && !self.once_more
    }

    /// Forgets what was known of another wait, and of a time when the task's scope still ran.
    fn look_at(&mut self, seen: &Seen) {
        if self.holds_for(seen) {
            return;
        }
        let Seen { glance, outlived } = *seen;
        *self = Slot {
            glance,
            outlived,
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
    worth: Worth,
    /// See [`Sweep::resume`].
    resume: usize,
    /// So many more.
    may_place: usize,
    /// Tasks that are left for a later sweep.
    left: u64,
    /// The first of them that found no more may be placed.
    left_at: Option<usize>,
}

impl Placing<'_, '_> {
    /// Brings up to date what is known of a task, and places it if that is worth it.
    #[inline(never)]
    fn look_at(&mut self, number: usize, record: Record<'_>, seen: &Seen, slot: &mut Slot) {
        let glance = seen.glance;
        if let Some(left) = slot.left_by(glance) {
            self.census.leave(left, !slot.glance.same_task(glance));
        }
        if !glance.waits() {
            *slot = Slot::EMPTY;
            return;
        }
        slot.look_at(seen);
        let waited_ms = ms_between(glance.since(), self.now);
        if slot.cell.is_some() || !self.worth.placing(waited_ms, record, glance) {
            return;
        }
        let may_place = self.may_place > 0;
        if number < self.resume || !may_place {
            self.left += 1;
            self.left_at = self.left_at.or((!may_place).then_some(number));
            return;
        }
        slot.cell = self.place(record, glance);
    }

    /// `None` if the task has moved on, or there is no room.
    fn place(&mut self, record: Record<'_>, glance: Glance) -> Option<CellId> {
        self.may_place -= 1;
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
    fn task(&self, slot: u32) -> Option<(RawTask, Origin)> {
        let known = self.sweep.slots.get(slot as usize)?;
        let record = self.recorder.record(slot)?;
        let is_held_up = |slot: u32| {
            let slot = self.sweep.slots.get(slot as usize);
            slot.is_some_and(|slot| slot.counted == Counted::HeldUp)
        };
        let task = self.recorder.task_with_origin(record, is_held_up)?;
        record.glance().same_task(known.glance).then_some(task)
    }

    fn memory_left(&self) -> Option<u64> {
        memory::left()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use taskleak_profile::census::{Accused, Settings};
    use taskleak_profile::snapshot::Wait;
    use tokio::io::AsyncReadExt;
    use tokio::runtime::Runtime;
    use tokio::sync::oneshot;
    use tracing::subscriber::{DefaultGuard, NoSubscriber};

    use super::*;
    use crate::Detector;
    use crate::clock::TICK;

    /// Tasks that wait on a thread's own runtime, and sweeps over them.
    struct Watched {
        runtime: Runtime,
        detector: Detector,
        sweep: Sweep,
        census: Census,
        _subscriber: DefaultGuard,
    }

    impl Watched {
        fn new() -> Watched {
            let (subscriber, detector) = Detector::builder().wrap(NoSubscriber::new());
            let mut settings = Settings::default();
            settings.set_threshold(Wait::ChanReceive, TICK);
            // Else the root's tasks would be daemons.
            settings.suspect_daemons = true;
            Watched {
                _subscriber: tracing::subscriber::set_default(subscriber),
                runtime: tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap(),
                detector,
                sweep: Sweep::new(settings.least_ms(), settings.receive_ms()),
                census: Census::new(settings),
            }
        }

        fn park(&self) -> oneshot::Sender<()> {
            let (sender, receiver) = oneshot::channel();
            self.runtime.spawn(receiver);
            self.run();
            sender
        }

        fn run(&self) {
            self.runtime.block_on(tokio::task::yield_now());
        }

        /// The tasks that a sweep accuses.
        fn accused(&mut self) -> u64 {
            // Two ticks: past the threshold, and not in the tick of the park.
            thread::sleep(3 * TICK);
            let shared = &self.detector.shared;
            let source = &mut OneByOne::new(&shared.reporter);
            let (sweep, census) = (&mut self.sweep, &mut self.census);
            sweep.count(&shared.recorder, census, source, &shared.rules);
            let findings = census.finish(0, &sweep.look(&shared.recorder), source);
            findings
                .accused()
                .iter()
                .map(|Accused { tasks, .. }| tasks)
                .sum()
        }
    }

    #[test]
    fn a_task_that_goes_on_is_counted_no_more() {
        let mut watched = Watched::new();
        let mut senders: Vec<_> = (0..3).map(|_| watched.park()).collect();
        assert_eq!(watched.accused(), 3);
        assert_eq!(watched.accused(), 3, "and once in each sweep");
        senders.pop().unwrap().send(()).unwrap();
        assert_eq!(watched.accused(), 2, "it was woken");
        watched.run();
        assert_eq!(watched.accused(), 2, "and has ended");
        // Its slot is the next one's.
        senders.push(watched.park());
        assert_eq!(watched.accused(), 3);
        drop(senders);
        watched.run();
        assert_eq!(watched.accused(), 0);
        assert!(watched.sweep.slots.iter().all(|slot| slot.cell.is_none()));
    }

    #[test]
    fn a_task_counts_anew_when_its_scope_ends() {
        let mut watched = Watched::new();
        let (sender, receiver) = tokio::io::duplex(1);
        let (end, ended) = oneshot::channel::<()>();
        let request = crate::scope("request", async move {
            tokio::spawn(async move {
                let mut receiver = receiver;
                receiver.read_u8().await
            });
            ended.await
        });
        let request = watched.runtime.spawn(request);
        watched.run();
        // The request waits on a channel, its task on what no time is too long for.
        assert_eq!(watched.accused(), 1);
        end.send(()).unwrap();
        watched.runtime.block_on(request).unwrap().unwrap();
        assert_eq!(watched.accused(), 1);
        let text = watched.detector.snapshot().groups[0].clone();
        assert_eq!(text.scope, "request");
        assert!(text.outlived_ms.is_some());
        drop(sender);
        watched.run();
        assert_eq!(watched.accused(), 0);
    }

    #[test]
    fn what_finds_no_place_gets_one_in_the_next_sweeps() {
        let mut watched = Watched::new();
        watched.sweep.most_placed = 2;
        let _senders: Vec<_> = (0..5).map(|_| watched.park()).collect();
        let sweeps = [(); 4].map(|()| (watched.accused(), watched.sweep.left));
        assert_eq!(sweeps, [(2, 3), (4, 1), (5, 0), (5, 0)]);
    }

    #[test]
    fn the_copies_are_of_what_is_asked_for() {
        let mut watched = Watched::new();
        let _senders: Vec<_> = (0..3).map(|_| watched.park()).collect();
        watched.accused();
        let count = |wanted: bool| {
            let mut count = 0;
            let recorder = &watched.detector.shared.recorder;
            let each = |task: &RawTask| {
                assert!(task.in_state_ms >= TICK.as_millis() as u64);
                count += 1;
            };
            watched.sweep.copy_counted(recorder, |_| wanted, each);
            count
        };
        assert_eq!((count(true), count(false)), (3, 0));
    }
}
