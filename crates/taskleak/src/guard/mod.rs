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
use self::watch::{Left, Watch};
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
/// - From the first guard of a process on, a SIGTERM that another process sends has the tasks of all
///   guards told on standard error; then it ends the process, also where the program handles it.
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
            let left = self.watch.settled(|| false).await;
            let mode = match Mode::of_environment() {
                Ok(mode) => mode,
                Err(error) => panic!("{error}"),
            };
            if let Left::Leaks(leaks) = left {
                mode.tell(&format!("{leaks}\nverified at {at}"));
            }
        }
    }

    /// Waits as [`verify`](Self::verify) does, and gives what is left.
    pub async fn settled(&self) -> Leaks {
        match self.watch.settled(|| false).await {
            Left::Leaks(leaks) => *leaks,
            Left::Nothing | Left::Allowed => self.watch.nothing_left(),
        }
    }

    /// Those of its tasks that are alive now, but for the one that asks.
    pub fn leaks(&self) -> Leaks {
        self.watch.leaks(std::time::Duration::ZERO)
    }

    fn start(watch: Watch) -> Result<Guard, NotRecording> {
        let recorder = &watch.detector.shared.recorder;
        let is_unknown = || polls::innermost(recorder.id()).is_none();
        let place = match watch.scope() {
            Some(_) if tokio::task::try_id().is_some() && is_unknown() => {
                return Err(Reason::SpawnedBefore.into());
            }
            Some(scope) => Some(Place::put(recorder, scope)),
            None => None,
        };
        let watch = Arc::new(watch);
        running::note(&watch);
        Ok(Guard { watch, place })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let (Some(place), Some(scope)) = (self.place.take(), self.watch.scope()) {
            scopes::end(scope);
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
    /// The place holds the scope on its own, so that it never leads to another one; a task that
    /// belongs to it is such a place.
    fn put(recorder: &Recorder, scope: ScopeId) -> Place {
        scopes::hold(scope);
        let outer = recorder.scope_here();
        let is_scope = polls::scope_here().is_some();
        let task = polls::innermost(recorder.id()).filter(|_| !is_scope);
        match task.and_then(|poll| recorder.move_polled(poll.key, Some(scope))) {
            Some(key) => Place::Task { key, outer },
            None => {
                let before = polls::replace_scope(Some(scope));
                // A guard that was dropped elsewhere left its scope here, and its hold.
                let stale = before.filter(|before| scopes::let_through(*before) != Some(*before));
                stale.inspect(|stale| scopes::release(*stale));
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
                    recorder.move_polled(key, outer);
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

#[cfg(all(test, not(taskleak_loom)))]
mod tests {
    use std::future::pending;
    use std::sync::Barrier;
    use std::thread;
    use std::time::Duration;

    use tokio::runtime::{Builder, Runtime};
    use tokio::task::{LocalSet, yield_now};
    use tracing::subscriber::NoSubscriber;

    use super::*;

    fn one_thread() -> Runtime {
        Builder::new_current_thread().build().unwrap()
    }

    fn workers(count: usize) -> Runtime {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(count).build().unwrap()
    }

    /// Spawns a task that spawns one that stays, and ends.
    async fn leave_a_grandchild() {
        let child = tokio::spawn(async {
            tokio::spawn(pending::<()>());
        });
        child.await.unwrap();
        yield_now().await;
    }

    #[test]
    fn what_was_spawned_before_or_elsewhere_is_not_its() {
        let runtime = one_thread();
        let _in_force = Guard::new();
        runtime.block_on(async {
            tokio::spawn(pending::<()>());
            let guard = Guard::new();
            assert!(guard.leaks().is_empty());
            leave_a_grandchild().await;
            assert_eq!(guard.leaks().tasks(), 1);
        });
    }

    #[test]
    fn a_guard_covers_the_guards_within_it_and_no_more_once_it_is_gone() {
        let runtime = one_thread();
        let whole = Guard::new();
        runtime.block_on(async {
            let outer = Guard::new();
            let inner = Guard::new();
            leave_a_grandchild().await;
            assert_eq!((outer.leaks().tasks(), inner.leaks().tasks()), (1, 1));
            drop(inner);
            leave_a_grandchild().await;
            assert_eq!(outer.leaks().tasks(), 2);
            drop(outer);
            leave_a_grandchild().await;
            assert_eq!(whole.leaks().tasks(), 3);
        });
        assert_eq!(whole.leaks().tasks(), 3, "the root has ended");
    }

    #[test]
    fn guards_that_go_in_another_order_lose_nothing() {
        let runtime = one_thread();
        let whole = Guard::new();
        runtime.block_on(async {
            let first = Guard::new();
            let second = Guard::new();
            drop(first);
            leave_a_grandchild().await;
            assert_eq!(second.leaks().tasks(), 1);
            drop(second);
            leave_a_grandchild().await;
            let third = Guard::new();
            leave_a_grandchild().await;
            assert_eq!((third.leaks().tasks(), whole.leaks().tasks()), (1, 3));
        });
    }

    #[test]
    fn a_guard_in_a_scope_is_within_it() {
        let runtime = one_thread();
        let whole = Guard::new();
        let names = || -> Vec<String> {
            let leaks = whole.leaks();
            leaks.into_iter().map(|group| group.scope).collect()
        };
        runtime.block_on(crate::scope("request", async {
            let guard = Guard::new();
            leave_a_grandchild().await;
            assert_eq!(guard.leaks().tasks(), 1);
            // It goes on where it was after an await.
            drop(guard);
            leave_a_grandchild().await;
        }));
        assert_eq!(names(), ["request"]);
        assert_eq!(whole.leaks().tasks(), 2);
    }

    #[test]
    fn whoever_holds_or_asks_it_is_no_leak() {
        let runtime = workers(2);
        runtime.block_on(async {
            let guard = Guard::new();
            let asked = tokio::spawn(async move {
                assert!(guard.leaks().is_empty());
                guard.verify().await;
            });
            asked.await.unwrap();
            // Dropped elsewhere: what this task spawns from now on is nobody's but the outer one's.
            let next = Guard::new();
            leave_a_grandchild().await;
            assert_eq!(next.leaks().tasks(), 1);
        });
    }

    #[test]
    fn local_tasks_and_the_blocking_pool_are_covered() {
        let runtime = one_thread();
        let guard = Guard::new();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let local = LocalSet::new();
        local.block_on(&runtime, async {
            tokio::task::spawn_local(pending::<()>());
            let handle = tokio::runtime::Handle::current();
            tokio::task::spawn_blocking(move || {
                handle.spawn(pending::<()>());
                let _dropped = stopped.recv();
            });
            while guard.leaks().tasks() < 3 {
                yield_now().await;
            }
        });
        drop(stop);
    }

    #[test]
    fn tests_that_share_a_runtime_are_told_apart() {
        let runtime = workers(2);
        let together = Barrier::new(4);
        thread::scope(|threads| {
            for number in 0..4u64 {
                let (runtime, together) = (&runtime, &together);
                threads.spawn(move || {
                    let guard = Guard::new();
                    together.wait();
                    for _ in 0..number {
                        runtime.block_on(leave_a_grandchild());
                    }
                    together.wait();
                    assert_eq!(guard.leaks().tasks(), number);
                });
            }
        });
    }

    #[test]
    fn who_has_nothing_left_does_not_wait() {
        let runtime = workers(1);
        runtime.block_on(async {
            let guard = Guard::builder().settle(Duration::from_secs(3600));
            let guard = guard.start().unwrap();
            let (end, ended) = tokio::sync::oneshot::channel::<()>();
            tokio::spawn(ended);
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                drop(end);
            });
            guard.verify().await;
        });
    }

    #[test]
    fn what_is_allowed_may_stay() {
        let runtime = one_thread();
        runtime.block_on(async {
            let guard = Guard::builder().settle(Duration::from_secs(3600));
            // Functions of this crate are never shown, so no rule goes by them.
            let guard = guard.allow("spawned_at=guard/mod.rs").unwrap();
            let guard = guard.start().unwrap();
            leave_a_grandchild().await;
            crate::daemon(|| tokio::spawn(pending::<()>()));
            // They stay, and it is over before the hour is.
            assert!(guard.settled().await.is_empty());
        });
        // Also where there is hardly time to look.
        runtime.block_on(async {
            let guard = Guard::builder().settle(Duration::ZERO);
            let guard = guard.allow("spawned_at=guard/mod.rs").unwrap();
            let guard = guard.start().unwrap();
            leave_a_grandchild().await;
            assert!(guard.settled().await.is_empty());
        });
        let error = Guard::builder().allow("functoin=x").unwrap_err();
        assert!(error.to_string().starts_with("cannot allow: allow rule"));
    }

    #[test]
    fn guards_that_are_dropped_elsewhere_leave_no_scopes_behind() {
        let runtime = workers(1);
        let depth = |guard: &Guard| {
            let scope = guard.watch.scope().unwrap();
            scopes::depth(scope)
        };
        runtime.block_on(async {
            let first = depth(&Guard::new());
            for _ in 0..10 {
                let guard = Guard::new();
                tokio::spawn(async move { drop(guard) }).await.unwrap();
            }
            assert_eq!(depth(&Guard::new()), first);
        });
        let in_scope = async {
            let first = depth(&Guard::new());
            for _ in 0..10 {
                let guard = Guard::new();
                tokio::spawn(async move { drop(guard) }).await.unwrap();
                yield_now().await;
            }
            assert_eq!(depth(&Guard::new()), first);
        };
        runtime.block_on(crate::scope("request", in_scope));
    }

    /// A task that is replaced by its like all the time is never gone.
    #[test]
    fn a_relay_does_not_slip_through() {
        fn relay(stop: Arc<std::sync::atomic::AtomicBool>) {
            tokio::spawn(async move {
                yield_now().await;
                if !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    relay(stop);
                }
            });
        }
        let runtime = workers(2);
        for _ in 0..10 {
            let stop = Arc::default();
            runtime.block_on(async {
                let guard = Guard::builder().settle(Duration::from_millis(100));
                let guard = guard.start().unwrap();
                relay(Arc::clone(&stop));
                assert!(!guard.settled().await.is_empty());
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
                guard.verify().await;
            });
        }
    }

    #[test]
    fn a_wake_that_is_not_seen_leaves_no_wrong_stack() {
        async fn first_wait(end: tokio::sync::oneshot::Receiver<()>) {
            let _ended = end.await;
        }
        let runtime = one_thread();
        let guard = Guard::new();
        let (end, ended) = tokio::sync::oneshot::channel();
        runtime.block_on(async {
            tokio::spawn(async {
                first_wait(ended).await;
                pending::<()>().await;
            });
            yield_now().await;
            let wait = |leaks: &Leaks| leaks.iter().map(|group| group.wait.clone()).next();
            assert_eq!(wait(&guard.leaks()), Some(vec![crate::Wait::ChanReceive]));
            // A thread without the detector's subscriber.
            thread::spawn(move || end.send(())).join().unwrap().unwrap();
            yield_now().await;
            assert_eq!(wait(&guard.leaks()), Some(vec![crate::Wait::Nothing]));
        });
    }

    #[test]
    fn a_root_that_waits_for_who_asks_is_no_leak() {
        let runtime = workers(1);
        let guard = Arc::new(Guard::new());
        runtime.block_on(async {
            let its = Arc::clone(&guard);
            let asks = tokio::spawn(async move { its.leaks().tasks() });
            assert_eq!(asks.await.unwrap(), 0);
        });
    }

    #[test]
    fn a_task_from_before_the_detector_can_not_be_guarded() {
        let runtime = one_thread();
        let before = runtime.spawn(async { Guard::builder().start().map(drop) });
        let made = runtime.block_on(before).unwrap();
        assert_eq!(made.unwrap_err().reason(), Reason::SpawnedBefore);
    }

    #[test]
    fn what_is_spawned_under_another_subscriber_does_not_pass_unseen() {
        let runtime = one_thread();
        runtime.block_on(async {
            let guard = Guard::new();
            let other = tracing::subscriber::set_default(NoSubscriber::new());
            leave_a_grandchild().await;
            let page = guard.leaks().to_string();
            assert!(
                page.starts_with("it is not known whether tasks of"),
                "{page}"
            );
            assert!(page.contains("`taskleak::recording`"), "{page}");
            drop(other);
            let recording = recording(NoSubscriber::new());
            let _other = tracing::subscriber::set_default(recording);
            leave_a_grandchild().await;
            assert_eq!(guard.leaks().tasks(), 1);
        });
    }
}
