//! The census: the tasks that have waited past their threshold, counted again at each sweep.
//!
//! The rules:
//! 1. A *cell* is a raw group of waiting tasks. It is resolved once, when the first task is placed
//!    in it; what its tasks wait on says when they count ([`Counts`]).
//! 2. A sweep calls [`Census::begin`], [`Census::count`] for each placed task, and
//!    [`Census::finish`]. Counts are made anew each time, so an error can't stay.
//! 3. Cells that read the same are one group: counts and the trend are the group's.
//! 4. Facts about single tasks (who spawned it, who dropped its waker) are asked of the few oldest
//!    of a group, when it is judged.
//! 5. Memory is bounded by [`MAX_CELLS`]; what finds no room is counted.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::time::Duration;

use crate::group::{self, ByKey, Key};
use crate::raw::{Origin, RawTask, Source};
use crate::rules::Rules;
use crate::snapshot::{Group, GroupId, Kind, State, Verdict, Wait};
use crate::trend::{Growth, Trend};
use crate::verdict::{
    self, Accused, Circumstances, Evidence, Forecast, Growing, Judged, Lost, Orphaned, Stalled,
    WakerDropped,
};

/// The most cells.
pub const MAX_CELLS: usize = 1 << 14;

/// The oldest tasks of a group that facts are asked of.
const OLDEST: usize = 16;

/// Nothing is foretold beyond 30 days.
const FORECAST_MS: f64 = 30.0 * 86_400_000.0;

/// What tasks are counted, and what they are held against.
#[derive(Debug, Clone)]
pub struct Settings {
    thresholds: BTreeMap<Wait, u64>,
    /// The window of the trend test.
    pub growing_over: Duration,
    /// Daemons that wait on a channel as they always did get `suspect` too.
    pub suspect_daemons: bool,
    /// `growing` says when this many tasks are reached.
    pub count_limit: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        const MINUTE: u64 = 60_000;
        Self {
            thresholds: BTreeMap::from([
                (Wait::ChanReceive, MINUTE),
                (Wait::ChanSend, MINUTE),
                (Wait::MutexLock, MINUTE),
                (Wait::RwLockRead, MINUTE),
                (Wait::RwLockWrite, MINUTE),
                (Wait::Semaphore, MINUTE),
                (Wait::Barrier, MINUTE),
                (Wait::Join, 10 * MINUTE),
                (Wait::Notify, 10 * MINUTE),
            ]),
            growing_over: Duration::from_millis(MINUTE),
            suspect_daemons: false,
            count_limit: None,
        }
    }
}

impl Settings {
    /// How long a task may wait on this, in milliseconds; `None` where no time is too long.
    pub fn threshold_ms(&self, wait: Wait) -> Option<u64> {
        self.thresholds.get(&wait).copied()
    }

    /// Changes a threshold. Returns whether there is one for this wait.
    pub fn set_threshold(&mut self, wait: Wait, to: Duration) -> bool {
        let ms = u64::try_from(to.as_millis()).unwrap_or(u64::MAX);
        let known = self.thresholds.get_mut(&wait);
        known.map(|threshold| *threshold = ms).is_some()
    }

    /// The waits that have a threshold.
    pub fn judged_waits(&self) -> impl Iterator<Item = Wait> + '_ {
        self.thresholds.keys().copied()
    }

    /// No task counts before it has waited, or lived, so long.
    pub fn least_ms(&self) -> u64 {
        self.thresholds.values().copied().min().unwrap_or(u64::MAX)
    }

    /// After so long, whatever is to get a verdict for the growth of its group has got it.
    pub fn needed_for_a_verdict(&self) -> Duration {
        Duration::from_millis(self.receive_ms()).saturating_add(self.growing_over)
    }

    /// Of tasks that wait on nothing, and the age from which a loop on timers counts.
    fn receive_ms(&self) -> u64 {
        self.thresholds
            .get(&Wait::ChanReceive)
            .copied()
            .unwrap_or(u64::MAX)
    }
}

/// When a waiting task counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Never,
    /// Once it has waited so many milliseconds.
    After(u64),
    /// If it was so old when it went into this wait: it waits on a timer, and again.
    IfOlder(u64),
}

impl Counts {
    fn of(group: &Group, settings: &Settings) -> Self {
        let observable = matches!(group.kind, Kind::Task | Kind::Local);
        if group.state != State::Waiting || !observable || group.wakers_without_stack > 0 {
            return Self::Never;
        }
        if group.wait.contains(&Wait::Nothing) {
            return Self::After(settings.receive_ms());
        }
        let loops = group.wait.contains(&Wait::Sleep);
        let others = group.wait.iter().filter(|wait| **wait != Wait::Sleep);
        let thresholds: Option<Vec<u64>> =
            others.map(|wait| settings.threshold_ms(*wait)).collect();
        match thresholds {
            Some(_) if loops => Self::IfOlder(settings.receive_ms()),
            Some(thresholds) => thresholds
                .into_iter()
                .max()
                .map_or(Self::Never, Self::After),
            None => Self::Never,
        }
    }

    /// Whether a task counted already `before_ms` ago (0: counts now).
    fn counted(self, waited_ms: u64, age_ms: u64, before_ms: u64) -> bool {
        match self {
            Self::Never => false,
            Self::After(threshold) => waited_ms >= threshold.saturating_add(before_ms),
            Self::IfOlder(threshold) => {
                age_ms.saturating_sub(waited_ms) >= threshold
                    && age_ms >= threshold.saturating_add(before_ms)
            }
        }
    }
}

/// A place in the census.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellId(NonZeroU32);

impl CellId {
    fn new(place: usize) -> Self {
        let number = u32::try_from(place + 1).expect("there are at most MAX_CELLS");
        Self(NonZeroU32::new(number).expect("one more than something"))
    }

    fn place(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Counts tasks past their threshold and judges their groups.
#[derive(Debug)]
pub struct Census {
    settings: Settings,
    cells: Vec<Cell>,
    free: Vec<CellId>,
    places: ByKey<CellId>,
    groups: HashMap<GroupId, Watched>,
    crowded_out: u64,
}

#[derive(Debug)]
struct Cell {
    key: Key,
    group: GroupId,
    counts: Counts,
    /// Tasks placed here, past the threshold or not.
    members: u64,
    count: u64,
    oldest: Oldest,
}

/// The tasks that have waited longest, in no order.
#[derive(Debug, Clone, Default)]
struct Oldest {
    each: Vec<Old>,
    /// The shortest wait among them, once there are [`OLDEST`].
    least_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Old {
    slot: u32,
    waited_ms: u64,
}

/// A group that has tasks in a cell.
#[derive(Debug)]
struct Watched {
    /// As its first task gave it; its counts are not kept up.
    group: Group,
    counts: Counts,
    trend: Trend,
    count: u64,
    oldest: Oldest,
    /// It has cells.
    is_there: bool,
}

/// What [`Census::finish`] asks about single tasks.
pub trait Look {
    /// The task that has this slot, if it is still the one that was counted there.
    fn task(&self, slot: u32) -> Option<RawTask>;
    /// Who spawned it.
    fn origin(&self, slot: u32) -> Origin;
    /// Bytes that the process can still take; `None` if unknown.
    fn memory_left(&self) -> Option<u64>;
}

impl Census {
    /// Counts nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            cells: Vec::new(),
            free: Vec::new(),
            places: ByKey::default(),
            groups: HashMap::new(),
            crowded_out: 0,
        }
    }

    /// A sweep begins: nothing is counted.
    pub fn begin(&mut self) {
        for cell in &mut self.cells {
            cell.members = 0;
            cell.count = 0;
            cell.oldest = Oldest::default();
        }
    }

    /// The cell of a waiting task; `None` if there is no room for it.
    pub fn place(
        &mut self,
        task: &RawTask,
        source: &mut impl Source,
        rules: &Rules,
    ) -> Option<CellId> {
        let (key, _) = Key::of(task);
        if let Some(place) = self.places.get(&key) {
            return Some(*place);
        }
        if self.places.len() >= MAX_CELLS {
            self.crowded_out += 1;
            return None;
        }
        let group = rules.applied(group::of_one(task, source));
        let cell = Cell {
            key,
            group: group.id,
            counts: Counts::of(&group, &self.settings),
            members: 0,
            count: 0,
            oldest: Oldest::default(),
        };
        let (counts, over) = (cell.counts, self.settings.growing_over);
        self.groups.entry(group.id).or_insert_with(|| Watched {
            group,
            counts,
            trend: Trend::new(over),
            count: 0,
            oldest: Oldest::default(),
            is_there: true,
        });
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

    /// Counts a task that waits and has been placed. Returns whether it is past its threshold.
    /// `age_ms` is asked for where it matters.
    #[inline]
    pub fn count(
        &mut self,
        cell: CellId,
        slot: u32,
        waited_ms: u64,
        age_ms: impl FnOnce() -> u64,
    ) -> bool {
        let cell = &mut self.cells[cell.place()];
        cell.members += 1;
        let counts = match cell.counts {
            Counts::Never => false,
            Counts::After(threshold) => waited_ms >= threshold,
            Counts::IfOlder(_) => cell.counts.counted(waited_ms, age_ms(), 0),
        };
        if counts {
            cell.count += 1;
            cell.oldest.offer(Old { slot, waited_ms });
        }
        counts
    }

    /// The sweep is over: judges the groups. `now_ms` is of any clock, the same each time.
    pub fn finish(&mut self, now_ms: u64, look: &impl Look, source: &mut impl Source) -> Findings {
        self.sum_up();
        let mut verdicts: HashMap<GroupId, Judged> = HashMap::new();
        let mut accused = Vec::new();
        for (id, watched) in &mut self.groups {
            if watched.count > 0 || watched.is_grown() {
                watched.trend.push(now_ms, watched.count);
            }
            let judged = match watched.count {
                0 => None,
                _ => watched.judge(&self.settings, look, source),
            };
            if let Some(judged) = judged {
                accused.push(Accused {
                    group: *id,
                    tasks: watched.count,
                    level: judged.level,
                });
                verdicts.insert(*id, judged);
            }
        }
        self.groups
            .retain(|_, watched| watched.is_there || watched.is_grown());
        accused.sort_unstable_by_key(|accused| accused.group);
        Findings {
            by_key: self.findings(&verdicts),
            accused,
            crowded_out: self.crowded_out,
        }
    }

    /// Gives back the cells that nobody is in, and adds the others to their groups.
    fn sum_up(&mut self) {
        for watched in self.groups.values_mut() {
            watched.count = 0;
            watched.oldest = Oldest::default();
            watched.is_there = false;
        }
        for (place, cell) in self.cells.iter_mut().enumerate() {
            let id = CellId::new(place);
            if cell.members == 0 {
                if self.places.get(&cell.key) == Some(&id) {
                    self.places.remove(&cell.key);
                    self.free.push(id);
                }
                continue;
            }
            if let Some(watched) = self.groups.get_mut(&cell.group) {
                watched.is_there = true;
                watched.count += cell.count;
                for old in &cell.oldest.each {
                    watched.oldest.offer(*old);
                }
            }
        }
    }

    fn findings(&self, verdicts: &HashMap<GroupId, Judged>) -> ByKey<Finding> {
        let accused = self.cells.iter().filter(|cell| cell.count > 0);
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

impl Oldest {
    #[inline]
    fn offer(&mut self, old: Old) {
        if self.each.len() == OLDEST && old.waited_ms <= self.least_ms {
            return;
        }
        self.take(old);
    }

    fn take(&mut self, old: Old) {
        if self.each.len() == OLDEST {
            let youngest = self.each.iter_mut().min_by_key(|old| old.waited_ms);
            if let Some(youngest) = youngest {
                *youngest = old;
            }
        } else {
            self.each.push(old);
        }
        let least = self.each.iter().map(|old| old.waited_ms).min();
        self.least_ms = least.unwrap_or(0);
    }
}

impl Watched {
    fn is_grown(&self) -> bool {
        !self.trend.is_empty()
    }

    fn judge(
        &self,
        settings: &Settings,
        look: &impl Look,
        source: &mut impl Source,
    ) -> Option<Judged> {
        if self.group.allowed.is_some() {
            return None;
        }
        let mut oldest: Vec<Seen> = self
            .oldest
            .each
            .iter()
            .filter_map(|old| Seen::of(*old, look))
            .collect();
        oldest.sort_unstable_by_key(|seen| std::cmp::Reverse(seen.task.in_state_ms));
        let first = oldest.first()?;
        let loops = matches!(self.counts, Counts::IfOlder(_));
        let mut evidence = Vec::new();
        if self.group.wait.contains(&Wait::Nothing) {
            evidence.push(Evidence::Lost(self.lost(&oldest, first, source)));
        } else if let Counts::After(threshold_ms) = self.counts {
            evidence.push(Evidence::Stalled(Stalled {
                tasks: self.count,
                waited_ms: first.task.in_state_ms,
                threshold_ms,
                on: self.waits(),
                is_idle: self.group.wait.iter().all(|wait| is_idle(*wait)),
            }));
        }
        evidence.extend(orphaned(&oldest).map(Evidence::Orphaned));
        let growth = self.trend.growth();
        evidence.extend(growth.map(|growth| {
            Evidence::Growing(Growing {
                growth,
                loops,
                forecast: self.forecast(&growth, settings, look),
            })
        }));
        let most = |which: fn(&Seen) -> bool| {
            2 * oldest.iter().filter(|seen| which(seen)).count() > oldest.len()
        };
        let circumstances = Circumstances {
            from_root: most(|seen| seen.origin == Origin::Root),
            guessed: most(|seen| seen.task.waits_guessed),
            suspect_daemons: settings.suspect_daemons,
        };
        verdict::verdict(&evidence, circumstances)
    }

    fn lost(&self, oldest: &[Seen], first: &Seen, source: &mut impl Source) -> Lost {
        let dropped = oldest.iter().find_map(|seen| {
            let ago_ms = seen.task.lost_ms?;
            Some(WakerDropped {
                task: seen.task.id,
                ago_ms,
                by: function(seen.task.lost_by, source),
            })
        });
        Lost {
            tasks: self.count,
            waited_ms: first.task.in_state_ms,
            dropped,
        }
    }

    fn waits(&self) -> String {
        let mut words: Vec<&str> = self.group.wait.iter().map(|wait| wait.word()).collect();
        words.dedup();
        words.join(" and ")
    }

    fn forecast(&self, growth: &Growth, settings: &Settings, look: &impl Look) -> Option<Forecast> {
        let in_ms = |tasks: f64| {
            let ms = tasks / growth.per_minute * 60_000.0;
            (0.0..=FORECAST_MS).contains(&ms).then_some(ms as u64)
        };
        if let Some(limit) = settings.count_limit {
            let more = limit.checked_sub(self.count).filter(|more| *more > 0)?;
            return Some(Forecast::Count {
                tasks: limit,
                in_ms: in_ms(more as f64)?,
            });
        }
        let (left, future_bytes) = (look.memory_left()?, self.group.future_bytes);
        let tasks = left.checked_div(future_bytes)?;
        Some(Forecast::Memory {
            left,
            future_bytes,
            in_ms: in_ms(tasks as f64)?,
        })
    }
}

/// One of the oldest tasks, as it is now.
struct Seen {
    task: RawTask,
    origin: Origin,
}

impl Seen {
    fn of(old: Old, look: &impl Look) -> Option<Self> {
        let task = look.task(old.slot)?;
        let origin = look.origin(old.slot);
        Some(Self { task, origin })
    }
}

/// A daemon may wait on it as long as the process runs.
fn is_idle(wait: Wait) -> bool {
    matches!(wait, Wait::ChanReceive | Wait::Join | Wait::Notify)
}

/// If at least half of these are orphans: the facts of the oldest of them.
fn orphaned(oldest: &[Seen]) -> Option<Orphaned> {
    let mut orphans = oldest.iter().filter_map(|seen| match seen.origin {
        Origin::Ended {
            task,
            ago_ms,
            between,
        } => Some((seen, task, ago_ms, between)),
        Origin::Root | Origin::Live => None,
    });
    let (seen, ancestor, ended_ms, between) = orphans.next()?;
    let orphans = 1 + orphans.count();
    (2 * orphans >= oldest.len()).then_some(Orphaned {
        task: seen.task.id,
        ancestor,
        ended_ms,
        spawned_ms: seen.task.age_ms,
        between,
        orphans,
        of_oldest: oldest.len(),
    })
}

/// The innermost visible function of a stack.
fn function(stack: u32, source: &mut impl Source) -> String {
    if stack == 0 {
        return String::new();
    }
    let stack = source.stack(stack);
    let visible = stack.frames.iter().find(|frame| !frame.hidden);
    visible.map_or_else(String::new, |frame| frame.function.clone())
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

    /// Whether this task is one that a verdict is about, and was not yet `since_ms` ago.
    pub fn accuse(&self, task: &RawTask, since_ms: Option<u64>) -> bool {
        if task.state != State::Waiting || self.by_key.is_empty() {
            return false;
        }
        let Some(finding) = self.by_key.get(&Key::of(task).0) else {
            return false;
        };
        let counted = |before| {
            let (waited, age) = (task.in_state_ms, task.age_ms);
            finding.counts.counted(waited, age, before)
        };
        counted(0) && since_ms.is_none_or(|before| !counted(before))
    }

    /// Tasks that were not watched because [`MAX_CELLS`] were taken, summed over all sweeps.
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
        fn task(&self, slot: u32) -> Option<RawTask> {
            self.tasks.get(slot as usize).copied()
        }

        fn origin(&self, _: u32) -> Origin {
            self.origin
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
            let cell = census.place(task, source, &rules).unwrap();
            census.count(cell, slot as u32, task.in_state_ms, || task.age_ms);
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

        let settings = Settings {
            suspect_daemons: true,
            ..Settings::default()
        };
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
        assert_eq!(growing(looping, 60), Some((60, Level::Likely)));
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
            lost_ms: Some(42_000),
            lost_by: SEND,
            ..waiting(1, &[RECEIVE], MINUTE)
        };
        assert_eq!(judged(vec![lost], Origin::Root), Some((1, "likely")));
        let world = World {
            tasks: vec![lost],
            origin: Origin::Root,
        };
        let findings = sweep(&mut census(), &world, 0);
        let verdict = findings.verdict(&Key::of(&lost).0).unwrap();
        assert_eq!(
            verdict.evidence,
            ["lost: its last waker was dropped 42s ago, by f1; only an abort can end it"]
        );
    }

    #[test]
    fn an_allowed_group_is_never_accused() {
        let daemon = RawTask {
            daemon: true,
            ..waiting(1, &[RECEIVE], MINUTE)
        };
        assert_eq!(judged(vec![daemon], ENDED), None);
    }

    proptest! {
        /// Every task is in one cell, no count is of more tasks than there are, cells that nobody
        /// is in are given back, and what is accused has waited.
        #[test]
        fn each_sweep_counts_anew(
            sweeps in prop::collection::vec(
                prop::collection::vec((5..10u32, 0..3 * MINUTE), 0..40), 1..12,
            )
        ) {
            let mut census = census();
            for (number, tasks) in sweeps.iter().enumerate() {
                let tasks: Vec<RawTask> = tasks
                    .iter()
                    .enumerate()
                    .map(|(id, (wait, waited))| waiting(id as u64 + 1, &[*wait], *waited))
                    .collect();
                let world = World { tasks, origin: ENDED };
                let findings = sweep(&mut census, &world, number as u64 * 1000);
                let members: u64 = census.cells.iter().map(|cell| cell.members).sum();
                prop_assert_eq!(members, world.tasks.len() as u64);
                let in_use = census.places.len();
                prop_assert_eq!(in_use + census.free.len(), census.cells.len());
                prop_assert!(in_use <= 5);
                let accused: u64 = findings.accused().iter().map(|now| now.tasks).sum();
                let by_task = world.tasks.iter().filter(|task| findings.accuse(task, None));
                prop_assert_eq!(accused, by_task.clone().count() as u64);
                for task in by_task {
                    prop_assert!(task.in_state_ms >= MINUTE, "{:?}", task);
                }
            }
        }
    }
}
