//! The watchdog: a thread that sweeps over all tasks, judges their groups and tells of verdicts.
//!
//! The rules:
//! 1. It depends on no runtime: it works while every worker is wedged.
//! 2. It takes a tenth of a core at most: after a long sweep it pauses longer.
//! 3. It ends when nobody holds the detector or its subscriber any more.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use taskleak_profile::census::{Census, Findings, Settings};
use taskleak_profile::flags::{Change, Flags};
use taskleak_profile::snapshot::{Group, GroupId, Wait};

use crate::detector::Shared;
use crate::polls;
use crate::reporter::{self, OneByOne, Scope};
use crate::sweep::Sweep;
use crate::teller::Report;

/// A sweep takes at most one part in so many of the watchdog's time.
const SHARE: u32 = 10;

/// Starts the watchdog's thread.
pub(crate) fn start(shared: &Arc<Shared>, settings: &Settings, every: Duration) {
    let mut watchdog = Watchdog {
        sweep: Sweep::new(
            settings.least_ms(),
            settings.threshold_ms(Wait::ChanReceive).unwrap_or(u64::MAX),
        ),
        census: Census::new(settings.clone()),
        flags: Flags::default(),
        told: HashMap::new(),
    };
    let its = Arc::clone(shared);
    let run = move || {
        polls::belong_to_detector();
        // The watchdog's mistakes are not the program's.
        let ended = catch_unwind(AssertUnwindSafe(|| watchdog.run(&its, every)));
        if ended.is_err() {
            its.note_fault("the watchdog has ended: it panicked; there are no new verdicts".into());
        }
    };
    let thread = thread::Builder::new().name("taskleak-watchdog".into());
    if let Err(error) = thread.spawn(run) {
        shared.note_fault(format!(
            "cannot start the watchdog's thread: {error}; there are no verdicts"
        ));
    }
}

struct Watchdog {
    sweep: Sweep,
    census: Census,
    flags: Flags,
    /// The groups with a verdict, as they were told of last.
    told: HashMap<GroupId, Group>,
}

impl Watchdog {
    fn run(&mut self, shared: &Arc<Shared>, every: Duration) {
        let mut pause = every;
        loop {
            thread::sleep(pause);
            if is_abandoned(shared) {
                return;
            }
            let began = Instant::now();
            self.look(shared);
            let took = began.elapsed();
            pause = every.saturating_sub(took).max(took * (SHARE - 1));
        }
    }

    fn look(&mut self, shared: &Shared) {
        let recorder = &shared.recorder;
        let mut source = OneByOne::new(&shared.reporter);
        self.sweep
            .count(recorder, &mut self.census, &mut source, &shared.rules);
        let uptime_ms = recorder.clock.uptime().as_millis() as u64;
        let findings = {
            let look = self.sweep.look(recorder);
            self.census.finish(uptime_ms, &look, &mut source)
        };
        let changes = self.flags.changes(findings.accused());
        shared
            .left_unplaced
            .store(self.sweep.left, Ordering::Relaxed);
        *shared.findings.lock() = Arc::new(findings);
        if !changes.is_empty() {
            self.tell(shared, changes);
        }
    }

    fn tell(&mut self, shared: &Shared, changes: Vec<(GroupId, Change)>) {
        let accuse = |task: &_, findings: &Findings| findings.accuse(task, None);
        let scope = Scope {
            keep_tasks: false,
            admits: &accuse,
        };
        let snapshot = reporter::snapshot(shared, &scope);
        for group in snapshot.groups {
            self.told.insert(group.id, group);
        }
        for (id, change) in changes {
            let group = match change {
                Change::Gone => self.told.remove(&id),
                _ => self.told.get(&id).cloned(),
            };
            if let Some(group) = group {
                shared.teller.tell(Report { change, group });
            }
        }
    }
}

/// Nobody else holds the detector, and no subscriber its recorder. The clock's thread holds the
/// recorder for moments; then the next sweep sees it.
fn is_abandoned(shared: &Arc<Shared>) -> bool {
    Arc::strong_count(shared) == 1 && Arc::strong_count(&shared.recorder) == 1
}
