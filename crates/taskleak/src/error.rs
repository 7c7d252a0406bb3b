//! The errors of this crate: one line each, of action, object and cause.

use std::fmt;

use taskleak_profile::allow::Allow;

/// The detector could not be installed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot install the detector: {cause}")]
pub struct InstallError {
    cause: InstallCause,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallCause {
    #[error("it is installed already")]
    Twice,
    #[error("another global subscriber is installed; pass it to `Builder::wrap` instead")]
    OtherSubscriber,
    #[error("{0}")]
    NotRecording(NotRecording),
}

impl From<InstallCause> for InstallError {
    fn from(cause: InstallCause) -> Self {
        InstallError { cause }
    }
}

/// An option of the [`Builder`](crate::Builder) that makes no sense: the line names it, the value,
/// and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OptionError {
    message: String,
}

impl OptionError {
    pub(crate) fn new(message: String) -> Self {
        OptionError { message }
    }

    /// Reads an allow rule.
    pub(crate) fn rule(rule: &str) -> Result<Allow, OptionError> {
        rule.parse()
            .map_err(|error| OptionError::new(format!("cannot allow: {error}")))
    }
}

/// The detector spawned a task and did not see it, so it sees none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("taskleak records no tasks: {reason}")]
pub struct NotRecording {
    reason: Reason,
}

impl NotRecording {
    /// Which of the known causes it is.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl From<Reason> for NotRecording {
    fn from(reason: Reason) -> Self {
        NotRecording { reason }
    }
}

/// Why the detector sees no tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The program was built without `--cfg tokio_unstable`.
    NoTokioUnstable,
    /// tokio was built without its feature `tracing`.
    NoTokioTracing,
    /// `tracing` was built with a static maximum level below TRACE.
    StaticMaxLevel,
    /// The subscriber that `wrap` or `layer` gave is not the one in force: none is.
    NotInstalled,
    /// Another subscriber is in force.
    OtherSubscriber,
    /// The subscriber is in force, and a filter that stands before it takes tokio's spans away,
    /// or this version of tokio tells less than the detector needs.
    Filtered,
    /// Another subscriber has taken its place on this thread, after it was in force.
    OverriddenHere,
    /// The task that makes a guard was spawned before the detector was in force.
    SpawnedBefore,
    /// Too many scopes are open, or were outlived by tasks.
    TooManyScopes,
    /// The tasks of the process are looked at when it exits already.
    WatchedAtExit,
    /// The check itself failed: no thread or no runtime could be made for it.
    NotChecked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NoTokioUnstable => {
                "the program was built without `--cfg tokio_unstable`; put \
                 `rustflags = [\"--cfg\", \"tokio_unstable\"]` under `[build]` in \
                 `.cargo/config.toml` (RUSTFLAGS, where it is set, replaces that)"
            }
            Reason::NoTokioTracing => "tokio was built without its feature `tracing`",
            Reason::StaticMaxLevel => {
                "`tracing` was built with a static maximum level below TRACE; remove its \
                 features `max_level_…` and `release_max_level_…`"
            }
            Reason::NotInstalled => {
                "no subscriber is in force; install the one that `wrap` or `layer` gave, \
                 or use `Builder::install`"
            }
            Reason::OtherSubscriber => {
                "another global subscriber is in force; pass it to `Builder::wrap` before it \
                 is installed"
            }
            Reason::Filtered => {
                "tokio's task spans or waker events do not reach it; a filter that stands \
                 before the layer, or a version of tokio other than 1.51 and later, takes them"
            }
            Reason::OverriddenHere => {
                "another subscriber is in force on this thread (`set_default`, `with_default`), so \
                 what is spawned under it is not seen; pass it through `taskleak::recording` \
                 before it is set"
            }
            Reason::SpawnedBefore => {
                "the task that makes the guard was spawned before a detector was in force; make \
                 the guard in the test's body, or run the test by `#[taskleak::test]`"
            }
            Reason::TooManyScopes => {
                "there is no room for a further scope: more than a million are open, or have \
                 tasks that outlived them"
            }
            Reason::WatchedAtExit => {
                "`GuardBuilder::at_exit` was called before; it takes one set of options"
            }
            Reason::NotChecked => "the check of it could not run (no thread or runtime for it)",
        })
    }
}
