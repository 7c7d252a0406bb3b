//! Runs `sample.rs`, again and again: of its thirty tests the fifteen that leak fail, each for
//! its own tasks, and no other does.
//!
//! ```text
//! cargo test -p taskleak-tests --test guard -- driver --nocapture
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Instant;

use crate::process::{Nextest, Outcome, Run, libtest};

const RUNS: usize = 200;
const RUNS_IN_TURN: usize = 3;
/// Tests that leak wait for most of their time; those that don't must end in the second that they
/// are given, on a machine that has no processor to spare.
const AT_ONCE: usize = 4;

#[test]
fn under_libtest() {
    repeat("libtest", RUNS, || libtest(SAMPLE, &["--test-threads=64"]));
}

#[test]
fn under_libtest_in_turn() {
    repeat("libtest, one test at a time", RUNS_IN_TURN, || {
        libtest(SAMPLE, &["--test-threads=1"])
    });
}

#[test]
fn under_nextest() {
    let nextest = Nextest::new();
    repeat("nextest", RUNS, || {
        nextest.run(SAMPLE, &["--test-threads=64"])
    });
}

const SAMPLE: &str = "sample::";

/// A test of `sample.rs` that leaks.
struct Leak {
    test: &'static str,
    /// Of the code under test: what follows `taskleak_sample::`.
    module: &'static str,
    /// The groups of its page.
    groups: &'static [Group],
    /// How long its tasks are given to end.
    settle: &'static str,
}

/// Tasks, what they wait on, and in which function of the module. Those on a timer may be on the
/// move each time somebody looks, and then wait on nothing.
type Group = (u64, &'static str, &'static str);

const fn leak(test: &'static str, module: &'static str, groups: &'static [Group]) -> Leak {
    Leak {
        test,
        module,
        groups,
        settle: "1s",
    }
}

#[rustfmt::skip]
const LEAKS: [Leak; 15] = [
    leak("unclosed_range", "ledger", &[(1, "chan receive", "sum_for_ever")]),
    leak("silent_sender", "inbox", &[(1, "chan receive", "read_mail")]),
    leak("timeout", "backend", &[(1, "chan receive", "await_answer_detached")]),
    leak("early_return", "search", &[(2, "chan send", "look_up_for_history")]),
    leak("select_worker", "worker", &[(1, "select (chan receive, notify)", "run_until_stopped")]),
    leak("pending", "gateway", &[(1, "nothing can wake it", "hold_detached")]),
    leak("oneshot_kept", "replies", &[(1, "chan receive", "Replies::request")]),
    leak("broadcast_laggard", "feed", &[(1, "chan receive", "follow_to_the_end")]),
    leak("watch_unchanged", "settings", &[(1, "chan receive", "reload")]),
    leak("double_lock", "accounts", &[(1, "mutex lock", "lock_both_and_move")]),
    leak("guard_across_send", "journal", &[(1, "chan send", "append_locked"), (2, "mutex lock", "append_locked")]),
    leak("join_set_stuck", "crew", &[(1, "join", "wait_for_all"), (1, "chan receive", "keep_watch")]),
    leak("tracker_unclosed", "uploads", &[(1, "notify", "wait_for_uploads")]),
    Leak { settle: "200ms", ..leak("looping_timer", "heartbeat", &[(1, "sleep", "beat")]) },
    leak("detached_retry", "outbox", &[(1, "sleep", "retry_for_ever")]),
];

/// What of a run is not as it must be, a line for each.
fn deviations(run: &Run) -> Vec<String> {
    let mut all = Vec::new();
    let mut awaited = BTreeSet::new();
    for leak in &LEAKS {
        let Leak { test, .. } = leak;
        let (leaky, fixed) = (format!("{SAMPLE}{test}"), format!("{SAMPLE}{test}_fixed"));
        match run.outcomes.get(&leaky) {
            None => all.push(format!("{leaky} did not run")),
            Some(outcome) if outcome.passed => all.push(format!("{leaky} passed")),
            Some(outcome) => {
                let wrong = leak.not_in_page(outcome).into_iter();
                all.extend(wrong.map(|wrong| format!("{leaky}: {wrong}")));
            }
        }
        match run.outcomes.get(&fixed) {
            None => all.push(format!("{fixed} did not run")),
            Some(outcome) if !outcome.passed => all.push(format!("{fixed} failed")),
            Some(_) => {}
        }
        awaited.extend([leaky, fixed]);
    }
    let others = run.outcomes.keys().filter(|test| !awaited.contains(*test));
    all.extend(others.map(|test| format!("{test} ran")));
    if run.status.success() {
        all.push("the process said that all passed".to_owned());
    }
    all
}

impl Leak {
    /// What is wrong with the page of this test's failure.
    fn not_in_page(&self, outcome: &Outcome) -> Vec<String> {
        let Leak {
            test,
            module,
            groups,
            settle,
        } = self;
        let Some(page) = page(&outcome.told) else {
            return vec!["no page".to_owned()];
        };
        let mut wrong = Vec::new();
        let tasks = tasks(groups.iter().map(|group| group.0).sum());
        let is = if tasks == "1 task" { "is" } else { "are" };
        let first =
            format!("{tasks} that {SAMPLE}{test} started {is} still alive {settle} after its end");
        if page.lines().next() != Some(&first) {
            wrong.push(format!("begins with {:?}", page.lines().next()));
        }
        for group in *groups {
            if !self.is_told(group, page) {
                wrong.push(format!("no group {group:?}"));
            }
        }
        let told = page.split("\n\n").filter(|told| is_group(told)).count();
        if told != groups.len() {
            wrong.push(format!("{told} groups"));
        }
        let blames = |found: &str| format!("blames {found}");
        let others = words_after("taskleak_sample::", page).into_iter();
        wrong.extend(others.filter(|found| found != module).map(blames));
        let is_other = |found: &&str| {
            found != test
                && LEAKS
                    .iter()
                    .any(|leak| leak.test == found.trim_end_matches("_fixed"))
        };
        let others = words_after("guard::sample::", page).into_iter();
        wrong.extend(others.filter(is_other).map(blames));
        wrong
    }

    /// Whether a paragraph of the page is this group's.
    fn is_told(&self, group: &Group, page: &str) -> bool {
        let (count, wait, function) = group;
        let does = |what: &str| format!("{}: {what}", tasks(*count));
        let path = format!("taskleak_sample::{}::", self.module);
        let waits_in = format!("{path}{function}");
        page.split("\n\n").any(|told| {
            let waits = told.starts_with(&does(wait)) && told.contains(&waits_in);
            let is_moving = ["runnable", "running"].map(does);
            let is_moving = is_moving.iter().any(|first| told.starts_with(first));
            waits || (*wait == "sleep" && is_moving && told.contains(&path))
        })
    }
}

/// Whether a paragraph of a page is a group's: `2 tasks: chan send for 1.0s`.
fn is_group(paragraph: &str) -> bool {
    let count = paragraph.split_once(" task").map(|(count, _)| count);
    let is_count = |count: &str| count.parse::<u64>().is_ok();
    count.is_some_and(is_count) && paragraph.contains("created by")
}

fn tasks(count: u64) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} task{s}")
}

/// The message of a test's panic.
fn page(told: &str) -> Option<&str> {
    let (_, panicked) = told.split_once(" panicked at ")?;
    Some(panicked.split_once('\n')?.1)
}

/// The words that follow this path where it stands in a text.
fn words_after<'a>(path: &str, text: &'a str) -> BTreeSet<&'a str> {
    let after = text.split(path).skip(1);
    let word = |rest: &'a str| {
        let end = rest.find(|c: char| c != '_' && !c.is_alphanumeric());
        &rest[..end.unwrap_or(rest.len())]
    };
    after.map(word).collect()
}

/// Runs the sample so often, and fails if a run deviates, with all deviations of all runs and the
/// whole of what the first of them told.
fn repeat(what: &str, times: usize, run: impl Fn() -> Run + Sync) {
    let started = Instant::now();
    let left = AtomicUsize::new(times);
    let deviating = Mutex::new(Vec::new());
    let take = || {
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(times) {
            scope.spawn(|| {
                while let Ok(number) = take() {
                    let run = SLOTS.with_one(&run);
                    let deviations = deviations(&run);
                    if !deviations.is_empty() {
                        let mut deviating = deviating.lock().expect("no thread panics");
                        deviating.push((times - number, deviations, run.whole()));
                    }
                }
            });
        }
    });
    println!("{what}: {times} runs in {:.1?}", started.elapsed());
    let mut deviating = deviating.into_inner().expect("no thread panics");
    deviating.sort();
    let Some((first, _, whole)) = deviating.first() else {
        return;
    };
    let mut runs_with: BTreeMap<&str, usize> = BTreeMap::new();
    for deviation in deviating.iter().flat_map(|(_, deviations, _)| deviations) {
        *runs_with.entry(deviation).or_default() += 1;
    }
    let mut told = format!("{} of {times} runs deviate:\n", deviating.len());
    for (deviation, runs) in runs_with {
        told += &format!("{runs:4} {deviation}\n");
    }
    panic!("{what}: {told}\nrun {first} told:\n{whole}");
}

/// Runs of all tests of this file that may be at work at a time.
struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

static SLOTS: Slots = Slots {
    free: Mutex::new(AT_ONCE),
    freed: Condvar::new(),
};

impl Slots {
    fn with_one<T>(&self, run: impl FnOnce() -> T) -> T {
        let free = self.free.lock().expect("no thread panics");
        let mut free = self
            .freed
            .wait_while(free, |free| *free == 0)
            .expect("no thread panics");
        *free -= 1;
        drop(free);
        let result = run();
        *self.free.lock().expect("no thread panics") += 1;
        self.freed.notify_one();
        result
    }
}
