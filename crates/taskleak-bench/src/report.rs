//! The report: what is measured for each section, against which target, and how it is shown.

use std::thread;
use std::time::Duration;

use taskleak_stack::Unwinder;

use crate::Section;
use crate::contestant::Contestant;
use crate::error::Error;
use crate::process::Worker;
use crate::program::Program;
use crate::protocol::{Answer, Body, Flavor, Gaps, Reader, Request, Snapshots, TestTimes};
use crate::race::{Effort, Time, race};
use crate::stats;
use crate::table::{self, Table};

/// The most bytes that a waiting task may take on top of tokio's own.
const TARGET_BYTES: f64 = 200.0;
/// The longest that a snapshot of the full crowd may take, once the debug info is read.
const TARGET_SNAPSHOT: Duration = Duration::from_millis(500);
/// The most processor time that a sweep over the full crowd may take.
const TARGET_SWEEP: Duration = Duration::from_millis(20);
/// The most that the guard may add to a test that leaks nothing.
const TARGET_TEST: Duration = Duration::from_millis(1);
const NO_TARGET: &str = "";

/// How much is measured.
struct Size {
    race: Effort,
    /// Few batches, because console-subscriber keeps 50 kB for each task for an hour after its
    /// end; long ones, because its thread competes with the program for a core.
    console_race: Effort,
    crowd: usize,
    snapshots: usize,
    sweeps: usize,
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
    crowd: 1_000_000,
    snapshots: 9,
    sweeps: 15,
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
    crowd: 20_000,
    snapshots: 3,
    sweeps: 3,
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
    let mut crowd = Table::new([
        &format!("{} waiting tasks", table::count(size.crowd)),
        "measured",
        "target",
    ]);
    if wanted(Section::Memory) {
        memory(&size, &mut crowd)?;
    }
    if wanted(Section::Snapshot) {
        snapshots(&size, &mut crowd)?;
    }
    if wanted(Section::Answer) {
        answers(&size, &mut crowd)?;
    }
    if wanted(Section::Sweep) {
        sweeps(&size, &mut crowd)?;
    }
    if !crowd.is_empty() {
        print!("\n{crowd}");
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

/// One process after the other, so that the machine has to hold but one crowd.
fn memory(size: &Size, table: &mut Table) -> Result<(), Error> {
    let bytes_each = |contestant| gathered(contestant, size).map(|(_worker, bytes)| bytes);
    let plain = bytes_each(Contestant::Plain)?;
    let subscriber = bytes_each(Contestant::Subscriber)? - plain;
    let layer = bytes_each(Contestant::Layer)? - plain;
    table.push([
        format!("memory of each on top of tokio's {plain:.0} B: subscriber"),
        format!("{subscriber:.0} B"),
        format!("≤ {TARGET_BYTES} B"),
    ]);
    table.push([
        "… layer".to_owned(),
        format!("{layer:.0} B"),
        NO_TARGET.to_owned(),
    ]);
    Ok(())
}

fn snapshots(size: &Size, table: &mut Table) -> Result<(), Error> {
    let (mut worker, _) = gathered(Contestant::Subscriber, size)?;
    let Snapshots {
        first,
        further,
        watched,
    } = worker.ask(Request::Snapshots {
        further: size.snapshots,
    })?;
    let gaps = |of: fn(&Gaps) -> Duration| {
        let gaps = || watched.iter().map(of);
        let (median, longest) = (stats::median(gaps()), gaps().max().unwrap_or_default());
        format!("{}, at most {}", table::time(median), table::time(longest))
    };
    table.push([
        format!("snapshot, median of {}", further.len()),
        table::time(stats::median(further)),
        format!(
            "≤ {} for {}",
            table::time(TARGET_SNAPSHOT),
            table::count(FULL.crowd)
        ),
    ]);
    table.push([
        "… the first, which reads the debug info".to_owned(),
        table::time(first),
        NO_TARGET.to_owned(),
    ]);
    table.push([
        "longest gap of a task that yields, during a snapshot".to_owned(),
        gaps(|gaps| gaps.snapshot),
        "as beside any thread".to_owned(),
    ]);
    table.push([
        "… beside a thread that spins for as long".to_owned(),
        gaps(|gaps| gaps.busy_thread),
        NO_TARGET.to_owned(),
    ]);
    table.push([
        "… with neither".to_owned(),
        gaps(|gaps| gaps.neither),
        NO_TARGET.to_owned(),
    ]);
    Ok(())
}

fn answers(size: &Size, table: &mut Table) -> Result<(), Error> {
    let (mut worker, _) = gathered(Contestant::Subscriber, size)?;
    for (reader, label) in [
        (Reader::Steady, "`?debug=2` over HTTP, each task listed"),
        (Reader::Slow, "… to a slow reader"),
    ] {
        let answer: Answer = worker.ask(Request::Get { reader })?;
        table.push([
            label.to_owned(),
            format!(
                "{} in {}",
                table::megabytes(answer.bytes),
                table::time(answer.took),
            ),
            NO_TARGET.to_owned(),
        ]);
        table.push([
            "… growth of resident memory, at its peak".to_owned(),
            table::megabytes(answer.peak_growth),
            "the same for both".to_owned(),
        ]);
    }
    Ok(())
}

fn sweeps(size: &Size, table: &mut Table) -> Result<(), Error> {
    let (mut worker, _) = gathered(Contestant::Watchdog, size)?;
    let times: Vec<Duration> = worker.ask(Request::Sweeps {
        sweeps: size.sweeps,
    })?;
    let longest = times.iter().max().copied().unwrap_or_default();
    table.push([
        format!(
            "sweep of the watchdog, processor time, median of {}",
            times.len()
        ),
        format!(
            "{}, at most {}",
            table::time(stats::median(times)),
            table::time(longest)
        ),
        format!(
            "≤ {} for {}",
            table::time(TARGET_SWEEP),
            table::count(FULL.crowd)
        ),
    ]);
    Ok(())
}

/// A worker that has gathered the crowd, and the bytes that each task of it took.
fn gathered(contestant: Contestant, size: &Size) -> Result<(Worker, f64), Error> {
    let mut worker = Worker::start(contestant)?;
    let bytes_each = worker.ask(Request::Crowd { tasks: size.crowd })?;
    Ok((worker, bytes_each))
}
