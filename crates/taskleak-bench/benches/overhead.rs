//! `cargo bench -p taskleak-bench`; the code is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    taskleak_bench::main()
}
