//! Tells of verdicts: a `tracing` event, and the user's callback.
//!
//! The rules:
//! 1. Whatever a subscriber or the callback does, it can't stop the watchdog, nor the one the
//!    other: each has a thread, to which reports are handed over by a channel of the standard
//!    library that is never waited for.
//! 2. What is not told is counted, and a call that panics or takes long is told in health.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use taskleak_profile::flags::Change;
use taskleak_profile::snapshot::Group;

/// The reports that wait for a call that takes long.
const KEPT: usize = 256;

/// A call that takes so long is told in health.
const LONG: Duration = Duration::from_secs(5);

/// What the callback of [`Builder::on_verdict`](crate::Builder::on_verdict) is called with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// Why it is called.
    pub change: Change,
    /// The tasks that the verdict is about, as in a snapshot: where they wait, who spawned them,
    /// the verdict. Of a group that is gone, as it was when it was reported last.
    pub group: Group,
}

pub(crate) type Callback = Box<dyn Fn(&Report) + Send>;

/// Hands reports over to those who tell of them.
pub(crate) struct Teller {
    subscriber: Outlet,
    callback: Option<Outlet>,
}

impl Teller {
    pub(crate) fn new(callback: Option<Callback>) -> Teller {
        Teller {
            subscriber: Outlet::new("the subscriber", "taskleak-events", Box::new(emit)),
            callback: callback.map(|call| Outlet::new("`on_verdict`", "taskleak-verdicts", call)),
        }
    }

    /// Never waits. Returns whether anybody will be told.
    pub(crate) fn tell(&self, report: Report) -> bool {
        let by_callback = self.callback.as_ref();
        let called = by_callback.is_some_and(|outlet| outlet.tell(report.clone()));
        self.subscriber.tell(report) || called
    }

    /// Reports that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.outlets().map(|outlet| outlet.state.dropped()).sum()
    }

    /// What is wrong, one line each.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.outlets().flat_map(Outlet::problems).collect()
    }

    fn outlets(&self) -> impl Iterator<Item = &Outlet> {
        self.callback.iter().chain([&self.subscriber])
    }
}

/// One who tells of reports, on a thread that starts with the first.
struct Outlet {
    /// In health.
    who: &'static str,
    thread: &'static str,
    sender: OnceLock<Option<SyncSender<Report>>>,
    /// Until the thread has it.
    call: Mutex<Option<Callback>>,
    state: Arc<State>,
}

/// What health says of an outlet.
#[derive(Default)]
struct State {
    dropped: AtomicU64,
    /// Since when it tells of one report.
    busy_since: Mutex<Option<Instant>>,
    panics: AtomicU64,
    last_panic: Mutex<String>,
    no_thread: OnceLock<String>,
}

impl State {
    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Outlet {
    fn new(who: &'static str, thread: &'static str, call: Callback) -> Outlet {
        Outlet {
            who,
            thread,
            sender: OnceLock::new(),
            call: Mutex::new(Some(call)),
            state: Arc::default(),
        }
    }

    /// Whether there was room.
    fn tell(&self, report: Report) -> bool {
        let sender = self.sender.get_or_init(|| self.start());
        let is_told = sender
            .as_ref()
            .is_some_and(|sender| sender.try_send(report).is_ok());
        if !is_told {
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
        }
        is_told
    }

    fn problems(&self) -> Vec<String> {
        let (who, state) = (self.who, &self.state);
        let mut problems = Vec::new();
        problems.extend(state.no_thread.get().cloned());
        let busy_for = state.busy_since.lock().map(|since| since.elapsed());
        if let Some(long) = busy_for.filter(|busy_for| *busy_for >= LONG) {
            problems.push(format!(
                "{who} takes {} s so far to tell of a verdict; {} reports found no room",
                long.as_secs(),
                state.dropped()
            ));
        }
        match state.panics.load(Ordering::Relaxed) {
            0 => {}
            times => problems.push(format!(
                "{who} panicked when it was to tell of a verdict, {times} times so far; the \
                 last time with {:?}",
                state.last_panic.lock()
            )),
        }
        problems
    }

    fn start(&self) -> Option<SyncSender<Report>> {
        let (sender, reports) = sync_channel(KEPT);
        let (call, state) = (self.call.lock().take()?, Arc::clone(&self.state));
        let run = move || tell_all(&reports, &call, &state);
        let thread = thread::Builder::new().name(self.thread.into());
        match thread.spawn(run) {
            Ok(_) => Some(sender),
            Err(error) => {
                let who = self.who;
                let why = format!("{who} is told of no verdict: cannot start a thread: {error}");
                self.state.no_thread.get_or_init(|| why);
                None
            }
        }
    }
}

/// Ends with the outlet.
fn tell_all(reports: &Receiver<Report>, call: &Callback, state: &State) {
    for report in reports {
        *state.busy_since.lock() = Some(Instant::now());
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| call(&report))) {
            *state.last_panic.lock() = message(&*panic).to_owned();
            state.panics.fetch_add(1, Ordering::Relaxed);
        }
        *state.busy_since.lock() = None;
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

/// The event, for whatever subscriber is in force.
fn emit(report: &Report) {
    let Report { change, group } = report;
    let verdict = group.verdict.as_ref();
    let evidence = verdict.map(|verdict| verdict.evidence.join("; "));
    let message = match change {
        Change::Gone => "tasks that were thought to leak are gone",
        _ => "tasks may wait for ever",
    };
    tracing::warn!(
        target: "taskleak",
        change = change.word(),
        group = %group.id,
        count = group.count,
        wait = %group.doing(),
        function = group.waiting_in(),
        created_by = group.spawned_in(),
        oldest_ms = group.blocked_ms.map(|blocked| blocked.max),
        verdict = verdict.map(|verdict| verdict.level.as_str()),
        evidence,
        "{message}"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn report() -> Report {
        // The type is not to be made by others, but by what is read.
        let group = serde_json::json!({
            "id": "7", "count": 3, "kind": "task", "name": "", "runtime": "", "state": "waiting",
            "wait": ["chan receive"], "primitives": [""], "blocked_ms": null,
            "age_ms": {"min": 1, "median": 1, "max": 1},
            "verdict": {"level": "suspect", "evidence": ["stalled"]},
            "spawned_at": null, "waiting_at": [], "created_by": [], "bytes": null, "tasks": [1]
        });
        Report {
            change: Change::New,
            group: serde_json::from_value(group).unwrap(),
        }
    }

    fn until(mut holds: impl FnMut() -> bool) {
        let give_up = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(Instant::now() < give_up, "it never held");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_callback_that_panics_is_told_and_called_again() {
        let (called, calls) = mpsc::channel();
        let teller = Teller::new(Some(Box::new(move |_| {
            called.send(()).unwrap();
            panic!("the user's mistake");
        })));
        for _ in 0..2 {
            teller.tell(report());
            calls.recv_timeout(Duration::from_secs(30)).unwrap();
        }
        let state = &teller.callback.as_ref().unwrap().state;
        until(|| state.panics.load(Ordering::Relaxed) == 2);
        let [problem] = &teller.problems()[..] else {
            panic!("{:?}", teller.problems())
        };
        assert!(problem.contains("2 times") && problem.contains("\"the user's mistake\""));
    }

    #[test]
    fn a_callback_that_blocks_holds_nobody_up() {
        let (go_on, wait) = mpsc::channel::<()>();
        let (heard, hearing) = mpsc::channel();
        let hear: Callback = Box::new(move |_| heard.send(()).unwrap());
        let teller = Teller {
            subscriber: Outlet::new("the subscriber", "taskleak-events", hear),
            ..Teller::new(Some(Box::new(move |_| {
                let _gone = wait.recv();
            })))
        };
        for _ in 0..2 * KEPT {
            assert!(teller.tell(report()), "by one of the two");
            hearing.recv_timeout(Duration::from_secs(30)).unwrap();
        }
        assert_eq!(
            teller.subscriber.state.dropped(),
            0,
            "the other one is told"
        );
        let state = &teller.callback.as_ref().unwrap().state;
        assert!(state.dropped() >= KEPT as u64 - 1);
        until(|| state.busy_since.lock().is_some());
        *state.busy_since.lock() = Instant::now().checked_sub(LONG);
        let [problem] = &teller.problems()[..] else {
            panic!("{:?}", teller.problems())
        };
        assert!(problem.contains("takes 5 s so far"), "{problem}");
        drop(go_on);
        until(|| teller.problems().is_empty());
    }
}
