//! The cases of a crowd, seen from the parent: which workers are asked for what, and what is made
//! of their answers.

use std::time::Duration;

use serde::Serialize;

use crate::contestant::Contestant;
use crate::error::Error;
use crate::large;
use crate::process::Worker;
use crate::protocol::{FirstAnswer, Look, Looked, Request, Sweeps, Window};
use crate::stats;
use crate::table::{self, Table};

/// The most that a text of the groups of a million tasks may take.
const TARGET_GROUPED: Duration = Duration::from_millis(250);
/// The most that a list of a million tasks may take.
const TARGET_LISTING: Duration = Duration::from_secs(3);
/// The longest delay that a look or a sweep may add to a tick.
const TARGET_DELAY: Duration = Duration::from_millis(1);
/// The most processor time that a sweep over a million tasks may take.
const TARGET_SWEEP: Duration = Duration::from_millis(10);
/// The most that a task of the largest crowd may cost, against one of the smallest.
const TARGET_GROWTH: f64 = 1.3;
/// The most bytes that a waiting task may take on top of tokio's own.
const TARGET_BYTES: f64 = 160.0;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// The sizes of the crowds, the smallest first.
    pub(crate) crowds: &'static [usize],
    /// How often each is looked at.
    pub(crate) looks: usize,
    /// How often the largest is, which takes longest.
    pub(crate) looks_at_largest: usize,
    pub(crate) sweeps: usize,
    /// How many fresh processes give a first answer.
    pub(crate) first_answers: usize,
}

impl Effort {
    fn largest(&self) -> usize {
        self.crowds.last().copied().unwrap_or(0)
    }
}

/// A figure of several.
#[derive(Debug, Clone, Copy, Serialize)]
struct Figure {
    median: f64,
    /// See [`stats::spread`].
    spread: f64,
    worst: f64,
}

impl Figure {
    fn of(figures: impl Iterator<Item = f64> + Clone) -> Figure {
        Figure {
            median: stats::median(figures.clone()),
            spread: stats::spread(figures.clone()),
            worst: figures.fold(0.0, f64::max),
        }
    }

    fn of_times(times: impl Iterator<Item = Duration> + Clone) -> Figure {
        Figure::of(times.map(|time| time.as_secs_f64()))
    }

    fn time(&self) -> String {
        table::time(Duration::from_secs_f64(self.median))
    }

    fn time_and_spread(&self) -> String {
        format!("{} ± {:.0} %", self.time(), self.spread * 50.0)
    }

    fn time_and_worst(&self) -> String {
        let worst = Duration::from_secs_f64(self.worst);
        format!("{}, at most {}", self.time(), table::time(worst))
    }
}

/// Looks at crowds of each size, and what a task costs in the largest against the smallest.
pub(crate) fn looks(effort: Effort, looks: &[Look]) -> Result<Table, Error> {
    let mut table = Table::new([
        "look, and tasks",
        "wall",
        "detector's CPU",
        "whole CPU",
        "longest delay of a 1 ms tick",
        "… without a look",
        "… beside a busy thread",
        "added",
        "… with the runtime's threads preferred",
        "memory",
        "answer",
    ]);
    let mut walls = Vec::new();
    for &tasks in effort.crowds {
        let (mut worker, _) = gathered(Contestant::Subscriber, tasks)?;
        for &look in looks {
            let times = match look {
                Look::SlowListing => 1,
                _ if tasks == effort.largest() => effort.looks_at_largest,
                _ => effort.looks,
            };
            let looked: Looked = worker.ask(Request::Look { look, times })?;
            let wall = Figure::of_times(looked.as_usual.iter().map(|window| window.wall));
            walls.push((look, tasks, wall.median));
            table.push(row(look, tasks, &wall, &looked));
        }
    }
    let largest = effort.largest();
    let smallest = effort.crowds.first().copied().unwrap_or(0);
    // A slow reader takes the time that it sleeps.
    let timed = looks.iter().filter(|look| **look != Look::SlowListing);
    for &look in timed {
        let each = |tasks: usize| {
            let found = walls.iter().find(|wall| (wall.0, wall.1) == (look, tasks));
            found.map_or(0.0, |wall| wall.2 / tasks as f64)
        };
        let (of_many, of_few) = (each(largest), each(smallest));
        let mut cells = [const { String::new() }; 11];
        cells[0] = format!(
            "{}, of one task of {} against {}, ≤ {TARGET_GROWTH}",
            name(look),
            table::count(largest),
            table::count(smallest)
        );
        cells[1] = format!("{:.2} ({:.0} ns)", of_many / of_few, of_many * 1e9);
        table.push(cells);
    }
    Ok(table)
}

fn row(look: Look, tasks: usize, wall: &Figure, looked: &Looked) -> [String; 11] {
    let windows = &looked.as_usual;
    let times = |of: fn(&Window) -> Duration| Figure::of_times(windows.iter().map(of));
    let delays = times(|window| window.delays.looking);
    let quiet = times(|window| window.delays.quiet);
    let spinning = times(|window| window.delays.beside_spinning);
    let preferred = |of: fn(&Window) -> Duration| {
        let times = looked.preferred.iter().map(of);
        Figure::of_times(times)
    };
    let memory = windows.iter().map(|window| window.peak_growth).max();
    let bytes = stats::median(windows.iter().map(|window| window.bytes));
    let target = match look {
        Look::Grouped if tasks == 1_000_000 => format!(", ≤ {}", table::time(TARGET_GROUPED)),
        Look::Listing if tasks == 1_000_000 => format!(", ≤ {}", table::time(TARGET_LISTING)),
        _ => String::new(),
    };
    [
        format!("{} of {}", name(look), table::count(tasks)),
        format!("{}{target}", wall.time_and_spread()),
        times(|window| window.detector).time(),
        times(|window| window.process).time(),
        delays.time_and_worst(),
        quiet.time_and_worst(),
        spinning.time_and_worst(),
        added(&delays, &quiet),
        added(
            &preferred(|window| window.delays.looking),
            &preferred(|window| window.delays.quiet),
        ),
        table::megabytes(memory.unwrap_or(0)),
        table::megabytes(bytes),
    ]
}

/// By how much the first are longer: medians, and the worst.
fn added(delays: &Figure, quiet: &Figure) -> String {
    let ms = |of: fn(&Figure) -> f64| (of(delays) - of(quiet)) * 1e3;
    let (median, worst) = (ms(|figure| figure.median), ms(|figure| figure.worst));
    let target = table::time(TARGET_DELAY);
    format!("{median:+.2} ms, the worst {worst:+.2} ms; ≤ {target}")
}

fn name(look: Look) -> &'static str {
    match look {
        Look::Snapshot => "snapshot",
        Look::Grouped => "grouped",
        Look::Listing => "listing",
        Look::SlowListing => "listing, to a slow reader",
    }
}

/// One process after the other, so that the machine has to hold but one crowd.
pub(crate) fn memory(effort: Effort) -> Result<Table, Error> {
    let bytes_each = |contestant| -> Result<f64, Error> {
        let (mut worker, bytes) = gathered(contestant, effort.largest())?;
        if contestant != Contestant::Plain {
            worker.ask::<()>(Request::Check)?;
        }
        bytes.ok_or(Error::NoCrowd)
    };
    let plain = bytes_each(Contestant::Plain)?;
    let mut table = Table::new([
        &format!(
            "memory of each of {} waiting tasks",
            table::count(effort.largest())
        ),
        "on top of tokio's own",
        "target",
    ]);
    for contestant in [Contestant::Subscriber, Contestant::Layer] {
        table.push([
            format!("{}, beside {plain:.0} B", contestant.name()),
            format!("{:.0} B", bytes_each(contestant)? - plain),
            format!("≤ {TARGET_BYTES} B"),
        ]);
    }
    Ok(table)
}

pub(crate) fn sweeps(effort: Effort) -> Result<Table, Error> {
    let mut table = Table::new([
        "sweep of the watchdog",
        "CPU of its thread",
        "longest delay of a 1 ms tick",
        "… without a sweep",
        "added",
        "… with the runtime's threads preferred",
    ]);
    for &tasks in effort.crowds {
        let (mut worker, _) = gathered(Contestant::Watchdog, tasks)?;
        let seen: Sweeps = worker.ask(Request::Sweeps {
            sweeps: effort.sweeps,
        })?;
        let of = |times: &[Duration]| Figure::of_times(times.iter().copied());
        let usual = &seen.as_usual;
        let (used, delays, quiet) = (of(&usual.processor), of(&usual.delays), of(&usual.quiet));
        let preferred = seen.preferred.as_ref();
        let preferred = preferred.map(|swept| added(&of(&swept.delays), &of(&swept.quiet)));
        let target = match tasks {
            1_000_000 => format!(", ≤ {}", table::time(TARGET_SWEEP)),
            _ => String::new(),
        };
        table.push([
            format!("over {}", table::count(tasks)),
            format!("{}{target}", used.time_and_worst()),
            delays.time_and_worst(),
            quiet.time_and_worst(),
            added(&delays, &quiet),
            preferred.unwrap_or_default(),
        ]);
    }
    Ok(table)
}

/// The first answer of this program, and of a large one.
pub(crate) fn first_answers(effort: Effort) -> Result<Table, Error> {
    let mut table = Table::new([
        "first answer of a process",
        "program",
        "wall",
        "CPU",
        "memory",
        "… without pages of files",
        "the second answer",
    ]);
    let large = large::build()?;
    let this = std::env::current_exe().map_err(Error::Program)?;
    let smallest = effort.crowds.first().copied().unwrap_or(0);
    for (label, program) in [("this program", this), ("the same, large", large)] {
        let answers = (0..effort.first_answers).map(|_| {
            let mut worker = Worker::start_program(&program, Contestant::Subscriber)?;
            let _bytes: Option<f64> = worker.ask(Request::Crowd { tasks: smallest })?;
            worker.ask(Request::FirstAnswer)
        });
        let answers = answers.collect::<Result<Vec<FirstAnswer>, Error>>()?;
        let times = |of: fn(&FirstAnswer) -> Duration| Figure::of_times(answers.iter().map(of));
        let most = |of: fn(&FirstAnswer) -> u64| answers.iter().map(of).max().unwrap_or(0);
        table.push([
            label.to_owned(),
            table::megabytes(most(|answer| answer.program)),
            times(|answer| answer.wall).time_and_spread(),
            times(|answer| answer.processor).time(),
            table::megabytes(most(|answer| answer.peak_growth)),
            table::megabytes(most(|answer| answer.anonymous_growth)),
            times(|answer| answer.second).time(),
        ]);
    }
    Ok(table)
}

/// A worker that has gathered the crowd, and the bytes that each task of it took.
fn gathered(contestant: Contestant, tasks: usize) -> Result<(Worker, Option<f64>), Error> {
    let mut worker = Worker::start(contestant)?;
    let bytes_each = worker.ask(Request::Crowd { tasks })?;
    Ok((worker, bytes_each))
}
