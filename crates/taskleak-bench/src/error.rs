//! The errors: one line each, of action, object and cause.

use std::io;

use taskleak::{InstallError, NotRecording, OptionError, ServeError};
use tracing::subscriber::SetGlobalDefaultError;

/// Something that was to be measured could not be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot start the worker {worker}: {cause}")]
    Start {
        worker: &'static str,
        cause: io::Error,
    },
    #[error("cannot talk to the worker {worker}: {cause}")]
    Talk {
        worker: &'static str,
        cause: io::Error,
    },
    #[error("the worker {worker} failed: {why}")]
    Worker { worker: &'static str, why: String },
    #[error("cannot talk to the parent: {0}")]
    Parent(io::Error),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error("cannot install the layer: {0}")]
    Layer(#[from] SetGlobalDefaultError),
    #[error(transparent)]
    NotRecording(#[from] NotRecording),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("cannot build a runtime: {0}")]
    Runtime(io::Error),
    #[error("cannot measure resident memory: {0}")]
    Resident(io::Error),
    #[error("cannot get {path}: {cause}")]
    Get {
        path: &'static str,
        cause: io::Error,
    },
    #[error("the answer is wrong: {0}")]
    Wrong(String),
    #[error("cannot measure processor time: {0}")]
    Processor(io::Error),
    #[error("cannot read the program: {0}")]
    Program(io::Error),
    #[error("cannot build a large program: {0}")]
    BuildLarge(io::Error),
    #[error("the large program has {bytes} bytes, not about 100 MB")]
    NotLarge { bytes: u64 },
    #[error("the watchdog did not find {stuck} tasks stuck")]
    NoVerdict { stuck: u64 },
    #[error("the watchdog did not sweep {sweeps} times")]
    NoSweep { sweeps: usize },
    #[error("the contestant has no detector")]
    NoDetector,
    #[error("the worker has started no tasks")]
    NoCrowd,
}
