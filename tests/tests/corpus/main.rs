//! The leak corpus: services that leak, their fixed twins, and clean ones, under load, on runtimes
//! of both flavours in one process; and what the detector makes of them.
//!
//! ```text
//! cargo test --release -p taskleak-tests --test corpus -- --nocapture
//! ```
//!
//! It fails if a leak gets no verdict in time that names its function and its wait, or a clean
//! program gets one. Leaks run a batch at a time, so that a debug build on two cores keeps up;
//! the clean programs run beside all of them.
//!
//! libtest's arguments change nothing, but `--list` lists no tests. The variable
//! `TASKLEAK_CORPUS` narrows it to programs with its value in their name.

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

use crate::judge::{Detection, Said, Sweeps};
use crate::program::Pattern;
use crate::run::{Run, Running};
use crate::table::{Row, Table};

/// The runs of a dozen patterns.
const BATCH: usize = 48;
/// Not all leaks come to light in one sweep, then.
const BETWEEN_STARTS: Duration = Duration::from_millis(40);
/// A batch is watched for so long, for the sake of its fixed programs: not for the five windows of
/// a trend that lasts, which the controls are.
const AT_LEAST: Duration = Duration::from_secs(11);
/// What has no verdict by then gets none.
const AT_MOST: Duration = Duration::from_secs(30);
/// Clean programs are watched for so long: more than five windows of the trend.
const CLEAN_FOR: Duration = Duration::from_secs(40);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--list") {
        return Ok(ExitCode::SUCCESS);
    }
    let (detector, said) = judge::install()?;
    read_debug_info(&detector)?;
    let corpus = Corpus {
        sweeps: Sweeps::watch(&detector)?,
        detector,
        said,
    };
    let (of_patterns, of_controls) = runs();
    let controls_started = Instant::now();
    let controls = corpus.start(&of_controls)?;
    let mut rows = Vec::new();
    let mut of_patterns = of_patterns.into_iter().peekable();
    while of_patterns.peek().is_some() {
        rows.extend(corpus.watch(of_patterns.by_ref().take(BATCH).collect())?);
    }
    thread::sleep(CLEAN_FOR.saturating_sub(controls_started.elapsed()));
    rows.extend(corpus.rows(of_controls));
    drop(controls);

    let table = Table::new(rows, corpus.detector.snapshot().health);
    print!("{table}");
    println!("{}", corpus.sweeps);
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

/// Those of patterns, and those of controls.
fn runs() -> (Vec<Run>, Vec<Run>) {
    let wanted = std::env::var("TASKLEAK_CORPUS").unwrap_or_default();
    let is_wanted = |run: &Run| run.name.contains(&wanted);
    let of_patterns = patterns().flat_map(Run::of_pattern).filter(is_wanted);
    let of_controls = controls::ALL.iter().flat_map(Run::of_control);
    let runs: (Vec<Run>, Vec<Run>) = (
        of_patterns.collect(),
        of_controls.filter(is_wanted).collect(),
    );
    let all = || runs.0.iter().chain(&runs.1);
    let runtimes: HashSet<String> = all().map(Run::runtime).collect();
    assert_eq!(runtimes.len(), all().count(), "two programs have one name");
    assert!(
        !runtimes.is_empty(),
        "no program has {wanted:?} in its name"
    );
    runs
}

struct Corpus {
    detector: Detector,
    said: Said,
    sweeps: Sweeps,
}

impl Corpus {
    fn start(&self, runs: &[Run]) -> io::Result<Vec<Running>> {
        let start = |run: &Run| {
            thread::sleep(BETWEEN_STARTS);
            run.start(&self.detector)
        };
        runs.iter().map(start).collect()
    }

    /// Runs a batch until every leak in it has its verdict.
    fn watch(&self, batch: Vec<Run>) -> io::Result<Vec<Row>> {
        let running = self.start(&batch)?;
        let started = Instant::now();
        let mut detections = HashMap::new();
        let mut awaited: Vec<(&Pattern, String)> = batch
            .iter()
            .filter_map(|run| Some((run.leak()?, run.runtime())))
            .collect();
        while started.elapsed() < AT_LEAST || (!awaited.is_empty() && started.elapsed() < AT_MOST) {
            thread::sleep(Duration::from_millis(50));
            let first = |leak: &(&Pattern, String)| self.said.first(leak.0, &leak.1);
            if awaited.iter().all(|leak| first(leak).is_none()) {
                continue;
            }
            let snapshot = self.detector.snapshot_with_tasks();
            awaited.retain(|leak| {
                let (pattern, runtime) = leak;
                let told = first(leak);
                let detection =
                    told.and_then(|told| Detection::of(pattern, runtime, told, &snapshot));
                detections.extend(detection.map(|detection| (runtime.clone(), detection)));
                detection.is_none()
            });
        }
        let mut rows = self.rows(batch);
        for row in &mut rows {
            let detection = detections.remove(&row.run.runtime());
            row.delay = detection.map(|detection| detection.delay(&self.sweeps));
        }
        drop(running);
        Ok(rows)
    }

    /// What was said of these runs, and what runs there now.
    fn rows(&self, runs: Vec<Run>) -> Vec<Row> {
        let snapshot = self.detector.snapshot();
        let row = |run: Run| {
            let runtime = run.runtime();
            let groups = snapshot.groups.iter();
            let there = groups.filter(|group| group.runtime == runtime);
            Row {
                accused: self.said.of(&runtime),
                there: there.cloned().collect(),
                delay: None,
                run,
            }
        };
        runs.into_iter().map(row).collect()
    }
}
