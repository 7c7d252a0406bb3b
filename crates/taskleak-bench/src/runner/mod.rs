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
mod tests;
mod times;
mod units;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::case::Case;
use crate::protocol::Look;

use self::builds::Build;
use self::crowds::{first_answer, looks, memory, sweeps};
use self::error::Error;
use self::figures::{Figure, Section};
use self::progress::Progress;
use self::race::{Batch, Effort};
use self::report::Failure;
use self::targets::Target;

#[derive(Parser)]
#[command(about = "Measures what taskleak costs, beside the same programs without it")]
struct Args {
    /// Measures at a small size: to see that it works, not for figures
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
    /// Leaves out cases and variants without a target; fails if a figure is worse than twice its
    /// target, and again when it is measured once more
    #[arg(long, conflicts_with = "svg")]
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
    /// A snapshot of a crowd, and what it does to the runtime.
    Snapshot,
    /// The text of its groups, likewise.
    Grouped,
    /// The list of every task, likewise.
    Listing,
    /// The watchdog's look at all of them.
    Sweep,
    /// The first answer of a process, which reads its symbols.
    FirstAnswer,
}

impl Part {
    const BESIDE_TIME: [Part; 7] = [
        Part::Test,
        Part::Memory,
        Part::Snapshot,
        Part::Grouped,
        Part::Listing,
        Part::Sweep,
        Part::FirstAnswer,
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
            Part::Grouped => "grouped",
            Part::Listing => "listing",
            Part::Sweep => "sweep",
            Part::FirstAnswer => "first-answer",
        }
    }

    /// Whether a figure's case is of this part.
    fn measures(self, case: &str) -> bool {
        match self {
            Part::Time(own) => case == own.name(),
            _ => case
                .strip_prefix(self.name())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-')),
        }
    }

    /// Whether something is measured of it.
    fn is_measured(self, size: &Size) -> bool {
        match self {
            Part::Time(case) => times::is_raced(case, size),
            // It has no target.
            Part::FirstAnswer => !size.only_judged,
            _ => true,
        }
    }

    /// What it is measured with.
    fn builds(self, size: &Size) -> Vec<Build> {
        match self {
            Part::Time(case) => times::builds(case, size),
            Part::FirstAnswer => first_answer::BUILDS.to_vec(),
            _ => vec![Build::Framehop],
        }
    }

    /// How often it tells the progress bar that it goes on.
    fn steps(self, size: &Size) -> usize {
        match self {
            Part::Time(case) => times::steps(case, size),
            Part::Test => 1,
            Part::Memory => memory::VARIANTS.len(),
            Part::Snapshot | Part::Grouped | Part::Sweep => size.crowds.len(),
            Part::Listing => 2 * size.crowds.len(),
            Part::FirstAnswer => first_answer::BUILDS.len(),
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
    /// Only what has a target.
    only_judged: bool,
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
    /// The sizes of the crowds, the smallest first; multiples of a thousand.
    crowds: &'static [usize],
    /// How often each is looked at.
    looks: usize,
    /// How often the largest is, which takes longest.
    looks_at_largest: usize,
    sweeps: usize,
    /// How many processes give a first answer.
    first_answers: usize,
    tests: usize,
}

impl Size {
    const FULL: Size = Size {
        only_judged: false,
        race: effort(20, 30, Batch::Lasting(Duration::from_millis(5))),
        race_apart: effort(3, 6, Batch::Lasting(Duration::from_millis(20))),
        burst: effort(3, 3, Batch::Of(1_000_000)),
        burst_apart: effort(3, 3, Batch::Of(10_000)),
        http: effort(8, 25, Batch::Lasting(Duration::from_millis(20))),
        http_apart: effort(4, 10, Batch::Lasting(Duration::from_millis(20))),
        crowds: &[1_000, 10_000, 100_000, 1_000_000],
        looks: 9,
        looks_at_largest: 5,
        sweeps: 15,
        first_answers: 9,
        tests: 400,
    };

    const QUICK: Size = Size {
        only_judged: false,
        race: effort(5, 6, Batch::Lasting(Duration::from_millis(3))),
        race_apart: effort(1, 3, Batch::Lasting(Duration::from_millis(5))),
        burst: effort(1, 3, Batch::Of(100_000)),
        burst_apart: effort(1, 3, Batch::Of(2_000)),
        http: effort(5, 8, Batch::Lasting(Duration::from_millis(10))),
        http_apart: effort(2, 4, Batch::Lasting(Duration::from_millis(10))),
        crowds: &[1_000, 10_000, 100_000],
        looks: 3,
        looks_at_largest: 3,
        sweeps: 3,
        first_answers: 3,
        tests: 100,
    };

    fn smallest(&self) -> usize {
        self.crowds[0]
    }

    fn largest(&self) -> usize {
        self.crowds[self.crowds.len() - 1]
    }

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
    let size = Size {
        only_judged: args.check,
        ..if args.quick { Size::QUICK } else { Size::FULL }
    };
    let wanted = |part: &Part| args.only.is_empty() || args.only.contains(part);
    let is_measured = |part: &Part| part.is_measured(&size);
    if let Some(part) = args.only.iter().find(|part| !is_measured(part)) {
        return Ok(vec![format!(
            "cannot check {}: it has no target",
            part.name()
        )]);
    }
    let parts: Vec<Part> = Part::all().filter(wanted).filter(is_measured).collect();
    let builds: Vec<Build> = parts.iter().flat_map(|part| part.builds(&size)).collect();
    builds::make(&builds)?;
    println!("{}\n", machine::heading());
    if builds.contains(&Build::Large) {
        first_answer::check_large()?;
    }
    let mut sections = Vec::new();
    let done = measure_parts(&parts, &size, &mut sections);
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
    // Not before: what was measured until then is not lost.
    done?;
    if !args.check {
        return Ok(Vec::new());
    }
    if !figures().any(|figure| Target::of(figure).is_some()) {
        return Ok(vec!["nothing of what was measured has a target".to_owned()]);
    }
    let failed: Vec<Failure> = report::failures(figures());
    let again = |part: &Part| failed.iter().any(|failure| part.measures(&failure.case));
    let again: Vec<Part> = parts.into_iter().filter(again).collect();
    if again.is_empty() {
        return Ok(Vec::new());
    }
    // Once more: the machine may have been busy with something else. What fails again is slow.
    let mut sections = Vec::new();
    measure_parts(&again, &size, &mut sections)?;
    let once_more = report::failures(sections.iter().flat_map(|section| &section.figures));
    let before = |failure: &Failure| failed.iter().any(|before| before.is_of_same(failure));
    let both = once_more.into_iter().filter(before);
    Ok(both.map(|failure| failure.why).collect())
}

fn measure_parts(parts: &[Part], size: &Size, sections: &mut Vec<Section>) -> Result<(), Error> {
    let progress = Progress::new(parts.iter().map(|part| part.steps(size)).sum());
    let cases = parts.iter().filter_map(|part| match part {
        Part::Time(case) => Some(*case),
        _ => None,
    });
    let cases: Vec<Case> = cases.collect();
    if !cases.is_empty() {
        sections.push(times::measure(&cases, size, &progress)?);
    }
    for part in parts {
        if !matches!(part, Part::Time(_)) {
            progress.begin(part.name());
        }
        match part {
            Part::Time(_) => {}
            Part::Test => sections.push(tests::measure(size, &progress)?),
            Part::Memory => sections.push(memory::measure(size, &progress)?),
            Part::Snapshot => sections.push(looks::measure(Look::Snapshot, size, &progress)?),
            Part::Grouped => sections.push(looks::measure(Look::Grouped, size, &progress)?),
            Part::Listing => {
                for look in [Look::Listing, Look::SlowListing] {
                    sections.push(looks::measure(look, size, &progress)?);
                }
            }
            Part::Sweep => sections.push(sweeps::measure(size, &progress)?),
            Part::FirstAnswer => sections.push(first_answer::measure(size, &progress)?),
        }
    }
    Ok(())
}
