//! Every tokio task of the process: where it was created, where it waits, for how long.
//!
//! A leaked task waits for ever, nearly always on a channel, and keeps its memory. This crate
//! records each task that any library spawns, with the backtrace of its spawn and the await
//! stack where it is parked, and serves them grouped, as Go's goroutine profile does.
//!
//! ```
//! use taskleak::{BuildWatched, Detector};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let detector = Detector::builder().install()?;
//!     let runtime = tokio::runtime::Builder::new_multi_thread()
//!         .enable_all()
//!         .build_watched(&detector)?;
//!     let server = detector.serve("127.0.0.1:0")?; // 6060, say
//!     println!("curl http://{}/debug/tasks", server.local_addr());
//!     runtime.block_on(async { /* the service */ });
//!     Ok(())
//! }
//! ```
//!
//! The program has to be built with `--cfg tokio_unstable`, without which tokio says nothing of
//! its tasks; [`Builder::install`] and [`Detector::verify`] say so if it was not.
//!
//! - A program with a `tracing` subscriber passes it to [`Builder::wrap`]; one that composes a
//!   `Registry` itself takes [`Builder::layer`].
//! - [`Detector::snapshot`] gives the tasks as data; [`taskleak_profile`] filters and renders it.
//! - A watchdog judges groups of tasks that wait too long: in the snapshot, at `/debug/leaks`, as
//!   `tracing` events of the target `taskleak`, and to [`Builder::on_verdict`].
//!   [`taskleak_profile::verdict`] has its rules and their limits; [`Builder::allow`] and
//!   [`daemon`] silence it on purpose.
//! - [`scope`] names a request or a job; tasks that outlive it are shown as such, and are evidence.
//! - `#[taskleak::test]` and `Guard` (feature `test`) fail tests that leave tasks behind.
//! - `Builder::console` (feature `console`) runs tokio-console's server beside it.
//!
//! # What it can't see
//!
//! - Tasks that were spawned before the detector was in force, and, while another subscriber is
//!   in force on a thread (`tracing::subscriber::set_default`), what happens there.
//! - What a `block_on` future waits for: tokio gives it a waker that tells nothing.
//! - What futures within a `FuturesUnordered` and its like wait for: they get wakers of its own.
//!   The task then shows as `sub-executor`.
//! - Which of a task's wakers is gone: all are alike. For a task that waits on several things at
//!   once, a stack that is shown may be of an await that has ended since; the group's
//!   `waits_guessed` counts such tasks, but for those where a timer has fired, which may stay shown.
//! - Whether a task that waits is meant to. A verdict weighs evidence; none is a proof.

#[cfg(feature = "macros")]
#[doc(hidden)]
#[path = "main_macro.rs"]
pub mod __main;
mod clock;
#[cfg(feature = "console")]
mod console;
mod daemon;
mod detector;
mod error;
mod free_list;
#[cfg(feature = "test")]
mod guard;
mod health;
#[cfg(feature = "http")]
mod http;
mod in_force;
mod key;
mod layer;
mod memory;
mod options;
mod polls;
mod record;
mod recorder;
mod reporter;
mod runtime;
mod runtimes;
mod scope;
mod scopes;
mod slots;
mod state;
mod subscriber;
mod sweep;
mod sync;
mod table;
mod teller;
mod tokio_trace;
mod waits;
mod watchdog;

#[cfg(feature = "console")]
pub use console::{CONSOLE_ADDRESS, ConsoleBuilder, WithConsole};
pub use daemon::daemon;
pub use detector::{Builder, Detector};
pub use error::{InstallError, NotRecording, OptionError, Reason};
#[cfg(feature = "test")]
#[doc(hidden)]
pub use guard::test as __test;
#[cfg(feature = "test")]
pub use guard::{Guard, GuardBuilder, Leaks, recording};
#[cfg(feature = "http")]
pub use http::{Body, BodyError, DebugService, ServeError, Server};
pub use layer::{FilteredTaskLayer, TaskLayer};
pub use runtime::{BuildWatched, WatchedRuntime};
pub use scope::{Scope, scope};
pub use subscriber::TaskSubscriber;
#[cfg(feature = "macros")]
pub use taskleak_macros::main;
#[cfg(feature = "test")]
pub use taskleak_macros::test;
pub use taskleak_profile::{
    self,
    flags::Change,
    snapshot::{Snapshot, Wait},
};
pub use teller::Report;
