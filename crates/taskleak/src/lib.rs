//! An async task leak detector for tokio.
#![doc = ""]

#[cfg(feature = "macros")]
#[doc(hidden)]
#[path = "main_macro.rs"]
pub mod __main;
mod clock;
#[cfg(feature = "console")]
mod console;
mod detector;
mod error;
mod health;
#[cfg(feature = "http")]
mod http;
mod key;
mod layer;
mod polls;
mod record;
mod recorder;
mod reporter;
mod runtime;
mod runtimes;
mod subscriber;
mod sync;
mod table;
mod tokio_trace;

#[cfg(feature = "console")]
pub use console::{CONSOLE_ADDRESS, ConsoleBuilder, WithConsole};
pub use detector::{Builder, Detector};
pub use error::{InstallError, NotRecording, Reason};
#[cfg(feature = "http")]
pub use http::{Body, BodyError, DebugService, ServeError, Server};
pub use layer::{FilteredTaskLayer, TaskLayer};
pub use runtime::{BuildWatched, WatchedRuntime};
pub use subscriber::TaskSubscriber;
#[cfg(feature = "macros")]
pub use taskleak_macros::main;
pub use taskleak_profile::snapshot::Snapshot;
