//! What taskleak costs, beside the same program without it.
//!
//! ```text
//! cargo bench -p taskleak-bench              # a minute or two
//! cargo bench -p taskleak-bench -- --quick   # every section at a small size
//! ```
//!
//! A subscriber is global to its process, so each contestant runs in one of its own: the program
//! starts itself again as a worker and asks it for one piece of work after the other.
//!
//! ```text
//! report ── race ── process ══ lines of JSON ══ worker ─┬─ program   (time of an operation)
//!     └────────────────┘                                ├─ tests     (the guard)
//!                                                       ├─ crowd     (a million tasks)
//!                                                       ├─ looks     (snapshots and lists of them)
//!                                                       └─ sweeps    (the watchdog's look)
//! ```
//!
//! The rules:
//! 1. Figures are ratios, or differences, to the same program without the detector, run by the
//!    same binary in the same session: a noisy machine hits both.
//! 2. A measurement that did not measure what it should (too few tasks seen, an answer cut
//!    short) is an error, not a figure.

mod at_work;
mod contestant;
mod crowd;
mod crowds;
mod endpoint;
mod error;
mod expected;
mod kinds;
mod large;
mod looks;
mod preferred;
mod process;
mod processor;
mod program;
mod protocol;
mod race;
mod report;
mod resident;
mod stats;
mod sweeps;
mod table;
mod tests;
mod worker;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::contestant::Contestant;

#[derive(Parser)]
#[command(about = "Measures what taskleak costs, beside the same program without it")]
struct Args {
    /// Measures everything at a small size: to see that it works, not for figures
    #[arg(long)]
    quick: bool,
    /// Measures only this part; may be repeated
    #[arg(long, value_enum)]
    only: Vec<Section>,
    /// Runs as a worker of this contestant
    #[arg(long, value_enum, hide = true)]
    worker: Option<Contestant>,
    /// Passed by `cargo bench`; means nothing here
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// A part of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// The time of a spawn and of a park
    Time,
    /// The memory of a waiting task
    Memory,
    /// A snapshot, alone and as the text of all groups: what it takes, and what it does to a
    /// runtime at work
    Grouped,
    /// The list of every task, likewise
    Listing,
    /// The watchdog's look at all of them
    Sweep,
    /// The first answer of a process, which reads the symbols: of this program, and of one of
    /// 100 MB
    FirstAnswer,
    /// The guard on a test that leaks nothing
    Test,
}

/// The program: its arguments are those of the process.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.worker {
        Some(contestant) => worker::work(contestant),
        None => report::print(args.quick, &args.only),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
