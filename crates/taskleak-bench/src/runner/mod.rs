//! The runner: builds the contestants, measures, and shows what came out.

mod builds;
mod chart;
mod crowds;
mod error;
mod figures;
mod load;
mod machine;
mod process;
mod progress;
mod race;
mod report;
mod stats;
mod targets;
mod times;
mod units;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::case::Case;
use crate::variant::Variant;

use self::error::Error;
use self::figures::{Figure, Section, Shape};
use self::progress::Progress;
use self::race::{Batch, Effort};

#[derive(Parser)]
#[command(about = "Measures what taskleak costs, beside the same programs without it")]
struct Args {
    /// Measures everything at a small size: to see that it works, not for figures
    #[arg(long)]
    quick: bool,
    /// Measures only this; may be repeated
    #[arg(long, value_name = "CASE", value_parser = parts())]
    only: Vec<Part>,
    /// Writes the figures to a file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws the ratios of the time cases to a file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Fails if a figure is worse than twice its target
    #[arg(long)]
    check: bool,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A time case.
    Time(Case),
    /// The guard on a test that leaks nothing.
    Test,
    /// The memory of a waiting task.
    Memory,
    /// The time of a snapshot, and what it does to the runtime.
    Snapshot,
    /// The answer that lists every task.
    List,
    /// The watchdog's look at all of them.
    Sweep,
}

impl Part {
    const BESIDE_TIME: [Part; 5] = [
        Part::Test,
        Part::Memory,
        Part::Snapshot,
        Part::List,
        Part::Sweep,
    ];

    fn all() -> impl Iterator<Item = Part> {
        let times = Case::ALL.into_iter().map(Part::Time);
        times.chain(Part::BESIDE_TIME)
    }

    fn name(self) -> &'static str {
        match self {
            Part::Time(case) => case.name(),
            Part::Test => "test",
            Part::Memory => "memory",
            Part::Snapshot => "snapshot",
            Part::List => "list",
            Part::Sweep => "sweep",
        }
    }
}

fn parts() -> impl TypedValueParser<Value = Part> {
    PossibleValuesParser::new(Part::all().map(Part::name)).map(|name| {
        let mut parts = Part::all();
        let part = parts.find(|part| part.name() == name);
        part.expect("the parser takes only their names")
    })
}

/// How much is measured.
struct Size {
    race: Effort,
    /// Few batches, because console-subscriber keeps 50 kB for each task for an hour after its
    /// end; long ones, because its thread competes with the program for a core.
    race_apart: Effort,
    burst: Effort,
    burst_apart: Effort,
    /// Longer batches: asking a process for its time takes a part of it. Not much longer, for a
    /// round is to be short.
    http: Effort,
    http_apart: Effort,
    crowd: usize,
    snapshots: usize,
    sweeps: usize,
    tests: usize,
}

impl Size {
    const FULL: Size = Size {
        race: effort(20, 30, Batch::Lasting(Duration::from_millis(5))),
        race_apart: effort(3, 6, Batch::Lasting(Duration::from_millis(20))),
        burst: effort(3, 3, Batch::Of(1_000_000)),
        burst_apart: effort(3, 3, Batch::Of(10_000)),
        http: effort(8, 25, Batch::Lasting(Duration::from_millis(20))),
        http_apart: effort(4, 10, Batch::Lasting(Duration::from_millis(20))),
        crowd: 1_000_000,
        snapshots: 9,
        sweeps: 15,
        tests: 400,
    };

    const QUICK: Size = Size {
        race: effort(5, 6, Batch::Lasting(Duration::from_millis(3))),
        race_apart: effort(1, 3, Batch::Lasting(Duration::from_millis(5))),
        burst: effort(1, 3, Batch::Of(100_000)),
        burst_apart: effort(1, 3, Batch::Of(2_000)),
        http: effort(5, 8, Batch::Lasting(Duration::from_millis(10))),
        http_apart: effort(2, 4, Batch::Lasting(Duration::from_millis(10))),
        crowd: 20_000,
        snapshots: 3,
        sweeps: 3,
        tests: 100,
    };

    /// For the field, or for those who race apart.
    fn effort(&self, case: Case, apart: bool) -> Effort {
        match (case, apart) {
            (Case::Burst, false) => self.burst,
            (Case::Burst, true) => self.burst_apart,
            (Case::Http | Case::HttpSpawn, false) => self.http,
            (Case::Http | Case::HttpSpawn, true) => self.http_apart,
            (_, false) => self.race,
            (_, true) => self.race_apart,
        }
    }
}

const fn effort(heats: usize, rounds: usize, batch: Batch) -> Effort {
    Effort {
        heats,
        rounds,
        batch,
    }
}

pub(crate) fn run() -> ExitCode {
    match measure(&Args::parse()) {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => {
            for failure in failures {
                eprintln!("{failure}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the arguments say. Returns what fails the check, if one is asked for.
fn measure(args: &Args) -> Result<Vec<String>, Error> {
    let size = if args.quick { Size::QUICK } else { Size::FULL };
    let wanted = |part: &Part| args.only.is_empty() || args.only.contains(part);
    let parts: Vec<Part> = Part::all().filter(wanted).collect();
    builds::make(&variants(&parts))?;
    println!("{}\n", machine::heading());
    let sections = sections(&parts, &size)?;
    println!("{}", report::text(&sections));
    let figures = || sections.iter().flat_map(|section| &section.figures);
    if let Some(path) = &args.json {
        let figures: Vec<&Figure> = figures().collect();
        let written = serde_json::to_string_pretty(&figures).map_err(Into::into);
        let written = written.and_then(|json| fs::write(path, json + "\n"));
        written.map_err(|cause| Error::Write {
            path: path.clone(),
            cause,
        })?;
    }
    if let Some(path) = &args.svg {
        chart::draw(path, &sections)?;
    }
    Ok(if args.check {
        report::failures(figures())
    } else {
        Vec::new()
    })
}

/// What the parts are measured with.
fn variants(parts: &[Part]) -> Vec<Variant> {
    match parts.iter().any(|part| matches!(part, Part::Time(_))) {
        true => times::variants().collect(),
        false => vec![Variant::Base],
    }
}

fn sections(parts: &[Part], size: &Size) -> Result<Vec<Section>, Error> {
    let progress = Progress::new();
    let cases = parts.iter().filter_map(|part| match part {
        Part::Time(case) => Some(*case),
        _ => None,
    });
    let cases: Vec<Case> = cases.collect();
    progress.plan(cases.iter().map(|case| times::steps(*case, size)).sum());
    progress.plan(parts.len() - cases.len());
    let mut sections = Vec::new();
    if !cases.is_empty() {
        sections.push(times::measure(&cases, size, &progress)?);
    }
    let mut rows = |title: String, measured: &[(Part, Measure)]| -> Result<(), Error> {
        let mut figures = Vec::new();
        for (part, measure) in measured {
            if parts.contains(part) {
                progress.begin(part.name());
                figures.extend(measure(size)?);
                progress.step();
            }
        }
        if !figures.is_empty() {
            sections.push(Section {
                title,
                shape: Shape::Rows,
                figures,
                notes: Vec::new(),
            });
        }
        Ok(())
    };
    rows(
        "a test that leaks nothing".to_owned(),
        &[(Part::Test, crowds::tests)],
    )?;
    rows(
        format!("{} waiting tasks", units::count(size.crowd)),
        &[
            (Part::Memory, crowds::memory),
            (Part::Snapshot, crowds::snapshots),
            (Part::List, crowds::answers),
            (Part::Sweep, crowds::sweeps),
        ],
    )?;
    Ok(sections)
}

/// How a part beside the time cases is measured.
type Measure = fn(&Size) -> Result<Vec<Figure>, Error>;
