//! `cargo run --release -p taskleak-bench`; the code is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    taskleak_bench::run()
}
