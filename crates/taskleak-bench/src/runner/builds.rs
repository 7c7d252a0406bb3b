//! The builds of the contestants: a variant needs its own tokio and its own compiler flags, so
//! the runner has cargo build one binary for each, in a target directory of its own.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::variant::Variant;

use super::error::Error;

/// A build of the contestant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// tokio without `tracing`.
    Plain,
    /// tokio as taskleak wants it; stacks are unwound by framehop.
    Framehop,
    /// The same with frame pointers.
    FramePointers,
    /// tokio as dial9 wants it.
    Dial9,
    /// As `Framehop`, with the functions too that nobody calls.
    Large,
}

impl Build {
    const ALL: [Build; 5] = [
        Build::Plain,
        Build::Framehop,
        Build::FramePointers,
        Build::Dial9,
        Build::Large,
    ];

    /// The one that has a variant.
    pub(crate) fn of(variant: Variant) -> Build {
        match variant {
            Variant::NoTracing => Build::Plain,
            Variant::BaseFp | Variant::SubscriberFp => Build::FramePointers,
            Variant::Dial9 => Build::Dial9,
            Variant::Base
            | Variant::Reads
            | Variant::Subscriber
            | Variant::Layer
            | Variant::Watchdog
            | Variant::AwaitTree
            | Variant::AsyncBacktrace
            | Variant::Console => Build::Framehop,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Build::Plain => "plain",
            Build::Framehop => "framehop",
            Build::FramePointers => "frame-pointers",
            Build::Dial9 => "dial9",
            Build::Large => "large",
        }
    }

    fn features(self) -> &'static str {
        match self {
            Build::Plain | Build::Dial9 => "contestant",
            Build::Framehop | Build::FramePointers | Build::Large => "taskleak,peers",
        }
    }

    /// For `RUSTFLAGS`, which replace those of `.cargo/config.toml`.
    fn flags(self) -> &'static str {
        match self {
            Build::Plain | Build::Framehop => "--cfg tokio_unstable",
            Build::FramePointers => "--cfg tokio_unstable -C force-frame-pointers=yes",
            Build::Dial9 => "--cfg tokio_unstable --cfg taskleak_dial9",
            Build::Large => "--cfg tokio_unstable -C link-dead-code",
        }
    }

    /// The contestant's binary.
    pub(crate) fn program(self) -> PathBuf {
        self.target().join("release/contestant")
    }

    fn target(self) -> PathBuf {
        workspace().join("target/bench").join(self.name())
    }

    fn make(self) -> Result<(), Error> {
        let build = self.name();
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let status = Command::new(cargo)
            .current_dir(workspace())
            .args(["build", "--release", "--package", "taskleak-bench"])
            .args(["--bin", "contestant", "--no-default-features"])
            .args(["--features", self.features()])
            .arg("--target-dir")
            .arg(self.target())
            .env("RUSTFLAGS", self.flags())
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .status()
            .map_err(|cause| Error::Cargo { build, cause })?;
        if !status.success() {
            return Err(Error::Build { build, status });
        }
        Ok(())
    }
}

/// Makes those that are named, each once.
pub(crate) fn make(builds: &[Build]) -> Result<(), Error> {
    let named = |build: &Build| builds.contains(build);
    Build::ALL
        .into_iter()
        .filter(named)
        .try_for_each(Build::make)
}

/// The root of the workspace: the runner is used where it was built.
pub(crate) fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}
