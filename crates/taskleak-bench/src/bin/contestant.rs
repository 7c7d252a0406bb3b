//! A process in which one variant runs the cases; the runner builds and starts it.

use std::process::ExitCode;

fn main() -> ExitCode {
    taskleak_bench::contend()
}
