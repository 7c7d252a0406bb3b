//! The options of a guard.

use std::collections::HashSet;
use std::panic::Location;
use std::time::Duration;

use taskleak_profile::allow::Allow;
use taskleak_profile::leaks::Owner;

use super::watch::{Watch, What};
use super::{Guard, exit, harness, owner_at};
use crate::error::{NotRecording, OptionError, Reason};
use crate::scopes::{self, Opener};
use crate::{Detector, polls};

/// How long tasks may take to end, if nothing else is said.
pub(super) const SETTLE: Duration = Duration::from_secs(1);

/// How a [`Guard`] is to work; ends with [`start`](Self::start) or [`at_exit`](Self::at_exit).
#[must_use = "a builder does nothing until it is started"]
#[derive(Debug)]
pub struct GuardBuilder {
    settle: Duration,
    allowed: Vec<Allow>,
    whole_process: bool,
}

impl Default for GuardBuilder {
    fn default() -> Self {
        GuardBuilder {
            settle: SETTLE,
            allowed: Vec::new(),
            whole_process: false,
        }
    }
}

impl GuardBuilder {
    /// How long [`Guard::verify`] waits for tasks to end: a second, if this is not called. It
    /// returns as soon as none is left. With 0 those that are ready to run still do.
    pub fn settle(mut self, limit: Duration) -> Self {
        self.settle = limit;
        self
    }

    /// Allows tasks to stay: `function=shop::worker`, `crate=sqlx_core`,
    /// `spawned_at=src/pool.rs:52`, `name=heartbeat`, or several of these joined by commas
    /// ([`Allow`]).
    ///
    /// # Errors
    ///
    /// A rule that can't be read; the error says what is allowed.
    pub fn allow(mut self, rule: &str) -> Result<Self, OptionError> {
        self.allowed.push(OptionError::rule(rule)?);
        Ok(self)
    }

    /// Covers every task of the process that is not alive yet, whoever spawns it: what threads of
    /// your own spawn as well, and the tests that run beside this one.
    ///
    /// It takes the place of the global subscriber, if that is free.
    pub fn whole_process(mut self) -> Self {
        self.whole_process = true;
        self
    }

    /// Watches from now on.
    ///
    /// # Errors
    ///
    /// Tasks can't be recorded here; the line says what mends it.
    #[track_caller]
    pub fn start(self) -> Result<Guard, NotRecording> {
        let owner = owner_at(Location::caller());
        let detector = self.detector()?;
        Guard::start(self.watch(detector, owner)?)
    }

    /// Looks at the tasks of the whole process when it exits, and has it exit with 101 and a page
    /// on standard error if some are left that were not alive when this was called: for the tasks
    /// of runtimes that tests share. It can be called once.
    ///
    /// Call it where the first test comes by, as where the shared runtime is made:
    ///
    /// ```
    /// use std::sync::LazyLock;
    /// use taskleak::Guard;
    ///
    /// static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    ///     Guard::builder().at_exit().unwrap();
    ///     tokio::runtime::Runtime::new().unwrap()
    /// });
    /// # RUNTIME.block_on(async {});
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); and if it was called before.
    #[track_caller]
    pub fn at_exit(self) -> Result<(), NotRecording> {
        let mut owner = owner_at(Location::caller());
        owner.name = format!("this process, looked at from {} on,", Location::caller());
        let all = self.whole_process();
        let detector = all.detector()?;
        match exit::watch(all.watch(detector, owner)?) {
            true => Ok(()),
            false => Err(Reason::WatchedAtExit.into()),
        }
    }

    fn detector(&self) -> Result<Detector, NotRecording> {
        let detector = harness::stay();
        detector.verify()?;
        if self.whole_process && !harness::is_everywhere(&detector) {
            return Err(Reason::OtherSubscriber.into());
        }
        Ok(detector)
    }

    fn watch(self, detector: Detector, owner: Owner) -> Result<Watch, NotRecording> {
        let what = match self.whole_process {
            true => What::Process {
                baseline: alive(&detector),
            },
            false => What::within(&detector)?,
        };
        let recorder = &detector.shared.recorder;
        let makers = polls::under_way(recorder.id()).map(|poll| recorder.task_id(poll.key));
        Ok(Watch {
            makers: makers.collect(),
            detector,
            owner,
            settle: self.settle,
            allowed: self.allowed,
            what,
            runtime: None,
        })
    }
}

impl What {
    /// A new scope, within the present one.
    pub(super) fn within(detector: &Detector) -> Result<What, NotRecording> {
        let outer = detector.shared.recorder.scope_here();
        let scope = scopes::open(0, outer, Opener::Guard).ok_or(Reason::TooManyScopes)?;
        Ok(What::Within(scope))
    }
}

fn alive(detector: &Detector) -> HashSet<u64> {
    let mut alive = HashSet::new();
    let note = |task: &taskleak_profile::raw::RawTask| {
        alive.insert(task.id);
    };
    detector.shared.recorder.copy_tasks(note);
    alive
}
