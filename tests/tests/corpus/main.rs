//! The leak corpus: services that leak, their fixed twins, and clean ones, all at once under
//! load, on runtimes of both flavours; and what the detector makes of them.
//!
//! ```text
//! cargo test --release -p taskleak-tests --test corpus -- --nocapture
//! ```
//!
//! It fails if a leak gets no verdict in time that names its function and its wait, or a clean
//! program gets one. libtest's arguments change nothing, but `--list` lists no tests. The
//! variable `TASKLEAK_CORPUS` narrows it to programs with its value in their name.

mod controls;
mod judge;
mod load;
mod patterns;
mod program;
mod run;
mod table;
mod threads;

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use taskleak::{BuildWatched, Detector};
use tokio::runtime::Builder;

use crate::judge::{Delay, Machine, Said};
use crate::program::Pattern;
use crate::run::{Kind, Run};
use crate::table::Table;

/// Not all leaks come to light in one sweep, then.
const BETWEEN_STARTS: Duration = Duration::from_millis(40);
/// Clean programs are watched for so long.
const AT_LEAST: Duration = Duration::from_secs(20);
/// Then what was not found will not be.
const AT_MOST: Duration = Duration::from_secs(60);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--list") {
        return Ok(ExitCode::SUCCESS);
    }
    let (detector, said) = judge::install()?;
    read_debug_info(&detector)?;
    let machine = Machine::watch();
    let runs = runs();
    for run in &runs {
        run.start(&detector)?;
        thread::sleep(BETWEEN_STARTS);
    }
    let delays = watch(&runs, &detector, &said, &machine);
    let table = Table::new(runs, &said, &delays, detector.snapshot());
    print!("{table}");
    println!(
        "a thread that sleeps as the watchdog does overslept by {} ms at most",
        machine.longest().as_millis()
    );
    let totals = table.totals();
    println!("{totals}");
    Ok(match totals.are_perfect() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The first stack that is shown has the debug info of this executable read, which takes long in
/// a debug build: it is not done while a verdict is awaited.
fn read_debug_info(detector: &Detector) -> io::Result<()> {
    let runtime = Builder::new_current_thread().build_watched(detector)?;
    runtime.spawn(std::future::pending::<()>());
    detector.snapshot();
    Ok(())
}

fn patterns() -> impl Iterator<Item = &'static Pattern> {
    patterns::ALL.iter().chain(threads::ALL)
}

fn runs() -> Vec<Run> {
    let wanted = std::env::var("TASKLEAK_CORPUS").unwrap_or_default();
    let of_patterns = patterns().flat_map(Run::of_pattern);
    let of_controls = controls::ALL.iter().flat_map(Run::of_control);
    let all = of_patterns.chain(of_controls);
    let runs: Vec<Run> = all.filter(|run| run.name.contains(&wanted)).collect();
    let runtimes: HashSet<String> = runs.iter().map(Run::runtime).collect();
    assert_eq!(runtimes.len(), runs.len(), "two programs have one name");
    runs
}

/// Waits until every leak has its verdict; how late each was, by its runtime.
fn watch(
    runs: &[Run],
    detector: &Detector,
    said: &Said,
    machine: &Machine,
) -> HashMap<String, Delay> {
    let started = Instant::now();
    let mut delays = HashMap::new();
    let mut awaited: Vec<(&Pattern, String)> = runs
        .iter()
        .filter_map(|run| match run.kind {
            Kind::Leaky(pattern) => Some((pattern, run.runtime())),
            Kind::Fixed | Kind::Control(_) => None,
        })
        .collect();
    while started.elapsed() < AT_LEAST || (!awaited.is_empty() && started.elapsed() < AT_MOST) {
        thread::sleep(Duration::from_millis(50));
        let found: Vec<_> = awaited
            .extract_if(.., |(pattern, runtime)| {
                let accused = said.of(runtime);
                accused.iter().any(|accused| pattern.names(&accused.group))
            })
            .collect();
        if found.is_empty() {
            continue;
        }
        let snapshot = detector.snapshot_with_tasks();
        for (pattern, runtime) in found {
            let accused = said.of(&runtime);
            let at = accused
                .iter()
                .filter(|accused| pattern.names(&accused.group))
                .map(|accused| accused.at)
                .min();
            let delay = at.and_then(|at| Delay::of(pattern, &runtime, at, &snapshot, machine));
            delays.extend(delay.map(|delay| (runtime, delay)));
        }
    }
    delays
}
