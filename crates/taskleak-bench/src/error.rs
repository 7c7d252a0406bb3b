//! The errors of a contestant: one line each, of action, object and cause.

use std::io;

#[cfg(feature = "taskleak")]
use taskleak::{InstallError, NotRecording, OptionError, ServeError};
#[cfg(feature = "tracing")]
use tracing::subscriber::SetGlobalDefaultError;

/// Something that was to be measured could not be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot talk to the runner: {0}")]
    Runner(io::Error),
    #[error("cannot run {0:?}: there is no such variant")]
    NoVariant(String),
    #[error("cannot run {0}: it needs another build")]
    OtherBuild(&'static str),
    #[cfg(taskleak_dial9)]
    #[error("cannot write the trace: {0}")]
    Trace(io::Error),
    #[cfg(taskleak_dial9)]
    #[error("cannot run more: the trace has ended")]
    TraceOver,
    #[cfg(taskleak_dial9)]
    #[error("the trace has but {bytes} bytes")]
    NoTrace { bytes: u64 },
    #[error("cannot start the server: {0}")]
    Server(io::Error),
    #[cfg(feature = "taskleak")]
    #[error("the snapshot shows [{seen}], and there are [{there}]")]
    WrongGroups { seen: String, there: String },
    #[cfg(feature = "taskleak")]
    #[error("the detector counted {seen} tasks, and {spawned} were spawned")]
    WrongCount { seen: u64, spawned: u64 },
    #[cfg(feature = "peers")]
    #[error("the subscriber that reads tokio's events found none")]
    NothingRead,
    #[cfg(feature = "peers")]
    #[error("the peer knows of {seen} tasks, and there are {there}")]
    NotSeen { seen: u64, there: u64 },
    #[cfg(feature = "peers")]
    #[error("cannot see what console-subscriber recorded: {0}")]
    Console(String),
    #[cfg(feature = "taskleak")]
    #[error(transparent)]
    Install(#[from] InstallError),
    #[cfg(feature = "taskleak")]
    #[error(transparent)]
    Option(#[from] OptionError),
    #[cfg(feature = "tracing")]
    #[error("cannot install the subscriber: {0}")]
    Layer(#[from] SetGlobalDefaultError),
    #[cfg(feature = "taskleak")]
    #[error(transparent)]
    NotRecording(#[from] NotRecording),
    #[cfg(feature = "taskleak")]
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("cannot build a runtime: {0}")]
    Runtime(io::Error),
    #[cfg(feature = "taskleak")]
    #[error("cannot measure resident memory: {0}")]
    Resident(io::Error),
    #[cfg(feature = "taskleak")]
    #[error("cannot get {path}: {cause}")]
    Get {
        path: &'static str,
        cause: io::Error,
    },
    #[cfg(feature = "taskleak")]
    #[error("the answer is wrong: {0}")]
    Wrong(String),
    #[cfg(feature = "taskleak")]
    #[error("cannot measure processor time: {0}")]
    Processor(io::Error),
    #[cfg(feature = "taskleak")]
    #[error("cannot read the program: {0}")]
    Program(io::Error),
    #[cfg(feature = "taskleak")]
    #[error("the watchdog did not find {stuck} tasks stuck")]
    NoVerdict { stuck: u64 },
    #[cfg(feature = "taskleak")]
    #[error("the watchdog did not sweep {sweeps} times")]
    NoSweep { sweeps: usize },
    #[cfg(feature = "taskleak")]
    #[error("the contestant has no detector")]
    NoDetector,
    #[cfg(feature = "taskleak")]
    #[error("the worker has started no tasks")]
    NoCrowd,
}
