//! What a guard watches: which tasks are its own, and which of them are allowed to stay.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use taskleak_profile::allow::Allow;
use taskleak_profile::leaks::{Leaks, Owner};
use taskleak_profile::noise;
use taskleak_profile::raw::RawTask;
use taskleak_profile::snapshot::{Group, Kind, Snapshot, State};
use tokio::runtime::Handle;

use super::settle::settled;
use super::unseen_here;
use crate::reporter::{self, Scope};
use crate::scopes::{self, ScopeId};
use crate::{Detector, polls, runtimes};

/// Tasks that end by themselves have done so after this: only then is it looked whether those that
/// are left are allowed, which reads debug info.
const FIRST_LOOK: Duration = Duration::from_millis(20);

/// So many further looks are taken where a task is on the move, with as much time between.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(3);

#[derive(Debug)]
pub(super) struct Watch {
    pub(super) detector: Detector,
    pub(super) owner: Owner,
    pub(super) settle: Duration,
    pub(super) allowed: Vec<Allow>,
    pub(super) what: What,
    /// The ids of the tasks that made it: they are alive of course.
    pub(super) makers: Vec<u64>,
    /// The runtime that is its own, so that whatever lives there is its.
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

impl Watch {
    pub(super) fn scope(&self) -> Option<ScopeId> {
        match self.what {
            What::Within(scope) => Some(scope),
            What::Process { .. } => None,
        }
    }

    /// What is left once the time is over; `None` if nothing is.
    pub(super) async fn settled(&self) -> Option<Leaks> {
        let start = Instant::now();
        let mut look_at = start + FIRST_LOOK;
        let mut allowed = HashSet::new();
        let mut is_clean = false;
        settled(self.settle, || {
            let left = self.left();
            let now = Instant::now();
            if now >= look_at && !left.is_empty() {
                look_at = now + 2 * (now - start);
                allowed = self.allowed();
            }
            is_clean = left.iter().all(|id| allowed.contains(id)) && self.unseen() == 0;
            is_clean
        })
        .await;
        if is_clean && unseen_here(&self.detector.shared.recorder).is_none() {
            return None;
        }
        let mut leaks = self.leaks(self.settle);
        // A task that loops is best shown where it waits, and one that ends this moment not at all.
        for _ in 0..LOOKS {
            if !leaks.iter().any(is_moving) && self.unseen() == 0 {
                break;
            }
            settled(BETWEEN_LOOKS, || false).await;
            leaks = self.leaks(self.settle);
        }
        (!leaks.is_empty()).then_some(leaks)
    }

    /// Waits as [`settled`](Self::settled) does, on this thread.
    pub(super) fn settled_here(&self) -> Option<Leaks> {
        let until = Instant::now() + self.settle;
        while !self.left().is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let leaks = self.leaks(self.settle);
        (!leaks.is_empty()).then_some(leaks)
    }

    /// Those that are left now, and not allowed.
    pub(super) fn leaks(&self, waited: Duration) -> Leaks {
        let askers = self.askers();
        let mut snapshot = self.snapshot(false, &|task| !askers.contains(&task.id));
        snapshot.groups.retain(|group| !self.allows(group));
        if let Some(error) = unseen_here(&self.detector.shared.recorder) {
            snapshot.health.recording = false;
            snapshot.health.problems = vec![error.to_string()];
        }
        Leaks::new(self.owner.clone(), waited, snapshot).with_unseen(self.unseen())
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
            within: self.scope(),
            admits: &|task, _| self.covers(task) && admits(task),
        };
        reporter::snapshot(&self.detector.shared, &scope)
    }

    /// The ids of those that are left now, allowed or not.
    fn left(&self) -> Vec<u64> {
        let askers = self.askers();
        let mut left = Vec::new();
        let mut note = |task: &RawTask| {
            if self.covers(task) && !askers.contains(&task.id) {
                left.push(task.id);
            }
        };
        let recorder = &self.detector.shared.recorder;
        match self.what {
            What::Within(scope) => recorder.copy_tasks_within(scope, note),
            What::Process { .. } => {
                recorder.copy_tasks(&mut note);
            }
        }
        left
    }

    /// The ids of those that are allowed to stay.
    fn allowed(&self) -> HashSet<u64> {
        let snapshot = self.snapshot(true, &|_| true);
        let allowed = |group: &&Group| self.allows(group);
        let groups: HashSet<_> = snapshot
            .groups
            .iter()
            .filter(allowed)
            .map(|group| group.id)
            .collect();
        let tasks = snapshot.tasks.iter();
        tasks
            .filter(|task| groups.contains(&task.group))
            .map(|task| task.id)
            .collect()
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

    /// The ids of the tasks that are alive because they ask, or hold the guard.
    fn askers(&self) -> Vec<u64> {
        let mut askers = self.makers.clone();
        let polled = polls::under_way(self.detector.shared.recorder.id());
        askers.extend(polled.map(|poll| poll.task_id));
        askers
    }

    /// Tasks of its runtime that were spawned where the detector does not see.
    fn unseen(&self) -> u64 {
        let Some(runtime) = &self.runtime else {
            return 0;
        };
        let alive = || runtime.metrics().num_alive_tasks() as u64;
        let before = alive();
        if before == 0 {
            return 0;
        }
        let id = runtimes::intern(runtime);
        let mut seen = 0;
        let note = |task: &RawTask| {
            // One that was never polled has no runtime yet.
            let is_its = Some(task.runtime) == id || task.runtime == 0;
            seen += u64::from(is_its && task.kind == Kind::Task);
        };
        self.detector.shared.recorder.copy_tasks(note);
        // Whoever came or went meanwhile is not in both.
        before.min(alive()).saturating_sub(seen)
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
