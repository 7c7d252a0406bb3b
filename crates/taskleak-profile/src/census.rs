//! The census: the tasks that have waited past their threshold, counted again at each sweep.
//!
//! The rules:
//! 1. A *cell* is a raw group of waiting tasks. It is resolved once, when the first task is placed
//!    in it; what its tasks wait on says when they count (`thresholds.rs`). Tasks that never count
//!    share one cell, whatever they are called and wherever they come from.
//! 2. A sweep calls [`Census::begin`], [`Census::count`] for each placed task, [`Census::leave`]
//!    for each that counted before and went on, and [`Census::finish`]. Counts are made anew each
//!    time, so an error can't stay.
//! 3. Cells that read the same are one group: counts, the trend and the verdict are the group's.
//! 4. Facts about single tasks (who spawned it, who dropped its waker) are asked of the few oldest
//!    of a group, when it is judged (`watched.rs`).
//! 5. Memory is bounded by [`MAX_CELLS`] cells and as many groups; what finds no room is counted.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::num::NonZeroU32;

use crate::group::{self, ByKey, Key};
use crate::raw::{Origin, RawTask, Source};
use crate::rules::Rules;
use crate::snapshot::{Group, GroupId, State, Verdict};
pub use crate::thresholds::Settings;
use crate::thresholds::{Counts, Limits, Times, holds_up};
pub use crate::verdict::Accused;
use crate::verdict::Judged;
pub use crate::watched::Look;
use crate::watched::{Old, Tally, Watched};

/// The most cells.
pub const MAX_CELLS: usize = 1 << 14;

/// A place in the census.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellId(NonZeroU32);

impl CellId {
    /// Of the tasks that never count.
    const NEVER: Self = Self(NonZeroU32::MAX);

    fn new(place: usize) -> Self {
        let number = u32::try_from(place + 1).expect("there are at most MAX_CELLS");
        Self(NonZeroU32::new(number).expect("one more than something"))
    }

    fn place(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// What [`Census::count`] makes of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It is not past its threshold.
    Not,
    /// It is.
    Past,
    /// It is, and somebody holds it up: it does not wait for work. What it has spawned is as
    /// orphaned as it is itself.
    HeldUp,
}

/// Counts tasks past their threshold and judges their groups.
#[derive(Debug)]
pub struct Census {
    settings: Settings,
    cells: Vec<Cell>,
    free: Vec<CellId>,
    places: ByKey<CellId>,
    /// By the waits, and whether the scope has ended, which say it all.
    counts: ByKey<Counts>,
    groups: HashMap<GroupId, Watched>,
    crowded_out: u64,
}

#[derive(Debug)]
struct Cell {
    key: Key,
    group: GroupId,
    counts: Counts,
    limits: Limits,
    /// What a task is that counts.
    past: Counted,
    is_free: bool,
    tally: Tally,
}

impl Census {
    /// Counts nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            cells: Vec::new(),
            free: Vec::new(),
            places: ByKey::default(),
            counts: ByKey::default(),
            groups: HashMap::new(),
            crowded_out: 0,
        }
    }

    /// A sweep begins: nothing is counted.
    pub fn begin(&mut self) {
        self.crowded_out = 0;
        for cell in &mut self.cells {
            cell.tally.clear();
        }
    }

    /// The cell of a waiting task; `None` if there is no room for it, or if it lost its last waker,
    /// or its scope ended, so short a time ago that it does not count.
    ///
    /// A task whose scope ends is to be placed anew: until then it counts as one whose scope runs.
    pub fn place(
        &mut self,
        task: &RawTask,
        source: &mut impl Source,
        rules: &Rules,
    ) -> Option<CellId> {
        let since_loss = task.lost_ms.unwrap_or(u64::MAX);
        if since_loss < self.settings.receive_ms() {
            return None;
        }
        let (key, _) = Key::of(task);
        if let Some(&place) = self.places.get(&key) {
            let counts = self.cells[place.place()].counts;
            return (!self.is_too_early(task, counts)).then_some(place);
        }
        let waits = key.of_waits_alone();
        if self.counts.get(&waits) == Some(&Counts::Never) {
            return Some(CellId::NEVER);
        }
        let group = rules.applied(group::of_one(task, source));
        let counts = Counts::of(&group, &self.settings);
        self.remember(waits, counts);
        if counts == Counts::Never {
            return Some(CellId::NEVER);
        }
        if self.is_too_early(task, counts) {
            return None;
        }
        if self.places.len() >= MAX_CELLS || self.groups.len() >= MAX_CELLS {
            self.crowded_out += 1;
            return None;
        }
        let cell = Cell {
            key,
            group: group.id,
            counts,
            limits: counts.limits(),
            past: match is_held_up(&group) {
                true => Counted::HeldUp,
                false => Counted::Past,
            },
            is_free: false,
            tally: Tally::default(),
        };
        let settings = &self.settings;
        self.groups
            .entry(group.id)
            .or_insert_with(|| Watched::new(group, counts, settings));
        let id = match self.free.pop() {
            Some(id) => {
                self.cells[id.place()] = cell;
                id
            }
            None => {
                self.cells.push(cell);
                CellId::new(self.cells.len() - 1)
            }
        };
        self.places.insert(key, id);
        Some(id)
    }

    /// Whether nothing speaks against the task but the end of its scope, and that is not long ago.
    fn is_too_early(&self, task: &RawTask, counts: Counts) -> bool {
        let since_end = task.outlived_ms.unwrap_or(u64::MAX);
        matches!(counts, Counts::Outlived { .. }) && since_end < self.settings.receive_ms()
    }

    fn remember(&mut self, waits: Key, counts: Counts) {
        if self.counts.len() >= MAX_CELLS {
            self.counts.clear();
        }
        self.counts.insert(waits, counts);
    }

    /// Counts a task that waits and has been placed.
    #[inline]
    pub fn count(&mut self, cell: CellId, slot: u32, waited_ms: u64, age_ms: u64) -> Counted {
        if cell == CellId::NEVER {
            return Counted::Not;
        }
        let Cell {
            limits,
            past,
            tally,
            ..
        } = &mut self.cells[cell.place()];
        tally.members += 1;
        // One that was lost, or whose scope ended, a short time ago has no place.
        if !limits.are_passed(waited_ms, age_ms) {
            return Counted::Not;
        }
        tally.count += 1;
        tally.oldest.offer(Old { slot, waited_ms });
        *past
    }

    /// A task that counted in the sweep before is in another wait, or has ended.
    pub fn leave(&mut self, cell: CellId, has_ended: bool) {
        if cell == CellId::NEVER {
            return;
        }
        let cell = &mut self.cells[cell.place()];
        // Whoever loops goes on all the time.
        cell.tally.left += u64::from(has_ended || !cell.counts.loops());
    }

    /// The group of a cell's tasks; `None` if they never count.
    pub fn group(&self, cell: CellId) -> Option<GroupId> {
        (cell != CellId::NEVER).then(|| self.cells[cell.place()].group)
    }

    /// The sweep is over: judges the groups. `now_ms` is of any clock, the same each time.
    pub fn finish(&mut self, now_ms: u64, look: &impl Look, source: &mut impl Source) -> Findings {
        self.sum_up(now_ms);
        let look = Once {
            look,
            memory_left: OnceCell::new(),
        };
        let mut verdicts: HashMap<GroupId, Judged> = HashMap::new();
        let mut accused = Vec::new();
        for (id, watched) in &self.groups {
            if let Some(judged) = watched.judge(&self.settings, &look, source) {
                accused.push(Accused {
                    group: *id,
                    tasks: watched.count(),
                    level: judged.level,
                });
                verdicts.insert(*id, judged);
            }
        }
        self.groups.retain(|_, watched| watched.is_needed());
        accused.sort_unstable_by_key(|accused| accused.group);
        Findings {
            by_key: self.findings(&verdicts),
            accused,
            crowded_out: self.crowded_out,
        }
    }

    /// Gives back the cells that nobody is in, and adds the others to their groups.
    fn sum_up(&mut self, now_ms: u64) {
        self.groups.values_mut().for_each(Watched::clear);
        let in_use = self.cells.iter_mut().enumerate();
        for (place, cell) in in_use.filter(|(_, cell)| !cell.is_free) {
            if let Some(watched) = self.groups.get_mut(&cell.group) {
                watched.add(&cell.tally);
            }
            if cell.tally.members == 0 {
                cell.is_free = true;
                self.places.remove(&cell.key);
                self.free.push(CellId::new(place));
            }
        }
        for watched in self.groups.values_mut() {
            watched.note(now_ms);
        }
    }

    fn findings(&self, verdicts: &HashMap<GroupId, Judged>) -> ByKey<Finding> {
        let accused = self.cells.iter().filter(|cell| cell.tally.count > 0);
        let found = accused.filter_map(|cell| {
            let judged = verdicts.get(&cell.group)?;
            let finding = Finding {
                counts: cell.counts,
                verdict: judged.verdict.clone(),
            };
            Some((cell.key, finding))
        });
        found.collect()
    }
}

fn is_held_up(group: &Group) -> bool {
    let is_known = !group.wait.is_empty() && group.wakers_without_stack == 0;
    is_known && group.wait.iter().all(|wait| holds_up(*wait))
}

/// Asks for the memory that is left once.
struct Once<'a, L> {
    look: &'a L,
    memory_left: OnceCell<Option<u64>>,
}

impl<L: Look> Look for Once<'_, L> {
    fn task(&self, slot: u32) -> Option<(RawTask, Origin)> {
        self.look.task(slot)
    }

    fn memory_left(&self) -> Option<u64> {
        *self.memory_left.get_or_init(|| self.look.memory_left())
    }
}

/// What a sweep found: which tasks have a verdict.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    by_key: ByKey<Finding>,
    accused: Vec<Accused>,
    crowded_out: u64,
}

#[derive(Debug, Clone)]
struct Finding {
    counts: Counts,
    verdict: Verdict,
}

impl Findings {
    /// The groups with a verdict, by id.
    pub fn accused(&self) -> &[Accused] {
        &self.accused
    }

    /// Whether this task is one that a verdict is about, and was not yet past its threshold
    /// `since_ms` ago.
    pub fn accuse(&self, task: &RawTask, since_ms: Option<u64>) -> bool {
        if task.state != State::Waiting || self.by_key.is_empty() {
            return false;
        }
        let Some(finding) = self.by_key.get(&Key::of(task).0) else {
            return false;
        };
        let counted = |before_ms| finding.counts.counted(Times::of(task), before_ms);
        counted(0) && since_ms.is_none_or(|before_ms| !counted(before_ms))
    }

    /// Tasks that the sweep did not watch because [`MAX_CELLS`] were taken.
    pub fn crowded_out(&self) -> u64 {
        self.crowded_out
    }

    pub(crate) fn verdict(&self, key: &Key) -> Option<&Verdict> {
        self.by_key.get(key).map(|finding| &finding.verdict)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fake::{Fake, raw};
    use crate::snapshot::Kind;
    use crate::verdict::Level;

    // The fake's stacks: 0 receives, 1 sends, 2 sleeps, 3 waits for I/O, 4 joins.
    const RECEIVE: u32 = 5;
    const SEND: u32 = 6;
    const SLEEP: u32 = 7;
    const IO: u32 = 8;
    const JOIN: u32 = 9;

    const MINUTE: u64 = 60_000;

    /// A task that has waited so long at these stacks.
    fn waiting(id: u64, waits: &[u32], waited_ms: u64) -> RawTask {
        let mut task = RawTask {
            in_state_ms: waited_ms,
            age_ms: waited_ms,
            waits_len: waits.len() as u8,
            wakers: Some(waits.len() as u32),
            wakers_explained: waits.len() as u32,
            ..raw(id)
        };
        task.waits = [0; 8];
        task.waits[..waits.len()].copy_from_slice(waits);
        task
    }

    /// All tasks of a process: slot and task.
    struct World {
        tasks: Vec<RawTask>,
        origin: Origin,
    }

    impl Look for World {
        fn task(&self, slot: u32) -> Option<(RawTask, Origin)> {
            let task = self.tasks.get(slot as usize)?;
            Some((*task, self.origin))
        }

        fn memory_left(&self) -> Option<u64> {
            Some(1 << 30)
        }
    }

    const ENDED: Origin = Origin::Ended {
        task: 12,
        ago_ms: Some(5000),
        between: 0,
    };

    fn census() -> Census {
        Census::new(Settings::default())
    }

    fn sweep(census: &mut Census, world: &World, now_ms: u64) -> Findings {
        let rules = Rules::default();
        census.begin();
        for (slot, task) in world.tasks.iter().enumerate() {
            // Stacks are resolved once, whatever the fake thinks of being asked again.
            let source = &mut Fake::new(0);
            if let Some(cell) = census.place(task, source, &rules) {
                census.count(cell, slot as u32, task.in_state_ms, task.age_ms);
            }
        }
        census.finish(now_ms, world, &mut Fake::new(0))
    }

    /// The verdict of the only group, of one sweep over these tasks.
    fn judged(tasks: Vec<RawTask>, origin: Origin) -> Option<(u64, &'static str)> {
        let findings = sweep(&mut census(), &World { tasks, origin }, 1000);
        match findings.accused() {
            [] => None,
            [one] => Some((one.tasks, one.level.word())),
            more => panic!("{more:?}"),
        }
    }

    #[test]
    fn a_wait_counts_past_its_threshold() {
        let check = |waits: &[u32], waited_ms, expected: Option<&str>| {
            let found = judged(vec![waiting(1, waits, waited_ms)], ENDED);
            let expected = expected.map(|level| (1, level));
            assert_eq!(found, expected, "{waits:?} {waited_ms}");
        };
        check(&[RECEIVE], MINUTE - 10, None);
        check(&[RECEIVE], MINUTE, Some("suspect"));
        check(&[SEND], MINUTE, Some("suspect"));
        check(&[JOIN], MINUTE, None);
        check(&[JOIN], 10 * MINUTE, Some("suspect"));
        // The longest threshold of all.
        check(&[RECEIVE, JOIN], 9 * MINUTE, None);
        check(&[RECEIVE, JOIN], 10 * MINUTE, Some("suspect"));
        // However long.
        check(&[RECEIVE, IO], 100 * MINUTE, None);
        check(&[RECEIVE, SLEEP], 100 * MINUTE, None);
        check(&[SLEEP], 100 * MINUTE, None);
        check(&[], MINUTE - 10, None);
        check(&[], MINUTE, Some("suspect"));
    }

    /// In a scope that ended so long ago.
    fn outlived(task: RawTask, ended_ms: u64) -> RawTask {
        RawTask {
            scope: 2,
            outlived_ms: Some(ended_ms),
            ..task
        }
    }

    #[test]
    fn who_outlives_its_scope_counts_whatever_it_waits_on() {
        let check = |waits: &[u32], waited_ms, ended_ms, expected: Option<&str>| {
            let task = outlived(waiting(1, waits, waited_ms), ended_ms);
            let found = judged(vec![task], Origin::Root);
            let expected = expected.map(|level| (1, level));
            assert_eq!(found, expected, "{waits:?} {waited_ms} {ended_ms}");
        };
        for waits in [&[IO] as &[u32], &[SLEEP], &[RECEIVE, IO], &[RECEIVE, SLEEP]] {
            check(waits, MINUTE, MINUTE, Some("suspect"));
            check(waits, MINUTE - 10, 2 * MINUTE, None);
            check(waits, 2 * MINUTE, MINUTE - 10, None);
        }
        // These have thresholds of their own, which are not to wait for the scope's end.
        check(&[RECEIVE], MINUTE, 0, Some("suspect"));
        check(&[RECEIVE], MINUTE - 10, 2 * MINUTE, None);
        check(&[JOIN], MINUTE, MINUTE, None);
        check(&[], MINUTE, 0, Some("suspect"));

        let running = RawTask {
            scope: 2,
            ..waiting(1, &[IO], 100 * MINUTE)
        };
        assert_eq!(judged(vec![running], ENDED), None);
        let unknown = RawTask {
            wakers: Some(2),
            ..outlived(waiting(1, &[RECEIVE], MINUTE), MINUTE)
        };
        assert_eq!(judged(vec![unknown], ENDED), Some((1, "suspect")));
        let daemon = RawTask {
            daemon: true,
            ..outlived(waiting(1, &[IO], MINUTE), MINUTE)
        };
        assert_eq!(judged(vec![daemon], ENDED), None);
        let block_on = RawTask {
            kind: Kind::BlockOn,
            wakers: None,
            ..outlived(waiting(1, &[IO], MINUTE), MINUTE)
        };
        assert_eq!(judged(vec![block_on], ENDED), None);
    }

    #[test]
    fn an_allow_rule_silences_who_outlives_its_scope() {
        let rules: Rules = ["spawned_at=a.rs".parse().unwrap()].into_iter().collect();
        let task = outlived(waiting(1, &[IO], MINUTE), MINUTE);
        let mut census = census();
        census.begin();
        let cell = census.place(&task, &mut Fake::new(0), &rules).unwrap();
        census.count(cell, 0, MINUTE, MINUTE);
        let world = World {
            tasks: vec![task],
            origin: ENDED,
        };
        assert!(
            census
                .finish(0, &world, &mut Fake::new(0))
                .accused()
                .is_empty()
        );
    }

    #[test]
    fn who_outlives_its_scope_and_grows_is_likely() {
        let connection = |id| outlived(waiting(id, &[IO], MINUTE), MINUTE);
        assert_eq!(growing(connection, 20), Some((20, Level::Suspect)));
        assert_eq!(growing(connection, 60), Some((60, Level::Likely)));
        let looping = |id| RawTask {
            age_ms: MINUTE + 500,
            ..outlived(waiting(id, &[SLEEP], 500), MINUTE)
        };
        assert_eq!(growing(looping, 20), Some((20, Level::Suspect)));
        assert_eq!(growing(looping, 60), Some((60, Level::Likely)));
    }

    /// What tasks wait on is remembered without who they are; that they have outlived is not
    /// forgotten by it.
    #[test]
    fn the_end_of_a_scope_places_anew() {
        let running = RawTask {
            scope: 2,
            ..waiting(1, &[IO], 2 * MINUTE)
        };
        let mut census = census();
        let mut place = |task| {
            let cell = census.place(&task, &mut Fake::new(0), &Rules::default());
            cell.map(|cell| cell == CellId::NEVER)
        };
        assert_eq!(place(running), Some(true));
        assert_eq!(place(outlived(running, 1000)), None, "it may be ending");
        assert_eq!(place(outlived(running, MINUTE)), Some(false));
        assert_eq!(place(outlived(running, 1000)), None, "the cell is known");
        assert_eq!(place(running), Some(true));
    }

    #[test]
    fn the_end_of_a_scope_is_told() {
        let task = |id, ended_ms| outlived(waiting(id, &[IO], 2 * MINUTE), ended_ms);
        let world = World {
            tasks: vec![task(1, MINUTE), task(2, 199_000)],
            origin: Origin::Live,
        };
        let findings = sweep(&mut census(), &world, 0);
        let verdict = findings.verdict(&Key::of(&world.tasks[0]).0).unwrap();
        assert_eq!(
            verdict.evidence,
            [
                "outlived: 2 tasks are alive though their scope \"name 0\" has ended, the first \
                 3m19s ago"
            ]
        );
    }

    #[test]
    fn what_is_not_known_is_no_evidence() {
        let unknown = RawTask {
            wakers: Some(2),
            ..waiting(1, &[RECEIVE], 100 * MINUTE)
        };
        assert_eq!(judged(vec![unknown], ENDED), None);
        let block_on = RawTask {
            kind: Kind::BlockOn,
            wakers: None,
            ..waiting(1, &[RECEIVE], 100 * MINUTE)
        };
        assert_eq!(judged(vec![block_on], ENDED), None);
    }

    #[test]
    fn a_daemon_of_main_is_none_and_its_pool_neither() {
        let workers = || (1..9).map(|id| waiting(id, &[RECEIVE], MINUTE)).collect();
        assert_eq!(judged(workers(), Origin::Root), None);
        assert_eq!(judged(workers(), Origin::Live), Some((8, "suspect")));
        assert_eq!(judged(workers(), ENDED), Some((8, "suspect")));
        let blocked = vec![waiting(1, &[SEND], MINUTE)];
        assert_eq!(judged(blocked, Origin::Root), Some((1, "suspect")));

        let mut settings = Settings::default();
        settings.suspect_daemons = true;
        let world = World {
            tasks: workers(),
            origin: Origin::Root,
        };
        let findings = sweep(&mut Census::new(settings), &world, 0);
        assert_eq!(findings.accused().len(), 1);
    }

    /// One more task each second.
    fn growing(task: impl Fn(u64) -> RawTask, seconds: u64) -> Option<(u64, Level)> {
        let mut census = census();
        let mut last = None;
        let mut world = World {
            tasks: Vec::new(),
            origin: ENDED,
        };
        for second in 1..=seconds {
            world.tasks.push(task(second));
            let findings = sweep(&mut census, &world, second * 1000);
            last = findings.accused().first().map(|now| (now.tasks, now.level));
        }
        last
    }

    #[test]
    fn stuck_orphans_that_grow_are_likely() {
        let stuck = |id| waiting(id, &[RECEIVE], MINUTE);
        assert_eq!(growing(stuck, 20), Some((20, Level::Suspect)));
        assert_eq!(growing(stuck, 60), Some((60, Level::Likely)));
    }

    #[test]
    fn loops_on_timers_are_told_by_their_growth() {
        let looping = |id| RawTask {
            age_ms: MINUTE + 500,
            ..waiting(id, &[SLEEP], 500)
        };
        assert_eq!(growing(looping, 60), Some((60, Level::Suspect)));
        assert_eq!(growing(looping, 330), Some((330, Level::Likely)));
        // The same with one long sleep each.
        let sleeping = |id| waiting(id, &[SLEEP], 2 * MINUTE);
        assert_eq!(growing(sleeping, 60), None);
        // And with what they do between two sleeps.
        let young = |id| RawTask {
            age_ms: MINUTE - 500,
            ..waiting(id, &[SLEEP], 500)
        };
        assert_eq!(growing(young, 60), None);
        let served = |id| RawTask {
            age_ms: 2 * MINUTE,
            ..waiting(id, &[IO], 500)
        };
        assert_eq!(growing(served, 60), None);
    }

    #[test]
    fn leaks_are_the_tasks_past_the_threshold_and_new_ones_those_since() {
        let old = waiting(1, &[RECEIVE], MINUTE + 30_000);
        let new = waiting(2, &[RECEIVE], MINUTE + 1000);
        let in_flight = waiting(3, &[RECEIVE], 20);
        let elsewhere = waiting(4, &[IO], 2 * MINUTE);
        let world = World {
            tasks: vec![old, new, in_flight, elsewhere],
            origin: ENDED,
        };
        let findings = sweep(&mut census(), &world, 0);
        let accused = |since_ms| -> Vec<u64> {
            let tasks = world.tasks.iter();
            let tasks = tasks.filter(|task| findings.accuse(task, since_ms));
            tasks.map(|task| task.id).collect()
        };
        assert_eq!(accused(None), [1, 2]);
        assert_eq!(accused(Some(10_000)), [2]);
        assert_eq!(accused(Some(500)), [] as [u64; 0]);
    }

    #[test]
    fn a_lost_waker_is_told_with_who_dropped_it() {
        let lost = RawTask {
            wakers: Some(0),
            lost_ms: Some(MINUTE),
            lost_by: SEND,
            ..waiting(1, &[RECEIVE], 2 * MINUTE)
        };
        assert_eq!(judged(vec![lost], Origin::Root), Some((1, "likely")));
        let just_lost = RawTask {
            lost_ms: Some(1000),
            ..lost
        };
        assert_eq!(judged(vec![just_lost], Origin::Root), None);
        let world = World {
            tasks: vec![lost],
            origin: Origin::Root,
        };
        let findings = sweep(&mut census(), &world, 0);
        let verdict = findings.verdict(&Key::of(&lost).0).unwrap();
        assert_eq!(
            verdict.evidence,
            ["lost: its last waker was dropped 1m0s ago, by f1; only an abort can end it"]
        );
    }

    #[test]
    fn who_waits_for_work_is_not_held_up() {
        let counted = |waits: &[u32], times: (u64, u64)| {
            let task = RawTask {
                age_ms: times.1,
                ..waiting(1, waits, times.0)
            };
            let mut census = census();
            census.begin();
            let cell = census.place(&task, &mut Fake::new(0), &Rules::default());
            census.count(cell.unwrap(), 0, task.in_state_ms, task.age_ms)
        };
        let long = (100 * MINUTE, 100 * MINUTE);
        assert_eq!(counted(&[SEND], long), Counted::HeldUp);
        assert_eq!(counted(&[JOIN], long), Counted::HeldUp);
        assert_eq!(counted(&[SEND, JOIN], long), Counted::HeldUp);
        assert_eq!(counted(&[RECEIVE], long), Counted::Past);
        assert_eq!(counted(&[RECEIVE, JOIN], long), Counted::Past);
        assert_eq!(counted(&[SEND], (1000, 1000)), Counted::Not);
        // A scheduler, or an actor with a heartbeat.
        assert_eq!(counted(&[SLEEP], (500, 2 * MINUTE)), Counted::Past);
        assert_eq!(counted(&[JOIN, SLEEP], (500, 2 * MINUTE)), Counted::Past);
    }

    #[test]
    fn whoever_waits_on_what_is_not_known_is_not_held_up() {
        let unknown = |waits: &[u32]| RawTask {
            wakers: Some(1 + waits.len() as u32),
            ..outlived(waiting(1, waits, MINUTE), MINUTE)
        };
        for waits in [&[] as &[u32], &[SEND]] {
            let mut census = census();
            census.begin();
            let cell = census.place(&unknown(waits), &mut Fake::new(0), &Rules::default());
            let counted = census.count(cell.unwrap(), 0, MINUTE, MINUTE);
            assert_eq!(counted, Counted::Past, "{waits:?}");
        }
    }

    #[test]
    fn an_allowed_group_is_never_accused() {
        let daemon = RawTask {
            daemon: true,
            ..waiting(1, &[RECEIVE], MINUTE)
        };
        assert_eq!(judged(vec![daemon], ENDED), None);
    }

    /// Tasks come and go at random: 30 of them at a time, each for two minutes on the mean.
    #[test]
    fn tasks_that_come_and_go_are_never_likely() {
        let mut random = 1u64;
        let mut chance = |of: u64| {
            // Numerical Recipes' linear congruential generator.
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33).is_multiple_of(of)
        };
        let mut census = census();
        let (rules, source) = (Rules::default(), &mut Fake::new(0));
        let mut cell_of = |census: &mut Census, id| {
            let task = waiting(id, &[RECEIVE], MINUTE);
            census.place(&task, source, &rules).unwrap()
        };
        let mut world = World {
            tasks: Vec::new(),
            origin: ENDED,
        };
        let mut cell = None;
        for second in 0..40_000u64 {
            let before = world.tasks.len();
            world.tasks.retain(|_| !chance(120));
            let left = before - world.tasks.len();
            if chance(4) {
                world.tasks.push(waiting(second + 1, &[RECEIVE], MINUTE));
            }
            census.begin();
            if let (Some(cell), 1..) = (cell, left) {
                (0..left).for_each(|_| census.leave(cell, false));
            }
            for slot in 0..world.tasks.len() {
                let id = *cell.get_or_insert_with(|| cell_of(&mut census, 1));
                census.count(id, slot as u32, MINUTE, MINUTE);
            }
            if world.tasks.is_empty() {
                cell = None;
            }
            let findings = census.finish(second * 1000, &world, &mut Fake::new(0));
            let likely = findings
                .accused()
                .iter()
                .any(|now| now.level > Level::Suspect);
            assert!(!likely, "after {second} s");
        }
    }

    proptest! {
        /// Every task is in one cell, no count is of more tasks than there are, cells that nobody
        /// is in are given back, and what is accused has waited.
        #[test]
        fn each_sweep_counts_anew(
            sweeps in prop::collection::vec(
                prop::collection::vec(
                    (5..10u32, 0..3 * MINUTE, prop::option::of(0..3 * MINUTE)), 0..40,
                ), 1..12,
            )
        ) {
            let mut census = census();
            for (number, tasks) in sweeps.iter().enumerate() {
                let tasks: Vec<RawTask> = tasks
                    .iter()
                    .enumerate()
                    .map(|(id, (wait, waited, ended))| {
                        let task = waiting(id as u64 + 1, &[*wait], *waited);
                        ended.map_or(task, |ended| outlived(task, ended))
                    })
                    .collect();
                let world = World { tasks, origin: ENDED };
                let findings = sweep(&mut census, &world, number as u64 * 1000);
                let members: u64 = census.cells.iter().map(|cell| cell.tally.members).sum();
                let unjudged = |task: &RawTask| matches!(task.waits[0], IO | SLEEP);
                let is_in_none = |task: &&RawTask| match task.outlived_ms {
                    None => task.waits[0] == IO,
                    Some(ended) => unjudged(task) && ended < MINUTE,
                };
                let in_none = world.tasks.iter().filter(is_in_none).count();
                prop_assert_eq!(members, (world.tasks.len() - in_none) as u64);
                let in_use = census.places.len();
                prop_assert_eq!(in_use + census.free.len(), census.cells.len());
                prop_assert!(in_use <= 10);
                let accused: u64 = findings.accused().iter().map(|now| now.tasks).sum();
                let by_task = world.tasks.iter().filter(|task| findings.accuse(task, None));
                prop_assert_eq!(accused, by_task.clone().count() as u64);
                for task in by_task {
                    prop_assert!(task.in_state_ms >= MINUTE, "{:?}", task);
                    let has_ended = task.outlived_ms.is_some_and(|ended| ended >= MINUTE);
                    prop_assert!(has_ended || !unjudged(task), "{:?}", task);
                }
            }
        }
    }
}
