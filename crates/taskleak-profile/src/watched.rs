//! A group that has tasks past their threshold: its trend, its oldest tasks, and the evidence that
//! these give.

use std::time::Duration;

use crate::frames::innermost;
use crate::raw::{Origin, RawTask, Source};
use crate::snapshot::{Group, State, Wait};
use crate::thresholds::{Counts, Settings, Times, is_idle};
use crate::trend::{Growth, Trend};
use crate::verdict::{
    self, Circumstances, Evidence, Forecast, Growing, Judged, Lost, Orphaned, Outlived, Stalled,
    WakerDropped,
};

/// The oldest tasks of a group that facts are asked of.
const OLDEST: usize = 16;

/// Nothing is foretold beyond 30 days.
const FORECAST_MS: f64 = 30.0 * 86_400_000.0;

/// Leaked tasks stay. Where more than one leaves for so many that come, the number wanders, and
/// that it rose says nothing.
const STAY_FOR_ONE_THAT_LEAVES: u64 = 10;

/// A group that has tasks in a cell.
#[derive(Debug)]
pub(crate) struct Watched {
    /// As its first task gave it; its counts are not kept up.
    group: Group,
    counts: Counts,
    trend: Trend,
    departures: Departures,
    tally: Tally,
}

/// What a sweep counts, of a cell or of the cells of a group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Tasks placed there, past the threshold or not.
    pub(crate) members: u64,
    /// Those past it.
    pub(crate) count: u64,
    /// Tasks that counted in the sweep before and went on since.
    pub(crate) left: u64,
    pub(crate) oldest: Oldest,
}

impl Tally {
    pub(crate) fn clear(&mut self) {
        let Self {
            members,
            count,
            left,
            oldest,
        } = self;
        (*members, *count, *left) = (0, 0, 0);
        // Keeps its room for the next sweep.
        oldest.each.clear();
    }

    fn add(&mut self, other: &Self) {
        self.members += other.members;
        self.count += other.count;
        self.left += other.left;
        let theirs = other.oldest.each.iter();
        theirs.for_each(|old| self.oldest.offer(*old));
    }
}

/// What [`Census::finish`](crate::census::Census::finish) asks about the process.
pub trait Look {
    /// The task that has this slot and who spawned it, if it is still the one that was counted.
    fn task(&self, slot: u32) -> Option<(RawTask, Origin)>;
    /// Bytes that the process can still take; `None` if unknown.
    fn memory_left(&self) -> Option<u64>;
}

impl Watched {
    pub(crate) fn new(group: Group, counts: Counts, settings: &Settings) -> Self {
        Self {
            group,
            counts,
            trend: Trend::new(settings.growing_over),
            departures: Departures::new(settings.growing_over),
            tally: Tally::default(),
        }
    }

    /// Whether it has tasks in a cell, or had some that counted within a window.
    pub(crate) fn is_needed(&self) -> bool {
        self.tally.members > 0 || !self.trend.is_empty()
    }

    /// Its tasks that count.
    pub(crate) fn count(&self) -> u64 {
        self.tally.count
    }

    /// A sweep is summed up anew.
    pub(crate) fn clear(&mut self) {
        self.tally.clear();
    }

    /// Takes what was counted in one of its cells.
    pub(crate) fn add(&mut self, cell: &Tally) {
        self.tally.add(cell);
    }

    /// All its cells have been added: takes the sums into the trend.
    pub(crate) fn note(&mut self, now_ms: u64) {
        self.departures.add(now_ms, self.tally.left);
        if self.tally.count > 0 || !self.trend.is_empty() {
            self.trend.push(now_ms, self.tally.count);
        }
    }

    pub(crate) fn judge(
        &self,
        settings: &Settings,
        look: &impl Look,
        source: &mut impl Source,
    ) -> Option<Judged> {
        if self.count() == 0 || self.group.allowed.is_some() {
            return None;
        }
        let oldest = self.seen(look);
        let first = oldest.first()?;
        let mut evidence = Vec::new();
        if self.group.wait.contains(&Wait::Nothing) {
            evidence.push(Evidence::Lost(self.lost(&oldest, first, source)));
        } else if let Counts::After(threshold_ms) = self.counts {
            evidence.push(Evidence::Stalled(Stalled {
                tasks: self.count(),
                waited_ms: first.task.in_state_ms,
                threshold_ms,
                on: self.waits(),
                is_idle: self.group.wait.iter().all(|wait| is_idle(*wait)),
            }));
        }
        evidence.extend(self.outlived(&oldest).map(Evidence::Outlived));
        evidence.extend(orphaned(&oldest).map(Evidence::Orphaned));
        evidence.extend(self.growing(settings, look).map(Evidence::Growing));
        let most = |which: fn(&Seen) -> bool| {
            2 * oldest.iter().filter(|seen| which(seen)).count() > oldest.len()
        };
        let circumstances = Circumstances {
            from_root: most(|seen| seen.origin == Origin::Root),
            companions: companions(&oldest),
            guessed: most(|seen| seen.task.waits_guessed),
            suspect_daemons: settings.suspect_daemons,
        };
        verdict::verdict(self.count(), &evidence, circumstances)
    }

    /// The oldest tasks that still count, the oldest first.
    fn seen(&self, look: &impl Look) -> Vec<Seen> {
        let mut oldest: Vec<Seen> = self
            .tally
            .oldest
            .each
            .iter()
            .filter_map(|old| look.task(old.slot))
            .map(|(task, origin)| Seen { task, origin })
            .filter(|seen| self.still_counts(&seen.task))
            .collect();
        oldest.sort_unstable_by_key(|seen| std::cmp::Reverse(seen.task.in_state_ms));
        oldest
    }

    /// A task that loops may be at any point of its loop by now.
    fn still_counts(&self, task: &RawTask) -> bool {
        let counts = || self.counts.counted(Times::of(task), 0);
        self.counts.loops() || task.state == State::Waiting && counts()
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
            tasks: self.count(),
            waited_ms: first.task.in_state_ms,
            dropped,
        }
    }

    fn outlived(&self, oldest: &[Seen]) -> Option<Outlived> {
        self.group.outlived_ms?;
        let ended = oldest.iter().filter_map(|seen| seen.task.outlived_ms);
        Some(Outlived {
            tasks: self.count(),
            scope: self.group.scope.clone(),
            ended_ms: ended.max()?,
        })
    }

    fn waits(&self) -> String {
        let mut words: Vec<&str> = self.group.wait.iter().map(|wait| wait.word()).collect();
        words.dedup();
        words.join(" and ")
    }

    fn growing(&self, settings: &Settings, look: &impl Look) -> Option<Growing> {
        let left = |growth: &Growth| self.departures.within(growth.over_ms);
        let growth = self.trend.growth_where(|growth| {
            let stayed = growth.to.saturating_sub(growth.from);
            left(growth).saturating_mul(STAY_FOR_ONE_THAT_LEAVES) <= stayed
        })?;
        Some(Growing {
            growth,
            left: left(&growth),
            loops: self.counts.loops(),
            forecast: self.forecast(&growth, settings, look),
        })
    }

    fn forecast(&self, growth: &Growth, settings: &Settings, look: &impl Look) -> Option<Forecast> {
        let in_ms = |tasks: f64| {
            let ms = tasks / growth.per_minute * 60_000.0;
            (0.0..=FORECAST_MS).contains(&ms).then_some(ms as u64)
        };
        if let Some(limit) = settings.count_limit {
            let more = limit.checked_sub(self.count()).filter(|more| *more > 0)?;
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

/// No two were spawned by one task, and most of the spawners are alive.
fn companions(oldest: &[Seen]) -> bool {
    let alive = oldest.iter().filter(|seen| seen.origin == Origin::Live);
    let mut spawners: Vec<u64> = alive.map(|seen| seen.task.parent).collect();
    let of = spawners.len();
    spawners.sort_unstable();
    spawners.dedup();
    2 * of > oldest.len() && spawners.len() == of
}

/// The innermost visible function of a stack.
fn function(stack: u32, source: &mut impl Source) -> String {
    match stack {
        0 => String::new(),
        id => innermost(&source.stack(id).frames).to_owned(),
    }
}

/// The tasks that have waited longest, in no order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oldest {
    each: Vec<Old>,
    /// The shortest wait among them.
    least_ms: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Old {
    pub(crate) slot: u32,
    pub(crate) waited_ms: u64,
}

impl Oldest {
    #[inline]
    pub(crate) fn offer(&mut self, old: Old) {
        if self.each.len() < OLDEST || old.waited_ms > self.least_ms {
            self.take(old);
        }
    }

    fn take(&mut self, old: Old) {
        let is_full = self.each.len() == OLDEST;
        let youngest = self.each.iter_mut().min_by_key(|old| old.waited_ms);
        match youngest.filter(|_| is_full) {
            Some(youngest) => *youngest = old,
            None => self.each.push(old),
        }
        let least = self.each.iter().map(|old| old.waited_ms).min();
        self.least_ms = least.unwrap_or(0);
    }
}

/// So many windows are kept: those of a trend, and the one that has begun.
const WINDOWS: usize = 11;

/// How many tasks stopped counting because they went on or ended, by window.
#[derive(Debug)]
struct Departures {
    window_ms: u64,
    /// The number of the window that is under way.
    window: u64,
    /// By the number of the window, modulo their count.
    each: [u64; WINDOWS],
}

impl Departures {
    fn new(over: Duration) -> Self {
        let window_ms = u64::try_from(over.as_millis()).unwrap_or(u64::MAX);
        Self {
            window_ms: window_ms.max(1),
            window: 0,
            each: [0; WINDOWS],
        }
    }

    fn add(&mut self, now_ms: u64, left: u64) {
        let now = now_ms / self.window_ms;
        for passed in (self.window + 1..=now).take(WINDOWS) {
            *self.in_window(passed) = 0;
        }
        self.window = self.window.max(now);
        let window = self.window;
        *self.in_window(window) += left;
    }

    /// In that time up to the last [`add`](Self::add), and in up to a window before it.
    fn within(&self, over_ms: u64) -> u64 {
        let windows = 1 + over_ms.div_ceil(self.window_ms);
        let first = self.window.saturating_sub(windows.min(WINDOWS as u64) - 1);
        let windows = first..=self.window;
        windows
            .map(|window| self.each[(window % WINDOWS as u64) as usize])
            .sum()
    }

    fn in_window(&mut self, window: u64) -> &mut u64 {
        &mut self.each[(window % WINDOWS as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn departures_are_of_the_last_windows() {
        let mut departures = Departures::new(Duration::from_secs(60));
        let minute = 60_000;
        departures.add(0, 5);
        assert_eq!(departures.within(minute), 5);
        departures.add(minute, 1);
        assert_eq!(departures.within(minute), 6, "the window before is in it");
        departures.add(3 * minute, 2);
        assert_eq!(departures.within(minute), 2);
        assert_eq!(departures.within(10 * minute), 8);
        departures.add(100 * minute, 0);
        assert_eq!(departures.within(10 * minute), 0);
        assert_eq!(departures.within(u64::MAX), 0);
    }

    #[test]
    fn the_oldest_are_those_that_have_waited_longest() {
        let mut oldest = Oldest::default();
        for waited_ms in (0..100).rev().chain(100..120) {
            oldest.offer(Old {
                slot: waited_ms as u32,
                waited_ms,
            });
        }
        let mut waits: Vec<u64> = oldest.each.iter().map(|old| old.waited_ms).collect();
        waits.sort_unstable();
        assert_eq!(waits, (104..120).collect::<Vec<u64>>());
    }
}
