//! The process in which one variant runs: it installs it, and then does what the runner asks.

mod cases;
mod check;
mod clock;
#[cfg(feature = "taskleak")]
mod crowd;
mod installed;
mod instrument;
#[cfg(feature = "tracing")]
mod reads;
#[cfg(feature = "taskleak")]
mod tests;
mod worker;

use std::env;
use std::process::ExitCode;
use std::thread;

use crate::error::Error;
use crate::variant::Variant;

pub(crate) fn contend() -> ExitCode {
    // As every service has: in a process of one thread glibc's malloc and free take no lock, and
    // whatever starts a thread would seem to cost that.
    thread::spawn(sleep_for_ever);
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

fn sleep_for_ever() {
    loop {
        thread::park();
    }
}
