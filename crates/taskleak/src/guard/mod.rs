//! Tests that fail on leaked tasks: what a guard covers, and what is left of it.
//!
//! | to change | open |
//! |---|---|
//! | which tasks are a guard's | this file |
//! | how long it waits for them | `settle.rs` |
//! | what `#[taskleak::test]` does | `test.rs`, `root.rs`, `alarm.rs` |
//! | which detector tests record with | `harness.rs`, `forward.rs` |
//! | what becomes of a failure | `mode.rs`, `running.rs`, `exit.rs` |

mod alarm;
mod exit;
mod forward;
mod harness;
mod mode;
mod options;
mod root;
mod running;
mod settle;
#[doc(hidden)]
pub mod test;
mod watch;

use std::panic::Location;
use std::sync::Arc;

pub use harness::recording;
pub use options::GuardBuilder;
pub use taskleak_profile::leaks::Leaks;
use taskleak_profile::leaks::{Form, Owner};

use self::mode::Mode;
use self::watch::Watch;
use crate::error::{NotRecording, Reason};
use crate::key::Key;
use crate::recorder::Recorder;
use crate::scopes::{self, ScopeId};
use crate::{health, polls};

/// Finds the tasks that are left of a piece of code: what is spawned from its making on, by the
/// task that made it or by what that spawned, through any number of spawns.
///
/// In a test, [`#[taskleak::test]`](macro@crate::test) does the same with less. A guard is for a
/// part of a test, or for a runtime of your own:
///
/// ```
/// # async fn use_the_pool() {}
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let guard = taskleak::Guard::new();
/// use_the_pool().await;
/// guard.verify().await; // panics if tasks are left, with a page that says where they wait
/// # });
/// ```
///
/// ```
/// let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// let guard = taskleak::Guard::new();
/// runtime.block_on(async {
///     tokio::spawn(std::future::pending::<()>());
///     tokio::task::yield_now().await;
/// });
/// for group in &guard.leaks() {
///     assert_eq!(group.count, 1);
/// }
/// ```
///
/// Tasks are told apart by who spawned them, so tests may run in parallel, and share a runtime.
/// Tasks that are meant to stay are allowed: [`daemon`](crate::daemon),
/// [`GuardBuilder::allow`]; [`taskleak_profile::noise`] lists what is allowed out of the box.
///
/// # Limits
///
/// - It sees what tasks spawn, and `spawn_blocking`. What a thread of your own spawns (through a
///   `Handle`) belongs to no guard but one of the [whole
///   process](GuardBuilder::whole_process).
/// - Where it was made outside of a task, it covers what its thread spawns outside of tasks.
/// - While another subscriber is in force on a thread (`tracing::subscriber::set_default` after the
///   guard was made), what is spawned there is not seen. If that is so where the guard is asked, it
///   says so.
/// - tokio drops the tasks of a runtime with it: ask before.
#[must_use = "a guard that is not asked finds nothing"]
#[derive(Debug)]
pub struct Guard {
    watch: Arc<Watch>,
    place: Option<Place>,
}

impl Guard {
    /// Watches over what is spawned from now on.
    ///
    /// # Panics
    ///
    /// If tasks can't be recorded here, with the line that mends it: the program was built without
    /// `--cfg tokio_unstable`, say. [`GuardBuilder::start`] returns that instead.
    #[track_caller]
    #[expect(
        clippy::new_without_default,
        reason = "where it is made says what it covers"
    )]
    pub fn new() -> Guard {
        match Guard::builder().start() {
            Ok(guard) => guard,
            Err(error) => panic!("cannot make a guard: {error}"),
        }
    }

    /// Starts the making of a guard with options.
    pub fn builder() -> GuardBuilder {
        GuardBuilder::default()
    }

    /// Waits until its tasks have ended, no longer than it [may](GuardBuilder::settle), and fails
    /// if some are left.
    ///
    /// # Panics
    ///
    /// If tasks are left, with a page that says what they wait for, where, and who spawned them. If
    /// the environment variable `TASKLEAK_TEST` is `warn`, it writes the page to standard error
    /// instead.
    #[track_caller]
    pub fn verify(self) -> impl Future<Output = ()> + Send {
        let at = Location::caller();
        async move {
            let left = self.watch.settled().await;
            let mode = Mode::of_environment();
            if let Err(error) = &mode {
                panic!("{error}");
            }
            if let (Some(leaks), Ok(mode)) = (left, mode) {
                mode.tell(&format!("{leaks}\nverified at {at}"));
            }
        }
    }

    /// Waits as [`verify`](Self::verify) does, and gives what is left.
    pub async fn settled(&self) -> Leaks {
        match self.watch.settled().await {
            Some(leaks) => leaks,
            None => self.watch.nothing_left(),
        }
    }

    /// Those of its tasks that are alive now, but for the one that asks.
    pub fn leaks(&self) -> Leaks {
        self.watch.leaks(std::time::Duration::ZERO)
    }

    fn start(watch: Watch) -> Result<Guard, NotRecording> {
        let recorder = &watch.detector.shared.recorder;
        if polls::innermost(recorder.id()).is_none() && tokio::task::try_id().is_some() {
            return Err(Reason::SpawnedBefore.into());
        }
        let place = watch.scope().map(|scope| Place::put(recorder, scope));
        let watch = Arc::new(watch);
        running::note(&watch);
        Ok(Guard { watch, place })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let (Some(place), Some(scope)) = (self.place.take(), self.watch.scope()) {
            place.restore(&self.watch.detector.shared.recorder, scope);
        }
    }
}

/// Whose spawns were put into a guard's scope.
#[derive(Debug)]
enum Place {
    /// Those of a task, which belongs to the scope itself while the guard lives.
    Task { key: Key, outer: Option<ScopeId> },
    /// Those of a `taskleak::scope` future, or of a thread outside of tasks.
    Here { outer: Option<ScopeId> },
}

impl Place {
    /// The place holds the scope on its own, so that it never leads to another one.
    fn put(recorder: &Recorder, scope: ScopeId) -> Place {
        scopes::hold(scope);
        let outer = recorder.scope_here();
        let is_scope = polls::scope_here().is_some();
        let task = polls::innermost(recorder.id()).filter(|_| !is_scope);
        match task.and_then(|poll| recorder.move_polled(poll.key, Some(scope))) {
            Some(key) => Place::Task { key, outer },
            None => {
                polls::replace_scope(Some(scope));
                Place::Here { outer }
            }
        }
    }

    /// Where it is dropped elsewhere than it was made, nothing is put back: what is spawned there
    /// goes to the scope around, because this one has ended (`scopes.rs`, rule 5).
    fn restore(self, recorder: &Recorder, scope: ScopeId) {
        match self {
            Place::Task { key, outer } => {
                let is_in = recorder.scope_of(key) == Some(scope);
                let is_polled = polls::under_way(recorder.id()).any(|poll| poll.key == key);
                if is_in && is_polled {
                    outer.inspect(|outer| scopes::hold(*outer));
                    if recorder.move_polled(key, outer).is_some() {
                        scopes::release(scope);
                    }
                }
            }
            Place::Here { outer } => {
                if polls::scope_here() == Some(scope) {
                    polls::replace_scope(outer);
                    scopes::release(scope);
                }
            }
        }
    }
}

/// The line that says why what is spawned here is not seen any more.
fn unseen_here(recorder: &Recorder) -> Option<NotRecording> {
    tracing::dispatcher::get_default(|dispatch| {
        let is_seen = health::leads_to(dispatch, recorder);
        (!is_seen).then(|| Reason::OverriddenHere.into())
    })
}

fn owner_at(location: &Location<'_>) -> Owner {
    Owner {
        name: format!("the guard at {location}"),
        module: String::new(),
        function: String::new(),
        file: location.file().to_owned(),
        form: Form::Guard,
    }
}
