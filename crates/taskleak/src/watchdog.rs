//! The watchdog: a thread that sweeps over all tasks, judges their groups and tells of verdicts.
//!
//! The rules:
//! 1. It depends on no runtime: it works while every worker is wedged.
//! 2. It takes a tenth of a core at most: after long sweeps it pauses longer. Of the last few the
//!    shortest tells, so that one that was held up (the first one that reads debug info, a busy
//!    machine) makes no later one late.
//! 3. It ends when nobody holds the detector or its subscriber any more.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use taskleak_profile::census::{Census, Findings, Settings};
use taskleak_profile::flags::{Change, Flags};
use taskleak_profile::group::Grouper;
use taskleak_profile::snapshot::{Group, GroupId};

use crate::detector::Shared;
use crate::polls;
use crate::reporter::OneByOne;
use crate::sweep::Sweep;
use crate::teller::Report;

/// A sweep takes at most one part in so many of the watchdog's time.
const SHARE: u32 = 10;

/// So many sweeps tell how long one takes.
const LAST: usize = 3;

/// Starts the watchdog's thread.
pub(crate) fn start(shared: &Arc<Shared>, settings: &Settings, every: Duration) {
    let mut watchdog = Watchdog {
        sweep: Sweep::new(settings.least_ms(), settings.receive_ms()),
        census: Census::new(settings.clone()),
        flags: Flags::default(),
        sweeps: 0,
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

/// What a sweep leaves to those who ask.
#[derive(Default)]
pub(crate) struct Swept {
    pub(crate) findings: Arc<Findings>,
    pub(crate) count: u64,
    /// `None` before the first.
    pub(crate) ended: Option<Instant>,
    pub(crate) took: Duration,
    /// Tasks that it left for a later sweep.
    pub(crate) left_unplaced: u64,
}

struct Watchdog {
    sweep: Sweep,
    census: Census,
    flags: Flags,
    sweeps: u64,
    /// The groups with a verdict, as they were told of last.
    told: HashMap<GroupId, Group>,
}

impl Watchdog {
    fn run(&mut self, shared: &Arc<Shared>, every: Duration) {
        let mut pause = every;
        let mut last = [Duration::ZERO; LAST];
        for number in 0.. {
            thread::sleep(pause);
            if is_abandoned(shared) {
                return;
            }
            let began = Instant::now();
            self.look(shared);
            last[number % LAST] = began.elapsed();
            pause = pause_after(last, number % LAST, every);
        }
    }

    fn look(&mut self, shared: &Shared) {
        let began = Instant::now();
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
        self.sweeps += 1;
        let swept = Swept {
            findings: Arc::new(findings),
            count: self.sweeps,
            ended: Some(Instant::now()),
            took: began.elapsed(),
            left_unplaced: self.sweep.left,
        };
        // The lock is given back before what was found last time is dropped.
        let _before = mem::replace(&mut *shared.swept.lock(), swept);
        if !changes.is_empty() {
            self.tell(shared, &changes);
        }
    }

    fn tell(&mut self, shared: &Shared, changes: &[(GroupId, Change)]) {
        let changed: HashSet<GroupId> = changes.iter().map(|(id, _)| *id).collect();
        let groups = self.groups(shared, &changed).into_iter();
        let mut groups: HashMap<GroupId, Group> = groups.map(|group| (group.id, group)).collect();
        for (id, change) in changes {
            let before = self.told.remove(id);
            let group = match change {
                Change::Gone => before,
                _ => groups.remove(id),
            };
            let Some(group) = group else {
                // Its tasks have gone on this moment: if they come back, they are news.
                self.flags.forget(*id);
                continue;
            };
            let report = Report {
                change: *change,
                group: group.clone(),
            };
            if !shared.teller.tell(report) {
                self.flags.forget(*id);
            } else if *change != Change::Gone {
                self.told.insert(*id, group);
            }
        }
    }

    /// These groups, of the tasks that the verdict is about.
    fn groups(&self, shared: &Shared, wanted: &HashSet<GroupId>) -> Vec<Group> {
        let findings = shared.findings();
        let mut grouper = Grouper::new(false);
        let is_wanted = |cell| {
            let group = self.census.group(cell);
            group.is_some_and(|group| wanted.contains(&group))
        };
        self.sweep
            .copy_counted(&shared.recorder, is_wanted, |task| {
                if findings.accuse(task, None) {
                    grouper.push(task);
                }
            });
        let source = &mut OneByOne::new(&shared.reporter);
        grouper.groups(source, &findings, &shared.rules)
    }
}

/// What lets a sweep begin each period, and the share be kept.
fn pause_after(last: [Duration; LAST], now: usize, every: Duration) -> Duration {
    let shortest = last.into_iter().min().unwrap_or_default();
    let rest = every.saturating_sub(last[now]);
    rest.max(shortest.saturating_mul(SHARE - 1))
}

/// Nobody else holds the detector, and no subscriber its recorder. The clock's thread holds the
/// recorder for moments; then the next sweep sees it.
fn is_abandoned(shared: &Arc<Shared>) -> bool {
    Arc::strong_count(shared) == 1 && Arc::strong_count(&shared.recorder) == 1
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::NoSubscriber;

    use super::*;
    use crate::Detector;

    #[test]
    fn it_ends_with_the_detector_and_its_subscriber() {
        let builder = Detector::builder().sweep_every(Duration::from_millis(10));
        let (subscriber, detector) = builder.unwrap().wrap(NoSubscriber::new());
        let shared = Arc::downgrade(&detector.shared);
        drop(detector);
        thread::sleep(Duration::from_millis(50));
        assert!(shared.strong_count() > 0, "what is recorded is watched");
        drop(subscriber);
        let give_up = Instant::now() + Duration::from_secs(30);
        while shared.strong_count() > 0 {
            assert!(Instant::now() < give_up, "it never ended");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn one_sweep_that_is_held_up_makes_none_late() {
        let check = |last: [u64; LAST], expected_ms: u64| {
            let last = last.map(Duration::from_millis);
            let pause = pause_after(last, 0, Duration::from_secs(1));
            assert_eq!(pause, Duration::from_millis(expected_ms), "{last:?}");
        };
        check([12, 11, 13], 988);
        check([7000, 12, 12], 108);
        check([150, 150, 160], 1350);
    }
}
