//! The errors of the runner: one line each, of action, object and cause.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Something that was to be measured could not be, or could not be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot run cargo for the build {build}: {cause}")]
    Cargo {
        build: &'static str,
        cause: io::Error,
    },
    #[error("cannot build the contestants of {build}: cargo ended with {status}")]
    Build {
        build: &'static str,
        status: ExitStatus,
    },
    #[error("cannot start the contestant {variant}: {cause}")]
    Start {
        variant: &'static str,
        cause: io::Error,
    },
    #[error("cannot talk to the contestant {variant}: {cause}")]
    Talk {
        variant: &'static str,
        cause: io::Error,
    },
    #[error("the contestant {variant} failed: {why}")]
    Contestant { variant: &'static str, why: String },
    #[error("{case} under {variant}: {cause}")]
    Case {
        case: &'static str,
        variant: &'static str,
        cause: Box<Error>,
    },
    #[error("the large program has {bytes} bytes, not about 100 MB")]
    NotLarge { bytes: u64 },
    #[error("cannot ask the server for its answer: {0}")]
    Load(io::Error),
    #[error("cannot write {path}: {cause}")]
    Write { path: PathBuf, cause: io::Error },
    #[error("cannot draw {path}: {cause}")]
    Draw { path: PathBuf, cause: String },
}
