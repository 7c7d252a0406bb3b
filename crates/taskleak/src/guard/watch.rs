//! What a guard watches: which tasks are its own, which of them are allowed to stay, and when none
//! is left.
//!
//! The rules:
//! 1. That nothing is left is believed if no task was spawned while it was looked: a task that
//!    spawns its successor and ends could be ahead of the look all the time.
//! 2. Debug info is never read on the thread that waits, which may be the one that its tasks run
//!    on; but for the page of a failure, and then the tasks get another turn before it counts.
//! 3. What made the guard, or asks it, is alive of course.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use taskleak_profile::allow::Allow;
use taskleak_profile::leaks::{Leaks, Owner};
use taskleak_profile::noise;
use taskleak_profile::raw::RawTask;
use taskleak_profile::snapshot::{Group, Kind, Snapshot, State, Tasks};
use tokio::runtime::Handle;

use super::settle::settled;
use super::unseen_here;
use crate::recorder::Whose;
use crate::reporter::{self, Scope};
use crate::scopes::{self, ScopeId};
use crate::{Detector, polls, runtimes};

/// Tasks that end by themselves have done so after this: only then is it looked whether those that
/// are left are allowed, which reads debug info.
const FIRST_LOOK: Duration = Duration::from_millis(20);

/// So many further looks are taken before a task counts as left, with as much time between; more
/// if none of them catches it.
const LOOKS: u32 = 5;
const MOST_LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(3);

#[derive(Debug)]
pub(super) struct Watch {
    pub(super) detector: Detector,
    pub(super) owner: Owner,
    pub(super) settle: Duration,
    pub(super) allowed: Vec<Allow>,
    pub(super) what: What,
    /// The ids of the tasks that made it.
    pub(super) makers: Vec<u64>,
    /// The runtime that is its own: whatever runs there is its.
    pub(super) runtime: Option<Handle>,
}

/// Which tasks it is about.
#[derive(Debug)]
pub(super) enum What {
    /// Those that belong to a scope.
    Within(ScopeId),
    /// All but those that were alive at its start.
    Process { baseline: HashSet<u64> },
}

/// What is left when the time is over.
#[derive(Debug)]
pub(super) enum Left {
    Nothing,
    /// Tasks that may stay.
    Allowed,
    Leaks(Box<Leaks>),
}

impl Watch {
    pub(super) fn scope(&self) -> Option<ScopeId> {
        match self.what {
            What::Within(scope) => Some(scope),
            What::Process { .. } => None,
        }
    }

    /// Waits until nothing is left but what is allowed, or the time is over, or `gives_up`.
    pub(super) async fn settled(self: &Arc<Self>, gives_up: impl Fn() -> bool) -> Left {
        let mut looks = Looks::new(self);
        let mut time = self.settle;
        let mut taken: Option<(Leaks, Vec<u64>)> = None;
        for look in 0..MOST_LOOKS {
            // After the first: what came due while a look held this thread up gets its turn.
            settled(time, || looks.are_over() || gives_up()).await;
            time = BETWEEN_LOOKS;
            if looks.is_over && self.blindness().is_none() {
                return looks.found();
            }
            let left = self.left().tasks;
            // One that has ended since is not to be told of, and one that loops where it waits.
            let holds = |(leaks, of): &(Leaks, _)| *of == left && !leaks.iter().any(is_moving);
            if taken
                .as_ref()
                .is_some_and(|taken| look >= LOOKS || holds(taken))
            {
                break;
            }
            let (leaks, allowed) = self.look(self.settle);
            *looks.allowed.ids.lock() = allowed;
            // A task that is replaced by its like all the time may slip through a look.
            if !leaks.is_empty() {
                taken = Some((leaks, left));
            }
        }
        let leaks = taken.map(|(leaks, _)| leaks);
        let slipped_through = || self.nothing_left().with_unseen(1);
        Left::Leaks(Box::new(leaks.unwrap_or_else(slipped_through)))
    }

    /// Those that are left now, and not allowed.
    pub(super) fn leaks(&self, waited: Duration) -> Leaks {
        self.look(waited).0
    }

    /// The same, and the ids of those that are allowed.
    fn look(&self, waited: Duration) -> (Leaks, HashSet<u64>) {
        let askers = self.askers();
        let mut snapshot = self.snapshot(true, &|task| !askers.contains(&task.id));
        let allowed = self.allowed_in(&snapshot);
        snapshot.tasks = Tasks::default();
        snapshot.groups.retain(|group| !self.allows(group));
        if let Some(why) = self.blindness() {
            snapshot.health.recording = false;
            snapshot.health.problems = vec![why];
        }
        let leaks = Leaks::new(self.owner.clone(), waited, snapshot);
        (leaks.with_unseen(self.unseen()), allowed)
    }

    pub(super) fn nothing_left(&self) -> Leaks {
        let snapshot = self.snapshot(false, &|_| false);
        Leaks::new(self.owner.clone(), Duration::ZERO, snapshot)
    }

    /// All of them, also those that ask.
    pub(super) fn profile(&self) -> Snapshot {
        self.snapshot(false, &|_| true)
    }

    fn snapshot(&self, keep_tasks: bool, admits: &(dyn Fn(&RawTask) -> bool + Sync)) -> Snapshot {
        let scope = Scope {
            keep_tasks,
            whose: self.whose(),
            admits: &|task, _| self.covers(task) && admits(task),
        };
        reporter::snapshot(&self.detector.shared, &scope)
    }

    /// Why it can't be told here what is left. A guard of the whole process has made sure that all
    /// threads are seen.
    fn blindness(&self) -> Option<String> {
        self.scope()?;
        unseen_here(&self.detector.shared.recorder).map(|error| error.to_string())
    }

    fn left(&self) -> LeftNow {
        let askers = self.askers();
        let mut left = LeftNow::default();
        let note = |task: &RawTask| {
            if self.covers(task) && !askers.contains(&task.id) {
                match task.daemon {
                    true => left.has_daemons = true,
                    false => left.tasks.push(task.id),
                }
            }
        };
        let recorder = &self.detector.shared.recorder;
        match self.whose() {
            Some(whose) => recorder.copy_tasks_of(whose, note),
            None => {
                recorder.copy_tasks(note);
            }
        }
        left
    }

    /// The ids of those that are allowed to stay.
    fn allowed_in(&self, snapshot: &Snapshot) -> HashSet<u64> {
        let allowed = |group: &&Group| self.allows(group);
        let groups = snapshot.groups.iter().filter(allowed);
        let groups: HashSet<_> = groups.map(|group| group.id).collect();
        let tasks = snapshot.tasks.iter();
        let tasks = tasks.filter(|task| groups.contains(&task.group));
        tasks.map(|task| task.id).collect()
    }

    fn allows(&self, group: &Group) -> bool {
        group.allowed.is_some()
            || noise::known(group).is_some()
            || self.allowed.iter().any(|rule| rule.matches(group))
    }

    fn covers(&self, task: &RawTask) -> bool {
        match &self.what {
            What::Within(_) => true,
            What::Process { baseline } => !baseline.contains(&task.id),
        }
    }

    fn whose(&self) -> Option<Whose> {
        let runtime = self.runtime.as_ref();
        self.scope().map(|scope| Whose {
            scope,
            runtime: runtime.and_then(runtimes::intern),
        })
    }

    /// The ids of the tasks that are alive because they ask, wait for who asks, or made the guard.
    fn askers(&self) -> Vec<u64> {
        let recorder = &self.detector.shared.recorder;
        let mut askers = self.makers.clone();
        for poll in polls::under_way(recorder.id()) {
            askers.push(recorder.task_id(poll.key));
            askers.extend(recorder.roots_above(poll.key));
        }
        askers
    }

    /// A number that changes with each of its tasks that is spawned.
    fn spawned(&self) -> u64 {
        match self.what {
            What::Within(scope) => scopes::spawned_within(scope).into(),
            What::Process { .. } => self.detector.shared.recorder.spawned(),
        }
    }

    /// Tasks of its runtime that were spawned where the detector does not see.
    fn unseen(&self) -> u64 {
        let Some(runtime) = &self.runtime else {
            return 0;
        };
        let alive = || runtime.metrics().num_alive_tasks() as u64;
        let before = alive();
        let Some(whose) = self.whose().filter(|_| before > 0) else {
            return 0;
        };
        let mut seen = 0;
        let note = |task: &RawTask| seen += u64::from(task.kind == Kind::Task);
        self.detector.shared.recorder.copy_tasks_of(whose, note);
        // Whoever came or went meanwhile is not in both.
        before.min(alive()).saturating_sub(seen)
    }
}

/// Those that are left at one moment, allowed or not.
#[derive(Default)]
struct LeftNow {
    /// The ids of those that are no daemons.
    tasks: Vec<u64>,
    has_daemons: bool,
}

/// Looks at what is left, again and again.
struct Looks {
    watch: Arc<Watch>,
    start: Instant,
    next: Instant,
    allowed: Arc<Allowed>,
    /// What the last look found.
    is_over: bool,
    is_nothing: bool,
}

/// The ids of tasks that may stay, found out by another thread.
#[derive(Default)]
struct Allowed {
    ids: Mutex<HashSet<u64>>,
    is_asked: AtomicBool,
}

impl Looks {
    fn new(watch: &Arc<Watch>) -> Looks {
        let start = Instant::now();
        Looks {
            watch: Arc::clone(watch),
            start,
            next: start + FIRST_LOOK,
            allowed: Arc::default(),
            is_over: false,
            is_nothing: false,
        }
    }

    /// Nothing is left but what is allowed.
    fn are_over(&mut self) -> bool {
        let spawned = self.watch.spawned();
        let left = self.watch.left();
        self.is_nothing = left.tasks.is_empty() && !left.has_daemons;
        let may_stay = left.tasks.is_empty() || {
            self.ask();
            let allowed = self.allowed.ids.lock();
            left.tasks.iter().all(|id| allowed.contains(id))
        };
        self.is_over = may_stay && self.watch.unseen() == 0 && spawned == self.watch.spawned();
        self.is_over
    }

    fn found(&self) -> Left {
        match self.is_nothing {
            true => Left::Nothing,
            false => Left::Allowed,
        }
    }

    /// Has it found out, by another thread, what may stay: rarer as time goes on.
    fn ask(&mut self) {
        let now = Instant::now();
        if now < self.next || self.allowed.is_asked.swap(true, Ordering::AcqRel) {
            return;
        }
        self.next = now + 2 * (now - self.start);
        let (watch, allowed) = (Arc::clone(&self.watch), Arc::clone(&self.allowed));
        let find = move || {
            polls::belong_to_detector();
            let ids = watch.allowed_in(&watch.snapshot(true, &|_| true));
            *allowed.ids.lock() = ids;
            allowed.is_asked.store(false, Ordering::Release);
        };
        let thread = thread::Builder::new().name("taskleak-allowed".into());
        let _nobody_is_allowed_then = thread.spawn(find);
    }
}

fn is_moving(group: &Group) -> bool {
    matches!(group.state, State::Running | State::Runnable)
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(scope) = self.scope() {
            scopes::release(scope);
        }
    }
}
