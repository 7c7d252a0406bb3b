//! From the recorder to a snapshot: copies the tasks, groups them, symbolizes their stacks.
//!
//! It runs on a thread of the detector's own, so that reading debug info never holds up a
//! runtime's. What was symbolized is kept for the next snapshot.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::SystemTime;

use parking_lot::{Mutex, MutexGuard};
use taskleak_profile::allow::Allow;
use taskleak_profile::census::Findings;
use taskleak_profile::group::{Grouper, Meta};
use taskleak_profile::raw::{RawFrame, RawSymbol, RawTask, Source};
use taskleak_profile::resolve::ResolvedStack;
use taskleak_profile::snapshot::{
    Health, Kind, Module, Process, Runtime, Snapshot, SourceLocation, Sweeps,
};
use taskleak_stack::{Missed, StackId, Symbolizer};

use crate::detector::Shared;
use crate::error::NotRecording;
use crate::polls::{self, Owner};
use crate::recorder::{Losses, Whose};
use crate::scopes;
use crate::{health, runtimes, tokio_trace};

/// Resolved stacks that are kept; past it all are dropped and made again.
const MAX_RESOLVED: usize = 1 << 14;

/// Which tasks a snapshot is of.
pub(crate) struct Scope<'a> {
    /// Lists every task by itself as well.
    pub(crate) keep_tasks: bool,
    /// Somebody's alone.
    pub(crate) whose: Option<Whose>,
    pub(crate) admits: &'a (dyn Fn(&RawTask, &Findings) -> bool + Sync),
}

/// Takes a snapshot of the tasks that `scope` admits.
pub(crate) fn snapshot(shared: &Shared, scope: &Scope<'_>) -> Snapshot {
    // Before the thread changes: it is the caller's subscriber that has to see tasks.
    let verified = shared.verify();
    if polls::owner() == Owner::Detector {
        return take(shared, scope, verified.err());
    }
    thread::scope(|threads| {
        let not_recording = verified.clone().err();
        let job = move || {
            polls::belong_to_detector();
            take(shared, scope, not_recording)
        };
        let thread = thread::Builder::new().name("taskleak-snapshot".into());
        match thread.spawn_scoped(threads, job) {
            Ok(thread) => thread.join().unwrap_or_else(|_| failed(shared)),
            // Without a thread to be had: better on this one than not at all.
            Err(_) => take(shared, scope, verified.err()),
        }
    })
}

/// What a snapshot that panicked gives: the panic is not the caller's.
fn failed(shared: &Shared) -> Snapshot {
    let mut health = Health::default();
    health.problems = vec!["the snapshot failed: its thread panicked".to_owned()];
    let meta = Meta {
        taken_at: SystemTime::now(),
        uptime_ms: shared.recorder.clock.uptime().as_millis() as u64,
        process: process(),
        health,
        modules: Vec::new(),
        spawned: 0,
        unknown: 0,
        runtimes: Vec::new(),
        watchdog: None,
    };
    let source = &mut OneByOne::new(&shared.reporter);
    Grouper::new(false).finish(source, &Findings::default(), &shared.rules, meta)
}

fn take(shared: &Shared, scope: &Scope<'_>, not_recording: Option<NotRecording>) -> Snapshot {
    let recorder = &shared.recorder;
    let taken_at = SystemTime::now();
    let findings = shared.findings();
    let mut grouper = Grouper::new(scope.keep_tasks);
    let mut recorded = 0;
    let take = |task: &RawTask| {
        recorded += u64::from(task.kind == Kind::Task);
        if (scope.admits)(task, &findings) {
            grouper.push(task);
        }
    };
    // How many of somebody's were spawned, or unseen, is not counted.
    let spawned = match scope.whose {
        None => Some(recorder.copy_tasks(take)),
        Some(whose) => {
            recorder.copy_tasks_of(whose, take);
            None
        }
    };
    let runtimes = shared.runtimes();
    let alive: u64 = runtimes.iter().map(|runtime| runtime.live_tasks).sum();
    let mut source = OneByOne::new(&shared.reporter);
    let meta = Meta {
        taken_at,
        uptime_ms: recorder.clock.uptime().as_millis() as u64,
        process: process(),
        health: shared.health(not_recording),
        modules: source.modules(),
        spawned: spawned.unwrap_or(0),
        unknown: spawned.map_or(0, |_| alive.saturating_sub(recorded)),
        watchdog: shared.sweeps(),
        runtimes,
    };
    let mut snapshot = grouper.finish(&mut source, &findings, &shared.rules, meta);
    // What the debug info lacks is seen in the stacks, so after they were symbolized.
    let missing = health::advice(source.reporter().symbolizer.debug_info());
    let problems = &mut snapshot.health.problems;
    problems.extend(missing.map(str::to_owned));
    // The rules were asked for these groups as well.
    problems.extend(shared.unmatched_rules());
    snapshot
}

/// Looks ids up under the reporter's lock, one at a time, so that nobody waits long for it: for one
/// stack, and for the first of an executable until its debug info is read.
pub(crate) struct OneByOne<'a> {
    reporter: &'a Mutex<Reporter>,
    is_fresh: bool,
}

impl<'a> OneByOne<'a> {
    pub(crate) fn new(reporter: &'a Mutex<Reporter>) -> Self {
        OneByOne {
            reporter,
            is_fresh: false,
        }
    }

    /// Refreshed when it is first asked for.
    fn reporter(&mut self) -> MutexGuard<'_, Reporter> {
        let mut reporter = self.reporter.lock();
        if !self.is_fresh {
            reporter.refresh();
            self.is_fresh = true;
        }
        reporter
    }

    fn modules(&mut self) -> Vec<Module> {
        self.reporter().modules.clone()
    }
}

impl Source for OneByOne<'_> {
    fn stack(&mut self, id: u32) -> Arc<ResolvedStack> {
        self.reporter().stack(id)
    }

    fn name(&mut self, id: u32) -> String {
        tokio_trace::name(id).unwrap_or_default().to_owned()
    }

    fn location(&mut self, id: u32) -> Option<SourceLocation> {
        tokio_trace::location(id)
    }

    fn runtime(&mut self, id: u32) -> String {
        runtimes::get(id)
            .map(runtimes::RuntimeName::label)
            .unwrap_or_default()
    }
}

/// What was symbolized so far.
pub(crate) struct Reporter {
    symbolizer: Symbolizer,
    stacks: HashMap<u32, Arc<ResolvedStack>>,
    loaded: Arc<[taskleak_stack::Module]>,
    /// The same, as the profile has them.
    modules: Vec<Module>,
}

impl Reporter {
    pub(crate) fn new() -> Reporter {
        Reporter {
            symbolizer: Symbolizer::new(),
            stacks: HashMap::new(),
            loaded: Arc::new([]),
            modules: Vec::new(),
        }
    }

    fn refresh(&mut self) {
        taskleak_stack::refresh_modules();
        let loaded = taskleak_stack::modules();
        if !Arc::ptr_eq(&loaded, &self.loaded) {
            self.modules = loaded.iter().map(module).collect();
            self.loaded = loaded;
        }
        if self.stacks.len() > MAX_RESOLVED {
            self.stacks.clear();
        }
    }

    fn stack(&mut self, id: u32) -> Arc<ResolvedStack> {
        if let Some(known) = self.stacks.get(&id) {
            return Arc::clone(known);
        }
        let resolved = Arc::new(self.resolve(id));
        self.stacks.insert(id, Arc::clone(&resolved));
        resolved
    }

    fn resolve(&mut self, id: u32) -> ResolvedStack {
        let addresses = StackId::from_u32(id).map_or(&[][..], taskleak_stack::addresses);
        let frames: Vec<RawFrame> = addresses.iter().map(|ret| self.frame(*ret)).collect();
        ResolvedStack::new(&frames)
    }

    fn frame(&mut self, return_address: u64) -> RawFrame {
        let address = return_address.saturating_sub(1);
        let symbols = self.symbolizer.symbolize(address);
        let symbols = symbols.iter().map(|symbol| RawSymbol {
            linkage_name: symbol.linkage_name.as_deref().map(str::to_owned),
            dwarf_name: symbol.dwarf_name.as_deref().map(str::to_owned),
            file: symbol.file.as_deref().map(str::to_owned),
            line: symbol.line,
        });
        RawFrame {
            address,
            stable: self.stable(address),
            symbols: symbols.collect(),
        }
    }

    /// The same for an instruction in every run of the binary.
    fn stable(&self, address: u64) -> u64 {
        let module = self
            .modules
            .iter()
            .find(|m| (m.start..m.end).contains(&address));
        let Some(module) = module else { return address };
        let name = match module.build_id.as_str() {
            "" => module.path.as_str(),
            build_id => build_id,
        };
        fnv1a(name.as_bytes()) ^ address.wrapping_sub(module.bias)
    }
}

impl Shared {
    fn runtimes(&self) -> Vec<Runtime> {
        let watched: Vec<_> = self
            .watched
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        watched.iter().map(|watched| watched.report()).collect()
    }

    fn sweeps(&self) -> Option<Sweeps> {
        let swept = self.swept.lock();
        let ended = swept.ended?;
        let mut sweeps = Sweeps::default();
        sweeps.count = swept.count;
        sweeps.last_ms = ended.elapsed().as_millis() as u64;
        sweeps.took_us = swept.took.as_micros() as u64;
        Some(sweeps)
    }

    /// The rules that have had the time to match, and have not.
    fn unmatched_rules(&self) -> Vec<String> {
        if self.recorder.clock.uptime() < self.rules_match_within {
            return Vec::new();
        }
        let told = |rule: &Allow| {
            let rule = rule.to_string();
            format!("the allow rule {rule:?} has matched no task so far")
        };
        self.rules.unmatched().map(told).collect()
    }

    fn health(&self, not_recording: Option<NotRecording>) -> Health {
        let mut health = Health::default();
        health.recording = not_recording.is_none();
        health
            .problems
            .extend(not_recording.map(|error| error.to_string()));
        health.problems.extend(self.faults.lock().iter().cloned());
        health.problems.extend(self.teller.problems());
        health.dropped = dropped(&self.recorder.losses);
        let of_the_watchdog = [
            (
                "verdicts: tasks that the last sweep did not watch, too many groups",
                self.findings().crowded_out(),
            ),
            (
                "verdicts: tasks that the last sweep left for a later one",
                self.swept.lock().left_unplaced,
            ),
            (
                "verdicts: reports nobody was told of",
                self.teller.dropped(),
            ),
        ];
        let elsewhere = [("scopes: the table was full", scopes::not_opened())];
        let dropped = of_the_watchdog
            .into_iter()
            .chain(elsewhere)
            .filter(|(_, count)| *count > 0);
        health
            .dropped
            .extend(dropped.map(|(what, count)| (what.to_owned(), count)));
        health
    }
}

fn dropped(losses: &Losses) -> BTreeMap<String, u64> {
    let stacks = taskleak_stack::counters();
    let own = [
        ("tasks: the table was full", &losses.tasks),
        ("task names: the table was full", &losses.names),
        ("creation stacks: not captured", &losses.creation_stacks),
        ("park stacks: not captured", &losses.park_stacks),
        (
            "park stacks: over the capture budget of a task",
            &losses.over_budget,
        ),
        (
            "wakers: their clone went to another subscriber",
            &losses.unseen_clones,
        ),
    ];
    let own = own.map(|(what, count)| (what.to_owned(), count.load(Ordering::Relaxed)));
    let why = stacks
        .missed
        .into_iter()
        // Counted above, as over the budget.
        .filter(|(why, _)| *why != Missed::Unwanted)
        .map(|(why, count)| (format!("stacks: {why}"), count));
    own.into_iter()
        .chain(why)
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn process() -> Process {
    let mut process = Process::default();
    process.pid = std::process::id();
    process.exe = std::env::current_exe()
        .map(|exe| exe.display().to_string())
        .unwrap_or_default();
    process.cmdline = std::env::args_os()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    process
}

fn module(loaded: &taskleak_stack::Module) -> Module {
    let mut module = Module::default();
    module.start = loaded.start;
    module.end = loaded.end;
    module.file_offset = loaded.file_offset;
    module.bias = loaded.bias;
    module.path = loaded.path.to_string();
    module.build_id = loaded.build_id.to_string();
    module
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
