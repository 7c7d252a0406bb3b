//! The process in which one variant runs: it installs it, and then does what the runner asks.

mod cases;
mod check;
mod clock;
#[cfg(feature = "taskleak")]
mod crowd;
mod installed;
mod instrument;
#[cfg(feature = "taskleak")]
mod tests;
mod worker;

use std::env;
use std::process::ExitCode;

use crate::error::Error;
use crate::variant::Variant;

pub(crate) fn contend() -> ExitCode {
    let name = env::args().nth(1).unwrap_or_default();
    let variant = Variant::ALL.into_iter().find(|one| one.name() == name);
    match variant.ok_or(Error::NoVariant(name)).and_then(worker::work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
