//! What taskleak costs, beside the same programs without it and under its peers.
//!
//! ```text
//! cargo run --release -p taskleak-bench              # everything
//! cargo run --release -p taskleak-bench -- --quick   # everything at a small size
//! cargo run --release -p taskleak-bench -- --help
//! ```
//!
//! A subscriber is global to its process, and what tokio is built with to its binary. So each
//! variant runs in processes of its own, of a build of its own: the runner builds the contestants
//! with cargo, starts them, and asks them for one piece of work after the other.
//!
//! ```text
//! runner ── times ── race ── process ══ lines of JSON ══ contestant ─┬─ cases (an operation)
//!    │                  │      │ │                                   ├─ check (what was recorded)
//!    │                  load ──┼─┼── HTTP ── a case that serves      ├─ crowd (a million tasks)
//!    │         crowds, tests ──┘ builds (cargo)                      └─ tests (the guard)
//!    └─ Figures ─┬─ report (text, with targets)
//!                ├─ JSON
//!                ├─ chart (SVG)
//!                └─ targets (--check)
//! ```
//!
//! The rules:
//! 1. Figures are ratios, or differences, to the same program without the detector, run in the
//!    same session: a noisy machine hits both.
//! 2. A measurement that did not measure what it should (too few tasks seen, an answer cut short,
//!    a profile that is not what the program does) is an error, not a figure.
//! 3. What is measured becomes a `Figure`; everything that is shown or checked is made of those.

mod case;
// A contestant without the detector has no crowd to tell of.
#[cfg_attr(not(any(feature = "runner", feature = "taskleak")), allow(dead_code))]
mod protocol;
mod variant;

#[cfg(feature = "runner")]
mod runner;

#[cfg(feature = "contestant")]
mod contestant;
#[cfg(feature = "contestant")]
mod error;

/// The runner: its arguments are those of the process.
#[cfg(feature = "runner")]
#[must_use]
pub fn run() -> std::process::ExitCode {
    runner::run()
}

/// A contestant: the process's argument is the name of its variant.
#[cfg(feature = "contestant")]
#[must_use]
pub fn contend() -> std::process::ExitCode {
    contestant::contend()
}
