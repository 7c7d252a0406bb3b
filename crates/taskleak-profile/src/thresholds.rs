//! Which waiting tasks count: the thresholds, and what a wait has to do with them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::raw::RawTask;
use crate::snapshot::{Group, Kind, State, Wait};

const MINUTE: u64 = 60_000;

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

    /// The threshold of receives. Also that of tasks that nothing can wake, of those that have
    /// outlived their scope and wait on what has no threshold, and the age from which a loop on
    /// timers counts.
    pub fn receive_ms(&self) -> u64 {
        self.threshold_ms(Wait::ChanReceive).unwrap_or(u64::MAX)
    }
}

/// When a waiting task counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    Never,
    /// Once it has waited so many milliseconds, and has been without a waker so long if it lost
    /// them.
    After(u64),
    /// If it was so old when it went into this wait: it waits on a timer, and again.
    IfOlder(u64),
    /// It has outlived its scope, and no time is too long for what it waits on: once it has waited
    /// so many milliseconds, and its scope has been over for so long.
    Outlived {
        after_ms: u64,
        /// It waits on a timer, so it counts too if it was so old when it went into this wait.
        may_loop: bool,
    },
}

/// The same for a sweep, which asks it of every task: two comparisons, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Once it has waited so long.
    waited: u64,
    /// If it was so old when it went into this wait.
    older: u64,
}

impl Limits {
    #[inline]
    pub(crate) fn are_passed(self, waited: u64, age: u64) -> bool {
        (waited >= self.waited) | (age.saturating_sub(waited) >= self.older)
    }
}

/// The times of a waiting task, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) waited: u64,
    pub(crate) age: u64,
    /// Since its last waker was dropped, if that is known.
    pub(crate) lost: Option<u64>,
    /// Since its scope ended, if that is known.
    pub(crate) outlived: Option<u64>,
}

impl Times {
    pub(crate) fn of(task: &RawTask) -> Self {
        Self {
            waited: task.in_state_ms,
            age: task.age_ms,
            lost: task.lost_ms,
            outlived: task.outlived_ms,
        }
    }
}

impl Counts {
    pub(crate) fn of(group: &Group, settings: &Settings) -> Self {
        let observable = matches!(group.kind, Kind::Task | Kind::Local);
        if group.state != State::Waiting || !observable {
            return Self::Never;
        }
        if group.wait.contains(&Wait::Nothing) {
            return Self::After(settings.receive_ms());
        }
        let by_waits = Self::by_waits(group, settings);
        match by_waits {
            Self::Never | Self::IfOlder(_) if group.outlived_ms.is_some() => Self::Outlived {
                after_ms: settings.receive_ms(),
                may_loop: group.wait.contains(&Wait::Sleep),
            },
            _ => by_waits,
        }
    }

    /// By what is known of their waits alone.
    fn by_waits(group: &Group, settings: &Settings) -> Self {
        if group.wakers_without_stack > 0 {
            return Self::Never;
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

    /// Whoever counts may go on and wait again, and counts still.
    pub(crate) fn loops(self) -> bool {
        match self {
            Self::IfOlder(_) => true,
            Self::Outlived { may_loop, .. } => may_loop,
            Self::Never | Self::After(_) => false,
        }
    }

    /// When a task counts now that has lost no waker and outlived no scope of late.
    pub(crate) fn limits(self) -> Limits {
        let limits = |waited, older| Limits { waited, older };
        match self {
            Self::Never => limits(u64::MAX, u64::MAX),
            Self::After(threshold) => limits(threshold, u64::MAX),
            Self::IfOlder(threshold) => limits(u64::MAX, threshold),
            Self::Outlived { after_ms, may_loop } => {
                limits(after_ms, if may_loop { after_ms } else { u64::MAX })
            }
        }
    }

    /// Whether a task counted already `before_ms` ago (0: counts now).
    pub(crate) fn counted(self, times: Times, before_ms: u64) -> bool {
        match self {
            Self::Never => false,
            Self::After(threshold) => {
                let since = times
                    .lost
                    .map_or(times.waited, |lost| lost.min(times.waited));
                since >= threshold.saturating_add(before_ms)
            }
            Self::IfOlder(threshold) => {
                times.age.saturating_sub(times.waited) >= threshold
                    && times.age >= threshold.saturating_add(before_ms)
            }
            Self::Outlived { after_ms, may_loop } => {
                let least = after_ms.saturating_add(before_ms);
                let was_old = || Self::IfOlder(after_ms).counted(times, before_ms);
                times.outlived.is_none_or(|ms| ms >= least)
                    && (times.waited >= least || may_loop && was_old())
            }
        }
    }
}

/// A daemon may wait on it as long as the process runs.
pub(crate) fn is_idle(wait: Wait) -> bool {
    matches!(wait, Wait::ChanReceive | Wait::Join | Wait::Notify)
}

/// Whoever waits on such things alone past the threshold is held up by somebody, and does not wait
/// for work.
pub(crate) fn holds_up(wait: Wait) -> bool {
    match wait {
        Wait::ChanSend
        | Wait::Join
        | Wait::MutexLock
        | Wait::RwLockRead
        | Wait::RwLockWrite
        | Wait::Semaphore
        | Wait::Barrier => true,
        Wait::ChanReceive
        | Wait::Notify
        | Wait::Sleep
        | Wait::Io
        | Wait::SubExecutor
        | Wait::Other
        | Wait::Nothing => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_counts() -> impl Strategy<Value = Counts> {
        let ms = || 0..20u64;
        let outlived = |(after_ms, may_loop)| Counts::Outlived { after_ms, may_loop };
        prop_oneof![
            Just(Counts::Never),
            ms().prop_map(Counts::After),
            ms().prop_map(Counts::IfOlder),
            (ms(), any::<bool>()).prop_map(outlived),
        ]
    }

    proptest! {
        #[test]
        fn limits_say_who_counts_now(counts in any_counts(), waited in 0..30u64, age in 0..30u64) {
            let times = Times { waited, age, lost: None, outlived: None };
            let passed = counts.limits().are_passed(waited, age);
            prop_assert_eq!(passed, counts.counted(times, 0));
        }
    }
}
