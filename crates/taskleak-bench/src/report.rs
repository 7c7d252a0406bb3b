//! The report: what is measured for each section, against which target, and how it is shown.

use std::thread;
use std::time::Duration;

use taskleak_stack::Unwinder;

use crate::Section;
use crate::contestant::Contestant;
use crate::crowds;
use crate::error::Error;
use crate::process::Worker;
use crate::program::Program;
use crate::protocol::{Body, Flavor, Look, Request, TestTimes};
use crate::race::{Effort, Time, race};
use crate::stats;
use crate::table::{self, Table};

/// The most that the guard may add to a test that leaks nothing.
const TARGET_TEST: Duration = Duration::from_millis(1);
const NO_TARGET: &str = "";

/// How much is measured.
struct Size {
    race: Effort,
    /// Few batches, because console-subscriber keeps 50 kB for each task for an hour after its
    /// end; long ones, because its thread competes with the program for a core.
    console_race: Effort,
    crowds: crowds::Effort,
    tests: usize,
}

const FULL: Size = Size {
    race: Effort {
        heats: 20,
        rounds: 30,
        batch: Duration::from_millis(5),
    },
    console_race: Effort {
        heats: 3,
        rounds: 6,
        batch: Duration::from_millis(20),
    },
    crowds: crowds::Effort {
        crowds: &[1_000, 10_000, 100_000, 1_000_000],
        looks: 9,
        looks_at_largest: 5,
        sweeps: 15,
        first_answers: 9,
    },
    tests: 400,
};

const QUICK: Size = Size {
    race: Effort {
        heats: 2,
        rounds: 4,
        batch: Duration::from_millis(2),
    },
    console_race: Effort {
        heats: 1,
        rounds: 3,
        batch: Duration::from_millis(5),
    },
    crowds: crowds::Effort {
        crowds: &[1_000, 20_000],
        looks: 3,
        looks_at_largest: 3,
        sweeps: 3,
        first_answers: 3,
    },
    tests: 20,
};

/// Measures the sections, all of them if none is named, and prints them.
pub(crate) fn print(quick: bool, only: &[Section]) -> Result<(), Error> {
    let size = if quick { QUICK } else { FULL };
    let wanted = |section| only.is_empty() || only.contains(&section);
    println!("{}", heading(quick));
    if wanted(Section::Time) {
        print!("\n{}", times(&size)?);
        println!("In brackets the time of an operation; half of plain's batches lie within ±.");
    }
    if wanted(Section::Test) {
        print!("\n{}", tests(&size)?);
    }
    if wanted(Section::Memory) {
        print!("\n{}", crowds::memory(size.crowds)?);
    }
    if wanted(Section::Grouped) {
        print!(
            "\n{}",
            crowds::looks(size.crowds, &[Look::Snapshot, Look::Grouped])?
        );
    }
    if wanted(Section::Listing) {
        print!(
            "\n{}",
            crowds::looks(size.crowds, &[Look::Listing, Look::SlowListing])?
        );
    }
    if wanted(Section::Sweep) {
        print!("\n{}", crowds::sweeps(size.crowds)?);
    }
    if wanted(Section::FirstAnswer) {
        print!("\n{}", crowds::first_answers(size.crowds)?);
    }
    Ok(())
}

fn heading(quick: bool) -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let what_for = if quick { " · --quick: no figures" } else { "" };
    format!(
        "tokio {} · rustc {} · {cores} cores · unwinder: {}{what_for}",
        env!("TASKLEAK_BENCH_TOKIO"),
        env!("TASKLEAK_BENCH_RUSTC"),
        Unwinder::BUILT_IN,
    )
}

fn times(size: &Size) -> Result<Table, Error> {
    use Contestant::{Console, Layer, Plain, Subscriber};
    let mut table = Table::new([
        "time, as a ratio to plain",
        "subscriber",
        "target",
        "layer",
        "with console",
        "plain",
    ]);
    for program in Program::ALL {
        let [plain, subscriber, layer] = race([Plain, Subscriber, Layer], program, size.race)?;
        // Apart, because console-subscriber's thread goes on after a batch, and would slow
        // whoever comes next.
        let [beside_console, console] = race([Plain, Console], program, size.console_race)?;
        table.push([
            program.label(),
            ratio(subscriber, plain),
            target_ratio(program),
            ratio(layer, plain),
            ratio(console, beside_console),
            format!("{:.0} ns ± {:.0} %", plain.ns, plain.spread * 50.0),
        ]);
    }
    Ok(table)
}

fn tests(size: &Size) -> Result<Table, Error> {
    let mut table = Table::new([
        "a test that leaks nothing",
        "the guard adds",
        "target",
        "… to the first in a process",
        "`#[tokio::test]`",
    ]);
    for (flavor, body, label) in [
        (Flavor::CurrentThread, Body::Empty, "empty, current_thread"),
        (Flavor::MultiThread, Body::Empty, "empty, multi_thread"),
        (
            Flavor::CurrentThread,
            Body::LeavesOneEnding,
            "a task ends after it, current_thread",
        ),
        (
            Flavor::MultiThread,
            Body::LeavesOneEnding,
            "a task ends after it, multi_thread",
        ),
    ] {
        let times: TestTimes = Worker::start(Contestant::Plain)?.ask(Request::Tests {
            flavor,
            body,
            times: size.tests,
        })?;
        let plain = stats::median(times.plain);
        let added = |guarded: Duration| table::time(guarded.saturating_sub(plain));
        table.push([
            label.to_owned(),
            added(stats::median(times.guarded)),
            format!("≤ {}", table::time(TARGET_TEST)),
            added(times.first),
            table::time(plain),
        ]);
    }
    Ok(table)
}

fn ratio(time: Time, plain: Time) -> String {
    let ratio = time.ns / plain.ns;
    format!("{ratio:.2} ({:.0} ns)", time.ns)
}

fn target_ratio(program: Program) -> String {
    let (spawn, ping_pong) = match Unwinder::BUILT_IN {
        Unwinder::FramePointers => ("1.25", "1.10"),
        Unwinder::Framehop => ("1.50", "1.20"),
        _ => return NO_TARGET.to_owned(),
    };
    let most = match program {
        Program::Spawn | Program::SpawnDeep => spawn,
        Program::PingPong | Program::PingPongDeep => ping_pong,
    };
    format!("≤ {most}")
}
