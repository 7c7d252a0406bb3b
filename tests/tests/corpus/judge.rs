//! The detector of the corpus, and what it said of each program.
//!
//! How late a verdict is:
//! 1. It is due when the first task that was left behind has waited past the threshold; where
//!    the number of tasks has to rise, because they loop or a root that still runs spawned them,
//!    when the trend has been watched for its window too.
//! 2. Since when that task waits is read off a snapshot: from the recorder, not the watchdog.
//! 3. It is late by the sweeps that have begun since, the one that found it among them. How long
//!    a sweep takes in this build, on this machine, beside all else that runs on it, is no matter
//!    here; it is told with the table.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use taskleak::{BuildWatched, Detector, Snapshot};
use taskleak_profile::snapshot::{self, Frame, Group, Kind, Task, Wait};
use taskleak_profile::verdict::Level;
use tokio::runtime::Builder;

use crate::program::Pattern;

/// A trend needs ten samples in [`GROWING_OVER`]: there are 24, and a machine that takes twice as
/// long still has 12.
const SWEEP: Duration = Duration::from_millis(250);
/// How long a task may wait.
pub(crate) const BLOCKED_AFTER: Duration = Duration::from_secs(2);
/// The window of the trend.
pub(crate) const GROWING_OVER: Duration = Duration::from_secs(6);
/// Those with a threshold of their own.
const OTHER_WAITS: [Wait; 8] = [
    Wait::ChanSend,
    Wait::MutexLock,
    Wait::RwLockRead,
    Wait::RwLockWrite,
    Wait::Semaphore,
    Wait::Barrier,
    Wait::Join,
    Wait::Notify,
];
/// A verdict comes by the second sweep after it is due.
const SWEEPS: u64 = 2;

/// A group that got a verdict.
#[derive(Debug, Clone)]
pub(crate) struct Accused {
    /// When it was first told.
    pub(crate) at: Instant,
    /// As it was told last with this level, its highest.
    pub(crate) group: Group,
    pub(crate) level: Level,
}

/// What the detector said, by the runtime that polls the tasks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    by_runtime: Arc<Mutex<HashMap<String, Vec<Accused>>>>,
}

impl Said {
    pub(crate) fn of(&self, runtime: &str) -> Vec<Accused> {
        let all = self.by_runtime.lock();
        all.get(runtime).cloned().unwrap_or_default()
    }

    /// When it first named this leak there.
    pub(crate) fn first(&self, leak: &Pattern, runtime: &str) -> Option<Instant> {
        let accused = self.of(runtime).into_iter();
        let named = accused.filter(|accused| leak.names(&accused.group));
        named.map(|accused| accused.at).min()
    }

    fn note(&self, group: &Group) {
        let Some(verdict) = &group.verdict else {
            return;
        };
        let mut levels = Level::ALL.into_iter();
        let level = levels.find(|level| level.word() == verdict.level);
        let level = level.expect("a level has a word");
        let mut all = self.by_runtime.lock();
        let accused = all.entry(group.runtime.clone()).or_default();
        match accused.iter_mut().find(|known| known.group.id == group.id) {
            Some(known) if level >= known.level => {
                known.level = level;
                known.group = group.clone();
            }
            Some(_) => {}
            None => accused.push(Accused {
                at: Instant::now(),
                group: group.clone(),
                level,
            }),
        }
    }
}

/// Installs the detector; what it says is noted.
pub(crate) fn install() -> Result<(Detector, Said), Box<dyn Error>> {
    let said = Said::default();
    let noted = said.clone();
    let mut builder = Detector::builder()
        .sweep_every(SWEEP)?
        .blocked_after(BLOCKED_AFTER)?
        .growing_over(GROWING_OVER)?;
    for wait in OTHER_WAITS {
        builder = builder.blocked_after_on(wait, BLOCKED_AFTER)?;
    }
    let detector = builder
        .on_verdict(move |report| noted.note(&report.group))
        .install()?;
    Ok((detector, said))
}

impl Pattern {
    /// Whether these are the tasks that it leaks.
    pub(crate) fn names(&self, group: &Group) -> bool {
        self.names_function(group) && self.names_wait(group)
    }

    pub(crate) fn names_function(&self, group: &Group) -> bool {
        let waits_in = |stack: &Arc<[Frame]>| is_path_to(leaf(stack), self.function);
        match group.waiting_at.as_slice() {
            [] => waits_in(&group.created_by),
            stacks => stacks.iter().all(waits_in),
        }
    }

    pub(crate) fn names_wait(&self, group: &Group) -> bool {
        group.wait == self.waits
    }
}

/// The innermost function that is shown.
pub(crate) fn leaf(stack: &[Frame]) -> &str {
    let shown = stack.iter().find(|frame| !frame.hidden);
    shown.map_or("", |frame| &frame.function)
}

fn is_path_to(path: &str, function: &str) -> bool {
    path.strip_suffix(function)
        .is_some_and(|before| before.is_empty() || before.ends_with("::"))
}

/// A leak, and its verdict.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Detection {
    /// The first task was left behind.
    leaked: Instant,
    due: Instant,
    told: Instant,
}

impl Detection {
    /// Of a verdict told at that time on tasks that this snapshot, taken later, still shows.
    pub(crate) fn of(
        leak: &Pattern,
        runtime: &str,
        told: Instant,
        snapshot: &Snapshot,
    ) -> Option<Detection> {
        let groups = snapshot.groups.iter();
        let leaked: Vec<_> = groups
            .filter(|group| group.runtime == runtime && leak.names(group))
            .map(|group| group.id)
            .collect();
        let tasks = snapshot.tasks.iter();
        let tasks = tasks.filter(|task| leaked.contains(&task.group));
        let each = tasks.filter_map(|task| Detection::of_task(leak, &task, told, snapshot));
        each.min_by_key(|detection| detection.due)
    }

    fn of_task(
        leak: &Pattern,
        task: &Task,
        told: Instant,
        snapshot: &Snapshot,
    ) -> Option<Detection> {
        let loops = leak.waits.contains(&Wait::Sleep);
        let for_ms = if loops { task.age_ms } else { task.blocked_ms? };
        let taken_ago = snapshot.taken_at.elapsed().unwrap_or_default();
        let leaked = Instant::now().checked_sub(taken_ago + Duration::from_millis(for_ms))?;
        let window = match loops || is_of_root(task, snapshot) {
            true => GROWING_OVER,
            false => Duration::ZERO,
        };
        Some(Detection {
            leaked,
            due: leaked + BLOCKED_AFTER + window,
            told,
        })
    }

    /// Once the sweeps up to its verdict have been looked at.
    pub(crate) fn delay(self, sweeps: &Sweeps) -> Delay {
        Delay {
            since_leak: self.told.saturating_duration_since(self.leaked),
            sweeps: sweeps.between(self.due, self.told),
        }
    }
}

/// Whether a root that still runs spawned it, or a task of such a root that joins it.
fn is_of_root(task: &Task, snapshot: &Snapshot) -> bool {
    let Some(parent) = task.parent.and_then(|id| snapshot.tasks.get(id)) else {
        return false;
    };
    let mut groups = snapshot.groups.iter();
    let group = groups.find(|group| group.id == parent.group);
    group.is_some_and(|group| match group.kind {
        Kind::BlockOn => true,
        _ => group.wait == [Wait::Join] && is_of_root(&parent, snapshot),
    })
}

/// When a verdict came, as seen from the first task that was left behind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delay {
    since_leak: Duration,
    /// Those that began since it was due, its own among them; 0 if it was not yet due.
    sweeps: u64,
}

impl Delay {
    pub(crate) fn is_in_time(self) -> bool {
        self.sweeps <= SWEEPS
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s, ", self.since_leak.as_secs_f64())?;
        match self.sweeps {
            0 => f.write_str("before it was due"),
            sweeps => write!(f, "at sweep {sweeps}"),
        }
    }
}

/// The sweeps of the watchdog, as it tells of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sweeps {
    seen: Arc<Mutex<Vec<Sweep>>>,
}

#[derive(Debug, Clone, Copy)]
struct Sweep {
    number: u64,
    began: Instant,
    took: Duration,
}

impl Sweeps {
    /// Looks as long as the process runs.
    pub(crate) fn watch(detector: &Detector) -> io::Result<Sweeps> {
        let sweeps = Sweeps::default();
        let seen = Arc::clone(&sweeps.seen);
        // It has no tasks, so looking at them takes no time.
        let idle = Builder::new_current_thread().build_watched(detector)?;
        thread::Builder::new().spawn(move || {
            loop {
                thread::sleep(SWEEP / 3);
                let last = idle.alive().watchdog;
                let sweep = last.and_then(|last| Sweep::of(&last, Instant::now()));
                let mut seen = seen.lock();
                let known = seen.last().map_or(0, |sweep| sweep.number);
                seen.extend(sweep.filter(|sweep| sweep.number > known));
            }
        })?;
        Ok(sweeps)
    }

    /// How many began since and had ended when it was told, the one that told among them. When
    /// they did is known by a few milliseconds.
    fn between(&self, from: Instant, told: Instant) -> u64 {
        let to = told + Duration::from_millis(5);
        let seen = self.seen.lock();
        let mut numbers = seen
            .iter()
            .filter(|sweep| from <= sweep.began && sweep.began + sweep.took <= to)
            .map(|sweep| sweep.number);
        let first = numbers.next();
        let last = numbers.next_back().or(first);
        // Not all were seen.
        first.zip(last).map_or(0, |(first, last)| last - first + 1)
    }
}

impl fmt::Display for Sweeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.seen.lock();
        let (Some(first), Some(last)) = (seen.first(), seen.last()) else {
            return f.write_str("no sweeps");
        };
        let sweeps = last.number - first.number;
        let ms = last.began.duration_since(first.began).as_millis();
        let each = ms.checked_div(sweeps.into()).unwrap_or_default();
        let longest = seen.iter().map(|sweep| sweep.took).max();
        let longest = longest.unwrap_or_default().as_millis();
        write!(
            f,
            "{sweeps} sweeps, one in {each} ms; the longest took {longest} ms"
        )
    }
}

impl Sweep {
    fn of(last: &snapshot::Sweeps, now: Instant) -> Option<Sweep> {
        let took = Duration::from_micros(last.took_us);
        let ended = now.checked_sub(Duration::from_millis(last.last_ms))?;
        Some(Sweep {
            number: last.count,
            began: ended.checked_sub(took)?,
            took,
        })
    }
}
